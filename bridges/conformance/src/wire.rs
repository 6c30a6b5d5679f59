//! Seeded values as rows carry them, and back. Engines differ in the form (an integer may be a number or text), never in
//! the value.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_core::js_number;
use bridge_reduce::{Number, Schema};
use protocol::{Scalar, Timestamp};
use serde_json::Value as Json;

use crate::seed::{Decimals, Kind, Table, Value};

/// The largest integer that every JSON reader takes exactly: 2^53 - 1.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

impl Kind {
    fn reduced(self) -> bridge_reduce::Kind {
        match self {
            Self::Integer | Self::BigInteger | Self::Decimal { .. } | Self::Double => {
                bridge_reduce::Kind::Number
            }
            Self::Boolean => bridge_reduce::Kind::Boolean,
            Self::Text => bridge_reduce::Kind::Text,
            Self::Uuid => bridge_reduce::Kind::Uuid,
            Self::Date | Self::Timestamp | Self::NaiveTimestamp => bridge_reduce::Kind::Timestamp,
            Self::Bytes => bridge_reduce::Kind::Bytes,
            Self::Json => bridge_reduce::Kind::Unknown,
        }
    }
}

impl Table {
    /// What the reducer must know of the columns.
    pub(crate) fn schema(&self) -> Schema {
        let schema = match self.key.as_slice() {
            [key] => Schema::unknown().with_key(*key),
            _ => Schema::unknown(),
        };
        self.columns.iter().fold(schema, |schema, column| schema.with(column.name, column.kind.reduced()))
    }

    /// The same for filters, on an engine to which UUIDs, dates and times may be text.
    pub(crate) fn schema_of_filters(&self, compares_as_text: bool) -> Schema {
        let is_text = |kind: Kind| {
            matches!(kind, Kind::Uuid | Kind::Date | Kind::Timestamp | Kind::NaiveTimestamp)
                && compares_as_text
        };
        let texts = self.columns.iter().filter(|column| is_text(column.kind));
        texts.fold(self.schema(), |schema, column| schema.with(column.name, bridge_reduce::Kind::Text))
    }

    /// A row as a JSON object with the digits that the engine keeps, for the oracle.
    pub(crate) fn row_json(&self, row: &[Value], decimals: Decimals) -> String {
        let mut out = String::from("{");
        for (column, value) in self.columns.iter().zip(row) {
            if out.len() > 1 {
                out.push(',');
            }
            Scalar::from(column.name).write_json(&mut out);
            out.push(':');
            out.push_str(&value.stored(decimals));
        }
        out.push('}');
        out
    }

    /// The key of a seeded row, comparable with [`key_of`](Self::key_of).
    pub(crate) fn seeded_key(&self, row: &[Value], decimals: Decimals) -> String {
        let part = |name: &&str| {
            let at = self.columns.iter().position(|column| column.name == *name);
            at.and_then(|at| row.get(at)).map_or_else(String::new, |value| value.canonical(decimals))
        };
        self.key.iter().map(part).collect::<Vec<_>>().join(" / ")
    }

    /// The key of a row that the bridge gave.
    pub(crate) fn key_of(&self, row: &Row, decimals: Decimals) -> Result<String, String> {
        let part = |name: &&str| {
            let column = self.column(name).ok_or_else(|| format!("no column {name} in the seed"))?;
            let value = row.get(*name).ok_or_else(|| format!("the row has no key column {name}: {row:?}"))?;
            canonical(column.kind, value, decimals)
        };
        Ok(self.key.iter().map(part).collect::<Result<Vec<_>, String>>()?.join(" / "))
    }
}

/// A row as a bridge gave it.
pub type Row = serde_json::Map<String, Json>;

impl Value {
    /// The value as JSON with exact numbers.
    pub(crate) fn json(&self) -> String {
        let quoted = |text: &str| {
            let mut out = String::new();
            Scalar::from(text).write_json(&mut out);
            out
        };
        match self {
            Self::Null => "null".to_owned(),
            Self::Bool(value) => value.to_string(),
            Self::Integer(value) => value.to_string(),
            Self::Decimal(text) | Self::Json(text) => text.clone(),
            Self::Double(value) => js_number(*value),
            Self::Text(text) | Self::Uuid(text) => quoted(text),
            Self::Date(at) | Self::Timestamp(at) => quoted(&at.to_string()),
            Self::Bytes(bytes) => quoted(&STANDARD.encode(bytes)),
        }
    }

    /// The value as JSON, as the engine has kept it.
    fn stored(&self, decimals: Decimals) -> String {
        match self {
            Self::Decimal(text) => decimal(text, decimals),
            other => other.json(),
        }
    }

