use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::PathBuf;

use futures::TryStreamExt as _;
use tar::{Archive, EntryType};

use super::*;
use crate::SandboxErrorCode;

const RUN: Owner = Owner::Ids { uid: 65534, gid: 65533 };

/// Name, kind, mode, user and content of each member.
type Member = (String, EntryType, u32, u64, String);

async fn members(seed: Option<Seed>, owner: Owner) -> Vec<Member> {
    let ignore = [".git", "node_modules"].map(str::to_owned).to_vec();
    let pieces: Vec<Bytes> =
        archive_of(seed, ignore, owner, Path::new("/work/app")).try_collect().await.unwrap();
    read(&pieces.concat())
}

fn read(archive: &[u8]) -> Vec<Member> {
    let mut archive = Archive::new(archive);
    let members = archive.entries().unwrap().map(|entry| {
        let mut entry = entry.unwrap();
        let mut content = String::new();
        entry.read_to_string(&mut content).unwrap();
        let header = entry.header();
        let (kind, mode, uid) = (header.entry_type(), header.mode().unwrap(), header.uid().unwrap());
        assert_eq!((header.username().unwrap(), header.groupname().unwrap()), (Some(""), Some("")));
        (String::from_utf8_lossy(&entry.path_bytes()).into_owned(), kind, mode, uid, content)
    });
    let mut members: Vec<_> = members.collect();
    members.sort_by(|a, b| a.0.cmp(&b.0));
    members
}

fn folder(name: &str, mode: u32) -> Member {
    (name.to_owned(), EntryType::Directory, mode, 65534, String::new())
}

fn file(name: &str, mode: u32, content: &str) -> Member {
    (name.to_owned(), EntryType::Regular, mode, 65534, content.to_owned())
}

fn files(files: &[(&str, &'static str)]) -> Seed {
    Seed::Files(
        files.iter().map(|(name, text)| ((*name).to_owned(), Bytes::from_static(text.as_bytes()))).collect(),
    )
}

#[tokio::test]
async fn without_a_seed_the_workdir_alone_is_given_to_the_run() {
    assert_eq!(members(None, RUN).await, [folder("../app", 0o755)]);
}

#[tokio::test]
async fn files_come_with_the_folders_that_they_are_in() {
    let seed = files(&[("a/b/c.txt", "deep"), ("a.txt", "one"), ("a/b/d.txt", "two")]);
    let expected = [
        folder("../app", 0o755),
        file("a.txt", 0o644, "one"),
        folder("a/", 0o755),
        folder("a/b/", 0o755),
        file("a/b/c.txt", 0o644, "deep"),
        file("a/b/d.txt", 0o644, "two"),
    ];
    assert_eq!(members(Some(seed), RUN).await, expected);
}

#[tokio::test]
async fn a_folder_comes_without_links_and_ignored_names_and_with_its_modes() {
    let root = tempfile::tempdir().unwrap();
    let path = |below: &str| root.path().join(below);
    for below in ["src/node_modules/x", ".git/config", "src/main.sh", "docs/.git"] {
        fs::create_dir_all(path(below).parent().unwrap()).unwrap();
        fs::write(path(below), below).unwrap();
    }
    fs::set_permissions(path("src/main.sh"), fs::Permissions::from_mode(0o4511)).unwrap();
    fs::set_permissions(path("docs"), fs::Permissions::from_mode(0o750)).unwrap();
    symlink("/etc/passwd", path("src/link")).unwrap();
    symlink("/etc", path("etc")).unwrap();
    let seed = Seed::Dir(root.path().to_owned());
    let expected = [
        folder("../app", 0o755),
        folder("docs/", 0o750),
        folder("src/", 0o755),
        file("src/main.sh", 0o711, "src/main.sh"),
    ];
    assert_eq!(members(Some(seed), RUN).await, expected);
}

#[tokio::test]
async fn for_an_account_that_only_the_image_knows_everybody_may_write() {
    let members = members(Some(files(&[("a/b", "1")])), Owner::Anyone).await;
    let modes: Vec<_> = members.iter().map(|(name, _, mode, uid, _)| (name.as_str(), *mode, *uid)).collect();
    assert_eq!(modes, [("../app", 0o777, 0), ("a/", 0o777, 0), ("a/b", 0o666, 0)]);
}

#[tokio::test]
async fn names_longer_than_a_header_arrive_whole() {
    let long = format!("{}/{}", "d".repeat(150), "f".repeat(200));
    let root = tempfile::tempdir().unwrap();
    let name = PathBuf::from("/").join("w".repeat(180));
    let pieces: Vec<Bytes> =
        archive_of(Some(files(&[(&long, "1")])), Vec::new(), RUN, &name).try_collect().await.unwrap();
    let names: Vec<_> = read(&pieces.concat()).into_iter().map(|member| member.0).collect();
    assert_eq!(names, [format!("../{}", "w".repeat(180)), format!("{}/", "d".repeat(150)), long]);
    drop(root);
}

#[tokio::test]
async fn a_folder_that_goes_away_is_a_failure_and_no_shorter_archive() {
    let gone = tempfile::tempdir().unwrap().path().join("gone");
    let pieces: Vec<_> =
        futures::StreamExt::collect(archive_of(Some(Seed::Dir(gone)), Vec::new(), RUN, Path::new("/app")))
            .await;
    assert!(pieces.last().unwrap().is_err());
}

#[test]
fn tmp_is_a_folder_for_everybody() {
    let archive = archive_of_tmp(Path::new("/tmp")).unwrap();
    let member = read(&archive).remove(0);
    assert_eq!((member.0.as_str(), member.2, member.3), ("../tmp", 0o1777, 0));
}

#[test]
fn a_seed_is_checked_before_anything_is_made() {
    let file = tempfile::NamedTempFile::new().unwrap();
    check(&Seed::Dir(file.path().parent().unwrap().to_owned())).unwrap();
    check(&files(&[("a/b", "")])).unwrap();
    let not_a_folder = check(&Seed::Dir(file.path().to_owned())).unwrap_err();
    assert!(not_a_folder.message().contains("not a directory"));
    let missing = check(&Seed::Dir(file.path().join("x"))).unwrap_err();
    assert_eq!(missing.code(), SandboxErrorCode::InvalidRequest);
    let missing = check(&Seed::Dir(PathBuf::from("/nothing/of/this/name"))).unwrap_err();
    assert!(missing.message().contains("dir path not found"));
    for bad in ["../x", "/x", "a/", "a/../b"] {
        let error = check(&files(&[(bad, "")])).unwrap_err();
        assert_eq!((error.code(), error.field()), (SandboxErrorCode::InvalidRequest, Some("seed")), "{bad}");
    }
}
