//! Engines that go away while something runs, and come back.
//!
//! An engine that stops takes its containers with it. One that goes on with them while it cannot be reached (live restore)
//! is, for its callers, a way that is cut.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bollard::query_parameters::ListVolumesOptions;
use harness::docker::{Engine, OwnEngine};
use sandbox::{Options, Outcome, Request, RunStatus, Sandbox, SandboxErrorCode, Transfer};
use tokio::sync::mpsc;

use crate::support::{House, docker_host, extract, gathered, secs, shell, until, within};
use crate::way::{Mood, Way};

/// One for each way of moving files, at an engine that may be hurt.
fn houses(engine: &OwnEngine) -> [House; 2] {
    [Transfer::Shared, Transfer::Archive].map(|transfer| {
        House::with(|options| {
            options.docker_host = Some(engine.host().to_owned());
            options.transfer = transfer;
            options.reap_age = Duration::ZERO;
        })
    })
}

/// A way to the engine that tests share, and a house that uses it.
fn over_a_way(change: impl FnOnce(&mut Options)) -> (Way, House) {
    let way = Way::to(&docker_host());
    let house = House::with(|options| {
        options.docker_host = Some(way.host());
        change(options);
    });
    (way, house)
}

/// The result of `echo x > f`.
fn assert_taken_out(to: &Path) {
    assert_eq!(std::fs::read_to_string(to.join("f")).unwrap(), "x\n");
}

/// A run that does not end by itself, and whose results nobody must see.
fn endless(house: &House, detached: bool) -> Request {
    let extract = vec![extract("f", &house.folder("results"))];
    Request { detached, extract, ..shell("echo x > f; exec sleep 600") }
}

async fn begun(houses: &[House; 2], detached: bool) -> [sandbox::Execution; 2] {
    let executions = houses.each_ref().map(|house| house.start(endless(house, detached)));
    for (house, execution) in houses.iter().zip(&executions) {
        house.until_running(execution.id()).await;
        until("it has begun", secs(20), async || {
            house.sandbox.state(execution.id()).unwrap().is_some() && !has_not_begun(house, execution).await
        })
        .await;
    }
    executions
}

/// Whether its shell has not become the program yet.
async fn has_not_begun(house: &House, execution: &sandbox::Execution) -> bool {
    let top = house.docker.top_processes(execution.id().as_str(), None).await.unwrap();
    !format!("{top:?}").contains("sleep 600")
}

async fn assert_clean(house: &House, execution: &sandbox::Execution) {
    house.assert_nothing_left(execution.id()).await;
    assert_eq!(std::fs::read_dir(house.folder("results")).unwrap().count(), 0);
}

async fn assert_no_volume(house: &House) {
    let volumes =
        house.docker.list_volumes(None::<ListVolumesOptions>).await.unwrap().volumes.unwrap_or_default();
    assert!(volumes.is_empty(), "{volumes:?}");
}

/// It was ended, and nobody asked for that.
fn assert_ended_by_the_engine(outcome: &Outcome) {
    assert!(!outcome.success() && !outcome.cancelled && !outcome.timed_out, "{outcome:?}");
    assert_eq!(outcome.extracted, None);
}

#[tokio::test]
async fn a_run_whose_engine_is_started_again_ends_as_the_engine_tells_it_and_leaves_nothing() {
    let engine = Engine::own().await;
    let houses = houses(&engine);
    for (detached, killed) in [(false, false), (false, true), (true, false), (true, true)] {
        let executions = begun(&houses, detached).await;
        if killed {
            engine.kill().await;
        } else {
            engine.stop().await;
        }
        engine.start().await;
        for (house, execution) in houses.iter().zip(&executions) {
            let outcome = within(secs(100), execution.outcome()).await.unwrap();
            assert_ended_by_the_engine(&outcome);
            let state = house.sandbox.state(execution.id()).unwrap().unwrap();
            assert_eq!((state.status, state.exit_code), (RunStatus::Exited, Some(outcome.exit_code)));
            assert_clean(house, execution).await;
        }
        assert_no_volume(&houses[0]).await;
    }
}

