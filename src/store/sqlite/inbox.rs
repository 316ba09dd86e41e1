//! Arriving messages: the inbox, and the durable queue of the in-process bus.

use std::collections::{HashMap, HashSet};

use actors::domain::order::paid_events;
use actors::domain::{Money, OrderSn, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{AnnouncePaid, Enqueue, FinishDeliveries, RetryDelivery};

use super::commit::Transaction;
use super::rows::{list, order_sn, order_status};
use super::script::Insert;
use crate::store::batch::Placed;

/// The inbox consumer of [`AnnouncePaid`].
const PAID: &str = "order.success";

/// Carries out [`AnnouncePaid`] units.
pub(super) async fn announce_paid(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, AnnouncePaid>],
) -> Result<Vec<bool>, StoreError> {
    let mut new = insert_inbox(tx, PAID, list(units.iter().map(|(_, unit)| &unit.message_id))).await?;
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
    message_ids: String,
) -> Result<HashSet<String>, StoreError> {
    let rows: Vec<(String,)> = tx
        .all(
            sqlx::query_as(
                "INSERT INTO mq_inbox (consumer, message_id, create_time)
                 SELECT ?1, value, ?2 FROM jsonb_each(?3) WHERE TRUE ON CONFLICT DO NOTHING RETURNING message_id",
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
            sqlx::query_as(
                "SELECT o.order_sn, o.member_id, o.pay_amount, o.status
                 FROM jsonb_each(?) AS asked CROSS JOIN oms_order AS o ON o.order_sn = asked.value",
            )
            .bind(list(units.iter().flat_map(|(_, unit)| &unit.order_sns))),
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

const QUEUED: Insert = Insert {
    table: "mq_local",
    statement: "INSERT INTO mq_local (message_id, queue, payload, due_time, create_time)
                SELECT * FROM (VALUES (?, ?, ?, ?, ?)) WHERE column1 IS NOT NULL
                ON CONFLICT (message_id) DO NOTHING",
};

/// Carries out [`Enqueue`] units.
pub(super) async fn enqueue(tx: &mut Transaction<'_>, units: &[Placed<'_, Enqueue>]) -> Result<Vec<()>, StoreError> {
    let messages: Vec<_> = units.iter().flat_map(|(_, unit)| &unit.messages).collect();
    let at = tx.at.0;
    tx.script.insert_any(&QUEUED, &messages, |row, (message, queue, due_at)| {
        row.put(&message.message_id).put(queue.as_str()).put(&message.payload).put(due_at.0).put(at);
    });
    Ok(vec![(); units.len()])
}

/// Carries out [`FinishDeliveries`] units.
pub(super) async fn finish(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, FinishDeliveries>],
) -> Result<Vec<()>, StoreError> {
    let message_ids = list(units.iter().flat_map(|(_, unit)| &unit.message_ids));
    let delete = "DELETE FROM mq_local WHERE message_id IN (SELECT value FROM jsonb_each(?))";
    tx.script.change_any("mq_local", delete).put(message_ids);
    Ok(vec![(); units.len()])
}

/// Carries out [`RetryDelivery`].
pub(super) async fn retry(tx: &mut Transaction<'_>, (_, unit): Placed<'_, RetryDelivery>) -> Result<(), StoreError> {
    tx.execute(
        sqlx::query("UPDATE mq_local SET due_time = ?, attempts = attempts + 1 WHERE message_id = ?")
            .bind(unit.due_at.0)
            .bind(&unit.message_id),
    )
    .await?;
    Ok(())
}
