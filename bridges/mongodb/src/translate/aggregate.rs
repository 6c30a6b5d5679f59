//! Aggregates as a pipeline: match, sample, group, then what is done with buckets.
//!
//! Every value goes through an expression that gives it the meaning it has in SQL and in rows: numbers are coerced, what
//! JSON cannot say is null, null is in no bucket and in no measure.

use bridge_core::js_number;
use bridge_reduce::calendar_label;
use mongodb::bson::{Bson, Document, doc};
use protocol::{
    AggregateOptions, Bucket, CalendarUnit, Dimension, Direction, Filter, Invalid, Measure, MeasureKind,
    Timestamp,
};

use super::expression::{expression, is_null, is_something};
use super::filter::Named;
use super::operand::{decimal, equals};
use super::{ID, field, literal, matching};
use crate::introspect::Fields;

/// A pipeline, and what its documents mean.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct BucketPlan {
    pub(crate) pipeline: Vec<Document>,
    /// In the order of the options: the path of each part of a bucket, its output name, and how it is read.
    pub(crate) parts: Vec<(Part, String, String, Decode)>,
    /// Nothing is grouped: the server answers no bucket over no rows, where SQL has one.
    pub(crate) ungrouped: bool,
}

/// Where a value stands in a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Dimension,
    Measure,
}

/// How a bucket's value becomes JSON.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Decode {
    /// As rows carry it.
    Value,
    /// A number where no digit is lost.
    Number,
    /// The first instant of a calendar unit.
    Calendar(CalendarUnit),
    /// The index of a step.
    Step(f64),
    /// The index of an interval.
    Breaks(Vec<f64>),
}

impl Decode {
    /// The name of a numeric bucket by its index.
    pub(crate) fn interval(&self, index: f64) -> Option<String> {
        let (lower, upper) = match self {
            Self::Step(step) => (index * step, index * step + step),
            Self::Breaks(breaks) => breaks.windows(2).zip(0_u32..).find_map(|(pair, at)| match pair {
                [lower, upper] if f64::from(at) == index => Some((*lower, *upper)),
                _ => None,
            })?,
            Self::Value | Self::Number | Self::Calendar(_) => return None,
        };
        Some(format!("{}..{}", js_number(lower), js_number(upper)))
    }

    /// The name of a calendar bucket by its first instant.
    pub(crate) fn label(&self, ms: i64) -> Option<String> {
        match self {
            Self::Calendar(unit) => {
                Some(calendar_label(*unit, Timestamp::from_micros(ms.checked_mul(1_000)?)))
            }
            Self::Value | Self::Number | Self::Step(_) | Self::Breaks(_) => None,
        }
    }
}

/// Whether the runner must reduce rows: exact percentiles and cells are not among the server's operators, the most
/// frequent values of a bucket are not bounded there, and joined rows are looked up here.
pub(crate) fn is_reduced(options: &AggregateOptions) -> bool {
    let cell =
        |dimension: &Dimension| matches!(dimension.bucket, Some(Bucket::Geohash { .. } | Bucket::H3 { .. }));
    let gathered = |(_, measure): &(String, Measure)| {
        matches!(measure.kind, MeasureKind::Percentile(_) | MeasureKind::TopK(_))
    };
    // Without groups, buckets are filtered here, because the server has none where nothing matches.
    !options.joins.is_empty()
        || options.dimensions.iter().any(cell)
        || options.measures.iter().any(gathered)
        || (options.dimensions.is_empty() && !options.having.is_everything())
}

/// The stages that choose rows: filter, keys, sample.
pub(crate) fn candidates(fields: &Fields, options: &AggregateOptions) -> Result<Vec<Document>, Invalid> {
    let path = |name: &str| fields.named(name);
    let within = |invalid: Invalid| invalid.within("candidatesWhere");
    let mut stages = vec![doc! {"$match": matching(&options.filter, &path).map_err(within)?}];
    if !options.ids.is_empty() {
        let ids: Vec<Bson> = options.ids.iter().flat_map(|id| equals(id, fields.forms(ID))).collect();
        stages.push(doc! {"$match": {ID: {"$in": ids}}});
    }
    if let Some(rate) = options.sample {
        stages.push(doc! {"$match": {"$expr": {"$lt": [{"$rand": {}}, rate]}}});
    }
    Ok(stages)
}

