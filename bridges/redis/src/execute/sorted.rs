//! Rows in an order of the caller's.
//!
//! Redis cannot order rows, so they are collected here: with a limit only as many as can be in the answer, without one all
//! of them, and never more than a fixed amount of memory.

use bridge_core::{BridgeError, Call, Position, RowStream, RowWriter, answer_rows, push_json_str};
use bridge_reduce::scan::{Best, Kept};
use bridge_reduce::{Row, Value};
use protocol::{Invalid, OrderBy, Tail};

use super::sink::{Selection, Test};
use super::{Opened, Run, count};
use crate::values::{Renderer, View};

/// What collected rows may take.
const MEMORY: usize = 64 * 1024 * 1024;
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
    let mut best = Best::new(order.clone(), keep, MEMORY);
    let mut renderer = Renderer::default();
    let mut run = Run::over(opened, target, &selection.filter, call);
    if selection.limit != Some(0) {
        run.each(&mut |record| {
            let Some(columns) = test.admitted(record)? else { return Ok(()) };
            let is_behind = |after: &Row| order.compare(&columns, after).is_gt();
            if !after.as_ref().is_none_or(is_behind) || !best.wants(&columns) {
                return Ok(());
            }
            let mut text = String::new();
            renderer.render(record, &selection.shape, View::Rows, &mut text);
            text.shrink_to_fit();
            Ok(best.take(columns, text)?)
        })
        .await?;
    }
    let mut tail = Tail::default();
    if selection.total {
        let opened = Opened { lease: run.into_lease(), table };
        let (total, _lease) = count(opened, target, &selection.filter, call).await?;
        tail.total = Some(total);
    }
    answer(best.into_sorted(), &selection, &slots, tail, call)
}

fn answer(
    rows: Vec<Kept>,
    selection: &Selection,
    slots: &[usize],
    mut tail: Tail,
    call: &Call,
) -> Result<RowStream, BridgeError> {
    let offset = usize::try_from(selection.offset).unwrap_or(usize::MAX);
    let limit = selection.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
    let found = rows.len().saturating_sub(offset);
    let mut writer = RowWriter::new(call.row_limit);
    let mut batches = Vec::new();
    let mut last = None;
    // Each text is dropped as it is written, so that rows are in memory once.
    for row in rows.into_iter().skip(offset).take(limit) {
        writer.begin_row();
        writer.json(&row.text);
        writer.end_row()?;
        last = Some(row.columns);
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

/// A value as JSON, with its type; nothing for null.
fn json_of(value: &Value) -> Option<String> {
    let quoted = |text: &str| {
        let mut out = String::new();
        push_json_str(&mut out, text);
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
        push_json_str(&mut json, &order.field);
        json.push(':');
        let value = value.unwrap_or_else(|| "null".to_owned());
        // One value and nothing beside it, or a cursor could say more than its column.
        serde_json::from_str::<&serde_json::value::RawValue>(&value).map_err(|_| refused())?;
        json.push_str(&value);
    }
    json.push('}');
    Ok(test.read_position(&json).ok_or_else(refused)?)
}
