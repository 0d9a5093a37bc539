//! The OpenAPI document, and the two calls that need nothing: health, and the document itself.

use axum::Json;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};

use super::problem::{ProblemBody, Refusal};

/// What the service is.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// Always `ok`: a service that can't answer doesn't
    status: &'static str,
    /// Of lakekey
    version: &'static str,
}

/// Whether the service answers, and its version
#[utoipa::path(get, path = "/api/health", tag = "service", responses(
    (status = 200, description = "the answer", body = Health),
    (status = "4XX", description = "refused", body = ProblemBody, content_type = "application/problem+json"),
    (status = "5XX", description = "could not be answered", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok", version: env!("CARGO_PKG_VERSION") })
}

pub(super) async fn show(document: OpenApi) -> Result<Json<OpenApi>, Refusal> {
    Ok(Json(document))
}

/// What the document says of itself.
pub(super) fn head() -> OpenApi {
    let info = InfoBuilder::new()
        .title("lakekey")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("Keeps Databricks secrets fresh wherever Power BI holds a copy of them."));
    OpenApiBuilder::new().info(info.build()).build()
}

/// Adds what no handler can say.
pub(super) fn complete(document: &mut OpenApi) {
    let key = ApiKeyValue::with_description("x-lakekey-key", "the key of a role: reader, operator or breakglass");
    let components = document.components.get_or_insert_default();
    components.security_schemes.insert("key".to_owned(), SecurityScheme::ApiKey(ApiKey::Header(key)).into());
}
