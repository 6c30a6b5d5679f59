//! Measures: the operand that each row has, and what a bucket makes of it.

use protocol::{Accuracy, Invalid, Measure, MeasureKind};

use super::dimension::{is_numeric, write_double};
use super::rows::Rows;
use super::{Decode, begin_column, dim, operand};
use crate::conform::is_compared_as_text;
use crate::filter::{Alias, Place, is_padded, write_filter};
use crate::{Column, Dialect, Kind, SqlError, SqlText};

/// A measure, ready to be written.
pub(crate) struct MeasurePlan<'a> {
    pub(crate) name: &'a str,
    pub(crate) measure: &'a Measure,
    pub(crate) decode: Decode,
    operand: Operand<'a>,
    /// What orders `first` and `last`.
    order: Option<Order<'a>>,
}

/// What a row contributes.
enum Operand<'a> {
    /// That it is there.
    Row,
    Value(Place<'a>),
    Double(Place<'a>),
    Text(Place<'a>),
    /// Text as rows carry it: dates in ISO form.
    Shown(Place<'a>, Option<&'static str>),
}

/// A column that orders rows; an instant in one form, where dates are text in many.
struct Order<'a>(Place<'a>, Option<&'static str>);

impl<'a> MeasurePlan<'a> {
    pub(crate) fn new(
        dialect: &Dialect,
        rows: &Rows<'a>,
        name: &'a str,
        measure: &'a Measure,
    ) -> Result<Self, SqlError> {
        let place = match &measure.column {
            Some(column) if measure.kind != MeasureKind::Count => {
                let place = rows.column(column, None);
                Some(place.map_err(|error| Invalid { field: "column".to_owned(), ..error })?)
            }
            _ => None,
        };
        let Some(place) = place else {
            let (decode, operand) = (Decode::Number, Operand::Row);
            return Ok(Self { name, measure, decode, operand, order: None });
        };
        let order = order(dialect, rows, measure, &place)?;
        let (operand, decode) = operand_of(dialect, measure, place)?;
        Ok(Self { name, measure, decode, operand, order })
    }

    /// Whether the layer that groups computes it. Lists are computed apart.
    pub(crate) fn is_grouped(&self) -> bool {
        !matches!(self.measure.kind, MeasureKind::TopK(_))
    }

    /// Whether it goes by an order of rows.
    pub(crate) fn is_ordered(&self) -> bool {
        matches!(self.measure.kind, MeasureKind::First | MeasureKind::Last)
    }

    /// Whether rows must be ranked first, because the dialect has no aggregate for it.
    pub(crate) fn is_ranked(&self, dialect: &Dialect) -> bool {
        match self.measure.kind {
            MeasureKind::First | MeasureKind::Last => dialect.aggregates.first.is_none(),
            MeasureKind::Percentile(_) => dialect.aggregates.percentile.is_none(),
            _ => false,
        }
    }

    /// The result as a column, for filters over buckets.
    pub(crate) fn result_column(&self) -> Column {
        let kind = match (self.measure.kind, &self.decode) {
            (MeasureKind::Count | MeasureKind::CountDistinct, _) => Kind::Integer { bits: 64, signed: true },
            (MeasureKind::Percentile(_), _) => Kind::Float { bits: 64 },
            (_, Decode::Native(kind)) => *kind,
            (_, Decode::Text) => Kind::Text,
            _ => match self.operand.column().map(|column| column.kind) {
                Some(Kind::Float { .. }) => Kind::Float { bits: 64 },
                _ => Kind::Decimal,
            },
        };
        let labels = self.operand.column().map(|column| column.labels.clone()).unwrap_or_default();
        Column { labels, ..Column::new(self.name, kind, true) }
    }

    /// Writes the row's operand, null where the measure's own filter does not match, and what orders it.
    pub(crate) fn write_columns(
        &self,
        sql: &mut SqlText<'_>,
        rows: &Rows<'_>,
        index: usize,
        written: &mut bool,
    ) -> Result<(), SqlError> {
        if !matches!(self.operand, Operand::Row) || !self.measure.filter.is_everything() {
            begin_column(sql, written);
            self.write_filtered(sql, rows, |sql| self.operand.write(sql))?;
            sql.syntax(" AS ");
            operand(index).write(sql);
        }
        if let Some(order) = &self.order {
            begin_column(sql, written);
            self.write_filtered(sql, rows, |sql| order.write(sql))?;
            sql.syntax(" AS ");
            ordering(index).write(sql);
        }
        Ok(())
    }

    fn write_filtered(
        &self,
        sql: &mut SqlText<'_>,
        rows: &Rows<'_>,
        value: impl FnOnce(&mut SqlText<'_>),
    ) -> Result<(), SqlError> {
        if self.measure.filter.is_everything() {
            value(sql);
            return Ok(());
        }
        sql.syntax("CASE WHEN ");
        write_filter(sql, rows, &self.measure.filter)?;
        sql.syntax(" THEN ");
        value(sql);
        sql.syntax(" END");
        Ok(())
    }

    /// Writes `, ROW_NUMBER() OVER (…) AS r0` and, for percentiles, how many values there are.
    pub(crate) fn write_ranks(&self, sql: &mut SqlText<'_>, index: usize, dimensions: usize, keys: usize) {
        let by = if self.order.is_some() { ordering(index) } else { operand(index) };
        sql.syntax(", ROW_NUMBER() OVER (PARTITION BY ");
        sql.separated(", ", 0..dimensions, |sql, at| dim(at).write(sql));
        sql.syntax(if dimensions > 0 { ", CASE WHEN " } else { "CASE WHEN " });
        by.write(sql);
        sql.syntax(" IS NULL THEN 1 ELSE 0 END ORDER BY ");
        self.write_row_order(sql, by, if self.order.is_some() { keys } else { 0 });
        sql.syntax(") AS ");
        rank(index).write(sql);
        if self.order.is_none() {
            sql.syntax(", COUNT(");
            by.write(sql);
            sql.syntax(") OVER (");
            if dimensions > 0 {
                sql.syntax("PARTITION BY ");
                sql.separated(", ", 0..dimensions, |sql, at| dim(at).write(sql));
            }
            sql.syntax(") AS ");
            values(index).write(sql);
        }
    }

    /// The order of rows; of those that are level the one with the smallest key comes first.
    fn write_row_order(&self, sql: &mut SqlText<'_>, by: Alias, keys: usize) {
        by.write(sql);
        sql.syntax(if self.measure.kind == MeasureKind::Last { " DESC" } else { "" });
        for key in 0..keys {
            sql.syntax(", ");
            Alias("k", Some(key)).write(sql);
        }
    }

    /// Writes what a bucket makes of its rows' operands.
    pub(crate) fn write_result(&self, sql: &mut SqlText<'_>, index: usize, keys: usize) {
        let words = sql.dialect().aggregates;
        let over = |sql: &mut SqlText<'_>, template: &'static str| {
            sql.template(template, |sql, _| operand(index).write(sql));
        };
        match self.measure.kind {
            MeasureKind::Count if self.measure.filter.is_everything() => {
                sql.syntax("COUNT(*)");
            }
            MeasureKind::Count => over(sql, "COUNT(#1)"),
            MeasureKind::CountDistinct => {
                let fast = words.distinct_fast.filter(|_| self.measure.accuracy == Accuracy::Fast);
                over(sql, fast.unwrap_or("COUNT(DISTINCT #1)"));
            }
            MeasureKind::Sum | MeasureKind::Rate => {
                let integers = matches!(self.operand.kind(), Some(Kind::Integer { .. }));
                over(sql, if integers { words.sum_integers } else { words.sum });
            }
            MeasureKind::Avg => {
                let integers = matches!(self.operand.kind(), Some(Kind::Integer { .. }));
                over(sql, words.avg_integers.filter(|_| integers).unwrap_or(words.avg));
            }
            MeasureKind::Min => self.write_extreme(sql, index, words.extremes.0, words.booleans.0),
            MeasureKind::Max => self.write_extreme(sql, index, words.extremes.1, words.booleans.1),
            MeasureKind::Percentile(point) => match words.percentile {
                Some(template) => {
                    sql.template(template, |sql, hole| match hole {
                        1 => operand(index).write(sql),
                        _ => {
                            sql.number(point);
                        }
                    });
                }
                None => write_ranked_percentile(sql, index, point),
            },
            MeasureKind::First | MeasureKind::Last => match words.first {
                Some(template) => {
                    sql.template(template, |sql, hole| match hole {
                        1 => operand(index).write(sql),
                        2 => self.write_row_order(sql, ordering(index), keys),
                        _ => {
                            ordering(index).write(sql);
                            sql.syntax(" IS NOT NULL");
                        }
                    });
                }
                None => self.write_ranked_first(sql, index),
            },
            // Computed apart; there is nothing to write here.
            MeasureKind::TopK(_) => {}
        }
    }

    /// Smallest or largest. Where the engine has no such aggregate for a type, but one that takes the first of an
    /// order, that is it.
    fn write_extreme(
        &self,
        sql: &mut SqlText<'_>,
        index: usize,
        template: &'static str,
        booleans: &'static str,
    ) {
        let by_order = sql.dialect().aggregates.first;
        match (self.operand.kind(), by_order) {
            (Some(Kind::Boolean), _) => {
                sql.template(booleans, |sql, _| operand(index).write(sql));
            }
            (Some(Kind::Uuid | Kind::Bytes), Some(first)) => {
                let descending = self.measure.kind == MeasureKind::Max;
                sql.template(first, |sql, hole| {
                    operand(index).write(sql);
                    sql.syntax(match hole {
                        2 if descending => " DESC",
                        3 => " IS NOT NULL",
                        _ => "",
                    });
                });
            }
            _ => {
                sql.template(template, |sql, _| operand(index).write(sql));
            }
        }
    }

    /// The operand of the one row that is first; any aggregate that passes a single value through will do.
    fn write_ranked_first(&self, sql: &mut SqlText<'_>, index: usize) {
        let boolean = self.operand.kind() == Some(Kind::Boolean);
        let template = if boolean { sql.dialect().aggregates.booleans.1 } else { "MAX(#1)" };
        sql.template(template, |sql, _| {
            sql.syntax("CASE WHEN ");
            rank(index).write(sql);
            sql.syntax(" = 1 AND ");
            ordering(index).write(sql);
            sql.syntax(" IS NOT NULL THEN ");
            operand(index).write(sql);
            sql.syntax(" END");
        });
    }
}

/// What orders rows of `first` and `last`.
const fn ordering(index: usize) -> Alias {
    Alias("o", Some(index))
}

/// Rank among the rows of a bucket that have a value.
const fn rank(index: usize) -> Alias {
    Alias("r", Some(index))
}

/// How many rows of a bucket have a value.
const fn values(index: usize) -> Alias {
    Alias("v", Some(index))
}

/// Interpolates between the two neighbours of the point: each counts by how near it is.
fn write_ranked_percentile(sql: &mut SqlText<'_>, index: usize, point: f64) {
    let distance = |sql: &mut SqlText<'_>| {
        sql.syntax("ABS(").number(point).syntax(" * (");
        values(index).write(sql);
        sql.syntax(" - 1) - (");
        rank(index).write(sql);
        sql.syntax(" - 1))");
    };
    sql.syntax("SUM(CASE WHEN ");
    distance(sql);
    sql.syntax(" < 1 THEN ");
    operand(index).write(sql);
    sql.syntax(" * (1 - ");
    distance(sql);
    sql.syntax(") END)");
}

fn order<'a>(
    dialect: &Dialect,
    rows: &Rows<'a>,
    measure: &Measure,
    measured: &Place<'a>,
) -> Result<Option<Order<'a>>, SqlError> {
    if !matches!(measure.kind, MeasureKind::First | MeasureKind::Last) {
        return Ok(None);
    }
    let Some(tracking) = rows.tracking() else {
        return Ok(Some(Order(measured.clone(), None)));
    };
    let place = rows.column(tracking, None)?;
    let instant = (dialect.aggregates.instant)(place.column.kind)
        .filter(|_| dialect.dates_are_text && !place.column.kind.is_numeric());
    Ok(Some(Order(place, instant)))
}

