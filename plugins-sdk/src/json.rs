//! Rows as JSON, from whatever serde can serialize, without a tree in between.
//!
//! The rules are those of all bridges: a 64-bit integer beyond 2^53 - 1 becomes a string of digits, NaN and infinities
//! become `null`, bytes become base64.

mod serializer;

use bridge_core::RowWriter;
use serde::Serialize;

use crate::Error;
use crate::bindings::semilayer::bridge::types as wit;
use crate::cursor::Batch;
use serializer::RowSerializer;

/// Writes rows as JSON.
///
/// ```
/// use semilayer_plugin::{Error, JsonRows};
///
/// let mut rows = JsonRows::new();
/// rows.push(&serde_json::json!({"id": 1, "name": "Ada"}))?;
/// assert_eq!(rows.take().unwrap().rows(), 1);
/// # Ok::<(), Error>(())
/// ```
#[derive(Debug)]
pub struct JsonRows {
    out: RowWriter,
    rows: u32,
}

impl JsonRows {
    /// No rows yet.
    pub fn new() -> Self {
        // The runner refuses rows that are too large, and says so better.
        Self { out: RowWriter::new(usize::MAX), rows: 0 }
    }

    /// Appends a row: a struct, a map, or raw JSON of an object.
    ///
    /// # Errors
    /// `internal` when it is no object or does not serialize. It is not appended then.
    pub fn push<T: Serialize + ?Sized>(&mut self, row: &T) -> Result<(), Error> {
        let before = self.out.len();
        if let Err(error) = row.serialize(RowSerializer::new(&mut self.out)) {
            // A value that is no object was refused before a row was begun: there is none to take back.
            if self.out.len() > before {
                self.out.abandon_row();
            }
            return Err(Error::internal(format!("cannot write row {}: {error}", self.rows)));
        }
        self.rows += 1;
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// Bytes of JSON so far.
    pub fn bytes(&self) -> usize {
        self.out.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// What has been written, ready for the runner; nothing when there are no rows.
    pub fn take(&mut self) -> Option<Batch> {
        let rows = std::mem::take(&mut self.rows);
        let batch = self.out.take()?;
        Some(Batch(wit::Batch::Json(wit::JsonBatch { rows, text: batch.rows })))
    }
}

impl Default for JsonRows {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(rows: &mut JsonRows) -> String {
        match rows.take().unwrap().0 {
            wit::Batch::Json(batch) => batch.text,
            wit::Batch::Columns(_) => panic!("columns"),
        }
    }

    #[test]
    fn a_row_that_fails_leaves_no_trace() {
        #[derive(Serialize)]
        struct Half {
            good: u8,
            #[serde(serialize_with = "refuse")]
            bad: u8,
        }
        fn refuse<S: serde::Serializer>(_: &u8, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("no"))
        }
        let mut rows = JsonRows::new();
        assert!(rows.push(&7).is_err());
        rows.push(&serde_json::json!({"a": 1})).unwrap();
        assert!(rows.push(&7).is_err());
        assert!(rows.push(&Half { good: 1, bad: 2 }).is_err());
        rows.push(&serde_json::json!({"b": 2})).unwrap();
        assert_eq!((rows.rows(), text(&mut rows).as_str()), (2, r#"{"a":1},{"b":2}"#));
        assert!(rows.take().is_none());
    }
}
