//! A shop with flash sales, and a coordination that can be made to fail.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use actors::domain::flash_sale::{ChallengeMode, FlashSale, NewFlashSale};
use actors::domain::invariants::{ALWAYS, check};
use actors::domain::order::Operator;
use actors::domain::reject::{Failure, Unavailable};
use actors::domain::stock::Resolution;
use actors::domain::{Money, OrderSn, SaleId, SkuId, Timestamp, UserId};
use actors::flash_sale::{Attempt, FlashSaleSettings, FlashSales, Gate};
use actors::local::clock::SeededEntropy;
use actors::local::coordination::LocalCoordination;
use actors::ports::clock::Clock;
use actors::ports::contract::store::world;
use actors::ports::coordination::{AcquireBatch, Acquired, Coordination, CoordinationError, SemaphoreContent};
use actors::ports::store::units::{CloseOrders, FailGrants, FlashOrder, MakeFlashOrders, ResolveLocks};
use actors::ports::store::{AuditReads, FlashSaleReads};
use actors::stock::StockSettings;
use actors::testkit::Shop;
use actors::writer::WriterSettings;
use async_trait::async_trait;
use futures_util::future::join_all;
use tokio::sync::broadcast;
use tokio::time::sleep;

pub const SKU: SkuId = SkuId(49);
pub const STOCK: i64 = 1_000;
pub const PRICE: Money = Money(499_900);
/// So long that it does not come in a test.
pub const NEVER: Duration = Duration::from_secs(3_600);
pub const SOON: Duration = Duration::from_millis(5);

/// Coordination in process, with faults on demand.
#[derive(Default)]
pub struct Flaky {
    pub inner: LocalCoordination,
    /// Every call fails without effect.
    pub is_away: AtomicBool,
    /// So many `try_acquire` have their effect, but the answer is lost.
    pub answers_to_lose: AtomicUsize,
    /// Reconciling says yes and does nothing.
    pub keeps_permits: AtomicBool,
    /// The next `try_acquire` panics.
    pub panics: AtomicBool,
    /// How long a rebuild takes.
    pub rebuild_ms: AtomicU64,
    pub calls: AtomicUsize,
}

