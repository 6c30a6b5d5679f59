//! Shell jobs from outside: what a runner is asked, and what becomes of its answers.

use std::time::Duration;

use runtime::Drained;
use semilayer_gateway::audit::AuditFilter;
use semilayer_gateway::capability::CapabilitySet;
use semilayer_gateway::control::RunnerChange;
use serde_json::{Value, json};

use crate::harness::{ADMIN, Answer, Client, Gateway, PATIENCE, Stream};
use crate::runner::{Dial, Runner};

/// A shell runner's extensions.
const SHELL: [&str; 2] = ["exec/1", "flow/1"];

/// What a runner that takes everything says of itself.
fn hello() -> Value {
    json!({
        "type": "hello", "version": 1, "capabilities": [], "runtimeVersion": "9.9.9", "extensions": SHELL,
        "exec": {"modes": ["readonly", "sandbox", "full"], "docker": true},
        "metadata": {"hostname": "host-1", "platform": "linux", "arch": "x86_64"},
    })
}

/// A runner "edge" that may do what these words say, connected and saying this hello.
async fn edge(capabilities: &[&str], hello: Value) -> (Gateway, Runner) {
    let (gateway, token) = allowed(capabilities).await;
    let runner = Runner::greet(&gateway, &token, hello).await;
    (gateway, runner)
}

/// Two processes of the runner "edge" that may do anything: the one that gets the next command, and the other.
async fn two_of_edge() -> (Gateway, Runner, Runner) {
    let (gateway, token) = allowed(&["exec.full"]).await;
    let second = Runner::greet(&gateway, &token, hello()).await;
    let first = Runner::greet(&gateway, &token, hello()).await;
    (gateway, first, second)
}

/// A runner "edge" that may do what these words say, and its token.
async fn allowed(capabilities: &[&str]) -> (Gateway, String) {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("edge", &[]).await;
    allow(&gateway, capabilities).await;
    (gateway, token)
}

async fn allow(gateway: &Gateway, capabilities: &[&str]) {
    let capabilities = Some(CapabilitySet::parse(capabilities).unwrap());
    let change = RunnerChange { capabilities, ..RunnerChange::default() };
    gateway.control.update_runner(&Gateway::by(), "edge", change).await.unwrap();
}

fn uname() -> Value {
    json!({"target": "edge", "command": "uname -a"})
}

async fn operator(gateway: &Gateway) -> Client {
    let mut client = gateway.connect().await;
    client.key = ADMIN.to_owned();
    client
}

async fn ask(gateway: &Gateway, body: Value) -> Answer {
    operator(gateway).await.ask("/api/exec", body).await
}

async fn events(gateway: &Gateway, body: Value) -> Stream {
    operator(gateway).await.stream("/api/exec", &[("accept", "text/event-stream")], body).await
}

/// The envelope of a failure, in its one shape.
#[track_caller]
fn failure(answer: &Answer) -> (u16, String, String) {
    let body = answer.json();
    assert_eq!(body["ok"], false, "{body}");
    assert!(body["user_message"].as_str().is_some_and(|message| !message.is_empty()), "{body}");
    let text = |key: &str| body[key].as_str().unwrap_or_default().to_owned();
    (answer.status, text("error_type"), text("code"))
}

fn failed(status: u16, kind: &str, code: &str) -> (u16, String, String) {
    (status, format!("{kind}_error"), code.to_owned())
}

/// The newest rows of shell jobs.
async fn log(gateway: &Gateway, rows: usize) -> Vec<Value> {
    gateway.audit("exec", rows).await
}

#[tokio::test]
async fn a_command_is_asked_of_its_runner_and_its_end_is_the_answer() {
    let (gateway, mut runner) = edge(&["exec.full", "docker"], hello()).await;
    let body = json!({"target": "edge", "argv": ["echo", "hi"], "timeout_secs": 5, "env": {"A": "hunter2"}});
    let answering = async {
        let job = runner.shell_job().await;
        runner.wrote(&job, 0, "stdout", "h").await;
        runner.wrote(&job, 1, "stderr", "careful").await;
        runner.wrote(&job, 2, "stdout", "i\n").await;
        runner.exited(&job, 3).await;
        job
    };
    let (answer, job) = futures::join!(ask(&gateway, body), answering);
    let id = job["job_id"].as_str().unwrap();
    assert_eq!(
        job,
        json!({"type": "exec_request", "job_id": id, "argv": ["echo", "hi"], "timeout_secs": 5, "mode": "full",
            "env": {"A": "hunter2"}, "credit": 1024 * 1024})
    );
    assert_eq!((answer.header("x-job-id"), answer.header("cache-control")), (Some(id), Some("no-store")));
    assert_eq!(
        answer.ok(),
        json!({"ok": true, "data": {"job_id": id, "target": "edge", "command": "echo hi", "exit_code": 3,
            "stdout": "hi\n", "stderr": "careful", "duration_ms": 12}})
    );
    let row = &log(&gateway, 1).await[0];
    assert_eq!((&row["actor"], &row["outcome"], &row["jobId"]), (&json!("admin"), &json!("ok"), &json!(id)));
    assert_eq!((&row["target"], &row["attempts"], &row["bytes"]), (&json!("edge"), &json!(1), &json!(10)));
    let expected = json!({
        "runner": "edge", "argv": ["echo", "hi"], "variables": ["A"], "timeoutSecs": 5, "exitCode": 3, "ranMs": 12,
        "said": {"hostname": "host-1", "platform": "linux", "arch": "x86_64", "version": "9.9.9",
            "capabilities": ["exec.readonly", "exec.full", "docker", "sandbox"]},
    });
    assert_eq!(row["exec"], expected);
    let job = gateway.admin(&format!("/api/jobs/{id}")).await;
    assert_eq!(
        (&job["status"], &job["exitCode"], &job["actor"]),
        (&json!("succeeded"), &json!(3), &json!("admin"))
    );
    assert_eq!(
        job["output"],
        json!({"stdout": "hi\n", "stderr": "careful", "stdoutLeftOut": 0, "stderrLeftOut": 0})
    );
    assert!(!row.to_string().contains("hunter2") && !job.to_string().contains("hunter2"));
}

