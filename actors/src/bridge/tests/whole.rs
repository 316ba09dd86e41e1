//! Writer → outbox → relay → bus → dispatcher → effects, as it runs.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::LocalSet;
use tokio::time::{Instant, sleep};

use super::rig::{Character, DELAYS, House, NoteBus, Recorder, unlock, until};
use crate::bridge::{Bridge, BridgeSettings, Sweep, SweepSettings};
use crate::domain::events::{Message, Queue};
use crate::local::bus::{LocalBus, LocalBusSettings};
use crate::ports::bus::{Bus, BusError, Delivery};
use crate::ports::store::MessageReads;
use crate::protocol::bridge::Effects;

fn start(house: &mut House, bus: Arc<dyn Bus>, effects: Arc<dyn Effects>) -> Bridge {
    let outbox = house.outbox.take().expect("one bridge a house");
    Bridge::start(
        house.store.clone(),
        house.writer.clone(),
        bus,
        effects,
        house.clock.clone(),
        house.entropy.clone(),
        BridgeSettings::default(),
        outbox,
    )
}

async fn local_bus(house: &House) -> Arc<LocalBus> {
    house.bus(LocalBusSettings::new(DELAYS)).await
}

fn messages(count: usize) -> Vec<Message> {
    (0..count).map(|n| unlock(&format!("m{n}"), &[&format!("o{n}")])).collect()
}

#[tokio::test(start_paused = true)]
async fn a_row_of_the_outbox_reaches_its_effect_at_once() {
    let mut house = House::new();
    let bus = local_bus(&house).await;
    let effects = Recorder::with(&[]);
    LocalSet::new()
        .run_until(async {
            let bridge = start(&mut house, bus, effects.clone());
            let started = Instant::now();
            house.write_outbox(&messages(1)[0]).await;
            until("the effect is there", async || effects.has_applied("o0")).await;
            assert!(started.elapsed() < Duration::from_millis(100), "{:?}", started.elapsed());
            until("the row is marked", async || house.unpublished().await.is_empty()).await;
            house.until_queue_is_empty().await;
            bridge.stop().await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_row_whose_hint_is_lost_is_found_by_the_sweep() {
    let mut house = House::new();
    let bus = local_bus(&house).await;
    let effects = Recorder::with(&[]);
    LocalSet::new()
        .run_until(async {
            // The bridge reads the outbox at its start; the row comes later, and its hint does not.
            let bridge = start(&mut house, bus, effects.clone());
            sleep(Duration::from_secs(1)).await;
            House::over(&house).write_outbox(&messages(1)[0]).await;
            sleep(Duration::from_secs(31)).await;
            assert!(!effects.has_applied("o0"), "nobody hinted");
            let settings = SweepSettings::new(Duration::from_secs(60));
            Sweep::new(house.store.clone(), effects.clone(), house.hints.clone(), settings).step().await;
            until("the effect is there", async || effects.has_applied("o0")).await;
            until("the row is marked", async || house.unpublished().await.is_empty()).await;
            bridge.stop().await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_crash_between_publish_and_mark_repeats_the_message_and_changes_nothing() {
    let mut house = House::new();
    let bus = local_bus(&house).await;
    let effects = Recorder::with(&[]);
    let message = messages(1).remove(0);
    House::over(&house).write_outbox(&message).await;
    // The earlier process published, its consumer was done with it, and it ended before the mark.
    assert_eq!(bus.publish(std::slice::from_ref(&message)).await, [Ok(())]);
    let delivery = bus.receive(message.key.queue(), 1).await.unwrap().remove(0);
    effects.apply(crate::protocol::bridge::EffectBatch::StockUnlock(vec![super::rig::order("o0")])).await;
    bus.ack(&delivery).await.unwrap();
    sleep(Duration::from_secs(2)).await;
    LocalSet::new()
        .run_until(async {
            let bridge = start(&mut house, bus, effects.clone());
            until("the row is marked", async || house.unpublished().await.is_empty()).await;
            until("it came again", async || effects.applied().get("o0") == Some(&2)).await;
            house.until_queue_is_empty().await;
            bridge.stop().await;
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_publishes_what_was_written_and_loses_nothing() {
    let mut house = House::new();
    let bus = local_bus(&house).await;
    let effects = Recorder::with(&[("o7", Character::Refused(2))]);
    LocalSet::new()
        .run_until(async {
            let bridge = start(&mut house, bus, effects.clone());
            for message in messages(50) {
                house.write_outbox(&message).await;
            }
            bridge.stop().await;
            assert!(house.unpublished().await.is_empty(), "everything written is on the bus");
            let queued = house.store.queued().await.unwrap();
            let left = queued.iter().filter(|message| !effects.has_applied(&message.message_id.replace('m', "o")));
            assert_eq!(left.count() + effects.applied().len(), 50, "applied or still queued");
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_stop_while_the_bus_is_away_leaves_nothing_running() {
    let mut house = House::new();
    let bus = Arc::new(NoteBus::default());
    bus.is_away.store(true, std::sync::atomic::Ordering::SeqCst);
    LocalSet::new()
        .run_until(async {
            let bridge = start(&mut house, bus.clone(), Recorder::with(&[]));
            house.write_outbox(&messages(1)[0]).await;
            let stopping = Instant::now();
            bridge.stop().await;
            assert!(stopping.elapsed() < Duration::from_secs(1), "{:?}", stopping.elapsed());
            until("nobody holds the bus any more", async || Arc::strong_count(&bus) == 1).await;
            assert_eq!(house.unpublished().await.len(), 1, "it stays in the outbox");
        })
        .await;
}

/// A bus whose first publish panics.
struct Fragile {
    bus: Arc<LocalBus>,
    has_panicked: std::sync::atomic::AtomicBool,
}

#[async_trait::async_trait]
impl Bus for Fragile {
    async fn publish(&self, messages: &[Message]) -> Vec<Result<(), BusError>> {
        let again = self.has_panicked.swap(true, std::sync::atomic::Ordering::SeqCst);
        assert!(again, "this bus panics once on purpose");
        self.bus.publish(messages).await
    }

    async fn receive(&self, queue: Queue, limit: usize) -> Result<Vec<Delivery>, BusError> {
        self.bus.receive(queue, limit).await
    }

    async fn ack(&self, delivery: &Delivery) -> Result<(), BusError> {
        self.bus.ack(delivery).await
    }

    async fn retry(&self, delivery: &Delivery, delay: Duration) -> Result<(), BusError> {
        self.bus.retry(delivery, delay).await
    }
}

#[tokio::test(start_paused = true)]
async fn a_relay_that_panics_is_started_again_and_catches_up() {
    let mut house = House::new();
    let bus = Arc::new(Fragile { bus: local_bus(&house).await, has_panicked: Default::default() });
    let effects = Recorder::with(&[]);
    LocalSet::new()
        .run_until(async {
            let bridge = start(&mut house, bus.clone(), effects.clone());
            let messages = messages(3);
            house.write_outbox(&messages[0]).await;
            let panicked = async || bus.has_panicked.load(std::sync::atomic::Ordering::SeqCst);
            until("the first publish panicked", panicked).await;
            sleep(Duration::from_secs(2)).await;
            assert!(!effects.has_applied("o0"));
            house.write_outbox(&messages[1]).await;
            until("both are applied", async || effects.applied().len() == 2).await;
            house.write_outbox(&messages[2]).await;
            until("and what follows", async || effects.applied().len() == 3).await;
            bridge.stop().await;
            assert!(house.unpublished().await.is_empty());
        })
        .await;
}
