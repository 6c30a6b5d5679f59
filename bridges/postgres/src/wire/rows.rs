//! The rows of one statement, as they arrive.
//!
//! This is the hot path of the whole runner: rows are found in the read buffer and handed out as views, with no
//! allocation, copy or task switch for each. Not reading is the flow control: the server's socket fills up and it waits.

use std::ops::ControlFlow;
use std::sync::Arc;

use super::connection::{Connection, Query};
use super::message::{Backend, DATA_ROW, HEADER_BYTES, Header};
use super::{Column, RowView, WireError};

/// What a call of [`Rows::next_rows`] ended with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Step<B> {
    /// All rows that have arrived were handed out; there may be more.
    More,
    /// The closure broke off with this.
    Stopped(B),
    /// The statement has ended, and the connection is free.
    Done,
}

/// Whoever has a connection: a reference to it, or a pool's lease, which may have lost it.
pub(crate) trait Holder {
    /// The connection.
    fn connection(&mut self) -> Result<&mut Connection, WireError>;
}

impl Holder for Connection {
    fn connection(&mut self) -> Result<&mut Connection, WireError> {
        Ok(self)
    }
}

impl<H: Holder> Holder for &mut H {
    fn connection(&mut self) -> Result<&mut Connection, WireError> {
        (**self).connection()
    }
}

/// A running statement on the connection that `C` holds: a `&mut Connection` or a pool's lease.
///
/// Dropped before [`Step::Done`], it leaves the connection busy.
#[derive(Debug)]
pub(crate) struct Rows<C> {
    connection: C,
    columns: Arc<[Column]>,
    done: bool,
}

impl<C: Holder> Rows<C> {
    /// Starts `query` and returns when the server has accepted its parameters.
    ///
    /// Takes one round trip if the statement is known or its result formats do not depend on the columns, else two.
    /// After a failure `connection` is dropped; unless the error was the server's, it is busy or lost.
    pub(crate) async fn start(mut connection: C, query: &Query<'_>) -> Result<Self, WireError> {
        let columns = connection.connection()?.start(query).await?;
        Ok(Self { connection, columns, done: false })
    }

    /// The columns of the result, none for a statement that returns no rows.
    pub(crate) fn columns(&self) -> &Arc<[Column]> {
        &self.columns
    }

    /// Hands every row that has arrived to `each`, first waiting for one if there is none.
    ///
    /// Dropping the future loses nothing: the next call goes on where it was. A row above the connection's limit
    /// fails with [`WireError::RowTooLarge`] and is never buffered.
    pub(crate) async fn next_rows<B>(
        &mut self,
        mut each: impl FnMut(RowView<'_>) -> ControlFlow<B>,
    ) -> Result<Step<B>, WireError> {
        if self.done {
            return Ok(Step::Done);
        }
        let connection = self.connection.connection()?;
        let limit = connection.max_row_bytes;
        let mut any = false;
        connection.link.align().await?;
        loop {
            let scan = connection.link.scan(self.columns.len(), limit, |row| {
                any = true;
                each(row)
            })?;
            match scan {
                Scan::Stopped(value) => return Ok(Step::Stopped(value)),
                Scan::Starved if any => return Ok(Step::More),
                Scan::Starved => connection.link.fill().await?,
                Scan::Other => {
                    if connection.finish_row_stream().await? {
                        self.done = true;
                        return Ok(Step::Done);
                    }
                }
            }
        }
    }

    /// Gives the connection back, busy unless the statement has ended.
    pub(crate) fn into_connection(self) -> C {
        self.connection
    }

    #[cfg(test)]
    pub(super) fn buffer_bytes(&mut self) -> usize {
        self.connection.connection().map_or(0, |connection| connection.buffer_bytes())
    }
}

impl Connection {
    /// Reads the message after the rows; true if the statement is over.
    async fn finish_row_stream(&mut self) -> Result<bool, WireError> {
        match self.next().await? {
            Backend::CommandComplete | Backend::EmptyQuery => {
                self.settle().await?;
                Ok(true)
            }
            Backend::Error(error) => Err(self.fail(error).await),
            Backend::Aside => {
                self.link.align().await?;
                Ok(false)
            }
            _ => Err(self.link.violation("expected a row or the end of the result")),
        }
    }
}

/// Why [`scan_rows`] stopped.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Scan<B> {
    /// The rest is not a whole message.
    Starved,
    Stopped(B),
    /// The next message is not a row.
    Other,
}

