//! Pages by key: the order that a page is cut from, where it ended, and the documents that come after.
//!
//! MongoDB sorts values of all types in one order but compares within one type only, so what comes after a value is said
//! in two parts: what is after it within its type, and the types that follow. Both parts can use an index.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bridge_core::{BridgeError, Position, js_number};
use bridge_reduce::Number;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::raw::cstr;
use mongodb::bson::{Bson, Document, RawBsonRef, RawDocument, RawDocumentBuf, doc};
use protocol::{Direction, Invalid};

use super::filter::{all, any, is_null, is_something};
use super::{ID, field, literal, never};
use crate::values::{find, is_shallow};

/// Marks a value with its type: base64url of a document that holds it.
const TYPED: char = '!';
/// The types in the order in which values are sorted; those of one entry are sorted together.
const FAMILIES: [&[&str]; 14] = [
    &["minKey"],
    &["undefined", "null"],
    &["number"],
    &["string", "symbol"],
    &["object"],
    &["array"],
    &["binData"],
    &["objectId"],
    &["bool"],
    &["date"],
    &["timestamp"],
    &["regex", "dbPointer"],
    &["javascript", "javascriptWithScope"],
    &["maxKey"],
];

/// The fields that make an order total.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Key(pub(crate) Vec<(String, Direction)>);

impl Key {
    /// The order by the primary key alone.
    pub(crate) fn id() -> Self {
        Self(vec![(ID.to_owned(), Direction::Ascending)])
    }

    /// Where a document stands in the order.
    pub(crate) fn position(&self, document: &RawDocument) -> Result<Position, BridgeError> {
        let entry = |(name, _): &(String, Direction)| find(document, name)?.map(encode).transpose();
        Ok(Position(self.0.iter().map(entry).collect::<Result<_, BridgeError>>()?))
    }

    /// Refuses a document with a list in the order's fields: sorted by one of its values it would match behind a cursor by
    /// another, and so be in several pages.
    #[inline]
    pub(crate) fn check(&self, document: &RawDocument) -> Result<(), BridgeError> {
        // The key itself is never a list.
        for (name, _) in self.0.iter().filter(|(name, _)| name != ID) {
            if let Some(RawBsonRef::Array(_)) = find(document, name)? {
                let refused = Invalid::new(format!("orderBy.{name}"), "a field without lists to page by");
                return Err(refused.into());
            }
        }
        Ok(())
    }

    /// The documents after a position: equal in some of the first fields, and after it in the next.
    pub(crate) fn after(&self, cursor: &str) -> Result<Document, Invalid> {
        let position = Position::decode(cursor, self.0.len())?;
        let values = position.0.iter().map(|text| text.as_deref().map(decode).transpose());
        let values: Vec<Option<Bson>> = values.collect::<Result<_, _>>()?;
        let mut equal: Vec<Document> = Vec::new();
        let mut ways = Vec::new();
        for ((name, direction), value) in self.0.iter().zip(&values) {
            let mut way = equal.clone();
            way.push(after(name, *direction, value.as_ref()));
            ways.push(all(way));
            equal.push(
                value.as_ref().map_or_else(|| is_null(name), |value| doc! {name: {"$eq": value.clone()}}),
            );
        }
        Ok(any(ways))
    }
}

fn after(name: &str, direction: Direction, value: Option<&Bson>) -> Document {
    match (value, direction) {
        // Null is before everything but the smallest key.
        (None, Direction::Ascending) => is_something(name),
        (None, Direction::Descending) => doc! {name: {"$type": "minKey"}},
        (Some(value), direction) => {
            let family = family(value);
            let mut ways = within(name, direction, value);
            match direction {
                Direction::Ascending => ways.push(of_families(name, FAMILIES.get(family + 1..))),
                Direction::Descending => {
                    ways.push(of_families(name, FAMILIES.get(..family)));
                    // Missing is as null, which is below every value but the smallest key.
                    ways.extend((family > 1).then(|| is_null(name)));
                }
            }
            any(ways)
        }
    }
}

fn of_families(name: &str, families: Option<&[&[&str]]>) -> Document {
    let names: Vec<&str> =
        families.unwrap_or_default().iter().flat_map(|family| family.iter().copied()).collect();
    if names.is_empty() {
        never()
    } else {
        doc! {name: {"$type": names}}
    }
}

