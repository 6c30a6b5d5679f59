//! The elements of one key, each a row.
//!
//! Lists come by their places and streams by their ids. Sets, sorted sets and hashes are scanned: elements that stay
//! while the scan lasts come once.

use bridge_core::BridgeError;

use super::{FIRST_WINDOW, Step, Visit, next_window, unexpected};
use crate::error::while_running;
use crate::execute::keys::Seen;
use crate::values::{Content, Key, Record};
use crate::wire::{Assembler, Connection, Reply};

/// What one answer may have: a window of the largest rows would not fit, a window after the first of them does.
const ANSWER_LIMIT: usize = 128 * 1024 * 1024;

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
    /// Where the next answer begins: a scan's cursor, a list's place, a stream's id.
    next: Next,
    asked: bool,
    assembler: Assembler,
    answer: Vec<Reply>,
    /// How many entries of the answer have been visited.
    at: usize,
    /// The place of the answer's first entry in a list.
    first: u64,
    window: usize,
    /// What the question that is under way asked for, and what came of its answer so far.
    wanted: usize,
    bytes: usize,
    seen: Seen,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Next {
    At(Vec<u8>),
    Place(u64),
    Done,
}

impl Elements {
    /// All of them.
    pub(crate) fn new(key: &[u8], collection: Collection) -> Self {
        let next = match collection {
            Collection::List => Next::Place(0),
            Collection::Stream => Next::At(b"-".to_vec()),
            Collection::Set | Collection::SortedSet | Collection::Hash => Next::At(b"0".to_vec()),
        };
        Self {
            key: key.to_vec(),
            collection,
            next,
            asked: false,
            assembler: Assembler::new(ANSWER_LIMIT),
            answer: Vec::new(),
            at: 0,
            first: 0,
            window: FIRST_WINDOW,
            wanted: 0,
            bytes: 0,
            seen: Seen::new(),
        }
    }

