use std::collections::BTreeMap;

use proptest::prelude::*;
use tar::Builder;

use super::*;
use crate::files::owner::Owner;
use crate::files::pack::Pack;

/// A tree in memory. What leads out of it is a failure of the test.
#[derive(Debug, Default, PartialEq, Eq)]
struct Kept {
    folders: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
    modes: BTreeMap<String, u32>,
    again: Vec<(String, String)>,
}

fn checked(path: &Path) -> String {
    assert!(!path.as_os_str().is_empty());
    assert!(path.components().all(|name| matches!(name, std::path::Component::Normal(_))), "{path:?}");
    path.to_string_lossy().into_owned()
}

impl Sink for Kept {
    fn folder(&mut self, path: &Path, _meta: Meta) -> io::Result<()> {
        self.folders.push(checked(path));
        Ok(())
    }

    fn file(&mut self, path: &Path, meta: Meta, content: Content<'_>) -> io::Result<()> {
        let Content::Read(read) = content else { panic!("an archive has no open files") };
        let mut bytes = Vec::new();
        read.read_to_end(&mut bytes)?;
        self.modes.insert(checked(path), meta.mode);
        self.files.insert(checked(path), bytes);
        Ok(())
    }

    fn again(&mut self, path: &Path, first: &Path) -> io::Result<()> {
        self.again.push((checked(path), checked(first)));
        Ok(())
    }
}

/// One member, with a name as it is.
fn member(archive: &mut Vec<u8>, kind: EntryType, name: &str, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    let fields = header.as_gnu_mut().unwrap();
    fields.name[..name.len()].copy_from_slice(name.as_bytes());
    fields.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    archive.extend_from_slice(header.as_bytes());
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(BLOCK), 0);
}

fn archive(members: &[(EntryType, &str, &str, &[u8])]) -> Vec<u8> {
    let mut archive = Vec::new();
    for (kind, name, link, content) in members {
        member(&mut archive, *kind, name, link, content);
    }
    archive.resize(archive.len() + 2 * BLOCK, 0);
    archive
}

fn unpacked(mut archive: &[u8]) -> io::Result<Kept> {
    let mut kept = Kept::default();
    unpack(&mut archive, &mut kept).map(|()| kept)
}

fn refused(members: &[(EntryType, &str, &str, &[u8])]) -> String {
    unpacked(&archive(members)).unwrap_err().to_string()
}

const FOLDER: (EntryType, &str, &str, &[u8]) = (EntryType::Directory, "out/", "", b"");

#[test]
fn the_content_of_a_folder_comes_without_its_name_and_a_file_with_it() {
    let tree = unpacked(&archive(&[
        FOLDER,
        (EntryType::Regular, "out/a", "", b"1"),
        (EntryType::Directory, "out/d/", "", b""),
        (EntryType::Regular, "out/d/-b", "", &[7; 700]),
    ]))
    .unwrap();
    assert_eq!(tree.folders, ["d"]);
    assert_eq!(tree.files, BTreeMap::from([("a".into(), b"1".to_vec()), ("d/-b".into(), vec![7; 700])]));
    let file = unpacked(&archive(&[(EntryType::Regular, "result.json", "", b"{}")])).unwrap();
    assert_eq!(file.files, BTreeMap::from([("result.json".into(), b"{}".to_vec())]));
}

#[test]
fn names_that_lead_out_of_the_root_refuse_the_whole_archive() {
    for name in ["../x", "/etc/passwd", "out/../../x", "out/..", "other/x", "out\\..\\x", ""] {
        let error = refused(&[FOLDER, (EntryType::Regular, name, "", b"1")]);
        assert!(error.starts_with("the engine's archive cannot be read"), "{name}: {error}");
    }
    for root in ["../out/", "/out/", "./", "out/deeper/"] {
        refused(&[(EntryType::Directory, root, "", b"")]);
    }
}

