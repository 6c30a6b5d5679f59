//! Servers that go away, and connections that break.

use std::io;

use bridge_core::{BridgeError, Driver};
use protocol::CHUNK_BYTES;
use semilayer_bridge_mysql::{Mariadb, Mysql, MysqlDriver};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::asking::{ample, collect, connect, options, query, settings, with};
use crate::database::on_each_engine;
use crate::server::{Engine, eventually};
use crate::victim::Victim;

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_mysql_is_survived() {
    a_restart_is_survived(Mysql, Engine::Mysql).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_mariadb_is_survived() {
    a_restart_is_survived(Mariadb, Engine::Mariadb).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_mariadb_11_is_survived() {
    a_restart_is_survived(Mariadb, Engine::Mariadb11).await;
}

async fn a_restart_is_survived(driver: MysqlDriver, engine: Engine) {
    let mut victim = Victim::start(engine);
    let bridge = driver.connect(&settings(victim.config()), &ample()).await.unwrap();
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap().len(), 2);
    victim.kill();
    let down = query(&*bridge, "t", json!({})).await.unwrap_err();
    assert!(matches!(down, BridgeError::Unreachable { .. }), "{down:?}");
    victim.restart();
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap().len(), 2);
    // One that nobody asks anything between the two starts is none the wiser.
    victim.kill();
    victim.restart();
    assert_eq!(query(&*bridge, "t", json!({})).await.unwrap().len(), 2);
    bridge.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_breaks_in_the_middle_of_the_rows_is_an_error_and_is_replaced() {
    let sql = "CREATE TABLE digits (d INT PRIMARY KEY);
INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
CREATE VIEW many AS SELECT a.d, REPEAT('x', 1000) AS filler FROM digits a, digits b, digits c, digits e
";
    on_each_engine(sql, async |database| {
        let port = breaking_proxy(database.server.port).await;
        let config =
            with(database.config(), json!({ "host": "127.0.0.1", "port": port, "sslmode": "disabled" }));
        let bridge = connect(database.driver(), with(config, json!({ "poolMax": 1 }))).await.unwrap();
        let mut rows = bridge.query(&ample(), "many", options(json!({}))).await.unwrap();
        assert!(rows.next(CHUNK_BYTES).await.unwrap().is_some());
        let broken = collect(rows).await.unwrap_err();
        assert!(matches!(broken, BridgeError::Unreachable { .. }), "{broken:?}");
        assert_eq!(query(&*bridge, "digits", json!({})).await.unwrap().len(), 10);
        eventually("the statement is gone", async || database.running().await == 0).await;
    })
    .await;
}

/// Bytes from the server after which a connection is cut off: more than a login, less than ten megabytes of rows.
const CUT_AFTER: usize = 2_000_000;

/// Passes everything on, and cuts a connection off in the middle of a large answer.
#[expect(clippy::disallowed_methods, reason = "a test's runtime ends its tasks with the test")]
async fn breaking_proxy(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move { pass_on(client, server).await.ok() });
        }
    });
    port
}

async fn pass_on(client: TcpStream, server: u16) -> io::Result<()> {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = TcpStream::connect(("127.0.0.1", server)).await?.into_split();
    let up = tokio::io::copy(&mut from_client, &mut to_server);
    let down = async {
        let (mut buffer, mut passed) = (vec![0; 64 * 1024], 0);
        while passed < CUT_AFTER {
            let count = from_server.read(&mut buffer).await?;
            if count == 0 {
                break;
            }
            to_client.write_all(&buffer[..count]).await?;
            passed += count;
        }
        io::Result::Ok(())
    };
    tokio::select! {
        done = up => done.map(drop),
        done = down => done,
    }
}
