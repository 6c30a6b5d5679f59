//! Asks an HTTP proxy for a tunnel (RFC 9110 9.3.6).

use protocol::Secret;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::error::ProxyError;

/// The longest header of an answer that is read.
const ANSWER_LIMIT_BYTES: usize = 8 * 1024;

/// Sends CONNECT for `authority` (`host:port`) and waits for the answer; afterwards `stream` is the tunnel.
/// `authorization` is the whole value of `Proxy-Authorization`.
pub(super) async fn open<S>(
    stream: &mut S,
    authority: &str,
    authorization: Option<&Secret>,
) -> Result<(), ProxyError>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    stream.write_all(request(authority, authorization).as_bytes()).await.map_err(ProxyError::Io)?;
    stream.flush().await.map_err(ProxyError::Io)?;
    match status_of(&read_header(stream).await?) {
        Some(200..=299) => Ok(()),
        Some(407) => Err(ProxyError::Credentials),
        Some(status) => Err(ProxyError::Refused(status)),
        None => Err(ProxyError::NotHttp),
    }
}

fn request(authority: &str, authorization: Option<&Secret>) -> String {
    let credentials =
        authorization.map(|value| format!("Proxy-Authorization: {}\r\n", value.expose())).unwrap_or_default();
    format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{credentials}\r\n")
}

async fn read_header<S: AsyncRead + Unpin>(stream: &mut S) -> Result<Vec<u8>, ProxyError> {
    let mut header = Vec::with_capacity(256);
    // Byte by byte, since what follows the header belongs to the tunnel. It is short and comes once.
    while !header.ends_with(b"\r\n\r\n") {
        if header.len() >= ANSWER_LIMIT_BYTES {
            return Err(ProxyError::NotHttp);
        }
        header.push(stream.read_u8().await.map_err(ProxyError::Io)?);
    }
    Ok(header)
}

fn status_of(header: &[u8]) -> Option<u16> {
    let rest = header.strip_prefix(b"HTTP/1.1 ").or_else(|| header.strip_prefix(b"HTTP/1.0 "))?;
    let digits = rest.get(..3)?;
    let ends = rest.get(3).is_some_and(|byte| matches!(byte, b' ' | b'\r'));
    let digits = std::str::from_utf8(digits).ok()?;
    if ends && digits.bytes().all(|byte| byte.is_ascii_digit()) { digits.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn answered(answer: &[u8]) -> Result<Vec<u8>, ProxyError> {
        let (mut near, mut far) = tokio::io::duplex(64 * 1024);
        far.write_all(answer).await.unwrap();
        far.shutdown().await.unwrap();
        open(&mut near, "db:5432", None).await?;
        let mut rest = Vec::new();
        near.read_to_end(&mut rest).await.unwrap();
        Ok(rest)
    }

    #[tokio::test]
    async fn what_follows_the_answer_belongs_to_the_tunnel() {
        let rest = answered(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\nhello").await.unwrap();
        assert_eq!(rest, b"hello");
    }

    #[tokio::test]
    async fn a_refusal_keeps_its_status() {
        assert!(matches!(answered(b"HTTP/1.1 407 No\r\n\r\n").await, Err(ProxyError::Credentials)));
        assert!(matches!(answered(b"HTTP/1.0 403\r\n\r\n").await, Err(ProxyError::Refused(403))));
    }

    #[tokio::test]
    async fn an_answer_that_is_not_http_or_has_no_end_is_refused() {
        assert!(matches!(answered(b"SSH-2.0-OpenSSH\r\n\r\n").await, Err(ProxyError::NotHttp)));
        assert!(matches!(answered(b"HTTP/1.1 2000 x\r\n\r\n").await, Err(ProxyError::NotHttp)));
        assert!(matches!(answered(&[b'x'; 2 * ANSWER_LIMIT_BYTES]).await, Err(ProxyError::NotHttp)));
        assert!(matches!(answered(b"HTTP/1.1 200 OK\r\n").await, Err(ProxyError::Io(_))));
    }
}
