//! The contract that every bridge keeps, against real servers.

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
use bridge_conformance::{Fixture, Offer, Options, SlowQuery};
use bridge_core::BoxFuture;
use mysql_async::Conn;
use mysql_async::prelude::Queryable;
use protocol::{QueryOptions, SourceConfig};
use semilayer_bridge_mysql::{Mariadb, Mysql, MysqlDriver, Planetscale};
use serde_json::json;

use database::Database;
use server::Engine;

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_mysql() {
    the_contract_holds(Mysql, Engine::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_mariadb() {
    the_contract_holds(Mariadb, Engine::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_on_mariadb_11() {
    the_contract_holds(Mariadb, Engine::Mariadb11).await;
}

/// PlanetScale's own settings of a session, time limit and TLS, on a MySQL that is not behind its proxy.
#[tokio::test(flavor = "multi_thread")]
async fn the_contract_holds_for_planetscales_driver() {
    the_contract_holds(Planetscale, Engine::Mysql).await;
}

#[expect(clippy::print_stdout, reason = "the report is what a reader of the test wants to see")]
async fn the_contract_holds(driver: MysqlDriver, engine: Engine) {
    let databases =
        Databases { first: Database::create(engine).await, second: Database::create(engine).await };
    let report = bridge_conformance::run(&driver, &databases, Options::default()).await;
    println!("{}", report.text());
    report.check().unwrap();
}

/// Two databases of one server.
struct Databases {
    first: Database,
    second: Database,
}

impl Databases {
    fn of(&self, database: bridge_conformance::Database) -> &Database {
        match database {
            bridge_conformance::Database::First => &self.first,
            bridge_conformance::Database::Second => &self.second,
        }
    }

    fn config_as(&self, database: &Database, user: &str, password: &str) -> SourceConfig {
        let server = database.server;
        serde_json::from_value(json!({
            "host": "localhost", "port": server.port, "database": database.name, "user": user,
            "password": password, "sslrootcert": server.ca, "sslmode": "verify_identity",
        }))
        .unwrap()
    }

    /// An account that may read the first database, named after it.
    fn reader(&self) -> String {
        format!("r_{}", self.first.name)
    }
}

const READER_PASSWORD: &str = "reader's \"pass\\word\"";
/// Sleeps for minutes before it has its one row.
const SLOW: &str = "CREATE VIEW slow AS SELECT SLEEP(600) AS slept";

impl Fixture for Databases {
    fn config(&self, database: bridge_conformance::Database) -> SourceConfig {
        let database = self.of(database);
        self.config_as(database, database.server.user("app"), database.server.password("app"))
    }

    fn seed<'a>(
        &'a self,
        database: bridge_conformance::Database,
        seed: &'a Seed,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move {
            let mut client = self.of(database).client().await;
            fill(&mut client, seed).await.map_err(|error| format!("{error:?}"))?;
            if database == bridge_conformance::Database::First {
                let reader = self.reader();
                let password = READER_PASSWORD.replace('\\', "\\\\").replace('\'', "''");
                for statement in [
                    SLOW.to_owned(),
                    format!("DROP USER IF EXISTS '{reader}'@'%'"),
                    format!("CREATE USER '{reader}'@'%' IDENTIFIED BY '{password}'"),
                    format!("GRANT SELECT ON {}.* TO '{reader}'@'%'", self.first.name),
                ] {
                    client.query_drop(&statement).await.map_err(|error| format!("{statement}: {error}"))?;
                }
            }
            Ok(())
        })
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        Offer::Given(self.config_as(&self.first, &self.reader(), READER_PASSWORD))
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        Offer::Given(SlowQuery { target: "slow".to_owned(), options: QueryOptions::default() })
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(async { Ok(self.first.running().await > 0) })
    }

    fn qualified_target(&self, table: &str) -> Offer<String> {
        Offer::Given(format!("{}.{}", self.first.name, self.target(table)))
    }
}

impl Drop for Databases {
    fn drop(&mut self) {
        let (server, reader) = (self.first.server, self.reader());
        let drop_it = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut app = database::client(server, None).await;
                app.query_drop(format!("DROP USER IF EXISTS '{reader}'@'%'")).await.unwrap();
            });
        };
        std::thread::scope(|scope| scope.spawn(drop_it).join().ok());
    }
}

/// Rows of one statement.
const CHUNK: usize = 500;

async fn fill(client: &mut Conn, seed: &Seed) -> Result<(), mysql_async::Error> {
    for table in &seed.tables {
        client.query_drop(definition(table)).await?;
        let rows: Vec<String> = table.rows().map(|row| values(&row)).collect();
        for rows in rows.chunks(CHUNK) {
            client
                .query_drop(format!("INSERT INTO {} VALUES {}", quoted(table.name), rows.join(", ")))
                .await?;
        }
    }
    Ok(())
}

fn definition(table: &Table) -> String {
    let is_key = |column: &seed::Column| table.key.contains(&column.name);
    let column = |column: &seed::Column| {
        let null = if column.nullable { "NULL" } else { "NOT NULL" };
        format!("{} {} {null}", quoted(column.name), type_name(column.kind, is_key(column)))
    };
    let columns: Vec<String> = table.columns.iter().map(column).collect();
    let key: Vec<String> = table.key.iter().map(|name| quoted(name)).collect();
    format!("CREATE TABLE {} ({}, PRIMARY KEY ({}))", quoted(table.name), columns.join(", "), key.join(", "))
}

fn type_name(kind: Kind, is_key: bool) -> String {
    match kind {
        Kind::Integer => "INT",
        Kind::BigInteger => "BIGINT",
        Kind::Decimal { precision, scale } => return format!("DECIMAL({precision}, {scale})"),
        Kind::Double => "DOUBLE",
        Kind::Boolean => "BOOLEAN",
        Kind::Text if is_key => "VARCHAR(200)",
        Kind::Text => "TEXT",
        Kind::Uuid => "CHAR(36)",
        Kind::Date => "DATE",
        // A TIMESTAMP ends in 2038 and begins in 1970, and the seed does not.
        Kind::Timestamp | Kind::NaiveTimestamp => "DATETIME(6)",
        Kind::Bytes if is_key => "VARBINARY(200)",
        Kind::Bytes => "BLOB",
        Kind::Json => "JSON",
    }
    .to_owned()
}

fn values(row: &[Value]) -> String {
    let mut text = String::from("(");
    for (index, value) in row.iter().enumerate() {
        text.push_str(if index > 0 { ", " } else { "" });
        match value {
            Value::Null => text.push_str("NULL"),
            Value::Bool(value) => text.push_str(if *value { "TRUE" } else { "FALSE" }),
            Value::Integer(value) => write!(text, "{value}").unwrap(),
            Value::Double(value) => write!(text, "{value:e}").unwrap(),
            Value::Decimal(digits) => text.push_str(digits),
            Value::Text(value) | Value::Uuid(value) | Value::Json(value) => {
                write!(text, "_utf8mb4 {}", hex(value.as_bytes())).unwrap();
            }
            Value::Date(instant) | Value::Timestamp(instant) => {
                let instant = instant.to_string();
                write!(text, "'{}'", instant.trim_end_matches('Z').replace('T', " ")).unwrap();
            }
            Value::Bytes(bytes) => text.push_str(&hex(bytes)),
        }
    }
    text.push(')');
    text
}

fn hex(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("X'{digits}'")
}

fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}
