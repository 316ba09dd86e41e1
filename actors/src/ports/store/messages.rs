//! Reading the outbox, the in-process queue and the parked messages.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::Timestamp;
use crate::domain::events::{Message, Queue};

/// An outbox row that is not marked published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxRow {
    /// The message.
    pub message: Message,
    /// Since when.
    pub created_at: Timestamp,
}

/// A message in the durable queue of the in-process bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueuedMessage {
    /// Its id.
    pub message_id: String,
    /// Where it arrives.
    pub queue: Queue,
    /// The document.
    pub payload: String,
    /// Not before.
    pub due_at: Timestamp,
    /// Tries so far.
    pub attempts: u32,
}

/// A place in the durable queue of the in-process bus: due time first, then message id (compared by bytes).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueuePosition {
    /// Due time.
    pub due_at: Timestamp,
    /// Message id; empty stands before every message of that time.
    pub message_id: String,
}

impl QueuePosition {
    /// Before every message that is due at `due_at`.
    pub const fn before(due_at: Timestamp) -> Self {
        Self { due_at, message_id: String::new() }
    }

    /// Right behind this one: nothing stands between the two, because ids are printable and have no spaces.
    pub fn next(mut self) -> Self {
        self.message_id.push(' ');
        self
    }
}

impl QueuedMessage {
    /// Where it stands.
    pub fn position(&self) -> QueuePosition {
        QueuePosition { due_at: self.due_at, message_id: self.message_id.clone() }
    }
}

/// A message kept for an operator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParkedMessage {
    /// Its id.
    pub message_id: String,
    /// Where it arrived.
    pub queue: Queue,
    /// The document.
    pub payload: String,
    /// Why it is here.
    pub reason: String,
    /// Since when.
    pub parked_at: Timestamp,
    /// When it was replayed.
    pub replayed_at: Option<Timestamp>,
}

/// Reading messages.
#[async_trait]
pub trait MessageReads {
    /// Outbox rows not marked published and older than `older_ms`, oldest first.
    async fn unpublished(&self, older_ms: i64, limit: usize) -> Result<Vec<OutboxRow>, StoreError>;
    /// The whole durable queue of the in-process bus, by due time; read once at start.
    async fn queued(&self) -> Result<Vec<QueuedMessage>, StoreError>;
    /// One page of it: what arrives at `queue`, from `from` on (included) and before `until` (excluded), by due time
    /// and id, at most `limit`. The in-process bus keeps only what is due soon in memory and reads the rest through
    /// this; an adapter with an index over (queue, due time, id) should answer from there and not from all messages.
    async fn queued_between(
        &self,
        queue: Queue,
        from: &QueuePosition,
        until: &QueuePosition,
        limit: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError>
    where
        Self: Sync,
    {
        let mut page = self.queued().await?;
        page.retain(|queued| queued.queue == queue && (from..until).contains(&&queued.position()));
        page.sort_by_key(QueuedMessage::position);
        page.truncate(limit);
        Ok(page)
    }
    /// Parked messages, newest first.
    async fn parked(&self, limit: usize) -> Result<Vec<ParkedMessage>, StoreError> {
        self.parked_before(None, limit).await
    }
    /// Parked messages, newest first; only those parked before the message of this id. None when nobody parked that.
    async fn parked_before(&self, message_id: Option<&str>, limit: usize) -> Result<Vec<ParkedMessage>, StoreError>;
}
