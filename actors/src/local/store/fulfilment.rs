//! Shipping and receipt.

use super::Batch;
use super::tables::Tables;
use crate::domain::OrderSn;
use crate::domain::order::{self, OrderCommand, PayType, auto_receive_at, points_event};
use crate::domain::payment::{PaymentState, cash_trade_no};
use crate::ports::store::units::{OrderReceive, OrderShip, ReceiveOrders, ShipOrder};
use crate::ports::store::{PaymentRow, StoreError};

pub(super) fn ship(tables: &mut Tables, batch: &Batch, unit: &ShipOrder) -> OrderShip {
    let Some(order) = tables.orders.get_mut(&unit.order_sn) else { return OrderShip::Unknown };
    let Ok((shipped, _)) = order::apply(order.status, OrderCommand::Ship) else {
        return OrderShip::WrongState(order.status);
    };
    order.delivery_company.clone_from(&unit.delivery_company);
    order.delivery_sn = Some(unit.delivery_sn.clone());
    order.shipped_at = Some(batch.at);
    order.auto_confirm_days = Some(unit.auto_confirm_days);
    tables.set_status(&unit.order_sn, shipped, batch.at);
    tables.add_history(batch, &unit.order_sn, unit.operator, &unit.note);
    OrderShip::Shipped
}

pub(super) fn receive(
    tables: &mut Tables,
    batch: &mut Batch,
    unit: &ReceiveOrders,
) -> Result<Vec<OrderReceive>, StoreError> {
    unit.order_sns.iter().map(|order_sn| receive_one(tables, batch, unit, order_sn)).collect()
}

fn receive_one(
    tables: &mut Tables,
    batch: &mut Batch,
    unit: &ReceiveOrders,
    order_sn: &OrderSn,
) -> Result<OrderReceive, StoreError> {
    let Some(order) = tables.orders.get_mut(order_sn) else { return Ok(OrderReceive::Unknown) };
    let Ok((received, _)) = order::apply(order.status, OrderCommand::Receive) else {
        return Ok(OrderReceive::WrongState(order.status));
    };
    let due_at = order.shipped_at.zip(order.auto_confirm_days).map(|(at, days)| auto_receive_at(at, days));
    if let Some(due_at) = due_at.filter(|due_at| unit.when_due && batch.at < *due_at) {
        return Ok(OrderReceive::NotDue(due_at));
    }
    order.received_at = Some(batch.at);
    let is_cash = order.pay_type == PayType::CashOnDelivery;
    tables.set_status(order_sn, received, batch.at);
    if is_cash {
        take_cash(tables, batch, order_sn)?;
    }
    tables.add_history(batch, order_sn, unit.operator, &unit.note);
    Ok(OrderReceive::Received)
}

/// The carrier brought the money.
fn take_cash(tables: &mut Tables, batch: &mut Batch, order_sn: &OrderSn) -> Result<(), StoreError> {
    let trade_no = cash_trade_no(order_sn)
        .ok_or_else(|| StoreError::Inconsistent(format!("order number {order_sn} is too long for a trade's")))?;
    let Some(order) = tables.orders.get_mut(order_sn) else { return Ok(()) };
    order.paid_at = Some(batch.at);
    let points = points_event(order_sn, order.user_id, order.pay_amount, batch.rules.points_per_yuan);
    tables.payments.push(PaymentRow {
        order_sn: order_sn.clone(),
        trade_no,
        amount: order.pay_amount,
        state: PaymentState::Applied,
        created_at: batch.at,
    });
    batch.events.push(points);
    Ok(())
}
