//! Return requests.

use super::Batch;
use super::refunds::{give_back, put_back, refundable};
use super::tables::Tables;
use crate::domain::order::{self, Operator, OrderCommand};
use crate::domain::payment::{Refund, return_request_no};
use crate::domain::returns::{self, ReturnApply, ReturnCommand, ReturnState, is_too_late, worth};
use crate::domain::stock::LockState;
use crate::domain::{Money, WareSkuId};
use crate::ports::store::StoreError;
use crate::ports::store::units::{HandleReturn, RequestReturn, ReturnHandling, ReturnRequest};

pub(super) fn request(tables: &mut Tables, batch: &Batch, unit: &RequestReturn) -> Result<ReturnRequest, StoreError> {
    let Some(order) = tables.orders.get(&unit.order_sn).filter(|order| order.user_id == unit.user_id) else {
        return Ok(ReturnRequest::Unknown);
    };
    let Some(item) = order.item(unit.sku_id) else { return Ok(ReturnRequest::UnknownSku) };
    let of_line = || tables.returns.values().filter(|row| row.order_sn == unit.order_sn && row.sku_id == unit.sku_id);
    if let Some(open) = of_line().find(|row| row.state.is_open()) {
        let same = open.state == ReturnState::Pending && open.quantity == unit.quantity && open.reason == unit.reason;
        return Ok(if same { ReturnRequest::Repeated(open.id) } else { ReturnRequest::Open(open.id) });
    }
    let is_paid = refundable(tables, &unit.order_sn).is_some();
    if order::apply(order.status, OrderCommand::Return).is_err() || !is_paid {
        return Ok(ReturnRequest::WrongState(order.status));
    }
    if is_too_late(order.received_at, unit.window, batch.at) {
        return Ok(ReturnRequest::TooLate);
    }
    let asked: u32 = of_line().filter(|row| row.state.counts()).map(|row| row.quantity).sum();
    let returnable = item.quantity.saturating_sub(asked);
    if unit.quantity > returnable {
        return Ok(ReturnRequest::TooMany { returnable });
    }
    let amount = item.price.checked_times(unit.quantity);
    let apply = ReturnApply {
        id: tables.returns.last_key_value().map_or(0, |(id, _)| *id) + 1,
        order_sn: unit.order_sn.clone(),
        user_id: unit.user_id,
        sku_id: unit.sku_id,
        title: item.title.clone(),
        price: item.price,
        quantity: unit.quantity,
        amount: amount.ok_or_else(|| StoreError::Inconsistent("the worth of a line overflows".into()))?,
        reason: unit.reason.clone(),
        description: unit.description.clone(),
        state: ReturnState::Pending,
        created_at: batch.at,
        handled_at: None,
        handle_note: String::new(),
        received_at: None,
        receive_note: String::new(),
        restocked: false,
    };
    let id = apply.id;
    tables.returns.insert(id, apply);
    tables.add_history(batch, &unit.order_sn, Operator::User, &returns::history_note(id, ReturnState::Pending));
    Ok(ReturnRequest::Requested(id))
}

pub(super) fn handle(
    tables: &mut Tables,
    batch: &mut Batch,
    unit: &HandleReturn,
) -> Result<ReturnHandling, StoreError> {
    let Some(row) = tables.returns.get(&unit.return_id).cloned() else { return Ok(ReturnHandling::Unknown) };
    let Some(to) = returns::apply(row.state, unit.command) else { return Ok(ReturnHandling::WrongState(row.state)) };
    let mut changed = ReturnApply { state: to, ..row };
    let mut given = None;
    if unit.command == ReturnCommand::Receive {
        if unit.restock && !restock(tables, batch, &changed)? {
            return Ok(ReturnHandling::NotDeducted);
        }
        (changed.received_at, changed.restocked) = (Some(batch.at), unit.restock);
        changed.receive_note.clone_from(&unit.note);
        given = pay_back(tables, batch, &changed);
    } else {
        changed.handled_at = Some(batch.at);
        changed.handle_note.clone_from(&unit.note);
    }
    let note = returns::history_note(changed.id, to);
    tables.add_history(batch, &changed.order_sn, unit.operator, &note);
    let order_sn = changed.order_sn.clone();
    tables.returns.insert(changed.id, changed);
    Ok(ReturnHandling::Handled { order_sn, refund: given })
}

fn pay_back(tables: &mut Tables, batch: &Batch, row: &ReturnApply) -> Option<Refund> {
    let left = refundable(tables, &row.order_sn).map_or(Money::ZERO, |(_, left)| left);
    let amount = worth(row.price, row.quantity, left);
    give_back(tables, batch, &row.order_sn, amount, &return_request_no(row.id), Some(row.id))
}

/// Puts the units back where they came from; `false`, and nothing is done, when they have not left the shelf yet.
fn restock(tables: &mut Tables, batch: &mut Batch, row: &ReturnApply) -> Result<bool, StoreError> {
    let of_line = tables.locks_of_owner(&row.order_sn).filter(|lock| lock.line.sku_id == row.sku_id);
    let rows: Vec<(WareSkuId, LockState, i64)> =
        of_line.map(|lock| (lock.line.ware_sku_id, lock.state, lock.num() - lock.returned)).collect();
    if rows.iter().any(|(_, state, _)| *state != LockState::Deducted) {
        return Ok(false);
    }
    let mut left = i64::from(row.quantity);
    for (id, _, room) in rows {
        let num = left.min(room);
        if num == 0 {
            continue;
        }
        left -= num;
        put_back(tables, batch, id, num)?;
        if let Some(lock) = tables.locks.get_mut(&(row.order_sn.clone(), id)) {
            lock.returned += num;
        }
    }
    match left {
        0 => Ok(true),
        _ => Err(StoreError::Inconsistent(format!("order {} has not so many units out", row.order_sn))),
    }
}
