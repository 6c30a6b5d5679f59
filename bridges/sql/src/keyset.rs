//! Paging by key: the order that makes rows unique, the place in it where a page ended, and the rows after that place.

use bridge_core::Position;
use protocol::{Direction, Invalid, Number, OrderBy, Scalar};

use crate::conform::{Operator, exact, is_compared_as_text};
use crate::filter::{Alias, Place};
use crate::{Column, Dialect, Kind, SqlText, Table, Value};

/// One column of a total order.
#[derive(Debug, Clone)]
pub(crate) struct Key<'a> {
    pub(crate) place: Place<'a>,
    pub(crate) descending: bool,
}

/// How a key's value is selected for the cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// As rows carry it.
    Row,
    /// The engine's text, by which such columns are compared.
    Text,
    /// A literal that tells the value's type.
    Literal(&'static str),
}

impl Key<'_> {
    /// What pages go by: the column, the engine's text of it, or null for what is not finite.
    fn write(&self, sql: &mut SqlText<'_>) {
        match self.finite(sql.dialect()) {
            Some(template) => {
                sql.template(template, |sql, _| self.place.write(sql));
            }
            None => self.place.write_comparable(sql),
        }
    }

    fn finite(&self, dialect: &Dialect) -> Option<&'static str> {
        dialect.finite.filter(|_| matches!(self.place.column.kind, Kind::Float { .. }))
    }

    /// Whether some rows have nothing to go by.
    fn has_nulls(&self, dialect: &Dialect) -> bool {
        self.place.column.nullable || self.finite(dialect).is_some()
    }

    pub(crate) fn form(&self, dialect: &Dialect) -> Form {
        match dialect.literal {
            _ if is_compared_as_text(&self.place.column) => Form::Text,
            Some(literal) if self.place.column.kind == Kind::Unknown => Form::Literal(literal),
            _ => Form::Row,
        }
    }
}

/// `order` without repetitions; a column that is named twice counts where it comes first.
pub(crate) fn order_keys<'a>(
    table: &'a Table,
    alias: Option<Alias>,
    order: &'a [OrderBy],
) -> Result<Vec<Key<'a>>, Invalid> {
    let mut keys: Vec<Key<'a>> = Vec::with_capacity(order.len());
    for OrderBy { field, direction } in order {
        if keys.iter().all(|key| key.place.column.name != *field) {
            let place = table.place(field, alias)?;
            keys.push(Key { place, descending: *direction == Direction::Descending });
        }
    }
    Ok(keys)
}

/// Appends `tiebreak` in the direction of the last key, so that an index serves the whole order.
pub(crate) fn append_tiebreak<'a>(
    keys: &mut Vec<Key<'a>>,
    table: &'a Table,
    alias: Option<Alias>,
    tiebreak: &'a [String],
) -> Result<(), Invalid> {
    let descending = keys.last().is_some_and(|key| key.descending);
    for name in tiebreak {
        if keys.iter().all(|key| key.place.column.name != *name) {
            keys.push(Key { place: table.place(name, alias)?, descending });
        }
    }
    Ok(())
}

/// Where the page before ended: one value a key, nothing for null.
pub(crate) fn position(
    dialect: &Dialect,
    keys: &[Key<'_>],
    position: Position,
) -> Result<Vec<Option<Value>>, Invalid> {
    let value = |(key, text): (&Key<'_>, Option<String>)| match text {
        None => Ok(None),
        Some(text) => key_value(dialect, key, text)
            .map(Some)
            .ok_or_else(|| Invalid::new("cursor", "a cursor of this target and order")),
    };
    keys.iter().zip(position.0).map(value).collect()
}

fn key_value(dialect: &Dialect, key: &Key<'_>, text: String) -> Option<Value> {
    if let Form::Literal(_) = key.form(dialect) {
        return literal_value(&text);
    }
    if dialect.infinities && is_infinity(key.place.column.kind, &text) {
        return Some(Value::Text(text));
    }
    let column: &Column = &key.place.column;
    (dialect.cursor_value)(column, &text).or_else(|| exact(dialect, column, &Scalar::Text(text)))
}

fn is_infinity(kind: Kind, text: &str) -> bool {
    let can = match kind {
        Kind::Date | Kind::Timestamp | Kind::TimestampTz => ["infinity", "-infinity"].as_slice(),
        Kind::Float { .. } | Kind::Decimal => ["NaN", "Infinity", "-Infinity"].as_slice(),
        _ => [].as_slice(),
    };
    can.contains(&text)
}

/// Reads an SQL literal: `42`, `4.5`, `'it''s'`, `X'00FF'`. Other text stands for itself, as in cursors of the
/// published bridges.
fn literal_value(text: &str) -> Option<Value> {
    if let Some(quoted) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return Some(Value::Text(quoted.replace("''", "'")));
    }
    if let Some(hex) = text.strip_prefix("X'").and_then(|rest| rest.strip_suffix('\'')) {
        return bytes(hex).map(Value::Bytes);
    }
    match Number::parse(text) {
        Some(number) if number.is_integer_literal() => number.as_i64().map(Value::Integer),
        Some(number) => Some(Value::Double(number.as_f64())),
        None => Some(Value::Text(text.to_owned())),
    }
}

