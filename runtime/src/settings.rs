//! Settings as a value: the only place of the workspace that reads the process environment.
//!
//! A [`Reader`] looks for a [`Key`] in the flag that the caller parsed, then in the environment, then in the config
//! file, and leaves the default to the caller. It does not stop at the first mistake: a getter that finds one notes it
//! and answers as if nothing were set, and [`Reader::finish`] then refuses the settings as a whole. Neither mistakes
//! nor warnings repeat a value, because any value may be a secret in the wrong place.

mod key;
mod secret_file;
mod source;
mod strangers;
mod value;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use protocol::Secret;

pub use key::Key;
pub use secret_file::{SecretFile, read_secret_file};
pub use source::{Environment, Mapping, Source};
pub use value::{parse_duration, parse_flag};

use key::Origin;

/// One thing that is wrong with the settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The setting, by its environment name.
    pub key: String,
    /// What was expected and where the wrong value came from.
    pub message: String,
}

/// All that is wrong with the settings, one mistake a line. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Mistakes(Vec<Mistake>);

/// Something about the settings that works but should be changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Warning {
    /// The setting, by its environment name.
    pub key: String,
    /// What is wrong and what to do.
    pub message: String,
}

/// Reads settings and collects what is wrong with them.
pub struct Reader<'a> {
    source: &'a dyn Source,
    file: Option<&'a toml::Table>,
    asked: BTreeSet<String>,
    mistakes: Vec<Mistake>,
    warnings: Vec<Warning>,
}

/// A value and where it was found.
struct Found {
    name: String,
    origin: Origin,
    text: String,
}

impl Found {
    fn new(name: &str, origin: Origin, text: String) -> Self {
        Self { name: name.to_owned(), origin, text }
    }
}

impl<'a> Reader<'a> {
    /// A reader of `source` without a config file.
    pub fn new(source: &'a dyn Source) -> Self {
        Self { source, file: None, asked: BTreeSet::new(), mistakes: Vec::new(), warnings: Vec::new() }
    }

    /// The same with a config file below the environment.
    #[must_use]
    pub fn with_file(mut self, file: &'a toml::Table) -> Self {
        self.file = Some(file);
        self
    }

