//! What carries requests: the runner, or in a test whatever stands for it.

use std::time::Duration;

use crate::bindings::semilayer::bridge::http as wit;
use crate::{Error, host};

/// A request as it goes to the runner.
pub use wit::Request as Outgoing;

/// Carries requests. A closure from [`Outgoing`] to [`Incoming`] is one, for tests: with it, waiting takes no time.
pub trait Transport {
    /// Sends a request and waits for the answer's head. Any status is an answer.
    ///
    /// # Errors
    /// `permission-denied` when the host is not allowed, `unreachable`, `timeout`, `cancelled`.
    fn send(&self, request: &Outgoing) -> Result<Incoming, Error>;

    /// Waits before another try.
    ///
    /// # Errors
    /// `timeout` when the job's deadline does not allow it, `cancelled`.
    fn pause(&self, wait: Duration) -> Result<(), Error> {
        host::pause(wait)
    }
}

/// An answer.
pub struct Incoming {
    pub(super) status: u16,
    pub(super) headers: Headers,
    pub(super) body: Box<dyn Body>,
}

/// Headers; names are in lower case.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Headers(Vec<(String, String)>);

/// The body of an answer, as it comes.
pub trait Body {
    /// At most `max` bytes, at least one; nothing at its end.
    ///
    /// # Errors
    /// `unreachable`, `timeout`, `cancelled`.
    fn read(&mut self, max: u32) -> Result<Option<Vec<u8>>, Error>;
}

impl Incoming {
    /// An answer without headers and body.
    pub fn new(status: u16) -> Self {
        Self { status, headers: Headers::default(), body: Box::new(Pieces(Vec::new())) }
    }

    /// The same with one more header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.0.push((name.to_ascii_lowercase(), value.to_owned()));
        self
    }

    /// The same with a body that comes in these pieces.
    #[must_use]
    pub fn body<P: Into<Vec<u8>>>(self, pieces: impl IntoIterator<Item = P>) -> Self {
        let mut pieces: Vec<Vec<u8>> =
            pieces.into_iter().map(Into::into).filter(|piece| !piece.is_empty()).collect();
        pieces.reverse();
        Self { body: Box::new(Pieces(pieces)), ..self }
    }

    /// The same with this JSON as its body.
    #[must_use]
    pub fn json(self, body: &serde_json::Value) -> Self {
        self.header("content-type", "application/json").body([body.to_string()])
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming").field("status", &self.status).finish_non_exhaustive()
    }
}

impl Headers {
    /// The first header of that name, in any case.
    pub fn get(&self, name: &str) -> Option<&str> {
        let is_it = |(other, _): &&(String, String)| other.eq_ignore_ascii_case(name);
        self.0.iter().find(is_it).map(|(_, value)| value.as_str())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Pieces that are already there, the last one first.
struct Pieces(Vec<Vec<u8>>);

impl Body for Pieces {
    fn read(&mut self, max: u32) -> Result<Option<Vec<u8>>, Error> {
        let Some(mut piece) = self.0.pop() else { return Ok(None) };
        let max = usize::try_from(max).unwrap_or(usize::MAX).max(1);
        if piece.len() > max {
            self.0.push(piece.split_off(max));
        }
        Ok(Some(piece))
    }
}

impl<F: Fn(&Outgoing) -> Result<Incoming, Error>> Transport for F {
    fn send(&self, request: &Outgoing) -> Result<Incoming, Error> {
        self(request)
    }

    fn pause(&self, _wait: Duration) -> Result<(), Error> {
        Ok(())
    }
}

/// The runner.
#[derive(Debug)]
pub(super) struct Runner;

#[cfg(target_family = "wasm")]
impl Transport for Runner {
    fn send(&self, request: &Outgoing) -> Result<Incoming, Error> {
        let response = wit::send(request)?;
        let (status, headers) = (response.status(), Headers(response.headers()));
        Ok(Incoming { status, headers, body: Box::new(response) })
    }
}

#[cfg(not(target_family = "wasm"))]
impl Transport for Runner {
    fn send(&self, request: &Outgoing) -> Result<Incoming, Error> {
        let message = format!("{} cannot be reached: there is no runner in a native build", request.url);
        Err(Error::unreachable(message))
    }
}

impl Body for wit::Response {
    fn read(&mut self, max: u32) -> Result<Option<Vec<u8>>, Error> {
        let bytes = wit::Response::read(self, max)?;
        Ok((!bytes.is_empty()).then_some(bytes))
    }
}
