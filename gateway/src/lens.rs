//! Lenses: the shape in which applications see a table.
//!
//! A lens names its fields in an order, says which column each is read from and what is done to its values, and who
//! may ask. Lenses come from a pushed config, where [`crate::config`] has checked them as a whole.

use serde::{Deserialize, Serialize};

use crate::config::Node;
use crate::model::SourceId;

/// One lens.
#[derive(Debug, Clone, PartialEq)]
pub struct Lens {
    /// Its name, as in `/v1/query/<name>`.
    pub name: String,
    /// The source that it reads.
    pub source: SourceId,
    /// The table, collection or prefix in the source.
    pub table: String,
    /// Its fields in the order of the config. Never empty; names are distinct.
    pub fields: Vec<LensField>,
    /// The columns of the primary key, in order. Empty when the config does not say; then there is no tiebreak for
    /// keyset paging until introspection finds one.
    pub primary_key: Vec<String>,
    /// The column that tells what has changed.
    pub change_tracking_column: Option<String>,
    /// Who may ask.
    pub grants: Grants,
    /// The lens as it was pushed, short forms expanded; holds the parts that are not served yet.
    pub declared: Node,
}

impl Lens {
    /// The field named `name`.
    pub fn field(&self, name: &str) -> Option<&LensField> {
        self.fields.iter().find(|field| field.name == name)
    }
}

/// One field of a lens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LensField {
    /// Its name for applications.
    pub name: String,
    /// The source column that it is read from.
    pub column: String,
    /// What its values are.
    pub kind: FieldKind,
    /// Whether a value is an array of them.
    pub array: bool,
    /// The words of an enum; empty for other kinds, or when the config does not list them.
    pub values: Vec<String>,
    /// What is done to each value, in this order.
    pub transforms: Vec<Transform>,
    /// Whether it belongs to the primary key.
    pub primary_key: bool,
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FieldKind {
    /// Text.
    Text,
    /// A number.
    Number,
    /// True or false.
    Boolean,
    /// An instant.
    Date,
    /// Any JSON.
    Json,
    /// One of a few words.
    Enum,
    /// A key of another lens.
    Relation,
}

impl FieldKind {
    /// Every kind.
    pub const ALL: [Self; 7] =
        [Self::Text, Self::Number, Self::Boolean, Self::Date, Self::Json, Self::Enum, Self::Relation];

    /// The word in a config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Date => "date",
            Self::Json => "json",
            Self::Enum => "enum",
            Self::Relation => "relation",
        }
    }

    /// The kind of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// Something that is done to a value on its way to the application.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transform {
    /// Text in lower case.
    Lowercase,
    /// Text in upper case.
    Uppercase,
    /// Text without white space at its ends.
    Trim,
    /// A date or time as ISO 8601 in UTC.
    Date,
}

impl Transform {
    /// Every transform.
    pub const ALL: [Self; 4] = [Self::Lowercase, Self::Uppercase, Self::Trim, Self::Date];

    /// The word in a config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
            Self::Trim => "trim",
            Self::Date => "date",
        }
    }

    /// The transform of that word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|transform| transform.as_str() == word)
    }
}

/// Who may do what with a lens, beyond secret keys, which may do everything.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Grants {
    /// Who may query and count. Nobody when absent.
    pub query: Option<Grant>,
}

/// Who is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// Everyone with a public key.
    Public,
}
