//! The server's messages, from bytes to values.
//!
//! Only what is rare is parsed here; rows never take this way (see `rows`). Pure: the link decides how much of a body it
//! buffers, by [`Header::kept`], and hands it over.

use std::sync::Arc;

use memchr::memchr;

use super::error::sqlstate;
use super::{Column, ServerError, WireError};

/// Tag and length that every message begins with.
pub(super) const HEADER_BYTES: usize = 5;
pub(super) const DATA_ROW: u8 = b'D';

/// Descriptions of 1600 columns or 65535 parameters fit.
const DESCRIPTION_LIMIT: usize = 1024 * 1024;
/// Every other message that is needed whole.
const CONTROL_LIMIT: usize = 64 * 1024;
/// As much of an error as is read; the rest of a longer one is skipped.
const ERROR_KEPT: usize = 64 * 1024;
/// A notice is logged by its code alone, which stands in front.
const NOTICE_KEPT: usize = 256;
/// One text of an error. Longer ones are cut.
const TEXT_LIMIT: usize = 8 * 1024;

/// A message's kind and the length of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) tag: u8,
    pub(super) body: usize,
}

impl Header {
    /// The header at the front of `bytes`, once there are enough of them.
    #[inline]
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<Self>, WireError> {
        let Some(&[tag, a, b, c, d]) = bytes.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        match usize::try_from(i32::from_be_bytes([a, b, c, d])) {
            Ok(length) if length >= 4 => Ok(Some(Self { tag, body: length - 4 })),
            _ => Err(WireError::Protocol("a message has an impossible length")),
        }
    }

    /// How many bytes of the body are needed to [decode](Backend::decode) the message; the others are skipped as they
    /// come. Fails for a length that no honest message of its kind has.
    pub(super) fn kept(self) -> Result<usize, WireError> {
        let (kept, limit) = match self.tag {
            DATA_ROW | b'd' | b'A' => return Ok(0),
            b'N' | b'S' => return Ok(self.body.min(NOTICE_KEPT)),
            b'E' => return Ok(self.body.min(ERROR_KEPT)),
            b'T' | b't' => (self.body, DESCRIPTION_LIMIT),
            _ => (self.body, CONTROL_LIMIT),
        };
        if kept > limit {
            Err(WireError::Protocol("a message is longer than its kind allows"))
        } else {
            Ok(kept)
        }
    }
}

/// Where the session stands between statements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TransactionStatus {
    Idle,
    Open,
    Failed,
}

/// What the server asks for during the login.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Authentication {
    Granted,
    ClearText,
    Md5([u8; 4]),
    /// Names of mechanisms, each ended by NUL.
    Sasl(Vec<u8>),
    SaslContinue(Vec<u8>),
    SaslFinal(Vec<u8>),
    Other(&'static str),
}

/// A message that is not a row, or a row that nobody wants.
#[derive(Debug)]
pub(super) enum Backend {
    Authentication(Authentication),
    KeyData {
        process: i32,
        secret: i32,
    },
    ParseComplete,
    BindComplete,
    CloseComplete,
    ParameterDescription,
    RowDescription(Arc<[Column]>),
    NoData,
    SkippedRow,
    CommandComplete,
    EmptyQuery,
    Error(Box<ServerError>),
    Ready(TransactionStatus),
    /// What a setting of the session is now.
    Report {
        name: String,
        value: String,
    },
    /// May come at any time and changes nothing for us: notices, notifications.
    Aside,
}

impl Backend {
    /// Decodes a message from the part of its body that [`Header::kept`] asked for.
    pub(super) fn decode(tag: u8, body: &[u8]) -> Result<Self, WireError> {
        match tag {
            b'R' => authentication(body).map(Self::Authentication),
            b'K' => key_data(body),
            b'1' => Ok(Self::ParseComplete),
            b'2' => Ok(Self::BindComplete),
            b'3' => Ok(Self::CloseComplete),
            b't' => Ok(Self::ParameterDescription),
            b'T' => row_description(body).map(Self::RowDescription),
            b'n' => Ok(Self::NoData),
            DATA_ROW => Ok(Self::SkippedRow),
            b'C' => Ok(Self::CommandComplete),
            b'I' => Ok(Self::EmptyQuery),
            b'E' => Ok(Self::Error(Box::new(server_error(body)))),
            b'Z' => ready(body),
            b'N' => {
                let notice = server_error(body);
                tracing::debug!(code = notice.code, severity = notice.severity, "notice from the server");
                Ok(Self::Aside)
            }
            b'S' => Ok(report(body)),
            b'A' => Ok(Self::Aside),
            b'G' | b'H' | b'W' | b'c' | b'd' => Err(WireError::Protocol("COPY is not supported")),
            b's' => Err(WireError::Protocol("a portal was suspended that had no row limit")),
            _ => Err(WireError::Protocol("a message of an unknown kind")),
        }
    }
}

