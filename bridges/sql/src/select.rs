//! Statements that read rows: `query` and `batchRead`, `read`, `count`.

use bridge_core::Position;
use protocol::{
    CountOptions, Filter, Invalid, Keyset, Projection, QueryOptions, ReadOptions, Scalar, Timestamp,
};

use crate::conform::{Operator, exact};
use crate::dialect::Paging;
use crate::filter::{Alias, Place, Scope, write_comparison, write_filter};
use crate::keyset::{Form, Key, append_tiebreak, order_keys, position, write_after, write_order};
use crate::{Dialect, Kind, Param, Sql, SqlError, SqlText, Table, Value};

/// The tracking column that is meant when a job names none. A table without it is read in full.
const DEFAULT_TRACKING_COLUMN: &str = "updated_at";

/// A statement that reads rows, and what its columns mean.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Select {
    /// The statement. Where [`page`](Self::page) is set it asks for one row more than the page has.
    pub sql: Sql,
    /// Names of the row's keys, in the order of the statement's first columns. Empty when the table's columns are not
    /// known and all were asked for: then the statement's own column names count.
    pub outputs: Vec<String>,
    /// The table's column behind each of the statement's columns; nothing for what the statement makes itself. Empty
    /// where [`outputs`](Self::outputs) is.
    pub columns: Vec<Option<String>>,
    /// How many columns stand at the end that are not part of the row, only of the cursor.
    pub hidden: usize,
    /// The statement's columns (0-based) that make the cursor, in the order of [`bridge_core::Position`]; empty without
    /// keyset paging. When the extra row comes, the cursor is made of the row before it: each value as rows carry it,
    /// or as the engine says it where rows say null for what is not (`infinity`, `NaN`).
    pub key: Vec<usize>,
    /// Rows of a page: a row beyond it is not part of the answer but means that there is a next page. Nothing: every row
    /// is part of the answer.
    pub page: Option<u64>,
    /// How to break a page between rows that the whole key does not tell apart; nothing where it tells all apart.
    pub level: Option<Level>,
}

/// Rows that are level by the whole key, over several pages: a cursor within them says how many are behind it.
///
/// They stand in one order, that of all their columns; rows that are equal in all of those are as good as each other.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Level {
    /// The key at which the page before ended.
    pub after: Option<Position>,
    /// How many of its rows the pages before had.
    pub skipped: u64,
}

impl Level {
    /// The cursor of a page whose last `run` rows all have the key `last`, as the row after the page does, too, if
    /// `more`. All rows of the page may be among them: `whole`.
    pub fn cursor(&self, mut last: Position, run: u64, whole: bool, more: bool) -> String {
        if more {
            let before = if whole && self.after.as_ref() == Some(&last) { self.skipped } else { 0 };
            last.0.push(Some(before.saturating_add(run).to_string()));
        }
        last.encode()
    }

    /// Reads a cursor: an entry for each of `keys` columns, and perhaps how many rows there are behind.
    fn of(cursor: &str, keys: usize) -> Result<Self, Invalid> {
        if let Ok(after) = Position::decode(cursor, keys) {
            return Ok(Self { after: Some(after), skipped: 0 });
        }
        let refused = || Invalid::new("cursor", "a cursor of this target and order");
        let mut after = Position::decode(cursor, keys.saturating_add(1))?;
        let skipped = after.0.pop().flatten().and_then(|skipped| skipped.parse().ok());
        Ok(Self { after: Some(after), skipped: skipped.ok_or_else(refused)? })
    }
}

/// `query`; also `batchRead`, by `QueryOptions::from(batch)`.
///
/// # Errors
/// A column that the table does not have, named like `where.nope`, `orderBy.nope`, `select.nope`; a cursor of another
/// order; keyset paging without a primary key or tiebreak.
pub fn query(dialect: &Dialect, table: &Table, options: &QueryOptions) -> Result<Select, SqlError> {
    let shown = |column| (dialect.shown)(column).is_some();
    let renamed = renames(&options.projection) || table.columns.iter().any(shown);
    let alias = (options.keyset.is_some() || renamed).then_some(BASE);
    let mut request = Request::new(dialect, table, alias, &options.projection, &options.filter);
    request.keys = order_keys(table, alias, &options.order_by).map_err(|error| error.within("orderBy"))?;
    request.limit = options.limit;
    request.offset = options.offset;
    if let Some(keyset) = &options.keyset {
        let tiebreak = tiebreak(table, keyset)?;
        append_tiebreak(&mut request.keys, table, alias, tiebreak).map_err(|error| error.within("keyset"))?;
        request.page_by_key(keyset.cursor.as_deref())?;
    }
    request.select()
}

