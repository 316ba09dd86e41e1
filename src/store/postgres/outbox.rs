//! Leaving messages: the outbox; and forgetting the spent ones.

use actors::domain::events::Message;
use actors::ports::store::StoreError;
use actors::ports::store::units::{MarkPublished, PruneMessages, SpentMessages};

use super::commit::Transaction;
use super::rows::{column, expect_rows, limit};
use crate::store::batch::Placed;

/// Writes outbox rows.
pub(super) async fn insert(tx: &mut Transaction<'_>, messages: &[Message]) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO mq_outbox (create_time, message_id, routing_key, payload)
                 SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[])",
            )
            .bind(tx.at.0)
            .bind(column(messages, |message| message.message_id.as_str()))
            .bind(column(messages, |message| message.key.as_str()))
            .bind(column(messages, |message| message.payload.as_str())),
        )
        .await?;
    expect_rows("mq_outbox", messages.len(), inserted)
}

/// Carries out [`MarkPublished`] units. A row that another node is just marking is marked by it: after a lost message
/// several nodes send the same rows again, and need not wait for one another here. `$3` is always true: written as a
/// condition of its own, "not yet" would let the server read all that is unpublished instead of these.
pub(super) async fn mark_published(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, MarkPublished>],
) -> Result<Vec<()>, StoreError> {
    tx.execute(
        sqlx::query(
            "UPDATE mq_outbox SET published_time = $1
             WHERE id IN (SELECT id FROM mq_outbox WHERE message_id = ANY($2) AND (published_time IS NULL) = $3
                          FOR NO KEY UPDATE SKIP LOCKED)",
        )
        .bind(tx.at.0)
        .bind(units.iter().flat_map(|(_, unit)| &unit.message_ids).map(String::as_str).collect::<Vec<_>>())
        .bind(true),
    )
    .await?;
    Ok(vec![(); units.len()])
}

/// Carries out [`PruneMessages`]. What another node forgets at this moment is left to it. The rows are named by their
/// place: they are locked, so they stay there, and the planner, which does not know how few they are, cannot join them
/// with the whole table.
pub(super) async fn prune(tx: &mut Transaction<'_>, (_, unit): Placed<'_, PruneMessages>) -> Result<usize, StoreError> {
    let delete = match unit.which {
        SpentMessages::Published => {
            "DELETE FROM mq_outbox WHERE ctid = ANY(ARRAY(
                 SELECT ctid FROM mq_outbox WHERE published_time <= $1
                 ORDER BY published_time LIMIT $2 FOR UPDATE SKIP LOCKED))"
        }
        SpentMessages::Seen => {
            "DELETE FROM mq_inbox WHERE ctid = ANY(ARRAY(
                 SELECT ctid FROM mq_inbox WHERE create_time <= $1
                 ORDER BY create_time LIMIT $2 FOR UPDATE SKIP LOCKED))"
        }
        SpentMessages::Replayed => {
            "DELETE FROM mq_parked WHERE ctid = ANY(ARRAY(
                 SELECT ctid FROM mq_parked WHERE replay_time <= $1
                 ORDER BY replay_time LIMIT $2 FOR UPDATE SKIP LOCKED))"
        }
    };
    tx.execute(sqlx::query(delete).bind(tx.at.minus(unit.older_than).0).bind(limit(unit.limit))).await
}
