//! What there is at a path: the only thing that the policy asks of the host.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// What a path leads to, all links followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Facts {
    /// The path without links, `.` or `..`.
    pub(crate) path: PathBuf,
    pub(crate) kind: Kind,
    /// The owner's number.
    pub(crate) owner: u32,
    /// Permission bits.
    pub(crate) mode: u32,
}

/// What stands at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Folder,
    /// A device, a socket or a pipe.
    Other,
}

/// The files of a host.
pub(crate) trait Files {
    /// What `path` leads to; nothing where it leads nowhere, or where the runner may not look.
    fn look(&self, path: &Path) -> Option<Facts>;

    /// The same of the path and of all folders above it, from the path itself to the root.
    fn look_up(&self, path: &Path) -> Option<Vec<Facts>> {
        let first = self.look(path)?;
        let above: Vec<_> = first.path.ancestors().skip(1).map(Path::to_owned).collect();
        let mut facts = vec![first];
        for folder in above {
            facts.push(self.look(&folder)?);
        }
        Some(facts)
    }
}

/// The files of this host.
#[derive(Debug, Clone, Copy)]
pub(crate) struct HostFiles;

impl Files for HostFiles {
    fn look(&self, path: &Path) -> Option<Facts> {
        let path = fs::canonicalize(path).ok()?;
        // Not of a link that has appeared since: there is none in a path without links.
        let metadata = fs::symlink_metadata(&path).ok()?;
        let kind = match metadata.file_type() {
            file if file.is_file() => Kind::File,
            folder if folder.is_dir() => Kind::Folder,
            _ => Kind::Other,
        };
        Some(Facts { path, kind, owner: metadata.uid(), mode: metadata.mode() & 0o7777 })
    }
}

#[cfg(test)]
pub(crate) mod fixtures {
    use std::collections::BTreeMap;

    use super::*;

    /// Files that a test makes up.
    #[derive(Debug, Clone, Default)]
    pub(crate) struct FakeFiles {
        facts: BTreeMap<PathBuf, Facts>,
        links: BTreeMap<PathBuf, PathBuf>,
    }

    impl FakeFiles {
        pub(crate) fn put(mut self, path: &str, kind: Kind, owner: u32, mode: u32) -> Self {
            let path = PathBuf::from(path);
            for folder in path.ancestors().skip(1) {
                let facts = Facts { path: folder.to_owned(), kind: Kind::Folder, owner: 0, mode: 0o755 };
                self.facts.entry(folder.to_owned()).or_insert(facts);
            }
            self.facts.insert(path.clone(), Facts { path, kind, owner, mode });
            self
        }

        pub(crate) fn file(self, path: &str, mode: u32) -> Self {
            self.put(path, Kind::File, 0, mode)
        }

        pub(crate) fn folder(self, path: &str, mode: u32) -> Self {
            self.put(path, Kind::Folder, 0, mode)
        }

        pub(crate) fn link(mut self, path: &str, to: &str) -> Self {
            self.links.insert(PathBuf::from(path), PathBuf::from(to));
            self
        }
    }

    impl Files for FakeFiles {
        fn look(&self, path: &Path) -> Option<Facts> {
            let mut real = PathBuf::new();
            for part in path.components() {
                match part {
                    std::path::Component::ParentDir => drop(real.pop()),
                    std::path::Component::CurDir => {}
                    other => real.push(other),
                }
                if let Some(target) = self.links.get(&real) {
                    real.clone_from(target);
                }
            }
            self.facts.get(&real).cloned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_followed_to_what_is_there() {
        let folder = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::write(root.join("file"), "x").unwrap();
        std::os::unix::fs::symlink(root.join("file"), root.join("link")).unwrap();
        let facts =
            HostFiles.look(&root.join("sub/../link")).or_else(|| HostFiles.look(&root.join("link"))).unwrap();
        assert_eq!((facts.path, facts.kind), (root.join("file"), Kind::File));
        assert_eq!(HostFiles.look(&root.join("none")), None);
        assert_eq!(HostFiles.look(Path::new("/dev/null")).unwrap().kind, Kind::Other);
        let facts = HostFiles.look_up(&root).unwrap();
        assert_eq!(facts.last().unwrap().path, Path::new("/"));
        assert_eq!(facts.len(), root.components().count());
    }
}
