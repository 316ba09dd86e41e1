//! The deliverer over the memory store: what it sends, and what it does when the store or a receiver fails it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actors::domain::SkuId;
use actors::domain::order::{NewOrder, OrderItem, PayType, Receiver};
use actors::domain::webhook::{DeliveryState, EventSet, Schedule, TryOutcome};
use actors::domain::{Money, OrderSn, Timestamp, UserId};
use actors::local::clock::{ManualClock, SeededEntropy};
use actors::local::store::MemoryStore;
use actors::ports::clock::Clock;
use actors::ports::store::units::PlaceOrder;
use actors::ports::store::{DeliverySearch, StoreRules, WebhookReads};
use actors::ports::webhooks::{WebhookPost, WebhookSender};
use actors::protocol::stock::{SkuNews, StockNews};
use actors::testkit::{FaultyStore, StoreFault, until, until_some};
use actors::webhook::{WebhookFailure, WebhookParts, WebhookSettings, WebhookWish, Webhooks};
use actors::writer::{self, Listeners, Writer, WriterSettings};
use async_trait::async_trait;
use futures_util::future::join;
use tokio::sync::mpsc;

/// What the receivers do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Says(u16),
    Hangs,
    Panics,
}

/// Every receiver there is.
struct World {
    posts: Mutex<Vec<WebhookPost>>,
    mood: Mutex<Mood>,
    panics: AtomicUsize,
}

#[async_trait]
impl WebhookSender for World {
    fn check(&self, url: &str) -> Result<(), String> {
        if url.starts_with("https://") { Ok(()) } else { Err("must begin with https://".into()) }
    }

    async fn post(&self, post: &WebhookPost) -> TryOutcome {
        let mood = *self.mood.lock().unwrap();
        match mood {
            Mood::Says(status) => {
                self.posts.lock().unwrap().push(post.clone());
                // Others get their turn meanwhile.
                tokio::task::yield_now().await;
                TryOutcome::Answered(status)
            }
            Mood::Hangs => std::future::pending().await,
            Mood::Panics => {
                self.panics.fetch_add(1, Ordering::Relaxed);
                panic!("the sender is broken");
            }
        }
    }
}

struct NoActors;

impl StockNews for NoActors {
    fn tell(&self, _: SkuId, _: SkuNews) {}
}

struct House {
    memory: Arc<MemoryStore>,
    store: Arc<FaultyStore>,
    clock: Arc<ManualClock>,
    writer: Writer,
    world: Arc<World>,
    webhooks: Arc<Webhooks>,
    endpoint_id: i64,
}

fn settings() -> WebhookSettings {
    WebhookSettings {
        max_endpoints: 2,
        at_once: 4,
        poll_interval: Duration::from_millis(10),
        timeout: Duration::from_secs(10),
        rotation_overlap: Duration::from_secs(3600),
        keep: Duration::from_secs(24 * 3600),
        schedule: Schedule::new(vec![Duration::from_secs(5)]),
    }
}

impl House {
    async fn new() -> Self {
        let rules = StoreRules { items_per_message: 256, points_per_yuan: 1, close_grace: Duration::from_secs(60) };
        let (clock, entropy) = (Arc::new(ManualClock::new(1_000)), Arc::new(SeededEntropy::new(1)));
        let memory = Arc::new(MemoryStore::new(clock.clone(), entropy.clone(), rules));
        let store = FaultyStore::new(memory.clone());
        let (writer, task) = writer::channel(WriterSettings { retries: 0, ..WriterSettings::default() });
        let (outbox, _) = mpsc::channel(64);
        tokio::spawn(task.run(store.clone(), Listeners { stock: Arc::new(NoActors), outbox }));
        let world =
            Arc::new(World { posts: Mutex::default(), mood: Mutex::new(Mood::Says(200)), panics: AtomicUsize::new(0) });
        let parts = WebhookParts {
            store: store.clone(),
            writer: writer.clone(),
            sender: world.clone(),
            clock: clock.clone(),
            entropy,
        };
        let webhooks = Webhooks::new(parts, settings());
        let made = webhooks.create("https://shop.example/hooks".into(), EventSet::ALL).await.expect("there is room");
        Self { memory, store, clock, writer, world, webhooks, endpoint_id: made.id }
    }

