//! Webhooks: create, list, get, edit, delete, rotate the secret, the delivery log, deliver again.

use actix_web::{HttpRequest, HttpResponse, delete, get, patch, post, web};
use actors::domain::webhook::{Delivery, DeliveryState, Endpoint, EventSet, EventType};
use actors::ports::store::DeliverySearch;
use actors::webhook::{WebhookFailure, WebhookWish};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::api::State;
use crate::api::course::shapes::canonical_id;
use crate::api::error::{ApiError, Kind};
use crate::api::etag;
use crate::api::extract::{Body, Query, Service};
use crate::api::pages::{self, NoQuery, PageQuery};
use crate::api::v1::shapes::Page;

/// An endpoint.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(example = json!({
    "id": "1", "url": "https://erp.example/hooks", "events": ["order.paid", "order.closed"], "enabled": true,
    "former_secret_until": null, "created_at": "2026-01-01T08:00:00.000Z", "modified_at": "2026-01-01T08:00:00.000Z",
}))]
struct WebhookV1 {
    id: String,
    url: String,
    events: Vec<&'static str>,
    enabled: bool,
    /// Until when the secret before the last rotation signs too.
    former_secret_until: Option<String>,
    created_at: String,
    modified_at: String,
}

impl WebhookV1 {
    fn new(endpoint: &Endpoint) -> Self {
        Self {
            id: endpoint.id.to_string(),
            url: endpoint.url.clone(),
            events: endpoint.events.iter().map(EventType::as_str).collect(),
            enabled: endpoint.is_enabled,
            former_secret_until: endpoint.former.as_ref().map(|(_, until)| until.rfc3339()),
            created_at: endpoint.created_at.rfc3339(),
            modified_at: endpoint.modified_at.rfc3339(),
        }
    }
}

/// An endpoint with its secret, which is shown this once.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(example = json!({
    "id": "1", "url": "https://erp.example/hooks", "events": ["order.paid"], "enabled": true,
    "former_secret_until": null, "created_at": "2026-01-01T08:00:00.000Z", "modified_at": "2026-01-01T08:00:00.000Z",
    "secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}))]
struct SecretWebhookV1 {
    #[serde(flatten)]
    webhook: WebhookV1,
    /// `whsec_` and the key in base64.
    secret: String,
}

/// One message for the endpoint.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(example = json!({
    "id": "17", "message_id": "msg_019b77c3-7a00-7000-8000-000000000001", "type": "order.paid", "status": "pending",
    "tries": 2, "last_http_status": 503, "last_error": "HTTP status 503", "next_try_at": "2026-01-01T08:05:05.000Z",
    "last_try_at": "2026-01-01T08:00:05.000Z", "created_at": "2026-01-01T08:00:00.000Z",
    "payload": {"type": "order.paid", "timestamp": "2026-01-01T08:00:00.000Z",
                "data": {"order_sn": "20260101080000000000000000000001", "status": "awaiting_shipment"}},
}))]
struct DeliveryV1 {
    id: String,
    /// `webhook-id`: the same in every try.
    message_id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    /// pending, delivered or failed.
    status: &'static str,
    /// Tries so far, since it was last asked for.
    tries: u32,
    /// HTTP status of the last try; null when there was no answer.
    last_http_status: Option<u16>,
    /// Why the last try failed.
    last_error: Option<String>,
    /// Of a pending one; while it is being tried, when that is given up for lost.
    next_try_at: Option<String>,
    last_try_at: Option<String>,
    created_at: String,
    /// What is sent.
    #[schema(value_type = Object)]
    payload: Box<RawValue>,
}

impl From<Delivery> for DeliveryV1 {
    fn from(delivery: Delivery) -> Self {
        let is_pending = delivery.state == DeliveryState::Pending;
        Self {
            id: delivery.id.to_string(),
            message_id: delivery.message_id,
            kind: delivery.kind.as_str(),
            status: delivery.state.name(),
            tries: delivery.tries,
            last_http_status: delivery.last_status,
            last_error: Some(delivery.last_error).filter(|error| !error.is_empty()),
            next_try_at: is_pending.then(|| delivery.due_at.rfc3339()),
            last_try_at: delivery.tried_at.map(|at| at.rfc3339()),
            created_at: delivery.created_at.rfc3339(),
            payload: RawValue::from_string(delivery.body).unwrap_or_default(),
        }
    }
}

fn tag(endpoint: &Endpoint) -> String {
    format!("{}-{}", endpoint.id, endpoint.version)
}

