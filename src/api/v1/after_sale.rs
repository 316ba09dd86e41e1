//! A buyer's order after its payment: receipt, refunds, returns.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actors::domain::SkuId;
use actors::order::ReturnWish;
use serde::{Deserialize, Serialize};

use super::order_sn;
use super::orders::changed;
use super::return_shapes::{RefundV1, ReturnV1};
use super::shapes::{OrderV1, Page};
use crate::api::State;
use crate::api::course::shapes::canonical_id;
use crate::api::error::ApiError;
use crate::api::extract::{Body, Login, LoginToChange, Query};
use crate::api::keys::{Key, MaybeKey, note_replay};
use crate::api::pages::NoQuery;

const MAX_REASON: usize = 200;
const MAX_DESCRIPTION: usize = 500;

fn private(body: impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(body)
}

/// The owner has the goods of a shipped order. Without this it counts as received at `auto_receive_at`.
#[utoipa::path(tag = "v1",
    params(("order_sn" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, good for 24 hours")),
    responses((status = 200, description = "completed", body = OrderV1), (status = 404, description = "absent or another user's"),
        (status = 409, description = "not shipped, or received before"), (status = 422, description = "the key was used for another request")))]
#[post("/api/v1/orders/{order_sn}/receive")]
pub(super) async fn receive(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    path: web::Path<String>,
    key: MaybeKey,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let received = state.orders.receive_once(login.0.user_id, &order_sn, key.0).await;
    changed(&request, received)
}

/// The money of an order that goes back, oldest first.
#[utoipa::path(tag = "v1", params(("order_sn" = String, Path)),
    responses((status = 200, description = "the refunds", body = Page<RefundV1>), (status = 404, description = "absent or another user's")))]
#[get("/api/v1/orders/{order_sn}/refunds")]
pub(super) async fn refunds(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    state.order_of(&request, login.0.user_id, &order_sn).await?;
    let rows = state.read(&request, state.store.refunds_of(&order_sn)).await?;
    Ok(private(Page::whole(rows.into_iter().map(RefundV1::from).collect())))
}

/// What a buyer wants to send back.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct RequestReturn {
    /// A SKU of the order.
    sku_id: String,
    /// Units.
    quantity: u32,
    /// Why, in a few words.
    reason: String,
    /// More of it.
    #[serde(default)]
    description: String,
}

/// Asks to send units of one SKU back. The same request while it is pending answers the first one.
#[utoipa::path(tag = "v1", request_body = RequestReturn,
    params(("order_sn" = String, Path), ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters, good for 24 hours")),
    responses((status = 201, description = "waits for staff", body = ReturnV1), (status = 200, description = "asked for before", body = ReturnV1),
        (status = 404, description = "absent or another user's"),
        (status = 409, description = "not shipped or not paid; another request of the SKU is open; too many units; too late"),
        (status = 422, description = "the key was used for another request")))]
#[post("/api/v1/orders/{order_sn}/returns")]
pub(super) async fn request_return(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    path: web::Path<String>,
    key: Key,
    body: Body<RequestReturn>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let wish = return_wish(&request, &state, body.0)?;
    let asked = state.orders.request_return_once(login.0.user_id, &order_sn, wish, key.0).await;
    let asked = asked.map_err(|failure| ApiError::from_failure(&request, failure))?;
    let (row, is_new) = asked.value;
    let mut response = if is_new { HttpResponse::Created() } else { HttpResponse::Ok() };
    note_replay(&mut response, asked.is_replayed);
    response.insert_header(("location", format!("/api/v1/orders/{order_sn}/returns")));
    Ok(response.insert_header(("cache-control", "no-store")).json(ReturnV1::from(row)))
}

fn return_wish(request: &HttpRequest, state: &State, body: RequestReturn) -> Result<ReturnWish, ApiError> {
    let field = |name: &str, problem: String| ApiError::field(request, name, problem);
    let sku_id = canonical_id(&body.sku_id).ok_or_else(|| field("sku_id", "must be a SKU id".into()))?;
    state.rules.quantity(body.quantity).map_err(|problem| field("quantity", problem))?;
    state.rules.text(&body.reason, 1, MAX_REASON).map_err(|problem| field("reason", problem))?;
    state.rules.text(&body.description, 0, MAX_DESCRIPTION).map_err(|problem| field("description", problem))?;
    let RequestReturn { quantity, reason, description, .. } = body;
    Ok(ReturnWish { sku_id: SkuId(sku_id), quantity, reason, description })
}

/// The return requests of an order, oldest first.
#[utoipa::path(tag = "v1", params(("order_sn" = String, Path)),
    responses((status = 200, description = "the requests", body = Page<ReturnV1>), (status = 404, description = "absent or another user's")))]
#[get("/api/v1/orders/{order_sn}/returns")]
pub(super) async fn returns(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    state.order_of(&request, login.0.user_id, &order_sn).await?;
    let rows = state.read(&request, state.store.returns_of(&order_sn)).await?;
    Ok(private(Page::whole(rows.into_iter().map(ReturnV1::from).collect())))
}
