use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bridge_core::{RowBatch, Rows};
use proptest::prelude::*;
use protocol::{Direction, Filter, Keyset, OrderBy};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::*;
use crate::layout::Kind;
use crate::order::{Nulls, Order};

/// Tables in memory. Gives the columns that were asked for and no others, so that a column that is forgotten is missed.
#[derive(Clone)]
struct Tables {
    tables: Vec<(&'static str, Vec<Json>)>,
    key: Vec<&'static str>,
    in_key_order: bool,
    schema: Schema,
    /// Rows of its largest page.
    page: usize,
    /// How it says how many rows there are, when it is asked: exactly, about, or not at all.
    totals: Option<Exactness>,
    seen: Arc<Seen>,
}

#[derive(Clone, Copy, PartialEq)]
enum Exactness {
    Exact,
    About,
}

/// What was asked of a reader.
#[derive(Default)]
struct Seen {
    pages: AtomicUsize,
    rows: AtomicUsize,
    open: AtomicUsize,
}

impl Tables {
    fn new(rows: Vec<Json>) -> Self {
        let schema = Schema::unknown();
        Self {
            tables: vec![("t", rows)],
            key: Vec::new(),
            in_key_order: false,
            schema,
            page: 1_000,
            totals: None,
            seen: Arc::default(),
        }
    }

    fn with_key(self, key: &[&'static str]) -> Self {
        Self { key: key.to_vec(), ..self }
    }

    /// Says that rows come in the order of a key of that kind.
    fn in_order_of(self, key: &'static str, kind: Kind) -> Self {
        let schema = self.schema.clone().with(key, kind);
        Self { key: vec![key], in_key_order: true, schema, ..self }
    }

    fn in_pages_of(self, page: usize) -> Self {
        Self { page, ..self }
    }

    fn with(mut self, target: &'static str, rows: Vec<Json>) -> Self {
        self.tables.push((target, rows));
        self
    }

    fn scan(&self) -> Scan<Self> {
        Scan::new(self.clone(), &call())
    }

    fn query_page(&self, options: Json) -> Result<(Vec<Json>, Tail), BridgeError> {
        now(async {
            let options = QueryOptions::parse(&raw(&options)).map_err(BridgeError::from)?;
            collect(self.scan().query("t", options).await?).await
        })
    }

    fn query(&self, options: Json) -> Vec<Json> {
        self.query_page(options).unwrap().0
    }

    /// The rows of all pages by key.
    fn pages(&self, options: &Json) -> Vec<Json> {
        let mut options = options.clone();
        let mut rows = Vec::new();
        for _ in 0..1_000 {
            let (page, tail) = self.query_page(options.clone()).unwrap();
            rows.extend(page);
            match tail.next_cursor {
                Some(cursor) => options["cursor"] = json!(cursor),
                None => return rows,
            }
        }
        panic!("the pages do not end");
    }
}

impl Reader for Tables {
    fn read<'a>(
        &'a mut self,
        _call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Page, BridgeError>> {
        assert_eq!(self.seen.open.fetch_add(1, Ordering::SeqCst), 0, "another page is open");
        self.seen.pages.fetch_add(1, Ordering::SeqCst);
        let rows = &self.tables.iter().find(|(name, _)| *name == target).expect("the table is there").1;
        let start: usize = options.cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let end = start + self.page.min(usize::try_from(options.limit).unwrap()).min(rows.len() - start);
        let shown = |row: &Json| match options.projection.pairs() {
            None => row.clone(),
            Some(pairs) => pairs.iter().map(|(_, name)| ((*name).to_owned(), row[*name].clone())).collect(),
        };
        let page = PageRows {
            rows: rows[start..end].iter().map(shown).collect(),
            tail: Tail {
                next_cursor: (end < rows.len()).then(|| end.to_string()),
                total: self.totals.filter(|_| options.total).map(|_| rows.len() as u64),
                approximate: options.total && self.totals == Some(Exactness::About),
                ..Tail::default()
            },
            seen: Arc::clone(&self.seen),
        };
        let page = Page { rows: Box::new(page), schema: self.schema.clone() };
        Box::pin(std::future::ready(Ok(page)))
    }

