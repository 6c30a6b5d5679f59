//! The audit log's statements.

use std::borrow::Cow;

use protocol::Timestamp;
use sqlx::sqlite::{Sqlite, SqlitePool, SqliteRow};
use sqlx::{QueryBuilder, Row as _, SqliteConnection};
use uuid::Uuid;

use super::rows::{id, optional_id, time};
use crate::audit::{Actor, AuditFilter, AuditRow, JobFilter, OK, action};
use crate::error::StoreError;
use crate::model::{AuditId, JobId, RunnerId};
use crate::shell::record::ShellRecord;

/// Rows of one INSERT: few enough for the limit of bound values, many enough that a row costs little beyond itself.
const ROWS_PER_INSERT: usize = 100;
/// Rows that one statement deletes, so that a big sweep lets others write between.
const ROWS_PER_DELETE: i64 = 5_000;
/// A row's id and its time are taken one after the other; a page by time looks this much further.
const ID_SLACK_MICROS: i64 = 60_000_000;

const INSERT: &str = "INSERT INTO audit (id, at, request_id, actor_kind, actor_id, action, outcome, lens, source, target, \
     runner_id, runner_instance, attempts, params_hash, row_count, byte_count, duration_ms, occurrences, job_id, rule, \
     record, output) ";

const SELECT: &str = "SELECT id, at, request_id, actor_kind, actor_id, action, outcome, lens, source, target, \
     runner_id, runner_instance, attempts, params_hash, row_count, byte_count, duration_ms, occurrences, job_id, rule, \
     record, NULL AS output FROM audit WHERE ";

const SELECT_JOB: &str = "SELECT id, at, request_id, actor_kind, actor_id, action, outcome, lens, source, target, \
     runner_id, runner_instance, attempts, params_hash, row_count, byte_count, duration_ms, occurrences, job_id, rule, \
     record, output FROM audit WHERE job_id = ?1 AND action = 'exec'";

/// The second word on the action is for the index, which has everything but queries.
const UNENDED: &str = "action = 'exec.begin' AND action <> 'query' AND job_id IS NOT NULL AND NOT EXISTS (SELECT 1 FROM audit AS ended \
     WHERE ended.job_id = audit.job_id AND ended.job_id IS NOT NULL AND ended.action = 'exec') ORDER BY id LIMIT ";

pub(super) async fn append(db: &mut SqliteConnection, rows: &[AuditRow]) -> Result<(), StoreError> {
    for some in rows.chunks(ROWS_PER_INSERT) {
        let kept =
            some.iter().map(|row| Ok((row, Kept::of(row)?))).collect::<Result<Vec<_>, StoreError>>()?;
        let mut insert = QueryBuilder::<Sqlite>::new(INSERT);
        insert.push_values(kept, |mut values, (row, kept)| {
            values
                .push_bind(row.id.as_bytes().as_slice())
                .push_bind(row.at.micros())
                .push_bind(row.request_id.as_str())
                .push_bind(row.actor.kind())
                .push_bind(row.actor.id().map(|id| id.as_bytes().to_vec()))
                .push_bind(row.action.as_ref())
                .push_bind(row.outcome.as_ref())
                .push_bind(row.lens.as_deref())
                .push_bind(row.source.as_deref())
                .push_bind(row.target.as_deref())
                .push_bind(row.runner_id.as_ref().map(|id| id.as_bytes().as_slice()))
                .push_bind(row.runner_instance.as_deref())
                .push_bind(i64::from(row.attempts))
                .push_bind(row.params_hash.as_ref().map(<[u8; 32]>::as_slice))
                .push_bind(integer(row.rows))
                .push_bind(integer(row.bytes))
                .push_bind(integer(row.duration_ms))
                .push_bind(integer(row.occurrences))
                .push_bind(row.job_id.as_ref().map(|id| id.as_bytes().as_slice()))
                .push_bind(row.rule.as_deref())
                .push_bind(kept.record)
                .push_bind(kept.output);
        });
        insert.build().execute(&mut *db).await?;
    }
    Ok(())
}

/// What a shell job's row keeps as JSON.
#[derive(Default)]
struct Kept {
    record: Option<String>,
    output: Option<String>,
}

