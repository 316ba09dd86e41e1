//! Flash sales: their life, their grants, the orders of their winners.

use super::tables::{Allotment, Tables};
use super::{Batch, orders, stock};
use crate::domain::events::{Event, SecKill};
use crate::domain::flash_sale::{FlashSale, Grant, GrantState, SaleCommand, SalePhase, SaleState, next_state};
use crate::domain::order::{LockLine, NewOrder};
use crate::domain::{OrderSn, SaleId, SkuId, UserId, WareSkuId};
use crate::ports::store::StoreError;
use crate::ports::store::units::{
    ArmSale, CommitGrants, CreateSale, EditSale, EndSale, EpochRaise, FailGrants, FlashOrder, GrantBatch, GrantOutcome,
    MakeFlashOrders, PauseSale, RaiseEpoch, RestockSale, SaleArmed, SaleChange, SaleEdit, SaleRestock,
};

pub(super) fn create(tables: &mut Tables, unit: &CreateSale) -> SaleId {
    let id = SaleId(tables.sales.last_key_value().map_or(0, |(id, _)| id.0) + 1);
    let new = &unit.sale;
    let sale = FlashSale {
        id,
        sku_id: new.sku_id,
        price: new.price,
        count: new.count,
        per_user_limit: new.per_user_limit,
        starts_at: new.starts_at,
        ends_at: new.ends_at,
        challenge: new.challenge,
        state: SaleState::Draft,
        epoch: 0,
        granted: 0,
        released: 0,
    };
    tables.sales.insert(id, sale);
    id
}

pub(super) fn arm(tables: &mut Tables, batch: &mut Batch, unit: &ArmSale) -> Result<SaleArmed, StoreError> {
    let Some(sale) = tables.sales.get(&unit.sale_id).cloned() else { return Ok(SaleArmed::WrongState(None)) };
    let Some(armed) = next_state(sale.state, SaleCommand::Arm) else {
        return Ok(SaleArmed::WrongState(Some(sale.state)));
    };
    if let Some(other) = open_sale_of(tables, sale.sku_id) {
        return Ok(SaleArmed::Conflict(other));
    }
    if batch.at >= sale.ends_at {
        return Ok(SaleArmed::Over);
    }
    let units: i64 = unit.allotments.iter().map(|line| i64::from(line.num)).sum();
    if units != sale.count {
        return Err(StoreError::Constraint(format!("sale {} of {} gets {units} units", sale.id, sale.count)));
    }
    let stale = tables.stale_skus(&unit.allotments);
    if !stale.is_empty() {
        return Ok(SaleArmed::Stale(stale));
    }
    carve_out(tables, batch, sale.id, &unit.allotments)?;
    let epoch = sale.epoch + 1;
    tables.sales.insert(sale.id, FlashSale { state: armed, epoch, ..sale });
    Ok(SaleArmed::Armed(epoch))
}

pub(super) fn edit(tables: &mut Tables, unit: &EditSale) -> SaleEdit {
    let Some(sale) = tables.sales.get_mut(&unit.sale_id) else { return SaleEdit::WrongState(None) };
    if sale.state != SaleState::Draft {
        return SaleEdit::WrongState(Some(sale.state));
    }
    if sale.terms() != unit.seen {
        return SaleEdit::Changed;
    }
    let new = &unit.sale;
    (sale.price, sale.count, sale.per_user_limit) = (new.price, new.count, new.per_user_limit);
    (sale.starts_at, sale.ends_at, sale.challenge) = (new.starts_at, new.ends_at, new.challenge);
    SaleEdit::Done
}

pub(super) fn restock(tables: &mut Tables, batch: &mut Batch, unit: &RestockSale) -> Result<SaleRestock, StoreError> {
    let Some(sale) = tables.sales.get(&unit.sale_id).cloned() else { return Ok(SaleRestock::WrongState(None)) };
    if !is_open(sale.state) {
        return Ok(SaleRestock::WrongState(Some(sale.state)));
    }
    let stale = tables.stale_skus(&unit.allotments);
    if !stale.is_empty() {
        return Ok(SaleRestock::Stale(stale));
    }
    let units: i64 = unit.allotments.iter().map(|line| i64::from(line.num)).sum();
    carve_out(tables, batch, sale.id, &unit.allotments)?;
    let count = sale.count + units;
    tables.sales.insert(sale.id, FlashSale { count, ..sale });
    Ok(SaleRestock::Done(count))
}

