//! What an index holds, read from its mapping.
//!
//! A target may be an index, an alias or a data stream, so that a mapping may be that of several indices: a field that
//! means the same in all of them is that field, one that does not is a document without a type.

mod mapping;

use std::collections::BTreeMap;
use std::net::IpAddr;

use bridge_reduce::Number;
use semilayer_plugin::options::Timestamp;
use semilayer_plugin::{Column, Error, Kind as ColumnKind, Schema};
use serde_json::{Map, Value as Json, json};

use crate::connect::{Body, Server, Source};
use crate::error::keeps_no_documents;

/// The column of a document's own key.
pub(crate) const ID: &str = "_id";
/// Fields that a mapping is read for; more than any server allows without being told to.
const MAX_FIELDS: usize = 20_000;
/// How deep objects may nest.
const MAX_DEPTH: usize = 32;
/// Columns of which it is asked whether all documents have them.
const MAX_QUESTIONS: usize = 500;

/// The fields of a target.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Index {
    /// The indices that the target stands for.
    names: Vec<String>,
    fields: BTreeMap<String, Field>,
    /// Whether some of them forget documents once they have been indexed (`_source` is switched off).
    is_forgetful: bool,
}

/// A field, and how it can be asked for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Field {
    /// The column's name, and the path of its value in documents unless [`source`](Self::source) is another.
    pub(crate) name: String,
    /// Where its value is.
    pub(crate) source: String,
    pub(crate) kind: Kind,
    /// The mapping's word for the type.
    pub(crate) native: String,
    /// Where whole values are looked up; nothing where the engine has none.
    pub(crate) exact: Option<Exact>,
    /// Whether the engine knows which documents have a value, and by which field.
    pub(crate) presence: Option<String>,
    /// Whether a value stands in the index for null, so that what the index says of nulls means little.
    pub(crate) has_null_value: bool,
    /// Whether some indices of the target do not have it.
    pub(crate) partial: bool,
    /// Whether dates may be written in a form that is not ISO 8601.
    pub(crate) has_format: bool,
    /// Whether numbers of a date are seconds.
    pub(crate) in_seconds: bool,
    /// What stands in the index for null, of a date whose form only the server reads: in that form.
    pub(crate) null_date: Option<FormedDate>,
    /// The same as an instant.
    pub(crate) null_instant: Option<Timestamp>,
    /// Whether text is analysed as is usual, both when it is stored and when it is looked for.
    pub(crate) is_plain_text: bool,
    /// Of a vector: how many numbers it has, and how it is compared.
    pub(crate) vector: Option<Vector>,
}

/// A date as a mapping has it, and the form that it is in.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct FormedDate {
    pub(crate) text: String,
    pub(crate) format: String,
}

/// The field that holds whole values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Exact {
    pub(crate) field: String,
    /// Whether values can be looked up, and whether they can be ordered.
    pub(crate) indexed: bool,
    pub(crate) sortable: bool,
    /// Values with more characters are not in the index.
    pub(crate) ignore_above: Option<usize>,
    /// Whether values in the index are not what documents have.
    pub(crate) normalized: bool,
}

/// A field of vectors.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Vector {
    pub(crate) dimensions: Option<u64>,
    /// The mapping's word for how vectors are compared.
    pub(crate) similarity: Option<String>,
    pub(crate) indexed: bool,
}

/// What the values of a field are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    /// The document's own key.
    Id,
    Keyword,
    /// Analysed text, perhaps with a field beside it that holds whole values.
    Text,
    Integer {
        min: i128,
        max: i128,
    },
    Double,
    /// Numbers that the index has with fewer digits than documents.
    Float,
    Boolean,
    Date,
    DateNanos,
    Ip,
    Binary,
    Vector,
    /// An object whose fields are columns of their own.
    Object,
    /// An object with any keys, all of them looked up as keywords.
    Flattened,
    /// One key of such an object.
    FlattenedKey,
    /// What can only be read.
    Document,
}

