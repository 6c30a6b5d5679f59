use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::stream;
use rustix::fs::{CWD, mknodat};
use tar::{Builder, EntryType, Header};
use tempfile::TempDir;

use super::*;
use crate::files::clear_stages;
use crate::state::{RunId, Store};

const RUN: &str = "light-runner-01234567-89a";
const LIMITS: ExtractLimits = ExtractLimits { bytes: 1 << 30, entries: 100_000 };

/// A shared folder with a secret beside it, and a folder for results.
struct Rig {
    base: TempDir,
}

impl Rig {
    fn new() -> Self {
        let base = tempfile::tempdir().unwrap();
        fs::create_dir(base.path().join("app")).unwrap();
        fs::create_dir(base.path().join("secrets")).unwrap();
        fs::write(base.path().join("secrets/key"), "secret").unwrap();
        Self { base }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.base.path().join(below)
    }

    fn file(&self, below: &str, content: &str) {
        fs::create_dir_all(self.path(below).parent().unwrap()).unwrap();
        fs::write(self.path(below), content).unwrap();
    }

    fn take(&self, from: &str) -> io::Result<Taken> {
        self.take_within(from, LIMITS)
    }

    fn take_within(&self, from: &str, limits: ExtractLimits) -> io::Result<Taken> {
        take_shared(&self.path("app"), Path::new(from), &self.place(limits))
    }

    fn place(&self, limits: ExtractLimits) -> Place {
        let (run, stop) = (RUN.to_owned(), CancellationToken::new());
        Place { run, to: self.path("results"), limits, stop, journal: None, entry: 0 }
    }

    /// Results by name with their content; folders end with a slash.
    fn results(&self) -> Vec<(String, String)> {
        let mut found = Vec::new();
        collect(&self.path("results"), "", &mut found);
        found.sort();
        found
    }
}

fn collect(folder: &Path, prefix: &str, found: &mut Vec<(String, String)>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().unwrap();
        assert!(kind.is_dir() || kind.is_file(), "{name} is a {kind:?}");
        if kind.is_dir() {
            found.push((format!("{name}/"), String::new()));
            collect(&entry.path(), &format!("{name}/"), found);
        } else {
            found.push((name, String::from_utf8_lossy(&fs::read(entry.path()).unwrap()).into_owned()));
        }
    }
}

fn named(results: &[(&str, &str)]) -> Vec<(String, String)> {
    results.iter().map(|(name, content)| ((*name).to_owned(), (*content).to_owned())).collect()
}

fn bytes(taken: io::Result<Taken>) -> u64 {
    match taken.unwrap() {
        Taken::All(used) => used.bytes,
        Taken::Missing => panic!("it is missing"),
    }
}

#[test]
fn of_a_folder_the_content_is_taken_and_a_file_under_its_name() {
    let rig = Rig::new();
    rig.file("app/out/a", "one");
    rig.file("app/out/deep/er/b", "two");
    rig.file("app/-dash", "three");
    fs::create_dir(rig.path("app/out/empty")).unwrap();
    assert_eq!(bytes(rig.take("out")), 6);
    assert_eq!(bytes(rig.take("-dash")), 5);
    let expected = [
        ("-dash", "three"),
        ("a", "one"),
        ("deep/", ""),
        ("deep/er/", ""),
        ("deep/er/b", "two"),
        ("empty/", ""),
    ];
    assert_eq!(rig.results(), named(&expected));
}

#[test]
fn what_is_not_there_is_missing_and_makes_no_folder() {
    let rig = Rig::new();
    rig.file("app/file", "");
    for from in ["nothing", "no/thing", "file/below"] {
        assert!(matches!(rig.take(from), Ok(Taken::Missing)), "{from}");
    }
    assert!(!rig.path("results").exists());
}

