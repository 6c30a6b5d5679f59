//! Runs that outlive whoever started them.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};
use std::time::{Duration, Instant};

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptionsBuilder, RemoveContainerOptionsBuilder};
use sandbox::{
    ExtractStatus, Options, Outcome, Request, RunId, RunState, RunStatus, Sandbox, SandboxErrorCode, Seed,
    Transfer,
};
use tokio::sync::mpsc;

use crate::restarts::left_behind;
use crate::support::{HOST, House, IMAGE, docker_host, extract, gathered, secs, shell, until, within};
use crate::way::{Mood, Way};

const STATE_DIR: &str = "SANDBOX_TEST_STATE_DIR";

fn detached(line: &str) -> Request {
    Request { detached: true, ..shell(line) }
}

fn another(house: &House) -> Sandbox {
    let options = Options { docker_host: Some(docker_host()), ..Options::new(house.state_dir()) };
    Sandbox::open(options, &house.drain).unwrap()
}

#[tokio::test]
async fn a_detached_run_ends_with_its_state_written_down() {
    let house = House::new();
    let told = house.run(detached("echo hi; echo no >&2; sleep 0.2")).await;
    assert!(told.outcome.success());
    assert_eq!((told.text(), told.errors()), ("hi\n", "no\n"));
    let states = house.sandbox.list().unwrap();
    let [state] = states.as_slice() else { panic!("{states:?}") };
    assert_eq!((state.status, state.exit_code, state.cancelled), (RunStatus::Exited, Some(0), Some(false)));
    assert_eq!((state.container.as_str(), state.image.as_str()), (state.id.as_str(), IMAGE));
    assert!(state.duration_ms.unwrap() >= 200 && state.finished_at.as_ref().unwrap() > &state.started_at);
}

#[tokio::test]
async fn results_of_a_detached_run_are_taken_out() {
    for house in House::each_transfer() {
        let to = house.folder("results");
        let extract = vec![extract("f", &to), extract("/tmp/g", &to)];
        let told = house.run(Request { extract, ..detached("echo x > f; echo y > /tmp/g") }).await;
        assert!(told.outcome.success());
        assert_eq!(std::fs::read_to_string(to.join("f")).unwrap(), "x\n");
        assert_eq!(std::fs::read_to_string(to.join("g")).unwrap(), "y\n");
        assert_eq!(house.sandbox.list().unwrap()[0].extracted.as_ref().unwrap().len(), 2);
    }
}

#[tokio::test]
async fn the_time_limit_holds_for_detached_runs_too() {
    let house = House::new();
    let told = house.run(Request { timeout: Some(secs(1)), ..detached("sleep 60") }).await;
    assert!(told.outcome.timed_out && !told.outcome.success());
    assert_eq!(house.sandbox.list().unwrap()[0].timed_out, Some(true));
}

