//! Replies and rows are what the server has said, however its words are cut.

use std::fmt::Write;

use bridge_conformance::{Script, cut};
use futures::FutureExt;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value as Json;

use super::{Source, Told, replies, tell};
use crate::wire::Reply;
use crate::wire::scripted::value_both_ways;

const LIMIT: usize = 1_000_000;

proptest! {
    #[test]
    fn replies_are_what_was_said_however_it_is_cut(
        said in vec(reply(), 0..5),
        cuts in vec(any::<u8>(), 0..60),
    ) {
        let mut words = Vec::new();
        said.iter().for_each(|reply| write_reply(&mut words, reply));
        let heard = replies(Script::new([cut(&words, &cuts)]), LIMIT).now_or_never().unwrap();
        let mut expected: Vec<String> = said.iter().map(|reply| format!("{reply:?}")).collect();
        expected.push("Closed".to_owned());
        prop_assert_eq!(heard, expected);
    }

    #[test]
    fn rows_are_the_objects_that_are_stored_however_they_are_cut(
        stored in vec(object(), 3),
        cuts in vec(any::<u8>(), 0..60),
    ) {
        let mut words = Vec::new();
        let values = stored.iter().map(|json| Reply::Bytes(json.to_string().into_bytes())).collect();
        write_reply(&mut words, &Reply::Array(values));
        let told = told(&words, &cuts, Source::Listed);
        prop_assert_eq!(&told.failure, &None);
        prop_assert!(told.is_idle && told.unreadable.is_empty());
        for (key, (row, stored)) in ["t:1", "t:2", "/w=="].iter().zip(told.rows.iter().zip(&stored)) {
            let row: Json = serde_json::from_str(row).unwrap();
            prop_assert_eq!(&row["_key"], key);
            for (name, value) in stored.as_object().unwrap() {
                prop_assert_eq!(&row[name], value);
            }
        }
    }

    #[test]
    fn fields_of_a_hash_are_told_as_they_are(
        stored in prop::collection::btree_map("[a-z\"\\\\é]{1,5}", vec(any::<u8>(), 0..20), 1..20),
        cuts in vec(any::<u8>(), 0..60),
    ) {
        let mut words = Vec::new();
        let pairs = stored.iter();
        let entries = pairs.flat_map(|(name, value)| [bytes(name.as_bytes()), bytes(value)]).collect();
        write_reply(&mut words, &Reply::Array(vec![bytes(b"0"), Reply::Array(entries)]));
        let told = told(&words, &cuts, Source::Hash);
        prop_assert_eq!(&told.failure, &None);
        prop_assert_eq!(told.rows.len(), stored.len());
        for (row, name) in told.rows.iter().zip(stored.keys()) {
            prop_assert_eq!(&serde_json::from_str::<Json>(row).unwrap()["_key"], name);
        }
    }

    #[test]
    fn what_was_damaged_is_told_alike_however_it_is_cut(
        said in vec(reply(), 1..5),
        damage in vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cuts in vec(any::<u8>(), 0..60),
        source in source(),
    ) {
        let mut words = Vec::new();
        said.iter().for_each(|reply| write_reply(&mut words, reply));
        for (place, byte) in damage {
            let place = place.index(words.len());
            words[place] = byte;
        }
        let whole = told(&words, &[], source);
        let pieces = told(&words, &cuts, source);
        // Whether something is left behind the answer is only known of what has been received.
        prop_assert_eq!(&Told { is_idle: whole.is_idle, ..pieces }, &whole);
        for row in whole.rows.iter().chain(&whole.values).chain(&whole.columns) {
            prop_assert!(serde_json::from_str::<Json>(row).is_ok(), "{row}");
        }
    }

    #[test]
    fn the_short_way_to_a_value_agrees_with_the_long_one_for_any_header(
        sign in prop::sample::select(vec!["", "", "+", "-", " "]),
        zeros in 0_usize..12,
        length in 0_usize..12,
    ) {
        let words = format!("${sign}{}{length}\r\n{}\r\n", "0".repeat(zeros), "a".repeat(length));
        let [short, long] = value_both_ways(words.as_bytes(), 10);
        prop_assert_eq!(short, long);
    }
}

#[test]
fn a_list_where_a_type_was_asked_for_is_refused_however_it_is_cut() {
    let strings = b"*3\r\n$-1\r\n$-1\r\n$-1\r\n";
    let types = b"*1\r\n+json\r\n+none\r\n+none\r\n";
    let words = [&strings[..], types].concat();
    for end in strings.len()..words.len() {
        let told = told(&words, &[u8::try_from(end).unwrap()], Source::Listed);
        assert!(told.failure.is_some_and(|failure| failure.contains("another kind")), "{end}");
        assert_eq!(told.rows, Vec::<String>::new(), "{end}");
    }
}

fn told(words: &[u8], cuts: &[u8], source: Source) -> Told {
    tell(Script::answer(cut(words, cuts)), source, LIMIT).now_or_never().unwrap()
}

fn source() -> impl Strategy<Value = Source> {
    prop::sample::select(vec![
        Source::Scanned { keys_only: false },
        Source::Scanned { keys_only: true },
        Source::Listed,
        Source::List,
        Source::Set,
        Source::SortedSet,
        Source::Hash,
        Source::Stream,
    ])
}

fn reply() -> impl Strategy<Value = Reply> {
    let leaf = prop_oneof![
        Just(Reply::Null),
        any::<i64>().prop_map(Reply::Integer),
        vec(any::<u8>(), 0..40).prop_map(Reply::Bytes),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| vec(inner, 0..6).prop_map(Reply::Array))
}

/// Objects whose numbers are exact as doubles.
fn object() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i32>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
    ];
    let value = leaf.prop_recursive(4, 30, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::hash_map(".{0,4}", inner, 0..5)
                .prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    });
    prop::collection::hash_map("[a-z\"\\\\\u{1}é]{0,6}", value, 0..8)
        .prop_map(|fields| Json::Object(fields.into_iter().collect()))
}

fn bytes(text: &[u8]) -> Reply {
    Reply::Bytes(text.to_vec())
}

fn write_reply(out: &mut Vec<u8>, reply: &Reply) {
    let mut line = String::new();
    match reply {
        Reply::Null => line.push_str("$-1\r\n"),
        Reply::Integer(number) => write!(line, ":{number}\r\n").unwrap(),
        Reply::Bytes(bytes) => write!(line, "${}\r\n", bytes.len()).unwrap(),
        Reply::Array(entries) => write!(line, "*{}\r\n", entries.len()).unwrap(),
        Reply::Error(error) => write!(line, "-{error}\r\n").unwrap(),
    }
    out.extend(line.as_bytes());
    match reply {
        Reply::Bytes(bytes) => {
            out.extend(bytes);
            out.extend(b"\r\n");
        }
        Reply::Array(entries) => entries.iter().for_each(|entry| write_reply(out, entry)),
        Reply::Null | Reply::Integer(_) | Reply::Error(_) => {}
    }
}
