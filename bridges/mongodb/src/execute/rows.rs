//! Documents as rows, buckets as buckets.

use bridge_core::{BoxFuture, BridgeError, Call, Columns, Position, RowBatch, RowWriter, Rows, js_number};
use mongodb::bson::{Document, RawBsonRef, RawDocument, RawDocumentBuf};
use mongodb::raw_batch_cursor::RawBatch;
use protocol::{SearchMethod, Tail};
use tokio::time::timeout;

use super::{Batches, Documents, count};
use crate::connect::Pool;
use crate::translate::{BucketPlan, Decode, Find, Key, Outputs, Part};
use crate::values::{self, Numbers};

/// What becomes of each document.
pub(crate) enum Shape {
    /// A row.
    Row(RowShape),
    /// A bucket.
    Bucket(BucketPlan),
}

pub(crate) struct RowShape {
    outputs: Outputs,
    columns: Columns,
    page: Option<u64>,
    key: Key,
}

impl Shape {
    /// The rows of a find.
    pub(crate) fn of(find: &Find) -> Self {
        let names = find.outputs.iter().flatten().map(|(name, _)| name.as_str());
        Self::Row(RowShape {
            columns: Columns::new(names),
            outputs: find.outputs.clone(),
            page: find.page,
            key: find.key.clone(),
        })
    }
}

/// Counts what matches once the last row has been read.
pub(crate) struct Total {
    pub(crate) collection: String,
    pub(crate) filter: Document,
}

/// A row stream.
pub(crate) struct MongoRows {
    batches: Option<Batches>,
    /// The batch that is being written, and how far it is.
    batch: Option<(RawBatch, usize)>,
    sink: Sink,
    pool: Pool,
    call: Call,
    total: Option<Total>,
}

impl MongoRows {
    pub(crate) fn new(
        pool: &Pool,
        call: &Call,
        batches: Batches,
        shape: Shape,
        total: Option<Total>,
    ) -> Self {
        let sink = Sink {
            shape,
            writer: RowWriter::new(call.row_limit),
            written: 0,
            position: None,
            tail: Tail::default(),
        };
        Self { batches: Some(batches), batch: None, sink, pool: pool.clone(), call: *call, total }
    }

    /// The same rows, found by a search.
    pub(crate) fn found_by(mut self, method: SearchMethod) -> Self {
        self.sink.tail.method = Some(method);
        self
    }

    async fn fill(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        loop {
            if let Some((batch, place)) = self.batch.take() {
                let mut documents = Documents::of(&batch, place)?;
                while let Some(document) = documents.next()? {
                    self.sink.take(document)?;
                    if self.sink.writer.len() >= room {
                        let place = documents.place();
                        self.batch = Some((batch, place));
                        return Ok(self.sink.writer.take());
                    }
                }
            }
            let Some(batches) = &mut self.batches else { return Ok(self.sink.writer.take()) };
            let next = if self.sink.writer.is_empty() {
                batches.next().await
            } else {
                // What waits for more rows leaves without them.
                match timeout(Call::LINGER, batches.next()).await {
                    Ok(next) => next,
                    Err(_) => return Ok(self.sink.writer.take()),
                }
            };
            match next? {
                Some(batch) => self.batch = Some((batch, 0)),
                None => self.end().await?,
            }
        }
    }

    /// Ends what may still run, so that nothing follows an error.
    fn give_up(&mut self) {
        self.batches = None;
        self.batch = None;
        self.total = None;
        self.sink.writer = RowWriter::new(self.call.row_limit);
    }

    /// Counts, if that was asked.
    async fn end(&mut self) -> Result<(), BridgeError> {
        self.batches = None;
        if let Some(Total { collection, filter }) = self.total.take() {
            self.sink.tail.total = Some(count(&self.pool, &self.call, &collection, filter).await?);
        }
        Ok(())
    }
}

