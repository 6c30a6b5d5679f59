//! Rows as the records that they stand for. What this program does not write is refused, not guessed.

use protocol::Timestamp;
use sqlx::Row as _;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use uuid::Uuid;

use crate::capability::{CapabilitySet, Scope};
use crate::config;
use crate::crypto::Sealed;
use crate::error::StoreError;
use crate::lens::Lens;
use crate::model::{
    Credentials, Key, KeyId, KeyKind, Origin, Records, Runner, RunnerId, Source, SourceId, TokenHint,
};
use crate::token::{TokenHash, TokenKind};

/// Everything, as of one moment: the reads share a transaction.
pub(super) async fn records(pool: &SqlitePool) -> Result<Records, StoreError> {
    let mut db = pool.begin().await?;
    let runners = sqlx::query(
        "SELECT id, name, labels, capabilities, token_hash, token_last4, created_at, revoked_at, last_seen_at \
         FROM runners",
    )
    .fetch_all(&mut *db)
    .await?;
    let sources = sqlx::query(
        "SELECT id, name, bridge, sealed_config, timeout_ms, origin, created_at, updated_at FROM sources",
    )
    .fetch_all(&mut *db)
    .await?;
    let assignments = sqlx::query("SELECT runner_id, source_id FROM assignments").fetch_all(&mut *db).await?;
    let lenses = sqlx::query("SELECT name, source_id, declared FROM lenses").fetch_all(&mut *db).await?;
    let keys = sqlx::query(
        "SELECT id, kind, name, scopes, token_hash, token_last4, created_at, revoked_at FROM keys",
    )
    .fetch_all(&mut *db)
    .await?;
    Ok(Records {
        runners: read(&runners, runner)?,
        sources: read(&sources, source)?,
        assignments: read(&assignments, assignment)?,
        lenses: read(&lenses, lens)?,
        keys: read(&keys, key)?,
    })
}

fn read<T>(
    rows: &[SqliteRow],
    one: impl Fn(&SqliteRow) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    rows.iter().map(one).collect()
}

fn runner(row: &SqliteRow) -> Result<(Runner, TokenHash), StoreError> {
    let unreadable = || StoreError::Unreadable { what: "runner" };
    let labels: String = row.try_get("labels")?;
    let capabilities = CapabilitySet::parse(&words(row, "capabilities")?).map_err(|_| unreadable())?;
    let runner = Runner {
        id: RunnerId::from_uuid(id(row, "id")?),
        name: row.try_get("name")?,
        labels: serde_json::from_str(&labels).map_err(|_| unreadable())?,
        capabilities,
        token_hint: hint(row, TokenKind::Runner)?,
        created_at: time(row, "created_at")?,
        revoked_at: optional_time(row, "revoked_at")?,
        last_seen_at: optional_time(row, "last_seen_at")?,
    };
    Ok((runner, token_hash(row)?))
}

fn source(row: &SqliteRow) -> Result<Source, StoreError> {
    let unreadable = || StoreError::Unreadable { what: "source" };
    let sealed: Option<Vec<u8>> = row.try_get("sealed_config")?;
    let timeout_ms: i64 = row.try_get("timeout_ms")?;
    let origin: String = row.try_get("origin")?;
    Ok(Source {
        id: SourceId::from_uuid(id(row, "id")?),
        name: row.try_get("name")?,
        bridge: row.try_get("bridge")?,
        credentials: sealed
            .map_or(Credentials::RunnerLocal, |sealed| Credentials::Managed(Sealed::from_bytes(sealed))),
        timeout_ms: u64::try_from(timeout_ms).map_err(|_| unreadable())?,
        origin: [Origin::Api, Origin::Config]
            .into_iter()
            .find(|known| known.as_str() == origin)
            .ok_or_else(unreadable)?,
        created_at: time(row, "created_at")?,
        updated_at: time(row, "updated_at")?,
    })
}

fn assignment(row: &SqliteRow) -> Result<(RunnerId, SourceId), StoreError> {
    Ok((RunnerId::from_uuid(id(row, "runner_id")?), SourceId::from_uuid(id(row, "source_id")?)))
}

fn lens(row: &SqliteRow) -> Result<Lens, StoreError> {
    let unreadable = || StoreError::Unreadable { what: "lens" };
    let name: String = row.try_get("name")?;
    let declared: String = row.try_get("declared")?;
    let declared = serde_json::from_str(&declared).map_err(|_| unreadable())?;
    config::stored_lens(&name, SourceId::from_uuid(id(row, "source_id")?), declared).ok_or_else(unreadable)
}

fn key(row: &SqliteRow) -> Result<(Key, TokenHash), StoreError> {
    let kind: String = row.try_get("kind")?;
    let unreadable = || StoreError::Unreadable { what: "key" };
    let kind: KeyKind = kind.parse().map_err(|()| unreadable())?;
    let key = Key {
        id: KeyId::from_uuid(id(row, "id")?),
        kind,
        scopes: Scope::parse(&words(row, "scopes")?).map_err(|_| unreadable())?,
        name: row.try_get("name")?,
        token_hint: hint(row, kind.token_kind())?,
        created_at: time(row, "created_at")?,
        revoked_at: optional_time(row, "revoked_at")?,
    };
    Ok((key, token_hash(row)?))
}

/// A list of words in JSON.
fn words(row: &SqliteRow, column: &'static str) -> Result<Vec<String>, StoreError> {
    let text: String = row.try_get(column)?;
    serde_json::from_str(&text).map_err(|_| StoreError::Unreadable { what: column })
}

pub(super) fn id(row: &SqliteRow, column: &'static str) -> Result<Uuid, StoreError> {
    optional_id(row, column)?.ok_or(StoreError::Unreadable { what: column })
}

pub(super) fn optional_id(row: &SqliteRow, column: &'static str) -> Result<Option<Uuid>, StoreError> {
    let bytes: Option<Vec<u8>> = row.try_get(column)?;
    bytes
        .map(|bytes| Uuid::from_slice(&bytes).map_err(|_| StoreError::Unreadable { what: column }))
        .transpose()
}

pub(super) fn time(row: &SqliteRow, column: &'static str) -> Result<Timestamp, StoreError> {
    Ok(Timestamp::from_micros(row.try_get(column)?))
}

fn optional_time(row: &SqliteRow, column: &'static str) -> Result<Option<Timestamp>, StoreError> {
    let micros: Option<i64> = row.try_get(column)?;
    Ok(micros.map(Timestamp::from_micros))
}

fn token_hash(row: &SqliteRow) -> Result<TokenHash, StoreError> {
    let bytes: Vec<u8> = row.try_get("token_hash")?;
    TokenHash::from_bytes(&bytes).ok_or(StoreError::Unreadable { what: "token_hash" })
}

fn hint(row: &SqliteRow, kind: TokenKind) -> Result<TokenHint, StoreError> {
    Ok(TokenHint { kind, last4: row.try_get("token_last4")? })
}
