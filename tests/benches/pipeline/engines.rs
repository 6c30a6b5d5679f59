//! (f) Each bridge alone: 500 000 rows of 8 columns to JSON text in a process of its own, against the engine's own client or
//! the fastest loop that only takes the bytes.
//!
//! The process is this program again, called with `--bridge`: what it has resident is the bridge and nothing else.

use std::future::Future;
use std::pin::Pin;
use std::process::Stdio;
use std::time::{Duration, Instant};

use bridge_core::Call;
use harness::process::bare;
use harness::services::Server;
use harness::shop::in_database;
use harness::wait::{secs, within};
use mongodb::bson::{RawDocumentBuf, doc};
use protocol::{CHUNK_BYTES, QueryOptions, SourceConfig};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::arguments::Arguments;
use crate::report::{Aim, Line, Quantity};
use crate::usage::{forget_peak, peak_mib, resident_mib};

/// The word that makes this program a bridge.
pub(crate) const BRIDGE: &str = "--bridge";

const ROWS: u64 = 500_000;
const LIMIT: Duration = secs(600);
const TABLE: &str = "bench_items";
/// The number of the Redis database that is the benchmark's alone.
const REDIS_DATABASE: &str = "10";

/// What `SCAN` answers: the next cursor and some keys.
type Scanned = (String, Vec<Vec<u8>>);
type Running<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// One engine with its rows.
trait Engine {
    /// The bridge's short name.
    fn name(&self) -> &'static str;
    /// What the reference is.
    fn reference(&self) -> &'static str;
    /// Of the reference's rate.
    fn aim(&self) -> f64;
    /// Settings of the bridge. Without TLS wherever the server takes that, as the reference.
    fn config(&self) -> Value;
    /// Makes the rows anew.
    fn fill(&self) -> Running<'_, ()>;
    /// Reads all rows once.
    fn read(&self) -> Running<'_, ()>;
}

/// What the process with the bridge says.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Measured {
    rows: u64,
    seconds: f64,
    growth_mib: f64,
}

/// How each engine is met, by its name.
type Meeting = (&'static str, fn() -> Box<dyn Engine>);
const ENGINES: [Meeting; 6] = [
    ("postgres", || Box::new(Postgres(Server::shared("postgres")))),
    ("mysql", || Box::new(Mysql(Server::shared("mysql")))),
    ("mariadb", || Box::new(Mysql(Server::shared("mariadb")))),
    // The quick edition spends most of the time itself, so the other is measured where it has been started.
    ("mongodb", || {
        let fast = Server::running("mongodb-fast");
        Box::new(Mongodb(fast.unwrap_or_else(|| Server::shared("mongodb"))))
    }),
    ("redis", || Box::new(Redis(Server::shared("redis")))),
    ("clickhouse", || Box::new(Clickhouse(Server::shared("clickhouse")))),
];

pub(crate) async fn measure(arguments: &Arguments) -> Vec<Line> {
    let named = |name: &str| ENGINES.iter().any(|(engine, _)| *engine == name);
    assert!(arguments.engines.iter().all(|name| named(name)), "no such engine: {:?}", arguments.engines);
    let mut lines = Vec::new();
    for (name, meet) in ENGINES {
        if arguments.engines.is_empty() || arguments.engines.iter().any(|engine| engine == name) {
            lines.extend(measure_one(&*meet(), arguments).await);
        }
    }
    lines
}

async fn measure_one(engine: &dyn Engine, arguments: &Arguments) -> Vec<Line> {
    let name = engine.name();
    eprintln!("filling {name}");
    within(LIMIT, engine.fill()).await;
    let (mut ours, mut theirs, mut growth) = (Vec::new(), Vec::new(), Vec::new());
    // The first run warms caches and does not count.
    for run in 0..=arguments.runs {
        let measured = within(LIMIT, in_a_process(engine)).await;
        assert_eq!(measured.rows, ROWS, "rows are missing");
        let started = Instant::now();
        within(LIMIT, engine.read()).await;
        let reference = ROWS as f64 / started.elapsed().as_secs_f64();
        let rate = measured.rows as f64 / measured.seconds;
        eprintln!("{name} {run}: {rate:.0} rows/s, {reference:.0} rows/s, +{:.1} MiB", measured.growth_mib);
        if run > 0 {
            ours.push(rate);
            theirs.push(reference);
            growth.push(measured.growth_mib);
        }
    }
    let rows = |values: Vec<f64>| Quantity::of("rows/s", values);
    vec![
        Line::ratio("f", &format!("{name} against {}", engine.reference()), rows(ours), rows(theirs))
            .aim(Aim::AtLeast(engine.aim())),
        Line::alone("f", &format!("{name}, growth while it streams"), Quantity::of("MiB", growth))
            .aim(Aim::AtMost(32.0)),
    ]
}

async fn in_a_process(engine: &dyn Engine) -> Measured {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([BRIDGE, engine.name(), TABLE]).env("BENCH_CONFIG", engine.config().to_string());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "the bridge of {} failed", engine.name());
    serde_json::from_slice(&output.stdout).unwrap()
}

