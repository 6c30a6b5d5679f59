//! What the recipes make: who gets into each server, by their own way and by no other, and what becomes of a
//! server that is killed. Each test starts one from this machine's packages; the first run fetches them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::own::{Own, eventually, is_running, kill, pid, said};

fn password(server: &Value, role: &str) -> String {
    server["users"][role]["password"].as_str().unwrap().to_owned()
}

fn port(server: &Value, which: &str) -> String {
    server[which].as_u64().unwrap().to_string()
}

fn program(server: &Value, name: &str) -> PathBuf {
    Path::new(server["binDir"].as_str().unwrap()).join(name)
}

/// A file of the servers' certificates, by its name in the state file.
fn certificate(own: &Own, name: &str) -> String {
    own.state()["tls"][name].as_str().unwrap().to_owned()
}

/// One statement through the client of MySQL or of MariaDB.
fn mysql(
    client: &Path,
    server: &Value,
    user: &str,
    password: &str,
    options: &[String],
) -> Result<String, String> {
    let mut command = Command::new(client);
    command.args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", "--batch", "--skip-column-names"]);
    command.arg(format!("--port={}", port(server, "port"))).arg(format!("--user={user}")).args(options);
    said(command.arg("--execute=SELECT substring_index(current_user(), '@', 1)").env("MYSQL_PWD", password))
}

/// How the two clients say the same.
struct Words {
    plain: &'static [&'static str],
    verified: &'static str,
}

fn roles_of(service: &str, client: impl Fn(&Value) -> PathBuf, words: &Words) {
    let own = Own::new(service);
    let server = own.up(service);
    let client = client(&server);
    let plain: Vec<String> = words.plain.iter().map(ToString::to_string).collect();
    let verified = |ca: &str| vec![words.verified.to_owned(), format!("--ssl-ca={}", certificate(&own, ca))];
    let certified = [
        verified("ca"),
        vec![
            format!("--ssl-cert={}", certificate(&own, "clientCert")),
            format!("--ssl-key={}", certificate(&own, "clientKey")),
        ],
    ]
    .concat();
    let ask =
        |user: &str, password: &str, options: &[String]| mysql(&client, &server, user, password, options);

    for role in ["admin", "app"] {
        assert_eq!(ask(role, &password(&server, role), &plain), Ok(role.to_owned()));
    }
    assert_eq!(ask("tls", &password(&server, "tls"), &verified("ca")), Ok("tls".to_owned()));
    assert_eq!(ask("mtls", "", &certified), Ok("mtls".to_owned()));

    for (refusal, code) in [
        (ask("app", "wrong", &plain), "1045"),
        (ask("tls", &password(&server, "tls"), &plain), "1045"),
        (ask("mtls", "", &verified("ca")), "1045"),
        (ask("root", "", &plain), "1045"),
        (ask("", "", &plain), "1045"),
        (ask("app", &password(&server, "app"), &verified("otherCa")), "2026"),
    ] {
        let refusal = refusal.unwrap_err();
        assert!(refusal.contains(&format!("ERROR {code}")), "{refusal}");
    }
    killed_and_started_again(&own, service);
}

/// The server comes back at its port and answers, as `services restart` itself makes sure.
fn killed_and_started_again(own: &Own, service: &str) {
    let before = own.server(service);
    kill(pid(&before));
    eventually("the killed server is gone", || !is_running(pid(&before)));
    own.services(&format!("restart {service}"));
    let after = own.server(service);
    assert_ne!(pid(&after), pid(&before));
    assert_eq!(after["port"], before["port"]);
    assert_eq!(after["users"], before["users"]);
}

#[test]
fn mysql_lets_each_role_in_by_its_own_way_and_comes_back_after_a_crash() {
    let words = Words {
        plain: &["--ssl-mode=DISABLED", "--get-server-public-key"],
        verified: "--ssl-mode=VERIFY_IDENTITY",
    };
    roles_of("mysql", |server| program(server, "mysql"), &words);
}

