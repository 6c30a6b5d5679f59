//! Where settings come from: the process environment, or a map that a test made.

use std::collections::BTreeMap;

/// Named texts.
pub trait Source: Send + Sync {
    /// The value of `key`, if it is set to text.
    fn get(&self, key: &str) -> Option<String>;

    /// All names that begin with `prefix`, sorted.
    fn names(&self, prefix: &str) -> Vec<String>;

    /// Whether `key` is set to something that is not UTF-8 text; [`get`](Source::get) answers `None` for it.
    fn is_malformed(&self, key: &str) -> bool {
        let _ = key;
        false
    }
}

/// The environment of this process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Environment;

#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the process environment")]
impl Source for Environment {
    fn get(&self, key: &str) -> Option<String> {
        std::env::var(key).ok()
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        // `vars` would panic on a value that is not UTF-8.
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let mut names: Vec<_> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort_unstable();
        names
    }

    fn is_malformed(&self, key: &str) -> bool {
        matches!(std::env::var(key), Err(std::env::VarError::NotUnicode(_)))
    }
}

/// A source made of pairs.
#[derive(Clone, Default)]
pub struct Mapping(BTreeMap<String, String>);

impl Mapping {
    /// Sets one value.
    pub fn insert(&mut self, key: impl Into<String>, value: impl Into<String>) {
        self.0.insert(key.into(), value.into());
    }
}

impl Source for Mapping {
    fn get(&self, key: &str) -> Option<String> {
        self.0.get(key).cloned()
    }

    fn names(&self, prefix: &str) -> Vec<String> {
        self.0.keys().filter(|name| name.starts_with(prefix)).cloned().collect()
    }
}

impl<K: Into<String>, V: Into<String>> FromIterator<(K, V)> for Mapping {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect())
    }
}

/// Shows the names only, since values may be secrets.
impl std::fmt::Debug for Mapping {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
