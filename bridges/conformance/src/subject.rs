//! What a case works with: a bridge that was connected for it, the seed, and short ways to ask and to compare.

use std::collections::BTreeMap;
use std::time::Duration;

use bridge_core::{Bridge, BridgeError, Call, Driver, RowBatch, RowStream};
use bridge_reduce::{Layout, Limits, Matcher, Ranker, Reducer};
use protocol::{
    AggregateOptions, BatchReadOptions, CountOptions, Filter, QueryOptions, RawObject, ReadOptions,
    SearchOptions, SimilarOptions, Tail,
};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use crate::failure::{Failure, Outcome, ensure, same};
use crate::fixture::{Catalog, Database, Fixture};
use crate::seed::{Decimals, Seed, Table, Value};
use crate::wire::Row;

/// Room for one batch; small, so that answers come in several.
const ROOM: usize = 16 * 1024;

/// A bridge under test and what is known of its database.
pub struct Subject<'a> {
    /// The driver.
    pub driver: &'a dyn Driver,
    /// The bridge's own test.
    pub fixture: &'a dyn Fixture,
    /// Connected to [`Database::First`].
    pub bridge: Box<dyn Bridge>,
    /// What [`Database::First`] holds.
    pub seed: &'a Seed,
    /// What one call may take.
    pub limit: Duration,
}

/// Rows and what came after them.
#[derive(Debug)]
pub struct Page {
    /// The rows.
    pub rows: Vec<Row>,
    /// Cursor and total.
    pub tail: Tail,
}

/// Pulls a stream to its end.
pub async fn collect(mut stream: RowStream) -> Result<(Vec<Json>, Tail), BridgeError> {
    let mut rows = Vec::new();
    while let Some(batch) = stream.next(ROOM).await? {
        rows.extend(read_batch(&batch)?);
    }
    Ok((rows, stream.tail()))
}

fn read_batch(batch: &RowBatch) -> Result<Vec<Json>, BridgeError> {
    let rows: Vec<Json> = serde_json::from_str(&format!("[{}]", batch.rows))
        .map_err(|error| BridgeError::Internal(format!("a batch is not JSON: {error}")))?;
    if rows.len() as u64 != batch.count || rows.is_empty() {
        let found = rows.len();
        return Err(BridgeError::Internal(format!(
            "a batch of {found} rows says that it has {}",
            batch.count
        )));
    }
    Ok(rows)
}

