//! The command line, as a value. `cargo xtask bench` writes it, so a mistake in it is a fault and stops the program.

use std::path::PathBuf;

use serde::Serialize;

/// How much to measure, and where the report goes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Arguments {
    /// How often each kind of run is made.
    pub(crate) runs: usize,
    /// Folder for the report.
    #[serde(skip)]
    pub(crate) out: PathBuf,
}

impl Arguments {
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut arguments = Self { runs: 20, out: PathBuf::from("target/bench") };
        while let Some(word) = words.next() {
            if word == "--bench" {
                // Cargo says so to every benchmark.
                continue;
            }
            let value = words.next().unwrap_or_else(|| panic!("{word} needs a value"));
            match word.as_str() {
                "--runs" => arguments.runs = value.parse().expect("--runs NUMBER"),
                "--out" => arguments.out = value.into(),
                _ => panic!("{word} is not known"),
            }
        }
        assert!(arguments.runs > 0, "at least 1");
        arguments
    }
}
