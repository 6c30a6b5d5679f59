//! Known data for a plugin's database: files with the tables of the conformance program, and a command of the author's
//! that loads them.
//!
//! ```text
//! SEMILAYER_SEED_DATABASE=first SEMILAYER_SEED_DIR=/tmp/semilayer-seed-… sh -c COMMAND
//! ```
//!
//! The folder has `schema.json` and a file of NDJSON for each table.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::process::Stdio;

use bridge_conformance::seed::{Decimals, Instants, Seed};
use bridge_conformance::{Database, Fixture, Offer, SlowQuery, tables_json};
use bridge_core::BoxFuture;
use protocol::SourceConfig;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tokio::process::Command;

use super::settings::{Given, name};
use crate::cli::Keeps;

const DATABASE: &str = "SEMILAYER_SEED_DATABASE";
const FOLDER: &str = "SEMILAYER_SEED_DIR";
/// Characters of a table's name that are in its file's.
const NAME_LENGTH: usize = 40;

/// Databases that a command fills.
pub(super) struct Seeded {
    given: Given,
    command: String,
    keeps: Vec<Keeps>,
}

#[derive(Deserialize)]
struct Tables<'a> {
    #[serde(borrow)]
    tables: Vec<Table<'a>>,
}

/// A table as text; its values are passed on with every digit.
#[derive(Deserialize)]
struct Table<'a> {
    name: String,
    columns: Vec<Column>,
    key: Vec<String>,
    #[serde(borrow)]
    rows: Vec<Vec<&'a RawValue>>,
}

#[derive(Deserialize, Serialize)]
struct Column {
    name: String,
    kind: String,
    nullable: bool,
}

/// What `schema.json` says.
#[derive(Serialize)]
struct Schema<'a> {
    database: &'a str,
    tables: Vec<Described<'a>>,
}

#[derive(Serialize)]
struct Described<'a> {
    name: &'a str,
    file: String,
    rows: usize,
    columns: &'a [Column],
    key: &'a [String],
}

impl Seeded {
    pub(super) fn new(given: Given, command: String, keeps: Vec<Keeps>) -> Self {
        Self { given, command, keeps }
    }

    async fn load(&self, database: &str, seed: &Seed) -> Result<(), String> {
        let folder = tempfile::Builder::new().prefix("semilayer-seed-").tempdir();
        let folder = folder.map_err(|error| format!("cannot make a folder for the seed: {error}"))?;
        write(seed, database, folder.path()).map_err(|error| format!("cannot write the seed: {error}"))?;
        let mut command = shell(&self.command);
        command.env(DATABASE, database).env(FOLDER, folder.path());
        // What it says is for the author; stdout is for the report.
        command.stdin(Stdio::null()).stdout(io::stderr()).kill_on_drop(true);
        let status = command.status().await.map_err(|error| format!("cannot start a shell: {error}"))?;
        if status.success() {
            return Ok(());
        }
        Err(format!("the seed command has failed for the {database} database ({status})"))
    }
}

impl Fixture for Seeded {
    fn config(&self, database: Database) -> SourceConfig {
        self.given.of(database)
    }

    fn seed<'a>(&'a self, database: Database, seed: &'a Seed) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(self.load(name(database), seed))
    }

    fn least_privilege(&self) -> Offer<SourceConfig> {
        Offer::Impossible("a seed command makes no roles")
    }

    fn slow_query(&self) -> Offer<SlowQuery> {
        Offer::Impossible("a seed command makes no slow view")
    }

    fn slow_query_runs(&self) -> BoxFuture<'_, Result<bool, String>> {
        Box::pin(std::future::ready(Ok(false)))
    }

    fn target(&self, table: &str) -> String {
        table.to_owned()
    }

    fn qualified_target(&self, _table: &str) -> Offer<String> {
        Offer::Impossible("a seed command says nothing of schemas")
    }

    fn decimals(&self) -> Decimals {
        if self.keeps.contains(&Keeps::Doubles) { Decimals::Doubles } else { Decimals::Exact }
    }

    fn instants(&self) -> Instants {
        if self.keeps.contains(&Keeps::Milliseconds) {
            Instants::Milliseconds
        } else {
            Instants::Microseconds
        }
    }

    fn compares_as_text(&self) -> bool {
        self.keeps.contains(&Keeps::Text)
    }

    /// A plugin may say 0 for a number that it does not know (`wit`, `schema.row-count`).
    fn counts_rows(&self) -> bool {
        false
    }
}

fn shell(line: &str) -> Command {
    let (shell, flag) = if cfg!(windows) { ("cmd", "/C") } else { ("sh", "-c") };
    let mut command = Command::new(shell);
    command.arg(flag).arg(line);
    command
}

