//! Many rows in one statement, where they travel otherwise than in the other database.

use std::collections::BTreeMap;

use actors::domain::{OrderSn, SaleId, WareSkuId};
use actors::ports::store::StoreError;

use super::commit::Transaction;
use super::rows::{column, expect_rows};
use crate::store::decisions::{AllotmentChange, Cash};

/// Adds to the undrawn units of allotments, or takes from them.
pub(super) async fn add_undrawn(tx: &mut Transaction<'_>, changes: &AllotmentChange) -> Result<(), StoreError> {
    if changes.is_empty() {
        return Ok(());
    }
    let rows: Vec<_> = changes.iter().collect();
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE sms_flash_sale_allotment AS a SET undrawn = a.undrawn + change.units
                 FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS change (of_sale, of_row, units)
                 WHERE a.sale_id = change.of_sale AND a.ware_sku_id = change.of_row
                   AND a.undrawn + change.units BETWEEN 0 AND a.allotted",
            )
            .bind(column(&rows, |((sale_id, _), _)| sale_id.0))
            .bind(column(&rows, |((_, ware_sku_id), _)| ware_sku_id.0))
            .bind(column(&rows, |(_, units)| **units)),
        )
        .await?;
    expect_rows("sms_flash_sale_allotment", changes.len(), changed)
}

/// Notes units that were locked as a sale's, or adds them to what it has.
pub(super) async fn insert_allotments(
    tx: &mut Transaction<'_>,
    sale_id: SaleId,
    units: &BTreeMap<WareSkuId, i64>,
) -> Result<(), StoreError> {
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO sms_flash_sale_allotment (sale_id, ware_sku_id, allotted, undrawn)
                 SELECT $1, new.row_id, new.units, new.units
                 FROM unnest($2::bigint[], $3::bigint[]) AS new (row_id, units)
                 ON CONFLICT (sale_id, ware_sku_id) DO UPDATE SET
                     allotted = sms_flash_sale_allotment.allotted + excluded.allotted,
                     undrawn = sms_flash_sale_allotment.undrawn + excluded.undrawn",
            )
            .bind(sale_id.0)
            .bind(units.keys().map(|id| id.0).collect::<Vec<_>>())
            .bind(units.values().copied().collect::<Vec<_>>()),
        )
        .await?;
    expect_rows("sms_flash_sale_allotment", units.len(), inserted)
}

/// The carriers brought the money.
pub(super) async fn insert_cash(tx: &mut Transaction<'_>, cash: &[Cash<'_>]) -> Result<(), StoreError> {
    if cash.is_empty() {
        return Ok(());
    }
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO oms_payment_info
                     (payment_status, create_time, confirm_time, order_sn, alipay_trade_no, total_amount)
                 SELECT 'APPLIED', $1, $1, * FROM unnest($2::text[], $3::text[], $4::bigint[])",
            )
            .bind(tx.at.0)
            .bind(column(cash, |cash| cash.order_sn.as_str()))
            .bind(column(cash, |cash| cash.trade_no.as_str()))
            .bind(column(cash, |cash| cash.amount.0)),
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
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE wms_stock_lock AS l SET returned = l.returned + back.units, modify_time = $1
                 FROM unnest($2::bigint[], $3::bigint[]) AS back (row_id, units)
                 WHERE l.order_sn = $4 AND l.ware_sku_id = back.row_id AND l.state = 1",
            )
            .bind(tx.at.0)
            .bind(returned.keys().map(|id| id.0).collect::<Vec<_>>())
            .bind(returned.values().copied().collect::<Vec<_>>())
            .bind(order_sn.as_str()),
        )
        .await?;
    expect_rows("wms_stock_lock", returned.len(), changed)
}