    /// Another node's handle on the same store.
    fn other_node(&self) -> Arc<Webhooks> {
        let parts = WebhookParts {
            store: self.store.clone(),
            writer: self.writer.clone(),
            sender: self.world.clone(),
            clock: self.clock.clone(),
            entropy: Arc::new(SeededEntropy::new(2)),
        };
        Webhooks::new(parts, settings())
    }

    /// Something to tell: an order, whose units nobody counts here.
    async fn tell(&self, number: u64) {
        let order = NewOrder {
            order_sn: OrderSn::generate(Timestamp(0), number),
            user_id: UserId(1),
            username: "user1".into(),
            pay_type: PayType::Online,
            total_amount: Money(1),
            pay_amount: Money(1),
            delivery_company: String::new(),
            receiver: Receiver::default(),
            items: vec![OrderItem {
                sku_id: SkuId(48),
                spu_id: 1,
                category_id: 1,
                title: "apple".into(),
                image: String::new(),
                price: Money(1),
                quantity: 1,
                attributes: String::new(),
            }],
            payment_timeout: Duration::from_secs(1),
            sale_id: None,
            pay_page_issued: false,
        };
        let unit = PlaceOrder { order, token: format!("token-{number}"), locks: Vec::new(), request: None };
        self.writer.commit(unit).await.expect("the order is placed");
    }

    fn mood(&self, mood: Mood) {
        *self.world.mood.lock().unwrap() = mood;
    }

    fn posts(&self) -> Vec<WebhookPost> {
        self.world.posts.lock().unwrap().clone()
    }

    /// How many deliveries are in a state, and the tries of the last one.
    async fn count(&self, state: DeliveryState) -> usize {
        let search = DeliverySearch { state: Some(state), before: None, limit: 1000 };
        self.memory.deliveries(self.endpoint_id, &search).await.expect("readable").len()
    }

    async fn until_count(&self, state: DeliveryState, wanted: usize) {
        let reached = || async { (self.count(state).await == wanted).then_some(()) };
        until_some("so many are there", reached).await;
    }
}

/// Two nodes that deliver at the same time send everything once.
#[tokio::test]
async fn two_deliverers_share_the_work() {
    let house = House::new().await;
    for number in 0..20 {
        house.tell(number).await;
    }
    let other = house.other_node();
    let work = async |node: &Webhooks| {
        let mut sent = 0;
        loop {
            match node.send_batch(house.endpoint_id).await.expect("the store is there") {
                0 => return sent,
                some => sent += some,
            }
        }
    };
    let (here, there) = join(work(&house.webhooks), work(&other)).await;
    assert_eq!(here + there, 20);
    let mut ids: Vec<String> = house.posts().into_iter().map(|post| post.message_id).collect();
    assert_eq!(ids.len(), 20);
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20, "nothing twice");
    assert_eq!(house.count(DeliveryState::Delivered).await, 20);
}

/// Whichever call of the store fails, before or after it happened: it is delivered in the end, under the same id.
#[tokio::test]
async fn a_store_that_fails_once_loses_nothing() {
    for fault in [StoreFault::Before, StoreFault::After] {
        for number in 1.. {
            let house = House::new().await;
            house.tell(1).await;
            house.store.arm(Some((number, fault)));
            let first = house.webhooks.send_batch(house.endpoint_id).await;
            let was_reached = house.store.calls().len() >= number;
            if !was_reached {
                assert_eq!(first, Ok(1));
                break;
            }
            assert!(matches!(first, Err(WebhookFailure::Unavailable(_))), "{fault:?} of call {number}: {first:?}");
            house.store.arm(None);
            // Whoever has a claim keeps it for its lease, then the next may try.
            for _ in 0..2 {
                house.webhooks.send_batch(house.endpoint_id).await.expect("the store is back");
                house.clock.advance(Duration::from_secs(60));
            }
            assert_eq!(house.count(DeliveryState::Delivered).await, 1, "{fault:?} of call {number}");
            let posts = house.posts();
            assert!(posts.iter().all(|post| post.message_id == posts[0].message_id));
        }
    }
}

