//! A plugin that serves a CSV or NDJSON file behind a URL as a table.
//!
//! The file is read as it comes: a page of rows holds no more than a piece of it in memory, and the next page goes on
//! where the last one ended, by a range request where the server has them.

mod config;
mod csv;
mod download;
mod kinds;
mod layout;
mod ndjson;
mod records;

use std::rc::Rc;

use semilayer_plugin::options::ReadOptions;
use semilayer_plugin::{Bridge, Description, Error, Field, Filled, Mistake, Rows, Schema, Tail, http};

use crate::config::Config;
use crate::download::{Download, Progress};
use crate::layout::Layout;

/// A file.
#[derive(Debug)]
pub struct CsvHttp {
    client: http::Client,
    config: Config,
    /// What the beginning of the file has shown, once it was looked at.
    layout: Option<Rc<Layout>>,
}

impl Bridge for CsvHttp {
    type Config = Config;

    fn describe() -> Description {
        Description::new("@semilayer-example/bridge-csv-http", "CSV or NDJSON over HTTP")
            .version(env!("CARGO_PKG_VERSION"))
            .field(
                Field::text("fileUrl", "URL of the file")
                    .required()
                    .endpoint()
                    .placeholder("https://example.com/people.csv"),
            )
            .field(
                Field::text("format", "Format")
                    .placeholder("csv or ndjson")
                    .hint("Without it, what the URL ends with decides."),
            )
            .field(Field::text("table", "Table").hint("The target's name; without it, the file's."))
            .field(Field::text("columns", "Columns").placeholder("id:int64, price:decimal").hint(
                "Types that are not to be inferred; the names of all columns where there is no header.",
            ))
            .field(
                Field::text("key", "Primary key").hint("Columns by which the file is sorted, with commas."),
            )
            .field(Field::text("delimiter", "Delimiter").placeholder(",").advanced())
            .field(Field::boolean("header", "Header").hint("Whether the first line has names.").advanced())
            .field(Field::password("token", "Bearer token").advanced())
    }

    fn check(config: &Config) -> Vec<Mistake> {
        config.mistakes()
    }

    fn connect(config: Config) -> Result<Self, Error> {
        let client = http::Client::new(&config.file_url).map_err(|error| error.field("fileUrl"))?;
        let client = match &config.token {
            Some(token) => client.bearer(token.expose()),
            None => client,
        };
        Ok(Self { client, config, layout: None })
    }

    fn test(&mut self) -> Result<(), Error> {
        self.layout().map(drop)
    }

    fn targets(&mut self) -> Result<Vec<String>, Error> {
        Ok(vec![self.config.table()])
    }

    fn schema(&mut self, target: &str) -> Result<Schema, Error> {
        self.refuse_others(target)?;
        Ok(Schema::new(self.layout()?.columns.iter().cloned()))
    }

    fn read(&mut self, target: &str, options: ReadOptions) -> Result<Rows, Error> {
        self.refuse_others(target)?;
        let layout = self.layout()?;
        let wanted = layout.wanted(&options.projection)?;
        let columns: Vec<_> = wanted.iter().filter_map(|index| layout.columns.get(*index).cloned()).collect();
        let mut download = Download::open(&self.client, &layout.format, options.cursor.as_deref())?;
        let mut left = options.limit;
        Ok(Rows::table(columns, move |table| {
            match download.next()? {
                Progress::Record(_) if left == 0 => return Ok(Filled::End(Tail::next(download.cursor()))),
                Progress::Record(record) => layout.push(&record, &wanted, table)?,
                Progress::Wait => return Ok(Filled::Wait),
                Progress::End => return Ok(Filled::End(Tail::default())),
            }
            left -= 1;
            Ok(Filled::More)
        }))
    }
}

semilayer_plugin::export!(CsvHttp);

impl CsvHttp {
    fn refuse_others(&self, target: &str) -> Result<(), Error> {
        if target == self.config.table() { Ok(()) } else { Err(Error::not_found(target)) }
    }

    /// Looks at the beginning of the file, once in the life of a connection.
    fn layout(&mut self) -> Result<Rc<Layout>, Error> {
        if let Some(layout) = &self.layout {
            return Ok(Rc::clone(layout));
        }
        let layout = Rc::new(Layout::of(&self.config, &self.client)?);
        self.layout = Some(Rc::clone(&layout));
        Ok(layout)
    }
}

#[cfg(test)]
mod tests;
