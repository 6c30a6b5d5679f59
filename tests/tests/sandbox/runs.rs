//! One run, from its order to its answer.

use std::time::Instant;

use harness::docker::BUSYBOX;
use harness::http::Request;
use harness::sandbox::{Door, TOKEN, order};
use harness::wait::{eventually, secs, until};
use serde_json::{Value, json};

#[tokio::test]
async fn a_run_is_answered_when_it_has_ended_and_leaves_nothing_at_the_engine() {
    let door = Door::start().await;
    let run = door.shell("cat a.txt; echo; echo oops >&2", Value::Null).await;
    assert_eq!((&run["status"], &run["exitCode"]), (&json!("succeeded"), &json!(0)));
    let id = run["id"].as_str().unwrap();
    assert!(id.starts_with("light-runner-") && id.len() == 25, "{id}");
    let mut lines: Vec<&str> =
        run["logs"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    lines.sort_unstable();
    assert_eq!(lines, ["hello", "oops"]);
    assert!(run["durationMs"].is_u64() && run["startedAt"].is_string() && run["finishedAt"].is_string());
    assert!(run.get("artifacts").is_none() && run.get("error").is_none(), "{run}");
    assert!(door.is_gone(id).await);
    assert_eq!(door.run(id).await, run);
    let listed = door.get("/runs").await.ok();
    assert_eq!((listed.as_array().unwrap().len(), &listed[0]["id"]), (1, &run["id"]));
    assert!(listed[0].get("logs").is_none());
}

#[tokio::test]
async fn an_exit_code_is_a_result_and_no_error() {
    let door = Door::start().await;
    let run = door.shell("exit 7", Value::Null).await;
    assert_eq!((&run["status"], &run["exitCode"]), (&json!("failed"), &json!(7)));
    assert!(run.get("error").is_none());
}

#[tokio::test]
async fn input_environment_and_arguments_arrive_as_they_were_sent() {
    let door = Door::start().await;
    let run = door.shell("cat", json!({"input": {"b": [1, "ü"], "a": null}})).await;
    assert_eq!(run["logs"], json!([r#"{"a":null,"b":[1,"ü"]}"#]));
    let nasty = "$(touch /tmp/x); `id` \"' \\ & | > <";
    let run = door.shell("printf '%s' \"$NASTY\"", json!({"env": {"NASTY": nasty}})).await;
    assert_eq!(run["logs"], json!([nasty]));
    let argv = json!({"image": BUSYBOX, "files": {"größe/ü.txt": "ünï→✓"}, "network": "none", "argv": ["cat", "größe/ü.txt"]});
    let run = door.post_json("/run", &argv).await.ok();
    assert_eq!(run["logs"], json!(["ünï→✓"]));
}

#[tokio::test]
async fn files_may_be_any_bytes() {
    let door = Door::start().await;
    let files = json!({"files": {"a.bin": {"base64": "AAEC/w=="}}});
    let run = door.shell("od -An -tx1 a.bin | tr -d ' '", files).await;
    assert_eq!(run["logs"], json!(["000102ff"]));
}

/// The original died of it.
#[tokio::test]
async fn a_process_that_does_not_read_its_input_harms_nobody() {
    let door = Door::start().await;
    let large = json!({"input": "x".repeat(9_000_000)});
    for _ in 0..2 {
        assert_eq!(door.shell("true", large.clone()).await["status"], "succeeded");
    }
    assert_eq!(door.shell("true", Value::Null).await["exitCode"], 0);
}

#[tokio::test]
async fn a_run_that_takes_too_long_says_so() {
    let door = Door::start().await;
    let begun = Instant::now();
    let run = door.shell("sleep 60", json!({"timeout": 1000})).await;
    assert!(begun.elapsed() < secs(15), "{:?}", begun.elapsed());
    assert_eq!((&run["status"], &run["timedOut"]), (&json!("failed"), &json!(true)));
}

#[tokio::test]
async fn without_a_network_there_is_none() {
    let door = Door::start().await;
    for network in [json!({"network": "none"}), json!({"network": null, "networks": ["none"]})] {
        let mut order = order("ls /sys/class/net | tr '\\n' ' '", network);
        if order["network"].is_null() {
            order.as_object_mut().unwrap().remove("network");
        }
        let run = door.post_json("/run", &order).await.ok();
        assert!(
            run["logs"].to_string().contains("lo ") && !run["logs"].to_string().contains("eth0"),
            "{run}"
        );
    }
}

#[tokio::test]
async fn limits_can_be_asked_for_and_not_beyond_what_is_granted() {
    let door =
        Door::start_with(&[("SEMILAYER_SANDBOX_MEMORY", "64m"), ("SEMILAYER_SANDBOX_PIDS", "20")]).await;
    let hungry = "x=a; while true; do x=$x$x; done";
    for memory in ["16m", "100g"] {
        let run = door.shell(hungry, json!({"memory": memory, "timeout": 60_000})).await;
        assert_eq!((&run["status"], &run["oomKilled"]), (&json!("failed"), &json!(true)), "{memory}: {run}");
    }
    let many =
        "for n in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22; do sleep 5 & done; echo all";
    let run = door.shell(many, json!({"pids": 4000})).await;
    assert!(!run["logs"].to_string().contains("all"), "{run}");
}

#[tokio::test]
async fn nobody_is_root_unless_it_was_asked_for() {
    let door = Door::start().await;
    let line = "id -u; touch /x 2>/dev/null && echo written; touch here /tmp/there && echo ok";
    let run = door.shell(line, Value::Null).await;
    let lines = run["logs"].as_array().unwrap();
    assert!(lines[0] != "0" && lines[1..] == [json!("ok")], "{run}");
    let run =
        door.shell("id -u; touch /x && echo written", json!({"user": "0:0", "writableRoot": true})).await;
    assert_eq!(run["logs"], json!(["0", "written"]));
}

/// As clients of old know it: 200, with what went wrong; and a code beside it.
#[tokio::test]
async fn a_failure_that_is_not_the_process_is_a_failed_run_with_a_code() {
    let door = Door::start().await;
    let run = door.shell("true", json!({"image": "semilayer-test/there-is-none:9"})).await;
    assert_eq!(
        (&run["status"], &run["errorCode"]),
        (&json!("failed"), &json!("CONTAINER_START_FAILED")),
        "{run}"
    );
    assert!(run["error"].is_string());
    let dead = Door::start_with(&[("SEMILAYER_SANDBOX_DOCKER_HOST", "unix:///nowhere/docker.sock")]).await;
    let run = dead.shell("true", Value::Null).await;
    assert_eq!(
        (&run["status"], &run["errorCode"]),
        (&json!("failed"), &json!("DOCKER_UNREACHABLE")),
        "{run}"
    );
}

#[tokio::test]
async fn who_hangs_up_cancels_the_run_that_nobody_waits_for_any_more() {
    let door = Door::start().await;
    let request = Request::post("/run", &order("echo up; sleep 300", Value::Null)).bearer(TOKEN);
    let address = door.address();
    let caller = tokio::spawn(async move { request.send(address).await });
    let id = eventually("the run", secs(30), async || {
        let runs = door.get("/runs").await.ok();
        runs[0]["id"].as_str().map(str::to_owned)
    })
    .await;
    door.written(&id, "up").await;
    caller.abort();
    let run = door.ended(&id).await;
    assert_eq!(run["status"], "cancelled");
    until("nothing is left", secs(10), async || door.is_gone(&id).await).await;
}
