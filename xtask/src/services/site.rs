//! What every recipe is given: folders, the account, certificates and fresh passwords.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use crate::error::Error;
use crate::services::account::Account;
use crate::services::folder::Folder;
use crate::services::state::{State, Tls};

/// In every password: characters that mean something in URLs, shells, SQL, JSON and connection strings.
const AWKWARD: &str = "!@/%:?#&+ '$\"";

pub(crate) struct Site {
    pub(crate) folder: Folder,
    pub(crate) tls: Tls,
    /// Of the administrator of every service.
    pub(crate) admin_password: String,
}

impl Site {
    /// For new servers: new certificates, new passwords.
    pub(crate) fn prepare(folder: &Folder) -> Result<Self, Error> {
        let tls = Tls::create(&folder.path().join("tls"))?;
        Ok(Site { folder: folder.clone(), tls, admin_password: password()? })
    }

    /// For servers that run.
    pub(crate) fn existing(folder: &Folder, state: &State) -> Self {
        let admin = state.servers.iter().find_map(|server| server.users.get("admin"));
        let admin_password = admin.and_then(|user| user.password.clone()).unwrap_or_default();
        Site { folder: folder.clone(), tls: state.tls.clone(), admin_password }
    }

    /// A new folder for a server that `account` runs; one that a failed start left is removed.
    pub(crate) fn server_folder(&self, name: &str, account: &Account) -> Result<PathBuf, Error> {
        let path = account.home(self.folder.path())?.join(name);
        crate::services::daemon::remove_folder(&path)?;
        account.shared_folder(&path)?;
        Ok(path)
    }
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
