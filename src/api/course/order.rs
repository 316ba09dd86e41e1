//! POST /order/confirm, /order/submit, /order/pay/alipay/success.

use actix_web::{HttpRequest, HttpResponse, post, web};
use actors::domain::SkuId;
use actors::domain::order::Receiver;
use actors::domain::reject::{Failure, Reject, Unavailable};
use actors::order::{NotifyAnswer, PlacedOrder, SubmitRequest, Submitted};

use super::shapes::{OrderConfirmVo, OrderSubmit, OrderSubmitResponse, Wants};
use super::{answer, success};
use crate::api::State;
use crate::api::error::ApiError;
use crate::api::extract::{Body, LoginToChange, RawBody};
use crate::api::rules::{BadLines, InputRules};

/// Prices, addresses, points and an order token for `{"<skuId>": count}`.
#[utoipa::path(tag = "course", request_body = Wants,
    responses((status = 200, description = "code 0 with the page's data; code 1 with msg naming the SKU", body = OrderConfirmVo)))]
#[post("/order/confirm")]
pub(super) async fn confirm(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    body: Body<Wants>,
) -> Result<HttpResponse, ApiError> {
    let wants = wants(&request, &state.rules, &body.0)?;
    match state.orders.confirm(login.0.user_id, &wants).await {
        Ok(confirmation) => Ok(success(OrderConfirmVo::from(confirmation))),
        Err(Failure::Rejected(Reject::UnknownSku(sku_id))) => Ok(answer(1, &format!("商品[{sku_id}]不存在"), ())),
        Err(failure) => Err(ApiError::from_failure(&request, failure)),
    }
}

fn wants(request: &HttpRequest, rules: &InputRules, wants: &Wants) -> Result<Vec<(SkuId, u32)>, ApiError> {
    if wants.0.is_empty() {
        return Err(ApiError::field(request, "", "no SKU is given"));
    }
    rules.line_count(wants.0.len()).map_err(|problem| ApiError::field(request, "", problem))?;
    for (sku_id, count) in &wants.0 {
        rules.quantity(*count).map_err(|problem| ApiError::field(request, &sku_id.to_string(), problem))?;
    }
    Ok(wants.0.iter().map(|(sku_id, count)| (SkuId(*sku_id), *count)).collect())
}

/// Makes the order of a confirmed page, once per token.
#[utoipa::path(tag = "course", request_body = OrderSubmit,
    responses((status = 200, description = "payType 0: data is the pay form (HTML); payType 1 and refusals: data.code", body = OrderSubmitResponse)))]
#[post("/order/submit")]
pub(super) async fn submit(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    body: Body<OrderSubmit>,
) -> Result<HttpResponse, ApiError> {
    let submit = submit_request(&request, &state.rules, body.0)?;
    let cash_on_delivery = !submit.with_pay_page || submit.pay_type == actors::domain::order::PayType::CashOnDelivery;
    match state.orders.submit(&login.0, submit).await {
        Ok(Submitted::Placed(placed)) if cash_on_delivery => placed_order(&request, &state, &login, &placed).await,
        Ok(Submitted::Placed(placed)) => pay_form(&request, &state, &login, &placed).await,
        Ok(Submitted::Repeated(order)) => Ok(answer(0, "不可重复提交", OrderSubmitResponse::order(&order, Some(1)))),
        Err(failure) => refused(&request, failure),
    }
}

async fn pay_form(
    request: &HttpRequest,
    state: &State,
    login: &LoginToChange,
    placed: &PlacedOrder,
) -> Result<HttpResponse, ApiError> {
    match state.orders.pay_form(placed).await {
        Ok(form) => Ok(success(form)),
        Err(error) => {
            // The order exists; the buyer can ask for the page again.
            tracing::error!(%error, "pay form could not be made");
            placed_order(request, state, login, placed).await
        }
    }
}

async fn placed_order(
    request: &HttpRequest,
    state: &State,
    login: &LoginToChange,
    placed: &PlacedOrder,
) -> Result<HttpResponse, ApiError> {
    let order = state.order_of(request, login.0.user_id, &placed.order_sn).await?;
    Ok(success(OrderSubmitResponse::order(&order, None)))
}

