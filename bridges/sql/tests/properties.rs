//! Whatever a caller names and compares with, the text stays balanced, binds what it should, and holds nothing of the
//! caller's outside of quoted names.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use proptest::prelude::*;
use protocol::{
    Accuracy, AggregateOptions, Bucket, Comparison, CountOptions, Dimension, Filter, Join, Keyset, Measure,
    MeasureKind, Number, OrderBy, Projection, QueryOptions, Scalar, Test, TextMatch, Where,
};
use semilayer_bridge_sql::{
    BIGQUERY, CLICKHOUSE, COCKROACHDB, Column, DUCKDB, Dialect, Kind, LIBSQL, MARIADB, MSSQL, MYSQL, ORACLE,
    POSTGRES, SNOWFLAKE, SQLITE, Sql, Table, aggregate, count, query,
};

/// Stands in every name and text of a caller.
const MARK: char = '☠';

const DIALECTS: [Dialect; 12] = [
    POSTGRES,
    COCKROACHDB,
    MYSQL,
    MARIADB,
    SQLITE,
    LIBSQL,
    MSSQL,
    ORACLE,
    CLICKHOUSE,
    BIGQUERY,
    SNOWFLAKE,
    DUCKDB,
];

const KINDS: [Kind; 17] = [
    Kind::Integer { bits: 8, signed: true },
    Kind::Integer { bits: 64, signed: true },
    Kind::Integer { bits: 64, signed: false },
    Kind::Decimal,
    Kind::Float { bits: 32 },
    Kind::Float { bits: 64 },
    Kind::Boolean,
    Kind::Text,
    Kind::Enum,
    Kind::Uuid,
    Kind::Date,
    Kind::TimestampTz,
    Kind::Time,
    Kind::Bytes,
    Kind::Json,
    Kind::Other,
    Kind::Unknown,
];

fn hostile() -> impl Strategy<Value = String> {
    const PIECES: [&str; 16] = [
        "\"",
        "`",
        "]",
        "[",
        "'",
        "\\",
        "--",
        "/*",
        "?",
        "$1",
        ":1",
        "@p1",
        "{p0:Int64}",
        ");",
        " OR 1=1",
        "é",
    ];
    prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..4)
        .prop_map(|pieces| format!("{MARK}{}", pieces.concat()))
}

fn number() -> impl Strategy<Value = Scalar> {
    let literal = prop_oneof![
        any::<i64>().prop_map(|value| value.to_string()),
        any::<u64>().prop_map(|value| value.to_string()),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][+-]?[0-9]{1,25})?",
    ];
    literal.prop_map(|text| Scalar::Number(Number::parse(&text).unwrap()))
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::Bool),
        number(),
        hostile().prop_map(Scalar::Text),
        "[0-9TZ:.+-]{0,30}".prop_map(Scalar::Text),
        "\\PC{0,12}".prop_map(Scalar::Text),
    ]
}

fn test() -> impl Strategy<Value = Test> {
    let comparison = prop::sample::select(vec![
        Comparison::Greater,
        Comparison::GreaterOrEqual,
        Comparison::Less,
        Comparison::LessOrEqual,
    ]);
    let text_match = prop::sample::select(vec![
        TextMatch::ILike,
        TextMatch::Like,
        TextMatch::Contains,
        TextMatch::StartsWith,
        TextMatch::EndsWith,
    ]);
    prop_oneof![
        scalar().prop_map(Test::Equal),
        scalar().prop_map(Test::NotEqual),
        (comparison, scalar()).prop_map(|(comparison, scalar)| Test::Compare(comparison, scalar)),
        prop::collection::vec(scalar(), 0..5).prop_map(Test::In),
        prop::collection::vec(scalar(), 0..5).prop_map(Test::NotIn),
        prop::collection::vec(number(), 30..40).prop_map(Test::In),
        (text_match, hostile()).prop_map(|(text_match, operand)| Test::Text(text_match, operand)),
        any::<bool>().prop_map(Test::Exists),
        Just(Test::Never),
        Just(Test::Always),
    ]
}

