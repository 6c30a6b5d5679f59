//! The documents of a batch where the driver has put them.

use bridge_core::BridgeError;
use mongodb::bson::RawDocument;
use mongodb::raw_batch_cursor::RawBatch;

use crate::error::{of_driver, unreadable};

/// The length in front of a list's elements.
const HEADER: usize = 4;
/// The type of an element that is a document.
const DOCUMENT: u8 = 3;

/// A place in the list of documents of a batch.
pub(super) struct Documents<'a> {
    list: &'a [u8],
    at: usize,
}

impl<'a> Documents<'a> {
    /// Goes on at a place that [`place`](Self::place) gave for the same batch; 0 is the beginning.
    pub(super) fn of(batch: &'a RawBatch, place: usize) -> Result<Self, BridgeError> {
        let list = batch.doc_slices().map_err(of_driver)?.as_bytes();
        Ok(Self { list, at: place.max(HEADER) })
    }

    /// The place behind the last document that was given.
    pub(super) fn place(&self) -> usize {
        self.at
    }

    /// The next document. Only its own length is looked at.
    #[inline]
    pub(super) fn next(&mut self) -> Result<Option<&'a RawDocument>, BridgeError> {
        let rest = self.list.get(self.at..).unwrap_or_default();
        match rest.split_first() {
            None | Some((0, _)) => Ok(None),
            Some((&DOCUMENT, element)) => {
                let read = element.iter().position(|byte| *byte == 0).and_then(|key| {
                    let document = element.get(key + 1..)?;
                    let length = u32::from_le_bytes(*document.first_chunk()?);
                    let length = usize::try_from(length).ok()?;
                    Some((document.get(..length)?, key + 2 + length))
                });
                let (document, size) = read.ok_or_else(broken)?;
                self.at += size;
                RawDocument::from_bytes(document).map(Some).map_err(unreadable)
            }
            Some(_) => Err(broken()),
        }
    }
}

fn broken() -> BridgeError {
    BridgeError::query("MongoDB sent a batch that is no list of documents")
}
