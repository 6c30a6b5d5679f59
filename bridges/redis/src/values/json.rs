//! Reads stored JSON without building it: one pass over the text finds out whether it is JSON at all, and where an
//! object's fields are, so that they can be copied into rows as they stand.

use std::ops::Range;

/// How deep a document may be. The readers of rows stop at 128, and a row is a level itself.
const DEEPEST: u32 = 100;
/// Every number of so many characters is exact as a double.
const EXACT_DIGITS: usize = 15;
/// 2^53 - 1: the largest integer that every reader of JSON takes exactly.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// What a text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Found {
    /// An object, with its fields in [`Scan::fields`].
    Object {
        /// Whether what stands between the braces can be copied as it is: no space between tokens, no field twice, no
        /// number that a reader would round.
        plain: bool,
    },
    /// Anything else.
    Value { spaced: bool, number: bool },
}

/// A field of an object; ranges are into the scanned text.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    /// The name without its quotes, where no escape is in it.
    pub(crate) name: Range<usize>,
    /// Where the name is in [`Scan::unescaped`], if there is one.
    unescaped: Option<usize>,
    pub(crate) value: Range<usize>,
    /// Whether there is space between the value's tokens.
    pub(crate) spaced: bool,
    /// Whether the value is a number that a double does not hold.
    pub(crate) inexact: bool,
}

impl Field {
    pub(crate) fn value<'a>(&self, text: &'a str) -> &'a str {
        text.get(self.value.clone()).unwrap_or_default()
    }
}

/// Memory for scans, used again for every row.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) fields: Vec<Field>,
    /// Names that had escapes in them.
    unescaped: Vec<String>,
}

impl Scan {
    /// Nothing when the text is not JSON, is deeper than rows may be, or says half of a surrogate pair.
    pub(crate) fn read(&mut self, text: &str) -> Option<Found> {
        self.fields.clear();
        self.unescaped.clear();
        let mut cursor = Cursor { text: text.as_bytes(), at: 0, spaced: false };
        cursor.skip_space();
        cursor.spaced = false;
        let found = if cursor.peek() == Some(b'{') {
            self.object(&mut cursor, text)?
        } else {
            let from = cursor.at;
            cursor.value(DEEPEST)?;
            let number = matches!(text.as_bytes().get(from), Some(b'-' | b'0'..=b'9'));
            Found::Value { spaced: cursor.spaced, number }
        };
        cursor.skip_space();
        (cursor.at == cursor.text.len()).then_some(found)
    }

    /// The name of a field of the text that was read last.
    pub(crate) fn name<'a>(&'a self, field: &Field, text: &'a str) -> &'a str {
        match field.unescaped.and_then(|index| self.unescaped.get(index)) {
            Some(name) => name,
            None => text.get(field.name.clone()).unwrap_or_default(),
        }
    }

    fn object(&mut self, cursor: &mut Cursor<'_>, text: &str) -> Option<Found> {
        let mut plain = true;
        let mut count = 0;
        cursor.at += 1;
        cursor.skip_space();
        while !cursor.takes(b'}') {
            if count > 0 && !cursor.takes(b',') {
                return None;
            }
            count += 1;
            cursor.skip_space();
            let quote = cursor.at;
            let escaped = cursor.string()?;
            let name = quote + 1..cursor.at - 1;
            let unescaped = if escaped { Some(self.unescape(text.get(quote..cursor.at)?)?) } else { None };
            cursor.skip_space();
            if !cursor.takes(b':') {
                return None;
            }
            cursor.skip_space();
            let outside = std::mem::replace(&mut cursor.spaced, false);
            let from = cursor.at;
            cursor.value(DEEPEST - 1)?;
            let value = from..cursor.at;
            let spaced = std::mem::replace(&mut cursor.spaced, outside);
            let bytes = text.as_bytes().get(value.clone())?;
            let inexact =
                matches!(bytes.first(), Some(b'-' | b'0'..=b'9')) && !is_exact(text.get(value.clone())?);
            plain &= !spaced && !inexact;
            self.fields.push(Field { name, unescaped, value, spaced, inexact });
            cursor.skip_space();
        }
        plain &= !cursor.spaced;
        plain &= !self.drop_repeated(text);
        Some(Found::Object { plain })
    }

