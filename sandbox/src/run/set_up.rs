//! The making of a run's container: image, folder, network, create, files.

use std::collections::HashSet;
use std::io;
use std::sync::{Mutex, PoisonError};

use bollard::Docker;
use bollard::errors::Error as EngineError;
use bollard::query_parameters::{CreateContainerOptionsBuilder, CreateImageOptionsBuilder};
use futures::StreamExt as _;
use tokio::time::timeout;
use tracing::{Instrument as _, info_span};

use super::{Belongings, Halt, Run, give_back_folder};
use crate::create::{Making, Network, Place};
use crate::files::Staged;
use crate::reference::Reference;
use crate::upload::Upload;
use crate::{SandboxError, SandboxErrorCode, Transfer, engine, networks};

/// How many images [`Bare`] remembers.
const REMEMBERED: usize = 1024;

/// Images that were seen to have nothing where a workdir is. Their containers need no volume that the engine would copy
/// the image's files into: a folder is enough, and is made and removed sooner.
#[derive(Debug, Default)]
pub(crate) struct Bare(Mutex<HashSet<(String, String)>>);

impl Bare {
    fn has(&self, image: &str, workdir: &str) -> bool {
        self.lock().contains(&(image.to_owned(), workdir.to_owned()))
    }

    fn note(&self, image: &str, workdir: &str) {
        let mut known = self.lock();
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert((image.to_owned(), workdir.to_owned()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashSet<(String, String)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a container is made of.
#[derive(Debug, Clone, Copy)]
struct Source<'a> {
    image: &'a str,
    /// The engine is to copy the image's files of the workdir into the run's folder.
    brings_files: bool,
}

impl Run {
    pub(super) async fn set_up(&self, belongings: &mut Belongings) -> Result<Docker, Halt> {
        let docker = self.unless_cancelled(self.core.engine.ready()).await?;
        if self.spec.detached {
            self.note_engine().await?;
        }
        let image = self.image(&docker).await?;
        self.stage(belongings).await?;
        let wants_bare = belongings.staged.is_some() && !self.spec.seeded;
        let (network, exact) = tokio::join!(self.network(&docker), async {
            if wants_bare { exact(&docker, &image).await } else { None }
        });
        let workdir = self.spec.workdir.as_str();
        let is_bare = exact.as_deref().is_some_and(|exact| self.core.bare.has(exact, workdir));
        // By its id where much depends on which image it is: a tag can be moved meanwhile.
        let source = Source {
            image: exact.as_deref().filter(|_| is_bare).unwrap_or(&image),
            brings_files: wants_bare && !is_bare,
        };
        let span = info_span!("container.create", container.image = %self.spec.image);
        Box::pin(self.create(&docker, source, &network?, belongings)).instrument(span).await?;
        if let (true, Some(exact), Some(staged)) = (source.brings_files, &exact, &belongings.staged)
            && is_empty(staged)
        {
            self.core.bare.note(exact, workdir);
        }
        self.seed(&docker, source, belongings).await?;
        self.join_networks(&docker).await?;
        Ok(docker)
    }

    /// Who looks for the run later may be at another engine.
    async fn note_engine(&self) -> Result<(), Halt> {
        let engine = self.unless_cancelled(self.core.engine.id()).await?;
        let noted = self.core.store.update(&self.live.id, |state| state.engine = engine);
        noted.map(drop).map_err(Halt::Failed)
    }

    /// The image, or the cached one with the steps of `run` on top of it.
    async fn image(&self, docker: &Docker) -> Result<String, Halt> {
        if self.request.run.is_empty() {
            return Ok(self.spec.image.clone());
        }
        let span = info_span!("container.build_cache", lightrunner.run_steps = self.request.run.len());
        let built = self.core.cache.image_for(docker, &self.spec.image, &self.request.run);
        self.unless_cancelled(built.instrument(span)).await
    }

    /// Makes and fills the folder that the container is to share, where it may be tried.
    async fn stage(&self, belongings: &mut Belongings) -> Result<(), Halt> {
        let span = info_span!("container.create_volume");
        belongings.staged = self.make_folder().instrument(span).await?;
        self.fill(belongings).await
    }

    pub(super) async fn fill(&self, belongings: &Belongings) -> Result<(), Halt> {
        let (Some(staged), Some(seed)) = (&belongings.staged, self.files()) else { return Ok(()) };
        let ignored = self.core.options.seed_ignore.clone();
        let (owner, stop) = (self.spec.user.owner, self.live.kill_child());
        let filled = staged.fill(seed, ignored, owner, stop).instrument(info_span!("container.seed")).await;
        match filled {
            // Nothing is written any more.
            Err(_) if self.live.is_killed() => Err(Halt::Cancelled),
            filled => filled.map_err(|error| seed_failed(error).into()),
        }
    }

    async fn make_folder(&self) -> Result<Option<Staged>, Halt> {
        let must = match self.core.options.transfer {
            Transfer::Archive => return Ok(None),
            Transfer::Shared => true,
            Transfer::Auto => false,
        };
        let may = self.unless_cancelled(self.core.engine.may_share_folders()).await?;
        // The engine brings the image's files as root, and who is not root could not give the folder to the run again.
        let can = self.spec.seeded || rustix::process::geteuid().is_root();
        if !(must || may && can) {
            return Ok(None);
        }
        let (state_dir, owner) = (&self.core.options.state_dir, self.spec.user.owner);
        match Staged::create(state_dir, &self.live.id, owner, self.spec.keeps_tmp) {
            Ok(staged) => Ok(Some(staged)),
            Err(error) if !must && error.kind() == std::io::ErrorKind::PermissionDenied => Ok(None),
            Err(error) => {
                let text = format!("the folder of the run cannot be made: {error}");
                let failed = SandboxError::new(SandboxErrorCode::VolumeCreateFailed, text);
                Err(failed.during("createVolume").because(error).into())
            }
        }
    }

    /// The primary network, as the create call takes it.
    async fn network(&self, docker: &Docker) -> Result<String, Halt> {
        match &self.spec.network {
            Network::None => Ok("none".to_owned()),
            Network::Isolated => {
                let ensured = self.core.isolated.ensure(docker);
                let ensured = ensured.instrument(info_span!("container.network_ensure"));
                let id = self.unless_cancelled(ensured).await?;
                // Older engines let several networks have one name, and keep the name alone with a container. By its id it
                // would be lost with a double that has to go.
                Ok(if self.core.engine.knows(1, 44) { id } else { networks::ISOLATED.to_owned() })
            }
            Network::Named(names) => {
                self.unless_cancelled(networks::check(docker, names)).await?;
                Ok(names.first().cloned().unwrap_or_default())
            }
        }
    }

    async fn create(
        &self,
        docker: &Docker,
        source: Source<'_>,
        network: &str,
        belongings: &mut Belongings,
    ) -> Result<(), Halt> {
        let mut pulled = false;
        loop {
            self.check_cancelled()?;
            belongings.container = Some(docker.clone());
            let options = CreateContainerOptionsBuilder::default().name(self.live.id.as_str()).build();
            let body = self.spec.body(&self.making(source, network, belongings.staged.as_ref()));
            let Err(error) = docker.create_container(Some(options), body).await else { return Ok(()) };
            match Remedy::of(&error) {
                Some(Remedy::Pull) if !pulled => {
                    self.unless_cancelled(self.pull(docker, source.image)).await?;
                    pulled = true;
                }
                Some(Remedy::NoQuota) if self.core.engine.may_take_quota() => {
                    tracing::warn!("the engine cannot bound what a run writes to its root");
                    self.core.engine.quota_refused();
                }
                Some(Remedy::NoFolder)
                    if belongings.staged.is_some() && self.core.options.transfer == Transfer::Auto =>
                {
                    self.core.engine.folder_refused();
                    give_back_folder(belongings.staged.take()).await;
                }
                _ => return Err(self.not_started("createContainer", error).into()),
            }
        }
    }

    fn making<'a>(&'a self, source: Source<'a>, network: &'a str, staged: Option<&'a Staged>) -> Making<'a> {
        Making {
            id: &self.live.id,
            owner: self.core.owner.name(),
            image: source.image,
            network,
            place: staged.map_or(Place::Volume, |staged| Place::Shared {
                workdir: staged.workdir(),
                tmp: staged.tmp(),
                brings_files: source.brings_files,
            }),
            private_cgroup: self.core.engine.knows(1, 41),
            quota: self.core.engine.may_take_quota(),
        }
    }

    async fn pull(&self, docker: &Docker, image: &str) -> Result<(), SandboxError> {
        let reference = Reference::parse(image);
        let options =
            CreateImageOptionsBuilder::default().from_image(reference.name).tag(reference.version()).build();
        let limit = self.core.options.pull_timeout;
        let pulled = async {
            let mut progress = docker.create_image(Some(options), None, None);
            while let Some(step) = progress.next().await {
                step.map_err(|error| not_pulled(image, error))?;
            }
            Ok(())
        };
        let pulled = timeout(limit, pulled).await;
        let pulled =
            pulled.unwrap_or_else(|_| Err(no_image(image, &format!("not within {} s", limit.as_secs()))));
        pulled.map_err(|error| error.of_container(self.live.id.as_str()))
    }

    /// Puts the files into the container's own volumes, or gives the shared folder to the run again, which the engine may
    /// have taken for root while it brought the image's files.
    async fn seed(&self, docker: &Docker, source: Source<'_>, belongings: &Belongings) -> Result<(), Halt> {
        match &belongings.staged {
            Some(_) if !source.brings_files => return Ok(()),
            Some(staged) => {
                return staged.own(self.spec.user.owner).map_err(|error| seed_failed(error).into());
            }
            None => {}
        }
        let files = self.files();
        let upload = Upload {
            engine: &self.core.engine,
            id: &self.live.id,
            owner: self.core.owner.name(),
            image: source.image,
            spec: &self.spec,
            seed: files.as_ref(),
            ignored: &self.core.options.seed_ignore,
        };
        let put = async {
            if !self.unless_cancelled(upload.at_once(docker)).await? {
                upload.own(docker).await?;
                self.unless_cancelled(upload.within(docker)).await?;
            }
            Ok(())
        };
        put.instrument(info_span!("container.seed")).await
    }

    /// The primary one is in the create call; the engine would find out only at the start that another does not exist.
    async fn join_networks(&self, docker: &Docker) -> Result<(), Halt> {
        let Network::Named(names) = &self.spec.network else { return Ok(()) };
        let span = info_span!("container.network_connect");
        let join = async {
            for name in names.iter().skip(1) {
                networks::connect(docker, name, self.live.id.as_str()).await?;
            }
            Ok(())
        };
        self.unless_cancelled(join.instrument(span)).await
    }
}

/// What can be done about a refused create call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Remedy {
    /// The image is not there.
    Pull,
    /// The storage knows no bounds.
    NoQuota,
    /// The engine does not see our folders.
    NoFolder,
}

impl Remedy {
    fn of(error: &EngineError) -> Option<Self> {
        let said = engine::message(error).to_ascii_lowercase();
        if engine::status(error) == Some(404) && said.contains("no such image") {
            Some(Self::Pull)
        } else if said.contains("storage-opt") || said.contains("storage opt") {
            Some(Self::NoQuota)
        } else if said.contains("bind source path does not exist")
            || (said.contains("failed to mount local volume") && said.contains("no such file"))
        {
            Some(Self::NoFolder)
        } else {
            None
        }
    }
}

/// The id of an image that the engine has.
async fn exact(docker: &Docker, image: &str) -> Option<String> {
    docker.inspect_image(image).await.ok()?.id
}

/// Whether the image has brought nothing.
pub(crate) fn is_empty(staged: &Staged) -> bool {
    std::fs::read_dir(staged.workdir()).is_ok_and(|mut entries| entries.next().is_none())
}

fn not_pulled(image: &str, error: EngineError) -> SandboxError {
    let failed = engine::failed(SandboxErrorCode::ContainerStartFailed, "pull", error);
    if failed.code() == SandboxErrorCode::DockerUnreachable {
        return failed;
    }
    no_image(image, failed.message()).because(failed)
}

/// Names the image: the engine's own words often do not, and who asked for a run may have left it to the settings.
fn no_image(image: &str, why: &str) -> SandboxError {
    let text = format!(
        "the engine does not have the image {image} and could not pull it: {why}; pull or load it into the engine \
         beforehand, or name an image that it has"
    );
    SandboxError::new(SandboxErrorCode::ContainerStartFailed, text).during("pull")
}

fn seed_failed(error: io::Error) -> SandboxError {
    let text = format!("the files of the run cannot be written: {error}");
    SandboxError::new(SandboxErrorCode::SeedFailed, text).during("seed").because(error)
}
