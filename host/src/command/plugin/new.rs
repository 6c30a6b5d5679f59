//! `plugin new`: a folder with a plugin that is still to be written.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use runtime::Exit;

use super::error::Refusal;
use super::name::Name;
use super::template;
use crate::cli::{Language, NewPlugin};
use crate::command::print;
use crate::registry::{FAMILY, Registry};

/// What every template needs to be told; nothing answers there, and nothing asks before `read` is written.
const SETTING: &str = "baseUrl=http://localhost:8080";

pub(super) fn run(
    new: &NewPlugin,
    registry: &Registry,
    out: &mut (dyn Write + Send),
) -> Result<Exit, Refusal> {
    let name = Name::parse(&new.name)?;
    if registry.is_native(&name.package) || registry.is_native(&format!("{FAMILY}{}", name.package)) {
        let reason = "a bridge of that name is compiled into the runner, which always takes that one";
        return Err(Refusal::Name { name: name.package, reason });
    }
    let sdk = new.sdk.as_deref().map(sdk_folder).transpose()?;
    let files = template::files(new.lang, &name, sdk.as_deref())?;
    let folder = new.dir.clone().unwrap_or_else(|| PathBuf::from(&name.project));
    make_folder(&folder)?;
    for file in files {
        let path = folder.join(file.path);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(Refusal::io("make", parent))?;
        }
        fs::write(&path, file.text).map_err(Refusal::io("write", &path))?;
    }
    let mut said = next_steps(new.lang, &folder, &name);
    if new.lang == Language::Rust && new.sdk.is_none() {
        said.push_str(&format!("\n\n{}", template::RELEASED_SDK));
    }
    Ok(print(out, &said))
}

/// Makes the folder, or takes an empty one.
fn make_folder(folder: &Path) -> Result<(), Refusal> {
    fs::create_dir_all(folder).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => Refusal::Taken(folder.to_owned()),
        _ => Refusal::io("make", folder)(error),
    })?;
    let mut entries = fs::read_dir(folder).map_err(Refusal::io("read", folder))?;
    if entries.next().is_some() { Err(Refusal::Taken(folder.to_owned())) } else { Ok(()) }
}

/// The SDK's folder, by a path that holds from anywhere.
fn sdk_folder(folder: &Path) -> Result<PathBuf, Refusal> {
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap_or_default();
    let is_sdk = manifest.lines().any(|line| line.trim() == "name = \"semilayer-plugin\"");
    let folder = is_sdk.then(|| fs::canonicalize(folder).ok()).flatten().ok_or_else(|| folder.to_owned());
    folder.map_err(Refusal::NoSdk)
}

fn next_steps(language: Language, folder: &Path, name: &Name) -> String {
    let quoted = |path: &Path| shown(&path.to_string_lossy());
    let (own, file) = (quoted(folder), quoted(&folder.join(format!("{}.wasm", name.project))));
    let tools = match language {
        Language::Rust => "rustup target add wasm32-wasip2".to_owned(),
        Language::Python => {
            let (venv, wanted) = (folder.join(".venv"), folder.join("requirements.txt"));
            let pip = quoted(&venv.join("bin/pip"));
            format!("python3 -m venv {} && {pip} install -r {}", quoted(&venv), quoted(&wanted))
        }
        Language::Js => format!("npm ci --prefix {own}"),
    };
    format!(
        "made {} in {own}\n\nnext:\n  {tools}   # once\n  semilayer-runner plugin build {own}\n  semilayer-runner plugin \
         test {file} --config {SETTING}   # says what is still to be written\n\nmore in {}",
        name.package,
        quoted(&folder.join("README.md"))
    )
}

/// As a shell takes it for one word.
fn shown(text: &str) -> String {
    let is_plain = |c: char| {
        c.is_alphanumeric() || matches!(c, '/' | '.' | '_' | '-' | '+' | ',' | ':' | '@' | '%' | '=')
    };
    if !text.is_empty() && text.chars().all(is_plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Language;

    fn new(name: &str, dir: PathBuf) -> NewPlugin {
        NewPlugin { name: name.to_owned(), lang: Language::Rust, dir: Some(dir), sdk: None }
    }

    fn refusal(new: &NewPlugin) -> String {
        run(new, &Registry::native(), &mut Vec::new()).unwrap_err().to_string()
    }

    #[test]
    fn a_folder_with_something_in_it_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("things");
        let made = run(&new("@acme/bridge-things", dir.clone()), &Registry::native(), &mut Vec::new());
        assert_eq!(made.unwrap(), Exit::Clean);
        let before = fs::read_to_string(dir.join("Cargo.toml")).unwrap();
        assert!(refusal(&new("other", dir.clone())).ends_with("name another folder with --dir"));
        assert!(refusal(&new("other", dir.join("Cargo.toml"))).ends_with("name another folder with --dir"));
        assert_eq!(fs::read_to_string(dir.join("Cargo.toml")).unwrap(), before);
    }

    #[test]
    fn a_name_that_the_runner_would_not_load_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["@semilayer/bridge-postgres", "postgres"] {
            assert!(
                refusal(&new(name, folder.path().join("x"))).contains("compiled into the runner"),
                "{name}"
            );
        }
    }

    #[test]
    fn a_folder_with_blanks_is_one_word_of_the_printed_commands() {
        let name = Name::parse("@acme/bridge-things").unwrap();
        let steps = next_steps(Language::Python, Path::new("my plugin's"), &name);
        for line in [
            r"  python3 -m venv 'my plugin'\''s/.venv' && 'my plugin'\''s/.venv/bin/pip' install -r 'my plugin'\''s/requirements.txt'",
            r"  semilayer-runner plugin build 'my plugin'\''s'",
            r"  semilayer-runner plugin test 'my plugin'\''s/bridge-things.wasm' --config baseUrl=",
        ] {
            assert!(steps.contains(line), "{line}\n{steps}");
        }
    }

    #[test]
    fn who_has_no_access_to_the_released_sdk_is_told_of_another_way() {
        let folder = tempfile::tempdir().unwrap();
        let said = |name: &str, sdk: Option<PathBuf>| {
            let mut out = Vec::new();
            let new = NewPlugin { sdk, ..new(name, folder.path().join(name)) };
            run(&new, &Registry::native(), &mut out).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert!(said("released", None).contains("--sdk"));
        let sdk = Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins-sdk");
        assert!(!said("local", Some(sdk)).contains("--sdk"));
    }

    #[test]
    fn what_is_not_the_sdk_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let sdk = Some(folder.path().to_owned());
        let new = NewPlugin { sdk, ..new("things", folder.path().join("x")) };
        assert!(refusal(&new).contains("plugins-sdk"));
        assert!(!folder.path().join("x").exists());
    }
}
