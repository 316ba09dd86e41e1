//! Leaving messages: the outbox, and the ones kept for an operator.

use actors::domain::events::{Message, Queue, renamed};
use actors::ports::store::units::{MarkPublished, Park, PruneMessages, Replay, SpentMessages};
use actors::ports::store::{MessageReads, OutboxRow, ParkedMessage, QueuePosition, QueuedMessage, Store, StoreError};
use async_trait::async_trait;

use super::SqliteStore;
use super::commit::Transaction;
use super::connection::Select;
use super::rows::{Rows, expect_rows, limit, list};
use crate::store::batch::Placed;
use crate::store::columns::{
    OutboxColumns, ParkedColumns, QueuedColumns, outbox_row, parked_message, queued_message, read_queue,
};

/// Writes outbox rows.
pub(super) async fn insert(tx: &mut Transaction<'_>, messages: &[Message]) -> Result<(), StoreError> {
    if messages.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new();
    for message in messages {
        rows.row().put(&message.message_id).put(message.key.as_str()).put(&message.payload);
    }
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO mq_outbox (message_id, routing_key, payload, create_time)
                 SELECT value->>0, value->>1, value->>2, ?1 FROM jsonb_each(?2)",
            )
            .bind(tx.at.0)
            .bind(rows.json()),
        )
        .await?;
    expect_rows("mq_outbox", messages.len(), inserted)
}

/// Carries out [`MarkPublished`] units.
pub(super) async fn mark_published(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, MarkPublished>],
) -> Result<Vec<()>, StoreError> {
    tx.execute(
        sqlx::query(
            "UPDATE mq_outbox SET published_time = ?
             WHERE message_id IN (SELECT value FROM jsonb_each(?)) AND published_time IS NULL",
        )
        .bind(tx.at.0)
        .bind(list(units.iter().flat_map(|(_, unit)| &unit.message_ids))),
    )
    .await?;
    Ok(vec![(); units.len()])
}

/// Carries out [`Park`].
pub(super) async fn park(tx: &mut Transaction<'_>, (_, unit): Placed<'_, Park>) -> Result<(), StoreError> {
    tx.execute(
        sqlx::query(
            "INSERT INTO mq_parked (message_id, queue, payload, reason, create_time) VALUES (?, ?, ?, ?, ?)
             ON CONFLICT (message_id) DO NOTHING",
        )
        .bind(&unit.message_id)
        .bind(unit.queue.as_str())
        .bind(&unit.payload)
        .bind(&unit.reason)
        .bind(tx.at.0),
    )
    .await?;
    Ok(())
}

/// Carries out [`Replay`].
pub(super) async fn replay(tx: &mut Transaction<'_>, (_, unit): Placed<'_, Replay>) -> Result<bool, StoreError> {
    let parked: Option<(String, String)> = tx
        .optional(
            sqlx::query_as(
                "UPDATE mq_parked SET replay_time = ? WHERE message_id = ? AND replay_time IS NULL
                 RETURNING queue, payload",
            )
            .bind(tx.at.0)
            .bind(&unit.message_id),
        )
        .await?;
    let Some((queue, payload)) = parked else { return Ok(false) };
    let payload = renamed(&payload, &unit.new_message_id);
    tx.news.replay(Message {
        message_id: unit.new_message_id.clone(),
        key: read_queue(&queue)?.arrival_key(),
        payload,
    });
    Ok(true)
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

impl SqliteStore {
    async fn queued_where(&self, select: Select<'_, QueuedColumns>) -> Result<Vec<QueuedMessage>, StoreError> {
        self.readers.all(select).await?.into_iter().map(queued_message).collect()
    }
}

#[async_trait]
impl MessageReads for SqliteStore {
    async fn unpublished(&self, older_ms: i64, most: usize) -> Result<Vec<OutboxRow>, StoreError> {
        let rows: Vec<OutboxColumns> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT message_id, routing_key, payload, create_time FROM mq_outbox
                     WHERE published_time IS NULL AND create_time <= ? ORDER BY create_time, id LIMIT ?",
                )
                .bind(self.now().await?.0.saturating_sub(older_ms))
                .bind(limit(most)),
            )
            .await?;
        rows.into_iter().map(outbox_row).collect()
    }

    async fn queued(&self) -> Result<Vec<QueuedMessage>, StoreError> {
        self.queued_where(sqlx::query_as(
            "SELECT message_id, queue, payload, due_time, attempts FROM mq_local ORDER BY due_time, id",
        ))
        .await
    }

    async fn queued_between(
        &self,
        queue: Queue,
        from: &QueuePosition,
        until: &QueuePosition,
        most: usize,
    ) -> Result<Vec<QueuedMessage>, StoreError> {
        self.queued_where(
            sqlx::query_as(
                "SELECT message_id, queue, payload, due_time, attempts FROM mq_local
                 WHERE queue = ? AND (due_time, message_id) >= (?, ?) AND (due_time, message_id) < (?, ?)
                 ORDER BY due_time, message_id LIMIT ?",
            )
            .bind(queue.as_str())
            .bind(from.due_at.0)
            .bind(from.message_id.as_str())
            .bind(until.due_at.0)
            .bind(until.message_id.as_str())
            .bind(limit(most)),
        )
        .await
    }

    async fn parked_before(&self, message_id: Option<&str>, most: usize) -> Result<Vec<ParkedMessage>, StoreError> {
        let rows: Vec<ParkedColumns> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT message_id, queue, payload, reason, create_time, replay_time
                     FROM mq_parked
                     WHERE ?1 IS NULL OR id < (SELECT id FROM mq_parked WHERE message_id = ?1)
                     ORDER BY id DESC LIMIT ?2",
                )
                .bind(message_id)
                .bind(limit(most)),
            )
            .await?;
        rows.into_iter().map(parked_message).collect()
    }
}
