//! Its rows: three honest ones, or whatever the target is called after.

use std::cell::Cell;
use std::time::Duration;

use crate::bindings::exports::semilayer::bridge::bridge::GuestCursor;
use crate::bindings::semilayer::bridge::host::{self, Level};
use crate::bindings::semilayer::bridge::types::{
    Batch, Column, ColumnBatch, ColumnData, ColumnInfo, Error, ErrorCode, JsonBatch, Kind, Packed, Tail,
};
use crate::{READS, crimes, error};

pub(crate) struct Cursor {
    wish: String,
    infos: Vec<ColumnInfo>,
    batch: Cell<Option<Batch>>,
    batches: Cell<u64>,
}

impl Cursor {
    /// Rows of a target.
    pub(crate) fn open(wish: &str, options: &str) -> Result<Self, Error> {
        READS.set(READS.get() + 1);
        match wish {
            "panic" => crimes::panic(),
            "loop" => crimes::endless(),
            "stack" => crimes::recurse(),
            "memory" => crimes::eat_memory(),
            "hoard" => crimes::hoard(),
            "exit" => std::process::exit(3),
            "exit-hungry" => crimes::exit_hungry(),
            "forget" => std::mem::forget(std::hint::black_box(vec![1_u8; 8 << 20])),
            "print" => {
                #[expect(clippy::print_stdout, clippy::print_stderr, reason = "that is what is tested")]
                {
                    println!("said on stdout");
                    eprintln!("said on stderr");
                }
            }
            "print-secret" => host::log(Level::Warn, "the secret is hunter2"),
            "print-secret-late" => {
                // Where lines are cut.
                let line = format!("{}hunter2 is the secret", "x".repeat((8 << 10) - 3));
                host::log(Level::Warn, &line);
                #[expect(clippy::print_stdout, reason = "that is what is tested")]
                {
                    println!("{line}");
                }
            }
            "log-lines" => host::log(Level::Error, "one\r\n2026-01-01 ERROR another \u{1b}[2J"),
            "log" => log_lines(1_000),
            "refused" => return Err(error(ErrorCode::PermissionDenied, "not for you")),
            "nowhere" => return Err(error(ErrorCode::NotFound, "no such target")),
            _ => {}
        }
        let batch = batch(wish, options);
        Ok(Self { wish: wish.to_owned(), infos: infos(wish), batch: Cell::new(batch), batches: Cell::new(0) })
    }

