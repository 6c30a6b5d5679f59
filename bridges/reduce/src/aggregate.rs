//! Groups rows into buckets and measures them, within a limit of memory.

mod accumulator;
mod plan;

use std::collections::HashMap;
use std::hash::{BuildHasher, Hasher};

use bridge_core::{BridgeError, Columns, RowBatch, RowWriter};
use protocol::{AggregateOptions, Invalid, Measure, SortKey};
use serde_json::value::RawValue;

use crate::ReduceError;
use crate::layout::{Layout, Row, Schema};
use crate::matcher::Matcher;
use crate::order::{self, Nulls};
use crate::values::{Number, Value};
use accumulator::Accumulator;
use plan::{Dim, Plan};

/// What a reducer may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes for buckets, measures and joined rows, about.
    pub memory: usize,
    /// Bytes of one bucket as JSON.
    pub row: usize,
}

impl Default for Limits {
    /// 256 MiB, and the largest row that a job may answer.
    fn default() -> Self {
        Self { memory: 256 * 1024 * 1024, row: protocol::ROW_LIMIT_BYTES }
    }
}

/// Takes rows, gives buckets.
///
/// With joins, the rows of the other tables come first: [`push_join`](Self::push_join), then [`push`](Self::push).
#[derive(Debug)]
pub struct Reducer {
    options: AggregateOptions,
    plan: Plan,
    joined: Vec<HashMap<Value, Vec<Row>>>,
    groups: Groups,
    sample: Option<Sample>,
    limits: Limits,
}

impl Reducer {
    /// Makes ready for rows of a target with that schema. Refuses what cannot be done here: H3 cells, `ids` without a
    /// key of one column, filters on `top_k`.
    pub fn new(options: AggregateOptions, schema: Schema, limits: Limits) -> Result<Self, ReduceError> {
        let plan = Plan::new(&options, schema)?;
        Ok(Self {
            joined: options.joins.iter().map(|_| HashMap::new()).collect(),
            groups: Groups::new(limits.memory),
            sample: options.sample.map(Sample::new),
            plan,
            options,
            limits,
        })
    }

    /// The same when it turns out what the target's columns hold, before its first row. Joined rows stay.
    pub fn with_schema(mut self, schema: Schema) -> Result<Self, ReduceError> {
        let plan = Plan::new(&self.options, schema)?;
        self.plan = Plan { joins: self.plan.joins, ..plan };
        Ok(self)
    }

    /// Says what the columns of a joined table hold, before its first row.
    pub fn describe_join(&mut self, alias: &str, schema: Schema) {
        let index = self.options.joins.iter().position(|join| join.alias == alias);
        if let Some(join) = index.and_then(|index| self.plan.joins.get_mut(index)) {
            join.layout = std::mem::take(&mut join.layout).with_schema(schema);
        }
    }

    /// Takes a row of a joined table, as a JSON object.
    pub fn push_join(&mut self, alias: &str, row: &str) -> Result<(), ReduceError> {
        let index = self.options.joins.iter().position(|join| join.alias == alias);
        let found = index.and_then(|index| Some((self.plan.joins.get(index)?, self.joined.get_mut(index)?)));
        let Some((join, rows)) = found else {
            return Err(Invalid::new("joins", format!("a join called {alias}")).into());
        };
        let row = join.layout.read(row)?;
        let key = row.get(join.foreign).cloned().unwrap_or(Value::Null);
        if !key.is_null() {
            self.groups.budget.take(row.iter().map(Value::size).sum::<usize>() + key.size())?;
            rows.entry(key).or_default().push(row);
        }
        Ok(())
    }

    /// Takes a row of the target, as a JSON object.
    pub fn push(&mut self, row: &str) -> Result<(), ReduceError> {
        let row = self.plan.layout.read(row)?;
        if !self.plan.filter.matches(&row) || !self.plan.ids.matches(&row) {
            return Ok(());
        }
        if self.sample.as_mut().is_some_and(|sample| !sample.keeps()) {
            return Ok(());
        }
        let mut chosen = Vec::with_capacity(self.joined.len());
        expand(&self.plan, &self.joined, &mut self.groups, &self.options, &row, &mut chosen)
    }

    /// Takes all rows of a batch.
    pub fn push_batch(&mut self, batch: &RowBatch) -> Result<(), ReduceError> {
        let list = format!("[{}]", batch.rows);
        let rows: Vec<&RawValue> = serde_json::from_str(&list).map_err(ReduceError::Row)?;
        rows.into_iter().try_for_each(|row| self.push(row.get()))
    }

    /// The buckets: filtered by `having`, sorted and limited.
    pub fn finish(self) -> Result<Vec<RowBatch>, BridgeError> {
        let Self { options, groups, limits, .. } = self;
        let mut buckets = finished(&options, groups);
        retain_having(&options, &mut buckets);
        sort(&options.sort, &options, &mut buckets);
        if let Some(limit) = options.limit {
            buckets.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        }
        write(&options, &buckets, limits.row)
    }
}

