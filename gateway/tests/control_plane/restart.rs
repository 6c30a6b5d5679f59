//! What outlives the process, and what must stop it from starting.

use semilayer_gateway::error::StartError;
use serde_json::{Value, json};

use crate::harness::{Folder, Gateway};

#[tokio::test]
async fn a_restart_keeps_everything() {
    let gateway = Gateway::start().await;
    gateway.runner("edge").await;
    let source = json!({"name": "main", "bridge": "postgres", "config": {"password": "x"}});
    gateway.admin("POST", "/api/sources", source).await.expect(201);
    gateway.admin("PUT", "/api/runners/edge/sources/main", Value::Null).await.expect(200);
    gateway.admin("POST", "/api/keys", json!({"name": "k", "kind": "public"})).await.expect(201);
    let lens =
        json!({"lenses": {"l": {"source": "main", "table": "t", "fields": {"id": {"type": "number"}}}}});
    gateway.admin("PUT", "/api/config", lens).await.expect(200);
    let paths = ["/api/runners", "/api/sources", "/api/keys", "/api/config", "/api/audit"];
    let look = async |gateway: &Gateway| {
        let mut seen = Vec::new();
        for path in paths {
            seen.push(gateway.admin("GET", path, Value::Null).await.expect(200));
        }
        seen
    };
    let before = look(&gateway).await;
    let (folder, admin) = gateway.stop().await;
    let gateway = Gateway::start_in(folder, Some(admin), &[]).await.ok().unwrap();
    assert_eq!(look(&gateway).await, before);
}

#[tokio::test]
async fn another_master_key_is_refused_and_changes_nothing() {
    let gateway = Gateway::start().await;
    let source = json!({"name": "main", "bridge": "postgres", "config": {"password": "x"}});
    gateway.admin("POST", "/api/sources", source).await.expect(201);
    let (folder, admin) = gateway.stop().await;
    let before = std::fs::read(folder.path().join("gateway.db")).unwrap();
    let other = ("SEMILAYER_MASTER_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=");
    let (error, folder) = Gateway::start_in(folder, Some(admin.clone()), &[other]).await.err().unwrap();
    assert!(matches!(error, StartError::OtherMasterKey), "{error}");
    assert_eq!(std::fs::read(folder.path().join("gateway.db")).unwrap(), before);
    assert!(Gateway::start_in(folder, Some(admin), &[]).await.is_ok());
}

#[tokio::test]
async fn a_store_whose_key_file_is_gone_is_refused() {
    let (folder, admin) = Gateway::start().await.stop().await;
    std::fs::remove_file(folder.path().join("gateway.db.key")).unwrap();
    let (error, folder) = Gateway::start_in(folder, Some(admin), &[]).await.err().unwrap();
    assert!(matches!(error, StartError::KeyMissing { .. }), "{error}");
    assert!(!folder.path().join("gateway.db.key").exists(), "a new key would only look like the lost one");
}

#[tokio::test]
async fn a_second_gateway_on_the_same_store_is_refused() {
    let (folder, admin) = Gateway::start().await.stop().await;
    let database = folder.path().join("gateway.db");
    let lock = std::fs::File::open(folder.path().join("gateway.db.lock")).unwrap();
    lock.lock().unwrap();
    let (error, folder) = Gateway::start_in(folder, Some(admin.clone()), &[]).await.err().unwrap();
    assert!(matches!(&error, StartError::InUse { path } if *path == database), "{error}");
    drop(lock);
    assert!(Gateway::start_in(folder, Some(admin), &[]).await.is_ok());
}

#[tokio::test]
async fn a_first_start_on_a_taken_port_leaves_its_admin_token_to_the_next() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let environment = [("SEMILAYER_LISTEN", address.as_str())];
    let (error, folder) = Gateway::start_in(Folder::new(), None, &environment).await.err().unwrap();
    assert!(matches!(error, StartError::Bind { .. }), "{error}");
    assert!(!folder.path().join("gateway.db").exists());
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_and_kept() {
    let folder = Folder::new();
    std::fs::write(folder.path().join("gateway.db"), "this is a letter, not a database").unwrap();
    let (error, folder) = Gateway::start_in(folder, None, &[]).await.err().unwrap();
    assert!(matches!(error, StartError::Store(_)), "{error}");
    let kept = std::fs::read(folder.path().join("gateway.db")).unwrap();
    assert!(kept.starts_with(b"this is a letter"));
}

#[tokio::test]
async fn a_token_of_the_environment_stands_in_for_the_kept_one() {
    let (folder, admin) = Gateway::start().await.stop().await;
    let environment = [("SEMILAYER_ADMIN_TOKEN", "a-long-enough-token")];
    let gateway = Gateway::start_in(folder, Some(admin.clone()), &environment).await.ok().unwrap();
    let ask =
        async |token: &str| gateway.ask("GET", "/api/runners", Some(token), &[], String::new()).await.status;
    assert_eq!(ask("a-long-enough-token").await, 200);
    assert_eq!(ask(&admin).await, 401);
}
