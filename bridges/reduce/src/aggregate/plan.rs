//! An aggregate's options with every column found in a layout.

use bridge_core::RowWriter;
use protocol::{
    AggregateOptions, Bucket, CalendarUnit, Dimension, Filter, GeoColumns, Invalid, Join, Measure,
    MeasureKind, Test, Timestamp, Where,
};
use serde::Deserialize;

use super::write_value;
use crate::ReduceError;
use crate::bucket::{breaks_label, calendar_label, geohash, step_label};
use crate::layout::{Layout, Schema};
use crate::matcher::Matcher;
use crate::values::{Number, Value};

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) layout: Layout,
    pub(super) filter: Matcher,
    pub(super) ids: Matcher,
    pub(super) joins: Vec<JoinPlan>,
    pub(super) dimensions: Vec<DimensionPlan>,
    pub(super) measures: Vec<MeasurePlan>,
}

#[derive(Debug)]
pub(super) struct JoinPlan {
    pub(super) layout: Layout,
    pub(super) local: usize,
    pub(super) foreign: usize,
}

#[derive(Debug)]
pub(super) struct DimensionPlan {
    /// The join it comes from.
    from: Option<usize>,
    how: How,
}

#[derive(Debug)]
enum How {
    Plain(usize),
    Calendar(usize, CalendarUnit),
    Step(usize, f64),
    Breaks(usize, Vec<f64>),
    LatLng { lat: usize, lng: usize, precision: u8 },
    Point { point: usize, precision: u8 },
}

#[derive(Debug)]
pub(super) struct MeasurePlan {
    pub(super) filter: Matcher,
    value: Option<usize>,
    order: Option<usize>,
}

impl Plan {
    pub(super) fn new(options: &AggregateOptions, schema: Schema) -> Result<Self, ReduceError> {
        refuse_top_k_in_having(options)?;
        let mut layout = Layout::new(schema);
        let ids = ids(options, layout.schema())?;
        let mut joins: Vec<JoinPlan> =
            options.joins.iter().map(|join| JoinPlan::new(join, &mut layout)).collect();
        let dimension = |(index, dimension): (usize, &Dimension)| {
            let from = dimension.from.as_ref();
            let from = from.and_then(|from| options.joins.iter().position(|join| join.alias == *from));
            let source = from.and_then(|from| joins.get_mut(from)).map(|join| &mut join.layout);
            let how = How::new(dimension, source.unwrap_or(&mut layout));
            let how = how.map_err(|invalid| invalid.within(&format!("dimensions[{index}]")))?;
            Ok(DimensionPlan { from, how })
        };
        let dimensions =
            options.dimensions.iter().enumerate().map(dimension).collect::<Result<_, Invalid>>()?;
        let tracking = options.change_tracking_column.as_deref();
        let measures = options.measures.iter().map(|(_, it)| MeasurePlan::new(it, tracking, &mut layout));
        Ok(Self {
            dimensions,
            measures: measures.collect(),
            filter: Matcher::new(&options.filter, &mut layout),
            ids: Matcher::new(&ids, &mut layout),
            joins,
            layout,
        })
    }
}

fn refuse_top_k_in_having(options: &AggregateOptions) -> Result<(), Invalid> {
    let is_list = |name: &str| {
        let measure = options.measures.iter().find(|(measure, _)| measure == name);
        measure.is_some_and(|(_, measure)| matches!(measure.kind, MeasureKind::TopK(_)))
    };
    match options.having.condition().fields().into_iter().find(|name| is_list(name)) {
        Some(name) => Err(Invalid::new(format!("having.{name}"), "a measure of one value")),
        None => Ok(()),
    }
}

fn ids(options: &AggregateOptions, schema: &Schema) -> Result<Filter, Invalid> {
    if options.ids.is_empty() {
        return Ok(Filter::everything());
    }
    let key = schema.key().ok_or_else(|| Invalid::new("ids", "a target with a key of one column"))?;
    Ok(Filter::from_where(Where::field(key, Test::In(options.ids.clone()))))
}

impl JoinPlan {
    fn new(join: &Join, base: &mut Layout) -> Self {
        let mut layout = Layout::default();
        let foreign = layout.slot(&join.foreign);
        Self { layout, local: base.slot(&join.local), foreign }
    }
}

impl MeasurePlan {
    fn new(measure: &Measure, tracking: Option<&str>, layout: &mut Layout) -> Self {
        let value = measure.column.as_ref().map(|column| layout.slot(column));
        let ordered = matches!(measure.kind, MeasureKind::First | MeasureKind::Last);
        // Without a tracking column the first is the smallest, as the SQL plans have it.
        let order = ordered.then(|| tracking.map(|column| layout.slot(column)).or(value)).flatten();
        Self { filter: Matcher::new(&measure.filter, layout), value, order }
    }