fn operand_of<'a>(
    dialect: &Dialect,
    measure: &Measure,
    place: Place<'a>,
) -> Result<(Operand<'a>, Decode), SqlError> {
    let kind = place.column.kind;
    let as_text = is_compared_as_text(&place.column);
    Ok(match measure.kind {
        MeasureKind::Count => (Operand::Row, Decode::Number),
        MeasureKind::CountDistinct if as_text => (Operand::Text(place), Decode::Number),
        MeasureKind::CountDistinct => (Operand::Value(place), Decode::Number),
        MeasureKind::Sum | MeasureKind::Avg | MeasureKind::Rate | MeasureKind::Percentile(_)
            if !is_numeric(dialect, kind) =>
        {
            return Err(Invalid::new("column", "a column of numbers").into());
        }
        // Sums of singles lose digits.
        MeasureKind::Sum | MeasureKind::Avg | MeasureKind::Rate if kind == (Kind::Float { bits: 32 }) => {
            (Operand::Double(place), Decode::Number)
        }
        MeasureKind::Sum | MeasureKind::Avg | MeasureKind::Rate => (Operand::Value(place), Decode::Number),
        MeasureKind::Percentile(_) => (Operand::Double(place), Decode::Number),
        MeasureKind::Min | MeasureKind::Max if as_text => (Operand::Text(place), Decode::Text),
        MeasureKind::First | MeasureKind::Last if as_text && dialect.aggregates.first.is_none() => {
            (Operand::Text(place), Decode::Text)
        }
        MeasureKind::Min | MeasureKind::Max | MeasureKind::First | MeasureKind::Last => {
            (Operand::Value(place), Decode::Native(kind))
        }
        MeasureKind::TopK(_) => {
            let dated = matches!(kind, Kind::Date | Kind::Timestamp | Kind::TimestampTz);
            let instant = (dialect.aggregates.instant)(kind).filter(|_| dated && !dialect.dates_are_text);
            (Operand::Shown(place, instant), Decode::Json)
        }
    })
}

