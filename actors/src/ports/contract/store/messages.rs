//! The outbox, the durable queue of the in-process bus, and parked messages.

use std::time::Duration;

use super::StoreFixture;
use super::values::{announcing, cancelling, items, named, outcome, packed};
use super::world::{ALICE, NORTH, PHONE, RULES, World};
use crate::domain::Timestamp;
use crate::domain::events::{Message, Queue, RoutingKey};
use crate::ports::store::units::{
    Enqueue, FinishDeliveries, MarkPublished, Park, PruneMessages, Replay, RetryDelivery, SpentMessages,
};
use crate::ports::store::{ParkedMessage, QueuePosition, QueuedMessage, StoreRules};

fn message(message_id: &str) -> Message {
    let payload = format!(r#"{{"messageId":"{message_id}","type":"sec.kill","version":1,"items":[]}}"#);
    Message { message_id: message_id.into(), key: RoutingKey::SecKill, payload }
}

fn enqueuing(messages: &[(&str, Queue, Timestamp)]) -> Enqueue {
    Enqueue { messages: messages.iter().map(|(id, queue, due_at)| (message(id), *queue, *due_at)).collect() }
}

fn parking(message_id: &str, reason: &str) -> Park {
    let queue = Queue::StockUnlock;
    Park { message_id: message_id.into(), queue, payload: message(message_id).payload, reason: reason.into() }
}

async fn outbox(world: &World, older_ms: i64, limit: usize) -> Vec<String> {
    let rows = world.store.unpublished(older_ms, limit).await.expect("the outbox is readable");
    rows.into_iter().map(|row| row.message.message_id).collect()
}

async fn queued(world: &World) -> Vec<QueuedMessage> {
    world.store.queued().await.expect("the queue is readable")
}

async fn queued_ids(world: &World) -> Vec<String> {
    queued(world).await.into_iter().map(|message| message.message_id).collect()
}

async fn parked(world: &World) -> Vec<ParkedMessage> {
    world.store.parked(10).await.expect("parked messages are readable")
}

/// Messages hold as many items as the setting allows and one key each, in the order of the keys.
pub async fn messages_are_packed_by_key(fixtures: &dyn StoreFixture) {
    for (items_per_message, sizes) in [(1, vec![1, 1, 1]), (2, vec![2, 1]), (3, vec![3])] {
        let world = World::with_rules(fixtures, StoreRules { items_per_message, ..RULES }).await;
        world.fixture.add_stock(PHONE, NORTH, 10).await;
        let closing = world.placed(ALICE, 1).await;
        let phones = world.phones(1).await;
        let units: Vec<_> = (0..3).map(|_| world.placing(ALICE, &phones)).collect();
        let order_sns: Vec<String> = units.iter().map(|unit| unit.order.order_sn.to_string()).collect();
        let mut batch: Vec<_> = units.into_iter().map(Into::into).collect();
        batch.insert(1, cancelling(&closing).into());

        let committed = world.commit(batch).await;
        let mut wanted: Vec<_> = sizes.iter().map(|&size| (RoutingKey::OrderCreate, size)).collect();
        wanted.push((RoutingKey::StockUnlock, 1));
        wanted.extend(sizes.iter().map(|&size| (RoutingKey::CartDelete, size)));
        assert_eq!(packed(&committed.messages), wanted);
        let told: Vec<String> = committed.messages[..sizes.len()].iter().flat_map(named).collect();
        assert_eq!(told, order_sns);
        assert_eq!(items(&committed.messages[sizes.len()]).len(), 1);
        let mut ids: Vec<_> = committed.messages.iter().map(|message| &message.message_id).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), committed.messages.len(), "every message has an id of its own");
    }
}

/// The outbox lists what is not marked published, once it is old enough, oldest first.
pub async fn the_outbox_lists_what_waits(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let ids = async |world: &World| {
        let committed = world.commit(vec![world.placing(ALICE, &world.phones(1).await).into()]).await;
        world.clock.advance(Duration::from_secs(10));
        committed.messages.into_iter().map(|message| message.message_id).collect::<Vec<_>>()
    };
    let (old, young) = (ids(&world).await, ids(&world).await);
    let all = [old.clone(), young.clone()].concat();
    assert_eq!(outbox(&world, 0, 10).await, all);
    assert_eq!(outbox(&world, 15_000, 10).await, old);
    assert_eq!(outbox(&world, 25_000, 10).await, [""; 0]);
    assert_eq!(outbox(&world, 0, 3).await, all[..3]);

    let marking = MarkPublished { message_ids: vec![old[0].clone(), "nobody's".into(), young[1].clone()] };
    for _ in 0..2 {
        world.one(marking.clone()).await;
        assert_eq!(outbox(&world, 0, 10).await, [old[1].clone(), young[0].clone()]);
    }
    world.commit(vec![]).await;
    assert_eq!(outbox(&world, 0, 10).await.len(), 2, "an empty batch changes nothing");
}

