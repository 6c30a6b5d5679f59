//! Rows as text that is made once.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use protocol::Timestamp;

use crate::BridgeError;
use crate::number::{push_json_f32, push_json_f64};

/// The largest integer that every JSON reader takes exactly: 2^53 - 1.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// Some rows as JSON objects joined with commas, ready to stand between `[` and `]`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowBatch {
    /// `{…},{…}`, never empty.
    pub rows: String,
    /// How many.
    pub count: u64,
}

/// The names of a row's columns, as JSON, escaped once for all rows.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Columns(Vec<Box<str>>);

impl Columns {
    /// Names in the order in which values are written.
    pub fn new<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        let key = |name| {
            let mut text = String::new();
            push_json_str(&mut text, name);
            text.push(':');
            text.into_boxed_str()
        };
        Self(names.into_iter().map(key).collect())
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Writes rows into a batch.
///
/// A row is `begin_row`, then for each column `key` followed by one value, then `end_row`. Arrays are
/// `begin_array`, values, `end_array`; objects likewise with `object_key`. The writer places commas.
#[derive(Debug)]
pub struct RowWriter {
    out: String,
    count: u64,
    row_start: usize,
    row_limit: usize,
    /// Whether the next value or key is the first of its container.
    first: bool,
}

impl RowWriter {
    /// An empty batch; a row of more than `row_limit` bytes is refused.
    pub fn new(row_limit: usize) -> Self {
        Self { out: String::new(), count: 0, row_start: 0, row_limit, first: true }
    }

    /// Bytes written so far.
    pub fn len(&self) -> usize {
        self.out.len()
    }

    /// Whether no row has been written.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Rows written so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Takes what has been written; nothing when there is no row.
    pub fn take(&mut self) -> Option<RowBatch> {
        if self.count == 0 {
            return None;
        }
        // The next batch will be about as large as this one.
        let empty = String::with_capacity(self.out.len().min(protocol::CHUNK_BYTES + 4096));
        let batch = RowBatch { rows: std::mem::replace(&mut self.out, empty), count: self.count };
        self.count = 0;
        self.row_start = 0;
        Some(batch)
    }

    /// What was written outside of any row: one value's text.
    pub fn into_text(self) -> String {
        self.out
    }

    /// Opens a row.
    #[inline]
    pub fn begin_row(&mut self) {
        if self.count > 0 {
            self.out.push(',');
        }
        self.row_start = self.out.len();
        self.out.push('{');
        self.first = true;
    }

    /// Closes a row, or refuses it when it is too large. A refused row is taken back.
    #[inline]
    pub fn end_row(&mut self) -> Result<(), BridgeError> {
        self.out.push('}');
        self.first = false;
        if self.is_row_too_large() {
            self.abandon_row();
            return Err(BridgeError::RowTooLarge { limit: self.row_limit });
        }
        self.count += 1;
        Ok(())
    }

    /// Whether what has been written of the row is too large already. Who writes much from few bytes asks this on the way,
    /// and leaves the rest out: [`end_row`](Self::end_row) refuses the row.
    #[inline]
    pub fn is_row_too_large(&self) -> bool {
        self.out.len() - self.row_start > self.row_limit
    }

    /// Takes back the row that was begun.
    pub fn abandon_row(&mut self) {
        let start = if self.count > 0 { self.row_start.saturating_sub(1) } else { self.row_start };
        self.out.truncate(start);
    }

    /// The key of column `index`.
    #[inline]
    pub fn key(&mut self, columns: &Columns, index: usize) {
        self.comma();
        if let Some(key) = columns.0.get(index) {
            self.out.push_str(key);
        }
        self.first = true;
    }

    /// A key that is only known now.
    pub fn object_key(&mut self, name: &str) {
        self.comma();
        push_json_str(&mut self.out, name);
        self.out.push(':');
        self.first = true;
    }

    /// Opens an array.
    pub fn begin_array(&mut self) {
        self.open('[');
    }

    /// Closes an array.
    pub fn end_array(&mut self) {
        self.close(']');
    }

    /// Opens an object inside a row.
    pub fn begin_object(&mut self) {
        self.open('{');
    }

    /// Closes an object inside a row.
    pub fn end_object(&mut self) {
        self.close('}');
    }

    /// `null`
    #[inline]
    pub fn null(&mut self) {
        self.literal("null");
    }

