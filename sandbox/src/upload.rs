//! Puts the files of a run into its container's volumes, before the process starts.
//!
//! A volume is root's when it is made, and the process is not root. Engines up to some version take the folder itself from
//! the archive; newer ones refuse its name. For those a second container, which is never started and whose root can be
//! written, has the same volumes for the one moment in which the folder's owner is set through it.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::models::{ContainerCreateBody, HostConfig, Mount, MountType, MountVolumeOptions};
use bollard::query_parameters::{RemoveContainerOptionsBuilder, UploadToContainerOptionsBuilder};
use bytes::Bytes;
use futures::Stream;
use futures::stream;

use crate::create::{LABEL_OWNER, LABEL_RUN, Spec, TMP};
use crate::engine::{self, Engine};
use crate::files;
use crate::request::Seed;
use crate::state::RunId;
use crate::{SandboxError, SandboxErrorCode};

/// How long it may take.
const LIMIT: Duration = Duration::from_secs(3600);

/// What is to be put, and where.
pub(crate) struct Upload<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) id: &'a RunId,
    /// The name of this process's lock.
    pub(crate) owner: &'a str,
    pub(crate) image: &'a str,
    pub(crate) spec: &'a Spec,
    pub(crate) seed: Option<&'a Seed>,
    pub(crate) ignored: &'a [String],
}

impl Upload<'_> {
    /// Folders and files in the same archives; false where the engine takes none such.
    ///
    /// # Errors
    /// `SEED_FAILED`, `DOCKER_UNREACHABLE`.
    pub(crate) async fn at_once(&self, docker: &Docker) -> Result<bool, SandboxError> {
        if !self.engine.takes_folders() {
            return Ok(false);
        }
        match self.put_folders(docker).await {
            Ok(()) => Ok(true),
            Err(error) if engine::message(&error).contains("invalid entry name") => {
                self.engine.folders_refused();
                Ok(false)
            }
            Err(error) => Err(self.failed(error)),
        }
    }

    /// Gives the folders of the volumes to the run, through a container whose root can be written. Not to be left half-way:
    /// that container would stay.
    ///
    /// # Errors
    /// `SEED_FAILED`, `DOCKER_UNREACHABLE`.
    pub(crate) async fn own(&self, docker: &Docker) -> Result<(), SandboxError> {
        let container = docker.inspect_container(self.id.as_str(), None).await;
        let container = container.map_err(|error| self.failed(error))?;
        let volumes: Vec<(String, String)> = container
            .mounts
            .unwrap_or_default()
            .into_iter()
            .filter_map(|mount| mount.name.zip(mount.destination))
            .filter(|(_, target)| self.is_ours(target))
            .collect();
        let made = docker.create_container(None, self.second(&volumes)).await;
        let second = made.map_err(|error| self.failed(error))?.id;
        let mut owned = Ok(());
        for (_, target) in &volumes {
            if owned.is_ok() {
                owned = self.own_folder(docker, &second, Path::new(target)).await;
            }
        }
        // Its volumes are the run's, and stay.
        let options = RemoveContainerOptionsBuilder::default().force(true).build();
        let removed = docker.remove_container(&second, Some(options)).await;
        owned.and(removed).map_err(|error| self.failed(error))
    }

    /// The files alone.
    ///
    /// # Errors
    /// `SEED_FAILED`, `DOCKER_UNREACHABLE`.
    pub(crate) async fn within(&self, docker: &Docker) -> Result<(), SandboxError> {
        let Some(seed) = self.seed else { return Ok(()) };
        let archive = files::archive_within(seed.clone(), self.ignored.to_vec(), self.spec.user.owner);
        let docker = patient(docker);
        let put = put(&docker, self.id.as_str(), &self.spec.workdir, archive);
        put.await.map_err(|error| self.failed(error))
    }

    async fn put_folders(&self, docker: &Docker) -> Result<(), EngineError> {
        let (id, workdir) = (self.id.as_str(), self.spec.workdir.as_str());
        let ignored = self.ignored.to_vec();
        let archive =
            files::archive_of(self.seed.cloned(), ignored, self.spec.user.owner, Path::new(workdir));
        put(&patient(docker), id, workdir, archive).await?;
        if self.spec.keeps_tmp {
            put(docker, id, TMP, stream::iter([files::archive_of_tmp(Path::new(TMP))])).await?;
        }
        Ok(())
    }

    async fn own_folder(&self, docker: &Docker, second: &str, target: &Path) -> Result<(), EngineError> {
        let above = target.parent().unwrap_or(Path::new("/")).to_string_lossy();
        let folder = files::archive_of_folder(target, self.spec.user.owner);
        put(docker, second, &above, stream::iter([folder])).await
    }

    fn is_ours(&self, target: &str) -> bool {
        target == self.spec.workdir || (self.spec.keeps_tmp && target == TMP)
    }

    /// Never started.
    fn second(&self, volumes: &[(String, String)]) -> ContainerCreateBody {
        let mount = |(name, target): &(String, String)| Mount {
            typ: Some(MountType::VOLUME),
            source: Some(name.clone()),
            target: Some(target.clone()),
            volume_options: Some(MountVolumeOptions { no_copy: Some(true), ..MountVolumeOptions::default() }),
            ..Mount::default()
        };
        let label = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let labels = [label(LABEL_RUN, self.id.as_str()), label(LABEL_OWNER, self.owner)];
        ContainerCreateBody {
            image: Some(self.image.to_owned()),
            entrypoint: Some(vec!["none".to_owned()]),
            // The engine makes the way to the folder.
            working_dir: Some(self.spec.workdir.clone()),
            labels: Some(HashMap::from(labels)),
            host_config: Some(HostConfig {
                mounts: Some(volumes.iter().map(mount).collect()),
                network_mode: Some("none".to_owned()),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    fn failed(&self, error: EngineError) -> SandboxError {
        engine::failed(SandboxErrorCode::SeedFailed, "seed", error).of_container(self.id.as_str())
    }
}

/// The engine answers when it has all files.
fn patient(docker: &Docker) -> Docker {
    docker.clone().with_timeout(LIMIT)
}

async fn put(
    docker: &Docker,
    container: &str,
    path: &str,
    archive: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
) -> Result<(), EngineError> {
    let options = UploadToContainerOptionsBuilder::default().path(path).build();
    docker.upload_to_container(container, Some(options), bollard::body_try_stream(archive)).await
}
