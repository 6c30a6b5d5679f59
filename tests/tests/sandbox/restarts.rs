//! What a server finds again after its end, however that came.

use harness::docker::Engine;
use harness::http::Request;
use harness::sandbox::{Door, Receiver, TOKEN, order};
use harness::wait::{eventually, secs, until};
use serde_json::{Value, json};

/// Makes a link lead to an engine's socket, wherever it led before.
fn point(link: &str, engine: &Engine) {
    drop(std::fs::remove_file(link));
    std::os::unix::fs::symlink(engine.socket(), link).unwrap();
}

#[tokio::test]
async fn ended_runs_are_found_again_with_what_they_have_left() {
    let mut door = Door::start().await;
    let run = door.shell("cat a.txt; cp a.txt b.txt", json!({"extract": ["b.txt"]})).await;
    let id = run["id"].as_str().unwrap();
    assert_eq!(door.process.terminate(secs(30)).await, Some(0));
    door.restart().await;
    assert_eq!(door.run(id).await, run);
    assert_eq!(door.get("/runs").await.ok()[0]["id"], run["id"]);
    assert_eq!(door.get(&format!("/runs/{id}/artifacts/b.txt")).await.text(), "hello");
    assert_eq!(door.delete(&format!("/runs/{id}")).await.status, 204);
}

#[tokio::test]
async fn a_detached_run_outlives_a_killed_server_with_artifacts_lines_and_callback() {
    let receiver = Receiver::start().await;
    let mut door = Door::start_with(&[("SEMILAYER_SANDBOX_ALLOW_PRIVATE_CALLBACKS", "yes")]).await;
    let more = json!({"extract": ["out"], "callbackUrl": receiver.url(), "timeout": 120_000});
    let id = door.detach("echo before; sleep 4; echo after; echo x > out", more).await;
    door.written(&id, "before").await;
    door.process.kill().await;
    door.restart().await;
    let run = door.ended(&id).await;
    assert_eq!((&run["status"], &run["exitCode"]), (&json!("succeeded"), &json!(0)), "{run}");
    assert_eq!(run["logs"], json!(["before", "after"]));
    assert_eq!(door.get(&format!("/runs/{id}/artifacts/out")).await.text(), "x\n");
    let told: Value = serde_json::from_slice(&receiver.wait(1).await[0].body).unwrap();
    assert_eq!((&told["id"], &told["artifacts"]), (&run["id"], &run["artifacts"]));
    assert!(door.is_gone(&id).await);
}

#[tokio::test]
async fn its_lines_are_there_also_when_the_server_ends_right_after_it() {
    let receiver = Receiver::start().await;
    let mut door = Door::start_with(&[("SEMILAYER_SANDBOX_ALLOW_PRIVATE_CALLBACKS", "yes")]).await;
    for round in 0..6 {
        let id = door.detach("echo first; echo last", json!({"callbackUrl": receiver.url()})).await;
        let state = door.states().join(format!("{id}.json"));
        let ended = async || std::fs::read_to_string(&state).is_ok_and(|text| text.contains("exitCode"));
        until("its end is noted", secs(30), async || {
            // Closer than whoever waits in between would be.
            for _ in 0..500 {
                if ended().await {
                    return true;
                }
                tokio::task::yield_now().await;
            }
            false
        })
        .await;
        if round % 2 == 0 {
            door.process.kill().await;
        } else {
            assert_eq!(door.process.terminate(secs(30)).await, Some(0));
        }
        door.restart().await;
        let run = door.ended(&id).await;
        assert_eq!(run["logs"], json!(["first", "last"]), "round {round}: {run}");
        let told = receiver.wait(round + 1).await;
        let told: Value = serde_json::from_slice(&told.last().unwrap().body).unwrap();
        assert_eq!((&told["id"], &told["logs"]), (&run["id"], &run["logs"]));
    }
}

