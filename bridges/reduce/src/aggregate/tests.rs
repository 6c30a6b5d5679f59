use proptest::prelude::*;

use super::*;

/// The fifty rows of the published aggregate suite.
fn facts() -> Vec<String> {
    let fact = |i: i64| {
        let three = |names: [&'static str; 3]| names[usize::try_from(i % 3).unwrap()];
        serde_json::json!({
            "id": i + 1,
            "cuisine": (i != 49).then(|| three(["italian", "japanese", "mexican"])),
            "country": three(["US", "JP", "IT"]),
            "rating": i % 5 + 1,
            "prepTime": if i == 7 { 999 } else { 5 + (7 * i) % 110 },
            "views": ((i + 1) * 13) % 997 + 1,
            "status": if i % 4 == 0 { "draft" } else { "published" },
            "createdAt": format!("2026-{:02}-{:02}T12:00:00.000Z", i % 4 + 1, (3 * i) % 27 + 1),
        })
        .to_string()
    };
    (0..50).map(fact).collect()
}

fn options(json: &str) -> AggregateOptions {
    AggregateOptions::parse(&RawValue::from_string(json.to_owned()).unwrap()).unwrap()
}

fn reduce(json: &str, rows: &[String]) -> Vec<serde_json::Value> {
    let mut reducer =
        Reducer::new(options(json), Schema::unknown().with_key("id"), Limits::default()).unwrap();
    rows.iter().for_each(|row| reducer.push(row).unwrap());
    buckets(reducer)
}

fn buckets(reducer: Reducer) -> Vec<serde_json::Value> {
    let batches = reducer.finish().unwrap();
    let read = |batch: RowBatch| {
        let rows: Vec<serde_json::Value> = serde_json::from_str(&format!("[{}]", batch.rows)).unwrap();
        assert_eq!(rows.len() as u64, batch.count);
        rows
    };
    batches.into_iter().flat_map(read).collect()
}

/// `[dimension, count]` of each bucket.
fn counts(json: &str, dimension: &str) -> Vec<(String, u64)> {
    let count = |bucket: serde_json::Value| {
        (bucket["dims"][dimension].as_str().unwrap().to_owned(), bucket["count"].as_u64().unwrap())
    };
    reduce(json, &facts()).into_iter().map(count).collect()
}

fn measure(json: &str) -> serde_json::Value {
    let options = format!(r#"{{"measures":{{"m":{json}}}}}"#);
    reduce(&options, &facts()).remove(0)["measures"]["m"].clone()
}

#[test]
fn totals_of_the_fixture_are_the_published_ones() {
    assert_eq!(measure(r#"{"agg":"sum","column":"views"}"#), 16_625);
    assert_eq!(measure(r#"{"agg":"sum","column":"views","where":{"status":"published"}}"#), 12_387);
    assert_eq!(measure(r#"{"agg":"rate","column":"views"}"#), 16_625);
    assert_eq!(measure(r#"{"agg":"avg","column":"rating"}"#), 3);
    assert_eq!(measure(r#"{"agg":"min","column":"rating"}"#), 1);
    assert_eq!(measure(r#"{"agg":"max","column":"rating"}"#), 5);
    assert_eq!(measure(r#"{"agg":"count_distinct","column":"country"}"#), 3);
    assert_eq!(measure(r#"{"agg":"count","where":{"status":"published"}}"#), 37);
    assert_eq!(measure(r#"{"agg":"percentile","column":"rating","p":0.5}"#), 3);
    assert_eq!(
        measure(r#"{"agg":"top_k","column":"country","k":2}"#),
        serde_json::json!([{"key":"JP","count":17},{"key":"US","count":17}])
    );
    assert_eq!(measure(r#"{"agg":"max","column":"createdAt"}"#), "2026-04-25T12:00:00.000Z");
}

#[test]
fn buckets_of_the_fixture_are_the_published_ones() {
    let numeric = |bucket: &str| {
        counts(
            &format!(
                r#"{{"dimensions":[{{"field":"prepTime","bucket":{{"type":"numeric",{bucket}}}}}],"sort":[{{"key":"prepTime"}}]}}"#
            ),
            "prepTime",
        )
    };
    let named = |pairs: &[(&str, u64)]| -> Vec<(String, u64)> {
        pairs.iter().map(|(name, count)| ((*name).to_owned(), *count)).collect()
    };
    assert_eq!(
        numeric(r#""step":30"#),
        named(&[("0..30", 13), ("30..60", 12), ("60..90", 13), ("90..120", 11), ("990..1020", 1)])
    );
    assert_eq!(
        numeric(r#""breaks":[0,30,60,120]"#),
        named(&[("0..30", 13), ("30..60", 12), ("60..120", 24)])
    );
    let calendar = |unit: &str| {
        let text = format!(
            r#"{{"dimensions":[{{"field":"createdAt","bucket":"{unit}"}}],"sort":[{{"key":"createdAt"}}]}}"#
        );
        counts(&text, "createdAt")
    };
    assert_eq!(
        calendar("month"),
        named(&[("2026-01", 13), ("2026-02", 13), ("2026-03", 12), ("2026-04", 12)])
    );
    assert_eq!((calendar("day").len(), calendar("week").len()), (36, 17));
    let weeks = calendar("week");
    assert!(weeks.contains(&("2026-W01".to_owned(), 3)) && weeks.contains(&("2026-W17".to_owned(), 3)));
}

#[test]
fn rows_without_a_dimension_are_in_no_bucket() {
    let sorted = counts(
        r#"{"dimensions":[{"field":"cuisine","as":"group"}],"sort":[{"key":"count","dir":"desc"},{"key":"group"}]}"#,
        "group",
    );
    let sizes: Vec<u64> = sorted.iter().map(|(_, count)| *count).collect();
    assert_eq!(sizes, [17, 16, 16]);
}

#[test]
fn the_first_row_is_the_earliest() {
    let first = reduce(
        r#"{"measures":{"first":{"agg":"first","column":"id"},"last":{"agg":"last","column":"id"}},"changeTrackingColumn":"createdAt"}"#,
        &facts(),
    );
    let first_id = first[0]["measures"]["first"].as_i64().unwrap();
    assert!([1, 37].contains(&first_id));
    assert_eq!(first[0]["measures"]["last"], 36);
}

#[test]
fn nothing_grouped_over_no_rows_is_one_bucket() {
    let text = r#"{"measures":{"n":{"agg":"count"},"sum":{"agg":"sum","column":"views"},"avg":{"agg":"avg","column":"views"},
        "top":{"agg":"top_k","column":"views","k":3},"p":{"agg":"percentile","column":"views","p":0.9}}}"#;
    assert_eq!(
        reduce(text, &[]),
        [serde_json::json!({"dims":{},"measures":{"n":0,"sum":null,"avg":null,"top":[],"p":null},"count":0})]
    );
    assert_eq!(reduce(r#"{"dimensions":[{"field":"cuisine"}]}"#, &[]), [] as [serde_json::Value; 0]);
    assert_eq!(reduce(r#"{"having":{"count":{"$gt":0}}}"#, &[]), [] as [serde_json::Value; 0]);
}

#[test]
fn having_sort_and_limit_work_on_finished_buckets() {
    let text = r#"{"dimensions":[{"field":"rating"}],"measures":{"views":{"agg":"sum","column":"views"}},
        "having":{"$or":[{"views":{"$gt":3300}},{"count":{"$lt":3}}]},"sort":[{"key":"views","dir":"desc"}],"limit":2}"#;
    let views: Vec<i64> =
        reduce(text, &facts()).iter().map(|bucket| bucket["measures"]["views"].as_i64().unwrap()).collect();
    assert_eq!(views.len(), 2);
    assert!(views[0] >= views[1] && views[1] > 3_300, "{views:?}");
}

#[test]
fn ids_restrict_by_the_key() {
    let text = r#"{"ids":["1",2,"nope"],"measures":{"views":{"agg":"sum","column":"views"}}}"#;
    assert_eq!(reduce(text, &facts())[0], serde_json::json!({"dims":{},"measures":{"views":41},"count":2}));
    let refused = Reducer::new(options(text), Schema::unknown(), Limits::default()).unwrap_err();
    assert_eq!(refused.to_string(), "ids: expected a target with a key of one column");
}

#[test]
fn joined_rows_give_dimensions_and_a_missing_one_drops_the_row() {
    let text = r#"{"dimensions":[{"field":"region","from":"c"}],"measures":{"views":{"agg":"sum","column":"views"}},
        "joins":[{"target":"regions","alias":"c","kind":"left","on":{"local":"id","foreign":"pk"}}],"sort":[{"key":"region"}]}"#;
    let mut reducer = Reducer::new(options(text), Schema::unknown(), Limits::default()).unwrap();
    for pk in (1..=50_usize).filter(|pk| ![15, 20].contains(pk)) {
        let region = ["EMEA", "AMER", "APAC"][(pk - 1) % 3];
        reducer.push_join("c", &serde_json::json!({"pk": pk, "region": region}).to_string()).unwrap();
    }
    facts().iter().for_each(|row| reducer.push(row).unwrap());
    let found = buckets(reducer);
    let count = |bucket: &serde_json::Value| bucket["count"].as_u64().unwrap();
    let views = |bucket: &serde_json::Value| bucket["measures"]["views"].as_u64().unwrap();
    assert_eq!(found.iter().map(count).collect::<Vec<_>>(), [16, 15, 17]);
    assert_eq!(found.iter().map(views).sum::<u64>(), 16_168);
}

#[test]
fn a_sample_keeps_about_its_share() {
    let rows: Vec<String> = (0..20_000).map(|id| format!("{{\"id\":{id}}}")).collect();
    let kept = reduce(r#"{"sample":0.25}"#, &rows)[0]["count"].as_u64().unwrap();
    // Eight standard deviations.
    assert!((4_500..5_500).contains(&kept), "{kept}");
}

#[test]
fn memory_is_bounded_by_name() {
    let text = r#"{"dimensions":[{"field":"id"}]}"#;
    let limits = Limits { memory: 10_000, ..Limits::default() };
    let mut reducer = Reducer::new(options(text), Schema::unknown(), limits).unwrap();
    let refused = (0..1_000).find_map(|id| reducer.push(&format!("{{\"id\":{id}}}")).err()).unwrap();
    assert!(matches!(refused, ReduceError::Memory { limit: 10_000 }));
    let distinct = options(
        r#"{"measures":{"d":{"agg":"count_distinct","column":"t"},"k":{"agg":"top_k","column":"t","k":1}}}"#,
    );
    let mut reducer = Reducer::new(distinct, Schema::unknown(), limits).unwrap();
    assert!((0..1_000).any(|id| reducer.push(&format!("{{\"t\":\"{id}\"}}")).is_err()));
}

#[test]
fn what_cannot_be_done_is_refused() {
    let refused = |text: &str| {
        Reducer::new(options(text), Schema::unknown(), Limits::default()).unwrap_err().to_string()
    };
    let h3 = r#"{"dimensions":[{"field":"c","bucket":{"type":"h3","resolution":7,"latField":"a","lngField":"b"}}]}"#;
    assert_eq!(refused(h3), "dimensions[0].bucket: expected another bucket than h3");
    let having = r#"{"measures":{"top":{"agg":"top_k","column":"a","k":1}},"having":{"top":1}}"#;
    assert_eq!(refused(having), "having.top: expected a measure of one value");
}

#[test]
fn sums_are_exact_beyond_doubles() {
    let rows = |values: &[&str]| -> Vec<String> {
        values.iter().map(|value| format!("{{\"v\":{value}}}")).collect()
    };
    let sum = |values: &[&str]| {
        reduce(r#"{"measures":{"m":{"agg":"sum","column":"v"}}}"#, &rows(values))[0]["measures"]["m"].clone()
    };
    assert_eq!(sum(&["0.1", "0.2"]), 0.3);
    assert_eq!(sum(&["9007199254740992", "1"]), "9007199254740993");
    assert_eq!(sum(&["\"1.5\"", "2", "null", "\"x\""]), 3.5);
    assert_eq!(sum(&["1e300", "1", "-1e300"]), 1);
}

#[test]
fn percentiles_are_interpolated() {
    let rows: Vec<String> = [1, 2, 3, 10].map(|v| format!("{{\"v\":{v}}}")).into();
    let at = |p: f64| {
        let text = format!(r#"{{"measures":{{"m":{{"agg":"percentile","column":"v","p":{p}}}}}}}"#);
        reduce(&text, &rows)[0]["measures"]["m"].as_f64().unwrap()
    };
    assert_eq!((at(0.5), at(0.25)), (2.5, 1.75));
    assert!((at(0.9) - 7.9).abs() < 1e-9);
}

#[derive(Debug, Clone)]
struct Plain {
    group: Option<i8>,
    value: Option<i16>,
}

fn plain() -> impl Strategy<Value = Plain> {
    (prop::option::weighted(0.8, -3_i8..3), prop::option::weighted(0.7, -50_i16..50))
        .prop_map(|(group, value)| Plain { group, value })
}

proptest! {
    #[test]
    fn buckets_are_those_of_a_naive_count(rows in prop::collection::vec(plain(), 0..60), least in -50_i16..50) {
        let json: Vec<String> =
            rows.iter().map(|row| serde_json::json!({"g": row.group, "v": row.value}).to_string()).collect();
        let text = format!(
            r#"{{"candidatesWhere":{{"$not":{{"v":{{"$lt":{least}}}}}}},"dimensions":[{{"field":"g"}}],"sort":[{{"key":"g"}}],
               "measures":{{"sum":{{"agg":"sum","column":"v"}},"min":{{"agg":"min","column":"v"}},"max":{{"agg":"max","column":"v"}},
               "distinct":{{"agg":"count_distinct","column":"v"}},"even":{{"agg":"count","where":{{"v":{{"$in":[0,2,4,6,8]}}}}}},
               "p":{{"agg":"percentile","column":"v","p":0.5}}}}}}"#
        );
        let mut expected = Vec::new();
        for group in -3_i8..3 {
            let mut values: Vec<i64> = rows
                .iter()
                .filter(|row| row.group == Some(group))
                .filter_map(|row| row.value.filter(|value| *value >= least))
                .map(i64::from)
                .collect();
            if values.is_empty() {
                continue;
            }
            values.sort_unstable();
            let twice = values[(values.len() - 1) / 2] + values[values.len() / 2];
            let median = if twice % 2 == 0 {
                serde_json::json!(twice / 2)
            } else {
                serde_json::json!(f64::from(i32::try_from(twice).unwrap()) / 2.0)
            };
            let mut distinct = values.clone();
            distinct.dedup();
            expected.push(serde_json::json!({
                "dims": {"g": group},
                "measures": {
                    "sum": values.iter().sum::<i64>(), "min": values[0], "max": values[values.len() - 1],
                    "distinct": distinct.len(),
                    "even": values.iter().filter(|value| [0, 2, 4, 6, 8].contains(*value)).count(),
                    "p": median,
                },
                "count": values.len(),
            }));
        }
        prop_assert_eq!(reduce(&text, &json), expected);
    }

    #[test]
    fn no_row_and_no_filter_makes_the_reducer_fall_over(row in "\\PC*", value in any::<f64>(), step in 1e-9_f64..1e9) {
        let text = format!(
            r#"{{"dimensions":[{{"field":"v","bucket":{{"type":"numeric","step":{step}}}}}],"measures":{{"s":{{"agg":"sum","column":"v"}}}}}}"#
        );
        let mut reducer = Reducer::new(options(&text), Schema::unknown(), Limits::default()).unwrap();
        let _refused_or_not = reducer.push(&row);
        let row = serde_json::json!({"v": value}).to_string();
        reducer.push(&row).unwrap();
        let count: u64 = buckets(reducer).iter().map(|bucket| bucket["count"].as_u64().unwrap()).sum();
        prop_assert!(count <= 2);
    }
}
