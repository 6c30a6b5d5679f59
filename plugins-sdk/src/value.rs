//! Rows whose columns are known only while they are read.

use protocol::Timestamp;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum Value {
    /// No value.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// An integer that may be above 2^63.
    Uint(u64),
    /// A double.
    Float(f64),
    /// Text; also decimals, times of day and UUIDs.
    Text(String),
    /// Bytes; base64 for the caller.
    Bytes(Vec<u8>),
    /// Midnight UTC of a day.
    Date(Timestamp),
    /// An instant.
    Timestamp(Timestamp),
    /// A document.
    Json(serde_json::Value),
}

/// A row: names and values in their order.
///
/// ```
/// use semilayer_plugin::{Row, Rows};
///
/// let row = Row::new().with("id", 7).with("name", "Ada").with("born", None::<i64>);
/// assert_eq!(serde_json::to_string(&row).unwrap(), r#"{"id":7,"name":"Ada","born":null}"#);
/// let rows = Rows::json([row]);
/// ```
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row(Vec<(String, Value)>);

impl Row {
    /// A row without columns.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more column.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.0.push((name.into(), value.into()));
        self
    }

    /// The value of a column.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(other, _)| other == name).map(|(_, value)| value)
    }
}

impl FromIterator<(String, Value)> for Row {
    fn from_iter<I: IntoIterator<Item = (String, Value)>>(columns: I) -> Self {
        Self(columns.into_iter().collect())
    }
}

impl Serialize for Row {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, value) in &self.0 {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Int(value) => serializer.serialize_i64(*value),
            Self::Uint(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Bytes(value) => serializer.serialize_bytes(value),
            Self::Date(value) | Self::Timestamp(value) => serializer.collect_str(value),
            Self::Json(value) => value.serialize(serializer),
        }
    }
}

macro_rules! values {
    ($($variant:ident: $($type:ty),*;)*) => {
        $($(impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(value.into())
            }
        })*)*
    };
}

values! {
    Bool: bool;
    Int: i8, i16, i32, i64, u8, u16, u32;
    Uint: u64;
    Float: f32, f64;
    Text: String, &str;
    Bytes: Vec<u8>, &[u8];
    Timestamp: Timestamp;
    Json: serde_json::Value;
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
