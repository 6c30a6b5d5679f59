//! Options of an `aggregate` job, parsed and validated once: every number is a number in range before a plan is made, so
//! nothing from a request can become syntax.

use serde_json::value::RawValue;

use crate::filter::Filter;
use crate::json::{Kind, Object};
use crate::options::{Writer, double_json, filter, limit};
use crate::{Direction, Invalid, RequestError, Scalar};

const MAX_DIMENSIONS: usize = 32;
const MAX_MEASURES: usize = 128;
const MAX_JOINS: usize = 32;
const MAX_SORT_KEYS: usize = 256;
const MAX_BREAKS: usize = 1_000;
const MAX_IDS: usize = 100_000;
const MAX_TOP_K: u64 = 10_000;
/// The alias of the base table; a join may not take it.
const BASE_ALIAS: &str = "t";

/// Options of an `aggregate` job (spec, bridges 3.1).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct AggregateOptions {
    /// Which rows, before grouping.
    pub filter: Filter,
    /// Chance of each row to be counted, in (0, 1); all rows without.
    pub sample: Option<f64>,
    /// Only rows with these primary keys; all rows when empty.
    pub ids: Vec<Scalar>,
    /// What to group by. May be empty. Output names are distinct.
    pub dimensions: Vec<Dimension>,
    /// What to compute, by output name, in order. May be empty.
    pub measures: Vec<(String, Measure)>,
    /// Which buckets: a filter over `count` and the measures' names.
    pub having: Filter,
    /// In which order buckets come.
    pub sort: Vec<SortKey>,
    /// At most so many buckets.
    pub limit: Option<u64>,
    /// What orders `first` and `last`.
    pub change_tracking_column: Option<String>,
    /// Tables to join, at most one row each.
    pub joins: Vec<Join>,
}

/// A group key.
#[derive(Debug, Clone, PartialEq)]
pub struct Dimension {
    /// The column.
    pub field: String,
    /// How values fall together; each value for itself without.
    pub bucket: Option<Bucket>,
    /// The output name.
    pub name: String,
    /// The join it comes from; the base table without.
    pub from: Option<String>,
}

/// How values fall together.
#[derive(Debug, Clone, PartialEq)]
pub enum Bucket {
    /// A calendar unit in UTC.
    Calendar(CalendarUnit),
    /// `floor(value / step) * step`; the step is finite and above 0.
    Step(f64),
    /// Half-open intervals between these strictly ascending bounds, at least two.
    Breaks(Vec<f64>),
    /// Geohash cells.
    Geohash {
        /// Characters, 1 to 12.
        precision: u8,
        /// Where the coordinates are.
        columns: GeoColumns,
    },
    /// H3 cells.
    H3 {
        /// Resolution, 0 to 15.
        resolution: u8,
        /// Where the coordinates are.
        columns: GeoColumns,
    },
}

/// A calendar unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CalendarUnit {
    /// `2026-08-09T07:08`
    Minute,
    /// `2026-08-09T07`
    Hour,
    /// `2026-08-09`
    Day,
    /// ISO week and its ISO year: `2026-W32`
    Week,
    /// `2026-08`
    Month,
    /// `2026-Q3`
    Quarter,
    /// `2026`
    Year,
}

impl CalendarUnit {
    /// All units, finest first.
    pub const ALL: [Self; 7] =
        [Self::Minute, Self::Hour, Self::Day, Self::Week, Self::Month, Self::Quarter, Self::Year];

    /// The unit's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
            Self::Quarter => "quarter",
            Self::Year => "year",
        }
    }
}

/// Where coordinates are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GeoColumns {
    /// Two numeric columns.
    LatLng {
        /// Latitude in degrees.
        lat: String,
        /// Longitude in degrees.
        lng: String,
    },
    /// One column of the engine's own point type.
    Point(String),
}

