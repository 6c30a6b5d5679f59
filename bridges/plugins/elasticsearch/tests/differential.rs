//! The same filter over the same documents, answered by the engine, by a second look at each document, and by the runner from
//! rows: all three must find what a plain look at the values finds. Filters and documents are made from fixed seeds.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests stop at the first surprise, as tests do"
)]

#[path = "support/model.rs"]
mod model;
#[path = "support/plugin.rs"]
mod plugin;
#[path = "support/scratch.rs"]
mod scratch;
#[path = "support/server.rs"]
mod server;

use serde_json::{Value as Json, json};

use crate::model::{Chance, Columns, Document, Filter};
use crate::scratch::Scratch;

const DOCUMENTS: usize = 120;
const FILTERS: usize = 150;

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_a_filter_finds_the_same_rows() {
    let mut chance = Chance::new(0x5e41);
    let columns = Columns::new();
    let documents: Vec<Document> = (0..DOCUMENTS).map(|_| columns.document(&mut chance)).collect();
    let stored: Vec<Json> = documents.iter().map(|document| document.stored.clone()).collect();
    let scratch = Scratch::new("differential", columns.index(), &stored).await;
    for number in 0..FILTERS {
        let filter = columns.filter(&mut chance, 2);
        let mut expected: Vec<String> =
            (0..DOCUMENTS).filter(|id| filter.holds(&documents[*id])).map(|id| id.to_string()).collect();
        expected.sort();
        check(&scratch, &filter, &expected, &documents, number).await;
    }
}

async fn check(
    scratch: &Scratch,
    filter: &Filter,
    expected: &[String],
    documents: &[Document],
    number: usize,
) {
    let written = filter.json();
    let explain = |way: &str, found: &[String]| {
        let differs = |id: &&String| found.contains(id) != expected.contains(id);
        let other: Vec<String> = found.iter().chain(expected).filter(differs).cloned().collect();
        let first = other.first().map(|id| documents[id.parse::<usize>().unwrap()].stored.to_string());
        format!("filter {number} {way}: {written}\n{other:?}, the first of which is {first:?}")
    };
    let found = scratch.finds(written.clone()).await;
    assert_eq!(found, expected, "{}", explain("asked of the engine", &found));
    // Every document has this word in a field that has no whole values in the index.
    let looked_at = json!({"$and": [written, {"body": {"$contains": "every"}}]});
    let found = scratch.finds(looked_at).await;
    assert_eq!(found, expected, "{}", explain("looked at again", &found));
    // The engine cannot order by that, so that the runner reads everything.
    let left = json!({"where": written, "orderBy": {"unordered": "asc"}, "select": ["_id"]});
    let rows = scratch.query(left).await.unwrap();
    let mut found: Vec<String> = rows.iter().map(|row| row["_id"].as_str().unwrap().to_owned()).collect();
    found.sort();
    assert_eq!(found, expected, "{}", explain("left to the runner", &found));
}
