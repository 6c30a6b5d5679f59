//! Template as a bridge, once it is written: tables that lie behind a URL as files of NDJSON, with a `schema.json` that says
//! what they are.
//!
//! The tests of `semilayer-runner plugin` put this in the place of `src/lib.rs`. The files are those that
//! `plugin test --seed` hands to a seed command.

use std::cmp::Ordering;

use semilayer_plugin::options::{Projection, ReadOptions, Timestamp};
use semilayer_plugin::serde_json::{self, Value as Json};
use semilayer_plugin::{
    Bridge, Column, Description, Error, Field, Filled, Kind, Rows, Schema, Tail, Value, http,
};
use serde::Deserialize;

/// A folder behind a URL.
#[derive(Debug)]
pub struct Connection {
    client: http::Client,
    tables: Vec<Table>,
}

/// Where it is.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Config {
    base_url: String,
}

/// What `schema.json` says.
#[derive(Debug, Deserialize)]
struct Catalog {
    tables: Vec<Listed>,
}

#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    file: String,
    rows: u64,
    columns: Vec<ListedColumn>,
    key: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct ListedColumn {
    name: String,
    kind: String,
    nullable: bool,
}

/// A table as the runner sees it.
#[derive(Debug)]
struct Table {
    name: String,
    file: String,
    rows: u64,
    columns: Vec<Column>,
    /// Where the key's columns stand, in the order of the key.
    key: Vec<usize>,
}

impl Bridge for Connection {
    type Config = Config;

    fn describe() -> Description {
        Description::new("@example/bridge-template", "Template")
            .version(env!("CARGO_PKG_VERSION"))
            .field(Field::text("baseUrl", "Base URL").required().endpoint())
    }

    fn connect(config: Config) -> Result<Self, Error> {
        let client = http::Client::new(&config.base_url).map_err(|error| error.field("baseUrl"))?;
        let catalog: Catalog = client.get("schema.json").fetch()?;
        let tables = catalog.tables.into_iter().map(Table::new).collect::<Option<_>>();
        let tables = tables.ok_or_else(|| Error::query_failed("schema.json makes no sense"))?;
        Ok(Self { client, tables })
    }

    fn targets(&mut self) -> Result<Vec<String>, Error> {
        Ok(self.tables.iter().map(|table| table.name.clone()).collect())
    }

    fn schema(&mut self, target: &str) -> Result<Schema, Error> {
        let table = self.table(target)?;
        Ok(Schema::new(table.columns.iter().cloned()).rows(table.rows))
    }

    fn read(&mut self, target: &str, options: ReadOptions) -> Result<Rows, Error> {
        let table = self.table(target)?;
        let wanted = table.wanted(&options.projection)?;
        let columns: Vec<Column> = wanted.iter().filter_map(|at| table.columns.get(*at).cloned()).collect();
        let rows = table.rows(&self.client.get(&table.file).send()?.ok()?.text()?)?;
        let first = match options.cursor.as_deref().map(str::parse::<usize>) {
            None => 0,
            Some(Ok(first)) => first,
            Some(Err(_)) => return Err(Error::invalid_request("cursor", "a cursor of this target")),
        };
        let limit = usize::try_from(options.limit).unwrap_or(usize::MAX);
        let end = rows.len().min(first.saturating_add(limit));
        let next_cursor = (end < rows.len()).then(|| end.to_string());
        let tail = Tail { next_cursor, total: Some(rows.len() as u64), ..Tail::default() };
        let mut page = rows.into_iter().take(end).skip(first);
        Ok(Rows::table(columns, move |out| {
            let Some(row) = page.next() else { return Ok(Filled::End(tail.clone())) };
            for at in &wanted {
                out.push(row.get(*at));
            }
            out.end_row()?;
            Ok(Filled::More)
        }))
    }
}

semilayer_plugin::export!(Connection);

impl Connection {
    fn table(&self, target: &str) -> Result<&Table, Error> {
        self.tables.iter().find(|table| table.name == target).ok_or_else(|| Error::not_found(target))
    }
}

