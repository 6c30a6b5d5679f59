//! A [`Bridge`] as the component that the runner sees.

use std::cell::RefCell;
use std::marker::PhantomData;

use serde_json::value::RawValue;

use crate::bindings::exports::semilayer::bridge::bridge as exported;
use crate::bindings::semilayer::bridge::types as wit;
use crate::cursor::{Cursor, Room};
use crate::options::{
    AggregateOptions, CountOptions, Filter, QueryOptions, ReadOptions, SearchOptions, SimilarOptions,
};
use crate::{Bridge, Error, Mistake, Provides, Rows, settings};

/// What [`export!`](crate::export) exports.
#[derive(Debug)]
pub struct Component<B>(PhantomData<B>);

/// A connection in the runner's hands.
#[derive(Debug)]
pub struct Connection<B>(RefCell<B>);

/// Rows in the runner's hands.
#[derive(Debug)]
pub struct OpenRows(RefCell<Rows>);

impl<B: Bridge> exported::Guest for Component<B> {
    type Connection = Connection<B>;
    type Cursor = OpenRows;

    fn describe() -> wit::Description {
        B::describe().providing(B::PROVIDES)
    }

    fn check_config(config: String) -> Vec<wit::Mistake> {
        let mistakes = match settings::parse::<B::Config>(&config) {
            Ok(config) => B::check(&config),
            Err(mistake) => vec![mistake],
        };
        mistakes.into_iter().map(Into::into).collect()
    }

    fn connect(config: String) -> Result<exported::Connection, wit::Error> {
        let bridge = open::<B>(&config)?;
        Ok(exported::Connection::new(Connection(RefCell::new(bridge))))
    }
}

fn open<B: Bridge>(config: &str) -> Result<B, Error> {
    let config = settings::parse::<B::Config>(config).map_err(refuse)?;
    match B::check(&config).into_iter().next() {
        Some(mistake) => Err(refuse(mistake)),
        None => B::connect(config),
    }
}

fn refuse(mistake: Mistake) -> Error {
    Error::invalid_config(&mistake.field, &mistake.expected)
}

impl<B: Bridge> Connection<B> {
    /// The runner calls an instance from one job at a time, so that nobody else has it.
    fn with<T>(&self, work: impl FnOnce(&mut B) -> Result<T, Error>) -> Result<T, wit::Error> {
        match self.0.try_borrow_mut() {
            Ok(mut bridge) => Ok(work(&mut bridge)?),
            Err(_) => Err(Error::internal("the connection is in use").into()),
        }
    }

    /// Rows of a job kind that may not be the plugin's own. Where it is not, the parser of its options is not even linked.
    fn rows<O>(
        &self,
        kind: Provides,
        options: &str,
        parse: impl FnOnce(&RawValue) -> Result<O, protocol::RequestError>,
        work: impl FnOnce(&mut B, O) -> Result<Rows, Error>,
    ) -> Result<exported::Cursor, wit::Error> {
        if !B::PROVIDES.contains(kind) {
            return Err(Error::unsupported_kind(name_of(kind)).into());
        }
        self.with(|bridge| work(bridge, parse(raw(options)?)?)).map(hand_out)
    }
}

impl<B: Bridge> exported::GuestConnection for Connection<B> {
    fn test(&self) -> Result<(), wit::Error> {
        self.with(B::test)
    }

    fn list_targets(&self) -> Result<Vec<String>, wit::Error> {
        let mut targets = self.with(B::targets)?;
        targets.sort_unstable();
        Ok(targets)
    }

    fn introspect_target(&self, target: String) -> Result<wit::Schema, wit::Error> {
        self.with(|bridge| bridge.schema(&target)).map(Into::into)
    }

    fn read(&self, target: String, options: String) -> Result<exported::Cursor, wit::Error> {
        self.with(|bridge| bridge.read(&target, ReadOptions::parse(raw(&options)?)?)).map(hand_out)
    }

    fn query(&self, target: String, options: String) -> Result<exported::Cursor, wit::Error> {
        self.rows(Provides::QUERY, &options, QueryOptions::parse, |bridge, options| {
            bridge.query(&target, options)
        })
    }

    fn count(&self, target: String, filter: Option<String>) -> Result<wit::Counted, wit::Error> {
        if !B::PROVIDES.contains(Provides::COUNT) {
            return Err(Error::unsupported_kind("count").into());
        }
        let counted = self.with(|bridge| {
            let filter = filter.as_deref().map(Filter::from_json).transpose()?;
            bridge.count(&target, CountOptions { filter: filter.unwrap_or_default() })
        })?;
        Ok(wit::Counted { total: counted.total, approximate: counted.approximate })
    }

    fn aggregate(&self, target: String, options: String) -> Result<exported::Cursor, wit::Error> {
        self.rows(Provides::AGGREGATE, &options, AggregateOptions::parse, |bridge, options| {
            bridge.aggregate(&target, options)
        })
    }

    fn search(&self, target: String, options: String) -> Result<exported::Cursor, wit::Error> {
        self.rows(Provides::SEARCH, &options, SearchOptions::parse, |bridge, options| {
            bridge.search(&target, options)
        })
    }

    fn similar(&self, target: String, options: String) -> Result<exported::Cursor, wit::Error> {
        self.rows(Provides::SIMILAR, &options, SimilarOptions::parse, |bridge, options| {
            bridge.similar(&target, options)
        })
    }
}

impl exported::GuestCursor for OpenRows {
    fn columns(&self) -> Vec<wit::ColumnInfo> {
        self.0
            .try_borrow()
            .map(|rows| rows.columns().iter().map(crate::Column::info).collect())
            .unwrap_or_default()
    }

    fn next_batch(&self, max_rows: u32, max_bytes: u32) -> Result<Option<wit::Batch>, wit::Error> {
        let room = Room { rows: max_rows, bytes: usize::try_from(max_bytes).unwrap_or(usize::MAX) };
        match self.0.try_borrow_mut() {
            Ok(mut rows) => Ok(rows.next_batch(room)?.map(|batch| batch.0)),
            Err(_) => Err(Error::internal("the cursor is in use").into()),
        }
    }

    fn tail(&self) -> wit::Tail {
        self.0.try_borrow_mut().map(|mut rows| rows.tail()).unwrap_or_default().into()
    }
}

fn hand_out(rows: Rows) -> exported::Cursor {
    exported::Cursor::new(OpenRows(RefCell::new(rows)))
}

fn raw(options: &str) -> Result<&RawValue, Error> {
    serde_json::from_str(options).map_err(|_| Error::invalid_request("options", "a JSON object"))
}

fn name_of(kind: Provides) -> &'static str {
    let names = [
        (Provides::QUERY, "query"),
        (Provides::COUNT, "count"),
        (Provides::AGGREGATE, "aggregate"),
        (Provides::SEARCH, "search"),
        (Provides::SIMILAR, "similar"),
    ];
    names.into_iter().find(|(flag, _)| *flag == kind).map_or("this", |(_, name)| name)
}
