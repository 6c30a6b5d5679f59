//! MySQL: one server unpacked from Debian's newest packages, or the containers of two versions.
//!
//! Who is who, here and on MariaDB (xtask/services/mysql/init.sql makes it so):
//!
//! | role | way in | may |
//! |---|---|---|
//! | `admin`, `app` | password | everything: make databases and users |
//! | `tls` | password, refused without TLS | everything in the database |
//! | `mtls` | the client certificate, refused without it | everything in the database |

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::services::account::{Account, clean};
use crate::services::docker::{self, Container};
use crate::services::downloads::{Debian, Suite};
use crate::services::launch::{Facts, Launch, adopted};
use crate::services::site::{Site, encoded, encoded_path, free_port, password};
use crate::services::state::{Origin, Server, User};
use crate::services::{Edition, Service};

const SETTINGS: &str = include_str!("../../services/mysql/settings.cnf");
const ENTRYPOINT: &str = include_str!("../../services/mysql/entrypoint.sh");
/// Users and database, of MariaDB too.
pub(super) const INIT: &str = include_str!("../../services/mysql/init.sql");

pub(super) const SERVICE: Service = Service {
    name: "mysql",
    title: "MySQL",
    recipe: &[SETTINGS, INIT],
    containers: &[SETTINGS, INIT, ENTRYPOINT],
    editions: &[
        Edition { title: "MySQL 9", version: "9.", container: "mysql9" },
        Edition { title: "MySQL 8", version: "8.", container: "mysql8" },
    ],
    port: 3306,
    tls_port: None,
    on_demand: false,
    is_engine: false,
    start: Some(start),
    adopt: Some(adopt),
    version,
};

const PACKAGES: Debian = Debian {
    name: "mysql",
    suite: Suite::Sid,
    packages: &["mysql-server-core", "mysql-client-core", "libc6"],
    programs: &["usr/sbin/mysqld", "usr/bin/mysql"],
};

const DATABASE: &str = "semilayer";
const INIT_LIMIT: Duration = Duration::from_mins(2);
const ASK_LIMIT: Duration = Duration::from_secs(10);

fn start(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let packages = PACKAGES.fetch(&account)?;
    let programs = packages.join("bin");
    let port = free_port()?;
    let users = users(site, port)?;
    let layout = Layout::create(site, SERVICE.name, &account)?;
    let places = places_of(&packages, &packages.join("usr/share/mysql"));
    layout.write_settings(site, &account, port, &format!("{SETTINGS}{places}secure_file_priv = NULL\n"))?;

    let mysqld = || {
        let mut command = account.command(&programs.join("mysqld"));
        command.arg(layout.settings_argument());
        command
    };
    let script = layout.write_script(&account, &format!("{}DROP USER root@localhost;\n", init(&users)))?;
    let mut command = mysqld();
    command.arg("--initialize-insecure").arg(format!("--init-file={}", script.display()));
    Run::new(command, "mysqld --initialize", INIT_LIMIT).capture()?;
    fs::remove_file(&script).map_err(Error::io("remove", &script))?;

    let command = mysqld();
    let facts = Facts {
        socket_dir: Some(layout.socket),
        bin_dir: Some(programs),
        run_as: account.name(),
        users,
        ..Facts::new(port)
    };
    Launch { site, service: &SERVICE, folder: layout.folder, log: layout.log }.run(command, facts, is_set_up)
}

/// Settings of a program that would look for these where Debian would have put them, MariaDB's too.
pub(super) fn places_of(packages: &Path, share: &Path) -> String {
    settings_lines(&[
        ("basedir", packages.join("usr")),
        ("lc_messages_dir", share.to_owned()),
        ("character_sets_dir", share.join("charsets")),
        ("plugin_dir", packages.join("usr/lib/mysql/plugin")),
    ])
}

fn adopt(site: &Site, container: Container) -> Result<Server, Error> {
    let facts = Facts { users: users(site, container.port)?, ..Facts::new(container.port) };
    adopted(site, &SERVICE, container, facts, |site, server| {
        set_up_container(site, server, "mysql", &init(&server.users))
    })
}

fn version(site: &Site, server: &Server) -> Result<String, Error> {
    match &server.origin {
        Origin::Docker { container, .. } => query_inside(site, container, "mysql", "admin", VERSION),
        Origin::Native(_) | Origin::Found => {
            let folder = server.bin_dir.as_ref().ok_or(Error::NothingRuns)?;
            let mut command = client(&folder.join("mysql"), server, site);
            command.arg("--ssl-mode=VERIFY_IDENTITY");
            Run::new(command, "mysql", ASK_LIMIT).input(VERSION.to_owned()).capture()
        }
    }
}

pub(super) const VERSION: &str = "SELECT version();";

/// For servers that were given their users while they were made.
pub(super) fn is_set_up(_: &Site, _: &Server) -> Result<(), Error> {
    Ok(())
}

/// Runs a script as `root`, who has the same password as `admin`, in a new container.
pub(super) fn set_up_container(
    site: &Site,
    server: &Server,
    program: &str,
    script: &str,
) -> Result<(), Error> {
    match &server.origin {
        Origin::Docker { container, .. } => query_inside(site, container, program, "root", script).map(drop),
        Origin::Native(_) | Origin::Found => Ok(()),
    }
}

