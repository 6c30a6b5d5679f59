//! What the values of a column are: said by the settings, or inferred from the beginning of the file.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use semilayer_plugin::options::Timestamp;
use semilayer_plugin::{Kind, Value};

const NAMES: [(&str, Kind); 12] = [
    ("boolean", Kind::Boolean),
    ("int64", Kind::Int64),
    ("uint64", Kind::Uint64),
    ("float64", Kind::Float64),
    ("decimal", Kind::Decimal),
    ("text", Kind::Text),
    ("binary", Kind::Binary),
    ("date", Kind::Date),
    ("time", Kind::Time),
    ("timestamp", Kind::Timestamp),
    ("uuid", Kind::Uuid),
    ("json", Kind::Json),
];

/// What is tried on the values of a column, the narrowest first.
const INFERRED: [Kind; 6] =
    [Kind::Boolean, Kind::Int64, Kind::Float64, Kind::Date, Kind::Timestamp, Kind::Text];

/// The kind of that name.
pub(crate) fn kind_of(name: &str) -> Option<Kind> {
    NAMES.into_iter().find(|(other, _)| *other == name).map(|(_, kind)| kind)
}

/// The kind of that name.
pub(crate) fn name_of(kind: Kind) -> &'static str {
    NAMES.into_iter().find(|(_, other)| *other == kind).map_or("text", |(name, _)| name)
}

/// A text as a value of a kind; nothing when it is none.
pub(crate) fn read(kind: Kind, text: &str) -> Option<Value> {
    Some(match kind {
        Kind::Boolean => Value::Bool(read_boolean(text)?),
        Kind::Int64 => Value::Int(text.parse().ok()?),
        Kind::Uint64 => Value::Uint(text.parse().ok()?),
        Kind::Float64 => Value::Float(text.parse().ok().filter(|value: &f64| value.is_finite())?),
        Kind::Decimal if !is_decimal(text) => return None,
        Kind::Decimal | Kind::Text | Kind::Time | Kind::Uuid => Value::Text(text.to_owned()),
        Kind::Binary => Value::Bytes(STANDARD.decode(text).ok()?),
        Kind::Date => Value::Date(Timestamp::parse(text).filter(|date| date.micros_of_day() == 0)?),
        Kind::Timestamp => Value::Timestamp(Timestamp::parse(text)?),
        Kind::Json => Value::Json(semilayer_plugin::serde_json::from_str(text).ok()?),
    })
}

/// What a column's values have in common.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guess {
    /// Of each kind in [`INFERRED`], whether a value was none of it.
    excluded: [bool; INFERRED.len()],
    any: bool,
}

impl Guess {
    /// Looks at one more value.
    pub(crate) fn look(&mut self, text: &str) {
        self.any = true;
        for (excluded, kind) in self.excluded.iter_mut().zip(INFERRED) {
            *excluded = *excluded || !could_be(kind, text);
        }
    }

    /// The narrowest kind that takes all values; text where there were none.
    pub(crate) fn kind(&self) -> Kind {
        let mut left = self.excluded.iter().zip(INFERRED).filter(|(excluded, _)| !**excluded);
        left.next().filter(|_| self.any).map_or(Kind::Text, |(_, kind)| kind)
    }
}

/// Stricter than [`read`]: digits with a zero in front are a code, and 1 is no boolean.
fn could_be(kind: Kind, text: &str) -> bool {
    match kind {
        Kind::Boolean => text.eq_ignore_ascii_case("true") || text.eq_ignore_ascii_case("false"),
        Kind::Int64 => !is_code(text) && text.parse::<i64>().is_ok(),
        Kind::Float64 => !is_code(text) && is_decimal(text) && digits(text) <= 15,
        Kind::Date => text.len() == 10 && read(Kind::Date, text).is_some(),
        Kind::Timestamp => text.len() > 10 && Timestamp::parse(text).is_some(),
        _ => true,
    }
}

/// Digits that would not come back as they are: part numbers, telephone numbers.
fn is_code(text: &str) -> bool {
    let digits = text.trim_start_matches('-').as_bytes();
    text.starts_with('+') || matches!(digits, [b'0', second, ..] if second.is_ascii_digit())
}

/// Digits with an optional sign, point and exponent.
fn is_decimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'-' | b'.' | b'e' | b'E'))
        && text.parse::<f64>().is_ok_and(f64::is_finite)
}

/// A double keeps fifteen of them.
fn digits(text: &str) -> usize {
    let mantissa = text.split(['e', 'E']).next().unwrap_or_default();
    mantissa.bytes().filter(u8::is_ascii_digit).count()
}

fn read_boolean(text: &str) -> Option<bool> {
    const TRUE: [&str; 4] = ["true", "t", "yes", "1"];
    const FALSE: [&str; 4] = ["false", "f", "no", "0"];
    let is_in = |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
    if is_in(&TRUE) { Some(true) } else { is_in(&FALSE).then_some(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inferred(values: &[&str]) -> Kind {
        let mut guess = Guess::default();
        values.iter().for_each(|value| guess.look(value));
        guess.kind()
    }

    #[test]
    fn the_narrowest_kind_that_takes_all_values_is_inferred() {
        for (values, kind) in [
            (&["true", "False"][..], Kind::Boolean),
            (&["1", "-2", "9223372036854775807"], Kind::Int64),
            (&["1", "2.5", "1e3"], Kind::Float64),
            (&["2026-01-02", "1969-12-31"], Kind::Date),
            (&["2026-01-02T03:04:05Z", "2026-01-02 03:04"], Kind::Timestamp),
            (&["2026-01-02", "2026-01-02T03:04:05Z"], Kind::Text),
            (&["1", "x"], Kind::Text),
            (&["true", "5"], Kind::Text),
            (&[], Kind::Text),
        ] {
            assert_eq!(inferred(values), kind, "{values:?}");
        }
    }

    #[test]
    fn what_a_number_would_spoil_stays_text() {
        for value in [
            "007",
            "-01",
            "+5",
            "NaN",
            "inf",
            "12345678901234567890",
            "0.1234567890123456789",
            "1e999",
            "0x1",
        ] {
            assert_eq!(inferred(&[value]), Kind::Text, "{value}");
        }
    }

    #[test]
    fn what_is_said_is_taken_when_it_fits() {
        assert_eq!(read(Kind::Boolean, "Yes"), Some(Value::Bool(true)));
        assert_eq!(read(Kind::Int64, "007"), Some(Value::Int(7)));
        assert_eq!(
            read(Kind::Decimal, "12345678901234567890.10"),
            Some(Value::from("12345678901234567890.10"))
        );
        assert_eq!(read(Kind::Binary, "AP8Q"), Some(Value::Bytes(vec![0, 255, 16])));
        for (kind, text) in [
            (Kind::Boolean, "maybe"),
            (Kind::Int64, "1.0"),
            (Kind::Float64, "inf"),
            (Kind::Decimal, "1,5"),
            (Kind::Date, "2026-01-02T03:04:05Z"),
            (Kind::Timestamp, "yesterday"),
            (Kind::Json, "{"),
        ] {
            assert_eq!(read(kind, text), None, "{kind:?} {text}");
        }
    }
}