/// The queue keeps a message under its id once, in order of due time.
pub async fn a_message_is_queued_once(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let at = |seconds| world.now().plus(Duration::from_secs(seconds));
    let units = vec![
        enqueuing(&[("b", Queue::OrderClose, at(20)), ("a", Queue::SecKill, at(30))]).into(),
        enqueuing(&[("c", Queue::SecKill, at(10)), ("a", Queue::OrderClose, at(1))]).into(),
    ];
    world.commit(units).await;
    let kept = queued(&world).await;
    assert_eq!(queued_ids(&world).await, ["c", "b", "a"]);
    let wanted = QueuedMessage {
        message_id: "a".into(),
        queue: Queue::SecKill,
        payload: message("a").payload,
        due_at: at(30),
        attempts: 0,
    };
    assert_eq!(kept[2], wanted, "the first word stands");
    world.one(enqueuing(&[("b", Queue::SecKill, at(1))])).await;
    assert_eq!(queued(&world).await, kept);
}

/// A retried message waits for its new time with one more try; a finished one is forgotten; strangers do not matter.
pub async fn queued_messages_are_retried_and_finished(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let at = |seconds| world.now().plus(Duration::from_secs(seconds));
    let queue = Queue::BoundPlus;
    world.one(enqueuing(&[("a", queue, at(1)), ("b", queue, at(2)), ("c", queue, at(3)), ("d", queue, at(4))])).await;
    let retrying = |id: &str, seconds| RetryDelivery { message_id: id.into(), due_at: at(seconds) };
    let finishing = |ids: &[&str]| FinishDeliveries { message_ids: ids.iter().map(|id| (*id).to_owned()).collect() };

    world
        .commit(vec![retrying("a", 9).into(), retrying("nobody's", 1).into(), finishing(&["b", "nobody's"]).into()])
        .await;
    assert_eq!(queued_ids(&world).await, ["c", "d", "a"]);
    world.commit(vec![retrying("a", 3).into(), finishing(&["c"]).into(), retrying("c", 1).into()]).await;
    let left = queued(&world).await;
    let summary: Vec<_> = left.iter().map(|kept| (kept.message_id.as_str(), kept.due_at, kept.attempts)).collect();
    assert_eq!(summary, [("a", at(3), 2), ("d", at(4), 0)]);
    let again = enqueuing(&[("b", queue, at(2))]);
    world.commit(vec![finishing(&["d", "a"]).into(), again.into()]).await;
    assert_eq!(queued_ids(&world).await, ["b"], "a finished id may come again");
}

/// A page of one queue: from a place on, before another, by due time and id.
pub async fn the_queue_is_read_in_pages(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let at = |seconds| world.now().plus(Duration::from_secs(seconds));
    let (queue, other) = (Queue::OrderClose, Queue::StockMinus);
    let all = [("d", queue, at(2)), ("a", queue, at(2)), ("z", queue, at(1)), ("o", other, at(2)), ("e", queue, at(3))];
    world.one(enqueuing(&all)).await;
    let page = async |from: &QueuePosition, until: &QueuePosition, limit| {
        let page = world.store.queued_between(queue, from, until, limit).await.expect("the queue is readable");
        page.into_iter().map(|message| message.message_id).collect::<Vec<_>>()
    };
    let before = QueuePosition::before;
    let place = |seconds, id: &str| QueuePosition { due_at: at(seconds), message_id: id.into() };
    assert_eq!(page(&before(at(0)), &before(at(9)), 10).await, ["z", "a", "d", "e"]);
    assert_eq!(page(&before(at(0)), &before(at(9)), 2).await, ["z", "a"]);
    assert_eq!(page(&before(at(2)), &before(at(3)), 10).await, ["a", "d"], "included, excluded");
    assert_eq!(page(&place(2, "a"), &place(2, "d"), 10).await, ["a"]);
    assert_eq!(page(&place(2, "a").next(), &before(at(9)), 10).await, ["d", "e"]);
    assert_eq!(page(&before(at(4)), &before(at(9)), 10).await, [""; 0]);
}

/// A message is parked under its id once, with its first reason; the list is newest first.
pub async fn a_message_is_parked_once(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    world.one(parking("a", "poison")).await;
    let first_at = world.now();
    world.clock.advance(Duration::from_secs(1));
    world.commit(vec![parking("a", "again").into(), parking("b", "bad").into(), parking("b", "worse").into()]).await;
    let kept = parked(&world).await;
    let wanted = ParkedMessage {
        message_id: "a".into(),
        queue: Queue::StockUnlock,
        payload: message("a").payload,
        reason: "poison".into(),
        parked_at: first_at,
        replayed_at: None,
    };
    assert_eq!(kept.len(), 2);
    assert_eq!((kept[0].message_id.as_str(), kept[0].reason.as_str()), ("b", "bad"));
    assert_eq!(kept[1], wanted);
    assert_eq!(world.store.parked(1).await, Ok(kept[..1].to_vec()));
}

