//! Real processes.

use std::fs;

use protocol::Invocation;

use super::super::facts::HostFiles;
use super::super::policy::Policy;
use super::super::rule::Rule;
use super::*;

const SOON: Duration = Duration::from_millis(300);
const LONG: Duration = Duration::from_secs(30);

struct Run {
    ended: Ended,
    stdout: String,
    stderr: String,
    took: Duration,
}

fn shell(script: &str) -> HostCommand {
    HostCommand {
        program: PathBuf::from("/bin/sh"),
        name: None,
        arguments: vec!["-c".into(), script.into()],
        env: BTreeMap::new(),
    }
}

async fn run_within(command: HostCommand, time: Duration, cancel: CancellationToken) -> Run {
    let began = Instant::now();
    let limits = Limits { deadline: began + time, grace: SOON, cancel };
    let (sender, mut receiver) = mpsc::channel::<Piece>(4);
    let collecting = async {
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        while let Some(piece) = receiver.recv().await {
            match piece.stream {
                Stream::Stdout => stdout.extend(piece.bytes),
                Stream::Stderr => stderr.extend(piece.bytes),
            }
        }
        (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
    };
    let (ended, (stdout, stderr)) = tokio::join!(run(&command, &limits, sender), collecting);
    Run { ended: ended.unwrap(), stdout, stderr, took: began.elapsed() }
}

async fn run_script(script: &str) -> Run {
    run_within(shell(script), LONG, CancellationToken::new()).await
}

/// Whether a process of that number lives, and is no corpse.
fn lives(pid: &str) -> bool {
    fs::read_to_string(format!("/proc/{}/stat", pid.trim()))
        .is_ok_and(|stat| !stat.rsplit(") ").next().unwrap_or_default().starts_with('Z'))
}

/// Numbers that a script has printed, one a line.
fn assert_gone(printed: &str, how_many: usize) {
    let pids: Vec<_> = printed.lines().collect();
    assert_eq!(pids.len(), how_many, "{printed}");
    for pid in pids {
        assert!(!lives(pid), "{pid} lives");
    }
}

#[tokio::test]
async fn a_command_says_what_it_says_and_ends_as_it_ends() {
    let run = run_script("echo out; echo err >&2; exit 3").await;
    assert_eq!((run.stdout.as_str(), run.stderr.as_str(), run.ended), ("out\n", "err\n", Ended::Exited(3)));
}

#[tokio::test]
async fn an_end_by_a_signal_is_128_and_the_signal() {
    assert_eq!(run_script("kill -9 $$").await.ended, Ended::Exited(137));
    assert_eq!(run_script("kill -TERM $$").await.ended, Ended::Exited(143));
}

#[tokio::test]
async fn it_has_no_input_a_clean_environment_and_stands_in_the_root() {
    let mut command = shell("cat; pwd; env");
    command.env.insert("OWN".to_owned(), "value".to_owned());
    let run = run_within(command, LONG, CancellationToken::new()).await;
    let (first, variables) = run.stdout.split_once('\n').unwrap();
    assert_eq!(first, "/");
    let mut names: Vec<_> = variables.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    names.sort_unstable();
    names.retain(|name| !["_", "PWD", "SHLVL", "OLDPWD"].contains(name));
    assert_eq!(names, ["HOME", "LANG", "OWN", "PAGER", "PATH", "SEMILAYER_JOB", "SYSTEMD_PAGER", "TERM"]);
}

#[tokio::test]
async fn what_the_policy_writes_is_what_the_programs_of_this_host_understand() {
    let mut run_here = 0;
    for line in [
        "cat -n /etc/hostname",
        "date -u '+%H:%M %Z'",
        "date -Iseconds",
        "df --output=source,size /",
        "df -h /",
        "du -d 1 /etc/hostname",
        "echo -n 'a b'",
        "env",
        "free -m",
        "head -c 10 /etc/passwd",
        "hostname",
        "id -un root",
        "ls -lah /var/log /",
        "printenv",
        "ps -ef",
        "ps -eo pid,comm --sort=-rss",
        "ps -p 1 -o pid,args --no-headers",
        "ps aux --sort=-rss",
        "pwd",
        "tail -5 /etc/passwd",
        "top -bn1",
        "true",
        "uname -a",
        "uptime -p",
        "whoami",
    ] {
        let approved = match Policy::default().approve(&Invocation::Command(line.to_owned()), &HostFiles) {
            Ok(approved) => approved,
            // Small hosts do not have every program.
            Err(denied) => {
                assert_eq!(denied.rule, Rule::ProgramMissing, "{line}: {denied}");
                continue;
            }
        };
        let command = HostCommand {
            program: approved.program,
            name: Some(approved.name.into()),
            arguments: approved.arguments,
            env: BTreeMap::new(),
        };
        let run = run_within(command, LONG, CancellationToken::new()).await;
        assert_eq!((run.ended, run.stderr.as_str()), (Ended::Exited(0), ""), "{line}");
        run_here += 1;
    }
    assert!(run_here > 15, "{run_here}");
}

#[tokio::test]
async fn it_leads_a_group_of_its_own() {
    let run = run_script("echo $$; ps -o pgid= -p $$").await;
    let numbers: Vec<_> = run.stdout.split_whitespace().collect();
    assert_eq!(numbers[0], numbers[1]);
}

#[tokio::test]
async fn what_is_not_there_cannot_be_started() {
    let command = HostCommand { program: PathBuf::from("/nowhere/nothing"), ..shell("") };
    let limits = Limits { deadline: Instant::now() + LONG, grace: SOON, cancel: CancellationToken::new() };
    let (sender, _receiver) = mpsc::channel::<Piece>(1);
    assert_eq!(run(&command, &limits, sender).await.unwrap_err().kind(), io::ErrorKind::NotFound);
}

#[tokio::test]
async fn a_cancelled_command_takes_its_children_along() {
    let cancel = CancellationToken::new();
    let script = "sleep 1000 & echo $!; sh -c 'echo $$; sleep 1000' & wait";
    let running = run_within(shell(script), LONG, cancel.clone());
    let cancelling = async {
        tokio::time::sleep(SOON).await;
        cancel.cancel();
    };
    let (run, ()) = tokio::join!(running, cancelling);
    assert_eq!(run.ended, Ended::Cancelled);
    assert_gone(&run.stdout, 2);
    assert!(run.took < SOON * 8, "{:?}", run.took);
}

#[tokio::test]
async fn a_command_that_ignores_the_request_is_killed_after_its_grace() {
    let script = "trap '' TERM; echo $$; while true; do sleep 0.05; done";
    let run = run_within(shell(script), SOON, CancellationToken::new()).await;
    assert_eq!(run.ended, Ended::TimedOut);
    assert_gone(&run.stdout, 1);
    assert!(run.took >= SOON * 2, "{:?}", run.took);
}

#[tokio::test]
async fn a_command_may_use_its_grace_to_say_goodbye() {
    let script = "trap 'echo bye; exit 7' TERM; echo ready; while true; do sleep 0.02; done";
    let run = run_within(shell(script), SOON, CancellationToken::new()).await;
    assert_eq!((run.ended, run.stdout.as_str()), (Ended::TimedOut, "ready\nbye\n"));
}

#[tokio::test]
async fn a_stopped_process_is_ended_too() {
    let run = run_within(shell("echo $$; kill -STOP $$; sleep 1000"), SOON, CancellationToken::new()).await;
    assert_eq!(run.ended, Ended::TimedOut);
    assert_gone(&run.stdout, 1);
}

#[tokio::test]
async fn what_a_finished_command_left_behind_is_ended() {
    let run = run_script("sleep 1000 & echo $!; sleep 1000 >/dev/null 2>&1 & echo $!").await;
    assert_eq!(run.ended, Ended::Exited(0));
    assert_gone(&run.stdout, 2);
    assert!(run.took < LINGER * 6, "{:?}", run.took);
}

#[tokio::test]
async fn what_left_the_group_and_the_session_is_ended_too() {
    let script =
        "setsid sh -c 'echo $$; (sleep 1000 & echo $!)'; setsid -f sleep 1000 >/dev/null 2>&1; echo done";
    let run = run_script(script).await;
    let (pids, done) = run.stdout.trim_end().rsplit_once('\n').unwrap();
    assert_eq!(done, "done");
    assert_gone(pids, 2);
    let left = fs::read_dir("/proc").unwrap().flatten().filter(|entry| {
        let command = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let environment = fs::read(entry.path().join("environ")).unwrap_or_default();
        command.starts_with(b"sleep\x001000")
            && String::from_utf8_lossy(&environment).contains(MARK)
            && has_ended_parent(&entry.path())
    });
    // Other tests have sleepers as well, but none of theirs has lost its parent.
    assert_eq!(left.count(), 0);
}

fn has_ended_parent(process: &std::path::Path) -> bool {
    let status = fs::read_to_string(process.join("status")).unwrap_or_default();
    status.lines().any(|line| line == "PPid:\t1")
}

#[tokio::test]
async fn what_a_grandchild_says_shortly_after_is_heard() {
    let run = run_script("(sleep 0.1; echo late) & echo early").await;
    assert_eq!(run.stdout, "early\nlate\n");
}

#[tokio::test]
async fn a_reader_that_does_not_read_holds_the_command_back_and_does_not_keep_it_from_ending() {
    let cancel = CancellationToken::new();
    let limits = Limits { deadline: Instant::now() + SOON, grace: SOON, cancel };
    let (sender, mut receiver) = mpsc::channel::<Piece>(1);
    let command = shell("yes");
    let running = tokio::time::timeout(LONG, run(&command, &limits, sender));
    let reading = async {
        // Only when the command is over by its time.
        tokio::time::sleep(SOON * 3).await;
        let mut bytes = 0;
        while let Some(piece) = receiver.recv().await {
            bytes += piece.bytes.len();
        }
        bytes
    };
    let (ended, bytes) = tokio::join!(running, reading);
    assert_eq!(ended.unwrap().unwrap(), Ended::TimedOut);
    assert!(bytes <= 256 * 1024, "{bytes}");
}

#[tokio::test]
async fn a_run_that_is_dropped_leaves_nothing_of_its_group() {
    let limits = Limits { deadline: Instant::now() + LONG, grace: SOON, cancel: CancellationToken::new() };
    let (sender, mut receiver) = mpsc::channel::<Piece>(4);
    let command = shell("sleep 1000 & echo $$ $!; wait");
    let printed = tokio::select! {
        ended = run(&command, &limits, sender) => panic!("{ended:?}"),
        piece = receiver.recv() => String::from_utf8(piece.unwrap().bytes).unwrap(),
    };
    for pid in printed.split_whitespace() {
        let gone = async {
            while lives(pid) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(LONG, gone).await.unwrap();
    }
}

#[tokio::test]
async fn what_a_shell_has_started_has_the_grace_too_when_the_shell_ends_at_once() {
    let child = "trap 'sleep 0.1; echo cleared; exit 0' TERM; echo ready; while :; do sleep 0.02; done";
    let (sender, mut receiver) = mpsc::channel::<Piece>(4);
    let cancel = CancellationToken::new();
    let limits =
        Limits { deadline: Instant::now() + LONG, grace: Duration::from_secs(3), cancel: cancel.clone() };
    // The second command keeps the shell from becoming the first.
    let command = shell(&format!("sh -c \"{child}\"; true"));
    let reading = async {
        let mut said = Vec::new();
        while let Some(piece) = receiver.recv().await {
            // The shell between says on the other output that it was ended.
            if piece.stream == Stream::Stdout {
                said.extend(piece.bytes);
                cancel.cancel();
            }
        }
        String::from_utf8(said).unwrap()
    };
    let (ended, said) = tokio::join!(run(&command, &limits, sender), reading);
    assert_eq!((ended.unwrap(), said.as_str()), (Ended::Cancelled, "ready\ncleared\n"));
}

#[tokio::test]
async fn output_is_not_lost_to_a_reader_who_is_slow_when_the_command_has_ended() {
    let (sender, mut receiver) = mpsc::channel::<Piece>(1);
    let limits = Limits { deadline: Instant::now() + LONG, grace: SOON, cancel: CancellationToken::new() };
    let command = shell("head -c 60000 /dev/zero");
    let reading = async {
        let mut bytes = receiver.recv().await.unwrap().bytes.len();
        // Longer than everything that a stray process is given.
        tokio::time::sleep(LINGER + 2 * CLOSING).await;
        while let Some(piece) = receiver.recv().await {
            bytes += piece.bytes.len();
        }
        bytes
    };
    let (ended, bytes) = tokio::join!(run(&command, &limits, sender), reading);
    assert_eq!((ended.unwrap(), bytes), (Ended::Exited(0), 60_000));
}
