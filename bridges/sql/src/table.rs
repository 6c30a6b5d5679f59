//! What a translator must know of a table, as a bridge reads it from the catalog.

use std::borrow::Cow;

use protocol::{Invalid, Timestamp};

use crate::Dialect;
use crate::filter::{Alias, At, Place};

/// A table, view, or anything that can stand behind `FROM`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Table {
    /// The qualified name, outermost part first: `["public", "orders"]`.
    pub parts: Vec<String>,
    /// Its columns in their own order. Empty: not known; then names are not checked and every kind is
    /// [`Kind::Unknown`].
    pub columns: Vec<Column>,
    /// The primary key's columns, in key order. Empty when there is none.
    pub primary_key: Vec<String>,
}

/// A column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Name.
    pub name: String,
    /// Class of its type.
    pub kind: Kind,
    /// Whether null is allowed.
    pub nullable: bool,
    /// The engine's own name of the type.
    pub native: String,
    /// The labels of a [`Kind::Enum`], in order; else empty.
    pub labels: Vec<String>,
    /// The characters that its text can have.
    pub repertoire: Repertoire,
    /// What it can hold, where its class does not say it.
    pub extent: Extent,
    /// Not part of a row unless asked for by name, like SQLite's `rowid`.
    pub hidden: bool,
}

/// Class of a column's type: decides which operands fit and how they are bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Kind {
    /// Integers of so many bits.
    Integer {
        /// 8, 16, 24, 32 or 64.
        bits: u8,
        /// Whether negative values fit.
        signed: bool,
    },
    /// Exact numbers with a fraction.
    Decimal,
    /// Binary floating point of so many bits.
    Float {
        /// 32 or 64.
        bits: u8,
    },
    /// True and false.
    Boolean,
    /// Text of any length, whatever its collation.
    Text,
    /// One of [`Column::labels`], ordered as they are.
    Enum,
    /// UUID.
    Uuid,
    /// A day.
    Date,
    /// Date and time without a zone, read as UTC.
    Timestamp,
    /// An instant.
    TimestampTz,
    /// Time of day without a zone.
    Time,
    /// Bytes; base64 in operands.
    Bytes,
    /// JSON; compared as the engine's text of it.
    Json,
    /// A type without a class of its own (arrays, ranges, network addresses); compared as the engine's text of it, so
    /// that an operand which the type cannot read matches nothing instead of failing.
    Other,
    /// Not known, or values of any type (SQLite columns without a type): operands are bound as they came.
    #[default]
    Unknown,
}

/// What a column can hold, where engines fail or go wrong over an operand that is beyond it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Extent {
    /// What its class says, or not known.
    #[default]
    OfItsKind,
    /// Of a [`Kind::Decimal`]: so many digits before the point, and so many behind.
    Digits {
        /// Before the point.
        whole: u16,
        /// Behind it.
        scale: u16,
    },
    /// Of a [`Kind::Decimal`]: the integers between these two, both of them included, as their digits.
    Integers {
        /// The least.
        least: &'static str,
        /// The greatest.
        greatest: &'static str,
    },
    /// Of a [`Kind::TimestampTz`]: the instants between these two, both of them included.
    Instants {
        /// The first.
        first: Timestamp,
        /// The last.
        last: Timestamp,
    },
    /// Of a [`Kind::Text`]: so many bytes, filled up with zeros that are no part of the text.
    Padded {
        /// Of the longest text.
        bytes: usize,
    },
}

/// The characters that a column's text can have, where engines refuse to compare it with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Repertoire {
    /// All of Unicode, or not known.
    #[default]
    All,
    /// Those of the basic multilingual plane, up to U+FFFF: no emoji.
    Basic,
    /// Those of Windows-1252; its five free bytes stand for the control characters of the same numbers.
    Windows1252,
    /// Those of ASCII.
    Ascii,
}

impl Repertoire {
    /// Whether all characters of `text` are among these.
    pub fn has(self, text: &str) -> bool {
        match self {
            Self::All => true,
            Self::Basic => text.chars().all(|character| character <= '\u{FFFF}'),
            Self::Windows1252 => text.chars().all(is_windows_1252),
            Self::Ascii => text.is_ascii(),
        }
    }
}

fn is_windows_1252(character: char) -> bool {
    const INSTEAD_OF_CONTROLS: &str = "€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ";
    const FREE: &str = "\u{81}\u{8D}\u{8F}\u{90}\u{9D}";
    matches!(character, '\0'..='\x7F' | '\u{A0}'..='\u{FF}')
        || INSTEAD_OF_CONTROLS.contains(character)
        || FREE.contains(character)
}

impl Kind {
    /// Whether values of this kind are numbers.
    pub const fn is_numeric(self) -> bool {
        matches!(self, Self::Integer { .. } | Self::Decimal | Self::Float { .. })
    }
}

impl Column {
    /// A visible column without labels.
    pub fn new(name: impl Into<String>, kind: Kind, nullable: bool) -> Self {
        Self {
            name: name.into(),
            kind,
            nullable,
            native: String::new(),
            labels: Vec::new(),
            repertoire: Repertoire::All,
            extent: Extent::OfItsKind,
            hidden: false,
        }
    }
}

impl Table {
    /// A table of which only the name is known.
    pub fn named(parts: Vec<String>) -> Self {
        Self { parts, ..Self::default() }
    }

    /// The column `name`; nothing when there is none, or when columns are not known.
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// Where the column `name` is, in statements that know the table by `alias` or by nothing else.
    pub(crate) fn place<'a>(&'a self, name: &'a str, alias: Option<Alias>) -> Result<Place<'a>, Invalid> {
        let at = alias.map_or(At::Column(name), |alias| At::Of(alias, name));
        if self.columns.is_empty() {
            return Ok(Place { at, column: Cow::Owned(Column::new(name, Kind::Unknown, true)) });
        }
        match self.column(name) {
            Some(column) => Ok(Place { at, column: Cow::Borrowed(column) }),
            None => Err(Invalid::new(name, format!("a column of {}", self.display_name()))),
        }
    }

    /// The name for messages: parts joined with dots.
    pub fn display_name(&self) -> String {
        self.parts.join(".")
    }
}

/// Splits a target into the parts of a qualified name. Parts are separated by dots; a part in double quotes may hold
/// dots, and quotes that are doubled. The dialect says how many parts there may be at the most.
///
/// # Errors
/// `target: expected a table name (Invalid table name: "…")`.
pub fn parse_target(dialect: &Dialect, target: &str) -> Result<Vec<String>, Invalid> {
    let refused = || Invalid::new("target", format!("a table name (Invalid table name: \"{target}\")"));
    let mut parts = Vec::new();
    let mut rest = target;
    loop {
        let (part, after) = next_part(rest).ok_or_else(refused)?;
        parts.push(part);
        match after.strip_prefix('.') {
            Some(more) => rest = more,
            None if after.is_empty() => break,
            None => return Err(refused()),
        }
    }
    if parts.len() > dialect.max_parts || parts.iter().any(|part| part.is_empty() || part.contains('\0')) {
        return Err(refused());
    }
    Ok(parts)
}

fn next_part(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find('.').unwrap_or(text.len());
        let (part, rest) = text.split_at(end);
        return (!part.contains('"')).then(|| (part.to_owned(), rest));
    };
    let mut part = String::new();
    let mut rest = quoted;
    loop {
        let (before, after) = rest.split_once('"')?;
        part.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                part.push('"');
                rest = more;
            }
            None => return Some((part, after)),
        }
    }
}
