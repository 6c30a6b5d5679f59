//! Rows ranked by the words that they contain.

use bridge_core::{BridgeError, RowStream, push_json_f64, push_json_str};
use protocol::{Direction, Invalid, Projection, RawObject, SCORE, SearchMethod, SearchOptions, Tail};

use super::best::Best;
use super::feed::Feed;
use super::sight::{Seen, Sight, no_row, object};
use super::sorted::Sorted;
use super::{Known, Reader};
use crate::ReduceError;
use crate::aggregate::Limits;
use crate::layout::{Kind, Layout, Schema};
use crate::matcher::Matcher;
use crate::order::Order;
use crate::ranker::Ranker;
use crate::values::{Number, Value};

/// Reads everything and answers the best rows of a search.
pub(super) async fn answer<R: Reader>(
    mut feed: Feed<R>,
    schema: Schema,
    known: &Known,
    options: &SearchOptions,
    limits: Limits,
) -> Result<RowStream, BridgeError> {
    let mut ranking = Ranking::new(schema, known, options, limits)?;
    feed.each(|row| ranking.take(row)).await?;
    drop(feed);
    Ok(Box::new(Sorted::new(ranking.best.into_sorted(), tail())))
}

/// What comes after the rows of every search here.
pub(super) fn tail() -> Tail {
    Tail { method: Some(SearchMethod::Containment), ..Tail::default() }
}

/// The best rows so far: by score, then by the primary key, then as they came.
struct Ranking {
    ranker: Ranker,
    matcher: Matcher,
    sight: Sight,
    /// The slots of the primary key's columns.
    key: Vec<usize>,
    /// Whether rows are shown as they are, but for a column that is called as the score.
    whole: bool,
    row_limit: usize,
    best: Best,
}

impl Ranking {
    fn new(schema: Schema, known: &Known, options: &SearchOptions, limits: Limits) -> Result<Self, Invalid> {
        check_kinds(&schema, options)?;
        let mut layout = Layout::new(schema);
        let key = known.key.iter().map(|column| layout.slot(column)).collect();
        let matcher = Matcher::new(&options.filter, &mut layout);
        let directions = known.key.iter().map(|_| Direction::Ascending);
        let order = Order::of_first([Direction::Descending].into_iter().chain(directions));
        Ok(Self {
            ranker: Ranker::new(options),
            matcher,
            sight: Sight::new(layout, &without_score(&options.projection), limits.row),
            key,
            whole: options.projection == Projection::All,
            row_limit: limits.row,
            best: Best::new(order, usize::try_from(options.limit).unwrap_or(usize::MAX), limits.memory),
        })
    }

    fn take(&mut self, row: &str) -> Result<(), ReduceError> {
        let object = object(row)?;
        let seen = self.sight.see_object(row, &object);
        if !self.matcher.matches(&seen.columns) {
            return Ok(());
        }
        let Some(score) = self.ranker.score(&object).map_err(no_row)? else { return Ok(()) };
        let key = self.key.iter().map(|slot| seen.columns.get(*slot).cloned().unwrap_or(Value::Null));
        let rank = Number::from_f64(score).map_or(Value::Null, Value::Number);
        let columns: Vec<Value> = [rank].into_iter().chain(key).collect();
        if !self.best.wants(&columns) {
            return Ok(());
        }
        let text = self.text(&seen, &object, score)?;
        self.best.take(columns, text)
    }

    /// The row as the answer shows it, with its score.
    fn text(&self, seen: &Seen<'_>, object: &RawObject<'_>, score: f64) -> Result<String, ReduceError> {
        let mut text = String::new();
        if self.whole && object.iter().any(|(column, _)| column == SCORE) {
            show_without_score(object, &mut text);
        } else {
            self.sight.show(seen, &mut text)?;
        }
        // The brace that closes the row.
        text.pop();
        text.push_str(if text.trim_end().ends_with('{') { "\"" } else { ",\"" });
        text.push_str(SCORE);
        text.push_str("\":");
        push_json_f64(&mut text, score);
        text.push('}');
        text.shrink_to_fit();
        let limit = self.row_limit;
        if text.len() > limit { Err(ReduceError::RowTooLarge { limit }) } else { Ok(text) }
    }
}

fn check_kinds(schema: &Schema, options: &SearchOptions) -> Result<(), Invalid> {
    for (index, field) in options.fields.iter().flatten().enumerate() {
        match schema.kind(field) {
            Kind::Text | Kind::Unknown => {}
            Kind::Number | Kind::Boolean | Kind::Uuid | Kind::Timestamp | Kind::Bytes => {
                return Err(Invalid::new(format!("fields[{index}]"), "a column of text"));
            }
        }
    }
    Ok(())
}

/// A column of this name is not part of ranked rows.
fn without_score(projection: &Projection) -> Projection {
    match projection {
        Projection::All => Projection::All,
        Projection::Columns(columns) => {
            Projection::Columns(columns.iter().filter(|column| *column != SCORE).cloned().collect())
        }
        Projection::Renamed(pairs) => {
            Projection::Renamed(pairs.iter().filter(|(name, _)| name != SCORE).cloned().collect())
        }
    }
}

fn show_without_score(object: &RawObject<'_>, out: &mut String) {
    out.push('{');
    for (column, raw) in object.iter().filter(|(column, _)| *column != SCORE) {
        if out.len() > 1 {
            out.push(',');
        }
        push_json_str(out, column);
        out.push(':');
        out.push_str(raw.get());
    }
    out.push('}');
}
