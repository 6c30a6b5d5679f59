//! Servers that lie, flood, stall or speak something else.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::time::Instant;

use super::scripted::{
    Peer, begin_rows, connection, end_rows, header, link, message, options, protocol_error, ready, row, soon,
    text,
};
use crate::wire::dial::Privacy;
use crate::wire::startup::log_in;
use crate::wire::{AuthError, ChannelBinding, ConnectOptions, Step, WireError};

fn with_password() -> ConnectOptions {
    ConnectOptions { password: Some("open sesame".to_owned().into()), ..options() }
}

async fn login_with(
    options: &ConnectOptions,
    privacy: &Privacy,
    answers: &[Vec<u8>],
) -> Result<(), WireError> {
    let (mut link, mut peer) = link();
    peer.say(answers).await;
    log_in(&mut link, options, privacy).await.map(|_| ())
}

async fn login(answers: &[Vec<u8>]) -> Result<(), WireError> {
    login_with(&with_password(), &Privacy::Open, answers).await
}

fn granted() -> Vec<u8> {
    message(b'R', &0_i32.to_be_bytes())
}

fn sasl(kind: i32, text: &[u8]) -> Vec<u8> {
    message(b'R', &[&kind.to_be_bytes()[..], text].concat())
}

fn scram_offer() -> Vec<u8> {
    sasl(10, b"SCRAM-SHA-256\0\0")
}

#[tokio::test]
async fn a_login_is_over_when_the_server_is_ready() {
    let report = message(b'S', b"server_version\x0015.1\0");
    login(&[granted(), report, message(b'K', &[0; 8]), ready()]).await.unwrap();
}

#[tokio::test]
async fn a_login_that_never_ends_is_given_up() {
    let report = message(b'S', b"a\0b\0");
    let mut answers = vec![granted()];
    answers.extend(std::iter::repeat_n(report, 600));
    assert_eq!(protocol_error(login(&answers).await), "the login does not end");
}

#[tokio::test]
async fn something_else_than_postgresql_is_told_by_its_first_bytes() {
    let answer = b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec();
    assert_eq!(protocol_error(login(&[answer]).await), "a message is longer than its kind allows");
    let too_long = header(b'R', 1 << 30);
    assert_eq!(protocol_error(login(&[too_long]).await), "a message is longer than its kind allows");
    assert_eq!(protocol_error(login(&[header(b'R', 3)]).await), "a message has an impossible length");
    assert_eq!(protocol_error(login(&[header(b'R', u32::MAX)]).await), "a message has an impossible length");
    assert_eq!(protocol_error(login(&[message(b'?', b"")]).await), "a message of an unknown kind");
    assert_eq!(protocol_error(login(&[message(b'R', b"\0")]).await), "a login message ends early");
    assert_eq!(protocol_error(login(&[row(b"hi")]).await), "an unexpected message during the login");
}

#[tokio::test]
async fn a_server_that_hangs_up_in_mid_message_is_noticed() {
    let (mut link, mut peer) = link();
    peer.say(&[header(b'R', 8)]).await;
    drop(peer);
    assert!(matches!(log_in(&mut link, &options(), &Privacy::Open).await, Err(WireError::Closed)));
}

#[tokio::test]
async fn the_password_does_not_go_out_in_clear_text_over_an_open_connection() {
    let (mut link, mut peer) = link();
    peer.say(&[message(b'R', &3_i32.to_be_bytes())]).await;
    let refused = log_in(&mut link, &with_password(), &Privacy::Open).await;
    assert!(matches!(refused, Err(WireError::Auth(AuthError::ClearText))));
    drop(link);
    let heard = peer.heard().await;
    assert!(!heard.windows(4).any(|bytes| bytes == b"open"), "{heard:?}");
}

#[tokio::test]
async fn the_password_goes_out_in_clear_text_over_a_connection_that_nobody_sees() {
    let answers = [message(b'R', &3_i32.to_be_bytes()), granted(), ready()];
    login_with(&with_password(), &Privacy::Local, &answers).await.unwrap();
}

