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
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..REPEATS {
        let started = Instant::now();
        stream::iter(0..RUNS)
            .for_each_concurrent(AT_ONCE, async |_| {
                time(&sandbox, trivial()).await;
            })
            .await;
        ours.push(started.elapsed().as_secs_f64());
        let started = Instant::now();
        stream::iter(0..RUNS)
            .for_each_concurrent(AT_ONCE, async |_| {
                rig.time_docker("none", &["true"]).await;
            })
            .await;
        theirs.push(started.elapsed().as_secs_f64());
        eprintln!("a hundred runs: {ours:.1?} s, by docker {theirs:.1?} s");
    }
    let line = Line::ratio("k", "100 runs, 8 at a time", Quantity::of("s", ours), Quantity::of("s", theirs));
    vec![line.aim(Aim::AtMost(0.9))]
}