/// A body that was cut gives a value that is not the wanted one.
fn report(body: &[u8]) -> Backend {
    let mut reader = Reader { rest: body };
    let mut text = || bounded(reader.text().unwrap_or_default());
    Backend::Report { name: text(), value: text() }
}

fn authentication(body: &[u8]) -> Result<Authentication, WireError> {
    let (kind, rest) =
        body.split_first_chunk::<4>().ok_or(WireError::Protocol("a login message ends early"))?;
    Ok(match i32::from_be_bytes(*kind) {
        0 => Authentication::Granted,
        2 => Authentication::Other("Kerberos V5"),
        3 => Authentication::ClearText,
        5 => {
            let salt = rest.try_into().map_err(|_| WireError::Protocol("an MD5 salt is not 4 bytes long"))?;
            Authentication::Md5(salt)
        }
        6 => Authentication::Other("SCM credentials"),
        7 | 8 => Authentication::Other("GSSAPI"),
        9 => Authentication::Other("SSPI"),
        10 => Authentication::Sasl(rest.to_vec()),
        11 => Authentication::SaslContinue(rest.to_vec()),
        12 => Authentication::SaslFinal(rest.to_vec()),
        _ => Authentication::Other("one that this client does not know"),
    })
}

fn key_data(body: &[u8]) -> Result<Backend, WireError> {
    let mut reader = Reader { rest: body };
    match (reader.i32(), reader.i32(), reader.rest) {
        (Some(process), Some(secret), []) => Ok(Backend::KeyData { process, secret }),
        _ => Err(WireError::Protocol("the cancel key is not 8 bytes long")),
    }
}

fn ready(body: &[u8]) -> Result<Backend, WireError> {
    match body {
        b"I" => Ok(Backend::Ready(TransactionStatus::Idle)),
        b"T" => Ok(Backend::Ready(TransactionStatus::Open)),
        b"E" => Ok(Backend::Ready(TransactionStatus::Failed)),
        _ => Err(WireError::Protocol("an unknown transaction status")),
    }
}

fn row_description(body: &[u8]) -> Result<Arc<[Column]>, WireError> {
    let mut reader = Reader { rest: body };
    let columns: Option<Arc<[Column]>> =
        reader.u16().and_then(|count| (0..count).map(|_| column(&mut reader)).collect());
    columns
        .filter(|_| reader.rest.is_empty())
        .ok_or(WireError::Protocol("a description of columns has a wrong length"))
}

fn column(reader: &mut Reader<'_>) -> Option<Column> {
    let name = String::from_utf8_lossy(reader.text()?).into();
    let _table = (reader.u32()?, reader.i16()?);
    let type_oid = reader.u32()?;
    let _size_modifier_and_format = (reader.i16()?, reader.i32()?, reader.i16()?);
    Some(Column { name, type_oid })
}

/// Reads the fields that we use. A body that ends in mid-field, as a cut one does, gives what there is.
fn server_error(body: &[u8]) -> ServerError {
    let mut error = ServerError { code: sqlstate::UNKNOWN.to_owned(), ..ServerError::default() };
    let mut rest = body;
    while let [kind @ 1..=u8::MAX, after @ ..] = rest {
        let (text, next) = match memchr(0, after) {
            Some(end) => (after.get(..end).unwrap_or_default(), after.get(end + 1..).unwrap_or_default()),
            None => (after, &[][..]),
        };
        set_field(&mut error, *kind, text);
        rest = next;
    }
    error
}

fn set_field(error: &mut ServerError, kind: u8, text: &[u8]) {
    match kind {
        // `V` is `S` untranslated and comes after it.
        b'S' | b'V' => error.severity = bounded(text),
        b'C' if text.len() == 5 && text.iter().all(u8::is_ascii_alphanumeric) => error.code = bounded(text),
        b'M' => error.message = bounded(text),
        b'D' => error.detail = Some(bounded(text)),
        b'H' => error.hint = Some(bounded(text)),
        b'P' => error.position = std::str::from_utf8(text).ok().and_then(|digits| digits.parse().ok()),
        b'R' => error.routine = Some(bounded(text)),
        _ => {}
    }
}

