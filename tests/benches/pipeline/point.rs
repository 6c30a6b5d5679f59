//! (b) One row by its key: through the whole path, and by `pgbench` as the same prepared query.

use std::fs;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::future::join_all;
use harness::folder::Folder;
use harness::process::run;
use harness::wait::{secs, within};
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use crate::arguments::Arguments;
use crate::report::{Aim, Line, Quantity};
use crate::rig::{COLUMNS, Data, ITEMS, Rig};
use crate::usage::cpu_seconds;

const CALLERS: [usize; 2] = [1, 64];
/// Threads of `pgbench`: as many as it can use.
const THREADS: usize = 2;
const PATIENCE: Duration = secs(30);
const MICROS_PER_MS: f64 = 1_000.0;

/// What callers saw in one run: latencies in microseconds.
struct Answers {
    latencies: Histogram<u64>,
    per_second: f64,
    cpu: Cpu,
}

/// CPU seconds of everyone but PostgreSQL.
#[derive(Debug, Clone, Copy, Default)]
struct Cpu {
    runner: f64,
    gateway: f64,
    client: f64,
}

impl Cpu {
    fn of(rig: &Rig) -> Self {
        Self {
            runner: cpu_seconds(rig.runner.process.pid()),
            gateway: cpu_seconds(rig.gateway.process.pid()),
            client: cpu_seconds(std::process::id()),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            runner: self.runner - before.runner,
            gateway: self.gateway - before.gateway,
            client: self.client - before.client,
        }
    }
}

impl Answers {
    fn millis(&self, quantile: f64) -> f64 {
        self.latencies.value_at_quantile(quantile) as f64 / MICROS_PER_MS
    }
}

pub(crate) async fn measure(data: &Data, arguments: &Arguments) -> Vec<Line> {
    let rig = Rig::start(data).await;
    let time = secs(arguments.seconds);
    let mut lines = Vec::new();
    for callers in CALLERS {
        let (mut path, mut direct) = (Vec::new(), Vec::new());
        // The first run opens the pool and does not count.
        for run in 0..=arguments.runs {
            let ours = within(time + PATIENCE, through_the_path(&rig, data, callers, time)).await;
            let theirs = within(time + PATIENCE, by_pgbench(data, callers, time)).await;
            eprintln!(
                "point, {callers} callers, {run}: p50 {:.3} ms and {:.3} ms, {:.0}/s and {:.0}/s",
                ours.millis(0.5),
                theirs.millis(0.5),
                ours.per_second,
                theirs.per_second
            );
            if run > 0 {
                path.push(ours);
                direct.push(theirs);
            }
        }
        lines.extend(lines_of(callers, &path, &direct));
    }
    lines
}

fn lines_of(callers: usize, path: &[Answers], direct: &[Answers]) -> Vec<Line> {
    let name = |what: &str| format!("{what}, {callers} caller{}", if callers == 1 { "" } else { "s" });
    let at =
        |answers: &[Answers], quantile| Quantity::of("ms", answers.iter().map(|one| one.millis(quantile)));
    let per_second = |answers: &[Answers]| Quantity::of("jobs/s", answers.iter().map(|one| one.per_second));
    let cpu = |of: fn(&Answers) -> f64| {
        Quantity::of("ms/job", path.iter().map(|one| of(one) * 1e3 / one.latencies.len() as f64))
    };
    let alone = callers == 1;
    vec![
        Line::added("b", &name("p50"), at(path, 0.5), at(direct, 0.5))
            .maybe_aim(alone.then_some(Aim::AtMost(0.3))),
        Line::added("b", &name("p99"), at(path, 0.99), at(direct, 0.99)),
        Line::ratio("b", &name("queries"), per_second(path), per_second(direct)),
        Line::alone("b", &name("jobs"), per_second(path))
            .maybe_aim((!alone).then_some(Aim::AtLeast(8_000.0))),
        Line::alone("b", &name("CPU of the runner"), cpu(|one| one.cpu.runner)),
        Line::alone("b", &name("CPU of the gateway"), cpu(|one| one.cpu.gateway)),
        Line::alone("b", &name("CPU of the client"), cpu(|one| one.cpu.client)),
    ]
}

