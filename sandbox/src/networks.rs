//! Networks of the engine: the isolated one of every run, and those that callers make.
//!
//! The engine knows networks by id and allows several of one name, which then cannot be used by it. So a network is looked
//! up among all of its name, made only where there is none, and used by its id; where two were made at once the older
//! stays, and who made the younger removes it. A network is listed when it is done, so that who is done first may not see
//! that the other's is older: of the isolated one such doubles are [settled](Isolated::settle) when a container cannot start.

mod spec;

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use bollard::Docker;
use bollard::models::{Network, NetworkConnectRequest, NetworkCreateRequest};
use bollard::query_parameters::{ListContainersOptionsBuilder, ListNetworksOptionsBuilder};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::engine::{failed, message, status};
use crate::{SandboxError, SandboxErrorCode};

pub(crate) use spec::ISOLATED;

/// A network to make.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NetworkSpec {
    /// 1 to 100 bytes, as the engine allows them.
    pub name: String,
    /// `bridge`, which is also the default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<String>,
    /// Whether its containers reach one another; they do not unless this is true.
    #[serde(default)]
    pub icc_enabled: bool,
    /// Refuses a name that is taken, which is otherwise no error.
    #[serde(default)]
    pub exclusive: bool,
    /// Labels beside our own.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Addresses; the engine chooses without.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipam: Option<Ipam>,
}

/// Addresses of a network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ipam {
    /// CIDR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subnet: Option<String>,
    /// An address in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<String>,
    /// CIDR within `subnet`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ip_range: Option<String>,
}

/// What became of a network that was to be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Removed,
    /// There was none.
    Absent,
    /// Containers are in it.
    InUse,
}

/// The network of runs that ask for none: it reaches the outside, and its containers do not reach one another.
#[derive(Debug, Default)]
pub(crate) struct Isolated {
    /// Held while it is made: one at a time in this process.
    making: Mutex<()>,
}

impl Isolated {
    /// Its id; it is made where there is none.
    ///
    /// # Errors
    /// `NETWORK_CONNECT_FAILED` where it cannot be made, or where a network of its name lets containers reach one another.
    pub(crate) async fn ensure(&self, docker: &Docker) -> Result<String, SandboxError> {
        let existing = match oldest_of(docker, ISOLATED).await? {
            Some(network) => Some(network),
            None => {
                let _one_at_a_time = self.making.lock().await;
                match oldest_of(docker, ISOLATED).await? {
                    Some(network) => Some(network),
                    None => make(docker, &spec::isolated()).await.map_err(of_run)?,
                }
            }
        };
        match existing {
            Some(network) if spec::separates(&network) => Ok(network.id.unwrap_or_default()),
            Some(_) => Err(of_run(unseparated(ISOLATED))),
            None => {
                Err(of_run(SandboxError::new(SandboxErrorCode::EngineFailed, "the isolated network is gone")))
            }
        }
    }

    /// Leaves one of those of ours that have its name: the oldest, unless another has containers. While there are several
    /// no container enters any of them, and those that were made for another one enter the one that is left.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    pub(crate) async fn settle(&self, docker: &Docker) -> Result<(), SandboxError> {
        let mut ours = all_of(docker, ISOLATED).await.map_err(of_run)?;
        ours.retain(spec::is_own);
        ours.sort_by_key(|network| (created(network), network.id.clone()));
        let Some((oldest, younger)) = ours.split_first() else { return Ok(()) };
        let mut is_used = false;
        for network in younger {
            is_used |= remove_by_id(docker, network).await.map_err(of_run)? == Removal::InUse;
        }
        if is_used {
            remove_by_id(docker, oldest).await.map_err(of_run)?;
        }
        // Another process may have thought that the other one is used.
        self.ensure(docker).await.map(drop)
    }
}

/// Whether all networks that a run names are there, so that it fails before anything is made.
///
/// # Errors
/// `NETWORK_CONNECT_FAILED` for one that is not there, that several have the name of, or that is the machine's own.
pub(crate) async fn check(docker: &Docker, names: &[String]) -> Result<(), SandboxError> {
    for name in names {
        spec::reference(name).map_err(of_run)?;
        let network = docker.inspect_network(name, None).await.map_err(|error| match status(&error) {
            Some(404) => missing(name),
            Some(_) | None => failed(SandboxErrorCode::NetworkConnectFailed, "inspectNetwork", error),
        })?;
        match network.driver.as_deref() {
            Some("host") => return Err(of_run(refused(name, "it is the network of the machine itself"))),
            Some("null") if names.len() > 1 => {
                return Err(of_run(refused(name, "a run without a network cannot have another")));
            }
            Some(_) | None => {}
        }
    }
    Ok(())
}

