//! What can be pushed into a [`Table`].

use protocol::Timestamp;
use serde_json::value::RawValue;

use super::Table;
use crate::Value;

/// A value for a column. Pushed into a column that does not take it, it fails its row.
pub trait Cell {
    /// Pushes it.
    fn put(self, table: &mut Table);
}

macro_rules! cells {
    ($put:ident as $wide:ty: $($narrow:ty),*) => {
        $(impl Cell for $narrow {
            #[inline]
            fn put(self, table: &mut Table) {
                table.$put(<$wide>::from(self));
            }
        })*
    };
}

cells!(put_int as i64: i8, i16, i32, i64, u8, u16, u32);
cells!(put_uint as u64: u64);
cells!(put_float as f64: f32, f64);
cells!(put_bool as bool: bool);
cells!(put_timestamp as Timestamp: Timestamp);

impl Cell for &str {
    #[inline]
    fn put(self, table: &mut Table) {
        table.put_text(self);
    }
}

impl Cell for &String {
    #[inline]
    fn put(self, table: &mut Table) {
        table.put_text(self);
    }
}

impl Cell for String {
    #[inline]
    fn put(self, table: &mut Table) {
        table.put_text(&self);
    }
}

impl Cell for &[u8] {
    #[inline]
    fn put(self, table: &mut Table) {
        table.put_bytes(self);
    }
}

impl Cell for &RawValue {
    #[inline]
    fn put(self, table: &mut Table) {
        table.json(self.get());
    }
}

impl<C: Cell> Cell for Option<C> {
    #[inline]
    fn put(self, table: &mut Table) {
        match self {
            Some(value) => value.put(table),
            None => {
                table.null();
            }
        }
    }
}

impl Cell for &Value {
    fn put(self, table: &mut Table) {
        match self {
            Value::Null => {
                table.null();
            }
            Value::Bool(value) => value.put(table),
            Value::Int(value) => value.put(table),
            Value::Uint(value) => value.put(table),
            Value::Float(value) => value.put(table),
            Value::Text(value) => value.put(table),
            Value::Bytes(value) => value.put(table),
            Value::Date(value) | Value::Timestamp(value) => value.put(table),
            Value::Json(value) => {
                table.json(&value.to_string());
            }
        }
    }
}
