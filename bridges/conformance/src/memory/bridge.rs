use std::collections::VecDeque;
use std::sync::Arc;

use bridge_core::{
    BoxFuture, Bridge, BridgeError, Call, ColumnSchema, Columns, Counted, Position, RowBatch, RowStream,
    RowWriter, Rows, TargetSchema, answer_rows,
};
use bridge_reduce::{Layout, Limits, Matcher, Nulls, Order, Ranker, Reducer, Row};
use protocol::{
    AggregateCapabilities, AggregateOptions, BatchReadOptions, Bucket, Capabilities, CountOptions, Direction,
    Filter, Invalid, JobKind, MeasureKind, OrderBy, PoolUse, Projection, QueryOptions, RawObject,
    ReadOptions, SCORE, Scalar, SearchMethod, SearchOptions, Support, Tail, Test, Where,
};

use super::store::{SlowGuard, Store, Stored};
use super::{SLOW, unsupported, unsupported_kind};
use crate::seed::{Kind, Value};

pub(super) struct MemoryBridge {
    pub(super) tables: Arc<Vec<Stored>>,
    pub(super) store: Arc<Store>,
    pub(super) name: String,
    pub(super) capabilities: Capabilities,
    pub(super) aggregates: AggregateCapabilities,
}

/// A query with everything found in a table.
struct Search<'a> {
    stored: &'a Stored,
    filter: Filter,
    order_by: Vec<OrderBy>,
    /// How many columns at the end of the order make it total; 0 when nobody pages by key.
    paged: bool,
    cursor: Option<String>,
    offset: u64,
    limit: Option<u64>,
    projection: Projection,
    total: bool,
}

impl Bridge for MemoryBridge {
    fn test<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, Result<(), BridgeError>> {
        ready(Ok(()))
    }

    fn query<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: QueryOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        if target == SLOW {
            return ready(Ok(Box::new(Slow { _guard: self.store.begin_slow(), call: *call })));
        }
        ready(self.search_query(call, target, options))
    }

    fn read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        ready(self.search_read(call, target, options))
    }

    fn batch_read<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: BatchReadOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        if !self.capabilities.batch_read {
            return ready(Err(unsupported_kind(&self.name, &JobKind::BatchRead)));
        }
        self.query(call, target, options.into())
    }

    fn count<'a>(
        &'a self,
        _call: &'a Call,
        target: &'a str,
        options: CountOptions,
    ) -> BoxFuture<'a, Result<Counted, BridgeError>> {
        ready(self.count_rows(target, &options.filter))
    }

    fn aggregate<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: AggregateOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        ready(self.reduce(call, target, options))
    }

    fn list_targets<'a>(&'a self, _call: &'a Call) -> BoxFuture<'a, Result<Vec<String>, BridgeError>> {
        let mut names: Vec<String> = self.tables.iter().map(|stored| stored.table.name.to_owned()).collect();
        names.sort();
        ready(Ok(names))
    }

    fn introspect_target<'a>(
        &'a self,
        _call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<TargetSchema, BridgeError>> {
        let describe = |stored: &Stored| {
            let column = |column: &crate::seed::Column| ColumnSchema {
                name: column.name.to_owned(),
                kind: format!("{:?}", column.kind),
                nullable: column.nullable,
                primary_key: stored.table.key.contains(&column.name),
            };
            TargetSchema {
                name: target.to_owned(),
                columns: stored.table.columns.iter().map(column).collect(),
                row_count: stored.table.row_count(),
            }
        };
        ready(self.stored(target).map(describe))
    }

    fn search<'a>(
        &'a self,
        call: &'a Call,
        target: &'a str,
        options: SearchOptions,
    ) -> BoxFuture<'a, Result<RowStream, BridgeError>> {
        ready(self.rank(call, target, &options))
    }

    fn driver_name(&self) -> &str {
        &self.name
    }

    fn pool_use(&self) -> PoolUse {
        PoolUse::default()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        ready(())
    }
}

