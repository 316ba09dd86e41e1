//! Rows of messages.

use actors::domain::Timestamp;
use actors::domain::events::{Message, Queue, RoutingKey};
use actors::ports::store::{OutboxRow, ParkedMessage, QueuedMessage, StoreError};

use crate::store::rows::{count, time, unreadable};

pub(in crate::store) fn read_queue(text: &str) -> Result<Queue, StoreError> {
    Queue::parse(text).ok_or_else(|| unreadable("queue", text))
}

/// `message_id, queue, payload, due_time, attempts`
pub(in crate::store) type QueuedColumns = (String, String, String, i64, i64);

pub(in crate::store) fn queued_message(
    (message_id, queue, payload, due_at, attempts): QueuedColumns,
) -> Result<QueuedMessage, StoreError> {
    Ok(QueuedMessage {
        message_id,
        queue: read_queue(&queue)?,
        payload,
        due_at: Timestamp(due_at),
        attempts: count("mq_local.attempts", attempts)?,
    })
}

/// `message_id, routing_key, payload, create_time`
pub(in crate::store) type OutboxColumns = (String, String, String, i64);

pub(in crate::store) fn outbox_row(
    (message_id, key, payload, created_at): OutboxColumns,
) -> Result<OutboxRow, StoreError> {
    let key = RoutingKey::parse(&key).ok_or_else(|| unreadable("routing_key", &key))?;
    Ok(OutboxRow { message: Message { message_id, key, payload }, created_at: Timestamp(created_at) })
}

/// `message_id, queue, payload, reason, create_time, replay_time`
pub(in crate::store) type ParkedColumns = (String, String, String, String, i64, Option<i64>);

pub(in crate::store) fn parked_message(
    (message_id, queue, payload, reason, parked_at, replayed_at): ParkedColumns,
) -> Result<ParkedMessage, StoreError> {
    Ok(ParkedMessage {
        message_id,
        queue: read_queue(&queue)?,
        payload,
        reason,
        parked_at: Timestamp(parked_at),
        replayed_at: time(replayed_at),
    })
}
