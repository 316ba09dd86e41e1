//! Programs of others on the same broker: they read ours and send their own. Whoever sends a stock message is believed
//! only as far as the order's state allows (DESIGN section 7).

use actors::domain::UserId;
use actors::domain::events::RoutingKey;
use actors::domain::order::OrderStatus;
use futures_util::StreamExt;
use futures_util::future::join_all;
use lapin::Consumer;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use serde_json::{Value, json};

use super::broker::{Stranger, Vhost};
use super::shop::{CASE, PHONE, Shop, UNITS};
use super::{LIMIT, open_usual, until};

/// A queue of the stranger's own, bound as the course's services bind theirs.
async fn listen(stranger: &Stranger, exchange: &str, key: &str) -> Consumer {
    let channel = &stranger.channel;
    let options = QueueDeclareOptions::exclusive();
    let queue = channel.queue_declare("".into(), options, FieldTable::default()).await.expect("a queue");
    let (name, bind) = (queue.name().clone(), QueueBindOptions::default());
    channel.queue_bind(name.clone(), exchange.into(), key.into(), bind, FieldTable::default()).await.expect("bound");
    let options = BasicConsumeOptions::default();
    channel.basic_consume(name, "".into(), options, FieldTable::default()).await.expect("a consumer")
}

/// The next document, with the broker's id of it.
async fn next(consumer: &mut Consumer) -> (String, Value) {
    let delivery = tokio::time::timeout(LIMIT, consumer.next()).await.expect("in time").expect("open").expect("open");
    delivery.ack(BasicAckOptions::default()).await.expect("acknowledged");
    let id = delivery.properties.message_id().as_ref().map(ToString::to_string).unwrap_or_default();
    (id, serde_json::from_slice(&delivery.data).expect("JSON"))
}

fn only_item<'a>(id: &str, document: &'a Value, kind: &str) -> &'a Value {
    assert_eq!(
        (&document["messageId"], &document["type"], &document["version"]),
        (&id.into(), &kind.into(), &1.into())
    );
    let items = document["items"].as_array().expect("a list");
    assert_eq!(items.len(), 1, "one item a message: {document}");
    &items[0]
}

#[test]
fn a_foreign_consumer_reads_ours_one_item_a_message() {
    actix_rt::System::new().block_on(async {
        let vhost = Vhost::fresh().await;
        let mut shop = Shop::open().await;
        let bus = open_usual(&vhost).await;
        let stranger = vhost.stranger().await;
        let mut carts = listen(&stranger, "ORDER-CART-EXCHANGE", "cart.delete").await;
        let mut minuses = listen(&stranger, "ORDER-STOCK-EXCHANGE", "stock.minus").await;
        let bridge = shop.bridge(bus.clone());

        // At the same time, so that several are decided in one transaction.
        let users = [1, 2, 3].map(UserId);
        let placed = join_all(users.map(|user| shop.place(user, &[PHONE, CASE]))).await;
        let mut owners = Vec::new();
        for _ in users {
            let (id, document) = next(&mut carts).await;
            let item = only_item(&id, &document, "cart.delete");
            assert_eq!(item["skuIds"], json!([48, 49]));
            owners.push(item["userId"].as_i64().expect("a number"));
        }
        owners.sort_unstable();
        assert_eq!(owners, [1, 2, 3]);

        join_all(placed.iter().map(|order_sn| shop.pay(order_sn))).await;
        let mut paid = Vec::new();
        for _ in &placed {
            let (id, document) = next(&mut minuses).await;
            paid.push(only_item(&id, &document, "stock.minus")["orderToken"].as_str().expect("text").to_owned());
        }
        paid.sort();
        let mut expected: Vec<String> = placed.iter().map(ToString::to_string).collect();
        expected.sort();
        assert_eq!(paid, expected);

        // Reading along takes nothing from us.
        until("the units are deducted", async || shop.units(PHONE).await == (UNITS - 3, 0)).await;
        bridge.stop().await;
        shop.assert_sound().await;
    });
}

/// A document as another program writes it.
fn by_hand(key: RoutingKey, owner: &str) -> Vec<u8> {
    let id = format!("by-hand-{}-{owner}", key.as_str());
    json!({"messageId": id, "type": key.as_str(), "version": 1, "items": [{"orderToken": owner}]})
        .to_string()
        .into_bytes()
}

async fn send(stranger: &Stranger, key: RoutingKey, owner: &str) {
    stranger.send(key.exchange(), key.as_str(), None, &by_hand(key, owner)).await;
}

#[test]
fn a_foreign_stock_message_is_honoured_as_far_as_the_order_allows() {
    actix_rt::System::new().block_on(async {
        let vhost = Vhost::fresh().await;
        let shop = Shop::open().await;
        let bus = open_usual(&vhost).await;
        // Without the relay: what is freed here was freed by the stranger's message alone.
        let dispatchers = shop.dispatch(bus.clone());
        let stranger = vhost.stranger().await;
        let user = UserId(1);

        let closed = shop.place(user, &[PHONE]).await;
        shop.cancel(user, &closed).await;
        let payable = shop.place(user, &[PHONE]).await;
        let paid = shop.place(user, &[PHONE]).await;
        shop.pay(&paid).await;
        for owner in ["theirs-1", "theirs-2"] {
            shop.lock(owner, PHONE).await;
        }
        assert_eq!(shop.units(PHONE).await, (UNITS, 5));

        let judged = |count: usize| {
            let witness = shop.witness.clone();
            async move { until("the message was judged", async || witness.applied() == count).await }
        };
        // Refused: the buyer may still pay, or has paid, or has not paid.
        send(&stranger, RoutingKey::StockUnlock, payable.as_str()).await;
        judged(1).await;
        send(&stranger, RoutingKey::StockUnlock, paid.as_str()).await;
        judged(2).await;
        send(&stranger, RoutingKey::StockMinus, payable.as_str()).await;
        judged(3).await;
        send(&stranger, RoutingKey::StockMinus, closed.as_str()).await;
        judged(4).await;
        assert_eq!(shop.units(PHONE).await, (UNITS, 5), "nothing of that is honoured");
        assert_eq!(shop.status(&payable).await, OrderStatus::AwaitingPayment);

        // Honoured: the order is closed, or the lock is another system's.
        send(&stranger, RoutingKey::StockUnlock, closed.as_str()).await;
        judged(5).await;
        assert_eq!(shop.units(PHONE).await, (UNITS, 4));
        send(&stranger, RoutingKey::StockUnlock, "theirs-1").await;
        judged(6).await;
        assert_eq!(shop.units(PHONE).await, (UNITS, 3));
        send(&stranger, RoutingKey::StockMinus, "theirs-2").await;
        judged(7).await;
        assert_eq!(shop.units(PHONE).await, (UNITS - 1, 2));
        send(&stranger, RoutingKey::StockMinus, paid.as_str()).await;
        judged(8).await;
        assert_eq!(shop.units(PHONE).await, (UNITS - 2, 1));

        // Our own messages, late, change nothing more.
        for message in shop.take_outbox().await {
            stranger.repeat(&message).await;
        }
        for queue in ["stock.unlock", "stock.minus"] {
            stranger.send("ORDER-STOCK-EXCHANGE", queue, Some(&format!("last-{queue}")), b"last").await;
        }
        until("all was judged", async || shop.parked().await.len() == 2).await;
        dispatchers.stop().await;
        assert_eq!(shop.units(PHONE).await, (UNITS - 2, 1));
        assert!(shop.parked().await.iter().all(|id| id.starts_with("last-")), "what is refused is not parked");
    });
}
