//! Containers that were started before anybody asked.

use std::collections::HashMap;

use bollard::query_parameters::ListContainersOptionsBuilder;
use bytes::Bytes;
use sandbox::{Command, Extract, Overrides, Request, RunId, Seed};

use crate::support::{House, IMAGE, secs, shell, until};

fn warm_house(count: usize) -> House {
    House::with(|options| options.warm = vec![(IMAGE.to_owned(), count)])
}

/// A line of shell with every default, the network too.
fn line(line: &str) -> Request {
    Request { command: Command::Shell(line.to_owned()), ..Request::new(IMAGE) }
}

/// The containers of this house that run.
async fn running(house: &House) -> Vec<RunId> {
    let owners = std::fs::read_dir(house.state_dir().join("owners")).unwrap();
    let names = owners.map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned());
    // The others are claims on single runs.
    let owner = names.filter(|name| !name.starts_with(RunId::PREFIX));
    let labels = owner.map(|owner| format!("light-runner.owner={owner}")).collect();
    let filters =
        HashMap::from([("label".to_owned(), labels), ("status".to_owned(), vec!["running".to_owned()])]);
    let options = ListContainersOptionsBuilder::default().filters(&filters).build();
    let found = house.docker.list_containers(Some(options)).await.unwrap();
    found
        .into_iter()
        .map(|container| container.labels.unwrap()["light-runner.run-id"].parse().unwrap())
        .collect()
}

async fn until_waiting(house: &House, count: usize) -> Vec<RunId> {
    until("containers wait", secs(60), async || running(house).await.len() == count).await;
    running(house).await
}

#[tokio::test]
async fn a_run_of_defaults_takes_the_container_that_waits_and_another_takes_its_place() {
    let house = warm_house(1);
    let waiting = until_waiting(&house, 1).await;
    let execution = house.start(line("exit 7"));
    assert_eq!(execution.id(), &waiting[0]);
    assert_eq!(execution.outcome().await.unwrap().exit_code, 7);
    house.assert_nothing_left(execution.id()).await;
    let next = until_waiting(&house, 1).await;
    assert_ne!(next, waiting, "none is used twice");
    house.close().await;
}

#[tokio::test]
async fn an_image_that_is_nowhere_does_not_keep_the_others_from_waiting() {
    let nowhere = "localhost:1/light-runner/nowhere:1".to_owned();
    let house = House::with(|options| options.warm = vec![(nowhere, 1), (IMAGE.to_owned(), 1)]);
    until_waiting(&house, 1).await;
    house.close().await;
}

#[tokio::test]
async fn it_has_the_same_walls_environment_input_and_files_as_any() {
    let house = warm_house(1);
    let waiting = until_waiting(&house, 1).await;
    let to = house.folder("results");
    let files = [("a b".to_owned(), Bytes::from("seeded"))].into();
    let env = [("WORD".to_owned(), "it's $(id); \n\\é\0".replace('\0', ""))].into();
    let told = house
        .run(Request {
            env,
            seed: Some(Seed::Files(files)),
            input: Some(Bytes::from("input\n\nmore")),
            extract: vec![Extract { from: "out".to_owned(), to: to.clone() }],
            ..line("cat 'a b' > out; printf %s \"$WORD\"; cat; echo; pwd; id -u; grep CapBnd /proc/self/status; touch /x || echo $HOME $$ >&2")
        })
        .await;
    assert!(house.sandbox.state(&waiting[0]).unwrap().is_some(), "it was the one that waited");
    let expected = "it's $(id); \n\\éinput\n\nmore\n/app\n65534\nCapBnd:\t0000000000000000\n";
    assert_eq!(told.text(), expected);
    assert!(told.errors().contains("/tmp "), "{}", told.errors());
    assert_eq!(std::fs::read_to_string(to.join("out")).unwrap(), "seeded");
    house.close().await;
}

#[tokio::test]
async fn words_without_input_and_with_a_last_newline_are_told_as_they_are() {
    let house = warm_house(1);
    until_waiting(&house, 1).await;
    let words = ["printf", "%s|", "a'b", "", "$X", "end\n"].map(str::to_owned).to_vec();
    let told = house.run(Request { command: Command::Argv(words), ..Request::new(IMAGE) }).await;
    assert_eq!(told.text(), "a'b||$X|end\n|");
    house.close().await;
}

#[tokio::test]
async fn a_request_that_is_unlike_what_waits_gets_a_container_of_its_own() {
    let house = warm_house(1);
    let waiting = until_waiting(&house, 1).await;
    let limits = Overrides { pids: Some(9), ..Overrides::default() };
    let unlike = [
        shell("true"),
        Request { limits, ..line("true") },
        Request { user: Some("1000".to_owned()), ..line("true") },
        Request { workdir: Some("/other".to_owned()), ..line("true") },
        Request { writable_root: true, ..line("true") },
        Request { detached: true, ..line("true") },
    ];
    for request in unlike {
        let execution = house.start(request);
        assert_ne!(execution.id(), &waiting[0]);
        assert!(execution.outcome().await.unwrap().success());
    }
    assert_eq!(running(&house).await, waiting);
    house.close().await;
}

#[tokio::test]
async fn it_is_cancelled_stopped_and_timed_out_as_any() {
    let house = warm_house(1);
    until_waiting(&house, 1).await;
    let execution = house.start(line("sleep 60"));
    execution.cancel();
    assert!(execution.outcome().await.unwrap().cancelled);
    house.assert_nothing_left(execution.id()).await;

    until_waiting(&house, 1).await;
    let told = house.run(Request { timeout: Some(secs(1)), ..line("sleep 60") }).await;
    assert!(told.outcome.timed_out);

    until_waiting(&house, 1).await;
    let execution = house.start(line("trap 'exit 42' TERM; sleep 60 & wait"));
    tokio::time::sleep(secs(1)).await;
    execution.stop("TERM", secs(30)).await.unwrap();
    assert_eq!(execution.outcome().await.unwrap().exit_code, 42);
    house.close().await;
}

#[tokio::test]
async fn one_that_died_while_it_waited_is_passed_over() {
    let house = warm_house(1);
    let waiting = until_waiting(&house, 1).await;
    house.docker.kill_container(waiting[0].as_str(), None).await.unwrap();
    let told = house.run(line("echo well")).await;
    assert_eq!(told.text(), "well\n");
    until("the dead one is removed", secs(20), async || house.container_status(&waiting[0]).await.is_none())
        .await;
    house.close().await;
}

#[tokio::test]
async fn a_sweep_removes_one_that_died_and_another_takes_its_place() {
    let house = warm_house(1);
    let waiting = until_waiting(&house, 1).await;
    house.docker.kill_container(waiting[0].as_str(), None).await.unwrap();
    until("it is replaced", secs(30), async || {
        house.sandbox.maintain().await;
        house.container_status(&waiting[0]).await.is_none() && running(&house).await.len() == 1
    })
    .await;
    house.close().await;
}

#[tokio::test]
async fn what_waits_goes_with_the_program_and_a_sweep_leaves_it_alone() {
    let house = warm_house(2);
    let waiting = until_waiting(&house, 2).await;
    house.sandbox.maintain().await;
    assert_eq!(running(&house).await.len(), 2);
    let drained = house.drain.clone().run(secs(1), std::future::pending()).await;
    assert_eq!(drained, runtime::Drained::Clean);
    for id in &waiting {
        house.assert_nothing_left(id).await;
    }
}
