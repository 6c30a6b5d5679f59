#![cfg(test)]
//! Frames that nobody should send: each gets the documented refusal, and costs no more than its own size.

use allocation_counter::{AllocationInfo, measure};
use semilayer_protocol::{
    Chunk, Decoded, FRAME_LIMIT_BYTES, Filter, FrameError, GatewayFrame, QueryOptions, ROW_LIMIT_BYTES,
    RunnerFrame, decode_gateway_frame, decode_runner_frame,
};
use serde_json::Value;
use serde_json::value::RawValue;

use self::Takes::{
    AboveZeroOrDigits, Anything, EmptyList, EmptyObject, Flag, Id, Integer, Measured, Object, Objects, OneOf,
    Positive, PositiveOrDigits, Text, TextOrNumber, Texts, Whole,
};

/// Both decoders' refusal of the same text.
fn refusals(text: &str) -> [FrameError; 2] {
    [decode_gateway_frame(text).unwrap_err(), decode_runner_frame(text).unwrap_err()]
}

#[test]
fn what_is_not_one_json_object_closes_the_socket() {
    let not_frames = [
        "",
        " ",
        "\u{feff}{\"type\":\"ping\"}",
        "ping",
        "null",
        "42",
        "\"ping\"",
        "[]",
        "[{\"type\":\"ping\"}]",
        "{",
        "{\"type\":\"ping\"",
        "{\"type\":\"ping\"}}",
        "{\"type\":\"ping\"}{\"type\":\"ping\"}",
        "{\"type\":\"ping\",}",
        "{'type':'ping'}",
        "{\"type\":\"ping\",\"x\":NaN}",
        "{\"type\":\"ping\",\"x\":01}",
        "{\"type\":\"ping\",\"x\":\"\u{0}\"}",
        "{\"type\":\"chunk\",\"id\":\"a\",\"rows\":[{}}",
        "\u{0}",
    ];
    for text in not_frames {
        for error in refusals(text) {
            assert!(matches!(error, FrameError::NotJson(_)), "{text:?}: {error:?}");
            assert!(error.is_fatal(), "{text:?}");
        }
    }
}