/// The pipeline of an aggregate that [`is_reduced`] does not speak of.
pub(crate) fn aggregate(fields: &Fields, options: &AggregateOptions) -> Result<BucketPlan, Invalid> {
    let mut builder = Builder::new(options);
    let mut pipeline = candidates(fields, options)?;
    for (index, dimension) in options.dimensions.iter().enumerate() {
        fields.check(&dimension.field).map_err(|it| it.within(&format!("dimensions[{index}]")))?;
        builder.dimension(index, dimension);
    }
    for (index, (name, measure)) in options.measures.iter().enumerate() {
        let checked = check_measure(fields, measure, options.change_tracking_column.as_deref());
        let added = checked.and_then(|()| builder.measure(index, name, measure));
        added.map_err(|invalid| invalid.within(&format!("measures.{name}")))?;
    }
    pipeline.extend(builder.grouping());
    pipeline.extend(builder.finishing()?);
    Ok(BucketPlan { pipeline, parts: builder.parts, ungrouped: options.dimensions.is_empty() })
}

/// Refuses columns that the collection cannot have.
pub(crate) fn check_measure(
    fields: &Fields,
    measure: &Measure,
    tracking: Option<&str>,
) -> Result<(), Invalid> {
    if let Some(column) = &measure.column {
        fields.check(column).map_err(|invalid| invalid.within("column"))?;
    }
    if let (MeasureKind::First | MeasureKind::Last, Some(tracking)) = (measure.kind, tracking) {
        fields.check(tracking)?;
    }
    measure
        .filter
        .condition()
        .fields()
        .into_iter()
        .try_for_each(|name| fields.check(name).map_err(|it| it.within("where")))
}

struct Builder<'a> {
    options: &'a AggregateOptions,
    groups: Document,
    accumulators: Document,
    /// What measures become once their bucket is complete.
    finished: Document,
    parts: Vec<(Part, String, String, Decode)>,
}

impl<'a> Builder<'a> {
    fn new(options: &'a AggregateOptions) -> Self {
        Self {
            options,
            groups: Document::new(),
            accumulators: doc! {"n": {"$sum": 1}},
            finished: Document::new(),
            parts: Vec::new(),
        }
    }

    fn dimension(&mut self, index: usize, dimension: &Dimension) {
        let column = field(&dimension.field);
        let (group, decode) = match &dimension.bucket {
            Some(Bucket::Calendar(unit)) => (truncated(&column, *unit), Decode::Calendar(*unit)),
            Some(Bucket::Step(step)) => (step_index(&column, *step), Decode::Step(*step)),
            Some(Bucket::Breaks(breaks)) => (breaks_index(&column, breaks), Decode::Breaks(breaks.clone())),
            // Cells are reduced.
            Some(Bucket::Geohash { .. } | Bucket::H3 { .. }) | None => (sayable(&column), Decode::Value),
        };
        self.groups.insert(format!("d{index}"), group);
        self.parts.push((Part::Dimension, format!("_id.d{index}"), dimension.name.clone(), decode));
    }

