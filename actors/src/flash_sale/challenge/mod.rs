//! The admission challenge of a flash sale (decision 0021): a proof of work earns a path token, and a path token opens the
//! way for one attempt. Both are signed, so nothing is stored until a token is used, and no check leaves the node.

mod load;
mod signer;
mod spent;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::{FlashSales, Gate};
use crate::domain::flash_sale::ChallengeMode;
use crate::domain::reject::Failure;
use crate::domain::{Timestamp, UserId};
use crate::ports::clock::Entropy;
use crate::protocol::flash_sale::{Attempt, ChallengeFault, PathTokenFault};
use signer::{Holder, Pass, Puzzle, Signer};
use spent::{Spending, SpentTokens};

pub use load::LoadRule;
pub(super) use load::LoadSwitch;

/// Bounds and terms of the challenges of a node. All nodes of a cluster have the same secret.
#[derive(Clone, Debug)]
pub struct ChallengeSettings {
    /// What signs. Empty: bits that this process draws at its start, which no other node knows.
    pub secret: ChallengeSecret,
    /// Zero bits that the hash of a solution starts with: 2 to the power of so many tries on average.
    pub difficulty_bits: u8,
    /// Time to solve.
    pub solve_within: Duration,
    /// Life of a path token.
    pub token_life: Duration,
    /// Used tokens that are remembered.
    pub spent_tokens: usize,
    /// When load switches the challenge on.
    pub load: LoadRule,
}

impl Default for ChallengeSettings {
    fn default() -> Self {
        Self {
            secret: ChallengeSecret::default(),
            difficulty_bits: 18,
            solve_within: Duration::from_secs(60),
            token_life: Duration::from_secs(60),
            spent_tokens: 200_000,
            load: LoadRule::NEVER,
        }
    }
}

/// The secret that challenges and path tokens are signed with. Not shown by `Debug`.
#[derive(Clone, Default)]
pub struct ChallengeSecret(pub Vec<u8>);

impl fmt::Debug for ChallengeSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<hidden>")
    }
}

/// A proof of work for one buyer and one sale: find a nonce, in decimal digits, such that SHA-256 of the text and the
/// nonce starts with `difficulty_bits` zero bits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// What is hashed, and sent back with the nonce.
    pub text: String,
    /// Zero bits asked for.
    pub difficulty_bits: u8,
    /// First moment at which no solution is taken any more.
    pub expires_at: Timestamp,
}

/// What a solution earns: the right to make one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathToken {
    /// To be shown with the attempt.
    pub text: String,
    /// First moment at which it opens nothing any more.
    pub expires_at: Timestamp,
}

/// Why there is no challenge, or no token for a solution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoPathToken {
    /// An attempt could not win anyway.
    Refused(Attempt),
    /// The solution is none.
    Fault(ChallengeFault),
}

/// One attempt as it comes in from outside.
#[derive(Clone, Copy, Debug)]
pub struct Entry<'e> {
    /// The buyer.
    pub user_id: UserId,
    /// The number of the attempt's key, if it has one ([`FlashSales::attempt_keyed`]).
    pub number: Option<u64>,
    /// The path token it shows.
    pub path_token: Option<&'e str>,
    /// Share of the node's requests in work, in percent.
    pub node_use_percent: u32,
}

/// Signs, checks, and remembers what was used.
pub(super) struct Challenges {
    signer: Signer,
    spent: Mutex<SpentTokens>,
    settings: ChallengeSettings,
}

impl Challenges {
    pub(super) fn new(settings: ChallengeSettings, entropy: &dyn Entropy) -> Self {
        let signer = match settings.secret.0.as_slice() {
            [] => {
                let drawn: Vec<u8> = (0..4).flat_map(|_| entropy.next_u64().to_be_bytes()).collect();
                Signer::new(&drawn)
            }
            secret => Signer::new(secret),
        };
        // Whoever solves in the last moment and uses the token in its last one: longer no token of a challenge is good.
        let kept_for = settings.solve_within + settings.token_life;
        Self { signer, spent: Mutex::new(SpentTokens::new(settings.spent_tokens, kept_for)), settings }
    }

    fn issue(&self, holder: Holder, now: Timestamp, entropy: &dyn Entropy) -> Challenge {
        let ChallengeSettings { difficulty_bits, solve_within, .. } = self.settings;
        let expires_at = now.plus(solve_within);
        let puzzle = Puzzle { id: entropy.next_u64(), expires_at, difficulty_bits };
        Challenge { text: self.signer.write_challenge(holder, puzzle), difficulty_bits, expires_at }
    }

    fn redeem(
        &self,
        holder: Holder,
        challenge: &str,
        nonce: &str,
        now: Timestamp,
    ) -> Result<PathToken, ChallengeFault> {
        let puzzle = self.signer.read_solution(holder, challenge, nonce, now)?;
        let pass = Pass { id: puzzle.id, expires_at: now.plus(self.settings.token_life) };
        Ok(PathToken { text: self.signer.write_token(holder, pass), expires_at: pass.expires_at })
    }

