//! Networks that callers make for their runs.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, MAX_PARAMETER};
use crate::networks::ISOLATED;
use crate::server::body;
use crate::server::check::Fields;
use crate::server::refusal::{FrameworkBody, Refusal, RefusalBody};
use crate::{Ipam, NetworkSpec, Removal, RunId};

const MAX_ADDRESS: usize = 64;
const MAX_LABELS: usize = 1000;
const DEFAULT_AGE: Duration = Duration::from_secs(30 * 60);
/// A hundred years: whole numbers of JSON may be larger than any age.
const MAX_AGE_MS: u64 = 100 * 366 * 24 * 60 * 60 * 1000;

/// A network to be made.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built")]
pub(super) struct NetworkBody {
    /// 1 to 100 characters.
    name: String,
    /// `bridge`.
    driver: Option<String>,
    /// Whether its containers reach one another.
    icc_enabled: Option<bool>,
    /// Refuses a name that is taken.
    exclusive: Option<bool>,
    /// Labels.
    labels: Option<std::collections::BTreeMap<String, String>>,
    /// Addresses.
    ipam: Option<IpamBody>,
}

/// Addresses of a network.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built")]
pub(super) struct IpamBody {
    /// CIDR.
    subnet: Option<String>,
    /// An address in it.
    gateway: Option<String>,
    /// CIDR within `subnet`.
    ip_range: Option<String>,
}

/// Which networks to remove.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "described, never built")]
pub(super) struct CleanupBody {
    /// What their names begin with; `light-runner-` when absent.
    prefix: Option<String>,
    /// How old they must be, in milliseconds; half an hour when absent.
    max_age_ms: Option<u64>,
}

/// A network is there.
#[derive(Serialize, ToSchema)]
pub(super) struct Created {
    name: String,
    /// True, also where it was there before.
    created: bool,
}

/// Whether a network is there.
#[derive(Serialize, ToSchema)]
pub(super) struct Exists {
    name: String,
    exists: bool,
}

/// How many networks were removed.
#[derive(Serialize, ToSchema)]
pub(super) struct Removed {
    removed: u64,
}

/// Makes a network.
#[utoipa::path(post, path = "/networks", tag = "networks", operation_id = "createNetwork", request_body = NetworkBody,
    responses((status = 201, description = "It is there", body = Created),
        (status = 400, description = "The body is wrong", body = RefusalBody),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 500, description = "The engine refuses", body = FrameworkBody)),
    security(("token" = [])))]
pub(super) async fn create(
    State(api): State<Api>,
    request: Request,
) -> Result<(StatusCode, Json<Created>), Refusal> {
    let body = body::small(request).await?;
    let spec = spec(Fields::of_body(&body, false)?)?;
    let created = api.sandbox().create_network(&spec).await?;
    Ok((StatusCode::CREATED, Json(Created { name: spec.name, created })))
}

fn spec(mut fields: Fields) -> Result<NetworkSpec, Refusal> {
    let name = fields.text("name", 1, MAX_PARAMETER);
    if name.is_none() && fields.is_good() {
        fields.missing("name", "string");
    }
    let driver = fields.text("driver", 1, MAX_PARAMETER);
    if driver.as_deref().is_some_and(|driver| driver != "bridge") {
        fields.mistake(&["driver"], "driver: expected bridge");
    }
    let ipam = fields.object("ipam").map(|mut within| {
        let ipam = Ipam {
            subnet: within.text("subnet", 1, MAX_ADDRESS),
            gateway: within.text("gateway", 1, MAX_ADDRESS),
            ip_range: within.text("ipRange", 1, MAX_ADDRESS),
        };
        fields.close(within, &["subnet", "gateway", "ipRange"]);
        ipam
    });
    let spec = NetworkSpec {
        name: name.unwrap_or_default(),
        driver,
        icc_enabled: fields.flag("iccEnabled").unwrap_or_default(),
        exclusive: fields.flag("exclusive").unwrap_or_default(),
        labels: fields.map("labels", MAX_LABELS).unwrap_or_default(),
        ipam,
    };
    if spec.name == ISOLATED && spec.icc_enabled {
        // Nobody who names no network could run anything any more.
        fields
            .mistake(&["iccEnabled"], format!("iccEnabled: not of {ISOLATED}, on which every other run is"));
    }
    fields.finish(&["name", "driver", "iccEnabled", "exclusive", "labels", "ipam"], &[])?;
    Ok(spec)
}

/// Whether a network is there.
#[utoipa::path(get, path = "/networks/{name}", tag = "networks", operation_id = "networkExists",
    params(("name" = String, Path)),
    responses((status = 200, description = "Whether it is", body = Exists),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn exists(
    State(api): State<Api>,
    Path(name): Path<String>,
) -> Result<Json<Exists>, Refusal> {
    check(&name)?;
    let exists = api.sandbox().network_exists(&name).await?;
    Ok(Json(Exists { name, exists }))
}

/// Removes a network.
#[utoipa::path(delete, path = "/networks/{name}", tag = "networks", operation_id = "deleteNetwork",
    params(("name" = String, Path)),
    responses((status = 204, description = "It is gone, or never was"),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 409, description = "`network_in_use`", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn delete(State(api): State<Api>, Path(name): Path<String>) -> Result<StatusCode, Refusal> {
    check(&name)?;
    match api.sandbox().remove_network(&name).await? {
        Removal::Removed | Removal::Absent => Ok(StatusCode::NO_CONTENT),
        Removal::InUse => {
            let message = format!("network {name} has containers in it");
            Err(Refusal::Coded(StatusCode::CONFLICT, "network_in_use", Some(message)))
        }
    }
}

/// Removes networks that nobody uses any more.
#[utoipa::path(post, path = "/networks/cleanup", tag = "networks", operation_id = "cleanupNetworks",
    request_body(content = CleanupBody, description = "May be absent"),
    responses((status = 200, description = "How many", body = Removed),
        (status = 400, description = "The body is wrong", body = RefusalBody),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn cleanup(State(api): State<Api>, request: Request) -> Result<Json<Removed>, Refusal> {
    let body = body::small(request).await?;
    let mut fields = Fields::of_body(&body, true)?;
    let prefix = fields.text("prefix", 0, MAX_PARAMETER).unwrap_or_else(|| RunId::PREFIX.to_owned());
    let age = fields.whole("maxAgeMs", 0, MAX_AGE_MS).map_or(DEFAULT_AGE, Duration::from_millis);
    fields.finish(&["prefix", "maxAgeMs"], &[])?;
    let removed = api.sandbox().cleanup_networks(&prefix, age).await?;
    Ok(Json(Removed { removed }))
}

fn check(name: &str) -> Result<(), Refusal> {
    if name.chars().count() > MAX_PARAMETER { Err(Refusal::long_parameter()) } else { Ok(()) }
}
