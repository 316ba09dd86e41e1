//! Many rows in one statement, where they travel otherwise than in the other database.

use std::collections::BTreeMap;

use actors::domain::{OrderSn, SaleId, WareSkuId};
use actors::ports::store::StoreError;

use super::commit::Transaction;
use super::rows::{Rows, expect_rows};
use crate::store::decisions::{AllotmentChange, Cash};

/// Adds to the undrawn units of allotments, or takes from them.
pub(super) async fn add_undrawn(tx: &mut Transaction<'_>, changes: &AllotmentChange) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new();
    for ((sale_id, ware_sku_id), units) in changes {
        rows.row().put(sale_id).put(ware_sku_id).put(units);
    }
    let add = "UPDATE sms_flash_sale_allotment SET undrawn = undrawn + change.units
               FROM (SELECT value->>0 AS of_sale, value->>1 AS of_row, value->>2 AS units
                     FROM jsonb_each(?)) AS change
               WHERE sale_id = change.of_sale AND ware_sku_id = change.of_row
                 AND undrawn + change.units BETWEEN 0 AND allotted";
    tx.script.change("sms_flash_sale_allotment", changes.len(), add).put(rows.json());
    Ok(())
}

/// Notes units that were locked as a sale's, or adds them to what it has.
pub(super) async fn insert_allotments(
    tx: &mut Transaction<'_>,
    sale_id: SaleId,
    units: &BTreeMap<WareSkuId, i64>,
) -> Result<(), StoreError> {
    let mut rows = Rows::new();
    for (ware_sku_id, units) in units {
        rows.row().put(ware_sku_id).put(units);
    }
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO sms_flash_sale_allotment (sale_id, ware_sku_id, allotted, undrawn)
                 SELECT ?1, value->>0, value->>1, value->>1 FROM jsonb_each(?2) WHERE true
                 ON CONFLICT (sale_id, ware_sku_id) DO UPDATE SET
                     allotted = allotted + excluded.allotted, undrawn = undrawn + excluded.undrawn",
            )
            .bind(sale_id.0)
            .bind(rows.json()),
        )
        .await?;
    expect_rows("sms_flash_sale_allotment", units.len(), inserted)
}

/// The carriers brought the money.
pub(super) async fn insert_cash(tx: &mut Transaction<'_>, cash: &[Cash<'_>]) -> Result<(), StoreError> {
    if cash.is_empty() {
        return Ok(());
    }
    let mut rows = Rows::new();
    for Cash { order_sn, trade_no, amount } in cash {
        rows.row().put(order_sn).put(trade_no).put(amount);
    }
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO oms_payment_info
                     (order_sn, alipay_trade_no, total_amount, payment_status, create_time, confirm_time)
                 SELECT value->>0, value->>1, value->>2, 'APPLIED', ?1, ?1 FROM jsonb_each(?2)",
            )
            .bind(tx.at.0)
            .bind(rows.json()),
        )
        .await?;
    expect_rows("oms_payment_info", cash.len(), inserted)
}

/// Notes on the deducted locks of an order which of their units came back.
pub(super) async fn return_units(
    tx: &mut Transaction<'_>,
    order_sn: &OrderSn,
    returned: &BTreeMap<WareSkuId, i64>,
) -> Result<(), StoreError> {
    let mut rows = Rows::new();
    for (id, units) in returned {
        rows.row().put(id).put(units);
    }
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE wms_stock_lock SET returned = returned + back.units, modify_time = ?1
                 FROM (SELECT value->>0 AS row_id, value->>1 AS units FROM jsonb_each(?2)) AS back
                 WHERE order_sn = ?3 AND ware_sku_id = back.row_id AND state = 1",
            )
            .bind(tx.at.0)
            .bind(rows.json())
            .bind(order_sn.as_str()),
        )
        .await?;
    expect_rows("wms_stock_lock", returned.len(), changed)
}
