//! Stock rows: what is free, guarded changes, the ledger, adjustments.

use std::collections::{BTreeMap, BTreeSet};

use actors::domain::order::LockLine;
use actors::domain::stock::StockRow;
use actors::domain::{SkuId, WareId, WareSkuId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{AdjustStock, Adjustment};

use super::commit::Transaction;
use super::rows::{Rows, StockColumns, expect_rows, list, stock_row, unreadable};
use crate::store::batch::Placed;
use crate::store::decisions::{Free, StockChange, judge_adjustment};

/// Reads what is free in the rows of these lines. The transaction holds the write lock, so nobody changes them before
/// the guarded UPDATE.
pub(super) async fn read_free(
    tx: &mut Transaction<'_>,
    lines: impl IntoIterator<Item = &LockLine>,
) -> Result<Free, StoreError> {
    let wanted: BTreeSet<WareSkuId> = lines.into_iter().map(|line| line.ware_sku_id).collect();
    let rows: Vec<(i64, i64, i64)> = tx
        .all(
            sqlx::query_as(
                "SELECT w.id, w.sku_id, w.stock - w.stock_locked
                 FROM jsonb_each(?) AS wanted CROSS JOIN wms_ware_sku AS w ON w.id = wanted.value",
            )
            .bind(list(wanted)),
        )
        .await?;
    Ok(Free::new(rows.into_iter().map(|(id, sku_id, free)| (WareSkuId(id), SkuId(sku_id), free))))
}

/// The guarded UPDATE of stock rows.
macro_rules! change_rows {
    () => {
        "UPDATE wms_ware_sku SET
             stock = stock + change.more_stock,
             stock_locked = stock_locked + change.more_locked,
             version = version + 1
         FROM (SELECT value->>0 AS row_id, value->>1 AS more_stock, value->>2 AS more_locked
               FROM jsonb_each(?)) AS change
         WHERE id = change.row_id
           AND stock_locked + change.more_locked BETWEEN 0 AND stock + change.more_stock
         RETURNING id, sku_id, ware_id, stock, stock_locked, version"
    };
}

/// One guarded UPDATE per row; every row must take it.
pub(super) async fn change(tx: &mut Transaction<'_>, change: &StockChange) -> Result<(), StoreError> {
    let rows = json_rows(change);
    if rows.is_empty() {
        return Ok(());
    }
    let expected = rows.count();
    let changed = tx.all(sqlx::query_as(change_rows!()).bind(rows.json())).await?;
    expect_rows("wms_ware_sku", expected, changed.len())?;
    tx.news.stock_changed(changed);
    Ok(())
}

/// The same after a savepoint named `attempt`, without insisting: the rows that took it, and whether all did.
/// [`undo_attempt`] takes it back; the rows are not noted as changed.
pub(super) async fn attempt(
    tx: &mut Transaction<'_>,
    change: &StockChange,
) -> Result<(Vec<StockColumns>, bool), StoreError> {
    let rows = json_rows(change);
    let expected = rows.count();
    let select = sqlx::query_as(concat!("SAVEPOINT attempt; ", change_rows!()));
    let changed: Vec<StockColumns> = tx.all(select.bind(rows.json())).await?;
    let all = changed.len() == expected;
    Ok((changed, all))
}

fn json_rows(change: &StockChange) -> Rows {
    let mut rows = Rows::new();
    for (id, stock, locked) in change.rows() {
        rows.row().put(&id).put(&stock).put(&locked);
    }
    rows
}

/// Takes back what was done since [`attempt`].
pub(super) async fn undo_attempt(tx: &mut Transaction<'_>) -> Result<(), StoreError> {
    tx.execute(sqlx::query("ROLLBACK TO attempt")).await.map(drop)
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
    let mut rows = Rows::new();
    for (id, delta) in deltas {
        let row = tx.news.changed_row(*id).ok_or_else(|| unreadable("a ledger row of an unchanged stock row", id))?;
        rows.row().put(id).put(delta).put(&row.stock);
    }
    let inserted = tx
        .execute(
            sqlx::query(
                "INSERT INTO wms_stock_ledger (kind, reason, create_time, ware_sku_id, delta, stock_after)
                 SELECT ?1, ?2, ?3, value->>0, value->>1, value->>2 FROM jsonb_each(?4)",
            )
            .bind(kind)
            .bind(reason)
            .bind(tx.at.0)
            .bind(rows.json()),
        )
        .await?;
    expect_rows("wms_stock_ledger", deltas.len(), inserted)
}

/// Carries out [`AdjustStock`].
pub(super) async fn adjust(
    tx: &mut Transaction<'_>,
    (_, unit): Placed<'_, AdjustStock>,
) -> Result<Adjustment, StoreError> {
    let known: Vec<(bool, bool)> = tx
        .all(
            sqlx::query_as(
                "SELECT EXISTS (SELECT 1 FROM pms_sku_info WHERE sku_id = ?),
                        EXISTS (SELECT 1 FROM wms_ware_info WHERE id = ?)",
            )
            .bind(unit.sku_id.0)
            .bind(unit.ware_id.0),
        )
        .await?;
    match known.first() {
        Some((true, true)) => {}
        Some((true, false)) => return Ok(Adjustment::UnknownWarehouse),
        _ => return Ok(Adjustment::UnknownSku),
    }
    let row = read_stock_row(tx, unit.sku_id, unit.ware_id).await?;
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

async fn read_stock_row(
    tx: &mut Transaction<'_>,
    sku_id: SkuId,
    ware_id: WareId,
) -> Result<Option<StockRow>, StoreError> {
    let row = tx
        .optional(
            sqlx::query_as(
                "SELECT id, sku_id, ware_id, stock, stock_locked, version
                 FROM wms_ware_sku WHERE sku_id = ? AND ware_id = ?",
            )
            .bind(sku_id.0)
            .bind(ware_id.0),
        )
        .await?;
    Ok(row.map(stock_row))
}

async fn insert_stock_row(tx: &mut Transaction<'_>, sku_id: SkuId, ware_id: WareId) -> Result<WareSkuId, StoreError> {
    let inserted: Option<(i64,)> = tx
        .optional(
            sqlx::query_as(
                "INSERT INTO wms_ware_sku (sku_id, ware_id, stock, sku_name)
                 SELECT sku_id, ?, 0, sku_name FROM pms_sku_info WHERE sku_id = ? RETURNING id",
            )
            .bind(ware_id.0)
            .bind(sku_id.0),
        )
        .await?;
    inserted.map(|(id,)| WareSkuId(id)).ok_or_else(|| unreadable("the catalogue row", "gone"))
}

/// As [`change`] for one row, and also when `delta` is 0: an adjustment always raises the version.
async fn raise_stock(tx: &mut Transaction<'_>, id: WareSkuId, delta: i64) -> Result<(), StoreError> {
    let changed = tx
        .all(
            sqlx::query_as(
                "UPDATE wms_ware_sku SET stock = stock + ?1, version = version + 1
                 WHERE id = ?2 AND stock + ?1 >= stock_locked
                 RETURNING id, sku_id, ware_id, stock, stock_locked, version",
            )
            .bind(delta)
            .bind(id.0),
        )
        .await?;
    expect_rows("wms_ware_sku", 1, changed.len())?;
    tx.news.stock_changed(changed);
    Ok(())
}
