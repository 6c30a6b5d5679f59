//! The command line: the real binary against a gateway in this process, and a gateway of its own.

use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::harness::{Folder, Gateway, Socket};

const PATIENCE: Duration = Duration::from_secs(20);

struct Ran {
    code: i32,
    out: String,
    err: String,
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_semilayer-gateway"));
    command.args(arguments).env_clear().stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(mut command: Command) -> Ran {
    let output = timeout(PATIENCE, command.output()).await.expect("it does not end").unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { code: output.status.code().unwrap(), out: text(output.stdout), err: text(output.stderr) }
}

/// Runs a command that asks `gateway`.
async fn ask(gateway: &Gateway, arguments: &[&str]) -> Ran {
    let mut command = command(arguments);
    command.env("SEMILAYER_GATEWAY_API", format!("http://{}", gateway.address));
    command.env("SEMILAYER_ADMIN_TOKEN", &gateway.admin);
    run(command).await
}

#[track_caller]
fn good(ran: Ran) -> String {
    assert_eq!(ran.code, 0, "{}", ran.err);
    ran.out
}

#[tokio::test]
async fn runners_sources_and_keys_are_made_listed_and_ended() {
    let gateway = Gateway::start().await;
    let made = good(ask(&gateway, &["runners", "create", "edge", "--label", "zone=b"]).await);
    assert!(made.starts_with("runner edge made\n") && made.contains("rk_"), "{made}");
    let arguments =
        ["sources", "create", "main", "--bridge", "postgres", "--set", "port=5432", "--set", "password=x"];
    let source = good(ask(&gateway, &arguments).await);
    assert!(source.contains("password,port"), "{source}");
    let changed =
        ["sources", "update", "main", "--set", "port=5433", "--set", "pool.max=5", "--set", "password=y"];
    let changed = good(ask(&gateway, &changed).await);
    let expected =
        "~ source main\n    config.password: changed\n    config.pool: added\n    config.port: changed\n";
    assert_eq!(changed, expected);
    let unset = ["sources", "update", "main", "--unset", "pool", "--set", "password=y"];
    assert_eq!(good(ask(&gateway, &unset).await), "~ source main\n    config.pool: removed\n");
    assert_eq!(
        good(ask(&gateway, &["sources", "update", "main", "--set", "port=5433"]).await),
        "nothing to change\n"
    );
    let replaced = good(ask(&gateway, &["sources", "update", "main", "--replace", "--set", "port=1"]).await);
    assert!(replaced.contains("config.password: removed"), "{replaced}");
    assert_eq!(ask(&gateway, &["sources", "update", "main", "--replace"]).await.code, 2);
    good(ask(&gateway, &["assign", "edge", "main"]).await);
    let listed = good(ask(&gateway, &["runners", "list"]).await);
    assert!(listed.lines().nth(1).unwrap().starts_with("edge  offline  main"), "{listed}");
    let local =
        ["sources", "update", "main", "--credentials-location", "runner-local", "--timeout-ms", "5000"];
    good(ask(&gateway, &local).await);
    let json = good(ask(&gateway, &["sources", "list", "--json"]).await);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["sources"][0]["timeoutMs"], 5000);
    assert_eq!(json["sources"][0]["credentialsLocation"], "runner-local");
    let test = ask(&gateway, &["sources", "test"]).await;
    assert_eq!(test.code, 1);
    assert!(test.out.contains("no_runners_online"), "{}", test.out);
    assert_eq!(test.err, "the source failed its test\n");
    assert_eq!(ask(&gateway, &["sources", "test", "nope"]).await.err, "there is no source \"nope\"\n");
    good(ask(&gateway, &["sources", "create", "second", "--bridge", "sqlite"]).await);
    let test = ask(&gateway, &["sources", "test"]).await;
    assert_eq!((test.code, test.err.as_str()), (1, "2 of 2 sources failed\n"));
    good(ask(&gateway, &["sources", "delete", "second"]).await);
    good(ask(&gateway, &["unassign", "edge", "main"]).await);
    let rotated = good(ask(&gateway, &["runners", "rotate", "edge"]).await);
    assert!(rotated.contains("rk_"), "{rotated}");
    good(ask(&gateway, &["runners", "revoke", "edge"]).await);
    assert!(good(ask(&gateway, &["runners", "get", "edge"]).await).contains("revoked"));
    good(ask(&gateway, &["runners", "delete", "edge"]).await);
    good(ask(&gateway, &["sources", "delete", "main"]).await);
    let key = good(ask(&gateway, &["keys", "create", "web", "--kind", "public"]).await);
    assert!(key.contains("pk_"), "{key}");
    good(ask(&gateway, &["keys", "revoke", "web"]).await);
    assert!(good(ask(&gateway, &["keys", "list"]).await).lines().nth(1).unwrap().starts_with("web"));
}

