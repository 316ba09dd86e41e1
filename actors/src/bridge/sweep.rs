//! The net under every path: finds in the store what should have happened by message and did not (DESIGN rule 9).

use std::collections::{HashMap, HashSet};
use std::future::Future;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::apply::{Applier, Batch, Try};
use super::stopped;
use crate::domain::events::{Message, OrderRef, SecKill};
use crate::domain::flash_sale::Grant;
use crate::domain::stock::LockState;
use crate::domain::{OrderSn, SaleId, SkuId};
use crate::ports::store::{LockRow, Store, StoreError};
use crate::protocol::bridge::{EffectBatch, Effects, Handled};

/// Settings of the sweep.
#[derive(Clone, Copy, Debug)]
pub struct SweepSettings {
    /// Pause between two sweeps.
    pub interval: Duration,
    /// Items of one batch.
    pub batch: usize,
    /// Most batches of one part in one sweep; the rest waits for the next.
    pub most_batches: usize,
    /// `order.close_grace`
    pub close_grace: Duration,
    /// How old a grant without an order, a lock without its resolution, a payment without its points or an unmarked
    /// outbox row must be.
    pub age: Duration,
    /// Longest time one call of the effects may take.
    pub apply_timeout: Duration,
    /// Longest wait for a read.
    pub read_timeout: Duration,
}

impl SweepSettings {
    /// The usual settings with this close grace.
    pub const fn new(close_grace: Duration) -> Self {
        Self {
            interval: Duration::from_secs(30),
            batch: 200,
            most_batches: 100,
            close_grace,
            age: Duration::from_secs(30),
            apply_timeout: Duration::from_secs(30),
            read_timeout: Duration::from_secs(10),
        }
    }
}

/// What is swept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Unpaid orders past their time.
    OverdueOrders,
    /// Grants without an order.
    UnorderedGrants,
    /// Locks of other systems past their lease.
    LapsedLocks,
    /// Locks of orders that are paid or closed.
    UnresolvedLocks,
    /// Paid orders whose points were not credited.
    MissingPoints,
    /// Outbox rows that are not marked.
    Outbox,
    /// Sales past their window.
    EndedSales,
    /// Refunds that the gateway has not confirmed.
    Refunds,
    /// Shipped orders that count as received by now.
    DueReceipts,
}

impl Part {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::OverdueOrders,
        Self::UnorderedGrants,
        Self::LapsedLocks,
        Self::UnresolvedLocks,
        Self::MissingPoints,
        Self::Outbox,
        Self::EndedSales,
        Self::Refunds,
        Self::DueReceipts,
    ];

    /// Its name in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::OverdueOrders => "overdue_orders",
            Self::UnorderedGrants => "unordered_grants",
            Self::LapsedLocks => "lapsed_locks",
            Self::UnresolvedLocks => "unresolved_locks",
            Self::MissingPoints => "missing_points",
            Self::Outbox => "outbox",
            Self::EndedSales => "ended_sales",
            Self::Refunds => "refunds",
            Self::DueReceipts => "due_receipts",
        }
    }
}

/// What one sweep did for one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartReport {
    /// The part.
    pub part: Part,
    /// Items found.
    pub found: usize,
    /// Of these, done.
    pub done: usize,
    /// Whether it ended by an error or a panic; the other parts went on.
    pub has_failed: bool,
}

/// Finds and mends.
pub struct Sweep {
    store: Arc<dyn Store>,
    applier: Applier,
    outbox: mpsc::Sender<Vec<Message>>,
    settings: SweepSettings,
    running: Mutex<()>,
}

#[derive(Clone, Copy, Default)]
struct Tally {
    found: usize,
    done: usize,
}

impl Sweep {
    /// A sweep over this store. `outbox` is the relay's, the same that the store writer hints through.
    pub fn new(
        store: Arc<dyn Store>,
        effects: Arc<dyn Effects>,
        outbox: mpsc::Sender<Vec<Message>>,
        settings: SweepSettings,
    ) -> Arc<Self> {
        let applier = Applier::new(effects, settings.apply_timeout);
        Arc::new(Self { store, applier, outbox, settings, running: Mutex::new(()) })
    }

    /// Sweeps at once and then every interval, until stopped.
    pub fn start(self: &Arc<Self>) -> SweepLoop {
        let (stop, stopping) = watch::channel(false);
        SweepLoop { stop, task: tokio::spawn(self.clone().run(stopping)) }
    }

