//! Payments of a buyer's order: the pay page, and the money that arrived.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::Serialize;

use super::order_sn;
use super::return_shapes::PaymentV1;
use super::shapes::Page;
use crate::api::State;
use crate::api::error::{ApiError, Kind};
use crate::api::extract::{Login, LoginToChange, Query};
use crate::api::keys::{Key, note_replay};
use crate::api::pages::NoQuery;

/// A pay page.
#[derive(Serialize, utoipa::ToSchema)]
struct PayPageV1 {
    /// HTML of a form that posts itself to the cashier.
    pay_form: String,
}

/// Opens the pay page of an unpaid order. Every form of an order is for the same trade; the same key gives the same form.
#[utoipa::path(tag = "v1",
    params(("order_sn" = String, Path), ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters, good for 24 hours")),
    responses((status = 201, description = "the pay form", body = PayPageV1), (status = 404, description = "absent or another user's"),
        (status = 409, description = "not unpaid any more"), (status = 410, description = "the time to pay is over"),
        (status = 422, description = "the key was used for another request")))]
#[post("/api/v1/orders/{order_sn}/payments")]
pub(super) async fn create(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    path: web::Path<String>,
    key: Key,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let issued = state.orders.issue_pay_page_once(login.0.user_id, &order_sn, key.0).await;
    let issued = issued.map_err(|failure| ApiError::from_failure(&request, failure))?;
    let mut response = HttpResponse::Created();
    note_replay(&mut response, issued.is_replayed);
    response.insert_header(("location", format!("/api/v1/orders/{order_sn}/payments")));
    Ok(response.insert_header(("cache-control", "no-store")).json(PayPageV1 { pay_form: issued.value }))
}

/// The payments of an order, oldest first.
#[utoipa::path(tag = "v1", params(("order_sn" = String, Path)),
    responses((status = 200, description = "the payments", body = Page<PaymentV1>), (status = 404, description = "absent or another user's")))]
#[get("/api/v1/orders/{order_sn}/payments")]
pub(super) async fn list(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    path: web::Path<String>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    state.order_of(&request, login.0.user_id, &order_sn).await?;
    let rows = state.read(&request, state.store.payments_of(&order_sn)).await?;
    let page = Page::whole(rows.into_iter().map(PaymentV1::from).collect());
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(page))
}

/// One payment of an order.
#[utoipa::path(tag = "v1", params(("order_sn" = String, Path), ("trade_no" = String, Path)),
    responses((status = 200, description = "the payment", body = PaymentV1), (status = 404, description = "absent or another user's")))]
#[get("/api/v1/orders/{order_sn}/payments/{trade_no}")]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    path: web::Path<(String, String)>,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    let (order_sn, trade_no) = (self::order_sn(&request, &path.0)?, path.1.as_str());
    state.order_of(&request, login.0.user_id, &order_sn).await?;
    let rows = state.read(&request, state.store.payments_of(&order_sn)).await?;
    let row = rows.into_iter().find(|row| row.trade_no.as_str() == trade_no);
    let row = row.ok_or_else(|| ApiError::new(&request, Kind::NotFound))?;
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(PaymentV1::from(row)))
}
