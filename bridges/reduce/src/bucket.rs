//! How values fall together, and what their buckets are called.

use bridge_core::js_number;
use protocol::{CalendarUnit, Timestamp};

use crate::values::Number;

const GEOHASH_ALPHABET: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";

/// The name of an instant's calendar bucket in UTC. Weeks are those of ISO 8601, with their own year.
pub fn calendar_label(unit: CalendarUnit, instant: Timestamp) -> String {
    let (year, month, day) = instant.civil();
    let minutes = instant.micros_of_day() / 60_000_000;
    let (hour, minute) = (minutes / 60, minutes % 60);
    match unit {
        CalendarUnit::Minute => format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}"),
        CalendarUnit::Hour => format!("{year:04}-{month:02}-{day:02}T{hour:02}"),
        CalendarUnit::Day => format!("{year:04}-{month:02}-{day:02}"),
        CalendarUnit::Week => {
            let (year, week) = iso_week(instant);
            format!("{year:04}-W{week:02}")
        }
        CalendarUnit::Month => format!("{year:04}-{month:02}"),
        CalendarUnit::Quarter => format!("{year:04}-Q{}", month.div_ceil(3)),
        // The published bridges do not pad a lone year.
        CalendarUnit::Year => year.to_string(),
    }
}

/// A week belongs to the year of its Thursday, and is the Thursday's number in it.
fn iso_week(instant: Timestamp) -> (i64, i64) {
    const THURSDAY: i64 = 3;
    let days = instant.days();
    // 1970-01-01 was a Thursday.
    let weekday = (days + THURSDAY).rem_euclid(7);
    let thursday = days - weekday + THURSDAY;
    let (year, month, day) = Timestamp::from_days(thursday).unwrap_or(instant).civil();
    (year, day_of_year(year, month, day) / 7 + 1)
}

/// From 0.
fn day_of_year(year: i64, month: u8, day: u8) -> i64 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let before = match month {
        1 => 0,
        2 => 31,
        3 => 59,
        4 => 90,
        5 => 120,
        6 => 151,
        7 => 181,
        8 => 212,
        9 => 243,
        10 => 273,
        11 => 304,
        _ => 334,
    };
    before + i64::from(day) - 1 + i64::from(leap && month > 2)
}

/// The lower bound of a number's step and the step's name, `lower..upper`.
///
/// Which step it is, is computed in decimals where they fit, as databases do: with a step of 0.1, 0.3 is in the third
/// step and not, by the error of doubles, in the second. Bounds are doubles, as the published bridges have them.
pub fn step_label(value: &Number, step: f64) -> Option<(f64, String)> {
    let index = exact_index(value, step).unwrap_or_else(|| (value.as_f64() / step).floor());
    let lower = index * step;
    let upper = lower + step;
    (lower.is_finite() && upper.is_finite())
        .then(|| (lower, format!("{}..{}", js_number(lower), js_number(upper))))
}

fn exact_index(value: &Number, step: f64) -> Option<f64> {
    let (value, value_scale) = value.scaled()?;
    let (step, step_scale) = Number::from_f64(step)?.scaled()?;
    let scale = value_scale.max(step_scale);
    let widen = |units: i128, from: u32| units.checked_mul(10_i128.checked_pow(scale - from)?);
    let index = widen(value, value_scale)?.checked_div_euclid(widen(step, step_scale)?)?;
    Some(Number::of_scaled(index, 0)?.as_f64())
}

/// The lower bound of a number's interval between breaks and the interval's name; nothing outside of all. An upper bound
/// belongs to the next interval.
pub fn breaks_label(value: &Number, breaks: &[f64]) -> Option<(f64, String)> {
    let bound = |bound: f64| Number::from_f64(bound);
    breaks.windows(2).find_map(|pair| match pair {
        [lower, upper] if *value >= bound(*lower)? && *value < bound(*upper)? => {
            Some((*lower, format!("{}..{}", js_number(*lower), js_number(*upper))))
        }
        _ => None,
    })
}