/// Visits the row once for each combination of joined rows; a row without a partner is visited with none.
fn expand<'a>(
    plan: &Plan,
    joined: &'a [HashMap<Value, Vec<Row>>],
    groups: &mut Groups,
    options: &AggregateOptions,
    row: &[Value],
    chosen: &mut Vec<Option<&'a [Value]>>,
) -> Result<(), ReduceError> {
    let next = plan.joins.get(chosen.len()).zip(joined.get(chosen.len()));
    let Some((join, partners)) = next else { return groups.add(plan, options, row, chosen) };
    let partners = row.get(join.local).and_then(|key| partners.get(key)).map_or(&[][..], Vec::as_slice);
    if partners.is_empty() {
        chosen.push(None);
        expand(plan, joined, groups, options, row, chosen)?;
        chosen.pop();
    }
    for partner in partners {
        chosen.push(Some(partner));
        expand(plan, joined, groups, options, row, chosen)?;
        chosen.pop();
    }
    Ok(())
}

/// The buckets as they grow.
#[derive(Debug)]
struct Groups {
    index: HashMap<Vec<Dim>, usize>,
    groups: Vec<Group>,
    budget: Budget,
}

#[derive(Debug)]
struct Group {
    count: u64,
    measures: Vec<Accumulator>,
}

impl Groups {
    fn new(memory: usize) -> Self {
        Self { index: HashMap::new(), groups: Vec::new(), budget: Budget { limit: memory, used: 0 } }
    }

    fn add(
        &mut self,
        plan: &Plan,
        options: &AggregateOptions,
        row: &[Value],
        joined: &[Option<&[Value]>],
    ) -> Result<(), ReduceError> {
        // A row of which any dimension is null is in no bucket.
        let dims: Option<Vec<Dim>> = plan.dimensions.iter().map(|it| it.of(row, joined)).collect();
        let Some(dims) = dims else { return Ok(()) };
        let at = self.place(dims, options)?;
        let Some(group) = self.groups.get_mut(at) else { return Ok(()) };
        group.count += 1;
        for (measure, accumulator) in plan.measures.iter().zip(&mut group.measures) {
            if measure.filter.matches(row) {
                let grown = accumulator.add(measure.value(row), measure.order(row));
                self.budget.take(grown)?;
            }
        }
        Ok(())
    }

    fn place(&mut self, dims: Vec<Dim>, options: &AggregateOptions) -> Result<usize, ReduceError> {
        if let Some(at) = self.index.get(&dims) {
            return Ok(*at);
        }
        let group = Group::new(options);
        self.budget.take(group.size() + dims.iter().map(Dim::size).sum::<usize>())?;
        let at = self.groups.len();
        self.groups.push(group);
        self.index.insert(dims, at);
        Ok(at)
    }
}

impl Group {
    fn new(options: &AggregateOptions) -> Self {
        let accumulator = |(_, measure): &(String, Measure)| Accumulator::new(measure.kind);
        Self { count: 0, measures: options.measures.iter().map(accumulator).collect() }
    }

    fn size(&self) -> usize {
        2 * size_of::<Self>() + self.measures.len() * size_of::<Accumulator>()
    }
}

#[derive(Debug)]
struct Budget {
    limit: usize,
    used: usize,
}

impl Budget {
    fn take(&mut self, bytes: usize) -> Result<(), ReduceError> {
        self.used = self.used.saturating_add(bytes);
        if self.used > self.limit { Err(ReduceError::Memory { limit: self.limit }) } else { Ok(()) }
    }
}

/// Keeps each row with the same chance. Splitmix64, seeded by the standard library's random hasher.
#[derive(Debug)]
struct Sample {
    rate: f64,
    state: u64,
}

impl Sample {
    fn new(rate: f64) -> Self {
        Self { rate, state: std::hash::RandomState::new().build_hasher().finish() }
    }

    fn keeps(&mut self) -> bool {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(0);
        f64::from(high) / (f64::from(u32::MAX) + 1.0) < self.rate
    }
}

/// A bucket with its measures computed.
struct Bucket {
    dims: Vec<Dim>,
    measures: Vec<Measured>,
    count: u64,
}

/// What a measure came to.
enum Measured {
    One(Value),
    Top(Vec<(String, u64)>),
}

fn finished(options: &AggregateOptions, groups: Groups) -> Vec<Bucket> {
    let Groups { index, mut groups, .. } = groups;
    let mut placed: Vec<(Vec<Dim>, usize)> = index.into_iter().collect();
    placed.sort_by_key(|(_, at)| *at);
    // Nothing grouped is one bucket, also over no rows: as in SQL.
    if options.dimensions.is_empty() && groups.is_empty() {
        placed.push((Vec::new(), 0));
        groups.push(Group::new(options));
    }
    let finish = |((dims, _), group): ((Vec<Dim>, usize), Group)| Bucket {
        dims,
        measures: group.measures.into_iter().map(Accumulator::finish).collect(),
        count: group.count,
    };
    placed.into_iter().zip(groups).map(finish).collect()
}

