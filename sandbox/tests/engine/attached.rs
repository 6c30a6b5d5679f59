//! Runs that their caller waits for.

use std::time::Instant;

use bytes::Bytes;
use harness::docker::Engine;
use sandbox::{Command, Request, SandboxErrorCode, Transfer};
use tokio::sync::mpsc;

use crate::support::{House, IMAGE, gathered, secs, shell, within};

#[tokio::test]
async fn a_run_tells_its_output_and_its_exit_code() {
    let house = House::new();
    let told = house.shell("echo hi; echo no >&2").await;
    assert_eq!((told.text(), told.errors()), ("hi\n", "no\n"));
    assert_eq!(told.outcome.exit_code, 0);
    assert!(told.outcome.success() && !told.outcome.cancelled && !told.outcome.timed_out);
}

#[tokio::test]
async fn an_exit_code_other_than_zero_is_an_outcome_and_no_success() {
    let house = House::new();
    let told = house.shell("exit 3").await;
    assert_eq!(told.outcome.exit_code, 3);
    assert!(!told.outcome.success());
}

#[tokio::test]
async fn the_outcome_can_be_asked_for_again_and_by_several() {
    let house = House::new();
    let execution = house.start(shell("exit 5"));
    let again = house.sandbox.attach(execution.id()).await.unwrap().unwrap();
    let (one, other) = tokio::join!(execution.outcome(), again.outcome());
    assert_eq!(one.unwrap(), other.unwrap());
    assert_eq!(execution.outcome().await.unwrap().exit_code, 5);
}

#[tokio::test]
async fn words_are_run_without_a_shell() {
    let house = House::new();
    let words = ["echo", "$HOME", "a b", ";", "*"].map(str::to_owned).to_vec();
    let told = house.run(Request { command: Command::Argv(words), ..shell("") }).await;
    assert_eq!(told.text(), "$HOME a b ; *\n");
}

#[tokio::test]
async fn input_reaches_stdin_byte_by_byte_and_ends() {
    let house = House::new();
    let input = Bytes::from_iter((0..=u8::MAX).cycle().take(300_000));
    let told = house.run(Request { input: Some(input.clone()), ..shell("cat") }).await;
    assert_eq!(told.stdout, input);
}

#[tokio::test]
async fn a_process_that_does_not_read_its_input_ends_as_it_likes() {
    let house = House::new();
    let input = Bytes::from(vec![b'x'; 20 << 20]);
    let told = house.run(Request { input: Some(input), ..shell("echo done") }).await;
    assert_eq!((told.outcome.exit_code, told.text()), (0, "done\n"));
}

#[tokio::test]
async fn without_input_stdin_is_empty() {
    let house = House::new();
    let told = within(secs(60), house.shell("cat; echo end")).await;
    assert_eq!(told.text(), "end\n");
}

#[tokio::test]
async fn output_is_neither_cut_nor_changed() {
    let house = House::new();
    let told = house.shell(r"printf 'a\377\000\n\n'; yes é | tr -d '\n' | head -c 240000; printf end").await;
    assert!(told.stdout.starts_with(b"a\xff\0\n\n"), "bytes that are no text, and an empty line");
    assert!(told.stdout.ends_with(b"end"), "a last line without an end");
    let middle = &told.stdout[5..told.stdout.len() - 3];
    assert_eq!(std::str::from_utf8(middle).unwrap().chars().filter(|letter| *letter != 'é').count(), 0);
}

#[tokio::test]
async fn all_output_is_there_when_the_outcome_is() {
    let house = House::new();
    let told = house.shell("head -c 20000000 /dev/zero").await;
    assert_eq!(told.stdout.len(), 20_000_000);
}

#[tokio::test]
async fn a_receiver_that_is_gone_does_not_hold_the_process_back() {
    let house = House::new();
    let (sender, receiver) = mpsc::channel(1);
    drop(receiver);
    let execution =
        house.start(Request { output: Some(sender), ..shell("head -c 5000000 /dev/zero; exit 4") });
    assert_eq!(within(secs(60), execution.outcome()).await.unwrap().exit_code, 4);
}

