//! Webhooks: endpoints, and what they are told.

use async_trait::async_trait;

use super::tables::Tables;
use super::{Batch, MemoryStore};
use crate::domain::Timestamp;
use crate::domain::webhook::{Delivery, DeliveryState, Endpoint, EventSet, NextStep};
use crate::ports::clock::Entropy;
use crate::ports::store::units::{
    ClaimDeliveries, CreateWebhook, DeleteWebhook, EditWebhook, PruneDeliveries, Redeliver, Redelivery, RotateWebhook,
    SettleDelivery, UnitOutcome, WebhookCreation, WebhookEdit, WriteUnit,
};
use crate::ports::store::{DeliverySearch, StoreError, WebhookReads, told};

/// Records what a batch tells, at its end.
pub(super) fn record(
    tables: &mut Tables,
    units: &[WriteUnit],
    outcomes: &[UnitOutcome],
    at: Timestamp,
    entropy: &dyn Entropy,
) {
    let enabled: Vec<(i64, EventSet)> =
        tables.webhooks.values().filter(|row| row.is_enabled).map(|row| (row.id, row.events)).collect();
    let wanted = enabled.iter().fold(EventSet::NONE, |all, (_, events)| all.with(*events));
    for message in told((units, outcomes), wanted, at, entropy) {
        for (endpoint_id, _) in enabled.iter().filter(|(_, events)| events.contains(message.kind)) {
            tables.last_delivery += 1;
            let delivery = Delivery {
                id: tables.last_delivery,
                endpoint_id: *endpoint_id,
                message_id: message.message_id.clone(),
                kind: message.kind,
                body: message.body.clone(),
                state: DeliveryState::Pending,
                tries: 0,
                claim: 0,
                due_at: at,
                last_status: None,
                last_error: String::new(),
                tried_at: None,
                created_at: at,
            };
            tables.deliveries.insert(delivery.id, delivery);
        }
    }
}

pub(super) fn create(tables: &mut Tables, batch: &Batch, unit: &CreateWebhook) -> WebhookCreation {
    if tables.webhooks.len() >= unit.most {
        return WebhookCreation::TooMany;
    }
    tables.last_webhook += 1;
    let endpoint = Endpoint {
        id: tables.last_webhook,
        url: unit.url.clone(),
        events: unit.events,
        is_enabled: true,
        secret: unit.secret.clone(),
        former: None,
        version: 1,
        created_at: batch.at,
        modified_at: batch.at,
    };
    tables.webhooks.insert(endpoint.id, endpoint);
    WebhookCreation::Created(tables.last_webhook)
}

/// An endpoint about to be changed.
fn touched<'t>(tables: &'t mut Tables, batch: &Batch, endpoint_id: i64) -> Option<&'t mut Endpoint> {
    let endpoint = tables.webhooks.get_mut(&endpoint_id)?;
    endpoint.version += 1;
    endpoint.modified_at = batch.at;
    Some(endpoint)
}

pub(super) fn edit(tables: &mut Tables, batch: &Batch, unit: &EditWebhook) -> WebhookEdit {
    match tables.webhooks.get(&unit.endpoint_id) {
        None => return WebhookEdit::Unknown,
        Some(endpoint) if endpoint.version != unit.seen => return WebhookEdit::Changed,
        Some(_) => {}
    }
    if let Some(endpoint) = touched(tables, batch, unit.endpoint_id) {
        endpoint.url.clone_from(&unit.url);
        (endpoint.events, endpoint.is_enabled) = (unit.events, unit.is_enabled);
    }
    WebhookEdit::Done
}

pub(super) fn delete(tables: &mut Tables, unit: &DeleteWebhook) -> bool {
    tables.webhooks.remove(&unit.endpoint_id).is_some()
}

pub(super) fn rotate(tables: &mut Tables, batch: &Batch, unit: &RotateWebhook) -> bool {
    let Some(endpoint) = touched(tables, batch, unit.endpoint_id) else { return false };
    let former = std::mem::replace(&mut endpoint.secret, unit.secret.clone());
    endpoint.former = Some((former, batch.at.plus(unit.overlap)));
    true
}

fn is_enabled(tables: &Tables, endpoint_id: i64) -> bool {
    tables.webhooks.get(&endpoint_id).is_some_and(|endpoint| endpoint.is_enabled)
}

fn is_due(delivery: &Delivery, now: Timestamp) -> bool {
    delivery.state == DeliveryState::Pending && delivery.due_at <= now
}

