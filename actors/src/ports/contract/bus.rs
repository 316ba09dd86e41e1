//! The bus's contract, one test per sentence of [`crate::ports::bus`].
//!
//! An adapter implements [`BusFixture`] and [`Fixture`] and runs everything with one line in its test crate:
//!
//! ```ignore
//! actors::bus_contract!(MyFixtures);
//! ```
//!
//! The tests run in real time, because a broker does; every wait is for an arrival, with a limit.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, timeout};

use crate::domain::events::{
    BoundPlus, CartDelete, Delays, Event, Message, OrderRef, Queue, RoutingKey, SecKill, pack,
};
use crate::domain::{OrderSn, SaleId, SkuId, UserId};
use crate::ports::bus::{Bus, Delivery};

/// Makes buses of one adapter.
#[async_trait]
pub trait BusFixture: Send + Sync {
    /// A bus whose queues are empty and its own.
    async fn fresh(&self, delays: Delays) -> Box<dyn Fixture>;
}

/// One bus that can be restarted. Dropping it may remove what it is kept in.
#[async_trait]
pub trait Fixture: Send + Sync {
    /// The bus as it is now.
    fn bus(&self) -> Arc<dyn Bus>;

    /// Ends the process that uses the bus, without a goodbye, and starts another one.
    async fn restart(&mut self);
}

/// Delays short enough to wait for and long enough to tell apart.
const DELAYS: Delays =
    Delays { order_create: Duration::from_millis(600), order_create_flash: Duration::from_millis(300) };

/// Longest wait for anything.
const LIMIT: Duration = Duration::from_secs(20);

async fn within<T>(what: &str, waiting: impl Future<Output = T>) -> T {
    timeout(LIMIT, waiting).await.unwrap_or_else(|_| panic!("not within {LIMIT:?}: {what}"))
}

async fn publish(fixture: &dyn Fixture, messages: &[Message]) {
    let answers = within("an answer to publish", fixture.bus().publish(messages)).await;
    assert_eq!(answers, vec![Ok(()); messages.len()]);
}

async fn receive(fixture: &dyn Fixture, queue: Queue, limit: usize) -> Vec<Delivery> {
    let bus = fixture.bus();
    let deliveries = within(queue.as_str(), bus.receive(queue, limit)).await.expect("the bus is there");
    assert!((1..=limit).contains(&deliveries.len()), "between one and {limit}, not {}", deliveries.len());
    assert!(deliveries.iter().all(|delivery| delivery.queue == queue), "{deliveries:?}");
    deliveries
}

async fn receive_one(fixture: &dyn Fixture, queue: Queue) -> Delivery {
    receive(fixture, queue, 1).await.remove(0)
}

async fn ack(fixture: &dyn Fixture, delivery: &Delivery) {
    within("an answer to ack", fixture.bus().ack(delivery)).await.expect("the bus is there");
}

/// Receives and acknowledges until these ids have come; answers how often something else or something again came.
async fn receive_all(fixture: &dyn Fixture, queue: Queue, expected: &[Message]) -> usize {
    let mut missing: BTreeSet<&str> = expected.iter().map(|message| message.message_id.as_str()).collect();
    let mut surplus = 0;
    while !missing.is_empty() {
        for delivery in receive(fixture, queue, 64).await {
            surplus += usize::from(!missing.remove(delivery.message_id.as_str()));
            ack(fixture, &delivery).await;
        }
    }
    surplus
}

fn event(key: RoutingKey, number: usize) -> Event {
    let order_token = OrderSn::parse(&format!("order-{number}")).expect("a valid order number");
    let order = OrderRef { order_token: order_token.clone() };
    let (user_id, sku_id) = (UserId(1), SkuId(48));
    match key {
        RoutingKey::OrderCreate => Event::OrderCreate(order),
        RoutingKey::OrderCreateFlash => Event::OrderCreateFlash(order),
        RoutingKey::OrderClose => Event::OrderClose(order),
        RoutingKey::OrderSuccess => Event::OrderSuccess(order),
        RoutingKey::StockUnlock => Event::StockUnlock(order),
        RoutingKey::StockMinus => Event::StockMinus(order),
        RoutingKey::CartDelete => Event::CartDelete(CartDelete { user_id, sku_ids: vec![sku_id] }),
        RoutingKey::BoundPlus => Event::BoundPlus(BoundPlus { user_id, integration: 1, growth: 1, order_token }),
        RoutingKey::SecKill => Event::SecKill(SecKill { order_token, sku_id, num: 1, user_id, sale_id: SaleId(1) }),
    }
}

