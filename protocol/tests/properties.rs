#![cfg(test)]
//! What holds for every value: texts read back, numbers and instants agree with somebody else's arithmetic, and no bytes
//! make a decoder panic.

#[path = "support/frames.rs"]
mod frames;

use frames::{encode_gateway_frame, encode_runner_frame, golden_files};
use jiff::civil;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use semilayer_protocol::{
    Accuracy, AggregateOptions, BatchReadOptions, Bucket, CalendarUnit, Chunk, Comparison, CountOptions,
    Decoded, Dimension, Direction, ExecChunk, ExecDone, ExecEnv, ExecError, ExecMode, ExecRequest,
    ExecSandbox, ExtractStatus, Extracted, ExtractedFile, FileContent, Filter, GatewayFrame, GeoColumns,
    Invocation, Join, Keyset, MAX_EXEC_TIMEOUT_SECS, Measure, MeasureKind, Metric, Number, OrderBy,
    Projection, QueryOptions, ReadOptions, RunnerFrame, Scalar, SearchMethod, SearchOptions, SimilarOptions,
    SimilarTo, SortKey, Stream, Tail, Test, TextMatch, Timestamp, Truncated, Where, decode_gateway_frame,
    decode_runner_frame,
};
use serde_json::Value;
use serde_json::value::RawValue;

