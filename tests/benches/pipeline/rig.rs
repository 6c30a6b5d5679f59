//! What is measured: a table, a gateway and a runner, and an application that asks.

use std::time::Duration;

use harness::gateway::{App, Credentials, Gateway};
use harness::postgres::Database;
use harness::runner::{Runner, Settings};
use serde_json::{Value, json};

/// Connections of the source's pool. More than the default of 3, as a source under load would have.
pub(crate) const POOL: u32 = 16;
/// The lens, and the table behind it.
pub(crate) const ITEMS: &str = "items";
/// All columns, as `psql` is asked for them.
pub(crate) const COLUMNS: &str = "id, name, category, price, quantity, active, created, note";

/// The table that everything reads.
pub(crate) struct Data {
    pub(crate) database: Database,
    pub(crate) rows: u64,
}

impl Data {
    /// Makes it, and lets PostgreSQL finish what it would do later: hint bits, statistics, dirty pages.
    pub(crate) async fn make(rows: u64) -> Self {
        let database = Database::create().await;
        database
            .run(&format!(
                "create table items (
                     id int4 primary key, name text not null, category text not null, price numeric(10,2) not null,
                     quantity int4 not null, active bool not null, created timestamptz not null, note text
                 );
                 insert into items
                 select n, 'Item number ' || n, 'category ' || n % 37, (n % 99991) / 100.0, n % 1000, n % 3 <> 0,
                        timestamptz '2024-01-01' + n * interval '17 seconds',
                        case when n % 10 = 0 then null else 'a note on item ' || n end
                 from generate_series(1, {rows}) n;"
            ))
            .await;
        database.run("vacuum (analyze, freeze) items").await;
        database.ask_as("admin", "checkpoint").await;
        Self { database, rows }
    }

    /// What the gateway is told of the source. Without TLS, as `psql` and `pgbench` are told, too.
    fn source(&self) -> Value {
        let mut source = self.database.config();
        source["bridge"] = "postgres".into();
        source["sslmode"] = "disable".into();
        source["pool"] = json!({"max": POOL});
        source["timeoutMs"] = 120_000.into();
        source
    }
}

/// One gateway and one runner, each in a process of its own.
pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) runner: Runner,
    pub(crate) credentials: Credentials,
    pub(crate) app: App,
    /// The application's key, for clients that write their own requests.
    pub(crate) key: String,
}

impl Rig {
    /// Starts both, as a user does: logs at `info`.
    pub(crate) async fn start(data: &Data) -> Self {
        let gateway = Gateway::start_with(&[("SEMILAYER_LOG_LEVEL", "info")]).await;
        gateway.push(json!({"main": data.source()}), json!({ITEMS: lens()})).await;
        let credentials = gateway.create_runner("bench").await;
        gateway.assign("main", &credentials.id).await;
        let runner = settings(&gateway, &credentials).connect().await;
        let key = gateway.create_key("secret").await;
        let app = gateway.app(&key);
        Self { gateway, runner, credentials, app, key }
    }
}

/// How the runner is started.
pub(crate) fn settings(gateway: &Gateway, credentials: &Credentials) -> Settings {
    gateway.settings(credentials).with("SEMILAYER_LOG_LEVEL", "info")
}

fn lens() -> Value {
    json!({
        "source": "main",
        "table": ITEMS,
        "fields": {
            "id": {"type": "number", "primaryKey": true},
            "name": {"type": "text"},
            "category": {"type": "text"},
            "price": {"type": "text"},
            "quantity": {"type": "number"},
            "active": {"type": "boolean"},
            "created": {"type": "date"},
            "note": {"type": "text"},
        },
    })
}

/// The wait of a figure that is about what happens when nothing does.
pub(crate) async fn quiet(time: Duration) {
    tokio::time::sleep(time).await;
}
