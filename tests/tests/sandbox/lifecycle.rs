//! Runs that are not waited for: watched, frozen, stopped, killed, forgotten.

use std::time::Instant;

use harness::http::Request;
use harness::sandbox::{Door, TOKEN};
use harness::wait::{secs, until};
use serde_json::{Value, json};

const UNKNOWN: &str = "light-runner-01234567-89a";

#[tokio::test]
async fn a_detached_run_ends_by_itself() {
    let door = Door::start().await;
    let id = door.detach("cat a.txt; exit 3", Value::Null).await;
    let run = door.ended(&id).await;
    assert_eq!(
        (&run["status"], &run["exitCode"], &run["logs"]),
        (&json!("failed"), &json!(3), &json!(["hello"]))
    );
    assert!(door.is_gone(&id).await);
}

#[tokio::test]
async fn a_detached_run_keeps_to_its_timeout() {
    let door = Door::start().await;
    let id = door.detach("sleep 300", json!({"timeout": 1000})).await;
    let run = door.ended(&id).await;
    assert_eq!((&run["status"], &run["timedOut"]), (&json!("failed"), &json!(true)));
}

#[tokio::test]
async fn cancelled_is_cancelled_and_only_once() {
    let door = Door::start().await;
    let id = door.detach("echo up; sleep 300", Value::Null).await;
    door.written(&id, "up").await;
    assert_eq!(door.post(&format!("/runs/{id}/cancel")).await.status, 204);
    assert_eq!(door.ended(&id).await["status"], "cancelled");
    let again = door.post(&format!("/runs/{id}/cancel")).await;
    assert_eq!((again.status, again.json()), (404, json!({"error": "not_found_or_done"})));
}

#[tokio::test]
async fn stop_answers_as_soon_as_it_has_ended() {
    let door = Door::start().await;
    let id = door.detach("trap 'exit 42' TERM; echo up; while true; do sleep 0.1; done", Value::Null).await;
    door.written(&id, "up").await;
    let begun = Instant::now();
    let answer = door.post_json(&format!("/runs/{id}/stop"), &json!({"grace": 60_000})).await;
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert!(begun.elapsed() < secs(20), "{:?}", begun.elapsed());
    let run = door.run(&id).await;
    assert_eq!((&run["status"], &run["exitCode"]), (&json!("cancelled"), &json!(42)), "{run}");
    assert_eq!(door.post(&format!("/runs/{id}/stop")).await.status, 404);
}

#[tokio::test]
async fn who_ignores_the_request_is_killed_after_the_grace() {
    let door = Door::start().await;
    let id = door.detach("trap '' TERM; echo up; while true; do sleep 0.1; done", Value::Null).await;
    door.written(&id, "up").await;
    let begun = Instant::now();
    assert_eq!(door.post_json(&format!("/runs/{id}/stop"), &json!({"grace": 1000})).await.status, 204);
    assert!(begun.elapsed() >= secs(1) && begun.elapsed() < secs(20), "{:?}", begun.elapsed());
    assert_eq!(door.run(&id).await["status"], "cancelled");
}

#[tokio::test]
async fn the_kill_comes_also_where_nobody_waits_for_it_any_more() {
    let door = Door::start().await;
    let id =
        door.detach("trap 'echo asked' TERM; echo up; while true; do sleep 0.1; done", Value::Null).await;
    door.written(&id, "up").await;
    let stop = Request::post(format!("/runs/{id}/stop"), &json!({"grace": 3000})).bearer(TOKEN);
    let address = door.address();
    let caller = tokio::spawn(async move { stop.try_send(address).await });
    door.written(&id, "asked").await;
    caller.abort();
    assert_eq!(door.run(&id).await["status"], "running");
    assert_eq!(door.ended(&id).await["status"], "cancelled");
}

#[tokio::test]
async fn a_frozen_run_writes_nothing_until_it_goes_on() {
    let door = Door::start().await;
    let id = door.detach("n=0; while true; do n=$((n+1)); echo $n; sleep 0.05; done", Value::Null).await;
    door.written(&id, "3").await;
    for _ in 0..2 {
        assert_eq!(door.post(&format!("/runs/{id}/pause")).await.status, 204);
    }
    let lines = async || door.run(&id).await["logs"].as_array().unwrap().len();
    let frozen = lines().await;
    tokio::time::sleep(secs(1)).await;
    assert!(lines().await <= frozen + 1);
    assert_eq!(door.post(&format!("/runs/{id}/resume")).await.status, 204);
    until("it goes on", secs(20), async || lines().await > frozen + 3).await;
    assert_eq!(door.post_json(&format!("/runs/{id}/stop"), &json!({"grace": 0})).await.status, 204);
    assert_eq!(door.run(&id).await["status"], "cancelled");
}

