//! (c) Resident memory: idle, with all rows on their way to a fast reader, and to one that stops reading.

use std::time::Duration;

use harness::wait::{secs, within};
use serde_json::json;

use crate::arguments::Arguments;
use crate::report::{Aim, Line, Quantity};
use crate::rig::{Data, ITEMS, Rig, quiet};
use crate::usage::{forget_peak, peak_mib, resident_mib};

const LIMIT: Duration = secs(180);
/// After its start a process may still give memory back.
const SETTLE: Duration = secs(1);
/// What the stopped reader reads before it stops.
const TASTE: usize = 1_000_000;

/// Of one process, in MiB.
#[derive(Debug, Default)]
struct Memory {
    idle: Vec<f64>,
    fast: Vec<f64>,
    stopped: Vec<f64>,
}

pub(crate) async fn measure(data: &Data, arguments: &Arguments) -> Vec<Line> {
    let (mut runner, mut gateway) = (Memory::default(), Memory::default());
    for run in 1..=arguments.runs {
        let rig = idle(data, &mut runner, &mut gateway).await;
        within(LIMIT, fast_reader(&rig, data)).await;
        note(&rig, (&mut runner.fast, &runner.idle), (&mut gateway.fast, &gateway.idle));
        drop(rig);
        // Processes that have streamed before would hide what a stopped reader makes them hold.
        let rig = idle(data, &mut runner, &mut gateway).await;
        within(LIMIT, stopped_reader(&rig, data, secs(arguments.pause))).await;
        note(&rig, (&mut runner.stopped, &runner.idle), (&mut gateway.stopped, &gateway.idle));
        eprintln!("memory {run}: runner {runner:.1?}, gateway {gateway:.1?}");
    }
    [lines("runner", runner, Some((15.0, 32.0))), lines("gateway", gateway, None)].concat()
}

fn lines(who: &str, memory: Memory, aims: Option<(f64, f64)>) -> Vec<Line> {
    let mib = |values: Vec<f64>| Quantity::of("MiB", values);
    let (idle, grown) = (aims.map(|aims| Aim::AtMost(aims.0)), aims.map(|aims| Aim::AtMost(aims.1)));
    vec![
        Line::alone("c", &format!("{who}, idle"), mib(memory.idle)).maybe_aim(idle),
        Line::alone("c", &format!("{who}, growth with a fast reader"), mib(memory.fast)).maybe_aim(grown),
        Line::alone("c", &format!("{who}, growth with a stopped reader"), mib(memory.stopped))
            .maybe_aim(grown),
    ]
}

async fn idle(data: &Data, runner: &mut Memory, gateway: &mut Memory) -> Rig {
    let rig = Rig::start(data).await;
    quiet(SETTLE).await;
    for (memory, pid) in [(runner, rig.runner.process.pid()), (gateway, rig.gateway.process.pid())] {
        memory.idle.push(resident_mib(pid));
        forget_peak(pid);
    }
    rig
}

fn note(rig: &Rig, runner: (&mut Vec<f64>, &[f64]), gateway: (&mut Vec<f64>, &[f64])) {
    for ((grown, idle), pid) in [(runner, rig.runner.process.pid()), (gateway, rig.gateway.process.pid())] {
        grown.push(peak_mib(pid) - idle.last().unwrap());
    }
}

async fn fast_reader(rig: &Rig, data: &Data) {
    let answer = rig.app.lines(ITEMS, &json!({"limit": data.rows})).await;
    let (rows, _) = answer.count_lines().await;
    assert_eq!(rows as u64, data.rows, "rows are missing");
}

/// The time in which nothing is read is the measurement.
async fn stopped_reader(rig: &Rig, data: &Data, pause: Duration) {
    let mut answer = rig.app.lines(ITEMS, &json!({"limit": data.rows})).await;
    let mut read = 0;
    while read < TASTE {
        read += answer.piece().await.expect("the rows ended").expect("the lines broke off").len();
    }
    quiet(pause).await;
    // It only stopped: the rest is still there.
    assert!(answer.piece().await.is_some_and(|piece| piece.is_ok()), "the query was given up");
}
