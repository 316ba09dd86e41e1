//! What may happen next.

use std::time::Duration;

use super::super::values::{cancelling, flash_order, foreign, line, payment, receiver, request, timing_out, trade_no};
use super::super::world::{LEASE, PHONE};
use super::{BUYERS, KnownOrder, Life, mail};
use crate::domain::flash_sale::{FlashSale, NewFlashSale, SaleState};
use crate::domain::order::{LockLine, PayType};
use crate::domain::payment::{Receipt, refund_request_no};
use crate::domain::stock::{Resolution, StockRow};
use crate::domain::{Money, OrderSn, UserId, WareId};
use crate::ports::store::RequestKey;
use crate::ports::store::units::{
    AdjustStock, ArmSale, CommitGrants, CreateSale, EndSale, FailGrants, IssuePayPage, KeepRequest, LockStock,
    MakeFlashOrders, PauseSale, RaiseEpoch, RestockSale, SetReceiver, SettleRefund, WriteUnit,
};

impl Life {
    /// One thing that happens; mostly one unit.
    pub(super) fn think(&mut self) -> Vec<WriteUnit> {
        match self.dice.below(62) {
            0..=5 => vec![self.place()],
            6..=7 => vec![self.lock()],
            8..=10 => self.resolve(),
            11..=12 => vec![self.adjust()],
            13 => vec![self.create_sale()],
            14..=15 => self.arm(),
            16..=18 => self.change_sale(),
            19..=23 => self.grant(),
            24..=25 => self.make_or_fail(),
            26..=29 => vec![self.pay()],
            30..=31 => vec![self.close()],
            32 => vec![IssuePayPage { order_sn: self.some_order_sn(), asked: self.some_key() }.into()],
            33 => self.settle(),
            34..=50 => vec![self.fulfil()],
            51..=52 => self.restock(),
            53 => self.send_elsewhere(),
            _ => self.deliver(),
        }
    }

