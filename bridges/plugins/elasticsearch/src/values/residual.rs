//! Documents that the engine has found roughly are looked at again, with the meaning that the engine gives tests: a list
//! matches when one of its values does, and an empty one is null.

use bridge_reduce::{Layout, Matcher, Schema};
use semilayer_plugin::Error;
use semilayer_plugin::options::Filter;

use super::{Document, Row, tested};
use crate::connect::Hit;
use crate::introspect::{Field, Index, Kind};

/// A test of rows that the engine has not made, or has made only roughly.
#[derive(Debug, Clone)]
pub(crate) struct Residual {
    fields: Vec<Field>,
    layout: Layout,
    matcher: Matcher,
}

impl Residual {
    /// Makes a filter ready for the documents of an index.
    pub(crate) fn new(filter: &Filter, index: &Index) -> Result<Self, Error> {
        index.check_documents()?;
        let mut fields: Vec<Field> = Vec::new();
        for name in filter.condition().fields() {
            if !fields.iter().any(|field| field.name == name) {
                fields.push(index.expect(name)?);
            }
        }
        let mut layout = Layout::new(fields.iter().fold(Schema::unknown(), known));
        let matcher = Matcher::new(filter, &mut layout);
        Ok(Self { fields, layout, matcher })
    }

    /// The columns that it looks at.
    pub(super) fn fields(&self) -> &[Field] {
        &self.fields
    }

    /// Whether the document is one that was asked for.
    pub(crate) fn matches(&self, hit: &Hit) -> Result<bool, Error> {
        let mut row = Row(Vec::with_capacity(self.fields.len()));
        row.add(&self.fields, hit, &Document::of(hit)?, tested);
        let row = self.layout.read(&serde_json::to_string(&row)?);
        Ok(self.matcher.matches(&row.map_err(|error| Error::internal(error.to_string()))?))
    }
}

/// Of a column that is JSON, a list is the value; of any other, its values are.
fn known(schema: Schema, field: &Field) -> Schema {
    match field.kind {
        Kind::Document => schema.with(field.name.clone(), field.reduced_kind()),
        _ => schema.with_several(field.name.clone(), field.reduced_kind()),
    }
}
