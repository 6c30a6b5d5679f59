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

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use crate::command::{Run, eventually};
use crate::error::Error;
use crate::services::account::{Account, clean};
use crate::services::daemon::{Record, log_tail};
use crate::services::docker::{self, Container};
use crate::services::site::{Site, free_port, password};
use crate::services::state::{Origin, Server, Tls, User};
use crate::services::{Service, packages};

const SETTINGS: &str = include_str!("../../services/postgres/settings.conf");
const ACCESS: &str = include_str!("../../services/postgres/pg_hba.conf");
const CERTIFICATE_NAMES: &str = include_str!("../../services/postgres/pg_ident.conf");
const ROLES: &str = include_str!("../../services/postgres/init.sql");
const ENTRYPOINT: &str = include_str!("../../services/postgres/entrypoint.sh");

pub(super) const SERVICE: Service = Service {
    name: "postgres",
    title: "PostgreSQL",
    recipe: &[SETTINGS, ACCESS, CERTIFICATE_NAMES, ROLES, ENTRYPOINT],
    compose: &["postgres17", "postgres14"],
    port: 5432,
    start,
    adopt,
    version,
};

const DATABASE: &str = "semilayer";
const INIT_LIMIT: Duration = Duration::from_mins(1);
const START_LIMIT: Duration = Duration::from_secs(30);
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// A unix socket's path ends within 107 bytes; the longest name PostgreSQL gives one is this.
const SOCKET_NAME: &str = "/.s.PGSQL.65535";
const SOCKET_PATH_LIMIT: usize = 107;

fn start(site: &Site) -> Result<Server, Error> {
    let programs = programs()?;
    let account = Account::find()?;
    let layout = Layout::create(site, &account)?;
    layout.write_data(&programs, &account, &site.admin_password)?;
    let port = free_port()?;
    layout.write_settings(site, &account, port)?;

    let mut command = account.command(&programs.join("postgres"));
    command.arg("-D").arg(&layout.data).arg("-c").arg(format!("config_file={}", layout.config.display()));
    let record = Record::start(&site.folder, SERVICE.name, &layout.folder, command, &layout.log)?;
    let server = Server {
        service: SERVICE.name.to_owned(),
        version: String::new(),
        host: "127.0.0.1".to_owned(),
        port,
        database: DATABASE.to_owned(),
        socket_dir: Some(layout.socket.clone()),
        bin_dir: Some(programs),
        run_as: account.name(),
        origin: Origin::Native(record.process),
        users: users(port, site)?,
    };
    let started = answers(site, &server, &layout.log).and_then(|()| set_up(site, server));
    if started.is_err() {
        record.stop()?;
    }
    started
}

fn adopt(site: &Site, container: Container) -> Result<Server, Error> {
    let server = Server {
        service: SERVICE.name.to_owned(),
        version: String::new(),
        host: "127.0.0.1".to_owned(),
        port: container.port,
        database: DATABASE.to_owned(),
        socket_dir: None,
        bin_dir: None,
        run_as: None,
        users: users(container.port, site)?,
        origin: Origin::Docker { service: container.service, container: container.id },
    };
    set_up(site, server)
}

fn version(site: &Site, server: &Server) -> Result<String, Error> {
    query(site, server, "show server_version".to_owned())
}

/// Creates the roles and the database, and asks the server who it is.
fn set_up(site: &Site, server: Server) -> Result<Server, Error> {
    let mut script = String::new();
    for (role, user) in &server.users {
        if let Some(password) = &user.password {
            // Infallible: a String takes what it is given.
            writeln!(script, "\\set {role}_password '{}'", password.replace('\'', "''")).ok();
        }
    }
    script.push_str(ROLES);
    query(site, &server, script)?;
    Ok(Server { version: version(site, &server)?, ..server })
}

/// Waits for a server that was just started; its log is the answer where it has ended.
fn answers(site: &Site, server: &Server, log: &Path) -> Result<(), Error> {
    let service = SERVICE.title;
    let ready = eventually(START_LIMIT, || match &server.origin {
        Origin::Native(process) if !process.is_alive() => Err(Error::Ended { service, log: log_tail(log) }),
        Origin::Native(_) | Origin::Docker { .. } => Ok(version(site, server).is_ok()),
    })?;
    if ready { Ok(()) } else { Err(Error::Silent { service, limit: START_LIMIT, log: log_tail(log) }) }
}

