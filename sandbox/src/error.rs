//! The one error of this crate: a stable code, the engine's operation where one failed, and the container.
//!
//! A run that ends with a non-zero exit code, is cancelled or takes too long is not an error: see
//! [`Outcome`](crate::Outcome).

use std::error::Error;
use std::fmt;

use serde::Serialize;

/// Why a run could not be had, as callers and scripts know it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SandboxErrorCode {
    /// A field of the request or an option is wrong; nothing was made.
    InvalidRequest,
    /// A step of `run` cannot stand in a Dockerfile.
    InvalidRunStep,
    /// The engine does not answer, or not in time.
    DockerUnreachable,
    /// The volume of the workdir could not be made.
    VolumeCreateFailed,
    /// The files could not be put into the container.
    SeedFailed,
    /// Create or start failed: image missing and not to be pulled, unknown runtime, entrypoint not found.
    ContainerStartFailed,
    /// A network does not exist or could not be joined.
    NetworkConnectFailed,
    /// Reading results from the container failed as a whole; a single entry's failure is in its status.
    ExtractFailed,
    /// A step of `run` failed, or the build itself.
    BuildFailed,
    /// Another operation of the engine failed.
    EngineFailed,
    /// The folder of run states cannot be read or written.
    StateFailed,
    /// No such run.
    RunNotFound,
    /// The run has ended already.
    RunEnded,
    /// No more runs are taken: as many as may run do, or the program is about to stop.
    Busy,
}

impl SandboxErrorCode {
    /// The code as text, e.g. `DOCKER_UNREACHABLE`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "INVALID_REQUEST",
            Self::InvalidRunStep => "INVALID_RUN_STEP",
            Self::DockerUnreachable => "DOCKER_UNREACHABLE",
            Self::VolumeCreateFailed => "VOLUME_CREATE_FAILED",
            Self::SeedFailed => "SEED_FAILED",
            Self::ContainerStartFailed => "CONTAINER_START_FAILED",
            Self::NetworkConnectFailed => "NETWORK_CONNECT_FAILED",
            Self::ExtractFailed => "EXTRACT_FAILED",
            Self::BuildFailed => "BUILD_FAILED",
            Self::EngineFailed => "ENGINE_FAILED",
            Self::StateFailed => "STATE_FAILED",
            Self::RunNotFound => "RUN_NOT_FOUND",
            Self::RunEnded => "RUN_ENDED",
            Self::Busy => "BUSY",
        }
    }
}

impl fmt::Display for SandboxErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failure of the sandbox. Its JSON form is `{name, code, message, field?, dockerOp?, containerId?}`.
#[derive(Debug)]
pub struct SandboxError {
    code: SandboxErrorCode,
    message: String,
    field: Option<String>,
    docker_op: Option<&'static str>,
    container_id: Option<String>,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl SandboxError {
    /// An error with a code and what a person should know.
    pub fn new(code: SandboxErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), field: None, docker_op: None, container_id: None, source: None }
    }

    /// A wrong field of a request: which one, and what was expected instead.
    pub fn invalid(field: impl Into<String>, expected: impl fmt::Display) -> Self {
        let field = field.into();
        let message = format!("{field}: expected {expected}");
        Self { field: Some(field), ..Self::new(SandboxErrorCode::InvalidRequest, message) }
    }

    /// With the engine's operation that failed, e.g. `createContainer`.
    #[must_use]
    pub fn during(self, docker_op: &'static str) -> Self {
        Self { docker_op: Some(docker_op), ..self }
    }

    /// With the container that it happened to.
    #[must_use]
    pub fn of_container(self, id: impl Into<String>) -> Self {
        Self { container_id: Some(id.into()), ..self }
    }

    /// With what it came from.
    #[must_use]
    pub fn because(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The stable code.
    pub const fn code(&self) -> SandboxErrorCode {
        self.code
    }

    /// What a person should know, without the code.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The wrong field, of [`SandboxErrorCode::InvalidRequest`].
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// The operation that failed: `ping`, `createVolume`, `seed`, `createContainer`, `start`, `connectNetwork`,
    /// `extract`, `build`, `pull`, `wait`, `kill`, `pause`, `unpause`, ..
    pub const fn docker_op(&self) -> Option<&'static str> {
        self.docker_op
    }

    /// The container, where there was one.
    pub fn container_id(&self) -> Option<&str> {
        self.container_id.as_deref()
    }
}

impl fmt::Display for SandboxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for SandboxError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}

impl Serialize for SandboxError {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Json<'a> {
            name: &'static str,
            code: SandboxErrorCode,
            message: &'a str,
            #[serde(skip_serializing_if = "Option::is_none")]
            field: Option<&'a str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            docker_op: Option<&'static str>,
            #[serde(skip_serializing_if = "Option::is_none")]
            container_id: Option<&'a str>,
        }
        Json {
            name: "LightRunnerError",
            code: self.code,
            message: &self.message,
            field: self.field(),
            docker_op: self.docker_op,
            container_id: self.container_id(),
        }
        .serialize(serializer)
    }
}
