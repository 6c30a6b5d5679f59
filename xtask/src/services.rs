//! The real servers that tests meet: started once, kept between runs, described in a state file.
//!
//! [`SERVICES`] is the list. Each is started by a recipe for the machine's own packages, or by
//! `docker-compose.test.yml` where a Docker engine can pull; roles, settings and certificates are the same
//! either way, and the state file says which it was. A server that answers and whose recipe has not changed
//! is kept; data is never older than its server, because nothing is written to disk safely.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::arguments::{Choice, Place, Request};
use crate::error::Error;
use crate::services::daemon::Record;
use crate::services::folder::{Folder, InUse};
use crate::services::site::Site;
use crate::services::state::{Origin, Server, State};
use crate::workspace;

pub(crate) mod account;
mod clickhouse;
mod clickhouse_old;
mod cockroachdb;
mod coverage;
mod daemon;
mod docker;
mod docker_engine;
pub(crate) mod downloads;
pub(crate) mod folder;
mod http;
mod launch;
mod mariadb;
mod mariadb11;
mod mongodb;
mod mysql;
mod opensearch;
pub(crate) mod packages;
mod pgvector;
mod postgres;
mod redis;
mod site;
mod state;
mod tls;
mod valkey;

/// One kind of server: what is needed to start it and to ask whether it answers.
struct Service {
    /// In the state file and in variables.
    name: &'static str,
    /// For people.
    title: &'static str,
    /// The texts that decide what a new server is like; a server made from others is replaced.
    recipe: &'static [&'static str],
    /// The same for a container, beside the compose file.
    containers: &'static [&'static str],
    /// The versions in `docker-compose.test.yml`, the preferred one first.
    editions: &'static [Edition],
    /// The port it listens on in its container.
    port: u16,
    /// The port for TLS in its container, where that is another.
    tls_port: Option<u16>,
    /// Started only where it is asked for by name.
    on_demand: bool,
    /// It runs containers and is no container itself, whatever the others are made of.
    is_engine: bool,
    /// Starts one from the machine's packages and returns when it answers and is set up; none where no
    /// package has it.
    start: Option<Start>,
    /// Sets up a new, healthy container and describes it; none where there is no edition.
    adopt: Option<Adopt>,
    /// Asks for the version; an error when it does not answer.
    version: fn(&Site, &Server) -> Result<String, Error>,
}

type Start = fn(&Site) -> Result<Server, Error>;
type Adopt = fn(&Site, docker::Container) -> Result<Server, Error>;

/// A version that tests should meet.
struct Edition {
    title: &'static str,
    /// How the version of such a server begins.
    version: &'static str,
    /// Its name in `docker-compose.test.yml`.
    container: &'static str,
}

/// As it was when this program was built.
const COMPOSE: &str = include_str!("../../docker-compose.test.yml");

static SERVICES: &[Service] = &[
    postgres::SERVICE,
    pgvector::SERVICE,
    cockroachdb::SERVICE,
    mysql::SERVICE,
    mariadb::SERVICE,
    mariadb11::SERVICE,
    mongodb::SERVICE,
    mongodb::FAST,
    redis::SERVICE,
    valkey::SERVICE,
    clickhouse::SERVICE,
    clickhouse_old::SERVICE,
    opensearch::SERVICE,
    docker_engine::SERVICE,
    docker_engine::NEWER,
    docker_engine::BARE,
];

/// Starts what does not run.
pub(crate) fn up(request: &Request) -> Result<(), Error> {
    let folder = Folder::open(&request.place)?;
    let _lock = folder.lock()?;
    let (state, failures) = ensure(&folder, request)?;
    println!("state file: {}", folder.state_file().display());
    describe(&state);
    if failures.is_empty() { Ok(()) } else { Err(Error::NotStarted { names: failures }) }
}

