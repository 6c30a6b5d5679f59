//! What came of a run: counts, and the same as text, JSON and JUnit XML.

use std::fmt;
use std::fmt::Write;
use std::time::Duration;

use serde_json::json;

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Report {
    /// Package name of the bridge.
    pub bridge: String,
    /// What the run was about, a line each: the targets that a survey has looked at.
    pub notes: Vec<String>,
    /// One for the seeding or for the reading of what is there, then one for each case that ran, in the order of
    /// [`cases`](crate::cases()) or [`survey_cases`](crate::survey_cases()).
    pub entries: Vec<Entry>,
}

/// What came of one case.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The case's id.
    pub id: &'static str,
    /// The case's group.
    pub group: &'static str,
    /// The case's title.
    pub title: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// How long it took.
    pub took: Duration,
}

/// How a case ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// As the contract says.
    Passed,
    /// The bridge does not declare what the case needs, and refused it with the right error.
    Refused,
    /// The engine has no such thing, says the fixture.
    Impossible(&'static str),
    /// Otherwise than the contract says.
    Failed(String),
}

impl Verdict {
    const fn word(&self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Refused => "refused",
            Self::Impossible(_) => "impossible",
            Self::Failed(_) => "failed",
        }
    }

    fn reason(&self) -> Option<&str> {
        match self {
            Self::Passed | Self::Refused => None,
            Self::Impossible(reason) => Some(reason),
            Self::Failed(reason) => Some(reason),
        }
    }
}

/// How many cases ended how.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// As the contract says.
    pub passed: usize,
    /// Refused as declared.
    pub refused: usize,
    /// Not possible on this engine.
    pub impossible: usize,
    /// Otherwise than the contract says.
    pub failed: usize,
}

/// The cases that failed. Its `Debug` is its text, so that `unwrap` shows it.
#[derive(Clone)]
pub struct Failures(String);

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Failures {}

impl Report {
    /// How many cases ended how.
    pub fn counts(&self) -> Counts {
        let count = |word: &str| self.entries.iter().filter(|entry| entry.verdict.word() == word).count();
        Counts {
            passed: count("passed"),
            refused: count("refused"),
            impossible: count("impossible"),
            failed: count("failed"),
        }
    }

    /// The entry of a case.
    pub fn entry(&self, id: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.id == id)
    }

    /// Fails unless at least one case ran and none failed.
    pub fn check(&self) -> Result<(), Failures> {
        let counts = self.counts();
        if counts.failed == 0 && counts.passed > 1 {
            return Ok(());
        }
        let mut text = format!("{}\n", self.summary());
        for entry in self.entries.iter().filter(|entry| matches!(entry.verdict, Verdict::Failed(_))) {
            text.push_str(&entry.line());
        }
        Err(Failures(text))
    }

    /// For people: notes, one line a case, then the counts.
    pub fn text(&self) -> String {
        let mut text: String = self.notes.iter().map(|note| format!("{note}\n")).collect();
        text.extend(self.entries.iter().map(Entry::line));
        text.push_str(&self.summary());
        text.push('\n');
        text
    }

    /// For programs: `{bridge, notes, counts, cases: [{id, group, title, verdict, reason?, tookMs}]}`.
    pub fn json(&self) -> String {
        let case = |entry: &Entry| {
            json!({
                "id": entry.id,
                "group": entry.group,
                "title": entry.title,
                "verdict": entry.verdict.word(),
                "reason": entry.verdict.reason(),
                "tookMs": u64::try_from(entry.took.as_millis()).unwrap_or(u64::MAX),
            })
        };
        let counts = self.counts();
        json!({
            "bridge": self.bridge,
            "notes": self.notes,
            "counts": {
                "passed": counts.passed,
                "refused": counts.refused,
                "impossible": counts.impossible,
                "failed": counts.failed,
            },
            "cases": self.entries.iter().map(case).collect::<Vec<_>>(),
        })
        .to_string()
    }

    /// For build servers. Refusals are passes there, with a line of output that says so.
    pub fn junit(&self) -> String {
        let counts = self.counts();
        let mut out = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        let _infallible = writeln!(
            out,
            "<testsuite name=\"{}\" tests=\"{}\" failures=\"{}\" skipped=\"{}\">",
            escaped(&self.bridge),
            self.entries.len(),
            counts.failed,
            counts.impossible
        );
        if !self.notes.is_empty() {
            out.push_str("  <properties>\n");
            for note in &self.notes {
                let _infallible = writeln!(out, "    <property name=\"note\" value=\"{}\"/>", escaped(note));
            }
            out.push_str("  </properties>\n");
        }
        for entry in &self.entries {
            let _infallible = write!(
                out,
                "  <testcase classname=\"{}\" name=\"{} {}\" time=\"{:.3}\">",
                escaped(entry.group),
                entry.id,
                escaped(entry.title),
                entry.took.as_secs_f64()
            );
            match &entry.verdict {
                Verdict::Passed => {}
                Verdict::Refused => out.push_str("<system-out>refused, as declared</system-out>"),
                Verdict::Impossible(reason) => {
                    let _infallible = write!(out, "<skipped message=\"{}\"/>", escaped(reason));
                }
                Verdict::Failed(reason) => {
                    let _infallible = write!(out, "<failure message=\"{}\"/>", escaped(reason));
                }
            }
            out.push_str("</testcase>\n");
        }
        out.push_str("</testsuite>\n");
        out
    }

    fn summary(&self) -> String {
        let counts = self.counts();
        format!(
            "{}: {} passed, {} refused as declared, {} impossible here, {} failed",
            self.bridge, counts.passed, counts.refused, counts.impossible, counts.failed
        )
    }
}