#[tokio::test]
async fn a_detached_run_that_ended_while_nobody_was_there_is_put_away() {
    let mut door = Door::start().await;
    let id = door.detach("echo up; sleep 1; echo x > out", json!({"extract": ["out"]})).await;
    door.written(&id, "up").await;
    door.process.kill().await;
    until("its process has ended", secs(30), async || {
        let container = door.engine.ask(Request::get(format!("/containers/{id}/json"))).await;
        container["State"]["Running"] == false
    })
    .await;
    door.restart().await;
    let run = door.ended(&id).await;
    assert_eq!(
        (&run["status"], run["artifacts"].as_array().map(Vec::len)),
        (&json!("succeeded"), Some(1)),
        "{run}"
    );
}

#[tokio::test]
async fn a_detached_run_is_found_when_the_engine_is_there_only_after_the_server() {
    let receiver = Receiver::start().await;
    let folder = harness::folder::Folder::new();
    let (link, engine) = (folder.file("docker.sock"), Engine::shared());
    point(&link, &engine);
    let through_link = format!("unix://{link}");
    let mut door = Door::start_with(&[
        ("SEMILAYER_SANDBOX_ALLOW_PRIVATE_CALLBACKS", "yes"),
        ("SEMILAYER_SANDBOX_DOCKER_HOST", &through_link),
    ])
    .await;
    let more = json!({"extract": ["out"], "callbackUrl": receiver.url(), "timeout": 120_000});
    let id = door.detach("echo up; sleep 2; echo x > out", more).await;
    door.written(&id, "up").await;
    door.process.kill().await;
    std::fs::remove_file(&link).unwrap();
    door.restart().await;
    door.process.stderr.line_with("out of sight").await;
    assert_eq!(door.run(&id).await["status"], "running");
    assert!(receiver.seen().is_empty(), "its end was told before it had ended");
    point(&link, &engine);
    let run = door.ended(&id).await;
    assert_eq!((&run["status"], &run["logs"]), (&json!("succeeded"), &json!(["up"])), "{run}");
    assert!(run.get("error").is_none() && run.get("errorCode").is_none(), "{run}");
    assert_eq!(door.get(&format!("/runs/{id}/artifacts/out")).await.text(), "x\n");
    let told: Value = serde_json::from_slice(&receiver.wait(1).await[0].body).unwrap();
    assert_eq!((&told["status"], &told["artifacts"]), (&run["status"], &run["artifacts"]));
}

#[tokio::test]
async fn a_detached_run_is_not_given_up_where_another_engine_answers() {
    let folder = harness::folder::Folder::new();
    let (link, shared, other) = (folder.file("docker.sock"), Engine::shared(), Engine::own().await);
    point(&link, &shared);
    let through_link = format!("unix://{link}");
    let mut door = Door::start_with(&[("SEMILAYER_SANDBOX_DOCKER_HOST", &through_link)]).await;
    let id = door.detach("echo up; while [ ! -e go ]; do sleep 0.1; done", Value::Null).await;
    door.written(&id, "up").await;
    assert_eq!(door.process.terminate(secs(30)).await, Some(0));
    point(&link, &other);
    door.restart().await;
    door.process.stderr.line_with("at another engine").await;
    door.process.stderr.line_with("maintenance done").await;
    assert_eq!(door.run(&id).await["status"], "running");
    assert_eq!(door.process.terminate(secs(30)).await, Some(0));
    assert_eq!(shared.containers(&format!("light-runner.run-id={id}")).await, [id.as_str()]);
    point(&link, &shared);
    door.restart().await;
    door.written(&id, "up").await;
    assert_eq!(door.post(&format!("/runs/{id}/cancel")).await.status, 204);
    assert_eq!(door.ended(&id).await["status"], "cancelled");
    assert!(door.is_gone(&id).await);
}

