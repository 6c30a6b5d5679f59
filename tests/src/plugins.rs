//! Plugin folders as operators keep them, with the guests that `cargo xtask guests` has built.

use std::env;
use std::fs;
use std::path::PathBuf;

use crate::folder::Folder;

/// Names the folder with the built guests; `cargo xtask test` sets it.
const GUESTS: &str = "SEMILAYER_TEST_GUESTS";

/// The file of a built guest.
pub fn guest(name: &str) -> PathBuf {
    let folder = env::var_os(GUESTS).unwrap_or_else(|| {
        panic!("{GUESTS} is not set: run `cargo xtask test`, or `cargo xtask guests` first")
    });
    let file = PathBuf::from(folder).join(format!("{name}.wasm"));
    assert!(file.is_file(), "there is no {}: run `cargo xtask guests`", file.display());
    file
}

/// A guest that does the same and is another file: its `version` stands in a custom section.
pub fn changed(name: &str, version: u8) -> Vec<u8> {
    let mut bytes = fs::read(guest(name)).unwrap();
    // A custom section: id 0, its length, the length of its name, its name, its content.
    bytes.extend([0, 6, 4, b't', b'e', b's', b't', version]);
    bytes
}

/// A plugin folder.
#[derive(Debug)]
pub struct PluginFolder(Folder);

impl PluginFolder {
    /// One with these guests.
    pub fn with(guests: &[&str]) -> Self {
        let folder = Self(Folder::new());
        guests.iter().for_each(|name| folder.put(name, &fs::read(guest(name)).unwrap()));
        folder
    }

    /// For `SEMILAYER_PLUGIN_DIR`.
    pub fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    /// Puts a file in place, or in the place of one, at once: readers see the old or the new one.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        self.put_file(&format!("{name}.wasm"), bytes);
    }

    /// Puts the signature of a component in place.
    pub fn put_signature(&self, name: &str, bytes: &[u8]) {
        self.put_file(&format!("{name}.wasm.sig"), bytes);
    }

    fn put_file(&self, name: &str, bytes: &[u8]) {
        let (beside, file) = (self.0.path().join("new"), self.0.path().join(name));
        fs::write(&beside, bytes).unwrap();
        fs::rename(beside, file).unwrap();
    }

    /// Puts a guest in place that does the same as before and is another file.
    pub fn put_changed(&self, name: &str, version: u8) {
        self.put(name, &changed(name, version));
    }

    /// Takes a guest away.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.0.path().join(format!("{name}.wasm"))).unwrap();
    }

    /// Takes the signature of a component away.
    pub fn remove_signature(&self, name: &str) {
        fs::remove_file(self.0.path().join(format!("{name}.wasm.sig"))).unwrap();
    }
}
