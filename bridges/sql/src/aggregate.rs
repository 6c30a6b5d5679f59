//! Aggregates as one statement.
//!
//! Layers, inside out: `b` computes for each row its dimensions (`d0`, `d1`, …) and operands (`c0`, …), already null where
//! a measure's own filter does not match; a second `b` adds ranks where a measure needs them; `g` groups; the outermost
//! filters by the measures' names, joins the lists of `top_k` and orders. Layers that nothing needs are left out. As
//! every expression is written once and then known by a name of ours, no parameter is ever repeated, and all measures
//! see the same rows, sampled or not.

mod bucket;
mod dimension;
mod measure;
mod rows;

use protocol::{AggregateOptions, Direction, Invalid, MeasureKind};

use self::dimension::DimensionPlan;
use self::measure::MeasurePlan;
use self::rows::Rows;
use crate::dialect::Paging;
use crate::filter::{Alias, At, Place, Scope, write_filter};
use crate::select::write_paging;
use crate::{Column, Dialect, Kind, Sql, SqlError, SqlText, Table};

/// An aggregate as one statement, and what its columns mean.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregatePlan {
    /// The statement: one row a bucket, in the order asked for.
    pub sql: Sql,
    /// The statement's columns: dimensions, then measures, then the count.
    pub columns: Vec<BucketColumn>,
}

/// One column of a bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct BucketColumn {
    /// Where it belongs.
    pub role: Role,
    /// Its key there; `count` for the count.
    pub name: String,
    /// How its value becomes JSON.
    pub decode: Decode,
}

/// Where a bucket's column belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `dims`
    Dimension,
    /// `measures`
    Measure,
    /// `count`
    Count,
}

/// How a column of a bucket becomes JSON.
#[derive(Debug, Clone, PartialEq)]
pub enum Decode {
    /// As rows carry values of this kind.
    Native(Kind),
    /// Text as it is: calendar buckets, geohash and H3 cells.
    Text,
    /// A JSON number or null: whole values exactly (as text beyond 2^53-1, as rows do), others as the nearest double.
    Number,
    /// A whole number that counts steps; [`Decode::label`] makes the text.
    Step(f64),
    /// A whole number that counts intervals between these bounds; [`Decode::label`] makes the text.
    Breaks(Vec<f64>),
    /// JSON text to splice in as it is, null for `[]`: `top_k`.
    Json,
}

impl Decode {
    /// The text of a numeric bucket: `<lower>..<upper>`; nothing for other columns.
    pub fn label(&self, index: f64) -> Option<String> {
        let (lower, upper) = match self {
            Self::Step(step) => (index * step, index * step + step),
            Self::Breaks(breaks) => {
                let mut intervals = (0_u32..).zip(breaks.windows(2));
                match intervals.find(|(at, _)| f64::from(*at) == index)? {
                    (_, [lower, upper]) => (*lower, *upper),
                    _ => return None,
                }
            }
            Self::Native(_) | Self::Text | Self::Number | Self::Json => return None,
        };
        Some(format!("{}..{}", bridge_core::js_number(lower), bridge_core::js_number(upper)))
    }
}