/// Messages of one item each, numbered from `first`.
fn messages(key: RoutingKey, first: usize, count: usize) -> Vec<Message> {
    let events: Vec<Event> = (first..first + count).map(|number| event(key, number)).collect();
    let mut number = first;
    pack(&events, 1, || {
        number += 1;
        format!("{}-{}", key.as_str(), number - 1)
    })
}

fn one(key: RoutingKey) -> Message {
    messages(key, 1, 1).remove(0)
}

/// A message arrives with its id and its document, not redelivered.
pub async fn a_message_arrives_as_it_was_sent(fixtures: &dyn BusFixture) {
    let fixture = fixtures.fresh(DELAYS).await;
    let message = one(RoutingKey::StockUnlock);
    publish(fixture.as_ref(), std::slice::from_ref(&message)).await;
    let delivery = receive_one(fixture.as_ref(), Queue::StockUnlock).await;
    assert_eq!(delivery.message_id, message.message_id);
    assert_eq!(delivery.payload, message.payload.as_bytes());
    assert_eq!(delivery.redelivered, 0);
}

/// Every key arrives at its queue.
pub async fn every_key_arrives_at_its_queue(fixtures: &dyn BusFixture) {
    let fixture = fixtures.fresh(DELAYS).await;
    let all: Vec<Message> = RoutingKey::ALL.into_iter().map(one).collect();
    publish(fixture.as_ref(), &all).await;
    for queue in Queue::ALL {
        let expected: Vec<Message> = all.iter().filter(|message| message.key.queue() == queue).cloned().collect();
        assert_eq!(receive_all(fixture.as_ref(), queue, &expected).await, 0, "{}", queue.as_str());
    }
}

/// The two creation keys wait their delay; the others do not wait behind them.
pub async fn creations_wait_their_delay(fixtures: &dyn BusFixture) {
    let fixture = fixtures.fresh(DELAYS).await;
    let keys = [RoutingKey::OrderCreate, RoutingKey::OrderCreateFlash, RoutingKey::OrderClose];
    let published = Instant::now();
    publish(fixture.as_ref(), &keys.map(one)).await;
    for (key, delay) in
        [(keys[2], Duration::ZERO), (keys[1], DELAYS.order_create_flash), (keys[0], DELAYS.order_create)]
    {
        let delivery = receive_one(fixture.as_ref(), Queue::OrderClose).await;
        assert_eq!(delivery.message_id, one(key).message_id, "the shorter wait comes first");
        assert!(published.elapsed() >= delay, "{} came after {:?}", key.as_str(), published.elapsed());
        ack(fixture.as_ref(), &delivery).await;
    }
}

/// A delay goes on over a restart.
pub async fn a_delay_survives_a_restart(fixtures: &dyn BusFixture) {
    let mut fixture = fixtures.fresh(DELAYS).await;
    let published = Instant::now();
    publish(fixture.as_ref(), &[one(RoutingKey::OrderCreate)]).await;
    fixture.restart().await;
    let delivery = receive_one(fixture.as_ref(), Queue::OrderClose).await;
    assert_eq!(delivery.message_id, one(RoutingKey::OrderCreate).message_id);
    assert!(published.elapsed() >= DELAYS.order_create, "it came after {:?}", published.elapsed());
}

/// What was acknowledged does not come again.
pub async fn an_acknowledged_message_is_gone(fixtures: &dyn BusFixture) {
    let mut fixture = fixtures.fresh(DELAYS).await;
    publish(fixture.as_ref(), &messages(RoutingKey::StockMinus, 0, 3)).await;
    receive_all(fixture.as_ref(), Queue::StockMinus, &messages(RoutingKey::StockMinus, 0, 3)).await;
    fixture.restart().await;
    let marker = messages(RoutingKey::StockMinus, 3, 1);
    publish(fixture.as_ref(), &marker).await;
    assert_eq!(receive_all(fixture.as_ref(), Queue::StockMinus, &marker).await, 0, "an acknowledged one came again");
}

/// What was handed out and not answered comes again after a restart, and says so.
pub async fn an_unanswered_message_comes_again(fixtures: &dyn BusFixture) {
    let mut fixture = fixtures.fresh(DELAYS).await;
    publish(fixture.as_ref(), &[one(RoutingKey::SecKill)]).await;
    let first = receive_one(fixture.as_ref(), Queue::SecKill).await;
    fixture.restart().await;
    let second = receive_one(fixture.as_ref(), Queue::SecKill).await;
    assert_eq!((&second.message_id, &second.payload), (&first.message_id, &first.payload));
    assert!(second.redelivered > first.redelivered, "{} then {}", first.redelivered, second.redelivered);
}

