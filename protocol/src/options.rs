//! Options of the jobs that read rows, parsed and validated once.
//!
//! Fields that are not known are ignored, because other gateways may send more; a known field of the wrong kind is
//! refused with its name.

use serde_json::value::RawValue;

use crate::filter::Filter;
use crate::json::{Kind, Object, text};
use crate::{Invalid, RequestError, Timestamp};

/// Page size of `read` when the job does not say.
const DEFAULT_READ_LIMIT: u64 = 1_000;
/// Columns that one projection or order may name.
const MAX_COLUMNS: usize = 2_000;

/// Ascending or descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Direction {
    /// Smallest first. Everything but exactly `desc` means this.
    #[default]
    Ascending,
    /// Largest first.
    Descending,
}

impl Direction {
    /// `asc` or `desc`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ascending => "asc",
            Self::Descending => "desc",
        }
    }

    pub(crate) fn of(text: &str) -> Self {
        if text == "desc" { Self::Descending } else { Self::Ascending }
    }
}

/// One key of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OrderBy {
    /// Column, or lens field before it is mapped.
    pub field: String,
    /// Which way.
    pub direction: Direction,
}

impl OrderBy {
    /// Reads `{field, dir?}`, a list of those, or the shorthand `{column: "asc" | "desc"}`.
    pub fn parse(raw: &RawValue) -> Result<Vec<Self>, Invalid> {
        match Kind::of(raw)? {
            Kind::Object(object) => {
                let keys = Self::entry(&object)?;
                bounded(keys.len())?;
                Ok(keys)
            }
            Kind::Array(items) => {
                let mut keys = Vec::with_capacity(items.len());
                for (index, item) in items.into_iter().enumerate() {
                    let entry = Object::parse(item).and_then(|object| Self::entry(&object));
                    keys.extend(entry.map_err(|invalid| invalid.within(&format!("[{index}]")))?);
                }
                bounded(keys.len())?;
                Ok(keys)
            }
            _ => Err(Invalid::new("", "{field, dir} or a list of them")),
        }
    }

    fn entry(object: &Object<'_>) -> Result<Vec<Self>, Invalid> {
        // `{field: "asc"}` could be the shorthand for a column called "field"; the long form wins, as it is published.
        if object.get("field").is_some() {
            let field = object.required_text("field")?;
            let direction = object.text("dir")?.map_or(Direction::Ascending, |dir| Direction::of(&dir));
            return Ok(vec![Self { field, direction }]);
        }
        let shorthand = |(field, raw): (&str, &RawValue)| match raw.get() {
            "\"asc\"" => Ok(Self { field: field.to_owned(), direction: Direction::Ascending }),
            "\"desc\"" => Ok(Self { field: field.to_owned(), direction: Direction::Descending }),
            _ => Err(Invalid::new(field, "\"asc\" or \"desc\"")),
        };
        object.iter().map(shorthand).collect()
    }
}

/// Which columns a row has, and under which names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Projection {
    /// Every column under its own name.
    #[default]
    All,
    /// These columns under their own names. Never empty.
    Columns(Vec<String>),
    /// These columns under other names: `(output name, column)`. Never empty. Extension `project/1`.
    Renamed(Vec<(String, String)>),
}

impl Projection {
    /// Pairs of output name and column; nothing for [`Projection::All`].
    pub fn pairs(&self) -> Option<Vec<(&str, &str)>> {
        match self {
            Self::All => None,
            Self::Columns(columns) => {
                Some(columns.iter().map(|column| (column.as_str(), column.as_str())).collect())
            }
            Self::Renamed(pairs) => {
                Some(pairs.iter().map(|(name, column)| (name.as_str(), column.as_str())).collect())
            }
        }
    }