/// The statement for an `aggregate`. `joined` has one table for each join, in order.
///
/// Over no rows at all a plan without dimensions still answers one bucket (count 0, sums null), one with dimensions
/// none. Without a tracking column `first` and `last` go by the measured column itself.
///
/// # Errors
/// Columns that a table does not have, or of a kind that cannot be bucketed or summed; what the dialect has no words
/// for, like geohash cells or `top_k` over a sample.
pub fn aggregate(
    dialect: &Dialect,
    table: &Table,
    joined: &[Table],
    options: &AggregateOptions,
) -> Result<AggregatePlan, SqlError> {
    let rows = Rows::new(dialect, table, joined, options)?;
    let dimensions = options
        .dimensions
        .iter()
        .enumerate()
        .map(|(index, dimension)| {
            DimensionPlan::new(dialect, &rows, dimension)
                .map_err(|error| error.within(&format!("dimensions[{index}]")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let measures = options
        .measures
        .iter()
        .map(|(name, measure)| {
            MeasurePlan::new(dialect, &rows, name, measure)
                .map_err(|error| error.within(&format!("measures.{name}")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    Aggregation { dialect, options, rows, dimensions, measures }.plan()
}

struct Aggregation<'a> {
    dialect: &'a Dialect,
    options: &'a AggregateOptions,
    rows: Rows<'a>,
    dimensions: Vec<DimensionPlan<'a>>,
    measures: Vec<MeasurePlan<'a>>,
}

/// Rows with their dimensions and operands.
const ROWS: Alias = Alias("b", None);
/// Buckets.
const GROUPS: Alias = Alias("g", None);
/// The count of a bucket's rows.
const COUNT: Alias = Alias("n", None);

const fn dim(index: usize) -> Alias {
    Alias("d", Some(index))
}

const fn operand(index: usize) -> Alias {
    Alias("c", Some(index))
}

const fn result(index: usize) -> Alias {
    Alias("m", Some(index))
}

const fn list(index: usize) -> Alias {
    Alias("l", Some(index))
}

impl Aggregation<'_> {
    fn plan(&self) -> Result<AggregatePlan, SqlError> {
        let mut sql = SqlText::new(self.dialect);
        if self.has_lists() {
            self.write_with(&mut sql)?;
        }
        if self.is_wrapped() {
            self.write_outer(&mut sql)?;
        } else {
            self.write_groups(&mut sql)?;
        }
        let ordered = self.write_order(&mut sql);
        if !self.takes_nothing() {
            write_paging(&mut sql, self.options.limit, 0, ordered);
        }
        Ok(AggregatePlan { sql: sql.finish()?, columns: self.columns() })
    }

    fn columns(&self) -> Vec<BucketColumn> {
        let dimensions = self.dimensions.iter().map(|plan| BucketColumn {
            role: Role::Dimension,
            name: plan.dimension.name.clone(),
            decode: plan.decode.clone(),
        });
        let measures = self.measures.iter().map(|plan| BucketColumn {
            role: Role::Measure,
            name: plan.name.to_owned(),
            decode: plan.decode.clone(),
        });
        let count = BucketColumn { role: Role::Count, name: "count".to_owned(), decode: Decode::Number };
        dimensions.chain(measures).chain([count]).collect()
    }

    fn has_lists(&self) -> bool {
        self.lists().next().is_some()
    }

    /// The measures that are lists: their index and length.
    fn lists(&self) -> impl Iterator<Item = (usize, u32)> {
        self.measures.iter().enumerate().filter_map(|(index, plan)| match plan.measure.kind {
            MeasureKind::TopK(length) => Some((index, length)),
            _ => None,
        })
    }

    /// `FETCH` takes no zero.
    fn takes_nothing(&self) -> bool {
        self.options.limit == Some(0) && matches!(self.dialect.paging, Paging::Fetch { .. })
    }

    fn is_wrapped(&self) -> bool {
        self.has_lists() || !self.options.having.is_everything() || self.takes_nothing()
    }

    /// `WITH b AS (…), l0 AS (…) `
    fn write_with(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        let (before, after) = match (self.options.sample, self.dialect.aggregates.run_once) {
            (None, _) => ("", ""),
            (Some(_), Some(words)) => words,
            // Each use of the rows would draw a sample of its own.
            (Some(_), None) => return Err(self.dialect.unsupported("top_k over a sample")),
        };
        sql.syntax("WITH ");
        ROWS.write(sql);
        sql.syntax(" AS ").syntax(before).syntax("(");
        self.write_rows(sql)?;
        sql.syntax(after).syntax(")");
        for (index, length) in self.lists() {
            sql.syntax(", ");
            list(index).write(sql);
            sql.syntax(" AS (");
            self.write_list(sql, index, length);
            sql.syntax(")");
        }
        sql.syntax(" ");
        Ok(())
    }

    /// The most frequent values of each bucket as one JSON text: counted, ranked, cut, put together.
    fn write_list(&self, sql: &mut SqlText<'_>, index: usize, length: u32) {
        sql.syntax("SELECT ");
        self.write_dims(sql, None, ", ");
        sql.syntax(self.dialect.aggregates.list).syntax(" AS v FROM (SELECT ");
        self.write_dims(sql, None, ", ");
        sql.syntax("v, n, ROW_NUMBER() OVER (");
        if !self.dimensions.is_empty() {
            sql.syntax("PARTITION BY ");
            self.write_dims(sql, None, " ");
        }
        sql.syntax("ORDER BY n DESC, v) AS r FROM (SELECT ");
        self.write_dims(sql, None, ", ");
        operand(index).write(sql);
        sql.syntax(" AS v, COUNT(*) AS n FROM ");
        ROWS.write(sql);
        sql.syntax(" WHERE ");
        operand(index).write(sql);
        sql.syntax(" IS NOT NULL GROUP BY ");
        self.write_dims(sql, None, ", ");
        operand(index).write(sql);
        sql.syntax(") x) y WHERE r <= ").whole(u64::from(length));
        self.write_group_by(sql);
    }

    /// All dimensions by name with `end` behind the last, or nothing.
    fn write_dims(&self, sql: &mut SqlText<'_>, of: Option<Alias>, end: &'static str) {
        sql.separated(", ", 0..self.dimensions.len(), |sql, index| write_own(sql, of, dim(index)));
        if !self.dimensions.is_empty() {
            sql.syntax(end);
        }
    }

    fn write_group_by(&self, sql: &mut SqlText<'_>) {
        if !self.dimensions.is_empty() {
            sql.syntax(" GROUP BY ");
            self.write_dims(sql, None, "");
        }
    }

    /// The innermost layer: each row's dimensions and operands.
    fn write_rows(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax("SELECT ");
        let mut written = false;
        for (index, plan) in self.dimensions.iter().enumerate() {
            begin_column(sql, &mut written);
            plan.write(sql);
            sql.syntax(" AS ");
            dim(index).write(sql);
        }
        for (index, plan) in self.measures.iter().enumerate() {
            let columns = plan.write_columns(sql, &self.rows, index, &mut written);
            columns.map_err(|error| error.within(&format!("measures.{}.where", plan.name)))?;
        }
        if self.measures.iter().any(MeasurePlan::is_ordered) {
            self.rows.write_key(sql, &mut written);
        }
        if !written {
            sql.syntax("1 AS one");
        }
        self.rows.write_from(sql);
        self.rows.write_where(sql, self.options, &self.dimensions)
    }

    /// `(…) b`: the rows, with ranks where they are needed.
    fn write_source(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        let ranked = self.measures.iter().any(|plan| plan.is_ranked(self.dialect));
        if ranked {
            sql.syntax("(SELECT ");
            ROWS.write(sql);
            sql.syntax(".*");
            for (index, plan) in self.measures.iter().enumerate() {
                if plan.is_ranked(self.dialect) {
                    plan.write_ranks(sql, index, self.dimensions.len(), self.rows.key_length());
                }
            }
            sql.syntax(" FROM ");
        }
        if !self.has_lists() {
            sql.syntax("(");
            self.write_rows(sql)?;
            sql.syntax(") ");
        }
        ROWS.write(sql);
        if ranked {
            sql.syntax(") ");
            ROWS.write(sql);
        }
        Ok(())
    }

    /// The layer that groups.
    fn write_groups(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax("SELECT ");
        self.write_dims(sql, None, ", ");
        for (index, plan) in self.measures.iter().enumerate() {
            if plan.is_grouped() {
                plan.write_result(sql, index, self.rows.key_length());
                sql.syntax(" AS ");
                result(index).write(sql);
                sql.syntax(", ");
            }
        }
        sql.syntax("COUNT(*) AS ");
        COUNT.write(sql);
        sql.syntax(" FROM ");
        self.write_source(sql)?;
        self.write_group_by(sql);
        let doubtful = self.dimensions.iter().enumerate().filter(|(_, plan)| plan.may_fail_to_null());
        let mut first = true;
        for (index, _) in doubtful {
            sql.syntax(if first { " HAVING " } else { " AND " });
            first = false;
            dim(index).write(sql);
            sql.syntax(" IS NOT NULL");
        }
        Ok(())
    }

    /// The outermost layer, around the buckets.
    fn write_outer(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        sql.syntax("SELECT ");
        self.write_dims(sql, Some(GROUPS), ", ");
        for (index, plan) in self.measures.iter().enumerate() {
            if plan.is_grouped() {
                write_own(sql, Some(GROUPS), result(index));
            } else {
                list(index).write(sql);
                sql.syntax(".v");
            }
            sql.syntax(", ");
        }
        write_own(sql, Some(GROUPS), COUNT);
        sql.syntax(" FROM (");
        self.write_groups(sql)?;
        sql.syntax(") ");
        GROUPS.write(sql);
        for (index, _) in self.lists() {
            self.write_list_join(sql, index);
        }
        self.write_having(sql)
    }

    fn write_list_join(&self, sql: &mut SqlText<'_>, index: usize) {
        if self.dimensions.is_empty() {
            sql.syntax(" CROSS JOIN ");
            return list(index).write(sql);
        }
        sql.syntax(" LEFT JOIN ");
        list(index).write(sql);
        sql.syntax(" ON ");
        sql.separated(" AND ", 0..self.dimensions.len(), |sql, at| {
            write_own(sql, Some(list(index)), dim(at));
            sql.syntax(" = ");
            write_own(sql, Some(GROUPS), dim(at));
        });
    }

    fn write_having(&self, sql: &mut SqlText<'_>) -> Result<(), SqlError> {
        if self.takes_nothing() {
            sql.syntax(" WHERE 1=0");
        } else if !self.options.having.is_everything() {
            sql.syntax(" WHERE ");
            let buckets = Buckets { measures: &self.measures };
            write_filter(sql, &buckets, &self.options.having).map_err(|error| error.within("having"))?;
        }
        Ok(())
    }

    /// Writes the order of buckets; the dimensions make it total. Says whether there is one.
    fn write_order(&self, sql: &mut SqlText<'_>) -> bool {
        if self.options.sort.is_empty() && self.options.limit.is_none() {
            return false;
        }
        let mut keys: Vec<(Alias, bool)> = Vec::new();
        for sort in &self.options.sort {
            if let Some(alias) = self.sort_alias(&sort.key)
                && keys.iter().all(|(other, _)| *other != alias)
            {
                keys.push((alias, sort.direction == Direction::Descending));
            }
        }
        for index in 0..self.dimensions.len() {
            if keys.iter().all(|(other, _)| *other != dim(index)) {
                keys.push((dim(index), false));
            }
        }
        let of = self.is_wrapped().then_some(GROUPS);
        sql.syntax(if keys.is_empty() { "" } else { " ORDER BY " });
        sql.separated(", ", &keys, |sql, (alias, descending)| {
            write_own(sql, of, *alias);
            sql.syntax(if *descending { " DESC" } else { "" });
        });
        !keys.is_empty()
    }

    /// What a sort key names. Lists do not sort, and a key that names nothing is passed over.
    fn sort_alias(&self, key: &str) -> Option<Alias> {
        if key == "count" {
            return Some(COUNT);
        }
        let measure = self.measures.iter().position(|plan| plan.name == key && plan.is_grouped());
        let dimension = || self.dimensions.iter().position(|plan| plan.dimension.name == key);
        measure.map(result).or_else(|| dimension().map(dim))
    }
}

/// The names that a filter over buckets knows.
struct Buckets<'p, 'a> {
    measures: &'p [MeasurePlan<'a>],
}

impl Scope for Buckets<'_, '_> {
    fn place<'a>(&'a self, name: &'a str) -> Result<Place<'a>, Invalid> {
        if name == "count" {
            let kind = Kind::Integer { bits: 64, signed: true };
            return Ok(own_place(COUNT, Column::new(name, kind, false)));
        }
        let found = self.measures.iter().enumerate().find(|(_, plan)| plan.name == name && plan.is_grouped());
        let (index, plan) =
            found.ok_or_else(|| Invalid::new(name, "count or a measure that can be compared"))?;
        Ok(own_place(result(index), plan.result_column()))
    }
}

fn own_place<'a>(alias: Alias, column: Column) -> Place<'a> {
    Place { at: At::Own(GROUPS, alias), column: std::borrow::Cow::Owned(column) }
}

/// Writes a name of ours, of a layer where several have it.
fn write_own(sql: &mut SqlText<'_>, of: Option<Alias>, alias: Alias) {
    if let Some(of) = of {
        of.write(sql);
        sql.syntax(".");
    }
    alias.write(sql);
}

/// Separates a column from the one before it, if there is one.
fn begin_column(sql: &mut SqlText<'_>, written: &mut bool) {
    sql.syntax(if *written { ", " } else { "" });
    *written = true;
}
