//! Versions of what clients read and edit: `ETag`, `If-None-Match`, `If-Match`.

use actix_web::http::header::{self, EntityTag, Header, IfMatch, IfNoneMatch};
use actix_web::{HttpRequest, HttpResponse};
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::error::{ApiError, Kind};

/// For what belongs to one buyer.
pub const PRIVATE: &str = "private, no-cache";

/// The tag of a body that has no version of its own.
pub fn of(body: &impl Serialize) -> String {
    let text = serde_json::to_vec(body).unwrap_or_default();
    Sha256::digest(text).iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

/// 200 with the body and its tag, or 304 when the client has it.
pub fn answer(request: &HttpRequest, tag: &str, cache: &'static str, body: impl Serialize) -> HttpResponse {
    let tag = EntityTag::new_strong(tag.to_owned());
    let holds = match IfNoneMatch::parse(request) {
        Ok(IfNoneMatch::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Ok(IfNoneMatch::Items(tags)) => tags.iter().any(|known| known.weak_eq(&tag)),
        Err(_) => false,
    };
    let mut response = if holds { HttpResponse::NotModified() } else { HttpResponse::Ok() };
    response.insert_header((header::ETAG, tag.to_string())).insert_header((header::CACHE_CONTROL, cache));
    if holds { response.finish() } else { response.json(body) }
}

/// Whether the client's edit is of the current version; `None` when it does not say.
///
/// # Errors
/// 400 for a field that cannot be read.
pub fn matches(request: &HttpRequest, tag: &str) -> Result<Option<bool>, ApiError> {
    if !request.headers().contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    let tag = EntityTag::new_strong(tag.to_owned());
    match IfMatch::parse(request) {
        Ok(IfMatch::Any) => Ok(Some(true)),
        Ok(IfMatch::Items(tags)) if !tags.is_empty() => Ok(Some(tags.iter().any(|known| known.strong_eq(&tag)))),
        _ => Err(ApiError::field(request, "If-Match", "must be * or entity tags")),
    }
}

/// As [`matches`], for edits that must say which version they saw.
///
/// # Errors
/// 412, 428, 400.
pub fn require(request: &HttpRequest, tag: &str) -> Result<(), ApiError> {
    match matches(request, tag)? {
        Some(true) => Ok(()),
        Some(false) => Err(ApiError::new(request, Kind::VersionConflict)),
        None => Err(ApiError::new(request, Kind::VersionMissing)),
    }
}
