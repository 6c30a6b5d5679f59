//! The file on its way, record by record.
//!
//! A cursor is the place in the file where the next record begins, with the file's version where the server names one:
//! a page of another version than the one before would have rows twice or not at all.

use semilayer_plugin::{Error, http};

use crate::layout::Shape;
use crate::records::Records;

/// Bytes that are asked for at once.
const PIECE: u32 = 64 * 1024;

/// A download that is cut into records.
#[derive(Debug)]
pub(crate) struct Download {
    response: http::Response,
    records: Records,
    /// Bytes before the first record that is wanted, where the server gives the whole file.
    skip: u64,
    version: Option<String>,
    /// Whether the header's line is still to come.
    header: bool,
    ended: bool,
    /// Whether it has been said that the next piece must be waited for.
    announced: bool,
}

/// What there is now.
#[derive(Debug)]
pub(crate) enum Progress<'a> {
    Record(Record<'a>),
    /// The next record has to be waited for.
    Wait,
    End,
}

/// One record.
#[derive(Debug)]
pub(crate) struct Record<'a> {
    pub(crate) bytes: &'a [u8],
    number: u64,
    /// Where in the file it begins.
    offset: u64,
}

impl Record<'_> {
    /// What is wrong with it. Records are counted from where the page begins, so the place in the file is said, too.
    pub(crate) fn wrong(&self, what: &str) -> Error {
        let (number, offset) = (self.number, self.offset);
        Error::query_failed(format!("record {number} of this page, at byte {offset} of the file: {what}"))
    }
}

impl Download {
    /// Asks for the file, from the cursor on.
    pub(crate) fn open(client: &http::Client, shape: &Shape, cursor: Option<&str>) -> Result<Self, Error> {
        let (offset, version) = read_cursor(cursor)?;
        let mut request = client.get("");
        if offset > 0 {
            request = request.header("range", &format!("bytes={offset}-"));
        }
        let response = request.send()?;
        // The place is the end of the file: there is nothing behind it.
        let is_behind_the_end = response.status() == 416;
        let response = if is_behind_the_end { response } else { response.ok()? };
        let now = response.header("etag").or(response.header("last-modified")).map(str::to_owned);
        if version.is_some() && now.is_some() && version != now {
            return Err(Error::query_failed("the file has changed since the page before; begin again"));
        }
        let (quoted_by, header) = match shape {
            Shape::Csv { delimiter, header } => (Some(*delimiter), *header && offset == 0),
            Shape::Ndjson => (None, false),
        };
        let skip = if response.status() == 206 { 0 } else { offset };
        let records = Records::new(quoted_by, offset);
        let ended = is_behind_the_end;
        Ok(Self { response, records, skip, version: now, header, ended, announced: false })
    }

    /// The next record, or why there is none yet.
    pub(crate) fn next(&mut self) -> Result<Progress<'_>, Error> {
        loop {
            if self.records.advance(self.ended) {
                if !std::mem::take(&mut self.header) {
                    return Ok(Progress::Record(self.current()));
                }
            } else if self.ended {
                return Ok(Progress::End);
            } else if !std::mem::replace(&mut self.announced, true) {
                return Ok(Progress::Wait);
            } else {
                self.announced = false;
                self.receive()?;
            }
        }
    }

    /// The next record, waited for.
    pub(crate) fn next_waiting(&mut self) -> Result<Option<Record<'_>>, Error> {
        loop {
            match self.next()? {
                Progress::Record(_) => return Ok(Some(self.current())),
                Progress::Wait => {}
                Progress::End => return Ok(None),
            }
        }
    }

    /// Where the record begins that was given last.
    pub(crate) fn cursor(&self) -> String {
        let offset = self.records.offset();
        match &self.version {
            Some(version) => format!("{offset} {version}"),
            None => offset.to_string(),
        }
    }

    fn current(&self) -> Record<'_> {
        Record { bytes: self.records.current(), number: self.records.count(), offset: self.records.offset() }
    }

    fn receive(&mut self) -> Result<(), Error> {
        let Some(piece) = self.response.piece(PIECE)? else {
            self.ended = true;
            return Ok(());
        };
        let skipped = usize::try_from(self.skip).unwrap_or(usize::MAX).min(piece.len());
        self.skip -= skipped as u64;
        self.records.feed(piece.get(skipped..).unwrap_or_default())
    }
}

/// The place in the file, and the version that it is a place of.
fn read_cursor(cursor: Option<&str>) -> Result<(u64, Option<String>), Error> {
    let Some(cursor) = cursor else { return Ok((0, None)) };
    let (offset, version) = match cursor.split_once(' ') {
        Some((offset, version)) => (offset, Some(version.to_owned())),
        None => (cursor, None),
    };
    let offset = offset.parse().map_err(|_| Error::invalid_request("cursor", "a cursor of this target"))?;
    Ok((offset, version))
}
