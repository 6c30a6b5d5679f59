//! The rows that the suite works on, in words that no engine owns.

mod tables;

use protocol::Timestamp;

pub use tables::{first, second};

/// Tables to create and fill.
#[derive(Debug, Clone)]
pub struct Seed {
    /// The tables. Names are distinct; some are hostile.
    pub tables: Vec<Table>,
}

/// One table.
#[derive(Debug, Clone)]
pub struct Table {
    /// The exact name.
    pub name: &'static str,
    /// Columns in their own order.
    pub columns: Vec<Column>,
    /// The names of the primary key's columns, in key order, which need not be that of `columns`. Never empty.
    pub key: Vec<&'static str>,
    /// What is in it.
    pub rows: Rows,
}

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    /// The exact name.
    pub name: &'static str,
    /// What its values are.
    pub kind: Kind,
    /// Whether null is allowed.
    pub nullable: bool,
}

/// What a column holds. A fixture takes the engine's usual type for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// 32 bits, signed.
    Integer,
    /// 64 bits, signed.
    BigInteger,
    /// Exact decimals.
    Decimal {
        /// All digits.
        precision: u8,
        /// Digits behind the point.
        scale: u8,
    },
    /// Doubles.
    Double,
    /// True or false; 0 and 1 where the engine has nothing better.
    Boolean,
    /// Unicode text, compared byte by byte and with case.
    Text,
    /// UUIDs; text in lower case where the engine has nothing better.
    Uuid,
    /// Days.
    Date,
    /// Instants, to the microsecond; where the engine has nothing better, text as [`Timestamp`] shows it.
    Timestamp,
    /// Date and time without a zone, to the microsecond; the same text where the engine has nothing better.
    NaiveTimestamp,
    /// Bytes.
    Bytes,
    /// JSON documents; text where the engine has nothing better.
    Json,
}

/// The rows of a table.
#[derive(Debug, Clone)]
pub enum Rows {
    /// All of them, each with one value a column.
    Listed(Vec<Vec<Value>>),
    /// Made one by one, from 0.
    Generated {
        /// How many.
        count: u64,
        /// Makes one.
        row: fn(u64) -> Vec<Value>,
    },
}

/// One value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Null.
    Null,
    /// For [`Kind::Boolean`].
    Bool(bool),
    /// For [`Kind::Integer`] and [`Kind::BigInteger`].
    Integer(i64),
    /// For [`Kind::Decimal`]: digits with sign and point, with the column's scale.
    Decimal(String),
    /// For [`Kind::Double`]. Finite.
    Double(f64),
    /// For [`Kind::Text`].
    Text(String),
    /// For [`Kind::Uuid`]: 36 characters in lower case.
    Uuid(String),
    /// For [`Kind::Date`]: midnight UTC of that day.
    Date(Timestamp),
    /// For [`Kind::Timestamp`], and for [`Kind::NaiveTimestamp`] as if it were UTC.
    Timestamp(Timestamp),
    /// For [`Kind::Bytes`].
    Bytes(Vec<u8>),
    /// For [`Kind::Json`]: the document.
    Json(String),
}

/// How an engine keeps decimals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Decimals {
    /// Every digit.
    #[default]
    Exact,
    /// As doubles.
    Doubles,
}

/// How exactly an engine keeps instants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Instants {
    /// To the microsecond.
    #[default]
    Microseconds,
    /// To the millisecond.
    Milliseconds,
}

impl Seed {
    /// The same for an engine whose instants have milliseconds: rounded down, and keys a thousand times as far apart, so
    /// that they stay different.
    #[must_use]
    pub fn in_milliseconds(mut self) -> Self {
        for table in &mut self.tables {
            let Rows::Listed(rows) = &mut table.rows else { continue };
            for (index, column) in table.columns.iter().enumerate() {
                let values = || rows.iter().filter_map(|row| micros(row.get(index)?));
                let first = values().min().filter(|_| table.key.contains(&column.name));
                for value in rows.iter_mut().filter_map(|row| row.get_mut(index)) {
                    let Some(at) = micros(value) else { continue };
                    let ms = first.map_or(at.div_euclid(1_000), |first| first / 1_000 + at - first);
                    *value = Value::Timestamp(Timestamp::from_micros(ms * 1_000));
                }
            }
        }
        self
    }

    /// The table of that name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables.iter().find(|table| table.name == name)
    }
}

fn micros(value: &Value) -> Option<i64> {
    match value {
        Value::Timestamp(at) => Some(at.micros()),
        _ => None,
    }
}

impl Table {
    /// The rows, one by one.
    pub fn rows(&self) -> Box<dyn Iterator<Item = Vec<Value>> + Send + '_> {
        match &self.rows {
            Rows::Listed(rows) => Box::new(rows.iter().cloned()),
            Rows::Generated { count, row } => Box::new((0..*count).map(*row)),
        }
    }

    /// How many rows there are.
    pub fn row_count(&self) -> u64 {
        match &self.rows {
            Rows::Listed(rows) => rows.len() as u64,
            Rows::Generated { count, .. } => *count,
        }
    }

    /// The column of that name.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}
