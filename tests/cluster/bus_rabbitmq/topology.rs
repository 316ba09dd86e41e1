//! Exchanges, queues, bindings: whole, mended, changed.

use std::time::Duration;

use actors::domain::events::{Delays, Message, Queue, RoutingKey};
use actors::ports::bus::Bus;
use seckill::bus::rabbitmq::RabbitSettings;
use seckill::bus::rabbitmq::topology::{self, DELIVERY_LIMIT};

use super::broker::Vhost;
use super::{DELAYS, message, open, open_usual, receive, until};

#[tokio::test]
async fn every_key_has_a_quorum_queue() {
    let vhost = Vhost::fresh().await;
    let bus = open_usual(&vhost).await;
    assert!(bus.status().is_verified() && bus.status().is_ready());
    for binding in topology::bindings(&DELAYS) {
        assert_eq!(vhost.bound(binding.exchange, binding.key).await, [binding.queue.as_str()]);
        let queue = vhost.get("queues", &format!("/{}", binding.queue)).await;
        assert_eq!((&queue["type"], &queue["durable"]), (&"quorum".into(), &true.into()), "{}", binding.queue);
    }
    for key in RoutingKey::ALL {
        assert_eq!(vhost.bound(key.exchange(), key.as_str()).await.len(), 1, "{}", key.as_str());
    }
    let work = &vhost.get("queues", "/ORDER-STOCK-QUEUE").await["arguments"];
    assert_eq!(work["x-delivery-limit"], DELIVERY_LIMIT);
    assert_eq!(work["x-dead-letter-exchange"], "PARKING-EXCHANGE");
    let waits = &vhost.get("queues", "/ORDER-TTL-QUEUE.60000").await["arguments"];
    assert_eq!(waits["x-message-ttl"], 60_000);
    assert_eq!(waits["x-dead-letter-routing-key"], "order.close");
    for arguments in [work, waits] {
        assert_eq!(arguments["x-dead-letter-strategy"], "at-least-once");
        assert_eq!(arguments["x-overflow"], "reject-publish");
    }
}

#[tokio::test]
async fn an_unroutable_message_is_never_counted_as_published() {
    let vhost = Vhost::fresh().await;
    let settings = RabbitSettings { repair_pause: Duration::from_secs(3), ..RabbitSettings::new(DELAYS) };
    let bus = open(&vhost, settings).await;
    let status = bus.status();
    vhost.delete_binding("ORDER-STOCK-EXCHANGE", "ORDER-MINUS-QUEUE", "stock.minus").await;

    // Among many others, which arrive all the same.
    let mixed: Vec<Message> = (0..200)
        .map(|n| match n % 5 {
            0 => message(RoutingKey::StockMinus, &format!("minus-{n}")),
            _ => message(RoutingKey::StockUnlock, &format!("unlock-{n}")),
        })
        .collect();
    let answers = bus.publish(&mixed).await;
    for (message, answer) in mixed.iter().zip(&answers) {
        assert_eq!(answer.is_ok(), message.key == RoutingKey::StockUnlock, "{}: {answer:?}", message.message_id);
    }
    assert_eq!(status.unroutable(), [RoutingKey::StockMinus]);
    assert!(status.is_connected() && !status.is_verified() && !status.is_ready());
    assert!(bus.publish(&[message(RoutingKey::StockMinus, "again")]).await[0].is_err());

    until("the binding is made again", async || status.is_verified()).await;
    let minus: Vec<Message> = mixed.into_iter().filter(|message| message.key == RoutingKey::StockMinus).collect();
    assert!(bus.publish(&minus).await.iter().all(Result::is_ok));
    assert!(status.is_ready());
    let mut arrived = 0;
    while arrived < minus.len() {
        for delivery in receive(bus.as_ref(), Queue::StockMinus, 64).await {
            bus.ack(&delivery).await.expect("it is fresh");
            arrived += 1;
        }
    }
}

#[tokio::test]
async fn an_exchange_that_is_gone_is_seen_and_made_again() {
    let vhost = Vhost::fresh().await;
    let settings = RabbitSettings { repair_pause: Duration::from_secs(2), ..RabbitSettings::new(DELAYS) };
    let bus = open(&vhost, settings).await;
    vhost.delete(&format!("exchanges/{}/ORDER-CART-EXCHANGE", vhost.name)).await;
    assert!(bus.publish(&[message(RoutingKey::CartDelete, "cart")]).await[0].is_err());
    assert_eq!(bus.status().unroutable(), [RoutingKey::CartDelete]);
    assert_eq!(bus.publish(&[message(RoutingKey::StockUnlock, "other")]).await, [Ok(())], "others go on");
    until("it is made again", async || bus.status().is_verified()).await;
    assert_eq!(bus.publish(&[message(RoutingKey::CartDelete, "cart")]).await, [Ok(())]);
}

#[tokio::test]
async fn a_changed_delay_leaves_one_binding_and_drains_the_old_queue() {
    let vhost = Vhost::fresh().await;
    let second = Duration::from_secs(1);
    let earlier = Delays { order_create: 3 * second, order_create_flash: 2 * second };
    let bus = open(&vhost, RabbitSettings::new(earlier)).await;
    let waiting = [message(RoutingKey::OrderCreate, "a"), message(RoutingKey::OrderCreateFlash, "b")];
    assert_eq!(bus.publish(&waiting).await, [Ok(()), Ok(())]);
    bus.close(Duration::from_secs(5)).await;

    // The flash delay of before is the ordinary one of now.
    let later = Delays { order_create: 2 * second, order_create_flash: 4 * second };
    let bus = open(&vhost, RabbitSettings::new(later)).await;
    assert_eq!(vhost.bound("ORDER-EXCHANGE", "order.create").await, ["ORDER-TTL-QUEUE.2000"]);
    assert_eq!(vhost.bound("ORDER-EXCHANGE", "order.create.flash").await, ["ORDER-TTL-QUEUE.4000"]);
    let mut arrived = Vec::new();
    while arrived.len() < 2 {
        arrived.extend(receive(bus.as_ref(), Queue::OrderClose, 8).await.into_iter().map(|found| found.message_id));
    }
    arrived.sort();
    assert_eq!(arrived, ["a", "b"], "what waits in a queue of before comes out");
    bus.close(Duration::from_secs(5)).await;

    // A queue of before that somebody removed is no hindrance.
    vhost.delete(&format!("queues/{}/ORDER-TTL-QUEUE.3000", vhost.name)).await;
    let bus = open(&vhost, RabbitSettings::new(earlier)).await;
    assert_eq!(vhost.bound("ORDER-EXCHANGE", "order.create").await, ["ORDER-TTL-QUEUE.3000"]);
    assert_eq!(vhost.bound("ORDER-EXCHANGE", "order.create.flash").await, ["ORDER-TTL-QUEUE.2000"]);
    drop(bus);
}
