//! Units of stock: locks for others, what becomes of locks, what is on hand.

use std::time::Duration;

use crate::domain::order::{LockLine, OrderStatus};
use crate::domain::stock::{LockState, Resolution, StockRow};
use crate::domain::{OrderSn, SkuId, WareId};

/// Locks units for other systems (`/wms/waresku/check/lock`), with a lease. Many owners in one unit: they stand or
/// fall together on the guard ([`StockLocks::Stale`]), but an owner that already has lock rows is answered
/// [`StockLock::Exists`] and takes nothing more.
#[derive(Clone, Debug)]
pub struct LockStock {
    /// Who wants what; each owner once.
    pub requests: Vec<LockRequest>,
    /// How long the lock stands without being resolved.
    pub lease: Duration,
}

/// One owner's wish in [`LockStock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// The other system's order number.
    pub order_sn: OrderSn,
    /// The rows.
    pub lines: Vec<LockLine>,
}

/// Outcome of [`LockStock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StockLocks {
    /// One answer per request, in order.
    Done(Vec<StockLock>),
    /// These SKUs' rows are not as believed. Nothing was locked.
    Stale(Vec<SkuId>),
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockLock {
    /// Locked now.
    Locked,
    /// This owner's locks exist already; nothing was locked twice.
    Exists,
}

/// Resolves the locks that these owners hold on one SKU, each by compare-and-set from LOCKED (DESIGN rules 3, 4).
///
/// Deduct: stock −num, locked −num, lock DEDUCTED, one ledger row per batch and stock row. Release: lock RELEASED;
/// a lock of a flash sale that has not ended gives its unit back to the sale (undrawn +num, released +num, grant
/// RELEASED, locked unchanged); any other lowers locked, and of an ended sale also raises `released` and releases
/// the grant. An owner that is an order here is refused unless its status fits: release needs 4 or 5, deduct 1–3
/// (DESIGN section 7). With `lapsed_only`, only locks without an order and past their lease: an owner still in its lease
/// is answered [`LockResolved::Unknown`], one that is an order [`LockResolved::Refused`] whatever its status.
#[derive(Clone, Debug)]
pub struct ResolveLocks {
    /// The SKU.
    pub sku_id: SkuId,
    /// Which way.
    pub way: Resolution,
    /// The owners, each once.
    pub order_sns: Vec<OrderSn>,
    /// Only locks past their lease (sweep).
    pub lapsed_only: bool,
}

/// What became of one owner's locks on the SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockResolved {
    /// Resolved now, with the units.
    Now(i64),
    /// Resolved before, this way; nothing changed.
    Before(LockState),
    /// No lock of this owner on the SKU.
    Unknown,
    /// The order's status forbids it.
    Refused(OrderStatus),
}

/// Changes the units on hand by `delta`, never below what is locked. Makes the row of a known warehouse when missing.
/// Writes a ledger row.
#[derive(Clone, Debug)]
pub struct AdjustStock {
    /// The SKU.
    pub sku_id: SkuId,
    /// The warehouse.
    pub ware_id: WareId,
    /// Units to add (or take, when negative).
    pub delta: i64,
    /// Why.
    pub reason: String,
}

/// Outcome of [`AdjustStock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// The row now.
    Done(StockRow),
    /// It would fall below the locked units.
    BelowLocked(StockRow),
    /// No such warehouse.
    UnknownWarehouse,
    /// No such SKU in the catalogue.
    UnknownSku,
}
