//! Money: pay pages, payments, refunds.

use actors::domain::events::{Event, OrderRef};
use actors::domain::order::{OrderCommand, OrderStatus, apply};
use actors::domain::payment::{Payable, PaymentDecision, PaymentState, Receipt, decide, refund_request_no};
use actors::domain::{Money, Timestamp};
use actors::ports::store::StoreError;
use actors::ports::store::units::{IssuePayPage, PayPageIssue, PaymentTaken, SettleRefund, SettledRefund, TakePayment};

use super::commit::Transaction;
use super::order_rows::insert_history;
use super::rows::{expect_rows, order_sn, order_status, unreadable};
use crate::store::batch::Placed;
use crate::store::columns::HistoryRow;

/// `refund_status` of one that the gateway has not confirmed.
const REFUND_PENDING: i64 = 0;

/// Carries out [`TakePayment`].
pub(super) async fn take(
    tx: &mut Transaction<'_>,
    (place, unit): Placed<'_, TakePayment>,
) -> Result<PaymentTaken, StoreError> {
    let receipt = &unit.receipt;
    let found: Option<(i64, i64, bool)> = tx
        .optional(
            sqlx::query_as(
                "SELECT status, pay_amount, EXISTS (SELECT 1 FROM oms_payment_info WHERE alipay_trade_no = $1)
                 FROM oms_order WHERE order_sn = $2",
            )
            .bind(receipt.trade_no.as_str())
            .bind(receipt.order_sn.as_str()),
        )
        .await?;
    let Some((status, pay_amount, recorded)) = found else { return Ok(PaymentTaken::UnknownOrder) };
    if recorded {
        return Ok(PaymentTaken::Duplicate);
    }
    let status = order_status(status)?;
    // The trade is not recorded, so whatever paid the order, it was another one.
    let payable = Payable { status, pay_amount: Money(pay_amount), paid_by: None };
    match decide(payable, &receipt.trade_no, receipt.amount) {
        PaymentDecision::Duplicate => Ok(PaymentTaken::Duplicate),
        PaymentDecision::Apply => {
            let paid = pay(tx, unit, status).await?;
            record(tx, unit, PaymentState::Applied, paid, "paid").await?;
            tx.news.announce(place, [Event::OrderSuccess(OrderRef { order_token: receipt.order_sn.clone() })]);
            Ok(PaymentTaken::Applied)
        }
        PaymentDecision::Refund => {
            record(tx, unit, PaymentState::Refunding, status, "paid too late or twice, refunding").await?;
            insert_refund(tx, receipt).await?;
            Ok(PaymentTaken::Refunding)
        }
        PaymentDecision::Mismatch => {
            record(tx, unit, PaymentState::Mismatch, status, "amount paid differs from the order's").await?;
            Ok(PaymentTaken::Mismatch)
        }
    }
}

/// The compare-and-set 0→1; the status after it.
async fn pay(tx: &mut Transaction<'_>, unit: &TakePayment, from: OrderStatus) -> Result<OrderStatus, StoreError> {
    let (to, _) = apply(from, OrderCommand::Pay).map_err(|error| StoreError::Inconsistent(error.to_string()))?;
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE oms_order SET status = $1, payment_time = $2, modify_time = $2
                 WHERE order_sn = $3 AND status = $4",
            )
            .bind(to.code())
            .bind(tx.at.0)
            .bind(unit.receipt.order_sn.as_str())
            .bind(from.code()),
        )
        .await?;
    expect_rows("oms_order", 1, changed)?;
    Ok(to)
}