impl MemoryBridge {
    /// `small`, `memory.small`, `"a \"\"hostile\"\" name"`.
    fn stored(&self, target: &str) -> Result<&Stored, BridgeError> {
        let name = target.strip_prefix("memory.").unwrap_or(target);
        let name = match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
            Some(quoted) => quoted.replace("\"\"", "\""),
            None => name.to_owned(),
        };
        let found = self.tables.iter().find(|stored| stored.table.name == name);
        found.ok_or_else(|| BridgeError::query(format!("there is no table {target}")))
    }

    fn check_filter(&self, stored: &Stored, field: &str, filter: &Filter) -> Result<(), BridgeError> {
        filter.check(&self.capabilities).map_err(|op| op.on(stored.table.name, &self.name))?;
        filter.condition().fields().into_iter().try_for_each(|name| known(stored, field, name))
    }

    fn search_query(
        &self,
        call: &Call,
        target: &str,
        options: QueryOptions,
    ) -> Result<RowStream, BridgeError> {
        let stored = self.stored(target)?;
        let paged = options.keyset.is_some();
        let mut order_by = options.order_by;
        if let Some(keyset) = &options.keyset {
            let tiebreak = keyset.tiebreak.clone().unwrap_or_else(|| key_columns(stored));
            add_tiebreak(&mut order_by, tiebreak);
        }
        self.search(
            call,
            Search {
                stored,
                filter: options.filter,
                order_by,
                paged,
                cursor: options.keyset.and_then(|keyset| keyset.cursor),
                offset: options.offset,
                limit: options.limit,
                projection: options.projection,
                total: options.total,
            },
        )
    }

    fn search_read(&self, call: &Call, target: &str, options: ReadOptions) -> Result<RowStream, BridgeError> {
        if !self.capabilities.cursor {
            return Err(unsupported(&self.name, "cursor"));
        }
        let stored = self.stored(target)?;
        let mut order_by = Vec::new();
        add_tiebreak(&mut order_by, key_columns(stored));
        let search = Search {
            stored,
            filter: self.changed(stored, &options)?,
            order_by,
            paged: true,
            cursor: options.cursor,
            offset: 0,
            limit: Some(options.limit),
            projection: options.projection,
            total: options.total,
        };
        self.search(call, search)
    }

    /// A tracking column that does not exist means a full scan, as published.
    fn changed(&self, stored: &Stored, options: &ReadOptions) -> Result<Filter, BridgeError> {
        let Some(since) = options.changed_since else { return Ok(Filter::everything()) };
        if !self.capabilities.changed_since {
            return Err(unsupported(&self.name, "changedSince"));
        }
        let column = &options.change_tracking_column;
        if stored.table.column(column).is_none() {
            return Ok(Filter::everything());
        }
        let since = Scalar::Text(since.to_string());
        Ok(Filter::from_where(Where::field(column, Test::Compare(protocol::Comparison::Greater, since))))
    }

    fn search(&self, call: &Call, search: Search<'_>) -> Result<RowStream, BridgeError> {
        let stored = search.stored;
        self.check_filter(stored, "where", &search.filter)?;
        for (index, key) in search.order_by.iter().enumerate() {
            known(stored, &format!("orderBy[{index}]"), &key.field)?;
        }
        let outputs = outputs(stored, &search.projection)?;
        let mut layout = Layout::new(stored.table.schema());
        let matcher = Matcher::new(&search.filter, &mut layout);
        let order = Order::new(&search.order_by, Nulls::default(), &mut layout);
        let mut found = matching(stored, &layout, &matcher)?;
        let total = search.total.then_some(found.len() as u64);
        found.sort_by(|(_, left), (_, right)| order.compare(left, right));
        if let Some(cursor) = &search.cursor {
            let after = position_row(&search, &layout, cursor)?;
            found.retain(|(_, row)| order.compare(row, &after).is_gt());
        }
        let offset = usize::try_from(search.offset).unwrap_or(usize::MAX);
        let limit = search.limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let page: Vec<usize> = found.iter().map(|(at, _)| *at).skip(offset).take(limit).collect();
        let more = search.paged && limit > 0 && found.len() > page.len();
        let next_cursor = page.last().filter(|_| more).map(|at| position(&search, *at).encode());
        let rows =
            page.iter().filter_map(|at| stored.rows.get(*at)).map(|row| shown(row, &outputs)).collect();
        Ok(Box::new(Found {
            names: Columns::new(outputs.iter().map(|(name, _)| name.as_str())),
            rows,
            row_limit: call.row_limit,
            tail: Tail { next_cursor, total, ..Tail::default() },
        }))
    }

    fn rank(&self, call: &Call, target: &str, options: &SearchOptions) -> Result<RowStream, BridgeError> {
        if !self.capabilities.search {
            return Err(self.unsupported(&JobKind::Search));
        }
        let stored = self.stored(target)?;
        self.check_filter(stored, "where", &options.filter)?;
        for (index, field) in options.fields.iter().flatten().enumerate() {
            let text = stored.table.column(field).is_some_and(|column| column.kind == Kind::Text);
            if !text {
                return Err(Invalid::new(format!("fields[{index}]"), "a column of text").into());
            }
        }
        let outputs = outputs(stored, &options.projection)?;
        let mut layout = Layout::new(stored.table.schema());
        let matcher = Matcher::new(&options.filter, &mut layout);
        let ranker = Ranker::new(options);
        let mut found = Vec::new();
        for (at, _) in matching(stored, &layout, &matcher)? {
            let json = stored.json.get(at).map_or("{}", String::as_str);
            found.extend(ranker.score(&RawObject::from_text(json)?)?.map(|score| (at, score)));
        }
        // Rows are kept in the order of the key, and the sort is stable.
        found.sort_by(|(_, left), (_, right)| right.total_cmp(left));
        found.truncate(usize::try_from(options.limit).unwrap_or(usize::MAX));
        let row = |(at, score): (usize, f64)| {
            let mut row = shown(stored.rows.get(at)?, &outputs);
            row.push(Value::Double(score));
            Some(row)
        };
        Ok(Box::new(Found {
            names: Columns::new(outputs.iter().map(|(name, _)| name.as_str()).chain([SCORE])),
            rows: found.into_iter().filter_map(row).collect(),
            row_limit: call.row_limit,
            tail: Tail { method: Some(SearchMethod::Containment), ..Tail::default() },
        }))
    }

    fn count_rows(&self, target: &str, filter: &Filter) -> Result<Counted, BridgeError> {
        let stored = self.stored(target)?;
        self.check_filter(stored, "where", filter)?;
        let mut layout = Layout::new(stored.table.schema());
        let matcher = Matcher::new(filter, &mut layout);
        let total = matching(stored, &layout, &matcher)?.len() as u64;
        Ok(Counted { total, approximate: !self.capabilities.exact_count })
    }

    fn reduce(&self, call: &Call, target: &str, options: AggregateOptions) -> Result<RowStream, BridgeError> {
        self.check_aggregate(&options)?;
        let stored = self.stored(target)?;
        self.check_filter(stored, "candidatesWhere", &options.filter)?;
        for (name, measure) in &options.measures {
            self.check_filter(stored, &format!("measures.{name}.where"), &measure.filter)?;
            if let Some(column) = &measure.column {
                known(stored, &format!("measures.{name}.column"), column)?;
            }
        }
        let joins = options.joins.clone();
        let limits = Limits { row: call.row_limit, ..Limits::default() };
        let mut reducer = Reducer::new(options, stored.table.schema(), limits)?;
        for join in joins {
            let other = self.stored(&join.target)?;
            other.json.iter().try_for_each(|row| reducer.push_join(&join.alias, row))?;
        }
        stored.json.iter().try_for_each(|row| reducer.push(row))?;
        Ok(answer_rows(reducer.finish()?, Tail::default()))
    }

    fn check_aggregate(&self, options: &AggregateOptions) -> Result<(), BridgeError> {
        let can = &self.aggregates;
        let refuse = |needed: bool, declared: bool, what: &str| {
            if needed && !declared { Err(unsupported(&self.name, what)) } else { Ok(()) }
        };
        refuse(true, can.supports, "aggregate")?;
        refuse(!options.dimensions.is_empty(), can.group_by, "groupBy")?;
        for dimension in &options.dimensions {
            match &dimension.bucket {
                None => {}
                Some(Bucket::Calendar(_)) => refuse(true, can.time_bucket, "timeBucket")?,
                Some(Bucket::Step(_) | Bucket::Breaks(_)) => {
                    refuse(true, can.numeric_bucket, "numericBucket")?
                }
                Some(Bucket::Geohash { .. }) => refuse(true, can.geohash_bucket, "geohashBucket")?,
                Some(Bucket::H3 { .. }) => refuse(true, can.h3_bucket, "h3Bucket")?,
            }
        }
        for (_, measure) in &options.measures {
            match measure.kind {
                MeasureKind::Count | MeasureKind::First | MeasureKind::Last => {
                    refuse(true, can.count, "count")?
                }
                MeasureKind::CountDistinct => {
                    refuse(true, can.count_distinct != Support::No, "countDistinct")?;
                }
                MeasureKind::Sum | MeasureKind::Rate => refuse(true, can.sum, "sum")?,
                MeasureKind::Avg => refuse(true, can.avg, "avg")?,
                MeasureKind::Min | MeasureKind::Max => refuse(true, can.min_max, "minMax")?,
                MeasureKind::Percentile(_) => refuse(true, can.percentile != Support::No, "percentile")?,
                MeasureKind::TopK(_) => refuse(true, can.top_k, "topK")?,
            }
        }
        refuse(!options.having.is_everything(), can.having_on_aggregates, "having")?;
        let ordered = !options.sort.is_empty() || options.limit.is_some();
        refuse(ordered, can.pushdown_order_limit, "sort and limit")?;
        refuse(options.sample.is_some(), can.sampling, "sample")?;
        refuse(!options.joins.is_empty(), can.joins, "joins")
    }
}

