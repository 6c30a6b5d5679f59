//! (g) Rows a second: the memory example as a plugin, with all limits on, against the same table compiled in.

use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use bridge_core::{Bridge, RowStream};
use native_memory::{PEOPLE, People};
use plugins_host::{Engine, Plugin};
use protocol::{CHUNK_BYTES, Filter, QueryOptions, ReadOptions};

use crate::arguments::Arguments;
use crate::guests::{INTERPRETED, MEMORY, call, engine, find, load, memory, open};
use crate::report::{Aim, Line, Quantity};
use crate::usage::cpu_seconds;

/// Half of all people.
const FILTER: &str = r#"{"score": {"$gte": 50}}"#;
/// An interpreter makes this part of the rows in about the time in which the others make all.
const INTERPRETED_PART: u64 = 20;
/// Rows that are compared letter by letter before anything is measured.
const COMPARED: u64 = 20_000;

/// A job over all rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    Read,
    Query,
    /// A query by a filter, which the host evaluates.
    Filtered,
}

const JOBS: [(Job, &str, Option<f64>); 3] = [
    (Job::Read, "read", Some(0.65)),
    (Job::Query, "query", Some(0.65)),
    (Job::Filtered, "filtered query", None),
];

/// What a job took for the rows that it looked at.
#[derive(Debug, Clone, Copy)]
struct Taken {
    rate: f64,
    /// Seconds of all threads for a million rows.
    cpu: f64,
}

pub(crate) async fn measure(plugins: &Engine, arguments: &Arguments) -> Vec<Line> {
    let people = People { rows: arguments.rows };
    let plugin = load(plugins, memory(), 64).await;
    let bridge = open(&plugin, arguments.rows, 4).await;
    make_sure_of_equal_rows(&plugin).await;
    let mut taken = JOBS.map(|_| (Vec::new(), Vec::new()));
    // The first run warms caches and does not count.
    for run in 0..=arguments.runs {
        for ((job, name, _), (ours, native)) in JOBS.into_iter().zip(&mut taken) {
            let one = timed(arguments.rows, compiled_in(people, job)).await;
            let other = timed(arguments.rows, plugged_in(Arc::clone(&bridge), arguments.rows, job)).await;
            eprintln!("{name} {run}: {:.0} rows/s native, {:.0} rows/s plugin", one.rate, other.rate);
            if run > 0 {
                native.push(one);
                ours.push(other);
            }
        }
    }
    let mut lines: Vec<Line> = JOBS
        .into_iter()
        .zip(taken)
        .flat_map(|((_, name, aim), (ours, native))| lines(name, aim, &ours, &native))
        .collect();
    lines.extend(interpreted(plugins, arguments).await);
    lines
}

/// Reads again, where the plugin may have a thread of its own.
pub(crate) async fn measure_in_parallel(plugins: &Engine, arguments: &Arguments) -> Vec<Line> {
    let rows = arguments.rows;
    let plugin = load(plugins, memory(), 64).await;
    let bridge = open(&plugin, rows, 4).await;
    let (mut ours, mut native) = (Vec::new(), Vec::new());
    for run in 0..=arguments.runs {
        let one = timed(rows, compiled_in(People { rows }, Job::Read)).await;
        let other = timed(rows, plugged_in(Arc::clone(&bridge), rows, Job::Read)).await;
        eprintln!(
            "read on all threads {run}: {:.0} rows/s native, {:.0} rows/s plugin",
            one.rate, other.rate
        );
        if run > 0 {
            native.push(one);
            ours.push(other);
        }
    }
    lines("read on all threads", None, &ours, &native)
}

/// Reads with one candidate and does nothing else.
pub(crate) async fn alone(candidate: &str, arguments: &Arguments) {
    let rows = arguments.rows;
    let plugin = load(&engine(&arguments.out), memory(), 1).await;
    let bridge = open(&plugin, rows, 1).await;
    for run in 1..=arguments.runs {
        let taken = match candidate {
            "plugin" => timed(rows, plugged_in(Arc::clone(&bridge), rows, Job::Read)).await,
            "native" => timed(rows, compiled_in(People { rows }, Job::Read)).await,
            _ => panic!("{candidate} is neither plugin nor native"),
        };
        eprintln!("{candidate} {run}: {taken:.3?}");
    }
}

