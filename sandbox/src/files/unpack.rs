//! Reads the archive that the engine makes of a path in a container. Names, kinds, sizes and contents are the
//! container's, and hostile.
//!
//! Regular files and folders are handed on, a second name of a file is told as such, and everything else is passed over.
//! Memory is bounded by [`LARGEST_EXTENSION`].

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tar::{EntryType, Header};

use super::names;
use super::sink::{Content, Meta, Sink};

const BLOCK: usize = 512;
/// Long names and the attributes of one file.
const LARGEST_EXTENSION: u64 = 1 << 20;
const NO_NUMBER: &str = "a size is no number";

/// Gives what an archive holds to `sink`: the content of a folder, or a file by its name.
///
/// # Errors
/// An archive that is none, that holds anything but one tree, or whose tree is a link or a device; what `sink` refuses.
pub(crate) fn unpack(from: &mut dyn Read, sink: &mut dyn Sink) -> io::Result<()> {
    let mut archive = Archive { from };
    let Some(first) = archive.member()? else { return Err(malformed("it is empty")) };
    let root = names::relative(&first.name).map_err(|bad| malformed(&bad.to_string()))?;
    if root.iter().count() != 1 {
        return Err(malformed("it does not begin with its root"));
    }
    match first.kind {
        EntryType::Directory => archive.tree(&root, sink),
        EntryType::Regular | EntryType::Continuous => archive.hand_on(&root, &first, sink),
        EntryType::Symlink | EntryType::Link => Err(io::Error::other("it is a link")),
        _ => Err(io::Error::other("it is neither a file nor a folder")),
    }
}

struct Archive<'a> {
    from: &'a mut dyn Read,
}

/// One header with what the extensions before it say.
struct Member {
    kind: EntryType,
    name: Vec<u8>,
    link: Vec<u8>,
    meta: Meta,
}

#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    size: Option<u64>,
}

impl Archive<'_> {
    fn tree(&mut self, root: &Path, sink: &mut dyn Sink) -> io::Result<()> {
        while let Some(member) = self.member()? {
            let path = below(root, &member.name)?;
            match member.kind {
                EntryType::Directory => sink.folder(&path, member.meta)?,
                EntryType::Regular | EntryType::Continuous => self.hand_on(&path, &member, sink)?,
                EntryType::Link => match below(root, &member.link) {
                    Ok(first) => sink.again(&path, &first)?,
                    Err(_) => {
                        tracing::debug!("a hard link that leads out of an archive's root was passed over")
                    }
                },
                _ => self.skip(member.meta.size.saturating_add(padding(member.meta.size)))?,
            }
        }
        Ok(())
    }

    fn hand_on(&mut self, path: &Path, member: &Member, sink: &mut dyn Sink) -> io::Result<()> {
        let mut content = (&mut *self.from).take(member.meta.size);
        sink.file(path, member.meta, Content::Read(&mut content))?;
        if content.limit() > 0 {
            return Err(malformed("it is cut short"));
        }
        self.skip(padding(member.meta.size))
    }

    /// The next file, folder or link; none at the end.
    fn member(&mut self) -> io::Result<Option<Member>> {
        let mut extensions = Extensions::default();
        // An extension is for the next header: more of them than there are kinds say nothing new.
        for _ in 0..8 {
            let Some(header) = self.header()? else { return Ok(None) };
            // The library's own words have the whole field in them.
            let size = header.entry_size().map_err(|_| malformed(NO_NUMBER))?;
            match header.entry_type() {
                EntryType::XHeader => extensions.read(&self.extension(size)?)?,
                EntryType::GNULongName => extensions.name = Some(text(self.extension(size)?)),
                EntryType::GNULongLink => extensions.link = Some(text(self.extension(size)?)),
                EntryType::XGlobalHeader => drop(self.extension(size)?),
                EntryType::GNUSparse => return Err(malformed("it has a sparse file")),
                _ => return Ok(Some(extensions.applied_to(&header, size))),
            }
        }
        Err(malformed("it has extensions of nothing"))
    }

    fn header(&mut self) -> io::Result<Option<Header>> {
        let mut block = [0; BLOCK];
        self.from.read_exact(&mut block).map_err(cut_short)?;
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let header = Header::from_byte_slice(&block);
        if header.cksum().ok() != Some(checksum(&block)) {
            return Err(malformed("a header is damaged"));
        }
        Ok(Some(header.clone()))
    }

    fn extension(&mut self, size: u64) -> io::Result<Vec<u8>> {
        if size > LARGEST_EXTENSION {
            return Err(malformed("an extension is too large"));
        }
        let mut content = Vec::new();
        (&mut *self.from).take(size).read_to_end(&mut content)?;
        if u64::try_from(content.len()) != Ok(size) {
            return Err(malformed("it is cut short"));
        }
        self.skip(padding(size)).map(|()| content)
    }

    fn skip(&mut self, size: u64) -> io::Result<()> {
        let skipped = io::copy(&mut (&mut *self.from).take(size), &mut io::sink())?;
        if skipped == size { Ok(()) } else { Err(malformed("it is cut short")) }
    }
}

