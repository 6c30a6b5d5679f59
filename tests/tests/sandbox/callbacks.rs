//! Who is told of a run's end, and who is not.

use std::net::SocketAddr;

use harness::process::free_port;
use harness::sandbox::{Door, Receiver, order};
use harness::wait::{eventually, secs};
use serde_json::{Value, json};

const SECRET: &str = "a-secret-of-sixteen-or-more";
const PRIVATE: [(&str, &str); 1] = [("SEMILAYER_SANDBOX_ALLOW_PRIVATE_CALLBACKS", "true")];

fn to(url: &str) -> Value {
    json!({"callbackUrl": url, "callbackSecret": SECRET})
}

fn signature(body: &[u8]) -> String {
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let digits: String =
        ring::hmac::sign(&key, body).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256={digits}")
}

async fn told(door: &Door, id: &str) -> Value {
    eventually("the end of the callback", secs(60), async || {
        let run = door.run(id).await;
        run.get("callback").cloned()
    })
    .await
}

#[tokio::test]
async fn the_end_of_a_run_is_told_and_signed() {
    let door = Door::start_with(&PRIVATE).await;
    let receiver = Receiver::start().await;
    let id = door.detach("cat a.txt", to(&receiver.url())).await;
    let seen = receiver.wait(1).await;
    let body: Value = serde_json::from_slice(&seen[0].body).unwrap();
    assert_eq!(
        (&body["id"], &body["status"], &body["logs"]),
        (&json!(id), &json!("succeeded"), &json!(["hello"]))
    );
    assert_eq!(seen[0].header("x-light-run-signature"), Some(signature(&seen[0].body).as_str()));
    assert_eq!(seen[0].header("content-type"), Some("application/json"));
    assert_eq!(told(&door, &id).await, json!({"delivered": true, "attempts": 1}));
    assert_eq!(receiver.seen().len(), 1);
}

#[tokio::test]
async fn who_is_not_there_is_told_when_they_are() {
    let door = Door::start_with(&PRIVATE).await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let id = door.detach("true", to(&format!("http://{address}/done"))).await;
    door.ended(&id).await;
    door.process.stderr.line_with("callback failed, will try again").await;
    let receiver = Receiver::at(address, &[503]).await;
    let seen = receiver.wait(2).await;
    assert_eq!(seen[0].body, seen[1].body);
    let told = told(&door, &id).await;
    assert!(told["delivered"] == true && told["attempts"].as_u64() >= Some(3), "{told}");
}

#[tokio::test]
async fn of_a_run_that_was_removed_nobody_is_told_any_more() {
    let door = Door::start_with(&PRIVATE).await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let id = door.detach("true", to(&format!("http://{address}/done"))).await;
    door.ended(&id).await;
    let waits = door.states().join(format!("http/callbacks/{id}.json"));
    door.process.stderr.line_with("callback failed, will try again").await;
    assert!(waits.exists());
    // Of the same place, later, and therefore tried again later.
    let other = door.detach("true", to(&format!("http://{address}/done"))).await;
    door.ended(&other).await;
    assert_eq!(door.delete(&format!("/runs/{id}")).await.status, 204);
    assert!(!waits.exists());
    let receiver = Receiver::at(address, &[]).await;
    assert_eq!(told(&door, &other).await["delivered"], true);
    let told: Vec<Value> =
        receiver.seen().iter().map(|seen| serde_json::from_slice(&seen.body).unwrap()).collect();
    assert_eq!(told.iter().map(|run| &run["id"]).collect::<Vec<_>>(), [&json!(other)]);
    assert!(!waits.exists());
}

#[tokio::test]
async fn a_refusal_is_not_repeated_and_no_redirect_is_followed() {
    let door = Door::start_with(&PRIVATE).await;
    for status in [404, 302] {
        let receiver = Receiver::at(([127, 0, 0, 1], 0).into(), &[status]).await;
        let id = door.detach("true", to(&receiver.url())).await;
        let told = told(&door, &id).await;
        assert_eq!((&told["delivered"], &told["attempts"]), (&json!(false), &json!(1)), "{told}");
        assert_eq!(receiver.seen().len(), 1);
    }
}

#[tokio::test]
async fn private_addresses_are_not_reached_by_whatever_name() {
    let door = Door::start().await;
    let receiver = Receiver::start().await;
    let port = receiver.url().rsplit(':').next().unwrap().to_owned();
    for host in ["127.0.0.1", "localhost", "[::1]", "0x7f000001", "[::ffff:127.0.0.1]", "169.254.169.254"] {
        let order = order("true", to(&format!("http://{host}:{port}")));
        let answer = door.post_json("/run", &order).await;
        assert_eq!(
            (answer.status, &answer.json()["details"][0]["path"]),
            (400, &json!(["callbackUrl"])),
            "{host}"
        );
    }
    // A name that only the resolver knows to be this machine's.
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let id = door.detach("true", to(&format!("http://{}:{port}", name.trim()))).await;
    let run = door.ended(&id).await;
    assert_eq!(run["status"], "succeeded");
    let told = eventually("a failure", secs(30), async || {
        let log = door.process.stderr.text();
        log.lines().find(|line| line.contains("callback") && line.contains(&id)).map(str::to_owned)
    })
    .await;
    assert!(told.contains("no public address") || told.contains("cannot resolve"), "{told}");
    assert!(receiver.seen().is_empty());
}

#[tokio::test]
async fn a_callback_outlives_the_server() {
    let mut door = Door::start_with(&PRIVATE).await;
    let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
    let id = door.detach("true", to(&format!("http://{address}/done"))).await;
    door.ended(&id).await;
    door.process.stderr.line_with("callback failed, will try again").await;
    door.process.kill().await;
    let receiver = Receiver::at(address, &[]).await;
    door.restart().await;
    let seen = receiver.wait(1).await;
    assert_eq!(seen[0].header("x-light-run-signature"), Some(signature(&seen[0].body).as_str()));
    assert_eq!(told(&door, &id).await["delivered"], true);
    // The secret stood in files for their owner alone, and in no log.
    assert!(!door.process.stderr.text().contains(SECRET));
}
