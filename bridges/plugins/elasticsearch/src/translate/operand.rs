//! Operands in the forms that fields of each kind take. What a field cannot take, equals nothing in it.

use bridge_reduce::Number;
use semilayer_plugin::options::{Comparison, Scalar, Timestamp};
use serde_json::{Value as Json, json};

/// The first and the last instant that fields of nanoseconds hold.
const NANOS_FROM: &str = "1970-01-01T00:00:00.000Z";
const NANOS_TO: &str = "2262-04-11T23:47:16.854775Z";

/// Where an operand of a range stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Bound {
    /// Before or behind every value, so that all of them compare in the same way.
    Every,
    None,
    At(Comparison, Json),
}

/// The text of an operand, as keywords compare with it.
pub(super) fn text(scalar: &Scalar) -> Option<String> {
    match scalar {
        Scalar::Null => None,
        Scalar::Bool(value) => Some(value.to_string()),
        Scalar::Number(number) => Some(number.as_str().to_owned()),
        Scalar::Text(text) => Some(text.clone()),
    }
}

pub(super) fn boolean(scalar: &Scalar) -> Option<bool> {
    match scalar {
        Scalar::Bool(value) => Some(*value),
        Scalar::Text(text) => text.parse().ok(),
        Scalar::Number(number) => match number.as_i64() {
            Some(0) => Some(false),
            Some(1) => Some(true),
            _ => None,
        },
        Scalar::Null => None,
    }
}

pub(super) fn number(scalar: &Scalar) -> Option<Number> {
    match scalar {
        Scalar::Number(number) => Number::parse(number.as_str()),
        Scalar::Text(text) => Number::parse(text),
        Scalar::Null | Scalar::Bool(_) => None,
    }
}

pub(super) fn timestamp(scalar: &Scalar) -> Option<Timestamp> {
    match scalar {
        Scalar::Text(text) => Timestamp::parse(text),
        Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) => None,
    }
}

/// A whole number within these limits.
pub(super) fn integer(scalar: &Scalar, min: i128, max: i128) -> Option<Json> {
    let number = whole(&number(scalar)?)?;
    (min..=max).contains(&number).then(|| integer_json(number)).flatten()
}

/// A double, and whether it is one.
pub(super) fn double(scalar: &Scalar) -> Option<Json> {
    let number = number(scalar)?.as_f64();
    number.is_finite().then(|| json!(number))
}

/// An instant that a field of this precision can hold.
pub(super) fn instant(scalar: &Scalar, has_nanos: bool) -> Option<Json> {
    let instant = timestamp(scalar)?;
    let is_whole = has_nanos || instant.micros() % 1_000 == 0;
    (is_whole && is_within(instant, has_nanos).is_none()).then(|| json!(instant.to_string()))
}

/// How whole numbers compare with an operand that need not be one.
pub(super) fn integer_bound(comparison: Comparison, scalar: &Scalar, min: i128, max: i128) -> Bound {
    let Some(number) = number(scalar) else { return Bound::None };
    let [least, most] = [min, max].map(|limit| Number::parse(&limit.to_string()));
    if most.is_some_and(|most| number > most) {
        return beyond(comparison, true);
    }
    if least.is_some_and(|least| number < least) {
        return beyond(comparison, false);
    }
    let (comparison, number) = match (whole(&number), floor(&number)) {
        (Some(number), _) => (comparison, number),
        // Between two whole numbers: above the one below, or up to it.
        (None, Some(floor)) if is_upward(comparison) => (Comparison::Greater, floor),
        (None, Some(floor)) => (Comparison::LessOrEqual, floor),
        (None, None) => return Bound::None,
    };
    integer_json(number).map_or(Bound::None, |number| Bound::At(comparison, number))
}

pub(super) fn double_bound(comparison: Comparison, scalar: &Scalar) -> Bound {
    match number(scalar).map(|number| number.as_f64()) {
        Some(number) if number.is_finite() => Bound::At(comparison, json!(number)),
        Some(number) => beyond(comparison, number > 0.0),
        None => Bound::None,
    }
}

/// How instants compare with one that may be finer than they are.
pub(super) fn instant_bound(comparison: Comparison, scalar: &Scalar, has_nanos: bool) -> Bound {
    let Some(instant) = timestamp(scalar) else { return Bound::None };
    if let Some(is_behind) = is_within(instant, has_nanos) {
        return beyond(comparison, is_behind);
    }
    if has_nanos || instant.micros() % 1_000 == 0 {
        return Bound::At(comparison, json!(instant.to_string()));
    }
    let floor = Timestamp::from_micros(instant.micros().div_euclid(1_000) * 1_000);
    let comparison = if is_upward(comparison) { Comparison::Greater } else { Comparison::LessOrEqual };
    Bound::At(comparison, json!(floor.to_string()))
}

/// Booleans for which a comparison holds: false stands before true.
pub(super) fn booleans(comparison: Comparison, scalar: &Scalar) -> Vec<bool> {
    let Some(operand) = boolean(scalar) else { return Vec::new() };
    let holds = |value: &bool| match comparison {
        Comparison::Greater => *value & !operand,
        Comparison::GreaterOrEqual => *value >= operand,
        Comparison::Less => !*value & operand,
        Comparison::LessOrEqual => *value <= operand,
    };
    [false, true].into_iter().filter(holds).collect()
}

fn is_upward(comparison: Comparison) -> bool {
    matches!(comparison, Comparison::Greater | Comparison::GreaterOrEqual)
}

/// An operand above all values, or below them.
fn beyond(comparison: Comparison, above: bool) -> Bound {
    if is_upward(comparison) == above { Bound::None } else { Bound::Every }
}

/// Whether an instant is outside of what a field holds, and on which side.
fn is_within(instant: Timestamp, has_nanos: bool) -> Option<bool> {
    let (from, to) = match has_nanos {
        true => (Timestamp::parse(NANOS_FROM), Timestamp::parse(NANOS_TO)),
        // Years of four digits are what every format of dates takes.
        false => (Timestamp::parse("0000-01-01"), Timestamp::parse("9999-12-31T23:59:59.999Z")),
    };
    if from.is_some_and(|from| instant < from) {
        return Some(false);
    }
    to.is_some_and(|to| instant > to).then_some(true)
}

/// The number as a whole one, where it is one exactly and not beyond reason.
fn whole(number: &Number) -> Option<i128> {
    let text = number.to_string();
    if let Ok(integer) = text.parse() {
        return Some(integer);
    }
    // `1e20` and the like.
    let double = number.as_f64();
    let is_whole = double.fract() == 0.0 && double.abs() < 1e30;
    let integer: i128 = format!("{double:.0}").parse().ok().filter(|_| is_whole)?;
    (Number::parse(&integer.to_string()).as_ref() == Some(number)).then_some(integer)
}

fn floor(number: &Number) -> Option<i128> {
    let text = number.to_string();
    let integer: i128 = match text.split_once('.') {
        Some((whole, _)) if !text.contains(['e', 'E']) => match whole {
            "" | "-" | "-0" => 0,
            whole => whole.parse().ok()?,
        },
        _ => format!("{:.0}", number.as_f64().trunc()).parse().ok()?,
    };
    let is_negative = text.starts_with('-');
    Some(if is_negative { integer - 1 } else { integer })
}

fn integer_json(number: i128) -> Option<Json> {
    i64::try_from(number).map(Json::from).or_else(|_| u64::try_from(number).map(Json::from)).ok()
}
