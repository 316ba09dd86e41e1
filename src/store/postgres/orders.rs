//! Placing and closing orders.

use std::collections::HashMap;

use actors::domain::order::OrderStatus;
use actors::domain::{Timestamp, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{CloseOrders, OrderClose, PlaceOrder, Placement, ReceiverChange, SetReceiver};

use super::commit::Transaction;
use super::rows::{column, expect_rows, numbers, order_sn, order_status};
use super::written::{self, Writes};
use super::{order_rows, requests, stock};
use crate::store::batch::Placed;
use crate::store::decisions::{Closable, Made, Placing, UsedTokens, decide_closing, decide_placing, decide_receiver};

/// Carries out [`PlaceOrder`] units.
pub(super) async fn place(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, PlaceOrder>],
) -> Result<Vec<Placement>, StoreError> {
    let made = Made { tokens: used_tokens(tx, units).await?, keys: requests::kept(tx, units).await? };
    let mut placing = decide_placing(units, made, &mut stock::free(tx), tx.at);
    keep_keys(tx, units, &mut placing).await?;
    insert_orders(tx, units, &mut placing).await?;
    placing.announce(&mut tx.news);
    let (stock, locks, orders) = (placing.stock_change().rows(), placing.locks(), saved(&placing));
    written::write(tx, Writes { stock: &stock, locks: &locks, orders: &orders, ..Writes::default() }).await?;
    Ok(placing.answers)
}

/// Keeps the keys. One that two nodes are asked for at once is decided by its UNIQUE index: the later one waits there for
/// the earlier, and gives its unit up.
async fn keep_keys<'u>(
    tx: &mut Transaction<'_>,
    units: &[Placed<'u, PlaceOrder>],
    placing: &mut Placing<'u>,
) -> Result<(), StoreError> {
    let wanted: Vec<_> = placing.requests().collect();
    let kept = requests::keep(tx, &wanted).await?;
    if kept < wanted.len() {
        let keys = requests::kept(tx, units).await?;
        placing.give_up(units, &Made { tokens: UsedTokens::new(), keys })?;
    }
    expect_rows("api_idempotency", placing.requests().count(), kept)
}

/// Writes the orders. A token that two nodes are asked for at once is decided by its UNIQUE index: the later one waits
/// there for the earlier, and gives its unit up, with its key.
async fn insert_orders<'u>(
    tx: &mut Transaction<'_>,
    units: &[Placed<'u, PlaceOrder>],
    placing: &mut Placing<'u>,
) -> Result<(), StoreError> {
    let inserted = order_rows::insert_orders(tx, &saved(placing)).await?;
    if inserted < saved(placing).len() {
        let mut gone: Vec<_> = placing.requests().collect();
        let tokens = used_tokens(tx, units).await?;
        placing.give_up(units, &Made { tokens, keys: HashMap::new() })?;
        gone.retain(|(.., order_sn)| placing.saved().all(|unit| unit.order.order_sn != **order_sn));
        requests::free(tx, &gone).await?;
    }
    expect_rows("oms_order", saved(placing).len(), inserted)
}

fn saved<'u>(placing: &Placing<'u>) -> Vec<order_rows::Made<'u>> {
    placing.saved().map(|unit| (&unit.order, Some(unit.token.as_str()))).collect()
}

/// The orders that these units' tokens made before.
async fn used_tokens(tx: &mut Transaction<'_>, units: &[Placed<'_, PlaceOrder>]) -> Result<UsedTokens, StoreError> {
    let rows: Vec<(i64, String, String)> = tx
        .all(
            sqlx::query_as(
                "SELECT o.member_id, o.order_token, o.order_sn
                 FROM unnest($1::bigint[], $2::text[]) AS asked (member_id, token)
                 JOIN oms_order AS o ON o.order_token = asked.token AND o.member_id = asked.member_id",
            )
            .bind(column(units, |(_, unit)| unit.order.user_id.0))
            .bind(column(units, |(_, unit)| unit.token.as_str())),
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
        update_closed(tx, numbers(closed.iter().map(|row| row.order_sn))).await?;
        order_rows::insert_history(tx, &closed).await?;
    }
    Ok(answers)
}

async fn read_closable(tx: &mut Transaction<'_>, units: &[Placed<'_, CloseOrders>]) -> Result<Closable, StoreError> {
    let rows: Vec<(String, i64, Option<i64>)> = tx
        .all(
            sqlx::query_as("SELECT order_sn, status, pay_before FROM oms_order WHERE order_sn = ANY($1)")
                .bind(numbers(units.iter().flat_map(|(_, unit)| &unit.order_sns))),
        )
        .await?;
    let known = |(text, status, pay_before): (String, i64, Option<i64>)| {
        Ok((order_sn(&text)?, (order_status(status)?, pay_before.map(Timestamp))))
    };
    rows.into_iter().map(known).collect()
}

async fn update_closed(tx: &mut Transaction<'_>, order_sns: Vec<&str>) -> Result<(), StoreError> {
    let expected = order_sns.len();
    let close =
        sqlx::query("UPDATE oms_order SET status = 4, modify_time = $1 WHERE order_sn = ANY($2) AND status = $3");
    let from = OrderStatus::AwaitingPayment.code();
    let changed = tx.execute(close.bind(tx.at.0).bind(order_sns).bind(from)).await?;
    expect_rows("oms_order", expected, changed)
}

/// Carries out [`SetReceiver`].
pub(super) async fn set_receiver(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, SetReceiver>,
) -> Result<ReceiverChange, StoreError> {
    let known: Option<(i64, i64)> = tx
        .optional(
            sqlx::query_as("SELECT status, modify_time FROM oms_order WHERE order_sn = $1 AND member_id = $2")
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
                "UPDATE oms_order SET receiver_name = $1, receiver_phone = $2, receiver_post_code = $3,
                     receiver_province = $4, receiver_city = $5, receiver_region = $6, receiver_detail_address = $7,
                     modify_time = $8
                 WHERE order_sn = $9 AND member_id = $10 AND status = $11",
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
