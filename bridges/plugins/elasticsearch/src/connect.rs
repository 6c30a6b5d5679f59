//! The cluster: its nodes, what kind of server it is, and the requests that are made of it.

mod search;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use semilayer_plugin::http::{Client, Request, Response, segment};
use semilayer_plugin::{Error, ErrorCode, remaining};
use serde_json::{Value as Json, json};

pub(crate) use search::{Answer, Body, Hit, Place, Source};

use crate::config::Config;
use crate::error::{keeps_no_documents, succeeded};

/// How long an answer's head may take in a job without a deadline.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How long a place in a scan is kept between two requests of one job.
pub(crate) const KEEP_ALIVE: &str = "2m";
/// The same between two jobs.
pub(crate) const LONG_KEEP_ALIVE: &str = "10m";
/// Sent by every Elasticsearch from 7.14 on.
const PRODUCT: &str = "x-elastic-product";

/// A cluster. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    nodes: Rc<Vec<Client>>,
    /// The node that answered last.
    at: Rc<Cell<usize>>,
    flavour: Flavour,
}

/// Whose server it is, as far as it matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Flavour {
    pub(crate) is_opensearch: bool,
    /// Major and minor version; the newest where it is not told.
    pub(crate) version: (u32, u32),
}

impl Flavour {
    /// What the root of the server says. A server that does not tell everybody has a header that says whose it is.
    pub(crate) fn of(answer: &Json, has_product: bool) -> Self {
        let number = answer.pointer("/version/number").and_then(Json::as_str).unwrap_or_default();
        let mut parts = number.split('.').map(|part| part.parse().unwrap_or(0));
        let version = match (parts.next(), parts.next()) {
            (Some(major), Some(minor)) if !number.is_empty() => (major, minor),
            _ => (u32::MAX, 0),
        };
        let distribution = answer.pointer("/version/distribution").and_then(Json::as_str);
        let is_known = answer.pointer("/version/number").is_some();
        Self { is_opensearch: distribution == Some("opensearch") || (!is_known && !has_product), version }
    }

    /// Whether documents can be ordered by `_id`. Elasticsearch forbids it unless an operator allows it.
    pub(crate) fn ids_sort(self) -> bool {
        self.is_opensearch
    }

    /// Whether a scan has an order of its own that is quicker than any other.
    pub(crate) fn has_shard_order(self) -> bool {
        self.version >= if self.is_opensearch { (3, 3) } else { (7, 12) }
    }
}

impl Server {
    /// Finds out what kind of server it is, which also proves that it answers.
    pub(crate) fn connect(config: &Config) -> Result<Self, Error> {
        Self::with_nodes(config.clients()?)
    }

    /// The same over given clients.
    pub(crate) fn with_nodes(nodes: Vec<Client>) -> Result<Self, Error> {
        let unknown = Flavour { is_opensearch: false, version: (0, 0) };
        let server = Self { nodes: Rc::new(nodes), at: Rc::new(Cell::new(0)), flavour: unknown };
        let flavour = server.ask()?;
        Ok(Self { flavour, ..server })
    }

    /// Asks the server what it is.
    pub(crate) fn ask(&self) -> Result<Flavour, Error> {
        let response = self.send(|node| node.get(""))?;
        let has_product = response.header(PRODUCT).is_some();
        match response.status() {
            // Who may search need not be allowed to ask this.
            403 => Ok(Flavour::of(&Json::Null, has_product)),
            _ => Ok(Flavour::of(&succeeded(response)?.json()?, has_product)),
        }
    }

    pub(crate) fn flavour(&self) -> Flavour {
        self.flavour
    }

    /// The mapping of one target.
    pub(crate) fn mapping(&self, target: &str) -> Result<Json, Error> {
        let path = format!("{}/_mapping", segment(target));
        self.fetch(|node| alone(node.get(&path)))
    }

