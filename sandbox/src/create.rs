//! From a request to the body of the engine's create call. Nothing here does anything: the walls of a container are values
//! that a test can read.
//!
//! [`Spec::of`] checks a request against what the sandbox grants; [`Spec::body`] writes down the container. What is always
//! so cannot be said in a request: no capability but the few of [`Request::CAPABILITIES`], no new privileges, the engine's
//! own system call filter, no swap, an init that passes signals on, and no mount but the workdir and `/tmp`.

mod check;

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use bollard::models::{
    ContainerCreateBody, DeviceRequest, HealthConfig, HostConfig, HostConfigCgroupnsModeEnum,
    HostConfigLogConfig, Mount, MountBindOptions, MountBindOptionsPropagationEnum, MountType,
    MountVolumeOptions, MountVolumeOptionsDriverConfig, ResourcesUlimits,
};

use crate::files::Owner;
use crate::state::RunId;
use crate::{Command, ContainerRuntime, Options, Request, SandboxError};

pub(crate) const LABEL_RUN: &str = "light-runner.run-id";
pub(crate) const LABEL_OWNER: &str = "light-runner.owner";
pub(crate) const LABEL_DETACHED: &str = "light-runner.detached";

const DEFAULT_WORKDIR: &str = "/app";
pub(crate) const TMP: &str = "/tmp";
/// Files, sockets and pipes that a process may have open. An engine cannot give more than it may have itself.
const OPEN_FILES: i64 = 16_384;
/// The kernel takes memory from a run before it takes it from the machine's own programs.
const OOM_SCORE: i64 = 500;
/// Bytes and number of the files that the engine keeps of a detached run's output.
const LOG_FILE: &str = "16m";
const LOG_FILES: &str = "2";

/// A checked request: every value is one that the engine can be given.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Spec {
    pub(crate) image: String,
    pub(crate) command: Command,
    /// `NAME=value`.
    pub(crate) env: Vec<String>,
    /// Absolute, without `.`, `..` or a slash at its end.
    pub(crate) workdir: String,
    pub(crate) user: User,
    pub(crate) network: Network,
    pub(crate) limits: Limits,
    /// None: as long as it takes.
    pub(crate) timeout: Option<Duration>,
    /// Files are given for the workdir; without, it has what the image has there.
    pub(crate) seeded: bool,
    pub(crate) stdin: bool,
    pub(crate) detached: bool,
    pub(crate) writable_root: bool,
    pub(crate) capabilities: Vec<String>,
    pub(crate) runtime: ContainerRuntime,
    pub(crate) gpus: Option<DeviceRequest>,
    /// Something is to be taken out of `/tmp`, which must then outlive the process.
    pub(crate) keeps_tmp: bool,
}

/// Who the process is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) text: String,
    pub(crate) is_root: bool,
    pub(crate) owner: Owner,
}

/// Where it may speak to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Network {
    /// Outside, and no other container.
    Isolated,
    /// Nowhere.
    None,
    /// Networks that exist; the first is the primary one.
    Named(Vec<String>),
}

/// What it may use. Bytes, billionths of a core, processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) memory: i64,
    pub(crate) nano_cpus: i64,
    pub(crate) pids: i64,
    pub(crate) disk: i64,
    pub(crate) tmp: i64,
}

/// What is known only when the container is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Making<'a> {
    pub(crate) id: &'a RunId,
    pub(crate) owner: &'a str,
    /// The request's image, or the cached one on top of it.
    pub(crate) image: &'a str,
    /// Of [`Network`], as the engine knows the primary one.
    pub(crate) network: &'a str,
    pub(crate) place: Place<'a>,
    /// The engine knows private control groups.
    pub(crate) private_cgroup: bool,
    /// The engine may be able to bound the writes to the root.
    pub(crate) quota: bool,
}

/// Where the workdir's files are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// In volumes that go with the container.
    Volume,
    /// In folders of this machine.
    Shared {
        workdir: &'a Path,
        tmp: Option<&'a Path>,
        /// The engine is to copy the image's files of the workdir into it.
        brings_files: bool,
    },
}