/// The geohash of a point in degrees, of `precision` characters; nothing off the globe.
pub fn geohash(lat: f64, lng: f64, precision: u8) -> Option<String> {
    if !(-90.0..=90.0).contains(&lat) || !(-180.0..=180.0).contains(&lng) {
        return None;
    }
    let (mut south, mut north, mut west, mut east) = (-90.0, 90.0, -180.0, 180.0);
    let mut hash = String::with_capacity(usize::from(precision));
    let mut along_lng = true;
    for _ in 0..precision {
        let mut index = 0;
        for _ in 0..5 {
            let upper_half =
                if along_lng { halve(lng, &mut west, &mut east) } else { halve(lat, &mut south, &mut north) };
            index = index << 1 | usize::from(upper_half);
            along_lng = !along_lng;
        }
        hash.push(char::from(*GEOHASH_ALPHABET.get(index)?));
    }
    Some(hash)
}

/// Keeps the half of the range that holds the value; says whether that is the upper one.
fn halve(value: f64, low: &mut f64, high: &mut f64) -> bool {
    let middle = f64::midpoint(*low, *high);
    let upper = value >= middle;
    *(if upper { low } else { high }) = middle;
    upper
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(unit: CalendarUnit, text: &str) -> String {
        calendar_label(unit, Timestamp::parse(text).unwrap())
    }

    fn step(value: &str, step: f64) -> String {
        step_label(&Number::parse(value).unwrap(), step).unwrap().1
    }

    #[test]
    fn weeks_are_those_of_iso_8601() {
        for (day, week) in [
            ("2024-12-30", "2025-W01"),
            ("2025-12-29", "2026-W01"),
            ("2026-01-01", "2026-W01"),
            ("2026-01-04", "2026-W01"),
            ("2026-01-05", "2026-W02"),
            ("2027-01-01", "2026-W53"),
            ("2020-12-31", "2020-W53"),
            ("2021-01-03", "2020-W53"),
            ("2016-01-03", "2015-W53"),
            ("2026-04-27", "2026-W18"),
            ("1969-12-29", "1970-W01"),
        ] {
            assert_eq!(label(CalendarUnit::Week, day), week, "{day}");
        }
    }

    #[test]
    fn calendar_units_have_their_names() {
        let names = CalendarUnit::ALL.map(|unit| label(unit, "2026-08-09T07:08:09Z"));
        let expected =
            ["2026-08-09T07:08", "2026-08-09T07", "2026-08-09", "2026-W32", "2026-08", "2026-Q3", "2026"];
        assert_eq!(names, expected);
        assert_eq!(label(CalendarUnit::Year, "0800-01-01"), "800");
    }

    #[test]
    fn steps_are_floored() {
        assert_eq!(step("-5", 30.0), "-30..0");
        assert_eq!(step("0", 30.0), "0..30");
        assert_eq!(step("29.999", 30.0), "0..30");
        assert_eq!(step("0.25", 0.1), "0.2..0.30000000000000004");
        assert_eq!(step("0.3", 0.1), "0.30000000000000004..0.4");
        assert_eq!(step("1e300", 1e290), "1e+300..1.0000000001e+300");
    }

    #[test]
    fn an_upper_break_belongs_to_the_next_interval() {
        let breaks = |value: &str| {
            breaks_label(&Number::parse(value).unwrap(), &[0.0, 30.0, 60.0, 120.0]).map(|(_, label)| label)
        };
        assert_eq!(breaks("30").as_deref(), Some("30..60"));
        assert_eq!(breaks("119.99").as_deref(), Some("60..120"));
        assert_eq!(breaks("120"), None);
        assert_eq!(breaks("-0.01"), None);
    }

    #[test]
    fn geohashes_are_the_published_ones() {
        // The example of the format's own description, and three cities.
        assert_eq!(geohash(57.64911, 10.40744, 11).as_deref(), Some("u4pruydqqvj"));
        assert_eq!(geohash(42.3601, -71.0589, 5).as_deref(), Some("drt2z"));
        assert_eq!(geohash(51.5074, -0.1278, 6).as_deref(), Some("gcpvj0"));
        assert_eq!(geohash(35.6762, 139.6503, 4).as_deref(), Some("xn76"));
        assert_eq!(geohash(91.0, 0.0, 5), None);
    }
}
