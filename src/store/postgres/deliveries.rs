//! Deliveries of webhooks: recording what a batch tells, taking what is due, forgetting what is old.

use actors::domain::webhook::{Delivery, EventSet};
use actors::ports::clock::Entropy;
use actors::ports::store::units::{ClaimDeliveries, PruneDeliveries, UnitOutcome, WriteUnit};
use actors::ports::store::{StoreError, changes_endpoints, may_tell, told};

use super::commit::Transaction;
use super::rows::{column, limit};
use crate::store::batch::Placed;
use crate::store::columns::{DeliveryColumns, claimed};

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
