//! The invariants of the store, and the metrics page.

use actix_web::{HttpRequest, HttpResponse, get, web};
use actors::domain::invariants::Report;

use crate::api::State;
use crate::api::error::ApiError;
use crate::api::extract::{Query, Service};
use crate::api::pages::NoQuery;

/// Rows younger than this are left out while the server runs (DESIGN rule 16).
const EXEMPT_MS: i64 = 30_000;

/// Evaluates the numbered invariants on the store.
#[utoipa::path(tag = "admin", responses((status = 200, description = "`ok` and, per invariant, what is broken")))]
#[get("/admin/v1/audit")]
pub(super) async fn run(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let report = state.store.audit(EXEMPT_MS).await.map_err(|error| {
        tracing::error!(%error, "the audit could not read the store");
        ApiError::new(&request, crate::api::error::Kind::UpstreamUnavailable)
    })?;
    Ok(HttpResponse::Ok().json(audit_json(&report)))
}

/// The report as `seckill audit --json` and the admin API print it.
pub fn audit_json(report: &Report) -> serde_json::Value {
    serde_json::json!({
        "ok": report.is_ok(),
        "invariants": report.invariants.iter().map(|invariant| serde_json::json!({
            "id": invariant.id,
            "ok": invariant.broken.is_empty(),
            "checked": invariant.checked,
            "broken": invariant.broken,
        })).collect::<Vec<_>>(),
    })
}

/// Metrics in the Prometheus text format.
#[utoipa::path(tag = "admin", responses((status = 200, description = "Prometheus text")))]
#[get("/metrics")]
pub(super) async fn metrics(state: web::Data<State>, _service: Service) -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain; version=0.0.4").body((state.metrics)())
}