#[tokio::test]
async fn a_detached_run_is_cancelled_through_any_handle() {
    let house = House::new();
    let execution = house.start(detached("sleep 60"));
    house.until_running(execution.id()).await;
    let elsewhere = another(&house).attach(execution.id()).await.unwrap().unwrap();
    elsewhere.cancel();
    assert!(within(secs(20), elsewhere.outcome()).await.unwrap().cancelled);
    assert!(execution.outcome().await.unwrap().cancelled);
    assert_eq!(house.sandbox.state(execution.id()).unwrap().unwrap().status, RunStatus::Cancelled);
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn stopping_from_elsewhere_is_known_to_the_owner() {
    let house = House::new();
    let execution = house.start(detached("exec sleep 60"));
    house.until_running(execution.id()).await;
    let elsewhere = another(&house).attach(execution.id()).await.unwrap().unwrap();
    elsewhere.stop("SIGTERM", secs(20)).await.unwrap();
    let outcome = execution.outcome().await.unwrap();
    assert_eq!((outcome.cancelled, outcome.exit_code), (true, 143));
}

#[tokio::test]
async fn two_handles_of_two_sandboxes_see_the_same_end_and_results_are_taken_once() {
    let house = House::new();
    let to = house.folder("results");
    let extract = vec![extract("f", &to)];
    let execution = house.start(Request { extract, ..detached("sleep 1; echo x > f") });
    let elsewhere = another(&house).attach(execution.id()).await.unwrap().unwrap();
    let (one, other) = tokio::join!(execution.outcome(), elsewhere.outcome());
    let (one, other) = (one.unwrap(), other.unwrap());
    assert!(one.success() && other.success());
    assert_eq!(one.extracted, other.extracted);
    assert_eq!(std::fs::read_to_string(to.join("f")).unwrap(), "x\n");
}

#[tokio::test]
async fn nobody_knows_an_id_that_never_was() {
    let house = House::new();
    assert!(house.sandbox.attach(&RunId::new()).await.unwrap().is_none());
}

#[tokio::test]
async fn a_run_that_has_ended_answers_at_once_from_its_state() {
    let house = House::new();
    let execution = house.start(shell("exit 9"));
    execution.outcome().await.unwrap();
    let cancelled = house.start(shell("sleep 60"));
    cancelled.cancel();
    cancelled.outcome().await.unwrap();
    let other = another(&house);
    let ended = other.attach(execution.id()).await.unwrap().unwrap();
    let outcome = ended.outcome().await.unwrap();
    assert_eq!((outcome.exit_code, outcome.success(), ended.is_cancelled()), (9, false, false));
    let ended = other.attach(cancelled.id()).await.unwrap().unwrap();
    assert!(ended.outcome().await.unwrap().cancelled && ended.is_cancelled());
    assert!(other.forget(execution.id()).unwrap() && !other.forget(execution.id()).unwrap());
    assert!(other.attach(execution.id()).await.unwrap().is_none());
}

/// A state as a process leaves it that dies before its container is made.
fn abandoned(house: &House) -> RunState {
    let id = RunId::new();
    let state = serde_json::json!({
        "id": id, "container": id, "volume": id, "image": IMAGE, "workdir": "/app", "detached": true,
        "startedAt": "2026-01-01T00:00:00.000Z", "status": "running",
    });
    std::fs::write(house.state_dir().join(format!("{id}.json")), state.to_string()).unwrap();
    house.sandbox.state(&id).unwrap().unwrap()
}

#[tokio::test]
async fn a_running_state_without_a_container_fails_when_it_is_attached_to() {
    let house = House::new();
    let state = abandoned(&house);
    let execution = house.sandbox.attach(&state.id).await.unwrap().unwrap();
    let error = within(secs(20), execution.outcome()).await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::RunNotFound);
    let state = house.sandbox.state(&state.id).unwrap().unwrap();
    assert!(state.status == RunStatus::Failed && state.finished_at.is_some());
    let again = house.sandbox.attach(&state.id).await.unwrap().unwrap().outcome().await.unwrap();
    assert_eq!((again.exit_code, again.success(), again.duration), (-1, false, Duration::ZERO));
}

/// A run of this process that has ended, and whose state says that it has not.
async fn unconcluded(house: &House, change: impl FnOnce(&mut serde_json::Value)) -> RunId {
    let ended = house.start(detached("exit 3"));
    ended.outcome().await.unwrap();
    rewrite(house, ended.id(), |state| {
        state["status"] = "running".into();
        change(state);
    });
    ended.id().clone()
}

/// Writes the state of a run as another process might have left it.
fn rewrite(house: &House, id: &RunId, change: impl FnOnce(&mut serde_json::Value)) {
    let path = house.state_dir().join(format!("{id}.json"));
    let mut state: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut state);
    std::fs::write(&path, state.to_string()).unwrap();
}

#[tokio::test]
async fn a_run_of_ours_whose_end_was_never_written_down_is_ended_when_it_is_attached_to() {
    let house = House::new();
    let id = unconcluded(&house, |state| drop(state.as_object_mut().unwrap().remove("exitCode"))).await;
    let execution = house.sandbox.attach(&id).await.unwrap().unwrap();
    let error = within(secs(20), execution.outcome()).await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::RunNotFound);
    assert_eq!(house.sandbox.state(&id).unwrap().unwrap().status, RunStatus::Failed);
}

#[tokio::test]
async fn a_run_whose_container_went_after_the_end_of_its_process_was_noted_has_ended_like_that() {
    let house = House::new();
    let [attached, swept] = [unconcluded(&house, |_| {}).await, unconcluded(&house, |_| {}).await];
    let execution = house.sandbox.attach(&attached).await.unwrap().unwrap();
    assert_eq!(within(secs(20), execution.outcome()).await.unwrap().exit_code, 3);
    assert_eq!(house.sandbox.maintain().await.reconciled, 1);
    for id in [attached, swept] {
        let state = house.sandbox.state(&id).unwrap().unwrap();
        assert_eq!((state.status, state.exit_code), (RunStatus::Exited, Some(3)));
    }
}

