//! Sources: credentials encrypted at rest, never shown, and wiped by a switch to runner-local.

use serde_json::{Value, json};

use crate::harness::{Gateway, Socket};

const CANARY: &str = "canary-7f3a-hunter2";

fn managed(name: &str) -> Value {
    json!({"name": name, "bridge": "postgres", "config": {"host": "db", "password": CANARY}})
}

#[tokio::test]
async fn a_managed_config_reaches_its_runner_and_is_shown_to_nobody() {
    let gateway = Gateway::start().await;
    let made = gateway.admin("POST", "/api/sources", managed("main")).await.expect(201);
    assert_eq!(made["bridge"], "@semilayer/bridge-postgres");
    assert_eq!(made["configFields"], json!(["host", "password"]));
    assert_eq!((&made["timeoutMs"], &made["origin"]), (&json!(30_000), &json!("api")));
    let (id, token) = gateway.runner("edge").await;
    gateway.admin("PUT", "/api/runners/edge/sources/main", Value::Null).await.expect(200);
    let (mut socket, ack) = Socket::open(&gateway, &id, &token).await.unwrap();
    assert_eq!(ack["assignedSources"][0]["config"]["password"], CANARY);
    let changed = json!({"config": {"password": "other-canary"}, "timeoutMs": 5000});
    let changed = gateway.admin("PATCH", "/api/sources/main", changed).await.expect(200);
    assert_eq!((&changed["configFields"], &changed["timeoutMs"]), (&json!(["password"]), &json!(5000)));
    assert_eq!(socket.frame().await["assignedSources"][0]["config"], json!({"password": "other-canary"}));
    for path in ["/api/sources", "/api/sources/main", "/api/config", "/api/audit", "/api/runners/edge"] {
        let answer = gateway.admin("GET", path, Value::Null).await;
        assert_eq!(answer.status, 200, "{path}");
        assert!(!answer.text.contains("canary"), "{path}");
    }
}

#[tokio::test]
async fn credentials_are_encrypted_in_every_file_of_the_gateway() {
    let gateway = Gateway::start().await;
    gateway.admin("POST", "/api/sources", managed("main")).await.expect(201);
    let push = json!({"sources": {"pushed": {"bridge": "mysql", "password": CANARY}}});
    gateway.admin("PUT", "/api/config", push).await.expect(200);
    let open = gateway.folder.contents();
    let (folder, _) = gateway.stop().await;
    for bytes in [open, folder.contents()] {
        assert!(bytes.len() > 10_000, "nothing was read");
        assert!(!bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
        assert!(bytes.windows(4).any(|window| window == b"main"), "the search would not find anything");
    }
}

#[cfg(unix)]
#[tokio::test]
async fn every_file_of_the_gateway_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt as _;
    let gateway = Gateway::start().await;
    gateway.admin("POST", "/api/sources", managed("main")).await.expect(201);
    let mut names = Vec::new();
    for file in std::fs::read_dir(gateway.folder.path()).unwrap() {
        let file = file.unwrap();
        let mode = file.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o600, "{}", file.path().display());
        names.push(file.file_name().into_string().unwrap());
    }
    names.sort_unstable();
    assert_eq!(
        names,
        ["gateway.db", "gateway.db-shm", "gateway.db-wal", "gateway.db.key", "gateway.db.lock"]
    );
}

#[tokio::test]
async fn a_switch_to_runner_local_wipes_the_settings() {
    let gateway = Gateway::start().await;
    gateway.admin("POST", "/api/sources", managed("main")).await.expect(201);
    let local = json!({"credentialsLocation": "runner-local"});
    let switched = gateway.admin("PATCH", "/api/sources/main", local).await.expect(200);
    assert_eq!(switched["configFields"], json!([]));
    let back = json!({"credentialsLocation": "managed"});
    let back = gateway.admin("PATCH", "/api/sources/main", back).await.expect(200);
    assert_eq!(back["configFields"], json!([]), "the old settings came back");
}