#[test]
fn mariadb_lets_each_role_in_by_its_own_way_and_comes_back_after_a_crash() {
    let words = Words { plain: &["--skip-ssl"], verified: "--ssl-verify-server-cert" };
    roles_of("mariadb", |_| PathBuf::from("mariadb"), &words);
}

#[test]
fn mariadb_11_lets_each_role_in_by_its_own_way_and_comes_back_after_a_crash() {
    let words = Words { plain: &["--skip-ssl"], verified: "--ssl-verify-server-cert" };
    roles_of("mariadb11", |server| program(server, "mariadb"), &words);
}

/// One command through Redis' client; an error that the server says is an error here.
fn redis(
    client: &Path,
    server: &Value,
    role: &str,
    options: &[&str],
    words: &[&str],
) -> Result<String, String> {
    let mut command = Command::new(client);
    command.args(["-e", "-h", "127.0.0.1", "--no-auth-warning"]).args(options);
    if role != "nobody" {
        command.args(["--user", role]).env("REDISCLI_AUTH", password(server, role));
    }
    said(command.args(words))
}

#[test]
fn redis_lets_each_role_in_by_its_own_way_and_comes_back_after_a_crash() {
    let own = Own::new("redis");
    let server = own.up("redis");
    let client = program(&server, "redis-cli");
    let plain = ["-p", &port(&server, "port")];
    let tls_port = port(&server, "tlsPort");
    let ask = |role: &str, words: &[&str]| redis(&client, &server, role, &plain, words);

    assert_eq!(ask("app", &["SET", "key", "value"]), Ok("OK".to_owned()));
    assert_eq!(ask("reader", &["GET", "key"]), Ok("value".to_owned()));
    assert!(ask("reader", &["SET", "key", "other"]).unwrap_err().contains("NOPERM"));
    assert!(ask("nobody", &["GET", "key"]).unwrap_err().contains("NOAUTH"));

    let secure = |ca: &str| {
        let ca = certificate(&own, ca);
        redis(&client, &server, "tls", &["-p", &tls_port, "--tls", "--cacert", &ca], &["GET", "key"])
    };
    assert_eq!(secure("ca"), Ok("value".to_owned()));
    assert!(secure("otherCa").unwrap_err().contains("certificate verify failed"));
    killed_and_started_again(&own, "redis");
}

#[test]
fn valkey_has_the_users_of_redis() {
    let own = Own::new("valkey");
    let server = own.up("valkey");
    let client = program(&own.up("redis"), "redis-cli");
    let plain = ["-p", &port(&server, "port")];
    let ask = |role: &str, words: &[&str]| redis(&client, &server, role, &plain, words);
    assert!(ask("app", &["INFO", "server"]).unwrap().contains("valkey_version:"));
    assert!(ask("reader", &["FLUSHALL"]).unwrap_err().contains("NOPERM"));
    assert!(ask("nobody", &["PING"]).unwrap_err().contains("NOAUTH"));
    killed_and_started_again(&own, "valkey");
}

/// A line of Python with `client`, connected to `url`.
fn mongodb(server: &Value, url: &str, line: &str) -> Result<String, String> {
    let script = format!(
        "import sys\nfrom pymongo import MongoClient\n\
         client = MongoClient(sys.argv[1], serverSelectionTimeoutMS=1500)\n{line}"
    );
    said(Command::new(program(server, "python")).args(["-c", &script, url]))
}

