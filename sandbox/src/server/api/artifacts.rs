//! What runs have left, as a list and file by file.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Api, Id, parse};
use crate::server::artifacts::{Artifact, Kind, Opened, download as file};
use crate::server::refusal::{Refusal, RefusalBody};

/// What is in a folder.
#[derive(Serialize, ToSchema)]
pub(super) struct Entry {
    /// Its name.
    path: String,
    /// `file` or `directory`.
    #[serde(rename = "type")]
    kind: Kind,
}

/// Everything that a run has left, folders and what is in them.
#[utoipa::path(get, path = "/runs/{id}/artifacts", tag = "artifacts", operation_id = "listArtifacts",
    params(("id" = String, Path)),
    responses((status = 200, description = "Artifacts", body = Vec<Artifact>),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 404, description = "`not_found`", body = RefusalBody)),
    security(("token" = [])))]
pub(super) async fn list(State(api): State<Api>, id: Id) -> Result<Json<Vec<Artifact>>, Refusal> {
    let view = api.runs.brief(&id.or("not_found")?).await?;
    Ok(Json(view.into_artifacts()))
}

/// A file, whole or a range of it; of a folder the names in it.
#[utoipa::path(get, path = "/runs/{id}/artifacts/{*path}", tag = "artifacts", operation_id = "getArtifact",
    params(("id" = String, Path), ("path" = String, Path, description = "Below the run's folder, with slashes")),
    responses((status = 200, description = "The file, or `[{path, type}]`", content_type = "application/octet-stream"),
        (status = 206, description = "The range that was asked for"),
        (status = 304, description = "The caller has it"),
        (status = 400, description = "`invalid_path`", body = RefusalBody),
        (status = 401, description = "No token, or a wrong one", body = RefusalBody),
        (status = 404, description = "`not_found` or `artifact_not_found`", body = RefusalBody),
        (status = 416, description = "There is nothing at that range")),
    security(("token" = [])))]
pub(super) async fn download(
    State(api): State<Api>,
    Path((id, path)): Path<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let parts = parts(&path)?;
    let name = parts.last().cloned().unwrap_or_default();
    match api.runs.open(&parse(&id)?, parts).await? {
        Opened::File(opened) => {
            file::answer(opened, &name, &headers).map_err(|error| Refusal::internal(&error))
        }
        Opened::Folder(entries) => {
            let entries = entries.into_iter().map(|(path, kind)| Entry { path, kind });
            Ok(Json(entries.collect::<Vec<_>>()).into_response())
        }
    }
}

/// A path with nothing in it.
pub(super) async fn nothing_named() -> Refusal {
    invalid()
}

/// The parts of a path. One that leads upwards is refused whatever it leads to.
fn parts(path: &str) -> Result<Vec<String>, Refusal> {
    let path = path.trim_end_matches('/');
    if path.is_empty() || path.contains('\0') || path.split(['/', '\\']).any(|part| part == "..") {
        return Err(invalid());
    }
    Ok(path.split('/').map(str::to_owned).collect())
}

fn invalid() -> Refusal {
    Refusal::Coded(StatusCode::BAD_REQUEST, "invalid_path", None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_dots_are_a_part_of_a_name_unless_they_are_all_of_it() {
        assert_eq!(parts("a..b.txt").unwrap(), ["a..b.txt"]);
        assert_eq!(parts("a/b/").unwrap(), ["a", "b"]);
        for wrong in ["", "/", "..", "a/..", "../a", "a/../b", "a\\..\\b", "a\0b"] {
            assert_eq!(parts(wrong), Err(invalid()), "{wrong:?}");
        }
    }
}