impl Kept {
    fn of(row: &AuditRow) -> Result<Self, StoreError> {
        let unwritable = |_| StoreError::Unreadable { what: "shell job" };
        let Some(shell) = &row.shell else { return Ok(Self::default()) };
        let record = serde_json::to_string(shell).map_err(unwritable)?;
        let output = shell.output.as_ref().map(serde_json::to_string).transpose().map_err(unwritable)?;
        Ok(Self { record: Some(record), output })
    }
}

pub(super) async fn select(pool: &SqlitePool, filter: &AuditFilter) -> Result<Vec<AuditRow>, StoreError> {
    let rows = page("", filter).build().fetch_all(pool).await?;
    rows.iter().map(row).collect()
}

pub(super) async fn select_jobs(pool: &SqlitePool, filter: &JobFilter) -> Result<Vec<AuditRow>, StoreError> {
    let mut query = QueryBuilder::new(SELECT);
    query.push("job_id IS NOT NULL AND action = 'exec'");
    if let Some(before) = filter.before {
        query.push(" AND job_id < ").push_bind(bytes(before.uuid()));
    }
    if let Some(runner) = filter.runner_id {
        query.push(" AND runner_id = ").push_bind(bytes(runner.uuid()));
    }
    if let Some(status) = filter.status {
        query.push(" AND outcome").push(if status.is_rest() { " NOT IN (" } else { " IN (" });
        let mut outcomes = query.separated(", ");
        for outcome in status.outcomes() {
            outcomes.push_bind(outcome);
        }
        query.push(")");
    }
    query.push(" ORDER BY job_id DESC LIMIT ").push_bind(i64::from(filter.limit));
    let rows: Vec<SqliteRow> = query.build().fetch_all(pool).await?;
    rows.iter().map(row).collect()
}

pub(super) async fn select_job(pool: &SqlitePool, job: JobId) -> Result<Option<AuditRow>, StoreError> {
    let query = sqlx::query(SELECT_JOB).bind(bytes(job.uuid()));
    query.fetch_optional(pool).await?.as_ref().map(row).transpose()
}

pub(super) async fn select_unended_jobs(pool: &SqlitePool, limit: u32) -> Result<Vec<AuditRow>, StoreError> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push(UNENDED).push_bind(i64::from(limit));
    let rows: Vec<SqliteRow> = query.build().fetch_all(pool).await?;
    rows.iter().map(row).collect()
}

/// The statement of a page: what is looked for and nothing else, so that SQLite can choose an index by it.
pub(crate) fn page(prefix: &'static str, filter: &AuditFilter) -> QueryBuilder<Sqlite> {
    let from = filter.from.map_or(0, Timestamp::micros);
    let until = filter.until.map_or(i64::MAX, Timestamp::micros);
    let lowest = first_id(from.saturating_sub(ID_SLACK_MICROS));
    let highest = match filter.before {
        Some(id) => id.uuid(),
        None => first_id(until.saturating_add(ID_SLACK_MICROS)),
    };
    let mut query = QueryBuilder::new(prefix);
    query.push(SELECT).push("id >= ").push_bind(bytes(lowest)).push(" AND id < ").push_bind(bytes(highest));
    if filter.from.is_some() {
        query.push(" AND at >= ").push_bind(from);
    }
    if filter.until.is_some() {
        query.push(" AND at < ").push_bind(until);
    }
    for (column, value, usual) in [
        ("action", &filter.action, Some(action::QUERY)),
        ("outcome", &filter.outcome, Some(OK)),
        ("actor_kind", &filter.actor_kind, Some("secret-key")),
        ("lens", &filter.lens, None),
        ("source", &filter.source, None),
        ("request_id", &filter.request_id, None),
        ("rule", &filter.rule, None),
    ] {
        let Some(value) = value else { continue };
        query.push(format_args!(" AND {column} = ")).push_bind(value.clone());
        // What is usual is not in the index; the rest is, and SQLite is told in the index's own words.
        if let Some(usual) = usual.filter(|usual| usual != value) {
            query.push(format_args!(" AND {column} <> '{usual}'"));
        }
    }
    for (column, id) in [("actor_id", filter.actor_id), ("runner_id", filter.runner_id.map(|id| id.uuid()))] {
        if let Some(id) = id {
            query.push(format_args!(" AND {column} = ")).push_bind(bytes(id));
        }
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::from(filter.limit));
    query
}

