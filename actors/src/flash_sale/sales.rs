//! The sales this node knows: looked up by id and by SKU in a snapshot, without a lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use actix::{Addr, Handler, Message};
use arc_swap::{ArcSwap, ArcSwapOption};

use super::gate::Gate;
use super::semaphore::SemaphoreActor;
use crate::domain::{SaleId, SkuId, Timestamp};
use crate::supervise::Admission;

/// One sale of this node: its gate and, while it is open, its semaphore.
pub(super) struct KnownSale {
    pub(super) gate: Arc<Gate>,
    /// Bounds the attempts that wait, in the mailbox and behind it.
    pub(super) places: Arc<Admission>,
    semaphore: ArcSwapOption<Addr<SemaphoreActor>>,
    starting: Mutex<()>,
    retired_at: OnceLock<Timestamp>,
}

impl KnownSale {
    pub(super) fn new(gate: Gate, places: usize) -> Self {
        Self {
            gate: Arc::new(gate),
            places: Admission::new(places),
            semaphore: ArcSwapOption::empty(),
            starting: Mutex::new(()),
            retired_at: OnceLock::new(),
        }
    }

    /// Sends to the semaphore, starting it first if there is none or the last one died.
    pub(super) fn tell<M>(&self, message: M, start: impl FnOnce() -> Addr<SemaphoreActor>)
    where
        M: Message<Result = ()> + Send + 'static,
        SemaphoreActor: Handler<M>,
    {
        let semaphore = self.semaphore.load();
        match semaphore.as_deref().filter(|semaphore| semaphore.connected()) {
            // Each kind of message says in the protocol what bounds it.
            Some(semaphore) => semaphore.do_send(message),
            None => self.start(start).do_send(message),
        }
    }

    fn start(&self, start: impl FnOnce() -> Addr<SemaphoreActor>) -> Addr<SemaphoreActor> {
        let _one_at_a_time = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(semaphore) = self.semaphore.load_full().filter(|semaphore| semaphore.connected()) {
            return semaphore.as_ref().clone();
        }
        let semaphore = start();
        if !self.is_retired() {
            self.semaphore.store(Some(Arc::new(semaphore.clone())));
        }
        semaphore
    }

    pub(super) fn has_semaphore(&self) -> bool {
        self.semaphore.load().as_deref().is_some_and(Addr::connected)
    }

    /// Takes the semaphore out, to be closed.
    pub(super) fn take_semaphore(&self) -> Option<Arc<Addr<SemaphoreActor>>> {
        let _not_while_starting = self.starting.lock().unwrap_or_else(PoisonError::into_inner);
        self.semaphore.swap(None)
    }

    /// The sale ended: from now on its gate only says so. `false` when it was known before.
    pub(super) fn retire(&self, now: Timestamp) -> bool {
        self.retired_at.set(now).is_ok()
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired_at.get().is_some()
    }

    pub(super) fn retired_at(&self) -> Option<Timestamp> {
        self.retired_at.get().copied()
    }
}

#[derive(Default)]
struct Snapshot {
    by_id: HashMap<SaleId, Arc<KnownSale>>,
    by_sku: HashMap<SkuId, Arc<KnownSale>>,
}

impl Snapshot {
    fn of(by_id: HashMap<SaleId, Arc<KnownSale>>) -> Self {
        let mut by_sku: HashMap<SkuId, Arc<KnownSale>> = HashMap::new();
        for sale in by_id.values() {
            let shown = by_sku.entry(sale.gate.sku_id()).or_insert_with(|| sale.clone());
            if rank(sale) > rank(shown) {
                *shown = sale.clone();
            }
        }
        Self { by_id, by_sku }
    }
}

/// A SKU stands for its open sale, failing that for the one that ended last.
fn rank(sale: &KnownSale) -> (bool, Option<Timestamp>, SaleId) {
    (!sale.is_retired(), sale.retired_at(), sale.gate.sale_id())
}

/// All known sales.
#[derive(Default)]
pub(super) struct Sales {
    snapshot: ArcSwap<Snapshot>,
    changing: Mutex<()>,
}

impl Sales {
    pub(super) fn get(&self, sale_id: SaleId) -> Option<Arc<KnownSale>> {
        self.snapshot.load().by_id.get(&sale_id).cloned()
    }

