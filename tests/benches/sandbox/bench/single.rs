//! (j) One run at a time: by the library, by HTTP, from the pool, with files, and by `docker run`.

use std::collections::BTreeMap;
use std::fs;
use std::time::Instant;

use bytes::Bytes;
use harness::docker::BUSYBOX;
use harness::http::Request as HttpRequest;
use harness::wait::{secs, until};
use jiff::Timestamp;
use sandbox::{Command, Extract, Request, Sandbox, Seed, Transfer};
use serde_json::json;

use crate::arguments::Arguments;
use crate::memory::Server;
use crate::report::{Aim, Line, Quantity};
use crate::rig::{Rig, time, trivial};

/// Containers that wait in the pool.
const WARM: usize = 3;

/// Milliseconds of every run, by candidate.
#[derive(Default)]
struct Times {
    library: Vec<f64>,
    docker: Vec<f64>,
    library_isolated: Vec<f64>,
    docker_isolated: Vec<f64>,
    archive: Vec<f64>,
    shared: Vec<f64>,
    one_file: Vec<f64>,
    http: Vec<f64>,
    /// What of a run's time is not the run's own, as its state says: around the library, and around HTTP.
    around_library: Vec<f64>,
    around_http: Vec<f64>,
    warm: Vec<f64>,
}

pub(crate) async fn measure(rig: &Rig, arguments: &Arguments) -> Vec<Line> {
    let library = rig.sandbox("library", Transfer::Auto, 0);
    let archive = rig.sandbox("archive", Transfer::Archive, 0);
    let shared = rig.sandbox("shared", Transfer::Shared, 0);
    let warm = rig.sandbox("warm", Transfer::Auto, WARM);
    let server = Server::start(rig).await;
    let isolated = Request { networks: Vec::new(), ..trivial() };
    let mut times = Times::default();
    // The first round makes the network, fills caches, and does not count.
    for run in 0..=arguments.runs {
        // Its refilling after the round before would be measured beside the first candidate.
        fill(rig).await;
        let mut round = Times::default();
        round.library.push(time(&library, trivial()).await.0);
        round.docker.push(rig.time_docker("none", &["true"]).await);
        let (elapsed, own) = time_with_state(&library, one_file()).await;
        round.one_file.push(elapsed);
        round.around_library.push(elapsed - own);
        let (elapsed, own) = server.time_run().await;
        round.http.push(elapsed);
        round.around_http.push(elapsed - own);
        round.library_isolated.push(time(&library, isolated.clone()).await.0);
        round.docker_isolated.push(rig.time_docker("light-runner-isolated", &["true"]).await);
        round.archive.push(with_files(rig, &archive, "archive").await);
        round.shared.push(with_files(rig, &shared, "shared").await);
        round.warm.push(time(&warm, isolated.clone()).await.0);
        if run > 0 {
            times.add(round);
        }
    }
    server.end().await;
    times.lines()
}

/// Waits until all containers of the pool run, each of which waits for its line. Beside the lock of their owner there may
/// be that of one that is being made.
async fn fill(rig: &Rig) {
    let locks = rig.file("warm/owners");
    until("the pool is full", secs(60), async || {
        let mut running = 0;
        for lock in fs::read_dir(&locks).unwrap() {
            let lock = lock.unwrap().path();
            let owner = lock.file_stem().unwrap().to_str().unwrap();
            running += rig.engine.running(&format!("light-runner.owner={owner}")).await.len();
        }
        running >= WARM
    })
    .await;
}

/// A run that gets five files and gives one back.
async fn with_files(rig: &Rig, sandbox: &Sandbox, name: &str) -> f64 {
    let to = rig.file(&format!("{name}-out"));
    let files = (0..5).map(|number| (format!("file{number}.txt"), Bytes::from(vec![b'x'; 2_000])));
    let request = Request {
        command: Command::Shell("cat file*.txt > result.txt".to_owned()),
        seed: Some(Seed::Files(files.collect::<BTreeMap<_, _>>())),
        extract: vec![Extract { from: "result.txt".to_owned(), to: to.clone().into() }],
        ..trivial()
    };
    let (elapsed, outcome) = time(sandbox, request).await;
    let result = fs::read(format!("{to}/result.txt")).unwrap_or_else(|error| panic!("{error}: {outcome:?}"));
    assert_eq!(result.len(), 10_000);
    fs::remove_dir_all(to).unwrap();
    elapsed
}

