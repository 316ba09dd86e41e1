//! What most tests stand on: two SKUs in two warehouses, a few members, a clock, and short ways to say things.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use super::values::{
    cancelling, credit, flash_order, line, member, new_order, outcome, payment, receiving, request, returning,
    shipping, sku, trade_no,
};
use super::{Fixture, StoreFixture};
use crate::domain::flash_sale::{ChallengeMode, FlashSale, Grant, NewFlashSale};
use crate::domain::invariants::{ALWAYS, Facts, SaleFacts, check};
use crate::domain::order::{LockLine, NewOrder, Order, OrderHistory, OrderStatus, PayType};
use crate::domain::payment::Receipt;
use crate::domain::returns::ReturnApply;
use crate::domain::stock::{LockState, Resolution, StockRow};
use crate::domain::{Money, OrderSn, SaleId, SkuId, Timestamp, UserId, WareId};
use crate::local::clock::ManualClock;
use crate::ports::clock::Clock;
use crate::ports::store::units::{
    AddPoints, ArmSale, CommitGrants, CreateSale, FlashOrder, GrantBatch, GrantOutcome, LockResolved, LockStock,
    MakeFlashOrders, OrderClose, OrderReceive, OrderShip, PaymentTaken, PlaceOrder, Placement, ResolveLocks,
    ReturnRequest, SaleArmed, StockLock, StockLocks, Unit, WriteUnit,
};
use crate::ports::store::{Committed, ReturnSearch, Store, StoreRules};

/// 2026-01-01T00:00:00Z, where every test begins.
pub const START_MS: i64 = 1_767_225_600_000;
/// The SKU of most tests.
pub const PHONE: SkuId = SkuId(48);
/// Another SKU.
pub const CASE: SkuId = SkuId(49);
/// A warehouse.
pub const NORTH: WareId = WareId(1);
/// Another warehouse.
pub const SOUTH: WareId = WareId(2);
/// A buyer.
pub const ALICE: UserId = UserId(1);
/// Another buyer.
pub const BOB: UserId = UserId(2);
/// Price of both SKUs, 100 yuan.
pub const PRICE: Money = Money(10_000);
/// How long an order may stay unpaid.
pub const PAYMENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
/// `order.close_grace`
pub const GRACE: Duration = Duration::from_secs(60);
/// `order.auto_confirm_days`
pub const CONFIRM_DAYS: u32 = 7;
/// `order.return_days`
pub const RETURN_WINDOW: Duration = Duration::from_secs(15 * 24 * 3600);
/// How long foreign locks stand.
pub const LEASE: Duration = Duration::from_secs(30 * 60);

/// The rules of most tests.
pub const RULES: StoreRules = StoreRules { items_per_message: 256, points_per_yuan: 1, close_grace: GRACE };

/// A filled store and its clock.
pub struct World {
    /// The ways to change it from the outside.
    pub fixture: Box<dyn Fixture>,
    /// The store.
    pub store: Arc<dyn Store>,
    /// Its clock.
    pub clock: Arc<ManualClock>,
    next_number: AtomicU64,
}

impl World {
    /// Two SKUs, two warehouses, no stock; members [`ALICE`] and [`BOB`] without points.
    pub async fn new(fixtures: &dyn StoreFixture) -> Self {
        Self::with_rules(fixtures, RULES).await
    }

    /// The same under other rules.
    pub async fn with_rules(fixtures: &dyn StoreFixture, rules: StoreRules) -> Self {
        Self::on_clock(fixtures, rules, Arc::new(ManualClock::new(START_MS))).await
    }

    /// The same on a clock that others look at too.
    pub async fn on_clock(fixtures: &dyn StoreFixture, rules: StoreRules, clock: Arc<ManualClock>) -> Self {
        let fixture = fixtures.fresh(clock.clone(), rules).await;
        let store = fixture.store();
        for sku_id in [PHONE, CASE] {
            fixture.add_sku(&sku(sku_id)).await;
        }
        fixture.add_warehouse(NORTH, "north").await;
        fixture.add_warehouse(SOUTH, "south").await;
        for user_id in [ALICE, BOB] {
            fixture.add_member(&member(user_id)).await;
        }
        Self { fixture, store, clock, next_number: AtomicU64::new(1) }
    }

