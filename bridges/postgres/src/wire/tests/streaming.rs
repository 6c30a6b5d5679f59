//! Many rows, slow readers and servers that go away, against real ones.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use super::scripted::{soon, text};
use super::server::{Victim, eventually, server};
use crate::wire::{ConnectOptions, Connection, Format, Query, ResultFormats, Rows, Step, WireError};

const BUFFER_LIMIT: usize = 64 * 1024;

async fn value(connection: &mut Connection, sql: &str) -> String {
    let mut rows = connection.query(&text(sql)).await.unwrap();
    let step =
        rows.next_rows(|row| ControlFlow::Break(String::from_utf8(row.value(0).unwrap().to_vec()).unwrap()));
    let Step::Stopped(value) = step.await.unwrap() else { panic!("no row") };
    while rows.next_rows(|_| ControlFlow::<()>::Continue(())).await.unwrap() != Step::Done {}
    value
}

#[tokio::test]
async fn a_million_rows_pass_through_one_small_buffer() {
    let mut connection = server().connect().await;
    let query = Query {
        sql: "select n::int8, 'row ' || n, n::float8 / 3, null::text from generate_series(1, 1000000) n",
        formats: ResultFormats::Uniform(Format::Binary),
        ..text("")
    };
    let mut rows = connection.query(&query).await.unwrap();
    let (mut count, mut sum, mut largest) = (0_u64, 0_i64, 0);
    loop {
        let step = rows.next_rows(|row| {
            let number = row.values().next().unwrap().unwrap();
            sum += i64::from_be_bytes(number.try_into().unwrap());
            count += 1;
            ControlFlow::<()>::Continue(())
        });
        let done = step.await.unwrap() == Step::Done;
        largest = largest.max(rows.buffer_bytes());
        if done {
            break;
        }
    }
    assert_eq!((count, sum), (1_000_000, 500_000_500_000));
    assert!(largest <= BUFFER_LIMIT, "{largest} bytes were buffered");
    assert!(connection.is_idle());
    assert!(connection.buffer_bytes() < BUFFER_LIMIT, "an idle connection keeps a small buffer");
}

#[tokio::test]
async fn a_reader_that_stops_stops_the_server() {
    let mut connection = server().connect().await;
    let mut watcher = server().connect().await;
    let process = value(&mut connection, "select pg_backend_pid()::text").await;
    let mut rows =
        connection.query(&text("select repeat('x', 1000) from generate_series(1, 1000000)")).await.unwrap();
    assert_eq!(
        rows.next_rows(|row| ControlFlow::Break(row.value(0).map(<[u8]>::len))).await.unwrap(),
        Step::Stopped(Some(1000))
    );

    let blocked = format!(
        "select count(*)::text from pg_stat_activity where pid = {process} and wait_event = 'ClientWrite'"
    );
    eventually("the server waits for us", async || value(&mut watcher, &blocked).await == "1").await;
    assert!(rows.buffer_bytes() <= BUFFER_LIMIT);
    drop(rows);
    connection.recover(soon()).await.unwrap();
}

#[tokio::test]
async fn rows_dropped_in_mid_stream_are_cancelled_and_the_connection_is_reused() {
    let mut connection = server().connect().await;
    let process = value(&mut connection, "select pg_backend_pid()::text").await;
    for _ in 0..3 {
        let mut rows = connection.query(&text("select generate_series(1, 1e12::int8)")).await.unwrap();
        assert_eq!(rows.next_rows(|_| ControlFlow::Break(())).await.unwrap(), Step::Stopped(()));
        drop(rows);
        assert!(!connection.is_idle());
        assert!(matches!(connection.query(&text("select 1")).await, Err(WireError::Busy)));
        let started = Instant::now();
        connection.recover(soon()).await.unwrap();
        assert!(started.elapsed() < Duration::from_secs(20));
        assert!(connection.check_alive());
        assert_eq!(value(&mut connection, "select pg_backend_pid()::text").await, process);
    }
}