    fn measure(&mut self, index: usize, name: &str, measure: &Measure) -> Result<(), Invalid> {
        let key = format!("m{index}");
        let column = field(measure.column.as_deref().unwrap_or(ID));
        let filter = expression(&measure.filter).map_err(|invalid| invalid.within("where"))?;
        // What a row that is not counted gives: nothing that any accumulator takes.
        let only = |value: Bson| match &filter {
            Some(filter) => doc! {"$cond": [filter.clone(), value, null]}.into(),
            None => value,
        };
        let mut decode = Decode::Number;
        match measure.kind {
            MeasureKind::Count => {
                let one = filter
                    .as_ref()
                    .map_or(Bson::Int32(1), |filter| doc! {"$cond": [filter.clone(), 1, 0]}.into());
                self.accumulators.insert(&key, doc! {"$sum": one});
            }
            MeasureKind::Sum | MeasureKind::Rate => self.sum(index, only(number(&column))),
            MeasureKind::Avg => {
                self.accumulators.insert(&key, doc! {"$avg": only(number(&column))});
            }
            MeasureKind::Min | MeasureKind::Max => {
                let operator = if measure.kind == MeasureKind::Min { "$min" } else { "$max" };
                self.accumulators.insert(&key, doc! {operator: only(sayable(&column))});
            }
            MeasureKind::CountDistinct => {
                self.accumulators.insert(&key, doc! {"$addToSet": only(sayable(&column))});
                let some = doc! {"$setDifference": [field(&key), [null]]};
                self.finished.insert(&key, doc! {"$size": some});
            }
            MeasureKind::First | MeasureKind::Last => {
                let operator = if measure.kind == MeasureKind::First { "$min" } else { "$max" };
                let tracking =
                    self.options.change_tracking_column.as_deref().map_or_else(|| column.clone(), field);
                self.accumulators.insert(&key, doc! {operator: only(at(&tracking, &column))});
                self.finished.insert(&key, format!("${key}.value"));
            }
            // These are reduced.
            MeasureKind::Percentile(_) | MeasureKind::TopK(_) => decode = Decode::Value,
        }
        self.parts.push((Part::Measure, key, name.to_owned(), decode));
        Ok(())
    }

    /// The server's sum of nothing is 0, SQL's is null.
    fn sum(&mut self, index: usize, value: Bson) {
        let (key, terms) = (format!("m{index}"), format!("k{index}"));
        let is_term = doc! {"$cond": [is_something(&value), 1, 0]};
        self.accumulators.insert(&key, doc! {"$sum": value});
        self.accumulators.insert(&terms, doc! {"$sum": is_term});
        self.finished.insert(&key, doc! {"$cond": [{"$eq": [field(&terms), 0]}, null, field(&key)]});
    }

    fn grouping(&self) -> Vec<Document> {
        let id = if self.groups.is_empty() { Bson::Null } else { Bson::Document(self.groups.clone()) };
        let mut group = doc! {ID: id};
        group.extend(self.accumulators.clone());
        let mut stages = vec![doc! {"$group": group}];
        if !self.groups.is_empty() {
            let kept: Vec<Document> =
                self.groups.keys().map(|key| is_something(&field(&format!("_id.{key}")))).collect();
            stages.push(doc! {"$match": {"$expr": {"$and": kept}}});
        }
        if !self.finished.is_empty() {
            stages.push(doc! {"$set": self.finished.clone()});
        }
        stages
    }

    /// Having, sort and limit of buckets.
    fn finishing(&self) -> Result<Vec<Document>, Invalid> {
        let mut stages = Vec::new();
        if !self.options.having.is_everything() {
            stages.push(doc! {"$match": self.having(&self.options.having)?});
        }
        stages.extend(self.sorting());
        // The server has no limit of 0, and the caller asks it for nothing then.
        if let Some(limit) = self.options.limit.filter(|limit| *limit > 0) {
            stages.push(doc! {"$limit": i64::try_from(limit).unwrap_or(i64::MAX)});
        }
        Ok(stages)
    }

    fn having(&self, having: &Filter) -> Result<Document, Invalid> {
        let path = |name: &str| {
            let key = self.bucket_key(name, Part::Measure);
            key.map(Named::any).ok_or_else(|| Invalid::new(name, "count or the name of a measure"))
        };
        matching(having, &path).map_err(|invalid| invalid.within("having"))
    }

    /// Nulls are the largest, as the other bridges have it. Keys that name nothing are passed over.
    fn sorting(&self) -> Vec<Document> {
        let mut helpers = Document::new();
        let mut sort = Document::new();
        for key in &self.options.sort {
            let found = self
                .bucket_key(&key.key, Part::Measure)
                .or_else(|| self.bucket_key(&key.key, Part::Dimension));
            let Some(path) = found else { continue };
            let sign = if key.direction == Direction::Ascending { 1 } else { -1 };
            let helper = format!("s{}", helpers.len());
            helpers.insert(&helper, doc! {"$cond": [is_null(&field(&path)), 1, 0]});
            sort.insert(helper, sign);
            sort.insert(path, sign);
        }
        if sort.is_empty() {
            return Vec::new();
        }
        // Equal buckets come in one order, whichever way the server grouped them.
        if !sort.keys().any(|key| key == ID || key.starts_with("_id.")) {
            sort.insert(ID, 1);
        }
        vec![doc! {"$set": helpers}, doc! {"$sort": sort}]
    }

