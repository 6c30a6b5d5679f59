//! `/openapi.json`, generated from the handlers, and `/docs`, a page that shows it.
//!
//! The page is one file of ours without anything from elsewhere: a gateway often stands where there is no Internet.

use std::collections::HashMap;
use std::sync::LazyLock;

use axum::Json;
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use utoipa::OpenApi as _;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa::openapi::{InfoBuilder, LicenseBuilder, OpenApi, PathItem};
use utoipa_axum::router::OpenApiRouter;

use super::{Api, admin, applications, others, shell};

/// The page may run its own script and ask this gateway, nothing else.
const DOCS_POLICY: &str = "default-src 'none'; connect-src 'self'; style-src 'unsafe-inline'; \
                           script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[derive(utoipa::OpenApi)]
#[openapi(tags(
    (name = "query", description = "Applications ask"),
    (name = "exec", description = "Commands on runners"),
    (name = "runners", description = "Runners, and the socket that they dial"),
    (name = "sources", description = "Databases"),
    (name = "keys", description = "Keys of applications"),
    (name = "config", description = "Sources and lenses as one document"),
    (name = "audit", description = "Who asked what"),
    (name = "jobs", description = "What runs now, and the shell jobs that have ended"),
    (name = "health", description = "For orchestrators"),
))]
struct Base;

/// The description of all routes.
pub fn document() -> OpenApi {
    let routes: OpenApiRouter<Api> = OpenApiRouter::with_openapi(Base::openapi())
        .merge(applications())
        .merge(admin::routes())
        .merge(shell())
        .merge(others());
    let mut document = routes.into_openapi();
    document.info = InfoBuilder::new()
        .title("SemiLayer gateway")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Applications ask, runners answer, operators watch."))
        .license(Some(LicenseBuilder::new().name("MIT").identifier(Some("MIT")).build()))
        .build();
    let components = document.components.get_or_insert_default();
    for (name, description) in [
        (
            "key",
            "A secret key `sk_…`, or a public key `pk_…` as far as lenses grant it; for commands a secret key with the scope `exec`",
        ),
        ("admin", "The admin token `ak_…`"),
        ("runner", "A runner's token `rk_…`"),
    ] {
        let mut scheme = Http::new(HttpAuthScheme::Bearer);
        scheme.description = Some(description.to_owned());
        components.add_security_scheme(name, SecurityScheme::Http(scheme));
    }
    document
}

/// The methods that the route of this path has, for messages. `None` when it is not described.
pub(super) fn methods_of(path: &str) -> Option<&'static str> {
    static METHODS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
        let paths = document().paths.paths.into_iter();
        paths.map(|(path, item)| (path, methods(&item).join(", "))).collect()
    });
    METHODS.get(path).map(String::as_str)
}

fn methods(item: &PathItem) -> Vec<&'static str> {
    let described = [
        ("GET", item.get.is_some()),
        ("POST", item.post.is_some()),
        ("PUT", item.put.is_some()),
        ("PATCH", item.patch.is_some()),
        ("DELETE", item.delete.is_some()),
    ];
    described.into_iter().filter_map(|(method, described)| described.then_some(method)).collect()
}

/// The description and the page that shows it.
pub(super) fn pages() -> Router<Api> {
    Router::new().route("/openapi.json", get(async || Json(document()))).route("/docs", get(docs))
}

async fn docs() -> Response {
    let mut response = Html(include_str!("docs.html")).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(DOCS_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_operation_has_an_id_a_summary_and_a_security_scheme_that_exists() {
        let json = serde_json::to_value(document()).unwrap();
        let schemes = &json["components"]["securitySchemes"];
        let mut ids = Vec::new();
        for (path, operations) in json["paths"].as_object().unwrap() {
            for (method, operation) in operations.as_object().unwrap() {
                let place = format!("{method} {path}");
                ids.push(operation["operationId"].as_str().unwrap_or_else(|| panic!("{place}")).to_owned());
                assert!(operation["summary"].is_string(), "{place}");
                let public = ["/health", "/ready"].contains(&path.as_str());
                let security = operation["security"].as_array().cloned().unwrap_or_default();
                assert_eq!(security.is_empty(), public, "{place}");
                for scheme in security.iter().flat_map(|scheme| scheme.as_object().unwrap().keys()) {
                    assert!(schemes.get(scheme).is_some(), "{place}: {scheme}");
                }
            }
        }
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "an operation id is there twice");
        assert!(count >= 25, "{count}");
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