/// Stops what was started here.
pub(crate) fn down(place: &Place) -> Result<(), Error> {
    let folder = Folder::open(place)?;
    let _lock = folder.lock()?;
    let stopped = stop_everything(&folder)?;
    println!("{}", if stopped { "services stopped" } else { "no services ran" });
    Ok(())
}

/// Starts a server of the machine's packages again, with its data and at its port: as after a crash where
/// it has ended, in good order where it runs.
pub(crate) fn restart(place: &Place, name: &str) -> Result<(), Error> {
    let folder = Folder::open(place)?;
    let _lock = folder.lock()?;
    let mut state = State::load(&folder.state_file())?.ok_or(Error::NothingRuns)?;
    let service = service(name)?;
    let site = Site::existing(&folder, &state);
    let record = Record::all(&folder)?.into_iter().find(|record| record.name() == name);
    let server = state.servers.iter_mut().find(|server| server.service == name);
    let (Some(record), Some(server)) = (record, server) else { return Err(Error::NothingRuns) };
    let record = record.restart()?;
    server.origin = Origin::Native(record.process);
    launch::wait(&site, service, server, record.log())?;
    state.save(&folder.state_file())
}

/// Prints the state as lines for a shell.
pub(crate) fn env(place: &Place) -> Result<(), Error> {
    let folder = Folder::open(place)?;
    let state = State::load(&folder.state_file())?.ok_or(Error::NothingRuns)?;
    for (name, value) in state.variables(&folder.state_file()) {
        println!("export {name}={}", state::shell_quoted(&value));
    }
    Ok(())
}

/// Says what runs; an error unless every server answers.
pub(crate) fn status(place: &Place) -> Result<(), Error> {
    let folder = Folder::open(place)?;
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

/// Starts what does not run and keeps others from stopping it until the session is dropped. A server that
/// cannot be had is an error where every engine must be met; elsewhere the tests that want it will say so.
pub(crate) fn session(request: &Request) -> Result<Session, Error> {
    let folder = Folder::open(&request.place)?;
    let _lock = folder.lock()?;
    let (state, failures) = ensure(&folder, request)?;
    if !failures.is_empty() && workspace::is_ci() {
        return Err(Error::NotStarted { names: failures });
    }
    // Taken before the lock is given back: nobody can stop the servers in between.
    let in_use = folder.use_servers()?;
    let variables = state.variables(&folder.state_file());
    Ok(Session { state, variables, _in_use: in_use })
}

/// Prints one line a server, and one that names what of `docker-compose.test.yml` is not among them.
pub(crate) fn describe(state: &State) {
    for server in &state.servers {
        println!("{}", sentence(server));
    }
    if let Some(line) = coverage::not_met(SERVICES, &state.servers) {
        println!("{line}");
    }
}

/// Starts what is wanted and does not run. Returns the state, and the names of servers that could not be
/// had: each has been explained on the terminal.
fn ensure(folder: &Folder, request: &Request) -> Result<(State, Vec<String>), Error> {
    let wanted = wanted(&request.only)?;
    let old = State::load(&folder.state_file()).ok().flatten().filter(|state| state.recipe == fingerprint());
    let kept = old.as_ref().map(|state| keepable(folder, request.choice, state)).unwrap_or_default();
    let had_from = |origin: Choice, services: Vec<&'static Service>| -> Vec<&'static Service> {
        // What nobody asked for by name is not missed where it cannot be had.
        let named = !request.only.is_empty();
        services.into_iter().filter(|service| named || service.is_had_from(origin)).collect()
    };
    let wanted = had_from(origin(request.choice, &kept), wanted);
    let runs = |service: &&Service| kept.iter().any(|server| server.service == service.name);
    let (running, missing): (Vec<&'static Service>, Vec<_>) = wanted.into_iter().partition(runs);
    if let (Some(mut state), []) = (old.clone(), missing.as_slice()) {
        println!("services: the running servers answer and are kept");
        if state.servers.len() != kept.len() {
            stop_others(folder, &kept)?;
            state.servers = kept;
        }
        state.xtask = workspace::this_program();
        state.save(&folder.state_file())?;
        return Ok((state, Vec::new()));
    }
    // Decided before anything is stopped: a wish that cannot be met takes nothing away.
    let only_engines = missing.iter().all(|service| service.is_engine);
    let engine = if only_engines { None } else { engine(request.choice, &kept)? };
    if let Some(engine) = engine {
        let all = [running, missing].concat();
        return in_containers(folder, &engine, &all);
    }
    stop_others(folder, &kept)?;
    let site = match old {
        Some(state) if !kept.is_empty() => Site::existing(folder, &state),
        Some(_) | None => Site::prepare(folder)?,
    };
    let site = Site { own_engines: request.choice == Choice::Native, ..site };
    natively(folder, &site, kept, &had_from(Choice::Native, missing))
}

/// The services of these names; those that are started without being named where there are none.
fn wanted(names: &[String]) -> Result<Vec<&'static Service>, Error> {
    if names.is_empty() {
        return Ok(SERVICES.iter().filter(|service| !service.on_demand).collect());
    }
    names.iter().map(|name| service(name)).collect()
}

fn service(name: &str) -> Result<&'static Service, Error> {
    SERVICES.iter().find(|service| service.name == name).ok_or_else(|| Error::NoService {
        name: name.to_owned(),
        known: SERVICES.iter().map(|service| service.name).collect::<Vec<_>>().join(", "),
    })
}

