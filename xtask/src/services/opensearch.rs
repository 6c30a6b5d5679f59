//! The search engines: OpenSearch's interface by a program from PyPI that keeps everything in memory, or the containers of
//! OpenSearch and of two versions of Elasticsearch.
//!
//! Nobody is asked who they are: `app` and `reader` are the same. There is no TLS.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::error::Error;
use crate::services::account::Account;
use crate::services::docker;
use crate::services::downloads::Python;
use crate::services::http;
use crate::services::launch::{Facts, Launch, adopted};
use crate::services::mysql::is_set_up;
use crate::services::site::{Site, free_port};
use crate::services::state::{Server, User};
use crate::services::{Edition, Service};

const REQUIREMENTS: &str = include_str!("../../services/opensearch/requirements.txt");

pub(super) const SERVICE: Service = Service {
    name: "opensearch",
    title: "OpenSearch",
    recipe: &[REQUIREMENTS],
    containers: &[],
    editions: &[
        Edition { title: "OpenSearch 3", version: "3.", container: "opensearch3" },
        Edition { title: "Elasticsearch 9", version: "9.", container: "elasticsearch9" },
        Edition { title: "Elasticsearch 8", version: "8.", container: "elasticsearch8" },
    ],
    port: 9200,
    tls_port: None,
    on_demand: false,
    is_engine: false,
    start: Some(start),
    adopt: Some(adopt),
    version,
};

const PACKAGES: Python = Python { name: "opensearch", requirements: REQUIREMENTS };
const PROGRAM: &str = "osmem-server";

fn start(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let program = PACKAGES.fetch_program(&account, PROGRAM)?;
    let folder = site.server_folder(SERVICE.name, &account)?;
    let port = free_port()?;
    let mut command = account.command(&program);
    command.args(["-addr", &format!("127.0.0.1:{port}"), "-no-stdin-watch"]);
    let facts = Facts {
        stand_in: Some(REQUIREMENTS.lines().next().unwrap_or_default().replace("==", " ")),
        bin_dir: program.parent().map(PathBuf::from),
        run_as: account.name(),
        ..facts(port)
    };
    let log = folder.join("log");
    Launch { site, service: &SERVICE, folder, log }.run(command, facts, is_set_up)
}

fn adopt(site: &Site, container: docker::Container) -> Result<Server, Error> {
    let facts = facts(container.port);
    adopted(site, &SERVICE, container, facts, is_set_up)
}

fn version(_site: &Site, server: &Server) -> Result<String, Error> {
    let found = http::get(server.port, "/", &[])?;
    let answer: Option<Value> = serde_json::from_str(&found).ok();
    let number = answer.as_ref().and_then(|answer| answer.pointer("/version/number")?.as_str());
    number.map(str::to_owned).ok_or(Error::Unexpected { what: format!("port {}", server.port), found })
}

fn facts(port: u16) -> Facts {
    let user = |name: &str| User {
        name: name.to_owned(),
        password: None,
        auth: "none".to_owned(),
        url: format!("http://127.0.0.1:{port}"),
    };
    let users: BTreeMap<String, User> =
        ["app", "reader"].into_iter().map(|name| (name.to_owned(), user(name))).collect();
    Facts { users, ..Facts::new(port) }
}
