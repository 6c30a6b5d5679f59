//! The pool with connections that do nothing, on paused time.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use super::*;

/// A server that can be made to fail.
#[derive(Default)]
struct Server(Arc<Facts>);

#[derive(Default)]
struct Facts {
    opened: AtomicU32,
    /// Connections that were said goodbye to.
    closed: AtomicU32,
    /// Connections that were mended.
    mended: AtomicU32,
    /// Whether it takes no connections.
    refuses: AtomicBool,
    /// Whether it takes connections and never greets them.
    is_silent: AtomicBool,
    /// Whether nothing that runs there can be ended.
    is_stubborn: AtomicBool,
    /// Whether it has closed what was idle.
    restarted: AtomicBool,
    /// Connections now, and how many there have been at once.
    open: AtomicU32,
    most_open: AtomicU32,
}

struct Connection {
    number: u32,
    condition: Condition,
    server: Arc<Facts>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.server.open.fetch_sub(1, Ordering::SeqCst);
    }
}

const MENDING: Duration = Duration::from_secs(1);
const GOODBYE: Duration = Duration::from_millis(10);

impl Origin for Server {
    type Connection = Connection;

    const IDLE_LIMIT: Duration = Duration::from_secs(60);

    async fn connect(&self, _deadline: Instant) -> Result<Connection, BridgeError> {
        if self.0.refuses.load(Ordering::SeqCst) {
            return Err(BridgeError::unreachable("refused"));
        }
        if self.0.is_silent.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        let open = self.0.open.fetch_add(1, Ordering::SeqCst) + 1;
        self.0.most_open.fetch_max(open, Ordering::SeqCst);
        let (number, server) = (self.0.opened.fetch_add(1, Ordering::SeqCst), Arc::clone(&self.0));
        Ok(Connection { number, condition: Condition::Idle, server })
    }

    fn settle(&self, connection: &mut Connection) -> Condition {
        connection.condition
    }

    fn is_alive(&self, _connection: &mut Connection) -> bool {
        !self.0.restarted.load(Ordering::SeqCst)
    }

    async fn mend(&self, mut connection: Connection, deadline: Instant) -> Option<Connection> {
        assert!(deadline > Instant::now());
        tokio::time::sleep(MENDING).await;
        if self.0.is_stubborn.load(Ordering::SeqCst) {
            std::future::pending::<()>().await;
        }
        self.0.mended.fetch_add(1, Ordering::SeqCst);
        connection.condition = Condition::Idle;
        Some(connection)
    }

    async fn close(&self, _connection: Connection) {
        tokio::time::sleep(GOODBYE).await;
        self.0.closed.fetch_add(1, Ordering::SeqCst);
    }
}

fn pool(max: usize) -> (Pool<Server>, Arc<Facts>) {
    let facts = Arc::new(Facts::default());
    (Pool::new(Server(Arc::clone(&facts)), max), facts)
}

/// A call of the paused clock.
fn within(seconds: u64) -> Call {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    Call { deadline: deadline.into_std(), ..Call::within(Duration::ZERO) }
}

fn number(lease: &mut Lease<Server>) -> u32 {
    lease.connection().unwrap().number
}

fn begin(lease: &mut Lease<Server>) {
    lease.connection().unwrap().condition = Condition::Busy;
}

fn usage(in_use: u32, idle: u32, max: u32) -> PoolUse {
    PoolUse { in_use, idle, max }
}