    /// Those after the element called `key`; nothing where that is no key of an ordered collection.
    pub(crate) fn after(self, key: &str) -> Option<Self> {
        let next = match self.collection {
            Collection::List => Next::Place(key.parse::<u64>().ok()?.saturating_add(1)),
            Collection::Stream => after_id(key.as_bytes())?,
            Collection::Set | Collection::SortedSet | Collection::Hash => return None,
        };
        Some(Self { next, ..self })
    }

    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        needed: Option<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<Step, BridgeError> {
        if self.at < self.answer.len() {
            self.visit_one(visit)?;
            return Ok(Step::Rows);
        }
        if self.asked {
            return self.take(connection, needed);
        }
        Ok(if self.ask(connection, needed) { Step::Send } else { Step::End })
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
            (_, Next::Done) => return false,
            (Collection::Set, Next::At(cursor)) => {
                connection.queue(&[b"SSCAN", key, cursor, b"COUNT", count])
            }
            (Collection::SortedSet, Next::At(cursor)) => {
                connection.queue(&[b"ZSCAN", key, cursor, b"COUNT", count])
            }
            (Collection::Hash, Next::At(cursor)) => {
                connection.queue(&[b"HSCAN", key, cursor, b"COUNT", count])
            }
            (_, Next::At(from)) => connection.queue(&[b"XRANGE", key, from, b"+", b"COUNT", count]),
            (_, Next::Place(from)) => {
                let to = from.saturating_add(wanted as u64 - 1).to_string();
                connection.queue(&[b"LRANGE", key, from.to_string().as_bytes(), to.as_bytes()]);
            }
        }
        self.asked = true;
        self.wanted = wanted;
        true
    }

    fn take(&mut self, connection: &mut Connection, needed: Option<u64>) -> Result<Step, BridgeError> {
        let before = connection.received();
        let assembled = connection.assemble(&mut self.assembler).map_err(while_running)?;
        self.bytes += before.saturating_sub(connection.received());
        let Some(reply) = assembled else { return Ok(Step::Receive) };
        self.asked = false;
        let Reply::Array(entries) = reply.checked().map_err(while_running)? else { return Err(unexpected()) };
        self.at = 0;
        match self.collection {
            Collection::List => self.take_list(entries),
            Collection::Stream => self.take_stream(entries)?,
            Collection::Set | Collection::SortedSet | Collection::Hash => self.take_scan(entries)?,
        }
        let bytes = std::mem::take(&mut self.bytes);
        self.window = next_window(self.window, self.answer.len() / self.collection.width(), bytes);
        let left = needed.map(|needed| needed.saturating_sub(self.answer.len() as u64));
        Ok(if self.ask(connection, left) { Step::Send } else { Step::Rows })
    }

    fn take_list(&mut self, entries: Vec<Reply>) {
        if let Next::Place(from) = self.next {
            self.first = from;
            let short = entries.len() < self.wanted;
            self.next =
                if short { Next::Done } else { Next::Place(from.saturating_add(entries.len() as u64)) };
        }
        self.answer = entries;
    }

    fn take_stream(&mut self, entries: Vec<Reply>) -> Result<(), BridgeError> {
        let last = entries.last().and_then(|entry| entry.entries().first()).map(Reply::bytes);
        self.next = match last {
            Some(id) if entries.len() >= self.wanted => after_id(id).ok_or_else(unexpected)?,
            Some(_) | None => Next::Done,
        };
        self.answer = entries;
        Ok(())
    }

    fn take_scan(&mut self, mut answer: Vec<Reply>) -> Result<(), BridgeError> {
        let (Some(Reply::Array(entries)), Some(Reply::Bytes(cursor)), true) =
            (answer.pop(), answer.pop(), answer.is_empty())
        else {
            return Err(unexpected());
        };
        self.next = if cursor == b"0" { Next::Done } else { Next::At(cursor) };
        self.answer = entries;
        Ok(())
    }

    fn visit_one(&mut self, visit: &mut Visit<'_>) -> Result<(), BridgeError> {
        let index = self.at;
        self.at += self.collection.width();
        let Some(entry) = self.answer.get(index) else { return Ok(()) };
        let second = self.answer.get(index + 1).map_or(&[][..], Reply::bytes);
        let member =
            |score, value| Record { key: Key::Bytes(entry.bytes()), score, content: Content::Value(value) };
        let record = match self.collection {
            Collection::List => {
                let place = self.first.saturating_add(index as u64);
                Record { key: Key::Index(place), score: None, content: Content::Value(entry.bytes()) }
            }
            Collection::Stream => {
                let (id, fields) = match entry.entries() {
                    [id, fields] => (id.bytes(), fields.entries()),
                    _ => return Err(unexpected()),
                };
                Record { key: Key::Bytes(id), score: None, content: Content::Pairs(fields) }
            }
            Collection::Set | Collection::SortedSet | Collection::Hash
                if !self.seen.is_new(entry.bytes()) =>
            {
                return Ok(());
            }
            Collection::Set => member(None, entry.bytes()),
            Collection::SortedSet => member(Some(second), entry.bytes()),
            Collection::Hash => member(None, second),
        };
        visit(&record)
    }
}

/// The smallest id after one, as `milliseconds-sequence`.
fn after_id(id: &[u8]) -> Option<Next> {
    let (millis, sequence) = std::str::from_utf8(id).ok()?.split_once('-')?;
    let (millis, sequence): (u64, u64) = (millis.parse().ok()?, sequence.parse().ok()?);
    let next = match sequence.checked_add(1) {
        Some(sequence) => (millis, sequence),
        None => match millis.checked_add(1) {
            Some(millis) => (millis, 0),
            None => return Some(Next::Done),
        },
    };
    Some(Next::At(format!("{}-{}", next.0, next.1).into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_id_of_a_stream_is_known_without_asking() {
        let at = |text: &str| Some(Next::At(text.as_bytes().to_vec()));
        assert_eq!(after_id(b"5-0"), at("5-1"));
        assert_eq!(after_id(b"5-18446744073709551615"), at("6-0"));
        assert_eq!(after_id(b"18446744073709551615-18446744073709551615"), Some(Next::Done));
        assert_eq!(after_id(b"x"), None);
    }
}
