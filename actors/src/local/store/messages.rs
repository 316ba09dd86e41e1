//! The outbox, the in-process queue and the parked messages.

use super::Batch;
use super::tables::{Outgoing, Tables};
use crate::domain::Timestamp;
use crate::domain::events::{Message, renamed};
use crate::ports::store::units::{
    Enqueue, FinishDeliveries, MarkPublished, Park, PruneMessages, Replay, RetryDelivery, SpentMessages,
};
use crate::ports::store::{ParkedMessage, QueuedMessage};

pub(super) fn mark_published(tables: &mut Tables, batch: &Batch, unit: &MarkPublished) {
    for row in &mut tables.outbox {
        if unit.message_ids.contains(&row.message.message_id) {
            row.published_at = row.published_at.or(Some(batch.at));
        }
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

pub(super) fn prune(tables: &mut Tables, batch: &Batch, unit: &PruneMessages) -> usize {
    let until = batch.at.minus(unit.older_than);
    let mut spent: Vec<(Timestamp, String)> = spent(tables, unit.which);
    spent.retain(|(at, _)| *at <= until);
    spent.sort();
    spent.truncate(unit.limit);
    let gone = |message_id: &String| spent.iter().any(|(_, spent)| spent == message_id);
    match unit.which {
        SpentMessages::Published => tables.outbox.retain(|row| !gone(&row.message.message_id)),
        SpentMessages::Seen => tables.inbox.retain(|message_id, _| !gone(message_id)),
        SpentMessages::Replayed => tables.parked.retain(|parked| !gone(&parked.message_id)),
    }
    spent.len()
}

/// Their ids, and since when they are spent.
fn spent(tables: &Tables, which: SpentMessages) -> Vec<(Timestamp, String)> {
    match which {
        SpentMessages::Published => {
            let published = |row: &Outgoing| Some((row.published_at?, row.message.message_id.clone()));
            tables.outbox.iter().filter_map(published).collect()
        }
        SpentMessages::Seen => tables.inbox.iter().map(|(message_id, at)| (*at, message_id.clone())).collect(),
        SpentMessages::Replayed => {
            let replayed = |parked: &ParkedMessage| Some((parked.replayed_at?, parked.message_id.clone()));
            tables.parked.iter().filter_map(replayed).collect()
        }
    }
}
