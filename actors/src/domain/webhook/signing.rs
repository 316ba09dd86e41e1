//! Secrets and signatures of Standard Webhooks: `whsec_` and the key in base64; `v1,` and the HMAC-SHA256 of
//! `id.timestamp.body` in base64.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const PREFIX: &str = "whsec_";

/// What signs the messages of an endpoint, as its owner knows it. Not seen in logs.
#[derive(Clone, PartialEq, Eq)]
pub struct SigningSecret(String);

impl SigningSecret {
    /// Bytes of a key, as the specification has it: 24 to 64.
    const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

    /// A secret of this key.
    pub fn from_key(key: &[u8; 32]) -> Self {
        Self(format!("{PREFIX}{}", STANDARD.encode(key)))
    }

    /// From its text; `None` when it is none.
    pub fn parse(text: &str) -> Option<Self> {
        let secret = Self(text.to_owned());
        let key = STANDARD.decode(text.strip_prefix(PREFIX)?).ok()?;
        Self::KEY_BYTES.contains(&key.len()).then_some(secret)
    }

    /// The text: for its owner, once, and for the store.
    pub fn expose(&self) -> &str {
        &self.0
    }

    fn key(&self) -> Vec<u8> {
        STANDARD.decode(&self.0[PREFIX.len()..]).expect("both ways to make one check it")
    }
}

impl fmt::Debug for SigningSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningSecret(..)")
    }
}

/// The signature of a message sent at this second.
pub fn signature(secret: &SigningSecret, message_id: &str, seconds: i64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(&secret.key()).expect("HMAC takes keys of any length");
    for part in [message_id, ".", &seconds.to_string(), ".", body] {
        mac.update(part.as_bytes());
    }
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}
