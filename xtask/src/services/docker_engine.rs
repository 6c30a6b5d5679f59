//! A Docker engine for tests, and a newer one beside it.
//!
//! The first is an engine that answers on this machine, or one of ours; the others are always ours, unpacked
//! from Debian's packages. An engine of ours needs root and nothing else: it runs in namespaces of its own,
//! sees no network but its containers', and takes what it made along when it ends. Its images are made here
//! from packages, those of a machine's engine are pulled where a registry can be reached.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::command::Run;
use crate::error::Error;
use crate::services::Service;
use crate::services::account::{Account, clean, is_root};
use crate::services::docker_engine::api::Api;
use crate::services::downloads::{Debian, Suite};
use crate::services::launch::{Facts, Launch};
use crate::services::packages;
use crate::services::site::Site;
use crate::services::state::{Engine, Origin, Server, write_private};
use crate::workspace;

mod api;
mod images;

const SCRIPT: &str = include_str!("../../services/docker/engine.sh");

/// The preferred one.
pub(super) const SERVICE: Service = Service {
    name: "docker",
    title: "Docker",
    recipe: &[SCRIPT, images::SCRIPT],
    start: Some(|site| start(site, &SERVICE)),
    ..NEWER
};

/// The newest of Debian.
pub(super) const NEWER: Service = Service {
    name: "docker-new",
    title: "Docker (new)",
    recipe: &[SCRIPT, images::SCRIPT],
    containers: &[],
    editions: &[],
    port: 0,
    tls_port: None,
    on_demand: false,
    is_engine: true,
    start: Some(|site| start(site, &NEWER)),
    adopt: None,
    version,
};

/// Like the first one of ours, with a single small image: for a test that hurts its engine.
pub(super) const BARE: Service = Service {
    name: "docker-bare",
    title: "Docker (bare)",
    recipe: &[SCRIPT, images::SCRIPT],
    on_demand: true,
    start: Some(|site| start(site, &BARE)),
    ..NEWER
};

const OLD_PACKAGES: Debian = Debian {
    name: "docker",
    suite: Suite::Named("bookworm"),
    packages: &[
        "docker.io",
        "containerd",
        "runc",
        "tini",
        "iptables",
        "iproute2",
        "procps",
        "base-files",
        "dash",
        "libc6",
    ],
    programs: &["usr/bin/docker"],
};
const NEW_PACKAGES: Debian = Debian {
    name: "docker-new",
    suite: Suite::Sid,
    packages: &[
        "docker.io",
        "docker-cli",
        "containerd",
        "runc",
        "tini",
        "iptables",
        "iproute2",
        "procps",
        "base-files",
        "dash",
        "libc6",
    ],
    programs: &["usr/bin/docker"],
};
/// gVisor. Later releases have ended in the midst of a test's containers.
const RUNSC_PACKAGES: Debian =
    Debian { name: "runsc", suite: Suite::Named("bookworm"), packages: &["runsc"], programs: &[] };

/// Links that packages have once they are installed: from where to what.
const LINKS: [(&str, &str); 7] = [
    ("usr/bin/sh", "dash"),
    ("usr/sbin/iptables", "xtables-nft-multi"),
    ("usr/sbin/iptables-save", "xtables-nft-multi"),
    ("usr/sbin/iptables-restore", "xtables-nft-multi"),
    ("usr/sbin/ip6tables", "xtables-nft-multi"),
    ("usr/sbin/ip6tables-save", "xtables-nft-multi"),
    ("usr/sbin/ip6tables-restore", "xtables-nft-multi"),
];
/// From the machine, to make the namespaces with.
const TOOLS: [&str; 4] = ["unshare", "setpriv", "mount", "ip"];
const ASK_LIMIT: Duration = Duration::from_secs(10);

/// What of engines was not met, for people.
pub(super) fn not_met(service: &Service, server: Option<&Server>) -> Option<String> {
    let Some(server) = server else {
        let absent = match service.name {
            "docker" => "Docker",
            "docker-new" => "Docker with API 1.44 or newer",
            _ => return None,
        };
        return Some(absent.to_owned());
    };
    let runtimes = server.engine.as_ref().map(|engine| engine.runtimes.as_slice()).unwrap_or_default();
    let has = |name: &str| runtimes.iter().any(|runtime| runtime == name);
    let lacks: Vec<&str> = [("runsc", "gVisor"), ("kata", "Kata Containers")]
        .into_iter()
        .filter_map(|(name, title)| (service.name == "docker" && !has(name)).then_some(title))
        .collect();
    (!lacks.is_empty()).then(|| lacks.join(" and "))
}

fn start(site: &Site, service: &'static Service) -> Result<Server, Error> {
    let server = match (service.name, site.own_engines) {
        ("docker", false) => match found() {
            Some(api) => describe_found(service, &api)?,
            None => start_own(site, service)?,
        },
        _ => start_own(site, service)?,
    };
    let api = Api::at(&server)?;
    let engine = Engine {
        docker_host: server.host.clone(),
        api: api.version()?.api,
        runtimes: runtimes(&api)?,
        images: images::names(service.name),
    };
    Ok(Server { engine: Some(engine), ..server })
}

/// An engine of this machine that answers.
fn found() -> Option<Api> {
    let api = Api::new(workspace::docker_socket());
    api.version().is_ok().then_some(api)
}

fn describe_found(service: &'static Service, api: &Api) -> Result<Server, Error> {
    println!("{}: the engine at {} answers and is used", service.title, api.docker_host());
    images::provide(api, service.name, true)?;
    let facts = Facts { database: "", ..Facts::new(0) };
    let server = facts.server(service, Origin::Found);
    Ok(Server { host: api.docker_host(), version: api.version()?.engine, ..server })
}