/// Writes the files.
fn write(seed: &Seed, database: &str, folder: &Path) -> io::Result<()> {
    let text = tables_json(seed);
    let read: Tables<'_> = serde_json::from_str(&text)?;
    let mut described = Vec::with_capacity(read.tables.len());
    for (index, table) in read.tables.iter().enumerate() {
        let file = file_name(index, &table.name);
        write_rows(table, &folder.join(&file))?;
        let (name, rows) = (table.name.as_str(), table.rows.len());
        described.push(Described { name, file, rows, columns: &table.columns, key: &table.key });
    }
    let schema = Schema { database, tables: described };
    std::fs::write(folder.join("schema.json"), serde_json::to_string_pretty(&schema)?)
}

/// A name that every file system takes: that of the table may have quotes, slashes and the case of another one.
fn file_name(index: usize, table: &str) -> String {
    let plain = |character: char| match character {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '_' | '-' => character,
        _ => '_',
    };
    let name: String = table.chars().take(NAME_LENGTH).map(plain).collect();
    format!("{:02}-{name}.ndjson", index + 1)
}

fn write_rows(table: &Table<'_>, file: &Path) -> io::Result<()> {
    let names = table.columns.iter().map(|column| serde_json::to_string(&column.name));
    let names = names.collect::<Result<Vec<_>, _>>()?;
    let mut out = BufWriter::new(File::create(file)?);
    for row in &table.rows {
        let values = names.iter().zip(row).map(|(name, value)| format!("{name}:{value}"));
        writeln!(out, "{{{}}}", values.collect::<Vec<_>>().join(","))?;
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::*;
    use bridge_conformance::seed;

    fn read(file: &Path) -> Vec<Value> {
        let text = std::fs::read_to_string(file).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn every_table_has_a_file_of_rows_that_fit_the_schema() {
        let folder = tempfile::tempdir().unwrap();
        write(&seed::first(), "first", folder.path()).unwrap();
        let schema = std::fs::read_to_string(folder.path().join("schema.json")).unwrap();
        let schema: Value = serde_json::from_str(&schema).unwrap();
        assert_eq!(schema["database"], "first");
        let tables = schema["tables"].as_array().unwrap();
        assert_eq!(tables.len(), seed::first().tables.len());
        for table in tables {
            let rows = read(&folder.path().join(table["file"].as_str().unwrap()));
            assert_eq!(rows.len() as u64, table["rows"].as_u64().unwrap(), "{}", table["name"]);
            let columns = table["columns"].as_array().unwrap();
            let has_all = |row: &Value| {
                columns.iter().all(|column| row.get(column["name"].as_str().unwrap()).is_some())
            };
            assert!(rows.iter().all(has_all), "{}", table["name"]);
        }
        let small = tables.iter().find(|table| table["name"] == "small").unwrap();
        assert_eq!((&small["file"], &small["key"]), (&json!("01-small.ndjson"), &json!(["id"])));
        let rows = read(&folder.path().join("01-small.ndjson"));
        assert_eq!(rows[0], json!({"id": 1, "name": "Alpha", "category": "a"}));
    }

    #[test]
    fn a_hostile_name_stays_in_the_folder() {
        assert_eq!(file_name(14, "../\"x\"; DROP ä"), "15-____x___DROP__.ndjson");
        assert!(file_name(0, &"long".repeat(100)).len() < 60);
    }

    fn seeded(command: &str) -> Seeded {
        Seeded::new(Given::read(&[], None).unwrap(), command.to_owned(), Vec::new())
    }

    #[test]
    fn what_a_database_keeps_otherwise_is_what_was_typed() {
        let given = || Given::read(&[], None).unwrap();
        let exact = Seeded::new(given(), String::new(), Vec::new());
        assert_eq!((exact.decimals(), exact.instants()), (Decimals::Exact, Instants::Microseconds));
        assert!(!exact.compares_as_text());
        let lossy = [Keeps::Text, Keeps::Doubles, Keeps::Milliseconds].to_vec();
        let lossy = Seeded::new(given(), String::new(), lossy);
        assert_eq!((lossy.decimals(), lossy.instants()), (Decimals::Doubles, Instants::Milliseconds));
        assert!(lossy.compares_as_text());
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn the_command_is_told_which_database_and_where_its_rows_are() {
        let folder = tempfile::tempdir().unwrap();
        let copy = format!(
            "cp \"$SEMILAYER_SEED_DIR\"/schema.json {}/$SEMILAYER_SEED_DATABASE.json",
            folder.path().display()
        );
        seeded(&copy).seed(Database::Second, &seed::second()).await.unwrap();
        let schema = std::fs::read_to_string(folder.path().join("second.json")).unwrap();
        let schema: Map<String, Value> = serde_json::from_str(&schema).unwrap();
        assert_eq!(schema["tables"][0]["rows"], 3);
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn a_command_that_fails_is_told_with_the_database() {
        let failed = seeded("exit 7").seed(Database::First, &seed::second()).await.unwrap_err();
        assert!(failed.contains("first") && failed.contains('7'), "{failed}");
    }
}
