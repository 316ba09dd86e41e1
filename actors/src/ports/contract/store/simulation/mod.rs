//! Random lives: whatever happens in whatever order, the invariants hold after every batch, and all of them once
//! everything has come to rest.
//!
//! A life is decided by its seed. Its batches hold several units of any kind, some of them repeated from earlier;
//! messages are delivered late, twice, out of order, or not at all; the clock jumps. Lives of even seeds are led by the
//! reference model beside the store under test, and both must answer alike. Lives of odd seeds have sales over several
//! warehouses, where the contract leaves open from which a unit is drawn.

mod acts;
mod drain;
mod fulfil;
mod mail;
mod twin;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::StoreFixture;
use super::values::member;
use super::world::{ALICE, BOB, CASE, NORTH, PHONE, RULES, SOUTH, START_MS, World};
use crate::domain::flash_sale::FlashSale;
use crate::domain::invariants::{ALWAYS, check};
use crate::domain::order::{NewOrder, Order};
use crate::domain::payment::Receipt;
use crate::domain::returns::ReturnApply;
use crate::domain::stock::StockRow;
use crate::domain::{Money, OrderSn, SaleId, UserId};
use crate::local::clock::ManualClock;
use crate::ports::store::units::{GrantBatch, GrantOutcome, Placement, UnitOutcome, WriteUnit};
use crate::ports::store::{Committed, OrderSearch, ReturnSearch, StoreError};
use crate::testkit::Dice;
use mail::Parcel;
use twin::Twin;

/// Units on hand in each stock row at the start.
const OPENING: i64 = 16;
/// Most units of one batch, before repetitions.
const UNITS_PER_BATCH: usize = 8;
/// How many units are remembered, to be repeated.
const REMEMBERED: usize = 40;
/// Everybody who buys. The last two are no members.
const BUYERS: [UserId; 6] = [ALICE, BOB, UserId(3), UserId(4), UserId(5), UserId(6)];
/// How far the clock jumps.
const JUMPS_S: [u64; 6] = [0, 20, 300, 31 * 60, 70 * 60, 20 * 3600];

/// How often each outcome occurred, as `Kind.Outcome`: what a test looks at to know that its lives were eventful.
pub type Tally = BTreeMap<String, usize>;

/// Leads one life of so many batches on a fresh store, and lays it to rest.
///
/// # Panics
/// When an invariant breaks, or the store answers unlike the reference model.
pub async fn live(fixtures: &dyn StoreFixture, seed: u64, batches: usize) -> Tally {
    let mut life = Life::begin(fixtures, seed).await;
    for _ in 0..batches {
        life.step().await;
    }
    life.drain().await;
    life.tally
}

/// Every outcome that lives must have seen to have tried the whole store; those of `tally` that are missing.
pub fn missing_outcomes(tally: &Tally) -> Vec<String> {
    let wanted: [(&str, &[&str]); 25] = [
        ("PlaceOrder", &["Placed", "KeyUsed", "TokenUsed", "Stale"]),
        ("LockStock", &["Locked", "Exists", "Stale"]),
        ("ResolveLocks", &["Now", "Before", "Unknown", "Refused"]),
        ("AdjustStock", &["Done", "BelowLocked", "UnknownWarehouse"]),
        ("CommitGrants", &["Granted", "LimitReached", "SoldOut", "NotLive", "OtherEpoch"]),
        ("MakeFlashOrders", &["Made", "Exists", "NotGranted"]),
        ("FailGrants", &["true", "false"]),
        ("ArmSale", &["Armed", "WrongState", "Conflict", "Over", "Stale"]),
        ("PauseSale", &["Done", "WrongState"]),
        ("EndSale", &["Done"]),
        ("RaiseEpoch", &["Raised", "Lost"]),
        ("TakePayment", &["Applied", "Duplicate", "Refunding", "Mismatch", "UnknownOrder"]),
        ("CloseOrders", &["Closed", "WrongState", "NotDue", "Unknown"]),
        ("IssuePayPage", &["Issued", "WrongState", "Lapsed", "Unknown"]),
        ("AnnouncePaid", &["true", "false"]),
        ("AddPoints", &["true", "false"]),
        ("SettleRefund", &["Some", "None"]),
        ("CreateSale", &["SaleId"]),
        ("RestockSale", &["Done", "WrongState", "Stale"]),
        ("SetReceiver", &["Done", "WrongState", "Unknown"]),
        ("ShipOrder", &["Shipped", "WrongState", "Unknown"]),
        ("ReceiveOrders", &["Received", "WrongState", "NotDue", "Unknown"]),
        ("RefundOrder", &["Given", "None", "Repeated", "WrongState", "TooMuch", "Unknown"]),
        ("RequestReturn", &["Requested", "Repeated", "Open", "WrongState", "TooLate", "TooMany", "UnknownSku"]),
        ("HandleReturn", &["Handled", "Some", "WrongState", "NotDeducted", "Unknown"]),
    ];
    let names = wanted.iter().flat_map(|(kind, outcomes)| outcomes.iter().map(move |name| format!("{kind}.{name}")));
    names.filter(|name| !tally.contains_key(name)).collect()
}

