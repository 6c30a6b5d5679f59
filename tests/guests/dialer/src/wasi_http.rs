//! A request as guests send it that know nothing of the runner.

use std::fmt::Debug;

use wasip2::http::outgoing_handler::handle;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};
use wasip2::io::streams::StreamError;

/// The body of the answer.
pub(crate) fn get(authority: &str, path: &str) -> Result<String, String> {
    let request = OutgoingRequest::new(Fields::new());
    let refused = "the request is refused".to_owned();
    request.set_scheme(Some(&Scheme::Http)).map_err(|()| refused.clone())?;
    request.set_authority(Some(authority)).map_err(|()| refused.clone())?;
    request.set_path_with_query(Some(path)).map_err(|()| refused)?;
    let coming = handle(request, None).map_err(said)?;
    coming.subscribe().block();
    let response = coming.get().ok_or("nothing came")?.map_err(|()| "it came before")?.map_err(said)?;
    let body = response.consume().map_err(|()| "it was consumed before")?;
    let stream = body.stream().map_err(|()| "it was streamed before")?;
    let mut all = Vec::new();
    loop {
        match stream.blocking_read(1_000) {
            Ok(bytes) => all.extend(bytes),
            Err(StreamError::Closed) => return Ok(String::from_utf8_lossy(&all).into_owned()),
            Err(StreamError::LastOperationFailed(error)) => return Err(error.to_debug_string()),
        }
    }
}

fn said(error: impl Debug) -> String {
    format!("{error:?}")
}
