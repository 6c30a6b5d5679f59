//! What operators see of runners, sources, keys, jobs and the log. No view has a field for a secret.

use std::collections::BTreeMap;

use protocol::{CredentialsLocation, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::api::Api;
use crate::audit::AuditRow;
use crate::capability::CapabilitySet;
use crate::jobs::{JobState, LiveJob, Work};
use crate::link::Link;
use crate::model::{Key, KeyKind, Runner, Source};
use crate::shell::job::MAX_SHOWN;
use crate::shell::record::{JobStatus, KeptOutput, ShellRecord};
use crate::snapshot::Snapshot;

/// A runner. Times are RFC 3339 in UTC.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RunnerView {
    id: String,
    name: String,
    /// `online` while a session is connected, `revoked` for good, else `offline`.
    status: &'static str,
    labels: BTreeMap<String, String>,
    /// What operators let it do beside queries: `exec.readonly`, `exec.full`, `docker`, `sandbox`.
    capabilities: Vec<&'static str>,
    /// What its connected processes say that they do; absent while none is connected, or none says.
    #[serde(skip_serializing_if = "Option::is_none")]
    reported_capabilities: Option<Vec<&'static str>>,
    /// What it does: what both say. Absent with `reportedCapabilities`.
    #[serde(skip_serializing_if = "Option::is_none")]
    effective_capabilities: Option<Vec<&'static str>>,
    /// Whether both say the same. Absent with `reportedCapabilities`.
    #[serde(skip_serializing_if = "Option::is_none")]
    capabilities_match: Option<bool>,
    /// Names of its sources.
    sources: Vec<String>,
    /// Prefix and last four characters of its token.
    token_hint: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_seen_at: Option<String>,
    /// The processes that are connected under this runner's token.
    sessions: Vec<SessionView>,
}

/// One connected process.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SessionView {
    #[serde(skip_serializing_if = "Option::is_none")]
    instance_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    /// Package names of its bridges.
    bridges: Vec<String>,
    active_jobs: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_jobs: Option<u32>,
    /// Those of its jobs that are commands.
    shell_jobs: usize,
    /// Name of its host, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    /// Its operating system.
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    /// Its processor.
    #[serde(skip_serializing_if = "Option::is_none")]
    arch: Option<String>,
    /// Whether it takes no new jobs because it is about to stop.
    draining: bool,
    connected_ms: u64,
    /// Since anything was last heard of it.
    silent_ms: u64,
    /// Resident memory of the process, as it says.
    #[serde(skip_serializing_if = "Option::is_none")]
    memory_mb: Option<u64>,
    /// Where it connects from.
    #[serde(skip_serializing_if = "Option::is_none")]
    remote: Option<String>,
}

/// A runner whose token is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunnerWithToken {
    #[serde(flatten)]
    pub(super) runner: RunnerView,
    /// `rk_…`
    pub(super) token: String,
}

/// All runners.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RunnerList {
    pub(super) runners: Vec<RunnerView>,
}

/// A source.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceView {
    id: String,
    name: String,
    bridge: String,
    #[schema(value_type = String)]
    credentials_location: CredentialsLocation,
    /// Which settings are kept here; their values are not shown.
    config_fields: Vec<String>,
    timeout_ms: u64,
    /// `api` when made by hand, `config` when made by a push.
    origin: &'static str,
    /// Names of the runners that have it.
    runners: Vec<String>,
    /// Names of the lenses that read it.
    lenses: Vec<String>,
    created_at: String,
    updated_at: String,
}

/// A source that was made or changed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceChanged {
    #[serde(flatten)]
    pub(super) source: SourceView,
    /// What is different now; settings are named, their values are not shown.
    pub(super) changes: Vec<String>,
    /// What was accepted and may not work.
    pub(super) warnings: Vec<String>,
}

/// All sources.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SourceList {
    pub(super) sources: Vec<SourceView>,
}

/// What a test of a source found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct SourceTested {
    /// Always true; a source that cannot be reached is an error.
    pub(super) ok: bool,
    /// The runner that connected.
    pub(super) runner: Option<String>,
    pub(super) duration_ms: u64,
}

/// A key.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct KeyView {
    id: String,
    name: String,
    /// `secret` or `public`.
    #[schema(value_type = String)]
    kind: KeyKind,
    /// What it may do beside queries: `exec`.
    scopes: Vec<&'static str>,
    /// Prefix and last four characters of its token.
    token_hint: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<String>,
}

/// A key whose token is shown this once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyWithToken {
    #[serde(flatten)]
    pub(super) key: KeyView,
    /// `sk_…` or `pk_…`
    pub(super) token: String,
}

/// All keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyList {
    pub(super) keys: Vec<KeyView>,
}

