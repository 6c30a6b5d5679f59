//! The way to the gateway: dial, greet, serve, and again.
//!
//! Every attempt looks the name up anew, waits a random time under a growing ceiling after a failure, and tells `/ready`
//! why there is no session. A gateway that refuses the credentials or the version is asked again only every five minutes.

mod greeting;

use std::sync::Arc;
use std::time::Duration;

use runtime::Exit;
use runtime::dial::Dialer;
use tokio::time::Instant;

pub(crate) use greeting::{Greeting, NoSession, Refusal, greet};

use crate::backoff::Backoff;
use crate::metrics::Attempt;
use crate::runner::Runner;
use crate::session::{Ended, Greeted, Session, note_unknown};
use crate::status;

/// Close codes by which a gateway refuses what it accepted before: credentials, and the protocol version.
const CREDENTIALS_REVOKED: u16 = 4401;
const VERSION_REFUSED: u16 = 4426;

/// Keeps a session until the runner drains. Answers how the process should exit if it may not go on.
pub(crate) async fn keep(runner: Arc<Runner>, dialer: Dialer) -> Exit {
    let refusing = runner.drain.refusing();
    let timings = runner.config().timings;
    let mut backoff = Backoff::new(timings.backoff_base, timings.backoff_cap, timings.healthy);
    loop {
        let ended = match refusing.run_until_cancelled(connect(&runner, &dialer)).await {
            None => return Exit::Clean,
            Some(Ok((greeting, bridges))) => {
                let (ended, lasted) = serve(&runner, greeting, bridges).await;
                backoff.ended(lasted);
                After::of(ended)
            }
            Some(Err(failure)) => {
                backoff.ended(Duration::ZERO);
                After::failure(&runner, failure)
            }
        };
        let wait = match ended {
            After::Leave => return Exit::Clean,
            After::Again(reason) => {
                tracing::info!(reason, "connecting anew");
                Duration::ZERO
            }
            After::Retry(reason) => {
                runner.status.disconnected(reason.clone(), false);
                let wait = backoff.wait(random());
                tracing::warn!(reason, wait_ms = millis(wait), "not connected");
                wait
            }
            After::Refused(refusal) => {
                let config = runner.config();
                runner.status.disconnected(refusal.to_string(), true);
                tracing::error!(
                    reason = %refusal,
                    advice = refusal.advice(),
                    wait_ms = millis(config.timings.refused),
                    "the gateway refuses this runner"
                );
                if config.exit_on_auth_failure {
                    return refusal.exit();
                }
                config.timings.refused
            }
        };
        // New settings may hold what was missing, so they are tried at once.
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = runner.reloaded.notified() => {}
            () = refusing.cancelled() => return Exit::Clean,
        }
    }
}

/// What to do when there is no session any more.
enum After {
    Leave,
    Again(&'static str),
    Retry(String),
    Refused(Refusal),
}

impl After {
    fn of(ended: Ended) -> Self {
        match ended {
            Ended::Drained => Self::Leave,
            Ended::Outdated => Self::Again("the runner has other bridges than it said"),
            Ended::Closed { code: CREDENTIALS_REVOKED, .. } => Self::Refused(Refusal::Revoked),
            Ended::Closed { code: VERSION_REFUSED, .. } => Self::Refused(Refusal::Version),
            Ended::Closed { code, reason } if reason.is_empty() => {
                Self::Retry(format!("the gateway closed the socket with {code}"))
            }
            Ended::Closed { code, reason } => {
                Self::Retry(format!("the gateway closed the socket with {code}: {reason}"))
            }
            Ended::Broken(reason) => Self::Retry(format!("the socket broke: {reason}")),
            Ended::Silent => Self::Retry("the gateway has been silent for too long".to_owned()),
            Ended::Stuck => Self::Retry("the gateway takes no more bytes".to_owned()),
            Ended::Violation(reason) => Self::Retry(format!("the gateway broke the protocol: {reason}")),
        }
    }

    fn failure(runner: &Runner, failure: NoSession) -> Self {
        match failure {
            NoSession::Refused(refusal) => {
                runner.metrics.attempted(Attempt::Refused);
                Self::Refused(refusal)
            }
            NoSession::Ended(ended) => {
                runner.metrics.attempted(Attempt::Failed);
                Self::of(ended)
            }
            NoSession::Unreachable(_) => {
                runner.metrics.attempted(Attempt::Unreachable);
                Self::Retry(failure.to_string())
            }
            NoSession::Upgrade { .. } | NoSession::NoAnswer | NoSession::Token => {
                runner.metrics.attempted(Attempt::Failed);
                Self::Retry(failure.to_string())
            }
        }
    }
}

/// Opens a socket. Answers with the bridges that were named on it, too.
async fn connect(runner: &Runner, dialer: &Dialer) -> Result<(Greeting, Vec<String>), NoSession> {
    let config = runner.config();
    tracing::debug!(gateway = %shown(&config.gateway), "connecting");
    let hello = runner.hello();
    let greeting = greet(&config, dialer, &hello, |kind| note_unknown(runner, kind)).await?;
    Ok((greeting, hello.capabilities))
}

async fn serve(runner: &Arc<Runner>, greeting: Greeting, bridges: Vec<String>) -> (Ended, Duration) {
    let config = runner.config();
    let began = Instant::now();
    let Greeting { socket, ack, extensions } = greeting;
    runner.metrics.attempted(Attempt::Connected);
    runner.metrics.connected.set(1);
    let names: Vec<String> = extensions.into();
    tracing::info!(
        gateway = %shown(&config.gateway),
        server = ack.server_version,
        extensions = names.join(" "),
        "connected"
    );
    runner.sources.take(ack.assigned_sources, &config.sources);
    runner.status.connected(status::Session {
        since: began,
        server_version: ack.server_version,
        extensions: names,
    });
    let greeted = Greeted { extensions, bridges };
    let ended = Session::new(Arc::clone(runner), socket, greeted, config.timings).run().await;
    let lasted = began.elapsed();
    runner.metrics.connected.set(0);
    runner.metrics.session_lasted(lasted);
    runner.status.disconnected("the session has ended".to_owned(), false);
    (ended, lasted)
}

/// A URL without its query, which may hold a token.
pub(crate) fn shown(url: &url::Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

fn random() -> u64 {
    // The random half of a random UUID; its fixed bits are in the other half's low bits and in these two top ones.
    uuid::Uuid::new_v4().as_u64_pair().1 << 2
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