#[tokio::test]
async fn a_runner_is_found_by_name_and_by_id_and_a_sandbox_is_passed_on() {
    let (gateway, mut runner) = edge(&["sandbox"], hello()).await;
    let id = gateway.admin("/api/runners/edge").await["id"].as_str().unwrap().to_owned();
    let sandbox = json!({"image": "python:3", "network": "none", "memory": 1024, "cpus": 0.5,
        "files": {"main.py": "print(1)"}, "extract": ["out"]});
    let extracted = json!([{"from": "out", "status": "ok", "files": [{"path": "a", "content": "1\n"},
        {"path": "b", "content": {"base64": "//4="}}]}]);
    let body = json!({"target": format!("runner:{id}"), "argv": ["python3", "main.py"], "sandbox": sandbox});
    let answering = async {
        let job = runner.shell_job().await;
        runner
            .send(json!({"type": "exec_done", "job_id": job["job_id"], "exit_code": 0, "duration_ms": 1,
                "extracted": extracted}))
            .await;
        job
    };
    let (answer, job) = futures::join!(ask(&gateway, body), answering);
    assert_eq!((&job["mode"], &job["sandbox"], &job["docker"]), (&json!("sandbox"), &sandbox, &json!(false)));
    assert_eq!(answer.ok()["data"]["target"], "edge");
    assert_eq!(answer.ok()["data"]["extracted"], extracted);
    assert_eq!(log(&gateway, 1).await[0]["exec"]["image"], "python:3");
}

#[tokio::test]
async fn events_come_while_the_command_runs() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let (mut stream, job) = futures::join!(events(&gateway, uname()), runner.shell_job());
    assert_eq!(stream.header("content-type"), Some("text/event-stream"));
    assert_eq!(stream.header("x-job-id"), job["job_id"].as_str());
    runner.wrote(&job, 0, "stdout", "one\n").await;
    let first = json!({"stream": "stdout", "data": "one\n", "seq": 0});
    assert_eq!(stream.event().await, Some(("chunk".to_owned(), first)));
    let live = gateway.admin("/api/jobs").await;
    assert_eq!((&live["jobs"][0]["status"], &live["jobs"][0]["kind"]), (&json!("running"), &json!("shell")));
    runner
        .send(json!({"type": "exec_chunk", "job_id": job["job_id"], "stream": "stderr", "data": "\u{fffd}", "lossy": true,
            "omitted_bytes": 7, "seq": 1}))
        .await;
    let second = json!({"stream": "stderr", "data": "\u{fffd}", "seq": 1, "lossy": true, "omitted_bytes": 7});
    assert_eq!(stream.event().await, Some(("chunk".to_owned(), second)));
    runner.exited(&job, 0).await;
    let (name, envelope) = stream.event().await.unwrap();
    assert_eq!(name, "done");
    assert_eq!(
        envelope["data"],
        json!({"job_id": job["job_id"], "target": "edge", "command": "uname -a", "exit_code": 0, "stdout": "one\n",
            "stderr": "\n[… 7 bytes left out …]\n\u{fffd}", "duration_ms": 12, "lossy": true,
            "truncated": {"stdout_bytes": 0, "stderr_bytes": 7}})
    );
    assert_eq!(stream.event().await, None);
}

#[tokio::test]
async fn a_stream_ends_with_the_envelope_of_its_failure() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let (mut stream, job) = futures::join!(events(&gateway, uname()), runner.shell_job());
    runner.wrote(&job, 0, "stdout", "so far").await;
    stream.event().await.unwrap();
    runner.refused(&job, "QUERY_TIMEOUT", None).await;
    let (name, envelope) = stream.event().await.unwrap();
    assert_eq!((name.as_str(), &envelope["code"]), ("error", &json!("QUERY_TIMEOUT")));
    assert_eq!((&envelope["ok"], &envelope["stdout"]), (&json!(false), &json!("so far")));
    assert_eq!(stream.event().await, None);
    // What is refused before a runner has it has a status.
    let refused = events(&gateway, json!({"target": "nope", "command": "ls"})).await.whole().await;
    assert_eq!(failure(&refused), failed(404, "validation", "TARGET_NOT_FOUND"));
}

#[tokio::test]
async fn every_refusal_before_a_runner_has_it_has_the_one_shape_and_a_row() {
    let gateway = Gateway::start().await;
    let id = uuid::Uuid::now_v7();
    let mut texts = std::collections::BTreeSet::new();
    for target in ["nope", "runner:5", &format!("runner:{id}"), "runner:", &id.to_string()] {
        let refused = ask(&gateway, json!({"target": target, "command": "ls"})).await;
        assert_eq!(failure(&refused), failed(404, "validation", "TARGET_NOT_FOUND"), "{target}");
        texts.insert(refused.text.replace(&format!("\\\"{target}\\\""), "TARGET"));
    }
    assert_eq!(texts.len(), 1, "{texts:?}");
    for (body, field) in [
        (json!({"target": "edge"}), "command"),
        (json!({"target": "edge", "command": "ls", "timeout_secs": 3601}), "timeout_secs"),
        (json!({"target": "edge", "command": "ls", "argv": ["ls"]}), "argv"),
        (json!(["ls"]), "body"),
        (json!(7), "body"),
    ] {
        let refused = ask(&gateway, body.clone()).await;
        assert_eq!(failure(&refused), failed(400, "validation", "bad_request"), "{body}");
        assert_eq!(refused.json()["field"], field, "{}", refused.text);
    }
    let (_, token) = gateway.runner("edge", &[]).await;
    let offline = ask(&gateway, uname()).await;
    assert_eq!(failure(&offline), failed(503, "execution", "no_runners_online"));
    assert_eq!((offline.header("retry-after"), &offline.json()["status"]), (Some("1"), &json!("offline")));

    let plain = Runner::with(&gateway, &token, &["flow/1"]).await;
    assert_eq!(failure(&ask(&gateway, uname()).await), failed(501, "execution", "unsupported_kind"));
    drop(plain);
    gateway.connected(0).await;

    let mut runner = Runner::greet(&gateway, &token, hello()).await;
    let denied = ask(&gateway, json!({"target": "edge", "command": "ls", "mode": "full"})).await;
    assert_eq!(failure(&denied), failed(403, "validation", "POLICY_DENIED"));
    let body = denied.json();
    assert_eq!((&body["rule"], &body["denied_by"]), (&json!("capability.exec.full"), &json!("gateway")));
    let docker = ask(&gateway, json!({"target": "edge", "argv": ["/usr/bin/docker", "ps"]})).await;
    assert_eq!(docker.json()["rule"], "capability.docker");

    gateway.control.revoke_runner(&Gateway::by(), "edge").await.unwrap();
    assert_eq!(failure(&ask(&gateway, uname()).await), failed(409, "validation", "RUNNER_REVOKED"));
    assert!(runner.try_frame(Duration::from_millis(300)).await.is_none(), "it was asked for something");

    let rows = log(&gateway, 15).await;
    let outcomes: Vec<_> = rows.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    let expected = [
        &["RUNNER_REVOKED", "POLICY_DENIED", "POLICY_DENIED", "unsupported_kind", "no_runners_online"][..],
        &["bad_request"; 5],
        &["TARGET_NOT_FOUND"; 5],
    ]
    .concat();
    assert_eq!(outcomes, expected);
    assert_eq!(
        (&rows[1]["rule"], &rows[1]["exec"]["said"]["hostname"]),
        (&json!("capability.docker"), &json!("host-1"))
    );
    assert_eq!((&rows[14]["target"], &rows[14]["exec"]["command"]), (&json!("nope"), &json!("ls")));
    assert!(
        rows[0]["runnerId"].is_string() && rows[0]["exec"]["error"].as_str().unwrap().contains("revoked")
    );
    let by_rule = gateway.admin("/api/audit?action=exec&rule=capability.docker").await;
    assert_eq!(by_rule["entries"].as_array().unwrap().len(), 1);
    assert_eq!(gateway.admin("/api/jobs").await["jobs"], json!([]), "nothing of this became a job");
}

