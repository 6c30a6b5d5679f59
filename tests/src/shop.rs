//! The shop of `examples/five-databases`, in databases of a test's own on the shared servers.
//!
//! Seeds are the example's own files, put in place by each database's own client or, for MongoDB, by its driver.

use std::path::{Path, PathBuf};
use std::process::Command as BlockingCommand;

use mongodb::bson::Document;

use crate::http::Request;
use crate::postgres::Database;
use crate::process::{bare, feed};
use crate::services::Server;
use crate::wait::secs;

/// The number of the Redis database that is the shop's alone.
const REDIS_DATABASE: &str = "9";

/// Five filled databases. They go when the test ends.
#[derive(Debug)]
pub struct Shop {
    customers: Database,
    orders: Server,
    events: Server,
    carts: Server,
    sessions: Server,
    /// What the databases are called in MySQL, MongoDB and ClickHouse.
    name: String,
}

impl Shop {
    /// Makes and fills all of them.
    pub async fn create() -> Self {
        let shop = Self {
            customers: Database::create().await,
            orders: Server::shared("mysql"),
            events: Server::shared("mongodb"),
            carts: Server::shared("redis"),
            sessions: Server::shared("clickhouse"),
            name: format!("t_{}", uuid::Uuid::new_v4().simple()),
        };
        shop.customers.run(&seed("customers.sql")).await;
        shop.fill_orders().await;
        shop.fill_events().await;
        shop.fill_carts().await;
        shop.fill_sessions().await;
        shop
    }

    /// The runner's variables for the five sources, as the example's `runner.env` has them.
    pub fn variables(&self) -> Vec<(String, String)> {
        let customers = self.customers.config();
        let field =
            |name: &str| customers[name].as_str().map_or_else(|| customers[name].to_string(), str::to_owned);
        let sessions = self.sessions.user("app");
        [
            ("POSTGRES_HOST", field("host")),
            ("POSTGRES_PORT", field("port")),
            ("POSTGRES_DATABASE", field("database")),
            ("POSTGRES_USER", field("user")),
            ("POSTGRES_PASSWORD", field("password")),
            ("MYSQL_URL", in_database(&self.orders.user("app").url, &self.name)),
            ("MONGODB_URL", self.events.user("app").url.clone()),
            ("MONGODB_DATABASE", self.name.clone()),
            ("REDIS_URL", in_database(&self.carts.user("app").url, REDIS_DATABASE)),
            ("CLICKHOUSE_HOST", self.sessions.host.clone()),
            ("CLICKHOUSE_PORT", self.sessions.port.to_string()),
            ("CLICKHOUSE_DATABASE", self.name.clone()),
            ("CLICKHOUSE_USERNAME", sessions.name.clone()),
            ("CLICKHOUSE_PASSWORD", sessions.password.clone().unwrap_or_default()),
        ]
        .into_iter()
        .map(|(name, value)| (format!("SEMILAYER_SOURCE_{name}"), value))
        .collect()
    }

    async fn fill_orders(&self) {
        let name = &self.name;
        let sql = format!("CREATE DATABASE {name}; USE {name};\n{}", seed("orders.sql"));
        feed("mysql", self.mysql().into(), &sql, secs(60)).await.ok();
    }

    fn mysql(&self) -> BlockingCommand {
        let user = self.orders.user("app");
        let mut command = BlockingCommand::new(self.orders.client("mysql"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("MYSQL_PWD", user.password.clone().unwrap_or_default());
        command.args(["--no-defaults", "--protocol=tcp", "--default-character-set=utf8mb4"]);
        command.args([
            "--host",
            &self.orders.host,
            "--port",
            &self.orders.port.to_string(),
            "--user",
            &user.name,
        ]);
        command
    }

    async fn fill_events(&self) {
        let events: Vec<Document> = seed("events.ndjson").lines().map(document).collect();
        let collection = self.mongodb().await.database(&self.name).collection::<Document>("customer_events");
        collection.insert_many(events).await.unwrap();
    }

    async fn mongodb(&self) -> mongodb::Client {
        mongodb::Client::with_uri_str(&self.events.user("app").url).await.unwrap()
    }

    async fn fill_carts(&self) {
        let mut command = bare(self.carts.client("redis-cli"));
        command.args(self.redis_arguments());
        let commands = format!("FLUSHDB\n{}", seed("carts.redis"));
        let said = feed("redis-cli", command, &commands, secs(60)).await.ok();
        assert!(said.lines().all(|line| line == "OK"), "{said}");
    }

    fn redis_arguments(&self) -> Vec<String> {
        let user = self.carts.user("app");
        let words = [
            "-h",
            &self.carts.host,
            "-p",
            &self.carts.port.to_string(),
            "-n",
            REDIS_DATABASE,
            "--no-auth-warning",
        ];
        let login = ["--user", &user.name, "--pass", user.password.as_deref().unwrap_or_default()];
        words.into_iter().chain(login).map(str::to_owned).collect()
    }

    async fn fill_sessions(&self) {
        self.clickhouse("default", &format!("CREATE DATABASE {}", self.name)).await;
        // The HTTP interface takes one statement at a time.
        for statement in seed("sessions.sql").split(";\n").filter(|statement| !statement.trim().is_empty()) {
            self.clickhouse(&self.name, statement).await;
        }
    }

    async fn clickhouse(&self, database: &str, statement: &str) {
        let user = self.sessions.user("app");
        let address = format!("{}:{}", self.sessions.host, self.sessions.port).parse().unwrap();
        Request::new("POST", format!("/?database={database}"))
            .header("X-ClickHouse-User", &user.name)
            .header("X-ClickHouse-Key", user.password.clone().unwrap_or_default())
            .body(statement.to_owned())
            .send(address)
            .await
            .check();
    }
}

impl Drop for Shop {
    /// MySQL's database goes; what is left in the others is bounded by the number of tests and goes with the servers.
    fn drop(&mut self) {
        let drop = format!("DROP DATABASE IF EXISTS {}", self.name);
        match self.mysql().args(["--execute", &drop]).output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!("cannot drop {}: {}", self.name, String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("cannot drop {}: {error}", self.name),
        }
    }
}

/// The example's folder.
pub fn example() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("examples/five-databases")
}

fn seed(file: &str) -> String {
    std::fs::read_to_string(example().join("seed").join(file)).unwrap()
}

/// A line of extended JSON.
fn document(line: &str) -> Document {
    serde_json::from_str(line).unwrap()
}

/// A URL with another path.
pub fn in_database(url: &str, database: &str) -> String {
    let (rest, query) = url.split_once('?').unwrap_or((url, ""));
    let start = rest.find("://").unwrap() + 3;
    let authority = rest[start..].find('/').map_or(rest, |slash| &rest[..start + slash]);
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    format!("{authority}/{database}{query}")
}
