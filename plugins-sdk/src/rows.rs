//! The cursors that most plugins need: rows as values that serde knows, one by one or page by page, and rows as columns.

use serde::Serialize;

use crate::cursor::{Batch, Cursor, Room, Tail};
use crate::json::JsonRows;
use crate::table::Table;
use crate::{Column, Error, host};

/// After so many steps without a full batch, a cursor looks whether the job was cancelled.
const STEPS_BETWEEN_LOOKS: u32 = 1_024;

/// Rows on their way, of any kind.
///
/// ```
/// use semilayer_plugin::{Cursor, Error, Room, Rows};
/// use serde::Serialize;
///
/// #[derive(Serialize)]
/// struct Planet { name: &'static str, moons: u32 }
///
/// let mut rows = Rows::json([Planet { name: "Earth", moons: 1 }, Planet { name: "Mars", moons: 2 }]);
/// assert_eq!(rows.next_batch(Room::default())?.unwrap().rows(), 2);
/// assert!(rows.next_batch(Room::default())?.is_none());
/// # Ok::<(), Error>(())
/// ```
pub struct Rows {
    cursor: Box<dyn Cursor>,
    tail: Option<Tail>,
}

/// What a step of [`Rows::table`] came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filled {
    /// Rows were pushed, or none by this step: there is another step.
    More,
    /// The next step has to wait for the database. Rows that are there are given out first.
    Wait,
    /// That was all; rows pushed by this step count.
    End(Tail),
}

impl Rows {
    /// Rows of a cursor of one's own.
    pub fn new(cursor: impl Cursor + 'static) -> Self {
        Self { cursor: Box::new(cursor), tail: None }
    }

    /// Rows that are at hand: structs, maps or [`Row`](crate::Row)s.
    pub fn json<T: Serialize + 'static>(rows: impl IntoIterator<Item = T, IntoIter: 'static>) -> Self {
        Self::try_json(rows.into_iter().map(Ok))
    }

    /// The same, where each may fail instead.
    pub fn try_json<T: Serialize + 'static>(
        rows: impl IntoIterator<Item = Result<T, Error>, IntoIter: 'static>,
    ) -> Self {
        Self::new(JsonCursor::new(rows.into_iter().map(|row| row.map(Pulled::Row))))
    }

    /// Rows that come in pages: those of a page are given out before the next one is asked for.
    pub fn pages<P>(pages: impl IntoIterator<Item = Result<P, Error>, IntoIter: 'static>) -> Self
    where
        P: IntoIterator<Item: Serialize, IntoIter: 'static> + 'static,
    {
        Self::new(JsonCursor::new(PagedRows { pages: pages.into_iter(), page: None }))
    }

    /// At most `limit` of rows that are at hand, and where there are more, a cursor to go on from: `cursor_of` makes it from
    /// the last row that is given.
    pub fn page<T: Serialize + 'static>(
        rows: impl IntoIterator<Item = Result<T, Error>, IntoIter: 'static>,
        limit: u64,
        cursor_of: impl Fn(&T) -> String + 'static,
    ) -> Self {
        let source = rows.into_iter().map(|row| row.map(Pulled::Row));
        Self::new(JsonCursor::new(LimitedRows { source, left: limit, cursor_of, cursor: None }))
    }

    /// The same of rows that come in pages, as [`pages`](Self::pages) takes them.
    pub fn scan<P, T>(
        pages: impl IntoIterator<Item = Result<P, Error>, IntoIter: 'static>,
        limit: u64,
        cursor_of: impl Fn(&T) -> String + 'static,
    ) -> Self
    where
        P: IntoIterator<Item = T, IntoIter: 'static> + 'static,
        T: Serialize + 'static,
    {
        let source = PagedRows { pages: pages.into_iter(), page: None };
        Self::new(JsonCursor::new(LimitedRows { source, left: limit, cursor_of, cursor: None }))
    }

    /// Rows as columns, the fastest way: `fill` pushes a row (or some) at each step.
    ///
    /// ```
    /// use semilayer_plugin::{Column, Filled, Kind, Rows, Tail};
    ///
    /// let columns = [Column::new("n", Kind::Int64).key(), Column::new("even", Kind::Boolean)];
    /// let mut next = 0;
    /// let rows = Rows::table(columns, move |table| {
    ///     if next == 3 {
    ///         return Ok(Filled::End(Tail::default()));
    ///     }
    ///     table.push(next).push(next % 2 == 0).end_row()?;
    ///     next += 1;
    ///     Ok(Filled::More)
    /// });
    /// # assert_eq!(semilayer_plugin::testing::json(rows).unwrap().len(), 3);
    /// ```
    pub fn table(
        columns: impl IntoIterator<Item = Column>,
        fill: impl FnMut(&mut Table) -> Result<Filled, Error> + 'static,
    ) -> Self {
        let columns: Vec<Column> = columns.into_iter().collect();
        let table = Table::new(&columns);
        Self::new(TableCursor { columns, table, fill, end: None })
    }

    /// The same with this tail.
    #[must_use]
    pub fn with_tail(self, tail: Tail) -> Self {
        Self { tail: Some(tail), ..self }
    }
}

