//! Bodies: JSON by their own account, within their limit, whole and in time.

use std::time::Duration;

use axum::body::Bytes;
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use runtime::body::{discard, whole_with_room};
use runtime::error::BodyError;

use super::refusal::Refusal;

/// How long a body may take to arrive.
const TIMEOUT: Duration = Duration::from_secs(60);
/// The largest body of the small routes.
pub(crate) const SMALL: usize = 64 * 1024;

/// The JSON body of a request of a route whose bodies are [`SMALL`]. Empty where there is none.
pub(crate) async fn small(request: Request) -> Result<Bytes, Refusal> {
    json(request, SMALL, |_| Ok(())).await
}

/// The JSON body of a request, of at most `limit` bytes, for which `room` is asked as they come. Empty where there is
/// none.
pub(crate) async fn json(
    request: Request,
    limit: usize,
    room: impl FnMut(usize) -> Result<(), Refusal>,
) -> Result<Bytes, Refusal> {
    let (head, body) = request.into_parts();
    let announced = announced(&head.headers);
    if announced.is_some_and(|length| length > limit) {
        discard(body).await;
        return Err(Refusal::too_large());
    }
    let read = whole_with_room(body, limit, TIMEOUT, room).await?.map_err(|error| match error {
        BodyError::TooLarge => Refusal::too_large(),
        BodyError::Broken => Refusal::incomplete(StatusCode::BAD_REQUEST),
        BodyError::Late => Refusal::incomplete(StatusCode::REQUEST_TIMEOUT),
    })?;
    match kind(&head.headers) {
        // A form or a plain text is what a browser sends for any page without asking.
        Some(kind) if !is_json(kind) && !read.is_empty() => Err(Refusal::media_type(kind)),
        None if !read.is_empty() => Err(Refusal::media_type("undefined")),
        _ => Ok(read),
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
