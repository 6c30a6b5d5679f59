//! Makes the tests of a filter fit the columns that they are about, so that no operand can make a database fail.
//!
//! An operand that its column's type cannot hold never reaches the database: `10.5` against an integer becomes a bound
//! between 10 and 11, text that is no UUID matches no UUID. Such a test is still unknown where its column is null, and
//! [`Unknown`] keeps `$not` right about that.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use protocol::{Comparison, Number, Scalar, Test, TextMatch, Timestamp};

use crate::{Column, Dialect, Extent, Kind, Value};

/// What a test has become. Only [`Condition::Compare`] and [`Condition::Among`] carry operands, and those fit.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Condition {
    Constant(bool),
    IsNull,
    IsNotNull,
    Compare(Operator, Value),
    /// Equal to one of them, or to none. Never empty.
    Among {
        negated: bool,
        values: Vec<Value>,
    },
    Matches(TextMatch, String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operator {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
}

/// What an unknown test counts as where it stands: false in a filter, true below an odd number of `$not`, because both
/// leave the row out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unknown {
    AsFalse,
    AsTrue,
}

impl Unknown {
    pub(crate) fn negated(self) -> Self {
        match self {
            Self::AsFalse => Self::AsTrue,
            Self::AsTrue => Self::AsFalse,
        }
    }

    /// True where the column is not null, unknown where it is.
    fn always(self) -> Condition {
        match self {
            Self::AsFalse => Condition::IsNotNull,
            Self::AsTrue => Condition::Constant(true),
        }
    }

    /// False where the column is not null, unknown where it is.
    fn never(self) -> Condition {
        match self {
            Self::AsFalse => Condition::Constant(false),
            Self::AsTrue => Condition::IsNull,
        }
    }

    /// Unknown everywhere.
    fn unknown(self) -> Condition {
        Condition::Constant(self == Self::AsTrue)
    }
}

/// The condition that `test` is for `column`.
pub(crate) fn conform(dialect: &Dialect, column: &Column, test: &Test, unknown: Unknown) -> Condition {
    match test {
        Test::Equal(Scalar::Null) | Test::Exists(false) => Condition::IsNull,
        Test::NotEqual(Scalar::Null) | Test::Exists(true) => Condition::IsNotNull,
        Test::Equal(scalar) => compared(Operator::Equal, fit(dialect, column, scalar), unknown),
        Test::NotEqual(scalar) => compared(Operator::NotEqual, fit(dialect, column, scalar), unknown),
        Test::Compare(_, Scalar::Null) => unknown.unknown(),
        Test::Compare(comparison, scalar) => {
            compared(Operator::of(*comparison), fit(dialect, column, scalar), unknown)
        }
        Test::In(scalars) if scalars.is_empty() => Condition::Constant(false),
        Test::NotIn(scalars) if scalars.is_empty() => Condition::Constant(true),
        Test::In(scalars) => among(dialect, column, scalars, unknown),
        Test::NotIn(scalars) => among_none(dialect, column, scalars, unknown),
        // No stored text has that character, so no text matches.
        Test::Text(_, operand) if !dialect.nul_in_text && operand.contains('\0') => unknown.never(),
        Test::Text(_, operand) if !column.repertoire.has(operand) => unknown.never(),
        Test::Text(text_match, operand) => Condition::Matches(*text_match, operand.clone()),
        Test::Never => Condition::Constant(false),
        Test::Always => Condition::Constant(true),
    }
}

/// The value that `scalar` is for `column`; nothing where the type cannot hold it, or for null.
pub(crate) fn exact(dialect: &Dialect, column: &Column, scalar: &Scalar) -> Option<Value> {
    match fit(dialect, column, scalar) {
        Fit::Exactly(Value::Text(text)) if matches!(column.extent, Extent::Padded { bytes } if text.len() > bytes) => {
            None
        }
        Fit::Exactly(value) => Some(value),
        Fit::Above(_) | Fit::Below(_) | Fit::TooLarge | Fit::TooSmall | Fit::Impossible => None,
    }
}

/// Whether the engine must compare its text of the column, because the type has no class of its own.
pub(crate) fn is_compared_as_text(column: &Column) -> bool {
    match column.kind {
        Kind::Json | Kind::Other => true,
        Kind::Enum => column.labels.is_empty(),
        Kind::Integer { .. }
        | Kind::Decimal
        | Kind::Float { .. }
        | Kind::Boolean
        | Kind::Text
        | Kind::Uuid
        | Kind::Date
        | Kind::Timestamp
        | Kind::TimestampTz
        | Kind::Time
        | Kind::Bytes
        | Kind::Unknown => false,
    }
}