    fn describe<'a>(&'a mut self, _: &'a Call, _: &'a str) -> BoxFuture<'a, Result<Known, BridgeError>> {
        let key = self.key.iter().map(|name| (*name).to_owned()).collect();
        Box::pin(std::future::ready(Ok(Known { key, in_key_order: self.in_key_order, ..Known::default() })))
    }
}

struct PageRows {
    rows: std::collections::VecDeque<Json>,
    tail: Tail,
    seen: Arc<Seen>,
}

impl Rows for PageRows {
    fn next(&mut self, _room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        let rows: Vec<String> =
            self.rows.drain(..self.rows.len().min(3)).map(|row| row.to_string()).collect();
        self.seen.rows.fetch_add(rows.len(), Ordering::SeqCst);
        let batch = RowBatch { count: rows.len() as u64, rows: rows.join(" , ") };
        Box::pin(std::future::ready(Ok((batch.count > 0).then_some(batch))))
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

impl Drop for PageRows {
    fn drop(&mut self) {
        self.seen.open.fetch_sub(1, Ordering::SeqCst);
    }
}

fn call() -> Call {
    Call::within(Duration::from_secs(60))
}

/// Runs what never has to wait.
fn now<T>(work: impl Future<Output = T>) -> T {
    match pin!(work).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("nothing here waits"),
    }
}

async fn collect(mut stream: RowStream) -> Result<(Vec<Json>, Tail), BridgeError> {
    let mut rows = Vec::new();
    while let Some(batch) = stream.next(50).await? {
        let found: Vec<Json> = serde_json::from_str(&format!("[{}]", batch.rows)).unwrap();
        assert_eq!(found.len() as u64, batch.count);
        rows.extend(found);
    }
    Ok((rows, stream.tail()))
}

fn raw(options: &Json) -> Box<RawValue> {
    serde_json::value::to_raw_value(options).unwrap()
}

fn numbered(count: usize) -> Vec<Json> {
    (0..count).map(|id| json!({"id": id, "name": format!("row {id}"), "half": id / 2})).collect()
}

fn ids(rows: &[Json]) -> Vec<u64> {
    rows.iter().map(|row| row["id"].as_u64().unwrap()).collect()
}

#[test]
fn a_count_of_everything_takes_the_number_that_the_reader_has() {
    let counted = |totals, filter: Json| {
        let tables = Tables { totals, ..Tables::new(numbered(1_000)).in_pages_of(100) };
        let filter = Filter::parse(&raw(&filter)).unwrap();
        let counted = now(tables.scan().count("t", CountOptions { filter })).unwrap();
        assert!(!counted.approximate);
        (counted.total, tables.seen.rows.load(Ordering::SeqCst) > 1)
    };
    assert_eq!(counted(Some(Exactness::Exact), json!({})), (1_000, false));
    assert_eq!(counted(Some(Exactness::Exact), json!({"half": {"$lt": 10}})), (20, true), "not of a filter");
    assert_eq!(
        counted(Some(Exactness::About), json!({})),
        (1_000, true),
        "an estimate is not taken for a count"
    );
    assert_eq!(counted(None, json!({})), (1_000, true));
}

#[test]
fn no_more_is_read_than_a_limit_needs() {
    let tables = Tables::new(numbered(1_000)).in_pages_of(10);
    assert_eq!(ids(&tables.query(json!({"limit": 4, "offset": 2}))), [2, 3, 4, 5]);
    assert_eq!(tables.seen.rows.swap(0, Ordering::SeqCst), 6);
    // Who filters knows when enough was found.
    assert_eq!(ids(&tables.query(json!({"limit": 2, "where": {"half": {"$gte": 20}}}))), [40, 41]);
    assert!(tables.seen.rows.swap(0, Ordering::SeqCst) < 60);
    assert_eq!(tables.query(json!({"limit": 0})), [] as [Json; 0]);
    assert_eq!(tables.seen.rows.swap(0, Ordering::SeqCst), 0);
}

#[test]
fn pages_by_a_key_in_whose_order_rows_come_read_no_more_than_they_need() {
    let tables = Tables::new(numbered(1_000)).in_pages_of(10).in_order_of("id", Kind::Number);
    let (rows, tail) = tables.query_page(json!({"keyset": true, "limit": 4})).unwrap();
    assert_eq!(ids(&rows), [0, 1, 2, 3]);
    assert!(tables.seen.rows.swap(0, Ordering::SeqCst) < 10);
    let next = json!({"keyset": true, "limit": 4, "cursor": tail.next_cursor.unwrap()});
    assert_eq!(ids(&tables.query(next)), [4, 5, 6, 7]);
    assert!(tables.seen.rows.swap(0, Ordering::SeqCst) < 20);
    let ordered = json!({"orderBy": [{"field": "id"}], "limit": 2, "where": {"half": {"$gte": 20}}});
    assert_eq!(ids(&tables.query(ordered)), [40, 41]);
    assert!(tables.seen.rows.swap(0, Ordering::SeqCst) < 60);
    // Every row is looked at where the order is another, and where all are counted.
    for options in [
        json!({"orderBy": [{"field": "id", "dir": "desc"}], "limit": 1}),
        json!({"orderBy": [{"field": "half"}], "keyset": true, "limit": 1}),
        json!({"keyset": true, "limit": 1, "total": true}),
    ] {
        tables.query(options);
        assert_eq!(tables.seen.rows.swap(0, Ordering::SeqCst), 1_000);
    }
    assert_eq!(ids(&tables.pages(&json!({"keyset": true, "limit": 300}))), (0..1_000).collect::<Vec<_>>());
}

#[test]
fn an_order_that_is_seen_to_be_none_or_is_that_of_text_is_not_relied_on() {
    let mut rows = numbered(100);
    rows.swap(2, 90);
    let lying = Tables::new(rows).in_order_of("id", Kind::Number);
    assert_eq!(ids(&lying.query(json!({"keyset": true, "limit": 5}))), [0, 1, 2, 3, 4]);
    // A database may put "b" before "C".
    let collated = vec![json!({"id": 0, "name": "b"}), json!({"id": 1, "name": "C"})];
    let collated = Tables::new(collated).in_order_of("name", Kind::Text);
    assert_eq!(ids(&collated.query(json!({"keyset": true, "limit": 1}))), [1]);
}

#[test]
fn a_total_counts_what_matches_whatever_the_page() {
    let tables = Tables::new(numbered(100)).in_pages_of(7);
    for order in [json!([]), json!([{"field": "name"}])] {
        for limit in [0, 3, 1_000] {
            let options = json!({"where": {"half": {"$lt": 20}}, "limit": limit, "offset": 5, "orderBy": order, "total": true});
            let (rows, tail) = tables.query_page(options).unwrap();
            assert_eq!((rows.len(), tail.total), (limit.min(35), Some(40)));
        }
        let all = json!({"limit": 1, "total": true, "orderBy": order});
        assert_eq!(tables.query_page(all).unwrap().1.total, Some(100));
    }
}

#[test]
fn only_columns_that_are_looked_at_are_read() {
    let tables = Tables::new(numbered(9)).with_key(&["id"]);
    let mut scan = tables.scan();
    let fields = |options: Json| {
        let options = QueryOptions::parse(&raw(&options)).unwrap();
        let known = now(scan.reader.describe(&call(), "t")).unwrap();
        columns::of_selection(&known, &Selection::new(options, &known).unwrap())
    };
    let mut fields = fields;
    let named = |names: &[&str]| Projection::Columns(names.iter().map(|name| (*name).to_owned()).collect());
    assert_eq!(fields(json!({"where": {"a": 1}})), Projection::All);
    assert_eq!(
        fields(
            json!({"where": {"a": 1}, "orderBy": {"field": "b"}, "project": {"x": "c", "y": "a"}, "keyset": true})
        ),
        named(&["a", "b", "c", "id"])
    );
    let count = columns::fields(&Known { key: vec!["id".to_owned()], ..Known::default() }, []);
    assert_eq!(count, named(&["id"]));
    let declared = Known { columns: Some(vec!["first".to_owned(), "second".to_owned()]), ..Known::default() };
    assert_eq!(columns::fields(&declared, []), named(&["first"]));
    assert_eq!(columns::fields(&Known::default(), []), Projection::All);
}

#[test]
fn rows_without_a_key_page_in_the_order_in_which_they_come() {
    let tables = Tables::new(numbered(25)).in_pages_of(4);
    for limit in [1, 4, 7, 25, 30] {
        let rows = tables.pages(&json!({"keyset": true, "limit": limit, "where": {"id": {"$ne": 3}}}));
        assert_eq!(ids(&rows), (0..25).filter(|id| *id != 3).collect::<Vec<_>>());
    }
    let (_, tail) = tables.query_page(json!({"keyset": true, "limit": 25})).unwrap();
    assert_eq!(tail.next_cursor, None);
}

#[test]
fn rows_that_are_equal_are_not_lost_between_pages() {
    let tables = Tables::new(numbered(20)).in_pages_of(6);
    for limit in [1, 2, 3, 5] {
        let options = json!({"keyset": ["half"], "orderBy": {"field": "missing"}, "limit": limit});
        assert_eq!(ids(&tables.pages(&options)), (0..20).collect::<Vec<_>>());
    }
}

#[test]
fn a_cursor_says_only_what_its_order_needs() {
    let tables = Tables::new(numbered(9)).with_key(&["id"]);
    let cursor = |options: Json| tables.query_page(options).unwrap().1.next_cursor;
    assert_eq!(cursor(json!({"keyset": true, "limit": 3})).as_deref(), Some("2"));
    assert_eq!(cursor(json!({"keyset": true, "limit": 9})), None);
    assert_eq!(cursor(json!({"keyset": true, "limit": 0})), None);
    assert_eq!(cursor(json!({"limit": 3})), None);
    for wrong in ["k1.!!", "not json", "{", "\"a\" \"b\"", "k1.WyIxIiwiMiJd"] {
        let refused = tables.query_page(json!({"keyset": true, "limit": 3, "cursor": wrong})).unwrap_err();
        assert!(
            matches!(&refused, BridgeError::Invalid(invalid) if invalid.field == "cursor"),
            "{wrong}: {refused}"
        );
    }
}

#[test]
fn kinds_decide_how_text_is_ordered_and_compared() {
    let rows = ["10.5", "9", "12345678901234567890.1"].map(|amount| json!({"amount": amount})).to_vec();
    let mut tables = Tables::new(rows);
    tables.schema = Schema::unknown().with("amount", Kind::Number);
    let found = tables.query(json!({"orderBy": {"field": "amount"}, "where": {"amount": {"$gt": 9.5}}}));
    assert_eq!(found, [json!({"amount": "10.5"}), json!({"amount": "12345678901234567890.1"})]);
    let page = json!({"keyset": ["amount"], "limit": 1});
    assert_eq!(tables.pages(&page).len(), 3);
}

#[test]
fn joined_targets_are_read_before_and_never_at_once() {
    let regions = vec![json!({"pk": "0", "region": "north"}), json!({"pk": "1", "region": "south"})];
    let mut tables = Tables::new(numbered(10)).with("regions", regions).in_pages_of(3);
    // Integers beyond doubles are text in rows, and the same as numbers all the same.
    tables.schema = Schema::unknown().with("pk", Kind::Number).with("half", Kind::Number);
    let options = json!({
        "dimensions": [{"field": "region", "from": "r"}], "measures": {"ids": {"agg": "sum", "column": "id"}},
        "joins": [{"target": "regions", "alias": "r", "on": {"local": "half", "foreign": "pk"}}],
        "sort": [{"key": "region"}],
    });
    let options = AggregateOptions::parse(&raw(&options)).unwrap();
    let (buckets, _) = now(async { collect(tables.scan().aggregate("t", options).await?).await }).unwrap();
    assert_eq!(
        buckets,
        [
            json!({"dims": {"region": "north"}, "measures": {"ids": 1}, "count": 2}),
            json!({"dims": {"region": "south"}, "measures": {"ids": 5}, "count": 2}),
        ]
    );
}

#[test]
fn ids_are_looked_for_in_the_key() {
    let options = || AggregateOptions::parse(&raw(&json!({"ids": [1, 2, "nope"]}))).unwrap();
    let count =
        |tables: &Tables| now(async { collect(tables.scan().aggregate("t", options()).await?).await });
    let tables = Tables::new(numbered(9));
    let (buckets, _) = count(&tables.clone().with_key(&["id"])).unwrap();
    assert_eq!(buckets, [json!({"dims": {}, "measures": {}, "count": 2})]);
    assert!(matches!(count(&tables), Err(BridgeError::Invalid(invalid)) if invalid.field == "ids"));
    assert_eq!(tables.seen.pages.load(Ordering::SeqCst), 1, "what is refused is not read");
}

#[test]
fn a_search_ranks_and_shows_a_score_that_is_ours() {
    let rows = vec![
        json!({"id": 3, "a": "red", "_score": 99}),
        json!({"id": 2, "a": "red shoe"}),
        json!({"id": 1, "a": "a shoe"}),
        json!({"id": 4, "a": "hat"}),
    ];
    let tables = Tables::new(rows).with_key(&["id"]);
    let search = |options: Json| {
        let options = SearchOptions::parse(&raw(&options)).unwrap();
        now(async { collect(tables.scan().search("t", options).await?).await }).unwrap()
    };
    let (rows, tail) = search(json!({"query": "red shoe"}));
    assert_eq!(
        rows,
        [
            json!({"id": 2, "a": "red shoe", "_score": 1}),
            json!({"id": 1, "a": "a shoe", "_score": 1.0 / 3.0}),
            json!({"id": 3, "a": "red", "_score": 1.0 / 3.0}),
        ]
    );
    assert_eq!(tail.method, Some(protocol::SearchMethod::Containment));
    let options =
        json!({"query": "red", "fields": ["a"], "limit": 1, "project": {"who": "id", "_score": "a"}});
    assert_eq!(search(options).0, [json!({"who": 2, "_score": 1})]);
    let only_score = json!({"query": "hat", "select": ["_score"], "where": {"id": {"$gt": 1}}});
    assert_eq!(search(only_score).0, [json!({"_score": 1})]);
    assert_eq!(search(json!({"query": "red", "limit": 0})).0, [] as [Json; 0]);
}

#[test]
fn columns_that_are_declared_are_all_there_are() {
    let known =
        Known { key: vec!["id".to_owned()], columns: Some(vec!["id".to_owned()]), ..Known::default() };
    let declared = Declared::new(&known, "t");
    let refusal = |options: Json| {
        declared.check_query(&QueryOptions::parse(&raw(&options)).unwrap()).unwrap_err().to_string()
    };
    assert_eq!(
        refusal(json!({"where": {"$or": [{"id": 1}, {"nope": 1}]}})),
        "where.nope: expected a column of t"
    );
    assert_eq!(refusal(json!({"orderBy": {"nope": "asc"}})), "orderBy[0].nope: expected a column of t");
    assert_eq!(refusal(json!({"select": ["nope"]})), "select.nope: expected a column of t");
    assert_eq!(refusal(json!({"project": {"out": "nope"}})), "project.out: expected a column of t");
    assert_eq!(refusal(json!({"keyset": ["nope"]})), "keyset.nope: expected a column of t");
}

#[test]
fn what_needs_too_much_memory_is_refused_by_its_limit() {
    let tables = Tables::new(numbered(1_000));
    let query = |options: Json| {
        let options = QueryOptions::parse(&raw(&options)).unwrap();
        now(async { collect(tables.scan().with_memory(10_000).query("t", options).await?).await })
    };
    let refused = query(json!({"orderBy": {"field": "name"}})).unwrap_err();
    assert!(refused.to_string().contains("limit of 10000 bytes"), "{refused}");
    assert_eq!(query(json!({"orderBy": {"field": "name"}, "limit": 5})).unwrap().0.len(), 5);
    assert_eq!(query(json!({})).unwrap().0.len(), 1_000);
}

#[test]
fn a_row_that_is_too_large_fails_the_job() {
    let tables = Tables::new(vec![json!({"id": 1, "text": "x".repeat(100)})]);
    let small = Call { row_limit: 50, ..call() };
    for options in [json!({"select": ["id", "text"]}), json!({"orderBy": {"field": "id"}})] {
        let options = QueryOptions::parse(&raw(&options)).unwrap();
        let scan = Scan::new(tables.clone(), &small);
        let refused = now(async { collect(scan.query("t", options).await?).await }).unwrap_err();
        assert!(matches!(refused, BridgeError::RowTooLarge { limit: 50 }));
    }
}

/// A reader that answers whatever a test wants.
struct Odd {
    rows: &'static str,
    cursor: Option<&'static str>,
}

impl Reader for Odd {
    fn read<'a>(
        &'a mut self,
        _: &'a Call,
        _: &'a str,
        _: ReadOptions,
    ) -> BoxFuture<'a, Result<Page, BridgeError>> {
        let batch = RowBatch { rows: self.rows.to_owned(), count: 1 };
        let tail = Tail { next_cursor: self.cursor.map(str::to_owned), ..Tail::default() };
        let page = Page { rows: answer_rows(vec![batch], tail), schema: Schema::unknown() };
        Box::pin(std::future::ready(Ok(page)))
    }

    fn broken(&self, reason: String) -> BridgeError {
        BridgeError::Plugin(reason)
    }
}

