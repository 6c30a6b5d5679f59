//! Runs what was asked for: rows as they are found, rows in an order, and everything that only looks at rows.
//!
//! [`feed`] says where rows come from, [`sink`] which of them are wanted and how they are written. [`Run`] is the two
//! with a connection. Rows as they are found stream ([`stream`]); rows in an order are collected within a limit of memory
//! ([`mod@sorted`]); rows in the order of their keys are read along a window of keys ([`window`]).

mod feed;
mod keys;
mod sink;
mod sorted;
mod stream;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod told;
mod window;

use std::time::Duration;

use bridge_core::{BridgeError, Call};
use protocol::Filter;
use tokio::time::timeout;

use crate::connect::{Lease, Pool};
use crate::error::{is_stale_connection, while_running};
use crate::translate::{KeyRange, check_target, glob, keys};
use crate::values::Record;
use crate::wire::{Reply, WireError};

use self::feed::{Collection, Elements, Feed, Members, Step, Visit};
use self::keys::Keys;
pub(crate) use self::sink::{Changed, Selection, Test, values_text};
pub(crate) use self::sorted::sorted;
pub(crate) use self::stream::{Along, Stream};
pub(crate) use self::window::{KeyWindow, Windows};

/// How long a connection may take to come to rest when nobody wants its last answers, before it is closed instead.
const REST_LIMIT: Duration = Duration::from_millis(100);

/// What a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Table {
    /// The keys under it.
    Members,
    /// The elements of the key of that name.
    Elements(Collection),
}

/// A target that was looked up, and the connection over which that was done.
pub(crate) struct Opened {
    pub(crate) lease: Lease,
    pub(crate) table: Table,
}

/// Looks a target up. The connection may have been closed by the server since it was last used; that is tried once more.
pub(crate) async fn open(pool: &Pool, call: &Call, target: &str) -> Result<Opened, BridgeError> {
    check_target(target)?;
    loop {
        let mut lease = Lease::take(pool, call).await?;
        match lease.try_ask(&[b"TYPE", target.as_bytes()]).await? {
            Ok(reply) => return Ok(Opened { table: table(reply)?, lease }),
            Err(error) if lease.is_reused() && is_stale_connection(&error) => {}
            Err(error) => return Err(while_running(error)),
        }
    }
}

/// Looks another target up over the same connection.
pub(crate) async fn look_up(mut lease: Lease, target: &str) -> Result<Opened, BridgeError> {
    check_target(target)?;
    let reply = lease.ask(&[b"TYPE", target.as_bytes()]).await?;
    Ok(Opened { table: table(reply)?, lease })
}

/// A user who may not look at the key may still read those under it.
fn table(reply: Reply) -> Result<Table, BridgeError> {
    match reply.checked() {
        Ok(reply) => Ok(Collection::of(reply.text()).map_or(Table::Members, Table::Elements)),
        Err(WireError::Server(error)) if error.is("NOPERM") => Ok(Table::Members),
        Err(error) => Err(while_running(error)),
    }
}

/// Whether the answer to `TYPE` is that of a key that has elements. One that may not be looked at has none to see.
pub(crate) fn is_collection(reply: Reply) -> Result<bool, WireError> {
    match reply.checked() {
        Ok(reply) => Ok(Collection::of(reply.text()).is_some()),
        Err(WireError::Server(error)) if error.is("NOPERM") => Ok(false),
        Err(error) => Err(error),
    }
}

/// Rows on their way over a connection.
pub(crate) struct Run {
    lease: Lease,
    feed: Feed,
}

impl Run {
    /// Everything in a target that a filter can match.
    pub(crate) fn over(opened: Opened, target: &str, filter: &Filter, call: &Call) -> Self {
        let members = |members| Feed::Members(Box::new(members));
        let feed = match opened.table {
            Table::Elements(collection) => {
                Feed::Elements(Box::new(Elements::new(target.as_bytes(), collection, call.row_limit)))
            }
            Table::Members => members(match keys(target, filter) {
                KeyRange::Matching(pattern) => Members::matching(pattern, call.row_limit),
                KeyRange::Listed(keys) => {
                    Members::listed(keys.iter().map(Vec::as_slice).collect(), call.row_limit)
                }
            }),
        };
        Self { lease: opened.lease, feed }
    }

    /// The same where only keys are looked at: values are not fetched, unless keys were named that need not be there.
    pub(crate) fn over_keys_of(opened: Opened, target: &str, filter: &Filter, call: &Call) -> Self {
        match (opened.table, keys(target, filter)) {
            (Table::Members, KeyRange::Matching(pattern)) => Self::over_keys(opened.lease, pattern),
            (Table::Members, KeyRange::Listed(_)) | (Table::Elements(_), _) => {
                Self::over(opened, target, filter, call)
            }
        }
    }

