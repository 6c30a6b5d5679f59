//! What is in the file: its columns, and how a record becomes a row of them.

use semilayer_plugin::options::Projection;
use semilayer_plugin::{Column, Error, Kind, Table, Value, http};

use crate::config::{Config, Format};
use crate::csv::{self, Field};
use crate::download::{Download, Record};
use crate::kinds::{Guess, name_of, read};
use crate::ndjson;

/// Records that are looked at to infer the columns.
const SAMPLE: u64 = 1_000;

/// The columns of the file.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) format: Shape,
    pub(crate) columns: Vec<Column>,
}

/// How records are cut and read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Csv { delimiter: u8, header: bool },
    Ndjson,
}

/// Names and what their values look like.
#[derive(Debug, Default)]
struct Found {
    columns: Vec<(String, Guess, Option<Kind>)>,
}

impl Shape {
    fn without_header(self) -> Self {
        match self {
            Self::Csv { delimiter, .. } => Self::Csv { delimiter, header: false },
            Self::Ndjson => Self::Ndjson,
        }
    }
}

impl Layout {
    /// Looks at the beginning of the file.
    pub(crate) fn of(config: &Config, client: &http::Client) -> Result<Self, Error> {
        let declared = config.declared().unwrap_or_default();
        let format = match config.format() {
            Format::Csv => {
                let delimiter = config.delimiter().unwrap_or(b',');
                Shape::Csv { delimiter, header: config.header.unwrap_or(true) }
            }
            Format::Ndjson => Shape::Ndjson,
        };
        let mut found = Found::default();
        // The first line is read as a record like any other, which it is where there is no header.
        let mut download = Download::open(client, &format.without_header(), None)?;
        match format {
            Shape::Csv { delimiter, header: true } => {
                if let Some(record) = download.next_waiting()? {
                    found.columns.extend(header(record.bytes, delimiter).iter().map(named));
                }
            }
            Shape::Csv { .. } => found.columns.extend(declared.iter().map(|(name, _)| named(name))),
            Shape::Ndjson => {}
        }
        for _ in 0..SAMPLE {
            match download.next_waiting()? {
                Some(record) => found.look(&record, &format)?,
                None => break,
            }
        }
        Self::new(format, found, &declared, &config.key())
    }

    fn new(format: Shape, found: Found, declared: &[(String, Kind)], key: &[&str]) -> Result<Self, Error> {
        let said = |name: &str| declared.iter().find(|(other, _)| other == name).map(|(_, kind)| *kind);
        let column = |(name, guess, json): (String, Guess, Option<Kind>)| {
            let kind = said(&name).or(json).unwrap_or_else(|| guess.kind());
            let column = Column::new(name, kind);
            if key.contains(&column.name.as_str()) { column.key() } else { column }
        };
        let mut columns: Vec<Column> = found.columns.into_iter().map(column).collect();
        // A declared column that the sample has not shown may come later.
        let missing = declared.iter().filter(|(name, _)| !columns.iter().any(|column| column.name == *name));
        let missing: Vec<Column> = missing.map(|(name, kind)| Column::new(name, *kind)).collect();
        if format == Shape::Ndjson {
            columns.extend(missing);
        } else if let Some(column) = missing.first() {
            return Err(Error::invalid_config("columns", "columns that the file has").within(&column.name));
        }
        if columns.is_empty() {
            return Err(Error::query_failed("the file is empty: it has no columns"));
        }
        match key.iter().find(|name| !columns.iter().any(|column| column.name == **name)) {
            Some(_) => Err(Error::invalid_config("key", "columns that the file has")),
            None => Ok(Self { format, columns }),
        }
    }

    /// Where the columns stand that were asked for.
    pub(crate) fn wanted(&self, projection: &Projection) -> Result<Vec<usize>, Error> {
        let Some(pairs) = projection.pairs() else { return Ok((0..self.columns.len()).collect()) };
        let position = |(_, name): (&str, &str)| {
            let position = self.columns.iter().position(|column| column.name == name);
            position.ok_or_else(|| Error::invalid_request(name, "a column of this target"))
        };
        pairs.into_iter().map(position).collect()
    }

