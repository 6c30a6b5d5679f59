//! RESP2: commands, tokens, and whole replies (<https://redis.io/docs/latest/develop/reference/protocol-spec/>).
//!
//! A token is a header of an array, or a value with its bytes. Nothing is believed of the peer: a length above the limit
//! is refused before a byte of it is waited for, and a reply's tokens count against a budget.

use super::{ServerError, WireError};

/// What a line of a header, a status or an error may have.
const LONGEST_LINE: usize = 64 * 1024;
/// Digits of a length: Redis has no values of ten gigabytes.
const LONGEST_LENGTH: usize = 10;
/// How deep arrays may stand in arrays; Redis needs four.
const DEEPEST: usize = 8;
/// What each token of a reply costs of its budget beside its bytes.
const TOKEN_COST: usize = 32;

/// One token at the beginning of a buffer. Offsets are into that buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: Kind,
    /// Where its bytes begin and end.
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// How much of the buffer it takes.
    pub(crate) used: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Status,
    Error,
    Integer(i64),
    Bulk,
    Null,
    /// So many replies follow and are part of this one.
    Array(usize),
}

/// The token at the beginning of `buffer`, or nothing when it is not all there. A value above `limit` is refused at its
/// header.
pub(crate) fn token(buffer: &[u8], limit: usize) -> Result<Option<Token>, WireError> {
    let Some(first) = buffer.first() else { return Ok(None) };
    let Some(end) = memchr::memchr(b'\r', buffer) else {
        return if buffer.len() > LONGEST_LINE {
            Err(WireError::Protocol("a line without end"))
        } else {
            Ok(None)
        };
    };
    match buffer.get(end + 1) {
        None => return Ok(None),
        Some(b'\n') => {}
        Some(_) => return Err(WireError::Protocol("a line that does not end")),
    }
    let header = end + 2;
    let line = Token { kind: Kind::Null, from: 1, to: end, used: header };
    let rest = buffer.get(1..end).unwrap_or_default();
    let found = match first {
        b'+' => Token { kind: Kind::Status, ..line },
        b'-' => Token { kind: Kind::Error, ..line },
        b':' => Token { kind: Kind::Integer(number(rest)?), ..line },
        b'$' => match length(rest, limit)? {
            None => line,
            Some(length) => {
                let to = header + length;
                match buffer.get(to..to + 2) {
                    None => return Ok(None),
                    Some(b"\r\n") => Token { kind: Kind::Bulk, from: header, to, used: to + 2 },
                    Some(_) => return Err(WireError::Protocol("a value that does not end")),
                }
            }
        },
        b'*' => match length(rest, usize::MAX)? {
            None => line,
            Some(count) => Token { kind: Kind::Array(count), ..line },
        },
        _ => return Err(WireError::Protocol("a reply of an unknown type")),
    };
    Ok(Some(found))
}

/// Where the value at the beginning of `buffer` stands, if it is one, all there and not above `limit`: the short way for
/// what there is most of. [`token`] says why it is not.
#[inline]
pub(crate) fn value(buffer: &[u8], limit: usize) -> Option<(usize, usize)> {
    let digits = buffer.strip_prefix(b"$")?;
    let mut length = 0_usize;
    let mut at = 0;
    while let Some(digit @ b'0'..=b'9') = digits.get(at) {
        length = length * 10 + usize::from(digit - b'0');
        at += 1;
        if at > LONGEST_LENGTH {
            return None;
        }
    }
    let from = at + 3;
    let to = from + length;
    let ends = digits.get(at..at + 2) == Some(b"\r\n") && buffer.get(to..to + 2) == Some(b"\r\n");
    (at > 0 && ends && length <= limit).then_some((from, to))
}

fn number(digits: &[u8]) -> Result<i64, WireError> {
    let text = std::str::from_utf8(digits).ok();
    text.and_then(|text| text.parse().ok()).ok_or(WireError::Protocol("a number that is none"))
}

