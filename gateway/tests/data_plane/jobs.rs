//! What a job's frame says, and what becomes of a runner's answers.

use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::Gateway;
use crate::runner::{ALL, Runner};

async fn shop(extensions: &[&str]) -> (Gateway, Runner) {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &["main", "local"]).await;
    let runner = Runner::with(&gateway, &token, extensions).await;
    (gateway, runner)
}

#[tokio::test]
async fn a_plain_runner_gets_exactly_a_job_of_version_1() {
    let (gateway, mut runner) = shop(&[]).await;
    let body = json!({
        "where": {"title": {"$ilike": "%lamp%"}, "price": {"$exists": true}},
        "orderBy": {"field": "price", "dir": "desc"}, "limit": 2, "offset": 4, "select": ["title"],
    });
    let mut client = gateway.connect().await;
    let headers = [("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")];
    let (asked, job) = futures::join!(
        async { client.stream("/v1/query/products", &headers, body).await.whole().await },
        runner.answer(json!([{"name": "Brass lamp", "price": 12}])),
    );
    assert_eq!(asked.rows(), json!([{"title": "Brass lamp"}]));
    let id = job["id"].as_str().unwrap();
    let deadline = job["deadlineMs"].as_u64().unwrap();
    assert!((29_000..=30_000).contains(&deadline), "{deadline}");
    assert_eq!(
        job,
        json!({"type": "job", "id": id, "deadlineMs": deadline, "params": {"source": "main", "job": {
            "kind": "query", "target": "public.products",
            "options": {
                "where": {"name": {"$ilike": "%lamp%"}, "price": {"$ne": null}},
                "orderBy": [{"field": "price", "dir": "desc"}], "limit": 2, "offset": 4, "select": ["name"],
            },
        }}})
    );
}

#[tokio::test]
async fn a_revoked_key_takes_its_running_queries_along() {
    let (gateway, mut runner) = shop(&[]).await;
    let (mut lines, job) = futures::join!(gateway.lines(json!({"select": ["id"]})), async {
        let job = runner.job().await;
        runner.chunk(&job, json!([{"id": 1}])).await;
        job
    });
    assert_eq!(lines.line().await, Some(json!({"id": 1})));
    let asked = async {
        let held = runner.job().await;
        gateway.control.revoke_key(&Gateway::by(), "server").await.unwrap();
        let mut told = [runner.expect("cancel").await, runner.expect("cancel").await];
        told.sort_by_key(|frame| frame["id"].as_str().map(str::to_owned));
        assert_eq!([&told[0]["id"], &told[1]["id"]], [&job["id"], &held["id"]]);
        runner.chunk(&job, json!([{"id": 2}])).await;
    };
    let (answer, ()) = futures::join!(gateway.query(json!({})), asked);
    assert_eq!(answer.refusal(), (499, "CANCELLED".to_owned()));
    assert_eq!(answer.json()["rule"], "key.revoked");
    let last = lines.line().await.unwrap();
    assert_eq!((&last["code"], &last["rule"]), (&json!("CANCELLED"), &json!("key.revoked")));
    assert_eq!(lines.line().await, None);
    let rows = gateway.audit("query", 2).await;
    for row in &rows[..2] {
        assert_eq!((&row["outcome"], &row["rule"]), (&json!("CANCELLED"), &json!("key.revoked")));
    }
}

#[tokio::test]
async fn a_runner_with_every_extension_gets_what_they_add() {
    let (gateway, mut runner) = shop(&ALL).await;
    let mut client = gateway.connect().await;
    let (parent, state) = ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "vendor=1");
    let headers = [("traceparent", parent), ("tracestate", state)];
    let body = json!({"select": ["title"], "limit": 1});
    let answering = async {
        let job = runner.job().await;
        let rows = json!([{"title": "a"}]);
        runner
            .send(json!({"type": "chunk", "id": job["id"], "seq": 0, "rows": rows, "nextCursor": "n"}))
            .await;
        runner.done(&job).await;
        job
    };
    let asking = async { client.stream("/v1/query/products", &headers, body).await.whole().await };
    let (asked, job) = futures::join!(asking, answering);
    assert_eq!(asked.rows(), json!([{"title": "a"}]));
    assert!(asked.ok()["meta"]["nextCursor"].is_string());
    assert_eq!((&job["traceparent"], &job["tracestate"]), (&json!(parent), &json!(state)));
    assert_eq!(job["credit"], 1024 * 1024);
    assert_eq!(Runner::options(&job), &json!({"limit": 1, "project": {"title": "name"}, "keyset": ["id"]}));
}

