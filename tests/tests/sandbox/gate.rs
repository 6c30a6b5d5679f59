//! Nobody gets in without the token, and health is open.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use harness::folder::Folder;
use harness::http::Request;
use harness::sandbox::{Door, TOKEN, order};
use harness::wait::secs;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener};

#[tokio::test]
async fn health_is_open_and_says_whether_the_engine_answers() {
    let door = Door::start().await;
    let answer = Request::get("/health").send(door.address()).await;
    assert_eq!(answer.ok(), json!({"status": "ok", "docker": true}));
    let dead = Door::start_with(&[("SEMILAYER_SANDBOX_DOCKER_HOST", "unix:///nowhere/docker.sock")]).await;
    let answer = Request::get("/health").send(dead.address()).await;
    assert_eq!((answer.status, answer.json()), (503, json!({"status": "degraded", "docker": false})));
}

/// Who has no token can ask for nothing else, and that as often as they like.
#[tokio::test]
async fn a_crowd_that_asks_for_health_does_not_crowd_the_engine() {
    let folder = Folder::new();
    let socket = folder.file("engine.sock");
    let listener = UnixListener::bind(&socket).unwrap();
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let engine = tokio::spawn(async move {
        while listener.accept().await.is_ok() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let host = format!("unix://{socket}");
    let door = Door::start_with(&[("SEMILAYER_SANDBOX_DOCKER_HOST", &host)]).await;
    assert_eq!(Request::get("/health").send(door.address()).await.status, 503);
    let before = asked.load(Ordering::Relaxed);
    assert!(before > 0);
    let address = door.address();
    let crowd = (0..200).map(|_| tokio::spawn(Request::get("/health").send(address)));
    for one in crowd.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap().status, 503);
    }
    let more = asked.load(Ordering::Relaxed) - before;
    assert!(more < 50, "the engine was asked {more} times");
    engine.abort();
}

#[tokio::test]
async fn every_other_route_wants_exactly_the_token() {
    let door = Door::start().await;
    for header in [
        "",
        TOKEN,
        "Bearer",
        "Bearer ",
        "bearer test-sandbox-token-0123456789",
        "Bearer test-sandbox-token-012345678x",
    ] {
        for (method, path) in [
            ("GET", "/runs"),
            ("POST", "/run"),
            ("GET", "/runs/light-runner-01234567-89a"),
            ("POST", "/runs/light-runner-01234567-89a/stop"),
            ("DELETE", "/networks/x"),
            ("GET", "/openapi.json"),
            ("GET", "/metrics"),
            ("GET", "/health/"),
            ("GET", "/nowhere"),
        ] {
            let mut request = Request::new(method, path);
            if !header.is_empty() {
                request = request.header("authorization", header);
            }
            let answer = request.send(door.address()).await;
            assert_eq!(
                (answer.status, answer.json()),
                (401, json!({"error": "unauthorized"})),
                "{method} {path} {header}"
            );
        }
    }
    assert_eq!(door.get("/runs").await.ok(), json!([]));
}

/// The body never comes, and the refusal does not wait for it.
#[tokio::test]
async fn a_stranger_is_refused_before_anything_of_a_body_is_read() {
    let door = Door::start().await;
    let mut stream = TcpStream::connect(door.address()).await.unwrap();
    let head = "POST /run HTTP/1.1\r\nhost: localhost\r\ncontent-type: text/plain\r\ncontent-length: 100000000\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 12];
    tokio::time::timeout(secs(10), stream.read_exact(&mut answer)).await.unwrap().unwrap();
    assert_eq!(answer, b"HTTP/1.1 401");
}

#[tokio::test]
async fn without_a_token_no_foreign_name_leads_here() {
    let door = Door::start_with(&[("SEMILAYER_SANDBOX_TOKEN", "")]).await;
    let answer = Request::get("/runs").send(door.address()).await;
    assert_eq!(answer.ok(), json!([]));
    let answer = raw(&door, "GET /runs HTTP/1.1\r\nhost: evil.example\r\nconnection: close\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    let page = "POST /networks/cleanup HTTP/1.1\r\nhost: localhost\r\norigin: https://evil.example\r\nconnection: close\r\n\r\n";
    let answer = raw(&door, page).await;
    assert!(answer.starts_with("HTTP/1.1 403"), "{answer}");
    // What a page of a browser can send without asking first.
    let form = Request::new("POST", "/run").header("content-type", "text/plain");
    let answer = form.body(order("true", Value::Null).to_string()).send(door.address()).await;
    assert_eq!(answer.status, 415, "{}", answer.text());
}

async fn raw(door: &Door, request: &str) -> String {
    let mut stream = TcpStream::connect(door.address()).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn paths_and_methods_that_are_not_served_get_the_frameworks_shape() {
    let door = Door::start().await;
    let answer = door.get("/x").await;
    let expected = json!({"statusCode": 404, "error": "Not Found", "message": "Route GET:/x not found"});
    assert_eq!((answer.status, answer.json()), (404, expected));
    assert_eq!(door.send(Request::new("PUT", "/run")).await.status, 404);
    assert_eq!(door.send(Request::new("OPTIONS", "/run")).await.status, 404);
    let long = door.get(&format!("/runs/{}", "x".repeat(101))).await;
    assert_eq!((long.status, long.json()["code"].as_str()), (414, Some("FST_ERR_MAX_PARAM_LENGTH")));
    for path in ["/health", "/runs", "/metrics", "/openapi.json"] {
        let answer = door.send(Request::new("HEAD", path)).await;
        assert_eq!((answer.status, answer.body.len()), (200, 0), "{path}");
    }
}

#[tokio::test]
async fn the_interface_describes_itself() {
    let door = Door::start().await;
    let document = door.get("/openapi.json").await.ok();
    let paths = document["paths"].as_object().unwrap();
    assert_eq!(paths.len(), 15, "{:?}", paths.keys());
    assert!(paths["/runs/{id}/artifacts/{path}"]["get"].is_object(), "{:?}", paths.keys());
}
