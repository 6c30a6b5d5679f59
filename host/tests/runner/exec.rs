//! Shell jobs with real processes.

use std::collections::BTreeSet;
use std::future::pending;
use std::time::{Duration, Instant};

use protocol::ExecMode;
use runtime::Drained;
use semilayer_runner::OutputCaps;
use serde_json::{Value, json};

use crate::gateway::{Heard, Socket};
use crate::rig::{Rig, Setup, TOKEN, eventually};

const EXEC: &[&str] = &["exec/1", "drain/1"];
const LONG: Duration = Duration::from_secs(20);
const QUIET: Duration = Duration::from_millis(300);

async fn setup(modes: &[ExecMode]) -> Setup {
    let modes: BTreeSet<_> = modes.iter().copied().collect();
    Setup::new().await.with(|config| {
        config.exec.modes = modes;
        config.exec.grace = Duration::from_millis(300);
    })
}

async fn full() -> (Rig, Socket) {
    let rig = setup(&[ExecMode::Full, ExecMode::Readonly]).await.start().await;
    let socket = rig.gateway.greet(json!([]), EXEC).await;
    (rig, socket)
}

fn command(id: &str, command: &str) -> Value {
    json!({"type": "exec_request", "job_id": id, "command": command, "timeout_secs": 20})
}

/// What a job has said, and its last frame.
struct Answer {
    stdout: String,
    stderr: String,
    chunks: Vec<Value>,
    last: Value,
}

async fn answer(socket: &mut Socket, id: &str) -> Answer {
    let (mut stdout, mut stderr, mut chunks) = (String::new(), String::new(), Vec::new());
    loop {
        let frame = socket.frame().await;
        assert_eq!(frame["job_id"], id, "{frame}");
        if frame["type"] != "exec_chunk" {
            return Answer { stdout, stderr, chunks, last: frame };
        }
        assert_eq!(frame["seq"], chunks.len(), "{frame}");
        let data = frame["data"].as_str().unwrap();
        if frame["stream"] == "stdout" {
            stdout.push_str(data)
        } else {
            stderr.push_str(data)
        }
        chunks.push(frame);
    }
}

/// The first chunk of a job that goes on.
async fn first(socket: &mut Socket) -> String {
    let frame = socket.frame().await;
    assert_eq!(frame["type"], "exec_chunk", "{frame}");
    frame["data"].as_str().unwrap().trim().to_owned()
}

/// Whether a process lives, and is no corpse.
fn lives(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with('Z'))
}

