//! Signing tokens with the own key: `seckill token issue` and the demo login.

use std::time::Duration;

use actors::domain::{Timestamp, UserId};
use anyhow::{Context, bail};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use crate::config;
use crate::keys::parse_private_pem;

/// Signs RS256 tokens that [`super::Authenticator`] accepts.
pub struct TokenIssuer {
    kid: String,
    key: KeyPair,
    issuer: String,
    audience: String,
    /// Zero: any.
    max_lifetime: Duration,
}

impl TokenIssuer {
    /// From a private key in PEM.
    ///
    /// # Errors
    /// When the key cannot be read.
    pub fn new(kid: String, private_pem: &str, auth: &config::Auth) -> anyhow::Result<Self> {
        Ok(Self {
            kid,
            key: parse_private_pem(private_pem.as_bytes()).context("own private key")?,
            issuer: auth.issuer.clone(),
            audience: auth.audience.clone(),
            max_lifetime: auth.max_lifetime,
        })
    }

    /// A token for a user, valid from `now` for `ttl`.
    ///
    /// # Errors
    /// When the user id is not positive, `ttl` is below a second or above `auth.max_lifetime`, or signing fails.
    pub fn issue(&self, user_id: UserId, username: &str, now: Timestamp, ttl: Duration) -> anyhow::Result<String> {
        if user_id.0 <= 0 {
            bail!("the user id must be positive");
        }
        if ttl < Duration::from_secs(1) || ttl > MAX_TTL {
            bail!("the lifetime must be between 1 s and 10 years");
        }
        if !self.max_lifetime.is_zero() && ttl > self.max_lifetime {
            bail!("auth.max_lifetime allows {} only", humantime::format_duration(self.max_lifetime));
        }
        let header = json!({"alg": "RS256", "typ": "JWT", "kid": self.kid});
        let claims = Value::Object(self.claims(user_id, username, now, ttl));
        let mut token = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature)
            .ok()
            .context("signing failed")?;
        token.push('.');
        token.push_str(&encode(signature));
        Ok(token)
    }

    fn claims(&self, user_id: UserId, username: &str, now: Timestamp, ttl: Duration) -> Map<String, Value> {
        let issued_at = now.0.div_euclid(1000);
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
        let mut claims = Map::new();
        claims.insert("id".into(), json!(user_id.0));
        claims.insert("username".into(), json!(username));
        claims.insert("iat".into(), json!(issued_at));
        claims.insert("exp".into(), json!(issued_at.saturating_add(seconds)));
        if !self.issuer.is_empty() {
            claims.insert("iss".into(), json!(self.issuer));
        }
        if !self.audience.is_empty() {
            claims.insert("aud".into(), json!(self.audience));
        }
        claims
    }
}

const MAX_TTL: Duration = Duration::from_secs(3650 * 24 * 3600);

fn encode(bytes: impl AsRef<[u8]>) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(bytes)
}