/// After a value within its own family. Not-a-number is sorted before all numbers and compares with none.
fn within(name: &str, direction: Direction, value: &Bson) -> Vec<Document> {
    let is_nan = matches!(value, Bson::Double(double) if double.is_nan()) || *value == nan();
    match (value, direction) {
        (Bson::MinKey | Bson::MaxKey, _) => Vec::new(),
        (_, Direction::Ascending) if is_nan => vec![doc! {name: {"$type": "number", "$ne": f64::NAN}}],
        (_, Direction::Descending) if is_nan => Vec::new(),
        // The length of bytes counts before the bytes; expressions say so wherever documents are sorted so.
        (Bson::Binary(_), direction) => {
            let operator = if direction == Direction::Ascending { "$gt" } else { "$lt" };
            let beyond = doc! {operator: [field(name), literal(value.clone())]};
            vec![doc! {name: {"$type": "binData"}, "$expr": beyond}]
        }
        (value, Direction::Ascending) => vec![doc! {name: {"$gt": value.clone()}}],
        (value, Direction::Descending) => {
            let mut ways = vec![doc! {name: {"$lt": value.clone()}}];
            ways.extend((family(value) == 2).then(|| doc! {name: {"$eq": f64::NAN}}));
            ways
        }
    }
}

fn nan() -> Bson {
    super::operand::decimal("NaN").unwrap_or(Bson::Null)
}

fn family(value: &Bson) -> usize {
    match value {
        Bson::MinKey => 0,
        Bson::Undefined | Bson::Null => 1,
        Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Decimal128(_) => 2,
        Bson::String(_) | Bson::Symbol(_) => 3,
        Bson::Document(_) => 4,
        Bson::Array(_) => 5,
        Bson::Binary(_) => 6,
        Bson::ObjectId(_) => 7,
        Bson::Boolean(_) => 8,
        Bson::DateTime(_) => 9,
        Bson::Timestamp(_) => 10,
        Bson::RegularExpression(_) | Bson::DbPointer(_) => 11,
        Bson::JavaScriptCode(_) | Bson::JavaScriptCodeWithScope(_) => 12,
        Bson::MaxKey => 13,
    }
}

/// Identifiers, numbers and texts that look like neither are plain, as the published bridge writes them. Everything else
/// says its type.
fn encode(value: RawBsonRef<'_>) -> Result<String, BridgeError> {
    Ok(match value {
        RawBsonRef::ObjectId(id) => id.to_hex(),
        RawBsonRef::Int32(value) => value.to_string(),
        RawBsonRef::Int64(value) => value.to_string(),
        RawBsonRef::Double(value) if plain_double(value) => js_number(value),
        RawBsonRef::String(text) if matches!(plain(text), Some(Bson::String(_))) => text.to_owned(),
        other => {
            let mut document = RawDocumentBuf::new();
            document.append(cstr!(""), other);
            format!("{TYPED}{}", URL_SAFE_NO_PAD.encode(document.as_bytes()))
        }
    })
}

/// Whether the plain text of a double reads back as an equal number.
fn plain_double(value: f64) -> bool {
    match Number::from_f64(value) {
        #[expect(clippy::cast_precision_loss, reason = "the question is whether it is one")]
        Some(Number::Integer(integer)) => integer as f64 == value,
        Some(Number::Decimal(_)) => true,
        None => false,
    }
}

fn decode(text: &str) -> Result<Bson, Invalid> {
    let refused = || Invalid::new("cursor", "a cursor of this target and order");
    let Some(typed) = text.strip_prefix(TYPED) else { return plain(text).ok_or_else(refused) };
    let bytes = URL_SAFE_NO_PAD.decode(typed).map_err(|_| refused())?;
    let document = RawDocument::from_bytes(&bytes).map_err(|_| refused())?;
    if !is_shallow(document).unwrap_or(false) {
        return Err(refused());
    }
    let value = document.get("").ok().flatten().ok_or_else(refused)?;
    match Bson::try_from(value).map_err(|_| refused())? {
        // No document is found by them, and the server does not compare them.
        Bson::Array(_) | Bson::RegularExpression(_) | Bson::Undefined | Bson::Null => Err(refused()),
        value => Ok(value),
    }
}

