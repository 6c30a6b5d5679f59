//! A runner and the gateway it talks to.

use std::sync::Arc;
use std::time::Duration;

use protocol::Secret;
use runtime::settings::Mapping;
use runtime::{Drain, Exit};
use semilayer_runner::{Config, Registry, Running, Timings};

use crate::driver::{Counts, Fake};
use crate::gateway::Gateway;

pub(crate) const TOKEN: &str = "rk_test_token";

pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) runner: Running,
    pub(crate) drain: Drain,
    pub(crate) counts: Arc<Counts>,
}

/// What a test may set before the runner starts.
pub(crate) struct Setup {
    gateway: Gateway,
    pub(crate) config: Config,
    pub(crate) environment: Mapping,
}

/// Times that make a test of seconds one of milliseconds. Nothing that a test does not wait for fires within a minute.
pub(crate) fn patient() -> Timings {
    let never = Duration::from_secs(60);
    Timings {
        heartbeat: never,
        ping: never,
        dead: never,
        write: never,
        dial: Duration::from_secs(10),
        hello: Duration::from_secs(10),
        backoff_base: Duration::from_millis(10),
        backoff_cap: Duration::from_millis(20),
        healthy: Duration::from_secs(60),
        refused: Duration::from_millis(50),
        renew: never,
    }
}

impl Setup {
    pub(crate) async fn new() -> Self {
        let gateway = Gateway::bind().await;
        let mut config = Config::new("runner-1", Secret::new(TOKEN), gateway.url());
        config.timings = patient();
        Self { gateway, config, environment: Mapping::default() }
    }

    pub(crate) fn with(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.environment.insert(name, value);
        self
    }

    pub(crate) async fn start(self) -> Rig {
        let counts = Arc::new(Counts::default());
        let registry = Registry::empty().with(Arc::new(Fake::new(&counts)));
        let drain = Drain::new();
        let app = self.config.build(registry, Arc::new(self.environment), &drain).await.unwrap();
        Rig { gateway: self.gateway, runner: app.spawn(), drain, counts }
    }
}

impl Rig {
    pub(crate) async fn new() -> Self {
        Setup::new().await.start().await
    }

    pub(crate) async fn exit(&mut self) -> Exit {
        tokio::time::timeout(Duration::from_secs(20), self.runner.ended()).await.expect("the runner goes on")
    }

    /// The health port's answer.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let address = self.runner.health_addr().expect("the health port is off");
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.0\r\nHost: x\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }
}

/// Waits until `condition` holds, at most 20 seconds.
pub(crate) async fn eventually(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), waiting).await.unwrap_or_else(|_| panic!("not so: {what}"));
}