impl Operand<'_> {
    fn column(&self) -> Option<&Column> {
        match self {
            Self::Row => None,
            Self::Value(place) | Self::Double(place) | Self::Text(place) | Self::Shown(place, _) => {
                Some(&place.column)
            }
        }
    }

    fn kind(&self) -> Option<Kind> {
        match self {
            Self::Value(place) => Some(place.column.kind),
            Self::Row | Self::Double(_) | Self::Text(_) | Self::Shown(..) => None,
        }
    }

    fn write(&self, sql: &mut SqlText<'_>) {
        match self {
            Self::Row => {
                sql.syntax("1");
            }
            Self::Value(place) => place.write(sql),
            Self::Double(place) => write_double(sql, place),
            Self::Shown(place, Some(instant)) => write_iso(sql, place, instant),
            Self::Shown(place, None) if place.column.kind == Kind::Text && !is_padded(&place.column) => {
                place.write(sql);
            }
            Self::Text(place) | Self::Shown(place, None) => place.write_text(sql),
        }
    }
}

impl Order<'_> {
    fn write(&self, sql: &mut SqlText<'_>) {
        match self {
            Self(place, Some(instant)) => write_iso(sql, place, instant),
            Self(place, None) => place.write_comparable(sql),
        }
    }
}

fn write_iso(sql: &mut SqlText<'_>, place: &Place<'_>, instant: &'static str) {
    let iso = sql.dialect().aggregates.iso;
    sql.template(iso, |sql, _| {
        sql.template(instant, |sql, _| place.write(sql));
    });
}
