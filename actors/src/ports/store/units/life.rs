//! What happens to an order once its money is settled: shipping, receipt, refunds, returns.
//!
//! Every one of these changes writes a history row of the order, also those that leave its status as it is.

use std::time::Duration;

use super::KeepRequest;
use crate::domain::order::{Operator, OrderStatus};
use crate::domain::payment::{Refund, RefundScope};
use crate::domain::returns::{ReturnCommand, ReturnState};
use crate::domain::{Money, OrderSn, SkuId, Timestamp, UserId};

/// Hands an order to the carrier: 1→2 by compare-and-set, with the carrier, its number, the time and the days after which
/// it counts as received.
#[derive(Clone, Debug)]
pub struct ShipOrder {
    /// The order.
    pub order_sn: OrderSn,
    /// The carrier; replaces the buyer's wish.
    pub delivery_company: String,
    /// The carrier's number.
    pub delivery_sn: String,
    /// `order.auto_confirm_days`
    pub auto_confirm_days: u32,
    /// Who ships.
    pub operator: Operator,
    /// Why.
    pub note: String,
}

/// Outcome of [`ShipOrder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderShip {
    /// Shipped now.
    Shipped,
    /// It is not in 1.
    WrongState(OrderStatus),
    /// No such order.
    Unknown,
}

/// Takes shipped orders as received: 2→3 by compare-and-set, each once in a unit.
///
/// An order paid on delivery gets its payment row here (APPLIED, of
/// [`cash_trade_no`](crate::domain::payment::cash_trade_no)), its `paid_at`, and the message `bound.plus`.
#[derive(Clone, Debug)]
pub struct ReceiveOrders {
    /// Which, each once.
    pub order_sns: Vec<OrderSn>,
    /// Who says so.
    pub operator: Operator,
    /// Why.
    pub note: String,
    /// Only when shipped at + `auto_confirm_days` is over by the store's clock; `false` for the owner's word.
    pub when_due: bool,
    /// The key it is asked for under, if any: then of one order.
    pub asked: Option<KeepRequest>,
}

/// What became of one order of [`ReceiveOrders`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderReceive {
    /// Received now.
    Received,
    /// It is not in 2.
    WrongState(OrderStatus),
    /// Not due before this.
    NotDue(Timestamp),
    /// No such order.
    Unknown,
}

/// Decides to give money back ([`crate::domain::payment::decide_refund`]); what can be given back is the order's applied
/// payment less the refunds of it, confirmed or not.
///
/// [`RefundScope::Whole`]: 1→4 by compare-and-set. Every lock becomes RETURNED: a DEDUCTED one gives stock +num with one
/// ledger row of kind `return` for each stock row, one that is still LOCKED gives locked −num. A unit of a flash sale goes to
/// ordinary stock in either case; the sale's counters and the grant stay, for the sale did sell it.
/// [`RefundScope::Part`]: the status stays.
///
/// Writes one refund row unless the amount is zero: of the gateway and unconfirmed, or, for cash, a remittance confirmed
/// at once. A buyer who was credited points loses [`crate::domain::points::lost`] after less before, with a row in both
/// histories (none when that is 0). The payment stays APPLIED. A request number that has a refund row of this order
/// changes nothing.
#[derive(Clone, Debug)]
pub struct RefundOrder {
    /// The order.
    pub order_sn: OrderSn,
    /// How much.
    pub scope: RefundScope,
    /// `out_request_no`, UNIQUE.
    pub request_no: String,
    /// Who decides.
    pub operator: Operator,
    /// Why.
    pub note: String,
    /// The key it is asked for under, if any.
    pub asked: Option<KeepRequest>,
}

/// Outcome of [`RefundOrder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderRefund {
    /// Decided now; `None` when there was no money to give back.
    Given(Option<Refund>),
    /// Decided before under this number; it says what.
    Repeated(Refund),
    /// Its status does not allow it.
    WrongState(OrderStatus),
    /// More than is left, or not more than zero.
    TooMuch {
        /// What is left.
        refundable: Money,
    },
    /// No such order.
    Unknown,
}

/// An owner asks to send units of one SKU back. The order must be in 2 or 3 with an applied payment, and, once received,
/// within the window.
#[derive(Clone, Debug)]
pub struct RequestReturn {
    /// The order.
    pub order_sn: OrderSn,
    /// Its owner; anybody else's order is unknown.
    pub user_id: UserId,
    /// Which of its SKUs.
    pub sku_id: SkuId,
    /// Units, at least 1.
    pub quantity: u32,
    /// Why.
    pub reason: String,
    /// More of it; may be empty.
    pub description: String,
    /// How long after the receipt it may be asked.
    pub window: Duration,
    /// The key it is asked for under, if any.
    pub asked: Option<KeepRequest>,
}

/// Outcome of [`RequestReturn`]. Judged in this order: unknown order, unknown SKU, repeated, open, state, window, units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReturnRequest {
    /// Made now; its id.
    Requested(i64),
    /// The pending request of this SKU has the same quantity and reason; nothing was made.
    Repeated(i64),
    /// Another request of this SKU is open.
    Open(i64),
    /// The order is not in 2 or 3, or is not paid yet (cash on delivery before its receipt).
    WrongState(OrderStatus),
    /// The window is over.
    TooLate,
    /// Bought less the units of all requests that are not rejected.
    TooMany {
        /// Units that may still be returned.
        returnable: u32,
    },
    /// The order has no such SKU.
    UnknownSku,
    /// No such order of this user.
    Unknown,
}

/// Staff handle a return request ([`crate::domain::returns::apply`]) by compare-and-set.
///
/// Receive: the refund of [`crate::domain::returns::worth`] under
/// [`return_request_no`](crate::domain::payment::return_request_no), as [`RefundOrder`] of a part makes it (no row when
/// nothing is left). With `restock` the units go back to the stock rows they came from, in the order of the rows' ids:
/// stock +num and one ledger row `return` for each, the lock rows stay DEDUCTED and count them as returned.
#[derive(Clone, Debug)]
pub struct HandleReturn {
    /// The request.
    pub return_id: i64,
    /// What is done.
    pub command: ReturnCommand,
    /// Receive only: whether the units can be sold again.
    pub restock: bool,
    /// Who.
    pub operator: Operator,
    /// What is to be said about it.
    pub note: String,
}

/// Outcome of [`HandleReturn`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReturnHandling {
    /// Done now.
    Handled {
        /// Whose units they are.
        order_sn: OrderSn,
        /// The refund that a receipt made.
        refund: Option<Refund>,
    },
    /// Its state does not allow it.
    WrongState(ReturnState),
    /// The units are to be restocked, but their locks are not DEDUCTED yet: try again. Nothing was done.
    NotDeducted,
    /// No such request.
    Unknown,
}

/// The gateway confirmed a refund: refund row DONE, history row; a payment that is REFUNDING is REFUNDED, one that is APPLIED
/// stays so. `None` when it was before.
#[derive(Clone, Debug)]
pub struct SettleRefund {
    /// `out_request_no`.
    pub request_no: String,
}

/// Outcome of [`SettleRefund`]: whose money is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledRefund {
    /// The order.
    pub order_sn: OrderSn,
    /// Its status, which stays.
    pub status: OrderStatus,
}
