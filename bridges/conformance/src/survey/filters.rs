//! Filters made of the data: what matches is what the oracle says over the rows that were read.

use serde_json::{Value as Json, json};

use super::sample::{Class, Column, Sample};
use super::{Need, Site, SurveyCase};
use crate::cases::{AND, CONTAINS, ENDS_WITH, ILIKE, LIKE, NOT, OR, STARTS_WITH};
use crate::failure::{Failure, Outcome, ensure, same};

/// Values of one column that are looked for.
const VALUES: usize = 2;

pub(super) const CASES: &[SurveyCase] = &[
    case("D20", "values find their rows", &[], |s| Box::pin(equal(s))),
    case("D21", "$ne finds the others, and no null", &[], |s| Box::pin(not_equal(s))),
    case("D22", "$in finds the rows of each of its values", &[], |s| Box::pin(lists(s))),
    case("D23", "$nin finds the others, and no null", &[], |s| Box::pin(negated_lists(s))),
    case("D24", "$gt, $gte, $lt and $lte compare numbers and instants", &[], |s| Box::pin(ranges(s))),
    case("D25", "null is asked for by itself", &[], |s| Box::pin(nulls(s))),
    case("D26", "what asks nothing matches everything", &[], |s| Box::pin(nothing_asked(s))),
    case("D27", "$contains finds a part without case", &[CONTAINS], |s| Box::pin(contains(s))),
    case("D28", "$startsWith finds a beginning without case", &[STARTS_WITH], |s| Box::pin(starts_with(s))),
    case("D29", "$endsWith finds an end without case", &[ENDS_WITH], |s| Box::pin(ends_with(s))),
    case("D30", "$ilike matches a pattern without case", &[ILIKE], |s| Box::pin(patterns(s, "$ilike"))),
    case("D31", "$like matches a pattern with case", &[LIKE], |s| Box::pin(patterns(s, "$like"))),
    case("D32", "$or is a union", &[OR], |s| Box::pin(union(s))),
    case("D33", "$and is an intersection", &[AND], |s| Box::pin(intersection(s))),
    case("D34", "$not is the rest without nulls", &[NOT], |s| Box::pin(negation(s))),
    case("D35", "logical operators nest", &[OR, AND, NOT], |s| Box::pin(nested(s))),
    case("D36", "a value that a column cannot have finds nothing and fails nothing", &[], |s| {
        Box::pin(foreign_values(s))
    }),
    case("D37", "what a filter finds in a large target matches it", &[], |s| Box::pin(large_targets(s))),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Site<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> SurveyCase {
    SurveyCase { id, group: "filters", title, needs, run }
}

/// Asks for each of these filters, of which there must be one.
async fn all_found(s: &Site<'_>, filters: impl Fn(&Sample) -> Vec<Json>, none: &'static str) -> Outcome {
    let mut asked = false;
    for sample in s.complete()? {
        for filter in filters(sample) {
            s.finds(sample, filter).await?;
            asked = true;
        }
    }
    if asked { Ok(()) } else { Err(Failure::Impossible(none)) }
}

/// What `filter` makes of each column and of some of its values.
fn each_value(sample: &Sample, filter: impl Fn(&Column, &Json) -> Json) -> Vec<Json> {
    let columns = sample.compared().into_iter();
    columns.flat_map(|it| it.some(VALUES).map(|value| filter(it, value)).collect::<Vec<_>>()).collect()
}

const NO_VALUES: &str = "no column has values that can be compared";

async fn equal(s: &Site<'_>) -> Outcome {
    for sample in s.complete()? {
        for filter in each_value(sample, |column, value| json!({&column.name: value})) {
            let found = s.finds(sample, filter.clone()).await?;
            ensure(found > 0, || format!("{}: no row where {filter}", sample.target))?;
        }
    }
    let by_operator =
        |sample: &Sample| each_value(sample, |column, value| json!({&column.name: {"$eq": value}}));
    all_found(s, by_operator, NO_VALUES).await
}

async fn not_equal(s: &Site<'_>) -> Outcome {
    let filters = |sample: &Sample| each_value(sample, |column, value| json!({&column.name: {"$ne": value}}));
    all_found(s, filters, NO_VALUES).await
}

/// Some values of each column with a null among them or not, and none.
fn each_list(sample: &Sample, op: &str) -> Vec<Json> {
    let lists = sample.compared().into_iter().flat_map(|column| {
        let values: Vec<&Json> = column.some(5).collect();
        let with_null: Vec<Json> = values.iter().copied().cloned().chain([Json::Null]).collect();
        [json!({&column.name: {op: values}}), json!({&column.name: {op: with_null}})]
    });
    let nothing = sample.asked().next().map(|column| json!({&column.name: {op: []}}));
    lists.chain(nothing).collect()
}

async fn lists(s: &Site<'_>) -> Outcome {
    all_found(s, |sample| each_list(sample, "$in"), NO_VALUES).await
}

async fn negated_lists(s: &Site<'_>) -> Outcome {
    all_found(s, |sample| each_list(sample, "$nin"), NO_VALUES).await
}

async fn ranges(s: &Site<'_>) -> Outcome {
    let filters = |sample: &Sample| {
        let ordered = sample.of(Class::Number).take(2).chain(sample.of(Class::Instant).take(2));
        let bounds = ordered.flat_map(|it| it.some(VALUES).map(move |value| (it.name.as_str(), value)));
        let compared = |(name, value): (&str, &Json)| {
            ["$gt", "$gte", "$lt", "$lte"].map(|op| json!({name: {op: value}}))
        };
        bounds.flat_map(compared).collect()
    };
    all_found(s, filters, "no column has numbers or instants").await
}

async fn nulls(s: &Site<'_>) -> Outcome {
    let filters = |sample: &Sample| {
        // A column with nulls before those without.
        let with = sample.asked().filter(|column| column.nulls).take(2);
        let without = sample.asked().filter(|column| !column.nulls).take(1);
        let asked = |column: &Column| {
            let name = &column.name;
            [
                json!({name: null}),
                json!({name: {"$ne": null}}),
                json!({name: {"$exists": true}}),
                json!({name: {"$exists": false}}),
                json!({name: {"$gte": null}}),
            ]
        };
        with.chain(without).flat_map(asked).collect()
    };
    all_found(s, filters, "no target has columns").await
}

async fn nothing_asked(s: &Site<'_>) -> Outcome {
    for sample in s.complete()? {
        same("rows", s.finds(sample, json!({})).await?, sample.rows.len())?;
        if let Some(column) = sample.asked().next() {
            same("rows", s.finds(sample, json!({&column.name: {}})).await?, sample.rows.len())?;
        }
    }
    Ok(())
}

/// A column of text, and a value of it that is long enough to have parts.
fn text<'s>(s: &'s Site<'_>) -> Outcome<(&'s Sample, &'s str, Vec<&'s str>)> {
    let find = |sample: &'s Sample| {
        sample.of(Class::Text).find(|column| column.values.iter().any(|value| long_enough(value).is_some()))
    };
    let (sample, column) = s.column(find, "no column has texts that every collation takes alike")?;
    let values: Vec<&str> = column.values.iter().filter_map(long_enough).take(3).collect();
    Ok((sample, &column.name, if values.is_empty() { vec!["text"] } else { values }))
}