impl Index {
    /// Reads an answer of `_mapping`: an object with the mapping of each index.
    pub(crate) fn read(answer: &Json) -> Self {
        let names = answer.as_object().into_iter().flat_map(|indices| indices.keys().cloned()).collect();
        let mut indices = answer.as_object().into_iter().flat_map(|indices| indices.values());
        let read = |index: &Json| mapping::fields(index.pointer("/mappings").unwrap_or(&Json::Null));
        let mut fields = indices.next().map(read).unwrap_or_default();
        for index in indices {
            mapping::unite(&mut fields, read(index));
        }
        let mut mappings =
            answer.as_object().into_iter().flat_map(|it| it.values()).filter_map(|it| it.get("mappings"));
        Self { names, fields, is_forgetful: mappings.any(mapping::is_forgetful) }
    }

    /// Asks what instants stand in the index for null, where the mapping has them in a form that only the server reads: a
    /// range of dates says again where it begins. The form goes with it, because indices without the field do not know it.
    pub(crate) fn resolve_nulls(&mut self, server: &Server, target: &str) -> Result<(), Error> {
        let mut questions = Map::new();
        for field in self.fields.values() {
            if let Some(FormedDate { text, format }) = &field.null_date {
                let range = json!({"field": field.source, "format": format, "ranges": [{"from": text}]});
                questions.insert(questions.len().to_string(), json!({"date_range": range}));
            }
        }
        if questions.is_empty() {
            return Ok(());
        }
        let more = std::iter::once(("aggs".to_owned(), Json::Object(questions))).collect();
        let nothing = json!({"match_none": {}});
        let answer = server.search(target, &Body::new(&nothing, 0, &Source::None, &more))?;
        let fields = self.fields.values_mut().filter(|field| field.null_date.is_some());
        for (number, field) in fields.enumerate() {
            let from = answer.aggregations.pointer(&format!("/{number}/buckets/0/from"));
            field.null_instant = from.and_then(Json::as_f64).and_then(of_millis);
            if field.null_instant.is_none() {
                return Err(Error::query_failed("the server has not said which date stands for null"));
            }
        }
        Ok(())
    }

    /// Refuses to read columns where there are no documents to read them from.
    pub(crate) fn check_documents(&self) -> Result<(), Error> {
        match self.is_forgetful {
            true => Err(keeps_no_documents()),
            false => Ok(()),
        }
    }

    /// The indices that the target stands for.
    pub(crate) fn names(&self) -> &[String] {
        &self.names
    }

    /// Whether this is one of the indices that the target stands for.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.iter().any(|own| own == name)
    }

    /// The field of that very name.
    pub(crate) fn declared(&self, name: &str) -> Option<&Field> {
        self.fields.get(name)
    }

    /// The field behind a column's name; nothing where there is none.
    pub(crate) fn field(&self, name: &str) -> Option<Field> {
        if name == ID {
            return Some(Field::id());
        }
        self.fields.get(name).cloned().or_else(|| self.flattened_key(name))
    }

    /// The field, or the refusal that names it.
    pub(crate) fn expect(&self, name: &str) -> Result<Field, Error> {
        self.field(name).ok_or_else(|| Error::invalid_request(name, "a column of this target"))
    }

    /// All columns: the key, then the fields without those that are only made of others.
    pub(crate) fn columns(&self) -> Vec<&Field> {
        self.fields.values().filter(|field| field.kind != Kind::Object).collect()
    }

    fn flattened_key(&self, name: &str) -> Option<Field> {
        let dots = name.match_indices('.').map(|(at, _)| at);
        dots.filter_map(|at| self.fields.get(name.get(..at)?))
            .find(|field| field.kind == Kind::Flattened)
            .map(|parent| Field {
                name: name.to_owned(),
                source: name.to_owned(),
                kind: Kind::FlattenedKey,
                exact: None,
                presence: parent.presence.clone(),
                ..parent.clone()
            })
    }
}

impl Field {
    fn id() -> Self {
        Self { kind: Kind::Id, exact: None, presence: None, ..Self::document(ID, "_id") }
    }

    /// A field that can only be read.
    fn document(name: &str, native: &str) -> Self {
        Self {
            name: name.to_owned(),
            source: name.to_owned(),
            kind: Kind::Document,
            native: native.to_owned(),
            exact: None,
            presence: None,
            has_null_value: false,
            partial: false,
            has_format: false,
            in_seconds: false,
            null_date: None,
            null_instant: None,
            is_plain_text: false,
            vector: None,
        }
    }

