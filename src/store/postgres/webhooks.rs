//! Webhooks: recording what a batch tells, endpoints, and the deliveries.

use actors::domain::webhook::{Delivery, DeliveryState, Endpoint, EventSet, NextStep};
use actors::ports::clock::Entropy;
use actors::ports::store::units::{
    ClaimDeliveries, CreateWebhook, DeleteWebhook, EditWebhook, PruneDeliveries, Redeliver, Redelivery, RotateWebhook,
    SettleDelivery, UnitOutcome, WebhookCreation, WebhookEdit, WriteUnit,
};
use actors::ports::store::{DeliverySearch, Store, StoreError, WebhookReads, changes_endpoints, may_tell, told};
use async_trait::async_trait;

use super::PostgresStore;
use super::commit::Transaction;
use super::rows::{column, limit};
use crate::store::batch::Placed;
use crate::store::columns::{DeliveryColumns, EndpointColumns, claimed, deliveries, settled};

/// Records what a batch tells, at its end: one statement, when somebody wants to hear it. What is wanted was read with
/// the transaction's time, which costs no round trip; a batch that changes that itself leaves it to the statement.
pub(super) async fn record(
    tx: &mut Transaction<'_>,
    units: &[WriteUnit],
    outcomes: &[UnitOutcome],
    entropy: &dyn Entropy,
) -> Result<(), StoreError> {
    if !units.iter().any(may_tell) {
        return Ok(());
    }
    let wanted = if units.iter().any(changes_endpoints) { EventSet::ALL } else { tx.wanted };
    let messages = told((units, outcomes), wanted, tx.at, entropy);
    if messages.is_empty() {
        return Ok(());
    }
    let bits = |kind| [kind].into_iter().collect::<EventSet>().bits();
    let insert = sqlx::query(
        "INSERT INTO webhook_delivery (endpoint_id, message_id, event_type, body, due_time, create_time)
         SELECT e.id, told.message_id, told.event_type, told.body, $1, $1
         FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[]) WITH ORDINALITY
              AS told (message_id, event_type, body, bits, place)
         JOIN webhook_endpoint AS e ON e.enabled = 1 AND e.events & told.bits <> 0
         ORDER BY told.place, e.id",
    );
    let insert = insert
        .bind(tx.at.0)
        .bind(column(&messages, |message| message.message_id.as_str()))
        .bind(column(&messages, |message| message.kind.as_str()))
        .bind(column(&messages, |message| message.body.as_str()))
        .bind(column(&messages, |message| bits(message.kind)));
    tx.execute(insert).await.map(drop)
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

/// Carries out [`ClaimDeliveries`]. What another node is taking is left to it. (The array makes the server choose once;
/// a join could ask for the limited rows again and take more.)
pub(super) async fn claim(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, ClaimDeliveries>,
) -> Result<Vec<Delivery>, StoreError> {
    let claim = sqlx::query_as(
        "UPDATE webhook_delivery SET tries = tries + 1, claim = claim + 1, due_time = $1
         WHERE id = ANY(ARRAY(SELECT id FROM webhook_delivery
                      WHERE endpoint_id = $2 AND state = 0 AND due_time <= $3
                        AND EXISTS (SELECT 1 FROM webhook_endpoint WHERE id = $2 AND enabled = 1)
                      ORDER BY due_time, id LIMIT $4 FOR NO KEY UPDATE SKIP LOCKED))
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
        "UPDATE webhook_delivery SET state = $1, due_time = $2, last_status = $3, last_error = $4, tried_time = $5
         WHERE id = $6 AND claim = $7 AND state = 0 RETURNING endpoint_id",
    );
    let settle = settle.bind(state).bind(due_at).bind(unit.status.map(i64::from)).bind(&unit.error).bind(tx.at.0);
    let endpoint: Option<(i64,)> = tx.optional(settle.bind(unit.delivery_id).bind(unit.claim)).await?;
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
        "UPDATE webhook_delivery SET state = CASE $1::bigint WHEN 1 THEN 0 ELSE state END,
             tries = CASE $1::bigint WHEN 1 THEN 0 ELSE tries END, claim = claim + $1::bigint,
             due_time = CASE $1::bigint WHEN 1 THEN $2 ELSE due_time END
         WHERE id = $3 AND endpoint_id = $4",
    );
    let again = again.bind(i64::from(is_enabled)).bind(tx.at.0).bind(unit.delivery_id).bind(unit.endpoint_id);
    Ok(match (tx.execute(again).await?, is_enabled) {
        (0, _) => Redelivery::Unknown,
        (_, true) => Redelivery::Due,
        (_, false) => Redelivery::Disabled,
    })
}

/// Carries out [`PruneDeliveries`]. What another node forgets at this moment is left to it. (An array, for a join might
/// read the whole table.)
pub(super) async fn prune(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, PruneDeliveries>,
) -> Result<usize, StoreError> {
    tx.execute(
        sqlx::query(
            "DELETE FROM webhook_delivery WHERE id = ANY(ARRAY(
                 SELECT id FROM webhook_delivery AS d
                 WHERE create_time <= $1
                   AND (state <> 0 OR NOT EXISTS (SELECT 1 FROM webhook_endpoint AS e
                                                  WHERE e.id = d.endpoint_id AND e.enabled = 1))
                 ORDER BY create_time LIMIT $2 FOR UPDATE OF d SKIP LOCKED))",
        )
        .bind(tx.at.minus(unit.older_than).0)
        .bind(limit(unit.limit)),
    )
    .await
}

#[async_trait]
impl WebhookReads for PostgresStore {
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
             WHERE endpoint_id = $1 AND id < $2 AND ($3::bigint IS NULL OR state = $3) ORDER BY id DESC LIMIT $4",
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
