//! Dates and times. What is a day of the calendar is written as an instant in UTC; what MySQL takes for a date and no
//! calendar does (`0000-00-00`, `2026-02-00`) is the server's own text of it.

use bridge_core::RowWriter;

use super::BadValue;
use crate::wire::Column;

const MIDNIGHT: &str = "T00:00:00.000Z";
/// `decimals` of a column whose number of digits varies.
const VARYING: u8 = 31;

pub(super) fn write_date(bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    let moment = Moment::read(bytes).ok_or(BadValue("DATE"))?;
    let mut text = Text::default();
    text.date(&moment);
    if moment.is_a_day() {
        text.push(MIDNIGHT.as_bytes());
    }
    out.plain_text(text.as_str());
    Ok(())
}

/// `2026-01-02T03:04:05.678Z`, with microseconds where there are any.
pub(super) fn write_date_time(column: &Column, bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    let moment = Moment::read(bytes).ok_or(BadValue("DATETIME"))?;
    let mut text = Text::default();
    text.date(&moment);
    if moment.is_a_day() {
        text.push(b"T");
        text.clock(u32::from(moment.hour), moment.minute, moment.second);
        text.push(b".");
        text.digits(moment.micros / 1_000, 3);
        if moment.micros % 1_000 != 0 {
            text.digits(moment.micros % 1_000, 3);
        }
        text.push(b"Z");
    } else {
        text.push(b" ");
        text.clock(u32::from(moment.hour), moment.minute, moment.second);
        text.fraction(column.decimals, moment.micros);
    }
    out.plain_text(text.as_str());
    Ok(())
}

/// `-838:59:59.000000`: the server's text, with the column's digits behind the point.
pub(super) fn write_time(column: &Column, bytes: &[u8], out: &mut RowWriter) -> Result<(), BadValue> {
    const BAD: BadValue = BadValue("TIME");
    let mut text = Text::default();
    let micros = match bytes {
        [] => {
            text.clock(0, 0, 0);
            0
        }
        [negative, d0, d1, d2, d3, hour, minute, second, fraction @ ..] => {
            if *negative == 1 {
                text.push(b"-");
            }
            let hours = u32::from_le_bytes([*d0, *d1, *d2, *d3]).checked_mul(24).ok_or(BAD)?;
            text.clock(hours.checked_add(u32::from(*hour)).ok_or(BAD)?, *minute, *second);
            match fraction {
                [] => 0,
                fraction => u32::from_le_bytes(fraction.try_into().map_err(|_| BAD)?),
            }
        }
        _ => return Err(BAD),
    };
    text.fraction(column.decimals, micros);
    out.plain_text(text.as_str());
    Ok(())
}

#[derive(Debug, Default)]
struct Moment {
    year: u16,
    month: u8,
    day: u8,
    hour: u8,
    minute: u8,
    second: u8,
    micros: u32,
}

impl Moment {
    /// As many bytes as are not zero: none, the day, the time, or its fraction too.
    fn read(bytes: &[u8]) -> Option<Self> {
        let (date, time) = match bytes {
            [] => return Some(Self::default()),
            bytes => bytes.split_first_chunk::<4>()?,
        };
        let [y0, y1, month, day] = *date;
        let mut moment = Self { year: u16::from_le_bytes([y0, y1]), month, day, ..Self::default() };
        match time {
            [] => {}
            [hour, minute, second, fraction @ ..] => {
                (moment.hour, moment.minute, moment.second) = (*hour, *minute, *second);
                if !fraction.is_empty() {
                    moment.micros = u32::from_le_bytes(fraction.try_into().ok()?);
                }
            }
            _ => return None,
        }
        Some(moment)
    }

    fn is_a_day(&self) -> bool {
        let leap =
            self.year.is_multiple_of(4) && (!self.year.is_multiple_of(100) || self.year.is_multiple_of(400));
        let days = match self.month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 if leap => 29,
            2 => 28,
            _ => 0,
        };
        (1..=days).contains(&self.day)
    }
}

/// Room for the longest of the texts above.
#[derive(Default)]
struct Text {
    bytes: [u8; 32],
    end: usize,
}

impl Text {
    fn push(&mut self, text: &[u8]) {
        let end = self.end + text.len();
        if let Some(room) = self.bytes.get_mut(self.end..end) {
            room.copy_from_slice(text);
            self.end = end;
        }
    }