impl Extensions {
    /// Records `length key=value\n`, where the length counts the whole record, so that a value may have any byte.
    fn read(&mut self, mut records: &[u8]) -> io::Result<()> {
        while !records.is_empty() {
            let (record, rest) = record(records).ok_or_else(|| malformed("a record is damaged"))?;
            records = rest;
            match record {
                (b"path", value) => self.name = Some(value.to_vec()),
                (b"linkpath", value) => self.link = Some(value.to_vec()),
                (b"size", value) => {
                    self.size = Some(decimal(value).ok_or_else(|| malformed(NO_NUMBER))?);
                }
                (key, _) if key.starts_with(b"GNU.sparse.") => return Err(malformed("it has a sparse file")),
                _ => {}
            }
        }
        Ok(())
    }

    fn applied_to(self, header: &Header, size: u64) -> Member {
        let kind = header.entry_type();
        let has_content = !matches!(
            kind,
            EntryType::Directory
                | EntryType::Symlink
                | EntryType::Link
                | EntryType::Fifo
                | EntryType::Char
                | EntryType::Block
        );
        Member {
            kind,
            name: self.name.unwrap_or_else(|| header.path_bytes().into_owned()),
            link: self.link.or_else(|| header.link_name_bytes().map(Into::into)).unwrap_or_default(),
            meta: Meta {
                mode: header.mode().unwrap_or(0),
                size: if has_content { self.size.unwrap_or(size) } else { 0 },
                modified: header.mtime().ok().and_then(|time| time.try_into().ok()).unwrap_or(0),
            },
        }
    }
}

/// A member's path without the root's name.
fn below(root: &Path, name: &[u8]) -> io::Result<PathBuf> {
    let path = names::relative(name).map_err(|bad| malformed(&bad.to_string()))?;
    match path.strip_prefix(root) {
        Ok(path) if !path.as_os_str().is_empty() => Ok(path.to_owned()),
        Ok(_) | Err(_) => Err(malformed("it has more than one root")),
    }
}

type Record<'a> = (&'a [u8], &'a [u8]);

fn record(records: &[u8]) -> Option<(Record<'_>, &[u8])> {
    let space = records.iter().position(|byte| *byte == b' ')?;
    let length = usize::try_from(decimal(records.get(..space)?)?).ok()?;
    let (record, rest) = records.split_at_checked(length)?;
    let record = record.get(space.checked_add(1)?..)?.strip_suffix(b"\n")?;
    let equals = record.iter().position(|byte| *byte == b'=')?;
    let (key, value) = record.split_at_checked(equals)?;
    Some(((key, value.get(1..)?), rest))
}

fn decimal(digits: &[u8]) -> Option<u64> {
    let only_digits = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(digits).ok().filter(|_| only_digits)?.parse().ok()
}

fn text(mut content: Vec<u8>) -> Vec<u8> {
    if let Some(end) = content.iter().position(|byte| *byte == 0) {
        content.truncate(end);
    }
    content
}

/// The sum of all bytes, those of the sum itself taken as spaces.
fn checksum(block: &[u8; BLOCK]) -> u32 {
    let own = 148..156;
    block.iter().enumerate().map(|(at, byte)| u32::from(if own.contains(&at) { b' ' } else { *byte })).sum()
}

const fn padding(size: u64) -> u64 {
    size.wrapping_neg() % BLOCK as u64
}

fn cut_short(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::UnexpectedEof { malformed("it is cut short") } else { error }
}

fn malformed(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the engine's archive cannot be read: {why}"))
}

#[cfg(test)]
mod tests;