    async fn run(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut ticks = interval(self.settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                _ = ticks.tick() => {}
            }
            tokio::select! {
                biased;
                // What is half done is found again.
                () = stopped(&mut stop) => return,
                _ = self.step() => {}
            }
        }
    }

    /// Sweeps every part once, side by side, so that a slow gateway does not hold up the others. Empty when another
    /// sweep is running.
    pub async fn step(&self) -> Vec<PartReport> {
        let Ok(_running) = self.running.try_lock() else { return Vec::new() };
        join_all(Part::ALL.map(|part| self.guard(part))).await
    }

    async fn guard(&self, part: Part) -> PartReport {
        let mut tally = Tally::default();
        let outcome = AssertUnwindSafe(self.sweep(part, &mut tally)).catch_unwind().await;
        let failure = match outcome {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_) => Some("panicked".to_owned()),
        };
        let name = part.as_str();
        metrics::counter!("seckill_sweep_found_total", "part" => name).increment(tally.found as u64);
        metrics::counter!("seckill_sweep_done_total", "part" => name).increment(tally.done as u64);
        if let Some(failure) = &failure {
            metrics::counter!("seckill_sweep_failures_total", "part" => name).increment(1);
            tracing::error!(part = name, failure, "a part of the sweep failed");
        }
        if tally.found > 0 {
            tracing::info!(part = name, found = tally.found, done = tally.done, "the sweep found something");
        }
        PartReport { part, found: tally.found, done: tally.done, has_failed: failure.is_some() }
    }

    async fn sweep(&self, part: Part, tally: &mut Tally) -> Result<(), StoreError> {
        let (store, age_ms) = (self.store.as_ref(), millis(self.settings.age));
        match part {
            Part::OverdueOrders => {
                let read = |limit| store.overdue_orders(self.settings.close_grace, limit);
                self.work_off(tally, read, Clone::clone, |found| self.apply_orders(found, EffectBatch::OrderClose))
                    .await
            }
            Part::UnorderedGrants => {
                let read = |limit| store.unordered_grants(age_ms, limit);
                self.work_off(tally, read, |grant| grant.order_sn.clone(), |found| self.make_orders(found)).await
            }
            Part::LapsedLocks => {
                let read = |limit| store.lapsed_locks(limit);
                let apply = |found: Vec<LockRow>| self.apply_orders(owners(found.iter()), EffectBatch::ReleaseLapsed);
                self.work_off(tally, read, |row| row.order_sn.clone(), apply).await
            }
            Part::UnresolvedLocks => {
                let read = |limit| store.unresolved_locks(age_ms, limit);
                self.work_off(tally, read, |(row, _)| row.order_sn.clone(), |found| self.resolve(found)).await
            }
            Part::MissingPoints => {
                let read = |limit| store.missing_points(age_ms, limit);
                let apply = |found| self.apply(EffectBatch::BoundPlus(found));
                self.work_off(tally, read, |credit| credit.order_token.clone(), apply).await
            }
            Part::Outbox => self.nudge_relay(tally).await,
            Part::EndedSales => self.end_sales(tally).await,
            Part::DueReceipts => {
                let read = |limit| store.due_receipts(limit);
                self.work_off(tally, read, Clone::clone, |found| self.apply_orders(found, EffectBatch::AutoReceive))
                    .await
            }
            Part::Refunds => {
                let read = |limit| store.pending_refunds(limit);
                let apply = |found| self.apply(EffectBatch::Refunds(found));
                self.work_off(tally, read, |refund| refund.request_no.clone(), apply).await
            }
        }
    }

    /// Reads and applies batch after batch until nothing new is found. What was tried and is still there is asked for
    /// in addition, so that items which cannot be done now do not hide those behind them.
    async fn work_off<T, K, Reading, Applying>(
        &self,
        tally: &mut Tally,
        read: impl Fn(usize) -> Reading,
        key: impl Fn(&T) -> K,
        apply: impl Fn(Vec<T>) -> Applying,
    ) -> Result<(), StoreError>
    where
        K: Hash + Eq,
        Reading: Future<Output = Result<Vec<T>, StoreError>>,
        Applying: Future<Output = Result<usize, StoreError>>,
    {
        let mut tried: HashSet<K> = HashSet::new();
        let mut still_there = 0;
        for _ in 0..self.settings.most_batches {
            let limit = self.settings.batch + still_there;
            let page = self.read(read(limit)).await?;
            let was_full = page.len() >= limit;
            let (old, fresh): (Vec<T>, Vec<T>) = page.into_iter().partition(|item| tried.contains(&key(item)));
            still_there = old.len();
            if !fresh.is_empty() {
                let before = tried.len();
                tried.extend(fresh.iter().map(&key));
                tally.found += tried.len() - before;
                tally.done += apply(fresh).await?;
            }
            if !was_full {
                break;
            }
        }
        Ok(())
    }

    async fn read<T>(&self, reading: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
        match timeout(self.settings.read_timeout, reading).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::Transient("no answer in time".into())),
        }
    }

    /// How many items were done.
    fn apply(&self, batch: EffectBatch) -> BoxFuture<'_, Result<usize, StoreError>> {
        async move {
            let batch = Batch::loose(batch);
            let answers = self.applier.apply(&batch, (0..batch.len()).collect(), Try::Sweep).await;
            let mut done = 0;
            for (_, answer) in answers {
                match answer {
                    Handled::Done => done += 1,
                    Handled::Retry(reason) => tracing::debug!(reason, "left for the next sweep"),
                    Handled::Poison(reason) => tracing::error!(reason, "the sweep cannot mend this"),
                }
            }
            Ok(done)
        }
        .boxed()
    }

    fn apply_orders(
        &self,
        order_sns: Vec<OrderSn>,
        wrap: impl FnOnce(Vec<OrderRef>) -> EffectBatch,
    ) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.apply(wrap(order_sns.into_iter().map(|order_token| OrderRef { order_token }).collect()))
    }
}