fn known(stored: &Stored, field: &str, column: &str) -> Result<(), BridgeError> {
    match stored.table.column(column) {
        Some(_) => Ok(()),
        None => {
            let expected = format!("a column of {}", stored.table.name);
            Err(Invalid::new(format!("{field}.{column}"), expected).into())
        }
    }
}

fn key_columns(stored: &Stored) -> Vec<String> {
    stored.table.key.iter().map(|name| (*name).to_owned()).collect()
}

fn add_tiebreak(order_by: &mut Vec<OrderBy>, columns: Vec<String>) {
    for field in columns {
        if !order_by.iter().any(|key| key.field == field) {
            order_by.push(OrderBy { field, direction: Direction::Ascending });
        }
    }
}

/// Output names with the places of their columns.
fn outputs(stored: &Stored, projection: &Projection) -> Result<Vec<(String, usize)>, BridgeError> {
    let columns = &stored.table.columns;
    let Some(pairs) = projection.pairs() else {
        return Ok(columns.iter().enumerate().map(|(at, column)| (column.name.to_owned(), at)).collect());
    };
    let place = |(output, name): (&str, &str)| {
        let at = columns.iter().position(|column| column.name == name);
        let field = match projection {
            Projection::Renamed(_) => format!("project.{output}"),
            Projection::All | Projection::Columns(_) => format!("select.{name}"),
        };
        let at = at.ok_or_else(|| Invalid::new(field, format!("a column of {}", stored.table.name)))?;
        Ok((output.to_owned(), at))
    };
    pairs.into_iter().map(place).collect()
}

