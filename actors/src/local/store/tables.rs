//! The tables, and the few helpers that several kinds of change share.

use std::collections::{BTreeMap, BTreeSet};

use super::Batch;
use crate::domain::events::Message;
use crate::domain::flash_sale::{FlashSale, Grant};
use crate::domain::order::{LockLine, Operator, Order, OrderHistory, OrderStatus};
use crate::domain::payment::Refund;
use crate::domain::returns::ReturnApply;
use crate::domain::stock::{LedgerKind, LockState, StockRow};
use crate::domain::{OrderSn, SaleId, SkuId, Timestamp, UserId, WareId, WareSkuId};
use crate::ports::store::{Address, KeptRequest, Member, ParkedMessage, PaymentRow, QueuedMessage, Sku, StoreError};

/// Every table. Row ids and places in a `Vec` grow with time, so "oldest first" is their order.
#[derive(Clone, Default)]
pub(super) struct Tables {
    pub skus: BTreeMap<SkuId, Sku>,
    pub warehouses: BTreeMap<WareId, String>,
    pub stock: BTreeMap<WareSkuId, StockRow>,
    pub ledger: Vec<LedgerEntry>,
    pub locks: BTreeMap<(OrderSn, WareSkuId), Lock>,
    pub orders: BTreeMap<OrderSn, Order>,
    pub tokens: BTreeMap<(UserId, String), OrderSn>,
    pub history: Vec<(OrderSn, OrderHistory)>,
    pub timed_out_at: BTreeMap<OrderSn, Timestamp>,
    pub payments: Vec<PaymentRow>,
    pub refunds: BTreeMap<String, Refund>,
    pub returns: BTreeMap<i64, ReturnApply>,
    pub sales: BTreeMap<SaleId, FlashSale>,
    pub ended_at: BTreeMap<SaleId, Timestamp>,
    pub allotments: BTreeMap<(SaleId, WareSkuId), Allotment>,
    pub grants: Vec<Grant>,
    pub members: BTreeMap<UserId, Member>,
    pub addresses: Vec<Address>,
    pub points: Vec<PointsEntry>,
    pub carts: BTreeMap<(UserId, SkuId), u32>,
    pub outbox: Vec<Outgoing>,
    pub inbox: BTreeMap<String, Timestamp>,
    pub queue: BTreeMap<String, QueuedMessage>,
    pub parked: Vec<ParkedMessage>,
    pub requests: BTreeMap<(UserId, String, String), (KeptRequest, Timestamp)>,
}

#[derive(Clone)]
pub(super) struct LedgerEntry {
    pub ware_sku_id: WareSkuId,
    pub kind: LedgerKind,
    pub delta: i64,
    pub stock_after: i64,
    pub reason: String,
    pub at: Timestamp,
}

#[derive(Clone)]
pub(super) struct Lock {
    pub line: LockLine,
    pub state: LockState,
    pub sale_id: Option<SaleId>,
    pub lease_until: Option<Timestamp>,
    pub created_at: Timestamp,
    /// Units that came back to stock.
    pub returned: i64,
}

impl Lock {
    pub fn num(&self) -> i64 {
        i64::from(self.line.num)
    }
}

#[derive(Clone, Copy)]
pub(super) struct Allotment {
    pub undrawn: i64,
}

/// A row of both points histories; the opening balance has no order. What a refund takes back is a row below zero.
#[derive(Clone)]
pub(super) struct PointsEntry {
    pub user_id: UserId,
    pub order_sn: Option<OrderSn>,
    pub integration: i64,
}

#[derive(Clone)]
pub(super) struct Outgoing {
    pub message: Message,
    pub created_at: Timestamp,
    pub published_at: Option<Timestamp>,
}

impl Tables {
    pub fn add_outbox(&mut self, messages: &[Message], at: Timestamp) {
        let rows =
            messages.iter().map(|message| Outgoing { message: message.clone(), created_at: at, published_at: None });
        self.outbox.extend(rows);
    }

    pub fn add_history(&mut self, batch: &Batch, order_sn: &OrderSn, operator: Operator, note: &str) {
        let Some(order) = self.orders.get(order_sn) else { return };
        let row = OrderHistory { operator, at: batch.at, status: order.status, note: note.to_owned() };
        self.history.push((order_sn.clone(), row));
    }

