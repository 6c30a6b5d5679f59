//! Aggregates that the runner computes: the server filters, samples and sends the fields that are needed, the reducer
//! groups and measures within its limit of memory.

use bridge_core::{BridgeError, Call, Columns, RowBatch, RowWriter};
use bridge_reduce::{Limits, Reducer};
use mongodb::bson::{Document, RawDocument, doc};
use protocol::{AggregateOptions, Bucket, Filter, GeoColumns, Invalid, MeasureKind};

use super::{Operation, each};
use crate::connect::Pool;
use crate::introspect::Collection;
use crate::translate::{candidates, check_measure, needed};
use crate::values::{self, Numbers};

/// A joined collection, in the order of the options.
pub(crate) struct Joined<'a> {
    pub(crate) target: &'a str,
    pub(crate) collection: &'a Collection,
}

/// Runs an aggregate over the rows of a collection.
pub(crate) async fn reduce(
    pool: &Pool,
    call: &Call,
    target: &str,
    collection: &Collection,
    joined: &[Joined<'_>],
    options: AggregateOptions,
) -> Result<Vec<RowBatch>, BridgeError> {
    let mut reducer = reducer(collection, call, &options)?;
    let rows = Sheet::of(base_columns(&options));
    check(collection, joined, &options)?;
    for (join, other) in options.joins.iter().zip(joined) {
        let sheet = Sheet::of(joined_columns(&options, &join.alias, &join.foreign));
        let stages = vec![doc! {"$project": sheet.projection()}];
        let operation = Operation::Aggregate { collection: other.target.to_owned(), pipeline: stages };
        each(pool, call, operation, |document| Ok(reducer.push_join(&join.alias, &sheet.json(document)?)?))
            .await?;
    }
    let mut stages = candidates(&collection.fields, &options)?;
    stages.push(doc! {"$project": rows.projection()});
    let operation = Operation::Aggregate { collection: target.to_owned(), pipeline: stages };
    each(pool, call, operation, |document| Ok(reducer.push(&rows.json(document)?)?)).await?;
    reducer.finish()
}

/// The buckets over no rows at all.
pub(crate) fn of_nothing(
    collection: &Collection,
    call: &Call,
    options: &AggregateOptions,
) -> Result<Vec<RowBatch>, BridgeError> {
    reducer(collection, call, options)?.finish()
}

/// What the server has done is not done again.
fn reducer(collection: &Collection, call: &Call, options: &AggregateOptions) -> Result<Reducer, BridgeError> {
    let rest =
        AggregateOptions { filter: Filter::everything(), sample: None, ids: Vec::new(), ..options.clone() };
    let limits = Limits { row: call.row_limit, ..Limits::default() };
    Ok(Reducer::new(rest, collection.reduced_schema(), limits)?)
}

fn check(collection: &Collection, joined: &[Joined<'_>], options: &AggregateOptions) -> Result<(), Invalid> {
    for (index, dimension) in options.dimensions.iter().enumerate() {
        let from =
            dimension.from.as_ref().and_then(|alias| options.joins.iter().position(|it| it.alias == *alias));
        let source = from.and_then(|at| joined.get(at)).map_or(collection, |joined| joined.collection);
        for column in columns_of(dimension) {
            source.fields.check(column).map_err(|it| it.within(&format!("dimensions[{index}]")))?;
        }
    }
    for (name, measure) in &options.measures {
        let checked = check_measure(&collection.fields, measure, options.change_tracking_column.as_deref());
        checked.map_err(|invalid| invalid.within(&format!("measures.{name}")))?;
    }
    for (index, (join, other)) in options.joins.iter().zip(joined).enumerate() {
        let within = |invalid: Invalid| invalid.within(&format!("joins[{index}].on"));
        collection.fields.check(&join.local).map_err(within)?;
        other.collection.fields.check(&join.foreign).map_err(within)?;
    }
    Ok(())
}

/// The columns that a dimension reads.
fn columns_of(dimension: &protocol::Dimension) -> Vec<&str> {
    match &dimension.bucket {
        Some(Bucket::Geohash { columns, .. } | Bucket::H3 { columns, .. }) => match columns {
            GeoColumns::LatLng { lat, lng } => vec![lat, lng],
            GeoColumns::Point(point) => vec![point],
        },
        Some(Bucket::Calendar(_) | Bucket::Step(_) | Bucket::Breaks(_)) | None => vec![&dimension.field],
    }
}

fn base_columns(options: &AggregateOptions) -> Vec<&str> {
    let own = options.dimensions.iter().filter(|dimension| dimension.from.is_none());
    let mut columns: Vec<&str> = own.flat_map(columns_of).collect();
    for (_, measure) in &options.measures {
        columns.extend(measure.column.as_deref());
        columns.extend(measure.filter.condition().fields());
        if matches!(measure.kind, MeasureKind::First | MeasureKind::Last) {
            columns.extend(options.change_tracking_column.as_deref());
        }
    }
    columns.extend(options.joins.iter().map(|join| join.local.as_str()));
    columns
}

fn joined_columns<'a>(options: &'a AggregateOptions, alias: &str, foreign: &'a str) -> Vec<&'a str> {
    let theirs = options.dimensions.iter().filter(|dimension| dimension.from.as_deref() == Some(alias));
    theirs.flat_map(columns_of).chain([foreign]).collect()
}

/// The columns of rows for the reducer.
struct Sheet<'a> {
    paths: Vec<&'a str>,
    columns: Columns,
}

impl<'a> Sheet<'a> {
    fn of(mut paths: Vec<&'a str>) -> Self {
        paths.sort_unstable();
        paths.dedup();
        Self { columns: Columns::new(paths.iter().copied()), paths }
    }

    /// A projection of nothing would be one of everything.
    fn projection(&self) -> Document {
        if self.paths.is_empty() {
            doc! {"_id": 1}
        } else {
            needed(self.paths.iter().copied())
        }
    }

    /// A flat row, in which every number has all its digits.
    fn json(&self, document: &RawDocument) -> Result<String, BridgeError> {
        let mut writer = RowWriter::new(usize::MAX);
        writer.begin_row();
        for (index, path) in self.paths.iter().enumerate() {
            writer.key(&self.columns, index);
            values::write_path(&mut writer, document, path, Numbers::Literal)?;
        }
        writer.end_row()?;
        Ok(writer.into_text())
    }
}
