//! The reference model, led beside the store under test.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::values::{named, packed};
use super::super::world::{RULES, World};
use super::{filled, rows};
use crate::domain::invariants::{Facts, OrderFacts};
use crate::domain::order::LockLine;
use crate::domain::stock::StockRow;
use crate::domain::{SaleId, Timestamp, WareSkuId};
use crate::local::clock::ManualClock;
use crate::local::store::MemoryFixtures;
use crate::ports::store::units::{Adjustment, SaleArmed, UnitOutcome, WriteUnit};
use crate::ports::store::{Committed, StoreError};

/// The model and what the ids of the store under test are called there.
pub(super) struct Twin {
    world: World,
    sales: BTreeMap<SaleId, SaleId>,
    rows: BTreeMap<WareSkuId, WareSkuId>,
}

impl Twin {
    /// A model that begins as `subject` does, on the same clock.
    pub(super) async fn beside(subject: &World, clock: Arc<ManualClock>) -> Self {
        let world = filled(World::on_clock(&MemoryFixtures, RULES, clock).await).await;
        let mut twin = Self { world, sales: BTreeMap::new(), rows: BTreeMap::new() };
        twin.match_rows(&rows(subject).await).await;
        twin
    }

    /// Commits the same batch and asserts that the answers are alike.
    pub(super) async fn follow(&mut self, units: &[WriteUnit], theirs: &Result<Committed, StoreError>) {
        let own_units: Vec<WriteUnit> = units.iter().map(|unit| self.own_unit(unit)).collect();
        let ours = self.world.store.commit(&own_units).await;
        let (ours, theirs) = match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => (ours, theirs),
            (Err(StoreError::Constraint(_)), Err(StoreError::Constraint(_))) => return,
            (ours, theirs) => panic!("the model says {ours:?}, the store {theirs:?} to {units:#?}"),
        };
        assert_eq!(ours.at, theirs.at);
        for (place, (ours, theirs)) in ours.outcomes.iter().zip(&theirs.outcomes).enumerate() {
            if let (UnitOutcome::CreateSale(own), UnitOutcome::CreateSale(their)) = (ours, theirs) {
                self.sales.insert(*their, *own);
            }
            let theirs = self.own_outcome(theirs);
            assert_eq!(
                theirs,
                without_row_identity(ours),
                "unit {place} of {units:#?}: the store (left), the model (right)"
            );
        }
        assert_eq!(packed(&theirs.messages), packed(&ours.messages), "messages of {units:#?}");
        let told = |committed: &Committed| committed.messages.iter().flat_map(named).collect::<Vec<_>>();
        assert_eq!(told(theirs), told(&ours), "items of {units:#?}");
    }

    /// Asserts that both know the same facts.
    pub(super) async fn compare(&mut self, theirs: &Facts, their_rows: &[StockRow]) {
        self.match_rows(their_rows).await;
        let (ours, theirs) = (sentences(&self.world.facts().await), sentences(&self.own_facts(theirs)));
        if ours == theirs {
            return;
        }
        let only = |these: &[String], those: &[String]| {
            these.iter().filter(|sentence| !those.contains(sentence)).cloned().collect::<Vec<_>>()
        };
        let (model, store) = (only(&ours, &theirs), only(&theirs, &ours));
        panic!("only the model says {model:#?}, only the store says {store:#?}");
    }

    /// Learns which row is which, by SKU and warehouse.
    async fn match_rows(&mut self, theirs: &[StockRow]) {
        let ours = rows(&self.world).await;
        for their in theirs {
            let own = ours.iter().find(|own| (own.sku_id, own.ware_id) == (their.sku_id, their.ware_id));
            self.rows.insert(their.id, own.expect("the model has the same rows").id);
        }
    }

    fn own_sale(&self, id: SaleId) -> SaleId {
        self.sales.get(&id).copied().unwrap_or(id)
    }

    fn own_row(&self, id: WareSkuId) -> WareSkuId {
        self.rows.get(&id).copied().unwrap_or(id)
    }

    fn own_unit(&self, unit: &WriteUnit) -> WriteUnit {
        let own_lines = |lines: &mut Vec<LockLine>| {
            for line in lines {
                line.ware_sku_id = self.own_row(line.ware_sku_id);
            }
        };
        let mut own = unit.clone();
        match &mut own {
            WriteUnit::PlaceOrder(unit) => own_lines(&mut unit.locks),
            WriteUnit::LockStock(unit) => unit.requests.iter_mut().for_each(|request| own_lines(&mut request.lines)),
            WriteUnit::ArmSale(unit) => {
                own_lines(&mut unit.allotments);
                unit.sale_id = self.own_sale(unit.sale_id);
            }
            WriteUnit::CommitGrants(unit) => unit.sale_id = self.own_sale(unit.sale_id),
            WriteUnit::PauseSale(unit) => unit.sale_id = self.own_sale(unit.sale_id),
            WriteUnit::EndSale(unit) => unit.sale_id = self.own_sale(unit.sale_id),
            WriteUnit::RaiseEpoch(unit) => unit.sale_id = self.own_sale(unit.sale_id),
            WriteUnit::MakeFlashOrders(unit) => {
                for order in Arc::make_mut(&mut unit.orders) {
                    order.sale_id = order.sale_id.map(|id| self.own_sale(id));
                }
            }
            _ => {}
        }
        own
    }

    fn own_outcome(&self, outcome: &UnitOutcome) -> UnitOutcome {
        match outcome {
            UnitOutcome::CreateSale(id) => UnitOutcome::CreateSale(self.own_sale(*id)),
            UnitOutcome::ArmSale(SaleArmed::Conflict(id)) => {
                UnitOutcome::ArmSale(SaleArmed::Conflict(self.own_sale(*id)))
            }
            other => without_row_identity(other),
        }
    }

    fn own_facts(&self, facts: &Facts) -> Facts {
        let mut own = facts.clone();
        own.stock.iter_mut().for_each(|row| row.id = self.own_row(row.id));
        own.sales.iter_mut().for_each(|sale| sale.id = self.own_sale(sale.id));
        own.holders.iter_mut().for_each(|holder| holder.sale_id = self.own_sale(holder.sale_id));
        own
    }
}

