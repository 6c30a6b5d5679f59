//! Columns out of a collection's `$jsonSchema`.

use std::collections::HashMap;

use mongodb::bson::{Bson, Document};

use crate::translate::{Forms, ID};

/// How deep nested documents become columns of their own.
pub(super) const MAX_DEPTH: usize = 4;
/// Columns of one collection.
pub(super) const MAX_COLUMNS: usize = 2_000;

/// The names that a collection can have, and what is known of their types.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Fields {
    shape: Option<Shape>,
    kinds: HashMap<String, Forms>,
}

/// Properties of which no others are allowed, each with the same of its own.
type Shape = HashMap<String, Fields>;

/// What is known of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) nullable: bool,
}

/// What a collection's options declare.
#[derive(Debug, Default)]
pub(super) struct Declared {
    pub(super) fields: Fields,
    pub(super) columns: Vec<Column>,
}

impl Fields {
    /// Any name.
    #[cfg(test)]
    pub(crate) fn open() -> Self {
        Self::default()
    }

    /// In which forms operands for a field are looked for.
    pub(crate) fn forms(&self, name: &str) -> Forms {
        self.kinds.get(name).copied().unwrap_or_default()
    }

    /// Whether only certain names are allowed.
    pub(crate) fn is_closed(&self) -> bool {
        self.shape.is_some()
    }

    pub(super) fn knows(&self, path: &str) -> bool {
        let Some(shape) = &self.shape else { return true };
        let (name, rest) = path.split_once('.').map_or((path, None), |(name, rest)| (name, Some(rest)));
        match (shape.get(name), rest) {
            (Some(within), Some(rest)) => within.knows(rest),
            (Some(_), None) => true,
            (None, _) => name == ID,
        }
    }

    fn of(schema: &Document) -> Self {
        let Ok(properties) = schema.get_document("properties") else { return Self::default() };
        if schema.get("additionalProperties") != Some(&Bson::Boolean(false))
            || schema.contains_key("patternProperties")
        {
            return Self::default();
        }
        let shape = |(name, schema): (&String, &Bson)| {
            (name.clone(), schema.as_document().map_or_else(Self::default, Self::of))
        };
        Self { shape: Some(properties.iter().map(shape).collect()), kinds: HashMap::new() }
    }
}

/// Reads the options of a collection.
pub(super) fn declared(options: &Document) -> Declared {
    let schema =
        options.get_document("validator").and_then(|validator| validator.get_document("$jsonSchema"));
    let Ok(schema) = schema else { return Declared::default() };
    let mut columns = Vec::new();
    collect(schema, "", false, 0, &mut columns);
    // What is only warned about, or not checked at all, may be there all the same.
    let enforced = options.get_str("validationLevel").unwrap_or("strict") == "strict"
        && options.get_str("validationAction").unwrap_or("error") == "error";
    if !enforced {
        return Declared { fields: Fields::default(), columns };
    }
    let kinds = columns.iter().map(|column| (column.name.clone(), Forms::of(&column.kind))).collect();
    Declared { fields: Fields { kinds, ..Fields::of(schema) }, columns }
}

/// Whether one path is the other or leads through it.
pub(super) fn overlap(left: &str, right: &str) -> bool {
    let leads = |from: &str, to: &str| {
        to.strip_prefix(from).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    leads(left, right) || leads(right, left)
}

fn collect(schema: &Document, prefix: &str, within_nullable: bool, depth: usize, columns: &mut Vec<Column>) {
    let Ok(properties) = schema.get_document("properties") else { return };
    let required = schema.get_array("required").map(Vec::as_slice).unwrap_or_default();
    for (name, property) in properties {
        if columns.len() >= MAX_COLUMNS {
            return;
        }
        let Some(property) = property.as_document() else { continue };
        let path = format!("{prefix}{name}");
        let types = types(property);
        let is_required = required.iter().any(|required| required.as_str() == Some(name));
        let may_be_null = types.is_empty() || types.iter().any(|kind| kind == "null");
        let nullable = within_nullable || !is_required || may_be_null;
        let others: Vec<String> = types.into_iter().filter(|kind| kind != "null").collect();
        let is_document =
            others == ["object"] && property.get_document("properties").is_ok_and(|it| !it.is_empty());
        if is_document && depth < MAX_DEPTH {
            collect(property, &format!("{path}."), nullable, depth + 1, columns);
        } else {
            let kind = if others.is_empty() { "any".to_owned() } else { others.join("|") };
            columns.push(Column { name: path, kind, nullable });
        }
    }
}

/// `bsonType` or `type`: one name or a list of them.
fn types(property: &Document) -> Vec<String> {
    match property.get("bsonType").or_else(|| property.get("type")) {
        Some(Bson::String(kind)) => vec![kind.clone()],
        Some(Bson::Array(kinds)) => {
            kinds.iter().filter_map(|kind| kind.as_str().map(str::to_owned)).collect()
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    fn options(closed: bool, action: &str) -> Document {
        let schema = doc! {
            "bsonType": "object", "additionalProperties": !closed, "required": ["_id", "name", "address"],
            "properties": {
                "_id": {"bsonType": "int"},
                "name": {"bsonType": "string"},
                "age": {"bsonType": ["int", "long", "null"]},
                "address": {"bsonType": "object", "required": ["city"], "properties": {
                    "city": {"bsonType": "string"}, "zip": {"bsonType": "string"},
                }},
                "anything": {},
            },
        };
        doc! {"validator": {"$jsonSchema": schema}, "validationAction": action}
    }

    #[test]
    fn nested_documents_become_columns() {
        let columns = declared(&options(true, "error")).columns;
        let shown: Vec<String> =
            columns.iter().map(|it| format!("{} {} {}", it.name, it.kind, it.nullable)).collect();
        assert_eq!(
            shown,
            [
                "_id int false",
                "name string false",
                "age int|long true",
                "address.city string false",
                "address.zip string true",
                "anything any true",
            ]
        );
    }

    #[test]
    fn only_an_enforced_and_closed_schema_refuses_names() {
        let closed = declared(&options(true, "error")).fields;
        for (name, known) in [
            ("_id", true),
            ("name", true),
            ("nope", false),
            ("address.city", true),
            ("address.any", true),
            ("nope.x", false),
        ] {
            assert_eq!(closed.knows(name), known, "{name}");
        }
        assert!(declared(&options(false, "error")).fields.knows("nope"));
        assert!(declared(&options(true, "warn")).fields.knows("nope"));
        assert!(declared(&doc! {}).fields.knows("nope"));
    }

    #[test]
    fn paths_overlap_where_one_leads_through_the_other() {
        assert!(overlap("a", "a.b") && overlap("a.b", "a") && overlap("a", "a"));
        assert!(!overlap("a", "ab") && !overlap("a.b", "a.c"));
    }
}
