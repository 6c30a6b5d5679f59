//! (d) From the start of the runner's process to the session that the gateway has acknowledged.

use std::time::Instant;

use harness::wait::secs;

use crate::arguments::Arguments;
use crate::report::{Aim, Line, Quantity};
use crate::rig::{Data, Rig, settings};

const STARTS: usize = 10;

pub(crate) async fn measure(data: &Data, _: &Arguments) -> Vec<Line> {
    let mut rig = Rig::start(data).await;
    rig.runner.process.terminate(secs(10)).await;
    let settings = settings(&rig.gateway, &rig.credentials);
    let mut times = Vec::new();
    // The first start reads the program from the disk and does not count.
    for start in 0..=STARTS {
        let started = Instant::now();
        let mut runner = settings.start();
        runner.process.stderr.find("the line that says it is connected", secs(10), connected).await;
        let time = started.elapsed();
        if start > 0 {
            times.push(time.as_secs_f64() * 1_000.0);
        }
        runner.process.terminate(secs(10)).await;
    }
    eprintln!("start: {times:.1?} ms");
    vec![Line::alone("d", "start to hello-ack", Quantity::of("ms", times)).aim(Aim::AtMost(30.0))]
}

fn connected(line: &str) -> Option<()> {
    (line.contains(" connected") && line.contains("extensions")).then_some(())
}
