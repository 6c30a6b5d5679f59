//! The command line, as a value. `cargo xtask bench` writes it, so a mistake in it is a fault and stops the program.

use std::path::PathBuf;

use serde::Serialize;

/// What to measure, how long, and where the report goes.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Arguments {
    /// Rows of the table; all of them are streamed.
    pub(crate) rows: u64,
    /// How often each figure is measured.
    pub(crate) runs: usize,
    /// How long the callers of point queries ask, in seconds.
    pub(crate) seconds: u64,
    /// How long the stopped reader stops, in seconds.
    pub(crate) pause: u64,
    pub(crate) parts: Vec<Part>,
    /// The engines to measure, by the names of their bridges; all of them without.
    pub(crate) engines: Vec<String>,
    /// Folder for the report.
    #[serde(skip)]
    pub(crate) out: PathBuf,
    /// Programs that only `xtask` has seen: name and bytes.
    #[serde(skip)]
    pub(crate) sizes: Vec<(String, u64)>,
}

/// One group of figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) enum Part {
    Stream,
    Point,
    Memory,
    Start,
    Size,
    Engines,
}

impl Part {
    fn named(name: &str) -> Self {
        match name {
            "stream" => Self::Stream,
            "point" => Self::Point,
            "memory" => Self::Memory,
            "start" => Self::Start,
            "size" => Self::Size,
            "engines" => Self::Engines,
            _ => panic!("{name} is none of stream, point, memory, start, size, engines"),
        }
    }
}

impl Arguments {
    pub(crate) fn read(mut words: impl Iterator<Item = String>) -> Self {
        let mut arguments = Self {
            rows: 1_000_000,
            runs: 5,
            seconds: 5,
            pause: 10,
            parts: vec![Part::Stream, Part::Point, Part::Memory, Part::Start, Part::Size, Part::Engines],
            engines: Vec::new(),
            out: PathBuf::from("target/bench"),
            sizes: Vec::new(),
        };
        while let Some(word) = words.next() {
            if word == "--bench" {
                // Cargo says so to every benchmark.
                continue;
            }
            let value = words.next().unwrap_or_else(|| panic!("{word} needs a value"));
            match word.as_str() {
                "--rows" => arguments.rows = number(&value),
                "--runs" => arguments.runs = usize::try_from(number(&value)).unwrap(),
                "--seconds" => arguments.seconds = number(&value),
                "--pause" => arguments.pause = number(&value),
                "--only" => arguments.parts = value.split(',').map(Part::named).collect(),
                "--engine" => arguments.engines = value.split(',').map(str::to_owned).collect(),
                "--out" => arguments.out = value.into(),
                "--size" => {
                    let (name, bytes) = value.rsplit_once('=').expect("--size NAME=BYTES");
                    arguments.sizes.push((name.to_owned(), number(bytes)));
                }
                _ => panic!("{word} is not known"),
            }
        }
        arguments
    }
}

/// Every number here counts something of which there must be at least one.
fn number(text: &str) -> u64 {
    let number = text.parse().unwrap_or_else(|_| panic!("{text} is not a whole number"));
    assert!(number > 0, "at least 1");
    number
}
