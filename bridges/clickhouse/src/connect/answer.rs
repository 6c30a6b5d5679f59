//! An answer on its way: the bytes of rows, and never those of an error as rows.
//!
//! A server that fails in the middle of its rows writes why behind them. From 25.11 on that is a block with a tag that
//! the head of the answer has told; before, it is plain text, which a row may hold, too. So bytes that may be the begin
//! of either are held back until more is known: an error that is text stands where a row would begin, and ends the
//! answer.

use http_body_util::BodyExt;
use hyper::Response;
use hyper::body::Incoming;
use hyper::header::CONTENT_ENCODING;
use memchr::memmem::{self, Finder};

use super::{Ask, Lease};
use crate::error::{Exception, RequestError};

/// An error of the server is not longer than this.
const EXCEPTION_LIMIT: usize = 256 * 1024;
/// How soon after its number an old server's error names its class: `Code: 60. DB::Exception`.
const CLASS_WITHIN: usize = 40;
/// What an old server's error begins with.
const CODE: &[u8] = b"Code: ";

/// Rows that are being received.
pub(crate) struct Answer {
    lease: Lease,
    body: Incoming,
    received: Received,
    /// Nothing more comes.
    over: bool,
    /// All of it is ready, too.
    ended: bool,
}

/// Bytes that have come, and what is known of them.
pub(crate) struct Received {
    buffer: Vec<u8>,
    /// Before this everything is read.
    from: usize,
    /// Before this everything belongs to the row that begins there.
    inside: usize,
    watch: Watch,
}

/// Looks for the begin of an error.
struct Watch {
    tag: Option<Finder<'static>>,
    /// Rows may be read up to here.
    safe: usize,
    /// Where an error begins, or what looks like one.
    found: Option<usize>,
    /// The first in the row at hand that looked like one.
    passed: Option<usize>,
}

impl Answer {
    /// Takes the head of an answer; a refusal is read whole.
    pub(super) async fn begin(mut lease: Lease, response: Response<Incoming>) -> Result<Self, RequestError> {
        let (head, body) = response.into_parts();
        let code = head.headers.get("x-clickhouse-exception-code");
        if !head.status.is_success() || code.is_some() {
            let code = code.and_then(|code| code.to_str().ok()?.parse().ok());
            let Some(link) = lease.link() else {
                return Err(RequestError::Nonsense("a lease without a connection"));
            };
            let told = link.whole(body).await?;
            lease.finish();
            let exception = Exception::read(&told, Some(head.status.as_u16()));
            return Err(Exception { code: code.unwrap_or(exception.code), ..exception }.into());
        }
        if head.headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
            return Err(RequestError::Nonsense("rows in an encoding that was not asked for"));
        }
        let tag = head.headers.get("x-clickhouse-exception-tag");
        let received = Received::new(tag.map(|tag| tag.as_bytes()));
        Ok(Self { lease, body, received, over: false, ended: false })
    }

    /// Bytes of rows that have come and are not consumed.
    pub(crate) fn ready(&self) -> &[u8] {
        self.received.ready()
    }

    /// Says that so many of the ready bytes are done with.
    pub(crate) fn consume(&mut self, bytes: usize) {
        self.received.consume(bytes);
    }

    /// Says that the next row is not whole before so many bytes are ready. Whatever is among them is no error, then.
    pub(crate) fn needs(&mut self, bytes: usize) {
        self.received.needs(bytes);
    }

    /// Whether bytes are held back because what is ready must be read first: they may begin an error behind it.
    pub(crate) fn is_held(&self) -> bool {
        self.received.is_held()
    }

    /// Waits for more bytes, or returns at once where what is ready must be read first. False after the last; then
    /// everything that has come is ready.
    ///
    /// Nothing is lost when this is given up and called again.
    pub(crate) async fn more(&mut self) -> Result<bool, RequestError> {
        let before = self.ready().len();
        while !self.ended {
            self.received.go_on();
            if self.ready().len() > before || self.is_held() {
                return Ok(true);
            }
            if self.over {
                return self.end();
            }
            let Some(link) = self.lease.link() else {
                return Err(RequestError::Nonsense("a lease without a connection"));
            };
            match link.wait(self.body.frame()).await {
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.received.append(data)?;
                    }
                }
                Some(Err(lost)) => return self.broke(lost),
                None => {
                    self.over = true;
                    self.lease.finish();
                }
            }
        }
        Ok(false)
    }

    /// The rows end in the middle of one.
    pub(crate) fn torn(&mut self) -> RequestError {
        self.received.torn()
    }

    /// The connection, once the answer has ended; it is free for the next statement.
    pub(crate) fn into_lease(self) -> Lease {
        self.lease
    }

    /// Whether nothing follows.
    pub(crate) fn is_ended(&self) -> bool {
        self.ended
    }

    fn end(&mut self) -> Result<bool, RequestError> {
        self.ended = true;
        match self.received.end() {
            Some(exception) => {
                self.lease.discard();
                Err(exception.into())
            }
            None => Ok(false),
        }
    }

    /// A server that fails breaks the connection, too, so that nobody takes the rows for all of them.
    fn broke(&mut self, lost: hyper::Error) -> Result<bool, RequestError> {
        self.ended = true;
        let exception = self.received.exception();
        if exception.is_some() {
            self.lease.finish();
        }
        self.lease.discard();
        Err(exception.map_or(RequestError::Lost(lost), RequestError::Server))
    }
}