/// The recorded servers that are what a new start would make, and answer.
fn keepable(folder: &Folder, choice: Choice, state: &State) -> Vec<Server> {
    let site = Site::existing(folder, state);
    let suits = |server: &Server| match (choice, &server.origin) {
        (Choice::Automatic, _)
        | (Choice::Native, Origin::Native(_))
        | (Choice::Docker, Origin::Docker { .. } | Origin::Found) => true,
        (Choice::Native, Origin::Docker { .. } | Origin::Found) => false,
        (Choice::Docker, Origin::Native(_)) => is_engine(server),
    };
    let unchanged = |server: &Server| {
        service(&server.service).is_ok_and(|service| service.fingerprint(&server.origin) == server.recipe)
    };
    let good = |server: &&Server| suits(server) && unchanged(server) && answer(&site, server).is_ok();
    state.servers.iter().filter(good).cloned().collect()
}

/// Where new servers come from, as far as that is said or follows from those that run.
fn origin(choice: Choice, kept: &[Server]) -> Choice {
    let first = kept.iter().find(|server| !is_engine(server));
    match (choice, first.map(|server| &server.origin)) {
        (Choice::Automatic, Some(Origin::Native(_))) => Choice::Native,
        (Choice::Automatic, Some(Origin::Docker { .. })) => Choice::Docker,
        (Choice::Automatic, Some(Origin::Found) | None) | (Choice::Native | Choice::Docker, _) => choice,
    }
}

fn is_engine(server: &Server) -> bool {
    service(&server.service).is_ok_and(|service| service.is_engine)
}

/// Decides once where new servers come from and says it in one line; none means the machine's packages.
fn engine(choice: Choice, kept: &[Server]) -> Result<Option<docker::Engine>, Error> {
    let why = if choice == Choice::Automatic { "as those that run" } else { "as asked" };
    let (engine, why) = match origin(choice, kept) {
        Choice::Native => (None, why.to_owned()),
        Choice::Docker => (Some(docker::Engine::find()?), why.to_owned()),
        Choice::Automatic => match docker::Engine::find() {
            Ok(engine) => (Some(engine), "the Docker engine has the images".to_owned()),
            Err(error) => (None, error.to_string()),
        },
    };
    let what = if engine.is_some() { "docker-compose.test.yml" } else { "native packages" };
    println!("services: {what} ({why})");
    Ok(engine)
}