    /// `true` or `false`
    #[inline]
    pub fn boolean(&mut self, value: bool) {
        self.literal(if value { "true" } else { "false" });
    }

    /// An integer of at most 32 bits, or one that the caller knows to be small: a number.
    #[inline]
    pub fn integer(&mut self, value: i64) {
        self.literal(itoa::Buffer::new().format(value));
    }

    /// A 64-bit integer of the PostgreSQL family: always a string, as its published bridge does.
    #[inline]
    pub fn integer_text(&mut self, value: i64) {
        self.comma();
        self.out.push('"');
        self.out.push_str(itoa::Buffer::new().format(value));
        self.out.push('"');
    }

    /// A 64-bit integer of the other engines: a number up to 2^53 - 1, beyond that a string.
    #[inline]
    pub fn integer_safe(&mut self, value: i64) {
        if value.unsigned_abs() <= MAX_SAFE_INTEGER { self.integer(value) } else { self.integer_text(value) }
    }

    /// An unsigned 64-bit integer: a number up to 2^53 - 1, beyond that a string.
    pub fn unsigned_safe(&mut self, value: u64) {
        let mut buffer = itoa::Buffer::new();
        let text = buffer.format(value);
        if value <= MAX_SAFE_INTEGER { self.literal(text) } else { self.text(text) }
    }

    /// A double: the shortest text that reads back; `null` for what JSON cannot say.
    #[inline]
    pub fn double(&mut self, value: f64) {
        self.comma();
        push_json_f64(&mut self.out, value);
    }

    /// A single: the shortest text that reads back as the same single.
    #[inline]
    pub fn single(&mut self, value: f32) {
        self.comma();
        push_json_f32(&mut self.out, value);
    }

    /// A string.
    #[inline]
    pub fn text(&mut self, value: &str) {
        self.comma();
        push_json_str(&mut self.out, value);
    }

    /// A string made of characters that need no escape: digits, letters, `-:.+`. The caller knows.
    #[inline]
    pub fn plain_text(&mut self, value: &str) {
        self.comma();
        self.out.push('"');
        self.out.push_str(value);
        self.out.push('"');
    }

    /// Something that prints itself without characters that need an escape, as a string.
    pub fn display(&mut self, value: impl std::fmt::Display) {
        self.comma();
        self.out.push('"');
        // Writing into a String does not fail.
        let _infallible = write!(self.out, "{value}");
        self.out.push('"');
    }

    /// Bytes: base64 with padding (RFC 4648, section 4).
    pub fn bytes(&mut self, value: &[u8]) {
        self.comma();
        self.out.push('"');
        STANDARD.encode_string(value, &mut self.out);
        self.out.push('"');
    }

    /// An instant: `2026-01-02T03:04:05.678Z`, with microseconds where there are any.
    #[inline]
    pub fn timestamp(&mut self, value: Timestamp) {
        self.comma();
        self.out.push('"');
        push_timestamp(&mut self.out, value);
        self.out.push('"');
    }

    /// JSON that the caller has made or checked: as it is.
    pub fn json(&mut self, value: &str) {
        self.literal(value);
    }

    /// What a database calls JSON: as it stands when it is, otherwise as a string. Text that is none would break the whole
    /// answer, and a server may lie.
    pub fn json_or_text(&mut self, value: &str) {
        match serde_json::from_str::<serde::de::IgnoredAny>(value) {
            Ok(serde::de::IgnoredAny) if !has_lone_surrogate(value) => self.json(value),
            Ok(_) | Err(_) => self.text(value),
        }
    }

    #[inline]
    fn literal(&mut self, text: &str) {
        self.comma();
        self.out.push_str(text);
    }

    #[inline]
    fn comma(&mut self) {
        if self.first {
            self.first = false;
        } else {
            self.out.push(',');
        }
    }

    fn open(&mut self, bracket: char) {
        self.comma();
        self.out.push(bracket);
        self.first = true;
    }

