//! What handlers take: a strict JSON body whose errors name the field, a strict query, the logged-in buyer, a service.

use std::future::{Future, Ready, ready};
use std::pin::Pin;

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev, web};
use actors::order::Buyer;
use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::State;
use super::error::{ApiError, Kind, Surface};
use crate::auth::{Identity, same_origin};
use crate::limits::note_standing;

/// Deepest nesting of a JSON body (S14).
const MAX_DEPTH: usize = 32;

/// A JSON body: bounded, of limited depth, without unknown fields; errors name the field.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let reading = web::Bytes::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            if !is_json(&request) {
                return Err(ApiError::new(&request, Kind::UnsupportedMediaType));
            }
            let bytes = read_body(&request, reading).await?;
            parse(&request, &bytes).map(Self)
        })
    }
}

/// A JSON body with the digest of what it says, for an idempotency key.
pub struct DigestedBody<T> {
    /// The body.
    pub value: T,
    /// SHA-256 in hex; the same for the same JSON, however it is spaced.
    pub digest: String,
}

impl<T: DeserializeOwned + 'static> FromRequest for DigestedBody<T> {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let reading = web::Bytes::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move {
            if !is_json(&request) {
                return Err(ApiError::new(&request, Kind::UnsupportedMediaType));
            }
            let bytes = read_body(&request, reading).await?;
            let value = parse(&request, &bytes)?;
            let json: serde_json::Value = parse(&request, &bytes)?;
            let digest = Sha256::digest(json.to_string()).iter().map(|byte| format!("{byte:02x}")).collect();
            Ok(Self { value, digest })
        })
    }
}

/// A body as it was sent, bounded in size and time.
pub struct RawBody(pub web::Bytes);

impl FromRequest for RawBody {
    type Error = ApiError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, ApiError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut dev::Payload) -> Self::Future {
        let reading = web::Bytes::from_request(request, payload);
        let request = request.clone();
        Box::pin(async move { read_body(&request, reading).await.map(Self) })
    }
}

async fn read_body(
    request: &HttpRequest,
    reading: impl Future<Output = Result<web::Bytes, actix_web::Error>>,
) -> Result<web::Bytes, ApiError> {
    let limit = state(request).body_timeout;
    match tokio::time::timeout(limit, reading).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if error.as_response_error().status_code() == 413 => {
            Err(ApiError::new(request, Kind::PayloadTooLarge))
        }
        Ok(Err(error)) => Err(ApiError::field(request, "", format!("the body cannot be read: {error}"))),
        Err(_) => Err(ApiError::field(request, "", "the body did not arrive in time")),
    }
}

fn is_json(request: &HttpRequest) -> bool {
    matches!(request.mime_type(), Ok(Some(mime)) if mime.essence_str() == "application/json")
}

fn parse<T: DeserializeOwned>(request: &HttpRequest, bytes: &[u8]) -> Result<T, ApiError> {
    if depth(bytes) > MAX_DEPTH {
        return Err(ApiError::field(request, "", format!("the body is nested deeper than {MAX_DEPTH}")));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let field = if path == "." { "" } else { &path };
        ApiError::field(request, field, error.inner())
    })?;
    deserializer.end().map_err(|error| ApiError::field(request, "", error))?;
    Ok(value)
}

/// Deepest nesting of brackets outside of strings, without building anything.
fn depth(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A query string without unknown fields.
pub struct Query<T>(pub T);

impl<T: DeserializeOwned> FromRequest for Query<T> {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let parsed = web::Query::<T>::from_query(request.query_string());
        ready(parsed.map(|query| Self(query.into_inner())).map_err(|error| {
            let problem = match error {
                actix_web::error::QueryPayloadError::Deserialize(error) => error.to_string(),
                error => error.to_string(),
            };
            ApiError::field(request, "", format!("query: {problem}"))
        }))
    }
}

/// The logged-in buyer, within the user's own rate.
pub struct Login(pub Buyer);

impl FromRequest for Login {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(login(request, false).map(Self))
    }
}

/// The logged-in buyer of a call that changes something: a cookie alone is not enough from another origin.
pub struct LoginToChange(pub Buyer);

impl FromRequest for LoginToChange {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        ready(login(request, true).map(Self))
    }
}

fn login(request: &HttpRequest, changes: bool) -> Result<Buyer, ApiError> {
    let identity = identify(request, changes)?;
    let counted = state(request).limits.count_user(identity.user_id);
    if counted.outcome().is_err() || Surface::of(request.path()) == Surface::Problem {
        note_standing(request, counted.standing("user"));
    }
    counted
        .outcome()
        .map_err(|limited| ApiError::new(request, Kind::RateLimited).retry_after(limited.retry_after_secs))?;
    Ok(Buyer { user_id: identity.user_id, username: identity.username.to_string() })
}

/// Who calls, without looking at rates: the flash sale has its own.
///
/// # Errors
/// 401, or 403 for a change asked with a cookie from another origin.
pub fn identify(request: &HttpRequest, changes: bool) -> Result<Identity, ApiError> {
    let state = state(request);
    let identity = state
        .auth
        .authenticate(request.headers(), state.clock.now())
        .map_err(|_| ApiError::new(request, Kind::Unauthenticated))?;
    if changes && identity.from_cookie && !same_origin(request) {
        return Err(ApiError::new(request, Kind::Forbidden).detail("a cookie from another origin is not enough"));
    }
    Ok(identity)
}

/// Another service, by its token.
pub struct Service;

impl FromRequest for Service {
    type Error = ApiError;
    type Future = Ready<Result<Self, ApiError>>;

    fn from_request(request: &HttpRequest, _: &mut dev::Payload) -> Self::Future {
        let known = state(request).service_token.opens(request.headers());
        ready(if known { Ok(Self) } else { Err(ApiError::new(request, Kind::Unauthenticated)) })
    }
}

/// The shared state; put there by the app for every route.
pub fn state(request: &HttpRequest) -> &State {
    request.app_data::<web::Data<State>>().expect("the app gives every listener its state")
}

#[cfg(test)]
mod tests {
    use super::depth;

    #[test]
    fn depth_ignores_brackets_in_strings() {
        assert_eq!(depth(br#"{"a":["[[[["]}"#), 2);
        assert_eq!(depth(br#"{"a":"\"[["}"#), 1);
        assert_eq!(depth(&[b'['; 10_000]), 10_000);
    }
}
