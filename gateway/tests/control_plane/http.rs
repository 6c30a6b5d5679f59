//! What all requests have in common: ids, limits, cross-origin rules, envelopes, probes.

use runtime::Drained;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Gateway, Socket};

#[tokio::test]
async fn a_request_keeps_its_sane_id_and_gets_one_otherwise() {
    let gateway = Gateway::start().await;
    let ask = async |id: &str| {
        let answer = gateway.ask("GET", "/health", None, &[("x-request-id", id)], String::new()).await;
        answer.header("x-request-id").unwrap().to_owned()
    };
    assert_eq!(ask("mine-1").await, "mine-1");
    for bad in ["", "a b", &"x".repeat(200), "a\"b"] {
        assert!(uuid::Uuid::parse_str(&ask(bad).await).is_ok(), "{bad}");
    }
}

#[tokio::test]
async fn every_refusal_has_the_envelope() {
    let gateway = Gateway::start().await;
    let ask =
        async |method: &str, path: &str| gateway.ask(method, path, None, &[], String::new()).await.refusal();
    assert_eq!(ask("GET", "/nope").await, (404, "not_found".to_owned()));
    assert_eq!(ask("GET", "/api/nope").await, (404, "not_found".to_owned()));
    assert_eq!(ask("DELETE", "/health").await, (405, "method_not_allowed".to_owned()));
    assert_eq!(ask("GET", "/v1/query/l").await, (405, "method_not_allowed".to_owned()));
    assert_eq!(ask("GET", "/api/runners").await, (401, "unauthorized".to_owned()));
    assert_eq!(ask("GET", "/connect").await, (426, "upgrade_required".to_owned()));
    assert_eq!(ask("GET", "/api/runners/%ff").await.0, 401);
    let bad_path = gateway.admin("GET", "/api/runners/%ff", Value::Null).await;
    assert_eq!(bad_path.refusal().0, 400);
}

#[tokio::test]
async fn a_wrong_method_hears_of_the_right_ones_and_a_wrong_path_of_the_description() {
    let gateway = Gateway::start().await;
    for (method, path, allow, methods) in [
        ("GET", "/v1/query/l", "POST", "POST"),
        ("PUT", "/api/runners", "POST,GET,HEAD", "GET, POST"),
        ("POST", "/api/sources/x", "GET,HEAD,PATCH,DELETE", "GET, PATCH, DELETE"),
        ("POST", "/health", "GET,HEAD", "GET"),
        ("POST", "/docs", "GET,HEAD", "GET"),
    ] {
        let refused = gateway.ask(method, path, Some(&gateway.admin), &[], String::new()).await;
        assert_eq!(refused.status, 405, "{method} {path}");
        let sorted = |list: &str| {
            let mut methods: Vec<_> = list.split(',').map(str::to_owned).collect();
            methods.sort_unstable();
            methods
        };
        assert_eq!(sorted(refused.header("allow").unwrap()), sorted(allow), "{method} {path}");
        let body = refused.expect(405);
        assert_eq!(body["error"], format!("this route takes {methods}"), "{method} {path}");
    }
    let root = gateway.ask("GET", "/", None, &[], String::new()).await.expect(404);
    assert_eq!(root["error"], "no such route; all of them are listed at /docs and /openapi.json");
}

#[tokio::test]
async fn a_wrong_admin_token_is_told_from_none() {
    let gateway = Gateway::start().await;
    let error = async |token| {
        let refused = gateway.ask("GET", "/api/runners", token, &[], String::new()).await.expect(401);
        refused["error"].as_str().unwrap().to_owned()
    };
    assert_eq!(error(None).await, "the admin token is needed: Authorization: Bearer ak_…");
    assert_eq!(error(Some("ak_wrong")).await, "the admin token is not valid");
    let strange = "the admin token is not valid: a token is of visible ASCII characters alone";
    assert_eq!(error(Some("ak_für-alle-die-es-wissen")).await, strange);
}

#[tokio::test]
async fn the_admin_token_is_needed_for_every_operators_route() {
    let gateway = Gateway::start().await;
    let document = gateway.ask("GET", "/openapi.json", None, &[], String::new()).await.expect(200);
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if !path.starts_with("/api/") {
            continue;
        }
        let path = path.replace(['{', '}'], "x");
        for method in operations.as_object().unwrap().keys() {
            for token in [None, Some(""), Some("ak_wrong"), Some(&gateway.admin[..20])] {
                let answer = gateway.ask(&method.to_uppercase(), &path, token, &[], "{}".to_owned()).await;
                assert_eq!(answer.refusal(), (401, "unauthorized".to_owned()), "{method} {path}");
                asked += 1;
            }
        }
    }
    assert!(asked >= 80, "{asked}");
}