/// What every run by HTTP has at least.
fn one_file() -> Request {
    let files = BTreeMap::from([("file.txt".to_owned(), Bytes::from_static(b"x"))]);
    Request { seed: Some(Seed::Files(files)), ..trivial() }
}

/// Milliseconds of one run, which must end well, and of that what its state says.
async fn time_with_state(sandbox: &Sandbox, request: Request) -> (f64, f64) {
    let started = Instant::now();
    let execution = sandbox.start(request).unwrap();
    let outcome = execution.outcome().await.unwrap();
    let elapsed = started.elapsed();
    assert!(outcome.success(), "{outcome:?}");
    let state = sandbox.state(execution.id()).unwrap().unwrap();
    (elapsed.as_secs_f64() * 1e3, between(&state.started_at, &state.finished_at.unwrap()))
}

/// Milliseconds between two times of a state, which has them to the millisecond.
fn between(started: &str, finished: &str) -> f64 {
    let [started, finished] = [started, finished].map(|time| time.parse::<Timestamp>().unwrap());
    finished.duration_since(started).as_secs_f64() * 1e3
}

impl Server {
    /// Milliseconds of one run by HTTP, which must end well, and of that what its state says.
    async fn time_run(&self) -> (f64, f64) {
        let body = json!({"image": BUSYBOX, "argv": ["true"], "network": "none", "files": {"file.txt": "x"}});
        let started = Instant::now();
        let answer = HttpRequest::post("/run", &body).bearer(Self::TOKEN).send(self.address()).await;
        let elapsed = started.elapsed();
        let state = answer.ok();
        assert_eq!(state["exitCode"], 0);
        let [started, finished] = ["startedAt", "finishedAt"].map(|field| state[field].as_str().unwrap());
        (elapsed.as_secs_f64() * 1e3, between(started, finished))
    }
}

impl Times {
    fn add(&mut self, round: Self) {
        self.library.extend(round.library);
        self.docker.extend(round.docker);
        self.library_isolated.extend(round.library_isolated);
        self.docker_isolated.extend(round.docker_isolated);
        self.archive.extend(round.archive);
        self.shared.extend(round.shared);
        self.one_file.extend(round.one_file);
        self.http.extend(round.http);
        self.around_library.extend(round.around_library);
        self.around_http.extend(round.around_http);
        self.warm.extend(round.warm);
    }

    fn lines(self) -> Vec<Line> {
        let of = |times: Vec<f64>| Quantity::of("ms", times);
        let (library, docker) = (of(self.library), of(self.docker));
        let isolated = of(self.library_isolated);
        let ratio = |name: &str, ours: Quantity, reference: &Quantity, most: f64| {
            Line::ratio("j", name, ours, reference.clone()).aim(Aim::AtMost(most))
        };
        vec![
            ratio("a run of nothing against docker run", library.clone(), &docker, 0.97),
            Line::ratio("j", "... in the isolated network", isolated.clone(), of(self.docker_isolated)),
            ratio("5 files in, 1 out by archives against nothing", of(self.archive), &library, 1.45),
            ratio("5 files in, 1 out by a shared folder", of(self.shared), &library, 1.1),
            Line::added("j", "1 file in, by HTTP against the library", of(self.http), of(self.one_file)),
            Line::added("j", "... beside the run's own time", of(self.around_http), of(self.around_library))
                .aim(Aim::AtMost(3.0)),
            ratio("from the pool, isolated network", of(self.warm), &isolated, 0.35),
        ]
    }
}
