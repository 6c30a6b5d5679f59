//! What is seen of a row: the values that decide on it and the texts that the answer shows, found in one reading.

use std::collections::HashMap;

use bridge_core::push_json_str;
use protocol::{Projection, RawObject};
use serde::de::Error;
use serde_json::value::RawValue;

use crate::ReduceError;
use crate::layout::{Layout, Row, each_column};

/// Which columns are looked at, and what for.
pub(super) struct Sight {
    layout: Layout,
    spots: HashMap<String, Spot>,
    /// The names under which texts are shown, as keys of JSON; the row is shown as it is without.
    names: Option<Vec<Box<str>>>,
    row_limit: usize,
}

/// What a column is looked at for.
#[derive(Default)]
struct Spot {
    slot: Option<usize>,
    /// Places among the texts.
    shown: Vec<usize>,
}

/// A row that was looked at.
pub(super) struct Seen<'t> {
    /// The values of the layout.
    pub(super) columns: Row,
    row: &'t str,
    texts: Vec<&'t str>,
}

impl Sight {
    /// Sees the columns of a layout and those of a projection.
    pub(super) fn new(layout: Layout, projection: &Projection, row_limit: usize) -> Self {
        let mut spots: HashMap<String, Spot> = HashMap::new();
        for (column, slot) in layout.columns() {
            spots.entry(column.to_owned()).or_default().slot = Some(slot);
        }
        let pairs = projection.pairs();
        for (place, (_, column)) in pairs.iter().flatten().enumerate() {
            spots.entry((*column).to_owned()).or_default().shown.push(place);
        }
        let names = pairs.map(|pairs| pairs.iter().map(|(name, _)| key(name)).collect());
        Self { layout, spots, names, row_limit }
    }

    /// Whether rows are looked into at all.
    pub(super) fn looks(&self) -> bool {
        self.names.is_some() || !self.spots.is_empty()
    }

    /// Looks at a row.
    pub(super) fn see<'t>(&self, row: &'t str) -> Result<Seen<'t>, ReduceError> {
        let mut seen = self.nothing_of(row);
        if self.looks() {
            each_column(row, |column| self.spots.get(column), |spot, raw| self.note(spot, raw, &mut seen))?;
        }
        Ok(seen)
    }

    /// Looks at a row that was read already.
    pub(super) fn see_object<'t>(&self, row: &'t str, object: &RawObject<'t>) -> Seen<'t> {
        let mut seen = self.nothing_of(row);
        for (column, raw) in object.iter() {
            if let Some(spot) = self.spots.get(column) {
                self.note(spot, raw, &mut seen);
            }
        }
        seen
    }

    fn nothing_of<'t>(&self, row: &'t str) -> Seen<'t> {
        let texts = vec!["null"; self.names.as_ref().map_or(0, Vec::len)];
        Seen { columns: self.layout.empty_row(), row, texts }
    }

    fn note<'t>(&self, spot: &Spot, raw: &'t RawValue, seen: &mut Seen<'t>) {
        if let Some(slot) = spot.slot {
            self.layout.read_slot(slot, raw, &mut seen.columns);
        }
        for place in &spot.shown {
            if let Some(text) = seen.texts.get_mut(*place) {
                *text = raw.get();
            }
        }
    }

    /// Appends a row as the answer shows it.
    pub(super) fn show(&self, seen: &Seen<'_>, out: &mut String) -> Result<(), ReduceError> {
        let (start, limit) = (out.len(), self.row_limit);
        match &self.names {
            None => out.push_str(seen.row),
            Some(names) => {
                out.push('{');
                for (place, (name, text)) in names.iter().zip(&seen.texts).enumerate() {
                    if place > 0 {
                        out.push(',');
                    }
                    out.push_str(name);
                    out.push_str(text);
                    // One large column may be asked for under many names.
                    if out.len() - start > limit {
                        return Err(ReduceError::RowTooLarge { limit });
                    }
                }
                out.push('}');
            }
        }
        if out.len() - start > limit { Err(ReduceError::RowTooLarge { limit }) } else { Ok(()) }
    }
}

/// Looks into a row. A key that occurs twice would mean different things to different readers.
pub(super) fn object(row: &str) -> Result<RawObject<'_>, ReduceError> {
    RawObject::from_text(row).map_err(no_row)
}

/// What is wrong with a row is not what is wrong with a request.
pub(super) fn no_row(invalid: protocol::Invalid) -> ReduceError {
    ReduceError::Row(serde_json::Error::custom(invalid))
}

fn key(name: &str) -> Box<str> {
    let mut text = String::new();
    push_json_str(&mut text, name);
    text.push(':');
    text.into_boxed_str()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{Kind, Schema};
    use crate::values::Value;

    fn shown(projection: &Projection, row: &str) -> String {
        let sight = Sight::new(Layout::default(), projection, 100);
        let mut out = String::new();
        sight.show(&sight.see(row).unwrap(), &mut out).unwrap();
        out
    }

    #[test]
    fn texts_are_shown_as_they_stand() {
        let row = r#"{"a":1.50,"b":"x\u0041","c":{"d": [1]},"big":123456789012345678901234567890}"#;
        assert_eq!(shown(&Projection::All, row), row);
        let columns = ["big", "c", "missing", "b"].map(str::to_owned).to_vec();
        assert_eq!(
            shown(&Projection::Columns(columns), row),
            r#"{"big":123456789012345678901234567890,"c":{"d": [1]},"missing":null,"b":"x\u0041"}"#
        );
        let pairs = [("q\"", "a"), ("a", "b"), ("again", "a")].map(|(name, it)| (name.into(), it.into()));
        assert_eq!(
            shown(&Projection::Renamed(pairs.into()), row),
            r#"{"q\"":1.50,"a":"x\u0041","again":1.50}"#
        );
    }

    #[test]
    fn a_row_is_read_once_for_its_values_and_its_texts() {
        let mut layout = Layout::new(Schema::unknown().with("a", Kind::Text));
        let slot = layout.slot("a");
        let sight = Sight::new(layout, &Projection::Columns(vec!["a".to_owned()]), 100);
        let row = r#"{"a":7,"b":8}"#;
        for seen in [sight.see(row).unwrap(), sight.see_object(row, &object(row).unwrap())] {
            assert_eq!(seen.columns[slot], Value::Text("7".to_owned()));
            assert_eq!(seen.texts, ["7"]);
        }
    }

    #[test]
    fn a_row_that_becomes_too_large_is_refused() {
        let sight = Sight::new(Layout::default(), &Projection::All, 10);
        let seen = sight.see(r#"{"a":"12345"}"#).unwrap();
        assert!(matches!(sight.show(&seen, &mut String::new()), Err(ReduceError::RowTooLarge { limit: 10 })));
    }
}
