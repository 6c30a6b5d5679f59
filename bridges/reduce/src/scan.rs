//! Answers every kind of job from rows that somebody reads: for sources that can do no more than read.
//!
//! A [`Reader`] gives pages of whole rows; a [`Scan`] filters, orders, pages, counts, aggregates and ranks them with the
//! meaning that the SQL bridges give these words. Rows stream where they can. What must be collected is collected within a
//! limit of memory, and refused above it. Only the columns that a job looks at are asked for, and each row is read once.
//!
//! Rows without an order come as the reader gives them; with one, nulls are the largest values and rows that are equal in
//! it stay as they came. Pages by key need no unique columns: a cursor also says how many equal rows lie behind it.

mod best;
mod columns;
mod feed;
mod ranked;
mod selection;
mod sight;
mod sorted;
mod stream;

use bridge_core::{BoxFuture, BridgeError, Call, Counted, RowStream, TargetSchema, answer_rows};
use protocol::{
    AggregateOptions, BatchReadOptions, CountOptions, Projection, QueryOptions, ReadOptions, SearchOptions,
    Tail,
};

use crate::aggregate::{Limits, Reducer};
use crate::layout::{Layout, Schema};
use crate::matcher::Matcher;
pub use best::{Best, Kept};
use columns::Declared;
use feed::{Feed, Request};
use selection::Selection;
use stream::Stream;

/// Bytes of a batch that is looked at here.
const ROOM: usize = protocol::CHUNK_BYTES;

/// Somebody who reads rows and can do nothing else with them.
pub trait Reader: Send {
    /// One page of a target's rows in an order that is the same each time, as [`Bridge::read`] has it: at most
    /// `options.limit` rows, and a cursor in the tail when there are more. Rows may have more columns than were asked for.
    /// No other page is open meanwhile.
    ///
    /// [`Bridge::read`]: bridge_core::Bridge::read
    fn read<'a>(
        &'a mut self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Page, BridgeError>>;

    /// What is known of a target without reading it. Asked once for each target of a job, while no page is open.
    fn describe<'a>(
        &'a mut self,
        _call: &'a Call,
        _target: &'a str,
    ) -> BoxFuture<'a, Result<Known, BridgeError>> {
        Box::pin(std::future::ready(Ok(Known::default())))
    }

    /// The failure of a reader that breaks its promises: rows that are no objects, pages that do not go on.
    fn broken(&self, reason: String) -> BridgeError {
        BridgeError::Internal(reason)
    }
}

impl<R: Reader + ?Sized> Reader for &mut R {
    fn read<'a>(
        &'a mut self,
        call: &'a Call,
        target: &'a str,
        options: ReadOptions,
    ) -> BoxFuture<'a, Result<Page, BridgeError>> {
        (**self).read(call, target, options)
    }

    fn describe<'a>(
        &'a mut self,
        call: &'a Call,
        target: &'a str,
    ) -> BoxFuture<'a, Result<Known, BridgeError>> {
        (**self).describe(call, target)
    }

    fn broken(&self, reason: String) -> BridgeError {
        (**self).broken(reason)
    }
}

/// A page of rows on their way.
pub struct Page {
    /// The rows.
    pub rows: RowStream,
    /// What their texts are. Columns that are not in it are guessed by each value, and then text does not compare with
    /// numbers: decimals and integers beyond 2^53, which are text in rows, want a kind.
    pub schema: Schema,
}

/// What is known of a target.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// The columns of the primary key. Without them there are no `ids` in aggregates, and pages by key go in the order in
    /// which rows are read.
    pub key: Vec<String>,
    /// All columns, where somebody declares them: other names are refused. Without them a column that a row lacks is null.
    pub columns: Option<Vec<String>>,
    /// Whether rows are read in the ascending order of the key, so that a page of them needs no more rows than it has.
    /// Only believed of keys that have one order everywhere: not of text, which databases collate in their own ways.
    pub in_key_order: bool,
}

impl From<&TargetSchema> for Known {
    fn from(schema: &TargetSchema) -> Self {
        let names = |key_only: bool| {
            let columns = schema.columns.iter().filter(move |column| column.primary_key || !key_only);
            columns.map(|column| column.name.clone()).collect()
        };
        Self { key: names(true), columns: Some(names(false)), in_key_order: false }
    }
}

impl Known {
    /// The same in a schema, for `ids`.
    fn keyed(&self, schema: Schema) -> Schema {
        match self.key.as_slice() {
            [key] => schema.with_key(key),
            _ => schema,
        }
    }
}

/// One job over what a reader reads.
pub struct Scan<R> {
    reader: R,
    call: Call,
    limits: Limits,
}

impl<R: Reader> Scan<R> {
    /// A job within the call's deadline and row limit, that collects no more than 256 MiB.
    pub fn new(reader: R, call: &Call) -> Self {
        Self { reader, call: *call, limits: Limits { row: call.row_limit, ..Limits::default() } }
    }

    /// The same with another limit for what is collected, in bytes, about.
    #[must_use]
    pub fn with_memory(mut self, bytes: usize) -> Self {
        self.limits.memory = bytes;
        self
    }