#[test]
fn mongodb_lets_each_role_in_by_its_own_way_and_comes_back_after_a_crash() {
    let own = Own::new("mongodb");
    let server = own.up("mongodb");
    assert!(server["standIn"].as_str().unwrap().starts_with("SecantusDB "));
    let url = |role: &str| server["users"][role]["url"].as_str().unwrap().to_owned();
    let insert = "client.semilayer.things.insert_one({'_id': 7}); print('done')";
    let count = "print(client.semilayer.things.count_documents({}))";

    assert_eq!(mongodb(&server, &url("app"), insert), Ok("done".to_owned()));
    for role in ["admin", "tls", "mtls", "reader"] {
        assert_eq!(mongodb(&server, &url(role), count), Ok("1".to_owned()), "{role}");
    }
    let other_ca = percent_encoding::utf8_percent_encode(
        &certificate(&own, "otherCa"),
        percent_encoding::NON_ALPHANUMERIC,
    )
    .to_string();
    let app = url("app");
    let (before, after) = app.split_once("tlsCAFile=").unwrap();
    let rest = after.split_once('&').unwrap().1;
    for (refusal, reason) in [
        (mongodb(&server, &url("reader"), insert), "'code': 13,"),
        (mongodb(&server, &app.replace("%21", "%2A"), count), "'code': 18,"),
        (
            mongodb(&server, &format!("{before}tlsCAFile={other_ca}&{rest}"), count),
            "certificate verify failed",
        ),
        (mongodb(&server, &app.replace("tls=true", "tls=false"), count), "tls"),
    ] {
        let refusal = refusal.unwrap_err();
        assert!(refusal.contains(reason), "{refusal}");
    }
    killed_and_started_again(&own, "mongodb");
}

/// The status and the body of an answer to a statement sent as `role`.
fn clickhouse(server: &Value, role: &str, arguments: &str, statement: &str) -> (u16, String) {
    let stream =
        TcpStream::connect(("127.0.0.1", server["port"].as_u64().unwrap().try_into().unwrap())).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    exchange(stream, &request(role, Some(&password(server, role)), arguments, statement))
}

fn request(role: &str, password: Option<&str>, arguments: &str, statement: &str) -> String {
    let proof = match password {
        Some(password) => format!("X-ClickHouse-Key: {password}"),
        None => "X-ClickHouse-SSL-Certificate-Auth: on".to_owned(),
    };
    format!(
        "POST /?wait_end_of_query=1&{arguments} HTTP/1.0\r\nHost: localhost\r\nConnection: close\r\n\
         X-ClickHouse-User: {role}\r\n{proof}\r\nContent-Length: {}\r\n\r\n{statement}",
        statement.len()
    )
}

fn exchange(mut stream: impl Read + Write, request: &str) -> (u16, String) {
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    parsed(&answer)
}

fn parsed(answer: &str) -> (u16, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.trim().to_owned())
}

/// The same by TLS, through OpenSSL's client.
fn clickhouse_by_tls(server: &Value, request: &str, options: &[&str]) -> Result<String, String> {
    let mut client = Command::new("openssl")
        .args(["s_client", "-quiet", "-verify_return_error", "-servername", "localhost"])
        .args(["-connect", &format!("127.0.0.1:{}", port(server, "tlsPort"))])
        .args(options)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A handshake that fails closes the pipe early; what was said about it is the answer.
    let mut stdin = client.stdin.take().unwrap();
    drop(stdin.write_all(request.as_bytes()));
    let output = client.wait_with_output().unwrap();
    drop(stdin);
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    if said.is_empty() { Err(String::from_utf8_lossy(&output.stderr).into_owned()) } else { Ok(said) }
}

#[test]
fn both_clickhouses_let_each_role_in_by_its_own_way_and_come_back_after_a_crash() {
    let own = Own::new("clickhouse");
    for (service, many) in [("clickhouse", "26."), ("clickhouse-old", "18.")] {
        let server = own.up(service);
        assert!(server["version"].as_str().unwrap().starts_with(many), "{server}");
        let ask = |role: &str, statement: &str| clickhouse(&server, role, "", statement);
        assert_eq!(ask("app", "SELECT 1 + 1"), (200, "2".to_owned()));
        assert_eq!(ask("app", "CREATE DATABASE other").0, 200);
        assert_eq!(ask("reader", "SELECT 7"), (200, "7".to_owned()));
        assert!(ask("reader", "CREATE DATABASE third").1.contains("Code: 164"));
        assert!(clickhouse(&server, "reader", "max_threads=1", "SELECT 7").1.contains("Code: 164"));
        let nobody = TcpStream::connect(("127.0.0.1", server["port"].as_u64().unwrap().try_into().unwrap()));
        let (status, refusal) = exchange(nobody.unwrap(), &request("app", Some("wrong"), "", "SELECT 1"));
        assert!(status >= 400 && !refusal.contains("official build))1"), "{status} {refusal}");

        let by_tls = request("tls", Some(&password(&server, "tls")), "", "SELECT 3");
        let said = clickhouse_by_tls(&server, &by_tls, &["-CAfile", &certificate(&own, "ca")]).unwrap();
        assert_eq!(parsed(&said).0, 200, "{said}");
        let wrong = clickhouse_by_tls(&server, &by_tls, &["-CAfile", &certificate(&own, "otherCa")]);
        assert!(wrong.unwrap_err().contains("verify error"));
        killed_and_started_again(&own, service);
    }
}

