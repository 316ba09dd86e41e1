//! The store writer: commits what many actors decided in one transaction (DESIGN rule 2).
//!
//! A batch is what queued while the last commit ran, at most [`WriterSettings::max_batch`]; nothing waits to fill one,
//! so a lone unit is committed at once. Transactions live here and no caller can drop them (DESIGN rule 13): a caller
//! only awaits a oneshot. After each commit the SKU actors hear the news first, then the callers are answered.
//!
//! - [`load`]: how many units may be here; what would wait too long is refused when it comes
//! - [`lane`]: SKUs take turns when more waits than fits into one batch

pub mod lane;
pub mod load;

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::domain::SkuId;
use crate::domain::events::Message;
use crate::domain::reject::Unavailable;
use crate::domain::stock::StockRow;
use crate::ports::store::units::{Unit, UnitOutcome, WriteUnit, reserved};
use crate::ports::store::{Committed, Store, StoreError};
use crate::protocol::stock::{SkuNews, StockNews};
use lane::Lane;
use load::{Load, LoadSettings};

/// Bounds of the writer.
#[derive(Clone, Copy, Debug)]
pub struct WriterSettings {
    /// Units that may wait; more are refused with [`Unavailable::Overloaded`].
    pub queue: usize,
    /// Most units of one transaction.
    pub max_batch: usize,
    /// A unit that waited longer is refused unstarted (R27).
    pub max_wait: Duration,
    /// Delay to be kept under load, from the queue to the end of the commit: see [`load`].
    pub target_delay: Duration,
    /// How often a transient failure of a whole batch is tried again.
    pub retries: u32,
    /// Longest wait of a caller who names none; after it the outcome is unknown (R27).
    pub answer_within: Duration,
}

impl Default for WriterSettings {
    fn default() -> Self {
        Self {
            queue: 8192,
            max_batch: 1024,
            max_wait: Duration::from_secs(2),
            target_delay: Duration::from_millis(250),
            retries: 3,
            answer_within: Duration::from_secs(10),
        }
    }
}

/// Why a unit has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// There is no room, the unit waited too long, or the writer has stopped: nothing was written.
    #[error(transparent)]
    NotTried(Unavailable),
    /// The store refused or failed; see [`StoreError`] for what that means.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<WriteError> for Unavailable {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::NotTried(unavailable) => unavailable,
            WriteError::Store(error) => Self::Dependency(error.to_string()),
        }
    }
}

struct Job {
    unit: WriteUnit,
    queued_at: Instant,
    reply: oneshot::Sender<Result<UnitOutcome, WriteError>>,
    place: Place,
}

/// The load, known to all who queue and to the writer.
#[derive(Clone)]
struct SharedLoad(Arc<Mutex<Load>>);

impl SharedLoad {
    fn lock(&self) -> MutexGuard<'_, Load> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, lane: Lane) -> Option<Place> {
        self.lock().enter(lane).then(|| Place { load: self.clone(), lane })
    }
}

/// A unit's place with the writer, given back on drop.
struct Place {
    load: SharedLoad,
    lane: Lane,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.load.lock().leave(self.lane);
    }
}

/// Handle to the writer; cheap to clone.
#[derive(Clone)]
pub struct Writer {
    jobs: mpsc::Sender<Job>,
    load: SharedLoad,
    answer_within: Duration,
}

/// The writer's end, to be run once the listeners exist.
pub struct WriterTask {
    jobs: mpsc::Receiver<Job>,
    load: SharedLoad,
    settings: WriterSettings,
}

/// Makes the writer's queue. [`WriterTask::run`] must then be spawned.
pub fn channel(settings: WriterSettings) -> (Writer, WriterTask) {
    let (sender, receiver) = mpsc::channel(settings.queue);
    let WriterSettings { queue, max_batch, target_delay: target, .. } = settings;
    let load = SharedLoad(Arc::new(Mutex::new(Load::new(LoadSettings { queue, max_batch, target }))));
    let writer = Writer { jobs: sender, load: load.clone(), answer_within: settings.answer_within };
    (writer, WriterTask { jobs: receiver, load, settings })
}

impl Writer {
    /// Commits one unit, together with whatever else is waiting.
    ///
    /// # Errors
    /// [`WriteError`]. Dropping the future does not undo the unit.
    pub async fn commit<U: Unit>(&self, unit: U) -> Result<U::Outcome, WriteError> {
        self.queue(unit)?.outcome().await
    }

