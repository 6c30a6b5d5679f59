//! Instants as they cross the wire: ISO 8601 text in UTC, exact to the microsecond.

use std::fmt;

/// An instant in UTC, in microseconds since 1970-01-01. Its text is ISO 8601; years outside of 0000 to
/// 9999 have a sign and six digits, as in ECMAScript.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

const MICROS_PER_SECOND: i64 = 1_000_000;
const SECONDS_PER_DAY: i64 = 86_400;
const MICROS_PER_DAY: i64 = SECONDS_PER_DAY * MICROS_PER_SECOND;

impl Timestamp {
    /// An instant by its microseconds since 1970-01-01T00:00:00Z.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// Midnight UTC of the day that lies `days` after 1970-01-01; nothing when that is out of range.
    pub const fn from_days(days: i64) -> Option<Self> {
        match days.checked_mul(MICROS_PER_DAY) {
            Some(micros) => Some(Self(micros)),
            None => None,
        }
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Reads `YYYY-MM-DD`, optionally followed by `T` or a space, `HH:MM[:SS[.fraction]]` and `Z`, `±HH:MM`, `±HHMM` or
    /// `±HH`. Text without a zone is read as UTC; digits beyond the microsecond are cut. A year may have a sign and six
    /// digits.
    pub fn parse(text: &str) -> Option<Self> {
        let mut rest = Cursor(text.as_bytes());
        let year = rest.year()?;
        rest.literal(b'-')?;
        let month = rest.digits(2)?;
        rest.literal(b'-')?;
        let day = rest.digits(2)?;
        let days = days_from_civil(year, month, day)?;
        if rest.0.is_empty() {
            return Self::from_days(days);
        }
        rest.literal(b'T').or_else(|| rest.literal(b't')).or_else(|| rest.literal(b' '))?;
        let micros = rest.time_of_day()?;
        let offset = rest.zone()?;
        if !rest.0.is_empty() {
            return None;
        }
        // Wider than the result, because the first and the last day are not whole.
        let micros = i128::from(days) * i128::from(MICROS_PER_DAY) + i128::from(micros);
        i64::try_from(micros - i128::from(offset * MICROS_PER_SECOND)).ok().map(Self)
    }

    /// Year, month and day in the proleptic Gregorian calendar.
    pub fn civil(self) -> (i64, u8, u8) {
        civil_from_days(self.0.div_euclid(MICROS_PER_DAY))
    }

    /// Days since 1970-01-01, rounded down.
    pub const fn days(self) -> i64 {
        self.0.div_euclid(MICROS_PER_DAY)
    }

    /// Microseconds since midnight.
    pub const fn micros_of_day(self) -> i64 {
        self.0.rem_euclid(MICROS_PER_DAY)
    }
}

/// `2026-01-02T03:04:05.678Z`: milliseconds always, microseconds where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = self.civil();
        let micros = self.micros_of_day();
        let (seconds, fraction) = (micros / MICROS_PER_SECOND, micros % MICROS_PER_SECOND);
        let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
        if (0..=9_999).contains(&year) {
            write!(f, "{year:04}")?;
        } else {
            // ECMAScript's expanded years: a sign and six digits.
            write!(f, "{}{:06}", if year < 0 { '-' } else { '+' }, year.unsigned_abs())?;
        }
        write!(f, "-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")?;
        match fraction % 1_000 {
            0 => write!(f, ".{:03}Z", fraction / 1_000),
            _ => write!(f, ".{fraction:06}Z"),
        }
    }
}

struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn digits(&mut self, count: usize) -> Option<i64> {
        let (digits, rest) = self.0.split_at_checked(count)?;
        let mut value = 0;
        for digit in digits {
            value = value * 10 + i64::from(digit.is_ascii_digit().then(|| digit - b'0')?);
        }
        self.0 = rest;
        Some(value)
    }

    fn year(&mut self) -> Option<i64> {
        if self.literal(b'+').is_some() {
            self.digits(6)
        } else if self.literal(b'-').is_some() {
            // ISO 8601 has one year 0.
            self.digits(6).filter(|year| *year > 0).map(|year| -year)
        } else {
            self.digits(4)
        }
    }

    fn literal(&mut self, expected: u8) -> Option<()> {
        let (first, rest) = self.0.split_first()?;
        (*first == expected).then(|| self.0 = rest)
    }

    /// Microseconds since midnight. A leap second counts as the second before it.
    fn time_of_day(&mut self) -> Option<i64> {
        let hour = self.digits(2).filter(|hour| *hour < 24)?;
        self.literal(b':')?;
        let minute = self.digits(2).filter(|minute| *minute < 60)?;
        let mut second = 0;
        let mut micros = 0;
        if self.literal(b':').is_some() {
            second = self.digits(2).filter(|second| *second <= 60)?.min(59);
            if self.literal(b'.').is_some() {
                micros = self.fraction()?;
            }
        }
        Some(((hour * 60 + minute) * 60 + second) * MICROS_PER_SECOND + micros)
    }

    fn fraction(&mut self) -> Option<i64> {
        let mut micros = 0;
        let mut unit = 100_000;
        let mut any = false;
        while let Some((digit, rest)) = self.0.split_first().filter(|(digit, _)| digit.is_ascii_digit()) {
            micros += i64::from(digit - b'0') * unit;
            unit /= 10;
            any = true;
            self.0 = rest;
        }
        any.then_some(micros)
    }

    /// Seconds east of UTC.
    fn zone(&mut self) -> Option<i64> {
        if self.0.is_empty() || self.literal(b'Z').is_some() || self.literal(b'z').is_some() {
            return Some(0);
        }
        let sign = if self.literal(b'+').is_some() {
            1
        } else {
            self.literal(b'-')?;
            -1
        };
        let hours = self.digits(2).filter(|hours| *hours < 24)?;
        let colon = self.literal(b':').is_some();
        let minutes = match self.digits(2) {
            Some(minutes) if minutes < 60 => minutes,
            None if !colon && self.0.is_empty() => 0,
            _ => return None,
        };
        Some(sign * (hours * 3_600 + minutes * 60))
    }
}

/// Howard Hinnant's `days_from_civil`, with the ranges checked.
fn days_from_civil(year: i64, month: i64, day: i64) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    Some(era * 146_097 + day_of_era - 719_468)
}

fn civil_from_days(days: i64) -> (i64, u8, u8) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, u8::try_from(month).unwrap_or(1), u8::try_from(day).unwrap_or(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        Timestamp::parse(text).map(|timestamp| timestamp.to_string()).unwrap_or_default()
    }

    #[test]
    fn text_is_normalised_to_utc() {
        assert_eq!(shown("2026-04-27"), "2026-04-27T00:00:00.000Z");
        assert_eq!(shown("2026-04-27T01:30:00+02:00"), "2026-04-26T23:30:00.000Z");
        assert_eq!(shown("2026-04-27 01:30:00.1234567-0130"), "2026-04-27T03:00:00.123456Z");
        assert_eq!(shown("1969-12-31T23:59:59.999999Z"), "1969-12-31T23:59:59.999999Z");
        assert_eq!(shown("2024-02-29T10:00Z"), "2024-02-29T10:00:00.000Z");
        assert_eq!(shown("0001-01-01T00:00:00+05"), "0000-12-31T19:00:00.000Z");
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026",
            "2026-13-01",
            "2026-02-29",
            "2026-1-1",
            "2026-01-01T25:00",
            "2026-01-01T10:00:00.",
            "2026-01-01T10:00:00+",
            "2026-01-01x",
            "٢٠٢٦-01-01",
            "+2026-01-01",
            "-000000-01-01",
            "+999999-01-01",
        ] {
            assert_eq!(Timestamp::parse(text), None, "{text}");
        }
    }

    #[test]
    fn years_of_any_length_read_back() {
        for micros in
            [i64::MIN, -200_000_000_000_000_000, -62_200_000_000_000_000, 253_402_300_800_000_000, i64::MAX]
        {
            let timestamp = Timestamp::from_micros(micros);
            assert_eq!(Timestamp::parse(&timestamp.to_string()), Some(timestamp), "{timestamp}");
        }
    }

    #[test]
    fn every_day_of_four_centuries_reads_back() {
        for days in -146_097..146_097 {
            let timestamp = Timestamp::from_days(days).unwrap();
            assert_eq!(Timestamp::parse(&timestamp.to_string()), Some(timestamp));
        }
    }
}
