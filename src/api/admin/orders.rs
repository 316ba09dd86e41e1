//! Orders as staff work on them: search, get, ship, close, refund.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actors::domain::order::Order;
use actors::domain::{Money, OrderSn, SkuId, Timestamp, UserId};
use actors::order::{RefundWish, Shipment};
use actors::ports::store::OrderSearch;
use serde::{Deserialize, Serialize};

use crate::api::State;
use crate::api::course::shapes::canonical_id;
use crate::api::error::{ApiError, Kind};
use crate::api::extract::{Body, Query, Service};
use crate::api::pages;
use crate::api::v1::order_sn;
use crate::api::v1::orders::status_named;
use crate::api::v1::return_shapes::{PaymentV1, RefundV1, ReturnV1};
use crate::api::v1::shapes::{HistoryV1, OrderV1, Page};

const MAX_NOTE: usize = 200;
const MAX_DELIVERY: usize = 64;
/// With the order's number it still fits the gateway's `out_request_no`.
const MAX_REFERENCE: usize = 24;

/// An order and its owner.
#[derive(Serialize, utoipa::ToSchema)]
struct AdminOrderV1 {
    #[serde(flatten)]
    order: OrderV1,
    user_id: String,
    username: String,
}

impl From<Order> for AdminOrderV1 {
    fn from(order: Order) -> Self {
        Self { user_id: order.user_id.to_string(), username: order.username.clone(), order: order.into() }
    }
}

/// An order with everything that happened to it.
#[derive(Serialize, utoipa::ToSchema)]
struct OrderFileV1 {
    #[serde(flatten)]
    order: AdminOrderV1,
    payments: Vec<PaymentV1>,
    refunds: Vec<RefundV1>,
    returns: Vec<ReturnV1>,
    history: Vec<HistoryV1>,
}

/// What to look for; all of it must fit.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct SearchQuery {
    /// 1 to 100, 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// From the page before.
    cursor: Option<String>,
    /// Only in this status.
    status: Option<String>,
    /// Only of this member.
    user_id: Option<String>,
    /// Only with this SKU.
    sku_id: Option<String>,
    /// Only made at or after this, RFC 3339.
    created_from: Option<String>,
    /// Only made before this, RFC 3339.
    created_to: Option<String>,
}

/// Orders, newest first.
#[utoipa::path(tag = "admin", params(SearchQuery), responses((status = 200, description = "a page", body = Page<AdminOrderV1>)))]
#[get("/admin/v1/orders")]
pub(super) async fn search(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    query: Query<SearchQuery>,
) -> Result<HttpResponse, ApiError> {
    let mut search = order_search(&request, &query.0)?;
    let limit = search.limit;
    // One more than asked tells whether there is a next page.
    search.limit += 1;
    let orders = state.read(&request, state.store.search_orders(&search)).await?;
    let page = pages::page(orders, limit, |order| order.id.to_string(), AdminOrderV1::from);
    Ok(pages::answer(&request, page, "no-store"))
}

fn order_search(request: &HttpRequest, query: &SearchQuery) -> Result<OrderSearch, ApiError> {
    let id = |name: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => canonical_id(text).map(Some).ok_or_else(|| ApiError::field(request, name, "must be an id")),
    };
    let time = |name: &str, text: &Option<String>| match text {
        None => Ok(None),
        Some(text) => chrono::DateTime::parse_from_rfc3339(text)
            .map(|time| Some(Timestamp(time.timestamp_millis())))
            .map_err(|error| ApiError::field(request, name, error)),
    };
    let status = match &query.status {
        None => None,
        Some(name) => Some(status_named(name).ok_or_else(|| ApiError::field(request, "status", "no such status"))?),
    };
    Ok(OrderSearch {
        status,
        user_id: id("user_id", &query.user_id)?.map(UserId),
        sku_id: id("sku_id", &query.sku_id)?.map(SkuId),
        created_from: time("created_from", &query.created_from)?,
        created_to: time("created_to", &query.created_to)?,
        before: pages::cursor(request, query.cursor.as_deref(), canonical_id)?,
        limit: pages::limit(request, query.limit.as_deref())?,
    })
}

/// One order with its payments, refunds, returns and history.
#[utoipa::path(tag = "admin", params(("order_sn" = String, Path)),
    responses((status = 200, description = "the order", body = OrderFileV1), (status = 404, description = "no such order")))]
#[get("/admin/v1/orders/{order_sn}")]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    Ok(HttpResponse::Ok().json(file_of(&request, &state, &order_sn).await?))
}

async fn file_of(request: &HttpRequest, state: &State, order_sn: &OrderSn) -> Result<OrderFileV1, ApiError> {
    let order = state.read(request, state.store.order(order_sn)).await?;
    let order = order.ok_or_else(|| ApiError::new(request, Kind::NotFound))?;
    let payments = state.read(request, state.store.payments_of(order_sn)).await?;
    let refunds = state.read(request, state.store.refunds_of(order_sn)).await?;
    let returns = state.read(request, state.store.returns_of(order_sn)).await?;
    let history = state.read(request, state.store.order_history(order_sn)).await?;
    Ok(OrderFileV1 {
        order: order.into(),
        payments: payments.into_iter().map(PaymentV1::from).collect(),
        refunds: refunds.into_iter().map(RefundV1::from).collect(),
        returns: returns.into_iter().map(ReturnV1::from).collect(),
        history: history.into_iter().map(HistoryV1::from).collect(),
    })
}