proptest! {
    #[test]
    fn a_filter_reads_back_from_its_json(condition in condition()) {
        let filter = Filter::from_where(condition);
        let again = Filter::from_json(&filter.to_json()).unwrap();
        prop_assert_eq!(again.condition(), filter.condition());
    }

    #[test]
    fn a_where_of_a_caller_reads_back_whatever_form_it_had(text in where_text()) {
        let filter = Filter::from_json(&text).unwrap();
        let json = filter.to_json();
        let again = Filter::from_json(&json).unwrap();
        prop_assert_eq!(again.condition(), filter.condition());
        prop_assert_eq!(again.to_json(), json);
    }

    #[test]
    fn renaming_changes_names_and_nothing_else(condition in condition()) {
        let filter = Filter::from_where(condition);
        let renamed = filter.try_rename(&mut |name| Ok::<_, ()>(format!("c_{name}"))).unwrap();
        let back = renamed.try_rename(&mut |name| name.strip_prefix("c_").map(str::to_owned).ok_or(()));
        prop_assert_eq!(back.unwrap(), filter);
    }

    #[test]
    fn query_options_read_back_from_their_json(options in query_options()) {
        let json = RawValue::from_string(options.to_json()).unwrap();
        let again = QueryOptions::parse(&json).unwrap();
        prop_assert_eq!(again.filter.condition(), options.filter.condition());
        prop_assert_eq!(QueryOptions { filter: options.filter.clone(), ..again }, options);
    }

    #[test]
    fn scan_options_read_back_from_their_json(options in read_options()) {
        let json = RawValue::from_string(options.to_json()).unwrap();
        prop_assert_eq!(ReadOptions::parse(&json).unwrap(), options);
    }

    #[test]
    fn count_and_batch_options_read_back_from_their_json(options in query_options()) {
        let count = CountOptions { filter: options.filter.clone() };
        let json = RawValue::from_string(count.to_json()).unwrap();
        let again = CountOptions::parse(&json).unwrap();
        prop_assert_eq!(again.filter.condition(), count.filter.condition());
        let QueryOptions { filter, order_by, limit, projection, .. } = options;
        let batch = BatchReadOptions { filter, projection, order_by, limit };
        let json = RawValue::from_string(batch.to_json()).unwrap();
        let again = BatchReadOptions::parse(&json).unwrap();
        prop_assert_eq!(BatchReadOptions { filter: plain(&again.filter), ..again }, batch);
    }

    #[test]
    fn aggregate_options_read_back_from_their_json(options in aggregate_options()) {
        let json = RawValue::from_string(options.to_json()).unwrap();
        let mut again = AggregateOptions::parse(&json).unwrap();
        (again.filter, again.having) = (plain(&again.filter), plain(&again.having));
        again.measures.iter_mut().for_each(|(_, measure)| measure.filter = plain(&measure.filter));
        prop_assert_eq!(again, options);
    }

    #[test]
    fn search_options_read_back_from_their_json(options in search_options()) {
        let json = RawValue::from_string(options.to_json()).unwrap();
        let again = SearchOptions::parse(&json).unwrap();
        prop_assert_eq!(SearchOptions { filter: plain(&again.filter), ..again }, options);
    }

    #[test]
    fn similar_options_read_back_from_their_json(options in similar_options()) {
        let json = RawValue::from_string(options.to_json()).unwrap();
        let again = SimilarOptions::parse(&json).unwrap();
        prop_assert_eq!(SimilarOptions { filter: plain(&again.filter), ..again }, options);
    }

    #[test]
    fn a_number_is_what_json_calls_one(text in "[-+]?[0-9]{0,3}[.eE]?[-+0-9.eE]{0,5}") {
        let json = serde_json::from_str::<&RawValue>(&text).is_ok();
        prop_assert_eq!(Number::parse(&text).is_some(), json, "{}", text);
    }

    #[test]
    fn an_integer_is_found_however_it_is_written(
        value: i64,
        zeros in 0_usize..30,
        shift in 0_usize..25,
        capital: bool,
    ) {
        let e = if capital { 'E' } else { 'e' };
        let plain = value.to_string();
        let fraction = format!("{plain}.{}", "0".repeat(zeros + 1));
        let up = format!("{plain}{}{e}-{shift}", "0".repeat(shift));
        let (sign, digits) = plain.split_at(usize::from(value < 0));
        let padded = format!("{digits:0>width$}", width = shift + 1);
        let (whole, behind) = padded.split_at(padded.len() - shift);
        let whole = whole.trim_start_matches('0');
        let whole = if whole.is_empty() { "0" } else { whole };
        let behind = if behind.is_empty() { "0" } else { behind };
        let down = format!("{sign}{whole}.{behind}{e}+{shift}");
        for text in [plain.clone(), fraction, up, down] {
            let number = Number::parse(&text).unwrap();
            prop_assert_eq!(number.as_i64(), Some(value), "{}", text);
        }
    }

    #[test]
    fn what_has_a_fraction_is_no_integer(value: i64, fraction in "[0-9]{0,20}[1-9]0{0,5}", zeros in 0_usize..10) {
        let text = format!("{value}.{fraction}e{}", fraction.trim_end_matches('0').len() - 1);
        prop_assert_eq!(Number::parse(&text).unwrap().as_i64(), None, "{}", text);
        let text = format!("{value}{}e-{}", format_args!("1{}", "0".repeat(zeros)), zeros + 1);
        prop_assert_eq!(Number::parse(&text).unwrap().as_i64(), None, "{}", text);
    }

    #[test]
    fn an_instant_is_read_as_another_library_reads_it(parts in instant_parts()) {
        let text = parts.text();
        let expected = parts.micros();
        prop_assert_eq!(Timestamp::parse(&text).map(Timestamp::micros), expected, "{}", text);
    }

    #[test]
    fn an_instant_is_written_as_another_library_reads_it(micros in -62_135_596_800_000_000_i64..253_402_200_000_000_000) {
        let timestamp = Timestamp::from_micros(micros);
        let text = timestamp.to_string();
        prop_assert_eq!(text.parse::<jiff::Timestamp>().unwrap().as_microsecond(), micros);
        prop_assert_eq!(Timestamp::parse(&text), Some(timestamp));
    }

    #[test]
    fn every_instant_has_a_civil_date(micros: i64) {
        let timestamp = Timestamp::from_micros(micros);
        let (_, month, day) = timestamp.civil();
        prop_assert!((1..=12).contains(&month) && (1..=31).contains(&day));
        let whole = timestamp.days().checked_mul(86_400_000_000).and_then(|start| start.checked_add(timestamp.micros_of_day()));
        // The first day of all begins before the smallest number.
        prop_assert!(whole == Some(micros) || timestamp.days() < -106_751_991);
        prop_assert!(!timestamp.to_string().is_empty());
    }

    #[test]
    fn a_chunk_comes_out_as_it_went_in(
        id in id(),
        rows in vec(row(), 0..8),
        buckets: bool,
        seq in proptest::option::of(any::<u64>()),
        tail in proptest::option::of(tail()),
    ) {
        let text = Chunk { id: &id, rows: &rows.join(","), buckets, seq, tail: tail.as_ref() }.encode();
        let Ok(Decoded::Frame(RunnerFrame::Chunk(parts))) = decode_runner_frame(&text) else {
            panic!("{text}");
        };
        let (full, empty) = if buckets { (parts.agg, parts.rows) } else { (parts.rows, parts.agg) };
        prop_assert_eq!(full.iter().map(|row| row.get().to_owned()).collect::<Vec<_>>(), rows);
        prop_assert!(empty.is_empty());
        prop_assert_eq!((parts.id.as_ref(), parts.seq), (id.as_str(), seq));
        prop_assert_eq!(parts.tail, tail.unwrap_or_default());
    }

    #[test]
    fn where_type_stands_in_a_chunk_does_not_matter(id in id(), rows in vec(row(), 0..4), tail in tail()) {
        let text = Chunk { id: &id, rows: &rows.join(","), tail: Some(&tail), ..Chunk::default() }.encode();
        let last = text.replacen("{\"type\":\"chunk\",", "{", 1);
        let last = format!("{},\"type\":\"chunk\"}}", last.strip_suffix('}').unwrap());
        let shown = |text: &str| format!("{:?}", decode_runner_frame(text).unwrap());
        prop_assert_eq!(shown(&last), shown(&text));
    }

    #[test]
    fn a_shell_job_comes_out_as_it_went_in(request in exec_request()) {
        let text = GatewayFrame::ExecRequest(Box::new(request.clone())).encode();
        let Ok(Decoded::Frame(GatewayFrame::ExecRequest(again))) = decode_gateway_frame(&text) else {
            panic!("{text}");
        };
        prop_assert_eq!(*again, request);
    }

    #[test]
    fn what_a_shell_job_answers_comes_out_as_it_went_in(
        chunk in exec_chunk(),
        done in exec_done(),
        error in exec_error(),
    ) {
        let decoded = |text: &str| match decode_runner_frame(text) {
            Ok(Decoded::Frame(frame)) => format!("{frame:?}"),
            other => panic!("{text}: {other:?}"),
        };
        prop_assert_eq!(decoded(&chunk.encode()), format!("{:?}", RunnerFrame::ExecChunk(chunk)));
        prop_assert_eq!(decoded(&error.encode()), format!("{:?}", RunnerFrame::ExecError(error)));
        // The contents of files do not show in Debug.
        let Ok(Decoded::Frame(RunnerFrame::ExecDone(again))) = decode_runner_frame(&done.encode()) else {
            panic!("{done:?}");
        };
        prop_assert_eq!(again, done);
    }

    #[test]
    fn no_text_makes_a_decoder_panic(text: String) {
        look_at(&text);
    }

    #[test]
    fn no_bytes_make_a_decoder_panic(bytes in vec(any::<u8>(), 0..200)) {
        look_at(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn no_text_with_the_letters_of_json_makes_a_decoder_panic(text in "[\\[\\]{}:,\"\\\\a-f0-9.eEu $ntrus-]{0,60}") {
        look_at(&text);
        look_at(&format!("{{\"type\":\"job\",\"id\":\"j\",\"params\":{text}}}"));
        look_at(&format!("{{\"type\":\"chunk\",\"id\":\"j\",\"rows\":[{text}]}}"));
    }

    #[test]
    fn a_damaged_frame_is_refused_or_stable(
        which: prop::sample::Index,
        at: prop::sample::Index,
        damage in prop_oneof![Just(String::new()), "[\\[\\]{}:,\"\\\\0-9.eEu $ntrus-]{1,3}", any::<char>().prop_map(String::from)],
        cut in 0_usize..4,
    ) {
        let folders = ["to_runner", "to_gateway"];
        let frames: Vec<String> = folders.into_iter().flat_map(golden_files).map(|(_, text)| text).collect();
        let mut characters: Vec<char> = which.get(&frames).chars().collect();
        let at = at.index(characters.len());
        let end = (at + cut).min(characters.len());
        characters.splice(at..end, damage.chars());
        look_at(&characters.into_iter().collect::<String>());
    }
}

/// The frame without what is wrong in it: that is told and not written.
fn heeded(mut frame: GatewayFrame) -> GatewayFrame {
    match &mut frame {
        GatewayFrame::HelloAck(ack) => ack.assigned_sources.skipped.clear(),
        GatewayFrame::AssignmentsChanged(assignments) => assignments.skipped.clear(),
        _ => {}
    }
    frame
}

/// Reads a text in every way there is. What is understood must be written so that it is understood the same again.
fn look_at(text: &str) {
    if let Ok(Decoded::Frame(frame)) = decode_gateway_frame(text) {
        let written = encode_gateway_frame(&frame);
        let Ok(Decoded::Frame(again)) = decode_gateway_frame(&written) else { panic!("{written}") };
        assert_eq!(encode_gateway_frame(&again), written);
        assert_eq!(format!("{again:?}"), format!("{:?}", heeded(frame)));
    }
    if let Ok(Decoded::Frame(frame)) = decode_runner_frame(text) {
        let written = encode_runner_frame(&frame);
        let Ok(Decoded::Frame(again)) = decode_runner_frame(&written) else { panic!("{written}") };
        assert_eq!(encode_runner_frame(&again), written);
    }
    if let Ok(filter) = Filter::from_json(text) {
        assert_eq!(Filter::from_json(&filter.to_json()).unwrap().condition(), filter.condition());
    }
    if let Ok(raw) = serde_json::from_str::<&RawValue>(text) {
        drop(QueryOptions::parse(raw));
        drop(ReadOptions::parse(raw));
        drop(CountOptions::parse(raw));
        drop(BatchReadOptions::parse(raw));
        drop(AggregateOptions::parse(raw));
        drop(SearchOptions::parse(raw));
        drop(SimilarOptions::parse(raw));
    }
    if let Some(number) = Number::parse(text) {
        let _ = (number.as_i64(), number.as_f64());
    }
    let _ = Timestamp::parse(text);
}

fn id() -> impl Strategy<Value = String> {
    "[^\\p{Cc}]{1,50}"
}

fn tail() -> impl Strategy<Value = Tail> {
    let cursor = proptest::option::of(any::<String>());
    let total = proptest::option::of(any::<u64>());
    let method = proptest::option::of(proptest::sample::select(vec![
        SearchMethod::FullText,
        SearchMethod::Trigram,
        SearchMethod::Containment,
    ]));
    (cursor, total, any::<bool>(), method).prop_map(|(next_cursor, total, approximate, method)| Tail {
        method,
        next_cursor,
        total,
        approximate,
    })
}

fn argument() -> impl Strategy<Value = String> {
    "[^\\x00]{0,20}"
}

fn exec_request() -> impl Strategy<Value = ExecRequest> {
    use proptest::option::of;
    let invocation = prop_oneof![
        "[^\\x00]{0,20}[a-z]".prop_map(Invocation::Command),
        ("[a-z/]{1,10}", vec(argument(), 0..5)).prop_map(|(program, arguments)| {
            Invocation::Argv(std::iter::once(program).chain(arguments).collect())
        }),
    ];
    let env = btree_map("[A-Za-z_][A-Za-z0-9_]{0,8}", argument(), 0..4).prop_map(ExecEnv::new);
    let mode = of(prop::sample::select(ExecMode::ALL.to_vec()));
    let seconds = 1..=MAX_EXEC_TIMEOUT_SECS;
    let context = (of(any::<u64>()), of(any::<String>()), of(any::<String>()));
    (id(), invocation, seconds, mode, any::<bool>(), of(exec_sandbox()), env, context).prop_map(
        |(
            job_id,
            invocation,
            timeout_secs,
            mode,
            docker,
            sandbox,
            env,
            (credit, traceparent, tracestate),
        )| {
            ExecRequest {
                job_id,
                invocation,
                timeout_secs,
                mode,
                docker,
                sandbox,
                env,
                credit,
                traceparent,
                tracestate,
            }
        },
    )
}

fn exec_sandbox() -> impl Strategy<Value = ExecSandbox> {
    use proptest::option::of;
    let name = || of("[^\\p{Cc}]{1,20}");
    let files = btree_map("[a-z]{1,4}(/[a-z.]{1,2}[a-z]){0,2}", content(), 0..4);
    let extract = vec("/?[a-z]{1,4}(/[a-z]{1,4}){0,2}", 0..4);
    let (memory, cpus) = (of(1..u64::MAX), of(0.001_f64..1024.0));
    (name(), name(), memory, cpus, files, extract).prop_map(
        |(image, network, memory, cpus, files, extract)| ExecSandbox {
            image,
            network,
            memory,
            cpus,
            files,
            extract,
        },
    )
}

fn content() -> impl Strategy<Value = FileContent> {
    vec(any::<u8>(), 0..20).prop_map(FileContent)
}

fn exec_chunk() -> impl Strategy<Value = ExecChunk> {
    let stream = prop_oneof![Just(Stream::Stdout), Just(Stream::Stderr)];
    (id(), stream, any::<String>(), any::<bool>(), any::<u64>(), any::<u64>()).prop_map(
        |(job_id, stream, data, lossy, omitted_bytes, seq)| ExecChunk {
            job_id,
            stream,
            data,
            lossy,
            omitted_bytes,
            seq,
        },
    )
}

fn truncated() -> impl Strategy<Value = Truncated> {
    (any::<u64>(), any::<u64>())
        .prop_map(|(stdout_bytes, stderr_bytes)| Truncated { stdout_bytes, stderr_bytes })
}

fn exec_done() -> impl Strategy<Value = ExecDone> {
    use proptest::option::of;
    let file = ("[a-z]{1,4}(/[a-z]{1,4}){0,2}", content())
        .prop_map(|(path, content)| ExtractedFile { path, content });
    let status = prop::sample::select(vec![ExtractStatus::Ok, ExtractStatus::Missing, ExtractStatus::Error]);
    let extracted = (any::<String>(), status, of(any::<String>()), vec(file, 0..3))
        .prop_map(|(from, status, error, files)| Extracted { from, status, error, files });
    (id(), any::<i32>(), any::<u64>(), of(truncated()), of(vec(extracted, 0..3))).prop_map(
        |(job_id, exit_code, duration_ms, truncated, extracted)| ExecDone {
            job_id,
            exit_code,
            duration_ms,
            truncated,
            extracted,
        },
    )
}

fn exec_error() -> impl Strategy<Value = ExecError> {
    use proptest::option::of;
    (id(), any::<String>(), any::<String>(), of(any::<String>()), of(any::<u64>()), of(truncated())).prop_map(
        |(job_id, error, code, rule, duration_ms, truncated)| ExecError {
            job_id,
            error,
            code,
            rule,
            duration_ms,
            truncated,
        },
    )
}

/// A row's text, sometimes with the spaces that a database leaves in its own JSON.
fn row() -> impl Strategy<Value = String> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let value = value.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(any::<String>(), inner, 0..4).prop_map(|map| map.into_iter().collect()),
        ]
    });
    (btree_map(any::<String>(), value, 0..4), any::<bool>()).prop_map(|(row, spaced)| {
        if spaced {
            serde_json::to_string_pretty(&row).unwrap()
        } else {
            serde_json::to_string(&row).unwrap()
        }
    })
}

