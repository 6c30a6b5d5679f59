//! Rows in an order: collected, with a limit only as many as can be in the answer.

use std::cmp::Ordering;
use std::vec;

use bridge_core::{BoxFuture, BridgeError, RowBatch, RowStream, Rows};
use protocol::Tail;

use super::Reader;
use super::best::{Best, Kept};
use super::feed::Feed;
use super::selection::{Place, Selection};
use super::sight::Sight;
use crate::ReduceError;
use crate::aggregate::Limits;
use crate::layout::{Kind, Layout, Row, Schema};
use crate::matcher::Matcher;
use crate::order::{Nulls, Order};
use crate::values::Value;

/// Reads everything and answers the rows of a query in their order.
pub(super) async fn answer<R: Reader>(
    mut feed: Feed<R>,
    schema: Schema,
    selection: Selection,
    limits: Limits,
) -> Result<RowStream, BridgeError> {
    let mut sorting = Sorting::new(schema, &selection, limits)?;
    feed.each_while(|row| sorting.take(row)).await?;
    drop(feed);
    Ok(sorting.finish(&selection))
}

/// The rows so far.
struct Sorting {
    sight: Sight,
    matcher: Option<Matcher>,
    order: Order,
    /// The slots of the order's columns, one for each.
    slots: Vec<usize>,
    /// How many slots from the first the order looks at.
    width: usize,
    after: Option<After>,
    best: Best,
    total: u64,
    /// The row before, where rows come in this order, so that the first ones are the best. A row that comes too early shows
    /// that they do not.
    as_read: Option<Row>,
    /// Whether every row counts, however many have been found.
    counts: bool,
}

/// Where the page before ended.
struct After {
    row: Row,
    /// How many rows with the same values are behind it; all of them without.
    behind: Option<u64>,
    /// How many of them have been seen.
    seen: u64,
}

/// Whether values of these columns are in one order everywhere. Text is not: databases collate it in their own ways.
fn has_one_order(layout: &Layout, slots: &[usize]) -> bool {
    slots.iter().all(|slot| match layout.kind(*slot) {
        Kind::Number | Kind::Boolean | Kind::Timestamp => true,
        Kind::Unknown | Kind::Text | Kind::Uuid | Kind::Bytes => false,
    })
}

impl Sorting {
    fn new(schema: Schema, selection: &Selection, limits: Limits) -> Result<Self, BridgeError> {
        let mut layout = Layout::new(schema);
        let order = Order::new(&selection.order_by, Nulls::default(), &mut layout);
        let slots: Vec<usize> = selection.order_by.iter().map(|key| layout.slot(&key.field)).collect();
        let width = layout.columns().count();
        let after = selection.after.as_ref();
        let after = after.map(|place| After::new(place, &layout, &slots)).transpose()?;
        let filter = &selection.filter;
        let matcher = (!filter.is_everything()).then(|| Matcher::new(filter, &mut layout));
        let keep = if selection.limit == Some(0) { Some(0) } else { selection.needed() };
        let keep = keep.map_or(usize::MAX, |keep| usize::try_from(keep).unwrap_or(usize::MAX));
        Ok(Self {
            as_read: (selection.as_read && has_one_order(&layout, &slots)).then(Row::new),
            counts: selection.total,
            sight: Sight::new(layout, &selection.projection, limits.row),
            matcher,
            best: Best::new(order.clone(), keep, limits.memory),
            order,
            slots,
            width,
            after,
            total: 0,
        })
    }

    /// Takes a row; answers whether more are wanted.
    fn take(&mut self, row: &str) -> Result<bool, ReduceError> {
        let mut seen = self.sight.see(row)?;
        if self.matcher.as_ref().is_some_and(|matcher| !matcher.matches(&seen.columns)) {
            return Ok(true);
        }
        self.total += 1;
        let mut columns = std::mem::take(&mut seen.columns);
        columns.truncate(self.width);
        self.watch_order(&columns);
        if self.after.as_mut().is_some_and(|after| !after.precedes(&columns, &self.order)) {
            return Ok(true);
        }
        if !self.best.wants(&columns) {
            return Ok(true);
        }
        let mut text = String::new();
        self.sight.show(&seen, &mut text)?;
        text.shrink_to_fit();
        self.best.take(columns, text)?;
        Ok(self.counts || self.as_read.is_none() || !self.best.is_full())
    }

    fn watch_order(&mut self, columns: &[Value]) {
        let Some(before) = &mut self.as_read else { return };
        if !before.is_empty() && self.order.compare(before, columns).is_gt() {
            self.as_read = None;
        } else {
            *before = columns.to_vec();
        }
    }

    fn finish(self, selection: &Selection) -> RowStream {
        let Self { best, order, slots, after, total, .. } = self;
        let mut rows = best.into_sorted();
        let offset = usize::try_from(selection.offset).unwrap_or(usize::MAX).min(rows.len());
        rows.drain(..offset);
        let limit = selection.limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let mut tail = Tail { total: selection.total.then_some(total), ..Tail::default() };
        if let Some((page, [next, ..])) = rows.split_at_checked(limit)
            && let Some(last) = page.last().filter(|_| selection.paged)
        {
            let behind = order.compare(&last.columns, &next.columns).is_eq().then(|| {
                let equal = |columns: &[_]| order.compare(&last.columns, columns).is_eq();
                let before = after.as_ref().filter(|after| equal(&after.row));
                let in_page = page.iter().rev().take_while(|row| equal(&row.columns)).count();
                before.and_then(|after| after.behind).unwrap_or(0) + in_page as u64
            });
            let values = slots.iter().filter_map(|slot| last.columns.get(*slot));
            tail.next_cursor = Some(Place::new(values, behind).encode());
        }
        rows.truncate(limit);
        Box::new(Sorted::new(rows, tail))
    }
}

impl After {
    fn new(place: &Place, layout: &Layout, slots: &[usize]) -> Result<Self, BridgeError> {
        Ok(Self { row: place.row(layout, slots)?, behind: place.behind(), seen: 0 })
    }

    /// Whether a row comes after the page. Rows that are equal are told apart by the order in which they come, which is
    /// the same each time.
    fn precedes(&mut self, columns: &[crate::values::Value], order: &Order) -> bool {
        match order.compare(columns, &self.row) {
            Ordering::Less => false,
            Ordering::Greater => true,
            Ordering::Equal => {
                self.seen += 1;
                self.behind.is_some_and(|behind| self.seen > behind)
            }
        }
    }
}

/// Rows that wait to be fetched.
pub(super) struct Sorted {
    rows: vec::IntoIter<Kept>,
    tail: Tail,
}

impl Sorted {
    pub(super) fn new(rows: Vec<Kept>, tail: Tail) -> Self {
        Self { rows: rows.into_iter(), tail }
    }
}

impl Rows for Sorted {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        let mut batch = RowBatch::default();
        // Each text is dropped as it is copied, so that rows are in memory once.
        while batch.count == 0 || batch.rows.len() < room {
            let Some(row) = self.rows.next() else { break };
            if batch.count > 0 {
                batch.rows.push(',');
            }
            batch.rows.push_str(&row.text);
            batch.count += 1;
        }
        Box::pin(std::future::ready(Ok((batch.count > 0).then_some(batch))))
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}
