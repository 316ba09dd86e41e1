//! Reading what happens to orders after they are paid, and staff's search over all of them.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::order::{Order, OrderStatus};
use crate::domain::payment::Refund;
use crate::domain::returns::{ReturnApply, ReturnState};
use crate::domain::{OrderSn, SkuId, Timestamp, UserId};

/// Which orders staff look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OrderSearch {
    /// Only in this status.
    pub status: Option<OrderStatus>,
    /// Only of this member.
    pub user_id: Option<UserId>,
    /// Only with this SKU among their items.
    pub sku_id: Option<SkuId>,
    /// Only made at or after this.
    pub created_from: Option<Timestamp>,
    /// Only made before this.
    pub created_to: Option<Timestamp>,
    /// Only rows before this id.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// Which return requests staff look for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReturnSearch {
    /// Only in this state.
    pub state: Option<ReturnState>,
    /// Only rows before this id.
    pub before: Option<i64>,
    /// At most so many.
    pub limit: usize,
}

/// Reading for shipping, receipt, returns and refunds.
#[async_trait]
pub trait FulfilmentReads {
    /// Orders with their items, by row id, which grows with time: newest first.
    async fn search_orders(&self, search: &OrderSearch) -> Result<Vec<Order>, StoreError>;
    /// Shipped orders that count as received by now, the longest due first.
    async fn due_receipts(&self, limit: usize) -> Result<Vec<OrderSn>, StoreError>;
    /// One return request, whoever's order it is.
    async fn return_apply(&self, return_id: i64) -> Result<Option<ReturnApply>, StoreError>;
    /// The return requests of an order, oldest first.
    async fn returns_of(&self, order_sn: &OrderSn) -> Result<Vec<ReturnApply>, StoreError>;
    /// Return requests, newest first.
    async fn search_returns(&self, search: &ReturnSearch) -> Result<Vec<ReturnApply>, StoreError>;
    /// The refunds of an order, oldest first.
    async fn refunds_of(&self, order_sn: &OrderSn) -> Result<Vec<Refund>, StoreError>;
}