#[tokio::test]
async fn a_receiver_that_never_reads_does_not_keep_a_run_from_being_cancelled() {
    let house = House::new();
    let (sender, _receiver) = mpsc::channel(1);
    let execution = house.start(Request { output: Some(sender), ..shell("yes") });
    house.until_running(execution.id()).await;
    execution.cancel();
    assert!(within(secs(30), execution.outcome()).await.unwrap().cancelled);
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn the_environment_is_given_as_it_is_and_bad_names_are_dropped() {
    let house = House::new();
    let hostile = "$(id) `id` ; | & \" ' \\ \n é";
    let env = [("GOOD", hostile), ("1BAD", "x"), ("BAD-NAME", "x")];
    let env = env.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
    let told = house.run(Request { env, ..shell("printf %s \"$GOOD\"; env | grep -c BAD >&2") }).await;
    assert_eq!((told.text(), told.errors()), (hostile, "0\n"));
}

#[tokio::test]
async fn a_run_that_takes_too_long_is_killed() {
    let house = House::new();
    let begun = Instant::now();
    let request = Request { timeout: Some(secs(1)), ..shell("trap '' TERM; echo on; sleep 60") };
    let told = house.run(request).await;
    assert!(begun.elapsed() < secs(20));
    assert!(told.outcome.timed_out && !told.outcome.cancelled && !told.outcome.success());
    assert_eq!((told.outcome.exit_code, told.text()), (137, "on\n"));
}

#[tokio::test]
async fn runs_at_the_same_time_have_their_own_files_and_output() {
    let house = House::new();
    let run = async |name: &str| {
        let line = format!("echo {name} > mine; sleep 0.3; cat mine; ls | wc -l");
        assert_eq!(house.shell(&line).await.text(), format!("{name}\n1\n"));
    };
    tokio::join!(run("one"), run("two"), run("three"));
}

#[tokio::test]
async fn an_image_that_is_nowhere_is_told_by_its_name_and_with_the_operation() {
    let house = House::new();
    let image = "127.0.0.1:9/no-such-image:1".to_owned();
    assert!(!house.sandbox.has_image(&image).await.unwrap() && house.sandbox.has_image(IMAGE).await.unwrap());
    let execution = house.start(Request { image: image.clone(), ..shell("true") });
    let error = within(secs(120), execution.outcome()).await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::ContainerStartFailed);
    assert_eq!(error.docker_op(), Some("pull"));
    assert!(error.message().contains(&format!("does not have the image {image}")), "{error}");
    house.assert_nothing_left(execution.id()).await;
    let state = house.sandbox.state(execution.id()).unwrap().unwrap();
    assert_eq!(state.error_code.as_deref(), Some("CONTAINER_START_FAILED"));
    assert!(state.finished_at.is_some());
}

#[tokio::test]
async fn a_program_that_is_not_in_the_image_ends_as_a_shell_would_tell_it() {
    let house = House::new();
    let command = Command::Argv(vec!["/no/such/program".to_owned()]);
    let told = house.run(Request { command, ..shell("") }).await;
    assert_eq!(told.outcome.exit_code, 127);
    assert!(told.errors().contains("/no/such/program"), "{}", told.errors());
}

#[tokio::test]
async fn a_workdir_without_files_is_the_runs_own_at_every_engine() {
    for engine in Engine::all() {
        for transfer in [Transfer::Shared, Transfer::Archive] {
            let house = House::with(|options| {
                (options.docker_host, options.transfer) = (Some(engine.host().to_owned()), transfer);
            });
            let told = house.shell("touch x && ls").await;
            assert_eq!((told.text(), told.errors()), ("x\n", ""), "{engine:?} {transfer:?}");
        }
    }
}

#[tokio::test]
async fn a_container_that_cannot_be_made_is_told_and_leaves_nothing() {
    for transfer in [Transfer::Shared, Transfer::Archive] {
        let house = House::with(|options| (options.transfer, options.cpus) = (transfer, 10_000.0));
        let execution = house.start(shell("true"));
        let error = execution.outcome().await.unwrap_err();
        assert_eq!(error.code(), SandboxErrorCode::ContainerStartFailed, "{error}");
        assert_eq!(error.docker_op(), Some("createContainer"));
        assert_eq!(error.container_id(), Some(execution.id().as_str()));
        house.assert_nothing_left(execution.id()).await;
    }
}

#[tokio::test]
async fn a_container_that_cannot_be_started_is_told_and_leaves_nothing() {
    for transfer in [Transfer::Shared, Transfer::Archive] {
        let house = House::with(|options| options.transfer = transfer);
        let user = Some("no-such-account".to_owned());
        let execution = house.start(Request { user, ..shell("true") });
        let error = execution.outcome().await.unwrap_err();
        assert_eq!(error.code(), SandboxErrorCode::ContainerStartFailed, "{error}");
        assert_eq!(error.docker_op(), Some("start"));
        house.assert_nothing_left(execution.id()).await;
    }
}