#[tokio::test]
async fn a_count_is_a_job_of_its_own_kind() {
    let (gateway, mut runner) = shop(&[]).await;
    let asking = gateway.ask("/v1/count/products", json!({"where": {"title": "x"}}));
    let answering = async {
        let job = runner.job().await;
        runner
            .send(json!({"type": "chunk", "id": job["id"], "rows": [], "total": 7, "approximate": true}))
            .await;
        runner.done(&job).await;
        job["params"]["job"].clone()
    };
    let (asked, job) = futures::join!(asking, answering);
    assert_eq!(
        job,
        json!({"kind": "count", "target": "public.products", "options": {"where": {"name": {"$eq": "x"}}}})
    );
    let answer = asked.ok();
    assert_eq!((&answer["count"], &answer["meta"]["approximate"]), (&json!(7), &json!(true)));
    assert_eq!(answer["meta"]["lens"], "products");
}

#[tokio::test]
async fn a_count_without_a_number_is_the_runners_failure() {
    let (gateway, mut runner) = shop(&[]).await;
    let (asked, _) =
        futures::join!(gateway.ask("/v1/count/products", json!({})), runner.answer(json!([{"count": 1}])));
    assert_eq!(asked.refusal(), (502, "runner_failed".to_owned()));
}

#[tokio::test]
async fn answers_find_their_jobs_however_they_are_mixed() {
    let (gateway, mut runner) = shop(&[]).await;
    let answering = async {
        let jobs = [runner.job().await, runner.job().await, runner.job().await];
        for job in jobs.iter().rev() {
            runner.chunk(job, json!([{"id": Runner::options(job)["limit"], "name": "first"}])).await;
        }
        for job in &jobs {
            runner.chunk(job, json!([{"id": Runner::options(job)["limit"], "name": "second"}])).await;
            runner.done(job).await;
        }
    };
    let ask = |limit: u64| gateway.query(json!({"limit": limit, "offset": 1, "select": ["id", "title"]}));
    let (one, two, three, ()) = futures::join!(ask(11), ask(12), ask(13), answering);
    for (answer, limit) in [(one, 11), (two, 12), (three, 13)] {
        assert_eq!(answer.rows(), json!([{"id": limit, "title": "first"}, {"id": limit, "title": "second"}]));
    }
}

#[tokio::test]
async fn frames_for_jobs_that_are_over_or_never_were_harm_nothing() {
    let (gateway, mut runner) = shop(&[]).await;
    let answering = async {
        let job = runner.job().await;
        for id in ["never", job["id"].as_str().unwrap()] {
            let over = json!({"id": id});
            if id == "never" {
                runner.chunk(&over, json!([{"id": 0}])).await;
                runner.error(&over, "INTERNAL").await;
            } else {
                runner.chunk(&job, json!([{"id": 1}])).await;
            }
            runner.done(&over).await;
            runner.done(&over).await;
            runner.error(&over, "INTERNAL").await;
            runner.chunk(&over, json!([{"id": 2}])).await;
        }
    };
    let (asked, ()) = futures::join!(gateway.query(json!({"select": ["id"]})), answering);
    assert_eq!(asked.rows(), json!([{"id": 1}]));
    let (asked, _) =
        futures::join!(gateway.query(json!({"select": ["id"]})), runner.answer(json!([{"id": 3}])));
    assert_eq!(asked.rows(), json!([{"id": 3}]));
}

#[tokio::test]
async fn a_runners_error_becomes_the_status_of_its_code() {
    let (gateway, mut runner) = shop(&[]).await;
    for (code, status) in [
        ("bad_request", 400),
        ("unsupported_kind", 501),
        ("unknown_bridge", 502),
        ("SOURCE_NOT_CONFIGURED", 503),
        ("SOURCE_UNREACHABLE", 502),
        ("SOURCE_QUERY_FAILED", 422),
        ("QUERY_TIMEOUT", 504),
        ("ROW_TOO_LARGE", 413),
        ("PLUGIN_FAILED", 502),
        ("INTERNAL", 500),
    ] {
        let failing = async {
            let job = runner.job().await;
            runner.error(&job, code).await;
        };
        let (asked, ()) = futures::join!(gateway.query(json!({})), failing);
        assert_eq!(asked.refusal(), (status, code.to_owned()));
        assert_eq!(asked.json()["error"], "it went wrong");
    }
    let rows = gateway.audit("query", 10).await;
    assert_eq!((&rows[0]["outcome"], &rows[0]["attempts"]), (&json!("INTERNAL"), &json!(1)));
}

#[tokio::test]
async fn an_operator_that_the_bridge_does_not_have_is_named() {
    let (gateway, mut runner) = shop(&[]).await;
    let failing = async {
        let job = runner.job().await;
        runner
            .send(json!({"type": "error", "id": job["id"], "code": "unsupported_operator", "message": "no $like",
                "op": "$like", "target": "public.products", "bridge": "@semilayer/bridge-x"}))
            .await;
    };
    let (asked, ()) = futures::join!(gateway.query(json!({"where": {"title": {"$like": "a"}}})), failing);
    assert_eq!(asked.refusal(), (400, "unsupported_operator".to_owned()));
    let body = asked.json();
    assert_eq!((&body["op"], &body["bridge"]), (&json!("$like"), &json!("@semilayer/bridge-x")));
}