#[test]
fn links_pipes_and_sockets_are_passed_over_within_a_folder() {
    let rig = Rig::new();
    rig.file("app/out/real", "kept");
    symlink("/etc", rig.path("app/out/folder")).unwrap();
    symlink("../../secrets/key", rig.path("app/out/file")).unwrap();
    mknodat(CWD, rig.path("app/out/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let _socket = UnixListener::bind(rig.path("app/out/socket")).unwrap();
    assert_eq!(bytes(rig.take("out")), 4);
    assert_eq!(rig.results(), named(&[("real", "kept")]));
}

#[test]
fn an_entry_that_is_a_link_or_behind_one_or_a_pipe_is_refused() {
    let rig = Rig::new();
    symlink("../secrets", rig.path("app/folder")).unwrap();
    symlink("../secrets/key", rig.path("app/file")).unwrap();
    mknodat(CWD, rig.path("app/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    for from in ["folder", "file", "folder/key"] {
        assert!(rig.take(from).err().unwrap().to_string().contains("symbolic link"), "{from}");
    }
    assert_eq!(rig.take("pipe").err().unwrap().to_string(), "it is neither a file nor a folder");
    assert!(!rig.path("results").exists());
}

#[test]
fn a_file_never_keeps_the_right_to_change_accounts() {
    let rig = Rig::new();
    rig.file("app/out/tool", "#!");
    fs::set_permissions(rig.path("app/out/tool"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(rig.path("app/out"), fs::Permissions::from_mode(0o2777)).unwrap();
    rig.take(".").unwrap();
    let mode = |below: &str| fs::metadata(rig.path(below)).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode("results/out/tool"), 0o755);
    assert_eq!(mode("results/out") & 0o7000, 0);
}

#[test]
fn more_than_may_be_taken_leaves_nothing() {
    let rig = Rig::new();
    rig.file("app/out/a", "12345");
    rig.file("app/out/b", "12345");
    let bytes_error = rig.take_within("out", ExtractLimits { bytes: 9, ..LIMITS }).err().unwrap();
    assert!(bytes_error.to_string().contains("more than 9 bytes"), "{bytes_error}");
    let entries_error = rig.take_within("out", ExtractLimits { entries: 1, ..LIMITS }).err().unwrap();
    assert!(entries_error.to_string().contains("more than 1 entries"), "{entries_error}");
    assert!(!rig.path("results").exists());
    assert_eq!(bytes(rig.take_within("out", ExtractLimits { bytes: 10, entries: 2 })), 10);
}

#[test]
fn what_is_there_already_stays_and_nothing_of_the_entry_comes_beside_it() {
    let rig = Rig::new();
    for name in ["app/out/a", "app/out/d/x", "app/out/d/y", "app/out/z"] {
        rig.file(name, "new");
    }
    rig.file("results/d/y", "old");
    rig.file("results/own", "old");
    let before = rig.results();
    let error = rig.take("out").err().unwrap();
    assert_eq!(error.to_string(), "d/y: something of this name is there already");
    assert_eq!(rig.results(), before);
    fs::remove_file(rig.path("results/d/y")).unwrap();
    rig.take("out").unwrap();
    let merged = [("a", "new"), ("d/", ""), ("d/x", "new"), ("d/y", "new"), ("own", "old"), ("z", "new")];
    assert_eq!(rig.results(), named(&merged));
    assert!(rig.take("out/a").is_err(), "two entries with one name");
}

#[test]
fn a_link_at_the_place_of_the_results_leads_nowhere() {
    let rig = Rig::new();
    rig.file("app/out/key", "hostile");
    rig.file("app/out/secrets/key", "hostile");
    symlink(rig.path("secrets"), rig.path("results")).unwrap();
    assert!(rig.take("out").err().unwrap().to_string().starts_with("to: "));
    fs::remove_file(rig.path("results")).unwrap();
    fs::create_dir(rig.path("results")).unwrap();
    symlink(rig.path("secrets"), rig.path("results/secrets")).unwrap();
    assert!(rig.take("out").is_err());
    assert_eq!(fs::read_to_string(rig.path("secrets/key")).unwrap(), "secret");
    assert_eq!(fs::read_dir(rig.path("results")).unwrap().count(), 1, "the link and nothing else");
}

#[test]
fn a_place_that_is_a_file_is_refused_and_a_deep_one_is_made() {
    let rig = Rig::new();
    rig.file("app/a", "one");
    rig.file("results", "file");
    assert!(rig.take("a").err().unwrap().to_string().starts_with("to: "));
    let deep = rig.path("other/x/y/");
    let place = Place { to: deep.clone(), ..rig.place(LIMITS) };
    take_shared(&rig.path("app"), Path::new("a"), &place).unwrap();
    assert_eq!(fs::read_to_string(deep.join("a")).unwrap(), "one");
}

#[test]
fn a_tree_that_is_nested_too_deeply_is_refused() {
    let rig = Rig::new();
    let mut folder = rig.path("app/out");
    for _ in 0..200 {
        folder.push("d");
    }
    fs::create_dir_all(&folder).unwrap();
    assert!(rig.take("out").err().unwrap().to_string().contains("nested deeper"));
    assert!(!rig.path("results").exists());
}

/// A hostile process swaps a file and a folder for links to a secret, and for a pipe, while they are read.
#[test]
fn names_that_are_swapped_while_they_are_read_never_lead_to_a_secret() {
    let rig = Rig::new();
    rig.file("app/out/file", "mine");
    rig.file("app/out/folder/key", "mine");
    symlink(rig.path("secrets/key"), rig.path("app/link-to-file")).unwrap();
    symlink(rig.path("secrets"), rig.path("app/link-to-folder")).unwrap();
    mknodat(CWD, rig.path("app/pipe"), FileType::Fifo, Mode::RWXU, 0).unwrap();
    let done = AtomicBool::new(false);
    let swaps = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for (name, place) in
                    [("link-to-file", "out/file"), ("link-to-folder", "out/folder"), ("pipe", "out/file")]
                {
                    for _ in 0..2 {
                        exchange(&rig.path("app").join(name), &rig.path("app").join(place));
                        swaps.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
        let mut taken = 0;
        while taken < 300 || swaps.load(Ordering::Relaxed) < 3000 {
            // It may fail, as long as it does not follow.
            drop(rig.take("out"));
            drop(rig.take("out/file"));
            drop(rig.take("out/folder/key"));
            for (name, content) in rig.results() {
                assert!(name.ends_with('/') || content == "mine", "{name} has {content:?}");
            }
            drop(fs::remove_dir_all(rig.path("results")));
            taken += 1;
        }
        done.store(true, Ordering::Relaxed);
    });
}

fn exchange(a: &Path, b: &Path) {
    rustix::fs::renameat_with(CWD, a, CWD, b, rustix::fs::RenameFlags::EXCHANGE).unwrap();
}

/// A folder of the destination is swapped for a link while results are moved in.
#[test]
fn a_destination_that_is_swapped_while_it_is_written_never_leads_out() {
    let rig = Rig::new();
    rig.file("app/out/folder/hostile", "hostile");
    symlink(rig.path("secrets"), rig.path("link")).unwrap();
    let done = AtomicBool::new(false);
    fs::create_dir_all(rig.path("results/folder")).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                exchange(&rig.path("link"), &rig.path("results/folder"));
            }
        });
        for _ in 0..500 {
            drop(rig.take("out"));
            assert!(!rig.path("secrets/hostile").exists());
            for place in ["results/folder/hostile", "link/hostile"] {
                drop(fs::remove_file(rig.path(place)));
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[test]
fn a_second_name_of_a_file_is_taken_as_a_file_of_its_own() {
    let rig = Rig::new();
    rig.file("app/out/a", "one");
    fs::hard_link(rig.path("app/out/a"), rig.path("app/out/b")).unwrap();
    assert_eq!(bytes(rig.take("out")), 6);
    assert_eq!(rig.results(), named(&[("a", "one"), ("b", "one")]));
    assert_eq!(fs::metadata(rig.path("results/a")).unwrap().nlink(), 1);
}

fn archive(write: impl FnOnce(&mut Builder<Vec<u8>>)) -> Vec<u8> {
    let mut archive = Builder::new(Vec::new());
    write(&mut archive);
    archive.into_inner().unwrap()
}

fn header(kind: EntryType, size: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o6755);
    header.set_size(size);
    header
}

async fn land(rig: &Rig, archive: Vec<u8>, limits: ExtractLimits) -> io::Result<Taken> {
    let pieces: Vec<Result<Bytes, ()>> =
        archive.chunks(1000).map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    land_archive(Bytes::new(), stream::iter(pieces), rig.place(limits)).await.unwrap()
}

#[tokio::test]
async fn the_engines_archive_lands_as_a_shared_folder_does() {
    let rig = Rig::new();
    let tree = archive(|tar| {
        tar.append_data(&mut header(EntryType::Directory, 0), "out/", io::empty()).unwrap();
        tar.append_data(&mut header(EntryType::Regular, 3), "out/a", &b"one"[..]).unwrap();
        tar.append_link(&mut header(EntryType::Link, 0), "out/b", "out/a").unwrap();
        tar.append_link(&mut header(EntryType::Symlink, 0), "out/c", "/etc/passwd").unwrap();
        tar.append_data(&mut header(EntryType::Directory, 0), "out/d/", io::empty()).unwrap();
        tar.append_data(&mut header(EntryType::Regular, 3), "out/d/e", &b"two"[..]).unwrap();
    });
    assert_eq!(bytes(land(&rig, tree, LIMITS).await), 9);
    assert_eq!(rig.results(), named(&[("a", "one"), ("b", "one"), ("d/", ""), ("d/e", "two")]));
    assert_eq!(fs::metadata(rig.path("results/b")).unwrap().nlink(), 1);
    assert_eq!(fs::metadata(rig.path("results/a")).unwrap().permissions().mode() & 0o7777, 0o755);
}

#[tokio::test]
async fn an_archive_that_is_too_large_doubled_or_cut_short_leaves_nothing() {
    let file = |tar: &mut Builder<Vec<u8>>, name: &str| {
        tar.append_data(&mut header(EntryType::Regular, 3), name, &b"one"[..]).unwrap();
    };
    let folder = |tar: &mut Builder<Vec<u8>>| {
        tar.append_data(&mut header(EntryType::Directory, 0), "out/", io::empty()).unwrap();
    };
    let rig = Rig::new();
    let with_files = |names: [&str; 2]| {
        archive(|tar| {
            folder(tar);
            for name in names {
                file(tar, name);
            }
        })
    };
    let (two, doubled) = (with_files(["out/a", "out/b"]), with_files(["out/a", "out/a"]));
    let linked = archive(|tar| {
        folder(tar);
        file(tar, "out/a");
        tar.append_link(&mut header(EntryType::Link, 0), "out/b", "out/a").unwrap();
    });
    let cut = two[..1000].to_vec();
    let few = ExtractLimits { bytes: 5, ..LIMITS };
    for (archive, limits) in [(two, few), (linked, few), (doubled, LIMITS), (cut, LIMITS)] {
        assert!(land(&rig, archive, limits).await.is_err());
        assert!(!rig.path("results").exists());
    }
}

#[tokio::test]
async fn a_stream_that_breaks_is_told_after_what_it_left_is_gone() {
    let rig = Rig::new();
    let whole = archive(|tar| {
        tar.append_data(&mut header(EntryType::Regular, 3000), "file", &[1; 3000][..]).unwrap();
    });
    let pieces = stream::iter([Ok(Bytes::copy_from_slice(&whole[..2000])), Err("broken")]);
    let broken = land_archive(Bytes::new(), pieces, rig.place(LIMITS)).await;
    assert_eq!(broken.err(), Some("broken"));
    assert!(!rig.path("results").exists());
}

#[tokio::test]
async fn an_archive_that_stands_still_is_left_at_once_when_the_run_is_cancelled_and_leaves_nothing() {
    let rig = Rig::new();
    let whole = archive(|tar| {
        tar.append_data(&mut header(EntryType::Regular, 3000), "file", &[1; 3000][..]).unwrap();
    });
    let place = rig.place(LIMITS);
    let stop = place.stop.clone();
    let rest = stream::iter([Ok::<_, ()>(Bytes::copy_from_slice(&whole[..2000]))]).chain(stream::pending());
    let landing = land_archive(Bytes::new(), rest, place);
    let cancel = async {
        while !rig.path("results").exists() {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (landed, ()) = tokio::join!(landing, cancel);
    assert!(landed.unwrap().is_err());
    assert!(!rig.path("results").exists());
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_stands_still_is_given_up_after_a_while() {
    let piece = || Ok(Bytes::from_static(b"piece"));
    let mut archive = in_time(stream::iter([piece(), piece()]).chain(stream::pending()).boxed()).boxed();
    assert!(archive.next().await.unwrap().is_ok() && archive.next().await.unwrap().is_ok());
    let given_up = tokio::time::timeout(SILENCE * 2, archive.next()).await.unwrap();
    assert!(matches!(given_up, Some(Err(EngineError::RequestTimeoutError))));
    assert!(archive.next().await.is_none());
}

#[test]
fn a_cancelled_run_leaves_no_part_of_a_shared_folder_behind() {
    let rig = Rig::new();
    rig.file("app/file", "content");
    let place = rig.place(LIMITS);
    place.stop.cancel();
    assert!(take_shared(&rig.path("app"), Path::new("file"), &place).is_err());
    assert!(!rig.path("results").exists());
}

/// Counts the bytes that are alive at once.
struct Piece(Arc<AtomicUsize>, Vec<u8>);

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.1
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        self.0.fetch_sub(self.1.len(), Ordering::Relaxed);
    }
}

#[tokio::test]
async fn a_large_file_passes_through_a_few_pieces() {
    const SIZE: usize = 64 << 20;
    let rig = Rig::new();
    let alive = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let mut header = header(EntryType::Regular, SIZE as u64);
    header.set_path("file").unwrap();
    header.set_cksum();
    let count = (SIZE + 512) / (1 << 16) + 1;
    let pieces = stream::iter(0..count).map(|_| {
        let now = alive.fetch_add(1 << 16, Ordering::Relaxed) + (1 << 16);
        most.fetch_max(now, Ordering::Relaxed);
        Ok::<_, ()>(Bytes::from_owner(Piece(Arc::clone(&alive), vec![0; 1 << 16])))
    });
    let head = Bytes::copy_from_slice(header.as_bytes());
    let taken = land_archive(head, pieces, rig.place(LIMITS)).await.unwrap();
    assert_eq!(bytes(taken), SIZE as u64);
    assert!(most.load(Ordering::Relaxed) <= 1 << 20, "{most:?}");
}

#[tokio::test]
async fn what_a_killed_extraction_has_left_is_cleared_and_nothing_else_is() {
    let rig = Rig::new();
    rig.file("app/file", "content");
    let killed = Landing::at(&rig.path("results"), RUN).unwrap();
    fs::write(rig.path("results").join(killed.name()).join("half"), "half").unwrap();
    std::mem::forget(killed);
    let others = [".light-runner-89012345-67a-0123", ".light-runner", "light-runner-01234567-89a-own"];
    for name in others {
        rig.file(&format!("results/{name}"), "kept");
    }
    assert_eq!(fs::read_dir(rig.path("results")).unwrap().count(), 4);
    let entry = |to: &str| Extract { from: "file".to_owned(), to: rig.path(to) };
    let entries = ["results", "results/", "no/such/place", "secrets/key"].map(entry);
    clear_stages(RUN, &entries, &[]).await;
    let mut left = others.map(|name| (name.to_owned(), "kept".to_owned()));
    left.sort();
    assert_eq!(rig.results(), left);
}

/// A place whose entry is noted in a state, as it is for detached runs.
fn journaled(rig: &Rig) -> (Place, Journal) {
    let store = Store::open(&rig.path("state")).unwrap();
    let id: RunId = RUN.parse().unwrap();
    let state = serde_json::json!({
        "id": RUN, "container": RUN, "image": "busybox", "workdir": "/app", "detached": true,
        "startedAt": "2026-01-01T00:00:00.000Z", "status": "running",
    });
    store.put(&serde_json::from_value(state).unwrap()).unwrap();
    let journal = Journal::of_detached(&store, &id).unwrap();
    (Place { journal: Some(journal.clone()), ..rig.place(LIMITS) }, journal)
}

#[tokio::test]
async fn what_a_killed_process_has_moved_in_part_is_moved_to_the_end_and_counted_as_it_was() {
    let rig = Rig::new();
    let (place, journal) = journaled(&rig);
    assert!(place.clone().noted().await.is_none(), "nothing was taken out");
    rig.file("results/d/own", "old");
    let killed = Landing::at(&place.to, RUN).unwrap();
    let stage = killed.name().to_str().unwrap().to_owned();
    for name in ["a", "d/b", "d/c", "e"] {
        rig.file(&format!("results/{stage}/{name}"), "new");
    }
    std::mem::forget(killed);
    journal.note(Landed { entry: 0, stage: stage.clone(), bytes: 12, entries: 5 });
    for name in ["a", "d/c"] {
        fs::rename(rig.path("results").join(&stage).join(name), rig.path("results").join(name)).unwrap();
    }
    let entry = Extract { from: "out".to_owned(), to: place.to.clone() };
    clear_stages(RUN, &[entry], &[journal.noted(0).unwrap()]).await;
    let moved =
        named(&[("a", "new"), ("d/", ""), ("d/b", "new"), ("d/c", "new"), ("d/own", "old"), ("e", "new")]);
    // Again, as if it had been killed between the last move and the end of the run.
    for _ in 0..2 {
        let Some(Ok(Taken::All(used))) = place.clone().noted().await else { panic!("it was noted") };
        assert_eq!(used, ExtractLimits { bytes: 12, entries: 5 });
        assert_eq!(rig.results(), moved);
    }
}

#[tokio::test]
async fn what_cannot_be_moved_is_not_noted() {
    let rig = Rig::new();
    let (place, journal) = journaled(&rig);
    rig.file("app/out/a", "new");
    rig.file("app/out/d/x", "new");
    rig.file("app/out/d/y", "new");
    rig.file("results/d/y", "old");
    let before = rig.results();
    let take = || take_shared(&rig.path("app"), Path::new("out"), &place);
    assert!(take().is_err());
    assert_eq!((rig.results(), journal.noted(0)), (before, None));
    fs::remove_file(rig.path("results/d/y")).unwrap();
    take().unwrap();
    assert!(journal.noted(0).is_some());
}

#[test]
fn the_answer_names_the_entry_and_never_a_path_of_this_machine_but_its_own() {
    let entry = Extract { from: "../etc".to_owned(), to: PathBuf::from("/somewhere") };
    let refused = told(&entry, located(&entry, "/app").map(|_| Taken::Missing));
    assert_eq!((refused.status, refused.bytes), (ExtractStatus::Error, None));
    assert!(refused.error.unwrap().contains("traversal"));
    let empty = Extract { from: "a".to_owned(), to: PathBuf::new() };
    assert!(located(&empty, "/app").is_err());
}
