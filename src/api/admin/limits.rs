//! The limits that are in force, and how much of them is used.

use actix_web::{HttpResponse, get, web};
use serde::Serialize;

use crate::api::State;
use crate::api::extract::{Query, Service};
use crate::api::pages::NoQuery;

/// The limits of this node.
#[derive(Serialize, utoipa::ToSchema)]
struct LimitsV1 {
    /// Requests of one address.
    per_ip: String,
    /// Requests of one user.
    per_user: String,
    /// Attempts of one user.
    seckill_per_user: String,
    /// Attempts of one user at one sale; 0 is any number.
    attempts_per_sale: u32,
    /// Units of one SKU in an order.
    max_quantity: u32,
    /// SKUs in an order.
    max_lines: usize,
    /// Requests in work on this node, at most.
    max_in_flight: usize,
    /// Requests in work on this node now.
    in_flight: usize,
}

/// The limits of this node. They are configuration: a change needs a restart.
#[utoipa::path(tag = "admin", responses((status = 200, description = "the limits", body = LimitsV1)))]
#[get("/admin/v1/limits")]
pub(super) async fn get(state: web::Data<State>, _service: Service, _query: Query<NoQuery>) -> HttpResponse {
    let limits = state.limits.configured();
    HttpResponse::Ok().json(LimitsV1 {
        per_ip: limits.per_ip.to_string(),
        per_user: limits.per_user.to_string(),
        seckill_per_user: limits.seckill_per_user.to_string(),
        attempts_per_sale: limits.attempts_per_sale,
        max_quantity: limits.max_quantity,
        max_lines: limits.max_lines,
        max_in_flight: state.admission.max_in_flight(),
        in_flight: state.admission.in_flight(),
    })
}
