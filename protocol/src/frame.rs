//! The frames of the runner socket: JSON text, one object a frame, told apart by `type`.
//!
//! Decoding ignores unknown fields and hands unknown types back by name. The text of rows is never parsed further than
//! to find where each row ends.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::json::{Kind, MAX_ITEMS, Object, push_text, quoted, saturated};
use crate::{
    AssignedSource, Assignments, DEFAULT_DEADLINE_MS, ExecChunk, ExecDone, ExecError, ExecOffer, ExecRequest,
    Extensions, FrameError, Invalid, JobKind, JobRequest, PROTOCOL_VERSION, SearchMethod, Secret, Tail,
};

/// Bytes of a job id, which is text of our or another gateway's making; longer ones are refused.
const MAX_ID: usize = 200;
/// Bytes of the name of a source, a kind or a target in a job. They stand in log lines and answers.
const MAX_NAME: usize = 4_096;
/// A deadline beyond a day is a day.
const MAX_DEADLINE_MS: u64 = 86_400_000;

/// A decoded frame, or the name of a type that this build does not know.
#[derive(Debug, Clone)]
pub enum Decoded<F> {
    /// A known frame.
    Frame(F),
    /// A type to ignore and count; of a very long name the beginning.
    Unknown(String),
}

/// What a gateway sends to a runner.
#[derive(Debug, Clone)]
pub enum GatewayFrame {
    /// The runner is in.
    HelloAck(HelloAck),
    /// The full new set of sources.
    AssignmentsChanged(Assignments),
    /// A job to run.
    Job(Box<JobFrame>),
    /// Stop that job.
    Cancel {
        /// The job's id.
        id: String,
    },
    /// Are you there?
    Ping,
    /// `flow/1`: the runner may send so many more bytes of row payload for that job.
    Credit {
        /// The job's id.
        id: String,
        /// Bytes.
        bytes: u64,
    },
    /// `exec/1`: a shell job to run.
    ExecRequest(Box<ExecRequest>),
    /// `exec/1`: stop that shell job.
    ExecCancel {
        /// The job's id.
        job_id: String,
    },
}

/// Answer to `hello`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct HelloAck {
    /// The gateway's version, for people.
    pub server_version: String,
    /// The runner's sources.
    pub assigned_sources: Assignments,
    /// The extensions in force on this socket.
    pub extensions: Extensions,
}

/// A job with its limits.
#[derive(Debug, Clone)]
pub struct JobFrame {
    /// Names the job on this socket.
    pub id: String,
    /// What to do.
    pub request: JobRequest,
    /// Milliseconds from receipt until the job must have ended.
    pub deadline_ms: u64,
    /// `flow/1`: bytes of row payload that may be sent at once.
    pub credit: Option<u64>,
    /// `trace/1`: W3C trace context.
    pub traceparent: Option<String>,
    /// `trace/1`: W3C trace state.
    pub tracestate: Option<String>,
    /// How often this job has been placed, 1 the first time.
    pub attempt: u32,
}

/// What a runner sends to a gateway.
#[derive(Debug, Clone)]
pub enum RunnerFrame<'a> {
    /// Who I am.
    Hello(Box<Hello>),
    /// I am there.
    Heartbeat(Heartbeat),
    /// Rows or buckets of a job.
    Chunk(ChunkParts<'a>),
    /// A job is finished.
    Done {
        /// The job's id.
        id: String,
        /// Figures and tail.
        meta: DoneMeta,
    },
    /// A job has failed.
    Error(ErrorFrame),
    /// `drain/1`: no new jobs.
    Draining(Draining),
    /// `exec/1`: output of a shell job.
    ExecChunk(ExecChunk),
    /// `exec/1`: a shell job's command has ended.
    ExecDone(ExecDone),
    /// `exec/1`: a shell job has failed.
    ExecError(ExecError),
}