/// The same options for a table that may have no primary key. Paging by key without named columns needs one; a table
/// without it answers its first page without a cursor.
pub(crate) fn without_key(table: &Table, mut options: QueryOptions) -> QueryOptions {
    if table.primary_key.is_empty()
        && matches!(&options.keyset, Some(Keyset { tiebreak: None, cursor: None }))
    {
        options.keyset = None;
    }
    options
}

/// One page of a scan in the order of the primary key.
///
/// Rows are those whose tracking column is later than `changed_since`. Without a column called `updated_at`, which is
/// the default, the read is a full one; a tracking column that was named must exist.
///
/// # Errors
/// A table without a primary key, a cursor of another table, columns that the table does not have.
pub fn read(dialect: &Dialect, table: &Table, options: &ReadOptions) -> Result<Select, SqlError> {
    let alias = Some(BASE);
    let everything = Filter::everything();
    let mut request = Request::new(dialect, table, alias, &options.projection, &everything);
    request.projection_field = "fields";
    request.limit = Some(options.limit);
    request.changed = changed_since(table, alias, options)?;
    append_tiebreak(&mut request.keys, table, alias, primary_key(table)?)?;
    request.page_by_key(options.cursor.as_deref())?;
    request.select()
}

/// How many rows match: one row with one integer. For the `total` of a query pass its filter, for that of a read an
/// empty one.
///
/// # Errors
/// A column that the table does not have.
pub fn count(dialect: &Dialect, table: &Table, options: &CountOptions) -> Result<Sql, SqlError> {
    let mut sql = SqlText::new(dialect);
    sql.syntax("SELECT COUNT(*) FROM ").name(&table.parts);
    Conditions { first: true, several: false }.filter(
        &mut sql,
        &Base { table, alias: None },
        &options.filter,
        "where",
    )?;
    sql.finish()
}

/// The base table's name in statements with outputs of other names than their columns have: there a plain name could
/// mean either.
pub(crate) const BASE: Alias = Alias("t", None);

/// A table's columns under one alias.
pub(crate) struct Base<'t> {
    pub(crate) table: &'t Table,
    pub(crate) alias: Option<Alias>,
}

impl Scope for Base<'_> {
    fn place<'a>(&'a self, name: &'a str) -> Result<Place<'a>, Invalid> {
        self.table.place(name, self.alias)
    }
}

/// The columns of the primary key.
pub(crate) fn primary_key(table: &Table) -> Result<&[String], Invalid> {
    if table.primary_key.is_empty() {
        let name = table.display_name();
        let expected =
            format!("a table with a primary key (Could not detect primary key for table \"{name}\")");
        return Err(Invalid::new("target", expected));
    }
    Ok(&table.primary_key)
}

fn tiebreak<'a>(table: &'a Table, keyset: &'a Keyset) -> Result<&'a [String], Invalid> {
    keyset.tiebreak.as_deref().map_or_else(|| primary_key(table), Ok)
}

/// Whether an output has another name than its column.
fn renames(projection: &Projection) -> bool {
    let pairs = projection.pairs().unwrap_or_default();
    pairs.iter().any(|(output, column)| output != column)
}

fn changed_since<'a>(
    table: &'a Table,
    alias: Option<Alias>,
    options: &'a ReadOptions,
) -> Result<Option<(Place<'a>, Timestamp)>, Invalid> {
    let Some(since) = options.changed_since else { return Ok(None) };
    let name = options.change_tracking_column.as_str();
    if name == DEFAULT_TRACKING_COLUMN && !table.columns.is_empty() && table.column(name).is_none() {
        return Ok(None);
    }
    let expected = || format!("a column of {}", table.display_name());
    let place = table.place(name, alias).map_err(|_| Invalid::new("changeTrackingColumn", expected()))?;
    Ok(Some((place, since)))
}

