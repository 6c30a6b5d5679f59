use std::path::PathBuf;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::time::timeout;

use super::*;
use crate::shell::record::{KeptOutput, RunnerSnapshot};
use crate::store::sqlite::SqliteStore;

const PATIENCE: Duration = Duration::from_secs(60);

/// An empty store, and the file that it is in.
async fn store() -> (Arc<dyn Store>, PathBuf) {
    let folder = std::env::temp_dir().join(format!("semilayer-audit-{}", uuid::Uuid::now_v7()));
    let file = folder.join("gateway.db");
    (Arc::new(SqliteStore::open(&file).await.unwrap()), file)
}

fn row(target: &str) -> AuditRow {
    AuditRow::new(Actor::Admin, action::QUERY, OK, "r").on(target)
}

fn record() -> ShellRecord {
    ShellRecord {
        runner: Some("edge".to_owned()),
        said: RunnerSnapshot { hostname: Some("host-1".to_owned()), ..RunnerSnapshot::default() },
        argv: Some(vec!["uname".to_owned(), "-a".to_owned()]),
        exit_code: Some(0),
        output: Some(KeptOutput { stdout: "Linux\n".to_owned(), ..KeptOutput::default() }),
        ..ShellRecord::default()
    }
}

async fn all(store: &dyn Store) -> Vec<AuditRow> {
    store.audit(&AuditFilter { limit: 100_000, ..AuditFilter::default() }).await.unwrap()
}

#[tokio::test]
async fn a_row_comes_back_as_it_was_written() {
    let (store, _) = store().await;
    let whole = AuditRow {
        lens: Some("l".to_owned()),
        source: Some("s".to_owned()),
        runner_id: Some(RunnerId::new()),
        runner_instance: Some("i".to_owned()),
        attempts: 2,
        params_hash: Some(params_hash(b"{}")),
        rows: 3,
        bytes: u64::from(u32::MAX) + 1,
        duration_ms: 5,
        occurrences: 7,
        job_id: Some(JobId::new()),
        rule: Some("readonly.program".to_owned()),
        shell: Some(Box::new(record())),
        ..AuditRow::new(Actor::Key { id: KeyId::new(), kind: KeyKind::Public }, "exec", "QUERY_TIMEOUT", "r")
    };
    let bare = row("t");
    store.append_audit(&[whole.clone(), bare.clone()]).await.unwrap();
    let job = store.shell_job(whole.job_id.unwrap()).await.unwrap();
    assert_eq!(job.as_ref(), Some(&whole));
    // A list shows everything but the output, which may be long.
    let mut listed = whole.clone();
    listed.shell.as_mut().unwrap().output = None;
    assert_eq!(all(store.as_ref()).await, [bare, listed]);
    assert_eq!(store.shell_job(JobId::new()).await.unwrap(), None);
}

#[tokio::test]
async fn a_command_without_an_end_gets_one_when_the_gateway_starts_again_and_only_once() {
    let (store, _) = store().await;
    let of = |action: &'static str, job: JobId| AuditRow {
        job_id: Some(job),
        shell: Some(Box::new(ShellRecord { output: None, ..record() })),
        ..AuditRow::new(Actor::Admin, action, OK, "r")
    };
    let (ended, lost) = (JobId::new(), JobId::new());
    let rows = [of(action::EXEC_BEGIN, ended), of(action::EXEC_BEGIN, lost), of(action::EXEC, ended)];
    store.append_audit(&rows).await.unwrap();
    for _ in 0..2 {
        settle_lost(store.as_ref()).await.unwrap();
        assert_eq!(all(store.as_ref()).await.len(), 4);
    }
    let row = store.shell_job(lost).await.unwrap().unwrap();
    assert_eq!((&*row.action, &*row.outcome), (action::EXEC, GATEWAY_LOST));
    assert!(row.shell.unwrap().error.unwrap().contains("gateway ended"));
    assert_eq!(store.shell_job(ended).await.unwrap().unwrap().outcome, OK);
    // What has only begun is no job that has ended.
    let jobs = store.shell_jobs(&JobFilter { limit: 10, ..JobFilter::default() }).await.unwrap();
    assert_eq!(jobs.len(), 2);
}

#[tokio::test]
async fn a_row_is_written_soon_after_it_was_recorded() {
    let (store, _) = store().await;
    let drain = Drain::new();
    let audit = Audit::start(Arc::clone(&store), Retention::default(), &drain);
    audit.record(row("t")).await;
    let written = async {
        while all(store.as_ref()).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, written).await.unwrap();
}