#[tokio::test]
async fn a_server_that_wants_a_password_we_do_not_have_is_told_apart() {
    let refused = login_with(&options(), &Privacy::Open, &[scram_offer()]).await;
    assert!(matches!(refused, Err(WireError::Auth(AuthError::NoPassword))));
}

#[tokio::test]
async fn ways_of_authentication_that_we_lack_are_named() {
    for (answer, name) in [
        (sasl(7, b""), "GSSAPI"),
        (sasl(99, b""), "one that this client does not know"),
        (sasl(10, b"OAUTHBEARER\0\0"), "a SASL mechanism other than SCRAM-SHA-256"),
    ] {
        match login(&[answer]).await {
            Err(WireError::Auth(AuthError::Unsupported(what))) => assert_eq!(what, name),
            other => panic!("expected {name} to be refused, got {other:?}"),
        }
    }
}

#[tokio::test]
async fn required_channel_binding_refuses_every_login_without_it() {
    let mut options = with_password();
    options.tls.channel_binding = ChannelBinding::Require;
    let privacy = Privacy::Encrypted { end_point: Some(vec![1; 32]) };
    for answer in [granted(), scram_offer(), message(b'R', &[0, 0, 0, 5, 1, 2, 3, 4]), sasl(3, b"")] {
        let refused = login_with(&options, &privacy, &[answer]).await;
        assert!(matches!(refused, Err(WireError::Auth(AuthError::NoChannelBinding))), "{refused:?}");
    }
}

/// Plays SCRAM up to the client's proof, with a challenge made from the client's nonce, then sends `last`.
async fn scram(challenge: impl FnOnce(&str) -> String, last: Vec<u8>) -> WireError {
    let (mut link, mut peer) = link();
    let script = async {
        peer.say(&[scram_offer()]).await;
        let mut heard = Vec::new();
        while !heard.windows(3).any(|bytes| bytes == b",r=") {
            heard.extend(peer.heard().await);
        }
        let heard = String::from_utf8_lossy(&heard).into_owned();
        let nonce = heard.split(",r=").nth(1).unwrap();
        peer.say(&[sasl(11, challenge(nonce).as_bytes()), last]).await;
        peer
    };
    let options = with_password();
    let (refused, _peer) = tokio::join!(log_in(&mut link, &options, &Privacy::Open), script);
    refused.map(|_| ()).unwrap_err()
}

fn fair_challenge(nonce: &str) -> String {
    format!("r={nonce}abc,s=c2FsdHNhbHQ=,i=4096")
}

