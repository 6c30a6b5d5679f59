//! What an instance can be asked, and why it may not answer.

use protocol::Secret;
use tokio::sync::oneshot;

use crate::bindings::types::{self, Batch, ColumnInfo, Counted, Mistake, Schema, Tail};
use crate::call::Ended;
use crate::error::PluginFailure;
use crate::guest::Opening;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The guest says so.
    Said(types::Error),
    /// The guest does not take the configuration.
    Mistaken(Vec<Mistake>),
    /// The instance broke.
    Broke(PluginFailure),
    /// The job ended first.
    Over(Ended),
}

/// Where an answer goes.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Failed>>;

/// A question to an instance.
pub(crate) enum Ask {
    /// Looks at the configuration, then opens the connection with it and proves that it works.
    Connect {
        config: Secret,
        answer: Answer<()>,
    },
    Test {
        answer: Answer<()>,
    },
    ListTargets {
        answer: Answer<Vec<String>>,
    },
    Introspect {
        target: String,
        answer: Answer<Schema>,
    },
    Count {
        target: String,
        filter: Option<String>,
        answer: Answer<Counted>,
    },
    Open {
        opening: Opening,
        target: String,
        options: String,
        answer: Answer<Vec<ColumnInfo>>,
    },
    Next {
        rows: u32,
        bytes: u32,
        answer: Answer<Option<Batch>>,
    },
    Tail {
        answer: Answer<Tail>,
    },
}

impl Ask {
    /// Answers with the failure of the instance.
    pub(crate) fn fail(self, failure: PluginFailure) {
        fn send<T>(answer: Answer<T>, failure: PluginFailure) {
            let _unwanted = answer.send(Err(Failed::Broke(failure)));
        }
        match self {
            Self::Connect { answer, .. } => send(answer, failure),
            Self::Test { answer } => send(answer, failure),
            Self::ListTargets { answer } => send(answer, failure),
            Self::Introspect { answer, .. } => send(answer, failure),
            Self::Count { answer, .. } => send(answer, failure),
            Self::Open { answer, .. } => send(answer, failure),
            Self::Next { answer, .. } => send(answer, failure),
            Self::Tail { answer } => send(answer, failure),
        }
    }
}
