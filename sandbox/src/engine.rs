//! The connection to the container engine: made at first use, asked before each run whether it is there.
//!
//! Every failure of the engine becomes a [`SandboxError`] in [`failed`]. The library's requests carry no version, so the
//! engine answers with its newest; what an older one does not know is decided by [`Engine::knows`].

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bollard::errors::Error as EngineError;
use bollard::{API_DEFAULT_VERSION, ClientVersion, Docker};
use runtime::error::with_sources;
use tokio::sync::OnceCell;
use tokio::time::timeout;

use crate::{Options, SandboxError, SandboxErrorCode};

/// How long an answer of the engine is trusted to mean that it is there.
const REMEMBERED: Duration = Duration::from_secs(1);
/// How long one request may take until its answer begins. Uploads and builds set their own.
const REQUEST_TIMEOUT: u64 = 120;
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// One engine. Clones share the connection and what was learnt of it.
#[derive(Debug, Clone)]
pub(crate) struct Engine(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    ping_timeout: Duration,
    connected: OnceCell<Docker>,
    facts: OnceCell<Facts>,
    answered: Mutex<Option<Instant>>,
    quota_refused: AtomicBool,
    folder_refused: AtomicBool,
    archive_refused: AtomicBool,
}

/// Where the engine listens.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Endpoint {
    Unix(String),
    Http(String),
    Tls { address: String, certificates: PathBuf },
}

/// What does not change while an engine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Facts {
    /// Its own name for itself and the folder of its containers. Several engines of one machine may have one name.
    id: Option<String>,
    /// Users in containers are users of this machine, and nothing labels files on their way in.
    plain_users: bool,
}

impl Engine {
    /// The engine that the options name; nothing is asked of it yet.
    ///
    /// # Errors
    /// `INVALID_REQUEST` for an address that is none.
    pub(crate) fn new(options: &Options) -> Result<Self, SandboxError> {
        let host = options.docker_host.as_deref().unwrap_or(DEFAULT_HOST);
        Ok(Self(Arc::new(Inner {
            endpoint: endpoint(host, options.docker_certs.as_deref())?,
            ping_timeout: options.ping_timeout,
            connected: OnceCell::new(),
            facts: OnceCell::new(),
            answered: Mutex::new(None),
            quota_refused: AtomicBool::new(false),
            folder_refused: AtomicBool::new(false),
            archive_refused: AtomicBool::new(false),
        })))
    }

    /// The connected client, whether or not the engine still answers.
    ///
    /// # Errors
    /// `DOCKER_UNREACHABLE` where it never did.
    pub(crate) async fn docker(&self) -> Result<Docker, SandboxError> {
        let connect = async {
            let negotiated = self.0.endpoint.client().map(Docker::negotiate_version)?;
            let docker = negotiated.await.map_err(unreachable)?;
            self.note_answer();
            Ok::<_, SandboxError>(docker)
        };
        // Around the wait for others who try, too: each of them would wait anew after the one before.
        let limit = self.0.ping_timeout;
        let connected = timeout(limit, self.0.connected.get_or_try_init(|| connect)).await;
        connected.map_err(|_| silent(limit))?.cloned()
    }

    /// The connected client of an engine that answered within the last second, or does now.
    ///
    /// # Errors
    /// `DOCKER_UNREACHABLE`.
    pub(crate) async fn ready(&self) -> Result<Docker, SandboxError> {
        let docker = self.docker().await?;
        if !self.answered_lately() {
            self.ping(self.0.ping_timeout).await?;
        }
        Ok(docker)
    }

    /// Asks whether it is there.
    ///
    /// # Errors
    /// `DOCKER_UNREACHABLE`.
    pub(crate) async fn ping(&self, limit: Duration) -> Result<(), SandboxError> {
        let ask = async { self.docker().await?.ping().await.map_err(unreachable) };
        match timeout(limit, ask).await {
            Ok(answer) => answer.map(drop)?,
            Err(_) => return Err(silent(limit)),
        }
        self.note_answer();
        Ok(())
    }

    /// Whether the engine's interface is of this version or a newer one. Not before it is connected.
    pub(crate) fn knows(&self, major: usize, minor: usize) -> bool {
        let wanted = ClientVersion { major_version: major, minor_version: minor };
        self.0.connected.get().is_some_and(|docker| docker.client_version() >= wanted)
    }

