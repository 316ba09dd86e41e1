//! Money of applied payments going back, with its points, and the goods of orders that are refunded whole.

use std::collections::BTreeMap;

use actors::domain::order::OrderStatus;
use actors::domain::payment::{Refund, RefundChannel, RefundRefusal, decide_refund};
use actors::domain::stock::LockState;
use actors::domain::{Money, OrderSn, Timestamp, TradeNo, UserId, WareSkuId, points};
use actors::ports::store::StoreError;
use actors::ports::store::units::{OrderRefund, RefundOrder};

use super::stock::StockChange;
use crate::store::rows::{order_status, trade_no, unreadable};

/// `member_id, status, pay_amount`, the trade of the applied payment, and what was given back of it.
pub(in crate::store) type AccountColumns = (i64, i64, i64, Option<String>, i64);

/// What a refund of an order depends on.
pub(in crate::store) struct Account {
    pub(in crate::store) user_id: UserId,
    pub(in crate::store) status: OrderStatus,
    pay_amount: Money,
    /// The applied payment, when there is one.
    trade: Option<TradeNo>,
    refunded: Money,
}

impl Account {
    pub(in crate::store) fn read(row: AccountColumns) -> Result<Self, StoreError> {
        let (member_id, status, pay_amount, trade, refunded) = row;
        Ok(Self {
            user_id: UserId(member_id),
            status: order_status(status)?,
            pay_amount: Money(pay_amount),
            trade: trade.as_deref().map(trade_no).transpose()?,
            refunded: Money(refunded),
        })
    }

    /// What is left to be given back.
    pub(in crate::store) fn refundable(&self) -> Money {
        if self.trade.is_none() { Money::ZERO } else { Money(self.pay_amount.0 - self.refunded.0) }
    }

    /// Whether there is an applied payment.
    pub(in crate::store) fn is_paid(&self) -> bool {
        self.trade.is_some()
    }

    /// The refund row of a checked amount. `None` when there is nothing to give.
    pub(in crate::store) fn refund(
        &self,
        order_sn: &OrderSn,
        amount: Money,
        (request_no, return_id): (&str, Option<i64>),
        at: Timestamp,
    ) -> Option<Refund> {
        let trade_no = self.trade.clone().filter(|_| amount > Money::ZERO)?;
        let channel = RefundChannel::of(&trade_no);
        Some(Refund {
            request_no: request_no.to_owned(),
            order_sn: order_sn.clone(),
            trade_no,
            amount,
            channel,
            return_id,
            created_at: at,
            confirmed_at: (channel == RefundChannel::Remittance).then_some(at),
        })
    }

    /// Points that a refund which is not in the account yet takes back, if they were credited.
    pub(in crate::store) fn points_lost(&self, refund: &Refund, points_per_yuan: u32) -> i64 {
        let lost = |refunded| points::lost(self.pay_amount, refunded, points_per_yuan);
        lost(Money(self.refunded.0 + refund.amount.0)) - lost(self.refunded)
    }
}

/// What a refund comes to: `Err` is the answer, `Ok` says to write the order's status and the refund row, if any.
pub(in crate::store) fn judge_refund(
    unit: &RefundOrder,
    account: &Account,
    earlier: Option<Refund>,
    at: Timestamp,
) -> Result<Result<(OrderStatus, Option<Refund>), OrderRefund>, StoreError> {
    if let Some(earlier) = earlier {
        if earlier.order_sn != unit.order_sn {
            return Err(StoreError::Constraint(format!("refund {} is another order's", unit.request_no)));
        }
        return Ok(Err(OrderRefund::Repeated(earlier)));
    }
    Ok(match decide_refund(account.status, account.refundable(), unit.scope) {
        Ok((to, amount)) => Ok((to, account.refund(&unit.order_sn, amount, (&unit.request_no, None), at))),
        Err(RefundRefusal::WrongState(_)) => Err(OrderRefund::WrongState(account.status)),
        Err(RefundRefusal::TooMuch { refundable }) => Err(OrderRefund::TooMuch { refundable }),
    })
}

/// Units of an order that come back.
#[derive(Default)]
pub(in crate::store) struct Restock {
    pub(in crate::store) stock: StockChange,
    /// Those that had left the shelf, for the ledger.
    pub(in crate::store) returned: BTreeMap<WareSkuId, i64>,
}

impl Restock {
    /// Puts units that had left it back on the shelf.
    pub(super) fn put_back(&mut self, id: WareSkuId, num: i64) {
        self.stock.add(id, num, 0);
        self.returned.insert(id, num);
    }
}

/// All open and deducted locks of an order, `ware_sku_id, state, num`, become RETURNED.
pub(in crate::store) fn decide_returning_locks(locks: Vec<(i64, i64, i64)>) -> Result<Restock, StoreError> {
    let mut restock = Restock::default();
    for (id, state, num) in locks {
        match LockState::from_code(state).ok_or_else(|| unreadable("wms_stock_lock.state", state))? {
            LockState::Locked => restock.stock.add(WareSkuId(id), 0, -num),
            _ => restock.put_back(WareSkuId(id), num),
        }
    }
    Ok(restock)
}
