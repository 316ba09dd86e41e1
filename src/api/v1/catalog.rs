//! The server's clock, the shelf, and who is logged in.

use actix_web::{HttpRequest, HttpResponse, get, web};
use serde::Serialize;

use super::shapes::{Page, SkuV1};
use crate::api::State;
use crate::api::error::ApiError;
use crate::api::extract::{Login, Query};
use crate::api::pages::NoQuery;

/// The server's time.
#[derive(Serialize, utoipa::ToSchema)]
struct Time {
    now: String,
}

/// The time that flash sales go by.
#[utoipa::path(tag = "v1", responses((status = 200, description = "server time", body = Time)))]
#[get("/api/v1/time")]
pub(super) async fn time(state: web::Data<State>, _query: Query<NoQuery>) -> HttpResponse {
    HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(Time { now: state.sales.now().rfc3339() })
}

/// What is on sale.
#[utoipa::path(tag = "v1", responses((status = 200, description = "the SKUs", body = Page<SkuV1>)))]
#[get("/api/v1/skus")]
pub(super) async fn skus(
    request: HttpRequest,
    state: web::Data<State>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let shelf = state.read(&request, state.store.shelf(100)).await?;
    let page = Page::whole(shelf.into_iter().map(SkuV1::from).collect());
    Ok(HttpResponse::Ok().insert_header(("cache-control", "public, max-age=5")).json(page))
}

/// The logged-in member.
#[derive(Serialize, utoipa::ToSchema)]
struct Me {
    user_id: String,
    username: String,
    points: i64,
}

/// Who is logged in.
#[utoipa::path(tag = "v1", responses((status = 200, description = "the member", body = Me), (status = 401, description = "nobody")))]
#[get("/api/v1/me")]
pub(super) async fn me(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let member = state.read(&request, state.store.member(login.0.user_id)).await?;
    let points = member.map_or(0, |member| member.integration);
    let me = Me { user_id: login.0.user_id.to_string(), username: login.0.username, points };
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(me))
}
