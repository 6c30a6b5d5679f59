//! Who may open a socket, what `hello-ack` says, and how news of assignments arrive.

use semilayer_gateway::control::SourceChange;
use serde_json::{Value, json};

use crate::harness::Gateway;
use crate::runner::{ALL, Dial, Runner};

const UNAUTHORIZED: u16 = 4401;

#[tokio::test]
async fn a_plain_runner_gets_its_sources_and_no_extensions() {
    let gateway = Gateway::start().await;
    let (id, token) = gateway.runner("one", &["main", "local"]).await;
    let hello =
        json!({"type": "hello", "version": 1, "runnerId": id, "capabilities": [], "runtimeVersion": "0.9"});
    let runner = Runner::greet(&gateway, &token, hello).await;
    assert!(runner.ack["serverVersion"].is_string());
    assert_eq!(runner.ack.get("extensions"), None);
    let sources = runner.ack["assignedSources"].as_array().unwrap();
    let (local, main) = (&sources[0], &sources[1]);
    assert_eq!((&local["name"], &local["bridge"]), (&json!("local"), &json!("@semilayer/bridge-sqlite")));
    assert_eq!((&local["credentialsLocation"], local.get("config")), (&json!("runner-local"), None));
    assert_eq!(main["config"], json!({"host": "db.internal", "password": "hunter2"}));
    assert_eq!(main["credentialsLocation"], "managed");
    assert!(uuid::Uuid::parse_str(main["id"].as_str().unwrap()).is_ok());
    let shown = gateway.admin("/api/runners/one").await;
    assert_eq!((&shown["status"], &shown["sessions"][0]["version"]), (&json!("online"), &json!("0.9")));
}

#[tokio::test]
async fn only_what_both_sides_have_is_agreed() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &[]).await;
    let some = Runner::with(&gateway, &token, &["flow/1", "exec/9", "trace/1", "flow/2"]).await;
    assert_eq!(some.ack["extensions"], json!(["flow/1", "trace/1"]));
    let all = Runner::with(&gateway, &token, &ALL).await;
    let mut agreed: Vec<&str> =
        all.ack["extensions"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let mut offered = ALL;
    agreed.sort_unstable();
    offered.sort_unstable();
    assert_eq!(agreed, offered);
}

#[tokio::test]
async fn the_token_may_stand_in_the_header_or_in_the_query() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &[]).await;
    let query = format!("?token={token}");
    for dial in [Dial { token: Some(&token), query: "" }, Dial { token: None, query: &query }] {
        let mut runner = Runner::dial(&gateway, dial).await.unwrap();
        runner.send(json!({"type": "hello", "version": 1, "capabilities": []})).await;
        assert_eq!(runner.frame().await["type"], "hello-ack");
    }
}

#[tokio::test]
async fn a_token_that_nobody_has_is_401_and_a_revoked_one_403() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &[]).await;
    let refused = async |token: &str| {
        let query = format!("?token={token}");
        let header = Runner::dial(&gateway, Dial { token: Some(token), query: "" }).await.err().unwrap();
        let parameter = Runner::dial(&gateway, Dial { token: None, query: &query }).await.err().unwrap();
        assert_eq!(header, parameter);
        header
    };
    assert_eq!(refused("rk_nobody-has-this-one").await, 401);
    assert_eq!(refused(&gateway.secret_key.clone()).await, 401);
    gateway.control.revoke_runner(&Gateway::by(), "one").await.unwrap();
    assert_eq!(refused(&token).await, 403);
    let rows = gateway.audit("connect", 6).await;
    let outcomes: Vec<&str> = rows.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    assert_eq!(
        outcomes,
        ["revoked", "revoked", "unauthorized", "unauthorized", "unauthorized", "unauthorized"]
    );
}

#[tokio::test]
async fn without_a_token_the_first_frame_must_hold_the_secret() {
    let gateway = Gateway::start().await;
    let (id, token) = gateway.runner("one", &["local"]).await;
    for who in [json!({"runner_name": "one"}), json!({"runner_id": id}), json!({})] {
        let mut runner = Runner::dial(&gateway, Dial::default()).await.unwrap();
        let mut hello = json!({"type": "hello", "secret": token, "metadata": {"hostname": "h", "pid": 7}});
        hello.as_object_mut().unwrap().extend(who.as_object().unwrap().clone());
        runner.send(hello).await;
        let ack = runner.frame().await;
        assert_eq!(
            (&ack["type"], &ack["assignedSources"][0]["name"]),
            (&json!("hello-ack"), &json!("local"))
        );
    }
    for hello in [
        json!({"type": "hello", "runner_name": "one", "secret": "rk_wrong"}),
        json!({"type": "hello", "runner_name": "two", "secret": token}),
        json!({"type": "hello", "version": 1, "runnerId": id, "capabilities": []}),
    ] {
        let mut runner = Runner::dial(&gateway, Dial::default()).await.unwrap();
        runner.send(hello).await;
        assert_eq!(runner.closed().await, UNAUTHORIZED);
    }
}

