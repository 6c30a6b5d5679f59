//! Writes a tree as the archive that the engine unpacks into a container.
//!
//! Headers are portable: no name of an account, no time but that of the last change. A name that does not fit a header has
//! a record of its own before it.

use std::io::{self, Read as _, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use tar::{Builder, EntryType, Header};

use super::owner::Owner;
use super::sink::{Content, Meta, Sink, at};

/// What fits the name of a header.
const NAME: usize = 100;
/// A folder as it is made when nothing else is known.
const FOLDER: u32 = 0o755;

/// An archive under way.
pub(super) struct Pack<W: Write> {
    archive: Builder<W>,
    owner: Owner,
}

impl<W: Write> Pack<W> {
    pub(super) fn new(to: W, owner: Owner) -> Self {
        Self { archive: Builder::new(to), owner }
    }

    /// The folder itself that the archive will be unpacked into, with its owner and this mode. The engine ignores `.` but
    /// follows the way over the parent.
    pub(super) fn root(&mut self, name: &[u8], mode: u32, modified: i64) -> io::Result<()> {
        let mut path = b"../".to_vec();
        path.extend_from_slice(name);
        self.folder_at(&path, mode, modified)
    }

    /// A folder by the path that the archive has for it.
    pub(super) fn folder_at(&mut self, path: &[u8], mode: u32, modified: i64) -> io::Result<()> {
        let header = self.header(EntryType::Directory, mode, Meta { mode, size: 0, modified });
        self.entry(path, header, &mut io::empty())
    }

    /// The folder with the mode that folders of this owner have.
    pub(super) fn plain_root(&mut self, name: &[u8], modified: i64) -> io::Result<()> {
        self.root(name, self.owner.folder_mode(FOLDER), modified)
    }

    pub(super) fn finish(self) -> io::Result<W> {
        self.archive.into_inner()
    }

    fn header(&self, kind: EntryType, mode: u32, meta: Meta) -> Header {
        let (uid, gid) = self.owner.ids();
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_size(meta.size);
        header.set_mtime(u64::try_from(meta.modified).unwrap_or(0));
        header
    }

    fn entry(&mut self, path: &[u8], mut header: Header, content: &mut dyn io::Read) -> io::Result<()> {
        if path.len() > NAME {
            self.archive.append_pax_extensions([("path", path)])?;
        }
        let name = path.get(..NAME).unwrap_or(path);
        if let Some(field) = header.as_gnu_mut().and_then(|header| header.name.get_mut(..name.len())) {
            field.copy_from_slice(name);
        }
        header.set_cksum();
        self.archive.append(&header, content)
    }
}

impl<W: Write> Sink for Pack<W> {
    fn folder(&mut self, path: &Path, meta: Meta) -> io::Result<()> {
        let header = self.header(EntryType::Directory, self.owner.folder_mode(meta.mode), meta);
        let mut name = path.as_os_str().as_bytes().to_vec();
        name.push(b'/');
        self.entry(&name, header, &mut io::empty()).map_err(|error| at(path, error))
    }

    fn file(&mut self, path: &Path, meta: Meta, content: Content<'_>) -> io::Result<()> {
        let header = self.header(EntryType::Regular, self.owner.file_mode(meta.mode), meta);
        let name = path.as_os_str().as_bytes();
        let appended = match content {
            Content::File(file) => self.entry(name, header, &mut Exact::new(file.take(meta.size))),
            Content::Read(read) => self.entry(name, header, &mut Exact::new(read.take(meta.size))),
        };
        appended.map_err(|error| at(path, error))
    }

    fn again(&mut self, _path: &Path, _first: &Path) -> io::Result<()> {
        Ok(())
    }
}

/// Fails where a file is shorter than its header says: the rest of the archive would be read as its content.
struct Exact<R>(io::Take<R>);

impl<R> Exact<R> {
    const fn new(read: io::Take<R>) -> Self {
        Self(read)
    }
}

impl<R: io::Read> io::Read for Exact<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.0.read(buffer)? {
            0 if self.0.limit() > 0 && !buffer.is_empty() => {
                Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file became shorter while it was read"))
            }
            count => Ok(count),
        }
    }
}
