//! One request, sent as often as it takes.

use std::rc::Rc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::address::Address;
use super::client::Settings;
use super::pages::Follow;
use super::retry::{Attempt, wait_before_next};
use super::transport::{Incoming, Outgoing};
use super::{Pages, Response};
use crate::Error;

/// A request that is being put together.
#[must_use = "a request is sent by `send` or `fetch`"]
#[derive(Clone)]
pub struct Request {
    client: Rc<Settings>,
    method: String,
    /// A mistake in the path comes out when it is sent, so that putting it together needs no `?`.
    address: Result<Address, Error>,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    timeout: Duration,
    idempotent: bool,
}

impl Request {
    pub(super) fn new(client: Rc<Settings>, method: &str, address: Result<Address, Error>) -> Self {
        let idempotent = matches!(method, "GET" | "HEAD" | "OPTIONS" | "PUT" | "DELETE");
        let timeout = client.timeout;
        Self {
            client,
            method: method.to_owned(),
            address,
            headers: Vec::new(),
            body: None,
            timeout,
            idempotent,
        }
    }

    /// The same with a parameter in its URL; one of the same name is replaced.
    pub fn query(mut self, name: &str, value: impl ToString) -> Self {
        if let Ok(address) = &mut self.address {
            address.set_query(name, &value.to_string());
        }
        self
    }

    /// The same with one more header; one of the client's of the same name is replaced.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same with a body.
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        Self { body: Some(body.into()), ..self.header("content-type", content_type) }
    }

    /// The same with a body of JSON.
    pub fn json<T: Serialize + ?Sized>(self, body: &T) -> Self {
        match serde_json::to_vec(body) {
            Ok(body) => self.body("application/json", body),
            Err(error) => {
                Self { address: Err(Error::internal(format!("cannot write the body: {error}"))), ..self }
            }
        }
    }

    /// The same with another limit for the answer's head.
    pub fn timeout(self, timeout: Duration) -> Self {
        Self { timeout, ..self }
    }

    /// Says that sending it twice does no harm, as of a search by `POST`: it is tried again like a `GET`.
    pub fn idempotent(self) -> Self {
        Self { idempotent: true, ..self }
    }

    /// Sends it, follows redirects, and tries again where that may help. Any status is an answer.
    ///
    /// # Errors
    /// `permission-denied` when the host is not allowed, `unreachable`, `timeout`, `cancelled`.
    pub fn send(self) -> Result<Response, Error> {
        let mut address = self.address.clone()?;
        let mut left = self.client.redirects;
        loop {
            let answer = self.send_to(&address)?;
            let target = (left > 0).then(|| redirect(&self.method, &address, &answer)).flatten();
            let Some(target) = target else {
                return Ok(Response::new(answer, self.client.max_body));
            };
            left -= 1;
            address = target;
        }
    }

    /// Sends it, expects success, and reads the answer's JSON.
    ///
    /// # Errors
    /// As [`send`](Self::send), [`Response::ok`] and [`Response::json`].
    pub fn fetch<T: DeserializeOwned>(self) -> Result<T, Error> {
        self.send()?.ok()?.json()
    }

    /// The answer's JSON, page after page: `follow` says from a page where the next one is. See
    /// [`next_link`](super::next_link), [`page_number`](super::page_number), [`next_cursor`](super::next_cursor) and
    /// [`next_url`](super::next_url).
    pub fn pages<T: DeserializeOwned>(self, follow: impl Follow<T> + 'static) -> Pages<T> {
        Pages::new(self, Box::new(follow))
    }

    pub(super) fn address(&self) -> &Result<Address, Error> {
        &self.address
    }

    pub(super) fn at(&self, address: Address) -> Self {
        Self { address: Ok(address), ..self.clone() }
    }

    fn send_to(&self, address: &Address) -> Result<Incoming, Error> {
        let outgoing = self.outgoing(address);
        for tries in 0.. {
            let answer = self.client.transport.send(&outgoing);
            let attempt = Attempt { tries, most: self.client.retries, idempotent: self.idempotent };
            match wait_before_next(&attempt, &answer) {
                // Where the job's time does not allow to wait, what there is must do.
                Some(wait) => match self.client.transport.pause(wait) {
                    Ok(()) => {}
                    Err(error) if error.code() == crate::ErrorCode::Timeout => return answer,
                    Err(error) => return Err(error),
                },
                None => return answer,
            }
        }
        Err(Error::internal("a request was tried too often"))
    }

    fn outgoing(&self, address: &Address) -> Outgoing {
        let is_ours = address.is_same_origin(&self.client.base);
        let common = self.client.headers.iter().filter(|_| is_ours);
        let common =
            common.filter(|(name, _)| !self.headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name)));
        // Headers of the request itself may be credentials, too, and a redirect may lead anywhere.
        let is_meant = is_ours || self.address.as_ref().is_ok_and(|meant| meant.is_same_origin(address));
        Outgoing {
            method: self.method.clone(),
            url: address.to_string(),
            headers: common.chain(self.headers.iter().filter(|_| is_meant)).cloned().collect(),
            body: self.body.clone(),
            tls: self.client.tls.as_ref().filter(|_| is_ours).map(|tls| tls.0.clone()),
            timeout_ms: Some(u32::try_from(self.timeout.as_millis()).unwrap_or(u32::MAX)),
        }
    }
}

/// Without headers and body, which may hold credentials.
impl std::fmt::Debug for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let url = self.address.as_ref().map(ToString::to_string);
        f.debug_struct("Request").field("method", &self.method).field("url", &url).finish_non_exhaustive()
    }
}

fn redirect(method: &str, from: &Address, answer: &Incoming) -> Option<Address> {
    if !matches!(method, "GET" | "HEAD") || !matches!(answer.status, 301 | 302 | 303 | 307 | 308) {
        return None;
    }
    from.resolve(answer.headers.get("location")?)
}