/// The first frame of a runner. Two dialects are understood: the published one, authenticated by the upgrade's token, and
/// one with `runner_id` or `runner_name` and a `secret` in the frame.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Hello {
    /// Protocol version; 1 where the dialect has none.
    pub version: u32,
    /// The runner's id, or its name.
    pub runner_id: Option<String>,
    /// The runner's name, in the dialect with a secret.
    pub runner_name: Option<String>,
    /// The token, in the dialect with a secret.
    pub secret: Option<Secret>,
    /// Package names of the bridges that the runner has.
    pub capabilities: Vec<String>,
    /// The runner's version, for people.
    pub runtime_version: Option<String>,
    /// Extensions that the runner offers.
    pub extensions: Extensions,
    /// `resume/1`: one process's life; another one after each start.
    pub instance_id: Option<String>,
    /// `resume/1`: ids of jobs that the runner still works on.
    pub running_jobs: Vec<String>,
    /// `stats/1`: how many jobs the runner takes at once.
    pub max_jobs: Option<u32>,
    /// `exec/1`: which shell jobs the runner takes.
    pub exec: Option<ExecOffer>,
    /// What else the runner says of itself, for people.
    pub metadata: Option<Box<RawValueEq>>,
}

/// Raw JSON that compares by its text.
#[derive(Debug, Clone)]
pub struct RawValueEq(pub Box<RawValue>);

impl PartialEq for RawValueEq {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// A runner's sign of life.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Heartbeat {
    /// Figures, where the runner sends them.
    pub stats: Option<Stats>,
    /// `bridges/1`: package names of the bridges that the runner has now, where they have changed since it last said so.
    pub capabilities: Option<Vec<String>>,
}

/// A runner's load. Only the first two fields are in version 1; the rest is `stats/1`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Stats {
    /// Jobs that run.
    pub active_jobs: u32,
    /// Resident memory in MiB, rounded down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mb: Option<u64>,
    /// Jobs that may run at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_jobs: Option<u32>,
    /// Jobs that may still start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub free_slots: Option<u32>,
    /// Connections by source name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<String, PoolUse>,
}

/// Connections of one source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PoolUse {
    /// Connections at work.
    pub in_use: u32,
    /// Connections open and waiting for work.
    pub idle: u32,
    /// The most there may be.
    pub max: u32,
}

/// Figures about a finished job, with the tail that also stands in the last chunk.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DoneMeta {
    /// Rows or buckets sent.
    pub count: u64,
    /// Wall time at the runner, rounded down.
    pub duration_ms: u64,
    /// Cursor and total.
    #[serde(flatten)]
    pub tail: Tail,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ErrorFrame {
    /// The job's id.
    pub id: String,
    /// One of [`crate::ErrorCode`]'s wire names; other gateways and runners may use others.
    pub code: String,
    /// For people. Holds no credential.
    pub message: String,
    /// `unsupported_operator`: the operator.
    pub op: Option<String>,
    /// `unsupported_operator`: the target.
    pub target: Option<String>,
    /// `unsupported_operator`: the bridge's package name.
    pub bridge: Option<String>,
}

/// The runner is about to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draining {
    /// Milliseconds until running jobs are cancelled.
    pub deadline_ms: u64,
}

/// A chunk to send: rows as JSON objects joined with commas, written once by the bridge.
#[derive(Debug, Clone, Copy, Default)]
pub struct Chunk<'a> {
    /// The job's id.
    pub id: &'a str,
    /// `{…},{…}` without brackets.
    pub rows: &'a str,
    /// Whether the rows are buckets and travel as `agg`.
    pub buckets: bool,
    /// `resume/1`: from 0 without gaps.
    pub seq: Option<u64>,
    /// On the last chunk.
    pub tail: Option<&'a Tail>,
}

/// A received chunk, its rows still text.
#[derive(Debug, Clone, Default)]
pub struct ChunkParts<'a> {
    /// The job's id.
    pub id: Cow<'a, str>,
    /// The rows' texts.
    pub rows: Vec<&'a RawValue>,
    /// The buckets' texts.
    pub agg: Vec<&'a RawValue>,
    /// Cursor and total.
    pub tail: Tail,
    /// `resume/1`: from 0 without gaps.
    pub seq: Option<u64>,
}