    /// Reads `select`-like text: `"*"` or a list of names.
    pub fn parse(raw: &RawValue) -> Result<Self, Invalid> {
        match Kind::of(raw)? {
            Kind::Text(star) if star == "*" => Ok(Self::All),
            Kind::Array(items) if items.is_empty() => Err(Invalid::new("", "at least one name, or \"*\"")),
            Kind::Array(items) => {
                bounded(items.len())?;
                let name = |(index, raw)| text(raw).map_err(|invalid| invalid.within(&format!("[{index}]")));
                let mut columns: Vec<String> =
                    items.into_iter().enumerate().map(name).collect::<Result<_, _>>()?;
                // A column asked for twice is still one key of the row.
                let mut seen = std::collections::HashSet::new();
                columns.retain(|column| seen.insert(column.clone()));
                Ok(Self::Columns(columns))
            }
            _ => Err(Invalid::new("", "\"*\" or a list of names")),
        }
    }

    fn read(object: &Object<'_>, key: &str) -> Result<Self, Invalid> {
        object.get(key).map_or(Ok(Self::All), |raw| Self::parse(raw).map_err(|invalid| invalid.within(key)))
    }

    fn renamed(raw: &RawValue) -> Result<Self, Invalid> {
        let object = Object::parse(raw)?;
        if object.is_empty() {
            return Err(Invalid::new("", "at least one name"));
        }
        let pair = |(name, raw): (&str, &RawValue)| {
            Ok((name.to_owned(), text(raw).map_err(|invalid| invalid.within(name))?))
        };
        let pairs: Vec<_> = object.iter().map(pair).collect::<Result<_, Invalid>>()?;
        bounded(pairs.len())?;
        Ok(Self::Renamed(pairs))
    }
}

fn bounded(count: usize) -> Result<(), Invalid> {
    if count > MAX_COLUMNS {
        return Err(Invalid::new("", format!("at most {MAX_COLUMNS} names")));
    }
    Ok(())
}

/// Options of a `query` job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct QueryOptions {
    /// Which rows.
    pub filter: Filter,
    /// In which order; the engine's own without.
    pub order_by: Vec<OrderBy>,
    /// At most so many; all without.
    pub limit: Option<u64>,
    /// Rows to pass over first.
    pub offset: u64,
    /// Which columns.
    pub projection: Projection,
    /// Whether the answer carries how many rows match without limit and offset. Counting costs a scan.
    pub total: bool,
    /// Page by key instead of by offset. Extension `keyset/1`.
    pub keyset: Option<Keyset>,
}

/// How `query` pages by key: the bridge appends the tiebreak to the order, fetches one row more than `limit`, and hands
/// out a cursor when that row exists.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Keyset {
    /// The columns that make the order total. Without them the bridge takes the primary key.
    pub tiebreak: Option<Vec<String>>,
    /// Where the page before ended; the first page without.
    pub cursor: Option<String>,
}

impl QueryOptions {
    /// Reads a `query` job's options.
    pub fn parse(raw: &RawValue) -> Result<Self, RequestError> {
        let object = Object::parse(raw).map_err(|invalid| invalid.within("options"))?;
        let options = Self {
            filter: filter(&object, "where")?,
            order_by: order_by(&object)?,
            limit: limit(&object)?,
            offset: object.whole("offset")?.unwrap_or(0),
            projection: projection(&object)?,
            total: object.boolean("total")?.unwrap_or(false),
            keyset: keyset(&object)?,
        };
        if options.keyset.is_some() && options.offset > 0 {
            return Err(Invalid::new("offset", "0 together with keyset").into());
        }
        Ok(options)
    }

    /// The options as JSON, for a job frame.
    pub fn to_json(&self) -> String {
        let mut out = Writer::new();
        out.filter("where", &self.filter);
        out.order_by(&self.order_by);
        out.limit(self.limit);
        if self.offset > 0 {
            out.raw("offset", &self.offset.to_string());
        }
        out.projection(&self.projection);
        if self.total {
            out.raw("total", "true");
        }
        if let Some(keyset) = &self.keyset {
            match &keyset.tiebreak {
                Some(columns) => out.texts("keyset", columns),
                None => out.raw("keyset", "true"),
            }
            if let Some(cursor) = &keyset.cursor {
                out.text("cursor", cursor);
            }
        }
        out.finish()
    }
}

pub(crate) fn projection(object: &Object<'_>) -> Result<Projection, Invalid> {
    match object.get("project") {
        Some(raw) => Projection::renamed(raw).map_err(|invalid| invalid.within("project")),
        None => Projection::read(object, "select"),
    }
}

