//! For a plugin's own tests, which run natively: what a caller would see of its rows.
//!
//! What a plugin owes to the runner beyond that, `semilayer-runner plugin test` checks.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::Timestamp;
use serde_json::{Map, Value as Json};

use crate::bindings::semilayer::bridge::types as wit;
use crate::cursor::{Batch, Cursor, Room};
use crate::{Error, Kind, Rows};

/// All rows as JSON, as the runner would write them.
///
/// # Errors
/// That of the rows; `internal` when a batch is not sound.
pub fn json(mut rows: Rows) -> Result<Vec<Json>, Error> {
    let columns: Vec<(String, Kind)> =
        rows.columns().iter().map(|column| (column.name.clone(), column.kind)).collect();
    let mut out = Vec::new();
    while let Some(Batch(batch)) = rows.next_batch(Room::default())? {
        match batch {
            wit::Batch::Json(batch) => {
                let read: Vec<Json> = serde_json::from_str(&format!("[{}]", batch.text))?;
                out.extend(counted(read, batch.rows)?);
            }
            wit::Batch::Columns(batch) => {
                let read = (0..batch.rows).map(|row| row_of(&batch, &columns, row)).collect::<Option<_>>();
                out.extend(counted(read.ok_or_else(|| unsound("a value is missing"))?, batch.rows)?);
            }
        }
    }
    Ok(out)
}

fn counted(rows: Vec<Json>, said: u32) -> Result<Vec<Json>, Error> {
    if rows.is_empty() || u32::try_from(rows.len()) != Ok(said) {
        return Err(unsound(&format!("{} rows, said to be {said}", rows.len())));
    }
    Ok(rows)
}

fn unsound(what: &str) -> Error {
    Error::internal(format!("a batch is not sound: {what}"))
}

fn row_of(batch: &wit::ColumnBatch, columns: &[(String, Kind)], row: u32) -> Option<Json> {
    let row = usize::try_from(row).ok()?;
    let mut object = Map::new();
    for ((name, kind), column) in columns.iter().zip(&batch.columns) {
        let present = match column.validity.get(row / 8) {
            Some(bits) => bits >> (row % 8) & 1 == 1,
            None => column.validity.is_empty(),
        };
        let value = if present { value_of(&column.data, *kind, row)? } else { Json::Null };
        object.insert(name.clone(), value);
    }
    (columns.len() == batch.columns.len()).then_some(Json::Object(object))
}

fn value_of(data: &wit::ColumnData, kind: Kind, row: usize) -> Option<Json> {
    Some(match data {
        wit::ColumnData::Bools(values) => Json::from(*values.get(row)? != 0),
        wit::ColumnData::Ints(values) => integer(*values.get(row)?, kind)?,
        wit::ColumnData::Uints(values) => match *values.get(row)? {
            value if value < 1 << 53 => Json::from(value),
            value => Json::from(value.to_string()),
        },
        wit::ColumnData::Floats(values) => Json::from(*values.get(row)?),
        wit::ColumnData::Texts(pieces) => Json::from(str::from_utf8(piece(pieces, row)?).ok()?),
        wit::ColumnData::Binaries(pieces) => Json::from(STANDARD.encode(piece(pieces, row)?)),
        wit::ColumnData::Jsons(pieces) => {
            let text = str::from_utf8(piece(pieces, row)?).ok()?;
            serde_json::from_str(text).unwrap_or_else(|_| Json::from(text))
        }
        wit::ColumnData::Strings(values) => Json::from(values.get(row)?.as_str()),
    })
}

fn integer(value: i64, kind: Kind) -> Option<Json> {
    Some(match kind {
        Kind::Date => Json::from(Timestamp::from_days(value)?.to_string()),
        Kind::Timestamp => Json::from(Timestamp::from_micros(value).to_string()),
        _ if value.unsigned_abs() < 1 << 53 => Json::from(value),
        _ => Json::from(value.to_string()),
    })
}

fn piece(pieces: &wit::Packed, row: usize) -> Option<&[u8]> {
    let start = usize::try_from(*pieces.offsets.get(row)?).ok()?;
    let end = usize::try_from(*pieces.offsets.get(row + 1)?).ok()?;
    pieces.bytes.get(start..end)
}