impl Received {
    /// Nothing yet, of a server that begins an error with `tag` where it has one.
    pub(crate) fn new(tag: Option<&[u8]>) -> Self {
        let tag = tag.map(|tag| Finder::new(&[b"\r\n__exception__\r\n", tag].concat()).into_owned());
        Self {
            buffer: Vec::new(),
            from: 0,
            inside: 0,
            watch: Watch { tag, safe: 0, found: None, passed: None },
        }
    }

    pub(crate) fn ready(&self) -> &[u8] {
        self.buffer.get(self.from..self.watch.safe).unwrap_or_default()
    }

    pub(crate) fn consume(&mut self, bytes: usize) {
        self.from = self.from.saturating_add(bytes).min(self.watch.safe);
        self.inside = self.from;
        self.watch.passed = self.watch.passed.filter(|passed| *passed >= self.from);
    }

    /// So many of the bytes from here on are of one row.
    pub(crate) fn needs(&mut self, bytes: usize) {
        self.inside = self.from.saturating_add(bytes);
    }

    /// Whether what looks like an error stands behind bytes of which it is not known whether they end a row.
    pub(crate) fn is_held(&self) -> bool {
        self.watch.tag.is_none() && self.watch.found.is_some_and(|found| found > self.from)
    }

    /// Passes over what looks like an error within the row at hand.
    pub(crate) fn go_on(&mut self) {
        while self.is_held() && self.watch.found.is_some_and(|found| found < self.inside) {
            self.watch.pass(&self.buffer);
        }
    }

    pub(crate) fn append(&mut self, data: &[u8]) -> Result<(), RequestError> {
        if self.from > 0 {
            self.buffer.drain(..self.from);
            self.watch.forget(self.from);
            self.inside = self.inside.saturating_sub(self.from);
            self.from = 0;
        }
        self.buffer.extend_from_slice(data);
        self.watch.look(&self.buffer);
        if self.watch.is_overdue(self.buffer.len()) {
            return Err(RequestError::Nonsense("an error that does not end"));
        }
        Ok(())
    }

    /// Nothing more comes: everything is ready, unless the end is an error.
    pub(crate) fn end(&mut self) -> Option<Exception> {
        let is_error = match self.watch.found {
            Some(_) if self.watch.tag.is_some() => true,
            // As text it is an error where a row would begin, and a part of a row elsewhere.
            Some(found) => found == self.from,
            None => false,
        };
        match self.exception() {
            Some(exception) if is_error => Some(exception),
            _ => {
                self.watch.safe = self.buffer.len();
                None
            }
        }
    }

    /// The rows end in the middle of one.
    pub(crate) fn torn(&self) -> RequestError {
        match self.exception() {
            Some(exception) => exception.into(),
            None => RequestError::Nonsense("rows that end in the middle of one"),
        }
    }

