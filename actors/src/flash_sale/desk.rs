//! Decides a batch of claims: permits from the coordination, grants from the store, answers (DESIGN rules 5 and 6).
//!
//! Plain asynchronous code; the semaphore actor calls it for one batch at a time.

use std::collections::HashSet;
use std::sync::Arc;

use futures_util::stream::{self, StreamExt};

use super::claims::{Claim, Step};
use super::gate::Gate;
use super::shared::Shared;
use crate::domain::flash_sale::{FlashSale, SaleState};
use crate::domain::reject::Unavailable;
use crate::domain::{OrderSn, UserId};
use crate::ports::coordination::{AcquireBatch, Acquired, Permit, SemaphoreContent};
use crate::ports::store::units::{CommitGrants, EpochRaise, GrantBatch, GrantOutcome, RaiseEpoch};
use crate::protocol::flash_sale::Attempt;
use crate::writer::WriteError;

/// How often one `try_acquire` is sent, always with the same hold.
const ACQUIRE_TRIES: u32 = 3;
/// How many first wins are looked up at the same time.
const LOOKUPS: usize = 16;

/// The desk of one sale.
pub(super) struct Desk {
    gate: Arc<Gate>,
    shared: Arc<Shared>,
}

/// Why a batch was not decided.
enum Setback {
    /// The permits are of another epoch: renew them, then try again.
    Stale,
    /// Not now.
    Unavailable(Unavailable),
}

impl From<Unavailable> for Setback {
    fn from(unavailable: Unavailable) -> Self {
        Self::Unavailable(unavailable)
    }
}

/// The permits a batch took.
struct Hold {
    id: u64,
    epoch: i64,
}

impl Desk {
    pub(super) fn new(gate: Arc<Gate>, shared: Arc<Shared>) -> Self {
        Self { gate, shared }
    }

    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Answers every claim. A stale semaphore is renewed and the batch tried again, once.
    pub(super) async fn decide(&self, claims: &mut [Claim]) {
        metrics::histogram!("seckill_flash_sale_batch_buyers").record(claims.len() as f64);
        for _ in 0..2 {
            let epoch = self.gate.epoch();
            let renewed = match self.try_decide(epoch, claims).await {
                Ok(()) => return,
                Err(Setback::Stale) => self.renew(epoch).await,
                Err(Setback::Unavailable(unavailable)) => Err(unavailable),
            };
            if let Err(unavailable) = renewed {
                tracing::warn!(sale_id = %self.gate.sale_id(), %unavailable, "a batch of attempts is refused");
                return answer_rest(claims, &unavailable);
            }
        }
        answer_rest(claims, &Unavailable::Dependency("the permits are being rebuilt".into()));
    }

    async fn try_decide(&self, epoch: i64, claims: &mut [Claim]) -> Result<(), Setback> {
        self.refuse_early(claims);
        let users: Vec<UserId> = unanswered(claims).map(|claim| claim.user_id).collect();
        if users.is_empty() {
            return Ok(());
        }
        let hold = Hold { id: self.shared.entropy.next_u64(), epoch };
        let permits = self.acquire(&hold, users).await?;
        self.number(claims, &permits);
        self.look_up_first_wins(claims).await;
        self.grant(&hold, claims).await?;
        if unanswered(claims).next().is_some() {
            self.explain(claims).await;
        }
        Ok(())
    }

    /// What the gate says by now: the sale may have ended or sold out while the batch waited.
    fn refuse_early(&self, claims: &mut [Claim]) {
        let now = self.shared.clock.now();
        for claim in claims.iter_mut().filter(|claim| !claim.is_done()) {
            claim.step = Step::Open;
            if let Some(refusal) = self.gate.refuse_early_for(claim.user_id, now) {
                claim.answer(Ok(refusal));
            } else if let Some(first) = self.gate.first_win(claim.user_id) {
                claim.answer(Ok(Attempt::AlreadyWon(first)));
            }
        }
    }