#[tokio::test]
async fn who_has_an_answer_finds_the_command_in_every_list() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    for _ in 0..5 {
        let answering = async {
            let job = runner.shell_job().await;
            runner.exited(&job, 0).await;
            job["job_id"].clone()
        };
        let (answer, id) = futures::join!(ask(&gateway, uname()), answering);
        answer.ok();
        let listed = &gateway.admin("/api/jobs?limit=1").await["jobs"][0];
        assert_eq!((&listed["id"], &listed["status"]), (&id, &json!("succeeded")));
        let row = &gateway.admin("/api/audit?action=exec&limit=1").await["entries"][0];
        assert_eq!((&row["jobId"], &row["outcome"]), (&id, &json!("ok")));

        let answering = async {
            let job = runner.shell_job().await;
            runner.refused(&job, "POLICY_DENIED", None).await;
            job["job_id"].as_str().unwrap().to_owned()
        };
        let (_, id) = futures::join!(ask(&gateway, uname()), answering);
        assert_eq!(gateway.admin(&format!("/api/jobs/{id}")).await["status"], "denied");
    }
}

#[tokio::test]
async fn a_key_needs_the_scope_and_everybody_else_is_a_stranger() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let with = gateway.scoped_key("robot").await;
    let mut client = gateway.connect().await;
    for (key, expected) in [
        (gateway.secret_key.clone(), failed(403, "validation", "forbidden")),
        (gateway.public_key.clone(), failed(403, "validation", "forbidden")),
        ("sk_unknown".to_owned(), failed(401, "validation", "unauthorized")),
        (String::new(), failed(401, "validation", "unauthorized")),
    ] {
        client.key = key;
        assert_eq!(failure(&client.ask("/api/exec", uname()).await), expected);
    }
    client.key = with;
    let answering = async {
        let job = runner.shell_job().await;
        runner.exited(&job, 0).await;
    };
    let (answer, ()) = futures::join!(client.ask("/api/exec", uname()), answering);
    assert_eq!(answer.ok()["data"]["exit_code"], 0);
    let page = gateway.eventually("/api/audit?action=exec&actor=secret-key", |page| {
        page["entries"].as_array().unwrap().len() == 2
    });
    let rows = page.await["entries"].clone();
    assert_eq!((&rows[0]["actor"], &rows[0]["outcome"]), (&json!("secret-key"), &json!("ok")));
    assert_eq!(rows[1]["exec"]["command"], "uname -a", "what was tried is told, too");
    let strangers = gateway.eventually("/api/audit?action=exec&actor=anonymous", |page| {
        page["entries"].as_array().unwrap().len() == 2
    });
    let stranger = strangers.await["entries"][0].clone();
    assert_eq!((&stranger["outcome"], stranger.get("exec")), (&json!("unauthorized"), None));
    gateway.control.revoke_key(&Gateway::by(), "robot").await.unwrap();
    assert_eq!(client.ask("/api/exec", uname()).await.status, 401);
}

