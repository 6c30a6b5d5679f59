//! Orders, limits, totals, pages by key, and rows by keys.

use bridge_reduce::{Layout, Nulls, Order, Row as Values, Schema};
use protocol::{Direction, OrderBy};
use serde_json::{Value as Json, json};

use super::sample::{Class, Column, Sample, sorted_texts, text_of, text_of_value};
use super::site::same_rows;
use super::{Need, Site, SurveyCase};
use crate::cases::BATCH_READ;
use crate::failure::{Failure, Outcome, ensure, same};
use crate::subject::with;
use crate::wire::Row;

pub(super) const CASES: &[SurveyCase] = &[
    case("D40", "numbers and instants are put in order, nulls at one end", &[], |s| Box::pin(orders(s))),
    case("D41", "one direction is the other turned round", &[], |s| Box::pin(directions(s))),
    case("D42", "limit and offset cut what the order gives", &[], |s| Box::pin(limit_and_offset(s))),
    case("D43", "a total counts what matches, whatever the page", &[], |s| Box::pin(totals(s))),
    case("D44", "pages by key are one query in pieces", &[], |s| Box::pin(pages_by_key(s))),
    case("D45", "batchRead finds the rows of each key", &[BATCH_READ], |s| Box::pin(rows_by_key(s))),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Site<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> SurveyCase {
    SurveyCase { id, group: "orders", title, needs, run }
}

/// All rows in the order of a column.
async fn ordered(s: &Site<'_>, sample: &Sample, column: &Column, dir: &str) -> Outcome<Vec<Row>> {
    let options = json!({"orderBy": {"field": column.name, "dir": dir}});
    let rows = s.query(&sample.target, options).await?.rows;
    let what = format!("rows of {} by {} {dir}", sample.target, column.name);
    same_rows(&what, &sorted_texts(&rows), &[sample.texts()])?;
    Ok(rows)
}

async fn orders(s: &Site<'_>) -> Outcome {
    let mut asked = false;
    for sample in s.complete()? {
        let columns = [Class::Number, Class::Instant, Class::Boolean];
        for column in columns.into_iter().flat_map(|class| sample.of(class).take(2)) {
            for dir in ["asc", "desc"] {
                let rows = ordered(s, sample, column, dir).await?;
                let right =
                    sample.schemas().into_iter().any(|schema| is_in_order(&rows, schema, column, dir));
                let values =
                    || rows.iter().filter_map(|row| row.get(&column.name)).take(30).collect::<Vec<_>>();
                ensure(right, || {
                    format!("{} by {} {dir} begins with {:?}", sample.target, column.name, values())
                })?;
                asked = true;
            }
        }
    }
    if asked { Ok(()) } else { Err(Failure::Impossible("no column has numbers, instants or booleans")) }
}

/// Whether rows stand in an order, wherever the engine has its nulls.
fn is_in_order(rows: &[Row], schema: Schema, column: &Column, dir: &str) -> bool {
    let direction = if dir == "desc" { Direction::Descending } else { Direction::Ascending };
    [Nulls::Largest, Nulls::Smallest].into_iter().any(|nulls| {
        let mut layout = Layout::new(schema.clone());
        let by = [OrderBy { field: column.name.clone(), direction }];
        let order = Order::new(&by, nulls, &mut layout);
        let read = |row: &Row| {
            let value = row.get(&column.name).cloned().unwrap_or(Json::Null);
            layout.read(&json!({&column.name: value}).to_string()).unwrap_or_default()
        };
        let values: Vec<Values> = rows.iter().map(read).collect();
        values.is_sorted_by(|left, right| order.compare(left, right).is_le())
    })
}

async fn directions(s: &Site<'_>) -> Outcome {
    for sample in s.complete()? {
        for column in sample.compared() {
            let values = |rows: Vec<Row>| -> Vec<String> {
                rows.iter().map(|row| row.get(&column.name).map_or_else(String::new, text_of_value)).collect()
            };
            let ascending = values(ordered(s, sample, column, "asc").await?);
            let mut descending = values(ordered(s, sample, column, "desc").await?);
            descending.reverse();
            // Where an order has nulls first in both directions, they are left out.
            let given =
                |values: Vec<String>| values.into_iter().filter(|it| it != "null").collect::<Vec<_>>();
            let what = format!("{} by {} and turned round", sample.target, column.name);
            same_rows(&what, &given(ascending), &[given(descending)])?;
        }
    }
    Ok(())
}

/// Options with the order of the primary key, which tells all rows apart.
fn by_key(sample: &Sample) -> Option<Json> {
    let key = sample.key();
    let by = |name: &&str| json!({"field": name, "dir": "desc"});
    (!key.is_empty()).then(|| json!({"orderBy": key.iter().map(by).collect::<Vec<_>>()}))
}

async fn limit_and_offset(s: &Site<'_>) -> Outcome {
    for sample in s.complete()? {
        let rows = sample.rows.len();
        let options = by_key(sample).unwrap_or_else(|| json!({}));
        let whole: Vec<String> =
            s.query(&sample.target, options.clone()).await?.rows.iter().map(text_of).collect();
        same(&format!("rows of {}", sample.target), whole.len(), rows)?;
        for (limit, offset) in [
            (Some(3), 0),
            (Some(2), 1),
            (Some(rows + 5), 0),
            (Some(5), rows - 1),
            (Some(5), rows + 5),
            (None, 2),
        ] {
            let mut cut = with(options.clone(), "offset", json!(offset));
            if let Some(limit) = limit {
                cut = with(cut, "limit", json!(limit));
            }
            let got: Vec<String> = s.query(&sample.target, cut).await?.rows.iter().map(text_of).collect();
            let expected = whole.iter().skip(offset).take(limit.unwrap_or(usize::MAX)).cloned();
            let expected: Vec<String> = expected.collect();
            let what = format!("{limit:?} rows of {} after {offset}", sample.target);
            // Rows that nothing tells apart may come in any order.
            if by_key(sample).is_some() {
                same_rows(&what, &got, &[expected])?;
            } else {
                same(&what, got.len(), expected.len())?;
            }
        }
    }
    Ok(())
}

async fn totals(s: &Site<'_>) -> Outcome {
    for sample in s.complete()? {
        let total = |options: Json| async {
            let tail = s.query(&sample.target, with(options, "total", json!(true))).await?.tail;
            tail.total.ok_or_else(|| Failure::wrong("no total although it was asked for"))
        };
        let what = format!("total of {}", sample.target);
        s.close_enough(&what, total(json!({"limit": 1})).await?, sample.rows.len())?;
        s.close_enough(&what, total(json!({"limit": 0})).await?, sample.rows.len())?;
        if let Some(column) = sample.compared().first()
            && let Some(value) = column.values.first()
        {
            let filter = json!({&column.name: value});
            let expected = sample.matching(&filter)?.first().map_or(0, Vec::len);
            let found =
                total(json!({"where": filter, "limit": 1, "orderBy": {"field": column.name}})).await?;
            s.close_enough(&format!("{what} where {filter}"), found, expected)?;
        }
    }
    Ok(())
}

async fn pages_by_key(s: &Site<'_>) -> Outcome {
    for sample in s.complete()? {
        let ordered = sample.of(Class::Number).chain(sample.of(Class::Instant)).take(1);
        let orders = ordered.map(|column| json!({"orderBy": {"field": column.name, "dir": "desc"}}));
        for options in [json!({})].into_iter().chain(orders) {
            let options = with(options, "keyset", json!(true));
            let all = with(options.clone(), "limit", json!(sample.rows.len() + 1));
            let whole = s.query(&sample.target, all).await?;
            same("the cursor of everything", whole.tail.next_cursor, None)?;
            let whole: Vec<String> = whole.rows.iter().map(text_of).collect();
            let what = format!("rows of {} by key, {options}", sample.target);
            same_rows(&what, &sorted(whole.clone()), &[sample.texts()])?;
            let Some(pages) = walked(s, sample, &options).await? else { continue };
            same_rows(&what, &pages, &[whole])?;
        }
    }
    Ok(())
}

/// The rows of some pages by key; nothing where there are no pages, because there is no key.
async fn walked(s: &Site<'_>, sample: &Sample, options: &Json) -> Outcome<Option<Vec<String>>> {
    let rows = sample.rows.len();
    let limit = rows.div_ceil(if rows <= 20 { rows } else { 6 }).max(1);
    let mut texts = Vec::new();
    let mut cursor = None;
    for _ in 0..=rows {
        let page = with(with(options.clone(), "limit", json!(limit)), "cursor", json!(cursor));
        let page = s.query(&sample.target, page).await?;
        ensure(page.rows.len() <= limit, || format!("a page of {limit} has {} rows", page.rows.len()))?;
        texts.extend(page.rows.iter().map(text_of));
        match page.tail.next_cursor {
            Some(next) => cursor = Some(next),
            None if cursor.is_none() && sample.key().is_empty() => return Ok(None),
            None => return Ok(Some(texts)),
        }
    }
    Err(Failure::wrong(format!("the pages of {} by key do not end", sample.target)))
}

fn sorted(mut texts: Vec<String>) -> Vec<String> {
    texts.sort();
    texts
}

/// The column of the primary key, or another that values can be looked for in.
fn key_or_any(sample: &Sample) -> Option<&Column> {
    let compared = sample.compared();
    let key = compared.iter().find(|column| sample.key().first() == Some(&column.name.as_str()));
    key.or(compared.first()).copied()
}

async fn rows_by_key(s: &Site<'_>) -> Outcome {
    let (sample, column) = s.column(key_or_any, "no column has values that can be compared")?;
    let values: Vec<&Json> = column.some(5).collect();
    let filter = json!({&column.name: {"$in": values}});
    let expected = sample.matching(&filter)?;
    let got = s.batch_read(&sample.target, json!({ "where": filter })).await?;
    same_rows(&format!("rows of {} where {filter}", sample.target), &sorted_texts(&got), &expected)?;
    let limited = s.batch_read(&sample.target, json!({"where": filter, "limit": 1})).await?;
    same("rows of limit 1", limited.len(), got.len().min(1))?;
    let none = s.batch_read(&sample.target, json!({"where": {&column.name: {"$in": []}}})).await?;
    same("rows of no keys", none.len(), 0)?;
    let selected = s.batch_read(&sample.target, json!({"where": filter, "select": [column.name]})).await?;
    same("rows of one column", selected.len(), got.len())?;
    let other = selected.iter().find(|row| row.len() != 1 || !row.contains_key(&column.name));
    ensure(other.is_none(), || format!("a row with {} alone: {other:?}", column.name))
}
