//! Keys of requests: written with what they made, forgotten after a while.

use std::collections::HashMap;

use actors::domain::UserId;
use actors::ports::store::units::{PlaceOrder, PruneRequests, UnitOutcome, WriteUnit};
use actors::ports::store::{KeptRequest, RequestReads, StoreError};
use async_trait::async_trait;

use super::SqliteStore;
use super::commit::Transaction;
use super::rows::{Rows, expect_rows, limit};
use crate::store::batch::Placed;
use crate::store::decisions::{KeyPlace, Placing, kept_keys, kept_requests, key_place};

/// What these units' keys made before.
pub(super) async fn kept<'u>(
    tx: &mut Transaction<'_>,
    units: &[Placed<'u, PlaceOrder>],
) -> Result<HashMap<KeyPlace<'u>, KeptRequest>, StoreError> {
    let asked: Vec<KeyPlace<'u>> = units.iter().filter_map(|(_, unit)| key_place(unit)).collect();
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let mut rows = Rows::new();
    for (at, (user_id, operation, key)) in asked.iter().enumerate() {
        rows.row().put(&at).put(user_id).put(operation).put(key);
    }
    let found: Vec<(i64, String, String)> = tx
        .all(
            sqlx::query_as(
                "SELECT asked.value->>0, r.digest, r.subject
                 FROM jsonb_each(?) AS asked CROSS JOIN api_idempotency AS r
                     ON r.member_id = asked.value->>1 AND r.operation = asked.value->>2
                    AND r.idempotency_key = asked.value->>3",
            )
            .bind(rows.json()),
        )
        .await?;
    Ok(kept_requests(&asked, found))
}

/// Keeps the keys that orders are made under.
pub(super) async fn keep(tx: &mut Transaction<'_>, placing: &Placing<'_>) -> Result<(), StoreError> {
    let mut rows = Rows::new();
    for (user_id, request, order_sn) in placing.requests() {
        rows.row().put(&user_id).put(request.operation).put(&request.key).put(&request.digest).put(order_sn);
    }
    insert(tx, rows).await
}

/// Keeps the keys of the units of a batch that did something. One that is kept already violates the primary key.
pub(super) async fn keep_asked(
    tx: &mut Transaction<'_>,
    units: &[WriteUnit],
    outcomes: &[UnitOutcome],
) -> Result<(), StoreError> {
    let mut rows = Rows::new();
    for (user_id, request, subject) in kept_keys(units, outcomes) {
        rows.row().put(&user_id).put(request.operation).put(&request.key).put(&request.digest).put(&subject);
    }
    insert(tx, rows).await
}

/// Rows of user, operation, key, digest and subject.
async fn insert(tx: &mut Transaction<'_>, rows: Rows) -> Result<(), StoreError> {
    let count = rows.count();
    if count == 0 {
        return Ok(());
    }
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO api_idempotency (member_id, operation, idempotency_key, digest, subject, create_time)
                 SELECT value->>0, value->>1, value->>2, value->>3, value->>4, ?1 FROM jsonb_each(?2)",
            )
            .bind(tx.at.0)
            .bind(rows.json()),
        )
        .await?;
    expect_rows("api_idempotency", count, inserted)
}

/// Carries out [`PruneRequests`].
pub(super) async fn prune(tx: &mut Transaction<'_>, (_, unit): Placed<'_, PruneRequests>) -> Result<usize, StoreError> {
    tx.execute(
        sqlx::query(
            "DELETE FROM api_idempotency WHERE (member_id, operation, idempotency_key) IN (
                 SELECT member_id, operation, idempotency_key FROM api_idempotency
                 WHERE create_time <= ? ORDER BY create_time LIMIT ?)",
        )
        .bind(tx.at.minus(unit.older_than).0)
        .bind(limit(unit.limit)),
    )
    .await
}

#[async_trait]
impl RequestReads for SqliteStore {
    async fn kept_request(
        &self,
        user_id: UserId,
        operation: &str,
        key: &str,
    ) -> Result<Option<KeptRequest>, StoreError> {
        let row: Option<(String, String)> = self
            .readers
            .optional(
                sqlx::query_as(
                    "SELECT digest, subject FROM api_idempotency
                     WHERE member_id = ? AND operation = ? AND idempotency_key = ?",
                )
                .bind(user_id.0)
                .bind(operation)
                .bind(key),
            )
            .await?;
        Ok(row.map(|(digest, subject)| KeptRequest { digest, subject }))
    }
}
