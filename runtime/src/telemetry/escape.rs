//! Fields of a text line with nothing in them that could pass for a line of its own, or turn a terminal's text around.
//!
//! Messages of errors repeat what a database, a gateway or a runner has said. Here is the one place that every field of
//! every line and span goes through; JSON lines escape by themselves.

use std::fmt;

use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::{DefaultFields, Writer};

/// The usual form of fields, escaped.
#[derive(Debug)]
pub(super) struct EscapedFields;

impl<'writer> FormatFields<'writer> for EscapedFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut escaping = Escaping(&mut writer);
        DefaultFields::new().format_fields(Writer::new(&mut escaping), fields)
    }
}

struct Escaping<'a, 'writer>(&'a mut Writer<'writer>);

impl fmt::Write for Escaping<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return self.0.write_str(text);
        }
        let mut rest = text;
        while let Some((at, bad)) = rest.char_indices().find(|(_, c)| is_dangerous(*c)) {
            let (good, from_bad) = rest.split_at(at);
            self.0.write_str(good)?;
            write!(self.0, "{}", bad.escape_default())?;
            rest = from_bad.get(bad.len_utf8()..).unwrap_or_default();
        }
        self.0.write_str(rest)
    }
}

/// Control characters, separators of lines, and what changes the direction of text.
fn is_dangerous(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}
