//! `/admin/v1` and `/metrics`, on the internal listener, with the service token.

mod audit;
mod flash_sales;
mod limits;
mod messages;
mod orders;
pub mod reservations;
mod returns;
mod stock;
mod webhooks;

pub use audit::audit_json;
use utoipa_actix_web::service_config::ServiceConfig;

/// The routes.
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(flash_sales::create)
        .service(flash_sales::list)
        .service(flash_sales::get)
        .service(flash_sales::arm)
        .service(flash_sales::pause)
        .service(flash_sales::resume)
        .service(flash_sales::end)
        .service(flash_sales::edit)
        .service(flash_sales::restock)
        .service(stock::get)
        .service(stock::adjust)
        .service(stock::ledger)
        .service(reservations::create)
        .service(reservations::get)
        .service(reservations::confirm)
        .service(reservations::release)
        .service(limits::get)
        .service(audit::run)
        .service(audit::metrics)
        .service(messages::outbox)
        .service(messages::parked)
        .service(messages::replay)
        .service(orders::search)
        .service(orders::get)
        .service(orders::ship)
        .service(orders::close)
        .service(orders::refund)
        .service(returns::list)
        .service(returns::get)
        .service(returns::approve)
        .service(returns::reject)
        .service(returns::receive)
        .service(webhooks::create)
        .service(webhooks::list)
        .service(webhooks::get)
        .service(webhooks::edit)
        .service(webhooks::remove)
        .service(webhooks::rotate)
        .service(webhooks::deliveries)
        .service(webhooks::redeliver);
}