#[tokio::test]
async fn a_patch_of_settings_joins_those_that_are_here() {
    let gateway = Gateway::start().await;
    gateway.admin("POST", "/api/sources", managed("main")).await.expect(201);
    let (id, token) = gateway.runner("edge").await;
    gateway.admin("PUT", "/api/runners/edge/sources/main", Value::Null).await.expect(200);
    let (mut socket, _) = Socket::open(&gateway, &id, &token).await.unwrap();
    let change = json!({"configPatch": {"port": 5433, "host": "db2", "pool": {"max": 5}}, "timeoutMs": 5000});
    let changed = gateway.admin("PATCH", "/api/sources/main", change).await;
    assert!(!changed.text.contains("db2") && !changed.text.contains(CANARY), "{}", changed.text);
    let changed = changed.expect(200);
    let details =
        ["timeout: 30000 → 5000", "config.host: changed", "config.pool: added", "config.port: added"];
    assert_eq!(changed["changes"], json!(details));
    let config = json!({"host": "db2", "password": CANARY, "pool": {"max": 5}, "port": 5433});
    assert_eq!(socket.frame().await["assignedSources"][0]["config"], config);
    let away = json!({"configPatch": {"port": null, "pool": null, "host": "db2"}});
    let away = gateway.admin("PATCH", "/api/sources/main", away).await.expect(200);
    assert_eq!(away["configFields"], json!(["host", "password"]));
    assert_eq!(away["changes"], json!(["config.pool: removed", "config.port: removed"]));
    let both = json!({"config": {"host": "x"}, "configPatch": {"port": 1}});
    assert_eq!(gateway.admin("PATCH", "/api/sources/main", both).await.wrong_field(), "configPatch");
}

#[tokio::test]
async fn what_no_bridge_can_have_is_refused_as_a_setting() {
    let gateway = Gateway::start().await;
    for (name, shown) in
        [("pool.max", "config.\"pool.max\""), ("pass word", "config.\"pass word\""), ("", "config.\"\"")]
    {
        let body = json!({"name": "a", "bridge": "sqlite", "config": {name: CANARY}});
        let refused = gateway.admin("POST", "/api/sources", body.clone()).await;
        assert_eq!(refused.wrong_field(), shown);
        assert!(!refused.text.contains(CANARY), "{}", refused.text);
        let push = json!({"sources": {"a": {"bridge": "sqlite", "config": {name: CANARY}}}});
        let refused = gateway.admin("PUT", "/api/config", push).await;
        assert!(
            refused.expect(400)["mistakes"][0]["message"]
                .as_str()
                .unwrap()
                .starts_with("expected a setting's name")
        );
    }
}

#[tokio::test]
async fn a_bridge_that_no_connected_runner_has_is_accepted_with_a_warning() {
    let gateway = Gateway::start().await;
    let made =
        gateway.admin("POST", "/api/sources", json!({"name": "a", "bridge": "sqllite"})).await.expect(201);
    let warning = made["warnings"][0].as_str().unwrap();
    assert!(warning.ends_with("did you mean sqlite?"), "{warning}");
    let mended = gateway.admin("PATCH", "/api/sources/a", json!({"bridge": "sqlite"})).await.expect(200);
    assert_eq!(mended["warnings"], json!([]));
    assert_eq!(mended["changes"], json!(["bridge: sqllite → @semilayer/bridge-sqlite"]));
}

#[tokio::test]
async fn a_runner_local_source_takes_no_settings() {
    let gateway = Gateway::start().await;
    gateway.source("edge").await;
    let refused = gateway.admin("PATCH", "/api/sources/edge", json!({"config": {"password": "x"}})).await;
    assert_eq!(refused.wrong_field(), "config");
    let body = json!({"name": "b", "bridge": "sqlite", "credentialsLocation": "runner-local", "config": {"path": "x"}});
    assert_eq!(gateway.admin("POST", "/api/sources", body).await.wrong_field(), "config");
}

#[tokio::test]
async fn wrong_fields_are_named() {
    let gateway = Gateway::start().await;
    for (body, field) in [
        (json!({"bridge": "sqlite"}), "name"),
        (json!({"name": "a"}), "bridge"),
        (json!({"name": "a", "bridge": "Not A Package"}), "bridge"),
        (json!({"name": "a", "bridge": "sqlite", "config": "x"}), "config"),
        (json!({"name": "a", "bridge": "sqlite", "timeoutMs": 0}), "timeoutMs"),
        (json!({"name": "a", "bridge": "sqlite", "timeoutMs": -1}), "timeoutMs"),
        (json!({"name": "a", "bridge": "sqlite", "timeoutMs": 1.5}), "timeoutMs"),
        (json!({"name": "a", "bridge": "sqlite", "credentialsLocation": "elsewhere"}), "credentialsLocation"),
        (json!({"name": "a", "bridge": "sqlite", "password": CANARY}), "password"),
    ] {
        let refused = gateway.admin("POST", "/api/sources", body.clone()).await;
        assert_eq!(refused.wrong_field(), field, "{body}");
        assert!(!refused.text.contains(CANARY), "{}", refused.text);
    }
}