fn compared(operator: Operator, fit: Fit, unknown: Unknown) -> Condition {
    use Operator::{Equal, Greater, GreaterOrEqual, Less, LessOrEqual, NotEqual};
    match (operator, fit) {
        (operator, Fit::Exactly(value)) => Condition::Compare(operator, value),
        (NotEqual, _) => unknown.always(),
        (Equal, _) | (_, Fit::Impossible) => unknown.never(),
        (Greater | GreaterOrEqual, Fit::Above(value)) => Condition::Compare(Greater, value),
        (Less | LessOrEqual, Fit::Above(value)) => Condition::Compare(LessOrEqual, value),
        (Greater | GreaterOrEqual, Fit::Below(value)) => Condition::Compare(GreaterOrEqual, value),
        (Less | LessOrEqual, Fit::Below(value)) => Condition::Compare(Less, value),
        (Less | LessOrEqual, Fit::TooLarge) | (Greater | GreaterOrEqual, Fit::TooSmall) => unknown.always(),
        (Greater | GreaterOrEqual, Fit::TooLarge) | (Less | LessOrEqual, Fit::TooSmall) => unknown.never(),
    }
}

/// `$in`: with a null in the list a row that equals no other value is unknown instead of false.
fn among(dialect: &Dialect, column: &Column, scalars: &[Scalar], unknown: Unknown) -> Condition {
    if scalars.contains(&Scalar::Null) && unknown == Unknown::AsTrue {
        return unknown.unknown();
    }
    let values = values(dialect, column, scalars);
    if values.is_empty() {
        return unknown.never();
    }
    Condition::Among { negated: false, values }
}

/// `$nin`: with a null in the list a row is false or unknown.
fn among_none(dialect: &Dialect, column: &Column, scalars: &[Scalar], unknown: Unknown) -> Condition {
    if scalars.contains(&Scalar::Null) && unknown == Unknown::AsFalse {
        return unknown.unknown();
    }
    let values = values(dialect, column, scalars);
    if values.is_empty() {
        return unknown.always();
    }
    Condition::Among { negated: true, values }
}

fn values(dialect: &Dialect, column: &Column, scalars: &[Scalar]) -> Vec<Value> {
    let not_null = scalars.iter().filter(|scalar| **scalar != Scalar::Null);
    not_null.filter_map(|scalar| exact(dialect, column, scalar)).collect()
}

/// How an operand lies among the values of a column.
enum Fit {
    /// It is one of them.
    Exactly(Value),
    /// Between this one and the next.
    Above(Value),
    /// Between this one and the one before.
    Below(Value),
    /// After all of them.
    TooLarge,
    /// Before all of them.
    TooSmall,
    /// It has no place among them.
    Impossible,
}

impl From<Option<Value>> for Fit {
    fn from(value: Option<Value>) -> Self {
        value.map_or(Self::Impossible, Self::Exactly)
    }
}

