//! Payments: what a notification or a query says about a trade, and what becomes of the money.

use serde::{Deserialize, Serialize};

use super::ids::{OrderSn, TradeNo};
use super::money::Money;
use super::order::{OrderCommand, OrderStatus, WrongState, apply};
use super::time::Timestamp;

/// `trade_status` of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TradeStatus {
    /// Created, unpaid.
    WaitBuyerPay,
    /// Paid, refundable.
    TradeSuccess,
    /// Paid, no longer refundable.
    TradeFinished,
    /// Timed out unpaid, or fully refunded.
    TradeClosed,
}

impl TradeStatus {
    /// Whether money has moved.
    pub const fn is_paid(self) -> bool {
        matches!(self, Self::TradeSuccess | Self::TradeFinished)
    }
}

/// State of one row of `oms_payment_info`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PaymentState {
    /// Applied to its order.
    Applied,
    /// Arrived for a closed or otherwise paid order; a refund is under way.
    Refunding,
    /// Given back, confirmed by the gateway.
    Refunded,
    /// Amount differs from the order's; an operator must look.
    Mismatch,
}

impl PaymentState {
    /// The text of the column `payment_status`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "APPLIED",
            Self::Refunding => "REFUNDING",
            Self::Refunded => "REFUNDED",
            Self::Mismatch => "MISMATCH",
        }
    }

    /// From the column.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Applied, Self::Refunding, Self::Refunded, Self::Mismatch].into_iter().find(|s| s.as_str() == text)
    }
}

/// Money that the gateway says it took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// Our number.
    pub order_sn: OrderSn,
    /// The gateway's number.
    pub trade_no: TradeNo,
    /// How much.
    pub amount: Money,
    /// What the cashier showed.
    pub subject: String,
    /// The raw notification or answer, kept as evidence.
    pub content: String,
}

/// What an order looked like when the money arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Payable<'a> {
    /// Status.
    pub status: OrderStatus,
    /// What it costs.
    pub pay_amount: Money,
    /// The trade that paid it, when one did.
    pub paid_by: Option<&'a TradeNo>,
}

/// What becomes of the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentDecision {
    /// It pays the order (0 → 1).
    Apply,
    /// The same trade again: nothing.
    Duplicate,
    /// The order is closed or another trade paid it: give it all back, once.
    Refund,
    /// Wrong amount: keep a record, change nothing (R20).
    Mismatch,
}

/// Decides what a receipt does to its order.
pub fn decide(order: Payable<'_>, trade_no: &TradeNo, amount: Money) -> PaymentDecision {
    if order.paid_by == Some(trade_no) {
        return PaymentDecision::Duplicate;
    }
    if amount != order.pay_amount {
        return PaymentDecision::Mismatch;
    }
    match order.status {
        OrderStatus::AwaitingPayment => PaymentDecision::Apply,
        _ => PaymentDecision::Refund,
    }
}

/// The fixed request number under which a late or second payment is given back, however often it is tried.
pub fn refund_request_no(trade_no: &TradeNo) -> String {
    format!("late-{trade_no}")
}

/// A refund that the gateway has not confirmed yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingRefund {
    /// `out_request_no`, the refund's identity.
    pub request_no: String,
    /// Which order.
    pub order_sn: OrderSn,
    /// Which trade.
    pub trade_no: TradeNo,
    /// How much.
    pub amount: Money,
    /// Since when.
    pub created_at: Timestamp,
}

/// How money goes back, `oms_refund_info.refund_channel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i64)]
pub enum RefundChannel {
    /// Through the gateway, the way it came.
    Gateway = 1,
    /// 汇款: money that was paid in cash; staff hand it back, the row records it.
    Remittance = 4,
}

impl RefundChannel {
    /// The column's number.
    pub const fn code(self) -> i64 {
        self as i64
    }

    /// From the column.
    pub fn from_code(code: i64) -> Option<Self> {
        [Self::Gateway, Self::Remittance].into_iter().find(|channel| channel.code() == code)
    }

    /// The way that the money of this trade goes back.
    pub fn of(trade_no: &TradeNo) -> Self {
        if trade_no.as_str().starts_with(CASH_PREFIX) { Self::Remittance } else { Self::Gateway }
    }
}

/// No gateway's number begins like this.
const CASH_PREFIX: &str = "cash-";