/// Something to compute over a bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Measure {
    /// What.
    pub kind: MeasureKind,
    /// Over which column. Always there but for `count`.
    pub column: Option<String>,
    /// Whether an estimate will do.
    pub accuracy: Accuracy,
    /// Only over these rows of the bucket.
    pub filter: Filter,
}

/// What a measure computes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum MeasureKind {
    /// Rows.
    Count,
    /// Distinct values that are not null.
    CountDistinct,
    /// Sum.
    Sum,
    /// Mean.
    Avg,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Interpolated percentile at this point in (0, 1).
    Percentile(f64),
    /// The most frequent values, this many.
    TopK(u32),
    /// The value of the earliest row.
    First,
    /// The value of the latest row.
    Last,
    /// The same as `sum` here; the service divides by time.
    Rate,
}

/// Whether an estimate will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Accuracy {
    /// It will.
    Fast,
    /// It will not.
    #[default]
    Exact,
}

/// One key of the order of buckets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SortKey {
    /// `count`, a measure or a dimension's output name, looked up in this order.
    pub key: String,
    /// Which way.
    pub direction: Direction,
}

/// A left join of at most one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Join {
    /// The other table.
    pub target: String,
    /// The name that dimensions use for it: a letter or underscore, then letters, digits, underscores; never `t`.
    pub alias: String,
    /// Column of the base table.
    pub local: String,
    /// Column of the other table.
    pub foreign: String,
}

impl AggregateOptions {
    /// Reads an `aggregate` job's options. `target` among them is passed over: the job's own counts.
    pub fn parse(raw: &RawValue) -> Result<Self, RequestError> {
        let object = Object::parse(raw).map_err(|invalid| invalid.within("options"))?;
        let filter = filter(&object, "candidatesWhere").map_err(rename_where("candidatesWhere"))?;
        let having = crate::options::filter(&object, "having").map_err(rename_where("having"))?;
        let options = Self {
            filter,
            sample: sample(&object)?,
            ids: ids(&object)?,
            dimensions: object.list("dimensions", "a list of dimensions", dimension)?.unwrap_or_default(),
            measures: measures(&object)?,
            having,
            sort: object.list("sort", "a list of {key, dir}", sort_key)?.unwrap_or_default(),
            limit: limit(&object)?,
            change_tracking_column: object.text("changeTrackingColumn")?,
            joins: object.list("joins", "a list of joins", join)?.unwrap_or_default(),
        };
        options.check()?;
        Ok(options)
    }

    /// The options as JSON, for a job frame or a plugin.
    pub fn to_json(&self) -> String {
        let mut out = Writer::new();
        out.filter("candidatesWhere", &self.filter);
        if let Some(sample) = self.sample {
            out.raw("sample", &double_json(sample));
        }
        out.list("ids", &self.ids, scalar_json);
        out.list("dimensions", &self.dimensions, Dimension::to_json);
        if !self.measures.is_empty() {
            let mut measures = Writer::new();
            self.measures.iter().for_each(|(name, measure)| measures.raw(name, &measure.to_json()));
            out.raw("measures", &measures.finish());
        }
        out.filter("having", &self.having);
        out.list("sort", &self.sort, SortKey::to_json);
        out.limit(self.limit);
        if let Some(column) = &self.change_tracking_column {
            out.text("changeTrackingColumn", column);
        }
        out.list("joins", &self.joins, Join::to_json);
        out.finish()
    }