    pub fn set_status(&mut self, order_sn: &OrderSn, status: OrderStatus, at: Timestamp) {
        if let Some(order) = self.orders.get_mut(order_sn) {
            order.status = status;
            order.modified_at = at;
        }
    }

    pub fn status_of(&self, order_sn: &OrderSn) -> Option<OrderStatus> {
        self.orders.get(order_sn).map(|order| order.status)
    }

    /// The SKUs of those stock rows that cannot take these lines on top of what is locked.
    pub fn stale_skus(&self, lines: &[LockLine]) -> Vec<SkuId> {
        let mut wanted: BTreeMap<WareSkuId, (SkuId, i64)> = BTreeMap::new();
        for line in lines {
            wanted.entry(line.ware_sku_id).or_insert((line.sku_id, 0)).1 += i64::from(line.num);
        }
        let fits = |id: &WareSkuId, num: i64| self.stock.get(id).is_some_and(|row| row.available() >= num);
        let stale: BTreeSet<SkuId> =
            wanted.iter().filter(|(id, (_, num))| !fits(id, *num)).map(|(_, (sku_id, _))| *sku_id).collect();
        stale.into_iter().collect()
    }

    /// Changes a stock row by these deltas, which the caller has checked.
    pub fn change_stock(
        &mut self,
        batch: &mut Batch,
        id: WareSkuId,
        stock_delta: i64,
        locked_delta: i64,
    ) -> Result<StockRow, StoreError> {
        let row = self.stock.get_mut(&id).ok_or_else(|| StoreError::Inconsistent(format!("no stock row {id}")))?;
        row.stock += stock_delta;
        row.locked += locked_delta;
        row.version += 1;
        if !(0..=row.stock).contains(&row.locked) {
            return Err(StoreError::Inconsistent(format!("stock row {id}: {} of {} locked", row.locked, row.stock)));
        }
        batch.changed_rows.insert(id);
        Ok(*row)
    }

    /// Notes a change of the units on hand that was just made.
    pub fn add_ledger(&mut self, at: Timestamp, id: WareSkuId, kind: LedgerKind, delta: i64, reason: &str) {
        let stock_after = self.stock.get(&id).map_or(0, |row| row.stock);
        self.ledger.push(LedgerEntry { ware_sku_id: id, kind, delta, stock_after, reason: reason.to_owned(), at });
    }

    /// Adds lock rows for an owner that has none.
    pub fn add_locks(
        &mut self,
        order_sn: &OrderSn,
        lines: &[LockLine],
        sale_id: Option<SaleId>,
        lease_until: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        for line in lines {
            let lock = Lock {
                line: line.clone(),
                state: LockState::Locked,
                sale_id,
                lease_until,
                created_at: at,
                returned: 0,
            };
            if self.locks.insert((order_sn.clone(), line.ware_sku_id), lock).is_some() {
                return Err(StoreError::Constraint(format!("{order_sn} has a lock on row {}", line.ware_sku_id)));
            }
        }
        Ok(())
    }

    pub fn locks_of_owner(&self, order_sn: &OrderSn) -> impl Iterator<Item = &Lock> {
        let first = (order_sn.clone(), WareSkuId(i64::MIN));
        let last = (order_sn.clone(), WareSkuId(i64::MAX));
        self.locks.range(first..=last).map(|(_, lock)| lock)
    }

    pub fn undrawn_of(&self, sale_id: SaleId) -> i64 {
        self.allotments_of(sale_id).map(|(_, allotment)| allotment.undrawn).sum()
    }

    pub fn allotments_of(&self, sale_id: SaleId) -> impl Iterator<Item = (WareSkuId, Allotment)> {
        let range = (sale_id, WareSkuId(i64::MIN))..=(sale_id, WareSkuId(i64::MAX));
        self.allotments.range(range).map(|((_, id), allotment)| (*id, *allotment))
    }

    pub fn add_undrawn(&mut self, sale_id: SaleId, id: WareSkuId, delta: i64) -> Result<(), StoreError> {
        let allotment = self
            .allotments
            .get_mut(&(sale_id, id))
            .ok_or_else(|| StoreError::Inconsistent(format!("sale {sale_id} has no allotment on row {id}")))?;
        allotment.undrawn += delta;
        Ok(())
    }
}
