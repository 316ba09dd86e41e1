//! Keys of requests: written with what they made, forgotten after a while.

use std::collections::HashMap;

use actors::domain::{OrderSn, UserId};
use actors::ports::store::units::{PlaceOrder, PruneRequests, UnitOutcome, WriteUnit};
use actors::ports::store::{KeptRequest, RequestKey, RequestReads, StoreError};
use async_trait::async_trait;

use super::PostgresStore;
use super::commit::Transaction;
use super::rows::{column, expect_rows, limit};
use crate::store::batch::Placed;
use crate::store::decisions::{KeyPlace, kept_keys, kept_requests, key_place};

/// A key, whose it is, and the order made under it.
pub(super) type NewRequest<'u> = (UserId, &'u RequestKey, &'u OrderSn);

/// What these units' keys made before.
pub(super) async fn kept<'u>(
    tx: &mut Transaction<'_>,
    units: &[Placed<'u, PlaceOrder>],
) -> Result<HashMap<KeyPlace<'u>, KeptRequest>, StoreError> {
    let asked: Vec<KeyPlace<'u>> = units.iter().filter_map(|(_, unit)| key_place(unit)).collect();
    if asked.is_empty() {
        return Ok(HashMap::new());
    }
    let found: Vec<(i64, String, String)> = tx
        .all(
            sqlx::query_as(
                "SELECT asked.place - 1, r.digest, r.subject
                 FROM unnest($1::bigint[], $2::text[], $3::text[]) WITH ORDINALITY AS asked (member_id, operation, key, place)
                 JOIN api_idempotency AS r ON r.member_id = asked.member_id AND r.operation = asked.operation
                     AND r.idempotency_key = asked.key",
            )
            .bind(column(&asked, |(user_id, ..)| user_id.0))
            .bind(column(&asked, |(_, operation, _)| *operation))
            .bind(column(&asked, |(.., key)| *key)),
        )
        .await?;
    Ok(kept_requests(&asked, found))
}

/// Keeps keys; how many. Only one that another transaction keeps is left out, once that one is committed. They are
/// written in their order, so that two batches meet on keys in the same order.
pub(super) async fn keep(tx: &mut Transaction<'_>, requests: &[NewRequest<'_>]) -> Result<usize, StoreError> {
    if requests.is_empty() {
        return Ok(0);
    }
    tx.execute(
        sqlx::query(
            "INSERT INTO api_idempotency (create_time, member_id, operation, idempotency_key, digest, subject)
             SELECT $1, new.*
             FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
                  AS new (member_id, operation, idempotency_key)
             ORDER BY new.member_id, new.operation, new.idempotency_key
             ON CONFLICT (member_id, operation, idempotency_key) DO NOTHING",
        )
        .bind(tx.at.0)
        .bind(column(requests, |(user_id, ..)| user_id.0))
        .bind(column(requests, |(_, request, _)| request.operation))
        .bind(column(requests, |(_, request, _)| request.key.as_str()))
        .bind(column(requests, |(_, request, _)| request.digest.as_str()))
        .bind(column(requests, |(.., order_sn)| order_sn.as_str())),
    )
    .await
}

/// Keeps the keys of the units of a batch that did something, in their order, so that two batches meet on keys in the
/// same order. One that is kept already violates the primary key.
pub(super) async fn keep_asked(
    tx: &mut Transaction<'_>,
    units: &[WriteUnit],
    outcomes: &[UnitOutcome],
) -> Result<(), StoreError> {
    let keys = kept_keys(units, outcomes);
    if keys.is_empty() {
        return Ok(());
    }
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO api_idempotency (create_time, member_id, operation, idempotency_key, digest, subject)
                 SELECT $1, new.*
                 FROM unnest($2::bigint[], $3::text[], $4::text[], $5::text[], $6::text[])
                      AS new (member_id, operation, idempotency_key)
                 ORDER BY new.member_id, new.operation, new.idempotency_key",
            )
            .bind(tx.at.0)
            .bind(column(&keys, |(user_id, ..)| user_id.0))
            .bind(column(&keys, |(_, request, _)| request.operation))
            .bind(column(&keys, |(_, request, _)| request.key.as_str()))
            .bind(column(&keys, |(_, request, _)| request.digest.as_str()))
            .bind(column(&keys, |(.., subject)| subject.as_str())),
        )
        .await?;
    expect_rows("api_idempotency", keys.len(), inserted)
}

/// Frees keys that this transaction kept for orders that it does not make.
pub(super) async fn free(tx: &mut Transaction<'_>, requests: &[NewRequest<'_>]) -> Result<(), StoreError> {
    if requests.is_empty() {
        return Ok(());
    }
    let freed = tx
        .execute(
            sqlx::query(
                "DELETE FROM api_idempotency AS r
                 USING unnest($1::bigint[], $2::text[], $3::text[], $4::text[]) AS gone (member_id, operation, key, subject)
                 WHERE r.member_id = gone.member_id AND r.operation = gone.operation
                   AND r.idempotency_key = gone.key AND r.subject = gone.subject",
            )
            .bind(column(requests, |(user_id, ..)| user_id.0))
            .bind(column(requests, |(_, request, _)| request.operation))
            .bind(column(requests, |(_, request, _)| request.key.as_str()))
            .bind(column(requests, |(.., order_sn)| order_sn.as_str())),
        )
        .await?;
    expect_rows("api_idempotency", requests.len(), freed)
}

/// Carries out [`PruneRequests`]. What another node forgets at this moment is left to it.
pub(super) async fn prune(tx: &mut Transaction<'_>, (_, unit): Placed<'_, PruneRequests>) -> Result<usize, StoreError> {
    tx.execute(
        sqlx::query(
            "DELETE FROM api_idempotency WHERE (member_id, operation, idempotency_key) IN (
                 SELECT member_id, operation, idempotency_key FROM api_idempotency
                 WHERE create_time <= $1 ORDER BY create_time LIMIT $2 FOR UPDATE SKIP LOCKED)",
        )
        .bind(tx.at.minus(unit.older_than).0)
        .bind(limit(unit.limit)),
    )
    .await
}

#[async_trait]
impl RequestReads for PostgresStore {
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
                     WHERE member_id = $1 AND operation = $2 AND idempotency_key = $3",
                )
                .bind(user_id.0)
                .bind(operation)
                .bind(key),
            )
            .await?;
        Ok(row.map(|(digest, subject)| KeptRequest { digest, subject }))
    }
}