    /// The keys that match a pattern, without their values.
    pub(crate) fn over_keys(lease: Lease, pattern: Vec<u8>) -> Self {
        let members = Members::matching(pattern, usize::MAX).keys_only();
        Self { lease, feed: Feed::Members(Box::new(members)) }
    }

    /// Keys that are added later, in their order.
    pub(crate) fn over_listed(lease: Lease, call: &Call) -> Self {
        Self { lease, feed: Feed::Members(Box::new(Members::listed(Keys::default(), call.row_limit))) }
    }

    /// The elements of a list or a stream after one of them; nothing where there can be no such element.
    pub(crate) fn after(
        opened: Opened,
        target: &str,
        collection: Collection,
        cursor: &str,
        call: &Call,
    ) -> Option<Self> {
        let elements = Elements::new(target.as_bytes(), collection, call.row_limit).after(cursor)?;
        Some(Self { lease: opened.lease, feed: Feed::Elements(Box::new(elements)) })
    }

    /// More keys after those that were listed.
    pub(crate) fn add(&mut self, keys: &Keys) {
        if let Feed::Members(members) = &mut self.feed {
            members.add(keys);
        }
    }

    fn step(&mut self, needed: Option<u64>, visit: &mut Visit<'_>) -> Result<Step, BridgeError> {
        self.feed.step(self.lease.connection()?, needed, visit)
    }

    /// Visits every row that is left.
    pub(crate) async fn each(&mut self, visit: &mut Visit<'_>) -> Result<(), BridgeError> {
        self.each_of(None, &mut |record| visit(record).map(|()| true)).await
    }

    /// Visits rows until `visit` says that it is enough.
    pub(crate) async fn each_of(
        &mut self,
        needed: Option<u64>,
        visit: &mut (dyn FnMut(&Record<'_>) -> Result<bool, BridgeError> + Send),
    ) -> Result<(), BridgeError> {
        let mut more = true;
        while more {
            let step = self.step(needed, &mut |record| {
                more = more && visit(record)?;
                Ok(())
            })?;
            match step {
                Step::Rows => {}
                Step::Send => self.lease.flush().await?,
                Step::Receive => self.lease.fill().await?,
                Step::End => return Ok(()),
            }
        }
        self.rest().await;
        Ok(())
    }

    /// Comes to rest, so that the connection can be lent again. A server that is slow at it loses the connection, which is
    /// not to be used any more then.
    async fn rest(&mut self) {
        let _given_up = timeout(REST_LIMIT, self.drain()).await;
    }

    /// Takes what was asked for and is not wanted any more.
    async fn drain(&mut self) -> Result<(), BridgeError> {
        loop {
            match self.step(Some(0), &mut |_| Ok(()))? {
                Step::Rows => {}
                Step::Send => self.lease.flush().await?,
                Step::Receive => self.lease.fill().await?,
                Step::End => return Ok(()),
            }
        }
    }

    /// Ends the run and keeps the connection.
    pub(crate) fn into_lease(self) -> Lease {
        self.lease
    }
}

/// How many rows of a target match. Gives the connection back, too.
pub(crate) async fn count(
    opened: Opened,
    target: &str,
    filter: &Filter,
    call: &Call,
) -> Result<(u64, Lease), BridgeError> {
    let mut total: u64 = 0;
    if !filter.is_everything() {
        let mut test = Test::new(filter, None);
        let mut run = match test.is_of_keys() {
            true => Run::over_keys_of(opened, target, filter, call),
            false => Run::over(opened, target, filter, call),
        };
        run.each(&mut |record| {
            total += u64::from(test.admits(record)?);
            Ok(())
        })
        .await?;
        return Ok((total, run.into_lease()));
    }
    let Opened { mut lease, table } = opened;
    if let Table::Elements(collection) = table {
        let reply = lease.ask(&[collection.size_command(), target.as_bytes()]).await?;
        return match reply.checked().map_err(while_running)? {
            Reply::Integer(size) => Ok((u64::try_from(size).unwrap_or(0), lease)),
            Reply::Null | Reply::Bytes(_) | Reply::Error(_) | Reply::Array(_) => {
                Err(BridgeError::query("the server counts in an unknown way"))
            }
        };
    }
    let mut run = Run::over_keys(lease, glob(&format!("{target}:")));
    run.each(&mut |_| {
        total += 1;
        Ok(())
    })
    .await?;
    Ok((total, run.into_lease()))
}
