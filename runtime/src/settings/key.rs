//! One setting and every place that it may come from.

use std::fmt;

/// A setting: its environment name and, where it has them, its path in the config file and its flag.
///
/// ```
/// use semilayer_runtime::settings::Key;
/// let flag = Some("9090".to_owned());
/// let key = Key::env("SEMILAYER_HEALTH_PORT").or_env("PORT").file("health.port").flag("--health-port", flag);
/// ```
#[derive(Clone)]
pub struct Key {
    env: String,
    fallback: Option<String>,
    path: Option<String>,
    flag: Option<&'static str>,
    flag_value: Option<String>,
}

/// Where a value was found; the lesser one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Origin {
    Flag,
    Environment,
    File,
}

impl Key {
    /// A setting known by its environment name.
    pub fn env(name: impl Into<String>) -> Self {
        Self { env: name.into(), fallback: None, path: None, flag: None, flag_value: None }
    }

    /// A second environment name, looked at when the first is absent.
    #[must_use]
    pub fn or_env(mut self, name: impl Into<String>) -> Self {
        self.fallback = Some(name.into());
        self
    }

    /// The dotted path in the config file.
    #[must_use]
    pub fn file(mut self, path: impl Into<String>) -> Self {
        self.path = Some(path.into());
        self
    }

    /// The flag's name, for messages, and the value that the caller parsed.
    #[must_use]
    pub fn flag(mut self, name: &'static str, value: Option<String>) -> Self {
        self.flag = Some(name);
        self.flag_value = value;
        self
    }

    /// The setting that holds the path of a file with this setting's value.
    pub(super) fn file_form(&self) -> Self {
        Self {
            env: format!("{}_FILE", self.env),
            fallback: self.fallback.as_ref().map(|name| format!("{name}_FILE")),
            path: self.path.as_ref().map(|path| format!("{path}_file")),
            flag: None,
            flag_value: None,
        }
    }

    /// What messages call the setting.
    pub(super) fn name(&self) -> &str {
        &self.env
    }

    pub(super) fn env_names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.env.as_str()).chain(self.fallback.as_deref())
    }

    pub(super) fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    pub(super) fn flag_value(&self) -> Option<&str> {
        self.flag_value.as_deref()
    }

    /// The other ways to give the setting, for "is required".
    pub(super) fn hint(&self) -> String {
        match (self.flag, &self.path) {
            (Some(flag), Some(path)) => format!(" (or {flag}, or {path} in the config file)"),
            (Some(flag), None) => format!(" (or {flag})"),
            (None, Some(path)) => format!(" (or {path} in the config file)"),
            (None, None) => String::new(),
        }
    }
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self::env(name)
    }
}

impl From<String> for Key {
    fn from(name: String) -> Self {
        Self::env(name)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Key").field(&self.env).finish()
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "the flag",
            Self::Environment => "the environment",
            Self::File => "the config file",
        })
    }
}