/// Runs a psql script as `admin` and returns what it prints.
fn query(site: &Site, server: &Server, script: String) -> Result<String, Error> {
    let mut command = match (&server.origin, &server.bin_dir) {
        (Origin::Docker { container, .. }, _) => {
            let mut command = docker::inside(container, "PGPASSWORD", "psql");
            command.args(["--host=127.0.0.1", "--username=admin", "--dbname=postgres"]);
            command
        }
        (Origin::Native(_), folder) => {
            let program = folder.as_ref().map_or_else(|| "psql".into(), |folder| folder.join("psql"));
            psql(&program, server.port, &site.tls)
        }
    };
    command.args(["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set=ON_ERROR_STOP=1"]);
    command.env("PGPASSWORD", &site.admin_password);
    Run::new(command, "psql", ASK_LIMIT).input(script).capture()
}

/// Verified, so that an answer is the answer of a server of ours.
fn psql(program: &Path, port: u16, tls: &Tls) -> Command {
    let mut command = Command::new(program);
    clean(&mut command);
    command.args(["--host=127.0.0.1", "--username=admin", "--dbname=postgres", &format!("--port={port}")]);
    command.env("PGSSLMODE", "verify-full").env("PGSSLROOTCERT", &tls.ca).env("PGCONNECT_TIMEOUT", "5");
    command
}

fn users(port: u16, site: &Site) -> Result<BTreeMap<String, User>, Error> {
    let tls = &site.tls;
    let verified = format!("?sslmode=verify-full&sslrootcert={}", encoded(&tls.ca.to_string_lossy()));
    let certified = format!(
        "{verified}&sslcert={}&sslkey={}",
        encoded(&tls.client_cert.to_string_lossy()),
        encoded(&tls.client_key.to_string_lossy())
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

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

/// The folder of the server's programs: the newest of Debian's, or what `pg_config` names.
fn programs() -> Result<PathBuf, Error> {
    let advice = "install PostgreSQL (Debian: apt-get install postgresql) or let a Docker engine pull it";
    packages::find_or_install("PostgreSQL's initdb", "postgresql", advice, || {
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
struct Layout {
    folder: PathBuf,
    data: PathBuf,
    socket: PathBuf,
    config: PathBuf,
    log: PathBuf,
}

impl Layout {
    fn create(site: &Site, account: &Account) -> Result<Self, Error> {
        let folder = site.server_folder(SERVICE.name, account)?;
        let layout = Layout {
            data: folder.join("data"),
            socket: folder.join("socket"),
            config: folder.join("postgresql.conf"),
            log: folder.join("log"),
            folder,
        };
        if layout.socket.as_os_str().len() + SOCKET_NAME.len() > SOCKET_PATH_LIMIT {
            return Err(Error::LongSocket { path: layout.socket });
        }
        account.private_folder(&layout.data)?;
        account.private_folder(&layout.socket)?;
        Ok(layout)
    }

    fn write_data(&self, programs: &Path, account: &Account, password: &str) -> Result<(), Error> {
        let file = self.folder.join("password");
        account.private_file(&file, format!("{password}\n").as_bytes())?;
        let mut command = account.command(&programs.join("initdb"));
        command.arg("--pgdata").arg(&self.data).arg("--pwfile").arg(&file);
        command.args(["--username=admin", "--auth-host=scram-sha-256", "--auth-local=scram-sha-256"]);
        command.args(["--encoding=UTF8", "--locale=C.UTF-8", "--no-sync"]);
        Run::new(command, "initdb", INIT_LIMIT).capture()?;
        fs::remove_file(&file).map_err(Error::io("remove", &file))
    }

    fn write_settings(&self, site: &Site, account: &Account, port: u16) -> Result<(), Error> {
        let place = |name: &str| self.folder.join(name);
        for (name, from) in [
            ("server.key", site.tls.server_key()),
            ("server.crt", site.tls.server_cert()),
            ("ca.crt", site.tls.ca.clone()),
        ] {
            let text = fs::read(&from).map_err(Error::io("read", &from))?;
            account.private_file(&place(name), &text)?;
        }
        account.private_file(&place("pg_hba.conf"), ACCESS.as_bytes())?;
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
        account.private_file(&self.config, format!("{SETTINGS}\n{addresses}{files}").as_bytes())
    }
}

fn setting(name: &str, path: &Path) -> String {
    format!("{name} = '{}'\n", path.display().to_string().replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_survives_its_url() {
        let awkward = "p!@/%:?#&+ '$\"";
        let decoded =
            percent_encoding::percent_decode_str(&encoded(awkward)).decode_utf8().unwrap().into_owned();
        assert_eq!(decoded, awkward);
        assert!(!encoded(awkward).contains(['@', '/', ':', '?', '#', ' ']));
    }

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