    /// Whether a folder of this machine may be tried as a mount: a local engine whose users are ours. The engine still
    /// refuses the mount where it lives in another file system.
    ///
    /// # Errors
    /// `DOCKER_UNREACHABLE`, `ENGINE_FAILED`.
    pub(crate) async fn may_share_folders(&self) -> Result<bool, SandboxError> {
        if !matches!(self.0.endpoint, Endpoint::Unix(_)) || self.0.folder_refused.load(Ordering::Relaxed) {
            return Ok(false);
        }
        self.facts().await.map(|facts| facts.plain_users)
    }

    /// Where it is to be: the socket or the port.
    pub(crate) fn address(&self) -> &str {
        match &self.0.endpoint {
            Endpoint::Unix(address) | Endpoint::Http(address) | Endpoint::Tls { address, .. } => address,
        }
    }

    /// What tells it from another engine at the same address, where it says that.
    ///
    /// # Errors
    /// `DOCKER_UNREACHABLE`, `ENGINE_FAILED`.
    pub(crate) async fn id(&self) -> Result<Option<String>, SandboxError> {
        self.facts().await.map(|facts| facts.id.clone())
    }

    /// Remembers that it does not see our folders.
    pub(crate) fn folder_refused(&self) {
        self.0.folder_refused.store(true, Ordering::Relaxed);
    }

    /// Whether archives that begin with the folder itself were not refused so far.
    pub(crate) fn takes_folders(&self) -> bool {
        !self.0.archive_refused.load(Ordering::Relaxed)
    }

    /// Remembers that it refuses them.
    pub(crate) fn folders_refused(&self) {
        self.0.archive_refused.store(true, Ordering::Relaxed);
    }

    /// Whether a bound for the root's writes was not refused so far.
    pub(crate) fn may_take_quota(&self) -> bool {
        !self.0.quota_refused.load(Ordering::Relaxed)
    }

    /// Remembers that it cannot bound the writes to a container's root.
    pub(crate) fn quota_refused(&self) {
        self.0.quota_refused.store(true, Ordering::Relaxed);
    }

    async fn facts(&self) -> Result<&Facts, SandboxError> {
        let learn = async {
            let info = self.docker().await?.info().await;
            let info = info.map_err(|error| failed(SandboxErrorCode::EngineFailed, "info", error))?;
            let security = info.security_options.unwrap_or_default();
            let maps = |option: &String| {
                ["name=rootless", "name=userns", "name=selinux"].iter().any(|name| option.contains(name))
            };
            let id = info.id.zip(info.docker_root_dir).map(|(id, root)| format!("{id} {root}"));
            Ok(Facts { id, plain_users: !security.iter().any(maps) })
        };
        // Boxed, because the call is large and every run holds this future.
        let learn = Box::pin(learn);
        self.0.facts.get_or_try_init(|| learn).await
    }

    fn answered_lately(&self) -> bool {
        let answered = self.0.answered.lock().unwrap_or_else(PoisonError::into_inner);
        answered.is_some_and(|at| at.elapsed() < REMEMBERED)
    }

