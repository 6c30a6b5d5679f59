//! A plugin that serves rows out of its own memory: a table of generated people, or tables that stand in its settings.
//!
//! It implements only `read`; filters, orders, counts and aggregates are the runner's. Rows cross as packed columns.

mod data;
pub mod people;

use std::rc::Rc;

use semilayer_plugin::options::{Projection, ReadOptions};
use semilayer_plugin::{Bridge, Column, Description, Error, Field, Filled, Rows, Schema, Table, Tail};
use serde::Deserialize;

use crate::data::{Data, Stored};
use crate::people::Maker;

/// The table of generated rows.
const PEOPLE: &str = "people";

/// Tables in memory.
#[derive(Debug)]
pub struct Memory {
    people: u64,
    stored: Vec<Rc<Stored>>,
}

/// Its settings.
#[derive(Debug, Deserialize)]
pub struct Config {
    /// How many people there are.
    rows: u64,
    /// Tables as JSON, see [`Data`].
    #[serde(default)]
    data: Data,
}

impl Bridge for Memory {
    type Config = Config;

    fn describe() -> Description {
        Description::new("@semilayer-example/bridge-memory", "Memory")
            .version(env!("CARGO_PKG_VERSION"))
            .field(
                Field::number("rows", "Generated rows")
                    .required()
                    .hint("How many rows the table \"people\" has; 0 for no such table."),
            )
            .field(
                Field::text("data", "Tables")
                    .hint("Tables as JSON: {\"tables\": [{\"name\", \"columns\", \"key\", \"rows\"}]}.")
                    .advanced(),
            )
    }

    fn connect(config: Config) -> Result<Self, Error> {
        let stored = config.data.tables.into_iter().map(Rc::new).collect();
        Ok(Self { people: config.rows, stored })
    }

    fn targets(&mut self) -> Result<Vec<String>, Error> {
        let people = (self.people > 0).then(|| PEOPLE.to_owned());
        Ok(people.into_iter().chain(self.stored.iter().map(|table| table.name.clone())).collect())
    }

    fn schema(&mut self, target: &str) -> Result<Schema, Error> {
        if self.is_people(target) {
            return Ok(Schema::new(people::columns()).rows(self.people));
        }
        let table = self.stored(target)?;
        Ok(Schema::new(table.columns.iter().cloned()).rows(table.rows.len() as u64))
    }

    fn read(&mut self, target: &str, options: ReadOptions) -> Result<Rows, Error> {
        if self.is_people(target) {
            let page = Page::new(people::columns(), self.people, &options)?;
            let mut maker = Maker::default();
            let all = options.projection.pairs().is_none();
            return Ok(page.rows(move |index, columns, table| match maker.person(index) {
                person if all => person.push_all(table),
                person => columns.iter().for_each(|column| person.push(*column, table)),
            }));
        }
        let stored = Rc::clone(self.stored(target)?);
        let page = Page::new(stored.columns.clone(), stored.rows.len() as u64, &options)?;
        Ok(page.rows(move |index, columns, table| {
            let row = usize::try_from(index).ok().and_then(|index| stored.rows.get(index));
            for column in columns {
                table.push(row.and_then(|row| row.get(*column)));
            }
        }))
    }
}

semilayer_plugin::export!(Memory);

impl Memory {
    fn is_people(&self, target: &str) -> bool {
        self.people > 0 && target == PEOPLE
    }

    fn stored(&self, target: &str) -> Result<&Rc<Stored>, Error> {
        self.stored.iter().find(|table| table.name == target).ok_or_else(|| Error::not_found(target))
    }
}

/// Some rows and columns of a table. Its cursor is the position of the next row: these tables never change.
struct Page {
    columns: Vec<Column>,
    /// Where each of `columns` stands in the table.
    positions: Vec<usize>,
    first: u64,
    end: u64,
    tail: Tail,
}

impl Page {
    fn new(columns: Vec<Column>, rows: u64, options: &ReadOptions) -> Result<Self, Error> {
        let first = match &options.cursor {
            Some(cursor) => {
                cursor.parse().map_err(|_| Error::invalid_request("cursor", "a cursor of this target"))?
            }
            None => 0,
        };
        let end = rows.min(options.limit.saturating_add(first));
        let next_cursor = (end < rows).then(|| end.to_string());
        let total = options.total.then_some(rows);
        let tail = Tail { next_cursor, total, ..Tail::default() };
        let positions = positions(&columns, &options.projection)?;
        let columns = positions.iter().filter_map(|position| columns.get(*position).cloned()).collect();
        Ok(Self { columns, positions, first, end, tail })
    }

    /// The rows: `push` pushes the values of one, by its index and the positions of its columns.
    fn rows(self, mut push: impl FnMut(u64, &[usize], &mut Table) + 'static) -> Rows {
        let Self { columns, positions, mut first, end, tail } = self;
        Rows::table(columns, move |table| {
            if first >= end {
                return Ok(Filled::End(tail.clone()));
            }
            push(first, &positions, table);
            first += 1;
            table.end_row()?;
            Ok(Filled::More)
        })
    }
}

/// Where the columns that were asked for stand.
fn positions(columns: &[Column], projection: &Projection) -> Result<Vec<usize>, Error> {
    let Some(pairs) = projection.pairs() else { return Ok((0..columns.len()).collect()) };
    let position = |(_, name): (&str, &str)| {
        let position = columns.iter().position(|column| column.name == name);
        position.ok_or_else(|| Error::invalid_request(name, "a column of this target"))
    };
    pairs.into_iter().map(position).collect()
}

#[cfg(test)]
mod tests {
    use semilayer_plugin::testing;

    use super::*;

    fn memory(rows: u64) -> Memory {
        Memory::connect(Config { rows, data: Data::default() }).unwrap()
    }

    #[test]
    fn pages_follow_one_another_until_the_last_row() {
        let mut memory = memory(5);
        let mut options = ReadOptions { limit: 2, ..ReadOptions::default() };
        let mut ids = Vec::new();
        for _ in 0..3 {
            let page = Page::new(people::columns(), 5, &options).unwrap().tail;
            let rows = testing::json(memory.read(PEOPLE, options.clone()).unwrap()).unwrap();
            ids.extend(rows.iter().map(|row| row["id"].as_u64().unwrap()));
            options.cursor = page.next_cursor;
        }
        assert_eq!((ids, options.cursor), (vec![1, 2, 3, 4, 5], None));
    }

    #[test]
    fn only_the_columns_that_were_asked_for_are_made() {
        let projection = Projection::Columns(vec!["name".to_owned(), "id".to_owned()]);
        let options = ReadOptions { projection, ..ReadOptions::default() };
        let rows = testing::json(memory(1).read(PEOPLE, options).unwrap()).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(rows[0].as_object().unwrap().keys().collect::<Vec<_>>(), ["id", "name"]);
    }

    #[test]
    fn what_is_not_there_is_refused() {
        let mut memory = memory(0);
        assert!(memory.read(PEOPLE, ReadOptions::default()).is_err());
        assert!(memory.schema("other").is_err());
        let cursor = Some("x".to_owned());
        assert!(Page::new(people::columns(), 1, &ReadOptions { cursor, ..ReadOptions::default() }).is_err());
    }
}
