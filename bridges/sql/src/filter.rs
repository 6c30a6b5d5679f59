//! A filter as the text behind `WHERE`.
//!
//! Every group stands in parentheses of its own, known from the tree and never guessed from the text.

use std::borrow::Cow;

use protocol::{Filter, Invalid, TextMatch, Where};

use crate::conform::{Condition, Operator, Unknown, conform, is_compared_as_text};
use crate::dialect::Membership;
use crate::pattern::pattern;
use crate::select::BASE;
use crate::{Column, Dialect, Extent, Kind, Param, SqlError, SqlText, Value};

/// The longest operand of a string operator, in bytes. SQLite takes patterns of 50 000.
const MAX_PATTERN: usize = 10_000;

/// How many conditions stand side by side. SQLite takes expressions of depth 1 000.
const FLAT: usize = 8;

/// An expression that stands for a column.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    pub(crate) at: At<'a>,
    pub(crate) column: Cow<'a, Column>,
}

/// Where an expression's value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At<'a> {
    /// A column of the only table.
    Column(&'a str),
    /// A column of the table that goes by an alias of ours.
    Of(Alias, &'a str),
    /// A result of ours, in a layer of ours.
    Own(Alias, Alias),
}

/// A name of our own, like `d0`: needs no quotes, because it is a word of ours and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Alias(pub(crate) &'static str, pub(crate) Option<usize>);

impl Alias {
    pub(crate) fn write(self, sql: &mut SqlText<'_>) {
        sql.syntax(if self == BASE { sql.dialect().base } else { self.0 });
        if let Some(number) = self.1 {
            sql.whole(u64::try_from(number).unwrap_or(u64::MAX));
        }
    }
}

impl Place<'_> {
    /// The column itself.
    pub(crate) fn write(&self, sql: &mut SqlText<'_>) {
        match self.at {
            At::Column(name) => {
                sql.ident(name);
            }
            At::Of(alias, name) => {
                alias.write(sql);
                sql.syntax(".").ident(name);
            }
            At::Own(layer, alias) => {
                layer.write(sql);
                sql.syntax(".");
                alias.write(sql);
            }
        }
    }

    /// What operands are compared with: the column, or the engine's text of it.
    pub(crate) fn write_comparable(&self, sql: &mut SqlText<'_>) {
        if is_compared_as_text(&self.column) { self.write_text(sql) } else { self.write(sql) }
    }

    /// Whether being equal is asked of the column as well as of its text, because only that uses an index on it.
    fn is_narrowed(&self, dialect: &Dialect) -> bool {
        dialect.narrows_enums && self.column.kind == Kind::Enum && is_compared_as_text(&self.column)
    }

    /// The engine's text of the column.
    pub(crate) fn write_text(&self, sql: &mut SqlText<'_>) {
        let dialect = sql.dialect();
        let of_type = dialect.text_casts.iter().find(|(native, _)| *native == self.column.native);
        let of_bytes = || dialect.bytes_cast.filter(|_| self.column.kind == Kind::Bytes);
        let cast = of_type.map(|(_, cast)| *cast).or_else(of_bytes).unwrap_or(dialect.text_cast);
        sql.template(cast, |sql, _| self.write(sql));
    }

    /// The parameter that `value` is beside this.
    pub(crate) fn param(&self, value: Value) -> Param {
        let kind = (!is_compared_as_text(&self.column)).then_some(self.column.kind);
        Param { value, kind }
    }
}

/// Where a filter's names lead.
pub(crate) trait Scope {
    /// The place of a column, or what would have been right.
    fn place<'a>(&'a self, name: &'a str) -> Result<Place<'a>, Invalid>;
}

/// Writes `filter`, which must ask something, without parentheses around it unless it is an `$or`.
///
/// Mistakes name the field as it stands in the filter.
pub(crate) fn write_filter(
    sql: &mut SqlText<'_>,
    scope: &impl Scope,
    filter: &Filter,
) -> Result<(), SqlError> {
    Writer { scope }.condition(sql, filter.condition(), Unknown::AsFalse)
}

struct Writer<'a, S> {
    scope: &'a S,
}

