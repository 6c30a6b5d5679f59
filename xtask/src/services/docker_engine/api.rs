//! As much of the engine's interface as it takes to fill it with images and to see what runs in it.

use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use crate::error::Error;
use crate::services::http::{self, Question};
use crate::services::site::encoded;
use crate::services::state::Server;

const ASK_LIMIT: Duration = Duration::from_secs(10);
/// For a registry that is reached and slow, and for a hundred megabytes to be unpacked on a busy disk.
const IMAGE_LIMIT: Duration = Duration::from_mins(3);
/// A sandbox that does not work is seen by its not ending.
const CONTAINER_LIMIT: Duration = Duration::from_secs(30);

const SCHEME: &str = "unix://";

/// An engine at a unix socket.
pub(super) struct Api {
    socket: PathBuf,
}

/// What an engine says of itself.
pub(super) struct Version {
    pub(super) engine: String,
    /// `1.41`: the newest interface that it speaks.
    pub(super) api: String,
}

impl Api {
    pub(super) fn new(socket: PathBuf) -> Self {
        Api { socket }
    }

    pub(super) fn at(server: &Server) -> Result<Self, Error> {
        server.host.strip_prefix(SCHEME).map(|path| Api::new(path.into())).ok_or(Error::NothingRuns)
    }

    /// As in `DOCKER_HOST`.
    pub(super) fn docker_host(&self) -> String {
        format!("{SCHEME}{}", self.socket.display())
    }

    pub(super) fn version(&self) -> Result<Version, Error> {
        let answer = self.get("/version")?;
        let word = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
        let version = word("Version").zip(word("ApiVersion"));
        let (engine, api) = version.ok_or_else(|| self.unexpected("/version", answer.to_string()))?;
        Ok(Version { engine, api })
    }

    pub(super) fn get(&self, path: &str) -> Result<Value, Error> {
        let answer = self.ask("GET", path, "", ASK_LIMIT)?;
        serde_json::from_str(&answer).map_err(|_| self.unexpected(path, answer))
    }

    /// Pulls `image`, of the form `name:tag`.
    pub(super) fn pull(&self, image: &str) -> Result<(), Error> {
        let (name, tag) = image.split_once(':').unwrap_or((image, "latest"));
        let path = format!("/images/create?fromImage={}&tag={}", encoded(name), encoded(tag));
        self.ask("POST", &path, "", IMAGE_LIMIT)?;
        // The answer is 200 before the first byte is pulled: whether it came is seen by looking.
        self.get(&format!("/images/{image}/json")).map(drop)
    }

    /// Gives `image` the name `repository:latest` too.
    pub(super) fn tag(&self, image: &str, repository: &str) -> Result<(), Error> {
        let path = format!("/images/{image}/tag?repo={}&tag=latest", encoded(repository));
        self.ask("POST", &path, "", ASK_LIMIT).map(drop)
    }

    /// Makes `repository:latest` of a file system; `changes` are lines of a Dockerfile.
    pub(super) fn import(
        &self,
        repository: &str,
        changes: &[String],
        tar: &mut dyn Read,
        length: u64,
    ) -> Result<(), Error> {
        let changes: String = changes.iter().map(|line| format!("&changes={}", encoded(line))).collect();
        let path = format!("/images/create?fromSrc=-&repo={}&tag=latest{changes}", encoded(repository));
        let question =
            Question { method: "POST", path: &path, headers: &[("Content-Type", "application/x-tar")] };
        let answer = self.send(&question, tar, length, IMAGE_LIMIT)?;
        if answer.contains("errorDetail") { Err(self.unexpected(&path, answer)) } else { Ok(()) }
    }

    /// Runs `true` in a container and removes it, whatever came of it.
    pub(super) fn runs_a_container(&self, image: &str, runtime: &str) -> Result<(), Error> {
        let container = json!({
            "Image": image,
            "Cmd": ["true"],
            "HostConfig": {"Runtime": runtime, "NetworkMode": "none"},
        });
        let answer = self.ask("POST", "/containers/create", &container.to_string(), ASK_LIMIT)?;
        let answer: Value = serde_json::from_str(&answer).unwrap_or_default();
        let id = answer.get("Id").and_then(Value::as_str).unwrap_or_default();
        let ran = self.run_to_the_end(id);
        self.ask("DELETE", &format!("/containers/{id}?force=1&v=1"), "", CONTAINER_LIMIT)?;
        ran
    }

    fn run_to_the_end(&self, id: &str) -> Result<(), Error> {
        self.ask("POST", &format!("/containers/{id}/start"), "", CONTAINER_LIMIT)?;
        let answer = self.ask("POST", &format!("/containers/{id}/wait"), "", CONTAINER_LIMIT)?;
        let end: Value = serde_json::from_str(&answer).unwrap_or_default();
        let exited = end.get("StatusCode").and_then(Value::as_i64) == Some(0);
        if exited { Ok(()) } else { Err(self.unexpected("a container", answer)) }
    }

    fn ask(&self, method: &str, path: &str, body: &str, limit: Duration) -> Result<String, Error> {
        let question = Question { method, path, headers: &[("Content-Type", "application/json")] };
        self.send(&question, &mut body.as_bytes(), body.len() as u64, limit)
    }

    fn send(
        &self,
        question: &Question<'_>,
        body: &mut dyn Read,
        length: u64,
        limit: Duration,
    ) -> Result<String, Error> {
        let what = || format!("the engine at {}", self.socket.display());
        let failed = |source| Error::Start { what: what(), source };
        let stream = UnixStream::connect(&self.socket).map_err(failed)?;
        stream.set_read_timeout(Some(limit)).map_err(failed)?;
        stream.set_write_timeout(Some(limit)).map_err(failed)?;
        http::exchange(stream, question, body, length)
            .map_err(failed)?
            .map_err(|found| self.unexpected(question.path, found))
    }

    fn unexpected(&self, path: &str, found: String) -> Error {
        Error::Unexpected { what: format!("{} ({path})", self.docker_host()), found }
    }
}