impl Chunk<'_> {
    /// The frame's text. The rows are copied once, as they are.
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(self.rows.len() + self.id.len() + 160);
        // `type` first: a receiver that looks at the first bytes need not scan megabytes of rows to tell what this is.
        out.push_str("{\"type\":\"chunk\",\"id\":");
        push_text(&mut out, self.id);
        if let Some(seq) = self.seq {
            out.push_str(",\"seq\":");
            out.push_str(&seq.to_string());
        }
        out.push_str(if self.buckets { ",\"rows\":[],\"agg\":[" } else { ",\"rows\":[" });
        out.push_str(self.rows);
        out.push(']');
        if let Some(tail) = self.tail {
            push_tail(&mut out, tail);
        }
        out.push('}');
        out
    }
}

fn push_tail(out: &mut String, tail: &Tail) {
    if let Some(cursor) = &tail.next_cursor {
        out.push_str(",\"nextCursor\":");
        push_text(out, cursor);
    }
    if let Some(total) = tail.total {
        out.push_str(",\"total\":");
        out.push_str(&total.to_string());
    }
    if tail.approximate {
        out.push_str(",\"approximate\":true");
    }
    if let Some(method) = tail.method {
        out.push_str(",\"method\":");
        push_text(out, method.as_str());
    }
}

impl GatewayFrame {
    /// The frame's text.
    pub fn encode(&self) -> String {
        match self {
            Self::HelloAck(ack) => to_json(&HelloAckWire::from(ack)),
            Self::AssignmentsChanged(assignments) => to_json(&AssignmentsWire {
                kind: "assignments-changed",
                assigned_sources: &assignments.sources,
            }),
            Self::Job(job) => to_json(&JobWire::from(job.as_ref())),
            Self::Cancel { id } => to_json(&IdWire { kind: "cancel", id }),
            Self::Ping => String::from(r#"{"type":"ping"}"#),
            Self::Credit { id, bytes } => to_json(&CreditWire { kind: "credit", id, bytes: *bytes }),
            Self::ExecRequest(request) => request.encode(),
            Self::ExecCancel { job_id } => to_json(&JobIdWire { kind: "exec_cancel", job_id }),
        }
    }
}

impl Hello {
    /// The frame's text, in the published dialect.
    pub fn encode(&self) -> String {
        to_json(&HelloWire {
            kind: "hello",
            version: self.version,
            runner_id: self.runner_id.as_deref(),
            capabilities: &self.capabilities,
            runtime_version: self.runtime_version.as_deref(),
            extensions: self.extensions,
            instance_id: self.instance_id.as_deref(),
            running_jobs: &self.running_jobs,
            max_jobs: self.max_jobs,
            exec: self.exec.as_ref(),
            metadata: self.metadata.as_ref().map(|metadata| &*metadata.0),
        })
    }
}

impl Heartbeat {
    /// The frame's text.
    pub fn encode(&self) -> String {
        to_json(&HeartbeatWire {
            kind: "heartbeat",
            stats: self.stats.as_ref(),
            capabilities: self.capabilities.as_deref(),
        })
    }
}

impl DoneMeta {
    /// The text of the `done` frame for job `id`.
    pub fn encode(&self, id: &str) -> String {
        to_json(&DoneWire { kind: "done", id, meta: self })
    }
}

impl ErrorFrame {
    /// The frame's text.
    pub fn encode(&self) -> String {
        to_json(&ErrorWire {
            kind: "error",
            id: &self.id,
            code: &self.code,
            message: &self.message,
            op: self.op.as_deref(),
            target: self.target.as_deref(),
            bridge: self.bridge.as_deref(),
        })
    }
}

impl Draining {
    /// The frame's text.
    pub fn encode(&self) -> String {
        to_json(&DrainingWire { kind: "draining", deadline_ms: self.deadline_ms })
    }
}

/// Decodes what a gateway sent.
pub fn decode_gateway_frame(text: &str) -> Result<Decoded<GatewayFrame>, FrameError> {
    let (kind, object) = open(text)?;
    let frame = match kind.as_str() {
        "hello-ack" => hello_ack(&object).map(GatewayFrame::HelloAck).map_err(refuse("hello-ack", None)),
        "assignments-changed" => Assignments::news(&object)
            .map(GatewayFrame::AssignmentsChanged)
            .map_err(refuse("assignments-changed", None)),
        "job" => job(&object)
            .map(|job| GatewayFrame::Job(Box::new(job)))
            .map_err(refuse("job", id_if_any(&object))),
        "cancel" => id(&object).map(|id| GatewayFrame::Cancel { id }).map_err(refuse("cancel", None)),
        "ping" => Ok(GatewayFrame::Ping),
        "credit" => credit(&object).map_err(refuse("credit", id_if_any(&object))),
        "exec_request" => exec_request(&object).map_err(refuse("exec_request", job_id_if_any(&object))),
        "exec_cancel" => id_at(&object, "job_id")
            .map(|job_id| GatewayFrame::ExecCancel { job_id })
            .map_err(refuse("exec_cancel", None)),
        _ => return Ok(Decoded::Unknown(quoted(&kind))),
    };
    frame.map(Decoded::Frame)
}

/// Decodes what a runner sent.
pub fn decode_runner_frame(text: &str) -> Result<Decoded<RunnerFrame<'_>>, FrameError> {
    // Our own runners put `type` first; then one pass over the rows is enough.
    if text.starts_with("{\"type\":\"chunk\",")
        && let Ok(chunk) = serde_json::from_str::<ChunkWire<'_>>(text)
        && is_id(&chunk.id)
        && chunk.rows.len().max(chunk.agg.len()) <= MAX_ITEMS
    {
        return Ok(Decoded::Frame(RunnerFrame::Chunk(chunk.into())));
    }
    let (kind, object) = open(text)?;
    let frame = match kind.as_str() {
        "hello" => {
            hello(&object).map(|hello| RunnerFrame::Hello(Box::new(hello))).map_err(refuse("hello", None))
        }
        "heartbeat" => heartbeat(&object).map(RunnerFrame::Heartbeat).map_err(refuse("heartbeat", None)),
        "chunk" => chunk(&object).map(RunnerFrame::Chunk).map_err(refuse("chunk", id_if_any(&object))),
        "done" => done(&object).map_err(refuse("done", id_if_any(&object))),
        "error" => error(&object).map(RunnerFrame::Error).map_err(refuse("error", id_if_any(&object))),
        "draining" => draining(&object).map(RunnerFrame::Draining).map_err(refuse("draining", None)),
        "exec_chunk" => ExecChunk::parse(&object)
            .map(RunnerFrame::ExecChunk)
            .map_err(refuse("exec_chunk", job_id_if_any(&object))),
        "exec_done" => ExecDone::parse(&object)
            .map(RunnerFrame::ExecDone)
            .map_err(refuse("exec_done", job_id_if_any(&object))),
        "exec_error" => ExecError::parse(&object)
            .map(RunnerFrame::ExecError)
            .map_err(refuse("exec_error", job_id_if_any(&object))),
        _ => return Ok(Decoded::Unknown(quoted(&kind))),
    };
    frame.map(Decoded::Frame)
}

