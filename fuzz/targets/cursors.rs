#![no_main]
//! Positions of pages: any text a caller hands back is refused or is a position, and every position reads back.

use arbitrary::Arbitrary;
use bridge_core::Position;
use libfuzzer_sys::fuzz_target;

#[derive(Debug, Arbitrary)]
enum Input {
    /// What a caller hands back, and how many columns the order has.
    Cursor(String, u8),
    /// The key of a page's last row.
    Keys(Vec<Option<String>>),
}

fuzz_target!(|input: Input| {
    match input {
        Input::Cursor(cursor, columns) => match Position::decode(&cursor, usize::from(columns)) {
            Ok(position) => {
                assert_eq!(position.0.len(), usize::from(columns));
                reads_back(&position);
            }
            Err(invalid) => assert_eq!(invalid.field, "cursor"),
        },
        Input::Keys(keys) => reads_back(&Position(keys)),
    }
});

fn reads_back(position: &Position) {
    let cursor = position.encode();
    assert_eq!(Position::decode(&cursor, position.0.len()).as_ref(), Ok(position), "{cursor}");
    assert!(Position::decode(&cursor, position.0.len() + 1).is_err());
}
