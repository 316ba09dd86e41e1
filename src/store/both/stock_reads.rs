//! Reading stock.

use actors::domain::stock::{LockState, StockRow};
use actors::domain::{OrderSn, SkuId};
use actors::ports::store::{LedgerCursor, LedgerRow, LockRow, StockReads, Store, StoreError};
use async_trait::async_trait;

use super::DatabaseStore;
use super::rows::{among, limit, numbers, stock_row};
use crate::store::columns::{DueColumns, LedgerColumns, due_lock, ledger_row, lock_row};

#[async_trait]
impl StockReads for DatabaseStore {
    async fn stock_rows(&self, sku_id: SkuId) -> Result<Vec<StockRow>, StoreError> {
        let rows = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT id, sku_id, ware_id, stock, stock_locked, version
                     FROM wms_ware_sku WHERE sku_id = $1 ORDER BY id",
                )
                .bind(sku_id.0),
            )
            .await?;
        Ok(rows.into_iter().map(stock_row).collect())
    }

    async fn locks_of(&self, order_sns: &[OrderSn]) -> Result<Vec<LockRow>, StoreError> {
        let rows = self
            .readers
            .all(
                sqlx::query_as(concat!(
                    "SELECT order_sn, ware_sku_id, sku_id, num, state FROM wms_stock_lock
                     WHERE order_sn ",
                    among!("$1")
                ))
                .bind(numbers(order_sns)),
            )
            .await?;
        rows.into_iter().map(lock_row).collect()
    }

    async fn lapsed_locks(&self, most: usize) -> Result<Vec<LockRow>, StoreError> {
        let rows = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT order_sn, ware_sku_id, sku_id, num, state FROM wms_stock_lock AS l
                     WHERE state = 0 AND lease_until IS NOT NULL AND lease_until <= $1
                       AND NOT EXISTS (SELECT 1 FROM oms_order AS o WHERE o.order_sn = l.order_sn)
                     ORDER BY create_time, order_sn, ware_sku_id LIMIT $2",
                )
                .bind(self.now().await?.0)
                .bind(limit(most)),
            )
            .await?;
        rows.into_iter().map(lock_row).collect()
    }

    async fn ledger(
        &self,
        sku_id: SkuId,
        before: Option<LedgerCursor>,
        most: usize,
    ) -> Result<Vec<LedgerRow>, StoreError> {
        let rows: Vec<LedgerColumns> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT l.id, w.ware_id, l.kind, l.delta, l.stock_after, l.reason, l.create_time
                     FROM wms_ware_sku AS w JOIN wms_stock_ledger AS l ON l.ware_sku_id = w.id
                     WHERE w.sku_id = $1 AND l.id < $2 ORDER BY l.id DESC LIMIT $3",
                )
                .bind(sku_id.0)
                .bind(before.map_or(i64::MAX, |before| before.0))
                .bind(limit(most)),
            )
            .await?;
        rows.into_iter().map(ledger_row).collect()
    }

    async fn unresolved_locks(&self, older_ms: i64, most: usize) -> Result<Vec<(LockRow, LockState)>, StoreError> {
        let rows: Vec<DueColumns> = self
            .readers
            .all(
                sqlx::query_as(
                    "SELECT l.order_sn, l.ware_sku_id, l.sku_id, l.num, l.state, o.status
                     FROM wms_stock_lock AS l JOIN oms_order AS o ON o.order_sn = l.order_sn
                     WHERE l.state = 0 AND o.status <> 0 AND o.modify_time <= $1
                     ORDER BY l.create_time, l.order_sn, l.ware_sku_id LIMIT $2",
                )
                .bind(self.now().await?.0.saturating_sub(older_ms))
                .bind(limit(most)),
            )
            .await?;
        rows.into_iter().map(due_lock).collect()
    }
}
