//! The servers of `docker-compose.test.yml`.

use std::process::Command;
use std::time::Duration;

use crate::command::Run;
use crate::error::Error;
use crate::services::compose_file;
use crate::services::site::Site;

const PROJECT: &str = "semilayer-tests";
const ASK_LIMIT: Duration = Duration::from_secs(15);
const PULL_LIMIT: Duration = Duration::from_mins(5);
const START_LIMIT: Duration = Duration::from_mins(6);

/// An engine that answers, with all images at hand.
pub(crate) struct Engine {
    _private: (),
}

/// A running container.
#[derive(Clone)]
pub(crate) struct Container {
    /// Its name in the compose file.
    pub(crate) service: String,
    pub(crate) id: String,
    /// Where it can be reached on 127.0.0.1.
    pub(crate) port: u16,
    /// The same for TLS, where that has a port of its own.
    pub(crate) tls_port: Option<u16>,
}

impl Engine {
    /// Looks for the compose plugin, an engine, and every image; pulls those that are not there.
    pub(crate) fn find() -> Result<Engine, Error> {
        let unusable = |reason: &str| {
            let reason = reason.to_owned();
            move |_: Error| Error::NoDocker { reason }
        };
        docker(&["compose", "version"], ASK_LIMIT).map_err(unusable("`docker compose` is not installed"))?;
        docker(&["version", "--format", "{{.Server.Version}}"], ASK_LIMIT)
            .map_err(unusable("no engine answers"))?;
        // The file wants its variables even for a question; nothing is mounted by it.
        let images = compose("/semilayer", "none", &["config", "--images"], ASK_LIMIT)?;
        for image in images.lines() {
            if docker(&["image", "inspect", image], ASK_LIMIT).is_err() {
                println!("pulling {image}");
                docker(&["pull", "--quiet", image], PULL_LIMIT)
                    .map_err(unusable(&format!("{image} cannot be pulled")))?;
            }
        }
        Ok(Engine { _private: () })
    }

    /// Starts these services anew and returns when all of them are healthy.
    pub(crate) fn start(&self, site: &Site, services: &[&str]) -> Result<(), Error> {
        stop(site)?;
        let up = ["up", "--detach", "--wait", "--wait-timeout", "300"];
        of_site(site, &[&up, services].concat(), START_LIMIT).map(drop)
    }

    /// Finds the container of a compose service and the ports that stand for its own.
    pub(crate) fn container(
        &self,
        site: &Site,
        service: &str,
        port: u16,
        tls_port: Option<u16>,
    ) -> Result<Container, Error> {
        let id = of_site(site, &["ps", "--quiet", service], ASK_LIMIT)?;
        let tls_port = tls_port.map(|port| outer_port(&id, port)).transpose()?;
        Ok(Container { service: service.to_owned(), port: outer_port(&id, port)?, tls_port, id })
    }
}

/// The port of 127.0.0.1 that stands for a container's `inner` port.
fn outer_port(container: &str, inner: u16) -> Result<u16, Error> {
    let found = docker(&["port", container, &format!("{inner}/tcp")], ASK_LIMIT)?;
    let port = found.lines().next().and_then(|line| line.rsplit_once(':')?.1.parse().ok());
    port.ok_or(Error::Unexpected { what: "docker port".to_owned(), found })
}

/// Stops the containers and removes them with their data.
pub(crate) fn stop(site: &Site) -> Result<(), Error> {
    of_site(site, &["down", "--volumes", "--timeout", "10"], START_LIMIT).map(drop)
}

/// `program` inside a container; `variable` goes with it from the environment of the returned command.
pub(crate) fn inside(container: &str, variable: &str, program: &str) -> Command {
    let mut command = Command::new("docker");
    command.args(["exec", "--interactive", "--env", variable, container, program]);
    command
}

fn of_site(site: &Site, arguments: &[&str], limit: Duration) -> Result<String, Error> {
    compose(&site.tls.folder.to_string_lossy(), &site.admin_password, arguments, limit)
}

fn compose(tls: &str, password: &str, arguments: &[&str], limit: Duration) -> Result<String, Error> {
    let mut command = Command::new("docker");
    command.args(["compose", "--project-name", PROJECT, "--file"]).arg(compose_file()).args(arguments);
    command.env("SEMILAYER_TEST_TLS", tls).env("SEMILAYER_TEST_ADMIN_PASSWORD", password);
    Run::new(command, format!("docker compose {}", arguments.join(" ")), limit).capture()
}

fn docker(arguments: &[&str], limit: Duration) -> Result<String, Error> {
    let mut command = Command::new("docker");
    command.args(arguments);
    Run::new(command, format!("docker {}", arguments.join(" ")), limit).capture()
}