impl<S: Scope> Writer<'_, S> {
    fn condition(&self, sql: &mut SqlText<'_>, condition: &Where, unknown: Unknown) -> Result<(), SqlError> {
        match condition {
            Where::Everything => {
                sql.syntax("1=1");
            }
            Where::All(parts) => self.groups(sql, " AND ", parts, unknown)?,
            Where::Any(parts) => {
                sql.syntax("(");
                self.groups(sql, " OR ", parts, unknown)?;
                sql.syntax(")");
            }
            Where::Not(part) => {
                sql.syntax("NOT ");
                self.group(sql, part, unknown.negated())?;
            }
            Where::Field { name, test } => {
                let place = self.scope.place(name)?;
                let condition = conform(sql.dialect(), &place.column, test, unknown);
                write_condition(sql, &place, &condition).map_err(|error| error.within(name))?;
            }
        }
        Ok(())
    }

    /// Writes the parts, each in parentheses. Many of them are halved again and again, because engines bound how deep
    /// an expression goes, and a flat list is as deep as it is long.
    fn groups(
        &self,
        sql: &mut SqlText<'_>,
        between: &'static str,
        parts: &[Where],
        unknown: Unknown,
    ) -> Result<(), SqlError> {
        if parts.len() > FLAT {
            let (left, right) = parts.split_at(parts.len() / 2);
            sql.syntax("(");
            self.groups(sql, between, left, unknown)?;
            sql.syntax(")").syntax(between).syntax("(");
            self.groups(sql, between, right, unknown)?;
            sql.syntax(")");
            return Ok(());
        }
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                sql.syntax(between);
            }
            self.group(sql, part, unknown)?;
        }
        Ok(())
    }

    fn group(&self, sql: &mut SqlText<'_>, part: &Where, unknown: Unknown) -> Result<(), SqlError> {
        if matches!(part, Where::Any(_)) {
            return self.condition(sql, part, unknown);
        }
        sql.syntax("(");
        self.condition(sql, part, unknown)?;
        sql.syntax(")");
        Ok(())
    }
}

fn write_condition(sql: &mut SqlText<'_>, place: &Place<'_>, condition: &Condition) -> Result<(), SqlError> {
    match condition {
        Condition::Constant(true) => {
            sql.syntax("1=1");
        }
        Condition::Constant(false) => {
            sql.syntax("1=0");
        }
        Condition::IsNull => {
            place.write(sql);
            sql.syntax(" IS NULL");
        }
        Condition::IsNotNull => {
            place.write(sql);
            sql.syntax(" IS NOT NULL");
        }
        Condition::Compare(operator, value) => write_comparison(sql, place, *operator, value.clone()),
        Condition::Among { negated, values } => write_membership(sql, place, *negated, values),
        Condition::Matches(text_match, operand) => write_match(sql, place, *text_match, operand)?,
    }
    Ok(())
}

pub(crate) fn write_comparison(sql: &mut SqlText<'_>, place: &Place<'_>, operator: Operator, value: Value) {
    let equality = matches!(operator, Operator::Equal | Operator::NotEqual);
    match sql.dialect().uuid_order {
        Some(order) if place.column.kind == Kind::Uuid && !equality => {
            sql.template(order, |sql, _| place.write(sql));
            sql.syntax(operator.words()).param(Param { value, kind: Some(Kind::Text) });
        }
        _ if operator == Operator::Equal && place.is_narrowed(sql.dialect()) => {
            sql.syntax("(");
            place.write(sql);
            sql.syntax(operator.words()).param(place.param(value.clone())).syntax(" AND ");
            place.write_comparable(sql);
            sql.syntax(operator.words()).param(place.param(value)).syntax(")");
        }
        _ => {
            place.write_comparable(sql);
            sql.syntax(operator.words()).param(place.param(value));
        }
    }
}

fn write_membership(sql: &mut SqlText<'_>, place: &Place<'_>, negated: bool, values: &[Value]) {
    match sql.dialect().membership {
        Membership::Array => {
            place.write_comparable(sql);
            sql.syntax(if negated { " <> ALL(" } else { " = ANY(" });
            sql.param(place.param(Value::List(values.to_vec()))).syntax(")");
        }
        // A value need not be of the list's own type to be equal to one of it, but to be an element of it.
        Membership::InArray { few, .. } if values.len() <= few && is_converted(&place.column) => {
            sql.syntax("(").separated(if negated { " AND " } else { " OR " }, values, |sql, value| {
                let operator = if negated { Operator::NotEqual } else { Operator::Equal };
                write_comparison(sql, place, operator, value.clone());
            });
            sql.syntax(")");
        }
        Membership::InArray { has, .. } => {
            let lists = lists_of(values);
            let several = lists.len() > 1;
            sql.syntax(if several { "(" } else { "" });
            sql.separated(if negated { " AND " } else { " OR " }, lists, |sql, list| {
                let list = place.param(Value::List(list.to_vec()));
                if is_converted(&place.column) {
                    sql.syntax(if negated { "NOT " } else { "" });
                    sql.template(has, |sql, hole| match hole {
                        1 => place.write(sql),
                        _ => {
                            sql.param(list.clone());
                        }
                    });
                } else {
                    place.write_comparable(sql);
                    sql.syntax(if negated { " NOT IN " } else { " IN " }).param(list);
                }
            });
            sql.syntax(if several { ")" } else { "" });
        }
        Membership::List { max } => write_lists(sql, place, negated, values, max),
        Membership::JsonText { from, template } => match json_list(values) {
            Some(json) if values.len() >= from => {
                place.write_comparable(sql);
                sql.syntax(if negated { " NOT IN (" } else { " IN (" });
                sql.template(template, |sql, _| {
                    sql.param(Param::plain(Value::Text(json.clone())));
                });
                sql.syntax(")");
            }
            _ => write_lists(sql, place, negated, values, usize::MAX),
        },
    }
}

