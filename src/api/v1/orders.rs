//! A buyer's orders: create, list, count, get, history, cancel.

use std::collections::BTreeMap;

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actors::domain::order::{Order, OrderStatus, PayType};
use actors::domain::reject::Failure;
use actors::domain::{Money, Timestamp};
use actors::order::{Once, SubmitRequest};
use actors::ports::store::{HistoryCursor, OrderFilter, RequestKey};
use serde::{Deserialize, Serialize};

use super::order_sn;
use super::shapes::{HistoryV1, OrderV1, Page};
use super::wishes::{self, Line, ReceiverBody};
use crate::api::State;
use crate::api::error::ApiError;
use crate::api::etag;
use crate::api::extract::{DigestedBody, Login, LoginToChange, Query};
use crate::api::keys::{Key, MaybeKey, note_replay};
use crate::api::pages::{self, NoQuery};

/// An order to be made.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct OrderBody {
    /// From the checkout.
    #[schema(max_length = 255)]
    checkout_token: String,
    /// The total that the buyer saw.
    #[schema(pattern = r"^\d{1,9}(\.\d{1,2})?$", example = "10000.00")]
    total_amount: String,
    /// `online` or `cash_on_delivery`.
    #[serde(default)]
    pay_type: PayTypeBody,
    /// Distinct SKUs.
    #[schema(min_items = 1, max_items = 50)]
    items: Vec<Line>,
    /// Where it goes.
    receiver: ReceiverBody,
    /// Carrier wish.
    #[serde(default)]
    #[schema(max_length = 64)]
    delivery_company: Option<String>,
}

/// How an order is paid.
#[derive(Clone, Copy, Default, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
enum PayTypeBody {
    /// Through the gateway.
    #[default]
    Online,
    /// At the door.
    CashOnDelivery,
}

impl OrderBody {
    fn checked(self, request: &HttpRequest, state: &State) -> Result<SubmitRequest, ApiError> {
        let rules = &state.rules;
        let field = |name: &str, problem: String| ApiError::field(request, name, problem);
        let total = Money::parse(&self.total_amount);
        let total =
            total.ok_or_else(|| field("total_amount", "must be an amount in yuan, at most two decimals".into()))?;
        rules.text(&self.checkout_token, 1, 255).map_err(|problem| field("checkout_token", problem))?;
        let delivery_company = self.delivery_company.unwrap_or_default();
        rules.text(&delivery_company, 0, 64).map_err(|problem| field("delivery_company", problem))?;
        Ok(SubmitRequest {
            token: self.checkout_token,
            wants: wishes::lines(request, rules, &self.items, rules.max_quantity)?,
            total,
            pay_type: match self.pay_type {
                PayTypeBody::Online => PayType::Online,
                PayTypeBody::CashOnDelivery => PayType::CashOnDelivery,
            },
            delivery_company,
            receiver: self.receiver.checked(request, rules, "receiver.")?,
            with_pay_page: false,
        })
    }
}

/// Makes an order, once for each `Idempotency-Key`: the same request again gets the first answer, with
/// `Idempotency-Replayed: true`. A refusal makes nothing and leaves the key free.
#[utoipa::path(tag = "v1", request_body = OrderBody,
    params(("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters, good for 24 hours")),
    responses((status = 201, description = "the order, as it was made", body = OrderV1,
            headers(("Location" = String, description = "the order"))),
        (status = 404, description = "no such SKU"),
        (status = 409, description = "token used or lapsed, price changed, stock short, or the key is in work"),
        (status = 422, description = "the key was used for another request")))]
#[post("/api/v1/orders")]
pub(super) async fn create(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    key: Key,
    body: DigestedBody<OrderBody>,
) -> Result<HttpResponse, ApiError> {
    let key = RequestKey { operation: "orders", key: key.0, digest: body.digest };
    let submit = body.value.checked(&request, &state)?;
    let created = state.orders.create(&login.0, key, submit).await;
    let created = created.map_err(|failure| ApiError::from_failure(&request, failure))?;
    let mut response = HttpResponse::Created();
    note_replay(&mut response, created.is_replayed);
    Ok(response
        .insert_header(("location", format!("/api/v1/orders/{}", created.value.order_sn)))
        .insert_header(("cache-control", "no-store"))
        .json(OrderV1::from(created.value)))
}

/// Query of the list.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct ListQuery {
    /// 1 to 100, 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    limit: Option<String>,
    /// From the page before.
    cursor: Option<String>,
    /// Only in this status.
    #[param(pattern = "^(awaiting_payment|awaiting_shipment|shipped|completed|closed|void)$")]
    status: Option<String>,
}

