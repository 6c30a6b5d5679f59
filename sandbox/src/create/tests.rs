use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::request::{Extract, Overrides, Seed};
use crate::{ExtractLimits, Transfer};

fn options() -> Options {
    Options::new("/state")
}

fn spec(request: &Request) -> Spec {
    Spec::of(request, &options()).unwrap()
}

fn request() -> Request {
    // A fixed account, whoever runs the tests.
    Request { user: Some("65534:65534".to_owned()), ..Request::new("alpine:3.19") }
}

fn id() -> RunId {
    "light-runner-00000000-000".parse().unwrap()
}

fn body_in(request: &Request, place: Place<'_>) -> Value {
    let spec = spec(request);
    let making = Making {
        id: &id(),
        owner: "6a1f0e3c-0000-4000-8000-000000000000",
        image: "alpine:3.19",
        network: "none",
        place,
        private_cgroup: true,
        quota: true,
    };
    serde_json::to_value(spec.body(&making)).unwrap()
}

fn body(request: &Request) -> Value {
    body_in(request, Place::Volume)
}

fn refused(request: Request) -> String {
    let error = Spec::of(&request, &options()).unwrap_err();
    assert_eq!(error.code(), crate::SandboxErrorCode::InvalidRequest);
    error.field().unwrap().to_owned()
}

#[test]
fn the_walls_of_an_attached_run_stand_as_written_here() {
    let request = Request { command: Command::Shell("echo hi".to_owned()), ..request() };
    let expected = json!({
        "Image": "alpine:3.19",
        "User": "65534:65534",
        "WorkingDir": "/app",
        "Env": ["HOME=/tmp"],
        "Entrypoint": ["sh"],
        "Cmd": ["-c", "echo hi"],
        "Tty": false,
        "OpenStdin": false,
        "StdinOnce": false,
        "AttachStdin": false,
        "AttachStdout": true,
        "AttachStderr": true,
        "Healthcheck": {"Test": ["NONE"]},
        "Labels": {
            "light-runner.run-id": "light-runner-00000000-000",
            "light-runner.owner": "6a1f0e3c-0000-4000-8000-000000000000",
            "light-runner.detached": "false",
        },
        "HostConfig": {
            "Memory": 536_870_912,
            "MemorySwap": 536_870_912,
            "NanoCpus": 1_000_000_000,
            "PidsLimit": 100,
            "Ulimits": [
                {"Name": "nofile", "Soft": 16_384, "Hard": 16_384},
                {"Name": "core", "Soft": 0, "Hard": 0},
                {"Name": "fsize", "Soft": 1_073_741_824, "Hard": 1_073_741_824},
            ],
            "OomScoreAdj": 500,
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges"],
            "ReadonlyRootfs": true,
            "Init": true,
            "AutoRemove": false,
            "IpcMode": "private",
            "ShmSize": 67_108_864,
            "CgroupnsMode": "private",
            "NetworkMode": "none",
            "LogConfig": {"Type": "none"},
            "Mounts": [{"Type": "volume", "Target": "/app", "VolumeOptions": {"NoCopy": false}}],
            "Tmpfs": {"/tmp": "rw,exec,nosuid,nodev,mode=1777,size=67108864"},
        },
    });
    assert_eq!(body(&request), expected);
}

#[test]
fn a_detached_run_has_the_same_walls_a_bounded_log_and_no_stdio() {
    let attached = body(&request());
    let mut detached = body(&Request { detached: true, ..request() });
    assert_eq!(detached["AttachStdout"], false);
    assert_eq!(detached["AttachStderr"], false);
    assert_eq!(detached["Labels"]["light-runner.detached"], "true");
    let log = json!({"Type": "local", "Config": {"max-size": "16m", "max-file": "2"}});
    assert_eq!(detached["HostConfig"]["LogConfig"], log);
    detached["HostConfig"]["LogConfig"] = attached["HostConfig"]["LogConfig"].clone();
    assert_eq!(detached["HostConfig"], attached["HostConfig"]);
}

#[test]
fn input_opens_stdin_once() {
    let with_input = body(&Request { input: Some("x".into()), ..request() });
    for field in ["OpenStdin", "StdinOnce", "AttachStdin"] {
        assert_eq!(with_input[field], true, "{field}");
    }
    assert_eq!(refused(Request { input: Some("x".into()), detached: true, ..request() }), "input");
}

#[test]
fn without_a_command_the_images_own_runs() {
    let image = body(&request());
    assert!(image.get("Entrypoint").is_none() && image.get("Cmd").is_none());
    let words = ["python3", "-c", "print(1)"].map(str::to_owned).to_vec();
    let words = body(&Request { command: Command::Argv(words), ..request() });
    assert_eq!((&words["Entrypoint"], &words["Cmd"]), (&json!(["python3"]), &json!(["-c", "print(1)"])));
    for command in [Command::Argv(vec![]), Command::Shell(String::new()), Command::Shell("a\0b".into())] {
        assert_eq!(refused(Request { command, ..request() }), "command");
    }
}

