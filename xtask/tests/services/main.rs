//! The servers themselves: who gets in, and what becomes of them when things go wrong.
//!
//! PostgreSQL stands for all of them here: two tests look at the servers of this test run, the others start
//! one of their own, which needs PostgreSQL's programs or the right to install them. What is particular to the
//! others is in `recipes`.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "all of this file is tests, their helpers included; the run says by a variable where its servers are"
)]

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use own::{Own, eventually, is_running, kill, pid, read, succeeded};

mod engines;
mod own;
mod recipes;

/// Nothing but PostgreSQL, whatever Docker could do.
const UP: &str = "up --native --only postgres";

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

/// Every PostgreSQL of the test run.
fn postgres(state: &Value) -> Vec<&Value> {
    let servers = state["servers"].as_array().unwrap();
    let found: Vec<&Value> = servers.iter().filter(|server| server["service"] == "postgres").collect();
    assert!(!found.is_empty(), "no PostgreSQL runs");
    found
}

#[test]
fn roles_get_in_by_their_own_way_and_by_no_other() {
    let path = std::env::var("SEMILAYER_TEST_SERVICES").expect("run the tests with `cargo xtask test`");
    let state = read(Path::new(&path));
    for server in postgres(&state) {
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
    for server in postgres(&state) {
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
    let own = Own::new("shared");
    let first = own.command(UP).stdout(Stdio::piped()).spawn().unwrap();
    own.services(UP);
    succeeded(&first.wait_with_output().unwrap());
    let server = own.server("postgres");
    assert!(own.services(UP).contains("kept"));
    assert_eq!(pid(&own.server("postgres")), pid(&server));

    let variables = own.services("env");
    let script = format!("{variables}\nprintf %s \"$SEMILAYER_TEST_POSTGRES_URL\"");
    let url = succeeded(&Command::new("sh").args(["-c", &script]).output().unwrap());
    assert_eq!(psql(&server, &url, "select current_user"), Ok("app".to_owned()));
}

#[test]
fn a_second_service_joins_the_first_and_a_lost_one_is_replaced_alone() {
    let own = Own::new("joins");
    let postgres = own.up("postgres");
    let redis = own.up("redis");
    assert_eq!(pid(&own.server("postgres")), pid(&postgres));

    kill(pid(&redis));
    eventually("the killed server is gone", || !is_running(pid(&redis)));
    assert!(!own.command("status").output().unwrap().status.success());
    own.up("redis");
    assert_ne!(pid(&own.server("redis")), pid(&redis));
    assert_eq!(pid(&own.server("postgres")), pid(&postgres));
    assert_eq!(own.server("postgres")["users"], postgres["users"]);
}

#[test]
fn a_killed_server_starts_again_with_its_data_at_its_port() {
    let own = Own::new("restarted");
    let before = own.up("postgres");
    let url = before["users"]["app"]["url"].as_str().unwrap();
    // Written out by the server; the page cache outlives a process.
    let create = "set synchronous_commit = on; create table kept as select 7 as seven";
    assert_eq!(psql(&before, url, create), Ok(String::new()));
    kill(pid(&before));
    eventually("the killed server is gone", || !is_running(pid(&before)));

    own.services("restart postgres");
    let after = own.server("postgres");
    assert_ne!(pid(&after), pid(&before));
    assert_eq!(after["port"], before["port"]);
    assert_eq!(psql(&after, url, "select seven from kept"), Ok("7".to_owned()));
}

#[test]
fn a_killed_server_is_noticed_and_replaced() {
    let own = Own::new("killed");
    let before = own.up("postgres");
    kill(pid(&before));
    eventually("the killed server is gone", || !is_running(pid(&before)));
    assert!(!own.command("status").output().unwrap().status.success());

    let after = own.up("postgres");
    assert_ne!(pid(&after), pid(&before));
    own.services("status");
}

#[test]
fn a_server_whose_start_was_never_finished_is_stopped_by_the_next() {
    let own = Own::new("unfinished");
    let orphan = pid(&own.up("postgres"));
    fs::remove_file(own.folder().join("state.json")).unwrap();

    let after = own.up("postgres");
    assert!(!is_running(orphan));
    assert_ne!(pid(&after), orphan);
}

#[test]
fn status_names_the_versions_that_were_not_met() {
    let own = Own::new("not-met");
    let version = own.up("postgres")["version"].as_str().unwrap().to_owned();
    let status = own.services("status");
    let line = status.lines().find(|line| line.starts_with("not met here: ")).unwrap();
    assert!(line.contains(&format!("PostgreSQL {version} met")) || version.starts_with("17."), "{line}");
    for title in ["CockroachDB", "MySQL 9", "MySQL 8", "MongoDB 7", "Valkey 8", "ClickHouse LTS"] {
        assert!(line.contains(title), "{line}");
    }
}

#[test]
fn a_server_that_cannot_be_had_is_named_and_the_others_are_kept() {
    let own = Own::new("cannot");
    let unknown = own.command("up --native --only postgres,oracle").output().unwrap();
    assert!(!unknown.status.success());
    let complaint = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(complaint.contains("oracle") && complaint.contains("mysql"), "{complaint}");

    // Without the tools of Debian's packages there is no MySQL.
    let tools = own.folder().join("tools");
    fs::create_dir(&tools).unwrap();
    for tool in ["sh", "id", "setpriv", "openssl", "test"] {
        let places = ["/usr/bin", "/bin", "/usr/sbin"].map(|folder| Path::new(folder).join(tool));
        if let Some(found) = places.iter().find(|place| place.exists()) {
            std::os::unix::fs::symlink(found, tools.join(tool)).unwrap();
        }
    }
    let mut up = own.command("up --native --only postgres,mysql");
    let up = up.env("PATH", &tools).env("XDG_CACHE_HOME", own.folder().join("empty")).output().unwrap();
    let (said, complaint) = (String::from_utf8_lossy(&up.stdout), String::from_utf8_lossy(&up.stderr));
    assert!(!up.status.success() && complaint.contains("not started: mysql"), "{said}\n{complaint}");
    assert!(
        said.contains("MySQL could not be had: cannot fetch mysql;")
            && said.contains("Docker engine that can pull"),
        "{said}"
    );
    assert!(is_running(pid(&own.server("postgres"))));
}

#[test]
fn down_ends_its_own_server_and_leaves_a_stranger_with_an_old_pid_alone() {
    let own = Own::new("down");
    let server = pid(&own.up("postgres"));
    let record = own.folder().join("postgres.daemon.json");
    let truth = fs::read_to_string(&record).unwrap();
    let mut bystander = Command::new("sleep").arg("600").spawn().unwrap();
    fs::write(&record, truth.replace(&server.to_string(), &bystander.id().to_string())).unwrap();
    own.services("down");
    let unharmed = is_running(u64::from(bystander.id()));
    bystander.kill().unwrap();
    bystander.wait().unwrap();
    assert!(unharmed, "the bystander was ended");

    fs::write(&record, truth).unwrap();
    own.services("down");
    assert!(!is_running(server));
    assert!(own.services("down").contains("no services ran"));
}
