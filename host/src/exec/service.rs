//! What all shell jobs of a runner share: slots, and the sandbox.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use protocol::{ExecMode, ExecOffer};
use runtime::Drain;
use sandbox::{Maintenance, Sandbox};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::sandboxed;
use crate::config::ExecSettings;

/// How often the engine is asked whether it is there.
const CHECK: Duration = Duration::from_secs(60);
/// How often containers, files and states that nobody owns are looked for; the first time at once.
const SWEEP: Duration = Duration::from_secs(600);
/// Where its socket usually is.
const USUAL_SOCKET: &str = "/var/run/docker.sock";

/// The shell jobs of a runner.
pub(crate) struct Execs {
    drain: Drain,
    /// Replaced as a whole when the limit changes.
    slots: ArcSwap<Semaphore>,
    /// There only where the settings grant containers.
    sandbox: ArcSwapOption<Sandbox>,
    /// Whether an engine answered when it was last asked.
    docker: AtomicBool,
    /// Jobs that run or wait for a slot.
    active: AtomicU32,
}

impl Execs {
    pub(crate) fn new(settings: &ExecSettings, drain: Drain) -> Self {
        let execs = Self {
            slots: ArcSwap::from_pointee(slots(settings)),
            sandbox: ArcSwapOption::empty(),
            docker: AtomicBool::new(false),
            active: AtomicU32::new(0),
            drain,
        };
        execs.open_sandbox(settings);
        if let Some(state) = &settings.sandbox.state_dir {
            sandboxed::remove_leftovers(state);
        }
        execs
    }

    /// Takes new settings; commands that run keep what they had.
    pub(crate) fn reload(&self, before: &ExecSettings, settings: &ExecSettings) {
        if before.max_exec != settings.max_exec {
            self.slots.store(Arc::new(slots(settings)));
        }
        if before != settings {
            self.open_sandbox(settings);
        }
    }

    fn open_sandbox(&self, settings: &ExecSettings) {
        let opened = match (&settings.sandbox.state_dir, settings.grants(ExecMode::Sandbox)) {
            (Some(state), true) => {
                let options = sandboxed::options(settings, state.clone());
                match Sandbox::open(options, &self.drain) {
                    Ok(sandbox) => Some(Arc::new(sandbox)),
                    Err(error) => {
                        tracing::error!(code = %error.code(), %error, "there will be no containers");
                        None
                    }
                }
            }
            _ => None,
        };
        self.sandbox.store(opened);
    }

    pub(crate) fn sandbox(&self) -> Option<Arc<Sandbox>> {
        self.sandbox.load_full()
    }

    pub(crate) fn slots(&self) -> Arc<Semaphore> {
        self.slots.load_full()
    }

    /// Whether a Docker engine answered when it was last asked.
    pub(crate) fn has_docker(&self) -> bool {
        self.docker.load(Ordering::Relaxed)
    }

    /// Jobs that run or wait for a slot.
    pub(crate) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    /// Counts a job until the result is dropped.
    pub(crate) fn count(self: &Arc<Self>) -> ActiveExec {
        self.active.fetch_add(1, Ordering::Relaxed);
        ActiveExec(Arc::clone(self))
    }

    /// What `hello` says.
    pub(crate) fn offer(&self, settings: &ExecSettings) -> ExecOffer {
        let boxed = settings.grants(ExecMode::Sandbox);
        let granted = &settings.sandbox;
        ExecOffer {
            modes: settings.modes.clone(),
            // As granted: whether an engine is there when a command needs it the command finds out.
            docker: settings.docker,
            images: granted.images.iter().filter(|_| boxed).map(ToString::to_string).collect(),
            default_image: boxed.then(|| granted.image.clone()),
            networks: granted.networks.iter().filter(|_| boxed).cloned().collect(),
            max_exec: Some(settings.max_exec),
            max_timeout_secs: u32::try_from(settings.max_timeout.as_secs()).ok(),
        }
    }

    /// Asks whether the engine is there, once.
    pub(crate) async fn look_for_docker(&self, settings: &ExecSettings) {
        let there = match self.sandbox() {
            Some(sandbox) => sandbox.is_available().await,
            None => settings.docker && has_socket(settings),
        };
        if self.docker.swap(there, Ordering::Relaxed) != there {
            tracing::info!(there, "docker engine");
        }
    }

    /// Asks again and again, and clears up what nobody owns: first what a runner has left that was killed.
    pub(crate) async fn keep_looking(&self, settings: impl Fn() -> ExecSettings) {
        let stopping = self.drain.stopping();
        let rounds = async {
            let mut sweep = tokio::time::interval(SWEEP);
            let mut look = tokio::time::interval_at(Instant::now() + CHECK, CHECK);
            loop {
                tokio::select! {
                    _ = sweep.tick() => self.sweep().await,
                    _ = look.tick() => self.look_for_docker(&settings()).await,
                }
            }
        };
        // Rounds have no end of their own.
        let _: Option<()> = stopping.run_until_cancelled(rounds).await;
    }

    async fn sweep(&self) {
        if let Some(sandbox) = self.sandbox() {
            let swept = sandbox.maintain().await;
            if swept != Maintenance::default() {
                tracing::info!(?swept, "the sandbox was cleared up");
            }
        }
    }
}

/// A shell job that counts as active.
pub(crate) struct ActiveExec(Arc<Execs>);

impl Drop for ActiveExec {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Ordering::Relaxed);
    }
}

fn slots(settings: &ExecSettings) -> Semaphore {
    Semaphore::new(usize::try_from(settings.max_exec).unwrap_or(Semaphore::MAX_PERMITS))
}

/// An engine elsewhere is believed to be there until it is used.
fn has_socket(settings: &ExecSettings) -> bool {
    let host = settings.docker_host.as_deref();
    match host.map(|host| host.strip_prefix("unix://")) {
        None => std::path::Path::new(USUAL_SOCKET).exists(),
        Some(Some(path)) => std::path::Path::new(path).exists(),
        Some(None) => true,
    }
}
