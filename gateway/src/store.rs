//! Where the control plane is kept, behind one seam.
//!
//! A store knows nothing of snapshots or of what a change means: it applies a list of [`Mutation`]s in one transaction,
//! all or none, and gives back everything as [`Records`]. The embedded store is [`sqlite`].

pub mod sqlite;

use futures::future::BoxFuture;
use protocol::Timestamp;

use crate::audit::{AuditFilter, AuditRow, JobFilter};
use crate::config::Node;
use crate::error::StoreError;
use crate::model::{JobId, Key, KeyId, Records, Runner, RunnerId, Source, SourceId};
use crate::token::TokenHash;

/// What keeps the control plane.
pub trait Store: Send + Sync + std::fmt::Debug {
    /// Everything but the audit log.
    fn records(&self) -> BoxFuture<'_, Result<Records, StoreError>>;

    /// Applies all of `mutations` and writes `audit`, or does nothing. What a mutation names and does not find is
    /// [`StoreError::Missing`]; a name that is taken is [`StoreError::Taken`].
    fn apply<'a>(
        &'a self,
        mutations: &'a [Mutation],
        audit: &'a AuditRow,
    ) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Notes when runners were last alive. Runners that are not there any more are passed over.
    fn seen<'a>(&'a self, runners: &'a [(RunnerId, Timestamp)]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// A single fact, `None` when it was never set.
    fn fact<'a>(&'a self, fact: Fact) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>>;

    /// Sets a single fact that is not set yet. Whether it was set now; `false` when somebody else was first.
    fn set_fact<'a>(&'a self, fact: Fact, value: &'a [u8]) -> BoxFuture<'a, Result<bool, StoreError>>;

    /// Appends to the audit log in one transaction.
    fn append_audit<'a>(&'a self, rows: &'a [AuditRow]) -> BoxFuture<'a, Result<(), StoreError>>;

    /// Rows that fit, newest first, without the output of shell jobs.
    fn audit<'a>(&'a self, filter: &'a AuditFilter) -> BoxFuture<'a, Result<Vec<AuditRow>, StoreError>>;

    /// Rows of shell jobs that have ended and fit, without their output. The job that began last comes first.
    fn shell_jobs<'a>(&'a self, filter: &'a JobFilter) -> BoxFuture<'a, Result<Vec<AuditRow>, StoreError>>;

    /// The row of one shell job that has ended, with its output.
    fn shell_job(&self, job: JobId) -> BoxFuture<'_, Result<Option<AuditRow>, StoreError>>;

    /// Rows of shell jobs that were begun and have no row of their end, oldest first, so many at the most.
    fn unended_shell_jobs(&self, limit: u32) -> BoxFuture<'_, Result<Vec<AuditRow>, StoreError>>;

    /// Deletes rows of the audit log that are older. How many.
    fn delete_audit_before(&self, limit: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Deletes the oldest rows of the audit log until so many are left. How many.
    fn delete_audit_beyond(&self, rows: u64) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Whether the store answers.
    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Writes everything to the disk and lets go of the file.
    fn close(&self) -> BoxFuture<'_, ()>;
}

/// One change.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// A new runner.
    CreateRunner(Runner, TokenHash),
    /// A runner's token ends for good. The first time counts.
    RevokeRunner(RunnerId, Timestamp),
    /// Labels and capabilities of a runner.
    UpdateRunner(Runner),
    /// A runner that was not revoked gets another token; hash and last four characters.
    RotateRunner(RunnerId, TokenHash, String),
    /// A runner and its assignments are forgotten.
    DeleteRunner(RunnerId),
    /// A runner gets a source; nothing happens when it has it.
    Assign(RunnerId, SourceId),
    /// A runner loses a source; nothing happens when it does not have it.
    Unassign(RunnerId, SourceId),
    /// A new source.
    CreateSource(Source),
    /// Bridge, credentials and timeout of a source.
    UpdateSource(Source),
    /// A source and its assignments are forgotten. [`StoreError::InUse`] while a lens reads it.
    DeleteSource(SourceId),
    /// A lens, new or in place of the one of that name.
    PutLens(StoredLens),
    /// A lens is forgotten.
    DeleteLens(String),
    /// A new key.
    CreateKey(Key, TokenHash),
    /// A key ends for good. The first time counts.
    RevokeKey(KeyId, Timestamp),
}

/// A lens as it is kept.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLens {
    /// Its name.
    pub name: String,
    /// The source that it reads.
    pub source: SourceId,
    /// The lens as it was pushed.
    pub declared: Node,
    /// When.
    pub updated_at: Timestamp,
}

/// A single value that the store keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fact {
    /// SHA-256 of the admin token that the first start made.
    AdminToken,
    /// Public id of the master key that configs are encrypted with.
    MasterKeyId,
}

impl Fact {
    /// Its name in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AdminToken => "admin_token_sha256",
            Self::MasterKeyId => "master_key_id",
        }
    }
}
