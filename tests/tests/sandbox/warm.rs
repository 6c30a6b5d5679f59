//! Containers that wait for a run.

use std::collections::HashSet;

use harness::docker::BUSYBOX;
use harness::http::Request;
use harness::sandbox::Door;
use harness::wait::{eventually, secs};
use serde_json::{Value, json};

#[tokio::test]
async fn a_run_takes_a_container_that_was_there_before_it_and_none_is_left_at_the_end() {
    let mut door = Door::start_with(&[("SEMILAYER_SANDBOX_WARM", &format!("{BUSYBOX}=2"))]).await;
    // Without a wish for a network: what waits has the default one.
    let order = json!({"image": BUSYBOX, "files": {"a.txt": "hello"}, "env": {"B": "there"},
        "entrypoint": "cat a.txt; echo; echo $B; cat", "input": 7});
    let id = eventually("a run in a container that waited", secs(60), async || {
        let waiting: HashSet<String> =
            door.engine.containers("light-runner.run-id").await.into_iter().collect();
        let run = door.post_json("/run", &order).await.ok();
        assert_eq!(
            (&run["status"], &run["logs"]),
            (&json!("succeeded"), &json!(["hello", "there", "7"])),
            "{run}"
        );
        let id = run["id"].as_str().unwrap().to_owned();
        waiting.contains(&id).then_some(id)
    })
    .await;
    assert!(door.is_gone(&id).await, "a container is used once");
    let other = door.detach("echo up; sleep 300", Value::Null).await;
    door.written(&other, "up").await;
    let container = door.engine.ask(Request::get(format!("/containers/{other}/json"))).await;
    let owner = container["Config"]["Labels"]["light-runner.owner"].as_str().unwrap().to_owned();
    assert_eq!(door.post(&format!("/runs/{other}/cancel")).await.status, 204);
    door.ended(&other).await;
    let label = format!("light-runner.owner={owner}");
    eventually("the pool is full again", secs(60), async || {
        (door.engine.containers(&label).await.len() == 2).then_some(())
    })
    .await;
    assert_eq!(door.process.terminate(secs(30)).await, Some(0));
    assert_eq!(door.engine.left(&label).await, [""; 0]);
}
