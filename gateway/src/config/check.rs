//! Whether a document is a config, with every mistake named by its path.
//!
//! A key that nobody knows is a mistake, because it is a typing error more often than not; a key that a later version
//! will serve is a warning, so that one config can be pushed to both. Access rules are the exception: what this version
//! cannot enforce it refuses, or data would be more open than the config says.

mod lens;
mod path;

use protocol::{CredentialsLocation, SourceConfig};
use runtime::spelling::closest;

use super::Node;
use crate::error::{ConfigMistake, ConfigMistakes};
use crate::names;

pub use lens::DeclaredLens;
pub(super) use lens::lens;
use path::Path;

/// A config without a mistake.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The sources in their order; `None` when the config does not speak of sources.
    pub sources: Option<Vec<DeclaredSource>>,
    /// The lenses in their order; `None` when the config does not speak of lenses.
    pub lenses: Option<Vec<DeclaredLens>>,
    /// What is accepted and not served.
    pub warnings: Vec<ConfigWarning>,
}

/// A source of a config.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredSource {
    /// Its name.
    pub name: String,
    /// Package name of the bridge.
    pub bridge: String,
    /// Where its credentials are; as before, or managed, when the config does not say.
    pub location: Option<CredentialsLocation>,
    /// The bridge's settings; as before, or none, when the config has none.
    pub config: Option<SourceConfig>,
    /// How long a job may take, in milliseconds.
    pub timeout_ms: Option<u64>,
}

/// Something that was accepted and has no effect.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize, utoipa::ToSchema)]
pub struct ConfigWarning {
    /// Dotted path.
    pub path: String,
    /// What is so.
    pub message: String,
}

const TOP: [&str; 4] = ["stack", "sources", "lenses", "auth"];
const LATER: &str = "accepted, not served by this version";
/// A day.
const MAX_TIMEOUT_MS: u64 = 86_400_000;

/// Checks a document as a whole.
pub fn check(document: &Node) -> Result<Config, ConfigMistakes> {
    let mut checker = Checker::default();
    let config = checker.config(document);
    match config {
        Some(config) if checker.mistakes.is_empty() => Ok(Config { warnings: checker.warnings, ..config }),
        _ => Err(ConfigMistakes(checker.mistakes)),
    }
}

/// Collects what is wrong.
#[derive(Default)]
struct Checker {
    mistakes: Vec<ConfigMistake>,
    warnings: Vec<ConfigWarning>,
}

impl Checker {
    fn config(&mut self, document: &Node) -> Option<Config> {
        let root = Path::root();
        let entries = self.map(&root, document)?;
        for (key, value) in entries {
            match key.as_str() {
                "sources" | "lenses" => {}
                "stack" => drop(self.text(&root.key(key), value)),
                "auth" => self.later(&root.key(key)),
                _ => self.unknown(&root, key, &TOP),
            }
        }
        if document.get("sources").is_none() && document.get("lenses").is_none() {
            self.mistake(&root, "expected sources, lenses or both");
        }
        let sources = document.get("sources").map(|sources| self.sources(&root.key("sources"), sources));
        let lenses = document.get("lenses").map(|lenses| self.lenses(&root.key("lenses"), lenses));
        Some(Config { sources, lenses, warnings: Vec::new() })
    }

    fn sources(&mut self, path: &Path, node: &Node) -> Vec<DeclaredSource> {
        let entries = self.map(path, node).unwrap_or_default();
        entries.iter().filter_map(|(name, source)| self.source(&path.key(name), name, source)).collect()
    }

    fn source(&mut self, path: &Path, name: &str, node: &Node) -> Option<DeclaredSource> {
        self.name(path, name);
        let entries = self.map(path, node)?;
        let bridge = self.bridge(path, node);
        let location = node
            .get("credentialsLocation")
            .and_then(|location| self.location(&path.key("credentialsLocation"), location));
        let config = self.settings(path, entries);
        if location == Some(CredentialsLocation::RunnerLocal) && config.is_some() {
            let fields: Vec<&str> = config.iter().flat_map(SourceConfig::names).collect();
            let message =
                format!("a runner-local source has its settings on the runner; remove {}", fields.join(", "));
            self.mistake(path, message);
        }
        let timeout_ms = self.timeout(path, node);
        Some(DeclaredSource { name: name.to_owned(), bridge: bridge?, location, config, timeout_ms })
    }

