//! Images with the steps of `run` baked in.

use bollard::query_parameters::RemoveImageOptionsBuilder;
use sandbox::{Request, SandboxErrorCode};
use serde_json::json;
use uuid::Uuid;

use crate::support::{House, IMAGE, Told, shell};

/// A request with steps that no other test has, and the image that they make.
struct Baked {
    request: Request,
    tag: String,
}

fn baked(steps: &[&str], line: &str) -> Baked {
    let mine = format!("echo {} > /etc/of-this-test", Uuid::new_v4());
    let run: Vec<String> = std::iter::once(mine).chain(steps.iter().map(|step| (*step).to_owned())).collect();
    let canonical = json!([IMAGE, run]).to_string();
    let digest = ring::digest::digest(&ring::digest::SHA256, canonical.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Baked { request: Request { run, ..shell(line) }, tag: format!("light-runner-cache:{hex}") }
}

async fn run(house: &House, baked: &Baked) -> Told {
    house.run(baked.request.clone()).await
}

/// When the engine has made the image; none where it has not.
async fn made(house: &House, tag: &str) -> Option<String> {
    house.docker.inspect_image(tag).await.ok().map(|image| image.created.unwrap())
}

async fn forget(house: &House, tag: &str) {
    let options = RemoveImageOptionsBuilder::new().force(true).build();
    drop(house.docker.remove_image(tag, Some(options), None).await);
}

#[tokio::test]
async fn steps_are_built_once_and_what_they_made_is_seen_by_every_run() {
    let house = House::new();
    let baked = baked(&["echo first > /etc/first", "cat /etc/first > /etc/second"], "cat /etc/second");
    assert_eq!(run(&house, &baked).await.text(), "first\n");
    let first = made(&house, &baked.tag).await;
    assert!(first.is_some());
    assert_eq!(run(&house, &baked).await.text(), "first\n");
    assert_eq!(made(&house, &baked.tag).await, first);
    let index = std::fs::read_to_string(house.state_dir().join("cache-usage.json")).unwrap();
    assert!(index.contains(&baked.tag));
    assert_eq!(house.sandbox.list().unwrap().len(), 2, "the index is no run's state");
    forget(&house, &baked.tag).await;
}

#[tokio::test]
async fn the_same_steps_at_once_are_one_build() {
    let house = House::new();
    let baked = baked(&["date +%s%N > /etc/built; sleep 1"], "cat /etc/built");
    let told = futures::future::join_all((0..4).map(|_| run(&house, &baked))).await;
    let first = told[0].text();
    assert!(!first.is_empty() && told.iter().all(|told| told.text() == first));
    forget(&house, &baked.tag).await;
}

#[tokio::test]
async fn a_step_that_fails_is_told_with_its_output_and_leaves_no_image() {
    let house = House::new();
    let baked = baked(&["echo no such package; exit 7"], "true");
    let error = house.start(baked.request.clone()).outcome().await.unwrap_err();
    assert_eq!((error.code(), error.docker_op()), (SandboxErrorCode::BuildFailed, Some("build")));
    assert!(error.message().contains("no such package") && error.message().contains('7'), "{error}");
    assert_eq!(made(&house, &baked.tag).await, None);
    let again = house.start(baked.request.clone()).outcome().await.unwrap_err();
    assert_eq!(again.code(), SandboxErrorCode::BuildFailed);
}

#[tokio::test]
async fn a_step_that_is_no_line_of_a_dockerfile_is_refused_at_once() {
    let house = House::new();
    for step in ["", " ", "a\nUSER root", "a\rb", "a\0b", "a \\", "--mount=type=bind true"] {
        let refused = house.sandbox.start(Request { run: vec![step.to_owned()], ..shell("true") });
        assert_eq!(refused.unwrap_err().code(), SandboxErrorCode::InvalidRunStep, "{step:?}");
    }
}

#[tokio::test]
async fn images_that_were_not_used_for_a_week_are_swept_and_used_ones_are_not() {
    let house = House::new();
    let (old, fresh) = (baked(&[], "true"), baked(&[], "true"));
    for baked in [&old, &fresh] {
        run(&house, baked).await;
    }
    let index = house.state_dir().join("cache-usage.json");
    let mut times: serde_json::Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    times[&old.tag] = json!(times[&old.tag].as_u64().unwrap() - 8 * 24 * 3600 * 1000);
    std::fs::write(&index, times.to_string()).unwrap();
    assert!(house.sandbox.maintain().await.cache_images >= 1);
    assert_eq!(made(&house, &old.tag).await, None);
    assert!(made(&house, &fresh.tag).await.is_some());
    forget(&house, &fresh.tag).await;
}
