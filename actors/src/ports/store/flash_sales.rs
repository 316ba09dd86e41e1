//! Reading flash sales and grants.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::flash_sale::{FlashSale, Grant};
use crate::domain::{OrderSn, SaleId, SkuId, UserId};

/// What became of a sale's grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaleCounts {
    /// Orders ever made from its grants.
    pub ordered: i64,
    /// Of these, paid ones.
    pub paid: i64,
}

/// Which sales to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaleFilter {
    /// Only made before this one.
    pub before: Option<SaleId>,
    /// Drafts as well.
    pub with_drafts: bool,
    /// At most so many.
    pub limit: usize,
}

/// Reading flash sales.
#[async_trait]
pub trait FlashSaleReads {
    /// One sale.
    async fn sale(&self, sale_id: SaleId) -> Result<Option<FlashSale>, StoreError>;
    /// Sales, newest first.
    async fn sales(&self, limit: usize) -> Result<Vec<FlashSale>, StoreError>;
    /// One page of the sales, newest first.
    async fn sales_page(&self, filter: &SaleFilter) -> Result<Vec<FlashSale>, StoreError>;
    /// Armed and paused sales: what a node keeps gates for.
    async fn open_sales(&self) -> Result<Vec<FlashSale>, StoreError>;
    /// The armed or paused sale of a SKU; failing that the one of it that ended last.
    async fn sale_of_sku(&self, sku_id: SkuId) -> Result<Option<FlashSale>, StoreError>;
    /// Order counts of a sale.
    async fn sale_counts(&self, sale_id: SaleId) -> Result<SaleCounts, StoreError>;
    /// Buyers with grants that count against the limit (all but FAILED), and how many.
    async fn holders(&self, sale_id: SaleId) -> Result<Vec<(UserId, u32)>, StoreError>;
    /// Grants by order number, in no order.
    async fn grants(&self, order_sns: &[OrderSn]) -> Result<Vec<Grant>, StoreError>;
    /// A user's grants in a sale that count against the limit, oldest first.
    async fn grants_of(&self, sale_id: SaleId, user_id: UserId) -> Result<Vec<Grant>, StoreError>;
    /// A user's first grant in a sale that counts against the limit.
    async fn first_grant(&self, sale_id: SaleId, user_id: UserId) -> Result<Option<Grant>, StoreError>;
    /// GRANTED grants without an order, older than `older_ms`, oldest first.
    async fn unordered_grants(&self, older_ms: i64, limit: usize) -> Result<Vec<Grant>, StoreError>;
}
