//! The rows of a target, page after page.

use bridge_core::{BridgeError, Call, RowBatch, RowStream};
use protocol::{Projection, ReadOptions};

use super::{Page, ROOM, Reader};
use crate::ReduceError;
use crate::layout::Schema;

/// The size of a page when everything is wanted: the reader's own pages are as large as it likes. More than any answer, and
/// a number that every language takes exactly.
const WHOLE: u64 = u32::MAX as u64;

/// What is read.
pub(super) struct Request {
    pub(super) target: String,
    /// The columns that are looked at, by their own names.
    pub(super) fields: Projection,
    /// No more rows than these are needed.
    pub(super) most: Option<u64>,
}

/// A scan that is under way.
pub(super) struct Feed<R> {
    reader: R,
    call: Call,
    request: Request,
    page: Option<RowStream>,
    /// With which cursor the page was asked for.
    cursor: Option<String>,
}

impl<R: Reader> Feed<R> {
    /// Opens the first page. Says what the columns hold, too.
    pub(super) async fn open(reader: R, call: Call, request: Request) -> Result<(Self, Schema), BridgeError> {
        let mut feed = Self { reader, call, request, page: None, cursor: None };
        let Page { rows, schema } = feed.read().await?;
        feed.page = Some(rows);
        Ok((feed, schema))
    }

    /// The next rows, of whichever page.
    pub(super) async fn next(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        while let Some(page) = &mut self.page {
            if self.call.remaining().is_zero() {
                return Err(BridgeError::Timeout);
            }
            if let Some(batch) = page.next(room).await? {
                if let Some(most) = &mut self.request.most {
                    *most = most.saturating_sub(batch.count);
                }
                return Ok(Some(batch));
            }
            let next = page.tail().next_cursor;
            // Before the next one: the reader may have only one connection.
            self.page = None;
            self.turn(next).await?;
        }
        Ok(None)
    }

    async fn turn(&mut self, cursor: Option<String>) -> Result<(), BridgeError> {
        if cursor.is_none() || self.request.most == Some(0) {
            return Ok(());
        }
        if cursor == self.cursor {
            return Err(self.reader.broken(format!(
                "the scan of {} does not go on: a page ends where it began",
                self.request.target
            )));
        }
        self.cursor = cursor;
        self.page = Some(self.read().await?.rows);
        Ok(())
    }

    async fn read(&mut self) -> Result<Page, BridgeError> {
        let options = ReadOptions {
            limit: self.request.most.unwrap_or(WHOLE).min(WHOLE),
            cursor: self.cursor.clone(),
            projection: self.request.fields.clone(),
            ..ReadOptions::default()
        };
        self.reader.read(&self.call, &self.request.target, options).await
    }

    /// Hands every row that is left to `take`.
    pub(super) async fn each(
        &mut self,
        mut take: impl FnMut(&str) -> Result<(), ReduceError>,
    ) -> Result<(), BridgeError> {
        self.each_while(|row| take(row).map(|()| true)).await
    }

    /// Hands rows to `take` until it wants no more.
    pub(super) async fn each_while(
        &mut self,
        mut take: impl FnMut(&str) -> Result<bool, ReduceError>,
    ) -> Result<(), BridgeError> {
        while let Some(batch) = self.next(ROOM).await? {
            let mut cut = Cut::new(batch);
            while let Some(row) = cut.next().map_err(|error| self.blamed(error))? {
                if !take(row).map_err(|error| self.blamed(error))? {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A row that is none is the reader's fault.
    pub(super) fn blamed(&self, error: ReduceError) -> BridgeError {
        match error {
            ReduceError::Row(_) => self.reader.broken(error.to_string()),
            ReduceError::Memory { .. }
            | ReduceError::Rows { .. }
            | ReduceError::RowTooLarge { .. }
            | ReduceError::Invalid(_) => error.into(),
        }
    }
}

/// A batch that is cut into its rows. The rows themselves are not looked into.
#[derive(Debug, Default)]
pub(super) struct Cut {
    rows: String,
    at: usize,
}

impl Cut {
    pub(super) fn new(batch: RowBatch) -> Self {
        Self { rows: batch.rows, at: 0 }
    }

    /// The next row.
    pub(super) fn next(&mut self) -> Result<Option<&str>, ReduceError> {
        let rest = self.rows.get(self.at..).unwrap_or_default();
        let Some(start) = rest.bytes().position(|byte| !matches!(byte, b',' | b' ' | b'\n' | b'\r' | b'\t'))
        else {
            return Ok(None);
        };
        let row = rest.get(start..).unwrap_or_default();
        let end = end_of_object(row.as_bytes()).ok_or_else(no_object)?;
        self.at += start + end;
        row.get(..end).map(Some).ok_or_else(no_object)
    }
}

/// How many bytes the object takes with which a text begins.
fn end_of_object(bytes: &[u8]) -> Option<usize> {
    let mut depth = 0_usize;
    let mut within_text = false;
    let mut escaped = false;
    for (at, byte) in bytes.iter().enumerate() {
        if within_text {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => within_text = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' if depth > 0 => within_text = true,
            b'{' => depth += 1,
            b'}' => match depth.checked_sub(1)? {
                0 => return Some(at + 1),
                less => depth = less,
            },
            _ if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

fn no_object() -> ReduceError {
    ReduceError::Row(serde::de::Error::custom("a batch is objects with commas between them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(rows: &str) -> Option<Vec<String>> {
        let mut cut = Cut::new(RowBatch { rows: rows.to_owned(), count: 0 });
        let mut found = Vec::new();
        while let Some(row) = cut.next().ok()? {
            found.push(row.to_owned());
        }
        Some(found)
    }

    #[test]
    fn rows_end_where_their_objects_do() {
        let rows = [r#"{}"#, r#"{"a":"}\"{\\","b":[{"c":{}},"{"]}"#, "{ \"x\" : \"\\\\\" }"];
        assert_eq!(cut(&rows.join(",")).unwrap(), rows);
        assert_eq!(cut(&format!(" {} ,\n{}\t", rows[0], rows[1])).unwrap(), rows[..2]);
        assert_eq!(cut("").unwrap(), [""; 0]);
    }

    #[test]
    fn what_is_no_object_is_no_row() {
        for rows in ["5", "[]", "\"{}\"", "{", "{\"a\":\"}", "}{", "{},5"] {
            assert_eq!(cut(rows), None, "{rows}");
        }
    }
}
