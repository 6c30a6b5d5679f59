//! A database for one test, filled by a client that is not ours.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::{Value, json};
use tokio_postgres::{Client, Config, NoTls};

use crate::server::{Server, server};

/// A database that is dropped in the end. `app` owns it.
pub(crate) struct Database {
    pub(crate) server: &'static Server,
    pub(crate) name: String,
}

const PREFIX: &str = "bridge_test_";

impl Database {
    /// An empty database of the server that every test uses, which knows Unicode's lower case.
    pub(crate) async fn create() -> Self {
        Self::create_on(server()).await
    }

    /// An empty database of a server.
    pub(crate) async fn create_on(server: &'static Server) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let admin = client(server, "admin", &server.database).await;
        if number == 0 {
            drop_left_overs(&admin).await;
        }
        let name = format!("{PREFIX}{}_{number}", std::process::id());
        let create =
            format!("CREATE DATABASE {name} OWNER app TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C.UTF-8'");
        admin.batch_execute(&create).await.unwrap();
        Self { server, name }
    }

    /// A database with the tables that `sql` makes.
    pub(crate) async fn with(sql: &str) -> Self {
        let database = Self::create().await;
        database.run(sql).await;
        database
    }

    /// Runs statements as `app`.
    pub(crate) async fn run(&self, sql: &str) {
        self.client("app").await.batch_execute(sql).await.unwrap();
    }

    /// The first value that `sql` gives, as text.
    pub(crate) async fn value(&self, sql: &str) -> String {
        value(&self.client("admin").await, sql).await
    }

    /// A session of another client.
    pub(crate) async fn client(&self, role: &str) -> Client {
        client(self.server, role, &self.name).await
    }

    /// Runs statements as `admin`: extensions.
    pub(crate) async fn run_as_admin(&self, sql: &str) {
        self.client("admin").await.batch_execute(sql).await.unwrap();
    }

    /// A URL for the bridge, as `role`, without TLS.
    pub(crate) fn url_of(&self, role: &str) -> String {
        let password: String =
            self.server.password(role).unwrap().bytes().map(|byte| format!("%{byte:02x}")).collect();
        format!("postgresql://{role}:{password}@127.0.0.1:{}/{}?sslmode=disable", self.server.port, self.name)
    }

    /// Settings for the bridge, as `app`.
    pub(crate) fn config(&self) -> Value {
        self.config_of("app")
    }

    /// Settings for the bridge, without TLS.
    pub(crate) fn config_of(&self, role: &str) -> Value {
        json!({
            "host": "127.0.0.1",
            "port": self.server.port,
            "database": self.name,
            "user": role,
            "password": self.server.password(role),
            "sslmode": "disable",
        })
    }
}

impl Drop for Database {
    /// In a thread of its own, because a test's runtime cannot be entered twice.
    fn drop(&mut self) {
        let drop_it = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let admin = client(self.server, "admin", &self.server.database).await;
                admin.batch_execute(&format!("DROP DATABASE {} WITH (FORCE)", self.name)).await.unwrap();
            });
        };
        let dropped = std::thread::scope(|scope| scope.spawn(drop_it).join());
        assert!(dropped.is_ok() || std::thread::panicking(), "the test's database could not be dropped");
    }
}

/// The first value that `sql` gives, as text.
pub(crate) async fn value(client: &Client, sql: &str) -> String {
    client.query_one(&format!("SELECT ({sql})::text"), &[]).await.unwrap().get(0)
}

/// A session of `tokio-postgres`.
pub(crate) async fn client(server: &Server, role: &str, database: &str) -> Client {
    let mut config = Config::new();
    config.host("127.0.0.1").port(server.port).user(role).dbname(database);
    config.password(server.password(role).unwrap_or_default());
    let (client, connection) = config.connect(NoTls).await.unwrap();
    run(connection);
    client
}

#[expect(clippy::disallowed_methods, reason = "a test's runtime ends its tasks with the test")]
fn run(connection: impl Future<Output = Result<(), tokio_postgres::Error>> + Send + 'static) {
    tokio::spawn(async move { connection.await.ok() });
}

/// Databases of test processes that ended without dropping them.
async fn drop_left_overs(admin: &Client) {
    let ours = format!("SELECT datname::text FROM pg_database WHERE datname LIKE '{PREFIX}%'");
    for row in admin.query(&ours, &[]).await.unwrap() {
        let name: String = row.get(0);
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('_').next());
        let lives = process.is_some_and(|process| std::path::Path::new("/proc").join(process).exists());
        if !lives {
            // Another test process may be faster.
            admin.batch_execute(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)")).await.ok();
        }
    }
}
