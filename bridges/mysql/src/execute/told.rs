//! What becomes of a server's words, from bytes to JSON: the way of every row, without a pool. For tests and fuzzing.

#[cfg(test)]
mod tests;

use bridge_core::{BridgeError, Columns, RowWriter};
use bridge_net::{Socket, Told};
use bridge_sql::{Select, Sql};

use super::{Break, Shape, Sink};
use crate::error::{while_connecting, while_running};
use crate::values;
use crate::wire::{Column, Connection, RowView, Step, scripted};

/// Logs in to the server behind `socket`, runs a statement and writes its rows, of which one has at most `row_limit` bytes
/// on the wire, and as many as JSON.
pub async fn tell(socket: impl Socket + 'static, row_limit: usize) -> Told {
    let mut told = Told::default();
    let mut writer = RowWriter::new(row_limit);
    let failure = match scripted::connect(socket, row_limit).await {
        Ok(mut connection) => {
            let run = run(&mut connection, &mut told, &mut writer).await;
            told.is_idle = connection.is_idle();
            run.err()
        }
        Err(error) => Some(while_connecting(error)),
    };
    told.ended(failure, writer)
}

async fn run(
    connection: &mut Connection,
    told: &mut Told,
    writer: &mut RowWriter,
) -> Result<(), BridgeError> {
    let sources = connection.start("SELECT 1", &[]).await.map_err(while_running)?;
    told.columns = sources.iter().map(|column| column.name.to_string()).collect();
    let mut sink = Sink {
        sources: &sources,
        columns: &Columns::new(sources.iter().map(|column| &*column.name)),
        shape: &Shape::Row(every_row()),
        writer,
        written: &mut 0,
        position: &mut None,
        next_cursor: &mut None,
        room: usize::MAX,
    };
    loop {
        let step = connection.next_rows(&sources, |row| {
            read_again(row, &sources, told);
            sink.take(row)
        });
        match step.await.map_err(while_running)? {
            Step::More | Step::Stopped(Break::Full) => {}
            Step::Stopped(Break::Failed(error)) => {
                sink.writer.abandon_row();
                return Err(error);
            }
            Step::Done => return Ok(()),
        }
    }
}

fn every_row() -> Select {
    let sql = Sql { text: String::new(), params: Vec::new() };
    Select { sql, ..Select::default() }
}

/// The other ways in which a value is read.
fn read_again(row: RowView<'_>, sources: &[Column], told: &mut Told) {
    for (value, source) in row.values().zip(sources) {
        let Ok(Some(bytes)) = value else { continue };
        let mut measure = RowWriter::new(usize::MAX);
        if values::write_number(source, bytes, &mut measure).is_ok() {
            told.measures.push(measure.into_text());
        }
        told.keys.extend(values::key_text(source, bytes));
        // Neither may do anything but refuse.
        let _whole_or_not = (values::integer_of(source, bytes), values::double_of(source, bytes));
    }
}
