//! From a request in a lens's words to a job in a source's: names become columns, a cursor becomes a position.
//!
//! Pure: what a plan is depends on the lens, the request and the runner's extensions alone.

use std::sync::Arc;

use protocol::{
    Comparison, CountOptions, Direction, Extension, Extensions, Filter, Invalid, JobKind, JobRequest, Keyset,
    OrderBy, Projection, QueryOptions, RawObject, RequestError, Scalar, Test, Where,
};
use serde_json::value::RawValue;

use crate::api::error::ApiError;
use crate::cursor::{CursorKey, Fingerprint, Place, open};
use crate::dispatch::Plan;
use crate::lens::{Lens, LensField};
use crate::model::Source;
use crate::reshape::{OutputField, Reshape};

/// Rows of a query that does not say.
const DEFAULT_LIMIT: u64 = 100;
/// The body's fields; others are refused, because a misspelt `where` must not mean everything.
const QUERY_FIELDS: [&str; 9] =
    ["where", "orderBy", "limit", "offset", "cursor", "select", "fields", "total", "meta"];

/// What an application asks of a lens, checked and in the lens's words.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct QueryRequest {
    filter: Filter,
    order_by: Vec<OrderBy>,
    limit: u64,
    offset: u64,
    cursor: Option<String>,
    select: Option<Select>,
    total: bool,
    /// Whether a stream of lines ends with one that has the meta object.
    pub(crate) meta: bool,
}

impl QueryRequest {
    /// Reads a body. An empty body asks for the first rows.
    pub(crate) fn parse(body: &str) -> Result<Self, ApiError> {
        let body = if body.trim().is_empty() { "{}" } else { body };
        let object = open_body(body)?;
        known_fields(&object, &QUERY_FIELDS)?;
        let request = Self {
            filter: filter(&object)?,
            order_by: match object.get("orderBy") {
                Some(raw) => order_by(raw).map_err(|invalid| invalid.within("orderBy"))?,
                None => Vec::new(),
            },
            limit: object.whole("limit")?.unwrap_or(DEFAULT_LIMIT),
            offset: object.whole("offset")?.unwrap_or(0),
            cursor: object.text("cursor")?,
            select: select(&object)?,
            total: object.boolean("total")?.unwrap_or(false),
            meta: object.boolean("meta")?.unwrap_or(false),
        };
        if request.cursor.as_deref() == Some("") {
            return Err(ApiError::invalid(
                "cursor",
                "nextCursor of the page before, or no cursor for the first page",
            ));
        }
        if request.cursor.is_some() && request.offset > 0 {
            return Err(ApiError::invalid("offset", "0 together with cursor"));
        }
        Ok(request)
    }
}

impl QueryRequest {
    /// Refuses more rows at once than a caller may have.
    pub(crate) fn at_most(&self, rows: u64) -> Result<(), ApiError> {
        if self.limit <= rows {
            return Ok(());
        }
        Err(ApiError::invalid("limit", &format!("at most {rows} with a public key")))
    }
}

/// Which fields to return, and what the body calls that.
#[derive(Debug, Clone, PartialEq)]
struct Select {
    key: &'static str,
    names: Vec<String>,
}

fn open_body(body: &str) -> Result<RawObject<'_>, ApiError> {
    RawObject::from_text(body).map_err(|invalid| invalid.within("body").into())
}

fn known_fields(object: &RawObject<'_>, known: &[&str]) -> Result<(), ApiError> {
    match object.iter().find(|(key, _)| !known.contains(key)) {
        Some(("include", _)) => Err(ApiError::invalid("include", "no include: relations are not served yet")),
        Some((key, _)) => Err(ApiError::invalid(key, &format!("one of {}", known.join(", ")))),
        None => Ok(()),
    }
}

fn filter(object: &RawObject<'_>) -> Result<Filter, RequestError> {
    object.get("where").map_or_else(|| Ok(Filter::everything()), Filter::parse)
}

/// A misspelt direction must not mean the other one, as it does for bridges.
fn order_by(raw: &RawValue) -> Result<Vec<OrderBy>, Invalid> {
    let keys = OrderBy::parse(raw)?;
    let expected = |path: String| Invalid::new(path, "\"asc\" or \"desc\"");
    if is_misspelt(raw) {
        return Err(expected("dir".to_owned()));
    }
    let items: Vec<&RawValue> = serde_json::from_str(raw.get()).unwrap_or_default();
    match items.into_iter().position(is_misspelt) {
        Some(index) => Err(expected(format!("[{index}].dir"))),
        None => Ok(keys),
    }
}