/// The payment row, and the history row that tells of it.
async fn record(
    tx: &mut Transaction<'_>,
    unit: &TakePayment,
    state: PaymentState,
    status: OrderStatus,
    note: &str,
) -> Result<(), StoreError> {
    let receipt = &unit.receipt;
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO oms_payment_info
                     (order_sn, alipay_trade_no, total_amount, subject, payment_status, notify_id, create_time,
                      callback_content)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            )
            .bind(receipt.order_sn.as_str())
            .bind(receipt.trade_no.as_str())
            .bind(receipt.amount.0)
            .bind(&receipt.subject)
            .bind(state.as_str())
            .bind(&unit.notify_id)
            .bind(tx.at.0)
            .bind(&receipt.content),
        )
        .await?;
    expect_rows("oms_payment_info", 1, inserted)?;
    insert_history(tx, &[HistoryRow::system(&receipt.order_sn, status, note)]).await
}

async fn insert_refund(tx: &mut Transaction<'_>, receipt: &Receipt) -> Result<(), StoreError> {
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO oms_refund_info (order_sn, trade_no, refund, refund_sn, create_time)
                 VALUES ($1, $2, $3, $4, $5)",
            )
            .bind(receipt.order_sn.as_str())
            .bind(receipt.trade_no.as_str())
            .bind(receipt.amount.0)
            .bind(refund_request_no(&receipt.trade_no))
            .bind(tx.at.0),
        )
        .await?;
    expect_rows("oms_refund_info", 1, inserted)
}

/// Carries out [`IssuePayPage`].
pub(super) async fn issue_page(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, IssuePayPage>,
) -> Result<PayPageIssue, StoreError> {
    let found: Option<(i64, Option<i64>, i64)> = tx
        .optional(
            sqlx::query_as("SELECT status, pay_before, pay_amount FROM oms_order WHERE order_sn = $1")
                .bind(unit.order_sn.as_str()),
        )
        .await?;
    let Some((status, pay_before, amount)) = found else { return Ok(PayPageIssue::Unknown) };
    let status = order_status(status)?;
    if status != OrderStatus::AwaitingPayment {
        return Ok(PayPageIssue::WrongState(status));
    }
    let pay_before = pay_before.map(Timestamp).ok_or_else(|| unreadable("pay_before of an unpaid order", "NULL"))?;
    if tx.at >= pay_before {
        return Ok(PayPageIssue::Lapsed);
    }
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE oms_order SET pay_page_issued_time = coalesce(pay_page_issued_time, $1)
                 WHERE order_sn = $2 AND status = $3",
            )
            .bind(tx.at.0)
            .bind(unit.order_sn.as_str())
            .bind(OrderStatus::AwaitingPayment as i64),
        )
        .await?;
    expect_rows("oms_order", 1, changed)?;
    Ok(PayPageIssue::Issued { pay_before, amount: Money(amount), at: tx.at })
}

/// Carries out [`SettleRefund`].
pub(super) async fn settle_refund(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, SettleRefund>,
) -> Result<Option<SettledRefund>, StoreError> {
    let settled: Option<(String, String)> = tx
        .optional(
            sqlx::query_as(
                "UPDATE oms_refund_info SET refund_status = 1, confirm_time = $1
                 WHERE refund_sn = $2 AND refund_status = $3 RETURNING order_sn, trade_no",
            )
            .bind(tx.at.0)
            .bind(&unit.request_no)
            .bind(REFUND_PENDING),
        )
        .await?;
    let Some((order, trade_no)) = settled else { return Ok(None) };
    let refunded = sqlx::query(
        "UPDATE oms_payment_info SET payment_status = 'REFUNDED', confirm_time = $1
         WHERE alipay_trade_no = $2 AND payment_status = 'REFUNDING'",
    );
    // None when the payment is applied: it stays so, whatever of it goes back.
    tx.execute(refunded.bind(tx.at.0).bind(&trade_no)).await?;
    let status: Option<(i64,)> =
        tx.optional(sqlx::query_as("SELECT status FROM oms_order WHERE order_sn = $1").bind(&order)).await?;
    let (status,) = status.ok_or_else(|| unreadable("the order of a refund", "missing"))?;
    let (order_sn, status) = (order_sn(&order)?, order_status(status)?);
    insert_history(tx, &[HistoryRow::system(&order_sn, status, "refund confirmed")]).await?;
    Ok(Some(SettledRefund { order_sn, status }))
}
