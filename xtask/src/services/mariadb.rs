//! MariaDB: one server from the machine's packages, or a container. Roles are those of MySQL.

use std::fs;
use std::path::PathBuf;
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
    editions: &[Edition { title: "MariaDB 11", version: "11.", container: "mariadb11" }],
    port: 3306,
    tls_port: None,
    on_demand: false,
    start: Some(start),
    adopt: Some(adopt),
    version,
};

const INIT_LIMIT: Duration = Duration::from_mins(2);
const ASK_LIMIT: Duration = Duration::from_secs(10);

fn start(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let (server, install) = (program("mariadbd")?, program("mariadb-install-db")?);
    let port = free_port()?;
    let users = mysql::users(site, port)?;
    let layout = Layout::create(site, SERVICE.name, &account)?;
    layout.write_settings(site, &account, port, SETTINGS)?;

    let script = layout.write_script(&account, &format!("{PREPARE}{}", mysql::init(&users)))?;
    let mut command = account.command(&install);
    command.arg(format!("--defaults-file={}", layout.settings.display()));
    command.arg(format!("--datadir={}", layout.data.display()));
    command.arg(format!("--extra-file={}", script.display()));
    command.args(["--auth-root-authentication-method=normal", "--skip-test-db"]);
    Run::new(command, "mariadb-install-db", INIT_LIMIT).capture()?;
    fs::remove_file(&script).map_err(Error::io("remove", &script))?;

    let mut command = account.command(&server);
    command.arg(format!("--defaults-file={}", layout.settings.display()));
    let facts = Facts {
        socket_dir: Some(layout.socket),
        bin_dir: server.parent().map(PathBuf::from),
        run_as: account.name(),
        users,
        ..Facts::new(port)
    };
    Launch { site, service: &SERVICE, folder: layout.folder, log: layout.log }.run(
        command,
        facts,
        mysql::is_set_up,
    )
}

fn adopt(site: &Site, container: Container) -> Result<Server, Error> {
    let facts = Facts { users: mysql::users(site, container.port)?, ..Facts::new(container.port) };
    adopted(site, &SERVICE, container, facts, |site, server| {
        mysql::set_up_container(site, server, "mariadb", &mysql::init(&server.users))
    })
}

fn version(site: &Site, server: &Server) -> Result<String, Error> {
    if let Origin::Docker { container, .. } = &server.origin {
        return mysql::query_inside(site, container, "mariadb", "admin", mysql::VERSION);
    }
    let mut command = mysql::client(&program("mariadb")?, server, site);
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
