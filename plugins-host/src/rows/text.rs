//! Batches of JSON text: every byte is looked at before any of it is passed on.

use std::collections::HashMap;

use bridge_core::{BridgeError, RowBatch, has_lone_surrogate, push_json_str};
use protocol::SCORE;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::form::{Form, Shape};
use crate::bindings::types::JsonBatch;
use crate::error::PluginFailure;

/// Rows as text, and how many of them have left.
pub(super) struct Texts {
    text: String,
    /// Where each row ends.
    ends: Vec<usize>,
    next: usize,
}

impl Texts {
    /// Makes sure that the text is as many JSON objects as it says, with single commas between them. Says what is wrong.
    pub(super) fn check(batch: JsonBatch, form: &Form) -> Result<Self, String> {
        let rows = usize::try_from(batch.rows).map_err(|_| "too many rows".to_owned())?;
        let ends = ends(&batch.text)?;
        if has_lone_surrogate(&batch.text) {
            return Err("rows that are not JSON (half a character in an escape)".to_owned());
        }
        if ends.len() != rows {
            return Err(format!("a batch of {} rows that it calls {rows}", ends.len()));
        }
        let whole = Self { text: batch.text, ends, next: 0 };
        match &form.shape {
            Shape::Plain | Shape::Picked(_) if !form.scored => Ok(whole),
            Shape::Plain | Shape::Picked(_) => whole.check_each(|row| has_score(row).map(|_| ())),
            Shape::Bucket { .. } => whole.check_each(check_bucket),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.next >= self.ends.len()
    }

    /// The next rows in the caller's form, about `room` bytes of them and at least one.
    pub(super) fn take(
        &mut self,
        form: &Form,
        room: usize,
        row_limit: usize,
    ) -> Result<Option<RowBatch>, BridgeError> {
        match &form.shape {
            Shape::Picked(pairs) => self.take_picked(pairs, room, row_limit),
            Shape::Plain | Shape::Bucket { .. } => self.take_whole(room, row_limit),
        }
    }

    fn take_whole(&mut self, room: usize, row_limit: usize) -> Result<Option<RowBatch>, BridgeError> {
        let start = self.start(self.next);
        let mut count = 0;
        let mut end = start;
        while let Some(row_end) = self.ends.get(self.next).copied() {
            if count > 0 && row_end - start > room {
                break;
            }
            if row_end - self.start(self.next) > row_limit {
                return Err(BridgeError::RowTooLarge { limit: row_limit });
            }
            end = row_end;
            count += 1;
            self.next += 1;
        }
        if count == 0 {
            return Ok(None);
        }
        let rows = if start == 0 && self.is_empty() {
            std::mem::take(&mut self.text)
        } else {
            self.text.get(start..end).unwrap_or_default().to_owned()
        };
        Ok(Some(RowBatch { rows, count }))
    }

    /// The same with these columns alone. Made only now, because one column may be asked for under many and long names.
    fn take_picked(
        &mut self,
        pairs: &[(String, String)],
        room: usize,
        row_limit: usize,
    ) -> Result<Option<RowBatch>, BridgeError> {
        let mut batch = RowBatch::default();
        while batch.count == 0 || batch.rows.len() < room {
            let Some(row) = self.row(self.next) else { break };
            if batch.count > 0 {
                batch.rows.push(',');
            }
            rewrite(row, pairs, row_limit, &mut batch.rows)?;
            batch.count += 1;
            self.next += 1;
        }
        Ok((batch.count > 0).then_some(batch))
    }

    /// Where a row begins: behind the comma after the one before.
    fn start(&self, row: usize) -> usize {
        row.checked_sub(1).and_then(|before| self.ends.get(before)).map_or(0, |end| end + 1)
    }

    fn row(&self, row: usize) -> Option<&str> {
        self.text.get(self.start(row)..*self.ends.get(row)?)
    }

    fn check_each(self, check: impl Fn(&str) -> Result<(), String>) -> Result<Self, String> {
        (0..self.ends.len()).filter_map(|row| self.row(row)).try_for_each(check)?;
        Ok(self)
    }
}

/// Where each row of a text ends.
fn ends(text: &str) -> Result<Vec<usize>, String> {
    let mut ends = Vec::new();
    let mut at = 0;
    loop {
        let rest = text.get(at..).unwrap_or_default();
        if !rest.starts_with('{') {
            return Err("JSON that is no object where a row should begin".to_owned());
        }
        let mut values = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        match values.next() {
            Some(Ok(IgnoredAny)) => at += values.byte_offset(),
            Some(Err(error)) => return Err(format!("rows that are not JSON ({error})")),
            None => return Err("rows that are not JSON".to_owned()),
        }
        ends.push(at);
        match text.as_bytes().get(at) {
            None => return Ok(ends),
            Some(b',') => at += 1,
            Some(_) => return Err("rows without a comma between them".to_owned()),
        }
    }
}

fn has_score(row: &str) -> Result<f64, String> {
    #[derive(Deserialize)]
    struct Scored {
        #[serde(rename = "_score")]
        score: f64,
    }
    let scored: Scored =
        serde_json::from_str(row).map_err(|_| format!("ranked rows without a number {SCORE}"))?;
    Ok(scored.score)
}

fn check_bucket(row: &str) -> Result<(), String> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Bucket<'a> {
        #[serde(borrow)]
        dims: &'a RawValue,
        #[serde(borrow)]
        measures: &'a RawValue,
        count: u64,
    }
    let bucket: Bucket<'_> =
        serde_json::from_str(row).map_err(|error| format!("a bucket that is none ({error})"))?;
    let _any = bucket.count;
    match bucket.dims.get().starts_with('{') && bucket.measures.get().starts_with('{') {
        true => Ok(()),
        false => Err("a bucket whose dims or measures are no object".to_owned()),
    }
}

