//! Certificates and keys in PEM form.

use std::fmt;
use std::io;
use std::path::PathBuf;

use protocol::Secret;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::AsyncReadExt;

use crate::TlsError;

/// Certificate bundles of whole systems are a quarter of this.
const PEM_LIMIT: u64 = 1024 * 1024;

/// Certificates or a key in PEM form: a file, read when it is needed, or what would be in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pem {
    File(PathBuf),
    Text(Secret),
}

impl Pem {
    /// Text where it looks like PEM, else a path.
    pub fn of(value: &str) -> Self {
        if value.contains("-----BEGIN") {
            Self::Text(value.to_owned().into())
        } else {
            Self::File(value.into())
        }
    }

    /// All certificates that are there, at least one.
    pub(crate) async fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, TlsError> {
        let bytes = self.read().await?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
        match all {
            Ok(all) if !all.is_empty() => Ok(all),
            Ok(_) | Err(_) => Err(self.without("certificate")),
        }
    }

    /// The first key: PKCS#8, SEC1 or PKCS#1, without a passphrase.
    pub(crate) async fn private_key(&self) -> Result<PrivateKeyDer<'static>, TlsError> {
        PrivateKeyDer::from_pem_slice(&self.read().await?).map_err(|_| self.without("private key"))
    }

    pub(crate) fn without(&self, wanted: &'static str) -> TlsError {
        TlsError::Unusable { pem: self.clone(), wanted }
    }

    async fn read(&self) -> Result<Vec<u8>, TlsError> {
        let path = match self {
            Self::Text(text) => return Ok(text.expose().as_bytes().to_vec()),
            Self::File(path) => path,
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
}

/// Where it is, never what it says.
impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Text(_) => f.write_str("the text that was given"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_file_without_a_certificate_is_named() {
        let path = std::env::temp_dir().join(format!("semilayer-no-certificate-{}", std::process::id()));
        std::fs::write(&path, "nothing in here").unwrap();
        let pem = Pem::File(path.clone());
        let error = pem.certificates().await.unwrap_err();
        assert!(matches!(&error, TlsError::Unusable { pem: named, wanted: "certificate" } if *named == pem));
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(pem.certificates().await.unwrap_err(), TlsError::File { .. }));
    }

    #[tokio::test]
    async fn a_file_without_an_end_is_refused() {
        let error = Pem::of("/dev/zero").private_key().await.unwrap_err();
        assert_eq!(error.to_string(), "cannot read /dev/zero: longer than 1 MiB");
    }

    #[tokio::test]
    async fn a_text_is_told_from_a_path_and_never_shown() {
        let pem = Pem::of("-----BEGIN CERTIFICATE-----\nhunter2\n-----END CERTIFICATE-----");
        let error = pem.private_key().await.unwrap_err();
        assert_eq!(error.to_string(), "the text that was given holds no private key in PEM form");
        assert!(!format!("{error:?}").contains("hunter2"));
    }
}
