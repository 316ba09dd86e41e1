//! Verified tokens, so that the signature of each is checked once: the check costs more than a whole request.

use std::hash::{BuildHasher, Hash, Hasher};

use sha2::{Digest, Sha256};

use super::verify::MAX_TOKEN_BYTES;
use super::{AuthError, Verified};
use crate::generations::Generations;

/// SHA-256 of a token: 32 bytes are kept instead of up to 4 KiB, and a copy of memory gives no login away.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    /// The digest of a token that is not too long.
    pub fn of(token: &str) -> Result<Self, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Refused("too long"));
        }
        Ok(Self(Sha256::digest(token.as_bytes()).into()))
    }
}

impl Hash for TokenDigest {
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (first, _) = self.0.split_first_chunk::<8>().expect("32 bytes have 8");
        state.write_u64(u64::from_le_bytes(*first));
    }
}

/// A digest needs no second hashing. Nobody can steer where it falls without a valid signature for each token.
#[derive(Clone, Default)]
struct FirstBytes;

impl BuildHasher for FirstBytes {
    type Hasher = FirstBytesHasher;

    fn build_hasher(&self) -> FirstBytesHasher {
        FirstBytesHasher(0)
    }
}

struct FirstBytesHasher(u64);

impl Hasher for FirstBytesHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }
}

/// A bounded map of verified tokens. The longest unused go first; expired ones are refused by their times until then.
pub(super) struct Remembered {
    tokens: Generations<TokenDigest, Verified, FirstBytes>,
}

impl Remembered {
    /// At most `capacity` tokens.
    pub fn new(capacity: usize) -> Self {
        Self { tokens: Generations::new(capacity, FirstBytes) }
    }

    pub fn find(&self, digest: &TokenDigest) -> Option<Verified> {
        self.tokens.get(digest, Verified::clone)
    }

    pub fn insert(&self, digest: TokenDigest, verified: Verified) {
        self.tokens.insert(digest, verified);
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.tokens.len()
    }
}
