use std::time::Duration;

use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use crate::gateway::{Gateway, Socket, job, managed};
use crate::rig::{Rig, Setup};

const QUIET: Duration = Duration::from_millis(100);

async fn connected(gateway: &Gateway) -> Socket {
    gateway.greet(json!([managed("main", json!({"password": "pw"}))]), &[]).await
}

/// The runner comes back after a socket that it had to close.
async fn comes_back(rig: &Rig) {
    let mut socket = connected(&rig.gateway).await;
    socket.send(job("after", "test", "", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "done");
}

#[tokio::test]
async fn what_is_not_a_frame_closes_the_socket_with_1002() {
    let rig = Rig::new().await;
    let deep = format!("{{\"type\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
    for text in ["this is not JSON", "[]", "7", "{}", r#"{"type":7}"#, "{\"type\":\"ping\"", deep.as_str()] {
        let mut socket = connected(&rig.gateway).await;
        socket.send_text(text).await;
        let (code, reason) = socket.end().await;
        assert_eq!(code, 1002, "{} {reason}", &text[..text.len().min(40)]);
    }
    comes_back(&rig).await;
}

#[tokio::test]
async fn a_binary_frame_closes_the_socket_with_1003() {
    let rig = Rig::new().await;
    let mut socket = connected(&rig.gateway).await;
    socket.send_message(Message::Binary(Bytes::from_static(&[1, 2, 3]))).await;
    assert_eq!(socket.end().await, (1003, "frames are text".to_owned()));
    comes_back(&rig).await;
}

#[tokio::test]
async fn a_frame_of_100_mib_closes_the_socket_with_1009() {
    let rig = Rig::new().await;
    let socket = connected(&rig.gateway).await;
    let mut tcp = socket.into_tcp();
    // The header of an unmasked text frame of 100 MiB is enough: the runner must not wait for the rest.
    let mut header = vec![0x81, 127];
    header.extend_from_slice(&(100_u64 << 20).to_be_bytes());
    tokio::io::AsyncWriteExt::write_all(&mut tcp, &header).await.unwrap();
    let mut answer = Vec::new();
    let reading = tokio::io::AsyncReadExt::read_to_end(&mut tcp, &mut answer);
    drop(tokio::time::timeout(Duration::from_secs(10), reading).await);
    assert_eq!(close_code(&answer), Some(1009));
    drop(tcp);
    comes_back(&rig).await;
}

/// The code of the close frame among masked frames: header, length, four bytes of mask, payload (RFC 6455, 5.2). Other
/// frames stand before it, and their masks may hold any byte.
fn close_code(mut frames: &[u8]) -> Option<u16> {
    loop {
        let (length, payload) = match *frames.get(1)? & 0x7f {
            126 => (usize::from(u16::from_be_bytes([*frames.get(2)?, *frames.get(3)?])), 8),
            127 => return None,
            short => (usize::from(short), 6),
        };
        if frames[0] == 0x88 {
            let (mask, code) = (frames.get(2..4)?, frames.get(6..8)?);
            return Some(u16::from_be_bytes([code[0] ^ mask[0], code[1] ^ mask[1]]));
        }
        frames = frames.get(payload + length..)?;
    }
}

#[tokio::test]
async fn unknown_types_and_fields_are_ignored_and_counted() {
    let rig =
        Setup::new().await.with(|config| config.health = Some(([127, 0, 0, 1], 0).into())).start().await;
    let mut socket = connected(&rig.gateway).await;
    socket.send(json!({"type": "warp", "factor": 9})).await;
    socket.send(json!({"type": "warp"})).await;
    let mut test = job("1", "test", "", json!({}));
    test["colour"] = json!("red");
    socket.send(test).await;
    assert_eq!(socket.frame().await["type"], "done");
    let (_, metrics) = rig.get("/metrics").await;
    assert!(metrics.contains("runner_unknown_frames_total{type=\"warp\"} 2"), "{metrics}");
}

#[tokio::test]
async fn a_wrong_field_fails_its_job_alone_and_is_named() {
    let rig = Rig::new().await;
    let mut socket = connected(&rig.gateway).await;
    let change = |path: &str, value: Value| {
        let mut wrong = job("wrong", "query", "numbers", json!({"limit": 1}));
        *wrong.pointer_mut(path).unwrap() = value;
        wrong
    };
    for (frame, field) in [
        (change("/params", json!(7)), "params"),
        (change("/params/source", json!({})), "params.source"),
        (change("/params/job/kind", json!([])), "params.job.kind"),
        (change("/params/job/target", json!(1)), "params.job.target"),
        (change("/params/job/target", json!("")), "target"),
        (change("/params/job/options", json!([1])), "options"),
        (change("/params/job/options", json!({"limit": -1})), "limit"),
        (change("/params/job/options", json!({"where": {"a": {"$gt": []}}})), "where.a"),
        (change("/params/job/options", json!({"orderBy": [{"field": 7}]})), "orderBy[0]"),
        (change("/deadlineMs", json!("soon")), "deadlineMs"),
    ] {
        socket.send(frame).await;
        let error = socket.frame().await;
        assert_eq!(
            (&error["type"], &error["id"], &error["code"]),
            (&json!("error"), &json!("wrong"), &json!("bad_request"))
        );
        assert!(error["message"].as_str().unwrap().contains(field), "{field} in {error}");
    }
    socket.send(job("right", "query", "numbers", json!({"limit": 1}))).await;
    assert_eq!(socket.answer("right").await.len(), 2);
}

#[tokio::test]
async fn frames_without_a_usable_id_harm_nothing() {
    let rig = Rig::new().await;
    let mut socket = connected(&rig.gateway).await;
    for frame in [
        json!({"type": "job"}),
        json!({"type": "job", "id": 7}),
        json!({"type": "job", "id": "x".repeat(5_000)}),
        json!({"type": "cancel"}),
        json!({"type": "cancel", "id": "nobody"}),
        json!({"type": "credit", "id": "nobody", "bytes": 5}),
        json!({"type": "credit", "id": "nobody", "bytes": -5}),
        json!({"type": "assignments-changed", "assignedSources": 7}),
        json!({"type": "assignments-changed", "assignedSources": [{"name": 7}]}),
    ] {
        socket.send(frame).await;
    }
    assert!(socket.is_quiet_for(QUIET).await);
    socket.send(job("1", "test", "", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "done");
}

#[tokio::test]
async fn a_second_job_with_the_same_id_is_refused_and_the_first_goes_on() {
    let rig = Rig::new().await;
    let mut socket = connected(&rig.gateway).await;
    socket.send(job("1", "query", "stuck", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "chunk");
    socket.send(job("1", "query", "numbers", json!({"limit": 1}))).await;
    let error = socket.frame().await;
    assert_eq!(error["code"], "bad_request", "{error}");
    assert!(error["message"].as_str().unwrap().starts_with("id: "), "{error}");
    // The first one is still there to be cancelled.
    socket.send(json!({"type": "cancel", "id": "1"})).await;
    assert_eq!(socket.frame().await["code"], "CANCELLED");
    // And its id is free again.
    socket.send(job("1", "test", "", json!({}))).await;
    assert_eq!(socket.frame().await["type"], "done");
}

#[tokio::test]
async fn a_job_for_an_unknown_source_is_refused() {
    let rig = Rig::new().await;
    let mut socket = connected(&rig.gateway).await;
    let mut frame = job("1", "test", "", json!({}));
    frame["params"]["source"] = json!("nobody");
    socket.send(frame).await;
    let error = socket.frame().await;
    assert_eq!(error["code"], "SOURCE_NOT_CONFIGURED");
    assert_eq!(error["message"], "source \"nobody\" is not assigned to this runner");
}

#[tokio::test]
async fn a_flood_of_bad_jobs_is_answered_one_by_one() {
    let rig = Rig::new().await;
    let mut socket = connected(&rig.gateway).await;
    for index in 0..3_000 {
        let mut frame = job(&index.to_string(), "test", "", json!({}));
        frame["params"]["source"] = json!("nobody");
        socket.send(frame).await;
    }
    for index in 0..3_000 {
        assert_eq!(socket.frame().await["id"], index.to_string());
    }
}

#[tokio::test]
async fn a_panic_in_a_bridge_is_an_incident_of_that_job_alone() {
    let rig = Rig::new().await;
    let mut socket = rig.gateway.greet(json!([managed("main", json!({"password": "hunter2"}))]), &[]).await;
    socket.send(job("bad", "query", "panics", json!({}))).await;
    let error = socket.frame().await;
    assert_eq!(error["code"], "INTERNAL");
    let message = error["message"].as_str().unwrap();
    assert!(message.starts_with("internal error, incident ") && !message.contains("hunter2"), "{message}");
    socket.send(job("good", "query", "numbers", json!({"limit": 1}))).await;
    assert_eq!(socket.answer("good").await.len(), 2);
}
