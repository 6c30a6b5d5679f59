//! Cursors: opaque, good for one question, and without a gap or a repetition whoever does the paging.

use std::cmp::Ordering;

use serde_json::{Value, json};

use crate::harness::Gateway;
use crate::runner::Runner;

/// A table of `id` and `rank` behind a runner of plain version 1, with nulls where its database puts them.
struct Table {
    rows: Vec<(u64, Option<i64>)>,
    nulls: Nulls,
}

#[derive(Clone, Copy)]
enum Nulls {
    Largest,
    Smallest,
}

impl Table {
    /// Many rows of few ranks, among them null.
    fn new(nulls: Nulls) -> Self {
        let rank = |id: u64| (!id.is_multiple_of(5)).then_some(i64::try_from(id % 4).unwrap());
        Self { rows: (1..=23).map(|id| (id, rank(id))).collect(), nulls }
    }

    fn run(&self, options: &Value) -> Value {
        let order = options["orderBy"].as_array().unwrap();
        let mut rows: Vec<_> =
            self.rows.iter().filter(|row| matches(&options["where"], **row)).copied().collect();
        rows.sort_by(|a, b| {
            let keys = order.iter().map(|key| self.compare(key, *a, *b));
            keys.fold(Ordering::Equal, Ordering::then)
        });
        let limit = usize::try_from(options["limit"].as_u64().unwrap()).unwrap();
        rows.into_iter().take(limit).map(|(id, rank)| json!({"id": id, "rank": rank})).collect()
    }

    fn compare(&self, key: &Value, a: (u64, Option<i64>), b: (u64, Option<i64>)) -> Ordering {
        let ascending = match (key["field"].as_str().unwrap(), self.nulls) {
            ("id", _) => a.0.cmp(&b.0),
            (_, Nulls::Smallest) => a.1.cmp(&b.1),
            (_, Nulls::Largest) => (a.1.is_none(), a.1).cmp(&(b.1.is_none(), b.1)),
        };
        if key["dir"] == "desc" { ascending.reverse() } else { ascending }
    }
}

/// SQL's logic for the few operators that paging uses.
fn matches(filter: &Value, row: (u64, Option<i64>)) -> bool {
    let Some(filter) = filter.as_object() else { return true };
    filter.iter().all(|(key, test)| match key.as_str() {
        "$or" => test.as_array().unwrap().iter().any(|part| matches(part, row)),
        "$and" => test.as_array().unwrap().iter().all(|part| matches(part, row)),
        "id" => holds(test, Some(i64::try_from(row.0).unwrap())),
        "rank" => holds(test, row.1),
        other => panic!("{other}"),
    })
}

fn holds(test: &Value, value: Option<i64>) -> bool {
    test.as_object().unwrap().iter().all(|(operator, operand)| match (operator.as_str(), operand.as_i64()) {
        ("$eq", None) => value.is_none(),
        ("$ne", None) => value.is_some(),
        ("$eq", Some(operand)) => value == Some(operand),
        ("$gt", Some(operand)) => value.is_some_and(|value| value > operand),
        ("$lt", Some(operand)) => value.is_some_and(|value| value < operand),
        ("$in", None) => false,
        other => panic!("{other:?}"),
    })
}

async fn shop(source: &str, extensions: &[&str]) -> (Gateway, Runner) {
    let gateway = Gateway::start().await;
    let (_, token) = gateway.runner("one", &[source]).await;
    let runner = Runner::with(&gateway, &token, extensions).await;
    (gateway, runner)
}

/// Pages through a lens until there is no cursor; the ids in the order in which they came.
async fn walk(
    gateway: &Gateway,
    runner: &mut Runner,
    lens: &str,
    table: &Table,
    order: Value,
    limit: u64,
) -> Vec<u64> {
    let mut ids = Vec::new();
    let mut cursor = Value::Null;
    for _ in 0..40 {
        // The lens `products` calls the same column `price`.
        let mut body = json!({"orderBy": order, "limit": limit, "cursor": cursor});
        if lens == "notes" {
            body["select"] = json!(["id"]);
        }
        let answering = async {
            let job = runner.job().await;
            let options: Value =
                serde_json::from_str(&Runner::options(&job).to_string().replace("price", "rank")).unwrap();
            let rows = table.run(&options).to_string();
            let rows = if lens == "products" { rows.replace("rank", "price") } else { rows };
            runner.chunk(&job, serde_json::from_str(&rows).unwrap()).await;
            runner.done(&job).await;
        };
        let path = format!("/v1/query/{lens}");
        let (page, ()) = futures::join!(gateway.ask(&path, body), answering);
        ids.extend(page.rows().as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()));
        cursor = page.json()["meta"]["nextCursor"].clone();
        if cursor.is_null() {
            return ids;
        }
    }
    panic!("the walk does not end: {ids:?}");
}

