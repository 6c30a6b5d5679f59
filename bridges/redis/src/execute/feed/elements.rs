//! The elements of one key, each a row.
//!
//! Lists come by their places and streams by their ids. Sets, sorted sets and hashes are scanned: elements that stay
//! while the scan lasts come once.

use std::collections::VecDeque;

use bridge_core::BridgeError;

use super::answer::{Answer, Next};
use super::{FIRST_WINDOW, SLACK, Step, Visit, bulk, next_window, too_large, unexpected};
use crate::execute::keys::Seen;
use crate::values::{Content, Key, Record};
use crate::wire::{Assembler, Connection, Token, WireError};

/// What kind of collection a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Collection {
    List,
    Set,
    SortedSet,
    Hash,
    Stream,
}

impl Collection {
    /// By the answer to `TYPE`; nothing for what has no elements.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Some(match name {
            "list" => Self::List,
            "set" => Self::Set,
            "zset" => Self::SortedSet,
            "hash" => Self::Hash,
            "stream" => Self::Stream,
            _ => return None,
        })
    }

    /// What counts its elements.
    pub(crate) fn size_command(self) -> &'static [u8] {
        match self {
            Self::List => b"LLEN",
            Self::Set => b"SCARD",
            Self::SortedSet => b"ZCARD",
            Self::Hash => b"HLEN",
            Self::Stream => b"XLEN",
        }
    }

    /// Whether elements come in the order of their keys, so that pages can be cut out of it.
    pub(crate) fn is_ordered(self) -> bool {
        matches!(self, Self::List | Self::Stream)
    }

    /// How many entries of an answer are one element.
    fn width(self) -> usize {
        match self {
            Self::SortedSet | Self::Hash => 2,
            Self::List | Self::Set | Self::Stream => 1,
        }
    }
}

pub(crate) struct Elements {
    key: Vec<u8>,
    collection: Collection,
    /// Where the next question begins: a scan's cursor, a list's place, a stream's id.
    next: From,
    /// Answers that will come: the one that is being read, and the one after it.
    expected: VecDeque<Question>,
    /// The place of the next entry of a list.
    place: u64,
    /// An entry of a stream that is not all there.
    entry: Assembler,
    /// The id of the last one.
    last_id: Vec<u8>,
    window: usize,
    /// Entries of the answer that is being read, and their bytes so far.
    count: usize,
    bytes: usize,
    row_limit: usize,
    seen: Seen,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum From {
    At(Vec<u8>),
    Place(u64),
    Done,
}

/// What was asked.
struct Question {
    answer: Answer,
    /// How many elements, about.
    wanted: usize,
}

impl Elements {
    /// All of them.
    pub(crate) fn new(key: &[u8], collection: Collection, row_limit: usize) -> Self {
        let next = match collection {
            Collection::List => From::Place(0),
            Collection::Stream => From::At(b"-".to_vec()),
            Collection::Set | Collection::SortedSet | Collection::Hash => From::At(b"0".to_vec()),
        };
        // Small fields take more memory than they take of a row.
        let entry_limit = row_limit.saturating_mul(4).saturating_add(SLACK);
        Self {
            key: key.to_vec(),
            collection,
            next,
            expected: VecDeque::new(),
            place: 0,
            entry: Assembler::new(entry_limit),
            last_id: Vec::new(),
            window: FIRST_WINDOW,
            count: 0,
            bytes: 0,
            row_limit,
            seen: Seen::new(),
        }
    }

