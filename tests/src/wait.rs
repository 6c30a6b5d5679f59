//! Waiting with an end.

use std::fmt::Display;
use std::future::Future;
use std::time::{Duration, Instant};

/// Runs a whole test, which must end in time.
pub async fn within<T>(limit: Duration, test: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, test).await {
        Ok(done) => done,
        Err(_) => panic!("the test did not end within {limit:?}"),
    }
}

/// Asks again until there is an answer.
pub async fn eventually<T>(
    what: impl Display,
    limit: Duration,
    mut ask: impl AsyncFnMut() -> Option<T>,
) -> T {
    let deadline = Instant::now() + limit;
    let mut pause = Duration::from_millis(5);
    loop {
        if let Some(answer) = ask().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {limit:?}: {what}");
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(100));
    }
}

/// Waits until something is so.
pub async fn until(what: impl Display, limit: Duration, mut is_so: impl AsyncFnMut() -> bool) {
    eventually(what, limit, async || is_so().await.then_some(())).await;
}

/// Whole seconds, which read better where they stand in every test.
pub const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
