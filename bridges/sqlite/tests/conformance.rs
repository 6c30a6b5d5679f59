//! The contract that every bridge keeps, against SQLite files.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it, too")]

#[path = "support/scratch.rs"]
mod scratch;

use std::time::Duration;

use bridge_conformance::seed::{self, Decimals, Kind, Seed, Table, Value};
use bridge_conformance::{Database, Fixture, Offer, Options, SlowQuery};
use bridge_core::BoxFuture;
use protocol::{QueryOptions, SourceConfig};
use rusqlite::types::ToSqlOutput;
use rusqlite::{Connection, ErrorCode, ToSql, params_from_iter};
use scratch::Scratch;
use semilayer_bridge_sqlite::Sqlite;

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    let fixture = Files(Scratch::new());
    let report = bridge_conformance::run(&Sqlite, &fixture, Options::default()).await;
    println!("{}", report.text());
    report.check().unwrap();
}

/// Two database files in a folder.
struct Files(Scratch);

/// Counts for minutes before it has its one row.
const SLOW: &str = "CREATE VIEW slow AS WITH RECURSIVE counted(n) AS \
    (SELECT 1 UNION ALL SELECT n + 1 FROM counted WHERE n < 1000000000000) SELECT max(n) AS n FROM counted";

impl Files {
    fn name(database: Database) -> &'static str {
        match database {
            Database::First => "first.db",
            Database::Second => "second.db",
        }
    }
}

impl Fixture for Files {
    fn config(&self, database: Database) -> SourceConfig {
        let path = self.0.path(Self::name(database));
        serde_json::from_value(serde_json::json!({ "path": path })).unwrap()
    }

    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>> {
        let mut connection = self.0.writer(Self::name(database));
        let seeded = fill(&mut connection, seed).and_then(|()| connection.execute_batch(SLOW));
        Box::pin(std::future::ready(seeded.map_err(|error| error.to_string())))
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        Offer::Impossible("a file has no roles; the bridge can do no more than read anyway")
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        Offer::Given(SlowQuery { target: "slow".to_owned(), options: QueryOptions::default() })
    }

    /// As long as a statement runs, it holds the file's read lock, and nobody can lock the file for himself.
    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        let connection = self.0.writer(Self::name(Database::First));
        connection.busy_timeout(Duration::ZERO).unwrap();
        let alone = connection.execute_batch("BEGIN EXCLUSIVE; ROLLBACK");
        Box::pin(std::future::ready(match alone {
            Ok(()) => Ok(false),
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => Ok(true),
            Err(error) => Err(error.to_string()),
        }))
    }

    fn qualified_target(&self, table: &str) -> Offer<String> {
        Offer::Given(format!("main.{}", self.target(table)))
    }

    fn decimals(&self) -> Decimals {
        Decimals::Doubles
    }

    fn compares_as_text(&self) -> bool {
        true
    }
}

fn fill(connection: &mut Connection, seed: &Seed) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    for table in &seed.tables {
        transaction.execute_batch(&definition(table))?;
        let places = vec!["?"; table.columns.len()].join(", ");
        let mut insert =
            transaction.prepare(&format!("INSERT INTO {} VALUES ({places})", quoted(table.name)))?;
        for row in table.rows() {
            insert.execute(params_from_iter(row.iter().map(Stored)))?;
        }
    }
    transaction.commit()
}

fn definition(table: &Table) -> String {
    let column = |column: &seed::Column| {
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("{} {}{null}", quoted(column.name), type_name(column.kind))
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    let key: Vec<String> = table.key.iter().map(|name| quoted(name)).collect();
    format!("CREATE TABLE {} ({}, PRIMARY KEY ({}))", quoted(table.name), columns.join(", "), key.join(", "))
}

fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Integer => "INTEGER",
        Kind::BigInteger => "BIGINT",
        Kind::Decimal { .. } => "DECIMAL(20, 6)",
        Kind::Double => "REAL",
        Kind::Boolean => "BOOLEAN",
        Kind::Text => "TEXT",
        Kind::Uuid => "UUID",
        Kind::Date => "DATE",
        Kind::Timestamp | Kind::NaiveTimestamp => "DATETIME",
        Kind::Bytes => "BLOB",
        Kind::Json => "JSON",
    }
}

struct Stored<'a>(&'a Value);

impl ToSql for Stored<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Value::Null => rusqlite::types::Null.into(),
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => (*value).into(),
            Value::Double(value) => (*value).into(),
            Value::Decimal(text) | Value::Text(text) | Value::Uuid(text) | Value::Json(text) => {
                text.as_str().into()
            }
            Value::Date(day) | Value::Timestamp(day) => day.to_string().into(),
            Value::Bytes(bytes) => bytes.as_slice().into(),
        })
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
