//! The inside of the server over a memory store, with the bus that a test gives it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use actix_rt::Arbiter;
use actors::bridge::dispatch::{DispatchSettings, Dispatcher};
use actors::bridge::{Bridge, BridgeSettings};
use actors::domain::events::{Message, Queue};
use actors::domain::invariants::check;
use actors::domain::order::{OrderStatus, PayType, Receiver};
use actors::domain::stock::LockState;
use actors::domain::{Money, OrderSn, SkuId, UserId, WareId};
use actors::local::carts::StoreCarts;
use actors::local::coordination::LocalCoordination;
use actors::local::store::MemoryStore;
use actors::order::{Buyer, OrderParts, OrderSettings, Orders, SubmitRequest, Submitted};
use actors::ports::bus::Bus;
use actors::ports::store::units::MarkPublished;
use actors::ports::store::{AuditReads, Member, MemberReads, MessageReads, OrderReads, Sku, StockReads, StoreRules};
use actors::protocol::bridge::{EffectBatch, Effects, Handled};
use actors::reader::Reader;
use actors::stock::{StockDirectory, StockSettings};
use actors::testkit::FakeGateway;
use actors::writer::{self, Listeners, Writer, WriterSettings};
use async_trait::async_trait;
use seckill::machine::{SystemClock, SystemEntropy};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

pub const PHONE: SkuId = SkuId(48);
pub const CASE: SkuId = SkuId(49);
pub const MEMBERS: i64 = 9;
/// Units of each SKU.
pub const UNITS: i64 = 20_000;
/// 100 yuan.
const PRICE: Money = Money(10_000);
const GRACE: Duration = Duration::from_secs(60);
const LEASE: Duration = Duration::from_secs(1800);

/// Applies what the orders apply, and counts.
pub struct Witness {
    orders: Arc<Orders>,
    begun: AtomicUsize,
    applied: AtomicUsize,
}

impl Witness {
    /// Items that were judged.
    pub fn applied(&self) -> usize {
        self.applied.load(Ordering::SeqCst)
    }

    /// Whether nothing is being judged.
    pub fn is_idle(&self) -> bool {
        self.applied() == self.begun.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Effects for Witness {
    async fn apply(&self, batch: EffectBatch) -> Vec<Handled> {
        self.begun.fetch_add(batch.len(), Ordering::SeqCst);
        let answers = self.orders.apply(batch).await;
        self.applied.fetch_add(answers.len(), Ordering::SeqCst);
        answers
    }
}

/// Running dispatchers, without a relay.
pub struct Dispatchers {
    stop: watch::Sender<bool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Dispatchers {
    /// Finishes what is in work.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        for task in self.tasks {
            task.await.expect("no panic");
        }
    }
}

/// The shop. Must be opened inside an actix system.
pub struct Shop {
    pub memory: Arc<MemoryStore>,
    pub writer: Writer,
    pub witness: Arc<Witness>,
    orders: Arc<Orders>,
    stock: Arc<StockDirectory>,
    gateway: Arc<FakeGateway>,
    hints: Option<mpsc::Receiver<Vec<Message>>>,
}

impl Shop {
    /// With one item a message, as foreign consumers want it.
    pub async fn open() -> Self {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let rules = StoreRules { items_per_message: 1, points_per_yuan: 1, close_grace: GRACE };
        let memory = Arc::new(MemoryStore::new(clock.clone(), entropy.clone(), rules));
        fill(&memory);
        let (writer, inbox) = writer::channel(WriterSettings::default());
        let arbiters = vec![Arbiter::current()];
        let settings = StockSettings { mailbox: 100_000, ..StockSettings::default() };
        let stock = StockDirectory::new(memory.clone(), writer.clone(), clock.clone(), settings, arbiters);
        let (outbox, hints) = mpsc::channel(1024);
        tokio::spawn(inbox.run(memory.clone(), Listeners { stock: stock.clone(), outbox }));
        let gateway = Arc::new(FakeGateway::default());
        let parts = OrderParts {
            store: memory.clone(),
            reader: Reader::start(memory.clone(), Duration::from_secs(2)),
            writer: writer.clone(),
            stock: stock.clone(),
            coordination: Arc::new(LocalCoordination::new()),
            carts: Arc::new(StoreCarts::new(memory.clone(), writer.clone())),
            gateway: gateway.clone(),
            clock,
            entropy,
            token_secret: b"secret".to_vec(),
        };
        let orders = Orders::new(parts, OrderSettings::default());
        let (begun, applied) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let witness = Arc::new(Witness { orders: orders.clone(), begun, applied });
        Self { memory, writer, witness, orders, stock, gateway, hints: Some(hints) }
    }

    /// Outbox → bus → effects, as it runs; once a shop.
    pub fn bridge(&mut self, bus: Arc<dyn Bus>) -> Bridge {
        let (clock, entropy) = (Arc::new(SystemClock), Arc::new(SystemEntropy));
        let (store, effects, settings) = (self.memory.clone(), self.witness.clone(), BridgeSettings::default());
        let hints = self.hints.take().expect("the only one");
        Bridge::start(store, self.writer.clone(), bus, effects, clock, entropy, settings, hints)
    }