/// The number under which the cash of an order is recorded when it is received.
pub fn cash_trade_no(order_sn: &OrderSn) -> Option<TradeNo> {
    TradeNo::parse(&format!("{CASH_PREFIX}{order_sn}"))
}

/// One row of `oms_refund_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refund {
    /// `out_request_no`, its identity.
    pub request_no: String,
    /// Which order.
    pub order_sn: OrderSn,
    /// Which trade.
    pub trade_no: TradeNo,
    /// How much.
    pub amount: Money,
    /// Which way.
    pub channel: RefundChannel,
    /// The return it pays for.
    pub return_id: Option<i64>,
    /// Decided at.
    pub created_at: Timestamp,
    /// The money was back at.
    pub confirmed_at: Option<Timestamp>,
}

impl Refund {
    /// What the gateway has still to be asked for.
    pub fn pending(&self) -> Option<PendingRefund> {
        self.confirmed_at.is_none().then(|| PendingRefund {
            request_no: self.request_no.clone(),
            order_sn: self.order_sn.clone(),
            trade_no: self.trade_no.clone(),
            amount: self.amount,
            created_at: self.created_at,
        })
    }
}

/// What the buyer reads about a refund, the same however often it is asked for.
pub fn refund_reason(request_no: &str) -> &'static str {
    match request_no.split('-').next() {
        Some("late") => "订单已关闭或重复支付",
        Some("return") => "退货退款",
        _ => "订单退款",
    }
}

/// The fixed request number of the refund of a whole order before shipment.
pub fn whole_request_no(order_sn: &OrderSn) -> String {
    format!("whole-{order_sn}")
}

/// The request number of a partial refund that staff named.
pub fn part_request_no(order_sn: &OrderSn, reference: &str) -> String {
    format!("part-{order_sn}-{reference}")
}

/// The fixed request number of the refund for returned goods.
pub fn return_request_no(return_id: i64) -> String {
    format!("return-{return_id}")
}

/// How much of an order is to be given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundScope {
    /// All that is left, and the order with it: only before shipment.
    Whole,
    /// This much; the order stays where it is.
    Part(Money),
}

/// Why money is not given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundRefusal {
    /// The order is elsewhere in its life.
    WrongState(WrongState),
    /// More than is left of it, or nothing.
    TooMuch {
        /// What is left.
        refundable: Money,
    },
}

/// Decides a refund: the status after it and the amount, which is zero when a whole order brought no money or has given
/// it back already. `refundable` is what was paid less what was given back.
///
/// # Errors
/// [`RefundRefusal`]
pub fn decide_refund(
    status: OrderStatus,
    refundable: Money,
    scope: RefundScope,
) -> Result<(OrderStatus, Money), RefundRefusal> {
    let (command, amount) = match scope {
        RefundScope::Whole => (OrderCommand::Refund, refundable),
        RefundScope::Part(amount) => (OrderCommand::PartialRefund, amount),
    };
    let (to, _) = apply(status, command).map_err(RefundRefusal::WrongState)?;
    let fits = scope == RefundScope::Whole || (Money(1)..=refundable).contains(&amount);
    if fits { Ok((to, amount)) } else { Err(RefundRefusal::TooMuch { refundable }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_refund_exceeds_what_is_left() {
        let left = Money(500);
        for status in [OrderStatus::AwaitingShipment, OrderStatus::Shipped, OrderStatus::Completed] {
            let part = |fen| decide_refund(status, left, RefundScope::Part(Money(fen)));
            assert_eq!(part(1), Ok((status, Money(1))));
            assert_eq!(part(500), Ok((status, left)));
            for fen in [-1, 0, 501, i64::MAX] {
                assert_eq!(part(fen), Err(RefundRefusal::TooMuch { refundable: left }), "{fen} of {status:?}");
            }
        }
    }

    #[test]
    fn only_before_shipment_the_whole_order_is_refunded() {
        let whole = |status, left| decide_refund(status, left, RefundScope::Whole);
        for left in [Money::ZERO, Money(500)] {
            assert_eq!(whole(OrderStatus::AwaitingShipment, left), Ok((OrderStatus::Closed, left)));
        }
        for status in OrderStatus::ALL {
            if status == OrderStatus::AwaitingShipment {
                continue;
            }
            let refusal = WrongState { status, command: OrderCommand::Refund };
            assert_eq!(whole(status, Money(500)), Err(RefundRefusal::WrongState(refusal)));
        }
    }
}
