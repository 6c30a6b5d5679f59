//! The commands for those who write plugins, from the first line to a component that passes.

mod files;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use harness::folder::Folder;
use harness::plugins::guest;
use harness::process::{Finished, bare, program, run};
use harness::runner::RUNNER;
use harness::wait::secs;
use serde_json::{Value, json};
use tokio::process::Command;

use self::files::Files;

/// The names that a template has where a plugin has its own.
const TEMPLATE_NAMES: [(&str, &str); 2] =
    [("@example/bridge-template", "@acme/bridge-things"), ("Template", "Things")];

/// The root of the checkout.
fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A place to work in.
struct Desk {
    folder: Folder,
}

impl Desk {
    fn new() -> Self {
        Self { folder: Folder::new() }
    }

    fn path(&self, name: &str) -> String {
        self.folder.file(name)
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = program(RUNNER);
        command.env("HOME", self.folder.path()).current_dir(self.folder.path());
        command.arg("plugin").args(arguments);
        command
    }

    async fn run(&self, arguments: &[&str]) -> Finished {
        run(RUNNER, self.command(arguments), secs(200)).await
    }

    /// Builds as the user of this machine does, with what is on the machine already.
    async fn build(&self, project: &str) -> Finished {
        let mut command = self.command(&["build", project]);
        Self::with_tools(&mut command);
        run(RUNNER, command, secs(600)).await
    }

    /// Types a line into a shell, as the user of this machine does.
    async fn types(&self, line: &str) -> Finished {
        let mut shell = bare("sh");
        shell.args(["-c", line]).env("HOME", self.folder.path()).current_dir(self.folder.path());
        let own = program(RUNNER);
        let own = Path::new(own.as_std().get_program()).parent().unwrap().to_owned();
        let path = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths([own].into_iter().chain(env::split_paths(&path))).unwrap();
        shell.env("PATH", path);
        Self::with_tools(&mut shell);
        run(line, shell, secs(600)).await
    }

