//! From a prepared folder to a server that answers and is set up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::eventually;
use crate::error::Error;
use crate::services::Service;
use crate::services::daemon::{Record, log_tail};
use crate::services::docker::Container;
use crate::services::site::Site;
use crate::services::state::{Origin, Server, User};

/// A cold start on a machine whose cores are busy with seven other servers.
const START_LIMIT: Duration = Duration::from_mins(2);

/// A server that is about to be started.
pub(super) struct Launch<'a> {
    pub(super) site: &'a Site,
    pub(super) service: &'static Service,
    /// Its alone; goes when the server goes.
    pub(super) folder: PathBuf,
    /// What the server writes to its terminal.
    pub(super) log: PathBuf,
}

/// What a recipe knows about a server before it runs.
pub(super) struct Facts {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) tls_port: Option<u16>,
    pub(super) database: &'static str,
    pub(super) stand_in: Option<String>,
    pub(super) socket_dir: Option<PathBuf>,
    pub(super) bin_dir: Option<PathBuf>,
    pub(super) run_as: Option<String>,
    pub(super) users: BTreeMap<String, User>,
}

/// What is done once a new server answers.
pub(super) type SetUp = fn(&Site, &Server) -> Result<(), Error>;

impl Launch<'_> {
    /// Starts `command`, waits until the server answers, sets it up. A server that does not get there is
    /// stopped again.
    pub(super) fn run(self, command: Command, facts: Facts, set_up: SetUp) -> Result<Server, Error> {
        let name = self.service.name;
        let record = Record::start(&self.site.folder, name, &self.folder, command, &self.log)?;
        let server = facts.server(self.service, Origin::Native(record.process));
        let started = self.wait(&server).and_then(|()| finished(self.site, self.service, server, set_up));
        if started.is_err() {
            record.stop()?;
        }
        started
    }

    /// Waits for a server that was just started; its log is the answer where it has ended.
    pub(super) fn wait(&self, server: &Server) -> Result<(), Error> {
        wait(self.site, self.service, server, &self.log)
    }
}

/// Waits until `server` answers; the end of `log` is part of the error where it does not.
pub(super) fn wait(site: &Site, service: &'static Service, server: &Server, log: &Path) -> Result<(), Error> {
    let title = service.title;
    let ready = eventually(START_LIMIT, || match &server.origin {
        Origin::Native(process) if !process.is_alive() => {
            Err(Error::Ended { service: title, log: log_tail(log) })
        }
        Origin::Native(_) | Origin::Docker { .. } | Origin::Found => {
            Ok((service.version)(site, server).is_ok())
        }
    })?;
    if ready { Ok(()) } else { Err(Error::Silent { service: title, limit: START_LIMIT, log: log_tail(log) }) }
}

/// A new, healthy container, set up.
pub(super) fn adopted(
    site: &Site,
    service: &'static Service,
    container: Container,
    facts: Facts,
    set_up: SetUp,
) -> Result<Server, Error> {
    let origin = Origin::Docker { service: container.service, container: container.id };
    finished(site, service, facts.server(service, origin), set_up)
}

impl Facts {
    /// A server of which nothing but its port is known yet.
    pub(super) fn new(port: u16) -> Self {
        Facts {
            host: "127.0.0.1".to_owned(),
            port,
            tls_port: None,
            database: "semilayer",
            stand_in: None,
            socket_dir: None,
            bin_dir: None,
            run_as: None,
            users: BTreeMap::new(),
        }
    }

    pub(super) fn server(self, service: &Service, origin: Origin) -> Server {
        Server {
            service: service.name.to_owned(),
            recipe: service.fingerprint(&origin),
            version: String::new(),
            stand_in: self.stand_in,
            host: self.host,
            port: self.port,
            tls_port: self.tls_port,
            database: self.database.to_owned(),
            socket_dir: self.socket_dir,
            bin_dir: self.bin_dir,
            run_as: self.run_as,
            origin,
            users: self.users,
            engine: None,
        }
    }
}

fn finished(site: &Site, service: &'static Service, server: Server, set_up: SetUp) -> Result<Server, Error> {
    set_up(site, &server)?;
    let version = (service.version)(site, &server)?;
    Ok(Server { version, ..server })
}