    fn bridge(&mut self, path: &Path, source: &Node) -> Option<String> {
        let Some(bridge) = source.get("bridge") else {
            self.mistake(&path.key("bridge"), format!("is required: {}", names::PACKAGE));
            return None;
        };
        let package = bridge.text().and_then(names::package);
        if package.is_none() {
            self.mistake(&path.key("bridge"), format!("expected {}", names::PACKAGE));
        }
        package
    }

    fn location(&mut self, path: &Path, node: &Node) -> Option<CredentialsLocation> {
        match node.text() {
            Some("managed") => Some(CredentialsLocation::Managed),
            Some("runner-local") => Some(CredentialsLocation::RunnerLocal),
            _ => {
                self.mistake(path, "expected \"managed\" or \"runner-local\"");
                None
            }
        }
    }

    /// The bridge's settings: `config`, and every key of the source that is not ours.
    fn settings(&mut self, path: &Path, entries: &[(String, Node)]) -> Option<SourceConfig> {
        let mut fields = serde_json::Map::new();
        let mut given = false;
        for (key, value) in entries {
            match key.as_str() {
                "bridge" | "credentialsLocation" | "timeout" | "timeoutMs" => {}
                "config" => {
                    given = true;
                    for (key, value) in self.map(&path.key("config"), value).unwrap_or_default() {
                        self.setting(&path.key("config").key(key), &mut fields, key, value);
                    }
                }
                _ => {
                    given = true;
                    self.setting(&path.key(key), &mut fields, key, value);
                }
            }
        }
        // `config: {}` is how a source without settings is exported; it says nothing about those that are kept here.
        (given && !fields.is_empty()).then(|| SourceConfig::new(fields))
    }

    fn setting(
        &mut self,
        path: &Path,
        fields: &mut serde_json::Map<String, serde_json::Value>,
        key: &str,
        value: &Node,
    ) {
        if !names::is_setting(key) {
            self.mistake(path, format!("expected {}", names::SETTING));
        }
        if fields.insert(key.to_owned(), value.to_json()).is_some() {
            self.mistake(path, "is given twice, in config and beside it");
        }
    }

    fn timeout(&mut self, path: &Path, source: &Node) -> Option<u64> {
        let key = if source.get("timeoutMs").is_some() { "timeoutMs" } else { "timeout" };
        let node = source.get(key)?;
        let millis = match node {
            Node::Number(number) => number.as_u64().filter(|millis| (1..=MAX_TIMEOUT_MS).contains(millis)),
            Node::Null | Node::Bool(_) | Node::Text(_) | Node::List(_) | Node::Map(_) => None,
        };
        if millis.is_none() {
            self.mistake(&path.key(key), format!("expected milliseconds from 1 to {MAX_TIMEOUT_MS}"));
        }
        millis
    }

    fn lenses(&mut self, path: &Path, node: &Node) -> Vec<DeclaredLens> {
        let entries = self.map(path, node).unwrap_or_default();
        entries.iter().filter_map(|(name, lens)| self.lens(&path.key(name), name, lens)).collect()
    }

    fn name(&mut self, path: &Path, name: &str) {
        if !names::is_name(name) {
            self.mistake(path, format!("expected a name of {}", names::NAME));
        }
    }

    fn map<'n>(&mut self, path: &Path, node: &'n Node) -> Option<&'n [(String, Node)]> {
        let entries = node.entries();
        if entries.is_none() {
            self.mistake(path, "expected an object");
        }
        entries
    }

    fn text<'n>(&mut self, path: &Path, node: &'n Node) -> Option<&'n str> {
        let text = node.text().filter(|text| !text.is_empty());
        if text.is_none() {
            self.mistake(path, "expected text");
        }
        text
    }

    fn mistake(&mut self, path: &Path, message: impl Into<String>) {
        self.mistakes.push(ConfigMistake { path: path.to_string(), message: message.into() });
    }

    fn later(&mut self, path: &Path) {
        self.warn(path, LATER);
    }

    fn warn(&mut self, path: &Path, message: impl Into<String>) {
        self.warnings.push(ConfigWarning { path: path.to_string(), message: message.into() });
    }

    fn unknown(&mut self, path: &Path, key: &str, known: &[&str]) {
        let hint = match closest(key, known) {
            Some(meant) => format!("is not known; did you mean {meant}?"),
            None => format!("is not known; expected {}", known.join(", ")),
        };
        self.mistake(&path.key(key), hint);
    }
}

#[cfg(test)]
mod tests;
