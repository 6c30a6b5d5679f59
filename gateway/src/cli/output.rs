//! Answers on the terminal: aligned columns for people, or the JSON as it came.

use std::io::{self, Write};

use clap::Args;
use runtime::terminal::{complain, printable};
use serde_json::{Map, Value};

use super::error::CliError;

/// Where answers go, and how.
pub(super) struct Output<'a> {
    pub(super) out: &'a mut (dyn Write + Send),
    pub(super) json: bool,
}

/// A column: its title, and what it shows of a row.
pub(super) type Column = (&'static str, fn(&Value) -> String);

/// A part of a long list.
#[derive(Debug, Args)]
pub struct Page {
    /// Rows at most, 1 to 1000 [default: 100]
    #[arg(long, value_name = "COUNT")]
    limit: Option<String>,
    /// Go on behind an earlier part, by the cursor that it has named
    #[arg(long)]
    cursor: Option<String>,
}

impl Page {
    /// As the gateway takes them.
    pub(super) fn parameters(&self) -> [(&'static str, Option<&str>); 2] {
        [("limit", self.limit.as_deref()), ("cursor", self.cursor.as_deref())]
    }
}

impl Output<'_> {
    /// The JSON, or whatever `people` writes.
    pub(super) fn show(
        &mut self,
        answer: &Value,
        people: impl FnOnce(&mut dyn Write, &Value) -> io::Result<()>,
    ) -> io::Result<()> {
        if self.json { writeln!(self.out, "{answer:#}") } else { people(self.out, answer) }
    }

    /// The JSON, or a table of the rows under `key`.
    pub(super) fn table(&mut self, answer: &Value, key: &str, columns: &[Column]) -> io::Result<()> {
        self.show(answer, |out, answer| {
            let rows = answer.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
            write_table(out, &rows, columns)
        })
    }

    /// The same of a list that may go on or be empty, which is then told on standard error.
    pub(super) fn page(&mut self, answer: &Value, key: &str, columns: &[Column]) -> io::Result<()> {
        self.table(answer, key, columns)?;
        if self.json {
            return Ok(());
        }
        if answer.get(key).and_then(Value::as_array).is_none_or(Vec::is_empty) {
            complain(&"no rows");
        }
        if let Some(cursor) = answer.get("nextCursor").and_then(Value::as_str) {
            complain(&format_args!("there are more: --cursor {}", printable(cursor)));
        }
        Ok(())
    }

    /// The JSON, or a sentence and the token that is shown this once.
    pub(super) fn token(&mut self, answer: &Value, sentence: &str) -> io::Result<()> {
        self.show(answer, |out, answer| {
            writeln!(out, "{sentence}")?;
            writeln!(out, "  id     {}", text(answer, "id"))?;
            writeln!(out, "  token  {}", text(answer, "token"))?;
            writeln!(out, "The token is not shown again.")
        })
    }
}

/// A field as people read it.
pub(super) fn text(row: &Value, key: &str) -> String {
    match row.get(key) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(items)) if items.is_empty() => "-".to_owned(),
        Some(Value::Array(items)) => {
            let items: Vec<&str> = items.iter().filter_map(Value::as_str).collect();
            items.join(",")
        }
        Some(other) => other.to_string(),
    }
}

/// `KEY=VALUE` arguments of a flag as an object.
pub(super) fn pairs(flag: &str, arguments: &[String]) -> Result<Value, CliError> {
    let mut object = Map::new();
    for argument in arguments {
        // The value may be a secret: it is not repeated.
        let shown = argument.split('=').next().unwrap_or_default();
        let message = || CliError::Argument(format!("{flag} {shown:?}: expected KEY=VALUE"));
        let (key, value) = argument.split_once('=').ok_or_else(message)?;
        object.insert(key.to_owned(), value.into());
    }
    Ok(Value::Object(object))
}

/// One row, each column on a line of its own.
pub(super) fn write_fields(out: &mut dyn Write, row: &Value, columns: &[Column]) -> io::Result<()> {
    columns
        .iter()
        .try_for_each(|(title, cell)| writeln!(out, "{:<12} {}", title.to_lowercase(), printable(&cell(row))))
}

fn write_table(out: &mut dyn Write, rows: &[Value], columns: &[Column]) -> io::Result<()> {
    let titles: Vec<String> = columns.iter().map(|(title, _)| (*title).to_owned()).collect();
    let cells = rows.iter().map(|row| columns.iter().map(|(_, cell)| printable(&cell(row))).collect());
    let lines: Vec<Vec<String>> = std::iter::once(titles).chain(cells).collect();
    let width = |column: usize| {
        lines.iter().filter_map(|line| line.get(column)).map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns.len()).map(width).collect();
    for line in &lines {
        let padded: Vec<String> =
            line.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", padded.join("  ").trim_end())?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_are_aligned_and_hold_no_control_characters() {
        let rows = [json!({"name": "a\u{1b}[31m", "n": 1}), json!({"name": "longer-name"})];
        let mut out = Vec::new();
        let columns: [Column; 2] = [("NAME", |row| text(row, "name")), ("N", |row| text(row, "n"))];
        write_table(&mut out, &rows, &columns).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), "NAME         N\na?[31m       1\nlonger-name  -\n");
    }
}