fn refused(request: &HttpRequest, failure: Failure) -> Result<HttpResponse, ApiError> {
    let (code, msg) = match failure {
        Failure::Rejected(Reject::TokenInvalid | Reject::TokenUsed(_)) => (1, "不可重复提交或页面已过期".to_owned()),
        Failure::Rejected(Reject::EmptyOrder) => (2, "订单清单为空".to_owned()),
        Failure::Rejected(Reject::PriceChanged { now }) => (3, format!("价格已变为 {now}")),
        Failure::Rejected(Reject::StockShort(short)) => {
            let skus: Vec<String> = short.iter().map(|shortage| shortage.sku_id.to_string()).collect();
            (4, format!("商品[{}]库存不足", skus.join(", ")))
        }
        Failure::Rejected(Reject::UnknownSku(sku_id)) => (4, format!("商品[{sku_id}]不存在")),
        Failure::Unavailable(Unavailable::Dependency(_)) => (5, "订单保存失败".to_owned()),
        failure => return Err(ApiError::from_failure(request, failure)),
    };
    Ok(answer(0, &msg, OrderSubmitResponse::code(code)))
}

/// Checks the shape and range of a submit.
///
/// # Errors
/// 400 naming the field.
pub fn submit_request(request: &HttpRequest, rules: &InputRules, body: OrderSubmit) -> Result<SubmitRequest, ApiError> {
    let field = |name: &str, problem: String| ApiError::field(request, name, problem);
    let lines: Vec<_> = body.order_items.iter().map(|item| (Some(item.sku_id), item.count)).collect();
    let wants = rules.lines(&lines, rules.max_quantity).map_err(|bad| match bad {
        BadLines::List(problem) => field("orderItems", problem),
        BadLines::Sku(at, problem) => field(&format!("orderItems[{at}].skuId"), problem),
        BadLines::Quantity(at, problem) => field(&format!("orderItems[{at}].count"), problem),
    })?;
    let pay_type = super::shapes::pay_type(body.pay_type)
        .ok_or_else(|| field("payType", "must be 0 (online) or 1 (cash on delivery)".into()))?;
    if !matches!(body.default_status, None | Some(0 | 1)) {
        return Err(field("defaultStatus", "must be 0 or 1".into()));
    }
    let text = |name: &str, value: String, min: usize, max: usize| {
        rules.text(&value, min, max).map_err(|problem| field(name, problem)).map(|()| value)
    };
    text("areacode", body.areacode.unwrap_or_default(), 0, 64)?;
    let receiver = Receiver {
        name: body.name,
        phone: body.phone,
        post_code: body.post_code.unwrap_or_default(),
        province: body.province,
        city: body.city,
        region: body.region.unwrap_or_default(),
        detail_address: body.detail_address,
    };
    rules.receiver(&receiver).map_err(|(name, problem)| match name {
        "post_code" => field("postCode", problem),
        "detail_address" => field("detailAddress", problem),
        name => field(name, problem),
    })?;
    Ok(SubmitRequest {
        token: text("orderToken", body.order_token, 0, 255)?,
        wants,
        total: body.total_price.0,
        pay_type,
        delivery_company: text("delivery_company", body.delivery_company.unwrap_or_default(), 0, 64)?,
        receiver,
        with_pay_page: true,
    })
}

/// Takes a payment notification. No login: the signature is the proof.
#[utoipa::path(tag = "course", request_body(content = Option<std::collections::BTreeMap<String, String>>, content_type = "application/x-www-form-urlencoded"),
    responses((status = 200, description = "`success` or `failure`", body = String, content_type = "text/plain")))]
#[post("/order/pay/alipay/success")]
pub(super) async fn alipay_notify(state: web::Data<State>, body: RawBody) -> HttpResponse {
    match state.orders.take_notification(&body.0).await {
        NotifyAnswer::Success => plain(HttpResponse::Ok(), "success"),
        NotifyAnswer::Failure => plain(HttpResponse::Ok(), "failure"),
        NotifyAnswer::Later => plain(HttpResponse::ServiceUnavailable(), "failure"),
    }
}

fn plain(mut response: actix_web::HttpResponseBuilder, word: &'static str) -> HttpResponse {
    response.content_type("text/plain").body(word)
}