/// A statement that reads rows, in parts.
struct Request<'a> {
    dialect: &'a Dialect,
    base: Base<'a>,
    projection: &'a Projection,
    projection_field: &'static str,
    filter: &'a Filter,
    changed: Option<(Place<'a>, Timestamp)>,
    keys: Vec<Key<'a>>,
    keyset: bool,
    after: Option<Vec<Option<Value>>>,
    level: Option<Level>,
    limit: Option<u64>,
    offset: u64,
}

impl<'a> Request<'a> {
    fn new(
        dialect: &'a Dialect,
        table: &'a Table,
        alias: Option<Alias>,
        projection: &'a Projection,
        filter: &'a Filter,
    ) -> Self {
        let projection_field =
            if matches!(projection, Projection::Renamed(_)) { "project" } else { "select" };
        Self {
            dialect,
            base: Base { table, alias },
            projection,
            projection_field,
            filter,
            changed: None,
            keys: Vec::new(),
            keyset: false,
            after: None,
            level: None,
            limit: None,
            offset: 0,
        }
    }

    fn page_by_key(&mut self, cursor: Option<&str>) -> Result<(), Invalid> {
        if self.base.table.columns.is_empty() {
            return Err(Invalid::new("target", "a table whose columns are known, to page by key"));
        }
        self.keyset = true;
        let keys = self.keys.len();
        let after = match cursor {
            None => None,
            Some(cursor) if self.dialect.unique_keys => Some(Position::decode(cursor, keys)?),
            Some(cursor) => {
                let level = Level::of(cursor, keys)?;
                let after = level.after.clone();
                self.level = Some(level);
                after
            }
        };
        if !self.dialect.unique_keys {
            self.level.get_or_insert_default();
        }
        self.after = after.map(|after| position(self.dialect, &self.keys, after)).transpose()?;
        Ok(())
    }

    fn select(&self) -> Result<Select, SqlError> {
        let outputs = self.outputs()?;
        let mut sql = SqlText::new(self.dialect);
        sql.syntax("SELECT ");
        if outputs.is_empty() {
            sql.syntax("*");
        }
        sql.separated(", ", &outputs, |sql, (name, place)| write_output(sql, name, place));
        let mut columns: Vec<_> = outputs.iter().map(|(_, place)| Some(place.column.name.clone())).collect();
        let key = self.write_cursor_columns(&mut sql, &outputs, &mut columns);
        sql.syntax(" FROM ").name(&self.base.table.parts);
        if let Some(alias) = self.base.alias {
            sql.syntax(" ");
            alias.write(&mut sql);
        }
        self.write_conditions(&mut sql)?;
        if !self.keys.is_empty() {
            sql.syntax(" ORDER BY ");
            write_order(&mut sql, &self.keys, self.keyset);
            self.write_ties(&mut sql);
        }
        self.write_paging(&mut sql);
        let outputs: Vec<String> = outputs.into_iter().map(|(name, _)| name.to_owned()).collect();
        let hidden = columns.len().saturating_sub(outputs.len());
        let page = self.limit.filter(|_| self.keyset);
        Ok(Select { sql: sql.finish()?, outputs, columns, hidden, key, page, level: self.level.clone() })
    }

    /// Output names with their columns; nothing for all columns of a table that is not known.
    fn outputs(&self) -> Result<Vec<(&'a str, Place<'a>)>, Invalid> {
        let Base { table, alias } = self.base;
        let pairs = self.projection.pairs().unwrap_or_else(|| {
            let visible = table.columns.iter().filter(|column| !column.hidden);
            visible.map(|column| (column.name.as_str(), column.name.as_str())).collect()
        });
        let output = |(name, column): (&'a str, &'a str)| {
            let place = table.place(column, alias).map_err(|error| {
                let renamed = matches!(self.projection, Projection::Renamed(_));
                let field = if renamed { name.to_owned() } else { error.field };
                Invalid { field, expected: error.expected }.within(self.projection_field)
            })?;
            Ok((name, place))
        };
        pairs.into_iter().map(output).collect()
    }

