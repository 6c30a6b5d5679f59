#![no_main]
//! A PostgreSQL server's messages: whatever it says and however it is cut, rows are JSON, and a connection that was lost
//! is not used again.

use answers::{ROW_LIMIT, check_rows, check_value, parts};
use bridge_conformance::{Script, cut};
use bridge_postgres::fuzzing::{ARRAY, Told, VECTOR, begin, end, message, tell};
use futures::FutureExt;
use libfuzzer_sys::fuzz_target;

/// Of the mode: the words are kinds and bodies of messages, each behind its length, and not messages.
const BODIES: u8 = 1;
/// A first byte says how many columns there are, the next ones their types; what follows is said behind that.
const TYPES: u8 = 2;

/// Each type that is read in a way of its own, their arrays, and what is read as text.
const OIDS: [u32; 40] = [
    16, 17, 20, 21, 23, 25, 26, 114, 600, 700, 701, 718, 1082, 1114, 1184, 1186, 1700, 2950, 3802, 1000,
    1001, 1005, 1007, 1009, 1016, 1021, 1022, 1182, 1185, 1187, 1231, 199, 3807, 1017, 719, 2951, 1041, 869,
    ARRAY, VECTOR,
];

fuzz_target!(|input: &[u8]| {
    let Some((mode, cuts, words)) = parts(input) else { return };
    let (columns, words) = if mode & TYPES != 0 { columns(words) } else { (None, words) };
    let said = if mode & BODIES != 0 { messages(words) } else { words.to_vec() };
    let words = match columns {
        Some(columns) => [begin(&columns), said, end()].concat(),
        None => said,
    };
    let told = |cuts: &[u8]| tell(Script::answer(cut(&words, cuts)), ROW_LIMIT).now_or_never().unwrap();
    let whole = told(&[]);
    check(&whole);
    let pieces = told(cuts);
    check(&pieces);
    assert_eq!(Told { is_idle: whole.is_idle, ..pieces }, whole);
});

fn columns(words: &[u8]) -> (Option<Vec<(String, u32)>>, &[u8]) {
    let Some((count, rest)) = words.split_first() else { return (None, words) };
    let (types, rest) = rest.split_at(usize::from(count % 8).min(rest.len()));
    let column = |(at, kind): (usize, &u8)| (format!("c{at}"), OIDS[usize::from(*kind) % OIDS.len()]);
    (Some(types.iter().enumerate().map(column).collect()), rest)
}

fn messages(mut rest: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let [tag, length, after @ ..] = rest {
        let (body, after) = after.split_at(usize::from(*length).min(after.len()));
        out.extend(message(*tag, body));
        rest = after;
    }
    out
}

fn check(told: &Told) {
    check_rows(&told.columns, &told.rows, told.count);
    told.measures.iter().for_each(|measure| check_value(measure));
    let is_lost = told.failure.as_ref().is_some_and(|failure| failure.starts_with("Unreachable"));
    assert!(!(is_lost && told.is_idle), "{told:?}");
}