/// A job under way, or a shell job that has ended.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobView {
    #[schema(value_type = String)]
    pub(super) id: Uuid,
    /// `shell`, `query`, `count`, …
    kind: &'static str,
    /// `pending`, `claimed` or `running`; of a shell job that has ended `succeeded`, `failed`, `timeout`, `cancelled` or
    /// `denied`.
    status: &'static str,
    /// Of a query, its source.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    /// The beginning of a shell job's command.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// The container's image, of a shell job in a sandbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<String>,
    /// Name of the runner that has it, or had it.
    #[serde(skip_serializing_if = "Option::is_none")]
    runner: Option<String>,
    started_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    /// Until now, or until it ended.
    elapsed_ms: u64,
    /// `ok`, or the code of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exit_code: Option<i64>,
    /// The request that it came of.
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// A page of jobs, those that began last first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct JobPage {
    pub(super) jobs: Vec<JobView>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

/// One job with all that is kept of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct JobDetail {
    #[serde(flatten)]
    job: JobView,
    /// Who asked for it, of a shell job that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    actor: Option<&'static str>,
    /// The rule that refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Command, runner and result, of a shell job that has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    exec: Option<ShellRecord>,
    /// Beginning and end of what it wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    output: Option<KeptOutput>,
}

/// A row of the audit log.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditView {
    id: String,
    at: String,
    request_id: String,
    /// `anonymous`, `admin`, `secret-key`, `public-key` or `runner`.
    actor: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    actor_id: Option<String>,
    action: String,
    /// `ok`, or the code of the refusal or failure.
    outcome: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    lens: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    target: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    runner_instance: Option<String>,
    attempts: u32,
    /// SHA-256 of the request's body, in hexadecimal.
    #[serde(skip_serializing_if = "Option::is_none")]
    params_hash: Option<String>,
    rows: u64,
    bytes: u64,
    duration_ms: u64,
    /// How many attempts the row stands for; more than one only of refusals that came in numbers.
    occurrences: u64,
    /// The shell job that came of it; its output is at `/api/jobs/{job}`.
    #[serde(skip_serializing_if = "Option::is_none")]
    job_id: Option<String>,
    /// The rule that refused it.
    #[serde(skip_serializing_if = "Option::is_none")]
    rule: Option<String>,
    /// Command, runner and result of a shell job.
    #[serde(skip_serializing_if = "Option::is_none")]
    exec: Option<ShellRecord>,
}

/// A page of the audit log, newest first.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuditPage {
    pub(super) entries: Vec<AuditView>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) next_cursor: Option<String>,
}

impl RunnerView {
    pub(super) fn new(api: &Api, snapshot: &Snapshot, runner: &Runner) -> Self {
        let links = api.gateway.registry.of(runner.id);
        let status = match (runner.is_revoked(), links.is_empty()) {
            (true, _) => "revoked",
            (false, false) => "online",
            (false, true) => "offline",
        };
        // Of several processes each is asked for what it can do.
        let reported = links.iter().filter_map(|link| link.hello.shell).reduce(CapabilitySet::or);
        Self {
            id: runner.id.to_string(),
            name: runner.name.clone(),
            status,
            labels: runner.labels.clone(),
            capabilities: runner.capabilities.words(),
            reported_capabilities: reported.map(CapabilitySet::words),
            effective_capabilities: reported.map(|reported| runner.capabilities.and(reported).words()),
            capabilities_match: reported.map(|reported| runner.capabilities == reported),
            sources: sorted(
                snapshot
                    .sources_of(runner.id)
                    .iter()
                    .filter_map(|id| Some(snapshot.source(*id)?.name.clone())),
            ),
            token_hint: runner.token_hint.to_string(),
            created_at: runner.created_at.to_string(),
            revoked_at: runner.revoked_at.map(|at| at.to_string()),
            last_seen_at: api.control.last_seen(runner).map(|at| at.to_string()),
            sessions: links.iter().map(|link| SessionView::new(link)).collect(),
        }
    }
}

impl SessionView {
    fn new(link: &Link) -> Self {
        Self {
            instance_id: link.hello.instance.clone(),
            version: link.hello.version.clone(),
            bridges: link.bridges().to_vec(),
            active_jobs: link.active_jobs(),
            max_jobs: link.max_jobs(),
            shell_jobs: link.shell_jobs(),
            hostname: link.hello.said.hostname.clone(),
            platform: link.hello.said.platform.clone(),
            arch: link.hello.said.arch.clone(),
            draining: link.is_draining(),
            connected_ms: millis(link.connected_at.elapsed()),
            silent_ms: millis(link.silence()),
            memory_mb: link.stats().and_then(|stats| stats.memory_mb),
            remote: link.hello.remote.clone(),
        }
    }
}

impl SourceView {
    pub(super) fn new(snapshot: &Snapshot, source: &Source) -> Self {
        let config = snapshot.managed_config(source).ok().flatten().unwrap_or_default();
        let runners = snapshot.runners_of(source.id).iter();
        let lenses = snapshot.lenses().filter(|lens| lens.source == source.id);
        Self {
            id: source.id.to_string(),
            name: source.name.clone(),
            bridge: source.bridge.clone(),
            credentials_location: source.credentials.location(),
            config_fields: sorted(config.names().map(str::to_owned)),
            timeout_ms: source.timeout_ms,
            origin: source.origin.as_str(),
            runners: sorted(runners.filter_map(|id| Some(snapshot.runner(*id)?.name.clone()))),
            lenses: sorted(lenses.map(|lens| lens.name.clone())),
            created_at: source.created_at.to_string(),
            updated_at: source.updated_at.to_string(),
        }
    }
}