#[tokio::test]
async fn what_runners_and_keys_may_do_is_set_and_shown() {
    let gateway = Gateway::start().await;
    let create = ["runners", "create", "edge", "--capability", "sandbox", "--capability", "exec.readonly"];
    good(ask(&gateway, &create).await);
    let changed = good(ask(&gateway, &["runners", "update", "edge", "--capability", "exec.full"]).await);
    assert!(changed.contains("allowed      exec.full\noffered      -\neffective    -\n"), "{changed}");
    let none =
        good(ask(&gateway, &["runners", "update", "edge", "--no-capabilities", "--label", "zone=b"]).await);
    assert!(none.contains("allowed      -\n"), "{none}");
    let unknown = ask(&gateway, &["runners", "update", "edge", "--capability", "root"]).await;
    assert!(unknown.code == 1 && unknown.err.contains("there is no \"root\""), "{}", unknown.err);
    assert_eq!(ask(&gateway, &["runners", "update", "edge"]).await.code, 2);
    good(ask(&gateway, &["keys", "create", "robot", "--scope", "exec"]).await);
    let listed = good(ask(&gateway, &["keys", "list"]).await);
    assert!(listed.lines().nth(1).unwrap().starts_with("robot  secret  exec"), "{listed}");
}

/// A runner "edge" that takes any command.
async fn shell_runner(gateway: &Gateway) -> Socket {
    let (_, token) = gateway.runner("edge").await;
    let allowed = json!({"capabilities": ["exec.full", "sandbox"]});
    gateway.admin("PATCH", "/api/runners/edge", allowed).await.expect(200);
    let hello = json!({"type": "hello", "version": 1, "capabilities": [], "extensions": ["exec/1"],
        "exec": {"modes": ["full", "sandbox"]}});
    Socket::greet(gateway, &token, &hello).await.unwrap().0
}

#[tokio::test]
async fn a_command_runs_there_as_if_it_were_run_here() {
    let gateway = Gateway::start().await;
    let mut runner = shell_runner(&gateway).await;
    let answering = async {
        let job = runner.frame().await;
        for (seq, stream, data) in [(0, "stdout", "one\n"), (1, "stderr", "careful\n"), (2, "stdout", "two")]
        {
            let chunk = json!({"type": "exec_chunk", "job_id": job["job_id"], "stream": stream, "data": data, "seq": seq});
            runner.send(&chunk).await;
        }
        runner
            .send(&json!({"type": "exec_done", "job_id": job["job_id"], "exit_code": 7, "duration_ms": 1}))
            .await;
        job
    };
    let arguments = ["exec", "edge", "--timeout", "5", "--env", "A=1", "--", "ls", "-l"];
    let (ran, job) = tokio::join!(ask(&gateway, &arguments), answering);
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (7, "one\ntwo", "careful\n"));
    assert_eq!(
        (&job["argv"], &job["timeout_secs"], &job["env"]),
        (&json!(["ls", "-l"]), &json!(5), &json!({"A": "1"}))
    );

    let answering = async {
        let job = runner.frame().await;
        runner
            .send(&json!({"type": "exec_done", "job_id": job["job_id"], "exit_code": 0, "duration_ms": 1}))
            .await;
        job
    };
    let arguments = ["exec", "edge", "--json", "--image", "busybox", "--command", "id; id"];
    let (ran, job) = tokio::join!(ask(&gateway, &arguments), answering);
    assert_eq!((&job["command"], &job["sandbox"]), (&json!("id; id"), &json!({"image": "busybox"})));
    let envelope: Value = serde_json::from_str(&good(ran)).unwrap();
    assert_eq!((&envelope["ok"], &envelope["data"]["exit_code"]), (&json!(true), &json!(0)));
}