fn refused(request: &HttpRequest, failure: WebhookFailure) -> ApiError {
    let detail = failure.to_string();
    match failure {
        WebhookFailure::Unknown => ApiError::new(request, Kind::NotFound),
        WebhookFailure::BadUrl(problem) => ApiError::field(request, "url", problem),
        WebhookFailure::TooMany(_) => ApiError::new(request, Kind::Conflict).detail(detail),
        WebhookFailure::Changed => ApiError::new(request, Kind::VersionConflict),
        WebhookFailure::Disabled => ApiError::new(request, Kind::WrongState).detail(detail),
        WebhookFailure::Unavailable(unavailable) => ApiError::from_unavailable(request, &unavailable),
    }
}

fn row_id(request: &HttpRequest, text: &str) -> Result<i64, ApiError> {
    canonical_id(text).ok_or_else(|| ApiError::new(request, Kind::NotFound))
}

async fn find(request: &HttpRequest, state: &State, id: &str) -> Result<Endpoint, ApiError> {
    let id = row_id(request, id)?;
    let endpoint = state.read(request, state.store.webhook(id)).await?;
    endpoint.ok_or_else(|| ApiError::new(request, Kind::NotFound))
}

fn events(request: &HttpRequest, names: &[String]) -> Result<EventSet, ApiError> {
    if names.is_empty() {
        return Err(ApiError::field(request, "events", "must name at least one type"));
    }
    let parsed = names.iter().enumerate().map(|(at, name)| {
        EventType::parse(name).ok_or_else(|| {
            let known = EventType::ALL.map(EventType::as_str).join(", ");
            ApiError::field(request, &format!("events[{at}]"), format!("must be one of {known}"))
        })
    });
    parsed.collect()
}

fn with_tag(response: &mut actix_web::HttpResponseBuilder, endpoint: &Endpoint) {
    response.insert_header(("etag", format!("\"{}\"", tag(endpoint))));
}

fn secret_shown(mut response: actix_web::HttpResponseBuilder, endpoint: &Endpoint) -> HttpResponse {
    with_tag(&mut response, endpoint);
    response
        .insert_header(("cache-control", "no-store"))
        .json(SecretWebhookV1 { webhook: WebhookV1::new(endpoint), secret: endpoint.secret.expose().to_owned() })
}

fn shown(endpoint: &Endpoint) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    with_tag(&mut response, endpoint);
    response.json(WebhookV1::new(endpoint))
}

/// An endpoint to be made.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"url": "https://erp.example/hooks", "events": ["order.paid", "order.closed"]}))]
struct CreateWebhookV1 {
    /// https, and public, unless the configuration allows more.
    #[schema(max_length = 2000)]
    url: String,
    /// order.placed, order.paid, order.shipped, order.completed, order.closed, order.refunded, return.requested,
    /// return.settled.
    #[schema(min_items = 1)]
    events: Vec<String>,
}

/// Makes an endpoint. The answer is the only one that shows its secret.
#[utoipa::path(tag = "admin", request_body = CreateWebhookV1,
    responses((status = 201, description = "the endpoint and its secret", body = SecretWebhookV1),
        (status = 409, description = "there are as many as there may be")))]
#[post("/admin/v1/webhooks")]
pub(super) async fn create(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    body: Body<CreateWebhookV1>,
) -> Result<HttpResponse, ApiError> {
    let events = events(&request, &body.0.events)?;
    let made = state.webhooks.create(body.0.url, events).await;
    let endpoint = made.map_err(|failure| refused(&request, failure))?;
    let mut response = HttpResponse::Created();
    response.insert_header(("location", format!("/admin/v1/webhooks/{}", endpoint.id)));
    Ok(secret_shown(response, &endpoint))
}

/// All endpoints, newest first.
#[utoipa::path(tag = "admin", params(PageQuery), responses((status = 200, description = "a page of endpoints", body = Page<WebhookV1>)))]
#[get("/admin/v1/webhooks")]
pub(super) async fn list(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    query: Query<PageQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = pages::limit(&request, query.0.limit.as_deref())?;
    let before = pages::cursor(&request, query.0.cursor.as_deref(), canonical_id)?;
    let mut endpoints = state.read(&request, state.store.webhooks()).await?;
    endpoints.retain(|endpoint| before.is_none_or(|before| endpoint.id < before));
    let page = pages::page(endpoints, limit, |endpoint| endpoint.id.to_string(), |endpoint| WebhookV1::new(&endpoint));
    Ok(HttpResponse::Ok().json(page))
}

/// One endpoint.
#[utoipa::path(tag = "admin", params(("id" = String, Path)),
    responses((status = 200, description = "the endpoint", body = WebhookV1), (status = 404, description = "no such endpoint")))]
#[get("/admin/v1/webhooks/{id}")]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    Ok(shown(&find(&request, &state, &path).await?))
}

/// What of an endpoint shall be otherwise.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"enabled": false}))]
struct EditWebhookV1 {
    /// Where to.
    #[schema(max_length = 2000)]
    url: Option<String>,
    /// Of what.
    #[schema(min_items = 1)]
    events: Option<Vec<String>>,
    /// Whether anything is recorded for it and sent.
    enabled: Option<bool>,
}

