//! The ways of the standard library, which go through `wasi:sockets`, and what else there is of the world.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};

use crate::PING;

/// Sends something and tells what comes back.
pub(crate) fn ping(address: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(PING)?;
    let mut answer = [0; PING.len()];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Connects until it may not any more, and tells how often it could. Everything is closed then.
pub(crate) fn count(address: &str) -> io::Result<String> {
    let mut open = Vec::new();
    loop {
        match TcpStream::connect(address) {
            Ok(stream) if open.len() < 1_000 => open.push(stream),
            Ok(_) => return Ok("no end".to_owned()),
            Err(error) => return Ok(format!("{}: {error}", open.len())),
        }
    }
}

/// Waits for a byte.
pub(crate) fn wait(address: &str) -> io::Result<String> {
    TcpStream::connect(address)?.read_exact(&mut [0]).map(|()| "waited".to_owned())
}

/// The addresses of a name.
pub(crate) fn look_up(name: &str) -> io::Result<String> {
    let found = (name, 0).to_socket_addrs()?;
    Ok(found.map(|address| address.ip().to_string()).collect::<Vec<_>>().join(" "))
}

/// Waits for a connection, if it may.
pub(crate) fn listen(address: &str) -> io::Result<String> {
    TcpListener::bind(address).map(|_| "listens".to_owned())
}

/// Sends a datagram, if it may.
pub(crate) fn send_datagram(address: &str) -> io::Result<String> {
    UdpSocket::bind("0.0.0.0:0")?.send_to(PING, address).map(|_| "sent".to_owned())
}

/// How much of files, environment and arguments there is.
pub(crate) fn surroundings() -> String {
    let root = std::fs::read_dir("/").map_or(0, Iterator::count);
    let own = std::fs::write("note", "x").is_ok();
    let variables = variables();
    format!("files {root}, writes {own}, variables {variables}, arguments {}", std::env::args().count())
}

#[expect(clippy::disallowed_methods, reason = "there must be none")]
fn variables() -> usize {
    std::env::vars().count()
}