    fn check(&self) -> Result<(), Invalid> {
        if self.dimensions.len() > MAX_DIMENSIONS {
            return Err(Invalid::new("dimensions", format!("at most {MAX_DIMENSIONS}")));
        }
        if self.joins.len() > MAX_JOINS {
            return Err(Invalid::new("joins", format!("at most {MAX_JOINS}")));
        }
        if self.sort.len() > MAX_SORT_KEYS {
            return Err(Invalid::new("sort", format!("at most {MAX_SORT_KEYS} keys")));
        }
        for (index, join) in self.joins.iter().enumerate() {
            if self.joins.iter().take(index).any(|other| other.alias == join.alias) {
                return Err(Invalid::new(
                    format!("joins[{index}].alias"),
                    format!("an alias of its own (Duplicate join alias \"{}\")", join.alias),
                ));
            }
        }
        for (index, dimension) in self.dimensions.iter().enumerate() {
            if self.dimensions.iter().take(index).any(|other| other.name == dimension.name) {
                let expected = format!("an output name of its own (\"{}\" occurs twice)", dimension.name);
                return Err(Invalid::new(format!("dimensions[{index}].as"), expected));
            }
            if let Some(from) = &dimension.from
                && !self.joins.iter().any(|join| join.alias == *from)
            {
                let expected = format!("the alias of a join (unknown join alias \"{from}\")");
                return Err(Invalid::new(format!("dimensions[{index}].from"), expected));
            }
        }
        for name in self.having.condition().fields() {
            if name != "count" && !self.measures.iter().any(|(measure, _)| measure == name) {
                return Err(Invalid::new(format!("having.{name}"), "count or the name of a measure"));
            }
        }
        Ok(())
    }
}

impl Dimension {
    fn to_json(&self) -> String {
        let mut out = Writer::new();
        out.text("field", &self.field);
        if let Some(bucket) = &self.bucket {
            out.raw("bucket", &bucket.to_json());
        }
        if self.name != self.field {
            out.text("as", &self.name);
        }
        if let Some(from) = &self.from {
            out.text("from", from);
        }
        out.finish()
    }
}

impl Bucket {
    fn to_json(&self) -> String {
        let mut out = Writer::new();
        match self {
            Self::Calendar(unit) => return format!("\"{}\"", unit.as_str()),
            Self::Step(step) => {
                out.text("type", "numeric");
                out.raw("step", &double_json(*step));
            }
            Self::Breaks(breaks) => {
                out.text("type", "numeric");
                out.list("breaks", breaks, |bound| double_json(*bound));
            }
            Self::Geohash { precision, columns } => {
                out.text("type", "geohash");
                out.raw("precision", &precision.to_string());
                columns.write(&mut out);
            }
            Self::H3 { resolution, columns } => {
                out.text("type", "h3");
                out.raw("resolution", &resolution.to_string());
                columns.write(&mut out);
            }
        }
        out.finish()
    }
}

impl GeoColumns {
    fn write(&self, out: &mut Writer) {
        match self {
            Self::LatLng { lat, lng } => {
                out.text("latField", lat);
                out.text("lngField", lng);
            }
            Self::Point(point) => out.text("geoField", point),
        }
    }
}

impl Measure {
    fn to_json(&self) -> String {
        let mut out = Writer::new();
        out.text("agg", self.kind.as_str());
        if let Some(column) = &self.column {
            out.text("column", column);
        }
        match self.kind {
            MeasureKind::Percentile(p) => out.raw("p", &double_json(p)),
            MeasureKind::TopK(k) => out.raw("k", &k.to_string()),
            MeasureKind::Count
            | MeasureKind::CountDistinct
            | MeasureKind::Sum
            | MeasureKind::Avg
            | MeasureKind::Min
            | MeasureKind::Max
            | MeasureKind::First
            | MeasureKind::Last
            | MeasureKind::Rate => {}
        }
        if self.accuracy == Accuracy::Fast {
            out.text("accuracy", "fast");
        }
        out.filter("where", &self.filter);
        out.finish()
    }
}

impl MeasureKind {
    /// The wire name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Count => "count",
            Self::CountDistinct => "count_distinct",
            Self::Sum => "sum",
            Self::Avg => "avg",
            Self::Min => "min",
            Self::Max => "max",
            Self::Percentile(_) => "percentile",
            Self::TopK(_) => "top_k",
            Self::First => "first",
            Self::Last => "last",
            Self::Rate => "rate",
        }
    }
}

