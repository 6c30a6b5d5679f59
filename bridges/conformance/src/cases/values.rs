//! Filters over every kind of column, with operands of every kind, and names that break out of careless quoting. What
//! matches is what the oracle says; an operand that a column cannot take matches nothing and fails nothing.

use serde_json::{Value as Json, json};

use super::{Case, GROUP_BY, MIN_MAX, NOT, Need, OR, SUM};
use crate::failure::{Failure, Outcome, ensure, same};
use crate::subject::{Subject, with};

pub(super) const CASES: &[Case] = &[
    case("V1", "every row is found by each of its values", &[], |s| Box::pin(found_by_each_value(s))),
    case("V2", "ranges over every kind", &[], |s| Box::pin(ranges(s))),
    case("V3", "operands that a column cannot take match nothing", &[], |s| Box::pin(foreign_operands(s))),
    case("V4", "negated operands that a column cannot take match everything but null", &[NOT], |s| {
        Box::pin(negated_foreign_operands(s))
    }),
    case("V5", "lists with null and of nothing", &[NOT], |s| Box::pin(lists(s))),
    case("V6", "null compares with nothing", &[NOT], |s| Box::pin(null_compares_with_nothing(s))),
    case("V7", "$exists asks for null", &[], |s| Box::pin(exists(s))),
    case("V8", "precedence is that of the tree", &[OR, NOT], |s| Box::pin(precedence(s))),
    case("N1", "hostile names are names", &[], |s| Box::pin(hostile_names(s))),
    case("N2", "hostile names order, project and page", &[], |s| Box::pin(hostile_order(s))),
    case("N3", "hostile names aggregate", &[GROUP_BY, SUM, MIN_MAX], |s| Box::pin(hostile_aggregate(s))),
    case("N4", "hostile text is a value and nothing else", &[], |s| Box::pin(hostile_values(s))),
];

const HOSTILE: &str = "order \"by\" ? $1 it's ün";

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Subject<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> Case {
    Case { id, group: "values", title, needs, run }
}

/// The columns of `wide` that equality means something for. JSON documents have no order and no one text.
const COMPARED: [&str; 11] =
    ["int", "big", "amount", "ratio", "flag", "label", "token", "day", "moment", "wall", "blob"];

async fn found_by_each_value(s: &Subject<'_>) -> Outcome {
    let rows = s.query("wide", json!({"where": {"id": {"$lte": 3}}})).await?;
    for row in &rows {
        for column in COMPARED {
            let value = row.get(column).cloned().unwrap_or(Json::Null);
            let found = s.finds("wide", json!({column: value.clone()})).await?;
            ensure(found >= 1, || format!("no row where {column} is {value}"))?;
            s.finds("wide", json!({column: {"$ne": value.clone()}})).await?;
            s.finds("wide", json!({column: {"$in": [value, null]}})).await?;
        }
    }
    Ok(())
}

async fn ranges(s: &Subject<'_>) -> Outcome {
    let bounds = [
        ("int", json!(0)),
        ("int", json!(-0.5)),
        ("int", json!("0")),
        ("big", json!(9_007_199_254_740_993_i64)),
        ("big", json!("9007199254740992")),
        ("amount", json!("0")),
        ("amount", json!(10.5)),
        ("ratio", json!(0.1)),
        ("ratio", json!(0)),
        ("token", json!("0a0b0c0d-1111-4222-8333-444455556666")),
        ("day", json!("2024-02-29")),
        ("day", json!("1970-01-01T00:00:00Z")),
        ("moment", json!("2024-02-29T12:00:00.000001Z")),
        ("moment", json!("2026-04-28T01:59:59.999999+02:00")),
        ("moment", json!("2024-03-01")),
        ("wall", json!("1900-01-01T00:00:00")),
        ("wall", json!("2024-02-29 12:00:00.5")),
        ("blob", json!("AA==")),
    ];
    for (column, bound) in bounds {
        for op in ["$eq", "$gt", "$gte", "$lt", "$lte"] {
            s.finds("wide", json!({column: {op: bound.clone()}})).await?;
        }
    }
    // Texts of which one begins the other, or that differ in case, stand differently in different collations.
    s.finds("wide", json!({"label": {"$gte": ""}})).await.map(|_| ())
}

