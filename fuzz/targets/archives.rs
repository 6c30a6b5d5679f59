#![no_main]
//! The engine's archive of a path in a container, whose names, kinds and sizes are the container's: in any pieces it is the
//! same tree, and nothing of it leads out of its root.

use std::path::{Component, Path};

use libfuzzer_sys::fuzz_target;
use sandbox::fuzzing::{Landed, landed};

fuzz_target!(|input: &[u8]| {
    let Some((piece, archive)) = input.split_first() else { return };
    let archive = &with_sums(archive)[..];
    let whole = landed(archive, usize::MAX);
    assert_eq!(landed(archive, usize::from(*piece)), whole);
    match whole {
        Ok(tree) => {
            tree.iter().for_each(stays);
            assert!(tree.iter().map(size).sum::<usize>() <= archive.len());
        }
        Err(refusal) => assert!(refusal.len() <= 256),
    }
});

/// Every block that looks like a header gets the sum that it needs to be read as one.
fn with_sums(archive: &[u8]) -> Vec<u8> {
    let mut archive = archive.to_vec();
    for block in archive.chunks_exact_mut(512).filter(|block| block[257..].starts_with(b"ustar")) {
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    }
    archive
}

fn stays(landed: &Landed) {
    let check = |path: &Path| {
        assert!(path.components().next().is_some());
        assert!(path.components().all(|name| matches!(name, Component::Normal(_))), "{path:?}");
    };
    match landed {
        Landed::Folder(path) | Landed::File(path, _) => check(path),
        Landed::Again(path, first) => {
            check(path);
            check(first);
        }
    }
}

fn size(landed: &Landed) -> usize {
    match landed {
        Landed::File(_, content) => content.len(),
        Landed::Folder(_) | Landed::Again(..) => 0,
    }
}