fn keyset(object: &Object<'_>) -> Result<Option<Keyset>, Invalid> {
    let Some(raw) = object.get("keyset") else { return Ok(None) };
    let tiebreak = match Kind::of(raw).map_err(|invalid| invalid.within("keyset"))? {
        Kind::Bool(false) => return Ok(None),
        Kind::Bool(true) => None,
        Kind::Array(items) if !items.is_empty() => {
            bounded(items.len()).map_err(|invalid| invalid.within("keyset"))?;
            object.texts("keyset")?
        }
        _ => return Err(Invalid::new("keyset", "true or a list of columns")),
    };
    Ok(Some(Keyset { tiebreak, cursor: cursor(object)? }))
}

/// Options of a `read` job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// Page size, 1 000 by default.
    pub limit: u64,
    /// The previous page's cursor; the first page without.
    pub cursor: Option<String>,
    /// Which columns.
    pub projection: Projection,
    /// Only rows whose tracking column is later.
    pub changed_since: Option<Timestamp>,
    /// The tracking column.
    pub change_tracking_column: String,
    /// Whether the answer carries how many rows the target has.
    pub total: bool,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            limit: DEFAULT_READ_LIMIT,
            cursor: None,
            projection: Projection::All,
            changed_since: None,
            change_tracking_column: "updated_at".to_owned(),
            total: false,
        }
    }
}

impl ReadOptions {
    /// Reads a `read` job's options.
    pub fn parse(raw: &RawValue) -> Result<Self, RequestError> {
        let object = Object::parse(raw).map_err(|invalid| invalid.within("options"))?;
        let default = Self::default();
        let changed_since = object.text("changedSince")?.map(|text| {
            Timestamp::parse(&text)
                .ok_or_else(|| Invalid::new("changedSince", "an ISO 8601 date or date-time"))
        });
        Ok(Self {
            limit: limit(&object)?.unwrap_or(default.limit),
            cursor: cursor(&object)?,
            projection: Projection::read(&object, "fields")?,
            changed_since: changed_since.transpose()?,
            change_tracking_column: object
                .text("changeTrackingColumn")?
                .unwrap_or(default.change_tracking_column),
            total: object.boolean("total")?.unwrap_or(false),
        })
    }

    /// The options as JSON, for a job frame or a plugin; page size and tracking column are always there. A page has columns
    /// under their own names only, so the names of [`Projection::Renamed`] are left out.
    pub fn to_json(&self) -> String {
        let mut out = Writer::new();
        out.limit(Some(self.limit));
        if let Some(cursor) = &self.cursor {
            out.text("cursor", cursor);
        }
        match &self.projection {
            Projection::All => {}
            Projection::Columns(columns) => out.raw("fields", &texts_json(columns)),
            Projection::Renamed(pairs) => {
                let columns: std::collections::BTreeSet<&String> =
                    pairs.iter().map(|(_, column)| column).collect();
                out.raw("fields", &texts_json(columns));
            }
        }
        if let Some(since) = self.changed_since {
            out.text("changedSince", &since.to_string());
        }
        out.text("changeTrackingColumn", &self.change_tracking_column);
        if self.total {
            out.raw("total", "true");
        }
        out.finish()
    }
}

/// Options of a `count` job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CountOptions {
    /// Which rows.
    pub filter: Filter,
}

impl CountOptions {
    /// Reads a `count` job's options.
    pub fn parse(raw: &RawValue) -> Result<Self, RequestError> {
        let object = Object::parse(raw).map_err(|invalid| invalid.within("options"))?;
        Ok(Self { filter: filter(&object, "where")? })
    }

    /// The options as JSON, for a job frame.
    pub fn to_json(&self) -> String {
        let mut out = Writer::new();
        out.filter("where", &self.filter);
        out.finish()
    }
}

/// Options of a `batchRead` job.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BatchReadOptions {
    /// Which rows; usually `{<foreign key>: {$in: [..]}}`.
    pub filter: Filter,
    /// Which columns.
    pub projection: Projection,
    /// In which order.
    pub order_by: Vec<OrderBy>,
    /// At most so many over all keys.
    pub limit: Option<u64>,
}