/// This program as the process with the bridge: reads all rows as a job would and prints what it took.
pub(crate) async fn stream(bridge: &str, target: &str) {
    let config: SourceConfig = serde_json::from_str(&std::env::var("BENCH_CONFIG").unwrap()).unwrap();
    let driver = bridges::find(bridge).unwrap();
    let call = Call::within(LIMIT);
    let bridge = driver.connect(&config, &call).await.unwrap();
    let pid = std::process::id();
    forget_peak(pid);
    let (started, resident) = (Instant::now(), resident_mib(pid));
    let mut stream = bridge.query(&call, target, QueryOptions::default()).await.unwrap();
    let mut rows = 0;
    while let Some(batch) = stream.next(CHUNK_BYTES).await.unwrap() {
        rows += batch.count;
    }
    let seconds = started.elapsed().as_secs_f64();
    let measured = Measured { rows, seconds, growth_mib: peak_mib(pid) - resident };
    println!("{}", serde_json::to_string(&measured).unwrap());
}

/// Runs a client and throws away what it prints.
async fn print_to_nowhere(mut command: Command) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().unwrap();
    let mut pipe = child.stdout.take().unwrap();
    let mut buffer = vec![0; 256 * 1024];
    while pipe.read(&mut buffer).await.unwrap() > 0 {}
    assert!(child.wait().await.unwrap().success(), "the client failed");
}

async fn feed(command: Command, input: &str) {
    harness::process::feed("the client", command, input, LIMIT).await.ok();
}

struct Postgres(Server);

impl Postgres {
    fn psql(&self) -> Command {
        let user = self.0.user("app");
        let mut command = bare(self.0.client("psql"));
        command.env("PGHOST", &self.0.host).env("PGPORT", self.0.port.to_string()).env("PGUSER", &user.name);
        command.env("PGPASSWORD", user.password.clone().unwrap_or_default()).env("PGSSLMODE", "disable");
        command.env("PGDATABASE", "semilayer").args(["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1"]);
        command
    }
}

impl Engine for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn reference(&self) -> &'static str {
        "psql, row_to_json"
    }

    fn aim(&self) -> f64 {
        1.0
    }

    fn config(&self) -> Value {
        let user = self.0.user("app");
        json!({"host": self.0.host, "port": self.0.port, "database": "semilayer", "user": user.name,
            "password": user.password, "sslmode": "disable"})
    }

    fn fill(&self) -> Running<'_, ()> {
        Box::pin(async {
            let sql = format!(
                "DROP TABLE IF EXISTS {TABLE};
                 CREATE TABLE {TABLE} AS SELECT n::bigint AS id, (n % 1000)::int AS quantity, 'Item number ' || n AS name,
                     'category ' || n % 37 AS category, ((n % 99991) / 100.0)::numeric(10,2) AS price,
                     timestamptz '2024-01-01' + n * interval '17 seconds' AS created, n % 3 <> 0 AS active,
                     n / 7.0::float8 AS ratio
                 FROM generate_series(1, {ROWS}) n;
                 VACUUM (ANALYZE, FREEZE) {TABLE};"
            );
            feed(self.psql(), &sql).await;
        })
    }

    fn read(&self) -> Running<'_, ()> {
        Box::pin(async {
            let mut psql = self.psql();
            psql.args(["--command", &format!("\\copy (SELECT row_to_json(t) FROM {TABLE} t) TO STDOUT")]);
            print_to_nowhere(psql).await;
        })
    }
}

/// MySQL and MariaDB.
struct Mysql(Server);

impl Mysql {
    fn client(&self) -> Command {
        let user = self.0.user("app");
        let mut command = bare(self.0.client("mysql"));
        if !self.0.client("mysql").exists() {
            command = bare("mysql");
        }
        command.env("MYSQL_PWD", user.password.clone().unwrap_or_default());
        command.args(["--no-defaults", "--protocol=tcp", "--host", &self.0.host]);
        command.args(["--port", &self.0.port.to_string(), "--user", &user.name, "--database", "semilayer"]);
        command
    }
}

