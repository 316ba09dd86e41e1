//! What locking and ordering write beside the orders themselves: one statement, so one round trip.

use actors::domain::order::OrderItem;
use actors::domain::{SaleId, WareSkuId};
use actors::ports::store::StoreError;

use super::commit::Transaction;
use super::order_rows::{Made, lines};
use super::rows::{StockColumns, column, count, expect_rows, ms};
use crate::store::decisions::NewLock;

/// Rows that are written together; they are in different tables, so their order does not matter.
#[derive(Default)]
pub(super) struct Writes<'w> {
    /// Stock rows, with the units added on hand and locked.
    pub(super) stock: &'w [(WareSkuId, i64, i64)],
    /// Allotments, with the undrawn units added.
    pub(super) drawn: &'w [((SaleId, WareSkuId), i64)],
    /// Orders whose items are written. The orders are there already.
    pub(super) orders: &'w [Made<'w>],
    /// Lock rows.
    pub(super) locks: &'w [NewLock<'w>],
}

/// Guarded changes and new rows. Stock rows have ids from 1 on: the row with id 0 counts what the other parts did. Lock
/// rows go in by owner, so that two batches meet on the owners of other systems in one order.
const WRITE: &str = "
    WITH stock AS (
        UPDATE wms_ware_sku AS w SET
            stock = w.stock + change.more_stock,
            stock_locked = w.stock_locked + change.more_locked,
            version = w.version + 1
        FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS change (row_id, more_stock, more_locked)
        WHERE w.id = change.row_id
          AND w.stock_locked + change.more_locked BETWEEN 0 AND w.stock + change.more_stock
        RETURNING w.id, w.sku_id, w.ware_id, w.stock, w.stock_locked, w.version
    ), drawn AS (
        UPDATE sms_flash_sale_allotment AS a SET undrawn = a.undrawn + change.units
        FROM unnest($5::bigint[], $6::bigint[], $7::bigint[]) AS change (of_sale, of_row, units)
        WHERE a.sale_id = change.of_sale AND a.ware_sku_id = change.of_row
          AND a.undrawn + change.units BETWEEN 0 AND a.allotted
        RETURNING 1
    ), items AS (
        INSERT INTO oms_order_item
            (order_sn, line, sku_id, spu_id, category_id, sku_name, sku_pic, sku_price, sku_quantity, sku_attrs_vals)
        SELECT * FROM unnest($8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[],
                             $14::text[], $15::bigint[], $16::bigint[], $17::text[])
        RETURNING 1
    ), locks AS (
        INSERT INTO wms_stock_lock
            (create_time, modify_time, order_sn, ware_sku_id, sku_id, num, sale_id, lease_until, is_first)
        SELECT $1, $1, new.* FROM unnest($18::text[], $19::bigint[], $20::bigint[], $21::bigint[], $22::bigint[],
                                         $23::bigint[], $24::bigint[]) AS new (order_sn)
        ORDER BY new.order_sn
        RETURNING 1
    )
    SELECT id, sku_id, ware_id, stock, stock_locked, version FROM stock
    UNION ALL
    SELECT 0, (SELECT count(*) FROM drawn), (SELECT count(*) FROM items), (SELECT count(*) FROM locks), 0, 0";

/// Writes them; every row must take its change.
pub(super) async fn write(tx: &mut Transaction<'_>, writes: Writes<'_>) -> Result<(), StoreError> {
    let Writes { stock, drawn, orders, locks } = writes;
    let items: Vec<(&str, i64, &OrderItem)> = orders.iter().flat_map(|(order, _)| lines(order)).collect();
    if stock.is_empty() && drawn.is_empty() && items.is_empty() && locks.is_empty() {
        return Ok(());
    }
    let rows: Vec<StockColumns> = tx
        .all(
            sqlx::query_as(WRITE)
                .bind(tx.at.0)
                .bind(column(stock, |(id, ..)| id.0))
                .bind(column(stock, |(_, more, _)| *more))
                .bind(column(stock, |(.., locked)| *locked))
                .bind(column(drawn, |((sale_id, _), _)| sale_id.0))
                .bind(column(drawn, |((_, ware_sku_id), _)| ware_sku_id.0))
                .bind(column(drawn, |(_, units)| *units))
                .bind(column(&items, |(order_sn, ..)| *order_sn))
                .bind(column(&items, |(_, line, _)| *line))
                .bind(column(&items, |(.., item)| item.sku_id.0))
                .bind(column(&items, |(.., item)| item.spu_id))
                .bind(column(&items, |(.., item)| item.category_id))
                .bind(column(&items, |(.., item)| item.title.as_str()))
                .bind(column(&items, |(.., item)| item.image.as_str()))
                .bind(column(&items, |(.., item)| item.price.0))
                .bind(column(&items, |(.., item)| i64::from(item.quantity)))
                .bind(column(&items, |(.., item)| item.attributes.as_str()))
                .bind(column(locks, |lock| lock.owner.as_str()))
                .bind(column(locks, |lock| lock.line.ware_sku_id.0))
                .bind(column(locks, |lock| lock.line.sku_id.0))
                .bind(column(locks, |lock| i64::from(lock.line.num)))
                .bind(column(locks, |lock| lock.sale_id.map(|sale_id| sale_id.0)))
                .bind(column(locks, |lock| ms(lock.lease_until)))
                .bind(column(locks, |lock| i64::from(lock.is_first))),
        )
        .await?;
    let (counts, changed): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(id, ..)| *id == 0);
    let (_, drawn_rows, item_rows, lock_rows, ..) = counts.first().copied().unwrap_or_default();
    expect_rows("wms_ware_sku", stock.len(), changed.len())?;
    expect_rows("sms_flash_sale_allotment", drawn.len(), count("rows changed", drawn_rows)?)?;
    expect_rows("oms_order_item", items.len(), count("rows written", item_rows)?)?;
    expect_rows("wms_stock_lock", locks.len(), count("rows written", lock_rows)?)?;
    tx.stock_changed(changed);
    Ok(())
}
