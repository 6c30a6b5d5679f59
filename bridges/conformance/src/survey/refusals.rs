//! What must be refused, and how.

use bridge_core::BridgeError;
use serde_json::{Value as Json, json};

use super::site::refused;
use super::{Need, Site, SurveyCase};
use crate::failure::{Failure, Outcome, ensure, same};

/// A name that no target and no column has.
const UNKNOWN: &str = "no_such_name_7f3a";

pub(super) const CASES: &[SurveyCase] = &[
    case("D80", "an unknown target is refused, or has no rows", &[], |s| Box::pin(unknown_targets(s))),
    case("D81", "an unknown column is refused by name, or is null", &[], |s| Box::pin(unknown_columns(s))),
    case("D82", "an unknown operator is refused by name", &[], |s| Box::pin(unknown_operators(s))),
    case("D83", "a target is never a piece of another language", &[], |s| Box::pin(hostile_targets(s))),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Site<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> SurveyCase {
    SurveyCase { id, group: "refusals", title, needs, run }
}

/// It must not look like an outage, a timeout or a fault of ours.
fn is_about_the_target<T: std::fmt::Debug>(target: &str, answer: Outcome<T>) -> Outcome {
    let error = refused(&format!("target {target:?}"), answer)?;
    let right = matches!(error, BridgeError::Query { .. } | BridgeError::Invalid(_));
    ensure(right, || format!("{target:?}: expected an error about the target, got: {error:?}"))
}

async fn unknown_targets(s: &Site<'_>) -> Outcome {
    match s.query(UNKNOWN, json!({})).await {
        Ok(page) => same("rows of an unknown target", page.rows.len(), 0)?,
        answer => is_about_the_target(UNKNOWN, answer)?,
    }
    match s.count(UNKNOWN, json!({})).await {
        Ok(count) => same("count of an unknown target", count, 0)?,
        answer => is_about_the_target(UNKNOWN, answer)?,
    }
    if s.driver.capabilities().cursor {
        match s.read(UNKNOWN, json!({})).await {
            Ok(page) => same("rows of an unknown target", page.rows.len(), 0)?,
            answer => is_about_the_target(UNKNOWN, answer)?,
        }
    }
    let answer = s.bridge.introspect_target(&s.call(), UNKNOWN).await;
    is_about_the_target(UNKNOWN, answer.map_err(Failure::from))?;
    goes_on(s).await
}

/// The bridge still works.
async fn goes_on(s: &Site<'_>) -> Outcome {
    let Some(sample) = s.samples.first() else { return Ok(()) };
    same("rows of another target", s.query(&sample.target, json!({"limit": 1})).await?.rows.len(), 1)
}

async fn unknown_columns(s: &Site<'_>) -> Outcome {
    for sample in s.samples {
        for (options, rows) in [
            (json!({"where": {UNKNOWN: 1}}), Some(0)),
            (json!({"where": {UNKNOWN: null}, "limit": 1}), Some(1)),
            (json!({"orderBy": {"field": UNKNOWN}, "limit": 1}), Some(1)),
            (json!({"select": [UNKNOWN], "limit": 1}), None),
        ] {
            match s.query(&sample.target, options.clone()).await {
                Ok(page) => {
                    ensure(rows.is_none_or(|rows| rows == page.rows.len()), || {
                        format!("{} by {options}: {} rows", sample.target, page.rows.len())
                    })?;
                    let value = page.rows.iter().filter_map(|row| row.get(UNKNOWN)).find(|it| !it.is_null());
                    same("the value of an unknown column", value, None::<&Json>)?;
                }
                Err(Failure::Bridge(BridgeError::Invalid(invalid))) => {
                    ensure(invalid.field.contains(UNKNOWN), || format!("{options}: refused is {invalid}"))?;
                }
                Err(other) => return Err(other),
            }
        }
    }
    Ok(())
}

async fn unknown_operators(s: &Site<'_>) -> Outcome {
    let asked = s.samples.iter().find_map(|sample| Some((sample, sample.asked().next()?)));
    let Some((sample, column)) = asked else { return Err(Failure::Impossible("no target has columns")) };
    for (filter, op) in [
        (json!({&column.name: {"$regex": "a"}}), "$regex"),
        (json!({&column.name: {"nested": 1}}), "$nested"),
        (json!({"$where": "1=1"}), "$where"),
    ] {
        for answer in [
            s.query(&sample.target, json!({ "where": filter })).await.map(|_| ()),
            s.count(&sample.target, json!({ "where": filter })).await.map(|_| ()),
        ] {
            let error = refused(op, answer)?;
            let right = matches!(&error, BridgeError::Operator(refused) if refused.op == op);
            ensure(right, || format!("expected the refusal of {op}, got: {error}"))?;
        }
    }
    Ok(())
}

async fn hostile_targets(s: &Site<'_>) -> Outcome {
    let known = s.samples.first().map(|sample| sample.target.as_str()).unwrap_or_default();
    let hostile =
        ["", "*", "%", ".", "../../etc/passwd", "a?b=c#d", "(SELECT 1)", "a\u{0}b", "http://localhost/"];
    let made = [format!("{known}; DROP TABLE x"), format!("{known} --"), format!("{known}/..")];
    for target in hostile.into_iter().map(str::to_owned).chain(made) {
        match s.query(&target, json!({"limit": 10})).await {
            Ok(page) => same(&format!("rows of {target:?}"), page.rows.len(), 0)?,
            answer => is_about_the_target(&target, answer)?,
        }
    }
    goes_on(s).await
}
