//! The survey against a database that nobody made for it.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may fail it, too")]

#[path = "support/scratch.rs"]
mod scratch;

use bridge_conformance::{SurveyOptions, Verdict, survey};
use protocol::SourceConfig;
use scratch::Scratch;
use semilayer_bridge_sqlite::Sqlite;
use serde_json::json;

const SHOP: &str = "
    CREATE TABLE customers(id INTEGER PRIMARY KEY, name TEXT NOT NULL, email TEXT, since DATETIME, vip BOOLEAN);
    INSERT INTO customers VALUES
        (1, 'Ada Lovelace', 'ada@example.com', '2024-01-02T03:04:05.000Z', 1),
        (2, 'Grace Hopper', NULL, '2024-02-29T12:00:00.500Z', 1),
        (3, 'Edsger Dijkstra', 'edsger@example.com', NULL, 0),
        (4, 'Barbara Liskov', 'barbara@example.com', '2025-07-01T00:00:00.000Z', NULL);
    CREATE TABLE orders(customer INTEGER NOT NULL, number INTEGER NOT NULL, total REAL, state TEXT, note JSON,
        PRIMARY KEY (customer, number));
    WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 199)
        INSERT INTO orders SELECT i % 4 + 1, i / 4, CASE WHEN i % 9 THEN i * 1.25 - 20 END,
            CASE i % 3 WHEN 0 THEN 'open' WHEN 1 THEN 'paid' ELSE 'sent' END, '{\"line\": ' || i || '}' FROM n;
    CREATE TABLE labels(word TEXT);
    INSERT INTO labels VALUES ('red'), ('green'), ('blue'), (NULL), ('red');
    CREATE TABLE \"odd \"\"name\"\"\"(\"a column\" INTEGER PRIMARY KEY, \"$b\" BLOB);
    INSERT INTO \"odd \"\"name\"\"\" VALUES (1, x'00ff'), (2, NULL);
    CREATE TABLE blank(id INTEGER PRIMARY KEY);
    CREATE VIEW rich AS SELECT customer, sum(total) AS spent FROM orders GROUP BY customer;
";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_nobody_made_for_it_is_surveyed() {
    let scratch = Scratch::new();
    scratch.writer("shop.db").execute_batch(SHOP).unwrap();
    let config: SourceConfig = serde_json::from_value(json!({ "path": scratch.path("shop.db") })).unwrap();
    let names = ["customers", "labels", "orders", "\"odd \"\"name\"\"\""].map(str::to_owned).to_vec();
    let report = survey(&Sqlite, &config, SurveyOptions { names, ..SurveyOptions::default() }).await;
    println!("{}", report.text());
    report.check().unwrap();
    let impossible: Vec<&str> = report
        .entries
        .iter()
        .filter(|entry| matches!(entry.verdict, Verdict::Impossible(_)))
        .map(|entry| entry.id)
        .collect();
    assert_eq!(impossible, ["D37"], "only a target that is too large is missing");
}
