//! What the database says of its collections, and what their documents say.
//!
//! A collection with a `$jsonSchema` is described by it; one whose schema allows no other properties has no other
//! fields, and names that are none of them are refused. Every other collection has whatever its documents have.

mod sample;
mod schema;

use bridge_core::{BridgeError, Call, ColumnSchema, TargetSchema};
use bridge_reduce::{Kind, Schema};
use mongodb::bson::{Document, doc};
use protocol::Invalid;

use crate::connect::Pool;
use crate::error::{is_unauthorized, no_such_collection, too_deep, unreadable};
use crate::execute::{self, Operation};
use crate::translate::{ID, Named, check_name};
use crate::values::{MAX_DEPTH, is_shallow};

pub(crate) use schema::Fields;
use schema::{Column, Declared};

/// The server's limit for `database.collection`.
const MAX_NAME: usize = 255;

/// A collection or a view.
#[derive(Debug, Clone, Default)]
pub(crate) struct Collection {
    /// The names that it can have.
    pub(crate) fields: Fields,
    declared: Vec<Column>,
    is_view: bool,
}

impl Collection {
    /// What the reducer must know of the declared fields.
    pub(crate) fn reduced_schema(&self) -> Schema {
        let schema = Schema::unknown().with_key(ID);
        self.declared
            .iter()
            .fold(schema, |schema, column| schema.with(&column.name, reduced_kind(&column.kind)))
    }

    /// Whether a field may hold text, as far as anybody knows.
    pub(crate) fn may_be_text(&self, name: &str) -> bool {
        let declared = self.declared.iter().find(|column| column.name == name);
        declared.is_none_or(|column| {
            matches!(column.kind.as_str(), "any") || column.kind.split('|').any(|it| it == "string")
        })
    }

    /// The fields that may hold text, where the schema allows no others.
    pub(crate) fn text_fields(&self) -> Option<Vec<String>> {
        let texts = self
            .declared
            .iter()
            .filter(|column| !column.name.contains('.') && self.may_be_text(&column.name));
        self.fields.is_closed().then(|| texts.map(|column| column.name.clone()).collect())
    }
}

fn reduced_kind(kind: &str) -> Kind {
    let mut kinds = kind.split('|');
    match kind {
        "string" => Kind::Text,
        "bool" => Kind::Boolean,
        "date" => Kind::Timestamp,
        _ if kinds.all(|kind| matches!(kind, "int" | "long" | "double" | "decimal" | "number")) => {
            Kind::Number
        }
        _ => Kind::Unknown,
    }
}

/// The collection of that name; refused when there is none.
pub(crate) async fn look_up(pool: &Pool, call: &Call, target: &str) -> Result<Collection, BridgeError> {
    if target.is_empty() || target.len() > MAX_NAME || target.contains(['\0', '$']) {
        return Err(Invalid::new("target", "the name of a collection").into());
    }
    let filter = doc! {"name": target};
    let listed = execute::all(pool, call, Operation::Collections { filter: filter.clone() }).await;
    let found = match listed {
        // A user who may read single collections may not list them all with their options.
        Err(error) if is_unauthorized(&error) => {
            execute::all(pool, call, Operation::Names { filter }).await?
        }
        listed => listed?,
    };
    let Some(entry) = found.first() else { return Err(no_such_collection(target)) };
    if !is_shallow(entry)? {
        return Err(too_deep(MAX_DEPTH));
    }
    let entry = Document::try_from(entry.as_ref()).map_err(unreadable)?;
    let options = entry.get_document("options").cloned().unwrap_or_default();
    let Declared { fields, columns } = schema::declared(&options);
    Ok(Collection {
        fields,
        declared: columns,
        is_view: entry.get_str("type").is_ok_and(|kind| kind == "view"),
    })
}

/// Collections and views, without the system's own.
pub(crate) async fn list(pool: &Pool, call: &Call) -> Result<Vec<String>, BridgeError> {
    let found = execute::all(pool, call, Operation::Names { filter: Document::new() }).await?;
    let name = |entry: &mongodb::bson::RawDocumentBuf| entry.get_str("name").ok().map(str::to_owned);
    let mut names: Vec<String> =
        found.iter().filter_map(name).filter(|it| !it.starts_with("system.")).collect();
    names.sort_unstable();
    Ok(names)
}

/// The columns of a collection: those of its schema, then those that a sample of its documents has beside them.
pub(crate) async fn describe(
    pool: &Pool,
    call: &Call,
    target: &str,
    collection: &Collection,
) -> Result<TargetSchema, BridgeError> {
    let mut columns = collection.declared.clone();
    if !collection.fields.is_closed() {
        let sampled = sample::columns(pool, call, target, collection.is_view).await?;
        let new = |column: &Column| !columns.iter().any(|known| schema::overlap(&known.name, &column.name));
        let new: Vec<Column> = sampled.into_iter().filter(new).collect();
        columns.extend(new);
    }
    if !columns.iter().any(|column| column.name == ID || column.name.starts_with("_id.")) {
        columns.insert(0, Column { name: ID.to_owned(), kind: "objectId".to_owned(), nullable: false });
    }
    let column = |column: Column| ColumnSchema {
        primary_key: column.name == ID || column.name.starts_with("_id."),
        name: column.name,
        kind: column.kind,
        nullable: column.nullable,
    };
    let row_count = execute::count(pool, call, target, Document::new()).await?;
    Ok(TargetSchema {
        name: target.to_owned(),
        columns: columns.into_iter().map(column).collect(),
        row_count,
    })
}

impl Fields {
    /// Refuses a name that is no path, or that the collection cannot have.
    pub(crate) fn check(&self, name: &str) -> Result<(), Invalid> {
        check_name(name, |name| self.knows(name))
    }

    /// The field of a name in a filter.
    pub(crate) fn named(&self, name: &str) -> Result<Named, Invalid> {
        self.check(name)?;
        Ok(Named { path: name.to_owned(), forms: self.forms(name) })
    }
}
