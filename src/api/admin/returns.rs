//! Return requests: list, get, approve, reject, take the goods.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actors::domain::returns::{ReturnCommand, ReturnState};
use actors::ports::store::ReturnSearch;
use serde::Deserialize;

use crate::api::State;
use crate::api::course::shapes::canonical_id;
use crate::api::error::{ApiError, Kind};
use crate::api::extract::{Body, Query, Service};
use crate::api::pages;
use crate::api::v1::return_shapes::ReturnV1;
use crate::api::v1::shapes::Page;

const MAX_NOTE: usize = 200;

/// What to look for.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// 1 to 100, 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// From the page before.
    cursor: Option<String>,
    /// Only in this status: pending, returning, done or rejected.
    status: Option<String>,
}

/// Return requests, newest first.
#[utoipa::path(tag = "admin", params(ListQuery), responses((status = 200, description = "a page", body = Page<ReturnV1>)))]
#[get("/admin/v1/returns")]
pub(super) async fn list(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    query: Query<ListQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = pages::limit(&request, query.0.limit.as_deref())?;
    let wanted = match &query.0.status {
        None => None,
        Some(name) => Some(state_named(name).ok_or_else(|| ApiError::field(&request, "status", "no such status"))?),
    };
    let before = pages::cursor(&request, query.0.cursor.as_deref(), canonical_id)?;
    // One more than asked tells whether there is a next page.
    let search = ReturnSearch { state: wanted, before, limit: limit + 1 };
    let rows = state.read(&request, state.store.search_returns(&search)).await?;
    let page = pages::page(rows, limit, |row| row.id.to_string(), ReturnV1::from);
    Ok(pages::answer(&request, page, "no-store"))
}

fn state_named(name: &str) -> Option<ReturnState> {
    ReturnState::ALL.into_iter().find(|state| state.name() == name)
}

fn return_id(request: &HttpRequest, text: &str) -> Result<i64, ApiError> {
    canonical_id(text).ok_or_else(|| ApiError::new(request, Kind::NotFound))
}

/// One return request.
#[utoipa::path(tag = "admin", params(("id" = String, Path)),
    responses((status = 200, description = "the request", body = ReturnV1), (status = 404, description = "no such request")))]
#[get("/admin/v1/returns/{id}")]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = return_id(&request, &path)?;
    let row = state.read(&request, state.store.return_apply(id)).await?;
    let row = row.ok_or_else(|| ApiError::new(&request, Kind::NotFound))?;
    Ok(HttpResponse::Ok().json(ReturnV1::from(row)))
}

async fn handle(
    request: &HttpRequest,
    state: &State,
    id: &str,
    command: ReturnCommand,
    restock: bool,
    (note, shortest): (String, usize),
) -> Result<HttpResponse, ApiError> {
    let id = return_id(request, id)?;
    state.rules.text(&note, shortest, MAX_NOTE).map_err(|problem| ApiError::field(request, "note", problem))?;
    let handled = state.orders.handle_return(id, command, restock, note).await;
    let row = handled.map_err(|failure| ApiError::from_failure(request, failure))?;
    Ok(HttpResponse::Ok().json(ReturnV1::from(row)))
}

/// What the buyer is told.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ApproveV1 {
    /// Where to send the goods, for example.
    #[serde(default)]
    note: String,
}

/// Lets the buyer send the goods.
#[utoipa::path(tag = "admin", params(("id" = String, Path)), request_body = ApproveV1,
    responses((status = 200, description = "returning", body = ReturnV1), (status = 404, description = "no such request"),
        (status = 409, description = "not pending")))]
#[post("/admin/v1/returns/{id}/approve")]
pub(super) async fn approve(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    body: Body<ApproveV1>,
) -> Result<HttpResponse, ApiError> {
    handle(&request, &state, &path, ReturnCommand::Approve, false, (body.0.note, 0)).await
}

/// Why not.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RejectV1 {
    /// What the buyer is told.
    note: String,
}

/// Refuses a request, or goods that are not what was sold. The units may be asked for again.
#[utoipa::path(tag = "admin", params(("id" = String, Path)), request_body = RejectV1,
    responses((status = 200, description = "rejected", body = ReturnV1), (status = 404, description = "no such request"),
        (status = 409, description = "done or rejected before")))]
#[post("/admin/v1/returns/{id}/reject")]
pub(super) async fn reject(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    body: Body<RejectV1>,
) -> Result<HttpResponse, ApiError> {
    handle(&request, &state, &path, ReturnCommand::Reject, false, (body.0.note, 1)).await
}

/// The goods are here.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ReceiveV1 {
    /// Whether they can be sold again.
    restock: bool,
    /// What was seen.
    #[serde(default)]
    note: String,
}

/// Takes the goods: the money of the units goes back, and they are for sale again if wished.
#[utoipa::path(tag = "admin", params(("id" = String, Path)), request_body = ReceiveV1,
    responses((status = 200, description = "done", body = ReturnV1), (status = 404, description = "no such request"),
        (status = 409, description = "not returning")))]
#[post("/admin/v1/returns/{id}/receive")]
pub(super) async fn receive(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    body: Body<ReceiveV1>,
) -> Result<HttpResponse, ApiError> {
    handle(&request, &state, &path, ReturnCommand::Receive, body.0.restock, (body.0.note, 0)).await
}