#[test]
fn an_object_without_a_text_type_closes_the_socket() {
    for kind in ["", r#""typ":"ping""#, r#""Type":"ping""#] {
        for error in refusals(&format!("{{{kind}}}")) {
            assert_eq!(error, FrameError::NoType);
            assert!(error.is_fatal());
        }
    }
    for value in ["null", "true", "1", "[]", "{}", "[\"ping\"]", r#""\ud800""#] {
        assert_eq!(refusals(&format!(r#"{{"type":{value}}}"#)), [FrameError::NoType, FrameError::NoType]);
    }
}

#[test]
fn a_key_that_occurs_twice_closes_the_socket_in_every_spelling() {
    for text in [
        r#"{"type":"ping","type":"ping"}"#,
        r#"{"type":"cancel","id":"a","id":"b"}"#,
        r#"{"type":"cancel","id":"a","\u0069d":"b"}"#,
        r#"{"type":"chunk","id":"a","id":"b","rows":[]}"#,
        r#"{"type":"chunk","id":"a","rows":[],"rows":[{}]}"#,
        r#"{"type":"chunk","id":"a","rows":[],"type":"done"}"#,
    ] {
        for error in refusals(text) {
            assert!(error.to_string().contains("occurs twice") && error.is_fatal(), "{text}: {error}");
        }
    }
}

#[test]
fn a_nested_key_that_occurs_twice_refuses_that_frame_alone() {
    let job = r#"{"type":"job","id":"j","params":{"source":"a","source":"b","job":{"kind":"test"}}}"#;
    assert_field(decode_gateway_frame(job).unwrap_err(), "job", Some("j"), "params");
    let heartbeat = r#"{"type":"heartbeat","stats":{"activeJobs":1,"activeJobs":2}}"#;
    assert_field(decode_runner_frame(heartbeat).unwrap_err(), "heartbeat", None, "stats");
}

#[test]
fn unknown_types_are_named_but_not_at_any_length() {
    let long = format!(r#"{{"type":"{}"}}"#, "é".repeat(1_000_000));
    let Decoded::Unknown(name) = decode_gateway_frame(&long).unwrap() else { panic!("a frame") };
    assert_eq!(name, "é".repeat(100));
    let Decoded::Unknown(name) = decode_runner_frame(&long).unwrap() else { panic!("a frame") };
    assert_eq!(name, "é".repeat(100));
}

/// What a field takes. Everything else is refused with the field's name.
#[derive(Clone, Copy, PartialEq)]
enum Takes {
    /// A string.
    Text,
    /// A job id: a string that is not empty.
    Id,
    /// A whole number of at least 0.
    Whole,
    /// A number of at least 0.
    Measured,
    /// Any number or string.
    TextOrNumber,
    /// `true` or `false`.
    Flag,
    /// A list of strings.
    Texts,
    /// A list of objects.
    Objects,
    /// A list, but none of the values here belongs into it.
    EmptyList,
    /// An object.
    Object,
    /// An object, but none of the entries here belongs into it.
    EmptyObject,
    /// A whole number above 0.
    Positive,
    /// The same, or its text.
    PositiveOrDigits,
    /// A number above 0, or the text of a whole one.
    AboveZeroOrDigits,
    /// A whole number, or one below 0.
    Integer,
    /// One of these strings.
    OneOf(&'static [&'static str]),
    /// Anything at all.
    Anything,
}

impl Takes {
    fn accepts(self, value: &Value) -> bool {
        let list_of = |is: fn(&Value) -> bool| value.as_array().is_some_and(|items| items.iter().all(is));
        match self {
            Text => value.is_string(),
            Id => value.as_str().is_some_and(|id| !id.is_empty()),
            Whole => value.as_u64().is_some() || value.as_f64() == Some(5.0),
            Measured => value.as_f64().is_some_and(|number| number >= 0.0),
            TextOrNumber => value.is_string() || value.is_number(),
            Flag => value.is_boolean(),
            Texts => list_of(Value::is_string),
            Objects => list_of(|item| item.is_object()),
            EmptyList => value.as_array().is_some_and(Vec::is_empty),
            Object => value.is_object(),
            EmptyObject => value.as_object().is_some_and(serde_json::Map::is_empty),
            Positive => Whole.accepts(value) && value.as_f64() != Some(0.0),
            PositiveOrDigits => Positive.accepts(value) || value.as_str() == Some("5"),
            AboveZeroOrDigits => {
                value.as_f64().is_some_and(|number| number > 0.0) || value.as_str() == Some("5")
            }
            Integer => value.as_i64().is_some() || value.as_f64() == Some(5.0),
            OneOf(words) => value.as_str().is_some_and(|text| words.contains(&text)),
            Anything => true,
        }
    }
}

/// A field of a frame: its path, what it takes, whether it must be there.
struct FieldRule {
    path: &'static str,
    takes: Takes,
    required: bool,
}

const fn required(path: &'static str, takes: Takes) -> FieldRule {
    FieldRule { path, takes, required: true }
}

const fn optional(path: &'static str, takes: Takes) -> FieldRule {
    FieldRule { path, takes, required: false }
}

/// A frame with every field, and the rules for each of them.
struct FrameRules {
    frame: &'static str,
    fields: &'static [FieldRule],
}

const TO_RUNNER: &[FrameRules] = &[
    FrameRules {
        frame: r#"{"type":"hello-ack","serverVersion":"1","assignedSources":[{"id":"s","name":"n","bridge":"b","credentialsLocation":"managed","config":{"a":1}}],"extensions":["flow/1"]}"#,
        fields: &[optional("/serverVersion", Text), optional("/extensions", Texts)],
    },
    FrameRules {
        frame: r#"{"type":"assignments-changed","assignedSources":[]}"#,
        fields: &[required("/assignedSources", EmptyList)],
    },
    // One entry alone: beside a good one it would be left out.
    FrameRules {
        frame: r#"{"type":"assignments-changed","assignedSources":[{"id":"s","name":"n","bridge":"b","credentialsLocation":"managed","config":{"a":1}}]}"#,
        fields: &[
            optional("/assignedSources/0/config", Object),
            required("/assignedSources/0", OneOf(&[])),
            required("/assignedSources/0/id", Text),
            required("/assignedSources/0/name", Text),
            required("/assignedSources/0/bridge", Text),
            required("/assignedSources/0/credentialsLocation", OneOf(&["managed", "runner-local"])),
        ],
    },
    FrameRules {
        frame: r#"{"type":"job","id":"j","params":{"source":"s","job":{"kind":"query","target":"t","options":{}}},"deadlineMs":1,"credit":1,"traceparent":"a","tracestate":"b","attempt":1}"#,
        fields: &[
            required("/id", Id),
            required("/params", OneOf(&[])),
            required("/params/source", Text),
            required("/params/job", OneOf(&[])),
            required("/params/job/kind", Text),
            optional("/params/job/target", Text),
            optional("/params/job/options", Anything),
            optional("/deadlineMs", Whole),
            optional("/credit", Whole),
            optional("/traceparent", Text),
            optional("/tracestate", Text),
            optional("/attempt", Whole),
        ],
    },
    FrameRules { frame: r#"{"type":"cancel","id":"j"}"#, fields: &[required("/id", Id)] },
    FrameRules { frame: r#"{"type":"ping"}"#, fields: &[] },
    FrameRules {
        frame: r#"{"type":"credit","id":"j","bytes":1}"#,
        fields: &[required("/id", Id), required("/bytes", Whole)],
    },
    FrameRules {
        frame: r#"{"type":"exec_request","job_id":"j","command":"ls","timeout_secs":1,"mode":"full","docker":true,"sandbox":{"image":"i","network":"n","memory":"1m","cpus":1,"files":{"a":"b"},"extract":["a"]},"env":{"A":"b"},"credit":1,"traceparent":"a","tracestate":"b"}"#,
        fields: &[
            required("/job_id", Id),
            required("/command", Id),
            optional("/timeout_secs", Positive),
            optional("/mode", OneOf(&["readonly", "sandbox", "full"])),
            optional("/docker", Flag),
            optional("/sandbox", Object),
            optional("/sandbox/image", Id),
            optional("/sandbox/network", Id),
            optional("/sandbox/memory", PositiveOrDigits),
            optional("/sandbox/cpus", AboveZeroOrDigits),
            optional("/sandbox/files", EmptyObject),
            optional("/sandbox/extract", Texts),
            optional("/env", EmptyObject),
            optional("/credit", Whole),
            optional("/traceparent", Text),
            optional("/tracestate", Text),
        ],
    },
    FrameRules {
        frame: r#"{"type":"exec_request","job_id":"j","argv":["ls"]}"#,
        fields: &[required("/job_id", Id)],
    },
    FrameRules { frame: r#"{"type":"exec_cancel","job_id":"j"}"#, fields: &[required("/job_id", Id)] },
];

const TO_GATEWAY: &[FrameRules] = &[
    FrameRules {
        frame: r#"{"type":"hello","version":1,"runnerId":"r","capabilities":["b"],"runtimeVersion":"1","extensions":["flow/1"],"instanceId":"i","runningJobs":["j"],"maxJobs":4,"metadata":{}}"#,
        fields: &[
            optional("/version", Whole),
            optional("/runnerId", TextOrNumber),
            optional("/capabilities", Texts),
            optional("/runtimeVersion", Text),
            optional("/extensions", Texts),
            optional("/instanceId", Text),
            optional("/runningJobs", Texts),
            optional("/maxJobs", Whole),
            optional("/metadata", Anything),
        ],
    },
    FrameRules {
        frame: r#"{"type":"hello","runner_name":"n","secret":"rk"}"#,
        fields: &[optional("/runner_name", Text), optional("/secret", Text)],
    },
    FrameRules {
        frame: r#"{"type":"heartbeat","stats":{"activeJobs":1,"memoryMb":1,"maxJobs":1,"freeSlots":1,"pools":{"s":{"inUse":1,"idle":1,"max":1}}}}"#,
        fields: &[
            optional("/stats", Object),
            optional("/stats/activeJobs", Whole),
            optional("/stats/memoryMb", Measured),
            optional("/stats/maxJobs", Whole),
            optional("/stats/freeSlots", Whole),
            optional("/stats/pools/s/inUse", Whole),
            optional("/stats/pools/s/idle", Whole),
            optional("/stats/pools/s/max", Whole),
        ],
    },
    FrameRules {
        frame: r#"{"type":"chunk","id":"j","rows":[{}],"agg":[{}],"nextCursor":"c","total":1,"approximate":false,"seq":0}"#,
        fields: &[
            required("/id", Id),
            optional("/rows", Objects),
            optional("/agg", Objects),
            optional("/nextCursor", Text),
            optional("/total", Whole),
            optional("/approximate", Flag),
            optional("/seq", Whole),
        ],
    },
    FrameRules {
        frame: r#"{"type":"done","id":"j","meta":{"count":1,"durationMs":1,"nextCursor":"c","total":1,"approximate":true}}"#,
        fields: &[
            required("/id", Id),
            optional("/meta", Object),
            optional("/meta/count", Whole),
            optional("/meta/durationMs", Measured),
            optional("/meta/nextCursor", Text),
            optional("/meta/total", Whole),
            optional("/meta/approximate", Flag),
        ],
    },
    FrameRules {
        frame: r#"{"type":"error","id":"j","code":"INTERNAL","message":"m","op":"$x","target":"t","bridge":"b"}"#,
        fields: &[
            required("/id", Id),
            required("/code", Text),
            optional("/message", Text),
            optional("/op", Text),
            optional("/target", Text),
            optional("/bridge", Text),
        ],
    },
    FrameRules { frame: r#"{"type":"draining","deadlineMs":1}"#, fields: &[optional("/deadlineMs", Whole)] },
    FrameRules {
        frame: r#"{"type":"hello","exec":{"modes":["full"],"docker":true,"images":["a"],"defaultImage":"a","networks":["n"],"maxExec":1,"maxTimeoutSecs":1}}"#,
        fields: &[
            optional("/exec", Object),
            optional("/exec/modes", Texts),
            optional("/exec/docker", Flag),
            optional("/exec/images", Texts),
            optional("/exec/defaultImage", Id),
            optional("/exec/networks", Texts),
            optional("/exec/maxExec", Whole),
            optional("/exec/maxTimeoutSecs", Whole),
        ],
    },
    FrameRules {
        frame: r#"{"type":"exec_chunk","job_id":"j","stream":"stdout","data":"d","lossy":true,"omitted_bytes":1,"seq":0}"#,
        fields: &[
            required("/job_id", Id),
            required("/stream", OneOf(&["stdout", "stderr"])),
            required("/data", Text),
            optional("/lossy", Flag),
            optional("/omitted_bytes", Whole),
            required("/seq", Whole),
        ],
    },
    FrameRules {
        frame: r#"{"type":"exec_done","job_id":"j","exit_code":0,"duration_ms":1,"truncated":{"stdout_bytes":1,"stderr_bytes":1},"extracted":[{"from":"a","status":"ok","error":"e","files":[{"path":"p","content":"c"}]}]}"#,
        fields: &[
            required("/job_id", Id),
            required("/exit_code", Integer),
            optional("/duration_ms", Measured),
            optional("/truncated", Object),
            optional("/truncated/stdout_bytes", Whole),
            optional("/truncated/stderr_bytes", Whole),
            optional("/extracted", EmptyList),
            required("/extracted/0", OneOf(&[])),
            required("/extracted/0/from", Text),
            required("/extracted/0/status", OneOf(&["ok", "missing", "error"])),
            optional("/extracted/0/error", Text),
            optional("/extracted/0/files", EmptyList),
            required("/extracted/0/files/0/path", Id),
            required("/extracted/0/files/0/content", Text),
        ],
    },
    FrameRules {
        frame: r#"{"type":"exec_error","job_id":"j","error":"e","code":"c","rule":"r","duration_ms":1,"truncated":{}}"#,
        fields: &[
            required("/job_id", Id),
            optional("/error", Text),
            required("/code", Text),
            optional("/rule", Text),
            optional("/duration_ms", Measured),
            optional("/truncated", Object),
        ],
    },
];

/// One value of every kind, and some at the edges.
const VALUES: &[&str] = &[
    "null",
    "true",
    "false",
    "0",
    "7",
    "5.0",
    "-1",
    "1.5",
    "-0.5",
    "1e400",
    "\"\"",
    "\"text\"",
    "\"5\"",
    r#""\ud800""#,
    "[]",
    "[5]",
    "[\"text\"]",
    "[null]",
    "[[]]",
    "[{}]",
    "{}",
    r#"{"x":1}"#,
];

#[test]
fn a_field_of_a_wrong_kind_is_named_and_harms_that_frame_alone() {
    let mut refused = 0;
    for (folder, rules) in
        TO_RUNNER.iter().map(|rules| (false, rules)).chain(TO_GATEWAY.iter().map(|rules| (true, rules)))
    {
        let decode = |text: &str| {
            if folder {
                decode_runner_frame(text).map(|_| ())
            } else {
                decode_gateway_frame(text).map(|_| ())
            }
        };
        assert_eq!(decode(rules.frame), Ok(()), "{}", rules.frame);
        for field in rules.fields {
            for value in VALUES {
                let text = replaced(rules.frame, field.path, value);
                if accepted(field, value) {
                    assert_eq!(decode(&text), Ok(()), "{text}");
                } else {
                    let kind = kind_of(rules.frame);
                    let id = job_of(rules.frame, field.path);
                    assert_field(decode(&text).expect_err(&text), &kind, id, &dotted(field.path));
                    refused += 1;
                }
            }
        }
    }
    // A table that lost its rows would pass as well.
    assert!(refused > 700, "{refused}");
}

#[test]
fn a_required_field_that_is_missing_is_named() {
    for rules in TO_RUNNER {
        for field in rules.fields.iter().filter(|field| field.required && !field.path.ends_with("/0")) {
            let error = decode_gateway_frame(&without(rules.frame, field.path)).unwrap_err();
            let id = job_of(rules.frame, field.path);
            assert_field(error, &kind_of(rules.frame), id, &dotted(field.path));
        }
    }
    for rules in TO_GATEWAY {
        for field in rules.fields.iter().filter(|field| field.required && !field.path.ends_with("/0")) {
            let error = decode_runner_frame(&without(rules.frame, field.path)).unwrap_err();
            let id = job_of(rules.frame, field.path);
            assert_field(error, &kind_of(rules.frame), id, &dotted(field.path));
        }
    }
}

/// The job that a refusal of that field names.
fn job_of(frame: &str, path: &str) -> Option<&'static str> {
    let named = frame.contains(r#""id":"j""#) || frame.contains(r#""job_id":"j""#);
    (named && path != "/id" && path != "/job_id").then_some("j")
}

/// `null` counts as absent; a text with half a surrogate pair is no text, and JSON has no number beyond a double.
fn accepted(field: &FieldRule, value: &str) -> bool {
    if field.takes == Anything {
        return true;
    }
    match serde_json::from_str::<Value>(value) {
        Ok(Value::Null) => !field.required,
        Ok(value) => field.takes.accepts(&value),
        // The other dialect's ids are kept as they are written.
        Err(_) => field.takes == TextOrNumber && value == "1e400",
    }
}

/// The frame with another value at `path`. Spliced as text, because not every value here is one that a tree can hold.
fn replaced(frame: &str, path: &str, value: &str) -> String {
    let mut tree: Value = serde_json::from_str(frame).unwrap();
    *tree.pointer_mut(path).unwrap() = Value::from("@here@");
    // `type` goes first, as our own runners write it, so that the fast path for chunks is met.
    let kind = tree.as_object_mut().unwrap().remove("type").unwrap();
    let rest = tree.to_string().replace("\"@here@\"", value);
    format!("{{\"type\":{kind},{}", rest.strip_prefix('{').unwrap())
}

fn without(frame: &str, path: &str) -> String {
    let mut tree: Value = serde_json::from_str(frame).unwrap();
    let (parent, key) = path.rsplit_once('/').unwrap();
    tree.pointer_mut(parent).unwrap().as_object_mut().unwrap().remove(key).unwrap();
    tree.to_string()
}

fn kind_of(frame: &str) -> String {
    let tree: Value = serde_json::from_str(frame).unwrap();
    tree["type"].as_str().unwrap().to_owned()
}

/// `/a/0/b` as messages write it: `a[0].b`.
fn dotted(path: &str) -> String {
    let mut dotted = String::new();
    for step in path.split('/').skip(1) {
        match step.parse::<usize>() {
            Ok(index) => dotted.push_str(&format!("[{index}]")),
            Err(_) if dotted.is_empty() => dotted.push_str(step),
            Err(_) => dotted.push_str(&format!(".{step}")),
        }
    }
    dotted
}

fn assert_field(error: FrameError, frame: &str, job: Option<&str>, path: &str) {
    assert!(!error.is_fatal(), "{error}");
    let FrameError::Field { kind, id, invalid } = error else { panic!("{error}") };
    assert_eq!((kind, id.as_deref()), (frame, job), "{invalid}");
    let rest = invalid.field.strip_prefix(path);
    let below = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    assert!(below, "{invalid} should name {path}");
}

#[test]
fn ids_are_short_and_printable() {
    let long = "x".repeat(1_000_000);
    for id in ["", long.as_str(), "a\\u0000b", "a\\nb", "\\u0085", &"x".repeat(201), &"é".repeat(101)] {
        for kind in ["chunk", "done", "error"] {
            let text = format!(r#"{{"type":"{kind}","id":"{id}","code":"X"}}"#);
            assert_field(decode_runner_frame(&text).unwrap_err(), kind, None, "id");
        }
        for kind in ["cancel", "job", "credit"] {
            let text = format!(
                r#"{{"type":"{kind}","id":"{id}","bytes":1,"params":{{"source":"s","job":{{"kind":"test"}}}}}}"#
            );
            assert_field(decode_gateway_frame(&text).unwrap_err(), kind, None, "id");
        }
    }
    for id in ["x".repeat(200), "é".repeat(100), " ".to_owned(), "\\\"".to_owned()] {
        let text = format!(r#"{{"type":"cancel","id":"{id}"}}"#);
        assert!(decode_gateway_frame(&text).is_ok(), "{text}");
    }
}

#[test]
fn numbers_beyond_every_integer_are_refused_and_those_of_64_bits_are_not() {
    let credit =
        |bytes: &str| decode_gateway_frame(&format!(r#"{{"type":"credit","id":"j","bytes":{bytes}}}"#));
    let digits = "9".repeat(1_000_000);
    for bytes in ["18446744073709551616", "1e400", "-1e400", "1e19", &digits, &format!("1e{digits}")] {
        assert_field(credit(bytes).unwrap_err(), "credit", Some("j"), "bytes");
    }
    for (bytes, expected) in [
        ("18446744073709551615", u64::MAX),
        ("9223372036854775807", 9_223_372_036_854_775_807),
        ("-0", 0),
        ("0e999999999999", 0),
        ("25e2", 2_500),
    ] {
        let Ok(Decoded::Frame(GatewayFrame::Credit { bytes, .. })) = credit(bytes) else { panic!("{bytes}") };
        assert_eq!(bytes, expected);
    }
}

#[test]
fn halves_of_surrogate_pairs_stay_in_rows_and_reach_nothing_else() {
    let chunk = r#"{"type":"chunk","id":"j","rows":[{"a":"\ud800"}]}"#;
    let Ok(Decoded::Frame(RunnerFrame::Chunk(parts))) = decode_runner_frame(chunk) else {
        panic!("no chunk")
    };
    assert_eq!(parts.rows[0].get(), r#"{"a":"\ud800"}"#);
    let key = r#"{"type":"ping","\ud800":1}"#;
    assert!(refusals(key).iter().all(FrameError::is_fatal));
    let filter = Filter::from_json(r#"{"a":"\udfff"}"#).unwrap_err();
    assert!(filter.to_string().starts_with("where.a: expected valid JSON"), "{filter}");
}

const LEVELS: usize = 1_000_000;

#[test]
fn a_million_levels_cost_no_stack() {
    let lists = format!("{}{}", "[".repeat(LEVELS), "]".repeat(LEVELS));
    let objects = format!("{}1{}", r#"{"a":"#.repeat(LEVELS), "}".repeat(LEVELS));
    for deep in [&lists, &objects] {
        assert!(decode_gateway_frame(&format!(r#"{{"type":"ping","x":{deep}}}"#)).is_ok());
        assert!(decode_runner_frame(&format!(r#"{{"type":"hello","metadata":{deep}}}"#)).is_ok());
        let chunk = format!(r#"{{"type":"chunk","id":"j","rows":[{{"a":{deep}}}]}}"#);
        assert!(decode_runner_frame(&chunk).is_ok());
        let meta = format!(r#"{{"type":"done","id":"j","meta":{{"x":{deep}}}}}"#);
        assert!(decode_runner_frame(&meta).is_ok());
        let config = format!(
            r#"{{"type":"assignments-changed","assignedSources":[{{"id":"s","name":"n","bridge":"b","credentialsLocation":"managed","config":{{"a":{deep}}}}}]}}"#
        );
        let refused = decode_gateway_frame(&config).unwrap_err();
        assert_field(refused, "assignments-changed", None, "assignedSources[0].config");
        assert!(Filter::from_json(&format!(r#"{{"a":{deep}}}"#)).is_err());
        assert!(Filter::from_json(&format!(r#"{{"$not":{deep}}}"#)).is_err());
        let options = RawValue::from_string(format!(r#"{{"x":{deep},"limit":1}}"#)).unwrap();
        assert_eq!(QueryOptions::parse(&options).unwrap().limit, Some(1));
    }
    assert!(refusals(&lists).iter().all(FrameError::is_fatal));
    assert!(refusals(&"[".repeat(LEVELS)).iter().all(FrameError::is_fatal));
    assert!(refusals(&r#"{"type":"#.repeat(LEVELS)).iter().all(FrameError::is_fatal));
}

const HUNDRED_MIB: usize = 100 * 1024 * 1024;

/// What decoding allocates: every byte asked for, which grows with copies, and the most at once.
fn cost(text: &str) -> AllocationInfo {
    measure(|| {
        drop(decode_gateway_frame(text));
        drop(decode_runner_frame(text));
    })
}

fn filled(start: &str, filling: &str, end: &str, length: usize) -> String {
    let filling = filling.repeat((length - start.len() - end.len()) / filling.len());
    format!("{start}{}{end}", filling.trim_end_matches(','))
}

#[test]
fn a_hundred_mebibytes_that_mean_nothing_are_not_copied() {
    for text in [
        "x".repeat(HUNDRED_MIB),
        filled(r#"{"type":"ping","x":""#, "x", "\"}", HUNDRED_MIB),
        filled(r#"{"type":"chunk","id":"j","rows":[{"a":""#, "x", "\"}]}", HUNDRED_MIB),
    ] {
        let cost = cost(&text);
        assert!(cost.bytes_total < 16 * 1024, "{cost:?}");
    }
}

#[test]
fn a_hundred_mebibytes_of_keys_are_refused_early() {
    let mut text = String::from(r#"{"type":"ping""#);
    let mut number = 0;
    while text.len() < HUNDRED_MIB {
        text.push_str(&format!(",\"{number}\":0"));
        number += 1;
    }
    text.push('}');
    for error in refusals(&text) {
        assert!(error.to_string().contains("more than 100000 keys") && error.is_fatal(), "{error}");
    }
    let cost = cost(&text);
    assert!(cost.bytes_max < 32 * 1024 * 1024, "{cost:?}");
}

#[test]
fn four_times_the_text_costs_four_times_the_memory() {
    let shapes: [(&str, &str, &str); 6] = [
        (r#"{"type":"chunk","id":"j","rows":["#, "{},", "]}"),
        (r#"{"rows":["#, "{},", r#"],"type":"chunk","id":"j"}"#),
        (r#"{"type":"hello","capabilities":["#, "\"\",", "]}"),
        (r#"{"type":"hello","runningJobs":["#, "\"\\u0061\",", "]}"),
        (
            r#"{"type":"hello-ack","assignedSources":["#,
            r#"{"id":"a","name":"b","bridge":"c","credentialsLocation":"managed","config":{}},"#,
            "]}",
        ),
        (r#"{"type":"done","id":"j","meta":{"x":["#, "[],", "]}}"),
    ];
    for (start, filling, end) in shapes {
        let small = cost(&filled(start, filling, end, 1 << 18));
        let large = cost(&filled(start, filling, end, 1 << 20));
        assert!(large.bytes_total <= 5 * small.bytes_total, "{start}: {small:?} {large:?}");
        assert!(large.count_total <= 5 * small.count_total, "{start}: {small:?} {large:?}");
    }
}

#[test]
fn a_list_that_fills_the_largest_frame_costs_at_most_twenty_times_its_length() {
    for (start, filling, end) in [
        (r#"{"type":"chunk","id":"j","rows":["#, "{},", "]}"),
        (r#"{"type":"hello","capabilities":["#, "\"\",", "]}"),
    ] {
        let text = filled(start, filling, end, FRAME_LIMIT_BYTES - 2);
        let cost = cost(&text);
        assert!(cost.bytes_max <= 20 * FRAME_LIMIT_BYTES as u64, "{start}: {cost:?}");
    }
}

#[test]
fn a_runner_takes_no_more_than_ten_thousand_sources() {
    let source = r#"{"id":"a","name":"b","bridge":"c","credentialsLocation":"runner-local"},"#;
    let frame =
        filled(r#"{"type":"hello-ack","assignedSources":["#, source, "]}", 10_001 * source.len() + 50);
    assert_field(decode_gateway_frame(&frame).unwrap_err(), "hello-ack", None, "assignedSources");
}

#[test]
fn a_list_of_more_than_a_million_items_is_refused() {
    let hello = filled(r#"{"type":"hello","capabilities":["#, "\"\",", "]}", 4 << 20);
    assert_field(decode_runner_frame(&hello).unwrap_err(), "hello", None, "capabilities");
    for start in [r#"{"type":"chunk","id":"j","rows":["#, r#"{"id":"j","type":"chunk","rows":["#] {
        let chunk = filled(start, "{},", "]}", 4 << 20);
        assert_field(decode_runner_frame(&chunk).unwrap_err(), "chunk", Some("j"), "rows");
    }
}

#[test]
fn a_message_about_a_huge_name_is_short() {
    let name = "n".repeat(1_000_000);
    for text in [
        format!(r#"{{"{name}":{{"$gt":[]}}}}"#),
        format!(r#"{{"a":{{"${name}":1}}}}"#),
        format!(r#"{{"{name}":1,"{name}":2}}"#),
        format!(r#"{{"$and":[{{"{name}":{{"$exists":1}}}}]}}"#),
    ] {
        let message = Filter::from_json(&text).unwrap_err().to_string();
        assert!(message.len() < 2_000, "{}", message.len());
    }
    let twice = format!(r#"{{"type":"ping","{name}":1,"{name}":2}}"#);
    assert!(refusals(&twice).iter().all(|error| error.to_string().len() < 2_000));
}

#[test]
fn names_in_a_job_are_bounded_because_logs_repeat_them() {
    let job = |source: usize, kind: usize, target: usize| {
        let (source, kind, target) = ("s".repeat(source), "k".repeat(kind), "t".repeat(target));
        let job = format!(r#"{{"kind":"{kind}","target":"{target}","options":{{}}}}"#);
        decode_gateway_frame(&format!(
            r#"{{"type":"job","id":"j","params":{{"source":"{source}","job":{job}}}}}"#
        ))
    };
    assert!(job(4_096, 4_096, 4_096).is_ok());
    for (frame, field) in [
        (job(4_097, 1, 1), "params.source"),
        (job(1, 4_097, 1), "params.job.kind"),
        (job(1, 1, 4_097), "params.job.target"),
    ] {
        assert_field(frame.unwrap_err(), "job", Some("j"), field);
    }
}

#[test]
fn the_largest_row_fits_into_a_frame_and_comes_out_as_it_went_in() {
    let row = format!(r#"{{"a":"{}"}}"#, "x".repeat(ROW_LIMIT_BYTES - 8));
    assert_eq!(row.len(), ROW_LIMIT_BYTES);
    let frame = Chunk { id: &"i".repeat(200), rows: &row, seq: Some(u64::MAX), ..Chunk::default() }.encode();
    assert!(frame.len() <= FRAME_LIMIT_BYTES);
    let Ok(Decoded::Frame(RunnerFrame::Chunk(parts))) = decode_runner_frame(&frame) else {
        panic!("no chunk")
    };
    assert_eq!(parts.rows.len(), 1);
    assert!(parts.rows[0].get() == row);
}
