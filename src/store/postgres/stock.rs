//! Stock rows: guarded changes, the ledger, adjustments. [`super::lock_order`] has read and locked the rows.

use std::collections::BTreeMap;

use actors::domain::order::LockLine;
use actors::domain::stock::StockRow;
use actors::domain::{SkuId, WareId, WareSkuId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{AdjustStock, Adjustment};

use super::commit::Transaction;
use super::rows::{StockColumns, column, expect_rows, unreadable};
use crate::store::batch::Placed;
use crate::store::decisions::{Free, StockChange, judge_adjustment};

/// What is free in the locked rows.
pub(super) fn free(tx: &Transaction<'_>) -> Free {
    Free::new(tx.stock.values().map(|row| (row.id, row.sku_id, row.stock - row.locked)))
}

/// What is free in the rows of these lines, which are among the locked ones.
pub(super) async fn read_free(
    tx: &mut Transaction<'_>,
    _lines: impl IntoIterator<Item = &LockLine>,
) -> Result<Free, StoreError> {
    Ok(free(tx))
}

/// One guarded UPDATE per row; every row must take it.
pub(super) async fn change(tx: &mut Transaction<'_>, change: &StockChange) -> Result<(), StoreError> {
    let rows = change.rows();
    if rows.is_empty() {
        return Ok(());
    }
    let changed: Vec<StockColumns> = tx
        .all(
            sqlx::query_as(
                "UPDATE wms_ware_sku AS w SET
                     stock = w.stock + change.more_stock,
                     stock_locked = w.stock_locked + change.more_locked,
                     version = w.version + 1
                 FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS change (row_id, more_stock, more_locked)
                 WHERE w.id = change.row_id
                   AND w.stock_locked + change.more_locked BETWEEN 0 AND w.stock + change.more_stock
                 RETURNING w.id, w.sku_id, w.ware_id, w.stock, w.stock_locked, w.version",
            )
            .bind(column(&rows, |(id, ..)| id.0))
            .bind(column(&rows, |(_, stock, _)| *stock))
            .bind(column(&rows, |(.., locked)| *locked)),
        )
        .await?;
    expect_rows("wms_ware_sku", rows.len(), changed.len())?;
    tx.stock_changed(changed);
    Ok(())
}

/// Writes one ledger row per stock row, for changes of `stock` that this transaction has made.
pub(super) async fn insert_ledger(
    tx: &mut Transaction<'_>,
    kind: &'static str,
    reason: &str,
    deltas: &BTreeMap<WareSkuId, i64>,
) -> Result<(), StoreError> {
    if deltas.is_empty() {
        return Ok(());
    }
    let mut after = Vec::with_capacity(deltas.len());
    for id in deltas.keys() {
        let row = tx.news.changed_row(*id).ok_or_else(|| unreadable("a ledger row of an unchanged stock row", id))?;
        after.push(row.stock);
    }
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO wms_stock_ledger (kind, reason, create_time, ware_sku_id, delta, stock_after)
                 SELECT $1, $2, $3, * FROM unnest($4::bigint[], $5::bigint[], $6::bigint[])",
            )
            .bind(kind)
            .bind(reason)
            .bind(tx.at.0)
            .bind(deltas.keys().map(|id| id.0).collect::<Vec<_>>())
            .bind(deltas.values().copied().collect::<Vec<_>>())
            .bind(after),
        )
        .await?;
    expect_rows("wms_stock_ledger", deltas.len(), inserted)
}

/// Carries out [`AdjustStock`].
pub(super) async fn adjust(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, AdjustStock>,
) -> Result<Adjustment, StoreError> {
    let known: Option<(bool, bool)> = tx
        .optional(
            sqlx::query_as(
                "SELECT EXISTS (SELECT 1 FROM pms_sku_info WHERE sku_id = $1),
                        EXISTS (SELECT 1 FROM wms_ware_info WHERE id = $2)",
            )
            .bind(unit.sku_id.0)
            .bind(unit.ware_id.0),
        )
        .await?;
    match known {
        Some((true, true)) => {}
        Some((true, false)) => return Ok(Adjustment::UnknownWarehouse),
        _ => return Ok(Adjustment::UnknownSku),
    }
    let row = tx.stock.values().find(|row| row.sku_id == unit.sku_id && row.ware_id == unit.ware_id).copied();
    let before = row.unwrap_or(StockRow {
        id: WareSkuId(0),
        sku_id: unit.sku_id,
        ware_id: unit.ware_id,
        stock: 0,
        locked: 0,
        version: 0,
    });
    if let Err(refusal) = judge_adjustment(before, unit)? {
        return Ok(refusal);
    }
    let id = match row {
        Some(row) => row.id,
        None => insert_stock_row(tx, unit.sku_id, unit.ware_id).await?,
    };
    raise_stock(tx, id, unit.delta).await?;
    insert_ledger(tx, "adjust", &unit.reason, &BTreeMap::from([(id, unit.delta)])).await?;
    let changed = tx.news.changed_row(id).copied();
    changed.map(Adjustment::Done).ok_or_else(|| unreadable("wms_ware_sku after its change", id))
}

async fn insert_stock_row(tx: &mut Transaction<'_>, sku_id: SkuId, ware_id: WareId) -> Result<WareSkuId, StoreError> {
    let inserted: Option<(i64,)> = tx
        .optional(
            sqlx::query_as(
                "INSERT INTO wms_ware_sku (sku_id, ware_id, stock, sku_name)
                 SELECT sku_id, $1, 0, sku_name FROM pms_sku_info WHERE sku_id = $2
                 ON CONFLICT (sku_id, ware_id) DO NOTHING RETURNING id",
            )
            .bind(ware_id.0)
            .bind(sku_id.0),
        )
        .await?;
    // There was no row to lock, so another node could make it first; the next try finds it.
    let made = inserted.map(|(id,)| WareSkuId(id));
    made.ok_or_else(|| StoreError::Transient("another node made the stock row".into()))
}

/// As [`change`] for one row, and also when `delta` is 0: an adjustment always raises the version.
async fn raise_stock(tx: &mut Transaction<'_>, id: WareSkuId, delta: i64) -> Result<(), StoreError> {
    let changed: Vec<StockColumns> = tx
        .all(
            sqlx::query_as(
                "UPDATE wms_ware_sku SET stock = stock + $1, version = version + 1
                 WHERE id = $2 AND stock + $1 >= stock_locked
                 RETURNING id, sku_id, ware_id, stock, stock_locked, version",
            )
            .bind(delta)
            .bind(id.0),
        )
        .await?;
    expect_rows("wms_ware_sku", 1, changed.len())?;
    tx.stock_changed(changed);
    Ok(())
}
