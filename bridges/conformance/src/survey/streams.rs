//! Streams: bounded batches, rows that are left behind, deadlines, and many jobs at once.

use std::time::{Duration, Instant};

use bridge_core::{BridgeError, Call};
use futures::FutureExt;
use futures::future::try_join_all;
use protocol::QueryOptions;
use serde_json::json;

use super::sample::{Sample, sorted_texts};
use super::site::same_rows;
use super::{Need, Site, SurveyCase};
use crate::failure::{Failure, Outcome, ensure, same};
use crate::subject::collect;

/// Jobs at once.
const JOBS: usize = 8;
/// Streams that are left behind: more than a pool has connections.
const LEFT_BEHIND: usize = 12;
/// How long a call may take beyond its deadline.
const GRACE: Duration = Duration::from_secs(5);

pub(super) const CASES: &[SurveyCase] = &[
    case("D90", "batches are of about the room that is asked for", &[], |s| Box::pin(batches(s))),
    case("D91", "streams and calls that are left behind block nothing", &[], |s| Box::pin(left_behind(s))),
    case("D92", "eight jobs at once answer what each answers alone", &[], |s| Box::pin(jobs_at_once(s))),
    case("D93", "a row above the limit is refused", &[], |s| Box::pin(row_limit(s))),
    case("D94", "a call whose deadline has passed is late, and the next one is not", &[], |s| {
        Box::pin(past_deadline(s))
    }),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Site<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> SurveyCase {
    SurveyCase { id, group: "streams", title, needs, run }
}

/// The target with the most rows that are all known.
fn largest<'s>(s: &'s Site<'_>) -> Outcome<&'s Sample> {
    let largest = s.complete()?.into_iter().max_by_key(|sample| sample.rows.len());
    largest.ok_or(Failure::Impossible("no target"))
}

async fn batches(s: &Site<'_>) -> Outcome {
    const ROOM: usize = 4 * 1024;
    let sample = largest(s)?;
    let longest = sample.rows.iter().map(|row| json!(row).to_string().len()).max().unwrap_or(0);
    let call = s.call();
    let mut stream = s.bridge.query(&call, &sample.target, QueryOptions::default()).await?;
    let mut rows = 0;
    while let Some(batch) = stream.next(ROOM).await? {
        let size = batch.rows.len();
        // A batch may end with the row that filled it, and a database may write its documents with spaces.
        ensure(size <= ROOM + 4 * longest, || format!("a batch of {size} bytes for a room of {ROOM}"))?;
        ensure(batch.count > 0, || "a batch without rows".to_owned())?;
        rows += batch.count;
    }
    same(&format!("rows of {}", sample.target), rows, sample.rows.len() as u64)?;
    same("what comes after the end", stream.next(ROOM).await?.is_none(), true)
}

async fn left_behind(s: &Site<'_>) -> Outcome {
    let sample = largest(s)?;
    for _ in 0..LEFT_BEHIND {
        let call = s.call();
        let mut stream = s.bridge.query(&call, &sample.target, QueryOptions::default()).await?;
        ensure(stream.next(1).await?.is_some(), || "no first batch".to_owned())?;
        drop(stream);
        // Asked, and not waited for.
        drop(s.bridge.query(&call, &sample.target, QueryOptions::default()).now_or_never());
    }
    let rows = s.query(&sample.target, json!({})).await?.rows;
    same_rows(&format!("rows of {} after all", sample.target), &sorted_texts(&rows), &[sample.texts()])
}

async fn jobs_at_once(s: &Site<'_>) -> Outcome {
    let samples = s.complete()?;
    let jobs = samples.iter().cycle().take(JOBS).map(|sample| async {
        let rows = s.query(&sample.target, json!({})).await?.rows;
        same_rows(&format!("rows of {}", sample.target), &sorted_texts(&rows), &[sample.texts()])
    });
    try_join_all(jobs).await.map(|_| ())
}

async fn row_limit(s: &Site<'_>) -> Outcome {
    let sample = largest(s)?;
    let small = Call { row_limit: 1, ..s.call() };
    let limited = QueryOptions { limit: Some(1), ..QueryOptions::default() };
    let answer = match s.bridge.query(&small, &sample.target, limited).await {
        Ok(stream) => collect(stream).await.map(|(rows, _)| rows.len()),
        Err(error) => Err(error),
    };
    match answer {
        Err(BridgeError::RowTooLarge { limit: 1 }) => Ok(()),
        other => Err(Failure::wrong(format!("expected a row above the limit, got {other:?}"))),
    }
}

async fn past_deadline(s: &Site<'_>) -> Outcome {
    let sample = largest(s)?;
    let start = Instant::now();
    let answer =
        match s.bridge.query(&Call::within(Duration::ZERO), &sample.target, QueryOptions::default()).await {
            Ok(stream) => collect(stream).await.map(|(rows, _)| rows.len()),
            Err(error) => Err(error),
        };
    // An answer that was there at once is no mistake; an error of another kind is.
    let right = match &answer {
        Ok(rows) => *rows == sample.rows.len(),
        Err(error) => matches!(error, BridgeError::Timeout),
    };
    ensure(right, || format!("expected a timeout, got {answer:?}"))?;
    ensure(start.elapsed() < GRACE, || format!("the timeout took {} ms", start.elapsed().as_millis()))?;
    same("rows afterwards", s.query(&sample.target, json!({"limit": 1})).await?.rows.len(), 1)
}
