//! The cart of a logged-in buyer.

use actix_web::{HttpRequest, HttpResponse, delete, get, put, web};
use actors::domain::{SkuId, UserId};
use serde::{Deserialize, Serialize};

use super::shapes::{CURRENCY, Page};
use crate::api::State;
use crate::api::course::shapes::canonical_id;
use crate::api::error::{ApiError, Kind};
use crate::api::extract::{Body, Login, LoginToChange, Query};
use crate::api::pages::NoQuery;

/// A line of the cart at today's price.
#[derive(Serialize, utoipa::ToSchema)]
struct CartLineV1 {
    sku_id: String,
    title: String,
    image: String,
    price: String,
    currency: &'static str,
    quantity: u32,
}

async fn show(request: &HttpRequest, state: &State, user_id: UserId) -> Result<HttpResponse, ApiError> {
    let cart = state.orders.cart(user_id).await.map_err(|failure| ApiError::from_failure(request, failure))?;
    let lines = cart.into_iter().map(|(sku, quantity)| CartLineV1 {
        sku_id: sku.sku_id.to_string(),
        title: sku.title,
        image: sku.image,
        price: sku.price.to_string(),
        currency: CURRENCY,
        quantity,
    });
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(Page::whole(lines.collect())))
}

fn sku_id(request: &HttpRequest, text: &str) -> Result<SkuId, ApiError> {
    canonical_id(text).map(SkuId).ok_or_else(|| ApiError::new(request, Kind::NotFound))
}

/// The cart, by SKU; always whole.
#[utoipa::path(tag = "v1", responses((status = 200, description = "the lines", body = Page<CartLineV1>)))]
#[get("/api/v1/cart")]
pub(super) async fn get(
    request: HttpRequest,
    state: web::Data<State>,
    login: Login,
    _query: Query<NoQuery>,
) -> Result<HttpResponse, ApiError> {
    show(&request, &state, login.0.user_id).await
}

/// How many of a SKU.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CartLineBody {
    /// From now on.
    #[schema(minimum = 1, maximum = 99)]
    quantity: u32,
}

/// Sets how many of a SKU are in the cart.
#[utoipa::path(tag = "v1", params(("sku_id" = String, Path)), request_body = CartLineBody,
    responses((status = 200, description = "the cart now", body = Page<CartLineV1>), (status = 404, description = "no such SKU"),
        (status = 409, description = "the cart is full")))]
#[put("/api/v1/cart/lines/{sku_id}")]
pub(super) async fn put(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    path: web::Path<String>,
    body: Body<CartLineBody>,
) -> Result<HttpResponse, ApiError> {
    let sku_id = sku_id(&request, &path)?;
    let quantity = body.0.quantity;
    state.rules.quantity(quantity).map_err(|problem| ApiError::field(&request, "quantity", problem))?;
    let put = state.orders.put_in_cart(login.0.user_id, sku_id, quantity).await;
    put.map_err(|failure| ApiError::from_failure(&request, failure))?;
    show(&request, &state, login.0.user_id).await
}

/// Takes a SKU out of the cart; one that is not in it is fine.
#[utoipa::path(tag = "v1", params(("sku_id" = String, Path)),
    responses((status = 204, description = "it is not in the cart now"), (status = 404, description = "no SKU id")))]
#[delete("/api/v1/cart/lines/{sku_id}")]
pub(super) async fn delete(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    path: web::Path<String>,
) -> Result<HttpResponse, ApiError> {
    let sku_id = sku_id(&request, &path)?;
    let taken = state.orders.take_out_of_cart(login.0.user_id, sku_id).await;
    taken.map_err(|failure| ApiError::from_failure(&request, failure))?;
    Ok(HttpResponse::NoContent().finish())
}
