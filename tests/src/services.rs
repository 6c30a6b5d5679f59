//! The shared servers, as `cargo xtask test` has started them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

/// Names the file that says which servers run; `cargo xtask test` sets it.
const SERVICES: &str = "SEMILAYER_TEST_SERVICES";

#[derive(Debug, Deserialize)]
struct Services {
    #[serde(default)]
    xtask: PathBuf,
    tls: Tls,
    servers: Vec<Server>,
}

/// Certificates of the test services.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// Where they are; `server.crt` and `server.key` too.
    pub folder: PathBuf,
    /// Signed the servers and the client.
    pub ca: PathBuf,
    /// Signed none of them.
    pub other_ca: PathBuf,
    /// The client's certificate.
    pub client_cert: PathBuf,
    /// The client's key.
    pub client_key: PathBuf,
}

/// A running server.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// `postgres`, `mysql`, …
    pub service: String,
    /// A loopback address.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Where its programs are; none for a container.
    pub bin_dir: Option<PathBuf>,
    /// The account that its programs must run as, where it is not the caller's own.
    pub run_as: Option<String>,
    /// By role.
    pub users: BTreeMap<String, User>,
    /// Of a Docker engine alone.
    pub engine: Option<EngineFacts>,
}

/// What containers can be run of, and in what.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineFacts {
    /// For clients: `unix:///…`.
    pub docker_host: String,
    /// The newest interface that it speaks.
    pub api: String,
    /// Those in which a container has been run.
    pub runtimes: Vec<String>,
}

/// Somebody whom the server knows.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    /// The name.
    pub name: String,
    /// The password; a certificate without.
    pub password: Option<String>,
    /// Everything to connect with.
    #[serde(default)]
    pub url: String,
}

fn services() -> Services {
    let path = std::env::var_os(SERVICES).unwrap_or_else(|| {
        panic!("{SERVICES} is not set: run `cargo xtask test`, or `eval \"$(cargo xtask services env)\"`")
    });
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// A server of a test's own, started from packages by the program that started the shared ones, and described by the
/// file `state.json` in `folder`: `verb` is what `cargo xtask services` is to do with it.
pub fn own(folder: &Path, verb: &[&str]) -> std::process::Output {
    let mut command = std::process::Command::new(services().xtask);
    command.arg("services").args(verb).arg("--folder").arg(folder);
    command.output().unwrap()
}

/// The only server in a test's own folder, and its process id.
pub fn in_folder(folder: &Path) -> (Server, u32) {
    let text = fs::read(folder.join("state.json")).unwrap();
    let state: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let pid = state["servers"][0]["origin"]["pid"].as_u64().unwrap();
    let mut services: Services = serde_json::from_slice(&text).unwrap();
    (services.servers.remove(0), u32::try_from(pid).unwrap())
}

/// The certificates.
pub fn tls() -> Tls {
    services().tls
}

impl Server {
    /// The shared server of a service, in the version that is preferred.
    pub fn shared(service: &str) -> Self {
        Self::running(service)
            .unwrap_or_else(|| panic!("no {service} runs: `cargo xtask services up` starts it"))
    }

    /// The same where it has been started.
    pub fn running(service: &str) -> Option<Self> {
        services().servers.into_iter().find(|server| server.service == service)
    }

    /// One of its users, by role.
    pub fn user(&self, role: &str) -> &User {
        &self.users[role]
    }

    /// One of its programs: from its own folder, or from the path.
    pub fn client(&self, name: &str) -> PathBuf {
        self.bin_dir.as_ref().map_or_else(|| name.into(), |folder| folder.join(name))
    }
}
