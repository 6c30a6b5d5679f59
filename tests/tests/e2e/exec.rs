//! Shell jobs: from an operator's request over the gateway and the socket to a process or a container, and back.

use std::path::Path;

use harness::docker::{BUSYBOX, Engine};
use harness::folder::Folder;
use harness::gateway::{ADMIN, Credentials, Gateway};
use harness::http::{Answer, Request, Streaming};
use harness::runner::{Runner, Settings};
use harness::wait::{secs, until, within};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A gateway with one runner that runs commands.
struct Stage {
    gateway: Gateway,
    runner: Runner,
    credentials: Credentials,
}

impl Stage {
    async fn new(exec: &str, capabilities: &[&str]) -> Self {
        Self::with(exec, capabilities, |settings| settings).await
    }

    async fn with(exec: &str, capabilities: &[&str], more: impl FnOnce(Settings) -> Settings) -> Self {
        let gateway = Gateway::start().await;
        let credentials = gateway.create_runner("edge").await;
        let path = format!("/api/runners/{}", credentials.id);
        gateway.admin("PATCH", &path, json!({"capabilities": capabilities})).await.ok();
        let settings = Settings::new(&credentials, &gateway.runner_url()).with("SEMILAYER_EXEC", exec);
        let runner = more(settings).connect().await;
        Self { gateway, runner, credentials }
    }

    async fn exec(&self, body: Value) -> Answer {
        self.gateway.admin("POST", "/api/exec", body).await
    }

    /// A command that ends, whatever its exit code.
    async fn run(&self, command: &str) -> Value {
        let answer = self.exec(json!({"target": "edge", "command": command})).await.ok();
        assert_eq!(answer["ok"], true, "{answer}");
        answer["data"].clone()
    }

    /// A command whose output comes as events.
    async fn stream(&self, command: &str) -> Streaming {
        let body = json!({"target": "edge", "command": command, "timeout_secs": 60});
        let request = Request::post("/api/exec", &body).bearer(ADMIN).header("accept", "text/event-stream");
        request.open(self.gateway.address()).await
    }

    /// The same of an application with this key.
    async fn stream_with(&self, key: &str, command: &str) -> Streaming {
        let body = json!({"target": "edge", "command": command, "timeout_secs": 60});
        let request = Request::post("/api/exec", &body).bearer(key).header("accept", "text/event-stream");
        request.open(self.gateway.address()).await
    }

    async fn audit(&self) -> Vec<Value> {
        let answer = self.gateway.admin_get("/api/audit?action=exec").await;
        answer["entries"].as_array().unwrap().clone()
    }
}

/// Reads events until one has this text in it, and answers that event's data.
async fn event_with(events: &mut Streaming, text: &str) -> Value {
    let mut seen = String::new();
    loop {
        let piece = events.piece().await.unwrap().unwrap();
        seen.push_str(std::str::from_utf8(&piece).unwrap());
        let mut whole = seen.split_inclusive("\n\n").filter(|event| event.ends_with("\n\n"));
        let event = whole.find(|event| event.contains(text));
        if let Some(data) = event.and_then(|event| event.lines().find_map(|line| line.strip_prefix("data: ")))
        {
            return serde_json::from_str(data).unwrap();
        }
    }
}

/// The events of a command that tells its process first, and that process.
async fn begun(mut events: Streaming) -> (Streaming, String) {
    let told = event_with(&mut events, "data").await;
    (events, told["data"].as_str().unwrap().trim().to_owned())
}

fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

async fn is_gone(pid: &str) {
    until("the command is gone", secs(20), async || !lives(pid)).await;
}

#[tokio::test]
async fn a_command_comes_back_with_its_output_and_its_exit_code() {
    within(secs(60), async {
        let stage = Stage::new("readonly", &["exec.readonly"]).await;
        let data = stage.run("uname -s").await;
        assert_eq!(
            (&data["target"], &data["stdout"], &data["exit_code"]),
            (&json!("edge"), &json!("Linux\n"), &json!(0))
        );
        let data = stage.run("false").await;
        assert_eq!(data["exit_code"], 1);
        let by_id = json!({"target": format!("runner:{}", stage.credentials.id), "argv": ["echo", "a b"]});
        assert_eq!(stage.exec(by_id).await.ok()["data"]["stdout"], "a b\n");
    })
    .await;
}

