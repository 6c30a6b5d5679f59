//! The keys under a prefix, each a row.
//!
//! Strings are what most keys are, so values are fetched as strings first; what turns out to be something else is asked
//! for its type, then for its size, and only then for its content. Where rows must come in the order of the keys, there
//! is one window at a time.

use std::collections::VecDeque;

use bridge_core::BridgeError;

use super::answer::{Answer, Next};
use super::{FIRST_WINDOW, SLACK, Step, Visit, next_window, refused, too_large, unexpected};
use crate::error::while_running;
use crate::execute::keys::{Keys, Seen};
use crate::values::{Content, Key, Record};
use crate::wire::{Assembler, Connection, Kind, Reply, ServerError, WireError};

/// Keys that one step of a scan looks at, while nothing is known.
const FIRST_COUNT: usize = 100;
const LARGEST_COUNT: usize = 1_000;
/// What keys may take that wait for their values: far more than the largest count of the longest usual keys.
const PENDING_LIMIT: usize = 64 * 1024 * 1024;
/// Windows under way at once.
const AHEAD: usize = 2;
/// An element of a collection takes at least so many bytes of its row: two quotes and a comma.
const SMALLEST_ELEMENT: usize = 3;

pub(crate) struct Members {
    scan: Option<Scan>,
    pending: Keys,
    expected: VecDeque<Expected>,
    /// Windows under way, and the keys in them.
    windows: usize,
    under_way: u64,
    window: usize,
    in_order: bool,
    /// Whether values are worth fetching as strings first.
    strings_first: bool,
    /// Whether only keys are wanted.
    keys_only: bool,
    row_limit: usize,
}

struct Scan {
    pattern: Vec<u8>,
    cursor: Vec<u8>,
    count: usize,
    asked: bool,
    done: bool,
    seen: Seen,
}

/// The answers that will come, in their order. Windows are boxed, because each of their rows takes its answer out of the
/// queue and puts it back.
enum Expected {
    Keys(Answer),
    Strings(Box<Window>),
    Types(Box<Window>, Vec<Type>),
    Sizes(Box<Window>, Vec<Type>),
    Contents(Box<Window>, Vec<Type>, Assembler),
}

/// Keys that were asked for together.
struct Window {
    keys: Keys,
    /// How many have been answered.
    at: usize,
    /// Whether the array's header has been read.
    begun: bool,
    /// Those that are no strings, or gone.
    other: Keys,
    bytes: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Type {
    Gone,
    String,
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
    /// A module's.
    Other(Box<str>),
}

impl Members {
    /// All keys that match a pattern, in the order in which they are found.
    pub(crate) fn matching(pattern: Vec<u8>, row_limit: usize) -> Self {
        let scan = Scan {
            pattern,
            cursor: b"0".to_vec(),
            count: FIRST_COUNT,
            asked: false,
            done: false,
            seen: Seen::new(),
        };
        Self { scan: Some(scan), ..Self::new(row_limit) }
    }

    /// These keys, in their order.
    pub(crate) fn listed(keys: Keys, row_limit: usize) -> Self {
        Self { pending: keys, in_order: true, ..Self::new(row_limit) }
    }

    /// The same without their values.
    pub(crate) fn keys_only(self) -> Self {
        Self { keys_only: true, ..self }
    }

    fn new(row_limit: usize) -> Self {
        Self {
            scan: None,
            pending: Keys::default(),
            expected: VecDeque::new(),
            windows: 0,
            under_way: 0,
            window: FIRST_WINDOW,
            in_order: false,
            strings_first: true,
            keys_only: false,
            row_limit,
        }
    }

    /// More keys after those that were listed.
    pub(crate) fn add(&mut self, keys: &Keys) {
        keys.iter().for_each(|key| self.pending.push(key));
    }

