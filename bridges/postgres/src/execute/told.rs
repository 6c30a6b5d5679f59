//! What becomes of a server's words, from bytes to JSON: the way of every row, without a pool. For tests and fuzzing.

#[cfg(test)]
mod tests;

use bridge_core::{BridgeError, Columns, RowWriter};
use bridge_net::{Socket, Told};
use bridge_sql::{Select, Sql};

use super::{Break, Shape, Sink};
use crate::error::while_running;
use crate::values::{self, Encoding, Types};
use crate::wire::{Column, Connection, Oid, Query, ResultFormats, RowView, Rows, Step, WireError, scripted};

/// Types that stand for what extensions bring, under ids of no database.
pub const ARRAY: Oid = 100_001;
pub const VECTOR: Oid = 100_002;

/// Runs a statement at the server behind `socket`, which must be silent until it is asked, and writes its rows, of which
/// one has at most `row_limit` bytes on the wire, and as many as JSON.
pub async fn tell(socket: impl Socket + 'static, row_limit: usize) -> Told {
    let mut told = Told::default();
    let mut writer = RowWriter::new(row_limit);
    let mut connection = scripted::connection(socket, row_limit);
    let run = run(&mut connection, &mut told, &mut writer).await;
    told.is_idle = connection.is_idle();
    told.ended(run.err(), writer)
}

async fn run(
    connection: &mut Connection,
    told: &mut Told,
    writer: &mut RowWriter,
) -> Result<(), BridgeError> {
    let formats = ResultFormats::ByColumn(|column: &Column| Encoding::of(column.type_oid, &types()).format());
    let query = Query { sql: "SELECT 1", param_types: &[], params: &[], formats };
    let mut rows = Rows::start(connection, &query).await.map_err(failure)?;
    told.columns = rows.columns().iter().map(|column| column.name.to_string()).collect();
    let encoding = |column: &Column| Encoding::of(column.type_oid, &types());
    let encodings: Vec<_> = rows.columns().iter().map(encoding).collect();
    let mut sink = Sink {
        encodings: &encodings,
        columns: &Columns::new(told.columns.iter().map(String::as_str)),
        shape: &Shape::Row(every_row()),
        writer,
        written: &mut 0,
        position: &mut None,
        next_cursor: &mut None,
        room: usize::MAX,
    };
    loop {
        let step = rows.next_rows(|row| {
            read_again(row, &encodings, told);
            sink.take(row)
        });
        match step.await.map_err(failure)? {
            Step::More | Step::Stopped(Break::Full) => {}
            Step::Stopped(Break::Failed(error)) => {
                sink.writer.abandon_row();
                return Err(error);
            }
            Step::Done => return Ok(()),
        }
    }
}

fn failure(error: WireError) -> BridgeError {
    while_running("PostgreSQL", error)
}

fn types() -> Types {
    Types { arrays: vec![ARRAY], vectors: vec![VECTOR] }
}

fn every_row() -> Select {
    let sql = Sql { text: String::new(), params: Vec::new() };
    Select { sql, ..Select::default() }
}

/// The other ways in which a value is read.
fn read_again(row: RowView<'_>, encodings: &[Encoding], told: &mut Told) {
    for (value, encoding) in row.values().zip(encodings) {
        let Some(bytes) = value else { continue };
        let mut measure = RowWriter::new(usize::MAX);
        if values::write_number(*encoding, bytes, &mut measure).is_ok() {
            told.measures.push(measure.into_text());
        }
        told.keys.extend(values::key_text(*encoding, bytes));
        // This may do nothing but refuse.
        let _number = values::double_of(*encoding, bytes);
    }
}
