//! What is durable when it is answered: commits of reserved units, locks of other systems, unlock and minus.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use futures_util::StreamExt;
use tokio::time::timeout;

use super::StockDirectory;
use super::directory::{deadline_in, summed};
use crate::domain::order::LockLine;
use crate::domain::reject::{Failure, Reject, Shortage, Unavailable};
use crate::domain::stock::Resolution;
use crate::domain::{OrderSn, SkuId};
use crate::ports::store::units::{LockRequest, LockResolved, LockStock, StockLock, StockLocks, Unit};
use crate::ports::store::{LockRow, StoreError};
use crate::protocol::stock::{Lock, LockAnswer, Refusal, Resolve};

/// Actors that one `resolve` asks at the same time.
const ASKED_AT_ONCE: usize = 32;

impl StockDirectory {
    /// Reserves, commits the unit that `make` builds from the lines, and answers its outcome. When `stale` names SKUs,
    /// their rows are read again and everything is decided again, at most [`super::StockSettings::decisions`] times.
    ///
    /// # Errors
    /// Those of [`StockDirectory::reserve`], and [`Failure::Unavailable`] when the commit failed, or its outcome is
    /// not known in time.
    pub async fn commit_reserved<U: Unit>(
        &self,
        wants: &[(SkuId, u32)],
        make: impl Fn(Vec<LockLine>) -> U,
        stale: impl Fn(&U::Outcome) -> Vec<SkuId>,
    ) -> Result<U::Outcome, Failure> {
        self.commit_lines(wants, make, stale).await.map(|(outcome, _)| outcome)
    }

    async fn commit_lines<U: Unit>(
        &self,
        wants: &[(SkuId, u32)],
        make: impl Fn(Vec<LockLine>) -> U,
        stale: impl Fn(&U::Outcome) -> Vec<SkuId>,
    ) -> Result<(U::Outcome, Vec<LockLine>), Failure> {
        for _ in 0..self.tools.settings.decisions {
            let reservation = self.reserve(wants).await?;
            let lines = reservation.lines().to_vec();
            let queued = reservation.queue(&self.tools.writer, make(lines.clone())).map_err(Unavailable::from)?;
            let outcome = queued.outcome_within(self.tools.settings.commit).await.map_err(Unavailable::from)?;
            let stale_skus = stale(&outcome);
            if stale_skus.is_empty() {
                return Ok((outcome, lines));
            }
            metrics::counter!("seckill_stock_stale_total").increment(1);
            self.refresh(&stale_skus).await;
        }
        Err(Unavailable::Dependency("the stock rows keep changing".into()).into())
    }

    /// Locks units for another system, all or none. The same owner again locks nothing, even when nothing is free any
    /// more, and hears [`StockLock::Exists`] with the lines it has.
    ///
    /// # Errors
    /// Those of [`StockDirectory::commit_reserved`].
    pub async fn lock(
        &self,
        order_sn: OrderSn,
        wants: &[(SkuId, u32)],
        lease: Duration,
    ) -> Result<(StockLock, Vec<LockLine>), Failure> {
        let wants: Vec<(SkuId, u32)> = summed(wants)?.into_iter().collect();
        let answer = match wants[..] {
            [(sku_id, num)] => self.lock_one(order_sn.clone(), sku_id, num, lease).await,
            _ => self.lock_several(order_sn.clone(), &wants, lease).await,
        };
        match answer {
            Ok(LockAnswer::Locked(lines)) => Ok((StockLock::Locked, lines)),
            Ok(LockAnswer::Exists) => Ok((StockLock::Exists, self.lines_of(&order_sn).await?)),
            Err(Failure::Rejected(refusal)) => match self.lines_of(&order_sn).await? {
                none if none.is_empty() => Err(refusal.into()),
                lines => Ok((StockLock::Exists, lines)),
            },
            Err(unavailable) => Err(unavailable),
        }
    }

    async fn lock_one(
        &self,
        order_sn: OrderSn,
        sku_id: SkuId,
        wanted: u32,
        lease: Duration,
    ) -> Result<LockAnswer, Failure> {
        let deadline = deadline_in(self.tools.settings.commit);
        let message = |reply| Lock { order_sn, num: wanted, lease, reply };
        self.ask(sku_id, deadline, message).await?.map_err(|refusal| match refusal {
            Refusal::Unknown => Reject::UnknownSku(sku_id).into(),
            Refusal::Short { available } => Reject::StockShort(vec![Shortage { sku_id, wanted, available }]).into(),
            Refusal::Unavailable(unavailable) => unavailable.into(),
        })
    }