    fn exception(&self) -> Option<Exception> {
        let passed = self.watch.passed.filter(|passed| *passed >= self.from);
        let told = self.buffer.get(passed.or(self.watch.found)?..)?;
        let told = match &self.watch.tag {
            Some(tag) => {
                let told = told.get(tag.needle().len()..)?;
                // The block ends with its length and the tag again.
                told.get(..memmem::rfind(told, b"\n__exception__").unwrap_or(told.len()))
                    .map(|told| told.trim_ascii_start())
                    .map(|told| {
                        told.get(..memchr::memchr(b'\n', told).unwrap_or(told.len())).unwrap_or(told)
                    })?
            }
            None => told,
        };
        Some(Exception::read(told, None))
    }
}

impl Watch {
    /// Looks through what has come since the last time.
    fn look(&mut self, buffer: &[u8]) {
        match (&self.tag, self.found) {
            (Some(_), Some(_)) => {}
            (Some(tag), None) => {
                let at = buffer.get(self.safe..).and_then(|fresh| tag.find(fresh)).map(|at| at + self.safe);
                self.found = at;
                self.safe = at.unwrap_or_else(|| buffer.len() - held_back(buffer, tag.needle(), self.safe));
            }
            (None, None) => self.look_for_text(buffer, self.safe),
            // What goes on for so long is no error.
            (None, Some(_)) => {
                while self.found.is_some_and(|found| buffer.len() - found > EXCEPTION_LIMIT) {
                    self.pass(buffer);
                }
            }
        }
    }

    /// Goes on behind what has been found, because it is none.
    fn pass(&mut self, buffer: &[u8]) {
        if let Some(found) = self.found.take() {
            self.passed.get_or_insert(found);
            self.look_for_text(buffer, found + 1);
        }
    }

    fn look_for_text(&mut self, buffer: &[u8], mut begin: usize) {
        while let Some(at) = buffer.get(begin..).and_then(|fresh| memmem::find(fresh, CODE)) {
            let at = begin + at;
            match is_exception(buffer.get(at + CODE.len()..).unwrap_or_default()) {
                Some(false) => begin = at + 1,
                Some(true) => {
                    (self.found, self.safe) = (Some(at), at);
                    return;
                }
                // Not to be told yet.
                None => {
                    self.safe = at;
                    return;
                }
            }
        }
        self.safe = buffer.len() - held_back(buffer, CODE, begin);
    }

    /// The first `bytes` are gone.
    fn forget(&mut self, bytes: usize) {
        self.safe = self.safe.saturating_sub(bytes);
        self.found = self.found.map(|found| found.saturating_sub(bytes));
        self.passed = self.passed.and_then(|passed| passed.checked_sub(bytes));
    }

    /// Whether an error that is one does not end.
    fn is_overdue(&self, length: usize) -> bool {
        self.tag.is_some() && self.found.is_some_and(|found| length - found > EXCEPTION_LIMIT)
    }
}

/// How many bytes at the end may be the begin of `needle`, not before `from`.
fn held_back(buffer: &[u8], needle: &[u8], from: usize) -> usize {
    let fresh = buffer.get(from..).unwrap_or_default();
    let most = needle.len().saturating_sub(1).min(fresh.len());
    let is_begin = |length: &usize| {
        fresh
            .len()
            .checked_sub(*length)
            .and_then(|at| fresh.get(at..))
            .is_some_and(|end| needle.starts_with(end))
    };
    (1..=most).rev().find(is_begin).unwrap_or(0)
}