    fn with_tools(command: &mut Command) {
        for (name, below) in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")] {
            let usual = || env::var_os("HOME").map(|home| PathBuf::from(home).join(below).into_os_string());
            command.envs(env::var_os(name).or_else(usual).map(|value| (name, value)));
        }
        command.envs(env::var_os("RUSTUP_TOOLCHAIN").map(|value| ("RUSTUP_TOOLCHAIN", value)));
        // What a plugin depends on is built once, and not with every run of this test.
        let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("new-plugins");
        command.env("CARGO_TARGET_DIR", target).env("CARGO_NET_OFFLINE", "true");
    }

    /// A folder with nothing but a program of that name, which does what the script says.
    fn tools(&self, name: &str, script: &str) -> String {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = self.path("tools");
        fs::create_dir(&folder).unwrap();
        let file = Path::new(&folder).join(name);
        fs::write(&file, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        folder
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_plugin_builds_at_once_and_passes_when_it_is_written() {
    let desk = Desk::new();
    let (project, checkout) = (desk.path("my things"), checkout());
    let sdk = checkout.join("plugins-sdk");
    let made = ["new", "@acme/bridge-things", "--dir", &project, "--sdk", sdk.to_str().unwrap()];
    let made = desk.run(&made).await.ok();
    // The versions that this checkout was tested with; a new plugin without the file takes the newest.
    fs::copy(checkout.join("Cargo.lock"), Path::new(&project).join("Cargo.lock")).unwrap();

    // What is printed is typed.
    let (_, next) = made.split_once("next:\n").unwrap();
    let next: Vec<&str> = next.lines().take_while(|line| line.starts_with("  ")).collect();
    let [tools, build, test] = next[..] else { panic!("{made}") };
    desk.types(tools).await.ok();
    let shown = desk.types(build).await.ok();
    let told = desk.types(test).await;
    assert_eq!(told.code, Some(1), "{}", told.both());
    assert!(told.stdout.contains("read is still to be written, in src/lib.rs"), "{}", told.both());
    assert!(shown.starts_with("@acme/bridge-things 0.1.0, Things\n"), "{shown}");
    assert!(shown.contains("connects to   the host in baseUrl, and what the operator allows"), "{shown}");
    let component = format!("{project}/bridge-things.wasm");

    let files = Files::serve(&desk.path("served"));
    let first = format!("baseUrl={}/first", files.url());
    let unwritten = desk.run(&["test", &component, "--config", &first, "--json"]).await;
    assert_eq!(unwritten.code, Some(1), "{}", unwritten.both());
    let report: Value = serde_json::from_str(&unwritten.stdout).unwrap();
    assert_eq!(report["counts"]["failed"], 1, "{report}");
    assert!(report.to_string().contains("still to be written"), "{report}");

    let written = fs::read_to_string(sdk.join("templates/rust/written.rs")).unwrap();
    let written = TEMPLATE_NAMES.iter().fold(written, |text, (old, new)| text.replace(old, new));
    fs::write(Path::new(&project).join("src/lib.rs"), written).unwrap();
    desk.build(&project).await.ok();

    // The files of each database are served under its name.
    let seed = format!("cp -r \"$SEMILAYER_SEED_DIR\" {}/$SEMILAYER_SEED_DATABASE", files.folder());
    let (each, junit) = (format!("baseUrl={}/{{database}}", files.url()), desk.path("report.xml"));
    let full = ["test", &component, "--config", &each, "--seed", &seed, "--junit", &junit];
    let full = desk.run(&full).await.ok();
    assert!(full.trim_end().ends_with(" 0 failed"), "{full}");
    let junit = fs::read_to_string(&junit).unwrap();
    assert!(junit.contains("<testsuite name=\"@acme/bridge-things\"") && junit.contains("failures=\"0\""));

    let surveyed = desk.run(&["test", &component, "--config", &first, "--json"]).await.json();
    assert_eq!(surveyed["counts"]["failed"], 0, "{surveyed}");
    assert!(surveyed["counts"]["passed"].as_u64().unwrap() > 10, "{surveyed}");
}

#[tokio::test]
async fn every_plugin_of_ours_can_be_looked_at() {
    let desk = Desk::new();
    let names = [
        ("memory", "@semilayer-example/bridge-memory"),
        ("csv_http", "@semilayer-example/bridge-csv-http"),
        ("dialer", "@semilayer-test/bridge-dialer"),
    ];
    for (file, name) in names {
        let path = guest(file);
        let seen = desk.run(&["inspect", path.to_str().unwrap(), "--json"]).await.json();
        assert_eq!(seen["name"], name);
        assert_eq!(seen["manifest"]["packageName"], name);
        assert_eq!((&seen["witVersion"], &seen["signature"]["state"]), (&json!("0.1.0"), &json!("none")));
        assert_eq!(seen["sizeBytes"], fs::metadata(&path).unwrap().len());
        assert_eq!(seen["sha256"].as_str().unwrap().len(), 64);
        assert_eq!(seen["exports"], json!(["semilayer:bridge/bridge@0.1.0"]));
        assert_eq!(seen["imports"]["others"], json!([]));
        let text = desk.run(&["inspect", path.to_str().unwrap()]).await.ok();
        assert!(text.starts_with(name) && text.contains("settings "), "{text}");
    }
    let csv = desk.run(&["inspect", guest("csv_http").to_str().unwrap(), "--json"]).await.json();
    assert_eq!((&csv["endpoints"], &csv["provides"]), (&json!(["fileUrl"]), &json!(["read"])));
    assert_eq!(csv["byRunner"], json!(["query", "count", "batchRead", "aggregate", "search"]));
    assert!(csv["imports"]["runner"].to_string().contains("http@0.1.0"), "{csv}");
}

#[tokio::test]
async fn a_plugin_is_surveyed_with_what_its_settings_reach() {
    let desk = Desk::new();
    let files = Files::serve(&desk.path("served"));
    let rows = (1..=300).map(|id| format!("{id},{},{}\n", ["oak", "ash", "elm"][id % 3], id * 7 % 40));
    fs::write(
        Path::new(files.folder()).join("trees.csv"),
        format!("id,kind,height\n{}", rows.collect::<String>()),
    )
    .unwrap();
    let settings =
        desk.folder.write("source.toml", &format!("fileUrl = \"{}/trees.csv\"\nkey = \"id\"\n", files.url()));
    let component = guest("csv_http");
    let survey = ["test", component.to_str().unwrap(), "--config-file", &settings, "--target", "trees"];
    let report = desk.run(&survey).await.ok();
    assert!(report.contains("trees") && report.trim_end().ends_with(" 0 failed"), "{report}");
}

#[tokio::test]
async fn what_is_no_plugin_is_told_with_the_reason() {
    let desk = Desk::new();
    let module = desk.path("module.wasm");
    fs::write(&module, b"\0asm\x01\0\0\0").unwrap();
    let seen = desk.run(&["inspect", &module]).await;
    assert_eq!(seen.code, Some(1));
    assert!(seen.stderr.contains("a core module, not a component"), "{}", seen.stderr);
    let tested = desk.run(&["test", &module, "--json"]).await;
    assert_eq!(tested.code, Some(1), "{}", tested.both());
    let report: Value = serde_json::from_str(&tested.stdout).unwrap();
    assert_eq!(report["cases"][0]["id"], "load");
    assert!(report["cases"][0]["reason"].as_str().unwrap().contains("a core module"), "{report}");
}

#[tokio::test]
async fn what_was_typed_wrongly_is_named_and_exits_with_2() {
    let desk = Desk::new();
    let csv = guest("csv_http");
    let csv = csv.to_str().unwrap();
    fs::create_dir(desk.path("bridge-things")).unwrap();
    fs::write(desk.path("bridge-things/mine.txt"), "mine").unwrap();
    let wrong: [(&[&str], &[&str]); 10] = [
        (&["new", "My Things"], &["@acme/bridge-things"]),
        (&["new", "@semilayer/bridge-postgres"], &["compiled into the runner"]),
        (&["new", "@acme/bridge-things"], &["is there already", "--dir"]),
        (&["new", "things", "--lang", "cobol"], &["rust, python, js"]),
        (&["build", "bridge-things"], &["no plugin in", "plugin new NAME"]),
        (&["test", "nowhere.wasm"], &["nowhere.wasm"]),
        (&["test", csv], &["fileUrl: expected a value", "--config KEY=VALUE"]),
        (&["test", csv, "--config", "fileURL=http://localhost/a.csv"], &["did you mean fileUrl?"]),
        (&["test", csv, "--config", "runner.toml"], &["KEY=VALUE"]),
        (&["test", csv, "--only", "Z99"], &["--only Z99: there is no such case"]),
    ];
    for (arguments, words) in wrong {
        let finished = desk.run(arguments).await;
        assert_eq!(finished.code, Some(2), "{arguments:?}: {}", finished.both());
        for word in words {
            assert!(finished.stderr.contains(word), "{arguments:?} lacks {word:?}: {}", finished.stderr);
        }
    }
    assert_eq!(fs::read_to_string(desk.path("bridge-things/mine.txt")).unwrap(), "mine");
}

#[tokio::test]
async fn a_build_names_the_tool_that_is_missing_and_how_to_get_it() {
    let desk = Desk::new();
    desk.run(&["new", "things"]).await.ok();
    let missing = async |folder: &str, path: &str| {
        let mut command = desk.command(&["build", folder]);
        command.env("PATH", path);
        let finished = run(RUNNER, command, secs(60)).await;
        assert_eq!(finished.code, Some(1), "{}", finished.both());
        finished.stderr
    };
    assert!(missing("things", "/nonexistent").await.contains("https://sh.rustup.rs"));
    // A compiler that has no such target says where it would be.
    let tools = desk.tools("rustc", "echo /nonexistent/lib");
    let told = missing("things", &tools).await;
    assert!(told.contains("rustup target add wasm32-wasip2"), "{told}");

    for (folder, file, text, advice) in [
        ("in-python", "app.py", "", "pip install -r requirements.txt"),
        ("in-js", "package.json", r#"{"name": "x", "scripts": {"build": "true"}}"#, "npm install"),
    ] {
        fs::create_dir(desk.path(folder)).unwrap();
        fs::write(desk.path(&format!("{folder}/{file}")), text).unwrap();
        let told = missing(folder, "/nonexistent").await;
        assert!(told.contains(advice), "{told}");
    }
}

#[tokio::test]
async fn help_shows_every_flag_of_the_commands() {
    let desk = Desk::new();
    for (command, flags) in [
        ("new", &["--lang", "--dir", "--sdk"][..]),
        ("build", &["[DIR]"]),
        ("inspect", &["<FILE>", "--json"]),
        (
            "test",
            &["--config <KEY=VALUE>", "--config-file", "--allow", "--seed", "--only", "--json", "--junit"],
        ),
    ] {
        let help = desk.run(&[command, "--help"]).await.ok();
        for flag in flags {
            assert!(help.contains(flag), "{command} lacks {flag}: {help}");
        }
    }
}
