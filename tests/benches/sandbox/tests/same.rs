//! The reference of the benchmark is the same container as the sandbox's, as the engine tells it.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests stop the test where something is not as it says"
)]

use std::collections::BTreeSet;

use harness::docker::{BUSYBOX, Engine};
use harness::folder::Folder;
use harness::http::Request;
use harness::process::Process;
use harness::wait::{eventually, secs, within};
use runtime::Drain;
use sandbox::{Command, Options, Sandbox, Transfer};
use serde_json::{Value, json};

/// What is different by nature: names and places, who removes the container, and how the client says that it wants
/// nothing special.
const OWN: [&str; 7] = [
    "AutoRemove",
    "ConsoleSize",
    "ContainerIDFile",
    "LogConfig",
    "MaskedPaths",
    "ReadonlyPaths",
    "RestartPolicy",
];

async fn container(engine: &Engine, id: &str) -> Option<Value> {
    let answer = engine.try_ask(Request::get(format!("/containers/{id}/json"))).await?;
    let container = (answer.status == 200).then(|| answer.json())?;
    (container["State"]["Running"] == true).then_some(container)
}

/// The settings in one form: what is not said, empty or zero is the same to the engine.
fn settings(container: &Value) -> BTreeSet<String> {
    let mut host = container["HostConfig"].clone();
    let host = host.as_object_mut().unwrap();
    OWN.iter().for_each(|name| drop(host.remove(*name)));
    host["Ulimits"].as_array_mut().unwrap().sort_by_key(|limit| limit["Name"].to_string());
    // One says `Mounts`, the other has them made into the same with all defaults.
    host.insert("Mounts".to_owned(), json!([]));
    let is_said = |value: &&Value| {
        !(value.is_null()
            || *value == &json!(0)
            || *value == &json!([])
            || *value == &json!({})
            || *value == &json!("")
            || *value == &json!(false))
    };
    let said =
        host.iter().filter(|(_, value)| is_said(value)).map(|(name, value)| format!("{name}: {value}"));
    let mounts = container["Mounts"].as_array().unwrap().iter();
    let mounts = mounts.map(|mount| format!("{} {} {}", mount["Type"], mount["Destination"], mount["RW"]));
    let config = ["User", "WorkingDir", "Env"].map(|name| format!("{name}: {}", container["Config"][name]));
    said.chain(mounts).chain(config).collect()
}

#[tokio::test]
async fn docker_run_is_given_the_walls_that_the_sandbox_gives() {
    within(secs(60), async {
        let engine = Engine::shared();
        let folder = Folder::new();
        let options = Options {
            docker_host: Some(engine.host().to_owned()),
            transfer: Transfer::Archive,
            ..Options::new(folder.path())
        };
        let drain = Drain::new();
        let sandbox = Sandbox::open(options, &drain).unwrap();
        let request = sandbox::Request {
            command: Command::Argv(["sleep", "600"].map(str::to_owned).to_vec()),
            networks: vec!["none".to_owned()],
            ..sandbox::Request::new(BUSYBOX)
        };
        let execution = sandbox.start(request).unwrap();
        let id = execution.id().to_string();
        let ours = tokio::select! {
            ours = eventually("our container runs", secs(30), async || container(&engine, &id).await) => ours,
            outcome = execution.outcome() => panic!("the run has ended: {outcome:?}"),
        };
        execution.cancel();
        execution.outcome().await.unwrap();

        let name = format!("same-{}", uuid::Uuid::new_v4().simple());
        let mut arguments = docker_run::arguments(BUSYBOX, "none", &["sleep", "600"]);
        arguments.splice(1..1, ["--name".to_owned(), name.clone()]);
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let client = Process::start("docker run", engine.client(&words));
        let theirs = eventually("the other runs", secs(30), async || container(&engine, &name).await).await;
        engine.remove_container(&name).await;
        drop(client);

        let (ours, theirs) = (settings(&ours), settings(&theirs));
        let apart: Vec<&String> = ours.symmetric_difference(&theirs).collect();
        assert_eq!(apart, [""; 0]);
    })
    .await;
}
