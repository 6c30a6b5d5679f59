//! (l) The HTTP server as a process: its memory when nothing runs, and with runs that nobody waits for.

use std::net::SocketAddr;

use futures::future::join_all;
use harness::docker::BUSYBOX;
use harness::folder::Folder;
use harness::http::Request;
use harness::process::{Process, program};
use harness::wait::{secs, until};
use serde_json::json;

use crate::report::{Aim, Line, Quantity};
use crate::rig::Rig;

/// Runs that nobody waits for.
const DETACHED: usize = 64;
const KIB: f64 = 1024.0;

pub(crate) async fn measure(rig: &Rig) -> Vec<Line> {
    let server = Server::start(rig).await;
    // What the first request makes is part of an idle server.
    server.ask(Request::get("/runs")).await;
    let idle = server.resident();
    let ids = join_all((0..DETACHED).map(|_| server.detach())).await;
    for id in &ids {
        until(format!("{id} runs"), secs(120), async || {
            let state = rig.engine.try_ask(Request::get(format!("/containers/{id}/json"))).await;
            state.is_some_and(|state| state.status == 200 && state.json()["State"]["Running"] == true)
        })
        .await;
    }
    let busy = server.resident();
    join_all(ids.iter().map(|id| server.ask(Request::new("POST", format!("/runs/{id}/cancel"))))).await;
    for id in &ids {
        until(format!("{id} is gone"), secs(120), async || {
            let state = rig.engine.try_ask(Request::get(format!("/containers/{id}/json"))).await;
            state.is_some_and(|state| state.status == 404)
        })
        .await;
    }
    let after = server.resident();
    server.end().await;
    let line = |name: &str, kib: f64| Line::alone("l", name, Quantity::of("MiB", [kib / KIB]));
    vec![
        line("server, idle", idle).aim(Aim::AtMost(15.0)),
        line(&format!("server with {DETACHED} detached runs"), busy),
        line("server when they have ended", after),
    ]
}

/// A server of the release build.
pub(crate) struct Server {
    process: Process,
    address: SocketAddr,
    _folder: Folder,
}

impl Server {
    pub(crate) const TOKEN: &str = "token-of-a-benchmark";

    pub(crate) async fn start(rig: &Rig) -> Self {
        let folder = Folder::new();
        let mut command = program("semilayer-sandbox");
        command.args(["serve", "--port", "0", "--docker-host", rig.engine.host()]);
        command.args(["--state-dir", &folder.file("state")]);
        command.env("SEMILAYER_SANDBOX_TOKEN", Self::TOKEN);
        let process = Process::start("semilayer-sandbox", command);
        let address = process
            .stdout
            .find("its address", secs(30), |line| line.strip_prefix("listening on http://")?.parse().ok())
            .await;
        Self { process, address, _folder: folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it; nothing runs in it any more.
    pub(crate) async fn end(mut self) {
        self.process.terminate(secs(60)).await;
    }

    async fn ask(&self, request: Request) {
        request.bearer(Self::TOKEN).send(self.address).await.check();
    }

    /// Starts a run that nobody waits for; its id is its container's name.
    async fn detach(&self) -> String {
        let body = json!({"image": BUSYBOX, "argv": ["sleep", "600"], "network": "none", "detached": true, "files": {"file.txt": "x"}});
        let answer = Request::post("/run", &body).bearer(Self::TOKEN).send(self.address).await;
        answer.ok()["id"].as_str().unwrap().to_owned()
    }

    /// In KiB.
    fn resident(&self) -> f64 {
        self.process.resident_kib() as f64
    }
}
