//! The program itself: how it is called, and how it ends when it cannot do that.

use harness::folder::Folder;
use harness::process::{Finished, run};
use harness::sandbox::{Door, SANDBOX, command};
use harness::wait::secs;

async fn call(arguments: &[&str], variables: &[(&str, &str)]) -> Finished {
    let folder = Folder::new();
    let mut command = command(&folder, "unix:///nowhere/docker.sock");
    command.args(arguments).envs(variables.iter().copied());
    run(SANDBOX, command, secs(30)).await
}

#[tokio::test]
async fn usage_is_1_and_wrong_values_are_2() {
    let nothing = call(&[], &[]).await;
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.both().contains("Usage: semilayer-sandbox"), "{}", nothing.both());
    assert_eq!(call(&["serve", "--prot", "1"], &[]).await.code, Some(1));
    for (flag, variable) in [("--port", "LIGHT_RUN_PORT"), ("--body-limit", "LIGHT_RUN_BODY_LIMIT")] {
        assert_eq!(call(&["serve", flag, "many"], &[]).await.code, Some(2), "{flag}");
        let wrong = call(&["serve"], &[(variable, "many")]).await;
        assert_eq!(wrong.code, Some(2), "{variable}");
        assert!(wrong.stderr.contains(variable), "{}", wrong.stderr);
    }
    for asked in ["--help", "-h", "--version", "-v"] {
        let finished = call(&[asked], &[]).await;
        assert!(finished.code == Some(0) && !finished.stdout.is_empty(), "{asked}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_as_such() {
    let door = Door::start().await;
    let port = door.address().port().to_string();
    let second = call(&["serve", "--port", &port], &[]).await;
    assert_eq!(second.code, Some(2));
    assert!(second.stderr.contains("another program listens there"), "{}", second.stderr);
}

#[tokio::test]
async fn nobody_listens_beyond_this_machine_without_a_token_by_accident() {
    let refused = call(&["serve", "--host", "0.0.0.0", "--port", "0"], &[]).await;
    assert_eq!(refused.code, Some(2));
    assert!(refused.stderr.contains("SEMILAYER_SANDBOX_TOKEN"), "{}", refused.stderr);
}

#[tokio::test]
async fn the_description_can_be_printed() {
    let document = call(&["export-openapi"], &[]).await.json();
    assert!(document["paths"]["/run"]["post"].is_object());
}
