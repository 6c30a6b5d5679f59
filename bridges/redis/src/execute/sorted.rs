//! Rows in an order of the caller's.
//!
//! Redis cannot order rows, so they are collected here: with a limit only as many as can be in the answer, without one all
//! of them, and never more than a fixed amount of memory.

use std::cmp::Ordering;

use bridge_core::{BridgeError, Call, Position, RowStream, RowWriter, answer_rows};
use bridge_reduce::{Order, Row, Value};
use protocol::{Invalid, OrderBy, Tail};

use super::sink::{Selection, Test};
use super::{Opened, Run, count};
use crate::values::{Record, Renderer, Shape, View, push_json_text};

/// What collected rows may take.
const MEMORY: usize = 64 * 1024 * 1024;
/// What a row takes beside its text, and each of its columns beside theirs.
const ENTRY: usize = 96;

/// A row that may be in the answer.
struct Entry {
    columns: Row,
    text: String,
    size: usize,
}

/// The best rows so far.
struct Collector {
    order: Order,
    entries: Vec<Entry>,
    /// How many can be in the answer.
    keep: usize,
    used: usize,
}

/// Answers rows by `order_by`. A cursor is a place in that order.
pub(crate) async fn sorted(
    opened: Opened,
    target: &str,
    selection: Selection,
    order_by: &[OrderBy],
    cursor: Option<&str>,
    call: &Call,
) -> Result<RowStream, BridgeError> {
    let mut test = Test::new(&selection.filter, selection.changed.as_ref());
    let (order, slots) = test.order(order_by);
    let after = cursor.map(|cursor| position(cursor, order_by, &test)).transpose()?;
    let table = opened.table;
    let wanted = selection
        .limit
        .map(|limit| limit.saturating_add(selection.offset).saturating_add(u64::from(selection.paged)));
    let keep = wanted.map_or(usize::MAX, |wanted| usize::try_from(wanted).unwrap_or(usize::MAX));
    let mut collector = Collector { order, entries: Vec::new(), keep, used: 0 };
    let mut renderer = Renderer::default();
    let mut run = Run::over(opened, target, &selection.filter, call);
    if selection.limit != Some(0) {
        run.each(&mut |record| {
            let Some(columns) = test.admitted(record)? else { return Ok(()) };
            if after.as_ref().is_some_and(|after| collector.order.compare(&columns, after).is_le()) {
                return Ok(());
            }
            collector.take(columns, record, &mut renderer, &selection.shape)
        })
        .await?;
    }
    let mut tail = Tail::default();
    if selection.total {
        let opened = Opened { lease: run.into_lease(), table };
        let (total, _lease) = count(opened, target, &selection.filter, call).await?;
        tail.total = Some(total);
    }
    answer(collector, &selection, &slots, tail, call)
}

fn answer(
    mut collector: Collector,
    selection: &Selection,
    slots: &[usize],
    mut tail: Tail,
    call: &Call,
) -> Result<RowStream, BridgeError> {
    collector.sort();
    let offset = usize::try_from(selection.offset).unwrap_or(usize::MAX);
    let limit = selection.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let found = collector.entries.len().saturating_sub(offset);
    let mut writer = RowWriter::new(call.row_limit);
    let mut batches = Vec::new();
    let mut last = None;
    // Each text is dropped as it is written, so that rows are in memory once.
    for entry in collector.entries.into_iter().skip(offset).take(limit) {
        writer.begin_row();
        writer.json(&entry.text);
        writer.end_row()?;
        last = Some(entry.columns);
        if writer.len() >= BATCH {
            batches.extend(writer.take());
        }
    }
    batches.extend(writer.take());
    if selection.paged && found > limit {
        tail.next_cursor = last.map(|columns| {
            let column = |slot: &usize| columns.get(*slot).and_then(json_of);
            Position(slots.iter().map(column).collect()).encode()
        });
    }
    Ok(answer_rows(batches, tail))
}

/// Small, because a caller may ask for little at a time.
const BATCH: usize = 16 * 1024;

impl Collector {
    fn take(
        &mut self,
        columns: Row,
        record: &Record<'_>,
        renderer: &mut Renderer,
        shape: &Shape,
    ) -> Result<(), BridgeError> {
        let mut text = String::new();
        renderer.render(record, shape, View::Rows, &mut text);
        text.shrink_to_fit();
        let size = ENTRY + text.len() + columns.iter().map(size_of_value).sum::<usize>();
        self.used += size;
        self.entries.push(Entry { columns, text, size });
        // Twice as many as are kept, so that sorting them out is rare.
        if self.entries.len() / 2 >= self.keep || self.used > MEMORY {
            self.sort_out();
        }
        if self.used > MEMORY {
            return Err(BridgeError::query(format!(
                "the rows to be put in order take more than {} MiB: ask for fewer with limit, select or where",
                MEMORY / (1024 * 1024)
            )));
        }
        Ok(())
    }

    fn sort_out(&mut self) {
        if self.entries.len() > self.keep {
            self.sort();
            self.entries.truncate(self.keep);
            self.used = self.entries.iter().map(|entry| entry.size).sum();
        }
    }

    fn sort(&mut self) {
        let order = &self.order;
        self.entries.sort_by(|left, right| -> Ordering { order.compare(&left.columns, &right.columns) });
    }
}

fn size_of_value(value: &Value) -> usize {
    ENTRY / 2
        + match value {
            Value::Text(text) | Value::Json(text) => text.len(),
            Value::Bytes(bytes) => bytes.len(),
            Value::Number(_) => ENTRY / 2,
            Value::Null | Value::Bool(_) | Value::Timestamp(_) => 0,
        }
}

/// A value as JSON, with its type; nothing for null.
fn json_of(value: &Value) -> Option<String> {
    let quoted = |text: &str| {
        let mut out = String::new();
        push_json_text(&mut out, text);
        out
    };
    Some(match value {
        Value::Null | Value::Bytes(_) => return None,
        Value::Bool(value) => value.to_string(),
        Value::Number(number) => number.to_string(),
        Value::Text(text) => quoted(text),
        Value::Timestamp(timestamp) => quoted(&timestamp.to_string()),
        Value::Json(json) => json.clone(),
    })
}

/// The columns of a cursor.
fn position(cursor: &str, order_by: &[OrderBy], test: &Test) -> Result<Row, BridgeError> {
    let refused = || Invalid::new("cursor", "a cursor of this target and order");
    let mut json = String::from("{");
    for (order, value) in order_by.iter().zip(Position::decode(cursor, order_by.len())?.0) {
        if json.len() > 1 {
            json.push(',');
        }
        push_json_text(&mut json, &order.field);
        json.push(':');
        let value = value.unwrap_or_else(|| "null".to_owned());
        // One value and nothing beside it, or a cursor could say more than its column.
        serde_json::from_str::<&serde_json::value::RawValue>(&value).map_err(|_| refused())?;
        json.push_str(&value);
    }
    json.push('}');
    Ok(test.read_position(&json).ok_or_else(refused)?)
}
