//! The interface that the crate is built from, and what its documentation says of a new plugin.

use std::fs;
use std::path::Path;

/// A package has no files outside of its folder, so the SDK brings a copy of the interface that it speaks.
#[test]
fn the_interface_in_the_package_is_the_one_in_the_repository() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let files = |folder: &Path| {
        let mut files: Vec<(String, String)> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "wit"))
            .map(|path| {
                (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
            })
            .collect();
        files.sort();
        files
    };
    let ours = files(&package.join("wit"));
    assert!(!ours.is_empty());
    assert!(ours == files(&package.join("../wit/0.1.0")), "copy wit/0.1.0/*.wit to plugins-sdk/wit");
}

/// What `plugin new` writes is the template with other names, and with the release in place of the checkout.
#[test]
fn the_manifest_in_the_tutorial_is_that_of_the_template() {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &str| fs::read_to_string(package.join(path)).unwrap();
    let tutorial = read("../docs/plugins/writing.md");
    let (_, shown) = tutorial.split_once("```toml\n").unwrap();
    let (shown, _) = shown.split_once("```").unwrap();
    let (repository, version) = (env!("CARGO_PKG_REPOSITORY"), env!("CARGO_PKG_VERSION"));
    let released = format!("semilayer-plugin = {{ git = \"{repository}\", tag = \"v{version}\" }}");
    let written = read("templates/rust/Cargo.toml")
        .replace("semilayer-plugin = { path = \"../..\" }", &released)
        .replace("bridge-template", "bridge-things")
        .replace("Template", "Things");
    assert_eq!(shown, written);
}
