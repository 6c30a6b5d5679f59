use std::time::{Duration, Instant};

use runtime::Exit;
use serde_json::{Value, json};

use crate::gateway::job;
use crate::rig::{Rig, Setup, eventually};

fn monitored(config: &mut semilayer_runner::Config) {
    config.health = Some(([127, 0, 0, 1], 0).into());
}

async fn ready(rig: &Rig) -> (u16, Value) {
    let (status, body) = rig.get("/ready").await;
    (status, serde_json::from_str(&body).unwrap())
}

#[tokio::test]
async fn a_cut_link_is_dialed_again() {
    let rig = Rig::new().await;
    for _ in 0..3 {
        let socket = rig.gateway.greet(json!([]), &[]).await;
        drop(socket.into_tcp());
    }
    let mut socket = rig.gateway.greet(json!([]), &[]).await;
    socket.send(job("1", "test", "", json!({}))).await;
    assert_eq!(socket.frame().await["code"], "SOURCE_NOT_CONFIGURED");
}

#[tokio::test]
async fn each_session_of_a_process_has_the_same_instance() {
    let rig = Rig::new().await;
    let mut instances = Vec::new();
    for _ in 0..2 {
        let mut socket = rig.gateway.accept().await;
        instances.push(socket.frame().await["instanceId"].clone());
    }
    assert_eq!(instances[0], instances[1]);
}

#[tokio::test]
async fn a_refused_link_is_dialed_until_somebody_listens() {
    let setup = Setup::new().await.with(monitored);
    let closed = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let rig = setup.with(|config| config.gateway = format!("ws://{address}/").parse().unwrap()).start().await;
    eventually("the refusal is told", async || ready(&rig).await.1["reason"].is_string()).await;
    let (status, body) = ready(&rig).await;
    assert_eq!((status, &body["status"], &body["connected"]), (503, &json!("connecting"), &json!(false)));
    let listener = tokio::net::TcpListener::bind(address).await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), listener.accept()).await.expect("nobody dials").unwrap();
}

/// The listener's queue takes the connection, and nothing ever answers: no reset tells the runner.
#[tokio::test]
async fn a_blackholed_link_is_noticed_before_the_session() {
    let rig =
        Setup::new().await.with(|config| config.timings.dial = Duration::from_millis(100)).start().await;
    let silent = rig.gateway.tcp().await;
    let mut socket = rig.gateway.accept().await;
    assert_eq!(socket.frame().await["type"], "hello");
    drop(silent);
}

#[tokio::test]
async fn a_gateway_that_does_not_answer_hello_is_left() {
    let rig =
        Setup::new().await.with(|config| config.timings.hello = Duration::from_millis(100)).start().await;
    let mut mute = rig.gateway.accept().await;
    assert_eq!(mute.frame().await["type"], "hello");
    let mut socket = rig.gateway.accept().await;
    assert_eq!(socket.frame().await["type"], "hello");
}

#[tokio::test]
async fn a_blackholed_session_is_noticed_by_its_silence() {
    let rig = Setup::new()
        .await
        .with(|config| {
            config.timings.ping = Duration::from_millis(50);
            config.timings.dead = Duration::from_millis(300);
        })
        .start()
        .await;
    let began = Instant::now();
    // The peer's system goes on taking bytes, but nobody reads or answers: pings have no pongs.
    let socket = rig.gateway.greet(json!([]), &[]).await;
    let held = socket.into_tcp();
    let mut next = rig.gateway.accept().await;
    assert_eq!(next.frame().await["type"], "hello");
    assert!(began.elapsed() >= Duration::from_millis(300));
    drop(held);
}

#[tokio::test]
async fn an_idle_session_lives_by_its_pings() {
    let rig = Setup::new()
        .await
        .with(|config| {
            config.timings.ping = Duration::from_millis(40);
            config.timings.dead = Duration::from_millis(300);
        })
        .start()
        .await;
    let mut socket = rig.gateway.greet(json!([]), &[]).await;
    // Reading answers the pings; three dead times pass.
    assert!(socket.is_quiet_for(Duration::from_millis(900)).await);
    socket.send(job("1", "test", "", json!({}))).await;
    assert_eq!(socket.frame().await["code"], "SOURCE_NOT_CONFIGURED");
}

#[tokio::test]
async fn a_link_that_takes_no_bytes_is_given_up() {
    let rig =
        Setup::new().await.with(|config| config.timings.write = Duration::from_millis(200)).start().await;
    let sources = json!([crate::gateway::managed("main", json!({"password": "pw"}))]);
    let mut socket = rig.gateway.greet(sources, &[]).await;
    socket.send(job("1", "query", "endless", json!({}))).await;
    // Nothing is read any more.
    let mut next = rig.gateway.accept().await;
    assert_eq!(next.frame().await["type"], "hello");
    drop(socket);
}

#[tokio::test]
async fn refused_credentials_are_told_and_not_hammered() {
    let rig = Setup::new()
        .await
        .with(monitored)
        .with(|config| config.timings.refused = Duration::from_millis(400))
        .start()
        .await;
    let mut refused = Instant::now();
    for (status, advice) in [
        ("401 Unauthorized", "does not know"),
        ("403 Forbidden", "revoked"),
        ("426 Upgrade Required", "version"),
    ] {
        refused = Instant::now();
        rig.gateway.refuse(status).await;
        eventually("the refusal is told", async || {
            ready(&rig).await.1["reason"].as_str().is_some_and(|reason| reason.contains(advice))
        })
        .await;
        let (code, body) = ready(&rig).await;
        assert_eq!((code, &body["status"]), (503, &json!("refused")));
    }
    let mut socket = rig.gateway.greet(json!([]), &[]).await;
    assert!(refused.elapsed() >= Duration::from_millis(400), "it came back after {:?}", refused.elapsed());
    socket.heartbeat().await;
    eventually("ready", async || ready(&rig).await.0 == 200).await;
}

#[tokio::test]
async fn a_refused_runner_exits_where_it_was_told_to() {
    for (status, exit) in [
        ("401 Unauthorized", Exit::CredentialsRefused),
        ("403 Forbidden", Exit::CredentialsRefused),
        ("426 Upgrade Required", Exit::VersionRefused),
    ] {
        let mut rig = Setup::new().await.with(|config| config.exit_on_auth_failure = true).start().await;
        rig.gateway.refuse(status).await;
        assert_eq!(rig.exit().await, exit);
    }
}

#[tokio::test]
async fn a_revocation_in_mid_session_counts_as_a_refusal() {
    for (code, exit) in [(4401, Exit::CredentialsRefused), (4426, Exit::VersionRefused)] {
        let mut rig = Setup::new().await.with(|config| config.exit_on_auth_failure = true).start().await;
        let socket = rig.gateway.greet(json!([]), &[]).await;
        socket.close(code, "no more").await;
        assert_eq!(rig.exit().await, exit);
    }
}

#[tokio::test]
async fn a_close_for_another_reason_is_dialed_again() {
    let mut rig = Setup::new().await.with(|config| config.exit_on_auth_failure = true).start().await;
    for code in [1001, 1008, 1011, 4000] {
        rig.gateway.greet(json!([]), &[]).await.close(code, "later").await;
    }
    let mut socket = rig.gateway.accept().await;
    assert_eq!(socket.frame().await["type"], "hello");
    let going_on = tokio::time::timeout(Duration::from_millis(50), rig.runner.ended()).await;
    assert!(going_on.is_err());
}
