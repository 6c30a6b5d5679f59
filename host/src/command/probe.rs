//! `probe`: asks the health port of a daemon on this host.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use runtime::Exit;
use runtime::settings::Source;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{complain, refuse};
use crate::cli::{Flags, Probe};
use crate::config::load_health;

const LIMIT: Duration = Duration::from_secs(5);
const ANSWER_BYTES: u64 = 1024 * 1024;

pub(super) async fn run(probe: Probe, flags: &Flags, environment: &dyn Source) -> Exit {
    let address = match load_health(flags, environment) {
        Ok(Some(address)) => address,
        Ok(None) => {
            complain("SEMILAYER_HEALTH_PORT: is 0, so there is nobody to ask");
            return Exit::Configuration;
        }
        Err(mistakes) => return refuse(&mistakes),
    };
    let path = if probe.live { "/health" } else { "/ready" };
    match ask(address, path).await {
        Ok((200, _)) => Exit::Clean,
        Ok((_, body)) => {
            complain(&body);
            Exit::Failed
        }
        Err(error) => {
            complain(&format!("{address} does not answer: {error}"));
            Exit::Failed
        }
    }
}

/// Status and body of a GET from the health port.
pub(super) async fn ask(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
    let answer = timeout(LIMIT, exchange(reachable(address), path)).await;
    let answer = answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP");
    let (head, body) = answer.split_once("\r\n\r\n").ok_or_else(malformed)?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(malformed)?;
    Ok((status, body.to_owned()))
}

async fn exchange(address: SocketAddr, path: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    // HTTP/1.0, so that the body comes as it is and the server closes after it.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES).read_to_string(&mut answer).await?;
    Ok(answer)
}

/// A server that listens everywhere is asked on the loopback.
fn reachable(address: SocketAddr) -> SocketAddr {
    let host = match address.ip() {
        IpAddr::V4(host) if host.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(host) if host.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        host => host,
    };
    SocketAddr::new(host, address.port())
}
