//! What requests to one service have in common.

use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::address::Address;
use super::transport::{Runner, Transport};
use super::{MAX_BODY, REDIRECTS, RETRIES, Request, TIMEOUT};
use crate::Error;
use crate::net::Tls;

/// A client of one service: its base URL, and what every request has. Cheap to clone.
#[derive(Clone)]
pub struct Client(Rc<Settings>);

#[derive(Clone)]
pub(super) struct Settings {
    pub(super) base: Address,
    /// Sent to the origin of `base` only.
    pub(super) headers: Vec<(String, String)>,
    pub(super) timeout: Duration,
    pub(super) retries: u32,
    pub(super) redirects: u32,
    pub(super) max_body: usize,
    pub(super) tls: Option<Tls>,
    pub(super) transport: Rc<dyn Transport>,
}

impl Client {
    /// A client of the service at this URL. A user in it (`https://me:secret@host`) becomes basic authentication.
    ///
    /// # Errors
    /// `invalid-config` about `url` when it is none of `http` or `https`; name another setting with
    /// [`Error::field`].
    pub fn new(base_url: &str) -> Result<Self, Error> {
        let (base, user) = Address::parse(base_url.trim())
            .ok_or_else(|| Error::invalid_config("url", "a URL that begins with http:// or https://"))?;
        let client = Self(Rc::new(Settings {
            base,
            headers: Vec::new(),
            timeout: TIMEOUT,
            retries: RETRIES,
            redirects: REDIRECTS,
            max_body: MAX_BODY,
            tls: None,
            transport: Rc::new(Runner),
        }));
        Ok(match user {
            Some(user) => client.basic(&user.name, &user.password),
            None => client,
        })
    }

    /// The same with one more header on every request; one of the same name is replaced.
    #[must_use]
    pub fn header(self, name: &str, value: &str) -> Self {
        self.with(|settings| {
            settings.headers.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
            settings.headers.push((name.to_owned(), value.to_owned()));
        })
    }

    /// The same with `Authorization: Basic …`.
    #[must_use]
    pub fn basic(self, user: &str, password: &str) -> Self {
        self.header("authorization", &format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
    }

    /// The same with `Authorization: Bearer …`.
    #[must_use]
    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    /// The same with another limit for the head of each answer; 30 seconds by default. The job's deadline holds in any
    /// case.
    #[must_use]
    pub fn timeout(self, timeout: Duration) -> Self {
        self.with(|settings| settings.timeout = timeout)
    }

    /// The same with so many further tries; 3 by default.
    #[must_use]
    pub fn retries(self, retries: u32) -> Self {
        self.with(|settings| settings.retries = retries)
    }

    /// The same with so many redirects that are followed; 5 by default.
    #[must_use]
    pub fn redirects(self, redirects: u32) -> Self {
        self.with(|settings| settings.redirects = redirects)
    }

    /// The same with another limit for bodies that are read at once; 16 MiB by default.
    #[must_use]
    pub fn max_body(self, bytes: usize) -> Self {
        self.with(|settings| settings.max_body = bytes)
    }

    /// The same with other TLS settings than the runner's.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        self.with(|settings| settings.tls = Some(tls))
    }

    /// The same over something else than the runner: for tests.
    ///
    /// ```
    /// use semilayer_plugin::http::{Client, Incoming, Outgoing};
    /// use serde_json::json;
    ///
    /// let client = Client::new("https://api.example.com/v1")?.over(|request: &Outgoing| {
    ///     assert_eq!(request.url, "https://api.example.com/v1/things?page=2");
    ///     Ok(Incoming::new(200).json(&json!([{"id": 1}])))
    /// });
    /// let things: serde_json::Value = client.get("things").query("page", 2).fetch()?;
    /// assert_eq!(things[0]["id"], 1);
    /// # Ok::<(), semilayer_plugin::Error>(())
    /// ```
    #[must_use]
    pub fn over(self, transport: impl Transport + 'static) -> Self {
        self.with(|settings| settings.transport = Rc::new(transport))
    }

    /// A `GET`. The path stands below the base URL's; what changes with a request goes through
    /// [`segment`](super::segment). An absolute URL stands for itself.
    pub fn get(&self, path: &str) -> Request {
        self.request("GET", path)
    }

    /// A `POST`. It is tried again only when it is [`idempotent`](Request::idempotent) or when the service asks for it.
    pub fn post(&self, path: &str) -> Request {
        self.request("POST", path)
    }

    /// A request of any method.
    pub fn request(&self, method: &str, path: &str) -> Request {
        let address = self.0.base.below(path);
        let address = address.ok_or_else(|| Error::invalid_request("path", "a path below the base URL"));
        Request::new(Rc::clone(&self.0), method, address)
    }

    fn with(mut self, change: impl FnOnce(&mut Settings)) -> Self {
        change(Rc::make_mut(&mut self.0));
        self
    }
}

/// Without headers, which hold credentials.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("base", &self.0.base.to_string()).finish_non_exhaustive()
    }
}
