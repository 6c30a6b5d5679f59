//! One operand in every form that a value may be compared with: an identifier given as text finds an ObjectId, a date
//! given as text finds a Date, as a typed database would convert it. What an operand cannot be, equals nothing.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bridge_reduce::Number;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Decimal128, Uuid};
use protocol::{Comparison, Scalar, Timestamp};

/// A comparison within one family of types.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Range {
    pub(super) comparison: Comparison,
    pub(super) bound: Bson,
    pub(super) over: Over,
}

/// Which values a comparison is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Over {
    /// All that are of the bound's family.
    Family,
    /// Doubles.
    Doubles,
    /// Numbers that are not doubles.
    ExactNumbers,
}

/// Which other forms than its own an operand may have: those of the field's declared types, or all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forms(u8);

const NUMBER: u8 = 1;
const TEXT: u8 = 2;
const OBJECT_ID: u8 = 4;
const DATE: u8 = 8;
const BYTES: u8 = 16;
const BOOLEAN: u8 = 32;

impl Default for Forms {
    fn default() -> Self {
        Self(u8::MAX)
    }
}

impl Forms {
    /// Of declared types, joined by `|`.
    pub(crate) fn of(kinds: &str) -> Self {
        kinds.split('|').fold(Self(0), |forms, kind| {
            Self(
                forms.0
                    | match kind {
                        "int" | "long" | "double" | "decimal" | "number" => NUMBER,
                        "string" | "symbol" => TEXT,
                        "objectId" => OBJECT_ID,
                        "date" => DATE,
                        "binData" => BYTES,
                        "bool" | "boolean" => BOOLEAN,
                        _ => u8::MAX,
                    },
            )
        })
    }

    /// Whether a value is among them, or has the operand's own type.
    fn take(self, scalar: &Scalar, value: &Bson) -> bool {
        let form = match value {
            Bson::Int32(_) | Bson::Int64(_) | Bson::Double(_) | Bson::Decimal128(_) => NUMBER,
            Bson::ObjectId(_) => OBJECT_ID,
            Bson::DateTime(_) => DATE,
            Bson::Binary(_) => BYTES,
            Bson::Boolean(_) => BOOLEAN,
            _ => TEXT,
        };
        let own = match scalar {
            Scalar::Number(_) => NUMBER,
            Scalar::Bool(_) => BOOLEAN,
            Scalar::Null | Scalar::Text(_) => TEXT,
        };
        form == own || self.0 & form != 0
    }
}

/// Every value that equals the operand; none for null.
pub(super) fn equals(scalar: &Scalar, forms: Forms) -> Vec<Bson> {
    let mut values = all_equals(scalar);
    values.retain(|value| forms.take(scalar, value));
    values
}

fn all_equals(scalar: &Scalar) -> Vec<Bson> {
    match scalar {
        Scalar::Null => Vec::new(),
        Scalar::Bool(value) => vec![Bson::Boolean(*value), Bson::String(value.to_string())],
        Scalar::Number(number) => {
            let mut values = equal_numbers(number.as_str());
            values.push(Bson::String(number.as_str().to_owned()));
            values.extend(number.as_i64().and_then(bit).map(Bson::Boolean));
            values
        }
        Scalar::Text(text) => {
            let mut values = vec![Bson::String(text.clone())];
            values.extend(equal_numbers(text));
            values.extend(object_id(text));
            values.extend(exact_date(text));
            values.extend(uuid(text).into_iter().flat_map(|id| {
                [BinarySubtype::Uuid, BinarySubtype::UuidOld]
                    .map(|subtype| binary(subtype, id.bytes().to_vec()))
            }));
            values.extend(bytes(text));
            values.extend(text.parse().ok().map(Bson::Boolean));
            values
        }
    }
}

/// The comparisons of which one must hold; none where nothing compares with the operand.
pub(super) fn ranges(comparison: Comparison, scalar: &Scalar, forms: Forms) -> Vec<Range> {
    let mut ranges = all_ranges(comparison, scalar);
    ranges.retain(|range| forms.take(scalar, &range.bound));
    ranges
}

