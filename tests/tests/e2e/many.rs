//! Many callers at once, and a line in the audit log for each of them.

use std::collections::HashMap;

use futures::future::join_all;
use harness::gateway::{App, Gateway};
use harness::http::Request;
use harness::postgres::{Database, events_lens};
use harness::sqlite::{Sqlite, people_lens, people_rows};
use harness::wait::{eventually, secs, within};
use serde_json::{Value, json};

#[tokio::test]
async fn two_hundred_callers_on_two_runners_get_right_answers_and_an_audit_row_each() {
    within(secs(120), async {
        let (people, database) = (Sqlite::people(), Database::create().await);
        database.seed_events(5_000).await;
        let gateway = Gateway::start().await;
        let (mut sqlite, mut postgres) = (people.config(), database.config());
        sqlite["bridge"] = "sqlite".into();
        postgres["bridge"] = "postgres".into();
        let mut hidden = people_lens("files");
        hidden.as_object_mut().unwrap().remove("grants");
        let lenses = json!({"people": people_lens("files"), "events": events_lens("rows"), "hidden": hidden});
        gateway.push(json!({"files": sqlite, "rows": postgres}), lenses).await;
        let _runners = [
            gateway.connect_runner("first", &["files", "rows"]).await,
            gateway.connect_runner("second", &["files", "rows"]).await,
        ];
        let (secret, public) = (gateway.secret_app().await, gateway.app(&gateway.create_key("public").await));

        let calls = (0..200).map(|index| call(&gateway, &secret, &public, index));
        join_all(calls).await;

        let mut outcomes: HashMap<String, usize> = HashMap::new();
        let rows = all_audit_rows(&gateway, 200).await;
        for row in &rows {
            let outcome = format!("{} {}", row["action"].as_str().unwrap(), row["outcome"].as_str().unwrap());
            *outcomes.entry(outcome).or_default() += 1;
        }
        let expected = [
            ("query ok", 100),
            ("count ok", 20),
            ("query unauthorized", 20),
            ("query forbidden", 20),
            ("query not_found", 20),
            ("query bad_request", 20),
        ];
        let expected: HashMap<String, usize> =
            expected.map(|(outcome, count)| (outcome.to_owned(), count)).into();
        assert_eq!(outcomes, expected);
        let used: std::collections::HashSet<_> =
            rows.iter().filter_map(|row| row["runnerId"].as_str()).collect();
        assert_eq!(used.len(), 2, "both runners had work");
        for row in rows.iter().filter(|row| row["outcome"] == "ok") {
            assert!(
                row["durationMs"].is_u64() && row["paramsHash"].is_string() && row["attempts"] == 1,
                "{row}"
            );
        }
    })
    .await;
}

/// One of ten kinds of calls, each with its own right answer.
async fn call(gateway: &Gateway, secret: &App, public: &App, index: u64) {
    let to = gateway.address();
    let send = |app: &App, path: &str, body: Value| {
        app.request(path, &body).header("x-request-id", format!("many-{index}")).send(to)
    };
    let id = index % 7 + 1;
    match index % 10 {
        0 => {
            let answer = send(secret, "/v1/query/people", json!({"where": {"id": id}})).await.ok();
            assert_eq!(answer["rows"], json!([people_rows()[usize::try_from(id - 1).unwrap()]]));
        }
        1 => {
            let answer = send(public, "/v1/query/people", json!({"orderBy": {"field": "id"}})).await.ok();
            assert_eq!(answer["rows"], json!(people_rows()));
        }
        2 => {
            let answer = send(secret, "/v1/query/events", json!({"where": {"id": index + 1}})).await.ok();
            assert_eq!(answer["rows"][0]["id"], (index + 1).to_string());
        }
        3 => {
            let body = json!({"orderBy": {"field": "id", "dir": "desc"}, "limit": 1000, "select": ["id"]});
            let answer = send(public, "/v1/query/events", body).await.ok();
            let rows = answer["rows"].as_array().unwrap();
            assert_eq!(
                (rows.len(), &rows[0], &rows[999]),
                (1000, &json!({"id": "5000"}), &json!({"id": "4001"}))
            );
        }
        4 => {
            let request = secret
                .request("/v1/query/events", &json!({"limit": 5000}))
                .header("accept", "application/x-ndjson");
            let lines = request.header("x-request-id", format!("many-{index}")).open(to).await.lines().await;
            assert_eq!(lines.len(), 5000);
        }
        5 => {
            let answer =
                send(public, "/v1/count/events", json!({"where": {"id": {"$lte": index}}})).await.ok();
            assert_eq!(answer["count"], index);
        }
        6 => {
            let stranger = gateway.app("sk_not-a-key-of-this-gateway");
            assert_eq!(send(&stranger, "/v1/query/people", json!({})).await.code(401), "unauthorized");
        }
        7 => assert_eq!(send(public, "/v1/query/hidden", json!({})).await.code(403), "forbidden"),
        8 => assert_eq!(send(secret, "/v1/query/nowhere", json!({})).await.code(404), "not_found"),
        _ => {
            let answer = send(secret, "/v1/query/people", json!({"where": {"shoe": 44}})).await;
            assert_eq!(answer.code(400), "bad_request");
        }
    }
}

/// The rows of all calls, once so many are there.
async fn all_audit_rows(gateway: &Gateway, count: usize) -> Vec<Value> {
    eventually(format!("{count} audit rows"), secs(20), async || {
        let page = gateway.admin_get("/api/audit?limit=1000").await;
        let of_callers = |row: &&Value| row["requestId"].as_str().is_some_and(|id| id.starts_with("many-"));
        let rows: Vec<Value> =
            page["entries"].as_array().unwrap().iter().filter(of_callers).cloned().collect();
        (rows.len() >= count).then_some(rows)
    })
    .await
}

#[tokio::test]
async fn refusals_before_any_handler_are_in_the_audit_log_too() {
    within(secs(60), async {
        let gateway = Gateway::start().await;
        let key = gateway.create_key("secret").await;
        let large = Request::new("POST", "/v1/query/people").bearer(&key).header("x-request-id", "too-large");
        let answer = large.body(vec![b' '; 2 * 1024 * 1024]).send(gateway.address()).await;
        assert_eq!(answer.status, 413);
        assert_eq!(gateway.audit_of("too-large", 1).await[0]["action"], "query");
        let stranger = Request::get("/api/runners").bearer("ak_wrong").header("x-request-id", "no-operator");
        assert_eq!(stranger.send(gateway.address()).await.status, 401);
        assert_eq!(gateway.audit_of("no-operator", 1).await[0]["outcome"], "unauthorized");
    })
    .await;
}
