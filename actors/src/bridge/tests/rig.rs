//! What the tests of the bridge and of the in-process bus stand on.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use crate::domain::events::{Delays, Envelope, Event, Message, OrderRef, Queue, pack};
use crate::domain::{OrderSn, SkuId, Timestamp};
use crate::local::bus::{LocalBus, LocalBusSettings};
use crate::local::clock::SeededEntropy;
use crate::local::store::MemoryStore;
use crate::ports::bus::{Bus, BusError, Delivery};
use crate::ports::clock::{Clock, Entropy};
use crate::ports::store::units::{Park, Replay};
use crate::ports::store::{MessageReads, OutboxRow, ParkedMessage, StoreRules};
use crate::protocol::bridge::{EffectBatch, Effects, Handled};
use crate::protocol::stock::{SkuNews, StockNews};
use crate::writer::{self, Listeners, Writer, WriterSettings};

pub(crate) const PAYMENT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
pub(crate) const DELAYS: Delays =
    Delays { order_create: PAYMENT_TIMEOUT, order_create_flash: Duration::from_secs(5 * 60) };

/// Shows tokio's time, which stands still in a paused test until everybody waits.
pub(crate) struct TokioClock(Instant);

impl TokioClock {
    pub(crate) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Clock for TokioClock {
    fn now(&self) -> Timestamp {
        Timestamp(1_767_225_600_000).plus(self.0.elapsed())
    }
}

struct Deaf;

impl StockNews for Deaf {
    fn tell(&self, _: SkuId, _: SkuNews) {}
}

/// A reference store with its writer.
pub(crate) struct House {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) writer: Writer,
    pub(crate) clock: Arc<TokioClock>,
    pub(crate) entropy: Arc<SeededEntropy>,
    pub(crate) hints: mpsc::Sender<Vec<Message>>,
    /// Where the writer's hints arrive, until somebody takes it.
    pub(crate) outbox: Option<mpsc::Receiver<Vec<Message>>>,
}

impl House {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(TokioClock::new());
        let entropy = Arc::new(SeededEntropy::new(7));
        let rules = StoreRules { items_per_message: 256, points_per_yuan: 1, close_grace: Duration::from_secs(60) };
        let store = Arc::new(MemoryStore::new(clock.clone(), entropy.clone(), rules));
        let (writer, task) = writer::channel(WriterSettings::default());
        let (hints, outbox) = mpsc::channel(64);
        let listeners = Listeners { stock: Arc::new(Deaf), outbox: hints.clone() };
        tokio::spawn(task.run(store.clone(), listeners));
        Self { store, writer, clock, entropy, hints, outbox: Some(outbox) }
    }

    /// Another process over the same store, whose hints nobody hears.
    pub(crate) fn over(other: &Self) -> Self {
        let (writer, task) = writer::channel(WriterSettings::default());
        let (hints, _) = mpsc::channel(1);
        tokio::spawn(task.run(other.store.clone(), Listeners { stock: Arc::new(Deaf), outbox: hints.clone() }));
        let (store, clock, entropy) = (other.store.clone(), other.clock.clone(), other.entropy.clone());
        Self { store, writer, clock, entropy, hints, outbox: None }
    }

    pub(crate) async fn bus(&self, settings: LocalBusSettings) -> Arc<LocalBus> {
        let opened = LocalBus::open(self.store.clone(), self.writer.clone(), self.clock.clone(), settings).await;
        opened.expect("the queue is readable")
    }

    /// Writes an outbox row, and with it a hint.
    pub(crate) async fn write_outbox(&self, message: &Message) {
        let parked_id = format!("source of {}", message.message_id);
        let (queue, payload) = (message.key.queue(), message.payload.clone());
        self.writer.commit(Park { message_id: parked_id.clone(), queue, payload, reason: "".into() }).await.unwrap();
        let replay = Replay { message_id: parked_id, new_message_id: message.message_id.clone() };
        assert!(self.writer.commit(replay).await.unwrap());
    }

    pub(crate) async fn unpublished(&self) -> Vec<OutboxRow> {
        self.store.unpublished(-1, usize::MAX).await.unwrap()
    }

    /// What was parked by somebody else than [`Self::write_outbox`], by id.
    pub(crate) async fn parked(&self) -> BTreeMap<String, ParkedMessage> {
        let parked = self.store.parked(usize::MAX).await.unwrap();
        let real = parked.into_iter().filter(|parked| !parked.message_id.starts_with("source of "));
        real.map(|parked| (parked.message_id.clone(), parked)).collect()
    }

    pub(crate) async fn until_queue_is_empty(&self) {
        until("the durable queue is empty", async || self.store.queued().await.unwrap().is_empty()).await;
    }
}

/// Waits for a state, at most ten virtual minutes.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waiting = async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(600), waiting).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// The seed of a random test: printed, and taken from SEED when set.
pub(crate) fn seed(usual: u64) -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(usual);
    eprintln!("SEED={seed}");
    seed
}

pub(crate) fn order(name: &str) -> OrderRef {
    OrderRef { order_token: OrderSn::parse(name).expect("a valid order number") }
}

/// One message of `stock.unlock` with these orders.
pub(crate) fn unlock(message_id: &str, orders: &[&str]) -> Message {
    message(message_id, orders, Event::StockUnlock)
}

pub(crate) fn message(message_id: &str, orders: &[&str], event: impl Fn(OrderRef) -> Event) -> Message {
    let events: Vec<Event> = orders.iter().map(|name| event(order(name))).collect();
    let mut messages = pack(&events, events.len(), || message_id.to_owned());
    assert_eq!(messages.len(), 1, "one key, one message");
    messages.remove(0)
}

