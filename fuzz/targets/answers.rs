//! What the targets of wire protocols have in common: how their input is laid out, and what must hold for every answer.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};

/// What a row may have, on the wire and as JSON.
pub const ROW_LIMIT: usize = 64 * 1024;
/// Places at which an answer is cut.
const MOST_CUTS: u8 = 24;

/// A mode for the target's own use, the places at which the words are cut, and the words.
pub fn parts(input: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [mode, count, rest @ ..] = input else { return None };
    let (cuts, words) = rest.split_at_checked(usize::from(count % (MOST_CUTS + 1)))?;
    Some((*mode, cuts, words))
}

/// Rows are as many JSON objects as they say, with a key for each column, in order, and none is larger than it may be.
pub fn check_rows(columns: &[String], rows: &str, count: u64) {
    let objects: Vec<Object> =
        serde_json::from_str(&format!("[{rows}]")).unwrap_or_else(|error| panic!("{error}: {rows}"));
    assert_eq!(objects.len() as u64, count, "{rows}");
    objects.iter().for_each(|object| assert_eq!(object.0, columns, "{rows}"));
    assert!(rows.len() as u64 <= count * (ROW_LIMIT as u64 + 1));
}

/// An object of which no key is there twice.
pub fn check_object(text: &str) {
    let Object(mut keys) = serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count, "{text}");
}

/// One JSON value.
pub fn check_value(text: &str) {
    assert!(serde_json::from_str::<IgnoredAny>(text).is_ok(), "{text}");
}

/// The keys of an object, in order.
struct Object(Vec<String>);

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Keys;
        impl<'de> Visitor<'de> for Keys {
            type Value = Object;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, IgnoredAny)) = map.next_entry()? {
                    keys.push(key);
                }
                Ok(Object(keys))
            }
        }
        deserializer.deserialize_map(Keys)
    }
}
