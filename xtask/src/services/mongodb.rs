//! MongoDB: a stand-in from the package registries, or the containers of two versions.
//!
//! There is no server of MongoDB's own in any registry. SecantusDB speaks its protocol and is met instead:
//! [`SERVICE`] is its Python edition, quick to install; [`FAST`] is its Rust edition, which takes minutes to
//! build and is there for benchmarks, on demand. Both make the whole result at `find`.
//!
//! All connections are by TLS. Every user is known to the database `admin`.
//!
//! | role | way in | may |
//! |---|---|---|
//! | `admin`, `app`, `tls` | scram | everything |
//! | `reader` | scram | read every database |
//! | `mtls` | the client's certificate; on the stand-in, which has no such users, a password too | everything |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::command::Run;
use crate::error::Error;
use crate::services::account::{Account, clean};
use crate::services::daemon::Record;
use crate::services::docker::{self, Container};
use crate::services::downloads::{Python, cached};
use crate::services::launch::{Facts, Launch, adopted};
use crate::services::mysql::is_set_up;
use crate::services::site::{Site, encoded, encoded_path, free_port, password};
use crate::services::state::{Origin, Server, User};
use crate::services::{Edition, Service, packages};

const REQUIREMENTS: &str = include_str!("../../services/mongodb/requirements.txt");
const CLIENT: &str = include_str!("../../services/mongodb/client.py");
const USERS: &str = include_str!("../../services/mongodb/users.js");
const ENTRYPOINT: &str = include_str!("../../services/mongodb/entrypoint.sh");

pub(super) const SERVICE: Service = Service {
    name: "mongodb",
    title: "MongoDB",
    recipe: &[REQUIREMENTS, CLIENT],
    containers: &[USERS, ENTRYPOINT],
    editions: &[
        Edition { title: "MongoDB 8", version: "8.", container: "mongodb8" },
        Edition { title: "MongoDB 7", version: "7.", container: "mongodb7" },
    ],
    port: 27017,
    tls_port: None,
    on_demand: false,
    is_engine: false,
    start: Some(start),
    adopt: Some(adopt),
    version,
};

pub(super) const FAST: Service = Service {
    name: "mongodb-fast",
    title: "MongoDB (fast)",
    recipe: &[REQUIREMENTS, CLIENT, CRATE_VERSION],
    containers: &[],
    editions: &[],
    on_demand: true,
    is_engine: false,
    start: Some(start_fast),
    adopt: None,
    ..SERVICE
};

const PACKAGES: Python = Python { name: "mongodb", requirements: REQUIREMENTS };
/// GPL-2.0: a program that is started, never a library that is linked.
const CRATE: &str = "secantus-mdb";
const CRATE_VERSION: &str = "0.5.3-beta.193";
const BUILD_LIMIT: Duration = Duration::from_mins(30);
const ASK_LIMIT: Duration = Duration::from_secs(20);

fn start(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let python = PACKAGES.fetch(&account)?;
    let program = python.with_file_name("secantusd-py");
    let stand_in = REQUIREMENTS.lines().next().unwrap_or_default().replace("==", " ");
    launch(site, &SERVICE, &account, &program, stand_in)
}

fn start_fast(site: &Site) -> Result<Server, Error> {
    let account = Account::find()?;
    let program = build(&account)?;
    launch(site, &FAST, &account, &program, format!("{CRATE} {CRATE_VERSION}"))
}

/// The Rust edition, built once.
fn build(account: &Account) -> Result<PathBuf, Error> {
    let advice = "install CMake (Debian: apt-get install cmake)";
    packages::find_or_install("cmake", &["cmake"], advice, || packages::find("cmake"))?;
    let folder = cached(account, CRATE, &CRATE_VERSION, |folder| {
        println!("building {CRATE} {CRATE_VERSION}: this takes minutes, once");
        let mut command = crate::workspace::cargo(["install", CRATE, "--version", CRATE_VERSION]);
        // It says that it wants a newer compiler, and builds with this one.
        command.args(["--ignore-rust-version", "--locked", "--quiet", "--root"]).arg(folder);
        command.arg("--target-dir").arg(folder.join("build"));
        Run::new(command, "cargo install", BUILD_LIMIT).capture()?;
        crate::services::daemon::remove_folder(&folder.join("build"))
    })?;
    Ok(folder.join("bin/secantusd-rs"))
}

/// Starts `program` twice: without authentication to make the users, then with it.
fn launch(
    site: &Site,
    service: &'static Service,
    account: &Account,
    program: &Path,
    stand_in: String,
) -> Result<Server, Error> {
    let folder = site.server_folder(service.name, account)?;
    let data = folder.join("data");
    account.private_folder(&data)?;
    site.install_tls(&folder, account)?;
    let log = folder.join("log");
    let server = |port: u16| {
        let mut command = account.command(program);
        command.args(["--host", "127.0.0.1", "--port", &port.to_string(), "--cache-size", "256M"]);
        command.arg("--storage-path").arg(&data);
        command.arg("--tls-cert-file").arg(folder.join("server.crt"));
        command.arg("--tls-key-file").arg(folder.join("server.key"));
        command.arg("--tls-ca-file").arg(folder.join("ca.crt"));
        command
    };

    let port = free_port()?;
    let users = users(site, port, Certificate::WithPassword)?;
    make_users(site, service, server(free_port()?), &folder, &users)?;

    let port_facts = Facts::new(port);
    let facts = Facts {
        stand_in: Some(stand_in),
        bin_dir: program.parent().map(PathBuf::from),
        run_as: account.name(),
        users,
        ..port_facts
    };
    let mut command = server(port);
    command.arg("--auth");
    Launch { site, service, folder: folder.clone(), log }.run(command, facts, is_set_up)
}

