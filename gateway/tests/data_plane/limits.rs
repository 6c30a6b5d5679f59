//! What strangers, public keys and callers that do not read can use up: little, and for a limited time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

use crate::harness::{Gateway, PATIENCE};
use crate::runner::{Dial, Runner, wide_rows};

/// Strangers of one address at a time.
const STRANGERS: usize = 32;

/// Everything that comes until the other end closes, or what has come when the patience is over.
async fn read_all(stream: &mut TcpStream, patience: Duration) -> String {
    let mut read = Vec::new();
    drop(timeout(patience, stream.read_to_end(&mut read)).await);
    String::from_utf8_lossy(&read).into_owned()
}

/// A caller that decides itself when it reads, with little room in its own system.
async fn raw(gateway: &Gateway, head: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(64 * 1024).unwrap();
    let mut stream = socket.connect(gateway.address).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    stream
}

fn lines_head(gateway: &Gateway) -> String {
    let body = r#"{"select":["id","title"],"limit":100000}"#;
    format!(
        "POST /v1/query/products HTTP/1.1\r\nhost: g\r\nauthorization: Bearer {}\r\naccept: application/x-ndjson\r\n\
         connection: close\r\ncontent-length: {}\r\n\r\n{body}",
        gateway.secret_key,
        body.len()
    )
}

/// Sends a chunk; answers what it costs: its rows with the commas between them.
async fn send_rows(runner: &mut Runner, job: &Value, rows: Value) -> i64 {
    let cost = i64::try_from(rows.to_string().len()).unwrap() - 2;
    runner.chunk(job, rows).await;
    cost
}

#[tokio::test]
async fn strangers_of_one_address_are_few_and_known_runners_do_not_count() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        strangers.push(Runner::dial(&gateway, Dial::default()).await.unwrap());
    }
    assert_eq!(Runner::dial(&gateway, Dial::default()).await.err(), Some(503));
    let upgrade = "GET /connect HTTP/1.1\r\nhost: g\r\nconnection: upgrade, close\r\nupgrade: websocket\r\n\
                   sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let refused = read_all(&mut raw(&gateway, upgrade).await, Duration::from_secs(2)).await.to_lowercase();
    assert!(refused.starts_with("http/1.1 503") && refused.contains("retry-after: 2"), "{refused}");
    assert!(refused.contains("too_many_connections"), "{refused}");

    let _known = Runner::plain(&gateway, &token).await;
    // A stranger that says who it is makes room for another one, and so does one that leaves.
    let mut introduced = strangers.pop().unwrap();
    introduced.send(json!({"type": "hello", "version": 1, "secret": token, "capabilities": []})).await;
    assert_eq!(introduced.frame().await["type"], "hello-ack");
    drop(Runner::dial(&gateway, Dial::default()).await.unwrap());
    drop(strangers);
    let deadline = Instant::now() + PATIENCE;
    while Runner::dial(&gateway, Dial::default()).await.is_err() {
        assert!(Instant::now() < deadline, "no place became free");
    }
}

#[tokio::test]
async fn frames_are_small_before_the_hello_and_large_after_it() {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    for known in [None, Some(token.as_str())] {
        let mut hasty = Runner::dial(&gateway, Dial { token: known, ..Dial::default() }).await.unwrap();
        let frame = json!({"type": "hello", "version": 1, "x": "x".repeat(2 * 1024 * 1024)});
        hasty.try_send(frame.to_string().into()).await;
        assert_eq!(hasty.closed().await, 1009);
    }
    let mut runner = Runner::dial(&gateway, Dial::default()).await.unwrap();
    runner.send(json!({"type": "hello", "version": 1, "secret": token, "capabilities": []})).await;
    assert_eq!(runner.frame().await["type"], "hello-ack");
    let rows = wide_rows(0..2, 2 * 1024 * 1024);
    let asked = gateway.query(json!({"select": ["id"]}));
    let (asked, _) = futures::join!(asked, runner.answer(rows));
    assert_eq!(asked.rows(), json!([{"id": 0}, {"id": 1}]));
}

#[tokio::test]
async fn a_caller_that_reads_nothing_is_given_up_and_the_log_says_why() {
    let gateway = Gateway::start_with(&[("SEMILAYER_WRITE_TIMEOUT", "1s")]).await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let mut runner = Runner::with(&gateway, &token, &["flow/1"]).await;
    let caller = raw(&gateway, &lines_head(&gateway)).await;
    let job = runner.job().await;
    let since = Instant::now();
    let mut credit = 1024 * 1024;
    loop {
        if credit > 0 {
            credit -= send_rows(&mut runner, &job, wide_rows(0..4, 64 * 1024)).await;
            continue;
        }
        let frame = runner.frame().await;
        match frame["type"].as_str().unwrap() {
            "credit" => credit += frame["bytes"].as_i64().unwrap(),
            other => {
                assert_eq!((other, &frame["id"]), ("cancel", &job["id"]));
                break;
            }
        }
    }
    assert!(since.elapsed() < Duration::from_secs(15), "{:?}", since.elapsed());
    let row = gateway.audit("query", 1).await.remove(0);
    assert_eq!(row["outcome"], "caller_stalled", "{row}");
    drop(caller);
}

