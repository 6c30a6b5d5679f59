#![no_main]
//! Instants: any text is refused or reads back from its normal form, any number of microseconds has a text.

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use protocol::{Number, Timestamp};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    Text(&'a str),
    Micros(i64),
}

fuzz_target!(|input: Input<'_>| {
    match input {
        Input::Text(text) => {
            if let Some(timestamp) = Timestamp::parse(text) {
                check(timestamp);
            }
            // Numbers are as small a grammar, and stand beside instants in every filter.
            if let Some(number) = Number::parse(text) {
                assert_eq!(number.as_str(), text);
                let (integer, double) = (number.as_i64(), number.as_f64());
                assert!(integer.is_none_or(|integer| integer as f64 == double), "{text}");
            }
        }
        Input::Micros(micros) => check(Timestamp::from_micros(micros)),
    }
});

fn check(timestamp: Timestamp) {
    let text = timestamp.to_string();
    let (year, month, day) = timestamp.civil();
    assert!((1..=12).contains(&month) && (1..=31).contains(&day));
    if (0..=9_999).contains(&year) {
        assert_eq!(Timestamp::parse(&text), Some(timestamp), "{text}");
    }
}