/// Whether an error goes on so behind `Code: `; nothing when too little of it is there.
fn is_exception(rest: &[u8]) -> Option<bool> {
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let window = rest.get(..CLASS_WITHIN).unwrap_or(rest);
    if digits > 0 && memmem::find(window, b"DB::").is_some() {
        return Some(true);
    }
    let may_become_one = rest.len() < CLASS_WITHIN && (digits > 0 || rest.is_empty());
    (!may_become_one).then_some(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged() -> Watch {
        Watch {
            tag: Some(Finder::new(b"\r\n__exception__\r\ntag").into_owned()),
            safe: 0,
            found: None,
            passed: None,
        }
    }

    fn untagged() -> Watch {
        Watch { tag: None, safe: 0, found: None, passed: None }
    }

    /// Feeds bytes one by one: what is safe never grows into what turns out to be an error.
    fn watched(mut watch: Watch, all: &[u8]) -> (usize, Option<usize>) {
        for end in 1..=all.len() {
            watch.look(&all[..end]);
        }
        (watch.safe, watch.found)
    }

    #[test]
    fn a_block_is_found_however_it_comes() {
        let all = b"rows\r\n__exception__\r\ntag\r\nCode: 1. DB::Exception: x\n";
        assert_eq!(watched(tagged(), all), (4, Some(4)));
        let mut at_once = tagged();
        at_once.look(all);
        assert_eq!((at_once.safe, at_once.found), (4, Some(4)));
    }

    #[test]
    fn what_looks_like_a_block_with_another_tag_is_data() {
        let all = b"rows\r\n__exception__\r\nfake";
        assert_eq!(watched(tagged(), all), (all.len(), None));
        assert_eq!(watched(tagged(), b"rows\r\n__exc"), (4, None));
    }

    #[test]
    fn text_of_an_old_server_is_held_back_and_other_text_is_not() {
        assert_eq!(watched(untagged(), b"rows Code: 60. DB::Exception: no"), (5, Some(5)));
        assert_eq!(watched(untagged(), b"rows Code: 60, e.displayText() = DB::Exception: no"), (5, Some(5)));
        let other = b"Code: red. The rest";
        assert_eq!(watched(untagged(), other), (other.len(), None));
        let long = [b"Code: 12 ".as_slice(), &[b'x'; 50]].concat();
        assert_eq!(watched(untagged(), &long), (long.len(), None));
        assert_eq!(watched(untagged(), b"rows Code: 6").0, 5);
        assert_eq!(watched(untagged(), b"rows Cod").0, 5);
    }

    /// Reads rows of one text each, as they come in pieces.
    fn rows_of(all: &[u8], piece: usize) -> (usize, usize, Received) {
        let mut received = Received::new(None);
        let (mut rows, mut most) = (0, 0);
        for bytes in all.chunks(piece) {
            received.append(bytes).unwrap();
            loop {
                let ready = received.ready();
                match ready.split_first() {
                    Some((length, rest)) if rest.len() >= usize::from(*length) => {
                        received.consume(usize::from(*length) + 1);
                        rows += 1;
                        continue;
                    }
                    Some((length, _)) => received.needs(usize::from(*length) + 1),
                    None => received.consume(0),
                }
                let before = received.ready().len();
                received.go_on();
                if received.ready().len() == before {
                    break;
                }
            }
            most = most.max(received.buffer.len());
        }
        (rows, most, received)
    }

    #[test]
    fn values_that_read_like_errors_are_not_held_back() {
        let value = b"Code: 60. DB::Exception: Table x does not exist. (UNKNOWN_TABLE)";
        let row = [&[u8::try_from(value.len()).unwrap()], value.as_slice()].concat();
        let all = row.repeat(100_000);
        for piece in [1, 7, 4_096, 100_000] {
            let all = if piece == 1 { &all[..row.len() * 1_000] } else { &all };
            let (rows, most, mut received) = rows_of(all, piece);
            assert!(most <= piece + 2 * row.len(), "{most} bytes of pieces of {piece}");
            assert_eq!((rows, received.end()), (all.len() / row.len(), None));
        }
    }

    #[test]
    fn an_error_behind_such_values_is_one() {
        let value = b"Code: 60. DB::Exception: of a row";
        let row = [&[u8::try_from(value.len()).unwrap()], value.as_slice()].concat();
        let all = [row.repeat(1_000), b"Code: 395. DB::Exception: of the server".to_vec()].concat();
        for piece in [1, 7, 4_096, 100_000] {
            let (rows, _, mut received) = rows_of(&all, piece);
            let exception = received.end().unwrap();
            assert_eq!((rows, exception.code, exception.message.as_str()), (1_000, 395, "of the server"));
        }
    }

    #[test]
    fn what_goes_on_for_too_long_is_no_error() {
        let mut watch = untagged();
        let mut all = b"Code: 60. DB::Exception: ".to_vec();
        watch.look(&all);
        assert_eq!(watch.found, Some(0));
        all.extend(std::iter::repeat_n(b'x', EXCEPTION_LIMIT));
        watch.look(&all);
        assert_eq!((watch.found, watch.safe), (None, all.len()));
    }
}