fn lines(job: &str, aim: Option<f64>, ours: &[Taken], native: &[Taken]) -> Vec<Line> {
    let rates = |taken: &[Taken]| Quantity::of("rows/s", taken.iter().map(|taken| taken.rate));
    let cpu = |taken: &[Taken]| Quantity::of("s/M rows", taken.iter().map(|taken| taken.cpu));
    vec![
        Line::ratio("g", &format!("{job}, plugin against native"), rates(ours), rates(native))
            .maybe_aim(aim.map(Aim::AtLeast)),
        Line::ratio("g", &format!("{job}, CPU against native"), cpu(ours), cpu(native)),
    ]
}

/// The same table in Python and JavaScript, where those were built.
async fn interpreted(plugins: &Engine, arguments: &Arguments) -> Vec<Line> {
    let rows = arguments.rows.div_ceil(INTERPRETED_PART);
    let mut lines = Vec::new();
    for name in INTERPRETED {
        let Some(component) = find(name) else { continue };
        let plugin = load(plugins, component, 64).await;
        let bridge = open(&plugin, rows, 4).await;
        let mut taken = Vec::new();
        for run in 0..=arguments.runs {
            let one = timed(rows, plugged_in(Arc::clone(&bridge), rows, Job::Read)).await;
            eprintln!("{name} {run}: {:.0} rows/s", one.rate);
            if run > 0 {
                taken.push(one);
            }
        }
        let rates = Quantity::of("rows/s", taken.iter().map(|taken| taken.rate));
        let cpu = Quantity::of("s/M rows", taken.iter().map(|taken| taken.cpu));
        lines.push(Line::alone("g", &format!("read in {name}"), rates));
        lines.push(Line::alone("g", &format!("read in {name}, CPU"), cpu));
    }
    lines
}

async fn compiled_in(people: People, job: Job) -> RowStream {
    match options(people.rows, job) {
        Asked::Read(options) => people.read(&call(), &options),
        Asked::Query(options) => people.query(&call(), options).await.unwrap(),
    }
}

async fn plugged_in(bridge: Arc<dyn Bridge>, rows: u64, job: Job) -> RowStream {
    match options(rows, job) {
        Asked::Read(options) => bridge.read(&call(), PEOPLE, options).await.unwrap(),
        Asked::Query(options) => bridge.query(&call(), PEOPLE, options).await.unwrap(),
    }
}

enum Asked {
    Read(ReadOptions),
    Query(QueryOptions),
}

fn options(rows: u64, job: Job) -> Asked {
    match job {
        Job::Read => Asked::Read(ReadOptions { limit: rows, ..ReadOptions::default() }),
        Job::Query => Asked::Query(QueryOptions::default()),
        Job::Filtered => {
            let filter = Filter::from_json(FILTER).unwrap();
            Asked::Query(QueryOptions { filter, ..QueryOptions::default() })
        }
    }
}

/// Runs a job to its end as the runner does, in a task of its own, and drops the rows.
async fn timed(rows: u64, open: impl Future<Output = RowStream> + Send + 'static) -> Taken {
    let (started, cpu) = (Instant::now(), cpu_seconds());
    tokio::spawn(async { drain(open.await).await }).await.unwrap();
    let seconds = started.elapsed().as_secs_f64();
    let cpu = cpu_seconds() - cpu;
    Taken { rate: rows as f64 / seconds, cpu: cpu * 1e6 / rows as f64 }
}

async fn drain(mut rows: RowStream) {
    while rows.next(CHUNK_BYTES).await.unwrap().is_some() {}
}

/// Both must make the same text, or the comparison means nothing.
async fn make_sure_of_equal_rows(plugin: &Plugin) {
    let people = People { rows: COMPARED };
    let bridge = open(plugin, COMPARED, 4).await;
    for (job, name, _) in JOBS {
        let native = text(compiled_in(people, job).await).await;
        let plugin = text(plugged_in(Arc::clone(&bridge), COMPARED, job).await).await;
        assert!(native == plugin, "{name} of {MEMORY} differs from the native one");
    }
}

async fn text(mut rows: RowStream) -> String {
    let mut batches = Vec::new();
    while let Some(batch) = rows.next(CHUNK_BYTES).await.unwrap() {
        batches.push(batch.rows);
    }
    batches.join(",")
}