impl Subject<'_> {
    /// A new call with the whole limit.
    pub fn call(&self) -> Call {
        Call::within(self.limit)
    }

    /// A seeded table.
    pub fn table(&self, name: &str) -> Outcome<&Table> {
        self.seed.table(name).ok_or_else(|| Failure::Fixture(format!("no table {name} in the seed")))
    }

    /// The names of a table's columns as the bridge describes them.
    pub fn columns(&self, table: &Table) -> Vec<&'static str> {
        let own = match self.fixture.catalog() {
            Catalog::Declared => None,
            Catalog::Rows { key } => Some(key),
        };
        own.into_iter().chain(table.columns.iter().map(|column| column.name)).collect()
    }

    /// Whether tables are there although they have no rows, and columns although no row has them.
    pub fn declares(&self) -> bool {
        self.fixture.catalog() == Catalog::Declared
    }

    /// How the engine keeps decimals.
    pub fn decimals(&self) -> Decimals {
        self.fixture.decimals()
    }

    /// Opens another bridge.
    pub async fn connect(&self, database: Database) -> Outcome<Box<dyn Bridge>> {
        Ok(self.driver.connect(&self.fixture.config(database), &self.call()).await?)
    }

    /// `query` of a seeded table.
    pub async fn query(&self, table: &str, options: Json) -> Outcome<Vec<Row>> {
        Ok(self.query_page(table, options).await?.rows)
    }

    /// `query` with what came after the rows.
    pub async fn query_page(&self, table: &str, options: Json) -> Outcome<Page> {
        let options = QueryOptions::parse(&raw(&options)?)?;
        let target = self.fixture.target(table);
        page(self.bridge.query(&self.call(), &target, options).await?).await
    }

    /// `read` of a seeded table.
    pub async fn read(&self, table: &str, options: Json) -> Outcome<Page> {
        let options = ReadOptions::parse(&raw(&options)?)?;
        let target = self.fixture.target(table);
        page(self.bridge.read(&self.call(), &target, options).await?).await
    }

    /// `batchRead` of a seeded table.
    pub async fn batch_read(&self, table: &str, options: Json) -> Outcome<Vec<Row>> {
        let options = BatchReadOptions::parse(&raw(&options)?)?;
        let target = self.fixture.target(table);
        Ok(page(self.bridge.batch_read(&self.call(), &target, options).await?).await?.rows)
    }

    /// `count` of a seeded table.
    pub async fn count(&self, table: &str, options: Json) -> Outcome<u64> {
        let options = CountOptions::parse(&raw(&options)?)?;
        let target = self.fixture.target(table);
        let counted = self.bridge.count(&self.call(), &target, options).await?;
        same("approximate", counted.approximate, !self.driver.capabilities().exact_count)?;
        Ok(counted.total)
    }

    /// `search` of a seeded table.
    pub async fn search(&self, table: &str, options: Json) -> Outcome<Page> {
        let options = SearchOptions::parse(&raw(&options)?)?;
        let target = self.fixture.target(table);
        page(self.bridge.search(&self.call(), &target, options).await?).await
    }

    /// `similar` of a seeded table.
    pub async fn similar(&self, table: &str, options: Json) -> Outcome<Page> {
        let options = SimilarOptions::parse(&raw(&options)?)?;
        let target = self.fixture.target(table);
        page(self.bridge.similar(&self.call(), &target, options).await?).await
    }

    /// Keys and scores of the seeded rows that a search by containment finds, best first; the keys of equal scores in
    /// their order by text. Computed by the reducer's ranker, not by the bridge.
    pub fn expected_ranks(&self, table: &str, options: &Json) -> Outcome<Vec<(String, f64)>> {
        let filter = options.get("where").cloned().unwrap_or_else(|| json!({}));
        let rows = self.matching(table, &filter)?;
        let options = SearchOptions::parse(&raw(options)?)?;
        let table = self.table(table)?;
        let ranker = Ranker::new(&options);
        let mut ranks = Vec::new();
        for row in rows {
            let json = table.row_json(&row, self.decimals());
            let score = ranker.score(&RawObject::from_text(&json)?)?;
            ranks.extend(score.map(|score| (table.seeded_key(&row, self.decimals()), score)));
        }
        ranks.sort_by(|(key, score), (other, than)| than.total_cmp(score).then_with(|| key.cmp(other)));
        Ok(ranks)
    }

    /// `aggregate` of a seeded table.
    pub async fn aggregate(&self, table: &str, options: Json) -> Outcome<Vec<Row>> {
        let options = AggregateOptions::parse(&raw(&options)?)?;
        let target = self.fixture.target(table);
        buckets(self.bridge.aggregate(&self.call(), &target, options).await?).await
    }

    /// Keys of given rows, in their order.
    pub fn keys(&self, table: &str, rows: &[Row]) -> Outcome<Vec<String>> {
        let table = self.table(table)?;
        let key = |row: &Row| table.key_of(row, self.decimals()).map_err(Failure::Wrong);
        rows.iter().map(key).collect()
    }

    /// Keys of the seeded rows that a filter matches, sorted. Computed by the reducer's matcher, not by the bridge.
    pub fn expected_keys(&self, table: &str, filter: &Json) -> Outcome<Vec<String>> {
        let rows = self.matching(table, filter)?;
        let table = self.table(table)?;
        let mut keys: Vec<String> = rows.iter().map(|row| table.seeded_key(row, self.decimals())).collect();
        keys.sort();
        Ok(keys)
    }

    /// The seeded rows that a filter matches.
    pub fn matching(&self, table: &str, filter: &Json) -> Outcome<Vec<Vec<Value>>> {
        let table = self.table(table)?;
        let filter = Filter::parse(&raw(filter)?)?;
        let mut layout = Layout::new(table.schema_of_filters(self.fixture.compares_as_text()));
        let matcher = Matcher::new(&filter, &mut layout);
        let matches = |row: &Vec<Value>| {
            layout.read(&table.row_json(row, self.decimals())).is_ok_and(|read| matcher.matches(&read))
        };
        Ok(table.rows().filter(matches).collect())
    }

    /// `query` and `count` find exactly the rows that the oracle finds. Returns how many that are.
    pub async fn finds(&self, table: &str, filter: Json) -> Outcome<usize> {
        let rows = self.query(table, json!({ "where": filter.clone() })).await?;
        let mut keys = self.keys(table, &rows)?;
        keys.sort();
        let expected = self.expected_keys(table, &filter)?;
        same(&format!("rows of {table} where {filter}"), &keys, &expected)?;
        let counted = self.count(table, json!({ "where": filter.clone() })).await?;
        self.close_enough(&format!("count of {table} where {filter}"), counted, expected.len())?;
        Ok(expected.len())
    }

    /// Exactly equal; within half (but at least 5) where counts are declared to be estimates.
    pub fn close_enough(&self, what: &str, got: u64, expected: usize) -> Outcome {
        let expected = expected as u64;
        let slack = if self.driver.capabilities().exact_count { 0 } else { expected.div_ceil(2).max(5) };
        ensure(got.abs_diff(expected) <= slack, || format!("{what}: got {got}, expected {expected}"))
    }

    /// `aggregate` gives exactly the buckets that the reducer computes over the seed, in any order unless sorted.
    pub async fn reduces(&self, table: &str, options: Json) -> Outcome<Vec<Row>> {
        let got = self.aggregate(table, options.clone()).await?;
        let expected = self.expected_buckets(table, &options)?;
        let (mut got_texts, mut expected_texts) = (comparable(&got), comparable(&expected));
        if options.get("sort").is_none() {
            got_texts.sort();
            expected_texts.sort();
        }
        same(&format!("buckets of {table} by {options}"), got_texts, expected_texts)?;
        Ok(got)
    }

    /// The buckets that the reducer computes over the seed.
    pub fn expected_buckets(&self, table: &str, options: &Json) -> Outcome<Vec<Row>> {
        let table = self.table(table)?;
        let options = AggregateOptions::parse(&raw(options)?)?;
        let mut reducer =
            Reducer::new(options.clone(), table.schema(), Limits::default()).map_err(BridgeError::from)?;
        for join in &options.joins {
            let other = self.seed.tables.iter().find(|table| self.fixture.target(table.name) == join.target);
            let other = other.ok_or_else(|| Failure::Fixture(format!("no table for {}", join.target)))?;
            for row in other.rows() {
                reducer
                    .push_join(&join.alias, &other.row_json(&row, self.decimals()))
                    .map_err(BridgeError::from)?;
            }
        }
        for row in table.rows() {
            reducer.push(&table.row_json(&row, self.decimals())).map_err(BridgeError::from)?;
        }
        finished(reducer)
    }
}