fn long_enough(value: &Json) -> Option<&str> {
    value.as_str().filter(|text| text.len() > 3)
}

/// The same text in the other case.
fn turned(text: &str) -> String {
    let turn = |letter: char| {
        if letter.is_ascii_lowercase() { letter.to_ascii_uppercase() } else { letter.to_ascii_lowercase() }
    };
    text.chars().map(turn).collect()
}

/// A part of an ASCII text.
fn part(text: &str, from: usize, to: usize) -> &str {
    text.get(from..to).unwrap_or(text)
}

/// Looks for parts of texts as they are, in the other case, and for characters that are patterns elsewhere.
async fn looks_for(s: &Site<'_>, op: &str, cut: fn(&str) -> &str) -> Outcome {
    let (sample, name, values) = text(s)?;
    for value in values {
        for operand in [cut(value).to_owned(), turned(cut(value)), turned(value)] {
            let found = s.finds(sample, json!({name: {op: operand}})).await?;
            ensure(found > 0, || format!("{}: no row where {name} {op} {operand:?}", sample.target))?;
        }
    }
    for operand in ["", "%", "_", "\\", "'", "no text is like this"] {
        s.finds(sample, json!({name: {op: operand}})).await?;
    }
    Ok(())
}

async fn contains(s: &Site<'_>) -> Outcome {
    looks_for(s, "$contains", |text| part(text, 1, text.len() - 1)).await
}

async fn starts_with(s: &Site<'_>) -> Outcome {
    looks_for(s, "$startsWith", |text| part(text, 0, 3)).await
}

