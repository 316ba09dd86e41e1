//! The OpenAPI documents of the two listeners, collected from the routes themselves, so that none can be forgotten.

use std::collections::HashMap;
use std::sync::LazyLock;

use actix_web::{App, HttpResponse, get};
use serde_json::Value;
use utoipa::openapi::{Info, OpenApi};
use utoipa_actix_web::AppExt;
use utoipa_actix_web::service_config::ServiceConfig;

use super::problems;

/// A listener's document.
struct Document {
    json: Value,
    text: String,
}

static PUBLIC: LazyLock<Document> = LazyLock::new(|| {
    let (title, what) = ("Seckill", "Flash-sale and order server: REST v1 and the course's paths.");
    Document::new(collected(super::public, title, what), problems::Login::Buyer)
});

static INTERNAL: LazyLock<Document> = LazyLock::new(|| {
    let (title, what) = ("Seckill, internal", "For other services and staff: never offered to the internet.");
    Document::new(collected(super::internal, title, what), problems::Login::Service)
});

/// The methods of each path of both listeners, as `Allow` says them.
static METHODS: LazyLock<HashMap<String, String>> = LazyLock::new(|| {
    let paths = [&PUBLIC.json, &INTERNAL.json].into_iter().filter_map(|document| document["paths"].as_object());
    paths.flatten().map(|(path, item)| (path.clone(), methods(item))).collect()
});

impl Document {
    fn new(document: OpenApi, login: problems::Login) -> Self {
        let mut json = serde_json::to_value(document).unwrap_or_default();
        problems::complete(&mut json, login);
        let text = format!("{json:#}\n");
        Self { json, text }
    }
}

fn collected(routes: fn(&mut ServiceConfig), title: &str, description: &str) -> OpenApi {
    let (_, mut api) = App::new().into_utoipa_app().configure(routes).split_for_parts();
    api.info = Info::new(title, env!("CARGO_PKG_VERSION"));
    api.info.description = Some(description.into());
    api
}

fn methods(item: &Value) -> String {
    let named = ["get", "post", "put", "patch", "delete"].into_iter().filter(|name| item.get(name).is_some());
    named.map(str::to_uppercase).collect::<Vec<_>>().join(", ")
}

/// The methods of a route's pattern; `None` for a path that is in no document.
pub(super) fn methods_of(pattern: &str) -> Option<&'static str> {
    METHODS.get(pattern).map(String::as_str)
}

/// The document of the public listener.
pub fn public_document_json() -> &'static str {
    &PUBLIC.text
}

/// The document of the internal listener.
pub fn internal_document_json() -> &'static str {
    &INTERNAL.text
}

/// The OpenAPI 3.1 document of this listener.
#[utoipa::path(tag = "operation", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)))]
#[get("/openapi.json")]
pub(super) async fn serve_public() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(public_document_json())
}

/// The OpenAPI 3.1 document of this listener.
#[utoipa::path(tag = "operation", responses((status = 200, description = "OpenAPI 3.1", content_type = "application/json", body = Object)))]
#[get("/openapi.json")]
pub(super) async fn serve_internal() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(internal_document_json())
}
