//! Lock rows: foreign locks, and the resolution of all locks. Their stock rows are locked, so nobody else makes or
//! resolves locks on them meanwhile.

use std::collections::HashSet;

use actors::domain::flash_sale::GrantState;
use actors::domain::stock::LockState;
use actors::domain::{OrderSn, WareSkuId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{LockResolved, LockStock, ResolveLocks, StockLocks};

use super::bulk::add_undrawn;
use super::commit::Transaction;
use super::flash_sales::add_released;
use super::rows::{column, expect_rows, numbers, order_sn};
use super::stock::{self, insert_ledger};
use super::written::{self, Writes};
use crate::store::batch::Placed;
use crate::store::decisions::{
    HeldColumns, HeldLocks, Resolved, StockChange, asked_locks, decide_locking, decide_resolving,
};

/// Carries out [`LockStock`] units.
pub(super) async fn lock(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, LockStock>],
) -> Result<Vec<StockLocks>, StoreError> {
    let owners = units.iter().flat_map(|(_, unit)| &unit.requests).map(|request| &request.order_sn);
    let owners = lock_owners(tx, numbers(owners)).await?;
    let locking = decide_locking(units, owners, &mut stock::free(tx), tx.at);
    let stock = StockChange::locking(locking.locks.iter().map(|lock| &lock.line)).rows();
    // Two nodes may lock for one owner at the same time, each for another SKU, so that no stock row keeps them apart. The
    // first row of an owner is UNIQUE: the batch that comes second waits for it and is then judged again.
    written::write(tx, Writes { stock: &stock, locks: &locking.locks, ..Writes::default() }).await?;
    Ok(locking.answers)
}

/// Which of these have lock rows already.
async fn lock_owners(tx: &mut Transaction<'_>, owners: Vec<&str>) -> Result<HashSet<OrderSn>, StoreError> {
    let rows: Vec<(String,)> = tx
        .all(sqlx::query_as("SELECT DISTINCT order_sn FROM wms_stock_lock WHERE order_sn = ANY($1)").bind(owners))
        .await?;
    rows.iter().map(|(owner,)| order_sn(owner)).collect()
}

/// Carries out [`ResolveLocks`] units.
pub(super) async fn resolve(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, ResolveLocks>],
) -> Result<Vec<Vec<LockResolved>>, StoreError> {
    let held = read_held(tx, units).await?;
    let (answers, resolved) = decide_resolving(units, held, tx.at);
    if resolved.released.keys().any(|sale_id| !tx.sales.contains(sale_id)) {
        // A lock that was made since this transaction looked for the sales to lock.
        return Err(StoreError::Transient("a lock of a sale that is not locked".into()));
    }
    write_resolved(tx, resolved).await?;
    Ok(answers)
}

async fn read_held(tx: &mut Transaction<'_>, units: &[Placed<'_, ResolveLocks>]) -> Result<HeldLocks, StoreError> {
    let asked: Vec<_> = asked_locks(units).into_iter().collect();
    let rows: Vec<HeldColumns> = tx
        .all(
            sqlx::query_as(
                "SELECT l.order_sn, l.sku_id, l.ware_sku_id, l.num, l.state, l.lease_until, o.status, s.id, s.state
                 FROM unnest($1::bigint[], $2::text[]) AS asked (sku_id, owner)
                 JOIN wms_stock_lock AS l ON l.order_sn = asked.owner AND l.sku_id = asked.sku_id
                 LEFT JOIN oms_order AS o ON o.order_sn = l.order_sn
                 LEFT JOIN sms_flash_sale AS s ON s.id = l.sale_id",
            )
            .bind(column(&asked, |(sku_id, _)| sku_id.0))
            .bind(column(&asked, |(_, owner)| owner.as_str())),
        )
        .await?;
    HeldLocks::read(rows)
}

async fn write_resolved(tx: &mut Transaction<'_>, resolved: Resolved) -> Result<(), StoreError> {
    update_locks(tx, &resolved.locks).await?;
    stock::change(tx, &resolved.stock).await?;
    insert_ledger(tx, "sale", "", &resolved.sold).await?;
    add_undrawn(tx, &resolved.given_back).await?;
    add_released(tx, &resolved.released).await?;
    release_grants(tx, &resolved.grants).await
}

async fn update_locks(tx: &mut Transaction<'_>, locks: &[(OrderSn, WareSkuId, LockState)]) -> Result<(), StoreError> {
    if locks.is_empty() {
        return Ok(());
    }
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE wms_stock_lock AS l SET state = resolved.state_now, modify_time = $1
                 FROM unnest($2::text[], $3::bigint[], $4::bigint[]) AS resolved (owner, row_id, state_now)
                 WHERE l.order_sn = resolved.owner AND l.ware_sku_id = resolved.row_id AND l.state = $5",
            )
            .bind(tx.at.0)
            .bind(column(locks, |(owner, ..)| owner.as_str()))
            .bind(column(locks, |(_, id, _)| id.0))
            .bind(column(locks, |(.., state)| *state as i64))
            .bind(LockState::Locked as i64),
        )
        .await?;
    expect_rows("wms_stock_lock", locks.len(), changed)
}

async fn release_grants(tx: &mut Transaction<'_>, grants: &[OrderSn]) -> Result<(), StoreError> {
    if grants.is_empty() {
        return Ok(());
    }
    let release = sqlx::query("UPDATE sms_flash_sale_grant SET state = 2 WHERE order_sn = ANY($1) AND state = $2");
    let changed = tx.execute(release.bind(numbers(grants)).bind(GrantState::Granted as i64)).await?;
    expect_rows("sms_flash_sale_grant", grants.len(), changed)
}