#[tokio::test]
async fn an_engine_that_stays_away_is_told_and_what_it_had_is_cleared_when_it_is_back() {
    let engine = Engine::own().await;
    let houses = houses(&engine);
    let (attached, detached) = (begun(&houses, false).await, begun(&houses, true).await);
    engine.kill().await;
    for (house, (attached, detached)) in houses.iter().zip(attached.iter().zip(&detached)) {
        for execution in [attached, detached] {
            let error = within(secs(100), execution.outcome()).await.unwrap_err();
            assert_eq!(error.code(), SandboxErrorCode::DockerUnreachable, "{error}");
        }
        let state = |execution: &sandbox::Execution| house.sandbox.state(execution.id()).unwrap().unwrap();
        assert_eq!(state(attached).status, RunStatus::Failed);
        assert_eq!(state(attached).error_code.as_deref(), Some("DOCKER_UNREACHABLE"));
        assert_eq!(state(detached).status, RunStatus::Running, "it may be well");
        let work = house.state_dir().join("work").join(attached.id().as_str());
        let shares = work.exists();
        // What a container may still write to is not removed under it.
        assert_eq!(shares, house.state_dir().join("work").join(detached.id().as_str()).exists());
    }
    assert!(houses[0].state_dir().join("work").join(attached[0].id().as_str()).exists());
    engine.start().await;
    for (house, (attached, detached)) in houses.iter().zip(attached.iter().zip(&detached)) {
        house.sandbox.maintain().await;
        until("the detached one is taken over", secs(60), async || {
            house.sandbox.state(detached.id()).unwrap().unwrap().status == RunStatus::Exited
        })
        .await;
        let again = house.sandbox.attach(detached.id()).await.unwrap().unwrap();
        assert_ended_by_the_engine(&again.outcome().await.unwrap());
        for execution in [attached, detached] {
            assert_clean(house, execution).await;
        }
    }
    assert_no_volume(&houses[0]).await;
}

#[tokio::test]
async fn a_run_that_goes_on_while_its_engine_cannot_be_reached_for_a_while_ends_as_it_would_have() {
    let way = Way::to(&docker_host());
    for transfer in [Transfer::Shared, Transfer::Archive] {
        let house = House::with(|options| {
            options.docker_host = Some(way.host());
            options.transfer = transfer;
        });
        for detached in [false, true] {
            let to = house.folder(if detached { "detached" } else { "attached" });
            let extract = vec![extract("f", &to)];
            let (sender, receiver) = mpsc::channel(16);
            let line = "echo begun; sleep 4; echo x > f; exit 0";
            let request = Request { detached, extract, output: Some(sender), ..shell(line) };
            let execution = house.start(request);
            house.until_running(execution.id()).await;
            way.set(Mood::Cut);
            tokio::time::sleep(secs(6)).await;
            way.set(Mood::Open);
            let (outcome, _) = tokio::join!(within(secs(60), execution.outcome()), gathered(receiver));
            let outcome = outcome.unwrap();
            assert!(outcome.success(), "{outcome:?}");
            assert_taken_out(&to);
            house.assert_nothing_left(execution.id()).await;
        }
    }
}

#[tokio::test]
async fn a_detached_run_whose_engine_stays_away_is_found_again_and_ends_well() {
    let (way, house) = over_a_way(|_| {});
    let to = house.folder("results");
    let extract = vec![extract("f", &to)];
    let execution = house.start(Request { detached: true, extract, ..shell("sleep 50; echo x > f") });
    house.until_running(execution.id()).await;
    way.set(Mood::Cut);
    let error = within(secs(60), execution.outcome()).await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::DockerUnreachable, "{error}");
    way.set(Mood::Open);
    assert_eq!(house.container_status(execution.id()).await.as_deref(), Some("running"));
    assert_found_well(&house, execution.id(), secs(60)).await;
    assert_taken_out(&to);
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn an_adopted_run_whose_engine_stays_away_is_found_again_and_ends_well() {
    let (way, house) = over_a_way(|_| {});
    let to = house.folder("results");
    let extract = vec![extract("f", &to)];
    let id = left_behind(&house, Request { extract, ..shell("sleep 55; echo x > f") }).await;
    let adopted = house.sandbox.attach(&id).await.unwrap().unwrap();
    // It answers only when its engine has said that it runs.
    adopted.resume().await.unwrap();
    way.set(Mood::Cut);
    let error = within(secs(45), adopted.outcome()).await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::DockerUnreachable, "{error}");
    assert_eq!(house.sandbox.state(&id).unwrap().unwrap().status, RunStatus::Running);
    way.set(Mood::Open);
    assert_eq!(house.container_status(&id).await.as_deref(), Some("running"));
    assert_found_well(&house, &id, secs(60)).await;
    assert_taken_out(&to);
    house.assert_nothing_left(&id).await;
}

