//! The sample database: products whose every value follows from their number, so that answers can be checked.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};

use super::{Result, database_path, prepare};

/// Rows of the table.
pub(super) const ROWS: u64 = 10_000;
/// Name of the source.
pub(super) const SOURCE: &str = "shop";

const CATEGORIES: [&str; 4] = ["lamps", "chairs", "tables", "shelves"];
const MATERIALS: [&str; 5] = ["brass", "oak", "steel", "glass", "linen"];
/// Rows that one statement inserts.
const BATCH: u64 = 500;

struct Product {
    id: u64,
    category: &'static str,
    name: String,
    cents: u64,
    stock: u64,
}

fn product(id: u64) -> Product {
    let pick = |words: &[&'static str], seed: u64| {
        let index = usize::try_from(seed).unwrap_or(0) % words.len();
        words.get(index).copied().unwrap_or_default()
    };
    let (category, material) = (pick(&CATEGORIES, id), pick(&MATERIALS, id / 4));
    let singular = category.trim_end_matches('s');
    let singular = if category == "shelves" { "shelf" } else { singular };
    // A multiplicative order of 9973, a prime below the number of rows: prices look random and repeat rarely.
    let cents = 500 + (id * 7_919) % 9_973 * 10;
    Product { id, category, name: format!("{material} {singular} {id}"), cents, stock: (id * 31) % 12 }
}

fn price(product: &Product) -> Value {
    json!(format!("{}.{:02}", product.cents / 100, product.cents % 100).parse::<f64>().unwrap_or_default())
}

/// Makes the database in `folder`.
pub(super) async fn make(folder: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(folder).map_err(prepare("folder"))?;
    let path = database_path(folder);
    fill(&path).await.map_err(prepare("sample database"))?;
    Ok(path)
}

async fn fill(path: &Path) -> std::result::Result<(), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
    let mut connection =
        SqliteConnection::connect_with(&options.busy_timeout(Duration::from_secs(5))).await?;
    connection
        .execute(
            "CREATE TABLE products (product_id INTEGER PRIMARY KEY, name TEXT NOT NULL, category TEXT NOT NULL, \
             price REAL NOT NULL, stock INTEGER NOT NULL)",
        )
        .await?;
    let mut transaction = connection.begin().await?;
    for start in (1..=ROWS).step_by(usize::try_from(BATCH).unwrap_or(1)) {
        let mut insert = sqlx::QueryBuilder::new("INSERT INTO products ");
        insert.push_values((start..start + BATCH).map(product), |mut row, product| {
            row.push_bind(i64::try_from(product.id).unwrap_or_default())
                .push_bind(product.name.clone())
                .push_bind(product.category)
                .push_bind(price(&product).as_f64().unwrap_or_default())
                .push_bind(i64::try_from(product.stock).unwrap_or_default());
        });
        insert.build().execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    connection.close().await
}

/// The config that an operator would push.
pub(super) fn config(database: &Path) -> Value {
    json!({
        "sources": {SOURCE: {"bridge": "sqlite", "config": {"path": database.display().to_string()}}},
        "lenses": {"products": {
            "source": SOURCE,
            "table": "products",
            "primaryKey": "id",
            "fields": {
                "id": {"type": "number", "from": "product_id", "primaryKey": true},
                "title": {"type": "text", "from": "name"},
                "category": {"type": "text"},
                "price": {"type": "number"},
                "stock": {"type": "number"},
            },
            "grants": {"query": "public"},
        }},
    })
}

/// The dearest lamps, as the lens shows them.
pub(super) fn dearest_lamps(limit: usize) -> Value {
    let mut lamps: Vec<_> = (1..=ROWS).map(product).filter(|product| product.category == "lamps").collect();
    lamps.sort_by_key(|product| (std::cmp::Reverse(product.cents), product.id));
    let row = |product: &Product| json!({"id": product.id, "title": product.name, "price": price(product)});
    lamps.iter().take(limit).map(row).collect()
}

/// How many products are sold out.
pub(super) fn sold_out() -> u64 {
    let count = (1..=ROWS).map(product).filter(|product| product.stock == 0).count();
    u64::try_from(count).unwrap_or_default()
}

/// What a complete stream adds up to, in any order.
pub(super) fn digest() -> u64 {
    (1..=ROWS).map(product).map(|product| weight(product.id, product.stock)).fold(0, u64::wrapping_add)
}

/// A row's part of the digest.
pub(super) fn weight(id: u64, stock: u64) -> u64 {
    id.wrapping_mul(1_000_003).wrapping_add(stock)
}
