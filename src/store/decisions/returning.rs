//! Return requests: whether one can be made, and where its units go.

use actors::domain::order::{OrderCommand, OrderStatus, apply};
use actors::domain::returns::{ReturnApply, ReturnState, is_too_late};
use actors::domain::stock::LockState;
use actors::domain::{Money, Timestamp, WareSkuId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{RequestReturn, ReturnRequest};

use super::refunding::{Account, Restock};
use crate::store::rows::count;

/// The line of an order that a request is about; without the item, the order has no such SKU.
#[derive(sqlx::FromRow)]
pub(in crate::store) struct ReturnLine {
    pub(in crate::store) member_username: String,
    pub(in crate::store) receiver_name: String,
    pub(in crate::store) receiver_phone: String,
    receive_time: Option<i64>,
    sku_name: Option<String>,
    sku_price: Option<i64>,
    sku_quantity: Option<i64>,
    /// Units of all requests that are not rejected.
    asked: i64,
}

/// The open request of a line: `id, status, sku_count, reason`.
pub(in crate::store) type OpenReturn = (i64, i64, i64, String);

/// What a new request takes from its order.
pub(in crate::store) struct NewReturn<'l> {
    pub(in crate::store) title: &'l str,
    pub(in crate::store) price: Money,
    pub(in crate::store) amount: Money,
    /// The order's, which stays.
    pub(in crate::store) status: OrderStatus,
}

/// What a request comes to: `Err` is the answer, `Ok` says to write it.
pub(in crate::store) fn judge_return<'l>(
    unit: &RequestReturn,
    line: &'l ReturnLine,
    open: Option<OpenReturn>,
    account: &Account,
    at: Timestamp,
) -> Result<Result<NewReturn<'l>, ReturnRequest>, StoreError> {
    let (Some(title), Some(price), Some(bought)) = (&line.sku_name, line.sku_price, line.sku_quantity) else {
        return Ok(Err(ReturnRequest::UnknownSku));
    };
    if let Some((id, state, quantity, reason)) = open {
        let is_pending = state == ReturnState::Pending.code();
        let same = is_pending && quantity == i64::from(unit.quantity) && reason == unit.reason;
        return Ok(Err(if same { ReturnRequest::Repeated(id) } else { ReturnRequest::Open(id) }));
    }
    if apply(account.status, OrderCommand::Return).is_err() || !account.is_paid() {
        return Ok(Err(ReturnRequest::WrongState(account.status)));
    }
    if is_too_late(line.receive_time.map(Timestamp), unit.window, at) {
        return Ok(Err(ReturnRequest::TooLate));
    }
    let returnable: u32 = count("units that may be returned", bought - line.asked)?;
    if unit.quantity > returnable {
        return Ok(Err(ReturnRequest::TooMany { returnable }));
    }
    let price = Money(price);
    let amount = price.checked_times(unit.quantity);
    let amount = amount.ok_or_else(|| StoreError::Inconsistent("the worth of a line overflows".into()))?;
    Ok(Ok(NewReturn { title, price, amount, status: account.status }))
}

/// Puts the units of a request back where they came from. `locks` are those of its SKU by ascending id: `ware_sku_id,
/// state`, and the units still out. `None` when they have not left the shelf yet.
pub(in crate::store) fn decide_restocking(
    request: &ReturnApply,
    locks: Vec<(i64, i64, i64)>,
) -> Result<Option<Restock>, StoreError> {
    if locks.iter().any(|(_, state, _)| *state != LockState::Deducted as i64) {
        return Ok(None);
    }
    let mut restock = Restock::default();
    let mut left = i64::from(request.quantity);
    for (id, _, out) in locks {
        let num = left.min(out);
        if num > 0 {
            left -= num;
            restock.put_back(WareSkuId(id), num);
        }
    }
    if left > 0 {
        return Err(StoreError::Inconsistent(format!("order {} has not so many units out", request.order_sn)));
    }
    Ok(Some(restock))
}