fn bytes(hex: &str) -> Option<Vec<u8>> {
    let digits = hex.as_bytes().chunks(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// Writes the order of `keys`.
pub(crate) fn write_order(sql: &mut SqlText<'_>, keys: &[Key<'_>], comparable: bool) {
    sql.separated(", ", keys, |sql, key| {
        if comparable {
            key.write(sql);
        } else {
            key.place.write(sql);
        }
        if key.descending {
            sql.syntax(" DESC");
        }
    });
}

/// Writes the condition of the rows after `position`, or of those at it, too.
pub(crate) fn write_after(sql: &mut SqlText<'_>, keys: &[Key<'_>], position: &[Option<Value>], and_at: bool) {
    let steps: Vec<Step<'_>> =
        keys.iter().zip(position).map(|(key, value)| Step { key, value: value.as_ref() }).collect();
    match row_comparison(sql.dialect(), &steps, and_at) {
        Some(operator) => write_row_comparison(sql, &steps, operator),
        None => write_expanded(sql, &steps, and_at),
    }
}

struct Step<'a> {
    key: &'a Key<'a>,
    value: Option<&'a Value>,
}

/// Rows compare as a whole when all keys run the same way and no null comes after: a row with one compares as unknown.
fn row_comparison(dialect: &Dialect, steps: &[Step<'_>], and_at: bool) -> Option<Operator> {
    let first = steps.first()?;
    let descending = first.key.descending;
    let same = steps.iter().all(|step| step.key.descending == descending && step.is_bound(dialect));
    let operator = match (descending, and_at) {
        (true, false) => Operator::Less,
        (true, true) => Operator::LessOrEqual,
        (false, false) => Operator::Greater,
        (false, true) => Operator::GreaterOrEqual,
    };
    (same && (steps.len() == 1 || dialect.row_comparison)).then_some(operator)
}

fn write_row_comparison(sql: &mut SqlText<'_>, steps: &[Step<'_>], operator: Operator) {
    let several = steps.len() > 1;
    if several {
        sql.syntax("(");
    }
    sql.separated(", ", steps, |sql, step| step.key.write(sql));
    sql.syntax(if several { ")" } else { "" }).syntax(operator.words()).syntax(if several {
        "("
    } else {
        ""
    });
    sql.separated(", ", steps, |sql, step| {
        if let Some(value) = step.value {
            sql.param(step.key.place.param(value.clone()));
        }
    });
    if several {
        sql.syntax(")");
    }
}

/// `(a > x) OR (a = x AND b > y) OR …`, behind a bound on the first key that an index can use.
fn write_expanded(sql: &mut SqlText<'_>, steps: &[Step<'_>], and_at: bool) {
    let dialect = sql.dialect();
    let reachable: Vec<usize> =
        (0..steps.len()).filter(|at| steps.get(*at).is_some_and(|step| step.has_after(dialect))).collect();
    if reachable.is_empty() && !and_at {
        sql.syntax("1=0");
        return;
    }
    if let Some(first) = steps.first().filter(|first| steps.len() > 1 && first.is_bound(dialect)) {
        first.write_at_or_after(sql);
        sql.syntax(" AND ");
    }
    let none_after = reachable.is_empty();
    sql.syntax("(").separated(" OR ", reachable, |sql, at| {
        let (before, from) = steps.split_at(at);
        sql.syntax("(");
        for step in before {
            step.write_equal(sql);
            sql.syntax(" AND ");
        }
        if let Some(step) = from.first() {
            step.write_after(sql);
        }
        sql.syntax(")");
    });
    if and_at {
        sql.syntax(if none_after { "(" } else { " OR (" });
        sql.separated(" AND ", steps, |sql, step| step.write_equal(sql)).syntax(")");
    }
    sql.syntax(")");
}

impl Step<'_> {
    /// Whether nulls come after the values that are not null, as far as the column has nulls.
    fn nulls_after(&self, dialect: &Dialect) -> bool {
        self.key.has_nulls(dialect) && dialect.nulls_last(self.key.descending)
    }

    /// Whether anything can come after this key's value.
    fn has_after(&self, dialect: &Dialect) -> bool {
        self.value.is_some() || !dialect.nulls_last(self.key.descending)
    }

    /// Whether all rows at or after this key's value lie on one side of it.
    fn is_bound(&self, dialect: &Dialect) -> bool {
        self.value.is_some() && !self.nulls_after(dialect)
    }

    fn write_at_or_after(&self, sql: &mut SqlText<'_>) {
        let operator = if self.key.descending { Operator::LessOrEqual } else { Operator::GreaterOrEqual };
        if let Some(value) = self.value {
            self.write_comparison(sql, operator, value);
        }
    }

    fn write_equal(&self, sql: &mut SqlText<'_>) {
        match self.value {
            Some(value) => self.write_comparison(sql, Operator::Equal, value),
            None => {
                self.write_null_test(sql, " IS NULL");
            }
        }
    }

    fn write_after(&self, sql: &mut SqlText<'_>) {
        let Some(value) = self.value else {
            self.write_null_test(sql, " IS NOT NULL");
            return;
        };
        let operator = if self.key.descending { Operator::Less } else { Operator::Greater };
        let nulls = self.nulls_after(sql.dialect());
        if nulls {
            sql.syntax("(");
        }
        self.write_comparison(sql, operator, value);
        if nulls {
            sql.syntax(" OR ");
            self.write_null_test(sql, " IS NULL");
            sql.syntax(")");
        }
    }

    fn write_comparison(&self, sql: &mut SqlText<'_>, operator: Operator, value: &Value) {
        self.key.write(sql);
        sql.syntax(operator.words()).param(self.key.place.param(value.clone()));
    }

    fn write_null_test(&self, sql: &mut SqlText<'_>, test: &'static str) {
        match self.key.finite(sql.dialect()) {
            Some(_) => self.key.write(sql),
            None => self.key.place.write(sql),
        }
        sql.syntax(test);
    }
}