impl Sweep {
    /// Winners without an order get the item that their lost message had.
    fn make_orders(&self, grants: Vec<Grant>) -> BoxFuture<'_, Result<usize, StoreError>> {
        async move {
            let mut skus: HashMap<SaleId, SkuId> = HashMap::new();
            let mut items = Vec::with_capacity(grants.len());
            for grant in grants {
                let sku_id = match skus.get(&grant.sale_id) {
                    Some(sku_id) => *sku_id,
                    None => self.sku_of(grant.sale_id).await?,
                };
                skus.insert(grant.sale_id, sku_id);
                let Grant { order_sn, sale_id, user_id, .. } = grant;
                items.push(SecKill { order_token: order_sn, sku_id, num: 1, user_id, sale_id });
            }
            self.apply(EffectBatch::SecKill(items)).await
        }
        .boxed()
    }

    async fn sku_of(&self, sale_id: SaleId) -> Result<SkuId, StoreError> {
        let sale = self.read(self.store.sale(sale_id)).await?;
        sale.map(|sale| sale.sku_id).ok_or_else(|| StoreError::Inconsistent(format!("a grant of no sale: {sale_id}")))
    }

    /// Locks whose message was lost, each the way its order went.
    fn resolve(&self, found: Vec<(LockRow, LockState)>) -> BoxFuture<'_, Result<usize, StoreError>> {
        async move {
            let due = |way| owners(found.iter().filter(move |(_, due)| *due == way).map(|(row, _)| row));
            let (released, deducted) = (due(LockState::Released), due(LockState::Deducted));
            let done = self.apply_orders(released, EffectBatch::StockUnlock).await?;
            Ok(done + self.apply_orders(deducted, EffectBatch::StockMinus).await?)
        }
        .boxed()
    }

    /// Rows that nobody published: the relay reads them itself, as many as it has room for. An empty hint tells it so.
    async fn nudge_relay(&self, tally: &mut Tally) -> Result<(), StoreError> {
        let rows = self.read(self.store.unpublished(millis(self.settings.age), self.settings.batch)).await?;
        if rows.is_empty() {
            return Ok(());
        }
        tally.found = rows.len();
        if let Ok(Ok(())) = timeout(self.settings.read_timeout, self.outbox.send(Vec::new())).await {
            tally.done = rows.len();
        }
        Ok(())
    }

    async fn end_sales(&self, tally: &mut Tally) -> Result<(), StoreError> {
        let now = self.read(self.store.now()).await?;
        let open = self.read(self.store.open_sales()).await?;
        let over: Vec<SaleId> = open.into_iter().filter(|sale| sale.ends_at <= now).map(|sale| sale.id).collect();
        tally.found = over.len();
        for sales in over.chunks(self.settings.batch) {
            tally.done += self.apply(EffectBatch::EndSales(sales.to_vec())).await?;
        }
        Ok(())
    }
}

/// Each owner once, in the order found.
fn owners<'a>(rows: impl Iterator<Item = &'a LockRow>) -> Vec<OrderSn> {
    let mut seen = HashSet::new();
    rows.filter(|row| seen.insert(&row.order_sn)).map(|row| row.order_sn.clone()).collect()
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// The running sweep.
pub struct SweepLoop {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl SweepLoop {
    /// Stops it; what it was doing is found again by the next one.
    pub async fn stop(self) {
        // A loop that is gone has stopped already.
        let _ = self.stop.send(true);
        let _ = self.task.await;
    }
}
