//! Lock rows: foreign locks, and the resolution of all locks.

use std::collections::{HashMap, HashSet};

use actors::domain::stock::LockState;
use actors::domain::{OrderSn, SkuId, WareSkuId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{LockResolved, LockStock, ResolveLocks, StockLock, StockLocks};

use super::bulk::add_undrawn;
use super::commit::Transaction;
use super::flash_sales::add_released;
use super::rows::{Rows, expect_rows, list, order_sn};
use super::script::{Insert, Put};
use super::stock::{self, insert_ledger, read_free, undo_attempt};
use crate::store::batch::Placed;
use crate::store::decisions::{
    HeldLocks, NewLock, Resolved, StockChange, asked_locks, decide_locking, decide_resolving, lock_rows,
};

const LOCK: Insert = Insert {
    table: "wms_stock_lock",
    statement: "INSERT INTO wms_stock_lock
                    (order_sn, ware_sku_id, sku_id, num, sale_id, lease_until, is_first, create_time, modify_time)
                SELECT * FROM (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)) WHERE column1 IS NOT NULL",
};

/// The rows of owners that have none yet.
const LOCK_OF_NEW_OWNER: Insert = Insert {
    table: "wms_stock_lock",
    statement: "INSERT INTO wms_stock_lock
                    (order_sn, ware_sku_id, sku_id, num, sale_id, lease_until, is_first, create_time, modify_time)
                SELECT * FROM (VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)) WHERE column1 IS NOT NULL
                    AND NOT EXISTS (SELECT 1 FROM wms_stock_lock AS l WHERE l.order_sn = column1)",
};

/// Writes lock rows.
pub(super) fn insert(tx: &mut Transaction<'_>, locks: &[NewLock<'_>]) {
    let at = tx.at.0;
    tx.script.insert(&LOCK, locks, |row, lock| put_lock(row, lock, at));
}

/// Inserts the rows of owners that have none yet; whether that was all of them.
async fn insert_of_new_owners(tx: &mut Transaction<'_>, locks: &[NewLock<'_>]) -> Result<bool, StoreError> {
    let at = tx.at.0;
    tx.script.insert_any(&LOCK_OF_NEW_OWNER, locks, |row, lock| put_lock(row, lock, at));
    Ok(tx.run_script().await? == locks.len())
}

fn put_lock(row: &mut Put<'_>, lock: &NewLock<'_>, at: i64) {
    row.put(lock.owner.as_str())
        .put(lock.line.ware_sku_id.0)
        .put(lock.line.sku_id.0)
        .put(i64::from(lock.line.num))
        .put(lock.sale_id.map(|sale_id| sale_id.0))
        .put(lock.lease_until.map(|time| time.0))
        .put(i64::from(lock.is_first))
        .put(at)
        .put(at);
}

/// Carries out [`LockStock`] units.
pub(super) async fn lock(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, LockStock>],
) -> Result<Vec<StockLocks>, StoreError> {
    if lock_all(tx, units).await? {
        let locked = |(_, unit): &Placed<'_, LockStock>| vec![StockLock::Locked; unit.requests.len()];
        return Ok(units.iter().map(|unit| StockLocks::Done(locked(unit))).collect());
    }
    lock_in_turn(tx, units).await
}

/// What nearly always is the case, in two statements: every owner is new and everything fits. `false`, and nothing is
/// done, when it is not.
async fn lock_all(tx: &mut Transaction<'_>, units: &[Placed<'_, LockStock>]) -> Result<bool, StoreError> {
    let mut locks: Vec<NewLock<'_>> = Vec::new();
    let mut owners: HashSet<&OrderSn> = HashSet::new();
    for (_, unit) in units {
        let lease_until = tx.at.plus(unit.lease);
        for request in &unit.requests {
            if request.lines.is_empty() || !owners.insert(&request.order_sn) {
                return Ok(false);
            }
            locks.extend(lock_rows(request, lease_until));
        }
    }
    let sku_of: HashMap<i64, SkuId> = locks.iter().map(|lock| (lock.line.ware_sku_id.0, lock.line.sku_id)).collect();
    let change = StockChange::locking(locks.iter().map(|lock| &lock.line));
    let (rows, all_fit) = stock::attempt(tx, &change).await?;
    let as_believed = all_fit && rows.iter().all(|(id, sku_id, ..)| sku_of.get(id) == Some(&SkuId(*sku_id)));
    if as_believed && insert_of_new_owners(tx, &locks).await? {
        tx.news.stock_changed(rows);
        return Ok(true);
    }
    undo_attempt(tx).await?;
    Ok(false)
}

