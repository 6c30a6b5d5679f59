#![no_main]
//! The `where` grammar: what is accepted reads back from its own JSON as the same condition, under other names, too.

use libfuzzer_sys::fuzz_target;
use protocol::{Capabilities, Filter, QueryOptions};
use serde_json::value::RawValue;

fuzz_target!(|text: &str| {
    match Filter::from_json(text) {
        Ok(filter) => check(&filter),
        Err(error) => assert!(error.to_string().len() <= 4_096),
    }
    if let Ok(raw) = serde_json::from_str::<&RawValue>(text)
        && let Ok(options) = QueryOptions::parse(raw)
    {
        let written = RawValue::from_string(options.to_json()).unwrap();
        let again = QueryOptions::parse(&written).unwrap();
        assert_eq!(again.filter.condition(), options.filter.condition());
        assert_eq!(QueryOptions { filter: options.filter.clone(), ..again }, options);
    }
});

fn check(filter: &Filter) {
    let written = filter.to_json();
    let again = Filter::from_json(&written).unwrap();
    assert_eq!(again.condition(), filter.condition());
    assert_eq!(again.to_json(), written);
    let bridge = Capabilities::default();
    // Writing adds no operator that the caller did not use.
    assert!(filter.check(&bridge).is_err() || again.check(&bridge).is_ok());
    let renamed = filter.try_rename(&mut |name| Ok::<_, ()>(format!("c{name}"))).unwrap();
    assert_eq!(renamed.condition().fields().len(), filter.condition().fields().len());
}
