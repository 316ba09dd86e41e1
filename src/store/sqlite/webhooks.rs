//! Webhooks: recording what a batch tells, endpoints, and the deliveries.

use actors::domain::webhook::{Delivery, DeliveryState, Endpoint, EventSet, NextStep};
use actors::ports::clock::Entropy;
use actors::ports::store::units::{
    ClaimDeliveries, CreateWebhook, DeleteWebhook, EditWebhook, PruneDeliveries, Redeliver, Redelivery, RotateWebhook,
    SettleDelivery, UnitOutcome, WebhookCreation, WebhookEdit, WriteUnit,
};
use actors::ports::store::{DeliverySearch, Store, StoreError, WebhookReads, may_tell, told};
use async_trait::async_trait;

use super::SqliteStore;
use super::commit::Transaction;
use super::rows::{Rows, limit};
use crate::store::batch::Placed;
use crate::store::columns::{DeliveryColumns, EndpointColumns, claimed, deliveries, settled};

/// Records what a batch tells, at its end: one short read when it may tell anything, one statement more when somebody
/// wants to hear it.
pub(super) async fn record(
    tx: &mut Transaction<'_>,
    units: &[WriteUnit],
    outcomes: &[UnitOutcome],
    entropy: &dyn Entropy,
) -> Result<(), StoreError> {
    if !units.iter().any(may_tell) {
        return Ok(());
    }
    let wanted: Vec<(i64,)> =
        tx.all_before_writes(sqlx::query_as("SELECT events FROM webhook_endpoint WHERE enabled = 1")).await?;
    let wanted = wanted.into_iter().fold(EventSet::NONE, |all, (bits,)| all.with(EventSet::from_bits(bits)));
    let messages = told((units, outcomes), wanted, tx.at, entropy);
    if messages.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new();
    for message in &messages {
        let kind: EventSet = [message.kind].into_iter().collect();
        rows.row().put(&message.message_id).put(message.kind.as_str()).put(&message.body).put(&kind.bits());
    }
    let insert = sqlx::query(
        "INSERT INTO webhook_delivery (endpoint_id, message_id, event_type, body, due_time, create_time)
         SELECT e.id, told.value->>0, told.value->>1, told.value->>2, ?1, ?1
         FROM jsonb_each(?2) AS told JOIN webhook_endpoint AS e ON e.enabled = 1 AND e.events & (told.value->>3) <> 0
         ORDER BY told.key, e.id",
    );
    tx.execute(insert.bind(tx.at.0).bind(rows.json())).await.map(drop)
}

/// Carries out [`CreateWebhook`].
pub(super) async fn create(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, CreateWebhook>,
) -> Result<WebhookCreation, StoreError> {
    let made: Option<(i64,)> = tx
        .optional(
            sqlx::query_as(
                "INSERT INTO webhook_endpoint (url, events, enabled, secret, version, create_time, modify_time)
                 SELECT ?1, ?2, 1, ?3, 1, ?4, ?4 WHERE (SELECT count(*) FROM webhook_endpoint) < ?5 RETURNING id",
            )
            .bind(&unit.url)
            .bind(unit.events.bits())
            .bind(unit.secret.expose())
            .bind(tx.at.0)
            .bind(limit(unit.most)),
        )
        .await?;
    Ok(made.map_or(WebhookCreation::TooMany, |(id,)| WebhookCreation::Created(id)))
}

/// Carries out [`EditWebhook`].
pub(super) async fn edit(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, EditWebhook>,
) -> Result<WebhookEdit, StoreError> {
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE webhook_endpoint SET url = ?, events = ?, enabled = ?, version = version + 1, modify_time = ?
                 WHERE id = ? AND version = ?",
            )
            .bind(&unit.url)
            .bind(unit.events.bits())
            .bind(i64::from(unit.is_enabled))
            .bind(tx.at.0)
            .bind(unit.endpoint_id)
            .bind(unit.seen),
        )
        .await?;
    if changed == 1 {
        return Ok(WebhookEdit::Done);
    }
    let enabled = is_enabled(tx, unit.endpoint_id).await?;
    Ok(enabled.map_or(WebhookEdit::Unknown, |_| WebhookEdit::Changed))
}