/// Few names, so that some occur twice, and some with characters that need an escape.
fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec!["a", "b", "c.d", "", "quo\"te", "back\\slash", "Ünï ☃"]).prop_map(str::to_owned),
        1 => "[^$].{0,8}",
    ]
}

fn scalar() -> impl Strategy<Value = Scalar> {
    prop_oneof![
        Just(Scalar::Null),
        any::<bool>().prop_map(Scalar::Bool),
        any::<i64>().prop_map(Scalar::from),
        "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,25})?([eE][-+]?[0-9]{1,4})?"
            .prop_map(|text| Scalar::Number(Number::parse(&text).unwrap())),
        any::<String>().prop_map(Scalar::Text),
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
        (comparison, scalar()).prop_map(|(comparison, value)| Test::Compare(comparison, value)),
        vec(scalar(), 1..4).prop_map(Test::In),
        vec(scalar(), 1..4).prop_map(Test::NotIn),
        (text_match, any::<String>()).prop_map(|(text_match, operand)| Test::Text(text_match, operand)),
        any::<bool>().prop_map(Test::Exists),
        Just(Test::Never),
        Just(Test::Always),
    ]
}

/// A condition as the parser makes them: no list of fewer than two, nothing that asks nothing.
fn condition() -> impl Strategy<Value = Where> {
    let field = (name(), test()).prop_map(|(name, test)| Where::field(name, test));
    field.prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 2..5).prop_map(Where::All),
            vec(inner.clone(), 2..5).prop_map(Where::Any),
            inner.prop_map(|part| Where::Not(Box::new(part))),
        ]
    })
}

