//! Rows from a runner become a lens's rows.
//!
//! Where the bridge has renamed the columns already and nothing is transformed, the runner's text goes to the caller as
//! it is. Otherwise each row is opened one level deep: names change, transforms see their own values, everything else
//! stays the text that the bridge wrote.

use protocol::{RawObject, Timestamp};
use serde_json::value::RawValue;

use crate::lens::Transform;
use crate::link::ChunkData;

/// One field of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OutputField {
    pub(crate) name: String,
    pub(crate) column: String,
    pub(crate) transforms: Vec<Transform>,
}

/// How rows change.
#[derive(Debug)]
pub(crate) struct Reshape {
    fields: Vec<Rewritten>,
    /// No row changes.
    as_is: bool,
    page: Option<Page>,
    emitted: u64,
}

#[derive(Debug)]
struct Rewritten {
    /// `"name":`
    key: String,
    /// The key in the runner's row.
    from: String,
    transforms: Vec<Transform>,
}

/// Paging for a runner that cannot: one row more than the page is asked for.
#[derive(Debug)]
struct Page {
    limit: u64,
    columns: Vec<String>,
    last: Vec<Option<String>>,
    more: bool,
}

/// A runner's row is not an object that we can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadRow;

impl Reshape {
    /// `renamed`: rows come under the lens's names. `page`: limit and key columns of a page that is cut here.
    pub(crate) fn new(fields: &[OutputField], renamed: bool, page: Option<(u64, Vec<String>)>) -> Self {
        let renamed = renamed && page.is_none();
        let rewritten = |field: &OutputField| Rewritten {
            key: format!("{}:", serde_json::Value::from(field.name.as_str())),
            from: if renamed { field.name.clone() } else { field.column.clone() },
            transforms: field.transforms.clone(),
        };
        Self {
            as_is: renamed && fields.iter().all(|field| field.transforms.is_empty()),
            fields: fields.iter().map(rewritten).collect(),
            page: page.map(|(limit, columns)| Page { limit, columns, last: Vec::new(), more: false }),
            emitted: 0,
        }
    }

    /// Appends a chunk's rows with `separator` between them and before the first one unless `out` begins with it. How
    /// many rows were appended.
    pub(crate) fn append(
        &mut self,
        chunk: &ChunkData,
        out: &mut Vec<u8>,
        separator: Separator,
    ) -> Result<u64, BadRow> {
        let before = self.emitted;
        if self.as_is {
            self.splice(chunk, out, separator);
        } else {
            for row in chunk.rows() {
                self.rewrite(row, out, separator)?;
            }
        }
        Ok(self.emitted - before)
    }

    /// The keys of the page's last row, when there is another page.
    pub(crate) fn next_keys(&self) -> Option<Vec<Option<String>>> {
        // A page without rows ends nowhere.
        let page = self.page.as_ref().filter(|page| page.more && !page.last.is_empty())?;
        Some(page.last.clone())
    }

    fn splice(&mut self, chunk: &ChunkData, out: &mut Vec<u8>, separator: Separator) {
        if chunk.count() == 0 {
            return;
        }
        let first = self.emitted == 0;
        self.emitted += u64::try_from(chunk.count()).unwrap_or(u64::MAX);
        match separator {
            Separator::Comma => {
                if !first {
                    out.push(b',');
                }
                out.extend_from_slice(&chunk.joined());
            }
            Separator::Line => {
                let joined = chunk.joined();
                out.reserve(joined.len() + 1);
                // White space in another maker's JSON may hold line feeds; in strings they are always escaped.
                let flat = !joined.iter().any(|byte| matches!(byte, b'\n' | b'\r'));
                for row in chunk.rows() {
                    if flat {
                        out.extend_from_slice(row);
                    } else {
                        out.extend(row.iter().filter(|byte| !matches!(byte, b'\n' | b'\r')));
                    }
                    out.push(b'\n');
                }
            }
        }
    }

    fn rewrite(&mut self, row: &[u8], out: &mut Vec<u8>, separator: Separator) -> Result<(), BadRow> {
        let row =
            std::str::from_utf8(row).ok().and_then(|row| RawObject::from_text(row).ok()).ok_or(BadRow)?;
        if let Some(page) = &mut self.page {
            if self.emitted >= page.limit {
                page.more = true;
                return Ok(());
            }
            let key = |column: &String| row.get(column).map(|raw| raw.get().to_owned());
            page.last = page.columns.iter().map(key).collect();
        }
        if self.emitted > 0 && separator == Separator::Comma {
            out.push(b',');
        }
        out.push(b'{');
        let mut first = true;
        for field in &self.fields {
            let Some((_, raw)) = row.iter().find(|(key, _)| *key == field.from) else { continue };
            if !first {
                out.push(b',');
            }
            first = false;
            out.extend_from_slice(field.key.as_bytes());
            write_value(raw, &field.transforms, out);
        }
        out.push(b'}');
        if separator == Separator::Line {
            out.push(b'\n');
        }
        self.emitted += 1;
        Ok(())
    }
}

/// What stands between rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Separator {
    /// In a JSON list.
    Comma,
    /// One row a line (NDJSON).
    Line,
}

fn write_value(raw: &RawValue, transforms: &[Transform], out: &mut Vec<u8>) {
    if !transforms.is_empty() && write_transformed(raw.get(), transforms, out) {
        return;
    }
    let flat = |byte: &&u8| !matches!(byte, b'\n' | b'\r');
    out.extend(raw.get().as_bytes().iter().filter(flat));
}