#[test]
fn a_reader_that_breaks_its_promises_is_blamed() {
    let ask = |odd: Odd, options: Json| {
        let options = QueryOptions::parse(&raw(&options)).unwrap();
        now(async { collect(Scan::new(odd, &call()).query("t", options).await?).await })
    };
    for rows in ["5", "{\"a\":}", "{", "{} []"] {
        for options in [json!({"where": {"a": 1}}), json!({"orderBy": {"field": "a"}})] {
            let refused = ask(Odd { rows, cursor: None }, options).unwrap_err();
            assert!(matches!(refused, BridgeError::Plugin(_)), "{rows}: {refused}");
        }
    }
    let refused = ask(Odd { rows: "{}", cursor: Some("again") }, json!({})).unwrap_err();
    assert!(refused.to_string().contains("does not go on"), "{refused}");
}

#[test]
fn a_scan_ends_at_the_deadline_of_its_call() {
    let scan = Scan::new(Tables::new(numbered(9)), &Call::within(Duration::ZERO));
    assert!(matches!(now(scan.count("t", CountOptions::default())), Err(BridgeError::Timeout)));
}

/// Rows with few values, so that many are equal, and some null.
fn any_rows() -> impl Strategy<Value = Vec<Json>> {
    let value = prop_oneof![
        Just(Json::Null),
        (-3_i8..3).prop_map(Json::from),
        prop::sample::select(vec!["", "a", "b\"}", "B,{"]).prop_map(Json::from),
        any::<bool>().prop_map(Json::from),
    ];
    let row = (value.clone(), value.clone(), value);
    prop::collection::vec(row, 0..40).prop_map(|rows| {
        let row = |(id, (a, b, c)): (usize, _)| json!({"id": id, "a": a, "b": b, "c": {"deep": c}});
        rows.into_iter().enumerate().map(row).collect()
    })
}