    /// Those after the element called `key`; nothing where that is no key of an ordered collection.
    pub(crate) fn after(self, key: &str) -> Option<Self> {
        let (next, place) = match self.collection {
            Collection::List => {
                let place = key.parse::<u64>().ok()?.saturating_add(1);
                (From::Place(place), place)
            }
            Collection::Stream => (after_id(key.as_bytes())?, 0),
            Collection::Set | Collection::SortedSet | Collection::Hash => return None,
        };
        Some(Self { next, place, ..self })
    }

    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        needed: Option<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<Step, BridgeError> {
        let Some(mut question) = self.expected.pop_front() else {
            return Ok(if self.ask(connection, needed) { Step::Send } else { Step::End });
        };
        let step = match question.answer.next(connection)? {
            Next::Receive => Step::Receive,
            Next::Cursor(cursor) => {
                self.next = cursor.map_or(From::Done, From::At);
                Step::Rows
            }
            Next::Entries(count) => {
                self.begin(count, question.wanted);
                self.expected.push_front(question);
                // The cursor of a scan is known before its elements, and so is the next place of a list: the server works
                // while these are written.
                let known = self.collection != Collection::Stream;
                let left = needed.map(|needed| needed.saturating_sub(self.elements()));
                return Ok(if known && self.ask(connection, left) { Step::Send } else { Step::Rows });
            }
            Next::Entry => self.take_one(connection, &mut question.answer, visit)?,
            Next::End => return self.end(&question).map(|()| Step::Rows),
        };
        self.expected.push_front(question);
        Ok(step)
    }

    fn ask(&mut self, connection: &mut Connection, needed: Option<u64>) -> bool {
        let wanted = needed.map_or(self.window as u64, |needed| needed.min(self.window as u64));
        let Ok(wanted) = usize::try_from(wanted) else { return false };
        if wanted == 0 {
            return false;
        }
        let count = wanted.to_string();
        let (key, count) = (self.key.as_slice(), count.as_bytes());
        match (self.collection, &self.next) {
            (_, From::Done) => return false,
            (Collection::Set, From::At(cursor)) => {
                connection.queue(&[b"SSCAN", key, cursor, b"COUNT", count])
            }
            (Collection::SortedSet, From::At(cursor)) => {
                connection.queue(&[b"ZSCAN", key, cursor, b"COUNT", count])
            }
            (Collection::Hash, From::At(cursor)) => {
                connection.queue(&[b"HSCAN", key, cursor, b"COUNT", count])
            }
            (_, From::At(from)) => connection.queue(&[b"XRANGE", key, from, b"+", b"COUNT", count]),
            (_, From::Place(from)) => {
                let to = from.saturating_add(wanted as u64 - 1).to_string();
                connection.queue(&[b"LRANGE", key, from.to_string().as_bytes(), to.as_bytes()]);
            }
        }
        let answer = match self.collection {
            Collection::List | Collection::Stream => Answer::list(wanted),
            Collection::Set | Collection::SortedSet | Collection::Hash => Answer::scan(),
        };
        self.expected.push_back(Question { answer, wanted });
        true
    }

    /// The entries of an answer come next.
    fn begin(&mut self, count: usize, wanted: usize) {
        (self.count, self.bytes) = (count, 0);
        if let From::Place(from) = self.next {
            let next = From::Place(from.saturating_add(count as u64));
            self.next = if count < wanted { From::Done } else { next };
        }
    }

    /// How many elements the answer has.
    fn elements(&self) -> u64 {
        (self.count / self.collection.width()) as u64
    }

    /// All entries of an answer have been read.
    fn end(&mut self, question: &Question) -> Result<(), BridgeError> {
        self.window = next_window(self.window, self.count / self.collection.width(), self.bytes);
        if self.collection == Collection::Stream {
            let more = self.count >= question.wanted;
            self.next = if more { after_id(&self.last_id).ok_or_else(unexpected)? } else { From::Done };
        }
        Ok(())
    }

    fn take_one(
        &mut self,
        connection: &mut Connection,
        answer: &mut Answer,
        visit: &mut Visit<'_>,
    ) -> Result<Step, BridgeError> {
        let taken = match self.collection {
            Collection::List => self.take_value(connection, visit)?,
            Collection::Stream => self.take_entry(connection, visit)?,
            Collection::Set => self.take_member(connection, visit)?,
            Collection::SortedSet | Collection::Hash => {
                let taken = self.take_pair(connection, visit)?;
                if taken {
                    answer.took_one();
                }
                taken
            }
        };
        if !taken {
            return Ok(Step::Receive);
        }
        answer.took_one();
        Ok(Step::Rows)
    }

