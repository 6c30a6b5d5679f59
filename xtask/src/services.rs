//! The real servers that tests meet: started once, kept between runs, described in a state file.
//!
//! [`SERVICES`] is the list. Each is started by a recipe for the machine's own packages, or by
//! `docker-compose.test.yml` where a Docker engine can pull; roles, settings and certificates are the same
//! either way, and the state file says which it was. A server that answers is kept; data is never older than
//! its server, because nothing is written to disk safely.

use std::path::PathBuf;

use crate::arguments::Choice;
use crate::error::Error;
use crate::services::folder::{Folder, InUse};
use crate::services::site::Site;
use crate::services::state::{Origin, Server, State};

mod account;
mod daemon;
mod docker;
mod folder;
mod packages;
mod postgres;
mod site;
mod state;
mod tls;

/// One kind of server: what is needed to start it and to ask whether it answers.
struct Service {
    /// In the state file and in variables.
    name: &'static str,
    /// For people.
    title: &'static str,
    /// The texts that decide what a new server is like; a server made from others is replaced.
    recipe: &'static [&'static str],
    /// Its services in `docker-compose.test.yml`, the preferred one first.
    compose: &'static [&'static str],
    /// The port it listens on in its container.
    port: u16,
    /// Starts one from the machine's packages and returns when it answers and is set up.
    start: fn(&Site) -> Result<Server, Error>,
    /// Sets up a new, healthy container and describes it.
    adopt: fn(&Site, docker::Container) -> Result<Server, Error>,
    /// Asks for the version; an error when it does not answer.
    version: fn(&Site, &Server) -> Result<String, Error>,
}

static SERVICES: &[Service] = &[postgres::SERVICE];

/// Starts what does not run.
pub(crate) fn up(choice: Choice) -> Result<(), Error> {
    let folder = Folder::open()?;
    let _lock = folder.lock()?;
    let state = ensure(&folder, choice)?;
    println!("state file: {}", folder.state_file().display());
    describe(&state);
    Ok(())
}

/// Stops what was started here.
pub(crate) fn down() -> Result<(), Error> {
    let folder = Folder::open()?;
    let _lock = folder.lock()?;
    let stopped = stop_everything(&folder)?;
    println!("{}", if stopped { "services stopped" } else { "no services ran" });
    Ok(())
}

/// Prints the state as lines for a shell.
pub(crate) fn env() -> Result<(), Error> {
    let folder = Folder::open()?;
    let state = State::load(&folder.state_file())?.ok_or(Error::NothingRuns)?;
    for (name, value) in state.variables(&folder.state_file()) {
        println!("export {name}={}", state::shell_quoted(&value));
    }
    Ok(())
}

/// Says what runs; an error unless every server answers.
pub(crate) fn status() -> Result<(), Error> {
    let folder = Folder::open()?;
    let state = State::load(&folder.state_file())?.ok_or(Error::NothingRuns)?;
    let site = Site::existing(&folder, &state);
    describe(&state);
    let silent: Vec<String> = state
        .servers
        .iter()
        .filter(|server| answer(&site, server).is_err())
        .map(|server| server.service.clone())
        .collect();
    if silent.is_empty() { Ok(()) } else { Err(Error::NotPassed { names: silent }) }
}

/// Running services, held for as long as tests use them.
pub(crate) struct Session {
    pub(crate) state: State,
    pub(crate) variables: Vec<(String, String)>,
    _in_use: InUse,
}

/// Starts what does not run and keeps others from stopping it until the session is dropped.
pub(crate) fn session() -> Result<Session, Error> {
    let folder = Folder::open()?;
    let _lock = folder.lock()?;
    let state = ensure(&folder, Choice::Automatic)?;
    // Taken before the lock is given back: nobody can stop the servers in between.
    let in_use = folder.use_servers()?;
    let variables = state.variables(&folder.state_file());
    Ok(Session { state, variables, _in_use: in_use })
}

/// Prints one line a server.
pub(crate) fn describe(state: &State) {
    for server in &state.servers {
        println!("{}", sentence(server));
    }
}

fn ensure(folder: &Folder, choice: Choice) -> Result<State, Error> {
    if let Some(state) = reusable(folder, choice) {
        println!("services: the running servers answer and are kept");
        return Ok(state);
    }
    // Decided before anything is stopped: a wish that cannot be met takes nothing away.
    let engine = engine(choice)?;
    stop_everything(folder)?;
    let site = Site::prepare(folder)?;
    let servers = match engine {
        Some(engine) => adopt_all(&site, &engine)?,
        None => SERVICES.iter().map(|service| (service.start)(&site)).collect::<Result<_, _>>()?,
    };
    let state = State { recipe: recipe(), tls: site.tls, servers };
    state.save(&folder.state_file())?;
    Ok(state)
}

