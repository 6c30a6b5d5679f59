//! Values of a row, compared without losing a digit.

use std::cmp::Ordering;
use std::fmt;

use bridge_core::js_number;
use protocol::Timestamp;

/// The largest integer that every JSON reader takes exactly: 2^53 - 1.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Value {
    /// Null, or not there.
    Null,
    /// True or false.
    Bool(bool),
    /// A number, exact.
    Number(Number),
    /// Text.
    Text(String),
    /// An instant.
    Timestamp(Timestamp),
    /// Bytes.
    Bytes(Vec<u8>),
    /// A list or an object, as JSON.
    Json(String),
}

/// An exact decimal number. Whole numbers of 64 bits are always [`Number::Integer`], so that equal numbers are equal.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Number {
    /// A whole number of 64 bits.
    Integer(i64),
    /// Any other.
    Decimal(Box<Decimal>),
}

/// `0.digits * 10^exponent`, without zeros at either end of the digits.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Decimal {
    negative: bool,
    exponent: i64,
    digits: String,
}

impl Value {
    /// Whether it is null.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The order of two values of the same type; nothing for others, and for null.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => Some(left.cmp(right)),
            (Self::Number(left), Self::Number(right)) => Some(left.cmp(right)),
            (Self::Text(left), Self::Text(right)) | (Self::Json(left), Self::Json(right)) => {
                Some(left.cmp(right))
            }
            (Self::Timestamp(left), Self::Timestamp(right)) => Some(left.cmp(right)),
            (Self::Bytes(left), Self::Bytes(right)) => Some(left.cmp(right)),
            _ => None,
        }
    }

    /// The order of any two values: by type where they differ in it.
    pub fn total_order(&self, other: &Self) -> Ordering {
        self.compare(other).unwrap_or_else(|| self.rank().cmp(&other.rank()))
    }

    /// The value as text, as a cast in SQL would have it; nothing for null and bytes.
    pub fn text(&self) -> Option<String> {
        match self {
            Self::Null | Self::Bytes(_) => None,
            Self::Bool(value) => Some(value.to_string()),
            Self::Number(number) => Some(number.to_string()),
            Self::Text(text) | Self::Json(text) => Some(text.clone()),
            Self::Timestamp(timestamp) => Some(timestamp.to_string()),
        }
    }

    /// The number, where it is one or the text of one.
    pub fn number(&self) -> Option<Number> {
        match self {
            Self::Number(number) => Some(number.clone()),
            Self::Text(text) => Number::parse(text),
            Self::Null | Self::Bool(_) | Self::Timestamp(_) | Self::Bytes(_) | Self::Json(_) => None,
        }
    }

    /// The instant, where it is one, the text of one, or a number of milliseconds since 1970.
    pub fn timestamp(&self) -> Option<Timestamp> {
        match self {
            Self::Timestamp(timestamp) => Some(*timestamp),
            Self::Text(text) => Timestamp::parse(text),
            Self::Number(Number::Integer(millis)) => millis.checked_mul(1_000).map(Timestamp::from_micros),
            Self::Null | Self::Bool(_) | Self::Number(_) | Self::Bytes(_) | Self::Json(_) => None,
        }
    }

    /// About how many bytes it takes in memory.
    pub(crate) fn size(&self) -> usize {
        let heap = match self {
            Self::Null | Self::Bool(_) | Self::Timestamp(_) | Self::Number(Number::Integer(_)) => 0,
            Self::Number(Number::Decimal(decimal)) => size_of::<Decimal>() + decimal.digits.len(),
            Self::Text(text) | Self::Json(text) => text.len(),
            Self::Bytes(bytes) => bytes.len(),
        };
        size_of::<Self>() + heap
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Null => 0,
            Self::Bool(_) => 1,
            Self::Number(_) => 2,
            Self::Timestamp(_) => 3,
            Self::Text(_) => 4,
            Self::Bytes(_) => 5,
            Self::Json(_) => 6,
        }
    }
}

