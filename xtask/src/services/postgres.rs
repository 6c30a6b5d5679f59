//! PostgreSQL: one server from the machine's packages, or the containers of two versions.
//!
//! Who is who (xtask/services/postgres has the files that make it so):
//!
//! | role | way in | may |
//! |---|---|---|
//! | `admin` | scram | everything |
//! | `app` | scram | own the database, create others |
//! | `reader` | scram | `SELECT` from what `app` and `admin` make; nothing else, no temporary tables |
//! | `tlsonly` | scram, refused without TLS | connect |
//! | `mtls` | the client certificate, refused without it | connect |
//! | `legacy` | md5 | connect |
//! | `cleartext` | the password as it is | connect |

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::services::account::{Account, clean};
use crate::services::docker::{self, Container};
use crate::services::launch::{Facts, Launch, adopted};
use crate::services::site::{Site, encoded, encoded_path, free_port, password};
use crate::services::state::{Origin, Server, Tls, User};
use crate::services::{Edition, Service, packages};

pub(super) const SETTINGS: &str = include_str!("../../services/postgres/settings.conf");
pub(super) const ACCESS: &str = include_str!("../../services/postgres/pg_hba.conf");
const CERTIFICATE_NAMES: &str = include_str!("../../services/postgres/pg_ident.conf");
pub(super) const ROLES: &str = include_str!("../../services/postgres/init.sql");
const ENTRYPOINT: &str = include_str!("../../services/postgres/entrypoint.sh");

pub(super) const SERVICE: Service = Service {
    name: "postgres",
    title: "PostgreSQL",
    recipe: &[SETTINGS, ACCESS, CERTIFICATE_NAMES, ROLES],
    containers: &[SETTINGS, ACCESS, CERTIFICATE_NAMES, ROLES, ENTRYPOINT],
    editions: &[
        Edition { title: "PostgreSQL 17", version: "17.", container: "postgres17" },
        Edition { title: "PostgreSQL 14", version: "14.", container: "postgres14" },
    ],
    port: 5432,
    tls_port: None,
    on_demand: false,
    is_engine: false,
    start: Some(start),
    adopt: Some(adopt),
    version,
};

const DATABASE: &str = "semilayer";
const INIT_LIMIT: Duration = Duration::from_mins(1);
const ASK_LIMIT: Duration = Duration::from_secs(10);

fn start(site: &Site) -> Result<Server, Error> {
    let programs = programs()?;
    let account = Account::find()?;
    let layout = Layout::create(site, &account, SERVICE.name)?;
    layout.write_data(&programs, &account, &site.admin_password)?;
    let port = free_port()?;
    layout.write_settings(site, &account, port, SETTINGS, ACCESS)?;

    let command = layout.command(&programs, &account);
    let facts = Facts {
        socket_dir: Some(layout.socket),
        bin_dir: Some(programs),
        run_as: account.name(),
        ..facts(site, port)?
    };
    Launch { site, service: &SERVICE, folder: layout.folder, log: layout.log }.run(command, facts, set_up)
}

fn adopt(site: &Site, container: Container) -> Result<Server, Error> {
    let facts = facts(site, container.port)?;
    adopted(site, &SERVICE, container, facts, set_up)
}

pub(super) fn facts(site: &Site, port: u16) -> Result<Facts, Error> {
    Ok(Facts { database: DATABASE, users: users(port, site)?, ..Facts::new(port) })
}

pub(super) fn version(site: &Site, server: &Server) -> Result<String, Error> {
    query(site, server, "show server_version".to_owned())
}

/// Creates the roles and the database.
pub(super) fn set_up(site: &Site, server: &Server) -> Result<(), Error> {
    let mut script = String::new();
    for (role, user) in &server.users {
        if let Some(password) = &user.password {
            // Infallible: a String takes what it is given.
            writeln!(script, "\\set {role}_password '{}'", password.replace('\'', "''")).ok();
        }
    }
    script.push_str(ROLES);
    query(site, server, script).map(drop)
}

/// Runs a psql script as `admin` and returns what it prints.
fn query(site: &Site, server: &Server, script: String) -> Result<String, Error> {
    let mut command = match (&server.origin, &server.bin_dir) {
        (Origin::Docker { container, .. }, _) => {
            let mut command = docker::inside(container, "PGPASSWORD", "psql");
            command.args(["--host=127.0.0.1", "--username=admin", "--dbname=postgres"]);
            command
        }
        (Origin::Native(_) | Origin::Found, folder) => {
            let program = folder.as_ref().map_or_else(|| "psql".into(), |folder| folder.join("psql"));
            psql(&program, server, &site.tls)
        }
    };
    command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]);
    command.env("PGPASSWORD", &site.admin_password);
    Run::new(command, "psql", ASK_LIMIT).input(script).capture()
}

/// Verified, so that an answer is the answer of a server of ours, where the build knows TLS.
fn psql(program: &Path, server: &Server, tls: &Tls) -> Command {
    let mut command = Command::new(program);
    clean(&mut command);
    command.args([
        "--host=127.0.0.1",
        "--username=admin",
        "--dbname=postgres",
        &format!("--port={}", server.port),
    ]);
    if server.service == SERVICE.name {
        command.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", &tls.ca);
    }
    command.env("PGCONNECT_TIMEOUT", "5");
    command
}

