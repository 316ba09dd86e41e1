//! The memory store: the reference model of the durable store.
//!
//! It is naive on purpose, so that it can be read against the contracts in [`crate::ports::store`]: plain ordered maps
//! behind one mutex, the units of a batch applied one at a time in order to a copy that replaces the tables when the
//! whole batch has gone through. For tests only.

mod facts;
#[cfg(feature = "contract")]
mod fixture;
mod flash_sales;
mod fulfilment;
mod members;
mod messages;
mod orders;
mod payments;
mod reads;
mod refunds;
mod requests;
mod returns;
mod seed;
mod stock;
mod tables;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use crate::domain::events::{Event, Message, pack};
use crate::domain::{Timestamp, WareSkuId};
use crate::ports::clock::{Clock, Entropy, message_id};
use crate::ports::store::units::{UnitOutcome, WriteUnit, kept_by};
use crate::ports::store::{Committed, Store, StoreError, StoreRules};
#[cfg(feature = "contract")]
pub use fixture::MemoryFixtures;
use tables::Tables;

/// A store in memory.
pub struct MemoryStore {
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    rules: StoreRules,
    tables: Mutex<Tables>,
}

impl MemoryStore {
    /// An empty store that reads the time from `clock` and takes message ids from `entropy`.
    pub fn new(clock: Arc<dyn Clock>, entropy: Arc<dyn Entropy>, rules: StoreRules) -> Self {
        Self { clock, entropy, rules, tables: Mutex::new(Tables::default()) }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        // The tables are replaced as a whole, so a panic elsewhere cannot leave them half changed.
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now_ms(&self) -> Timestamp {
        self.clock.now()
    }
}

#[async_trait]
impl Store for MemoryStore {
    async fn commit(&self, units: &[WriteUnit]) -> Result<Committed, StoreError> {
        let mut tables = self.tables();
        let mut copy = tables.clone();
        let mut batch = Batch::new(self.now_ms(), self.rules);
        let mut outcomes = Vec::with_capacity(units.len());
        for unit in units {
            let outcome = apply(&mut copy, &mut batch, unit)?;
            if let Some((asked, subject)) = kept_by(unit, &outcome) {
                requests::keep_new(&mut copy, &batch, asked, &subject)?;
            }
            outcomes.push(outcome);
        }
        let mut messages =
            pack(&batch.events, self.rules.items_per_message, || message_id(batch.at, self.entropy.as_ref()));
        messages.append(&mut batch.replayed);
        copy.add_outbox(&messages, batch.at);
        let stock = batch.changed_rows.iter().filter_map(|id| copy.stock.get(id).copied()).collect();
        *tables = copy;
        Ok(Committed { at: batch.at, outcomes, stock, messages })
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.now_ms())
    }
}

/// What the units of one transaction share.
struct Batch {
    at: Timestamp,
    rules: StoreRules,
    events: Vec<Event>,
    replayed: Vec<Message>,
    changed_rows: BTreeSet<WareSkuId>,
}

impl Batch {
    fn new(at: Timestamp, rules: StoreRules) -> Self {
        Self { at, rules, events: Vec::new(), replayed: Vec::new(), changed_rows: BTreeSet::new() }
    }
}