#[tokio::test(start_paused = true)]
async fn a_connection_is_lent_again_and_says_that_it_was() {
    let (pool, facts) = pool(2);
    let mut first = pool.lease(&within(1)).await.unwrap();
    assert!(!first.is_reused());
    assert_eq!((number(&mut first), pool.usage()), (0, usage(1, 0, 2)));
    drop(first);
    assert_eq!(pool.usage(), usage(0, 1, 2));
    let mut again = pool.lease(&within(1)).await.unwrap();
    assert!(again.is_reused());
    assert_eq!((number(&mut again), facts.opened.load(Ordering::SeqCst)), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn who_waits_for_a_connection_waits_no_longer_than_the_call() {
    let (pool, _) = pool(1);
    let held = pool.lease(&within(1)).await.unwrap();
    let begun = Instant::now();
    assert!(matches!(pool.lease(&within(3)).await, Err(BridgeError::Timeout)));
    assert_eq!(begun.elapsed().as_secs(), 3);
    let call = within(3);
    let (next, ()) = tokio::join!(pool.lease(&call), async { drop(held) });
    assert!(next.unwrap().is_reused());
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_greets_costs_the_call_and_not_the_slot() {
    let (pool, facts) = pool(1);
    facts.is_silent.store(true, Ordering::SeqCst);
    assert!(matches!(pool.lease(&within(3)).await, Err(BridgeError::Timeout)));
    facts.is_silent.store(false, Ordering::SeqCst);
    facts.refuses.store(true, Ordering::SeqCst);
    assert!(matches!(pool.lease(&within(3)).await, Err(BridgeError::Unreachable { .. })));
    facts.refuses.store(false, Ordering::SeqCst);
    assert!(pool.lease(&within(3)).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn connections_that_the_server_has_closed_are_replaced() {
    let (pool, facts) = pool(2);
    let call = within(1);
    let both = (pool.lease(&call).await.unwrap(), pool.lease(&call).await.unwrap());
    drop(both);
    facts.restarted.store(true, Ordering::SeqCst);
    let lease = pool.lease(&within(1)).await.unwrap();
    assert!(!lease.is_reused());
    assert_eq!(pool.usage(), usage(1, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn what_is_idle_for_too_long_or_too_old_is_closed_and_not_lent() {
    let (pool, facts) = pool(1);
    drop(pool.lease(&within(1)).await.unwrap());
    tokio::time::advance(Server::IDLE_LIMIT).await;
    let mut second = pool.lease(&within(1)).await.unwrap();
    assert_eq!(number(&mut second), 1);
    tokio::time::advance(LIFETIME).await;
    drop(second);
    assert_eq!(pool.usage(), usage(1, 0, 1), "its place is taken until it is closed");
    let mut third = pool.lease(&within(1)).await.unwrap();
    assert_eq!((number(&mut third), facts.closed.load(Ordering::SeqCst)), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn there_are_never_more_connections_than_there_may_be_while_old_ones_are_closed() {
    let (pool, facts) = pool(3);
    let call = within(1);
    for age in [Server::IDLE_LIMIT, LIFETIME] {
        let all = tokio::join!(pool.lease(&call), pool.lease(&call), pool.lease(&call));
        // Some come back too old, the others grow old in the pool.
        let (one, other, last) = (all.0.unwrap(), all.1.unwrap(), all.2.unwrap());
        drop((one, other));
        tokio::time::advance(age).await;
        drop(last);
        let call = within(1);
        let again = tokio::join!(pool.lease(&call), pool.lease(&call), pool.lease(&call));
        assert!(again.0.is_ok() && again.1.is_ok() && again.2.is_ok());
    }
    assert_eq!(facts.most_open.load(Ordering::SeqCst), 3);
    assert!(facts.opened.load(Ordering::SeqCst) > 5, "{:?}", facts.opened);
    pool.close().await;
    assert_eq!(facts.open.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn unfinished_work_is_ended_before_its_connection_is_lent_again() {
    let (pool, facts) = pool(1);
    let mut lease = pool.lease(&within(1)).await.unwrap();
    begin(&mut lease);
    drop(lease);
    assert_eq!(pool.usage(), usage(1, 0, 1));
    let begun = Instant::now();
    let mut mended = pool.lease(&within(3)).await.unwrap();
    assert_eq!((begun.elapsed(), number(&mut mended)), (MENDING, 0));
    assert_eq!(facts.mended.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_mended_is_given_up_and_its_slot_is_free_again() {
    let (pool, facts) = pool(1);
    facts.is_stubborn.store(true, Ordering::SeqCst);
    let mut lease = pool.lease(&within(1)).await.unwrap();
    begin(&mut lease);
    drop(lease);
    let begun = Instant::now();
    let mut next = pool.lease(&within(60)).await.unwrap();
    assert_eq!((begun.elapsed(), number(&mut next)), (MEND_LIMIT, 1));
}

#[tokio::test(start_paused = true)]
async fn what_is_of_no_use_any_more_is_gone_at_once() {
    let (pool, facts) = pool(1);
    let mut lease = pool.lease(&within(1)).await.unwrap();
    lease.connection().unwrap().condition = Condition::Spent;
    drop(lease);
    assert_eq!(pool.usage(), usage(0, 0, 1));
    assert_eq!((facts.mended.load(Ordering::SeqCst), facts.closed.load(Ordering::SeqCst)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn closing_ends_every_wait_and_lends_nothing_more() {
    let (pool, facts) = pool(1);
    let held = pool.lease(&within(60)).await.unwrap();
    let waits = async {
        let call = within(60);
        let (slot, work) = tokio::join!(
            pool.lease(&call),
            pool.bounded(Instant::now() + Duration::from_secs(60), std::future::pending::<()>())
        );
        assert!(matches!(slot, Err(BridgeError::Unreachable { .. })));
        assert_eq!(work, Err(Interrupted::Closed));
        drop(held);
    };
    tokio::join!(waits, pool.close());
    assert!(pool.is_closed());
    assert!(matches!(pool.lease(&within(1)).await, Err(BridgeError::Unreachable { .. })));
    assert_eq!((facts.closed.load(Ordering::SeqCst), pool.usage()), (1, usage(0, 0, 1)));
}

#[tokio::test(start_paused = true)]
async fn closing_waits_until_what_runs_is_ended_at_the_server() {
    let (pool, facts) = pool(1);
    let mut lease = pool.lease(&within(60)).await.unwrap();
    begin(&mut lease);
    tokio::join!(pool.close(), async { drop(lease) });
    assert_eq!((facts.mended.load(Ordering::SeqCst), facts.closed.load(Ordering::SeqCst)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn closing_does_not_wait_for_ever_for_a_reader_that_does_not_read() {
    let (pool, _) = pool(1);
    let _kept = pool.lease(&within(60)).await.unwrap();
    let begun = Instant::now();
    pool.close().await;
    assert_eq!(begun.elapsed(), CLOSE_LIMIT);
}

#[test]
fn a_lease_may_outlive_its_runtime() {
    let (pool, _) = pool(2);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let call = Call::within(Duration::from_secs(60));
    let (mut busy, idle) =
        runtime.block_on(async { (pool.lease(&call).await.unwrap(), pool.lease(&call).await.unwrap()) });
    begin(&mut busy);
    drop(runtime);
    drop((busy, idle));
    assert_eq!(pool.usage(), usage(0, 1, 2));
}