    /// The same with `units` of [`PHONE`] in one warehouse.
    pub async fn with_phones(fixtures: &dyn StoreFixture, units: i64) -> Self {
        let world = Self::new(fixtures).await;
        world.fixture.add_stock(PHONE, NORTH, units).await;
        world
    }

    /// Commits a batch.
    pub async fn commit(&self, units: Vec<WriteUnit>) -> Committed {
        let committed = self.store.commit(&units).await.expect("the batch is sound");
        assert_eq!(committed.outcomes.len(), units.len(), "one outcome per unit");
        committed
    }

    /// Commits one unit.
    pub async fn one<U: Unit>(&self, unit: U) -> U::Outcome {
        let committed = self.commit(vec![unit.into()]).await;
        outcome::<U>(&committed, 0)
    }

    /// The store's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// An order number not used before.
    pub fn number(&self) -> OrderSn {
        OrderSn::generate(self.now(), self.next_number.fetch_add(1, Ordering::Relaxed))
    }

    /// The only stock row of a SKU.
    pub async fn row(&self, sku_id: SkuId) -> StockRow {
        let rows = self.store.stock_rows(sku_id).await.expect("stock is readable");
        assert_eq!(rows.len(), 1, "one row of {sku_id}");
        rows[0]
    }

    /// On hand and locked of the only stock row of a SKU.
    pub async fn stock(&self, sku_id: SkuId) -> (i64, i64) {
        let row = self.row(sku_id).await;
        (row.stock, row.locked)
    }

    /// Units of the only stock row of [`PHONE`].
    pub async fn phones(&self, num: u32) -> Vec<LockLine> {
        vec![line(&self.row(PHONE).await, num)]
    }

    /// An unpaid online order over these lines.
    pub fn new_order(&self, user_id: UserId, locks: &[LockLine]) -> NewOrder {
        new_order(self.number(), user_id, locks)
    }

    /// A unit that places an online order under a token of its own.
    pub fn placing(&self, user_id: UserId, locks: &[LockLine]) -> PlaceOrder {
        let order = self.new_order(user_id, locks);
        PlaceOrder { token: format!("token-{}", order.order_sn), order, locks: locks.to_vec(), request: None }
    }

    /// Places an order of so many phones.
    pub async fn placed(&self, user_id: UserId, num: u32) -> OrderSn {
        let unit = self.placing(user_id, &self.phones(num).await);
        let order_sn = unit.order.order_sn.clone();
        let placement = self.one(unit).await;
        assert!(matches!(placement, Placement::Placed { .. }), "{placement:?}");
        order_sn
    }

    /// Places and pays an order.
    pub async fn paid(&self, user_id: UserId, num: u32) -> OrderSn {
        let order_sn = self.placed(user_id, num).await;
        self.pay(&order_sn).await;
        order_sn
    }

    /// Places, pays and ships an order whose units have left the shelf; it counts as received after [`CONFIRM_DAYS`].
    pub async fn shipped(&self, user_id: UserId, num: u32) -> OrderSn {
        let order_sn = self.paid(user_id, num).await;
        self.resolve(Resolution::Deduct, &order_sn).await;
        assert_eq!(self.one(shipping(&order_sn)).await, OrderShip::Shipped);
        order_sn
    }

    /// The same, received by its owner and credited its points.
    pub async fn completed(&self, user_id: UserId, num: u32) -> OrderSn {
        let order_sn = self.shipped(user_id, num).await;
        assert_eq!(self.one(receiving(&order_sn)).await, [OrderReceive::Received]);
        let points = i64::from(num) * PRICE.whole_yuan();
        assert_eq!(self.one(AddPoints { credits: vec![credit(&order_sn, user_id, points)] }).await, [true]);
        order_sn
    }