fn retain_having(options: &AggregateOptions, buckets: &mut Vec<Bucket>) {
    if options.having.is_everything() {
        return;
    }
    let mut layout = Layout::default();
    let having = Matcher::new(&options.having, &mut layout);
    let names: Vec<&str> = options.having.condition().fields();
    let slots: Vec<(usize, &str)> = names.into_iter().map(|name| (layout.slot(name), name)).collect();
    buckets.retain(|bucket| {
        let mut row = vec![Value::Null; slots.len()];
        for (slot, name) in &slots {
            if let Some(place) = row.get_mut(*slot) {
                *place = bucket.value(options, name).unwrap_or(Value::Null);
            }
        }
        having.matches(&row)
    });
}

/// Keys that name nothing are passed over. Equal buckets stay in the order in which their first rows came.
fn sort(keys: &[SortKey], options: &AggregateOptions, buckets: &mut [Bucket]) {
    buckets.sort_by(|left, right| {
        let by_key = |key: &SortKey| {
            let value = |bucket: &Bucket| bucket.sort_value(options, &key.key).unwrap_or(Value::Null);
            order::compare(&value(left), &value(right), key.direction, Nulls::Largest)
        };
        keys.iter().map(by_key).find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
    });
}

impl Bucket {
    /// `count` or a measure of one value.
    fn value(&self, options: &AggregateOptions, name: &str) -> Option<Value> {
        if name == "count" {
            return Some(integer(self.count));
        }
        let at = options.measures.iter().position(|(measure, _)| measure == name)?;
        match self.measures.get(at)? {
            Measured::One(value) => Some(value.clone()),
            Measured::Top(_) => None,
        }
    }

    fn sort_value(&self, options: &AggregateOptions, name: &str) -> Option<Value> {
        self.value(options, name).or_else(|| {
            let at = options.dimensions.iter().position(|dimension| dimension.name == name)?;
            self.dims.get(at).map(Dim::order)
        })
    }
}

fn integer(value: u64) -> Value {
    Value::Number(Number::Integer(i64::try_from(value).unwrap_or(i64::MAX)))
}

fn write(options: &AggregateOptions, buckets: &[Bucket], limit: usize) -> Result<Vec<RowBatch>, BridgeError> {
    let columns = Columns::new(["dims", "measures", "count"]);
    let mut writer = RowWriter::new(limit);
    let mut batches = Vec::new();
    for bucket in buckets {
        writer.begin_row();
        writer.key(&columns, 0);
        writer.begin_object();
        for (dimension, dim) in options.dimensions.iter().zip(&bucket.dims) {
            writer.object_key(&dimension.name);
            dim.write(&mut writer);
        }
        writer.end_object();
        writer.key(&columns, 1);
        writer.begin_object();
        for ((name, _), measured) in options.measures.iter().zip(&bucket.measures) {
            writer.object_key(name);
            measured.write(&mut writer);
        }
        writer.end_object();
        writer.key(&columns, 2);
        writer.unsigned_safe(bucket.count);
        writer.end_row()?;
        if writer.len() >= protocol::CHUNK_BYTES {
            batches.extend(writer.take());
        }
    }
    batches.extend(writer.take());
    Ok(batches)
}

impl Measured {
    fn write(&self, writer: &mut RowWriter) {
        match self {
            Self::One(value) => write_value(writer, value),
            Self::Top(entries) => {
                writer.begin_array();
                for (key, count) in entries {
                    writer.begin_object();
                    writer.object_key("key");
                    writer.text(key);
                    writer.object_key("count");
                    writer.unsigned_safe(*count);
                    writer.end_object();
                }
                writer.end_array();
            }
        }
    }
}

/// Numbers as numbers while no digit is lost, otherwise as text.
fn write_value(writer: &mut RowWriter, value: &Value) {
    match value {
        Value::Null => writer.null(),
        Value::Bool(value) => writer.boolean(*value),
        Value::Number(number) if !number.is_safe() => writer.plain_text(&number.to_string()),
        Value::Number(Number::Integer(integer)) => writer.integer(*integer),
        Value::Number(number @ Number::Decimal(_)) => writer.double(number.as_f64()),
        Value::Text(text) => writer.text(text),
        Value::Timestamp(timestamp) => writer.timestamp(*timestamp),
        Value::Bytes(bytes) => writer.bytes(bytes),
        Value::Json(json) => writer.json(json),
    }
}

#[cfg(test)]
mod tests;
