//! What is signed: the challenge that a buyer is to solve, and the path token that a solution earns (decision 0021).
//!
//! Both are a random id, a moment, and an HMAC over them and their holder, as order tokens are (decision 0007). A token has
//! the id of its challenge, so a solution that is sent twice earns the same one-use token twice.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::{SaleId, Timestamp, UserId};
use crate::protocol::flash_sale::{ChallengeFault, PathTokenFault};

const ID: usize = 8;
const EXPIRY: usize = 8;
const DIFFICULTY: usize = 1;
const TAG: usize = 16;
const PUZZLE: usize = ID + EXPIRY + DIFFICULTY;
const PASS: usize = ID + EXPIRY;

/// Longest nonce: the decimal digits of a `u64`.
const MAX_NONCE_DIGITS: usize = 20;

/// Whom a challenge or a token is for. Not written into either, but signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub user_id: UserId,
    pub sale_id: SaleId,
}

/// What a challenge says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Puzzle {
    pub id: u64,
    /// First moment at which no solution is taken any more.
    pub expires_at: Timestamp,
    /// Zero bits that the hash of a solution starts with.
    pub difficulty_bits: u8,
}

/// What a path token says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Pass {
    /// That of the challenge it was earned with.
    pub id: u64,
    /// First moment at which it opens nothing any more.
    pub expires_at: Timestamp,
}

/// Makes and checks challenges and path tokens. The two have keys of their own, so that none passes for the other.
pub(super) struct Signer {
    challenges: Hmac<Sha256>,
    tokens: Hmac<Sha256>,
}

impl Signer {
    /// Over a secret of any length, which may sign other things as well: the keys are derived from it.
    pub fn new(secret: &[u8]) -> Self {
        Self {
            challenges: derived(secret, b"seckill flash-sale challenge"),
            tokens: derived(secret, b"seckill path token"),
        }
    }