#[tokio::test]
async fn a_server_must_prove_that_it_knows_the_password() {
    let granted_at_once = scram(fair_challenge, granted()).await;
    assert_eq!(protocol_error::<()>(Err(granted_at_once)), "SCRAM without the server's proof");
    let wrong_proof = sasl(12, b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
    assert!(matches!(scram(fair_challenge, wrong_proof).await, WireError::Auth(AuthError::Scram(_))));
}

#[tokio::test]
async fn a_challenge_with_another_nonce_or_too_much_work_is_refused() {
    let foreign = scram(|_| "r=other,s=c2FsdA==,i=4096".to_owned(), Vec::new()).await;
    assert!(matches!(foreign, WireError::Auth(AuthError::Scram(_))));
    let heavy = scram(|nonce| format!("r={nonce}x,s=c2FsdA==,i=4000000000"), Vec::new()).await;
    assert!(matches!(heavy, WireError::Auth(AuthError::Scram(_))));
}

#[tokio::test]
async fn a_broken_order_of_answers_breaks_the_connection() {
    let unexpected = "an unexpected answer to preparing or binding a statement";
    for (answers, what) in [
        (row(b"early"), unexpected),
        (ready(), unexpected),
        (message(b'C', b"SELECT 0\0"), unexpected),
        (message(b'G', b"\0\0\0"), "COPY is not supported"),
        ([begin_rows(), message(b'1', b"")].concat(), "expected a row or the end of the result"),
        ([begin_rows(), message(b's', b"")].concat(), "a portal was suspended that had no row limit"),
        (
            [begin_rows(), message(b'D', b"\0\x02\0\0\0\0\0\0\0\0")].concat(),
            "a row has more or fewer values than the result has columns",
        ),
        ([begin_rows(), message(b'D', b"\0\x01\0\0\0\x63a")].concat(), "a value exceeds its row"),
    ] {
        let (mut connection, mut peer) = connection(&options());
        let run = async {
            let mut rows = connection.query(&text("select")).await?;
            while rows.next_rows(|_| ControlFlow::<()>::Continue(())).await? != Step::Done {}
            Ok(())
        };
        let (broken, ()) = tokio::join!(run, peer.say(std::slice::from_ref(&answers)));
        assert_eq!(protocol_error(broken), what);
        assert!(!connection.is_idle());
        assert!(matches!(connection.simple("again").await, Err(WireError::Closed)));
        assert!(matches!(connection.recover(soon()).await, Err(WireError::Closed)));
    }
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_not_taken_for_the_next_statements() {
    for (stray, what) in [
        (ready(), "ready for a statement that was never sent"),
        (begin_rows(), "an answer without a question"),
        (row(b"stray"), "an answer without a question"),
    ] {
        let (mut connection, mut peer) = connection(&options());
        peer.say(&[stray, end_rows()]).await;
        assert_eq!(protocol_error(connection.simple("select").await), what);
        assert!(!connection.is_idle());
    }
}

async fn first_failure(peer_says: impl AsyncFnOnce(&mut Peer)) -> (WireError, usize) {
    let options = ConnectOptions { max_row_bytes: 1000, ..options() };
    let (mut connection, mut peer) = connection(&options);
    let run = async {
        let mut rows = connection.query(&text("select")).await?;
        while rows.next_rows(|_| ControlFlow::<()>::Continue(())).await? != Step::Done {}
        Ok(())
    };
    let (ended, ()) = tokio::join!(run, peer_says(&mut peer));
    (ended.unwrap_err(), connection.buffer_bytes())
}

#[tokio::test]
async fn a_row_above_the_limit_is_refused_before_it_is_buffered() {
    let (error, buffered) = first_failure(async |peer| {
        peer.say(&[begin_rows(), row(b"fits"), header(b'D', 900_000_000)]).await;
    })
    .await;
    assert!(matches!(error, WireError::RowTooLarge { bytes: 899_999_996, limit: 1000 }), "{error:?}");
    assert!(buffered <= 64 * 1024);
}

#[tokio::test]
async fn after_a_row_above_the_limit_the_connection_recovers() {
    let options = ConnectOptions { max_row_bytes: 1000, ..options() };
    let (mut connection, mut peer) = connection(&options);
    let answers = [begin_rows(), header(b'D', 4 + 640 * 1024)];
    let select = text("select");
    let (rows, ()) = tokio::join!(connection.query(&select), peer.say(&answers));
    let mut rows = rows.unwrap();
    let refused = rows.next_rows(|_| ControlFlow::<()>::Continue(())).await;
    assert!(matches!(refused, Err(WireError::RowTooLarge { .. })));
    assert!(matches!(connection.simple("next").await, Err(WireError::Busy)));

    let rest = async {
        peer.pour(10).await;
        peer.say(&[end_rows()]).await;
    };
    let (recovered, ()) = tokio::join!(connection.recover(soon()), rest);
    recovered.unwrap();
    assert!(connection.is_idle());
    assert!(connection.buffer_bytes() <= 64 * 1024);
}

#[tokio::test]
async fn a_huge_notice_between_rows_is_skipped_without_being_held() {
    let (mut connection, mut peer) = connection(&options());
    let script = async {
        peer.say(&[begin_rows(), row(b"before"), header(b'N', 4 + 32 * 1024 * 1024)]).await;
        peer.pour(512).await;
        peer.say(&[row(b"after"), end_rows()]).await;
    };
    let run = async {
        let mut rows = connection.query(&text("select")).await.unwrap();
        let mut seen = Vec::new();
        let keep = |seen: &mut Vec<Vec<u8>>, value: Option<&[u8]>| seen.push(value.unwrap().to_vec());
        while rows
            .next_rows(|row| {
                keep(&mut seen, row.value(0));
                ControlFlow::<()>::Continue(())
            })
            .await
            .unwrap()
            != Step::Done
        {}
        seen
    };
    let (seen, ()) = tokio::join!(run, script);
    assert_eq!(seen, [b"before".to_vec(), b"after".to_vec()]);
    assert!(connection.buffer_bytes() <= 64 * 1024);
}

#[tokio::test]
async fn a_huge_error_is_cut_and_the_connection_stays_good() {
    let (mut connection, mut peer) = connection(&options());
    let script = async {
        peer.say(&[header(b'E', 4 + 13 + 16 * 1024 * 1024), b"SERROR\0C22000".to_vec()]).await;
        peer.pour(256).await;
        peer.say(&[ready()]).await;
    };
    let (failed, ()) = tokio::join!(connection.simple("select"), script);
    let WireError::Server(error) = failed.unwrap_err() else { panic!("not the server's error") };
    assert_eq!(error.severity, "ERROR");
    assert!(connection.is_idle());
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_costs_no_more_than_the_deadline() {
    let (mut connection, _peer) = connection(&options());
    let started = Instant::now();
    assert!(tokio::time::timeout(Duration::from_secs(1), connection.simple("select")).await.is_err());
    let recovered = connection.recover(started + Duration::from_secs(5)).await;
    assert!(matches!(recovered, Err(WireError::Timeout)));
    assert_eq!(started.elapsed(), Duration::from_secs(5));
}

#[tokio::test]
async fn the_timeout_is_sent_when_it_changes_and_only_then() {
    let (mut connection, mut peer) = connection(&options());
    let mut sets = Vec::new();
    for milliseconds in [1000, 1000, 2000] {
        connection.set_statement_timeout(milliseconds);
        let script = async {
            let heard = String::from_utf8_lossy(&peer.heard().await).into_owned();
            let set = heard.contains(&format!("SET statement_timeout = {milliseconds}\0"));
            if set {
                peer.say(&[message(b'C', b"SET\0"), ready()]).await;
            }
            peer.say(&[message(b'C', b"BEGIN\0"), ready()]).await;
            set
        };
        let (done, set) = tokio::join!(connection.simple("select"), script);
        done.unwrap();
        sets.push(set);
    }
    assert_eq!(sets, [true, false, true]);
}

#[tokio::test]
async fn a_statement_that_cannot_be_encoded_sends_nothing_and_harms_nothing() {
    let (mut connection, mut peer) = connection(&options());
    let refused = connection.query(&text("select '\0'")).await;
    assert!(matches!(refused, Err(WireError::Encode(_))));
    let answers = [begin_rows(), end_rows()];
    let select = text("select 2");
    let (rows, ()) = tokio::join!(connection.query(&select), peer.say(&answers));
    let mut rows = rows.unwrap();
    assert_eq!(rows.next_rows(|_| ControlFlow::<()>::Continue(())).await.unwrap(), Step::Done);
    let heard = peer.heard().await;
    assert!(heard.starts_with(b"C"), "the statement that was never prepared is closed first: {heard:?}");
    assert!(!heard.windows(8).any(|bytes| bytes == b"select '"));
}

#[tokio::test]
async fn a_connection_that_the_server_closed_or_spoke_on_is_not_alive() {
    let (mut open, mut peer) = connection(&options());
    assert!(open.check_alive());
    peer.say(&[message(b'S', b"TimeZone\0UTC\0"), message(b'N', b"SNOTICE\0\0")]).await;
    assert!(open.check_alive());
    drop(peer);
    assert!(!open.check_alive());

    let (mut ended, mut peer) = connection(&options());
    peer.say(&[message(b'E', b"SFATAL\0C57P01\0\0")]).await;
    assert!(!ended.check_alive());
}