/// Makes a network; true where it is there afterwards. Engines that look for the name before they make it let two of one
/// name be made at the same time: `making` is held meanwhile, one at a time in this process.
///
/// # Errors
/// `INVALID_REQUEST` for a wrong spec, for a name that is taken where it must not be, or by a network that does not
/// separate its containers where they must be; `ENGINE_FAILED`.
#[tracing::instrument(name = "network.create", skip_all, fields(lightrunner.network.name = spec.name))]
pub(crate) async fn create(
    docker: &Docker,
    spec: &NetworkSpec,
    making: &Mutex<()>,
) -> Result<bool, SandboxError> {
    let request = spec::request(spec)?;
    if is_there(docker, spec).await? {
        return Ok(true);
    }
    let _one_at_a_time = making.lock().await;
    Ok(is_there(docker, spec).await? || made(docker, spec, &request).await?)
}

/// Whether the network is there, and may be taken for the one that is wanted.
async fn is_there(docker: &Docker, spec: &NetworkSpec) -> Result<bool, SandboxError> {
    match oldest_of(docker, &spec.name).await? {
        Some(_) if spec.exclusive => Err(SandboxError::invalid("name", "a name that no network has")),
        Some(network) if !spec.icc_enabled && !spec::separates(&network) => Err(unseparated(&spec.name)),
        found => Ok(found.is_some()),
    }
}

/// Whether a network of exactly this name exists.
///
/// # Errors
/// `INVALID_REQUEST`, `ENGINE_FAILED`.
#[tracing::instrument(name = "network.exists", skip_all, fields(lightrunner.network.name = name))]
pub(crate) async fn exists(docker: &Docker, name: &str) -> Result<bool, SandboxError> {
    spec::reference(name)?;
    Ok(oldest_of(docker, name).await?.is_some())
}

/// The id of the network of exactly this name that was made by [`create`]. None where there is no such network.
///
/// # Errors
/// `INVALID_REQUEST`, `ENGINE_FAILED`.
pub(crate) async fn own(docker: &Docker, name: &str) -> Result<Option<String>, SandboxError> {
    spec::reference(name)?;
    let own = all_of(docker, name).await?.into_iter().filter(spec::is_own);
    Ok(own.min_by_key(|network| (created(network), network.id.clone())).and_then(|network| network.id))
}

/// Removes the networks of exactly this name.
///
/// # Errors
/// `INVALID_REQUEST`, also for the engine's own networks; `ENGINE_FAILED`.
#[tracing::instrument(name = "network.delete", skip_all, fields(lightrunner.network.name = name))]
pub(crate) async fn remove(docker: &Docker, name: &str) -> Result<Removal, SandboxError> {
    spec::name(name)?;
    let mut removal = Removal::Absent;
    for network in all_of(docker, name).await? {
        removal = match remove_by_id(docker, &network).await? {
            Removal::InUse => return Ok(Removal::InUse),
            Removal::Removed => Removal::Removed,
            Removal::Absent => removal,
        };
    }
    Ok(removal)
}

/// Lets a container that has not started join a further network.
///
/// # Errors
/// `NETWORK_CONNECT_FAILED`.
#[tracing::instrument(name = "network.connect", skip_all, fields(lightrunner.network.name = name))]
pub(crate) async fn connect(docker: &Docker, name: &str, container: &str) -> Result<(), SandboxError> {
    let member =
        NetworkConnectRequest { container: container.to_owned(), ..NetworkConnectRequest::default() };
    let connected = docker.connect_network(name, member).await;
    connected.map_err(|error| {
        failed(SandboxErrorCode::NetworkConnectFailed, "connectNetwork", error).of_container(container)
    })
}

/// Removes networks whose name begins with `prefix`, that are older than `age` and that no container is in or about to
/// enter. The isolated one stays; further ones of its name go.
///
/// # Errors
/// `INVALID_REQUEST` for an empty prefix, `ENGINE_FAILED`.
#[tracing::instrument(name = "network.cleanup", skip_all, fields(lightrunner.network.prefix = prefix))]
pub(crate) async fn cleanup(docker: &Docker, prefix: &str, age: Duration) -> Result<u64, SandboxError> {
    spec::prefix(prefix)?;
    let isolated = oldest_of(docker, ISOLATED).await?.and_then(|network| network.id);
    let mut removed = 0;
    for network in named(docker, prefix, |name| name.starts_with(prefix)).await? {
        if network.id != isolated && is_older(&network, age) && !has_members(docker, &network).await? {
            removed += u64::from(remove_by_id(docker, &network).await? == Removal::Removed);
        }
    }
    Ok(removed)
}

/// Whether an engine did not start a container because several networks have the name of its own.
pub(crate) fn is_ambiguous(error: &bollard::errors::Error) -> bool {
    message(error).contains("is ambiguous")
}

async fn made(
    docker: &Docker,
    spec: &NetworkSpec,
    request: &NetworkCreateRequest,
) -> Result<bool, SandboxError> {
    match make(docker, request).await? {
        Some(_) => Ok(true),
        None if spec.exclusive => Err(SandboxError::invalid("name", "a name that no network has")),
        None => Ok(oldest_of(docker, &spec.name).await?.is_some()),
    }
}

