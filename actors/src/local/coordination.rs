//! Coordination inside one process: the same answers as the scripts of the Redis adapter, without the network.
//!
//! Everything is bounded: the holds of a sale by count and age, the remembered tokens by count and age, the hints by
//! the channel. What falls out is a lost hint or a gate that opens once more; the store decides all the same.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use dashmap::DashMap;
use tokio::sync::broadcast;
use tokio::time::Instant;

use crate::domain::{OrderSn, SaleId, UserId};
use crate::ports::coordination::{
    AcquireBatch, Acquired, Coordination, CoordinationError, HOLD_LIFE, Permit, SemaphoreContent,
};

/// Most live holds of one sale; the oldest is forgotten for a new one.
const MAX_HOLDS: usize = 1024;
/// Hints that a slow receiver may be behind.
const HINTS: usize = 4096;
/// `order.token_ttl` when nothing else is said.
const TOKEN_LIFE: Duration = Duration::from_secs(30 * 60);
/// Most remembered tokens; the oldest is forgotten for a new one.
const MAX_TOKENS: usize = 65_536;

/// Coordination of a single node.
pub struct LocalCoordination {
    sales: DashMap<SaleId, Semaphore>,
    hints: broadcast::Sender<OrderSn>,
    tokens: Mutex<SeenTokens>,
}

impl LocalCoordination {
    /// Empty: every sale is stale until it is rebuilt from the store. Tokens are remembered for 30 minutes.
    pub fn new() -> Self {
        Self::with_token_life(TOKEN_LIFE)
    }

    /// As [`Self::new`], with tokens remembered for `life` (`order.token_ttl`).
    pub fn with_token_life(life: Duration) -> Self {
        let (hints, _) = broadcast::channel(HINTS);
        Self { sales: DashMap::new(), hints, tokens: Mutex::new(SeenTokens::new(life, MAX_TOKENS)) }
    }

    fn tokens(&self) -> MutexGuard<'_, SeenTokens> {
        // The set is sound between any two of its operations, so a poisoned lock loses nothing.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for LocalCoordination {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl Coordination for LocalCoordination {
    async fn try_acquire(&self, batch: &AcquireBatch) -> Result<Acquired, CoordinationError> {
        Ok(match self.sales.get_mut(&batch.sale_id) {
            Some(mut semaphore) if semaphore.epoch == batch.epoch => Acquired::Decided(semaphore.acquire(batch)),
            _ => Acquired::Stale,
        })
    }

    async fn end_hold(
        &self,
        sale_id: SaleId,
        epoch: i64,
        hold_id: u64,
        refused: &[UserId],
    ) -> Result<(), CoordinationError> {
        if let Some(mut semaphore) = self.sales.get_mut(&sale_id)
            && semaphore.epoch == epoch
        {
            semaphore.end_hold(hold_id, refused);
        }
        Ok(())
    }

    async fn rebuild(&self, content: &SemaphoreContent) -> Result<bool, CoordinationError> {
        let mut semaphore = self.sales.entry(content.sale_id).or_insert_with(|| Semaphore::new(content));
        if semaphore.epoch > content.epoch {
            return Ok(false);
        }
        *semaphore = Semaphore::new(content);
        Ok(true)
    }