#[test]
fn a_certificate_alone_is_a_way_into_the_new_clickhouse() {
    let own = Own::new("clickhouse-certificate");
    let server = own.up("clickhouse");
    let ca = certificate(&own, "ca");
    let (cert, key) = (certificate(&own, "clientCert"), certificate(&own, "clientKey"));
    let ask = |options: &[&str]| {
        let said = clickhouse_by_tls(&server, &request("mtls", None, "", "SELECT 3"), options).unwrap();
        parsed(&said)
    };
    assert_eq!(ask(&["-CAfile", &ca, "-cert", &cert, "-key", &key]), (200, "3".to_owned()));
    assert_eq!(ask(&["-CAfile", &ca]).0, 403);
}

#[test]
fn a_running_query_is_seen_and_killed_by_the_id_that_its_client_gave() {
    let own = Own::new("clickhouse-kill");
    let server = own.up("clickhouse");
    let count = "SELECT count() FROM system.processes WHERE query_id = 'endless'";
    let endless = std::thread::spawn({
        let server = server.clone();
        move || clickhouse(&server, "app", "query_id=endless", "SELECT count() FROM numbers(1000000000000)")
    });
    let runs = || clickhouse(&server, "app", "", count).1 == "1";
    eventually("the query runs", runs);
    clickhouse(&server, "app", "", "KILL QUERY WHERE query_id = 'endless' SYNC");
    let (status, said) = endless.join().unwrap();
    assert!(status >= 400 && said.contains("Code: 394"), "{status} {said}");
    eventually("the query is gone", || !runs());
}

#[test]
fn a_query_whose_client_went_away_ends() {
    let own = Own::new("clickhouse-gone");
    let server = own.up("clickhouse");
    let count = "SELECT count() FROM system.processes WHERE query_id = 'left'";
    let runs = || clickhouse(&server, "app", "", count).1 == "1";
    let arguments = "query_id=left&cancel_http_readonly_queries_on_client_close=1";
    let statement = "SELECT count() FROM numbers(1000000000000)";
    let mut client =
        TcpStream::connect(("127.0.0.1", server["port"].as_u64().unwrap().try_into().unwrap())).unwrap();
    client
        .write_all(request("app", Some(&password(&server, "app")), arguments, statement).as_bytes())
        .unwrap();
    eventually("the query runs", runs);
    drop(client);
    eventually("the query is gone", || !runs());
}

#[test]
fn an_error_in_the_middle_of_an_answer_breaks_it() {
    let own = Own::new("clickhouse-middle");
    let server = own.up("clickhouse");
    let statement =
        "SELECT number, throwIf(number = 2000000) FROM numbers(3000000) FORMAT JSONCompactEachRow";
    let request = request("app", Some(&password(&server, "app")), "", statement)
        .replace("wait_end_of_query=1", "wait_end_of_query=0")
        .replace("HTTP/1.0", "HTTP/1.1");
    let stream =
        TcpStream::connect(("127.0.0.1", server["port"].as_u64().unwrap().try_into().unwrap())).unwrap();
    let (status, body) = exchange(stream, &request);
    assert_eq!(status, 200);
    assert!(body.contains("__exception__") && body.contains("Code: 395"), "no error in the answer");
    assert!(!body.ends_with("\r\n0"), "the answer looks complete");
}
