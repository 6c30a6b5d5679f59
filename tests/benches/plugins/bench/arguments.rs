//! The command line, as a value. `cargo xtask bench` writes it, so a mistake in it is a fault and stops the program.

use std::path::PathBuf;

use serde::Serialize;

/// What to measure, how long, and where the report goes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Arguments {
    /// Rows of the table; all of them are read.
    pub(crate) rows: u64,
    /// How often each figure is measured.
    pub(crate) runs: usize,
    /// Folder for the report and for compiled plugins.
    #[serde(skip)]
    pub(crate) out: PathBuf,
}

impl Arguments {
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut arguments = Self { rows: 1_000_000, runs: 5, out: PathBuf::from("target/bench") };
        while let Some(word) = words.next() {
            if word == "--bench" {
                // Cargo says so to every benchmark.
                continue;
            }
            let value = words.next().unwrap_or_else(|| panic!("{word} needs a value"));
            let number = || value.parse().unwrap_or_else(|_| panic!("{value} is not a whole number"));
            match word.as_str() {
                "--rows" => arguments.rows = number(),
                "--runs" => arguments.runs = usize::try_from(number()).unwrap(),
                "--out" => arguments.out = value.into(),
                _ => panic!("{word} is not known"),
            }
        }
        assert!(arguments.rows > 0 && arguments.runs > 0, "at least 1");
        arguments
    }
}