#[tokio::test]
async fn a_command_that_is_refused_says_why_and_by_which_rule() {
    let gateway = Gateway::start().await;
    let unknown = ask(&gateway, &["exec", "nope", "--", "ls"]).await;
    assert!(
        unknown.code == 125 && unknown.err.starts_with("there is no runner \"nope\";"),
        "{}",
        unknown.err
    );
    let mut runner = shell_runner(&gateway).await;
    let answering = async {
        let job = runner.frame().await;
        let error = json!({"type": "exec_error", "job_id": job["job_id"], "code": "POLICY_DENIED", "rule": "image.allowed",
            "error": "this image is not allowed"});
        runner.send(&error).await;
    };
    let (ran, ()) = tokio::join!(ask(&gateway, &["exec", "edge", "--image", "x", "--", "ls"]), answering);
    assert_eq!((ran.code, ran.err.as_str()), (125, "this image is not allowed (rule image.allowed)\n"));
    let mut stranger = command(&["exec", "edge", "--", "ls"]);
    stranger.env("SEMILAYER_GATEWAY_API", format!("http://{}", gateway.address));
    stranger.env("SEMILAYER_ADMIN_TOKEN", "ak_wrong-wrong-wrong");
    assert_eq!(run(stranger).await.code, 125);
    let misspelt = ask(&gateway, &["exec", "egde", "ls"]).await;
    assert_eq!(
        (misspelt.code, misspelt.err.as_str()),
        (125, "there is no runner \"egde\"; did you mean edge?\n")
    );
    let container = ask(&gateway, &["exec", "edge", "--mode", "full", "--image", "x", "ls"]).await;
    let expected =
        "--mode: expected sandbox, or nothing: an image, network, memory or cpus asks for a container\n";
    assert_eq!((container.code, container.err.as_str()), (125, expected));
    let memory = ask(&gateway, &["exec", "edge", "--memory", "much", "ls"]).await;
    assert!(memory.code == 125 && memory.err.starts_with("--memory: expected "), "{}", memory.err);
    drop(runner);
    gateway.eventually("/api/runners/edge", |runner| runner["status"] == "offline").await;
    for wrong in [&["exec", "edge", "ls"][..], &["exec", "edge", "--timeout", "0", "ls"], &["exec"]] {
        assert_eq!(ask(&gateway, wrong).await.code, 125, "{wrong:?}");
    }
    let mut nobody = command(&["exec", "edge", "ls", "--help", "--url", "http://127.0.0.1:1"]);
    nobody.env("SEMILAYER_ADMIN_TOKEN", "ak_whatever-it-is");
    nobody.env("SEMILAYER_GATEWAY_API", "http://127.0.0.1:1");
    assert_eq!(run(nobody).await.code, 125, "not reachable");
    assert_eq!(run(command(&["exec", "edge", "ls"])).await.code, 125, "no token");
    let help = run(command(&["exec", "--help"])).await;
    assert!(help.code == 0 && help.out.contains("125"), "{}", help.out);
}

