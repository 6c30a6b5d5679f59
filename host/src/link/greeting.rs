//! From nothing to an acknowledged socket.

use std::fmt;

use protocol::{Decoded, Extensions, FRAME_LIMIT_BYTES, GatewayFrame, Hello, HelloAck, decode_gateway_frame};
use runtime::Exit;
use runtime::dial::{Dialed, Dialer};
use runtime::error::DialError;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::http::{HeaderValue, StatusCode, header};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as SocketError, Message};
use tokio_tungstenite::{WebSocketStream, client_async_with_config};
use url::Url;

use futures::{SinkExt, StreamExt};

use crate::config::Config;
use crate::session::{Ended, Watched, broken, closed};

/// The library allocates this at once; frames from a gateway are small.
const READ_BUFFER_BYTES: usize = 16 * 1024;

/// An acknowledged socket.
pub(crate) struct Greeting {
    pub(crate) socket: WebSocketStream<Watched<Dialed>>,
    pub(crate) ack: HelloAck,
    /// What both sides have.
    pub(crate) extensions: Extensions,
}

/// Why there is no session.
#[derive(Debug, Error)]
pub(crate) enum NoSession {
    /// The gateway cannot be reached.
    #[error(transparent)]
    Unreachable(#[from] DialError),
    /// It refuses this runner.
    #[error(transparent)]
    Refused(Refusal),
    /// It answered the upgrade with something else.
    #[error("the gateway did not accept the WebSocket: {reason}")]
    Upgrade {
        /// What it did instead.
        reason: String,
    },
    /// It did not answer in time.
    #[error("the gateway did not answer in time")]
    NoAnswer,
    /// The token cannot stand in a header.
    #[error("the token holds characters that no token has")]
    Token,
    /// The socket ended before the session began.
    #[error("the socket ended before hello was answered")]
    Ended(Ended),
}

/// Why a gateway does not want this runner, now or later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum Refusal {
    /// 401: it does not know the id or the token.
    #[error("the gateway does not know this runner's id and token (401)")]
    Unknown,
    /// 403 or a close with 4401: it knows the token, and does not accept it any more or not with this id.
    #[error(
        "the gateway refuses this runner's id and token: revoked, or the id is not the one that the token was made for"
    )]
    Revoked,
    /// 426 or a close with 4426.
    #[error("the gateway does not speak this runner's protocol version")]
    Version,
}

impl Refusal {
    /// What a person can do about it.
    pub(crate) fn advice(self) -> &'static str {
        match self {
            Self::Unknown => {
                "check SEMILAYER_RUNNER_ID and SEMILAYER_RUNNER_TOKEN, and that the gateway is the one that made them"
            }
            Self::Revoked => {
                "check SEMILAYER_RUNNER_ID; set the new token if it was rotated; a revoked runner needs another one (semilayer-gateway runners create)"
            }
            Self::Version => "install a runner of the gateway's version",
        }
    }

    /// The exit code of a daemon that ends because of it.
    pub(crate) fn exit(self) -> Exit {
        match self {
            Self::Unknown | Self::Revoked => Exit::CredentialsRefused,
            Self::Version => Exit::VersionRefused,
        }
    }

    fn of(status: StatusCode) -> Option<Self> {
        match status {
            StatusCode::UNAUTHORIZED => Some(Self::Unknown),
            StatusCode::FORBIDDEN => Some(Self::Revoked),
            StatusCode::UPGRADE_REQUIRED => Some(Self::Version),
            _ => None,
        }
    }
}

/// Dials, upgrades, says hello and waits for the answer. `unknown` hears of frames whose type is not known.
pub(crate) async fn greet(
    config: &Config,
    dialer: &Dialer,
    hello: &Hello,
    unknown: impl Fn(&str),
) -> Result<Greeting, NoSession> {
    let mut socket = open(config, dialer).await?;
    let deadline = Instant::now() + config.timings.hello;
    let acknowledged = async {
        socket.send(Message::text(hello.encode())).await.map_err(|error| NoSession::Ended(broken(&error)))?;
        acknowledgement(&mut socket, unknown).await
    };
    let ack = timeout_at(deadline, acknowledged).await.map_err(|_| NoSession::NoAnswer)??;
    let extensions = ack.extensions.and(hello.extensions);
    Ok(Greeting { socket, ack, extensions })
}

