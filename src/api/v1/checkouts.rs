//! Checkouts: what an order would cost, and the token to place it with. Nothing is stored.

use actix_web::{HttpRequest, HttpResponse, post, web};
use actors::domain::Money;
use actors::order::Confirmation;
use actors::ports::store::Address;
use serde::{Deserialize, Serialize};

use super::shapes::{CURRENCY, ReceiverV1};
use super::wishes::{self, Line};
use crate::api::State;
use crate::api::error::ApiError;
use crate::api::extract::{Body, LoginToChange};

/// What the buyer wants.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
struct CheckoutBody {
    /// Distinct SKUs.
    #[schema(min_items = 1, max_items = 50)]
    items: Vec<Line>,
}

/// A checkout.
#[derive(Serialize, utoipa::ToSchema)]
struct CheckoutV1 {
    /// To be sent with the order, once.
    checkout_token: String,
    items: Vec<CheckoutItemV1>,
    /// To be sent with the order.
    total_amount: String,
    currency: &'static str,
    /// The member's addresses, the default one first.
    addresses: Vec<AddressV1>,
    /// The member's points.
    points: i64,
}

/// A line at today's price.
#[derive(Serialize, utoipa::ToSchema)]
struct CheckoutItemV1 {
    sku_id: String,
    title: String,
    image: String,
    price: String,
    quantity: u32,
}

/// An address of the member.
#[derive(Serialize, utoipa::ToSchema)]
struct AddressV1 {
    id: String,
    is_default: bool,
    receiver: ReceiverV1,
}

impl From<Address> for AddressV1 {
    fn from(address: Address) -> Self {
        Self { id: address.id.to_string(), is_default: address.is_default, receiver: address.receiver.into() }
    }
}

impl CheckoutV1 {
    fn new(confirmation: Confirmation) -> Self {
        let total = confirmation.total().unwrap_or(Money::ZERO);
        let items = confirmation.items.into_iter().map(|(sku, quantity)| CheckoutItemV1 {
            sku_id: sku.sku_id.to_string(),
            title: sku.title,
            image: sku.image,
            price: sku.price.to_string(),
            quantity,
        });
        Self {
            checkout_token: confirmation.token,
            items: items.collect(),
            total_amount: total.to_string(),
            currency: CURRENCY,
            addresses: confirmation.addresses.into_iter().map(AddressV1::from).collect(),
            points: confirmation.points,
        }
    }
}

/// Prices, addresses and points for what the buyer wants, and a token for the order.
#[utoipa::path(tag = "v1", request_body = CheckoutBody,
    responses((status = 200, description = "the checkout", body = CheckoutV1), (status = 404, description = "no such SKU")))]
#[post("/api/v1/checkouts")]
pub(super) async fn create(
    request: HttpRequest,
    state: web::Data<State>,
    login: LoginToChange,
    body: Body<CheckoutBody>,
) -> Result<HttpResponse, ApiError> {
    let wants = wishes::lines(&request, &state.rules, &body.0.items, state.rules.max_quantity)?;
    let confirmation = state.orders.confirm(login.0.user_id, &wants).await;
    let confirmation = confirmation.map_err(|failure| ApiError::from_failure(&request, failure))?;
    Ok(HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(CheckoutV1::new(confirmation)))
}
