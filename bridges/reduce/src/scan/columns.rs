//! Which columns a job looks at, so that no others are read, and whether the target has them.

use std::collections::{BTreeSet, HashSet};

use protocol::{
    AggregateOptions, Bucket, Dimension, Filter, GeoColumns, Invalid, Join, Measure, MeasureKind, Projection,
    QueryOptions, SearchOptions,
};

use super::Known;
use super::selection::Selection;

/// Columns that are asked for by name; for more, all are.
const MOST: usize = 1_000;

/// The columns to read where these are looked at. Rows without columns cannot be asked for, so it is at least one.
pub(super) fn fields<'a>(known: &'a Known, looked_at: impl IntoIterator<Item = &'a str>) -> Projection {
    let mut names: BTreeSet<&str> = looked_at.into_iter().collect();
    if names.is_empty() {
        names.extend(known.key.iter().chain(known.columns.iter().flatten()).map(String::as_str).next());
    }
    if names.is_empty() || names.len() > MOST {
        return Projection::All;
    }
    Projection::Columns(names.into_iter().map(str::to_owned).collect())
}

pub(super) fn of_selection(known: &Known, selection: &Selection) -> Projection {
    let Some(shown) = shown(&selection.projection) else { return Projection::All };
    let order = selection.order_by.iter().map(|key| key.field.as_str());
    fields(known, selection.filter.condition().fields().into_iter().chain(order).chain(shown))
}

pub(super) fn of_search(known: &Known, options: &SearchOptions) -> Projection {
    let (Some(shown), Some(looked_into)) = (shown(&options.projection), &options.fields) else {
        return Projection::All;
    };
    let looked_into = looked_into.iter().chain(&known.key).map(String::as_str);
    fields(known, options.filter.condition().fields().into_iter().chain(looked_into).chain(shown))
}

pub(super) fn of_aggregate(known: &Known, options: &AggregateOptions) -> Projection {
    let mut names = options.filter.condition().fields();
    names.extend(known.key.iter().filter(|_| !options.ids.is_empty()).map(String::as_str));
    names.extend(options.dimensions.iter().filter(|it| it.from.is_none()).flat_map(of_dimension));
    names.extend(options.measures.iter().flat_map(|(_, measure)| of_measure(measure, options)));
    names.extend(options.joins.iter().map(|join| join.local.as_str()));
    fields(known, names)
}

pub(super) fn of_join(known: &Known, options: &AggregateOptions, join: &Join) -> Projection {
    let theirs = options.dimensions.iter().filter(|it| it.from.as_ref() == Some(&join.alias));
    fields(known, theirs.flat_map(of_dimension).chain([join.foreign.as_str()]))
}

fn shown(projection: &Projection) -> Option<impl Iterator<Item = &str>> {
    Some(projection.pairs()?.into_iter().map(|(_, column)| column))
}

fn of_dimension(dimension: &Dimension) -> Vec<&str> {
    match &dimension.bucket {
        Some(Bucket::Geohash { columns, .. } | Bucket::H3 { columns, .. }) => match columns {
            GeoColumns::LatLng { lat, lng } => vec![lat, lng],
            GeoColumns::Point(point) => vec![point],
        },
        Some(Bucket::Calendar(_) | Bucket::Step(_) | Bucket::Breaks(_)) | None => vec![&dimension.field],
    }
}

fn of_measure<'a>(measure: &'a Measure, options: &'a AggregateOptions) -> Vec<&'a str> {
    let mut names = measure.filter.condition().fields();
    names.extend(measure.column.as_deref());
    if is_ordered(measure) {
        names.extend(options.change_tracking_column.as_deref());
    }
    names
}

/// Whether a measure goes by the tracking column.
fn is_ordered(measure: &Measure) -> bool {
    matches!(measure.kind, MeasureKind::First | MeasureKind::Last)
}

/// The columns of a target, to look names up in.
pub(super) struct Declared<'a> {
    target: &'a str,
    /// Nobody declares them without.
    columns: Option<HashSet<&'a str>>,
}

impl<'a> Declared<'a> {
    pub(super) fn new(known: &'a Known, target: &'a str) -> Self {
        let columns = known.columns.as_ref().map(|columns| columns.iter().map(String::as_str).collect());
        Self { target, columns }
    }

    pub(super) fn check_query(&self, options: &QueryOptions) -> Result<(), Invalid> {
        self.check_filter("where", &options.filter)?;
        for (index, key) in options.order_by.iter().enumerate() {
            self.check(&key.field, || format!("orderBy[{index}].{}", key.field))?;
        }
        for column in options.keyset.iter().filter_map(|keyset| keyset.tiebreak.as_ref()).flatten() {
            self.check(column, || format!("keyset.{column}"))?;
        }
        self.check_projection(&options.projection)
    }

    pub(super) fn check_search(&self, options: &SearchOptions) -> Result<(), Invalid> {
        self.check_filter("where", &options.filter)?;
        for (index, column) in options.fields.iter().flatten().enumerate() {
            self.check(column, || format!("fields[{index}]"))?;
        }
        self.check_projection(&options.projection)
    }

    pub(super) fn check_aggregate(&self, options: &AggregateOptions) -> Result<(), Invalid> {
        self.check_filter("candidatesWhere", &options.filter)?;
        self.check_dimensions(options, None)?;
        for (name, measure) in &options.measures {
            self.check_filter(&format!("measures.{name}.where"), &measure.filter)?;
            if let Some(column) = &measure.column {
                self.check(column, || format!("measures.{name}.column"))?;
            }
        }
        for (index, join) in options.joins.iter().enumerate() {
            self.check(&join.local, || format!("joins[{index}].on.local"))?;
        }
        let in_order = |(_, measure): &(String, Measure)| is_ordered(measure);
        match &options.change_tracking_column {
            Some(column) if options.measures.iter().any(in_order) => {
                self.check(column, || "changeTrackingColumn".to_owned())
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn check_join(&self, options: &AggregateOptions, index: usize) -> Result<(), Invalid> {
        let Some(join) = options.joins.get(index) else { return Ok(()) };
        self.check(&join.foreign, || format!("joins[{index}].on.foreign"))?;
        self.check_dimensions(options, Some(&join.alias))
    }

    pub(super) fn check_filter(&self, field: &str, filter: &Filter) -> Result<(), Invalid> {
        let mut columns = filter.condition().fields().into_iter();
        columns.try_for_each(|column| self.check(column, || format!("{field}.{column}")))
    }

    /// The dimensions of a join, or of the target itself.
    fn check_dimensions(&self, options: &AggregateOptions, from: Option<&String>) -> Result<(), Invalid> {
        for (index, dimension) in options.dimensions.iter().enumerate() {
            if dimension.from.as_ref() == from {
                let mut columns = of_dimension(dimension).into_iter();
                columns
                    .try_for_each(|column| self.check(column, || format!("dimensions[{index}].{column}")))?;
            }
        }
        Ok(())
    }

    fn check_projection(&self, projection: &Projection) -> Result<(), Invalid> {
        let mut pairs = projection.pairs().into_iter().flatten();
        pairs.try_for_each(|(name, column)| {
            self.check(column, || match projection {
                Projection::Renamed(_) => format!("project.{name}"),
                Projection::All | Projection::Columns(_) => format!("select.{column}"),
            })
        })
    }

    fn check(&self, column: &str, field: impl FnOnce() -> String) -> Result<(), Invalid> {
        match &self.columns {
            Some(columns) if !columns.contains(column) => {
                Err(Invalid::new(field(), format!("a column of {}", self.target)))
            }
            Some(_) | None => Ok(()),
        }
    }
}