#[tokio::test]
async fn a_run_whose_results_are_there_has_ended_though_its_engine_stays_away_from_the_removal() {
    let (way, house) = over_a_way(|options| options.reap_age = Duration::ZERO);
    let own = house.folder("own");
    let adopted = house.folder("adopted");
    let writing = |to: &Path| Request {
        detached: true,
        extract: vec![extract("f", to)],
        ..shell("sleep 3; echo x > f")
    };
    let left = left_behind(&house, writing(&adopted)).await;
    let executions = [house.start(writing(&own)), house.sandbox.attach(&left).await.unwrap().unwrap()];
    way.set(Mood::HeldAt("DELETE /"));
    until("both have results", secs(30), async || [&own, &adopted].iter().all(|to| to.join("f").exists()))
        .await;
    within(secs(30), way.until_held()).await;
    way.set(Mood::Cut);
    for execution in &executions {
        let outcome = within(secs(60), execution.outcome()).await.unwrap();
        assert!(outcome.success() && outcome.extracted.is_some(), "{outcome:?}");
        let state = house.sandbox.state(execution.id()).unwrap().unwrap();
        assert_eq!((state.status, state.error), (RunStatus::Exited, None));
    }
    way.set(Mood::Open);
    for execution in &executions {
        until("a sweep removes it", secs(30), async || {
            house.sandbox.maintain().await;
            house.container_status(execution.id()).await.is_none()
        })
        .await;
        house.assert_nothing_left(execution.id()).await;
    }
}

#[tokio::test]
async fn a_detached_run_whose_engine_goes_away_before_its_results_are_taken_keeps_them() {
    let (way, house) = over_a_way(|options| options.transfer = Transfer::Archive);
    let to = house.folder("results");
    let extract = vec![extract("f", &to)];
    let execution = house.start(Request { detached: true, extract, ..shell("sleep 3; echo x > f") });
    house.until_running(execution.id()).await;
    way.set(Mood::HeldAt("/archive"));
    within(secs(30), way.until_held()).await;
    way.set(Mood::Cut);
    let error = within(secs(20), execution.outcome()).await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::DockerUnreachable, "{error}");
    assert_eq!(house.sandbox.state(execution.id()).unwrap().unwrap().status, RunStatus::Running);
    way.set(Mood::Open);
    assert_eq!(house.container_status(execution.id()).await.as_deref(), Some("exited"));
    assert_found_well(&house, execution.id(), secs(30)).await;
    assert_taken_out(&to);
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn a_detached_run_whose_engine_goes_away_amid_its_results_keeps_them_and_the_rest_is_taken_out_later() {
    let (way, house) = over_a_way(|options| options.transfer = Transfer::Archive);
    let to = house.folder("results");
    let extract = ["first", "second"].map(|name| extract(name, &to)).to_vec();
    let line = "sleep 3; echo x > first; echo y > second";
    let execution = house.start(Request { detached: true, extract, ..shell(line) });
    house.until_running(execution.id()).await;
    way.set(Mood::HeldAt("app%2Fsecond"));
    within(secs(30), way.until_held()).await;
    assert!(to.join("first").exists());
    way.set(Mood::Cut);
    let error = within(secs(30), execution.outcome()).await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::DockerUnreachable, "{error}");
    assert_eq!(house.sandbox.state(execution.id()).unwrap().unwrap().status, RunStatus::Running);
    way.set(Mood::Open);
    assert_found_well(&house, execution.id(), secs(30)).await;
    let read = |name: &str| std::fs::read_to_string(to.join(name)).unwrap();
    assert_eq!((read("first").as_str(), read("second").as_str()), ("x\n", "y\n"));
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn a_sweep_goes_on_where_the_engine_cannot_remove_one_container() {
    let (way, house) = over_a_way(|_| {});
    // The engine lists the newest first.
    let (removable, stuck) = (abandoned(&house).await, abandoned(&house).await);
    let container = house.docker.inspect_container(stuck.as_str(), None).await.unwrap();
    way.set(Mood::RefusedAt(format!("{}?", container.id.unwrap())));
    within(secs(60), house.sandbox.maintain()).await;
    assert_eq!(house.container_status(&removable).await, None);
    assert_eq!(house.container_status(&stuck).await.as_deref(), Some("running"));
    way.set(Mood::Open);
    house.sandbox.maintain().await;
    assert_eq!(house.container_status(&stuck).await, None);
}

#[tokio::test]
async fn a_sweep_does_not_wait_long_for_an_engine_that_is_silent_and_the_next_one_goes_on() {
    let (way, house) = over_a_way(|_| {});
    assert!(house.sandbox.is_available().await);
    for silent_at in ["/containers/json", "DELETE /"] {
        let left = abandoned(&house).await;
        way.set(Mood::HeldAt(silent_at));
        within(secs(60), house.sandbox.maintain()).await;
        way.set(Mood::Open);
        until("the next sweep removes it", secs(30), async || {
            house.sandbox.maintain().await;
            house.container_status(&left).await.is_none()
        })
        .await;
    }
}

