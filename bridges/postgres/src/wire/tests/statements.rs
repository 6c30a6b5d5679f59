//! Statements, parameters, errors and the statement cache, against a real server.

use std::ops::ControlFlow;
use std::time::Duration;

use futures::FutureExt;
use tokio::time::Instant;

use super::scripted::{soon, text};
use super::server::{eventually, server};
use crate::wire::{
    Column, ConnectOptions, Connection, Format, Oid, Param, Query, ResultFormats, Step, WireError,
};

const INT8: Oid = 20;
const TEXT: Oid = 25;

type Table = Vec<Vec<Option<Vec<u8>>>>;

async fn run(connection: &mut Connection, query: &Query<'_>) -> Result<Table, WireError> {
    let mut rows = connection.query(query).await?;
    let mut table = Table::new();
    loop {
        let step = rows
            .next_rows(|row| {
                table.push(row.values().map(|value| value.map(<[u8]>::to_vec)).collect());
                ControlFlow::<()>::Continue(())
            })
            .await?;
        if step == Step::Done {
            return Ok(table);
        }
    }
}

async fn value(connection: &mut Connection, sql: &str) -> String {
    let table = run(connection, &text(sql)).await.unwrap();
    String::from_utf8(table[0][0].clone().unwrap()).unwrap()
}

fn server_error<T: std::fmt::Debug>(result: Result<T, WireError>) -> crate::wire::ServerError {
    match result {
        Err(WireError::Server(error)) => *error,
        other => panic!("expected the server's error, got {other:?}"),
    }
}

fn numbers_in_binary(column: &Column) -> Format {
    if column.type_oid == INT8 { Format::Binary } else { Format::Text }
}