/// Applies one unit wholly, or not at all; an error undoes the whole batch.
fn apply(tables: &mut Tables, batch: &mut Batch, unit: &WriteUnit) -> Result<UnitOutcome, StoreError> {
    Ok(match unit {
        WriteUnit::PlaceOrder(unit) => UnitOutcome::PlaceOrder(orders::place(tables, batch, unit)?),
        WriteUnit::LockStock(unit) => UnitOutcome::LockStock(stock::lock(tables, batch, unit)?),
        WriteUnit::ResolveLocks(unit) => UnitOutcome::ResolveLocks(stock::resolve(tables, batch, unit)?),
        WriteUnit::AdjustStock(unit) => UnitOutcome::AdjustStock(stock::adjust(tables, batch, unit)?),
        WriteUnit::CommitGrants(unit) => UnitOutcome::CommitGrants(flash_sales::commit_grants(tables, batch, unit)?),
        WriteUnit::MakeFlashOrders(unit) => {
            UnitOutcome::MakeFlashOrders(flash_sales::make_orders(tables, batch, unit)?)
        }
        WriteUnit::FailGrants(unit) => UnitOutcome::FailGrants(flash_sales::fail_grants(tables, batch, unit)?),
        WriteUnit::CreateSale(unit) => UnitOutcome::CreateSale(flash_sales::create(tables, unit)),
        WriteUnit::ArmSale(unit) => UnitOutcome::ArmSale(flash_sales::arm(tables, batch, unit)?),
        WriteUnit::PauseSale(unit) => UnitOutcome::PauseSale(flash_sales::pause(tables, unit)),
        WriteUnit::EndSale(unit) => UnitOutcome::EndSale(flash_sales::end(tables, batch, unit)?),
        WriteUnit::RaiseEpoch(unit) => UnitOutcome::RaiseEpoch(flash_sales::raise_epoch(tables, unit)),
        WriteUnit::TakePayment(unit) => UnitOutcome::TakePayment(payments::take(tables, batch, unit)?),
        WriteUnit::CloseOrders(unit) => UnitOutcome::CloseOrders(orders::close(tables, batch, unit)),
        WriteUnit::IssuePayPage(unit) => UnitOutcome::IssuePayPage(payments::issue_pay_page(tables, batch, unit)?),
        WriteUnit::AnnouncePaid(unit) => UnitOutcome::AnnouncePaid(orders::announce_paid(tables, batch, unit)),
        WriteUnit::AddPoints(unit) => UnitOutcome::AddPoints(members::add_points(tables, batch, unit)),
        WriteUnit::PutCartItem(unit) => {
            members::put_cart_item(tables, unit);
            UnitOutcome::PutCartItem(())
        }
        WriteUnit::RemoveCartItems(unit) => {
            members::remove_cart_items(tables, unit);
            UnitOutcome::RemoveCartItems(())
        }
        WriteUnit::MarkPublished(unit) => {
            messages::mark_published(tables, batch, unit);
            UnitOutcome::MarkPublished(())
        }
        WriteUnit::Enqueue(unit) => {
            messages::enqueue(tables, unit);
            UnitOutcome::Enqueue(())
        }
        WriteUnit::FinishDeliveries(unit) => {
            messages::finish(tables, unit);
            UnitOutcome::FinishDeliveries(())
        }
        WriteUnit::RetryDelivery(unit) => {
            messages::retry(tables, unit);
            UnitOutcome::RetryDelivery(())
        }
        WriteUnit::Park(unit) => {
            messages::park(tables, batch, unit);
            UnitOutcome::Park(())
        }
        WriteUnit::Replay(unit) => UnitOutcome::Replay(messages::replay(tables, batch, unit)),
        WriteUnit::SettleRefund(unit) => UnitOutcome::SettleRefund(payments::settle_refund(tables, batch, unit)),
        WriteUnit::EditSale(unit) => UnitOutcome::EditSale(flash_sales::edit(tables, unit)),
        WriteUnit::RestockSale(unit) => UnitOutcome::RestockSale(flash_sales::restock(tables, batch, unit)?),
        WriteUnit::SetReceiver(unit) => UnitOutcome::SetReceiver(orders::set_receiver(tables, batch, unit)),
        WriteUnit::PruneRequests(unit) => UnitOutcome::PruneRequests(requests::prune(tables, batch, unit)),
        WriteUnit::PruneMessages(unit) => UnitOutcome::PruneMessages(messages::prune(tables, batch, unit)),
        WriteUnit::ShipOrder(unit) => UnitOutcome::ShipOrder(fulfilment::ship(tables, batch, unit)),
        WriteUnit::ReceiveOrders(unit) => UnitOutcome::ReceiveOrders(fulfilment::receive(tables, batch, unit)?),
        WriteUnit::RefundOrder(unit) => UnitOutcome::RefundOrder(refunds::refund(tables, batch, unit)?),
        WriteUnit::RequestReturn(unit) => UnitOutcome::RequestReturn(returns::request(tables, batch, unit)?),
        WriteUnit::HandleReturn(unit) => UnitOutcome::HandleReturn(returns::handle(tables, batch, unit)?),
    })
}