impl SortKey {
    fn to_json(&self) -> String {
        let mut out = Writer::new();
        out.text("key", &self.key);
        out.text("dir", self.direction.as_str());
        out.finish()
    }
}

impl Join {
    fn to_json(&self) -> String {
        let mut on = Writer::new();
        on.text("local", &self.local);
        on.text("foreign", &self.foreign);
        let mut out = Writer::new();
        out.text("target", &self.target);
        out.text("alias", &self.alias);
        out.text("kind", "left");
        out.raw("on", &on.finish());
        out.finish()
    }
}

fn scalar_json(scalar: &Scalar) -> String {
    let mut out = String::new();
    scalar.write_json(&mut out);
    out
}

/// Filters report mistakes below `where`; here the field has another name.
fn rename_where(name: &'static str) -> impl Fn(RequestError) -> RequestError {
    move |error| match error {
        RequestError::Invalid(Invalid { field, expected }) => {
            let rest = field.strip_prefix("where").unwrap_or(&field).to_owned();
            RequestError::Invalid(Invalid { field: format!("{name}{rest}"), expected })
        }
        operator @ RequestError::Operator(_) => operator,
    }
}

fn sample(object: &Object<'_>) -> Result<Option<f64>, Invalid> {
    match object.finite("sample")? {
        Some(rate) if rate <= 0.0 => Err(Invalid::new("sample", "a number above 0 and at most 1")),
        rate => Ok(rate.filter(|rate| *rate < 1.0)),
    }
}

fn ids(object: &Object<'_>) -> Result<Vec<Scalar>, Invalid> {
    let ids = object.list("ids", "a list of primary keys", Scalar::parse)?.unwrap_or_default();
    if ids.len() > MAX_IDS {
        return Err(Invalid::new("ids", format!("at most {MAX_IDS} keys")));
    }
    Ok(ids)
}

fn dimension(raw: &RawValue) -> Result<Dimension, Invalid> {
    let object = Object::parse(raw)?;
    let bucket = object.get("bucket").map(|raw| bucket(raw).map_err(|invalid| invalid.within("bucket")));
    let field = object.required_text("field")?;
    let name = object.text("as")?.unwrap_or_else(|| field.clone());
    Ok(Dimension { bucket: bucket.transpose()?, name, from: object.text("from")?, field })
}

fn bucket(raw: &RawValue) -> Result<Bucket, Invalid> {
    const EXPECTED: &str = "minute, hour, day, week, month, quarter, year, or {type: numeric | geohash | h3}";
    match Kind::of(raw)? {
        Kind::Text(name) => {
            let unit = CalendarUnit::ALL.into_iter().find(|unit| unit.as_str() == name);
            unit.map(Bucket::Calendar).ok_or_else(|| Invalid::new("", EXPECTED))
        }
        Kind::Object(object) => match object.required_text("type")?.as_str() {
            "numeric" => numeric_bucket(&object),
            "geohash" => {
                let precision = clamped(&object, "precision", 1, 12)?;
                Ok(Bucket::Geohash { precision, columns: geo_columns(&object)? })
            }
            "h3" => {
                let resolution = clamped(&object, "resolution", 0, 15)?;
                Ok(Bucket::H3 { resolution, columns: geo_columns(&object)? })
            }
            _ => Err(Invalid::new("type", "numeric, geohash or h3")),
        },
        _ => Err(Invalid::new("", EXPECTED)),
    }
}

fn numeric_bucket(object: &Object<'_>) -> Result<Bucket, Invalid> {
    let breaks = object.list("breaks", "a list of numbers", crate::json::finite)?;
    match (object.finite("step")?, breaks) {
        (Some(step), None) if step > 0.0 => Ok(Bucket::Step(step)),
        (Some(_), None) => Err(Invalid::new("step", "a number above 0")),
        (None, Some(breaks)) => {
            let ascending = breaks.windows(2).all(|pair| matches!(pair, [low, high] if low < high));
            if !(2..=MAX_BREAKS).contains(&breaks.len()) || !ascending {
                return Err(Invalid::new("breaks", format!("2 to {MAX_BREAKS} strictly ascending numbers")));
            }
            Ok(Bucket::Breaks(breaks))
        }
        _ => Err(Invalid::new("", "either step or breaks")),
    }
}

