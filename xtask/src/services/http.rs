//! As much of HTTP as it takes to ask a server of ours on this machine one question.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::error::Error;

const LIMIT: Duration = Duration::from_secs(10);
const ANSWER_LIMIT: u64 = 1 << 16;

/// Sends `body` to `path` of 127.0.0.1 with these headers and returns the body of a good answer.
pub(super) fn post(port: u16, path: &str, headers: &[(&str, &str)], body: &str) -> Result<String, Error> {
    send("POST", port, path, headers, body)
}

/// Asks for `path` of 127.0.0.1 with these headers and returns the body of a good answer.
pub(super) fn get(port: u16, path: &str, headers: &[(&str, &str)]) -> Result<String, Error> {
    send("GET", port, path, headers, "")
}

fn send(method: &str, port: u16, path: &str, headers: &[(&str, &str)], body: &str) -> Result<String, Error> {
    let failed = |source| Error::Start { what: format!("a request to port {port}"), source };
    let stream =
        TcpStream::connect_timeout(&SocketAddr::from(([127, 0, 0, 1], port)), LIMIT).map_err(failed)?;
    stream.set_read_timeout(Some(LIMIT)).map_err(failed)?;
    stream.set_write_timeout(Some(LIMIT)).map_err(failed)?;
    exchange(stream, &Question { method, path, headers }, &mut body.as_bytes(), body.len() as u64)
        .map_err(failed)?
        .map_err(|found| Error::Unexpected { what: format!("port {port}"), found })
}

/// What is asked before the body.
pub(super) struct Question<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: &'a [(&'a str, &'a str)],
}

/// Sends a question with its body, which is `length` bytes long, and returns the body of a good answer; any other
/// answer as it came.
pub(super) fn exchange(
    mut stream: impl Read + Write,
    question: &Question<'_>,
    body: &mut dyn Read,
    length: u64,
) -> io::Result<Result<String, String>> {
    let Question { method, path, headers } = question;
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n{headers}Content-Length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes())?;
    io::copy(body, &mut stream)?;
    let mut answer = Vec::new();
    stream.take(ANSWER_LIMIT).read_to_end(&mut answer)?;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    Ok(body_of(&answer).ok_or(answer))
}

fn body_of(answer: &str) -> Option<String> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    if !head.split(' ').nth(1)?.starts_with('2') {
        return None;
    }
    let chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    if chunked { joined(body) } else { Some(body.to_owned()) }
}

/// The chunks of a body, up to the empty one.
fn joined(mut rest: &str) -> Option<String> {
    let mut body = String::new();
    loop {
        let (size, tail) = rest.split_once("\r\n")?;
        let size = usize::from_str_radix(size.trim(), 16).ok()?;
        if size == 0 {
            return Some(body);
        }
        body.push_str(tail.get(..size)?);
        rest = tail.get(size..)?.strip_prefix("\r\n")?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_comes_whole_or_in_chunks() {
        assert_eq!(body_of("HTTP/1.1 200 OK\r\nX: y\r\n\r\nabc").as_deref(), Some("abc"));
        let chunked =
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\na\r\ncdefghijkl\r\n0\r\n\r\n";
        assert_eq!(body_of(chunked).as_deref(), Some("abcdefghijkl"));
    }

    #[test]
    fn what_is_cut_or_refused_is_no_body() {
        assert_eq!(body_of("HTTP/1.1 403 Forbidden\r\n\r\nno"), None);
        assert_eq!(body_of("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"), None);
        assert_eq!(body_of("HTTP/1.1 200"), None);
    }
}