/// A `where` as callers write them: shorthands, empty parts, operands that mean nothing, keys of one object and `$and`.
fn where_text() -> impl Strategy<Value = String> {
    let operand = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    let operators = prop::sample::select(vec![
        "$eq",
        "$ne",
        "$gt",
        "$gte",
        "$lt",
        "$lte",
        "$in",
        "$nin",
        "$contains",
        "$like",
    ]);
    let lists = prop::sample::select(vec!["$in", "$nin"]);
    let entry = prop_oneof![
        operand.clone(),
        vec(operand.clone(), 0..3).prop_map(Value::from),
        btree_map(operators.prop_map(str::to_owned), operand.clone(), 0..4)
            .prop_map(|map| map.into_iter().collect()),
        btree_map(lists.prop_map(str::to_owned), vec(operand, 0..3).prop_map(Value::from), 0..3)
            .prop_map(|map| map.into_iter().collect()),
    ];
    let fields = btree_map(name(), entry, 0..4).prop_map(|map| map.into_iter().collect::<Value>());
    let tree = fields.prop_recursive(4, 30, 4, |inner| {
        let list = (prop::sample::select(vec!["$or", "$and"]), vec(inner.clone(), 0..4));
        let list = list.prop_map(|(op, parts)| serde_json::json!({ op: parts }));
        let not = inner.clone().prop_map(|part| serde_json::json!({ "$not": part }));
        // The keys of several in one object.
        let merged = vec(inner, 0..3).prop_map(|parts| {
            let entries = parts.into_iter().filter_map(|part| match part {
                Value::Object(map) => Some(map),
                _ => None,
            });
            entries.flatten().collect::<Value>()
        });
        prop_oneof![list, not, merged]
    });
    tree.prop_map(|tree| tree.to_string())
}