#[tokio::test]
async fn a_runners_own_refusals_are_told_with_their_rule() {
    let (gateway, mut runner) = edge(&["exec.readonly"], hello()).await;
    for (code, rule, expected) in [
        ("POLICY_DENIED", Some("readonly.program"), failed(403, "execution", "POLICY_DENIED")),
        ("QUERY_TIMEOUT", None, failed(504, "execution", "QUERY_TIMEOUT")),
        ("INTERNAL", None, failed(500, "execution", "INTERNAL")),
        ("CANCELLED", None, failed(502, "execution", "runner_failed")),
        ("E_OTHER", None, failed(502, "execution", "runner_failed")),
    ] {
        let answering = async {
            let job = runner.shell_job().await;
            assert_eq!((&job["mode"], &job["docker"]), (&json!("readonly"), &json!(false)));
            runner.refused(&job, code, rule).await;
        };
        let (answer, ()) = futures::join!(ask(&gateway, uname()), answering);
        assert_eq!(failure(&answer), expected, "{code}");
        assert_eq!(answer.json()["rule"].as_str(), rule);
        assert_eq!(answer.json()["user_message"], "it went wrong");
        assert!(answer.json()["job_id"].is_string());
    }
    let rows = log(&gateway, 5).await;
    let denied = &rows[4];
    assert_eq!((&denied["rule"], &denied["outcome"]), (&json!("readonly.program"), &json!("POLICY_DENIED")));
    let statuses: Vec<_> = gateway.admin("/api/jobs?kind=shell").await["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| job["status"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(statuses, ["failed", "failed", "failed", "timeout", "denied"]);
    let denied = gateway.admin("/api/jobs?status=denied&runner=edge").await;
    assert_eq!(denied["jobs"].as_array().unwrap().len(), 1);
    let failed = gateway.admin("/api/jobs?status=failed").await;
    assert_eq!(failed["jobs"].as_array().unwrap().len(), 3);
    for other in ["status=running", "kind=query", "runner=019de0de-0000-7000-8000-000000000000"] {
        assert_eq!(gateway.admin(&format!("/api/jobs?{other}")).await["jobs"], json!([]), "{other}");
    }
}

#[tokio::test]
async fn a_runner_that_is_lost_in_the_middle_fails_its_command_at_once_and_nobody_begins_it_again() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let (_, token) = gateway.control.rotate_runner(&Gateway::by(), "edge").await.unwrap();
    assert_eq!(runner.closed().await, 4401);
    runner = Runner::greet(&gateway, token.expose(), hello()).await;
    let mut other = Runner::greet(&gateway, token.expose(), hello()).await;
    let answering = async {
        let lost = tokio::select! {
            job = runner.shell_job() => { runner.wrote(&job, 0, "stdout", "half").await; runner }
            job = other.shell_job() => { other.wrote(&job, 0, "stdout", "half").await; std::mem::replace(&mut other, runner) }
        };
        gateway.eventually("/api/jobs", |jobs| jobs["jobs"][0]["status"] == "running").await;
        drop(lost);
        other
    };
    let started = std::time::Instant::now();
    let (answer, mut other) = futures::join!(
        ask(&gateway, json!({"target": "edge", "command": "x", "timeout_secs": 600})),
        answering
    );
    assert_eq!(failure(&answer), failed(502, "execution", "runner_failed"));
    assert!(started.elapsed() < PATIENCE / 2, "{:?}", started.elapsed());
    assert!(other.try_frame(Duration::from_millis(300)).await.is_none(), "it was begun again");
    let row = &log(&gateway, 1).await[0];
    assert_eq!((&row["outcome"], &row["attempts"]), (&json!("runner_failed"), &json!(1)));
}

#[tokio::test]
async fn a_caller_that_goes_away_ends_its_command() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    // Before anything was written.
    let job = {
        let asking = std::pin::pin!(ask(&gateway, uname()));
        match futures::future::select(std::pin::pin!(runner.shell_job()), asking).await {
            futures::future::Either::Left((job, _dropped)) => job,
            futures::future::Either::Right(_) => panic!("answered without an end"),
        }
    };
    assert_eq!(runner.frame().await, json!({"type": "exec_cancel", "job_id": job["job_id"]}));
    // What comes late harms nothing.
    runner.wrote(&job, 0, "stdout", "late").await;
    runner.refused(&job, "CANCELLED", None).await;
    // In the middle of a stream.
    let (mut stream, job) = futures::join!(events(&gateway, uname()), runner.shell_job());
    runner.wrote(&job, 0, "stdout", "half of it").await;
    stream.event().await.unwrap();
    drop(stream);
    assert_eq!(runner.frame().await, json!({"type": "exec_cancel", "job_id": job["job_id"]}));
    let rows = log(&gateway, 2).await;
    assert_eq!((&rows[0]["outcome"], &rows[1]["outcome"]), (&json!("CANCELLED"), &json!("CANCELLED")));
    let ended = gateway.admin(&format!("/api/jobs/{}", job["job_id"].as_str().unwrap())).await;
    assert_eq!((&ended["status"], &ended["output"]["stdout"]), (&json!("cancelled"), &json!("half of it")));
    assert_eq!(gateway.admin("/api/runners/edge").await["sessions"][0]["activeJobs"], 0);
}

#[tokio::test]
async fn an_operator_ends_a_command_and_its_caller_hears_when_it_is_gone() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let ending = async {
        let job = runner.shell_job().await;
        let id = job["job_id"].as_str().unwrap().to_owned();
        let mut client = operator(&gateway).await;
        let told =
            client.send("POST", &format!("/api/jobs/{id}/cancel"), &[], String::new()).await.whole().await;
        assert_eq!(told.ok()["id"], id.as_str());
        assert_eq!(runner.frame().await, json!({"type": "exec_cancel", "job_id": id}));
        runner.wrote(&job, 0, "stdout", "last words").await;
        runner.refused(&job, "CANCELLED", None).await;
        gateway.eventually("/api/jobs?status=running", |jobs| jobs["jobs"] == json!([])).await;
        let again = client.send("POST", &format!("/api/jobs/{id}/cancel"), &[], String::new()).await;
        assert_eq!(again.whole().await.status, 404);
    };
    let (answer, ()) = futures::join!(ask(&gateway, uname()), ending);
    assert_eq!(failure(&answer), failed(499, "execution", "CANCELLED"));
    assert_eq!(answer.json()["stdout"], "last words");
    assert_eq!(gateway.audit("job.cancel", 2).await[1]["outcome"], "ok");
}

/// A command of this key, whose output comes as events.
async fn events_with(gateway: &Gateway, key: &str, command: &str) -> Stream {
    let mut client = gateway.connect().await;
    client.key = key.to_owned();
    let body = json!({"target": "edge", "command": command});
    client.stream("/api/exec", &[("accept", "text/event-stream")], body).await
}

#[tokio::test]
async fn a_revoked_key_takes_its_running_commands_along_and_no_others() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let (leaver, stayer) = (gateway.scoped_key("leaver").await, gateway.scoped_key("stayer").await);
    let (mut one, job) = futures::join!(events_with(&gateway, &leaver, "one"), runner.shell_job());
    let (mut two, other) = futures::join!(events_with(&gateway, &stayer, "two"), runner.shell_job());
    runner.wrote(&job, 0, "stdout", "so far").await;
    assert_eq!(one.event().await.unwrap().0, "chunk");

    gateway.control.revoke_key(&Gateway::by(), "leaver").await.unwrap();
    assert_eq!(runner.expect("exec_cancel").await["job_id"], job["job_id"]);
    // Whatever it still says is for nobody.
    runner.wrote(&job, 1, "stdout", "a secret").await;
    let (name, envelope) = one.event().await.unwrap();
    assert_eq!(
        (name.as_str(), &envelope["code"], &envelope["rule"], &envelope["stdout"]),
        ("error", &json!("CANCELLED"), &json!("key.revoked"), &json!("so far"))
    );
    assert_eq!((&envelope["ok"], &envelope["error_type"]), (&json!(false), &json!("execution_error")));
    assert_eq!(one.event().await, None);
    let row = &log(&gateway, 1).await[0];
    assert_eq!((&row["outcome"], &row["rule"]), (&json!("CANCELLED"), &json!("key.revoked")));
    assert!(row["exec"]["error"].as_str().unwrap().contains("revoked"), "{row}");
    let ended = gateway.admin(&format!("/api/jobs/{}", job["job_id"].as_str().unwrap())).await;
    assert_eq!((&ended["status"], &ended["output"]["stdout"]), (&json!("cancelled"), &json!("so far")));

    runner.exited(&other, 0).await;
    assert_eq!(two.event().await.unwrap().0, "done");
}

