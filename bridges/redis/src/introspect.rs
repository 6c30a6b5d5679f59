//! What there is: prefixes and collections, and the columns of one of them by a sample of its rows.

use std::collections::{BTreeSet, HashMap};

use bridge_core::{BridgeError, Call, ColumnSchema, TargetSchema};
use protocol::{Filter, RawObject};

use crate::connect::{Lease, Pool};
use crate::error::while_running;
use crate::execute::{Run, count, is_collection, open};
use crate::values::{KEY, Record, Renderer, Shape, View};

/// Targets that are listed; a database with more of them names its keys in another way.
const MOST_TARGETS: usize = 10_000;
/// Bytes of their names.
const TARGET_BYTES: usize = 8 * 1024 * 1024;
/// Rows that are looked at.
const SAMPLE: u64 = 1_000;
/// Bytes of them.
const SAMPLE_BYTES: usize = 4 * 1024 * 1024;
/// Columns that are described.
const MOST_COLUMNS: usize = 2_000;

/// What stands before the first colon of a key, and keys without one that have elements; sorted. Names that are not UTF-8
/// cannot be asked for and are left out.
pub(crate) async fn list(pool: &Pool, call: &Call) -> Result<Vec<String>, BridgeError> {
    let mut targets: BTreeSet<String> = BTreeSet::new();
    let mut alone: BTreeSet<String> = BTreeSet::new();
    let mut bytes = 0;
    let mut run = Run::over_keys(Lease::take(pool, call).await?, b"*".to_vec());
    run.each(&mut |record| {
        let Some(key) = record.key_text() else { return Ok(()) };
        match key.split_once(':') {
            Some((prefix, _)) if prefix.is_empty() || targets.contains(prefix) => {}
            Some((prefix, _)) => {
                bytes += prefix.len();
                targets.insert(prefix.to_owned());
            }
            None => {
                bytes += key.len();
                alone.insert(key.to_owned());
            }
        }
        if targets.len() + alone.len() > MOST_TARGETS || bytes > TARGET_BYTES {
            Err(too_many())
        } else {
            Ok(())
        }
    })
    .await?;
    with_elements(run.into_lease(), alone, &mut targets).await?;
    Ok(targets.into_iter().collect())
}

fn too_many() -> BridgeError {
    BridgeError::query(format!(
        "the database has more than {MOST_TARGETS} prefixes of keys, or very long ones: name the target instead of listing them"
    ))
}

/// Adds those of the keys that are collections.
async fn with_elements(
    mut lease: Lease,
    alone: BTreeSet<String>,
    targets: &mut BTreeSet<String>,
) -> Result<(), BridgeError> {
    const SMALL: usize = 64 * 1024;
    for key in &alone {
        lease.connection()?.queue(&[b"TYPE", key.as_bytes()]);
    }
    for key in alone {
        let reply = lease.reply(SMALL).await?;
        // A key that may not be looked at is no target for this user.
        if is_collection(reply).map_err(while_running)? {
            targets.insert(key);
        }
    }
    Ok(())
}

/// The columns that a sample of the rows has, in the order in which they were met, and how many rows there are.
pub(crate) async fn describe(pool: &Pool, call: &Call, target: &str) -> Result<TargetSchema, BridgeError> {
    let opened = open(pool, call, target).await?;
    let (row_count, lease) = count(opened, target, &Filter::everything(), call).await?;
    if row_count == 0 {
        return Err(BridgeError::query(format!(
            "there is no key that begins with \"{target}:\", and none called \"{target}\" that has elements"
        )));
    }
    let opened = crate::execute::look_up(lease, target).await?;
    let mut sample = Sample::default();
    let mut run = Run::over(opened, target, &Filter::everything(), call);
    run.each_of(Some(SAMPLE), &mut |record| sample.take(record)).await?;
    Ok(TargetSchema { name: target.to_owned(), columns: sample.columns(), row_count })
}

/// What is known of the columns so far.
#[derive(Default)]
struct Sample {
    rows: u64,
    bytes: usize,
    columns: Vec<Column>,
    /// Where a column is.
    places: HashMap<String, usize>,
    renderer: Renderer,
    text: String,
}

struct Column {
    name: String,
    kinds: BTreeSet<&'static str>,
    /// Rows in which it is not null.
    rows: u64,
}

impl Sample {
    /// Returns whether more rows are wanted.
    fn take(&mut self, record: &Record<'_>) -> Result<bool, BridgeError> {
        self.text.clear();
        self.text.push('{');
        self.renderer.render(record, &Shape::All, View::Rows, &mut self.text);
        self.text.push('}');
        let row = RawObject::from_text(&self.text)
            .map_err(|error| BridgeError::Internal(format!("a row is not an object: {error}")))?;
        for (name, value) in row.iter() {
            let column = match self.places.get(name).copied() {
                None if self.columns.len() >= MOST_COLUMNS => continue,
                None => {
                    self.places.insert(name.to_owned(), self.columns.len());
                    self.columns.push(Column { name: name.to_owned(), kinds: BTreeSet::new(), rows: 0 });
                    self.columns.last_mut()
                }
                Some(index) => self.columns.get_mut(index),
            };
            if let Some((column, kind)) = column.zip(kind(value.get())) {
                column.kinds.insert(kind);
                column.rows += 1;
            }
        }
        self.rows += 1;
        self.bytes += self.text.len();
        Ok(self.rows < SAMPLE && self.bytes < SAMPLE_BYTES)
    }

    fn columns(self) -> Vec<ColumnSchema> {
        let rows = self.rows;
        let described = |column: Column| ColumnSchema {
            nullable: column.rows < rows,
            primary_key: column.name == KEY,
            kind: match column.kinds.len() {
                0 => "null".to_owned(),
                _ => column.kinds.into_iter().collect::<Vec<_>>().join(" | "),
            },
            name: column.name,
        };
        self.columns.into_iter().map(described).collect()
    }
}

/// The name of a JSON value's type; nothing for null.
fn kind(json: &str) -> Option<&'static str> {
    Some(match json.as_bytes().first()? {
        b'n' => return None,
        b't' | b'f' => "boolean",
        b'"' => "string",
        b'[' => "array",
        b'{' => "object",
        _ => "number",
    })
}