pub(super) fn claim(tables: &mut Tables, batch: &Batch, unit: &ClaimDeliveries) -> Vec<Delivery> {
    if !is_enabled(tables, unit.endpoint_id) {
        return Vec::new();
    }
    let of_endpoint = |row: &&Delivery| row.endpoint_id == unit.endpoint_id && is_due(row, batch.at);
    let mut due: Vec<(Timestamp, i64)> =
        tables.deliveries.values().filter(of_endpoint).map(|row| (row.due_at, row.id)).collect();
    due.sort_unstable();
    let mut claimed = Vec::new();
    for (_, id) in due.into_iter().take(unit.limit) {
        if let Some(delivery) = tables.deliveries.get_mut(&id) {
            delivery.tries += 1;
            delivery.claim += 1;
            delivery.due_at = batch.at.plus(unit.lease);
            claimed.push(delivery.clone());
        }
    }
    claimed
}

pub(super) fn settle(tables: &mut Tables, batch: &Batch, unit: &SettleDelivery) -> bool {
    let is_current = |row: &&mut Delivery| row.state == DeliveryState::Pending && row.claim == unit.claim;
    let Some(delivery) = tables.deliveries.get_mut(&unit.delivery_id).filter(is_current) else { return false };
    (delivery.state, delivery.due_at) = match unit.next {
        NextStep::Delivered => (DeliveryState::Delivered, batch.at),
        NextStep::RetryAfter(pause) => (DeliveryState::Pending, batch.at.plus(pause)),
        NextStep::GiveUp | NextStep::Gone => (DeliveryState::Failed, batch.at),
    };
    delivery.last_status = unit.status;
    delivery.last_error.clone_from(&unit.error);
    delivery.tried_at = Some(batch.at);
    let endpoint_id = delivery.endpoint_id;
    if unit.next == NextStep::Gone
        && is_enabled(tables, endpoint_id)
        && let Some(endpoint) = touched(tables, batch, endpoint_id)
    {
        endpoint.is_enabled = false;
    }
    true
}

pub(super) fn redeliver(tables: &mut Tables, batch: &Batch, unit: &Redeliver) -> Redelivery {
    let Some(endpoint) = tables.webhooks.get(&unit.endpoint_id) else { return Redelivery::Unknown };
    let is_enabled = endpoint.is_enabled;
    let of_endpoint = |row: &&mut Delivery| row.endpoint_id == unit.endpoint_id;
    let Some(delivery) = tables.deliveries.get_mut(&unit.delivery_id).filter(of_endpoint) else {
        return Redelivery::Unknown;
    };
    if !is_enabled {
        return Redelivery::Disabled;
    }
    delivery.state = DeliveryState::Pending;
    delivery.tries = 0;
    delivery.claim += 1;
    delivery.due_at = batch.at;
    Redelivery::Due
}

pub(super) fn prune(tables: &mut Tables, batch: &Batch, unit: &PruneDeliveries) -> usize {
    let until = batch.at.minus(unit.older_than);
    let is_waited_for = |row: &Delivery| row.state == DeliveryState::Pending && is_enabled(tables, row.endpoint_id);
    let mut old: Vec<(Timestamp, i64)> = tables
        .deliveries
        .values()
        .filter(|row| row.created_at <= until && !is_waited_for(row))
        .map(|row| (row.created_at, row.id))
        .collect();
    old.sort_unstable();
    old.truncate(unit.limit);
    for (_, id) in &old {
        tables.deliveries.remove(id);
    }
    old.len()
}

#[async_trait]
impl WebhookReads for MemoryStore {
    async fn webhooks(&self) -> Result<Vec<Endpoint>, StoreError> {
        Ok(self.tables().webhooks.values().rev().cloned().collect())
    }

    async fn webhook(&self, endpoint_id: i64) -> Result<Option<Endpoint>, StoreError> {
        Ok(self.tables().webhooks.get(&endpoint_id).cloned())
    }

    async fn due_webhooks(&self) -> Result<Vec<i64>, StoreError> {
        let now = self.now_ms();
        let tables = self.tables();
        let has_due = |id: &i64| tables.deliveries.values().any(|row| row.endpoint_id == *id && is_due(row, now));
        Ok(tables.webhooks.values().filter(|row| row.is_enabled).map(|row| row.id).filter(has_due).collect())
    }

    async fn deliveries(&self, endpoint_id: i64, search: &DeliverySearch) -> Result<Vec<Delivery>, StoreError> {
        let tables = self.tables();
        let is_wanted = |row: &&Delivery| {
            row.endpoint_id == endpoint_id
                && search.state.is_none_or(|state| row.state == state)
                && search.before.is_none_or(|before| row.id < before)
        };
        Ok(tables.deliveries.values().rev().filter(is_wanted).take(search.limit).cloned().collect())
    }

    async fn delivery(&self, endpoint_id: i64, delivery_id: i64) -> Result<Option<Delivery>, StoreError> {
        let row = self.tables().deliveries.get(&delivery_id).cloned();
        Ok(row.filter(|row| row.endpoint_id == endpoint_id))
    }
}
