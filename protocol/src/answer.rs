//! Choices about answers that the published protocol leaves open, in this one place: `nextCursor`, `total` and `method` travel as
//! extra fields of the last `chunk` and inside `done.meta`; `listTargets` answers one row `{"name": …}` a target;
//! `introspectTarget` answers one row that is the schema object.

use serde::{Deserialize, Serialize};

use crate::SearchMethod;

/// What is known once the last row has been read.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tail {
    /// Where the next page starts; nothing after the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_cursor: Option<String>,
    /// How many rows match, where that was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Whether `total` is an estimate.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub approximate: bool,
    /// How a `search` has found its rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub method: Option<SearchMethod>,
}

impl Tail {
    /// Whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The row that `listTargets` answers for one target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetName {
    /// The target.
    pub name: String,
}
