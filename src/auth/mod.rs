//! Login: RS256 tokens of others and our own, in a cookie or a header (DESIGN section 5), and the service token.

mod extract;
mod issue;
mod keys;
mod remembered;
mod service_token;
mod strict_json;
mod verify;

#[cfg(test)]
mod hostile_tests;

use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use actors::domain::{Timestamp, UserId};

pub use extract::{Credentials, bearer_or_cookie, same_origin};
pub use issue::TokenIssuer;
pub use keys::{KeySet, OWN_KEY, check_public_key, own_issuer};
use remembered::{Remembered, TokenDigest};
pub use service_token::ServiceToken;
pub use verify::{Rules, Verified};

use crate::config::Config;

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The `id` claim.
    pub user_id: UserId,
    /// The `username` claim; empty when there is none.
    pub username: Arc<str>,
    /// Whether the browser sent it by itself: a state-changing call then needs [`same_origin`].
    pub from_cookie: bool,
}

/// Why nobody is logged in. Clients get the same answer for each; the difference is for metrics and tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No token at all.
    #[error("not logged in")]
    Missing,
    /// A token that is not accepted, and the rule that refused it. Never holds a part of the token.
    #[error("the login is not valid")]
    Refused(&'static str),
}

/// Verifies logins. Shared by all workers.
pub struct Authenticator {
    keys: KeySet,
    rules: Rules,
    cookie: String,
    remembered: Remembered,
}

impl Authenticator {
    /// Loads the keys that the configuration names, and makes the own one when it is missing.
    ///
    /// # Errors
    /// A key that is missing, weak (below 2048 bits) or not RSA, two of one name, or a private key others may read.
    pub fn load(config: &Config) -> anyhow::Result<Self> {
        Ok(Self::new(KeySet::load(config)?, config))
    }

    /// With keys at hand.
    pub fn new(keys: KeySet, config: &Config) -> Self {
        Self {
            keys,
            rules: Rules::from(&config.auth),
            cookie: config.auth.cookie.clone(),
            remembered: Remembered::new(config.auth.remembered_tokens),
        }
    }

    /// Who sent these headers. A header `Authorization: Bearer` wins over the cookie, even when it is not valid.
    ///
    /// # Errors
    /// [`AuthError`]; answer 401 to every kind.
    pub fn authenticate(&self, headers: &HeaderMap, now: Timestamp) -> Result<Identity, AuthError> {
        let credentials = bearer_or_cookie(headers, &self.cookie).ok_or(AuthError::Missing)?;
        self.verify(credentials.token, now).map(|verified| verified.identity(credentials.from_cookie))
    }

    /// Verifies one token. Costs a signature check the first time and a look-up afterwards.
    ///
    /// # Errors
    /// [`AuthError::Refused`]
    pub fn verify(&self, token: &str, now: Timestamp) -> Result<Verified, AuthError> {
        let digest = TokenDigest::of(token)?;
        if let Some(verified) = self.remembered.find(&digest) {
            // Time goes on: a remembered token is held to its times again.
            verified.check_times(&self.rules, now)?;
            return Ok(verified);
        }
        let verified = verify::verify(token, &self.keys, &self.rules, now).inspect_err(count_refusal)?;
        self.remembered.insert(digest, verified.clone());
        Ok(verified)
    }
}

fn count_refusal(error: &AuthError) {
    if let AuthError::Refused(reason) = error {
        metrics::counter!("seckill_auth_refused_total", "reason" => *reason).increment(1);
    }
}