impl Number {
    /// Reads a number literal of JSON.
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(integer) = text.parse() {
            return literal_integer(text).then_some(Self::Integer(integer));
        }
        let literal = protocol::Number::parse(text)?;
        match literal.as_i64() {
            Some(integer) => Some(Self::Integer(integer)),
            None => Decimal::parse(text).map(Self::of_decimal),
        }
    }

    /// The number that JavaScript would write for a finite double.
    pub fn from_f64(value: f64) -> Option<Self> {
        value.is_finite().then(|| Self::parse(&js_number(value))).flatten()
    }

    /// The nearest double.
    pub fn as_f64(&self) -> f64 {
        match self {
            #[expect(clippy::cast_precision_loss, reason = "the nearest double is what is asked for")]
            Self::Integer(integer) => *integer as f64,
            Self::Decimal(decimal) => decimal.to_string().parse().unwrap_or(f64::NAN),
        }
    }

    /// The number as `units / 10^scale`, where that fits.
    pub(crate) fn scaled(&self) -> Option<(i128, u32)> {
        match self {
            Self::Integer(integer) => Some((i128::from(*integer), 0)),
            Self::Decimal(decimal) => decimal.scaled(),
        }
    }

    /// `units / 10^scale`
    pub(crate) fn of_scaled(units: i128, scale: u32) -> Option<Self> {
        let digits = units.unsigned_abs().to_string();
        let exponent = i64::try_from(digits.len()).ok()? - i64::from(scale);
        let number = Self::of_decimal(Decimal::new(units < 0, &digits, exponent));
        Some(number)
    }

    /// Whether a reader of JSON numbers gets every digit of it.
    pub(crate) fn is_safe(&self) -> bool {
        match self {
            Self::Integer(integer) => integer.unsigned_abs() <= MAX_SAFE_INTEGER,
            Self::Decimal(_) => Self::from_f64(self.as_f64()).is_some_and(|nearest| nearest == *self),
        }
    }

    fn of_decimal(decimal: Decimal) -> Self {
        match decimal.integer() {
            Some(integer) => Self::Integer(integer),
            None => Self::Decimal(Box::new(decimal)),
        }
    }
}

