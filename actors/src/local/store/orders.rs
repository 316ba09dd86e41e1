//! Making and closing orders, and sending on what paid ones need.

use super::tables::Tables;
use super::{Batch, requests, stock};
use crate::domain::OrderSn;
use crate::domain::events::{Event, OrderRef};
use crate::domain::order::{self, NewOrder, Order, OrderCommand, OrderStatus, PayType, close_due_at, paid_events};
use crate::ports::store::StoreError;
use crate::ports::store::units::{
    AnnouncePaid, CloseOrders, OrderClose, PlaceOrder, Placement, ReceiverChange, SetReceiver,
};

pub(super) fn place(tables: &mut Tables, batch: &mut Batch, unit: &PlaceOrder) -> Result<Placement, StoreError> {
    let key = unit.request.as_ref().map(|request| requests::place_of(unit.order.user_id, request));
    if let Some((kept, _)) = key.as_ref().and_then(|key| tables.requests.get(key)) {
        return Ok(Placement::KeyUsed(kept.clone()));
    }
    let token = (unit.order.user_id, unit.token.clone());
    if let Some(order_sn) = tables.tokens.get(&token) {
        return Ok(Placement::TokenUsed(order_sn.clone()));
    }
    let stale = tables.stale_skus(&unit.locks);
    if !stale.is_empty() {
        return Ok(Placement::Stale(stale));
    }
    let order = save(tables, batch, &unit.order)?;
    tables.tokens.insert(token, order.order_sn.clone());
    tables.add_locks(&order.order_sn, &unit.locks, None, None, batch.at)?;
    stock::promise(tables, batch, &unit.locks)?;
    if let Some(request) = &unit.request {
        requests::keep(tables, batch, unit.order.user_id, request, order.order_sn.as_str());
    }
    Ok(Placement::Placed { created_at: order.created_at, pay_before: order.pay_before })
}

/// Writes the order and its items, and what its creation announces.
pub(super) fn save(tables: &mut Tables, batch: &mut Batch, new: &NewOrder) -> Result<Order, StoreError> {
    let pay_before = match new.pay_type {
        PayType::Online => Some(batch.at.plus(new.payment_timeout)),
        PayType::CashOnDelivery => None,
    };
    let order = Order {
        id: i64::try_from(tables.orders.len()).unwrap_or(i64::MAX) + 1,
        order_sn: new.order_sn.clone(),
        user_id: new.user_id,
        username: new.username.clone(),
        status: new.first_status(),
        pay_type: new.pay_type,
        total_amount: new.total_amount,
        pay_amount: new.pay_amount,
        delivery_company: new.delivery_company.clone(),
        receiver: new.receiver.clone(),
        items: new.items.clone(),
        sale_id: new.sale_id,
        created_at: batch.at,
        pay_before,
        pay_page_issued_at: new.pay_page_issued.then_some(batch.at),
        paid_at: None,
        delivery_sn: None,
        shipped_at: None,
        auto_confirm_days: None,
        received_at: None,
        modified_at: batch.at,
    };
    if tables.orders.insert(order.order_sn.clone(), order.clone()).is_some() {
        return Err(StoreError::Constraint(format!("order {} exists", order.order_sn)));
    }
    batch.events.extend(new.creation_events());
    Ok(order)
}

pub(super) fn close(tables: &mut Tables, batch: &mut Batch, unit: &CloseOrders) -> Vec<OrderClose> {
    unit.order_sns.iter().map(|order_sn| close_one(tables, batch, unit, order_sn)).collect()
}

fn close_one(tables: &mut Tables, batch: &mut Batch, unit: &CloseOrders, order_sn: &OrderSn) -> OrderClose {
    let Some(order) = tables.orders.get(order_sn) else { return OrderClose::Unknown };
    let Ok((closed, _)) = order::apply(order.status, OrderCommand::Close) else {
        return OrderClose::WrongState(order.status);
    };
    let due_at = order.pay_before.map(|pay_before| close_due_at(pay_before, batch.rules.close_grace));
    if let Some(due_at) = due_at.filter(|due_at| unit.when_due && batch.at < *due_at) {
        return OrderClose::NotDue(due_at);
    }
    tables.set_status(order_sn, closed, batch.at);
    tables.add_history(batch, order_sn, unit.operator, &unit.note);
    if unit.when_due {
        tables.timed_out_at.insert(order_sn.clone(), batch.at);
    }
    batch.events.push(Event::StockUnlock(OrderRef { order_token: order_sn.clone() }));
    OrderClose::Closed
}

pub(super) fn announce_paid(tables: &mut Tables, batch: &mut Batch, unit: &AnnouncePaid) -> bool {
    if tables.inbox.contains_key(&unit.message_id) {
        return false;
    }
    tables.inbox.insert(unit.message_id.clone(), batch.at);
    let paid = unit.order_sns.iter().filter_map(|order_sn| tables.orders.get(order_sn));
    for order in paid.filter(|order| OrderStatus::is_paid(order.status)) {
        let points_per_yuan = batch.rules.points_per_yuan;
        batch.events.extend(paid_events(&order.order_sn, order.user_id, order.pay_amount, points_per_yuan));
    }
    true
}

pub(super) fn set_receiver(tables: &mut Tables, batch: &Batch, unit: &SetReceiver) -> ReceiverChange {
    let owned = tables.orders.get_mut(&unit.order_sn).filter(|order| order.user_id == unit.user_id);
    let Some(order) = owned else { return ReceiverChange::Unknown };
    if unit.seen.is_some_and(|seen| seen != order.modified_at) {
        return ReceiverChange::Changed;
    }
    if !order.status.may_change_receiver() {
        return ReceiverChange::WrongState(order.status);
    }
    order.receiver = unit.receiver.clone();
    order.modified_at = batch.at;
    ReceiverChange::Done
}
