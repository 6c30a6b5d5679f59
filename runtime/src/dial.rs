//! Opens a stream to a URL: name, address, proxy, TLS.
//!
//! A name is looked up anew for each dial, since a gateway may have moved. All of its addresses are tried, each a little
//! after the one before (RFC 8305), and the first that accepts wins. Through a proxy every scheme uses CONNECT, `ws`
//! and `http` too: what the caller gets is always a stream to the server itself. An error tells the stage and never
//! holds a proxy's credentials.

mod proxies;
mod stream;
mod tcp;
mod tunnel;

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::Instant;
use url::{Host, Url};

pub use proxies::{Proxies, Proxy};
pub use stream::Dialed;

use crate::error::{DialError, ProxyError, Stage};
use crate::tls::ClientTls;
use stream::Transport;

/// Opens streams. Clones share the TLS configuration.
#[derive(Clone, Debug)]
pub struct Dialer {
    tls: ClientTls,
    proxies: Proxies,
}

impl Dialer {
    /// A dialer that trusts what `tls` trusts and goes through `proxies`.
    pub fn new(tls: ClientTls, proxies: Proxies) -> Self {
        Self { tls, proxies }
    }

    /// What it trusts.
    pub fn tls(&self) -> &ClientTls {
        &self.tls
    }

    /// The proxy that a dial of `url` goes through.
    pub fn proxy_for(&self, url: &Url) -> Option<&Proxy> {
        self.proxies.for_url(url)
    }

    /// Opens a stream to the host of a `ws`, `wss`, `http` or `https` URL, with the TLS handshake done for `wss` and
    /// `https`. Gives up at `deadline`, and closes what it had opened when it is dropped.
    pub async fn dial(&self, url: &Url, deadline: Instant) -> Result<Dialed, DialError> {
        let target = Target::of(url)?;
        let within = Within { deadline, host: &target.name };
        let (transport, remote, via) = match self.proxies.for_url(url) {
            Some(proxy) => {
                let (transport, remote) = self.through(proxy, &target, &within).await?;
                (transport, remote, Some(proxy.address()))
            }
            None => {
                let (stream, remote) = direct(&target, &within).await?;
                (Box::new(stream) as Transport, remote, None)
            }
        };
        if target.secure {
            let secured = within.stage(Stage::Tls, self.tls.connect(&target.name, transport)).await??;
            Ok(Dialed::secure(secured, remote, via))
        } else {
            Ok(Dialed::plain(transport, remote, via))
        }
    }

    async fn through(
        &self,
        proxy: &Proxy,
        target: &Target,
        within: &Within<'_>,
    ) -> Result<(Transport, SocketAddr), DialError> {
        let failed = |source| DialError::Proxy { proxy: proxy.address(), source };
        within.stage(Stage::Proxy, self.tunnel(proxy, target)).await?.map_err(failed)
    }

    async fn tunnel(&self, proxy: &Proxy, target: &Target) -> Result<(Transport, SocketAddr), ProxyError> {
        let addresses = tcp::resolve(proxy.host(), proxy.port()).await.map_err(ProxyError::Dns)?;
        let (stream, remote) = tcp::connect_any(addresses).await.map_err(ProxyError::Tcp)?;
        let mut transport: Transport = if proxy.is_secure() {
            Box::new(self.tls.connect(&proxy.name(), stream).await?.stream)
        } else {
            Box::new(stream)
        };
        tunnel::open(&mut transport, &target.authority(), proxy.authorization()).await?;
        Ok((transport, remote))
    }
}

/// What a URL asks for.
struct Target {
    host: Host<String>,
    /// The host as TLS and messages name it: IPv6 addresses without brackets.
    name: String,
    port: u16,
    secure: bool,
}

impl Target {
    fn of(url: &Url) -> Result<Self, DialError> {
        let secure = is_secure(url.scheme()).ok_or(DialError::Url)?;
        let host = url.host().ok_or(DialError::Url)?.to_owned();
        let port = url.port().unwrap_or(if secure { 443 } else { 80 });
        Ok(Self { name: host_name(&host), host, port, secure })
    }

    /// Host and port as CONNECT wants them: IPv6 addresses in brackets.
    fn authority(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }
}

/// Whether a scheme means TLS; `None` for schemes that are not dialed.
fn is_secure(scheme: &str) -> Option<bool> {
    match scheme {
        "wss" | "https" => Some(true),
        "ws" | "http" => Some(false),
        _ => None,
    }
}

fn host_name(host: &Host<String>) -> String {
    match host {
        Host::Domain(name) => name.clone(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    }
}

async fn direct(target: &Target, within: &Within<'_>) -> Result<(TcpStream, SocketAddr), DialError> {
    let addresses = within
        .stage(Stage::Dns, tcp::resolve(&target.host, target.port))
        .await?
        .map_err(|source| DialError::Dns { host: target.name.clone(), source })?;
    within.stage(Stage::Tcp, tcp::connect_any(addresses)).await?.map_err(|source| DialError::Tcp {
        host: target.name.clone(),
        port: target.port,
        source,
    })
}

/// The time that is left for a dial.
struct Within<'t> {
    deadline: Instant,
    host: &'t str,
}

impl Within<'_> {
    async fn stage<T>(&self, stage: Stage, work: impl Future<Output = T>) -> Result<T, DialError> {
        let late = |_| DialError::TimedOut { stage, host: self.host.to_owned() };
        tokio::time::timeout_at(self.deadline, work).await.map_err(late)
    }
}

#[cfg(test)]
mod tests;
