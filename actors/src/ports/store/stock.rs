//! Reading stock.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::order::LockLine;
use crate::domain::stock::{LedgerKind, LockState, StockRow};
use crate::domain::{OrderSn, SkuId, Timestamp, WareId};

/// One row of `wms_stock_lock`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRow {
    /// The owner.
    pub order_sn: OrderSn,
    /// Row and units.
    pub line: LockLine,
    /// Its state.
    pub state: LockState,
}

/// One row of `wms_stock_ledger`: a change of the units on hand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LedgerRow {
    /// Its place.
    pub id: LedgerCursor,
    /// The warehouse.
    pub ware_id: WareId,
    /// What kind of change.
    pub kind: LedgerKind,
    /// Units that came, or went when negative.
    pub delta: i64,
    /// Units on hand afterwards.
    pub stock_after: i64,
    /// Why, in words.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// A place in the ledger: strictly before this row, newest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LedgerCursor(pub i64);

/// Reading stock.
#[async_trait]
pub trait StockReads {
    /// The stock rows of one SKU, by row id; empty when it has none.
    async fn stock_rows(&self, sku_id: SkuId) -> Result<Vec<StockRow>, StoreError>;
    /// The lock rows of these owners, in no order.
    async fn locks_of(&self, order_sns: &[OrderSn]) -> Result<Vec<LockRow>, StoreError>;
    /// Owners of LOCKED rows that have no order and are past their lease, oldest first.
    async fn lapsed_locks(&self, limit: usize) -> Result<Vec<LockRow>, StoreError>;
    /// The ledger of a SKU over all warehouses, newest first.
    async fn ledger(
        &self,
        sku_id: SkuId,
        before: Option<LedgerCursor>,
        limit: usize,
    ) -> Result<Vec<LedgerRow>, StoreError>;
    /// LOCKED rows whose order has been in 1–3 (then [`LockState::Deducted`] is due) or in 4, 5 (release is due) for
    /// longer than `older_ms`: a lost message's net.
    async fn unresolved_locks(&self, older_ms: i64, limit: usize) -> Result<Vec<(LockRow, LockState)>, StoreError>;
}
