//! PostgreSQL: a database of a test's own on the shared server, or a whole server where a test must hurt it.
//!
//! Tests talk to the server through `psql`, which shares no line with the bridge that they test.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::Command as BlockingCommand;

use rustix::process::{Pid, kill_process};
use serde_json::{Value, json};
use tokio::process::Command;

use crate::folder::Folder;
use crate::process::{Process, Signal, bare, feed, free_port, run};
use crate::services::{Server, User};
use crate::wait::{secs, until};

impl Server {
    fn psql(&self) -> PathBuf {
        self.client("psql")
    }

    /// What `psql` needs to be `user` in `database`.
    fn variables(&self, user: &User, database: &str) -> Vec<(&'static str, String)> {
        vec![
            ("PGHOST", self.host.clone()),
            ("PGPORT", self.port.to_string()),
            ("PGUSER", user.name.clone()),
            ("PGPASSWORD", user.password.clone().unwrap_or_default()),
            ("PGDATABASE", database.to_owned()),
            ("PGCONNECT_TIMEOUT", "10".to_owned()),
        ]
    }
}

const QUIET: [&str; 5] = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"];

/// A database of a test's own, dropped when the test ends.
#[derive(Debug)]
pub struct Database {
    server: Server,
    name: String,
    made: Option<Made>,
}

/// What a test has made and must undo.
#[derive(Debug)]
struct Made {
    by: &'static str,
    role: Option<String>,
}

impl Database {
    /// A new, empty one on the shared server, owned by the role `app`.
    pub async fn create() -> Self {
        Self::create_on(Server::shared("postgres")).await
    }

    async fn create_on(server: Server) -> Self {
        let name = format!("t_{}", uuid::Uuid::new_v4().simple());
        let maintenance = Self { server: server.clone(), name: "postgres".to_owned(), made: None };
        maintenance.run(&format!("create database {name}")).await;
        Self { server, name, made: Some(Made { by: "app", role: None }) }
    }

    /// A database of this name, owned by a role of its own. Both go when the test does.
    pub async fn named(name: &str, owner: &str, password: &str) -> Self {
        let server = Server::shared("postgres");
        let admin = Self { server: server.clone(), name: "postgres".to_owned(), made: None };
        let password = password.replace('\'', "''");
        admin.ask_as("admin", &format!("create role {owner} login password '{password}'")).await;
        admin.ask_as("admin", &format!("create database {name} owner {owner}")).await;
        Self { server, name: name.to_owned(), made: Some(Made { by: "admin", role: Some(owner.to_owned()) }) }
    }

    /// Runs statements as the owner.
    pub async fn run(&self, sql: &str) {
        self.ask(sql).await;
    }

    /// Runs statements and answers what they print.
    pub async fn ask(&self, sql: &str) -> String {
        self.ask_as("app", sql).await
    }

    /// The same as another role.
    pub async fn ask_as(&self, role: &str, sql: &str) -> String {
        feed("psql", self.command(role), sql, secs(120)).await.ok().trim().to_owned()
    }

    /// One of the server's own clients, e.g. `pgbench`, as the owner and without TLS.
    pub fn client(&self, name: &str) -> Command {
        let mut command = bare(self.server.client(name));
        command.envs(self.server.variables(self.server.user("app"), &self.name)).env("PGSSLMODE", "disable");
        command
    }

    fn command(&self, role: &str) -> Command {
        let mut command = bare(self.server.psql());
        command.args(QUIET).envs(self.server.variables(self.server.user(role), &self.name));
        command
    }

    /// A `psql` that runs beside the test.
    pub fn background(&self, sql: &str) -> Process {
        let mut command = self.command("app");
        command.args(["--command", sql]);
        Process::start("psql", command)
    }

    /// The settings of a source that reads it.
    pub fn config(&self) -> Value {
        let user = self.server.user("app");
        json!({
            "host": self.server.host,
            "port": self.server.port,
            "database": self.name,
            "user": user.name,
            "password": user.password,
        })
    }

