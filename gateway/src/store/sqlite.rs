//! The embedded store: one SQLite file in WAL mode.
//!
//! Writes go through one connection, so that no write waits for another inside the database; reads have connections of
//! their own. Every commit reaches the disk before it is acknowledged: a revocation must survive a loss of power.

mod audit;
mod mutate;
mod rows;

#[cfg(test)]
pub(crate) use audit::page as audit_query;

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use protocol::Timestamp;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{Acquire as _, ConnectOptions as _};

use super::{Fact, Mutation, Store};
use crate::audit::{AuditFilter, AuditRow, JobFilter};
use crate::error::StoreError;
use crate::model::{JobId, Records, RunnerId};

/// Connections that read at the same time.
const READERS: u32 = 4;
/// How long a statement waits for another process (a backup, a shell) to let go of the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a request waits for a connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);

/// A store in one file.
#[derive(Debug)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl SqliteStore {
    /// Opens or makes the file at `path`, readable by its owner alone, and brings its tables up to date.
    pub async fn open(path: &Path) -> Result<Self, StoreError> {
        make_private_file(path)?;
        let options = SqliteConnectOptions::new()
            .filename(path)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            .disable_statement_logging();
        let writer = pool(1).connect_with(options.clone()).await?;
        sqlx::migrate!("./migrations").run(&writer).await.map_err(StoreError::Migration)?;
        let readers = pool(READERS).connect_with(options.pragma("query_only", "on")).await?;
        Ok(Self { writer, readers })
    }

    async fn apply(&self, mutations: &[Mutation], audit: &AuditRow) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await?;
        let mut transaction = connection.begin().await?;
        for mutation in mutations {
            mutate::apply(&mut transaction, mutation).await?;
        }
        audit::append(&mut transaction, std::slice::from_ref(audit)).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn append_audit(&self, rows: &[AuditRow]) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await?;
        let mut transaction = connection.begin().await?;
        audit::append(&mut transaction, rows).await?;
        transaction.commit().await?;
        Ok(())
    }

    async fn seen(&self, runners: &[(RunnerId, Timestamp)]) -> Result<(), StoreError> {
        let mut connection = self.writer.acquire().await?;
        let mut transaction = connection.begin().await?;
        for (runner, at) in runners {
            mutate::seen(&mut transaction, *runner, *at).await?;
        }
        transaction.commit().await?;
        Ok(())
    }

    async fn fact(&self, fact: Fact) -> Result<Option<Vec<u8>>, StoreError> {
        let query = sqlx::query_scalar("SELECT value FROM facts WHERE name = ?1").bind(fact.name());
        Ok(query.fetch_optional(&self.readers).await?)
    }

    async fn set_fact(&self, fact: Fact, value: &[u8]) -> Result<bool, StoreError> {
        let query = sqlx::query("INSERT INTO facts (name, value) VALUES (?1, ?2) ON CONFLICT DO NOTHING");
        let done = query.bind(fact.name()).bind(value).execute(&self.writer).await?;
        Ok(done.rows_affected() == 1)
    }

    async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl Store for SqliteStore {
    fn records(&self) -> BoxFuture<'_, Result<Records, StoreError>> {
        rows::records(&self.readers).boxed()
    }

    fn apply<'a>(
        &'a self,
        mutations: &'a [Mutation],
        audit: &'a AuditRow,
    ) -> BoxFuture<'a, Result<(), StoreError>> {
        self.apply(mutations, audit).boxed()
    }

    fn seen<'a>(&'a self, runners: &'a [(RunnerId, Timestamp)]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.seen(runners).boxed()
    }

    fn fact<'a>(&'a self, fact: Fact) -> BoxFuture<'a, Result<Option<Vec<u8>>, StoreError>> {
        self.fact(fact).boxed()
    }

    fn set_fact<'a>(&'a self, fact: Fact, value: &'a [u8]) -> BoxFuture<'a, Result<bool, StoreError>> {
        self.set_fact(fact, value).boxed()
    }

    fn append_audit<'a>(&'a self, rows: &'a [AuditRow]) -> BoxFuture<'a, Result<(), StoreError>> {
        self.append_audit(rows).boxed()
    }

    fn audit<'a>(&'a self, filter: &'a AuditFilter) -> BoxFuture<'a, Result<Vec<AuditRow>, StoreError>> {
        audit::select(&self.readers, filter).boxed()
    }

    fn shell_jobs<'a>(&'a self, filter: &'a JobFilter) -> BoxFuture<'a, Result<Vec<AuditRow>, StoreError>> {
        audit::select_jobs(&self.readers, filter).boxed()
    }

    fn shell_job(&self, job: JobId) -> BoxFuture<'_, Result<Option<AuditRow>, StoreError>> {
        audit::select_job(&self.readers, job).boxed()
    }

    fn unended_shell_jobs(&self, limit: u32) -> BoxFuture<'_, Result<Vec<AuditRow>, StoreError>> {
        audit::select_unended_jobs(&self.readers, limit).boxed()
    }

    fn delete_audit_before(&self, limit: Timestamp) -> BoxFuture<'_, Result<u64, StoreError>> {
        audit::delete_before(&self.writer, limit).boxed()
    }

    fn delete_audit_beyond(&self, rows: u64) -> BoxFuture<'_, Result<u64, StoreError>> {
        audit::delete_beyond(&self.readers, &self.writer, rows).boxed()
    }

    fn ping(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        async {
            sqlx::query("SELECT 1").execute(&self.readers).await?;
            Ok(())
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        self.close().boxed()
    }
}