    /// An order of so many phones to be paid on delivery, shipped.
    pub async fn shipped_for_cash(&self, user_id: UserId, num: u32) -> OrderSn {
        let mut unit = self.placing(user_id, &self.phones(num).await);
        unit.order.pay_type = PayType::CashOnDelivery;
        let order_sn = unit.order.order_sn.clone();
        self.one(unit).await;
        self.resolve(Resolution::Deduct, &order_sn).await;
        assert_eq!(self.one(shipping(&order_sn)).await, OrderShip::Shipped);
        order_sn
    }

    /// A pending return request of so many phones; its id.
    pub async fn asked_back(&self, order_sn: &OrderSn, user_id: UserId, num: u32) -> i64 {
        match self.one(returning(order_sn, user_id, num)).await {
            ReturnRequest::Requested(id) => id,
            other => panic!("the return can be asked for: {other:?}"),
        }
    }

    /// A return request that exists.
    pub async fn return_of(&self, return_id: i64) -> ReturnApply {
        self.store.return_apply(return_id).await.expect("returns are readable").expect("the request exists")
    }

    /// Spendable points and growth.
    pub async fn points(&self, user_id: UserId) -> (i64, i64) {
        let member = self.store.member(user_id).await.expect("members are readable").expect("the member exists");
        (member.integration, member.growth)
    }

    /// Pays an order, with a trade of its own.
    pub async fn pay(&self, order_sn: &OrderSn) {
        let receipt = self.receipt(order_sn).await;
        assert_eq!(self.one(payment(receipt)).await, PaymentTaken::Applied);
    }

    /// The right money for an order.
    pub async fn receipt(&self, order_sn: &OrderSn) -> Receipt {
        let order = self.order(order_sn).await;
        Receipt {
            order_sn: order_sn.clone(),
            trade_no: trade_no(&format!("trade-{order_sn}")),
            amount: order.pay_amount,
            subject: "order".into(),
            content: "{}".into(),
        }
    }

    /// Closes an unpaid order at its owner's wish.
    pub async fn cancel(&self, order_sn: &OrderSn) {
        assert_eq!(self.one(cancelling(order_sn)).await, [OrderClose::Closed]);
    }

    /// An order that exists.
    pub async fn order(&self, order_sn: &OrderSn) -> Order {
        self.store.order(order_sn).await.expect("orders are readable").expect("the order exists")
    }

    /// States and units of an owner's locks, by row id.
    pub async fn locks(&self, order_sn: &OrderSn) -> Vec<(LockState, u32)> {
        let mut rows = self.store.locks_of(std::slice::from_ref(order_sn)).await.expect("locks are readable");
        rows.sort_by_key(|row| row.line.ware_sku_id);
        rows.iter().map(|row| (row.state, row.line.num)).collect()
    }

    /// Resolves the phones of one owner.
    pub async fn resolve(&self, way: Resolution, order_sn: &OrderSn) -> LockResolved {
        let unit = ResolveLocks { sku_id: PHONE, way, order_sns: vec![order_sn.clone()], lapsed_only: false };
        let mut outcomes = self.one(unit).await;
        assert_eq!(outcomes.len(), 1, "one answer per owner");
        outcomes.remove(0)
    }

    /// A live sale of so many phones, out of the only stock row; its epoch.
    pub async fn live_sale(&self, count: u32, per_user_limit: u32) -> (SaleId, i64) {
        let sale_id = self.draft_sale(count, per_user_limit).await;
        let allotments = self.phones(count).await;
        match self.one(ArmSale { sale_id, allotments }).await {
            SaleArmed::Armed(epoch) => (sale_id, epoch),
            other => panic!("the sale can be armed: {other:?}"),
        }
    }

    /// A draft of a sale that runs from now on for an hour.
    pub async fn draft_sale(&self, count: u32, per_user_limit: u32) -> SaleId {
        self.one(CreateSale { sale: self.new_sale(count, per_user_limit) }).await
    }