fn clamped(object: &Object<'_>, key: &str, low: u8, high: u8) -> Result<u8, Invalid> {
    let Some(number) = object.finite(key)? else {
        return Err(Invalid::new(key, format!("a whole number from {low} to {high}")));
    };
    if number.fract() != 0.0 {
        return Err(Invalid::new(key, format!("a whole number from {low} to {high}")));
    }
    let clamped = number.clamp(f64::from(low), f64::from(high));
    Ok((low..=high).find(|value| f64::from(*value) >= clamped).unwrap_or(high))
}

fn geo_columns(object: &Object<'_>) -> Result<GeoColumns, Invalid> {
    match (object.text("latField")?, object.text("lngField")?, object.text("geoField")?) {
        (Some(lat), Some(lng), None) => Ok(GeoColumns::LatLng { lat, lng }),
        (None, None, Some(point)) => Ok(GeoColumns::Point(point)),
        _ => Err(Invalid::new(
            "",
            "latField and lngField, or geoField (requires either latField+lngField or geoField)",
        )),
    }
}

fn measures(object: &Object<'_>) -> Result<Vec<(String, Measure)>, RequestError> {
    let Some(raw) = object.get("measures") else { return Ok(Vec::new()) };
    let measures = Object::parse(raw).map_err(|invalid| invalid.within("measures"))?;
    let read = |(name, raw): (&str, &RawValue)| {
        measure(raw)
            .map(|measure| (name.to_owned(), measure))
            .map_err(|error| error.within(&format!("measures.{name}")))
    };
    let measures: Vec<_> = measures.iter().map(read).collect::<Result<_, _>>()?;
    if measures.len() > MAX_MEASURES {
        return Err(Invalid::new("measures", format!("at most {MAX_MEASURES}")).into());
    }
    Ok(measures)
}

fn measure(raw: &RawValue) -> Result<Measure, RequestError> {
    let object = Object::parse(raw)?;
    let kind = measure_kind(&object)?;
    let column = object.text("column")?;
    if column.is_none() && kind != MeasureKind::Count {
        return Err(Invalid::new("column", "the column to compute over").into());
    }
    let accuracy = match object.text("accuracy")?.as_deref() {
        None | Some("exact") => Accuracy::Exact,
        Some("fast") => Accuracy::Fast,
        Some(_) => return Err(Invalid::new("accuracy", "fast or exact").into()),
    };
    Ok(Measure { kind, column, accuracy, filter: filter(&object, "where")? })
}

fn measure_kind(object: &Object<'_>) -> Result<MeasureKind, Invalid> {
    Ok(match object.required_text("agg")?.as_str() {
        "count" => MeasureKind::Count,
        "count_distinct" => MeasureKind::CountDistinct,
        "sum" => MeasureKind::Sum,
        "avg" => MeasureKind::Avg,
        "min" => MeasureKind::Min,
        "max" => MeasureKind::Max,
        "percentile" => match object.finite("p")? {
            Some(p) if p > 0.0 && p < 1.0 => MeasureKind::Percentile(p),
            _ => return Err(Invalid::new("p", "a number above 0 and below 1")),
        },
        "top_k" => {
            let k = object.whole("k")?.filter(|k| (1..=MAX_TOP_K).contains(k));
            let k = k.and_then(|k| u32::try_from(k).ok());
            MeasureKind::TopK(
                k.ok_or_else(|| Invalid::new("k", format!("a whole number from 1 to {MAX_TOP_K}")))?,
            )
        }
        "first" => MeasureKind::First,
        "last" => MeasureKind::Last,
        "rate" => MeasureKind::Rate,
        _ => {
            let expected =
                "count, count_distinct, sum, avg, min, max, percentile, top_k, first, last or rate";
            return Err(Invalid::new("agg", expected));
        }
    })
}

