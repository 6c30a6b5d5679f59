//! `push`.

use std::path::PathBuf;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use super::client::Client;
use super::error::CliError;
use super::output::{Output, text};
use crate::config::Format;

/// A config to be put in place.
#[derive(Debug, Args)]
pub struct Command {
    /// The file: .json, .yaml, .yml or .toml
    config: PathBuf,
    /// Show what would change and change nothing
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(command: Command, client: &Client, mut output: Output<'_>) -> Result<(), CliError> {
    let path = command.config;
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let format = Format::of_file(name).ok_or_else(|| {
        CliError::Argument(format!(
            "{}: expected a file that ends in .json, .yaml, .yml or .toml",
            path.display()
        ))
    })?;
    let text_of_config =
        std::fs::read_to_string(&path).map_err(|source| CliError::File { path: path.clone(), source })?;
    let body = Some((format.content_type(), text_of_config));
    let answer = if command.dry_run {
        client.send(Method::POST, &["config", "diff"], body).await?
    } else {
        client.send(Method::PUT, &["config"], body).await?
    };
    output.show(&answer, |out, answer| {
        write!(out, "{}", text(answer, "summary"))?;
        for warning in answer.get("warnings").and_then(Value::as_array).into_iter().flatten() {
            writeln!(out, "! {}: {}", text(warning, "path"), text(warning, "message"))?;
        }
        let applied = answer.get("applied") == Some(&Value::Bool(true));
        match (is_empty(answer), applied) {
            // The summary has said so.
            (true, _) => Ok(()),
            (false, true) => writeln!(out, "config in place"),
            (false, false) => writeln!(out, "nothing was changed (dry run)"),
        }
    })?;
    Ok(())
}

/// Whether the config was in place before.
fn is_empty(answer: &Value) -> bool {
    let differs = |what: &str| {
        let entries = answer.pointer(&format!("/diff/{what}")).and_then(Value::as_array);
        entries.is_some_and(|entries| !entries.is_empty())
    };
    !differs("sources") && !differs("lenses")
}
