//! The in-process bus of embedded mode: durable in the store, at least once, with delays that survive a restart.
//!
//! Publishing, acknowledging and putting back are units of the store writer, so a message is never only in memory.
//! What is in memory is bounded: the messages due within [`LocalBusSettings::lookahead`] and those being worked on,
//! at most [`LocalBusSettings::memory_bytes`] a queue; the rest waits in the store and is read when its time or room
//! comes. A queue whose consumer is slow does not take the room of another.

mod shelf;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::domain::Timestamp;
use crate::domain::events::{Delays, Message, Queue};
use crate::domain::reject::Unavailable;
use crate::ports::bus::{Bus, BusError, Delivery};
use crate::ports::clock::Clock;
use crate::ports::store::units::{Enqueue, FinishDeliveries, RetryDelivery, Unit};
use crate::ports::store::{QueuePosition, QueuedMessage, Store, StoreError};
use crate::writer::Writer;
use shelf::Shelf;

/// Settings of the in-process bus.
#[derive(Clone, Copy, Debug)]
pub struct LocalBusSettings {
    /// How long the two creation keys wait.
    pub delays: Delays,
    /// An arrival that is neither acknowledged nor put back for so long comes again.
    pub visibility: Duration,
    /// What is due later than this from now is not kept in memory.
    pub lookahead: Duration,
    /// Most bytes of messages of one queue in memory. More stay in the store until there is room.
    pub memory_bytes: usize,
    /// Most messages of one read of the store.
    pub page: usize,
    /// Longest wait for the store writer.
    pub commit_timeout: Duration,
    /// Misbehaves on purpose; for tests only.
    pub chaos: Option<Chaos>,
}

impl LocalBusSettings {
    /// The usual settings with these delays.
    pub const fn new(delays: Delays) -> Self {
        Self {
            delays,
            visibility: Duration::from_secs(600),
            lookahead: Duration::from_secs(60),
            memory_bytes: 8 << 20,
            page: 128,
            commit_timeout: Duration::from_secs(5),
            chaos: None,
        }
    }
}

/// What a broker may do to its messages and usually does not: a consumer must stand it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chaos {
    /// Every message arrives between once and this often.
    pub most_deliveries: u32,
    /// Due messages arrive in any order.
    pub reorder: bool,
    /// Decides both.
    pub seed: u64,
}

/// How often a receiver looks by itself: for arrivals that expired, and for a clock that was moved.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The in-process bus.
pub struct LocalBus {
    store: Arc<dyn Store>,
    writer: Writer,
    clock: Arc<dyn Clock>,
    settings: LocalBusSettings,
    lanes: BTreeMap<Queue, Lane>,
    refill: Arc<Notify>,
}

/// One queue.
struct Lane {
    queue: Queue,
    shelf: Mutex<Shelf>,
    arrivals: Notify,
}

impl Lane {
    fn shelf(&self) -> MutexGuard<'_, Shelf> {
        // A panic while the lock is held cannot leave half a change that matters: what is lost from memory is stored.
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is due now, or how long to wait before looking again.
    fn take(&self, limit: usize, now: Timestamp, visibility: Duration) -> Result<Vec<Delivery>, Duration> {
        let instant = Instant::now();
        let mut shelf = self.shelf();
        shelf.expire(instant);
        let taken = shelf.take(limit, now, instant + visibility);
        let next_due = shelf.next_due();
        if taken.is_empty() {
            let pause = next_due.map_or(LOOK_AGAIN, |due_at| due_at.since(now));
            return Err(pause.clamp(Duration::from_millis(1), LOOK_AGAIN));
        }
        if next_due.is_some_and(|due_at| due_at <= now) {
            // Another receiver of the queue may be waiting, and the one notice was spent on this one.
            self.arrivals.notify_one();
        }
        Ok(taken)
    }
}

impl LocalBus {
    /// Opens the bus over what the store holds. What was handed out before a restart comes again, with one more
    /// redelivery counted. Must be called inside a tokio runtime: a task reads the store ahead until the bus is dropped.
    ///
    /// # Errors
    /// When the queue cannot be read.
    pub async fn open(
        store: Arc<dyn Store>,
        writer: Writer,
        clock: Arc<dyn Clock>,
        settings: LocalBusSettings,
    ) -> Result<Arc<Self>, StoreError> {
        let lane = |queue| Lane {
            queue,
            shelf: Mutex::new(Shelf::new(queue, settings.memory_bytes, settings.chaos)),
            arrivals: Notify::new(),
        };
        let lanes = Queue::ALL.into_iter().map(|queue| (queue, lane(queue))).collect();
        let bus = Arc::new(Self { store, writer, clock, settings, lanes, refill: Arc::new(Notify::new()) });
        bus.read_ahead(Some(bus.clock.now())).await?;
        tokio::spawn(keep_reading_ahead(Arc::downgrade(&bus), bus.refill.clone(), settings.lookahead / 4));
        Ok(bus)
    }

    /// Reads what is due soon and has room, of every queue.
    async fn read_ahead(&self, opened_at: Option<Timestamp>) -> Result<(), StoreError> {
        let target = self.clock.now().plus(self.settings.lookahead);
        for lane in self.lanes.values() {
            let mut has_room = true;
            while has_room && lane.shelf().wants_more(target) {
                has_room = self.read_page(lane, QueuePosition::before(target), opened_at).await?;
            }
        }
        Ok(())
    }