/// An order that somebody tried to make.
#[derive(Clone)]
struct KnownOrder {
    order_sn: OrderSn,
    user_id: UserId,
    pay_amount: Money,
}

/// A life: the store under test, what is known of it from outside, and what is on its way.
struct Life {
    dice: Dice,
    clock: Arc<ManualClock>,
    world: World,
    twin: Option<Twin>,
    rows: Vec<StockRow>,
    sales: Vec<FlashSale>,
    orders: Vec<KnownOrder>,
    tokens: Vec<(UserId, String)>,
    owners: Vec<OrderSn>,
    winners: Vec<(OrderSn, UserId, SaleId)>,
    receipts: Vec<Receipt>,
    paid: Vec<Order>,
    open_returns: Vec<ReturnApply>,
    mail: Vec<Parcel>,
    said: VecDeque<WriteUnit>,
    tally: Tally,
}

impl Life {
    async fn begin(fixtures: &dyn StoreFixture, seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(START_MS));
        let world = filled(World::on_clock(fixtures, RULES, clock.clone()).await).await;
        let twin = match seed % 2 {
            0 => Some(Twin::beside(&world, clock.clone()).await),
            _ => None,
        };
        let mut life = Self {
            dice: Dice::new(seed),
            clock,
            world,
            twin,
            rows: Vec::new(),
            sales: Vec::new(),
            orders: Vec::new(),
            tokens: Vec::new(),
            owners: Vec::new(),
            winners: Vec::new(),
            receipts: Vec::new(),
            paid: Vec::new(),
            open_returns: Vec::new(),
            mail: Vec::new(),
            said: VecDeque::new(),
            tally: Tally::new(),
        };
        life.look().await;
        life
    }

    async fn step(&mut self) {
        if self.dice.one_in(6) {
            let seconds = JUMPS_S[self.dice.below(JUMPS_S.len())];
            self.clock.advance(Duration::from_millis(seconds * 1000 + 1));
        }
        let count = 1 + self.dice.below(UNITS_PER_BATCH);
        let mut units: Vec<WriteUnit> = (0..count).flat_map(|_| self.think()).collect();
        if self.dice.one_in(3) && !self.said.is_empty() {
            units.push(self.said[self.dice.below(self.said.len())].clone());
        }
        self.dice.shuffle(&mut units);
        self.commit(units).await;
    }

    /// Commits a batch. One that a constraint refuses is halved, as the writer does it, until the unit at fault is alone.
    async fn commit(&mut self, units: Vec<WriteUnit>) {
        let mut waiting = vec![units.clone()];
        while let Some(mut units) = waiting.pop() {
            if !self.try_commit(&units).await && units.len() > 1 {
                let second = units.split_off(units.len() / 2);
                waiting.extend([second, units]);
            }
        }
        self.said.extend(units);
        self.said.drain(..self.said.len().saturating_sub(REMEMBERED));
    }

    /// Commits a batch, judges the answer and the store, and learns from it; `false` when a constraint refused it.
    async fn try_commit(&mut self, units: &[WriteUnit]) -> bool {
        let answer = self.world.store.commit(units).await;
        if let Some(twin) = &mut self.twin {
            twin.follow(units, &answer).await;
        }
        let before = std::mem::take(&mut self.rows);
        self.look().await;
        let is_committed = answer.is_ok();
        match answer {
            Ok(committed) => {
                self.judge_stock_news(&before, &committed);
                self.learn(units, committed);
            }
            Err(StoreError::Constraint(_)) => *self.tally.entry("Batch.Constraint".into()).or_default() += 1,
            Err(error) => panic!("{error}: {units:#?}"),
        }
        let facts = self.world.facts().await;
        let broken = check(&facts).only(&ALWAYS).broken();
        assert!(broken.is_empty(), "{broken:#?} after {units:#?}");
        if let Some(twin) = &mut self.twin {
            twin.compare(&facts, &self.rows).await;
        }
        is_committed
    }

    /// Reads what the next units are made from.
    async fn look(&mut self) {
        self.rows = rows(&self.world).await;
        let store = &self.world.store;
        self.sales = store.sales(1000).await.expect("sales are readable");
        let orders = store.search_orders(&OrderSearch { limit: 1000, ..OrderSearch::default() }).await;
        self.paid = orders.expect("orders are readable");
        self.paid.retain(|order| order.status.is_paid());
        let returns = store.search_returns(&ReturnSearch { limit: 1000, ..ReturnSearch::default() }).await;
        self.open_returns = returns.expect("returns are readable");
        self.open_returns.retain(|row| row.state.is_open());
    }

    /// A batch hands back every row it changed, as it is now, and a changed row has a higher version.
    fn judge_stock_news(&self, before: &[StockRow], committed: &Committed) {
        for told in &committed.stock {
            assert!(self.rows.contains(told), "{told:?} was handed out, {:?} is there", self.rows);
        }
        for row in &self.rows {
            let old = before.iter().find(|old| old.id == row.id);
            if old.is_some_and(|old| (old.stock, old.locked) == (row.stock, row.locked)) {
                continue;
            }
            assert!(committed.stock.contains(row), "{old:?} became {row:?}, but nobody was told");
            assert!(old.is_none_or(|old| old.version < row.version), "{old:?} became {row:?}");
        }
    }

    fn learn(&mut self, units: &[WriteUnit], committed: Committed) {
        for (unit, outcome) in units.iter().zip(&committed.outcomes) {
            self.count(outcome);
            match (unit, outcome) {
                (WriteUnit::PlaceOrder(unit), UnitOutcome::PlaceOrder(Placement::Placed { .. })) => {
                    self.know_order(&unit.order);
                    self.tokens.push((unit.order.user_id, unit.token.clone()));
                }
                (WriteUnit::MakeFlashOrders(unit), _) => {
                    for order in unit.orders.iter() {
                        self.know_order(order);
                    }
                }
                (WriteUnit::CommitGrants(unit), UnitOutcome::CommitGrants(GrantBatch::Decided(outcomes))) => {
                    let granted = unit.winners.iter().zip(outcomes);
                    let granted = granted.filter(|(_, outcome)| **outcome == GrantOutcome::Granted);
                    let winners = granted.map(|((user_id, order_sn), _)| (order_sn.clone(), *user_id, unit.sale_id));
                    self.winners.extend(winners);
                }
                _ => {}
            }
        }
        self.mail.extend(committed.messages.iter().flat_map(mail::parcels));
    }

    fn know_order(&mut self, order: &NewOrder) {
        let NewOrder { order_sn, user_id, pay_amount, .. } = order;
        if self.orders.iter().all(|known| known.order_sn != *order_sn) {
            self.orders.push(KnownOrder { order_sn: order_sn.clone(), user_id: *user_id, pay_amount: *pay_amount });
        }
    }

    /// Counts the words of an outcome under the first, its kind.
    fn count(&mut self, outcome: &UnitOutcome) {
        let text = format!("{outcome:?}");
        let mut words = text.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        let kind = words.next().unwrap_or_default();
        for word in words {
            *self.tally.entry(format!("{kind}.{word}")).or_default() += 1;
        }
    }
}

/// Adds stock and more members.
async fn filled(world: World) -> World {
    for (sku_id, ware_id) in [(PHONE, NORTH), (PHONE, SOUTH), (CASE, NORTH)] {
        world.fixture.add_stock(sku_id, ware_id, OPENING).await;
    }
    for user_id in [UserId(3), UserId(4)] {
        world.fixture.add_member(&member(user_id)).await;
    }
    world
}

/// All stock rows.
async fn rows(world: &World) -> Vec<StockRow> {
    let mut rows = Vec::new();
    for sku_id in [PHONE, CASE] {
        rows.extend(world.store.stock_rows(sku_id).await.expect("stock is readable"));
    }
    rows
}