#[tokio::test]
async fn the_gateway_pages_for_version_1_over_nulls_and_duplicates_in_either_null_order() {
    for (lens, source, field, nulls) in
        [("products", "main", "price", Nulls::Largest), ("notes", "local", "rank", Nulls::Smallest)]
    {
        let (gateway, mut runner) = shop(source, &[]).await;
        let table = Table::new(nulls);
        for dir in ["asc", "desc"] {
            for limit in [1, 2, 4, 23, 24] {
                let order = json!([{"field": field, "dir": dir}]);
                let walked = walk(&gateway, &mut runner, lens, &table, order, limit).await;
                let all = json!({"orderBy": [{"field": "rank", "dir": dir}, {"field": "id"}], "limit": 100});
                let rows = table.run(&all);
                let expected: Vec<u64> =
                    rows.as_array().unwrap().iter().map(|row| row["id"].as_u64().unwrap()).collect();
                assert_eq!(walked, expected, "{lens} {dir} {limit}");
            }
        }
    }
}

#[tokio::test]
async fn without_an_order_pages_follow_the_primary_key() {
    let (gateway, mut runner) = shop("local", &[]).await;
    let table = Table::new(Nulls::Smallest);
    let walked = walk(&gateway, &mut runner, "notes", &table, json!([]), 7).await;
    assert_eq!(walked, (1..=23).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_bridge_that_pages_by_key_gets_its_own_cursor_back() {
    let (gateway, mut runner) = shop("main", &["keyset/1", "project/1"]).await;
    let page = async |runner: &mut Runner, cursor: Value, next: Option<&str>| {
        let body = json!({"orderBy": {"field": "price"}, "limit": 2, "cursor": cursor, "select": ["id"]});
        let answering = async {
            let job = runner.job().await;
            let mut chunk = json!({"type": "chunk", "id": job["id"], "rows": [{"id": 1}]});
            if let Some(next) = next {
                chunk["nextCursor"] = json!(next);
            }
            runner.send(chunk).await;
            runner.done(&job).await;
            Runner::options(&job).clone()
        };
        let (answer, options) = futures::join!(gateway.query(body), answering);
        (answer.ok()["meta"]["nextCursor"].clone(), options)
    };
    let (cursor, options) = page(&mut runner, Value::Null, Some("after-1")).await;
    assert_eq!((&options["keyset"], options.get("cursor")), (&json!(["id"]), None));
    assert!(!cursor.as_str().unwrap().contains("after-1"));
    let (last, options) = page(&mut runner, cursor.clone(), None).await;
    assert_eq!((&options["keyset"], &options["cursor"]), (&json!(["id"]), &json!("after-1")));
    assert_eq!((options["limit"].clone(), last), (json!(2), Value::Null));
    // The same cursor with another question, and one that was changed.
    let cursor = cursor.as_str().unwrap().to_owned();
    let changed = format!("{}A", &cursor[..cursor.len() - 2]);
    for body in [
        json!({"cursor": cursor}),
        json!({"cursor": cursor, "orderBy": {"field": "price", "dir": "desc"}}),
        json!({"cursor": cursor, "orderBy": {"field": "price"}, "where": {"id": 1}}),
        json!({"cursor": cursor, "orderBy": {"field": "price"}, "offset": 3}),
        json!({"cursor": changed, "orderBy": {"field": "price"}}),
    ] {
        let answer = gateway.query(body.clone()).await;
        assert_eq!(answer.refusal(), (400, "bad_request".to_owned()), "{body}");
    }
}

#[tokio::test]
async fn a_page_without_rows_and_a_page_by_offset_have_no_cursor() {
    let (gateway, mut runner) = shop("local", &[]).await;
    let table = Table::new(Nulls::Smallest);
    for body in [
        json!({"limit": 0}),
        json!({"limit": 0, "orderBy": {"field": "rank"}}),
        json!({"limit": 5, "offset": 2}),
    ] {
        let answering = async {
            let job = runner.job().await;
            let mut options = Runner::options(&job).clone();
            if options.get("orderBy").is_none() {
                options["orderBy"] = json!([]);
            }
            runner.chunk(&job, table.run(&options)).await;
            runner.done(&job).await;
        };
        let (answer, ()) = futures::join!(gateway.ask("/v1/query/notes", body.clone()), answering);
        assert_eq!(answer.ok()["meta"].get("nextCursor"), None, "{body}");
        let limit = usize::try_from(body["limit"].as_u64().unwrap()).unwrap();
        assert_eq!(answer.rows().as_array().unwrap().len(), limit);
    }
}