#[tokio::test]
async fn a_revoked_runner_takes_its_commands_along_and_the_log_says_why() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let revoking = async {
        let job = runner.shell_job().await;
        gateway.control.revoke_runner(&Gateway::by(), "edge").await.unwrap();
        job
    };
    let (answer, job) = futures::join!(ask(&gateway, uname()), revoking);
    assert_eq!(runner.closed().await, 4401);
    assert_eq!(failure(&answer), failed(502, "execution", "runner_failed"));
    assert_eq!(answer.json()["rule"], "runner.revoked");
    let row = &log(&gateway, 1).await[0];
    assert_eq!((&row["rule"], &row["jobId"]), (&json!("runner.revoked"), &job["job_id"]));
    let begun = &gateway.audit("exec.begin", 1).await[0];
    assert_eq!((&begun["jobId"], &begun["requestId"]), (&job["job_id"], &row["requestId"]));
    assert_eq!((&begun["outcome"], &begun["exec"]["command"]), (&json!("ok"), &json!("uname -a")));
}

#[tokio::test]
async fn a_whole_answer_ends_with_its_key_too() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let mut client = gateway.connect().await;
    client.key = gateway.scoped_key("leaver").await;
    let ending = async {
        let job = runner.shell_job().await;
        gateway.control.revoke_key(&Gateway::by(), "leaver").await.unwrap();
        // The runner says nothing more, and is not waited for.
        assert_eq!(runner.expect("exec_cancel").await["job_id"], job["job_id"]);
    };
    let (answer, ()) = futures::join!(client.ask("/api/exec", uname()), ending);
    assert_eq!(failure(&answer), failed(499, "execution", "CANCELLED"));
    assert_eq!(answer.json()["rule"], "key.revoked");
}

#[tokio::test]
async fn a_capability_that_is_taken_away_ends_what_needs_it_and_nothing_else() {
    let (gateway, mut runner) = edge(&["exec.readonly", "exec.full", "docker", "sandbox"], hello()).await;
    let start = async |runner: &mut Runner, body: Value| {
        let (stream, job) = futures::join!(events(&gateway, body), runner.shell_job());
        (stream, job)
    };
    let (mut full, full_job) = start(&mut runner, uname()).await;
    let looks = json!({"target": "edge", "command": "uptime", "mode": "readonly"});
    let (mut looks, looks_job) = start(&mut runner, looks).await;
    let docker = json!({"target": "edge", "argv": ["docker", "logs", "a"], "mode": "readonly"});
    let (mut docker, docker_job) = start(&mut runner, docker).await;
    let boxed = json!({"target": "edge", "command": "id", "sandbox": {}});
    let (mut boxed, boxed_job) = start(&mut runner, boxed).await;

    for (capabilities, stream, job, rule) in [
        (&["exec.readonly", "docker", "sandbox"][..], &mut full, &full_job, "capability.exec.full"),
        (&["exec.readonly", "sandbox"], &mut docker, &docker_job, "capability.docker"),
        (&["exec.readonly"], &mut boxed, &boxed_job, "capability.sandbox"),
    ] {
        allow(&gateway, capabilities).await;
        assert_eq!(runner.expect("exec_cancel").await["job_id"], job["job_id"], "{rule}");
        // The caller hears it once the command is gone, with its last words.
        runner.wrote(job, 0, "stdout", "last words").await;
        runner.refused(job, "CANCELLED", None).await;
        assert_eq!(stream.event().await.unwrap().0, "chunk");
        let (name, envelope) = stream.event().await.unwrap();
        assert_eq!(
            (name.as_str(), &envelope["code"], &envelope["rule"], &envelope["stdout"]),
            ("error", &json!("CANCELLED"), &json!(rule), &json!("last words"))
        );
    }
    allow(&gateway, &["exec.readonly", "docker"]).await;
    assert!(runner.try_frame(Duration::from_millis(300)).await.is_none(), "it was told of something more");
    runner.exited(&looks_job, 0).await;
    assert_eq!(looks.event().await.unwrap().0, "done");
    let page = gateway.eventually("/api/audit?action=exec&rule=capability.sandbox", |page| {
        page["entries"].as_array().unwrap().len() == 1
    });
    assert_eq!(page.await["entries"][0]["outcome"], "CANCELLED");
}

#[tokio::test]
async fn a_second_process_gets_a_command_only_with_what_is_allowed_by_then() {
    let (gateway, mut first, mut second) = two_of_edge().await;
    let answering = async {
        let job = first.shell_job().await;
        assert_eq!(job["mode"], "full");
        allow(&gateway, &["sandbox"]).await;
        assert_eq!(first.expect("exec_cancel").await["job_id"], job["job_id"]);
        first.refused(&job, "RUNNER_BUSY", None).await;
    };
    let (answer, ()) = futures::join!(ask(&gateway, uname()), answering);
    assert_eq!(failure(&answer), failed(499, "execution", "CANCELLED"));
    assert!(second.try_frame(Duration::from_millis(300)).await.is_none(), "another process has got it");
}