fn matching(stored: &Stored, layout: &Layout, matcher: &Matcher) -> Result<Vec<(usize, Row)>, BridgeError> {
    let mut found = Vec::new();
    for (at, json) in stored.json.iter().enumerate() {
        let row = layout.read(json)?;
        if matcher.matches(&row) {
            found.push((at, row));
        }
    }
    Ok(found)
}

/// The order's columns of a row, as rows carry them.
fn position(search: &Search<'_>, at: usize) -> Position {
    let stored = search.stored;
    let entry = |key: &OrderBy| {
        let column = stored.table.columns.iter().position(|column| column.name == key.field)?;
        let value = stored.rows.get(at)?.get(column)?;
        (*value != Value::Null).then(|| value.canonical(crate::seed::Decimals::Exact))
    };
    Position(search.order_by.iter().map(entry).collect())
}

/// A row that has only what the cursor says.
fn position_row(search: &Search<'_>, layout: &Layout, cursor: &str) -> Result<Row, BridgeError> {
    let position = Position::decode(cursor, search.order_by.len())?;
    let mut json = serde_json::Map::new();
    for (key, value) in search.order_by.iter().zip(position.0) {
        json.insert(key.field.clone(), value.map_or(serde_json::Value::Null, serde_json::Value::String));
    }
    Ok(layout.read(&serde_json::Value::Object(json).to_string())?)
}

fn shown(row: &[Value], outputs: &[(String, usize)]) -> Vec<Value> {
    outputs.iter().map(|(_, at)| row.get(*at).cloned().unwrap_or(Value::Null)).collect()
}

/// Rows that wait to be written.
struct Found {
    names: Columns,
    rows: VecDeque<Vec<Value>>,
    row_limit: usize,
    tail: Tail,
}

impl Rows for Found {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        ready(self.write(room))
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

impl Found {
    fn write(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        let mut writer = RowWriter::new(self.row_limit);
        while writer.is_empty() || writer.len() < room {
            let Some(row) = self.rows.pop_front() else { break };
            writer.begin_row();
            for (index, value) in row.iter().enumerate() {
                writer.key(&self.names, index);
                write_value(&mut writer, value);
            }
            writer.end_row()?;
        }
        Ok(writer.take())
    }
}

fn write_value(writer: &mut RowWriter, value: &Value) {
    match value {
        Value::Null => writer.null(),
        Value::Bool(value) => writer.boolean(*value),
        Value::Integer(value) => writer.integer_safe(*value),
        Value::Decimal(text) => writer.plain_text(text),
        Value::Double(value) => writer.double(*value),
        Value::Text(text) | Value::Uuid(text) => writer.text(text),
        Value::Date(at) | Value::Timestamp(at) => writer.timestamp(*at),
        Value::Bytes(bytes) => writer.bytes(bytes),
        Value::Json(json) => writer.json(json),
    }
}

/// Nothing until the deadline.
struct Slow {
    _guard: SlowGuard,
    call: Call,
}

impl Rows for Slow {
    fn next(&mut self, _room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        let remaining = self.call.remaining();
        Box::pin(async move {
            tokio::time::sleep(remaining).await;
            Err(BridgeError::Timeout)
        })
    }
}

fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}