#[tokio::test]
async fn lists_say_what_they_know_and_that_they_are_empty() {
    let gateway = Gateway::start().await;
    let mut runner = shell_runner(&gateway).await;
    let answering = async {
        let job = runner.frame().await;
        runner
            .send(&json!({"type": "exec_done", "job_id": job["job_id"], "exit_code": 0, "duration_ms": 1}))
            .await;
    };
    let (ran, ()) = tokio::join!(ask(&gateway, &["exec", "edge", "df", "-h"]), answering);
    good(ran);
    let shown = good(ask(&gateway, &["audit", "--action", "exec"]).await);
    let lines: Vec<_> = shown.lines().collect();
    assert!(
        lines.len() == 2 && lines[0].contains("  WHAT   REQUEST") && lines[1].contains("  df -h  "),
        "{shown}"
    );
    for (arguments, said) in [
        (&["audit", "--action", "exce"][..], "--action: expected one of query, count, exec, "),
        (&["audit", "--action", "exce"], "did you mean exec?"),
        (&["audit", "--outcome", "denied"], "--outcome: expected one of ok, "),
        (&["audit", "--outcome", "policy-denied"], "did you mean POLICY_DENIED?"),
        (&["audit", "--actor", "root"], "--actor: expected one of anonymous, admin, "),
        (&["audit", "--since", "1h"], "--since: expected a time such as "),
        (&["audit", "--actor-id", "x"], "--actor-id: expected an id"),
        (&["jobs", "list", "--status", "runing"], "--status: expected one of pending, "),
        (&["jobs", "list", "--status", "runing"], "did you mean running?"),
        (&["jobs", "list", "--kind", "shel"], "did you mean shell?"),
    ] {
        let refused = ask(&gateway, arguments).await;
        assert!(refused.code == 1 && refused.out.is_empty(), "{arguments:?}");
        assert!(refused.err.contains(said), "{arguments:?}: {}", refused.err);
    }
    for arguments in [&["audit", "--lens", "anything"][..], &["jobs", "list", "--status", "failed"]] {
        let none = ask(&gateway, arguments).await;
        assert_eq!((none.code, none.out.lines().count(), none.err.as_str()), (0, 1, "no rows\n"));
        let json = ask(&gateway, &[arguments, &["--json"]].concat()).await;
        assert_eq!((json.code, json.err.as_str()), (0, ""));
    }
    let help = good(run(command(&["runners", "update", "--help"])).await);
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    let capability =
        "in place of all that it has: exec.readonly, exec.full, docker, sandbox; may be given more than once";
    assert!(help.contains(capability), "{help}");
    let help = good(run(command(&["audit", "--help"])).await);
    assert!(help.contains("--json shows everything"), "{help}");
}

#[tokio::test]
async fn an_interrupt_ends_the_command_at_its_runner() {
    let gateway = Gateway::start().await;
    let mut runner = shell_runner(&gateway).await;
    let mut exec = command(&["exec", "edge", "--", "sleep", "60"]);
    exec.env("SEMILAYER_GATEWAY_API", format!("http://{}", gateway.address));
    exec.env("SEMILAYER_ADMIN_TOKEN", &gateway.admin);
    let mut child = exec.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let job = runner.frame().await;
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    assert_eq!(runner.frame().await, json!({"type": "exec_cancel", "job_id": job["job_id"]}));
    assert_eq!(timeout(PATIENCE, child.wait()).await.expect("it does not end").unwrap().code(), Some(130));
}

#[tokio::test]
async fn a_push_shows_what_it_does_and_a_refusal_every_mistake() {
    let gateway = Gateway::start().await;
    let config = gateway.folder.path().join("shop.yaml");
    let lens = "lenses:\n  products:\n    source: main\n    table: products\n    fields:\n      id: {type: number}\n";
    std::fs::write(&config, format!("sources:\n  main: {{bridge: sqlite, path: /x.db}}\n{lens}")).unwrap();
    let config = config.to_str().unwrap();
    let dry = good(ask(&gateway, &["push", config, "--dry-run"]).await);
    assert_eq!(dry, "+ source main\n+ lens products\nnothing was changed (dry run)\n");
    let pushed = good(ask(&gateway, &["push", config]).await);
    assert_eq!(pushed, "+ source main\n+ lens products\nconfig in place\n");
    assert_eq!(good(ask(&gateway, &["push", config]).await), "nothing to change\n");
    assert_eq!(good(ask(&gateway, &["push", config, "--dry-run"]).await), "nothing to change\n");
    std::fs::write(config, "sources: {main: {bridge: '!', timeout: x}}\n").unwrap();
    let refused = ask(&gateway, &["push", config]).await;
    assert_eq!((refused.code, refused.out.as_str()), (1, ""));
    assert!(refused.err.contains("2 mistakes\n  sources.main.bridge: "), "{}", refused.err);
}