/// Rust reads `+5`, `05` and `-0` as well; the first two are no literals.
fn literal_integer(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    !digits.starts_with('+') && (digits == "0" || !digits.starts_with('0'))
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Integer(left), Self::Integer(right)) => left.cmp(right),
            (Self::Integer(left), Self::Decimal(right)) => Decimal::of_integer(*left).cmp(right),
            (Self::Decimal(left), Self::Integer(right)) => (**left).cmp(&Decimal::of_integer(*right)),
            (Self::Decimal(left), Self::Decimal(right)) => left.cmp(right),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(integer) => integer.fmt(f),
            Self::Decimal(decimal) => decimal.fmt(f),
        }
    }
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (negative, text) = text.strip_prefix('-').map_or((false, text), |text| (true, text));
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        // An exponent beyond 64 bits is as large as any.
        let exponent =
            exponent.parse().unwrap_or(if exponent.starts_with('-') { i64::MIN } else { i64::MAX });
        let whole_digits = i64::try_from(whole.len()).ok()?;
        Some(Self::new(negative, &format!("{whole}{fraction}"), exponent.saturating_add(whole_digits)))
    }

    fn of_integer(value: i64) -> Self {
        let digits = value.unsigned_abs().to_string();
        let exponent = i64::try_from(digits.len()).unwrap_or(0);
        Self::new(value < 0, &digits, exponent)
    }

    fn new(negative: bool, digits: &str, exponent: i64) -> Self {
        let significant = digits.trim_start_matches('0');
        if significant.is_empty() {
            return Self { negative: false, exponent: 0, digits: String::new() };
        }
        let leading = i64::try_from(digits.len() - significant.len()).unwrap_or(0);
        let digits = significant.trim_end_matches('0').to_owned();
        Self { negative, exponent: exponent.saturating_sub(leading), digits }
    }

    fn integer(&self) -> Option<i64> {
        match self.scaled()? {
            (units, 0) => i64::try_from(units).ok(),
            _ => None,
        }
    }

    fn scaled(&self) -> Option<(i128, u32)> {
        let digits: i128 = if self.digits.is_empty() { 0 } else { self.digits.parse().ok()? };
        let units = if self.negative { -digits } else { digits };
        let scale = i64::try_from(self.digits.len()).ok()?.checked_sub(self.exponent)?;
        match u32::try_from(scale) {
            Ok(scale) if scale <= 30 => Some((units, scale)),
            Ok(_) => None,
            Err(_) => {
                let zeros = u32::try_from(scale.checked_neg()?).ok()?;
                Some((units.checked_mul(10_i128.checked_pow(zeros)?)?, 0))
            }
        }
    }

    /// Nothing for zero, so that it stands between the signs.
    fn sign(&self) -> i8 {
        match (self.digits.is_empty(), self.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let magnitude = || self.exponent.cmp(&other.exponent).then_with(|| self.digits.cmp(&other.digits));
        self.sign().cmp(&other.sign()).then_with(|| match self.sign() {
            -1 => magnitude().reverse(),
            _ => magnitude(),
        })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Without an exponent while there are at most forty zeros to write, which every decimal type of a database is below.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST_ZEROS: i64 = 40;
        if self.digits.is_empty() {
            return f.write_str("0");
        }
        if self.negative {
            f.write_str("-")?;
        }
        let count = i64::try_from(self.digits.len()).unwrap_or(i64::MAX);
        let at = usize::try_from(self.exponent).ok().and_then(|at| self.digits.split_at_checked(at));
        match at {
            Some((whole, fraction)) if !whole.is_empty() && !fraction.is_empty() => {
                write!(f, "{whole}.{fraction}")
            }
            _ if (-MOST_ZEROS..=0).contains(&self.exponent) => {
                let zeros = usize::try_from(self.exponent.unsigned_abs()).unwrap_or(0);
                write!(f, "0.{}{}", "0".repeat(zeros), self.digits)
            }
            _ if self.exponent > 0 && self.exponent.saturating_sub(count) <= MOST_ZEROS => {
                let zeros = usize::try_from(self.exponent - count).unwrap_or(0);
                write!(f, "{}{}", self.digits, "0".repeat(zeros))
            }
            _ => write!(f, "{}e{}", self.digits, self.exponent.saturating_sub(count)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Number {
        Number::parse(text).unwrap()
    }

    #[test]
    fn equal_numbers_are_equal_however_they_are_written() {
        assert_eq!(number("5"), number("5.0"));
        assert_eq!(number("5"), number("0.5e1"));
        assert_eq!(number("-0"), number("0"));
        assert_eq!(number("10.50"), number("105e-1"));
        assert_ne!(number("9007199254740993"), number("9007199254740992"));
        assert_ne!(number("12345678901234567890.1"), number("12345678901234567890.2"));
    }

    #[test]
    fn numbers_are_ordered_exactly() {
        let ascending = [
            "-1e400",
            "-12345678901234567890.2",
            "-12345678901234567890.1",
            "-2",
            "-1.5",
            "-0.1",
            "0",
            "1e-400",
            "0.09",
            "0.1",
            "1",
            "9007199254740992",
            "9007199254740993",
            "9223372036854775808",
            "1e400",
        ];
        for pair in ascending.windows(2) {
            assert!(number(pair[0]) < number(pair[1]), "{pair:?}");
        }
    }

    #[test]
    fn text_reads_back() {
        for text in
            ["0", "-5", "10.5", "0.000001", "-0.05", "123456789012345678901234.56789", "1e50", "12e-60"]
        {
            let shown = number(text).to_string();
            assert_eq!(number(&shown), number(text), "{text} shown as {shown}");
        }
        assert_eq!(number("123456789012345678901234.567890").to_string(), "123456789012345678901234.56789");
        assert_eq!(number("1e25").to_string(), "10000000000000000000000000");
    }

    #[test]
    fn only_literals_of_json_are_numbers() {
        for text in ["", "+5", "05", "0x10", "1.", "NaN", " 5", "abc"] {
            assert_eq!(Number::parse(text), None, "{text}");
        }
    }

    #[test]
    fn safe_numbers_survive_a_double() {
        assert!(number("9007199254740991").is_safe() && !number("9007199254740993").is_safe());
        assert!(number("0.1").is_safe() && !number("0.1000000000000000055").is_safe());
    }
}