#[tokio::test]
async fn an_end_that_was_noted_holds_while_the_container_is_still_there() {
    let house = House::new();
    let to = house.folder("results");
    let (entry, line) = (extract("f", &to), "sleep 4; echo x > f");
    let id = left_behind(&house, Request { extract: vec![entry], ..shell(line) }).await;
    house.until_exited(&id).await;
    rewrite(&house, &id, |state| {
        state["exitCode"] = 0.into();
        state["diskExceeded"] = true.into();
    });
    let outcome =
        within(secs(20), house.sandbox.attach(&id).await.unwrap().unwrap().outcome()).await.unwrap();
    assert!(outcome.disk_exceeded && outcome.extracted.is_none(), "{outcome:?}");
    assert!(!to.join("f").exists(), "nobody takes out what was");
    house.assert_nothing_left(&id).await;
}

#[tokio::test]
async fn a_run_that_ended_in_time_keeps_its_results_however_late_that_is_seen() {
    let house = House::new();
    let to = house.folder("results");
    let limited = |line: &str| Request { timeout: Some(secs(10)), ..shell(line) };
    let entry = extract("f", &to);
    let well = left_behind(&house, Request { extract: vec![entry], ..limited("sleep 4; echo x > f") }).await;
    let killed = left_behind(&house, limited("sleep 11; kill -9 $$")).await;
    for id in [&well, &killed] {
        house.until_exited(id).await;
    }
    let [well, killed] = [well, killed].map(async |id| {
        let execution = house.sandbox.attach(&id).await.unwrap().unwrap();
        let outcome = within(secs(20), execution.outcome()).await.unwrap();
        house.assert_nothing_left(&id).await;
        outcome
    });
    let (well, killed) = tokio::join!(well, killed);
    assert!(well.success() && !well.timed_out, "{well:?}");
    assert_eq!(std::fs::read(to.join("f")).unwrap(), b"x\n");
    assert!(killed.timed_out && killed.exit_code == 137, "{killed:?}");
}

#[tokio::test]
async fn what_was_only_to_be_moved_goes_with_a_run_that_was_cancelled() {
    let house = House::new();
    let to = house.folder("results");
    let entry = extract("f", &to);
    let id = left_behind(&house, Request { extract: vec![entry], ..shell("sleep 4") }).await;
    house.until_exited(&id).await;
    let stage = format!(".{id}-0123456789abcdef0123456789abcdef");
    std::fs::create_dir_all(to.join(&stage)).unwrap();
    std::fs::write(to.join(&stage).join("f"), "x").unwrap();
    rewrite(&house, &id, |state| {
        state["cancelled"] = true.into();
        state["landed"] = serde_json::json!([{"entry": 0, "stage": stage, "bytes": 1, "entries": 1}]);
    });
    let outcome =
        within(secs(20), house.sandbox.attach(&id).await.unwrap().unwrap().outcome()).await.unwrap();
    assert!(outcome.cancelled, "{outcome:?}");
    assert_eq!(std::fs::read_dir(&to).unwrap().count(), 0);
}

#[tokio::test]
async fn a_sweep_reconciles_states_without_containers_and_leaves_the_others() {
    let house = House::new();
    let lost = abandoned(&house);
    let ended = house.start(shell("true"));
    ended.outcome().await.unwrap();
    let running = house.start(detached("sleep 60"));
    house.until_running(running.id()).await;
    let done = house.sandbox.maintain().await;
    assert_eq!(done.reconciled, 1);
    let status = |id: &RunId| house.sandbox.state(id).unwrap().unwrap().status;
    assert_eq!(
        (status(&lost.id), status(ended.id()), status(running.id())),
        (RunStatus::Failed, RunStatus::Exited, RunStatus::Running)
    );
    running.cancel();
    running.outcome().await.unwrap();
}

#[tokio::test]
async fn a_sweep_of_another_process_touches_nothing_of_a_living_one() {
    let house = House::new();
    let to = house.folder("results");
    let extract = vec![extract("f", &to)];
    let execution = house.start(Request { extract, ..shell("sleep 2; echo x > f") });
    let other = another(&house);
    let stranger = House::new();
    while house.sandbox.state(execution.id()).unwrap().unwrap().status == RunStatus::Running {
        other.maintain().await;
        stranger.sandbox.maintain().await;
    }
    assert!(execution.outcome().await.unwrap().success());
    assert!(to.join("f").exists());
}