#[tokio::test]
async fn mistakes_have_their_own_exit_codes() {
    let gateway = Gateway::start().await;
    let mut wrong = command(&["runners", "list"]);
    wrong.env("SEMILAYER_GATEWAY_API", format!("http://{}", gateway.address));
    wrong.env("SEMILAYER_ADMIN_TOKEN", "ak_wrong-wrong-wrong");
    let wrong = run(wrong).await;
    assert_eq!(wrong.code, 3, "{}", wrong.err);
    assert!(!wrong.err.contains("ak_wrong"), "{}", wrong.err);
    assert!(
        wrong.err.starts_with("the admin token is not valid\nset SEMILAYER_ADMIN_TOKEN"),
        "{}",
        wrong.err
    );
    let mut strange = command(&["runners", "list"]);
    strange.env("SEMILAYER_ADMIN_TOKEN", "ak_für-alle-die-es-wissen");
    let strange = run(strange).await;
    assert_eq!(strange.code, 2);
    let expected = "SEMILAYER_ADMIN_TOKEN: expected a token of visible ASCII characters alone";
    assert!(strange.err.contains(expected) && !strange.err.contains("für"), "{}", strange.err);
    let elsewhere =
        ask(&gateway, &["runners", "list", "--url", &format!("http://{}/gateway", gateway.address)]).await;
    assert!(elsewhere.code == 1 && elsewhere.err.contains("is --url"), "{}", elsewhere.err);
    let route =
        ask(&gateway, &["runners", "list", "--url", &format!("http://{}/api", gateway.address)]).await;
    assert!(route.code == 2 && route.err.contains("without user, query or route"), "{}", route.err);
    let none = run(command(&["runners", "list", "--url", "ftp://x"])).await;
    assert_eq!(none.code, 2);
    assert!(
        none.err.contains("SEMILAYER_GATEWAY_API") && none.err.contains("SEMILAYER_ADMIN_TOKEN"),
        "{}",
        none.err
    );
    let missing = ask(&gateway, &["runners", "get", "nope"]).await;
    assert_eq!((missing.code, missing.err.as_str()), (1, "there is no runner \"nope\"\n"));
    let mut nobody = command(&["runners", "list", "--url", "http://127.0.0.1:1"]);
    nobody.env("SEMILAYER_ADMIN_TOKEN", "ak_whatever-it-is");
    let nobody = run(nobody).await;
    assert!(nobody.code == 1 && nobody.err.contains("does it run there (--url"), "{}", nobody.err);
    assert_eq!(run(command(&["frobnicate"])).await.code, 2);
}

#[tokio::test]
async fn a_token_may_come_from_a_file() {
    let gateway = Gateway::start().await;
    let file = gateway.folder.path().join("token");
    std::fs::write(&file, format!("{}\n", gateway.admin)).unwrap();
    let mut list = command(&["keys", "list"]);
    list.env("SEMILAYER_GATEWAY_API", format!("http://{}", gateway.address));
    list.env("SEMILAYER_ADMIN_TOKEN_FILE", &file);
    assert_eq!(run(list).await.code, 0);
}

#[tokio::test]
async fn the_description_and_completions_need_no_gateway() {
    let exported = good(run(command(&["export-openapi"])).await);
    let exported: Value = serde_json::from_str(&exported).unwrap();
    let gateway = Gateway::start().await;
    let served = gateway.ask("GET", "/openapi.json", None, &[], String::new()).await.expect(200);
    assert_eq!(exported, served);
    assert!(good(run(command(&["completions", "bash"])).await).contains("semilayer-gateway"));
}

#[tokio::test]
async fn serve_shows_its_admin_token_once_and_ends_cleanly() {
    let folder = Folder::new();
    let token = {
        let (mut child, lines) = serve(&folder).await;
        let token =
            lines.iter().find_map(|line| line.trim().strip_prefix("ak_")).map(|rest| format!("ak_{rest}"));
        let token = token.expect("no token was shown");
        let url = lines[0].strip_prefix("listening on ").unwrap().to_owned();
        let mut list = command(&["runners", "list", "--url", &url]);
        list.env("SEMILAYER_ADMIN_TOKEN", &token);
        assert_eq!(run(list).await.code, 0);
        assert_eq!(terminate(&mut child).await, Some(0));
        token
    };
    let (mut child, lines) = serve(&folder).await;
    assert_eq!(lines[1..], ["admin token: the one that the first start has shown"]);
    let url = lines[0].strip_prefix("listening on ").unwrap().to_owned();
    let mut list = command(&["runners", "list", "--url", &url]);
    list.env("SEMILAYER_ADMIN_TOKEN", &token);
    assert_eq!(run(list).await.code, 0);
    assert_eq!(terminate(&mut child).await, Some(0));
}