    async fn acquire(&self, hold: &Hold, users: Vec<UserId>) -> Result<Vec<Permit>, Setback> {
        let batch = AcquireBatch {
            sale_id: self.gate.sale_id(),
            epoch: hold.epoch,
            hold_id: hold.id,
            per_user_limit: self.gate.per_user_limit(),
            users,
        };
        let mut tries_left = ACQUIRE_TRIES;
        loop {
            tries_left -= 1;
            match self.shared.ask(self.shared.coordination.try_acquire(&batch)).await {
                Ok(Acquired::Decided(permits)) if permits.len() == batch.users.len() => return Ok(permits),
                Ok(Acquired::Decided(_)) => {
                    return Err(Unavailable::Dependency("not every buyer of a batch was decided".into()).into());
                }
                Ok(Acquired::Stale) => return Err(Setback::Stale),
                // The hold may be taken: the same id asks for the same answer.
                Err(_) if tries_left > 0 => {}
                Err(unavailable) => {
                    self.end_hold(hold, &batch.users).await;
                    return Err(unavailable.into());
                }
            }
        }
    }

    fn number(&self, claims: &mut [Claim], permits: &[Permit]) {
        for (claim, permit) in claims.iter_mut().filter(|claim| !claim.is_done()).zip(permits) {
            let order_sn = self.shared.order_sn(claim.number);
            claim.step = match permit {
                Permit::NoneFree => Step::Crowded,
                Permit::Acquired => Step::Granting { order_sn, held: true, first: None },
                Permit::LimitReached => Step::Granting { order_sn, held: false, first: None },
            };
        }
    }

    /// Buyers at the limit by the coordination's count hear of their first win. The count may be too high: a FAILED
    /// grant does not count in the store, nor does a hold whose node died. Who may still win there goes on without a
    /// permit; the guard of the grant decides.
    async fn look_up_first_wins(&self, claims: &mut [Claim]) {
        let at_limit: Vec<usize> = (0..claims.len()).filter(|at| is_without_permit(&claims[*at].step)).collect();
        let users: Vec<UserId> = at_limit.iter().map(|at| claims[*at].user_id).collect();
        let sale_id = self.gate.sale_id();
        let lookups =
            stream::iter(users).map(|user_id| self.shared.read(self.shared.store.first_grant(sale_id, user_id)));
        let mut first_wins = lookups.buffered(LOOKUPS);
        for at in at_limit {
            let claim = &mut claims[at];
            match (first_wins.next().await, &mut claim.step) {
                (Some(Ok(Some(win))), _) if self.gate.per_user_limit() == 1 => self.already_won(claim, win.order_sn),
                (Some(Ok(Some(win))), Step::Granting { first, .. }) => *first = Some(win.order_sn),
                (Some(Err(unavailable)), _) => claim.answer(Err(unavailable)),
                _ => {}
            }
        }
    }

    fn already_won(&self, claim: &mut Claim, first: OrderSn) {
        self.gate.winners().won(claim.user_id, first.clone());
        claim.answer(Ok(Attempt::AlreadyWon(first)));
    }

    /// Commits the grants, answers the winners, then ends the hold. What is left unanswered needs [`Self::explain`].
    async fn grant(&self, hold: &Hold, claims: &mut [Claim]) -> Result<(), Setback> {
        let winners: Vec<(UserId, OrderSn)> = claims.iter().filter_map(winner).collect();
        let held: HashSet<UserId> =
            claims.iter().filter(|claim| holds_permit(&claim.step)).map(|c| c.user_id).collect();
        let granted = match winners.is_empty() {
            true => Ok(GrantBatch::Decided(Vec::new())),
            false => self.commit(hold.epoch, winners).await,
        };
        let mut granted_now = HashSet::new();
        match granted {
            // The hold dies with its epoch.
            Ok(GrantBatch::OtherEpoch) => return Err(Setback::Stale),
            // The gate was ahead of the store's clock or state.
            Ok(GrantBatch::NotLive) => {}
            Ok(GrantBatch::Decided(outcomes)) => self.tell(claims, outcomes, &mut granted_now),
            Err(unavailable) => answer_granting(claims, &unavailable),
        }
        let refused: Vec<UserId> = held.difference(&granted_now).copied().collect();
        self.end_hold(hold, &refused).await;
        Ok(())
    }