fn pool(connections: u32) -> SqlitePoolOptions {
    // Connections to a file do not go stale; closing idle ones would only empty their statement caches.
    SqlitePoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// Makes the file before SQLite does, which would ask the umask who may read it. SQLite gives its companion files the
/// mode of this one. A file that was copied here with a wider mode is narrowed, and so are its companions.
fn make_private_file(path: &Path) -> Result<(), StoreError> {
    let failed = |path: PathBuf| move |source| StoreError::File { path, source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(folder);
        made.map_err(failed(folder.to_owned()))?;
    }
    let open = |path: &Path| OpenOptions::new().append(true).create(true).mode(0o600).open(path);
    let file = open(path).map_err(failed(path.to_owned()))?;
    make_private(&file, path).map_err(failed(path.to_owned()))?;
    for suffix in ["-wal", "-shm"] {
        let mut companion = path.as_os_str().to_owned();
        companion.push(suffix);
        let companion = PathBuf::from(companion);
        match OpenOptions::new().append(true).open(&companion) {
            Ok(file) => make_private(&file, &companion).map_err(failed(companion))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(companion)(error)),
        }
    }
    Ok(())
}

/// Takes a file from everybody but its owner. Fails when the file is somebody else's.
fn make_private(file: &File, path: &Path) -> io::Result<()> {
    let mode = file.metadata()?.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    file.set_permissions(Permissions::from_mode(mode & 0o700))?;
    let was = format!("{mode:04o}");
    tracing::warn!(file = %path.display(), was, "other users could read the store; its mode is narrowed");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn runners_and_keys_of_an_older_store_may_do_what_new_ones_may() {
        let folder = std::env::temp_dir().join(format!("semilayer-older-{}", uuid::Uuid::now_v7()));
        let path = folder.join("gateway.db");
        make_private_file(&path).unwrap();
        let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&path)).await.unwrap();
        let all = sqlx::migrate!("./migrations");
        let older = all.iter().filter(|migration| migration.version <= 2).cloned().collect::<Vec<_>>();
        sqlx::migrate::Migrator { migrations: older.into(), ..sqlx::migrate::Migrator::DEFAULT }
            .run(&pool)
            .await
            .unwrap();
        for insert in [
            "INSERT INTO runners (id, name, labels, token_hash, token_last4, created_at) \
             VALUES (zeroblob(16), 'edge', '{}', zeroblob(32), 'abcd', 1)",
            "INSERT INTO keys (id, kind, name, token_hash, token_last4, created_at) \
             VALUES (zeroblob(16), 'secret', 'shop', zeroblob(32), 'abcd', 1)",
            "INSERT INTO audit (id, at, request_id, actor_kind, action, outcome, attempts, row_count, byte_count, duration_ms) \
             VALUES (zeroblob(16), 1, 'r', 'admin', 'query', 'ok', 1, 2, 3, 4)",
        ] {
            sqlx::query(insert).execute(&pool).await.unwrap();
        }
        pool.close().await;
        let store = SqliteStore::open(&path).await.unwrap();
        let records = Store::records(&store).await.unwrap();
        assert_eq!(records.runners[0].0.capabilities, crate::capability::CapabilitySet::default());
        assert!(records.keys[0].0.scopes.is_empty());
        let rows = store.audit(&AuditFilter { limit: 10, ..AuditFilter::default() }).await.unwrap();
        assert!(rows.len() == 1 && rows[0].shell.is_none() && rows[0].job_id.is_none());
        Store::close(&store).await;
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[tokio::test]
    async fn a_store_that_others_can_read_is_narrowed_with_its_companions() {
        let folder = std::env::temp_dir().join(format!("semilayer-store-{}", uuid::Uuid::now_v7()));
        let path = folder.join("gateway.db");
        let store = SqliteStore::open(&path).await.unwrap();
        let files = ["gateway.db", "gateway.db-wal", "gateway.db-shm"].map(|name| folder.join(name));
        for file in &files {
            std::fs::set_permissions(file, Permissions::from_mode(0o664)).unwrap();
        }
        make_private_file(&path).unwrap();
        for file in &files {
            let mode = std::fs::metadata(file).unwrap().mode() & 0o777;
            assert_eq!(mode, 0o600, "{}", file.display());
        }
        Store::close(&store).await;
    }
}
