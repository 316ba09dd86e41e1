//! Resolving locks, and giving the units of an ended sale back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use actors::domain::flash_sale::SaleState;
use actors::domain::order::OrderStatus;
use actors::domain::stock::{LockState, Resolution};
use actors::domain::{OrderSn, SaleId, SkuId, Timestamp, WareSkuId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{LockResolved, ResolveLocks};

use super::flash_orders::Undrawn;
use super::stock::StockChange;
use crate::store::batch::Placed;
use crate::store::columns::sale_state;
use crate::store::rows::{order_sn, order_status, unreadable};

/// What is added to the undrawn units of allotments.
pub(in crate::store) type AllotmentChange = BTreeMap<(SaleId, WareSkuId), i64>;

/// A lock row with what its resolution depends on.
pub(in crate::store) struct Held {
    ware_sku_id: WareSkuId,
    num: i64,
    state: LockState,
    sale: Option<(SaleId, SaleState)>,
    lease_until: Option<Timestamp>,
    order: Option<OrderStatus>,
}

/// A lock, the status of its order, and the id and state of its sale:
/// `order_sn, sku_id, ware_sku_id, num, state, lease_until, status, sale id, sale state`.
pub(in crate::store) type HeldColumns =
    (String, i64, i64, i64, i64, Option<i64>, Option<i64>, Option<i64>, Option<i64>);

/// Locks by SKU and owner.
#[derive(Default)]
pub(in crate::store) struct HeldLocks(HashMap<(SkuId, OrderSn), Vec<Held>>);

impl HeldLocks {
    pub(in crate::store) fn read(rows: Vec<HeldColumns>) -> Result<Self, StoreError> {
        let mut held = Self::default();
        for (owner, sku_id, ware_sku_id, num, state, lease_until, status, sale_id, sale_state) in rows {
            let lock = Held {
                ware_sku_id: WareSkuId(ware_sku_id),
                num,
                state: LockState::from_code(state).ok_or_else(|| unreadable("wms_stock_lock.state", state))?,
                sale: sale_id.zip(sale_state).map(sale_of_lock).transpose()?,
                lease_until: lease_until.map(Timestamp),
                order: status.map(order_status).transpose()?,
            };
            held.0.entry((SkuId(sku_id), order_sn(&owner)?)).or_default().push(lock);
        }
        Ok(held)
    }
}

fn sale_of_lock((id, state): (i64, i64)) -> Result<(SaleId, SaleState), StoreError> {
    Ok((SaleId(id), sale_state(state)?))
}

/// The SKUs and owners that units ask for, each once.
pub(in crate::store) fn asked_locks<'u>(units: &[Placed<'u, ResolveLocks>]) -> BTreeSet<(SkuId, &'u OrderSn)> {
    units.iter().flat_map(|&(_, unit)| unit.order_sns.iter().map(|owner| (unit.sku_id, owner))).collect()
}

/// What the resolutions of a group add up to.
#[derive(Default)]
pub(in crate::store) struct Resolved {
    /// Lock rows and their new states.
    pub(in crate::store) locks: Vec<(OrderSn, WareSkuId, LockState)>,
    pub(in crate::store) stock: StockChange,
    /// What leaves the stock rows, for the ledger.
    pub(in crate::store) sold: BTreeMap<WareSkuId, i64>,
    /// Units that go back to the allotments of their sales.
    pub(in crate::store) given_back: AllotmentChange,
    /// Units that their sales may sell again.
    pub(in crate::store) released: BTreeMap<SaleId, i64>,
    /// Grants that are over.
    pub(in crate::store) grants: Vec<OrderSn>,
}

/// Decides the units one after the other: their answers, and what they add up to.
pub(in crate::store) fn decide_resolving(
    units: &[Placed<'_, ResolveLocks>],
    mut held: HeldLocks,
    at: Timestamp,
) -> (Vec<Vec<LockResolved>>, Resolved) {
    let mut resolved = Resolved::default();
    let mut answers = Vec::with_capacity(units.len());
    for (_, unit) in units {
        let one = |owner: &OrderSn| match held.0.get_mut(&(unit.sku_id, owner.clone())) {
            Some(locks) => resolve_owner(owner, locks, unit, at, &mut resolved),
            None => LockResolved::Unknown,
        };
        answers.push(unit.order_sns.iter().map(one).collect());
    }
    (answers, resolved)
}

fn resolve_owner(
    owner: &OrderSn,
    locks: &mut [Held],
    unit: &ResolveLocks,
    now: Timestamp,
    resolved: &mut Resolved,
) -> LockResolved {
    let Some(open) = locks.iter().find(|lock| lock.state == LockState::Locked) else {
        return locks.first().map_or(LockResolved::Unknown, |lock| LockResolved::Before(lock.state));
    };
    if let Some(status) = open.order.filter(|&status| unit.lapsed_only || !fits(status, unit.way)) {
        return LockResolved::Refused(status);
    }
    if unit.lapsed_only && open.lease_until.is_none_or(|until| until > now) {
        return LockResolved::Unknown;
    }
    let mut units = 0;
    for lock in locks.iter_mut().filter(|lock| lock.state == LockState::Locked) {
        lock.state = unit.way.target();
        units += lock.num;
        resolved.add(owner, lock);
    }
    LockResolved::Now(units)
}

const fn fits(status: OrderStatus, way: Resolution) -> bool {
    match way {
        Resolution::Deduct => status.is_paid(),
        Resolution::Release => status.is_over_unsold(),
    }
}

impl Resolved {
    /// Takes in a lock whose state is the new one.
    fn add(&mut self, owner: &OrderSn, lock: &Held) {
        self.locks.push((owner.clone(), lock.ware_sku_id, lock.state));
        if lock.state == LockState::Deducted {
            self.stock.add(lock.ware_sku_id, -lock.num, -lock.num);
            *self.sold.entry(lock.ware_sku_id).or_default() -= lock.num;
            return;
        }
        let Some((sale_id, sale_state)) = lock.sale else {
            self.stock.add(lock.ware_sku_id, 0, -lock.num);
            return;
        };
        *self.released.entry(sale_id).or_default() += lock.num;
        self.grants.push(owner.clone());
        match sale_state {
            SaleState::Ended => self.stock.add(lock.ware_sku_id, 0, -lock.num),
            _ => *self.given_back.entry((sale_id, lock.ware_sku_id)).or_default() += lock.num,
        }
    }
}

/// How `units` undrawn units of an ended sale go back to ordinary stock: what the stock rows and what the allotments
/// change by.
pub(in crate::store) fn decide_giving_back(
    sale_id: SaleId,
    undrawn: &Undrawn,
    units: i64,
) -> Result<(StockChange, AllotmentChange), StoreError> {
    let mut left = units;
    let mut change = StockChange::default();
    let mut taken = BTreeMap::new();
    for (allotment, (_, undrawn)) in undrawn {
        let back = left.min(*undrawn);
        if back > 0 {
            change.add(allotment.1, 0, -back);
            taken.insert(*allotment, -back);
            left -= back;
        }
    }
    if left != 0 {
        return Err(StoreError::Inconsistent(format!("sale {sale_id} lacks {left} of {units} units to give back")));
    }
    Ok((change, taken))
}
