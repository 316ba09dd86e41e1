//! Ten thousand messages, each delivered one to five times, shuffled, some of them malformed, over connections that are
//! lost in between: they do no harm.

use std::time::Duration;

use actors::domain::UserId;
use actors::domain::events::{Delays, Message, PARKING_QUEUE, Queue, RoutingKey};
use actors::domain::order::OrderStatus;
use actors::domain::stock::LockState;
use actors::testkit::Dice;
use futures_util::future::{join_all, try_join_all};
use lapin::options::BasicGetOptions;
use seckill::bus::rabbitmq::RabbitSettings;

use super::broker::{Stranger, Vhost};
use super::shop::{CASE, PHONE, Shop, UNITS};
use super::{message, open, until, until_within};

const MESSAGES: usize = 10_000;
const MALFORMED: usize = 500;
const ORDERS: usize = 300;
const STRANGE_KEYS: [RoutingKey; 4] =
    [RoutingKey::StockUnlock, RoutingKey::StockMinus, RoutingKey::CartDelete, RoutingKey::BoundPlus];
const MOST_COPIES: usize = 5;
const PATIENCE: Duration = Duration::from_secs(240);

/// What travels: where to, under which id, what.
struct Letter {
    key: RoutingKey,
    id: Option<String>,
    payload: Vec<u8>,
}

impl Letter {
    fn of(message: &Message) -> Self {
        let (key, id) = (message.key, Some(message.message_id.clone()));
        Self { key, id, payload: message.payload.clone().into_bytes() }
    }

