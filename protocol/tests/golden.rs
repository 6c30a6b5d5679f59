#![cfg(test)]
//! Golden files of the runner socket: the text of a frame, what it decodes to, and what this build writes for it.
//!
//! `golden/to_runner` and `golden/to_gateway` hold frames as other programs write them: version 1 as published, every
//! extension, unknown fields and types, minimal forms, nulls. Beside `name.json` stands `name.expected`. A difference is a
//! change for other programs; `UPDATE_GOLDEN=1` writes what is now so, for a review to read.

#[path = "support/frames.rs"]
mod frames;

use std::collections::BTreeSet;
use std::fmt::{Debug, Write};
use std::fs;

use frames::{encode_gateway_frame, encode_runner_frame, golden_files, golden_folder};
use semilayer_protocol::{
    AggregateOptions, BatchReadOptions, CountOptions, Decoded, GatewayFrame, JobKind, JobRequest,
    QueryOptions, ReadOptions, RequestError, RunnerFrame, SearchOptions, SimilarOptions,
    decode_gateway_frame, decode_runner_frame,
};

#[test]
fn frames_to_runners_are_as_the_golden_files_say() {
    let mut differences = Vec::new();
    for (name, text) in golden_files("to_runner") {
        let mut told = String::new();
        match decode_gateway_frame(&text).unwrap() {
            Decoded::Frame(frame) => {
                writeln!(told, "{frame:#?}").unwrap();
                if let GatewayFrame::Job(job) = &frame {
                    writeln!(told, "\noptions: {}", options(&job.request)).unwrap();
                }
                tell_encoded(&mut told, &encode_gateway_frame(&frame));
            }
            Decoded::Unknown(kind) => writeln!(told, "ignored: {kind}").unwrap(),
        }
        differences.extend(difference("to_runner", &name, &told));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

#[test]
fn frames_to_gateways_are_as_the_golden_files_say() {
    let mut differences = Vec::new();
    for (name, text) in golden_files("to_gateway") {
        let mut told = String::new();
        match decode_runner_frame(&text).unwrap() {
            Decoded::Frame(frame) => {
                writeln!(told, "{frame:#?}").unwrap();
                tell_encoded(&mut told, &encode_runner_frame(&frame));
            }
            Decoded::Unknown(kind) => writeln!(told, "ignored: {kind}").unwrap(),
        }
        differences.extend(difference("to_gateway", &name, &told));
    }
    assert!(differences.is_empty(), "{}", differences.join("\n\n"));
}

/// What a gateway and a runner of this build write themselves.
const OURS_TO_RUNNER: &[&str] = &[
    "hello_ack",
    "hello_ack_with_every_extension",
    "assignments_changed",
    "assignments_changed_to_none",
    "job_query",
    "job_query_project",
    "job_query_keyset_by_primary_key",
    "job_read",
    "job_aggregate",
    "job_flow",
    "job_trace",
    "job_placed_again",
    "job_with_every_extension",
    "cancel",
    "ping",
    "credit",
    "credit_without_bound",
    "exec_request_command",
    "exec_request_argv",
    "exec_request_sandbox",
    "exec_request_with_every_field",
    "exec_cancel",
];
const OURS_TO_GATEWAY: &[&str] = &[
    "hello",
    "hello_with_every_extension",
    "hello_with_metadata",
    "heartbeat",
    "heartbeat_minimal",
    "heartbeat_stats",
    "chunk",
    "chunk_last_page",
    "chunk_count",
    "chunk_count_estimated",
    "chunk_aggregate",
    "chunk_sequence",
    "chunk_aggregate_sequence",
    "chunk_targets",
    "chunk_without_rows",
    "done",
    "done_with_tail",
    "error",
    "error_unsupported_operator",
    "draining",
    "hello_with_exec",
    "exec_chunk",
    "exec_chunk_lossy",
    "exec_chunk_behind_a_gap",
    "exec_done",
    "exec_done_by_signal",
    "exec_done_with_extracted_files",
    "exec_error",
    "exec_error_of_time",
];

#[test]
fn our_own_frames_are_written_byte_for_byte_as_they_were_read() {
    let ours = |folder: &str, names: &[&str]| {
        let mut files = golden_files(folder);
        files.retain(|name, _| names.contains(&name.as_str()));
        assert_eq!(files.len(), names.len(), "a name without a file in {folder}");
        files
    };
    for (name, text) in ours("to_runner", OURS_TO_RUNNER) {
        let Decoded::Frame(frame) = decode_gateway_frame(&text).unwrap() else { panic!("{name}") };
        assert_eq!(encode_gateway_frame(&frame), text, "{name}");
    }
    for (name, text) in ours("to_gateway", OURS_TO_GATEWAY) {
        let Decoded::Frame(frame) = decode_runner_frame(&text).unwrap() else { panic!("{name}") };
        assert_eq!(encode_runner_frame(&frame), text, "{name}");
    }
}

#[test]
fn every_frame_has_a_golden_file() {
    let mut to_runner = BTreeSet::new();
    for text in golden_files("to_runner").into_values() {
        if let Decoded::Frame(frame) = decode_gateway_frame(&text).unwrap() {
            to_runner.insert(gateway_type(&frame));
        }
    }
    let mut to_gateway = BTreeSet::new();
    for text in golden_files("to_gateway").into_values() {
        if let Decoded::Frame(frame) = decode_runner_frame(&text).unwrap() {
            to_gateway.insert(runner_type(&frame));
        }
    }
    let types = [
        "assignments-changed",
        "cancel",
        "credit",
        "exec_cancel",
        "exec_request",
        "hello-ack",
        "job",
        "ping",
    ];
    assert_eq!(to_runner.into_iter().collect::<Vec<_>>(), types);
    let types =
        ["chunk", "done", "draining", "error", "exec_chunk", "exec_done", "exec_error", "heartbeat", "hello"];
    assert_eq!(to_gateway.into_iter().collect::<Vec<_>>(), types);
}

#[test]
fn every_job_kind_has_a_golden_file() {
    let mut kinds = BTreeSet::new();
    for text in golden_files("to_runner").into_values() {
        if let Decoded::Frame(GatewayFrame::Job(job)) = decode_gateway_frame(&text).unwrap() {
            kinds.insert(job.request.kind.label());
        }
    }
    for kind in JobKind::ALL {
        assert!(kinds.contains(kind.label()), "{kind}");
    }
    assert!(kinds.contains("unknown"));
}

#[test]
fn decoded_frames_show_no_secret() {
    for (folder, secret) in [("to_gateway", "rk_live_canary"), ("to_runner", "postgres://db")] {
        let mut with_secret = golden_files(folder);
        with_secret.retain(|_, text| text.contains(secret));
        assert!(!with_secret.is_empty());
        for text in with_secret.into_values() {
            let shown = match folder {
                "to_gateway" => format!("{:?}", decode_runner_frame(&text).unwrap()),
                _ => format!("{:?}", decode_gateway_frame(&text).unwrap()),
            };
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

/// A new variant does not compile until it is listed here, and then needs a file.
fn gateway_type(frame: &GatewayFrame) -> &'static str {
    match frame {
        GatewayFrame::HelloAck(_) => "hello-ack",
        GatewayFrame::AssignmentsChanged(_) => "assignments-changed",
        GatewayFrame::Job(_) => "job",
        GatewayFrame::Cancel { .. } => "cancel",
        GatewayFrame::Ping => "ping",
        GatewayFrame::Credit { .. } => "credit",
        GatewayFrame::ExecRequest(_) => "exec_request",
        GatewayFrame::ExecCancel { .. } => "exec_cancel",
    }
}

fn runner_type(frame: &RunnerFrame<'_>) -> &'static str {
    match frame {
        RunnerFrame::Hello(_) => "hello",
        RunnerFrame::Heartbeat(_) => "heartbeat",
        RunnerFrame::Chunk(_) => "chunk",
        RunnerFrame::Done { .. } => "done",
        RunnerFrame::Error(_) => "error",
        RunnerFrame::Draining(_) => "draining",
        RunnerFrame::ExecChunk(_) => "exec_chunk",
        RunnerFrame::ExecDone(_) => "exec_done",
        RunnerFrame::ExecError(_) => "exec_error",
    }
}

/// The options as the kind's own parser reads them.
fn options(request: &JobRequest) -> String {
    fn shown<T: Debug>(options: Result<T, RequestError>) -> String {
        options.map_or_else(|error| error.to_string(), |options| format!("{options:#?}"))
    }
    let raw = &request.options;
    match request.kind {
        JobKind::Query => shown(QueryOptions::parse(raw)),
        JobKind::Read => shown(ReadOptions::parse(raw)),
        JobKind::BatchRead => shown(BatchReadOptions::parse(raw)),
        JobKind::Count => shown(CountOptions::parse(raw)),
        JobKind::Aggregate => shown(AggregateOptions::parse(raw)),
        JobKind::Search => shown(SearchOptions::parse(raw)),
        JobKind::Similar => shown(SimilarOptions::parse(raw)),
        JobKind::ListTargets | JobKind::IntrospectTarget | JobKind::Test | JobKind::Unknown(_) => {
            raw.get().to_owned()
        }
    }
}

fn tell_encoded(told: &mut String, encoded: &str) {
    writeln!(told, "\nencoded: {encoded}").unwrap();
}

fn difference(folder: &str, name: &str, told: &str) -> Option<String> {
    let path = golden_folder(folder).join(format!("{name}.expected"));
    if updating() {
        fs::write(path, told).unwrap();
        return None;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    (expected != told).then(|| format!("{folder}/{name}.expected differs; now it is:\n{told}"))
}

#[expect(clippy::disallowed_methods, reason = "a switch of this test, not a setting of the product")]
fn updating() -> bool {
    std::env::var_os("UPDATE_GOLDEN").is_some()
}