/// The filter without how it was written: an `$and` that the writer needs is no operator of the caller's.
fn plain(filter: &Filter) -> Filter {
    Filter::from_where(filter.condition().clone())
}

fn filter() -> impl Strategy<Value = Filter> {
    prop_oneof![Just(Filter::everything()), condition().prop_map(Filter::from_where)]
}

fn direction() -> impl Strategy<Value = Direction> {
    any::<bool>().prop_map(|down| if down { Direction::Descending } else { Direction::Ascending })
}

fn columns() -> impl Strategy<Value = Vec<String>> {
    prop::collection::btree_set(any::<String>(), 1..4).prop_map(|columns| columns.into_iter().collect())
}

fn projection() -> impl Strategy<Value = Projection> {
    prop_oneof![
        Just(Projection::All),
        columns().prop_map(Projection::Columns),
        btree_map(any::<String>(), any::<String>(), 1..4)
            .prop_map(|pairs| Projection::Renamed(pairs.into_iter().collect())),
    ]
}

fn cursor() -> impl Strategy<Value = Option<String>> {
    proptest::option::of("(?s).{1,20}")
}

fn query_options() -> impl Strategy<Value = QueryOptions> {
    let order_by = (name(), direction()).prop_map(|(field, direction)| OrderBy { field, direction });
    let tiebreak = proptest::option::of(vec(any::<String>(), 1..3));
    let keyset =
        proptest::option::of((tiebreak, cursor()).prop_map(|(tiebreak, cursor)| Keyset { tiebreak, cursor }));
    let limit = proptest::option::of(any::<u64>());
    (filter(), vec(order_by, 0..3), limit, any::<u64>(), projection(), any::<bool>(), keyset).prop_map(
        |(filter, order_by, limit, offset, projection, total, keyset)| QueryOptions {
            filter,
            order_by,
            limit,
            // The two ways to page exclude each other.
            offset: if keyset.is_some() { 0 } else { offset },
            projection,
            total,
            keyset,
        },
    )
}

