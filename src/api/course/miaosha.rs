//! GET and POST /miaosha/{skuId}, GET /miaosha/pay.

use actix_web::http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, get, post, web};
use actors::domain::order::OrderStatus;
use actors::domain::reject::{Failure, Reject};
use actors::domain::{OrderSn, SkuId};
use actors::flash_sale::{Attempt, AttemptStatus, Gate, PathTokenFault};
use serde::Deserialize;

use super::shapes::{OrderSubmitResponse, ToVerify, Won, canonical_id};
use super::{answer, success};
use crate::api::State;
use crate::api::error::{ApiError, Kind};
use crate::api::extract::{LoginToChange, Query, identify, state};
use crate::api::v1::challenge_path;
use crate::limits::release_permit;

/// Buys one unit in the SKU's flash sale (the course's GET).
#[utoipa::path(tag = "course", params(("sku_id" = String, Path), ("Seckill-Path-Token" = Option<String>, Header)),
    responses((status = 200, description = "code 0 with data.orderSn, or code 1 with the reason in msg")))]
#[get("/miaosha/{sku_id}")]
pub(super) async fn buy_get(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    buy(&request).await
}

/// Buys one unit in the SKU's flash sale.
#[utoipa::path(tag = "course", params(("sku_id" = String, Path), ("Seckill-Path-Token" = Option<String>, Header)),
    responses((status = 200, description = "code 0 with data.orderSn, or code 1 with the reason in msg")))]
#[post("/miaosha/{sku_id}")]
pub(super) async fn buy_post(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    buy(&request).await
}

/// The same under the order service's prefix.
#[utoipa::path(tag = "course", params(("sku_id" = String, Path), ("Seckill-Path-Token" = Option<String>, Header)),
    responses((status = 200, description = "as /miaosha/{sku_id}")))]
#[get("/order/miaosha/{sku_id}")]
pub(super) async fn order_buy_get(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    buy(&request).await
}

/// The same under the order service's prefix.
#[utoipa::path(tag = "course", params(("sku_id" = String, Path), ("Seckill-Path-Token" = Option<String>, Header)),
    responses((status = 200, description = "as /miaosha/{sku_id}")))]
#[post("/order/miaosha/{sku_id}")]
pub(super) async fn order_buy_post(request: HttpRequest) -> Result<HttpResponse, ApiError> {
    buy(&request).await
}

/// The hottest path of the server: the SKU is read from the path in place, the state without a count of its users.
async fn buy(request: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let state = state(request);
    let buyer = identify(request, true)?;
    let sku_id = canonical_id(request.match_info().query("sku_id"));
    let sku_id = sku_id.ok_or_else(|| ApiError::field(request, "skuId", "must be a SKU id"))?;
    let gate = state
        .sales
        .gate_of_sku(SkuId(sku_id))
        .ok_or_else(|| ApiError::new(request, Kind::NotFound).detail("no flash sale of this SKU"))?;
    Ok(said(&gate, &state.try_to_win(request, &gate, buyer.user_id, None).await?))
}

fn said(gate: &Gate, attempt: &Attempt) -> HttpResponse {
    match attempt {
        Attempt::Won(order_sn) => answer(0, &format!("秒杀成功，订单号：{order_sn}"), Won { order_sn }),
        Attempt::AlreadyWon(order_sn) => answer(1, "您已参与过本次秒杀", Won { order_sn }),
        Attempt::SoldOut => refusal(r#"{"code":1,"msg":"秒杀失败，欢迎再次秒杀！","data":null}"#),
        Attempt::NotStarted | Attempt::Paused => refusal(r#"{"code":1,"msg":"秒杀尚未开始！","data":null}"#),
        Attempt::Ended => refusal(r#"{"code":1,"msg":"秒杀结束！","data":null}"#),
        Attempt::ChallengeRequired(fault) => to_verify(gate, *fault),
    }
}

fn to_verify(gate: &Gate, fault: PathTokenFault) -> HttpResponse {
    answer(1, "请先完成验证！", ToVerify { challenge: challenge_path(gate.sale_id()), reason: fault.name() })
}

/// Refusals are the bulk of a sale's traffic: a static body, nothing built.
fn refusal(body: &'static str) -> HttpResponse {
    HttpResponse::Ok().insert_header(JSON).insert_header(NO_STORE).body(body)
}

const JSON: (HeaderName, HeaderValue) = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
const NO_STORE: (HeaderName, HeaderValue) = (CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// Query of GET /miaosha/pay.
#[derive(Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
struct PayQuery {
    /// The winner's order number.
    #[serde(rename = "orderSn")]
    order_sn: String,
}

/// Waits for the winner's order, at most 10 s, and hands out its pay form.
#[utoipa::path(tag = "course", params(PayQuery),
    responses((status = 200, description = "data.code: null with payForm; 6 still being made; 4 failed", body = OrderSubmitResponse)))]
#[get("/miaosha/pay")]
pub(super) async fn pay(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    query: Query<PayQuery>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = OrderSn::parse(&query.0.order_sn).ok_or_else(|| ApiError::new(&request, Kind::NotFound))?;
    // Waiters have a bound of their own; they must not fill the node's admission.
    release_permit(&request);
    let status = state
        .sales
        .wait(login.0.user_id, &order_sn, state.long_poll)
        .await
        .map_err(|failure| ApiError::from_failure(&request, failure))?;
    match status {
        AttemptStatus::Unknown => Err(ApiError::new(&request, Kind::NotFound)),
        AttemptStatus::Pending => Ok(answer(0, "订单生成中", OrderSubmitResponse::code(6))),
        AttemptStatus::Failed(reason) => Ok(answer(0, &reason, OrderSubmitResponse::code(4))),
        AttemptStatus::Ordered => ordered(&request, &state, &login, &order_sn).await,
    }
}

async fn ordered(
    request: &HttpRequest,
    state: &State,
    login: &LoginToChange,
    order_sn: &OrderSn,
) -> Result<HttpResponse, ApiError> {
    let order = state.order_of(request, login.0.user_id, order_sn).await?;
    let mut response = OrderSubmitResponse::order(&order, None);
    if order.status == OrderStatus::AwaitingPayment {
        match state.orders.pay_page_of(&order).await {
            Ok(form) => response.pay_form = Some(form),
            // The order changed between the two reads, or its time is over: it is shown without a form.
            Err(Failure::Rejected(Reject::WrongState(_) | Reject::PaymentLapsed)) => {}
            Err(failure) => return Err(ApiError::from_failure(request, failure)),
        }
    }
    Ok(success(response))
}
