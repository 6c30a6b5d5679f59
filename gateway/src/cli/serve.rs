//! `serve`: settings, telemetry, build, spawn, wait for a signal, drain, exit.

use std::fmt::Display;
use std::io::Write;

use runtime::dial::Dialer;
use runtime::settings::Source;
use runtime::signals::Stops;
use runtime::terminal::complain;
use runtime::tls::ClientTls;
use runtime::{Drain, Drained, Exit, telemetry};

use crate::app::App;
use crate::settings::{Loaded, ServeFlags, Settings};

pub(super) async fn run(flags: &ServeFlags, source: &dyn Source, out: &mut (dyn Write + Send)) -> Exit {
    let Loaded { settings, log, traces, warnings, outbound } = match Settings::load(flags, source) {
        Ok(loaded) => loaded,
        Err(mistakes) => return refuse(Exit::Configuration, &mistakes),
    };
    let export = match telemetry::init(&log, traces) {
        Ok(export) => export,
        Err(error) => return refuse(Exit::Failed, &error),
    };
    for warning in warnings {
        tracing::warn!(setting = warning.key, "{}", warning.message);
    }
    // Before anything else: a signal that comes while we start must not be lost.
    let stops = match Stops::listen() {
        Ok(stops) => stops,
        Err(error) => return refuse(Exit::Failed, &error),
    };
    let drain = Drain::new();
    let app = match App::build(&settings, &drain).await {
        Ok(app) => app,
        Err(error) => return refuse(Exit::Configuration, &error),
    };
    if let Some(export) = export {
        match ClientTls::load(outbound.ca_file.as_deref(), outbound.ssl_cert_file.as_deref()) {
            Ok(tls) => drop(export.spawn(&drain, Dialer::new(tls, outbound.proxies))),
            Err(error) => return refuse(Exit::Configuration, &error),
        }
    }
    announce(&app, flags, source, out);
    live(app, drain, &settings, stops).await
}

/// Answers until told to stop.
async fn live(app: App, drain: Drain, settings: &Settings, mut stops: Stops) -> Exit {
    let running = app.spawn(&drain);
    let signal = stops.next().await;
    tracing::info!(signal, grace = ?settings.drain_timeout, "draining");
    let again = async move {
        stops.next().await;
    };
    let drained = drain.run(settings.drain_timeout, again).await;
    running.close().await;
    tracing::info!(?drained, "stopped");
    match drained {
        Drained::Clean | Drained::Stopped => Exit::Clean,
        Drained::Abandoned => Exit::Failed,
    }
}

/// Says where the gateway listens, and the admin token if the first start has made one. The token goes to standard
/// output only, never to the log.
fn announce(app: &App, flags: &ServeFlags, source: &dyn Source, out: &mut dyn Write) {
    let scheme = if app.is_secure() { "https" } else { "http" };
    let url = format!("{scheme}://{}", app.local_addr());
    tracing::info!(version = env!("CARGO_PKG_VERSION"), url, "gateway started");
    let text = match app.new_admin_token() {
        None => format!("listening on {url}\nadmin token: {}\n", token_in_use(flags, source)),
        Some(token) => format!(
            "listening on {url}\n\nadmin token, shown this once:\n\n  {}\n\nkeep it, and let the other commands have it:\n  \
             export SEMILAYER_GATEWAY_API={url} SEMILAYER_ADMIN_TOKEN=<the token>\n\n",
            token.expose()
        ),
    };
    // In one write: who waits for the address has the token as well.
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        tracing::warn!(%error, "standard output is closed");
    }
}

/// Where the token that is not shown comes from.
fn token_in_use(flags: &ServeFlags, source: &dyn Source) -> &'static str {
    let is_set = |name| source.get(name).is_some_and(|value| !value.is_empty());
    if flags.admin_token.is_some() {
        "the one of --admin-token"
    } else if is_set("SEMILAYER_ADMIN_TOKEN") {
        "the one in SEMILAYER_ADMIN_TOKEN"
    } else if is_set("SEMILAYER_ADMIN_TOKEN_FILE") {
        "the one in the file of SEMILAYER_ADMIN_TOKEN_FILE"
    } else {
        "the one that the first start has shown"
    }
}

fn refuse(exit: Exit, problem: &dyn Display) -> Exit {
    complain(problem);
    exit
}
