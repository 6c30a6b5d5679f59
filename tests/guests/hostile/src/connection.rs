//! Its connection, with what it does to jobs that are not about rows.

use serde_json::Value;

use crate::bindings::exports::semilayer::bridge::bridge::{Cursor, GuestConnection};
use crate::bindings::semilayer::bridge::host;
use crate::bindings::semilayer::bridge::types::{ColumnSchema, Counted, Error, ErrorCode, Schema};
use crate::{GROWN, crimes, error, rows};

pub(crate) struct Source {
    wish: String,
}

/// What a configuration asks for: its setting `connect`.
pub(crate) fn wish(config: &str) -> String {
    let config: Value = serde_json::from_str(config).unwrap_or_default();
    config.get("connect").and_then(Value::as_str).unwrap_or("honest").to_owned()
}

fn is_in_a_hurry() -> bool {
    host::call().remaining_ms.is_none_or(|remaining| remaining < 20_000)
}

impl Source {
    pub(crate) fn open(wish: &str) -> Result<Self, Error> {
        match wish {
            "loop" => crimes::endless(),
            "panic" => crimes::panic(),
            "sleep" => {
                std::thread::sleep(std::time::Duration::from_secs(3_600));
                Err(error(ErrorCode::Timeout, "awake"))
            }
            "refuse" => Err(Error {
                native_code: Some("28P01".to_owned()),
                ..error(ErrorCode::Unauthenticated, "wrong password")
            }),
            "in-a-hurry" if is_in_a_hurry() => Err(error(ErrorCode::Unreachable, "no time")),
            _ => Ok(Self { wish: wish.to_owned() }),
        }
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        if self.wish == "loop-at-the-end" {
            crimes::endless();
        }
    }
}

impl GuestConnection for Source {
    fn test(&self) -> Result<(), Error> {
        match self.wish.as_str() {
            "untested" => Err(error(ErrorCode::Unreachable, "nobody there")),
            "untested-in-a-hurry" if is_in_a_hurry() => Err(error(ErrorCode::Unreachable, "no time")),
            _ => Ok(()),
        }
    }

    fn list_targets(&self) -> Result<Vec<String>, Error> {
        match self.wish.as_str() {
            "many-targets" => Ok((0..300_000).map(|index| index.to_string()).collect()),
            "empty-target" => Ok(vec![String::new()]),
            _ => Ok(vec!["rows".to_owned(), "json".to_owned(), "rows".to_owned()]),
        }
    }

    fn introspect_target(&self, target: String) -> Result<Schema, Error> {
        let column = |name: &str, native: &str, key: bool| ColumnSchema {
            name: name.to_owned(),
            native_type: native.to_owned(),
            nullable: !key,
            primary_key: key,
        };
        let columns = match target.as_str() {
            "no-columns" => Vec::new(),
            "column-twice" => vec![column("id", "int", true), column("id", "int", false)],
            "long-column" => vec![column(&"x".repeat(5_000), "int", true)],
            "nowhere" => return Err(error(ErrorCode::NotFound, "no such target")),
            "grows" if !GROWN.replace(true) => vec![column("id", "int", true)],
            _ => vec![column("id", "int", true), column("name", "text", false)],
        };
        Ok(Schema { columns, row_count: 3 })
    }

    fn read(&self, target: String, options: String) -> Result<Cursor, Error> {
        rows::Cursor::open(&target, &options).map(Cursor::new)
    }

    fn query(&self, _target: String, _options: String) -> Result<Cursor, Error> {
        Err(error(ErrorCode::UnsupportedKind, "only reads"))
    }

    fn count(&self, target: String, filter: Option<String>) -> Result<Counted, Error> {
        match target.as_str() {
            "loop" => crimes::endless(),
            "leave" => Err(error(ErrorCode::UnsupportedKind, "not here")),
            "operator" => {
                Err(Error { field: Some("$or".to_owned()), ..error(ErrorCode::UnsupportedOperator, "no") })
            }
            "cancelled" => Err(error(ErrorCode::Cancelled, "nobody wants it")),
            "lost" => Err(Error { connection_lost: true, ..error(ErrorCode::Unreachable, "gone") }),
            "long-words" => Err(error(ErrorCode::QueryFailed, &"x\n".repeat(100_000))),
            "remaining" => Ok(Counted { total: host::call().remaining_ms.unwrap_or(0), approximate: true }),
            _ => Ok(Counted { total: if filter.is_some() { 1 } else { 3 }, approximate: false }),
        }
    }

    fn aggregate(&self, target: String, _options: String) -> Result<Cursor, Error> {
        rows::Cursor::buckets(&target).map(Cursor::new)
    }

    fn search(&self, target: String, _options: String) -> Result<Cursor, Error> {
        rows::Cursor::ranked(&target).map(Cursor::new)
    }

    fn similar(&self, _target: String, _options: String) -> Result<Cursor, Error> {
        Err(error(ErrorCode::UnsupportedKind, "not provided"))
    }
}