async fn through_the_path(rig: &Rig, data: &Data, callers: usize, time: Duration) -> Answers {
    let mut connected = Vec::new();
    for number in 0..callers {
        connected.push(Caller::connect(rig, data, number).await);
    }
    let before = Cpu::of(rig);
    let started = Instant::now();
    let callers =
        join_all(connected.into_iter().map(|caller| tokio::spawn(caller.ask(started + time)))).await;
    let elapsed = started.elapsed().as_secs_f64();
    let cpu = Cpu::of(rig).since(before);
    let mut latencies = Histogram::new(3).unwrap();
    for caller in callers {
        latencies.add(caller.unwrap()).unwrap();
    }
    let per_second = latencies.len() as f64 / elapsed;
    Answers { latencies, per_second, cpu }
}

/// An application with a connection that it keeps.
struct Caller {
    sender: SendRequest<Full<Bytes>>,
    address: SocketAddr,
    key: String,
    ids: Ids,
}

impl Caller {
    async fn connect(rig: &Rig, data: &Data, number: usize) -> Self {
        let address = rig.gateway.address();
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (sender, connection) = handshake(TokioIo::new(stream)).await.unwrap();
        // It ends when the sender is dropped; what it ends with is the sender's to notice.
        tokio::spawn(async move { drop(connection.await) });
        Self { sender, address, key: format!("Bearer {}", rig.key), ids: Ids::new(number, data.rows) }
    }

    /// Asks for one row after the other until `end`.
    async fn ask(mut self, end: Instant) -> Histogram<u64> {
        let mut latencies = Histogram::new(3).unwrap();
        while Instant::now() < end {
            let id = self.ids.next();
            let asked = Instant::now();
            let answer = self.one(id).await;
            latencies.record(u64::try_from(asked.elapsed().as_micros()).unwrap()).unwrap();
            let text = std::str::from_utf8(&answer).unwrap();
            assert!(text.contains(&format!("\"id\":{id},")), "not row {id}: {text}");
        }
        latencies
    }

    async fn one(&mut self, id: u64) -> Bytes {
        let body = format!("{{\"where\":{{\"id\":{id}}},\"limit\":1}}");
        let request = hyper::Request::post(format!("/v1/query/{ITEMS}"))
            .header(HOST, self.address.to_string())
            .header(AUTHORIZATION, &self.key)
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        self.sender.ready().await.unwrap();
        let answer = self.sender.send_request(request).await.unwrap();
        let status = answer.status();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert!(status.is_success(), "{status}: {}", String::from_utf8_lossy(&body));
        body
    }
}

/// Keys in an order without a pattern (xorshift, Marsaglia 2003), the same in every run.
struct Ids {
    state: u64,
    rows: u64,
}

impl Ids {
    fn new(number: usize, rows: u64) -> Self {
        Self { state: 0x9e37_79b9_7f4a_7c15 ^ (number as u64 + 1), rows }
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.state % self.rows + 1
    }
}

async fn by_pgbench(data: &Data, callers: usize, time: Duration) -> Answers {
    let folder = Folder::new();
    let rows = data.rows;
    let script = folder.write(
        "point.sql",
        &format!("\\set id random(1, {rows})\nselect {COLUMNS} from items where id = :id limit 1;\n"),
    );
    let mut command = data.database.client("pgbench");
    command.args(["--no-vacuum", "--protocol=prepared", "--log", "--file", &script]);
    command.arg(format!("--log-prefix={}", folder.file("latency")));
    command.arg(format!("--client={callers}")).arg(format!("--jobs={}", callers.min(THREADS)));
    command.arg(format!("--time={}", time.as_secs()));
    let output = run("pgbench", command, time + PATIENCE).await.ok();
    let per_second =
        output.lines().find_map(|line| line.strip_prefix("tps = ")).expect("no tps in the output");
    let per_second = per_second.split_whitespace().next().unwrap().parse().unwrap();
    Answers { latencies: logged(&folder), per_second, cpu: Cpu::default() }
}

/// The third word of each line of its logs is a transaction's microseconds.
fn logged(folder: &Folder) -> Histogram<u64> {
    let mut latencies = Histogram::new(3).unwrap();
    for entry in fs::read_dir(folder.path()).unwrap() {
        let entry = entry.unwrap();
        if !entry.file_name().to_string_lossy().starts_with("latency.") {
            continue;
        }
        let text = fs::read_to_string(entry.path()).unwrap();
        for line in text.lines() {
            let micros: u64 = line.split_whitespace().nth(2).unwrap().parse().unwrap();
            latencies.record(micros).unwrap();
        }
    }
    assert!(!latencies.is_empty(), "pgbench logged nothing");
    latencies
}
