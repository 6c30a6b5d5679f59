//! Which rows are wanted, and their text.

use bridge_core::BridgeError;
use bridge_reduce::{Kind, Layout, Matcher, Nulls, Order, Row, Schema, Value};
use protocol::{Filter, OrderBy, Timestamp};

use crate::values::{KEY, Record, Renderer, Shape, View};

/// What is asked of rows, whatever their order.
#[derive(Debug, Clone)]
pub(crate) struct Selection {
    pub(crate) filter: Filter,
    /// Only rows that have changed.
    pub(crate) changed: Option<Changed>,
    pub(crate) offset: u64,
    /// All without.
    pub(crate) limit: Option<u64>,
    pub(crate) shape: Shape,
    /// Whether a cursor is wanted where there are more rows than the limit.
    pub(crate) paged: bool,
    /// Whether all rows that match are counted in the end.
    pub(crate) total: bool,
}

/// Changes since an instant, by a column. A row that does not say when it changed may have, and counts as changed.
#[derive(Debug, Clone)]
pub(crate) struct Changed {
    pub(crate) column: String,
    pub(crate) since: Timestamp,
}

/// A filter, and what it needs to see of a row.
pub(crate) struct Test {
    layout: Layout,
    matcher: Option<Matcher>,
    changed: Option<(usize, Timestamp)>,
    renderer: Renderer,
    /// Whether a stored object can be looked into as it stands: nobody asks for what the bridge adds.
    as_stored: bool,
    of_keys: bool,
    text: String,
}

impl Test {
    pub(crate) fn new(filter: &Filter, changed: Option<&Changed>) -> Self {
        let schema = match changed {
            Some(changed) => Schema::unknown().with(&changed.column, Kind::Timestamp),
            None => Schema::unknown(),
        };
        let mut layout = Layout::new(schema);
        let matcher = (!filter.is_everything()).then(|| Matcher::new(filter, &mut layout));
        let changed = changed.map(|changed| (layout.slot(&changed.column), changed.since));
        let columns = filter.condition().fields();
        Self {
            layout,
            matcher,
            as_stored: !columns.iter().any(|column| is_added(column)),
            of_keys: changed.is_none() && columns.iter().all(|column| *column == KEY),
            changed,
            renderer: Renderer::default(),
            text: String::new(),
        }
    }

    /// An order over rows that [`admitted`](Self::admitted) gives, and the slots of its columns.
    pub(crate) fn order(&mut self, order_by: &[OrderBy]) -> (Order, Vec<usize>) {
        self.as_stored &= !order_by.iter().any(|order| is_added(&order.field));
        let slots = order_by.iter().map(|order| self.layout.slot(&order.field)).collect();
        (Order::new(order_by, Nulls::default(), &mut self.layout), slots)
    }

    /// Whether nothing but keys is looked at.
    pub(crate) fn is_of_keys(&self) -> bool {
        self.of_keys
    }

    /// Whether a row is wanted.
    pub(crate) fn admits(&mut self, record: &Record<'_>) -> Result<bool, BridgeError> {
        if self.matcher.is_none() && self.changed.is_none() {
            return Ok(true);
        }
        Ok(self.admitted(record)?.is_some())
    }

    /// The columns of a row that is wanted.
    pub(crate) fn admitted(&mut self, record: &Record<'_>) -> Result<Option<Row>, BridgeError> {
        let row = self.read(record)?;
        let matches = self.matcher.as_ref().is_none_or(|matcher| matcher.matches(&row));
        let changed = self
            .changed
            .is_none_or(|(slot, since)| row.get(slot).and_then(Value::timestamp).is_none_or(|at| at > since));
        Ok((matches && changed).then_some(row))
    }

    /// Reads a row that has only what a cursor says.
    pub(crate) fn read_position(&self, json: &str) -> Option<Row> {
        self.layout.read(json).ok()
    }

    fn read(&mut self, record: &Record<'_>) -> Result<Row, BridgeError> {
        if self.as_stored
            && record.score.is_none()
            && let Some(object) = self.renderer.object(record)
        {
            return Ok(self.layout.read(object)?);
        }
        values_text(&mut self.renderer, record, &mut self.text);
        Ok(self.layout.read(&self.text)?)
    }
}

/// A row as filters, orders and aggregates see it.
pub(crate) fn values_text(renderer: &mut Renderer, record: &Record<'_>, text: &mut String) {
    text.clear();
    text.push('{');
    renderer.render(record, &Shape::All, View::Values, text);
    text.push('}');
}

/// Columns that no stored object has.
fn is_added(column: &str) -> bool {
    column == KEY
}
