//! Money of applied payments going back.

use super::Batch;
use super::tables::{PointsEntry, Tables};
use crate::domain::payment::{PaymentState, Refund, RefundChannel, RefundRefusal, RefundScope, decide_refund};
use crate::domain::stock::{LedgerKind, LockState};
use crate::domain::{Money, OrderSn, TradeNo, WareSkuId, points};
use crate::ports::store::StoreError;
use crate::ports::store::units::{OrderRefund, RefundOrder};

/// The applied payment of an order and what is left of it.
pub(super) fn refundable(tables: &Tables, order_sn: &OrderSn) -> Option<(TradeNo, Money)> {
    let is_applied =
        |row: &&crate::ports::store::PaymentRow| row.order_sn == *order_sn && row.state == PaymentState::Applied;
    let payment = tables.payments.iter().find(is_applied)?;
    Some((payment.trade_no.clone(), Money(payment.amount.0 - refunded(tables, &payment.trade_no).0)))
}

/// What of a trade was given back or will be.
pub(super) fn refunded(tables: &Tables, trade_no: &TradeNo) -> Money {
    let of_trade = tables.refunds.values().filter(|refund| refund.trade_no == *trade_no);
    Money(of_trade.map(|refund| refund.amount.0).sum())
}

/// What of an order's applied payment was given back or will be.
pub(super) fn refunded_of_order(tables: &Tables, order_sn: &OrderSn) -> Money {
    refundable(tables, order_sn).map_or(Money::ZERO, |(trade_no, _)| refunded(tables, &trade_no))
}

pub(super) fn refund(tables: &mut Tables, batch: &mut Batch, unit: &RefundOrder) -> Result<OrderRefund, StoreError> {
    let order_sn = &unit.order_sn;
    let Some(status) = tables.status_of(order_sn) else { return Ok(OrderRefund::Unknown) };
    if let Some(earlier) = tables.refunds.get(&unit.request_no) {
        if earlier.order_sn != *order_sn {
            return Err(StoreError::Constraint(format!("refund {} is another order's", unit.request_no)));
        }
        return Ok(OrderRefund::Repeated(earlier.clone()));
    }
    let left = refundable(tables, order_sn).map_or(Money::ZERO, |(_, left)| left);
    let (to, amount) = match decide_refund(status, left, unit.scope) {
        Ok(decided) => decided,
        Err(RefundRefusal::WrongState(_)) => return Ok(OrderRefund::WrongState(status)),
        Err(RefundRefusal::TooMuch { refundable }) => return Ok(OrderRefund::TooMuch { refundable }),
    };
    tables.set_status(order_sn, to, batch.at);
    let given = give_back(tables, batch, order_sn, amount, &unit.request_no, None);
    if unit.scope == RefundScope::Whole {
        return_locks(tables, batch, order_sn)?;
    }
    tables.add_history(batch, order_sn, unit.operator, &unit.note);
    Ok(OrderRefund::Given(given))
}

/// The refund row of a checked amount, and the points that go with it. `None` when there is nothing to give.
pub(super) fn give_back(
    tables: &mut Tables,
    batch: &Batch,
    order_sn: &OrderSn,
    amount: Money,
    request_no: &str,
    return_id: Option<i64>,
) -> Option<Refund> {
    let (trade_no, _) = refundable(tables, order_sn)?;
    if amount <= Money::ZERO {
        return None;
    }
    let before = refunded(tables, &trade_no);
    let channel = RefundChannel::of(&trade_no);
    let refund = Refund {
        request_no: request_no.to_owned(),
        order_sn: order_sn.clone(),
        trade_no,
        amount,
        channel,
        return_id,
        created_at: batch.at,
        confirmed_at: (channel == RefundChannel::Remittance).then_some(batch.at),
    };
    tables.refunds.insert(refund.request_no.clone(), refund.clone());
    reverse_points(tables, batch, order_sn, before, Money(before.0 + amount.0));
    Some(refund)
}

fn reverse_points(tables: &mut Tables, batch: &Batch, order_sn: &OrderSn, before: Money, after: Money) {
    let credited = tables.points.iter().any(|entry| entry.order_sn.as_ref() == Some(order_sn));
    let Some(order) = tables.orders.get(order_sn).filter(|_| credited) else { return };
    let lost = |refunded| points::lost(order.pay_amount, refunded, batch.rules.points_per_yuan);
    let (user_id, taken) = (order.user_id, lost(after) - lost(before));
    if taken == 0 {
        return;
    }
    tables.points.push(PointsEntry { user_id, order_sn: Some(order_sn.clone()), integration: -taken });
    if let Some(member) = tables.members.get_mut(&user_id) {
        member.integration -= taken;
        member.growth -= taken;
    }
}

/// Every lock becomes RETURNED; units that had left the shelf are back on it.
fn return_locks(tables: &mut Tables, batch: &mut Batch, order_sn: &OrderSn) -> Result<(), StoreError> {
    let open: Vec<(WareSkuId, LockState, i64)> =
        tables.locks_of_owner(order_sn).map(|lock| (lock.line.ware_sku_id, lock.state, lock.num())).collect();
    for (id, state, num) in open {
        match state {
            LockState::Locked => drop(tables.change_stock(batch, id, 0, -num)?),
            LockState::Deducted => put_back(tables, batch, id, num)?,
            LockState::Released | LockState::Returned => continue,
        }
        if let Some(lock) = tables.locks.get_mut(&(order_sn.clone(), id)) {
            (lock.state, lock.returned) = (LockState::Returned, num);
        }
    }
    Ok(())
}

/// Puts units back on the shelf.
pub(super) fn put_back(tables: &mut Tables, batch: &mut Batch, id: WareSkuId, num: i64) -> Result<(), StoreError> {
    tables.change_stock(batch, id, num, 0)?;
    tables.add_ledger(batch.at, id, LedgerKind::Return, num, "");
    Ok(())
}