#[tokio::test]
async fn serve_says_that_the_environment_has_the_admin_token() {
    let folder = Folder::new();
    let file = folder.path().join("token");
    std::fs::write(&file, "ak_of-a-file-0123456789\n").unwrap();
    for (name, value, says) in [
        ("SEMILAYER_ADMIN_TOKEN", "ak_of-the-environment-0123456789", "the one in SEMILAYER_ADMIN_TOKEN"),
        (
            "SEMILAYER_ADMIN_TOKEN_FILE",
            file.to_str().unwrap(),
            "the one in the file of SEMILAYER_ADMIN_TOKEN_FILE",
        ),
    ] {
        let (mut child, lines) = serve_with(&folder, &[(name, value)]).await;
        assert_eq!(lines[1..], [format!("admin token: {says}")]);
        assert_eq!(terminate(&mut child).await, Some(0));
    }
}

#[tokio::test]
async fn serve_lists_every_mistake_of_its_settings() {
    let mut wrong = command(&["serve", "--listen", "0.0.0.0:0"]);
    wrong.env("SEMILAYER_TLS_CERT", "cert.pem").env("SEMILAYER_DRAIN_TIMEOUT", "soon");
    let wrong = run(wrong).await;
    assert_eq!(wrong.code, 2);
    for key in ["SEMILAYER_LISTEN", "SEMILAYER_TLS_KEY", "SEMILAYER_DRAIN_TIMEOUT", "SEMILAYER_STATE_DIR"] {
        assert!(wrong.err.contains(key), "{key}: {}", wrong.err);
    }
}

#[tokio::test]
async fn a_gateway_over_tls_is_asked_with_its_authority() {
    let folder = Folder::new();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    std::fs::write(path("cert.pem"), made.cert.pem()).unwrap();
    std::fs::write(path("key.pem"), made.signing_key.serialize_pem()).unwrap();
    let tls = [("SEMILAYER_TLS_CERT", path("cert.pem")), ("SEMILAYER_TLS_KEY", path("key.pem"))];
    let state = Folder::new();
    let environment: Vec<(&str, &str)> = tls.iter().map(|(key, value)| (*key, value.as_str())).collect();
    let gateway = Gateway::start_in(state, None, &environment).await.ok().unwrap();
    let list = async |more: &[&str]| {
        let url = format!("https://localhost:{}", gateway.address.port());
        let mut list = command(&[&["keys", "list", "--url", &url], more].concat());
        list.env("SEMILAYER_ADMIN_TOKEN", &gateway.admin);
        run(list).await
    };
    let trusted = list(&["--ca-file", &path("cert.pem")]).await;
    assert_eq!(trusted.code, 0, "{}", trusted.err);
    let stranger = list(&[]).await;
    assert_eq!(stranger.code, 1);
    assert!(stranger.err.contains("not trusted"), "{}", stranger.err);
}

/// Starts a gateway of its own; answers what it says on standard output until it listens.
async fn serve(folder: &Folder) -> (tokio::process::Child, Vec<String>) {
    serve_with(folder, &[]).await
}

async fn serve_with(folder: &Folder, environment: &[(&str, &str)]) -> (tokio::process::Child, Vec<String>) {
    let mut serve =
        command(&["serve", "--listen", "127.0.0.1:0", "--state-dir", folder.path().to_str().unwrap()]);
    serve.envs(environment.iter().copied());
    let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut reader = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut lines = Vec::new();
    let read = async {
        let first = reader.next_line().await.unwrap().expect("it did not start");
        lines.push(first);
        // A first start goes on with the token, in one write.
        while let Ok(Ok(Some(line))) = timeout(Duration::from_millis(200), reader.next_line()).await {
            lines.push(line);
        }
    };
    timeout(PATIENCE, read).await.expect("it does not listen");
    (child, lines)
}

async fn terminate(child: &mut tokio::process::Child) -> Option<i32> {
    let id = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    timeout(PATIENCE, child.wait()).await.expect("it does not end").unwrap().code()
}
