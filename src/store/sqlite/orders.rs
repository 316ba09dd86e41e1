//! Placing and closing orders.

use actors::domain::order::OrderStatus;
use actors::domain::{Timestamp, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{CloseOrders, OrderClose, PlaceOrder, Placement, ReceiverChange, SetReceiver};

use super::commit::Transaction;
use super::rows::{expect_rows, list, order_sn, order_status};
use super::stock::{self, read_free};
use super::{locks, order_rows, requests};
use crate::store::batch::Placed;
use crate::store::decisions::{Closable, Made, UsedTokens, decide_closing, decide_placing, decide_receiver};

/// Carries out [`PlaceOrder`] units.
pub(super) async fn place(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, PlaceOrder>],
) -> Result<Vec<Placement>, StoreError> {
    let made = Made { tokens: used_tokens(tx, units).await?, keys: requests::kept(tx, units).await? };
    let mut free = read_free(tx, units.iter().flat_map(|(_, unit)| &unit.locks)).await?;
    let placing = decide_placing(units, made, &mut free, tx.at);
    placing.announce(&mut tx.news);
    stock::change(tx, &placing.stock_change()).await?;
    let saved: Vec<_> = placing.saved().map(|unit| (&unit.order, Some(unit.token.as_str()))).collect();
    order_rows::insert(tx, &saved);
    locks::insert(tx, &placing.locks());
    requests::keep(tx, &placing).await?;
    Ok(placing.answers)
}

/// The orders that these units' tokens made before.
async fn used_tokens(tx: &mut Transaction<'_>, units: &[Placed<'_, PlaceOrder>]) -> Result<UsedTokens, StoreError> {
    let rows: Vec<(i64, String, String)> = tx
        .all(
            sqlx::query_as(
                "SELECT o.member_id, o.order_token, o.order_sn
                 FROM jsonb_each(?) AS asked CROSS JOIN oms_order AS o
                     ON o.member_id = asked.value->>0 AND o.order_token = asked.value->>1",
            )
            .bind(list(units.iter().map(|(_, unit)| (unit.order.user_id, &unit.token)))),
        )
        .await?;
    rows.into_iter().map(|(user_id, token, made)| Ok(((UserId(user_id), token), order_sn(&made)?))).collect()
}

/// Carries out [`CloseOrders`] units.
pub(super) async fn close(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, CloseOrders>],
) -> Result<Vec<Vec<OrderClose>>, StoreError> {
    let known = read_closable(tx, units).await?;
    let (answers, closed) = decide_closing(units, known, (tx.at, tx.rules.close_grace), &mut tx.news);
    if !closed.is_empty() {
        let order_sns = list(closed.iter().map(|row| row.order_sn));
        update_closed(tx, order_sns, closed.len()).await?;
        order_rows::insert_history(tx, &closed).await?;
    }
    Ok(answers)
}

async fn read_closable(tx: &mut Transaction<'_>, units: &[Placed<'_, CloseOrders>]) -> Result<Closable, StoreError> {
    let rows: Vec<(String, i64, Option<i64>)> = tx
        .all(
            sqlx::query_as(
                "SELECT o.order_sn, o.status, o.pay_before
                 FROM jsonb_each(?) AS asked CROSS JOIN oms_order AS o ON o.order_sn = asked.value",
            )
            .bind(list(units.iter().flat_map(|(_, unit)| &unit.order_sns))),
        )
        .await?;
    let known = |(text, status, pay_before): (String, i64, Option<i64>)| {
        Ok((order_sn(&text)?, (order_status(status)?, pay_before.map(Timestamp))))
    };
    rows.into_iter().map(known).collect()
}

async fn update_closed(tx: &mut Transaction<'_>, order_sns: String, expected: usize) -> Result<(), StoreError> {
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE oms_order SET status = 4, modify_time = ?1
                 WHERE order_sn IN (SELECT value FROM jsonb_each(?2)) AND status = 0",
            )
            .bind(tx.at.0)
            .bind(order_sns),
        )
        .await?;
    expect_rows("oms_order", expected, changed)
}

/// Carries out [`SetReceiver`].
pub(super) async fn set_receiver(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, SetReceiver>,
) -> Result<ReceiverChange, StoreError> {
    let known: Option<(i64, i64)> = tx
        .optional(
            sqlx::query_as("SELECT status, modify_time FROM oms_order WHERE order_sn = ? AND member_id = ?")
                .bind(unit.order_sn.as_str())
                .bind(unit.user_id.0),
        )
        .await?;
    let known: Option<(OrderStatus, Timestamp)> =
        known.map(|(status, modified_at)| Ok((order_status(status)?, Timestamp(modified_at)))).transpose()?;
    let change = decide_receiver(known, unit);
    if change != ReceiverChange::Done {
        return Ok(change);
    }
    let receiver = &unit.receiver;
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE oms_order SET receiver_name = ?, receiver_phone = ?, receiver_post_code = ?,
                     receiver_province = ?, receiver_city = ?, receiver_region = ?, receiver_detail_address = ?,
                     modify_time = ?
                 WHERE order_sn = ? AND member_id = ? AND status = ?",
            )
            .bind(&receiver.name)
            .bind(&receiver.phone)
            .bind(&receiver.post_code)
            .bind(&receiver.province)
            .bind(&receiver.city)
            .bind(&receiver.region)
            .bind(&receiver.detail_address)
            .bind(tx.at.0)
            .bind(unit.order_sn.as_str())
            .bind(unit.user_id.0)
            .bind(known.map(|(status, _)| status.code())),
        )
        .await?;
    expect_rows("oms_order", 1, changed)?;
    Ok(change)
}
