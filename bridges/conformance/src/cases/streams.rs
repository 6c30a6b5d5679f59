//! Streams: bounded batches, rows that are left behind, and queries that end at the server when nobody waits (E16, E20).

use std::time::{Duration, Instant};

use bridge_core::{BridgeError, Call};
use futures::future::{join_all, try_join_all};
use protocol::QueryOptions;
use serde_json::json;

use super::edges::given;
use super::{CURSOR, Case, Need};
use crate::failure::{Failure, Outcome, ensure, same};
use crate::subject::{Subject, collect};

/// How often the server is asked.
const PERIOD: Duration = Duration::from_millis(25);
/// How long a statement may go on after nobody waits for it.
const GRACE: Duration = Duration::from_secs(10);
/// The deadline of a query that must miss it.
const SHORT: Duration = Duration::from_millis(1_500);

pub(super) const CASES: &[Case] = &[
    case("S1", "a large answer comes in batches of about the room", &[], |s| Box::pin(batches(s))),
    case("S2", "streams that are left behind block nothing", &[], |s| Box::pin(left_behind(s))),
    case("S3", "a row above the limit is refused, a smaller one is not", &[], |s| Box::pin(row_limit(s))),
    case("S4", "many jobs at once wait for each other's connections", &[], |s| Box::pin(many_at_once(s))),
    case("S5", "a large scan pages to its end", &[CURSOR], |s| Box::pin(large_scan(s))),
    case("E16", "ten thousand rows are not a limit", &[], |s| Box::pin(more_than_ten_thousand(s))),
    case("E20-cancel", "a dropped query ends at the server", &[], |s| Box::pin(dropped_query(s))),
    case("E20-deadline", "a late query ends at the server, and in time", &[], |s| Box::pin(late_query(s))),
    case("E20-past", "a call whose deadline has passed is late", &[], |s| Box::pin(past_deadline(s))),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Subject<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> Case {
    Case { id, group: "streams", title, needs, run }
}

async fn batches(s: &Subject<'_>) -> Outcome {
    const ROOM: usize = 64 * 1024;
    /// A batch may end with the row that filled it.
    const LONGEST_ROW: usize = 1_024;
    let call = s.call();
    let mut stream = s.bridge.query(&call, &s.fixture.target("big"), QueryOptions::default()).await?;
    let (mut rows, mut count) = (0, 0);
    while let Some(batch) = stream.next(ROOM).await? {
        let size = batch.rows.len();
        ensure(size <= ROOM + LONGEST_ROW, || format!("a batch of {size} bytes for a room of {ROOM}"))?;
        ensure(batch.count > 0, || "a batch without rows".to_owned())?;
        rows += batch.count;
        count += 1;
    }
    same("rows", rows, s.table("big")?.row_count())?;
    ensure(count >= 20, || format!("{rows} rows in only {count} batches"))?;
    same("what comes after the end", stream.next(ROOM).await?.is_none(), true)
}

async fn left_behind(s: &Subject<'_>) -> Outcome {
    let target = s.fixture.target("big");
    // More than any pool has connections: each must come back.
    for _ in 0..25 {
        let call = s.call();
        let mut stream = s.bridge.query(&call, &target, QueryOptions::default()).await?;
        ensure(stream.next(1_024).await?.is_some(), || "no first batch".to_owned())?;
    }
    same("rows of another query", s.query("small", json!({})).await?.len(), 5)
}

async fn row_limit(s: &Subject<'_>) -> Outcome {
    let small = Call { row_limit: 100, ..s.call() };
    let target = s.fixture.target("big");
    let limited = QueryOptions { limit: Some(5), ..QueryOptions::default() };
    let answer = match s.bridge.query(&small, &target, limited.clone()).await {
        Ok(stream) => collect(stream).await,
        Err(error) => Err(error),
    };
    match answer {
        Err(BridgeError::RowTooLarge { limit: 100 }) => {}
        other => return Err(Failure::wrong(format!("expected RowTooLarge, got {other:?}"))),
    }
    let enough = Call { row_limit: 1_000, ..s.call() };
    let (rows, _) = collect(s.bridge.query(&enough, &target, limited).await?).await?;
    same("rows", rows.len(), 5)
}

async fn many_at_once(s: &Subject<'_>) -> Outcome {
    let jobs = (1..=40).map(|id| s.finds("facts", json!({"id": id})));
    let found = try_join_all(jobs).await?;
    same("rows", found, vec![1; 40])
}

async fn large_scan(s: &Subject<'_>) -> Outcome {
    let mut last = 0_u64;
    let mut rows = 0;
    let mut cursor = None;
    loop {
        let page = s.read("big", json!({"limit": 3_000, "fields": ["id"], "cursor": cursor})).await?;
        for row in &page.rows {
            let id = row.get("id").and_then(|id| id.as_u64().or_else(|| id.as_str()?.parse().ok()));
            let id = id.ok_or_else(|| Failure::wrong(format!("no id in {row:?}")))?;
            ensure(id == last + 1, || format!("id {id} comes after {last}"))?;
            last = id;
        }
        rows += page.rows.len() as u64;
        match page.tail.next_cursor {
            Some(next) if !page.rows.is_empty() => cursor = Some(next),
            _ => break,
        }
    }
    same("rows", rows, s.table("big")?.row_count())
}

async fn more_than_ten_thousand(s: &Subject<'_>) -> Outcome {
    let rows = s.query("big", json!({"where": {"id": {"$gt": 5}}, "select": ["id"], "total": true})).await?;
    same("rows", rows.len() as u64, s.table("big")?.row_count() - 5)?;
    let ids: Vec<u64> = (1..=s.fixture.most_keys()).collect();
    let rows = s.query("big", json!({"where": {"id": {"$in": &ids}}, "select": ["id"]})).await?;
    same("rows by as many keys", rows.len(), ids.len())
}

async fn dropped_query(s: &Subject<'_>) -> Outcome {
    let slow = given(s.fixture.slow_query())?;
    let call = s.call();
    // As many as any pool has connections, so that one that does not come back is missed.
    let queries = (0..3).map(|_| async {
        match s.bridge.query(&call, &slow.target, slow.options.clone()).await {
            Ok(mut stream) => stream.next(1_024).await.map(|batch| batch.is_some()),
            Err(error) => Err(error),
        }
    });
    tokio::select! {
        answers = join_all(queries) => {
            return Err(Failure::wrong(format!("the slow query ended by itself: {answers:?}")));
        }
        running = server_says(s, true, s.limit) => running?,
    }
    server_says(s, false, GRACE).await?;
    same("rows of another query", s.query("small", json!({})).await?.len(), 5)
}

async fn late_query(s: &Subject<'_>) -> Outcome {
    let slow = given(s.fixture.slow_query())?;
    let call = Call::within(SHORT);
    let start = Instant::now();
    let answer = match s.bridge.query(&call, &slow.target, slow.options.clone()).await {
        Ok(mut stream) => stream.next(1_024).await.map(|batch| batch.is_some()),
        Err(error) => Err(error),
    };
    let took = start.elapsed();
    ensure(matches!(answer, Err(BridgeError::Timeout)), || format!("expected a timeout, got {answer:?}"))?;
    ensure(took < SHORT + Duration::from_secs(5), || {
        format!("the timeout came after {} ms", took.as_millis())
    })?;
    server_says(s, false, GRACE).await?;
    same("rows of another query", s.query("small", json!({})).await?.len(), 5)
}

async fn past_deadline(s: &Subject<'_>) -> Outcome {
    let call = Call::within(Duration::ZERO);
    let answer = match s.bridge.query(&call, &s.fixture.target("big"), QueryOptions::default()).await {
        Ok(stream) => collect(stream).await.map(|(rows, _)| rows.len()),
        Err(error) => Err(error),
    };
    // An answer that was there at once is no mistake; an error of another kind is.
    let right = matches!(answer, Ok(20_000) | Err(BridgeError::Timeout));
    ensure(right, || format!("expected a timeout, got {answer:?}"))?;
    same("rows of another query", s.query("small", json!({})).await?.len(), 5)
}

/// Waits until the server says so.
async fn server_says(s: &Subject<'_>, running: bool, limit: Duration) -> Outcome {
    let start = Instant::now();
    while start.elapsed() < limit {
        if s.fixture.slow_query_runs().await.map_err(Failure::Fixture)? == running {
            return Ok(());
        }
        tokio::time::sleep(PERIOD).await;
    }
    let word = if running { "never began" } else { "still runs" };
    Err(Failure::wrong(format!("the slow query {word} at the server after {} ms", limit.as_millis())))
}