    pub(super) fn value<'a>(&self, row: &'a [Value]) -> &'a Value {
        self.value.and_then(|slot| row.get(slot)).unwrap_or(&Value::Null)
    }

    pub(super) fn order<'a>(&self, row: &'a [Value]) -> &'a Value {
        self.order.and_then(|slot| row.get(slot)).unwrap_or(&Value::Null)
    }
}

impl How {
    fn new(dimension: &Dimension, layout: &mut Layout) -> Result<Self, Invalid> {
        let field = &dimension.field;
        Ok(match &dimension.bucket {
            None => Self::Plain(layout.slot(field)),
            Some(Bucket::Calendar(unit)) => Self::Calendar(layout.slot(field), *unit),
            Some(Bucket::Step(step)) => Self::Step(layout.slot(field), *step),
            Some(Bucket::Breaks(breaks)) => Self::Breaks(layout.slot(field), breaks.clone()),
            Some(Bucket::Geohash { precision, columns: GeoColumns::LatLng { lat, lng } }) => {
                Self::LatLng { lat: layout.slot(lat), lng: layout.slot(lng), precision: *precision }
            }
            Some(Bucket::Geohash { precision, columns: GeoColumns::Point(point) }) => {
                Self::Point { point: layout.slot(point), precision: *precision }
            }
            Some(Bucket::H3 { .. }) => return Err(Invalid::new("bucket", "another bucket than h3")),
        })
    }
}

impl DimensionPlan {
    /// The bucket of a row; nothing where a value is null or has no bucket.
    pub(super) fn of(&self, row: &[Value], joined: &[Option<&[Value]>]) -> Option<Dim> {
        let row = match self.from {
            None => row,
            Some(join) => (*joined.get(join)?)?,
        };
        let number = |slot: usize| row.get(slot).and_then(Value::number);
        match &self.how {
            How::Plain(slot) => row.get(*slot).filter(|it| !it.is_null()).cloned().map(Dim::Value),
            How::Calendar(slot, unit) => {
                row.get(*slot)?.timestamp().map(|instant| Dim::calendar(*unit, instant))
            }
            How::Step(slot, step) => step_label(&number(*slot)?, *step).and_then(Dim::interval),
            How::Breaks(slot, breaks) => breaks_label(&number(*slot)?, breaks).and_then(Dim::interval),
            How::LatLng { lat, lng, precision } => {
                geohash(number(*lat)?.as_f64(), number(*lng)?.as_f64(), *precision).map(Dim::text)
            }
            How::Point { point, precision } => {
                let (lat, lng) = coordinates(row.get(*point)?)?;
                geohash(lat, lng, *precision).map(Dim::text)
            }
        }
    }
}

/// Latitude and longitude of a point as rows carry it: `{x, y}`, or a GeoJSON point.
fn coordinates(value: &Value) -> Option<(f64, f64)> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Point {
        Plane { x: f64, y: f64 },
        GeoJson { coordinates: [f64; 2] },
    }
    let Value::Json(json) = value else { return None };
    match serde_json::from_str(json).ok()? {
        Point::Plane { x: lng, y: lat } | Point::GeoJson { coordinates: [lng, lat] } => Some((lat, lng)),
    }
}

/// The value of a dimension.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Dim {
    /// A value for itself.
    Value(Value),
    /// A bucket: what it is sorted by, and its name.
    Bucket(Value, String),
}

impl Dim {
    fn calendar(unit: CalendarUnit, instant: Timestamp) -> Self {
        let label = calendar_label(unit, instant);
        // A year without padding does not sort by its name.
        let order = match unit {
            CalendarUnit::Year => Value::Number(Number::Integer(instant.civil().0)),
            _ => Value::Text(label.clone()),
        };
        Self::Bucket(order, label)
    }

    fn interval((lower, label): (f64, String)) -> Option<Self> {
        Some(Self::Bucket(Value::Number(Number::from_f64(lower)?), label))
    }

    fn text(text: String) -> Self {
        Self::Value(Value::Text(text))
    }

    pub(super) fn order(&self) -> Value {
        match self {
            Self::Value(value) | Self::Bucket(value, _) => value.clone(),
        }
    }

    pub(super) fn size(&self) -> usize {
        match self {
            Self::Value(value) => value.size(),
            Self::Bucket(order, label) => order.size() + label.len() + size_of::<String>(),
        }
    }

    pub(super) fn write(&self, writer: &mut RowWriter) {
        match self {
            Self::Value(value) => write_value(writer, value),
            Self::Bucket(_, label) => writer.text(label),
        }
    }
}