    /// The server's address.
    pub fn address(&self) -> (String, u16) {
        (self.server.host.clone(), self.server.port)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many statements run in it that have `needle` in their text, psql's own aside.
    pub async fn running(&self, needle: &str) -> usize {
        let sql = format!(
            "select count(*) from pg_stat_activity where datname = current_database() and state <> 'idle' \
             and pid <> pg_backend_pid() and strpos(query, '{needle}') > 0"
        );
        self.ask(&sql).await.parse().unwrap()
    }

    /// Makes a view `numbers` of `count` rows that costs nothing to make: `id`, `label`, `filler` of 100 bytes.
    pub async fn make_numbers(&self, count: u64) {
        self.run(&format!(
            "create view numbers as select n as id, 'label ' || n as label, repeat('x', 100) as filler
             from generate_series(1, {count}) n"
        ))
        .await;
    }

    /// Makes two slow views. `trickle` gives one of 1000 rows every 20 ms, each long enough that the server does not
    /// hold it back; `stuck` gives its only row after `seconds`.
    pub async fn make_slow(&self, seconds: f64) {
        self.run(&format!(
            "create view trickle as select n as id, repeat('x', 9000) || coalesce(pg_sleep(0.02)::text, '') as filler
             from generate_series(1, 1000) n;
             create view stuck as select 1 as id, 'done' || coalesce(pg_sleep({seconds})::text, '') as filler"
        ))
        .await;
    }

    /// Fills a table `events` of `count` rows: `id` from 1, `kind`, `at` with ties, `payload` of about 60 bytes.
    pub async fn seed_events(&self, count: u64) {
        self.run(&format!(
            "create table events (id bigint primary key, kind text, at timestamptz not null, payload text not null);
             insert into events
             select n, case when n % 5 = 0 then null else 'kind ' || n % 7 end,
                    timestamptz '2024-01-01' + (n % 1000) * interval '1 minute', repeat('p', 60)
             from generate_series(1, {count}) n;
             create index on events (at, id);
             analyze events;"
        ))
        .await;
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(made) = &self.made else { return };
        let mut command = BlockingCommand::new(self.server.psql());
        command.env_clear().envs(self.server.variables(self.server.user(made.by), "postgres")).args(QUIET);
        command.args(["--command", &format!("drop database if exists {} with (force)", self.name)]);
        if let Some(role) = &made.role {
            command.args(["--command", &format!("drop role if exists {role}")]);
        }
        match command.output() {
            Ok(output) if output.status.success() => {}
            Ok(output) => eprintln!("cannot drop {}: {}", self.name, String::from_utf8_lossy(&output.stderr)),
            Err(error) => eprintln!("cannot drop {}: {error}", self.name),
        }
    }
}

/// A lens over `events`.
pub fn events_lens(source: &str) -> Value {
    json!({
        "source": source,
        "table": "events",
        "fields": {
            "id": {"type": "number", "primaryKey": true},
            "kind": {"type": "text"},
            "at": {"type": "date"},
            "payload": {"type": "text"},
        },
        "grants": {"query": "public"},
    })
}

/// A lens over a view with `id` and `filler`.
pub fn filler_lens(source: &str, view: &str) -> Value {
    json!({
        "source": source,
        "table": view,
        "fields": {"id": {"type": "number", "primaryKey": true}, "filler": {"type": "text"}},
        "grants": {"query": "public"},
    })
}

/// A server that a test may kill and start again, on one port for all its lives.
#[derive(Debug)]
pub struct OwnServer {
    folder: Folder,
    server: Server,
    bin_dir: PathBuf,
    process: Option<Process>,
}

const OWN_PASSWORD: &str = "own pw!%/";

impl OwnServer {
    /// Makes one and starts it.
    pub async fn start() -> Self {
        let shared = Server::shared("postgres");
        let bin_dir =
            shared.bin_dir.clone().expect("the server's programs are needed to start one of our own");
        let password = || Some(OWN_PASSWORD.to_owned());
        let user = |name: &str| User { name: name.to_owned(), password: password(), url: String::new() };
        let server = Server {
            service: "postgres".to_owned(),
            host: "127.0.0.1".to_owned(),
            port: free_port(),
            users: BTreeMap::from([("app".to_owned(), user("app"))]),
            ..shared
        };
        let mut own = Self { folder: Folder::new(), server, bin_dir, process: None };
        own.make_data().await;
        own.restart().await;
        own
    }

    async fn make_data(&self) {
        self.hand_over(self.folder.path());
        fs::set_permissions(self.folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let password = self.folder.write("password", OWN_PASSWORD);
        self.hand_over(Path::new(&password));
        let mut command = self.command("initdb");
        command.args([
            "--username=app",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        command.arg(format!("--pwfile={password}")).arg("--pgdata").arg(self.folder.file("data"));
        run("initdb", command, secs(60)).await.ok();
    }

    /// Gives a path to the account that the server must run as.
    fn hand_over(&self, path: &Path) {
        let Some(account) = &self.server.run_as else { return };
        let id = |flag: &str| -> u32 {
            let output = BlockingCommand::new("id").args([flag, account]).output().unwrap();
            String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
        };
        chown(path, Some(id("-u")), Some(id("-g"))).unwrap();
    }

    fn command(&self, name: &str) -> Command {
        let program = self.bin_dir.join(name);
        let Some(account) = &self.server.run_as else { return bare(program) };
        let mut command = bare("setpriv");
        command
            .args(["--reuid", account, "--regid", account, "--clear-groups", "--no-new-privs", "--"])
            .arg(program);
        command
    }

    /// Starts it (again) and waits until it answers.
    pub async fn restart(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.folder.file("data"));
        let port = format!("port={}", self.server.port);
        let sockets = format!("unix_socket_directories={}", self.folder.path().display());
        for setting in ["listen_addresses=127.0.0.1", "fsync=off", &port, &sockets] {
            command.args(["-c", setting]);
        }
        self.process = Some(Process::start("postgres", command));
        let database = self.maintenance();
        until("PostgreSQL answers", secs(30), async || {
            let mut command = database.command("app");
            command.args(["--command", "select 1"]);
            run("psql", command, secs(15)).await.code == Some(0)
        })
        .await;
    }

    /// `kill -9` of the postmaster and, as on a machine that loses its power, of every backend.
    pub async fn kill(&mut self) {
        let mut process = self.process.take().expect("the server does not run");
        let children = children_of(process.pid());
        process.kill().await;
        for child in children {
            end(child);
        }
    }

    /// The database `postgres` of it.
    pub fn maintenance(&self) -> Database {
        Database { server: self.server.clone(), name: "postgres".to_owned(), made: None }
    }
}

impl Drop for OwnServer {
    fn drop(&mut self) {
        let Some(process) = self.process.take() else { return };
        let children = children_of(process.pid());
        drop(process);
        for child in children {
            end(child);
        }
    }
}

fn end(backend: Pid) {
    // It also ends by itself when its postmaster is gone; then there is nobody to kill.
    let _gone = kill_process(backend, Signal::KILL);
}

fn children_of(pid: u32) -> Vec<Pid> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let list = fs::read_to_string(path).unwrap_or_default();
    list.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)).collect()
}
