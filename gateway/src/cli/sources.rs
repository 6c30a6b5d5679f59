//! `sources`.

use std::io::{Read as _, Write};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::error::CliError;
use super::output::{Column, Output, text, write_fields};

/// What to do with sources.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a source
    Create {
        /// Its name
        name: String,
        /// Package name of the bridge, or its short form
        #[arg(long)]
        bridge: String,
        /// Its settings
        #[command(flatten)]
        settings: Settings,
    },
    /// Change a source; what is left out stays, settings too
    Update {
        /// Id or name
        source: String,
        /// Package name of the bridge, or its short form
        #[arg(long)]
        bridge: Option<String>,
        /// Its settings
        #[command(flatten)]
        settings: Settings,
        /// Take a setting away; may be given more than once
        #[arg(long, value_name = "KEY", conflicts_with = "replace")]
        unset: Vec<String>,
        /// Put the settings that are given in place of all that are there
        #[arg(long)]
        replace: bool,
    },
    /// List the sources
    List,
    /// Show one source
    Get {
        /// Id or name
        source: String,
    },
    /// Let a runner connect to the database of a source, or of every source
    Test {
        /// Id or name; all without
        source: Option<String>,
    },
    /// Forget a source that no lens reads
    Delete {
        /// Id or name
        source: String,
    },
}

/// Settings of a source.
#[derive(Debug, Args)]
pub struct Settings {
    /// Where its credentials are: managed (here, encrypted) or runner-local
    #[arg(long, value_name = "WHERE")]
    credentials_location: Option<String>,
    /// A setting of the bridge; may be given more than once. Whole numbers, true and false are taken as such. Every user of
    /// this machine can see it: give credentials by --config
    #[arg(long = "set", value_name = "KEY=VALUE", conflicts_with = "config")]
    set: Vec<String>,
    /// File with the bridge's settings as a JSON object, - for standard input
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// How long a job may take, in milliseconds
    #[arg(long, value_name = "MS")]
    timeout_ms: Option<u64>,
}

const COLUMNS: [Column; 7] = [
    ("NAME", |row| text(row, "name")),
    ("BRIDGE", |row| text(row, "bridge")),
    ("CREDENTIALS", |row| text(row, "credentialsLocation")),
    ("SETTINGS", |row| text(row, "configFields")),
    ("RUNNERS", |row| text(row, "runners")),
    ("LENSES", |row| text(row, "lenses")),
    ("ID", |row| text(row, "id")),
];

pub(super) async fn run(command: Command, client: &Client, mut output: Output<'_>) -> Result<(), CliError> {
    match command {
        Command::Create { name, bridge, settings } => {
            let mut body = settings.body()?;
            if let Some(config) = settings.config()? {
                body.insert("config".to_owned(), config);
            }
            body.insert("name".to_owned(), name.into());
            body.insert("bridge".to_owned(), bridge.into());
            show(&client.post(&["sources"], &Value::Object(body)).await?, &mut output)?;
        }
        Command::Update { source, bridge, settings, unset, replace } => {
            let mut body = settings.body()?;
            if let Some((key, config)) = settings.change(&unset, replace)? {
                body.insert(key.to_owned(), config);
            }
            if let Some(bridge) = bridge {
                body.insert("bridge".to_owned(), bridge.into());
            }
            let body = Some(("application/json", Value::Object(body).to_string()));
            let answer = client.send(Method::PATCH, &["sources", &source], body).await?;
            show_changes(&answer, &mut output)?;
        }
        Command::List => output.table(&client.get(&["sources"]).await?, "sources", &COLUMNS)?,
        Command::Get { source } => show(&client.get(&["sources", &source]).await?, &mut output)?,
        Command::Test { source } => test(source, client, output).await?,
        Command::Delete { source } => {
            let answer = client.send(Method::DELETE, &["sources", &source], None).await?;
            output.show(&answer, |out, _| writeln!(out, "source {source} deleted"))?;
        }
    }
    Ok(())
}

/// Tests one source or all of them, and fails after the last when one has failed.
async fn test(source: Option<String>, client: &Client, mut output: Output<'_>) -> Result<(), CliError> {
    let names = match source {
        Some(source) => vec![source],
        None => {
            let all = client.get(&["sources"]).await?;
            let all = all.get("sources").and_then(Value::as_array).cloned().unwrap_or_default();
            all.iter().map(|source| text(source, "name")).collect()
        }
    };
    let (tested, mut failed) = (names.len(), 0);
    for name in names {
        let answer = match client.post(&["sources", &name, "test"], &json!({})).await {
            Err(CliError::Refused { status, body }) if !matches!(status, 401 | 404) => {
                failed += 1;
                body
            }
            answer => answer?,
        };
        output.show(&answer, |out, answer| match answer.get("ok") {
            Some(_) => {
                writeln!(out, "{name}: ok, {} ms, by {}", text(answer, "durationMs"), text(answer, "runner"))
            }
            None => writeln!(out, "{name}: {} ({})", text(answer, "error"), text(answer, "code")),
        })?;
    }
    if failed > 0 {
        return Err(CliError::Tests { failed, tested });
    }
    if tested > 1 && !output.json {
        writeln!(output.out, "all {tested} sources answer")?;
    }
    Ok(())
}

fn show(source: &Value, output: &mut Output<'_>) -> std::io::Result<()> {
    output.show(source, |out, source| {
        write_fields(out, source, &COLUMNS)?;
        warnings(out, source)
    })
}