    /// As [`Self::commit`], for a caller who waits so long at most; after it the outcome is unknown.
    ///
    /// # Errors
    /// As [`Self::commit`].
    pub async fn commit_within<U: Unit>(&self, unit: U, limit: Duration) -> Result<U::Outcome, WriteError> {
        self.queue(unit)?.outcome_within(limit).await
    }

    /// Queues one unit and returns at once. When this is `Ok` the unit will be tried, whether or not anybody waits;
    /// units it carries from SKU actors are settled by the writer from here on.
    ///
    /// # Errors
    /// [`WriteError::NotTried`] when the writer has no room for it, or is gone.
    pub fn queue<U: Unit>(&self, unit: U) -> Result<Queued<U>, WriteError> {
        let unit: WriteUnit = unit.into();
        let Some(place) = self.load.enter(Lane::of(&unit)) else {
            metrics::counter!("seckill_writer_refused_total").increment(1);
            return Err(WriteError::NotTried(self.why_refused()));
        };
        let (reply, answer) = oneshot::channel();
        let job = Job { unit, queued_at: Instant::now(), reply, place };
        if self.jobs.try_send(job).is_err() {
            self.load.lock().taken(1);
            return Err(WriteError::NotTried(self.why_refused()));
        }
        Ok(Queued { answer, within: self.answer_within, kind: std::marker::PhantomData })
    }

    fn why_refused(&self) -> Unavailable {
        if self.jobs.is_closed() { Unavailable::Stopping } else { Unavailable::Overloaded }
    }

    /// Whether an order of this SKU would be let in now. To be asked before work is done for it.
    pub fn has_room_for(&self, sku_id: SkuId) -> bool {
        self.load.lock().has_room(Lane::Sku(sku_id))
    }

    /// Units waiting now.
    pub fn waiting(&self) -> usize {
        self.load.lock().waiting()
    }
}

/// A unit on its way.
pub struct Queued<U> {
    answer: oneshot::Receiver<Result<UnitOutcome, WriteError>>,
    within: Duration,
    kind: std::marker::PhantomData<fn() -> U>,
}

impl<U: Unit> Queued<U> {
    /// Waits for the outcome.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn outcome(self) -> Result<U::Outcome, WriteError> {
        let limit = self.within;
        self.outcome_within(limit).await
    }

    /// Waits for the outcome, at most so long.
    ///
    /// # Errors
    /// [`WriteError`].
    pub async fn outcome_within(self, limit: Duration) -> Result<U::Outcome, WriteError> {
        let answer = tokio::time::timeout(limit, self.answer)
            .await
            .map_err(|_| StoreError::Unknown("the commit takes too long".into()))?
            .map_err(|_| WriteError::NotTried(Unavailable::Stopping))??;
        U::outcome(answer).ok_or_else(|| StoreError::Inconsistent("outcome of another kind".into()).into())
    }
}

/// Whoever hears of committed batches.
pub struct Listeners {
    /// The stock directory.
    pub stock: Arc<dyn StockNews>,
    /// The relay: outbox rows just written. When it is full the sweep resends them.
    pub outbox: mpsc::Sender<Vec<Message>>,
}

impl WriterTask {
    /// Runs until every [`Writer`] is dropped and the queue is empty.
    pub async fn run(mut self, store: Arc<dyn Store>, listeners: Listeners) {
        let mut waiting = VecDeque::new();
        while self.wait(&mut waiting).await {
            self.refuse_expired(&mut waiting, &listeners);
            let jobs = lane::take(&mut waiting, self.settings.max_batch, |job| job.place.lane);
            self.load.lock().taken(jobs.len());
            if jobs.is_empty() {
                continue;
            }
            let (units, started) = (jobs.iter().filter(|job| job.place.lane != Lane::House).count(), Instant::now());
            self.commit(jobs.into_iter().collect(), store.as_ref(), &listeners).await;
            self.learn(units, started.elapsed());
        }
    }

    /// Takes in whatever has come; waits when there is nothing. `false` at the end.
    async fn wait(&mut self, waiting: &mut VecDeque<Job>) -> bool {
        if waiting.is_empty() {
            let Some(job) = self.jobs.recv().await else { return false };
            waiting.push_back(job);
        }
        while let Ok(job) = self.jobs.try_recv() {
            waiting.push_back(job);
        }
        true
    }

