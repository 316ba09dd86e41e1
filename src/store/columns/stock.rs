//! Rows of locks.

use actors::domain::order::LockLine;
use actors::domain::stock::{LedgerKind, LockState};
use actors::domain::{SkuId, Timestamp, WareId, WareSkuId};
use actors::ports::store::{LedgerCursor, LedgerRow, LockRow, StoreError};

use crate::store::rows::{count, order_sn, order_status, unreadable};

/// `order_sn, ware_sku_id, sku_id, num, state` of a lock.
pub(in crate::store) type LockColumns = (String, i64, i64, i64, i64);

pub(in crate::store) fn lock_row((owner, ware_sku_id, sku_id, num, state): LockColumns) -> Result<LockRow, StoreError> {
    Ok(LockRow {
        order_sn: order_sn(&owner)?,
        line: LockLine {
            sku_id: SkuId(sku_id),
            ware_sku_id: WareSkuId(ware_sku_id),
            num: count("wms_stock_lock.num", num)?,
        },
        state: LockState::from_code(state).ok_or_else(|| unreadable("wms_stock_lock.state", state))?,
    })
}

/// A lock and the status of its order.
pub(in crate::store) type DueColumns = (String, i64, i64, i64, i64, i64);

/// A lock and how the status of its order wants it resolved.
pub(in crate::store) fn due_lock(
    (owner, ware_sku_id, sku_id, num, state, status): DueColumns,
) -> Result<(LockRow, LockState), StoreError> {
    let due = match order_status(status)?.is_paid() {
        true => LockState::Deducted,
        false => LockState::Released,
    };
    Ok((lock_row((owner, ware_sku_id, sku_id, num, state))?, due))
}

/// `id, ware_id, kind, delta, stock_after, reason, create_time` of a change of the units on hand.
pub(in crate::store) type LedgerColumns = (i64, i64, String, i64, i64, String, i64);

pub(in crate::store) fn ledger_row(
    (id, ware_id, kind, delta, stock_after, reason, at): LedgerColumns,
) -> Result<LedgerRow, StoreError> {
    let kind = LedgerKind::parse(&kind).ok_or_else(|| unreadable("wms_stock_ledger.kind", &kind))?;
    let (id, ware_id) = (LedgerCursor(id), WareId(ware_id));
    Ok(LedgerRow { id, ware_id, kind, delta, stock_after, reason, at: Timestamp(at) })
}