fn all_ranges(comparison: Comparison, scalar: &Scalar) -> Vec<Range> {
    let family = |bound| Range { comparison, bound, over: Over::Family };
    match scalar {
        Scalar::Null => Vec::new(),
        Scalar::Bool(value) => vec![family(Bson::Boolean(*value)), family(Bson::String(value.to_string()))],
        Scalar::Number(number) => {
            let mut ranges = number_ranges(comparison, number.as_str());
            ranges.push(family(Bson::String(number.as_str().to_owned())));
            ranges
        }
        Scalar::Text(text) => {
            let mut ranges = vec![family(Bson::String(text.clone()))];
            ranges.extend(number_ranges(comparison, text));
            ranges.extend(object_id(text).map(family));
            ranges.extend(date_range(comparison, text));
            ranges.extend(
                uuid(text)
                    .map(|id| family(binary(BinarySubtype::Uuid, id.bytes().to_vec())))
                    .or_else(|| bytes(text).map(family)),
            );
            ranges
        }
    }
}

fn bit(value: i64) -> Option<bool> {
    match value {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

/// The server compares whole numbers exactly with every type of number. A fraction has another value as a double than as a
/// decimal, so it is looked for as both.
fn equal_numbers(text: &str) -> Vec<Bson> {
    let Some(number) = Number::parse(text) else { return Vec::new() };
    if let Number::Integer(integer) = number {
        return vec![Bson::Int64(integer)];
    }
    let double = number.as_f64();
    let as_double = (Number::from_f64(double).as_ref() == Some(&number)).then_some(Bson::Double(double));
    as_double.into_iter().chain(decimal(text)).collect()
}

fn number_ranges(comparison: Comparison, text: &str) -> Vec<Range> {
    let Some(number) = Number::parse(text) else { return Vec::new() };
    if let Number::Integer(integer) = number {
        return vec![Range { comparison, bound: Bson::Int64(integer), over: Over::Family }];
    }
    let doubles = double_range(comparison, &number);
    match decimal(text) {
        Some(bound) => vec![doubles, Range { comparison, bound, over: Over::ExactNumbers }],
        // More digits than any decimal of the server has.
        None => vec![Range { over: Over::Family, ..doubles }],
    }
}

/// A double stands for the shortest decimal that reads back as it, here as in rows. A bound between two doubles is the
/// next of them, with or without itself.
fn double_range(comparison: Comparison, number: &Number) -> Range {
    let double = number.as_f64();
    let above = match Number::from_f64(double) {
        Some(nearest) if nearest == *number => {
            return Range { comparison, bound: Bson::Double(double), over: Over::Doubles };
        }
        Some(nearest) => nearest > *number,
        None => double > 0.0,
    };
    let comparison = match (comparison, above) {
        (Comparison::Greater | Comparison::GreaterOrEqual, true) => Comparison::GreaterOrEqual,
        (Comparison::Greater | Comparison::GreaterOrEqual, false) => Comparison::Greater,
        (Comparison::Less | Comparison::LessOrEqual, true) => Comparison::Less,
        (Comparison::Less | Comparison::LessOrEqual, false) => Comparison::LessOrEqual,
    };
    Range { comparison, bound: Bson::Double(double), over: Over::Doubles }
}

pub(super) fn decimal(text: &str) -> Option<Bson> {
    // The exact ones only: a text of more digits than the type has does not parse.
    text.parse::<Decimal128>().ok().map(Bson::Decimal128)
}

fn object_id(text: &str) -> Option<Bson> {
    let hex = text.len() == 24 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    hex.then(|| ObjectId::parse_str(text).ok().map(Bson::ObjectId)).flatten()
}

fn uuid(text: &str) -> Option<Uuid> {
    (text.len() == 36).then(|| Uuid::parse_str(text).ok()).flatten()
}

/// Dates of the server have milliseconds; an instant with microseconds is none of them.
fn exact_date(text: &str) -> Option<Bson> {
    let micros = Timestamp::parse(text)?.micros();
    (micros % 1_000 == 0).then(|| Bson::DateTime(DateTime::from_millis(micros / 1_000)))
}

/// An instant between two milliseconds: what is later is at least the next one.
fn date_range(comparison: Comparison, text: &str) -> Option<Range> {
    let micros = Timestamp::parse(text)?.micros();
    let comparison = match comparison {
        exact if micros.rem_euclid(1_000) == 0 => exact,
        Comparison::Greater | Comparison::GreaterOrEqual => Comparison::Greater,
        Comparison::Less | Comparison::LessOrEqual => Comparison::LessOrEqual,
    };
    let bound = Bson::DateTime(DateTime::from_millis(micros.div_euclid(1_000)));
    Some(Range { comparison, bound, over: Over::Family })
}

/// Bytes as rows carry them: base64 in its one form with padding.
fn bytes(text: &str) -> Option<Bson> {
    STANDARD.decode(text).ok().map(|bytes| binary(BinarySubtype::Generic, bytes))
}

fn binary(subtype: BinarySubtype, bytes: Vec<u8>) -> Bson {
    Bson::Binary(Binary { subtype, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Scalar {
        Scalar::Number(protocol::Number::parse(text).unwrap())
    }

    #[test]
    fn text_is_looked_for_in_every_form_that_it_may_have() {
        let id = ObjectId::parse_str("0123456789abcdef01234567").unwrap();
        assert!(all_equals(&"0123456789abcdef01234567".into()).contains(&Bson::ObjectId(id)));
        let date = Bson::DateTime(DateTime::from_millis(1_709_164_800_000));
        assert!(all_equals(&"2024-02-29".into()).contains(&date));
        assert!(all_equals(&"2024-02-29T01:00:00+01:00".into()).contains(&date));
        assert!(!all_equals(&"2024-02-29T00:00:00.000001Z".into()).contains(&date));
        assert!(all_equals(&"10.50".into()).contains(&decimal("10.50").unwrap()));
        assert!(all_equals(&"true".into()).contains(&Bson::Boolean(true)));
        assert_eq!(all_equals(&"Alpha!".into()), [Bson::String("Alpha!".to_owned())]);
        assert_eq!(all_equals(&Scalar::Null), []);
    }

    #[test]
    fn declared_types_leave_out_other_forms_but_never_the_operands_own() {
        let forms = |kinds: &str, scalar: &Scalar| equals(scalar, Forms::of(kinds)).len();
        assert_eq!(forms("long", &number("5")), 1);
        assert_eq!(forms("long", &"5".into()), 2);
        assert_eq!(forms("string", &"2024-02-29".into()), 1);
        assert_eq!(forms("date", &"2024-02-29".into()), 2);
        assert_eq!(forms("any", &number("1")), 3);
        assert_eq!(forms("string", &number("1")), 2);
    }

    #[test]
    fn an_integer_is_one_number_and_a_fraction_is_two() {
        assert_eq!(all_equals(&number("5")), [Bson::Int64(5), Bson::String("5".to_owned())]);
        assert_eq!(all_equals(&number("5.0"))[0], Bson::Int64(5));
        assert_eq!(all_equals(&number("0.1"))[..2], [Bson::Double(0.1), decimal("0.1").unwrap()]);
        // No double reads like this.
        assert_eq!(
            all_equals(&number("0.1000000000000000055"))[0],
            decimal("0.1000000000000000055").unwrap()
        );
    }

    #[test]
    fn a_bound_between_two_doubles_is_one_of_them() {
        let doubles = |comparison, text: &str| {
            let range = all_ranges(comparison, &number(text)).remove(0);
            assert_eq!(range.over, Over::Doubles);
            (range.comparison, range.bound)
        };
        // 0.1 is the nearest double and lies below.
        let beyond = "0.1000000000000000001";
        assert_eq!(doubles(Comparison::GreaterOrEqual, beyond), (Comparison::Greater, Bson::Double(0.1)));
        assert_eq!(doubles(Comparison::Less, beyond), (Comparison::LessOrEqual, Bson::Double(0.1)));
        assert_eq!(doubles(Comparison::Less, "0.1"), (Comparison::Less, Bson::Double(0.1)));
    }

    #[test]
    fn an_instant_between_two_milliseconds_bounds_like_itself() {
        let date = |comparison, text: &str| {
            let ranges = all_ranges(comparison, &text.into());
            let range = ranges.into_iter().find(|range| matches!(range.bound, Bson::DateTime(_))).unwrap();
            let Bson::DateTime(at) = range.bound else { panic!() };
            (range.comparison, at.timestamp_millis())
        };
        let between = "1970-01-01T00:00:00.001500Z";
        assert_eq!(date(Comparison::GreaterOrEqual, between), (Comparison::Greater, 1));
        assert_eq!(date(Comparison::Less, between), (Comparison::LessOrEqual, 1));
        assert_eq!(date(Comparison::Less, "1969-12-31T23:59:59.999Z"), (Comparison::Less, -1));
    }
}