impl From<&Key> for KeyView {
    fn from(key: &Key) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.clone(),
            kind: key.kind,
            scopes: key.scopes.iter().map(|scope| scope.as_str()).collect(),
            token_hint: key.token_hint.to_string(),
            created_at: key.created_at.to_string(),
            revoked_at: key.revoked_at.map(|at| at.to_string()),
        }
    }
}

impl From<&LiveJob> for JobView {
    fn from(job: &LiveJob) -> Self {
        let (source, command, image) = match &job.work {
            Work::Query { source, .. } => (Some(source.clone()), None, None),
            Work::Shell { command, image, .. } => (None, Some(command.clone()), image.clone()),
        };
        Self {
            id: job.id,
            kind: job.work.kind(),
            status: state_of(job.state()),
            source,
            command,
            image,
            runner: job.runner(),
            started_at: Timestamp::from_micros(job.started_ms.saturating_mul(1_000)).to_string(),
            ended_at: None,
            elapsed_ms: millis(job.started.elapsed()),
            outcome: None,
            exit_code: None,
            request_id: None,
        }
    }
}

/// The word for where a live job is.
pub(super) const fn state_of(state: JobState) -> &'static str {
    match state {
        JobState::Pending => "pending",
        JobState::Claimed => "claimed",
        JobState::Running => "running",
    }
}

impl JobView {
    /// A shell job that has ended. `None` of a row that tells of something else.
    pub(super) fn ended(row: AuditRow) -> Option<Self> {
        let id = row.job_id?.uuid();
        let shell = *row.shell?;
        let line = shell.command.or_else(|| Some(shell.argv?.join(" ")));
        Some(Self {
            id,
            kind: Work::SHELL,
            status: JobStatus::of(&row.outcome).as_str(),
            source: None,
            command: line.map(|line| line.chars().take(MAX_SHOWN).collect()),
            image: shell.image,
            runner: shell.runner,
            started_at: started_at(id, row.at).to_string(),
            ended_at: Some(row.at.to_string()),
            elapsed_ms: row.duration_ms,
            outcome: Some(row.outcome.into_owned()),
            exit_code: shell.exit_code,
            request_id: Some(row.request_id),
        })
    }

    /// Whether it is over.
    pub(super) const fn has_ended(&self) -> bool {
        self.ended_at.is_some()
    }
}

/// The time in a job's id.
fn started_at(id: Uuid, otherwise: Timestamp) -> Timestamp {
    let time = id.get_timestamp().map(|time| time.to_unix());
    let micros = time.and_then(|(seconds, nanos)| {
        i64::try_from(seconds).ok()?.checked_mul(1_000_000)?.checked_add(i64::from(nanos / 1_000))
    });
    micros.map_or(otherwise, Timestamp::from_micros)
}

impl JobDetail {
    /// A shell job that has ended. `None` of a row that tells of something else.
    pub(super) fn ended(row: AuditRow) -> Option<Self> {
        let mut exec = row.shell.as_deref().cloned()?;
        let (actor, rule, output) = (row.actor.kind(), row.rule.clone(), exec.output.take());
        Some(Self { job: JobView::ended(row)?, actor: Some(actor), rule, exec: Some(exec), output })
    }
}

impl From<&LiveJob> for JobDetail {
    fn from(job: &LiveJob) -> Self {
        Self { job: JobView::from(job), actor: None, rule: None, exec: None, output: None }
    }
}

impl From<AuditRow> for AuditView {
    fn from(row: AuditRow) -> Self {
        Self {
            id: row.id.to_string(),
            at: row.at.to_string(),
            request_id: row.request_id,
            actor: row.actor.kind(),
            actor_id: row.actor.id().map(|id| id.to_string()),
            action: row.action.into_owned(),
            outcome: row.outcome.into_owned(),
            lens: row.lens,
            source: row.source,
            target: row.target,
            runner_id: row.runner_id.map(|id| id.to_string()),
            runner_instance: row.runner_instance,
            attempts: row.attempts,
            params_hash: row.params_hash.map(|hash| hash.iter().map(|byte| format!("{byte:02x}")).collect()),
            rows: row.rows,
            bytes: row.bytes,
            duration_ms: row.duration_ms,
            occurrences: row.occurrences,
            job_id: row.job_id.map(|id| id.to_string()),
            rule: row.rule,
            exec: row.shell.map(|shell| *shell),
        }
    }
}

fn sorted(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut names: Vec<String> = names.collect();
    names.sort_unstable();
    names
}

pub(super) fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