/// The value that a plain text stands for.
fn plain(text: &str) -> Option<Bson> {
    if text.starts_with(TYPED) {
        return None;
    }
    if text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return ObjectId::parse_str(text).ok().map(Bson::ObjectId);
    }
    Some(match Number::parse(text) {
        Some(Number::Integer(integer)) => Bson::Int64(integer),
        Some(decimal) => Bson::Double(decimal.as_f64()),
        None => Bson::String(text.to_owned()),
    })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::spec::BinarySubtype;
    use mongodb::bson::{Binary, DateTime};

    use super::*;

    fn round_trip(value: impl Into<Bson>) -> (String, Bson) {
        let document = RawDocumentBuf::try_from(&doc! {"v": value.into()}).unwrap();
        let text = encode(document.get("v").unwrap().unwrap()).unwrap();
        let value = decode(&text).unwrap();
        (text, value)
    }

    #[test]
    fn a_cursor_keeps_the_type_of_its_value() {
        let id = ObjectId::parse_str("0123456789abcdef01234567").unwrap();
        assert_eq!(round_trip(id), ("0123456789abcdef01234567".to_owned(), id.into()));
        assert_eq!(round_trip(2_i32), ("2".to_owned(), Bson::Int64(2)));
        assert_eq!(round_trip(0.5), ("0.5".to_owned(), Bson::Double(0.5)));
        assert_eq!(round_trip("plain"), ("plain".to_owned(), "plain".into()));
        for value in [
            Bson::from("2"),
            "0123456789abcdef01234567".into(),
            "!".into(),
            "1e5".into(),
            DateTime::from_millis(5).into(),
            Bson::Decimal128("0.1".parse().unwrap()),
            Bson::Binary(Binary { subtype: BinarySubtype::Uuid, bytes: vec![7; 16] }),
            doc! {"$where": "x"}.into(),
            f64::INFINITY.into(),
            true.into(),
        ] {
            let (text, back) = round_trip(value.clone());
            assert!(text.starts_with('!'), "{text}");
            assert_eq!(back, value);
        }
    }

    #[test]
    fn a_cursor_that_nobody_gave_out_is_refused() {
        for cursor in ["!", "!!", "!AAAA", "!BQAAAAA", "k1.!!", "k1.W10"] {
            assert_eq!(Key::id().after(cursor).unwrap_err().field, "cursor", "{cursor}");
        }
        let list = RawDocumentBuf::try_from(&doc! {"": [1]}).unwrap();
        assert!(decode(&format!("!{}", URL_SAFE_NO_PAD.encode(list.as_bytes()))).is_err());
    }

    #[test]
    fn a_cursor_that_is_nested_without_end_is_refused() {
        const DEPTH: usize = 500_000;
        let length = |left: usize| u32::try_from(left * 7 + 5).unwrap().to_le_bytes();
        let mut bytes: Vec<u8> =
            (1..=DEPTH).rev().flat_map(|left| [&length(left)[..], &[3, 0]].concat()).collect();
        bytes.extend([5, 0, 0, 0, 0]);
        bytes.extend(std::iter::repeat_n(0, DEPTH));
        assert!(decode(&format!("!{}", URL_SAFE_NO_PAD.encode(bytes))).is_err());
    }

    #[test]
    fn what_comes_after_is_of_the_same_type_or_of_a_later_one() {
        let after = Key::id().after("2").unwrap();
        let ways = after.get_array("$or").unwrap();
        assert_eq!(ways[0], doc! {"_id": {"$gt": 2_i64}}.into());
        let types = ways[1].as_document().unwrap().get_document("_id").unwrap().get_array("$type").unwrap();
        assert_eq!(types.first(), Some(&Bson::from("string")));
        assert_eq!(types.last(), Some(&Bson::from("maxKey")));
    }

    #[test]
    fn null_is_first_and_not_a_number_is_the_smallest_number() {
        assert_eq!(after("a", Direction::Ascending, None), is_something("a"));
        let nan = Bson::Double(f64::NAN);
        let ways = after("a", Direction::Ascending, Some(&nan));
        assert!(ways.to_string().contains("\"$ne\""), "{ways}");
        let ways = after("a", Direction::Descending, Some(&Bson::Int64(5)));
        assert!(ways.to_string().contains("NaN"), "{ways}");
    }

    #[test]
    fn a_list_is_nothing_to_page_by() {
        let key = Key(vec![("tags".to_owned(), Direction::Ascending)]);
        let document = RawDocumentBuf::try_from(&doc! {"tags": [1, 2]}).unwrap();
        assert!(matches!(key.check(&document), Err(BridgeError::Invalid(_))));
        let document = RawDocumentBuf::try_from(&doc! {"_id": 5, "tags": {"a": [1]}}).unwrap();
        assert!(key.check(&document).is_ok());
    }
}
