//! (e) What is shipped.

use harness::gateway::GATEWAY;
use harness::process::program;
use harness::runner::RUNNER;

use crate::arguments::Arguments;
use crate::report::{Line, Quantity};

const MIB: f64 = 1024.0 * 1024.0;

pub(crate) fn measure(arguments: &Arguments) -> Vec<Line> {
    let built = [RUNNER, GATEWAY].map(|name| (name.to_owned(), length(name)));
    let line = |(name, bytes): &(String, u64)| {
        Line::alone("e", &format!("size of {name}"), Quantity::of("MiB", [*bytes as f64 / MIB]))
    };
    built.iter().chain(&arguments.sizes).map(line).collect()
}

fn length(name: &str) -> u64 {
    std::fs::metadata(program(name).as_std().get_program()).unwrap().len()
}