/// -1 is nothing; otherwise a length is digits without a sign, as [`value`] takes them.
fn length(digits: &[u8], limit: usize) -> Result<Option<usize>, WireError> {
    if digits == b"-1" {
        return Ok(None);
    }
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return Err(WireError::Protocol("a length that is none"));
    }
    if digits.len() > LONGEST_LENGTH {
        let bounded = limit < usize::MAX;
        return Err(if bounded {
            WireError::TooLarge { limit }
        } else {
            WireError::Protocol("a length that is none")
        });
    }
    let length = digits.iter().fold(0, |length, digit| length * 10 + usize::from(digit - b'0'));
    if length <= limit { Ok(Some(length)) } else { Err(WireError::TooLarge { limit }) }
}

/// Appends a command.
pub(crate) fn command(out: &mut Vec<u8>, count: usize) {
    out.push(b'*');
    line(out, count);
}

/// Appends an argument of a command.
pub(crate) fn argument(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'$');
    line(out, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn line(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A whole reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    Null,
    Integer(i64),
    /// A value, or a status.
    Bytes(Vec<u8>),
    Error(Box<ServerError>),
    Array(Vec<Reply>),
}

impl Reply {
    /// Its bytes; nothing for what has none.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Null | Self::Integer(_) | Self::Error(_) | Self::Array(_) => &[],
        }
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(self.bytes()).unwrap_or_default()
    }

    /// Its entries; none for what is no array.
    pub(crate) fn entries(&self) -> &[Reply] {
        match self {
            Self::Array(entries) => entries,
            Self::Null | Self::Integer(_) | Self::Error(_) | Self::Bytes(_) => &[],
        }
    }

    /// The reply, unless it is an error.
    pub(crate) fn checked(self) -> Result<Self, WireError> {
        match self {
            Self::Error(error) => Err(WireError::Server(*error)),
            other => Ok(other),
        }
    }
}

/// Puts a reply together from tokens as they come.
#[derive(Debug)]
pub(crate) struct Assembler {
    /// Arrays that are not full yet, each with what it still needs.
    open: Vec<(Vec<Reply>, usize)>,
    limit: usize,
    used: usize,
}

impl Assembler {
    /// For replies of at most about `limit` bytes each.
    pub(crate) fn new(limit: usize) -> Self {
        Self { open: Vec::new(), limit, used: 0 }
    }

    /// Takes tokens from the front of `buffer` until the reply is whole or the buffer has no more. Returns what was used.
    pub(crate) fn take(&mut self, buffer: &[u8]) -> Result<(Option<Reply>, usize), WireError> {
        let mut at = 0;
        loop {
            let rest = buffer.get(at..).unwrap_or_default();
            let Some(token) = token(rest, self.limit.saturating_sub(self.used))? else {
                return Ok((None, at));
            };
            at += token.used;
            self.used = self.used.saturating_add(TOKEN_COST + (token.to - token.from));
            if self.used > self.limit {
                return Err(WireError::TooLarge { limit: self.limit });
            }
            if let Some(reply) = self.push(token.kind, rest.get(token.from..token.to).unwrap_or_default())? {
                self.used = 0;
                return Ok((Some(reply), at));
            }
        }
    }