fn users(port: u16, site: &Site) -> Result<BTreeMap<String, User>, Error> {
    let tls = &site.tls;
    let verified = format!("?sslmode=verify-full&sslrootcert={}", encoded_path(&tls.ca));
    let certified = format!(
        "{verified}&sslcert={}&sslkey={}",
        encoded_path(&tls.client_cert),
        encoded_path(&tls.client_key)
    );
    let roles = [
        ("admin", Some(site.admin_password.clone()), "scram-sha-256", ""),
        ("app", Some(password()?), "scram-sha-256", ""),
        ("reader", Some(password()?), "scram-sha-256", ""),
        ("tlsonly", Some(password()?), "scram-sha-256", verified.as_str()),
        ("mtls", None, "cert", certified.as_str()),
        ("legacy", Some(password()?), "md5", ""),
        ("cleartext", Some(password()?), "password", verified.as_str()),
    ];
    let users = roles.into_iter().map(|(role, password, auth, parameters)| {
        let secret = password.as_ref().map(|text| format!(":{}", encoded(text))).unwrap_or_default();
        let url = format!("postgres://{role}{secret}@127.0.0.1:{port}/{DATABASE}{parameters}");
        (role.to_owned(), User { name: role.to_owned(), password, auth: auth.to_owned(), url })
    });
    Ok(users.collect())
}

/// The folder of the server's programs: the newest of Debian's, or what `pg_config` names.
fn programs() -> Result<PathBuf, Error> {
    let advice = "install PostgreSQL (Debian: apt-get install postgresql) or let a Docker engine pull it";
    packages::find_or_install("PostgreSQL's initdb", &["postgresql"], advice, || {
        debian_programs().or_else(configured_programs)
    })
}

fn debian_programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let newest = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let programs = entry.path().join("bin");
        programs.join("initdb").is_file().then_some((version, programs))
    });
    newest.max().map(|(_, programs)| programs)
}

fn configured_programs() -> Option<PathBuf> {
    let mut command = Command::new(packages::find("pg_config")?);
    command.arg("--bindir");
    let programs = PathBuf::from(Run::new(command, "pg_config", ASK_LIMIT).capture().ok()?);
    programs.join("initdb").is_file().then_some(programs)
}

/// The files of one server. The account owns `data`, `socket` and the private files; the rest is ours.
pub(super) struct Layout {
    pub(super) folder: PathBuf,
    data: PathBuf,
    pub(super) socket: PathBuf,
    config: PathBuf,
    pub(super) log: PathBuf,
}

impl Layout {
    pub(super) fn create(site: &Site, account: &Account, name: &str) -> Result<Self, Error> {
        let folder = site.server_folder(name, account)?;
        let layout = Layout {
            data: folder.join("data"),
            // The longest name that PostgreSQL gives a socket.
            socket: site.socket_folder(&folder, "/.s.PGSQL.65535")?,
            config: folder.join("postgresql.conf"),
            log: folder.join("log"),
            folder,
        };
        account.private_folder(&layout.data)?;
        account.private_folder(&layout.socket)?;
        Ok(layout)
    }

    pub(super) fn write_data(&self, programs: &Path, account: &Account, password: &str) -> Result<(), Error> {
        let file = self.folder.join("password");
        account.private_file(&file, format!("{password}\n").as_bytes())?;
        let mut command = account.command(&programs.join("initdb"));
        command.arg("--pgdata").arg(&self.data).arg("--pwfile").arg(&file);
        command.args(["--username=admin", "--auth-host=scram-sha-256", "--auth-local=scram-sha-256"]);
        command.args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
        Run::new(command, "initdb", INIT_LIMIT).capture()?;
        fs::remove_file(&file).map_err(Error::io("remove", &file))
    }

    pub(super) fn write_settings(
        &self,
        site: &Site,
        account: &Account,
        port: u16,
        settings: &str,
        access: &str,
    ) -> Result<(), Error> {
        let place = |name: &str| self.folder.join(name);
        site.install_tls(&self.folder, account)?;
        account.private_file(&place("pg_hba.conf"), access.as_bytes())?;
        account.private_file(&place("pg_ident.conf"), CERTIFICATE_NAMES.as_bytes())?;
        let addresses = format!("listen_addresses = '127.0.0.1,::1'\nport = {port}\n");
        let files = [
            ("unix_socket_directories", self.socket.clone()),
            ("ssl_cert_file", place("server.crt")),
            ("ssl_key_file", place("server.key")),
            ("ssl_ca_file", place("ca.crt")),
            ("hba_file", place("pg_hba.conf")),
            ("ident_file", place("pg_ident.conf")),
        ];
        let files: String = files.iter().map(|(name, path)| setting(name, path)).collect();
        account.private_file(&self.config, format!("{settings}\n{addresses}{files}").as_bytes())
    }

    /// The server itself.
    pub(super) fn command(&self, programs: &Path, account: &Account) -> Command {
        let mut command = account.command(&programs.join("postgres"));
        command.arg("-D").arg(&self.data).arg("-c").arg(format!("config_file={}", self.config.display()));
        command
    }
}

fn setting(name: &str, path: &Path) -> String {
    format!("{name} = '{}'\n", path.display().to_string().replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_trusted() {
        let methods: Vec<&str> = ACCESS
            .lines()
            .filter(|line| !line.starts_with('#'))
            .flat_map(str::split_whitespace)
            .filter(|word| ["trust", "peer", "ident"].contains(word))
            .collect();
        assert!(methods.is_empty(), "{methods:?}");
    }
}
