#![no_main]
//! Options of `aggregate`: whatever is accepted has every number in its range and every name in its place, so that a plan
//! made from it needs no checks of its own.

use std::collections::HashSet;

use libfuzzer_sys::fuzz_target;
use protocol::{AggregateOptions, Bucket, Dimension, Filter, Join, Measure, MeasureKind};
use serde_json::value::RawValue;

fuzz_target!(|text: &str| {
    let Ok(raw) = serde_json::from_str::<&RawValue>(text) else { return };
    match AggregateOptions::parse(raw) {
        Ok(options) => check(&options),
        Err(error) => assert!(error.to_string().len() <= 4_096),
    }
});

fn check(options: &AggregateOptions) {
    assert!(options.sample.is_none_or(|rate| rate > 0.0 && rate < 1.0));
    assert!(options.dimensions.len() <= 32 && options.measures.len() <= 128 && options.joins.len() <= 32);
    distinct(options.dimensions.iter().map(|dimension| dimension.name.as_str()));
    distinct(options.measures.iter().map(|(name, _)| name.as_str()));
    distinct(options.joins.iter().map(|join| join.alias.as_str()));
    options.dimensions.iter().for_each(|dimension| check_dimension(dimension, &options.joins));
    options.measures.iter().for_each(|(_, measure)| check_measure(measure));
    options.joins.iter().for_each(check_join);
    reads_back(&options.filter);
    reads_back(&options.having);
    for name in options.having.condition().fields() {
        assert!(name == "count" || options.measures.iter().any(|(measure, _)| measure == name));
    }
}

fn check_dimension(dimension: &Dimension, joins: &[Join]) {
    assert!(dimension.from.as_ref().is_none_or(|from| joins.iter().any(|join| join.alias == *from)));
    match &dimension.bucket {
        None | Some(Bucket::Calendar(_)) => {}
        Some(Bucket::Step(step)) => assert!(step.is_finite() && *step > 0.0),
        Some(Bucket::Breaks(breaks)) => {
            assert!(breaks.len() >= 2 && breaks.iter().all(|bound| bound.is_finite()));
            assert!(breaks.windows(2).all(|pair| pair[0] < pair[1]));
        }
        Some(Bucket::Geohash { precision, .. }) => assert!((1..=12).contains(precision)),
        Some(Bucket::H3 { resolution, .. }) => assert!((0..=15).contains(resolution)),
    }
}

fn check_measure(measure: &Measure) {
    assert!(measure.kind == MeasureKind::Count || measure.column.is_some());
    match measure.kind {
        MeasureKind::Percentile(p) => assert!(p > 0.0 && p < 1.0),
        MeasureKind::TopK(k) => assert!((1..=10_000).contains(&k)),
        _ => {}
    }
    reads_back(&measure.filter);
}

fn check_join(join: &Join) {
    assert!(join.alias != "t" && !join.alias.is_empty());
    assert!(join.alias.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_'));
    assert!(!join.alias.as_bytes()[0].is_ascii_digit());
}

fn reads_back(filter: &Filter) {
    assert_eq!(Filter::from_json(&filter.to_json()).unwrap().condition(), filter.condition());
}

fn distinct<'a>(names: impl Iterator<Item = &'a str>) {
    let mut seen = HashSet::new();
    names.for_each(|name| assert!(seen.insert(name), "{name} occurs twice"));
}
