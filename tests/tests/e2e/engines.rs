//! The engines that other tests run containers in: what is said of them, and what becomes of one that is hurt.

use harness::docker::{BUSYBOX, Engine};
use harness::http::Request;
use harness::process::run;
use harness::wait::{secs, within};
use serde_json::json;

fn label() -> String {
    format!("semilayer.test={}", uuid::Uuid::new_v4().simple())
}

#[tokio::test]
async fn what_is_left_with_a_label_is_named_until_it_is_removed() {
    for engine in Engine::all() {
        let label = label();
        let (key, value) = label.split_once('=').unwrap();
        let labels = json!({key: value});
        let id = engine.start_container(&label, BUSYBOX, &["sleep", "600"]).await;
        let volume = json!({"Name": format!("volume-{value}"), "Labels": labels});
        engine.ask(Request::post("/volumes/create", &volume)).await;
        let network = json!({"Name": format!("network-{value}"), "Labels": labels});
        engine.ask(Request::post("/networks/create", &network)).await;

        let left = engine.left(&label).await;
        assert_eq!(left.len(), 3, "{left:?}");
        assert_eq!(left[1..], [format!("volume-{value}"), format!("network-{value}")]);

        engine.remove_container(&id).await;
        engine.ask(Request::new("DELETE", format!("/volumes/volume-{value}"))).await;
        engine.ask(Request::new("DELETE", format!("/networks/network-{value}"))).await;
        assert_eq!(engine.left(&label).await, [""; 0]);
    }
}

#[tokio::test]
async fn the_client_of_an_engine_runs_containers_in_each_of_its_runtimes() {
    for engine in Engine::all() {
        for runtime in ["runc", "runsc"].into_iter().filter(|name| engine.has_runtime(name)) {
            let command = engine.client(&["run", "--rm", "--runtime", runtime, BUSYBOX, "echo", "ran"]);
            assert_eq!(run("docker", command, secs(60)).await.ok(), "ran\n", "{runtime} of {}", engine.api());
        }
    }
}

#[tokio::test]
async fn containers_of_one_network_meet_unless_it_keeps_them_apart() {
    let engine = Engine::shared();
    for (apart, met) in [(false, Some(0)), (true, Some(1))] {
        let label = label();
        let (key, value) = label.split_once('=').unwrap();
        let network = json!({
            "Name": value,
            "Labels": {key: value},
            "Options": {"com.docker.network.bridge.enable_icc": (!apart).to_string()},
        });
        engine.ask(Request::post("/networks/create", &network)).await;
        let argument = format!("--label={label}");
        let listen =
            ["run", "--detach", &argument, "--network", value, "--name", value, BUSYBOX, "sleep", "600"];
        run("docker", engine.client(&listen), secs(60)).await.ok();
        let call = ["run", "--rm", &argument, "--network", value, BUSYBOX, "ping", "-c1", "-W2", value];
        let call = run("docker", engine.client(&call), secs(60)).await;

        engine.remove_container(value).await;
        engine.ask(Request::new("DELETE", format!("/networks/{value}"))).await;
        assert_eq!(call.code, met, "{}", call.both());
        assert_eq!(engine.left(&label).await, [""; 0]);
    }
}

#[tokio::test]
async fn an_engine_that_was_killed_has_lost_what_ran_and_kept_what_was() {
    within(secs(120), async {
        let label = label();
        let engine = Engine::own().await;
        let id = engine.start_container(&label, BUSYBOX, &["sleep", "600"]).await;
        engine.kill().await;
        assert!(engine.try_ask(Request::get("/_ping")).await.is_none());

        engine.start().await;
        let state = engine.ask(Request::get(format!("/containers/{id}/json"))).await["State"].clone();
        assert_eq!(state["Running"], false, "{state}");
        engine.ask(Request::new("POST", format!("/containers/{id}/start"))).await;

        engine.stop().await;
        engine.start().await;
        assert_eq!(engine.containers(&label).await.len(), 1);
    })
    .await;
}
