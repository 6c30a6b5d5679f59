//! TLS on rustls: what is checked is what the mode says.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::AsyncReadExt;

use super::{Pem, TlsError, TlsMode, TlsOptions};

/// Certificate bundles of whole systems are a quarter of this.
const PEM_LIMIT: u64 = 1024 * 1024;

/// Reads the files and builds the one configuration for all connections; `None` if TLS is off.
pub(super) async fn client_config(options: &TlsOptions) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    if options.mode == TlsMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier = Verifier {
        mode: options.mode,
        roots: load_roots(options).await?,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider) as Arc<CryptoProvider>)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match &options.identity {
        Some((certificate, key)) => {
            let chain = certificates(certificate).await?;
            let key = PrivateKeyDer::from_pem_slice(&read_pem(key).await?)
                .map_err(|_| TlsError::Unusable { pem: key.clone(), wanted: "private key" })?;
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?
        }
        None => builder.with_no_client_auth(),
    };
    Ok(Some(Arc::new(config)))
}

async fn load_roots(options: &TlsOptions) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match &options.roots {
        _ if options.mode == TlsMode::Require => {}
        Some(pem) => {
            for certificate in certificates(pem).await? {
                store
                    .add(certificate)
                    .map_err(|_| TlsError::Unusable { pem: pem.clone(), wanted: "certificate" })?;
            }
        }
        None => {
            let system = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
            // Some of a system's certificates are always odd; the others do.
            store.add_parsable_certificates(system.map_err(|_| TlsError::NoSystemRoots)?.certs);
            if store.is_empty() {
                return Err(TlsError::NoSystemRoots);
            }
        }
    }
    Ok(store)
}

/// All certificates that are there, at least one.
async fn certificates(pem: &Pem) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let bytes = read_pem(pem).await?;
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match all {
        Ok(all) if !all.is_empty() => Ok(all),
        Ok(_) | Err(_) => Err(TlsError::Unusable { pem: pem.clone(), wanted: "certificate" }),
    }
}

async fn read_pem(pem: &Pem) -> Result<Vec<u8>, TlsError> {
    let path = match pem {
        Pem::Text(text) => return Ok(text.expose().as_bytes().to_vec()),
        Pem::File(path) => path,
    };
    let read = async {
        let mut pem = Vec::new();
        let file = tokio::fs::File::open(path).await?;
        if file.take(PEM_LIMIT + 1).read_to_end(&mut pem).await? as u64 > PEM_LIMIT {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "longer than 1 MiB"));
        }
        Ok(pem)
    };
    read.await.map_err(|source| TlsError::File { path: path.to_owned(), source })
}

/// rustls' own checks, each as far as the mode says. Signatures of the handshake are always verified.
#[derive(Debug)]
struct Verifier {
    mode: TlsMode,
    roots: RootCertStore,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if matches!(self.mode, TlsMode::VerifyCa | TlsMode::VerifyFull) {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
            if self.mode == TlsMode::VerifyFull {
                verify_server_name(&parsed, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        crypto::verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