fn any_filter() -> impl Strategy<Value = Json> {
    prop::sample::select(vec![
        json!({}),
        json!({"a": {"$gte": 0}}),
        json!({"$or": [{"b": "a"}, {"a": null}]}),
        json!({"$not": {"b": {"$contains": "B"}}}),
        json!({"id": {"$nin": [1, 2, 3]}}),
        json!({"a": {"$in": []}}),
    ])
}

fn any_order() -> impl Strategy<Value = Vec<OrderBy>> {
    let field = prop::sample::select(vec!["a", "b", "id", "missing"]);
    let direction = prop::sample::select(vec![Direction::Ascending, Direction::Descending]);
    let key =
        (field, direction).prop_map(|(field, direction)| OrderBy { field: field.to_owned(), direction });
    prop::collection::vec(key, 0..3)
}

/// What a query answers, the plain way: read everything, leave out, sort, cut.
fn plainly(rows: &[Json], filter: &Json, order_by: &[OrderBy]) -> Vec<Json> {
    let mut layout = Layout::default();
    let matcher = Matcher::new(&Filter::from_json(&filter.to_string()).unwrap(), &mut layout);
    let order = Order::new(order_by, Nulls::default(), &mut layout);
    let mut found: Vec<_> =
        rows.iter().map(|row| (layout.read(&row.to_string()).unwrap(), row.clone())).collect();
    found.retain(|(values, _)| matcher.matches(values));
    found.sort_by(|(left, _), (right, _)| order.compare(left, right));
    found.into_iter().map(|(_, row)| row).collect()
}

