//! The contract of all bridges, kept by the plugin in the runner's plugin host, over real servers.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

#[path = "support/plugin.rs"]
mod plugin;
#[path = "support/server.rs"]
mod server;
#[path = "support/tabled.rs"]
mod tabled;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_conformance::seed::{Decimals, Instants, Kind, Seed, Table, Value};
use bridge_conformance::{Changed, Database, Fixture, Offer, Options, SlowQuery};
use bridge_core::BoxFuture;
use plugins_host::Plugin;
use protocol::SourceConfig;
use serde_json::{Map, Value as Json, json};

use crate::server::{Server, servers};
use crate::tabled::Tabled;

/// Keys that are as long as each other sort as their numbers do; that matters for the table that is large.
const DIGITS: usize = 8;

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    let plugin = plugin::load().await;
    for (number, first) in servers().iter().enumerate() {
        let second = Server::beside(first);
        let fixture =
            Search { first, second: &second, prefix: format!("contract-{}-{number}", std::process::id()) };
        let driver = Changed::<Plugin, _>::new(plugin.clone(), Tabled { prefix: fixture.prefix.clone() });
        let report = bridge_conformance::run(&driver, &fixture, options(first)).await;
        println!("{}\n{}", first.title(), report.text());
        first.remove(&fixture.prefix);
        second.remove(&fixture.prefix);
        report.check().unwrap();
    }
}

/// Cases that know what a cursor looks like. Elasticsearch does not sort by `_id`, so that there it is no plain key.
const PLAIN_CURSORS: [&str; 2] = ["5A-4", "5A-5"];

fn options(server: &Server) -> Options {
    let only = match server.sorts_by_id() {
        true => Vec::new(),
        false => {
            let cases = bridge_conformance::cases().into_iter().map(|case| case.id.to_owned());
            cases.filter(|id| !PLAIN_CURSORS.contains(&id.as_str())).collect()
        }
    };
    Options { only, ..Options::default() }
}

/// Two servers. Tables are indices, of the same names on both.
struct Search<'a> {
    first: &'a Server,
    second: &'a Server,
    prefix: String,
}

impl Search<'_> {
    fn server(&self, database: Database) -> &Server {
        match database {
            Database::First => self.first,
            Database::Second => self.second,
        }
    }
}

impl Fixture for Search<'_> {
    fn config(&self, database: Database) -> SourceConfig {
        self.server(database).config()
    }

    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let server = self.server(database);
            for table in &seed.tables {
                fill(server, &self.target(table.name), table);
            }
            Ok(())
        })
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        Offer::Impossible("these servers know no users")
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        Offer::Impossible("no search takes long by itself; tests/behaviour stops the server instead")
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    fn target(&self, table: &str) -> String {
        tabled::index(&self.prefix, table)
    }

    fn qualified_target(&self, _table: &str) -> Offer<String> {
        Offer::Impossible("an index is in no schema")
    }

    fn decimals(&self) -> Decimals {
        Decimals::Doubles
    }

    fn instants(&self) -> Instants {
        Instants::Milliseconds
    }
}

/// An index with the table's columns and no others, and its documents, of which `_id` is the key.
fn fill(server: &Server, index: &str, table: &Table) {
    let mut properties = Map::new();
    for column in &table.columns {
        let mapping = mapping(server, column.kind);
        match column.name.split_once('.') {
            // A name with a dot is a path.
            Some((outer, inner)) => {
                properties.insert(outer.to_owned(), json!({"properties": {inner: mapping}}))
            }
            None => properties.insert(column.name.to_owned(), mapping),
        };
    }
    server.create(index, &json!({"mappings": {"dynamic": "strict", "properties": properties}}));
    let documents: Vec<(String, Json)> = table.rows().map(|row| document(table, &row)).collect();
    for batch in documents.chunks(2_000) {
        server.insert(index, batch);
    }
    server.refresh(index);
}

fn mapping(server: &Server, kind: Kind) -> Json {
    match kind {
        Kind::Integer => json!({"type": "integer"}),
        // The stand-in keeps such numbers as doubles. It is asked for none of them, so that they are compared here.
        Kind::BigInteger if server.is_stand_in() => {
            json!({"type": "long", "index": false, "doc_values": false})
        }
        Kind::BigInteger => json!({"type": "long"}),
        Kind::Decimal { .. } | Kind::Double => json!({"type": "double"}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Text | Kind::Uuid => json!({"type": "keyword"}),
        Kind::Date | Kind::Timestamp | Kind::NaiveTimestamp => json!({"type": "date"}),
        Kind::Bytes => json!({"type": "binary"}),
        Kind::Json => json!({"type": "object", "enabled": false}),
    }
}

fn document(table: &Table, row: &[Value]) -> (String, Json) {
    let mut document = Map::new();
    for (column, value) in table.columns.iter().zip(row) {
        document.insert(column.name.to_owned(), json(value));
    }
    let key = table.key.iter().map(|key| match &document[*key] {
        Json::String(text) => text.clone(),
        other if table.name == "big" => format!("{:0>DIGITS$}", other.to_string()),
        other => other.to_string(),
    });
    let key = key.collect::<Vec<_>>().join("/");
    (key, Json::Object(document))
}

/// The value of a column as a document has it.
fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Bool(value) => json!(value),
        Value::Integer(value) => json!(value),
        Value::Decimal(text) => json!(text.parse::<f64>().unwrap()),
        Value::Double(value) => json!(value),
        Value::Text(text) | Value::Uuid(text) => json!(text),
        Value::Date(at) | Value::Timestamp(at) => json!(at.to_string()),
        Value::Bytes(bytes) => json!(STANDARD.encode(bytes)),
        Value::Json(text) => serde_json::from_str(text).unwrap(),
    }
}