/// Starts `missing` side by side and writes each down as soon as it can be used.
fn natively(
    folder: &Folder,
    site: &Site,
    kept: Vec<Server>,
    missing: &[&'static Service],
) -> Result<(State, Vec<String>), Error> {
    let state = Mutex::new(new_state(site, kept));
    lock(&state).save(&folder.state_file())?;
    let begin = |service: &'static Service, start: Start| {
        let began = Instant::now();
        let server = start(site)?;
        println!("{} after {:.1} s", sentence(&server), began.elapsed().as_secs_f64());
        let mut state = lock(&state);
        state.servers.push(server);
        let place = |name: &str| SERVICES.iter().position(|service| service.name == name);
        state.servers.sort_by_key(|server| place(&server.service));
        state.save(&folder.state_file()).inspect_err(|_| println!("{} was not written down", service.title))
    };
    let mut failures = Vec::new();
    let mut failed = |service: &Service, why: &str| {
        println!("{} could not be had: {why}", service.title);
        failures.push(service.name.to_owned());
    };
    std::thread::scope(|scope| {
        let starting: Vec<_> = missing
            .iter()
            .filter_map(|service| Some((*service, service.start?)))
            .map(|(service, start)| (service, scope.spawn(move || begin(service, start))))
            .collect();
        for (service, thread) in starting {
            match thread.join() {
                Ok(Ok(())) => {}
                // It is a second one: a machine that cannot run it has met an engine all the same.
                Ok(Err(error @ Error::NoEngine { .. })) if service.name == docker_engine::NEWER.name => {
                    println!("{} could not be had: {error}", service.title);
                }
                Ok(Err(error)) => failed(service, &error.with_causes()),
                Err(_) => failed(service, "its recipe panicked"),
            }
        }
    });
    for service in missing.iter().filter(|service| service.start.is_none()) {
        failed(service, "no package has it; let a Docker engine pull it");
    }
    let state = state.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok((state, failures))
}