#[tokio::test]
async fn what_the_host_refuses_is_refused_with_its_rule_and_stands_in_the_audit() {
    within(secs(60), async {
        let stage = Stage::new("readonly", &["exec.readonly", "exec.full"]).await;
        for (command, rule) in [
            ("env rm -rf /", "argument.runs-programs"),
            ("cat /proc/self/environ", "path.outside"),
            ("ls | sh", "command.syntax"),
        ] {
            let answer = stage.exec(json!({"target": "edge", "command": command})).await;
            assert_eq!(answer.status, 403, "{}", answer.text());
            let body = answer.json();
            assert_eq!(
                (&body["ok"], &body["code"], &body["rule"]),
                (&json!(false), &json!("POLICY_DENIED"), &json!(rule))
            );
        }
        let full = stage.exec(json!({"target": "edge", "command": "id", "mode": "full"})).await;
        assert_eq!(full.status, 403, "{}", full.text());
        until("the attempts are audited", secs(10), async || stage.audit().await.len() == 4).await;
        let audit = serde_json::to_string(&stage.audit().await).unwrap();
        for part in ["env rm -rf /", "argument.runs-programs", "POLICY_DENIED"] {
            assert!(audit.contains(part), "{part} is not in {audit}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_gateways_capabilities_take_away_what_the_runner_would_do() {
    within(secs(60), async {
        let stage = Stage::new("full,readonly", &["exec.readonly"]).await;
        assert_eq!(stage.run("uname -s").await["stdout"], "Linux\n");
        let shell = stage.exec(json!({"target": "edge", "command": "echo a | cat"})).await;
        assert_eq!((shell.status, &shell.json()["rule"]), (403, &json!("command.syntax")));
    })
    .await;
}

#[tokio::test]
async fn output_is_streamed_and_a_caller_that_goes_away_ends_its_command() {
    within(secs(60), async {
        let stage = Stage::new("full", &["exec.full"]).await;
        let (events, pid) = begun(stage.stream("echo $$; sleep 1000").await).await;
        assert!(lives(&pid));
        drop(events);
        is_gone(&pid).await;
    })
    .await;
}

#[tokio::test]
async fn an_operator_sees_and_ends_a_command_from_a_terminal() {
    within(secs(60), async {
        let stage = Stage::new("full", &["exec.full"]).await;
        let (mut events, pid) = begun(stage.stream("echo $$; sleep 1000").await).await;
        let said = async |arguments: &[&str]| stage.gateway.cli(arguments).await.ok();
        let listed = said(&["jobs", "list", "--status", "running", "--runner", "edge"]).await;
        assert!(listed.contains("shell  running") && listed.contains("echo $$; sleep 1000"), "{listed}");
        let id = listed.lines().nth(1).unwrap().rsplit(' ').next().unwrap();
        assert_eq!(said(&["jobs", "cancel", id]).await, format!("job {id} is ended\n"));
        assert_eq!(event_with(&mut events, "event: error").await["code"], "CANCELLED");
        is_gone(&pid).await;
        until("it is audited", secs(10), async || stage.audit().await.len() == 1).await;
        let kept = said(&["jobs", "get", id]).await;
        assert!(kept.contains("status       cancelled\n"), "{kept}");
        assert!(kept.ends_with(&format!("\nstdout:\n{pid}\n")), "{kept}");
        let audit = said(&["audit", "--action", "exec", "--runner", "edge"]).await;
        assert!(audit.lines().count() == 2 && audit.contains("exec    CANCELLED  admin  edge"), "{audit}");
    })
    .await;
}

#[tokio::test]
async fn a_command_that_is_late_is_ended() {
    within(secs(60), async {
        let stage = Stage::new("full", &["exec.full"]).await;
        let late = json!({"target": "edge", "command": "sh -c 'sleep 1000 & sleep 1000'", "timeout_secs": 1});
        let answer = stage.exec(late).await;
        assert_eq!((answer.status, &answer.json()["code"]), (504, &json!("QUERY_TIMEOUT")));
    })
    .await;
}

#[tokio::test]
async fn a_revoked_key_ends_the_processes_that_it_has_begun() {
    within(secs(60), async {
        let stage = Stage::new("full", &["exec.full"]).await;
        let key = json!({"kind": "secret", "name": "robot", "scopes": ["exec"]});
        let key = stage.gateway.admin("POST", "/api/keys", key).await.ok();
        let events = stage.stream_with(key["token"].as_str().unwrap(), "echo $$; sleep 1000").await;
        let (mut events, pid) = begun(events).await;
        let revoke = format!("/api/keys/{}/revoke", key["id"].as_str().unwrap());
        stage.gateway.admin("POST", &revoke, Value::Null).await.ok();
        let error = event_with(&mut events, "event: error").await;
        assert_eq!((&error["code"], &error["rule"]), (&json!("CANCELLED"), &json!("key.revoked")), "{error}");
        is_gone(&pid).await;
        until("it is audited", secs(10), async || {
            stage.audit().await.first().is_some_and(|row| row["rule"] == "key.revoked")
        })
        .await;
    })
    .await;
}

#[tokio::test]
async fn a_runner_that_loses_a_capability_loses_the_processes_that_needed_it() {
    within(secs(60), async {
        let stage = Stage::new("full,readonly", &["exec.full"]).await;
        let (mut events, pid) = begun(stage.stream("echo $$; trap '' TERM; sleep 1000").await).await;
        let path = format!("/api/runners/{}", stage.credentials.id);
        stage.gateway.admin("PATCH", &path, json!({"capabilities": ["exec.readonly"]})).await.ok();
        let error = event_with(&mut events, "event: error").await;
        assert_eq!(
            (&error["code"], &error["rule"]),
            (&json!("CANCELLED"), &json!("capability.exec.full")),
            "{error}"
        );
        assert!(!lives(&pid), "told before it was gone");
        assert_eq!(stage.run("uname -s").await["stdout"], "Linux\n");
    })
    .await;
}

/// A namespace of processes of its own, in which the program that is started is the first one.
fn alone() -> Vec<&'static str> {
    let mut command = vec!["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"];
    if !rustix::process::geteuid().is_root() {
        command.extend(["--user", "--map-root-user"]);
    }
    command
}

#[tokio::test]
async fn a_runner_that_is_the_first_process_waits_for_what_commands_leave_behind() {
    within(secs(90), async {
        let mut stage = Stage::with("full", &["exec.full"], |settings| settings.through(&alone())).await;
        let first = stage.run("cat /proc/1/comm; grep -c '^PPid:.1$' /proc/$PPID/status").await;
        assert_eq!(first["stdout"], "semilayer-runne\n1\n", "the runner is the first one's child");
        for _ in 0..5 {
            stage.run("setsid sleep 0.1 & (setsid sleep 1000 >/dev/null 2>&1 &)").await;
        }
        until("nobody is left among the dead", secs(10), async || {
            let states = stage.run("grep -h '^State:' /proc/[0-9]*/status").await;
            !states["stdout"].as_str().unwrap().contains("zombie")
        })
        .await;
        // A signal to the first process is one to the runner, and its end that of the first.
        let pid = stage.runner.process.pid();
        let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
        let first = Pid::from_raw(children.trim().parse().unwrap()).unwrap();
        kill_process(first, Signal::TERM).unwrap();
        assert_eq!(stage.runner.process.wait(secs(20)).await.code(), Some(0));
        assert!(stage.runner.process.stderr.text().contains("draining; a second signal aborts"));
    })
    .await;
}

#[tokio::test]
async fn a_gateway_that_is_killed_takes_its_commands_along() {
    within(secs(90), async {
        let mut stage = Stage::new("full", &["exec.full"]).await;
        let (_events, pid) = begun(stage.stream("echo $$; sleep 1000").await).await;
        stage.gateway.process.kill().await;
        is_gone(&pid).await;
        assert!(stage.runner.process.is_running());
        // What ran then is in the log, and said to have no known end.
        stage.gateway.restart().await;
        let rows = stage.audit().await;
        assert_eq!((rows.len(), &rows[0]["outcome"]), (1, &json!("gateway_lost")), "{rows:?}");
        assert_eq!(rows[0]["exec"]["command"], "echo $$; sleep 1000");
        let job = stage.gateway.admin_get(&format!("/api/jobs/{}", rows[0]["jobId"].as_str().unwrap())).await;
        assert_eq!(job["status"], "failed", "{job}");
        stage.runner.connected().await;
        assert_eq!(stage.run("echo on").await["stdout"], "on\n");
    })
    .await;
}

#[tokio::test]
async fn a_command_that_kills_its_gateway_is_in_the_log() {
    within(secs(90), async {
        let mut stage = Stage::new("full", &["exec.full"]).await;
        let command = format!("kill -9 {}", stage.gateway.process.pid());
        let request =
            Request::post("/api/exec", &json!({"target": "edge", "command": command})).bearer(ADMIN);
        let asked = tokio::spawn(request.send(stage.gateway.address()));
        assert!(!stage.gateway.process.wait(secs(20)).await.success());
        assert!(asked.await.is_err(), "nobody is left to answer");
        stage.gateway.restart().await;
        let rows = stage.audit().await;
        assert_eq!((rows.len(), &rows[0]["outcome"]), (1, &json!("gateway_lost")), "{rows:?}");
        assert_eq!(rows[0]["exec"]["command"], command);
    })
    .await;
}

#[tokio::test]
async fn a_runner_that_is_killed_fails_its_commands_at_once() {
    within(secs(60), async {
        let mut stage = Stage::new("full", &["exec.full"]).await;
        let mut events = stage.stream("echo $$; sleep 30").await;
        event_with(&mut events, "data").await;
        stage.runner.process.kill().await;
        let error = event_with(&mut events, "event: error").await;
        assert_eq!(error["code"], "runner_failed", "{error}");
    })
    .await;
}

#[tokio::test]
async fn no_command_sees_the_runners_secrets() {
    within(secs(60), async {
        let stage = Stage::new("full", &["exec.full"]).await;
        let data = stage.run("env; cat /proc/self/environ").await;
        let said = data["stdout"].as_str().unwrap();
        assert!(said.contains("TERM=dumb"), "{said}");
        for absent in [stage.credentials.token.as_str(), "SEMILAYER_RUNNER", "SEMILAYER_EXEC"] {
            assert!(!said.contains(absent), "{said}");
        }
    })
    .await;
}

/// A runner whose containers are of the shared engine, and where it keeps its state.
async fn boxed(state: &Folder) -> Stage {
    let engine = Engine::shared();
    let state = state.path().to_str().unwrap().to_owned();
    Stage::with("sandbox", &["sandbox"], |settings| {
        settings
            .with("DOCKER_HOST", engine.host())
            .with("SEMILAYER_STATE_DIR", &state)
            .with("SEMILAYER_EXEC_SANDBOX_IMAGE", BUSYBOX)
            .with("SEMILAYER_EXEC_SANDBOX_MEMORY", "64m")
    })
    .await
}

/// States of runs that have not ended, below a runner's state directory.
fn unfinished(state: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(state.join("sandbox")) else { return 0 };
    let states = entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok());
    states.filter(|text| text.contains("\"running\"")).count()
}

#[tokio::test]
async fn a_container_takes_files_and_gives_files_back() {
    within(secs(120), async {
        let state = Folder::new();
        let stage = boxed(&state).await;
        let answer = stage
            .exec(json!({
                "target": "edge",
                "command": "cat in.txt; id -u; mkdir out; tr a-z A-Z < in.txt > out/shout.txt; echo err >&2",
                "timeout_secs": 60,
                "sandbox": {"files": {"in.txt": "hello\n"}, "extract": ["out", "nothing"]},
            }))
            .await
            .ok();
        let data = &answer["data"];
        let stdout = data["stdout"].as_str().unwrap();
        assert!(stdout.starts_with("hello\n") && !stdout.contains("\n0\n"), "{stdout}");
        assert_eq!((&data["stderr"], &data["exit_code"]), (&json!("err\n"), &json!(0)));
        let files = json!([{"path": "shout.txt", "content": "HELLO\n"}]);
        assert_eq!(data["extracted"][0], json!({"from": "out", "status": "ok", "files": files}));
        assert_eq!(data["extracted"][1], json!({"from": "nothing", "status": "missing"}));
        assert_eq!(unfinished(state.path()), 0);
    })
    .await;
}

#[tokio::test]
async fn a_container_is_within_the_runners_own_limits() {
    within(secs(120), async {
        let state = Folder::new();
        let stage = boxed(&state).await;
        for (sandbox, rule) in [
            (json!({"image": "evil:latest"}), "sandbox.image"),
            (json!({"network": "host"}), "sandbox.network"),
            (json!({"memory": "1g"}), "sandbox.memory"),
            (json!({"cpus": 64}), "sandbox.cpus"),
        ] {
            let answer = stage.exec(json!({"target": "edge", "command": "true", "sandbox": sandbox})).await;
            assert_eq!((answer.status, &answer.json()["rule"]), (403, &json!(rule)), "{}", answer.text());
        }
        let host = stage.exec(json!({"target": "edge", "command": "uname", "mode": "readonly"})).await;
        assert_eq!(host.status, 403, "{}", host.text());
    })
    .await;
}

#[tokio::test]
async fn a_container_that_is_late_or_abandoned_is_ended() {
    within(secs(120), async {
        let state = Folder::new();
        let stage = boxed(&state).await;
        let late = json!({"target": "edge", "command": "trap '' TERM; sleep 1000", "timeout_secs": 3, "sandbox": {}});
        let answer = stage.exec(late).await;
        assert_eq!((answer.status, &answer.json()["code"]), (504, &json!("QUERY_TIMEOUT")), "{}", answer.text());
        // Where an engine is so slow that the gateway's patience ends first, the answer does not wait for it.
        until("the late one is ended", secs(30), async || unfinished(state.path()) == 0).await;
        let mut events = stage.stream("echo begun; sleep 1000").await;
        event_with(&mut events, "begun").await;
        assert_eq!(unfinished(state.path()), 1);
        drop(events);
        until("the container is ended", secs(30), async || unfinished(state.path()) == 0).await;
    })
    .await;
}

#[tokio::test]
async fn doctor_says_whether_containers_can_be_had_and_programs_be_used() {
    within(secs(60), async {
        let (gateway, state) = (Gateway::start().await, Folder::new());
        let credentials = gateway.create_runner("edge").await;
        let settings = Settings::new(&credentials, &gateway.runner_url())
            .with("SEMILAYER_EXEC", "sandbox,readonly")
            .with("SEMILAYER_STATE_DIR", state.path().to_str().unwrap());
        let engine = Engine::shared();
        let good = settings.clone().with("DOCKER_HOST", engine.host()).run(&["doctor"]).await;
        assert_eq!(good.code, Some(0), "{}", good.both());
        for part in ["shell jobs: readonly,sandbox", "programs", "a Docker engine answers at unix://"] {
            assert!(good.both().contains(part), "{part}: {}", good.both());
        }
        let bad = settings.with("DOCKER_HOST", "unix:///nowhere/docker.sock").run(&["doctor"]).await;
        assert_eq!(bad.code, Some(1), "{}", bad.both());
        assert!(bad.both().contains("no Docker engine answers at unix:///nowhere"), "{}", bad.both());
    })
    .await;
}
