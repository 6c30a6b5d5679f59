//! What of a request Redis can do itself: finding keys. Touches nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::{Direction, Filter, Invalid, Keyset, OrderBy, Scalar, Test, TextMatch, Where};

use crate::values::KEY;

/// The keys that a request can be about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum KeyRange {
    /// Those that match a glob pattern.
    Matching(Vec<u8>),
    /// These, each once; none of them need be there.
    Listed(Vec<Vec<u8>>),
}

/// The keys of `target` that `filter` can be true for. The filter still has to be asked of each.
pub(crate) fn keys(target: &str, filter: &Filter) -> KeyRange {
    let prefix = format!("{target}:");
    within(&prefix, filter.condition()).unwrap_or_else(|| KeyRange::Matching(glob(&prefix)))
}

/// The keys that an aggregate's `ids` mean: each with the target's prefix or without.
pub(crate) fn ids(target: &str, ids: &[Scalar]) -> Vec<Scalar> {
    let prefix = format!("{target}:");
    let text = |id: &Scalar| match id {
        Scalar::Text(text) => Some(text.clone()),
        Scalar::Number(number) => Some(number.as_str().to_owned()),
        Scalar::Bool(value) => Some(value.to_string()),
        Scalar::Null => None,
    };
    let both = |id: String| [Scalar::Text(format!("{prefix}{id}")), Scalar::Text(id)];
    ids.iter().filter_map(text).flat_map(both).collect()
}

/// The rows with these keys.
pub(crate) fn named_by(ids: &[Scalar]) -> Filter {
    Filter::from_where(Where::field(KEY, Test::In(ids.to_vec())))
}

/// A pattern that only matches keys that begin with `prefix`, whatever is in it.
pub(crate) fn glob(prefix: &str) -> Vec<u8> {
    let mut pattern = Vec::with_capacity(prefix.len() + 2);
    prefix.bytes().for_each(|byte| push_literal(&mut pattern, byte));
    pattern.push(b'*');
    pattern
}

fn push_literal(pattern: &mut Vec<u8>, byte: u8) {
    if matches!(byte, b'*' | b'?' | b'[' | b']' | b'\\' | b'^' | b'-') {
        pattern.push(b'\\');
    }
    pattern.push(byte);
}

fn within(prefix: &str, condition: &Where) -> Option<KeyRange> {
    match condition {
        Where::All(parts) => {
            let ranges: Vec<KeyRange> = parts.iter().filter_map(|part| within(prefix, part)).collect();
            // A list is always shorter than a scan.
            let list = ranges.iter().position(|range| matches!(range, KeyRange::Listed(_)));
            ranges.into_iter().nth(list.unwrap_or(0))
        }
        Where::Field { name, test } if name == KEY => of_test(prefix, test),
        Where::Everything | Where::Any(_) | Where::Not(_) | Where::Field { .. } => None,
    }
}

fn of_test(prefix: &str, test: &Test) -> Option<KeyRange> {
    match test {
        Test::Equal(scalar) => Some(listed(prefix, std::slice::from_ref(scalar))),
        Test::In(scalars) => Some(listed(prefix, scalars)),
        Test::Text(TextMatch::StartsWith, start) => Some(starting(prefix, start)),
        Test::Never => Some(KeyRange::Listed(Vec::new())),
        Test::NotEqual(_)
        | Test::Compare(..)
        | Test::NotIn(_)
        | Test::Text(TextMatch::ILike | TextMatch::Like | TextMatch::Contains | TextMatch::EndsWith, _)
        | Test::Exists(_)
        | Test::Always => None,
    }
}

/// A key is text with the prefix; nothing else can be equal to one.
fn listed(prefix: &str, scalars: &[Scalar]) -> KeyRange {
    let mut seen = std::collections::HashSet::new();
    let key = |scalar: &Scalar| match scalar {
        Scalar::Text(text) if text.starts_with(prefix) && seen.insert(text.clone()) => {
            Some(text.clone().into_bytes())
        }
        Scalar::Text(_) | Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) => None,
    };
    KeyRange::Listed(scalars.iter().filter_map(key).collect())
}

/// The operator ignores case, a pattern does not: letters become pairs, as far as that is all there is to their case.
fn starting(prefix: &str, start: &str) -> KeyRange {
    let beyond = start.bytes().skip(prefix.len());
    let mut pattern = glob(prefix);
    pattern.pop();
    // A prefix beyond ASCII may be equal to one of another length.
    if start.is_ascii() && prefix.is_ascii() && start.len() > prefix.len() {
        // The lower cases of two characters beyond ASCII, the Kelvin sign and the dotted I, begin with these letters.
        for byte in beyond.take_while(|byte| !matches!(byte.to_ascii_lowercase(), b'i' | b'k')) {
            if byte.is_ascii_alphabetic() {
                pattern.extend([b'[', byte.to_ascii_lowercase(), byte.to_ascii_uppercase(), b']']);
            } else {
                push_literal(&mut pattern, byte);
            }
        }
    }
    pattern.push(b'*');
    KeyRange::Matching(pattern)
}

/// In which order rows are wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sequence {
    /// As they are found.
    Any,
    /// By key, ascending.
    ByKey,
    /// By these columns, the last of which make it total where pages are cut.
    By(Vec<OrderBy>),
}

