//! Dimensions and measures as aggregations.

use semilayer_plugin::Error;
use semilayer_plugin::options::{
    AggregateOptions, Bucket, CalendarUnit, Dimension, Filter, Measure, MeasureKind,
};
use serde_json::{Map, Value as Json, json};

use super::left;
use crate::introspect::{Field, Index, Kind};

/// What to ask for.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) dimensions: Vec<DimensionPlan>,
    pub(super) measures: Vec<MeasurePlan>,
}

#[derive(Debug)]
pub(super) struct DimensionPlan {
    pub(super) name: String,
    pub(super) how: How,
    /// The field that says which documents have a value.
    presence: String,
    source: Json,
}

/// What a key of a bucket means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum How {
    Value,
    Calendar(CalendarUnit),
    Step(f64),
}

#[derive(Debug)]
pub(super) struct MeasurePlan {
    pub(super) name: String,
    pub(super) kind: MeasureKind,
    /// Whether values are whole numbers.
    pub(super) is_whole: bool,
    aggregation: Json,
}

impl Plan {
    /// `exactly` translates a filter.
    pub(super) fn new(
        options: &AggregateOptions,
        index: &Index,
        exactly: impl Fn(&Filter) -> Result<Json, Error>,
    ) -> Result<Self, Error> {
        let dimensions = options
            .dimensions
            .iter()
            .map(|dimension| DimensionPlan::new(dimension, index))
            .collect::<Result<_, _>>()?;
        let measure = |(name, measure): &(String, Measure)| MeasurePlan::new(name, measure, index, &exactly);
        Ok(Self { dimensions, measures: options.measures.iter().map(measure).collect::<Result<_, _>>()? })
    }

    pub(super) fn has_dimensions(&self) -> bool {
        !self.dimensions.is_empty()
    }

    /// The same documents without those that lack a dimension.
    pub(super) fn with_dimensions(&self, query: &Json) -> Json {
        let present =
            self.dimensions.iter().map(|dimension| json!({"exists": {"field": dimension.presence}}));
        let filters: Vec<Json> = std::iter::once(query.clone()).chain(present).collect();
        json!({"bool": {"filter": filters}})
    }

    /// The aggregations of one request; nothing where the number of documents says it all.
    pub(super) fn aggregations(&self, size: usize, after: Option<&Json>) -> Option<Json> {
        let measures: Map<String, Json> = self
            .measures
            .iter()
            .enumerate()
            .map(|(number, measure)| (format!("m{number}"), measure.aggregation.clone()))
            .collect();
        if !self.has_dimensions() {
            return (!measures.is_empty()).then_some(Json::Object(measures));
        }
        let source =
            |(number, dimension): (usize, &DimensionPlan)| json!({format!("d{number}"): dimension.source});
        let sources: Vec<Json> = self.dimensions.iter().enumerate().map(source).collect();
        let mut composite = json!({"size": size, "sources": sources});
        if let (Some(after), Some(options)) = (after, composite.as_object_mut()) {
            options.insert("after".to_owned(), after.clone());
        }
        let mut buckets = json!({"composite": composite});
        if let (false, Some(options)) = (measures.is_empty(), buckets.as_object_mut()) {
            options.insert("aggs".to_owned(), Json::Object(measures));
        }
        Some(json!({"buckets": buckets}))
    }
}

impl DimensionPlan {
    fn new(dimension: &Dimension, index: &Index) -> Result<Self, Error> {
        let field = index.expect(&dimension.field)?;
        let (source, how) =
            source(&field, dimension.bucket.as_ref()).ok_or_else(|| left("such a dimension"))?;
        let presence = field.presence.clone().ok_or_else(|| left("such a dimension"))?;
        Ok(Self { name: dimension.name.clone(), how, presence, source })
    }
}

/// How a field is grouped by, where what the engine makes of it is what the runner would make of it.
fn source(field: &Field, bucket: Option<&Bucket>) -> Option<(Json, How)> {
    let by = sortable(field)?;
    match (field.kind, bucket) {
        (Kind::Keyword | Kind::Text | Kind::Integer { .. } | Kind::Ip, None) => {
            Some((json!({"terms": {"field": by}}), How::Value))
        }
        (Kind::Date, Some(Bucket::Calendar(unit))) => {
            let interval = json!({"field": by, "calendar_interval": unit.as_str()});
            Some((json!({"date_histogram": interval}), How::Calendar(*unit)))
        }
        // Whole numbers in whole steps: a double makes no error there.
        (Kind::Integer { min, max }, Some(Bucket::Step(step)))
            if step.fract() == 0.0 && is_small(min, max) =>
        {
            Some((json!({"histogram": {"field": by, "interval": step}}), How::Step(*step)))
        }
        _ => None,
    }
}

/// Whether doubles tell all whole numbers of this range apart.
fn is_small(min: i128, max: i128) -> bool {
    min >= -(1 << 53) && max <= 1 << 53
}

fn sortable(field: &Field) -> Option<&str> {
    let exact = field.exact.as_ref()?;
    let is_usable = exact.sortable && exact.indexed && !exact.normalized && !field.has_null_value;
    is_usable.then_some(exact.field.as_str())
}

impl MeasurePlan {
    fn new(
        name: &str,
        measure: &Measure,
        index: &Index,
        exactly: impl Fn(&Filter) -> Result<Json, Error>,
    ) -> Result<Self, Error> {
        let filter = exactly(&measure.filter)?;
        let plan = |is_whole: bool, aggregation: Json| Self {
            name: name.to_owned(),
            kind: measure.kind,
            is_whole,
            aggregation,
        };
        match (measure.kind, &measure.column) {
            (MeasureKind::Count, None) => Ok(plan(true, json!({"filter": filter}))),
            (
                MeasureKind::Sum | MeasureKind::Rate | MeasureKind::Avg | MeasureKind::Min | MeasureKind::Max,
                Some(column),
            ) => {
                let field = index.expect(column)?;
                let by = sortable(&field).ok_or_else(|| left("such a measure"))?;
                let is_whole = match field.kind {
                    Kind::Integer { .. } => true,
                    Kind::Double => false,
                    _ => return Err(left("such a measure")),
                };
                let present = json!({"bool": {"filter": [filter, {"exists": {"field": by}}]}});
                let stats = json!({"stats": {"field": by}});
                Ok(plan(is_whole, json!({"filter": present, "aggs": {"s": stats}})))
            }
            _ => Err(left("such a measure")),
        }
    }
}
