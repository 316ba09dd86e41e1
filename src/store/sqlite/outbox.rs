//! Leaving messages: the outbox; and forgetting the spent ones.

use actors::domain::events::Message;
use actors::ports::store::StoreError;
use actors::ports::store::units::{MarkPublished, PruneMessages, SpentMessages};

use super::commit::Transaction;
use super::rows::{limit, list};
use super::script::Insert;
use crate::store::batch::Placed;

const OUTBOX: Insert = Insert {
    table: "mq_outbox",
    statement: "INSERT INTO mq_outbox (message_id, routing_key, payload, create_time)
                SELECT * FROM (VALUES (?, ?, ?, ?)) WHERE column1 IS NOT NULL",
};

/// Writes outbox rows.
pub(super) fn insert(tx: &mut Transaction<'_>, messages: &[Message]) {
    let at = tx.at.0;
    tx.script.insert(&OUTBOX, messages, |row, message| {
        row.put(&message.message_id).put(message.key.as_str()).put(&message.payload).put(at);
    });
}

/// Carries out [`MarkPublished`] units.
pub(super) async fn mark_published(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, MarkPublished>],
) -> Result<Vec<()>, StoreError> {
    let message_ids = list(units.iter().flat_map(|(_, unit)| &unit.message_ids));
    let mark = "UPDATE mq_outbox SET published_time = ?
                WHERE message_id IN (SELECT value FROM jsonb_each(?)) AND published_time IS NULL";
    tx.script.change_any("mq_outbox", mark).put(tx.at.0).put(message_ids);
    Ok(vec![(); units.len()])
}

/// Carries out [`PruneMessages`].
pub(super) async fn prune(tx: &mut Transaction<'_>, (_, unit): Placed<'_, PruneMessages>) -> Result<usize, StoreError> {
    let delete = match unit.which {
        SpentMessages::Published => {
            "DELETE FROM mq_outbox WHERE id IN (
                 SELECT id FROM mq_outbox WHERE published_time <= $1
                 ORDER BY published_time LIMIT $2)"
        }
        SpentMessages::Seen => {
            "DELETE FROM mq_inbox WHERE (consumer, message_id) IN (
                 SELECT consumer, message_id FROM mq_inbox WHERE create_time <= $1
                 ORDER BY create_time LIMIT $2)"
        }
        SpentMessages::Replayed => {
            "DELETE FROM mq_parked WHERE id IN (
                 SELECT id FROM mq_parked WHERE replay_time <= $1
                 ORDER BY replay_time LIMIT $2)"
        }
    };
    tx.execute(sqlx::query(delete).bind(tx.at.minus(unit.older_than).0).bind(limit(unit.limit))).await
}
