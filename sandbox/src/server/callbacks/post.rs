//! One POST to somebody else's server.
//!
//! The caller of this server chooses the URL, and must not reach with it what only this machine can: the name is looked
//! up once, every address is judged, and exactly an address that was judged is dialed. No redirect is followed, no proxy
//! is asked, nothing of the answer but its status is looked at.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use reach::Reach;
use runtime::tls::ClientTls;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use url::{Host, Position, Url};

/// How long one try may take, from the name to the status.
const LIMIT: Duration = Duration::from_secs(15);
const ADDRESS_LIMIT: Duration = Duration::from_secs(5);
/// A resolver's answer may be hostile.
const ADDRESSES: usize = 8;
/// The largest head of an answer.
const HEAD_BYTES: usize = 16 * 1024;
const SIGNATURE: &str = "x-light-run-signature";

/// How a try went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Sent {
    /// The other side has it.
    Taken,
    /// It may go better later.
    Failed(String),
    /// It will not.
    Refused(String),
}

/// Sends messages.
#[derive(Debug)]
pub(super) struct Poster {
    tls: ClientTls,
    private: bool,
}

impl Poster {
    /// Trusts what `tls` trusts; reaches private addresses if `private`.
    pub(super) fn new(tls: ClientTls, private: bool) -> Self {
        Self { tls, private }
    }

    /// Posts a JSON body.
    pub(super) async fn post(&self, url: &Url, signature: Option<&str>, body: String) -> Sent {
        match tokio::time::timeout(LIMIT, self.exchange(url, signature, body)).await {
            Ok(Ok(status)) => judge(status),
            Ok(Err(Failure::Passing(error))) => Sent::Failed(error),
            Ok(Err(Failure::Lasting(error))) => Sent::Refused(error),
            Err(_) => Sent::Failed(format!("no answer within {} s", LIMIT.as_secs())),
        }
    }

    async fn exchange(
        &self,
        url: &Url,
        signature: Option<&str>,
        body: String,
    ) -> Result<StatusCode, Failure> {
        let request = request(url, signature, body)?;
        let stream = connect(self.addresses(url).await?).await?;
        if url.scheme() == "https" {
            let name = url.host_str().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
            let secured = self.tls.connect(name, stream).await.map_err(|error| passing(&error))?;
            status(secured.stream, request).await
        } else {
            status(stream, request).await
        }
    }

    /// The addresses of a URL's host that may be dialed.
    async fn addresses(&self, url: &Url) -> Result<Vec<SocketAddr>, Failure> {
        let port = url.port_or_known_default().unwrap_or(80);
        let found: Vec<SocketAddr> = match url.host() {
            None => Vec::new(),
            Some(Host::Ipv4(address)) => vec![(address, port).into()],
            Some(Host::Ipv6(address)) => vec![(address, port).into()],
            Some(Host::Domain(name)) => {
                let found = tokio::net::lookup_host((name, port)).await;
                found.map_err(|error| Failure::Passing(format!("cannot resolve {name}: {error}")))?.collect()
            }
        };
        let allowed =
            found.iter().copied().filter(|address| self.private || Reach::of(address.ip()).is_public());
        let allowed: Vec<SocketAddr> = allowed.take(ADDRESSES).collect();
        match (allowed.is_empty(), found.is_empty()) {
            (false, _) => Ok(allowed),
            (true, true) => Err(Failure::Passing("the host has no address".to_owned())),
            (true, false) => Err(Failure::Lasting("the host has no public address".to_owned())),
        }
    }
}

enum Failure {
    Passing(String),
    Lasting(String),
}

fn passing(error: &dyn std::error::Error) -> Failure {
    Failure::Passing(error.to_string())
}

fn request(url: &Url, signature: Option<&str>, body: String) -> Result<Request<Full<Bytes>>, Failure> {
    let host = &url[Position::BeforeHost..Position::AfterPort];
    let path = &url[Position::BeforePath..Position::AfterQuery];
    let mut request = Request::post(path)
        .header(HOST, host)
        .header(CONTENT_TYPE, "application/json")
        .header(USER_AGENT, concat!("semilayer-sandbox/", env!("CARGO_PKG_VERSION")))
        .header(CONNECTION, "close");
    if let Some(signature) = signature {
        request = request.header(SIGNATURE, signature);
    }
    request
        .body(Full::from(body))
        .map_err(|_| Failure::Lasting("the URL cannot stand in a request".to_owned()))
}