impl BatchReadOptions {
    /// Reads a `batchRead` job's options.
    pub fn parse(raw: &RawValue) -> Result<Self, RequestError> {
        let object = Object::parse(raw).map_err(|invalid| invalid.within("options"))?;
        Ok(Self {
            filter: filter(&object, "where")?,
            projection: projection(&object)?,
            order_by: order_by(&object)?,
            limit: limit(&object)?,
        })
    }

    /// The options as JSON, for a job frame.
    pub fn to_json(&self) -> String {
        let mut out = Writer::new();
        out.filter("where", &self.filter);
        out.projection(&self.projection);
        out.order_by(&self.order_by);
        out.limit(self.limit);
        out.finish()
    }
}

impl From<BatchReadOptions> for QueryOptions {
    fn from(options: BatchReadOptions) -> Self {
        Self {
            filter: options.filter,
            order_by: options.order_by,
            limit: options.limit,
            projection: options.projection,
            ..Self::default()
        }
    }
}

pub(crate) fn filter(object: &Object<'_>, key: &str) -> Result<Filter, RequestError> {
    object.get(key).map_or_else(|| Ok(Filter::everything()), Filter::parse)
}

fn order_by(object: &Object<'_>) -> Result<Vec<OrderBy>, Invalid> {
    let Some(raw) = object.get("orderBy") else { return Ok(Vec::new()) };
    OrderBy::parse(raw).map_err(|invalid| invalid.within("orderBy"))
}

pub(crate) fn limit(object: &Object<'_>) -> Result<Option<u64>, Invalid> {
    object.whole("limit")
}

/// An empty cursor means the first page.
fn cursor(object: &Object<'_>) -> Result<Option<String>, Invalid> {
    Ok(object.text("cursor")?.filter(|cursor| !cursor.is_empty()))
}

fn order_json(key: &OrderBy) -> String {
    let mut out = Writer::new();
    out.text("field", &key.field);
    out.text("dir", key.direction.as_str());
    out.finish()
}

fn texts_json<'a>(texts: impl IntoIterator<Item = &'a String>) -> String {
    let mut out = String::from("[");
    for text in texts {
        if out.len() > 1 {
            out.push(',');
        }
        crate::json::push_text(&mut out, text);
    }
    out.push(']');
    out
}

/// Writes one JSON object, in the order of the calls.
pub(crate) struct Writer(String);

impl Writer {
    pub(crate) fn new() -> Self {
        Self(String::from("{"))
    }

    pub(crate) fn raw(&mut self, key: &str, json: &str) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        crate::json::push_text(&mut self.0, key);
        self.0.push(':');
        self.0.push_str(json);
    }

    pub(crate) fn text(&mut self, key: &str, value: &str) {
        let mut json = String::new();
        crate::json::push_text(&mut json, value);
        self.raw(key, &json);
    }

    pub(crate) fn texts(&mut self, key: &str, values: &[String]) {
        self.raw(key, &texts_json(values));
    }

    /// A list of what `json` makes of the items; nothing when there are none.
    pub(crate) fn list<T>(&mut self, key: &str, items: &[T], json: impl Fn(&T) -> String) {
        if !items.is_empty() {
            self.raw(key, &format!("[{}]", items.iter().map(json).collect::<Vec<_>>().join(",")));
        }
    }

    /// A filter; nothing when it asks nothing.
    pub(crate) fn filter(&mut self, key: &str, filter: &Filter) {
        if !filter.is_everything() {
            self.raw(key, &filter.to_json());
        }
    }

    pub(crate) fn projection(&mut self, projection: &Projection) {
        match projection {
            Projection::All => {}
            Projection::Columns(columns) => self.texts("select", columns),
            Projection::Renamed(pairs) => {
                let mut project = Self::new();
                pairs.iter().for_each(|(name, column)| project.text(name, column));
                self.raw("project", &project.finish());
            }
        }
    }

    pub(crate) fn limit(&mut self, limit: Option<u64>) {
        if let Some(limit) = limit {
            self.raw("limit", &limit.to_string());
        }
    }

    fn order_by(&mut self, keys: &[OrderBy]) {
        self.list("orderBy", keys, order_json);
    }

    pub(crate) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

