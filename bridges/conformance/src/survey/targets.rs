//! What a source says of itself and of its targets.

use std::collections::{BTreeSet, HashSet};

use bridge_core::BridgeError;
use protocol::SourceConfig;

use super::sample::{Sample, narrowed};
use super::{Need, Site, SurveyCase};
use crate::failure::{Failure, Outcome, ensure, same};

pub(super) const CASES: &[SurveyCase] = &[
    case("D1", "a connected bridge answers, and has its driver's name", &[], |s| Box::pin(connects(s))),
    case("D2", "targets are listed in order, each once", &[], |s| Box::pin(targets_are_listed(s))),
    case("D3", "a target's columns are those of its rows", &[], |s| Box::pin(targets_are_described(s))),
    case("D4", "the primary key tells rows apart", &[], |s| Box::pin(keys_are_unique(s))),
    case("D5", "a configuration without what it requires is refused", &[], |s| {
        Box::pin(empty_configuration(s))
    }),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Site<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> SurveyCase {
    SurveyCase { id, group: "targets", title, needs, run }
}

async fn connects(s: &Site<'_>) -> Outcome {
    s.bridge.test(&s.call()).await?;
    same("the bridge's name", s.bridge.driver_name(), s.driver.name())?;
    same("the manifest's name", s.driver.manifest().package_name.as_str(), s.driver.name())?;
    s.driver.check(s.config).map_err(|mistakes| Failure::wrong(mistakes.to_string()))?;
    let other = s.connect().await?;
    other.close().await;
    // Closing twice is no mistake, and another connection does not mind.
    other.close().await;
    s.bridge.test(&s.call()).await?;
    Ok(())
}

async fn targets_are_listed(s: &Site<'_>) -> Outcome {
    let listed = s.bridge.list_targets(&s.call()).await?;
    ensure(listed.is_sorted(), || format!("not sorted: {listed:?}"))?;
    let twice = listed.windows(2).find(|pair| matches!(pair, [left, right] if left == right));
    ensure(twice.is_none(), || format!("listed twice: {twice:?}"))?;
    same("the same list again", listed.as_slice(), s.listed)
}

async fn targets_are_described(s: &Site<'_>) -> Outcome {
    for sample in s.samples {
        let (schema, target) = (&sample.schema, &sample.target);
        same("the name of the target", schema.name.as_str(), target.as_str())?;
        let names: HashSet<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        same(&format!("different columns of {target}"), names.len(), schema.columns.len())?;
        ensure(!names.is_empty(), || format!("{target} has no columns"))?;
        let nameless = schema.columns.iter().find(|column| column.kind.is_empty() || column.name.is_empty());
        ensure(nameless.is_none(), || format!("{target}: a column without name or type: {nameless:?}"))?;
        let other = sample.columns.iter().find(|column| !names.contains(column.name.as_str()));
        ensure(other.is_none(), || {
            format!("{target}: rows have a column that is not described: {:?}", other.map(|it| &it.name))
        })?;
        let null = schema
            .columns
            .iter()
            .filter(|column| !column.nullable)
            .find(|it| sample.columns.iter().any(|column| column.name == it.name && column.nulls));
        ensure(null.is_none(), || format!("{target}: a null where none is allowed: {null:?}"))?;
        if sample.complete && schema.row_count > 0 {
            s.close_enough(&format!("row count of {target}"), schema.row_count, sample.rows.len())?;
        }
    }
    Ok(())
}

async fn keys_are_unique(s: &Site<'_>) -> Outcome {
    let keyed: Vec<&Sample> = s.samples.iter().filter(|sample| !sample.key().is_empty()).collect();
    if keyed.is_empty() {
        return Err(Failure::Impossible("no target has a primary key"));
    }
    for sample in keyed {
        let key: BTreeSet<&str> = sample.key().into_iter().collect();
        let mut seen = HashSet::new();
        for row in &sample.rows {
            let given = key.iter().all(|name| row.get(*name).is_some_and(|value| !value.is_null()));
            ensure(given, || format!("{}: a row without its key: {row:?}", sample.target))?;
            let text = narrowed(row, &key);
            ensure(seen.insert(text.clone()), || format!("{}: two rows with the key {text}", sample.target))?;
        }
    }
    Ok(())
}

async fn empty_configuration(s: &Site<'_>) -> Outcome {
    if !s.driver.manifest().fields.iter().any(|field| field.required) {
        return Err(Failure::Impossible("the manifest requires nothing"));
    }
    let empty = SourceConfig::default();
    let Err(mistakes) = s.driver.check(&empty) else {
        return Err(Failure::wrong("an empty configuration has no mistake"));
    };
    ensure(!mistakes.0.is_empty(), || "no mistake is named".to_owned())?;
    match s.driver.connect(&empty, &s.call()).await.map(|_| ()) {
        Err(BridgeError::Config(_)) => Ok(()),
        other => Err(Failure::wrong(format!("expected a configuration error, got {other:?}"))),
    }
}
