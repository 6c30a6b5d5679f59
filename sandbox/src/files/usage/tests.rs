use std::fs;
use std::os::unix::fs::symlink;
use std::sync::atomic::{AtomicBool, Ordering};

use super::*;

const MIB: usize = 1 << 20;

fn beyond(folder: &Path, limit: u64) -> bool {
    used(folder, limit).unwrap().is_none()
}

#[test]
fn what_is_written_counts_and_what_is_only_named_does_not() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("d")).unwrap();
    fs::write(folder.path().join("d/file"), vec![1; 2 * MIB]).unwrap();
    let sparse = fs::File::create(folder.path().join("sparse")).unwrap();
    sparse.set_len(1 << 40).unwrap();
    fs::hard_link(folder.path().join("d/file"), folder.path().join("again")).unwrap();
    symlink("/", folder.path().join("root")).unwrap();
    assert!(!beyond(folder.path(), 3 << 20));
    assert!(beyond(folder.path(), 1 << 20));
}

#[test]
fn empty_files_are_not_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..100 {
        fs::write(folder.path().join(n.to_string()), "").unwrap();
    }
    assert!(beyond(folder.path(), 99 << 10));
    assert!(!beyond(folder.path(), 200 << 10));
}

#[test]
fn what_is_hidden_too_deeply_is_taken_for_too_much() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("d/".repeat(100))).unwrap();
    assert!(!beyond(folder.path(), u64::MAX - 1));
    fs::create_dir_all(folder.path().join("d/".repeat(200))).unwrap();
    assert!(beyond(folder.path(), u64::MAX - 1));
}

#[test]
fn several_folders_count_together_and_one_that_is_gone_hides_none() {
    let folders = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for folder in &folders {
        fs::write(folder.path().join("file"), vec![1; 2 * MIB]).unwrap();
    }
    let [one, other] = folders.each_ref().map(|folder| folder.path().to_owned());
    let gone = one.join("gone");
    assert!(!are_beyond(std::slice::from_ref(&one), 3 << 20));
    assert!(are_beyond(&[one.clone(), gone.clone(), other.clone()], 3 << 20));
    assert!(!are_beyond(&[one, gone, other], 5 << 20));
}

#[tokio::test]
async fn the_watch_ends_when_there_is_too_much_and_not_before() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let written = AtomicBool::new(false);
    let fill = async {
        tokio::time::sleep(PAUSE * 3).await;
        fs::write(path.join("file"), vec![1; 2 * MIB]).unwrap();
        written.store(true, Ordering::Relaxed);
        std::future::pending::<()>().await;
    };
    let watched = tokio::time::timeout(Duration::from_secs(20), async {
        tokio::select! {
            () = watch(vec![folder.path().to_owned()], 1 << 20) => {}
            () = fill => {}
        }
    });
    watched.await.unwrap();
    assert!(written.load(Ordering::Relaxed));
}

#[tokio::test(start_paused = true)]
async fn a_folder_that_is_gone_ends_nothing() {
    let gone = tempfile::tempdir().unwrap().path().join("gone");
    assert!(tokio::time::timeout(Duration::from_secs(5), watch(vec![gone], 1)).await.is_err());
}
