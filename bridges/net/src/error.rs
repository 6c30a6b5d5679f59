//! Why there is no encrypted connection.

use std::io;
use std::path::PathBuf;

use crate::Pem;

/// Why there is no encrypted connection. Every message says its cause, which is the source as well.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("the server does not offer TLS")]
    NotOffered,
    #[error("the server's certificate is refused: {0}")]
    Certificate(#[source] rustls::Error),
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
    #[error("host \"{0}\" cannot be the name in a certificate")]
    Name(String),
    #[error("cannot read {path}: {source}")]
    File {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{pem} holds no {wanted} in PEM form")]
    Unusable { pem: Pem, wanted: &'static str },
    #[error("the client certificate and its key are refused: {0}")]
    Identity(#[source] rustls::Error),
    #[error("sslmode verify-ca needs a root certificate")]
    NoRoots,
    #[error("the system's root certificates need sslmode verify-full")]
    WeakMode,
    #[error("the system has no root certificates")]
    NoSystemRoots,
    #[error("TLS cannot be set up: {0}")]
    Setup(#[source] rustls::Error),
}

impl TlsError {
    /// Tells a refused certificate from other failures of a handshake.
    pub fn from_handshake(error: io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
            Some(reason @ rustls::Error::InvalidCertificate(_)) => Self::Certificate(reason.clone()),
            _ => Self::Handshake(error),
        }
    }
}
