//! Each change as its statements.

use protocol::Timestamp;
use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteQueryResult;

use crate::error::StoreError;
use crate::model::{Credentials, Key, KeyId, Runner, RunnerId, Source, SourceId};
use crate::store::{Mutation, StoredLens};
use crate::token::TokenHash;

pub(super) async fn apply(db: &mut SqliteConnection, mutation: &Mutation) -> Result<(), StoreError> {
    match mutation {
        Mutation::CreateRunner(runner, token) => create_runner(db, runner, token).await,
        Mutation::RevokeRunner(id, at) => revoke_runner(db, *id, *at).await,
        Mutation::UpdateRunner(runner) => update_runner(db, runner).await,
        Mutation::RotateRunner(id, token, last4) => rotate_runner(db, *id, token, last4).await,
        Mutation::DeleteRunner(id) => delete_runner(db, *id).await,
        Mutation::Assign(runner, source) => assign(db, *runner, *source).await,
        Mutation::Unassign(runner, source) => unassign(db, *runner, *source).await,
        Mutation::CreateSource(source) => create_source(db, source).await,
        Mutation::UpdateSource(source) => update_source(db, source).await,
        Mutation::DeleteSource(id) => delete_source(db, *id).await,
        Mutation::PutLens(lens) => put_lens(db, lens).await,
        Mutation::DeleteLens(name) => delete_lens(db, name).await,
        Mutation::CreateKey(key, token) => create_key(db, key, token).await,
        Mutation::RevokeKey(id, at) => revoke_key(db, *id, *at).await,
    }
}

/// The later of two signs of life stays.
pub(super) async fn seen(
    db: &mut SqliteConnection,
    runner: RunnerId,
    at: Timestamp,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE runners SET last_seen_at = max(coalesce(last_seen_at, ?2), ?2) WHERE id = ?1")
        .bind(runner.as_bytes().as_slice())
        .bind(at.micros())
        .execute(db)
        .await?;
    Ok(())
}

async fn create_runner(
    db: &mut SqliteConnection,
    runner: &Runner,
    token: &TokenHash,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "INSERT INTO runners (id, name, labels, capabilities, token_hash, token_last4, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    );
    let query = query
        .bind(runner.id.as_bytes().as_slice())
        .bind(&runner.name)
        .bind(json(&runner.labels, "label")?)
        .bind(json(&runner.capabilities.words(), "capability")?)
        .bind(token.as_bytes().as_slice())
        .bind(&runner.token_hint.last4)
        .bind(runner.created_at.micros());
    unique(query.execute(db).await, "runner name")
}

async fn update_runner(db: &mut SqliteConnection, runner: &Runner) -> Result<(), StoreError> {
    let query = sqlx::query("UPDATE runners SET labels = ?2, capabilities = ?3 WHERE id = ?1");
    let query = query
        .bind(runner.id.as_bytes().as_slice())
        .bind(json(&runner.labels, "label")?)
        .bind(json(&runner.capabilities.words(), "capability")?);
    found(query.execute(db).await?, "runner")
}

async fn revoke_runner(db: &mut SqliteConnection, id: RunnerId, at: Timestamp) -> Result<(), StoreError> {
    let query = sqlx::query("UPDATE runners SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1");
    found(query.bind(id.as_bytes().as_slice()).bind(at.micros()).execute(db).await?, "runner")
}

async fn rotate_runner(
    db: &mut SqliteConnection,
    id: RunnerId,
    token: &TokenHash,
    last4: &str,
) -> Result<(), StoreError> {
    let query = sqlx::query(
        "UPDATE runners SET token_hash = ?2, token_last4 = ?3 WHERE id = ?1 AND revoked_at IS NULL",
    );
    let query = query.bind(id.as_bytes().as_slice()).bind(token.as_bytes().as_slice()).bind(last4);
    found(query.execute(db).await?, "runner that was not revoked")
}

async fn delete_runner(db: &mut SqliteConnection, id: RunnerId) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM runners WHERE id = ?1").bind(id.as_bytes().as_slice());
    found(query.execute(db).await?, "runner")
}

async fn assign(db: &mut SqliteConnection, runner: RunnerId, source: SourceId) -> Result<(), StoreError> {
    let query =
        sqlx::query("INSERT INTO assignments (runner_id, source_id) VALUES (?1, ?2) ON CONFLICT DO NOTHING");
    let done = query.bind(runner.as_bytes().as_slice()).bind(source.as_bytes().as_slice()).execute(db).await;
    match done {
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            Err(StoreError::Missing { what: "runner or source" })
        }
        done => Ok(done.map(drop)?),
    }
}

async fn unassign(db: &mut SqliteConnection, runner: RunnerId, source: SourceId) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM assignments WHERE runner_id = ?1 AND source_id = ?2");
    query.bind(runner.as_bytes().as_slice()).bind(source.as_bytes().as_slice()).execute(db).await?;
    Ok(())
}

