//! What must be refused, and how: typed, by name, and before it can do harm. Also what a bridge says of its targets.

use bridge_core::BridgeError;
use protocol::{AggregateOptions, JobKind, QueryOptions, SourceConfig};
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::{AGGREGATE, CURSOR, Case, GROUP_BY, Need};
use crate::failure::{Failure, Outcome, ensure, same};
use crate::subject::{Subject, collect};

pub(super) const CASES: &[Case] = &[
    case("R1", "an unknown operator is refused by name", &[], |s| Box::pin(unknown_operators(s))),
    case("R2", "an unknown column is refused by name", &[], |s| Box::pin(unknown_columns(s))),
    case("R3", "an unknown column of an aggregate is refused by name", &[AGGREGATE, GROUP_BY], |s| {
        Box::pin(unknown_columns_of_aggregates(s))
    }),
    case("R4", "an unknown table fails and the bridge goes on", &[], |s| Box::pin(unknown_tables(s))),
    case("R4-read", "a scan of an unknown table fails", &[CURSOR], |s| Box::pin(scan_of_unknown_table(s))),
    case("R5", "a target is never a piece of SQL or a pattern", &[], |s| Box::pin(hostile_targets(s))),
    case("R6", "search and similar are refused as kinds where they are not declared", &[], |s| {
        Box::pin(undeclared_kinds(s))
    }),
    case("R6-field", "a column without vectors is refused by name", &[], |s| {
        Box::pin(columns_without_vectors(s))
    }),
    case("R7", "an empty configuration is refused with every mistake", &[], |s| {
        Box::pin(empty_configuration(s))
    }),
    case("E9-typed", "an unknown operator in an aggregate is refused by name", &[], |s| {
        Box::pin(unknown_aggregate_operators(s))
    }),
    case("E10", "numbers of an aggregate that are no numbers are refused by name", &[AGGREGATE], |s| {
        Box::pin(wrong_types(s))
    }),
    case("T1", "targets are listed in order", &[], |s| Box::pin(targets_are_listed(s))),
    case("T2", "a target's columns are described", &[], |s| Box::pin(targets_are_described(s))),
    case("T3", "a target that is not there is not described", &[], |s| {
        Box::pin(no_description_of_nothing(s))
    }),
];

const fn case(
    id: &'static str,
    title: &'static str,
    needs: &'static [Need],
    run: for<'a> fn(&'a Subject<'a>) -> bridge_core::BoxFuture<'a, Outcome>,
) -> Case {
    Case { id, group: "refusals", title, needs, run }
}

/// The error of something that must fail.
fn refused<T: std::fmt::Debug>(what: &str, outcome: Outcome<T>) -> Outcome<BridgeError> {
    match outcome {
        Err(Failure::Bridge(error)) => Ok(error),
        Err(other) => Err(other),
        Ok(answer) => Err(Failure::wrong(format!("{what} was answered with {answer:?}"))),
    }
}

fn is_operator(error: &BridgeError, op: &str) -> Outcome {
    let right = matches!(error, BridgeError::Operator(refused) if refused.op == op);
    ensure(right, || format!("expected the refusal of {op}, got: {error}"))
}

/// Names the field.
fn is_invalid(error: &BridgeError, field: &str) -> Outcome {
    let right = matches!(error, BridgeError::Invalid(invalid) if invalid.field.contains(field));
    ensure(right, || format!("expected a refusal that names {field}, got: {error}"))
}

async fn unknown_operators(s: &Subject<'_>) -> Outcome {
    for (filter, op) in [
        (json!({"name": {"$regex": "a"}}), "$regex"),
        (json!({"name": {"nested": 1}}), "$nested"),
        (json!({"$where": "1=1"}), "$where"),
        (json!({"$expr": {}}), "$expr"),
    ] {
        is_operator(&refused(op, s.query("small", json!({ "where": filter })).await)?, op)?;
        is_operator(&refused(op, s.count("small", json!({ "where": filter })).await)?, op)?;
    }
    Ok(())
}

async fn unknown_aggregate_operators(s: &Subject<'_>) -> Outcome {
    let candidates = json!({"candidatesWhere": {"cuisine": {"$regex": "a"}}});
    is_operator(&refused("$regex", s.aggregate("facts", candidates).await)?, "$regex")?;
    let measure = json!({"measures": {"n": {"agg": "count", "where": {"cuisine": {"$near": 1}}}}});
    is_operator(&refused("$near", s.aggregate("facts", measure).await)?, "$near")
}

