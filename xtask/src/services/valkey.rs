//! Valkey: the server that a Python package carries (built without TLS), or a container. Roles are those of
//! Redis.

use crate::error::Error;
use crate::services::account::Account;
use crate::services::downloads::Python;
use crate::services::redis::{self, ENTRYPOINT, SETTINGS, USERS};
use crate::services::site::Site;
use crate::services::state::Server;
use crate::services::{Edition, Service};

const REQUIREMENTS: &str = include_str!("../../services/valkey/requirements.txt");

pub(super) const SERVICE: Service = Service {
    name: "valkey",
    title: "Valkey",
    recipe: &[SETTINGS, USERS, REQUIREMENTS],
    containers: &[SETTINGS, USERS, ENTRYPOINT],
    editions: &[Edition { title: "Valkey 8", version: "8.", container: "valkey8" }],
    port: 6379,
    tls_port: Some(6380),
    on_demand: false,
    is_engine: false,
    start: Some(start),
    adopt: Some(|site, container| redis::adopt(site, &SERVICE, container)),
    version: redis::version,
};

const PACKAGES: Python = Python { name: "valkey", requirements: REQUIREMENTS };
const PROGRAM: &str = "valkey-server";

fn start(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let program = PACKAGES.fetch_program(&account, PROGRAM)?;
    let command = account.command(&program);
    redis::launch(site, &SERVICE, &account, command, redis::facts(site, &account, None)?)
}