    pub(super) fn step(
        &mut self,
        connection: &mut Connection,
        needed: Option<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<Step, BridgeError> {
        let Some(expected) = self.expected.pop_front() else {
            let asked = self.ask(connection, needed);
            return Ok(if asked { Step::Send } else { Step::End });
        };
        match expected {
            Expected::Keys(answer) => self.take_keys(connection, answer, needed, visit),
            Expected::Strings(window) => self.take_strings(connection, window, needed, visit),
            Expected::Types(window, types) => self.take_types(connection, window, types),
            Expected::Sizes(window, types) => self.take_sizes(connection, window, types),
            Expected::Contents(window, types, assembler) => {
                self.take_contents(connection, window, types, assembler, needed, visit)
            }
        }
    }

    /// Asks for what comes next. The next keys are asked for before the values of these, so that their answer is there
    /// when these are written.
    fn ask(&mut self, connection: &mut Connection, needed: Option<u64>) -> bool {
        let before = self.expected.len();
        let more_keys = needed.is_none_or(|needed| self.pending.len() as u64 + self.under_way < needed);
        let few = self.pending.len() < self.window.saturating_mul(AHEAD);
        if let Some(scan) = self.scan.as_mut().filter(|scan| !scan.asked && !scan.done && few && more_keys) {
            scan.ask(connection);
            self.expected.push_back(Expected::Keys(Answer::scan()));
        }
        let windows = if self.in_order { 1 } else { AHEAD };
        while self.windows < windows && !self.pending.is_empty() {
            let wanted = needed.map_or(u64::MAX, |needed| needed.saturating_sub(self.under_way));
            let Ok(count) = usize::try_from(wanted.min(self.window as u64)) else { break };
            if count == 0 {
                break;
            }
            let keys = self.pending.take(count);
            self.windows += 1;
            self.under_way += keys.len() as u64;
            self.fetch(connection, keys);
        }
        self.expected.len() > before
    }

    fn fetch(&mut self, connection: &mut Connection, keys: Keys) {
        if !self.strings_first {
            return self.ask_types(connection, keys);
        }
        connection.begin(keys.len() + 1);
        connection.argument(b"MGET");
        keys.iter().for_each(|key| connection.argument(key));
        self.expected.push_back(Expected::Strings(Window::new(keys)));
    }

    fn ask_types(&mut self, connection: &mut Connection, keys: Keys) {
        keys.iter().for_each(|key| connection.queue(&[b"TYPE", key]));
        self.expected.push_back(Expected::Types(Window::new(keys), Vec::new()));
    }

    fn take_keys(
        &mut self,
        connection: &mut Connection,
        mut answer: Answer,
        needed: Option<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<Step, BridgeError> {
        let Some(scan) = self.scan.as_mut() else { return Err(unexpected()) };
        loop {
            match answer.next(connection)? {
                Next::Receive => {
                    self.expected.push_front(Expected::Keys(answer));
                    return Ok(Step::Receive);
                }
                Next::Cursor(cursor) => scan.goes_on(cursor),
                Next::Entries(_) => {}
                Next::Entry => {
                    let room = PENDING_LIMIT.saturating_sub(self.pending.size());
                    let Some((key, used)) = connection.value(room) else {
                        if connection.peek(room).map_err(while_running)?.is_some() {
                            return Err(unexpected());
                        }
                        self.expected.push_front(Expected::Keys(answer));
                        return Ok(Step::Receive);
                    };
                    if scan.seen.is_new(key) {
                        if self.keys_only {
                            visit(&Record { key: Key::Bytes(key), score: None, content: Content::Unread })?;
                        } else {
                            self.pending.push(key);
                        }
                    }
                    connection.pass(used);
                    answer.took_one();
                }
                Next::End => break,
            }
        }
        scan.asked = false;
        Ok(if self.ask(connection, needed) { Step::Send } else { Step::Rows })
    }

    fn take_strings(
        &mut self,
        connection: &mut Connection,
        mut window: Box<Window>,
        needed: Option<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<Step, BridgeError> {
        let limit = self.row_limit.saturating_add(SLACK);
        if self.take_value(connection, &mut window, limit, visit)? {
            self.expected.push_front(Expected::Strings(window));
            return Ok(Step::Rows);
        }
        if window.begun && window.at >= window.keys.len() {
            connection.settle();
            return self.strings_done(connection, *window, needed);
        }
        let Some(token) = connection.peek(limit).map_err(|error| self.too_large(error))? else {
            self.expected.push_front(Expected::Strings(window));
            return Ok(Step::Receive);
        };
        match token.kind {
            Kind::Error if !window.begun => {
                let error = ServerError::parse(connection.bytes(token));
                connection.advance(token);
                connection.settle();
                return Err(refused(error));
            }
            Kind::Array(count) if !window.begun && count == window.keys.len() => window.begun = true,
            Kind::Null if window.begun => {
                window.other.push(window.keys.get(window.at));
                window.at += 1;
            }
            // One of an ordered window that has to wait for another before it.
            Kind::Bulk if window.begun => {
                window.other.push(window.keys.get(window.at));
                window.bytes += token.used;
                window.at += 1;
            }
            Kind::Array(_) | Kind::Null | Kind::Bulk | Kind::Status | Kind::Error | Kind::Integer(_) => {
                return Err(unexpected());
            }
        }
        connection.advance(token);
        self.expected.push_front(Expected::Strings(window));
        Ok(Step::Rows)
    }

    /// Takes a value that is all there; one, because whoever takes it may have enough. Returns whether there was one.
    fn take_value(
        &mut self,
        connection: &mut Connection,
        window: &mut Window,
        limit: usize,
        visit: &mut Visit<'_>,
    ) -> Result<bool, BridgeError> {
        // After a key whose value comes later, the others of an ordered window come later, too.
        let later = self.in_order && !window.other.is_empty();
        if !window.begun || later || window.at >= window.keys.len() {
            return Ok(false);
        }
        let Some((value, used)) = connection.value(limit) else { return Ok(false) };
        let key = Key::Bytes(window.keys.get(window.at));
        visit(&Record { key, score: None, content: Content::Value(value) })?;
        connection.pass(used);
        window.bytes += used;
        window.at += 1;
        Ok(true)
    }

    fn strings_done(
        &mut self,
        connection: &mut Connection,
        window: Window,
        needed: Option<u64>,
    ) -> Result<Step, BridgeError> {
        self.window = next_window(self.window, window.keys.len(), window.bytes);
        if window.other.is_empty() {
            return Ok(self.window_done(connection, window.keys.len(), needed));
        }
        self.under_way = self.under_way.saturating_sub((window.keys.len() - window.other.len()) as u64);
        self.ask_types(connection, window.other);
        Ok(Step::Send)
    }

    fn window_done(&mut self, connection: &mut Connection, keys: usize, needed: Option<u64>) -> Step {
        self.windows = self.windows.saturating_sub(1);
        self.under_way = self.under_way.saturating_sub(keys as u64);
        if self.ask(connection, needed) { Step::Send } else { Step::Rows }
    }

    fn take_types(
        &mut self,
        connection: &mut Connection,
        window: Box<Window>,
        mut types: Vec<Type>,
    ) -> Result<Step, BridgeError> {
        while types.len() < window.keys.len() {
            let Some(reply) = small(connection)? else {
                self.expected.push_front(Expected::Types(window, types));
                return Ok(Step::Receive);
            };
            types.push(Type::of(reply.checked().map_err(while_running)?.text()));
        }
        let others = types.iter().filter(|kind| !matches!(kind, Type::Gone | Type::String)).count();
        self.strings_first = others * 2 <= types.len();
        let mut asked = false;
        for (key, kind) in window.keys.iter().zip(&types) {
            if let Some(command) = kind.size_command() {
                connection.queue(&[command, key]);
                asked = true;
            }
        }
        if asked {
            self.expected.push_back(Expected::Sizes(window, types));
        } else {
            self.ask_contents(connection, window, types);
        }
        Ok(Step::Send)
    }

    fn take_sizes(
        &mut self,
        connection: &mut Connection,
        mut window: Box<Window>,
        mut types: Vec<Type>,
    ) -> Result<Step, BridgeError> {
        while let Some(kind) = types.get_mut(window.at) {
            if kind.size_command().is_some() {
                let Some(reply) = small(connection)? else {
                    self.expected.push_front(Expected::Sizes(window, types));
                    return Ok(Step::Receive);
                };
                match reply {
                    Reply::Integer(size) => {
                        let size = usize::try_from(size).unwrap_or(usize::MAX);
                        if size.saturating_mul(SMALLEST_ELEMENT) > self.row_limit {
                            return Err(BridgeError::RowTooLarge { limit: self.row_limit });
                        }
                    }
                    // It has become something else meanwhile: the key as it was is gone.
                    Reply::Error(error) if error.is("WRONGTYPE") => *kind = Type::Gone,
                    Reply::Error(error) => return Err(refused(*error)),
                    Reply::Null | Reply::Bytes(_) | Reply::Array(_) => return Err(unexpected()),
                }
            }
            window.at += 1;
        }
        window.at = 0;
        self.ask_contents(connection, window, types);
        Ok(Step::Send)
    }

    fn ask_contents(&mut self, connection: &mut Connection, window: Box<Window>, types: Vec<Type>) {
        for (key, kind) in window.keys.iter().zip(&types) {
            match kind {
                Type::Gone | Type::Other(_) => {}
                Type::String => connection.queue(&[b"GET", key]),
                Type::Hash => connection.queue(&[b"HGETALL", key]),
                Type::List => connection.queue(&[b"LRANGE", key, b"0", b"-1"]),
                Type::Set => connection.queue(&[b"SMEMBERS", key]),
                Type::SortedSet => connection.queue(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]),
                Type::Stream => connection.queue(&[b"XRANGE", key, b"-", b"+"]),
            }
        }
        // Small elements take more memory than they take of a row.
        let limit = self.row_limit.saturating_mul(4).saturating_add(SLACK);
        self.expected.push_back(Expected::Contents(window, types, Assembler::new(limit)));
    }

    fn take_contents(
        &mut self,
        connection: &mut Connection,
        mut window: Box<Window>,
        types: Vec<Type>,
        mut assembler: Assembler,
        needed: Option<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<Step, BridgeError> {
        let Some(kind) = types.get(window.at) else {
            self.window = next_window(self.window, window.keys.len(), window.bytes);
            return Ok(self.window_done(connection, window.keys.len(), needed));
        };
        let key = Key::Bytes(window.keys.get(window.at));
        let reply = match kind {
            Type::Gone => Reply::Null,
            Type::Other(name) => {
                visit(&Record {
                    key,
                    score: None,
                    content: Content::Whole { kind: name, reply: &Reply::Null },
                })?;
                Reply::Null
            }
            _ => {
                let before = connection.received();
                let assembled = connection.assemble(&mut assembler).map_err(|error| self.too_large(error))?;
                window.bytes += before.saturating_sub(connection.received());
                let Some(reply) = assembled else {
                    self.expected.push_front(Expected::Contents(window, types, assembler));
                    return Ok(Step::Receive);
                };
                reply
            }
        };
        match &reply {
            Reply::Null => {}
            Reply::Error(error) if error.is("WRONGTYPE") => {}
            Reply::Error(error) => return Err(refused((**error).clone())),
            Reply::Bytes(bytes) => visit(&Record { key, score: None, content: Content::Value(bytes) })?,
            // Redis has no empty collections: the key has gone between the questions.
            Reply::Array(entries) if entries.is_empty() => {}
            Reply::Array(entries) => {
                let content = match kind.whole() {
                    None => Content::Pairs(entries),
                    Some(kind) => Content::Whole { kind, reply: &reply },
                };
                visit(&Record { key, score: None, content })?;
            }
            Reply::Integer(_) => return Err(unexpected()),
        }
        window.at += 1;
        self.expected.push_front(Expected::Contents(window, types, assembler));
        Ok(Step::Rows)
    }

    /// The caller is told his own limit.
    fn too_large(&self, error: WireError) -> BridgeError {
        too_large(error, self.row_limit)
    }
}

/// The next reply, which is a small one and no list.
fn small(connection: &mut Connection) -> Result<Option<Reply>, BridgeError> {
    const LIMIT: usize = 64 * 1024;
    match connection.peek(LIMIT).map_err(while_running)?.map(|token| token.kind) {
        None => Ok(None),
        // Half of one would be forgotten here.
        Some(Kind::Array(_)) => Err(unexpected()),
        Some(Kind::Status | Kind::Error | Kind::Integer(_) | Kind::Bulk | Kind::Null) => {
            connection.assemble(&mut Assembler::new(LIMIT)).map_err(while_running)
        }
    }
}

impl Scan {
    fn ask(&mut self, connection: &mut Connection) {
        let count = self.count.to_string();
        connection.queue(&[b"SCAN", &self.cursor, b"MATCH", &self.pattern, b"COUNT", count.as_bytes()]);
        self.asked = true;
        self.count = self.count.saturating_mul(4).min(LARGEST_COUNT);
    }

    fn goes_on(&mut self, cursor: Option<Vec<u8>>) {
        self.done = cursor.is_none();
        self.cursor = cursor.unwrap_or_default();
    }
}

impl Window {
    fn new(keys: Keys) -> Box<Self> {
        Box::new(Self { keys, at: 0, begun: false, other: Keys::default(), bytes: 0 })
    }
}

impl Type {
    fn of(name: &str) -> Self {
        match name {
            "none" => Self::Gone,
            "string" => Self::String,
            "hash" => Self::Hash,
            "list" => Self::List,
            "set" => Self::Set,
            "zset" => Self::SortedSet,
            "stream" => Self::Stream,
            other => Self::Other(other.into()),
        }
    }

    fn size_command(&self) -> Option<&'static [u8]> {
        Some(match self {
            Self::Hash => b"HLEN",
            Self::List => b"LLEN",
            Self::Set => b"SCARD",
            Self::SortedSet => b"ZCARD",
            Self::Stream => b"XLEN",
            Self::Gone | Self::String | Self::Other(_) => return None,
        })
    }

    /// The name of a type whose content is one value of its row.
    fn whole(&self) -> Option<&str> {
        match self {
            Self::List => Some("list"),
            Self::Set => Some("set"),
            Self::SortedSet => Some("zset"),
            Self::Stream => Some("stream"),
            Self::Other(name) => Some(name),
            Self::Gone | Self::String | Self::Hash => None,
        }
    }
}
