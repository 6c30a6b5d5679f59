//! `start`: the daemon itself.

use std::sync::Arc;

use runtime::settings::Source as Environment;
use runtime::signals::{Reloads, Stops};
use runtime::{Drain, Drained, Exit, telemetry};
use rustix::process::DumpableBehavior;

use super::{complain, refuse};
use crate::app::Running;
use crate::cli::Flags;
use crate::config::{Config, Loaded};
use crate::registry::Registry;

pub(super) async fn run(flags: Flags, environment: Arc<dyn Environment>, registry: Registry) -> Exit {
    let Loaded { config, log, traces, warnings } = match Config::load(&flags, environment.as_ref()) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(&mistakes),
    };
    let export = match telemetry::init(&log, traces) {
        Ok(export) => export,
        Err(error) => return fail(&error),
    };
    // Before anything else: a signal that comes while we start must not be lost.
    let (stops, reloads) = match (Stops::listen(), Reloads::listen()) {
        (Ok(stops), Ok(reloads)) => (stops, reloads),
        (Err(error), _) | (_, Err(error)) => return fail(&error),
    };
    for warning in warnings {
        tracing::warn!(setting = warning.key, reason = warning.message, "check the settings");
    }
    let drain = Drain::new();
    let app = match config.build(registry, Arc::clone(&environment), &drain).await {
        Ok(app) => app,
        Err(error) => {
            complain(&format!("cannot start: {error}"));
            return Exit::Configuration;
        }
    };
    // Commands of shell jobs may run as the same user, who could otherwise read the tokens in this process's memory.
    if let Err(error) = rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "other processes of this user may look into this one");
    }
    if let Some(export) = export {
        export.spawn(&drain, app.dialer().clone());
    }
    let running = app.spawn();
    let health = running.health_addr().map(tracing::field::display);
    tracing::info!(version = env!("CARGO_PKG_VERSION"), health, "runner started");
    live(running, drain, Signals { stops, reloads }, || Config::load(&flags, environment.as_ref())).await
}

struct Signals {
    stops: Stops,
    reloads: Reloads,
}

/// Waits for the end, and drains.
async fn live(
    mut running: Running,
    drain: Drain,
    mut signals: Signals,
    load: impl Fn() -> Result<Loaded, runtime::settings::Mistakes>,
) -> Exit {
    let mut exit = Exit::Clean;
    loop {
        tokio::select! {
            signal = signals.stops.next() => {
                tracing::info!(signal, "draining; a second signal aborts");
                break;
            }
            () = signals.reloads.next() => reload(&running, load()),
            ended = running.ended() => {
                exit = ended;
                break;
            }
        }
    }
    let again = async {
        let signal = signals.stops.next().await;
        tracing::warn!(signal, "aborting");
    };
    // As it is now: it may have been read again since the start.
    match drain.run(running.drain_timeout(), again).await {
        Drained::Clean => tracing::info!("stopped"),
        Drained::Stopped => tracing::warn!("stopped; some jobs were cancelled"),
        Drained::Abandoned => tracing::error!("stopped; some work did not end"),
    }
    exit
}

fn reload(running: &Running, loaded: Result<Loaded, runtime::settings::Mistakes>) {
    match loaded {
        Ok(loaded) => {
            for warning in loaded.warnings {
                tracing::warn!(setting = warning.key, reason = warning.message, "check the settings");
            }
            running.reload(loaded.config);
            tracing::info!("settings read again");
        }
        Err(mistakes) => {
            for mistake in mistakes.iter() {
                tracing::error!(
                    setting = mistake.key,
                    reason = mistake.message,
                    "the settings are kept as they were"
                );
            }
        }
    }
}

fn fail(error: &dyn std::error::Error) -> Exit {
    complain(&format!("cannot start: {error}"));
    Exit::Failed
}
