//! `plugin test`: the contract of bridges, held against a component as its author has it.

mod seed;
mod settings;

use std::fs;
use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use bridge_conformance::{Entry, Report, SurveyOptions, Verdict, cases, survey_cases};
use bridge_core::Driver as _;
use plugins_host::{Allowlist, Engine, Grants, LoadError, Plugin};
use runtime::Exit;
use runtime::settings::{Mistakes, Reader, Source};
use runtime::spelling::closest;
use runtime::telemetry::{self, LogSettings};

use self::seed::Seeded;
use self::settings::Given;
use super::component::{Component, engine};
use super::error::Refusal;
use crate::cli::{Flags, TestPlugin};
use crate::command::{complain, print};

pub(super) async fn run(
    test: &TestPlugin,
    flags: &Flags,
    environment: &dyn Source,
    out: &mut (dyn Write + Send),
) -> Result<Exit, Refusal> {
    check_ids(test)?;
    let given = Given::read(&test.config, test.config_file.as_deref())?;
    let allow = allowed(&test.allow)?;
    show_logs(flags, environment)?;
    let component = Component::read(&test.file)?;
    let (_, engine) = engine(flags, environment)?;
    let report = match load(&engine, &component, &given, test.seed.is_some(), allow).await? {
        Ok(plugin) => judge(test, &plugin, given).await,
        Err(error) => does_not_load(&component, &error),
    };
    let text = if test.json { report.json() } else { report.text() };
    let printed = print(out, text.trim_end());
    if let Some(file) = &test.junit {
        fs::write(file, report.junit()).map_err(Refusal::io("write", file))?;
    }
    Ok(if passed(&report) { printed } else { Exit::Failed })
}

/// Nothing failed, and more ran than what stands before all cases.
fn passed(report: &Report) -> bool {
    report.counts().failed == 0 && report.entries.len() > 1
}

async fn judge(test: &TestPlugin, plugin: &Arc<Plugin>, given: Given) -> Report {
    let only = test.only.clone();
    let Some(command) = &test.seed else {
        let config = given.as_it_is();
        complain(&format!("surveying what {} finds; --seed COMMAND tests it with known data", plugin.name()));
        return bridge_conformance::survey(&**plugin, &config, survey_options(test)).await;
    };
    complain(&format!("testing {} with known data", plugin.name()));
    let options = bridge_conformance::Options { only, ..bridge_conformance::Options::default() };
    let seeded = Seeded::new(given, command.clone(), test.keeps.clone());
    bridge_conformance::run(&**plugin, &seeded, options).await
}

fn survey_options(test: &TestPlugin) -> SurveyOptions {
    let usual = SurveyOptions::default();
    SurveyOptions {
        targets: usual.targets.max(test.target.len()),
        rows: test.rows.unwrap_or(usual.rows),
        names: test.target.clone(),
        only: test.only.clone(),
        ..usual
    }
}

/// The plugin, which may reach what its author says, and the hosts in the settings even if they are private: the author
/// is the operator here. A component that is no plugin is an answer, not a refusal.
async fn load(
    engine: &Engine,
    component: &Component,
    given: &Given,
    seeded: bool,
    allow: Allowlist,
) -> Result<Result<Arc<Plugin>, LoadError>, Refusal> {
    let described = match engine.load(component.bytes.clone(), |_| Grants::default()).await {
        Ok(described) => described,
        Err(error) => return Ok(Err(error)),
    };
    let hosts = given.check(&described, seeded)?;
    let hosts = Allowlist::parse(hosts.iter().map(String::as_str));
    // What the plugin host gives out as entries it also reads.
    let hosts = hosts.map_err(|invalid| Refusal::Argument(invalid.to_string()))?;
    let grants = Grants { allow: allow.and(&hosts), ..Grants::default() };
    Ok(engine.load(component.bytes.clone(), |_| grants).await)
}

