//! Messages: the outbox, the queue of the in-process bus, those set aside for an operator.

use crate::domain::Timestamp;
use crate::domain::events::{Message, Queue};

/// Marks outbox rows as published.
#[derive(Clone, Debug)]
pub struct MarkPublished {
    /// Their ids.
    pub message_ids: Vec<String>,
}

/// Puts messages into the durable queue of the in-process bus. A message id that is there already is left alone.
#[derive(Clone, Debug)]
pub struct Enqueue {
    /// The message, its queue, and when it is due.
    pub messages: Vec<(Message, Queue, Timestamp)>,
}

/// Forgets delivered messages of the in-process bus.
#[derive(Clone, Debug)]
pub struct FinishDeliveries {
    /// Their ids.
    pub message_ids: Vec<String>,
}

/// Puts a message of the in-process bus back with a later due time, one more try counted.
#[derive(Clone, Debug)]
pub struct RetryDelivery {
    /// Its id.
    pub message_id: String,
    /// When it is due again.
    pub due_at: Timestamp,
}

/// Keeps a message that could not be handled, for an operator (`mq_parked`). Parking the same id again is fine.
#[derive(Clone, Debug)]
pub struct Park {
    /// Its id.
    pub message_id: String,
    /// Where it arrived.
    pub queue: Queue,
    /// The document as it arrived.
    pub payload: String,
    /// Why.
    pub reason: String,
}

/// Puts a parked message into the outbox again under a new id and marks it replayed; `false` when there is none
/// unreplayed under this id. The document carries the new id ([`crate::domain::events::renamed`]).
#[derive(Clone, Debug)]
pub struct Replay {
    /// The parked message.
    pub message_id: String,
    /// Its id from now on.
    pub new_message_id: String,
}
