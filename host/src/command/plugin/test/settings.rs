//! The settings of a source that is tested, as its author gives them.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use bridge_conformance::Database;
use bridge_core::Driver as _;
use plugins_host::Plugin;
use protocol::{Manifest, SourceConfig};
use runtime::spelling::closest;
use serde_json::{Map, Value};

use crate::command::plugin::error::Refusal;

/// What stands for the name of one of the two databases.
const PLACE: &str = "{database}";
const URL_KEY: &str = "url";
/// `pool.max` is the other name of `poolMax`.
const POOL_KEY: &str = "pool";

/// Settings, perhaps with places for the database's name.
#[derive(Clone)]
pub(super) struct Given(Map<String, Value>);

impl Given {
    /// Those of a file, and above them those that were typed.
    pub(super) fn read(typed: &[String], file: Option<&Path>) -> Result<Self, Refusal> {
        let mut settings = file.map(read_file).transpose()?.unwrap_or_default();
        for setting in typed {
            let (key, value) = setting.split_once('=').filter(|(key, _)| !key.is_empty()).ok_or_else(|| {
                Refusal::Argument(
                    "--config takes a setting of the source, KEY=VALUE; the runner's own config file has no part in \
                     this"
                        .to_owned(),
                )
            })?;
            settings.insert(key.to_owned(), Value::from(value));
        }
        Ok(Self(settings))
    }

    /// For a source that is taken as it is.
    pub(super) fn as_it_is(&self) -> SourceConfig {
        SourceConfig::new(self.0.clone())
    }

    /// For one of the databases of a seeded run.
    pub(super) fn of(&self, database: Database) -> SourceConfig {
        let filled = self.0.iter().map(|(key, value)| (key.clone(), fill(value, name(database))));
        SourceConfig::new(filled.collect())
    }

    /// Makes sure that the manifest knows all of them, and that they are of its types. Answers the hosts that they name.
    pub(super) fn check(&self, plugin: &Plugin, seeded: bool) -> Result<Vec<String>, Refusal> {
        let configs = match seeded {
            true => vec![self.of(Database::First), self.of(Database::Second)],
            false => vec![self.as_it_is()],
        };
        let mut mistakes = unknown(plugin.manifest(), &self.0);
        let mut hosts = Vec::new();
        for config in configs {
            match plugin.hosts(&config) {
                Ok(named) => hosts.extend(named),
                Err(wrong) => mistakes.extend(wrong.0.iter().map(|mistake| format!("  {mistake}"))),
            }
        }
        mistakes.sort();
        mistakes.dedup();
        if mistakes.is_empty() { Ok(hosts) } else { Err(Refusal::Source(mistakes)) }
    }
}

/// A database as commands and settings call it.
pub(super) fn name(database: Database) -> &'static str {
    match database {
        Database::First => "first",
        Database::Second => "second",
    }
}

fn read_file(file: &Path) -> Result<Map<String, Value>, Refusal> {
    let text = fs::read_to_string(file).map_err(Refusal::io("read", file))?;
    let read = if file.extension() == Some(OsStr::new("json")) {
        serde_json::from_str(&text)
            .map_err(|error| format!("line {}, column {}", error.line(), error.column()))
    } else {
        // Neither parser's words: they may repeat what stands there, and that may be a secret.
        toml::from_str(&text).map_err(|_| "no table of settings".to_owned())
    };
    read.map_err(|place| {
        let file = file.display();
        Refusal::Argument(format!("{file} is neither a JSON object (.json) nor TOML: {place}"))
    })
}

fn fill(value: &Value, database: &str) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace(PLACE, database)),
        Value::Array(items) => items.iter().map(|item| fill(item, database)).collect(),
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), fill(value, database))).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Settings that the runner would leave out without a word.
fn unknown(manifest: &Manifest, settings: &Map<String, Value>) -> Vec<String> {
    let mut known: Vec<&str> = manifest.fields.iter().map(|field| field.key.as_str()).collect();
    known.extend(manifest.supports_url.then_some(URL_KEY));
    let unknown = settings.keys().filter(|key| !known.contains(&key.as_str()) && *key != POOL_KEY);
    let advice = |key: &str| match closest(key, &known) {
        Some(meant) => format!("did you mean {meant}?"),
        None => format!("there are {}", known.join(", ")),
    };
    unknown.map(|key| format!("  {key}: there is no such setting; {}", advice(key))).collect()
}

#[cfg(test)]
mod tests {
    use protocol::{Field, FieldKind};
    use serde_json::json;

    use super::*;

    fn typed(settings: &[&str]) -> Vec<String> {
        settings.iter().map(|setting| (*setting).to_owned()).collect()
    }

    fn read(settings: &[&str], file: Option<(&str, &str)>) -> Result<Value, String> {
        let folder = tempfile::tempdir().unwrap();
        let file = file.map(|(name, text)| {
            let path = folder.path().join(name);
            fs::write(&path, text).unwrap();
            path
        });
        let given = Given::read(&typed(settings), file.as_deref());
        given.map(|given| Value::Object(given.0)).map_err(|refusal| refusal.to_string())
    }

    #[test]
    fn what_is_typed_stands_above_the_file() {
        let toml = Some(("settings.toml", "url = \"http://a\"\nrows = 5\n[pool]\nmax = 2\n"));
        let both = read(&["url=http://b?x=1", "note="], toml);
        assert_eq!(both, Ok(json!({"url": "http://b?x=1", "rows": 5, "pool": {"max": 2}, "note": ""})));
        assert_eq!(read(&[], Some(("settings.json", "{\"rows\": 5}"))), Ok(json!({"rows": 5})));
    }

    #[test]
    fn what_is_no_setting_is_refused_without_what_stands_there() {
        assert!(read(&["runner.toml"], None).unwrap_err().contains("KEY=VALUE"));
        assert!(read(&["=x"], None).is_err());
        for (name, text) in
            [("a.json", "[\"hunter2\"]"), ("a.json", "{hunter2"), ("a.toml", "password = hunter2")]
        {
            let refusal = read(&[], Some((name, text))).unwrap_err();
            assert!(refusal.contains(name) && !refusal.contains("hunter2"), "{refusal}");
        }
    }

    #[test]
    fn each_database_has_its_name_in_the_settings() {
        let given = Given(
            json!({"url": "pg://h/{database}", "tables": ["{database}.a"], "n": 1})
                .as_object()
                .unwrap()
                .clone(),
        );
        let second = given.of(Database::Second);
        assert_eq!(second.expose().get("url"), Some(&json!("pg://h/second")));
        assert_eq!(second.expose().get("tables"), Some(&json!(["second.a"])));
        assert_eq!(given.as_it_is().expose().get("url"), Some(&json!("pg://h/{database}")));
    }

    #[test]
    fn a_setting_that_nobody_reads_is_named() {
        let manifest = Manifest {
            package_name: "things".to_owned(),
            display_name: "Things".to_owned(),
            icon: None,
            supports_url: true,
            url_placeholder: None,
            fields: vec![Field::new("baseUrl", "Base URL", FieldKind::String)],
        };
        let settings = json!({"baseURL": "x", "pool": {}, "url": "y", "zebra": 1});
        let unknown = unknown(&manifest, settings.as_object().unwrap());
        assert_eq!(
            unknown,
            [
                "  baseURL: there is no such setting; did you mean baseUrl?",
                "  zebra: there is no such setting; there are baseUrl, url"
            ]
        );
    }
}