fn open(text: &str) -> Result<(String, Object<'_>), FrameError> {
    let object = Object::from_text(text).map_err(|invalid| FrameError::NotJson(invalid.expected))?;
    let kind = object.text("type").ok().flatten().ok_or(FrameError::NoType)?;
    Ok((kind, object))
}

fn refuse(kind: &'static str, id: Option<String>) -> impl FnOnce(Invalid) -> FrameError {
    move |invalid| FrameError::Field { kind, id, invalid }
}

fn id(object: &Object<'_>) -> Result<String, Invalid> {
    id_at(object, "id")
}

/// The id of a job, which stands in `key`.
pub(crate) fn id_at(object: &Object<'_>, key: &str) -> Result<String, Invalid> {
    let id = object.required_text(key)?;
    if !is_id(&id) {
        return Err(Invalid::new(key, format!("1 to {MAX_ID} bytes without control characters")));
    }
    Ok(id)
}

fn is_id(id: &str) -> bool {
    (1..=MAX_ID).contains(&id.len()) && !id.contains(char::is_control)
}

fn id_if_any(object: &Object<'_>) -> Option<String> {
    id(object).ok()
}

fn job_id_if_any(object: &Object<'_>) -> Option<String> {
    id_at(object, "job_id").ok()
}

fn hello_ack(object: &Object<'_>) -> Result<HelloAck, Invalid> {
    Ok(HelloAck {
        server_version: object.text("serverVersion")?.unwrap_or_default(),
        assigned_sources: Assignments::read(object)?.unwrap_or_default(),
        extensions: object.texts("extensions")?.unwrap_or_default().into(),
    })
}