    fn unescape(&mut self, name: &str) -> Option<usize> {
        self.unescaped.push(serde_json::from_str(name).ok()?);
        Some(self.unescaped.len() - 1)
    }

    /// Of fields with one name the last counts, as every reader has it. Returns whether there were any.
    fn drop_repeated(&mut self, text: &str) -> bool {
        const FEW: usize = 24;
        if !self.may_repeat(text) {
            return false;
        }
        let before = self.fields.len();
        let mut repeated: Vec<usize> = Vec::new();
        if before <= FEW {
            for (index, field) in self.fields.iter().enumerate() {
                let name = self.name(field, text);
                let later = self.fields.get(index + 1..).unwrap_or_default();
                if later.iter().any(|other| self.name(other, text) == name) {
                    repeated.push(index);
                }
            }
        } else {
            let mut seen = std::collections::HashSet::with_capacity(before);
            let backwards = self.fields.iter().enumerate().rev();
            repeated.extend(
                backwards.filter(|(_, field)| !seen.insert(self.name(field, text))).map(|(index, _)| index),
            );
        }
        if repeated.is_empty() {
            return false;
        }
        let repeated: std::collections::HashSet<usize> = repeated.into_iter().collect();
        let mut index = 0;
        self.fields.retain(|_| {
            index += 1;
            !repeated.contains(&(index - 1))
        });
        true
    }
}

impl Scan {
    /// Whether two names may be equal: names that are never differ in what is cheap to look at.
    fn may_repeat(&self, text: &str) -> bool {
        let mut met = 0_u128;
        self.fields.iter().any(|field| {
            let name = self.name(field, text).as_bytes();
            let ends = usize::from(name.first().copied().unwrap_or(0)) * 5
                + usize::from(name.last().copied().unwrap_or(0)) * 11;
            let bit = 1_u128 << ((name.len() * 37 + ends) % 128);
            let again = met & bit != 0;
            met |= bit;
            again
        })
    }
}

/// Whether every reader of JSON gets every digit of a number. Otherwise rows carry it as text.
pub(crate) fn is_exact(number: &str) -> bool {
    if number.len() <= EXACT_DIGITS {
        return true;
    }
    if let Ok(integer) = number.parse::<i64>() {
        return integer.unsigned_abs() <= MAX_SAFE_INTEGER;
    }
    let Ok(nearest) = number.parse::<f64>() else { return false };
    // Most long numbers are doubles that somebody has printed.
    nearest.is_finite() && zmij::Buffer::new().format_finite(nearest) == number || {
        let exact = bridge_reduce::Number::parse(number);
        exact.is_some() && exact == bridge_reduce::Number::from_f64(nearest)
    }
}

/// Appends JSON without the space between its tokens.
pub(crate) fn push_compact(out: &mut String, json: &str) {
    let mut in_string = false;
    let mut escaped = false;
    let mut from = 0;
    for (at, byte) in json.bytes().enumerate() {
        if in_string {
            in_string = escaped || byte != b'"';
            escaped = !escaped && byte == b'\\';
        } else if byte == b'"' {
            in_string = true;
        } else if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            out.push_str(json.get(from..at).unwrap_or_default());
            from = at + 1;
        }
    }
    out.push_str(json.get(from..).unwrap_or_default());
}

struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    /// Whether space between tokens was passed over.
    spaced: bool,
}

