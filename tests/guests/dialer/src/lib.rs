//! A plugin that connects to wherever its target says, in every way that a plugin could: the runner's streams and
//! requests, the standard library's sockets, `wasi:http`. Its one row tells what became of it.
//!
//! A target is a word and what it needs, with spaces between them: `stream db.example 5432`.

mod plain;
#[cfg(target_arch = "wasm32")]
mod wasi_http;

use std::fmt::Display;

use semilayer_plugin::http::Client;
use semilayer_plugin::net::Stream;
use semilayer_plugin::options::ReadOptions;
use semilayer_plugin::serde_json::json;
use semilayer_plugin::{Bridge, Column, Description, Error, Field, Kind, Rows, Schema};
use serde::Deserialize;

/// What is sent where somebody listens.
const PING: &[u8] = b"ping";

struct Dialer;

/// Its settings.
#[derive(Debug, Deserialize)]
struct Config {
    /// Read by the runner, which lets the plugin connect there.
    #[serde(rename = "endpoint")]
    _endpoint: Option<String>,
}

impl Bridge for Dialer {
    type Config = Config;

    fn describe() -> Description {
        Description::new("@semilayer-test/bridge-dialer", "Dialer")
            .version(env!("CARGO_PKG_VERSION"))
            .field(Field::text("endpoint", "Endpoint").endpoint())
    }

    fn connect(_config: Config) -> Result<Self, Error> {
        Ok(Self)
    }

    fn test(&mut self) -> Result<(), Error> {
        Ok(())
    }

    fn targets(&mut self) -> Result<Vec<String>, Error> {
        Ok(Vec::new())
    }

    fn schema(&mut self, _target: &str) -> Result<Schema, Error> {
        Ok(Schema::new([Column::new("told", Kind::Text)]))
    }

    fn read(&mut self, target: &str, _options: ReadOptions) -> Result<Rows, Error> {
        let told = go(target)?;
        Ok(Rows::json([json!({ "told": told })]))
    }
}

semilayer_plugin::export!(Dialer);

fn go(target: &str) -> Result<String, Error> {
    let words: Vec<&str> = target.split(' ').collect();
    match words.as_slice() {
        ["stream", host, port] => stream(host, port),
        ["wait", host, port] => {
            Stream::connect(host, port_of(port)?)?.receive(1).map(|_| "waited".to_owned())
        }
        ["get", base, path] => Client::new(base)?.retries(0).get(path).send()?.text(),
        ["tcp", address] => told(plain::ping(address)),
        ["tcp-count", address] => told(plain::count(address)),
        ["tcp-wait", address] => told(plain::wait(address)),
        ["lookup", name] => told(plain::look_up(name)),
        ["listen", address] => told(plain::listen(address)),
        ["udp", address] => told(plain::send_datagram(address)),
        ["surroundings"] => Ok(plain::surroundings()),
        #[cfg(target_arch = "wasm32")]
        ["wasi-get", authority, path] => told(wasi_http::get(authority, path)),
        _ => Err(Error::not_found(target)),
    }
}

fn stream(host: &str, port: &str) -> Result<String, Error> {
    let stream = Stream::connect(host, port_of(port)?)?;
    stream.send(PING)?;
    let answer = stream.receive(100)?;
    Ok(String::from_utf8_lossy(&answer.unwrap_or_default()).into_owned())
}

fn port_of(text: &str) -> Result<u16, Error> {
    text.parse().map_err(|_| Error::invalid_request("port", "a number"))
}

/// What the standard library says is the answer, not a failure of the job.
fn told<E: Display>(outcome: Result<String, E>) -> Result<String, Error> {
    Ok(outcome.unwrap_or_else(|error| format!("failed: {error}")))
}
