//! Rows of webhooks and of their deliveries.

use actors::domain::Timestamp;
use actors::domain::webhook::{Delivery, DeliveryState, Endpoint, EventSet, EventType, NextStep, SigningSecret};
use actors::ports::store::StoreError;
use actors::ports::store::units::SettleDelivery;

use crate::store::rows::{count, time, unreadable};

#[derive(sqlx::FromRow)]
pub(in crate::store) struct EndpointColumns {
    id: i64,
    url: String,
    events: i64,
    enabled: i64,
    secret: String,
    former_secret: Option<String>,
    former_until: Option<i64>,
    version: i64,
    create_time: i64,
    modify_time: i64,
}

impl EndpointColumns {
    pub(in crate::store) fn into_endpoint(self) -> Result<Endpoint, StoreError> {
        let former_secret = self.former_secret.as_deref().map(secret).transpose()?;
        Ok(Endpoint {
            id: self.id,
            url: self.url,
            events: EventSet::from_bits(self.events),
            is_enabled: self.enabled != 0,
            secret: secret(&self.secret)?,
            former: former_secret.zip(time(self.former_until)),
            version: self.version,
            created_at: Timestamp(self.create_time),
            modified_at: Timestamp(self.modify_time),
        })
    }
}

fn secret(text: &str) -> Result<SigningSecret, StoreError> {
    SigningSecret::parse(text).ok_or_else(|| unreadable("a secret of webhook_endpoint", "no secret"))
}

#[derive(sqlx::FromRow)]
pub(in crate::store) struct DeliveryColumns {
    id: i64,
    endpoint_id: i64,
    message_id: String,
    event_type: String,
    body: String,
    state: i64,
    tries: i64,
    claim: i64,
    due_time: i64,
    last_status: Option<i64>,
    last_error: String,
    tried_time: Option<i64>,
    create_time: i64,
}

impl DeliveryColumns {
    pub(in crate::store) fn into_delivery(self) -> Result<Delivery, StoreError> {
        let kind = EventType::parse(&self.event_type);
        let state = DeliveryState::from_code(self.state);
        Ok(Delivery {
            id: self.id,
            endpoint_id: self.endpoint_id,
            message_id: self.message_id,
            kind: kind.ok_or_else(|| unreadable("webhook_delivery.event_type", self.event_type))?,
            body: self.body,
            state: state.ok_or_else(|| unreadable("webhook_delivery.state", self.state))?,
            tries: count("webhook_delivery.tries", self.tries)?,
            claim: self.claim,
            due_at: Timestamp(self.due_time),
            last_status: self.last_status.map(|status| count("webhook_delivery.last_status", status)).transpose()?,
            last_error: self.last_error,
            tried_at: time(self.tried_time),
            created_at: Timestamp(self.create_time),
        })
    }
}

/// Claimed rows in the order they are due, which a statement that changes rows does not keep. The lease is the same for
/// all, so the ids decide; they grow with time.
pub(in crate::store) fn claimed(rows: Vec<DeliveryColumns>) -> Result<Vec<Delivery>, StoreError> {
    let mut claimed = deliveries(rows)?;
    claimed.sort_by_key(|delivery| delivery.id);
    Ok(claimed)
}

pub(in crate::store) fn deliveries(rows: Vec<DeliveryColumns>) -> Result<Vec<Delivery>, StoreError> {
    rows.into_iter().map(DeliveryColumns::into_delivery).collect()
}

/// The state and the due time that a settled delivery gets.
pub(in crate::store) fn settled(unit: &SettleDelivery, at: Timestamp) -> (i64, i64) {
    let (state, due_at) = match unit.next {
        NextStep::Delivered => (DeliveryState::Delivered, at),
        NextStep::RetryAfter(pause) => (DeliveryState::Pending, at.plus(pause)),
        NextStep::GiveUp | NextStep::Gone => (DeliveryState::Failed, at),
    };
    (state.code(), due_at.0)
}
