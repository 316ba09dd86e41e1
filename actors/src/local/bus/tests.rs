//! The in-process bus over the reference store: the port's contract in real time, the rest in virtual time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep, sleep_until};

use super::{LocalBus, LocalBusSettings};
use crate::bridge::tests::rig::{DELAYS, House, message, unlock};
use crate::domain::events::{Delays, Event, Message, Queue};
use crate::ports::bus::{Bus, Delivery};
use crate::ports::contract::bus::{BusFixture, Fixture};
use crate::ports::store::MessageReads;

struct LocalFixtures;

struct LocalFixture {
    house: House,
    settings: LocalBusSettings,
    bus: Arc<LocalBus>,
}

#[async_trait]
impl BusFixture for LocalFixtures {
    async fn fresh(&self, delays: Delays) -> Box<dyn Fixture> {
        let (house, settings) = (House::new(), LocalBusSettings::new(delays));
        let bus = house.bus(settings).await;
        Box::new(LocalFixture { house, settings, bus })
    }
}

#[async_trait]
impl Fixture for LocalFixture {
    fn bus(&self) -> Arc<dyn Bus> {
        self.bus.clone()
    }

    async fn restart(&mut self) {
        self.bus = self.house.bus(self.settings).await;
    }
}

crate::bus_contract!(LocalFixtures);

async fn publish(bus: &LocalBus, messages: &[Message]) {
    assert!(bus.publish(messages).await.iter().all(Result::is_ok));
}

async fn receive(bus: &LocalBus, limit: usize) -> Vec<Delivery> {
    bus.receive(Queue::StockUnlock, limit).await.unwrap()
}

fn unlocks(count: usize) -> Vec<Message> {
    (0..count).map(|n| unlock(&format!("m{n:04}"), &["o"])).collect()
}

/// Messages and bytes in memory.
fn held(bus: &LocalBus, queue: Queue) -> (usize, usize) {
    let shelf = bus.lanes[&queue].shelf();
    (shelf.len(), shelf.bytes())
}