    /// Commits; an unknown outcome is read back by order number before anybody is answered.
    async fn commit(&self, epoch: i64, winners: Vec<(UserId, OrderSn)>) -> Result<GrantBatch, Unavailable> {
        let numbers: Vec<OrderSn> = winners.iter().map(|(_, order_sn)| order_sn.clone()).collect();
        let unit = CommitGrants { sale_id: self.gate.sale_id(), epoch, winners };
        match self.shared.commit(unit).await {
            Ok(GrantBatch::Decided(outcomes)) if outcomes.len() != numbers.len() => {
                Err(Unavailable::Dependency("not every grant of a batch was decided".into()))
            }
            Ok(batch) => Ok(batch),
            Err(WriteError::NotTried(unavailable)) => Err(unavailable),
            Err(error @ WriteError::Store(_)) => {
                tracing::warn!(sale_id = %self.gate.sale_id(), %error, "grants are read back");
                self.read_back(&numbers).await
            }
        }
    }

    async fn read_back(&self, numbers: &[OrderSn]) -> Result<GrantBatch, Unavailable> {
        let grants = self.shared.read(self.shared.store.grants(numbers)).await?;
        let granted: HashSet<OrderSn> = grants.into_iter().map(|grant| grant.order_sn).collect();
        // Who has no grant is told what a fresh look at the sale says: sold out, or try again.
        let outcome = |order_sn| if granted.contains(order_sn) { GrantOutcome::Granted } else { GrantOutcome::SoldOut };
        Ok(GrantBatch::Decided(numbers.iter().map(outcome).collect()))
    }

    fn tell(&self, claims: &mut [Claim], outcomes: Vec<GrantOutcome>, granted_now: &mut HashSet<UserId>) {
        let granting = claims.iter_mut().filter(|claim| is_granting(&claim.step));
        for (claim, outcome) in granting.zip(outcomes) {
            let Step::Granting { order_sn, first, .. } = claim.step.clone() else { continue };
            match (outcome, first) {
                (GrantOutcome::Granted, _) => {
                    granted_now.insert(claim.user_id);
                    if self.gate.per_user_limit() == 1 {
                        self.gate.winners().won(claim.user_id, order_sn.clone());
                    }
                    claim.answer(Ok(Attempt::Won(order_sn)));
                }
                (GrantOutcome::LimitReached(first), _) => self.already_won(claim, first),
                (GrantOutcome::SoldOut, Some(first)) => claim.answer(Ok(Attempt::AlreadyWon(first))),
                // Answered once the store's remaining is read, which also sets the flag.
                (GrantOutcome::SoldOut, None) => claim.step = Step::Crowded,
            }
        }
    }

    async fn end_hold(&self, hold: &Hold, refused: &[UserId]) {
        let ended = self.shared.coordination.end_hold(self.gate.sale_id(), hold.epoch, hold.id, refused);
        if let Err(unavailable) = self.shared.ask(ended).await {
            // It stops counting by age; until then the reconciler leaves too much room for it.
            tracing::warn!(sale_id = %self.gate.sale_id(), %unavailable, "a hold was not ended");
        }
    }

    /// Answers those who got neither permit nor grant, by a fresh look at the store: sold out only if it says so.
    async fn explain(&self, claims: &mut [Claim]) {
        let looked = self.reconcile().await;
        let now = self.shared.clock.now();
        let refusal = self.gate.refuse_early(now);
        for claim in claims.iter_mut().filter(|claim| !claim.is_done()) {
            claim.answer(match (&refusal, &looked) {
                (Some(refusal), _) => Ok(refusal.clone()),
                (None, Err(unavailable)) => Err(unavailable.clone()),
                (None, Ok(_)) => Err(Unavailable::Dependency("no unit could be granted just now".into())),
            });
        }
    }

    /// Makes sure that the permits are there and right: at start, and when a sale is armed.
    pub(super) async fn restore(&self) -> Result<(), Unavailable> {
        match self.reconcile().await? {
            true => Ok(()),
            false => self.rebuild(self.gate.epoch()).await,
        }
    }