    /// The value at a place of a list. These return whether it was all there.
    fn take_value(
        &mut self,
        connection: &mut Connection,
        visit: &mut Visit<'_>,
    ) -> Result<bool, BridgeError> {
        let Some(token) = self.peek(connection, 0)? else { return Ok(false) };
        let content = Content::Value(bulk(connection, token)?);
        visit(&Record { key: Key::Index(self.place), score: None, content })?;
        self.place = self.place.saturating_add(1);
        self.pass(connection, token);
        Ok(true)
    }

    fn take_member(
        &mut self,
        connection: &mut Connection,
        visit: &mut Visit<'_>,
    ) -> Result<bool, BridgeError> {
        let Some(token) = self.peek(connection, 0)? else { return Ok(false) };
        let member = bulk(connection, token)?;
        if self.seen.is_new(member) {
            visit(&Record { key: Key::Bytes(member), score: None, content: Content::Value(member) })?;
        }
        self.pass(connection, token);
        Ok(true)
    }

    /// A member with its score, or a field with its value.
    fn take_pair(&mut self, connection: &mut Connection, visit: &mut Visit<'_>) -> Result<bool, BridgeError> {
        let Some(first) = self.peek(connection, 0)? else { return Ok(false) };
        let Some(second) = self.peek(connection, first.used)? else { return Ok(false) };
        let (name, value) = (bulk(connection, first)?, bulk(connection, second)?);
        if self.seen.is_new(name) {
            let key = Key::Bytes(name);
            let record = match self.collection {
                Collection::SortedSet => Record { key, score: Some(value), content: Content::Value(name) },
                Collection::List | Collection::Set | Collection::Hash | Collection::Stream => {
                    Record { key, score: None, content: Content::Value(value) }
                }
            };
            visit(&record)?;
        }
        self.pass(connection, first);
        self.pass(connection, second);
        Ok(true)
    }

    /// An entry of a stream: its id, and its fields.
    fn take_entry(
        &mut self,
        connection: &mut Connection,
        visit: &mut Visit<'_>,
    ) -> Result<bool, BridgeError> {
        let before = connection.received();
        let assembled = connection.assemble_part(&mut self.entry).map_err(|error| self.too_large(error))?;
        self.bytes += before.saturating_sub(connection.received());
        let Some(reply) = assembled else { return Ok(false) };
        let [id, fields] = reply.entries() else { return Err(unexpected()) };
        self.last_id = id.bytes().to_vec();
        visit(&Record {
            key: Key::Bytes(id.bytes()),
            score: None,
            content: Content::Pairs(fields.entries()),
        })?;
        Ok(true)
    }

    fn peek(&self, connection: &mut Connection, after: usize) -> Result<Option<Token>, BridgeError> {
        let limit = self.row_limit.saturating_add(SLACK);
        connection.peek_after(after, limit).map_err(|error| self.too_large(error))
    }

    fn pass(&mut self, connection: &mut Connection, token: Token) {
        self.bytes += token.used;
        connection.advance(token);
    }

    /// The caller is told his own limit.
    fn too_large(&self, error: WireError) -> BridgeError {
        too_large(error, self.row_limit)
    }
}

/// The smallest id after one, as `milliseconds-sequence`.
fn after_id(id: &[u8]) -> Option<From> {
    let (millis, sequence) = std::str::from_utf8(id).ok()?.split_once('-')?;
    let (millis, sequence): (u64, u64) = (millis.parse().ok()?, sequence.parse().ok()?);
    let next = match sequence.checked_add(1) {
        Some(sequence) => (millis, sequence),
        None => match millis.checked_add(1) {
            Some(millis) => (millis, 0),
            None => return Some(From::Done),
        },
    };
    Some(From::At(format!("{}-{}", next.0, next.1).into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_id_of_a_stream_is_known_without_asking() {
        let at = |text: &str| Some(From::At(text.as_bytes().to_vec()));
        assert_eq!(after_id(b"5-0"), at("5-1"));
        assert_eq!(after_id(b"5-18446744073709551615"), at("6-0"));
        assert_eq!(after_id(b"18446744073709551615-18446744073709551615"), Some(From::Done));
        assert_eq!(after_id(b"x"), None);
    }
}