    fn bucket_key(&self, name: &str, part: Part) -> Option<String> {
        if name == "count" && part == Part::Measure {
            return Some("n".to_owned());
        }
        let found = self.parts.iter().find(|(its, _, output, _)| *its == part && output == name);
        found.map(|(_, path, _, _)| path.clone())
    }
}

/// The value, or null where JSON has none: for doubles and decimals that are no finite number.
fn sayable(column: &Bson) -> Bson {
    let unsayable =
        literal(vec![Bson::Double(f64::NAN), Bson::Double(f64::INFINITY), Bson::Double(f64::NEG_INFINITY)]);
    doc! {"$cond": [{"$in": [column.clone(), unsayable]}, null, column.clone()]}.into()
}

/// The value as a finite number: numbers, and texts that are numbers.
fn number(column: &Bson) -> Bson {
    let converted =
        doc! {"$convert": {"input": column.clone(), "to": "decimal", "onError": null, "onNull": null}};
    // Texts say the infinities and not-a-number too.
    let text = Bson::from("$$read");
    let read = doc! {"$let": {
        "vars": {"read": converted}, "in": {"$cond": [is_finite(&text), text, null]},
    }};
    let is_text = doc! {"$eq": [{"$type": column.clone()}, "string"]};
    doc! {"$switch": {
        "branches": [{"case": is_finite(column), "then": column.clone()}, {"case": is_text, "then": read}],
        "default": null,
    }}
    .into()
}

/// Between the infinities stands nothing but numbers, and not-a-number stands below.
fn is_finite(value: &Bson) -> Document {
    doc! {"$and": [{"$gt": [value.clone(), f64::NEG_INFINITY]}, {"$lt": [value.clone(), f64::INFINITY]}]}
}

/// The value as an instant: dates, texts that are dates, and numbers of milliseconds.
fn instant(column: &Bson) -> Bson {
    let kinds = literal(["date", "string", "int", "long", "double", "decimal"].map(Bson::from).to_vec());
    let is_instant = doc! {"$in": [{"$type": column.clone()}, kinds]};
    // The server converts every type of number but this one.
    let is_int = doc! {"$eq": [{"$type": column.clone()}, "int"]};
    let input = doc! {"$cond": [is_int, {"$toLong": column.clone()}, column.clone()]};
    let read = doc! {"$convert": {"input": input, "to": "date", "onError": null, "onNull": null}};
    doc! {"$cond": [is_instant, read, null]}.into()
}

/// The first instant of its calendar unit, in UTC; weeks are those of ISO 8601.
fn truncated(column: &Bson, unit: CalendarUnit) -> Bson {
    let mut options = doc! {"date": instant(column), "unit": unit.as_str()};
    if unit == CalendarUnit::Week {
        options.insert("startOfWeek", "monday");
    }
    doc! {"$dateTrunc": options}.into()
}

/// Numbers as decimals, in which steps and bounds are what people write: a double of 0.3 is in the third step of 0.1.
fn as_decimal(column: &Bson) -> Bson {
    doc! {"$convert": {"input": number(column), "to": "decimal", "onError": null, "onNull": null}}.into()
}

fn exact(bound: f64) -> Bson {
    decimal(&js_number(bound).replace("e+", "E")).unwrap_or(Bson::Double(bound))
}

fn step_index(column: &Bson, step: f64) -> Bson {
    doc! {"$floor": {"$divide": [as_decimal(column), exact(step)]}}.into()
}