fn read_options() -> impl Strategy<Value = ReadOptions> {
    let fields = prop_oneof![Just(Projection::All), columns().prop_map(Projection::Columns)];
    // Years from 1 to 9999.
    let since = proptest::option::of(-62_135_596_800_000_000_i64..253_402_300_800_000_000);
    (any::<u64>(), cursor(), fields, since, any::<String>(), any::<bool>()).prop_map(
        |(limit, cursor, projection, since, change_tracking_column, total)| ReadOptions {
            limit,
            cursor,
            projection,
            changed_since: since.map(Timestamp::from_micros),
            change_tracking_column,
            total,
        },
    )
}

/// Any double but infinities and NaN.
fn finite() -> impl Strategy<Value = f64> {
    prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL | prop::num::f64::ZERO
}

fn bucket() -> impl Strategy<Value = Bucket> {
    let columns = || {
        prop_oneof![
            (name(), name()).prop_map(|(lat, lng)| GeoColumns::LatLng { lat, lng }),
            name().prop_map(GeoColumns::Point),
        ]
    };
    let breaks = vec(finite(), 2..6).prop_filter_map("two different bounds", |mut breaks| {
        breaks.sort_by(f64::total_cmp);
        breaks.dedup();
        (breaks.len() > 1).then_some(breaks)
    });
    let step = (prop::num::f64::POSITIVE | prop::num::f64::NORMAL | prop::num::f64::SUBNORMAL)
        .prop_filter("above 0", |step| *step > 0.0 && step.is_finite());
    prop_oneof![
        prop::sample::select(CalendarUnit::ALL.to_vec()).prop_map(Bucket::Calendar),
        step.prop_map(Bucket::Step),
        breaks.prop_map(Bucket::Breaks),
        (1_u8..=12, columns()).prop_map(|(precision, columns)| Bucket::Geohash { precision, columns }),
        (0_u8..=15, columns()).prop_map(|(resolution, columns)| Bucket::H3 { resolution, columns }),
    ]
}