    fn close(&mut self, bracket: char) {
        self.out.push(bracket);
        self.first = false;
    }
}

/// Whether an escape in a JSON text stands for half of a character, as in `"\ud800"`. The grammar of JSON has such texts
/// (RFC 8259, section 8.2), but no Unicode string is what they say, and readers refuse them.
pub fn has_lone_surrogate(json: &str) -> bool {
    let unit = |escaped: &str| u16::from_str_radix(escaped.strip_prefix('u')?.get(..4)?, 16).ok();
    let mut rest = json;
    while let Some((_, escaped)) = rest.split_once('\\') {
        rest = match unit(escaped) {
            Some(0xd800..=0xdbff) => {
                let second = escaped.get(5..).and_then(|next| next.strip_prefix('\\'));
                let Some(second) = second.filter(|second| matches!(unit(second), Some(0xdc00..=0xdfff)))
                else {
                    return true;
                };
                second
            }
            Some(0xdc00..=0xdfff) => return true,
            // Whatever is escaped is one character, which may be another backslash.
            _ => escaped.get(escaped.ceil_char_boundary(1)..).unwrap_or_default(),
        };
    }
    false
}

/// Appends `text` as a JSON string (RFC 8259, section 7). Runs without escapes are copied whole.
pub fn push_json_str(out: &mut String, text: &str) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = first_escape(rest.as_bytes()) {
        let (plain, escaped) = rest.split_at(at);
        out.push_str(plain);
        let mut characters = escaped.chars();
        match characters.next() {
            Some('"') => out.push_str("\\\""),
            Some('\\') => out.push_str("\\\\"),
            Some('\n') => out.push_str("\\n"),
            Some('\r') => out.push_str("\\r"),
            Some('\t') => out.push_str("\\t"),
            Some(control) => {
                let _infallible = write!(out, "\\u{:04x}", u32::from(control));
            }
            None => {}
        }
        rest = characters.as_str();
    }
    out.push_str(rest);
    out.push('"');
}

/// Where the first byte stands that JSON wants escaped: below 0x20, `"` or `\`. Eight bytes at a time.
#[inline]
fn first_escape(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let mut at = 0;
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let word = u64::from_le_bytes(*word);
        // A byte of `x - ONES & !x` has its high bit set where that byte of x is zero (or, for the first one, borrows).
        let zero = |x: u64| x.wrapping_sub(ONES) & !x;
        let quote = zero(word ^ (ONES * u64::from(b'"')));
        let backslash = zero(word ^ (ONES * u64::from(b'\\')));
        let control = word.wrapping_sub(ONES * 0x20) & !word;
        if (quote | backslash | control) & HIGHS != 0 {
            break;
        }
        at += 8;
    }
    let rest = if at < words.len() * 8 { bytes.get(at..).unwrap_or_default() } else { tail };
    rest.iter().position(|byte| *byte < 0x20 || *byte == b'"' || *byte == b'\\').map(|offset| at + offset)
}

fn push_timestamp(out: &mut String, value: Timestamp) {
    let (year, month, day) = value.civil();
    let Some(year) = u16::try_from(year).ok().filter(|year| *year <= 9_999) else {
        let _infallible = write!(out, "{value}");
        return;
    };
    let micros = value.micros_of_day();
    let (seconds, fraction) = (micros / 1_000_000, micros % 1_000_000);
    push_two(out, i64::from(year / 100));
    push_two(out, i64::from(year % 100));
    out.push('-');
    push_two(out, i64::from(month));
    out.push('-');
    push_two(out, i64::from(day));
    out.push('T');
    push_two(out, seconds / 3_600);
    out.push(':');
    push_two(out, seconds / 60 % 60);
    out.push(':');
    push_two(out, seconds % 60);
    out.push('.');
    out.push(digit(fraction / 100_000));
    push_two(out, fraction / 1_000 % 100);
    if fraction % 1_000 != 0 {
        out.push(digit(fraction / 100 % 10));
        push_two(out, fraction % 100);
    }
    out.push('Z');
}

#[inline]
fn push_two(out: &mut String, value: i64) {
    out.push(digit(value / 10));
    out.push(digit(value % 10));
}