/// Makes a network, and answers the one that the name then has: ours unless another was made at the same time.
async fn make(docker: &Docker, request: &NetworkCreateRequest) -> Result<Option<Network>, SandboxError> {
    let ours = match create_checked(docker, request).await {
        Ok(id) => id,
        Err(error) if status(&error) == Some(409) => return oldest_of(docker, &request.name).await,
        Err(error) if matches!(status(&error), Some(400 | 403)) => {
            return Err(refused(&request.name, &message(&error)).because(error));
        }
        Err(error) => return Err(engine_failed("createNetwork", error)),
    };
    let oldest = oldest_of(docker, &request.name).await?;
    if let Some(oldest) = &oldest
        && oldest.id.as_ref() != Some(&ours)
    {
        let ours = Network { id: Some(ours), ..Network::default() };
        remove_by_id(docker, &ours).await?;
    }
    Ok(oldest)
}

/// The engine looks for a network of the name only when it is asked to, by a field that newer ones have no more: they
/// always look. The client knows the newer form alone.
async fn create_checked(
    docker: &Docker,
    request: &NetworkCreateRequest,
) -> Result<String, bollard::errors::Error> {
    let mut checked = serde_json::to_value(request)?;
    if let Some(fields) = checked.as_object_mut() {
        fields.insert("CheckDuplicate".to_owned(), true.into());
    }
    let body = bytes::Bytes::from(checked.to_string());
    let docker = docker.clone().with_request_modifier(move |mut request| {
        *request.body_mut() = bollard::body_full(body.clone());
        request
    });
    Ok(docker.create_network(request.clone()).await?.id)
}

async fn oldest_of(docker: &Docker, name: &str) -> Result<Option<Network>, SandboxError> {
    let networks = all_of(docker, name).await?;
    Ok(networks.into_iter().max_by_key(|network| (Reverse(created(network)), Reverse(network.id.clone()))))
}

async fn all_of(docker: &Docker, name: &str) -> Result<Vec<Network>, SandboxError> {
    named(docker, name, |found| found == name).await
}

/// The engine's own filter takes any network that has the text in its name.
async fn named(
    docker: &Docker,
    text: &str,
    fits: impl Fn(&str) -> bool,
) -> Result<Vec<Network>, SandboxError> {
    let filters = HashMap::from([("name", vec![text])]);
    let options = ListNetworksOptionsBuilder::new().filters(&filters).build();
    let networks = docker.list_networks(Some(options)).await;
    let networks = networks.map_err(|error| engine_failed("listNetworks", error))?;
    let fits = |network: &Network| {
        network.name.as_deref().is_some_and(|name| fits(name) && !spec::is_reserved(name))
    };
    Ok(networks.into_iter().filter(fits).collect())
}

async fn has_members(docker: &Docker, network: &Network) -> Result<bool, SandboxError> {
    let id = network.id.as_deref().unwrap_or_default();
    let states = vec!["created", "restarting", "running", "paused"];
    let filters = HashMap::from([("network", vec![id]), ("status", states)]);
    let options = ListContainersOptionsBuilder::new().all(true).limit(1).filters(&filters).build();
    let members = docker.list_containers(Some(options)).await;
    Ok(!members.map_err(|error| engine_failed("listContainers", error))?.is_empty())
}

async fn remove_by_id(docker: &Docker, network: &Network) -> Result<Removal, SandboxError> {
    let Some(id) = &network.id else { return Ok(Removal::Absent) };
    match docker.remove_network(id).await {
        Ok(()) => Ok(Removal::Removed),
        Err(error) if status(&error) == Some(404) => Ok(Removal::Absent),
        Err(error) if matches!(status(&error), Some(403 | 409)) => Ok(Removal::InUse),
        Err(error) => Err(engine_failed("removeNetwork", error)),
    }
}

/// One without a time is taken for the youngest.
fn created(network: &Network) -> Timestamp {
    network.created.as_deref().and_then(|text| text.parse().ok()).unwrap_or(Timestamp::MAX)
}

fn is_older(network: &Network, age: Duration) -> bool {
    let since = Timestamp::now().duration_since(created(network));
    Duration::try_from(since).is_ok_and(|since| since >= age)
}

fn engine_failed(operation: &'static str, error: bollard::errors::Error) -> SandboxError {
    failed(SandboxErrorCode::EngineFailed, operation, error)
}

fn missing(name: &str) -> SandboxError {
    let text = format!("there is no network {name}");
    SandboxError::new(SandboxErrorCode::NetworkConnectFailed, text).during("inspectNetwork")
}

fn refused(name: &str, why: &str) -> SandboxError {
    SandboxError::invalid("name", format!("another network than {name}: {why}"))
}

fn unseparated(name: &str) -> SandboxError {
    refused(name, "it is there already, and lets its containers reach one another")
}

/// The same failure as one of a run that wanted the network.
fn of_run(error: SandboxError) -> SandboxError {
    if error.code() == SandboxErrorCode::DockerUnreachable {
        return error;
    }
    let text = error.message().to_owned();
    SandboxError::new(SandboxErrorCode::NetworkConnectFailed, text).during("ensureNetwork").because(error)
}
