//! Messages: what waits to be published, what could not be handled, and handling it again.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actors::ports::store::{OutboxRow, ParkedMessage};
use serde::Serialize;

use crate::api::State;
use crate::api::error::{ApiError, Kind};
use crate::api::extract::{Query, Service};
use crate::api::pages::{self, PageQuery};
use crate::api::v1::shapes::Page;

/// A message that could not be handled.
#[derive(Serialize, utoipa::ToSchema)]
struct ParkedV1 {
    message_id: String,
    queue: &'static str,
    payload: String,
    reason: String,
    parked_at: String,
    replayed_at: Option<String>,
}

impl From<ParkedMessage> for ParkedV1 {
    fn from(message: ParkedMessage) -> Self {
        Self {
            message_id: message.message_id,
            queue: message.queue.as_str(),
            payload: message.payload,
            reason: message.reason,
            parked_at: message.parked_at.rfc3339(),
            replayed_at: message.replayed_at.map(|at| at.rfc3339()),
        }
    }
}

/// Ids are printable and have no spaces.
fn message_id(text: &str) -> Option<String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    fits.then(|| text.to_owned())
}

/// A message that waits to be published.
#[derive(Serialize, utoipa::ToSchema)]
struct OutboxV1 {
    message_id: String,
    key: &'static str,
    payload: String,
    created_at: String,
}

impl From<OutboxRow> for OutboxV1 {
    fn from(row: OutboxRow) -> Self {
        Self {
            message_id: row.message.message_id,
            key: row.message.key.as_str(),
            payload: row.message.payload,
            created_at: row.created_at.rfc3339(),
        }
    }
}

/// Query of the outbox: what waits goes away by itself, so there is only a first page.
#[derive(serde::Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct OutboxQuery {
    /// 1 to 100, 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
}

/// The oldest messages that wait to be published; `has_more` tells whether others wait behind them.
#[utoipa::path(tag = "admin", params(OutboxQuery), responses((status = 200, description = "the messages", body = Page<OutboxV1>)))]
#[get("/admin/v1/messages/outbox")]
pub(super) async fn outbox(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    query: Query<OutboxQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = pages::limit(&request, query.0.limit.as_deref())?;
    let rows = state.read(&request, state.store.unpublished(0, limit + 1)).await?;
    let has_more = rows.len() > limit;
    let data = rows.into_iter().take(limit).map(OutboxV1::from).collect();
    Ok(HttpResponse::Ok().json(Page { data, next_cursor: None, has_more }))
}

/// Parked messages, newest first.
#[utoipa::path(tag = "admin", params(PageQuery), responses((status = 200, description = "a page", body = Page<ParkedV1>)))]
#[get("/admin/v1/messages/parked")]
pub(super) async fn parked(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    query: Query<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = pages::limit(&request, query.0.limit.as_deref())?;
    let behind = pages::cursor(&request, query.0.cursor.as_deref(), message_id)?;
    let rows = state.read(&request, state.store.parked_before(behind.as_deref(), limit + 1)).await?;
    let page = pages::page(rows, limit, |row| row.message_id.clone(), ParkedV1::from);
    Ok(pages::answer(&request, page, "no-store"))
}

/// Sends a parked message again under a new id.
#[utoipa::path(tag = "admin", params(("message_id" = String, Path)),
    responses((status = 202, description = "on its way"), (status = 404, description = "not parked, or replayed before")))]
#[post("/admin/v1/messages/parked/{message_id}/replay")]
pub(super) async fn replay(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    // No message has such an id, and PostgreSQL cannot even be asked for a zero byte.
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(ApiError::new(&request, Kind::NotFound));
    }
    let replayed = state.replayer.replay(&path).await;
    let replayed = replayed.map_err(|error| State::unavailable(&request, error))?;
    if !replayed {
        return Err(ApiError::new(&request, Kind::NotFound));
    }
    Ok(HttpResponse::Accepted().json(serde_json::json!({"replayed": true})))
}