#[inline]
fn digit(value: i64) -> char {
    char::from(b'0' + u8::try_from(value).unwrap_or(0) % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(write: impl FnOnce(&mut RowWriter)) -> String {
        let mut writer = RowWriter::new(1_000);
        writer.begin_row();
        writer.key(&Columns::new(["v"]), 0);
        write(&mut writer);
        writer.end_row().unwrap();
        let row = writer.take().unwrap().rows;
        row.strip_prefix("{\"v\":").unwrap().strip_suffix('}').unwrap().to_owned()
    }

    #[test]
    fn half_a_character_is_found_wherever_it_is_escaped() {
        let whole = [r#""""#, r#""\\ud800""#, r#""\ud83d\ude00""#, r#""\\\uD83D\uDE00\n\u00e4""#, r#""ü\"""#];
        assert!(whole.iter().all(|text| !has_lone_surrogate(text)));
        for half in [
            r#""\ud800""#,
            r#""\uDFFF""#,
            r#""\ud83d\ud83d\ude00""#,
            r#""\ude00\ud83d""#,
            r#""\ud83d\n""#,
            r#""\ud83dxude00""#,
            r#""\\\ud83d""#,
            r#"{"\ud83d":1}"#,
        ] {
            assert!(has_lone_surrogate(half), "{half}");
        }
    }

    #[test]
    fn what_a_server_calls_json_cannot_leave_its_cell() {
        let json = |text: &str| one(|writer| writer.json_or_text(text));
        for valid in ["{\"a\": [1, 2.50]}", "null", " 12345678901234567890 ", "\"x\""] {
            assert_eq!(json(valid), valid);
        }
        assert_eq!(json("1},{\"v\":2"), r#""1},{\"v\":2""#);
        assert_eq!(json(r#""\ud800""#), r#""\"\\ud800\"""#);
        assert_eq!(json(""), "\"\"");
        let deep = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
        assert_eq!(json(&deep[..900]), format!("\"{}\"", &deep[..900]));
    }

    #[test]
    fn rows_are_joined_with_commas() {
        let columns = Columns::new(["a", "b\"c"]);
        let mut writer = RowWriter::new(1_000);
        for value in 0..2 {
            writer.begin_row();
            writer.key(&columns, 0);
            writer.integer(value);
            writer.key(&columns, 1);
            writer.begin_array();
            writer.null();
            writer.begin_object();
            writer.object_key("x");
            writer.boolean(true);
            writer.end_object();
            writer.end_array();
            writer.end_row().unwrap();
        }
        let batch = writer.take().unwrap();
        assert_eq!(batch.rows, r#"{"a":0,"b\"c":[null,{"x":true}]},{"a":1,"b\"c":[null,{"x":true}]}"#);
        assert_eq!((batch.count, writer.take()), (2, None));
    }

    #[test]
    fn a_row_above_the_limit_is_refused_and_taken_back() {
        let columns = Columns::new(["a"]);
        let mut writer = RowWriter::new(20);
        let mut row = |text: &str| {
            writer.begin_row();
            writer.key(&columns, 0);
            writer.text(text);
            writer.end_row()
        };
        row("short").unwrap();
        assert!(matches!(row(&"x".repeat(50)), Err(BridgeError::RowTooLarge { limit: 20 })));
        row("again").unwrap();
        assert_eq!(writer.take().unwrap().rows, r#"{"a":"short"},{"a":"again"}"#);
    }

    #[test]
    fn large_integers_do_not_lose_digits() {
        assert_eq!(one(|writer| writer.integer_safe(9_007_199_254_740_991)), "9007199254740991");
        assert_eq!(one(|writer| writer.integer_safe(9_007_199_254_740_993)), "\"9007199254740993\"");
        assert_eq!(one(|writer| writer.integer_safe(i64::MIN)), "\"-9223372036854775808\"");
        assert_eq!(one(|writer| writer.unsigned_safe(u64::MAX)), "\"18446744073709551615\"");
        assert_eq!(one(|writer| writer.integer_text(5)), "\"5\"");
    }

    #[test]
    fn every_string_reads_back() {
        for text in [
            "",
            "plain",
            "quote\" and \\",
            "line\nfeed\ttab\rreturn",
            "\u{0}\u{1f}\u{7f}",
            "üñï ☃ 𝄞",
            "exactly8",
            "1234567\"",
            "12345678\"",
            "\u{80}\u{ff}abcdefgh\u{1}",
        ] {
            assert_eq!(serde_json::from_str::<String>(&one(|writer| writer.text(text))).unwrap(), text);
        }
    }

    #[test]
    fn timestamps_equal_their_display() {
        for micros in [
            0,
            -1,
            1,
            1_777_777_777_123_000,
            1_777_777_777_123_456,
            -62_135_596_800_000_000,
            253_402_300_799_999_999,
            253_402_300_800_000_000,
        ] {
            let timestamp = Timestamp::from_micros(micros);
            assert_eq!(one(|writer| writer.timestamp(timestamp)), format!("\"{timestamp}\""));
        }
    }

    #[test]
    fn bytes_are_base64() {
        assert_eq!(one(|writer| writer.bytes(&[0, 255, 16])), "\"AP8Q\"");
    }
}
