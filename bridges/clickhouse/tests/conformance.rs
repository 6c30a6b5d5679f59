//! The contract that every bridge keeps, against a real server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "the helpers of a test may fail it, too"
)]

#[path = "support/database.rs"]
mod database;
#[path = "support/server.rs"]
mod server;

use std::fmt::Write as _;

use bridge_conformance::seed::{self, Kind, Seed, Table, Value};
use bridge_conformance::{Database, Fixture, Offer, Options, SlowQuery};
use bridge_core::BoxFuture;
use protocol::{QueryOptions, SourceConfig};
use semilayer_bridge_clickhouse::Clickhouse;

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    let fixture = Databases { first: database::Database::create(), second: database::Database::create() };
    let report = bridge_conformance::run(&Clickhouse, &fixture, Options::default()).await;
    println!("{}", report.text());
    report.check().unwrap();
}

/// Two databases of one server.
struct Databases {
    first: database::Database,
    second: database::Database,
}

/// Counts for hours before it has its one row.
const SLOW: &str = "CREATE VIEW slow AS SELECT count() AS counted FROM numbers(100000000000000)";
/// The columns of the seed that hold bytes, which ClickHouse keeps as text.
const BYTES: &str = "by_bytes.key, wide.blob";
/// Rows of one INSERT.
const ROWS: usize = 5_000;

impl Databases {
    fn of(&self, database: Database) -> &database::Database {
        match database {
            Database::First => &self.first,
            Database::Second => &self.second,
        }
    }

    fn config_of(&self, database: Database, role: &str) -> SourceConfig {
        let mut config = self.of(database).config_of(role);
        config["binaryColumns"] = BYTES.into();
        serde_json::from_value(config).unwrap()
    }
}

impl Fixture for Databases {
    fn config(&self, database: Database) -> SourceConfig {
        self.config_of(database, "app")
    }

    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>> {
        let filled = fill(self.of(database), seed);
        Box::pin(std::future::ready(filled))
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        Offer::Given(self.config_of(Database::First, "reader"))
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        Offer::Given(SlowQuery { target: "slow".to_owned(), options: QueryOptions::default() })
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(std::future::ready(Ok(self.first.running("`slow`") > 0)))
    }

    fn qualified_target(&self, table: &str) -> Offer<String> {
        Offer::Given(format!("{}.{}", self.first.name, self.target(table)))
    }
}

fn fill(database: &database::Database, seed: &Seed) -> Result<(), String> {
    for table in &seed.tables {
        database.ask(&definition(table))?;
        let rows: Vec<Vec<Value>> = table.rows().collect();
        for rows in rows.chunks(ROWS) {
            let lines: String = rows.iter().map(|row| tab_separated(row)).collect();
            database.ask(&format!("INSERT INTO {} FORMAT TabSeparated\n{lines}", quoted(table.name)))?;
        }
    }
    database.ask(SLOW).map(drop)
}

fn definition(table: &Table) -> String {
    let column = |column: &seed::Column| {
        let kind = type_name(column.kind);
        let kind = if column.nullable { format!("Nullable({kind})") } else { kind };
        format!("{} {kind}", quoted(column.name))
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    let key: Vec<String> = table.key.iter().map(|name| quoted(name)).collect();
    let (name, columns, key) = (quoted(table.name), columns.join(", "), key.join(", "));
    format!("CREATE TABLE {name} ({columns}) ENGINE = MergeTree ORDER BY ({key})")
}

fn type_name(kind: Kind) -> String {
    match kind {
        Kind::Integer => "Int32",
        Kind::BigInteger => "Int64",
        Kind::Decimal { precision, scale } => return format!("Decimal({precision}, {scale})"),
        Kind::Double => "Float64",
        Kind::Boolean => "Bool",
        // A JSON column holds objects alone.
        Kind::Text | Kind::Bytes | Kind::Json => "String",
        Kind::Uuid => "UUID",
        Kind::Date => "Date32",
        Kind::Timestamp | Kind::NaiveTimestamp => "DateTime64(6, 'UTC')",
    }
    .to_owned()
}

/// A line of tab-separated text.
fn tab_separated(row: &[Value]) -> String {
    let mut line = String::new();
    for (index, value) in row.iter().enumerate() {
        line.push_str(if index > 0 { "\t" } else { "" });
        match value {
            Value::Null => line.push_str("\\N"),
            Value::Bool(value) => write!(line, "{value}").unwrap(),
            Value::Integer(value) => write!(line, "{value}").unwrap(),
            Value::Double(value) => write!(line, "{value:?}").unwrap(),
            Value::Decimal(text) | Value::Text(text) | Value::Uuid(text) | Value::Json(text) => {
                line.push_str(&escaped(text));
            }
            Value::Date(instant) => line.push_str(&instant.to_string()[..10]),
            Value::Timestamp(instant) => {
                line.push_str(instant.to_string().replace('T', " ").trim_end_matches('Z'));
            }
            Value::Bytes(bytes) => bytes.iter().for_each(|byte| write!(line, "\\x{byte:02x}").unwrap()),
        }
    }
    line.push('\n');
    line
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}