/// Whether an element of a list becomes one of the column's type before they are compared, and may change by that.
fn is_converted(column: &Column) -> bool {
    match column.kind {
        Kind::Timestamp | Kind::TimestampTz => true,
        // Operands are of the column's own digits where those are known.
        Kind::Decimal => column.extent == Extent::OfItsKind,
        _ => false,
    }
}

/// The text of one parameter, in bytes. ClickHouse takes 128 KiB of each.
const LIST_BYTES: usize = 96 * 1024;

/// The values in lists of which none is too long for a parameter.
fn lists_of(values: &[Value]) -> Vec<&[Value]> {
    let (mut lists, mut rest) = (Vec::new(), values);
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take_while(|value| {
            bytes += written_bytes(value);
            bytes <= LIST_BYTES
        });
        let (list, after) = rest.split_at(fitting.count().max(1));
        lists.push(list);
        rest = after;
    }
    lists
}

/// How long a value is in a list at the most, with what separates it from the next.
fn written_bytes(value: &Value) -> usize {
    match value {
        // Every character may need an escape.
        Value::Text(text) | Value::Decimal(text) => text.len() * 2 + 3,
        Value::Bytes(bytes) => bytes.len() * 2 + 3,
        Value::Boolean(_) | Value::Integer(_) | Value::Double(_) | Value::Timestamp(_) => 32,
        Value::List(values) => values.iter().map(written_bytes).sum(),
    }
}

/// One list, or several where the engine bounds their length.
fn write_lists(sql: &mut SqlText<'_>, place: &Place<'_>, negated: bool, values: &[Value], max: usize) {
    let lists = values.chunks(max.max(1));
    let several = lists.len() > 1;
    if several {
        sql.syntax("(");
    }
    sql.separated(if negated { " AND " } else { " OR " }, lists, |sql, list| {
        if !negated && place.is_narrowed(sql.dialect()) {
            sql.syntax("(");
            place.write(sql);
            write_list(sql, place, " IN (", list);
            sql.syntax(" AND ");
            place.write_comparable(sql);
            write_list(sql, place, " IN (", list);
            sql.syntax(")");
        } else {
            place.write_comparable(sql);
            write_list(sql, place, if negated { " NOT IN (" } else { " IN (" }, list);
        }
    });
    if several {
        sql.syntax(")");
    }
}

fn write_list(sql: &mut SqlText<'_>, place: &Place<'_>, words: &'static str, list: &[Value]) {
    sql.syntax(words).separated(", ", list, |sql, value| {
        sql.param(place.param(value.clone()));
    });
    sql.syntax(")");
}

/// The values as a JSON list; nothing where one of them has no exact form there.
fn json_list(values: &[Value]) -> Option<String> {
    let mut out = String::from("[");
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        match value {
            Value::Boolean(value) => out.push_str(if *value { "true" } else { "false" }),
            Value::Integer(value) => out.push_str(&value.to_string()),
            Value::Double(value) => out.push_str(&format!("{value:e}")),
            Value::Decimal(text) => out.push_str(text),
            Value::Text(text) => protocol::Scalar::Text(text.clone()).write_json(&mut out),
            Value::Timestamp(_) | Value::Bytes(_) | Value::List(_) => return None,
        }
    }
    out.push(']');
    Some(out)
}

fn write_match(
    sql: &mut SqlText<'_>,
    place: &Place<'_>,
    text_match: TextMatch,
    operand: &str,
) -> Result<(), SqlError> {
    if operand.len() > MAX_PATTERN {
        let operator = text_match.as_str();
        return Err(Invalid::new(operator, format!("at most {MAX_PATTERN} bytes of text")).into());
    }
    let dialect = sql.dialect();
    let matching =
        if text_match == TextMatch::Like { dialect.matching_case } else { dialect.matching_any_case };
    let pattern = pattern(matching.syntax, text_match, operand);
    sql.template(matching.template, |sql, hole| match hole {
        1 if is_text(&place.column) => place.write(sql),
        1 => place.write_text(sql),
        _ => {
            sql.param(Param { value: Value::Text(pattern.clone()), kind: Some(Kind::Text) });
        }
    });
    Ok(())
}

/// Whether string operators take the column as it is.
fn is_text(column: &Column) -> bool {
    matches!(column.kind, Kind::Text | Kind::Unknown) && !is_padded(column)
}

/// Whether the engine's own text of the column is less than what it holds.
pub(crate) fn is_padded(column: &Column) -> bool {
    matches!(column.extent, Extent::Padded { .. })
}