/// Options with one more field.
pub(crate) fn with(mut options: Json, key: &str, value: Json) -> Json {
    if let Json::Object(fields) = &mut options {
        fields.insert(key.to_owned(), value);
    }
    options
}

pub(crate) async fn page(stream: RowStream) -> Outcome<Page> {
    let (rows, tail) = collect(stream).await?;
    Ok(Page { rows: rows.into_iter().map(object).collect::<Outcome<_>>()?, tail })
}

/// The buckets of an aggregate, each in the form of one.
pub(crate) async fn buckets(stream: RowStream) -> Outcome<Vec<Row>> {
    let buckets = page(stream).await?.rows;
    for bucket in &buckets {
        let shape = bucket.get("dims").is_some_and(Json::is_object)
            && bucket.get("measures").is_some_and(Json::is_object)
            && bucket.get("count").is_some_and(Json::is_u64);
        ensure(shape, || format!("a bucket is {{dims, measures, count}}, not {bucket:?}"))?;
    }
    Ok(buckets)
}

/// The buckets that a reducer comes to.
pub(crate) fn finished(reducer: Reducer) -> Outcome<Vec<Row>> {
    let batches = reducer.finish()?;
    let rows = batches.iter().map(read_batch).collect::<Result<Vec<_>, _>>()?;
    rows.into_iter().flatten().map(object).collect()
}

fn object(row: Json) -> Outcome<Row> {
    match row {
        Json::Object(row) => Ok(row),
        other => Err(Failure::wrong(format!("a row is an object, not {other}"))),
    }
}

pub(crate) fn raw(options: &Json) -> Outcome<Box<RawValue>> {
    serde_json::value::to_raw_value(options).map_err(|error| Failure::Fixture(error.to_string()))
}

/// Buckets as text that is equal when they mean the same: numbers to nine digits, because engines add doubles in
/// different orders, and dimensions by their text, because a 64-bit integer may be either.
pub(crate) fn comparable(buckets: &[Row]) -> Vec<String> {
    buckets.iter().map(|bucket| shown(&Json::Object(bucket.clone()))).collect()
}

fn shown(value: &Json) -> String {
    match value {
        Json::Object(fields) => {
            let fields: BTreeMap<&String, String> =
                fields.iter().map(|(key, value)| (key, shown(value))).collect();
            format!("{fields:?}")
        }
        Json::Array(items) => format!("{:?}", items.iter().map(shown).collect::<Vec<_>>()),
        Json::Number(number) => number.as_f64().map_or_else(String::new, |value| format!("{value:.9e}")),
        Json::String(text) => match text.parse::<f64>() {
            Ok(value) if value.is_finite() => format!("{value:.9e}"),
            _ => text.clone(),
        },
        Json::Null | Json::Bool(_) => value.to_string(),
    }
}
