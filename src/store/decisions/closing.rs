//! Closing unpaid orders.

use std::collections::HashMap;
use std::time::Duration;

use actors::domain::events::{Event, OrderRef};
use actors::domain::order::{OrderCommand, OrderStatus, apply, close_due_at};
use actors::domain::{OrderSn, Timestamp};
use actors::ports::store::units::{CloseOrders, OrderClose};

use crate::store::batch::{News, Placed};
use crate::store::columns::HistoryRow;

/// Orders with their status and deadline.
pub(in crate::store) type Closable = HashMap<OrderSn, (OrderStatus, Option<Timestamp>)>;

/// Decides the units one after the other: their answers, and the history rows of the orders to be closed.
pub(in crate::store) fn decide_closing<'u>(
    units: &[Placed<'u, CloseOrders>],
    mut known: Closable,
    (at, grace): (Timestamp, Duration),
    news: &mut News,
) -> (Vec<Vec<OrderClose>>, Vec<HistoryRow<'u>>) {
    let mut closed = Vec::new();
    let mut answers = Vec::with_capacity(units.len());
    for &(place, unit) in units {
        let mut of_unit = Vec::with_capacity(unit.order_sns.len());
        for order_sn in &unit.order_sns {
            let answer = decide(known.get(order_sn), unit.when_due, (at, grace));
            if answer == OrderClose::Closed {
                known.insert(order_sn.clone(), (OrderStatus::Closed, None));
                closed.push(HistoryRow {
                    order_sn,
                    operator: unit.operator,
                    status: OrderStatus::Closed,
                    note: &unit.note,
                    by_timeout: unit.when_due,
                });
                news.announce(place, [Event::StockUnlock(OrderRef { order_token: order_sn.clone() })]);
            }
            of_unit.push(answer);
        }
        answers.push(of_unit);
    }
    (answers, closed)
}

fn decide(
    known: Option<&(OrderStatus, Option<Timestamp>)>,
    when_due: bool,
    (at, grace): (Timestamp, Duration),
) -> OrderClose {
    let Some(&(status, pay_before)) = known else { return OrderClose::Unknown };
    if apply(status, OrderCommand::Close).is_err() {
        return OrderClose::WrongState(status);
    }
    let due_at = pay_before.map(|pay_before| close_due_at(pay_before, grace));
    match due_at.filter(|&due_at| when_due && at < due_at) {
        Some(due_at) => OrderClose::NotDue(due_at),
        None => OrderClose::Closed,
    }
}
