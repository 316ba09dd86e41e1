//! Verifying a token. The algorithm is ours (RS256), never the token's choice; no key is ever taken from the token.
//!
//! Parsed here rather than by a JWT library because a login must have every JSON name once, whole-number times and one
//! spelling of its user id, which the libraries let pass; the signature itself is checked by aws-lc.

use std::sync::Arc;
use std::time::Duration;

use actors::domain::{Timestamp, UserId};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::keys::KeySet;
use super::{AuthError, Identity, strict_json};
use crate::config;

/// Longest token, in bytes.
pub(super) const MAX_TOKEN_BYTES: usize = 4096;
/// Longest user name, in bytes; it is kept for as long as the token is remembered.
const MAX_USERNAME_BYTES: usize = 256;
/// Later than this (2286-11-20) a count of seconds is taken for one of milliseconds and refused.
const MAX_UNIX_SECONDS: i64 = 9_999_999_999;

/// What a token must fulfil beside its signature.
#[derive(Clone, Debug)]
pub struct Rules {
    issuer: String,
    audience: String,
    max_lifetime_seconds: i64,
    leeway_seconds: i64,
}

impl From<&config::Auth> for Rules {
    fn from(auth: &config::Auth) -> Self {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
        Self {
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            max_lifetime_seconds: seconds(auth.max_lifetime),
            leeway_seconds: seconds(auth.leeway),
        }
    }
}

/// A token whose signature and claims were found good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The `id` claim.
    pub user_id: UserId,
    /// The `username` claim; empty when there is none.
    pub username: Arc<str>,
    /// The `exp` claim, Unix seconds.
    pub expires_at: i64,
    /// The later of `nbf` and `iat`, Unix seconds; `i64::MIN` without both.
    pub valid_from: i64,
}

impl Verified {
    /// As the identity of a request.
    pub fn identity(self, from_cookie: bool) -> Identity {
        Identity { user_id: self.user_id, username: self.username, from_cookie }
    }

    /// Whether the token is valid at this moment.
    ///
    /// # Errors
    /// [`AuthError::Refused`]
    pub fn check_times(&self, rules: &Rules, now: Timestamp) -> Result<(), AuthError> {
        let now = now.0.div_euclid(1000);
        if now >= self.expires_at.saturating_add(rules.leeway_seconds) {
            return Err(AuthError::Refused("expired"));
        }
        if now < self.valid_from.saturating_sub(rules.leeway_seconds) {
            return Err(AuthError::Refused("not yet valid"));
        }
        Ok(())
    }
}

/// Verifies everything: form, signature, claims, times.
pub(super) fn verify(token: &str, keys: &KeySet, rules: &Rules, now: Timestamp) -> Result<Verified, AuthError> {
    let parts = Parts::split(token)?;
    let kid = check_header(&decode(parts.header)?)?;
    let signature = decode(parts.signature)?;
    check_signature(keys, kid.as_deref(), parts.signed, &signature)?;

    // Only now is the rest worth a look: it is what one of our keys signed.
    let claims = strict_json::object(&decode(parts.claims)?).ok_or(AuthError::Refused("claims"))?;
    let verified = read_claims(&claims, rules)?;
    verified.check_times(rules, now)?;
    Ok(verified)
}

/// The three parts of a token, and what the signature covers.
struct Parts<'a> {
    header: &'a str,
    claims: &'a str,
    signature: &'a str,
    signed: &'a str,
}

impl<'a> Parts<'a> {
    fn split(token: &'a str) -> Result<Self, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Refused("too long"));
        }
        let wrong = AuthError::Refused("not three parts");
        let (signed, signature) = token.rsplit_once('.').ok_or(wrong)?;
        let (header, claims) = signed.split_once('.').ok_or(wrong)?;
        if claims.contains('.') || [header, claims, signature].iter().any(|part| part.is_empty()) {
            return Err(wrong);
        }
        Ok(Self { header, claims, signature, signed })
    }
}

/// base64url without padding and without loose bits at the end: one spelling for each text.
fn decode(part: &str) -> Result<Vec<u8>, AuthError> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| AuthError::Refused("not base64url"))
}

