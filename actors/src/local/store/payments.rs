//! Money: pay pages, payments, refunds.

use super::Batch;
use super::tables::Tables;
use crate::domain::events::{Event, OrderRef};
use crate::domain::order::{self, Operator, OrderCommand, OrderStatus};
use crate::domain::payment::{
    Payable, PaymentDecision, PaymentState, Refund, RefundChannel, decide, refund_request_no,
};
use crate::ports::store::units::{IssuePayPage, PayPageIssue, PaymentTaken, SettleRefund, TakePayment};
use crate::ports::store::{PaymentRow, StoreError};

pub(super) fn take(tables: &mut Tables, batch: &mut Batch, unit: &TakePayment) -> Result<PaymentTaken, StoreError> {
    let receipt = &unit.receipt;
    let Some(order) = tables.orders.get(&receipt.order_sn) else { return Ok(PaymentTaken::UnknownOrder) };
    if tables.payments.iter().any(|payment| payment.trade_no == receipt.trade_no) {
        return Ok(PaymentTaken::Duplicate);
    }
    // A trade that paid this order is in the table, so whoever paid it, it was not this one.
    let payable = Payable { status: order.status, pay_amount: order.pay_amount, paid_by: None };
    match decide(payable, &receipt.trade_no, receipt.amount) {
        PaymentDecision::Duplicate => Ok(PaymentTaken::Duplicate),
        PaymentDecision::Apply => {
            pay(tables, batch, unit)?;
            Ok(PaymentTaken::Applied)
        }
        PaymentDecision::Refund => {
            record(tables, batch, unit, PaymentState::Refunding, "payment came late or twice, refunding");
            start_refund(tables, batch, unit);
            Ok(PaymentTaken::Refunding)
        }
        PaymentDecision::Mismatch => {
            record(tables, batch, unit, PaymentState::Mismatch, "payment amount differs");
            Ok(PaymentTaken::Mismatch)
        }
    }
}

fn pay(tables: &mut Tables, batch: &mut Batch, unit: &TakePayment) -> Result<(), StoreError> {
    let order_sn = &unit.receipt.order_sn;
    let (paid, _) = order::apply(OrderStatus::AwaitingPayment, OrderCommand::Pay)
        .map_err(|error| StoreError::Inconsistent(error.to_string()))?;
    tables.set_status(order_sn, paid, batch.at);
    if let Some(order) = tables.orders.get_mut(order_sn) {
        order.paid_at = Some(batch.at);
    }
    record(tables, batch, unit, PaymentState::Applied, "paid");
    batch.events.push(Event::OrderSuccess(OrderRef { order_token: order_sn.clone() }));
    Ok(())
}

fn record(tables: &mut Tables, batch: &Batch, unit: &TakePayment, state: PaymentState, note: &str) {
    let receipt = &unit.receipt;
    tables.payments.push(PaymentRow {
        order_sn: receipt.order_sn.clone(),
        trade_no: receipt.trade_no.clone(),
        amount: receipt.amount,
        state,
        created_at: batch.at,
    });
    tables.add_history(batch, &receipt.order_sn, Operator::System, note);
}

fn start_refund(tables: &mut Tables, batch: &Batch, unit: &TakePayment) {
    let receipt = &unit.receipt;
    let refund = Refund {
        request_no: refund_request_no(&receipt.trade_no),
        order_sn: receipt.order_sn.clone(),
        trade_no: receipt.trade_no.clone(),
        amount: receipt.amount,
        channel: RefundChannel::Gateway,
        return_id: None,
        created_at: batch.at,
        confirmed_at: None,
    };
    tables.refunds.insert(refund.request_no.clone(), refund);
}

pub(super) fn issue_pay_page(
    tables: &mut Tables,
    batch: &Batch,
    unit: &IssuePayPage,
) -> Result<PayPageIssue, StoreError> {
    let Some(order) = tables.orders.get_mut(&unit.order_sn) else { return Ok(PayPageIssue::Unknown) };
    if order.status != OrderStatus::AwaitingPayment {
        return Ok(PayPageIssue::WrongState(order.status));
    }
    let pay_before = order
        .pay_before
        .ok_or_else(|| StoreError::Inconsistent(format!("unpaid order {} has no deadline", order.order_sn)))?;
    if batch.at >= pay_before {
        return Ok(PayPageIssue::Lapsed);
    }
    order.pay_page_issued_at = order.pay_page_issued_at.or(Some(batch.at));
    Ok(PayPageIssue::Issued { pay_before, amount: order.pay_amount, at: batch.at })
}

pub(super) fn settle_refund(tables: &mut Tables, batch: &Batch, unit: &SettleRefund) -> bool {
    let pending = tables.refunds.get_mut(&unit.request_no).filter(|refund| refund.confirmed_at.is_none());
    let Some(refund) = pending else { return false };
    refund.confirmed_at = Some(batch.at);
    let (trade_no, order_sn) = (refund.trade_no.clone(), refund.order_sn.clone());
    let is_stray = |row: &&mut PaymentRow| row.trade_no == trade_no && row.state == PaymentState::Refunding;
    if let Some(payment) = tables.payments.iter_mut().find(is_stray) {
        payment.state = PaymentState::Refunded;
    }
    tables.add_history(batch, &order_sn, Operator::System, "refund confirmed");
    true
}
