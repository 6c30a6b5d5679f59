//! Targets and schemas as rows.

use bridge_core::{RowBatch, RowStream, TargetSchema, answer_rows};
use protocol::{CHUNK_BYTES, Tail, TargetName};
use serde::Serialize;

use crate::error::Failure;

/// One row `{"name": …}` a target, in batches that fit into chunks.
pub(super) fn as_rows(names: Vec<String>) -> Result<RowStream, Failure> {
    let mut batches = vec![RowBatch::default()];
    for name in names {
        let row = json(&TargetName { name })?;
        match batches.last_mut() {
            Some(batch) if batch.count == 0 || batch.rows.len() + row.len() < CHUNK_BYTES => {
                push(batch, &row);
            }
            _ => batches.push(RowBatch { rows: row, count: 1 }),
        }
    }
    batches.retain(|batch| batch.count > 0);
    Ok(answer_rows(batches, Tail::default()))
}

/// One row that is the schema.
pub(super) fn schema_row(schema: &TargetSchema) -> Result<RowStream, Failure> {
    let batch = RowBatch { rows: json(schema)?, count: 1 };
    Ok(answer_rows(vec![batch], Tail::default()))
}

fn push(batch: &mut RowBatch, row: &str) {
    if batch.count > 0 {
        batch.rows.push(',');
    }
    batch.rows.push_str(row);
    batch.count += 1;
}

fn json(value: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(value).map_err(Failure::Unwritable)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ten_thousand_targets_come_in_chunks() {
        let names = (0..10_000).map(|index| format!("table \"{index}\" {}", "x".repeat(50))).collect();
        let mut rows = as_rows(names).unwrap();
        let (mut batches, mut count) = (0, 0);
        while let Some(batch) = rows.next(CHUNK_BYTES).await.unwrap() {
            assert!(batch.rows.len() <= CHUNK_BYTES);
            let parsed: Vec<TargetName> = serde_json::from_str(&format!("[{}]", batch.rows)).unwrap();
            assert_eq!(parsed.len() as u64, batch.count);
            batches += 1;
            count += batch.count;
        }
        assert_eq!(count, 10_000);
        assert!(batches > 1);
    }
}