/// A parked message is replayed once: into the outbox, under its new id, to where it arrived.
pub async fn a_parked_message_is_replayed_once(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    world.one(parking("a", "poison")).await;
    world.clock.advance(Duration::from_secs(5));
    let replaying = |id: &str, new: &str| Replay { message_id: id.into(), new_message_id: new.into() };

    let units = vec![replaying("a", "a-2").into(), replaying("a", "a-3").into(), replaying("b", "b-2").into()];
    let committed = world.commit(units).await;
    assert_eq!([0, 1, 2].map(|place| outcome::<Replay>(&committed, place)), [true, false, false]);
    assert_eq!(committed.messages.len(), 1);
    let sent = &committed.messages[0];
    assert_eq!((sent.message_id.as_str(), sent.key), ("a-2", RoutingKey::StockUnlock));
    let document = |payload: &str| serde_json::from_str::<serde_json::Value>(payload).expect("a document");
    let mut renamed = document(&message("a").payload);
    renamed["messageId"] = "a-2".into();
    assert_eq!(document(&sent.payload), renamed, "as it arrived, but for its id");
    assert_eq!(outbox(&world, 0, 10).await, ["a-2"]);
    assert_eq!(parked(&world).await[0].replayed_at, Some(world.now()));
    let before = world.picture().await;
    assert!(!world.one(replaying("a", "a-4")).await);
    assert_eq!(world.picture().await, before);

    world.one(Park { payload: "no document".into(), ..parking("c", "poison") }).await;
    let committed = world.commit(vec![replaying("c", "c-2").into()]).await;
    assert_eq!(committed.messages[0].payload, "no document", "what cannot be read stays as it is");
}

const HOUR: Duration = Duration::from_secs(3600);

fn pruning(which: SpentMessages, hours: u32, limit: usize) -> PruneMessages {
    PruneMessages { which, older_than: hours * HOUR, limit }
}

/// Published rows are forgotten from the oldest on, at most so many at once. What waits is kept however old it is.
pub async fn published_messages_are_forgotten(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    for (number, id) in ["waits", "first", "second", "third"].into_iter().enumerate() {
        world.one(parking(&format!("source of {id}"), "poison")).await;
        world.one(Replay { message_id: format!("source of {id}"), new_message_id: id.into() }).await;
        if number > 0 {
            world.one(MarkPublished { message_ids: vec![id.into()] }).await;
            world.clock.advance(HOUR);
        }
    }
    let published = SpentMessages::Published;
    assert_eq!(world.one(pruning(published, 4, 10)).await, 0);
    assert_eq!(world.one(pruning(published, 2, 1)).await, 1, "the first");
    assert_eq!(world.one(pruning(published, 2, 10)).await, 1, "the second");
    assert_eq!(world.one(pruning(published, 2, 10)).await, 0, "the third is too young");
    world.one(MarkPublished { message_ids: vec!["third".into()] }).await;
    assert_eq!(world.one(pruning(published, 1, 10)).await, 1, "the first mark counts");
    assert_eq!(outbox(&world, 0, 10).await, ["waits"]);
    assert_eq!(parked(&world).await.len(), 4, "only the outbox was meant");
}

/// Seen messages are forgotten from the oldest on; then they would be announced again.
pub async fn seen_messages_are_forgotten(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let paid = world.paid(ALICE, 1).await;
    for id in ["first", "second", "third"] {
        assert!(world.one(announcing(id, &[&paid])).await);
        world.clock.advance(HOUR);
    }
    assert_eq!(world.one(pruning(SpentMessages::Seen, 4, 10)).await, 0);
    assert_eq!(world.one(pruning(SpentMessages::Seen, 2, 1)).await, 1);
    assert!(!world.one(announcing("second", &[&paid])).await);
    assert_eq!(world.one(pruning(SpentMessages::Seen, 2, 10)).await, 1);
    assert!(!world.one(announcing("third", &[&paid])).await);
    assert!(world.one(announcing("first", &[&paid])).await);
    assert!(world.one(announcing("second", &[&paid])).await);
}

/// Replayed messages are forgotten by the time of their replay; one that was not replayed stays.
pub async fn replayed_messages_are_forgotten(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    for id in ["waits", "first", "second"] {
        world.one(parking(id, "poison")).await;
    }
    world.clock.advance(5 * HOUR);
    for id in ["first", "second"] {
        assert!(world.one(Replay { message_id: id.into(), new_message_id: format!("{id} again") }).await);
        world.clock.advance(HOUR);
    }
    let replayed = SpentMessages::Replayed;
    assert_eq!(world.one(pruning(replayed, 3, 10)).await, 0);
    assert_eq!(world.one(pruning(replayed, 1, 1)).await, 1);
    let left: Vec<String> = parked(&world).await.into_iter().map(|parked| parked.message_id).collect();
    assert_eq!(left, ["second", "waits"]);
    assert_eq!(world.one(pruning(replayed, 1, 10)).await, 1);
    assert_eq!(world.one(pruning(replayed, 0, 10)).await, 0);
    assert_eq!(parked(&world).await.len(), 1);
    assert_eq!(outbox(&world, 0, 10).await, ["first again", "second again"]);
}