    /// As a column of a schema.
    pub(crate) fn column(&self) -> Column {
        Column::new(&self.name, self.column_kind()).native(&self.native)
    }

    fn column_kind(&self) -> ColumnKind {
        match self.kind {
            Kind::Id | Kind::Keyword | Kind::Text | Kind::Ip => ColumnKind::Text,
            Kind::Integer { .. } => ColumnKind::Int64,
            Kind::Double | Kind::Float => ColumnKind::Float64,
            Kind::Boolean => ColumnKind::Boolean,
            Kind::Date | Kind::DateNanos => ColumnKind::Timestamp,
            Kind::Binary => ColumnKind::Binary,
            Kind::Vector | Kind::Object | Kind::Flattened | Kind::FlattenedKey | Kind::Document => {
                ColumnKind::Json
            }
        }
    }

    /// What whoever compares values here must know of them.
    pub(crate) fn reduced_kind(&self) -> bridge_reduce::Kind {
        match self.kind {
            Kind::Id | Kind::Keyword | Kind::Text | Kind::Ip => bridge_reduce::Kind::Text,
            Kind::Integer { .. } | Kind::Double | Kind::Float => bridge_reduce::Kind::Number,
            Kind::Boolean => bridge_reduce::Kind::Boolean,
            Kind::Date | Kind::DateNanos => bridge_reduce::Kind::Timestamp,
            Kind::Binary => bridge_reduce::Kind::Bytes,
            Kind::Vector | Kind::Object | Kind::Flattened | Kind::FlattenedKey | Kind::Document => {
                bridge_reduce::Kind::Unknown
            }
        }
    }
}

/// Asks for what a mapping does not tell: how many documents there are, and which columns all of them have.
pub(crate) fn describe(server: &Server, target: &str, index: &Index) -> Result<Schema, Error> {
    let columns = index.columns();
    let mut questions = Map::new();
    for (number, field) in columns.iter().enumerate().take(MAX_QUESTIONS) {
        if let (Some(presence), false) = (&field.presence, field.has_null_value) {
            let question = json!({"filter": {"bool": {"must_not": [{"exists": {"field": presence}}]}}});
            questions.insert(number.to_string(), question);
        }
    }
    let more = match questions.is_empty() {
        true => Map::new(),
        false => std::iter::once(("aggs".to_owned(), Json::Object(questions))).collect(),
    };
    let everything = json!({"match_all": {}});
    let body = Body { track_total_hits: true, ..Body::new(&everything, 0, &Source::None, &more) };
    let answer = server.search(target, &body)?;
    let is_always_there = |number: usize| {
        let missing = answer.aggregations.pointer(&format!("/{number}/doc_count")).and_then(Json::as_u64);
        missing == Some(0)
    };
    let column = |(number, field): (usize, &&Field)| match is_always_there(number) {
        true => field.column().required(),
        false => field.column(),
    };
    let key = Field::id().column().key();
    let columns = std::iter::once(key).chain(columns.iter().enumerate().map(column));
    Ok(Schema::new(columns).rows(answer.total.unwrap_or(0)))
}

fn of_millis(millis: f64) -> Option<Timestamp> {
    match Number::from_f64(millis)? {
        Number::Integer(millis) => millis.checked_mul(1_000).map(Timestamp::from_micros),
        Number::Decimal(_) => None,
    }
}

/// An address, for fields that would take a network for one.
pub(crate) fn is_address(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Refuses names that could reach more than one target, or one that is meant for the server itself.
pub(crate) fn check_target(target: &str) -> Result<(), Error> {
    const NEVER: &[char] = &['*', '?', ',', '"', '<', '>', '|', '\\', '/', '#', ':', ' '];
    const NOT_FIRST: &[char] = &['-', '_', '+', '.'];
    let is_plain = !target.contains(NEVER) && !target.contains(char::is_control);
    let is_name = !target.is_empty() && target.len() <= 255 && !target.starts_with(NOT_FIRST);
    match is_plain && is_name {
        true => Ok(()),
        false => Err(Error::invalid_request("target", "the name of one index, alias or data stream")),
    }
}

#[cfg(test)]
mod tests;
