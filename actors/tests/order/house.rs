//! The whole inside of the server, with every clock and every message in the test's hand.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::bridge::dispatch::{DispatchSettings, Dispatcher};
use actors::bridge::{Sweep, SweepSettings};
use actors::domain::events::{Delays, Message, OrderRef, Queue, RoutingKey};
use actors::domain::flash_sale::{ChallengeMode, FlashSale, NewFlashSale};
use actors::domain::invariants::{ALWAYS, check};
use actors::domain::order::{Order, OrderStatus, PayType, Receiver};
use actors::domain::stock::StockRow;
use actors::domain::{Money, OrderSn, SaleId, SkuId, Timestamp, UserId, WareId};
use actors::flash_sale::{Attempt, FlashSaleSettings, FlashSales};
use actors::local::carts::StoreCarts;
use actors::local::clock::{ManualClock, SeededEntropy};
use actors::local::coordination::LocalCoordination;
use actors::local::store::MemoryStore;
use actors::order::{
    Buyer, NotifyAnswer, OrderParts, OrderSettings, Orders, PlacedOrder, ReturnWish, Shipment, SubmitRequest, Submitted,
};
use actors::ports::clock::Clock;
use actors::ports::store::units::MarkPublished;
use actors::ports::store::{
    Address, AuditReads, FlashSaleReads, Member, MessageReads, OrderReads, SaleAttribute, Sku, StockReads, Store,
    StoreRules,
};
use actors::protocol::bridge::{EffectBatch, Effects, Handled};
use actors::reader::Reader;
use actors::stock::{StockDirectory, StockSettings};
use actors::testkit::{Dice, FakeGateway, FaultyStore, HandBus, StepStore, until_some};
use actors::writer::{self, Listeners, Writer, WriterSettings};
use tokio::sync::{mpsc, watch};

pub const START: Timestamp = Timestamp(1_767_225_600_000);
pub const PHONE: SkuId = SkuId(48);
pub const CASE: SkuId = SkuId(49);
pub const CABLE: SkuId = SkuId(50);
pub const NOWHERE: SkuId = SkuId(99);
/// Price of every SKU.
pub const PRICE: Money = Money(1_000_000);
pub const SALE_PRICE: Money = Money(499_900);
pub const ALICE: UserId = UserId(1);
pub const BOB: UserId = UserId(2);
/// A member without address.
pub const CAROL: UserId = UserId(3);
pub const MEMBERS: i64 = 60;
pub const MINUTE: Duration = Duration::from_secs(60);
pub const TIMEOUT: Duration = Duration::from_secs(30 * 60);
pub const GRACE: Duration = Duration::from_secs(60);
pub const FLASH_TIMEOUT: Duration = Duration::from_secs(5 * 60);
const DELAYS: Delays =
    Delays { order_create: Duration::from_secs(31 * 60), order_create_flash: Duration::from_secs(6 * 60) };
const HOUR: Duration = Duration::from_secs(3600);
/// Longest read.
const REQUEST: Duration = Duration::from_secs(2);

/// The house. Dropped, its dispatchers stop.
pub struct House {
    pub clock: Arc<ManualClock>,
    pub memory: Arc<MemoryStore>,
    pub faults: Arc<FaultyStore>,
    pub store: Arc<StepStore>,
    pub writer: Writer,
    pub stock: Arc<StockDirectory>,
    pub coordination: Arc<LocalCoordination>,
    pub gateway: Arc<FakeGateway>,
    pub flash: Arc<FlashSales>,
    pub orders: Arc<Orders>,
    pub sweep: Arc<Sweep>,
    pub bus: Arc<HandBus>,
    entropy: Arc<SeededEntropy>,
    timers: Mutex<Vec<(Timestamp, Message)>>,
    _outbox: mpsc::Receiver<Vec<Message>>,
    _dispatching: watch::Sender<bool>,
}

impl House {
    /// With these units of [`PHONE`], one number a warehouse, and 3 of [`CASE`]; [`CABLE`] has none.
    pub async fn open(phones: &[i64]) -> Self {
        Self::open_seeded(phones, 1).await
    }

