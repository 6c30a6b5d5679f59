//! The people of the memory example as a bridge that is compiled in: what the benchmark compares the plugin with.
//!
//! The rows are made by the same code and written by hand, as native bridges write theirs. Jobs that the plugin leaves to
//! the runner are left to `bridge_reduce` here, too, so that a comparison is about WebAssembly and nothing else.

use std::future::ready;

use bridge_core::{BoxFuture, BridgeError, Call, Columns, RowBatch, RowStream, RowWriter, Rows};
use bridge_reduce::scan::{Known, Page, Reader, Scan};
use bridge_reduce::{Kind, Schema};
use memory::people::{self, Maker, Person};
use protocol::{QueryOptions, ReadOptions};

/// The target that both have.
pub const PEOPLE: &str = "people";

/// A table of generated people.
#[derive(Debug, Clone, Copy)]
pub struct People {
    /// How many there are.
    pub rows: u64,
}

impl People {
    /// The first rows, at most `options.limit` of them.
    pub fn read(&self, call: &Call, options: &ReadOptions) -> RowStream {
        Box::new(PeopleRows {
            maker: Maker::default(),
            writer: RowWriter::new(call.row_limit),
            columns: Columns::new(people::columns().iter().map(|column| column.name.as_str())),
            next: 0,
            end: self.rows.min(options.limit),
        })
    }

    /// Rows by filter, order, limit and offset.
    ///
    /// # Errors
    /// Those of the scan.
    pub async fn query(&self, call: &Call, options: QueryOptions) -> Result<RowStream, BridgeError> {
        Scan::new(*self, call).query(PEOPLE, options).await
    }
}

impl Reader for People {
    fn read<'a>(
        &'a mut self,
        call: &'a Call,
        _target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Page, BridgeError>> {
        let rows = People::read(self, call, &options);
        Box::pin(ready(Ok(Page { rows, schema: schema() })))
    }

    fn describe<'a>(
        &'a mut self,
        _call: &'a Call,
        _target: &'a str,
    ) -> BoxFuture<'a, Result<Known, BridgeError>> {
        let columns = people::columns().into_iter().map(|column| column.name).collect();
        Box::pin(ready(Ok(Known { key: vec!["id".to_owned()], columns: Some(columns), in_key_order: true })))
    }
}

struct PeopleRows {
    maker: Maker,
    writer: RowWriter,
    columns: Columns,
    next: u64,
    end: u64,
}

impl PeopleRows {
    fn batch(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        while self.next < self.end && (self.writer.is_empty() || self.writer.len() < room) {
            let person = self.maker.person(self.next);
            self.writer.begin_row();
            write(&person, &self.columns, &mut self.writer);
            self.writer.end_row()?;
            self.next += 1;
        }
        Ok(self.writer.take())
    }
}

impl Rows for PeopleRows {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Box::pin(ready(self.batch(room)))
    }
}

#[inline]
fn write(person: &Person<'_>, columns: &Columns, out: &mut RowWriter) {
    out.key(columns, 0);
    out.integer_safe(person.id);
    out.key(columns, 1);
    out.text(person.name);
    out.key(columns, 2);
    match person.email {
        Some(email) => out.text(text(email)),
        None => out.null(),
    }
    out.key(columns, 3);
    out.double(person.score);
    out.key(columns, 4);
    out.boolean(person.active);
    out.key(columns, 5);
    out.timestamp(person.created_at);
    out.key(columns, 6);
    out.plain_text(text(person.balance));
    out.key(columns, 7);
    out.plain_text(text(person.device));
}

/// Bytes that are text, looked at once, as the runner looks once at those of a plugin.
#[inline]
fn text(bytes: &[u8]) -> &str {
    str::from_utf8(bytes).unwrap_or_default()
}

fn schema() -> Schema {
    Schema::unknown()
        .with("id", Kind::Number)
        .with("name", Kind::Text)
        .with("email", Kind::Text)
        .with("score", Kind::Number)
        .with("active", Kind::Boolean)
        .with("created_at", Kind::Timestamp)
        .with("balance", Kind::Number)
        .with("device", Kind::Uuid)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use memory::Memory;
    use semilayer_plugin::{Bridge, testing};
    use serde_json::Value;

    use super::*;

    #[tokio::test]
    async fn rows_are_those_of_the_plugin() {
        let call = Call::within(Duration::from_secs(60));
        let mut native = People { rows: 50 }.read(&call, &ReadOptions::default());
        let native = native.next(1 << 20).await.unwrap().unwrap();
        let native: Vec<Value> = serde_json::from_str(&format!("[{}]", native.rows)).unwrap();
        let mut memory = Memory::connect(serde_json::from_str(r#"{"rows": 50}"#).unwrap()).unwrap();
        assert_eq!(testing::json(memory.read(PEOPLE, ReadOptions::default()).unwrap()).unwrap(), native);
    }
}