#[tokio::test]
async fn a_runner_offers_shell_jobs_only_where_it_was_told_to() {
    let rig = Rig::new().await;
    let hello = rig.gateway.accept().await.frame().await;
    assert!(!hello["extensions"].as_array().unwrap().contains(&json!("exec/1")), "{hello}");
    assert_eq!((hello.get("exec"), hello.get("metadata")), (None, None));

    let rig = setup(&[ExecMode::Readonly]).await.start().await;
    let hello = rig.gateway.accept().await.frame().await;
    assert!(hello["extensions"].as_array().unwrap().contains(&json!("exec/1")), "{hello}");
    let offer = json!({"modes": ["readonly"], "docker": false, "maxExec": 8, "maxTimeoutSecs": 3600});
    assert_eq!(hello["exec"], offer);
    assert_eq!(hello["metadata"]["platform"], "linux");
    assert!(!hello["metadata"]["hostname"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_command_is_answered_with_what_it_says_and_how_it_ends() {
    let (_rig, mut socket) = full().await;
    socket.send(command("1", "echo out; echo err >&2; exit 3")).await;
    let Answer { stdout, stderr, mut last, .. } = answer(&mut socket, "1").await;
    assert_eq!((stdout.as_str(), stderr.as_str()), ("out\n", "err\n"));
    last.as_object_mut().unwrap().remove("duration_ms").unwrap();
    assert_eq!(last, json!({"type": "exec_done", "job_id": "1", "exit_code": 3}));
}

#[tokio::test]
async fn an_argument_list_needs_no_shell() {
    let (_rig, mut socket) = full().await;
    let argv = json!(["printf", "%s|", "a b", "$HOME", ""]);
    socket.send(json!({"type": "exec_request", "job_id": "1", "argv": argv, "env": {"X": "y"}})).await;
    assert_eq!(answer(&mut socket, "1").await.stdout, "a b|$HOME||");
    socket.send(json!({"type": "exec_request", "job_id": "2", "argv": ["no-such-program"]})).await;
    let last = answer(&mut socket, "2").await.last;
    assert_eq!((&last["type"], &last["code"]), (&json!("exec_error"), &json!("bad_request")));
}

#[tokio::test]
async fn read_only_commands_run_and_others_are_refused_with_the_rule() {
    let rig = setup(&[ExecMode::Readonly]).await.start().await;
    let mut socket = rig.gateway.greet(json!([]), EXEC).await;
    socket.send(command("1", "uname -s")).await;
    assert_eq!(answer(&mut socket, "1").await.stdout, "Linux\n");
    socket.send(command("2", "env")).await;
    let Answer { stdout, .. } = answer(&mut socket, "2").await;
    assert!(stdout.contains("PATH=/usr/local/sbin") && !stdout.contains("CARGO"), "{stdout}");
    for (line, rule) in [
        ("env rm -rf /", "argument.runs-programs"),
        ("cat /etc/shadow", "path.secret"),
        ("cat /proc/self/environ", "path.outside"),
        ("/tmp/evil/ls", "program.path"),
        ("rm -rf /", "program.unknown"),
        ("ls | sh", "command.syntax"),
        ("tail -f /var/log/syslog", "argument.follow"),
        ("docker ps", "docker.off"),
    ] {
        socket.send(command("3", line)).await;
        let last = answer(&mut socket, "3").await.last;
        let said = (&last["type"], &last["code"], &last["rule"]);
        assert_eq!(said, (&json!("exec_error"), &json!("POLICY_DENIED"), &json!(rule)), "{line}: {last}");
    }
    let mut stronger = command("4", "id");
    stronger["mode"] = json!("full");
    socket.send(stronger).await;
    assert_eq!(answer(&mut socket, "4").await.last["rule"], "exec.mode");
    let mut boxed = command("5", "id");
    boxed["sandbox"] = json!({});
    socket.send(boxed).await;
    assert_eq!(answer(&mut socket, "5").await.last["rule"], "exec.mode");
}

#[tokio::test]
async fn a_gateway_may_ask_for_less_than_is_granted() {
    let (_rig, mut socket) = full().await;
    let mut weaker = command("1", "echo a | cat");
    weaker["mode"] = json!("readonly");
    socket.send(weaker).await;
    assert_eq!(answer(&mut socket, "1").await.last["rule"], "command.syntax");
}

#[tokio::test]
async fn nothing_of_the_runner_is_in_a_commands_environment() {
    let (_rig, mut socket) = full().await;
    socket.send(command("1", "env; cat /proc/self/environ")).await;
    let Answer { stdout, .. } = answer(&mut socket, "1").await;
    assert!(stdout.contains("TERM=dumb"), "{stdout}");
    for absent in [TOKEN, "CARGO", "SEMILAYER_RUNNER", "SEMILAYER_SOURCE"] {
        assert!(!stdout.contains(absent), "{absent} in {stdout}");
    }
}

#[tokio::test]
async fn output_leaves_while_the_command_runs() {
    let (_rig, mut socket) = full().await;
    socket.send(command("1", "echo first; sleep 1000")).await;
    assert_eq!(first(&mut socket).await, "first");
    socket.send(json!({"type": "exec_cancel", "job_id": "1"})).await;
    assert_eq!(answer_after(&mut socket, 1).await["code"], "CANCELLED");
}

/// The last frame of a job that has sent so many chunks.
async fn answer_after(socket: &mut Socket, chunks: u64) -> Value {
    let mut seq = chunks;
    loop {
        let frame = socket.frame().await;
        if frame["type"] != "exec_chunk" {
            return frame;
        }
        assert_eq!(frame["seq"], seq, "{frame}");
        seq += 1;
    }
}

#[tokio::test]
async fn a_cancelled_command_is_reported_when_its_processes_are_gone() {
    let (_rig, mut socket) = full().await;
    socket.send(command("1", "sh -c 'echo $$; trap \"\" TERM; sleep 1000; sleep 1000'")).await;
    let pid = first(&mut socket).await;
    assert!(lives(&pid));
    socket.send(json!({"type": "exec_cancel", "job_id": "1"})).await;
    let last = answer_after(&mut socket, 1).await;
    assert!(!lives(&pid));
    assert_eq!((&last["type"], &last["code"]), (&json!("exec_error"), &json!("CANCELLED")));
    // The id is free again.
    socket.send(command("1", "echo again")).await;
    assert_eq!(answer(&mut socket, "1").await.stdout, "again\n");
}

#[tokio::test]
async fn a_command_that_is_late_is_stopped_and_then_reported() {
    let (_rig, mut socket) = full().await;
    let mut late = command("1", "echo $$; sleep 1000");
    late["timeout_secs"] = json!(1);
    socket.send(late).await;
    let Answer { stdout, last, .. } = answer(&mut socket, "1").await;
    assert!(!lives(stdout.trim()));
    assert_eq!(last["code"], "QUERY_TIMEOUT");
    assert!(last["error"].as_str().unwrap().contains("within 1 s"), "{last}");
    assert!(last["duration_ms"].as_u64().unwrap() >= 1_000);
}

#[tokio::test]
async fn the_runners_own_limit_of_time_is_above_what_is_asked_for() {
    let setup = setup(&[ExecMode::Full]).await;
    let rig = setup.with(|config| config.exec.max_timeout = Duration::from_millis(300)).start().await;
    let mut socket = rig.gateway.greet(json!([]), EXEC).await;
    socket.send(command("1", "sleep 1000")).await;
    let began = Instant::now();
    assert_eq!(answer(&mut socket, "1").await.last["code"], "QUERY_TIMEOUT");
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test]
async fn a_socket_that_goes_away_takes_its_commands_along() {
    let (rig, mut socket) = full().await;
    socket.send(command("1", "echo $$; sleep 1000")).await;
    let pid = first(&mut socket).await;
    drop(socket);
    eventually("the command is gone", async || !lives(&pid)).await;
    let mut socket = rig.gateway.greet(json!([]), EXEC).await;
    socket.send(command("1", "echo again")).await;
    assert_eq!(answer(&mut socket, "1").await.stdout, "again\n");
}

#[tokio::test]
async fn long_output_keeps_its_beginning_and_its_end() {
    let setup = setup(&[ExecMode::Full]).await;
    let caps = OutputCaps { head: 1_000, tail: 500 };
    let rig = setup.with(|config| config.exec.output = caps).start().await;
    let mut socket = rig.gateway.greet(json!([]), EXEC).await;
    socket.send(command("1", "seq 1 1000000; echo err >&2")).await;
    let Answer { stdout, stderr, chunks, last } = answer(&mut socket, "1").await;
    assert_eq!((stdout.len(), stderr.as_str()), (1_500, "err\n"));
    assert!(stdout.starts_with("1\n2\n3\n") && stdout.ends_with("\n999999\n1000000\n"));
    let whole = 6_888_896;
    let omitted: u64 = chunks.iter().filter_map(|chunk| chunk["omitted_bytes"].as_u64()).sum();
    assert_eq!(omitted, whole - 1_500);
    assert_eq!(last["truncated"], json!({"stdout_bytes": whole - 1_500, "stderr_bytes": 0}));
    assert_eq!(last["exit_code"], 0);
}

#[tokio::test]
async fn what_is_no_text_is_marked() {
    let (_rig, mut socket) = full().await;
    socket.send(command("1", r"printf 'a\377b\342\202\254'")).await;
    let Answer { stdout, chunks, .. } = answer(&mut socket, "1").await;
    assert_eq!((stdout.as_str(), &chunks[0]["lossy"]), ("a\u{fffd}b€", &json!(true)));
}

#[tokio::test]
async fn without_credit_a_command_waits_and_another_goes_on() {
    let rig = setup(&[ExecMode::Full]).await.start().await;
    let mut socket = rig.gateway.greet(json!([]), &["exec/1", "flow/1"]).await;
    let mut slow = command("slow", "yes; true");
    slow["credit"] = json!(10_000);
    socket.send(slow).await;
    let mut received = 0;
    while received < 10_000 {
        received += first(&mut socket).await.len();
    }
    socket.send(command("fast", "echo fast")).await;
    assert_eq!(answer(&mut socket, "fast").await.stdout, "fast\n");
    assert!(socket.is_quiet_for(QUIET).await);
    socket.send(json!({"type": "credit", "id": "slow", "bytes": 1 << 20})).await;
    assert_eq!(socket.frame().await["job_id"], "slow");
    socket.send(json!({"type": "exec_cancel", "job_id": "slow"})).await;
    let last = loop {
        let frame = socket.frame().await;
        if frame["type"] != "exec_chunk" {
            break frame;
        }
    };
    assert_eq!(last["code"], "CANCELLED");
    assert!(last["truncated"]["stdout_bytes"].as_u64().unwrap() > 0, "{last}");
}

#[tokio::test]
async fn commands_wait_for_a_slot_as_long_as_they_may() {
    let setup = setup(&[ExecMode::Full]).await;
    let rig = setup.with(|config| config.exec.max_exec = 1).start().await;
    let mut socket = rig.gateway.greet(json!([]), EXEC).await;
    socket.send(command("first", "echo first; sleep 1000")).await;
    assert_eq!(first(&mut socket).await, "first");
    let mut busy = command("busy", "echo never");
    busy["timeout_secs"] = json!(1);
    socket.send(busy).await;
    socket.send(command("waits", "echo waited")).await;
    assert_eq!(answer(&mut socket, "busy").await.last["code"], "RUNNER_BUSY");
    socket.send(json!({"type": "exec_cancel", "job_id": "first"})).await;
    assert_eq!(socket.frame().await["code"], "CANCELLED");
    assert_eq!(answer(&mut socket, "waits").await.stdout, "waited\n");
}

#[tokio::test]
async fn wrong_requests_are_answered_with_the_field() {
    let (_rig, mut socket) = full().await;
    socket.send(json!({"type": "exec_request", "job_id": "1", "command": "ls", "argv": ["ls"]})).await;
    let last = answer(&mut socket, "1").await.last;
    assert_eq!(last["code"], "bad_request");
    assert!(last["error"].as_str().unwrap().starts_with("argv:"), "{last}");
    socket.send(command("2", "echo $$; sleep 1000")).await;
    first(&mut socket).await;
    socket.send(command("2", "echo twice")).await;
    let refused = socket.frame().await;
    assert_eq!((&refused["type"], &refused["code"]), (&json!("exec_error"), &json!("bad_request")));
}

#[tokio::test]
async fn a_gateway_that_did_not_agree_is_not_heard() {
    let rig = setup(&[ExecMode::Full]).await.start().await;
    let mut socket = rig.gateway.greet(json!([]), &["drain/1"]).await;
    socket.send(command("1", "echo x")).await;
    socket.send(json!({"type": "exec_request", "job_id": "2", "command": 7})).await;
    assert!(socket.is_quiet_for(QUIET).await);
}

#[tokio::test]
async fn a_runner_that_drains_lets_commands_finish_and_takes_no_new_ones() {
    let (rig, mut socket) = full().await;
    socket.send(command("running", "echo $$; sleep 1; echo done")).await;
    first(&mut socket).await;
    let conversation = async {
        assert_eq!(socket.frame().await["type"], "draining");
        socket.send(command("late", "echo x")).await;
        assert_eq!(socket.frame().await["code"], "RUNNER_DRAINING");
        let last = answer_after(&mut socket, 1).await;
        assert_eq!(last["exit_code"], 0, "{last}");
    };
    let (drained, ()) = tokio::join!(rig.drain.clone().run(LONG, pending()), conversation);
    assert_eq!(drained, Drained::Clean);
}

#[tokio::test]
async fn a_runner_that_stops_ends_commands_and_says_so() {
    let (rig, mut socket) = full().await;
    socket.send(command("1", "trap '' TERM; echo $$; while true; do sleep 0.05; done")).await;
    let pid = first(&mut socket).await;
    let conversation = async {
        assert_eq!(socket.frame().await["type"], "draining");
        assert_eq!(answer_after(&mut socket, 1).await["code"], "CANCELLED");
        assert!(!lives(&pid));
        while !matches!(socket.hear().await, Heard::Closed(..) | Heard::Gone) {}
    };
    let grace = Duration::from_millis(100);
    let (drained, ()) = tokio::join!(rig.drain.clone().run(grace, pending()), conversation);
    assert_eq!(drained, Drained::Stopped);
}

#[tokio::test]
async fn shell_jobs_show_in_status_and_metrics() {
    let setup = setup(&[ExecMode::Readonly]).await;
    let rig = setup.with(|config| config.health = Some(([127, 0, 0, 1], 0).into())).start().await;
    let mut socket = rig.gateway.greet(json!([]), EXEC).await;
    socket.send(command("1", "true")).await;
    assert_eq!(answer(&mut socket, "1").await.last["exit_code"], 0);
    socket.send(command("2", "sudo id")).await;
    assert_eq!(answer(&mut socket, "2").await.last["rule"], "program.unknown");
    let status: Value = serde_json::from_str(&rig.get("/status").await.1).unwrap();
    assert_eq!(status["exec"], json!({"modes": ["readonly"], "active": 0, "max": 8, "docker": false}));
    let metrics = rig.get("/metrics").await.1;
    for line in [
        "runner_jobs_total{kind=\"exec_readonly\",outcome=\"done\"} 1",
        "runner_jobs_total{kind=\"exec\",outcome=\"POLICY_DENIED\"} 1",
        "runner_exec_denied_total{rule=\"program.unknown\"} 1",
        "runner_jobs_active{kind=\"exec_readonly\"} 0",
    ] {
        assert!(metrics.contains(line), "{line} is missing in\n{metrics}");
    }
}
