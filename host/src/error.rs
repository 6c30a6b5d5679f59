//! How a job fails, and how the runner cannot start.

use std::io;
use std::sync::Arc;

use bridge_core::BridgeError;
use protocol::{Invalid, RequestError};
use runtime::error::{HealthError, TlsError};
use sandbox::SandboxError;
use thiserror::Error;

use crate::exec::Denied;

/// Why a job has no answer. [`crate::outcome`] turns each variant into a public code.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// A frame or option has a wrong value.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The id is that of a job that still runs.
    #[error("a job with this id is running")]
    DuplicateId,
    /// The runner is about to stop.
    #[error("the runner is draining")]
    Draining,
    /// No slot became free in time, or too many jobs wait for one.
    #[error("the runner has no free slot")]
    Busy,
    /// The gateway has not given this source to this runner.
    #[error("source {name:?} is not assigned to this runner")]
    UnknownSource {
        /// The name in the job.
        name: String,
    },
    /// The source cannot be used.
    #[error(transparent)]
    Source(#[from] SourceProblem),
    /// The source could not be opened. Shared with the jobs that waited for the same attempt.
    #[error("cannot open the source: {0}")]
    Connect(Arc<BridgeError>),
    /// The deadline passed while the source was being opened.
    #[error("the source was still being opened at the deadline")]
    ConnectTooSlow,
    /// The task that opened the source is gone.
    #[error("opening the source was given up")]
    ConnectAbandoned,
    /// The bridge could not do it.
    #[error(transparent)]
    Bridge(#[from] BridgeError),
    /// The caller cancelled, the socket is gone, or the runner stops.
    #[error("the job was cancelled")]
    Cancelled,
    /// The deadline passed.
    #[error("the job did not finish before its deadline")]
    TimedOut,
    /// A shell job's time was up, and its command was stopped.
    #[error("the command did not end within {} s and was stopped", .0.as_secs_f64())]
    CommandTimedOut(std::time::Duration),
    /// This host does not do what a shell job asks.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// A command could not be started.
    #[error("the command could not be started: {0}")]
    Start(#[source] io::Error),
    /// A container could not be had.
    #[error("{0}")]
    Sandbox(Arc<SandboxError>),
    /// There is no sandbox, although the settings want one; the log says why.
    #[error("this runner has no sandbox now")]
    NoSandbox,
    /// A schema could not be written as JSON.
    #[error("the answer cannot be written")]
    Unwritable(#[source] serde_json::Error),
    /// A fault of ours.
    #[error("the job panicked")]
    Panicked,
}

/// Why an assigned source cannot be used. Messages name variables and fields, never values.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceProblem {
    /// There are no usable settings for it on this runner.
    #[error("source {name:?} is not configured: {reason}")]
    NotConfigured {
        /// The source.
        name: String,
        /// What is missing or wrong.
        reason: String,
    },
    /// The runner does not have its bridge.
    #[error("source {name:?} needs bridge {bridge}, which this runner does not have; it has {available}")]
    UnknownBridge {
        /// The source.
        name: String,
        /// The bridge that the gateway named.
        bridge: String,
        /// The bridges that there are.
        available: String,
    },
}

/// Why the runner could not start with settings that looked right.
#[derive(Debug, Error)]
pub enum StartError {
    /// The health port is taken.
    #[error("{0}: choose another health port with --health-port (SEMILAYER_HEALTH_PORT), 0 for none")]
    Health(#[from] HealthError),
    /// A CA file is not usable.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Plugins cannot be run here.
    #[cfg(feature = "plugins")]
    #[error("plugins cannot be run: {0}")]
    Plugins(#[from] plugins_host::EngineError),
}

impl From<Invalid> for Failure {
    fn from(invalid: Invalid) -> Self {
        Self::Request(invalid.into())
    }
}