fn fit(dialect: &Dialect, column: &Column, scalar: &Scalar) -> Fit {
    match column.kind {
        Kind::Date | Kind::Timestamp | Kind::TimestampTz | Kind::Time if dialect.dates_are_text => {
            text(scalar).map_or(Fit::Impossible, |text| fit_text(dialect, text))
        }
        Kind::Integer { bits, signed } => number(dialect, scalar)
            .map_or(Fit::Impossible, |number| integer(&Decimal::of(&number), bits, signed)),
        Kind::Decimal => {
            number(dialect, scalar).map_or(Fit::Impossible, |number| decimal(&number, column.extent))
        }
        Kind::Float { bits } => {
            number(dialect, scalar).map_or(Fit::Impossible, |number| float(&number, bits))
        }
        Kind::Boolean => boolean(dialect, scalar),
        Kind::Enum if !column.labels.is_empty() => {
            text(scalar).filter(|text| column.labels.contains(text)).map(Value::Text).into()
        }
        Kind::Text | Kind::Json | Kind::Other | Kind::Enum => {
            let text = text(scalar).filter(|text| column.repertoire.has(text));
            text.map_or(Fit::Impossible, |text| fit_text(dialect, text))
        }
        Kind::Uuid => text(scalar).and_then(|text| uuid(&text)).map(Value::Text).into(),
        Kind::Date => timestamp(scalar).map_or(Fit::Impossible, date),
        Kind::Timestamp | Kind::TimestampTz => {
            timestamp(scalar).map_or(Fit::Impossible, |at| instant(at, column.extent))
        }
        Kind::Time => text(scalar).and_then(|text| time_of_day(&text)).map(Value::Text).into(),
        Kind::Bytes => text(scalar).and_then(|text| BASE64.decode(text).ok()).map(Value::Bytes).into(),
        Kind::Unknown => as_it_came(dialect, scalar),
    }
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

fn as_it_came(dialect: &Dialect, scalar: &Scalar) -> Fit {
    match scalar {
        Scalar::Null => Fit::Impossible,
        Scalar::Bool(_) => boolean(dialect, scalar),
        Scalar::Number(number) => match number.as_i64() {
            Some(integer) => Fit::Exactly(Value::Integer(integer)),
            None => decimal(number, Extent::OfItsKind),
        },
        Scalar::Text(text) => fit_text(dialect, text.clone()),
    }
}

/// The operand as text: a number as it was written.
fn text(scalar: &Scalar) -> Option<String> {
    match scalar {
        Scalar::Null => None,
        Scalar::Bool(value) => Some(value.to_string()),
        Scalar::Number(number) => Some(number.as_str().to_owned()),
        Scalar::Text(text) => Some(text.clone()),
    }
}

/// Where the engine has no NUL in text, an operand with one lies right after what stands before it.
fn fit_text(dialect: &Dialect, mut text: String) -> Fit {
    match text.find('\0') {
        Some(at) if !dialect.nul_in_text => {
            text.truncate(at);
            Fit::Above(Value::Text(text))
        }
        _ => Fit::Exactly(Value::Text(text)),
    }
}

/// The operand as a number: 64-bit integers and decimals travel as text.
fn number(dialect: &Dialect, scalar: &Scalar) -> Option<Number> {
    match scalar {
        Scalar::Number(number) => Some(number.clone()),
        Scalar::Text(text) => Number::parse(text),
        Scalar::Bool(value) if dialect.booleans_are_integers => Number::parse(if *value { "1" } else { "0" }),
        Scalar::Bool(_) | Scalar::Null => None,
    }
}

fn boolean(dialect: &Dialect, scalar: &Scalar) -> Fit {
    let value = match scalar {
        Scalar::Bool(value) => *value,
        Scalar::Text(text) if text == "true" => true,
        Scalar::Text(text) if text == "false" => false,
        Scalar::Number(_) | Scalar::Text(_) if dialect.booleans_are_integers => {
            return number(dialect, scalar)
                .map_or(Fit::Impossible, |number| integer(&Decimal::of(&number), 64, true));
        }
        Scalar::Number(_) | Scalar::Text(_) | Scalar::Null => return Fit::Impossible,
    };
    Fit::Exactly(if dialect.booleans_are_integers {
        Value::Integer(i64::from(value))
    } else {
        Value::Boolean(value)
    })
}

fn timestamp(scalar: &Scalar) -> Option<Timestamp> {
    match scalar {
        Scalar::Text(text) => Timestamp::parse(text),
        Scalar::Null | Scalar::Bool(_) | Scalar::Number(_) => None,
    }
}

fn instant(at: Timestamp, extent: Extent) -> Fit {
    match extent {
        Extent::Instants { first, .. } if at < first => Fit::TooSmall,
        Extent::Instants { last, .. } if at > last => Fit::TooLarge,
        _ => Fit::Exactly(Value::Timestamp(at)),
    }
}

/// A time within a day lies between that day and the next.
fn date(timestamp: Timestamp) -> Fit {
    let Some(day) = Timestamp::from_days(timestamp.days()) else { return Fit::Impossible };
    if day == timestamp { Fit::Exactly(Value::Timestamp(day)) } else { Fit::Above(Value::Timestamp(day)) }
}

/// `HH:MM[:SS[.ffffff]]`, up to `24:00:00`; digits beyond the microsecond are cut.
fn time_of_day(text: &str) -> Option<String> {
    let (clock, fraction) = text.split_once('.').map_or((text, None), |(clock, rest)| (clock, Some(rest)));
    let mut fields = clock.split(':').map(two_digits);
    let (hour, minute) = (fields.next()??, fields.next()??);
    let second = match fields.next() {
        Some(second) => second?,
        None if fraction.is_none() => 0,
        None => return None,
    };
    let micros: String = fraction.unwrap_or_default().chars().take(6).collect();
    let digits =
        fraction.is_none_or(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit()));
    let end_of_day = hour == 24 && minute == 0 && second == 0 && micros.bytes().all(|digit| digit == b'0');
    if !digits || fields.next().is_some() || minute > 59 || second > 59 || (hour > 23 && !end_of_day) {
        return None;
    }
    let point = if micros.is_empty() { "" } else { "." };
    Some(format!("{hour:02}:{minute:02}:{second:02}{point}{micros}"))
}