/// Checks the header and gives back the kid. `jwk`, `jku`, `x5u` and `x5c` are not looked at.
fn check_header(text: &[u8]) -> Result<Option<String>, AuthError> {
    let header = strict_json::object(text).ok_or(AuthError::Refused("header"))?;
    if header.get("alg").and_then(Value::as_str) != Some("RS256") {
        return Err(AuthError::Refused("algorithm"));
    }
    if header.contains_key("crit") {
        return Err(AuthError::Refused("crit"));
    }
    match header.get("kid") {
        None => Ok(None),
        Some(Value::String(kid)) if is_kid(kid) => Ok(Some(kid.clone())),
        Some(_) => Err(AuthError::Refused("kid")),
    }
}

fn is_kid(text: &str) -> bool {
    (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// With a kid that key alone counts; without, any key may have signed.
fn check_signature(keys: &KeySet, kid: Option<&str>, signed: &str, signature: &[u8]) -> Result<(), AuthError> {
    let mut candidates = keys.iter().filter(|key| kid.is_none_or(|kid| kid == key.kid)).peekable();
    if candidates.peek().is_none() {
        return Err(AuthError::Refused("unknown kid"));
    }
    let good = candidates.any(|candidate| candidate.key.verify_sig(signed.as_bytes(), signature).is_ok());
    if good { Ok(()) } else { Err(AuthError::Refused("signature")) }
}

fn read_claims(claims: &Map<String, Value>, rules: &Rules) -> Result<Verified, AuthError> {
    let user_id = claims.get("id").and_then(user_id).ok_or(AuthError::Refused("id"))?;
    let username = username(claims.get("username")).ok_or(AuthError::Refused("username"))?;
    let expires_at = time(claims, "exp")?.ok_or(AuthError::Refused("exp"))?;
    let not_before = time(claims, "nbf")?;
    let issued_at = time(claims, "iat")?;
    check_lifetime(rules, issued_at, expires_at)?;

    let is = |name: &str, wanted: &str| claims.get(name).and_then(Value::as_str) == Some(wanted);
    if !rules.issuer.is_empty() && !is("iss", &rules.issuer) {
        return Err(AuthError::Refused("iss"));
    }
    let in_audience = || match claims.get("aud") {
        Some(Value::Array(list)) => list.iter().any(|one| one.as_str() == Some(&rules.audience)),
        _ => is("aud", &rules.audience),
    };
    if !rules.audience.is_empty() && !in_audience() {
        return Err(AuthError::Refused("aud"));
    }
    let valid_from = not_before.max(issued_at).unwrap_or(i64::MIN);
    Ok(Verified { user_id, username, expires_at, valid_from })
}

fn check_lifetime(rules: &Rules, issued_at: Option<i64>, expires_at: i64) -> Result<(), AuthError> {
    if rules.max_lifetime_seconds == 0 {
        return Ok(());
    }
    let fits = issued_at.is_some_and(|issued_at| expires_at - issued_at <= rules.max_lifetime_seconds);
    if fits { Ok(()) } else { Err(AuthError::Refused("lifetime")) }
}

/// A positive whole number, or its decimal digits without anything else.
fn user_id(claim: &Value) -> Option<UserId> {
    let id = match claim {
        Value::Number(number) => number.as_i64()?,
        Value::String(text) => text.parse::<i64>().ok().filter(|id| id.to_string() == *text)?,
        _ => return None,
    };
    (id > 0).then_some(UserId(id))
}

fn username(claim: Option<&Value>) -> Option<Arc<str>> {
    match claim {
        None | Some(Value::Null) => Some(Arc::from("")),
        Some(Value::String(text)) if text.len() <= MAX_USERNAME_BYTES => Some(Arc::from(text.as_str())),
        Some(_) => None,
    }
}

/// A time claim in whole Unix seconds. One of another type is refused, not taken for absent.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<i64>, AuthError> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    let seconds = claim.as_i64().filter(|seconds| (0..=MAX_UNIX_SECONDS).contains(seconds));
    seconds.map(Some).ok_or(AuthError::Refused(name))
}