/// A parcel.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ShipV1 {
    /// The carrier.
    delivery_company: String,
    /// Its number of the parcel.
    delivery_sn: String,
    /// For the history.
    #[serde(default)]
    note: String,
}

/// Notes that a paid order was handed to the carrier.
#[utoipa::path(tag = "admin", params(("order_sn" = String, Path)), request_body = ShipV1,
    responses((status = 200, description = "shipped", body = OrderFileV1), (status = 404, description = "no such order"),
        (status = 409, description = "not awaiting shipment")))]
#[post("/admin/v1/orders/{order_sn}/ship")]
pub(super) async fn ship(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    body: Body<ShipV1>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let ShipV1 { delivery_company, delivery_sn, note } = body.0;
    let text = |name: &str, value: &str, min, max| {
        state.rules.text(value, min, max).map_err(|problem| ApiError::field(&request, name, problem))
    };
    text("delivery_company", &delivery_company, 1, MAX_DELIVERY)?;
    text("delivery_sn", &delivery_sn, 1, MAX_DELIVERY)?;
    text("note", &note, 0, MAX_NOTE)?;
    let note = if note.is_empty() { "shipped".to_owned() } else { note };
    let shipped = state.orders.ship(&order_sn, Shipment { delivery_company, delivery_sn, note }).await;
    shipped.map_err(|failure| ApiError::from_failure(&request, failure))?;
    Ok(HttpResponse::Ok().json(file_of(&request, &state, &order_sn).await?))
}

/// Why something is done.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct ReasonV1 {
    /// For the history.
    reason: String,
}

/// Closes an unpaid order; where a pay page was issued the gateway is asked first.
#[utoipa::path(tag = "admin", params(("order_sn" = String, Path)), request_body = ReasonV1,
    responses((status = 200, description = "closed", body = OrderFileV1), (status = 404, description = "no such order"),
        (status = 409, description = "not unpaid any more")))]
#[post("/admin/v1/orders/{order_sn}/close")]
pub(super) async fn close(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    body: Body<ReasonV1>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let ReasonV1 { reason } = body.0;
    state.rules.text(&reason, 1, MAX_NOTE).map_err(|problem| ApiError::field(&request, "reason", problem))?;
    let closed = state.orders.close_by_staff(&order_sn, &reason).await;
    closed.map_err(|failure| ApiError::from_failure(&request, failure))?;
    Ok(HttpResponse::Ok().json(file_of(&request, &state, &order_sn).await?))
}

/// Money to be given back.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct GiveBackV1 {
    /// Yuan with at most two decimals, as text. Absent: all that is left, before shipment, and the order is closed.
    amount: Option<String>,
    /// Names a partial refund within its order, `[A-Za-z0-9_-]{1,24}`: the same again gives nothing twice. Only with, and
    /// needed with, an amount.
    reference: Option<String>,
    /// For the history.
    reason: String,
}

/// Gives money of a paid order back, all of it before shipment or a part at any time.
#[utoipa::path(tag = "admin", params(("order_sn" = String, Path)), request_body = GiveBackV1,
    responses((status = 200, description = "decided; `refunds` tells whether it is confirmed", body = OrderFileV1),
        (status = 404, description = "no such order"),
        (status = 409, description = "elsewhere in its life; more than is left; the reference has another amount")))]
#[post("/admin/v1/orders/{order_sn}/refund")]
pub(super) async fn refund(
    request: HttpRequest,
    state: web::Data<State>,
    _service: Service,
    path: web::Path<String>,
    body: Body<GiveBackV1>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let GiveBackV1 { amount, reference, reason } = body.0;
    state.rules.text(&reason, 1, MAX_NOTE).map_err(|problem| ApiError::field(&request, "reason", problem))?;
    let wish = refund_wish(&request, amount, reference)?;
    let refunded = state.orders.refund_order(&order_sn, wish, reason).await;
    refunded.map_err(|failure| ApiError::from_failure(&request, failure))?;
    Ok(HttpResponse::Ok().json(file_of(&request, &state, &order_sn).await?))
}

fn refund_wish(
    request: &HttpRequest,
    amount: Option<String>,
    reference: Option<String>,
) -> Result<RefundWish, ApiError> {
    let field = |name: &str, problem: &str| ApiError::field(request, name, problem);
    let Some(amount) = amount else {
        return match reference {
            None => Ok(RefundWish::Whole),
            Some(_) => Err(field("reference", "is only for a refund with an amount")),
        };
    };
    let amount = Money::parse(&amount)
        .filter(|amount| *amount > Money::ZERO)
        .ok_or_else(|| field("amount", "must be an amount in yuan above 0 with at most two decimals"))?;
    let reference = reference.ok_or_else(|| field("reference", "is needed with an amount"))?;
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    if !(1..=MAX_REFERENCE).contains(&reference.len()) || !reference.bytes().all(is_name) {
        return Err(field("reference", "must match [A-Za-z0-9_-]{1,24}"));
    }
    Ok(RefundWish::Part { amount, reference })
}