impl Table {
    fn new(listed: Listed) -> Option<Self> {
        let Listed { name, file, rows, columns, key } = listed;
        let column = |listed: ListedColumn| {
            let column = Column::new(listed.name, kind_of(&listed.kind)?);
            Some(match (key.contains(&column.name), listed.nullable) {
                (true, _) => column.key(),
                (false, false) => column.required(),
                (false, true) => column,
            })
        };
        let columns: Vec<Column> = columns.into_iter().map(column).collect::<Option<_>>()?;
        let position = |name: &String| columns.iter().position(|column| column.name == *name);
        let key = key.iter().map(position).collect::<Option<_>>()?;
        Some(Self { name, file, rows, columns, key })
    }

    fn wanted(&self, projection: &Projection) -> Result<Vec<usize>, Error> {
        let Some(pairs) = projection.pairs() else { return Ok((0..self.columns.len()).collect()) };
        let position = |(_, name): (&str, &str)| {
            let position = self.columns.iter().position(|column| column.name == name);
            position.ok_or_else(|| Error::invalid_request(name, "a column of this target"))
        };
        pairs.into_iter().map(position).collect()
    }

    /// All rows, in the order of the key.
    fn rows(&self, lines: &str) -> Result<Vec<Vec<Value>>, Error> {
        let mut rows = Vec::new();
        for (number, line) in lines.lines().enumerate() {
            let row = self.row(line);
            rows.push(
                row.ok_or_else(|| Error::query_failed(format!("line {} of {}", number + 1, self.file)))?,
            );
        }
        rows.sort_by(|one, other| {
            let orders = self.key.iter().map(|at| compare(&one[*at], &other[*at]));
            orders.fold(Ordering::Equal, Ordering::then)
        });
        Ok(rows)
    }

    fn row(&self, line: &str) -> Option<Vec<Value>> {
        let mut fields: serde_json::Map<String, Json> = serde_json::from_str(line).ok()?;
        let value = |column: &Column| value_of(column.kind, fields.remove(&column.name)?);
        self.columns.iter().map(value).collect()
    }
}

fn kind_of(name: &str) -> Option<Kind> {
    Some(match name {
        "boolean" => Kind::Boolean,
        "int64" => Kind::Int64,
        "float64" => Kind::Float64,
        "decimal" => Kind::Decimal,
        "text" => Kind::Text,
        "binary" => Kind::Binary,
        "date" => Kind::Date,
        "timestamp" => Kind::Timestamp,
        "uuid" => Kind::Uuid,
        "json" => Kind::Json,
        _ => return None,
    })
}

fn value_of(kind: Kind, json: Json) -> Option<Value> {
    Some(match (kind, json) {
        (_, Json::Null) => Value::Null,
        (Kind::Boolean, Json::Bool(value)) => Value::Bool(value),
        (Kind::Int64, Json::Number(number)) => Value::Int(number.as_i64()?),
        (Kind::Float64, Json::Number(number)) => Value::Float(number.as_f64()?),
        (Kind::Date, Json::String(text)) => Value::Date(Timestamp::parse(&text)?),
        (Kind::Timestamp, Json::String(text)) => Value::Timestamp(Timestamp::parse(&text)?),
        (Kind::Binary, Json::String(text)) => Value::Bytes(decode(&text)?),
        (Kind::Json, json) => Value::Json(json),
        (_, Json::String(text)) => Value::Text(text),
        _ => return None,
    })
}

/// Values of one column of a key.
fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::Int(one), Value::Int(other)) => one.cmp(other),
        (Value::Text(one), Value::Text(other)) => one.cmp(other),
        (Value::Bytes(one), Value::Bytes(other)) => one.cmp(other),
        (Value::Date(one), Value::Date(other)) | (Value::Timestamp(one), Value::Timestamp(other)) => {
            one.cmp(other)
        }
        _ => Ordering::Equal,
    }
}

/// Base64 with padding.
fn decode(text: &str) -> Option<Vec<u8>> {
    let (mut bytes, mut bits, mut count) = (Vec::new(), 0_u32, 0);
    for byte in text.trim_end_matches('=').bytes() {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xfff;
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push(u8::try_from(bits >> count & 0xff).ok()?);
        }
    }
    Some(bytes)
}