    /// Not understood, each in its own way.
    fn malformed(number: usize) -> Self {
        let key = Queue::ALL[number % Queue::ALL.len()].arrival_key();
        let id = format!("bad-{number}");
        let document = |version: u32, kind: &str, items: &str| {
            format!(r#"{{"messageId":"{id}","type":"{kind}","version":{version},"items":{items}}}"#).into_bytes()
        };
        let payload = match number % 10 {
            0 => Vec::new(),
            1 => b"{\"messageId\":".to_vec(),
            2 => vec![0xff, 0xfe, 0, b'{'],
            3 => document(2, key.as_str(), "[]"),
            4 => document(1, "order.unheard-of", "[]"),
            5 => document(1, key.as_str(), "{}"),
            6 => document(1, key.as_str(), r#"[{"orderToken":"no space here"}]"#),
            7 => document(1, key.as_str(), "[7]"),
            8 => document(1, key.as_str(), r#"[{"orderToken":null,"userId":"x","skuIds":[{}]}]"#),
            _ => format!("{}{number}{}", "[".repeat(300), "]".repeat(300)).into_bytes(),
        };
        // Some without an id: their content names them.
        let has_id = number % 10 != 9;
        Self { key, id: has_id.then_some(id), payload }
    }
}

/// Sends each one to five times, in any order.
async fn send_all(stranger: &Stranger, letters: &[Letter], dice: &Dice) -> usize {
    let mut copies: Vec<&Letter> =
        letters.iter().flat_map(|letter| vec![letter; 1 + dice.below(MOST_COPIES)]).collect();
    dice.shuffle(&mut copies);
    for window in copies.chunks(500) {
        let started = window.iter().map(|letter| {
            stranger.start(letter.key.exchange(), letter.key.as_str(), letter.id.as_deref(), &letter.payload)
        });
        try_join_all(join_all(started).await).await.expect("all are confirmed");
    }
    copies.len()
}

#[test]
fn ten_thousand_messages_repeated_shuffled_and_malformed_do_no_harm() {
    actix_rt::System::new().block_on(storm());
}

async fn storm() {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(7);
    eprintln!("SEED={seed}");
    let dice = Dice::new(seed);
    let vhost = Vhost::fresh().await;
    let delay = Duration::from_secs(1);
    let bus = open(&vhost, RabbitSettings::new(Delays { order_create: delay, order_create_flash: delay })).await;
    let shop = Shop::open().await;
    let stranger = vhost.stranger().await;

    // Orders: a third paid, a third cancelled, the rest open.
    let mut orders = Vec::new();
    for number in 0..ORDERS {
        let user = UserId(1 + i64::try_from(number % 9).expect("small"));
        let order_sn = shop.place(user, &[CASE]).await;
        match number % 3 {
            0 => shop.pay(&order_sn).await,
            1 => shop.cancel(user, &order_sn).await,
            _ => {}
        }
        orders.push(order_sn);
    }
    let mut letters: Vec<Letter> = shop.take_outbox().await.iter().map(Letter::of).collect();
    letters.extend((0..MALFORMED).map(Letter::malformed));
    // For the rest, what others send about orders of theirs: locks to free and to deduct, carts, points.
    let mut owners = Vec::new();
    let mut credits = 0;
    for number in letters.len()..MESSAGES {
        let owner = format!("theirs-{number}");
        let key = STRANGE_KEYS[number % STRANGE_KEYS.len()];
        letters.push(Letter::of(&message(key, &owner)));
        match key {
            RoutingKey::CartDelete => {}
            RoutingKey::BoundPlus => credits += 1,
            _ => owners.push((key, owner)),
        }
    }
    for group in owners.chunks(500) {
        join_all(group.iter().map(|(_, owner)| shop.lock(owner, PHONE))).await;
    }
    assert_eq!(letters.len(), MESSAGES);
    // Every tenth lock to free is told both.
    let mut told_both = 0;
    for (_, owner) in owners.iter().filter(|(key, _)| *key == RoutingKey::StockUnlock).step_by(10) {
        let id = format!("other-{owner}");
        letters.push(Letter::of(&Message { message_id: id, ..message(RoutingKey::StockMinus, owner) }));
        told_both += 1;
    }

    let dispatchers = shop.dispatch(bus.clone());
    let (first, second) = letters.split_at(letters.len() / 2);
    let mut deliveries = send_all(&stranger, first, &dice).await;
    // What is out over them comes again.
    until("the broker lists both connections", async || vhost.connections().await.len() == 2).await;
    vhost.end_connections().await;
    deliveries += send_all(&stranger, second, &dice).await;
    let mut rounds = 0;
    settle(&shop, &stranger, rounds).await;
    // What their effects wrote, in the same way, until nothing is written any more.
    loop {
        let written: Vec<Letter> = shop.take_outbox().await.iter().map(Letter::of).collect();
        if written.is_empty() {
            break;
        }
        rounds += 1;
        deliveries += send_all(&stranger, &written, &dice).await;
        settle(&shop, &stranger, rounds).await;
    }
    dispatchers.stop().await;
    bus.close(Duration::from_secs(5)).await;
    eprintln!("{} messages, {deliveries} deliveries and those that came again, {rounds} rounds more", letters.len());

    let (paid, cancelled) = (ORDERS.div_ceil(3), ORDERS / 3);
    for (number, order_sn) in orders.iter().enumerate() {
        let expected = [OrderStatus::AwaitingShipment, OrderStatus::Closed, OrderStatus::AwaitingPayment][number % 3];
        assert_eq!(shop.status(order_sn).await, expected, "{order_sn}");
    }
    let (paid, unpaid) = (as_units(paid), as_units(ORDERS - paid - cancelled));
    assert_eq!(shop.units(CASE).await, (UNITS - paid, unpaid));
    assert_eq!(shop.points().await, paid * 100 + credits, "every order credited once");

    let to_free = owners.iter().filter(|(key, _)| *key == RoutingKey::StockUnlock).count();
    let owners: Vec<String> = owners.into_iter().map(|(_, owner)| owner).collect();
    let freed = shop.locks(&owners, LockState::Released).await;
    let deducted = shop.locks(&owners, LockState::Deducted).await;
    assert_eq!(freed + deducted, owners.len(), "every lock is resolved");
    assert_eq!(shop.units(PHONE).await, (UNITS - as_units(deducted), 0), "each once");
    assert!((to_free - told_both..=to_free).contains(&freed), "{freed} of {to_free}, {told_both} were told both");

    let parked = shop.parked().await;
    let markers = parked.iter().filter(|id| id.starts_with("last-")).count();
    assert_eq!(markers, (rounds + 1) * Queue::ALL.len());
    assert_eq!(parked.len() - markers, MALFORMED, "every malformed one is parked, once");
    shop.assert_sound().await;
    for queue in Queue::ALL.map(Queue::as_str).into_iter().chain([PARKING_QUEUE]) {
        let left = stranger.channel.basic_get(queue.into(), BasicGetOptions::default()).await;
        assert_eq!(left.expect("the queue is there"), None, "{queue} is empty");
    }
}

fn as_units(count: usize) -> i64 {
    i64::try_from(count).expect("small")
}

/// Waits until everything sent so far was judged: the last of each queue is parked, and nothing is in work.
async fn settle(shop: &Shop, stranger: &Stranger, round: usize) {
    let markers = Queue::ALL.map(|queue| format!("last-{round}-{}", queue.as_str()));
    for (queue, id) in Queue::ALL.into_iter().zip(&markers) {
        let key = queue.arrival_key();
        stranger.send(key.exchange(), key.as_str(), Some(id), b"last").await;
    }
    until_within(PATIENCE, "the last of each queue is parked", async || {
        let parked = shop.parked().await;
        markers.iter().all(|id| parked.contains(id)) && shop.witness.is_idle()
    })
    .await;
}
