//! SKU → actor. Starts actors when they are first asked, forgets those that ended, rebuilds those that panicked.
//!
//! An actor is started unloaded and reads its rows itself, so a start never waits, a thousand first callers share one
//! actor and one read, and no guard of the map is held over an await.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use actix::prelude::*;
use dashmap::DashMap;
use futures_util::StreamExt;
use futures_util::future::join_all;
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout, timeout_at};

use super::actor::{Presence, StockActor};
use super::{Reservation, StockSettings, Tools};
use crate::domain::SkuId;
use crate::domain::reject::{Failure, Reject, Shortage, Unavailable};
use crate::domain::stock::StockRow;
use crate::ports::clock::Clock;
use crate::ports::store::Store;
use crate::protocol::stock::{Refresh, Refusal, Reserve, Settle, SkuNews, StockNews, Stop};
use crate::supervise::{Admission, Refused, Reply};
use crate::writer::Writer;

/// Handle to the stock actors of this node.
pub struct StockDirectory {
    pub(super) tools: Arc<Tools>,
    entries: Arc<DashMap<SkuId, Entry>>,
    arbiters: Vec<ArbiterHandle>,
    stopping: AtomicBool,
}

/// A started actor.
#[derive(Clone)]
pub(super) struct Entry {
    address: Addr<StockActor>,
    admission: Arc<Admission>,
}

impl Entry {
    /// Whether this is the entry of the actor with that admission, and not of its successor.
    pub(super) fn is_behind(&self, admission: &Arc<Admission>) -> bool {
        Arc::ptr_eq(&self.admission, admission)
    }
}

impl StockDirectory {
    /// A directory that starts its actors on `arbiters`, of which there must be at least one.
    pub fn new(
        store: Arc<dyn Store>,
        writer: Writer,
        clock: Arc<dyn Clock>,
        settings: StockSettings,
        arbiters: Vec<ArbiterHandle>,
    ) -> Arc<Self> {
        assert!(!arbiters.is_empty(), "actors need a thread");
        Arc::new(Self {
            tools: Arc::new(Tools { store, writer, clock, settings }),
            entries: Arc::default(),
            arbiters,
            stopping: AtomicBool::new(false),
        })
    }

    /// Promises units of each SKU in memory, or of none. SKUs are asked one after the other by ascending id, so that
    /// two callers can never wait for each other. A SKU named twice counts once, with the sum.
    ///
    /// # Errors
    /// [`Reject::UnknownSku`]; [`Reject::StockShort`] with every SKU that is short; [`Reject::EmptyOrder`] when a wish
    /// is for no unit; [`Failure::Unavailable`].
    pub async fn reserve(&self, wants: &[(SkuId, u32)]) -> Result<Reservation, Failure> {
        let wants = summed(wants)?;
        let deadline = Instant::now() + self.tools.settings.request;
        let mut promises = Vec::with_capacity(wants.len());
        let mut shortages = Vec::new();
        for (sku_id, wanted) in wants {
            match self.ask(sku_id, deadline, |reply| Reserve { num: wanted, reply }).await? {
                Ok(promise) => promises.push(promise),
                Err(Refusal::Unknown) => return Err(Reject::UnknownSku(sku_id).into()),
                Err(Refusal::Short { available }) => shortages.push(Shortage { sku_id, wanted, available }),
                Err(Refusal::Unavailable(unavailable)) => return Err(unavailable.into()),
            }
        }
        if !shortages.is_empty() {
            return Err(Reject::StockShort(shortages).into());
        }
        Ok(Reservation::new(promises))
    }

    /// Makes the actors of these SKUs read their rows again. A SKU without an actor needs none: its next one reads.
    pub async fn refresh(&self, sku_ids: &[SkuId]) {
        const AT_ONCE: usize = 16;
        let present =
            sku_ids.iter().copied().filter(|sku_id| self.entries.contains_key(sku_id)).map(|id| self.rows(id));
        let refreshed: Vec<_> =
            futures_util::stream::iter(present.collect::<Vec<_>>()).buffer_unordered(AT_ONCE).collect().await;
        for error in refreshed.into_iter().filter_map(Result::err) {
            tracing::debug!(%error, "stock rows were not refreshed");
        }
    }

    /// The rows of a SKU, freshly read, by row id; empty when it has none.
    ///
    /// # Errors
    /// [`Unavailable`].
    pub async fn rows(&self, sku_id: SkuId) -> Result<Vec<StockRow>, Unavailable> {
        let deadline = Instant::now() + self.tools.settings.request;
        self.ask(sku_id, deadline, |reply| Refresh { reply }).await?
    }

    /// Actors that exist now.
    pub fn active(&self) -> usize {
        self.entries.len()
    }