/// Whether none of eight bytes ends a string, begins an escape or is a control character. A wrong no is harmless.
fn is_plain(eight: &[u8]) -> bool {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGHS: u64 = 0x8080_8080_8080_8080;
    let Ok(eight) = eight.try_into().map(u64::from_le_bytes) else { return false };
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(eight ^ (ONES * 0x22));
    let backslash = zero(eight ^ (ONES * 0x5c));
    let control = eight.wrapping_sub(ONES * 0x20) & !eight;
    (quote | backslash | control) & HIGHS == 0
}

impl Cursor<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn takes(&mut self, byte: u8) -> bool {
        let taken = self.peek() == Some(byte);
        self.at += usize::from(taken);
        taken
    }

    fn skip_space(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.at += 1;
            self.spaced = true;
        }
    }

    fn value(&mut self, depth: u32) -> Option<()> {
        match self.peek()? {
            b'"' => self.string().map(drop),
            b'{' => self.container(depth, b'}', true),
            b'[' => self.container(depth, b']', false),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            b'n' => self.literal(b"null"),
            _ => self.number(),
        }
    }

    fn container(&mut self, depth: u32, end: u8, named: bool) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        self.at += 1;
        self.skip_space();
        if self.takes(end) {
            return Some(());
        }
        loop {
            self.skip_space();
            if named {
                self.string()?;
                self.skip_space();
                if !self.takes(b':') {
                    return None;
                }
                self.skip_space();
            }
            self.value(depth)?;
            self.skip_space();
            if self.takes(end) {
                return Some(());
            }
            if !self.takes(b',') {
                return None;
            }
        }
    }

    fn literal(&mut self, word: &[u8]) -> Option<()> {
        let found = self.text.get(self.at..self.at + word.len()) == Some(word);
        self.at += word.len();
        found.then_some(())
    }

    /// What is larger than any double is no number to the readers of rows.
    fn number(&mut self) -> Option<()> {
        const LONGEST: usize = 300;
        let from = self.at;
        let exponent = self.number_text()?;
        let text = self.text.get(from..self.at)?;
        if !exponent && text.len() <= LONGEST {
            return Some(());
        }
        let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        value.is_finite().then_some(())
    }

    /// Returns whether there is an exponent.
    fn number_text(&mut self) -> Option<bool> {
        self.takes(b'-');
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            _ => return None,
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        let exponent = matches!(self.peek(), Some(b'e' | b'E'));
        if exponent {
            self.at += 1;
            if !self.takes(b'+') {
                self.takes(b'-');
            }
            self.digits()?;
        }
        Some(exponent)
    }

    fn digits(&mut self) -> Option<()> {
        let from = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        (self.at > from).then_some(())
    }

    /// Returns whether an escape is in it.
    fn string(&mut self) -> Option<bool> {
        if !self.takes(b'"') {
            return None;
        }
        let mut escaped = false;
        loop {
            while let Some(eight) = self.text.get(self.at..self.at + 8).filter(|eight| is_plain(eight)) {
                self.at += eight.len();
            }
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.at += 1;
                    self.escape()?;
                }
                0..=0x1f => return None,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        Some(escaped)
    }

    fn escape(&mut self) -> Option<()> {
        match self.peek()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {
                self.at += 1;
                Some(())
            }
            b'u' => match self.unit()? {
                0xd800..=0xdbff => {
                    let low = self.takes(b'\\').then(|| self.unit())??;
                    (0xdc00..=0xdfff).contains(&low).then_some(())
                }
                0xdc00..=0xdfff => None,
                _ => Some(()),
            },
            _ => None,
        }
    }

    /// `uXXXX`
    fn unit(&mut self) -> Option<u32> {
        if !self.takes(b'u') {
            return None;
        }
        let mut unit = 0;
        for _ in 0..4 {
            unit = unit * 16 + char::from(self.peek()?).to_digit(16)?;
            self.at += 1;
        }
        Some(unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, String)> {
        let mut scan = Scan::default();
        scan.read(text).unwrap();
        scan.fields
            .iter()
            .map(|field| (scan.name(field, text).to_owned(), field.value(text).to_owned()))
            .collect()
    }

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn fields_are_found_where_they_stand() {
        assert_eq!(
            names(r#"{"a":1,"b":{"c":[1,"}"]},"":null}"#),
            owned(&[("a", "1"), ("b", r#"{"c":[1,"}"]}"#), ("", "null")])
        );
        assert_eq!(names(" { \"a\\u0062\" : [ 1 , 2 ] } "), owned(&[("ab", "[ 1 , 2 ]")]));
        assert_eq!(names(r#"{"a":1,"b":2,"\u0061":3}"#), owned(&[("b", "2"), ("a", "3")]));
        let many: String = (0..40).map(|index| format!("\"k{}\":{index},", index % 30)).collect();
        let many = format!("{{{}}}", many.trim_end_matches(','));
        assert_eq!(names(&many).len(), 30);
    }

    #[test]
    fn what_can_be_copied_is_told_from_what_cannot() {
        let plain = |text: &str| match Scan::default().read(text) {
            Some(Found::Object { plain }) => plain,
            other => panic!("{other:?}"),
        };
        assert!(plain(r#"{"a":1,"b":"x y"}"#) && plain("{}") && plain(" {} "));
        assert!(!plain(r#"{"a": 1}"#) && !plain("{ }") && !plain(r#"{"a":[1, 2]}"#));
        assert!(!plain(r#"{"a":9007199254740993}"#) && !plain(r#"{"a":1,"a":2}"#));
    }

    /// A generator of our own: whatever it makes, both readers must agree on.
    #[test]
    fn json_is_what_the_general_parser_says_it_is() {
        let pieces = [
            "{",
            "}",
            "[",
            "]",
            ",",
            ":",
            "\"a\"",
            "\"\\u0041\"",
            "\"\\ud83e\\udd80\"",
            "\"\\ud800\"",
            "\"\\x\"",
            "1",
            "-0",
            "01",
            "1.5e+3",
            "1.",
            "-",
            ".5",
            "true",
            "nul",
            "null",
            " ",
            "\n",
            "\"",
            "\\",
            "\u{1}",
            "é",
        ];
        let mut state = 7_u64;
        let mut agreed = 0;
        for _ in 0..200_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let mut rest = state >> 20;
            let mut text = String::new();
            for _ in 0..=(state >> 60) {
                text.push_str(pieces[usize::try_from(rest % 27).unwrap()]);
                rest = (rest / 27) ^ (state.rotate_left(13) >> 9);
            }
            let expected = serde_json::from_str::<serde_json::Value>(&text).is_ok();
            assert_eq!(Scan::default().read(&text).is_some(), expected, "{text:?}");
            agreed += u32::from(expected);
        }
        assert!(agreed > 1_000, "{agreed}");
    }

    #[test]
    fn documents_that_rows_cannot_carry_are_text() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(Scan::default().read(&deep(100)).is_some());
        assert!(Scan::default().read(&deep(101)).is_none());
        assert!(Scan::default().read(&deep(1_000_000)).is_none());
    }

    #[test]
    fn numbers_that_a_double_does_not_hold_are_known() {
        for number in
            ["0.1", "9007199254740991", "-9007199254740991", "1e300", "123456789.125", "0.30000000000000004"]
        {
            assert!(is_exact(number), "{number}");
        }
        for number in [
            "9007199254740993",
            "-9223372036854775808",
            "123456789012345678901234.567890",
            "1.00000000000000000001",
            "1e400000000000000",
        ] {
            assert!(!is_exact(number), "{number}");
        }
    }

    #[test]
    fn compact_json_has_no_space_outside_of_strings() {
        let mut out = String::new();
        push_compact(&mut out, "{ \"a b\" : \"\\\" c \\\\\" ,\n\t\"d\" : [ ] }");
        assert_eq!(out, r#"{"a b":"\" c \\","d":[]}"#);
    }
}
