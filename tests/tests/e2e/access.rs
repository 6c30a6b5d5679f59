//! What the gateway lets in, and how it says no.

use harness::gateway::{ADMIN, App, Gateway};
use harness::http::Request;
use harness::runner::Runner;
use harness::sqlite::{Sqlite, people_lens};
use harness::wait::{secs, within};
use serde_json::{Value, json};

async fn stage() -> (Sqlite, Gateway, Runner, App) {
    let people = Sqlite::people();
    let gateway = Gateway::start().await;
    let mut config = people.config();
    config["bridge"] = "sqlite".into();
    let mut hidden = people_lens("main");
    hidden.as_object_mut().unwrap().remove("grants");
    gateway.push(json!({"main": config}), json!({"people": people_lens("main"), "hidden": hidden})).await;
    let (_, runner) = gateway.connect_runner("one", &["main"]).await;
    let app = gateway.secret_app().await;
    (people, gateway, runner, app)
}

#[tokio::test]
async fn keys_open_what_they_are_for_and_nothing_else() {
    within(secs(60), async {
        let (_people, gateway, _runner, secret) = stage().await;
        let public = gateway.app(&gateway.create_key("public").await);
        let runner_token = gateway.create_runner("two").await.token;
        assert_eq!(secret.query("people", &json!({})).await.status, 200);
        assert_eq!(secret.query("hidden", &json!({})).await.status, 200);
        assert_eq!(public.query("people", &json!({})).await.status, 200);
        assert_eq!(public.query("hidden", &json!({})).await.code(403), "forbidden");
        for token in [&*runner_token, ADMIN, "", "sk_wrong"] {
            assert_eq!(
                gateway.app(token).query("people", &json!({})).await.code(401),
                "unauthorized",
                "{token}"
            );
        }
        let nobody = Request::post("/v1/query/people", &json!({})).send(gateway.address()).await;
        assert_eq!(nobody.code(401), "unauthorized");
        assert_eq!(nobody.header("www-authenticate"), Some("Bearer"));
        assert_eq!(secret.query("nowhere", &json!({})).await.code(404), "not_found");
        assert_eq!(
            secret.request("/api/runners", &json!({"name": "x"})).send(gateway.address()).await.status,
            401
        );
    })
    .await;
}

#[tokio::test]
async fn a_lens_with_a_wrong_column_is_blamed_itself_and_hides_its_table_from_browsers() {
    within(secs(60), async {
        let people = Sqlite::people();
        let gateway = Gateway::start().await;
        let mut config = people.config();
        config["bridge"] = "sqlite".into();
        let mut wrong = people_lens("main");
        wrong["fields"]["name"]["from"] = "ful_name".into();
        let mut nowhere = people_lens("main");
        nowhere["table"] = "persons".into();
        gateway.push(json!({"main": config}), json!({"wrong": wrong, "nowhere": nowhere})).await;
        let (_, _runner) = gateway.connect_runner("one", &["main"]).await;
        let secret = gateway.secret_app().await;
        let public = gateway.app(&gateway.create_key("public").await);
        for body in [json!({}), json!({"where": {"name": "Ada"}}), json!({"orderBy": {"field": "name"}})] {
            let answer = secret.query("wrong", &body).await;
            assert_eq!(answer.code(422), "SOURCE_QUERY_FAILED", "{body}");
            assert_eq!(
                answer.json()["error"],
                "lens \"wrong\", field \"name\": the source has no column \"ful_name\"",
                "{body}"
            );
            let answer = public.query("wrong", &body).await;
            assert_eq!(answer.code(422), "SOURCE_QUERY_FAILED");
            assert_eq!(answer.json()["field"], "name");
            assert!(
                !answer.text().contains("ful_name") && !answer.text().contains("people"),
                "{}",
                answer.text()
            );
        }
        // A field of the same lens that is there goes on.
        assert_eq!(secret.query("wrong", &json!({"select": ["id"]})).await.status, 200);
        let missing = secret.query("nowhere", &json!({})).await;
        assert_eq!(missing.code(422), "SOURCE_QUERY_FAILED");
        assert!(missing.text().contains("no such table: persons"), "{}", missing.text());
        let missing = public.query("nowhere", &json!({})).await;
        assert_eq!(missing.json()["error"], "lens \"nowhere\": the source refused the query");
    })
    .await;
}

