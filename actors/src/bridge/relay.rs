//! Outbox → bus. What to publish next, and what became of it: plain synchronous code. [`Outlet`] does the publishing.
//!
//! The store writer hints at rows it just wrote. A hint that finds no room is dropped and remembered as being
//! *behind*: the relay then reads the outbox itself until nothing is left there. So is a row that an earlier process
//! left unmarked. A row is marked only when the bus answered `Ok` for it; a crash between the two publishes twice,
//! which consumers stand (R7, R9).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::domain::events::Message;
use crate::ports::bus::Bus;
use crate::ports::clock::Entropy;
use crate::ports::store::units::MarkPublished;
use crate::ports::store::{OutboxRow, Store, StoreError};
use crate::writer::Writer;

/// Settings of the relay.
#[derive(Clone, Copy, Debug)]
pub struct RelaySettings {
    /// Most messages that wait in memory; more stay in the outbox until there is room.
    pub capacity: usize,
    /// Most messages published together.
    pub batch: usize,
    /// Longest wait for the bus, the store and the store writer.
    pub timeout: Duration,
    /// Pause after the first failure of a message; doubled with each further one.
    pub backoff_min: Duration,
    /// Longest pause.
    pub backoff_max: Duration,
    /// Rows younger than this are left to their hints when the outbox is read.
    pub unhinted_age: Duration,
}

impl Default for RelaySettings {
    fn default() -> Self {
        Self {
            capacity: 1024,
            batch: 256,
            timeout: Duration::from_secs(10),
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_secs(30),
            unhinted_age: Duration::from_secs(1),
        }
    }
}

/// What became of one message of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// On the bus and marked.
    Marked,
    /// On the bus; the mark failed and is tried again without publishing again.
    Unmarked,
    /// Not on the bus.
    Failed,
}

/// A message and what is still to be done with it.
#[derive(Clone, Debug)]
pub struct Parcel {
    /// The message.
    pub message: Message,
    /// Whether the bus has it and only the mark is missing.
    pub is_published: bool,
    failures: u32,
}

/// What waits to be published. Each message is either due at a moment or being published.
pub struct Relay {
    settings: RelaySettings,
    entropy: Arc<dyn Entropy>,
    waiting: BTreeMap<(Instant, u64), Parcel>,
    /// Every message in `waiting` or in the hands of the outlet, by id.
    known: HashSet<String>,
    sequence: u64,
    is_behind: bool,
    /// Not caught up yet with what an earlier process left.
    is_fresh: bool,
}

impl Relay {
    /// A relay that believes to be behind: an earlier process may have left rows.
    pub fn new(settings: RelaySettings, entropy: Arc<dyn Entropy>) -> Self {
        let (waiting, known) = (BTreeMap::new(), HashSet::new());
        Self { settings, entropy, waiting, known, sequence: 0, is_behind: true, is_fresh: true }
    }

    /// Takes messages to be published, due at once. Those already here are left alone; those without room stay in the
    /// outbox and put the relay behind. An empty hint says that the outbox holds rows nobody hints at (sweep).
    pub fn hint(&mut self, messages: Vec<Message>, now: Instant) {
        self.is_behind |= messages.is_empty();
        self.offer(messages, now);
    }

    fn offer(&mut self, messages: Vec<Message>, now: Instant) {
        for message in messages {
            if self.known.contains(&message.message_id) {
                continue;
            }
            if self.known.len() >= self.settings.capacity {
                self.is_behind = true;
                break;
            }
            self.known.insert(message.message_id.clone());
            self.wait(Parcel { message, is_published: false, failures: 0 }, now);
        }
        self.measure();
    }

    /// The next batch that is due; empty when none is.
    pub fn take(&mut self, now: Instant) -> Vec<Parcel> {
        let mut batch = Vec::new();
        while batch.len() < self.settings.batch {
            match self.waiting.first_entry() {
                Some(entry) if entry.key().0 <= now => batch.push(entry.remove()),
                _ => break,
            }
        }
        batch
    }

    /// Takes back a batch with what became of each of its messages.
    pub fn settle(&mut self, batch: Vec<Parcel>, sent: &[Sent], now: Instant) {
        assert_eq!(batch.len(), sent.len(), "every message has an answer");
        for (mut parcel, sent) in batch.into_iter().zip(sent) {
            if *sent == Sent::Marked {
                self.known.remove(&parcel.message.message_id);
                continue;
            }
            parcel.is_published = *sent == Sent::Unmarked;
            parcel.failures = parcel.failures.saturating_add(1);
            let pause = self.backoff(parcel.failures);
            self.wait(parcel, now + pause);
        }
        self.measure();
    }

    /// How many rows of the outbox to read now, beside those that are here anyway; `None` when that is not needed.
    pub fn wants_rows(&self) -> Option<usize> {
        let has_room = self.known.len() < self.settings.capacity;
        (self.is_behind && has_room).then(|| self.settings.batch + self.known.len())
    }

    /// Takes the oldest rows of the outbox as read with `limit`. A short read, or one with nothing new, means that
    /// the relay has caught up.
    pub fn take_rows(&mut self, rows: Vec<OutboxRow>, limit: usize, now: Instant) {
        let before = self.known.len();
        let was_full = rows.len() >= limit;
        self.is_behind = false;
        self.offer(rows.into_iter().map(|row| row.message).collect(), now);
        self.is_behind |= was_full && self.known.len() > before;
        self.is_fresh &= self.is_behind;
    }