    pub async fn open_seeded(phones: &[i64], seed: u64) -> Self {
        let clock = Arc::new(ManualClock::new(START.0));
        let entropy = Arc::new(SeededEntropy::new(seed));
        let rules = StoreRules { items_per_message: 256, points_per_yuan: 1, close_grace: GRACE };
        let memory = Arc::new(MemoryStore::new(clock.clone(), entropy.clone(), rules));
        fill(&memory, phones);
        let faults = FaultyStore::new(memory.clone());
        let store = StepStore::new(faults.clone());
        let (writer, task) = writer::channel(WriterSettings::default());
        let arbiters = vec![actix::Arbiter::current()];
        let stock =
            StockDirectory::new(store.clone(), writer.clone(), clock.clone(), StockSettings::default(), arbiters);
        let (outbox_sender, outbox) = mpsc::channel(1024);
        actix::spawn(task.run(store.clone(), Listeners { stock: stock.clone(), outbox: outbox_sender.clone() }));
        let coordination = Arc::new(LocalCoordination::new());
        let gateway = Arc::new(FakeGateway::default());
        // Sales are refreshed by hand, so that the calls of a flow are always the same.
        let paces = FlashSaleSettings { refresh_every: HOUR, poll_every: HOUR, ..FlashSaleSettings::default() };
        let flash = FlashSales::new(
            store.clone(),
            coordination.clone(),
            writer.clone(),
            stock.clone(),
            clock.clone(),
            entropy.clone(),
            paces,
        );
        flash.start().await.unwrap();
        let parts = OrderParts {
            store: store.clone(),
            reader: Reader::start(store.clone(), REQUEST),
            writer: writer.clone(),
            stock: stock.clone(),
            coordination: coordination.clone(),
            carts: Arc::new(StoreCarts::new(store.clone(), writer.clone())),
            gateway: gateway.clone(),
            clock: clock.clone(),
            entropy: entropy.clone(),
            token_secret: b"secret".to_vec(),
        };
        let orders = Orders::new(parts, OrderSettings::default());
        let sweep = Sweep::new(store.clone(), orders.clone(), outbox_sender, SweepSettings::new(GRACE));
        let bus = HandBus::new();
        let (dispatching, stop) = watch::channel(false);
        for queue in Queue::ALL {
            let dispatcher = Dispatcher::new(queue, bus.clone(), writer.clone(), orders.clone(), quick());
            let stop = stop.clone();
            actix::spawn(async move { dispatcher.run(stop).await });
        }
        Self {
            clock,
            memory,
            faults,
            store,
            writer,
            stock,
            coordination,
            gateway,
            flash,
            orders,
            sweep,
            bus,
            entropy,
            timers: Mutex::default(),
            _outbox: outbox,
            _dispatching: dispatching,
        }
    }

    /// Another node: nothing shared but the store and the gateway.
    pub fn another_node(&self) -> Arc<Orders> {
        let (writer, task) = writer::channel(WriterSettings::default());
        let arbiters = vec![actix::Arbiter::current()];
        let settings = StockSettings::default();
        let stock = StockDirectory::new(self.store.clone(), writer.clone(), self.clock.clone(), settings, arbiters);
        let (outbox, _) = mpsc::channel(1);
        actix::spawn(task.run(self.store.clone(), Listeners { stock: stock.clone(), outbox }));
        let parts = OrderParts {
            store: self.store.clone(),
            reader: Reader::start(self.store.clone(), REQUEST),
            writer: writer.clone(),
            stock,
            coordination: Arc::new(LocalCoordination::new()),
            carts: Arc::new(StoreCarts::new(self.store.clone(), writer)),
            gateway: self.gateway.clone(),
            clock: self.clock.clone(),
            entropy: self.entropy.clone(),
            token_secret: b"secret".to_vec(),
        };
        Orders::new(parts, OrderSettings::default())
    }

    // Time.

    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub fn pass(&self, duration: Duration) {
        self.clock.advance(duration);
    }

    // Ordering.

