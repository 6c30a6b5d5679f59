#![no_main]
//! Both decoders of the runner socket. What is understood is written so that it is understood the same again, and a
//! refusal is short whatever was sent.

use libfuzzer_sys::fuzz_target;
use protocol::{
    Chunk, ChunkParts, Decoded, FrameError, RunnerFrame, decode_gateway_frame, decode_runner_frame,
};
use serde_json::value::RawValue;

const MESSAGE_LIMIT: usize = 4_096;

fuzz_target!(|text: &str| {
    from_gateway(text);
    from_runner(text);
});

fn from_gateway(text: &str) {
    match decode_gateway_frame(text) {
        Ok(Decoded::Frame(frame)) => {
            let written = frame.encode();
            let Ok(Decoded::Frame(again)) = decode_gateway_frame(&written) else { panic!("{written}") };
            assert_eq!(again.encode(), written);
            assert_eq!(format!("{again:?}"), format!("{frame:?}"));
        }
        Ok(Decoded::Unknown(kind)) => assert!(kind.len() <= MESSAGE_LIMIT),
        Err(error) => check(&error),
    }
}

fn from_runner(text: &str) {
    match decode_runner_frame(text) {
        Ok(Decoded::Frame(frame)) => {
            let written = encode(&frame);
            let Ok(Decoded::Frame(again)) = decode_runner_frame(&written) else { panic!("{written}") };
            assert_eq!(encode(&again), written);
        }
        Ok(Decoded::Unknown(kind)) => assert!(kind.len() <= MESSAGE_LIMIT),
        Err(error) => check(&error),
    }
}

fn check(error: &FrameError) {
    assert!(error.to_string().len() <= MESSAGE_LIMIT);
    if let FrameError::Field { invalid, .. } = error {
        assert!(!invalid.field.is_empty());
    }
}

fn encode(frame: &RunnerFrame<'_>) -> String {
    match frame {
        RunnerFrame::Hello(hello) => hello.encode(),
        RunnerFrame::Heartbeat(heartbeat) => heartbeat.encode(),
        RunnerFrame::Chunk(parts) => chunk(parts),
        RunnerFrame::Done { id, meta } => meta.encode(id),
        RunnerFrame::Error(error) => error.encode(),
        RunnerFrame::Draining(draining) => draining.encode(),
        RunnerFrame::ExecChunk(chunk) => chunk.encode(),
        RunnerFrame::ExecDone(done) => done.encode(),
        RunnerFrame::ExecError(error) => error.encode(),
    }
}

fn chunk(parts: &ChunkParts<'_>) -> String {
    let buckets = !parts.agg.is_empty();
    let rows = if buckets { &parts.agg } else { &parts.rows };
    let rows = rows.iter().map(|row| RawValue::get(row)).collect::<Vec<_>>().join(",");
    Chunk { id: &parts.id, rows: &rows, buckets, seq: parts.seq, tail: Some(&parts.tail) }.encode()
}