impl Engine for Mysql {
    fn name(&self) -> &'static str {
        if self.0.service == "mysql" { "mysql" } else { "mariadb" }
    }

    fn reference(&self) -> &'static str {
        "mysql --batch --quick"
    }

    fn aim(&self) -> f64 {
        0.8
    }

    fn config(&self) -> Value {
        let user = self.0.user("app");
        // Both connect as the server prefers, with TLS.
        json!({"host": self.0.host, "port": self.0.port, "database": "semilayer", "user": user.name,
            "password": user.password, "sslmode": "preferred"})
    }

    fn fill(&self) -> Running<'_, ()> {
        Box::pin(async {
            let digits = "(SELECT 0 AS d UNION ALL SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3 UNION ALL SELECT 4
                UNION ALL SELECT 5 UNION ALL SELECT 6 UNION ALL SELECT 7 UNION ALL SELECT 8 UNION ALL SELECT 9)";
            let sql = format!(
                "DROP TABLE IF EXISTS {TABLE};
                 CREATE TABLE {TABLE} (id BIGINT PRIMARY KEY, quantity INT, name VARCHAR(40), category VARCHAR(40),
                     price DECIMAL(10,2), created DATETIME, active BOOL, ratio DOUBLE);
                 INSERT INTO {TABLE} SELECT n, n % 1000, CONCAT('Item number ', n), CONCAT('category ', n % 37),
                     (n % 99991) / 100, '2024-01-01' + INTERVAL n * 17 SECOND, n % 3 <> 0, n / 7e0
                 FROM (SELECT 1 + a.d + 10*b.d + 100*c.d + 1000*e.d + 10000*f.d + 100000*g.d AS n
                     FROM {digits} a, {digits} b, {digits} c, {digits} e, {digits} f, {digits} g) AS numbers
                 WHERE n <= {ROWS};
                 ANALYZE TABLE {TABLE};"
            );
            feed(self.client(), &sql).await;
        })
    }

    fn read(&self) -> Running<'_, ()> {
        Box::pin(async {
            let mut client = self.client();
            client.args(["--batch", "--quick", "--execute", &format!("SELECT * FROM {TABLE}")]);
            print_to_nowhere(client).await;
        })
    }
}

struct Mongodb(Server);

impl Mongodb {
    async fn collection<T: Send + Sync>(&self) -> mongodb::Collection<T> {
        let client = mongodb::Client::with_uri_str(&self.0.user("app").url).await.unwrap();
        client.database("semilayer").collection(TABLE)
    }
}

impl Engine for Mongodb {
    fn name(&self) -> &'static str {
        "mongodb"
    }

    fn reference(&self) -> &'static str {
        "raw documents by the driver"
    }

    fn aim(&self) -> f64 {
        0.8
    }

    fn config(&self) -> Value {
        json!({"url": self.0.user("app").url, "database": "semilayer"})
    }

    fn fill(&self) -> Running<'_, ()> {
        Box::pin(async {
            let collection = self.collection::<mongodb::bson::Document>().await;
            collection.drop().await.unwrap();
            let row = |n: i64| {
                let created = mongodb::bson::DateTime::from_millis(1_704_067_200_000 + n * 17_000);
                doc! {"_id": n, "quantity": n % 1000, "name": format!("Item number {n}"),
                "category": format!("category {}", n % 37), "price": (n % 99_991) as f64 / 100.0,
                "created": created, "active": n % 3 != 0, "ratio": n as f64 / 7.0}
            };
            let rows: Vec<i64> = (1..=i64::try_from(ROWS).unwrap()).collect();
            for chunk in rows.chunks(5_000) {
                collection.insert_many(chunk.iter().copied().map(row)).await.unwrap();
            }
        })
    }

    fn read(&self) -> Running<'_, ()> {
        Box::pin(async {
            let collection = self.collection::<RawDocumentBuf>().await;
            let mut cursor = collection.find(doc! {}).batch_size(1_000).await.unwrap();
            let mut rows = 0;
            while cursor.advance().await.unwrap() {
                rows += u64::from(cursor.current().iter().all(|element| element.is_ok()));
            }
            assert_eq!(rows, ROWS);
        })
    }
}

struct Redis(Server);

impl Redis {
    fn url(&self) -> String {
        in_database(&self.0.user("app").url, REDIS_DATABASE)
    }
}