    /// Appends the columns that only the cursor needs, and says where all of the cursor's columns are.
    fn write_cursor_columns(
        &self,
        sql: &mut SqlText<'_>,
        outputs: &[(&str, Place<'_>)],
        columns: &mut Vec<Option<String>>,
    ) -> Vec<usize> {
        if !self.keyset {
            return Vec::new();
        }
        let mut at = |(number, key): (usize, &Key<'_>)| {
            let form = key.form(self.dialect);
            let shown = outputs.iter().position(|(_, place)| place.column.name == key.place.column.name);
            if let (Some(shown), Form::Row) = (shown, form) {
                return shown;
            }
            sql.syntax(", ");
            match form {
                Form::Row => key.place.write(sql),
                Form::Text => key.place.write_text(sql),
                Form::Literal(template) => {
                    sql.template(template, |sql, _| key.place.write(sql));
                }
            }
            sql.syntax(" AS ");
            Alias("k", Some(number)).write(sql);
            columns.push((form == Form::Row).then(|| key.place.column.name.clone()));
            columns.len() - 1
        };
        self.keys.iter().enumerate().map(&mut at).collect()
    }

    fn write_conditions(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        let nothing = self.limit == Some(0) && matches!(self.dialect.paging, Paging::Fetch { .. });
        let asked = [!self.filter.is_everything(), self.changed.is_some(), self.after.is_some(), nothing];
        let several = asked.into_iter().filter(|asked| *asked).count() > 1;
        let mut conditions = Conditions { first: true, several };
        conditions.filter(sql, &self.base, self.filter, "where")?;
        if let Some((place, since)) = &self.changed {
            conditions.begin(sql);
            write_changed(sql, place, *since)?;
            conditions.end(sql);
        }
        if let Some(after) = &self.after {
            conditions.begin(sql);
            write_after(sql, &self.keys, after, self.skipped() > 0);
            conditions.end(sql);
        }
        if nothing {
            conditions.begin(sql);
            sql.syntax("1=0");
            conditions.end(sql);
        }
        Ok(())
    }

    fn write_paging(&self, sql: &mut SqlText<'_>) {
        let limit = match self.limit {
            // The row after the page tells whether there is a next one; after an empty page nobody asks.
            Some(limit) if self.keyset && limit > 0 => Some(limit.saturating_add(1)),
            limit => limit,
        };
        write_paging(sql, limit, self.offset.saturating_add(self.skipped()), !self.keys.is_empty());
    }

    /// Orders rows that are level by everything that they are.
    fn write_ties(&self, sql: &mut SqlText<'_>) {
        let Base { table, alias } = self.base;
        let is_key = |name: &str| self.keys.iter().any(|key| key.place.column.name == name);
        for column in table.columns.iter().filter(|column| self.level.is_some() && !is_key(&column.name)) {
            let Ok(place) = table.place(&column.name, alias) else { continue };
            sql.syntax(", ");
            match (self.dialect.tie)(column) {
                Some(template) => {
                    sql.template(template, |sql, _| place.write(sql));
                }
                None => place.write(sql),
            }
        }
    }

    /// How many rows of the key at which the page before ended are behind.
    fn skipped(&self) -> u64 {
        self.level.as_ref().map_or(0, |level| level.skipped)
    }
}

/// Writes the clause that counts rows off.
pub(crate) fn write_paging(sql: &mut SqlText<'_>, limit: Option<u64>, offset: u64, ordered: bool) {
    if limit.is_none() && offset == 0 {
        return;
    }
    match sql.dialect().paging {
        Paging::Limit { unlimited, bound } => {
            if let Some(limit) = limit {
                sql.syntax(" LIMIT ");
                write_amount(sql, limit, bound);
            } else if let Some(unlimited) = unlimited {
                sql.syntax(" LIMIT ").syntax(unlimited);
            }
            if offset > 0 {
                sql.syntax(" OFFSET ");
                write_amount(sql, offset, bound);
            }
        }
        // FETCH takes no zero; the conditions already let nothing through.
        Paging::Fetch { .. } if limit == Some(0) => {}
        Paging::Fetch { order } => {
            if let (false, Some(order)) = (ordered, order) {
                sql.syntax(" ORDER BY ").syntax(order);
            }
            sql.syntax(" OFFSET ");
            write_amount(sql, offset, true);
            sql.syntax(" ROWS");
            if let Some(limit) = limit {
                sql.syntax(" FETCH NEXT ");
                write_amount(sql, limit, true);
                sql.syntax(" ROWS ONLY");
            }
        }
    }
}

fn write_amount(sql: &mut SqlText<'_>, amount: u64, bound: bool) {
    let amount = i64::try_from(amount).unwrap_or(i64::MAX);
    if bound {
        sql.param(Param::plain(Value::Integer(amount)));
    } else {
        sql.whole(amount.unsigned_abs());
    }
}

pub(crate) fn write_output(sql: &mut SqlText<'_>, name: &str, place: &Place<'_>) {
    let shown = (sql.dialect().shown)(&place.column);
    match shown {
        Some(template) => {
            sql.template(template, |sql, _| place.write(sql));
        }
        None => place.write(sql),
    }
    if shown.is_some() || name != place.column.name {
        sql.syntax(" AS ").ident(name);
    }
}

/// Writes that a tracking column is later. Where dates are text they are written alike first, because one hour has
/// several forms that do not compare.
fn write_changed(sql: &mut SqlText<'_>, place: &Place<'_>, since: Timestamp) -> Result<(), Invalid> {
    let dialect = sql.dialect();
    let kind = place.column.kind;
    let refused = || Invalid::new("changeTrackingColumn", "a column of dates or timestamps");
    if dialect.dates_are_text {
        let instant = (dialect.aggregates.instant)(kind).ok_or_else(refused)?;
        sql.template(dialect.aggregates.iso, |sql, _| {
            sql.template(instant, |sql, _| place.write(sql));
        });
        sql.syntax(" > ").param(Param::plain(Value::Text(since.to_string())));
        return Ok(());
    }
    match kind {
        // A day is later than an instant within it only when it is a later day.
        Kind::Date | Kind::Timestamp | Kind::TimestampTz | Kind::Unknown => {
            let value = match Timestamp::from_days(since.days()) {
                Some(day) if kind == Kind::Date => Value::Timestamp(day),
                _ => Value::Timestamp(since),
            };
            write_comparison(sql, place, Operator::Greater, value);
            Ok(())
        }
        Kind::Text => {
            let value =
                exact(dialect, &place.column, &Scalar::Text(since.to_string())).ok_or_else(refused)?;
            write_comparison(sql, place, Operator::Greater, value);
            Ok(())
        }
        Kind::Integer { .. }
        | Kind::Decimal
        | Kind::Float { .. }
        | Kind::Boolean
        | Kind::Enum
        | Kind::Uuid
        | Kind::Time
        | Kind::Bytes
        | Kind::Json
        | Kind::Other => Err(refused()),
    }
}

/// Conditions joined with AND: each in parentheses when there are several.
pub(crate) struct Conditions {
    pub(crate) first: bool,
    pub(crate) several: bool,
}

impl Conditions {
    pub(crate) fn begin(&mut self, sql: &mut SqlText<'_>) {
        sql.syntax(if self.first { " WHERE " } else { " AND " });
        self.first = false;
        if self.several {
            sql.syntax("(");
        }
    }

    pub(crate) fn end(&self, sql: &mut SqlText<'_>) {
        if self.several {
            sql.syntax(")");
        }
    }

    pub(crate) fn filter(
        &mut self,
        sql: &mut SqlText<'_>,
        scope: &impl Scope,
        filter: &Filter,
        field: &str,
    ) -> Result<(), SqlError> {
        if filter.is_everything() {
            return Ok(());
        }
        self.begin(sql);
        write_filter(sql, scope, filter).map_err(|error| error.within(field))?;
        self.end(sql);
        Ok(())
    }
}