    pub async fn token(&self, user: UserId) -> String {
        self.orders.confirm(user, &[]).await.unwrap().token
    }

    pub async fn submit(
        &self,
        user: UserId,
        request: SubmitRequest,
    ) -> Result<Submitted, actors::domain::reject::Failure> {
        self.orders.submit(&buyer(user), request).await
    }

    /// An order that is surely made, with its pay page.
    pub async fn placed(&self, user: UserId, wants: &[(SkuId, u32)]) -> PlacedOrder {
        let request = request(self.token(user).await, wants);
        self.place(user, request).await
    }

    pub async fn place(&self, user: UserId, request: SubmitRequest) -> PlacedOrder {
        match self.submit(user, request).await.unwrap() {
            Submitted::Placed(placed) => placed,
            repeated => panic!("{repeated:?}"),
        }
    }

    /// The buyer pays the whole amount; the notification is taken.
    pub async fn pay(&self, order_sn: &OrderSn) -> NotifyAnswer {
        let amount = self.order(order_sn).await.pay_amount;
        let body = self.gateway.pay(order_sn, amount).expect("the trade is open");
        self.orders.take_notification(&body).await
    }

    /// A paid order whose messages have arrived.
    pub async fn paid(&self, user: UserId, wants: &[(SkuId, u32)]) -> OrderSn {
        let order_sn = self.placed(user, wants).await.order_sn;
        assert_eq!(self.pay(&order_sn).await, NotifyAnswer::Success);
        self.deliver().await;
        order_sn
    }

    /// The same, shipped.
    pub async fn shipped(&self, user: UserId, wants: &[(SkuId, u32)]) -> OrderSn {
        let order_sn = self.paid(user, wants).await;
        self.orders.ship(&order_sn, shipment()).await.unwrap();
        order_sn
    }

    /// The same, received.
    pub async fn completed(&self, user: UserId, wants: &[(SkuId, u32)]) -> OrderSn {
        let order_sn = self.shipped(user, wants).await;
        self.orders.receive(user, &order_sn, None).await.unwrap();
        order_sn
    }

    pub async fn order(&self, order_sn: &OrderSn) -> Order {
        self.memory.order(order_sn).await.unwrap().expect("the order exists")
    }

    pub async fn status(&self, order_sn: &OrderSn) -> OrderStatus {
        self.order(order_sn).await.status
    }

    /// On hand and locked, over all warehouses.
    pub async fn units(&self, sku_id: SkuId) -> (i64, i64) {
        let rows = self.rows(sku_id).await;
        (rows.iter().map(|row| row.stock).sum(), rows.iter().map(|row| row.locked).sum())
    }

    pub async fn rows(&self, sku_id: SkuId) -> Vec<StockRow> {
        self.memory.stock_rows(sku_id).await.unwrap()
    }

    pub async fn apply(&self, batch: EffectBatch) -> Vec<Handled> {
        self.orders.apply(batch).await
    }

    /// What the timer's message does when it comes now.
    pub async fn close_due(&self, order_sns: &[&OrderSn]) -> Vec<Handled> {
        let items = order_sns.iter().map(|order_sn| OrderRef { order_token: (*order_sn).clone() });
        self.apply(EffectBatch::OrderClose(items.collect())).await
    }

    // Flash sales.

    /// A running sale of [`PHONE`], one hour long.
    pub async fn sale(&self, count: i64) -> SaleId {
        let now = self.now();
        let sale = NewFlashSale {
            sku_id: PHONE,
            price: SALE_PRICE,
            count,
            per_user_limit: 1,
            starts_at: now,
            ends_at: now.plus(HOUR),
            challenge: ChallengeMode::Off,
        };
        let sale_id = self.flash.create(sale).await.unwrap().id;
        self.flash.arm(sale_id).await.unwrap();
        sale_id
    }

    pub async fn attempt(&self, sale_id: SaleId, user: UserId) -> Attempt {
        let gate = self.flash.gate(sale_id).unwrap();
        self.flash.attempt(&gate, user).await.unwrap()
    }

