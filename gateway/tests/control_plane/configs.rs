//! Pushes: checked as a whole, put in place as a whole.

use serde_json::{Value, json};

use crate::harness::Gateway;

fn config() -> Value {
    json!({
        "stack": "shop",
        "sources": {"main": {"bridge": "postgres", "password": "hunter2"}},
        "lenses": {"products": {
            "source": "main", "table": "public.products", "grants": {"query": "public"},
            "fields": {"zebra": {"type": "number", "primaryKey": true}, "apple": {"type": "text", "from": "a"}},
        }},
    })
}

#[tokio::test]
async fn a_push_shows_its_diff_and_is_in_place() {
    let gateway = Gateway::start().await;
    let pushed = gateway.admin("PUT", "/api/config", config()).await.expect(200);
    assert_eq!(
        (&pushed["applied"], &pushed["summary"]),
        (&json!(true), &json!("+ source main\n+ lens products\n"))
    );
    assert_eq!(pushed["diff"]["lenses"], json!([{"name": "products", "change": "added"}]));
    let answer = gateway.admin("GET", "/api/config", Value::Null).await;
    let shown = answer.expect(200);
    assert_eq!(shown["lenses"]["products"]["table"], "public.products");
    assert!(!answer.text.contains("hunter2"));
    let again = gateway.admin("PUT", "/api/config", config()).await.expect(200);
    assert_eq!(again["summary"], "nothing to change\n");
}

#[tokio::test]
async fn the_order_of_fields_survives_in_every_format() {
    let gateway = Gateway::start().await;
    gateway.source("main").await;
    for (kind, text) in [
        (
            "application/json",
            r#"{"lenses":{"l":{"source":"main","table":"t","fields":{"z":{"type":"text"},"a":{"type":"text"}}}}}"#,
        ),
        (
            "application/yaml",
            "lenses:\n  l:\n    source: main\n    table: t\n    fields:\n      y: {type: text}\n      a: {type: text}\n",
        ),
        (
            "application/toml",
            "[lenses.l]\nsource = 'main'\ntable = 't'\n[lenses.l.fields]\nx = {type = 'text'}\na = {type = 'text'}\n",
        ),
    ] {
        let headers = [("content-type", kind)];
        let pushed = gateway.ask("PUT", "/api/config", Some(&gateway.admin), &headers, text.to_owned());
        pushed.await.expect(200);
        let shown = gateway.admin("GET", "/api/config", Value::Null).await.text;
        let fields = shown.split("\"fields\":{").nth(1).unwrap();
        assert!(!fields.starts_with("\"a\""), "{kind}: {fields}");
    }
}

#[tokio::test]
async fn every_mistake_is_named_and_nothing_is_changed() {
    let gateway = Gateway::start().await;
    gateway.admin("PUT", "/api/config", config()).await.expect(200);
    let mut wrong = config();
    wrong["sources"]["second"] = json!({"bridge": "mysql"});
    wrong["lenses"]["products"]["grants"] = json!({"query": "authenticated", "search": "public"});
    wrong["lenses"]["products"]["tabel"] = json!("x");
    wrong["lenses"]["other"] = json!({"source": "main", "table": "t", "fields": {"a": {"type": "uuid"}}});
    let refused = gateway.admin("PUT", "/api/config", wrong).await;
    assert_eq!(refused.refusal(), (400, "bad_request".to_owned()));
    let refused = refused.expect(400);
    let mut paths: Vec<&str> = refused["mistakes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mistake| mistake["path"].as_str().unwrap())
        .collect();
    paths.sort_unstable();
    let expected = [
        "lenses.other.fields.a.type",
        "lenses.products.grants.query",
        "lenses.products.grants.search",
        "lenses.products.tabel",
    ];
    assert_eq!(paths, expected);
    assert_eq!(gateway.admin("GET", "/api/sources/second", Value::Null).await.refusal().0, 404);
    let same = gateway.admin("PUT", "/api/config", config()).await.expect(200);
    assert_eq!(same["summary"], "nothing to change\n");
}

#[tokio::test]
async fn a_mistake_that_only_shows_in_comparison_changes_nothing_either() {
    let gateway = Gateway::start().await;
    let mut wrong = config();
    wrong["lenses"]["other"] = json!({"source": "nowhere", "table": "t", "fields": {"a": {"type": "text"}}});
    let refused = gateway.admin("PUT", "/api/config", wrong).await.expect(400);
    assert_eq!(refused["mistakes"][0]["path"], "lenses.other.source");
    assert_eq!(
        gateway.admin("GET", "/api/config", Value::Null).await.expect(200),
        json!({"sources": {}, "lenses": {}})
    );
}

#[tokio::test]
async fn sources_that_are_nowhere_are_listed_with_the_other_mistakes() {
    let gateway = Gateway::start().await;
    gateway.source("warehouse").await;
    let lens =
        |source: &str, kind: &str| json!({"source": source, "table": "t", "fields": {"a": {"type": kind}}});
    let wrong = json!({"lenses": {
        "a": lens("warehose", "text"), "b": lens("nowhere", "text"), "c": lens("warehouse", "txt"),
    }});
    let refused = gateway.admin("PUT", "/api/config", wrong).await.expect(400);
    let mut mistakes: Vec<_> = refused["mistakes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mistake| {
            format!("{}: {}", mistake["path"].as_str().unwrap(), mistake["message"].as_str().unwrap())
        })
        .collect();
    mistakes.sort_unstable();
    let nowhere = "there is no source of that name, neither in the config nor in place";
    assert_eq!(mistakes[0], format!("lenses.a.source: {nowhere}; did you mean warehouse?"));
    assert_eq!(mistakes[1], format!("lenses.b.source: {nowhere}"));
    assert!(mistakes[2].starts_with("lenses.c.fields.a.type: "), "{mistakes:?}");
    assert_eq!(mistakes.len(), 3);
}

