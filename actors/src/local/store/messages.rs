//! The outbox, the in-process queue and the parked messages.

use super::Batch;
use super::tables::Tables;
use crate::domain::events::{Message, renamed};
use crate::ports::store::units::{Enqueue, FinishDeliveries, MarkPublished, Park, Replay, RetryDelivery};
use crate::ports::store::{ParkedMessage, QueuedMessage};

pub(super) fn mark_published(tables: &mut Tables, unit: &MarkPublished) {
    for row in &mut tables.outbox {
        row.published |= unit.message_ids.contains(&row.message.message_id);
    }
}

pub(super) fn enqueue(tables: &mut Tables, unit: &Enqueue) {
    for (message, queue, due_at) in &unit.messages {
        tables.queue.entry(message.message_id.clone()).or_insert_with(|| QueuedMessage {
            message_id: message.message_id.clone(),
            queue: *queue,
            payload: message.payload.clone(),
            due_at: *due_at,
            attempts: 0,
        });
    }
}

pub(super) fn finish(tables: &mut Tables, unit: &FinishDeliveries) {
    for message_id in &unit.message_ids {
        tables.queue.remove(message_id);
    }
}

pub(super) fn retry(tables: &mut Tables, unit: &RetryDelivery) {
    if let Some(message) = tables.queue.get_mut(&unit.message_id) {
        message.due_at = unit.due_at;
        message.attempts += 1;
    }
}

pub(super) fn park(tables: &mut Tables, batch: &Batch, unit: &Park) {
    if tables.parked.iter().any(|parked| parked.message_id == unit.message_id) {
        return;
    }
    tables.parked.push(ParkedMessage {
        message_id: unit.message_id.clone(),
        queue: unit.queue,
        payload: unit.payload.clone(),
        reason: unit.reason.clone(),
        parked_at: batch.at,
        replayed_at: None,
    });
}

pub(super) fn replay(tables: &mut Tables, batch: &mut Batch, unit: &Replay) -> bool {
    let waiting = |parked: &&mut ParkedMessage| parked.message_id == unit.message_id && parked.replayed_at.is_none();
    let Some(parked) = tables.parked.iter_mut().find(waiting) else { return false };
    parked.replayed_at = Some(batch.at);
    batch.replayed.push(Message {
        message_id: unit.new_message_id.clone(),
        key: parked.queue.arrival_key(),
        payload: renamed(&parked.payload, &unit.new_message_id),
    });
    true
}