fn two_digits(text: &str) -> Option<u8> {
    (text.len() == 2 && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// 32 hexadecimal digits, with the four usual hyphens or none; lower case with hyphens in the end.
fn uuid(text: &str) -> Option<String> {
    let hyphens_fit = match text.len() {
        32 => true,
        36 => [8, 13, 18, 23].iter().all(|at| text.as_bytes().get(*at) == Some(&b'-')),
        _ => false,
    };
    let digits: String = text.chars().filter(|character| *character != '-').collect();
    if !hyphens_fit || digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    let digits = digits.to_ascii_lowercase();
    let groups =
        [digits.get(..8)?, digits.get(8..12)?, digits.get(12..16)?, digits.get(16..20)?, digits.get(20..)?];
    Some(groups.join("-"))
}

/// Beyond this many digits before the point no engine's decimal goes, and none so close to zero.
const MAX_MAGNITUDE: i64 = 1_000;

fn decimal(number: &Number, extent: Extent) -> Fit {
    let decimal = Decimal::of(number);
    match extent {
        Extent::Digits { whole, scale } => return decimal.within(whole.into(), scale.into()),
        Extent::Integers { least, greatest } => return decimal.between(least, greatest),
        Extent::OfItsKind | Extent::Instants { .. } | Extent::Padded { .. } => {}
    }
    match (decimal.digits.is_empty(), decimal.magnitude, decimal.negative) {
        (true, ..) => Fit::Exactly(Value::Decimal("0".to_owned())),
        (false, magnitude, negative) if magnitude > MAX_MAGNITUDE => beyond(negative),
        (false, magnitude, true) if magnitude < -MAX_MAGNITUDE => Fit::Below(Value::Decimal("0".to_owned())),
        (false, magnitude, false) if magnitude < -MAX_MAGNITUDE => Fit::Above(Value::Decimal("0".to_owned())),
        _ => Fit::Exactly(Value::Decimal(number.as_str().to_owned())),
    }
}

fn float(number: &Number, bits: u8) -> Fit {
    let mut value = number.as_f64();
    if bits == 32 {
        // The engine holds the nearest single, so that is what it must be compared with.
        value = number.as_str().parse::<f32>().map_or(f64::NAN, f64::from);
    }
    if value.is_finite() { Fit::Exactly(Value::Double(value)) } else { beyond(value < 0.0) }
}

fn beyond(negative: bool) -> Fit {
    if negative { Fit::TooSmall } else { Fit::TooLarge }
}

fn integer(decimal: &Decimal, bits: u8, signed: bool) -> Fit {
    let (least, greatest) = range(bits, signed);
    let Some((floor, exact)) = decimal.floor() else { return beyond(decimal.negative) };
    if floor > greatest {
        Fit::TooLarge
    } else if floor < least {
        Fit::TooSmall
    } else if exact {
        Fit::Exactly(whole(floor))
    } else {
        Fit::Above(whole(floor))
    }
}

fn range(bits: u8, signed: bool) -> (i128, i128) {
    let bits = u32::from(bits.clamp(1, 64));
    let values = 1_i128 << bits;
    if signed { (-(values / 2), values / 2 - 1) } else { (0, values - 1) }
}

fn whole(value: i128) -> Value {
    i64::try_from(value).map_or_else(|_| Value::Decimal(value.to_string()), Value::Integer)
}

/// A number taken apart: `0.<digits> * 10^magnitude`.
struct Decimal {
    negative: bool,
    /// Without zeros at either end; empty for zero.
    digits: String,
    magnitude: i64,
}

impl Decimal {
    fn of(number: &Number) -> Self {
        let text = number.as_str();
        let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
        // A literal has at most 1 000 characters; an exponent that no i64 holds is as good as the bound.
        let far = if exponent.starts_with('-') { -1_000_000 } else { 1_000_000 };
        let exponent: i64 =
            exponent.parse().map_or(far, |exponent: i64| exponent.clamp(-1_000_000, 1_000_000));
        let unsigned = mantissa.strip_prefix('-').unwrap_or(mantissa);
        let (before, after) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let all = format!("{before}{after}");
        let digits = all.trim_start_matches('0');
        let leading = length(&all) - length(digits);
        Self {
            negative: mantissa.starts_with('-'),
            digits: digits.trim_end_matches('0').to_owned(),
            magnitude: length(before) - leading + exponent,
        }
    }

    /// Among the decimals of so many digits before the point and so many behind: written with a point wherever they may
    /// have one, so that they are told from integers.
    fn within(&self, whole: i64, scale: i64) -> Fit {
        if self.magnitude > whole && !self.digits.is_empty() {
            return beyond(self.negative);
        }
        let behind = length(&self.digits) - self.magnitude;
        let kept = if behind > scale { self.magnitude + scale } else { length(&self.digits) };
        let kept = usize::try_from(kept).ok().and_then(|kept| self.digits.get(..kept)).unwrap_or_default();
        let text = Value::Decimal(self.written(kept.trim_end_matches('0'), scale > 0));
        match (behind > scale, self.negative) {
            (false, _) => Fit::Exactly(text),
            (true, false) => Fit::Above(text),
            (true, true) => Fit::Below(text),
        }
    }

    /// Among the integers from `least` to `greatest`.
    fn between(&self, least: &str, greatest: &str) -> Fit {
        let fit = self.within(length(greatest), 0);
        if let Fit::Exactly(Value::Decimal(text))
        | Fit::Above(Value::Decimal(text))
        | Fit::Below(Value::Decimal(text)) = &fit
        {
            let is_less = match (text.strip_prefix('-'), least.strip_prefix('-')) {
                (Some(_), None) => true,
                (Some(digits), Some(least)) => (digits.len(), digits) > (least.len(), least),
                (None, _) => false,
            };
            if is_less {
                return Fit::TooSmall;
            }
            if !text.starts_with('-') && (text.len(), text.as_str()) > (greatest.len(), greatest) {
                return Fit::TooLarge;
            }
        }
        fit
    }

    /// Some of the digits, as a number is written.
    fn written(&self, digits: &str, pointed: bool) -> String {
        let whole = usize::try_from(self.magnitude).unwrap_or(0);
        let before: String = digits.chars().chain(std::iter::repeat('0')).take(whole).collect();
        let zeros = usize::try_from(-self.magnitude).unwrap_or(0);
        let behind = digits.get(whole..).unwrap_or_default();
        let sign = if self.negative && !digits.is_empty() { "-" } else { "" };
        let before = if before.is_empty() || digits.is_empty() { "0" } else { &before };
        match (behind.is_empty(), pointed) {
            (true, false) => format!("{sign}{before}"),
            (true, true) => format!("{sign}{before}.0"),
            (false, _) => format!("{sign}{before}.{}{behind}", "0".repeat(zeros)),
        }
    }

    /// The next integer below or at the number, and whether that is the number; nothing beyond 10^30.
    fn floor(&self) -> Option<(i128, bool)> {
        if self.digits.is_empty() {
            return Some((0, true));
        }
        if self.magnitude > 30 {
            return None;
        }
        let before = usize::try_from(self.magnitude).unwrap_or(0);
        let whole: String = self.digits.chars().chain(std::iter::repeat('0')).take(before).collect();
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        let exact = self.digits.len() <= before;
        Some(match (self.negative, exact) {
            (false, exact) => (whole, exact),
            (true, true) => (-whole, true),
            (true, false) => (-whole - 1, false),
        })
    }
}

fn length(text: &str) -> i64 {
    i64::try_from(text.len()).unwrap_or(i64::MAX)
}

impl Operator {
    fn of(comparison: Comparison) -> Self {
        match comparison {
            Comparison::Greater => Self::Greater,
            Comparison::GreaterOrEqual => Self::GreaterOrEqual,
            Comparison::Less => Self::Less,
            Comparison::LessOrEqual => Self::LessOrEqual,
        }
    }

    /// With a space on either side.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Equal => " = ",
            Self::NotEqual => " <> ",
            Self::Greater => " > ",
            Self::GreaterOrEqual => " >= ",
            Self::Less => " < ",
            Self::LessOrEqual => " <= ",
        }
    }
}