#[test]
fn units_are_bytes_and_billionths_and_never_above_what_is_granted() {
    let asked = |limits| {
        let body = body(&Request { limits, ..request() });
        let host = &body["HostConfig"];
        (
            host["Memory"].as_i64().unwrap(),
            host["NanoCpus"].as_i64().unwrap(),
            host["PidsLimit"].as_i64().unwrap(),
        )
    };
    let lower = Overrides { memory: Some(256 << 20), cpus: Some(0.5), pids: Some(10) };
    assert_eq!(asked(lower), (268_435_456, 500_000_000, 10));
    let higher = Overrides { memory: Some(1 << 40), cpus: Some(64.0), pids: Some(100_000) };
    assert_eq!(asked(higher), (536_870_912, 1_000_000_000, 100));
}

#[test]
fn a_limit_that_would_be_none_is_refused() {
    let limits = |limits| refused(Request { limits, ..request() });
    assert_eq!(limits(Overrides { memory: Some(0), ..Overrides::default() }), "memory");
    assert_eq!(limits(Overrides { pids: Some(0), ..Overrides::default() }), "pids");
    for cpus in [0.0, -1.0, f64::NAN, 0.001] {
        let asked = Overrides { cpus: Some(cpus), ..Overrides::default() };
        assert_eq!(limits(asked), "cpus", "{cpus}");
    }
    let options = Options { disk: 0, ..options() };
    assert_eq!(Spec::of(&request(), &options).unwrap_err().field(), Some("disk"));
}

#[test]
fn names_that_no_shell_could_set_are_dropped_from_the_environment() {
    let variables =
        [("FOO", "bar"), ("1X", ""), ("A-B", ""), ("A B", ""), ("A;B", ""), ("", ""), ("HOME", "/root")];
    let env = variables.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    assert_eq!(body(&Request { env, ..request() })["Env"], json!(["FOO=bar", "HOME=/root"]));
    let env = [("A".to_owned(), "x\0y".to_owned())].into();
    assert_eq!(refused(Request { env, ..request() }), "env.A");
}

#[test]
fn a_workdir_is_a_mount_point_and_never_options_of_a_mount() {
    let at = |workdir: &str| body(&Request { workdir: Some(workdir.to_owned()), ..request() });
    let custom = at("//custom/./work/");
    assert_eq!(custom["WorkingDir"], "/custom/work");
    assert_eq!(custom["HostConfig"]["Mounts"][0]["Target"], "/custom/work");
    assert_eq!(at("/app:ro")["HostConfig"]["Mounts"][0]["Target"], "/app:ro");
    for workdir in ["", "app", "/", "/../etc", "/a/../b", "/proc/self", "/sys", "/dev/shm", "/a\nb"] {
        assert_eq!(
            refused(Request { workdir: Some(workdir.to_owned()), ..request() }),
            "workdir",
            "{workdir}"
        );
    }
    let in_tmp = at("/tmp");
    assert!(in_tmp["HostConfig"].get("Tmpfs").is_none());
    assert_eq!(in_tmp["HostConfig"]["Mounts"].as_array().unwrap().len(), 1);
}

#[test]
fn a_shared_folder_is_bound_or_a_volume_that_takes_the_images_files() {
    let folder = PathBuf::from("/state/work/x/app-1");
    let place = |brings_files| Place::Shared { workdir: &folder, tmp: None, brings_files };
    let seeded = Request { seed: Some(Seed::Files([].into())), ..request() };
    let bind = json!([{
        "Type": "bind", "Source": "/state/work/x/app-1", "Target": "/app",
        "BindOptions": {"Propagation": "rprivate"},
    }]);
    assert_eq!(body_in(&seeded, place(false))["HostConfig"]["Mounts"], bind);
    let volume = json!([{
        "Type": "volume", "Target": "/app",
        "VolumeOptions": {"NoCopy": false, "DriverConfig": {
            "Name": "local", "Options": {"type": "none", "o": "bind", "device": "/state/work/x/app-1"},
        }},
    }]);
    assert_eq!(body_in(&request(), place(true))["HostConfig"]["Mounts"], volume);
}

#[test]
fn tmp_outlives_the_process_only_when_something_is_taken_from_it() {
    let taking = |from: &str, workdir: &str| {
        let extract = vec![Extract { from: from.to_owned(), to: "/results".into() }];
        let request = Request { extract, workdir: Some(workdir.to_owned()), ..request() };
        body(&request)["HostConfig"].get("Tmpfs").is_none()
    };
    assert!(taking("/tmp/result", "/app") && taking("//tmp/./result", "/app") && taking("/tmp", "/app"));
    assert!(!taking("result", "/app") && !taking("/tmpfile", "/app") && !taking("/etc/passwd", "/app"));
    assert!(!taking("result", "/tmp/work"), "a workdir in /tmp is a mount of its own");
    assert!(!taking("../tmp/result", "/app"), "refused later, entry by entry");
}

