//! Lists page by page: how many, from where on, and the cursor of the next page. A cursor names the last row of its page,
//! so rows that arrive meanwhile shift nothing.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use super::v1::shapes::Page;

const DEFAULT_LIMIT: usize = 20;
const MAX_LIMIT: usize = 100;

/// Query of a list.
#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct PageQuery {
    /// 1 to 100, 20 when absent.
    #[param(value_type = Option<u32>, minimum = 1, maximum = 100)]
    pub limit: Option<String>,
    /// From the page before.
    pub cursor: Option<String>,
}

/// Query of nothing: a list that is always whole, or one thing.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoQuery {}

/// How many rows to show.
///
/// # Errors
/// 400 naming `limit`.
pub fn limit(request: &HttpRequest, text: Option<&str>) -> Result<usize, ApiError> {
    let Some(text) = text else { return Ok(DEFAULT_LIMIT) };
    let limit = text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
    limit.ok_or_else(|| ApiError::field(request, "limit", format!("must be between 1 and {MAX_LIMIT}")))
}

/// Where to go on, as `read` understands the plain cursor.
///
/// # Errors
/// 400 naming `cursor`.
pub fn cursor<T>(
    request: &HttpRequest,
    text: Option<&str>,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, ApiError> {
    let Some(text) = text else { return Ok(None) };
    let plain = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let place = plain.and_then(|plain| read(&plain));
    place.map(Some).ok_or_else(|| ApiError::field(request, "cursor", "is not one of ours"))
}

/// A page out of `rows`, which were read with one more than `limit`, to tell whether there is a next one.
pub fn page<R, T>(mut rows: Vec<R>, limit: usize, place: impl Fn(&R) -> String, show: impl FnMut(R) -> T) -> Page<T> {
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next_cursor = rows.last().filter(|_| has_more).map(|last| URL_SAFE_NO_PAD.encode(place(last)));
    Page { data: rows.into_iter().map(show).collect(), next_cursor, has_more }
}

/// 200 with a page. `Link` says where the next one is (RFC 8288), besides the cursor in the body.
pub fn answer<T: Serialize>(request: &HttpRequest, page: Page<T>, cache: &'static str) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, cache));
    if let Some(cursor) = &page.next_cursor {
        let others = request.query_string().split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("cursor="));
        let query: Vec<&str> = others.collect();
        let query = [query.join("&"), format!("cursor={cursor}")].join("&");
        let target = format!("{}?{}", request.path(), query.trim_start_matches('&'));
        response.insert_header((header::LINK, format!("<{target}>; rel=\"next\"")));
    }
    response.json(page)
}
