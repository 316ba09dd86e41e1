//! Payments of a buyer's order: the pay page, and the money that arrived.

use actix_web::{HttpRequest, HttpResponse, get, post, web};
use serde::Serialize;

use super::order_sn;
use super::return_shapes::PaymentV1;
use super::shapes::Page;
use crate::api::State;
use crate::api::error::ApiError;
use crate::api::extract::{Login, LoginToChange, Query};
use crate::api::pages::NoQuery;

/// A pay page.
#[derive(Serialize, utoipa::ToSchema)]
struct PayPageV1 {
    /// HTML of a form that posts itself to the cashier.
    pay_form: String,
}

/// Opens the pay page of an unpaid order; asking again gives another form for the same trade.
#[utoipa::path(tag = "v1", params(("order_sn" = String, Path)),
    responses((status = 201, description = "the pay form", body = PayPageV1), (status = 404, description = "absent or another user's"),
        (status = 409, description = "not unpaid any more"), (status = 410, description = "the time to pay is over")))]
#[post("/api/v1/orders/{order_sn}/payments")]
pub(super) async fn create(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let pay_form = state.orders.issue_pay_page(login.0.user_id, &order_sn).await;
    let pay_form = pay_form.map_err(|failure| ApiError::from_failure(&request, failure))?;
    Ok(HttpResponse::Created().insert_header(("cache-control", "no-store")).json(PayPageV1 { pay_form }))
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
