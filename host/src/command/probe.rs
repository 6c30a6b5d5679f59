//! `probe`: asks the health port of a daemon on this host, as `status` does.

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
    let path = if probe.live { "/health" } else { "/ready" };
    match answer_of(path, flags, environment).await {
        Ok(Answer { status: 200, .. }) => Exit::Clean,
        Ok(Answer { body, .. }) => {
            complain(&body);
            Exit::Failed
        }
        Err(exit) => exit,
    }
}

/// What a health port answered.
pub(super) struct Answer {
    pub(super) address: SocketAddr,
    pub(super) status: u16,
    pub(super) body: String,
}

/// The health port's answer to a GET. Without one the complaint is made, and how to end is all that is left to know.
pub(super) async fn answer_of(path: &str, flags: &Flags, environment: &dyn Source) -> Result<Answer, Exit> {
    let address = load_health(flags, environment).map_err(|mistakes| refuse(&mistakes))?;
    let address = address.ok_or_else(|| {
        complain(&"SEMILAYER_HEALTH_PORT: is 0, so there is nobody to ask");
        Exit::Configuration
    })?;
    let (status, body) = ask(address, path).await.map_err(|error| {
        complain(&format!(
            "no runner answers at {address}: {error}; --health-port or SEMILAYER_HEALTH_PORT says where it listens"
        ));
        Exit::Failed
    })?;
    Ok(Answer { address, status, body })
}

async fn ask(address: SocketAddr, path: &str) -> io::Result<(u16, String)> {
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
