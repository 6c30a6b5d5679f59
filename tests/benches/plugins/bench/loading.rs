//! (i) From a component's bytes to a plugin that can be opened: compiled now, and from the cache.

use std::time::Instant;

use hdrhistogram::Histogram;
use plugins_host::{Engine, EngineSettings};

use crate::arguments::Arguments;
use crate::guests::{INTERPRETED, MEMORY, engine, find, load, memory};
use crate::report::{Aim, Line, Quantity};

/// Loads from the cache in a run.
const LOADS: usize = 200;

pub(crate) async fn measure(plugins: &Engine, arguments: &Arguments) -> Vec<Line> {
    let mut lines = Vec::new();
    let without_cache = Engine::new(EngineSettings::default()).unwrap();
    let compiling = compile(&without_cache, memory(), arguments.runs).await;
    lines.push(Line::alone("i", &format!("compile {MEMORY}"), Quantity::of("ms", compiling)));
    let cached = from_cache(plugins, memory(), arguments.runs).await;
    lines.push(Line::alone("i", &format!("load {MEMORY} from the cache"), cached).aim(Aim::AtMost(0.3)));
    for name in INTERPRETED {
        let Some(component) = find(name) else { continue };
        // Once: it takes several seconds.
        let compiling = compile(&without_cache, component.clone(), 1).await;
        lines.push(Line::alone("i", &format!("compile {name}"), Quantity::of("ms", compiling)));
        let cached = from_cache(plugins, component, arguments.runs).await;
        lines.push(Line::alone("i", &format!("load {name} from the cache"), cached));
    }
    lines
}

/// Loads from the cache and does nothing else.
pub(crate) async fn alone(arguments: &Arguments) {
    from_cache(&engine(&arguments.out), memory(), arguments.runs).await;
}

async fn compile(engine: &Engine, component: Vec<u8>, runs: usize) -> Vec<f64> {
    let mut times = Vec::new();
    for _ in 0..runs {
        let component = component.clone();
        let started = Instant::now();
        load(engine, component, 1).await;
        times.push(started.elapsed().as_secs_f64() * 1e3);
    }
    eprintln!("compiling: {times:.0?} ms");
    times
}

/// Medians in milliseconds.
async fn from_cache(engine: &Engine, component: Vec<u8>, runs: usize) -> Quantity {
    load(engine, component.clone(), 1).await;
    let mut medians = Vec::new();
    for _ in 0..runs {
        let mut times = Histogram::<u64>::new(3).unwrap();
        for _ in 0..LOADS {
            let component = component.clone();
            let started = Instant::now();
            let plugin = load(engine, component, 1).await;
            times.record(u64::try_from(started.elapsed().as_nanos()).unwrap()).unwrap();
            drop(plugin);
        }
        medians.push(times.value_at_quantile(0.5) as f64 / 1e6);
    }
    eprintln!("from the cache: {medians:.3?} ms");
    Quantity::of("ms", medians)
}