    /// Open indices, aliases and data streams that are not hidden.
    pub(crate) fn targets(&self) -> Result<Vec<String>, Error> {
        let answer: Json =
            self.fetch(|node| node.get("_resolve/index/*").query("expand_wildcards", "open"))?;
        let lists =
            ["indices", "aliases", "data_streams"].iter().filter_map(|key| answer.get(key)?.as_array());
        let names = lists.flatten().filter_map(|entry| entry.get("name")?.as_str());
        let mut names: Vec<String> = names.filter(|name| !name.starts_with('.')).map(str::to_owned).collect();
        names.sort_unstable();
        names.dedup();
        Ok(names)
    }

    /// A search: of a target, or of what is open at a place.
    pub(crate) fn search(&self, target: &str, body: &Body<'_>) -> Result<Answer, Error> {
        let path = match body.pit {
            Some(_) => "_search".to_owned(),
            None => format!("{}/_search", segment(target)),
        };
        let response = self.send(|node| {
            let request = node.post(&path).idempotent().json(body);
            let request = if body.pit.is_some() { request } else { alone(request) };
            request.query("allow_partial_search_results", false)
        })?;
        let answer = Answer::read(succeeded(response)?.bytes()?)?;
        // Servers have more ways than one to say in a mapping, or beside it, that documents are not kept.
        if *body.source != Source::None && answer.hits.iter().any(|hit| hit.source.is_none()) {
            return Err(keeps_no_documents());
        }
        Ok(answer)
    }

    /// Opens a place from which a target looks the same for as long as it is kept.
    pub(crate) fn open(&self, target: &str, keep_alive: &'static str) -> Result<Place, Error> {
        let (place, key) =
            if self.flavour.is_opensearch { ("_search/point_in_time", "pit_id") } else { ("_pit", "id") };
        let path = format!("{}/{place}", segment(target));
        let answer: Json =
            self.fetch(|node| alone(node.post(&path).query("keep_alive", keep_alive)).idempotent())?;
        match answer.get(key).and_then(Json::as_str) {
            Some(id) => Ok(Place { id: id.to_owned(), keep_alive }),
            None => Err(Error::query_failed("the server has opened no point in time")),
        }
    }

    /// Closes a place. That it is closed already, or that nobody answers, is no matter: it ends by itself.
    pub(crate) fn close(&self, place: &Place) {
        let (path, body) = match self.flavour.is_opensearch {
            true => ("_search/point_in_time", json!({"pit_id": [place.id]})),
            false => ("_pit", json!({"id": place.id})),
        };
        if let Err(error) = self.send(|node| node.clone().retries(0).request("DELETE", path).json(&body)) {
            semilayer_plugin::debug!("a point in time was not closed: {error}");
        }
    }

    fn fetch(&self, request: impl Fn(&Client) -> Request) -> Result<Json, Error> {
        succeeded(self.send(request)?)?.json()
    }

    /// Sends a request to the node that answered last, and to the others when that cannot be reached or is not well.
    fn send(&self, request: impl Fn(&Client) -> Request) -> Result<Response, Error> {
        let mut failure = Error::invalid_config("node", "a URL");
        for offset in 0..self.nodes.len() {
            let at = (self.at.get() + offset) % self.nodes.len();
            let Some(node) = self.nodes.get(at) else { break };
            let others = self.nodes.len() > 1;
            let node = if others { node.clone().retries(1) } else { node.clone() };
            match request(&node).timeout(remaining().unwrap_or(TIMEOUT)).send() {
                // What stands before this node, or the node itself, cannot answer now; another one may.
                Ok(response) if matches!(response.status(), 502 | 503) && offset + 1 < self.nodes.len() => {}
                Ok(response) => {
                    self.at.set(at);
                    return Ok(response);
                }
                Err(error) if error.code() == ErrorCode::Unreachable => failure = error,
                Err(error) => return Err(error),
            }
        }
        Err(failure)
    }
}

/// A request that reaches no other target than the one that is named, and fails where there is none.
fn alone(request: Request) -> Request {
    request
        .query("ignore_unavailable", false)
        .query("allow_no_indices", false)
        .query("expand_wildcards", "none")
}