fn condition(names: Vec<String>) -> impl Strategy<Value = Where> {
    let leaf = (prop::sample::select(names), test()).prop_map(|(name, test)| Where::field(name, test));
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..4).prop_map(Where::All),
            prop::collection::vec(inner.clone(), 1..4).prop_map(Where::Any),
            inner.prop_map(|part| Where::Not(Box::new(part))),
        ]
    })
}

fn table() -> impl Strategy<Value = Table> {
    let column = (hostile(), prop::sample::select(KINDS.as_slice()), any::<bool>());
    (prop::collection::btree_map(hostile(), (column, any::<bool>()), 1..6), hostile()).prop_map(
        |(columns, name)| {
            let columns: Vec<Column> = columns
                .into_iter()
                .map(|(name, ((label, kind, nullable), _))| Column {
                    labels: vec![label],
                    ..Column::new(name, kind, nullable)
                })
                .collect();
            let primary_key = columns.iter().take(1).map(|column| column.name.clone()).collect();
            Table { parts: vec![name], columns, primary_key }
        },
    )
}

fn table_and_condition() -> impl Strategy<Value = (Table, Where)> {
    table().prop_flat_map(|table| {
        let names = table.columns.iter().map(|column| column.name.clone()).collect();
        (Just(table), condition(names))
    })
}

/// The text without its quoted names and without the literals, which are all ours.
fn bare(dialect: &Dialect, sql: &Sql) -> String {
    let close = match dialect.name {
        "mssql" => ']',
        "mysql" | "mariadb" | "clickhouse" | "bigquery" => '`',
        _ => '"',
    };
    let open = if close == ']' { '[' } else { close };
    let escapes = matches!(dialect.name, "clickhouse" | "bigquery");
    let mut out = String::new();
    let mut characters = sql.text.chars().peekable();
    while let Some(character) = characters.next() {
        if character == '\'' {
            let literal: String = characters.by_ref().take_while(|inside| *inside != '\'').collect();
            assert!(!literal.contains(MARK), "{}", sql.text);
            continue;
        }
        if character != open {
            out.push(character);
            continue;
        }
        out.push('N');
        loop {
            let inside = characters.next().unwrap();
            if escapes && inside == '\\' {
                characters.next();
            } else if inside == close {
                if characters.peek() != Some(&close) {
                    break;
                }
                characters.next();
            }
        }
    }
    out
}

fn placeholders(dialect: &Dialect, bare: &str) -> usize {
    match dialect.name {
        "postgres" | "cockroachdb" => bare.matches('$').count(),
        "mssql" => bare.matches("@p").count(),
        "oracle" => bare.matches(':').count(),
        "clickhouse" => bare.matches("{p").count(),
        _ => bare.matches('?').count(),
    }
}

fn check(dialect: &Dialect, sql: &Sql) -> Result<(), TestCaseError> {
    let bare = bare(dialect, sql);
    prop_assert!(!bare.contains(MARK), "{}: {}", dialect.name, sql.text);
    prop_assert!(!bare.contains("--") && !bare.contains("/*") && !bare.contains(';'), "{bare}");
    prop_assert_eq!(placeholders(dialect, &bare), sql.params.len(), "{}", &sql.text);
    let mut depth = 0_i64;
    for character in bare.chars() {
        depth += i64::from(character == '(') - i64::from(character == ')');
        prop_assert!(depth >= 0, "{bare}");
    }
    prop_assert_eq!(depth, 0, "{}", bare);
    Ok(())
}