#[tokio::test]
async fn a_command_while_the_gateway_drains_is_refused_in_the_one_shape_and_noted() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let key = gateway.scoped_key("robot").await;
    let (mut running, job) = futures::join!(events(&gateway, uname()), runner.shell_job());
    let asking = async {
        let mut late = operator(&gateway).await;
        let refused = late.ask("/api/exec", uname()).await;
        assert_eq!(failure(&refused), failed(503, "execution", "draining"));
        assert_eq!(refused.header("retry-after"), Some("1"));
        let mut late = gateway.connect().await;
        late.key = key;
        assert_eq!(failure(&late.ask("/api/exec", uname()).await).2, "draining");
        late = gateway.connect().await;
        late.key = "sk_unknown".to_owned();
        assert_eq!(failure(&late.ask("/api/exec", uname()).await), failed(401, "validation", "unauthorized"));
        runner.exited(&job, 0).await;
        assert_eq!(running.event().await.unwrap().0, "done");
    };
    let (drained, ()) = futures::join!(gateway.stop(PATIENCE), asking);
    assert_eq!(drained, Drained::Clean);
    let filter = AuditFilter { action: Some("exec".to_owned()), limit: 10, ..AuditFilter::default() };
    let rows = gateway.control.store().audit(&filter).await.unwrap();
    let mut said: Vec<_> = rows.iter().map(|row| (row.actor.kind(), row.outcome.as_ref())).collect();
    said.sort_unstable();
    assert_eq!(
        said,
        [("admin", "draining"), ("admin", "ok"), ("anonymous", "unauthorized"), ("secret-key", "draining")]
    );
    let refused = rows.iter().find(|row| row.outcome == "draining").unwrap();
    assert_eq!(refused.target.as_deref(), Some("edge"));
    assert!(refused.shell.is_some() && refused.runner_id.is_some(), "{refused:?}");
}

#[tokio::test]
async fn an_operator_ends_a_query_whose_caller_reads_nothing() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let mut runner = Runner::plain(&gateway, &token).await;
    let ending = async {
        let job = runner.job().await;
        let id = job["id"].as_str().unwrap().to_owned();
        let mut client = operator(&gateway).await;
        client.send("POST", &format!("/api/jobs/{id}/cancel"), &[], String::new()).await.whole().await.ok();
        assert_eq!(runner.frame().await, json!({"type": "cancel", "id": id}));
    };
    let (answer, ()) = futures::join!(gateway.query(json!({})), ending);
    assert_eq!(answer.refusal(), (499, "CANCELLED".to_owned()));
}

#[tokio::test]
async fn a_runner_has_no_more_commands_than_its_bound_and_never_waits_with_one() {
    let mut hello = hello();
    hello["exec"]["maxExec"] = json!(1);
    let (gateway, mut runner) = edge(&["exec.full"], hello.clone()).await;
    let answering = async {
        let first = runner.shell_job().await;
        let refused = ask(&gateway, uname()).await;
        runner.exited(&first, 0).await;
        refused
    };
    let (answer, refused) = futures::join!(ask(&gateway, uname()), answering);
    assert_eq!(answer.status, 200);
    assert_eq!(failure(&refused), failed(503, "execution", "RUNNER_BUSY"));
    assert_eq!(refused.header("retry-after"), Some("1"));
    // The runner's own word counts as well, as long as nothing has begun.
    let answering = async {
        let job = runner.shell_job().await;
        runner.refused(&job, "RUNNER_BUSY", None).await;
    };
    let (answer, ()) = futures::join!(ask(&gateway, uname()), answering);
    assert_eq!(failure(&answer), failed(503, "execution", "RUNNER_BUSY"));
}

#[tokio::test]
async fn what_one_process_does_not_take_another_of_the_same_runner_may() {
    let (gateway, mut first, mut second) = two_of_edge().await;
    let answering = async {
        let job = first.shell_job().await;
        first.refused(&job, "RUNNER_DRAINING", None).await;
        let job = second.shell_job().await;
        second.exited(&job, 0).await;
    };
    let (answer, ()) = futures::join!(ask(&gateway, uname()), answering);
    assert_eq!(answer.ok()["data"]["exit_code"], 0);
    assert_eq!(log(&gateway, 1).await[0]["attempts"], 2);
}

#[tokio::test]
async fn a_gap_in_the_output_or_a_wrong_frame_ends_its_own_command_alone() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    for wrong in [
        json!({"type": "exec_chunk", "stream": "stdout", "data": "x", "seq": 1}),
        json!({"type": "exec_chunk", "stream": "stdlog", "data": "x", "seq": 0}),
        json!({"type": "exec_chunk", "stream": "stdout", "data": "x"}),
        json!({"type": "exec_done", "exit_code": "0"}),
        json!({"type": "exec_chunk", "stream": "stdout", "data": "x".repeat(2 * 1024 * 1024), "seq": 0}),
    ] {
        let answering = async {
            let (one, two) = (runner.shell_job().await, runner.shell_job().await);
            let mut frame = wrong.clone();
            frame["job_id"] = one["job_id"].clone();
            runner.send(frame).await;
            if wrong["data"].as_str().is_some_and(|data| data.len() > 1024 * 1024) {
                // The last piece may overdraw the credit; a second one may not.
                runner.wrote(&one, 1, "stdout", "more").await;
            }
            assert_eq!(runner.expect("exec_cancel").await["job_id"], one["job_id"]);
            runner.exited(&two, 0).await;
        };
        let (one, two, ()) = futures::join!(ask(&gateway, uname()), ask(&gateway, uname()), answering);
        let (bad, good) = if one.status == 200 { (two, one) } else { (one, two) };
        assert_eq!(failure(&bad), failed(502, "execution", "runner_failed"), "{wrong}");
        assert_eq!(good.status, 200);
    }
}

#[tokio::test]
async fn frames_count_only_from_the_runner_that_has_the_job() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let (_, token) = gateway.runner("foreign", &["main"]).await;
    let mut foreign = Runner::greet(&gateway, &token, hello()).await;
    let answering = async {
        let job = runner.shell_job().await;
        foreign.wrote(&job, 0, "stdout", "forged").await;
        foreign.exited(&job, 99).await;
        // A frame of a query does not end a shell job either.
        runner
            .send(json!({"type": "done", "id": job["job_id"], "meta": {"count": 0, "durationMs": 1}}))
            .await;
        runner.send(json!({"type": "chunk", "id": job["job_id"], "rows": [{"a": 1}]})).await;
        foreign.send(json!({"type": "heartbeat"})).await;
        gateway.eventually("/api/runners/foreign", |runner| runner["lastSeenAt"].is_string()).await;
        runner.wrote(&job, 0, "stdout", "true").await;
        runner.exited(&job, 0).await;
    };
    let (answer, ()) = futures::join!(ask(&gateway, uname()), answering);
    assert_eq!(
        (&answer.ok()["data"]["exit_code"], &answer.ok()["data"]["stdout"]),
        (&json!(0), &json!("true"))
    );
}

