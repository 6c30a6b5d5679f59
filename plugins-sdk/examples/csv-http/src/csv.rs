//! The fields of a record (RFC 4180).

use std::borrow::Cow;

/// A field as it stands, and whether it stood in quotes: an empty one without them is no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) text: Cow<'a, str>,
    pub(crate) quoted: bool,
}

/// Splits a record. Bytes that are no UTF-8 become replacement characters.
pub(crate) fn fields(record: &[u8], delimiter: u8) -> Vec<Field<'_>> {
    let mut fields = Vec::new();
    let mut rest = Some(record);
    while let Some(record) = rest {
        let (field, following) = match record.strip_prefix(b"\"") {
            Some(quoted) => quoted_field(quoted, delimiter),
            None => {
                let (text, following) = cut(record, delimiter);
                (Field { text: String::from_utf8_lossy(text), quoted: false }, following)
            }
        };
        fields.push(field);
        rest = following;
    }
    fields
}

/// A field whose first quote has been read.
fn quoted_field(record: &[u8], delimiter: u8) -> (Field<'_>, Option<&[u8]>) {
    let mut at = 0;
    let mut doubled = false;
    let end = loop {
        let unread = record.get(at..).unwrap_or_default();
        let Some(quote) = unread.iter().position(|byte| *byte == b'"').map(|found| at + found) else {
            break record.len();
        };
        if record.get(quote + 1) != Some(&b'"') {
            break quote;
        }
        doubled = true;
        at = quote + 2;
    };
    let (inner, behind) = record.split_at(end);
    let text = String::from_utf8_lossy(inner);
    let text = if doubled { Cow::Owned(text.replace("\"\"", "\"")) } else { text };
    // What stands between the closing quote and the delimiter belongs to nothing.
    let (_, following) = cut(behind, delimiter);
    (Field { text, quoted: true }, following)
}

/// What stands before the next delimiter, and behind it if there is one.
fn cut(record: &[u8], delimiter: u8) -> (&[u8], Option<&[u8]>) {
    match record.iter().position(|byte| *byte == delimiter) {
        Some(at) => {
            let (before, behind) = record.split_at(at);
            (before, behind.get(1..))
        }
        None => (record, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(record: &str) -> Vec<(String, bool)> {
        fields(record.as_bytes(), b',')
            .into_iter()
            .map(|field| (field.text.into_owned(), field.quoted))
            .collect()
    }

    fn plain(text: &str) -> (String, bool) {
        (text.to_owned(), false)
    }

    fn quoted(text: &str) -> (String, bool) {
        (text.to_owned(), true)
    }

    #[test]
    fn quotes_hold_delimiters_line_ends_and_quotes() {
        assert_eq!(
            split("1,\"a,b\",\"say \"\"hi\"\"\",\"x\ny\""),
            [plain("1"), quoted("a,b"), quoted("say \"hi\""), quoted("x\ny")]
        );
    }

    #[test]
    fn an_empty_field_is_not_the_same_as_an_empty_text() {
        assert_eq!(split(",\"\","), [plain(""), quoted(""), plain("")]);
    }

    #[test]
    fn what_no_program_should_write_is_still_read() {
        assert_eq!(split("5\" pipe,\"open"), [plain("5\" pipe"), quoted("open")]);
        assert_eq!(split("\"a\"b,c"), [quoted("a"), plain("c")]);
        assert_eq!(fields(b"\xff", b',')[0].text, "\u{fffd}");
    }
}
