//! Bodies: JSON by their own account, within their limit, whole and in time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use super::refusal::Refusal;

/// How long a body may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(60);
/// How much of a body that is not wanted is still read, and for how long.
const DISCARD_BYTES: usize = 64 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(2);
/// The largest body of the small routes.
pub(crate) const SMALL: usize = 64 * 1024;

/// The JSON body of a request, of at most `limit` bytes. Empty where there is none.
pub(crate) async fn json(request: Request, limit: usize) -> Result<Bytes, Refusal> {
    let (head, body) = request.into_parts();
    let announced = announced(&head.headers);
    if announced.is_some_and(|length| length > limit) {
        discard(body).await;
        return Err(Refusal::too_large());
    }
    let read = whole(body, limit).await?;
    match kind(&head.headers) {
        // A form or a plain text is what a browser sends for any page without asking.
        Some(kind) if !is_json(kind) && !read.is_empty() => Err(Refusal::media_type(kind)),
        None if !read.is_empty() => Err(Refusal::media_type("undefined")),
        _ => Ok(read),
    }
}

/// Reads on for a while and keeps nothing. A connection that is closed with unread bytes is reset, and the caller, who
/// still writes, would never see the answer.
pub(crate) async fn discard(mut body: Body) {
    let mut left = DISCARD_BYTES;
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    let _elapsed = tokio::time::timeout(DISCARD_TIMEOUT, read).await;
}

async fn whole(mut body: Body, limit: usize) -> Result<Bytes, Refusal> {
    match tokio::time::timeout(TIMEOUT, Limited::new(&mut body, limit).collect()).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) if error.is::<LengthLimitError>() => {
            discard(body).await;
            Err(Refusal::too_large())
        }
        Ok(Err(_)) => Err(Refusal::incomplete(StatusCode::BAD_REQUEST)),
        Err(_) => Err(Refusal::incomplete(StatusCode::REQUEST_TIMEOUT)),
    }
}

fn announced(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn kind(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok())
}

fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}
