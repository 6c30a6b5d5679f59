//! TLS settings beside the URL. The driver reads certificates from files only, so texts become files that nobody else
//! may read and that go with the source.

use std::io::Write;
use std::path::{Path, PathBuf};

use bridge_core::BridgeError;
use mongodb::options::{ClientOptions, Tls as DriverTls, TlsOptions};
use protocol::Secret;
use tempfile::NamedTempFile;

use crate::config::Tls;

/// What a PEM text begins with; a path does not.
const PEM: &str = "-----BEGIN";

/// Certificates where the driver finds them.
#[derive(Default)]
pub(super) struct Files {
    ca: Option<Place>,
    /// Certificate and key in one file, as the driver wants them.
    identity: Option<Place>,
}

enum Place {
    Given(PathBuf),
    Written(NamedTempFile),
}

impl Files {
    pub(super) fn write(tls: &Tls) -> Result<Self, BridgeError> {
        let ca = match &tls.ca {
            Some(ca) if is_pem(ca) => Some(Place::Written(write(&[ca.expose()])?)),
            Some(ca) => Some(Place::Given(ca.expose().into())),
            None => None,
        };
        let identity = match (&tls.certificate, &tls.key) {
            (Some(certificate), Some(key)) => {
                let (certificate, key) = (text("tlsCertificate", certificate)?, text("tlsKey", key)?);
                Some(Place::Written(write(&[&certificate, &key])?))
            }
            _ => None,
        };
        Ok(Self { ca, identity })
    }

    /// What the settings say wins over the URL.
    pub(super) fn apply(&self, tls: &Tls, options: &mut ClientOptions) {
        if tls.enabled == Some(false) {
            options.tls = Some(DriverTls::Disabled);
            return;
        }
        if tls.enabled.is_none() && self.ca.is_none() && self.identity.is_none() {
            return;
        }
        let mut given = match options.tls.take() {
            Some(DriverTls::Enabled(given)) => given,
            Some(DriverTls::Disabled) | None => TlsOptions::default(),
        };
        if let Some(ca) = &self.ca {
            given.ca_file_path = Some(ca.path().to_owned());
        }
        if let Some(identity) = &self.identity {
            given.cert_key_file_path = Some(identity.path().to_owned());
        }
        options.tls = Some(DriverTls::Enabled(given));
    }
}

impl Place {
    fn path(&self) -> &Path {
        match self {
            Self::Given(path) => path,
            Self::Written(file) => file.path(),
        }
    }
}

fn is_pem(value: &Secret) -> bool {
    value.expose().trim_start().starts_with(PEM)
}

fn text(field: &str, value: &Secret) -> Result<String, BridgeError> {
    if is_pem(value) {
        return Ok(value.expose().to_owned());
    }
    std::fs::read_to_string(value.expose())
        .map_err(|error| unusable(format!("cannot read the file of {field}"), error))
}

fn write(texts: &[&str]) -> Result<NamedTempFile, BridgeError> {
    let failed = |error| unusable("cannot write a file for certificates".to_owned(), error);
    // Made with mode 0600 and a name that nobody can guess.
    let mut file = NamedTempFile::with_prefix("semilayer-").map_err(failed)?;
    for text in texts {
        writeln!(file, "{text}").map_err(failed)?;
    }
    file.flush().map_err(failed)?;
    Ok(file)
}

fn unusable(message: String, error: std::io::Error) -> BridgeError {
    BridgeError::Unreachable { message: format!("{message}: {error}"), source: Some(error.into()) }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn texts_become_files_that_nobody_else_reads() {
        let pem = Some(Secret::from("-----BEGIN CERTIFICATE-----\nx".to_owned()));
        let tls = Tls { ca: pem.clone(), certificate: pem.clone(), key: pem, ..Tls::default() };
        let files = Files::write(&tls).unwrap();
        let mut options = ClientOptions::default();
        files.apply(&tls, &mut options);
        let Some(DriverTls::Enabled(given)) = options.tls else { panic!("TLS is off") };
        let identity = given.cert_key_file_path.unwrap();
        assert_eq!(std::fs::metadata(&identity).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_to_string(&identity).unwrap().matches("BEGIN").count(), 2);
        drop(files);
        assert!(!identity.exists() && !given.ca_file_path.unwrap().exists());
    }

    #[test]
    fn a_path_stays_a_path_and_off_is_off() {
        let tls = Tls { ca: Some(Secret::from("/etc/ca.pem".to_owned())), ..Tls::default() };
        let mut options = ClientOptions::default();
        Files::write(&tls).unwrap().apply(&tls, &mut options);
        assert!(
            matches!(&options.tls, Some(DriverTls::Enabled(given)) if given.ca_file_path.as_deref() == Some("/etc/ca.pem".as_ref()))
        );
        let off = Tls { enabled: Some(false), ..Tls::default() };
        Files::default().apply(&off, &mut options);
        assert!(matches!(options.tls, Some(DriverTls::Disabled)));
    }
}
