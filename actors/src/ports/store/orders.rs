//! Reading orders, payments and refunds.

use std::time::Duration;

use async_trait::async_trait;

use super::StoreError;
use crate::domain::order::{Order, OrderHistory, OrderStatus};
use crate::domain::payment::{PaymentState, PendingRefund};
use crate::domain::{Money, OrderSn, Timestamp, TradeNo, UserId};

/// Position in a list of orders: strictly before this row, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryCursor {
    /// `created_at` of the last row seen.
    pub created_at: Timestamp,
    /// Row id of the last row seen.
    pub id: i64,
}

/// Which orders of a user to list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderFilter {
    /// Only in this status.
    pub status: Option<OrderStatus>,
    /// Only older than this.
    pub before: Option<HistoryCursor>,
    /// At most so many.
    pub limit: usize,
}

/// One row of `oms_payment_info`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentRow {
    /// The order.
    pub order_sn: OrderSn,
    /// The gateway's number.
    pub trade_no: TradeNo,
    /// How much.
    pub amount: Money,
    /// Its state.
    pub state: PaymentState,
    /// When it was recorded.
    pub created_at: Timestamp,
}

/// What closing needs to know of an unpaid order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnpaidOrder {
    /// Number.
    pub order_sn: OrderSn,
    /// Deadline.
    pub pay_before: Timestamp,
    /// Whether a pay page was ever handed out.
    pub pay_page_issued: bool,
}

/// Reading orders. The owner is part of the question wherever a user asks (R24).
#[async_trait]
pub trait OrderReads: Sync {
    /// An order with its items, whoever owns it.
    async fn order(&self, order_sn: &OrderSn) -> Result<Option<Order>, StoreError>;
    /// Those of these orders, with their items, that the user beside them owns.
    async fn own_orders(&self, asked: &[(UserId, OrderSn)]) -> Result<Vec<Order>, StoreError>;
    /// An order with its items, if this user owns it.
    async fn order_of(&self, user_id: UserId, order_sn: &OrderSn) -> Result<Option<Order>, StoreError> {
        Ok(self.own_orders(&[(user_id, order_sn.clone())]).await?.pop())
    }
    /// The order made under a token by this user.
    async fn order_by_token(&self, user_id: UserId, token: &str) -> Result<Option<Order>, StoreError>;
    /// A user's orders with their items, newest first.
    async fn orders_of(&self, user_id: UserId, filter: &OrderFilter) -> Result<Vec<Order>, StoreError>;
    /// How many orders a user has in each status; those with none may be missing.
    async fn order_counts(&self, user_id: UserId) -> Result<Vec<(OrderStatus, u64)>, StoreError>;
    /// The history of an order, oldest first.
    async fn order_history(&self, order_sn: &OrderSn) -> Result<Vec<OrderHistory>, StoreError>;
    /// Unpaid orders whose `pay_before` + `grace` is over, oldest first.
    async fn overdue_orders(&self, grace: Duration, limit: usize) -> Result<Vec<OrderSn>, StoreError>;
    /// Those of these orders that are in 0; the rest are missing from the answer.
    async fn unpaid_orders(&self, order_sns: &[OrderSn]) -> Result<Vec<UnpaidOrder>, StoreError>;
    /// The payments of an order, oldest first.
    async fn payments_of(&self, order_sn: &OrderSn) -> Result<Vec<PaymentRow>, StoreError>;
    /// Refunds that the gateway has not confirmed, oldest first.
    async fn pending_refunds(&self, limit: usize) -> Result<Vec<PendingRefund>, StoreError>;
}