    /// Sets the permits by the store's remaining, then the gate's view: who is let in again finds a permit.
    /// `false` when the semaphore is missing or of another epoch.
    pub(super) async fn reconcile(&self) -> Result<bool, Unavailable> {
        let sale = self.shared.sale(self.gate.sale_id()).await?;
        let set = self.shared.coordination.reconcile(sale.id, sale.epoch, sale.remaining());
        let set = self.shared.ask(set).await;
        self.gate.observe(sale);
        set
    }

    /// Leaves the epoch `used`: another node may have left it already, else the permits are rebuilt here.
    async fn renew(&self, used: i64) -> Result<(), Unavailable> {
        let sale = self.shared.sale(self.gate.sale_id()).await?;
        let is_behind = sale.epoch != used;
        let is_open = is_open(&sale);
        self.gate.observe(sale);
        if is_behind || !is_open {
            return Ok(());
        }
        self.rebuild(used).await
    }

    /// Raises the epoch by compare-and-set, then writes the permits from the store. Grants of older epochs are refused
    /// from the raise on, so the content cannot change between the reads below.
    async fn rebuild(&self, from: i64) -> Result<(), Unavailable> {
        let sale_id = self.gate.sale_id();
        metrics::counter!("seckill_flash_sale_rebuilds_total").increment(1);
        let raised = self.shared.commit(RaiseEpoch { sale_id, from }).await?;
        let sale = self.shared.sale(sale_id).await?;
        self.gate.observe(sale.clone());
        let EpochRaise::Raised(epoch) = raised else { return Ok(()) };
        let holders = self.shared.read(self.shared.store.holders(sale_id)).await?;
        if sale.epoch != epoch || !is_open(&sale) {
            return Ok(());
        }
        let content = SemaphoreContent { sale_id, epoch, permits: sale.remaining(), holders };
        tracing::info!(%sale_id, epoch, permits = content.permits, "permits are rebuilt");
        if self.shared.rebuild(&content).await? {
            return Ok(());
        }
        self.overrule(content).await
    }

    /// The coordination has a later epoch. Either another node was faster, or it outlived a store that was put back
    /// to an earlier day; then the store is right all the same.
    async fn overrule(&self, content: SemaphoreContent) -> Result<(), Unavailable> {
        let sale = self.shared.sale(content.sale_id).await?;
        let was_overtaken = sale.epoch != content.epoch;
        self.gate.observe(sale);
        if was_overtaken {
            return Ok(());
        }
        self.shared.ask(self.shared.coordination.forget(content.sale_id)).await?;
        self.shared.rebuild(&content).await?;
        Ok(())
    }
}

/// Whether a sale holds units for winners.
pub(super) fn is_open(sale: &FlashSale) -> bool {
    matches!(sale.state, SaleState::Armed | SaleState::Paused)
}

fn unanswered(claims: &[Claim]) -> impl Iterator<Item = &Claim> {
    claims.iter().filter(|claim| !claim.is_done())
}

fn answer_rest(claims: &mut [Claim], unavailable: &Unavailable) {
    for claim in claims.iter_mut().filter(|claim| !claim.is_done()) {
        claim.answer(Err(unavailable.clone()));
    }
}

fn answer_granting(claims: &mut [Claim], unavailable: &Unavailable) {
    for claim in claims.iter_mut().filter(|claim| is_granting(&claim.step)) {
        claim.answer(Err(unavailable.clone()));
    }
}

fn winner(claim: &Claim) -> Option<(UserId, OrderSn)> {
    match &claim.step {
        Step::Granting { order_sn, .. } => Some((claim.user_id, order_sn.clone())),
        _ => None,
    }
}

fn is_granting(step: &Step) -> bool {
    matches!(step, Step::Granting { .. })
}

fn holds_permit(step: &Step) -> bool {
    matches!(step, Step::Granting { held: true, .. })
}

fn is_without_permit(step: &Step) -> bool {
    matches!(step, Step::Granting { held: false, .. })
}