    /// A text that is the same for equal values.
    pub(crate) fn canonical(&self, decimals: Decimals) -> String {
        match self {
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Double(_) => self.json(),
            Self::Decimal(text) => decimal(text, decimals),
            Self::Text(text) | Self::Uuid(text) => text.clone(),
            Self::Date(at) | Self::Timestamp(at) => at.to_string(),
            Self::Bytes(bytes) => STANDARD.encode(bytes),
            Self::Json(text) => document(text).unwrap_or_default(),
        }
    }
}

/// Compares what a bridge gave with what was seeded.
pub(crate) fn compare(kind: Kind, seeded: &Value, given: &Json, decimals: Decimals) -> Result<(), String> {
    let expected = seeded.canonical(decimals);
    let got = canonical(kind, given, decimals)?;
    // A document may be answered as one, or as its text where the engine keeps text.
    let as_text = || match (kind, given) {
        (Kind::Json, Json::String(text)) => document(text),
        _ => None,
    };
    if got == expected || as_text().is_some_and(|got| got == expected) {
        Ok(())
    } else {
        Err(format!("got {given}, seeded {}", seeded.json()))
    }
}

/// A text that is the same for equal values of a kind, whatever their form; or what is wrong with the form.
pub(crate) fn canonical(kind: Kind, given: &Json, decimals: Decimals) -> Result<String, String> {
    let wrong = |expected: &str| format!("got {given} for a value of kind {kind:?}, expected {expected}");
    if given.is_null() {
        return Ok("null".to_owned());
    }
    match (kind, given) {
        (Kind::Integer | Kind::BigInteger, Json::Number(number)) => {
            let value = number.as_i64().filter(|value| value.unsigned_abs() <= MAX_SAFE_INTEGER);
            value.map(|value| value.to_string()).ok_or_else(|| wrong("text beyond 2^53-1"))
        }
        (Kind::Integer | Kind::BigInteger, Json::String(text)) => {
            text.parse().map(|value: i64| value.to_string()).map_err(|_| wrong("an integer"))
        }
        (Kind::Decimal { .. }, Json::Number(number)) => Ok(decimal(&number.to_string(), decimals)),
        (Kind::Decimal { .. }, Json::String(text)) => Ok(decimal(text, decimals)),
        (Kind::Double, Json::Number(number)) => {
            number.as_f64().map(js_number).ok_or_else(|| wrong("a double"))
        }
        (Kind::Boolean, Json::Bool(value)) => Ok(value.to_string()),
        (Kind::Boolean, Json::Number(number)) => match number.as_i64() {
            Some(0) => Ok("false".to_owned()),
            Some(1) => Ok("true".to_owned()),
            _ => Err(wrong("0 or 1")),
        },
        (Kind::Text | Kind::Uuid, Json::String(text)) => Ok(text.clone()),
        (Kind::Date, Json::String(text)) => {
            Timestamp::parse(text).map(|at| at.to_string()).ok_or_else(|| wrong("a date"))
        }
        (Kind::Timestamp | Kind::NaiveTimestamp, Json::String(text)) => {
            let exact = Timestamp::parse(text).filter(|at| at.to_string() == *text);
            exact.map(|at| at.to_string()).ok_or_else(|| wrong("YYYY-MM-DDTHH:MM:SS.mmm[uuu]Z"))
        }
        (Kind::Bytes, Json::String(text)) => {
            let bytes = STANDARD.decode(text).map_err(|_| wrong("base64 with padding"))?;
            Ok(STANDARD.encode(bytes))
        }
        (Kind::Json, given) => Ok(sorted(given)),
        _ => Err(wrong("another JSON type")),
    }
}

fn decimal(text: &str, decimals: Decimals) -> String {
    let number = Number::parse(text);
    match decimals {
        Decimals::Exact => number.map_or_else(|| text.to_owned(), |number| number.to_string()),
        Decimals::Doubles => number.map_or_else(|| text.to_owned(), |number| js_number(number.as_f64())),
    }
}

fn document(text: &str) -> Option<String> {
    serde_json::from_str(text).ok().map(|document: Json| sorted(&document))
}

/// JSON text with the keys of objects in order.
fn sorted(document: &Json) -> String {
    match document {
        Json::Object(fields) => {
            let fields: BTreeMap<&String, String> =
                fields.iter().map(|(key, value)| (key, sorted(value))).collect();
            format!("{fields:?}")
        }
        Json::Array(items) => format!("{:?}", items.iter().map(sorted).collect::<Vec<_>>()),
        scalar => scalar.to_string(),
    }
}
