//! MariaDB: one server from the machine's packages, or a container. Roles are those of MySQL.
//!
//! What another version needs to be started is here too, as a [`Recipe`].

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::services::account::Account;
use crate::services::docker::Container;
use crate::services::launch::{Facts, Launch, adopted};
use crate::services::mysql::{self, Layout};
use crate::services::site::{Site, free_port};
use crate::services::state::{Origin, Server};
use crate::services::{Edition, Service, packages};

const SETTINGS: &str = include_str!("../../services/mariadb/settings.cnf");
const PREPARE: &str = include_str!("../../services/mariadb/prepare.sql");
const ENTRYPOINT: &str = include_str!("../../services/mariadb/entrypoint.sh");

pub(super) const SERVICE: Service = Service {
    name: "mariadb",
    title: "MariaDB",
    recipe: &[SETTINGS, PREPARE, mysql::INIT],
    containers: &[SETTINGS, mysql::INIT, ENTRYPOINT],
    editions: &[Edition { title: "MariaDB 10.11", version: "10.11.", container: "mariadb10" }],
    port: 3306,
    tls_port: None,
    on_demand: false,
    is_engine: false,
    start: Some(start),
    adopt: Some(|site, container| adopt(site, &SERVICE, container)),
    version,
};

/// How long making the tables of a new server may take.
pub(super) const INIT_LIMIT: Duration = Duration::from_mins(2);
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// How a server is made and started.
pub(super) struct Recipe<'a> {
    pub(super) service: &'static Service,
    pub(super) server: &'a Path,
    /// Lines of settings: what the program would not find by itself.
    pub(super) places: &'a str,
    /// Makes the tables of a new server and runs SQL that has passwords in it.
    pub(super) make: &'a dyn Fn(&Layout, &str) -> Result<(), Error>,
}

impl Recipe<'_> {
    pub(super) fn start(&self, site: &Site, account: &Account) -> Result<Server, Error> {
        let port = free_port()?;
        let users = mysql::users(site, port)?;
        let layout = Layout::create(site, self.service.name, account)?;
        layout.write_settings(site, account, port, &format!("{SETTINGS}{}", self.places))?;
        (self.make)(&layout, &format!("{PREPARE}{}", mysql::init(&users)))?;

        let mut command = account.command(self.server);
        command.arg(layout.settings_argument());
        let facts = Facts {
            socket_dir: Some(layout.socket),
            bin_dir: self.server.parent().map(PathBuf::from),
            run_as: account.name(),
            users,
            ..Facts::new(port)
        };
        let launch = Launch { site, service: self.service, folder: layout.folder, log: layout.log };
        launch.run(command, facts, mysql::is_set_up)
    }
}

fn start(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let (server, install) = (program("mariadbd")?, program("mariadb-install-db")?);
    let make = |layout: &Layout, script: &str| {
        let script = layout.write_script(&account, script)?;
        let mut command = account.command(&install);
        command.arg(layout.settings_argument());
        command.arg(format!("--datadir={}", layout.data.display()));
        command.arg(format!("--extra-file={}", script.display()));
        command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
        Run::new(command, "mariadb-install-db", INIT_LIMIT).capture()?;
        fs::remove_file(&script).map_err(Error::io("remove", &script))
    };
    Recipe { service: &SERVICE, server: &server, places: "", make: &make }.start(site, &account)
}

pub(super) fn adopt(site: &Site, service: &'static Service, container: Container) -> Result<Server, Error> {
    let facts = Facts { users: mysql::users(site, container.port)?, ..Facts::new(container.port) };
    adopted(site, service, container, facts, |site, server| {
        mysql::set_up_container(site, server, "mariadb", &mysql::init(&server.users))
    })
}

fn version(site: &Site, server: &Server) -> Result<String, Error> {
    if let Origin::Docker { container, .. } = &server.origin {
        return mysql::query_inside(site, container, "mariadb", "admin", mysql::VERSION);
    }
    // Debian keeps it beside the server only where both were unpacked.
    let own = server.bin_dir.as_ref().map(|folder| folder.join("mariadb")).filter(|path| path.is_file());
    let client = own.map_or_else(|| program("mariadb"), Ok)?;
    let mut command = mysql::client(&client, server, site);
    command.arg("--ssl-verify-server-cert");
    Run::new(command, "mariadb", ASK_LIMIT).input(mysql::VERSION.to_owned()).capture()
}

/// A program of MariaDB's. The packages that have only programs are installed: nothing is started by them.
fn program(name: &'static str) -> Result<PathBuf, Error> {
    const PACKAGES: &[&str] = &["mariadb-server-core", "mariadb-client-core"];
    let advice = "install MariaDB (Debian: apt-get install mariadb-server-core mariadb-client-core) or let a \
                  Docker engine pull it";
    packages::find_or_install(name, PACKAGES, advice, || {
        // Debian keeps the server where only root's search path leads.
        packages::find(name).or_else(|| {
            let path = PathBuf::from("/usr/sbin").join(name);
            path.is_file().then_some(path)
        })
    })
}
