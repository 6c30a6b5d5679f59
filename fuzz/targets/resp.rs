#![no_main]
//! A Redis server's replies: however they are cut they are the same, and whatever is in them, rows are JSON that filters
//! can read.

use answers::{ROW_LIMIT, check_object, parts};
use bridge_conformance::{Script, cut};
use bridge_redis::fuzzing::{Source, Told, replies, tell, value_both_ways};
use futures::FutureExt;
use libfuzzer_sys::fuzz_target;

const SOURCES: [Source; 8] = [
    Source::Scanned { keys_only: false },
    Source::Scanned { keys_only: true },
    Source::Listed,
    Source::List,
    Source::Set,
    Source::SortedSet,
    Source::Hash,
    Source::Stream,
];

fuzz_target!(|input: &[u8]| {
    let Some((mode, cuts, words)) = parts(input) else { return };
    let [short, long] = value_both_ways(words, usize::from(mode));
    assert_eq!(short, long);
    match SOURCES.get(usize::from(mode % 9)) {
        Some(source) => rows(*source, words, cuts),
        None => whole_replies(words, cuts),
    }
});

fn whole_replies(words: &[u8], cuts: &[u8]) {
    let heard = |cuts: &[u8]| replies(Script::new([cut(words, cuts)]), ROW_LIMIT).now_or_never().unwrap();
    let whole = heard(&[]);
    assert_eq!(heard(cuts), whole);
    // Every reply has at least a kind and an end of its line, and the last entry says why there are no more.
    assert!(whole.len() <= words.len() / 3 + 1);
}

fn rows(source: Source, words: &[u8], cuts: &[u8]) {
    let told =
        |cuts: &[u8]| tell(Script::answer(cut(words, cuts)), source, ROW_LIMIT).now_or_never().unwrap();
    let whole = told(&[]);
    check(&whole);
    let pieces = told(cuts);
    check(&pieces);
    assert_eq!(Told { is_idle: whole.is_idle, ..pieces }, whole);
}

fn check(told: &Told) {
    let rows = told.rows.iter().chain(&told.values).chain(&told.columns);
    rows.for_each(|row| check_object(row));
    assert!(told.unreadable.is_empty(), "{told:?}");
    let is_lost = told.failure.as_ref().is_some_and(|failure| failure.starts_with("Unreachable"));
    assert!(!(is_lost && told.is_idle), "{told:?}");
}