    /// Buckets.
    pub(crate) fn buckets(wish: &str) -> Result<Self, Error> {
        if wish == "leave" {
            return Err(error(ErrorCode::UnsupportedKind, "not here"));
        }
        let batch = match wish {
            "json" => json(1, r#"{"dims":{"name":"a"},"measures":{"n":2},"count":2}"#),
            "bucket-extra" => json(1, r#"{"dims":{},"measures":{},"count":2,"x":1}"#),
            "bucket-count" => json(1, r#"{"dims":{},"measures":{},"count":-2}"#),
            "bucket-dims" => json(1, r#"{"dims":[],"measures":{},"count":2}"#),
            _ => columns(1, vec![texts(&["a"]), ints(&[2]), ints(&[2])]),
        };
        let infos = match (wish, &batch) {
            (_, Batch::Json(_)) => Vec::new(),
            ("bucket-columns", _) => vec![info("name", Kind::Text), info("count", Kind::Int64)],
            _ => vec![info("name", Kind::Text), info("n", Kind::Int64), info("count", Kind::Int64)],
        };
        Ok(Self { wish: wish.to_owned(), infos, batch: Cell::new(Some(batch)), batches: Cell::new(0) })
    }

    /// Ranked rows.
    pub(crate) fn ranked(wish: &str) -> Result<Self, Error> {
        let batch = match wish {
            "unscored-json" => json(1, r#"{"id":1}"#),
            "scored-json" => json(1, r#"{"id":1,"_score":0.5}"#),
            "unscored" => columns(1, vec![ints(&[1])]),
            _ => columns(1, vec![ints(&[1]), plain(ColumnData::Floats(vec![0.5]))]),
        };
        let infos = match (wish, &batch) {
            (_, Batch::Json(_)) => Vec::new(),
            ("unscored", _) => vec![info("id", Kind::Int64)],
            _ => vec![info("id", Kind::Int64), info("_score", Kind::Float64)],
        };
        Ok(Self { wish: wish.to_owned(), infos, batch: Cell::new(Some(batch)), batches: Cell::new(0) })
    }
}

impl Drop for Cursor {
    fn drop(&mut self) {
        match self.wish.as_str() {
            "loop-drop" => crimes::endless(),
            "panic-drop" => crimes::panic(),
            _ => {}
        }
    }
}

impl GuestCursor for Cursor {
    fn columns(&self) -> Vec<ColumnInfo> {
        self.infos.clone()
    }

    fn next_batch(&self, max_rows: u32, _max_bytes: u32) -> Result<Option<Batch>, Error> {
        self.batches.set(self.batches.get() + 1);
        match self.wish.as_str() {
            "panic-later" | "polite-later" | "loop-later" if self.batches.get() <= 2 => Ok(Some(honest(3))),
            "loop-next" | "loop-later" => crimes::endless(),
            "panic-next" | "panic-later" => crimes::panic(),
            "flood" => loop {
                host::log(Level::Info, &"flood ".repeat(10_000));
            },
            "sleep" => {
                std::thread::sleep(Duration::from_secs(3_600));
                Ok(None)
            }
            "polite" | "polite-later" => {
                while !host::is_cancelled() {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error(ErrorCode::Cancelled, "so be it"))
            }
            "lost" => Err(Error { connection_lost: true, ..error(ErrorCode::Unreachable, "gone") }),
            "endless" => Ok(Some(honest(max_rows))),
            "empty" => Ok(Some(columns(0, vec![ints(&[]), texts(&[])]))),
            _ => Ok(self.batch.take()),
        }
    }

    fn tail(&self) -> Tail {
        let (next_cursor, method) = match self.wish.as_str() {
            "long-cursor" => (Some("x".repeat(1 << 20)), None),
            "odd-method" => (None, Some("guess".to_owned())),
            "round" => (Some("again".to_owned()), None),
            _ => (None, None),
        };
        Tail { next_cursor, total: Some(self.batches.get()), approximate: false, method }
    }
}

fn infos(wish: &str) -> Vec<ColumnInfo> {
    let honest = vec![info("id", Kind::Int64), info("name", Kind::Text)];
    match wish {
        _ if wish.starts_with("json") => Vec::new(),
        "round" => honest,
        "announced-many" => (0..3_000).map(|index| info(&index.to_string(), Kind::Int64)).collect(),
        "announced-twice" => vec![info("id", Kind::Int64), info("id", Kind::Text)],
        "announced-long" => vec![info(&"x".repeat(5_000), Kind::Int64)],
        "kind" => vec![info("id", Kind::Text), info("name", Kind::Text)],
        "dates" => vec![info("id", Kind::Date), info("name", Kind::Text)],
        "wide" => vec![info(&"x".repeat(1_000), Kind::Boolean)],
        "documents" => vec![info("id", Kind::Json)],
        "reads" => vec![info("reads", Kind::Int64)],
        _ => honest,
    }
}

/// The only batch of a target.
fn batch(wish: &str, options: &str) -> Option<Batch> {
    let two = |name: Column| Some(columns(2, vec![ints(&[1, 2]), name]));
    let name = |offsets: Vec<u32>, bytes: &[u8]| {
        two(plain(ColumnData::Texts(Packed { offsets, bytes: bytes.to_vec() })))
    };
    let rows = |rows: u32, text: &str| Some(json(rows, text));
    match wish {
        "huge" => name(vec![0, 1, 20 << 20], &vec![b'x'; 20 << 20]),
        "large-row" => name(vec![0, 1, 8 << 20], &vec![b'x'; 8 << 20]),
        "large-rows" => {
            Some(columns(4, vec![ints(&[1, 2, 3, 4]), texts(&["x".repeat(1 << 20).as_str(); 4])]))
        }
        "not-utf8" => name(vec![0, 1, 2], &[b'a', 0xff]),
        "not-utf8-string" => two(plain(ColumnData::Strings(vec!["a".to_owned(), broken_text()]))),
        "offsets-fall" => name(vec![0, 2, 1], b"ab"),
        "offsets-beyond" => name(vec![0, 1, 3], b"ab"),
        "offsets-short" => name(vec![0, 2], b"ab"),
        "offsets-none" => name(vec![], b"ab"),
        "offsets-start" => name(vec![1, 1, 2], b"ab"),
        "offsets-cut" => name(vec![0, 1, 2], "ü".as_bytes()),
        "validity-short" => Some(columns(
            9,
            vec![Column { validity: vec![255], data: ColumnData::Ints((0..9).collect()) }, texts(&["a"; 9])],
        )),
        "values-short" => Some(columns(3, vec![ints(&[1, 2]), texts(&["a", "b", "c"])])),
        "columns-few" => Some(columns(1, vec![ints(&[1])])),
        "columns-many" => Some(columns(1, vec![ints(&[1]), texts(&["a"]), ints(&[1])])),
        "rows-many" => Some(columns(u32::MAX, vec![ints(&[1]), texts(&["a"])])),
        "dates" => two(texts(&["a", "b"])).map(|_| columns(1, vec![ints(&[i64::MAX]), texts(&["a"])])),
        "wide" => Some(columns(100_000, vec![plain(ColumnData::Bools(vec![1; 100_000]))])),
        "documents" => {
            let jsons = ["{\"a\":[1]}", "1},{\"forged\":2", "\"x\"", ""];
            Some(columns(
                4,
                vec![Column {
                    validity: Vec::new(),
                    data: ColumnData::Strings(jsons.iter().map(|json| (*json).to_owned()).collect()),
                }],
            ))
        }
        "reads" => Some(columns(1, vec![ints(&[READS.get()])])),
        "options" => Some(columns(1, vec![ints(&[1]), texts(&[options])])),
        "json" => rows(2, r#"{"id":1,"name":"a"},{"id":2}"#),
        "json-garbage" => rows(1, "{not json}"),
        "json-forged" => rows(1, r#"{"id":1}],"x":[{"id":2}"#),
        "json-list" => rows(1, "[1]"),
        "json-scalar" => rows(1, "5"),
        "json-count" => rows(3, r#"{"id":1},{"id":2}"#),
        "json-comma" => rows(2, r#"{"id":1}{"id":2}"#),
        "json-trailing" => rows(1, r#"{"id":1},"#),
        "json-nothing" => rows(1, ""),
        "json-columns" => Some(honest(3)),
        "columns-json" => rows(1, r#"{"id":1}"#),
        "json-large" => rows(1, &format!(r#"{{"id":"{}"}}"#, "x".repeat(8 << 20))),
        "json-half" => rows(1, r#"{"id":"\ud800"}"#),
        "json-many" => rows(2_000, &vec![r#"{"id":1}"#; 2_000].join(",")),
        _ => Some(honest(3)),
    }
}

fn honest(rows: u32) -> Batch {
    let ids: Vec<i64> = (1..=i64::from(rows)).collect();
    let names: Vec<String> = ids.iter().map(|id| format!("row {id}")).collect();
    columns(rows, vec![ints(&ids), plain(ColumnData::Strings(names))])
}

fn columns(rows: u32, columns: Vec<Column>) -> Batch {
    Batch::Columns(ColumnBatch { rows, columns })
}

fn json(rows: u32, text: &str) -> Batch {
    Batch::Json(JsonBatch { rows, text: text.to_owned() })
}

fn plain(data: ColumnData) -> Column {
    Column { validity: Vec::new(), data }
}

fn ints(values: &[i64]) -> Column {
    plain(ColumnData::Ints(values.to_vec()))
}

fn texts(values: &[&str]) -> Column {
    let mut offsets = vec![0];
    let mut bytes = Vec::new();
    for value in values {
        bytes.extend_from_slice(value.as_bytes());
        offsets.push(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    }
    plain(ColumnData::Texts(Packed { offsets, bytes }))
}

fn info(name: &str, kind: Kind) -> ColumnInfo {
    ColumnInfo { name: name.to_owned(), kind }
}

#[expect(unsafe_code, reason = "that is what is tested")]
fn broken_text() -> String {
    // SAFETY: nothing looks at it as text before it leaves this component.
    unsafe { String::from_utf8_unchecked(vec![b'a', 0xc0, 0x80]) }
}

fn log_lines(count: u32) {
    for line in 0..count {
        host::log(Level::Info, &format!("line {line}"));
    }
}