    /// Uses a token for an attempt; its id, when this was its first use.
    fn spend(
        &self,
        holder: Holder,
        token: Option<&str>,
        number: Option<u64>,
        now: Timestamp,
    ) -> Result<Option<u64>, PathTokenFault> {
        let pass = self.signer.read_token(holder, token.ok_or(PathTokenFault::Missing)?, now)?;
        match self.spent().spend(pass.id, number, now) {
            Spending::First => Ok(Some(pass.id)),
            Spending::Again => Ok(None),
            Spending::Refused => Err(PathTokenFault::Used),
        }
    }

    fn give_back(&self, id: u64) {
        self.spent().give_back(id);
    }

    fn spent(&self) -> std::sync::MutexGuard<'_, SpentTokens> {
        self.spent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FlashSales {
    /// A fresh challenge, whether one is needed now or not.
    ///
    /// # Errors
    /// What an attempt would hear when it cannot win: nobody shall work for nothing.
    pub fn challenge(&self, gate: &Gate, user_id: UserId) -> Result<Challenge, Attempt> {
        let now = self.now();
        match hopeless(gate, user_id, now) {
            Some(refusal) => Err(refusal),
            None => Ok(self.challenges.issue(holder(gate, user_id), now, self.shared.entropy.as_ref())),
        }
    }

    /// The path token that a solution earns. The same solution again earns the same token, good for one attempt in all.
    ///
    /// # Errors
    /// [`NoPathToken`]
    pub fn path_token(
        &self,
        gate: &Gate,
        user_id: UserId,
        challenge: &str,
        nonce: &str,
    ) -> Result<PathToken, NoPathToken> {
        let now = self.now();
        if let Some(refusal) = hopeless(gate, user_id, now) {
            return Err(NoPathToken::Refused(refusal));
        }
        self.challenges.redeem(holder(gate, user_id), challenge, nonce, now).map_err(NoPathToken::Fault)
    }

    /// Whether an attempt at this sale needs a path token now.
    pub fn asks_for_work(&self, gate: &Gate, node_use_percent: u32) -> bool {
        match gate.challenge_mode() {
            ChallengeMode::Off => false,
            ChallengeMode::Always => true,
            ChallengeMode::Load => self.is_loaded(gate, node_use_percent),
        }
    }

    fn is_loaded(&self, gate: &Gate, node_use_percent: u32) -> bool {
        let rule = &self.challenges.settings.load;
        if *rule == LoadRule::NEVER {
            return false;
        }
        let waiting = self.sales.get(gate.sale_id()).map_or(0, |sale| sale.places.in_flight());
        let sale_use_percent = load::percent(waiting, self.shared.settings.attempts_per_sale);
        gate.load_switch().observe(rule, node_use_percent.max(sale_use_percent), self.now())
    }

    /// One attempt from outside: the gate's refusals come first and cost nothing, then the challenge where it is asked
    /// for, then the attempt itself. A token is given back when the server could not serve its attempt.
    ///
    /// # Errors
    /// Those of [`FlashSales::attempt`] and [`FlashSales::attempt_keyed`].
    pub async fn attempt_from_outside(&self, gate: &Gate, entry: Entry<'_>) -> Result<Attempt, Failure> {
        let Entry { user_id, number, path_token, node_use_percent } = entry;
        let now = self.now();
        if let Some(refusal) = gate.refuse_early_for(user_id, now) {
            return Ok(refusal);
        }
        // A known winner at the limit hears of the win; there is nothing left to work for.
        let is_asked = self.asks_for_work(gate, node_use_percent) && gate.first_win(user_id).is_none();
        let spent = match is_asked {
            false => None,
            true => match self.challenges.spend(holder(gate, user_id), path_token, number, now) {
                Ok(spent) => spent,
                Err(fault) => return Ok(refused(fault)),
            },
        };
        let attempt = match number {
            None => self.attempt(gate, user_id).await,
            Some(number) => self.attempt_keyed(gate, user_id, number).await,
        };
        if let (Some(id), Err(Failure::Unavailable(_))) = (spent, &attempt) {
            self.challenges.give_back(id);
        }
        attempt
    }
}

fn holder(gate: &Gate, user_id: UserId) -> Holder {
    Holder { user_id, sale_id: gate.sale_id() }
}

/// What an attempt would hear that cannot win.
fn hopeless(gate: &Gate, user_id: UserId, now: Timestamp) -> Option<Attempt> {
    gate.refuse_early(now).or_else(|| gate.first_win(user_id).map(Attempt::AlreadyWon))
}

fn refused(fault: PathTokenFault) -> Attempt {
    metrics::counter!("seckill_flash_sale_challenge_required_total", "reason" => fault.name()).increment(1);
    Attempt::ChallengeRequired(fault)
}

#[cfg(test)]
mod testing {
    /// A nonce whose hash starts with at least so many zero bits.
    pub fn solve(challenge: &str, bits: u8) -> String {
        let nonces = (0_u64..).map(|nonce| nonce.to_string());
        nonces.into_iter().find(|nonce| super::signer::zero_bits(challenge, nonce) >= u32::from(bits)).unwrap()
    }
}