/// Tries the units one after the other.
async fn lock_in_turn(
    tx: &mut Transaction<'_>,
    units: &[Placed<'_, LockStock>],
) -> Result<Vec<StockLocks>, StoreError> {
    let requests = || units.iter().flat_map(|(_, unit)| &unit.requests);
    let owners = lock_owners(tx, list(requests().map(|request| &request.order_sn))).await?;
    let mut free = read_free(tx, requests().flat_map(|request| &request.lines)).await?;
    let locking = decide_locking(units, owners, &mut free, tx.at);
    stock::change(tx, &StockChange::locking(locking.locks.iter().map(|lock| &lock.line))).await?;
    insert(tx, &locking.locks);
    Ok(locking.answers)
}

/// Which of these have lock rows already.
async fn lock_owners(tx: &mut Transaction<'_>, owners: String) -> Result<HashSet<OrderSn>, StoreError> {
    let rows: Vec<(String,)> = tx
        .all(
            sqlx::query_as(
                "SELECT value FROM jsonb_each(?) AS asked
                 WHERE EXISTS (SELECT 1 FROM wms_stock_lock AS l WHERE l.order_sn = asked.value)",
            )
            .bind(owners),
        )
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
    write_resolved(tx, resolved).await?;
    Ok(answers)
}

async fn read_held(tx: &mut Transaction<'_>, units: &[Placed<'_, ResolveLocks>]) -> Result<HeldLocks, StoreError> {
    let rows = tx
        .all(
            sqlx::query_as(
                "SELECT l.order_sn, l.sku_id, l.ware_sku_id, l.num, l.state, l.lease_until, o.status, s.id, s.state
                 FROM jsonb_each(?) AS asked
                 CROSS JOIN wms_stock_lock AS l ON l.order_sn = asked.value->>1 AND l.sku_id = asked.value->>0
                 LEFT JOIN oms_order AS o ON o.order_sn = l.order_sn
                 LEFT JOIN sms_flash_sale AS s ON s.id = l.sale_id",
            )
            .bind(list(asked_locks(units))),
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
    let mut rows = Rows::new();
    for (owner, ware_sku_id, state) in locks {
        rows.row().put(owner).put(ware_sku_id).put(&(*state as i64));
    }
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE wms_stock_lock SET state = resolved.state_now, modify_time = ?1
                 FROM (SELECT value->>0 AS owner, value->>1 AS row_id, value->>2 AS state_now
                       FROM jsonb_each(?2)) AS resolved
                 WHERE order_sn = resolved.owner AND ware_sku_id = resolved.row_id AND state = 0",
            )
            .bind(tx.at.0)
            .bind(rows.json()),
        )
        .await?;
    expect_rows("wms_stock_lock", locks.len(), changed)
}

async fn release_grants(tx: &mut Transaction<'_>, grants: &[OrderSn]) -> Result<(), StoreError> {
    if grants.is_empty() {
        return Ok(());
    }
    let changed = tx
        .execute(
            sqlx::query(
                "UPDATE sms_flash_sale_grant SET state = 2
                 WHERE order_sn IN (SELECT value FROM jsonb_each(?)) AND state = 0",
            )
            .bind(list(grants)),
        )
        .await?;
    expect_rows("sms_flash_sale_grant", grants.len(), changed)
}
