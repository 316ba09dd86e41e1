//! The order token: 128 random bits, its expiry, and an HMAC over both and the user. Nothing is stored until it makes an
//! order; then UNIQUE in the store makes it once-only.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::domain::{Timestamp, UserId};
use crate::ports::clock::Entropy;

const RANDOM: usize = 16;
const EXPIRY: usize = 8;
const TAG: usize = 16;

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenState {
    /// Ours, this user's, in time.
    Valid,
    /// Ours and this user's, too old to make an order; the order it made may still be asked for.
    Lapsed,
    /// Malformed, forged or another user's.
    Invalid,
}

/// Makes and checks order tokens.
pub struct TokenSigner {
    key: Hmac<Sha256>,
}

impl TokenSigner {
    /// A signer over a secret of any length.
    pub fn new(secret: &[u8]) -> Self {
        Self { key: Hmac::new_from_slice(secret).expect("HMAC takes keys of any length") }
    }

    /// A fresh token for `user_id`, good until `expires_at`.
    pub fn issue(&self, user_id: UserId, expires_at: Timestamp, entropy: &dyn Entropy) -> String {
        let mut bytes = [0_u8; RANDOM + EXPIRY + TAG];
        bytes[..8].copy_from_slice(&entropy.next_u64().to_be_bytes());
        bytes[8..RANDOM].copy_from_slice(&entropy.next_u64().to_be_bytes());
        bytes[RANDOM..RANDOM + EXPIRY].copy_from_slice(&expires_at.0.to_be_bytes());
        let tag = self.tag(&bytes[..RANDOM + EXPIRY], user_id);
        bytes[RANDOM + EXPIRY..].copy_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What `token` is worth in the hands of `user_id`.
    pub fn check(&self, token: &str, user_id: UserId, now: Timestamp) -> TokenState {
        let mut bytes = [0_u8; RANDOM + EXPIRY + TAG];
        if URL_SAFE_NO_PAD.decode_slice(token, &mut bytes) != Ok(bytes.len()) {
            return TokenState::Invalid;
        }
        let (signed, tag) = bytes.split_at(RANDOM + EXPIRY);
        if !bool::from(self.tag(signed, user_id).ct_eq(tag)) {
            return TokenState::Invalid;
        }
        let expiry: [u8; EXPIRY] = signed[RANDOM..].try_into().expect("the expiry has its fixed place");
        if now.0 >= i64::from_be_bytes(expiry) { TokenState::Lapsed } else { TokenState::Valid }
    }

    /// A number that follows from a user, a scope and a client's key, and that nobody else can guess.
    pub fn number(&self, user_id: UserId, scope: &str, key: &str) -> u64 {
        let mut mac = self.key.clone();
        for part in [scope, key] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part.as_bytes());
        }
        mac.update(&user_id.0.to_be_bytes());
        let full = mac.finalize().into_bytes();
        u64::from_be_bytes(full[..8].try_into().expect("SHA-256 is longer than a number"))
    }

    fn tag(&self, signed: &[u8], user_id: UserId) -> [u8; TAG] {
        let mut mac = self.key.clone();
        mac.update(signed);
        mac.update(&user_id.0.to_be_bytes());
        let full = mac.finalize().into_bytes();
        full[..TAG].try_into().expect("SHA-256 is longer than the tag")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counter(std::sync::atomic::AtomicU64);

    impl Entropy for Counter {
        fn next_u64(&self) -> u64 {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
        }
    }

    const USER: UserId = UserId(7);
    const NOW: Timestamp = Timestamp(1_000_000);
    const LATER: Timestamp = Timestamp(2_000_000);

    fn signed() -> (TokenSigner, String) {
        let signer = TokenSigner::new(b"secret");
        let token = signer.issue(USER, LATER, &Counter(Default::default()));
        (signer, token)
    }

    #[test]
    fn a_token_is_valid_for_its_user_until_it_lapses() {
        let (signer, token) = signed();
        assert_eq!(signer.check(&token, USER, NOW), TokenState::Valid);
        assert_eq!(signer.check(&token, USER, LATER), TokenState::Lapsed);
        assert_eq!(signer.check(&token, UserId(8), NOW), TokenState::Invalid);
        assert_eq!(TokenSigner::new(b"other").check(&token, USER, NOW), TokenState::Invalid);
    }

    #[test]
    fn a_keys_number_is_its_users_and_its_scopes() {
        let (signer, _) = signed();
        let number = signer.number(USER, "sale 1", "k");
        assert_eq!(signer.number(USER, "sale 1", "k"), number);
        for other in [
            signer.number(UserId(8), "sale 1", "k"),
            signer.number(USER, "sale 2", "k"),
            signer.number(USER, "sale 1", "K"),
            signer.number(USER, "sale ", "1k"),
            TokenSigner::new(b"other").number(USER, "sale 1", "k"),
        ] {
            assert_ne!(other, number);
        }
    }

    #[test]
    fn every_changed_character_makes_it_invalid() {
        let (signer, token) = signed();
        for at in 0..token.len() {
            let mut bytes = token.clone().into_bytes();
            bytes[at] = if bytes[at] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(bytes).expect("ASCII");
            assert_eq!(signer.check(&changed, USER, NOW), TokenState::Invalid, "character {at}");
        }
        for malformed in ["", "a", "订单", &token[1..], &format!("{token}A"), &"A".repeat(10_000)] {
            assert_eq!(signer.check(malformed, USER, NOW), TokenState::Invalid);
        }
    }
}