    /// The source itself, for names that are not known beforehand.
    pub fn source(&self) -> &'a dyn Source {
        self.source
    }

    /// The text of a setting. An empty environment value counts as absent.
    pub fn text(&mut self, key: impl Into<Key>) -> Option<String> {
        self.find(&key.into()).map(|found| found.text)
    }

    /// The text of a setting that must be there. Empty after a mistake.
    pub fn required(&mut self, key: impl Into<Key>) -> String {
        let key = key.into();
        let before = self.mistakes.len();
        let found = self.find(&key);
        if found.is_none() && self.mistakes.len() == before {
            self.mistake(key.name(), format!("is required{}", key.hint()));
        }
        found.map(|found| found.text).unwrap_or_default()
    }

    /// A setting of any type that parses from text. `expected` completes "expected ..", as in "a port number".
    pub fn parsed<T: FromStr>(&mut self, key: impl Into<Key>, expected: &str) -> Option<T> {
        self.parsed_by(key, expected, |text| text.parse().ok())
    }

    /// A setting that `parse` understands; it answers `None` for what it does not.
    pub fn parsed_by<T>(
        &mut self,
        key: impl Into<Key>,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let key = key.into();
        let found = self.find(&key)?;
        let parsed = parse(found.text.trim());
        if parsed.is_none() {
            self.mistake(found.name, format!("expected {expected}, {} has something else", found.origin));
        }
        parsed
    }

    /// A duration: `500ms`, `30s`, `2m`, `1h`, or a whole number of seconds.
    pub fn duration(&mut self, key: impl Into<Key>) -> Option<Duration> {
        self.parsed_by(key, "a duration such as 500ms, 30s or 2m", parse_duration)
    }

    /// A TCP port, 0 included.
    pub fn port(&mut self, key: impl Into<Key>) -> Option<u16> {
        self.parsed(key, "a port number from 0 to 65535")
    }

    /// A boolean: `true`, `false`, `1`, `0`, `yes` or `no`.
    pub fn flag(&mut self, key: impl Into<Key>) -> Option<bool> {
        self.parsed_by(key, "true or false", parse_flag)
    }

    /// A secret: the value itself, or the content of the file that `<KEY>_FILE` (in the config file `<path>_file`)
    /// names, without one trailing newline. Setting both in the same place is a mistake; so is a file that cannot be
    /// read. Warns of a secret in the arguments and of a file that others can read.
    pub fn secret(&mut self, key: impl Into<Key>) -> Option<Secret> {
        let key = key.into();
        let file_key = key.file_form();
        match (self.find(&key), self.find(&file_key)) {
            (Some(value), Some(path)) if value.origin == path.origin => {
                let message = format!("is set together with {}; set only one of them", path.name);
                self.mistake(value.name, message);
                None
            }
            (Some(value), Some(path)) if path.origin < value.origin => self.secret_from_file(&path),
            (Some(value), _) => Some(self.plain_secret(value)),
            (None, Some(path)) => self.secret_from_file(&path),
            (None, None) => None,
        }
    }

    /// Notes a mistake that the caller found.
    pub fn mistake(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.mistakes.push(Mistake { key: key.into(), message: message.into() });
    }

    /// Notes a warning that the caller found.
    pub fn warn(&mut self, key: impl Into<String>, message: impl Into<String>) {
        self.warnings.push(Warning { key: key.into(), message: message.into() });
    }

    /// Notes that the caller reads a variable by itself, so that it is no stranger.
    pub fn reads(&mut self, name: impl Into<String>) {
        self.asked.insert(name.into());
    }

    /// Tells of variables that are set and no setting: those below `own`, prefixes of this program alone, and those that
    /// are a misspelling of a name that was asked for and of none of another program of the workspace. To be called when
    /// everything was read: a stranger is a warning, and a mistake where there are others, for it may be why.
    pub fn tell_strangers(&mut self, own: &[&str]) {
        let is_wrong = !self.mistakes.is_empty();
        for stranger in strangers::strangers(self.source, &self.asked, own) {
            let message = stranger.message();
            if is_wrong {
                self.mistake(stranger.name, message);
            } else {
                self.warn(stranger.name, message);
            }
        }
    }

    /// The warnings, to be logged once telemetry is up; or all mistakes.
    pub fn finish(self) -> Result<Vec<Warning>, Mistakes> {
        if self.mistakes.is_empty() { Ok(self.warnings) } else { Err(Mistakes(self.mistakes)) }
    }

    fn plain_secret(&mut self, found: Found) -> Secret {
        if found.origin == Origin::Flag {
            let message =
                format!("a secret in the arguments can be seen by every user; use {}_FILE", found.name);
            self.warn(found.name, message);
        }
        Secret::new(found.text)
    }

    fn secret_from_file(&mut self, found: &Found) -> Option<Secret> {
        match read_secret_file(Path::new(&found.text)) {
            Ok(file) => {
                if file.exposed {
                    self.warn(&found.name, "the file can be read by other users; set its mode to 0600");
                }
                Some(file.secret)
            }
            Err(error) => {
                self.mistake(&found.name, format!("expected a file with the secret: {error}"));
                None
            }
        }
    }

    fn find(&mut self, key: &Key) -> Option<Found> {
        self.asked.extend(key.env_names().map(str::to_owned));
        if let Some(text) = key.flag_value() {
            return Some(Found::new(key.name(), Origin::Flag, text.to_owned()));
        }
        for name in key.env_names() {
            if let Some(text) = self.source.get(name).filter(|text| !text.is_empty()) {
                return Some(Found::new(name, Origin::Environment, text));
            }
            if self.source.is_malformed(name) {
                self.mistake(name, "expected text in UTF-8");
                return None;
            }
        }
        self.find_in_file(key).map(|text| Found::new(key.name(), Origin::File, text))
    }

    fn find_in_file(&mut self, key: &Key) -> Option<String> {
        let path = key.path()?;
        let text = value::text_of(value::at(self.file?, path)?);
        if text.is_none() {
            self.mistake(key.name(), format!("expected a single value at {path} of the config file"));
        }
        text
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader")
            .field("mistakes", &self.mistakes)
            .field("warnings", &self.warnings)
            .finish_non_exhaustive()
    }
}

impl Mistakes {
    /// The mistakes in the order in which they were found.
    pub fn iter(&self) -> impl Iterator<Item = &Mistake> {
        self.0.iter()
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, mistake) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{mistake}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.message)
    }
}

#[cfg(test)]
mod tests;