    /// Rows by filter, order, limit and offset, or by key.
    ///
    /// # Errors
    /// Those of the reader; a column that is not declared, and a cursor of another order, by name; more rows to put in
    /// order than the memory holds.
    pub async fn query(mut self, target: &str, options: QueryOptions) -> Result<RowStream, BridgeError>
    where
        R: 'static,
    {
        let known = self.reader.describe(&self.call, target).await?;
        Declared::new(&known, target).check_query(&options)?;
        let selection = Selection::new(options, &known)?;
        if selection.asks_for_nothing() {
            return Ok(answer_rows(Vec::new(), Tail::default()));
        }
        let fields = columns::of_selection(&known, &selection);
        let request = Request { target: target.to_owned(), fields, most: selection.rows_to_read() };
        if selection.order_by.is_empty() {
            let (feed, schema) = Feed::open(self.reader, self.call, request).await?;
            Ok(Box::new(Stream::new(feed, schema, selection, self.limits.row)))
        } else {
            let (feed, schema) = Feed::open(&mut self.reader, self.call, request).await?;
            sorted::answer(feed, schema, selection, self.limits).await
        }
    }

    /// Rows by keys.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub async fn batch_read(self, target: &str, options: BatchReadOptions) -> Result<RowStream, BridgeError>
    where
        R: 'static,
    {
        self.query(target, options.into()).await
    }

    /// How many rows match, exactly. A reader that says how many rows a target has is not asked for all of them.
    ///
    /// # Errors
    /// Those of the reader; a column that is not declared, by name.
    pub async fn count(mut self, target: &str, options: CountOptions) -> Result<Counted, BridgeError> {
        let known = self.reader.describe(&self.call, target).await?;
        Declared::new(&known, target).check_filter("where", &options.filter)?;
        let fields = columns::fields(&known, options.filter.condition().fields());
        if options.filter.is_everything()
            && let Some(total) = self.told_total(target, &fields).await?
        {
            return Ok(Counted { total, approximate: false });
        }
        let (mut feed, schema) = self.open(target, fields).await?;
        let mut total = 0;
        if options.filter.is_everything() {
            while let Some(batch) = feed.next(ROOM).await? {
                total += batch.count;
            }
        } else {
            let mut layout = Layout::new(schema);
            let matcher = Matcher::new(&options.filter, &mut layout);
            let count = |row: &str| {
                total += u64::from(matcher.matches(&layout.read(row)?));
                Ok(())
            };
            feed.each(count).await?;
        }
        Ok(Counted { total, approximate: false })
    }

    /// Buckets. The targets of joins are read first, each as a whole.
    ///
    /// # Errors
    /// Those of the reader and of [`Reducer`]; a column that is not declared, by name.
    pub async fn aggregate(
        mut self,
        target: &str,
        options: AggregateOptions,
    ) -> Result<RowStream, BridgeError> {
        let known = self.reader.describe(&self.call, target).await?;
        Declared::new(&known, target).check_aggregate(&options)?;
        // What cannot be done at all is refused before anything is read.
        let mut reducer = Reducer::new(options.clone(), known.keyed(Schema::unknown()), self.limits)?;
        for (index, join) in options.joins.iter().enumerate() {
            let known = self.reader.describe(&self.call, &join.target).await?;
            Declared::new(&known, &join.target).check_join(&options, index)?;
            let (mut feed, schema) =
                self.open(&join.target, columns::of_join(&known, &options, join)).await?;
            reducer.describe_join(&join.alias, schema);
            feed.each(|row| reducer.push_join(&join.alias, row)).await?;
        }
        let (mut feed, schema) = self.open(target, columns::of_aggregate(&known, &options)).await?;
        let mut reducer = reducer.with_schema(known.keyed(schema))?;
        feed.each(|row| reducer.push(row)).await?;
        Ok(answer_rows(reducer.finish()?, Tail::default()))
    }

    /// Rows ranked by the words of a text that they contain, best first; equals in the order of the primary key.
    ///
    /// # Errors
    /// Those of the reader; a column that is not declared or holds no text, by name; more rows than the memory holds.
    pub async fn search(mut self, target: &str, options: SearchOptions) -> Result<RowStream, BridgeError> {
        let known = self.reader.describe(&self.call, target).await?;
        Declared::new(&known, target).check_search(&options)?;
        if options.limit == 0 {
            return Ok(answer_rows(Vec::new(), ranked::tail()));
        }
        let limits = self.limits;
        let (feed, schema) = self.open(target, columns::of_search(&known, &options)).await?;
        ranked::answer(feed, schema, &known, &options, limits).await
    }

    /// The number of rows that the reader itself gives with its smallest page.
    async fn told_total(&mut self, target: &str, fields: &Projection) -> Result<Option<u64>, BridgeError> {
        let projection = fields.clone();
        let options = ReadOptions { limit: 1, projection, total: true, ..ReadOptions::default() };
        let Page { mut rows, .. } = self.reader.read(&self.call, target, options).await?;
        while rows.next(ROOM).await?.is_some() {}
        let Tail { total, approximate, .. } = rows.tail();
        Ok(total.filter(|_| !approximate))
    }

    /// Everything in a target.
    async fn open(
        &mut self,
        target: &str,
        fields: Projection,
    ) -> Result<(Feed<&mut R>, Schema), BridgeError> {
        let request = Request { target: target.to_owned(), fields, most: None };
        Feed::open(&mut self.reader, self.call, request).await
    }
}

#[cfg(test)]
mod tests;