fn start_own(site: &Site, service: &'static Service) -> Result<Server, Error> {
    can_run_here()?;
    let account = Account::Own;
    let packages = match service.name {
        "docker-new" => NEW_PACKAGES.fetch_merged(&account)?,
        _ => OLD_PACKAGES.fetch_merged(&account)?,
    };
    let runsc = RUNSC_PACKAGES.fetch_merged(&account)?;
    let folder = site.server_folder(service.name, &account)?;
    let socket = site.socket_folder(&folder, "/docker.sock")?;
    fs::create_dir(&socket).map_err(Error::io("create", &socket))?;
    let api = Api::new(socket.join("docker.sock"));
    write_private(&folder.join("daemon.json"), settings(&folder, &api).to_string().as_bytes())?;
    write_private(&folder.join("engine.sh"), SCRIPT.as_bytes())?;
    make_links(&folder)?;

    let mut command = Command::new("sh");
    clean(&mut command);
    command.arg(folder.join("engine.sh")).arg(&folder).arg(layers(&[&folder, &packages, &runsc]));
    let facts = Facts {
        database: "",
        host: api.docker_host(),
        socket_dir: Some(socket),
        bin_dir: Some(packages.join("bin")),
        ..Facts::new(0)
    };
    let log = folder.join("log");
    Launch { site, service, folder, log }.run(command, facts, set_up)
}

/// Says what is missing before anything is fetched.
fn can_run_here() -> Result<(), Error> {
    let missing = |what: &str| Err(Error::NoEngine { missing: what.to_owned() });
    if !is_root()? {
        return missing("it must be started by root");
    }
    let cgroup = Path::new("/sys/fs/cgroup");
    if !cgroup.join("cgroup.controllers").exists() && !cgroup.join("memory").exists() {
        return missing("/sys/fs/cgroup has no controllers");
    }
    if let Some(tool) = TOOLS.into_iter().find(|tool| packages::find(tool).is_none()) {
        return missing(&format!(
            "{tool} is not installed (Debian: apt-get install util-linux mount iproute2)"
        ));
    }
    let mut command = Command::new("unshare");
    command.args(["--mount", "--net", "--pid", "--fork", "true"]);
    match Run::new(command, "unshare", ASK_LIMIT).capture() {
        Ok(_) => Ok(()),
        Err(error) => missing(&format!("namespaces cannot be made ({})", error.with_causes())),
    }
}

fn settings(folder: &Path, api: &Api) -> Value {
    json!({
        "data-root": folder.join("root"),
        "hosts": [api.docker_host()],
        "shutdown-timeout": 3,
        // Its other ways of talking to the kernel need more than every machine has.
        "runtimes": {"runsc": {"path": "/usr/bin/runsc", "runtimeArgs": ["--platform=ptrace", "--network=none"]}},
    })
}

/// Folders for an overlay that has the programs of all of these.
fn layers(folders: &[&Path]) -> String {
    let folders: Vec<String> =
        folders.iter().map(|folder| folder.join("usr").display().to_string()).collect();
    folders.join(":")
}

fn make_links(folder: &Path) -> Result<(), Error> {
    for programs in ["usr/bin", "usr/sbin"].map(|programs| folder.join(programs)) {
        fs::create_dir_all(&programs).map_err(Error::io("create", &programs))?;
    }
    LINKS.iter().try_for_each(|(from, to)| {
        let link = folder.join(from);
        symlink(to, &link).map_err(Error::io("link", &link))
    })
}

fn set_up(_: &Site, server: &Server) -> Result<(), Error> {
    images::provide(&Api::at(server)?, &server.service, false)
}

fn version(_: &Site, server: &Server) -> Result<String, Error> {
    Api::at(server)?.version().map(|version| version.engine)
}

/// The runtimes in which a container has run to its end just now, with those of containerd left out.
fn runtimes(api: &Api) -> Result<Vec<String>, Error> {
    let info = api.get("/info")?;
    let all = info.get("Runtimes").and_then(Value::as_object);
    let names = all.into_iter().flat_map(|all| all.keys()).filter(|name| !name.starts_with("io."));
    Ok(names.filter(|name| api.runs_a_container(images::BUSYBOX, name).is_ok()).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn engine(runtimes: &[&str]) -> Server {
        let engine = Engine {
            docker_host: "unix:///somewhere".to_owned(),
            api: "1.41".to_owned(),
            runtimes: runtimes.iter().map(ToString::to_string).collect(),
            images: Vec::new(),
        };
        Server { engine: Some(engine), ..Facts::new(0).server(&SERVICE, Origin::Found) }
    }

    #[test]
    fn runtimes_that_no_container_ran_in_are_named_once() {
        let line = |service: &Service, runtimes: &[&str]| not_met(service, Some(&engine(runtimes)));
        assert_eq!(line(&SERVICE, &["runc"]).as_deref(), Some("gVisor and Kata Containers"));
        assert_eq!(line(&SERVICE, &["runc", "runsc"]).as_deref(), Some("Kata Containers"));
        assert_eq!(line(&SERVICE, &["runc", "runsc", "kata"]), None);
        assert_eq!(line(&NEWER, &["runc"]), None);
    }

    #[test]
    fn an_engine_that_does_not_run_is_named_unless_nobody_expects_it() {
        assert_eq!(not_met(&SERVICE, None).as_deref(), Some("Docker"));
        assert_eq!(not_met(&NEWER, None).as_deref(), Some("Docker with API 1.44 or newer"));
        assert_eq!(not_met(&BARE, None), None);
    }
}
