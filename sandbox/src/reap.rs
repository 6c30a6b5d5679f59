//! Clears away what nobody answers for: containers, states, folders, volumes, cached images.
//!
//! What may be done to a container is decided by [`fate`], which touches nothing. A container of a living process is never
//! touched, whatever it looks like; one whose owner is unknown here (another folder of states, an older program) only when
//! it does not run and is old.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use bollard::Docker;
use bollard::models::{ContainerSummary, ContainerSummaryStateEnum as State};
use bollard::query_parameters::{
    ListContainersOptionsBuilder, ListVolumesOptionsBuilder, RemoveVolumeOptionsBuilder,
};
use jiff::Timestamp;
use tokio::time::timeout;

use crate::create::{LABEL_DETACHED, LABEL_OWNER, LABEL_RUN};
use crate::files;
use crate::sandbox::Core;
use crate::state::{RunId, RunState, RunStatus};
use crate::{Maintenance, SandboxError, SandboxErrorCode, adopt, engine, supervise};

/// How old a detached container of an unknown process must be: somebody may want to ask how it ended.
const DETACHED_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long an image of `run` is kept after its last use.
const CACHE_AGE: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long the engine may take for one call: a sweep has no need to wait for what a run would wait for.
const CALL: Duration = Duration::from_secs(10);
/// How long it may take to remove one container: longer than it is tried, so that it is known why it was not.
const REMOVAL: Duration = Duration::from_secs(30).saturating_add(CALL);
/// How long all may take; what is left is for the next sweep.
const SWEEP: Duration = Duration::from_secs(120);

/// A container with our label.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// The engine's own name for it: a run may have a second one.
    container: String,
    id: RunId,
    owner: Option<String>,
    detached: bool,
    /// It was not started, or has ended.
    is_still: bool,
    /// Since it was made; of one that is still and of an unknown process, since it ended.
    age: Duration,
}

/// Who answers for a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answering {
    /// A task of this process.
    Here,
    /// This process did, and no task of it does any more.
    Lost,
    /// Whoever holds its claim: who took it over, or makes it.
    Claimed,
    /// Another process.
    Elsewhere,
    /// A process that is gone.
    Dead,
    /// A process that this folder of states has never heard of.
    Unknown,
}

/// What is to become of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Keep,
    TakeOver,
    Remove,
}

pub(crate) async fn maintain(core: &Arc<Core>) -> Maintenance {
    let mut done = Maintenance::default();
    core.pool.bury_dead(core);
    match core.engine.ready().await {
        Ok(docker) => {
            let docker = docker.with_timeout(CALL);
            if timeout(SWEEP, at_the_engine(core, &docker, &mut done)).await.is_err() {
                tracing::warn!(?SWEEP, "the engine takes too long, the rest is left to the next sweep");
            }
        }
        Err(error) => {
            let engine = core.engine.address();
            tracing::warn!(engine, %error, "no container engine answers, and runs fail until one does");
        }
    }
    done.states_evicted = noted("states", core.store.evict(core.options.state_budget)).unwrap_or(0);
    done
}