proptest! {
    #[test]
    fn a_query_answers_what_the_plain_way_does(
        rows in any_rows(),
        filter in any_filter(),
        order_by in any_order(),
        limit in prop::option::of(0_u64..50),
        offset in 0_u64..10,
        page in 1_usize..50,
    ) {
        let tables = Tables::new(rows.clone()).in_pages_of(page);
        let expected = plainly(&rows, &filter, &order_by);
        let total = expected.len() as u64;
        let cut = expected.into_iter().skip(usize::try_from(offset).unwrap());
        let expected: Vec<Json> = cut.take(usize::try_from(limit.unwrap_or(1_000)).unwrap()).collect();
        let filter = Filter::from_json(&filter.to_string()).unwrap();
        let options = QueryOptions { filter: filter.clone(), order_by, limit, offset, total: true, ..QueryOptions::default() };
        let answer = |options| now(async { collect(tables.scan().query("t", options).await?).await }).unwrap();
        let (found, tail) = answer(options.clone());
        prop_assert_eq!(&found, &expected);
        prop_assert_eq!(tail, Tail { total: Some(total), ..Tail::default() });
        let shown = Projection::Renamed(vec![("x".to_owned(), "c".to_owned()), ("a".to_owned(), "b".to_owned())]);
        let (found, tail) = answer(QueryOptions { projection: shown, total: false, ..options });
        let renamed: Vec<Json> = expected.iter().map(|row| json!({"x": row["c"], "a": row["b"]})).collect();
        prop_assert_eq!(found, renamed);
        prop_assert_eq!(tail, Tail::default());
        let counted = now(tables.scan().count("t", CountOptions { filter })).unwrap();
        prop_assert_eq!((counted.total, counted.approximate), (total, false));
    }

    #[test]
    fn pages_by_key_are_one_query_in_pieces(
        rows in any_rows(),
        filter in any_filter(),
        order_by in any_order(),
        tiebreak in prop::sample::select(vec![None, Some(vec!["id".to_owned()]), Some(vec!["b".to_owned()])]),
        limit in 1_u64..15,
        page in 1_usize..50,
    ) {
        let tables = Tables::new(rows.clone()).in_pages_of(page);
        let mut whole = order_by.clone();
        for field in tiebreak.iter().flatten() {
            whole.push(OrderBy { field: field.clone(), direction: Direction::Ascending });
        }
        let expected = plainly(&rows, &filter, &whole);
        let keyset = Keyset { tiebreak, cursor: None };
        let filter = Filter::from_json(&filter.to_string()).unwrap();
        let options = QueryOptions { filter, order_by, limit: Some(limit), keyset: Some(keyset), ..QueryOptions::default() };
        let options: Json = serde_json::from_str(&options.to_json()).unwrap();
        prop_assert_eq!(tables.pages(&options), expected);
    }
}
