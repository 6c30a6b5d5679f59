//! `GET /api/audit`.

use std::str::FromStr;

use axum::Json;
use axum::extract::{Query, State};
use protocol::Timestamp;
use runtime::spelling::closest;
use utoipa::IntoParams;

use super::views::{AuditPage, AuditView};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::schema::Envelope;
use crate::audit::AuditFilter;
use crate::model::RunnerId;

const DEFAULT_LIMIT: u32 = 100;
const MAX_LIMIT: u32 = 1_000;

/// What to look for. Everything that is given must fit.
#[derive(Debug, Default, IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
pub(crate) struct AuditQuery {
    /// `query`, `count`, `runner.create`, …
    action: Option<String>,
    /// `ok`, or a code.
    outcome: Option<String>,
    /// `anonymous`, `admin`, `secret-key`, `public-key` or `runner`.
    actor: Option<String>,
    /// Id of a key or runner as the actor.
    actor_id: Option<String>,
    /// Name of a lens.
    lens: Option<String>,
    /// Name of a source.
    source: Option<String>,
    /// Id or name of the runner that did the work.
    runner: Option<String>,
    /// Id of a request.
    request_id: Option<String>,
    /// Not before this time, RFC 3339.
    from: Option<String>,
    /// Before this time, RFC 3339.
    until: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// Rows of the page, at most 1000; 100 when not said.
    limit: Option<String>,
}

const PARAMETERS: [&str; 12] = [
    "action",
    "outcome",
    "actor",
    "actorId",
    "lens",
    "source",
    "runner",
    "requestId",
    "from",
    "until",
    "cursor",
    "limit",
];

impl AuditQuery {
    fn read(parameters: Vec<(String, String)>) -> Result<Self, ApiError> {
        let mut query = Self::default();
        for (name, value) in parameters {
            let Some(slot) = query.slot(&name) else { return Err(unknown(&name)) };
            if slot.replace(value).is_some() {
                return Err(ApiError::invalid(&name, "to be there once"));
            }
        }
        Ok(query)
    }

    fn slot(&mut self, name: &str) -> Option<&mut Option<String>> {
        match name {
            "action" => Some(&mut self.action),
            "outcome" => Some(&mut self.outcome),
            "actor" => Some(&mut self.actor),
            "actorId" => Some(&mut self.actor_id),
            "lens" => Some(&mut self.lens),
            "source" => Some(&mut self.source),
            "runner" => Some(&mut self.runner),
            "requestId" => Some(&mut self.request_id),
            "from" => Some(&mut self.from),
            "until" => Some(&mut self.until),
            "cursor" => Some(&mut self.cursor),
            "limit" => Some(&mut self.limit),
            _ => None,
        }
    }
}

fn unknown(name: &str) -> ApiError {
    let shown: String = name.chars().take(100).collect();
    match closest(name, &PARAMETERS) {
        Some(meant) => ApiError::invalid(&shown, &format!("no such parameter; did you mean {meant}?")),
        None => ApiError::invalid(&shown, &format!("one of the parameters {}", PARAMETERS.join(", "))),
    }
}

/// The audit log, newest first.
#[utoipa::path(get, path = "/api/audit", tag = "audit", operation_id = "listAudit", params(AuditQuery),
    responses((status = 200, description = "A page", body = AuditPage),
        (status = 400, description = "A parameter is wrong", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn list(
    State(api): State<Api>,
    parameters: Result<Query<Vec<(String, String)>>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<AuditPage>, ApiError> {
    let Query(parameters) = parameters.map_err(|_| ApiError::invalid("query", "pairs such as limit=10"))?;
    let filter = filter(&api, AuditQuery::read(parameters)?)?;
    let limit = filter.limit;
    // One row more than the page has room for tells whether there is another page.
    let mut rows = api.control.store().audit(&AuditFilter { limit: limit + 1, ..filter }).await?;
    let more = u32::try_from(rows.len()).unwrap_or(u32::MAX) > limit;
    if more {
        rows.pop();
    }
    let next_cursor = rows.last().filter(|_| more).map(|row| row.id.to_string());
    Ok(Json(AuditPage { entries: rows.into_iter().map(AuditView::from).collect(), next_cursor }))
}

fn filter(api: &Api, query: AuditQuery) -> Result<AuditFilter, ApiError> {
    let limit =
        parsed::<u32>("limit", query.limit.as_deref(), "a number from 1 to 1000")?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::invalid("limit", "a number from 1 to 1000"));
    }
    Ok(AuditFilter {
        action: query.action,
        outcome: query.outcome,
        actor_kind: query.actor,
        actor_id: parsed("actorId", query.actor_id.as_deref(), "an id")?,
        lens: query.lens,
        source: query.source,
        runner_id: query.runner.as_deref().map(|runner| runner_id(api, runner)).transpose()?,
        request_id: query.request_id,
        from: time("from", query.from.as_deref())?,
        until: time("until", query.until.as_deref())?,
        before: parsed("cursor", query.cursor.as_deref(), "nextCursor of the page before")?,
        limit,
    })
}

/// A deleted runner is still found by its id.
fn runner_id(api: &Api, runner: &str) -> Result<RunnerId, ApiError> {
    let named = || api.control.snapshot().runner_named(runner).map(|runner| runner.id);
    runner
        .parse()
        .ok()
        .or_else(named)
        .ok_or_else(|| ApiError::invalid("runner", "the id or the name of a runner"))
}

fn time(field: &str, text: Option<&str>) -> Result<Option<Timestamp>, ApiError> {
    let expected = "a time such as 2026-01-31T12:00:00Z";
    text.map(|text| Timestamp::parse(text).ok_or_else(|| ApiError::invalid(field, expected))).transpose()
}

fn parsed<T: FromStr>(field: &str, text: Option<&str>, expected: &str) -> Result<Option<T>, ApiError> {
    text.map(|text| text.parse().map_err(|_| ApiError::invalid(field, expected))).transpose()
}