const FILL: &str = "i=0; while true; do head -c 1000000 /dev/zero > f$i; i=$((i+1)); sleep 0.01; done";

/// A root that can be written is that of an engine whose files can be seen.
#[tokio::test]
async fn whoever_takes_a_run_over_watches_what_it_writes_wherever_that_is() {
    let results = House::new();
    let kept = vec![extract("/tmp/f", &results.folder("results"))];
    for transfer in [Transfer::Shared, Transfer::Archive] {
        for (extract, writable_root, folder) in
            [(vec![], false, "/app"), (kept.clone(), false, "/tmp"), (vec![], true, "/full")]
        {
            let house = House::new();
            let mut options = Options::new(house.folder("of-two"));
            (options.docker_host, options.transfer) = (Some(docker_host()), transfer);
            options.disk = 16 << 20;
            let line =
                format!("while [ ! -e go ]; do sleep 0.1; done; mkdir -p {folder}; cd {folder}; {FILL}");
            let user = Some("root".to_owned());
            let drain = runtime::Drain::new();
            let first = Sandbox::open(options.clone(), &drain).unwrap();
            let begun = first.start(Request { extract, writable_root, user, ..detached(&line) }).unwrap();
            house.until_running(begun.id()).await;
            drain.run(secs(10), std::future::pending()).await;
            drop(first);
            let next = Sandbox::open(options, &house.drain).unwrap();
            let taken = next.attach(begun.id()).await.unwrap().unwrap();
            let go = bollard::models::ExecConfig {
                cmd: Some(vec!["touch".to_owned(), "/app/go".to_owned()]),
                ..Default::default()
            };
            let exec = house.docker.create_exec(begun.id().as_str(), go).await.unwrap();
            house.docker.start_exec(&exec.id, None::<bollard::exec::StartExecOptions>).await.unwrap();
            let outcome = within(secs(60), taken.outcome()).await.unwrap();
            assert!(outcome.disk_exceeded && !outcome.success(), "{folder}, {transfer:?}: {outcome:?}");
            house.assert_nothing_left(begun.id()).await;
        }
    }
}

/// The age is far beyond that of anything that other tests have at the same engine.
#[tokio::test]
async fn an_old_container_and_an_old_volume_that_nobody_knows_are_removed_and_young_ones_are_not() {
    let house = House::with(|options| options.reap_age = secs(60));
    let (id, volume) = (RunId::new(), RunId::new());
    let body = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        labels: Some([("light-runner.run-id".to_owned(), id.to_string())].into()),
        ..ContainerCreateBody::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(id.as_str()).build();
    house.docker.create_container(Some(options), body).await.unwrap();
    // As an older program named its volumes.
    let named = bollard::models::VolumeCreateRequest { name: Some(volume.to_string()), ..Default::default() };
    house.docker.create_volume(named).await.unwrap();
    house.sandbox.maintain().await;
    assert_eq!(house.container_status(&id).await.as_deref(), Some("created"));
    assert!(house.docker.inspect_volume(volume.as_str()).await.is_ok());
    until("they are old enough", secs(150), async || {
        house.sandbox.maintain().await;
        house.container_status(&id).await.is_none()
            && house.docker.inspect_volume(volume.as_str()).await.is_err()
    })
    .await;
}

/// A test in a process of its own, which waits to be killed, and the ids of its runs.
fn spawn<const RUNS: usize>(test: &str, house: &House, host: &str) -> (Child, [RunId; RUNS]) {
    let mut process = Process::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("detached::{test}"), "--nocapture"])
        .env(STATE_DIR, house.state_dir())
        .env(HOST, host)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut ids = lines.filter_map(|line| line.strip_prefix("run ").map(|id| id.parse().unwrap()));
    let runs = std::array::from_fn(|_| ids.next().unwrap());
    (process, runs)
}

fn kill(process: &mut Child) {
    process.kill().unwrap();
    process.wait().unwrap();
}

/// A process with a sandbox of its own, and the ids of its two runs: one attached, one detached.
struct Owner {
    process: Child,
    attached: RunId,
    detached: RunId,
}

