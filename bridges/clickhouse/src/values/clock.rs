//! Instants and times of day, to the nanosecond.

use std::fmt;

use bridge_core::RowWriter;
use protocol::Timestamp;

use super::Stop;

/// Digits of a microsecond.
const MICROS: u8 = 6;

/// Writes an instant that counts `10^-scale` seconds from 1970: with microseconds where there are any, and with
/// nanoseconds where there are some of those.
#[inline]
pub(super) fn write_instant(ticks: i64, scale: u8, out: &mut RowWriter) -> Result<(), Stop> {
    let beyond = Stop::Bad("an instant beyond all calendars");
    if let Some(missing) = MICROS.checked_sub(scale) {
        let micros = ticks.checked_mul(10_i64.pow(u32::from(missing))).ok_or(beyond)?;
        out.timestamp(Timestamp::from_micros(micros));
        return Ok(());
    }
    let fraction = 10_i64.checked_pow(u32::from(scale - MICROS)).ok_or(beyond)?;
    if ticks.rem_euclid(fraction) == 0 {
        out.timestamp(Timestamp::from_micros(ticks.div_euclid(fraction)));
        return Ok(());
    }
    let second = 10_i64.checked_pow(u32::from(scale)).ok_or(beyond)?;
    let nanos = ticks.rem_euclid(second) * 10_i64.pow(u32::from(9_u8.saturating_sub(scale)));
    let whole =
        Timestamp::from_micros(ticks.div_euclid(second).checked_mul(1_000_000).ok_or(beyond)?).to_string();
    let clock = whole.split_once('.').map_or(whole.as_str(), |(clock, _)| clock);
    out.display(format_args!("{clock}.{nanos:09}Z"));
    Ok(())
}

/// `HH:MM:SS`, with as many digits behind as the column has. Up to 999 hours either way.
pub(super) struct Time {
    negative: bool,
    seconds: u64,
    fraction: u64,
    scale: usize,
}

impl Time {
    /// So many `10^-scale` seconds.
    pub(super) fn of(ticks: i64, scale: u8) -> Self {
        let second = 10_u64.checked_pow(u32::from(scale)).unwrap_or(1);
        let all = ticks.unsigned_abs();
        Self { negative: ticks < 0, seconds: all / second, fraction: all % second, scale: usize::from(scale) }
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.negative { "-" } else { "" };
        let (hours, minutes, seconds) = (self.seconds / 3_600, self.seconds / 60 % 60, self.seconds % 60);
        write!(f, "{sign}{hours:02}:{minutes:02}:{seconds:02}")?;
        if self.scale > 0 { write!(f, ".{:0width$}", self.fraction, width = self.scale) } else { Ok(()) }
    }
}