/// What is put back comes again after its delay, and says so; others come meanwhile.
pub async fn a_message_put_back_comes_after_its_delay(fixtures: &dyn BusFixture) {
    let fixture = fixtures.fresh(DELAYS).await;
    let both = messages(RoutingKey::BoundPlus, 0, 2);
    publish(fixture.as_ref(), &both[..1]).await;
    let first = receive_one(fixture.as_ref(), Queue::BoundPlus).await;
    let delay = Duration::from_millis(400);
    let put_back = Instant::now();
    within("an answer to retry", fixture.bus().retry(&first, delay)).await.expect("the bus is there");
    publish(fixture.as_ref(), &both[1..]).await;
    let meanwhile = receive_one(fixture.as_ref(), Queue::BoundPlus).await;
    assert_eq!(meanwhile.message_id, both[1].message_id);
    let again = receive_one(fixture.as_ref(), Queue::BoundPlus).await;
    assert_eq!(again.message_id, first.message_id);
    assert!(again.redelivered > 0);
    assert!(put_back.elapsed() >= delay, "it came after {:?}", put_back.elapsed());
}

/// Many messages published together have an answer each and all arrive; a receiver takes no more than it asked for.
pub async fn many_messages_arrive_in_bounded_bites(fixtures: &dyn BusFixture) {
    let fixture = fixtures.fresh(DELAYS).await;
    let many = messages(RoutingKey::CartDelete, 0, 300);
    publish(fixture.as_ref(), &many).await;
    let bite = receive(fixture.as_ref(), Queue::CartDelete, 7).await;
    for delivery in &bite {
        ack(fixture.as_ref(), delivery).await;
    }
    let taken: BTreeSet<&String> = bite.iter().map(|delivery| &delivery.message_id).collect();
    let rest: Vec<Message> = many.iter().filter(|message| !taken.contains(&message.message_id)).cloned().collect();
    assert_eq!(receive_all(fixture.as_ref(), Queue::CartDelete, &rest).await, 0);
}

/// A receiver waits for what is not there yet, and one that is dropped while it waits loses nothing.
pub async fn a_receiver_waits_and_may_be_dropped(fixtures: &dyn BusFixture) {
    let fixture = fixtures.fresh(DELAYS).await;
    let bus = fixture.bus();
    for _ in 0..3 {
        let early = timeout(Duration::from_millis(20), bus.receive(Queue::OrderSuccess, 1)).await;
        assert!(early.is_err(), "nothing was published: {early:?}");
    }
    let waiting = tokio::spawn({
        let bus = bus.clone();
        async move { bus.receive(Queue::OrderSuccess, 1).await }
    });
    publish(fixture.as_ref(), &[one(RoutingKey::OrderSuccess)]).await;
    let deliveries = within("the waiting receiver", waiting).await.expect("no panic").expect("the bus is there");
    assert_eq!(deliveries[0].message_id, one(RoutingKey::OrderSuccess).message_id);
}

/// Nothing published is nothing answered.
pub async fn an_empty_publish_is_nothing(fixtures: &dyn BusFixture) {
    let fixture = fixtures.fresh(DELAYS).await;
    publish(fixture.as_ref(), &[]).await;
}

/// Runs the whole suite on an adapter: one `#[tokio::test]` per contract sentence. The argument is an expression of a
/// type that implements [`BusFixture`](crate::ports::contract::bus::BusFixture), evaluated once per test.
#[macro_export]
macro_rules! bus_contract {
    ($fixtures:expr) => {
        $crate::bus_contract_tests! { $fixtures,
            a_message_arrives_as_it_was_sent,
            every_key_arrives_at_its_queue,
            creations_wait_their_delay,
            a_delay_survives_a_restart,
            an_acknowledged_message_is_gone,
            an_unanswered_message_comes_again,
            a_message_put_back_comes_after_its_delay,
            many_messages_arrive_in_bounded_bites,
            a_receiver_waits_and_may_be_dropped,
            an_empty_publish_is_nothing,
        }
    };
}

/// Not for use: [`bus_contract!`] expands to it.
#[doc(hidden)]
#[macro_export]
macro_rules! bus_contract_tests {
    ($fixtures:expr, $($test:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $test() {
                $crate::ports::contract::bus::$test(&$fixtures).await;
            }
        )*
    };
}