impl Entry {
    fn line(&self) -> String {
        let reason = self.verdict.reason().map(|reason| format!(": {reason}")).unwrap_or_default();
        format!(
            "{:10} {:6} {} ({} ms){reason}\n",
            self.verdict.word(),
            self.id,
            self.title,
            self.took.as_millis()
        )
    }
}

/// XML text. Characters that XML 1.0 does not have become `?`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' => out.push_str("&#10;"),
            '\u{0}'..' ' | '\u{fffe}' | '\u{ffff}' => out.push('?'),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(verdicts: &[Verdict]) -> Report {
        let entry = |verdict: &Verdict| Entry {
            id: "X1",
            group: "group",
            title: "a <title>",
            verdict: verdict.clone(),
            took: Duration::from_millis(5),
        };
        let entries = verdicts.iter().map(entry).collect();
        Report { bridge: "@semilayer/bridge-x".to_owned(), notes: vec!["a \"note\"".to_owned()], entries }
    }

    #[test]
    fn a_failure_fails_the_run_and_is_shown() {
        let failed =
            report(&[Verdict::Passed, Verdict::Passed, Verdict::Failed("got \"1\"\u{1} & <2>".to_owned())]);
        assert!(failed.check().unwrap_err().to_string().contains("got \"1\""));
        assert!(failed.junit().contains("<failure message=\"got &quot;1&quot;? &amp; &lt;2&gt;\"/>"));
        let json: serde_json::Value = serde_json::from_str(&failed.json()).unwrap();
        assert_eq!((&json["counts"]["failed"], &json["cases"][2]["verdict"]), (&json!(1), &json!("failed")));
    }

    #[test]
    fn every_rendering_says_what_the_run_was_about_and_how_each_case_ended() {
        let report = report(&[Verdict::Passed, Verdict::Refused, Verdict::Impossible("no <roles>")]);
        assert!(report.text().starts_with("a \"note\"\npassed     X1     a <title> (5 ms)\n"));
        assert!(report.text().ends_with("1 passed, 1 refused as declared, 1 impossible here, 0 failed\n"));
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["notes"], json!(["a \"note\""]));
        let case = |at: usize| (json["cases"][at]["verdict"].clone(), json["cases"][at]["reason"].clone());
        assert_eq!(case(1), (json!("refused"), json!(null)));
        assert_eq!(case(2), (json!("impossible"), json!("no <roles>")));
        let expected = concat!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n",
            "<testsuite name=\"@semilayer/bridge-x\" tests=\"3\" failures=\"0\" skipped=\"1\">\n",
            "  <properties>\n    <property name=\"note\" value=\"a &quot;note&quot;\"/>\n  </properties>\n",
            "  <testcase classname=\"group\" name=\"X1 a &lt;title&gt;\" time=\"0.005\"></testcase>\n",
            "  <testcase classname=\"group\" name=\"X1 a &lt;title&gt;\" time=\"0.005\">",
            "<system-out>refused, as declared</system-out></testcase>\n",
            "  <testcase classname=\"group\" name=\"X1 a &lt;title&gt;\" time=\"0.005\">",
            "<skipped message=\"no &lt;roles&gt;\"/></testcase>\n</testsuite>\n",
        );
        assert_eq!(report.junit(), expected);
    }

    #[test]
    fn a_run_of_nothing_is_no_pass() {
        assert!(report(&[]).check().is_err());
        assert!(report(&[Verdict::Passed]).check().is_err(), "only the seeding");
        assert!(report(&[Verdict::Passed, Verdict::Passed, Verdict::Refused]).check().is_ok());
    }
}
