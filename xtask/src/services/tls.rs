//! A certificate authority for the test servers, with one leaf for servers and one for clients.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::services::packages;
use crate::services::state::{Tls, replace_private, write_private};

/// Decides what the certificates are like.
pub(crate) const RECIPE: &str = include_str!("../../services/tls/openssl.cnf");

const LIMIT: Duration = Duration::from_secs(30);
/// The files go when the servers go; this only has to outlast them.
const DAYS: &str = "3650";

impl Tls {
    /// Makes all files anew in `folder`.
    pub(crate) fn create(folder: &Path) -> Result<Tls, Error> {
        let openssl =
            packages::find_or_install("openssl", &["openssl"], "install OpenSSL's program", || {
                packages::find("openssl")
            })?;
        crate::services::daemon::remove_folder(folder)?;
        fs::create_dir_all(folder).map_err(Error::io("create", folder))?;
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700))
            .map_err(Error::io("protect", folder))?;
        let authority = Authority { openssl, folder: folder.to_owned() };
        write_private(&authority.config(), RECIPE.as_bytes())?;
        authority.root("ca", "SemiLayer test CA")?;
        authority.root("other-ca", "SemiLayer other test CA")?;
        authority.leaf("server", "localhost")?;
        authority.leaf("client", "semilayer-client")?;
        Ok(Tls::in_folder(folder))
    }

    pub(crate) fn server_cert(&self) -> PathBuf {
        self.folder.join("server.crt")
    }

    pub(crate) fn server_key(&self) -> PathBuf {
        self.folder.join("server.key")
    }

    /// The client's certificate and its key in one file; some clients want it so.
    pub(crate) fn client_pem(&self) -> Result<PathBuf, Error> {
        let path = self.folder.join("client.pem");
        let read = |path: &Path| fs::read(path).map_err(Error::io("read", path));
        replace_private(&path, &[read(&self.client_cert)?, read(&self.client_key)?].concat())?;
        Ok(path)
    }

    fn in_folder(folder: &Path) -> Tls {
        Tls {
            folder: folder.to_owned(),
            ca: folder.join("ca.crt"),
            other_ca: folder.join("other-ca.crt"),
            client_cert: folder.join("client.crt"),
            client_key: folder.join("client.key"),
        }
    }
}

struct Authority {
    openssl: PathBuf,
    folder: PathBuf,
}

impl Authority {
    /// A certificate that signs itself.
    fn root(&self, name: &str, subject: &str) -> Result<(), Error> {
        let mut command = self.request(name, subject);
        command.args(["-x509", "-days", DAYS, "-extensions", "authority", "-out", &format!("{name}.crt")]);
        run(command)
    }

    /// A certificate signed by `ca`, with the extensions of the section of the same name.
    fn leaf(&self, name: &str, subject: &str) -> Result<(), Error> {
        let request = format!("{name}.csr");
        let mut command = self.request(name, subject);
        command.args(["-out", &request]);
        run(command)?;
        let mut command = self.command();
        command.args(["x509", "-req", "-in", &request, "-out", &format!("{name}.crt")]);
        command.args(["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", DAYS, "-sha256"]);
        command.arg("-extfile").arg(self.config()).args(["-extensions", name]);
        run(command)
    }

    /// A new P-256 key, and a request for it.
    fn request(&self, name: &str, subject: &str) -> Command {
        let mut command = self.command();
        command.args(["req", "-new", "-sha256", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]);
        command.args(["-nodes", "-keyout", &format!("{name}.key"), "-subj", &format!("/CN={subject}")]);
        command.arg("-config").arg(self.config());
        command
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.openssl);
        command.current_dir(&self.folder);
        command
    }

    fn config(&self) -> PathBuf {
        self.folder.join("openssl.cnf")
    }
}

fn run(command: Command) -> Result<(), Error> {
    Run::new(command, "openssl", LIMIT).capture().map(drop)
}
