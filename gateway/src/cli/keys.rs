//! `keys`.

use clap::Subcommand;
use serde_json::json;

use super::client::Client;
use super::error::CliError;
use super::output::{Column, Output, text};

/// What to do with keys of applications.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a key and show its token, this once
    Create {
        /// Its name
        name: String,
        /// secret (sk_, for servers: everything) or public (pk_, for browsers: what lenses grant)
        #[arg(long, default_value = "secret")]
        kind: String,
        /// What a secret key may do beside queries: exec (commands on runners); may be given more than once
        #[arg(long = "scope", value_name = "SCOPE")]
        scopes: Vec<String>,
    },
    /// List the keys
    List,
    /// End a key for good
    Revoke {
        /// Id, or name of a live key
        key: String,
    },
}

const COLUMNS: [Column; 7] = [
    ("NAME", |row| text(row, "name")),
    ("KIND", |row| text(row, "kind")),
    ("SCOPES", |row| text(row, "scopes")),
    ("TOKEN", |row| text(row, "tokenHint")),
    ("CREATED", |row| text(row, "createdAt")),
    ("REVOKED", |row| text(row, "revokedAt")),
    ("ID", |row| text(row, "id")),
];

pub(super) async fn run(command: Command, client: &Client, mut output: Output<'_>) -> Result<(), CliError> {
    match command {
        Command::Create { name, kind, scopes } => {
            let body = json!({"name": name, "kind": kind, "scopes": scopes});
            let answer = client.post(&["keys"], &body).await?;
            output.token(&answer, &format!("key {name} made"))?;
        }
        Command::List => output.table(&client.get(&["keys"]).await?, "keys", &COLUMNS)?,
        Command::Revoke { key } => {
            let answer = client.post(&["keys", &key, "revoke"], &json!({})).await?;
            output.show(&answer, |out, answer| writeln!(out, "key {} revoked", text(answer, "name")))?;
        }
    }
    Ok(())
}