impl Flaky {
    fn reach(&self) -> Result<(), CoordinationError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match self.is_away.load(Ordering::SeqCst) {
            true => Err(CoordinationError("away".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl Coordination for Flaky {
    async fn try_acquire(&self, batch: &AcquireBatch) -> Result<Acquired, CoordinationError> {
        self.reach()?;
        assert!(!self.panics.swap(false, Ordering::SeqCst), "told to panic");
        let answer = self.inner.try_acquire(batch).await;
        let lost = self.answers_to_lose.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if lost.is_ok() { Err(CoordinationError("the answer is lost".into())) } else { answer }
    }

    async fn end_hold(
        &self,
        sale_id: SaleId,
        epoch: i64,
        hold_id: u64,
        refused: &[UserId],
    ) -> Result<(), CoordinationError> {
        self.reach()?;
        self.inner.end_hold(sale_id, epoch, hold_id, refused).await
    }

    async fn rebuild(&self, content: &SemaphoreContent) -> Result<bool, CoordinationError> {
        self.reach()?;
        sleep(Duration::from_millis(self.rebuild_ms.load(Ordering::SeqCst))).await;
        self.inner.rebuild(content).await
    }

    async fn reconcile(&self, sale_id: SaleId, epoch: i64, remaining: i64) -> Result<bool, CoordinationError> {
        self.reach()?;
        if self.keeps_permits.load(Ordering::SeqCst) {
            return Ok(true);
        }
        self.inner.reconcile(sale_id, epoch, remaining).await
    }

    async fn permits(&self, sale_id: SaleId) -> Result<Option<i64>, CoordinationError> {
        self.reach()?;
        self.inner.permits(sale_id).await
    }

    async fn forget(&self, sale_id: SaleId) -> Result<(), CoordinationError> {
        self.reach()?;
        self.inner.forget(sale_id).await
    }

    async fn count_down(&self, order_sns: &[OrderSn]) -> Result<(), CoordinationError> {
        self.reach()?;
        self.inner.count_down(order_sns).await
    }

    fn hints(&self) -> broadcast::Receiver<OrderSn> {
        self.inner.hints()
    }

    async fn mark_token(&self, token: &str) -> Result<bool, CoordinationError> {
        self.reach()?;
        self.inner.mark_token(token).await
    }
}

/// What one buyer heard.
pub type Told = Result<Attempt, Failure>;

pub struct Scene {
    pub shop: Shop,
    pub coordination: Arc<Flaky>,
    pub sales: Arc<FlashSales>,
}

/// Nothing happens by itself: neither refresh nor poll.
pub fn by_hand() -> FlashSaleSettings {
    FlashSaleSettings {
        refresh_every: NEVER,
        reconcile_every: NEVER,
        poll_every: NEVER,
        ..FlashSaleSettings::default()
    }
}

/// Refresh and poll come soon.
pub fn by_itself() -> FlashSaleSettings {
    FlashSaleSettings { refresh_every: SOON, reconcile_every: SOON, poll_every: SOON, ..FlashSaleSettings::default() }
}

impl Scene {
    /// A started node over a shop with [`STOCK`] units of [`SKU`] in two warehouses.
    pub async fn open(settings: FlashSaleSettings) -> Self {
        let shop = Shop::open(StockSettings::default(), WriterSettings::default());
        shop.memory.add_sku(world::sku(SKU));
        shop.add_stock(SKU, &[STOCK / 2, STOCK / 2]);
        let coordination = Arc::new(Flaky::default());
        let sales = node(&shop, coordination.clone(), settings, 2);
        sales.start().await.unwrap();
        Self { shop, coordination, sales }
    }

    /// Another node over the same store and coordination, not started.
    pub fn another_node(&self, coordination: Arc<Flaky>, settings: FlashSaleSettings, seed: u64) -> Arc<FlashSales> {
        node(&self.shop, coordination, settings, seed)
    }

    pub fn new_sale(&self, count: i64, per_user_limit: u32) -> NewFlashSale {
        let now = self.shop.clock.now();
        NewFlashSale {
            sku_id: SKU,
            price: PRICE,
            count,
            per_user_limit,
            starts_at: now,
            ends_at: now.plus(Duration::from_secs(3_600)),
            challenge: ChallengeMode::Off,
        }
    }

    /// A live sale and its gate.
    pub async fn live(&self, count: i64, per_user_limit: u32) -> Arc<Gate> {
        let draft = self.sales.create(self.new_sale(count, per_user_limit)).await.unwrap();
        self.sales.arm(draft.id).await.unwrap();
        self.sales.gate(draft.id).unwrap()
    }

    pub async fn attempt(&self, gate: &Gate, user: i64) -> Told {
        self.sales.attempt(gate, UserId(user)).await
    }

    /// All at once.
    pub async fn attempts(&self, gate: &Gate, users: impl IntoIterator<Item = i64>) -> Vec<Told> {
        join_all(users.into_iter().map(|user| self.attempt(gate, user))).await
    }

    pub async fn sale(&self, sale_id: SaleId) -> FlashSale {
        self.shop.memory.sale(sale_id).await.unwrap().unwrap()
    }

    pub async fn permits(&self, sale_id: SaleId) -> Option<i64> {
        self.coordination.inner.permits(sale_id).await.unwrap()
    }

    /// Makes the orders of winners, as the consumer of `sec.kill` does.
    pub async fn order(&self, sale_id: SaleId, winners: &[(i64, OrderSn)]) {
        let row = self.shop.stored_rows(SKU).await[0];
        let order = |(user, order_sn): &(i64, OrderSn)| {
            let order = world::new_order(order_sn.clone(), UserId(*user), &[world::line(&row, 1)]);
            actors::domain::order::NewOrder { sale_id: Some(sale_id), ..order }
        };
        let orders = winners.iter().map(order).collect();
        let made = self.shop.writer.commit(MakeFlashOrders { orders }).await.unwrap();
        assert!(made.iter().all(|made| *made == FlashOrder::Made), "{made:?}");
    }

    /// Closes an unpaid order and releases its unit, as the close worker and the stock actor do.
    pub async fn close(&self, order_sn: &OrderSn) {
        let order_sns = vec![order_sn.clone()];
        let close = CloseOrders {
            order_sns: order_sns.clone(),
            operator: Operator::System,
            note: "".into(),
            when_due: false,
            asked: None,
        };
        self.shop.writer.commit(close).await.unwrap();
        let release = ResolveLocks { sku_id: SKU, way: Resolution::Release, order_sns, lapsed_only: false };
        self.shop.writer.commit(release).await.unwrap();
    }

    /// The order of a grant could not be made.
    pub async fn fail(&self, order_sn: &OrderSn, reason: &str) {
        let failed = self.shop.writer.commit(FailGrants { grants: vec![(order_sn.clone(), reason.into())] }).await;
        assert_eq!(failed.unwrap(), [true]);
    }

    /// No unit sold twice, none lost; every number that was told is a grant.
    pub async fn assert_sound(&self, told: &[Told]) {
        let facts = self.shop.memory.facts(0).await.unwrap();
        let report = check(&facts).only(&ALWAYS);
        assert!(report.is_ok(), "{:?}", report.broken());
        let numbers: Vec<OrderSn> = winners(told);
        let distinct: HashSet<&OrderSn> = numbers.iter().collect();
        assert_eq!(distinct.len(), numbers.len(), "a number was given twice");
        assert_eq!(self.shop.memory.grants(&numbers).await.unwrap().len(), numbers.len(), "a win without a grant");
    }

    pub fn now(&self) -> Timestamp {
        self.shop.clock.now()
    }
}

fn node(shop: &Shop, coordination: Arc<Flaky>, settings: FlashSaleSettings, seed: u64) -> Arc<FlashSales> {
    FlashSales::new(
        shop.store.clone(),
        coordination,
        shop.writer.clone(),
        shop.stock.clone(),
        shop.clock.clone(),
        Arc::new(SeededEntropy::new(seed)),
        settings,
    )
}

/// The numbers of those who won.
pub fn winners(told: &[Told]) -> Vec<OrderSn> {
    told.iter()
        .filter_map(|told| if let Ok(Attempt::Won(order_sn)) = told { Some(order_sn.clone()) } else { None })
        .collect()
}

/// How often each kind of answer was given.
pub fn tally(told: &[Told]) -> BTreeMap<&'static str, usize> {
    let mut tally = BTreeMap::new();
    for told in told {
        let kind = match told {
            Ok(Attempt::Won(_)) => "won",
            Ok(Attempt::AlreadyWon(_)) => "already won",
            Ok(Attempt::SoldOut) => "sold out",
            Ok(Attempt::NotStarted) => "not started",
            Ok(Attempt::Ended) => "ended",
            Ok(Attempt::Paused) => "paused",
            Ok(Attempt::ChallengeRequired(_)) => "challenged",
            Err(Failure::Unavailable(Unavailable::Overloaded)) => "overloaded",
            Err(Failure::Unavailable(Unavailable::Stopping)) => "stopping",
            Err(_) => "unavailable",
        };
        *tally.entry(kind).or_default() += 1;
    }
    tally
}

/// The number a buyer won.
pub fn won(told: Told) -> OrderSn {
    match told {
        Ok(Attempt::Won(order_sn)) => order_sn,
        other => panic!("expected a win: {other:?}"),
    }
}