/// Own orders, newest first.
#[utoipa::path(tag = "v1", params(ListQuery), responses((status = 200, description = "a page", body = Page<OrderV1>)))]
#[get("/api/v1/orders")]
pub(super) async fn list(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    query: Query<ListQuery>,
) -> Result<HttpResponse, ApiError> {
    let limit = pages::limit(&request, query.0.limit.as_deref())?;
    let before = pages::cursor(&request, query.0.cursor.as_deref(), read_place)?;
    let status = match &query.0.status {
        None => None,
        Some(name) => Some(status_named(name).ok_or_else(|| ApiError::field(&request, "status", "no such status"))?),
    };
    let filter = OrderFilter { status, before, limit: limit + 1 };
    let orders = state.read(&request, state.store.orders_of(login.0.user_id, &filter)).await?;
    Ok(pages::answer(&request, pages::page(orders, limit, place, OrderV1::from), "no-store"))
}

/// How many orders of each status.
#[derive(Serialize, utoipa::ToSchema)]
struct CountsV1 {
    /// Every status, by its name.
    counts: BTreeMap<&'static str, u64>,
}

/// How many of the buyer's orders are in each status.
#[utoipa::path(tag = "v1", responses((status = 200, description = "every status with its number", body = CountsV1)))]
#[get("/api/v1/orders/counts")]
pub(super) async fn counts(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let found = state.read(&request, state.store.order_counts(login.0.user_id)).await?;
    let mut counts: BTreeMap<_, _> = OrderStatus::ALL.into_iter().map(|status| (status.name(), 0)).collect();
    counts.extend(found.into_iter().map(|(status, orders)| (status.name(), orders)));
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(CountsV1 { counts }))
}

pub(in crate::api) fn status_named(name: &str) -> Option<OrderStatus> {
    OrderStatus::ALL.into_iter().find(|status| status.name() == name)
}

fn place(order: &Order) -> String {
    format!("{}:{}", order.created_at.0, order.id)
}

fn read_place(text: &str) -> Option<HistoryCursor> {
    let (created_at, id) = text.split_once(':')?;
    Some(HistoryCursor { created_at: Timestamp(created_at.parse().ok()?), id: id.parse().ok()? })
}

/// One order. Its ETag is good for `If-None-Match` and `If-Match`.
#[utoipa::path(tag = "v1", params(("order_sn" = String, Path)),
    responses((status = 200, description = "the order", body = OrderV1), (status = 304, description = "as the client has it"),
        (status = 404, description = "absent or another user's")))]
#[get("/api/v1/orders/{order_sn}")]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let order = state.order_of(&request, login.0.user_id, &order_sn).await?;
    Ok(etag::answer(&request, &OrderV1::tag(&order), etag::PRIVATE, OrderV1::from(order)))
}

/// What happened to an order, oldest first; its creation is the order itself.
#[utoipa::path(tag = "v1", params(("order_sn" = String, Path)),
    responses((status = 200, description = "the history", body = Page<HistoryV1>), (status = 404, description = "absent or another user's")))]
#[get("/api/v1/orders/{order_sn}/history")]
pub(super) async fn history(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    state.order_of(&request, login.0.user_id, &order_sn).await?;
    let rows = state.read(&request, state.store.order_history(&order_sn)).await?;
    let page = Page::whole(rows.into_iter().map(HistoryV1::from).collect());
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(page))
}

/// Cancels an order that is not on its way. An unpaid one is closed; a paid one is closed and all its money goes back.
#[utoipa::path(tag = "v1",
    params(("order_sn" = String, Path), ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible ASCII characters, good for 24 hours")),
    responses((status = 200, description = "closed", body = OrderV1), (status = 404, description = "absent or another user's"),
        (status = 409, description = "shipped, or over"), (status = 422, description = "the key was used for another request")))]
#[post("/api/v1/orders/{order_sn}/cancel")]
pub(super) async fn cancel(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    path: web::Path<String>,
    key: MaybeKey,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let closed = state.orders.cancel_once(login.0.user_id, &order_sn, key.0).await;
    changed(&request, closed)
}

/// The answer to a change of an order.
pub(super) fn changed(request: &HttpRequest, order: Result<Once<Order>, Failure>) -> Result<HttpResponse, ApiError> {
    let order = order.map_err(|failure| ApiError::from_failure(request, failure))?;
    let mut response = HttpResponse::Ok();
    note_replay(&mut response, order.is_replayed);
    Ok(response.insert_header(("cache-control", "no-store")).json(OrderV1::from(order.value)))
}
