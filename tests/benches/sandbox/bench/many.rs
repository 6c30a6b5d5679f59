//! (k) A hundred runs, eight at a time.

use std::time::Instant;

use futures::StreamExt as _;
use futures::stream;
use sandbox::Transfer;

use crate::report::{Aim, Line, Quantity};
use crate::rig::{Rig, time, trivial};

const RUNS: usize = 100;
const AT_ONCE: usize = 8;
/// A hundred runs are a measurement in themselves.
const REPEATS: usize = 3;

pub(crate) async fn measure(rig: &Rig) -> Vec<Line> {
    let sandbox = rig.sandbox("many", Transfer::Auto, 0);
    let container = rig.container().await;
    let (mut ours, mut theirs, mut engine) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let by_us = async || {
            time(&sandbox, trivial()).await;
        };
        let by_docker = async || {
            rig.time_docker("none", &["true"]).await;
        };
        ours.push(hundred(by_us).await);
        theirs.push(hundred(by_docker).await);
        engine.push(hundred(async || rig.run_by_calls(&container).await).await);
        eprintln!(
            "a hundred runs: {ours:.1?} s, by docker {theirs:.1?} s, by the engine's calls {engine:.1?} s"
        );
    }
    let [ours, theirs, engine] = [ours, theirs, engine].map(|times| Quantity::of("s", times));
    vec![
        Line::ratio("k", "100 runs, 8 at a time", ours.clone(), theirs).aim(Aim::AtMost(0.9)),
        Line::ratio("k", "... against the engine's calls alone", ours, engine),
    ]
}

/// Seconds of a hundred runs.
async fn hundred(run: impl AsyncFn()) -> f64 {
    let started = Instant::now();
    stream::iter(0..RUNS).for_each_concurrent(AT_ONCE, async |_| run().await).await;
    started.elapsed().as_secs_f64()
}
