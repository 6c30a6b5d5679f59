//! A fixture for bridges that take their tables as a setting: what examples of plugins do, which have no database.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use bridge_core::BoxFuture;
use protocol::{Scalar, SourceConfig};
use serde_json::Value as Json;

use crate::fixture::{Database, Fixture, Offer, SlowQuery};
use crate::seed::{Kind, Seed, Table, Value};

/// Databases that are text in a setting.
#[derive(Debug)]
pub struct Listed {
    setting: String,
    others: BTreeMap<String, Json>,
    databases: Mutex<BTreeMap<&'static str, String>>,
}

impl Listed {
    /// Databases in the setting of this name.
    pub fn new(setting: &str) -> Self {
        Self { setting: setting.to_owned(), others: BTreeMap::new(), databases: Mutex::default() }
    }

    /// The same with one more setting of every database.
    #[must_use]
    pub fn with(mut self, setting: &str, value: impl Into<Json>) -> Self {
        self.others.insert(setting.to_owned(), value.into());
        self
    }
}

impl Fixture for Listed {
    fn config(&self, database: Database) -> SourceConfig {
        let databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        let tables = databases.get(name(database)).cloned().unwrap_or_default();
        let tables = std::iter::once((self.setting.clone(), tables.into()));
        SourceConfig::new(self.others.clone().into_iter().chain(tables).collect())
    }

    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>> {
        let mut databases = self.databases.lock().unwrap_or_else(PoisonError::into_inner);
        databases.insert(name(database), tables_json(seed));
        Box::pin(std::future::ready(Ok(())))
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        Offer::Impossible("a setting has no roles")
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        Offer::Impossible("rows in memory come at once")
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    fn target(&self, table: &str) -> String {
        table.to_owned()
    }

    fn qualified_target(&self, _table: &str) -> Offer<String> {
        Offer::Impossible("tables in a setting are in no schema")
    }
}

fn name(database: Database) -> &'static str {
    match database {
        Database::First => "first",
        Database::Second => "second",
    }
}

/// The seed as `{"tables": [{"name", "columns": [{"name", "kind", "nullable"}], "key": […], "rows": [[…]]}]}`. Kinds are
/// those of plugins: `int64`, `decimal`, …; decimals, dates, instants and UUIDs are texts, bytes are base64.
pub fn tables_json(seed: &Seed) -> String {
    let tables = seed.tables.iter().map(table_json).collect::<Vec<_>>();
    format!("{{\"tables\":[{}]}}", tables.join(","))
}

fn table_json(table: &Table) -> String {
    let column = |column: &crate::seed::Column| {
        let (name, kind) = (quoted(column.name), kind_name(column.kind));
        format!("{{\"name\":{name},\"kind\":\"{kind}\",\"nullable\":{}}}", column.nullable)
    };
    let row = |row: Vec<Value>| format!("[{}]", row.iter().map(value_json).collect::<Vec<_>>().join(","));
    let columns = table.columns.iter().map(column).collect::<Vec<_>>().join(",");
    let key = table.key.iter().map(|name| quoted(name)).collect::<Vec<_>>().join(",");
    let rows = table.rows().map(row).collect::<Vec<_>>().join(",");
    let name = quoted(table.name);
    format!("{{\"name\":{name},\"columns\":[{columns}],\"key\":[{key}],\"rows\":[{rows}]}}")
}

fn value_json(value: &Value) -> String {
    match value {
        Value::Decimal(digits) => quoted(digits),
        Value::Null
        | Value::Bool(_)
        | Value::Integer(_)
        | Value::Double(_)
        | Value::Text(_)
        | Value::Uuid(_)
        | Value::Date(_)
        | Value::Timestamp(_)
        | Value::Bytes(_)
        | Value::Json(_) => value.json(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::new();
    Scalar::from(text).write_json(&mut out);
    out
}

fn kind_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer | Kind::BigInteger => "int64",
        Kind::Decimal { .. } => "decimal",
        Kind::Double => "float64",
        Kind::Boolean => "boolean",
        Kind::Text => "text",
        Kind::Uuid => "uuid",
        Kind::Date => "date",
        Kind::Timestamp | Kind::NaiveTimestamp => "timestamp",
        Kind::Bytes => "binary",
        Kind::Json => "json",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::seed;

    #[test]
    fn the_whole_seed_is_json_with_every_digit() {
        let tables: Json = serde_json::from_str(&tables_json(&seed::first())).unwrap();
        let tables = tables["tables"].as_array().unwrap();
        let wide = tables.iter().find(|table| table["name"] == "wide").unwrap();
        let columns = wide["columns"].as_array().unwrap();
        let value = |kind: &str, row: usize| {
            let at = columns.iter().position(|column| column["kind"] == kind).unwrap();
            wide["rows"][row][at].clone()
        };
        assert_eq!(value("decimal", 1), json!("-0.000001"));
        assert_eq!(value("binary", 0), json!("AAEC/f7/"));
        assert_eq!(value("json", 1), json!([]));
        assert_eq!(value("boolean", 3), Json::Null);
        assert_eq!(tables.last().unwrap()["rows"].as_array().unwrap().len(), 20_000);
    }
}
