//! Docker engines of a test's own: what they leave of the machine, and of themselves. They need root, as their recipe
//! says.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::own::{Own, eventually, kill, pid, said};

const IMAGE: &str = "semilayer-test/busybox";

/// Its command line client.
fn docker(server: &Value, arguments: &[&str]) -> Result<String, String> {
    let client = Path::new(server["binDir"].as_str().unwrap()).join("docker");
    said(Command::new(client).args(["--host", server["host"].as_str().unwrap()]).args(arguments))
}

/// Whether anything that runs was started with this folder among its arguments.
fn runs_in(folder: &Path) -> bool {
    let needle = folder.to_str().unwrap().as_bytes();
    let processes = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let lines = processes.filter_map(|process| fs::read(process.path().join("cmdline")).ok());
    lines.into_iter().any(|line| line.windows(needle.len()).any(|part| part == needle))
}

#[test]
fn an_engine_hides_its_mounts_and_takes_its_containers_along() {
    let own = Own::new("engine");
    let server = own.up("docker-bare");
    docker(&server, &["run", "--detach", "--name", "sleeper", IMAGE, "sleep", "600"]).unwrap();
    let mounts = fs::read_to_string("/proc/mounts").unwrap();
    assert!(!mounts.contains(own.folder().to_str().unwrap()), "{mounts}");

    kill(pid(&server));
    eventually("the engine and its containers are gone", || !runs_in(own.folder()));
    own.services("restart docker-bare");
    let server = own.server("docker-bare");
    let list = docker(&server, &["ps", "--all", "--format", "{{.Names}} {{.State}}"]);
    assert_eq!(list.as_deref(), Ok("sleeper exited"));
    docker(&server, &["start", "sleeper"]).unwrap();

    own.services("down");
    eventually("nothing of the engine runs", || !runs_in(own.folder()));
    assert!(!own.folder().join("docker-bare").exists());
}

#[test]
fn an_engine_that_answers_is_used_filled_and_left_running() {
    let machine = Own::new("machine");
    let engine = machine.up("docker-bare");
    let own = Own::new("guest");
    let up = |own: &Own| {
        let mut command = own.command("up --only docker");
        said(command.env("DOCKER_HOST", engine["host"].as_str().unwrap())).unwrap()
    };
    let first = up(&own);
    assert!(first.contains("answers and is used"), "{first}");
    assert_eq!(own.server("docker")["origin"]["kind"], "found");
    let python = ["run", "--rm", "semilayer-test/python", "python", "-c", "print(6 * 7)"];
    assert_eq!(docker(&engine, &python).as_deref(), Ok("42"));
    let images = docker(&engine, &["images", "--quiet"]).unwrap();
    assert!(up(&own).contains("kept"));
    assert_eq!(docker(&engine, &["images", "--quiet"]).unwrap(), images);

    own.services("down");
    assert_eq!(docker(&engine, &["run", "--rm", IMAGE, "echo", "still there"]).as_deref(), Ok("still there"));
}

#[test]
fn an_engine_that_cannot_run_says_what_is_missing() {
    let own = Own::new("no-engine");
    let tools = own.folder().join("tools");
    fs::create_dir(&tools).unwrap();
    for tool in ["sh", "id", "openssl"] {
        let places = ["/usr/bin", "/bin"].map(|folder| Path::new(folder).join(tool));
        let found = places.iter().find(|place| place.exists()).unwrap();
        std::os::unix::fs::symlink(found, tools.join(tool)).unwrap();
    }
    let mut up = own.command("up --native --only docker-bare");
    let up = up.env("PATH", &tools).output().unwrap();
    let said = String::from_utf8_lossy(&up.stdout).into_owned();
    assert!(
        !up.status.success() && said.contains("no Docker engine can run here: unshare is not installed"),
        "{said}"
    );
}