#[tokio::test]
async fn artifacts_that_the_server_knows_nothing_of_are_left_alone() {
    let mut door = Door::start().await;
    assert_eq!(door.process.terminate(secs(30)).await, Some(0));
    for name in ["light-runner-01234567-89a", ".pending-0123456789abcdef"] {
        std::fs::create_dir(door.artifacts().join(name)).unwrap();
        std::fs::write(door.artifacts().join(name).join("precious"), "x").unwrap();
    }
    door.restart().await;
    door.process.stderr.line_with("maintenance done").await;
    let mut kept = door.kept();
    kept.sort();
    assert_eq!(kept, [".pending-0123456789abcdef", "light-runner-01234567-89a"]);
}

#[tokio::test]
async fn the_timeout_of_a_detached_run_holds_across_servers() {
    let mut door = Door::start().await;
    let id = door.detach("echo up; sleep 300", json!({"timeout": 5000})).await;
    door.written(&id, "up").await;
    door.process.kill().await;
    door.restart().await;
    let run = door.ended(&id).await;
    assert_eq!((&run["status"], &run["timedOut"]), (&json!("failed"), &json!(true)), "{run}");
}

#[tokio::test]
async fn a_detached_run_can_be_stopped_by_the_next_server() {
    let mut door = Door::start().await;
    let id = door.detach("echo up; sleep 300", Value::Null).await;
    door.written(&id, "up").await;
    assert_eq!(door.process.terminate(secs(30)).await, Some(0));
    door.restart().await;
    assert_eq!(door.run(&id).await["status"], "running");
    assert_eq!(door.post_json(&format!("/runs/{id}/stop"), &json!({"grace": 0})).await.status, 204);
    assert_eq!(door.run(&id).await["status"], "cancelled");
}

#[tokio::test]
async fn a_run_that_somebody_waited_for_dies_with_a_killed_server_and_leaves_nothing() {
    let mut door = Door::start().await;
    let order = order("echo up; sleep 300", json!({"extract": ["out"]}));
    let request = Request::post("/run", &order).bearer(TOKEN);
    let address = door.address();
    let caller = tokio::spawn(async move { request.try_send(address).await });
    let id = eventually("the run", secs(30), async || {
        door.get("/runs").await.ok()[0]["id"].as_str().map(str::to_owned)
    })
    .await;
    door.written(&id, "up").await;
    door.process.kill().await;
    assert!(caller.await.unwrap().is_none_or(|answer| !answer.complete));
    door.restart().await;
    let run = door.ended(&id).await;
    assert!(run["status"] == "failed" && run["finishedAt"].is_string(), "{run}");
    until("nothing is left", secs(20), async || door.is_gone(&id).await).await;
    assert!(door.kept().is_empty(), "{:?}", door.kept());
}

#[tokio::test]
async fn the_sweep_reports_seven_numbers() {
    let door = Door::start().await;
    let line = door.process.stderr.line_with("maintenance done").await;
    let report =
        line.split_once('{').and_then(|(_, rest)| rest.rsplit_once('}')).unwrap().0.replace("\\\"", "\"");
    let report: Value = serde_json::from_str(&format!("{{{report}}}")).unwrap();
    for name in
        ["reconciled", "statesEvicted", "containers", "volumes", "cacheImages", "networks", "danglingImages"]
    {
        assert!(report[name].is_u64(), "{name}: {report}");
    }
}

#[tokio::test]
async fn two_servers_do_not_share_their_folders() {
    let door = Door::start().await;
    let folder = harness::folder::Folder::new();
    for (variable, shared) in [
        ("SEMILAYER_SANDBOX_STATE_DIR", door.states()),
        ("SEMILAYER_SANDBOX_ARTIFACTS_DIR", door.artifacts()),
    ] {
        let mut second = harness::sandbox::command(&folder, door.engine.host());
        second.env(variable, shared).args(["serve", "--port", "0"]);
        let finished = harness::process::run("second", second, secs(30)).await;
        assert_eq!(finished.code, Some(2), "{variable}");
        assert!(finished.stderr.contains("is used by another server"), "{}", finished.stderr);
    }
}
