//! A plugin that does everything a plugin must not do. Without the SDK, which would not let it.
//!
//! What it does is said by the target that is read (`rows`), by the setting `connect` (`connection`), and, for what happens
//! before there are settings, by `DESCRIBE`, which a test overwrites in the file.

mod bindings;
mod connection;
mod crimes;
mod describe;
mod rows;

use std::cell::Cell;

use bindings::exports::semilayer::bridge::bridge::{Connection, Guest};
use bindings::semilayer::bridge::types::{Description, Error, ErrorCode, Mistake};

use crate::connection::Source;

/// How the plugin describes itself. A test looks for `describe=` in the file and writes another word.
#[used]
static DESCRIBE: [u8; 24] = *b"describe=honest         ";

thread_local! {
    /// How often this instance was asked for rows.
    static READS: Cell<i64> = const { Cell::new(0) };
    /// Whether this instance has said what the columns of a target were before it got another.
    static GROWN: Cell<bool> = const { Cell::new(false) };
}

struct Hostile;

impl Guest for Hostile {
    type Connection = Source;
    type Cursor = rows::Cursor;

    fn describe() -> Description {
        // Read as the file has it, not as the compiler knows it.
        let text = std::hint::black_box(DESCRIBE);
        let text = String::from_utf8_lossy(&text);
        describe::describe(text.trim_start_matches("describe=").trim_end())
    }

    fn check_config(config: String) -> Vec<Mistake> {
        if connection::wish(&config) == "mistaken" {
            return vec![Mistake { field: "connect".to_owned(), expected: "something\nhonest".to_owned() }];
        }
        Vec::new()
    }

    fn connect(config: String) -> Result<Connection, Error> {
        Source::open(&connection::wish(&config)).map(Connection::new)
    }
}

// No linker of another target takes the names of the exports.
#[cfg(target_arch = "wasm32")]
#[expect(unsafe_code, reason = "generated: the functions that the runner calls")]
mod exports {
    use super::Hostile;

    crate::bindings::export!(Hostile with_types_in crate::bindings);
}

/// An error of that kind.
fn error(code: ErrorCode, message: &str) -> Error {
    Error {
        code,
        message: message.to_owned(),
        field: None,
        native_code: None,
        retry_after_ms: None,
        connection_lost: false,
    }
}
