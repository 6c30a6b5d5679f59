//! What every recipe is given: folders, the account, certificates and fresh passwords.

use std::fs::{self, File};
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::error::Error;
use crate::services::account::Account;
use crate::services::folder::Folder;
use crate::services::state::{State, Tls};

/// In every password: characters that mean something in URLs, shells, SQL, JSON and connection strings.
const AWKWARD: &str = "!@/%:?#&+ '$\"";

/// Of the kernel, without the byte that ends it.
const SOCKET_PATH_LIMIT: usize = 107;

pub(crate) struct Site {
    pub(crate) folder: Folder,
    pub(crate) tls: Tls,
    /// Of the administrator of every service.
    pub(crate) admin_password: String,
    /// An engine that answers on this machine already is not used.
    pub(crate) own_engines: bool,
}

impl Site {
    /// For new servers: new certificates, new passwords.
    pub(crate) fn prepare(folder: &Folder) -> Result<Self, Error> {
        let tls = Tls::create(&folder.path().join("tls"))?;
        Ok(Site { folder: folder.clone(), tls, admin_password: password()?, own_engines: false })
    }

    /// For servers that run.
    pub(crate) fn existing(folder: &Folder, state: &State) -> Self {
        let admin = state.servers.iter().find_map(|server| server.users.get("admin"));
        let admin_password = admin.and_then(|user| user.password.clone()).unwrap_or_default();
        Site { folder: folder.clone(), tls: state.tls.clone(), admin_password, own_engines: false }
    }

    /// A new folder for a server that `account` runs; one that a failed start left is removed.
    pub(crate) fn server_folder(&self, name: &str, account: &Account) -> Result<PathBuf, Error> {
        let path = account.home(self.folder.path())?.join(name);
        crate::services::daemon::remove_folder(&path)?;
        account.shared_folder(&path)?;
        Ok(path)
    }

    /// The folder for a server's unix sockets, of which the longest name is `name`.
    pub(crate) fn socket_folder(&self, server: &Path, name: &str) -> Result<PathBuf, Error> {
        let path = server.join("socket");
        let fits = path.as_os_str().len() + name.len() <= SOCKET_PATH_LIMIT;
        if fits { Ok(path) } else { Err(Error::LongSocket { path }) }
    }

    /// Copies what a server with TLS needs into `folder`, for `account` alone: `server.key`, `server.crt`,
    /// `ca.crt`, and `server.pem`, which is the certificate and its key.
    pub(crate) fn install_tls(&self, folder: &Path, account: &Account) -> Result<(), Error> {
        let read = |path: &Path| fs::read(path).map_err(Error::io("read", path));
        let (key, certificate) = (read(&self.tls.server_key())?, read(&self.tls.server_cert())?);
        account.private_file(&folder.join("server.key"), &key)?;
        account.private_file(&folder.join("server.crt"), &certificate)?;
        account.private_file(&folder.join("server.pem"), &[certificate, key].concat())?;
        account.private_file(&folder.join("ca.crt"), &read(&self.tls.ca)?)
    }
}

/// Anything as one part of a URL.
pub(crate) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// A path as one part of a URL.
pub(crate) fn encoded_path(path: &Path) -> String {
    encoded(&path.to_string_lossy())
}

/// A password nobody can guess; whoever runs tests may share the machine with others.
pub(crate) fn password() -> Result<String, Error> {
    let path = Path::new("/dev/urandom");
    let mut bytes = [0_u8; 12];
    File::open(path).and_then(|mut file| file.read_exact(&mut bytes)).map_err(Error::io("read", path))?;
    let random: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("p{AWKWARD}{random}"))
}

/// A port of 127.0.0.1 that nobody listens on at this moment.
pub(crate) fn free_port() -> Result<u16, Error> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(Error::io("open a port of", "127.0.0.1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_survives_its_url() {
        let decoded =
            percent_encoding::percent_decode_str(&encoded(AWKWARD)).decode_utf8().unwrap().into_owned();
        assert_eq!(decoded, AWKWARD);
        assert!(!encoded(AWKWARD).contains(['@', '/', ':', '?', '#', ' ']));
    }
}