impl Cursor for Rows {
    fn columns(&self) -> &[Column] {
        self.cursor.columns()
    }

    fn next_batch(&mut self, room: Room) -> Result<Option<Batch>, Error> {
        self.cursor.next_batch(room)
    }

    fn tail(&mut self) -> Tail {
        self.tail.take().unwrap_or_else(|| self.cursor.tail())
    }
}

impl std::fmt::Debug for Rows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rows").field("columns", &self.columns()).finish_non_exhaustive()
    }
}

/// Looks from time to time whether the job was cancelled.
#[derive(Debug, Default)]
struct Watch(u32);

impl Watch {
    #[inline]
    fn step(&mut self) -> Result<(), Error> {
        self.0 += 1;
        if self.0 < STEPS_BETWEEN_LOOKS {
            return Ok(());
        }
        self.0 = 0;
        if host::is_cancelled() { Err(Error::cancelled()) } else { Ok(()) }
    }
}

struct TableCursor<F> {
    columns: Vec<Column>,
    table: Table,
    fill: F,
    /// Set once `fill` has ended.
    end: Option<Tail>,
}

impl<F: FnMut(&mut Table) -> Result<Filled, Error>> Cursor for TableCursor<F> {
    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn next_batch(&mut self, room: Room) -> Result<Option<Batch>, Error> {
        let mut watch = Watch::default();
        while self.end.is_none() && room.has_left(self.table.rows(), self.table.bytes()) {
            watch.step()?;
            match (self.fill)(&mut self.table)? {
                Filled::More => {}
                Filled::Wait if self.table.is_empty() => {}
                Filled::Wait => break,
                Filled::End(tail) => self.end = Some(tail),
            }
        }
        self.table.take()
    }

    fn tail(&mut self) -> Tail {
        self.end.take().unwrap_or_default()
    }
}

/// What a source of rows gives.
enum Pulled<T> {
    Row(T),
    /// The next one has to be waited for.
    Wait,
    End(Tail),
}

struct JsonCursor<S> {
    source: S,
    batch: JsonRows,
    end: Option<Tail>,
}

impl<S> JsonCursor<S> {
    fn new(source: S) -> Self {
        Self { source, batch: JsonRows::new(), end: None }
    }
}

impl<T: Serialize, S: Iterator<Item = Result<Pulled<T>, Error>>> Cursor for JsonCursor<S> {
    fn next_batch(&mut self, room: Room) -> Result<Option<Batch>, Error> {
        let mut watch = Watch::default();
        while self.end.is_none() && room.has_left(self.batch.rows(), self.batch.bytes()) {
            watch.step()?;
            match self.source.next().transpose()? {
                Some(Pulled::Row(row)) => self.batch.push(&row)?,
                Some(Pulled::Wait) if self.batch.is_empty() => {}
                Some(Pulled::Wait) => break,
                Some(Pulled::End(tail)) => self.end = Some(tail),
                None => self.end = Some(Tail::default()),
            }
        }
        Ok(self.batch.take())
    }

    fn tail(&mut self) -> Tail {
        self.end.take().unwrap_or_default()
    }
}

struct PagedRows<I, P: IntoIterator> {
    pages: I,
    page: Option<P::IntoIter>,
}

impl<I, P> Iterator for PagedRows<I, P>
where
    P: IntoIterator,
    I: Iterator<Item = Result<P, Error>>,
{
    type Item = Result<Pulled<P::Item>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let Some(page) = &mut self.page else {
            return match self.pages.next()? {
                Ok(page) => {
                    self.page = Some(page.into_iter());
                    self.next()
                }
                Err(error) => Some(Err(error)),
            };
        };
        match page.next() {
            Some(row) => Some(Ok(Pulled::Row(row))),
            None => {
                self.page = None;
                Some(Ok(Pulled::Wait))
            }
        }
    }
}

struct LimitedRows<S, F> {
    source: S,
    left: u64,
    cursor_of: F,
    /// That of the last row that may be given.
    cursor: Option<String>,
}