fn does_not_load(component: &Component, error: &LoadError) -> Report {
    let entry = Entry {
        id: "load",
        group: "plugin",
        title: "the component is a plugin of this runner",
        verdict: Verdict::Failed(error.to_string()),
        took: Duration::ZERO,
    };
    Report { bridge: component.file_name(), notes: Vec::new(), entries: vec![entry] }
}

fn allowed(entries: &[String]) -> Result<Allowlist, Refusal> {
    let mut allow = Allowlist::default();
    for entry in entries {
        let one = Allowlist::parse([entry.as_str()]);
        let one = one.map_err(|invalid| {
            Refusal::Argument(format!("--allow {entry}: expected {}", invalid.expected))
        })?;
        allow = allow.and(&one);
    }
    Ok(allow)
}

/// A misspelled id would be a run of nothing.
fn check_ids(test: &TestPlugin) -> Result<(), Refusal> {
    let known: Vec<&str> = match test.seed {
        Some(_) => cases().iter().map(|case| case.id).collect(),
        None => survey_cases().iter().map(|case| case.id).collect(),
    };
    let Some(unknown) = test.only.iter().find(|id| !known.contains(&id.as_str())) else { return Ok(()) };
    let advice = match closest(unknown, &known) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("there are {}", known.join(", ")),
    };
    Err(Refusal::Argument(format!("--only {unknown}: there is no such case; {advice}")))
}

/// What the plugin logs, and what it was refused, is shown while it is tested.
fn show_logs(flags: &Flags, environment: &dyn Source) -> Result<(), Refusal> {
    let mut reader = Reader::new(environment);
    let log = LogSettings::load(&mut reader, flags.log_level.clone(), flags.log_format.clone());
    reader.finish().map_err(|mistakes: Mistakes| Refusal::Runner(mistakes))?;
    match telemetry::init(&log, None) {
        Ok(_) => {}
        // Somebody else has begun to log in this process, which shows the same.
        Err(error) => tracing::debug!(%error, "the log is as it was"),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(seed: Option<&str>, only: &[&str]) -> TestPlugin {
        TestPlugin {
            file: "things.wasm".into(),
            config: Vec::new(),
            config_file: None,
            allow: Vec::new(),
            seed: seed.map(str::to_owned),
            keeps: Vec::new(),
            target: vec!["a".to_owned(); 7],
            rows: Some(10),
            only: only.iter().map(|id| (*id).to_owned()).collect(),
            json: false,
            junit: None,
        }
    }

    #[test]
    fn a_case_that_is_none_is_named() {
        assert!(check_ids(&test(Some("load"), &["K1"])).is_ok());
        let refusal = check_ids(&test(Some("load"), &["K1", "K77"])).unwrap_err();
        assert!(
            refusal.to_string().starts_with("--only K77: there is no such case; did you mean K"),
            "{refusal}"
        );
        assert_eq!(refusal.exit(), Exit::Configuration);
        assert!(check_ids(&test(None, &["K1"])).is_err(), "the survey has cases of its own");
    }

    #[test]
    fn all_targets_that_are_named_are_surveyed() {
        let options = survey_options(&test(None, &[]));
        assert_eq!((options.targets, options.names.len(), options.rows), (7, 7, 10));
    }

    #[test]
    fn a_host_that_is_none_is_named() {
        let refusal = allowed(&["localhost:80".to_owned(), "http://x".to_owned()]).unwrap_err().to_string();
        assert!(refusal.starts_with("--allow http://x: expected a host"), "{refusal}");
    }

    #[test]
    fn a_run_of_nothing_is_no_pass() {
        let entry = |verdict| Entry { id: "x", group: "x", title: "x", verdict, took: Duration::ZERO };
        let report = |entries| Report { bridge: "x".to_owned(), notes: Vec::new(), entries };
        assert!(!passed(&report(vec![entry(Verdict::Passed)])));
        assert!(passed(&report(vec![entry(Verdict::Passed), entry(Verdict::Refused)])));
        assert!(!passed(&report(vec![entry(Verdict::Passed), entry(Verdict::Failed("x".to_owned()))])));
    }
}
