//! What a run writes, as it writes it: server-sent events.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures::Stream;
use serde_json::json;
use tokio::sync::watch;

use super::{Api, Id};
use crate::RunId;
use crate::server::book::{Book, Following};
use crate::server::refusal::{Refusal, RefusalBody};

/// Lines of one piece of the answer.
const LINES: usize = 256;
/// So that proxies, and we, notice when the other side is gone.
const ALIVE: Duration = Duration::from_secs(15);
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a run has written, and what it writes, until its end.
///
/// Each line is an event `log` with `{"stream", "line"}`; its id, sent back as `Last-Event-ID`, is where the next request
/// goes on. `gap` with `{"lines"}` stands for lines that are not kept, `end` with the run (without its lines) is the last.
#[utoipa::path(get, path = "/runs/{id}/logs", tag = "runs", operation_id = "followLogs",
    params(("id" = String, Path), ("Last-Event-ID" = Option<u64>, Header)),
    responses((status = 200, description = "Events", body = String, content_type = "text/event-stream"),
        (status = 400, description = "`Last-Event-ID` is no number", body = RefusalBody),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 404, description = "`not_found`", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn follow(State(api): State<Api>, id: Id, headers: HeaderMap) -> Result<Response, Refusal> {
    let id = id.or("not_found")?;
    let after = last_event(&headers)?;
    let book = api.runs.book(&id).await?;
    let reader = Reader { api, id, written: book.watch(), book, after, over: false };
    let mut response = Body::from_stream(reader.events()).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // What asks a proxy to pass events on as they come.
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

fn last_event(headers: &HeaderMap) -> Result<u64, Refusal> {
    let Some(value) = headers.get(LAST_EVENT_ID) else { return Ok(0) };
    let number = value.to_str().ok().and_then(|text| text.trim().parse().ok());
    number.ok_or_else(|| Refusal::field("Last-Event-ID", "Last-Event-ID: expected the id of an event"))
}

struct Reader {
    api: Api,
    id: RunId,
    book: Arc<Book>,
    written: watch::Receiver<u64>,
    after: u64,
    over: bool,
}

impl Reader {
    fn events(self) -> impl Stream<Item = Result<Bytes, Infallible>> + Send {
        futures::stream::unfold(self, async |mut reader| {
            let piece = reader.next().await?;
            Some((Ok(piece), reader))
        })
    }

    /// The next piece of the answer, when there is one.
    async fn next(&mut self) -> Option<Bytes> {
        if self.over {
            return None;
        }
        // Marked as seen before it is read, so that what is written in between is noticed.
        self.written.borrow_and_update();
        let following = self.book.after(self.after, LINES);
        if following.ended {
            self.over = true;
            return Some(self.last(&following).await);
        }
        if !following.lines.is_empty() {
            return Some(self.piece(&following).into());
        }
        tokio::select! {
            changed = self.written.changed() => changed.ok().map(|()| Bytes::new()),
            () = tokio::time::sleep(ALIVE) => Some(Bytes::from_static(b":\n\n")),
            // Whoever comes back finds the run at the next process.
            () = self.api.drain.clone().refusing().cancelled_owned() => None,
        }
    }

    fn piece(&mut self, following: &Following) -> String {
        let mut text = String::new();
        if following.missed > 0 {
            event(&mut text, "gap", None, &json!({"lines": following.missed}));
        }
        for line in &following.lines {
            let data = json!({"stream": line.stream, "line": line.line});
            event(&mut text, "log", Some(line.number), &data);
            self.after = line.number;
        }
        text
    }

    async fn last(&mut self, following: &Following) -> Bytes {
        let mut text = self.piece(following);
        self.api.runs.put_away_of(&self.id, ALIVE).await;
        let run = match self.api.runs.brief(&self.id).await {
            Ok(view) => json!(view),
            // It was forgotten a moment ago.
            Err(_) => json!({"id": self.id.as_str()}),
        };
        event(&mut text, "end", None, &run);
        text.into()
    }
}

/// One event. JSON has no line breaks of its own, so the data is one line.
fn event(text: &mut String, name: &str, id: Option<u64>, data: &serde_json::Value) {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    text.push_str(&format!("event: {name}\n{id}data: {data}\n\n"));
}