/// Columns with operands that are not of their kind.
fn foreign() -> Vec<(&'static str, Json)> {
    vec![
        ("int", json!("abc")),
        ("int", json!("")),
        ("int", json!(0.5)),
        ("int", json!(1e300)),
        ("int", json!("99999999999999999999")),
        ("big", json!(1e19)),
        ("big", json!("1.5")),
        ("amount", json!("abc")),
        ("ratio", json!("abc")),
        ("flag", json!("perhaps")),
        ("token", json!("not a uuid")),
        ("token", json!(5)),
        ("day", json!("tomorrow")),
        ("day", json!("2026-02-30")),
        ("moment", json!("x")),
        ("moment", json!("")),
        ("wall", json!("2026-13-01T00:00:00Z")),
        ("blob", json!("not base64!")),
    ]
}

async fn foreign_operands(s: &Subject<'_>) -> Outcome {
    for (column, operand) in foreign() {
        same(&format!("{column} = {operand}"), s.finds("wide", json!({column: operand.clone()})).await?, 0)?;
        s.finds("wide", json!({column: {"$in": [operand]}})).await?;
    }
    Ok(())
}

async fn negated_foreign_operands(s: &Subject<'_>) -> Outcome {
    for (column, operand) in foreign() {
        for filter in [
            json!({column: {"$ne": operand.clone()}}),
            json!({column: {"$nin": [operand.clone()]}}),
            json!({"$not": {column: operand.clone()}}),
        ] {
            same(&filter.to_string(), s.finds("wide", filter.clone()).await?, 3)?;
        }
    }
    Ok(())
}

async fn lists(s: &Subject<'_>) -> Outcome {
    for filter in [
        json!({"rank": [1, null]}),
        json!({"rank": {"$in": [null]}}),
        json!({"rank": {"$in": []}}),
        json!({"rank": {"$in": 5}}),
        json!({"rank": {"$nin": [1]}}),
        json!({"rank": {"$nin": [1, null]}}),
        json!({"rank": {"$nin": []}}),
        json!({"rank": {"$nin": "x"}}),
        json!({"rank": {"$in": [1, "2", "x", 3.5]}}),
        json!({"$not": {"rank": {"$in": [1, null]}}}),
        json!({"$not": {"rank": {"$in": []}}}),
        json!({"$not": {"rank": {"$nin": [1, 2]}}}),
        json!({"$not": {"rank": {"$nin": [1, null]}}}),
    ] {
        s.finds("ranked", filter).await?;
    }
    Ok(())
}

async fn null_compares_with_nothing(s: &Subject<'_>) -> Outcome {
    for op in ["$gt", "$gte", "$lt", "$lte"] {
        same(op, s.finds("ranked", json!({"rank": {op: null}})).await?, 0)?;
        same(op, s.finds("ranked", json!({"$not": {"rank": {op: null}}})).await?, 0)?;
    }
    Ok(())
}

async fn exists(s: &Subject<'_>) -> Outcome {
    same("ranked", s.finds("ranked", json!({"rank": {"$exists": true}})).await?, 8)?;
    same("unranked", s.finds("ranked", json!({"rank": {"$exists": false}})).await?, 3)
}

