//! `sources`.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value, json};

use super::client::Client;
use super::error::CliError;
use super::output::{Column, Output, text};

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
    /// Change a source; what is left out stays
    Update {
        /// Id or name
        source: String,
        /// Package name of the bridge, or its short form
        #[arg(long)]
        bridge: Option<String>,
        /// Its settings
        #[command(flatten)]
        settings: Settings,
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
            body.insert("name".to_owned(), name.into());
            body.insert("bridge".to_owned(), bridge.into());
            show(&client.post(&["sources"], &Value::Object(body)).await?, &mut output)?;
        }
        Command::Update { source, bridge, settings } => {
            let mut body = settings.body()?;
            if let Some(bridge) = bridge {
                body.insert("bridge".to_owned(), bridge.into());
            }
            let body = Some(("application/json", Value::Object(body).to_string()));
            show(&client.send(Method::PATCH, &["sources", &source], body).await?, &mut output)?;
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
    let mut failed = None;
    for name in names {
        let answer = match client.post(&["sources", &name, "test"], &json!({})).await {
            Err(CliError::Refused { status, body }) if status != 401 => {
                let shown = body.clone();
                failed = Some(CliError::Refused { status, body });
                shown
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
    failed.map_or(Ok(()), Err)
}

fn show(source: &Value, output: &mut Output<'_>) -> std::io::Result<()> {
    output.show(source, |out, source| {
        COLUMNS
            .iter()
            .try_for_each(|(title, cell)| writeln!(out, "{:<12} {}", title.to_lowercase(), cell(source)))
    })
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
        if let Some(config) = self.config()? {
            body.insert("config".to_owned(), config);
        }
        Ok(body)
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
            config.insert(key.to_owned(), typed(value));
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

    #[test]
    fn only_what_survives_the_way_back_becomes_a_number() {
        assert_eq!(typed("5432"), json!(5432));
        assert_eq!(typed("true"), json!(true));
        for text in ["007", "+5", "1.5", "", "99999999999999999999", "TRUE"] {
            assert_eq!(typed(text), json!(text));
        }
    }
}