async fn ends_with(s: &Site<'_>) -> Outcome {
    looks_for(s, "$endsWith", |text| part(text, text.len() - 3, text.len())).await
}

async fn patterns(s: &Site<'_>, op: &str) -> Outcome {
    let (sample, name, values) = text(s)?;
    for value in values {
        let literal = value.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        let beginning = part(value, 0, 2).replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
        for pattern in [
            literal.clone(),
            turned(&literal),
            format!("{beginning}%"),
            format!("{}%", turned(&beginning)),
            format!("%{}", part(value, value.len() - 1, value.len())),
            format!("_{}", part(value, 1, value.len())),
            "%".to_owned(),
            "_".to_owned(),
        ] {
            s.finds(sample, json!({name: {op: pattern}})).await?;
        }
    }
    Ok(())
}

/// Two tests over each target, where it can be on different columns.
fn pairs<'s>(s: &'s Site<'_>) -> Outcome<Vec<(&'s Sample, Json, Json)>> {
    let mut pairs = Vec::new();
    for sample in s.samples.iter().filter(|sample| sample.complete) {
        let tests = each_value(sample, |column, value| json!({&column.name: value}));
        if let (Some(first), Some(last)) = (tests.first(), tests.last()) {
            pairs.push((sample, first.clone(), last.clone()));
        }
    }
    if !pairs.is_empty() {
        return Ok(pairs);
    }
    let (sample, column) = s.column(|_| None, NO_VALUES)?;
    let test = json!({&column.name: 1});
    Ok(vec![(sample, test.clone(), test)])
}

async fn union(s: &Site<'_>) -> Outcome {
    for (sample, first, last) in pairs(s)? {
        s.finds(sample, json!({"$or": [first, last]})).await?;
        s.finds(sample, json!({"$or": []})).await?;
    }
    Ok(())
}

async fn intersection(s: &Site<'_>) -> Outcome {
    for (sample, first, last) in pairs(s)? {
        s.finds(sample, json!({"$and": [first.clone(), last]})).await?;
        s.finds(sample, json!({"$and": [first, {}]})).await?;
    }
    Ok(())
}

async fn negation(s: &Site<'_>) -> Outcome {
    for (sample, first, last) in pairs(s)? {
        s.finds(sample, json!({ "$not": first })).await?;
        let mut both = first;
        if let (Json::Object(both), Json::Object(last)) = (&mut both, last) {
            both.extend(last);
        }
        s.finds(sample, json!({ "$not": both })).await?;
        s.finds(sample, json!({"$not": {}})).await?;
    }
    Ok(())
}

async fn nested(s: &Site<'_>) -> Outcome {
    for (sample, first, last) in pairs(s)? {
        let rest = json!({"$and": [{"$not": first.clone()}, {"$or": [last.clone(), {"$not": last}]}]});
        s.finds(sample, json!({"$or": [first, rest]})).await?;
    }
    Ok(())
}

async fn foreign_values(s: &Site<'_>) -> Outcome {
    let filters = |sample: &Sample| {
        let numbers = sample.of(Class::Number).take(1).flat_map(|it| {
            [json!("no number"), json!(1e300), json!("")].map(|value| json!({&it.name: value}))
        });
        let instants = sample.of(Class::Instant).take(1).map(|it| json!({&it.name: "tomorrow"}));
        let texts = sample.of(Class::Text).take(1).map(|it| json!({&it.name: "'; DROP TABLE x; --"}));
        numbers.chain(instants).chain(texts).collect()
    };
    all_found(s, filters, "no column has numbers, instants or texts").await
}

async fn large_targets(s: &Site<'_>) -> Outcome {
    let large: Vec<&Sample> = s.samples.iter().filter(|sample| !sample.complete).collect();
    if large.is_empty() {
        return Err(Failure::Impossible("no target has more rows than the survey reads"));
    }
    for sample in large {
        for filter in each_value(sample, |column, value| json!({&column.name: value})) {
            let page = s.query(&sample.target, json!({"where": filter, "limit": 10})).await?;
            let test = filter.as_object().and_then(|fields| fields.iter().next());
            let matches =
                |row: &crate::wire::Row| test.is_some_and(|(name, value)| row.get(name) == Some(value));
            ensure(page.rows.iter().all(matches) && !page.rows.is_empty(), || {
                format!("{} where {filter}: {:?}", sample.target, page.rows)
            })?;
        }
    }
    Ok(())
}