fn sort_key(raw: &RawValue) -> Result<SortKey, Invalid> {
    let object = Object::parse(raw)?;
    let direction = object.text("dir")?.map_or(Direction::Ascending, |dir| Direction::of(&dir));
    Ok(SortKey { key: object.required_text("key")?, direction })
}

fn join(raw: &RawValue) -> Result<Join, Invalid> {
    let object = Object::parse(raw)?;
    if object.text("kind")?.is_some_and(|kind| kind != "left") {
        return Err(Invalid::new("kind", "left (Unsupported join kind)"));
    }
    let alias = object.required_text("alias")?;
    if alias == BASE_ALIAS {
        return Err(Invalid::new("alias", "another name: \"t\" is the reserved base alias"));
    }
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    if !alias.bytes().all(word) || alias.bytes().next().is_none_or(|first| first.is_ascii_digit()) {
        return Err(Invalid::new("alias", "a letter or _, then letters, digits or _ (Invalid join alias)"));
    }
    let on = object.get("on").ok_or_else(|| Invalid::new("on", "{local, foreign} (missing \"on\")"))?;
    let on = Object::parse(on).map_err(|invalid| invalid.within("on"))?;
    let (Some(local), Some(foreign)) = (on.text("local")?, on.text("foreign")?) else {
        return Err(Invalid::new("on", "requires both on.local and on.foreign"));
    };
    Ok(Join { target: object.required_text("target")?, alias, local, foreign })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<AggregateOptions, RequestError> {
        AggregateOptions::parse(&RawValue::from_string(text.to_owned()).unwrap())
    }

    fn refusal(text: &str) -> String {
        parse(text).unwrap_err().to_string()
    }

    #[test]
    fn numbers_must_be_numbers() {
        for (text, field) in [
            (
                r#"{"dimensions":[{"field":"a","bucket":{"type":"numeric","step":"1)"}}]}"#,
                "dimensions[0].bucket.step",
            ),
            (
                r#"{"dimensions":[{"field":"a","bucket":{"type":"numeric","step":0}}]}"#,
                "dimensions[0].bucket.step",
            ),
            (
                r#"{"dimensions":[{"field":"a","bucket":{"type":"numeric","breaks":[0,"1"]}}]}"#,
                "dimensions[0].bucket.breaks[1]",
            ),
            (
                r#"{"dimensions":[{"field":"a","bucket":{"type":"numeric","breaks":[1,1]}}]}"#,
                "dimensions[0].bucket.breaks",
            ),
            (r#"{"dimensions":[{"field":"a","bucket":"now()"}]}"#, "dimensions[0].bucket"),
            (
                r#"{"dimensions":[{"field":"a","bucket":{"type":"geohash","precision":"5","latField":"x","lngField":"y"}}]}"#,
                "dimensions[0].bucket.precision",
            ),
            (r#"{"measures":{"m":{"agg":"percentile","column":"a","p":"0.5"}}}"#, "measures.m.p"),
            (r#"{"measures":{"m":{"agg":"percentile","column":"a","p":1}}}"#, "measures.m.p"),
            (r#"{"measures":{"m":{"agg":"top_k","column":"a","k":-1}}}"#, "measures.m.k"),
            (r#"{"measures":{"m":{"agg":"sum"}}}"#, "measures.m.column"),
            (r#"{"measures":{"m":{"agg":"count","where":{"a":{"$gt":{}}}}}}"#, "measures.m.where.a.$gt"),
            (r#"{"sample":"0.5"}"#, "sample"),
            (r#"{"sample":0}"#, "sample"),
            (r#"{"limit":"1; drop"}"#, "limit"),
            (r#"{"having":{"nope":1}}"#, "having.nope"),
            (r#"{"candidatesWhere":{"a":{"$gt":[]}}}"#, "candidatesWhere.a.$gt"),
            (r#"{"dimensions":[{"field":"a"},{"field":"b","as":"a"}]}"#, "dimensions[1].as"),
        ] {
            let refusal = refusal(text);
            assert!(refusal.starts_with(&format!("{field}: expected ")), "{text}: {refusal}");
        }
    }

    #[test]
    fn precision_is_clamped() {
        let bucket = |precision: &str| {
            let text = format!(
                r#"{{"dimensions":[{{"field":"a","bucket":{{"type":"geohash","precision":{precision},"geoField":"g"}}}}]}}"#
            );
            parse(&text).unwrap().dimensions.remove(0).bucket.unwrap()
        };
        let columns = GeoColumns::Point("g".to_owned());
        assert_eq!(bucket("99"), Bucket::Geohash { precision: 12, columns: columns.clone() });
        assert_eq!(bucket("0"), Bucket::Geohash { precision: 1, columns: columns.clone() });
        assert_eq!(bucket("6.0"), Bucket::Geohash { precision: 6, columns });
    }

    #[test]
    fn joins_are_checked() {
        for (join, words) in [
            (
                r#"{"target":"c","alias":"c","kind":"inner","on":{"local":"a","foreign":"b"}}"#,
                "Unsupported join kind",
            ),
            (
                r#"{"target":"c","alias":"c d","kind":"left","on":{"local":"a","foreign":"b"}}"#,
                "Invalid join alias",
            ),
            (
                r#"{"target":"c","alias":"t","kind":"left","on":{"local":"a","foreign":"b"}}"#,
                "reserved base alias",
            ),
            (r#"{"target":"c","alias":"c","kind":"left"}"#, "missing \"on\""),
            (
                r#"{"target":"c","alias":"c","kind":"left","on":{"local":"a"}}"#,
                "requires both on.local and on.foreign",
            ),
        ] {
            let refusal = refusal(&format!(r#"{{"joins":[{join}]}}"#));
            assert!(refusal.contains(words), "{refusal}");
        }
        let twice = r#"{"target":"c","alias":"c","kind":"left","on":{"local":"a","foreign":"b"}}"#;
        assert!(refusal(&format!(r#"{{"joins":[{twice},{twice}]}}"#)).contains("Duplicate join alias"));
        assert!(refusal(r#"{"dimensions":[{"field":"a","from":"c"}]}"#).contains("unknown join alias"));
    }

    #[test]
    fn options_read_back() {
        let text = concat!(
            r#"{"candidatesWhere":{"a":{"$eq":1}},"sample":0.25,"ids":[7,"x"],"dimensions":[{"field":"at","bucket":"month","as":"m"},"#,
            r#"{"field":"n","bucket":{"type":"numeric","step":0.5},"from":"c"},"#,
            r#"{"field":"p","bucket":{"type":"geohash","precision":6,"latField":"y","lngField":"x"}}],"#,
            r#""measures":{"n":{"agg":"count"},"p":{"agg":"percentile","column":"v","p":0.5,"accuracy":"fast"},"#,
            r#""t":{"agg":"top_k","column":"v","k":3,"where":{"v":{"$gt":0}}}},"having":{"n":{"$gte":2}},"#,
            r#""sort":[{"key":"n","dir":"desc"}],"limit":5,"changeTrackingColumn":"at","#,
            r#""joins":[{"target":"other","alias":"c","kind":"left","on":{"local":"a","foreign":"b"}}]}"#
        );
        let options = parse(text).unwrap();
        assert_eq!(options.to_json(), text);
        assert_eq!(AggregateOptions::default().to_json(), "{}");
    }

    #[test]
    fn samples_of_everything_are_no_samples() {
        assert_eq!(parse(r#"{"sample":1}"#).unwrap().sample, None);
        assert_eq!(parse(r#"{"sample":0.25}"#).unwrap().sample, Some(0.25));
    }
}