    /// The last `count` digits of `value`.
    fn digits(&mut self, value: u32, count: usize) {
        let end = self.end + count;
        let mut rest = value;
        for digit in self.bytes.get_mut(self.end..end).unwrap_or_default().iter_mut().rev() {
            *digit = b'0' + u8::try_from(rest % 10).unwrap_or(0);
            rest /= 10;
        }
        self.end = end.min(self.bytes.len());
    }

    fn date(&mut self, moment: &Moment) {
        self.digits(u32::from(moment.year), 4);
        self.push(b"-");
        self.digits(u32::from(moment.month), 2);
        self.push(b"-");
        self.digits(u32::from(moment.day), 2);
    }

    fn clock(&mut self, hours: u32, minute: u8, second: u8) {
        if hours > 99 {
            self.push(itoa::Buffer::new().format(hours).as_bytes());
        } else {
            self.digits(hours, 2);
        }
        self.push(b":");
        self.digits(u32::from(minute), 2);
        self.push(b":");
        self.digits(u32::from(second), 2);
    }

    fn fraction(&mut self, decimals: u8, micros: u32) {
        let count = match decimals {
            0 | VARYING if micros == 0 => return,
            1..=6 => decimals,
            _ => 6,
        };
        self.push(b".");
        self.digits(micros / 10_u32.pow(6 - u32::from(count)), usize::from(count));
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(self.bytes.get(..self.end).unwrap_or_default()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use crate::values::tests::written;
    use crate::wire::ColumnType::{Date, DateTime, Time};

    #[test]
    fn days_of_the_calendar_are_instants() {
        assert_eq!(written(Date, 0, b"\xea\x07\x02\x1c").unwrap(), "\"2026-02-28T00:00:00.000Z\"");
        assert_eq!(written(Date, 0, b"\xe8\x07\x02\x1d").unwrap(), "\"2024-02-29T00:00:00.000Z\"");
        assert_eq!(
            written(DateTime, 6, b"\xea\x07\x01\x02\x03\x04\x05\x4e\x5a\x0a\x00").unwrap(),
            "\"2026-01-02T03:04:05.678478Z\""
        );
        assert_eq!(
            written(DateTime, 0, b"\x0f\x27\x0c\x1f\x17\x3b\x3b").unwrap(),
            "\"9999-12-31T23:59:59.000Z\""
        );
    }

    #[test]
    fn what_is_no_day_of_the_calendar_is_the_servers_text() {
        assert_eq!(written(Date, 0, b"").unwrap(), "\"0000-00-00\"");
        assert_eq!(written(Date, 0, b"\xea\x07\x02\x00").unwrap(), "\"2026-02-00\"");
        assert_eq!(written(Date, 0, b"\xea\x07\x02\x1f").unwrap(), "\"2026-02-31\"");
        assert_eq!(written(DateTime, 0, b"").unwrap(), "\"0000-00-00 00:00:00\"");
        assert_eq!(written(DateTime, 3, b"").unwrap(), "\"0000-00-00 00:00:00.000\"");
    }

    #[test]
    fn times_exceed_a_day_and_may_be_negative() {
        assert_eq!(written(Time, 0, b"").unwrap(), "\"00:00:00\"");
        assert_eq!(written(Time, 0, b"\x01\x22\0\0\0\x16\x3b\x3b").unwrap(), "\"-838:59:59\"");
        assert_eq!(written(Time, 3, b"\0\0\0\0\0\x01\x02\x03").unwrap(), "\"01:02:03.000\"");
        assert_eq!(written(Time, 6, b"\0\0\0\0\0\x01\x02\x03\x01\0\0\0").unwrap(), "\"01:02:03.000001\"");
        assert_eq!(written(Time, 1, b"\0\0\0\0\0\0\0\0\x20\xa1\x07\0").unwrap(), "\"00:00:00.5\"");
    }

    #[test]
    fn moments_of_a_wrong_length_are_refused() {
        for bytes in [&b"\x01"[..], b"\x01\x02\x03\x04\x05", b"\x01\x02\x03\x04\x05\x06\x07\x08"] {
            assert!(written(DateTime, 0, bytes).is_err(), "{bytes:?}");
        }
        assert!(written(Time, 0, b"\0\xff\xff\xff\xff\0\0\0").is_err());
    }
}