/// Changes an endpoint; fields that are left out stay. Needs `If-Match` with the ETag of what the editor saw.
#[utoipa::path(tag = "admin", request_body = EditWebhookV1,
    params(("id" = String, Path), ("If-Match" = String, Header, description = "the endpoint's ETag")),
    responses((status = 200, description = "the endpoint now", body = WebhookV1), (status = 404, description = "no such endpoint"),
        (status = 412, description = "changed meanwhile"), (status = 428, description = "without If-Match")))]
#[patch("/admin/v1/webhooks/{id}")]
pub(super) async fn edit(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    body: Body<EditWebhookV1>,
) -> Result<HttpResponse, ApiError> {
    let seen = find(&request, &state, &path).await?;
    etag::require(&request, &tag(&seen))?;
    let EditWebhookV1 { url, events: names, enabled } = body.0;
    let wish = WebhookWish {
        url: url.unwrap_or_else(|| seen.url.clone()),
        events: names.map_or(Ok(seen.events), |names| events(&request, &names))?,
        is_enabled: enabled.unwrap_or(seen.is_enabled),
    };
    let edited = state.webhooks.edit(&seen, wish).await;
    Ok(shown(&edited.map_err(|failure| refused(&request, failure))?))
}

/// Takes an endpoint away, with its delivery log; what waits is not sent any more.
#[utoipa::path(tag = "admin", params(("id" = String, Path)),
    responses((status = 204, description = "gone"), (status = 404, description = "no such endpoint")))]
#[delete("/admin/v1/webhooks/{id}")]
pub(super) async fn remove(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = row_id(&request, &path)?;
    state.webhooks.delete(id).await.map_err(|failure| refused(&request, failure))?;
    Ok(HttpResponse::NoContent().finish())
}

/// Gives an endpoint another secret, shown this once. The former one signs too for `webhooks.rotation_overlap`.
#[utoipa::path(tag = "admin", params(("id" = String, Path)),
    responses((status = 200, description = "the endpoint and its new secret", body = SecretWebhookV1),
        (status = 404, description = "no such endpoint")))]
#[post("/admin/v1/webhooks/{id}/rotate-secret")]
pub(super) async fn rotate(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let id = row_id(&request, &path)?;
    let rotated = state.webhooks.rotate(id).await.map_err(|failure| refused(&request, failure))?;
    Ok(secret_shown(HttpResponse::Ok(), &rotated))
}

/// What to look for.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct DeliveriesQuery {
    /// 1 to 100, 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// From the page before.
    cursor: Option<String>,
    /// Only in this status: pending, delivered or failed.
    status: Option<String>,
}

/// The delivery log of an endpoint, newest first.
#[utoipa::path(tag = "admin", params(("id" = String, Path), DeliveriesQuery),
    responses((status = 200, description = "a page of deliveries", body = Page<DeliveryV1>), (status = 404, description = "no such endpoint")))]
#[get("/admin/v1/webhooks/{id}/deliveries")]
pub(super) async fn deliveries(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    query: Query<DeliveriesQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = pages::limit(&request, query.0.limit.as_deref())?;
    let before = pages::cursor(&request, query.0.cursor.as_deref(), canonical_id)?;
    let wanted = query.0.status.as_deref().map(|name| {
        let state = DeliveryState::ALL.into_iter().find(|state| state.name() == name);
        state.ok_or_else(|| ApiError::field(&request, "status", "no such status"))
    });
    let endpoint = find(&request, &state, &path).await?;
    let search = DeliverySearch { state: wanted.transpose()?, before, limit: limit + 1 };
    let rows = state.read(&request, state.store.deliveries(endpoint.id, &search)).await?;
    Ok(HttpResponse::Ok().json(pages::page(rows, limit, |row| row.id.to_string(), DeliveryV1::from)))
}

/// Delivers again, whatever became of it, under the same message id: all tries anew, the first one now.
#[utoipa::path(tag = "admin", params(("id" = String, Path), ("delivery_id" = String, Path)),
    responses((status = 202, description = "due now", body = DeliveryV1), (status = 404, description = "no such delivery"),
        (status = 409, description = "the endpoint is disabled")))]
#[post("/admin/v1/webhooks/{id}/deliveries/{delivery_id}/redeliver")]
pub(super) async fn redeliver(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, ApiError> {
    let (id, delivery_id) = path.into_inner();
    let (endpoint_id, delivery_id) = (row_id(&request, &id)?, row_id(&request, &delivery_id)?);
    let due = state.webhooks.redeliver(endpoint_id, delivery_id).await;
    let delivery = due.map_err(|failure| refused(&request, failure))?;
    Ok(HttpResponse::Accepted().json(DeliveryV1::from(delivery)))
}