    async fn reconcile(&self, sale_id: SaleId, epoch: i64, remaining: i64) -> Result<bool, CoordinationError> {
        match self.sales.get_mut(&sale_id) {
            Some(mut semaphore) if semaphore.epoch == epoch => {
                semaphore.reconcile(remaining);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    async fn permits(&self, sale_id: SaleId) -> Result<Option<i64>, CoordinationError> {
        Ok(self.sales.get(&sale_id).map(|semaphore| semaphore.permits))
    }

    async fn forget(&self, sale_id: SaleId) -> Result<(), CoordinationError> {
        self.sales.remove(&sale_id);
        Ok(())
    }

    async fn count_down(&self, order_sns: &[OrderSn]) -> Result<(), CoordinationError> {
        for order_sn in order_sns {
            // No receiver, nobody waits.
            let _ = self.hints.send(order_sn.clone());
        }
        Ok(())
    }

    fn hints(&self) -> broadcast::Receiver<OrderSn> {
        self.hints.subscribe()
    }

    async fn mark_token(&self, token: &str) -> Result<bool, CoordinationError> {
        Ok(self.tokens().mark(token, Instant::now()))
    }
}

/// The semaphore of one sale.
struct Semaphore {
    epoch: i64,
    permits: i64,
    held_by: HashMap<UserId, u32>,
    holds: VecDeque<Hold>,
}

/// A batch between its permits and its grants.
struct Hold {
    id: u64,
    since: Instant,
    decisions: Vec<Permit>,
    acquired: Vec<UserId>,
}

impl Hold {
    fn units(&self) -> i64 {
        i64::try_from(self.acquired.len()).unwrap_or(i64::MAX)
    }
}

impl Semaphore {
    fn new(content: &SemaphoreContent) -> Self {
        Self {
            epoch: content.epoch,
            permits: content.permits.max(0),
            held_by: content.holders.iter().copied().collect(),
            holds: VecDeque::new(),
        }
    }

    fn acquire(&mut self, batch: &AcquireBatch) -> Vec<Permit> {
        self.drop_old_holds();
        if let Some(hold) = self.holds.iter().find(|hold| hold.id == batch.hold_id) {
            return hold.decisions.clone();
        }
        let decisions: Vec<Permit> =
            batch.users.iter().map(|&user_id| self.take(user_id, batch.per_user_limit)).collect();
        let acquired = batch.users.iter().zip(&decisions).filter(|(_, permit)| **permit == Permit::Acquired);
        let acquired = acquired.map(|(user_id, _)| *user_id).collect();
        if self.holds.len() == MAX_HOLDS {
            self.holds.pop_front();
        }
        let hold = Hold { id: batch.hold_id, since: Instant::now(), decisions: decisions.clone(), acquired };
        self.holds.push_back(hold);
        decisions
    }

    fn take(&mut self, user_id: UserId, limit: u32) -> Permit {
        let held = self.held_by.get(&user_id).copied().unwrap_or(0);
        if held >= limit {
            return Permit::LimitReached;
        }
        if self.permits < 1 {
            return Permit::NoneFree;
        }
        self.permits -= 1;
        self.held_by.insert(user_id, held + 1);
        Permit::Acquired
    }

    fn end_hold(&mut self, hold_id: u64, refused: &[UserId]) {
        let Some(at) = self.holds.iter().position(|hold| hold.id == hold_id) else { return };
        let Some(hold) = self.holds.remove(at) else { return };
        let refused: HashSet<UserId> = refused.iter().copied().collect();
        for user_id in hold.acquired.into_iter().filter(|user_id| refused.contains(user_id)) {
            self.permits += 1;
            self.give_back(user_id);
        }
    }

    fn give_back(&mut self, user_id: UserId) {
        let Some(held) = self.held_by.get_mut(&user_id) else { return };
        *held = held.saturating_sub(1);
        if *held == 0 {
            self.held_by.remove(&user_id);
        }
    }

    fn reconcile(&mut self, remaining: i64) {
        self.drop_old_holds();
        let held: i64 = self.holds.iter().map(Hold::units).sum();
        self.permits = (remaining - held).max(0);
    }

    /// A hold whose node died is not live for ever.
    fn drop_old_holds(&mut self) {
        while self.holds.front().is_some_and(|hold| hold.since.elapsed() >= HOLD_LIFE) {
            self.holds.pop_front();
        }
    }
}

/// Tokens seen lately.
struct SeenTokens {
    life: Duration,
    most: usize,
    seen_at: HashMap<Arc<str>, Instant>,
    by_age: VecDeque<(Instant, Arc<str>)>,
}

impl SeenTokens {
    fn new(life: Duration, most: usize) -> Self {
        Self { life, most, seen_at: HashMap::new(), by_age: VecDeque::new() }
    }

    fn mark(&mut self, token: &str, now: Instant) -> bool {
        self.drop_old(now);
        if self.seen_at.contains_key(token) {
            return false;
        }
        if self.by_age.len() == self.most {
            self.drop_oldest();
        }
        let token: Arc<str> = token.into();
        self.seen_at.insert(token.clone(), now);
        self.by_age.push_back((now, token));
        true
    }

    fn drop_old(&mut self, now: Instant) {
        while self.by_age.front().is_some_and(|(seen_at, _)| now.duration_since(*seen_at) >= self.life) {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((_, token)) = self.by_age.pop_front() {
            self.seen_at.remove(&token);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    crate::coordination_contract!(async { LocalCoordination::new() });

    fn content(permits: i64) -> SemaphoreContent {
        SemaphoreContent { sale_id: SaleId(1), epoch: 1, permits, holders: Vec::new() }
    }

    fn batch(hold_id: u64, users: std::ops::Range<i64>) -> AcquireBatch {
        let users = users.map(UserId).collect();
        AcquireBatch { sale_id: SaleId(1), epoch: 1, hold_id, per_user_limit: 1, users }
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_that_nobody_ends_stops_counting() {
        let coordination = LocalCoordination::new();
        coordination.rebuild(&content(10)).await.unwrap();
        coordination.try_acquire(&batch(1, 0..4)).await.unwrap();
        coordination.reconcile(SaleId(1), 1, 10).await.unwrap();
        assert_eq!(coordination.permits(SaleId(1)).await.unwrap(), Some(6));

        tokio::time::advance(HOLD_LIFE).await;
        coordination.reconcile(SaleId(1), 1, 10).await.unwrap();
        assert_eq!(coordination.permits(SaleId(1)).await.unwrap(), Some(10));
    }

    #[tokio::test]
    async fn holds_are_bounded() {
        let mut semaphore = Semaphore::new(&content(i64::MAX));
        let beyond = MAX_HOLDS as u64 + 10;
        for hold_id in 0..beyond {
            let user = i64::try_from(hold_id).unwrap();
            semaphore.acquire(&batch(hold_id, user..user + 1));
        }
        assert_eq!(semaphore.holds.len(), MAX_HOLDS);
        assert_eq!(semaphore.holds.front().map(|hold| hold.id), Some(10), "the oldest go first");
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_are_bounded_by_count_and_age() {
        let mut tokens = SeenTokens::new(Duration::from_secs(60), 2);
        let start = Instant::now();
        assert!(tokens.mark("a", start));
        assert!(!tokens.mark("a", start));
        assert!(tokens.mark("b", start));
        assert!(tokens.mark("c", start), "pushes out a");
        assert!(tokens.mark("a", start), "was forgotten");
        assert_eq!(tokens.seen_at.len(), 2);
        assert!(tokens.mark("c", start + Duration::from_secs(60)), "too old to be remembered");
        assert_eq!(tokens.seen_at.len(), 1);
        assert_eq!(tokens.by_age.len(), 1);
    }
}
