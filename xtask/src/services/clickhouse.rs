//! ClickHouse: its engine behind a front of ours, or the containers of two versions.
//!
//! No registry has a newer server than [`super::clickhouse_old`], but PyPI has the newest engine as a library.
//! `xtask/services/clickhouse/front.py` puts the HTTP interface before it.
//!
//! | role | way in | may |
//! |---|---|---|
//! | `admin`, `app` | password | everything |
//! | `tls` | password; its URL is that of the TLS port (ClickHouse cannot refuse it at the other) | everything |
//! | `mtls` | the client's certificate, asked for by the header `X-ClickHouse-SSL-Certificate-Auth: on` | everything |
//! | `reader` | password | `SELECT`, without changing any setting (`readonly = 1`) |

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::command::Run;
use crate::error::Error;
use crate::services::account::Account;
use crate::services::docker::{self, Container};
use crate::services::downloads::Python;
use crate::services::launch::{Facts, Launch, adopted};
use crate::services::mysql::is_set_up;
use crate::services::site::{Site, encoded, free_port, password};
use crate::services::state::{Origin, Server, User};
use crate::services::{Edition, Service, http};

const REQUIREMENTS: &str = include_str!("../../services/clickhouse/requirements.txt");
const FRONT: &str = include_str!("../../services/clickhouse/front.py");
const SETTINGS: &str = include_str!("../../services/clickhouse/server.xml");
const ENTRYPOINT: &str = include_str!("../../services/clickhouse/entrypoint.sh");
const USERS: &str = include_str!("../../services/clickhouse/users.sql");

pub(super) const SERVICE: Service = Service {
    name: "clickhouse",
    title: "ClickHouse",
    recipe: &[REQUIREMENTS, FRONT],
    containers: &[SETTINGS, ENTRYPOINT, USERS],
    editions: &[
        Edition { title: "ClickHouse newest", version: "26.9.", container: "clickhouse" },
        Edition { title: "ClickHouse LTS", version: "26.8.", container: "clickhouse-lts" },
    ],
    port: 8123,
    tls_port: Some(8443),
    on_demand: false,
    is_engine: false,
    start: Some(start),
    adopt: Some(adopt),
    version,
};

const PACKAGES: Python = Python { name: "clickhouse", requirements: REQUIREMENTS };
const DATABASE: &str = "semilayer";
/// The common name of the client's certificate.
const CLIENT: &str = "semilayer-client";
const ASK_LIMIT: Duration = Duration::from_secs(20);

fn start(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let python = PACKAGES.fetch(&account)?;
    let folder = site.server_folder(SERVICE.name, &account)?;
    account.private_folder(&folder.join("data"))?;
    site.install_tls(&folder, &account)?;
    let (port, tls_port) = (free_port()?, free_port()?);
    let users = users(site, port, tls_port)?;

    let settings = json!({
        "host": "127.0.0.1",
        "port": port,
        "tlsPort": tls_port,
        "certificate": folder.join("server.crt"),
        "key": folder.join("server.key"),
        "ca": folder.join("ca.crt"),
        "data": folder.join("data"),
        "database": DATABASE,
        "users": users.values().map(known).collect::<Vec<_>>(),
    });
    account.private_file(&folder.join("settings.json"), settings.to_string().as_bytes())?;
    account.private_file(&folder.join("front.py"), FRONT.as_bytes())?;
    let mut command = account.command(&python);
    command.arg(folder.join("front.py")).arg(folder.join("settings.json"));
    let facts = Facts {
        tls_port: Some(tls_port),
        stand_in: Some(REQUIREMENTS.lines().next().unwrap_or_default().replace("==", " ")),
        run_as: account.name(),
        users,
        ..Facts::new(port)
    };
    let log = folder.join("log");
    Launch { site, service: &SERVICE, folder, log }.run(command, facts, is_set_up)
}

/// A user as the front wants to know one.
fn known(user: &User) -> serde_json::Value {
    let readonly = u8::from(user.name == "reader");
    let certificate = user.password.is_none().then_some(CLIENT);
    json!({ "name": user.name, "password": user.password, "readonly": readonly, "certificate": certificate })
}

fn adopt(site: &Site, container: Container) -> Result<Server, Error> {
    let tls_port = container.tls_port.unwrap_or(container.port);
    let users = users(site, container.port, tls_port)?;
    let facts = Facts { tls_port: Some(tls_port), users, ..Facts::new(container.port) };
    adopted(site, &SERVICE, container, facts, |site, server| {
        let script = server.users.iter().fold(USERS.to_owned(), |script, (role, user)| {
            let password = user.password.as_deref().unwrap_or_default();
            script.replace(&format!("{{{role}}}"), &quoted(password))
        });
        match &server.origin {
            Origin::Docker { container, .. } => inside(site, container, script),
            Origin::Native(_) | Origin::Found => Ok(()),
        }
    })
}

/// Runs a script in a container, as `admin`.
fn inside(site: &Site, container: &str, script: String) -> Result<(), Error> {
    let mut command = docker::inside(container, "CLICKHOUSE_PASSWORD", "clickhouse-client");
    command.args(["--user=admin", "--multiquery"]).env("CLICKHOUSE_PASSWORD", &site.admin_password);
    Run::new(command, "clickhouse-client", ASK_LIMIT).input(script).capture().map(drop)
}

pub(super) fn version(site: &Site, server: &Server) -> Result<String, Error> {
    let credentials = [("X-ClickHouse-User", "admin"), ("X-ClickHouse-Key", &site.admin_password)];
    let found = http::post(server.port, "/", &credentials, "SELECT version()")?;
    Ok(found.trim().to_owned())
}

fn users(site: &Site, port: u16, tls_port: u16) -> Result<BTreeMap<String, User>, Error> {
    let mut users = BTreeMap::new();
    for role in ["admin", "app", "reader", "tls", "mtls"] {
        let password = match role {
            "admin" => Some(site.admin_password.clone()),
            "mtls" => None,
            _ => Some(password()?),
        };
        users.insert(role.to_owned(), user(role, password, port, tls_port));
    }
    Ok(users)
}

/// A user whose URL is that of the TLS port where the role wants it.
pub(super) fn user(role: &str, password: Option<String>, port: u16, tls_port: u16) -> User {
    let secret = password.as_ref().map(|text| format!(":{}", encoded(text))).unwrap_or_default();
    let place = match role {
        // Its certificate says `localhost` and the address; clients differ in which they can verify.
        "tls" | "mtls" => format!("https://{role}{secret}@localhost:{tls_port}"),
        _ => format!("http://{role}{secret}@127.0.0.1:{port}"),
    };
    let auth = if password.is_some() { "password" } else { "certificate" };
    User { name: role.to_owned(), password, auth: auth.to_owned(), url: format!("{place}/{DATABASE}") }
}

/// A string literal of SQL.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_can_leave_its_literal() {
        assert_eq!(quoted(r"a'b\c"), r"'a\'b\\c'");
    }

    #[test]
    fn only_the_certificate_is_a_way_in_without_a_password() {
        let with = known(&user("app", Some("secret".to_owned()), 1, 2));
        assert_eq!(with["certificate"], serde_json::Value::Null);
        let without = known(&user("mtls", None, 1, 2));
        assert_eq!(without["certificate"], CLIENT);
        assert_eq!(without["password"], serde_json::Value::Null);
    }
}
