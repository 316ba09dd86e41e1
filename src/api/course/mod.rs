//! The founding text's paths on the public listener: confirm, submit, notify, miaosha. Thin: parse, call, say.

mod miaosha;
pub mod order;
pub mod shapes;

use actix_web::HttpResponse;
use serde::Serialize;
use utoipa_actix_web::service_config::ServiceConfig;

/// The routes, mounted at the root and under `/api` (the course's gateway).
pub fn routes(config: &mut ServiceConfig) {
    config
        .service(miaosha::pay)
        // Else another method on it would be a purchase of the SKU `pay`.
        .route("/miaosha/pay", actix_web::web::route().to(super::not_found))
        .service(miaosha::buy_post)
        .service(miaosha::buy_get)
        .service(order::confirm)
        .service(order::submit)
        .service(order::alipay_notify)
        .service(miaosha::order_buy_get)
        .service(miaosha::order_buy_post);
}

/// `{"code","msg","data"}`
#[derive(Serialize)]
pub struct Envelope<'a, T> {
    /// 0: done; 1: refused.
    pub code: u16,
    /// `success`, or why not.
    pub msg: &'a str,
    /// The answer.
    pub data: T,
}

/// Code 0.
pub fn success<T: Serialize>(data: T) -> HttpResponse {
    answer(0, "success", data)
}

/// Any code with HTTP 200: business refusals of the course's paths.
pub fn answer<T: Serialize>(code: u16, msg: &str, data: T) -> HttpResponse {
    HttpResponse::Ok().insert_header(("cache-control", "no-store")).json(Envelope { code, msg, data })
}
