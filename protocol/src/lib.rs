//! The words that gateway and runner share: frames, jobs, filters, options, answers, error codes.
//!
//! Nothing here does IO or knows an async runtime; the crate builds for `wasm32-unknown-unknown`, so that plugins can
//! use the same parsers. Everything that arrives from another process becomes one of these types at the edge, or a
//! [`RequestError`] that names the field and what was expected.

mod aggregate;
mod answer;
mod capabilities;
mod code;
mod error;
mod exec;
mod extension;
mod filter;
mod frame;
mod job;
mod json;
mod manifest;
mod options;
mod ranked;
mod scalar;
mod secret;
mod source;
mod time;

pub use aggregate::{
    Accuracy, AggregateOptions, Bucket, CalendarUnit, Dimension, GeoColumns, Join, Measure, MeasureKind,
    SortKey,
};
pub use answer::{Tail, TargetName};
pub use capabilities::{AggregateCapabilities, Capabilities, LogicalOp, StringOp, Support};
pub use code::ErrorCode;
pub use error::{FrameError, Invalid, RequestError, UnsupportedOperator};
pub use exec::{
    DEFAULT_EXEC_TIMEOUT_SECS, ExecChunk, ExecDone, ExecEnv, ExecError, ExecMode, ExecOffer, ExecRequest,
    ExecSandbox, ExtractStatus, Extracted, ExtractedFile, FileContent, Invocation, MAX_EXEC_TEXT,
    MAX_EXEC_TIMEOUT_SECS, Stream, Truncated,
};
pub use extension::{Extension, Extensions};
pub use filter::{Comparison, Filter, Test, TextMatch, Where};
pub use frame::{
    Chunk, ChunkParts, Decoded, DoneMeta, Draining, ErrorFrame, GatewayFrame, Heartbeat, Hello, HelloAck,
    JobFrame, PoolUse, RawValueEq, RunnerFrame, Stats, decode_gateway_frame, decode_runner_frame,
};
pub use job::{JobKind, JobRequest};
pub use json::Object as RawObject;
pub use manifest::{Field, FieldGroup, FieldKind, Manifest};
pub use options::{
    BatchReadOptions, CountOptions, Direction, Keyset, OrderBy, Projection, QueryOptions, ReadOptions,
};
pub use ranked::{Metric, SCORE, SearchMethod, SearchOptions, SimilarOptions, SimilarTo};
pub use scalar::{Number, Scalar};
pub use secret::Secret;
pub use source::{AssignedSource, Assignments, CredentialsLocation, SourceConfig};
pub use time::Timestamp;

/// Version of the runner socket that this crate speaks.
pub const PROTOCOL_VERSION: u32 = 1;
/// Period of a runner's heartbeats. The gateway drops a runner after two missed ones.
pub const HEARTBEAT_INTERVAL_MS: u64 = 25_000;
/// A claim that was not dispatched within this time goes back to the pending jobs.
pub const CLAIM_TIMEOUT_MS: u64 = 30_000;
/// Time that a job may take when its frame does not say.
pub const DEFAULT_DEADLINE_MS: u64 = 30_000;
/// How long a gateway waits for `hello` on a new socket.
pub const HELLO_TIMEOUT_MS: u64 = 10_000;
/// The row payload that a runner puts into one chunk at the most, unless a single row is larger.
pub const CHUNK_BYTES: usize = 256 * 1024;
/// A row above this size fails its job with `ROW_TOO_LARGE`.
pub const ROW_LIMIT_BYTES: usize = 16 * 1024 * 1024;
/// A frame above this size closes the socket with 1009. Holds the largest row with room for its envelope.
pub const FRAME_LIMIT_BYTES: usize = ROW_LIMIT_BYTES + 64 * 1024;