async fn unknown_columns(s: &Subject<'_>) -> Outcome {
    if !s.declares() {
        // A column that no row has is null in all of them.
        same("rows", s.query("small", json!({"where": {"nope": 1}})).await?.len(), 0)?;
        same("rows", s.query("small", json!({"where": {"nope": null}})).await?.len(), 5)?;
        return same("count", s.count("small", json!({"where": {"nope": 1}})).await?, 0);
    }
    for (options, field) in [
        (json!({"where": {"nope": 1}}), "nope"),
        (json!({"orderBy": {"field": "nope"}}), "nope"),
        (json!({"select": ["id", "nope"]}), "nope"),
        (json!({"project": {"output": "nope"}}), "output"),
        (json!({"keyset": ["nope"], "limit": 1}), "nope"),
    ] {
        is_invalid(&refused("nope", s.query("small", options).await)?, field)?;
    }
    is_invalid(&refused("nope", s.count("small", json!({"where": {"nope": 1}})).await)?, "nope")
}

async fn unknown_columns_of_aggregates(s: &Subject<'_>) -> Outcome {
    if !s.declares() {
        let options = json!({"measures": {"n": {"agg": "sum", "column": "nope"}}});
        let buckets = s.aggregate("facts", options).await?;
        let sum = buckets.first().and_then(|bucket| bucket.get("measures")?.get("n").cloned());
        return same("the sum of what is not there", sum, Some(Json::Null));
    }
    for options in [
        json!({"candidatesWhere": {"nope": 1}}),
        json!({"measures": {"n": {"agg": "sum", "column": "nope"}}}),
        json!({"measures": {"n": {"agg": "count", "where": {"nope": 1}}}}),
    ] {
        match s.aggregate("facts", options.clone()).await {
            Err(Failure::Bridge(BridgeError::Invalid(_))) => {}
            Err(other) => return Err(other),
            Ok(_) => return Err(Failure::wrong(format!("{options} was answered"))),
        }
    }
    Ok(())
}

/// The database or the bridge may be the one to notice; it must not look like an outage, a timeout or a fault of ours.
fn is_about_the_target(error: &BridgeError) -> Outcome {
    let right = matches!(error, BridgeError::Query { .. } | BridgeError::Invalid(_));
    ensure(right, || format!("expected an error about the target, got: {error:?}"))
}

async fn unknown_tables(s: &Subject<'_>) -> Outcome {
    if !s.declares() {
        same("rows", s.query("no_such_table", json!({})).await?.len(), 0)?;
        return same("count", s.count("no_such_table", json!({})).await?, 0);
    }
    is_about_the_target(&refused("no_such_table", s.query("no_such_table", json!({})).await)?)?;
    is_about_the_target(&refused("no_such_table", s.count("no_such_table", json!({})).await)?)?;
    same("rows of another table", s.query("small", json!({})).await?.len(), 5)
}

async fn scan_of_unknown_table(s: &Subject<'_>) -> Outcome {
    match s.read("no_such_table", json!({})).await {
        Ok(page) if !s.declares() && page.rows.is_empty() => Ok(()),
        Err(Failure::Bridge(BridgeError::Query { .. } | BridgeError::Invalid(_))) => Ok(()),
        Err(other) => Err(other),
        Ok(page) => Err(Failure::wrong(format!("an unknown table has {} rows", page.rows.len()))),
    }
}

async fn hostile_targets(s: &Subject<'_>) -> Outcome {
    let call = s.call();
    for target in [
        "",
        "*",
        "sma*",
        "small; DROP TABLE small",
        "small --",
        "(SELECT 1)",
        "a.b.c.d.e",
        "\"small",
        "small\"",
        ".",
        "small.",
        "%",
        "'small'",
        "small\u{0}",
    ] {
        let answer = match s.bridge.query(&call, target, QueryOptions::default()).await {
            Ok(rows) => collect(rows).await,
            Err(error) => Err(error),
        };
        if !s.declares() && matches!(&answer, Ok((rows, _)) if rows.is_empty()) {
            continue;
        }
        is_about_the_target(&refused(&format!("target {target:?}"), answer.map_err(Failure::from))?)?;
    }
    same("rows that are still there", s.query("small", json!({})).await?.len(), 5)
}

async fn undeclared_kinds(s: &Subject<'_>) -> Outcome {
    let declared = s.driver.capabilities();
    let mut answers = Vec::new();
    if !declared.search {
        let answer = s.search("small", json!({"query": "Alpha"})).await.map(|_| ());
        answers.push((JobKind::Search, answer));
    }
    if !declared.similar {
        let answer = s.similar("small", json!({"vector": [1], "field": "name"})).await.map(|_| ());
        answers.push((JobKind::Similar, answer));
    }
    for (kind, answer) in answers {
        let error = refused(kind.as_str(), answer)?;
        let right = matches!(error, BridgeError::UnsupportedKind { .. });
        ensure(right, || format!("expected {kind} to be unsupported, got: {error}"))?;
    }
    Ok(())
}