    fn push(&mut self, kind: Kind, bytes: &[u8]) -> Result<Option<Reply>, WireError> {
        let mut reply = match kind {
            Kind::Status | Kind::Bulk => Reply::Bytes(bytes.to_vec()),
            Kind::Error => Reply::Error(Box::new(ServerError::parse(bytes))),
            Kind::Integer(number) => Reply::Integer(number),
            Kind::Null => Reply::Null,
            Kind::Array(0) => Reply::Array(Vec::new()),
            Kind::Array(count) => {
                if self.open.len() >= DEEPEST {
                    return Err(WireError::Protocol("arrays that are too deep"));
                }
                if count.saturating_mul(TOKEN_COST) > self.limit {
                    return Err(WireError::TooLarge { limit: self.limit });
                }
                self.open.push((Vec::with_capacity(count.min(1_024)), count));
                return Ok(None);
            }
        };
        while let Some((entries, wanted)) = self.open.last_mut() {
            entries.push(reply);
            if entries.len() < *wanted {
                return Ok(None);
            }
            reply = Reply::Array(std::mem::take(entries));
            self.open.pop();
        }
        Ok(Some(reply))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(bytes: &[u8]) -> Result<Option<Reply>, WireError> {
        Assembler::new(10_000).take(bytes).map(|(reply, _)| reply)
    }

    #[test]
    fn replies_are_put_together_however_they_are_cut() {
        let bytes = b"*3\r\n$2\r\nab\r\n*2\r\n:5\r\n$-1\r\n+OK\r\n";
        let text = |text: &str| Reply::Bytes(text.as_bytes().to_vec());
        let expected =
            Reply::Array(vec![text("ab"), Reply::Array(vec![Reply::Integer(5), Reply::Null]), text("OK")]);
        for cut in 0..bytes.len() {
            let mut assembler = Assembler::new(10_000);
            let (none, used) = assembler.take(&bytes[..cut]).unwrap();
            assert_eq!(none, None);
            let (reply, rest) = assembler.take(&bytes[used..]).unwrap();
            assert_eq!((reply, used + rest), (Some(expected.clone()), bytes.len()), "cut at {cut}");
        }
    }

    #[test]
    fn an_entry_of_a_reply_takes_no_more_than_the_budget_says() {
        assert!(size_of::<Reply>() <= TOKEN_COST, "{}", size_of::<Reply>());
    }

    #[test]
    fn a_value_above_the_limit_is_refused_at_its_header() {
        assert!(matches!(token(b"$1000001\r\n", 1_000_000), Err(WireError::TooLarge { limit: 1_000_000 })));
        assert!(matches!(whole(b"*1000000000\r\n"), Err(WireError::TooLarge { .. })));
        let many = format!("*250\r\n{}", "$-1\r\n".repeat(250));
        assert!(whole(many.as_bytes()).unwrap().is_some());
        let more = format!("*4\r\n{}", format!("*240\r\n{}", "$-1\r\n".repeat(240)).repeat(4));
        assert!(matches!(whole(more.as_bytes()), Err(WireError::TooLarge { .. })));
    }

    #[test]
    fn the_short_way_to_a_value_agrees_with_the_long_one() {
        let texts: [&[u8]; 9] = [
            b"$2\r\nab\r\n",
            b"$0\r\n\r\nrest",
            b"$-1\r\n",
            b"$2\r\nab",
            b"$\r\n\r\n",
            b"$101\r\n",
            b"$99999999999999999999\r\n",
            b"+OK\r\n",
            b"$2\r\nabc\r\n",
        ];
        for text in texts {
            let long = match token(text, 100) {
                Ok(Some(Token { kind: Kind::Bulk, from, to, .. })) => Some((from, to)),
                Ok(_) | Err(_) => None,
            };
            assert_eq!(value(text, 100), long, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        let lines: [&[u8]; 7] = [
            b"?\r\n",
            b"$x\r\n",
            b"$-2\r\n",
            b"+OK\rx",
            b"$1\r\nabc",
            b":1.5\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
        ];
        for line in lines {
            assert!(matches!(token(line, 100), Err(WireError::Protocol(_))), "{line:?}");
        }
        assert!(matches!(whole(&b"*1\r\n".repeat(9)), Err(WireError::Protocol(_))));
        assert!(matches!(token(&[b'+'; 70_000], 100), Err(WireError::Protocol(_))));
    }

    #[test]
    fn errors_have_a_code_or_are_plain() {
        let error = ServerError::parse(b"NOPERM no permissions to run 'keys'");
        assert_eq!(
            (error.code.as_str(), error.to_string().as_str()),
            ("NOPERM", "NOPERM no permissions to run 'keys'")
        );
        let error = ServerError::parse(b"unknown command");
        assert_eq!((error.code.as_str(), error.to_string().as_str()), ("ERR", "unknown command"));
    }
}
