//! Shipping and receipt. The orders are locked.

use actors::domain::OrderSn;
use actors::domain::order::{OrderCommand, OrderStatus, PayType, apply};
use actors::ports::store::StoreError;
use actors::ports::store::units::{OrderReceive, OrderShip, ReceiveOrders, ShipOrder};

use super::bulk::insert_cash;
use super::commit::Transaction;
use super::order_rows::insert_history;
use super::rows::{among, expect_rows, numbers, order_status};
use crate::store::batch::Placed;
use crate::store::columns::HistoryRow;
use crate::store::decisions::{Receivables, decide_receiving};

/// Carries out [`ShipOrder`].
pub(super) async fn ship(tx: &mut Transaction<'_>, (_, unit): Placed<'_, ShipOrder>) -> Result<OrderShip, StoreError> {
    let found: Option<(i64,)> = tx
        .optional(sqlx::query_as("SELECT status FROM oms_order WHERE order_sn = $1").bind(unit.order_sn.as_str()))
        .await?;
    let Some((from,)) = found else { return Ok(OrderShip::Unknown) };
    let from = order_status(from)?;
    let Ok((to, _)) = apply(from, OrderCommand::Ship) else { return Ok(OrderShip::WrongState(from)) };
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE oms_order SET status = $1, delivery_company = $2, delivery_sn = $3, auto_confirm_day = $4,
                     delivery_time = $5, modify_time = $5
                 WHERE order_sn = $6 AND status = $7",
            )
            .bind(to.code())
            .bind(&unit.delivery_company)
            .bind(&unit.delivery_sn)
            .bind(i64::from(unit.auto_confirm_days))
            .bind(tx.at.0)
            .bind(unit.order_sn.as_str())
            .bind(from.code()),
        )
        .await?;
    expect_rows("oms_order", 1, changed)?;
    insert_history(tx, &[HistoryRow::step(&unit.order_sn, unit.operator, to, &unit.note)]).await?;
    Ok(OrderShip::Shipped)
}

/// Carries out [`ReceiveOrders`] units.
pub(super) async fn receive(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, ReceiveOrders>],
) -> Result<Vec<Vec<OrderReceive>>, StoreError> {
    let known = read_receivable(tx, units).await?;
    let rules = (tx.at, tx.rules.points_per_yuan);
    let (answers, received) = decide_receiving(units, known, rules, &mut tx.news)?;
    if !received.history.is_empty() {
        update_received(tx, received.history.iter().map(|row| row.order_sn)).await?;
        insert_cash(tx, &received.cash).await?;
        insert_history(tx, &received.history).await?;
    }
    Ok(answers)
}

async fn read_receivable(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, ReceiveOrders>],
) -> Result<Receivables, StoreError> {
    let rows = tx
        .all(
            sqlx::query_as(concat!(
                "SELECT order_sn, status, member_id, pay_type, pay_amount, delivery_time, auto_confirm_day
                 FROM oms_order WHERE order_sn ",
                among!("$1")
            ))
            .bind(numbers(units.iter().flat_map(|(_, unit)| &unit.order_sns))),
        )
        .await?;
    Receivables::read(rows)
}

async fn update_received<'u>(
    tx: &mut Transaction<'_>,
    order_sns: impl ExactSizeIterator<Item = &'u OrderSn>,
) -> Result<(), StoreError> {
    let expected = order_sns.len();
    let receive = sqlx::query(concat!(
        "UPDATE oms_order SET status = $1, receive_time = $2, modify_time = $2,
             payment_time = CASE WHEN pay_type = $3 THEN $2 ELSE payment_time END
         WHERE order_sn ",
        among!("$4"),
        " AND status = $5"
    ));
    let receive = receive
        .bind(OrderStatus::Completed.code())
        .bind(tx.at.0)
        .bind(PayType::CashOnDelivery.column())
        .bind(numbers(order_sns))
        .bind(OrderStatus::Shipped.code());
    let changed = tx.execute(receive).await?;
    expect_rows("oms_order", expected, changed)
}
