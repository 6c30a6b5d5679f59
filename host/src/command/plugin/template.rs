//! The files of a new plugin.
//!
//! Each template is a whole project in `plugins-sdk/templates`, which builds where it lies. Its own names stand for those
//! of the new plugin: [`PACKAGE`], [`PROJECT`] and [`DISPLAY`] occur nowhere else in it.

use std::path::Path;

use super::error::Refusal;
use super::name::Name;
use crate::cli::Language;

const PACKAGE: &str = "@example/bridge-template";
const PROJECT: &str = "bridge-template";
const DISPLAY: &str = "Template";
/// How the Rust template depends on the SDK beside it.
const OWN_SDK: &str = "semilayer-plugin = { path = \"../..\" }";
const REPOSITORY: &str = env!("CARGO_PKG_REPOSITORY");
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// What a Rust plugin needs that does not name an SDK of its own.
pub(super) const RELEASED_SDK: &str = concat!(
    "the build fetches the SDK from ",
    env!("CARGO_PKG_REPOSITORY"),
    ", tag v",
    env!("CARGO_PKG_VERSION"),
    "; where that\ncannot be had, make the plugin with --sdk DIR, the folder plugins-sdk of a checkout"
);

/// A file to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TemplateFile {
    /// Below the plugin's folder, with slashes.
    pub(super) path: &'static str,
    pub(super) text: String,
}

/// The files of one language: where they go, and what is in them.
struct Template {
    language: Language,
    files: &'static [(&'static str, &'static str)],
    /// Whether tools need the interface itself, because no SDK brings it.
    has_interface: bool,
}

static TEMPLATES: &[Template] = &[
    Template {
        language: Language::Rust,
        files: &[
            ("Cargo.toml", include_str!("../../../../plugins-sdk/templates/rust/Cargo.toml")),
            ("README.md", include_str!("../../../../plugins-sdk/templates/rust/README.md")),
            (".gitignore", include_str!("../../../../plugins-sdk/templates/rust/.gitignore")),
            ("src/lib.rs", include_str!("../../../../plugins-sdk/templates/rust/src/lib.rs")),
        ],
        has_interface: false,
    },
    Template {
        language: Language::Python,
        files: &[
            ("pyproject.toml", include_str!("../../../../plugins-sdk/templates/python/pyproject.toml")),
            ("requirements.txt", include_str!("../../../../plugins-sdk/templates/python/requirements.txt")),
            ("README.md", include_str!("../../../../plugins-sdk/templates/python/README.md")),
            (".gitignore", include_str!("../../../../plugins-sdk/templates/python/.gitignore")),
            ("app.py", include_str!("../../../../plugins-sdk/templates/python/app.py")),
            ("bridge.py", include_str!("../../../../plugins-sdk/examples/python/bridge.py")),
        ],
        has_interface: true,
    },
    Template {
        language: Language::Js,
        files: &[
            ("package.json", include_str!("../../../../plugins-sdk/templates/js/package.json")),
            ("package-lock.json", include_str!("../../../../plugins-sdk/templates/js/package-lock.json")),
            ("README.md", include_str!("../../../../plugins-sdk/templates/js/README.md")),
            (".gitignore", include_str!("../../../../plugins-sdk/templates/js/.gitignore")),
            ("app.js", include_str!("../../../../plugins-sdk/templates/js/app.js")),
            ("bridge.js", include_str!("../../../../plugins-sdk/examples/javascript/bridge.js")),
        ],
        has_interface: true,
    },
];

static INTERFACE: &[(&str, &str)] = &[
    ("wit/bridge.wit", include_str!("../../../../plugins-sdk/wit/bridge.wit")),
    ("wit/host.wit", include_str!("../../../../plugins-sdk/wit/host.wit")),
    ("wit/http.wit", include_str!("../../../../plugins-sdk/wit/http.wit")),
    ("wit/net.wit", include_str!("../../../../plugins-sdk/wit/net.wit")),
    ("wit/types.wit", include_str!("../../../../plugins-sdk/wit/types.wit")),
    ("wit/world.wit", include_str!("../../../../plugins-sdk/wit/world.wit")),
];