#[tokio::test]
async fn browsers_may_ask_from_any_page_unless_a_list_says_otherwise() {
    let preflight = [
        ("origin", "https://shop.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-user-token"),
    ];
    let gateway = Gateway::start().await;
    let answer = gateway.ask("OPTIONS", "/v1/query/l", None, &preflight, String::new()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let allowed = answer.header("access-control-allow-headers").unwrap();
    for header in ["authorization", "content-type", "x-user-token", "x-request-id", "traceparent"] {
        assert!(allowed.contains(header), "{allowed}");
    }
    let refused = gateway.ask("POST", "/v1/query/l", None, &preflight[..1], "{}".to_owned()).await;
    assert_eq!(refused.status, 401);
    assert_eq!(
        refused.header("access-control-allow-origin"),
        Some("*"),
        "a page must be able to read the refusal"
    );
    assert!(refused.header("access-control-expose-headers").unwrap().contains("x-request-id"));
    let operators = gateway.ask("OPTIONS", "/api/runners", None, &preflight, String::new()).await;
    assert_eq!(operators.header("access-control-allow-origin"), None, "no page may ask as the operator");

    let listed = Gateway::start_with(&[("SEMILAYER_CORS_ORIGINS", "https://shop.example")]).await;
    let answer = listed.ask("OPTIONS", "/v1/query/l", None, &preflight, String::new()).await;
    assert_eq!(answer.header("access-control-allow-origin"), Some("https://shop.example"));
    let other = [("origin", "https://evil.example"), preflight[1]];
    let answer = listed.ask("OPTIONS", "/v1/query/l", None, &other, String::new()).await;
    assert_eq!(answer.header("access-control-allow-origin"), None);
}

#[tokio::test]
async fn probes_answer_and_metrics_are_for_this_machine_or_the_operator() {
    let gateway = Gateway::start().await;
    let get = async |path: &str, headers: &[(&str, &str)]| {
        gateway.ask("GET", path, None, headers, String::new()).await
    };
    assert_eq!(get("/health", &[]).await.expect(200), json!({"ok": true}));
    assert_eq!(get("/ready", &[]).await.expect(200)["status"], "ready");
    let metrics = get("/metrics", &[]).await;
    assert_eq!(metrics.status, 200);
    assert!(metrics.text.contains("# EOF"), "{}", metrics.text);
    let proxied = get("/metrics", &[("x-forwarded-for", "192.0.2.1")]).await;
    assert_eq!(proxied.refusal().0, 401);
    let headers = [("x-forwarded-for", "192.0.2.1")];
    let operator = gateway.ask("GET", "/metrics", Some(&gateway.admin), &headers, String::new()).await;
    assert_eq!(operator.status, 200);
}

#[tokio::test]
async fn a_gateway_that_drains_says_so_and_takes_nothing_new() {
    let gateway = Gateway::start().await;
    let held = gateway.begin_draining();
    let get = async |path: &str| gateway.ask("GET", path, Some(&gateway.admin), &[], String::new()).await;
    let ready = get("/ready").await;
    assert_eq!((ready.status, ready.expect(503)["status"].clone()), (503, json!("draining")));
    assert_eq!(get("/health").await.status, 200);
    let refused = get("/api/runners").await;
    assert_eq!(refused.refusal(), (503, "draining".to_owned()));
    drop(held);
}

#[tokio::test]
async fn an_answer_under_way_is_finished_before_the_gateway_ends() {
    let gateway = Gateway::start().await;
    gateway.source("main").await;
    let (id, token) = gateway.runner("edge").await;
    gateway.admin("PUT", "/api/runners/edge/sources/main", Value::Null).await.expect(200);
    let (mut socket, _) = Socket::open(&gateway, &id, &token).await.unwrap();
    let (working, begun) = tokio::sync::oneshot::channel();
    let asked = gateway.admin("POST", "/api/sources/main/test", json!({}));
    let runner = async {
        let job = socket.frame().await;
        working.send(()).unwrap();
        gateway.draining().await;
        socket.send(&json!({"type": "done", "id": job["id"]})).await;
    };
    let stopping = async {
        begun.await.unwrap();
        gateway.drain().await
    };
    let (answer, (), drained) = futures::join!(asked, runner, stopping);
    assert_eq!(answer.expect(200)["ok"], true);
    assert_eq!(drained, Drained::Clean);
}

#[tokio::test]
async fn a_page_describes_the_interface_without_anything_from_elsewhere() {
    let gateway = Gateway::start().await;
    let page = gateway.ask("GET", "/docs", None, &[], String::new()).await;
    assert_eq!(page.status, 200);
    assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
    for elsewhere in ["https://", "http://", "src=\"//"] {
        assert!(!page.text.contains(elsewhere), "{elsewhere}");
    }
    let document = gateway.ask("GET", "/openapi.json", None, &[], String::new()).await.expect(200);
    assert!(document["paths"]["/v1/query/{lens}"]["post"].is_object());
}

#[tokio::test]
async fn a_header_without_end_is_cut_off() {
    let gateway = Gateway::start().await;
    let mut stream = TcpStream::connect(gateway.address).await.unwrap();
    let flood = async {
        let line = format!("X-Filler: {}\r\n", "x".repeat(8_000));
        stream.write_all(b"GET /health HTTP/1.1\r\nHost: x\r\n").await.unwrap();
        for _ in 0..200 {
            if stream.write_all(line.as_bytes()).await.is_err() {
                break;
            }
        }
        let mut answer = Vec::new();
        // A server that closes with unread input may reset the connection after its answer.
        drop(stream.read_to_end(&mut answer).await);
        String::from_utf8_lossy(&answer).into_owned()
    };
    let answer = tokio::time::timeout(std::time::Duration::from_secs(10), flood).await.unwrap();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431"), "{answer}");
}
