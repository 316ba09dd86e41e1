//! Arriving messages: the inbox, and the durable queue of the in-process bus.

use std::collections::{HashMap, HashSet};

use actors::domain::order::paid_events;
use actors::domain::{Money, OrderSn, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{AnnouncePaid, Enqueue, FinishDeliveries, RetryDelivery};

use super::commit::Transaction;
use super::rows::{column, numbers, order_sn, order_status};
use crate::store::batch::Placed;

/// The inbox consumer of [`AnnouncePaid`].
const PAID: &str = "order.success";

/// Carries out [`AnnouncePaid`] units.
pub(super) async fn announce_paid(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, AnnouncePaid>],
) -> Result<Vec<bool>, StoreError> {
    let mut new = insert_inbox(tx, PAID, column(units, |(_, unit)| unit.message_id.as_str())).await?;
    let paid = read_paid(tx, units).await?;
    let mut answers = Vec::with_capacity(units.len());
    for (place, unit) in units {
        // Taken out, so that a second unit with the same id hears that it was there.
        let is_new = new.remove(&unit.message_id);
        if is_new {
            let found = unit.order_sns.iter().filter_map(|order_sn| Some((order_sn, paid.get(order_sn)?)));
            for (order_sn, &(user_id, amount)) in found {
                tx.news.announce(*place, paid_events(order_sn, user_id, amount, tx.rules.points_per_yuan));
            }
        }
        answers.push(is_new);
    }
    Ok(answers)
}

/// Notes message ids; those that were not there.
async fn insert_inbox(
    tx: &mut Transaction<'_>,
    consumer: &'static str,
    message_ids: Vec<&str>,
) -> Result<HashSet<String>, StoreError> {
    let rows: Vec<(String,)> = tx
        .all(
            sqlx::query_as(
                "INSERT INTO mq_inbox (consumer, message_id, create_time)
                 SELECT $1, new.message_id, $2 FROM unnest($3::text[]) AS new (message_id)
                 ORDER BY new.message_id ON CONFLICT DO NOTHING RETURNING message_id",
            )
            .bind(consumer)
            .bind(tx.at.0)
            .bind(message_ids),
        )
        .await?;
    Ok(rows.into_iter().map(|(message_id,)| message_id).collect())
}

async fn read_paid(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, AnnouncePaid>],
) -> Result<HashMap<OrderSn, (UserId, Money)>, StoreError> {
    let rows: Vec<(String, i64, i64, i64)> = tx
        .all(
            sqlx::query_as("SELECT order_sn, member_id, pay_amount, status FROM oms_order WHERE order_sn = ANY($1)")
                .bind(numbers(units.iter().flat_map(|(_, unit)| &unit.order_sns))),
        )
        .await?;
    let mut paid = HashMap::new();
    for (order, member_id, amount, status) in rows {
        if order_status(status)?.is_paid() {
            paid.insert(order_sn(&order)?, (UserId(member_id), Money(amount)));
        }
    }
    Ok(paid)
}

/// Carries out [`Enqueue`] units.
pub(super) async fn enqueue(tx: &mut Transaction<'_>, units: &[Placed<'_, Enqueue>]) -> Result<Vec<()>, StoreError> {
    let messages: Vec<_> = units.iter().flat_map(|(_, unit)| &unit.messages).collect();
    tx.execute(
        sqlx::query(
            "INSERT INTO mq_local (create_time, message_id, queue, payload, due_time)
             SELECT $1, * FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[])
             ON CONFLICT (message_id) DO NOTHING",
        )
        .bind(tx.at.0)
        .bind(column(&messages, |(message, ..)| message.message_id.as_str()))
        .bind(column(&messages, |(_, queue, _)| queue.as_str()))
        .bind(column(&messages, |(message, ..)| message.payload.as_str()))
        .bind(column(&messages, |(.., due_at)| due_at.0)),
    )
    .await?;
    Ok(vec![(); units.len()])
}

/// Carries out [`FinishDeliveries`] units.
pub(super) async fn finish(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, FinishDeliveries>],
) -> Result<Vec<()>, StoreError> {
    tx.execute(
        sqlx::query("DELETE FROM mq_local WHERE message_id = ANY($1)")
            .bind(units.iter().flat_map(|(_, unit)| &unit.message_ids).map(String::as_str).collect::<Vec<_>>()),
    )
    .await?;
    Ok(vec![(); units.len()])
}

/// Carries out [`RetryDelivery`].
pub(super) async fn retry(tx: &mut Transaction<'_>, (_, unit): Placed<'_, RetryDelivery>) -> Result<(), StoreError> {
    tx.execute(
        sqlx::query("UPDATE mq_local SET due_time = $1, attempts = attempts + 1 WHERE message_id = $2")
            .bind(unit.due_at.0)
            .bind(&unit.message_id),
    )
    .await?;
    Ok(())
}