async fn open(config: &Config, dialer: &Dialer) -> Result<WebSocketStream<Watched<Dialed>>, NoSession> {
    let request = request(config)?;
    let deadline = Instant::now() + config.timings.dial;
    let stream = Watched::new(dialer.dial(&config.gateway, deadline).await?);
    // Only now, with the server's certificate verified, does the token leave.
    let upgrade = client_async_with_config(request, stream, Some(limits()));
    let upgraded = timeout_at(deadline, upgrade).await.map_err(|_| NoSession::NoAnswer)?;
    upgraded.map(|(socket, _)| socket).map_err(|error| not_upgraded(&error))
}

fn request(config: &Config) -> Result<Request, NoSession> {
    let url = with_token_param(config);
    let mut request = url.as_str().into_client_request().map_err(|error| not_upgraded(&error))?;
    let bearer = format!("Bearer {}", config.token.expose());
    let mut bearer = HeaderValue::try_from(bearer).map_err(|_| NoSession::Token)?;
    bearer.set_sensitive(true);
    request.headers_mut().insert(header::AUTHORIZATION, bearer);
    let agent = concat!("semilayer-runner/", env!("CARGO_PKG_VERSION"));
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(agent));
    Ok(request)
}

fn with_token_param(config: &Config) -> Url {
    let mut url = config.gateway.clone();
    if let Some(name) = &config.token_param {
        url.query_pairs_mut().append_pair(name, config.token.expose());
    }
    url
}

fn limits() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(Some(FRAME_LIMIT_BYTES))
        .max_frame_size(Some(FRAME_LIMIT_BYTES))
}

/// Words of our own, because the library's may quote the URL.
fn not_upgraded(error: &SocketError) -> NoSession {
    let reason = match error {
        SocketError::Http(response) => match Refusal::of(response.status()) {
            Some(refusal) => return NoSession::Refused(refusal),
            None => format!("it answered {}", response.status()),
        },
        SocketError::Io(error) => error.to_string(),
        SocketError::Protocol(error) => error.to_string(),
        SocketError::ConnectionClosed | SocketError::AlreadyClosed => "it closed the connection".to_owned(),
        SocketError::Url(_) | SocketError::HttpFormat(_) => "the URL cannot be asked for".to_owned(),
        _ => "its answer is not that of a WebSocket server".to_owned(),
    };
    NoSession::Upgrade { reason }
}

async fn acknowledgement(
    socket: &mut WebSocketStream<Watched<Dialed>>,
    unknown: impl Fn(&str),
) -> Result<HelloAck, NoSession> {
    let ended = |ended| Err(NoSession::Ended(ended));
    loop {
        let text = match socket.next().await {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
            Some(Ok(Message::Binary(_))) => return ended(Ended::Violation("frames are text".to_owned())),
            Some(Ok(Message::Close(frame))) => return ended(closed(frame)),
            Some(Err(error)) => return ended(broken(&error)),
            None => return ended(Ended::Broken("the connection ended".to_owned())),
        };
        match decode_gateway_frame(&text) {
            Ok(Decoded::Frame(GatewayFrame::HelloAck(ack))) => return Ok(ack),
            Ok(Decoded::Frame(frame)) => {
                tracing::debug!(kind = Kind(&frame).to_string(), "a frame before hello-ack")
            }
            Ok(Decoded::Unknown(kind)) => unknown(&kind),
            Err(error) => return ended(Ended::Violation(error.to_string())),
        }
    }
}

/// A frame's type for the log.
struct Kind<'a>(&'a GatewayFrame);

impl fmt::Display for Kind<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            GatewayFrame::HelloAck(_) => "hello-ack",
            GatewayFrame::AssignmentsChanged(_) => "assignments-changed",
            GatewayFrame::Job(_) => "job",
            GatewayFrame::Cancel { .. } => "cancel",
            GatewayFrame::Ping => "ping",
            GatewayFrame::Credit { .. } => "credit",
            GatewayFrame::ExecRequest(_) => "exec_request",
            GatewayFrame::ExecCancel { .. } => "exec_cancel",
        })
    }
}
