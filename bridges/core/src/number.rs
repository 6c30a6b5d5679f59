//! Numbers as JavaScript writes them, because callers and bucket keys of the published bridges have them so.

use std::fmt::Write;

/// From here on JavaScript writes an exponent.
const EXPONENT_FROM: f64 = 1e21;
/// Below this it does, too.
const EXPONENT_BELOW: f64 = 1e-6;

/// A number's text in ECMAScript's `Number::toString`: the shortest digits that read back, no fraction for integral
/// values, an exponent from 1e21 and below 1e-6. Not a number and infinities: `NaN`, `Infinity`, `-Infinity`.
pub fn js_number(value: f64) -> String {
    let mut out = String::new();
    if value.is_nan() {
        out.push_str("NaN");
    } else if value.is_infinite() {
        out.push_str(if value > 0.0 { "Infinity" } else { "-Infinity" });
    } else {
        push_json_f64(&mut out, value);
    }
    out
}

/// Appends a double as JSON; `null` for what JSON cannot say.
pub fn push_json_f64(out: &mut String, value: f64) {
    if !value.is_finite() {
        out.push_str("null");
    } else if value == 0.0 {
        out.push('0');
    } else if (EXPONENT_BELOW..EXPONENT_FROM).contains(&value.abs()) {
        push_positional(out, zmij::Buffer::new().format_finite(value), || format!("{value}"));
    } else {
        push_exponent(out, &format!("{value:e}"));
    }
}

/// Appends a single as JSON; `null` for what JSON cannot say.
pub fn push_json_f32(out: &mut String, value: f32) {
    if !value.is_finite() {
        out.push_str("null");
    } else if value == 0.0 {
        out.push('0');
    } else if (1e-6..1e21).contains(&value.abs()) {
        push_positional(out, zmij::Buffer::new().format_finite(value), || format!("{value}"));
    } else {
        push_exponent(out, &format!("{value:e}"));
    }
}

/// Appends `short` without a trailing `.0`; where that has an exponent although JavaScript writes none, `long`.
#[inline]
fn push_positional(out: &mut String, short: &str, long: impl FnOnce() -> String) {
    if short.contains('e') {
        out.push_str(&long());
    } else {
        out.push_str(short.strip_suffix(".0").unwrap_or(short));
    }
}

/// Rust writes `1e21`, JavaScript `1e+21`.
fn push_exponent(out: &mut String, text: &str) {
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => {
            let _infallible = write!(out, "{digits}e+{exponent}");
        }
        _ => out.push_str(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_that_of_javascript() {
        for (value, text) in [
            (0.0, "0"),
            (-0.0, "0"),
            (5.0, "5"),
            (-2.5, "-2.5"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e15, "1000000000000000"),
            (123_456_789_012_345_680_000.0, "123456789012345680000"),
            (1e21, "1e+21"),
            (1.5e-7, "1.5e-7"),
            (0.000_001, "0.000001"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "NaN"),
            (f64::NEG_INFINITY, "-Infinity"),
        ] {
            assert_eq!(js_number(value), text);
        }
    }

    #[test]
    fn singles_are_not_widened() {
        let mut out = String::new();
        push_json_f32(&mut out, 0.1);
        assert_eq!(out, "0.1");
    }
}