pub(super) fn query_inside(
    site: &Site,
    container: &str,
    program: &str,
    user: &str,
    script: &str,
) -> Result<String, Error> {
    let mut command = docker::inside(container, "MYSQL_PWD", program);
    command.args(["--host=127.0.0.1", "--protocol=TCP", "--batch", "--skip-column-names"]);
    command.arg(format!("--user={user}")).env("MYSQL_PWD", &site.admin_password);
    Run::new(command, program, ASK_LIMIT).input(script.to_owned()).capture()
}

/// A client of `server`, as `admin`, by TLS: an answer is the answer of a server of ours.
pub(super) fn client(program: &Path, server: &Server, site: &Site) -> Command {
    let mut command = Command::new(program);
    clean(&mut command);
    command.args(["--no-defaults", "--protocol=TCP", "--host=127.0.0.1", "--user=admin"]);
    command.args(["--batch", "--skip-column-names", "--connect-timeout=5"]);
    command.arg(format!("--port={}", server.port)).arg(format!("--ssl-ca={}", site.tls.ca.display()));
    command.env("MYSQL_PWD", &site.admin_password);
    command
}

/// The roles with new passwords.
pub(super) fn users(site: &Site, port: u16) -> Result<BTreeMap<String, User>, Error> {
    let tls = &site.tls;
    let verified = format!("?ssl-mode=VERIFY_IDENTITY&ssl-ca={}", encoded_path(&tls.ca));
    let certified = format!(
        "{verified}&ssl-cert={}&ssl-key={}",
        encoded_path(&tls.client_cert),
        encoded_path(&tls.client_key)
    );
    let roles = [
        ("admin", Some(site.admin_password.clone()), ""),
        ("app", Some(password()?), ""),
        ("tls", Some(password()?), verified.as_str()),
        ("mtls", None, certified.as_str()),
    ];
    let users = roles.into_iter().map(|(role, password, parameters)| {
        let secret = password.as_ref().map(|text| format!(":{}", encoded(text))).unwrap_or_default();
        let url = format!("mysql://{role}{secret}@127.0.0.1:{port}/{DATABASE}{parameters}");
        let auth = if password.is_some() { "password" } else { "certificate" };
        (role.to_owned(), User { name: role.to_owned(), password, auth: auth.to_owned(), url })
    });
    Ok(users.collect())
}

/// [`INIT`] with its passwords.
pub(super) fn init(users: &BTreeMap<String, User>) -> String {
    users.iter().fold(INIT.to_owned(), |script, (role, user)| {
        let password = user.password.as_deref().unwrap_or_default();
        script.replace(&format!("{{{role}}}"), &quoted(password))
    })
}

/// A string literal of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', "''"))
}

/// Lines of a settings file.
fn settings_lines(settings: &[(&str, PathBuf)]) -> String {
    settings.iter().map(|(name, value)| format!("{name} = {}\n", value.display())).collect()
}

/// The files of one server, MariaDB's too. The account owns `data`, `socket` and the private files; the rest
/// is ours.
pub(super) struct Layout {
    pub(super) folder: PathBuf,
    pub(super) data: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) settings: PathBuf,
    pub(super) log: PathBuf,
}

impl Layout {
    pub(super) fn create(site: &Site, name: &str, account: &Account) -> Result<Self, Error> {
        let folder = site.server_folder(name, account)?;
        let layout = Layout {
            data: folder.join("data"),
            socket: site.socket_folder(&folder, "/server.sock.lock")?,
            settings: folder.join("settings.cnf"),
            log: folder.join("log"),
            folder,
        };
        account.private_folder(&layout.data)?;
        account.private_folder(&layout.socket)?;
        Ok(layout)
    }

    /// `settings` and where everything is. The files are the account's alone: a server refuses settings that
    /// others may write.
    pub(super) fn write_settings(
        &self,
        site: &Site,
        account: &Account,
        port: u16,
        settings: &str,
    ) -> Result<(), Error> {
        site.install_tls(&self.folder, account)?;
        let places = settings_lines(&[
            ("datadir", self.data.clone()),
            ("socket", self.socket.join("server.sock")),
            ("pid_file", self.socket.join("server.pid")),
            ("ssl_ca", self.folder.join("ca.crt")),
            ("ssl_cert", self.folder.join("server.crt")),
            ("ssl_key", self.folder.join("server.key")),
        ]);
        let text = format!("{settings}bind_address = 127.0.0.1\nport = {port}\n{places}");
        account.private_file(&self.settings, text.as_bytes())
    }

    /// The first argument of every program that reads the settings.
    pub(super) fn settings_argument(&self) -> String {
        format!("--defaults-file={}", self.settings.display())
    }

    /// SQL for a server that is being made; to be removed, because it has passwords.
    pub(super) fn write_script(&self, account: &Account, script: &str) -> Result<PathBuf, Error> {
        let path = self.folder.join("init.sql");
        account.private_file(&path, script.as_bytes())?;
        Ok(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_can_leave_its_literal() {
        assert_eq!(quoted(r"a'b\c"), r"'a''b\\c'");
    }

    #[test]
    fn the_script_names_every_role_and_keeps_no_place_open() {
        let user = |role: &str, password: Option<&str>| {
            let password = password.map(str::to_owned);
            (
                role.to_owned(),
                User { name: role.to_owned(), password, auth: String::new(), url: String::new() },
            )
        };
        let users = [
            user("admin", Some("one")),
            user("app", Some("t'wo")),
            user("tls", Some("three")),
            user("mtls", None),
        ];
        let script = init(&users.into());
        assert!(script.contains("app@'%' IDENTIFIED BY 't''wo'"), "{script}");
        let statements: String = script.lines().filter(|line| !line.starts_with("--")).collect();
        assert!(!statements.contains('{'), "{statements}");
    }
}