impl Engine for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn reference(&self) -> &'static str {
        "SCAN and MGET, pipelined"
    }

    fn aim(&self) -> f64 {
        0.8
    }

    fn config(&self) -> Value {
        json!({"url": self.url()})
    }

    fn fill(&self) -> Running<'_, ()> {
        Box::pin(async {
            let client = redis::Client::open(self.url()).unwrap();
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            redis::cmd("FLUSHDB").exec_async(&mut connection).await.unwrap();
            let rows: Vec<u64> = (1..=ROWS).collect();
            for chunk in rows.chunks(10_000) {
                let mut pipe = redis::pipe();
                for n in chunk {
                    let row = json!({"id": n, "quantity": n % 1000, "name": format!("Item number {n}"),
                        "category": format!("category {}", n % 37), "price": format!("{:.2}", (n % 99_991) as f64 / 100.0),
                        "created": "2024-01-01T00:00:17.000Z", "active": n % 3 != 0, "ratio": *n as f64 / 7.0});
                    pipe.set(format!("{TABLE}:{n}"), row.to_string()).ignore();
                }
                pipe.exec_async(&mut connection).await.unwrap();
            }
        })
    }

    /// The next keys are asked for together with the values of the last ones.
    fn read(&self) -> Running<'_, ()> {
        Box::pin(async {
            let client = redis::Client::open(self.url()).unwrap();
            let mut connection = client.get_multiplexed_async_connection().await.unwrap();
            let scan = |cursor: &str| {
                let mut scan = redis::cmd("SCAN");
                scan.arg(cursor).arg("MATCH").arg(format!("{TABLE}:*")).arg("COUNT").arg(1_000);
                scan
            };
            let (mut cursor, mut keys): Scanned = scan("0").query_async(&mut connection).await.unwrap();
            let mut rows = 0;
            loop {
                let mut pipe = redis::pipe();
                pipe.cmd("MGET").arg(&keys);
                if cursor == "0" {
                    let (values,): (Vec<Vec<u8>>,) = pipe.query_async(&mut connection).await.unwrap();
                    rows += values.len() as u64;
                    break;
                }
                pipe.add_command(scan(&cursor));
                let (values, (next, more)): (Vec<Vec<u8>>, Scanned) =
                    pipe.query_async(&mut connection).await.unwrap();
                rows += values.len() as u64;
                (cursor, keys) = (next, more);
            }
            assert!(rows >= ROWS);
        })
    }
}

struct Clickhouse(Server);

impl Clickhouse {
    /// `curl` with a statement for its body.
    fn curl(&self, statement: &str) -> Command {
        let user = self.0.user("app");
        let mut command = bare("curl");
        command.args(["--silent", "--show-error", "--fail-with-body", "--data-binary", statement]);
        command.args(["--header", &format!("X-ClickHouse-User: {}", user.name)]);
        command.args([
            "--header",
            &format!("X-ClickHouse-Key: {}", user.password.as_deref().unwrap_or_default()),
        ]);
        command.arg(format!("http://{}:{}/?database=default", self.0.host, self.0.port));
        command
    }
}

impl Engine for Clickhouse {
    fn name(&self) -> &'static str {
        "clickhouse"
    }

    fn reference(&self) -> &'static str {
        "curl, JSONEachRow"
    }

    fn aim(&self) -> f64 {
        0.9
    }

    fn config(&self) -> Value {
        let user = self.0.user("app");
        json!({"host": self.0.host, "port": self.0.port, "database": "default", "username": user.name,
            "password": user.password})
    }

    fn fill(&self) -> Running<'_, ()> {
        Box::pin(async {
            print_to_nowhere(self.curl(&format!("DROP TABLE IF EXISTS {TABLE}"))).await;
            let create = format!(
                "CREATE TABLE {TABLE} ENGINE = MergeTree ORDER BY id AS SELECT number + 1 AS id,
                     toInt32(number % 1000) AS quantity, concat('Item number ', toString(number)) AS name,
                     concat('category ', toString(number % 37)) AS category,
                     toDecimal64((number % 99991) / 100, 2) AS price,
                     toDateTime64('2024-01-01 00:00:00', 3, 'UTC') + number * 17 AS created,
                     toBool(number % 3 != 0) AS active, number / 7 AS ratio
                 FROM numbers({ROWS})"
            );
            print_to_nowhere(self.curl(&create)).await;
        })
    }

    fn read(&self) -> Running<'_, ()> {
        Box::pin(async {
            print_to_nowhere(self.curl(&format!("SELECT * FROM {TABLE} FORMAT JSONEachRow"))).await;
        })
    }
}
