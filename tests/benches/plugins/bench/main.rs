//! `cargo xtask bench --only plugins`: what WebAssembly costs, measured side by side with the same bridge compiled in.
//!
//! A report, not a gate: it says of each figure whether its aim is reached and ends well either way. Everything runs in
//! this process, over the interface that the runner uses; candidates take turns, so that a busy machine is busy for all of
//! them. See `docs/benchmarks.md` for the method.
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
mod guests;
mod instances;
mod loading;
mod rates;
#[path = "../../pipeline/report.rs"]
mod report;
mod usage;

use arguments::Arguments;
use report::Report;
use tokio::runtime::{Builder, Runtime};

/// The word that makes this program do one thing over and over: `perf record` then shows where the time goes.
const ALONE: &str = "--alone";

fn main() {
    let mut words = std::env::args().skip(1).peekable();
    if words.next_if(|word| word == instances::LIVE).is_some() {
        return as_the_runner().block_on(instances::live(&Arguments::read(words)));
    }
    if words.next_if(|word| word == ALONE).is_some() {
        let what = words.next().expect("--alone plugin, --alone native, or --alone load");
        return one_thread().block_on(alone(&what, &Arguments::read(words)));
    }
    let arguments = Arguments::read(words);
    let report = measure(&arguments);
    report.write(&arguments.out);
    println!("\n{}", report.markdown());
    println!("written to {}/plugins.md and plugins.json", arguments.out.display());
}

fn measure(arguments: &Arguments) -> Report {
    let about = format!("{} rows, {} runs; medians.", arguments.rows, arguments.runs);
    let mut report = Report::new("plugins", arguments, about);
    let engine = guests::engine(&arguments.out);
    report.lines.extend(one_thread().block_on(rates::measure(&engine, arguments)));
    let runtime = as_the_runner();
    report.lines.extend(runtime.block_on(rates::measure_in_parallel(&engine, arguments)));
    report.lines.extend(runtime.block_on(instances::measure(&engine, arguments)));
    report.lines.extend(runtime.block_on(loading::measure(&engine, arguments)));
    report
}

/// A plugin's rows pass between two tasks. With a thread for each of them, a busy machine gives the plugin twice the time
/// that it gives native code, and the comparison is about the machine.
fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// A thread for each core.
fn as_the_runner() -> Runtime {
    Builder::new_multi_thread().enable_all().build().unwrap()
}

async fn alone(what: &str, arguments: &Arguments) {
    match what {
        "load" => loading::alone(arguments).await,
        candidate => rates::alone(candidate, arguments).await,
    }
}
