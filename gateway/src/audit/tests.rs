use std::path::PathBuf;

use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use tokio::time::timeout;

use super::*;
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
        ..AuditRow::new(Actor::Key { id: KeyId::new(), kind: KeyKind::Public }, "count", "QUERY_TIMEOUT", "r")
    };
    let bare = row("t");
    store.append_audit(&[whole.clone(), bare.clone()]).await.unwrap();
    assert_eq!(all(store.as_ref()).await, [bare, whole]);
}

#[tokio::test]
async fn a_row_is_written_soon_after_it_was_recorded() {
    let (store, _) = store().await;
    let drain = Drain::new();
    let audit = Audit::start(Arc::clone(&store), 0, &drain);
    audit.record(row("t")).await;
    let written = async {
        while all(store.as_ref()).await.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, written).await.unwrap();
}

#[tokio::test]
async fn requests_wait_for_a_store_that_is_behind_and_no_row_is_lost() {
    let (store, file) = store().await;
    let drain = Drain::new();
    let audit = Audit::start(Arc::clone(&store), 0, &drain);
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
    let audit = Audit::start(Arc::clone(&store), 0, &drain);
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
    let _audit = Audit::start(Arc::clone(&store), 90, &drain);
    let swept = async {
        while all(store.as_ref()).await.len() > 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, swept).await.unwrap();
    let kept: Vec<_> = all(store.as_ref()).await.into_iter().map(|row| row.target.unwrap()).collect();
    assert_eq!(kept, ["0", "89"]);
}