    pub async fn win(&self, sale_id: SaleId, user: UserId) -> OrderSn {
        match self.attempt(sale_id, user).await {
            Attempt::Won(order_sn) => order_sn,
            other => panic!("{user:?}: {other:?}"),
        }
    }

    /// Wins as soon as the permits of units that came back are set.
    pub async fn win_soon(&self, sale_id: SaleId, user: UserId) -> OrderSn {
        let gate = self.flash.gate(sale_id).unwrap();
        until_some("the unit is for sale again", || async {
            match self.flash.attempt(&gate, user).await {
                Ok(Attempt::Won(order_sn)) => Some(order_sn),
                _ => None,
            }
        })
        .await
    }

    pub async fn stored_sale(&self, sale_id: SaleId) -> FlashSale {
        self.memory.sale(sale_id).await.unwrap().unwrap()
    }

    // Messages.

    /// Takes what is in the outbox: what is due now, and what waits for its time goes to the timers.
    async fn take_outbox(&self) -> Vec<Message> {
        let rows = self.memory.unpublished(0, usize::MAX).await.unwrap();
        let message_ids: Vec<String> = rows.iter().map(|row| row.message.message_id.clone()).collect();
        self.memory.commit(&[MarkPublished { message_ids }.into()]).await.unwrap();
        let now = self.now();
        let mut timers = self.timers.lock().unwrap();
        timers.extend(rows.into_iter().map(|row| (row.created_at.plus(DELAYS.of(row.message.key)), row.message)));
        timers.extract_if(.., |(due_at, _)| *due_at <= now).map(|(_, message)| message).collect()
    }

    /// Delivers every message that is due, each as often and all in the order that the dice say, until there is none.
    /// When `lossy`, some are lost: the sweep makes up for them.
    pub async fn deliver_rolled(&self, dice: &Dice, most_copies: usize, lossy: bool) {
        loop {
            let due = self.take_outbox().await;
            if due.is_empty() {
                return;
            }
            let mut arrivals: Vec<&Message> = Vec::new();
            for message in &due {
                let is_lost = lossy && dice.one_in(4);
                arrivals.extend(vec![message; if is_lost { 0 } else { 1 + dice.below(most_copies) }]);
            }
            dice.shuffle(&mut arrivals);
            arrivals.into_iter().for_each(|message| self.bus.hand_out(message));
            self.bus.settled().await;
        }
    }

    /// Delivers every message that is due, `copies` times, until there is none.
    pub async fn deliver_times(&self, copies: usize) {
        loop {
            let due = self.take_outbox().await;
            if due.is_empty() {
                return;
            }
            for message in due.iter().flat_map(|message| vec![message; copies]) {
                self.bus.hand_out(message);
            }
            self.bus.settled().await;
        }
    }

    /// Delivers every message that is due, until there is none or the store is too far away to handle or park one.
    pub async fn try_deliver(&self) {
        loop {
            let due = self.take_outbox().await;
            due.iter().for_each(|message| self.bus.hand_out(message));
            self.bus.settled_or_handed_back().await;
            if due.is_empty() || self.bus.handed_back() > 0 {
                return;
            }
        }
    }

    pub async fn deliver(&self) {
        self.deliver_times(1).await;
    }

    /// Delivers every message that is due, until there is none, but for those of this key, which are lost.
    pub async fn deliver_but(&self, lost: RoutingKey) {
        loop {
            let due = self.take_outbox().await;
            if due.is_empty() {
                return;
            }
            due.iter().filter(|message| message.key != lost).for_each(|message| self.bus.hand_out(message));
            self.bus.settled().await;
        }
    }

    /// Everything that is due is lost; how many messages of each key.
    pub async fn lose_messages(&self) -> Vec<RoutingKey> {
        self.take_outbox().await.into_iter().map(|message| message.key).collect()
    }

    /// Sweeps, with as much time passed as makes everything old enough, and delivers what comes of it.
    pub async fn sweep_and_deliver(&self) {
        self.pass(Duration::from_secs(31));
        self.sweep.step().await;
        self.deliver().await;
    }

    // Judging.

