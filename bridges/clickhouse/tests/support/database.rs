//! A database for one test, filled by a client that is not ours.

#![allow(dead_code, reason = "each of the programs that include this file uses a part of it")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::server::{Server, server};

/// A database that is dropped in the end.
pub(crate) struct Database {
    pub(crate) server: &'static Server,
    pub(crate) name: String,
}

const PREFIX: &str = "bridge_test_";

impl Database {
    /// An empty database of the server that every test uses.
    pub(crate) fn create() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let server = server();
        if number == 0 {
            drop_left_overs(server);
        }
        let name = format!("{PREFIX}{}_{number}", std::process::id());
        ask(server, "app", "", &format!("CREATE DATABASE {name}")).unwrap();
        Self { server, name }
    }

    /// A database with what `statements` make, separated by semicolons at ends of lines.
    pub(crate) fn with(statements: &str) -> Self {
        let database = Self::create();
        database.run(statements);
        database
    }

    /// Runs statements as `app`.
    pub(crate) fn run(&self, statements: &str) {
        for statement in statements.split(";\n").map(str::trim).filter(|statement| !statement.is_empty()) {
            let statement = statement.trim_end_matches(';');
            self.ask(statement).unwrap_or_else(|error| panic!("{statement}: {error}"));
        }
    }

    /// What the server answers, as tab-separated text.
    pub(crate) fn ask(&self, sql: &str) -> Result<String, String> {
        ask(self.server, "app", &self.name, sql)
    }

    /// The first value that `sql` gives, as text.
    pub(crate) fn value(&self, sql: &str) -> String {
        self.ask(sql).unwrap_or_else(|error| panic!("{sql}: {error}")).trim().to_owned()
    }

    /// Statements of the bridge that run at the server now and have `part` in them.
    pub(crate) fn running(&self, part: &str) -> u32 {
        let part = part.replace('\'', "\\'");
        let sql = format!(
            "SELECT count() FROM system.processes WHERE position(query, '{part}') > 0 \
                AND startsWith(query, '/* semilayer:')"
        );
        self.value(&sql).parse().unwrap()
    }

    /// Settings for the bridge, as `app`.
    pub(crate) fn config(&self) -> Value {
        self.config_of("app")
    }

    /// Settings for the bridge, without TLS.
    pub(crate) fn config_of(&self, role: &str) -> Value {
        json!({
            "host": self.server.host,
            "port": self.server.port,
            "database": self.name,
            "username": self.server.name(role),
            "password": self.server.password(role),
        })
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let dropped = ask(self.server, "app", "", &format!("DROP DATABASE IF EXISTS {}", self.name));
        assert!(
            dropped.is_ok() || std::thread::panicking(),
            "the test's database could not be dropped: {dropped:?}"
        );
    }
}

/// Asks over a connection of its own.
pub(crate) fn ask(server: &Server, role: &str, database: &str, sql: &str) -> Result<String, String> {
    let mut stream =
        TcpStream::connect((server.host.as_str(), server.port)).map_err(|error| error.to_string())?;
    let login = STANDARD.encode(format!("{}:{}", server.name(role), server.password(role)));
    let place = if database.is_empty() { String::new() } else { format!("?database={database}") };
    let head = format!(
        "POST /{place} HTTP/1.0\r\nAuthorization: Basic {login}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        sql.len()
    );
    stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(sql.as_bytes()))
        .map_err(|e| e.to_string())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).map_err(|error| error.to_string())?;
    let at = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or("no answer")?;
    let (head, body) = answer.split_at(at + 4);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let body = if head.contains("transfer-encoding: chunked") { dechunked(body) } else { body.to_vec() };
    let body = String::from_utf8_lossy(&body).into_owned();
    if head.starts_with("http/1.1 200") || head.starts_with("http/1.0 200") { Ok(body) } else { Err(body) }
}

fn dechunked(mut rest: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = rest.windows(2).position(|bytes| bytes == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&rest[..at]).unwrap().trim(), 16).unwrap();
        if length == 0 {
            break;
        }
        body.extend_from_slice(&rest[at + 2..at + 2 + length]);
        rest = &rest[at + 4 + length..];
    }
    body
}

/// Databases of test processes that ended without dropping them.
fn drop_left_overs(server: &Server) {
    let names = ask(
        server,
        "app",
        "",
        &format!("SELECT name FROM system.databases WHERE startsWith(name, '{PREFIX}')"),
    );
    for name in names.unwrap().lines() {
        let process = name.strip_prefix(PREFIX).and_then(|rest| rest.split('_').next());
        let lives = process.is_some_and(|process| std::path::Path::new("/proc").join(process).exists());
        if !lives {
            // Another test process may be faster.
            ask(server, "app", "", &format!("DROP DATABASE IF EXISTS {name}")).ok();
        }
    }
}