    /// Bus → effects alone.
    pub fn dispatch(&self, bus: Arc<dyn Bus>) -> Dispatchers {
        let (stop, stopping) = watch::channel(false);
        let start = |queue| {
            let (writer, settings) = (self.writer.clone(), DispatchSettings::default());
            let dispatcher = Dispatcher::new(queue, bus.clone(), writer, self.witness.clone(), settings);
            let stopping = stopping.clone();
            tokio::spawn(async move { dispatcher.run(stopping).await })
        };
        Dispatchers { tasks: Queue::ALL.into_iter().map(start).collect(), stop }
    }

    pub async fn place(&self, user_id: UserId, sku_ids: &[SkuId]) -> OrderSn {
        let wants: Vec<(SkuId, u32)> = sku_ids.iter().map(|sku_id| (*sku_id, 1)).collect();
        let total = PRICE.checked_times(u32::try_from(wants.len()).expect("few")).expect("little");
        let request = SubmitRequest {
            token: self.orders.confirm(user_id, &[]).await.expect("a token").token,
            wants,
            total,
            pay_type: PayType::Online,
            delivery_company: String::new(),
            receiver: Receiver::default(),
            with_pay_page: true,
        };
        let buyer = Buyer { user_id, username: format!("user{user_id}") };
        match self.orders.submit(&buyer, request).await.expect("there is enough") {
            Submitted::Placed(placed) => placed.order_sn,
            repeated => panic!("{repeated:?}"),
        }
    }

    pub async fn pay(&self, order_sn: &OrderSn) {
        let amount = self.memory.order(order_sn).await.expect("the store answers").expect("it exists").pay_amount;
        let notification = self.gateway.pay(order_sn, amount).expect("the trade is open");
        self.orders.take_notification(&notification).await;
        assert_eq!(self.status(order_sn).await, OrderStatus::AwaitingShipment);
    }

    pub async fn cancel(&self, user_id: UserId, order_sn: &OrderSn) {
        self.orders.cancel(user_id, order_sn, None).await.expect("it is unpaid");
    }

    pub async fn status(&self, order_sn: &OrderSn) -> OrderStatus {
        self.memory.order(order_sn).await.expect("the store answers").expect("it exists").status
    }

    /// Another system's lock of one unit.
    pub async fn lock(&self, owner: &str, sku_id: SkuId) {
        let owner = OrderSn::parse(owner).expect("keeps to the grammar");
        self.stock.lock(owner, &[(sku_id, 1)], LEASE).await.expect("there is enough");
    }

    /// On hand and locked.
    pub async fn units(&self, sku_id: SkuId) -> (i64, i64) {
        let rows = self.memory.stock_rows(sku_id).await.expect("the store answers");
        (rows.iter().map(|row| row.stock).sum(), rows.iter().map(|row| row.locked).sum())
    }

    /// Takes everything out of the outbox, marked, for a test that delivers by itself.
    pub async fn take_outbox(&self) -> Vec<Message> {
        let rows = self.memory.unpublished(-1, usize::MAX).await.expect("the store answers");
        let message_ids: Vec<String> = rows.iter().map(|row| row.message.message_id.clone()).collect();
        if !message_ids.is_empty() {
            self.writer.commit(MarkPublished { message_ids }).await.expect("marked");
        }
        rows.into_iter().map(|row| row.message).collect()
    }

    /// How many of these owners' locks are in this state.
    pub async fn locks(&self, owners: &[String], state: LockState) -> usize {
        let owners: Vec<OrderSn> = owners.iter().filter_map(|owner| OrderSn::parse(owner)).collect();
        let locks = self.memory.locks_of(&owners).await.expect("the store answers");
        locks.iter().filter(|lock| lock.state == state).count()
    }

    /// Ids of what was parked.
    pub async fn parked(&self) -> BTreeSet<String> {
        let parked = self.memory.parked(usize::MAX).await.expect("the store answers");
        parked.into_iter().map(|parked| parked.message_id).collect()
    }

    /// Spendable points of all members.
    pub async fn points(&self) -> i64 {
        let mut points = 0;
        for user_id in (1..=MEMBERS).map(UserId) {
            let member = self.memory.member(user_id).await.expect("the store answers");
            points += member.map_or(0, |member| member.integration);
        }
        points
    }

    pub async fn assert_sound(&self) {
        let broken = check(&self.memory.facts(0).await.expect("the store answers")).broken();
        assert!(broken.is_empty(), "{broken:#?}");
    }
}

fn fill(memory: &MemoryStore) {
    memory.add_warehouse(WareId(1), "warehouse");
    for sku_id in [PHONE, CASE] {
        memory.add_sku(Sku {
            sku_id,
            spu_id: 7,
            category_id: 225,
            brand_id: 2,
            name: format!("sku {sku_id}"),
            title: format!("title {sku_id}"),
            subtitle: String::new(),
            image: String::new(),
            price: PRICE,
            attributes: Vec::new(),
        });
        memory.add_stock(sku_id, WareId(1), UNITS);
    }
    for id in 1..=MEMBERS {
        memory.add_member(Member {
            id: UserId(id),
            username: format!("user{id}"),
            nickname: String::new(),
            mobile: String::new(),
            email: String::new(),
            integration: 0,
            growth: 0,
        });
    }
}
