//! A socket that must be opened anew, because the gateway hears of other bridges only in `hello`. Time is paused.

use std::time::Duration;

use bridge_conformance::memory::Memory;
use bridge_conformance::{Change, Changed, Database, Fixture, seed};
use bridge_core::Driver;
use runtime::Drain;
use runtime::settings::Mapping;
use serde_json::{Value, json};
use tokio::io::DuplexStream;
use tokio::task::JoinHandle;
use tokio_tungstenite::tungstenite::protocol::Role;

use super::*;
use crate::config::Config;
use crate::plugins::{PluginSettings, Plugins};
use crate::registry::Registry;

const SECOND: Duration = Duration::from_secs(1);

/// Another bridge's name.
struct Other;

impl Change for Other {
    fn name<'a>(&'a self, _driver: &'a dyn Driver) -> &'a str {
        "@acme/bridge-other"
    }
}

/// A session and the gateway's end of its socket.
struct Scene {
    runner: Arc<Runner>,
    memory: Arc<Memory>,
    socket: WebSocketStream<DuplexStream>,
    session: JoinHandle<Ended>,
}

impl Scene {
    /// A runner with a database in memory, in a session with a gateway of version 1.
    async fn new() -> Self {
        let memory = Arc::new(Memory::new());
        memory.seed(Database::First, &seed::first()).await.unwrap();
        let registry = Registry::empty().with(Arc::clone(&memory) as Arc<dyn Driver>);
        let gateway = "ws://127.0.0.1:1/connect".parse().unwrap();
        let config = Config::new("runner-1", protocol::Secret::new("rk_x"), gateway);
        let plugins = Plugins::load(&PluginSettings::default(), registry.clone()).await.unwrap();
        let environment = Arc::new(Mapping::default());
        let runner = Arc::new(Runner::new(config, registry, plugins, environment, Drain::new()));
        let (near, far) = tokio::io::duplex(1 << 20);
        let near = WebSocketStream::from_raw_socket(Watched::new(near), Role::Client, None).await;
        let greeted = Greeted { extensions: Extensions::default(), bridges: runner.registry.names() };
        let session = Session::new(Arc::clone(&runner), near, greeted, runner.config().timings);
        let session = runner.drain.spawn("session", session.run());
        let socket = WebSocketStream::from_raw_socket(far, Role::Server, None).await;
        let mut scene = Self { runner, memory, socket, session };
        let config = scene.memory.config(Database::First);
        let source = json!({
            "id": "1", "name": "main", "bridge": "memory", "credentialsLocation": "managed", "config": config.expose(),
        });
        scene.say(json!({"type": "assignments-changed", "assignedSources": [source]})).await;
        scene
    }

    /// A plugin comes.
    fn has_another_bridge(&self) {
        let memory = Arc::clone(&self.memory) as Arc<dyn Driver>;
        let other = Arc::new(Changed::new(Memory::new(), Other)) as Arc<dyn Driver>;
        self.runner.registry.bring(vec![memory, other]);
        self.runner.has_other_bridges();
    }

    async fn say(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    async fn start(&mut self, id: &str, kind: &str, target: &str) {
        let job = json!({"kind": kind, "target": target, "options": {}});
        let params = json!({"source": "main", "job": job});
        self.say(json!({"type": "job", "id": id, "params": params, "deadlineMs": 3_600_000})).await;
    }

    /// What comes next, besides heartbeats: a frame, or nothing when the runner closes.
    async fn hear(&mut self) -> Option<Value> {
        loop {
            match self.socket.next().await.unwrap().unwrap() {
                Message::Text(text) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    if frame["type"] != "heartbeat" {
                        return Some(frame);
                    }
                }
                Message::Close(_) => return None,
                Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {}
            }
        }
    }

    /// Runs a job that does not end by itself.
    async fn is_busy(&mut self) {
        self.start("long", "query", "slow").await;
        assert_eq!(self.tries("behind it").await, "done");
    }

    /// Lets time pass, in which nothing but signs of life comes. They are answered.
    async fn is_quiet_for(&mut self, time: Duration) {
        if let Ok(heard) = tokio::time::timeout(time, self.hear()).await {
            panic!("within {time:?}: {heard:?}");
        }
    }

    /// How a job of a moment ends now: `done`, or the code of its error.
    async fn tries(&mut self, id: &str) -> String {
        self.start(id, "test", "").await;
        let frame = self.hear().await.unwrap();
        assert_eq!(frame["id"], id);
        frame["code"].as_str().unwrap_or("done").to_owned()
    }

    /// The code of a job that is cancelled.
    async fn cancel(&mut self, id: &str) -> Value {
        self.say(json!({"type": "cancel", "id": id})).await;
        self.hear().await.unwrap()["code"].clone()
    }

    /// How the session ended, once the runner has closed the socket.
    async fn end(mut self) -> Ended {
        assert_eq!(self.hear().await, None);
        drop(self.socket);
        self.session.await.unwrap()
    }
}

#[tokio::test(start_paused = true)]
async fn an_idle_socket_is_closed_at_once() {
    let scene = Scene::new().await;
    let began = Instant::now();
    scene.has_another_bridge();
    assert_eq!(scene.end().await, Ended::Outdated);
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn under_load_new_jobs_are_refused_after_a_while_and_running_ones_finish() {
    let mut scene = Scene::new().await;
    scene.is_busy().await;
    scene.has_another_bridge();
    for second in 0..9 {
        assert_eq!(scene.tries(&format!("after-{second}")).await, "done");
        scene.is_quiet_for(SECOND).await;
    }
    scene.is_quiet_for(4 * SECOND).await;
    assert_eq!(scene.tries("late").await, "RUNNER_DRAINING");
    scene.is_quiet_for(10 * SECOND).await;
    assert_eq!(scene.cancel("long").await, "CANCELLED");
    assert_eq!(scene.end().await, Ended::Outdated);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_runs_on_and_on_does_not_keep_the_others_out() {
    let mut scene = Scene::new().await;
    scene.is_busy().await;
    scene.has_another_bridge();
    scene.is_quiet_for(13 * SECOND).await;
    assert_eq!(scene.tries("late").await, "RUNNER_DRAINING");
    let grace = scene.runner.config().drain_timeout;
    scene.is_quiet_for(grace + 5 * SECOND).await;
    assert_eq!(scene.tries("taken again").await, "done");
    scene.is_quiet_for(23 * SECOND).await;
    assert_eq!(scene.tries("refused again").await, "RUNNER_DRAINING");
    assert_eq!(scene.cancel("long").await, "CANCELLED");
    assert_eq!(scene.end().await, Ended::Outdated);
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_comes_and_goes_under_load_changes_nothing() {
    let mut scene = Scene::new().await;
    scene.is_busy().await;
    scene.has_another_bridge();
    scene.is_quiet_for(5 * SECOND).await;
    scene.runner.registry.bring(vec![Arc::clone(&scene.memory) as Arc<dyn Driver>]);
    scene.runner.has_other_bridges();
    scene.is_quiet_for(60 * SECOND).await;
    assert_eq!(scene.tries("later").await, "done");
    assert_eq!(scene.cancel("long").await, "CANCELLED");
    assert_eq!(scene.tries("idle").await, "done");
}
