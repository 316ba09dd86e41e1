//! The closed set of business refusals. A refusal is a normal answer; faults are errors of the ports.

use super::ids::{OrderSn, SkuId};
use super::money::Money;
use super::order::OrderStatus;
use super::returns::ReturnState;

/// One SKU that could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// The SKU.
    pub sku_id: SkuId,
    /// Units asked.
    pub wanted: u32,
    /// Units free over all warehouses.
    pub available: i64,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reject {
    /// No such SKU in the catalogue.
    #[error("SKU {0} does not exist")]
    UnknownSku(SkuId),
    /// The order token is malformed, lapsed or another user's.
    #[error("the order token is not valid")]
    TokenInvalid,
    /// The token made an order already.
    #[error("the order token was used for order {0}")]
    TokenUsed(OrderSn),
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    KeyReused,
    /// A request under this idempotency key is being worked on.
    #[error("a request under this idempotency key is being worked on")]
    KeyInProgress,
    /// The thing is not what the editor saw any more.
    #[error("it was changed meanwhile")]
    Changed,
    /// The cart has room for no more SKUs.
    #[error("a cart holds at most {0} SKUs")]
    CartFull(usize),
    /// Nothing was ordered.
    #[error("the order has no items")]
    EmptyOrder,
    /// The client's total is not the server's.
    #[error("the price changed to {now}")]
    PriceChanged {
        /// The server's total.
        now: Money,
    },
    /// Not enough units.
    #[error("not enough stock")]
    StockShort(Vec<Shortage>),
    /// No such order of this user.
    #[error("no such order")]
    UnknownOrder,
    /// The order is elsewhere in its life.
    #[error("not possible in status {}", .0.name())]
    WrongState(OrderStatus),
    /// No such return request.
    #[error("no such return request")]
    UnknownReturn,
    /// The return request is elsewhere in its life.
    #[error("not possible for a return that is {}", .0.name())]
    WrongReturnState(ReturnState),
    /// Another request for the SKU is open.
    #[error("return {0} of this SKU is open")]
    ReturnOpen(i64),
    /// More units than may still be returned.
    #[error("at most {returnable} units may still be returned")]
    TooManyReturned {
        /// Bought less what was asked for already.
        returnable: u32,
    },
    /// Too long after the receipt.
    #[error("the time to return is over")]
    ReturnTooLate,
    /// The order has no such SKU.
    #[error("SKU {0} is not in the order")]
    NotInOrder(SkuId),
    /// More than is left of the payment.
    #[error("at most {refundable} can be refunded")]
    RefundTooLarge {
        /// Paid less what was given back.
        refundable: Money,
    },
    /// The reference stands for a refund of another amount.
    #[error("the reference was used for a refund of {0}")]
    ReferenceUsed(Money),
    /// No pay page after `pay_before`.
    #[error("the time to pay is over")]
    PaymentLapsed,
    /// The amount is outside what the gateway or the column takes.
    #[error("the amount is out of range")]
    AmountOutOfRange,
}

/// Why work could not be done now. Answered with 503 and Retry-After; trying again is safe.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unavailable {
    /// A bounded queue is full (R26).
    #[error("too busy")]
    Overloaded,
    /// The store, the coordination or an actor did not answer in time or failed.
    #[error("temporarily unavailable: {0}")]
    Dependency(String),
    /// The server is stopping.
    #[error("the server is stopping")]
    Stopping,
}

/// A refusal or a fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// Business refusal.
    #[error(transparent)]
    Rejected(#[from] Reject),
    /// Try again later.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
