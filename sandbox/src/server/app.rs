//! The server's life: settings become an [`App`] that listens and does nothing yet, and that is spawned.

use std::fs::{File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use runtime::Drain;
use runtime::port::Port;
use runtime::tls::ClientTls;

use super::api::{Api, Limits, Pulse, router};
use super::artifacts::Artifacts;
use super::callbacks::Callbacks;
use super::disk;
use super::error::StartError;
use super::gate::Gate;
use super::listen;
use super::maintenance;
use super::metrics::Metrics;
use super::networks::Networks;
use super::records::Records;
use super::room::Room;
use super::runs::{Parts, Runs};
use super::settings::Settings;
use super::slots::Slots;
use crate::Sandbox;

/// Below the folder of states: what this server knows beside them.
const RECORDS: &str = "http";
const CALLBACKS: &str = "callbacks";
const LOCK: &str = "server.lock";
/// In the folder of artifacts, where every other name is a run's.
const ARTIFACTS_LOCK: &str = ".server.lock";

/// A server that listens and does not answer yet.
#[derive(Debug)]
pub struct App {
    port: Port,
    router: Router,
    runs: Runs,
    callbacks: Callbacks,
    locks: [File; 2],
}

/// A server that answers.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    /// The system lets go of them with the process, however that ends.
    _locks: [File; 2],
}

impl App {
    /// Takes the port and the folders, and finds the runs of earlier processes again.
    pub async fn build(settings: &Settings, tls: ClientTls, drain: &Drain) -> Result<Self, StartError> {
        let port = Port::bind(settings.listen)
            .await
            .map_err(|source| StartError::Bind { address: settings.listen.to_string(), source })?;
        let folder = settings.options.state_dir.join(RECORDS);
        let in_folder = |source| StartError::Folder { folder: folder.clone(), source };
        let records = Arc::new(Records::open(folder.clone()).map_err(in_folder)?);
        let records_lock = lock(&folder, LOCK, "--state-dir")?;
        let metrics = Arc::new(Metrics::new());
        let known = records.all().map_err(in_folder)?;
        let in_artifacts = |source| StartError::Folder { folder: settings.artifacts.clone(), source };
        disk::make_folder(&settings.artifacts).map_err(in_artifacts)?;
        let artifacts_lock = lock(&settings.artifacts, ARTIFACTS_LOCK, "--artifacts-dir")?;
        let artifacts = Artifacts::open(settings.artifacts.clone(), settings.artifact_bytes, &known)
            .map_err(in_artifacts)?;
        let callbacks = Callbacks::open(
            folder.join(CALLBACKS),
            tls,
            settings.private_callbacks,
            Arc::clone(&records),
            Arc::clone(&metrics),
            drain,
        )
        .map_err(in_folder)?;
        let runs = Runs::new(Parts {
            sandbox: Sandbox::open(settings.options.clone(), drain)?,
            artifacts,
            records,
            callbacks: callbacks.clone(),
            metrics,
            slots: Slots::new(settings.concurrency, settings.queue),
            room: Room::new(settings.queue_bytes),
            drain: drain.clone(),
        });
        let gate = Gate::new(settings.token.as_ref(), settings.listen.ip().is_loopback(), drain);
        let limits = Limits { body: settings.body_limit, private_callbacks: settings.private_callbacks };
        let networks = Networks::new(&settings.networks);
        let api = Api { runs: runs.clone(), networks, pulse: Pulse::default(), limits, drain: drain.clone() };
        Ok(Self { port, router: router(api, gate), runs, callbacks, locks: [records_lock, artifacts_lock] })
    }

    /// The address with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.port.address()
    }

    /// Starts to answer. Everything ends with `drain`.
    pub async fn spawn(self, drain: &Drain) -> Running {
        let Self { port, router, runs, callbacks, locks } = self;
        let address = port.address();
        // Before the runs: what is under way already is not begun again.
        if let Err(error) = callbacks.resume() {
            tracing::error!(%error, "cannot find the callbacks of earlier processes");
        }
        // Before the first request: who asks for a run of an earlier process must find it.
        if let Err(error) = runs.adopt().await {
            tracing::error!(%error, "cannot find the runs of earlier processes");
        }
        drain.spawn_companion("maintenance", maintenance::keep(runs, drain.clone()));
        drain.spawn_companion("server", listen::serve(port, router, drain.clone()));
        Running { address, _locks: locks }
    }
}

impl Running {
    /// Where it answers.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }
}

/// Takes a folder for this process alone: two servers would put away the same runs, or evict each other's artifacts.
fn lock(folder: &Path, name: &str, option: &'static str) -> Result<File, StartError> {
    let failed = |source| StartError::Folder { folder: folder.to_owned(), source };
    let mut options = OpenOptions::new();
    let options = options.write(true).create(true).truncate(false).mode(0o600);
    let file = options.open(folder.join(name)).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse { folder: folder.to_owned(), option }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}
