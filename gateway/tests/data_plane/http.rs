//! What applications see: names of wrong fields, forms of answers, access, and connections that live on.

use serde_json::{Value, json};

use crate::harness::{Answer, Gateway};
use crate::runner::{ALL, Runner, wide_rows};

async fn shop(extensions: &[&str]) -> (Gateway, Runner) {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main", "local"]).await;
    let runner = Runner::with(&gateway, &token, extensions).await;
    (gateway, runner)
}

#[tokio::test]
async fn a_wrong_body_names_its_field() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect().await;
    for (body, field) in [
        ("{", "body"),
        ("[]", "body"),
        (r#"{"limit":"5"}"#, "limit"),
        (r#"{"limit":-1}"#, "limit"),
        (r#"{"limit":1.5}"#, "limit"),
        (r#"{"offset":true}"#, "offset"),
        (r#"{"total":1}"#, "total"),
        (r#"{"wehre":{}}"#, "wehre"),
        (r#"{"where":[]}"#, "where"),
        (r#"{"where":{"nope":1}}"#, "where.nope"),
        (r#"{"where":{"name":1}}"#, "where.name"),
        (r#"{"where":{"title":{"$gt":{}}}}"#, "where.title.$gt"),
        (r#"{"orderBy":{"field":"nope"}}"#, "orderBy[0].field"),
        (r#"{"orderBy":{"field":"id","dir":"up"}}"#, "orderBy.dir"),
        (r#"{"select":[]}"#, "select"),
        (r#"{"select":["nope"]}"#, "select[0]"),
        (r#"{"fields":["nope"]}"#, "fields[0]"),
        (r#"{"select":["id"],"fields":["id"]}"#, "fields"),
        (r#"{"cursor":"AAAA"}"#, "cursor"),
        (r#"{"cursor":5}"#, "cursor"),
        (r#"{"cursor":""}"#, "cursor"),
        (r#"{"include":{"a":true}}"#, "include"),
    ] {
        let answer = client.send("POST", "/v1/query/products", &[], body.to_owned()).await.whole().await;
        assert_eq!(answer.refusal(), (400, "bad_request".to_owned()), "{body}");
        assert_eq!(answer.json()["field"], field, "{body}: {}", answer.text);
    }
    let answer = client.ask("/v1/query/products", json!({"where": {"title": {"$near": 1}}})).await;
    assert_eq!(answer.refusal(), (400, "unsupported_operator".to_owned()));
    assert_eq!(answer.json()["op"], "$near");
    let misspelt = client.ask("/v1/query/products", json!({"where": {"title": {"$contain": "x"}}})).await;
    assert_eq!(
        misspelt.json()["error"],
        "Bridge does not support where operator \"$contain\"; did you mean $contains?"
    );
    let answer = client.ask("/v1/count/products", json!({"limit": 1})).await;
    assert_eq!(answer.json()["field"], "limit");
}

#[tokio::test]
async fn a_column_that_is_not_there_is_the_lenses_fault_and_a_browser_hears_of_no_table() {
    let (gateway, mut runner) = shop(&["project/1"]).await;
    let mut client = gateway.connect().await;
    for path in ["/v1/query/products", "/v1/count/products"] {
        for (key, says) in [
            (gateway.secret_key.clone(), "the source has no column \"name\""),
            (gateway.public_key.clone(), "does not fit its source"),
        ] {
            client.key = key;
            let fault = async {
                let job = runner.job().await;
                let message = "where.name: expected a column of public.products";
                runner
                    .send(
                        json!({"type": "error", "id": job["id"], "code": "bad_request", "message": message}),
                    )
                    .await;
            };
            let (answer, ()) = futures::join!(client.ask(path, json!({"where": {"title": "x"}})), fault);
            assert_eq!(answer.refusal(), (422, "SOURCE_QUERY_FAILED".to_owned()));
            let body = answer.json();
            assert_eq!(body["error"], format!("lens \"products\", field \"title\": {says}"));
            assert_eq!((&body["lens"], &body["field"]), (&json!("products"), &json!("title")));
        }
    }
    let refusal = async {
        let job = runner.job().await;
        let message = "relation \"public.products\" does not exist";
        runner
            .send(
                json!({"type": "error", "id": job["id"], "code": "SOURCE_QUERY_FAILED", "message": message}),
            )
            .await;
    };
    let (answer, ()) = futures::join!(client.ask("/v1/query/products", json!({})), refusal);
    assert_eq!(answer.json()["error"], "lens \"products\": the source refused the query");
}

#[tokio::test]
async fn keys_open_what_they_are_for() {
    let (gateway, mut runner) = shop(&[]).await;
    let mut client = gateway.connect().await;
    let unauthorized = (401, "unauthorized".to_owned());
    for key in ["", "sk_nobody-has-this-one", "rk_x"] {
        client.key = key.to_owned();
        let answer = client.ask("/v1/query/products", json!({})).await;
        assert_eq!(answer.refusal(), unauthorized);
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    client.key = gateway.public_key.clone();
    assert_eq!(client.ask("/v1/query/notes", json!({})).await.refusal(), (403, "forbidden".to_owned()));
    assert_eq!(client.ask("/v1/query/nothing", json!({})).await.refusal(), (404, "not_found".to_owned()));
    let (asked, _) = futures::join!(client.ask("/v1/query/products", json!({})), runner.answer(json!([])));
    assert_eq!(asked.rows(), json!([]));
    gateway.control.revoke_key(&Gateway::by(), "browser").await.unwrap();
    assert_eq!(client.ask("/v1/query/products", json!({})).await.refusal(), unauthorized);
}

#[tokio::test]
async fn every_attempt_has_its_audit_row() {
    let (gateway, mut runner) = shop(&[]).await;
    let mut client = gateway.connect().await;
    let headers = [("x-request-id", "mine-1")];
    let asking = async {
        client
            .stream("/v1/query/products", &headers, json!({"where": {"title": "hunter2"}}))
            .await
            .whole()
            .await
    };
    let (answer, _) = futures::join!(asking, runner.answer(json!([{"id": 1}, {"id": 2}])));
    assert_eq!(answer.header("x-request-id"), Some("mine-1"));
    client.ask("/v1/query/products", json!({"limit": -1})).await;
    client.ask("/v1/query/nothing", json!({})).await;
    client.key = gateway.public_key.clone();
    client.ask("/v1/query/notes", json!({})).await;
    client.key = String::new();
    client.ask("/v1/query/products", json!({})).await;
    let large = "x".repeat(2 * 1024 * 1024);
    client.key = gateway.secret_key.clone();
    let refused = client.send("POST", "/v1/query/products", &[], large).await;
    assert_eq!(refused.status(), 413);
    let rows = gateway.audit("query", 6).await;
    let mut outcomes: Vec<&str> = rows.iter().map(|row| row["outcome"].as_str().unwrap()).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, ["bad_request", "body_too_large", "forbidden", "not_found", "ok", "unauthorized"]);
    let done = rows.iter().find(|row| row["outcome"] == "ok").unwrap();
    assert_eq!(
        (&done["requestId"], &done["rows"], &done["actor"]),
        (&json!("mine-1"), &json!(2), &json!("secret-key"))
    );
    assert_eq!(
        (&done["lens"], &done["source"], &done["target"]),
        (&json!("products"), &json!("main"), &json!("public.products"))
    );
    assert!(!json!(rows).to_string().contains("hunter2"), "no text of a query");
}

#[tokio::test]
async fn the_accept_header_chooses_the_form() {
    let (gateway, mut runner) = shop(&[]).await;
    let mut client = gateway.connect().await;
    for (accept, lines) in [
        ("*/*", false),
        ("application/json", false),
        ("application/x-ndjson", true),
        ("application/x-ndjson, */*;q=0.1", true),
        ("application/json, application/x-ndjson;q=0.5", false),
        ("application/json;q=0.5, application/x-ndjson", true),
        ("application/x-ndjson;q=0", false),
    ] {
        let headers = [("accept", accept)];
        let asking = async {
            client.stream("/v1/query/products", &headers, json!({"select": ["id"]})).await.whole().await
        };
        let (answer, _) = futures::join!(asking, runner.answer(json!([{"id": 1}, {"id": 2}])));
        let kind = if lines { "application/x-ndjson" } else { "application/json" };
        assert_eq!((answer.status, answer.header("content-type")), (200, Some(kind)), "{accept}");
        assert_eq!(answer.text.starts_with("{\"id\":1}\n{\"id\":2}\n"), lines, "{accept}: {}", answer.text);
    }
}

#[tokio::test]
async fn meta_tells_of_the_answer() {
    let (gateway, mut runner) = shop(&[]).await;
    let answering = async {
        let job = runner.job().await;
        assert_eq!(Runner::options(&job)["total"], true);
        runner.send(json!({"type": "chunk", "id": job["id"], "rows": [{"id": 1}], "total": 42})).await;
        runner.done(&job).await;
    };
    let (answer, ()) = futures::join!(gateway.query(json!({"total": true, "offset": 1})), answering);
    let meta = answer.ok()["meta"].clone();
    assert_eq!((&meta["lens"], &meta["count"], &meta["total"]), (&json!("products"), &json!(1), &json!(42)));
    assert!(meta["durationMs"].is_u64());
    assert_eq!(meta.get("nextCursor"), None);
    let answering = async {
        let job = runner.job().await;
        runner.chunk(&job, json!([{"id": 1}])).await;
        runner.send(json!({"type": "done", "id": job["id"], "meta": {"count": 1, "total": 43}})).await;
    };
    let (mut lines, ()) = futures::join!(gateway.lines(json!({"meta": true, "select": ["id"]})), answering);
    let lines = lines.rest().await;
    assert_eq!((&lines[0], &lines[1]["meta"]["total"]), (&json!({"id": 1}), &json!(43)));
}

#[tokio::test]
async fn select_and_fields_mean_the_same() {
    let (gateway, mut runner) = shop(&[]).await;
    let row = json!([{"id": 1, "name": "a", "price": 2, "secret": "no"}]);
    let a = json!({"id": 1, "title": "a", "price": 2});
    for (body, expected) in [
        (json!({"select": ["price", "title"]}), json!({"price": 2, "title": "a"})),
        (json!({"fields": ["price", "title"]}), json!({"price": 2, "title": "a"})),
        (json!({"select": ["title", "title"]}), json!({"title": "a"})),
        (json!({"select": "*"}), a.clone()),
        (json!({"fields": ["*"]}), a.clone()),
        (json!({}), a),
    ] {
        let (answer, _) = futures::join!(gateway.query(body.clone()), runner.answer(row.clone()));
        assert_eq!(answer.rows()[0], expected, "{body}");
        assert!(!answer.text.contains("secret"), "{body}: only fields of the lens");
    }
}

#[tokio::test]
async fn transforms_change_their_own_values_alone() {
    for extensions in [&[][..], &ALL] {
        let (gateway, mut runner) = shop(extensions).await;
        let answering = async {
            let job = runner.job().await;
            let rows = r#"[{"id":12345678901234567890,"rank":1.50,"word":"  ÄB "},{"id":2,"rank":null,"word":null}]"#;
            let frame = format!(r#"{{"type":"chunk","id":{},"seq":0,"rows":{rows}}}"#, job["id"]);
            runner.text(frame).await;
            runner.done(&job).await;
        };
        let (answer, ()) = futures::join!(gateway.ask("/v1/query/notes", json!({})), answering);
        let rows =
            r#"[{"id":12345678901234567890,"rank":1.50,"word":"äb"},{"id":2,"rank":null,"word":null}]"#;
        assert!(answer.text.contains(rows), "{}", answer.text);
    }
}

#[tokio::test]
async fn a_large_json_answer_streams() {
    let (gateway, mut runner) = shop(&[]).await;
    let mut client = gateway.connect().await;
    let beginning = async {
        let job = runner.job().await;
        for part in 0..5 {
            runner.chunk(&job, wide_rows(part * 4..part * 4 + 4, 64 * 1024)).await;
        }
        job
    };
    let (stream, job) = futures::join!(
        client.stream("/v1/query/products", &[], json!({"select": ["id", "title"]})),
        beginning
    );
    assert_eq!((stream.status(), stream.header("content-length")), (200, None));
    runner.chunk(&job, wide_rows(20..24, 64 * 1024)).await;
    runner.done(&job).await;
    let answer = stream.whole().await;
    let rows = answer.rows();
    assert_eq!((rows.as_array().unwrap().len(), &rows[23]["id"]), (24, &json!(23)));
    assert_eq!(answer.json()["meta"]["count"], 24);
}

#[tokio::test]
async fn an_error_behind_rows_is_a_status_while_they_are_held_and_a_line_once_they_left() {
    let (gateway, mut runner) = shop(&[]).await;
    let (answer, ()) = futures::join!(gateway.query(json!({})), async {
        let job = runner.job().await;
        runner.chunk(&job, wide_rows(0..4, 100_000)).await;
        runner.error(&job, "SOURCE_QUERY_FAILED").await;
    });
    assert_eq!(answer.refusal(), (422, "SOURCE_QUERY_FAILED".to_owned()));
    let (mut lines, ()) = futures::join!(gateway.lines(json!({"select": ["id"]})), async {
        let job = runner.job().await;
        runner.chunk(&job, json!([{"id": 1}])).await;
        runner.error(&job, "SOURCE_QUERY_FAILED").await;
    });
    assert_eq!(lines.status(), 200);
    let lines = lines.rest().await;
    assert_eq!(lines[1], json!({"error": "it went wrong", "code": "SOURCE_QUERY_FAILED"}));
    // Without a row there is a status in this form, too.
    let (lines, ()) = futures::join!(gateway.lines(json!({})), async {
        let job = runner.job().await;
        runner.error(&job, "SOURCE_UNREACHABLE").await;
    });
    assert_eq!(lines.whole().await.refusal(), (502, "SOURCE_UNREACHABLE".to_owned()));
}

#[tokio::test]
async fn a_connection_goes_on_after_refusals_and_answers() {
    let (gateway, mut runner) = shop(&[]).await;
    let mut client = gateway.connect().await;
    for _ in 0..3 {
        assert_eq!(client.ask("/v1/query/products", json!({"limit": "x"})).await.status, 400);
        assert_eq!(client.ask("/v1/query/nothing", json!({})).await.status, 404);
        let failing = async {
            let job = runner.job().await;
            runner.error(&job, "SOURCE_UNREACHABLE").await;
        };
        let (answer, ()) = futures::join!(client.ask("/v1/query/products", json!({})), failing);
        assert_eq!(answer.status, 502);
        let (answer, _) = futures::join!(
            client.ask("/v1/query/products", json!({"select": ["id"]})),
            runner.answer(json!([{"id": 1}]))
        );
        assert_eq!(answer.rows(), json!([{"id": 1}]));
    }
}

#[tokio::test]
async fn other_methods_are_refused_and_preflights_answered() {
    let gateway = Gateway::start().await;
    let mut client = gateway.connect().await;
    let send =
        async |client: &mut crate::harness::Client, method: &str, headers: &[(&str, &str)]| -> Answer {
            client.send(method, "/v1/query/products", headers, String::new()).await.whole().await
        };
    assert_eq!(send(&mut client, "GET", &[]).await.refusal().0, 405);
    let head = send(&mut client, "HEAD", &[]).await;
    assert_eq!((head.status, head.text.as_str()), (405, ""));
    assert_eq!(send(&mut client, "PUT", &[]).await.refusal().0, 405);
    client.key = String::new();
    let preflight = [
        ("origin", "https://app.example"),
        ("access-control-request-method", "POST"),
        ("access-control-request-headers", "authorization,content-type,x-user-token"),
    ];
    let allowed = send(&mut client, "OPTIONS", &preflight).await;
    assert!(allowed.status < 300, "{allowed:?}");
    assert_eq!(allowed.header("access-control-allow-origin"), Some("*"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hundred_queries_at_once_are_all_answered_with_their_own_rows() {
    let (gateway, mut runner) = shop(&ALL).await;
    let answering = async {
        let mut jobs = Vec::new();
        for _ in 0..200 {
            jobs.push(runner.job().await);
        }
        for (index, job) in jobs.iter().enumerate() {
            let limit = &Runner::options(job)["limit"];
            runner.numbered(job, 0, json!([{"id": limit}])).await;
            if index % 2 == 0 {
                runner.numbered(job, 1, json!([{"id": "second"}])).await;
            }
        }
        for job in &jobs {
            runner.done(job).await;
        }
    };
    let ask = |limit: u64| gateway.query(json!({"limit": limit, "select": ["id"]}));
    let (answers, ()) = futures::join!(futures::future::join_all((1..=200).map(ask)), answering);
    for (answer, limit) in answers.iter().zip(1..=200_u64) {
        assert_eq!(answer.rows()[0], json!({"id": limit}));
    }
    assert_eq!(gateway.metric("gateway_jobs_pending").await, 0.0);
    let shown: Value = gateway.admin("/api/runners/one").await;
    assert_eq!(shown["sessions"][0]["activeJobs"], 0);
}

#[tokio::test]
async fn metrics_have_their_published_names() {
    let (gateway, mut runner) = shop(&[]).await;
    let (_, _) = futures::join!(gateway.query(json!({})), runner.answer(json!([{"id": 1}])));
    let mut stranger = gateway.connect().await;
    stranger.key = "sk_nobody".to_owned();
    assert_eq!(stranger.ask("/v1/query/products", json!({})).await.status, 401);
    for (name, least) in [
        ("gateway_runners_connected", 1.0),
        ("gateway_jobs_pending", 0.0),
        ("gateway_claims_total{result=\"claimed\"}", 1.0),
        ("gateway_claims_reaped_total", 0.0),
        ("gateway_dispatch_latency_seconds_count", 1.0),
        ("gateway_auth_failures_total{reason=\"key\"}", 1.0),
        ("gateway_buffer_bytes", 0.0),
        ("gateway_rows_sent_total", 1.0),
    ] {
        assert!(gateway.metric(name).await >= least, "{name}");
    }
}