#[tokio::test]
async fn long_output_is_bounded_in_the_answer_and_in_the_log() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let line = "0123456789abcde\n".repeat(4 * 1024);
    let answering = async {
        let job = runner.shell_job().await;
        for seq in 0..64 {
            runner.wrote(&job, seq, "stdout", &line).await;
            // Half a window is granted again when half a window was taken.
            if seq % 8 == 7 {
                runner.expect_credit(&job).await;
            }
        }
        runner.wrote(&job, 64, "stdout", "the end").await;
        runner
            .send(json!({"type": "exec_done", "job_id": job["job_id"], "exit_code": 0, "duration_ms": 1,
                "truncated": {"stdout_bytes": 1000, "stderr_bytes": 5}}))
            .await;
        job
    };
    let (answer, job) = futures::join!(ask(&gateway, uname()), answering);
    let data = &answer.ok()["data"];
    let total = 64 * line.len() + 7;
    assert_eq!(data["truncated"], json!({"stdout_bytes": total - 256 * 1024 + 1000, "stderr_bytes": 5}));
    let stdout = data["stdout"].as_str().unwrap();
    assert!(stdout.len() < 257 * 1024 && stdout.starts_with("0123") && stdout.ends_with("the end"));
    log(&gateway, 1).await;
    let kept = gateway.admin(&format!("/api/jobs/{}", job["job_id"].as_str().unwrap())).await;
    let stdout = kept["output"]["stdout"].as_str().unwrap();
    assert!(stdout.len() < 17 * 1024 && stdout.starts_with("0123") && stdout.ends_with("the end"));
    assert_eq!(kept["output"]["stderrLeftOut"], 5);
}

#[tokio::test]
async fn a_request_that_no_frame_holds_is_refused_and_the_socket_lives_on() {
    let gateway = Gateway::start_with(&[("SEMILAYER_MAX_BODY", "67108864")]).await;
    let (_, token) = gateway.runner("edge", &[]).await;
    allow(&gateway, &["sandbox"]).await;
    let mut runner = Runner::greet(&gateway, &token, hello()).await;
    let files = json!({"big": "x".repeat(17 * 1024 * 1024)});
    let body = json!({"target": "edge", "command": "wc big", "sandbox": {"files": files}});
    assert_eq!(failure(&ask(&gateway, body).await), failed(413, "validation", "body_too_large"));
    let answering = async {
        let job = runner.shell_job().await;
        runner.exited(&job, 0).await;
    };
    let (answer, ()) = futures::join!(ask(&gateway, uname()), answering);
    assert_eq!(answer.status, 200);
}

#[tokio::test]
async fn a_slow_reader_holds_back_its_own_command_alone() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let (mut slow, job) = futures::join!(events(&gateway, uname()), runner.shell_job());
    // As much as the credit allows, and nobody reads.
    let piece = "x".repeat(64 * 1024);
    let mut sent = 0;
    let mut credit: i64 = 1024 * 1024;
    while credit > 0 {
        runner.wrote(&job, sent, "stdout", &piece).await;
        sent += 1;
        credit -= 64 * 1024;
        while let Some(frame) = runner.try_frame(Duration::from_millis(20)).await {
            assert_eq!((&frame["type"], &frame["id"]), (&json!("credit"), &job["job_id"]));
            credit += frame["bytes"].as_i64().unwrap();
        }
    }
    let answering = async {
        let other = runner.shell_job().await;
        runner.exited(&other, 0).await;
    };
    let (other, ()) = futures::join!(ask(&gateway, uname()), answering);
    assert_eq!(other.status, 200, "the other one waited");
    let reading = async {
        for _ in 0..sent {
            assert_eq!(slow.event().await.unwrap().0, "chunk");
        }
    };
    futures::join!(reading, runner.expect_credit(&job));
    runner.exited(&job, 0).await;
    assert_eq!(slow.event().await.unwrap().0, "done");
}

#[tokio::test]
async fn the_gateway_ends_a_command_that_its_runner_forgets() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let mut client = operator(&gateway).await;
    (runner.patience, client.patience) = (Duration::from_secs(60), Duration::from_secs(60));
    let forgetting = async {
        let job = runner.shell_job().await;
        // Not before: the log is written first, by a thread.
        tokio::time::pause();
        let started = tokio::time::Instant::now();
        assert_eq!(runner.expect("exec_cancel").await["job_id"], job["job_id"]);
        started
    };
    let body = json!({"target": "edge", "command": "sleep 99", "timeout_secs": 10});
    let (answer, started) = futures::join!(client.ask("/api/exec", body), forgetting);
    assert_eq!(failure(&answer), failed(504, "execution", "QUERY_TIMEOUT"));
    // It had begun a moment before.
    assert!((14.5..20.0).contains(&started.elapsed().as_secs_f64()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn an_operator_who_ends_a_command_does_not_wait_for_ever_for_its_runner() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let mut client = operator(&gateway).await;
    let mut other = operator(&gateway).await;
    (runner.patience, client.patience) = (Duration::from_secs(60), Duration::from_secs(60));
    let body = json!({"target": "edge", "command": "sleep 99", "timeout_secs": 600});
    let ending = async {
        let job = runner.shell_job().await;
        let path = format!("/api/jobs/{}/cancel", job["job_id"].as_str().unwrap());
        other.send("POST", &path, &[], String::new()).await.whole().await.ok();
        assert_eq!(runner.expect("exec_cancel").await["job_id"], job["job_id"]);
        tokio::time::pause();
        // Asked once more when nothing has come of it.
        assert_eq!(runner.expect("exec_cancel").await["job_id"], job["job_id"]);
        tokio::time::resume();
    };
    let (answer, ()) = futures::join!(client.ask("/api/exec", body), ending);
    assert_eq!(failure(&answer), failed(499, "execution", "CANCELLED"));
    assert_eq!(gateway.admin("/api/runners/edge").await["sessions"][0]["shellJobs"], 0);
}

#[tokio::test]
async fn a_silent_command_keeps_its_stream_alive() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let mut client = operator(&gateway).await;
    (runner.patience, client.patience) = (Duration::from_secs(60), Duration::from_secs(60));
    let headers = [("accept", "text/event-stream")];
    let body = json!({"target": "edge", "command": "sleep 20", "timeout_secs": 60});
    let (mut stream, job) = futures::join!(client.stream("/api/exec", &headers, body), runner.shell_job());
    tokio::time::pause();
    assert_eq!(stream.piece().await.unwrap().unwrap(), ": still running\n\n");
    tokio::time::resume();
    runner.exited(&job, 0).await;
    assert_eq!(stream.event().await.unwrap().0, "done");
}

