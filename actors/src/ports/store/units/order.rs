//! An order up to its payment, and what a payment brings; carts.

use super::KeepRequest;
use crate::domain::order::{LockLine, NewOrder, Operator, OrderStatus};
use crate::domain::payment::Receipt;
use crate::domain::{Money, OrderSn, SkuId, Timestamp, UserId};
use crate::ports::store::{KeptRequest, RequestKey};

/// Saves an order with its items, lock rows, counters and messages (DESIGN rule 3).
///
/// In order: a request key of the user that made something wins ([`Placement::KeyUsed`]), then a token that already has
/// an order ([`Placement::TokenUsed`]); then every stock row is raised by a
/// guarded UPDATE (`stock - stock_locked >= num`), and a row that refuses makes the unit [`Placement::Stale`].
/// Units of one batch that share a stock row are summed into one UPDATE; when that sum does not fit, the units are
/// tried in order and those that no longer fit are stale. Writes outbox rows for [`NewOrder::creation_events`].
/// The key is kept with the order. Two units of one batch with the same token or key: the first makes the order, the
/// second hears of it.
#[derive(Clone, Debug)]
pub struct PlaceOrder {
    /// The order.
    pub order: NewOrder,
    /// The confirm token or idempotency key it is made under; UNIQUE for each user.
    pub token: String,
    /// Its units, reserved at the SKU actors before.
    pub locks: Vec<LockLine>,
    /// The idempotency key of the request, when it has one.
    pub request: Option<RequestKey>,
}

/// Outcome of [`PlaceOrder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Saved.
    Placed {
        /// The transaction's time.
        created_at: Timestamp,
        /// Deadline of an online order.
        pay_before: Option<Timestamp>,
    },
    /// The key made something before.
    KeyUsed(KeptRequest),
    /// The token made this order before.
    TokenUsed(OrderSn),
    /// These SKUs' rows are not as believed: read again and decide again.
    Stale(Vec<SkuId>),
}

/// Applies money the gateway took ([`crate::domain::payment::decide`]), with its payment row and history row.
///
/// Apply: 0→1, payment APPLIED, message `order.success`. Refund: payment REFUNDING and a refund row with
/// [`crate::domain::payment::refund_request_no`]. Mismatch: payment MISMATCH. A trade already recorded: duplicate.
#[derive(Clone, Debug)]
pub struct TakePayment {
    /// The money.
    pub receipt: Receipt,
    /// Identity of the notification, for the record; empty when a query found it.
    pub notify_id: String,
}

/// Outcome of [`TakePayment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentTaken {
    /// The order is paid now.
    Applied,
    /// This trade was recorded before.
    Duplicate,
    /// Recorded; will be given back.
    Refunding,
    /// Recorded; amount differs, nothing changed.
    Mismatch,
    /// No such order; nothing recorded.
    UnknownOrder,
}

/// Closes unpaid orders by compare-and-set 0→4, with history rows and message `stock.unlock`.
#[derive(Clone, Debug)]
pub struct CloseOrders {
    /// Which, each once.
    pub order_sns: Vec<OrderSn>,
    /// Who closes.
    pub operator: Operator,
    /// Why.
    pub note: String,
    /// Only when `pay_before` + `close_grace` is over by the store's clock (timeout); `false` for the owner's cancel.
    pub when_due: bool,
    /// The key it is asked for under, if any: then of one order.
    pub asked: Option<KeepRequest>,
}

/// What became of one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderClose {
    /// Closed now.
    Closed,
    /// It is not in 0.
    WrongState(OrderStatus),
    /// Not due before this.
    NotDue(Timestamp),
    /// No such order.
    Unknown,
}

/// Notes that a pay page is handed out, if the order is unpaid and `pay_before` is not over.
#[derive(Clone, Debug)]
pub struct IssuePayPage {
    /// The order.
    pub order_sn: OrderSn,
    /// The key it is asked for under, if any.
    pub asked: Option<KeepRequest>,
}

/// Outcome of [`IssuePayPage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayPageIssue {
    /// Hand it out.
    Issued {
        /// Deadline.
        pay_before: Timestamp,
        /// Amount.
        amount: Money,
        /// The transaction's time.
        at: Timestamp,
    },
    /// The order is not in 0.
    WrongState(OrderStatus),
    /// `pay_before` is over.
    Lapsed,
    /// No such order.
    Unknown,
}

/// Sends on what paid orders need: [`crate::domain::order::paid_events`] for each that is in 1–3. The effect is not
/// idempotent, so the message id goes to the inbox; `false` when it was there.
#[derive(Clone, Debug)]
pub struct AnnouncePaid {
    /// The id of the `order.success` message, or of the part of it being handled.
    pub message_id: String,
    /// The orders.
    pub order_sns: Vec<OrderSn>,
}

/// Credits points: history rows (UNIQUE by order) and the member's balances. Only for orders in 1–3 that are this
/// user's, or unknown here; a member that does not exist gets the history rows only. An order that gave money back
/// meanwhile earns less by [`crate::domain::points::lost`], down to 0. `true` for those credited now.
#[derive(Clone, Debug)]
pub struct AddPoints {
    /// The credits, each order once.
    pub credits: Vec<crate::domain::events::BoundPlus>,
}

/// Sets the quantity of one cart line.
#[derive(Clone, Debug)]
pub struct PutCartItem {
    /// Whose.
    pub user_id: UserId,
    /// Which.
    pub sku_id: SkuId,
    /// How many.
    pub quantity: u32,
}

/// Takes lines out of carts; absent ones are fine.
#[derive(Clone, Debug)]
pub struct RemoveCartItems {
    /// Whose and which.
    pub lines: Vec<(UserId, SkuId)>,
}
