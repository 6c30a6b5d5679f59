//! What the tests of frames share: the golden files, and one way to encode any decoded frame.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use semilayer_protocol::{Chunk, ChunkParts, GatewayFrame, RunnerFrame};
use serde_json::value::RawValue;

/// The frames of `to_runner` or `to_gateway` by name, each without the newline at the end of its file.
pub(crate) fn golden_files(folder: &str) -> BTreeMap<String, String> {
    let paths = fs::read_dir(golden_folder(folder)).unwrap().map(|entry| entry.unwrap().path());
    let frames = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    frames.map(|path| (path.file_stem().unwrap().to_str().unwrap().to_owned(), read(&path))).collect()
}

/// Where the files of that direction are.
pub(crate) fn golden_folder(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(folder)
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    text.strip_suffix('\n').map_or_else(|| text.clone(), str::to_owned)
}

pub(crate) fn encode_gateway_frame(frame: &GatewayFrame) -> String {
    frame.encode()
}

pub(crate) fn encode_runner_frame(frame: &RunnerFrame<'_>) -> String {
    match frame {
        RunnerFrame::Hello(hello) => hello.encode(),
        RunnerFrame::Heartbeat(heartbeat) => heartbeat.encode(),
        RunnerFrame::Chunk(parts) => encode_chunk(parts),
        RunnerFrame::Done { id, meta } => meta.encode(id),
        RunnerFrame::Error(error) => error.encode(),
        RunnerFrame::Draining(draining) => draining.encode(),
        RunnerFrame::ExecChunk(chunk) => chunk.encode(),
        RunnerFrame::ExecDone(done) => done.encode(),
        RunnerFrame::ExecError(error) => error.encode(),
    }
}

/// A runner of ours sends rows or buckets, never both.
fn encode_chunk(parts: &ChunkParts<'_>) -> String {
    let buckets = !parts.agg.is_empty();
    let rows = if buckets { &parts.agg } else { &parts.rows };
    let rows = rows.iter().map(|row| RawValue::get(row)).collect::<Vec<_>>().join(",");
    Chunk { id: &parts.id, rows: &rows, buckets, seq: parts.seq, tail: Some(&parts.tail) }.encode()
}
