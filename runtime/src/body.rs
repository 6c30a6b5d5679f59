//! Bodies of requests: read whole within a size and a time, or read away.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use bytes::BytesMut;
use http_body_util::BodyExt as _;

use crate::error::BodyError;

/// How much of a body that is not wanted is still read, and for how long.
const DISCARD_BYTES: usize = 64 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);

/// The whole body: at most `limit` bytes that arrive within `patience`.
///
/// # Errors
/// The body is larger, breaks off or is late.
pub async fn whole(body: Body, limit: usize, patience: Duration) -> Result<Bytes, BodyError> {
    match whole_with_room(body, limit, patience, |_| Ok::<(), Infallible>(())).await {
        Ok(read) => read,
        Err(never) => match never {},
    }
}

/// The same for who has to find room for each piece as it comes: `room` is asked with its bytes.
///
/// # Errors
/// What `room` says; within it, that of [`whole`].
pub async fn whole_with_room<E>(
    mut body: Body,
    limit: usize,
    patience: Duration,
    room: impl FnMut(usize) -> Result<(), E>,
) -> Result<Result<Bytes, BodyError>, E> {
    let gathered = tokio::time::timeout(patience, gather(&mut body, limit, room)).await;
    let gathered = gathered.unwrap_or(Ok(Err(BodyError::Late)));
    if matches!(gathered, Err(_) | Ok(Err(BodyError::TooLarge))) {
        discard(body).await;
    }
    gathered
}

/// Reads on for a while and keeps nothing. A connection that is closed with unread bytes is reset, and the caller, who
/// still writes, would never see the refusal.
pub async fn discard(mut body: Body) {
    let mut left = DISCARD_BYTES;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    // Who sends more, or more slowly, has to do with the reset.
    let _elapsed = tokio::time::timeout(DISCARD_TIMEOUT, read).await;
}

async fn gather<E>(
    body: &mut Body,
    limit: usize,
    mut room: impl FnMut(usize) -> Result<(), E>,
) -> Result<Result<Bytes, BodyError>, E> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Ok(Err(BodyError::Broken)) };
        let Some(piece) = frame.data_ref() else { continue };
        if piece.len() > limit.saturating_sub(whole.len()) {
            return Ok(Err(BodyError::TooLarge));
        }
        room(piece.len())?;
        whole.extend_from_slice(piece);
    }
    Ok(Ok(whole.freeze()))
}

#[cfg(test)]
mod tests {
    use std::io;

    use futures::StreamExt as _;
    use futures::stream;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn body(pieces: &'static [&'static str]) -> Body {
        Body::from_stream(stream::iter(pieces).map(|piece| Ok::<_, io::Error>(*piece)))
    }

    #[tokio::test]
    async fn a_body_is_put_together_up_to_its_limit() {
        assert_eq!(whole(body(&["ab", "", "cde"]), 5, PATIENCE).await.unwrap(), "abcde");
        assert_eq!(whole(Body::empty(), 0, PATIENCE).await.unwrap(), "");
        assert_eq!(whole(body(&["ab", "cde"]), 4, PATIENCE).await, Err(BodyError::TooLarge));
        let broken = stream::iter([Ok("ab"), Err(io::Error::other("gone"))]);
        assert_eq!(whole(Body::from_stream(broken), 5, PATIENCE).await, Err(BodyError::Broken));
    }

    #[tokio::test(start_paused = true)]
    async fn who_dawdles_is_late() {
        let dawdling = stream::iter([Ok::<_, io::Error>("ab")]).chain(stream::pending());
        assert_eq!(whole(Body::from_stream(dawdling), 5, PATIENCE).await, Err(BodyError::Late));
    }

    #[tokio::test]
    async fn room_is_asked_for_before_a_piece_is_kept() {
        let mut left = 4_usize;
        let room = |bytes: usize| {
            left = left.checked_sub(bytes).ok_or("full")?;
            Ok(())
        };
        let read = whole_with_room(body(&["ab", "c", "de"]), 100, PATIENCE, room).await;
        assert_eq!((read, left), (Err("full"), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_wanted_is_read_away_and_not_for_ever() {
        let endless = stream::repeat_with(|| Ok::<_, io::Error>(vec![0; 1024 * 1024]));
        assert_eq!(whole(Body::from_stream(endless), 5, PATIENCE).await, Err(BodyError::TooLarge));
        let began = tokio::time::Instant::now();
        discard(Body::from_stream(stream::pending::<io::Result<Bytes>>())).await;
        assert_eq!(began.elapsed(), DISCARD_TIMEOUT);
    }
}
