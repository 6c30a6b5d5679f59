//! The server's certificate, checked by rustls as far as a [`Check`] says.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{self, WebPkiSupportedAlgorithms};
use rustls::server::ParsedCertificate;
use rustls::{DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::Check;

/// rustls' own checks, each as far as [`Check`] says. Signatures of the handshake are always verified, or channel
/// binding could be had with a certificate that the peer has no key for.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) check: Check,
    pub(super) roots: RootCertStore,
    pub(super) algorithms: WebPkiSupportedAlgorithms,
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
    use std::sync::Arc;

    use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair};
    use rustls::ServerConfig;
    use rustls_pki_types::PrivateKeyDer;
    use tokio::io::{DuplexStream, duplex};
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::{Pem, Roots, TlsClient, TlsError, client_config};

    /// An authority, and a server with a certificate of it for the host `db`.
    struct World {
        authority: CertifiedIssuer<'static, KeyPair>,
        server: Arc<ServerConfig>,
    }

    impl World {
        fn new() -> Self {
            let authority = authority();
            let key = KeyPair::generate().unwrap();
            let parameters = CertificateParams::new(vec!["db".to_owned()]).unwrap();
            let certificate = parameters.signed_by(&key, &authority).unwrap();
            let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
            let provider = Arc::new(crypto::ring::default_provider());
            let server = ServerConfig::builder_with_provider(provider)
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_single_cert(vec![certificate.der().clone()], key)
                .unwrap();
            Self { authority, server: Arc::new(server) }
        }

        async fn meet(&self, check: Check, roots: &Roots, host: &str) -> Result<(), TlsError> {
            let config = client_config(check, roots, None).await?;
            let client = TlsClient::new(Arc::new(config), host)?;
            let (near, far): (DuplexStream, DuplexStream) = duplex(64 * 1024);
            let (met, _) =
                tokio::join!(client.connect(near), TlsAcceptor::from(self.server.clone()).accept(far));
            met.map(drop).map_err(TlsError::from_handshake)
        }
    }

    fn authority() -> CertifiedIssuer<'static, KeyPair> {
        let mut parameters = CertificateParams::default();
        parameters.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
    }

    fn roots(authority: &CertifiedIssuer<'static, KeyPair>) -> Roots {
        Roots::Given(Pem::of(&authority.pem()))
    }

    fn is_refused(met: Result<(), TlsError>) -> bool {
        matches!(met, Err(TlsError::Certificate(_)))
    }

    #[tokio::test]
    async fn a_chain_is_checked_up_to_the_roots_that_were_given() {
        let world = World::new();
        for check in [Check::Chain, Check::ChainAndName] {
            world.meet(check, &roots(&world.authority), "db").await.unwrap();
            assert!(is_refused(world.meet(check, &roots(&authority()), "db").await), "{check:?}");
        }
        world.meet(Check::Nothing, &roots(&authority()), "db").await.unwrap();
    }

    #[tokio::test]
    async fn a_name_is_checked_where_it_is_asked_for() {
        let world = World::new();
        assert!(is_refused(world.meet(Check::ChainAndName, &roots(&world.authority), "other").await));
        world.meet(Check::Chain, &roots(&world.authority), "other").await.unwrap();
        world.meet(Check::Nothing, &Roots::Unset, "other").await.unwrap();
    }

    #[tokio::test]
    async fn a_host_that_no_certificate_can_name_is_refused() {
        let met = World::new().meet(Check::Nothing, &Roots::Unset, "no such host").await;
        assert!(matches!(met, Err(TlsError::Name(host)) if host == "no such host"));
    }
}
