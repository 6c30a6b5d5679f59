//! An old ClickHouse: the newest real server that a distribution has, from 2018.
//!
//! It has what the front before the new engine cannot show (`KILL QUERY` between connections of a real server,
//! `system.query_log`), and it is what a bridge meets where nobody has upgraded for years: no query parameters,
//! no newer formats. Roles are those of the new one, except that none comes in by a certificate.

use std::collections::BTreeMap;
use std::path::Path;

use crate::error::Error;
use crate::services::account::Account;
use crate::services::downloads::{Debian, Suite};
use crate::services::launch::{Facts, Launch};
use crate::services::site::{Site, free_port, password};
use crate::services::state::{Server, User};
use crate::services::{Service, clickhouse, http};

const SETTINGS: &str = include_str!("../../services/clickhouse-old/config.xml");
const USERS: &str = include_str!("../../services/clickhouse-old/users.xml");
const USER: &str = include_str!("../../services/clickhouse-old/user.xml");

pub(super) const SERVICE: Service = Service {
    name: "clickhouse-old",
    title: "ClickHouse (old)",
    recipe: &[SETTINGS, USERS, USER],
    containers: &[],
    editions: &[],
    port: 8123,
    tls_port: Some(8443),
    on_demand: false,
    is_engine: false,
    start: Some(start),
    adopt: None,
    version: clickhouse::version,
};

const PACKAGES: Debian = Debian {
    name: "clickhouse-old",
    suite: Suite::Named("bookworm"),
    packages: &["clickhouse-server", "clickhouse-client", "libc6"],
    programs: &["usr/sbin/clickhouse-server", "usr/bin/clickhouse-client"],
};

fn start(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let programs = PACKAGES.fetch(&account)?.join("bin");
    let folder = site.server_folder(SERVICE.name, &account)?;
    account.private_folder(&folder.join("data"))?;
    site.install_tls(&folder, &account)?;
    let (port, tls_port) = (free_port()?, free_port()?);
    let users = users(site, port, tls_port)?;

    let place = |name: &str| escaped(&folder.join(name).to_string_lossy());
    let settings = filled(
        SETTINGS,
        &[
            ("port", &port.to_string()),
            ("tls_port", &tls_port.to_string()),
            ("tcp_port", &free_port()?.to_string()),
            ("data", &place("data")),
            ("users", &place("users.xml")),
            ("certificate", &place("server.crt")),
            ("key", &place("server.key")),
            ("ca", &place("ca.crt")),
        ],
    );
    account.private_file(&folder.join("config.xml"), settings.as_bytes())?;
    account.private_file(&folder.join("users.xml"), access(&users).as_bytes())?;
    let mut command = account.command(&programs.join("clickhouse-server"));
    command.arg(config_argument(&folder));
    let facts = Facts {
        tls_port: Some(tls_port),
        bin_dir: Some(programs),
        run_as: account.name(),
        users,
        ..Facts::new(port)
    };
    let log = folder.join("log");
    Launch { site, service: &SERVICE, folder, log }.run(command, facts, set_up)
}

fn config_argument(folder: &Path) -> String {
    format!("--config-file={}", folder.join("config.xml").display())
}

fn set_up(site: &Site, server: &Server) -> Result<(), Error> {
    let credentials = [("X-ClickHouse-User", "admin"), ("X-ClickHouse-Key", &site.admin_password)];
    let statement = format!("CREATE DATABASE {}", server.database);
    http::post(server.port, "/", &credentials, &statement).map(drop)
}

fn users(site: &Site, port: u16, tls_port: u16) -> Result<BTreeMap<String, User>, Error> {
    let mut users = BTreeMap::new();
    for role in ["admin", "app", "reader", "tls"] {
        let password = if role == "admin" { site.admin_password.clone() } else { password()? };
        users.insert(role.to_owned(), clickhouse::user(role, Some(password), port, tls_port));
    }
    Ok(users)
}

/// The file of users.
fn access(users: &BTreeMap<String, User>) -> String {
    let users = users.values().map(|user| {
        let profile = if user.name == "reader" { "readonly" } else { "default" };
        let password = escaped(user.password.as_deref().unwrap_or_default());
        filled(USER, &[("name", &user.name), ("profile", profile), ("password", &password)])
    });
    filled(USERS, &[("users", &users.map(|user| user.trim_end().to_owned()).collect::<String>())])
}

/// `text` with its words in braces replaced.
fn filled(text: &str, words: &[(&str, &str)]) -> String {
    words.iter().fold(text.to_owned(), |text, (word, value)| text.replace(&format!("{{{word}}}"), value))
}

/// Anything as the text of an element.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_text_and_never_markup() {
        let user = clickhouse::user("reader", Some("a<b>&{c}".to_owned()), 1, 2);
        let file = access(&[("reader".to_owned(), user)].into());
        assert!(file.contains("<password>a&lt;b&gt;&amp;{c}</password>"), "{file}");
        assert!(file.contains("<profile>readonly</profile>"), "{file}");
    }
}
