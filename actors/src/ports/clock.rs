//! Time and randomness as arguments. `clippy.toml` forbids the wall clock and the thread's random generator elsewhere.

use crate::domain::Timestamp;

/// Where now comes from.
pub trait Clock: Send + Sync + 'static {
    /// The current time.
    fn now(&self) -> Timestamp;
}

/// Where random bits come from.
pub trait Entropy: Send + Sync + 'static {
    /// 64 unpredictable bits.
    fn next_u64(&self) -> u64;
}

/// A fresh message id: time-ordered, 36 characters.
pub fn message_id(now: Timestamp, entropy: &dyn Entropy) -> String {
    let mut random = [0_u8; 10];
    random[..8].copy_from_slice(&entropy.next_u64().to_le_bytes());
    random[8..].copy_from_slice(&entropy.next_u64().to_le_bytes()[..2]);
    let millis = u64::try_from(now.0).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid().to_string()
}