/// Writes a transformed value. False where the value is of a kind that transforms leave alone.
fn write_transformed(raw: &str, transforms: &[Transform], out: &mut Vec<u8>) -> bool {
    match serde_json::from_str(raw) {
        Ok(serde_json::Value::String(text)) => {
            let text = transforms.iter().fold(text, |text, transform| apply(*transform, text));
            // A string is always JSON.
            serde_json::to_writer(out, &text).is_ok()
        }
        Ok(serde_json::Value::Number(number)) if transforms.contains(&Transform::Date) => {
            let date = number.as_i64().and_then(|ms| ms.checked_mul(1_000)).map(Timestamp::from_micros);
            date.is_some_and(|date| serde_json::to_writer(out, &date.to_string()).is_ok())
        }
        Ok(serde_json::Value::Array(items)) => {
            let texts = items.iter().map(|item| item.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>();
            let Some(texts) = texts else { return false };
            let all = |text| transforms.iter().fold(text, |text, transform| apply(*transform, text));
            let texts: Vec<String> = texts.into_iter().map(all).collect();
            serde_json::to_writer(out, &texts).is_ok()
        }
        _ => false,
    }
}

/// A transform of one text. A text that is no date stays what it is: nothing is lost.
fn apply(transform: Transform, text: String) -> String {
    match transform {
        Transform::Lowercase => text.to_lowercase(),
        Transform::Uppercase => text.to_uppercase(),
        Transform::Trim => text.trim().to_owned(),
        Transform::Date => Timestamp::parse(text.trim()).map_or(text, |date| date.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use protocol::Tail;

    use super::*;

    fn field(name: &str, column: &str, transforms: &[Transform]) -> OutputField {
        OutputField { name: name.to_owned(), column: column.to_owned(), transforms: transforms.to_vec() }
    }

    fn chunk(rows: &str) -> ChunkData {
        let frame = Bytes::from(format!("[{rows}]"));
        let text = std::str::from_utf8(&frame).unwrap();
        let parsed: Vec<&RawValue> = serde_json::from_str(text).unwrap();
        ChunkData::new(&frame, parsed.iter().map(|row| row.get()), Tail::default())
    }

    fn shape(reshape: &mut Reshape, rows: &str, separator: Separator) -> String {
        let mut out = Vec::new();
        reshape.append(&chunk(rows), &mut out, separator).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn renamed_rows_pass_as_they_are() {
        let mut reshape = Reshape::new(&[field("a", "x", &[])], true, None);
        assert_eq!(
            shape(&mut reshape, r#"{"a":1.50} , {"a":"b"}"#, Separator::Comma),
            r#"{"a":1.50} , {"a":"b"}"#
        );
        assert_eq!(shape(&mut reshape, r#"{"a":2}"#, Separator::Comma), r#",{"a":2}"#);
    }

    #[test]
    fn a_line_is_one_row_whatever_white_space_came() {
        let mut reshape = Reshape::new(&[field("a", "x", &[])], true, None);
        assert_eq!(
            shape(&mut reshape, "{\"a\":\n1},\r\n{\"a\":\"x\\ny\"}", Separator::Line),
            "{\"a\":1}\n{\"a\":\"x\\ny\"}\n"
        );
    }

    #[test]
    fn names_and_transforms_are_applied_and_other_text_is_kept() {
        let fields = [
            field("Title", "name", &[Transform::Trim, Transform::Lowercase]),
            field("at", "created", &[Transform::Date]),
            field("price", "price", &[]),
            field("missing", "nope", &[]),
        ];
        let mut reshape = Reshape::new(&fields, false, None);
        let row = r#"{"price":12345678901234567890.10,"name":" ÄB\n","created":1000,"extra":1}"#;
        assert_eq!(
            shape(&mut reshape, row, Separator::Comma),
            r#"{"Title":"äb","at":"1970-01-01T00:00:01.000Z","price":12345678901234567890.10}"#
        );
        let row = r#"{"name":null,"created":"no date","price":[1]}"#;
        assert_eq!(
            shape(&mut reshape, row, Separator::Comma),
            r#",{"Title":null,"at":"no date","price":[1]}"#
        );
    }

    #[test]
    fn a_page_ends_at_its_limit_and_knows_the_next() {
        let page = Some((2, vec!["k".to_owned()]));
        let mut reshape = Reshape::new(&[field("a", "x", &[])], true, page);
        let out =
            shape(&mut reshape, r#"{"x":1,"k":"p"},{"x":2,"k":null},{"x":3,"k":"r"}"#, Separator::Comma);
        assert_eq!(out, r#"{"a":1},{"a":2}"#);
        assert_eq!(reshape.next_keys(), Some(vec![None]));
    }

    #[test]
    fn a_page_of_no_rows_has_no_next() {
        let mut reshape = Reshape::new(&[field("a", "x", &[])], true, Some((0, vec!["k".to_owned()])));
        assert_eq!(shape(&mut reshape, r#"{"x":1,"k":"p"}"#, Separator::Comma), "");
        assert_eq!(reshape.next_keys(), None);
    }

    #[test]
    fn the_last_page_has_no_next() {
        let mut reshape = Reshape::new(&[field("a", "x", &[])], true, Some((2, vec!["k".to_owned()])));
        shape(&mut reshape, r#"{"x":1,"k":"p"}"#, Separator::Comma);
        assert_eq!(reshape.next_keys(), None);
    }
}
