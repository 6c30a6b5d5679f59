use bridge_core::{BridgeError, RowWriter};

/// The answer to one statement, as the tests and fuzz targets of bridges look at it. No part of the interface.
#[derive(Debug, Default, PartialEq, Eq)]
#[doc(hidden)]
pub struct Told {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows as JSON objects, joined with commas.
    pub rows: String,
    /// How many.
    pub count: u64,
    /// Each value that can be one as a measure: JSON.
    pub measures: Vec<String>,
    /// Each value that can be one as a cursor carries it.
    pub keys: Vec<String>,
    /// Why there are no more rows, where they did not just end: the error's own form.
    pub failure: Option<String>,
    /// Whether the connection would serve another statement.
    pub is_idle: bool,
}

impl Told {
    /// The same at the end, with the rows that were written.
    #[must_use]
    pub fn ended(self, failure: Option<BridgeError>, mut writer: RowWriter) -> Self {
        let batch = writer.take().unwrap_or_default();
        let failure = failure.map(|failure| format!("{failure:?}"));
        Self { rows: batch.rows, count: batch.count, failure, ..self }
    }
}