fn job(object: &Object<'_>) -> Result<JobFrame, Invalid> {
    Ok(JobFrame {
        id: id(object)?,
        request: job_request(object)?,
        deadline_ms: object.whole("deadlineMs")?.unwrap_or(DEFAULT_DEADLINE_MS).min(MAX_DEADLINE_MS),
        credit: object.whole("credit")?,
        traceparent: object.text("traceparent")?,
        tracestate: object.text("tracestate")?,
        attempt: object.whole("attempt")?.map_or(1, saturated).max(1),
    })
}

fn job_request(object: &Object<'_>) -> Result<JobRequest, Invalid> {
    let params = nested(object, "params")?;
    let job = nested(&params, "job").map_err(|invalid| invalid.within("params"))?;
    let within = |invalid: Invalid| invalid.within("params.job");
    let name = |object: &Object<'_>, key: &str| match object.text(key)? {
        Some(name) if name.len() > MAX_NAME => {
            Err(Invalid::new(key, format!("at most {MAX_NAME} bytes of text")))
        }
        name => Ok(name),
    };
    let required =
        |object: &Object<'_>, key: &str| name(object, key)?.ok_or_else(|| Invalid::new(key, "a string"));
    Ok(JobRequest {
        source: required(&params, "source").map_err(|invalid| invalid.within("params"))?,
        kind: JobKind::of(&required(&job, "kind").map_err(within)?),
        target: name(&job, "target").map_err(within)?.unwrap_or_default(),
        options: job.get("options").map_or_else(empty_object, ToOwned::to_owned),
    })
}

fn empty_object() -> Box<RawValue> {
    RawValue::from_string("{}".to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

fn nested<'a>(object: &Object<'a>, key: &str) -> Result<Object<'a>, Invalid> {
    let raw = object.get(key).ok_or_else(|| Invalid::new(key, "an object"))?;
    Object::parse(raw).map_err(|invalid| invalid.within(key))
}

fn credit(object: &Object<'_>) -> Result<GatewayFrame, Invalid> {
    let bytes =
        object.whole("bytes")?.ok_or_else(|| Invalid::new("bytes", "a whole number of at least 0"))?;
    Ok(GatewayFrame::Credit { id: id(object)?, bytes })
}

fn exec_request(object: &Object<'_>) -> Result<GatewayFrame, Invalid> {
    let request = ExecRequest::parse(id_at(object, "job_id")?, object)?;
    Ok(GatewayFrame::ExecRequest(Box::new(request)))
}

fn hello(object: &Object<'_>) -> Result<Hello, Invalid> {
    let version = object.whole("version")?.unwrap_or(u64::from(PROTOCOL_VERSION));
    let runner_id = match object.get("runnerId").or_else(|| object.get("runner_id")) {
        // The other dialect's ids are numbers.
        Some(raw) => match Kind::of(raw).map_err(|invalid| invalid.within("runnerId"))? {
            Kind::Text(text) => Some(text.into_owned()),
            Kind::Number(number) => Some(number.to_owned()),
            _ => return Err(Invalid::new("runnerId", "a string")),
        },
        None => None,
    };
    let exec = object.get("exec").map(|raw| ExecOffer::parse(raw).map_err(|invalid| invalid.within("exec")));
    Ok(Hello {
        version: u32::try_from(version).map_err(|_| Invalid::new("version", "a protocol version"))?,
        runner_id,
        runner_name: object.text("runner_name")?,
        secret: object.text("secret")?.map(Secret::from),
        capabilities: object.texts("capabilities")?.unwrap_or_default(),
        runtime_version: object.text("runtimeVersion")?,
        extensions: object.texts("extensions")?.unwrap_or_default().into(),
        instance_id: object.text("instanceId")?,
        running_jobs: object.texts("runningJobs")?.unwrap_or_default(),
        max_jobs: object.whole("maxJobs")?.map(saturated),
        exec: exec.transpose()?,
        metadata: object.get("metadata").map(|raw| Box::new(RawValueEq(raw.to_owned()))),
    })
}

fn heartbeat(object: &Object<'_>) -> Result<Heartbeat, Invalid> {
    let stats = object.get("stats").map(|raw| stats(raw).map_err(|invalid| invalid.within("stats")));
    Ok(Heartbeat { stats: stats.transpose()?, capabilities: object.texts("capabilities")? })
}

