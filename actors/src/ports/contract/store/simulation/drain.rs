//! The end of a life: time passes, every message arrives, the sweep runs until it finds nothing.

use std::time::Duration;

use super::super::values::{flash_order, timing_out};
use super::super::world::GRACE;
use super::{Life, mail};
use crate::domain::OrderSn;
use crate::domain::invariants::check;
use crate::domain::stock::{LockState, Resolution};
use crate::ports::store::units::{
    AddPoints, EndSale, FailGrants, MakeFlashOrders, MarkPublished, SettleRefund, WriteUnit,
};
use crate::ports::store::{LockRow, OutboxRow};

/// Longer than any deadline, lease or window.
const THE_END: Duration = Duration::from_secs(24 * 3600);
/// Rounds after which a life that does not come to rest never will.
const PATIENCE: usize = 50;
const ALL: usize = 10_000;

impl Life {
    /// Lets time pass and everything be handled, then asserts every invariant.
    pub(super) async fn drain(&mut self) {
        // Late winners get their orders, and with them new deadlines, in the first round.
        for _ in 0..2 {
            self.clock.advance(THE_END);
            self.settle_down().await;
        }
        self.assert_at_rest().await;
    }

    async fn settle_down(&mut self) {
        for _ in 0..PATIENCE {
            let mut units: Vec<WriteUnit> = self.mail.drain(..).flat_map(|parcel| parcel.units()).collect();
            self.dice.shuffle(&mut units);
            units.extend(self.sweep().await);
            if units.is_empty() {
                return;
            }
            self.commit(units).await;
        }
        panic!("does not come to rest: {:#?}", self.sweep().await);
    }

    /// What the nets find (DESIGN rule 9).
    async fn sweep(&self) -> Vec<WriteUnit> {
        let store = &self.world.store;
        let mut units: Vec<WriteUnit> = Vec::new();
        let overdue = store.overdue_orders(GRACE, ALL).await.expect("orders are readable");
        if !overdue.is_empty() {
            units.push(timing_out(&overdue).into());
        }
        for grant in store.unordered_grants(0, ALL).await.expect("grants are readable") {
            let order = flash_order(grant.sale_id, &grant.order_sn, grant.user_id);
            units.push(match self.dice.one_in(4) {
                true => FailGrants { grants: vec![(grant.order_sn, "given up".into())] }.into(),
                false => MakeFlashOrders { orders: [order].into() }.into(),
            });
        }
        let lapsed = store.lapsed_locks(ALL).await.expect("locks are readable");
        units.extend(resolving(Resolution::Release, &lapsed.iter().collect::<Vec<_>>(), true));
        let unresolved = store.unresolved_locks(0, ALL).await.expect("locks are readable");
        for (state, way) in [(LockState::Deducted, Resolution::Deduct), (LockState::Released, Resolution::Release)] {
            let due: Vec<&LockRow> = unresolved.iter().filter(|(_, due)| *due == state).map(|(row, _)| row).collect();
            units.extend(resolving(way, &due, false));
        }
        let credits = store.missing_points(0, ALL).await.expect("payments are readable");
        if !credits.is_empty() {
            units.push(AddPoints { credits }.into());
        }
        for sale in store.open_sales().await.expect("sales are readable") {
            units.push(EndSale { sale_id: sale.id }.into());
        }
        for refund in store.pending_refunds(ALL).await.expect("refunds are readable") {
            units.push(SettleRefund { request_no: refund.request_no }.into());
        }
        units
    }

    async fn assert_at_rest(&self) {
        let outbox = self.world.store.unpublished(0, ALL).await.expect("the outbox is readable");
        let message_ids = outbox.into_iter().map(|OutboxRow { message, .. }| message.message_id).collect();
        self.world.one(MarkPublished { message_ids }).await;
        let facts = self.world.facts().await;
        let broken = check(&facts).broken();
        assert!(broken.is_empty(), "{broken:#?}");
        let locked: i64 = self.rows.iter().map(|row| row.locked).sum();
        assert_eq!(locked, 0, "nobody waits for anything");
    }
}

/// Resolves the owners of these rows, each once.
fn resolving(way: Resolution, rows: &[&LockRow], lapsed_only: bool) -> Vec<WriteUnit> {
    let mut order_sns: Vec<OrderSn> = rows.iter().map(|row| row.order_sn.clone()).collect();
    order_sns.sort();
    order_sns.dedup();
    match order_sns.as_slice() {
        [] => Vec::new(),
        order_sns => mail::resolving(way, order_sns, lapsed_only),
    }
}