    /// Pushes a record as a row of the columns that are wanted.
    pub(crate) fn push(&self, record: &Record<'_>, wanted: &[usize], table: &mut Table) -> Result<(), Error> {
        match self.format {
            Shape::Csv { delimiter, .. } => {
                let fields = csv::fields(record.bytes, delimiter);
                if fields.len() > self.columns.len() {
                    return Err(record.wrong("it has more fields than there are columns"));
                }
                self.push_row(record, wanted, table, |index, column| match fields.get(index) {
                    Some(field) => csv_value(column.kind, field),
                    None => Some(Value::Null),
                })
            }
            Shape::Ndjson => {
                let members =
                    ndjson::members(record.bytes).ok_or_else(|| record.wrong("it is no JSON object"))?;
                self.push_row(record, wanted, table, |_, column| match members.get(&column.name) {
                    Some(raw) => ndjson::value(column.kind, raw),
                    None => Some(Value::Null),
                })
            }
        }
    }

    fn push_row(
        &self,
        record: &Record<'_>,
        wanted: &[usize],
        table: &mut Table,
        value: impl Fn(usize, &Column) -> Option<Value>,
    ) -> Result<(), Error> {
        for index in wanted {
            let Some(column) = self.columns.get(*index) else { continue };
            let misfit =
                || record.wrong(&format!("column \"{}\" is no {}", column.name, name_of(column.kind)));
            table.push(&value(*index, column).ok_or_else(misfit)?);
        }
        table.end_row()
    }
}

impl Found {
    fn look(&mut self, record: &Record<'_>, format: &Shape) -> Result<(), Error> {
        match format {
            Shape::Csv { delimiter, .. } => {
                for (index, field) in csv::fields(record.bytes, *delimiter).iter().enumerate() {
                    if index == self.columns.len() {
                        self.columns.push(named(format!("column{}", index + 1)));
                    }
                    let Some((_, guess, _)) = self.columns.get_mut(index) else { continue };
                    if !field.text.is_empty() {
                        guess.look(&field.text);
                    }
                }
            }
            Shape::Ndjson => {
                let members =
                    ndjson::members(record.bytes).ok_or_else(|| record.wrong("it is no JSON object"))?;
                for (name, raw) in members {
                    let index =
                        self.columns.iter().position(|(other, ..)| *other == name).unwrap_or_else(|| {
                            self.columns.push(named(name));
                            self.columns.len() - 1
                        });
                    let Some((_, guess, json)) = self.columns.get_mut(index) else { continue };
                    if ndjson::look(raw, guess) {
                        *json = Some(Kind::Json);
                    }
                }
            }
        }
        Ok(())
    }
}

fn named(name: impl ToString) -> (String, Guess, Option<Kind>) {
    (name.to_string(), Guess::default(), None)
}

/// The names in the first line.
fn header(record: &[u8], delimiter: u8) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for (index, field) in csv::fields(record, delimiter).into_iter().enumerate() {
        let name = field.text.trim().to_owned();
        // Two columns of one name would be one key of the row.
        let name =
            if name.is_empty() || names.contains(&name) { format!("column{}", index + 1) } else { name };
        names.push(name);
    }
    names
}

/// An empty field is no value, unless it stands in quotes where texts may be empty.
fn csv_value(kind: Kind, field: &Field<'_>) -> Option<Value> {
    match (field.text.is_empty(), kind, field.quoted) {
        (true, Kind::Text, true) => Some(Value::Text(String::new())),
        (true, ..) => Some(Value::Null),
        (false, Kind::Text, _) => Some(Value::Text(field.text.clone().into_owned())),
        (false, ..) => read(kind, field.text.trim()),
    }
}
