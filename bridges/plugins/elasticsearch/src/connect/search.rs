//! A search's body and its answer.

use std::borrow::Cow;
use std::collections::HashMap;

use semilayer_plugin::{Error, remaining};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::error::{Shards, check_complete};

/// The body of a search.
#[derive(Debug, Serialize)]
pub(crate) struct Body<'a> {
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(crate) from: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) query: Option<&'a Json>,
    #[serde(skip_serializing_if = "<[Json]>::is_empty")]
    pub(crate) sort: &'a [Json],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) search_after: Option<&'a [Box<RawValue>]>,
    #[serde(rename = "_source")]
    pub(crate) source: &'a Source,
    /// Fields whose values are wanted as the index has them.
    #[serde(skip_serializing_if = "<[Json]>::is_empty")]
    pub(crate) docvalue_fields: &'a [Json],
    pub(crate) track_total_hits: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) pit: Option<&'a Place>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) timeout: Option<String>,
    /// A search for its aggregations, or for whether there is anything, has more.
    #[serde(flatten)]
    pub(crate) more: &'a serde_json::Map<String, Json>,
}

/// A place from which an index looks the same for as long as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Place {
    pub(crate) id: String,
    pub(crate) keep_alive: &'static str,
}

/// Which parts of documents an answer has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    All,
    None,
    Of(Vec<String>),
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) hits: Vec<Hit>,
    /// How many documents match, when it was asked for.
    pub(crate) total: Option<u64>,
    /// The place may have another name from now on.
    pub(crate) place: Option<String>,
    pub(crate) aggregations: Json,
    /// How long it was.
    pub(crate) bytes: usize,
}

/// A document that was found.
#[derive(Debug, Deserialize)]
pub(crate) struct Hit {
    #[serde(rename = "_id")]
    pub(crate) id: String,
    #[serde(rename = "_index", default)]
    pub(crate) index: String,
    #[serde(rename = "_score", default)]
    pub(crate) score: Option<f64>,
    #[serde(rename = "_source", default)]
    pub(crate) source: Option<Box<RawValue>>,
    #[serde(default)]
    pub(crate) sort: Vec<Box<RawValue>>,
    /// Values as the index has them, of fields that were asked for so.
    #[serde(default)]
    pub(crate) fields: HashMap<String, Vec<Box<RawValue>>>,
}

#[derive(Deserialize)]
struct Wire {
    #[serde(default)]
    timed_out: bool,
    #[serde(rename = "_shards", default)]
    shards: Shards,
    hits: WireHits,
    #[serde(default)]
    pit_id: Option<String>,
    #[serde(default)]
    aggregations: Json,
}

#[derive(Deserialize)]
struct WireHits {
    #[serde(default)]
    total: Option<WireTotal>,
    #[serde(default)]
    hits: Vec<Hit>,
}

#[derive(Deserialize)]
struct WireTotal {
    value: u64,
    #[serde(default)]
    relation: Cow<'static, str>,
}

impl<'a> Body<'a> {
    /// A search for `size` documents that match.
    pub(crate) fn new(
        query: &'a Json,
        size: u64,
        source: &'a Source,
        more: &'a serde_json::Map<String, Json>,
    ) -> Self {
        // The server gives up when nobody waits any more, even where it does not see that.
        let timeout = remaining().map(|left| format!("{}ms", left.as_millis().max(1)));
        Self {
            size,
            from: 0,
            query: Some(query),
            sort: &[],
            search_after: None,
            source,
            docvalue_fields: &[],
            track_total_hits: false,
            pit: None,
            timeout,
            more,
        }
    }
}

impl Answer {
    /// Reads an answer.
    ///
    /// # Errors
    /// An answer that is only a part of what was asked for is none.
    pub(crate) fn read(body: Vec<u8>) -> Result<Self, Error> {
        let wire: Wire = serde_json::from_slice(&body)?;
        check_complete(&wire.shards, wire.timed_out)?;
        let exactly = |total: WireTotal| match total.relation.as_ref() {
            "" | "eq" => Ok(total.value),
            _ => Err(Error::query_failed("the server has only estimated how many documents match")),
        };
        Ok(Self {
            hits: wire.hits.hits,
            total: wire.hits.total.map(exactly).transpose()?,
            place: wire.pit_id,
            aggregations: wire.aggregations,
            bytes: body.len(),
        })
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::All => serializer.serialize_bool(true),
            Self::None => serializer.serialize_bool(false),
            Self::Of(paths) => paths.serialize(serializer),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
