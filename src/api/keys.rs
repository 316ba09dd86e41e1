//! `Idempotency-Key`.

use std::future::{Ready, ready};

use actix_web::{FromRequest, HttpRequest, HttpResponseBuilder, dev};

use super::error::{ApiError, Kind};

const HEADER: &str = "idempotency-key";
const LONGEST: usize = 255;

/// The key of a request that must have one.
pub struct Key(pub String);

/// The key of a request that may have one.
pub struct MaybeKey(pub Option<String>);

impl FromRequest for Key {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(Self::of(request))
    }
}

impl Key {
    /// For handlers that look at the login themselves before anything else.
    ///
    /// # Errors
    /// 400 without a key, or for one that cannot be one.
    pub fn of(request: &HttpRequest) -> Result<Self, ApiError> {
        key(request)?.map(Self).ok_or_else(|| ApiError::new(request, Kind::KeyMissing))
    }
}

impl FromRequest for MaybeKey {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(key(request).map(Self))
    }
}

/// Says of an answer that it is an earlier one.
pub fn note_replay(response: &mut HttpResponseBuilder, is_replayed: bool) {
    if is_replayed {
        response.insert_header(("idempotency-replayed", "true"));
    }
}

/// Visible ASCII, quoted as the draft wants it or bare as most clients send it.
fn key(request: &HttpRequest) -> Result<Option<String>, ApiError> {
    let mut sent = request.headers().get_all(HEADER);
    let Some(value) = sent.next() else { return Ok(None) };
    let bad = |problem: &str| Err(ApiError::field(request, "Idempotency-Key", problem));
    if sent.next().is_some() {
        return bad("must be sent once");
    }
    let text = value.to_str().unwrap_or_default();
    let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
    let fits = (1..=LONGEST).contains(&bare.len()) && bare.bytes().all(|byte| byte.is_ascii_graphic());
    if fits { Ok(Some(bare.to_owned())) } else { bad("must have 1 to 255 visible ASCII characters") }
}