/// Writes these columns of a row; null where it has none.
fn rewrite(row: &str, pairs: &[(String, String)], limit: usize, out: &mut String) -> Result<(), BridgeError> {
    let start = out.len();
    let object: Object<'_> =
        serde_json::from_str(row).map_err(|error| PluginFailure::Wrong(error.to_string()))?;
    out.push('{');
    for (index, (name, source)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        push_json_str(out, name);
        out.push(':');
        out.push_str(object.0.get(source.as_str()).map_or("null", |value| value.get()));
        // One less for the brace.
        if out.len() - start >= limit {
            return Err(BridgeError::RowTooLarge { limit });
        }
    }
    out.push('}');
    Ok(())
}

/// A row's columns as they stand in its text.
#[derive(Deserialize)]
#[serde(transparent)]
struct Object<'a>(#[serde(borrow)] HashMap<String, &'a RawValue>);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    fn plain() -> Form {
        Form::new(Shape::Plain, &[], false).unwrap()
    }

    fn check(rows: u32, text: &str, form: &Form) -> Result<Texts, String> {
        Texts::check(JsonBatch { rows, text: text.to_owned() }, form)
    }

    /// Everything, in pieces of about `room` bytes.
    fn taken(mut texts: Texts, form: &Form, room: usize) -> Vec<(String, u64)> {
        let mut batches = Vec::new();
        while let Some(batch) = texts.take(form, room, 1_000_000).unwrap() {
            batches.push((batch.rows, batch.count));
        }
        batches
    }

    #[test]
    fn a_text_that_fits_is_passed_on_as_it_is() {
        let text = r#"{"a":1},{ "b" : [ {} ] }"#;
        assert_eq!(taken(check(2, text, &plain()).unwrap(), &plain(), 1_000), [(text.to_owned(), 2)]);
    }

    #[test]
    fn a_row_that_names_a_column_twice_or_in_escapes_is_still_picked_from() {
        let pairs = vec![("x".to_owned(), "ä".to_owned())];
        let form = Form::new(Shape::Picked(pairs), &[], false).unwrap();
        let texts = check(2, "{\"\\u00e4\":1},{\"ä\":{\"y\":\"}\"},\"z\":0}", &form).unwrap();
        assert_eq!(
            taken(texts, &form, 1),
            [(r#"{"x":1}"#.to_owned(), 1), (r#"{"x":{"y":"}"}}"#.to_owned(), 1)]
        );
    }

    #[test]
    fn a_column_under_many_names_is_written_no_further_than_there_is_room() {
        let pairs = (0..100).map(|nth| (nth.to_string(), "a".to_owned())).collect();
        let form = Form::new(Shape::Picked(pairs), &[], false).unwrap();
        let text = vec![format!(r#"{{"a":"{}"}}"#, "x".repeat(1_000)); 100].join(",");
        let batches = taken(check(100, &text, &form).unwrap(), &form, 10_000);
        // Each row has about a hundred thousand bytes now.
        assert_eq!(batches.iter().map(|(_, count)| *count).collect::<Vec<_>>(), vec![1; 100]);
        let refused = check(100, &text, &form).unwrap().take(&form, 10_000, 20_000).unwrap_err();
        assert!(matches!(refused, BridgeError::RowTooLarge { limit: 20_000 }), "{refused:?}");
    }

    #[test]
    fn raw_control_characters_and_torn_escapes_are_not_json() {
        for text in [
            "{\"a\":\"\n\"}",
            "{\"a\":\"\\x\"}",
            "{\"a\":\"\\u12\"}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "{a:1}",
            "{\"a\":1,}",
        ] {
            assert!(check(1, text, &plain()).is_err(), "{text:?}");
        }
    }

    proptest! {
        /// Whatever is taken is that many JSON objects, however it is cut.
        #[test]
        fn nothing_gets_through_that_is_not_a_list_of_objects(
            text in r#"(\{("a":(1|"x"|\[\]|\{\}|"\\""|null))?\}|[{}\[\],:"\\a1 ]){0,6}(,(\{\}|\{"b":2\}|[{}\],"]))*"#,
            rows in 0_u32..6,
            room in 0_usize..40,
        ) {
            let Ok(texts) = check(rows, &text, &plain()) else { return Ok(()) };
            let mut seen = 0;
            for (batch, count) in taken(texts, &plain(), room) {
                let list: Vec<Value> = serde_json::from_str(&format!("[{batch}]")).unwrap();
                prop_assert!(list.iter().all(Value::is_object));
                prop_assert_eq!(u64::try_from(list.len()).unwrap(), count);
                seen += count;
            }
            prop_assert_eq!(seen, u64::from(rows));
        }
    }
}