    /// How old a row must be to be read: until the relay has caught up with what an earlier process left, any row; then
    /// young ones are left to their hints.
    pub fn unhinted_age(&self) -> Duration {
        if self.is_fresh { Duration::ZERO } else { self.settings.unhinted_age }
    }

    /// When the next message is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.first_key_value().map(|((due_at, _), _)| *due_at)
    }

    /// Messages here, waiting or being published.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether nothing is here.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn wait(&mut self, parcel: Parcel, due_at: Instant) {
        self.sequence += 1;
        self.waiting.insert((due_at, self.sequence), parcel);
    }

    /// Doubles from the shortest to the longest pause, the upper half of it random, so that nodes and messages that
    /// failed together do not come back together.
    fn backoff(&self, failures: u32) -> Duration {
        let doubled = self.settings.backoff_min.saturating_mul(1 << failures.saturating_sub(1).min(20));
        let longest = doubled.min(self.settings.backoff_max);
        let share = (self.entropy.next_u64() >> 40) as u32;
        let random = longest / 2 * share / (1 << 24);
        (longest / 2 + random).max(self.settings.backoff_min)
    }

    fn measure(&self) {
        metrics::gauge!("seckill_relay_waiting").set(self.known.len() as f64);
    }
}

/// Publishes and marks.
#[derive(Clone)]
pub struct Outlet {
    store: Arc<dyn Store>,
    writer: Writer,
    bus: Arc<dyn Bus>,
    settings: RelaySettings,
}

impl Outlet {
    /// An outlet to this bus.
    pub fn new(store: Arc<dyn Store>, writer: Writer, bus: Arc<dyn Bus>, settings: RelaySettings) -> Self {
        Self { store, writer, bus, settings }
    }

    /// Publishes what is not on the bus yet and marks what is; one answer per message.
    pub async fn send(&self, batch: &[Parcel]) -> Vec<Sent> {
        let mut is_on_bus: Vec<bool> = batch.iter().map(|parcel| parcel.is_published).collect();
        let unpublished: Vec<usize> = (0..batch.len()).filter(|&at| !is_on_bus[at]).collect();
        let messages: Vec<Message> = unpublished.iter().map(|&at| batch[at].message.clone()).collect();
        for (at, published) in unpublished.into_iter().zip(self.publish(&messages).await) {
            is_on_bus[at] = published;
        }
        let ids = batch.iter().zip(&is_on_bus).filter(|(_, on_bus)| **on_bus);
        let marked = self.mark(ids.map(|(parcel, _)| parcel.message.message_id.clone()).collect()).await;
        let outcome = |on_bus| match (on_bus, marked) {
            (true, true) => Sent::Marked,
            (true, false) => Sent::Unmarked,
            (false, _) => Sent::Failed,
        };
        is_on_bus.into_iter().map(outcome).collect()
    }

    async fn publish(&self, messages: &[Message]) -> Vec<bool> {
        if messages.is_empty() {
            return Vec::new();
        }
        let Ok(answers) = timeout(self.settings.timeout, self.bus.publish(messages)).await else {
            metrics::counter!("seckill_relay_failed_total").increment(messages.len() as u64);
            tracing::warn!(messages = messages.len(), "the bus did not answer in time");
            return vec![false; messages.len()];
        };
        let failed = answers.iter().filter(|answer| answer.is_err()).count();
        metrics::counter!("seckill_relay_published_total").increment((answers.len() - failed) as u64);
        if let Some(error) = answers.iter().find_map(|answer| answer.as_ref().err()) {
            metrics::counter!("seckill_relay_failed_total").increment(failed as u64);
            tracing::warn!(%error, failed, "messages stay in the outbox");
        }
        // An adapter that answers too little has not confirmed the rest.
        let mut published: Vec<bool> = answers.iter().map(Result::is_ok).collect();
        published.resize(messages.len(), false);
        published
    }

    async fn mark(&self, message_ids: Vec<String>) -> bool {
        if message_ids.is_empty() {
            return true;
        }
        let marked = self.writer.commit_within(MarkPublished { message_ids }, self.settings.timeout).await;
        marked.inspect_err(|error| tracing::warn!(%error, "published messages could not be marked")).is_ok()
    }

    /// Reads the oldest rows of the outbox that nobody hints at any more.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn read_outbox(&self, limit: usize, age: Duration) -> Result<Vec<OutboxRow>, StoreError> {
        let older_ms = i64::try_from(age.as_millis()).unwrap_or(i64::MAX);
        match timeout(self.settings.timeout, self.store.unpublished(older_ms, limit)).await {
            Ok(rows) => rows,
            Err(_) => Err(StoreError::Transient("no answer in time".into())),
        }
    }
}

/// One round: publishes the next batch that is due, or, when none is and the relay is behind, reads rows from the
/// outbox. `false` when there was nothing to do.
///
/// # Errors
/// When the outbox could not be read; the relay is still behind then.
pub async fn step(relay: &mut Relay, outlet: &Outlet) -> Result<bool, StoreError> {
    let batch = relay.take(Instant::now());
    if !batch.is_empty() {
        let sent = outlet.send(&batch).await;
        relay.settle(batch, &sent, Instant::now());
        return Ok(true);
    }
    let Some(limit) = relay.wants_rows() else { return Ok(false) };
    let rows = outlet.read_outbox(limit, relay.unhinted_age()).await?;
    let found_any = !rows.is_empty();
    relay.take_rows(rows, limit, Instant::now());
    Ok(found_any)
}
