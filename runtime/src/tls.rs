//! TLS for every outbound path, and for a server of ours.
//!
//! One [`ClientTls`] serves the WebSocket, HTTP and proxies alike, so that a private CA that works for one works for
//! all. There is no way to switch verification off. rustls with ring is named explicitly and nothing depends on a
//! provider that is set for the whole process.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use x509_cert::der::Decode as _;

use crate::error::TlsError;

/// The roots that are trusted and how to connect with them: TLS 1.3 and 1.2.
#[derive(Clone, Debug)]
pub struct ClientTls {
    config: Arc<ClientConfig>,
    /// `None` if there are no roots at all, which fails each handshake rather than the start of a daemon that may
    /// need none.
    verifier: Option<Arc<WebPkiServerVerifier>>,
    roots: usize,
}

/// A stream after the handshake, with what is known of the peer.
#[derive(Debug)]
pub struct Secured<S> {
    /// The stream.
    pub stream: TlsStream<S>,
    /// `TLS 1.3` or `TLS 1.2`.
    pub version: &'static str,
    /// Who issued the peer's certificate, if it can be read.
    pub issuer: Option<String>,
}

impl ClientTls {
    /// Trusts the platform's roots, or in their place those of `ssl_cert_file` (the `SSL_CERT_FILE` of OpenSSL), and
    /// beside them those of `extra_ca_file`. Both files hold PEM certificates.
    ///
    /// A file that is named but cannot be read or holds no certificate is an error. Platform roots that cannot be
    /// read are left out; see [`roots`](ClientTls::roots).
    pub fn load(extra_ca_file: Option<&Path>, ssl_cert_file: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        match ssl_cert_file {
            Some(path) => add_file(&mut roots, path)?,
            None => add_platform_roots(&mut roots),
        }
        if let Some(path) = extra_ca_file {
            add_file(&mut roots, path)?;
        }
        Self::with_roots(roots)
    }

    /// Trusts exactly `roots`.
    pub fn with_roots(roots: RootCertStore) -> Result<Self, TlsError> {
        let provider = provider();
        let count = roots.len();
        let roots = Arc::new(roots);
        let verifier = if roots.is_empty() {
            None
        } else {
            let verifier =
                WebPkiServerVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider))
                    .build()
                    .map_err(|error| misconfigured(rustls::Error::General(error.to_string())))?;
            Some(verifier)
        };
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(misconfigured)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { config: Arc::new(config), verifier, roots: count })
    }

    /// The configuration itself, for libraries that do their own handshake.
    pub fn config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.config)
    }

    /// How many roots are trusted. With none, every handshake fails.
    pub fn roots(&self) -> usize {
        self.roots
    }

    /// Does the handshake with `host`, a name or an IP address, on an open stream. Has no time limit of its own.
    pub async fn connect<S>(&self, host: &str, stream: S) -> Result<Secured<S>, TlsError>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| TlsError::ServerName { host: host.to_owned() })?;
        let witness = Arc::new(Witness { verifier: self.verifier.clone(), issuer: OnceLock::new() });
        let mut config = ClientConfig::clone(&self.config);
        config.dangerous().set_certificate_verifier(Arc::clone(&witness) as Arc<dyn ServerCertVerifier>);
        let connected = TlsConnector::from(Arc::new(config)).connect(name, stream).await;
        let issuer = witness.issuer.get().cloned().flatten();
        let stream = connected.map_err(|error| handshake_error(host, issuer.clone(), error))?;
        let version = version_name(stream.get_ref().1.protocol_version());
        Ok(Secured { stream, version, issuer })
    }
}

/// Who issued `certificate`, as one line like `CN=Example CA,O=Example`. `None` if it cannot be read.
///
/// The text comes from a stranger: control characters are replaced and it is cut after 200 characters.
pub fn issuer(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = x509_cert::Certificate::from_der(certificate.as_ref()).ok()?;
    let name = certificate.tbs_certificate().issuer().to_string();
    Some(name.chars().take(200).map(|c| if c.is_control() { '?' } else { c }).collect())
}

/// A server's configuration from PEM files: the certificate with its chain, and its private key.
pub fn server_config(certificate_file: &Path, key_file: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = read_certificates(certificate_file)?;
    let key = PrivateKeyDer::from_pem_file(key_file).map_err(|error| unusable(key_file, &error))?;
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .map_err(misconfigured)?
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .map_err(|error| unusable(certificate_file, &error))?;
    Ok(Arc::new(config))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn add_platform_roots(roots: &mut RootCertStore) {
    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::warn!(%error, "cannot read some of the platform's root certificates");
    }
    roots.add_parsable_certificates(found.certs);
}

fn add_file(roots: &mut RootCertStore, path: &Path) -> Result<(), TlsError> {
    for certificate in read_certificates(path)? {
        roots.add(certificate).map_err(|error| unusable(path, &error))?;
    }
    Ok(())
}

fn read_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(path, &error))?;
    if certificates.is_empty() {
        return Err(TlsError::File {
            path: path.to_owned(),
            reason: "it holds no PEM certificate".to_owned(),
        });
    }
    Ok(certificates)
}

fn unusable(path: &Path, error: &dyn std::error::Error) -> TlsError {
    TlsError::File { path: path.to_owned(), reason: error.to_string() }
}

fn misconfigured(error: rustls::Error) -> TlsError {
    TlsError::Configuration(Box::new(error))
}

fn version_name(version: Option<rustls::ProtocolVersion>) -> &'static str {
    if version == Some(rustls::ProtocolVersion::TLSv1_2) { "TLS 1.2" } else { "TLS 1.3" }
}

fn handshake_error(host: &str, issuer: Option<String>, error: std::io::Error) -> TlsError {
    let host = host.to_owned();
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
    match cause {
        Some(source @ rustls::Error::InvalidCertificate(_)) => {
            TlsError::Untrusted { host, issuer, source: Box::new(source.clone()) }
        }
        _ => TlsError::Handshake { host, source: error },
    }
}

/// Verifies as the platform's verifier does and remembers who issued the certificate, which is what a person needs to
/// know when a company's proxy has put its own in place. One for each connection.
#[derive(Debug)]
struct Witness {
    verifier: Option<Arc<WebPkiServerVerifier>>,
    issuer: OnceLock<Option<String>>,
}

impl Witness {
    fn verifier(&self) -> Result<&WebPkiServerVerifier, rustls::Error> {
        self.verifier.as_deref().ok_or(rustls::CertificateError::UnknownIssuer.into())
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.issuer.get_or_init(|| issuer(end_entity));
        self.verifier()?.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.verifier()?.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests;