#[tokio::test]
async fn rows_may_own_what_they_run_on_and_give_it_back() {
    let connection = server().connect().await;
    let mut rows = Rows::start(connection, &text("select 1")).await.unwrap();
    while rows.next_rows(|_| ControlFlow::<()>::Continue(())).await.unwrap() != Step::Done {}
    assert!(rows.into_connection().is_idle());
}

#[tokio::test]
async fn a_row_up_to_the_limit_is_held_and_a_longer_one_refused() {
    let options = ConnectOptions { max_row_bytes: 1_000_000, ..server().options("app") };
    let mut connection = Connection::connect(&options, soon()).await.unwrap();
    assert_eq!(value(&mut connection, "select repeat('x', 999990)").await.len(), 999_990);

    let mut rows =
        connection.query(&text("select repeat('x', 50000000) from generate_series(1, 3)")).await.unwrap();
    let refused = rows.next_rows(|_| ControlFlow::<()>::Continue(())).await;
    assert!(
        matches!(refused, Err(WireError::RowTooLarge { bytes: 50_000_006, limit: 1_000_000 })),
        "{refused:?}"
    );
    assert!(rows.buffer_bytes() <= BUFFER_LIMIT);
    drop(rows);
    connection.recover(soon()).await.unwrap();
    assert_eq!(value(&mut connection, "select 1").await, "1");
}

#[tokio::test]
async fn a_session_that_is_terminated_tells_why_and_is_lost() {
    let mut connection = server().connect().await;
    let mut other = server().connect().await;
    let process = value(&mut connection, "select pg_backend_pid()::text").await;
    let kill = format!("select pg_terminate_backend({process})::text");

    let mut rows = connection.query(&text("select generate_series(1, 1e12::int8)")).await.unwrap();
    assert_eq!(value(&mut other, &kill).await, "true");
    let lost = loop {
        match rows.next_rows(|_| ControlFlow::<()>::Continue(())).await {
            Ok(step) => assert_eq!(step, Step::More),
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&lost, WireError::Server(error) if error.code == "57P01" && error.is_fatal()),
        "{lost:?}"
    );
    drop(rows);
    assert!(!connection.check_alive());
    assert!(matches!(connection.recover(soon()).await, Err(WireError::Closed)));
}

#[tokio::test]
async fn a_session_that_is_terminated_while_idle_is_noticed_without_a_statement() {
    let mut connection = server().connect().await;
    let mut other = server().connect().await;
    let process = value(&mut connection, "select pg_backend_pid()::text").await;
    assert!(connection.check_alive());
    assert_eq!(value(&mut other, &format!("select pg_terminate_backend({process})::text")).await, "true");
    eventually("the connection is found dead", async || !connection.check_alive()).await;
}

#[tokio::test]
async fn a_server_killed_in_mid_stream_is_an_error_and_not_the_end_of_the_rows() {
    let mut victim = Victim::start();
    let mut connection = victim.server.connect().await;
    let mut rows = connection.query(&text("select generate_series(1, 1e12::int8)")).await.unwrap();
    assert_eq!(rows.next_rows(|_| ControlFlow::Break(())).await.unwrap(), Step::Stopped(()));
    victim.kill();
    let lost = timeout(Duration::from_secs(30), async {
        loop {
            match rows.next_rows(|_| ControlFlow::<()>::Continue(())).await {
                Ok(step) => assert_eq!(step, Step::More),
                Err(error) => break error,
            }
        }
    });
    let lost = lost.await.unwrap();
    assert!(matches!(&lost, WireError::Closed | WireError::Server(_)), "{lost:?}");
    drop(rows);
    assert!(matches!(connection.recover(soon()).await, Err(WireError::Closed)));
    assert!(matches!(
        Connection::connect(&victim.server.options("app"), soon()).await,
        Err(WireError::Connect { .. })
    ));
}
