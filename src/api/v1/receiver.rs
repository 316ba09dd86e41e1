//! Where a buyer's order goes, as long as it is here.

use actix_web::{HttpRequest, HttpResponse, patch, web};

use super::order_sn;
use super::shapes::OrderV1;
use super::wishes::ReceiverBody;
use crate::api::State;
use crate::api::error::{ApiError, Kind};
use crate::api::etag;
use crate::api::extract::{Body, LoginToChange};

/// Sends an order elsewhere, before it is shipped. With `If-Match`, only the version that the ETag names.
#[utoipa::path(tag = "v1", params(("order_sn" = String, Path), ("If-Match" = Option<String>, Header, description = "the order's ETag")),
    request_body = ReceiverBody,
    responses((status = 200, description = "the order now", body = OrderV1), (status = 404, description = "absent or another user's"),
        (status = 409, description = "on its way, or over"), (status = 412, description = "changed meanwhile")))]
#[patch("/api/v1/orders/{order_sn}/receiver")]
pub(super) async fn patch(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    path: web::Path<String>,
    body: Body<ReceiverBody>,
) -> Result<HttpResponse, ApiError> {
    let order_sn = order_sn(&request, &path)?;
    let receiver = body.0.checked(&request, &state.rules, "")?;
    let user_id = login.0.user_id;
    let order = state.order_of(&request, user_id, &order_sn).await?;
    let seen = match etag::matches(&request, &OrderV1::tag(&order))? {
        Some(false) => return Err(ApiError::new(&request, Kind::VersionConflict)),
        Some(true) => Some(order.modified_at),
        None => None,
    };
    let changed = state.orders.set_receiver(user_id, &order_sn, receiver, seen).await;
    changed.map_err(|failure| ApiError::from_failure(&request, failure))?;
    let order = state.order_of(&request, user_id, &order_sn).await?;
    let tag = OrderV1::tag(&order);
    Ok(HttpResponse::Ok()
        .insert_header(("etag", format!("\"{tag}\"")))
        .insert_header(("cache-control", "private, no-cache"))
        .json(OrderV1::from(order)))
}
