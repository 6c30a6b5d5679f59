//! The servers themselves: who gets in, and what becomes of them when things go wrong.
//!
//! `roles` looks at the servers of this test run. The others start one of their own in a cache folder of
//! their own, which needs PostgreSQL's programs or the right to install them.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "all of this file is tests, their helpers included; the run says by a variable where its servers are"
)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A cache folder that goes away, with its servers, at the end of the test.
struct Cache {
    path: PathBuf,
}

impl Cache {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("semilayer-xtask-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Cache { path }
    }

    fn xtask(&self, arguments: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.args(arguments.split_whitespace()).env("XDG_CACHE_HOME", &self.path);
        command
    }

    fn services(&self, verb: &str) -> String {
        succeeded(self.xtask(&format!("services {verb}")).output().unwrap())
    }

    fn folder(&self) -> PathBuf {
        self.path.join("semilayer/services")
    }

    fn server(&self) -> Value {
        read(&self.folder().join("state.json"))["servers"][0].clone()
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        let down = self.xtask("services down").output();
        let removed = fs::remove_dir_all(&self.path);
        if !std::thread::panicking() {
            succeeded(down.unwrap());
            removed.unwrap();
        }
    }
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn succeeded(output: Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

fn pid(server: &Value) -> u64 {
    server["origin"]["pid"].as_u64().unwrap()
}

fn kill(pid: u64) {
    succeeded(Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).output().unwrap());
}

fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn is_running(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

/// What one statement prints, or the server's refusal.
fn psql(server: &Value, connection: &str, statement: &str) -> Result<String, String> {
    let program = server["binDir"].as_str().map_or("psql".into(), |folder| Path::new(folder).join("psql"));
    let mut command = Command::new(program);
    command.args(["--no-psqlrc", "--no-align", "--tuples-only", "--quiet", "--set=ON_ERROR_STOP=1"]);
    let output = command
        .arg(format!("--command={statement}"))
        .arg(connection)
        .env("PGCONNECT_TIMEOUT", "10")
        .output()
        .expect("a PostgreSQL client is needed (Debian: apt-get install postgresql-client)");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn roles_get_in_by_their_own_way_and_by_no_other() {
    let path = std::env::var("SEMILAYER_TEST_SERVICES").expect("run the tests with `cargo xtask test`");
    let state = read(Path::new(&path));
    for server in state["servers"].as_array().unwrap() {
        let url = |role: &str| server["users"][role]["url"].as_str().unwrap().to_owned();
        for role in ["admin", "app", "reader", "tlsonly", "mtls", "legacy", "cleartext"] {
            assert_eq!(psql(server, &url(role), "select current_user"), Ok(role.to_owned()));
        }
        let without_tls = url("tlsonly").replace("verify-full", "disable");
        let refusal = psql(server, &without_tls, "select 1").unwrap_err();
        assert!(refusal.contains("pg_hba.conf rejects connection"), "{refusal}");

        let without_certificate =
            url("mtls").replace("sslcert=", "sslcert=%2Fnowhere").replace("sslkey=", "sslkey=%2Fnowhere");
        let refusal = psql(server, &without_certificate, "select 1").unwrap_err();
        assert!(refusal.contains("requires a valid client certificate"), "{refusal}");

        let other = state["tls"]["otherCa"].as_str().unwrap();
        let wrong_authority = format!("{}?sslmode=verify-ca&sslrootcert={other}", url("app"));
        let refusal = psql(server, &wrong_authority, "select 1").unwrap_err();
        assert!(refusal.contains("certificate verify failed"), "{refusal}");

        let wrong_password = url("app").replace("%21", "%2A");
        let refusal = psql(server, &wrong_password, "select 1").unwrap_err();
        assert!(refusal.contains("password authentication failed"), "{refusal}");
    }
}

#[test]
fn the_reader_reads_and_does_nothing_else() {
    let path = std::env::var("SEMILAYER_TEST_SERVICES").expect("run the tests with `cargo xtask test`");
    let state = read(Path::new(&path));
    for server in state["servers"].as_array().unwrap() {
        let url = |role: &str| server["users"][role]["url"].as_str().unwrap().to_owned();
        let table = format!("xtask_reader_{}", std::process::id());
        let made = psql(server, &url("app"), &format!("create table {table} as select 7 as seven"));
        let read = psql(server, &url("reader"), &format!("select seven from {table}"));
        let refused = [
            format!("insert into {table} values (8)"),
            format!("drop table {table}"),
            "create table stray (a int)".to_owned(),
            "create temporary table stray (a int)".to_owned(),
        ]
        .map(|statement| psql(server, &url("reader"), &statement));
        let dropped = psql(server, &url("app"), &format!("drop table {table}"));

        assert_eq!(made, Ok(String::new()));
        assert_eq!(read, Ok("7".to_owned()));
        for refusal in refused {
            let refusal = refusal.unwrap_err();
            assert!(refusal.contains("permission denied") || refusal.contains("must be owner"), "{refusal}");
        }
        assert_eq!(dropped, Ok(String::new()));
    }
}

#[test]
fn two_that_start_at_once_share_one_server_and_a_third_keeps_it() {
    let cache = Cache::new("shared");
    let first = cache.xtask("services up --native").stdout(std::process::Stdio::piped()).spawn().unwrap();
    cache.services("up --native");
    succeeded(first.wait_with_output().unwrap());
    let server = cache.server();
    assert!(cache.services("up").contains("kept"));
    assert_eq!(pid(&cache.server()), pid(&server));

    let variables = cache.services("env");
    let script = format!("{variables}\nprintf %s \"$SEMILAYER_TEST_POSTGRES_URL\"");
    let url = succeeded(Command::new("sh").args(["-c", &script]).output().unwrap());
    assert_eq!(psql(&server, &url, "select current_user"), Ok("app".to_owned()));
}

#[test]
fn a_killed_server_is_noticed_and_replaced() {
    let cache = Cache::new("killed");
    cache.services("up --native");
    let before = cache.server();
    kill(pid(&before));
    eventually("the killed server is gone", || !is_running(pid(&before)));
    assert!(!cache.xtask("services status").output().unwrap().status.success());

    cache.services("up --native");
    let after = cache.server();
    assert_ne!(pid(&after), pid(&before));
    cache.services("status");
}

#[test]
fn a_server_whose_start_was_never_finished_is_stopped_by_the_next() {
    let cache = Cache::new("unfinished");
    cache.services("up --native");
    let orphan = pid(&cache.server());
    fs::remove_file(cache.folder().join("state.json")).unwrap();

    cache.services("up --native");
    assert!(!is_running(orphan));
    assert_ne!(pid(&cache.server()), orphan);
}

#[test]
fn down_ends_its_own_server_and_leaves_a_stranger_with_an_old_pid_alone() {
    let cache = Cache::new("down");
    cache.services("up --native");
    let own = pid(&cache.server());
    let record = cache.folder().join("postgres.daemon.json");
    let truth = fs::read_to_string(&record).unwrap();
    let mut bystander = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(&record, truth.replace(&own.to_string(), &bystander.id().to_string())).unwrap();
    cache.services("down");
    let unharmed = is_running(u64::from(bystander.id()));
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert!(unharmed, "the bystander was ended");

    fs::write(&record, truth).unwrap();
    cache.services("down");
    assert!(!is_running(own));
    assert!(cache.services("down").contains("no services ran"));
}
