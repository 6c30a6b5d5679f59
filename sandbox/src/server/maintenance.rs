//! The sweep: at the start, each hour, and when the server begins to stop. In between, what could not be finished is tried
//! again.

use std::time::Duration;

use runtime::Drain;

use super::runs::Runs;

const EVERY: Duration = Duration::from_secs(60 * 60);
/// How long after something could not be finished it is tried again.
const AGAIN: Duration = Duration::from_secs(10);
/// Networks of workflows that nobody has removed, by the name that the workflow engine gives them.
const NETWORKS: &str = "lp-";
const NETWORK_AGE: Duration = Duration::from_secs(30 * 60);
/// How long the last sweep may take, within what a drain gives companions.
const LAST: Duration = Duration::from_secs(4);

/// Sweeps until the server stops.
pub(crate) async fn keep(runs: Runs, drain: Drain) {
    let (refusing, stopping) = (drain.refusing(), drain.stopping());
    loop {
        if stopping.run_until_cancelled(sweep(&runs)).await.is_none() {
            return;
        }
        if refusing.run_until_cancelled(rest(&runs)).await.is_none() {
            let _late = tokio::time::timeout(LAST, sweep(&runs)).await;
            return;
        }
    }
}

/// The time until the next sweep.
async fn rest(runs: &Runs) {
    let finishing = async {
        loop {
            runs.unfinished().await;
            tokio::time::sleep(AGAIN).await;
            adopt(runs).await;
        }
    };
    let _due = tokio::time::timeout(EVERY, finishing).await;
}

async fn adopt(runs: &Runs) {
    if let Err(error) = runs.adopt().await {
        tracing::warn!(%error, "cannot go on with runs of earlier processes");
    }
}

async fn sweep(runs: &Runs) {
    // First, while nobody else has attached to a run: the lines go to whoever does.
    adopt(runs).await;
    let mut swept = runs.sandbox().maintain().await;
    match runs.sandbox().cleanup_networks(NETWORKS, NETWORK_AGE).await {
        Ok(removed) => swept.networks = swept.networks.saturating_add(removed),
        Err(error) => tracing::warn!(%error, "cannot remove old networks"),
    }
    // After the states are right: what has ended is put away, what is gone is forgotten.
    adopt(runs).await;
    let report = serde_json::to_string(&swept).unwrap_or_default();
    tracing::info!(report, "maintenance done");
}