#[tokio::test]
async fn who_reads_finds_what_was_recorded_before_and_does_not_wait_for_a_store_that_is_away() {
    let (store, file) = store().await;
    let drain = Drain::new();
    let audit = Audit::start(Arc::clone(&store), Retention::default(), &drain);
    for round in 1..=3 {
        for number in 0..BATCH_ROWS + 10 {
            audit.record(row(&number.to_string())).await;
        }
        audit.settle().await;
        assert_eq!(all(store.as_ref()).await.len(), round * (BATCH_ROWS + 10));
    }
    let other = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file)).await.unwrap();
    let mut lock = other.acquire().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *lock).await.unwrap();
    audit.record(row("held")).await;
    timeout(PATIENCE, audit.settle()).await.unwrap();
    sqlx::query("ROLLBACK").execute(&mut *lock).await.unwrap();
}

#[test]
fn every_word_of_the_log_is_listed_once() {
    let words = outcomes();
    let distinct: std::collections::BTreeSet<_> = words.iter().chain(&action::ALL).collect();
    assert_eq!(distinct.len(), words.len() + action::ALL.len());
    assert!([OK, GATEWAY_LOST, CALLER_STALLED, "QUERY_TIMEOUT"].iter().all(|word| words.contains(word)));
    for kind in Actor::KINDS {
        let id = Some(Uuid::now_v7());
        assert!(Actor::from_parts(kind, id).or(Actor::from_parts(kind, None)).is_some(), "{kind}");
    }
}

#[tokio::test]
async fn requests_wait_for_a_store_that_is_behind_and_no_row_is_lost() {
    let (store, file) = store().await;
    let drain = Drain::new();
    let audit = Audit::start(Arc::clone(&store), Retention::default(), &drain);
    let other = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file)).await.unwrap();
    let mut lock = other.acquire().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *lock).await.unwrap();

    let more_than_fit = QUEUE_ROWS + 2 * BATCH_ROWS;
    let recording = async move {
        for number in 0..more_than_fit {
            audit.record(row(&number.to_string())).await;
        }
    };
    let mut recording = std::pin::pin!(recording);
    let early = timeout(Duration::from_millis(500), recording.as_mut()).await;
    assert!(early.is_err(), "a full queue took more rows");

    sqlx::query("ROLLBACK").execute(&mut *lock).await.unwrap();
    timeout(PATIENCE, recording).await.unwrap();
    drain.run(PATIENCE, std::future::pending()).await;
    assert_eq!(all(store.as_ref()).await.len(), more_than_fit);
}

#[tokio::test]
async fn rows_of_work_that_is_told_to_stop_are_written_too() {
    let (store, _) = store().await;
    let drain = Drain::new();
    let audit = Audit::start(Arc::clone(&store), Retention::default(), &drain);
    let stopping = drain.stopping();
    drain.spawn("request", async move {
        stopping.cancelled().await;
        tokio::time::sleep(Duration::from_millis(50)).await;
        audit.record(row("last")).await;
    });
    drain.run(Duration::ZERO, std::future::pending()).await;
    assert_eq!(all(store.as_ref()).await.len(), 1);
}

#[tokio::test]
async fn old_rows_go_and_young_ones_stay() {
    let (store, _) = store().await;
    let aged = |days: i64| {
        let at = Timestamp::from_micros(model::now().micros() - days * 86_400_000_000);
        let millis = u128::try_from(at.micros() / 1_000).unwrap();
        let id = AuditId::from_uuid(Uuid::from_u128(millis << 80 | u128::try_from(days).unwrap()));
        AuditRow { id, at, ..row(&days.to_string()) }
    };
    store.append_audit(&[aged(100), aged(91), aged(89), aged(0)]).await.unwrap();
    let drain = Drain::new();
    let _audit = Audit::start(Arc::clone(&store), Retention { days: 90, rows: 0 }, &drain);
    let swept = async {
        while all(store.as_ref()).await.len() > 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, swept).await.unwrap();
    let kept: Vec<_> = all(store.as_ref()).await.into_iter().map(|row| row.target.unwrap()).collect();
    assert_eq!(kept, ["0", "89"]);
}