async fn precedence(s: &Subject<'_>) -> Outcome {
    for filter in [
        json!({"$or": [{"rank": 1, "score": 0}, {"score": 0.5}]}),
        json!({"rank": 1, "$or": [{"score": 0}, {"id": {"$gt": 5}}]}),
        json!({"$not": {"$or": [{"rank": 1}, {"score": 0.5}]}}),
        json!({"$or": [{"$not": {"rank": 1}}, {"rank": null}]}),
        json!({"$not": {"$not": {"rank": {"$gte": 2}}}}),
        json!({"id": {"$gt": 1, "$lt": 9, "$nin": [4, 5]}, "$or": [{"rank": {"$exists": false}}, {"score": {"$lte": 1}}]}),
    ] {
        s.finds("ranked", filter).await?;
    }
    Ok(())
}

async fn hostile_names(s: &Subject<'_>) -> Outcome {
    let table = s.table(HOSTILE)?;
    same("rows", s.query(HOSTILE, json!({})).await?.len(), 3)?;
    let rows: Vec<_> = table.rows().collect();
    for (index, column) in table.columns.iter().enumerate() {
        let value = rows.get(1).and_then(|row| row.get(index)).map(crate::seed::Value::json);
        let value: Json = value.and_then(|json| serde_json::from_str(&json).ok()).unwrap_or(Json::Null);
        same(column.name, s.finds(HOSTILE, json!({column.name: value})).await?, 1)?;
    }
    let call = s.call();
    let schema = s.bridge.introspect_target(&call, &s.fixture.target(HOSTILE)).await?;
    let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
    same("columns", names, s.columns(table))
}

async fn hostile_order(s: &Subject<'_>) -> Outcome {
    let table = s.table(HOSTILE)?;
    for column in table.columns.iter().map(|column| column.name) {
        let options =
            json!({"orderBy": [{"field": column, "dir": "desc"}], "select": ["id", column], "limit": 2});
        let rows = s.query(HOSTILE, options).await?;
        same(column, s.keys(HOSTILE, &rows)?, super::basics::texts(&["3", "2"]))?;
        let paged = json!({"orderBy": [{"field": column, "dir": "desc"}], "keyset": true, "limit": 2});
        let page = s.query_page(HOSTILE, paged.clone()).await?;
        let next = with(paged, "cursor", json!(page.tail.next_cursor));
        same(column, s.keys(HOSTILE, &s.query(HOSTILE, next).await?)?, super::basics::texts(&["1"]))?;
    }
    Ok(())
}

async fn hostile_aggregate(s: &Subject<'_>) -> Outcome {
    let options = json!({
        "dimensions": [{"field": "double \"quoted\""}, {"field": "q ? $1 :n @p", "as": "as \"this\" ?"}],
        "measures": {
            "sum of \"dot.ted\" ?": {"agg": "sum", "column": "dot.ted", "where": {"it's": {"$ne": "'; --"}}},
            "max $1": {"agg": "max", "column": "dot.ted"},
        },
        "sort": [{"key": "sum of \"dot.ted\" ?", "dir": "desc"}],
    });
    same("buckets", s.reduces(HOSTILE, options).await?.len(), 3)
}

async fn hostile_values(s: &Subject<'_>) -> Outcome {
    let values = [
        "'",
        "''",
        "\"",
        "\\",
        "\\'",
        "'; DROP TABLE small; --",
        "$1",
        "?",
        ":name",
        "@p1",
        "%s",
        "{}",
        "/*",
        "--",
        "\u{1}",
        "\u{fffd}",
        "\u{202e}",
    ];
    for value in values {
        same(value, s.finds("small", json!({"name": value})).await?, 0)?;
        same(value, s.finds("small", json!({"name": {"$in": [value, "Alpha"]}})).await?, 1)?;
    }
    // A database need not be able to hold a zero character; it must not be cut off there either.
    match s.finds("small", json!({"name": "Alpha\u{0}"})).await {
        Ok(found) => same("rows of a name with a zero character", found, 0)?,
        Err(Failure::Bridge(bridge_core::BridgeError::Invalid(_))) => {}
        Err(other) => return Err(other),
    }
    same("rows that are still there", s.query("small", json!({})).await?.len(), 5)
}