fn new_state(site: &Site, servers: Vec<Server>) -> State {
    State { recipe: fingerprint(), xtask: workspace::this_program(), tls: site.tls.clone(), servers }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Starts all of `services` anew, in containers; engines as everywhere.
fn in_containers(
    folder: &Folder,
    engine: &docker::Engine,
    services: &[&'static Service],
) -> Result<(State, Vec<String>), Error> {
    stop_everything(folder)?;
    let site = Site::prepare(folder)?;
    let (engines, services): (Vec<_>, Vec<_>) = services.iter().partition(|service| service.is_engine);
    let servers = if services.is_empty() { Vec::new() } else { adopt_all(&site, engine, &services)? };
    natively(folder, &site, servers, &engines)
}

fn adopt_all(
    site: &Site,
    engine: &docker::Engine,
    services: &[&'static Service],
) -> Result<Vec<Server>, Error> {
    let containers = || {
        services
            .iter()
            .flat_map(|service| service.editions.iter().map(|edition| (*service, edition.container)))
    };
    let names: Vec<&str> = containers().map(|(_, name)| name).collect();
    if names.is_empty() {
        // Without names the engine would start everything.
        return Err(Error::NoDocker { reason: "nothing that was asked for is in it".to_owned() });
    }
    engine.start(site, &names)?;
    let adopted: Result<Vec<Server>, Error> = containers()
        .filter_map(|(service, name)| Some((service, name, service.adopt?)))
        .map(|(service, name, adopt)| {
            adopt(site, engine.container(site, name, service.port, service.tls_port)?)
        })
        .collect();
    if adopted.is_err() {
        // Without a state file nobody would find them again. The first error is the one to report.
        docker::stop(site).ok();
    }
    adopted
}

/// Stops servers that are not among `kept`.
fn stop_others(folder: &Folder, kept: &[Server]) -> Result<(), Error> {
    if kept.is_empty() {
        return stop_everything(folder).map(drop);
    }
    let is_kept = |record: &Record| {
        kept.iter()
            .any(|server| matches!(server.origin, Origin::Native(process) if process == record.process))
    };
    let others: Vec<Record> = Record::all(folder)?.into_iter().filter(|record| !is_kept(record)).collect();
    if others.is_empty() {
        return Ok(());
    }
    let _alone = folder.no_users()?;
    daemon::stop_all(&others)
}

/// True when something ran.
fn stop_everything(folder: &Folder) -> Result<bool, Error> {
    let state = State::load(&folder.state_file()).ok().flatten();
    let daemons = Record::all(folder)?;
    if state.is_none() && daemons.is_empty() {
        return Ok(false);
    }
    let _alone = folder.no_users()?;
    daemon::stop_all(&daemons)?;
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
    (service(&server.service)?.version)(site, server)
}

/// `Redis 7.0.15 at 127.0.0.1:34567, process 4711`; a stand-in is named.
fn sentence(server: &Server) -> String {
    let title = service(&server.service).map_or(server.service.as_str(), |service| service.title);
    let stand_in = server.stand_in.as_ref().map(|name| format!(" ({name} stands in)")).unwrap_or_default();
    let origin = match &server.origin {
        Origin::Native(process) => format!("process {}", process.pid),
        Origin::Docker { service, .. } => format!("container of {service}"),
        Origin::Found => "of this machine".to_owned(),
    };
    let place = match &server.engine {
        Some(engine) => format!("{} (API {}, {})", server.host, engine.api, engine.runtimes.join(", ")),
        None => format!("{}:{}", server.host, server.port),
    };
    format!("{title} {}{stand_in} at {place}, {origin}", server.version)
}

impl Service {
    fn is_had_from(&self, origin: Choice) -> bool {
        match origin {
            Choice::Automatic => true,
            Choice::Native => self.start.is_some(),
            Choice::Docker => self.is_engine || self.adopt.is_some(),
        }
    }

    /// Changes when a server that was made before is not what would be made now.
    fn fingerprint(&self, origin: &Origin) -> String {
        match origin {
            Origin::Native(_) | Origin::Found => hashed(&(self.name, self.recipe)),
            Origin::Docker { .. } => hashed(&(self.name, self.containers, COMPOSE)),
        }
    }
}

/// Changes when what all servers have in common does.
fn fingerprint() -> String {
    hashed(&(state::FORMAT, tls::RECIPE))
}

fn hashed(what: &impl std::hash::Hash) -> String {
    use std::hash::{DefaultHasher, Hasher};
    let mut hasher = DefaultHasher::new();
    what.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// The file that describes the containers.
fn compose_file() -> PathBuf {
    workspace::root().join("docker-compose.test.yml")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_services_are_theirs_alone() {
        let mut names: Vec<&str> = SERVICES.iter().map(|service| service.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), SERVICES.len());
    }

    #[test]
    fn the_containers_are_those_of_the_compose_file() {
        let text = COMPOSE;
        for edition in SERVICES.iter().flat_map(|service| service.editions) {
            assert!(text.contains(&format!("\n  {}:\n", edition.container)), "{}", edition.container);
        }
    }

    #[test]
    fn what_is_started_on_demand_is_not_started_without_being_named() {
        let names = |only: &[&str]| -> Vec<&str> {
            let only: Vec<String> = only.iter().map(ToString::to_string).collect();
            wanted(&only).unwrap().into_iter().map(|service| service.name).collect()
        };
        assert!(names(&[]).contains(&"mongodb") && !names(&[]).contains(&"mongodb-fast"));
        assert_eq!(names(&["mongodb-fast"]), ["mongodb-fast"]);
        let error = wanted(&["oracle".to_owned()]).err().unwrap().to_string();
        assert!(error.contains("oracle") && error.contains("postgres"), "{error}");
    }
}