#[tokio::test(start_paused = true)]
async fn an_arrival_that_nobody_answers_comes_again_after_the_limit() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    publish(&bus, &unlocks(1)).await;
    let taken = Instant::now();
    let first = receive(&bus, 1).await.remove(0);
    let second = receive(&bus, 1).await.remove(0);
    assert_eq!((second.message_id.as_str(), second.redelivered), ("m0000", 1));
    assert!(taken.elapsed() >= Duration::from_secs(600), "{:?}", taken.elapsed());
    assert_ne!(first.tag, second.tag);

    bus.ack(&first).await.unwrap();
    assert!(house.store.queued().await.unwrap().is_empty(), "a late answer still ends the message");
    bus.ack(&second).await.unwrap();
    assert_eq!(held(&bus, Queue::StockUnlock), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_due_soon_is_only_in_the_store() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let published = Instant::now();
    let created: Vec<Message> = (0..300).map(|n| message(&format!("c{n}"), &["o"], Event::OrderCreate)).collect();
    publish(&bus, &created).await;
    assert_eq!(held(&bus, Queue::OrderClose), (0, 0));
    sleep_until(published + DELAYS.order_create - Duration::from_secs(5)).await;
    assert_eq!(held(&bus, Queue::OrderClose).0, 300, "read ahead of its time");
    let mut arrived = BTreeSet::new();
    while arrived.len() < 300 {
        for delivery in bus.receive(Queue::OrderClose, 64).await.unwrap() {
            arrived.insert(delivery.message_id.clone());
            bus.ack(&delivery).await.unwrap();
        }
    }
    let waited = published.elapsed();
    assert!((DELAYS.order_create..DELAYS.order_create + Duration::from_secs(2)).contains(&waited), "{waited:?}");
    assert_eq!(held(&bus, Queue::OrderClose), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn memory_is_bounded_and_everything_arrives_once_and_in_order() {
    let house = House::new();
    let settings = LocalBusSettings { memory_bytes: 8 << 10, page: 5, ..LocalBusSettings::new(DELAYS) };
    let bus = house.bus(settings).await;
    let all = unlocks(400);
    let mut arrived = Vec::new();
    for chunk in all.chunks(100) {
        publish(&bus, chunk).await;
        for delivery in receive(&bus, 3).await {
            bus.ack(&delivery).await.unwrap();
            arrived.push(delivery.message_id);
        }
        assert!(held(&bus, Queue::StockUnlock).1 <= settings.memory_bytes, "{:?}", held(&bus, Queue::StockUnlock));
    }
    while arrived.len() < all.len() {
        for delivery in receive(&bus, 64).await {
            bus.ack(&delivery).await.unwrap();
            arrived.push(delivery.message_id);
        }
        assert!(held(&bus, Queue::StockUnlock).1 <= settings.memory_bytes, "{:?}", held(&bus, Queue::StockUnlock));
    }
    let expected: Vec<String> = all.into_iter().map(|message| message.message_id).collect();
    assert_eq!(arrived, expected);
    assert!(house.store.queued().await.unwrap().is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_does_not_take_the_room_of_another() {
    let house = House::new();
    let settings = LocalBusSettings { memory_bytes: 8 << 10, ..LocalBusSettings::new(DELAYS) };
    let bus = house.bus(settings).await;
    publish(&bus, &unlocks(400)).await;
    let started = Instant::now();
    publish(&bus, &[message("s", &["o"], Event::StockMinus)]).await;
    assert_eq!(bus.receive(Queue::StockMinus, 1).await.unwrap()[0].message_id, "s");
    assert!(started.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_message_larger_than_the_memory_arrives() {
    let house = House::new();
    let settings = LocalBusSettings { memory_bytes: 1 << 10, ..LocalBusSettings::new(DELAYS) };
    let bus = house.bus(settings).await;
    let names: Vec<String> = (0..500).map(|n| format!("o{n}")).collect();
    let huge = unlock("huge", &names.iter().map(String::as_str).collect::<Vec<_>>());
    publish(&bus, &[unlock("small", &["o"]), huge, unlock("tail", &["o"])]).await;
    for expected in ["small", "huge", "tail"] {
        let delivery = receive(&bus, 1).await.remove(0);
        assert_eq!(delivery.message_id, expected);
        bus.ack(&delivery).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_published_again_while_it_waits_comes_once() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    publish(&bus, &unlocks(1)).await;
    publish(&bus, &unlocks(1)).await;
    let delivery = receive(&bus, 8).await;
    assert_eq!(delivery.len(), 1);
    bus.ack(&delivery[0]).await.unwrap();
    assert_eq!(held(&bus, Queue::StockUnlock), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_message_put_back_for_long_leaves_the_memory_and_comes() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    publish(&bus, &unlocks(1)).await;
    let delivery = receive(&bus, 1).await.remove(0);
    let put_back = Instant::now();
    let delay = Duration::from_secs(3600);
    bus.retry(&delivery, delay).await.unwrap();
    assert_eq!(held(&bus, Queue::StockUnlock), (0, 0));
    let again = receive(&bus, 1).await.remove(0);
    assert_eq!((again.message_id.as_str(), again.redelivered), ("m0000", 1));
    assert!((delay..delay + Duration::from_secs(2)).contains(&put_back.elapsed()), "{:?}", put_back.elapsed());
}

#[tokio::test(start_paused = true)]
async fn several_receivers_share_a_queue() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let receivers: Vec<_> = (0..4)
        .map(|_| {
            let bus = bus.clone();
            tokio::spawn(async move { receive(&bus, 1).await.remove(0).message_id })
        })
        .collect();
    sleep(Duration::from_millis(1)).await;
    let published = Instant::now();
    publish(&bus, &unlocks(4)).await;
    let mut arrived = BTreeSet::new();
    for receiver in receivers {
        arrived.insert(receiver.await.unwrap());
    }
    assert_eq!(arrived.len(), 4, "each takes another one");
    assert!(published.elapsed() < Duration::from_millis(100), "nobody waits for a timer: {:?}", published.elapsed());
}

#[tokio::test(start_paused = true)]
async fn nothing_is_taken_that_could_not_be_stored() {
    let house = House::new();
    let bus = house.bus(LocalBusSettings::new(DELAYS)).await;
    let writer_less = House::over(&house);
    let (writer, task) = crate::writer::channel(crate::writer::WriterSettings::default());
    drop(task);
    let broken =
        LocalBus::open(writer_less.store.clone(), writer, house.clock.clone(), LocalBusSettings::new(DELAYS)).await;
    let answers = broken.unwrap().publish(&unlocks(2)).await;
    assert!(answers.len() == 2 && answers.iter().all(Result::is_err), "{answers:?}");
    assert!(house.store.queued().await.unwrap().is_empty());
    assert_eq!(held(&bus, Queue::StockUnlock), (0, 0));
}