#[tokio::test]
async fn a_slow_caller_that_reads_on_gets_everything() {
    const ROWS: u64 = 1_024;
    let gateway = Gateway::start_with(&[("SEMILAYER_WRITE_TIMEOUT", "2s")]).await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let mut runner = Runner::with(&gateway, &token, &["flow/1"]).await;
    let mut caller = raw(&gateway, &lines_head(&gateway)).await;
    let serving = async {
        let job = runner.job().await;
        let (mut credit, mut sent) = (1024 * 1024, 0);
        while sent < ROWS {
            if credit > 0 {
                credit -= send_rows(&mut runner, &job, wide_rows(sent..sent + 16, 8 * 1024)).await;
                sent += 16;
            } else {
                let frame = runner.frame().await;
                assert_eq!(frame["type"], "credit", "{frame}");
                credit += frame["bytes"].as_i64().unwrap();
            }
        }
        runner.done(&job).await;
        runner
    };
    let reading = async {
        let (mut read, mut piece) = (Vec::new(), vec![0; 32 * 1024]);
        let since = Instant::now();
        loop {
            let got = caller.read(&mut piece).await.unwrap();
            if got == 0 {
                return String::from_utf8(read).unwrap();
            }
            read.extend_from_slice(&piece[..got]);
            // Three times as long as the patience with those who take nothing.
            if since.elapsed() < Duration::from_secs(6) {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    };
    let (runner, text) = futures::join!(serving, reading);
    assert_eq!(text.matches("{\"id\":").count(), usize::try_from(ROWS).unwrap());
    assert_eq!(gateway.audit("query", 1).await[0]["outcome"], "ok");
    drop(runner);
}

#[tokio::test]
async fn a_strangers_body_is_not_waited_for() {
    let gateway = Gateway::start().await;
    for expect in ["", "expect: 100-continue\r\n"] {
        let head = format!(
            "POST /v1/query/products HTTP/1.1\r\nhost: g\r\nauthorization: Bearer sk_wrong\r\n{expect}\
             content-length: 1000000\r\n\r\n"
        );
        let since = Instant::now();
        let answer = read_all(&mut raw(&gateway, &head).await, Duration::from_secs(10)).await;
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(since.elapsed() < Duration::from_secs(8), "{:?}", since.elapsed());
    }
}

#[tokio::test]
async fn a_public_key_gets_no_more_rows_at_once_than_is_set() {
    let gateway = Gateway::start_with(&[("SEMILAYER_PUBLIC_MAX_LIMIT", "50")]).await;
    let (_, token) = gateway.runner("one", &["main"]).await;
    let mut runner = Runner::plain(&gateway, &token).await;
    let mut client = gateway.connect().await;
    client.key = gateway.public_key.clone();
    let refused = client.ask("/v1/query/products", json!({"limit": 51})).await;
    assert_eq!(refused.refusal(), (400, "bad_request".to_owned()));
    assert_eq!(refused.json()["field"], "limit");
    // A query that says nothing asks for 100.
    assert_eq!(client.ask("/v1/query/products", json!({})).await.status, 400);
    for (key, limit) in [(gateway.public_key.clone(), 50), (gateway.secret_key.clone(), 1_000_000)] {
        client.key = key;
        let asked = client.ask("/v1/query/products", json!({"limit": limit, "select": ["id"]}));
        let (asked, _) = futures::join!(asked, runner.answer(json!([{"id": 1}])));
        assert_eq!(asked.rows(), json!([{"id": 1}]));
    }
}

#[tokio::test]
async fn a_flood_of_refusals_has_few_rows_and_is_counted() {
    let gateway = Gateway::start().await;
    for _ in 0..100 {
        let dial = Dial { token: Some("rk_wrong"), ..Dial::default() };
        assert_eq!(Runner::dial(&gateway, dial).await.err(), Some(401));
    }
    let rows = gateway.audit("connect", 30).await;
    assert_eq!(rows.len(), 30);
    assert!(rows.iter().all(|row| row["outcome"] == "unauthorized" && row["occurrences"] == json!(1)));
    assert_eq!(gateway.metric("gateway_audit_refusals_merged_total").await, 70.0);
    let none: Vec<&Value> = rows.iter().filter(|row| row["actor"] != "anonymous").collect();
    assert!(none.is_empty(), "{none:?}");
}