    pub(super) fn pick<'a, T>(&self, list: &'a [T]) -> Option<&'a T> {
        (!list.is_empty()).then(|| &list[self.dice.below(list.len())])
    }

    fn nobodys_order(&self) -> KnownOrder {
        KnownOrder { order_sn: self.world.number(), user_id: self.some_buyer(), pay_amount: Money(1) }
    }

    /// A known order, seldom an unknown one.
    pub(super) fn some_order(&self) -> KnownOrder {
        let known = self.pick(&self.orders).filter(|_| !self.dice.one_in(20)).cloned();
        known.unwrap_or_else(|| self.nobodys_order())
    }

    fn some_buyer(&self) -> UserId {
        BUYERS[self.dice.below(BUYERS.len())]
    }

    /// A known order's number, seldom an unknown one.
    fn some_order_sn(&self) -> OrderSn {
        self.some_order().order_sn
    }

    /// One or two distinct rows, a few units each, seldom more than there can be.
    fn some_lines(&self) -> Vec<LockLine> {
        let mut rows: Vec<StockRow> = self.rows.clone();
        self.dice.shuffle(&mut rows);
        rows.truncate(1 + self.dice.below(2));
        let units = |life: &Self| if life.dice.one_in(12) { 15 } else { 1 + life.dice.below(3) };
        rows.iter().map(|row| line(row, u32::try_from(units(self)).unwrap_or(1))).collect()
    }

    fn place(&self) -> WriteUnit {
        let mut unit = self.world.placing(self.some_buyer(), &self.some_lines());
        if self.dice.one_in(8) {
            unit.order.pay_type = PayType::CashOnDelivery;
        }
        if let Some((user_id, token)) = self.pick(&self.tokens).filter(|_| self.dice.one_in(8)) {
            (unit.order.user_id, unit.token) = (*user_id, token.clone());
        }
        if self.dice.one_in(6) {
            let key = format!("key-{}", self.dice.below(8));
            unit.request = Some(RequestKey { operation: "orders", digest: format!("digest of {key}"), key });
        }
        unit.into()
    }

    /// Seldom a key, seldom one that is kept already.
    pub(super) fn some_key(&self) -> Option<KeepRequest> {
        let user_id = self.some_buyer();
        let key = format!("key-{}", if self.dice.one_in(8) { 0 } else { self.dice.below(100_000) });
        let request = RequestKey { operation: "changes", digest: format!("digest of {key}"), key };
        self.dice.one_in(4).then_some(KeepRequest { user_id, request })
    }

    fn lock(&mut self) -> WriteUnit {
        let mut requests = Vec::new();
        for _ in 0..=self.dice.below(3) {
            let owner = foreign(&format!("other-{}", self.owners.len()));
            self.owners.push(owner.clone());
            requests.push(request(&owner, &self.some_lines()));
        }
        LockStock { requests, lease: LEASE }.into()
    }

    fn resolve(&self) -> Vec<WriteUnit> {
        let way = if self.dice.one_in(2) { Resolution::Deduct } else { Resolution::Release };
        let order_sn = match self.pick(&self.owners).filter(|_| !self.dice.one_in(4)) {
            Some(owner) => owner.clone(),
            None => self.some_order_sn(),
        };
        mail::resolving(way, &[order_sn], self.dice.one_in(3))
    }

    fn adjust(&self) -> WriteUnit {
        let row = self.pick(&self.rows).expect("a life begins with stock");
        let ware_id = if self.dice.one_in(10) { WareId(77) } else { row.ware_id };
        let delta = i64::try_from(self.dice.below(12)).unwrap_or(0) - 3;
        AdjustStock { sku_id: row.sku_id, ware_id, delta, reason: "count".into() }.into()
    }

    fn create_sale(&self) -> WriteUnit {
        let count = 1 + u32::try_from(self.dice.below(4)).unwrap_or(0);
        let sale = self.world.new_sale(count, 1 + u32::from(self.dice.one_in(3)));
        let starts_at = sale.starts_at.plus(Duration::from_secs(if self.dice.one_in(4) { 60 } else { 0 }));
        let ends_at = sale.ends_at.plus(Duration::from_secs(if self.dice.one_in(4) { 0 } else { 4 * 3600 }));
        CreateSale { sale: NewFlashSale { starts_at, ends_at, ..sale } }.into()
    }

    fn some_sale(&self, wanted: impl Fn(SaleState) -> bool) -> Option<&FlashSale> {
        let fitting: Vec<&FlashSale> = self.sales.iter().filter(|sale| wanted(sale.state)).collect();
        match self.pick(&fitting).filter(|_| !self.dice.one_in(5)) {
            Some(sale) => Some(sale),
            None => self.pick(&self.sales),
        }
    }

    fn arm(&self) -> Vec<WriteUnit> {
        let Some(sale) = self.some_sale(|state| state == SaleState::Draft) else { return Vec::new() };
        let phones: Vec<&StockRow> = self.rows.iter().filter(|row| row.sku_id == PHONE).collect();
        let count = u32::try_from(sale.count).unwrap_or(1);
        let allotments = match (&self.twin, phones.as_slice()) {
            (None, [first, second]) if count > 1 => vec![line(first, 1), line(second, count - 1)],
            _ => self.pick(&phones).map(|row| line(row, count)).into_iter().collect(),
        };
        vec![ArmSale { sale_id: sale.id, allotments }.into()]
    }

    fn change_sale(&self) -> Vec<WriteUnit> {
        let Some(sale) = self.some_sale(is_open) else { return Vec::new() };
        let sale_id = sale.id;
        let is_over = sale.ends_at <= self.world.now();
        vec![match self.dice.below(9) {
            _ if is_over && self.dice.one_in(2) => EndSale { sale_id }.into(),
            0 => EndSale { sale_id }.into(),
            1 | 2 => RaiseEpoch { sale_id, from: sale.epoch - i64::from(self.dice.one_in(3)) }.into(),
            3 => PauseSale { sale_id, paused: true }.into(),
            _ => PauseSale { sale_id, paused: sale.state != SaleState::Paused && self.dice.one_in(3) }.into(),
        }]
    }

    fn restock(&self) -> Vec<WriteUnit> {
        let Some(sale) = self.some_sale(is_open) else { return Vec::new() };
        let phones: Vec<&StockRow> = self.rows.iter().filter(|row| row.sku_id == PHONE).collect();
        let units = if self.dice.one_in(4) { 99 } else { 1 };
        let allotments = self.pick(&phones).map(|row| line(row, units)).into_iter().collect();
        vec![RestockSale { sale_id: sale.id, allotments }.into()]
    }

    fn send_elsewhere(&self) -> Vec<WriteUnit> {
        let (user_id, order_sn) = (self.some_buyer(), self.some_order_sn());
        vec![SetReceiver { user_id, order_sn, receiver: receiver("elsewhere"), seen: None }.into()]
    }

    fn grant(&self) -> Vec<WriteUnit> {
        let Some(sale) = self.some_sale(is_open) else { return Vec::new() };
        let mut buyers = BUYERS;
        self.dice.shuffle(&mut buyers);
        let count = 1 + self.dice.below(3);
        let winners = buyers[..count].iter().map(|user_id| (*user_id, self.world.number())).collect();
        let epoch = sale.epoch - i64::from(self.dice.one_in(8));
        vec![CommitGrants { sale_id: sale.id, epoch, winners }.into()]
    }

    fn make_or_fail(&self) -> Vec<WriteUnit> {
        let Some((order_sn, user_id, sale_id)) = self.pick(&self.winners).cloned() else { return Vec::new() };
        if self.dice.one_in(2) {
            return vec![FailGrants { grants: vec![(order_sn, "no such member".into())] }.into()];
        }
        let user_id = if self.dice.one_in(6) { self.some_buyer() } else { user_id };
        vec![MakeFlashOrders { orders: [flash_order(sale_id, &order_sn, user_id)].into() }.into()]
    }

    fn pay(&mut self) -> WriteUnit {
        let order = self.some_order();
        let again = self.pick(&self.receipts).filter(|_| self.dice.one_in(8)).cloned();
        let receipt = again.unwrap_or_else(|| Receipt {
            trade_no: trade_no(&format!("trade-{}", self.receipts.len())),
            amount: Money(order.pay_amount.0 + i64::from(self.dice.one_in(8))),
            order_sn: order.order_sn,
            subject: "order".into(),
            content: "{}".into(),
        });
        self.receipts.push(receipt.clone());
        payment(receipt).into()
    }

    fn close(&self) -> WriteUnit {
        let (first, second) = (self.some_order_sn(), self.some_order_sn());
        match (self.dice.one_in(3), first == second) {
            (true, _) => cancelling(&first).into(),
            (_, true) => timing_out(&[first]).into(),
            _ => timing_out(&[first, second]).into(),
        }
    }

    fn settle(&self) -> Vec<WriteUnit> {
        let Some(receipt) = self.pick(&self.receipts) else { return Vec::new() };
        vec![SettleRefund { request_no: refund_request_no(&receipt.trade_no) }.into()]
    }

    /// A message arrives: mostly once, at times again later, at times never where a sweep is the net.
    fn deliver(&mut self) -> Vec<WriteUnit> {
        if self.mail.is_empty() {
            return Vec::new();
        }
        let place = self.dice.below(self.mail.len());
        if self.dice.one_in(4) {
            return self.mail[place].units();
        }
        let parcel = self.mail.swap_remove(place);
        let is_lost = parcel.has_a_net() && self.dice.one_in(10);
        if is_lost { Vec::new() } else { parcel.units() }
    }
}

fn is_open(state: SaleState) -> bool {
    matches!(state, SaleState::Armed | SaleState::Paused)
}