#[test]
fn networks_are_the_isolated_one_none_or_named_ones() {
    let of = |names: &[&str]| {
        let networks = names.iter().map(|name| (*name).to_owned()).collect();
        Spec::of(&Request { networks, ..request() }, &options()).map(|spec| spec.network)
    };
    assert_eq!(of(&[]).unwrap(), Network::Isolated);
    assert_eq!(of(&["none"]).unwrap(), Network::None);
    assert_eq!(of(&["a", "b"]).unwrap(), Network::Named(vec!["a".into(), "b".into()]));
    for names in
        [&["none", "a"][..], &["a", "none"], &["a", "a"], &["host"], &["container:x"], &[""], &["../x"]]
    {
        assert_eq!(of(names).unwrap_err().field(), Some("networks"), "{names:?}");
    }
}

#[test]
fn capabilities_are_added_back_to_root_alone_and_from_the_short_list() {
    let asking = |user: &str, names: &[&str]| Request {
        user: Some(user.to_owned()),
        capabilities: names.iter().map(|name| (*name).to_owned()).collect(),
        ..request()
    };
    let host = &body(&asking("root", &["CHOWN", "CAP_SETUID"]))["HostConfig"];
    assert_eq!((&host["CapDrop"], &host["CapAdd"]), (&json!(["ALL"]), &json!(["CHOWN", "SETUID"])));
    assert!(body(&asking("0:0", &[]))["HostConfig"].get("CapAdd").is_none());
    assert_eq!(refused(asking("1000", &["CHOWN"])), "capabilities");
    for name in ["SYS_ADMIN", "NET_RAW", "ALL", "chown", ""] {
        assert_eq!(refused(asking("root", &[name])), "capabilities", "{name}");
    }
}

#[test]
fn a_user_is_nobody_or_us_unless_one_is_named() {
    let default = Spec::of(&Request::new("a"), &options()).unwrap().user;
    assert!(!default.is_root && default.text != "0:0", "{default:?}");
    for user in ["", ":", "a b", "a:b:c", "-1", "../x", "a:"] {
        assert_eq!(refused(Request { user: Some(user.to_owned()), ..request() }), "user", "{user}");
    }
}

#[test]
fn a_writable_root_is_bounded_where_the_engine_can() {
    let writable = &body(&Request { writable_root: true, ..request() })["HostConfig"];
    assert_eq!(writable["ReadonlyRootfs"], false);
    assert_eq!(writable["StorageOpt"], json!({"size": "1073741824"}));
    assert!(body(&request())["HostConfig"].get("StorageOpt").is_none());
}

#[test]
fn only_other_runtimes_than_the_engines_own_are_named() {
    let of = |runtime| {
        let options = Options { runtime, ..options() };
        Spec::of(&request(), &options).unwrap().runtime
    };
    let name = |wanted| runtime(of(wanted));
    assert_eq!(name(ContainerRuntime::Runc), None);
    assert_eq!(name(ContainerRuntime::Runsc), Some("runsc"));
    assert_eq!(name(ContainerRuntime::Kata), Some("kata"));
}

#[test]
fn graphics_processors_are_named_as_docker_run_names_them() {
    let of = |gpus: &str| {
        let options = Options { gpus: Some(gpus.to_owned()), ..options() };
        Spec::of(&request(), &options).map(|spec| spec.gpus)
    };
    assert_eq!(of("").unwrap(), None);
    let all = of("all").unwrap().unwrap();
    assert_eq!((all.driver.as_deref(), all.count, all.device_ids), (Some("nvidia"), Some(-1), None));
    for (text, ids) in [
        ("0", vec!["0"]),
        ("0,1", vec!["0", "1"]),
        ("device=0", vec!["0"]),
        ("\"device=0,2\"", vec!["0", "2"]),
    ] {
        let request = of(text).unwrap().unwrap();
        assert_eq!(request.device_ids.unwrap(), ids, "{text}");
        assert_eq!(request.count, None, "{text}");
    }
    for text in ["; rm", "$(id)", "`id`", "-all", "|ls", "a&b", "x>y"] {
        assert_eq!(of(text).unwrap_err().field(), Some("gpus"), "{text}");
    }
}

#[test]
fn an_image_is_a_reference_and_nothing_else() {
    for image in ["", "a b", "a\nRUN x", "-v", "$(id)", "a/../b", "a//b", &"a".repeat(301)] {
        assert_eq!(refused(Request { image: image.to_owned(), ..request() }), "image", "{image}");
    }
    for image in ["alpine", "registry:5000/a/b_c:v1.2-x", "alpine@sha256:ab"] {
        assert_eq!(spec(&Request { image: image.to_owned(), ..request() }).image, image);
    }
}

#[test]
fn no_time_limit_is_asked_for_with_zero() {
    let of = |timeout| spec(&Request { timeout, ..request() }).timeout;
    assert_eq!(of(None), Some(Duration::from_secs(1200)));
    assert_eq!(of(Some(Duration::ZERO)), None);
    assert_eq!(of(Some(Duration::from_secs(1))), Some(Duration::from_secs(1)));
}

#[test]
fn the_bounds_of_extraction_and_the_way_of_files_are_no_part_of_the_container() {
    let options =
        Options { transfer: Transfer::Archive, extract: ExtractLimits { bytes: 1, entries: 1 }, ..options() };
    assert_eq!(Spec::of(&request(), &options).unwrap(), spec(&request()));
}
