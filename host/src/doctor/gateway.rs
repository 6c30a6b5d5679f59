//! The way to the gateway, stage by stage.

use futures::SinkExt;
use protocol::{AssignedSource, Draining, Extension, Hello, PROTOCOL_VERSION};
use runtime::dial::{Dialed, Dialer};
use runtime::error::{DialError, Stage, TlsError};
use runtime::tls::ClientTls;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::Message;
use url::Url;

use super::Check;
use crate::config::Config;
use crate::link::{Greeting, NoSession, Refusal, greet};
use crate::registry::Registry;
use crate::session::Ended;

/// The stages before hello, in their order.
const STAGES: [&str; 4] = ["dns", "tcp", "proxy", "tls"];

/// What was found on the way, and the sources that the gateway has assigned if it was reached.
pub(crate) struct Gateway {
    pub(crate) checks: Vec<Check>,
    pub(crate) assigned: Option<Vec<AssignedSource>>,
}

/// Goes the whole way, says hello with the real token, and leaves.
pub(crate) async fn introduce(config: &Config, registry: &Registry) -> Gateway {
    let tls = match ClientTls::load(config.ca_file.as_deref(), config.ssl_cert_file.as_deref()) {
        Ok(tls) => tls,
        Err(error) => {
            let advice = "set SEMILAYER_CA_FILE (or SSL_CERT_FILE) to a readable PEM file with certificates";
            return Gateway::unreached(vec![Check::failed("certificates", error.to_string(), advice)]);
        }
    };
    let mut checks = vec![certificates(&tls)];
    let dialer = Dialer::new(tls, config.proxies.clone());
    let deadline = Instant::now() + config.timings.dial;
    match dialer.dial(&config.gateway, deadline).await {
        Ok(dialed) => checks.extend(passed_stages(config, &dialer, &dialed)),
        Err(error) => {
            checks.extend(failed_stages(config, &dialer, &error));
            checks.push(Check::skipped("token", "the gateway was not reached"));
            return Gateway::unreached(checks);
        }
    }
    match greet(config, &dialer, &hello(config, registry), |_| {}).await {
        Ok(greeting) => {
            checks.push(accepted(&greeting));
            Gateway { checks, assigned: Some(leave(greeting).await) }
        }
        Err(error) => {
            checks.push(refused(&error));
            Gateway::unreached(checks)
        }
    }
}

impl Gateway {
    fn unreached(checks: Vec<Check>) -> Self {
        Self { checks, assigned: None }
    }
}

fn certificates(tls: &ClientTls) -> Check {
    match tls.roots() {
        0 => Check::warning(
            "certificates",
            "no certificate authority is trusted, so every TLS handshake will fail",
        ),
        roots => Check::passed("certificates", format!("{roots} certificate authorities are trusted")),
    }
}

fn passed_stages(config: &Config, dialer: &Dialer, dialed: &Dialed) -> Vec<Check> {
    let host = config.gateway.host_str().unwrap_or_default();
    let remote = dialed.remote_addr();
    let (dns, tcp) = match dialed.via_proxy() {
        Some(_) => (Check::skipped("dns", "the proxy looks the name up"), format!("the proxy at {remote}")),
        None => {
            (Check::passed("dns", format!("{host} is {}", remote.ip())), format!("connected to {remote}"))
        }
    };
    vec![dns, Check::passed("tcp", tcp), proxy(dialer, &config.gateway), tls(config, dialed)]
}

fn proxy(dialer: &Dialer, url: &Url) -> Check {
    match dialer.proxy_for(url) {
        Some(proxy) => Check::passed("proxy", format!("through {}", proxy.address())),
        None => Check::passed("proxy", "none, the gateway is dialed directly"),
    }
}

fn tls(config: &Config, dialed: &Dialed) -> Check {
    match dialed.tls_version() {
        Some(version) => {
            let issuer = dialed.peer_issuer().unwrap_or("somebody unknown");
            Check::passed("tls", format!("{version}, certificate issued by {issuer}"))
        }
        None if crate::config::is_loopback(&config.gateway) => {
            Check::passed("tls", "none; the gateway is on this host")
        }
        None => Check::warning("tls", "none: the network can read the token (--insecure-gateway)"),
    }
}

/// The failed stage fails, those before it pass, those after it are skipped.
fn failed_stages(config: &Config, dialer: &Dialer, error: &DialError) -> Vec<Check> {
    let failed = match error.stage() {
        Stage::Url | Stage::Dns => "dns",
        Stage::Tcp => "tcp",
        Stage::Proxy => "proxy",
        Stage::Tls => "tls",
    };
    let at = STAGES.iter().position(|stage| *stage == failed).unwrap_or_default();
    let check = |(index, stage): (usize, &&str)| {
        if index == at {
            Check::failed(*stage, error.to_string(), advice(config, error))
        } else if index < at {
            match *stage {
                "proxy" => proxy(dialer, &config.gateway),
                stage => Check::passed(stage, "passed"),
            }
        } else {
            Check::skipped(*stage, "an earlier stage failed")
        }
    };
    STAGES.iter().enumerate().map(check).collect()
}