/// The run is attached to again, and ends well.
async fn assert_found_well(house: &House, id: &sandbox::RunId, limit: Duration) {
    let found = house.sandbox.attach(id).await.unwrap().unwrap();
    assert!(within(limit, found.outcome()).await.unwrap().success());
}

/// A container of a process that is dead, as if it had been attached: nobody goes on with such a one.
async fn abandoned(house: &House) -> sandbox::RunId {
    let id = left_behind(house, shell("sleep 600")).await;
    std::fs::remove_file(house.state_dir().join(format!("{id}.json"))).unwrap();
    id
}

/// A detached run that goes on while its process is dead.
pub(crate) async fn left_behind(house: &House, request: Request) -> sandbox::RunId {
    let drain = runtime::Drain::new();
    let options =
        sandbox::Options { docker_host: Some(docker_host()), ..sandbox::Options::new(house.state_dir()) };
    let sandbox = Sandbox::open(options, &drain).unwrap();
    let execution = sandbox.start(Request { detached: true, ..request }).unwrap();
    house.until_running(execution.id()).await;
    drain.run(secs(5), std::future::pending()).await;
    execution.id().clone()
}

#[tokio::test]
async fn many_runs_at_an_engine_that_never_answered_are_told_at_the_same_time() {
    let way = Way::to(&docker_host());
    way.set(Mood::Held);
    let house = House::with(|options| {
        options.docker_host = Some(way.host());
        options.ping_timeout = secs(2);
    });
    let executions: Vec<_> = (0..20).map(|_| house.start(shell("true"))).collect();
    within(secs(10), async {
        for execution in &executions {
            let error = execution.outcome().await.unwrap_err();
            assert_eq!(error.code(), SandboxErrorCode::DockerUnreachable);
        }
    })
    .await;
}

#[tokio::test]
async fn the_folder_of_a_run_goes_after_its_container() {
    let (way, house) = over_a_way(|options| options.transfer = Transfer::Shared);
    let execution = house.start(shell("true"));
    way.set(Mood::HeldAt("DELETE /"));
    within(secs(30), way.until_held()).await;
    let work = house.state_dir().join("work").join(execution.id().as_str());
    assert!(work.exists(), "its container is there");
    way.set(Mood::Open);
    assert!(within(secs(30), execution.outcome()).await.unwrap().success());
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn the_folder_of_a_container_that_is_to_wait_is_left_alone_while_its_image_is_pulled() {
    let way = Way::to(&docker_host());
    way.set(Mood::HeldAt("/images/create"));
    let house = House::with(|options| {
        options.docker_host = Some(way.host());
        options.transfer = Transfer::Shared;
        options.warm = vec![("localhost:1/light-runner/slow:1".to_owned(), 1)];
    });
    within(secs(30), way.until_held()).await;
    let folders = || std::fs::read_dir(house.state_dir().join("work")).unwrap().map(Result::unwrap);
    assert_eq!(folders().count(), 1);
    let long_ago = SystemTime::now() - secs(3600);
    File::open(folders().next().unwrap().path()).unwrap().set_modified(long_ago).unwrap();
    let options =
        sandbox::Options { docker_host: Some(docker_host()), ..sandbox::Options::new(house.state_dir()) };
    let other = Sandbox::open(options, &house.drain).unwrap();
    house.sandbox.maintain().await;
    other.maintain().await;
    assert_eq!(folders().count(), 1, "it is being made");
    house.drain.clone().run(secs(5), std::future::pending()).await;
    assert_eq!(folders().count(), 0);
}

#[tokio::test]
async fn a_run_whose_engine_has_fallen_silent_can_be_cancelled_and_is_cleared_up_later() {
    let (way, house) = over_a_way(|_| {});
    let direct = House::new();
    let execution = house.start(shell("sleep 600"));
    house.until_running(execution.id()).await;
    // Its start has been answered, too.
    execution.pause().await.unwrap();
    way.set(Mood::Held);
    execution.cancel();
    let error = within(secs(150), execution.outcome()).await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::DockerUnreachable, "{error}");
    way.set(Mood::Open);
    let work = house.state_dir().join("work").join(execution.id().as_str());
    assert!(work.exists(), "its container may write there still");
    // What was on its way when it fell silent arrives, or the sweep of the next process removes it.
    drop(house.sandbox);
    let options = sandbox::Options {
        docker_host: Some(docker_host()),
        ..sandbox::Options::new(work.ancestors().nth(2).unwrap())
    };
    let next = Sandbox::open(options, &direct.drain).unwrap();
    until("nothing is left", secs(30), async || {
        next.maintain().await;
        direct.container_status(execution.id()).await.is_none() && !work.exists()
    })
    .await;
}