fn stats(raw: &RawValue) -> Result<Stats, Invalid> {
    let object = Object::parse(raw)?;
    let pools = object.get("pools").map(|raw| pools(raw).map_err(|invalid| invalid.within("pools")));
    Ok(Stats {
        active_jobs: object.whole("activeJobs")?.map_or(0, saturated),
        memory_mb: object.floor("memoryMb")?,
        max_jobs: object.whole("maxJobs")?.map(saturated),
        free_slots: object.whole("freeSlots")?.map(saturated),
        pools: pools.transpose()?.unwrap_or_default(),
    })
}

fn pools(raw: &RawValue) -> Result<BTreeMap<String, PoolUse>, Invalid> {
    let pool = |(source, raw): (&str, &RawValue)| {
        let pool = pool_use(raw).map_err(|invalid| invalid.within(source))?;
        Ok((source.to_owned(), pool))
    };
    Object::parse(raw)?.iter().map(pool).collect()
}

fn pool_use(raw: &RawValue) -> Result<PoolUse, Invalid> {
    let object = Object::parse(raw)?;
    Ok(PoolUse {
        in_use: object.whole("inUse")?.map_or(0, saturated),
        idle: object.whole("idle")?.map_or(0, saturated),
        max: object.whole("max")?.map_or(0, saturated),
    })
}

fn chunk<'a>(object: &Object<'a>) -> Result<ChunkParts<'a>, Invalid> {
    let row = |raw: &'a RawValue| {
        if raw.get().starts_with('{') { Ok(raw) } else { Err(Invalid::new("", "an object")) }
    };
    Ok(ChunkParts {
        id: Cow::Owned(id(object)?),
        rows: object.list("rows", "a list of objects", row)?.unwrap_or_default(),
        agg: object.list("agg", "a list of objects", row)?.unwrap_or_default(),
        tail: tail(object)?,
        seq: object.whole("seq")?,
    })
}

fn tail(object: &Object<'_>) -> Result<Tail, Invalid> {
    Ok(Tail {
        next_cursor: object.text("nextCursor")?,
        total: object.whole("total")?,
        approximate: object.boolean("approximate")?.unwrap_or(false),
        method: object.get("method").and_then(search_method),
    })
}

/// The field is ours: what another runner may mean by it is not a mistake.
fn search_method(raw: &RawValue) -> Option<SearchMethod> {
    SearchMethod::of(raw.get().trim_matches('"'))
}

fn done(object: &Object<'_>) -> Result<RunnerFrame<'static>, Invalid> {
    let meta = object.get("meta").map(|raw| done_meta(raw).map_err(|invalid| invalid.within("meta")));
    Ok(RunnerFrame::Done { id: id(object)?, meta: meta.transpose()?.unwrap_or_default() })
}

fn done_meta(raw: &RawValue) -> Result<DoneMeta, Invalid> {
    let object = Object::parse(raw)?;
    Ok(DoneMeta {
        count: object.whole("count")?.unwrap_or(0),
        duration_ms: object.floor("durationMs")?.unwrap_or(0),
        tail: tail(&object)?,
    })
}

fn error(object: &Object<'_>) -> Result<ErrorFrame, Invalid> {
    Ok(ErrorFrame {
        id: id(object)?,
        code: object.required_text("code")?,
        message: object.text("message")?.unwrap_or_default(),
        op: object.text("op")?,
        target: object.text("target")?,
        bridge: object.text("bridge")?,
    })
}

fn draining(object: &Object<'_>) -> Result<Draining, Invalid> {
    Ok(Draining { deadline_ms: object.whole("deadlineMs")?.unwrap_or(0) })
}

/// Our own frames have string keys and no foreign `Serialize`, so this cannot fail.
pub(crate) fn to_json(frame: &impl Serialize) -> String {
    serde_json::to_string(frame).unwrap_or_default()
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HelloAckWire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    server_version: &'a str,
    assigned_sources: &'a [AssignedSource],
    #[serde(skip_serializing_if = "Extensions::is_empty")]
    extensions: Extensions,
}

impl<'a> From<&'a HelloAck> for HelloAckWire<'a> {
    fn from(ack: &'a HelloAck) -> Self {
        Self {
            kind: "hello-ack",
            server_version: &ack.server_version,
            assigned_sources: &ack.assigned_sources.sources,
            extensions: ack.extensions,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AssignmentsWire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    assigned_sources: &'a [AssignedSource],
}

#[derive(Serialize)]
struct IdWire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
}

#[derive(Serialize)]
struct JobIdWire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    job_id: &'a str,
}

