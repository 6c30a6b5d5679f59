//! A file that should be a plugin, and the engine that shows whether it is one.

use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use plugins_host::{Engine, TrustedKeys};
use runtime::settings::Source;

use super::error::Refusal;
use crate::cli::Flags;
use crate::config::{PluginSettings, load_plugins};
use crate::plugins::{FILE_LIMIT, SIGNATURE_LIMIT, file_name, signature_path};

/// A file's bytes.
pub(super) struct Component {
    pub(super) path: PathBuf,
    pub(super) bytes: Vec<u8>,
}

/// What there is to say of a component's signature.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Signed {
    /// There is no file beside it.
    No,
    /// There is one, and no key to hold it against.
    Unchecked,
    /// One of the operator's keys has made it.
    Trusted,
    /// It is of no use.
    Wrong(String),
}

impl Component {
    pub(super) fn read(path: &Path) -> Result<Self, Refusal> {
        let bytes = read(path, FILE_LIMIT).map_err(Refusal::io("read", path))?;
        Ok(Self { path: path.to_owned(), bytes })
    }

    /// The file's own name.
    pub(super) fn file_name(&self) -> String {
        file_name(&self.path)
    }

    /// Looks at `FILE.wasm.sig`.
    pub(super) fn signed(&self, keys: Option<&TrustedKeys>) -> Result<Signed, Refusal> {
        let path = signature_path(&self.path);
        let signature = match read(&path, SIGNATURE_LIMIT) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Signed::No),
            read => read.map_err(Refusal::io("read", &path))?,
        };
        Ok(match keys.map(|keys| keys.verify(&self.bytes, &signature)) {
            None => Signed::Unchecked,
            Some(Ok(())) => Signed::Trusted,
            Some(Err(error)) => Signed::Wrong(error.to_string()),
        })
    }
}

/// The runner's settings as far as plugins go; the engine, with its cache.
pub(super) fn engine(flags: &Flags, environment: &dyn Source) -> Result<(PluginSettings, Engine), Refusal> {
    let settings = load_plugins(flags, environment).map_err(Refusal::Runner)?;
    let engine = settings.engine()?;
    Ok((settings, engine))
}

/// A size as people say it.
pub(super) fn size(bytes: usize) -> String {
    match bytes {
        0..10_240 => format!("{bytes} bytes"),
        10_240..10_485_760 => format!("{} KiB", bytes / 1024),
        _ => format!("{} MiB", bytes / (1024 * 1024)),
    }
}

fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it has more than {limit} bytes")));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_rounded_where_nobody_counts() {
        assert_eq!([120, 131_072, 18_400_000].map(size), ["120 bytes", "128 KiB", "17 MiB"]);
    }

    #[test]
    fn a_signature_is_looked_for_beside_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("things.wasm");
        std::fs::write(&path, b"component").unwrap();
        let component = Component::read(&path).unwrap();
        let keys = TrustedKeys::default();
        assert_eq!(component.signed(Some(&keys)).unwrap(), Signed::No);
        std::fs::write(folder.path().join("things.wasm.sig"), [7; 64]).unwrap();
        assert_eq!(component.signed(None).unwrap(), Signed::Unchecked);
        assert!(matches!(component.signed(Some(&keys)).unwrap(), Signed::Wrong(_)));
    }
}
