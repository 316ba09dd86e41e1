//! REST v1: JSON, RFC 3339 times, money as decimal strings, ids as strings, RFC 9457 errors (DESIGN section 6).

mod after_sale;
mod attempts;
mod cart;
mod catalog;
mod challenges;
mod checkouts;
mod events;
mod flash_sales;
pub(in crate::api) mod orders;
mod payments;
mod receiver;
pub(in crate::api) mod return_shapes;
pub mod shapes;
pub mod wishes;

use actix_web::HttpRequest;
use actors::domain::{OrderSn, SaleId};
use utoipa_actix_web::service_config::ServiceConfig;

use super::error::{ApiError, Kind};

/// The routes.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(attempts::attempt)
        .service(catalog::time)
        .service(catalog::skus)
        .service(catalog::me)
        .service(flash_sales::list)
        .service(flash_sales::get)
        .service(challenges::get)
        .service(challenges::solve)
        .service(attempts::get_status)
        .service(events::events)
        .service(cart::get)
        .service(cart::put)
        .service(cart::delete)
        .service(checkouts::create)
        .service(orders::create)
        .service(orders::list)
        // Before the numbers: it is none.
        .service(orders::counts)
        .service(orders::get)
        .service(orders::history)
        .service(orders::cancel)
        .service(receiver::patch)
        .service(payments::create)
        .service(payments::list)
        .service(payments::get)
        .service(after_sale::receive)
        .service(after_sale::refunds)
        .service(after_sale::request_return)
        .service(after_sale::returns);
}

/// Where the challenge of a sale is.
pub(in crate::api) fn challenge_path(sale_id: SaleId) -> String {
    format!("/api/v1/flash-sales/{sale_id}/challenge")
}

/// An order number of the path; malformed, absent and another's must not be told apart (R24).
pub(in crate::api) fn order_sn(request: &HttpRequest, text: &str) -> Result<OrderSn, ApiError> {
    OrderSn::parse(text).ok_or_else(|| ApiError::new(request, Kind::NotFound))
}
