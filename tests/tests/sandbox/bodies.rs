//! A body that is wrong is refused at its place, and nothing is made of it.

use harness::http::Request;
use harness::sandbox::{Door, TOKEN, order};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn wrong_fields_are_refused_one_by_one() {
    let door = Door::start().await;
    for (change, path) in [
        (json!({"files": {}}), json!(["files"])),
        (json!({"files": {"/etc/x": "x"}}), json!(["files", "/etc/x"])),
        (json!({"files": {"../x": "x"}}), json!(["files", "../x"])),
        (json!({"files": {"a": "x", "a/b": "x"}}), json!(["files", "a/b"])),
        (json!({"files": {".": "x"}}), json!(["files", "."])),
        (json!({"env": {"1A": "x"}}), json!(["env", "1A"])),
        (json!({"env": {"A;B": "x"}}), json!(["env", "A;B"])),
        (json!({"entrypoint": "x".repeat(2049)}), json!(["entrypoint"])),
        (json!({"image": "x".repeat(301)}), json!(["image"])),
        (json!({"timeout": 0}), json!(["timeout"])),
        (json!({"networks": ["none"]}), json!(["networks"])),
        (json!({"detached": true, "input": 1}), json!(["input"])),
        (json!({"memory": "1t"}), json!(["memory"])),
        (json!({"workdir": "relative"}), json!(["workdir"])),
        (json!({"run": ["a\nb"]}), json!(["run"])),
        (json!({"capabilities": ["SYS_ADMIN"]}), json!(["capabilities"])),
        (json!({"callbackUrl": "http://127.0.0.1/"}), json!(["callbackUrl"])),
    ] {
        let answer = door.post_json("/run", &order("true", change.clone())).await;
        let body = answer.json();
        assert_eq!((answer.status, &body["error"]), (400, &json!("bad_request")), "{change}: {body}");
        assert_eq!(body["details"][0]["path"], path, "{body}");
        assert!(
            body["details"][0]["code"].is_string() && body["details"][0]["message"].is_string(),
            "{body}"
        );
    }
    assert_eq!(door.get("/runs").await.ok(), json!([]));
    assert!(door.kept().is_empty(), "{:?}", door.kept());
}

/// Silence about an unknown key once ran containers with a network that were to have none.
#[tokio::test]
async fn a_key_that_nobody_knows_is_refused_with_what_was_meant() {
    let door = Door::start().await;
    for (key, hint) in
        [("setup", "run"), ("async", "detached"), ("command", "entrypoint"), ("Timeout", "timeout")]
    {
        let answer = door.post_json("/run", &order("true", json!({key: "x"}))).await;
        let issue = answer.json()["details"][0].clone();
        assert_eq!(
            (answer.status, &issue["code"], &issue["keys"]),
            (400, &json!("unrecognized_keys"), &json!([key]))
        );
        assert!(issue["message"].as_str().unwrap().contains(hint), "{issue}");
    }
}

#[tokio::test]
async fn what_is_no_json_is_told_apart_from_what_is_no_order() {
    let door = Door::start().await;
    let post = async |kind: &str, body: &str| {
        let request = Request::new("POST", "/run").header("content-type", kind).body(body.to_owned());
        let answer = door.send(request).await;
        (answer.status, answer.json())
    };
    let (status, body) = post("application/json", "{").await;
    assert_eq!(
        (status, &body["code"], &body["error"]),
        (400, &json!("FST_ERR_CTP_INVALID_JSON_BODY"), &json!("Bad Request"))
    );
    let (status, body) = post("application/x-www-form-urlencoded", "{}").await;
    assert_eq!(
        (status, &body["code"], &body["statusCode"]),
        (415, &json!("FST_ERR_CTP_INVALID_MEDIA_TYPE"), &json!(415))
    );
    for nothing in ["", "[]", "null", "7"] {
        let (status, body) = post("application/json; charset=utf-8", nothing).await;
        assert_eq!((status, &body["details"][0]["code"]), (400, &json!("invalid_type")), "{nothing}");
    }
}

#[tokio::test]
async fn a_body_has_a_limit_whether_or_not_its_length_is_told() {
    let door = Door::start_with(&[("LIGHT_RUN_BODY_LIMIT", "1024")]).await;
    let large = order("true", json!({"files": {"a": "x".repeat(2000)}}));
    let answer = door.post_json("/run", &large).await;
    assert_eq!((answer.status, answer.json()["code"].as_str()), (413, Some("FST_ERR_CTP_BODY_TOO_LARGE")));
    let mut stream = TcpStream::connect(door.address()).await.unwrap();
    let head = format!(
        "POST /run HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {TOKEN}\r\nconnection: close\r\n\
         content-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n7d0\r\n{}\r\n0\r\n\r\n",
        "x".repeat(2000)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
    assert_eq!(door.get("/runs").await.ok(), json!([]));
    assert_eq!(door.shell("true", Value::Null).await["status"], "succeeded");
}

#[tokio::test]
async fn routes_without_a_body_do_not_mind_an_empty_one_of_json() {
    let door = Door::start().await;
    let cancel = Request::new("POST", "/runs/light-runner-01234567-89a/cancel")
        .header("content-type", "application/json");
    assert_eq!(door.send(cancel).await.json(), json!({"error": "not_found_or_done"}));
}