#[test]
fn links_devices_pipes_and_what_is_unknown_are_passed_over() {
    let tree = unpacked(&archive(&[
        FOLDER,
        (EntryType::Symlink, "out/s", "/etc/passwd", b""),
        (EntryType::Char, "out/c", "", b""),
        (EntryType::Block, "out/b", "", b""),
        (EntryType::Fifo, "out/f", "", b""),
        (EntryType::new(b'V'), "out/v", "", b"volume"),
        (EntryType::Regular, "out/a", "", b"1"),
    ]));
    assert_eq!(tree.unwrap().files.into_keys().collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_hard_link_is_a_second_name_within_the_root_and_nothing_beyond_it() {
    let tree = unpacked(&archive(&[
        FOLDER,
        (EntryType::Regular, "out/a", "", b"1"),
        (EntryType::Link, "out/b", "out/a", b""),
        (EntryType::Link, "out/c", "/etc/passwd", b""),
        (EntryType::Link, "out/d", "out/../../x", b""),
        (EntryType::Link, "out/e", "", b""),
    ]));
    assert_eq!(tree.unwrap().again, [("b".to_owned(), "a".to_owned())]);
}

#[test]
fn a_link_or_a_device_as_the_root_is_refused() {
    assert_eq!(refused(&[(EntryType::Symlink, "s", "/etc/passwd", b"")]), "it is a link");
    assert_eq!(refused(&[(EntryType::Link, "s", "x", b"")]), "it is a link");
    assert_eq!(refused(&[(EntryType::Fifo, "f", "", b"")]), "it is neither a file nor a folder");
}

#[test]
fn long_names_come_in_either_form() {
    let long = format!("out/{}/{}", "d".repeat(120), "f".repeat(200));
    let below = long.strip_prefix("out/").unwrap();
    let mut gnu = archive(&[FOLDER]);
    gnu.truncate(BLOCK);
    member(&mut gnu, EntryType::GNULongName, "././@LongLink", "", format!("{long}\0").as_bytes());
    member(&mut gnu, EntryType::Regular, "cut", "", b"1");
    gnu.resize(gnu.len() + 2 * BLOCK, 0);
    let mut pax = Builder::new(archive(&[FOLDER])[..BLOCK].to_vec());
    pax.append_pax_extensions([("mtime", &b"1.5"[..]), ("path", long.as_bytes())]).unwrap();
    let mut header = Header::new_gnu();
    header.set_size(1);
    header.set_cksum();
    pax.append(&header, &b"1"[..]).unwrap();
    for archive in [gnu, pax.into_inner().unwrap()] {
        assert_eq!(unpacked(&archive).unwrap().files.into_keys().collect::<Vec<_>>(), [below]);
    }
}

#[test]
fn a_name_with_a_line_break_cannot_bring_a_record_of_its_own() {
    let hostile = "out/a\n22 path=/etc/hostile\n";
    let mut archive = Builder::new(archive(&[FOLDER])[..BLOCK].to_vec());
    archive.append_pax_extensions([("path", hostile.as_bytes())]).unwrap();
    let mut header = Header::new_gnu();
    header.set_size(0);
    header.set_cksum();
    archive.append(&header, io::empty()).unwrap();
    let tree = unpacked(&archive.into_inner().unwrap()).unwrap();
    assert_eq!(tree.files.into_keys().collect::<Vec<_>>(), ["a\n22 path=/etc/hostile\n"]);
}

#[test]
fn extensions_that_are_damaged_too_large_or_sparse_are_refused() {
    let large = vec![b'x'; (1 << 20) + 1];
    for content in [
        &b"12 path"[..],
        b"0 path=a\n",
        b"99999999999999999999 a=b\n",
        b"-1 a=b\n",
        b"6 a=b\n\n",
        b"10 size=x\n",
        b"23 GNU.sparse.realsize=1\n",
        &large,
    ] {
        let members =
            [FOLDER, (EntryType::XHeader, "x", "", content), (EntryType::Regular, "out/a", "", b"")];
        refused(&members);
    }
    refused(&[FOLDER, (EntryType::GNUSparse, "out/a", "", b"")]);
    let without_end = [(EntryType::XHeader, "x", "", &b""[..]); 9];
    assert!(refused(&without_end).contains("extensions of nothing"));
}

#[test]
fn an_archive_that_is_cut_short_anywhere_is_refused() {
    let whole =
        archive(&[FOLDER, (EntryType::Regular, "out/a", "", &[1; 600]), (EntryType::Fifo, "out/f", "", b"")]);
    let needed = whole.len() - BLOCK;
    assert_eq!(unpacked(&whole[..needed]).unwrap().files.len(), 1);
    for length in 0..needed {
        assert!(unpacked(&whole[..length]).unwrap_err().to_string().contains("cut short"), "{length}");
    }
}

#[test]
fn a_header_with_a_wrong_sum_is_refused() {
    let mut damaged = archive(&[FOLDER, (EntryType::Regular, "out/a", "", b"1")]);
    damaged[BLOCK + 20] ^= 1;
    assert!(unpacked(&damaged).unwrap_err().to_string().contains("damaged"));
}

#[test]
fn a_size_that_is_no_number_is_refused_in_few_words() {
    let mut archive = archive(&[(EntryType::Directory, "root/", "", b"")]);
    archive[124..136]
        .copy_from_slice(&[b'7', b'7', 0xcd, 0xff, b'z', 0xcd, 0xff, b'z', 0xcd, 0xff, b'z', 0xcd]);
    let mut header = Header::from_byte_slice(&archive[..BLOCK]).clone();
    header.set_cksum();
    archive[..BLOCK].copy_from_slice(header.as_bytes());
    let refusal = unpacked(&archive).unwrap_err().to_string();
    assert_eq!(refusal, "the engine's archive cannot be read: a size is no number");
}

#[test]
fn a_size_of_the_largest_number_reads_no_further_than_the_archive() {
    let mut archive = archive(&[FOLDER]);
    archive.truncate(BLOCK);
    let mut header = Header::new_gnu();
    header.as_gnu_mut().unwrap().name[..5].copy_from_slice(b"out/a");
    header.set_size(u64::MAX >> 1);
    header.set_cksum();
    archive.extend_from_slice(header.as_bytes());
    assert!(unpacked(&archive).unwrap_err().to_string().contains("cut short"));
}

/// What we write for the engine is read by the same rules, so that both ends agree on every name and mode.
fn packed(tree: &Kept) -> Vec<u8> {
    let meta = |mode, size: usize| Meta { mode, size: size as u64, modified: 1 };
    let mut root = Vec::new();
    member(&mut root, EntryType::Directory, "out/", "", b"");
    let mut pack = Pack::new(root, Owner::Ids { uid: 1, gid: 1 });
    for folder in &tree.folders {
        pack.folder(&Path::new("out").join(folder), meta(0o755, 0)).unwrap();
    }
    for (name, content) in &tree.files {
        let content = Content::Read(&mut content.as_slice());
        pack.file(&Path::new("out").join(name), meta(tree.modes[name], tree.files[name].len()), content)
            .unwrap();
    }
    pack.finish().unwrap()
}

proptest! {
    #[test]
    fn what_is_packed_is_unpacked_the_same(
        names in proptest::collection::btree_set("[^/\\\\\0.][^/\\\\\0]{0,60}(/[^/\\\\\0.][^/\\\\\0]{0,60}){0,4}", 1..5),
        sizes in proptest::collection::vec(0..1500_usize, 5),
        modes in proptest::collection::vec(0o600..0o1000_u32, 5),
    ) {
        let mut tree = Kept { folders: vec!["first".to_owned()], ..Kept::default() };
        for ((name, size), mode) in names.iter().zip(sizes).zip(modes) {
            tree.files.insert(name.clone(), vec![b'x'; size]);
            tree.modes.insert(name.clone(), mode & 0o777 | 0o600);
        }
        prop_assert_eq!(unpacked(&packed(&tree)).unwrap(), tree);
    }

    #[test]
    fn no_archive_makes_it_panic_or_leave_the_root(
        noise in proptest::collection::vec((0..4096_usize, any::<u8>()), 0..20),
        repair in any::<bool>(),
    ) {
        let mut bytes = archive(&[
            FOLDER,
            (EntryType::XHeader, "x", "", b"14 path=out/z\n"),
            (EntryType::Regular, "out/a", "", &[1; 600]),
            (EntryType::Link, "out/b", "out/a", b""),
        ]);
        for (at, byte) in noise {
            let length = bytes.len();
            bytes[at % length] = byte;
        }
        if repair {
            for block in bytes.chunks_exact_mut(BLOCK) {
                let mut header = Header::from_byte_slice(block).clone();
                header.set_cksum();
                block.copy_from_slice(header.as_bytes());
            }
        }
        drop(unpacked(&bytes));
    }
}
