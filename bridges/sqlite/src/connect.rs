//! Connections: each lives on a thread of its own, and a pool lends them to jobs.
//!
//! SQLite works in the thread that calls it, for as long as a statement takes. A thread a connection (and not the async
//! runtime's blocking pool) bounds that: as many threads as the pool has connections, none shared with other sources, and
//! a connection never moves between threads. Jobs are closures sent to such a thread; [`control`] tells a running one
//! to end, [`session`] opens the file and keeps it in order.

mod control;
mod pool;
mod session;

pub(crate) use control::{Control, Stop};
pub(crate) use pool::{Pool, Ticket, thread_ended};
pub(crate) use session::{Session, Transaction};