async fn connect(addresses: Vec<SocketAddr>) -> Result<TcpStream, Failure> {
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match tokio::time::timeout(ADDRESS_LIMIT, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(Failure::Passing(format!("cannot connect: {last}")))
}

async fn status<S>(stream: S, request: Request<Full<Bytes>>) -> Result<StatusCode, Failure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let handshake = http1::Builder::new().max_buf_size(HEAD_BYTES).handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = handshake.map_err(|error| passing(&error))?;
    let exchange = sender.send_request(request);
    tokio::pin!(exchange, connection);
    tokio::select! {
        biased;
        answer = &mut exchange => answer.map(|answer| answer.status()).map_err(|error| passing(&error)),
        // The connection ends before its answer when it breaks; the answer then says why.
        _ = &mut connection => exchange.await.map(|answer| answer.status()).map_err(|error| passing(&error)),
    }
}

fn judge(status: StatusCode) -> Sent {
    if status.is_success() {
        return Sent::Taken;
    }
    let message = format!("answered with status {}", status.as_u16());
    let may_pass = status.is_server_error() || matches!(status.as_u16(), 408 | 425 | 429);
    if may_pass { Sent::Failed(message) } else { Sent::Refused(message) }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    fn poster(private: bool) -> Poster {
        Poster::new(ClientTls::load(None, None).unwrap(), private)
    }

    /// Answers one request with `answer` and gives it back.
    async fn server(answer: &'static str) -> (Url, impl Future<Output = String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/done?x=1#y", listener.local_addr().unwrap()).parse().unwrap();
        let served = async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let mut count = 0;
            while !request[..count].ends_with(b"{}") {
                count += stream.read(&mut request[count..]).await.unwrap();
            }
            stream.write_all(answer.as_bytes()).await.unwrap();
            String::from_utf8(request[..count].to_vec()).unwrap()
        };
        (url, served)
    }

    #[tokio::test]
    async fn a_message_arrives_with_its_signature() {
        let (url, served) = server("HTTP/1.1 204 No Content\r\n\r\n").await;
        let poster = poster(true);
        let (sent, request) = tokio::join!(poster.post(&url, Some("sha256=ab"), "{}".to_owned()), served);
        assert_eq!(sent, Sent::Taken);
        assert!(request.starts_with("POST /done?x=1 HTTP/1.1\r\n"), "{request}");
        for header in
            ["content-type: application/json", "x-light-run-signature: sha256=ab", "content-length: 2"]
        {
            assert!(request.contains(&format!("{header}\r\n")), "{request}");
        }
        assert!(!request.contains("#y"), "{request}");
    }

    #[tokio::test]
    async fn only_failures_that_may_pass_are_worth_another_try() {
        for (answer, again) in [
            ("HTTP/1.1 500 Oops\r\n\r\n", true),
            ("HTTP/1.1 429 Slow\r\n\r\n", true),
            ("not http at all\r\n\r\n", true),
            ("", true),
            ("HTTP/1.1 404 No\r\n\r\n", false),
            ("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n", false),
        ] {
            let (url, served) = server(answer).await;
            let poster = poster(true);
            let (sent, _) = tokio::join!(poster.post(&url, None, "{}".to_owned()), served);
            assert_eq!(matches!(sent, Sent::Failed(_)), again, "{answer}: {sent:?}");
            assert_ne!(sent, Sent::Taken);
        }
    }

    #[tokio::test]
    async fn a_dead_server_may_come_back() {
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let sent =
            poster(true).post(&format!("http://{address}/").parse().unwrap(), None, String::new()).await;
        assert!(matches!(sent, Sent::Failed(_)), "{sent:?}");
    }

    #[tokio::test]
    async fn no_name_leads_to_this_machine() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433"] {
            let url = format!("http://{host}:{port}/").parse().unwrap();
            let sent = poster(false).post(&url, None, String::new()).await;
            assert!(matches!(sent, Sent::Refused(_)), "{host}: {sent:?}");
        }
        assert!(tokio::time::timeout(Duration::from_millis(50), listener.accept()).await.is_err());
    }
}