#[tokio::test]
async fn what_a_runner_does_is_what_both_sides_say() {
    let mut hello = hello();
    hello["exec"] = json!({"modes": ["readonly", "sandbox"], "docker": false});
    let (gateway, runner) = edge(&["exec.full", "docker"], hello).await;
    let shown = gateway.admin("/api/runners/edge").await;
    assert_eq!(shown["capabilities"], json!(["exec.full", "docker"]));
    assert_eq!(shown["reportedCapabilities"], json!(["exec.readonly", "sandbox"]));
    assert_eq!(shown["effectiveCapabilities"], json!(["exec.readonly"]));
    assert_eq!(shown["capabilitiesMatch"], false);
    let session = &shown["sessions"][0];
    assert_eq!((&session["hostname"], &session["shellJobs"]), (&json!("host-1"), &json!(0)));
    let denied = ask(&gateway, json!({"target": "edge", "command": "ls", "mode": "full"})).await.json();
    assert_eq!((&denied["rule"], &denied["denied_by"]), (&json!("capability.exec.full"), &json!("runner")));
    allow(&gateway, &["exec.readonly", "sandbox"]).await;
    assert_eq!(gateway.admin("/api/runners/edge").await["capabilitiesMatch"], true);
    drop(runner);
    gateway.connected(0).await;
    let offline = gateway.admin("/api/runners/edge").await;
    assert_eq!((offline.get("reportedCapabilities"), offline.get("capabilitiesMatch")), (None, None));
}

#[tokio::test]
async fn a_runner_of_the_other_dialect_says_in_its_metadata_what_it_does() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("edge", &[]).await;
    let mut runner = Runner::dial(&gateway, Dial::default()).await.unwrap();
    runner
        .send(json!({"type": "hello", "runner_name": "edge", "secret": token, "extensions": ["exec/1"],
            "metadata": {"hostname": "h\u{1b}[31m", "capabilities": ["exec.readonly", "exec.root"]}}))
        .await;
    assert_eq!(runner.frame().await["type"], "hello-ack");
    let shown = gateway.admin("/api/runners/edge").await;
    assert_eq!(shown["effectiveCapabilities"], json!(["exec.readonly"]));
    assert_eq!(shown["sessions"][0]["hostname"], "h[31m");
    let answering = async {
        let job = runner.shell_job().await;
        assert_eq!(job.get("credit"), None, "without flow/1");
        runner.wrote(&job, 0, "stdout", "ok").await;
        runner.exited(&job, 0).await;
    };
    let (answer, ()) = futures::join!(ask(&gateway, uname()), answering);
    assert_eq!(answer.ok()["data"]["stdout"], "ok");
}

#[tokio::test]
async fn pages_of_jobs_follow_each_other_and_outlive_their_runner() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let mut made = Vec::new();
    for number in 0..5 {
        let answering = async {
            let job = runner.shell_job().await;
            runner.exited(&job, number).await;
            job["job_id"].as_str().unwrap().to_owned()
        };
        let (_, id) = futures::join!(ask(&gateway, uname()), answering);
        made.push(id);
    }
    made.reverse();
    log(&gateway, 5).await;
    let (_running, job) = futures::join!(events(&gateway, uname()), runner.shell_job());
    made.insert(0, job["job_id"].as_str().unwrap().to_owned());
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = gateway.admin(&format!("/api/jobs?limit=2&kind=shell{cursor}")).await;
        seen.extend(
            page["jobs"].as_array().unwrap().iter().map(|job| job["id"].as_str().unwrap().to_owned()),
        );
        let Some(next) = page["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seen, made);
    runner.exited(&job, 0).await;
    drop(runner);
    gateway.connected(0).await;
    log(&gateway, 6).await;
    gateway.control.delete_runner(&Gateway::by(), "edge", |_| false).await.unwrap();
    let jobs = gateway.admin("/api/jobs?limit=10").await;
    assert_eq!(jobs["jobs"].as_array().unwrap().len(), 6);
    assert_eq!((&jobs["jobs"][0]["runner"], &jobs["jobs"][5]["exitCode"]), (&json!("edge"), &json!(0)));
    let mut client = operator(&gateway).await;
    for (path, status) in [
        ("/api/jobs?limit=0", 400),
        ("/api/jobs?status=done", 400),
        ("/api/jobs?kind=exec", 400),
        ("/api/jobs?cursor=x", 400),
        ("/api/jobs?colour=red", 400),
        ("/api/jobs/x", 404),
        ("/api/jobs/019de0de-0000-7000-8000-000000000000", 404),
    ] {
        let answer = client.send("GET", path, &[], String::new()).await.whole().await;
        assert_eq!(answer.refusal().0, status, "{path}");
    }
}

#[tokio::test]
async fn shell_jobs_are_counted_by_their_outcome() {
    let (gateway, mut runner) = edge(&["exec.full"], hello()).await;
    let answering = async {
        let job = runner.shell_job().await;
        runner.wrote(&job, 0, "stdout", "12345").await;
        runner.exited(&job, 1).await;
    };
    futures::join!(ask(&gateway, uname()), answering);
    ask(&gateway, json!({"target": "nope", "command": "ls"})).await;
    assert_eq!(gateway.metric("gateway_shell_jobs_total{outcome=\"ok\"}").await, 1.0);
    assert_eq!(gateway.metric("gateway_shell_jobs_total{outcome=\"TARGET_NOT_FOUND\"}").await, 1.0);
    assert_eq!(gateway.metric("gateway_shell_output_bytes_received_total").await, 5.0);
}
