//! What several tests need: files that go away and a certificate authority.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio_rustls::TlsAcceptor;

use crate::tls;

/// A file that goes away with the test.
pub(crate) struct Temporary(PathBuf);

impl Temporary {
    pub(crate) fn with_mode(content: &[u8], mode: u32) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("semilayer-runtime-{}-{count}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Self(path)
    }

    pub(crate) fn new(content: &str) -> Self {
        Self::with_mode(content.as_bytes(), 0o600)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).unwrap();
    }
}

/// A certificate authority that nobody knows.
pub(crate) struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its certificate, as a user would hand it over.
    pub(crate) ca_file: Temporary,
}

impl Authority {
    pub(crate) fn named(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let ca_file = Temporary::new(&issuer.pem());
        Self { issuer, ca_file }
    }

    /// PEM files with a certificate for `host` and its key.
    pub(crate) fn issue(&self, host: &str) -> (Temporary, Temporary) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new([host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (Temporary::new(&certificate.pem()), Temporary::new(&key.serialize_pem()))
    }

    /// What a TLS server for `host` accepts with.
    pub(crate) fn acceptor(&self, host: &str) -> TlsAcceptor {
        let (certificate, key) = self.issue(host);
        TlsAcceptor::from(tls::server_config(certificate.path(), key.path()).unwrap())
    }

    /// A client that trusts this authority and no other.
    pub(crate) fn client(&self) -> tls::ClientTls {
        tls::ClientTls::load(None, Some(self.ca_file.path())).unwrap()
    }
}
