//! The master key of a gateway that was given none: a file beside the store, readable by its owner alone.

use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use protocol::Secret;

use crate::crypto::MasterKey;
use crate::error::StartError;

/// A key's text has 44 characters; what is much longer is something else.
const MAX_BYTES: u64 = 1_024;

/// Reads the key of a `database` that was made with one.
pub(crate) fn existing(database: &Path) -> Result<MasterKey, StartError> {
    let path = path_beside(database);
    match read(&path) {
        Err(StartError::File { source, path }) if source.kind() == io::ErrorKind::NotFound => {
            Err(StartError::KeyMissing { path })
        }
        read => read,
    }
}

/// Reads the key of a new `database`, or makes it.
pub(crate) fn beside(database: &Path) -> Result<MasterKey, StartError> {
    let path = path_beside(database);
    match read(&path) {
        Err(StartError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => make(&path),
        read => read,
    }
}

/// `gateway.db` has its key in `gateway.db.key`.
fn path_beside(database: &Path) -> PathBuf {
    let mut name = database.file_name().unwrap_or_default().to_owned();
    name.push(".key");
    database.with_file_name(name)
}

fn read(path: &Path) -> Result<MasterKey, StartError> {
    let failed = |source| StartError::File { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    if file.metadata().map_err(failed)?.mode() & 0o077 != 0 {
        return Err(StartError::Exposed { path: path.to_owned() });
    }
    let mut text = String::new();
    file.take(MAX_BYTES).read_to_string(&mut text).map_err(failed)?;
    Ok(MasterKey::parse(&Secret::new(text))?)
}

fn make(path: &Path) -> Result<MasterKey, StartError> {
    let failed = |source| StartError::File { path: path.to_owned(), source };
    let key = MasterKey::generate()?;
    // A file that came into being meanwhile is that of another gateway on this store, which must not have two keys.
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
    writeln!(file, "{}", key.encode().expose()).and_then(|()| file.sync_all()).map_err(failed)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    /// The path of a store in a folder of its own.
    fn store() -> PathBuf {
        let folder = std::env::temp_dir().join(format!("semilayer-key-{}", uuid::Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        folder.join("gateway.db")
    }

    #[test]
    fn the_key_is_made_once_for_its_owner_alone() {
        let store = store();
        let made = beside(&store).unwrap().encode();
        assert_eq!(beside(&store).unwrap().encode(), made);
        assert_eq!(std::fs::metadata(path_beside(&store)).unwrap().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_key_that_others_can_read_or_that_is_none_is_refused() {
        let store = store();
        beside(&store).unwrap();
        std::fs::set_permissions(path_beside(&store), Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(beside(&store), Err(StartError::Exposed { .. })));
        std::fs::set_permissions(path_beside(&store), Permissions::from_mode(0o600)).unwrap();
        std::fs::write(path_beside(&store), "short").unwrap();
        assert!(matches!(beside(&store), Err(StartError::Crypto(_))));
    }
}