    fn note_answer(&self) {
        *self.0.answered.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Endpoint {
    fn client(&self) -> Result<Docker, SandboxError> {
        let client = match self {
            Self::Unix(host) => Docker::connect_with_unix(host, REQUEST_TIMEOUT, API_DEFAULT_VERSION),
            Self::Http(host) => Docker::connect_with_http(host, REQUEST_TIMEOUT, API_DEFAULT_VERSION),
            Self::Tls { address, certificates } => Docker::connect_with_ssl(
                address,
                &certificates.join("key.pem"),
                &certificates.join("cert.pem"),
                &certificates.join("ca.pem"),
                REQUEST_TIMEOUT,
                API_DEFAULT_VERSION,
            ),
        };
        client.map_err(unreachable)
    }
}

/// The error of an operation that the engine refused or broke off: `DOCKER_UNREACHABLE` where it did not answer at all,
/// `code` otherwise.
pub(crate) fn failed(code: SandboxErrorCode, operation: &'static str, error: EngineError) -> SandboxError {
    let code = if is_unreachable(&error) { SandboxErrorCode::DockerUnreachable } else { code };
    SandboxError::new(code, message(&error)).during(operation).because(error)
}

/// The status of the engine's answer, where it gave one.
pub(crate) const fn status(error: &EngineError) -> Option<u16> {
    match error {
        EngineError::DockerResponseServerError { status_code, .. } => Some(*status_code),
        _ => None,
    }
}

/// Whether the failure is one of the connection, so that asking again may help.
pub(crate) const fn is_unreachable(error: &EngineError) -> bool {
    matches!(
        error,
        EngineError::HyperLegacyError { .. }
            | EngineError::HyperResponseError { .. }
            | EngineError::IOError { .. }
            | EngineError::RequestTimeoutError
            | EngineError::SocketNotFoundError(_)
    )
}

/// What the engine said, without the library's words around it; of a failed connection all causes.
pub(crate) fn message(error: &EngineError) -> String {
    match error {
        EngineError::DockerResponseServerError { message, .. } => message.clone(),
        EngineError::DockerStreamError { error } => error.clone(),
        EngineError::HyperLegacyError { err } => with_sources(err),
        EngineError::HyperResponseError { err } => with_sources(err),
        // Callers of a server are told this, too, and no path of it.
        EngineError::SocketNotFoundError(_) => "there is no such socket".to_owned(),
        other => other.to_string(),
    }
}

fn unreachable(error: EngineError) -> SandboxError {
    let text = format!("the container engine is not reachable: {}", message(&error));
    SandboxError::new(SandboxErrorCode::DockerUnreachable, text).during("ping").because(error)
}

fn silent(limit: Duration) -> SandboxError {
    let text = format!("the container engine did not answer within {} ms", limit.as_millis());
    SandboxError::new(SandboxErrorCode::DockerUnreachable, text).during("ping")
}

/// Whether an engine's address can be understood.
pub(crate) fn is_address(host: &str) -> bool {
    endpoint(host, None).is_ok()
}

fn endpoint(host: &str, certificates: Option<&Path>) -> Result<Endpoint, SandboxError> {
    match host.split_once("://") {
        Some(("unix", path)) if path.starts_with('/') => Ok(Endpoint::Unix(host.to_owned())),
        Some(("tcp" | "http" | "https", address)) if !address.is_empty() => Ok(match certificates {
            Some(folder) => {
                Endpoint::Tls { address: format!("tcp://{address}"), certificates: folder.to_owned() }
            }
            None => Endpoint::Http(format!("tcp://{address}")),
        }),
        Some(_) | None => Err(SandboxError::invalid("docker_host", Options::DOCKER_HOST)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_an_address_and_an_address_behind_tls_are_told_apart() {
        assert_eq!(
            endpoint("unix:///run/d.sock", None).unwrap(),
            Endpoint::Unix("unix:///run/d.sock".into())
        );
        assert_eq!(
            endpoint("tcp://127.0.0.1:2375", None).unwrap(),
            Endpoint::Http("tcp://127.0.0.1:2375".into())
        );
        assert_eq!(
            endpoint("tcp://127.0.0.1:2376", Some(Path::new("/certs"))).unwrap(),
            Endpoint::Tls { address: "tcp://127.0.0.1:2376".into(), certificates: "/certs".into() }
        );
    }

    #[test]
    fn an_address_that_is_none_is_refused_before_anything_runs() {
        for host in ["", "docker", "unix://", "unix://relative", "tcp://", "ftp://x", "ssh://x"] {
            assert_eq!(endpoint(host, None).unwrap_err().code(), SandboxErrorCode::InvalidRequest, "{host}");
        }
    }

    #[test]
    fn a_refusal_has_the_callers_code_and_a_silence_its_own() {
        let refused = EngineError::DockerResponseServerError { status_code: 409, message: "in use".into() };
        assert_eq!(status(&refused), Some(409));
        let refused = failed(SandboxErrorCode::EngineFailed, "kill", refused);
        assert_eq!((refused.code(), refused.message()), (SandboxErrorCode::EngineFailed, "in use"));
        let silent = failed(SandboxErrorCode::EngineFailed, "kill", EngineError::RequestTimeoutError);
        assert_eq!((silent.code(), silent.docker_op()), (SandboxErrorCode::DockerUnreachable, Some("kill")));
    }
}
