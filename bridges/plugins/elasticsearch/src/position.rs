//! Where a page ended, as text that callers hand back.
//!
//! Where documents are in the order of their keys alone, it is the last key, as the published bridge writes it. Any other
//! order writes the values that its last document is sorted by. A server that cannot sort by keys keeps the scan's place,
//! which is then part of the text.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use semilayer_plugin::Error;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::introspect::Index;

const PREFIX: &str = "k1.";

/// A place in an order.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Position {
    /// The order that it is a place of.
    order: String,
    /// Values of the last document, one for each key of the order.
    pub(crate) after: Vec<Box<RawValue>>,
    /// The scan's place at the server.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) place: Option<Kept>,
}

/// A place that the server keeps from one page to the next. It shows what it was opened on, whoever asks; so it says what
/// that was.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Kept {
    /// Its name at the server.
    pub(crate) id: String,
    /// The target that it was opened on: an alias has a filter, which belongs to the place.
    target: String,
    /// The indices that the target stood for.
    indices: Vec<String>,
}

impl Kept {
    pub(crate) fn new(id: String, target: &str, index: &Index) -> Self {
        Self { id, target: target.to_owned(), indices: index.names().to_vec() }
    }

    /// Whether it shows nothing but what this target stands for now.
    pub(crate) fn is_of(&self, target: &str, index: &Index) -> bool {
        self.target == target && self.indices.iter().all(|name| index.has(name))
    }
}

impl Position {
    pub(crate) fn new(order: &str, after: Vec<Box<RawValue>>, place: Option<Kept>) -> Self {
        Self { order: order.to_owned(), after, place }
    }

    /// The place behind a document in the order of keys.
    fn of_key(key: &str) -> Self {
        let after = serde_json::value::to_raw_value(key).into_iter().collect();
        Self { order: String::new(), after, place: None }
    }

    /// The text. An empty order is that of keys.
    pub(crate) fn encode(&self) -> String {
        if let ("", [key], None) = (self.order.as_str(), self.after.as_slice(), &self.place)
            && let Ok(key) = serde_json::from_str::<String>(key.get())
            && !key.is_empty()
            && !key.starts_with(PREFIX)
        {
            return key;
        }
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(serde_json::to_vec(self).unwrap_or_default()))
    }

    /// Reads the text of a place in this order, which has so many keys.
    pub(crate) fn decode(cursor: &str, order: &str, keys: usize) -> Result<Self, Error> {
        let position = match cursor.strip_prefix(PREFIX) {
            Some(packed) => {
                URL_SAFE_NO_PAD.decode(packed).ok().and_then(|json| serde_json::from_slice(&json).ok())
            }
            None => Some(Self::of_key(cursor)),
        };
        let is_value = |raw: &RawValue| !raw.get().starts_with(['[', '{']);
        position
            .filter(|position: &Self| position.order == order && position.after.len() == keys)
            .filter(|position| position.after.iter().all(|raw| is_value(raw)))
            .ok_or_else(refusal)
    }
}

/// What a caller is told whose cursor is none of this scan, or is one that the server has forgotten.
pub(crate) fn refusal() -> Error {
    Error::invalid_request("cursor", "a cursor of this target and order that is not too old")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(values: &[&str]) -> Vec<Box<RawValue>> {
        values.iter().map(|value| RawValue::from_string((*value).to_owned()).unwrap()).collect()
    }

    #[test]
    fn a_key_is_plain_text() {
        for key in ["42", "a b", "k1", ""] {
            let text = Position::of_key(key).encode();
            assert_eq!(text == key, !key.is_empty(), "{key}");
            assert_eq!(Position::decode(&text, "", 1).unwrap().after[0].get(), format!("{key:?}"));
        }
        assert_ne!(Position::of_key("k1.x").encode(), "k1.x");
    }

    #[test]
    fn values_keep_every_digit() {
        let place = Kept::new("pit".to_owned(), "things", &Index::default());
        let values = raw(&["9223372036854775807", "null", "\"x\""]);
        let position = Position::new("n asc", values, Some(place.clone()));
        let back = Position::decode(&position.encode(), "n asc", 3).unwrap();
        assert_eq!(back.after[0].get(), "9223372036854775807");
        assert_eq!(back.place, Some(place));
    }

    #[test]
    fn a_place_belongs_to_its_target_and_to_what_that_stands_for() {
        let index = |names: &[&str]| {
            let mappings = names.iter().map(|name| ((*name).to_owned(), serde_json::json!({"mappings": {}})));
            Index::read(&mappings.collect::<serde_json::Map<_, _>>().into())
        };
        let place = Kept::new("pit".to_owned(), "logs", &index(&["logs-1"]));
        assert!(place.is_of("logs", &index(&["logs-1"])));
        assert!(place.is_of("logs", &index(&["logs-1", "logs-2"])), "what has grown is still seen as it was");
        assert!(!place.is_of("logs", &index(&["logs-2"])), "the alias stands for another index now");
        assert!(!place.is_of("logs-eu", &index(&["logs-1"])), "an alias of the same index may have a filter");
    }

    #[test]
    fn a_cursor_of_another_order_is_refused() {
        let other = Position::new("n asc", raw(&["1"]), None).encode();
        let nested = Position::new("", raw(&["{\"query\":1}"]), None).encode();
        for cursor in [other.as_str(), nested.as_str(), "k1.!!", "k1.W10"] {
            assert_eq!(Position::decode(cursor, "", 1).unwrap_err().about(), Some("cursor"), "{cursor}");
        }
    }
}