#[tokio::test]
async fn a_code_of_another_maker_is_a_runner_failure_that_names_it() {
    let (gateway, mut runner) = shop(&[]).await;
    let failing = async {
        let job = runner.job().await;
        let message = "m".repeat(100_000);
        runner
            .send(json!({"type": "error", "id": job["id"], "code": "E_".repeat(5_000), "message": message}))
            .await;
    };
    let (asked, ()) = futures::join!(gateway.query(json!({})), failing);
    assert_eq!(asked.refusal(), (502, "runner_failed".to_owned()));
    assert!(asked.json()["runnerCode"].as_str().unwrap().starts_with("E_E_"));
    assert!(asked.text.len() < 5_000, "{}", asked.text.len());
}

#[tokio::test]
async fn a_chunk_with_a_wrong_field_ends_its_own_job_alone() {
    let (gateway, mut runner) = shop(&[]).await;
    for wrong in [json!({"rows": "none"}), json!({"rows": [1]}), json!({"rows": [], "total": -1})] {
        let answering = async {
            let jobs = [runner.job().await, runner.job().await];
            let mut chunk = json!({"type": "chunk", "id": jobs[0]["id"]});
            chunk.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
            runner.send(chunk).await;
            assert_eq!(runner.frame().await, json!({"type": "cancel", "id": jobs[0]["id"]}));
            runner.chunk(&jobs[1], json!([{"id": 2}])).await;
            runner.done(&jobs[1]).await;
        };
        let ask = || gateway.query(json!({"select": ["id"]}));
        let (one, two, ()) = futures::join!(ask(), ask(), answering);
        let (failed, fine) = if one.status == 200 { (two, one) } else { (one, two) };
        assert_eq!(failed.refusal(), (502, "runner_failed".to_owned()));
        assert_eq!(fine.rows(), json!([{"id": 2}]));
    }
}

#[tokio::test]
async fn a_chunk_that_was_left_out_ends_the_job() {
    let (gateway, mut runner) = shop(&["resume/1"]).await;
    for second in [json!(2), json!(0), Value::Null] {
        let answering = async {
            let job = runner.job().await;
            runner.numbered(&job, 0, json!([{"id": 1}])).await;
            runner.send(json!({"type": "chunk", "id": job["id"], "rows": [{"id": 2}], "seq": second})).await;
            assert_eq!(runner.frame().await, json!({"type": "cancel", "id": job["id"]}));
        };
        let (asked, ()) = futures::join!(gateway.query(json!({})), answering);
        assert_eq!(asked.refusal(), (502, "runner_failed".to_owned()));
    }
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_its_job() {
    let (gateway, mut runner) = shop(&ALL).await;
    // Before the first row.
    let client = gateway.connect().await;
    let job = {
        let mut client = client;
        let asking = std::pin::pin!(client.stream("/v1/query/products", &[], json!({})));
        let (job, _dropped) = match futures::future::select(std::pin::pin!(runner.job()), asking).await {
            futures::future::Either::Left(first) => first,
            futures::future::Either::Right(_) => panic!("answered without rows"),
        };
        job
    };
    assert_eq!(runner.frame().await, json!({"type": "cancel", "id": job["id"]}));
    // In the middle of a stream.
    let (mut stream, job) = futures::join!(gateway.lines(json!({})), async {
        let job = runner.job().await;
        runner.numbered(&job, 0, json!([{"id": 1}])).await;
        job
    });
    assert_eq!(stream.line().await, Some(json!({"id": 1})));
    drop(stream);
    assert_eq!(runner.frame().await, json!({"type": "cancel", "id": job["id"]}));
    let rows = gateway.audit("query", 2).await;
    let outcomes: Vec<_> = rows.iter().map(|row| (row["outcome"].clone(), row["rows"].clone())).collect();
    assert_eq!(outcomes, [(json!("CANCELLED"), json!(1)), (json!("CANCELLED"), json!(0))]);
    assert_eq!(gateway.admin("/api/runners/one").await["sessions"][0]["activeJobs"], 0);
}

#[tokio::test]
async fn the_gateway_ends_a_job_that_its_runner_forgets() {
    let (gateway, mut runner) = shop(&[]).await;
    gateway.timeout(5).await;
    let mut client = gateway.connect().await;
    runner.expect("assignments-changed").await;
    (runner.patience, client.patience) = (Duration::from_secs(60), Duration::from_secs(60));
    tokio::time::pause();
    let forgetting = async {
        let job = runner.job().await;
        let cancel = runner.expect("cancel").await;
        assert_eq!(cancel["id"], job["id"]);
        job
    };
    let (asked, job) = futures::join!(client.ask("/v1/query/products", json!({})), forgetting);
    assert_eq!(asked.refusal(), (504, "QUERY_TIMEOUT".to_owned()));
    assert!(job["deadlineMs"].as_u64().unwrap() <= 5_000, "{job}");
}