/// What an item does to whoever applies it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Character {
    /// Refused this often, then fine.
    Refused(usize),
    Poison,
    Panics,
    Hangs,
}

/// Applies to a map: how often each item was applied. Applying is idempotent by construction: the map's keys are the
/// state, its values only tell the tests how often they were touched.
#[derive(Default)]
pub(crate) struct Recorder {
    characters: Mutex<BTreeMap<String, Character>>,
    applied: Mutex<BTreeMap<String, usize>>,
    tries: Mutex<Vec<(Instant, Vec<String>)>>,
    batches: Mutex<Vec<EffectBatch>>,
}

impl Recorder {
    pub(crate) fn with(characters: &[(&str, Character)]) -> Arc<Self> {
        let recorder = Self::default();
        for (name, character) in characters {
            recorder.set(name, *character);
        }
        Arc::new(recorder)
    }

    pub(crate) fn set(&self, name: &str, character: Character) {
        self.characters.lock().unwrap().insert(name.to_owned(), character);
    }

    pub(crate) fn mend(&self, name: &str) {
        self.characters.lock().unwrap().remove(name);
    }

    /// How often each item was applied.
    pub(crate) fn applied(&self) -> BTreeMap<String, usize> {
        self.applied.lock().unwrap().clone()
    }

    pub(crate) fn has_applied(&self, name: &str) -> bool {
        self.applied.lock().unwrap().contains_key(name)
    }

    /// When each item was tried.
    pub(crate) fn tries_of(&self, name: &str) -> Vec<Instant> {
        let tries = self.tries.lock().unwrap();
        tries.iter().filter(|(_, names)| names.iter().any(|tried| tried == name)).map(|(at, _)| *at).collect()
    }

    /// Everything asked, in order.
    pub(crate) fn batches(&self) -> Vec<EffectBatch> {
        self.batches.lock().unwrap().clone()
    }

    fn answer(&self, name: &str) -> Handled {
        match self.characters.lock().unwrap().get_mut(name) {
            Some(Character::Refused(left)) if *left > 0 => {
                *left -= 1;
                return Handled::Retry("not now".into());
            }
            Some(Character::Poison) => return Handled::Poison("never".into()),
            _ => {}
        }
        *self.applied.lock().unwrap().entry(name.to_owned()).or_default() += 1;
        Handled::Done
    }

    fn has(&self, names: &[String], character: Character) -> bool {
        let characters = self.characters.lock().unwrap();
        names.iter().any(|name| characters.get(name) == Some(&character))
    }
}

#[async_trait]
impl Effects for Recorder {
    async fn apply(&self, batch: EffectBatch) -> Vec<Handled> {
        let names = names(&batch);
        self.batches.lock().unwrap().push(batch);
        self.tries.lock().unwrap().push((Instant::now(), names.clone()));
        assert!(!self.has(&names, Character::Panics), "this item panics on purpose");
        if self.has(&names, Character::Hangs) {
            std::future::pending::<()>().await;
        }
        names.iter().map(|name| self.answer(name)).collect()
    }
}

/// What the items of a batch are called.
pub(crate) fn names(batch: &EffectBatch) -> Vec<String> {
    match batch {
        EffectBatch::OrderClose(items)
        | EffectBatch::OrderSuccess(_, items)
        | EffectBatch::StockUnlock(items)
        | EffectBatch::StockMinus(items)
        | EffectBatch::ReleaseLapsed(items)
        | EffectBatch::AutoReceive(items) => items.iter().map(|item| item.order_token.to_string()).collect(),
        EffectBatch::CartDelete(items) => items.iter().map(|item| item.user_id.to_string()).collect(),
        EffectBatch::BoundPlus(items) => items.iter().map(|item| item.order_token.to_string()).collect(),
        EffectBatch::SecKill(items) => items.iter().map(|item| item.order_token.to_string()).collect(),
        EffectBatch::EndSales(items) => items.iter().map(|item| item.to_string()).collect(),
        EffectBatch::Refunds(items) => items.iter().map(|item| item.request_no.clone()).collect(),
    }
}

/// A bus that notes what is published and can be switched off.
#[derive(Default)]
pub(crate) struct NoteBus {
    pub(crate) is_away: AtomicBool,
    pub(crate) published: Mutex<Vec<String>>,
}

impl NoteBus {
    pub(crate) fn published(&self) -> Vec<String> {
        self.published.lock().unwrap().clone()
    }
}

#[async_trait]
impl Bus for NoteBus {
    async fn publish(&self, messages: &[Message]) -> Vec<Result<(), BusError>> {
        let answer = |message: &Message| {
            if self.is_away.load(Ordering::SeqCst) || message.message_id.starts_with("unroutable") {
                return Err(BusError("away".into()));
            }
            self.published.lock().unwrap().push(message.message_id.clone());
            Ok(())
        };
        messages.iter().map(answer).collect()
    }

    async fn receive(&self, _: Queue, _: usize) -> Result<Vec<Delivery>, BusError> {
        std::future::pending().await
    }

    async fn ack(&self, _: &Delivery) -> Result<(), BusError> {
        Ok(())
    }

    async fn retry(&self, _: &Delivery, _: Duration) -> Result<(), BusError> {
        Ok(())
    }
}

/// The items of a parked message.
pub(crate) fn parked_items(parked: &ParkedMessage) -> Vec<serde_json::Value> {
    let envelope = Envelope::parse(parked.payload.as_bytes()).expect("a parked item is a message");
    envelope.items.iter().map(|item| serde_json::from_str(item.get()).expect("an item is JSON")).collect()
}

/// Random numbers below `bound`.
pub(crate) fn below(entropy: &dyn Entropy, bound: u64) -> u64 {
    entropy.next_u64() % bound
}