#[tokio::test]
async fn a_network_that_does_not_exist_is_told_and_leaves_nothing() {
    let house = House::new();
    let execution = house.start(Request { networks: vec!["no-such-network".to_owned()], ..shell("true") });
    let error = execution.outcome().await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::NetworkConnectFailed, "{error}");
    house.assert_nothing_left(execution.id()).await;
}

#[tokio::test]
async fn an_engine_that_is_not_there_is_told() {
    let house = House::new();
    let gone = format!("unix://{}", house.state_dir().join("nobody.sock").display());
    let options =
        sandbox::Options { docker_host: Some(gone), ..sandbox::Options::new(house.folder("other")) };
    let other = sandbox::Sandbox::open(options, &house.drain).unwrap();
    assert!(!other.is_available().await && house.sandbox.is_available().await);
    let error = other.start(shell("true")).unwrap().outcome().await.unwrap_err();
    assert_eq!((error.code(), error.docker_op()), (SandboxErrorCode::DockerUnreachable, Some("ping")));
}

#[tokio::test]
async fn an_engine_that_is_silent_is_told_in_time() {
    let house = House::new();
    let path = house.folder("silent").join("engine.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let options = sandbox::Options {
        docker_host: Some(format!("unix://{}", path.display())),
        ping_timeout: secs(1),
        ..sandbox::Options::new(house.folder("other"))
    };
    let other = sandbox::Sandbox::open(options, &house.drain).unwrap();
    let begun = Instant::now();
    let error = other.start(shell("true")).unwrap().outcome().await.unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::DockerUnreachable);
    assert!(begun.elapsed() < secs(4));
}

#[tokio::test]
async fn a_drain_refuses_new_runs_and_cancels_those_that_do_not_end() {
    let house = House::new();
    let execution = house.start(shell("sleep 60"));
    house.until_running(execution.id()).await;
    let drained = house.drain.clone().run(secs(0), std::future::pending()).await;
    assert_eq!(drained, runtime::Drained::Stopped);
    assert!(execution.outcome().await.unwrap().cancelled);
    house.assert_nothing_left(execution.id()).await;
    let refused = house.sandbox.start(shell("true")).unwrap_err();
    assert_eq!(refused.code(), SandboxErrorCode::Busy);
}

#[tokio::test]
async fn the_images_own_files_are_in_the_workdir_and_a_seed_hides_them() {
    for house in House::each_transfer() {
        let there = Request {
            workdir: Some("/etc".to_owned()),
            ..shell("cat passwd | head -c 4; touch mine && ls mine")
        };
        assert_eq!(house.run(there).await.text(), "rootmine\n");
        let files = [("own".to_owned(), Bytes::from("x"))].into();
        let hidden = Request {
            seed: Some(sandbox::Seed::Files(files)),
            workdir: Some("/etc".to_owned()),
            ..shell("ls own passwd; touch mine && ls mine")
        };
        assert_eq!(house.run(hidden).await.text(), "own\nmine\n");
    }
}

#[tokio::test]
async fn an_image_that_was_seen_to_bring_no_files_gets_a_plain_folder_and_one_that_does_a_volume() {
    let house = House::with(|options| options.transfer = Transfer::Shared);
    let mounted = async |workdir: &str| {
        let request = Request { workdir: Some(workdir.to_owned()), ..shell("touch mine && sleep 30") };
        let execution = house.start(request);
        house.until_running(execution.id()).await;
        let container = house.docker.inspect_container(execution.id().as_str(), None).await.unwrap();
        execution.cancel();
        execution.outcome().await.unwrap();
        house.assert_nothing_left(execution.id()).await;
        container
            .mounts
            .unwrap()
            .iter()
            .find(|mount| mount.destination.as_deref() == Some(workdir))
            .unwrap()
            .typ
            .clone()
            .unwrap()
    };
    assert_eq!([mounted("/app").await, mounted("/app").await], ["volume", "bind"]);
    assert_eq!([mounted("/etc").await, mounted("/etc").await], ["volume", "volume"]);
}

#[tokio::test]
async fn an_images_own_command_runs_when_none_is_given() {
    let house = House::new();
    let (sender, receiver) = mpsc::channel(16);
    let request = Request { networks: vec!["none".to_owned()], output: Some(sender), ..Request::new(IMAGE) };
    let execution = house.start(request);
    let (outcome, _) = tokio::join!(within(secs(60), execution.outcome()), gathered(receiver));
    assert_eq!(outcome.unwrap().exit_code, 0, "the image's shell ends with its empty input");
}
