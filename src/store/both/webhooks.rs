//! Webhook endpoints, what became of their deliveries, and reading both.

use actors::domain::webhook::{Delivery, DeliveryState, Endpoint, NextStep};
use actors::ports::store::units::{
    CreateWebhook, DeleteWebhook, EditWebhook, Redeliver, Redelivery, RotateWebhook, SettleDelivery, WebhookCreation,
    WebhookEdit,
};
use actors::ports::store::{DeliverySearch, Store, StoreError, WebhookReads};
use async_trait::async_trait;

use super::DatabaseStore;
use super::commit::Transaction;
use super::rows::limit;
use crate::store::batch::Placed;
use crate::store::columns::{DeliveryColumns, EndpointColumns, deliveries, settled};

/// Carries out [`CreateWebhook`].
pub(super) async fn create(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, CreateWebhook>,
) -> Result<WebhookCreation, StoreError> {
    let made: Option<(i64,)> = tx
        .optional(
            sqlx::query_as(
                "INSERT INTO webhook_endpoint (url, events, enabled, secret, version, create_time, modify_time)
                 SELECT $1, $2, 1, $3, 1, $4, $4 WHERE (SELECT count(*) FROM webhook_endpoint) < $5 RETURNING id",
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
                "UPDATE webhook_endpoint SET url = $1, events = $2, enabled = $3, version = version + 1, modify_time = $4
                 WHERE id = $5 AND version = $6",
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
    let select = sqlx::query_as("SELECT enabled FROM webhook_endpoint WHERE id = $1").bind(endpoint_id);
    let found: Option<(i64,)> = tx.optional(select).await?;
    Ok(found.map(|(enabled,)| enabled != 0))
}

/// Carries out [`DeleteWebhook`].
pub(super) async fn delete(tx: &mut Transaction<'_>, (_, unit): Placed<'_, DeleteWebhook>) -> Result<bool, StoreError> {
    let delete = sqlx::query("DELETE FROM webhook_endpoint WHERE id = $1").bind(unit.endpoint_id);
    Ok(tx.execute(delete).await? == 1)
}

/// Carries out [`RotateWebhook`].
pub(super) async fn rotate(tx: &mut Transaction<'_>, (_, unit): Placed<'_, RotateWebhook>) -> Result<bool, StoreError> {
    let rotate = sqlx::query(
        "UPDATE webhook_endpoint SET former_secret = secret, former_until = $1, secret = $2, version = version + 1,
             modify_time = $3
         WHERE id = $4",
    );
    let rotate = rotate.bind(tx.at.plus(unit.overlap).0).bind(unit.secret.expose()).bind(tx.at.0);
    Ok(tx.execute(rotate.bind(unit.endpoint_id)).await? == 1)
}

/// Carries out [`SettleDelivery`].
pub(super) async fn settle(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, SettleDelivery>,
) -> Result<bool, StoreError> {
    let (state, due_at) = settled(unit, tx.at);
    let settle = sqlx::query_as(
        "UPDATE webhook_delivery SET state = $1, due_time = $2, last_status = $3, last_error = $4, tried_time = $5
         WHERE id = $6 AND claim = $7 AND state = $8 RETURNING endpoint_id",
    );
    let settle = settle.bind(state).bind(due_at).bind(unit.status.map(i64::from)).bind(&unit.error).bind(tx.at.0);
    let settle = settle.bind(unit.delivery_id).bind(unit.claim).bind(DeliveryState::Pending.code());
    let endpoint: Option<(i64,)> = tx.optional(settle).await?;
    let Some((endpoint_id,)) = endpoint else { return Ok(false) };
    if unit.next == NextStep::Gone {
        let disable = sqlx::query(
            "UPDATE webhook_endpoint SET enabled = 0, version = version + 1, modify_time = $1
             WHERE id = $2 AND enabled = 1",
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
        "UPDATE webhook_delivery SET state = CASE CAST($1 AS bigint) WHEN 1 THEN 0 ELSE state END,
             tries = CASE CAST($1 AS bigint) WHEN 1 THEN 0 ELSE tries END, claim = claim + CAST($1 AS bigint),
             due_time = CASE CAST($1 AS bigint) WHEN 1 THEN $2 ELSE due_time END
         WHERE id = $3 AND endpoint_id = $4",
    );
    let again = again.bind(i64::from(is_enabled)).bind(tx.at.0).bind(unit.delivery_id).bind(unit.endpoint_id);
    Ok(match (tx.execute(again).await?, is_enabled) {
        (0, _) => Redelivery::Unknown,
        (_, true) => Redelivery::Due,
        (_, false) => Redelivery::Disabled,
    })
}

#[async_trait]
impl WebhookReads for DatabaseStore {
    async fn webhooks(&self) -> Result<Vec<Endpoint>, StoreError> {
        let select = sqlx::query_as("SELECT * FROM webhook_endpoint ORDER BY id DESC");
        let rows: Vec<EndpointColumns> = self.readers.all(select).await?;
        rows.into_iter().map(EndpointColumns::into_endpoint).collect()
    }

    async fn webhook(&self, endpoint_id: i64) -> Result<Option<Endpoint>, StoreError> {
        let select = sqlx::query_as("SELECT * FROM webhook_endpoint WHERE id = $1").bind(endpoint_id);
        self.readers.optional(select).await?.map(EndpointColumns::into_endpoint).transpose()
    }

    async fn due_webhooks(&self) -> Result<Vec<i64>, StoreError> {
        let select = sqlx::query_as(
            "SELECT e.id FROM webhook_endpoint AS e
             WHERE e.enabled = 1 AND EXISTS (SELECT 1 FROM webhook_delivery AS d
                                             WHERE d.endpoint_id = e.id AND d.state = 0 AND d.due_time <= $1)
             ORDER BY e.id",
        );
        let rows: Vec<(i64,)> = self.readers.all(select.bind(self.now().await?.0)).await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    async fn deliveries(&self, endpoint_id: i64, search: &DeliverySearch) -> Result<Vec<Delivery>, StoreError> {
        let select = sqlx::query_as(
            "SELECT * FROM webhook_delivery
             WHERE endpoint_id = $1 AND id < $2 AND (CAST($3 AS bigint) IS NULL OR state = $3) ORDER BY id DESC LIMIT $4",
        );
        let select = select.bind(endpoint_id).bind(search.before.unwrap_or(i64::MAX));
        let select = select.bind(search.state.map(DeliveryState::code)).bind(limit(search.limit));
        deliveries(self.readers.all(select).await?)
    }

    async fn delivery(&self, endpoint_id: i64, delivery_id: i64) -> Result<Option<Delivery>, StoreError> {
        let select = sqlx::query_as("SELECT * FROM webhook_delivery WHERE endpoint_id = $1 AND id = $2");
        let row: Option<DeliveryColumns> = self.readers.optional(select.bind(endpoint_id).bind(delivery_id)).await?;
        row.map(DeliveryColumns::into_delivery).transpose()
    }
}
