//! What a run leaves, and how it is fetched.

use harness::http::{Answer, Request};
use harness::sandbox::Door;
use serde_json::{Value, json};

async fn left(door: &Door, line: &str, extract: &[&str]) -> (String, Value) {
    let run = door.shell(line, json!({"extract": extract})).await;
    assert_eq!(run["status"], "succeeded", "{run}");
    (run["id"].as_str().unwrap().to_owned(), run)
}

async fn fetch(door: &Door, id: &str, path: &str) -> Answer {
    door.get(&format!("/runs/{id}/artifacts/{path}")).await
}

#[tokio::test]
async fn results_are_listed_and_fetched() {
    let door = Door::start().await;
    let line = "mkdir -p out/deep/er; printf 123 > out/a.txt; printf 45678 > out/deep/er/b.bin";
    let (id, run) = left(&door, line, &["out/"]).await;
    let expected = json!([
        {"path": "a.txt", "bytes": 3, "type": "file"},
        {"path": "deep", "bytes": 0, "type": "directory"},
        {"path": "deep/er", "bytes": 0, "type": "directory"},
        {"path": "deep/er/b.bin", "bytes": 5, "type": "file"},
    ]);
    assert_eq!(run["artifacts"], expected);
    assert_eq!(door.get(&format!("/runs/{id}/artifacts")).await.ok(), expected);
    assert_eq!(run["extracted"][0]["status"], "ok");
    let file = fetch(&door, &id, "deep/er/b.bin").await;
    assert_eq!((file.status, file.text().as_str()), (200, "45678"));
    assert_eq!(file.header("content-type"), Some("application/octet-stream"));
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"b.bin\""));
    assert_eq!(fetch(&door, &id, "deep").await.ok(), json!([{"path": "er", "type": "directory"}]));
    let head = door.send(Request::new("HEAD", format!("/runs/{id}/artifacts/a.txt"))).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, Some("3"), 0));
}

#[tokio::test]
async fn each_entry_says_how_it_went_and_no_folder_of_the_server_is_named() {
    let door = Door::start().await;
    let line = "echo x > good; mkdir bad; ln -s /etc/passwd link";
    let (_, run) = left(&door, line, &["good", "missing", "link"]).await;
    let statuses: Vec<&Value> =
        run["extracted"].as_array().unwrap().iter().map(|entry| &entry["status"]).collect();
    assert_eq!(statuses, [&json!("ok"), &json!("missing"), &json!("error")], "{run}");
    assert!(!run.to_string().contains(door.states().to_str().unwrap()), "{run}");
    assert_eq!(run["artifacts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_run_that_fails_leaves_nothing() {
    let door = Door::start().await;
    let run = door.shell("echo x > out; exit 4", json!({"extract": ["out"]})).await;
    assert!(run["status"] == "failed" && run.get("artifacts").is_none(), "{run}");
    assert!(door.kept().is_empty(), "{:?}", door.kept());
}

#[tokio::test]
async fn no_path_leads_out_of_the_run() {
    let door = Door::start().await;
    let (id, _) = left(&door, "mkdir out; echo x > out/f", &["out"]).await;
    for path in ["..", "../x", "%2E%2E%2Fx", "f/..", "a/..%2F..%2Fx", "..%5Cx", ""] {
        let answer = fetch(&door, &id, path).await;
        assert_eq!((answer.status, answer.json()), (400, json!({"error": "invalid_path"})), "{path}");
    }
    for path in ["x", "f/x", "./f", "%2Fetc%2Fpasswd", "/f"] {
        let answer = fetch(&door, &id, path).await;
        assert_eq!((answer.status, answer.json()), (404, json!({"error": "artifact_not_found"})), "{path}");
    }
}

/// Somebody else has put it there: the server itself keeps no links.
#[tokio::test]
async fn a_link_among_the_artifacts_is_not_followed() {
    let door = Door::start().await;
    let (id, _) = left(&door, "echo x > f", &["f"]).await;
    std::os::unix::fs::symlink("/etc/passwd", door.artifacts().join(&id).join("link")).unwrap();
    std::os::unix::fs::symlink("/etc", door.artifacts().join(&id).join("folder")).unwrap();
    for path in ["link", "folder", "folder/passwd"] {
        assert_eq!(fetch(&door, &id, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn any_name_can_be_fetched() {
    let door = Door::start().await;
    let line =
        "mkdir out; cd out; echo 1 > größe.txt; echo 2 > a..b.txt; echo 3 > 'q\"u.txt'; echo 4 > ' %41'";
    let (id, _) = left(&door, line, &["out"]).await;
    let file = fetch(&door, &id, "gr%C3%B6%C3%9Fe.txt").await;
    assert_eq!(file.text(), "1\n");
    let disposition = "attachment; filename=\"gr__e.txt\"; filename*=UTF-8''gr%C3%B6%C3%9Fe.txt";
    assert_eq!(file.header("content-disposition"), Some(disposition));
    assert_eq!(fetch(&door, &id, "a..b.txt").await.text(), "2\n");
    assert_eq!(fetch(&door, &id, "q%22u.txt").await.text(), "3\n");
    assert_eq!(fetch(&door, &id, "%20%2541").await.text(), "4\n");
}

#[tokio::test]
async fn a_download_goes_on_where_it_broke_off() {
    let door = Door::start().await;
    let (id, _) = left(
        &door,
        "head -c 3145728 /dev/urandom > big; sha256sum big | cut -d' ' -f1 > sum",
        &["big", "sum"],
    )
    .await;
    let whole = fetch(&door, &id, "big").await;
    assert_eq!((whole.status, whole.body.len()), (200, 3_145_728));
    let tag = whole.header("etag").unwrap();
    let ask = |range: &str, condition: &str| {
        Request::get(format!("/runs/{id}/artifacts/big")).header("range", range).header("if-range", condition)
    };
    let rest = door.send(ask("bytes=1000000-", tag)).await;
    assert_eq!((rest.status, rest.header("content-range")), (206, Some("bytes 1000000-3145727/3145728")));
    assert_eq!(rest.body, whole.body.slice(1_000_000..));
    assert_eq!(door.send(ask("bytes=1000000-", "\"other\"")).await.status, 200);
    let beyond = Request::get(format!("/runs/{id}/artifacts/big")).header("range", "bytes=9999999-");
    assert_eq!(door.send(beyond).await.status, 416);
    let known = Request::get(format!("/runs/{id}/artifacts/big")).header("if-none-match", tag);
    assert_eq!(door.send(known).await.status, 304);
    let sum = ring::digest::digest(&ring::digest::SHA256, &whole.body);
    let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(fetch(&door, &id, "sum").await.text().trim(), sum);
}

#[tokio::test]
async fn the_oldest_run_makes_room_for_the_newest() {
    let door = Door::start_with(&[("LIGHT_RUN_MAX_ARTIFACTS_BYTES", "200")]).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(left(&door, "head -c 100 /dev/zero > f", &["f"]).await.0);
    }
    let status = async |id: &str| door.get(&format!("/runs/{id}")).await.status;
    assert_eq!((status(&ids[0]).await, status(&ids[1]).await, status(&ids[2]).await), (404, 200, 200));
    assert!(!door.artifacts().join(&ids[0]).exists() && door.artifacts().join(&ids[2]).exists());
    // What is larger than all that there may be makes the others go.
    left(&door, "head -c 300 /dev/zero > f", &["f"]).await;
    assert_eq!((status(&ids[1]).await, status(&ids[2]).await), (404, 404));
}
