//! Which aggregates a plugin takes itself. The runner does the others, from rows.

use protocol::{AggregateOptions, Bucket, Filter, MeasureKind};

use crate::bindings::types::Aggregates;
use crate::describe::Described;

/// Whether the plugin's own `aggregate` does everything that is asked.
pub(crate) fn can_aggregate(described: &Described, options: &AggregateOptions) -> bool {
    let filters = options.measures.iter().map(|(_, measure)| &measure.filter);
    let known = |filter: &Filter| described.own_filters(filter);
    let doable = needs(options).is_some_and(|needs| described.own_aggregates.contains(needs));
    doable && known(&options.filter) && filters.into_iter().all(known)
}

/// What is asked; nothing when there is no word for a part of it.
fn needs(options: &AggregateOptions) -> Option<Aggregates> {
    let mut needs = Aggregates::empty();
    for dimension in &options.dimensions {
        needs |= match &dimension.bucket {
            None => Aggregates::GROUP_BY,
            Some(Bucket::Calendar(_)) => Aggregates::TIME_BUCKET,
            Some(Bucket::Step(_) | Bucket::Breaks(_)) => Aggregates::NUMERIC_BUCKET,
            Some(Bucket::Geohash { .. }) => Aggregates::GEOHASH_BUCKET,
            Some(Bucket::H3 { .. }) => Aggregates::H3_BUCKET,
        };
    }
    for (_, measure) in &options.measures {
        needs |= measured(measure.kind)?;
    }
    let parts = [
        (!options.having.is_everything(), Aggregates::HAVING),
        (!options.sort.is_empty() || options.limit.is_some(), Aggregates::ORDER_LIMIT),
        (options.sample.is_some(), Aggregates::SAMPLING),
        (!options.joins.is_empty(), Aggregates::JOINS),
    ];
    for (asked, need) in parts {
        if asked {
            needs |= need;
        }
    }
    Some(needs)
}

fn measured(kind: MeasureKind) -> Option<Aggregates> {
    match kind {
        MeasureKind::Count => Some(Aggregates::COUNT),
        MeasureKind::CountDistinct => Some(Aggregates::COUNT_DISTINCT),
        MeasureKind::Sum | MeasureKind::Rate => Some(Aggregates::SUM),
        MeasureKind::Avg => Some(Aggregates::AVG),
        MeasureKind::Min | MeasureKind::Max => Some(Aggregates::MIN_MAX),
        MeasureKind::Percentile(_) => Some(Aggregates::PERCENTILE),
        MeasureKind::TopK(_) => Some(Aggregates::TOP_K),
        // There is no flag for these.
        MeasureKind::First | MeasureKind::Last => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::*;

    fn needs_of(options: &str) -> Option<Aggregates> {
        let raw = RawValue::from_string(options.to_owned()).unwrap();
        needs(&AggregateOptions::parse(&raw).unwrap())
    }

    #[test]
    fn every_part_of_an_aggregate_needs_its_own_flag() {
        assert_eq!(needs_of("{}"), Some(Aggregates::empty()));
        assert_eq!(
            needs_of(r#"{"dimensions":[{"field":"a"},{"field":"b","bucket":"day"}],"limit":3}"#),
            Some(Aggregates::GROUP_BY | Aggregates::TIME_BUCKET | Aggregates::ORDER_LIMIT)
        );
        assert_eq!(
            needs_of(r#"{"measures":{"m":{"agg":"max","column":"a"},"n":{"agg":"count"}}}"#),
            Some(Aggregates::MIN_MAX | Aggregates::COUNT)
        );
        assert_eq!(needs_of(r#"{"measures":{"m":{"agg":"first","column":"a"}}}"#), None);
    }
}
