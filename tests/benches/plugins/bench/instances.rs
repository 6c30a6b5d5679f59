//! (h) What an instance costs: to make it, to keep it, to call it.
//!
//! Memory is measured in a process of its own, this program again called with `--live`: what the other figures leave behind
//! would hide what instances take.

use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bridge_core::{Bridge, RowStream};
use futures::future::join_all;
use hdrhistogram::Histogram;
use native_memory::PEOPLE;
use plugins_host::{Engine, Plugin};
use protocol::{CHUNK_BYTES, ReadOptions};
use serde::{Deserialize, Serialize};

use crate::arguments::Arguments;
use crate::guests::{call, config, engine, load, memory, open};
use crate::report::{Aim, Line, Quantity};
use crate::usage::Memory;

/// The word that makes this program one with many instances.
pub(crate) const LIVE: &str = "--live";

/// Instances that are made in a run, one after the other.
const STARTS: usize = 2_000;
/// Calls in a run. The clock is read once for a hundred, because it takes as long as a fraction of a call.
const CALLS: usize = 200_000;
const CALLS_AT_ONCE: usize = 100;
/// Jobs in a run.
const JOBS: usize = 50_000;
/// Instances that are alive together.
const ALIVE: usize = 1_000;
/// What each of them reads in the second half.
const BATCH: u64 = 1_000;

pub(crate) async fn measure(plugins: &Engine, arguments: &Arguments) -> Vec<Line> {
    let plugin = load(plugins, memory(), 64).await;
    let (mut making, mut calling) = (Making::default(), Calling::default());
    let mut living = Vec::new();
    for run in 0..=arguments.runs {
        let (made, called, lived) = (make(&plugin).await, calls(&plugin).await, live_elsewhere(arguments));
        eprintln!("instances {run}: {made:?} {called:?} {lived:?}");
        if run > 0 {
            making.add(&made);
            calling.add(&called);
            living.push(lived);
        }
    }
    [making.lines(), calling.lines(), memory_lines(&living)].concat()
}

/// In microseconds.
#[derive(Debug, Default)]
struct Making {
    median: Vec<f64>,
    tail: Vec<f64>,
    dropping: Vec<f64>,
}

impl Making {
    fn add(&mut self, more: &Self) {
        self.median.extend(&more.median);
        self.tail.extend(&more.tail);
        self.dropping.extend(&more.dropping);
    }

    fn lines(self) -> Vec<Line> {
        vec![
            Line::alone("h", "instantiate, p50", Quantity::of("us", self.median)).aim(Aim::AtMost(25.0)),
            Line::alone("h", "instantiate, p99", Quantity::of("us", self.tail)),
            Line::alone("h", "drop an instance, p50", Quantity::of("us", self.dropping)),
        ]
    }
}

/// In microseconds.
#[derive(Debug, Default)]
struct Calling {
    bare: Vec<f64>,
    job: Vec<f64>,
}

impl Calling {
    fn add(&mut self, more: &Self) {
        self.bare.extend(&more.bare);
        self.job.extend(&more.job);
    }

    fn lines(self) -> Vec<Line> {
        let bare = Quantity::of("us", self.bare);
        vec![
            Line::alone("h", "no-op call, p50", bare.clone()).aim(Aim::AtMost(0.5)),
            Line::added("h", "no-op job through pool and task, p50", Quantity::of("us", self.job), bare),
        ]
    }
}

async fn make(plugin: &Plugin) -> Making {
    let (mut starts, mut drops) = (histogram(), histogram());
    for _ in 0..STARTS {
        let started = Instant::now();
        let instance = plugin.bare().await.unwrap();
        note(&mut starts, started, 1);
        let started = Instant::now();
        drop(instance);
        note(&mut drops, started, 1);
    }
    Making {
        median: vec![microseconds(&starts, 0.5)],
        tail: vec![microseconds(&starts, 0.99)],
        dropping: vec![microseconds(&drops, 0.5)],
    }
}