    /// Refuses new work, lets the actors finish what they were asked, and ends them; gives up after
    /// [`StockSettings::commit`]. The writer must still run.
    pub async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        let ends: Vec<_> = self.entries.iter().map(|entry| entry.value().clone()).map(end).collect();
        if timeout(self.tools.settings.commit, join_all(ends)).await.is_err() {
            tracing::warn!(actors = self.active(), "stock actors still had work when they were stopped");
        }
    }

    /// Sends one message and waits for its answer. A caller that meets a closed queue asks for the actor's successor
    /// once; one whose actor died under it hears so, and the next call meets a rebuilt one.
    pub(super) async fn ask<M, T>(
        &self,
        sku_id: SkuId,
        deadline: Instant,
        message: impl FnOnce(Reply<T>) -> M,
    ) -> Result<T, Unavailable>
    where
        M: Message<Result = ()> + Send + 'static,
        StockActor: Handler<M>,
    {
        let (entry, permit) = self.enter(sku_id)?;
        let (reply, answer) = Reply::new(permit);
        // Bounded by the permit.
        entry.address.do_send(message(reply));
        match timeout_at(deadline, answer).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(_)) => {
                self.forget(sku_id, &entry.admission);
                Err(self.gone(sku_id))
            }
            Err(_) => Err(Unavailable::Dependency(format!("stock of SKU {sku_id} was not decided in time"))),
        }
    }

    fn enter(&self, sku_id: SkuId) -> Result<(Entry, crate::supervise::Permit), Unavailable> {
        for _ in 0..2 {
            let entry = self.entry(sku_id)?;
            match entry.admission.try_enter() {
                Ok(permit) => return Ok((entry, permit)),
                Err(Refused::Full) => {
                    metrics::counter!("seckill_stock_overloaded_total").increment(1);
                    return Err(Unavailable::Overloaded);
                }
                Err(Refused::Closed) => self.forget(sku_id, &entry.admission),
            }
        }
        Err(self.gone(sku_id))
    }

    fn entry(&self, sku_id: SkuId) -> Result<Entry, Unavailable> {
        if self.stopping.load(Ordering::Acquire) {
            return Err(Unavailable::Stopping);
        }
        if let Some(entry) = self.entries.get(&sku_id) {
            return Ok(entry.clone());
        }
        // Callers that come here together may overshoot by their number, which the server bounds.
        if self.entries.len() >= self.tools.settings.max_actors {
            return Err(Unavailable::Overloaded);
        }
        Ok(self.entries.entry(sku_id).or_insert_with(|| self.start(sku_id)).clone())
    }

    /// Starts an actor; returns at once. Runs under a guard of the map, so nothing here may touch the map: the part
    /// that leaves the map on drop is only made on the actor's thread.
    fn start(&self, sku_id: SkuId) -> Entry {
        let admission = Admission::new(self.tools.settings.mailbox);
        let tools = Arc::clone(&self.tools);
        let entries = Arc::downgrade(&self.entries);
        let actors_admission = Arc::clone(&admission);
        let address = StockActor::start_in_arbiter(self.arbiter_of(sku_id), move |_| {
            StockActor::new(tools, Presence { sku_id, entries, admission: actors_admission })
        });
        Entry { address, admission }
    }

    fn arbiter_of(&self, sku_id: SkuId) -> &ArbiterHandle {
        // Fibonacci hashing: neighbouring ids land on different threads, and so do ids with a common step.
        let spread = sku_id.0.cast_unsigned().wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let index = usize::try_from(spread).unwrap_or(0) % self.arbiters.len();
        &self.arbiters[index]
    }

    fn forget(&self, sku_id: SkuId, admission: &Arc<Admission>) {
        admission.close();
        self.entries.remove_if(&sku_id, |_, entry| entry.is_behind(admission));
    }

    fn gone(&self, sku_id: SkuId) -> Unavailable {
        if self.stopping.load(Ordering::Acquire) {
            return Unavailable::Stopping;
        }
        Unavailable::Dependency(format!("the stock actor of SKU {sku_id} is being rebuilt"))
    }

    /// Makes the actor of a SKU panic, if there is one.
    #[cfg(any(test, feature = "testkit"))]
    pub fn blow(&self, sku_id: SkuId) {
        if let Some(entry) = self.entries.get(&sku_id) {
            entry.address.do_send(super::actor::Blow);
        }
    }
}

impl StockNews for StockDirectory {
    fn tell(&self, sku_id: SkuId, news: SkuNews) {
        // No actor: the next one reads the store, which has the news. Bounded: one message a batch and SKU.
        if let Some(entry) = self.entries.get(&sku_id) {
            entry.address.do_send(Settle(news));
        }
    }
}

async fn end(entry: Entry) {
    entry.admission.close();
    let (done, ended) = oneshot::channel();
    entry.address.do_send(Stop { done });
    // Dropped unsent when the actor is gone already, which is as good.
    let _ = ended.await;
}

/// The wishes by ascending SKU id, each SKU once.
pub(super) fn summed(wants: &[(SkuId, u32)]) -> Result<BTreeMap<SkuId, u32>, Reject> {
    let mut sums: BTreeMap<SkuId, u32> = BTreeMap::new();
    for &(sku_id, num) in wants {
        if num == 0 {
            return Err(Reject::EmptyOrder);
        }
        let sum = sums.entry(sku_id).or_default();
        *sum = sum.saturating_add(num);
    }
    if sums.is_empty() { Err(Reject::EmptyOrder) } else { Ok(sums) }
}

/// The moment after which nobody waits any more.
pub(super) fn deadline_in(limit: Duration) -> Instant {
    Instant::now() + limit
}