#[tokio::test]
async fn bad_bodies_are_refused_with_the_name_of_the_field() {
    within(secs(60), async {
        let (_people, gateway, _runner, app) = stage().await;
        for (body, field) in [
            (json!({"where": {"shoe": 1}}), "where.shoe"),
            (json!({"orderBy": {"field": "shoe"}}), "orderBy"),
            (json!({"limit": -1}), "limit"),
            (json!({"select": ["shoe"]}), "select"),
            (json!({"wehre": {}}), "wehre"),
            (json!([]), "body"),
        ] {
            let answer = app.query("people", &body).await;
            assert_eq!(answer.code(400), "bad_request", "{body}");
            assert!(answer.json()["field"].as_str().unwrap().starts_with(field), "{body}: {}", answer.text());
        }
        let operator = app.query("people", &json!({"where": {"id": {"$near": 1}}})).await;
        assert_eq!(operator.code(400), "unsupported_operator");
        assert_eq!(operator.json()["op"], "$near");
        let broken = Request::new("POST", "/v1/query/people")
            .bearer(&gateway.create_key("secret").await)
            .body("{\"limit\":");
        assert_eq!(broken.send(gateway.address()).await.code(400), "bad_request");
    })
    .await;
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_without_being_kept() {
    within(secs(60), async {
        let (_people, gateway, _runner, app) = stage().await;
        let before = gateway.process.resident_kib();
        let value = "x".repeat(20 * 1024 * 1024);
        let answer = app.query("people", &json!({"where": {"name": value}})).await;
        assert_eq!(answer.code(413), "body_too_large");
        assert!(gateway.process.resident_kib() < before + 16 * 1024);
        assert_eq!(app.query("people", &json!({})).await.status, 200);
    })
    .await;
}

#[tokio::test]
async fn browsers_may_ask_from_anywhere_and_requests_have_an_id() {
    within(secs(60), async {
        let (_people, gateway, _runner, app) = stage().await;
        let preflight = Request::new("OPTIONS", "/v1/query/people")
            .header("origin", "https://shop.example")
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type,x-user-token")
            .send(gateway.address())
            .await;
        assert!((200..300).contains(&preflight.status), "{}", preflight.status);
        assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
        let allowed = preflight.header("access-control-allow-headers").unwrap().to_lowercase();
        for header in ["authorization", "content-type", "x-user-token"] {
            assert!(allowed.contains(header), "{allowed}");
        }
        let request = || app.request("/v1/query/people", &json!({})).header("origin", "https://shop.example");
        let answer = request().header("x-request-id", "mine-1").send(gateway.address()).await;
        assert_eq!(answer.header("x-request-id"), Some("mine-1"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
        assert_eq!(gateway.audit_of("mine-1", 1).await[0]["outcome"], "ok");
        let insane = request().header("x-request-id", "a b/c").send(gateway.address()).await;
        let made = insane.header("x-request-id").unwrap();
        assert!(uuid::Uuid::parse_str(made).is_ok(), "{made}");
        let refused = gateway
            .app("sk_wrong")
            .request("/v1/query/people", &json!({}))
            .header("origin", "https://shop.example");
        let refused = refused.send(gateway.address()).await;
        assert_eq!(refused.status, 401);
        assert_eq!(refused.header("access-control-allow-origin"), Some("*"), "or a browser cannot read why");
    })
    .await;
}

#[tokio::test]
async fn health_readiness_and_metrics_are_there_for_orchestrators() {
    within(secs(60), async {
        let (_people, gateway, _runner, app) = stage().await;
        assert_eq!(gateway.get("/health").await.ok(), json!({"ok": true}));
        assert_eq!(gateway.get("/ready").await.status, 200);
        app.query("people", &json!({})).await.ok();
        gateway.app("sk_wrong").query("people", &json!({})).await.code(401);
        let metrics = gateway.get("/metrics").await;
        assert_eq!(metrics.status, 200);
        let text = metrics.text();
        for name in [
            "gateway_runners_connected 1",
            "gateway_jobs_pending",
            "gateway_claims_total",
            "gateway_auth_failures_total",
        ] {
            assert!(text.contains(name), "{name} is missing in\n{text}");
        }
        let elsewhere =
            Request::get("/metrics").header("x-forwarded-for", "203.0.113.5").send(gateway.address()).await;
        assert_eq!(elsewhere.status, 401);
        let operator = Request::get("/metrics").header("x-forwarded-for", "203.0.113.5").bearer(ADMIN);
        assert_eq!(operator.send(gateway.address()).await.status, 200);
    })
    .await;
}

/// Every route that this version serves, with its methods.
const ROUTES: [(&str, &[&str]); 25] = [
    ("/connect", &["get"]),
    ("/v1/query/{lens}", &["post"]),
    ("/v1/count/{lens}", &["post"]),
    ("/api/runners", &["get", "post"]),
    ("/api/exec", &["post"]),
    ("/api/runners/{runner}", &["get", "patch", "delete"]),
    ("/api/runners/{runner}/revoke", &["post"]),
    ("/api/runners/{runner}/rotate", &["post"]),
    ("/api/runners/{runner}/sources/{source}", &["put", "delete"]),
    ("/api/sources", &["get", "post"]),
    ("/api/sources/{source}", &["get", "patch", "delete"]),
    ("/api/sources/{source}/test", &["post"]),
    ("/api/keys", &["get", "post"]),
    ("/api/keys/{key}/revoke", &["post"]),
    ("/api/config", &["get", "put"]),
    ("/api/config/diff", &["post"]),
    ("/api/audit", &["get"]),
    ("/api/jobs", &["get"]),
    ("/api/jobs/{job}", &["get"]),
    ("/api/jobs/{job}/cancel", &["post"]),
    ("/health", &["get"]),
    ("/ready", &["get"]),
    ("/metrics", &["get"]),
    ("/openapi.json", &["get"]),
    ("/docs", &["get"]),
];
/// The description does not describe itself.
const UNDESCRIBED: [&str; 2] = ["/openapi.json", "/docs"];
const METHODS: [&str; 5] = ["get", "post", "put", "patch", "delete"];

#[tokio::test]
async fn the_description_names_exactly_the_routes_that_exist() {
    within(secs(60), async {
        let gateway = Gateway::start().await;
        let document = gateway.get("/openapi.json").await.ok();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
        assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
        let paths = document["paths"].as_object().unwrap();
        for (path, methods) in ROUTES {
            for method in METHODS {
                let served = is_served(&gateway, path, method).await;
                assert_eq!(served, methods.contains(&method), "{method} {path}");
                let described = paths.get(path).is_some_and(|path| path.get(method).is_some());
                assert_eq!(
                    described,
                    served && !UNDESCRIBED.contains(&path),
                    "{method} {path} in the description"
                );
            }
        }
        for path in paths.keys() {
            assert!(ROUTES.iter().any(|(known, _)| known == path), "{path} is new: add it to this list");
        }
        every_reference_leads_somewhere(&document, &document);
        let exported: Value = gateway.cli(&["export-openapi"]).await.json();
        assert_eq!(exported, document);
        let page = gateway.get("/docs").await;
        assert_eq!(page.status, 200);
        assert!(!page.text().contains("https://cdn"), "works without the internet");
    })
    .await;
}

/// Whether the router knows the method, whatever the handler says to an empty request.
async fn is_served(gateway: &Gateway, path: &str, method: &str) -> bool {
    let path = ["{lens}", "{runner}", "{source}", "{key}", "{job}"]
        .iter()
        .fold(path.to_owned(), |path, name| path.replace(name, "x"));
    let request =
        Request::new(&method.to_uppercase(), path).bearer(ADMIN).header("content-type", "application/json");
    let answer = request.body("{}").send(gateway.address()).await;
    let text = answer.text();
    !(answer.status == 405 || (answer.status == 404 && text.contains("no such route")))
}

fn every_reference_leads_somewhere(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            if let Some(Value::String(reference)) = fields.get("$ref") {
                let pointer = reference.strip_prefix('#').unwrap();
                assert!(document.pointer(pointer).is_some(), "{reference}");
            }
            fields.values().for_each(|part| every_reference_leads_somewhere(document, part));
        }
        Value::Array(items) => items.iter().for_each(|part| every_reference_leads_somewhere(document, part)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[tokio::test]
async fn an_unknown_route_and_a_wrong_method_have_the_envelope_too() {
    within(secs(60), async {
        let gateway = Gateway::start().await;
        let nowhere = gateway.get("/v2/everything").await;
        assert_eq!(nowhere.code(404), "not_found");
        let wrong = gateway.get("/v1/query/people").await;
        assert_eq!(wrong.code(405), "method_not_allowed");
        let runners_only = gateway.get("/connect").await;
        assert_eq!(runners_only.status, 426, "{}", runners_only.text());
    })
    .await;
}