async fn at_the_engine(core: &Arc<Core>, docker: &Docker, done: &mut Maintenance) {
    let Some(states) = noted("states", core.store.list()) else { return };
    let states: HashMap<RunId, RunState> = states
        .into_iter()
        .filter(|state| state.status == RunStatus::Running)
        .map(|state| (state.id.clone(), state))
        .collect();
    let Some(found) = noted("containers", containers(docker).await) else { return };
    let mut present: HashSet<RunId> = found.iter().map(|found| found.id.clone()).collect();
    let mut owners: HashSet<String> = states.values().filter_map(|state| state.owner.clone()).collect();
    for mut found in found {
        let has_state = states.contains_key(&found.id);
        let answering = answering(core, &found, has_state);
        if answering == Answering::Unknown && found.is_still {
            found.age = stillness(docker, &found).await;
        }
        match fate(&found, answering, has_state, core.options.reap_age) {
            Fate::Keep => {}
            Fate::TakeOver => drop(adopt::attach(core, &found.id, None)),
            Fate::Remove => match remove(docker, &found.container).await {
                Ok(()) => {
                    present.remove(&found.id);
                    done.containers += 1;
                    continue;
                }
                Err(error) => {
                    tracing::warn!(container = found.container, %error, "not removed");
                    if error.code() == SandboxErrorCode::DockerUnreachable {
                        // Each of the others would be waited for as long.
                        return;
                    }
                }
            },
        }
        // Without its lock, the next sweep would not know the owner of what is left.
        owners.extend(found.owner);
    }
    if let Some(here) = noted("the engine's name", core.engine.id().await) {
        let here = states.values().filter(|state| state.is_at(here.as_deref()));
        done.reconciled = reconcile(core, here, &present).await;
    }
    folders(core, &present).await;
    done.volumes = noted("volumes", volumes(docker, core.options.reap_age).await).unwrap_or(0);
    done.cache_images = noted("cached images", core.cache.cleanup(docker, CACHE_AGE).await).unwrap_or(0);
    done.dangling_images = noted("dangling images", core.cache.remove_dangling(docker).await).unwrap_or(0);
    core.owners.forget_dead(&|name| owners.contains(name));
}

/// States that say running while nobody answers for them and no container is there.
async fn reconcile(core: &Core, states: impl Iterator<Item = &RunState>, present: &HashSet<RunId>) -> u64 {
    let mut reconciled = 0;
    for state in states {
        let owner = state.owner.as_deref();
        let is_ours = owner == Some(core.owner.name());
        let is_answered =
            core.live(&state.id).is_some() || (!is_ours && core.owners.answers(owner, &state.id));
        if is_answered || present.contains(&state.id) {
            continue;
        }
        files::clear_stages(state.id.as_str(), &state.extract, &[]).await;
        let text = "its container is gone, and nobody has seen its end";
        let failed = SandboxError::new(SandboxErrorCode::RunNotFound, text);
        let change = |state: &mut RunState| {
            if state.status == RunStatus::Running {
                state.conclude(&state.noted().ok_or_else(|| Arc::new(failed)));
            }
        };
        reconciled += u64::from(noted("state", core.store.update(&state.id, change)).is_some());
    }
    reconciled
}

/// Folders of runs that nobody answers for, that no state says to be running and that have no container.
async fn folders(core: &Core, present: &HashSet<RunId>) {
    let state_dir = &core.options.state_dir;
    let found = files::leftovers(state_dir)
        .map_err(|error| SandboxError::new(SandboxErrorCode::StateFailed, error.to_string()).because(error));
    for (id, made) in noted("folders", found).unwrap_or_default() {
        let is_old = made.elapsed().is_ok_and(|age| age >= core.options.reap_age);
        let is_wanted = match core.store.get(&id) {
            Ok(Some(state)) => state.status == RunStatus::Running,
            // One that is to wait for a run has no container yet; it is claimed until it waits.
            Ok(None) => !is_old || core.owners.answers(None, &id) || core.pool.has(&id),
            Err(_) => true,
        };
        if is_wanted || core.live(&id).is_some() || present.contains(&id) {
            continue;
        }
        if let Err(error) = files::remove_leftover(state_dir, &id).await {
            tracing::warn!(run = %id, %error, "the folder of a run was not removed");
        }
    }
}

/// Fails with `DOCKER_UNREACHABLE` only where the engine answers nothing else either.
async fn remove(docker: &Docker, container: &str) -> Result<(), SandboxError> {
    if let Ok(removed) = timeout(REMOVAL, supervise::remove(docker, container)).await {
        return removed;
    }
    let there = docker.ping().await;
    there.map_err(|error| engine::failed(SandboxErrorCode::EngineFailed, "ping", error))?;
    let text = format!("it was not removed within {} s", REMOVAL.as_secs());
    Err(SandboxError::new(SandboxErrorCode::EngineFailed, text).during("removeContainer"))
}