async fn create_source(db: &mut SqliteConnection, source: &Source) -> Result<(), StoreError> {
    let query = sqlx::query(
        "INSERT INTO sources (id, name, bridge, credentials_location, sealed_config, timeout_ms, origin, created_at, \
         updated_at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    );
    let (location, sealed) = credentials(source);
    let query = query
        .bind(source.id.as_bytes().as_slice())
        .bind(&source.name)
        .bind(&source.bridge)
        .bind(location)
        .bind(sealed)
        .bind(timeout(source))
        .bind(source.origin.as_str())
        .bind(source.created_at.micros())
        .bind(source.updated_at.micros());
    unique(query.execute(db).await, "source name")
}

async fn update_source(db: &mut SqliteConnection, source: &Source) -> Result<(), StoreError> {
    let query = sqlx::query(
        "UPDATE sources SET bridge = ?2, credentials_location = ?3, sealed_config = ?4, timeout_ms = ?5, updated_at = ?6 \
         WHERE id = ?1",
    );
    let (location, sealed) = credentials(source);
    let query = query
        .bind(source.id.as_bytes().as_slice())
        .bind(&source.bridge)
        .bind(location)
        .bind(sealed)
        .bind(timeout(source))
        .bind(source.updated_at.micros());
    found(query.execute(db).await?, "source")
}

async fn delete_source(db: &mut SqliteConnection, id: SourceId) -> Result<(), StoreError> {
    let query = sqlx::query("DELETE FROM sources WHERE id = ?1").bind(id.as_bytes().as_slice());
    match query.execute(db).await {
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            Err(StoreError::InUse { what: "source" })
        }
        done => found(done?, "source"),
    }
}

async fn put_lens(db: &mut SqliteConnection, lens: &StoredLens) -> Result<(), StoreError> {
    let declared = json(&lens.declared, "lens")?;
    let query = sqlx::query(
        "INSERT INTO lenses (name, source_id, declared, updated_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (name) DO UPDATE \
         SET source_id = excluded.source_id, declared = excluded.declared, updated_at = excluded.updated_at",
    );
    let query = query
        .bind(&lens.name)
        .bind(lens.source.as_bytes().as_slice())
        .bind(declared)
        .bind(lens.updated_at.micros());
    match query.execute(db).await {
        Err(sqlx::Error::Database(error)) if error.is_foreign_key_violation() => {
            Err(StoreError::Missing { what: "source" })
        }
        done => Ok(done.map(drop)?),
    }
}

async fn delete_lens(db: &mut SqliteConnection, name: &str) -> Result<(), StoreError> {
    found(sqlx::query("DELETE FROM lenses WHERE name = ?1").bind(name).execute(db).await?, "lens")
}

async fn create_key(db: &mut SqliteConnection, key: &Key, token: &TokenHash) -> Result<(), StoreError> {
    let query = sqlx::query(
        "INSERT INTO keys (id, kind, name, scopes, token_hash, token_last4, created_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    );
    let scopes: Vec<&str> = key.scopes.iter().map(|scope| scope.as_str()).collect();
    let query = query
        .bind(key.id.as_bytes().as_slice())
        .bind(key.kind.as_str())
        .bind(&key.name)
        .bind(json(&scopes, "scope")?)
        .bind(token.as_bytes().as_slice())
        .bind(&key.token_hint.last4)
        .bind(key.created_at.micros());
    unique(query.execute(db).await, "key name")
}

async fn revoke_key(db: &mut SqliteConnection, id: KeyId, at: Timestamp) -> Result<(), StoreError> {
    let query = sqlx::query("UPDATE keys SET revoked_at = coalesce(revoked_at, ?2) WHERE id = ?1");
    found(query.bind(id.as_bytes().as_slice()).bind(at.micros()).execute(db).await?, "key")
}

fn json(value: &impl serde::Serialize, what: &'static str) -> Result<String, StoreError> {
    serde_json::to_string(value).map_err(|_| StoreError::Unreadable { what })
}

fn credentials(source: &Source) -> (&'static str, Option<&[u8]>) {
    match &source.credentials {
        Credentials::Managed(sealed) => ("managed", Some(sealed.as_bytes())),
        Credentials::RunnerLocal => ("runner-local", None),
    }
}

fn timeout(source: &Source) -> i64 {
    i64::try_from(source.timeout_ms).unwrap_or(i64::MAX)
}

fn unique(done: Result<SqliteQueryResult, sqlx::Error>, what: &'static str) -> Result<(), StoreError> {
    match done {
        Err(sqlx::Error::Database(error)) if error.is_unique_violation() => Err(StoreError::Taken { what }),
        done => Ok(done.map(drop)?),
    }
}

fn found(done: SqliteQueryResult, what: &'static str) -> Result<(), StoreError> {
    if done.rows_affected() == 0 { Err(StoreError::Missing { what }) } else { Ok(()) }
}
