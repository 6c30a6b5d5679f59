//! A JSON object a line.

use std::collections::BTreeMap;

use semilayer_plugin::serde_json::{self, Value as Json, value::RawValue};
use semilayer_plugin::{Kind, Value};

use crate::kinds::{Guess, read};

/// The members of a line; nothing when it is no object. Of a key that stands twice the last counts.
pub(crate) fn members(line: &[u8]) -> Option<BTreeMap<String, &RawValue>> {
    serde_json::from_slice(line).ok()
}

/// Looks at a value to infer a column's kind. True when it needs a column of JSON.
pub(crate) fn look(raw: &RawValue, guess: &mut Guess) -> bool {
    match raw.get().as_bytes().first() {
        Some(b'{' | b'[') => return true,
        // Texts that look like numbers are texts; instants have no other form in JSON.
        Some(b'"') => {
            let text: String = serde_json::from_str(raw.get()).unwrap_or_default();
            guess.look(if text.parse::<f64>().is_ok() || text.parse::<bool>().is_ok() {
                "text"
            } else {
                &text
            });
        }
        Some(b'n') => {}
        _ => guess.look(raw.get()),
    }
    false
}

/// A value of a kind; nothing when it is none.
pub(crate) fn value(kind: Kind, raw: &RawValue) -> Option<Value> {
    match serde_json::from_str(raw.get()).ok()? {
        Json::Null => Some(Value::Null),
        json if kind == Kind::Json => Some(Value::Json(json)),
        Json::String(text) => read(kind, &text),
        Json::Object(_) | Json::Array(_) => None,
        // Numbers as they stand, so that no digit is lost.
        Json::Bool(_) | Json::Number(_) => read(kind, raw.get()),
    }
}