fn is_misspelt(key: &RawValue) -> bool {
    let Ok(key) = RawObject::parse(key) else { return false };
    key.get("field").is_some()
        && key.get("dir").is_some_and(|dir| !matches!(dir.get(), r#""asc""# | r#""desc""#))
}

/// `select`, or its synonym `fields`. `["*"]` and `"*"` mean every field.
fn select(object: &RawObject<'_>) -> Result<Option<Select>, ApiError> {
    let key = match (object.get("select"), object.get("fields")) {
        (Some(_), Some(_)) => return Err(ApiError::invalid("fields", "only one of select and fields")),
        (None, Some(_)) => "fields",
        (_, None) => "select",
    };
    let Some(raw) = object.get(key) else { return Ok(None) };
    match Projection::parse(raw).map_err(|invalid| invalid.within(key))? {
        Projection::Columns(names) if names != ["*"] => Ok(Some(Select { key, names })),
        Projection::All | Projection::Columns(_) | Projection::Renamed(_) => Ok(None),
    }
}

/// A query of a lens, ready for whichever runner gets it.
#[derive(Debug)]
pub(crate) struct QueryPlan {
    lens: Arc<Lens>,
    source: String,
    nulls: Nulls,
    filter: Filter,
    order_by: Vec<OrderBy>,
    fields: Vec<OutputField>,
    limit: u64,
    offset: u64,
    total: bool,
    paged: bool,
    place: Option<Place>,
    pub(crate) fingerprint: Fingerprint,
}

impl QueryPlan {
    /// Maps a request onto its lens. `paged` asks for a cursor at the end.
    pub(crate) fn new(
        lens: &Arc<Lens>,
        source: &Source,
        request: QueryRequest,
        paged: bool,
        cursors: &CursorKey,
    ) -> Result<Self, ApiError> {
        let order_text: Vec<String> =
            request.order_by.iter().map(|key| format!("{} {}", key.direction.as_str(), key.field)).collect();
        let fingerprint = Fingerprint::of(&[&lens.name, &request.filter.to_json(), &order_text.join("\n")]);
        let place =
            request.cursor.as_deref().map(|cursor| open(cursors, &fingerprint, cursor)).transpose()?;
        let order_by = request.order_by.iter().enumerate().map(|(index, key)| {
            let column = column(lens, &key.field, &format!("orderBy[{index}].field"))?;
            Ok(OrderBy { field: column, direction: key.direction })
        });
        Ok(Self {
            lens: Arc::clone(lens),
            source: source.name.clone(),
            nulls: Nulls::of(&source.bridge),
            filter: map_filter(lens, &request.filter)?,
            order_by: order_by.collect::<Result<_, ApiError>>()?,
            fields: selected(lens, request.select.as_ref())?,
            limit: request.limit,
            offset: request.offset,
            total: request.total,
            paged: place.is_some() || (paged && request.offset == 0),
            place,
            fingerprint,
        })
    }

    /// How rows from a runner with these extensions become the lens's rows.
    pub(crate) fn reshape(&self, extensions: Extensions) -> Reshape {
        let renamed = extensions.has(Extension::Project);
        let page = self.emulates(extensions).then(|| (self.limit, self.key_columns()));
        Reshape::new(&self.fields, renamed, page)
    }

    /// Whether the answer of a runner that pages by key carries a cursor for the caller.
    pub(crate) fn pages_at_bridge(&self, extensions: Extensions) -> bool {
        self.paged && extensions.has(Extension::Keyset) && !self.emulates(extensions)
    }

    /// Whether the gateway pages for this runner.
    fn emulates(&self, extensions: Extensions) -> bool {
        match &self.place {
            Some(Place::Keys(_)) => true,
            Some(Place::Bridge(_)) => false,
            None => self.paged && !extensions.has(Extension::Keyset) && !self.lens.primary_key.is_empty(),
        }
    }

    /// The order's columns and, behind them, those of the primary key that are not among them.
    fn total_order(&self) -> Vec<OrderBy> {
        let mut keys = self.order_by.clone();
        for column in &self.lens.primary_key {
            if !keys.iter().any(|key| key.field == *column) {
                keys.push(OrderBy { field: column.clone(), direction: Direction::Ascending });
            }
        }
        keys
    }

    fn key_columns(&self) -> Vec<String> {
        self.total_order().into_iter().map(|key| key.field).collect()
    }

    fn options(&self, extensions: Extensions) -> Result<QueryOptions, ApiError> {
        let mut options = QueryOptions {
            filter: self.filter.clone(),
            order_by: self.order_by.clone(),
            limit: Some(self.limit),
            offset: self.offset,
            projection: self.projection(extensions),
            total: self.total,
            keyset: None,
        };
        if self.emulates(extensions) {
            options.order_by = self.total_order();
            options.limit = Some(self.limit.saturating_add(1));
            if let Some(Place::Keys(keys)) = &self.place {
                // The condition below would be counted, too: the total of a later page is that of the first.
                options.total = false;
                options.filter = options.filter.and(self.after(&options.order_by, keys)?);
            }
        } else if self.paged && extensions.has(Extension::Keyset) {
            let tiebreak = (!self.lens.primary_key.is_empty()).then(|| self.lens.primary_key.clone());
            let cursor = match &self.place {
                Some(Place::Bridge(cursor)) => Some(cursor.clone()),
                Some(Place::Keys(_)) | None => None,
            };
            options.keyset = Some(Keyset { tiebreak, cursor });
        } else if self.place.is_some() {
            return Err(ApiError::invalid(
                "cursor",
                "a cursor of a runner that is online (this one pages by offset)",
            ));
        }
        Ok(options)
    }

    fn projection(&self, extensions: Extensions) -> Projection {
        let page_keys = if self.emulates(extensions) { self.key_columns() } else { Vec::new() };
        if extensions.has(Extension::Project) && page_keys.is_empty() {
            let pair = |field: &OutputField| (field.name.clone(), field.column.clone());
            return Projection::Renamed(self.fields.iter().map(pair).collect());
        }
        let mut columns: Vec<String> = Vec::new();
        for column in self.fields.iter().map(|field| &field.column).chain(&page_keys) {
            if !columns.contains(column) {
                columns.push(column.clone());
            }
        }
        Projection::Columns(columns)
    }
}

impl Plan for QueryPlan {
    fn kind(&self) -> JobKind {
        JobKind::Query
    }

    fn request(&self, extensions: Extensions) -> Result<JobRequest, ApiError> {
        let options = self.options(extensions)?.to_json();
        Ok(JobRequest {
            source: self.source.clone(),
            kind: JobKind::Query,
            target: self.lens.table.clone(),
            options: RawValue::from_string(options).map_err(|error| ApiError::internal(&error))?,
        })
    }
}

/// Where a database sorts its nulls when it is not told; version 1 cannot tell it. The page after a null depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nulls {
    /// Above all values: last in ascending order, first in descending order.
    Largest,
    /// Below all values.
    Smallest,
    /// Behind all values in either order.
    Last,
}

impl Nulls {
    /// Of the database behind a bridge. One that we do not know is taken to be like most.
    fn of(bridge: &str) -> Self {
        match bridge.strip_prefix("@semilayer/bridge-").unwrap_or(bridge) {
            "postgres" | "neon" | "supabase" | "oracle" | "snowflake" => Self::Largest,
            "clickhouse" | "duckdb" | "elasticsearch" => Self::Last,
            _ => Self::Smallest,
        }
    }

    const fn are_last(self, direction: Direction) -> bool {
        match self {
            Self::Largest => matches!(direction, Direction::Ascending),
            Self::Smallest => matches!(direction, Direction::Descending),
            Self::Last => true,
        }
    }
}

impl QueryPlan {
    /// Rows behind a position, for runners that cannot page by key: `a > x or (a = x and b > y) …`.
    fn after(&self, order: &[OrderBy], keys: &[Option<String>]) -> Result<Filter, ApiError> {
        let refused = || ApiError::invalid("cursor", "a nextCursor of this gateway, unchanged");
        if order.len() != keys.len() {
            return Err(refused());
        }
        let scalar = |text: &String| {
            serde_json::from_str::<&RawValue>(text)
                .ok()
                .and_then(|raw| Scalar::parse(raw).ok())
                .ok_or_else(refused)
        };
        let mut ways = Vec::new();
        let mut equal: Vec<Where> = Vec::new();
        for (key, value) in order.iter().zip(keys) {
            let value = value.as_ref().map(scalar).transpose()?.unwrap_or(Scalar::Null);
            if let Some(behind) = self.behind(key, &value) {
                ways.push(Where::All(equal.iter().cloned().chain([behind]).collect()));
            }
            equal.push(Where::field(&key.field, Test::Equal(value)));
        }
        Ok(Filter::from_where(match ways.len() {
            0 => Where::field(order.first().map_or("", |key| &key.field), Test::In(Vec::new())),
            _ => Where::Any(ways),
        }))
    }

    /// Values strictly behind `value` in one key; nothing when there are none.
    fn behind(&self, key: &OrderBy, value: &Scalar) -> Option<Where> {
        let field = |test| Where::field(&key.field, test);
        let nulls_are_last = self.nulls.are_last(key.direction);
        // Columns of the primary key hold no nulls.
        let nullable = !self.lens.primary_key.contains(&key.field);
        // Plain version 1 has no `$exists`; `$ne: null` says the same.
        if *value == Scalar::Null {
            return (!nulls_are_last).then(|| field(Test::NotEqual(Scalar::Null)));
        }
        let comparison = match key.direction {
            Direction::Ascending => Comparison::Greater,
            Direction::Descending => Comparison::Less,
        };
        let behind = field(Test::Compare(comparison, value.clone()));
        if nullable && nulls_are_last {
            return Some(Where::Any(vec![behind, field(Test::Equal(Scalar::Null))]));
        }
        Some(behind)
    }
}

/// A count of a lens.
#[derive(Debug)]
pub(crate) struct CountPlan {
    source: String,
    table: String,
    options: CountOptions,
}

impl CountPlan {
    /// Maps a count's body onto its lens.
    pub(crate) fn new(lens: &Lens, source: &str, body: &str) -> Result<Self, ApiError> {
        let body = if body.trim().is_empty() { "{}" } else { body };
        let object = open_body(body)?;
        known_fields(&object, &["where"])?;
        let options = CountOptions { filter: map_filter(lens, &filter(&object)?)? };
        Ok(Self { source: source.to_owned(), table: lens.table.clone(), options })
    }
}

impl Plan for CountPlan {
    fn kind(&self) -> JobKind {
        JobKind::Count
    }

    fn request(&self, _extensions: Extensions) -> Result<JobRequest, ApiError> {
        let filter = &self.options.filter;
        let options = if filter.is_everything() {
            "{}".to_owned()
        } else {
            format!("{{\"where\":{}}}", filter.to_json())
        };
        Ok(JobRequest {
            source: self.source.clone(),
            kind: JobKind::Count,
            target: self.table.clone(),
            options: RawValue::from_string(options).map_err(|error| ApiError::internal(&error))?,
        })
    }
}

/// A job without options, for one source.
#[derive(Debug)]
pub(crate) struct PlainPlan {
    pub(crate) source: String,
    pub(crate) kind: JobKind,
    pub(crate) target: String,
}

impl Plan for PlainPlan {
    fn kind(&self) -> JobKind {
        self.kind.clone()
    }

    fn request(&self, _extensions: Extensions) -> Result<JobRequest, ApiError> {
        Ok(JobRequest {
            source: self.source.clone(),
            kind: self.kind.clone(),
            target: self.target.clone(),
            options: RawValue::from_string("{}".to_owned()).map_err(|error| ApiError::internal(&error))?,
        })
    }
}

/// Field names become columns; `$exists` becomes a null test, which every runner knows.
fn map_filter(lens: &Lens, filter: &Filter) -> Result<Filter, ApiError> {
    let mut rename = |name: &str| column(lens, name, &format!("where.{name}"));
    let mapped = filter.try_rename(&mut rename)?;
    Ok(Filter::from_where(plain_nulls(mapped.into_condition())))
}

fn plain_nulls(condition: Where) -> Where {
    match condition {
        Where::All(parts) => Where::All(parts.into_iter().map(plain_nulls).collect()),
        Where::Any(parts) => Where::Any(parts.into_iter().map(plain_nulls).collect()),
        Where::Not(part) => Where::Not(Box::new(plain_nulls(*part))),
        Where::Field { name, test: Test::Exists(true) } => {
            Where::Field { name, test: Test::NotEqual(Scalar::Null) }
        }
        Where::Field { name, test: Test::Exists(false) } => {
            Where::Field { name, test: Test::Equal(Scalar::Null) }
        }
        Where::Everything | Where::Field { .. } => condition,
    }
}

fn column(lens: &Lens, name: &str, path: &str) -> Result<String, ApiError> {
    let field = lens.field(name).ok_or_else(|| unknown_field(lens, path))?;
    Ok(field.column.clone())
}

fn unknown_field(lens: &Lens, path: &str) -> ApiError {
    Invalid::new(path, format!("a field of lens \"{}\"", lens.name)).into()
}

fn selected(lens: &Lens, select: Option<&Select>) -> Result<Vec<OutputField>, ApiError> {
    let output = |field: &LensField| OutputField {
        name: field.name.clone(),
        column: field.column.clone(),
        transforms: field.transforms.clone(),
    };
    let Some(Select { key, names }) = select else {
        return Ok(lens.fields.iter().map(output).collect());
    };
    let field = |(index, name): (usize, &String)| {
        lens.field(name).map(output).ok_or_else(|| unknown_field(lens, &format!("{key}[{index}]")))
    };
    names.iter().enumerate().map(field).collect()
}

#[cfg(test)]
mod tests {

    use super::*;
    use crate::cursor::seal;
    use crate::lens::{FieldKind, Grants};
    use crate::model::{self, Credentials, Origin, SourceId};

    fn lens() -> Arc<Lens> {
        let field = |name: &str, column: &str, primary_key| LensField {
            name: name.to_owned(),
            column: column.to_owned(),
            kind: FieldKind::Text,
            array: false,
            values: Vec::new(),
            transforms: Vec::new(),
            primary_key,
        };
        Arc::new(Lens {
            name: "products".to_owned(),
            source: SourceId::new(),
            table: "public.products".to_owned(),
            fields: vec![
                field("id", "id", true),
                field("title", "name", false),
                field("price", "price", false),
            ],
            primary_key: vec!["id".to_owned()],
            change_tracking_column: None,
            grants: Grants::default(),
            declared: crate::config::Node::Null,
        })
    }

    fn key() -> CursorKey {
        CursorKey::new(&[1; 32]).unwrap()
    }

    fn source(bridge: &str) -> Source {
        Source {
            id: SourceId::new(),
            name: "db".to_owned(),
            bridge: format!("@semilayer/bridge-{bridge}"),
            credentials: Credentials::RunnerLocal,
            timeout_ms: 1,
            origin: Origin::Api,
            created_at: model::now(),
            updated_at: model::now(),
        }
    }

    fn plan(body: &str) -> Result<QueryPlan, ApiError> {
        plan_of("postgres", body)
    }

    fn plan_of(bridge: &str, body: &str) -> Result<QueryPlan, ApiError> {
        QueryPlan::new(&lens(), &source(bridge), QueryRequest::parse(body)?, true, &key())
    }

    fn options(body: &str, extensions: Extensions) -> String {
        plan(body).unwrap().request(extensions).unwrap().options.get().to_owned()
    }

    fn refusal(body: &str) -> String {
        plan(body).unwrap_err().message().to_owned()
    }

    #[test]
    fn names_become_columns_and_the_bridge_renames_and_pages() {
        assert_eq!(
            options(
                r#"{"where":{"title":{"$exists":true}},"orderBy":{"field":"price","dir":"desc"},"select":["title"]}"#,
                Extensions::all()
            ),
            r#"{"where":{"name":{"$ne":null}},"orderBy":[{"field":"price","dir":"desc"}],"limit":100,"project":{"title":"name"},"keyset":["id"]}"#
        );
    }

    #[test]
    fn a_version_1_runner_gets_a_plain_select_with_the_order_made_total() {
        assert_eq!(
            options(
                r#"{"orderBy":{"field":"price","dir":"desc"},"select":["title"],"limit":2}"#,
                Extensions::NONE
            ),
            r#"{"orderBy":[{"field":"price","dir":"desc"},{"field":"id","dir":"asc"}],"limit":3,"select":["name","price","id"]}"#
        );
    }

    #[test]
    fn a_version_1_page_continues_behind_the_last_row() {
        let first = plan(r#"{"orderBy":{"field":"price","dir":"desc"}}"#).unwrap();
        let cursor = seal(
            &key(),
            &first.fingerprint,
            &Place::Keys(vec![Some("9.5".to_owned()), Some("7".to_owned())]),
        )
        .unwrap();
        let body = format!(r#"{{"orderBy":{{"field":"price","dir":"desc"}},"cursor":"{cursor}"}}"#);
        let next = options(&body, Extensions::NONE);
        assert!(
            next.contains(r#"{"$or":[{"price":{"$lt":9.5}},{"price":{"$eq":9.5},"id":{"$gt":7}}]}"#),
            "{next}"
        );
        let changed = format!(r#"{{"orderBy":{{"field":"price"}},"cursor":"{cursor}"}}"#);
        assert!(refusal(&changed).contains("same lens, where and orderBy"));
    }

    #[test]
    fn the_page_behind_a_null_depends_on_where_the_database_puts_nulls() {
        let behind = |bridge: &str, dir: &str, price: Option<&str>| {
            let order = format!(r#""orderBy":{{"field":"price","dir":"{dir}"}}"#);
            let first = plan_of(bridge, &format!("{{{order}}}")).unwrap();
            let keys = vec![price.map(str::to_owned), Some("7".to_owned())];
            let cursor = seal(&key(), &first.fingerprint, &Place::Keys(keys)).unwrap();
            let next = plan_of(bridge, &format!(r#"{{{order},"cursor":"{cursor}"}}"#)).unwrap();
            let options = next.request(Extensions::NONE).unwrap().options.get().to_owned();
            options.split_once(r#","orderBy"#).unwrap().0.trim_start_matches(r#"{"where":"#).to_owned()
        };
        let in_null = r#"{"price":{"$eq":null},"id":{"$gt":7}}"#;
        let below = r#"{"$or":[{"price":{"$lt":5}},{"price":{"$eq":5},"id":{"$gt":7}}]}"#;
        let above = r#"{"$or":[{"price":{"$gt":5}},{"price":{"$eq":5},"id":{"$gt":7}}]}"#;
        let and_nulls = |comparison: &str| {
            let either =
                format!(r#"{{"$or":[{{"price":{{"{comparison}":5}}}},{{"price":{{"$eq":null}}}}]}}"#);
            format!(r#"{{"$or":[{either},{{"price":{{"$eq":5}},"id":{{"$gt":7}}}}]}}"#)
        };
        let not_null = format!(r#"{{"$or":[{{"price":{{"$ne":null}}}},{in_null}]}}"#);
        let only_null = format!(r#"{{"$or":[{in_null}]}}"#);
        for (bridge, dir, after_null, after_five) in [
            ("postgres", "asc", &only_null, &and_nulls("$gt")),
            ("postgres", "desc", &not_null, &below.to_owned()),
            ("sqlite", "asc", &not_null, &above.to_owned()),
            ("sqlite", "desc", &only_null, &and_nulls("$lt")),
            ("clickhouse", "asc", &only_null, &and_nulls("$gt")),
            ("clickhouse", "desc", &only_null, &and_nulls("$lt")),
        ] {
            assert_eq!(behind(bridge, dir, None), *after_null, "{bridge} {dir}");
            assert_eq!(behind(bridge, dir, Some("5")), *after_five, "{bridge} {dir}");
        }
    }

    #[test]
    fn an_offset_turns_paging_by_key_off() {
        assert!(!options(r#"{"offset":5}"#, Extensions::all()).contains("keyset"));
    }

    #[test]
    fn what_is_not_understood_is_refused_by_name() {
        for (body, message) in [
            (r#"{"wehre":{}}"#, "wehre: expected one of where, "),
            (r#"{"include":{"a":true}}"#, "include: expected no include"),
            (r#"{"where":{"name":1}}"#, "where.name: expected a field of lens \"products\""),
            (r#"{"where":{"$or":[{"nope":1}]}}"#, "where.nope: expected a field"),
            (r#"{"orderBy":[{"field":"id"},{"field":"name"}]}"#, "orderBy[1].field: expected a field"),
            (r#"{"orderBy":{"field":"id","dir":"up"}}"#, "orderBy.dir: expected \"asc\" or \"desc\""),
            (r#"{"orderBy":[{"field":"id"},{"field":"id","dir":"DESC"}]}"#, "orderBy[1].dir: expected"),
            (r#"{"select":["id","name"]}"#, "select[1]: expected a field"),
            (r#"{"select":["id"],"fields":["id"]}"#, "fields: expected only one of"),
            (r#"{"limit":1.5}"#, "limit: expected a whole number"),
            (r#"{"cursor":"x","offset":1}"#, "offset: expected 0"),
            (r#"{"cursor":""}"#, "cursor: expected nextCursor of the page before"),
            ("[1]", "body: expected an object"),
            ("{", "body: expected a valid JSON object"),
        ] {
            assert!(refusal(body).starts_with(message), "{body}: {}", refusal(body));
        }
    }

    #[test]
    fn an_empty_body_asks_for_the_first_rows() {
        assert!(options("", Extensions::all()).contains(r#""limit":100"#));
    }
}
