//! The gateway's life: settings become an [`App`] that listens and does nothing yet, and that is spawned.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use protocol::Secret;
use runtime::Drain;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::api::admin::AdminTokens;
use crate::api::{Api, router};
use crate::audit::{self, Audit};
use crate::control::Control;
use crate::crypto::{MasterKey, Vault};
use crate::error::{CryptoError, StartError};
use crate::master_key;
use crate::model::{Credentials, Records, RunnerId};
use crate::presence::Presence;
use crate::server::Server;
use crate::settings::Settings;
use crate::snapshot::{Snapshot, Snapshots};
use crate::state::{Gateway, Limits};
use crate::store::sqlite::SqliteStore;
use crate::store::{Fact, Store};
use crate::token::{TokenHash, TokenKind, mint};

/// A gateway that listens and does not answer yet.
pub struct App {
    server: Server,
    router: Router,
    gateway: Arc<Gateway>,
    control: Arc<Control>,
    seen: mpsc::Receiver<RunnerId>,
    store: Arc<dyn Store>,
    lock: File,
    new_admin_token: Option<Secret>,
}

/// A gateway that answers.
pub struct Running {
    address: SocketAddr,
    store: Arc<dyn Store>,
    /// Held until the store is closed.
    _lock: File,
}

impl App {
    /// Opens the store, checks the master key against it and takes the port. Refuses before it changes anything that a
    /// wrong key could spoil.
    pub async fn build(settings: &Settings, drain: &Drain) -> Result<Self, StartError> {
        let tls =
            settings.tls.as_ref().map(|(certificate, key)| runtime::tls::server_config(certificate, key));
        let tls = tls.transpose()?.map(TlsAcceptor::from);
        // The port first: a start that cannot have it must not use up the one showing of a new admin token.
        let server = Server::bind(settings.listen, tls, settings.write_timeout)
            .await
            .map_err(|source| StartError::Bind { address: settings.listen.to_string(), source })?;
        let lock = lock(&settings.database)?;
        let store: Arc<dyn Store> = Arc::new(SqliteStore::open(&settings.database).await?);
        let vault = Arc::new(open_vault(settings, store.as_ref()).await?);
        let records = store.records().await?;
        check_configs(&records, &vault)?;
        let (tokens, new_admin_token) = admin_tokens(settings, store.as_ref()).await?;

        audit::settle_lost(store.as_ref()).await?;
        let snapshots = Arc::new(Snapshots::new(Snapshot::new(records, vault)));
        let audit = Audit::start(Arc::clone(&store), settings.audit, drain);
        let (presence, seen) = Presence::channel();
        let limits = Limits {
            body: settings.body_limit,
            public_rows: settings.public_rows,
            shell_jobs: settings.shell_jobs,
        };
        let gateway = Gateway::new(Arc::clone(&snapshots), presence, audit.clone(), drain.clone(), limits);
        let control = Arc::new(Control::new(Arc::clone(&store), snapshots, drain.clone()));
        let api = Api {
            gateway: Arc::clone(&gateway),
            control: Arc::clone(&control),
            audit,
            admin: tokens,
            metrics_for_loopback: settings.metrics_for_loopback,
        };
        Ok(Self {
            server,
            router: router(api, settings),
            gateway,
            control,
            seen,
            store,
            lock,
            new_admin_token,
        })
    }

    /// The address with the real port.
    pub fn local_addr(&self) -> SocketAddr {
        self.server.local_addr()
    }

    /// Whether TLS is spoken.
    pub fn is_secure(&self) -> bool {
        self.server.is_secure()
    }

    /// The token that the first start has made, to be shown this once.
    pub fn new_admin_token(&self) -> Option<&Secret> {
        self.new_admin_token.as_ref()
    }

    /// The operators' changes, for a program that is its own operator.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// Starts to answer. Everything ends with `drain`.
    pub fn spawn(self, drain: &Drain) -> Running {
        let address = self.server.local_addr();
        drain.spawn_companion("changes", Arc::clone(&self.gateway).follow_changes());
        drain.spawn_companion("claims", self.gateway.sweep_claims());
        drain.spawn_companion("presence", self.control.follow_presence(self.seen));
        drain.spawn_companion("server", self.server.serve(self.router, drain.clone()));
        Running { address, store: self.store, _lock: self.lock }
    }
}

impl Running {
    /// Where it answers.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Lets go of the store, once the drain has ended.
    pub async fn close(self) {
        self.store.close().await;
    }
}

/// Takes the store for this process alone: two gateways on one file would not hear of each other's revocations. The
/// system lets go of the lock with the process, however that ends.
fn lock(database: &Path) -> Result<File, StartError> {
    let mut path = database.as_os_str().to_owned();
    path.push(".lock");
    let path = PathBuf::from(path);
    let failed = |source| StartError::File { path: path.clone(), source };
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StartError::InUse { path: database.to_owned() }),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

/// The vault of the configured key, or of the key file beside the store. A store remembers which key it was made with.
async fn open_vault(settings: &Settings, store: &dyn Store) -> Result<Vault, StartError> {
    let master = match &settings.master_key {
        Some(text) => MasterKey::parse(text)?,
        // A store that knows its key has lost it; a new one beside it would only look like it.
        None if store.fact(Fact::MasterKeyId).await?.is_some() => master_key::existing(&settings.database)?,
        None => master_key::beside(&settings.database)?,
    };
    let vault = Vault::new(&master)?;
    if store.set_fact(Fact::MasterKeyId, vault.key_id()).await? {
        return Ok(vault);
    }
    match store.fact(Fact::MasterKeyId).await? {
        Some(id) if id == vault.key_id() => Ok(vault),
        _ => Err(StartError::OtherMasterKey),
    }
}

/// Every managed config must open before anything is served.
fn check_configs(records: &Records, vault: &Vault) -> Result<(), CryptoError> {
    for source in &records.sources {
        if let Credentials::Managed(sealed) = &source.credentials {
            vault.open(source.id, sealed)?;
        }
    }
    Ok(())
}

/// The configured token, beside or in place of the one that the first start makes.
async fn admin_tokens(
    settings: &Settings,
    store: &dyn Store,
) -> Result<(AdminTokens, Option<Secret>), StartError> {
    if let Some(token) = &settings.admin_token {
        return Ok((AdminTokens::new(vec![TokenHash::of(token.expose())]), None));
    }
    let minted = mint(TokenKind::Admin)?;
    if store.set_fact(Fact::AdminToken, minted.hash.as_bytes()).await? {
        return Ok((AdminTokens::new(vec![minted.hash]), Some(minted.token)));
    }
    let kept = store.fact(Fact::AdminToken).await?.and_then(|bytes| TokenHash::from_bytes(&bytes));
    Ok((AdminTokens::new(kept.into_iter().collect()), None))
}
