//! Locks and stock.

use super::Batch;
use super::tables::{Lock, Tables};
use crate::domain::flash_sale::{GrantState, SaleState};
use crate::domain::order::{LockLine, OrderStatus};
use crate::domain::stock::{LedgerKind, LockState, Resolution, StockRow};
use crate::domain::{OrderSn, SaleId, SkuId, Timestamp, WareId, WareSkuId};
use crate::ports::store::StoreError;
use crate::ports::store::units::{
    AdjustStock, Adjustment, LockResolved, LockStock, ResolveLocks, StockLock, StockLocks,
};

pub(super) fn lock(tables: &mut Tables, batch: &mut Batch, unit: &LockStock) -> Result<StockLocks, StoreError> {
    let exists: Vec<bool> =
        unit.requests.iter().map(|request| tables.locks_of_owner(&request.order_sn).next().is_some()).collect();
    let fresh = || unit.requests.iter().zip(&exists).filter(|(_, exists)| !**exists).map(|(request, _)| request);
    let lines: Vec<LockLine> = fresh().flat_map(|request| request.lines.clone()).collect();
    let stale = tables.stale_skus(&lines);
    if !stale.is_empty() {
        return Ok(StockLocks::Stale(stale));
    }
    for request in fresh() {
        let lease_until = batch.at.plus(unit.lease);
        tables.add_locks(&request.order_sn, &request.lines, None, Some(lease_until), batch.at)?;
    }
    promise(tables, batch, &lines)?;
    let answer = |exists: &bool| if *exists { StockLock::Exists } else { StockLock::Locked };
    Ok(StockLocks::Done(exists.iter().map(answer).collect()))
}

/// Raises `locked` of the rows, which the caller has found to fit.
pub(super) fn promise(tables: &mut Tables, batch: &mut Batch, lines: &[LockLine]) -> Result<(), StoreError> {
    for line in lines {
        tables.change_stock(batch, line.ware_sku_id, 0, i64::from(line.num))?;
    }
    Ok(())
}

pub(super) fn resolve(
    tables: &mut Tables,
    batch: &mut Batch,
    unit: &ResolveLocks,
) -> Result<Vec<LockResolved>, StoreError> {
    unit.order_sns.iter().map(|order_sn| resolve_owner(tables, batch, unit, order_sn)).collect()
}

fn resolve_owner(
    tables: &mut Tables,
    batch: &mut Batch,
    unit: &ResolveLocks,
    order_sn: &OrderSn,
) -> Result<LockResolved, StoreError> {
    let locks: Vec<Lock> =
        tables.locks_of_owner(order_sn).filter(|lock| lock.line.sku_id == unit.sku_id).cloned().collect();
    let Some(first) = locks.first() else { return Ok(LockResolved::Unknown) };
    if first.state != LockState::Locked {
        return Ok(LockResolved::Before(first.state));
    }
    match tables.status_of(order_sn) {
        Some(status) if unit.lapsed_only || !fits(status, unit.way) => return Ok(LockResolved::Refused(status)),
        None if unit.lapsed_only && !locks.iter().all(|lock| is_lapsed(lock, batch.at)) => {
            return Ok(LockResolved::Unknown);
        }
        _ => {}
    }
    for lock in &locks {
        resolve_lock(tables, batch, unit.way, order_sn, lock)?;
    }
    Ok(LockResolved::Now(locks.iter().map(Lock::num).sum()))
}

fn fits(status: OrderStatus, way: Resolution) -> bool {
    match way {
        Resolution::Deduct => status.is_paid(),
        Resolution::Release => status.is_over_unsold(),
    }
}

pub(super) fn is_lapsed(lock: &Lock, now: Timestamp) -> bool {
    lock.lease_until.is_some_and(|lease_until| lease_until <= now)
}

fn resolve_lock(
    tables: &mut Tables,
    batch: &mut Batch,
    way: Resolution,
    order_sn: &OrderSn,
    lock: &Lock,
) -> Result<(), StoreError> {
    let id = lock.line.ware_sku_id;
    if let Some(row) = tables.locks.get_mut(&(order_sn.clone(), id)) {
        row.state = way.target();
    }
    match (way, lock.sale_id) {
        (Resolution::Deduct, _) => {
            tables.change_stock(batch, id, -lock.num(), -lock.num())?;
            tables.add_ledger(batch.at, id, LedgerKind::Sale, -lock.num(), "");
        }
        (Resolution::Release, None) => {
            tables.change_stock(batch, id, 0, -lock.num())?;
        }
        (Resolution::Release, Some(sale_id)) => give_back_to_sale(tables, batch, sale_id, order_sn, lock)?,
    }
    Ok(())
}

fn give_back_to_sale(
    tables: &mut Tables,
    batch: &mut Batch,
    sale_id: SaleId,
    order_sn: &OrderSn,
    lock: &Lock,
) -> Result<(), StoreError> {
    let sale = tables
        .sales
        .get_mut(&sale_id)
        .ok_or_else(|| StoreError::Inconsistent(format!("lock of {order_sn} names no sale")))?;
    sale.released += lock.num();
    let ended = sale.state == SaleState::Ended;
    if let Some(grant) = tables.grants.iter_mut().find(|grant| grant.order_sn == *order_sn) {
        grant.state = GrantState::Released;
    }
    if ended {
        tables.change_stock(batch, lock.line.ware_sku_id, 0, -lock.num())?;
        return Ok(());
    }
    tables.add_undrawn(sale_id, lock.line.ware_sku_id, lock.num())
}

pub(super) fn adjust(tables: &mut Tables, batch: &mut Batch, unit: &AdjustStock) -> Result<Adjustment, StoreError> {
    if !tables.skus.contains_key(&unit.sku_id) {
        return Ok(Adjustment::UnknownSku);
    }
    if !tables.warehouses.contains_key(&unit.ware_id) {
        return Ok(Adjustment::UnknownWarehouse);
    }
    let known = tables.stock.values().find(|row| row.sku_id == unit.sku_id && row.ware_id == unit.ware_id);
    let row = known.copied().unwrap_or_else(|| empty_row(tables, unit.sku_id, unit.ware_id));
    let too_large = || StoreError::Constraint(format!("stock row {} would overflow", row.id));
    if row.stock.checked_add(unit.delta).ok_or_else(too_large)? < row.locked {
        return Ok(Adjustment::BelowLocked(row));
    }
    tables.stock.entry(row.id).or_insert(row);
    let changed = tables.change_stock(batch, row.id, unit.delta, 0)?;
    tables.add_ledger(batch.at, row.id, LedgerKind::Adjustment, unit.delta, &unit.reason);
    Ok(Adjustment::Done(changed))
}

pub(super) fn empty_row(tables: &Tables, sku_id: SkuId, ware_id: WareId) -> StockRow {
    let last = tables.stock.last_key_value().map_or(0, |(id, _)| id.0);
    StockRow { id: WareSkuId(last + 1), sku_id, ware_id, stock: 0, locked: 0, version: 0 }
}