/// Starts `server` for as long as it takes to make the users: only a server that asks nobody lets them be made.
fn make_users(
    site: &Site,
    service: &'static Service,
    command: Command,
    folder: &Path,
    users: &BTreeMap<String, User>,
) -> Result<(), Error> {
    let port = command.get_args().skip_while(|word| *word != "--port").nth(1);
    let port = port.and_then(|port| port.to_str()?.parse().ok()).ok_or(Error::NothingRuns)?;
    let log = folder.join("log-users");
    let record = Record::start(&site.folder, service.name, folder, command, &log)?;
    let open = url(site, "", port);
    let facts = Facts { users: [("admin".to_owned(), open_user(&open))].into(), ..Facts::new(port) };
    let server = facts.server(service, Origin::Native(record.process));
    let list = users.values().map(|user| {
        let role = if user.name == "reader" { "readAnyDatabase" } else { "root" };
        json!({ "user": user.name, "pwd": user.password, "roles": [role] })
    });
    let request = json!({ "url": open, "users": list.collect::<Vec<_>>() });
    let made =
        crate::services::launch::wait(site, service, &server, &log).and_then(|()| ask("users", &request));
    record.end()?;
    made.map(drop)
}

/// Who asks a server that asks nobody.
fn open_user(url: &str) -> User {
    User { name: String::new(), password: None, auth: String::new(), url: url.to_owned() }
}

fn adopt(site: &Site, container: Container) -> Result<Server, Error> {
    let users = users(site, container.port, Certificate::Alone)?;
    adopted(
        site,
        &SERVICE,
        container.clone(),
        Facts { users, ..Facts::new(container.port) },
        |site, server| {
            let passwords: BTreeMap<&str, Option<&str>> =
                server.users.iter().map(|(role, user)| (role.as_str(), user.password.as_deref())).collect();
            let script = format!("const passwords = {};\n{USERS}", json!(passwords));
            match &server.origin {
                Origin::Docker { container, .. } => shell(site, container, script).map(drop),
                Origin::Native(_) | Origin::Found => Ok(()),
            }
        },
    )
}

fn version(site: &Site, server: &Server) -> Result<String, Error> {
    match &server.origin {
        Origin::Docker { container, .. } => shell(site, container, "print(db.version())".to_owned()),
        Origin::Native(_) | Origin::Found => {
            let admin = server.users.get("admin").ok_or(Error::NothingRuns)?;
            ask("version", &json!({ "url": admin.url }))
        }
    }
}

/// Asks by the client for Python.
fn ask(what: &str, request: &serde_json::Value) -> Result<String, Error> {
    let python = PACKAGES.fetch(&Account::find()?)?;
    let mut command = Command::new(python);
    clean(&mut command);
    command.args(["-c", CLIENT, what]);
    Run::new(command, "the MongoDB client", ASK_LIMIT).input(request.to_string()).capture()
}

/// Runs a script in a container, as `admin`.
fn shell(site: &Site, container: &str, script: String) -> Result<String, Error> {
    let mut command = docker::inside(container, "PASSWORD", "sh");
    let client = "exec mongosh --quiet --tls --tlsCAFile /etc/semilayer/ca.crt --host localhost \
                  --username admin --password \"$PASSWORD\" --file /dev/stdin";
    command.args(["-c", client]).env("PASSWORD", &site.admin_password);
    Run::new(command, "mongosh", ASK_LIMIT).input(script).capture()
}

/// What it takes to come in as `mtls`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Certificate {
    Alone,
    WithPassword,
}

fn users(site: &Site, port: u16, certificate: Certificate) -> Result<BTreeMap<String, User>, Error> {
    let mut users = BTreeMap::new();
    for role in ["admin", "app", "tls", "reader", "mtls"] {
        let secret = if role == "admin" { site.admin_password.clone() } else { password()? };
        let alone = role == "mtls" && certificate == Certificate::Alone;
        let auth = if alone { "MONGODB-X509" } else { "SCRAM-SHA-256" };
        let who = if alone { String::new() } else { format!("{role}:{}@", encoded(&secret)) };
        let mut url = format!("{}&authMechanism={auth}", url(site, &who, port));
        if role == "mtls" {
            url.push_str(&format!("&tlsCertificateKeyFile={}", encoded_path(&site.tls.client_pem()?)));
        }
        url.push_str(if alone { "&authSource=%24external" } else { "&authSource=admin" });
        let name = if alone { "CN=semilayer-client" } else { role }.to_owned();
        let password = (!alone).then_some(secret);
        users.insert(role.to_owned(), User { name, password, auth: auth.to_owned(), url });
    }
    Ok(users)
}

/// `directConnection`: the server says that it is the only member of a set, by a name of its own.
fn url(site: &Site, who: &str, port: u16) -> String {
    let ca = encoded_path(&site.tls.ca);
    format!("mongodb://{who}127.0.0.1:{port}/semilayer?directConnection=true&tls=true&tlsCAFile={ca}")
}