impl Owner {
    fn spawn(house: &House) -> Self {
        let test = "a_process_with_two_runs_ends_both_or_is_killed";
        let (process, [attached, detached]) = spawn(test, house, &docker_host());
        Self { process, attached, detached }
    }

    fn kill(&mut self) {
        kill(&mut self.process);
    }
}

/// Where another test gives it a folder, it waits to be killed.
#[tokio::test]
async fn a_process_with_two_runs_ends_both_or_is_killed() {
    let own = tempfile::TempDir::new().unwrap();
    let given = std::env::var_os(STATE_DIR).map(std::path::PathBuf::from);
    let state_dir = given.clone().unwrap_or_else(|| own.path().join("state"));
    let results = state_dir.parent().unwrap().join("results");
    let options = Options { docker_host: Some(docker_host()), ..Options::new(state_dir) };
    let sandbox = Sandbox::open(options, &runtime::Drain::new()).unwrap();
    let attached = sandbox.start(shell("sleep 100")).unwrap();
    let files = [("seed".to_owned(), "seeded".into())].into();
    let request = Request {
        seed: Some(Seed::Files(files)),
        extract: vec![extract("f", &results)],
        timeout: Some(secs(60)),
        ..detached("echo begun; sleep 6; cat seed > f; echo done")
    };
    let detached = sandbox.start(request).unwrap();
    let docker = bollard::Docker::connect_with_host(&docker_host()).unwrap();
    for id in [attached.id(), detached.id()] {
        until("it runs", secs(30), async || {
            let container = docker.inspect_container(id.as_str(), None).await;
            container.is_ok_and(|container| container.state.unwrap().running == Some(true))
        })
        .await;
        println!("\nrun {id}");
    }
    if given.is_some() {
        std::future::pending::<()>().await;
    }
    attached.cancel();
    detached.cancel();
    assert!(attached.outcome().await.unwrap().cancelled);
    assert!(detached.outcome().await.unwrap().cancelled);
}

#[tokio::test]
async fn what_a_killed_process_leaves_is_cleared_and_its_detached_runs_are_seen_to_their_end() {
    let house = House::new();
    let mut owner = Owner::spawn(&house);
    let living = house.sandbox.maintain().await;
    assert_eq!((living.containers, living.reconciled), (0, 0));
    owner.kill();
    let begun = Instant::now();
    let (sender, receiver) = mpsc::channel(16);
    let execution = house.sandbox.attach_with(&owner.detached, Some(sender)).await.unwrap().unwrap();
    let done = house.sandbox.maintain().await;
    assert_eq!((done.containers, done.reconciled), (1, 1), "the attached run goes at once");
    house.assert_nothing_left(&owner.attached).await;
    let (outcome, (stdout, _)) = tokio::join!(within(secs(60), execution.outcome()), gathered(receiver));
    let outcome = outcome.unwrap();
    assert!(outcome.success() && outcome.duration >= secs(6), "{outcome:?} after {:?}", begun.elapsed());
    assert_eq!(stdout, b"begun\ndone\n", "all of its output, from before the kill on");
    let results = house.state_dir().parent().unwrap().join("results");
    assert_eq!(std::fs::read_to_string(results.join("f")).unwrap(), "seeded");
    house.assert_nothing_left(&owner.detached).await;
}

/// Where another test gives it a folder, it waits to be killed.
#[tokio::test]
async fn a_process_takes_two_results_out_or_is_killed_meanwhile() {
    let own = tempfile::TempDir::new().unwrap();
    let given = std::env::var_os(STATE_DIR).map(std::path::PathBuf::from);
    let state_dir = given.clone().unwrap_or_else(|| own.path().join("state"));
    let to = state_dir.parent().unwrap().join("results");
    let options =
        Options { docker_host: Some(docker_host()), transfer: Transfer::Archive, ..Options::new(state_dir) };
    let sandbox = Sandbox::open(options, &runtime::Drain::new()).unwrap();
    let extract = ["first", "second"].map(|name| extract(name, &to)).to_vec();
    let line = "echo 1 > first; echo 2 > second; exit 0";
    let execution = sandbox.start(Request { extract, ..detached(line) }).unwrap();
    println!("\nrun {}", execution.id());
    if given.is_some() {
        std::future::pending::<()>().await;
    }
    assert_two_results(&execution.outcome().await.unwrap(), &to);
}

