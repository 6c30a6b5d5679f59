//! Networks that callers make.

use harness::http::Request;
use harness::sandbox::{Door, TOKEN, order};
use harness::wait::{secs, until};
use serde_json::{Value, json};

fn name() -> String {
    format!("sl-test-{}", &uuid::Uuid::new_v4().simple().to_string()[..8])
}

#[tokio::test]
async fn a_network_is_made_used_and_removed() {
    let door = Door::start().await;
    let name = name();
    for _ in 0..2 {
        let made = door.post_json("/networks", &json!({"name": name})).await;
        assert_eq!((made.status, made.json()), (201, json!({"name": name, "created": true})));
    }
    let exists = async || door.get(&format!("/networks/{name}")).await.ok()["exists"].clone();
    assert_eq!(exists().await, true);
    let id = door.detach("echo up; sleep 300", json!({"network": name})).await;
    door.written(&id, "up").await;
    let used = door.delete(&format!("/networks/{name}")).await;
    assert_eq!((used.status, &used.json()["error"]), (409, &json!("network_in_use")));
    door.post(&format!("/runs/{id}/cancel")).await;
    door.ended(&id).await;
    for _ in 0..2 {
        assert_eq!(door.delete(&format!("/networks/{name}")).await.status, 204);
    }
    assert_eq!(exists().await, false);
}

