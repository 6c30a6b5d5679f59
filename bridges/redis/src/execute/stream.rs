//! Rows as they are found, or along a window of keys.

use bridge_core::{BoxFuture, BridgeError, Call, RowBatch, RowWriter, Rows};
use protocol::{Filter, Tail};
use tokio::time::timeout;

use super::feed::Step;
use super::sink::{Selection, Test};
use super::window::{KeyWindow, Windows};
use super::{Opened, Run, Table, count};
use crate::translate::cursor_of;
use crate::values::{Key, Record, Renderer, Shape, View};

pub(crate) struct Stream {
    run: Option<Run>,
    sink: Sink,
    writer: RowWriter,
    call: Call,
    table: Table,
    target: String,
    filter: Filter,
    /// Where more keys come from when those that were listed are read.
    along: Option<Along>,
    count_total: bool,
    tail: Tail,
}

/// Keys that are taken out of a window at once.
const ALONG: usize = 4_096;

/// A walk along the keys in their order.
pub(crate) struct Along {
    pub(crate) windows: Windows,
    pub(crate) pattern: Vec<u8>,
    pub(crate) window: KeyWindow,
}

struct Sink {
    test: Test,
    renderer: Renderer,
    shape: Shape,
    skip: u64,
    /// Rows that may still be written.
    left: Option<u64>,
    paged: bool,
    filtered: bool,
    /// Whether there is a row after the last that may be written.
    more: bool,
    /// The key of the last row that was written, as a cursor.
    last: Option<String>,
    text: String,
}

impl Stream {
    pub(crate) fn new(run: Run, table: Table, target: &str, selection: Selection, call: &Call) -> Self {
        Self {
            run: Some(run),
            sink: Sink {
                test: Test::new(&selection.filter, selection.changed.as_ref()),
                renderer: Renderer::default(),
                shape: selection.shape,
                skip: selection.offset,
                left: selection.limit,
                // A page of no rows has no last row, so no other page comes after it.
                paged: selection.paged && selection.limit != Some(0),
                filtered: !selection.filter.is_everything() || selection.changed.is_some(),
                more: false,
                last: None,
                text: String::new(),
            },
            writer: RowWriter::new(call.row_limit),
            call: *call,
            table,
            target: target.to_owned(),
            filter: selection.filter,
            along: None,
            count_total: selection.total,
            tail: Tail::default(),
        }
    }

    /// The same, going on along the keys.
    pub(crate) fn along(self, along: Along) -> Self {
        Self { along: Some(along), ..self }
    }

    async fn next_batch(&mut self, room: usize) -> Result<Option<RowBatch>, BridgeError> {
        loop {
            if self.writer.len() >= room && !self.writer.is_empty() {
                return Ok(self.writer.take());
            }
            let Some(run) = self.run.as_mut() else { return Ok(self.writer.take()) };
            if self.sink.is_full() {
                // The total is counted over the same connection, however long this takes.
                if self.count_total {
                    run.drain().await?
                } else {
                    run.rest().await
                }
                self.finish().await?;
                continue;
            }
            let (sink, writer) = (&mut self.sink, &mut self.writer);
            match run.step(sink.needed(), &mut |record| sink.take(record, writer))? {
                Step::Rows => {}
                Step::Send => run.lease.flush().await?,
                Step::Receive if self.writer.is_empty() => run.lease.fill().await?,
                Step::Receive => match timeout(Call::LINGER, run.lease.fill()).await {
                    Ok(filled) => filled?,
                    Err(_) => return Ok(self.writer.take()),
                },
                Step::End => self.go_on().await?,
            }
        }
    }

    /// The keys that were listed are read: there may be more of them.
    async fn go_on(&mut self) -> Result<(), BridgeError> {
        let (Some(along), Some(run)) = (self.along.as_mut(), self.run.as_mut()) else {
            return self.finish().await;
        };
        let keys = along.window.take(ALONG);
        if !keys.is_empty() {
            run.add(&keys);
            return Ok(());
        }
        if along.window.complete { self.finish().await } else { self.next_window().await }
    }

    async fn next_window(&mut self) -> Result<(), BridgeError> {
        let (Some(along), Some(run)) = (self.along.as_mut(), self.run.take()) else { return Ok(()) };
        let after = along.window.last().map(<[u8]>::to_vec);
        let (window, lease) =
            along.windows.fill(run.into_lease(), &self.target, &along.pattern, after.as_deref()).await?;
        along.window = window;
        self.run = Some(Run::over_listed(lease, &self.call));
        Ok(())
    }

    /// Gives the connection back, after the last question that it may be needed for.
    async fn finish(&mut self) -> Result<(), BridgeError> {
        let Some(run) = self.run.take() else { return Ok(()) };
        if self.count_total {
            let opened = Opened { lease: run.into_lease(), table: self.table };
            let (total, _lease) = count(opened, &self.target, &self.filter, &self.call).await?;
            self.tail.total = Some(total);
        }
        self.tail.next_cursor = self.sink.last.take().filter(|_| self.sink.more);
        Ok(())
    }
}

impl Rows for Stream {
    fn next(&mut self, room: usize) -> BoxFuture<'_, Result<Option<RowBatch>, BridgeError>> {
        Box::pin(self.next_batch(room))
    }

    fn tail(&self) -> Tail {
        self.tail.clone()
    }
}

impl Sink {
    /// Whether no further row can change the answer.
    fn is_full(&self) -> bool {
        self.left == Some(0) && (!self.paged || self.more)
    }

    /// How many rows the feed is still asked for; nobody knows how many a filter lets pass.
    fn needed(&self) -> Option<u64> {
        let left = self.left.filter(|_| !self.filtered)?;
        Some(left.saturating_add(self.skip).saturating_add(u64::from(self.paged)))
    }

    fn take(&mut self, record: &Record<'_>, writer: &mut RowWriter) -> Result<(), BridgeError> {
        if self.is_full() || !self.test.admits(record)? {
            return Ok(());
        }
        if self.skip > 0 {
            self.skip -= 1;
            return Ok(());
        }
        if self.left == Some(0) {
            self.more = true;
            return Ok(());
        }
        self.left = self.left.map(|left| left - 1);
        self.text.clear();
        self.renderer.render(record, &self.shape, View::Rows, &mut self.text);
        writer.begin_row();
        writer.json(&self.text);
        writer.end_row()?;
        if self.paged && self.left == Some(0) {
            self.last = Some(match record.key {
                Key::Bytes(key) => cursor_of(key),
                Key::Index(index) => index.to_string(),
            });
        }
        Ok(())
    }
}