#[tokio::test]
async fn names_are_unique_and_what_is_not_there_is_404() {
    let gateway = Gateway::start().await;
    gateway.source("main").await;
    let taken = gateway.admin("POST", "/api/sources", json!({"name": "main", "bridge": "sqlite"})).await;
    assert_eq!(taken.refusal(), (409, "conflict".to_owned()));
    for (method, path) in [
        ("GET", "/api/sources/nope"),
        ("PATCH", "/api/sources/nope"),
        ("DELETE", "/api/sources/nope"),
        ("POST", "/api/sources/nope/test"),
    ] {
        assert_eq!(gateway.admin(method, path, json!({})).await.refusal().0, 404, "{method} {path}");
    }
}

#[tokio::test]
async fn a_source_that_a_lens_reads_is_not_deleted() {
    let gateway = Gateway::start().await;
    gateway.source("main").await;
    let lens =
        json!({"lenses": {"l": {"source": "main", "table": "t", "fields": {"id": {"type": "number"}}}}});
    gateway.admin("PUT", "/api/config", lens).await.expect(200);
    let shown = gateway.admin("GET", "/api/sources/main", Value::Null).await.expect(200);
    assert_eq!(shown["lenses"], json!(["l"]));
    assert_eq!(gateway.admin("DELETE", "/api/sources/main", Value::Null).await.refusal().0, 409);
    gateway.admin("PUT", "/api/config", json!({"lenses": {}})).await.expect(200);
    gateway.admin("DELETE", "/api/sources/main", Value::Null).await.expect(204);
}

#[tokio::test]
async fn a_test_runs_on_a_runner_and_says_what_failed() {
    let gateway = Gateway::start().await;
    gateway.source("main").await;
    let nobody = gateway.admin("POST", "/api/sources/main/test", json!({})).await;
    assert_eq!(nobody.refusal(), (503, "no_runners_online".to_owned()));
    let (id, token) = gateway.runner("edge").await;
    gateway.admin("PUT", "/api/runners/edge/sources/main", Value::Null).await.expect(200);
    let (mut socket, _) = Socket::open(&gateway, &id, &token).await.unwrap();
    let runner = async {
        for answer in ["done", "error"] {
            let job = socket.frame().await;
            assert_eq!(job["params"]["job"]["kind"], "test");
            assert_eq!(job["params"]["source"], "main");
            let code = "SOURCE_UNREACHABLE";
            socket
                .send(&json!({"type": answer, "id": job["id"], "code": code, "message": "no route to db"}))
                .await;
        }
    };
    let operator = async {
        let tested = gateway.admin("POST", "/api/sources/main/test", json!({})).await.expect(200);
        assert_eq!((&tested["ok"], &tested["runner"]), (&json!(true), &json!("edge")));
        let failed = gateway.admin("POST", "/api/sources/main/test", json!({})).await;
        assert_eq!(failed.refusal(), (502, "SOURCE_UNREACHABLE".to_owned()));
    };
    futures::join!(runner, operator);
    let jobs = gateway.admin("GET", "/api/jobs", Value::Null).await.expect(200);
    assert_eq!(jobs["jobs"], json!([]));
}

#[tokio::test]
async fn a_job_under_way_is_listed() {
    let gateway = Gateway::start().await;
    gateway.source("main").await;
    let (id, token) = gateway.runner("edge").await;
    gateway.admin("PUT", "/api/runners/edge/sources/main", Value::Null).await.expect(200);
    let (mut socket, _) = Socket::open(&gateway, &id, &token).await.unwrap();
    let operator = async {
        let test = gateway.admin("POST", "/api/sources/main/test", json!({}));
        let watch = async {
            let job = socket.frame().await;
            let listed = gateway.eventually("/api/jobs", |jobs| jobs["jobs"][0]["status"] == "running").await;
            let listed = &listed["jobs"][0];
            assert_eq!((&listed["kind"], &listed["source"]), (&json!("test"), &json!("main")));
            assert_eq!(listed["runner"], "edge");
            socket.send(&json!({"type": "done", "id": job["id"]})).await;
        };
        futures::join!(test, watch).0.expect(200);
    };
    operator.await;
}
