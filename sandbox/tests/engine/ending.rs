//! Cancel, stop, pause: the ways in which a run is kept from ending by itself.

use std::time::{Duration, Instant};

use sandbox::{Request, SandboxErrorCode, Transfer};

use crate::support::{House, docker_host, secs, shell, until, within};
use crate::way::{Mood, Way};

#[tokio::test]
async fn a_run_that_is_cancelled_at_once_never_begins() {
    let house = House::new();
    let execution = house.start(shell("sleep 30"));
    execution.cancel();
    assert!(execution.is_cancelled());
    let outcome = within(secs(10), execution.outcome()).await.unwrap();
    assert!(outcome.cancelled && !outcome.success());
    assert_eq!((outcome.exit_code, outcome.duration), (-1, Duration::ZERO));
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn a_run_can_be_cancelled_at_every_stage() {
    for transfer in [Transfer::Shared, Transfer::Archive] {
        let house = House::with(|options| options.transfer = transfer);
        for step in 0..24_u64 {
            let execution = house.start(shell("sleep 30"));
            tokio::time::sleep(Duration::from_millis(step * 20)).await;
            execution.cancel();
            let outcome = within(secs(20), execution.outcome()).await.unwrap();
            assert!(outcome.cancelled && !outcome.success(), "after {} ms", step * 20);
            house.assert_nothing_left(execution.id()).await;
        }
    }
}

#[tokio::test]
async fn a_cancelled_run_takes_nothing_out() {
    let house = House::new();
    let to = house.folder("results");
    let extract = vec![sandbox::Extract { from: "f".to_owned(), to: to.clone() }];
    let execution = house.start(Request { extract, ..shell("echo x > f; sleep 30") });
    house.until_running(execution.id()).await;
    execution.cancel();
    let outcome = execution.outcome().await.unwrap();
    assert_eq!(outcome.extracted, None);
    assert_eq!(std::fs::read_dir(to).unwrap().count(), 0);
    let state = house.sandbox.state(execution.id()).unwrap().unwrap();
    assert_eq!((state.status, state.cancelled), (sandbox::RunStatus::Cancelled, Some(true)));
}

#[tokio::test]
async fn cancelling_twice_or_after_the_end_changes_nothing() {
    let house = House::new();
    let execution = house.start(shell("exit 6"));
    let outcome = execution.outcome().await.unwrap();
    execution.cancel();
    execution.cancel();
    assert!(!execution.is_cancelled());
    assert_eq!(execution.outcome().await.unwrap(), outcome);
}

#[tokio::test]
async fn stopping_ends_as_soon_as_the_process_does() {
    let house = House::new();
    let execution = house.start(shell("trap 'exit 42' TERM; touch /tmp/on; sleep 60 & wait"));
    house.until_running(execution.id()).await;
    // The shell needs a moment for its trap.
    tokio::time::sleep(secs(1)).await;
    let begun = Instant::now();
    execution.stop("SIGTERM", secs(30)).await.unwrap();
    assert!(begun.elapsed() < secs(10), "{:?}", begun.elapsed());
    let outcome = execution.outcome().await.unwrap();
    assert_eq!((outcome.exit_code, outcome.cancelled), (42, true));
}

#[tokio::test]
async fn a_program_without_a_trap_ends_by_the_signal() {
    let house = House::new();
    let execution = house.start(shell("exec sleep 60"));
    house.until_running(execution.id()).await;
    let begun = Instant::now();
    execution.stop("TERM", secs(30)).await.unwrap();
    assert!(begun.elapsed() < secs(10));
    assert_eq!(execution.outcome().await.unwrap().exit_code, 143);
}

/// The engine says that a container runs before its start call has been answered.
#[tokio::test]
async fn a_run_that_is_stopped_in_the_moment_of_its_start_is_asked_and_not_killed() {
    let way = Way::to(&docker_host());
    let house = House::with(|options| options.docker_host = Some(way.host()));
    let execution = house.start(shell("trap 'exit 42' TERM; touch /tmp/on; sleep 60 & wait"));
    // The request arrives, its answer does not.
    way.set(Mood::HeldAt("204 No Content"));
    within(secs(20), way.until_held()).await;
    let direct = House::new();
    until("it runs", secs(20), async || {
        direct.container_status(execution.id()).await.as_deref() == Some("running")
    })
    .await;
    let open = async {
        tokio::time::sleep(secs(1)).await;
        way.set(Mood::Open);
    };
    let (stopped, ()) =
        within(secs(20), async { tokio::join!(execution.stop("TERM", secs(30)), open) }).await;
    stopped.unwrap();
    let outcome = execution.outcome().await.unwrap();
    assert_eq!((outcome.exit_code, outcome.cancelled), (42, true));
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn a_process_that_ignores_the_signal_is_killed_after_the_grace() {
    let house = House::new();
    let execution = house.start(shell("trap '' TERM; sleep 60 & while true; do wait; done"));
    house.until_running(execution.id()).await;
    tokio::time::sleep(secs(1)).await;
    let begun = Instant::now();
    execution.stop("SIGTERM", secs(2)).await.unwrap();
    assert!(begun.elapsed() >= secs(2) && begun.elapsed() < secs(15), "{:?}", begun.elapsed());
    let outcome = execution.outcome().await.unwrap();
    assert_eq!((outcome.exit_code, outcome.cancelled), (137, true));
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn asked_twice_the_shorter_grace_holds() {
    let house = House::new();
    let execution = house.start(shell("trap '' TERM; sleep 60 & while true; do wait; done"));
    house.until_running(execution.id()).await;
    let begun = Instant::now();
    let (patient, impatient) =
        tokio::join!(execution.stop("TERM", secs(60)), execution.stop("TERM", secs(0)));
    patient.unwrap();
    impatient.unwrap();
    assert!(begun.elapsed() < secs(15));
}

#[tokio::test]
async fn stopping_what_has_ended_or_with_no_signal_of_this_world_is_refused() {
    let house = House::new();
    let execution = house.start(shell("true"));
    let unknown = execution.stop("SIGNOPE", secs(1)).await.unwrap_err();
    assert_eq!(unknown.code(), SandboxErrorCode::InvalidRequest);
    execution.outcome().await.unwrap();
    let ended = execution.stop("SIGTERM", secs(1)).await.unwrap_err();
    assert_eq!(ended.code(), SandboxErrorCode::RunEnded);
}

#[tokio::test]
async fn a_paused_run_stands_still_until_it_is_resumed() {
    let house = House::new();
    let execution = house.start(shell("sleep 60"));
    execution.pause().await.unwrap();
    assert_eq!(house.container_status(execution.id()).await.as_deref(), Some("paused"));
    execution.pause().await.unwrap();
    execution.resume().await.unwrap();
    assert_eq!(house.container_status(execution.id()).await.as_deref(), Some("running"));
    execution.resume().await.unwrap();
    assert!(!execution.is_cancelled());
    execution.pause().await.unwrap();
    execution.stop("SIGTERM", secs(1)).await.unwrap();
    assert!(execution.outcome().await.unwrap().cancelled);
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn a_paused_run_can_be_cancelled_and_times_out() {
    let house = House::new();
    let execution = house.start(Request { timeout: Some(secs(2)), ..shell("sleep 60") });
    execution.pause().await.unwrap();
    let outcome = within(secs(30), execution.outcome()).await.unwrap();
    assert!(outcome.timed_out);
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn what_has_ended_cannot_be_paused() {
    let house = House::new();
    let execution = house.start(shell("true"));
    execution.outcome().await.unwrap();
    let error = execution.pause().await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::RunEnded);
    assert!(error.message().starts_with("docker pause failed: "), "{error}");
}
