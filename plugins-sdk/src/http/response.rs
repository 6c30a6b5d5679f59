//! An answer, read as it comes or at once.

use std::io;

use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use super::PIECE;
use super::retry::retry_after;
use super::transport::{Headers, Incoming};
use crate::Error;
use crate::net::copy_into;

/// Bytes of a failure's body that are read for its message.
const MESSAGE_BYTES: usize = 8 * 1024;
/// Characters of a service's own words that are kept.
const MESSAGE_CHARACTERS: usize = 300;
/// Where services put their words.
const WORDS: [&str; 9] = [
    "/error/reason",
    "/error/message",
    "/error/root_cause/0/reason",
    "/error_description",
    "/message",
    "/errors/0/message",
    "/detail",
    "/title",
    "/error",
];

/// An answer. Dropping it gives up the rest of its body.
#[derive(Debug)]
pub struct Response {
    incoming: Incoming,
    max_body: usize,
}

impl Response {
    pub(super) fn new(incoming: Incoming, max_body: usize) -> Self {
        Self { incoming, max_body }
    }

    /// The status.
    pub fn status(&self) -> u16 {
        self.incoming.status
    }

    /// All headers.
    pub fn headers(&self) -> &Headers {
        &self.incoming.headers
    }

    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.incoming.headers.get(name)
    }

    /// The same answer when its status says success.
    ///
    /// # Errors
    /// By status: 401 `unauthenticated`, 403 `permission-denied`, 404 and 410 `not-found`, 408 and 504 `timeout`, 429
    /// `rate-limited`, 502 and 503 `unreachable`, everything else `query-failed`; with the service's own words, and the
    /// status as the native code.
    pub fn ok(self) -> Result<Self, Error> {
        if (200..300).contains(&self.incoming.status) { Ok(self) } else { Err(self.into_error()) }
    }

    /// At most `max` bytes of the body, at least one; nothing at its end.
    ///
    /// # Errors
    /// `unreachable` when the connection broke, `timeout`, `cancelled`.
    pub fn piece(&mut self, max: u32) -> Result<Option<Vec<u8>>, Error> {
        self.incoming.body.read(max)
    }

    /// The body.
    ///
    /// # Errors
    /// As [`piece`](Self::piece); `resource-exhausted` when it is longer than the client allows.
    pub fn bytes(mut self) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece(PIECE)? {
            if body.len() + piece.len() > self.max_body {
                let limit = self.max_body;
                return Err(Error::resource_exhausted(format!("the answer is longer than {limit} bytes")));
            }
            // Most bodies come in one piece.
            if body.is_empty() { body = piece } else { body.extend_from_slice(&piece) }
        }
        Ok(body)
    }

    /// The body as text.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes); `query-failed` when it is not UTF-8.
    pub fn text(self) -> Result<String, Error> {
        String::from_utf8(self.bytes()?).map_err(|_| Error::query_failed("the answer is not UTF-8"))
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// As [`bytes`](Self::bytes); `query-failed` when it is not what `T` expects.
    pub fn json<T: DeserializeOwned>(self) -> Result<T, Error> {
        Ok(serde_json::from_slice(&self.bytes()?)?)
    }

    fn into_error(mut self) -> Error {
        let status = self.incoming.status;
        let message = match self.words() {
            Some(words) => format!("the service answered {status}: {words}"),
            None => format!("the service answered {status}"),
        };
        let error = match status {
            401 => Error::unauthenticated(message),
            403 => Error::permission_denied(message),
            404 | 410 => Error::new(crate::ErrorCode::NotFound, message),
            408 | 504 => Error::new(crate::ErrorCode::Timeout, message),
            429 => Error::rate_limited(message),
            502 | 503 => Error::unreachable(message),
            _ => Error::query_failed(message),
        };
        let error = error.native_code(status);
        match retry_after(&self.incoming.headers) {
            Some(wait) => error.retry_after(wait),
            None => error,
        }
    }

    /// What the service says about a failure, if it says it in words.
    fn words(&mut self) -> Option<String> {
        let mut body = Vec::new();
        while body.len() < MESSAGE_BYTES {
            match self.piece(PIECE) {
                Ok(Some(piece)) => body.extend_from_slice(&piece),
                Ok(None) | Err(_) => break,
            }
        }
        let words = match serde_json::from_slice::<Json>(&body) {
            Ok(json) => {
                let own = WORDS.iter().find_map(|place| json.pointer(place)?.as_str());
                own.or_else(|| json.as_str()).map(str::to_owned)?
            }
            Err(_) => String::from_utf8(body).ok().filter(|text| !text.contains('<'))?,
        };
        let words: Vec<&str> = words.split_whitespace().collect();
        let words: String = words.join(" ").chars().take(MESSAGE_CHARACTERS).collect();
        (!words.is_empty()).then_some(words)
    }
}

impl io::Read for Response {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let max = u32::try_from(buffer.len()).unwrap_or(u32::MAX);
        let bytes = if max == 0 { None } else { self.piece(max)? };
        Ok(copy_into(buffer, &bytes.unwrap_or_default()))
    }
}