/// A raw and a bucketed dimension, one of them joined, and measures of several forms with a filter of their own.
fn aggregate_options(
    table: &Table,
    filter: &Filter,
    mut names: Vec<String>,
    sample: Option<f64>,
    limit: Option<u64>,
) -> AggregateOptions {
    let mut name = || names.pop().unwrap();
    let column = |place: usize| table.columns.iter().cycle().nth(place).unwrap().name.clone();
    let number = |column: &&Column| column.kind.is_numeric();
    let bucketed = table.columns.iter().find(number).map_or_else(|| column(1), |column| column.name.clone());
    let dimensions = vec![
        Dimension { field: column(0), bucket: None, name: name(), from: Some("c".to_owned()) },
        Dimension {
            field: bucketed,
            bucket: Some(Bucket::Breaks(vec![-1.5, 0.0, 1e300])),
            name: name(),
            from: None,
        },
    ];
    let mut measure = |kind, place: usize| {
        let column = Some(column(place));
        (name(), Measure { kind, column, accuracy: Accuracy::Exact, filter: filter.clone() })
    };
    let measures = vec![
        measure(MeasureKind::Count, 0),
        measure(MeasureKind::TopK(3), 1),
        measure(MeasureKind::First, 2),
        measure(MeasureKind::Max, 3),
    ];
    let having = Filter::from_where(Where::field("count", Test::NotEqual(Scalar::from(3))));
    let join = Join { target: "x".to_owned(), alias: "c".to_owned(), local: column(0), foreign: column(1) };
    AggregateOptions {
        filter: filter.clone(),
        sample,
        ids: vec![Scalar::from(1)],
        dimensions,
        measures,
        having,
        limit,
        joins: vec![join],
        ..AggregateOptions::default()
    }
}

proptest! {
    #[test]
    fn any_filter_is_balanced_bound_and_free_of_the_callers_text((table, condition) in table_and_condition()) {
        let options = CountOptions { filter: Filter::from_where(condition) };
        for dialect in &DIALECTS {
            check(dialect, &count(dialect, &table, &options).unwrap())?;
        }
    }

    #[test]
    fn any_aggregate_is_balanced_bound_and_free_of_the_callers_text(
        (table, condition) in table_and_condition(),
        outputs in prop::collection::btree_set(hostile(), 6),
        sample in prop::option::of(0.01..0.99_f64),
        limit in prop::option::of(any::<u64>()),
    ) {
        let filter = Filter::from_where(condition);
        let options = aggregate_options(&table, &filter, outputs.into_iter().collect(), sample, limit);
        for dialect in &DIALECTS {
            match aggregate(dialect, &table, std::slice::from_ref(&table), &options) {
                Ok(plan) => check(dialect, &plan.sql)?,
                Err(refused) => {
                    let refused = refused.to_string();
                    prop_assert!(refused.contains("a sample") || refused.contains("a column of"), "{refused}");
                }
            }
        }
    }

    #[test]
    fn any_page_is_balanced_bound_and_free_of_the_callers_text(
        (table, condition) in table_and_condition(),
        outputs in prop::collection::vec(hostile(), 1..4),
        descending in any::<bool>(),
        limit in prop::option::of(any::<u64>()),
        cursor in prop::option::of("\\PC{1,12}"),
    ) {
        let last = table.columns.last().unwrap().name.clone();
        let direction = if descending { protocol::Direction::Descending } else { protocol::Direction::Ascending };
        let options = QueryOptions {
            filter: Filter::from_where(condition),
            order_by: vec![OrderBy { field: last.clone(), direction }],
            limit,
            projection: Projection::Renamed(outputs.into_iter().map(|output| (output, last.clone())).collect()),
            keyset: Some(Keyset { tiebreak: None, cursor }),
            ..QueryOptions::default()
        };
        for dialect in &DIALECTS {
            // A cursor may be refused; nothing may go wrong otherwise.
            match query(dialect, &table, &options) {
                Ok(select) => check(dialect, &select.sql)?,
                Err(refused) => prop_assert!(refused.to_string().starts_with("cursor: "), "{refused}"),
            }
        }
    }
}