fn measure() -> impl Strategy<Value = Measure> {
    let point = (1_u32..1_000).prop_map(|p| f64::from(p) / 1_000.0);
    let kind = prop_oneof![
        prop::sample::select(vec![
            MeasureKind::Count,
            MeasureKind::CountDistinct,
            MeasureKind::Sum,
            MeasureKind::Avg,
            MeasureKind::Min,
            MeasureKind::Max,
            MeasureKind::First,
            MeasureKind::Last,
            MeasureKind::Rate,
        ]),
        point.prop_map(MeasureKind::Percentile),
        (1_u32..=10_000).prop_map(MeasureKind::TopK),
    ];
    (kind, any::<bool>(), name(), any::<bool>(), filter()).prop_map(
        |(kind, without_column, column, fast, filter)| Measure {
            kind,
            column: (kind != MeasureKind::Count || !without_column).then_some(column),
            accuracy: if fast { Accuracy::Fast } else { Accuracy::Exact },
            filter,
        },
    )
}

fn aggregate_options() -> impl Strategy<Value = AggregateOptions> {
    let join = |(alias, target, local, foreign)| Join { alias, target, local, foreign };
    let alias = "[a-su-z_][A-Za-z0-9_]{0,3}";
    let joins = btree_map(alias, (any::<String>(), name(), name()), 0..3).prop_map(move |joins| {
        joins
            .into_iter()
            .map(|(alias, (target, local, foreign))| join((alias, target, local, foreign)))
            .collect()
    });
    let from = proptest::option::of(any::<prop::sample::Index>());
    let dimensions = btree_map(name(), (name(), proptest::option::of(bucket()), from), 0..4);
    let measures = btree_map("[a-z]{1,4}", measure(), 0..4);
    let having = proptest::option::of((test(), any::<prop::sample::Index>()));
    let sort = (any::<String>(), direction()).prop_map(|(key, direction)| SortKey { key, direction });
    let sample = proptest::option::of((1_u32..1_000).prop_map(|part| f64::from(part) / 1_000.0));
    let scope = (filter(), sample, vec(scalar(), 0..3), proptest::option::of(name()));
    (scope, dimensions, measures, having, vec(sort, 0..3), proptest::option::of(any::<u64>()), joins)
        .prop_map(
            |(scope, dimensions, measures, having, sort, limit, joins): (_, _, _, _, _, _, Vec<Join>)| {
                let (filter, sample, ids, change_tracking_column) = scope;
                let dimension = |(name, (field, bucket, from)): (_, (_, _, Option<prop::sample::Index>))| {
                    let from = from.filter(|_| !joins.is_empty()).map(|from| from.get(&joins).alias.clone());
                    Dimension { field, bucket, name, from }
                };
                let measures: Vec<(String, Measure)> = measures.into_iter().collect();
                let having = having.map(|(test, which)| {
                    let name = if measures.is_empty() { "count" } else { &which.get(&measures).0 };
                    Filter::from_where(Where::field(name, test))
                });
                AggregateOptions {
                    filter,
                    sample,
                    ids,
                    dimensions: dimensions.into_iter().map(dimension).collect(),
                    having: having.unwrap_or_default(),
                    measures,
                    sort,
                    limit,
                    change_tracking_column,
                    joins,
                }
            },
        )
}

fn search_options() -> impl Strategy<Value = SearchOptions> {
    let query = "(?s).{0,20}[^\\s].{0,20}";
    (query, proptest::option::of(vec(any::<String>(), 1..4)), filter(), 0_u64..=1_000, projection()).prop_map(
        |(query, fields, filter, limit, projection)| SearchOptions {
            query,
            fields,
            filter,
            limit,
            projection,
        },
    )
}