/// A receiver that never answers costs its time and a try.
#[tokio::test(start_paused = true)]
async fn a_receiver_that_hangs_is_given_up() {
    let house = House::new().await;
    house.tell(1).await;
    house.mood(Mood::Hangs);
    assert_eq!(house.webhooks.send_batch(house.endpoint_id).await, Ok(1));
    assert_eq!(house.count(DeliveryState::Pending).await, 1);
    house.clock.advance(Duration::from_secs(6));
    assert_eq!(house.webhooks.send_batch(house.endpoint_id).await, Ok(1));
    assert_eq!(house.count(DeliveryState::Failed).await, 1, "one pause, two tries");
}

/// The loop finds what is due, works a backlog off, and survives a panic.
#[tokio::test]
async fn the_deliverer_goes_on_after_a_panic() {
    let house = House::new().await;
    house.mood(Mood::Panics);
    house.tell(0).await;
    let delivering = house.webhooks.start();
    until("the sender has panicked", || house.world.panics.load(Ordering::Relaxed) > 0).await;
    house.mood(Mood::Says(200));
    for number in 1..20 {
        house.tell(number).await;
    }
    house.until_count(DeliveryState::Delivered, 19).await;
    // The one that panicked is claimed until its lease is over.
    house.clock.advance(Duration::from_secs(60));
    house.until_count(DeliveryState::Delivered, 20).await;
    delivering.stop().await;
    house.tell(20).await;
    assert_eq!((house.count(DeliveryState::Pending).await, house.posts().len()), (1, 20), "it has stopped");
}

/// The timestamp is the time of the try, and both secrets sign while the former one's time lasts.
#[tokio::test]
async fn a_try_is_signed_when_it_is_made() {
    let house = House::new().await;
    house.tell(1).await;
    house.clock.advance(Duration::from_secs(100));
    let rotated = house.webhooks.rotate(house.endpoint_id).await.expect("the endpoint exists");
    house.webhooks.send_batch(house.endpoint_id).await.expect("sent");
    house.clock.advance(Duration::from_secs(3600));
    house.tell(2).await;
    house.webhooks.send_batch(house.endpoint_id).await.expect("sent");
    let posts = house.posts();
    let signatures: Vec<usize> = posts.iter().map(|post| post.signatures.split(' ').count()).collect();
    assert_eq!(signatures, [2, 1]);
    assert_eq!(posts[1].seconds, house.clock.now().0 / 1000);
    assert_eq!(posts[0].seconds + 3600, posts[1].seconds);
    let again = rotated.signatures(&posts[1].message_id, house.clock.now(), &posts[1].body);
    assert_eq!(posts[1].signatures, again);
}

/// Wishes that cannot be granted say why.
#[tokio::test]
async fn wishes_are_refused_with_a_reason() {
    let house = House::new().await;
    let url = "https://shop.example/".to_owned();
    let wish = |url: &str| WebhookWish { url: url.into(), events: EventSet::ALL, is_enabled: true };
    let bad = house.webhooks.create("http://shop.example/".into(), EventSet::ALL).await;
    assert!(matches!(bad, Err(WebhookFailure::BadUrl(_))));
    let second = house.webhooks.create(url.clone(), EventSet::ALL).await.expect("there is room for two");
    assert_eq!(house.webhooks.create(url.clone(), EventSet::ALL).await, Err(WebhookFailure::TooMany(2)));
    assert!(matches!(house.webhooks.edit(&second, wish("x")).await, Err(WebhookFailure::BadUrl(_))));
    house.webhooks.edit(&second, wish(&url)).await.expect("nobody was faster");
    assert_eq!(house.webhooks.edit(&second, wish(&url)).await, Err(WebhookFailure::Changed));
    house.webhooks.delete(second.id).await.expect("it is there");
    assert_eq!(house.webhooks.edit(&second, wish(&url)).await, Err(WebhookFailure::Unknown));
    assert_eq!(house.webhooks.delete(second.id).await, Err(WebhookFailure::Unknown));
    assert_eq!(house.webhooks.rotate(second.id).await, Err(WebhookFailure::Unknown));
    assert_eq!(house.webhooks.redeliver(second.id, 1).await, Err(WebhookFailure::Unknown));
}