    async fn lock_several(
        &self,
        order_sn: OrderSn,
        wants: &[(SkuId, u32)],
        lease: Duration,
    ) -> Result<LockAnswer, Failure> {
        let make = |lines| LockStock { requests: vec![LockRequest { order_sn: order_sn.clone(), lines }], lease };
        let stale = |outcome: &StockLocks| match outcome {
            StockLocks::Stale(sku_ids) => sku_ids.clone(),
            StockLocks::Done(_) => Vec::new(),
        };
        let (outcome, lines) = self.commit_lines(wants, make, stale).await?;
        match outcome {
            StockLocks::Done(answers) if answers == [StockLock::Exists] => Ok(LockAnswer::Exists),
            StockLocks::Done(answers) if answers == [StockLock::Locked] => Ok(LockAnswer::Locked(lines)),
            _ => Err(Unavailable::Dependency("the store answered another number of owners".into()).into()),
        }
    }

    async fn lines_of(&self, order_sn: &OrderSn) -> Result<Vec<LockLine>, Unavailable> {
        let locks = self.locks_of(std::slice::from_ref(order_sn)).await?;
        Ok(locks.into_iter().map(|lock| lock.line).collect())
    }

    async fn locks_of(&self, order_sns: &[OrderSn]) -> Result<Vec<LockRow>, Unavailable> {
        match timeout(self.tools.settings.read, self.tools.store.locks_of(order_sns)).await {
            Ok(locks) => locks.map_err(|error: StoreError| Unavailable::Dependency(error.to_string())),
            Err(_) => Err(Unavailable::Dependency("reading stock locks takes too long".into())),
        }
    }

    /// Resolves all locks of these owners, each SKU's at its actor. One answer per owner, in order, with one entry per
    /// SKU, by ascending id; an owner without locks gives one [`LockResolved::Unknown`]. Resolving again is safe, and
    /// is the thing to do where an answer is `Err`.
    pub async fn resolve(
        &self,
        way: Resolution,
        order_sns: &[OrderSn],
        lapsed_only: bool,
    ) -> Vec<Result<Vec<LockResolved>, Unavailable>> {
        let locks = match self.locks_of(order_sns).await {
            Ok(locks) => locks,
            Err(unavailable) => return vec![Err(unavailable); order_sns.len()],
        };
        let parts = self.parts_by_sku(&locks).into_iter().map(|(sku_id, owners)| async move {
            let answer = self.resolve_at(sku_id, way, owners.clone(), lapsed_only).await;
            (sku_id, owners, answer)
        });
        let mut answers: Vec<_> = futures_util::stream::iter(parts).buffer_unordered(ASKED_AT_ONCE).collect().await;
        answers.sort_by_key(|(sku_id, ..)| *sku_id);

        let mut by_owner: HashMap<OrderSn, Result<Vec<LockResolved>, Unavailable>> = HashMap::new();
        for (_, owners, answer) in answers {
            for (index, owner) in owners.into_iter().enumerate() {
                let resolved = answer.as_ref().map(|answers| answers[index].clone()).map_err(Clone::clone);
                join(by_owner.entry(owner).or_insert_with(|| Ok(Vec::new())), resolved);
            }
        }
        order_sns.iter().map(|owner| by_owner.get(owner).cloned().unwrap_or(Ok(vec![LockResolved::Unknown]))).collect()
    }

    /// Who has locks on which SKU, each owner once, in messages of at most one flush.
    fn parts_by_sku(&self, locks: &[LockRow]) -> Vec<(SkuId, Vec<OrderSn>)> {
        let mut owners_by_sku: BTreeMap<SkuId, BTreeSet<&OrderSn>> = BTreeMap::new();
        for lock in locks {
            owners_by_sku.entry(lock.line.sku_id).or_default().insert(&lock.order_sn);
        }
        let mut parts = Vec::with_capacity(owners_by_sku.len());
        for (sku_id, owners) in owners_by_sku {
            let owners: Vec<OrderSn> = owners.into_iter().cloned().collect();
            parts.extend(owners.chunks(self.tools.settings.max_flush).map(|part| (sku_id, part.to_vec())));
        }
        parts
    }

    async fn resolve_at(
        &self,
        sku_id: SkuId,
        way: Resolution,
        order_sns: Vec<OrderSn>,
        lapsed_only: bool,
    ) -> Result<Vec<LockResolved>, Unavailable> {
        let deadline = deadline_in(self.tools.settings.commit);
        self.ask(sku_id, deadline, |reply| Resolve { way, order_sns, lapsed_only, reply }).await?
    }
}

/// One owner's locks on one more SKU; a failure on any SKU is the owner's answer.
fn join(owner: &mut Result<Vec<LockResolved>, Unavailable>, resolved: Result<LockResolved, Unavailable>) {
    match (owner.as_mut(), resolved) {
        (Ok(known), Ok(resolved)) => known.push(resolved),
        (Ok(_), Err(unavailable)) => *owner = Err(unavailable),
        (Err(_), _) => {}
    }
}