/// A double as JSON, in the fewest digits that read back. What JSON cannot say is `null`, which no reader here takes for
/// a number.
pub(crate) fn double_json(value: f64) -> String {
    serde_json::Number::from_f64(value).map_or_else(|| "null".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    fn refusal(text: &str) -> String {
        QueryOptions::parse(&raw(text)).unwrap_err().to_string()
    }

    #[test]
    fn orders_have_a_long_and_a_short_form() {
        let keys = |text: &str| {
            let keys = OrderBy::parse(&raw(text)).unwrap();
            keys.into_iter()
                .map(|key| format!("{} {}", key.field, key.direction.as_str()))
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(r#"{"field":"a"}"#), ["a asc"]);
        assert_eq!(keys(r#"[{"field":"a","dir":"DESC"},{"field":"b","dir":"desc"}]"#), ["a asc", "b desc"]);
        assert_eq!(keys(r#"{"b":"desc","a":"asc"}"#), ["b desc", "a asc"]);
        assert_eq!(
            OrderBy::parse(&raw(r#"[{"a":"up"}]"#)).unwrap_err().to_string(),
            "[0].a: expected \"asc\" or \"desc\""
        );
    }

    #[test]
    fn mistakes_name_the_field() {
        assert_eq!(refusal(r#"{"limit":"5"}"#), "limit: expected a whole number of at least 0");
        assert_eq!(refusal(r#"{"limit":-1}"#), "limit: expected a whole number of at least 0");
        assert_eq!(refusal(r#"{"select":[]}"#), "select: expected at least one name, or \"*\"");
        assert_eq!(refusal(r#"{"select":["a",5]}"#), "select[1]: expected a string");
        assert_eq!(refusal(r#"{"where":5}"#), "where: expected an object");
        assert_eq!(refusal(r#"{"orderBy":5}"#), "orderBy: expected {field, dir} or a list of them");
        assert_eq!(refusal("[]"), "options: expected an object");
    }

    #[test]
    fn query_options_read_back() {
        let text = r#"{"where":{"a":{"$eq":1}},"orderBy":[{"field":"b","dir":"desc"}],"limit":10,"project":{"x":"a","y":"b"},"total":true,"keyset":["id"],"cursor":"abc"}"#;
        let options = QueryOptions::parse(&raw(text)).unwrap();
        assert_eq!(options.to_json(), text);
        assert_eq!(QueryOptions::parse(&raw(&options.to_json())).unwrap(), options);
    }

    #[test]
    fn pages_of_a_scan_read_back() {
        let text = r#"{"limit":5,"cursor":"a\"b","fields":["x","y"],"changedSince":"2026-01-02T03:04:05.678Z","changeTrackingColumn":"at","total":true}"#;
        let options = ReadOptions::parse(&raw(text)).unwrap();
        assert_eq!(options.to_json(), text);
        let default = ReadOptions::default();
        assert_eq!(default.to_json(), r#"{"limit":1000,"changeTrackingColumn":"updated_at"}"#);
        assert_eq!(ReadOptions::parse(&raw(&default.to_json())).unwrap(), default);
    }

    #[test]
    fn a_page_of_a_scan_has_no_other_names() {
        let pairs = [("a", "y"), ("b", "x"), ("c", "y")].map(|(name, column)| (name.into(), column.into()));
        let options = ReadOptions { projection: Projection::Renamed(pairs.into()), ..ReadOptions::default() };
        assert!(options.to_json().contains(r#""fields":["x","y"]"#));
    }

    #[test]
    fn absent_and_null_mean_the_default() {
        assert_eq!(QueryOptions::parse(&raw("{}")).unwrap(), QueryOptions::default());
        assert_eq!(
            QueryOptions::parse(&raw(r#"{"where":null,"limit":null,"unknown":1}"#)).unwrap(),
            QueryOptions::default()
        );
        assert_eq!(ReadOptions::parse(&raw(r#"{"cursor":""}"#)).unwrap(), ReadOptions::default());
    }
}
