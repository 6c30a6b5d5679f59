use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use bytes::Bytes;
use rustix::fs::{FileType, mkdirat, mknodat};

use super::*;
use crate::files::walk::open_folder;

fn ourselves() -> Owner {
    Owner::Ids { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn state_dir() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[tokio::test]
async fn a_run_has_folders_that_nobody_else_can_come_to_and_that_go_with_it() {
    let state = state_dir();
    let run = RunId::new();
    let staged = Staged::create(state.path(), &run, ourselves(), true).unwrap();
    assert_eq!(mode(&state.path().join("work")), 0o700);
    assert_eq!((mode(staged.workdir()), mode(staged.tmp().unwrap())), (0o755, 0o1777));
    assert!(staged.workdir().file_name().unwrap().len() >= 32, "random enough not to be guessed");
    let found = Staged::find(state.path(), &run).unwrap().unwrap();
    assert_eq!((found.workdir(), found.tmp()), (staged.workdir(), staged.tmp()));
    assert_eq!(leftovers(state.path()).unwrap()[0].0, run);
    staged.remove().await.unwrap();
    staged.remove().await.unwrap();
    assert!(leftovers(state.path()).unwrap().is_empty());
    assert!(Staged::find(state.path(), &run).unwrap().is_none());
}

#[tokio::test]
async fn a_seed_is_written_as_an_archive_would_be() {
    let state = state_dir();
    let staged = Staged::create(state.path(), &RunId::new(), ourselves(), false).unwrap();
    let files =
        BTreeMap::from([("a/b".to_owned(), Bytes::from_static(b"1")), ("c".to_owned(), Bytes::new())]);
    staged.fill(Seed::Files(files), Vec::new(), ourselves(), CancellationToken::new()).await.unwrap();
    assert_eq!(fs::read_to_string(staged.workdir().join("a/b")).unwrap(), "1");
    assert_eq!((mode(&staged.workdir().join("a")), mode(&staged.workdir().join("a/b"))), (0o755, 0o644));
}

#[tokio::test]
async fn filling_ends_soon_when_it_is_stopped_and_writes_nothing_afterwards() {
    let state = state_dir();
    let staged = Staged::create(state.path(), &RunId::new(), ourselves(), false).unwrap();
    let many = (0..20_000).map(|number| (format!("{number:05}"), Bytes::from_static(b"1")));
    let stop = CancellationToken::new();
    let fill = staged.fill(Seed::Files(many.collect()), Vec::new(), ourselves(), stop.clone());
    let count = || fs::read_dir(staged.workdir()).unwrap().count();
    let cancel = async {
        while count() == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (filled, ()) = tokio::join!(fill, cancel);
    assert!(filled.unwrap_err().to_string().contains("cancelled"));
    let written = count();
    assert!(written < 20_000);
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    assert_eq!(count(), written);
}

#[tokio::test]
async fn files_are_given_to_the_account_of_the_run_where_we_may() {
    let state = state_dir();
    let owner = Owner::Ids { uid: 65534, gid: 65533 };
    let staged = Staged::create(state.path(), &RunId::new(), owner, false);
    if !rustix::process::geteuid().is_root() {
        assert_eq!(staged.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        return;
    }
    let staged = staged.unwrap();
    let source = state_dir();
    fs::create_dir(source.path().join("d")).unwrap();
    fs::write(source.path().join("d/tool"), "#!").unwrap();
    fs::set_permissions(source.path().join("d/tool"), Permissions::from_mode(0o6755)).unwrap();
    File::options()
        .write(true)
        .open(source.path().join("d/tool"))
        .unwrap()
        .set_modified(SystemTime::UNIX_EPOCH)
        .unwrap();
    staged
        .fill(Seed::Dir(source.path().to_owned()), Vec::new(), owner, CancellationToken::new())
        .await
        .unwrap();
    for below in ["", "d", "d/tool"] {
        let metadata = fs::metadata(staged.workdir().join(below)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (65534, 65533), "{below}");
    }
    let tool = fs::metadata(staged.workdir().join("d/tool")).unwrap();
    assert_eq!((tool.mode() & 0o7777, tool.mtime()), (0o755, 0));
}

#[tokio::test]
async fn a_file_system_that_refuses_a_seed_leaves_the_files_that_were_there() {
    let state = state_dir();
    let staged = Staged::create(state.path(), &RunId::new(), ourselves(), false).unwrap();
    fs::write(staged.workdir().join("a"), "first").unwrap();
    symlink("/etc", staged.workdir().join("etc")).unwrap();
    for name in ["a", "etc/of-a-test"] {
        let files = BTreeMap::from([(name.to_owned(), Bytes::from_static(b"second"))]);
        assert!(
            staged.fill(Seed::Files(files), Vec::new(), ourselves(), CancellationToken::new()).await.is_err(),
            "{name}"
        );
    }
    assert_eq!(fs::read_to_string(staged.workdir().join("a")).unwrap(), "first");
    assert!(!Path::new("/etc/of-a-test").exists());
}

/// Deeper than a path, a stack of ours or the number of open files would allow.
#[tokio::test]
async fn whatever_a_run_leaves_is_removed() {
    const DEEP: usize = 2500;
    let state = state_dir();
    let outside = state_dir();
    fs::write(outside.path().join("kept"), "kept").unwrap();
    let staged = Staged::create(state.path(), &RunId::new(), ourselves(), true).unwrap();
    let mut folder = std::os::fd::OwnedFd::from(File::open(staged.workdir()).unwrap());
    for level in 0..DEEP {
        mkdirat(&folder, "down", Mode::RWXU).unwrap();
        if level % 500 == 0 {
            mkdirat(&folder, "wide", Mode::RWXU).unwrap();
            mknodat(&folder, "pipe", FileType::Fifo, Mode::RWXU, 0).unwrap();
            rustix::fs::symlinkat(outside.path(), &folder, "link").unwrap();
        }
        folder = open_folder(&folder, "down").unwrap().unwrap();
    }
    fs::create_dir(staged.workdir().join("closed")).unwrap();
    fs::write(staged.workdir().join("closed/file"), "1").unwrap();
    fs::set_permissions(staged.workdir().join("closed"), Permissions::from_mode(0o000)).unwrap();
    symlink(outside.path(), staged.tmp().unwrap().join("link")).unwrap();
    staged.remove().await.unwrap();
    assert_eq!(fs::read_dir(state.path().join("work")).unwrap().count(), 0);
    assert_eq!(fs::read_to_string(outside.path().join("kept")).unwrap(), "kept");
}

#[tokio::test]
async fn leftovers_of_a_run_that_nobody_knows_are_removed_by_its_id() {
    let state = state_dir();
    assert!(leftovers(state.path()).unwrap().is_empty());
    let run = RunId::new();
    drop(Staged::create(state.path(), &run, ourselves(), false).unwrap());
    fs::create_dir(state.path().join("work/somebody-elses")).unwrap();
    assert_eq!(leftovers(state.path()).unwrap().len(), 1);
    remove_leftover(state.path(), &run).await.unwrap();
    assert!(leftovers(state.path()).unwrap().is_empty());
    assert!(state.path().join("work/somebody-elses").exists());
}