/// `None`: no such endpoint.
async fn is_enabled(tx: &mut Transaction<'_>, endpoint_id: i64) -> Result<Option<bool>, StoreError> {
    let select = sqlx::query_as("SELECT enabled FROM webhook_endpoint WHERE id = ?").bind(endpoint_id);
    let found: Option<(i64,)> = tx.optional(select).await?;
    Ok(found.map(|(enabled,)| enabled != 0))
}

/// Carries out [`DeleteWebhook`].
pub(super) async fn delete(tx: &mut Transaction<'_>, (_, unit): Placed<'_, DeleteWebhook>) -> Result<bool, StoreError> {
    let delete = sqlx::query("DELETE FROM webhook_endpoint WHERE id = ?").bind(unit.endpoint_id);
    Ok(tx.execute(delete).await? == 1)
}

/// Carries out [`RotateWebhook`].
pub(super) async fn rotate(tx: &mut Transaction<'_>, (_, unit): Placed<'_, RotateWebhook>) -> Result<bool, StoreError> {
    let rotate = sqlx::query(
        "UPDATE webhook_endpoint SET former_secret = secret, former_until = ?1, secret = ?2, version = version + 1,
             modify_time = ?3
         WHERE id = ?4",
    );
    let rotate = rotate.bind(tx.at.plus(unit.overlap).0).bind(unit.secret.expose()).bind(tx.at.0);
    Ok(tx.execute(rotate.bind(unit.endpoint_id)).await? == 1)
}

/// Carries out [`ClaimDeliveries`].
pub(super) async fn claim(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, ClaimDeliveries>,
) -> Result<Vec<Delivery>, StoreError> {
    let claim = sqlx::query_as(
        "UPDATE webhook_delivery SET tries = tries + 1, claim = claim + 1, due_time = ?1
         WHERE id IN (SELECT id FROM webhook_delivery
                      WHERE endpoint_id = ?2 AND state = 0 AND due_time <= ?3
                        AND EXISTS (SELECT 1 FROM webhook_endpoint WHERE id = ?2 AND enabled = 1)
                      ORDER BY due_time, id LIMIT ?4)
         RETURNING *",
    );
    let claim = claim.bind(tx.at.plus(unit.lease).0).bind(unit.endpoint_id).bind(tx.at.0).bind(limit(unit.limit));
    let rows: Vec<DeliveryColumns> = tx.all(claim).await?;
    claimed(rows)
}

/// Carries out [`SettleDelivery`].
pub(super) async fn settle(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, SettleDelivery>,
) -> Result<bool, StoreError> {
    let (state, due_at) = settled(unit, tx.at);
    let settle = sqlx::query_as(
        "UPDATE webhook_delivery SET state = ?, due_time = ?, last_status = ?, last_error = ?, tried_time = ?
         WHERE id = ? AND claim = ? AND state = 0 RETURNING endpoint_id",
    );
    let settle = settle.bind(state).bind(due_at).bind(unit.status.map(i64::from)).bind(&unit.error).bind(tx.at.0);
    let endpoint: Option<(i64,)> = tx.optional(settle.bind(unit.delivery_id).bind(unit.claim)).await?;
    let Some((endpoint_id,)) = endpoint else { return Ok(false) };
    if unit.next == NextStep::Gone {
        let disable = sqlx::query(
            "UPDATE webhook_endpoint SET enabled = 0, version = version + 1, modify_time = ?
             WHERE id = ? AND enabled = 1",
        );
        tx.execute(disable.bind(tx.at.0).bind(endpoint_id)).await?;
    }
    Ok(true)
}

