//! Figures, their aims, and the one table that they end up in.

use std::fs;
use std::path::Path;

use serde::Serialize;
use serde_json::Value;

/// Everything that was measured, and on what.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Report {
    /// What its files are called.
    #[serde(skip)]
    name: &'static str,
    machine: Machine,
    arguments: Value,
    /// How it was measured, for people.
    about: String,
    pub(crate) lines: Vec<Line>,
}

/// What the figures were measured on.
#[derive(Debug, Serialize)]
struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
}

/// One figure.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Line {
    group: &'static str,
    name: String,
    ours: Quantity,
    reference: Option<Quantity>,
    /// What the aim is about: a ratio, a difference, or the figure itself.
    result: Quantity,
    aim: Option<Aim>,
    reached: Option<bool>,
}

/// The values of all runs, in the order of the runs.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Quantity {
    unit: &'static str,
    values: Vec<f64>,
}

/// What is wanted of a median.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Aim {
    AtLeast(f64),
    AtMost(f64),
}

impl Report {
    pub(crate) fn new(name: &'static str, arguments: &impl Serialize, about: String) -> Self {
        let arguments = serde_json::to_value(arguments).unwrap();
        Self { name, machine: Machine::this(), arguments, about, lines: Vec::new() }
    }

    /// Writes both forms.
    pub(crate) fn write(&self, folder: &Path) {
        fs::create_dir_all(folder).unwrap();
        let file = folder.join(self.name);
        fs::write(file.with_extension("md"), self.markdown()).unwrap();
        fs::write(file.with_extension("json"), serde_json::to_vec_pretty(self).unwrap()).unwrap();
    }

    /// The table, aligned for a terminal.
    pub(crate) fn markdown(&self) -> String {
        let head = ["", "figure", "ours", "reference", "result", "min .. max", "aim", ""];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.lines.iter().map(Line::cells));
        let widths: [usize; 8] = std::array::from_fn(|column| {
            rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0)
        });
        let mut table: Vec<String> = rows.iter().map(|row| aligned(row, &widths)).collect();
        table.insert(1, format!("|{}", widths.map(|width| format!("{}|", "-".repeat(width + 2))).concat()));
        format!("{}\n\n{}\n", self.circumstances(), table.join("\n"))
    }

    fn circumstances(&self) -> String {
        let Machine { processor, cores, kernel } = &self.machine;
        format!("{cores} cores ({processor}), Linux {kernel}. {}", self.about)
    }
}

impl Machine {
    fn this() -> Self {
        let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let name = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
        Self {
            processor: name.map_or("unknown", |(_, name)| name.trim()).to_owned(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim().to_owned(),
        }
    }
}

impl Line {
    /// A figure on its own.
    pub(crate) fn alone(group: &'static str, name: &str, ours: Quantity) -> Self {
        let result = ours.clone();
        Self { group, name: name.to_owned(), ours, reference: None, result, aim: None, reached: None }
    }

    /// How many times the reference, run by run.
    pub(crate) fn ratio(group: &'static str, name: &str, ours: Quantity, reference: Quantity) -> Self {
        let result = ours.with(&reference, "x", |ours, reference| ours / reference);
        Self { reference: Some(reference), result, ..Self::alone(group, name, ours) }
    }

    /// How much more than the reference, run by run.
    pub(crate) fn added(group: &'static str, name: &str, ours: Quantity, reference: Quantity) -> Self {
        let result = ours.with(&reference, ours.unit, |ours, reference| ours - reference);
        Self { reference: Some(reference), result, ..Self::alone(group, name, ours) }
    }

    pub(crate) fn aim(self, aim: Aim) -> Self {
        self.maybe_aim(Some(aim))
    }

    pub(crate) fn maybe_aim(self, aim: Option<Aim>) -> Self {
        let reached = aim.map(|aim| aim.is_reached(self.result.median()));
        Self { aim, reached, ..self }
    }

    fn cells(&self) -> [String; 8] {
        let sign = if self.reference.is_some() && self.result.unit != "x" { "+" } else { "" };
        [
            self.group.to_owned(),
            self.name.clone(),
            self.ours.text(),
            self.reference.as_ref().map(Quantity::text).unwrap_or_default(),
            format!("{sign}{}", self.result.text()),
            self.result.range(),
            self.aim.map(Aim::text).unwrap_or_default(),
            self.reached.map_or("", |reached| if reached { "reached" } else { "NOT REACHED" }).to_owned(),
        ]
    }
}

impl Quantity {
    pub(crate) fn of(unit: &'static str, values: impl IntoIterator<Item = f64>) -> Self {
        let values: Vec<f64> = values.into_iter().collect();
        assert!(!values.is_empty(), "nothing was measured");
        Self { unit, values }
    }

    fn with(&self, other: &Self, unit: &'static str, combine: impl Fn(f64, f64) -> f64) -> Self {
        Self::of(unit, self.values.iter().zip(&other.values).map(|(ours, theirs)| combine(*ours, *theirs)))
    }

    fn sorted(&self) -> Vec<f64> {
        let mut values = self.values.clone();
        values.sort_by(f64::total_cmp);
        values
    }

    /// The middle value; of an even number of runs the mean of the middle two.
    fn median(&self) -> f64 {
        let values = self.sorted();
        let middle = values.len() / 2;
        if values.len() % 2 == 1 { values[middle] } else { f64::midpoint(values[middle - 1], values[middle]) }
    }

    fn text(&self) -> String {
        format!("{} {}", rounded(self.median()), self.unit)
    }

    fn range(&self) -> String {
        let values = self.sorted();
        format!("{} .. {}", rounded(values[0]), rounded(values[values.len() - 1]))
    }
}

impl Aim {
    fn is_reached(self, value: f64) -> bool {
        match self {
            Self::AtLeast(least) => value >= least,
            Self::AtMost(most) => value <= most,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(least) => format!(">= {}", rounded(least)),
            Self::AtMost(most) => format!("<= {}", rounded(most)),
        }
    }
}

/// Three significant digits, and all digits before the point.
fn rounded(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        size if size >= 1.0 => 2,
        _ => 3,
    };
    format!("{value:.decimals$}")
}

fn aligned(row: &[String; 8], widths: &[usize; 8]) -> String {
    let cells = row.iter().zip(widths).map(|(cell, width)| format!(" {cell:<width$} |"));
    format!("|{}", cells.collect::<String>())
}