fn assert_two_results(outcome: &Outcome, to: &Path) {
    assert!(outcome.success(), "{outcome:?}");
    let told: Vec<_> = outcome.extracted.iter().flatten().map(|entry| (entry.status, entry.bytes)).collect();
    assert_eq!(told, [(ExtractStatus::Ok, Some(2)); 2], "{outcome:?}");
    let read = |name: &str| std::fs::read_to_string(to.join(name)).unwrap();
    assert_eq!((read("first").as_str(), read("second").as_str()), ("1\n", "2\n"));
    assert_eq!(std::fs::read_dir(to).unwrap().count(), 2, "nothing is left of its way there");
}

#[tokio::test]
async fn results_of_a_process_that_is_killed_amid_them_or_after_them_are_there_once() {
    for (held_at, removes) in [("app%2Fsecond", false), ("DELETE /", true)] {
        let (way, house) = (Way::to(&docker_host()), House::new());
        way.set(Mood::HeldAt(held_at));
        let test = "a_process_takes_two_results_out_or_is_killed_meanwhile";
        let (mut process, [id]) = spawn(test, &house, &way.host());
        within(secs(60), way.until_held()).await;
        kill(&mut process);
        if removes {
            // As the engine does with what it was asked last.
            remove(&house, &id).await;
        }
        let to = house.state_dir().parent().unwrap().join("results");
        assert_eq!((to.join("first").exists(), to.join("second").exists()), (true, removes));
        let execution = house.sandbox.attach(&id).await.unwrap().unwrap();
        assert_two_results(&within(secs(60), execution.outcome()).await.unwrap(), &to);
        assert_eq!(house.sandbox.state(&id).unwrap().unwrap().status, RunStatus::Exited);
        house.assert_nothing_left(&id).await;
    }
}

async fn remove(house: &House, id: &RunId) {
    let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    house.docker.remove_container(id.as_str(), Some(force)).await.unwrap();
}

#[tokio::test]
async fn a_sweep_alone_takes_over_and_the_time_limit_goes_on() {
    let house = House::new();
    let mut owner = Owner::spawn(&house);
    owner.kill();
    let path = house.state_dir().join(format!("{}.json", owner.detached));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("60000", "2000")).unwrap();
    house.sandbox.maintain().await;
    until("the run is over", secs(20), async || {
        house.sandbox.state(&owner.detached).unwrap().unwrap().status != RunStatus::Running
    })
    .await;
    let state = house.sandbox.state(&owner.detached).unwrap().unwrap();
    assert_eq!((state.timed_out, state.exit_code), (Some(true), Some(137)), "{state:?}");
    house.assert_nothing_left(&owner.detached).await;
}

#[tokio::test]
async fn a_drain_waits_for_the_set_up_of_a_detached_run_and_ends_it_when_it_takes_too_long() {
    let house = House::new();
    let slow = format!("echo {} && sleep 60", RunId::new());
    let execution = house.start(Request { run: vec![slow], ..detached("sleep 60") });
    let drained = house.drain.clone().run(secs(2), std::future::pending()).await;
    assert_eq!(drained, runtime::Drained::Stopped);
    assert_eq!(execution.outcome().await.unwrap_err().code(), SandboxErrorCode::Busy);
    let state = house.sandbox.state(execution.id()).unwrap().unwrap();
    assert_eq!((state.status, state.error_code.as_deref()), (RunStatus::Failed, Some("BUSY")));
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn a_drain_does_not_wait_for_detached_runs() {
    let house = House::with(|options| options.transfer = Transfer::Auto);
    let execution = house.start(detached("sleep 60"));
    house.until_running(execution.id()).await;
    let begun = Instant::now();
    let drained = house.drain.clone().run(secs(30), std::future::pending()).await;
    assert!(drained == runtime::Drained::Clean && begun.elapsed() < secs(5));
    assert_eq!(execution.outcome().await.unwrap_err().code(), SandboxErrorCode::Busy);
    assert_eq!(house.container_status(execution.id()).await.as_deref(), Some("running"));
    let next = Sandbox::open(
        Options { docker_host: Some(docker_host()), ..Options::new(house.state_dir()) },
        &runtime::Drain::new(),
    )
    .unwrap();
    let found = next.attach(execution.id()).await.unwrap().unwrap();
    found.cancel();
    until("the container is killed", secs(20), async || {
        house.container_status(found.id()).await.as_deref() != Some("running")
    })
    .await;
    house.docker.remove_container(found.id().as_str(), None).await.unwrap();
}