impl<T, S, F> Iterator for LimitedRows<S, F>
where
    S: Iterator<Item = Result<Pulled<T>, Error>>,
    F: Fn(&T) -> String,
{
    type Item = Result<Pulled<T>, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let last = match (self.left, &self.cursor) {
            (0, None) => return None,
            (0, Some(_)) => true,
            _ => false,
        };
        Some(match self.source.next()? {
            // One more than there may be: there is a page after this one.
            Ok(Pulled::Row(_)) if last => {
                Ok(Pulled::End(Tail { next_cursor: self.cursor.take(), ..Tail::default() }))
            }
            Ok(Pulled::Row(row)) => {
                self.left -= 1;
                if self.left == 0 {
                    self.cursor = Some((self.cursor_of)(&row));
                }
                Ok(Pulled::Row(row))
            }
            other => other,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorCode, Kind, testing};

    const ROOM: Room = Room { rows: 2, bytes: 1_000 };

    fn sizes(rows: &mut Rows) -> Vec<u32> {
        std::iter::from_fn(|| rows.next_batch(ROOM).unwrap()).map(|batch| batch.rows()).collect()
    }

    fn numbers(range: std::ops::Range<i64>) -> Vec<std::collections::BTreeMap<&'static str, i64>> {
        range.map(|n| std::iter::once(("n", n)).collect()).collect()
    }

    #[test]
    fn batches_end_at_the_room_that_the_runner_has() {
        assert_eq!(sizes(&mut Rows::json(numbers(0..5))), [2, 2, 1]);
        assert_eq!(sizes(&mut Rows::json(numbers(0..0))), [0; 0]);
    }

    #[test]
    fn a_page_that_is_cut_says_where_the_next_begins() {
        let page = |limit| {
            let mut rows = Rows::page(numbers(0..3).into_iter().map(Ok), limit, |row| row["n"].to_string());
            (sizes(&mut rows).iter().sum::<u32>(), rows.tail().next_cursor)
        };
        assert_eq!(page(2), (2, Some("1".to_owned())));
        assert_eq!(page(3), (3, None));
        assert_eq!(page(9), (3, None));
        assert_eq!(page(0), (0, None));
    }

    #[test]
    fn a_page_of_pages_gives_its_rows_before_it_looks_for_more() {
        let asked = std::rc::Rc::new(std::cell::Cell::new(0));
        let seen = std::rc::Rc::clone(&asked);
        let pages = (0..3).map(move |page| {
            seen.set(seen.get() + 1);
            Ok::<_, Error>(numbers(page * 2..page * 2 + 2))
        });
        let mut rows = Rows::scan(pages, 4, |row| row["n"].to_string());
        for pages in 1..=2 {
            assert_eq!(rows.next_batch(Room::default()).unwrap().unwrap().rows(), 2);
            assert_eq!(asked.get(), pages);
        }
        assert!(rows.next_batch(Room::default()).unwrap().is_none());
        assert_eq!((asked.get(), rows.tail().next_cursor), (3, Some("3".to_owned())));
    }

    #[test]
    fn rows_of_a_page_are_given_before_the_next_page_is_asked_for() {
        let asked = std::rc::Rc::new(std::cell::Cell::new(0));
        let seen = std::rc::Rc::clone(&asked);
        let pages = (0..3).map(move |page| {
            seen.set(seen.get() + 1);
            // The second page is empty, as pages of filtered services are.
            Ok::<_, Error>(if page == 1 { Vec::new() } else { numbers(page..page + 1) })
        });
        let mut rows = Rows::pages(pages);
        assert_eq!(rows.next_batch(ROOM).unwrap().unwrap().rows(), 1);
        assert_eq!(asked.get(), 1);
        assert_eq!(rows.next_batch(ROOM).unwrap().unwrap().rows(), 1);
        assert!(rows.next_batch(ROOM).unwrap().is_none());
        assert!(rows.next_batch(ROOM).unwrap().is_none());
    }

    #[test]
    fn columns_that_must_wait_give_out_what_they_have() {
        let mut step = 0;
        let mut rows = Rows::table([Column::new("n", Kind::Int64)], move |table| {
            step += 1;
            match step {
                2 | 3 => Ok(Filled::Wait),
                5 => Ok(Filled::End(Tail { total: Some(2), ..Tail::default() })),
                _ => table.push(i64::from(step)).end_row().map(|()| Filled::More),
            }
        });
        assert_eq!(sizes(&mut rows), [1, 1]);
        assert_eq!(rows.tail().total, Some(2));
    }

    #[test]
    fn a_failure_between_rows_ends_them() {
        let rows = Rows::try_json([Ok(numbers(0..1)[0].clone()), Err(Error::query_failed("gone"))]);
        assert_eq!(testing::json(rows).unwrap_err().code(), ErrorCode::QueryFailed);
    }
}
