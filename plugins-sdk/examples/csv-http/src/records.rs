//! Where records begin and end in bytes that come piece by piece.

use std::ops::Range;

use semilayer_plugin::Error;

/// Bytes that one record may have.
const MAX_RECORD: usize = 4 * 1024 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Splits bytes into records: lines, in which quotes may hold line ends.
#[derive(Debug)]
pub(crate) struct Records {
    /// For files in which quotes mean something: the delimiter of fields.
    quoted_by: Option<u8>,
    buffer: Vec<u8>,
    /// Where in the file `buffer` begins.
    base: u64,
    /// Where the record that was found last begins in `buffer`.
    last: usize,
    /// The record that was found last.
    found: Range<usize>,
    /// Where the next one begins.
    next: usize,
    /// What has been looked at without finding its end.
    scanned: usize,
    state: State,
    /// Records so far.
    count: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// At the beginning of a field: a quote opens.
    Field,
    /// Within a field without quotes.
    Plain,
    Quoted,
    /// Behind a quote in a quoted field: it closes, or is the first of two.
    Quote,
}

impl Records {
    /// Records of a file, read from this place on. With a delimiter, quotes are looked at.
    pub(crate) fn new(quoted_by: Option<u8>, offset: u64) -> Self {
        let (buffer, state) = (Vec::new(), State::Field);
        Self { quoted_by, buffer, base: offset, last: 0, found: 0..0, next: 0, scanned: 0, state, count: 0 }
    }

    /// Takes the next piece of the file.
    pub(crate) fn feed(&mut self, piece: &[u8]) -> Result<(), Error> {
        self.buffer.drain(..self.next);
        self.base += self.next as u64;
        self.scanned -= self.next;
        self.last = 0;
        self.found = 0..0;
        self.next = 0;
        if self.buffer.len() > MAX_RECORD {
            let number = self.count + 1;
            return Err(Error::resource_exhausted(format!(
                "record {number} is longer than {MAX_RECORD} bytes"
            )));
        }
        self.buffer.extend_from_slice(piece);
        Ok(())
    }

    /// Finds the next record that is not empty. `ended` says that no more bytes will come, so that the last record needs no
    /// line end.
    pub(crate) fn advance(&mut self, ended: bool) -> bool {
        match self.next_range(ended) {
            Some(found) => {
                self.found = found;
                self.count += 1;
                true
            }
            None => false,
        }
    }

    /// The record that was found last, without its line end.
    pub(crate) fn current(&self) -> &[u8] {
        self.buffer.get(self.found.clone()).unwrap_or_default()
    }

    /// Where in the file it begins.
    pub(crate) fn offset(&self) -> u64 {
        self.base + self.last as u64
    }

    /// Records so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    fn next_range(&mut self, ended: bool) -> Option<Range<usize>> {
        while self.next < self.buffer.len() {
            let end = self.find_end().or_else(|| ended.then_some(self.buffer.len()))?;
            let whole = self.next..end;
            self.last = self.next;
            self.next = self.buffer.len().min(end + 1);
            self.scanned = self.next;
            self.state = State::Field;
            let range = self.trimmed(whole);
            if !range.is_empty() {
                return Some(range);
            }
        }
        None
    }

    fn find_end(&mut self) -> Option<usize> {
        let unread = self.buffer.get(self.scanned..).unwrap_or_default();
        let found = match self.quoted_by {
            None => unread.iter().position(|byte| *byte == b'\n'),
            Some(delimiter) => {
                let state = &mut self.state;
                unread.iter().position(|byte| {
                    let ends = *byte == b'\n' && *state != State::Quoted;
                    *state = state.after(*byte, delimiter);
                    ends
                })
            }
        };
        match found {
            Some(at) => Some(self.scanned + at),
            None => {
                self.scanned = self.buffer.len();
                None
            }
        }
    }

    /// Without the mark that some programs put before the first byte, and without a carriage return at the end.
    fn trimmed(&self, whole: Range<usize>) -> Range<usize> {
        let bytes = self.buffer.get(whole.clone()).unwrap_or_default();
        let mark = self.base == 0 && whole.start == 0 && bytes.starts_with(BYTE_ORDER_MARK);
        let start = whole.start + if mark { BYTE_ORDER_MARK.len() } else { 0 };
        let end = whole.end - usize::from(bytes.ends_with(b"\r"));
        start..end.max(start)
    }
}

impl State {
    fn after(self, byte: u8, delimiter: u8) -> Self {
        match (self, byte) {
            (Self::Quoted, b'"') => Self::Quote,
            (Self::Field | Self::Quote, b'"') | (Self::Quoted, _) => Self::Quoted,
            (_, byte) if byte == delimiter => Self::Field,
            _ => Self::Plain,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The records of a text that comes in pieces of this length, and where each begins.
    fn records(text: &str, quoted_by: Option<u8>, piece: usize) -> Vec<(String, u64)> {
        let mut records = Records::new(quoted_by, 0);
        let mut found = Vec::new();
        let mut collect = |records: &mut Records, ended| {
            while records.advance(ended) {
                let record = String::from_utf8(records.current().to_vec()).unwrap();
                found.push((record, records.offset()));
            }
        };
        for piece in text.as_bytes().chunks(piece) {
            records.feed(piece).unwrap();
            collect(&mut records, false);
        }
        collect(&mut records, true);
        found
    }

    #[test]
    fn records_are_the_same_however_the_bytes_come() {
        let text = "\u{feff}a,b\r\n1,\"x\ny\"\n\n\r\n2,\"say \"\"hi\"\",\n\"\n3,5\" pipe\n4,last";
        let expected = ["a,b", "1,\"x\ny\"", "2,\"say \"\"hi\"\",\n\"", "3,5\" pipe", "4,last"];
        for piece in 1..=text.len() {
            let found = records(text, Some(b','), piece);
            assert_eq!(
                found.iter().map(|(record, _)| record.as_str()).collect::<Vec<_>>(),
                expected,
                "{piece}"
            );
            for (record, offset) in found.iter().skip(1) {
                assert!(
                    text[usize::try_from(*offset).unwrap()..].starts_with(record.as_str()),
                    "{piece}: {offset}"
                );
            }
        }
    }

    #[test]
    fn quotes_mean_nothing_where_lines_are_records() {
        let found = records("{\"a\":\"x\\\"\"}\n{\"b\":1}", None, 3);
        assert_eq!(found, [("{\"a\":\"x\\\"\"}".to_owned(), 0), ("{\"b\":1}".to_owned(), 12)]);
    }

    #[test]
    fn a_record_without_end_is_given_up() {
        let mut records = Records::new(Some(b','), 0);
        let piece = [b'x'; 1 << 20];
        let fed = (0..10).try_for_each(|_| {
            assert!(!records.advance(false));
            records.feed(&piece)
        });
        assert!(fed.is_err());
    }
}
