//! Connections that are lost, and deliveries that were out over them.

use std::collections::BTreeSet;
use std::time::Duration;

use actors::domain::events::{Queue, RoutingKey};
use actors::ports::bus::Bus;
use actors::ports::store::MessageReads;
use lapin::options::{BasicGetOptions, BasicNackOptions};
use seckill::bus::rabbitmq::RabbitSettings;
use seckill::bus::rabbitmq::topology::DELIVERY_LIMIT;

use super::broker::Vhost;
use super::shop::Shop;
use super::{DELAYS, message, open, open_usual, receive, until};

const PREFETCH: u16 = 7;

fn settings() -> RabbitSettings {
    RabbitSettings { prefetch: PREFETCH, ..RabbitSettings::new(DELAYS) }
}

/// Waits until the broker knows both connections, ends them by force, and waits until both are there again.
async fn lose_connections(vhost: &Vhost) {
    until("the broker lists both connections", async || vhost.connections().await.len() == 2).await;
    let before: BTreeSet<String> = vhost.connections().await.into_iter().collect();
    vhost.end_connections().await;
    until("both connections are new", async || {
        let now: BTreeSet<String> = vhost.connections().await.into_iter().collect();
        now.len() == 2 && now.is_disjoint(&before)
    })
    .await;
}

#[tokio::test]
async fn the_prefetch_is_applied_again_after_a_lost_connection() {
    let vhost = Vhost::fresh().await;
    let bus = open(&vhost, settings()).await;
    let all_prefetch = async || {
        let prefetches = vhost.prefetches().await;
        prefetches.len() == Queue::ALL.len() + 1 && prefetches.iter().all(|(_, count)| *count == u64::from(PREFETCH))
    };
    until("every consumer has the prefetch", all_prefetch).await;
    lose_connections(&vhost).await;
    until("every consumer has it again", all_prefetch).await;
    until("the bus knows that all is well", async || bus.status().is_connected() && bus.status().is_verified()).await;

    // As it works, not only as it is shown.
    let many: Vec<_> = (0..50).map(|n| message(RoutingKey::StockUnlock, &format!("m{n}"))).collect();
    assert!(bus.publish(&many).await.iter().all(Result::is_ok));
    let mut held = Vec::new();
    while held.len() < usize::from(PREFETCH) {
        held.extend(receive(bus.as_ref(), Queue::StockUnlock, 50).await);
    }
    assert_eq!(held.len(), usize::from(PREFETCH), "no more than the prefetch is out");
    let more = tokio::time::timeout(Duration::from_millis(300), bus.receive(Queue::StockUnlock, 50)).await;
    assert!(more.is_err(), "nothing more before an answer: {more:?}");
    bus.ack(&held[0]).await.expect("it is fresh");
    receive(bus.as_ref(), Queue::StockUnlock, 1).await;
}

#[tokio::test]
async fn an_answer_for_a_lost_connection_is_refused_and_answers_nothing_else() {
    let vhost = Vhost::fresh().await;
    let bus = open_usual(&vhost).await;
    assert_eq!(bus.publish(&["a", "b"].map(|name| message(RoutingKey::StockMinus, name))).await, [Ok(()), Ok(())]);
    let mut stale = Vec::new();
    while stale.len() < 2 {
        stale.extend(receive(bus.as_ref(), Queue::StockMinus, 2).await);
    }
    bus.retry(&stale[1], Duration::from_secs(3600)).await.expect("it is out");
    lose_connections(&vhost).await;

    let mut fresh = Vec::new();
    while fresh.len() < 2 {
        fresh.extend(receive(bus.as_ref(), Queue::StockMinus, 2).await);
    }
    assert!(fresh.iter().all(|again| again.redelivered > 0), "{fresh:?}");
    let tags: BTreeSet<u64> = stale.iter().chain(&fresh).map(|delivery| delivery.tag).collect();
    assert_eq!(tags.len(), 4, "no tag is used twice");
    for gone in &stale {
        assert!(bus.ack(gone).await.is_err());
        assert!(bus.retry(gone, Duration::ZERO).await.is_err());
    }
    bus.ack(&fresh[0]).await.expect("it is fresh");
    assert!(bus.ack(&fresh[0]).await.is_err(), "once");
    drop(bus);

    let bus = open_usual(&vhost).await;
    let left = receive(bus.as_ref(), Queue::StockMinus, 8).await;
    let left: Vec<&str> = left.iter().map(|delivery| delivery.message_id.as_str()).collect();
    assert_eq!(left, [fresh[1].message_id.as_str()], "only what was answered is gone");
}

#[tokio::test]
async fn a_retry_costs_nothing_of_the_delivery_limit() {
    let vhost = Vhost::fresh().await;
    let bus = open_usual(&vhost).await;
    assert_eq!(bus.publish(&[message(RoutingKey::StockUnlock, "m")]).await, [Ok(())]);
    for tries in 0..DELIVERY_LIMIT + 20 {
        let delivery = receive(bus.as_ref(), Queue::StockUnlock, 8).await.remove(0);
        assert_eq!(i64::from(delivery.redelivered), tries);
        bus.retry(&delivery, Duration::from_millis(1)).await.expect("it is out");
    }
    bus.close(Duration::from_secs(5)).await;
    let bus = open_usual(&vhost).await;
    let delivery = receive(bus.as_ref(), Queue::StockUnlock, 8).await.remove(0);
    assert_eq!(delivery.redelivered, 1, "the broker counts the lost connection alone");
}

#[test]
fn what_the_broker_gives_up_is_parked_in_the_store() {
    actix_rt::System::new().block_on(given_up());
}

async fn given_up() {
    let vhost = Vhost::fresh().await;
    let shop = Shop::open().await;
    let bus = open_usual(&vhost).await;
    bus.close(Duration::from_secs(5)).await;

    let stranger = vhost.stranger().await;
    let given_up = message(RoutingKey::StockUnlock, "given-up");
    stranger.repeat(&given_up).await;
    let mut deliveries = 0;
    until("the broker gives it up", async || {
        let got = stranger.channel.basic_get("ORDER-STOCK-QUEUE".into(), BasicGetOptions::default()).await;
        let Some(got) = got.expect("the queue is there") else { return deliveries > DELIVERY_LIMIT };
        deliveries += 1;
        let again = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
        got.delivery.nack(again).await.expect("handed back") && deliveries > 2 * DELIVERY_LIMIT
    })
    .await;
    stranger.send("PARKING-EXCHANGE", "of.somebody.else", Some("strange"), b"{}").await;
    stranger.send("PARKING-EXCHANGE", "stock.minus", None, b"by hand").await;

    let bus = open_usual(&vhost).await;
    bus.park_through(shop.writer.clone());
    let parked = async || shop.memory.parked(usize::MAX).await.expect("the store answers");
    until("both of ours are parked", async || parked().await.len() == 2).await;
    for parked in parked().await {
        match parked.queue {
            Queue::StockUnlock => {
                assert_eq!((parked.message_id.as_str(), parked.payload), ("given-up", given_up.payload.clone()));
                assert!(parked.reason.contains("delivery_limit"), "{}", parked.reason);
            }
            queue => assert_eq!((queue, parked.payload.as_str()), (Queue::StockMinus, "by hand")),
        }
    }
    bus.close(Duration::from_secs(5)).await;
    let left = stranger.channel.basic_get("PARKING-QUEUE".into(), BasicGetOptions::default()).await;
    assert_eq!(left.expect("the queue is there"), None, "PARKING-QUEUE is empty");
}