/// Locks the units and notes them as the sale's.
fn carve_out(tables: &mut Tables, batch: &mut Batch, sale_id: SaleId, lines: &[LockLine]) -> Result<(), StoreError> {
    stock::promise(tables, batch, lines)?;
    for line in lines {
        let allotment = tables.allotments.entry((sale_id, line.ware_sku_id)).or_insert(Allotment { undrawn: 0 });
        allotment.undrawn += i64::from(line.num);
    }
    Ok(())
}

pub(super) fn open_sale_of(tables: &Tables, sku_id: SkuId) -> Option<SaleId> {
    let open = |sale: &&FlashSale| sale.sku_id == sku_id && is_open(sale.state);
    tables.sales.values().find(open).map(|sale| sale.id)
}

pub(super) fn is_open(state: SaleState) -> bool {
    matches!(state, SaleState::Armed | SaleState::Paused)
}

pub(super) fn pause(tables: &mut Tables, unit: &PauseSale) -> SaleChange {
    let Some(sale) = tables.sales.get_mut(&unit.sale_id) else { return SaleChange::WrongState(None) };
    let command = if unit.paused { SaleCommand::Pause } else { SaleCommand::Resume };
    let Some(state) = next_state(sale.state, command) else { return SaleChange::WrongState(Some(sale.state)) };
    sale.state = state;
    SaleChange::Done
}

pub(super) fn end(tables: &mut Tables, batch: &mut Batch, unit: &EndSale) -> Result<SaleChange, StoreError> {
    let Some(sale) = tables.sales.get_mut(&unit.sale_id) else { return Ok(SaleChange::WrongState(None)) };
    if sale.state == SaleState::Ended {
        return Ok(SaleChange::Done);
    }
    sale.state = SaleState::Ended;
    tables.ended_at.insert(unit.sale_id, batch.at);
    let needed = tables.grants.iter().filter(|grant| grant.sale_id == unit.sale_id && is_waiting(tables, grant));
    let spare = tables.undrawn_of(unit.sale_id) - i64::try_from(needed.count()).unwrap_or(i64::MAX);
    give_back(tables, batch, unit.sale_id, spare)?;
    Ok(SaleChange::Done)
}

/// Takes undrawn units of an ended sale back into ordinary stock.
fn give_back(tables: &mut Tables, batch: &mut Batch, sale_id: SaleId, units: i64) -> Result<(), StoreError> {
    if units < 0 {
        return Err(StoreError::Inconsistent(format!("sale {sale_id} has fewer units than open grants")));
    }
    let mut left = units;
    let allotments: Vec<(WareSkuId, Allotment)> = tables.allotments_of(sale_id).collect();
    for (id, allotment) in allotments {
        let back = allotment.undrawn.min(left);
        if back > 0 {
            tables.add_undrawn(sale_id, id, -back)?;
            tables.change_stock(batch, id, 0, -back)?;
            left -= back;
        }
    }
    if left > 0 {
        return Err(StoreError::Inconsistent(format!("sale {sale_id} has no unit to give back")));
    }
    Ok(())
}

/// Whether a grant is GRANTED and has no order yet.
pub(super) fn is_waiting(tables: &Tables, grant: &Grant) -> bool {
    grant.state == GrantState::Granted && !tables.orders.contains_key(&grant.order_sn)
}

pub(super) fn raise_epoch(tables: &mut Tables, unit: &RaiseEpoch) -> EpochRaise {
    let Some(sale) = tables.sales.get_mut(&unit.sale_id) else { return EpochRaise::Lost(None) };
    if sale.epoch != unit.from {
        return EpochRaise::Lost(Some(sale.epoch));
    }
    sale.epoch += 1;
    EpochRaise::Raised(sale.epoch)
}

pub(super) fn commit_grants(
    tables: &mut Tables,
    batch: &mut Batch,
    unit: &CommitGrants,
) -> Result<GrantBatch, StoreError> {
    let Some(sale) = tables.sales.get(&unit.sale_id) else { return Ok(GrantBatch::NotLive) };
    if sale.phase(batch.at) != SalePhase::Live {
        return Ok(GrantBatch::NotLive);
    }
    if sale.epoch != unit.epoch {
        return Ok(GrantBatch::OtherEpoch);
    }
    let decide = |(user_id, order_sn): &(UserId, OrderSn)| grant(tables, batch, unit.sale_id, *user_id, order_sn);
    Ok(GrantBatch::Decided(unit.winners.iter().map(decide).collect::<Result<_, _>>()?))
}

