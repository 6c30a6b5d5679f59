//! The contract that every bridge keeps, against real servers.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the helpers of a test may fail it, too"
)]

#[path = "support/server.rs"]
mod server;

use bridge_conformance::seed::{Seed, Table, Value};
use bridge_conformance::{Catalog, Database, Fixture, Offer, Options, SlowQuery};
use bridge_core::BoxFuture;
use protocol::SourceConfig;
use redis::Connection;
use semilayer_bridge_redis::Redis;
use server::{Prefix, Server};

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_redis() {
    holds(server::server()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_valkey() {
    holds(server::valkey()).await;
}

async fn holds(server: &'static Server) {
    let fixture = Databases { first: Prefix::on(server, 0), second: Prefix::on(server, 1) };
    let report = bridge_conformance::run(&Redis, &fixture, Options::default()).await;
    println!("{}", report.text());
    report.check().unwrap();
}

/// Tables that are made of hashes; the others are made of strings with JSON. Hashes cannot hold null.
const HASHES: [&str; 4] = ["small", "pairs", "regions", "places"];

/// Two logical databases of one server. Tables are prefixes.
struct Databases {
    first: Prefix,
    second: Prefix,
}

impl Databases {
    fn of(&self, database: Database) -> &Prefix {
        match database {
            Database::First => &self.first,
            Database::Second => &self.second,
        }
    }
}

impl Fixture for Databases {
    fn config(&self, database: Database) -> SourceConfig {
        serde_json::from_value(self.of(database).config()).unwrap()
    }

    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>> {
        let mut client = self.of(database).client();
        for table in &seed.tables {
            fill(&mut client, &self.target(table.name), table);
        }
        Box::pin(std::future::ready(Ok(())))
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        let server = self.first.server;
        Offer::Given(serde_json::from_value(server.config("reader", self.first.database)).unwrap())
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        Offer::Impossible(
            "no command that reads takes long by itself; tests/behaviour stops the server instead",
        )
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    /// One name in both databases, which a source that is led to the wrong one would show.
    fn target(&self, table: &str) -> String {
        format!("{}-{table}", self.first.name)
    }

    fn qualified_target(&self, _table: &str) -> Offer<String> {
        Offer::Impossible("a prefix of keys is in no schema")
    }

    fn catalog(&self) -> Catalog {
        Catalog::Rows { key: "_key" }
    }

    fn cursor(&self, table: &str, key: &str) -> String {
        format!("{}:{key}", self.target(table))
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        // Both databases have the names of the first.
        self.second.name.clone_from(&self.first.name);
    }
}

fn fill(client: &mut Connection, target: &str, table: &Table) {
    let mut pipeline = redis::pipe();
    let mut waiting = 0;
    for (index, row) in table.rows().enumerate() {
        let key = format!("{target}:{}", key_of(table, index, &row));
        if HASHES.contains(&table.name) {
            let names = table.columns.iter().map(|column| column.name.to_owned());
            let fields: Vec<(String, String)> = names.zip(row.iter().map(text)).collect();
            pipeline.cmd("HSET").arg(key).arg(fields).ignore();
        } else {
            pipeline.cmd("SET").arg(key).arg(document(table, &row)).ignore();
        }
        waiting += 1;
        if waiting == 1_000 {
            pipeline.exec(client).unwrap();
            pipeline.clear();
            waiting = 0;
        }
    }
    if waiting > 0 {
        pipeline.exec(client).unwrap();
    }
}

/// The seed's key as text; numbers that must sort are as long as each other.
fn key_of(table: &Table, index: usize, row: &[Value]) -> String {
    if table.name == "big" {
        return format!("{index:08}");
    }
    let part = |name: &&str| {
        let column = table.columns.iter().position(|column| column.name == *name).unwrap();
        text(&row[column])
    };
    table.key.iter().map(part).collect::<Vec<_>>().join("/")
}

fn text(value: &Value) -> String {
    json(value).as_str().map_or_else(|| json(value).to_string(), str::to_owned)
}

fn document(table: &Table, row: &[Value]) -> String {
    let field = |(column, value): (&bridge_conformance::seed::Column, &Value)| {
        let value = match value {
            // Every digit, as no document model of this language would keep them.
            Value::Decimal(text) | Value::Json(text) => text.clone(),
            other => json(other).to_string(),
        };
        format!("{}:{value}", serde_json::Value::from(column.name))
    };
    format!("{{{}}}", table.columns.iter().zip(row).map(field).collect::<Vec<_>>().join(","))
}

fn json(value: &Value) -> serde_json::Value {
    use base64::Engine;
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(value) => (*value).into(),
        Value::Integer(value) => (*value).into(),
        Value::Double(value) => (*value).into(),
        Value::Decimal(text) | Value::Text(text) | Value::Uuid(text) | Value::Json(text) => {
            text.as_str().into()
        }
        Value::Date(at) | Value::Timestamp(at) => at.to_string().into(),
        Value::Bytes(bytes) => base64::engine::general_purpose::STANDARD.encode(bytes).into(),
    }
}
