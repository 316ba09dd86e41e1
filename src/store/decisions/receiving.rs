//! Receipt of shipped orders.

use std::collections::HashMap;

use actors::domain::order::{OrderCommand, OrderStatus, PayType, apply, auto_receive_at, points_event};
use actors::domain::payment::cash_trade_no;
use actors::domain::{Money, OrderSn, Timestamp, TradeNo, UserId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{OrderReceive, ReceiveOrders};

use crate::store::batch::{News, Placed};
use crate::store::columns::HistoryRow;
use crate::store::rows::{count, order_sn, order_status, pay_type, unreadable};

/// `order_sn, status, member_id, pay_type, pay_amount, delivery_time, auto_confirm_day`
pub(in crate::store) type ReceivableColumns = (String, i64, i64, i64, i64, Option<i64>, Option<i64>);

struct Receivable {
    status: OrderStatus,
    user_id: UserId,
    pay_type: PayType,
    pay_amount: Money,
    due_at: Option<Timestamp>,
}

/// Orders that may be received.
pub(in crate::store) struct Receivables(HashMap<OrderSn, Receivable>);

impl Receivables {
    pub(in crate::store) fn read(rows: Vec<ReceivableColumns>) -> Result<Self, StoreError> {
        let receivable = |(order, status, user_id, paid_how, pay_amount, shipped_at, days): ReceivableColumns| {
            let receivable = Receivable {
                status: order_status(status)?,
                user_id: UserId(user_id),
                pay_type: pay_type(paid_how)?,
                pay_amount: Money(pay_amount),
                due_at: shipped_at.zip(days).map(due_at).transpose()?,
            };
            Ok((order_sn(&order)?, receivable))
        };
        rows.into_iter().map(receivable).collect::<Result<_, StoreError>>().map(Self)
    }
}

fn due_at((shipped_at, days): (i64, i64)) -> Result<Timestamp, StoreError> {
    Ok(auto_receive_at(Timestamp(shipped_at), count("oms_order.auto_confirm_day", days)?))
}

/// Cash that a carrier brought.
pub(in crate::store) struct Cash<'u> {
    pub(in crate::store) order_sn: &'u OrderSn,
    pub(in crate::store) trade_no: TradeNo,
    pub(in crate::store) amount: Money,
}

/// What the receipts of a group come to.
#[derive(Default)]
pub(in crate::store) struct Received<'u> {
    /// One for each order that is received.
    pub(in crate::store) history: Vec<HistoryRow<'u>>,
    pub(in crate::store) cash: Vec<Cash<'u>>,
}

/// Decides the units one after the other: their answers, and what they come to.
pub(in crate::store) fn decide_receiving<'u>(
    units: &[Placed<'u, ReceiveOrders>],
    mut known: Receivables,
    (at, points_per_yuan): (Timestamp, u32),
    news: &mut News,
) -> Result<(Vec<Vec<OrderReceive>>, Received<'u>), StoreError> {
    let mut received = Received::default();
    let mut answers = Vec::with_capacity(units.len());
    for &(place, unit) in units {
        let mut of_unit = Vec::with_capacity(unit.order_sns.len());
        for order_sn in &unit.order_sns {
            let Some(order) = known.0.get_mut(order_sn) else {
                of_unit.push(OrderReceive::Unknown);
                continue;
            };
            let answer = decide(order, unit.when_due, at);
            if answer == OrderReceive::Received {
                order.status = OrderStatus::Completed;
                received.add(order_sn, order, unit)?;
                if order.pay_type == PayType::CashOnDelivery {
                    news.announce(place, [points_event(order_sn, order.user_id, order.pay_amount, points_per_yuan)]);
                }
            }
            of_unit.push(answer);
        }
        answers.push(of_unit);
    }
    Ok((answers, received))
}

fn decide(order: &Receivable, when_due: bool, at: Timestamp) -> OrderReceive {
    if apply(order.status, OrderCommand::Receive).is_err() {
        return OrderReceive::WrongState(order.status);
    }
    match order.due_at.filter(|&due_at| when_due && at < due_at) {
        Some(due_at) => OrderReceive::NotDue(due_at),
        None => OrderReceive::Received,
    }
}

impl<'u> Received<'u> {
    fn add(&mut self, order_sn: &'u OrderSn, order: &Receivable, unit: &'u ReceiveOrders) -> Result<(), StoreError> {
        self.history.push(HistoryRow::step(order_sn, unit.operator, order.status, &unit.note));
        if order.pay_type == PayType::CashOnDelivery {
            let trade_no = cash_trade_no(order_sn);
            let trade_no = trade_no.ok_or_else(|| unreadable("an order number too long for a trade", order_sn))?;
            self.cash.push(Cash { order_sn, trade_no, amount: order.pay_amount });
        }
        Ok(())
    }
}