impl Spec {
    /// Checks a request.
    ///
    /// # Errors
    /// `INVALID_REQUEST` with the field's name.
    pub(crate) fn of(request: &Request, options: &Options) -> Result<Self, SandboxError> {
        if request.detached && request.input.is_some() {
            return Err(SandboxError::invalid("input", "none: input is not supported with detached"));
        }
        let workdir = check::workdir(request.workdir.as_deref().unwrap_or(DEFAULT_WORKDIR))?;
        let user = check::user(request.user.as_deref())?;
        Ok(Self {
            image: check::image(&request.image)?,
            command: check::command(&request.command)?,
            env: check::env(&request.env)?,
            network: check::networks(&request.networks)?,
            limits: check::limits(&request.limits, options)?,
            timeout: Some(request.timeout.unwrap_or(options.timeout)).filter(|timeout| !timeout.is_zero()),
            seeded: request.seed.is_some(),
            stdin: request.input.is_some(),
            detached: request.detached,
            writable_root: request.writable_root,
            capabilities: check::capabilities(&request.capabilities, &user)?,
            runtime: options.runtime,
            gpus: check::gpus(options.gpus.as_deref())?,
            keeps_tmp: request.extract.iter().any(|entry| check::lies_in_tmp(&entry.from, &workdir)),
            workdir,
            user,
        })
    }

    /// The container, as the engine's create call takes it.
    pub(crate) fn body(&self, making: &Making<'_>) -> ContainerCreateBody {
        let (entrypoint, cmd) = self.words();
        ContainerCreateBody {
            image: Some(making.image.to_owned()),
            user: Some(self.user.text.clone()),
            working_dir: Some(self.workdir.clone()),
            env: Some(self.env.clone()),
            entrypoint,
            cmd,
            tty: Some(false),
            open_stdin: Some(self.stdin),
            stdin_once: Some(self.stdin),
            attach_stdin: Some(self.stdin),
            attach_stdout: Some(!self.detached),
            attach_stderr: Some(!self.detached),
            // The image's own would run processes beside the one that was asked for.
            healthcheck: Some(HealthConfig {
                test: Some(vec!["NONE".to_owned()]),
                ..HealthConfig::default()
            }),
            labels: Some(self.labels(making)),
            host_config: Some(self.host(making)),
            ..ContainerCreateBody::default()
        }
    }

    fn words(&self) -> (Option<Vec<String>>, Option<Vec<String>>) {
        match &self.command {
            Command::Image => (None, None),
            Command::Shell(line) => (Some(vec!["sh".to_owned()]), Some(vec!["-c".to_owned(), line.clone()])),
            Command::Argv(words) => {
                let (program, arguments) = words.split_at(words.len().min(1));
                (Some(program.to_vec()), Some(arguments.to_vec()))
            }
        }
    }

    fn labels(&self, making: &Making<'_>) -> HashMap<String, String> {
        let label = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        HashMap::from([
            label(LABEL_RUN, making.id.as_str()),
            label(LABEL_OWNER, making.owner),
            label(LABEL_DETACHED, if self.detached { "true" } else { "false" }),
        ])
    }

    fn host(&self, making: &Making<'_>) -> HostConfig {
        let limits = &self.limits;
        HostConfig {
            memory: Some(limits.memory),
            // Memory and swap together: the same number means no swap.
            memory_swap: Some(limits.memory),
            nano_cpus: Some(limits.nano_cpus),
            pids_limit: Some(limits.pids),
            ulimits: Some(vec![
                ulimit("nofile", OPEN_FILES),
                ulimit("core", 0),
                ulimit("fsize", limits.disk),
            ]),
            oom_score_adj: Some(OOM_SCORE),
            cap_drop: Some(vec!["ALL".to_owned()]),
            cap_add: Some(self.capabilities.clone()).filter(|added| !added.is_empty()),
            security_opt: Some(vec!["no-new-privileges".to_owned()]),
            readonly_rootfs: Some(!self.writable_root),
            storage_opt: self.quota(making),
            init: Some(true),
            auto_remove: Some(false),
            ipc_mode: Some("private".to_owned()),
            shm_size: Some(limits.tmp),
            cgroupns_mode: making.private_cgroup.then_some(HostConfigCgroupnsModeEnum::PRIVATE),
            network_mode: Some(making.network.to_owned()),
            runtime: runtime(self.runtime).map(str::to_owned),
            device_requests: self.gpus.clone().map(|gpus| vec![gpus]),
            log_config: Some(self.log()),
            mounts: Some(self.mounts(making.place)),
            tmpfs: self.tmpfs(),
            ..HostConfig::default()
        }
    }