#[derive(Serialize)]
struct CreditWire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    bytes: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JobWire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    params: ParamsWire<'a>,
    deadline_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    credit: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tracestate: Option<&'a str>,
    #[serde(skip_serializing_if = "is_first")]
    attempt: u32,
}

fn is_first(attempt: &u32) -> bool {
    *attempt <= 1
}

#[derive(Serialize)]
struct ParamsWire<'a> {
    source: &'a str,
    job: JobRequestWire<'a>,
}

#[derive(Serialize)]
struct JobRequestWire<'a> {
    kind: &'a str,
    target: &'a str,
    options: &'a RawValue,
}

impl<'a> From<&'a JobFrame> for JobWire<'a> {
    fn from(job: &'a JobFrame) -> Self {
        let request = &job.request;
        Self {
            kind: "job",
            id: &job.id,
            params: ParamsWire {
                source: &request.source,
                job: JobRequestWire {
                    kind: request.kind.as_str(),
                    target: &request.target,
                    options: &request.options,
                },
            },
            deadline_ms: job.deadline_ms,
            credit: job.credit,
            traceparent: job.traceparent.as_deref(),
            tracestate: job.tracestate.as_deref(),
            attempt: job.attempt,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct HelloWire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    version: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner_id: Option<&'a str>,
    capabilities: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    runtime_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Extensions::is_empty")]
    extensions: Extensions,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<&'a str>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    running_jobs: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    max_jobs: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exec: Option<&'a ExecOffer>,
    #[serde(skip_serializing_if = "Option::is_none")]
    metadata: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct HeartbeatWire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stats: Option<&'a Stats>,
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities: Option<&'a [String]>,
}

#[derive(Serialize)]
struct DoneWire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    meta: &'a DoneMeta,
}

#[derive(Serialize)]
struct ErrorWire<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    code: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    op: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bridge: Option<&'a str>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DrainingWire {
    #[serde(rename = "type")]
    kind: &'static str,
    deadline_ms: u64,
}

/// The fast path of a chunk. Anything unusual goes through [`chunk`], which names what is wrong.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ChunkWire<'a> {
    /// Known already; named so that a second one is a mistake here as it is elsewhere.
    #[serde(rename = "type")]
    _kind: IgnoredAny,
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(borrow, default)]
    rows: Vec<RowText<'a>>,
    #[serde(borrow, default)]
    agg: Vec<RowText<'a>>,
    #[serde(default)]
    next_cursor: Option<String>,
    #[serde(default)]
    total: Option<u64>,
    #[serde(default)]
    approximate: bool,
    #[serde(borrow, default)]
    method: Option<&'a RawValue>,
    #[serde(default)]
    seq: Option<u64>,
}

/// The text of one row; only an object is a row.
#[derive(Deserialize)]
#[serde(try_from = "&'a RawValue", bound(deserialize = "'de: 'a"))]
struct RowText<'a>(&'a RawValue);

impl<'a> TryFrom<&'a RawValue> for RowText<'a> {
    type Error = &'static str;

    fn try_from(raw: &'a RawValue) -> Result<Self, Self::Error> {
        if raw.get().starts_with('{') { Ok(Self(raw)) } else { Err("a row is an object") }
    }
}

impl<'a> From<ChunkWire<'a>> for ChunkParts<'a> {
    fn from(chunk: ChunkWire<'a>) -> Self {
        Self {
            id: chunk.id,
            rows: chunk.rows.into_iter().map(|row| row.0).collect(),
            agg: chunk.agg.into_iter().map(|row| row.0).collect(),
            tail: Tail {
                next_cursor: chunk.next_cursor,
                total: chunk.total,
                approximate: chunk.approximate,
                method: chunk.method.and_then(search_method),
            },
            seq: chunk.seq,
        }
    }
}