    /// What must hold at every moment.
    pub async fn assert_sound(&self) {
        let facts = self.memory.facts(0).await.unwrap();
        let broken = check(&facts).only(&ALWAYS).broken();
        assert!(broken.is_empty(), "{broken:#?}");
    }

    /// What must hold when nothing is under way.
    pub async fn assert_at_rest(&self) {
        let facts = self.memory.facts(0).await.unwrap();
        let broken = check(&facts).broken();
        assert!(broken.is_empty(), "{broken:#?}");
        let parked = self.memory.parked(usize::MAX).await.unwrap();
        assert!(parked.is_empty(), "{parked:?}");
    }
}

fn quick() -> DispatchSettings {
    DispatchSettings { retry_delays: vec![Duration::from_millis(1); 4], ..DispatchSettings::default() }
}

fn fill(memory: &MemoryStore, phones: &[i64]) {
    for sku_id in [PHONE, CASE, CABLE] {
        memory.add_sku(sku(sku_id));
    }
    for (ware, units) in (1..).zip(phones) {
        memory.add_warehouse(WareId(ware), "warehouse");
        memory.add_stock(PHONE, WareId(ware), *units);
    }
    memory.add_stock(CASE, WareId(1), 3);
    for id in 1..=MEMBERS {
        memory.add_member(member(UserId(id)));
    }
    memory.add_address(address(1, ALICE, "first", false));
    memory.add_address(address(2, ALICE, "home", true));
    memory.add_address(address(3, BOB, "bob's", true));
}

pub fn sku(sku_id: SkuId) -> Sku {
    let attribute = SaleAttribute { id: sku_id.0, attr_id: 3, name: "颜色".into(), value: "白色".into(), sort: 0 };
    Sku {
        sku_id,
        spu_id: 7,
        category_id: 225,
        brand_id: 2,
        name: format!("sku {sku_id}"),
        title: format!("title {sku_id}"),
        subtitle: String::new(),
        image: "image".into(),
        price: PRICE,
        attributes: vec![attribute],
    }
}

fn member(id: UserId) -> Member {
    let integration = if id == ALICE { 1000 } else { 0 };
    Member {
        id,
        username: format!("user{id}"),
        nickname: String::new(),
        mobile: String::new(),
        email: String::new(),
        integration,
        growth: 0,
    }
}

fn address(id: i64, user_id: UserId, name: &str, is_default: bool) -> Address {
    let receiver = Receiver { name: name.into(), city: "上海".into(), ..Receiver::default() };
    Address { id, user_id, receiver, areacode: String::new(), is_default }
}

pub fn buyer(user_id: UserId) -> Buyer {
    Buyer { user_id, username: format!("user{user_id}") }
}

/// A submit as the confirm page makes it: online, with a pay page, at the right total.
pub fn request(token: String, wants: &[(SkuId, u32)]) -> SubmitRequest {
    let units: u32 = wants.iter().map(|(_, quantity)| quantity).sum();
    SubmitRequest {
        token,
        wants: wants.to_vec(),
        total: PRICE.checked_times(units).unwrap(),
        pay_type: PayType::Online,
        delivery_company: "顺丰".into(),
        receiver: Receiver { name: "receiver".into(), ..Receiver::default() },
        with_pay_page: true,
    }
}

/// A parcel.
pub fn shipment() -> Shipment {
    Shipment { delivery_company: "顺丰".into(), delivery_sn: "SF1".into(), note: "shipped".into() }
}

/// Units of a SKU that its buyer wants to send back.
pub fn wish(sku_id: SkuId, quantity: u32) -> ReturnWish {
    ReturnWish { sku_id, quantity, reason: "broken".into(), description: String::new() }
}

/// The order a submit answers with, whether it made it or found it.
pub fn number_of(submitted: &Submitted) -> OrderSn {
    match submitted {
        Submitted::Placed(placed) => placed.order_sn.clone(),
        Submitted::Repeated(order) => order.order_sn.clone(),
    }
}

/// Runs a test inside an actor system of its own.
pub fn in_system(test: impl Future<Output = ()>) {
    actix::System::new().block_on(test);
}
