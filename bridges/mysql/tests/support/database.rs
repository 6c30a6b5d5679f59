//! A database for one test, filled by a client that is not ours.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::sync::atomic::{AtomicU32, Ordering};

use mysql_async::prelude::Queryable;
use mysql_async::{Conn, OptsBuilder};
use semilayer_bridge_mysql::{Mariadb, Mysql, MysqlDriver};
use serde_json::{Value, json};

use crate::server::{ENGINES, Engine, Server, server};

/// A database that is dropped in the end.
pub(crate) struct Database {
    pub(crate) server: &'static Server,
    pub(crate) name: String,
}

const PREFIX: &str = "bridge_test_";

/// Runs a test once for each engine, on a database with the tables that `sql` makes.
#[expect(clippy::print_stdout, reason = "a test that fails shows on which engine")]
pub(crate) async fn on_each_engine(sql: &str, test: impl AsyncFn(&Database)) {
    for engine in ENGINES {
        let database = Database::with(engine, sql).await;
        println!("on {engine:?}");
        test(&database).await;
    }
}

impl Database {
    /// An empty database, in which text compares byte by byte.
    pub(crate) async fn create(engine: Engine) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let server = server(engine);
        let mut app = client(server, None).await;
        if number < 2 {
            drop_left_overs(&mut app).await;
        }
        let name = format!("{PREFIX}{}_{number}", std::process::id());
        let collation = match engine {
            Engine::Mysql => "utf8mb4_0900_bin",
            Engine::Mariadb | Engine::Mariadb11 => "utf8mb4_nopad_bin",
        };
        app.query_drop(format!("CREATE DATABASE {name} CHARACTER SET utf8mb4 COLLATE {collation}"))
            .await
            .unwrap();
        Self { server, name }
    }

    /// A database with the tables that `sql` makes.
    pub(crate) async fn with(engine: Engine, sql: &str) -> Self {
        let database = Self::create(engine).await;
        if !sql.is_empty() {
            database.run(sql).await;
        }
        database
    }

    /// The driver that is made for this server.
    pub(crate) fn driver(&self) -> MysqlDriver {
        match self.server.engine {
            Engine::Mysql => Mysql,
            Engine::Mariadb | Engine::Mariadb11 => Mariadb,
        }
    }

    /// Runs statements, separated by `;` at the end of a line.
    pub(crate) async fn run(&self, sql: &str) {
        let mut client = self.client().await;
        for statement in sql.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
            client.query_drop(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// The first value that `sql` gives, as text.
    pub(crate) async fn value(&self, sql: &str) -> String {
        let value: Option<String> = self.client().await.query_first(sql).await.unwrap();
        value.unwrap_or_default()
    }

    /// A session of another client.
    pub(crate) async fn client(&self) -> Conn {
        client(self.server, Some(&self.name)).await
    }

    /// Statements of the bridge that run at the server now.
    pub(crate) async fn running(&self) -> u32 {
        let sql = format!(
            "SELECT CAST(COUNT(*) AS CHAR) FROM information_schema.PROCESSLIST \
             WHERE DB = '{}' AND COMMAND IN ('Query', 'Execute') AND ID <> CONNECTION_ID()",
            self.name
        );
        self.value(&sql).await.parse().unwrap()
    }

    /// Settings for the bridge.
    pub(crate) fn config(&self) -> Value {
        self.config_of("app")
    }

    /// Settings for the bridge, as clients have them by default.
    pub(crate) fn config_of(&self, role: &str) -> Value {
        json!({
            "host": self.server.host,
            "port": self.server.port,
            "database": self.name,
            "user": self.server.user(role),
            "password": self.server.password(role),
        })
    }
}

impl Drop for Database {
    /// In a thread of its own, because a test's runtime cannot be entered twice.
    fn drop(&mut self) {
        let drop_it = || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let mut app = client(self.server, None).await;
                app.query_drop(format!("DROP DATABASE {}", self.name)).await.unwrap();
                app.disconnect().await.unwrap();
            });
        };
        let dropped = std::thread::scope(|scope| scope.spawn(drop_it).join());
        assert!(dropped.is_ok() || std::thread::panicking(), "the test's database could not be dropped");
    }
}

/// A session of `mysql_async`.
pub(crate) async fn client(server: &Server, database: Option<&str>) -> Conn {
    let options = OptsBuilder::default()
        .ip_or_hostname(server.host.clone())
        .tcp_port(server.port)
        .user(Some(server.user("app")))
        .pass(Some(server.password("app")))
        .db_name(database)
        .prefer_socket(false)
        .init(vec!["SET time_zone = '+00:00', sql_mode = ''"]);
    Conn::new(options).await.unwrap()
}

/// Databases of test processes that ended without dropping them.
async fn drop_left_overs(app: &mut Conn) {
    let ours =
        format!("SELECT SCHEMA_NAME FROM information_schema.SCHEMATA WHERE SCHEMA_NAME LIKE '{PREFIX}%'");
    let names: Vec<String> = app.query(ours).await.unwrap();
    for name in names {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('_').next());
        let lives = process.is_some_and(|process| std::path::Path::new("/proc").join(process).exists());
        if !lives {
            // Another test process may be faster.
            app.query_drop(format!("DROP DATABASE IF EXISTS {name}")).await.ok();
        }
    }
}
