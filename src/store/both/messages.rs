//! Messages that wait: the outbox, the in-process bus, and the ones kept for an operator.

use actors::domain::events::{Message, Queue, renamed};
use actors::ports::store::units::{Park, Replay};
use actors::ports::store::{MessageReads, OutboxRow, ParkedMessage, QueuePosition, QueuedMessage, Store, StoreError};
use async_trait::async_trait;

use super::DatabaseStore;
use super::commit::Transaction;
use super::connection::Select;
use super::rows::limit;
use crate::store::batch::Placed;
use crate::store::columns::{
    OutboxColumns, ParkedColumns, QueuedColumns, outbox_row, parked_message, queued_message, read_queue,
};

/// Carries out [`Park`].
pub(super) async fn park(tx: &mut Transaction<'_>, (_, unit): Placed<'_, Park>) -> Result<(), StoreError> {
    tx.execute(
        sqlx::query(
            "INSERT INTO mq_parked (message_id, queue, payload, reason, create_time) VALUES ($1, $2, $3, $4, $5)
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
                "UPDATE mq_parked SET replay_time = $1 WHERE message_id = $2 AND replay_time IS NULL
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

impl DatabaseStore {
    async fn queued_where(&self, select: Select<'_, QueuedColumns>) -> Result<Vec<QueuedMessage>, StoreError> {
        self.readers.all(select).await?.into_iter().map(queued_message).collect()
    }
}

#[async_trait]
impl MessageReads for DatabaseStore {
    async fn unpublished(&self, older_ms: i64, most: usize) -> Result<Vec<OutboxRow>, StoreError> {
        let rows: Vec<OutboxColumns> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT message_id, routing_key, payload, create_time FROM mq_outbox
                     WHERE published_time IS NULL AND create_time <= $1 ORDER BY create_time, id LIMIT $2",
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
                 WHERE queue = $1 AND (due_time, message_id) >= ($2, $3) AND (due_time, message_id) < ($4, $5)
                 ORDER BY due_time, message_id LIMIT $6",
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
                     WHERE CAST($1 AS text) IS NULL OR id < (SELECT id FROM mq_parked WHERE message_id = $1)
                     ORDER BY id DESC LIMIT $2",
                )
                .bind(message_id)
                .bind(limit(most)),
            )
            .await?;
        rows.into_iter().map(parked_message).collect()
    }
}