    fn quota(&self, making: &Making<'_>) -> Option<HashMap<String, String>> {
        (self.writable_root && making.quota)
            .then(|| HashMap::from([("size".to_owned(), self.limits.disk.to_string())]))
    }

    /// The output of an attached run goes past the engine's files, that of a detached one waits in them.
    fn log(&self) -> HostConfigLogConfig {
        if !self.detached {
            return HostConfigLogConfig { typ: Some("none".to_owned()), config: None };
        }
        let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let config = HashMap::from([option("max-size", LOG_FILE), option("max-file", LOG_FILES)]);
        HostConfigLogConfig { typ: Some("local".to_owned()), config: Some(config) }
    }

    fn mounts(&self, place: Place<'_>) -> Vec<Mount> {
        let kept = (self.keeps_tmp && self.workdir != TMP).then_some(TMP);
        let (workdir, tmp) = match place {
            Place::Volume => {
                (volume(&self.workdir, None, self.seeded), kept.map(|target| volume(target, None, true)))
            }
            Place::Shared { workdir, brings_files: true, .. } => {
                (volume(&self.workdir, Some(workdir), false), self.shared_tmp(place, kept))
            }
            Place::Shared { workdir, .. } => (bind(workdir, &self.workdir), self.shared_tmp(place, kept)),
        };
        [Some(workdir), tmp].into_iter().flatten().collect()
    }

    fn shared_tmp(&self, place: Place<'_>, kept: Option<&str>) -> Option<Mount> {
        match place {
            Place::Shared { tmp, .. } => kept.zip(tmp).map(|(target, source)| bind(source, target)),
            Place::Volume => None,
        }
    }

    fn tmpfs(&self) -> Option<HashMap<String, String>> {
        let options = format!("rw,exec,nosuid,nodev,mode=1777,size={}", self.limits.tmp);
        (!self.keeps_tmp && self.workdir != TMP).then(|| HashMap::from([(TMP.to_owned(), options)]))
    }
}

/// A volume that goes with the container. One over a folder of this machine gets what the image has at `target`, as any
/// empty volume does, which a bind would hide.
fn volume(target: &str, folder: Option<&Path>, empty: bool) -> Mount {
    let option = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    let driver_config = folder.map(|folder| MountVolumeOptionsDriverConfig {
        name: Some("local".to_owned()),
        options: Some(HashMap::from([
            option("type", "none"),
            option("o", "bind"),
            option("device", &folder.to_string_lossy()),
        ])),
    });
    Mount {
        typ: Some(MountType::VOLUME),
        target: Some(target.to_owned()),
        volume_options: Some(MountVolumeOptions {
            no_copy: Some(empty),
            driver_config,
            ..MountVolumeOptions::default()
        }),
        ..Mount::default()
    }
}

fn bind(source: &Path, target: &str) -> Mount {
    Mount {
        typ: Some(MountType::BIND),
        source: Some(source.to_string_lossy().into_owned()),
        target: Some(target.to_owned()),
        bind_options: Some(MountBindOptions {
            propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
            ..MountBindOptions::default()
        }),
        ..Mount::default()
    }
}

fn ulimit(name: &str, most: i64) -> ResourcesUlimits {
    ResourcesUlimits { name: Some(name.to_owned()), soft: Some(most), hard: Some(most) }
}

const fn runtime(runtime: ContainerRuntime) -> Option<&'static str> {
    match runtime {
        ContainerRuntime::Runc => None,
        ContainerRuntime::Runsc => Some("runsc"),
        ContainerRuntime::Kata => Some("kata"),
    }
}

#[cfg(test)]
mod tests;
