//! Servers of a test's own: in a folder that goes away, with its servers, at the end of the test.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;

pub(crate) struct Own {
    path: PathBuf,
}

impl Own {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("semilayer-xtask-{}-{name}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Own { path }
    }

    /// `services` with these words, about the servers in this folder.
    pub(crate) fn command(&self, verb: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_xtask"));
        command.arg("services").args(verb.split_whitespace()).arg("--folder").arg(&self.path);
        command
    }

    pub(crate) fn services(&self, verb: &str) -> String {
        succeeded(&self.command(verb).output().unwrap())
    }

    /// Starts one from this machine's packages.
    pub(crate) fn up(&self, service: &str) -> Value {
        self.services(&format!("up --native --only {service}"));
        self.server(service)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.path
    }

    pub(crate) fn state(&self) -> Value {
        read(&self.path.join("state.json"))
    }

    pub(crate) fn server(&self, service: &str) -> Value {
        let state = self.state();
        let servers = state["servers"].as_array().unwrap();
        servers.iter().find(|server| server["service"] == service).unwrap().clone()
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        let down = self.command("down").output();
        let removed = fs::remove_dir_all(&self.path);
        if !std::thread::panicking() {
            succeeded(&down.unwrap());
            removed.unwrap();
        }
    }
}

pub(crate) fn read(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

pub(crate) fn succeeded(output: &Output) -> String {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// What a program prints, or its complaint.
pub(crate) fn said(command: &mut Command) -> Result<String, String> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if output.status.success() {
        Ok(text(&output.stdout))
    } else {
        Err(format!("{}{}", text(&output.stdout), text(&output.stderr)))
    }
}

pub(crate) fn pid(server: &Value) -> u64 {
    server["origin"]["pid"].as_u64().unwrap()
}

pub(crate) fn kill(pid: u64) {
    succeeded(&Command::new("sh").args(["-c", &format!("kill -9 {pid}")]).output().unwrap());
}

pub(crate) fn eventually(what: &str, condition: impl Fn() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "never: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub(crate) fn is_running(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}
