//! Delivery → effects.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until};

use super::rig::{Character, DELAYS, House, Recorder, below, message, names, order, parked_items, seed, unlock, until};
use crate::bridge::dispatch::{DispatchSettings, Dispatcher};
use crate::bridge::{Bridge, BridgeSettings, Replayer};
use crate::domain::events::{Event, Message, Queue, RoutingKey};
use crate::local::bus::{Chaos, LocalBus, LocalBusSettings};
use crate::local::clock::SeededEntropy;
use crate::ports::bus::Bus;
use crate::ports::store::MessageReads;
use crate::protocol::bridge::EffectBatch;

struct Running {
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Running {
    async fn stop(self) {
        self.stop.send(true).unwrap();
        self.task.await.unwrap();
    }
}

fn dispatch(house: &House, bus: &Arc<LocalBus>, effects: &Arc<Recorder>, queue: Queue) -> Running {
    let settings = DispatchSettings::default();
    let dispatcher = Dispatcher::new(queue, bus.clone(), house.writer.clone(), effects.clone(), settings);
    let (stop, stopping) = watch::channel(false);
    Running { stop, task: tokio::spawn(async move { dispatcher.run(stopping).await }) }
}

async fn publish(bus: &LocalBus, messages: &[Message]) {
    assert!(bus.publish(messages).await.iter().all(Result::is_ok));
}

fn millis_between(instants: &[Instant]) -> Vec<u128> {
    instants.windows(2).map(|pair| (pair[1] - pair[0]).as_millis()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_refused_item_is_tried_alone_on_schedule_and_then_parked_alone() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let effects = Recorder::with(&[("bad", Character::Refused(usize::MAX))]);
    let running = dispatch(&house, &bus, &effects, Queue::StockUnlock);
    publish(&bus, &[unlock("m", &["good", "bad", "fine"])]).await;
    house.until_queue_is_empty().await;

    assert_eq!(millis_between(&effects.tries_of("bad")), [100, 1_000, 5_000, 15_000]);
    assert_eq!(effects.tries_of("good").len(), 1, "the others are not tried again");
    assert_eq!(effects.applied().into_keys().collect::<Vec<_>>(), ["fine", "good"]);
    let parked = house.parked().await;
    assert_eq!(parked.keys().collect::<Vec<_>>(), ["m#1"]);
    assert_eq!(parked_items(&parked["m#1"]), [serde_json::json!({"orderToken": "bad"})]);
    assert_eq!(parked["m#1"].reason, "not now");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_waits_for_its_retry_does_not_hold_up_others() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let effects = Recorder::with(&[("slow", Character::Refused(4))]);
    let running = dispatch(&house, &bus, &effects, Queue::StockUnlock);
    let started = Instant::now();
    publish(&bus, &[unlock("a", &["slow"]), unlock("b", &["quick"])]).await;
    until("the quick one is applied", async || effects.has_applied("quick")).await;
    assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
    assert!(!effects.has_applied("slow"));
    house.until_queue_is_empty().await;
    assert_eq!(effects.applied()["slow"], 1, "the fifth try succeeds");
    assert!(house.parked().await.is_empty());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panicking_item_is_found_at_once_and_only_it_is_parked() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let effects = Recorder::with(&[("o5", Character::Panics)]);
    let running = dispatch(&house, &bus, &effects, Queue::StockUnlock);
    let orders: Vec<String> = (0..9).map(|n| format!("o{n}")).collect();
    let started = Instant::now();
    publish(&bus, &[unlock("m", &orders.iter().map(String::as_str).collect::<Vec<_>>())]).await;
    until("the good ones are applied", async || effects.applied().len() == 8).await;
    assert!(started.elapsed() < Duration::from_millis(100), "halving waits for nothing");
    house.until_queue_is_empty().await;
    assert_eq!(house.parked().await.into_keys().collect::<Vec<_>>(), ["m#5"]);
    assert!(!effects.has_applied("o5"));
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_hanging_item_costs_deadlines_and_only_it_is_parked() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let effects = Recorder::with(&[("o2", Character::Hangs)]);
    let running = dispatch(&house, &bus, &effects, Queue::StockUnlock);
    publish(&bus, &[unlock("m", &["o0", "o1", "o2", "o3"])]).await;
    house.until_queue_is_empty().await;
    assert_eq!(house.parked().await.into_keys().collect::<Vec<_>>(), ["m#2"]);
    assert_eq!(effects.applied().into_keys().collect::<Vec<_>>(), ["o0", "o1", "o3"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_decoded_is_parked_at_once() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let effects = Recorder::with(&[]);
    let running = dispatch(&house, &bus, &effects, Queue::StockUnlock);
    let garbage = Message { message_id: "garbage".into(), key: RoutingKey::StockUnlock, payload: "{".into() };
    let payload = unlock("half", &["good", "bad"]).payload.replace("\"bad\"", "\"no such number!\"");
    let half = Message { message_id: "half".into(), key: RoutingKey::StockUnlock, payload };
    let started = Instant::now();
    publish(&bus, &[garbage, half]).await;
    house.until_queue_is_empty().await;
    assert!(started.elapsed() < Duration::from_millis(100), "no retry helps them");
    let parked = house.parked().await;
    assert_eq!(parked.keys().collect::<Vec<_>>(), ["garbage", "half#1"]);
    assert_eq!(parked["garbage"].payload, "{");
    assert_eq!(effects.applied().into_keys().collect::<Vec<_>>(), ["good"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn paid_orders_are_sent_on_under_one_id_or_each_under_its_own() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let effects = Recorder::with(&[("bad", Character::Panics), ("late", Character::Refused(1))]);
    let running = dispatch(&house, &bus, &effects, Queue::OrderSuccess);
    publish(
        &bus,
        &[
            message("whole", &["w0", "w1"], Event::OrderSuccess),
            message("split", &["s0", "bad"], Event::OrderSuccess),
            message("alone", &["late"], Event::OrderSuccess),
        ],
    )
    .await;
    house.until_queue_is_empty().await;
    let batches = effects.batches();
    let ids: BTreeSet<(&str, Vec<String>)> = batches
        .iter()
        .map(|batch| match batch {
            EffectBatch::OrderSuccess(id, _) => (id.as_str(), names(batch)),
            other => panic!("not of this queue: {other:?}"),
        })
        .collect();
    let expected: [(&str, &[&str]); 5] = [
        ("whole", &["w0", "w1"]),
        ("split", &["s0", "bad"]),
        ("split#0", &["s0"]),
        ("split#1", &["bad"]),
        ("alone", &["late"]),
    ];
    let expected = expected.map(|(id, names)| (id, names.iter().map(|name| name.to_string()).collect()));
    assert_eq!(ids, BTreeSet::from(expected), "an id always stands for the same items");
    assert_eq!(house.parked().await.into_keys().collect::<Vec<_>>(), ["split#1"]);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_come_often_and_in_any_order_change_nothing() {
    let seed = seed(20_260_101);
    let house = House::new();
    let chaos = Chaos { most_deliveries: 5, reorder: true, seed };
    let bus = house.bus(LocalBusSettings { chaos: Some(chaos), ..LocalBusSettings::new(DELAYS) }).await;
    let effects = Recorder::with(&[]);
    let messages: Vec<Message> = (0..1_000).map(|n| unlock(&format!("m{n}"), &[&format!("o{n}")])).collect();
    for chunk in messages.chunks(250) {
        publish(&bus, chunk).await;
    }
    let running = dispatch(&house, &bus, &effects, Queue::StockUnlock);
    until("every item is applied", async || effects.applied().len() == 1_000).await;
    house.until_queue_is_empty().await;
    // Copies that are still on their way may arrive after their message is out of the store.
    let mut settled = 0;
    until("no more copies arrive", async || {
        let touched = effects.applied().values().sum();
        std::mem::replace(&mut settled, touched) == touched
    })
    .await;
    running.stop().await;

    let applied = effects.applied();
    let model: BTreeSet<String> = (0..1_000).map(|n| format!("o{n}")).collect();
    assert_eq!(applied.keys().cloned().collect::<BTreeSet<_>>(), model, "seed {seed}");
    assert!(applied.values().all(|times| (1..=5).contains(times)), "seed {seed}");
    assert!((2_500..3_500).contains(&settled), "seed {seed}: three deliveries a message on average, not {settled}");
    let order: Vec<String> = effects.batches().iter().flat_map(names).collect();
    assert!(!order.is_sorted(), "seed {seed}: nothing was reordered");
}

#[tokio::test(start_paused = true)]
async fn exactly_the_poison_is_parked_and_can_be_replayed() {
    let seed = seed(7);
    let chance = SeededEntropy::new(seed);
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let effects = Recorder::with(&[]);
    let (mut messages, mut expected, mut poison_names) = (Vec::new(), BTreeSet::new(), Vec::new());
    for m in 0..50 {
        let orders: Vec<String> = (0..20).map(|n| format!("m{m}n{n}")).collect();
        for (n, name) in orders.iter().enumerate() {
            let character = match below(&chance, 300) {
                0 => Character::Poison,
                1 => Character::Panics,
                2 => Character::Refused(usize::MAX),
                _ => continue,
            };
            effects.set(name, character);
            expected.insert(format!("m{m}#{n}"));
            poison_names.push(name.clone());
        }
        messages.push(unlock(&format!("m{m}"), &orders.iter().map(String::as_str).collect::<Vec<_>>()));
    }
    assert!(!expected.is_empty(), "seed {seed} has poison");
    publish(&bus, &messages).await;
    let running = dispatch(&house, &bus, &effects, Queue::StockUnlock);
    house.until_queue_is_empty().await;
    assert_eq!(house.parked().await.into_keys().collect::<BTreeSet<_>>(), expected, "seed {seed}");
    assert_eq!(effects.applied().len(), 1_000 - expected.len(), "seed {seed}");

    // An operator mends the cause and sends them again.
    poison_names.iter().for_each(|name| effects.mend(name));
    let replayer = Replayer::new(house.writer.clone(), house.clock.clone(), house.entropy.clone());
    for parked_id in &expected {
        assert!(replayer.replay(parked_id).await.unwrap());
        assert!(!replayer.replay(parked_id).await.unwrap(), "once");
    }
    let rows = house.unpublished().await;
    assert_eq!(rows.len(), expected.len());
    publish(&bus, &rows.into_iter().map(|row| row.message).collect::<Vec<_>>()).await;
    house.until_queue_is_empty().await;
    assert_eq!(effects.applied().len(), 1_000, "seed {seed}");
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_finishes_what_is_in_work_and_leaves_what_waits() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let effects = Recorder::with(&[("later", Character::Refused(3))]);
    let running = dispatch(&house, &bus, &effects, Queue::StockUnlock);
    publish(&bus, &[unlock("a", &["later"]), unlock("b", &["now"])]).await;
    until("the first retry came and went", async || effects.tries_of("later").len() == 2).await;
    let stopping = Instant::now();
    running.stop().await;
    assert!(stopping.elapsed() < Duration::from_secs(1), "a pause is no work");
    let queued = house.store.queued().await.unwrap();
    assert_eq!(queued.iter().map(|queued| queued.message_id.as_str()).collect::<Vec<_>>(), ["a"]);

    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let running = dispatch(&house, &bus, &effects, Queue::StockUnlock);
    house.until_queue_is_empty().await;
    assert_eq!(effects.applied()["later"], 1);
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_delayed_creation_arrives_as_a_close_after_a_restart() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let published = Instant::now();
    publish(&bus, &[message("c", &["o1"], Event::OrderCreate)]).await;
    drop(bus);
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let effects = Recorder::with(&[]);
    let running = dispatch(&house, &bus, &effects, Queue::OrderClose);
    sleep_until(published + DELAYS.order_create - Duration::from_millis(10)).await;
    assert!(effects.batches().is_empty(), "not before its time");
    house.until_queue_is_empty().await;
    assert_eq!(effects.batches(), [EffectBatch::OrderClose(vec![order("o1")])]);
    assert!(published.elapsed() < DELAYS.order_create + Duration::from_secs(2), "{:?}", published.elapsed());
    running.stop().await;
}

#[tokio::test(start_paused = true)]
async fn every_queue_has_a_dispatcher() {
    let mut house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let effects = Recorder::with(&[]);
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async {
            let bridge = Bridge::start(
                house.store.clone(),
                house.writer.clone(),
                bus.clone(),
                effects.clone(),
                house.clock.clone(),
                house.entropy.clone(),
                BridgeSettings::default(),
                house.outbox.take().unwrap(),
            );
            let events: [fn(crate::domain::events::OrderRef) -> Event; 4] =
                [Event::OrderClose, Event::OrderSuccess, Event::StockUnlock, Event::StockMinus];
            let names = ["close", "success", "unlock", "minus"];
            let mut messages: Vec<Message> =
                events.iter().zip(names).map(|(event, name)| message(name, &[name], event)).collect();
            messages.extend(other_kinds());
            publish(&bus, &messages).await;
            house.until_queue_is_empty().await;
            let expected = ["100", "bound", "close", "kill", "minus", "success", "unlock"];
            assert_eq!(effects.applied().into_keys().collect::<Vec<_>>(), expected);
            bridge.stop().await;
        })
        .await;
}

fn other_kinds() -> Vec<Message> {
    use crate::domain::events::{BoundPlus, CartDelete, SecKill, pack};
    use crate::domain::{SaleId, SkuId, UserId};
    let sku_id = SkuId(48);
    let user_id = UserId(100);
    let events = [
        Event::CartDelete(CartDelete { user_id, sku_ids: vec![sku_id] }),
        Event::BoundPlus(BoundPlus { user_id, integration: 1, growth: 1, order_token: order("bound").order_token }),
        Event::SecKill(SecKill { order_token: order("kill").order_token, sku_id, num: 1, user_id, sale_id: SaleId(1) }),
    ];
    let mut number = 0;
    pack(&events, 256, || {
        number += 1;
        format!("other{number}")
    })
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_parked_comes_again_later_and_is_not_lost() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let effects = Recorder::with(&[("bad", Character::Poison)]);
    let (writer_away, task) = crate::writer::channel(crate::writer::WriterSettings::default());
    drop(task);
    let settings = DispatchSettings::default();
    let dispatcher = Dispatcher::new(Queue::StockUnlock, bus.clone(), writer_away, effects.clone(), settings);
    let (stop, stopping) = watch::channel(false);
    let task = tokio::spawn(async move { dispatcher.run(stopping).await });
    publish(&bus, &[unlock("m", &["good", "bad"])]).await;
    until("it came three times", async || effects.tries_of("bad").len() == 3).await;
    assert!(millis_between(&effects.tries_of("bad")).iter().all(|pause| *pause >= 15_000), "no hot loop");
    stop.send(true).unwrap();
    task.await.unwrap();
    assert_eq!(house.store.queued().await.unwrap().len(), 1);

    let running = dispatch(&house, &bus, &effects, Queue::StockUnlock);
    house.until_queue_is_empty().await;
    assert_eq!(house.parked().await.into_keys().collect::<Vec<_>>(), ["m#1"]);
    running.stop().await;
}