#[tokio::test]
async fn a_bridge_that_no_connected_runner_has_is_a_warning() {
    let gateway = Gateway::start().await;
    let push = async |bridge: &str| {
        let config = json!({"sources": {"main": {"bridge": bridge}}});
        let answer = gateway.admin("POST", "/api/config/diff", config).await.expect(200);
        answer["warnings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|warning| {
                format!("{}: {}", warning["path"].as_str().unwrap(), warning["message"].as_str().unwrap())
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(push("postgres").await, [""; 0], "nobody can be asked, and it is a published name");
    let misspelt = push("postgress").await;
    assert!(misspelt[0].ends_with("; did you mean postgres?"), "{misspelt:?}");
    // A runner of SQLite alone.
    let (id, token) = gateway.runner("edge").await;
    let _socket = crate::harness::Socket::open(&gateway, &id, &token).await.ok().unwrap();
    assert_eq!(push("sqlite").await, [""; 0]);
    assert_eq!(
        push("postgres").await,
        [
            "sources.main.bridge: no connected runner has the bridge @semilayer/bridge-postgres; they have @semilayer/bridge-sqlite"
        ]
    );
}

#[tokio::test]
async fn a_dry_run_changes_nothing() {
    let gateway = Gateway::start().await;
    let diff = gateway.admin("POST", "/api/config/diff", config()).await.expect(200);
    assert_eq!(
        (&diff["applied"], &diff["summary"]),
        (&json!(false), &json!("+ source main\n+ lens products\n"))
    );
    assert_eq!(
        gateway.admin("GET", "/api/config", Value::Null).await.expect(200),
        json!({"sources": {}, "lenses": {}})
    );
}

#[tokio::test]
async fn what_is_not_served_yet_is_accepted_with_a_warning() {
    let gateway = Gateway::start().await;
    let mut later = config();
    later["auth"] = json!({"jwks": "https://id.example/jwks"});
    later["lenses"]["products"]["relations"] = json!({"orders": {"lens": "orders", "kind": "hasMany"}});
    let pushed = gateway.admin("PUT", "/api/config", later).await.expect(200);
    let paths: Vec<&str> = pushed["warnings"]
        .as_array()
        .unwrap()
        .iter()
        .map(|warning| warning["path"].as_str().unwrap())
        .collect();
    assert_eq!(paths, ["auth", "lenses.products.relations"]);
    let shown = gateway.admin("GET", "/api/config", Value::Null).await.expect(200);
    assert_eq!(shown["lenses"]["products"]["relations"]["orders"]["kind"], "hasMany", "it is kept for later");
}

#[tokio::test]
async fn a_body_that_is_no_config_is_refused() {
    let gateway = Gateway::start().await;
    let push = async |kind: &str, body: &str| {
        gateway
            .ask("PUT", "/api/config", Some(&gateway.admin), &[("content-type", kind)], body.to_owned())
            .await
    };
    assert_eq!(push("text/html", "{}").await.refusal(), (415, "unsupported_media_type".to_owned()));
    for (kind, body) in [
        ("application/json", "{"),
        ("application/json", ""),
        ("application/json", "[]"),
        ("application/yaml", "a: [b"),
        ("application/toml", "a = "),
    ] {
        let refused = push(kind, body).await.expect(400);
        assert_eq!(refused["mistakes"].as_array().unwrap().len(), 1, "{kind} {body}");
    }
}

#[tokio::test]
async fn a_public_key_needs_the_grant_and_a_removed_lens_is_gone() {
    let gateway = Gateway::start().await;
    let mut pushed = config();
    pushed["lenses"]["hidden"] = json!({"source": "main", "table": "t", "fields": {"a": {"type": "text"}}});
    gateway.admin("PUT", "/api/config", pushed).await.expect(200);
    let key = gateway.admin("POST", "/api/keys", json!({"name": "web", "kind": "public"})).await.expect(201);
    let key = key["token"].as_str().unwrap();
    let ask = async |lens: &str| {
        gateway.ask("POST", &format!("/v1/query/{lens}"), Some(key), &[], "{}".to_owned()).await.refusal()
    };
    assert_eq!(ask("products").await, (503, "no_runners_online".to_owned()));
    assert_eq!(ask("hidden").await.0, 403);
    let removed = gateway.admin("PUT", "/api/config", json!({"lenses": {}})).await.expect(200);
    assert_eq!(removed["summary"], "- lens hidden\n- lens products\n");
    assert_eq!(ask("products").await.0, 404);
}