#[tokio::test]
async fn parameters_and_results_have_a_format_each() {
    let mut connection = server().connect().await;
    let query = Query {
        sql: "select $1 + 1, $2 || '!', $3",
        param_types: &[INT8, TEXT, TEXT],
        params: &[
            Param { format: Format::Binary, value: Some(&41_i64.to_be_bytes()) },
            Param { format: Format::Text, value: Some("zwölf".as_bytes()) },
            Param { format: Format::Text, value: None },
        ],
        formats: ResultFormats::ByColumn(numbers_in_binary),
    };
    let expected = vec![vec![Some(42_i64.to_be_bytes().to_vec()), Some("zwölf!".as_bytes().to_vec()), None]];
    for _ in 0..2 {
        assert_eq!(run(&mut connection, &query).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_running_statement_tells_its_columns() {
    let mut connection = server().connect().await;
    let query = text("select oid, relname, 1.5::numeric(6,2) as amount from pg_class");
    let rows = connection.query(&query).await.unwrap();
    let columns: Vec<_> =
        rows.columns().iter().map(|column| (column.name.to_string(), column.type_oid)).collect();
    let expected = [("oid", 26), ("relname", 19), ("amount", 1700)];
    assert_eq!(columns, expected.map(|(name, type_oid)| (name.to_owned(), type_oid)));
}

#[tokio::test]
async fn a_statement_without_rows_has_no_columns_and_ends() {
    let mut connection = server().connect().await;
    for sql in ["set application_name = 'x'", "", "-- nothing"] {
        let mut rows = connection.query(&text(sql)).await.unwrap();
        assert!(rows.columns().is_empty());
        assert_eq!(rows.next_rows(|_| ControlFlow::<()>::Continue(())).await.unwrap(), Step::Done);
    }
    let mut rows = connection.query(&text("select from generate_series(1, 3)")).await.unwrap();
    let mut count = 0;
    let step = rows.next_rows(|row| {
        count += row.values().len() + 1;
        ControlFlow::<()>::Continue(())
    });
    assert_eq!(step.await.unwrap(), Step::Done);
    assert_eq!(count, 3);
}

#[tokio::test]
async fn an_error_tells_where_and_leaves_the_connection_good() {
    let mut connection = server().connect().await;
    let error = server_error(run(&mut connection, &text("select nothing from pg_class")).await);
    assert_eq!((error.severity.as_str(), error.code.as_str(), error.position), ("ERROR", "42703", Some(8)));
    let error =
        server_error(run(&mut connection, &text("select 1 / (2 - n) from generate_series(1, 9) n")).await);
    assert_eq!(error.code, "22012");
    let wrong = [Param { format: Format::Text, value: Some(b"ten") }];
    let query = Query { sql: "select $1", param_types: &[INT8], params: &wrong, ..text("") };
    assert_eq!(server_error(run(&mut connection, &query).await).code, "22P02");
    assert!(connection.is_idle());
    assert_eq!(value(&mut connection, "select 7").await, "7");
}

#[tokio::test]
async fn rows_before_an_error_are_handed_out() {
    let mut connection = server().connect().await;
    let mut rows =
        connection.query(&text("select 10000 / (5000 - n) from generate_series(1, 9999) n")).await.unwrap();
    let mut count = 0;
    let failed = loop {
        let step = rows.next_rows(|_| {
            count += 1;
            ControlFlow::<()>::Continue(())
        });
        match step.await {
            Ok(step) => assert_eq!(step, Step::More),
            Err(error) => break error,
        }
    };
    assert_eq!(server_error::<()>(Err(failed)).code, "22012");
    assert_eq!(count, 4999);
    assert!(connection.is_idle());
}

#[tokio::test]
async fn a_notice_is_no_answer() {
    let mut connection = server().connect().await;
    connection.simple("do $$ begin raise notice 'hello'; raise warning 'there'; end $$").await.unwrap();
    assert_eq!(value(&mut connection, "select 1").await, "1");
}

#[tokio::test]
async fn a_statement_that_runs_too_long_is_stopped_by_the_server() {
    let mut connection = server().connect().await;
    connection.set_statement_timeout(50);
    let error = server_error(run(&mut connection, &text("select pg_sleep(60)")).await);
    assert_eq!(error.code, "57014");
    assert_eq!(value(&mut connection, "show statement_timeout").await, "50ms");
    connection.set_statement_timeout(0);
    assert_eq!(value(&mut connection, "show statement_timeout").await, "0");
}

#[tokio::test]
async fn a_timeout_survives_the_failure_of_the_statement_it_came_with() {
    let mut connection = server().connect().await;
    connection.set_statement_timeout(1234);
    assert_eq!(server_error(run(&mut connection, &text("select nothing")).await).code, "42703");
    assert_eq!(value(&mut connection, "show statement_timeout").await, "1234ms");
}

#[tokio::test]
async fn a_timeout_that_was_rolled_back_is_sent_again() {
    let mut connection = server().connect().await;
    connection.simple("begin").await.unwrap();
    connection.set_statement_timeout(4321);
    assert_eq!(value(&mut connection, "show statement_timeout").await, "4321ms");
    connection.simple("rollback").await.unwrap();
    assert_eq!(value(&mut connection, "show statement_timeout").await, "4321ms");
}

#[tokio::test]
async fn a_changed_table_is_noticed_and_the_statement_prepared_anew() {
    let mut connection = server().connect().await;
    connection.simple("create temporary table changing as select 1 as a").await.unwrap();
    let query = text("select * from changing");
    assert_eq!(run(&mut connection, &query).await.unwrap()[0].len(), 1);
    connection.simple("alter table changing add column b int default 2").await.unwrap();
    assert_eq!(run(&mut connection, &query).await.unwrap()[0].len(), 2);
    connection.simple("alter table changing alter column b type text").await.unwrap();
    let query = Query { formats: ResultFormats::ByColumn(numbers_in_binary), ..query };
    assert_eq!(run(&mut connection, &query).await.unwrap()[0][1], Some(b"2".to_vec()));
    assert_eq!(value(&mut connection, "select count(*)::text from pg_prepared_statements").await, "2");
}

#[tokio::test]
async fn statements_that_the_server_lost_are_prepared_anew() {
    let mut connection = server().connect().await;
    assert_eq!(value(&mut connection, "select 5").await, "5");
    connection.simple("deallocate all").await.unwrap();
    assert_eq!(value(&mut connection, "select 5").await, "5");
}

#[tokio::test]
async fn a_stale_statement_in_a_transaction_is_an_error_because_the_transaction_is_lost() {
    let mut connection = server().connect().await;
    assert_eq!(value(&mut connection, "select 6").await, "6");
    connection.simple("deallocate all").await.unwrap();
    connection.simple("begin").await.unwrap();
    assert_eq!(server_error(run(&mut connection, &text("select 6")).await).code, "26000");
    assert!(!connection.is_idle());
    connection.recover(soon()).await.unwrap();
    assert_eq!(value(&mut connection, "select 6").await, "6");
}

#[tokio::test]
async fn the_server_keeps_no_more_statements_than_the_cache() {
    let options = ConnectOptions { statement_cache: 3, ..server().options("app") };
    let mut connection = Connection::connect(&options, soon()).await.unwrap();
    for number in 0..20 {
        let sql = format!("select {number}");
        assert_eq!(value(&mut connection, &sql).await, number.to_string());
        // One that cannot be bound was prepared at the server all the same.
        let query = Query { sql: &format!("select $1 + {number}"), params: &[], ..text("") };
        assert_eq!(server_error(run(&mut connection, &query).await).code, "08P01");
    }
    let kept: usize =
        value(&mut connection, "select count(*) from pg_prepared_statements").await.parse().unwrap();
    assert!(kept <= 4, "{kept} statements are kept");
}

#[tokio::test]
async fn a_cancel_stops_the_statement_at_the_server() {
    let mut connection = server().connect().await;
    let mut watcher = server().connect().await;
    let process = value(&mut connection, "select pg_backend_pid()::text").await;
    let sleeping = format!(
        "select count(*)::text from pg_stat_activity where pid = {process} and wait_event = 'PgSleep'"
    );
    let token = connection.cancel_token();
    let started = Instant::now();
    let statement = text("select pg_sleep(60)");
    let cancel = async {
        eventually("the statement sleeps", async || value(&mut watcher, &sleeping).await == "1").await;
        token.cancel(soon()).await.unwrap();
    };
    let (cancelled, ()) = tokio::join!(run(&mut connection, &statement), cancel);
    assert_eq!(server_error(cancelled).code, "57014");
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(value(&mut connection, "select 1").await, "1");
}

#[tokio::test]
async fn a_cancel_goes_through_tls_where_its_connection_does() {
    let options = server().encrypted("tlsonly", crate::wire::TlsMode::Require, crate::wire::Roots::Unset);
    let mut connection = Connection::connect(&options, soon()).await.unwrap();
    let abandoned = run(&mut connection, &text("select pg_sleep(60)")).now_or_never();
    assert!(abandoned.is_none());
    let started = Instant::now();
    connection.recover(soon()).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(20));
    assert_eq!(value(&mut connection, "select 1").await, "1");
}

#[tokio::test]
async fn a_future_dropped_at_any_point_leaves_a_connection_that_recovers() {
    let mut connection = server().connect().await;
    for polls in 0..25 {
        connection.set_statement_timeout(10_000 + polls);
        {
            let sql = format!("select n, repeat('x', 100) from generate_series({polls}, 3000) n");
            let query = Query { formats: ResultFormats::ByColumn(numbers_in_binary), ..text(&sql) };
            let mut running = std::pin::pin!(run(&mut connection, &query));
            for _ in 0..polls {
                if futures::poll!(running.as_mut()).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        connection.recover(soon()).await.unwrap();
        assert!(connection.is_idle());
        let timeout = value(&mut connection, "show statement_timeout").await;
        assert_eq!(timeout, if polls == 0 { "10s".to_owned() } else { format!("{}ms", 10_000 + polls) });
    }
    let kept: usize =
        value(&mut connection, "select count(*) from pg_prepared_statements").await.parse().unwrap();
    assert!(kept <= 27, "{kept} statements are kept");
}