/// Ids and versions of stock rows are each store's own.
fn without_row_identity(outcome: &UnitOutcome) -> UnitOutcome {
    let bare = |row: &StockRow| StockRow { id: WareSkuId(0), version: 0, ..*row };
    match outcome {
        UnitOutcome::AdjustStock(Adjustment::Done(row)) => UnitOutcome::AdjustStock(Adjustment::Done(bare(row))),
        UnitOutcome::AdjustStock(Adjustment::BelowLocked(row)) => {
            UnitOutcome::AdjustStock(Adjustment::BelowLocked(bare(row)))
        }
        other => other.clone(),
    }
}

/// Facts as sorted text. Message ids are each store's own, and so is what counts as the last change of an owner that has
/// no order.
fn sentences(facts: &Facts) -> Vec<String> {
    let order = |order: &OrderFacts| match order.status {
        Some(_) => order.clone(),
        None => OrderFacts { modified_at: Timestamp(0), ..order.clone() },
    };
    let orders: Vec<OrderFacts> = facts.orders.iter().map(order).collect();
    fn told<T: std::fmt::Debug>(facts: &[T]) -> impl Iterator<Item = String> {
        facts.iter().map(|fact| format!("{fact:?}"))
    }
    let mut sentences: Vec<String> = told(&facts.stock)
        .chain(told(&orders))
        .chain(told(&facts.sales))
        .chain(told(&facts.holders))
        .chain(told(&facts.doubled_tokens))
        .chain(told(&facts.stray_payments))
        .chain(told(&facts.members))
        .chain(told(&facts.returns))
        .collect();
    sentences.push(format!("{} stuck messages", facts.stuck_messages.len()));
    sentences.sort();
    sentences
}
