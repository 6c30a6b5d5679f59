use std::os::unix::fs::PermissionsExt as _;

use super::*;

fn folder() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("state")).unwrap();
    (folder, store)
}

fn state(second: u32, status: RunStatus) -> RunState {
    let id = RunId::new();
    let mut state: RunState = serde_json::from_value(serde_json::json!({
        "id": id, "container": id, "image": "busybox", "workdir": "/app", "entrypoint": "echo hi",
        "startedAt": format!("2026-01-01T00:00:{second:02}.000Z"), "status": status,
    }))
    .unwrap();
    state.finished_at = (status != RunStatus::Running).then(|| format!("2026-01-01T00:01:{second:02}.000Z"));
    state
}

fn names(store: &Store) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(&store.folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name != "locks")
        .collect();
    names.sort();
    names
}

#[test]
fn what_was_put_is_read_back_from_one_file_that_only_its_owner_reads() {
    let (_folder, store) = folder();
    let state = state(1, RunStatus::Running);
    store.put(&state).unwrap();
    assert_eq!(store.get(&state.id).unwrap(), Some(state.clone()));
    assert_eq!(names(&store), [format!("{}.json", state.id)]);
    assert_eq!(fs::metadata(&store.folder).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(store.path(&state.id)).unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn an_unknown_run_has_no_state_and_a_change_of_it_makes_none() {
    let (_folder, store) = folder();
    let id = RunId::new();
    assert_eq!(store.get(&id).unwrap(), None);
    assert_eq!(store.update(&id, |state| state.exit_code = Some(1)).unwrap(), None);
    assert!(!store.delete(&id).unwrap());
    assert_eq!(names(&store), Vec::<String>::new());
}

#[test]
fn a_change_leaves_the_rest_as_it_was() {
    let (_folder, store) = folder();
    let before = state(1, RunStatus::Running);
    store.put(&before).unwrap();
    let change = |state: &mut RunState| (state.status, state.exit_code) = (RunStatus::Exited, Some(3));
    let after = store.update(&before.id, change).unwrap().unwrap();
    assert_eq!(after, RunState { status: RunStatus::Exited, exit_code: Some(3), ..before });
    assert_eq!(store.get(&after.id).unwrap(), Some(after));
}

#[test]
fn a_forgotten_run_is_unknown() {
    let (_folder, store) = folder();
    let state = state(1, RunStatus::Exited);
    store.put(&state).unwrap();
    assert!(store.delete(&state.id).unwrap());
    assert_eq!(store.get(&state.id).unwrap(), None);
}

#[test]
fn the_list_is_oldest_first_and_passes_over_what_is_no_state() {
    let (_folder, store) = folder();
    let (late, early) = (state(9, RunStatus::Exited), state(2, RunStatus::Running));
    for state in [&late, &early] {
        store.put(state).unwrap();
    }
    let damaged = RunId::new();
    let borrowed = RunId::new();
    let oversized = RunId::new();
    fs::write(store.path(&damaged), "{").unwrap();
    fs::copy(store.path(&late.id), store.path(&borrowed)).unwrap();
    fs::write(store.path(&oversized), vec![b' '; 9 << 20]).unwrap();
    fs::write(store.folder.join("cache-usage.json"), r#"{"tag":1}"#).unwrap();
    fs::write(store.folder.join("foreign.json"), r#"{"a":1}"#).unwrap();
    assert_eq!(store.list().unwrap(), [early, late]);
    assert_eq!(store.get(&damaged).unwrap(), None);
}

#[test]
fn a_state_of_the_library_that_came_before_is_read() {
    let (_folder, store) = folder();
    let id: RunId = "light-runner-0f3a9c21-7be".parse().unwrap();
    let text = r#"{"id":"light-runner-0f3a9c21-7be","container":"light-runner-0f3a9c21-7be",
        "volume":"light-runner-0f3a9c21-7be","image":"alpine:3.19","workdir":"/app","entrypoint":"true",
        "extract":[{"from":"out","to":"/tmp/out"}],"startedAt":"2026-01-01T00:00:00.000Z",
        "finishedAt":"2026-01-01T00:00:01.000Z","status":"exited","exitCode":0,"durationMs":900}"#;
    fs::write(store.path(&id), text).unwrap();
    let state = store.get(&id).unwrap().unwrap();
    assert_eq!((state.status, state.exit_code, state.extract.len()), (RunStatus::Exited, Some(0), 1));
}

#[test]
fn beyond_the_budget_the_runs_that_ended_first_are_forgotten_and_running_ones_never() {
    let (_folder, store) = folder();
    let running = state(0, RunStatus::Running);
    let mut first = state(5, RunStatus::Failed);
    first.finished_at = Some("2026-01-01T00:00:06.000Z".to_owned());
    let second = state(1, RunStatus::Exited);
    let third = state(2, RunStatus::Cancelled);
    for state in [&running, &third, &second, &first] {
        store.put(state).unwrap();
    }
    assert_eq!(store.evict(u64::MAX).unwrap(), 0);
    let size = |state: &RunState| fs::metadata(store.path(&state.id)).unwrap().len();
    assert_eq!(store.evict(size(&running) + size(&third)).unwrap(), 2);
    assert_eq!(store.list().unwrap(), [running.clone(), third]);
    assert_eq!(store.evict(0).unwrap(), 1);
    assert_eq!(store.list().unwrap(), [running]);
}

#[test]
fn a_file_that_nobody_writes_any_more_is_swept_and_a_fresh_one_is_not() {
    let (_folder, store) = folder();
    let stale = store.folder.join("light-runner-1.json.0.unfinished");
    let fresh = store.folder.join("light-runner-1.json.1.unfinished");
    for path in [&stale, &fresh] {
        fs::write(path, "{").unwrap();
    }
    let hours_ago = SystemTime::now() - Duration::from_secs(7200);
    File::options().write(true).open(&stale).unwrap().set_modified(hours_ago).unwrap();
    store.evict(0).unwrap();
    assert_eq!(names(&store), ["light-runner-1.json.1.unfinished"]);
}

#[test]
fn changes_by_many_threads_with_their_own_handles_are_all_kept() {
    let (folder, store) = folder();
    let run = state(1, RunStatus::Running);
    store.put(&RunState { duration_ms: Some(0), ..run.clone() }).unwrap();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            let path = folder.path().join("state");
            let id = run.id.clone();
            scope.spawn(move || {
                let store = Store::open(&path).unwrap();
                for _ in 0..25 {
                    store
                        .update(&id, |state| state.duration_ms = state.duration_ms.map(|n| n + 1))
                        .unwrap()
                        .unwrap();
                    store.get(&id).unwrap().unwrap();
                }
            });
        }
    });
    assert_eq!(store.get(&run.id).unwrap().unwrap().duration_ms, Some(200));
    assert_eq!(names(&store), [format!("{}.json", run.id)]);
}

#[test]
fn a_state_that_could_not_be_read_again_is_not_written() {
    let (_folder, store) = folder();
    let long = RunState { entrypoint: Some("x".repeat(9 << 20)), ..state(1, RunStatus::Running) };
    let error = store.put(&long).unwrap_err();
    assert_eq!(error.code(), SandboxErrorCode::StateFailed);
    assert_eq!(names(&store), Vec::<String>::new());
}

#[test]
fn a_folder_that_cannot_be_one_is_a_state_failure() {
    let file = tempfile::NamedTempFile::new().unwrap();
    assert_eq!(Store::open(file.path()).unwrap_err().code(), SandboxErrorCode::StateFailed);
}