    /// Reads one page; `false` when not all of it found room.
    async fn read_page(
        &self,
        lane: &Lane,
        until: QueuePosition,
        opened_at: Option<Timestamp>,
    ) -> Result<bool, StoreError> {
        let from = lane.shelf().claim(&until);
        let read = self.store.queued_between(lane.queue, &from, &until, self.settings.page);
        let page = match timeout(self.settings.commit_timeout, read).await {
            Ok(Ok(page)) => page,
            failed => {
                lane.shelf().fill(Vec::new(), from);
                return failed
                    .unwrap_or_else(|_| Err(StoreError::Transient("no answer in time".into())))
                    .map(|_| false);
            }
        };
        let read_to = match page.last() {
            Some(last) if page.len() >= self.settings.page => last.position().next(),
            _ => until,
        };
        let has_room = lane.shelf().fill(count_lost_arrivals(page, opened_at), read_to);
        lane.arrivals.notify_one();
        self.measure(lane);
        Ok(has_room)
    }

    fn measure(&self, lane: &Lane) {
        let shelf = lane.shelf();
        let queue = lane.queue.as_str();
        metrics::gauge!("seckill_bus_memory_bytes", "queue" => queue).set(shelf.bytes() as f64);
        metrics::gauge!("seckill_bus_memory_messages", "queue" => queue).set(shelf.len() as f64);
    }

    /// Wakes the reader when room was made and something may wait in the store.
    fn ask_for_more(&self, lane: &Lane) {
        let target = self.clock.now().plus(self.settings.lookahead / 2);
        if lane.shelf().wants_more(target) {
            self.refill.notify_one();
        }
    }

    async fn commit<U: Unit>(&self, unit: U) -> Result<U::Outcome, BusError> {
        let outcome = self.writer.commit_within(unit, self.settings.commit_timeout).await;
        outcome.map_err(|error| BusError(Unavailable::from(error).to_string()))
    }
}

impl Drop for LocalBus {
    fn drop(&mut self) {
        self.refill.notify_one();
    }
}

/// Stored messages that were due before the bus was opened may have been handed out by the process before.
fn count_lost_arrivals(mut page: Vec<QueuedMessage>, opened_at: Option<Timestamp>) -> Vec<QueuedMessage> {
    for message in &mut page {
        if opened_at.is_some_and(|opened_at| message.due_at <= opened_at) {
            message.attempts = message.attempts.saturating_add(1);
        }
    }
    page
}

/// Reads ahead until the bus is gone: every `pause`, and whenever room was made.
async fn keep_reading_ahead(bus: Weak<LocalBus>, refill: Arc<Notify>, pause: Duration) {
    loop {
        let _ = timeout(pause, refill.notified()).await;
        let Some(bus) = bus.upgrade() else { return };
        if let Err(error) = bus.read_ahead(None).await {
            // The next notice or pause tries again.
            metrics::counter!("seckill_bus_read_failures_total").increment(1);
            tracing::warn!(%error, "the durable queue could not be read");
        }
    }
}

#[async_trait]
impl Bus for LocalBus {
    async fn publish(&self, messages: &[Message]) -> Vec<Result<(), BusError>> {
        if messages.is_empty() {
            return Vec::new();
        }
        let now = self.clock.now();
        let due = |message: &Message| now.plus(self.settings.delays.of(message.key));
        let rows = messages.iter().map(|message| (message.clone(), message.key.queue(), due(message))).collect();
        if let Err(error) = self.commit(Enqueue { messages: rows }).await {
            return vec![Err(error); messages.len()];
        }
        for message in messages {
            let lane = &self.lanes[&message.key.queue()];
            let is_held = lane.shelf().put(QueuedMessage {
                message_id: message.message_id.clone(),
                queue: lane.queue,
                payload: message.payload.clone(),
                due_at: due(message),
                attempts: 0,
            });
            if is_held {
                lane.arrivals.notify_one();
                self.measure(lane);
            }
        }
        vec![Ok(()); messages.len()]
    }

    async fn receive(&self, queue: Queue, limit: usize) -> Result<Vec<Delivery>, BusError> {
        assert!(limit > 0, "a receiver takes at least one message");
        let lane = &self.lanes[&queue];
        loop {
            match lane.take(limit, self.clock.now(), self.settings.visibility) {
                Ok(deliveries) => return Ok(deliveries),
                Err(pause) => {
                    // Woken or not, it looks again.
                    let _ = timeout(pause, lane.arrivals.notified()).await;
                }
            }
        }
    }

    async fn ack(&self, delivery: &Delivery) -> Result<(), BusError> {
        self.commit(FinishDeliveries { message_ids: vec![delivery.message_id.clone()] }).await?;
        let lane = &self.lanes[&delivery.queue];
        lane.shelf().finish(delivery.tag);
        self.ask_for_more(lane);
        Ok(())
    }

    async fn retry(&self, delivery: &Delivery, delay: Duration) -> Result<(), BusError> {
        let due_at = self.clock.now().plus(delay);
        self.commit(RetryDelivery { message_id: delivery.message_id.clone(), due_at }).await?;
        let lane = &self.lanes[&delivery.queue];
        if lane.shelf().put_back(delivery.tag, due_at) {
            lane.arrivals.notify_one();
        }
        self.ask_for_more(lane);
        Ok(())
    }
}