fn advice(config: &Config, error: &DialError) -> String {
    let host = config.gateway.host_str().unwrap_or_default();
    let port = config.gateway.port_or_known_default().unwrap_or_default();
    match error {
        DialError::Url => "correct SEMILAYER_GATEWAY_URL".to_owned(),
        DialError::Dns { .. } => {
            format!("check the spelling of {host} in SEMILAYER_GATEWAY_URL, and this host's name servers")
        }
        DialError::Tcp { source, .. } if source.kind() == std::io::ErrorKind::ConnectionRefused => {
            format!(
                "nothing listens on {host}:{port}: start the gateway there, or correct SEMILAYER_GATEWAY_URL ({})",
                crate::link::shown(&config.gateway)
            )
        }
        DialError::Tcp { .. } => {
            format!("allow outgoing TCP to {host}:{port} in the firewall, or set HTTPS_PROXY")
        }
        DialError::Proxy { .. } => {
            "check HTTPS_PROXY, HTTP_PROXY and ALL_PROXY with their credentials; NO_PROXY lists what is dialed directly"
                .to_owned()
        }
        DialError::Tls(TlsError::Untrusted { .. }) => {
            "if the issuer is your company's proxy or own authority, put its certificate into SEMILAYER_CA_FILE"
                .to_owned()
        }
        DialError::Tls(_) => format!("make sure that a TLS server of the gateway listens on {host}:{port}"),
        DialError::TimedOut { .. } => {
            format!("something on the way to {host}:{port} drops packets; ask for outgoing access to it")
        }
    }
}

/// Offers nothing but to leave, and no slot, so that no job is placed here meanwhile.
fn hello(config: &Config, registry: &Registry) -> Hello {
    Hello {
        version: PROTOCOL_VERSION,
        runner_id: Some(config.runner_id.clone()),
        capabilities: registry.names(),
        runtime_version: Some(env!("CARGO_PKG_VERSION").to_owned()),
        extensions: [Extension::Drain, Extension::Stats].into_iter().collect(),
        max_jobs: Some(0),
        ..Hello::default()
    }
}

fn accepted(greeting: &Greeting) -> Check {
    let version = &greeting.ack.server_version;
    let sources = greeting.ack.assigned_sources.sources.len();
    let assigned = match sources {
        0 => "no source is assigned yet (semilayer-gateway assign)".to_owned(),
        1 => "1 source is assigned".to_owned(),
        more => format!("{more} sources are assigned"),
    };
    Check::passed("token", format!("accepted by gateway {version}, {assigned}"))
}

async fn leave(greeting: Greeting) -> Vec<AssignedSource> {
    let Greeting { mut socket, ack, extensions } = greeting;
    let goodbye = async {
        if extensions.has(Extension::Drain) {
            socket.feed(Message::text(Draining { deadline_ms: 0 }.encode())).await?;
        }
        socket.close(None).await
    };
    // What was to be found out is known; a gateway that does not take the goodbye changes nothing.
    drop(tokio::time::timeout(std::time::Duration::from_secs(1), goodbye).await);
    ack.assigned_sources.sources
}

fn refused(error: &NoSession) -> Check {
    let advice = match error {
        NoSession::Refused(refusal) => return not_wanted(*refusal),
        NoSession::Ended(Ended::Closed { code: 4401, .. }) => return not_wanted(Refusal::Revoked),
        NoSession::Ended(Ended::Closed { code: 4426, .. }) => return not_wanted(Refusal::Version),
        NoSession::Upgrade { .. } | NoSession::NoAnswer | NoSession::Ended(_) => {
            "make sure that SEMILAYER_GATEWAY_URL, with its path, is a gateway's and no other web server's"
        }
        NoSession::Unreachable(_) => "try again; the gateway was reached a moment ago",
        NoSession::Token => "copy the token anew, without quotes, blanks or line breaks",
    };
    Check::failed("token", error.to_string(), advice)
}

fn not_wanted(refusal: Refusal) -> Check {
    Check::failed("token", refusal.to_string(), refusal.advice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_close_that_refuses_the_runner_is_told_as_a_refusal() {
        let closed = |code| refused(&NoSession::Ended(Ended::Closed { code, reason: String::new() }));
        let revoked = closed(4401);
        assert_eq!(revoked, refused(&NoSession::Refused(Refusal::Revoked)));
        assert!(revoked.detail.contains("the id is not the one that the token was made for"), "{revoked:?}");
        assert!(revoked.advice.unwrap().starts_with("check SEMILAYER_RUNNER_ID; "));
        assert_eq!(closed(4426), refused(&NoSession::Refused(Refusal::Version)));
        assert_eq!(closed(1001).detail, "the socket ended before hello was answered");
    }
}