async fn columns_without_vectors(s: &Subject<'_>) -> Outcome {
    for field in ["name", "nope"] {
        let answer = s.similar("small", json!({"vector": [1, 2, 3], "field": field})).await.map(|_| ());
        let error = refused(&format!("similar by {field}"), answer)?;
        let right = match &error {
            BridgeError::Invalid(invalid) => invalid.field == "field",
            // The engine has vectors, this server does not.
            BridgeError::UnsupportedKind { .. } => true,
            _ => false,
        };
        ensure(right, || format!("expected field to be refused, got: {error}"))?;
    }
    Ok(())
}

async fn empty_configuration(s: &Subject<'_>) -> Outcome {
    let empty = SourceConfig::default();
    let mistakes = match s.driver.check(&empty) {
        Err(mistakes) => mistakes,
        Ok(()) => return Err(Failure::wrong("an empty configuration has no mistake")),
    };
    ensure(!mistakes.0.is_empty(), || "no mistake is named".to_owned())?;
    match s.driver.connect(&empty, &s.call()).await.map(|_| ()) {
        Err(BridgeError::Config(_)) => Ok(()),
        other => Err(Failure::wrong(format!("expected a configuration error, got {other:?}"))),
    }
}

async fn wrong_types(s: &Subject<'_>) -> Outcome {
    let dimension = |bucket: Json| json!({"dimensions": [{"field": "prepTime", "bucket": bucket}]});
    for (options, field) in [
        (dimension(json!("day'); DROP TABLE small; --")), "bucket"),
        (dimension(json!({"type": "numeric", "step": "1 OR 1=1"})), "step"),
        (dimension(json!({"type": "numeric", "breaks": [0, "30"]})), "breaks"),
        (json!({"measures": {"m": {"agg": "percentile", "column": "views", "p": "0.5"}}}), "measures.m.p"),
        (json!({"measures": {"m": {"agg": "top_k", "column": "views", "k": "2"}}}), "measures.m.k"),
        (json!({"sample": "0.5"}), "sample"),
        (json!({"limit": "1; SELECT 1"}), "limit"),
    ] {
        is_invalid(&refused(field, s.aggregate("facts", options).await)?, field)?;
    }
    // The same through the types, past the parser: an alias that is SQL stays a name.
    let hostile =
        json!({"dimensions": [{"field": "country", "as": "x\"; DROP TABLE small; --"}]}).to_string();
    let raw = RawValue::from_string(hostile).map_err(|error| Failure::Fixture(error.to_string()))?;
    let stream =
        s.bridge.aggregate(&s.call(), &s.fixture.target("facts"), AggregateOptions::parse(&raw)?).await?;
    same("buckets", collect(stream).await?.0.len(), 3)?;
    same("rows that are still there", s.query("small", json!({})).await?.len(), 5)
}

async fn targets_are_listed(s: &Subject<'_>) -> Outcome {
    let targets = s.bridge.list_targets(&s.call()).await?;
    ensure(targets.is_sorted(), || format!("not sorted: {targets:?}"))?;
    for table in s.seed.tables.iter().filter(|table| s.declares() || table.row_count() > 0) {
        let listed = targets.iter().any(|it| *it == table.name || *it == s.fixture.target(table.name));
        ensure(listed, || format!("{} is not listed: {targets:?}", table.name))?;
    }
    Ok(())
}

async fn targets_are_described(s: &Subject<'_>) -> Outcome {
    let described = |table: &&crate::seed::Table| s.declares() || table.row_count() > 0;
    for table in s.seed.tables.iter().filter(|table| table.name != "big").filter(described) {
        let target = s.fixture.target(table.name);
        let schema = s.bridge.introspect_target(&s.call(), &target).await?;
        let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        same(table.name, names, s.columns(table))?;
        if s.fixture.counts_rows() || schema.row_count > 0 {
            same(&format!("rows of {}", table.name), schema.row_count, table.row_count())?;
        }
        let own = schema.columns.len().saturating_sub(table.columns.len());
        let own_keys = schema.columns.iter().take(own).all(|column| column.primary_key);
        ensure(own_keys, || format!("{}: the engine's own key is no primary key", table.name))?;
        for (described, column) in schema.columns.iter().skip(own).zip(&table.columns) {
            let key = own == 0 && table.key.contains(&column.name);
            same(&format!("primary key {}.{}", table.name, column.name), described.primary_key, key)?;
            // Engines differ in whether a key that is not declared NOT NULL may be null.
            let wrong = !key && described.nullable != column.nullable;
            ensure(!wrong, || format!("{}.{}: nullable is {}", table.name, column.name, described.nullable))?;
            ensure(!described.kind.is_empty(), || format!("{}.{} has no type", table.name, column.name))?;
        }
    }
    Ok(())
}

async fn no_description_of_nothing(s: &Subject<'_>) -> Outcome {
    let answer = s.bridge.introspect_target(&s.call(), "no_such_table").await;
    is_about_the_target(&refused("no_such_table", answer.map_err(Failure::from))?)
}