fn grant(
    tables: &mut Tables,
    batch: &mut Batch,
    sale_id: SaleId,
    user_id: UserId,
    order_sn: &OrderSn,
) -> Result<GrantOutcome, StoreError> {
    let sale = tables.sales.get(&sale_id).ok_or_else(|| StoreError::Inconsistent(format!("no sale {sale_id}")))?;
    let held: Vec<&Grant> = held_by(tables, sale_id, user_id).collect();
    let at_limit = held.len() >= usize::try_from(sale.per_user_limit).unwrap_or(usize::MAX);
    if let Some(first) = held.first().filter(|_| at_limit) {
        return Ok(GrantOutcome::LimitReached(first.order_sn.clone()));
    }
    if sale.remaining() <= 0 {
        return Ok(GrantOutcome::SoldOut);
    }
    if tables.grants.iter().any(|grant| grant.order_sn == *order_sn) {
        return Err(StoreError::Constraint(format!("grant {order_sn} exists")));
    }
    let won = SecKill { order_token: order_sn.clone(), sku_id: sale.sku_id, num: 1, user_id, sale_id };
    batch.events.push(Event::SecKill(won));
    tables.grants.push(Grant {
        order_sn: order_sn.clone(),
        sale_id,
        user_id,
        state: GrantState::Granted,
        reason: None,
        ordered: false,
        created_at: batch.at,
    });
    if let Some(sale) = tables.sales.get_mut(&sale_id) {
        sale.granted += 1;
    }
    Ok(GrantOutcome::Granted)
}

/// A user's grants that count against the limit, oldest first.
pub(super) fn held_by(tables: &Tables, sale_id: SaleId, user_id: UserId) -> impl Iterator<Item = &Grant> {
    tables
        .grants
        .iter()
        .filter(move |grant| grant.sale_id == sale_id && grant.user_id == user_id && grant.state != GrantState::Failed)
}

pub(super) fn make_orders(
    tables: &mut Tables,
    batch: &mut Batch,
    unit: &MakeFlashOrders,
) -> Result<Vec<FlashOrder>, StoreError> {
    unit.orders.iter().map(|order| make_order(tables, batch, order)).collect()
}

fn make_order(tables: &mut Tables, batch: &mut Batch, new: &NewOrder) -> Result<FlashOrder, StoreError> {
    if tables.orders.contains_key(&new.order_sn) {
        return Ok(FlashOrder::Exists);
    }
    let granted = |grant: &&Grant| {
        grant.order_sn == new.order_sn
            && grant.state == GrantState::Granted
            && Some(grant.sale_id) == new.sale_id
            && grant.user_id == new.user_id
    };
    let Some(sale_id) = tables.grants.iter().find(granted).map(|grant| grant.sale_id) else {
        return Ok(FlashOrder::NotGranted);
    };
    let Some((id, _)) = tables.allotments_of(sale_id).find(|(_, allotment)| allotment.undrawn > 0) else {
        return Ok(FlashOrder::NoUnit);
    };
    let sku_id = tables.stock.get(&id).map(|row| row.sku_id);
    let sku_id = sku_id.ok_or_else(|| StoreError::Inconsistent(format!("no stock row {id}")))?;
    orders::save(tables, batch, new)?;
    tables.add_undrawn(sale_id, id, -1)?;
    let line = LockLine { sku_id, ware_sku_id: id, num: 1 };
    tables.add_locks(&new.order_sn, &[line], Some(sale_id), None, batch.at)?;
    Ok(FlashOrder::Made)
}

pub(super) fn fail_grants(tables: &mut Tables, batch: &mut Batch, unit: &FailGrants) -> Result<Vec<bool>, StoreError> {
    unit.grants.iter().map(|(order_sn, reason)| fail_grant(tables, batch, order_sn, reason)).collect()
}

fn fail_grant(tables: &mut Tables, batch: &mut Batch, order_sn: &OrderSn, reason: &str) -> Result<bool, StoreError> {
    let waiting = |grant: &Grant| grant.order_sn == *order_sn && is_waiting(tables, grant);
    let Some(place) = tables.grants.iter().position(waiting) else { return Ok(false) };
    let grant = &mut tables.grants[place];
    grant.state = GrantState::Failed;
    grant.reason = Some(reason.to_owned());
    let sale_id = grant.sale_id;
    let sale = tables.sales.get_mut(&sale_id);
    let sale = sale.ok_or_else(|| StoreError::Inconsistent(format!("grant {order_sn} names no sale")))?;
    sale.released += 1;
    if sale.state == SaleState::Ended {
        give_back(tables, batch, sale_id, 1)?;
    }
    Ok(true)
}
