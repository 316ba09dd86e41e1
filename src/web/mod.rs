//! The plain buyer page: log in as a demo buyer, see the sale, buy, pay, come back, see the order.
//!
//! The pages are the same for everyone, so that any cache in front may keep them; what belongs to one buyer comes
//! by JSON. Assets carry the hash of their content in their name and never change under that name.

mod site;
#[cfg(test)]
mod tests;

pub use site::{BadGatewayUrl, Site};

use actix_web::guard::{self, Guard};
use actix_web::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, ETAG, EntityTag, Header, HeaderName, IfNoneMatch, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder, web};
use site::Document;
use std::sync::LazyLock;

/// What is served when the application has no [`Site`] of its own: pay forms may then only go to this server.
static WITHOUT_GATEWAY: LazyLock<Site> = LazyLock::new(Site::without_gateway);

/// Keeps windows that this page opens, or was opened by, out of its reach.
const CROSS_ORIGIN_OPENER_POLICY: HeaderName = HeaderName::from_static("cross-origin-opener-policy");

/// Serves the pages and their assets to GET and HEAD.
///
/// Give the application `web::Data<Site>` (made once, outside the factory) when the pay form leads to another origin;
/// otherwise the content security policy stops it.
pub fn configure(cfg: &mut web::ServiceConfig) {
    for path in site::page_paths() {
        cfg.service(read_only(web::resource(path), page));
    }
    cfg.service(read_only(web::resource("/assets/{name}"), asset));
    cfg.service(read_only(web::resource("/favicon.ico"), favicon));
}

/// GET and HEAD go to `handler`, any other method is told so.
fn read_only<F, Args>(resource: actix_web::Resource, handler: F) -> actix_web::Resource
where
    F: actix_web::Handler<Args>,
    Args: actix_web::FromRequest + 'static,
    F::Output: actix_web::Responder + 'static,
{
    resource.route(web::route().guard(get_or_head()).to(handler)).default_service(web::to(|| async {
        HttpResponse::MethodNotAllowed().insert_header((ALLOW, "GET, HEAD")).finish()
    }))
}

fn get_or_head() -> impl Guard {
    guard::Any(guard::Get()).or(guard::Head())
}

async fn page(request: HttpRequest) -> HttpResponse {
    let site = site_of(&request);
    answer(&request, site, site.page(request.path()))
}

async fn asset(request: HttpRequest) -> HttpResponse {
    let site = site_of(&request);
    answer(&request, site, site.asset(request.match_info().query("name")))
}

/// Browsers ask for this name on pages that name no icon, such as plain JSON.
async fn favicon(request: HttpRequest) -> HttpResponse {
    let site = site_of(&request);
    answer(&request, site, site.favicon())
}

fn site_of(request: &HttpRequest) -> &Site {
    match request.app_data::<web::Data<Site>>() {
        Some(site) => site.get_ref(),
        None => &WITHOUT_GATEWAY,
    }
}

fn answer(request: &HttpRequest, site: &Site, document: Option<&Document>) -> HttpResponse {
    let Some(document) = document else {
        return guarded(HttpResponse::NotFound(), site)
            .insert_header((CACHE_CONTROL, "no-store"))
            .content_type("text/plain; charset=utf-8")
            .body("not found\n");
    };
    if holds(request, document.etag()) {
        return described(HttpResponse::NotModified(), site, document).finish();
    }
    described(HttpResponse::Ok(), site, document).content_type(document.content_type()).body(document.body())
}

/// Whether the client's copy is this one. A header that cannot be read asks for the whole document.
fn holds(request: &HttpRequest, etag: &EntityTag) -> bool {
    match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => true,
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|tag| tag.weak_eq(etag)),
        Err(_) => false,
    }
}

/// What a 200 and its 304 have in common.
fn described(builder: HttpResponseBuilder, site: &Site, document: &Document) -> HttpResponseBuilder {
    let mut builder = guarded(builder, site);
    builder.insert_header((ETAG, document.etag().to_string())).insert_header((CACHE_CONTROL, document.cache_control()));
    builder
}

/// What every answer of this module carries.
fn guarded(mut builder: HttpResponseBuilder, site: &Site) -> HttpResponseBuilder {
    builder
        .insert_header((CONTENT_SECURITY_POLICY, site.policy().clone()))
        .insert_header((X_CONTENT_TYPE_OPTIONS, "nosniff"))
        .insert_header((X_FRAME_OPTIONS, "DENY"))
        .insert_header((REFERRER_POLICY, "same-origin"))
        .insert_header((CROSS_ORIGIN_OPENER_POLICY, "same-origin"));
    builder
}