    /// A challenge as text: 44 characters, so that it and a nonce of 11 digits are one block of SHA-256.
    pub fn write_challenge(&self, holder: Holder, puzzle: Puzzle) -> String {
        let mut bytes = [0_u8; PUZZLE + TAG];
        put(&mut bytes, puzzle.id, puzzle.expires_at);
        bytes[PUZZLE - DIFFICULTY] = puzzle.difficulty_bits;
        let tag = tag(&self.challenges, &bytes[..PUZZLE], holder);
        bytes[PUZZLE..].copy_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a solved challenge says.
    ///
    /// # Errors
    /// [`ChallengeFault`]; whether it lapsed or is unsolved is only told of our own.
    pub fn read_solution(
        &self,
        holder: Holder,
        challenge: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<Puzzle, ChallengeFault> {
        let bytes: [u8; PUZZLE + TAG] = decoded(challenge).ok_or(ChallengeFault::Invalid)?;
        if !is_ours(&self.challenges, &bytes, holder) {
            return Err(ChallengeFault::Invalid);
        }
        let (id, expires_at) = get(&bytes);
        let puzzle = Puzzle { id, expires_at, difficulty_bits: bytes[PUZZLE - DIFFICULTY] };
        if now >= puzzle.expires_at {
            return Err(ChallengeFault::Lapsed);
        }
        match is_nonce(nonce) && zero_bits(challenge, nonce) >= u32::from(puzzle.difficulty_bits) {
            true => Ok(puzzle),
            false => Err(ChallengeFault::Unsolved),
        }
    }

    /// A path token as text.
    pub fn write_token(&self, holder: Holder, pass: Pass) -> String {
        let mut bytes = [0_u8; PASS + TAG];
        put(&mut bytes, pass.id, pass.expires_at);
        let tag = tag(&self.tokens, &bytes[..PASS], holder);
        bytes[PASS..].copy_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// What a path token says.
    ///
    /// # Errors
    /// [`PathTokenFault::Invalid`] or [`PathTokenFault::Lapsed`].
    pub fn read_token(&self, holder: Holder, token: &str, now: Timestamp) -> Result<Pass, PathTokenFault> {
        let bytes: [u8; PASS + TAG] = decoded(token).ok_or(PathTokenFault::Invalid)?;
        if !is_ours(&self.tokens, &bytes, holder) {
            return Err(PathTokenFault::Invalid);
        }
        let (id, expires_at) = get(&bytes);
        if now >= expires_at { Err(PathTokenFault::Lapsed) } else { Ok(Pass { id, expires_at }) }
    }
}

/// Zero bits at the front of SHA-256(challenge ‖ nonce).
pub(super) fn zero_bits(challenge: &str, nonce: &str) -> u32 {
    let hash = Sha256::new().chain_update(challenge).chain_update(nonce).finalize();
    let whole = hash.iter().take_while(|byte| **byte == 0).count();
    let rest = hash.get(whole).map_or(0, |byte| byte.leading_zeros());
    u32::try_from(whole).unwrap_or(u32::MAX).saturating_mul(8) + rest
}

fn is_nonce(text: &str) -> bool {
    (1..=MAX_NONCE_DIGITS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn derived(secret: &[u8], purpose: &[u8]) -> Hmac<Sha256> {
    let mut key = keyed(secret);
    key.update(purpose);
    keyed(&key.finalize().into_bytes())
}

fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("HMAC takes keys of any length")
}

fn tag(key: &Hmac<Sha256>, signed: &[u8], holder: Holder) -> [u8; TAG] {
    let mut mac = key.clone();
    mac.update(signed);
    mac.update(&holder.user_id.0.to_be_bytes());
    mac.update(&holder.sale_id.0.to_be_bytes());
    let full = mac.finalize().into_bytes();
    full[..TAG].try_into().expect("SHA-256 is longer than the tag")
}

fn is_ours(key: &Hmac<Sha256>, bytes: &[u8], holder: Holder) -> bool {
    let (signed, shown) = bytes.split_at(bytes.len() - TAG);
    tag(key, signed, holder).ct_eq(shown).into()
}

fn decoded<const LENGTH: usize>(text: &str) -> Option<[u8; LENGTH]> {
    let mut bytes = [0_u8; LENGTH];
    (URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) == Ok(LENGTH)).then_some(bytes)
}

fn put(bytes: &mut [u8], id: u64, expires_at: Timestamp) {
    bytes[..ID].copy_from_slice(&id.to_be_bytes());
    bytes[ID..ID + EXPIRY].copy_from_slice(&expires_at.0.to_be_bytes());
}

fn get(bytes: &[u8]) -> (u64, Timestamp) {
    let part = |from: usize| -> [u8; 8] { bytes[from..from + 8].try_into().expect("each part has its fixed place") };
    (u64::from_be_bytes(part(0)), Timestamp(i64::from_be_bytes(part(ID))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::flash_sale::challenge::testing::solve;

    const HOLDER: Holder = Holder { user_id: UserId(7), sale_id: SaleId(1) };
    const NOW: Timestamp = Timestamp(1_000_000);
    const LATER: Timestamp = Timestamp(1_060_000);
    const PUZZLE_OF_8: Puzzle = Puzzle { id: 42, expires_at: LATER, difficulty_bits: 8 };

    fn signer() -> Signer {
        Signer::new(b"secret")
    }

    /// A nonce whose hash has fewer zero bits than asked.
    fn unsolved(challenge: &str, bits: u32) -> String {
        (0_u64..).map(|nonce| nonce.to_string()).find(|nonce| zero_bits(challenge, nonce) < bits).unwrap()
    }

    #[test]
    fn a_solution_is_taken_until_the_challenge_lapses() {
        let challenge = signer().write_challenge(HOLDER, PUZZLE_OF_8);
        assert_eq!(challenge.len(), 44);
        let nonce = solve(&challenge, 8);
        let read = |now| signer().read_solution(HOLDER, &challenge, &nonce, now);
        assert_eq!(read(NOW), Ok(PUZZLE_OF_8));
        assert_eq!(read(Timestamp(LATER.0 - 1)), Ok(PUZZLE_OF_8));
        assert_eq!(read(LATER), Err(ChallengeFault::Lapsed));
    }

    #[test]
    fn too_little_work_is_no_solution_and_more_is_one() {
        let challenge = signer().write_challenge(HOLDER, PUZZLE_OF_8);
        let read = |nonce: &str| signer().read_solution(HOLDER, &challenge, nonce, NOW);
        assert_eq!(read(&unsolved(&challenge, 8)), Err(ChallengeFault::Unsolved));
        assert_eq!(read(&solve(&challenge, 12)), Ok(PUZZLE_OF_8));
        for bad in ["", "-1", "1e3", "٣", "123456789012345678901", " 1"] {
            assert_eq!(read(bad), Err(ChallengeFault::Unsolved), "{bad:?}");
        }
    }

    /// Who makes his challenge easier, harder or longer has another one, which nobody signed.
    #[test]
    fn the_terms_are_signed() {
        let challenge = signer().write_challenge(HOLDER, PUZZLE_OF_8);
        let bytes: [u8; PUZZLE + TAG] = decoded(&challenge).unwrap();
        for difficulty_bits in [0, 1, 7, 9, 255] {
            let mut altered = bytes;
            altered[PUZZLE - DIFFICULTY] = difficulty_bits;
            let altered = URL_SAFE_NO_PAD.encode(altered);
            let nonce = solve(&altered, 9);
            assert_eq!(signer().read_solution(HOLDER, &altered, &nonce, NOW), Err(ChallengeFault::Invalid));
        }
        let mut longer = bytes;
        put(&mut longer, 42, LATER.plus(std::time::Duration::from_secs(1)));
        let longer = URL_SAFE_NO_PAD.encode(longer);
        let nonce = solve(&longer, 8);
        assert_eq!(signer().read_solution(HOLDER, &longer, &nonce, NOW), Err(ChallengeFault::Invalid));
    }

    #[test]
    fn no_work_at_all_may_be_asked() {
        let challenge = signer().write_challenge(HOLDER, Puzzle { difficulty_bits: 0, ..PUZZLE_OF_8 });
        assert!(signer().read_solution(HOLDER, &challenge, "0", NOW).is_ok());
    }

    #[test]
    fn a_token_opens_its_holders_sale_in_time() {
        let pass = Pass { id: 42, expires_at: LATER };
        let token = signer().write_token(HOLDER, pass);
        assert_eq!(signer().read_token(HOLDER, &token, NOW), Ok(pass));
        assert_eq!(signer().read_token(HOLDER, &token, LATER), Err(PathTokenFault::Lapsed));
        let other_secret = Signer::new(b"other");
        assert_eq!(other_secret.read_token(HOLDER, &token, NOW), Err(PathTokenFault::Invalid));
    }

    #[test]
    fn keys_serve_one_purpose_each() {
        let signer = signer();
        let of = |key: &Hmac<Sha256>| tag(key, b"the same", HOLDER);
        assert_ne!(of(&signer.challenges), of(&signer.tokens));
        assert_ne!(of(&signer.challenges), of(&keyed(b"secret")));
        assert_ne!(of(&signer.tokens), of(&keyed(b"secret")));
    }

    #[test]
    fn malformed_texts_are_refused() {
        let challenge = signer().write_challenge(HOLDER, PUZZLE_OF_8);
        let token = signer().write_token(HOLDER, Pass { id: 42, expires_at: LATER });
        for bad in ["", "a", "订单", &challenge[1..], &token[1..], &format!("{token}A"), &"A".repeat(10_000)] {
            assert_eq!(signer().read_token(HOLDER, bad, NOW), Err(PathTokenFault::Invalid), "{bad:?}");
            assert_eq!(signer().read_solution(HOLDER, bad, "1", NOW), Err(ChallengeFault::Invalid), "{bad:?}");
        }
        assert_eq!(signer().read_token(HOLDER, &challenge, NOW), Err(PathTokenFault::Invalid));
        assert_eq!(signer().read_solution(HOLDER, &token, "1", NOW), Err(ChallengeFault::Invalid));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(user in any::<i64>(), sale in any::<i64>(), id in any::<u64>(), bits in 0_u8..6) {
            let holder = Holder { user_id: UserId(user), sale_id: SaleId(sale) };
            let puzzle = Puzzle { id, expires_at: LATER, difficulty_bits: bits };
            let challenge = signer().write_challenge(holder, puzzle);
            let nonce = solve(&challenge, bits);
            prop_assert_eq!(signer().read_solution(holder, &challenge, &nonce, NOW), Ok(puzzle));
            let pass = Pass { id, expires_at: LATER };
            prop_assert_eq!(signer().read_token(holder, &signer().write_token(holder, pass), NOW), Ok(pass));
        }

        #[test]
        fn nobody_elses_and_no_other_sales(user in any::<i64>(), sale in any::<i64>()) {
            let other = Holder { user_id: UserId(user), sale_id: SaleId(sale) };
            prop_assume!(other != HOLDER);
            let challenge = signer().write_challenge(HOLDER, PUZZLE_OF_8);
            let nonce = solve(&challenge, 8);
            prop_assert_eq!(signer().read_solution(other, &challenge, &nonce, NOW), Err(ChallengeFault::Invalid));
            let token = signer().write_token(HOLDER, Pass { id: 42, expires_at: LATER });
            prop_assert_eq!(signer().read_token(other, &token, NOW), Err(PathTokenFault::Invalid));
        }

        #[test]
        fn every_changed_byte_is_noticed(at in 0_usize..PUZZLE + TAG, change in 1_u8..) {
            let token = signer().write_token(HOLDER, Pass { id: 42, expires_at: LATER });
            let mut bytes: [u8; PASS + TAG] = decoded(&token).unwrap();
            bytes[at % (PASS + TAG)] ^= change;
            let changed = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(signer().read_token(HOLDER, &changed, NOW), Err(PathTokenFault::Invalid));

            let challenge = signer().write_challenge(HOLDER, Puzzle { difficulty_bits: 0, ..PUZZLE_OF_8 });
            let mut bytes: [u8; PUZZLE + TAG] = decoded(&challenge).unwrap();
            bytes[at] ^= change;
            let changed = URL_SAFE_NO_PAD.encode(bytes);
            prop_assert_eq!(signer().read_solution(HOLDER, &changed, "0", NOW), Err(ChallengeFault::Invalid));
        }
    }
}