#[tokio::test]
async fn what_is_not_there_or_over_is_not_found() {
    let door = Door::start().await;
    let done = door.shell("true", Value::Null).await["id"].as_str().unwrap().to_owned();
    for id in [UNKNOWN, &done, "x", "..%2F..%2Fetc"] {
        for verb in ["cancel", "stop", "pause", "resume"] {
            let answer = door.post(&format!("/runs/{id}/{verb}")).await;
            assert_eq!(
                (answer.status, answer.json()),
                (404, json!({"error": "not_found_or_done"})),
                "{id} {verb}"
            );
        }
    }
    for path in
        [format!("/runs/{UNKNOWN}"), format!("/runs/{UNKNOWN}/artifacts"), format!("/runs/{UNKNOWN}/logs")]
    {
        assert_eq!(door.get(&path).await.json(), json!({"error": "not_found"}), "{path}");
    }
}

#[tokio::test]
async fn the_body_of_stop_is_checked() {
    let door = Door::start().await;
    for (body, path) in [
        (json!({"grace": -1}), json!(["grace"])),
        (json!({"grace": 300_001}), json!(["grace"])),
        (json!({"signal": "x".repeat(21)}), json!(["signal"])),
        (json!({"force": true}), json!([])),
    ] {
        let answer = door.post_json(&format!("/runs/{UNKNOWN}/stop"), &body).await;
        assert_eq!((answer.status, &answer.json()["details"][0]["path"]), (400, &path), "{body}");
    }
    let id = door.detach("echo up; sleep 300", Value::Null).await;
    door.written(&id, "up").await;
    let answer = door.post_json(&format!("/runs/{id}/stop"), &json!({"signal": "SIGNOTHING"})).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(door.post(&format!("/runs/{id}/cancel")).await.status, 204);
    door.ended(&id).await;
}

#[tokio::test]
async fn a_run_is_forgotten_when_it_has_ended_and_not_before() {
    let door = Door::start().await;
    let id = door.detach("echo up; sleep 300", Value::Null).await;
    door.written(&id, "up").await;
    let early = door.delete(&format!("/runs/{id}")).await;
    assert_eq!((early.status, early.json()), (404, json!({"error": "not_found_or_running"})));
    door.post(&format!("/runs/{id}/cancel")).await;
    door.ended(&id).await;
    assert_eq!(door.delete(&format!("/runs/{id}")).await.status, 204);
    assert_eq!(door.get(&format!("/runs/{id}")).await.status, 404);
    assert_eq!(door.delete(&format!("/runs/{id}")).await.status, 404);
    let named = |folder: std::path::PathBuf| {
        let names = folder.read_dir().unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.contains(&id)).count()
    };
    assert_eq!(named(door.states()) + named(door.states().join("http")) + named(door.artifacts()), 0);
}

/// The id once stood in a path as it came.
#[tokio::test]
async fn no_id_leads_out_of_the_folders() {
    let door = Door::start().await;
    let victim = door.states().join("victim");
    std::fs::create_dir_all(&victim).unwrap();
    std::fs::write(victim.join("file"), "precious").unwrap();
    std::fs::write(door.states().join("victim.json"), "{}").unwrap();
    for path in ["..%2Fvictim", "%2E%2E%2Fvictim", "victim", "..%2F..%2F..%2F..%2Fetc"] {
        assert_eq!(door.delete(&format!("/runs/{path}")).await.status, 404, "{path}");
        let file = door.get(&format!("/runs/{path}/artifacts/file")).await;
        assert_eq!((file.status, file.json()), (404, json!({"error": "not_found"})), "{path}");
    }
    let hostname = door.send(Request::get("/runs/..%2F..%2F..%2F..%2Fetc/artifacts/hostname")).await;
    assert_eq!(hostname.status, 404);
    assert!(victim.join("file").exists() && door.states().join("victim.json").exists());
}
