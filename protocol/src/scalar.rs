//! Operands of a filter. Numbers stay the text that the caller wrote, so that no digit of a decimal or of a 64-bit
//! integer is lost on the way to the database.

use serde_json::value::RawValue;

use crate::Invalid;
use crate::json::{Kind, push_text};

/// The largest 64-bit integer has so many digits.
const MAX_I64_DIGITS: usize = 19;

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Scalar {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, exact.
    Number(Number),
    /// A string; also dates, uuids, bytes in base64 and decimals, as rows carry them.
    Text(String),
}

impl Scalar {
    /// Reads a JSON scalar; a list or an object is a mistake.
    pub fn parse(raw: &RawValue) -> Result<Self, Invalid> {
        match Kind::of(raw)? {
            Kind::Null => Ok(Self::Null),
            Kind::Bool(value) => Ok(Self::Bool(value)),
            Kind::Number(text) => Number::parse(text).map(Self::Number).ok_or_else(scalar_expected),
            Kind::Text(text) => Ok(Self::Text(text.into_owned())),
            Kind::Array(_) | Kind::Object(_) => Err(scalar_expected()),
        }
    }

    /// Appends the value as JSON.
    pub fn write_json(&self, out: &mut String) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
            Self::Number(number) => out.push_str(number.as_str()),
            Self::Text(text) => push_text(out, text),
        }
    }
}

fn scalar_expected() -> Invalid {
    Invalid::new("", "a string, a number, a boolean or null")
}

impl From<&str> for Scalar {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Scalar {
    fn from(value: i64) -> Self {
        Self::Number(Number(value.to_string().into()))
    }
}

/// A JSON number as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Number(Box<str>);

impl Number {
    /// Reads a JSON number literal (RFC 8259, section 6), of at most 1 000 characters.
    pub fn parse(text: &str) -> Option<Self> {
        (text.len() <= 1_000 && is_number(text)).then(|| Self(text.into()))
    }

    /// The literal.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value as an integer, when it is one exactly: `5`, `5.0` and `5e3` are, `5.5` and 2^63 are not.
    pub fn as_i64(&self) -> Option<i64> {
        if let Ok(integer) = self.0.parse() {
            return Some(integer);
        }
        let (sign, digits, zeros) = self.decimal()?;
        let zeros = usize::try_from(zeros).ok().filter(|zeros| *zeros < MAX_I64_DIGITS)?;
        format!("{sign}{digits}{}", "0".repeat(zeros)).parse().ok()
    }

    /// The nearest double; infinite when the value is beyond its range.
    pub fn as_f64(&self) -> f64 {
        self.0.parse().unwrap_or(f64::NAN)
    }

    /// Whether the literal has no fraction and no exponent.
    pub fn is_integer_literal(&self) -> bool {
        !self.0.contains(['.', 'e', 'E'])
    }

    /// Sign, digits without zeros at either end (`0` for zero), and how many zeros to append; a negative number of them
    /// means that so many digits stand behind the point.
    fn decimal(&self) -> Option<(&str, String, i64)> {
        let (mantissa, exponent) = self.0.split_once(['e', 'E']).unwrap_or((&self.0, "0"));
        let (sign, mantissa) = mantissa.split_at(usize::from(mantissa.starts_with('-')));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let digits = format!("{whole}{fraction}");
        let significant = digits.trim_end_matches('0');
        let trailing = i64::try_from(digits.len() - significant.len()).ok()?;
        match significant.trim_start_matches('0') {
            "" => Some(("", "0".to_owned(), 0)),
            significant => {
                let exponent = exponent.parse::<i64>().ok()?;
                let zeros =
                    exponent.checked_add(trailing)?.checked_sub(i64::try_from(fraction.len()).ok()?)?;
                Some((sign, significant.to_owned(), zeros))
            }
        }
    }
}

fn is_number(text: &str) -> bool {
    let rest = text.strip_prefix('-').unwrap_or(text);
    let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (rest, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole)
        && (whole == "0" || !whole.starts_with('0'))
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_are_those_of_json() {
        for good in ["0", "-0", "5", "5.0", "1e3", "1E+3", "-1.25e-2", "12345678901234567890.123"] {
            assert!(Number::parse(good).is_some(), "{good}");
        }
        for bad in ["", "-", "05", "+5", "5.", ".5", "1e", "0x1", "NaN", "1_0", "٣"] {
            assert!(Number::parse(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn integers_are_exact_or_not_integers() {
        let integer = |text: &str| Number::parse(text).unwrap().as_i64();
        assert_eq!(integer("9007199254740993"), Some(9_007_199_254_740_993));
        assert_eq!(integer("5.0"), Some(5));
        assert_eq!(integer("5e3"), Some(5_000));
        assert_eq!(integer("-120e-1"), Some(-12));
        assert_eq!(integer("5.5"), None);
        assert_eq!(integer("9223372036854775808"), None);
        assert_eq!(integer("1e999999999"), None);
        assert_eq!(integer("0e-999999999999999999999"), Some(0));
        assert_eq!(integer("-0.0"), Some(0));
        assert_eq!(integer(&format!("-7{}e-60", "0".repeat(60))), Some(-7));
    }
}