    fn refuse_expired(&self, waiting: &mut VecDeque<Job>, listeners: &Listeners) {
        let is_expired = |job: &Job| job.queued_at.elapsed() > self.settings.max_wait;
        let expired: Batch = std::iter::from_fn(|| waiting.pop_front_if(|job| is_expired(job))).collect();
        if expired.units.is_empty() {
            return;
        }
        metrics::counter!("seckill_writer_expired_total").increment(expired.units.len() as u64);
        self.load.lock().taken(expired.units.len());
        expired.refuse(&WriteError::NotTried(Unavailable::Overloaded), listeners);
    }

    fn learn(&self, units: usize, took: Duration) {
        let limit = {
            let mut load = self.load.lock();
            load.committed(units, took);
            load.limit()
        };
        metrics::gauge!("seckill_writer_limit_units").set(limit as f64);
    }

    /// Commits a batch. One that a constraint refuses is halved until the unit at fault is alone, and only it fails.
    async fn commit(&self, batch: Batch, store: &dyn Store, listeners: &Listeners) {
        let mut waiting = vec![batch];
        while let Some(mut batch) = waiting.pop() {
            if batch.units.is_empty() {
                continue;
            }
            let started = Instant::now();
            match self.try_commit(&batch.units, store).await {
                Ok(committed) => {
                    metrics::histogram!("seckill_writer_batch_units").record(batch.units.len() as f64);
                    metrics::histogram!("seckill_writer_commit_seconds").record(started.elapsed().as_secs_f64());
                    batch.finish(committed, listeners);
                }
                Err(StoreError::Constraint(_) | StoreError::Inconsistent(_)) if batch.units.len() > 1 => {
                    let second = batch.split_off(batch.units.len() / 2);
                    waiting.push(second);
                    waiting.push(batch);
                }
                Err(error) => {
                    tracing::error!(%error, units = batch.units.len(), "batch failed");
                    batch.refuse(&error.into(), listeners);
                }
            }
        }
    }

    async fn try_commit(&self, units: &[WriteUnit], store: &dyn Store) -> Result<Committed, StoreError> {
        let mut tries_left = self.settings.retries;
        loop {
            match store.commit(units).await {
                Err(StoreError::Transient(reason)) if tries_left > 0 => {
                    tries_left -= 1;
                    tracing::debug!(reason, "batch is tried again");
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
                result => return result,
            }
        }
    }
}

const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Units of one transaction and who waits for each.
#[derive(Default)]
struct Batch {
    units: Vec<WriteUnit>,
    callers: Vec<oneshot::Sender<Result<UnitOutcome, WriteError>>>,
    /// Given back when everybody is answered.
    places: Vec<Place>,
}

impl FromIterator<Job> for Batch {
    fn from_iter<I: IntoIterator<Item = Job>>(jobs: I) -> Self {
        let mut batch = Self::default();
        for job in jobs {
            batch.units.push(job.unit);
            batch.callers.push(job.reply);
            batch.places.push(job.place);
        }
        batch
    }
}

impl Batch {
    fn split_off(&mut self, at: usize) -> Self {
        Self { units: self.units.split_off(at), callers: self.callers.split_off(at), places: self.places.split_off(at) }
    }

    fn finish(self, committed: Committed, listeners: &Listeners) {
        assert_eq!(committed.outcomes.len(), self.units.len(), "the store answers every unit");
        self.tell_stock(&committed.stock, listeners);
        if !committed.messages.is_empty() && listeners.outbox.try_send(committed.messages).is_err() {
            metrics::counter!("seckill_relay_hints_dropped_total").increment(1);
        }
        for (caller, outcome) in self.callers.into_iter().zip(committed.outcomes) {
            // A caller that is gone needs no answer; its unit is committed all the same.
            let _ = caller.send(Ok(outcome));
        }
    }

    fn refuse(self, error: &WriteError, listeners: &Listeners) {
        self.tell_stock(&[], listeners);
        for caller in self.callers {
            let _ = caller.send(Err(error.clone()));
        }
    }

    fn tell_stock(&self, rows: &[StockRow], listeners: &Listeners) {
        let mut news: BTreeMap<SkuId, SkuNews> = BTreeMap::new();
        for row in rows {
            news.entry(row.sku_id).or_default().rows.push(*row);
        }
        for (sku_id, ware_sku_id, num) in self.units.iter().flat_map(reserved) {
            let settled = &mut news.entry(sku_id).or_default().settled;
            match settled.iter_mut().find(|(id, _)| *id == ware_sku_id) {
                Some((_, sum)) => *sum += num,
                None => settled.push((ware_sku_id, num)),
            }
        }
        for (sku_id, news) in news {
            listeners.stock.tell(sku_id, news);
        }
    }
}
