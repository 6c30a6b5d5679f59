//! That a statement is gone at a real server once nobody waits for it. The server of the other tests is a stand-in whose
//! list of statements is its own.

#[path = "../../tests/support/server.rs"]
mod server;

use serde_json::json;

use self::server::{eventually, old_server};
use super::*;

/// Has no rows and no end, so the server never notices by itself that nobody reads.
const ENDLESS: &str = "SELECT number FROM system.numbers WHERE number < 0";

async fn pool() -> Pool {
    let server = old_server();
    let config = json!({ "host": server.host, "port": server.port, "username": server.name("app"),
        "password": server.password("app") });
    let settings = Settings::read(&serde_json::from_value(config).unwrap()).unwrap();
    Pool::new(Server::load(&settings).await.unwrap(), settings.pool_max)
}

fn endless(id: StatementId) -> Question<'static> {
    Question { id, sql: ENDLESS, params: &[], settings: &[], format: "RowBinary", marked: true }
}

/// Whether the statement runs at the server, as that says.
async fn runs(pool: &Pool, id: StatementId) -> bool {
    let connector = &pool.origin().0;
    let sql = format!("SELECT count() FROM system.processes WHERE query_id = '{}'", id.text());
    let counted = connector.connect().await.unwrap().text(connector, &sql).await.unwrap();
    counted.trim() != "0"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_given_up_is_gone() {
    let pool = pool().await;
    let id = StatementId::new();
    let question = endless(id);
    let lease = pool.lease(&Call::within(Duration::from_secs(30))).await.unwrap();
    tokio::select! {
        _answer = lease.ask(&question) => panic!("it has no end"),
        () = eventually("it runs", async || runs(&pool, id).await) => {}
    }
    eventually("it is gone", async || !runs(&pool, id).await).await;
    eventually("its place is free", async || pool.usage().in_use == 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_that_is_late_is_gone() {
    let pool = pool().await;
    let id = StatementId::new();
    let question = endless(id);
    let lease = pool.lease(&Call::within(Duration::from_secs(30))).await.unwrap();
    let late = pool.bounded(Instant::now() + Duration::from_secs(1), lease.ask(&question));
    let (late, ()) = tokio::join!(late, eventually("it runs", async || runs(&pool, id).await));
    assert!(late.is_err());
    eventually("it is gone", async || !runs(&pool, id).await).await;
}

/// What the tests above show would be nothing, were it otherwise.
#[tokio::test(flavor = "multi_thread")]
async fn a_closed_connection_alone_ends_no_statement_of_that_server() {
    let pool = pool().await;
    let connector = &pool.origin().0;
    let id = StatementId::new();
    let mut link = connector.connect().await.unwrap();
    tokio::select! {
        _answer = link.send(connector.request(&endless(id))) => panic!("it has no end"),
        () = eventually("it runs", async || runs(&pool, id).await) => {}
    }
    drop(link);
    for _ in 0..20 {
        assert!(runs(&pool, id).await);
    }
    pool.origin().kill(id).await.unwrap();
    eventually("it is gone", async || !runs(&pool, id).await).await;
}
