//! Whether to try again, and when.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, SystemTime};

use protocol::Timestamp;

use super::transport::{Headers, Incoming};
use crate::{Error, ErrorCode};

/// The wait after the first try; it doubles with each.
const FIRST_WAIT: Duration = Duration::from_millis(200);
/// No wait of our own is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// A try of a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt {
    /// How many there were before it.
    pub(super) tries: u32,
    /// How many there may be after the first.
    pub(super) most: u32,
    /// Whether sending it again does no harm when it has arrived already.
    pub(super) idempotent: bool,
}

/// How long to wait before the next try; nothing when there is none.
pub(super) fn wait_before_next(attempt: &Attempt, answer: &Result<Incoming, Error>) -> Option<Duration> {
    if attempt.tries >= attempt.most {
        return None;
    }
    match answer {
        Ok(answer) => {
            let asked = retry_after(&answer.headers);
            let again = match answer.status {
                // Not even looked at.
                429 => true,
                503 => attempt.idempotent || asked.is_some(),
                502 | 504 => attempt.idempotent,
                _ => false,
            };
            again.then(|| asked.unwrap_or_else(|| backoff(attempt.tries)))
        }
        Err(error) if error.code() == ErrorCode::Unreachable && attempt.idempotent => {
            Some(backoff(attempt.tries))
        }
        Err(_) => None,
    }
}

/// What `Retry-After` asks for, in seconds or as a date.
pub(super) fn retry_after(headers: &Headers) -> Option<Duration> {
    let value = headers.get("retry-after")?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    let then = Duration::from_micros(u64::try_from(http_date(value)?.micros()).ok()?);
    Some(then.saturating_sub(now))
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
fn http_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (_, date) = text.split_once(", ")?;
    let words: Vec<&str> = date.split(' ').collect();
    let [day, month, year, time, "GMT"] = words.as_slice() else { return None };
    let month = MONTHS.iter().position(|name| name == month)? + 1;
    Timestamp::parse(&format!("{year}-{month:02}-{day}T{time}Z"))
}

/// Anywhere between half of the doubled wait and all of it, so that plugins that failed together do not come back
/// together.
fn backoff(tries: u32) -> Duration {
    let most = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(tries)).min(LONGEST_WAIT);
    // The keys of a hasher are random, and there is no other randomness without a dependency.
    let share = u32::try_from(RandomState::new().build_hasher().finish() % 1_000).unwrap_or(0);
    most / 2 + most / 2_000 * share
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(tries: u32, idempotent: bool, answer: Result<Incoming, Error>) -> Option<Duration> {
        wait_before_next(&Attempt { tries, most: 3, idempotent }, &answer)
    }

    #[test]
    fn a_service_that_asks_for_patience_gets_it() {
        let asks = |seconds: &str| Ok(Incoming::new(429).header("Retry-After", seconds));
        assert_eq!(wait(0, false, asks("7")), Some(Duration::from_secs(7)));
        assert_eq!(wait(0, false, asks("Sun, 06 Nov 1994 08:49:37 GMT")), Some(Duration::ZERO));
        assert_eq!(wait(3, false, asks("7")), None);
        assert!(wait(0, false, asks("soon")).is_some_and(|wait| wait <= FIRST_WAIT));
    }

    #[test]
    fn what_may_have_been_done_is_not_done_twice() {
        let broken = || Err(Error::unreachable("reset"));
        assert!(wait(0, true, broken()).is_some());
        assert!(wait(0, false, broken()).is_none());
        for (status, twice, once) in
            [(502, true, false), (503, true, false), (504, true, false), (429, true, true)]
        {
            assert_eq!(wait(0, true, Ok(Incoming::new(status))).is_some(), twice, "{status}");
            assert_eq!(wait(0, false, Ok(Incoming::new(status))).is_some(), once, "{status}");
        }
        assert!(wait(0, false, Ok(Incoming::new(503).header("retry-after", "1"))).is_some());
    }

    #[test]
    fn answers_and_refusals_are_final() {
        for status in [200, 304, 400, 401, 404, 500, 501] {
            assert_eq!(wait(0, true, Ok(Incoming::new(status))), None, "{status}");
        }
        for error in [Error::cancelled(), Error::timeout(), Error::permission_denied("no")] {
            assert_eq!(wait(0, true, Err(error)), None);
        }
    }

    #[test]
    fn waits_grow_to_a_limit() {
        for (tries, most) in [(0, 200), (1, 400), (4, 3_200), (20, 10_000), (40, 10_000)] {
            let most = Duration::from_millis(most);
            let wait = backoff(tries);
            assert!(wait >= most / 2 && wait <= most, "{tries}: {wait:?}");
        }
    }

    #[test]
    fn dates_are_read_as_servers_write_them() {
        assert_eq!(
            http_date("Sun, 06 Nov 1994 08:49:37 GMT").unwrap().to_string(),
            "1994-11-06T08:49:37.000Z"
        );
        assert_eq!(http_date("Sunday, 06-Nov-94 08:49:37 GMT"), None);
        assert_eq!(http_date("7"), None);
    }
}
