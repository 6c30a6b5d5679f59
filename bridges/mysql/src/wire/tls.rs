//! TLS as `ssl-mode` and `ssl-ca` mean it, on rustls.

use std::io;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{self, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio::io::AsyncReadExt;

use super::{ClientIdentity, Pem, Roots, TlsError, TlsMode, TlsOptions};

/// Certificate bundles of whole systems are a quarter of this.
const PEM_LIMIT: u64 = 1024 * 1024;
/// Reads the files and builds the one configuration for all connections; `None` if TLS is off.
pub(super) async fn client_config(options: &TlsOptions) -> Result<Option<Arc<ClientConfig>>, TlsError> {
    let Some(check) = Check::for_options(options)? else { return Ok(None) };
    let provider = Arc::new(crypto::ring::default_provider());
    let verifier = Verifier {
        check,
        roots: load_roots(check, &options.roots).await?,
        algorithms: provider.signature_verification_algorithms,
    };
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider) as Arc<CryptoProvider>)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match &options.identity {
        Some(identity) => {
            let (chain, key) = load_identity(identity).await?;
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?
        }
        None => builder.with_no_client_auth(),
    };
    // Connections are few and live long; a ticket would only tie them together.
    config.resumption = Resumption::disabled();
    Ok(Some(Arc::new(config)))
}

/// How much of the server's certificate is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Nothing,
    Chain,
    ChainAndName,
}

impl Check {
    /// `None` for no TLS at all. Roots that are given are always used, also where the mode does not ask for them.
    fn for_options(options: &TlsOptions) -> Result<Option<Self>, TlsError> {
        match (options.mode, &options.roots) {
            (TlsMode::Disabled, _) => Ok(None),
            (TlsMode::VerifyIdentity, _) => Ok(Some(Self::ChainAndName)),
            (TlsMode::VerifyCa, Roots::System) => Err(TlsError::NoRoots),
            (TlsMode::Preferred | TlsMode::Required, Roots::System) => Ok(Some(Self::Nothing)),
            (TlsMode::Preferred | TlsMode::Required | TlsMode::VerifyCa, Roots::Given(_)) => {
                Ok(Some(Self::Chain))
            }
        }
    }
}

async fn load_roots(check: Check, roots: &Roots) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    if check == Check::Nothing {
        return Ok(store);
    }
    match roots {
        Roots::Given(pem) => {
            let unusable = || TlsError::Unusable { pem: pem.clone(), wanted: "certificate" };
            for certificate in certificates(pem).await? {
                store.add(certificate).map_err(|_| unusable())?;
            }
        }
        Roots::System => {
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

async fn load_identity(
    identity: &ClientIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(&identity.certificate).await?;
    let key = PrivateKeyDer::from_pem_slice(&read_pem(&identity.key).await?)
        .map_err(|_| TlsError::Unusable { pem: identity.key.clone(), wanted: "private key" })?;
    Ok((chain, key))
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

/// rustls' own checks, each as far as [`Check`] says. Signatures of the handshake are always verified.
#[derive(Debug)]
struct Verifier {
    check: Check,
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
        if self.check != Check::Nothing {
            let parsed = ParsedCertificate::try_from(end_entity)?;
            let algorithms = self.algorithms.all;
            verify_server_cert_signed_by_trust_anchor(&parsed, &self.roots, intermediates, now, algorithms)?;
            if self.check == Check::ChainAndName {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn check(mode: TlsMode, roots: Roots) -> Result<Option<Check>, TlsError> {
        Check::for_options(&TlsOptions { mode, roots, ..TlsOptions::default() })
    }

    #[test]
    fn roots_turn_required_into_verify_ca_and_nothing_turns_it_into_verify_identity() {
        let file = || Roots::Given(Pem::of("ca.crt"));
        assert_eq!(check(TlsMode::Disabled, file()).unwrap(), None);
        assert_eq!(check(TlsMode::Required, Roots::System).unwrap(), Some(Check::Nothing));
        assert_eq!(check(TlsMode::Required, file()).unwrap(), Some(Check::Chain));
        assert_eq!(check(TlsMode::Preferred, file()).unwrap(), Some(Check::Chain));
        assert_eq!(check(TlsMode::VerifyCa, file()).unwrap(), Some(Check::Chain));
        assert_eq!(check(TlsMode::VerifyIdentity, file()).unwrap(), Some(Check::ChainAndName));
        assert_eq!(check(TlsMode::VerifyIdentity, Roots::System).unwrap(), Some(Check::ChainAndName));
    }

    #[test]
    fn a_chain_up_to_any_public_authority_proves_nothing_without_the_name() {
        assert!(matches!(check(TlsMode::VerifyCa, Roots::System), Err(TlsError::NoRoots)));
    }

    #[tokio::test]
    async fn a_file_without_a_certificate_is_named() {
        let path =
            std::env::temp_dir().join(format!("semilayer-mysql-no-certificate-{}", std::process::id()));
        std::fs::write(&path, "nothing in here").unwrap();
        let pem = Pem::File(path.clone());
        let error = certificates(&pem).await.unwrap_err();
        assert!(matches!(&error, TlsError::Unusable { pem: named, wanted: "certificate" } if *named == pem));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(certificates(&pem).await.unwrap_err(), TlsError::File { .. }));
    }
}