#[tokio::test]
async fn a_runner_may_call_itself_by_its_own_id_or_name_alone() {
    let gateway = Gateway::start().await;
    let (id, token) = gateway.runner("one", &[]).await;
    let (other, _) = gateway.runner("two", &[]).await;
    for own in [&id, "one"] {
        Runner::greet(&gateway, &token, json!({"type": "hello", "version": 1, "runnerId": own})).await;
    }
    for foreign in [&other, "two", "nobody"] {
        let mut runner = Runner::open(&gateway, &token).await;
        runner.send(json!({"type": "hello", "version": 1, "runnerId": foreign, "capabilities": []})).await;
        assert_eq!(runner.closed().await, UNAUTHORIZED, "{foreign}");
    }
}

#[tokio::test]
async fn another_version_is_refused_by_its_own_code() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &[]).await;
    for version in [0, 2, 99] {
        let mut runner = Runner::open(&gateway, &token).await;
        runner.send(json!({"type": "hello", "version": version, "capabilities": []})).await;
        assert_eq!(runner.closed().await, 4426, "{version}");
    }
}

#[tokio::test]
async fn what_comes_in_place_of_hello_closes_the_socket() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &[]).await;
    let padded =
        json!({"type": "hello", "version": 1, "capabilities": [], "x": "x".repeat(64 * 1024)}).to_string();
    for (first, code) in [
        (r#"{"type":"heartbeat"}"#, 1008),
        (r#"{"type":"from-the-future"}"#, 1008),
        ("hello", 1002),
        (r#"{"version":1}"#, 1002),
        (r#"{"type":"hello","version":"one"}"#, 1002),
        (padded.as_str(), 1009),
    ] {
        let mut runner = Runner::open(&gateway, &token).await;
        runner.text(first).await;
        assert_eq!(runner.closed().await, code, "{first:.80}");
    }
}

#[tokio::test]
async fn a_stranger_cannot_fill_the_memory_before_hello() {
    let gateway = Gateway::start().await;
    let mut runner = Runner::dial(&gateway, Dial::default()).await.unwrap();
    let frame = json!({"type": "hello", "secret": "s", "x": "x".repeat(8 * 1024 * 1024)}).to_string();
    runner.try_send(frame.into()).await;
    assert_eq!(runner.closed().await, 1009);
}

#[tokio::test]
async fn hello_is_said_once() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &[]).await;
    let mut runner = Runner::plain(&gateway, &token).await;
    runner.send(json!({"type": "hello", "version": 1, "capabilities": []})).await;
    assert_eq!(runner.closed().await, 1008);
}

#[tokio::test]
async fn an_upgrade_is_needed() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect().await;
    client.key = String::new();
    let answer = client.send("GET", "/connect", &[], String::new()).await.whole().await;
    assert_eq!(answer.refusal(), (426, "upgrade_required".to_owned()));
}

#[tokio::test]
async fn new_assignments_reach_every_connection_at_once() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["local"]).await;
    let (_, other) = gateway.runner("two", &[]).await;
    let mut runners = [Runner::plain(&gateway, &token).await, Runner::with(&gateway, &token, &ALL).await];
    let mut bystander = Runner::plain(&gateway, &other).await;
    gateway.control.assign(&Gateway::by(), "one", "main").await.unwrap();
    let password = |news: &Value| news["assignedSources"][1]["config"]["password"].clone();
    for runner in &mut runners {
        let news = runner.frame().await;
        assert_eq!((&news["type"], password(&news)), (&json!("assignments-changed"), json!("hunter2")));
    }
    let config = serde_json::from_value(json!({"password": "hunter3"})).unwrap();
    let change = SourceChange { config: Some(config), ..SourceChange::default() };
    gateway.control.update_source(&Gateway::by(), "main", change).await.unwrap();
    for runner in &mut runners {
        assert_eq!(password(&runner.frame().await), "hunter3");
    }
    gateway.control.unassign(&Gateway::by(), "one", "main").await.unwrap();
    for runner in &mut runners {
        assert_eq!(runner.frame().await["assignedSources"].as_array().unwrap().len(), 1);
    }
    gateway.control.assign(&Gateway::by(), "two", "local").await.unwrap();
    assert_eq!(bystander.frame().await["assignedSources"].as_array().unwrap().len(), 1, "only its own news");
}

#[tokio::test]
async fn assignments_that_change_while_a_runner_dials_in_are_not_lost() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["local"]).await;
    for _ in 0..20 {
        let dialing = Runner::plain(&gateway, &token);
        let change = async {
            gateway.control.assign(&Gateway::by(), "one", "main").await.unwrap();
        };
        let (mut runner, ()) = futures::join!(dialing, change);
        let mut sources = runner.ack["assignedSources"].as_array().unwrap().len();
        while sources < 2 {
            let news = runner.frame().await;
            assert_eq!(news["type"], "assignments-changed");
            sources = news["assignedSources"].as_array().unwrap().len();
        }
        gateway.control.unassign(&Gateway::by(), "one", "main").await.unwrap();
    }
}

#[tokio::test]
async fn an_accepted_socket_has_its_audit_row() {
    let gateway = Gateway::start().await;
    let (id, token) = gateway.runner("one", &[]).await;
    let _runner = Runner::plain(&gateway, &token).await;
    let row = gateway.audit("connect", 1).await.remove(0);
    assert_eq!((&row["outcome"], &row["actorId"]), (&json!("ok"), &json!(id)), "{row}");
    assert!(row["target"].as_str().unwrap().starts_with("127.0.0.1:"), "{row}");
}
