//! What the caller gets of a plugin's rows: which columns, under which names, in which nesting.

use std::collections::HashSet;

use bridge_core::Columns;
use protocol::{AggregateOptions, Projection, SCORE};

use crate::bindings::types::{ColumnInfo, Kind};
use crate::limits::{COLUMNS, NAME_BYTES};

/// How rows are written.
#[derive(Debug)]
pub(crate) struct Form {
    pub(super) shape: Shape,
    /// What columns hold, in their order. JSON may have others.
    pub(super) kinds: Vec<Kind>,
    /// For each column of a row, which one of the batch it is; nothing where the batch has no such column.
    pub(super) sources: Vec<Option<usize>>,
    /// The names of a row's columns.
    pub(super) keys: Columns,
    /// Whether each row has a score.
    pub(super) scored: bool,
}

/// What a row is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shape {
    /// All columns as they come.
    Plain,
    /// These columns, `(output name, source)`, in this order; null where a row has none.
    Picked(Vec<(String, String)>),
    /// A bucket of an aggregate: so many dimensions, so many measures, a count.
    Bucket { dimensions: usize, measures: usize },
}

impl Shape {
    /// What a projection makes of rows; `scored` rows keep their score.
    pub(crate) fn of(projection: &Projection, scored: bool) -> Self {
        let Some(pairs) = projection.pairs() else { return Self::Plain };
        let mut pairs: Vec<(String, String)> = pairs
            .into_iter()
            .filter(|(name, _)| !scored || *name != SCORE)
            .map(|(name, column)| (name.to_owned(), column.to_owned()))
            .collect();
        if scored {
            pairs.push((SCORE.to_owned(), SCORE.to_owned()));
        }
        Self::Picked(pairs)
    }

    pub(crate) fn bucket(options: &AggregateOptions) -> Self {
        Self::Bucket { dimensions: options.dimensions.len(), measures: options.measures.len() }
    }
}

impl Form {
    /// The form of rows whose columns are announced as `columns`. Says what is wrong with them.
    pub(crate) fn new(shape: Shape, columns: &[ColumnInfo], scored: bool) -> Result<Self, String> {
        check(columns)?;
        let kinds = columns.iter().map(|column| column.kind).collect();
        if columns.is_empty() {
            return Ok(Self { shape, kinds, sources: Vec::new(), keys: Columns::default(), scored });
        }
        let find = |name: &str| columns.iter().position(|column| column.name == name);
        if scored && find(SCORE).is_none() {
            return Err(format!("ranked rows without the column {SCORE}"));
        }
        let (sources, keys) = match &shape {
            Shape::Plain => (
                (0..columns.len()).map(Some).collect(),
                Columns::new(columns.iter().map(|column| column.name.as_str())),
            ),
            Shape::Picked(pairs) => (
                pairs.iter().map(|(_, source)| find(source)).collect(),
                Columns::new(pairs.iter().map(|(name, _)| name.as_str())),
            ),
            Shape::Bucket { dimensions, measures } => {
                let expected = dimensions + measures + 1;
                if columns.len() != expected {
                    return Err(format!("{} columns of a bucket instead of {expected}", columns.len()));
                }
                (
                    (0..columns.len()).map(Some).collect(),
                    Columns::new(columns.iter().map(|column| column.name.as_str())),
                )
            }
        };
        Ok(Self { shape, kinds, sources, keys, scored })
    }
}

fn check(columns: &[ColumnInfo]) -> Result<(), String> {
    if columns.len() > COLUMNS {
        return Err(format!("{} columns; at most {COLUMNS} may be", columns.len()));
    }
    let mut seen = HashSet::with_capacity(columns.len());
    for column in columns {
        if column.name.len() > NAME_BYTES {
            return Err(format!("a column whose name has more than {NAME_BYTES} bytes"));
        }
        if !seen.insert(column.name.as_str()) {
            return Err("two columns of one name".to_owned());
        }
    }
    Ok(())
}
