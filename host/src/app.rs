//! The daemon's life in stages: settings, an app that has what it needs, a running one.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use runtime::dial::Dialer;
use runtime::health::{BoundServer, HealthServer};
use runtime::settings::Source as Environment;
use runtime::tls::ClientTls;
use runtime::{Drain, Exit};
use tokio::task::JoinHandle;

use crate::config::Config;
use crate::error::StartError;
use crate::health::RunnerHealth;
use crate::link;
use crate::plugins::Plugins;
use crate::registry::Registry;
use crate::runner::Runner;

/// How often idle sources are looked for, at the most.
const IDLE_CHECK: Duration = Duration::from_secs(30);

/// A daemon that can start: certificates are read and the health port is bound.
pub struct App {
    runner: Arc<Runner>,
    dialer: Dialer,
    health: Option<BoundServer>,
}

/// A daemon that runs. It goes on when this is dropped; its drain ends it.
pub struct Running {
    runner: Arc<Runner>,
    health: Option<SocketAddr>,
    link: JoinHandle<Exit>,
}

impl Config {
    /// Gets everything that could still fail. `environment` is where runner-local sources find their settings, and all
    /// tasks are spawned through `drain`.
    pub async fn build(
        self,
        registry: Registry,
        environment: Arc<dyn Environment>,
        drain: &Drain,
    ) -> Result<App, StartError> {
        let tls = ClientTls::load(self.ca_file.as_deref(), self.ssl_cert_file.as_deref())?;
        let dialer = Dialer::new(tls, self.proxies.clone());
        let address = self.health;
        let plugins = Plugins::load(&self.plugins, registry.clone()).await?;
        let runner = Arc::new(Runner::new(self, registry, plugins, environment, drain.clone()));
        if runner.config().exec.is_on() {
            // Before the first hello, which says it.
            runner.execs.look_for_docker(&runner.config().exec).await;
        }
        let health = match address {
            Some(address) => {
                Some(HealthServer::bind(address, Arc::new(RunnerHealth(Arc::clone(&runner)))).await?)
            }
            None => None,
        };
        Ok(App { runner, dialer, health })
    }
}

impl App {
    /// The way out of this process, for whatever else it sends.
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Starts: the health port answers, and the runner connects.
    pub fn spawn(self) -> Running {
        let Self { runner, dialer, health } = self;
        let drain = runner.drain.clone();
        let address = health.as_ref().map(BoundServer::local_addr);
        if let Some(server) = health {
            server.serve(&drain);
        }
        drain.spawn_companion("idle sources", close_idle_sources(Arc::clone(&runner)));
        drain.spawn_companion("docker engine", look_for_docker(Arc::clone(&runner)));
        drain.spawn_companion("plugins", follow_plugins(Arc::clone(&runner)));
        let link = drain.spawn("link", link::keep(Arc::clone(&runner), dialer));
        Running { runner, health: address, link }
    }
}

impl Running {
    /// Where the health port is, with its real port.
    pub fn health_addr(&self) -> Option<SocketAddr> {
        self.health
    }

    /// Whether a session is acknowledged.
    pub fn is_connected(&self) -> bool {
        self.runner.status.is_connected()
    }

    /// What `/status` says.
    pub fn status(&self) -> serde_json::Value {
        use runtime::health::Health as _;
        RunnerHealth(Arc::clone(&self.runner)).status()
    }

    /// How long running jobs may take to finish, by the settings now.
    pub fn drain_timeout(&self) -> Duration {
        self.runner.config().drain_timeout
    }

    /// Takes new settings without dropping the socket. Limits, sources and secret files apply at once; the gateway and
    /// the token with the next connection; the health port, proxies and certificates only with a new start.
    pub fn reload(&self, config: Config) {
        self.runner.reload(config);
    }

    /// Waits until the link has ended by itself: because the runner drains, or because the gateway refuses it and it was
    /// told to exit then. Cancel safe.
    pub async fn ended(&mut self) -> Exit {
        (&mut self.link).await.unwrap_or(Exit::RestartWanted)
    }
}

async fn close_idle_sources(runner: Arc<Runner>) {
    let stopping = runner.drain.stopping();
    loop {
        let shortest = shortest_idle_time(&runner.config());
        let period = (shortest / 4).clamp(Duration::from_millis(10), IDLE_CHECK);
        if stopping.run_until_cancelled(tokio::time::sleep(period)).await.is_none() {
            return runner.sources.close().await;
        }
        runner.sources.close_idle(&runner.config().sources);
    }
}

/// The engine comes and goes.
async fn look_for_docker(runner: Arc<Runner>) {
    runner.execs.keep_looking(|| runner.config().exec.clone()).await;
}

/// Plugins come and go while the runner runs.
async fn follow_plugins(runner: Arc<Runner>) {
    let stopping = runner.drain.stopping();
    loop {
        let config = runner.config();
        // Compiling a plugin may take seconds, and nobody waits for that who wants to stop.
        match stopping.run_until_cancelled(runner.plugins.changed(&config.plugins)).await {
            Some(true) => runner.has_other_bridges(),
            Some(false) => {}
            None => return,
        }
    }
}

fn shortest_idle_time(config: &Config) -> Duration {
    let own = config.sources.by_name.values().filter_map(|limits| limits.idle_timeout);
    own.chain([config.sources.idle_timeout]).min().unwrap_or(IDLE_CHECK)
}
