//! Runs the cases.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::time::{Duration, Instant};

use bridge_core::{Call, Driver};
use futures::FutureExt;

use crate::cases::{Case, Need, cases};
use crate::failure::{Failure, Outcome};
use crate::fixture::{Database, Fixture};
use crate::report::{Entry, Report, Verdict};
use crate::seed::{self, Instants, Seed};
use crate::subject::Subject;

/// How to run.
#[derive(Debug, Clone)]
pub struct Options {
    /// What one case may take, connecting included.
    pub case_limit: Duration,
    /// What seeding both databases may take.
    pub seed_limit: Duration,
    /// Only cases whose id is one of these; all cases when empty. What was left out is in no count.
    pub only: Vec<String>,
}

impl Default for Options {
    /// All cases, a minute each, five for the seed.
    fn default() -> Self {
        Self { case_limit: Duration::from_secs(60), seed_limit: Duration::from_secs(300), only: Vec::new() }
    }
}

/// Seeds both databases and runs the cases one after the other, each with a bridge connected for it alone.
///
/// A bridge that panics or never answers fails its case and no other. One that blocks its thread blocks the run: futures
/// cannot be taken away from a thread.
pub async fn run(driver: &dyn Driver, fixture: &dyn Fixture, options: Options) -> Report {
    let first = match fixture.instants() {
        Instants::Microseconds => seed::first(),
        Instants::Milliseconds => seed::first().in_milliseconds(),
    };
    let mut report = Report { bridge: driver.name().to_owned(), notes: Vec::new(), entries: Vec::new() };
    let start = Instant::now();
    let seeded = bounded(options.seed_limit, seed_both(fixture, &first)).await;
    let failed = seeded.is_err();
    report.entries.push(Entry {
        id: "seed",
        group: "fixture",
        title: "both databases are seeded",
        verdict: verdict(seeded),
        took: start.elapsed(),
    });
    if failed {
        return report;
    }
    let wanted = |case: &&&Case| options.only.is_empty() || options.only.iter().any(|id| id == case.id);
    for case in cases().iter().filter(wanted) {
        let start = Instant::now();
        let outcome =
            bounded(options.case_limit, attempt(driver, fixture, &first, case, options.case_limit)).await;
        report.entries.push(Entry {
            id: case.id,
            group: case.group,
            title: case.title,
            verdict: judged(driver, case.needs, outcome),
            took: start.elapsed(),
        });
    }
    report
}

async fn seed_both(fixture: &dyn Fixture, first: &Seed) -> Outcome {
    fixture.seed(Database::First, first).await.map_err(Failure::Fixture)?;
    fixture.seed(Database::Second, &seed::second()).await.map_err(Failure::Fixture)
}

async fn attempt(
    driver: &dyn Driver,
    fixture: &dyn Fixture,
    seed: &Seed,
    case: &Case,
    limit: Duration,
) -> Outcome {
    let bridge = driver.connect(&fixture.config(Database::First), &Call::within(limit)).await?;
    // A little less than the case has, so that a call that is too slow is told apart from one that hangs.
    let subject = Subject { driver, fixture, bridge, seed, limit: limit.mul_f64(0.8) };
    let outcome = (case.run)(&subject).await;
    subject.bridge.close().await;
    outcome
}

/// The outcome of something that may panic, and may take no longer than that.
pub(crate) async fn bounded<T>(limit: Duration, work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    match tokio::time::timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(panic)) => {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            Err(Failure::wrong(format!("panicked: {text}")))
        }
        Err(_) => Err(Failure::wrong(format!("did not end within {} ms", limit.as_millis()))),
    }
}

/// What is not declared must have been refused with the right error.
pub(crate) fn judged(driver: &dyn Driver, needs: &[Need], outcome: Outcome) -> Verdict {
    let declared = |need: &Need| need.is_declared(driver.capabilities(), driver.aggregate_capabilities());
    let missing: Vec<_> = needs.iter().filter(|need| !declared(need)).collect();
    let Some(first) = missing.first() else { return verdict(outcome) };
    match outcome {
        Err(Failure::Bridge(error)) if missing.iter().any(|need| need.is_refused_by(&error)) => {
            Verdict::Refused
        }
        Err(Failure::Bridge(error)) => {
            Verdict::Failed(format!("{} is not declared, but was refused with: {error}", first.name()))
        }
        Err(Failure::Impossible(reason)) => Verdict::Impossible(reason),
        Err(Failure::Wrong(message) | Failure::Fixture(message)) => {
            Verdict::Failed(format!("{} is not declared, but was not refused: {message}", first.name()))
        }
        Ok(()) => Verdict::Failed(format!("{} is not declared, but works", first.name())),
    }
}

pub(crate) fn verdict(outcome: Outcome) -> Verdict {
    match outcome {
        Ok(()) => Verdict::Passed,
        Err(Failure::Bridge(error)) => Verdict::Failed(format!("the bridge said: {error}")),
        Err(Failure::Wrong(message)) => Verdict::Failed(message),
        Err(Failure::Fixture(message)) => Verdict::Failed(format!("the fixture said: {message}")),
        Err(Failure::Impossible(reason)) => Verdict::Impossible(reason),
    }
}
