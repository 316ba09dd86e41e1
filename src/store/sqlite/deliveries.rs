//! Deliveries of webhooks: recording what a batch tells, taking what is due, forgetting what is old.

use actors::domain::webhook::{Delivery, EventSet};
use actors::ports::clock::Entropy;
use actors::ports::store::units::{ClaimDeliveries, PruneDeliveries, UnitOutcome, WriteUnit};
use actors::ports::store::{StoreError, may_tell, told};

use super::commit::Transaction;
use super::rows::{Rows, limit};
use crate::store::batch::Placed;
use crate::store::columns::{DeliveryColumns, claimed};

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
