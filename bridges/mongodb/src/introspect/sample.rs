//! Columns out of documents: the first ones of a collection and its newest.

use bridge_core::{BridgeError, Call};
use mongodb::bson::{Document, RawBsonRef, RawDocument, doc};
use mongodb::options::FindOptions;

use super::schema::{Column, MAX_COLUMNS, MAX_DEPTH};
use crate::connect::Pool;
use crate::error::unreadable;
use crate::execute::{self, Operation};
use crate::translate::ID;

/// Documents from either end.
const DOCUMENTS: i64 = 100;

/// What the documents have, in the order in which it was first seen.
pub(super) async fn columns(
    pool: &Pool,
    call: &Call,
    target: &str,
    is_view: bool,
) -> Result<Vec<Column>, BridgeError> {
    let mut seen = Seen::default();
    let find = |sort: Option<Document>| Operation::Find {
        collection: target.to_owned(),
        filter: Document::new(),
        options: Box::new(FindOptions::builder().sort(sort).limit(DOCUMENTS).build()),
    };
    execute::each(pool, call, find(None), |document| seen.take(document)).await?;
    // A view would have to be computed whole before it can be sorted.
    if !is_view {
        execute::each(pool, call, find(Some(doc! {ID: -1})), |document| seen.take(document)).await?;
    }
    Ok(seen.columns())
}

/// What was seen at one level.
#[derive(Default)]
struct Seen {
    documents: usize,
    fields: Vec<Field>,
}

#[derive(Default)]
struct Field {
    name: String,
    /// How many documents have it and not null.
    present: usize,
    kinds: Vec<&'static str>,
    within: Seen,
}

impl Seen {
    fn take(&mut self, document: &RawDocument) -> Result<(), BridgeError> {
        self.take_at(document, 0)
    }

    fn take_at(&mut self, document: &RawDocument, depth: usize) -> Result<(), BridgeError> {
        self.documents += 1;
        for element in document {
            let (name, value) = element.map_err(unreadable)?;
            let Some(field) = self.field(name.as_str()) else { continue };
            let Some(kind) = kind(value) else { continue };
            field.present += 1;
            if !field.kinds.contains(&kind) {
                field.kinds.push(kind);
            }
            if let RawBsonRef::Document(inner) = value
                && depth < MAX_DEPTH
            {
                field.within.take_at(inner, depth + 1)?;
            }
        }
        Ok(())
    }

    fn field(&mut self, name: &str) -> Option<&mut Field> {
        let at = match self.fields.iter().position(|field| field.name == name) {
            Some(at) => at,
            None if self.fields.len() < MAX_COLUMNS => {
                self.fields.push(Field { name: name.to_owned(), ..Field::default() });
                self.fields.len() - 1
            }
            None => return None,
        };
        self.fields.get_mut(at)
    }

    fn columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        self.collect("", false, &mut columns);
        columns.truncate(MAX_COLUMNS);
        columns
    }

    fn collect(&self, prefix: &str, within_nullable: bool, columns: &mut Vec<Column>) {
        for field in &self.fields {
            let name = format!("{prefix}{}", field.name);
            let nullable = within_nullable || field.present < self.documents;
            // A document that is always one is its fields.
            if field.kinds == ["object"] && !field.within.fields.is_empty() && columns.len() < MAX_COLUMNS {
                field.within.collect(&format!("{name}."), nullable, columns);
            } else {
                let kind = if field.kinds.is_empty() { "null".to_owned() } else { field.kinds.join("|") };
                columns.push(Column { name, kind, nullable });
            }
        }
    }
}

/// The server's name of a type; nothing for null.
fn kind(value: RawBsonRef<'_>) -> Option<&'static str> {
    Some(match value {
        RawBsonRef::Null | RawBsonRef::Undefined => return None,
        RawBsonRef::Double(_) => "double",
        RawBsonRef::String(_) => "string",
        RawBsonRef::Array(_) => "array",
        RawBsonRef::Document(_) => "object",
        RawBsonRef::Boolean(_) => "bool",
        RawBsonRef::RegularExpression(_) => "regex",
        RawBsonRef::JavaScriptCode(_) => "javascript",
        RawBsonRef::JavaScriptCodeWithScope(_) => "javascriptWithScope",
        RawBsonRef::Int32(_) => "int",
        RawBsonRef::Int64(_) => "long",
        RawBsonRef::Timestamp(_) => "timestamp",
        RawBsonRef::Binary(_) => "binData",
        RawBsonRef::ObjectId(_) => "objectId",
        RawBsonRef::DateTime(_) => "date",
        RawBsonRef::Symbol(_) => "symbol",
        RawBsonRef::Decimal128(_) => "decimal",
        RawBsonRef::MaxKey => "maxKey",
        RawBsonRef::MinKey => "minKey",
        RawBsonRef::DbPointer(_) => "dbPointer",
    })
}

#[cfg(test)]
mod tests {
    use mongodb::bson::RawDocumentBuf;

    use super::*;

    #[test]
    fn types_are_united_and_nested_documents_are_their_fields() {
        let mut seen = Seen::default();
        for document in [
            doc! {"_id": 1, "a": 1, "n": {"x": "t", "y": 1}, "m": {"k": 1}, "l": [1], "z": null},
            doc! {"_id": 2, "a": "one", "n": {"x": null}, "m": 5, "l": [], "z": null},
        ] {
            seen.take(&RawDocumentBuf::try_from(&document).unwrap()).unwrap();
        }
        let shown: Vec<String> =
            seen.columns().iter().map(|it| format!("{} {} {}", it.name, it.kind, it.nullable)).collect();
        assert_eq!(
            shown,
            [
                "_id int false",
                "a int|string false",
                "n.x string true",
                "n.y int true",
                "m object|int false",
                "l array false",
                "z null true",
            ]
        );
    }
}
