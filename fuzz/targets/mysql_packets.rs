#![no_main]
//! A MySQL server's packets: whatever it says and however it is cut, rows are JSON, and a connection that was lost is not
//! used again.

use answers::{ROW_LIMIT, check_rows, check_value, parts};
use bridge_conformance::{Script, cut};
use bridge_mysql::fuzzing::{Dialect, Told, packet, tell};
use futures::FutureExt;
use libfuzzer_sys::fuzz_target;

/// Of the mode: the words are bodies of packets, each behind its length, and not packets.
const BODIES: u8 = 4;

fuzz_target!(|input: &[u8]| {
    let Some((mode, cuts, words)) = parts(input) else { return };
    let words = if mode & BODIES != 0 { packets(words) } else { words.to_vec() };
    match mode & 3 {
        0 => login(&words, cuts),
        1 => statement(Dialect::New, &words, cuts),
        2 => statement(Dialect::Old, &words, cuts),
        _ => statement(Dialect::MariaDb, &words, cuts),
    }
});

fn packets(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some((length, after)) = rest.split_first() {
        let (body, after) = after.split_at(usize::from(*length).min(after.len()));
        out.extend(packet(body));
        rest = after;
    }
    out
}

/// What comes behind a login that was granted depends on when it comes; whether and why it was not does not.
fn login(words: &[u8], cuts: &[u8]) {
    let refusal = |cuts: &[u8]| {
        let told = tell(Script::new([cut(words, cuts)]), ROW_LIMIT).now_or_never().unwrap();
        check(&told);
        told.failure.filter(|failure| failure.contains("cannot connect: "))
    };
    assert_eq!(refusal(cuts), refusal(&[]));
}

fn statement(dialect: Dialect, words: &[u8], cuts: &[u8]) {
    let told = |cuts: &[u8]| {
        let script = Script::new([vec![dialect.login()], cut(words, cuts)]);
        tell(script, ROW_LIMIT).now_or_never().unwrap()
    };
    let whole = told(&[]);
    check(&whole);
    let pieces = told(cuts);
    check(&pieces);
    assert_eq!(Told { is_idle: whole.is_idle, ..pieces }, whole);
}

fn check(told: &Told) {
    check_rows(&told.columns, &told.rows, told.count);
    told.measures.iter().for_each(|measure| check_value(measure));
    let is_lost = told.failure.as_ref().is_some_and(|failure| failure.starts_with("Unreachable"));
    assert!(!(is_lost && told.is_idle), "{told:?}");
}