#[tokio::test]
async fn the_newest_rows_stay_when_there_are_too_many() {
    let (store, _) = store().await;
    let rows: Vec<_> = (0..20).map(|number| row(&number.to_string())).collect();
    store.append_audit(&rows).await.unwrap();
    assert_eq!(sweep_once(store.as_ref(), Retention { days: 0, rows: 20 }).await.unwrap(), 0);
    assert_eq!(sweep_once(store.as_ref(), Retention { days: 90, rows: 3 }).await.unwrap(), 17);
    let kept: Vec<_> = all(store.as_ref()).await.into_iter().map(|row| row.target.unwrap()).collect();
    assert_eq!(kept, ["19", "18", "17"]);
}

#[tokio::test]
async fn a_flood_of_refusals_waits_for_nobody_and_is_in_the_log_to_the_last() {
    let (store, file) = store().await;
    let drain = Drain::new();
    let audit = Audit::start(Arc::clone(&store), Retention::default(), &drain);
    let other = SqlitePool::connect_with(SqliteConnectOptions::new().filename(&file)).await.unwrap();
    let mut lock = other.acquire().await.unwrap();
    sqlx::query("BEGIN IMMEDIATE").execute(&mut *lock).await.unwrap();

    // Accepted work has taken the whole queue.
    let mut accepted = Vec::new();
    while let Ok(slot) = timeout(Duration::from_millis(100), audit.reserve()).await {
        accepted.push(slot);
    }
    let refused = AuditRow::new(Actor::Anonymous, action::CONNECT, "unauthorized", "r");
    for _ in 0..50_000 {
        audit.refuse(refused.clone(), Some([192, 0, 2, 1].into()));
    }
    assert_eq!(audit.merged().get(), 50_000);
    sqlx::query("ROLLBACK").execute(&mut *lock).await.unwrap();
    let work = accepted.len();
    accepted.into_iter().for_each(|slot| slot.record(row("work")));
    drain.run(PATIENCE, std::future::pending()).await;

    let rows = all(store.as_ref()).await;
    assert_eq!(rows.iter().filter(|row| row.target.as_deref() == Some("work")).count(), work);
    let refusals: Vec<_> = rows.iter().filter(|row| row.action == action::CONNECT).collect();
    assert_eq!((refusals.len(), refusals[0].occurrences), (1, 50_000));
}

/// What a page of the log reads, as SQLite plans it.
async fn plan_of(file: &std::path::Path, filter: &AuditFilter) -> String {
    let pool = SqlitePool::connect_with(SqliteConnectOptions::new().filename(file)).await.unwrap();
    let mut query = crate::store::sqlite::audit_query("EXPLAIN QUERY PLAN ", filter);
    let steps: Vec<(i64, i64, i64, String)> = query.build_query_as().fetch_all(&pool).await.unwrap();
    steps.into_iter().map(|(.., detail)| detail).collect::<Vec<_>>().join("; ")
}

#[tokio::test]
async fn every_filter_of_the_log_has_its_index_and_no_page_is_sorted() {
    let (_store, file) = store().await;
    let text = || Some("x".to_owned());
    let none = AuditFilter { limit: 10, ..AuditFilter::default() };
    for (index, filter) in [
        ("PRIMARY KEY", none.clone()),
        ("PRIMARY KEY", AuditFilter { action: Some(action::QUERY.to_owned()), ..none.clone() }),
        ("PRIMARY KEY", AuditFilter { outcome: Some(OK.to_owned()), ..none.clone() }),
        ("audit_action", AuditFilter { action: text(), ..none.clone() }),
        ("audit_outcome", AuditFilter { outcome: text(), ..none.clone() }),
        ("audit_actor_kind", AuditFilter { actor_kind: text(), ..none.clone() }),
        ("audit_actor", AuditFilter { actor_id: Some(Uuid::nil()), ..none.clone() }),
        ("audit_lens", AuditFilter { lens: text(), ..none.clone() }),
        ("audit_source", AuditFilter { source: text(), ..none.clone() }),
        ("audit_runner", AuditFilter { runner_id: Some(RunnerId::new()), ..none.clone() }),
        ("audit_request", AuditFilter { request_id: text(), ..none.clone() }),
        ("audit_rule", AuditFilter { rule: text(), ..none.clone() }),
    ] {
        let plan = plan_of(&file, &filter).await;
        assert!(
            plan.contains(index) && plan.contains("SEARCH") && !plan.contains("TEMP B-TREE"),
            "{index}: {plan}"
        );
    }
}
