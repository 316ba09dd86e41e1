//! /healthz: the process lives. /readyz: it takes work. /version: which server it is. All on both listeners; none says
//! more (S24).

use actix_web::{HttpResponse, get, web};
use serde::Serialize;
use utoipa_actix_web::service_config::ServiceConfig;

use super::State;

pub fn routes(config: &mut ServiceConfig) {
    config.service(healthz).service(readyz).service(version);
    // Load balancers ask without wanting the body.
    config.route("/healthz", web::head().to(alive)).route("/readyz", web::head().to(takes_work));
}

/// Which server this is.
#[derive(Serialize, utoipa::ToSchema)]
struct Version {
    name: &'static str,
    version: &'static str,
}

/// Name and version of this server.
#[utoipa::path(tag = "operation", responses((status = 200, description = "the version", body = Version)))]
#[get("/version")]
async fn version() -> HttpResponse {
    HttpResponse::Ok().json(Version { name: env!("CARGO_PKG_NAME"), version: env!("CARGO_PKG_VERSION") })
}

/// Whether the process lives.
#[utoipa::path(tag = "operation", responses((status = 200, description = "ok")))]
#[get("/healthz")]
async fn healthz() -> HttpResponse {
    alive().await
}

async fn alive() -> HttpResponse {
    HttpResponse::Ok().content_type("text/plain").body("ok")
}

/// Whether the server takes work: false while starting and stopping.
#[utoipa::path(tag = "operation", responses((status = 200, description = "ready"), (status = 503, description = "not ready")))]
#[get("/readyz")]
async fn readyz(state: web::Data<State>) -> HttpResponse {
    takes_work(state).await
}

async fn takes_work(state: web::Data<State>) -> HttpResponse {
    if state.is_ready() {
        HttpResponse::Ok().content_type("text/plain").body("ready")
    } else {
        HttpResponse::ServiceUnavailable()
            .insert_header(("retry-after", "1"))
            .content_type("text/plain")
            .body("not ready")
    }
}
