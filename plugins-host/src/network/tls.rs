//! TLS, done for the guest: it says what it trusts and what it shows, and never that nothing is to be checked.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bridge_net::{Check, ClientIdentity, Pem, Roots, Socket, TlsClient, TlsError, client_config};
use protocol::Secret;
use rustls::ClientConfig;

use super::error::NetworkError;
use super::host::Host;
use crate::bindings::net::TlsOptions;

/// Configurations that are kept. Making one reads the system's roots or parses the guest's.
const KEPT: usize = 8;
/// Certificates or a key in PEM form.
const PEM_BYTES: usize = 1 << 20;
/// Protocols to offer.
const PROTOCOLS: usize = 8;

/// What a guest wants of a handshake.
#[derive(Clone, PartialEq, Eq, Default)]
pub(crate) struct Choice {
    /// Other than the host that is connected to.
    server_name: Option<Host>,
    trust: Trust,
    alpn: Vec<Vec<u8>>,
}

/// Whom to trust and who to be.
#[derive(Clone, PartialEq, Eq, Default)]
struct Trust {
    ca: Option<Secret>,
    identity: Option<(Secret, Secret)>,
}

impl Choice {
    /// What is used for `https` when nothing is said.
    pub(crate) fn http() -> Self {
        Self { alpn: vec![b"http/1.1".to_vec()], ..Self::default() }
    }

    /// As [`http`](Self::http), with the guest's trust. Other protocols than HTTP/1.1 cannot be had.
    pub(crate) fn http_with(options: TlsOptions) -> Result<Self, NetworkError> {
        if options.alpn.iter().any(|protocol| protocol != "http/1.1") {
            return Err(NetworkError::invalid("tls.alpn", "\"http/1.1\" or nothing"));
        }
        Ok(Self { alpn: Self::http().alpn, ..Self::parse(options)? })
    }

    /// Reads what a guest wants.
    pub(crate) fn parse(options: TlsOptions) -> Result<Self, NetworkError> {
        let server_name = match options.server_name {
            Some(name) => Some(Host::parse(&name).ok_or(NetworkError::invalid("tls.server-name", "a host"))?),
            None => None,
        };
        let identity = match (pem("tls.certificate", options.certificate)?, pem("tls.key", options.key)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) | (None, Some(_)) => {
                return Err(NetworkError::invalid("tls.key", "a key if and only if there is a certificate"));
            }
        };
        let fits = |protocol: &String| (1..=255).contains(&protocol.len());
        if options.alpn.len() > PROTOCOLS || !options.alpn.iter().all(fits) {
            return Err(NetworkError::invalid("tls.alpn", "at most 8 protocols of 1 to 255 bytes"));
        }
        let alpn = options.alpn.into_iter().map(String::into_bytes).collect();
        Ok(Self { server_name, trust: Trust { ca: pem("tls.ca", options.ca)?, identity }, alpn })
    }
}

/// A text in PEM form; never the name of a file.
fn pem(field: &'static str, text: Option<String>) -> Result<Option<Secret>, NetworkError> {
    match text {
        Some(text) if text.len() > PEM_BYTES => Err(NetworkError::invalid(field, "at most 1 MiB")),
        other => Ok(other.map(Secret::new)),
    }
}

/// Keys stay out of sight.
impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choice")
            .field("server_name", &self.server_name)
            .field("alpn", &self.alpn)
            .finish_non_exhaustive()
    }
}

/// The configurations of a plugin, made when they are needed.
pub(crate) struct Configurations {
    roots: Roots,
    /// The newest last.
    kept: Mutex<Vec<(Trust, Arc<ClientConfig>)>>,
}

impl Configurations {
    /// `roots` for guests that bring none.
    pub(crate) fn new(roots: Roots) -> Self {
        Self { roots, kept: Mutex::default() }
    }

    /// The handshake with `host`.
    pub(crate) async fn secure(
        &self,
        stream: Box<dyn Socket>,
        host: &Host,
        choice: &Choice,
    ) -> Result<Box<dyn Socket>, NetworkError> {
        let mut config = self.config(&choice.trust).await?;
        if !choice.alpn.is_empty() {
            let mut own = ClientConfig::clone(&config);
            own.alpn_protocols.clone_from(&choice.alpn);
            config = Arc::new(own);
        }
        let name = match choice.server_name.as_ref().unwrap_or(host) {
            Host::Name(name) => name.clone(),
            Host::Address(address) => address.to_string(),
        };
        let client = TlsClient::new(config, &name)?;
        Ok(Box::new(client.connect(stream).await.map_err(TlsError::from_handshake)?))
    }

    async fn config(&self, trust: &Trust) -> Result<Arc<ClientConfig>, NetworkError> {
        if let Some(config) = self.kept(trust) {
            return Ok(config);
        }
        let text = |secret: &Secret| Pem::Text(secret.clone());
        let roots = trust.ca.as_ref().map_or_else(|| self.roots.clone(), |ca| Roots::Given(text(ca)));
        let identity = trust.identity.as_ref();
        let identity =
            identity.map(|(chain, key)| ClientIdentity { certificate: text(chain), key: text(key) });
        let config = Arc::new(client_config(Check::ChainAndName, &roots, identity.as_ref()).await?);
        self.keep(trust.clone(), Arc::clone(&config));
        Ok(config)
    }

    fn kept(&self, trust: &Trust) -> Option<Arc<ClientConfig>> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().find(|(known, _)| known == trust).map(|(_, config)| Arc::clone(config))
    }

    fn keep(&self, trust: Trust, config: Arc<ClientConfig>) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.remove(0);
        }
        kept.push((trust, config));
    }
}
