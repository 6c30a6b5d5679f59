//! The account that servers run as: our own, or an unprivileged one where we are root (database servers
//! refuse to run as root).

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::workspace;

const NAME: &str = "semilayer-test";
/// For servers of root, whose home is closed to the account above on most machines.
const SYSTEM_FOLDER: &str = "/var/cache/semilayer/services";
const LIMIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
pub(crate) enum Account {
    Own,
    Other { uid: u32, gid: u32 },
}

impl Account {
    /// Makes the unprivileged account where it is needed and not there.
    pub(crate) fn find() -> Result<Self, Error> {
        if !is_root()? {
            return Ok(Account::Own);
        }
        if id(&["-u", NAME]).is_err() {
            let mut command = Command::new("useradd");
            command.args([
                "--system",
                "--user-group",
                "--no-create-home",
                "--shell",
                "/usr/sbin/nologin",
                NAME,
            ]);
            Run::new(command, "useradd", LIMIT).capture()?;
        }
        Ok(Account::Other { uid: id(&["-u", NAME])?, gid: id(&["-g", NAME])? })
    }

    pub(crate) fn name(&self) -> Option<String> {
        match self {
            Account::Own => None,
            Account::Other { .. } => Some(NAME.to_owned()),
        }
    }

    /// `program` run by this account, with an environment that holds nothing of ours.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = match self {
            Account::Own => Command::new(program),
            Account::Other { uid, gid } => {
                let mut command = Command::new("setpriv");
                command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string()]);
                command.args(["--clear-groups", "--no-new-privs", "--"]).arg(program);
                command
            }
        };
        clean(&mut command);
        command
    }

    /// A new, empty folder that holds what this account needs, made by us and closed to everybody else.
    pub(crate) fn shared_folder(&self, path: &Path) -> Result<(), Error> {
        self.folder(path, 0o750)?;
        match self {
            Account::Own => Ok(()),
            Account::Other { gid, .. } => chown(path, None, Some(*gid)).map_err(Error::io("hand over", path)),
        }
    }

    /// A new, empty folder that this account owns.
    pub(crate) fn private_folder(&self, path: &Path) -> Result<(), Error> {
        self.folder(path, 0o700)?;
        self.hand_over(path)
    }

    /// A new file that only this account may read.
    pub(crate) fn private_file(&self, path: &Path, text: &[u8]) -> Result<(), Error> {
        crate::services::state::write_private(path, text)?;
        self.hand_over(path)
    }

    /// Where servers of this account have their folders: in `folder` if the account can get there.
    pub(crate) fn home(&self, folder: &Path) -> Result<PathBuf, Error> {
        if self.can_enter(folder) {
            return Ok(folder.to_owned());
        }
        let home = Path::new(SYSTEM_FOLDER).join(name_for(folder));
        fs::create_dir_all(&home).map_err(Error::io("create", &home))?;
        Ok(home)
    }

    fn can_enter(&self, folder: &Path) -> bool {
        let mut command = self.command(Path::new("test"));
        command.arg("-x").arg(folder);
        matches!(self, Account::Own) || Run::new(command, "test -x", LIMIT).capture().is_ok()
    }

    fn folder(&self, path: &Path, mode: u32) -> Result<(), Error> {
        fs::create_dir(path).map_err(Error::io("create", path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(Error::io("protect", path))
    }

    fn hand_over(&self, path: &Path) -> Result<(), Error> {
        match self {
            Account::Own => Ok(()),
            Account::Other { uid, gid } => {
                chown(path, Some(*uid), Some(*gid)).map_err(Error::io("hand over", path))
            }
        }
    }
}

/// Gives `command` an environment that holds nothing of ours, and a folder that everybody may be in.
pub(crate) fn clean(command: &mut Command) {
    command.env_clear().env("PATH", workspace::search_path()).env("LC_ALL", "C.UTF-8").current_dir("/");
}

pub(crate) fn is_root() -> Result<bool, Error> {
    Ok(id(&["-u"])? == 0)
}

/// A short name that differs from folder to folder, so that two cache folders never share a server's folder.
fn name_for(folder: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    folder.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn id(arguments: &[&str]) -> Result<u32, Error> {
    let mut command = Command::new("id");
    command.args(arguments);
    let found = Run::new(command, "id", LIMIT).capture()?;
    found.parse().map_err(|_| Error::Unexpected { what: "id".to_owned(), found })
}