/// What is different now, as a push says it.
fn show_changes(answer: &Value, output: &mut Output<'_>) -> std::io::Result<()> {
    output.show(answer, |out, source| {
        let changes: Vec<&str> = list(source, "changes").collect();
        match changes.as_slice() {
            [] => writeln!(out, "nothing to change")?,
            changes => {
                writeln!(out, "~ source {}", text(source, "name"))?;
                changes.iter().try_for_each(|change| writeln!(out, "    {change}"))?;
            }
        }
        warnings(out, source)
    })
}

fn warnings(out: &mut dyn Write, source: &Value) -> std::io::Result<()> {
    list(source, "warnings").try_for_each(|warning| writeln!(out, "! {warning}"))
}

fn list<'v>(source: &'v Value, key: &str) -> impl Iterator<Item = &'v str> {
    source.get(key).and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str)
}

impl Settings {
    fn body(&self) -> Result<Map<String, Value>, CliError> {
        let mut body = Map::new();
        if let Some(location) = &self.credentials_location {
            body.insert("credentialsLocation".to_owned(), location.as_str().into());
        }
        if let Some(millis) = self.timeout_ms {
            body.insert("timeoutMs".to_owned(), millis.into());
        }
        Ok(body)
    }

    /// The settings of a change, with the field that says how they are meant.
    fn change(&self, unset: &[String], replace: bool) -> Result<Option<(&'static str, Value)>, CliError> {
        let config = self.config()?;
        if replace {
            let nothing = || CliError::Argument("--replace needs --set or --config".to_owned());
            return Ok(Some(("config", config.ok_or_else(nothing)?)));
        }
        if unset.is_empty() {
            return Ok(config.map(|config| ("configPatch", config)));
        }
        let mut patch = match config {
            Some(Value::Object(fields)) => fields,
            _ => Map::new(),
        };
        for name in unset {
            insert(&mut patch, name, Value::Null)
                .ok_or_else(|| CliError::Argument(format!("--unset {name}: is set at the same time")))?;
        }
        Ok(Some(("configPatch", Value::Object(patch))))
    }

    fn config(&self) -> Result<Option<Value>, CliError> {
        if let Some(path) = &self.config {
            return read_config(path).map(Some);
        }
        let mut config = Map::new();
        for argument in &self.set {
            // The value may be a password: it is not repeated.
            let message = || CliError::Argument("--set: expected KEY=VALUE".to_owned());
            let (key, value) = argument.split_once('=').ok_or_else(message)?;
            let twice = || CliError::Argument(format!("--set {key}: is set twice"));
            insert(&mut config, key, typed(value)).ok_or_else(twice)?;
        }
        Ok((!config.is_empty()).then_some(Value::Object(config)))
    }
}

fn read_config(path: &Path) -> Result<Value, CliError> {
    let failed = |source| CliError::File { path: path.to_owned(), source };
    let text = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map_err(failed)?;
        text
    } else {
        std::fs::read_to_string(path).map_err(failed)?
    };
    let fault = || CliError::Argument(format!("{}: expected a JSON object", path.display()));
    serde_json::from_str(&text).ok().filter(Value::is_object).ok_or_else(fault)
}

/// Puts a value where dots in its name lead: `pool.max`. Nothing when something is there already.
fn insert(fields: &mut Map<String, Value>, name: &str, value: Value) -> Option<()> {
    match name.split_once('.') {
        Some((outer, inner)) => {
            let nested = fields.entry(outer).or_insert_with(|| Value::Object(Map::new()));
            insert(nested.as_object_mut()?, inner, value)
        }
        None => match fields.entry(name) {
            serde_json::map::Entry::Vacant(free) => {
                free.insert(value);
                Some(())
            }
            serde_json::map::Entry::Occupied(_) => None,
        },
    }
}

/// A whole number that is written as numbers are, true, false, or text: what a runner makes of its environment, too.
fn typed(value: &str) -> Value {
    match (value, value.parse::<i64>()) {
        ("true", _) => true.into(),
        ("false", _) => false.into(),
        (text, Ok(number)) if number.to_string() == text => number.into(),
        (text, _) => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(set: &[&str]) -> Settings {
        let set = set.iter().map(|&pair| pair.to_owned()).collect();
        Settings { credentials_location: None, set, config: None, timeout_ms: None }
    }

    #[test]
    fn a_change_joins_what_is_there_unless_it_is_to_replace_it() {
        let change = |set: &[&str], unset: &[&str], replace| {
            let unset: Vec<String> = unset.iter().map(|&name| name.to_owned()).collect();
            settings(set).change(&unset, replace).map_err(|error| error.to_string())
        };
        let both = change(&["port=1", "pool.max=5"], &["user", "pool.idle"], false).unwrap();
        let patch = json!({"port": 1, "pool": {"max": 5, "idle": null}, "user": null});
        assert_eq!(both, Some(("configPatch", patch)));
        assert_eq!(change(&["port=1"], &[], true).unwrap(), Some(("config", json!({"port": 1}))));
        assert_eq!(change(&[], &[], false).unwrap(), None);
        assert_eq!(change(&[], &[], true).unwrap_err(), "--replace needs --set or --config");
        assert_eq!(change(&["a=1"], &["a"], false).unwrap_err(), "--unset a: is set at the same time");
        assert_eq!(change(&["a=1", "a=2"], &[], false).unwrap_err(), "--set a: is set twice");
    }

    #[test]
    fn only_what_survives_the_way_back_becomes_a_number() {
        assert_eq!(typed("5432"), json!(5432));
        assert_eq!(typed("true"), json!(true));
        for text in ["007", "+5", "1.5", "", "99999999999999999999", "TRUE"] {
            assert_eq!(typed(text), json!(text));
        }
    }
}
