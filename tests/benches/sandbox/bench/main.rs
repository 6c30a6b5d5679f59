//! `cargo xtask bench --only sandbox`: what a sandboxed run costs, side by side with the engine's own command line.
//!
//! A report, not a gate: it says of each figure whether its aim is reached and ends well either way. Candidates take turns,
//! so that a busy machine is busy for all of them. See `docs/benchmarks.md` for the method.
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
mod many;
mod memory;
#[expect(dead_code, reason = "shared with benchmarks that have aims from below")]
#[path = "../../pipeline/report.rs"]
mod report;
mod rig;
mod single;

use arguments::Arguments;
use report::Report;
use rig::Rig;

fn main() {
    let arguments = Arguments::read(std::env::args().skip(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let report = runtime.block_on(measure(&arguments));
    report.write(&arguments.out);
    println!("\n{}", report.markdown());
    println!("written to {}/sandbox.md and sandbox.json", arguments.out.display());
}

async fn measure(arguments: &Arguments) -> Report {
    let rig = Rig::new();
    let about = format!("{}; {} runs of each; medians.", rig.about().await, arguments.runs);
    let mut report = Report::new("sandbox", arguments, about);
    report.lines.extend(single::measure(&rig, arguments).await);
    report.lines.extend(many::measure(&rig).await);
    report.lines.extend(memory::measure(&rig).await);
    rig.end().await;
    report
}