fn similar_options() -> impl Strategy<Value = SimilarOptions> {
    let id = scalar().prop_filter("no id is null", |id| *id != Scalar::Null);
    let to = prop_oneof![vec(finite(), 1..5).prop_map(SimilarTo::Vector), id.prop_map(SimilarTo::Row)];
    let metric = prop::sample::select(Metric::ALL.to_vec());
    (to, name(), metric, filter(), 0_u64..=1_000, projection()).prop_map(
        |(to, field, metric, filter, limit, projection)| SimilarOptions {
            to,
            field,
            metric,
            filter,
            limit,
            projection,
        },
    )
}

/// The parts of a date-time, in range or a little beyond.
#[derive(Debug, Clone)]
struct InstantParts {
    date: (i16, i8, i8),
    separator: char,
    time: Option<(i8, i8, Option<Seconds>)>,
    zone: Zone,
}

/// Seconds and the digits of their fraction.
type Seconds = (i8, String);

#[derive(Debug, Clone)]
enum Zone {
    None,
    Utc(char),
    Offset { east: bool, hours: i64, minutes: Option<i64>, colon: bool },
}

fn instant_parts() -> impl Strategy<Value = InstantParts> {
    let date = (0_i16..=9_999, 0_i8..=13, 0_i8..=32);
    let separator = prop::sample::select(vec!['T', 't', ' ']);
    let seconds = proptest::option::of((0_i8..=60, "[0-9]{0,9}"));
    let time = proptest::option::weighted(0.9, (0_i8..=24, 0_i8..=60, seconds));
    let offset = (any::<bool>(), 0_i64..=24, proptest::option::of(0_i64..=60), any::<bool>())
        .prop_map(|(east, hours, minutes, colon)| Zone::Offset { east, hours, minutes, colon });
    let zone = prop_oneof![Just(Zone::None), Just(Zone::Utc('Z')), Just(Zone::Utc('z')), offset];
    (date, separator, time, zone).prop_map(|(date, separator, time, zone)| InstantParts {
        date,
        separator,
        time,
        zone,
    })
}

impl InstantParts {
    fn text(&self) -> String {
        let (year, month, day) = self.date;
        let mut text = format!("{year:04}-{month:02}-{day:02}");
        let Some((hour, minute, seconds)) = &self.time else { return text };
        text.push_str(&format!("{}{hour:02}:{minute:02}", self.separator));
        if let Some((second, fraction)) = seconds {
            text.push_str(&format!(":{second:02}"));
            if !fraction.is_empty() {
                text.push_str(&format!(".{fraction}"));
            }
        }
        match self.zone {
            Zone::None => {}
            Zone::Utc(letter) => text.push(letter),
            Zone::Offset { east, hours, minutes, colon } => {
                text.push_str(&format!("{}{hours:02}", if east { '+' } else { '-' }));
                if let Some(minutes) = minutes {
                    text.push_str(&format!("{}{minutes:02}", if colon { ":" } else { "" }));
                }
            }
        }
        text
    }

    /// Microseconds since 1970 by the other library's calendar; nothing where a part is out of range.
    fn micros(&self) -> Option<i64> {
        let (year, month, day) = self.date;
        let date = civil::Date::new(year, month, day).ok()?;
        let (hour, minute, seconds) = self.time.clone().unwrap_or_default();
        let (second, fraction) = seconds.unwrap_or_default();
        let nanos: i32 = format!("{fraction:0<9}").parse().unwrap();
        // A leap second counts as the second before it.
        let time = civil::Time::new(hour, minute, second.min(59), nanos).ok()?;
        let since = date.to_datetime(time).duration_since(civil::date(1970, 1, 1).at(0, 0, 0, 0));
        let micros = i64::try_from(since.as_nanos().div_euclid(1_000)).unwrap();
        if self.time.is_none() {
            return Some(micros);
        }
        match self.zone {
            Zone::None | Zone::Utc(_) => Some(micros),
            Zone::Offset { hours, minutes, .. }
                if hours > 23 || minutes.is_some_and(|minutes| minutes > 59) =>
            {
                None
            }
            Zone::Offset { east, hours, minutes, .. } => {
                let offset = (hours * 60 + minutes.unwrap_or(0)) * 60_000_000;
                Some(if east { micros - offset } else { micros + offset })
            }
        }
    }
}