    /// A sale of phones that runs from now on for an hour.
    pub fn new_sale(&self, count: u32, per_user_limit: u32) -> NewFlashSale {
        NewFlashSale {
            sku_id: PHONE,
            price: Money(5_000),
            count: i64::from(count),
            per_user_limit,
            starts_at: self.now(),
            ends_at: self.now().plus(Duration::from_secs(3600)),
            challenge: ChallengeMode::default(),
        }
    }

    /// Grants one unit to each of these buyers; their order numbers.
    pub async fn granted(&self, (sale_id, epoch): (SaleId, i64), buyers: &[UserId]) -> Vec<OrderSn> {
        let winners: Vec<(UserId, OrderSn)> = buyers.iter().map(|user_id| (*user_id, self.number())).collect();
        let order_sns = winners.iter().map(|(_, order_sn)| order_sn.clone()).collect();
        let outcome = self.one(CommitGrants { sale_id, epoch, winners }).await;
        assert_eq!(outcome, GrantBatch::Decided(vec![GrantOutcome::Granted; buyers.len()]));
        order_sns
    }

    /// Grants one unit to each buyer and makes their orders.
    pub async fn won(&self, sale: (SaleId, i64), buyers: &[UserId]) -> Vec<OrderSn> {
        let order_sns = self.granted(sale, buyers).await;
        let winners = order_sns.iter().zip(buyers);
        let orders = winners.map(|(order_sn, user_id)| flash_order(sale.0, order_sn, *user_id)).collect();
        assert_eq!(self.one(MakeFlashOrders { orders }).await, vec![FlashOrder::Made; buyers.len()]);
        order_sns
    }

    /// A sale that exists.
    pub async fn sale(&self, sale_id: SaleId) -> FlashSale {
        self.store.sale(sale_id).await.expect("sales are readable").expect("the sale exists")
    }

    /// A grant that exists.
    pub async fn grant(&self, order_sn: &OrderSn) -> Grant {
        let mut grants = self.store.grants(std::slice::from_ref(order_sn)).await.expect("grants are readable");
        assert_eq!(grants.len(), 1, "grant {order_sn}");
        grants.remove(0)
    }

    /// All facts, nothing exempt.
    pub async fn facts(&self) -> Facts {
        self.store.facts(0).await.expect("facts can be gathered")
    }

    /// Asserts the invariants that hold after every transaction.
    pub async fn assert_sound(&self) {
        let broken = check(&self.facts().await).only(&ALWAYS).broken();
        assert!(broken.is_empty(), "{broken:#?}");
    }

    /// Locks units for another system's order, with [`LEASE`].
    pub async fn locked(&self, owner: &OrderSn, lines: &[LockLine]) {
        let unit = LockStock { requests: vec![request(owner, lines)], lease: LEASE };
        assert_eq!(self.one(unit).await, StockLocks::Done(vec![StockLock::Locked]));
    }

    /// The facts of a sale.
    pub async fn sale_facts(&self, sale_id: SaleId) -> SaleFacts {
        let facts = self.facts().await.sales;
        facts.into_iter().find(|sale| sale.id == sale_id).expect("the sale has facts")
    }

    /// Where an order is.
    pub async fn status(&self, order_sn: &OrderSn) -> OrderStatus {
        self.order(order_sn).await.status
    }

    /// What happened to an order after its creation.
    pub async fn history(&self, order_sn: &OrderSn) -> Vec<OrderHistory> {
        self.store.order_history(order_sn).await.expect("history is readable")
    }

    /// Everything that reads show and that a change of anything but an order's own columns would move, as text: what
    /// "nothing changed" is judged by.
    pub async fn picture(&self) -> String {
        let store = &self.store;
        format!(
            "{:#?}",
            (
                self.facts().await,
                (store.stock_rows(PHONE).await, store.stock_rows(CASE).await),
                (store.sales(100).await, store.member(ALICE).await, store.member(BOB).await),
                (store.unpublished(0, 1000).await, store.queued().await, store.parked(1000).await),
                store.pending_refunds(1000).await,
                store.search_returns(&ReturnSearch { limit: 1000, ..ReturnSearch::default() }).await,
            )
        )
    }
}