#[tokio::test]
async fn addresses_can_be_chosen_and_wrong_fields_are_refused() {
    let door = Door::start().await;
    let name = name();
    let subnet = json!({"name": name, "ipam": {"subnet": "10.213.77.0/24", "gateway": "10.213.77.1"}, "labels": {"a": "b"}});
    let made = door.post_json("/networks", &subnet).await;
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(door.delete(&format!("/networks/{name}")).await.status, 204);
    for (body, path) in [
        (json!({}), json!(["name"])),
        (json!({"name": ""}), json!(["name"])),
        (json!({"name": "x".repeat(101)}), json!(["name"])),
        (json!({"name": "x", "driver": "host"}), json!(["driver"])),
        (json!({"name": "x", "ipam": {"subnet": "x".repeat(65)}}), json!(["ipam", "subnet"])),
        (json!({"name": "x", "ipam": {"range": "x"}}), json!(["ipam"])),
        (json!({"name": "x", "internal": true}), json!([])),
    ] {
        let answer = door.post_json("/networks", &body).await;
        assert_eq!(
            (answer.status, &answer.json()["details"][0]["path"]),
            (400, &path),
            "{body}: {}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn unused_networks_are_cleaned_up_by_their_prefix() {
    let door = Door::start().await;
    let prefix = name();
    for suffix in ["a", "b"] {
        door.post_json("/networks", &json!({"name": format!("{prefix}-{suffix}")})).await.check();
    }
    let young = door.post_json("/networks/cleanup", &json!({"prefix": prefix})).await;
    assert_eq!(young.ok(), json!({"removed": 0}));
    let all = door.post_json("/networks/cleanup", &json!({"prefix": prefix, "maxAgeMs": 0})).await;
    assert_eq!(all.ok(), json!({"removed": 2}));
    assert_eq!(door.send(Request::new("POST", "/networks/cleanup")).await.status, 200);
    assert_eq!(door.post_json("/networks/cleanup", &json!({"maxAgeMs": -1})).await.status, 400);
}

/// A network that somebody else has made, with others on it.
async fn foreign(door: &Door, name: &str) -> String {
    let made = Request::post("/networks/create", &json!({"Name": name, "CheckDuplicate": true}));
    door.engine.ask(made).await["Id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_network_of_somebody_else_is_joined_only_where_the_operator_allows_it() {
    let name = name();
    let door = Door::start().await;
    let id = foreign(&door, &name).await;
    let ours = format!("{name}-ours");
    door.post_json("/networks", &json!({"name": ours})).await.check();
    for asked in [
        json!({"network": name}),
        json!({"network": id}),
        json!({"network": &id[..12]}),
        json!({"network": "bridge"}),
        json!({"network": "default"}),
    ] {
        let refused = door.post_json("/run", &order("true", asked.clone())).await;
        assert_eq!(
            (refused.status, &refused.json()["error"]),
            (403, &json!("network_not_allowed")),
            "{asked}"
        );
        assert!(refused.json()["message"].as_str().unwrap().contains("--allow-network"), "{asked}");
    }
    let mut both = order("true", json!({"networks": [ours, name]}));
    both.as_object_mut().unwrap().remove("network");
    assert_eq!(door.post_json("/run", &both).await.status, 403);
    let claimed = door.post_json("/networks", &json!({"name": name, "iccEnabled": true})).await;
    assert_eq!(
        (claimed.status, door.post_json("/run", &order("true", json!({"network": name}))).await.status),
        (201, 403)
    );
    assert_eq!(door.get("/runs").await.ok(), json!([]));
    for allowed in [format!("other,{name}"), "*".to_owned()] {
        let door = Door::start_with(&[("SEMILAYER_SANDBOX_ALLOW_NETWORK", &allowed)]).await;
        let run = door.shell("true", json!({"network": name})).await;
        assert_eq!(run["status"], "succeeded", "{allowed}: {run}");
    }
    for network in [name, ours] {
        assert_eq!(door.delete(&format!("/networks/{network}")).await.status, 204);
    }
}

/// The name is the caller's to give away while the run is made, the network behind it is not.
#[tokio::test]
async fn a_run_joins_the_network_that_had_the_name_when_it_was_asked_for() {
    let name = name();
    let door = Door::start_with(&[("SEMILAYER_SANDBOX_CONCURRENCY", "1")]).await;
    let first = door.detach("echo up; sleep 300", Value::Null).await;
    door.written(&first, "up").await;
    door.post_json("/networks", &json!({"name": name})).await.check();
    let (address, waiting) =
        (door.address(), Request::post("/run", &order("true", json!({"network": name}))));
    let waiting = tokio::spawn(async move { waiting.bearer(TOKEN).send(address).await });
    let gauge = async || door.get("/metrics").await.text();
    until("it waits", secs(10), async || gauge().await.contains("semilayer_sandbox_runs_queued 1\n")).await;
    assert_eq!(door.delete(&format!("/networks/{name}")).await.status, 204);
    foreign(&door, &name).await;
    door.post(&format!("/runs/{first}/cancel")).await;
    let run = waiting.await.unwrap().ok();
    assert_eq!(
        (&run["status"], &run["errorCode"]),
        (&json!("failed"), &json!("NETWORK_CONNECT_FAILED")),
        "{run}"
    );
    assert_eq!(door.delete(&format!("/networks/{name}")).await.status, 204);
}

#[tokio::test]
async fn nobody_opens_the_network_that_all_others_are_on() {
    let door = Door::start().await;
    let open = json!({"name": "light-runner-isolated", "iccEnabled": true});
    let refused = door.post_json("/networks", &open).await;
    assert_eq!((refused.status, &refused.json()["details"][0]["path"]), (400, &json!(["iccEnabled"])));
}

#[tokio::test]
async fn a_network_that_is_not_there_fails_the_run_and_not_the_server() {
    let name = name();
    let door = Door::start_with(&[("SEMILAYER_SANDBOX_ALLOW_NETWORK", &name)]).await;
    let run = door.shell("true", json!({"network": name})).await;
    assert_eq!(
        (&run["status"], &run["errorCode"]),
        (&json!("failed"), &json!("NETWORK_CONNECT_FAILED")),
        "{run}"
    );
    let both = order("true", json!({"network": "none", "networks": [name]}));
    assert_eq!(door.post_json("/run", &both).await.status, 400);
    assert_eq!(door.shell("true", Value::Null).await["status"], "succeeded");
}