/// The recorded servers, if they are what a new start would make and all of them answer.
fn reusable(folder: &Folder, choice: Choice) -> Option<State> {
    // A state file that cannot be read describes nothing that could be kept.
    let state = State::load(&folder.state_file()).ok().flatten()?;
    let wanted = |server: &Server| match (choice, &server.origin) {
        (Choice::Automatic, _)
        | (Choice::Native, Origin::Native(_))
        | (Choice::Docker, Origin::Docker { .. }) => true,
        (Choice::Native, Origin::Docker { .. }) | (Choice::Docker, Origin::Native(_)) => false,
    };
    let site = Site::existing(folder, &state);
    let good = state.recipe == recipe()
        && !state.servers.is_empty()
        && state.servers.iter().all(|server| wanted(server) && answer(&site, server).is_ok());
    good.then_some(state)
}

/// Decides once where all servers come from and says it in one line; none means the machine's packages.
fn engine(choice: Choice) -> Result<Option<docker::Engine>, Error> {
    let (engine, why) = match choice {
        Choice::Native => (None, "as asked".to_owned()),
        Choice::Docker => (Some(docker::Engine::find()?), "as asked".to_owned()),
        Choice::Automatic => match docker::Engine::find() {
            Ok(engine) => (Some(engine), "the Docker engine has the images".to_owned()),
            Err(error) => (None, error.to_string()),
        },
    };
    let what = if engine.is_some() { "docker-compose.test.yml" } else { "native packages" };
    println!("services: {what} ({why})");
    Ok(engine)
}

fn adopt_all(site: &Site, engine: &docker::Engine) -> Result<Vec<Server>, Error> {
    engine.start(site)?;
    let containers =
        SERVICES.iter().flat_map(|service| service.compose.iter().map(move |name| (service, name)));
    let adopted: Result<_, Error> = containers
        .map(|(service, name)| (service.adopt)(site, engine.container(site, name, service.port)?))
        .collect();
    if adopted.is_err() {
        // Without a state file nobody would find them again. The first error is the one to report.
        docker::stop(site).ok();
    }
    adopted
}

/// True when something ran.
fn stop_everything(folder: &Folder) -> Result<bool, Error> {
    let state = State::load(&folder.state_file()).ok().flatten();
    let daemons = daemon::Record::all(folder)?;
    if state.is_none() && daemons.is_empty() {
        return Ok(false);
    }
    let _alone = folder.no_users()?;
    for daemon in &daemons {
        daemon.stop()?;
    }
    if let Some(state) = &state
        && state.servers.iter().any(|server| matches!(server.origin, Origin::Docker { .. }))
    {
        docker::stop(&Site::existing(folder, state))?;
    }
    folder.forget_state()?;
    Ok(true)
}

fn answer(site: &Site, server: &Server) -> Result<String, Error> {
    if let Origin::Native(process) = &server.origin
        && !process.is_alive()
    {
        return Err(Error::NothingRuns);
    }
    let service = SERVICES.iter().find(|service| service.name == server.service).ok_or(Error::NothingRuns)?;
    (service.version)(site, server)
}

fn sentence(server: &Server) -> String {
    let title = SERVICES
        .iter()
        .find(|service| service.name == server.service)
        .map_or(server.service.as_str(), |service| service.title);
    let origin = match &server.origin {
        Origin::Native(process) => format!("process {}", process.pid),
        Origin::Docker { service, .. } => format!("container of {service}"),
    };
    format!("{title} {} at {}:{}, {origin}", server.version, server.host, server.port)
}

/// A fingerprint of everything that decides what the servers are like.
fn recipe() -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    state::FORMAT.hash(&mut hasher);
    tls::RECIPE.hash(&mut hasher);
    include_str!("../../docker-compose.test.yml").hash(&mut hasher);
    for service in SERVICES {
        (service.name, service.recipe).hash(&mut hasher);
    }
    format!("{:016x}", hasher.finish())
}

/// The file that describes the containers.
fn compose_file() -> PathBuf {
    crate::workspace::root().join("docker-compose.test.yml")
}
