//! From a bridge's row stream to chunks.

use std::future::Future;
use std::pin::pin;
use std::task::Poll;

use bridge_core::{BridgeError, RowBatch, RowStream};
use protocol::Tail;

use super::Answer;
use crate::error::Failure;

/// Sends all rows, and answers what the stream knew at its end.
///
/// The cursor and the total belong on the last chunk, but which chunk is the last is only known when the stream ends. One
/// batch is therefore held back while the stream can say at once what comes next; when it must wait, the batch leaves at
/// once, and the tail then travels on a chunk without rows.
pub(super) async fn send(mut stream: RowStream, answer: &mut Answer) -> Result<Tail, Failure> {
    let mut held: Option<RowBatch> = None;
    loop {
        let room = room(&mut held, answer).await?;
        let Some(batch) = next(&mut stream, room, &mut held, answer).await? else { break };
        send_held(&mut held, answer).await?;
        held = Some(batch);
    }
    let tail = stream.tail();
    // The connection goes back before the last rows wait for a slow gateway.
    drop(stream);
    let RowBatch { rows, count } = held.unwrap_or_default();
    answer.end(&rows, count, &tail).await?;
    Ok(tail)
}

/// How large the next batch may be. Without credit that is a single row: it waits here until it is paid for, but the end of
/// the stream must not wait for credit that nobody needs.
async fn room(held: &mut Option<RowBatch>, answer: &mut Answer) -> Result<usize, Failure> {
    let owed = held.as_ref().map_or(0, |batch| batch.rows.len());
    match answer.room().saturating_sub(owed) {
        0 => {
            send_held(held, answer).await?;
            Ok(answer.room().max(1))
        }
        room => Ok(room),
    }
}

async fn next(
    stream: &mut RowStream,
    room: usize,
    held: &mut Option<RowBatch>,
    answer: &mut Answer,
) -> Result<Option<RowBatch>, Failure> {
    let mut next = pin!(stream.next(room));
    let at_once: Poll<Result<_, BridgeError>> =
        std::future::poll_fn(|cx| Poll::Ready(next.as_mut().poll(cx))).await;
    match at_once {
        Poll::Ready(batch) => Ok(batch?),
        Poll::Pending => {
            send_held(held, answer).await?;
            Ok(next.await?)
        }
    }
}

async fn send_held(held: &mut Option<RowBatch>, answer: &mut Answer) -> Result<(), Failure> {
    match held.take() {
        Some(batch) => answer.rows(&batch.rows, batch.count).await,
        None => Ok(()),
    }
}
