//! What runs, as tests read it: one JSON file, named by `SEMILAYER_TEST_SERVICES`.
//!
//! The test crates read it with types of their own; names here are what they hold on to. Fields are only
//! ever added. Times, where any, are in milliseconds; paths are absolute.

use std::collections::BTreeMap;
use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::services::daemon::Process;

/// Part of the fingerprint: raised when a change here must replace running servers.
pub(crate) const FORMAT: u32 = 1;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct State {
    /// The fingerprint of what all servers have in common.
    pub(crate) recipe: String,
    /// The program that started the servers: by it a test can have servers of its own.
    #[serde(default)]
    pub(crate) xtask: PathBuf,
    pub(crate) tls: Tls,
    /// In the order of preference within one service.
    pub(crate) servers: Vec<Server>,
}

/// Certificates and keys, all PEM files. Keys are PKCS #8.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Tls {
    pub(crate) folder: PathBuf,
    /// Signed the servers (for `localhost`, 127.0.0.1 and ::1) and the client.
    pub(crate) ca: PathBuf,
    /// Signed none of them.
    pub(crate) other_ca: PathBuf,
    pub(crate) client_cert: PathBuf,
    pub(crate) client_key: PathBuf,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Server {
    /// `postgres`, `mysql`, ..: the names in `SERVICES`.
    pub(crate) service: String,
    /// The fingerprint of the recipe that this server was made from.
    #[serde(default)]
    pub(crate) recipe: String,
    /// As the server says it.
    pub(crate) version: String,
    /// The program behind it and its version, where it is not the one that the service is named after.
    #[serde(default)]
    pub(crate) stand_in: Option<String>,
    /// An address; of a Docker engine what `DOCKER_HOST` would be.
    pub(crate) host: String,
    /// 0 for a Docker engine.
    pub(crate) port: u16,
    /// Where TLS has a port of its own; otherwise `port` speaks it too.
    #[serde(default)]
    pub(crate) tls_port: Option<u16>,
    /// The database that `users` meet; `app` owns it.
    pub(crate) database: String,
    /// The folder of the unix socket; none for a container.
    pub(crate) socket_dir: Option<PathBuf>,
    /// The server's programs, for a test that needs a server of its own to hurt; none for a container.
    pub(crate) bin_dir: Option<PathBuf>,
    /// The account such a server must run as, where it is not the caller's own.
    pub(crate) run_as: Option<String>,
    pub(crate) origin: Origin,
    /// By role: what each may do is said where the service is set up.
    pub(crate) users: BTreeMap<String, User>,
    /// Of a Docker engine alone.
    #[serde(default)]
    pub(crate) engine: Option<Engine>,
}

/// What containers can be run of, and in what.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Engine {
    /// For clients: `unix:///..`.
    pub(crate) docker_host: String,
    /// The newest interface that it speaks, e.g. `1.41`.
    pub(crate) api: String,
    /// Those in which a container has been run, e.g. `runc`.
    pub(crate) runtimes: Vec<String>,
    /// Those for tests.
    pub(crate) images: Vec<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "kind")]
pub(crate) enum Origin {
    Native(Process),
    Docker {
        service: String,
        container: String,
    },
    /// It ran on this machine before, and is never stopped.
    Found,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct User {
    pub(crate) name: String,
    /// None where a certificate is the only way in.
    pub(crate) password: Option<String>,
    /// How the server asks for the password: its own word for it.
    pub(crate) auth: String,
    /// Everything to connect with, percent-encoded where it must be.
    pub(crate) url: String,
}

impl State {
    /// None where nothing was started.
    pub(crate) fn load(path: &Path) -> Result<Option<State>, Error> {
        match fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map(Some)
                .map_err(|source| Error::State { path: path.to_owned(), source }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(Error::io("read", path)(error)),
        }
    }

    pub(crate) fn save(&self, path: &Path) -> Result<(), Error> {
        let text = serde_json::to_vec_pretty(self)
            .map_err(|source| Error::State { path: path.to_owned(), source })?;
        replace_private(path, &text)
    }

    /// For tests and shells: the file's path and, for the preferred server of each service, the few facts
    /// that scripts want without reading JSON.
    pub(crate) fn variables(&self, path: &Path) -> Vec<(String, String)> {
        let mut variables = vec![
            ("SEMILAYER_TEST_SERVICES".to_owned(), path.display().to_string()),
            ("SEMILAYER_TEST_TLS_CA".to_owned(), self.tls.ca.display().to_string()),
        ];
        let mut seen: Vec<&str> = Vec::new();
        for server in &self.servers {
            if !seen.contains(&server.service.as_str()) {
                seen.push(&server.service);
                variables.extend(server.variables());
            }
        }
        variables
    }
}

impl Server {
    fn variables(&self) -> Vec<(String, String)> {
        let name =
            |what: &str| format!("SEMILAYER_TEST_{}_{what}", self.service.to_uppercase().replace('-', "_"));
        let mut variables = vec![(name("HOST"), self.host.clone()), (name("VERSION"), self.version.clone())];
        variables.extend((self.port > 0).then(|| (name("PORT"), self.port.to_string())));
        variables.extend(self.tls_port.map(|port| (name("TLS_PORT"), port.to_string())));
        variables.extend(self.users.get("app").map(|user| (name("URL"), user.url.clone())));
        variables.extend(self.socket_dir.iter().map(|dir| (name("SOCKET_DIR"), dir.display().to_string())));
        variables
    }
}

/// Replaces a file at once: a reader sees the old one or the new one.
pub(crate) fn replace_private(path: &Path, text: &[u8]) -> Result<(), Error> {
    let new = path.with_extension("new");
    write_private(&new, text)?;
    fs::rename(&new, path).map_err(Error::io("replace", path))
}

/// Writes a file that only its owner may read.
pub(crate) fn write_private(path: &Path, text: &[u8]) -> Result<(), Error> {
    let file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text)).map_err(Error::io("write", path))
}

/// One word for a POSIX shell, whatever is in it.
pub(crate) fn shell_quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_quoted_word_comes_out_of_a_shell_as_it_went_in() {
        for word in ["", "plain", "p!@/%:?#&+ '$HOME\"`id`\\", "line\nbreak"] {
            let script = format!("printf %s {}", shell_quoted(word));
            let output = Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), word);
        }
    }
}
