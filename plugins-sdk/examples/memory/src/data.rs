//! Tables that stand in the settings, as JSON:
//!
//! ```json
//! {"tables": [{
//!   "name": "planets",
//!   "columns": [{"name": "id", "kind": "int64"}, {"name": "seen", "kind": "timestamp", "nullable": true}],
//!   "key": ["id"],
//!   "rows": [[1, "2026-01-02T03:04:05Z"], [2, null]]
//! }]}
//! ```

use std::cmp::Ordering;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use semilayer_plugin::options::Timestamp;
use semilayer_plugin::{Column, Kind, Value, serde_json};
use serde::Deserialize;
use serde_json::Value as Json;

/// All tables. As a setting it is text.
#[derive(Debug, Default, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Data {
    pub(crate) tables: Vec<Stored>,
}

/// One table, its rows in the order of their key.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) name: String,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Vec<Value>>,
}

#[derive(Deserialize)]
struct Tables {
    tables: Vec<Listed>,
}

#[derive(Deserialize)]
struct Listed {
    name: String,
    columns: Vec<ListedColumn>,
    key: Vec<String>,
    rows: Vec<Vec<Json>>,
}

#[derive(Deserialize)]
struct ListedColumn {
    name: String,
    kind: String,
    #[serde(default)]
    nullable: bool,
}

impl TryFrom<String> for Data {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let listed: Tables =
            serde_json::from_str(&text).map_err(|error| format!("tables as JSON ({error})"))?;
        Ok(Self { tables: listed.tables.into_iter().map(Stored::new).collect::<Result<_, _>>()? })
    }
}

impl Stored {
    fn new(listed: Listed) -> Result<Self, String> {
        let columns = listed
            .columns
            .into_iter()
            .map(|column| column.into_column(&listed.key))
            .collect::<Result<Vec<_>, _>>()?;
        let key: Vec<usize> = listed
            .key
            .iter()
            .map(|name| columns.iter().position(|column| column.name == *name))
            .collect::<Option<_>>()
            .ok_or_else(|| format!("a key of columns of {}", listed.name))?;
        let mut rows = Vec::with_capacity(listed.rows.len());
        for (index, row) in listed.rows.into_iter().enumerate() {
            rows.push(
                read_row(&columns, row)
                    .ok_or_else(|| format!("row {index} of {} to fit its columns", listed.name))?,
            );
        }
        rows.sort_by(|one, other| by_key(&key, one, other));
        Ok(Self { name: listed.name, columns, rows })
    }
}

impl ListedColumn {
    fn into_column(self, key: &[String]) -> Result<Column, String> {
        let kinds = [
            ("boolean", Kind::Boolean),
            ("int64", Kind::Int64),
            ("uint64", Kind::Uint64),
            ("float64", Kind::Float64),
            ("decimal", Kind::Decimal),
            ("text", Kind::Text),
            ("binary", Kind::Binary),
            ("date", Kind::Date),
            ("time", Kind::Time),
            ("timestamp", Kind::Timestamp),
            ("uuid", Kind::Uuid),
            ("json", Kind::Json),
        ];
        let kind = kinds.into_iter().find(|(name, _)| *name == self.kind);
        let (_, kind) = kind.ok_or_else(|| format!("a kind for column {}", self.name))?;
        let column = Column::new(self.name, kind);
        Ok(match (key.contains(&column.name), self.nullable) {
            (true, _) => column.key(),
            (false, false) => column.required(),
            (false, true) => column,
        })
    }
}

fn read_row(columns: &[Column], row: Vec<Json>) -> Option<Vec<Value>> {
    if row.len() != columns.len() {
        return None;
    }
    columns.iter().zip(row).map(|(column, json)| read_value(column, json)).collect()
}

fn read_value(column: &Column, json: Json) -> Option<Value> {
    if json.is_null() {
        return column.nullable.then_some(Value::Null);
    }
    Some(match column.kind {
        Kind::Boolean => Value::Bool(json.as_bool()?),
        Kind::Int64 => Value::Int(json.as_i64()?),
        Kind::Uint64 => Value::Uint(json.as_u64()?),
        Kind::Float64 => Value::Float(json.as_f64()?),
        Kind::Decimal | Kind::Text | Kind::Time | Kind::Uuid => match json {
            Json::String(text) => Value::Text(text),
            _ => return None,
        },
        Kind::Binary => Value::Bytes(STANDARD.decode(json.as_str()?).ok()?),
        Kind::Date => Value::Date(Timestamp::parse(json.as_str()?)?),
        Kind::Timestamp => Value::Timestamp(Timestamp::parse(json.as_str()?)?),
        Kind::Json => Value::Json(json),
    })
}

fn by_key(key: &[usize], one: &[Value], other: &[Value]) -> Ordering {
    let orders = key.iter().map(|column| match (one.get(*column), other.get(*column)) {
        (Some(one), Some(other)) => compare(one, other),
        _ => Ordering::Equal,
    });
    orders.fold(Ordering::Equal, Ordering::then)
}

/// Values of one column, neither of them null. Those that have no order of their own keep that of the settings.
fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (Value::Int(one), Value::Int(other)) => one.cmp(other),
        (Value::Uint(one), Value::Uint(other)) => one.cmp(other),
        (Value::Float(one), Value::Float(other)) => one.total_cmp(other),
        (Value::Text(one), Value::Text(other)) => one.cmp(other),
        (Value::Bytes(one), Value::Bytes(other)) => one.cmp(other),
        (Value::Date(one), Value::Date(other)) | (Value::Timestamp(one), Value::Timestamp(other)) => {
            one.cmp(other)
        }
        _ => Ordering::Equal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(text: &str) -> Result<Data, String> {
        Data::try_from(text.to_owned())
    }

    #[test]
    fn rows_stand_in_the_order_of_their_key() {
        let tables = data(
            r#"{"tables": [{"name": "t", "key": ["b", "a"], "rows": [[2, "x"], [1, "y"], [1, "x"]],
                "columns": [{"name": "a", "kind": "int64"}, {"name": "b", "kind": "text"}]}]}"#,
        );
        let rows = tables.unwrap().tables.remove(0).rows;
        let keys: Vec<_> = rows.iter().map(|row| (row[1].clone(), row[0].clone())).collect();
        let key = |text: &str, number: i64| (Value::from(text), Value::from(number));
        assert_eq!(keys, [key("x", 1), key("x", 2), key("y", 1)]);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        let table = |column: &str, row: &str| {
            format!(
                r#"{{"tables": [{{"name": "t", "key": ["a"], "columns": [{column}], "rows": [[1], {row}]}}]}}"#
            )
        };
        let good = r#"{"name": "a", "kind": "int64"}"#;
        assert!(data(&table(good, "[2]")).is_ok());
        for (column, row, words) in [
            (good, "[null]", "row 1 of t"),
            (good, "[1, 2]", "row 1 of t"),
            (good, "[\"x\"]", "row 1 of t"),
            (r#"{"name": "b", "kind": "int64"}"#, "[2]", "a key of columns of t"),
            (r#"{"name": "a", "kind": "int65"}"#, "[2]", "a kind for column a"),
        ] {
            let error = data(&table(column, row)).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
