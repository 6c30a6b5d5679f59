//! The port: HTTP/1.1, with bounded connections, heads and patience.
//!
//! A connection whose other end is gone takes its request with it: that is how a run learns that nobody waits for it.

use std::time::Duration;

use axum::Router;
use runtime::Drain;
use runtime::port::{Limits, Port, answer};
use tower::ServiceExt as _;

const LIMITS: Limits = Limits {
    connections: 4096,
    buffer_bytes: 64 * 1024,
    write_timeout: Duration::from_secs(60),
    // Runs are cancelled when they must stop, and their callers are told so.
    last_answer: Duration::from_secs(4),
};

/// Answers until all work of `drain` has ended.
pub(crate) async fn serve(port: Port, router: Router, drain: Drain) {
    let served = drain.clone();
    let serve = move |stream, _| {
        let router = router.clone();
        answer(stream, LIMITS, served.clone(), move |request| router.clone().oneshot(request))
    };
    port.accept(LIMITS, drain, serve).await;
}
