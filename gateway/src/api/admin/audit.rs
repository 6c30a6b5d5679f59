//! `GET /api/audit`.

use axum::Json;
use axum::extract::State;
use utoipa::IntoParams;

use super::parameters::{Pairs, Parameters};
use super::views::{AuditPage, AuditView};
use crate::api::Api;
use crate::api::error::ApiError;
use crate::api::schema::Envelope;
use crate::audit::{Actor, AuditFilter, action, outcomes};

/// What to look for. Everything that is given must fit.
#[derive(IntoParams)]
#[into_params(parameter_in = Query, rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built: Parameters reads the query and names what is wrong")]
pub(crate) struct AuditQuery {
    /// `query`, `count`, `exec`, `runner.create`, …
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
    /// Id or name of the runner that did the work, or was to do it.
    runner: Option<String>,
    /// Id of a request.
    request_id: Option<String>,
    /// The rule that refused a shell job.
    rule: Option<String>,
    /// Not before this time, RFC 3339.
    from: Option<String>,
    /// Before this time, RFC 3339.
    until: Option<String>,
    /// `nextCursor` of the page before.
    cursor: Option<String>,
    /// Rows of the page, at most 1000; 100 when not said.
    limit: Option<String>,
}

const PARAMETERS: [&str; 13] = [
    "action",
    "outcome",
    "actor",
    "actorId",
    "lens",
    "source",
    "runner",
    "requestId",
    "rule",
    "from",
    "until",
    "cursor",
    "limit",
];

/// The audit log, newest first.
#[utoipa::path(get, path = "/api/audit", tag = "audit", operation_id = "listAudit", params(AuditQuery),
    responses((status = 200, description = "A page", body = AuditPage),
        (status = 400, description = "A parameter is wrong", body = Envelope)),
    security(("admin" = [])))]
pub(super) async fn list(State(api): State<Api>, pairs: Pairs) -> Result<Json<AuditPage>, ApiError> {
    let parameters = Parameters::read(pairs, &PARAMETERS)?;
    let filter = filter(&api, &parameters)?;
    let limit = filter.limit;
    api.audit.settle().await;
    check_words(&api, &parameters).await?;
    // One row more than the page has room for tells whether there is another page.
    let mut rows = api.control.store().audit(&AuditFilter { limit: limit + 1, ..filter }).await?;
    let more = u32::try_from(rows.len()).unwrap_or(u32::MAX) > limit;
    if more {
        rows.pop();
    }
    let next_cursor = rows.last().filter(|_| more).map(|row| row.id.to_string());
    Ok(Json(AuditPage { entries: rows.into_iter().map(AuditView::from).collect(), next_cursor }))
}

/// Refuses actions and outcomes that no row has.
async fn check_words(api: &Api, parameters: &Parameters) -> Result<(), ApiError> {
    let row = AuditFilter { limit: 1, ..AuditFilter::default() };
    let of_action = AuditFilter { action: parameters.text("action"), ..row.clone() };
    check_word(api, parameters.word("action", &action::ALL), &of_action).await?;
    let of_outcome = AuditFilter { outcome: parameters.text("outcome"), ..row };
    check_word(api, parameters.word("outcome", &outcomes()), &of_outcome).await
}

/// Lets a word through that is none of ours and in the log all the same: another version has written it.
async fn check_word(
    api: &Api,
    word: Result<Option<String>, ApiError>,
    rows: &AuditFilter,
) -> Result<(), ApiError> {
    let Err(unknown) = word else { return Ok(()) };
    if api.control.store().audit(rows).await?.is_empty() { Err(unknown) } else { Ok(()) }
}

fn filter(api: &Api, parameters: &Parameters) -> Result<AuditFilter, ApiError> {
    Ok(AuditFilter {
        action: parameters.text("action"),
        outcome: parameters.text("outcome"),
        actor_kind: parameters.word("actor", &Actor::KINDS)?,
        actor_id: parameters.parsed("actorId", "an id")?,
        lens: parameters.text("lens"),
        source: parameters.text("source"),
        runner_id: parameters.runner(api)?,
        request_id: parameters.text("requestId"),
        rule: parameters.text("rule"),
        from: parameters.time("from")?,
        until: parameters.time("until")?,
        before: parameters.cursor()?,
        limit: parameters.limit()?,
    })
}
