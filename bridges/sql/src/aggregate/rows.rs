//! The rows that are aggregated: the base table, what is joined to it, and which of them count.

use protocol::{AggregateOptions, Filter, Invalid, Join, MeasureKind, Scalar, Test, Where};

use super::begin_column;
use super::dimension::DimensionPlan;
use crate::filter::{Alias, Place, Scope};
use crate::select::{BASE, Conditions};
use crate::{Dialect, SqlError, SqlText, Table};

/// The base table with its joins.
pub(crate) struct Rows<'a> {
    table: &'a Table,
    joins: Vec<Joined<'a>>,
    ids: Option<Filter>,
    tracking: Option<&'a str>,
}

struct Joined<'a> {
    join: &'a Join,
    table: &'a Table,
    alias: Alias,
}

impl<'a> Rows<'a> {
    pub(crate) fn new(
        dialect: &'a Dialect,
        table: &'a Table,
        joined: &'a [Table],
        options: &'a AggregateOptions,
    ) -> Result<Self, SqlError> {
        if joined.len() != options.joins.len() {
            return Err(dialect.unsupported("a join without its table"));
        }
        let join = |(index, (join, table))| Joined { join, table, alias: Alias("j", Some(index)) };
        let joins = options.joins.iter().zip(joined).enumerate().map(join).collect();
        let tracking = options.change_tracking_column.as_deref();
        let rows = Self { table, joins, ids: ids_filter(table, &options.ids)?, tracking };
        if let Some(tracking) = tracking.filter(|_| orders_rows(options)) {
            let field = || "changeTrackingColumn".to_owned();
            rows.column(tracking, None).map_err(|error| Invalid { field: field(), ..error })?;
        }
        for (index, joined) in rows.joins.iter().enumerate() {
            let on = |field: &str| format!("joins[{index}].on.{field}");
            rows.column(&joined.join.local, None).map_err(|error| Invalid { field: on("local"), ..error })?;
            joined.place(&joined.join.foreign).map_err(|error| Invalid { field: on("foreign"), ..error })?;
        }
        Ok(rows)
    }

    /// A column of the base table, or of the join that goes by `from`.
    pub(crate) fn column(&self, name: &'a str, from: Option<&str>) -> Result<Place<'a>, Invalid> {
        match from {
            None => self.table.place(name, Some(BASE)),
            Some(from) => match self.joins.iter().find(|joined| joined.join.alias == from) {
                Some(joined) => joined.place(name),
                None => {
                    Err(Invalid::new("from", format!("the alias of a join (unknown join alias \"{from}\")")))
                }
            },
        }
    }

    /// The column that orders `first` and `last`, where one was named. It exists.
    pub(crate) fn tracking(&self) -> Option<&'a str> {
        self.tracking
    }

    /// Columns of the primary key.
    pub(crate) fn key_length(&self) -> usize {
        self.table.primary_key.len()
    }

    /// Writes the primary key's columns as `k0`, `k1`, …
    pub(crate) fn write_key(&self, sql: &mut SqlText<'_>, written: &mut bool) {
        for (index, name) in self.table.primary_key.iter().enumerate() {
            begin_column(sql, written);
            write_column(sql, BASE, name);
            sql.syntax(" AS ");
            Alias("k", Some(index)).write(sql);
        }
    }

    pub(crate) fn write_from(&self, sql: &mut SqlText<'_>) {
        sql.syntax(" FROM ").name(&self.table.parts).syntax(" ");
        BASE.write(sql);
        for joined in &self.joins {
            joined.write(sql);
        }
    }

    /// Writes which rows count: those of the filter, the keys, the sample, and with all dimensions.
    pub(crate) fn write_where(
        &self,
        sql: &mut SqlText<'_>,
        options: &AggregateOptions,
        dimensions: &[DimensionPlan<'_>],
    ) -> Result<(), SqlError> {
        let mut conditions = Conditions { first: true, several: true };
        conditions.filter(sql, self, &options.filter, "candidatesWhere")?;
        if let Some(ids) = &self.ids {
            conditions.filter(sql, self, ids, "ids")?;
        }
        if let Some(rate) = options.sample {
            conditions.begin(sql);
            let template = sql.dialect().aggregates.sample;
            sql.template(template, |sql, _| {
                sql.number(rate);
            });
            conditions.end(sql);
        }
        for dimension in dimensions {
            dimension.write_conditions(sql, &mut conditions);
        }
        Ok(())
    }
}

/// The base table's columns by their names; columns of joins as `alias.column`, unless the base table has a column of
/// that very name.
impl Scope for Rows<'_> {
    fn place<'a>(&'a self, name: &'a str) -> Result<Place<'a>, Invalid> {
        let base = self.table.place(name, Some(BASE));
        let Some((alias, column)) = name.split_once('.') else { return base };
        match self.joins.iter().find(|joined| joined.join.alias == alias) {
            Some(joined) if self.table.column(name).is_none() => joined
                .place(column)
                .map_err(|error| Invalid { field: name.to_owned(), expected: error.expected }),
            _ => base,
        }
    }
}

impl<'a> Joined<'a> {
    fn place<'n>(&self, name: &'n str) -> Result<Place<'n>, Invalid>
    where
        'a: 'n,
    {
        self.table.place(name, Some(self.alias))
    }

    /// At most one row may join: where the other column is not the whole key, the first by key is taken.
    fn write(&self, sql: &mut SqlText<'_>) {
        let foreign = &self.join.foreign;
        let unique = sql.dialect().unique_keys && self.table.primary_key == [foreign.as_str()];
        sql.syntax(" LEFT JOIN ");
        if unique {
            sql.name(&self.table.parts);
        } else {
            sql.syntax("(SELECT x.*, ROW_NUMBER() OVER (PARTITION BY x.").ident(foreign).syntax(" ORDER BY ");
            let key = match self.table.primary_key.as_slice() {
                [] => std::slice::from_ref(foreign),
                key => key,
            };
            sql.separated(", ", key, |sql, name| {
                sql.syntax("x.").ident(name);
            });
            sql.syntax(") AS semilayer_row FROM ").name(&self.table.parts).syntax(" x)");
        }
        sql.syntax(" ");
        self.alias.write(sql);
        sql.syntax(" ON ");
        write_column(sql, BASE, &self.join.local);
        sql.syntax(" = ");
        write_column(sql, self.alias, foreign);
        if !unique {
            sql.syntax(" AND ");
            self.alias.write(sql);
            sql.syntax(".semilayer_row = 1");
        }
    }
}

fn write_column(sql: &mut SqlText<'_>, alias: Alias, name: &str) {
    alias.write(sql);
    sql.syntax(".").ident(name);
}

fn orders_rows(options: &AggregateOptions) -> bool {
    options.measures.iter().any(|(_, measure)| matches!(measure.kind, MeasureKind::First | MeasureKind::Last))
}

/// Rows by primary key; by a column called `id` where nothing is known of the key.
fn ids_filter(table: &Table, ids: &[Scalar]) -> Result<Option<Filter>, Invalid> {
    if ids.is_empty() {
        return Ok(None);
    }
    let key = match table.primary_key.as_slice() {
        [key] => key.as_str(),
        [] if table.columns.is_empty() || table.column("id").is_some() => "id",
        _ => return Err(Invalid::new("ids", "a table with a primary key of one column")),
    };
    Ok(Some(Filter::from_where(Where::field(key, Test::In(ids.to_vec())))))
}