impl Rows for MongoRows {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Box::pin(async move {
            let filled = self.fill(room).await;
            if filled.is_err() {
                self.give_up();
            }
            filled
        })
    }

    fn tail(&self) -> Tail {
        self.sink.tail.clone()
    }
}

/// Buckets that are already there.
pub(crate) fn buckets(
    plan: &BucketPlan,
    documents: &[RawDocumentBuf],
    call: &Call,
) -> Result<Vec<RowBatch>, BridgeError> {
    let mut writer = RowWriter::new(call.row_limit);
    documents.iter().try_for_each(|document| bucket(&mut writer, plan, document))?;
    Ok(writer.take().into_iter().collect())
}

/// Where documents go.
struct Sink {
    shape: Shape,
    writer: RowWriter,
    written: u64,
    position: Option<Position>,
    tail: Tail,
}

impl Sink {
    #[inline]
    fn take(&mut self, document: &RawDocument) -> Result<(), BridgeError> {
        let Self { shape, writer, written, position, tail } = self;
        match shape {
            Shape::Row(shape) if shape.page.is_some_and(|page| *written >= page) => {
                // The row behind the page: it is there, so there is another page.
                tail.next_cursor = position.take().map(|position| position.encode());
                return Ok(());
            }
            Shape::Row(shape) => {
                shape.write(writer, document)?;
                *written += 1;
                if let Some(page) = shape.page {
                    shape.key.check(document)?;
                    if page == *written {
                        *position = Some(shape.key.position(document)?);
                    }
                }
            }
            Shape::Bucket(plan) => bucket(writer, plan, document)?,
        }
        Ok(())
    }
}

impl RowShape {
    fn write(&self, writer: &mut RowWriter, document: &RawDocument) -> Result<(), BridgeError> {
        writer.begin_row();
        match &self.outputs {
            None => values::write_fields(writer, document)?,
            Some(outputs) => {
                for (index, (_, path)) in outputs.iter().enumerate() {
                    writer.key(&self.columns, index);
                    values::write_path(writer, document, path, Numbers::Rows)?;
                }
            }
        }
        writer.end_row()
    }
}

fn bucket(writer: &mut RowWriter, plan: &BucketPlan, document: &RawDocument) -> Result<(), BridgeError> {
    writer.begin_row();
    for (part, key) in [(Part::Dimension, "dims"), (Part::Measure, "measures")] {
        writer.object_key(key);
        writer.begin_object();
        for (_, path, name, decode) in plan.parts.iter().filter(|(its, ..)| *its == part) {
            writer.object_key(name);
            write_decoded(writer, decode, values::find(document, path)?)?;
        }
        writer.end_object();
    }
    writer.object_key("count");
    write_decoded(writer, &Decode::Number, values::find(document, "n")?)?;
    writer.end_row()
}

fn write_decoded(
    writer: &mut RowWriter,
    decode: &Decode,
    value: Option<RawBsonRef<'_>>,
) -> Result<(), BridgeError> {
    let Some(value) = value else {
        writer.null();
        return Ok(());
    };
    let label = match decode {
        Decode::Value => return values::write(writer, value, Numbers::Rows),
        Decode::Number => return values::write(writer, value, Numbers::Measures),
        Decode::Calendar(_) => match value {
            RawBsonRef::DateTime(at) => decode.label(at.timestamp_millis()),
            _ => None,
        },
        Decode::Step(_) | Decode::Breaks(_) => {
            let index = double(value);
            index.map(|index| decode.interval(index).unwrap_or_else(|| js_number(index)))
        }
    };
    match label {
        Some(label) => writer.text(&label),
        None => writer.null(),
    }
    Ok(())
}

fn double(value: RawBsonRef<'_>) -> Option<f64> {
    match value {
        RawBsonRef::Int32(value) => Some(f64::from(value)),
        RawBsonRef::Int64(value) => value.to_string().parse().ok(),
        RawBsonRef::Double(value) => Some(value),
        RawBsonRef::Decimal128(value) => value.to_string().parse().ok(),
        _ => None,
    }
}