/// The files of a plugin of that name, which depends on the released SDK, or on the one in the folder `sdk`.
pub(super) fn files(
    language: Language,
    name: &Name,
    sdk: Option<&Path>,
) -> Result<Vec<TemplateFile>, Refusal> {
    let template = TEMPLATES.iter().find(|template| template.language == language);
    let template = template.ok_or(Refusal::NoTemplate(language))?;
    let dependency = dependency(sdk);
    let own = |(path, text): &(&'static str, &str)| TemplateFile {
        path,
        // The longer name first: it has the shorter in it.
        text: text
            .replace(OWN_SDK, &dependency)
            .replace(PACKAGE, &name.package)
            .replace(PROJECT, &name.project)
            .replace(DISPLAY, &name.display),
    };
    let interface = if template.has_interface { INTERFACE } else { &[] };
    let as_it_is = |(path, text): &(&'static str, &str)| TemplateFile { path, text: (*text).to_owned() };
    Ok(template.files.iter().map(own).chain(interface.iter().map(as_it_is)).collect())
}

fn dependency(sdk: Option<&Path>) -> String {
    match sdk {
        // A text of JSON is one of TOML: the path of a folder may have quotes in it.
        Some(sdk) => {
            let path = serde_json::Value::from(sdk.to_string_lossy());
            format!("semilayer-plugin = {{ path = {path} }}")
        }
        None => format!("semilayer-plugin = {{ git = \"{REPOSITORY}\", tag = \"v{VERSION}\" }}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANGUAGES: [Language; 3] = [Language::Rust, Language::Python, Language::Js];

    fn of(language: Language, sdk: Option<&Path>) -> Vec<TemplateFile> {
        files(language, &Name::parse("@acme/bridge-things").unwrap(), sdk).unwrap()
    }

    fn rust(sdk: Option<&Path>) -> Vec<TemplateFile> {
        of(Language::Rust, sdk)
    }

    fn text<'a>(files: &'a [TemplateFile], path: &str) -> &'a str {
        &files.iter().find(|file| file.path == path).unwrap().text
    }

    #[test]
    fn a_new_plugin_has_its_own_names_everywhere() {
        for file in LANGUAGES.into_iter().flat_map(|language| of(language, None)) {
            for foreign in ["@example", "bridge-template", "Template", "../.."] {
                assert!(!file.text.contains(foreign), "{foreign} in {}:\n{}", file.path, file.text);
            }
        }
        let files = rust(None);
        let manifest: toml::Table = text(&files, "Cargo.toml").parse().unwrap();
        assert_eq!(manifest["package"]["name"].as_str(), Some("bridge-things"));
        let sdk = &manifest["dependencies"]["semilayer-plugin"];
        assert_eq!(sdk["tag"].as_str(), Some(concat!("v", env!("CARGO_PKG_VERSION"))));
        assert!(text(&files, "src/lib.rs").contains("Description::new(\"@acme/bridge-things\", \"Things\")"));
    }

    #[test]
    fn a_checkouts_sdk_may_be_anywhere() {
        let files = rust(Some(Path::new("/a \"b\"/sdk")));
        let manifest: toml::Table = text(&files, "Cargo.toml").parse().unwrap();
        let path = &manifest["dependencies"]["semilayer-plugin"]["path"];
        assert_eq!(path.as_str(), Some("/a \"b\"/sdk"));
    }

    #[test]
    fn a_new_plugin_says_in_ten_lines_how_to_go_on() {
        for language in LANGUAGES {
            let files = of(language, None);
            let readme = text(&files, "README.md");
            assert!(readme.lines().filter(|line| !line.trim().is_empty()).count() <= 10, "{readme}");
            for command in ["plugin build", "plugin test bridge-things.wasm", "plugin inspect"] {
                assert!(readme.contains(command), "{command} in {language:?}");
            }
        }
    }

    #[test]
    fn words_of_the_templates_stand_in_no_file_that_others_share() {
        let shared = TEMPLATES.iter().flat_map(|template| template.files);
        let shared = shared.filter(|(path, _)| path.starts_with("bridge."));
        for (path, text) in shared {
            for word in [PACKAGE, PROJECT, DISPLAY, OWN_SDK] {
                assert!(!text.contains(word), "{word} in {path} would be replaced");
            }
        }
    }
}
