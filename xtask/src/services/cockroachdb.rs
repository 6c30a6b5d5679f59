//! CockroachDB: a container; no package of a distribution or a registry has it.
//!
//! | role | way in | may |
//! |---|---|---|
//! | `app` | scram | everything |
//! | `reader` | scram | connect; what it may read is granted by tests |
//! | `tlsonly` | scram; its URL asks for TLS | connect |
//! | `mtls` | the client certificate, whose name stands for this user | connect |

use std::collections::BTreeMap;
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::services::docker::{self, Container};
use crate::services::launch::{Facts, adopted};
use crate::services::site::{Site, encoded, encoded_path, password};
use crate::services::state::{Origin, Server, User};
use crate::services::{Edition, Service};

const ENTRYPOINT: &str = include_str!("../../services/cockroachdb/entrypoint.sh");
const INIT: &str = include_str!("../../services/cockroachdb/init.sql");

pub(super) const SERVICE: Service = Service {
    name: "cockroachdb",
    title: "CockroachDB",
    recipe: &[],
    containers: &[ENTRYPOINT, INIT],
    editions: &[Edition { title: "CockroachDB", version: "", container: "cockroachdb" }],
    port: 26257,
    tls_port: None,
    on_demand: false,
    is_engine: false,
    start: None,
    adopt: Some(adopt),
    version,
};

const DATABASE: &str = "semilayer";
const ASK_LIMIT: Duration = Duration::from_secs(20);

fn adopt(site: &Site, container: Container) -> Result<Server, Error> {
    let facts = Facts { users: users(site, container.port)?, ..Facts::new(container.port) };
    adopted(site, &SERVICE, container, facts, |_, server| {
        let script = server.users.iter().fold(INIT.to_owned(), |script, (role, user)| {
            let password = user.password.as_deref().unwrap_or_default().replace('\'', "''");
            script.replace(&format!("{{{role}}}"), &format!("'{password}'"))
        });
        query(server, script).map(drop)
    })
}

/// `v25.4.1`, out of `CockroachDB CCL v25.4.1 (..)`.
fn version(_: &Site, server: &Server) -> Result<String, Error> {
    let found = query(server, "SELECT version();".to_owned())?;
    let version = found.split_whitespace().find(|word| word.starts_with('v') && word.contains('.'));
    version.map(str::to_owned).ok_or(Error::Unexpected { what: "version()".to_owned(), found })
}

/// Runs a script in the container, as `root`, whose certificate is there.
fn query(server: &Server, script: String) -> Result<String, Error> {
    let Origin::Docker { container, .. } = &server.origin else { return Err(Error::NothingRuns) };
    let mut command = docker::inside(container, "LC_ALL", "/cockroach/cockroach");
    command.args(["sql", "--certs-dir=/etc/semilayer", "--host=localhost", "--format=tsv"]);
    Run::new(command, "cockroach sql", ASK_LIMIT).input(script).capture()
}

fn users(site: &Site, port: u16) -> Result<BTreeMap<String, User>, Error> {
    let tls = &site.tls;
    let verified = format!("?sslmode=verify-full&sslrootcert={}", encoded_path(&tls.ca));
    let certified = format!(
        "{verified}&sslcert={}&sslkey={}",
        encoded_path(&tls.client_cert),
        encoded_path(&tls.client_key)
    );
    let roles = [
        ("app", Some(password()?), ""),
        ("reader", Some(password()?), ""),
        ("tlsonly", Some(password()?), verified.as_str()),
        ("mtls", None, certified.as_str()),
    ];
    let users = roles.into_iter().map(|(role, password, parameters)| {
        let secret = password.as_ref().map(|text| format!(":{}", encoded(text))).unwrap_or_default();
        let auth = if password.is_some() { "scram-sha-256" } else { "cert" };
        let url = format!("postgres://{role}{secret}@127.0.0.1:{port}/{DATABASE}{parameters}");
        (role.to_owned(), User { name: role.to_owned(), password, auth: auth.to_owned(), url })
    });
    Ok(users.collect())
}
