//! Buckets as rows: what becomes of the columns of an [`AggregatePlan`], whatever the database.

use bridge_core::{BridgeError, RowWriter, js_number};

use super::{AggregatePlan, Decode, Role};

impl AggregatePlan {
    /// Writes a bucket: `{"dims":{…},"measures":{…},"count":n}`. `cells` are the values of the statement's columns in
    /// their order; `write` makes JSON of one, as its [`Decode`] says.
    ///
    /// # Errors
    /// What `write` says; a row that is too large.
    pub fn write_bucket<C, E: From<BridgeError>>(
        &self,
        writer: &mut RowWriter,
        cells: impl IntoIterator<Item = C>,
        mut write: impl FnMut(&mut RowWriter, &Decode, C) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut all = self.columns.iter().zip(cells).peekable();
        writer.begin_row();
        for (role, key) in [(Role::Dimension, "dims"), (Role::Measure, "measures")] {
            writer.object_key(key);
            writer.begin_object();
            while let Some((column, cell)) = all.next_if(|(column, _)| column.role == role) {
                writer.object_key(&column.name);
                write(writer, &column.decode, cell)?;
            }
            writer.end_object();
        }
        for (column, cell) in all {
            writer.object_key(&column.name);
            write(writer, &column.decode, cell)?;
        }
        Ok(writer.end_row()?)
    }
}

impl Decode {
    /// Writes the text of a numeric bucket.
    pub fn write_label(&self, writer: &mut RowWriter, index: f64) {
        writer.text(&self.label(index).unwrap_or_else(|| js_number(index)));
    }

    /// Writes what null stands for: no entries in a list, null elsewhere.
    pub fn write_null(&self, writer: &mut RowWriter) {
        match self {
            Self::Json => {
                writer.begin_array();
                writer.end_array();
            }
            Self::Native(_) | Self::Text | Self::Number | Self::Step(_) | Self::Breaks(_) => writer.null(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BucketColumn, Kind, Sql};

    fn plan(columns: &[(Role, &str, Decode)]) -> AggregatePlan {
        let column = |(role, name, decode): &(Role, &str, Decode)| BucketColumn {
            role: *role,
            name: (*name).to_owned(),
            decode: decode.clone(),
        };
        AggregatePlan { sql: Sql::default(), columns: columns.iter().map(column).collect() }
    }

    fn written(plan: &AggregatePlan, cells: [Option<f64>; 4]) -> String {
        let mut writer = RowWriter::new(1_000);
        let write = |writer: &mut RowWriter, decode: &Decode, cell: Option<f64>| {
            match (decode, cell) {
                (_, None) => decode.write_null(writer),
                (Decode::Step(_), Some(index)) => decode.write_label(writer, index),
                (_, Some(number)) => writer.double(number),
            }
            Ok::<_, BridgeError>(())
        };
        plan.write_bucket(&mut writer, cells, write).unwrap();
        writer.take().unwrap().rows
    }

    #[test]
    fn a_bucket_has_its_columns_where_they_belong() {
        let plan = plan(&[
            (Role::Dimension, "price", Decode::Step(10.0)),
            (Role::Measure, "top", Decode::Json),
            (Role::Measure, "sum", Decode::Native(Kind::Decimal)),
            (Role::Count, "count", Decode::Number),
        ]);
        let all = [Some(2.0), None, Some(1.5), Some(3.0)];
        assert_eq!(
            written(&plan, all),
            r#"{"dims":{"price":"20..30"},"measures":{"top":[],"sum":1.5},"count":3}"#
        );
        let nothing = [None, None, None, Some(0.0)];
        assert_eq!(
            written(&plan, nothing),
            r#"{"dims":{"price":null},"measures":{"top":[],"sum":null},"count":0}"#
        );
    }

    #[test]
    fn a_bucket_of_everything_has_no_dimensions() {
        let plan = plan(&[(Role::Count, "count", Decode::Number)]);
        let cells = [Some(7.0), None, None, None];
        assert_eq!(written(&plan, cells), r#"{"dims":{},"measures":{},"count":7}"#);
    }
}