    pub(super) fn gate(&self, sale_id: SaleId) -> Option<Arc<Gate>> {
        self.snapshot.load().by_id.get(&sale_id).map(|sale| sale.gate.clone())
    }

    pub(super) fn gate_of_sku(&self, sku_id: SkuId) -> Option<Arc<Gate>> {
        self.snapshot.load().by_sku.get(&sku_id).map(|sale| sale.gate.clone())
    }

    pub(super) fn all(&self) -> Vec<Arc<KnownSale>> {
        self.snapshot.load().by_id.values().cloned().collect()
    }

    /// Adds a sale; when two try, both get the one that stayed.
    pub(super) fn add(&self, sale: KnownSale) -> Arc<KnownSale> {
        self.change(|by_id| by_id.entry(sale.gate.sale_id()).or_insert_with(|| Arc::new(sale)).clone())
    }

    /// Retires a sale, so that its SKU may stand for another.
    pub(super) fn retire(&self, sale: &KnownSale, now: Timestamp) -> bool {
        self.change(|_| sale.retire(now))
    }

    /// Forgets retired sales beyond the latest `most` and those retired before `since`.
    pub(super) fn forget(&self, most: usize, since: Timestamp) {
        let mut retired: Vec<_> = self.all().into_iter().filter(|sale| sale.is_retired()).collect();
        retired.sort_by_key(|sale| std::cmp::Reverse(rank(sale)));
        let is_fresh = |sale: &KnownSale| sale.retired_at().is_none_or(|at| at >= since);
        let kept = retired.iter().take(most).filter(|sale| is_fresh(sale)).count();
        if kept == retired.len() {
            return;
        }
        self.change(|by_id| {
            for sale in &retired[kept..] {
                by_id.remove(&sale.gate.sale_id());
            }
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut HashMap<SaleId, Arc<KnownSale>>) -> T) -> T {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut by_id = self.snapshot.load().by_id.clone();
        let result = change(&mut by_id);
        self.snapshot.store(Arc::new(Snapshot::of(by_id)));
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Money;
    use crate::domain::flash_sale::{ChallengeMode, FlashSale, SaleState};

    fn known(id: i64, sku: i64) -> KnownSale {
        let sale = FlashSale {
            id: SaleId(id),
            sku_id: SkuId(sku),
            price: Money(100),
            count: 10,
            per_user_limit: 1,
            starts_at: Timestamp(0),
            ends_at: Timestamp(1),
            challenge: ChallengeMode::Off,
            state: SaleState::Armed,
            epoch: 1,
            granted: 0,
            released: 0,
        };
        KnownSale::new(Gate::new(sale, 10), 10)
    }

    fn shown(sales: &Sales, sku: i64) -> Option<i64> {
        sales.gate_of_sku(SkuId(sku)).map(|gate| gate.sale_id().0)
    }

    #[test]
    fn a_sku_stands_for_its_open_sale_then_for_the_last_that_ended() {
        let sales = Sales::default();
        let first = sales.add(known(1, 49));
        assert_eq!(shown(&sales, 49), Some(1));
        sales.retire(&first, Timestamp(10));
        assert_eq!(shown(&sales, 49), Some(1));
        let second = sales.add(known(2, 49));
        assert_eq!(shown(&sales, 49), Some(2));
        sales.retire(&second, Timestamp(20));
        assert_eq!(shown(&sales, 49), Some(2));
        assert_eq!(shown(&sales, 48), None);
    }

    #[test]
    fn ended_sales_do_not_pile_up() {
        let sales = Sales::default();
        for id in 1..=5 {
            let sale = sales.add(known(id, id));
            sales.retire(&sale, Timestamp(id * 10));
        }
        sales.add(known(6, 6));
        sales.forget(3, Timestamp(0));
        assert_eq!(shown(&sales, 2), None, "only the latest three stay");
        assert_eq!(shown(&sales, 3), Some(3));
        sales.forget(3, Timestamp(45));
        assert_eq!(shown(&sales, 4), None, "too old");
        assert_eq!(shown(&sales, 5), Some(5));
        assert_eq!(shown(&sales, 6), Some(6), "open sales stay");
    }
}
