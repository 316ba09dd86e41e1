//! The references: a bare actix-web route, and the least that a logged-in route of this server does.

use actix_web::http::header::{CONTENT_TYPE, HeaderValue};
use actix_web::{App, HttpResponse, HttpServer, web};
use anyhow::Context;
use seckill::api::extract::Login;
use seckill::app::PublicSide;

/// A fixed JSON answer; as long as the refusal that it is compared with.
pub const BODY: &str = r#"{"code":1,"msg":"sold out, thank you for coming","data":null}"#;

fn answer() -> HttpResponse {
    let json = (CONTENT_TYPE, HeaderValue::from_static("application/json"));
    HttpResponse::Ok().insert_header(json).body(BODY)
}

/// `/bare`.
pub fn bare(config: &mut web::ServiceConfig) {
    config.route("/bare", web::to(|| async { answer() }));
}

/// `/login`, behind what every request of the public listener passes.
pub fn logged_in(public: &PublicSide, config: &mut web::ServiceConfig) {
    let scope = web::scope("/login").wrap(public.guard.clone()).app_data(public.state.clone());
    config.service(scope.route("", web::to(|_: Login| async { answer() })));
}

/// Starts the listener.
pub fn start(address: &str, workers: usize, public: &PublicSide) -> anyhow::Result<()> {
    let public = public.clone();
    let app = move || App::new().configure(bare).configure(|config| logged_in(&public, config));
    let server = HttpServer::new(app).disable_signals().workers(workers).bind(address).context("--bare")?;
    for address in server.addrs() {
        println!("  bare      http://{address}/bare");
    }
    actix_web::rt::spawn(server.run());
    Ok(())
}