/// The index of the half-open interval; null outside of all.
fn breaks_index(column: &Bson, breaks: &[f64]) -> Bson {
    let inside = |lower: f64, upper: f64| {
        doc! {"$and": [{"$gte": ["$$value", exact(lower)]}, {"$lt": ["$$value", exact(upper)]}]}
    };
    let branches: Vec<Document> = breaks
        .windows(2)
        .zip(0_i32..)
        .filter_map(|(pair, index)| match pair {
            [lower, upper] => Some(doc! {"case": inside(*lower, *upper), "then": index}),
            _ => None,
        })
        .collect();
    doc! {"$let": {
        "vars": {"value": as_decimal(column)},
        "in": {"$switch": {"branches": branches, "default": null}},
    }}
    .into()
}

/// A value behind what orders it; null where nothing does. Documents compare by their first field first.
fn at(tracking: &Bson, column: &Bson) -> Bson {
    let pair = doc! {"at": sayable(tracking), "value": sayable(column)};
    doc! {"$cond": [is_null(&sayable(tracking)), null, pair]}.into()
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn options(json: &str) -> AggregateOptions {
        AggregateOptions::parse(&RawValue::from_string(json.to_owned()).unwrap()).unwrap()
    }

    #[test]
    fn null_dimensions_are_dropped_after_grouping() {
        let options = options(
            r#"{"dimensions":[{"field":"a.b","as":"x"}],"sort":[{"key":"x","dir":"desc"}],"limit":2}"#,
        );
        let plan = aggregate(&Fields::open(), &options).unwrap();
        let stages: Vec<&String> = plan.pipeline.iter().filter_map(|stage| stage.keys().next()).collect();
        assert_eq!(stages, ["$match", "$group", "$match", "$set", "$sort", "$limit"]);
        assert_eq!(plan.pipeline[2], doc! {"$match": {"$expr": {"$and": [{"$gt": ["$_id.d0", null]}]}}});
        assert_eq!(plan.pipeline[4], doc! {"$sort": {"s0": -1, "_id.d0": -1}});
    }

    #[test]
    fn what_the_server_cannot_do_exactly_is_reduced() {
        for (json, reduced) in [
            (r#"{"measures":{"m":{"agg":"percentile","column":"a","p":0.5}}}"#, true),
            (r#"{"measures":{"m":{"agg":"top_k","column":"a","k":3}}}"#, true),
            (r#"{"having":{"count":1}}"#, true),
            (r#"{"dimensions":[{"field":"a"}],"having":{"count":1}}"#, false),
            (r#"{"measures":{"m":{"agg":"count_distinct","column":"a","where":{"b":1}}}}"#, false),
        ] {
            assert_eq!(is_reduced(&options(json)), reduced, "{json}");
        }
    }

    #[test]
    fn intervals_are_named_as_everywhere() {
        assert_eq!(Decode::Step(30.0).interval(-1.0).as_deref(), Some("-30..0"));
        assert_eq!(Decode::Step(0.1).interval(2.0).as_deref(), Some("0.2..0.30000000000000004"));
        assert_eq!(Decode::Breaks(vec![0.0, 30.0, 60.0]).interval(1.0).as_deref(), Some("30..60"));
        assert_eq!(Decode::Breaks(vec![0.0, 30.0]).interval(1.0), None);
        assert_eq!(Decode::Calendar(CalendarUnit::Quarter).label(0).as_deref(), Some("1970-Q1"));
    }

    #[test]
    fn names_of_the_request_are_paths_and_nothing_else() {
        let options = options(
            r#"{"dimensions":[{"field":"a","as":"$x"}],"measures":{"$sum":{"agg":"sum","column":"b"}}}"#,
        );
        let plan = aggregate(&Fields::open(), &options);
        assert!(plan.is_ok_and(|plan| plan.parts[1].1 == "m0"));
        for bad in [
            r#"{"dimensions":[{"field":"$where"}]}"#,
            r#"{"measures":{"m":{"agg":"sum","column":"a.$b"}}}"#,
            r#"{"measures":{"m":{"agg":"count","where":{"a..b":1}}}}"#,
            r#"{"changeTrackingColumn":"$t","measures":{"m":{"agg":"first","column":"a"}}}"#,
        ] {
            let options = AggregateOptions::parse(&RawValue::from_string(bad.to_owned()).unwrap()).unwrap();
            assert!(aggregate(&Fields::open(), &options).is_err(), "{bad}");
        }
    }
}