/// Carries out [`Redeliver`].
pub(super) async fn redeliver(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, Redeliver>,
) -> Result<Redelivery, StoreError> {
    let Some(is_enabled) = is_enabled(tx, unit.endpoint_id).await? else { return Ok(Redelivery::Unknown) };
    let again = sqlx::query(
        "UPDATE webhook_delivery SET state = iif(?1, 0, state), tries = iif(?1, 0, tries),
             claim = claim + ?1, due_time = iif(?1, ?2, due_time)
         WHERE id = ?3 AND endpoint_id = ?4",
    );
    let again = again.bind(i64::from(is_enabled)).bind(tx.at.0).bind(unit.delivery_id).bind(unit.endpoint_id);
    Ok(match (tx.execute(again).await?, is_enabled) {
        (0, _) => Redelivery::Unknown,
        (_, true) => Redelivery::Due,
        (_, false) => Redelivery::Disabled,
    })
}

/// Carries out [`PruneDeliveries`].
pub(super) async fn prune(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, PruneDeliveries>,
) -> Result<usize, StoreError> {
    tx.execute(
        sqlx::query(
            "DELETE FROM webhook_delivery WHERE id IN (
                 SELECT id FROM webhook_delivery AS d
                 WHERE create_time <= ?1
                   AND (state <> 0 OR NOT EXISTS (SELECT 1 FROM webhook_endpoint AS e
                                                  WHERE e.id = d.endpoint_id AND e.enabled = 1))
                 ORDER BY create_time LIMIT ?2)",
        )
        .bind(tx.at.minus(unit.older_than).0)
        .bind(limit(unit.limit)),
    )
    .await
}

#[async_trait]
impl WebhookReads for SqliteStore {
    async fn webhooks(&self) -> Result<Vec<Endpoint>, StoreError> {
        let select = sqlx::query_as("SELECT * FROM webhook_endpoint ORDER BY id DESC");
        let rows: Vec<EndpointColumns> = self.readers.all(select).await?;
        rows.into_iter().map(EndpointColumns::into_endpoint).collect()
    }

    async fn webhook(&self, endpoint_id: i64) -> Result<Option<Endpoint>, StoreError> {
        let select = sqlx::query_as("SELECT * FROM webhook_endpoint WHERE id = ?").bind(endpoint_id);
        self.readers.optional(select).await?.map(EndpointColumns::into_endpoint).transpose()
    }

    async fn due_webhooks(&self) -> Result<Vec<i64>, StoreError> {
        let select = sqlx::query_as(
            "SELECT e.id FROM webhook_endpoint AS e
             WHERE e.enabled = 1 AND EXISTS (SELECT 1 FROM webhook_delivery AS d
                                             WHERE d.endpoint_id = e.id AND d.state = 0 AND d.due_time <= ?)
             ORDER BY e.id",
        );
        let rows: Vec<(i64,)> = self.readers.all(select.bind(self.now().await?.0)).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    async fn deliveries(&self, endpoint_id: i64, search: &DeliverySearch) -> Result<Vec<Delivery>, StoreError> {
        let select = sqlx::query_as(
            "SELECT * FROM webhook_delivery
             WHERE endpoint_id = ?1 AND id < ?2 AND (?3 IS NULL OR state = ?3) ORDER BY id DESC LIMIT ?4",
        );
        let select = select.bind(endpoint_id).bind(search.before.unwrap_or(i64::MAX));
        let select = select.bind(search.state.map(DeliveryState::code)).bind(limit(search.limit));
        deliveries(self.readers.all(select).await?)
    }

    async fn delivery(&self, endpoint_id: i64, delivery_id: i64) -> Result<Option<Delivery>, StoreError> {
        let select = sqlx::query_as("SELECT * FROM webhook_delivery WHERE endpoint_id = ? AND id = ?");
        let row: Option<DeliveryColumns> = self.readers.optional(select.bind(endpoint_id).bind(delivery_id)).await?;
        row.map(DeliveryColumns::into_delivery).transpose()
    }
}