fn bounded(text: &[u8]) -> String {
    String::from_utf8_lossy(text.get(..TEXT_LIMIT).unwrap_or(text)).into_owned()
}

/// Takes fixed-size numbers and NUL-ended texts off the front.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (bytes, rest) = self.rest.split_first_chunk::<N>()?;
        self.rest = rest;
        Some(*bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn i32(&mut self) -> Option<i32> {
        self.take().map(i32::from_be_bytes)
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let end = memchr(0, self.rest)?;
        let text = self.rest.get(..end)?;
        self.rest = self.rest.get(end + 1..)?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn protocol_error<T: std::fmt::Debug>(result: Result<T, WireError>) -> &'static str {
        match result {
            Err(WireError::Protocol(what)) => what,
            other => panic!("expected a protocol error, got {other:?}"),
        }
    }

    #[test]
    fn a_header_waits_for_its_five_bytes() {
        assert_eq!(Header::parse(b"Z\0\0\0").unwrap(), None);
        assert_eq!(Header::parse(b"Z\0\0\0\x05I").unwrap(), Some(Header { tag: b'Z', body: 1 }));
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for length in [0_i32, 3, -1, i32::MIN] {
            let mut bytes = vec![b'D'];
            bytes.extend_from_slice(&length.to_be_bytes());
            assert_eq!(protocol_error(Header::parse(&bytes)), "a message has an impossible length");
        }
    }

    #[test]
    fn only_descriptions_may_be_long_and_only_up_to_a_limit() {
        let kept = |tag, body| Header { tag, body }.kept();
        assert_eq!(kept(b'T', DESCRIPTION_LIMIT).unwrap(), DESCRIPTION_LIMIT);
        assert!(kept(b'T', DESCRIPTION_LIMIT + 1).is_err());
        assert!(kept(b'R', CONTROL_LIMIT + 1).is_err());
        assert!(kept(b'?', CONTROL_LIMIT + 1).is_err());
        assert_eq!(kept(b'E', 1 << 30).unwrap(), ERROR_KEPT);
        assert_eq!(kept(b'N', 1 << 30).unwrap(), NOTICE_KEPT);
        assert_eq!(kept(b'D', 1 << 30).unwrap(), 0);
    }

    #[test]
    fn an_error_gives_its_fields_and_prefers_the_untranslated_severity() {
        let error = server_error(
            b"SFEHLER\0VERROR\0C42P01\0Mrelation \"t\" does not exist\0P15\0Hlook\0Ddeep\0RparserOpenTable\0\0",
        );
        assert_eq!(error.severity, "ERROR");
        assert_eq!(error.code, "42P01");
        assert_eq!(error.message, "relation \"t\" does not exist");
        assert_eq!(error.position, Some(15));
        assert_eq!((error.hint.as_deref(), error.detail.as_deref()), (Some("look"), Some("deep")));
        assert_eq!(error.routine.as_deref(), Some("parserOpenTable"));
    }

    #[test]
    fn a_hostile_error_is_read_as_far_as_it_goes() {
        assert_eq!(server_error(b"").code, "XX000");
        assert_eq!(server_error(b"C4\n2!1\0").code, "XX000");
        assert_eq!(server_error(b"Mnot ended").message, "not ended");
        assert_eq!(server_error(b"M\xff\xfe\0").message, "\u{fffd}\u{fffd}");
        assert_eq!(server_error(&[b'M'; 60_000]).message.len(), TEXT_LIMIT);
        assert_eq!(server_error(b"P99999999999999999999\0").position, None);
    }

    #[test]
    fn descriptions_with_wrong_lengths_are_refused() {
        let wrong = "a description of columns has a wrong length";
        assert_eq!(protocol_error(row_description(b"\xff\xff")), wrong);
        assert_eq!(protocol_error(row_description(b"\0\x01name without end")), wrong);
        assert_eq!(protocol_error(row_description(b"\0\0more")), wrong);
    }

    #[test]
    fn a_column_is_described_by_name_and_type() {
        let body = b"\0\x01id\0\0\0\x40\0\0\x03\0\0\0\x14\0\x08\xff\xff\xff\xff\0\0";
        let columns = row_description(body).unwrap();
        assert_eq!(columns.as_ref(), [Column { name: "id".into(), type_oid: 20 }]);
    }
}
