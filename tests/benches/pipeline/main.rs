//! `cargo xtask bench`: what the whole path costs, measured side by side with what PostgreSQL's own programs need.
//!
//! A report, not a gate: it says of each figure whether its aim is reached and ends well either way. Everything runs as
//! separate release processes on this machine; runs of different candidates take turns, so that a busy machine is busy
//! for all of them. See `docs/benchmarks.md` for the method.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::cast_precision_loss,
    reason = "a benchmark stops where something is not as it says, prints what it finds, and rounds figures for people"
)]

mod arguments;
mod engines;
mod memory;
mod point;
mod report;
mod rig;
mod size;
mod start;
mod stream;
mod usage;

use arguments::{Arguments, Part};
use report::Report;
use rig::{Data, POOL};

fn main() {
    // One thread: what is measured has the cores.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let words: Vec<String> = std::env::args().skip(1).collect();
    if let [word, bridge, target] = words.as_slice()
        && word == engines::BRIDGE
    {
        return runtime.block_on(engines::stream(bridge, target));
    }
    let arguments = Arguments::read(words.into_iter());
    let report = runtime.block_on(measure(&arguments));
    report.write(&arguments.out);
    println!("\n{}", report.markdown());
    println!("written to {}/pipeline.md and pipeline.json", arguments.out.display());
}

async fn measure(arguments: &Arguments) -> Report {
    let mut report = Report::new("pipeline", arguments, about(arguments));
    let parts = arguments.parts.iter().filter(|part| **part != Part::Engines);
    if arguments.parts.contains(&Part::Engines) {
        report.lines.extend(engines::measure(arguments).await);
    }
    if parts.clone().next().is_none() {
        return report;
    }
    eprintln!("making {} rows", arguments.rows);
    let data = Data::make(arguments.rows).await;
    for part in parts {
        report.lines.extend(match part {
            Part::Engines => Vec::new(),
            Part::Stream => stream::measure(&data, arguments).await,
            Part::Point => point::measure(&data, arguments).await,
            Part::Memory => memory::measure(&data, arguments).await,
            Part::Start => start::measure(&data, arguments).await,
            Part::Size => size::measure(arguments),
        });
    }
    report
}

fn about(arguments: &Arguments) -> String {
    let Arguments { rows, runs, seconds, .. } = arguments;
    format!("{rows} rows, {runs} runs, {seconds} s of point queries a run, pool.max {POOL}; medians.")
}
