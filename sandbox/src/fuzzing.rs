//! The reader of the engine's archives, from bytes to a list of what would be written.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::files::{Content, Meta, Sink, unpack};

/// What an archive would have written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Landed {
    /// A folder.
    Folder(PathBuf),
    /// A file with its content.
    File(PathBuf, Vec<u8>),
    /// A further name of a file.
    Again(PathBuf, PathBuf),
}

/// All that an archive holds, or why it is refused. It is read in pieces of at most `piece` bytes.
pub fn landed(archive: &[u8], piece: usize) -> Result<Vec<Landed>, String> {
    let mut landed = List(Vec::new());
    let mut from = Pieces { rest: archive, piece: piece.max(1) };
    unpack(&mut from, &mut landed).map(|()| landed.0).map_err(|error| error.to_string())
}

struct List(Vec<Landed>);

impl Sink for List {
    fn folder(&mut self, path: &Path, _meta: Meta) -> io::Result<()> {
        self.0.push(Landed::Folder(path.to_owned()));
        Ok(())
    }

    fn file(&mut self, path: &Path, _meta: Meta, content: Content<'_>) -> io::Result<()> {
        let mut bytes = Vec::new();
        match content {
            Content::File(mut file) => file.read_to_end(&mut bytes)?,
            Content::Read(read) => read.read_to_end(&mut bytes)?,
        };
        self.0.push(Landed::File(path.to_owned(), bytes));
        Ok(())
    }

    fn again(&mut self, path: &Path, first: &Path) -> io::Result<()> {
        self.0.push(Landed::Again(path.to_owned(), first.to_owned()));
        Ok(())
    }
}

struct Pieces<'a> {
    rest: &'a [u8],
    piece: usize,
}

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = buffer.len().min(self.piece);
        self.rest.read(buffer.get_mut(..length).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_of_the_corpus_are_read_the_same_in_any_pieces() {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/archives");
        let mut read = 0;
        for seed in std::fs::read_dir(corpus).unwrap() {
            let bytes = std::fs::read(seed.unwrap().path()).unwrap();
            let whole = landed(&bytes[1..], usize::MAX);
            assert_eq!(landed(&bytes[1..], 7), whole);
            read += usize::from(whole.is_ok());
        }
        assert_eq!(read, 4, "all but the one that leads out");
    }
}