/// Finds the rows at the front of `bytes`. Returns how many bytes they took, also beside an error.
#[inline]
pub(super) fn scan_rows<B>(
    bytes: &[u8],
    columns: usize,
    limit: usize,
    mut each: impl FnMut(RowView<'_>) -> ControlFlow<B>,
) -> (usize, Result<Scan<B>, WireError>) {
    let mut rest = bytes;
    let end = loop {
        let (row, after) = match split_row(rest, columns, limit) {
            Ok(ControlFlow::Continue(split)) => split,
            Ok(ControlFlow::Break(Pause::Starved)) => break Ok(Scan::Starved),
            Ok(ControlFlow::Break(Pause::Other)) => break Ok(Scan::Other),
            Err(error) => break Err(error),
        };
        rest = after;
        if let ControlFlow::Break(value) = each(row) {
            break Ok(Scan::Stopped(value));
        }
    };
    (bytes.len() - rest.len(), end)
}

/// No whole row is at the front.
enum Pause {
    Starved,
    Other,
}

type Split<'a> = ControlFlow<Pause, (RowView<'a>, &'a [u8])>;

#[inline]
fn split_row(bytes: &[u8], columns: usize, limit: usize) -> Result<Split<'_>, WireError> {
    let Some(header) = Header::parse(bytes)? else { return Ok(ControlFlow::Break(Pause::Starved)) };
    if header.tag != DATA_ROW {
        return Ok(ControlFlow::Break(Pause::Other));
    }
    if header.body > limit {
        return Err(WireError::RowTooLarge { bytes: header.body, limit });
    }
    let Some((message, after)) = bytes.split_at_checked(HEADER_BYTES + header.body) else {
        return Ok(ControlFlow::Break(Pause::Starved));
    };
    let row = RowView::parse(message.get(HEADER_BYTES..).unwrap_or_default(), columns)?;
    Ok(ControlFlow::Continue((row, after)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &[u8]) -> Vec<u8> {
        let mut message = vec![b'D'];
        message.extend_from_slice(&u32::try_from(4 + 2 + 4 + text.len()).unwrap().to_be_bytes());
        message.extend_from_slice(&1_u16.to_be_bytes());
        message.extend_from_slice(&u32::try_from(text.len()).unwrap().to_be_bytes());
        message.extend_from_slice(text);
        message
    }

    #[test]
    fn a_stream_cut_anywhere_gives_the_whole_rows_before_the_cut() {
        let stream: Vec<u8> = [&b"one"[..], b"", b"three"].into_iter().flat_map(row).collect();
        for cut in 0..=stream.len() {
            let mut seen = Vec::new();
            let (consumed, scan) = scan_rows(&stream[..cut], 1, 100, |row| {
                seen.push(row.value(0).unwrap().to_vec());
                ControlFlow::<()>::Continue(())
            });
            assert_eq!(scan.unwrap(), Scan::Starved);
            let whole: Vec<u8> = seen.iter().flat_map(|text| row(text)).collect();
            assert_eq!(stream[..consumed], whole);
            assert!(cut - consumed < row(b"three").len());
        }
    }

    #[test]
    fn the_row_at_which_the_closure_stops_is_consumed() {
        let stream = [row(b"one"), row(b"two")].concat();
        let (consumed, scan) = scan_rows(&stream, 1, 100, |_| ControlFlow::Break("full"));
        assert_eq!((consumed, scan.unwrap()), (row(b"one").len(), Scan::Stopped("full")));
    }

    #[test]
    fn rows_before_a_long_one_are_handed_out_and_the_long_one_needs_no_body_to_be_refused() {
        let mut stream = row(b"short");
        stream.extend_from_slice(&row(&[b'x'; 500])[..5]);
        let mut seen = 0;
        let (consumed, scan) = scan_rows(&stream, 1, 100, |_| {
            seen += 1;
            ControlFlow::<()>::Continue(())
        });
        assert!(matches!(scan, Err(WireError::RowTooLarge { bytes: 506, limit: 100 })));
        assert_eq!((seen, consumed), (1, row(b"short").len()));
    }

    #[test]
    fn another_message_is_left_for_others() {
        let stream = [row(b"one"), b"C\0\0\0\x0dSELECT 1\0".to_vec()].concat();
        let (consumed, scan) = scan_rows(&stream, 1, 100, |_| ControlFlow::<()>::Continue(()));
        assert_eq!((consumed, scan.unwrap()), (row(b"one").len(), Scan::Other));
    }
}
