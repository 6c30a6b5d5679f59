//! The contract that every bridge keeps, against a real server.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "the helpers of a test may fail it and show its report"
)]

#[path = "support/database.rs"]
mod database;
#[path = "support/server.rs"]
mod server;

use std::fmt::Write as _;

use bridge_conformance::seed::{self, Kind, Seed, Table, Value};
use bridge_conformance::{Database, Fixture, Offer, Options, SlowQuery};
use bridge_core::BoxFuture;
use bytes::Bytes;
use futures::SinkExt;
use protocol::{QueryOptions, SourceConfig};
use semilayer_bridge_postgres::{Cockroachdb, Neon, Postgres, PostgresDriver, Supabase};
use tokio_postgres::Client;

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds() {
    holds(&Postgres, Form::Fields, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_for_neon() {
    holds(&Neon, Form::Url, &[]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_for_supabase() {
    holds(&Supabase, Form::Url, &[]).await;
}

/// No CockroachDB is met here. What its dialect shares with PostgreSQL's is, over its functions as far as they can be
/// made of PostgreSQL's own; where nulls sort first, the two differ, and cases that show it are left out.
#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_for_what_cockroachdb_shares_with_postgresql() {
    holds(&Cockroachdb, Form::Fields, NULLS_FIRST).await;
}

const NULLS_FIRST: &[&str] = &["K1", "K2"];

/// Runs the suite, or all of it but some cases.
async fn holds(driver: &PostgresDriver, form: Form, without: &[&str]) {
    let first = database::Database::create().await;
    let fixture = Databases { first, second: database::Database::create().await, form };
    let ids = bridge_conformance::cases().into_iter().map(|case| case.id);
    assert!(without.iter().all(|id| ids.clone().any(|known| known == *id)), "a case that is none");
    let only = ids.filter(|id| !without.contains(id)).map(str::to_owned).collect();
    let report = bridge_conformance::run(driver, &fixture, Options { only, ..Options::default() }).await;
    println!("{}", report.text());
    report.check().unwrap();
}

/// How a configuration says where the database is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Fields,
    Url,
}

/// Two databases of one server.
struct Databases {
    first: database::Database,
    second: database::Database,
    form: Form,
}

/// Sleeps for minutes before it has its one row; `reader` may read everything.
const SLOW: &str = "CREATE VIEW slow AS SELECT pg_sleep(600)::text AS slept";
/// CockroachDB's own.
const STRFTIME: &str = "CREATE FUNCTION public.experimental_strftime(at timestamp, format text) RETURNS text
    LANGUAGE sql IMMUTABLE AS $$ SELECT to_char(at, replace(replace(replace(replace(replace(replace(replace(format,
        '%Y', 'YYYY'), '%m', 'MM'), '%d', 'DD'), 'T%H', '\"T\"HH24'), '%M', 'MI'), '%S', 'SS'), '%f', 'US')) $$";
const READER: &str =
    "GRANT USAGE ON SCHEMA public TO reader; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader";

impl Databases {
    fn of(&self, database: Database) -> &database::Database {
        match database {
            Database::First => &self.first,
            Database::Second => &self.second,
        }
    }

    fn config_of(&self, database: Database, role: &str) -> SourceConfig {
        let database = self.of(database);
        let config = match self.form {
            Form::Fields => database.config_of(role),
            Form::Url => serde_json::json!({ "url": database.url_of(role) }),
        };
        serde_json::from_value(config).unwrap()
    }
}

impl Fixture for Databases {
    fn config(&self, database: Database) -> SourceConfig {
        self.config_of(database, "app")
    }

    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let client = self.of(database).client("admin").await;
            fill(&client, seed).await.map_err(|error| format!("{error:?}"))
        })
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        Offer::Given(self.config_of(Database::First, "reader"))
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        Offer::Given(SlowQuery { target: "slow".to_owned(), options: QueryOptions::default() })
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(async {
            let sleeping = "SELECT count(*) > 0 FROM pg_stat_activity \
                WHERE datname = current_database() AND wait_event = 'PgSleep'";
            Ok(self.first.value(sleeping).await == "true")
        })
    }

    fn qualified_target(&self, table: &str) -> Offer<String> {
        Offer::Given(format!("public.{}", self.target(table)))
    }
}

async fn fill(client: &Client, seed: &Seed) -> Result<(), tokio_postgres::Error> {
    for table in &seed.tables {
        client.batch_execute(&definition(table)).await?;
        let mut copy =
            std::pin::pin!(client.copy_in(&format!("COPY {} FROM STDIN", quoted(table.name))).await?);
        for row in table.rows() {
            copy.send(Bytes::from(copied(&row))).await?;
        }
        copy.close().await?;
    }
    client
        .batch_execute(&format!(
            "ANALYZE; ALTER SCHEMA public OWNER TO app; {SLOW}; {STRFTIME}; {READER}; {APP}"
        ))
        .await
}

/// `admin` has made the tables.
const APP: &str = "GRANT SELECT ON ALL TABLES IN SCHEMA public TO app";

fn definition(table: &Table) -> String {
    let column = |column: &seed::Column| {
        let null = if column.nullable { "" } else { " NOT NULL" };
        format!("{} {}{null}", quoted(column.name), type_name(column.kind))
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    let key: Vec<String> = table.key.iter().map(|name| quoted(name)).collect();
    format!("CREATE TABLE {} ({}, PRIMARY KEY ({}))", quoted(table.name), columns.join(", "), key.join(", "))
}

fn type_name(kind: Kind) -> String {
    match kind {
        Kind::Integer => "integer",
        Kind::BigInteger => "bigint",
        Kind::Decimal { precision, scale } => return format!("numeric({precision}, {scale})"),
        Kind::Double => "double precision",
        Kind::Boolean => "boolean",
        Kind::Text => "text",
        Kind::Uuid => "uuid",
        Kind::Date => "date",
        Kind::Timestamp => "timestamptz",
        Kind::NaiveTimestamp => "timestamp",
        Kind::Bytes => "bytea",
        Kind::Json => "jsonb",
    }
    .to_owned()
}

/// A line of COPY's text format.
fn copied(row: &[Value]) -> String {
    let mut line = String::new();
    for (index, value) in row.iter().enumerate() {
        line.push_str(if index > 0 { "\t" } else { "" });
        match value {
            Value::Null => line.push_str("\\N"),
            Value::Bool(value) => line.push_str(if *value { "t" } else { "f" }),
            Value::Integer(value) => write!(line, "{value}").unwrap(),
            Value::Double(value) => write!(line, "{value:?}").unwrap(),
            Value::Decimal(text) | Value::Text(text) | Value::Uuid(text) | Value::Json(text) => {
                line.push_str(&escaped(text));
            }
            Value::Date(instant) | Value::Timestamp(instant) => write!(line, "{instant}").unwrap(),
            Value::Bytes(bytes) => {
                line.push_str("\\\\x");
                bytes.iter().for_each(|byte| write!(line, "{byte:02x}").unwrap());
            }
        }
    }
    line.push('\n');
    line
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\t', "\\t").replace('\n', "\\n").replace('\r', "\\r")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