async fn calls(plugin: &Arc<Plugin>) -> Calling {
    let mut instance = plugin.bare().await.unwrap();
    instance.connect(plugin, &config(1, 1)).await.unwrap();
    let mut bare = histogram();
    for _ in 0..CALLS / CALLS_AT_ONCE {
        let started = Instant::now();
        for _ in 0..CALLS_AT_ONCE {
            instance.test().await.unwrap();
        }
        note(&mut bare, started, CALLS_AT_ONCE);
    }
    let bridge = open(plugin, 1, 1).await;
    let jobs = tokio::spawn(async move { jobs(&*bridge).await }).await.unwrap();
    Calling { bare: vec![microseconds(&bare, 0.5)], job: vec![microseconds(&jobs, 0.5)] }
}

async fn jobs(bridge: &dyn Bridge) -> Histogram<u64> {
    let (mut times, call) = (histogram(), call());
    for _ in 0..JOBS {
        let started = Instant::now();
        bridge.test(&call).await.unwrap();
        note(&mut times, started, 1);
    }
    times
}

/// What the process with many instances says, in KiB an instance.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Lived {
    instances: u64,
    idle: f64,
    idle_own: f64,
    /// Idle again after a batch of 1 000 rows.
    used: f64,
}

fn memory_lines(lived: &[Lived]) -> Vec<Line> {
    let kib = |get: fn(&Lived) -> f64| Quantity::of("KiB", lived.iter().map(get));
    vec![
        Line::alone(
            "h",
            "instances alive at once",
            Quantity::of("", lived.iter().map(|lived| lived.instances as f64)),
        )
        .aim(Aim::AtLeast(ALIVE as f64)),
        Line::alone("h", "memory of an idle instance", kib(|lived| lived.idle)).aim(Aim::AtMost(64.0)),
        Line::alone("h", "... shared pages counted once", kib(|lived| lived.idle_own)).aim(Aim::AtMost(64.0)),
        Line::alone("h", "... after a batch of 1 000 rows", kib(|lived| lived.used)),
    ]
}

fn live_elsewhere(arguments: &Arguments) -> Lived {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.arg(LIVE).arg("--out").arg(&arguments.out).stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = command.output().unwrap();
    assert!(output.status.success(), "the process with many instances failed");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// This program as the process with many instances: makes them and prints what they take.
pub(crate) async fn live(arguments: &Arguments) {
    let plugin = load(&engine(&arguments.out), memory(), ALIVE).await;
    let bridge = open(&plugin, BATCH, ALIVE).await;
    // What the process needs once is there after the first.
    drop(start(&*bridge, 1).await);
    all_idle(&plugin, 1).await;
    let before = Memory::now();
    drop(start(&*bridge, ALIVE).await);
    all_idle(&plugin, ALIVE).await;
    let idle = Memory::now();
    let instances = plugin.stats().instances;
    let mut held = start(&*bridge, ALIVE).await;
    for rows in &mut held {
        assert!(rows.next(CHUNK_BYTES).await.unwrap().is_some(), "no rows");
    }
    drop(held);
    all_idle(&plugin, ALIVE).await;
    let used = Memory::now();
    let each = |before: f64, after: f64| (after - before) / (ALIVE - 1) as f64;
    let lived = Lived {
        instances,
        idle: each(before.resident, idle.resident),
        idle_own: each(before.own, idle.own),
        used: each(before.resident, used.resident),
    };
    println!("{}", serde_json::to_string(&lived).unwrap());
}

/// So many instances, each with a cursor.
async fn start(bridge: &dyn Bridge, instances: usize) -> Vec<RowStream> {
    let call = call();
    let options = ReadOptions { limit: BATCH, ..ReadOptions::default() };
    let reads = join_all((0..instances).map(|_| bridge.read(&call, PEOPLE, options.clone()))).await;
    reads.into_iter().map(Result::unwrap).collect()
}

async fn all_idle(plugin: &Plugin, instances: usize) {
    let started = Instant::now();
    while plugin.stats().idle != instances as u64 {
        assert!(started.elapsed() < Duration::from_secs(20), "not all came back: {:?}", plugin.stats());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Of tenths of nanoseconds.
fn histogram() -> Histogram<u64> {
    Histogram::new(3).unwrap()
}

/// Notes tenths of nanoseconds for one of `count`.
fn note(times: &mut Histogram<u64>, started: Instant, count: usize) {
    let time = started.elapsed().as_nanos() * 10 / count as u128;
    times.record(u64::try_from(time).unwrap()).unwrap();
}

fn microseconds(times: &Histogram<u64>, quantile: f64) -> f64 {
    times.value_at_quantile(quantile) as f64 / 1e4
}
