//! Conformance against whatever data is there: for sources that nobody can seed, like the API of a service or a database
//! that belongs to others.
//!
//! Some targets are read as a whole. From these rows `bridge_reduce` computes what every other job must answer over them,
//! so the data must not change meanwhile. Where nobody can know what an engine makes of a value (whether a text is a date
//! to it, where its collation puts a letter), every answer that some engine gives is right, or nothing is asked. What is
//! not declared must be refused, as in the suite.

mod aggregates;
mod filters;
mod orders;
mod ranked;
mod refusals;
mod sample;
mod scans;
mod site;
mod streams;
mod targets;

use std::time::{Duration, Instant};

use bridge_core::{BoxFuture, Bridge, Call, Driver};
use protocol::SourceConfig;

use crate::cases::Need;
use crate::failure::{Failure, Outcome};
use crate::report::{Entry, Report, Verdict};
use crate::run::{bounded, judged, verdict};
use sample::Sample;
pub use site::Site;

/// How many targets are tried for each that is looked at: those without rows say nothing.
const TRIES: usize = 4;

/// What to look at, and for how long.
#[derive(Debug, Clone)]
pub struct SurveyOptions {
    /// How many targets at the most.
    pub targets: usize,
    /// How many rows of each. Of a target with more only pages are compared.
    pub rows: u64,
    /// These targets; the first that are listed and have rows when empty.
    pub names: Vec<String>,
    /// What one case may take, connecting included, and the reading of one target.
    pub case_limit: Duration,
    /// Only cases whose id is one of these; all cases when empty. What was left out is in no count.
    pub only: Vec<String>,
}

impl Default for SurveyOptions {
    /// Five targets, 10 000 rows of each, five minutes a case.
    fn default() -> Self {
        Self {
            targets: 5,
            rows: 10_000,
            names: Vec::new(),
            case_limit: Duration::from_secs(300),
            only: Vec::new(),
        }
    }
}

/// One promise of the contract, over whatever data is there.
#[derive(Clone, Copy)]
pub struct SurveyCase {
    /// Stable id.
    pub id: &'static str,
    /// What it belongs to.
    pub group: &'static str,
    /// What is promised, in a sentence.
    pub title: &'static str,
    /// What the bridge must have declared. Otherwise it must refuse.
    pub needs: &'static [Need],
    /// Asks the bridge and looks at the answer.
    pub run: for<'a> fn(&'a Site<'a>) -> BoxFuture<'a, Outcome>,
}

/// All cases of a survey, in the order in which they run.
pub fn survey_cases() -> Vec<&'static SurveyCase> {
    [
        targets::CASES,
        scans::CASES,
        filters::CASES,
        orders::CASES,
        aggregates::CASES,
        ranked::CASES,
        refusals::CASES,
        streams::CASES,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Reads some targets of a source and runs the cases over them, each with a bridge connected for it alone. The report's
/// notes say what was looked at.
pub async fn survey(driver: &dyn Driver, config: &SourceConfig, options: SurveyOptions) -> Report {
    let mut report = Report { bridge: driver.name().to_owned(), notes: Vec::new(), entries: Vec::new() };
    let start = Instant::now();
    let limit = options.case_limit;
    let all_targets = limit.saturating_mul(u32::try_from(options.targets).unwrap_or(u32::MAX).max(1));
    let (ground, read) = match bounded(all_targets, Ground::read(driver, config, &options)).await {
        Ok(ground) => {
            let read = ground.verdict();
            (ground, read)
        }
        Err(failure) => (Ground::default(), verdict(Err(failure))),
    };
    report.entries.push(Entry {
        id: "D0",
        group: "data",
        title: "the targets that are looked at can be read",
        verdict: read,
        took: start.elapsed(),
    });
    if ground.samples.is_empty() {
        return report;
    }
    report.notes = ground.notes();
    let wanted = |case: &&&SurveyCase| options.only.is_empty() || options.only.iter().any(|id| id == case.id);
    for case in survey_cases().iter().filter(wanted) {
        let start = Instant::now();
        let outcome = bounded(limit, attempt(driver, config, &ground, case, limit)).await;
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

async fn attempt(
    driver: &dyn Driver,
    config: &SourceConfig,
    ground: &Ground,
    case: &SurveyCase,
    limit: Duration,
) -> Outcome {
    let bridge = driver.connect(config, &Call::within(limit)).await?;
    let declared = |need: &Need| need.is_declared(driver.capabilities(), driver.aggregate_capabilities());
    let site = Site {
        driver,
        config,
        bridge,
        listed: &ground.listed,
        samples: &ground.samples,
        declared: case.needs.iter().all(declared),
        // A little less than the case has, so that a call that is too slow is told apart from one that hangs.
        limit: limit.mul_f64(0.8),
    };
    let outcome = (case.run)(&site).await;
    site.bridge.close().await;
    outcome
}

/// What a survey stands on.
#[derive(Debug, Default)]
struct Ground {
    listed: Vec<String>,
    samples: Vec<Sample>,
    /// Targets without rows.
    empty: Vec<String>,
    /// Targets that could not be read, with the reason.
    unread: Vec<String>,
}

impl Ground {
    async fn read(driver: &dyn Driver, config: &SourceConfig, options: &SurveyOptions) -> Outcome<Self> {
        let call = Call::within(options.case_limit);
        let bridge = driver.connect(config, &call).await?;
        let mut ground = Self { listed: bridge.list_targets(&call).await?, ..Self::default() };
        let candidates = match options.names.as_slice() {
            [] => ground.listed.iter().take(options.targets.saturating_mul(TRIES)).cloned().collect(),
            names => names.to_vec(),
        };
        for target in candidates {
            if ground.samples.len() >= options.targets {
                break;
            }
            ground.look_at(driver, &*bridge, target, options).await;
        }
        bridge.close().await;
        Ok(ground)
    }

    async fn look_at(
        &mut self,
        driver: &dyn Driver,
        bridge: &dyn Bridge,
        target: String,
        options: &SurveyOptions,
    ) {
        let call = Call::within(options.case_limit);
        let scans = driver.capabilities().cursor;
        let read = Sample::read(bridge, &call, &target, options.rows, scans);
        match bounded(options.case_limit, read).await {
            Ok(sample) if sample.rows.is_empty() => self.empty.push(target),
            Ok(sample) => self.samples.push(sample),
            Err(failure) => self.unread.push(format!("{target}: {}", told(failure))),
        }
    }

    fn verdict(&self) -> Verdict {
        if !self.unread.is_empty() {
            return Verdict::Failed(self.unread.join("; "));
        }
        if self.samples.is_empty() {
            return Verdict::Failed(format!("none of {} targets has rows", self.empty.len()));
        }
        Verdict::Passed
    }

    fn notes(&self) -> Vec<String> {
        let looked_at = self.samples.iter().map(Sample::note);
        let empty = (!self.empty.is_empty()).then(|| format!("without rows: {}", self.empty.join(", ")));
        looked_at.chain(empty).collect()
    }
}

fn told(failure: Failure) -> String {
    match failure {
        Failure::Bridge(error) => format!("the bridge said: {error}"),
        Failure::Wrong(message) | Failure::Fixture(message) => message,
        Failure::Impossible(reason) => reason.to_owned(),
    }
}
