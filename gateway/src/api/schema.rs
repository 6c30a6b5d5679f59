//! Shapes of the application API, for its description alone: requests are read by [`crate::plan`], which names what is
//! wrong, and rows pass through as text.

use serde_json::Value;
use utoipa::ToSchema;

/// Body of a query.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct QueryBody {
    /// Which rows, by the lens's field names: a value, or an object of `$eq $ne $gt $gte $lt $lte $in $nin $ilike $like
    /// $contains $startsWith $endsWith $exists`; `$or`, `$and` and `$not` nest.
    #[schema(value_type = Option<Object>)]
    r#where: Option<Value>,
    /// `{field, dir}` or a list of them; `dir` is `asc` or `desc`.
    #[schema(value_type = Option<Object>)]
    order_by: Option<Value>,
    /// At most so many rows; 100 when absent.
    limit: Option<u64>,
    /// Rows to pass over; not together with `cursor`.
    offset: Option<u64>,
    /// `meta.nextCursor` of the page before, with the same `where` and `orderBy`.
    cursor: Option<String>,
    /// Fields to return; all when absent.
    select: Option<Vec<String>>,
    /// The same as `select`.
    fields: Option<Vec<String>>,
    /// Whether to count all matching rows, too. Costs a scan.
    total: Option<bool>,
    /// Whether a stream of lines ends with a line `{"meta": …}`.
    meta: Option<bool>,
}

/// Answer to a query.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct QueryAnswer {
    /// Rows in the shape of the lens.
    #[schema(value_type = Vec<Object>)]
    rows: Vec<Value>,
    /// About the answer.
    meta: QueryMeta,
}

/// About an answer.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct QueryMeta {
    /// The lens.
    lens: String,
    /// Rows in this answer.
    count: u64,
    /// Milliseconds from the request to the last row.
    duration_ms: u64,
    /// Matching rows, when asked for.
    total: Option<u64>,
    /// Where the next page begins; absent on the last page.
    next_cursor: Option<String>,
}

/// Body of a count.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct CountBody {
    /// As in a query.
    #[schema(value_type = Option<Object>)]
    r#where: Option<Value>,
}

/// Answer to a count.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct CountAnswer {
    /// Matching rows.
    count: u64,
    /// About the answer.
    #[schema(value_type = Object)]
    meta: Value,
}

/// Every refusal and failure.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct Envelope {
    /// For people.
    error: String,
    /// For programs.
    code: String,
    /// The field that is wrong, when one is.
    field: Option<String>,
}

/// A command to run.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct ExecBody {
    /// Name or id of the runner, with or without `runner:` before it.
    target: String,
    /// The command as one line of text. What reads it depends on the mode: a shell with `full` and in a sandbox, words without
    /// expansion with `readonly`. Either this or `argv`.
    command: Option<String>,
    /// The program and its arguments.
    argv: Option<Vec<String>>,
    /// Seconds that the command may take, 1 to 3600; 30 when absent.
    timeout_secs: Option<u32>,
    /// `readonly`, `full` or `sandbox`. When absent, `sandbox` beside the field of that name, else the strongest that the
    /// runner's capabilities and its own settings allow.
    mode: Option<String>,
    /// The container that is wanted.
    sandbox: Option<ExecSandboxBody>,
    /// Variables of the command.
    #[schema(value_type = Option<Object>)]
    env: Option<Value>,
}

/// A container of a command's own. Every field is bounded by the runner's settings.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct ExecSandboxBody {
    /// The image; the runner's default when absent.
    image: Option<String>,
    /// The network; none when absent.
    network: Option<String>,
    /// Bytes, or text such as `512m`.
    #[schema(value_type = Option<Object>)]
    memory: Option<Value>,
    /// Processors.
    cpus: Option<f64>,
    /// Contents by relative path: text, or `{"base64": …}`.
    #[schema(value_type = Option<Object>)]
    files: Option<Value>,
    /// Paths to give back when the command has ended with 0.
    extract: Option<Vec<String>>,
}

/// A program that has ended.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct ExecAnswer {
    /// True.
    ok: bool,
    /// What came of it.
    data: ExecData,
}

/// What came of a command.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct ExecData {
    /// Names it in `/api/jobs`.
    job_id: String,
    /// Name of the runner.
    target: String,
    /// The command as one line.
    command: String,
    /// 128 + n after signal n.
    exit_code: i32,
    /// With a line where something is left out.
    stdout: String,
    /// The same.
    stderr: String,
    /// At the runner.
    duration_ms: u64,
    /// `{stdout_bytes, stderr_bytes}` that are left out; absent when all is there.
    #[schema(value_type = Option<Object>)]
    truncated: Option<Value>,
    /// Whether bytes that are not UTF-8 were replaced.
    lossy: Option<bool>,
    /// An entry for each path of `sandbox.extract`.
    #[schema(value_type = Option<Vec<Object>>)]
    extracted: Option<Vec<Value>>,
}

/// Every refusal and failure of a command.
#[derive(ToSchema)]
#[expect(dead_code, reason = "described, never built")]
pub(crate) struct ExecFailure {
    /// False.
    ok: bool,
    /// `validation_error`: the request as it is will never be done. `execution_error`: otherwise.
    error_type: String,
    /// For people.
    user_message: String,
    /// The same, as in every other answer.
    error: String,
    /// For programs.
    code: String,
    /// The rule that refused it, when one did.
    rule: Option<String>,
    /// The job, once a runner had it.
    job_id: Option<String>,
    /// What it had written until then.
    stdout: Option<String>,
    /// The same.
    stderr: Option<String>,
}
