//! TLS of a client, on rustls: how much of it is wanted, and what is checked then.

mod verifier;

use std::io;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::crypto::{self, CryptoProvider};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Pem, Socket, TlsError};
use verifier::Verifier;

/// How much of TLS is wanted, whatever a database calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsMode {
    Off,
    /// Encrypted if the server can; plain otherwise.
    Preferred,
    /// Encrypted. The certificate is checked only where roots are given, then as with [`VerifyCa`](Self::VerifyCa).
    Required,
    /// Encrypted, and the certificate descends from a root that was given.
    VerifyCa,
    /// As [`VerifyCa`](Self::VerifyCa), and an alternative name of the certificate is the host; the system's roots where
    /// none were given. rustls does not look at the common name.
    VerifyFull,
}

/// Who may have signed the server's certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Roots {
    /// Nothing was said. Where a chain is checked all the same, it is up to the system's roots.
    #[default]
    Unset,
    /// The system's roots were asked for. Only with [`TlsMode::VerifyFull`]: anyone can get a certificate from a public
    /// authority.
    System,
    /// The system's, if it has any, and these beside them, as [`System`](Self::System).
    SystemAnd(Pem),
    /// These. A server certificate may be its own root unless it is marked as an authority, which rustls refuses.
    Given(Pem),
}

/// What the client shows of itself; the key as PKCS#8, SEC1 or PKCS#1.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    pub certificate: Pem,
    pub key: Pem,
}

/// How much of the server's certificate is checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    Nothing,
    /// That it descends from a root.
    Chain,
    /// That, and that it is the host's.
    #[default]
    ChainAndName,
}

impl TlsMode {
    /// What is checked in this mode; `None` for no TLS at all. Roots that are given are always used, also where the mode
    /// does not ask for them; combinations that look safe and are not are refused.
    pub fn check(self, roots: &Roots) -> Result<Option<Check>, TlsError> {
        match (self, roots) {
            (Self::Off, _) => Ok(None),
            (Self::VerifyFull, _) => Ok(Some(Check::ChainAndName)),
            (Self::VerifyCa, Roots::Unset) => Err(TlsError::NoRoots),
            (Self::Preferred | Self::Required | Self::VerifyCa, Roots::System | Roots::SystemAnd(_)) => {
                Err(TlsError::WeakMode)
            }
            (Self::Preferred | Self::Required | Self::VerifyCa, Roots::Given(_)) => Ok(Some(Check::Chain)),
            (Self::Preferred | Self::Required, Roots::Unset) => Ok(Some(Check::Nothing)),
        }
    }
}

/// Reads the files and builds one configuration for all connections of a source. It names no application protocol; a
/// caller whose server wants one adds it.
pub async fn client_config(
    check: Check,
    roots: &Roots,
    identity: Option<&ClientIdentity>,
) -> Result<ClientConfig, TlsError> {
    let provider = Arc::new(crypto::ring::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let verifier = Verifier { check, roots: load_roots(check, roots).await?, algorithms };
    let builder = ClientConfig::builder_with_provider(provider as Arc<CryptoProvider>)
        .with_safe_default_protocol_versions()
        .map_err(TlsError::Setup)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match identity {
        Some(ClientIdentity { certificate, key }) => {
            let (chain, key) = (certificate.certificates().await?, key.private_key().await?);
            builder.with_client_auth_cert(chain, key).map_err(TlsError::Identity)?
        }
        None => builder.with_no_client_auth(),
    };
    // Connections are few and live long, and each is to have its certificate checked.
    config.resumption = Resumption::disabled();
    Ok(config)
}

async fn load_roots(check: Check, roots: &Roots) -> Result<RootCertStore, TlsError> {
    let mut store = RootCertStore::empty();
    match roots {
        _ if check == Check::Nothing => {}
        Roots::Given(pem) => add(&mut store, pem).await?,
        Roots::Unset | Roots::System => {
            add_system(&mut store).await?;
            if store.is_empty() {
                return Err(TlsError::NoSystemRoots);
            }
        }
        Roots::SystemAnd(pem) => {
            add_system(&mut store).await?;
            add(&mut store, pem).await?;
        }
    }
    Ok(store)
}

async fn add(store: &mut RootCertStore, pem: &Pem) -> Result<(), TlsError> {
    for certificate in pem.certificates().await? {
        store.add(certificate).map_err(|_| pem.without("certificate"))?;
    }
    Ok(())
}

async fn add_system(store: &mut RootCertStore) -> Result<(), TlsError> {
    let system = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
    // Some of a system's certificates are always odd; the others do.
    store.add_parsable_certificates(system.map_err(|_| TlsError::NoSystemRoots)?.certs);
    Ok(())
}

/// What a handshake with one host needs.
#[derive(Clone, Debug)]
pub struct TlsClient {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl TlsClient {
    /// Fails with [`TlsError::Name`] where no certificate could name `host`.
    pub fn new(config: Arc<ClientConfig>, host: &str) -> Result<Self, TlsError> {
        let name = ServerName::try_from(host.to_owned()).map_err(|_| TlsError::Name(host.to_owned()))?;
        Ok(Self { config, name })
    }

    /// The handshake; [`TlsError::from_handshake`] says what its failure means.
    pub async fn connect<S: Socket>(&self, socket: S) -> io::Result<TlsStream<S>> {
        TlsConnector::from(Arc::clone(&self.config)).connect(self.name.clone(), socket).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roots_turn_required_into_verify_ca_and_nothing_turns_it_into_verify_full() {
        let check = |mode: TlsMode, roots: Roots| mode.check(&roots).unwrap();
        let given = || Roots::Given(Pem::of("ca.crt"));
        assert_eq!(check(TlsMode::Off, given()), None);
        assert_eq!(check(TlsMode::Preferred, Roots::Unset), Some(Check::Nothing));
        assert_eq!(check(TlsMode::Required, Roots::Unset), Some(Check::Nothing));
        assert_eq!(check(TlsMode::Required, given()), Some(Check::Chain));
        assert_eq!(check(TlsMode::Preferred, given()), Some(Check::Chain));
        assert_eq!(check(TlsMode::VerifyCa, given()), Some(Check::Chain));
        assert_eq!(check(TlsMode::VerifyFull, given()), Some(Check::ChainAndName));
        assert_eq!(check(TlsMode::VerifyFull, Roots::Unset), Some(Check::ChainAndName));
        assert_eq!(check(TlsMode::VerifyFull, Roots::System), Some(Check::ChainAndName));
    }

    #[test]
    fn combinations_that_look_safe_and_are_not_are_refused() {
        assert!(matches!(TlsMode::VerifyCa.check(&Roots::Unset), Err(TlsError::NoRoots)));
        for mode in [TlsMode::Preferred, TlsMode::Required, TlsMode::VerifyCa] {
            for roots in [Roots::System, Roots::SystemAnd(Pem::of("ca.crt"))] {
                assert!(matches!(mode.check(&roots), Err(TlsError::WeakMode)), "{mode:?}");
            }
        }
    }
}
