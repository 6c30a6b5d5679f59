//! A client for services that speak HTTP, over connections that the runner keeps and reuses.
//!
//! ```no_run
//! use semilayer_plugin::{Error, Rows, http};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, Serialize)]
//! struct Thing { id: u64, name: String }
//!
//! fn things(base_url: &str, token: &str) -> Result<Rows, Error> {
//!     let client = http::Client::new(base_url)?.bearer(token);
//!     let pages = client.get("things").query("per_page", 100).pages(http::next_link::<Vec<Thing>>());
//!     Ok(Rows::pages(pages))
//! }
//! ```
//!
//! Redirects of `GET` are followed; answers that ask for patience, and connections that broke, are tried again within the
//! job's deadline. Credentials and the other headers of a client go to the origin of its base URL and nowhere else.

mod address;
mod client;
mod pages;
mod request;
mod response;
mod retry;
mod transport;

pub use address::segment;
pub use client::Client;
pub use pages::{Next, Pages, next_cursor, next_link, next_url, page_number};
pub use request::Request;
pub use response::Response;
pub use transport::{Body, Headers, Incoming, Outgoing, Transport};

/// Bytes of a body that [`Response::bytes`] and its like take, unless the client says otherwise.
const MAX_BODY: usize = 16 * 1024 * 1024;
/// How long an answer's head may take, unless the client or the request says otherwise.
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);
/// How often a request is sent again.
const RETRIES: u32 = 3;
/// How many redirects are followed.
const REDIRECTS: u32 = 5;
/// Bytes of a body that are asked for at once.
const PIECE: u32 = 64 * 1024;