fn bytes(id: Uuid) -> Vec<u8> {
    id.as_bytes().to_vec()
}

pub(super) async fn delete_before(pool: &SqlitePool, limit: Timestamp) -> Result<u64, StoreError> {
    delete_below(pool, first_id(limit.micros())).await
}

/// `readers` find out which rows those are; that may take a while.
pub(super) async fn delete_beyond(
    readers: &SqlitePool,
    writer: &SqlitePool,
    kept: u64,
) -> Result<u64, StoreError> {
    let query = sqlx::query("SELECT id FROM audit ORDER BY id DESC LIMIT 1 OFFSET ?1");
    let Some(oldest) = query.bind(integer(kept.saturating_sub(1))).fetch_optional(readers).await? else {
        return Ok(0);
    };
    delete_below(writer, id(&oldest, "id")?).await
}

async fn delete_below(pool: &SqlitePool, highest: Uuid) -> Result<u64, StoreError> {
    let mut deleted = 0;
    loop {
        let query =
            sqlx::query("DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE id < ?1 LIMIT ?2)");
        let done = query.bind(highest.as_bytes().as_slice()).bind(ROWS_PER_DELETE).execute(pool).await?;
        deleted += done.rows_affected();
        if done.rows_affected() == 0 {
            return Ok(deleted);
        }
    }
}

/// The lowest id of that moment. The 48 bits of milliseconds in an id last beyond the year 10000.
fn first_id(micros: i64) -> Uuid {
    let millis = u64::try_from(micros.max(0) / 1_000).unwrap_or(0).min((1 << 48) - 1);
    Uuid::from_u128(u128::from(millis) << 80)
}

fn row(row: &SqliteRow) -> Result<AuditRow, StoreError> {
    let unreadable = || StoreError::Unreadable { what: "audit row" };
    let actor_kind: String = row.try_get("actor_kind")?;
    let params_hash: Option<Vec<u8>> = row.try_get("params_hash")?;
    let attempts: i64 = row.try_get("attempts")?;
    let action: String = row.try_get("action")?;
    let outcome: String = row.try_get("outcome")?;
    let shell = shell(row)?;
    Ok(AuditRow {
        id: AuditId::from_uuid(id(row, "id")?),
        at: time(row, "at")?,
        request_id: row.try_get("request_id")?,
        actor: Actor::from_parts(&actor_kind, optional_id(row, "actor_id")?).ok_or_else(unreadable)?,
        action: Cow::Owned(action),
        outcome: Cow::Owned(outcome),
        lens: row.try_get("lens")?,
        source: row.try_get("source")?,
        target: row.try_get("target")?,
        runner_id: optional_id(row, "runner_id")?.map(RunnerId::from_uuid),
        runner_instance: row.try_get("runner_instance")?,
        attempts: u32::try_from(attempts).map_err(|_| unreadable())?,
        params_hash: params_hash
            .map(|bytes| bytes.as_slice().try_into().map_err(|_| unreadable()))
            .transpose()?,
        rows: count(row, "row_count")?,
        bytes: count(row, "byte_count")?,
        duration_ms: count(row, "duration_ms")?,
        occurrences: count(row, "occurrences")?,
        job_id: optional_id(row, "job_id")?.map(JobId::from_uuid),
        rule: row.try_get("rule")?,
        shell,
    })
}

fn shell(row: &SqliteRow) -> Result<Option<Box<ShellRecord>>, StoreError> {
    let unreadable = |_| StoreError::Unreadable { what: "shell job" };
    let (record, output): (Option<String>, Option<String>) = (row.try_get("record")?, row.try_get("output")?);
    let Some(record) = record else { return Ok(None) };
    let mut shell: ShellRecord = serde_json::from_str(&record).map_err(unreadable)?;
    shell.output = output.as_deref().map(serde_json::from_str).transpose().map_err(unreadable)?;
    Ok(Some(Box::new(shell)))
}

fn count(row: &SqliteRow, column: &'static str) -> Result<u64, StoreError> {
    let number: i64 = row.try_get(column)?;
    u64::try_from(number).map_err(|_| StoreError::Unreadable { what: column })
}

fn integer(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