/// Adds what makes an order total, and sees whether it is that of the keys.
pub(crate) fn sequence(mut order_by: Vec<OrderBy>, keyset: Option<&Keyset>) -> Sequence {
    if let Some(keyset) = keyset {
        let key = [KEY.to_owned()];
        for field in keyset.tiebreak.as_deref().unwrap_or(&key) {
            if !order_by.iter().any(|order| order.field == *field) {
                order_by.push(OrderBy { field: field.clone(), direction: Direction::Ascending });
            }
        }
    }
    match order_by.as_slice() {
        [] => Sequence::Any,
        [only] if only.field == KEY && only.direction == Direction::Ascending => Sequence::ByKey,
        _ => Sequence::By(order_by),
    }
}

/// Says which target cannot be one.
pub(crate) fn check_target(target: &str) -> Result<(), Invalid> {
    if target.is_empty() { Err(Invalid::new("target", "the prefix of keys, or a key")) } else { Ok(()) }
}

/// Marks the cursor of a key that is not UTF-8, or that begins like such a cursor.
const BINARY: &str = "\u{0}base64:";

/// The cursor of a page that ended with `key`: the key itself, as published.
pub(crate) fn cursor_of(key: &[u8]) -> String {
    match std::str::from_utf8(key) {
        Ok(text) if !text.is_empty() && !text.starts_with(BINARY) && !text.starts_with("k1.") => {
            text.to_owned()
        }
        _ => format!("{BINARY}{}", STANDARD.encode(key)),
    }
}

/// The key that a cursor says. A cursor of another order is none.
pub(crate) fn key_of(cursor: &str) -> Result<Vec<u8>, Invalid> {
    match cursor.strip_prefix(BINARY) {
        Some(packed) => STANDARD.decode(packed).map_err(|_| foreign_cursor()),
        None if cursor.starts_with("k1.") => Err(foreign_cursor()),
        None => Ok(cursor.as_bytes().to_vec()),
    }
}

/// The refusal of a cursor.
pub(crate) fn foreign_cursor() -> Invalid {
    Invalid::new("cursor", "a cursor of this target and order")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(filter: &str) -> KeyRange {
        keys("t", &Filter::from_json(filter).unwrap())
    }

    fn matching(pattern: &str) -> KeyRange {
        KeyRange::Matching(pattern.as_bytes().to_vec())
    }

    fn list(keys: &[&str]) -> KeyRange {
        KeyRange::Listed(keys.iter().map(|key| key.as_bytes().to_vec()).collect())
    }

    #[test]
    fn a_target_is_never_a_pattern() {
        assert_eq!(glob("a*?[b]\\^-"), b"a\\*\\?\\[b\\]\\\\\\^\\-*");
    }

    #[test]
    fn keys_that_are_named_are_not_searched_for() {
        assert_eq!(range(r#"{"_key":"t:1"}"#), list(&["t:1"]));
        assert_eq!(range(r#"{"_key":["t:1","u:1","t:2","t:1",5,null]}"#), list(&["t:1", "t:2"]));
        assert_eq!(range(r#"{"a":1,"_key":{"$startsWith":"t:"},"$and":[{"_key":"t:1"}]}"#), list(&["t:1"]));
        assert_eq!(range(r#"{"_key":null}"#), list(&[]));
        assert_eq!(range(r#"{"$or":[{"_key":"t:1"},{"a":2}]}"#), matching("t:*"));
        assert_eq!(range(r#"{"$not":{"_key":"t:1"}}"#), matching("t:*"));
        assert_eq!(range(r#"{"_key":{"$ne":"t:1"}}"#), matching("t:*"));
    }

    #[test]
    fn the_beginning_of_a_key_narrows_the_search_whatever_its_case() {
        assert_eq!(range(r#"{"_key":{"$startsWith":"t:a1*"}}"#), matching("t:[aA]1\\**"));
        assert_eq!(range(r#"{"_key":{"$startsWith":"t:like"}}"#), matching("t:[lL]*"));
        assert_eq!(range(r#"{"_key":{"$startsWith":"t:ü"}}"#), matching("t:*"));
        assert_eq!(range(r#"{"_key":{"$startsWith":""}}"#), matching("t:*"));
    }

    #[test]
    fn an_order_by_key_is_known() {
        let by = |field: &str| OrderBy { field: field.to_owned(), direction: Direction::Ascending };
        let keyset = Keyset::default();
        assert_eq!(sequence(Vec::new(), None), Sequence::Any);
        assert_eq!(sequence(Vec::new(), Some(&keyset)), Sequence::ByKey);
        assert_eq!(sequence(vec![by("_key")], None), Sequence::ByKey);
        assert_eq!(sequence(vec![by("a")], Some(&keyset)), Sequence::By(vec![by("a"), by("_key")]));
        let named = Keyset { tiebreak: Some(vec!["b".to_owned()]), cursor: None };
        assert_eq!(sequence(Vec::new(), Some(&named)), Sequence::By(vec![by("b")]));
    }

    #[test]
    fn every_key_is_a_cursor_that_reads_back() {
        for key in [&b"t:1"[..], b"", &[0xff, 0], b"\0base64:x", "t:ü".as_bytes()] {
            assert_eq!(key_of(&cursor_of(key)).unwrap(), key);
        }
        assert_eq!(key_of("k1.!!").unwrap_err().field, "cursor");
        assert_eq!(cursor_of(b"t:1"), "t:1");
    }

    #[test]
    fn ids_are_keys_with_the_prefix_or_without() {
        let text = |text: &str| Scalar::Text(text.to_owned());
        assert_eq!(ids("t", &[text("1"), Scalar::Null]), [text("t:1"), text("1")]);
    }
}