async fn containers(docker: &Docker) -> Result<Vec<Found>, SandboxError> {
    let filters = HashMap::from([("label".to_owned(), vec![LABEL_RUN.to_owned()])]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let listed = docker.list_containers(Some(options)).await;
    let listed =
        listed.map_err(|error| engine::failed(SandboxErrorCode::EngineFailed, "listContainers", error))?;
    Ok(listed.into_iter().filter_map(found).collect())
}

/// A label can be anybody's: what has no id of ours in it is nothing of ours.
fn found(container: ContainerSummary) -> Option<Found> {
    let labels = container.labels.unwrap_or_default();
    let label = |name: &str| labels.get(name).cloned();
    Some(Found {
        container: container.id?,
        id: label(LABEL_RUN)?.parse().ok()?,
        owner: label(LABEL_OWNER),
        detached: label(LABEL_DETACHED).is_some_and(|detached| detached == "true"),
        is_still: matches!(container.state?, State::CREATED | State::EXITED | State::DEAD),
        age: age(Timestamp::from_second(container.created?).ok()),
    })
}

fn answering(core: &Core, found: &Found, has_state: bool) -> Answering {
    let owner = found.owner.as_deref();
    // In this order: what is claimed while it is made is in the pool before the claim is given back, and who is taken out
    // of the pool is entered as a run before.
    if core.owners.answers(None, &found.id) {
        Answering::Claimed
    } else if core.pool.has(&found.id) || core.live(&found.id).is_some() {
        Answering::Here
    } else if owner == Some(core.owner.name()) {
        Answering::Lost
    } else if core.owners.answers(owner, &found.id) {
        Answering::Elsewhere
    } else if has_state || owner.is_some_and(|owner| core.owners.knows(owner)) {
        Answering::Dead
    } else {
        Answering::Unknown
    }
}

fn fate(found: &Found, answering: Answering, has_state: bool, reap_age: Duration) -> Fate {
    let is_old = found.age >= reap_age;
    match answering {
        Answering::Here | Answering::Claimed | Answering::Elsewhere => Fate::Keep,
        Answering::Dead | Answering::Lost if found.detached && has_state => Fate::TakeOver,
        Answering::Dead => Fate::Remove,
        Answering::Lost if is_old => Fate::Remove,
        Answering::Unknown if found.detached && found.age < DETACHED_AGE => Fate::Keep,
        Answering::Unknown if is_old && found.is_still => Fate::Remove,
        Answering::Lost | Answering::Unknown => Fate::Keep,
    }
}

/// How long a container has been still: it may have run for long before. Nothing where that cannot be told.
async fn stillness(docker: &Docker, found: &Found) -> Duration {
    let Ok(container) = docker.inspect_container(&found.container, None).await else { return Duration::ZERO };
    let state = container.state.as_ref();
    if supervise::never_ran(state) {
        return found.age;
    }
    // Of a process that runs again no end is taken for one.
    let ended = supervise::record(&container).and(state).and_then(|state| state.finished_at.as_deref());
    age(ended.and_then(|ended| ended.parse().ok()))
}

/// Volumes with our label or, of an older program, our name, that no container has.
async fn volumes(docker: &Docker, reap_age: Duration) -> Result<u64, SandboxError> {
    let failed = |error| engine::failed(SandboxErrorCode::EngineFailed, "listVolumes", error);
    let filters = HashMap::from([("dangling".to_owned(), vec!["true".to_owned()])]);
    let options = ListVolumesOptionsBuilder::default().filters(&filters).build();
    let listed = docker.list_volumes(Some(options)).await.map_err(failed)?;
    let mut removed = 0;
    for volume in listed.volumes.unwrap_or_default() {
        let is_ours = volume.labels.contains_key(LABEL_RUN) || volume.name.parse::<RunId>().is_ok();
        let created = volume.created_at.as_deref().and_then(|created| created.parse().ok());
        if is_ours && age(created) >= reap_age && is_plain(&volume.name) {
            let options = RemoveVolumeOptionsBuilder::default().build();
            removed += u64::from(docker.remove_volume(&volume.name, Some(options)).await.is_ok());
        }
    }
    Ok(removed)
}

/// The name stands in a path.
fn is_plain(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// What has no time is as young as can be.
fn age(created: Option<Timestamp>) -> Duration {
    let age = created.map(|created| Timestamp::now().duration_since(created));
    age.and_then(|age| Duration::try_from(age).ok()).unwrap_or_default()
}

/// One step's failure does not keep the others from being done.
fn noted<T>(what: &str, result: Result<T, SandboxError>) -> Option<T> {
    result.inspect_err(|error| tracing::warn!(what, %error, "not cleared up")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const REAP_AGE: Duration = Duration::from_secs(300);

    fn container(detached: bool, is_still: bool, age: u64) -> Found {
        Found {
            container: String::new(),
            id: RunId::new(),
            owner: None,
            detached,
            is_still,
            age: Duration::from_secs(age),
        }
    }

    #[test]
    fn what_a_living_process_answers_for_is_never_touched() {
        for answering in [Answering::Here, Answering::Claimed, Answering::Elsewhere] {
            for (detached, is_still) in [(true, true), (true, false), (false, true), (false, false)] {
                let old = container(detached, is_still, 1_000_000);
                assert_eq!(fate(&old, answering, true, REAP_AGE), Fate::Keep);
            }
        }
    }

    #[test]
    fn of_a_dead_process_attached_runs_go_at_once_and_detached_ones_are_taken_over() {
        assert_eq!(fate(&container(false, false, 0), Answering::Dead, true, REAP_AGE), Fate::Remove);
        assert_eq!(fate(&container(true, false, 0), Answering::Dead, true, REAP_AGE), Fate::TakeOver);
        assert_eq!(fate(&container(true, true, 0), Answering::Dead, true, REAP_AGE), Fate::TakeOver);
        assert_eq!(fate(&container(true, true, 0), Answering::Dead, false, REAP_AGE), Fate::Remove);
    }

    #[test]
    fn of_an_unknown_process_only_what_is_old_and_does_not_run_goes() {
        let of = |is_still, age| fate(&container(false, is_still, age), Answering::Unknown, false, REAP_AGE);
        assert_eq!(of(true, 300), Fate::Remove);
        assert_eq!(of(true, 299), Fate::Keep);
        assert_eq!(of(false, 1_000_000), Fate::Keep);
    }

    #[test]
    fn of_an_unknown_process_a_detached_run_is_kept_for_a_week() {
        let of = |age| fate(&container(true, true, age), Answering::Unknown, false, REAP_AGE);
        assert_eq!(of(DETACHED_AGE.as_secs() - 1), Fate::Keep);
        assert_eq!(of(DETACHED_AGE.as_secs()), Fate::Remove);
    }

    #[test]
    fn a_detached_run_whose_task_was_lost_is_taken_over() {
        assert_eq!(fate(&container(true, false, 0), Answering::Lost, true, REAP_AGE), Fate::TakeOver);
        assert_eq!(fate(&container(false, false, 0), Answering::Lost, true, REAP_AGE), Fate::Keep);
        assert_eq!(fate(&container(false, false, 300), Answering::Lost, true, REAP_AGE), Fate::Remove);
    }

    #[test]
    fn a_container_without_an_id_of_ours_is_not_ours() {
        let labels = HashMap::from([(LABEL_RUN.to_owned(), "../../etc".to_owned())]);
        let summary = ContainerSummary {
            id: Some("0".to_owned()),
            labels: Some(labels),
            state: Some(State::EXITED),
            created: Some(0),
            ..ContainerSummary::default()
        };
        assert_eq!(found(summary), None);
    }
}
