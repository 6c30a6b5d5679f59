//! `/openapi.json`, generated from the handlers.

use utoipa::OpenApi as _;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi};
use utoipa_axum::router::OpenApiRouter;

use super::{Api, described};

#[derive(utoipa::OpenApi)]
#[openapi(tags(
    (name = "runs", description = "Containers that run something once"),
    (name = "artifacts", description = "What they leave"),
    (name = "networks", description = "Networks for them"),
    (name = "server", description = "For orchestrators"),
))]
struct Base;

/// The description of all routes.
pub fn document() -> OpenApi {
    let routes: OpenApiRouter<Api> = OpenApiRouter::with_openapi(Base::openapi()).merge(described());
    let mut document = routes.into_openapi();
    // What the router calls the rest of a path is a plain parameter in a description.
    let paths = std::mem::take(&mut document.paths.paths);
    document.paths.paths = paths.into_iter().map(|(path, item)| (path.replace("{*", "{"), item)).collect();
    document.info = InfoBuilder::new()
        .title("SemiLayer sandbox")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Runs a container over HTTP: files in, output and files out."))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()))
        .build();
    let components = document.components.get_or_insert_default();
    let mut scheme = Http::new(HttpAuthScheme::Bearer);
    scheme.description = Some("The server's token, where it has one".to_owned());
    components.add_security_scheme("token", SecurityScheme::Http(scheme));
    document
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_is_described_and_only_health_is_open() {
        let json = serde_json::to_value(document()).unwrap();
        let mut ids = Vec::new();
        for (path, operations) in json["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let place = format!("{method} {path}");
                ids.push(operation["operationId"].as_str().unwrap_or_else(|| panic!("{place}")).to_owned());
                assert!(operation["summary"].is_string(), "{place}");
                let open = operation["security"].as_array().is_none_or(Vec::is_empty);
                assert_eq!(open, path == "/health", "{place}");
            }
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!((ids.len(), count), (17, 17));
    }

    #[test]
    fn every_reference_points_somewhere() {
        let json = serde_json::to_string(&document()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        for reference in json.split("\"$ref\":\"#").skip(1) {
            let pointer = reference.split('"').next().unwrap();
            assert!(value.pointer(pointer).is_some(), "{pointer}");
        }
    }
}
