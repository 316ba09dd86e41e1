//! Endpoints, what they are told, and the deliveries of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use super::StoreFixture;
use super::world::{ALICE, BOB, World, cancelling, outcome, payment, receiving, shipping};
use crate::domain::order::{Operator, PayType};
use crate::domain::payment::RefundScope;
use crate::domain::returns::ReturnCommand;
use crate::domain::webhook::{Delivery, DeliveryState, Endpoint, EventSet, EventType, NextStep, SigningSecret};
use crate::domain::{Money, OrderSn};
use crate::ports::store::DeliverySearch;
use crate::ports::store::units::{
    ClaimDeliveries, CreateWebhook, DeleteWebhook, EditWebhook, HandleReturn, PruneDeliveries, Redeliver, Redelivery,
    RefundOrder, RotateWebhook, SettleDelivery, SettleRefund, WebhookCreation, WebhookEdit,
};

const LEASE: Duration = Duration::from_secs(60);
const SECOND: Duration = Duration::from_secs(1);

fn secret(byte: u8) -> SigningSecret {
    SigningSecret::from_key(&[byte; 32])
}

fn creating(events: EventSet) -> CreateWebhook {
    CreateWebhook { url: "https://shop.example/hooks".into(), events, secret: secret(1), most: 9 }
}

/// An endpoint that wants these.
async fn endpoint(world: &World, events: EventSet) -> i64 {
    match world.one(creating(events)).await {
        WebhookCreation::Created(id) => id,
        WebhookCreation::TooMany => panic!("there is room for an endpoint"),
    }
}

async fn read(world: &World, id: i64) -> Endpoint {
    world.store.webhook(id).await.expect("endpoints are readable").expect("the endpoint exists")
}

/// Everything an endpoint was ever told, oldest first.
async fn deliveries(world: &World, endpoint_id: i64) -> Vec<Delivery> {
    let search = DeliverySearch { limit: 1000, ..DeliverySearch::default() };
    let mut rows = world.store.deliveries(endpoint_id, &search).await.expect("deliveries are readable");
    rows.reverse();
    rows
}

/// What an endpoint was told, as type and status, and that each is of this order.
async fn told(world: &World, endpoint_id: i64, order_sn: &OrderSn) -> Vec<(String, String)> {
    let of_row = |row: Delivery| {
        let body: Value = serde_json::from_str(&row.body).expect("a JSON body");
        assert_eq!(body["type"], row.kind.as_str());
        assert_eq!(body["timestamp"], row.created_at.rfc3339());
        assert_eq!(body["data"]["order_sn"], order_sn.as_str());
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        (text(&body["type"]), text(&body["data"]["status"]))
    };
    deliveries(world, endpoint_id).await.into_iter().map(of_row).collect()
}

fn pairs(wanted: &[(&str, &str)]) -> Vec<(String, String)> {
    wanted.iter().map(|(kind, status)| ((*kind).to_owned(), (*status).to_owned())).collect()
}

/// A world in which an endpoint wants everything and something waits for it.
async fn with_delivery(fixtures: &dyn StoreFixture) -> (World, i64, i64) {
    let world = World::with_phones(fixtures, 10).await;
    let id = endpoint(&world, EventSet::ALL).await;
    world.placed(ALICE, 1).await;
    let delivery = deliveries(&world, id).await.remove(0);
    (world, id, delivery.id)
}

async fn claimed(world: &World, endpoint_id: i64, limit: usize) -> Vec<Delivery> {
    world.one(ClaimDeliveries { endpoint_id, limit, lease: LEASE }).await
}

fn settling(delivery: &Delivery, status: Option<u16>, error: &str, next: NextStep) -> SettleDelivery {
    SettleDelivery { delivery_id: delivery.id, claim: delivery.claim, status, error: error.into(), next }
}

async fn reread(world: &World, row: &Delivery) -> Delivery {
    let read = world.store.delivery(row.endpoint_id, row.id).await.expect("deliveries are readable");
    read.expect("the delivery exists")
}

/// An endpoint is as it was made, enabled; the list is newest first; an id is never used again.
pub async fn an_endpoint_is_kept(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let some: EventSet = [EventType::OrderPaid, EventType::ReturnSettled].into_iter().collect();
    let (first, second) = (endpoint(&world, some).await, endpoint(&world, EventSet::ALL).await);
    let wanted = Endpoint {
        id: first,
        url: "https://shop.example/hooks".into(),
        events: some,
        is_enabled: true,
        secret: secret(1),
        former: None,
        version: 1,
        created_at: world.now(),
        modified_at: world.now(),
    };
    assert_eq!(read(&world, first).await, wanted);
    let ids: Vec<i64> = world.store.webhooks().await.expect("readable").iter().map(|row| row.id).collect();
    assert_eq!(ids, [second, first]);
    assert_eq!(world.store.webhook(second + 1).await, Ok(None));
    assert!(world.one(DeleteWebhook { endpoint_id: second }).await);
    assert!(!world.one(DeleteWebhook { endpoint_id: second }).await);
    assert!(endpoint(&world, some).await > second, "an id is its endpoint's for good");
}

/// No more are made than there may be.
pub async fn there_are_only_so_many_endpoints(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let one_of_two = CreateWebhook { most: 2, ..creating(EventSet::ALL) };
    let units = vec![one_of_two.clone().into(), one_of_two.clone().into(), one_of_two.clone().into()];
    let committed = world.commit(units).await;
    let WebhookCreation::Created(first) = outcome::<CreateWebhook>(&committed, 0) else { panic!("there is room") };
    assert_eq!(outcome::<CreateWebhook>(&committed, 2), WebhookCreation::TooMany);
    assert!(world.one(DeleteWebhook { endpoint_id: first }).await);
    assert!(matches!(world.one(one_of_two).await, WebhookCreation::Created(_)));
}

/// An edit changes what it names if nobody was there before, and counts the version up.
pub async fn an_endpoint_is_edited_by_who_saw_it(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let id = endpoint(&world, EventSet::ALL).await;
    let made_at = world.now();
    world.clock.advance(SECOND);
    let events: EventSet = [EventType::OrderShipped].into_iter().collect();
    let edit =
        EditWebhook { endpoint_id: id, seen: 1, url: "https://other.example/".into(), events, is_enabled: false };
    let committed = world.commit(vec![edit.clone().into(), edit.clone().into()]).await;
    assert_eq!(outcome::<EditWebhook>(&committed, 0), WebhookEdit::Done);
    assert_eq!(outcome::<EditWebhook>(&committed, 1), WebhookEdit::Changed);
    let now = read(&world, id).await;
    assert_eq!((now.url.as_str(), now.events, now.is_enabled), ("https://other.example/", events, false));
    assert_eq!((now.version, now.created_at, now.modified_at), (2, made_at, world.now()));
    assert_eq!(world.one(EditWebhook { endpoint_id: id + 1, ..edit }).await, WebhookEdit::Unknown);
}

/// A new secret takes over at once; the one before is kept until its time is over, the one before that is forgotten.
pub async fn a_rotated_secret_signs_on(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let id = endpoint(&world, EventSet::ALL).await;
    let rotating = |byte| RotateWebhook { endpoint_id: id, secret: secret(byte), overlap: LEASE };
    assert!(world.one(rotating(2)).await);
    let until = world.now().plus(LEASE);
    let now = read(&world, id).await;
    assert_eq!((now.secret, now.former, now.version), (secret(2), Some((secret(1), until)), 2));
    assert!(world.one(rotating(3)).await);
    assert_eq!(read(&world, id).await.former, Some((secret(2), until)));
    assert!(!world.one(RotateWebhook { endpoint_id: id + 1, ..rotating(4) }).await);
}

/// Each step of an order is told once, in order, in the transaction that made it.
pub async fn an_orders_life_is_told(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let id = endpoint(&world, EventSet::ALL).await;
    let order_sn = world.shipped(ALICE, 1).await;
    world.one(receiving(&order_sn)).await;
    let wanted = [
        ("order.placed", "awaiting_payment"),
        ("order.paid", "awaiting_shipment"),
        ("order.shipped", "shipped"),
        ("order.completed", "completed"),
    ];
    assert_eq!(told(&world, id, &order_sn).await, pairs(&wanted));
    let rows = deliveries(&world, id).await;
    let ids: BTreeSet<&str> = rows.iter().map(|row| row.message_id.as_str()).collect();
    assert_eq!(ids.len(), rows.len(), "every message has its own id");
    assert!(ids.iter().all(|id| id.starts_with("msg_") && !id.contains('.')), "{ids:?}");
    for row in &rows {
        assert_eq!((row.state, row.tries, row.due_at), (DeliveryState::Pending, 0, row.created_at));
    }
    world.assert_sound().await;
}

/// Cancelled, timed out, or refunded whole before shipment: the order is closed, and told so once.
pub async fn an_end_without_a_sale_is_told(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let events: EventSet = [EventType::OrderClosed, EventType::OrderRefunded].into_iter().collect();
    let id = endpoint(&world, events).await;
    let order_sn = world.placed(ALICE, 1).await;
    let committed = world.commit(vec![cancelling(&order_sn).into(), cancelling(&order_sn).into()]).await;
    assert_eq!(committed.outcomes.len(), 2);
    assert_eq!(told(&world, id, &order_sn).await, pairs(&[("order.closed", "closed")]));

    let other = endpoint(&world, events).await;
    let paid = world.paid(BOB, 1).await;
    world.one(refunding(&paid, RefundScope::Whole)).await;
    assert_eq!(told(&world, other, &paid).await, pairs(&[("order.closed", "closed")]), "the money is not back yet");
}

fn refunding(order_sn: &OrderSn, scope: RefundScope) -> RefundOrder {
    RefundOrder {
        order_sn: order_sn.clone(),
        scope,
        request_no: "refund-1".into(),
        operator: Operator::Admin,
        note: "broken".into(),
        asked: None,
    }
}

fn handling(return_id: i64, command: ReturnCommand) -> HandleReturn {
    HandleReturn { return_id, command, restock: false, operator: Operator::Admin, note: String::new() }
}

/// A return request is told when it is made and when it is settled either way, not in between.
pub async fn a_return_is_told(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.completed(ALICE, 2).await;
    let events: EventSet = [EventType::ReturnRequested, EventType::ReturnSettled].into_iter().collect();
    let id = endpoint(&world, events).await;
    let first = world.asked_back(&order_sn, ALICE, 1).await;
    world.one(handling(first, ReturnCommand::Reject)).await;
    let second = world.asked_back(&order_sn, ALICE, 2).await;
    world.one(handling(second, ReturnCommand::Approve)).await;
    world.one(handling(second, ReturnCommand::Receive)).await;
    let wanted = [
        ("return.requested", "pending"),
        ("return.settled", "rejected"),
        ("return.requested", "pending"),
        ("return.settled", "done"),
    ];
    assert_eq!(told(&world, id, &order_sn).await, pairs(&wanted));
    let of_row = |row: &Delivery| serde_json::from_str::<Value>(&row.body).expect("JSON")["data"]["return_id"].clone();
    let ids: Vec<Value> = deliveries(&world, id).await.iter().map(of_row).collect();
    assert_eq!(ids, [first, first, second, second].map(|id| id.to_string()));
}

/// A refund is told when the money is back: by the gateway when it confirms, in cash at once.
pub async fn refunds_are_told_when_the_money_is_back(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let events: EventSet = [EventType::OrderRefunded].into_iter().collect();
    let id = endpoint(&world, events).await;
    let order_sn = world.shipped(ALICE, 1).await;
    world.one(refunding(&order_sn, RefundScope::Part(Money(100)))).await;
    assert_eq!(deliveries(&world, id).await, []);
    let settle = || SettleRefund { request_no: "refund-1".into() };
    world.commit(vec![settle().into(), settle().into()]).await;
    assert_eq!(told(&world, id, &order_sn).await, pairs(&[("order.refunded", "shipped")]));

    let other = endpoint(&world, events).await;
    let cash = world.shipped_for_cash(BOB, 1).await;
    world.one(receiving(&cash)).await;
    let by_hand = RefundOrder { request_no: "cash-1".into(), ..refunding(&cash, RefundScope::Part(Money(100))) };
    world.one(by_hand).await;
    let returned = world.asked_back(&cash, BOB, 1).await;
    world.one(handling(returned, ReturnCommand::Approve)).await;
    world.one(handling(returned, ReturnCommand::Receive)).await;
    assert_eq!(told(&world, other, &cash).await, pairs(&[("order.refunded", "completed"); 2]));
}

/// The orders of winners and of buyers who pay on delivery are told like others.
pub async fn winners_orders_are_told(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(2, 1).await;
    let id = endpoint(&world, EventSet::ALL).await;
    let order_sn = world.won(sale, &[ALICE]).await.remove(0);
    assert_eq!(told(&world, id, &order_sn).await, pairs(&[("order.placed", "awaiting_payment")]));
    let other = endpoint(&world, EventSet::ALL).await;
    let mut unit = world.placing(BOB, &world.phones(1).await);
    unit.order.pay_type = PayType::CashOnDelivery;
    let order_sn = unit.order.order_sn.clone();
    world.one(unit).await;
    assert_eq!(told(&world, other, &order_sn).await, pairs(&[("order.placed", "awaiting_shipment")]));
}

/// Refused and repeated units tell nothing.
pub async fn what_did_not_happen_is_not_told(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 2).await;
    let unit = world.placing(ALICE, &world.phones(1).await);
    world.one(unit.clone()).await;
    let order_sn = unit.order.order_sn.clone();
    let id = endpoint(&world, EventSet::ALL).await;
    let stale = world.placing(BOB, &world.phones(2).await);
    let wrong = { crate::domain::payment::Receipt { amount: Money(1), ..world.receipt(&order_sn).await } };
    let units = vec![
        unit.into(),
        stale.into(),
        shipping(&order_sn).into(),
        receiving(&order_sn).into(),
        payment(wrong).into(),
        refunding(&order_sn, RefundScope::Whole).into(),
        SettleRefund { request_no: "nobody's".into() }.into(),
        handling(4711, ReturnCommand::Reject).into(),
    ];
    world.commit(units).await;
    assert_eq!(deliveries(&world, id).await, []);
}

/// An endpoint hears of the types it wants while it is enabled; one message for many has one id.
pub async fn endpoints_are_told_what_they_want(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let paid: EventSet = [EventType::OrderPaid].into_iter().collect();
    let (all, some, off) =
        (endpoint(&world, EventSet::ALL).await, endpoint(&world, paid).await, endpoint(&world, EventSet::ALL).await);
    let url = "https://shop.example/hooks".to_owned();
    world.one(EditWebhook { endpoint_id: off, seen: 1, url, events: EventSet::ALL, is_enabled: false }).await;
    let order_sn = world.paid(ALICE, 1).await;
    assert_eq!(told(&world, all, &order_sn).await.len(), 2);
    assert_eq!(told(&world, some, &order_sn).await, pairs(&[("order.paid", "awaiting_shipment")]));
    assert_eq!(deliveries(&world, off).await, []);
    let (first, second) = (deliveries(&world, all).await.remove(1), deliveries(&world, some).await.remove(0));
    assert_eq!((first.message_id, first.body), (second.message_id, second.body));
    // What a batch tells goes to the endpoints that there are at its end.
    let late = world.commit(vec![world.placing(BOB, &world.phones(1).await).into(), creating(paid).into()]).await;
    let WebhookCreation::Created(late) = outcome::<CreateWebhook>(&late, 1) else { panic!("there is room") };
    assert_eq!(deliveries(&world, late).await, []);
    let unit = world.placing(BOB, &world.phones(1).await);
    let committed = world.commit(vec![creating(EventSet::ALL).into(), unit.into()]).await;
    let WebhookCreation::Created(new) = outcome::<CreateWebhook>(&committed, 0) else { panic!("there is room") };
    assert_eq!(deliveries(&world, new).await.len(), 1);
}

/// 256 orders of one batch are told one by one.
pub async fn a_crowd_is_told_in_one_batch(fixtures: &dyn StoreFixture) {
    const CROWD: usize = 256;
    let world = World::with_phones(fixtures, 256).await;
    let id = endpoint(&world, EventSet::ALL).await;
    let lines = world.phones(1).await;
    let units: Vec<_> = (0..CROWD).map(|_| world.placing(ALICE, &lines)).collect();
    let wanted: Vec<String> = units.iter().map(|unit| unit.order.order_sn.as_str().to_owned()).collect();
    world.commit(units.into_iter().map(Into::into).collect()).await;
    let of_row = |row: &Delivery| {
        let body: Value = serde_json::from_str(&row.body).expect("JSON");
        body["data"]["order_sn"].as_str().expect("a number").to_owned()
    };
    let told: Vec<String> = deliveries(&world, id).await.iter().map(of_row).collect();
    assert_eq!(told, wanted, "in the order of the units");
}

/// What is due is taken, the longest due first, and counted as tried; it is nobody else's before the lease is over.
pub async fn due_deliveries_are_claimed(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (id, other) = (endpoint(&world, EventSet::ALL).await, endpoint(&world, EventSet::ALL).await);
    assert_eq!(world.store.due_webhooks().await, Ok(Vec::new()));
    for _ in 0..3 {
        world.placed(ALICE, 1).await;
        world.clock.advance(SECOND);
    }
    assert_eq!(world.store.due_webhooks().await, Ok(vec![id, other]));
    let all = deliveries(&world, id).await;
    let two = claimed(&world, id, 2).await;
    assert_eq!(two.iter().map(|row| row.id).collect::<Vec<_>>(), [all[0].id, all[1].id]);
    for (row, before) in two.iter().zip(&all) {
        let wanted = Delivery { tries: 1, claim: 1, due_at: world.now().plus(LEASE), ..before.clone() };
        assert_eq!(*row, wanted);
        assert_eq!(reread(&world, row).await, wanted);
    }
    let rest = claimed(&world, id, 9).await;
    assert_eq!(rest.iter().map(|row| row.id).collect::<Vec<_>>(), [all[2].id]);
    assert_eq!(claimed(&world, id, 9).await, []);
    assert_eq!(world.store.due_webhooks().await, Ok(vec![other]));
    assert_eq!(claimed(&world, other + 1, 9).await, [], "nobody's");

    let url = "https://shop.example/hooks".to_owned();
    world.one(EditWebhook { endpoint_id: other, seen: 1, url, events: EventSet::ALL, is_enabled: false }).await;
    assert_eq!(claimed(&world, other, 9).await, [], "disabled");
    assert_eq!(world.store.due_webhooks().await, Ok(Vec::new()));
}

/// Whoever took a delivery and was not heard of again has used the try, and is not believed later.
pub async fn a_claim_that_is_lost_is_taken_again(fixtures: &dyn StoreFixture) {
    let (world, id, _) = with_delivery(fixtures).await;
    let lost = claimed(&world, id, 1).await.remove(0);
    world.clock.advance(LEASE);
    let again = claimed(&world, id, 1).await.remove(0);
    assert_eq!((again.id, again.tries, again.claim), (lost.id, 2, 2));
    assert!(!world.one(settling(&lost, Some(200), "", NextStep::Delivered)).await);
    assert_eq!(reread(&world, &lost).await, again);
    assert!(world.one(settling(&again, Some(204), "", NextStep::Delivered)).await);
    let done = reread(&world, &again).await;
    assert_eq!((done.state, done.last_status, done.tried_at), (DeliveryState::Delivered, Some(204), Some(world.now())));
}

/// What came of a try is recorded once; a retry is due after its pause, and the end is the end.
pub async fn a_try_is_settled_under_its_claim(fixtures: &dyn StoreFixture) {
    let (world, id, _) = with_delivery(fixtures).await;
    let first = claimed(&world, id, 1).await.remove(0);
    let retry = || settling(&first, Some(500), "status 500", NextStep::RetryAfter(SECOND));
    let committed = world.commit(vec![retry().into(), retry().into()]).await;
    assert!(outcome::<SettleDelivery>(&committed, 0));
    let waiting = reread(&world, &first).await;
    assert_eq!((waiting.state, waiting.due_at), (DeliveryState::Pending, world.now().plus(SECOND)));
    assert_eq!((waiting.last_status, waiting.last_error.as_str()), (Some(500), "status 500"));
    assert_eq!(claimed(&world, id, 1).await, []);
    world.clock.advance(SECOND);

    let second = claimed(&world, id, 1).await.remove(0);
    assert_eq!((second.tries, second.last_status), (2, Some(500)));
    assert!(world.one(settling(&second, None, "no answer", NextStep::GiveUp)).await);
    let failed = reread(&world, &second).await;
    assert_eq!((failed.state, failed.last_status), (DeliveryState::Failed, None));
    assert!(!world.one(settling(&second, Some(200), "", NextStep::Delivered)).await, "it is over");
    world.clock.advance(LEASE);
    assert_eq!(claimed(&world, id, 1).await, []);
    let nobodys = SettleDelivery { delivery_id: second.id + 1, ..settling(&second, None, "", NextStep::GiveUp) };
    assert!(!world.one(nobodys).await);
}

/// An endpoint that wants nothing any more is disabled with the delivery that heard it.
pub async fn an_endpoint_that_is_gone_is_disabled(fixtures: &dyn StoreFixture) {
    let (world, id, _) = with_delivery(fixtures).await;
    world.placed(BOB, 1).await;
    let first = claimed(&world, id, 1).await.remove(0);
    assert!(world.one(settling(&first, Some(410), "gone", NextStep::Gone)).await);
    assert_eq!(reread(&world, &first).await.state, DeliveryState::Failed);
    let now = read(&world, id).await;
    assert_eq!((now.is_enabled, now.version), (false, 2));
    assert_eq!(claimed(&world, id, 9).await, []);
    world.placed(BOB, 1).await;
    assert_eq!(deliveries(&world, id).await.len(), 2, "it is told nothing more");
    // What waited goes on once it is enabled again.
    world.one(EditWebhook { endpoint_id: id, seen: 2, url: now.url, events: now.events, is_enabled: true }).await;
    assert_eq!(claimed(&world, id, 9).await.len(), 1);
}

/// A delivery is tried anew at the wish of staff, under its message id; who tries it at the moment is not heard.
pub async fn a_delivery_is_sent_again(fixtures: &dyn StoreFixture) {
    let (world, id, delivery_id) = with_delivery(fixtures).await;
    let again = Redeliver { endpoint_id: id, delivery_id };
    let first = claimed(&world, id, 1).await.remove(0);
    world.one(settling(&first, Some(200), "", NextStep::Delivered)).await;
    assert_eq!(world.one(again.clone()).await, Redelivery::Due);
    let due = reread(&world, &first).await;
    assert_eq!((due.state, due.tries, due.due_at), (DeliveryState::Pending, 0, world.now()));
    assert_eq!((&due.message_id, &due.body), (&first.message_id, &first.body));

    let second = claimed(&world, id, 1).await.remove(0);
    assert_eq!(second.tries, 1);
    assert_eq!(world.one(again.clone()).await, Redelivery::Due);
    assert!(!world.one(settling(&second, Some(200), "", NextStep::Delivered)).await);
    assert_eq!(claimed(&world, id, 1).await.len(), 1, "at once, whatever the lease was");

    let other = endpoint(&world, EventSet::ALL).await;
    for unknown in [
        Redeliver { endpoint_id: other, ..again.clone() },
        Redeliver { endpoint_id: other + 1, ..again.clone() },
        Redeliver { delivery_id: delivery_id + 100, ..again.clone() },
    ] {
        assert_eq!(world.one(unknown).await, Redelivery::Unknown);
    }
    let now = read(&world, id).await;
    world.one(EditWebhook { endpoint_id: id, seen: 1, url: now.url, events: now.events, is_enabled: false }).await;
    assert_eq!(world.one(again).await, Redelivery::Disabled);
}

/// Old deliveries go, the oldest first, but for those that an enabled endpoint waits for.
pub async fn old_deliveries_are_forgotten(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (id, other) = (endpoint(&world, EventSet::ALL).await, endpoint(&world, EventSet::ALL).await);
    for _ in 0..3 {
        world.placed(ALICE, 1).await;
        world.clock.advance(SECOND);
    }
    let pruning = |seconds, limit| PruneDeliveries { older_than: SECOND * seconds, limit };
    assert_eq!(world.one(pruning(0, 99)).await, 0, "all are waited for");
    for row in claimed(&world, id, 9).await {
        world.one(settling(&row, Some(200), "", NextStep::Delivered)).await;
    }
    assert_eq!(world.one(pruning(4, 99)).await, 0);
    assert_eq!(world.one(pruning(2, 1)).await, 1);
    assert_eq!(world.one(pruning(2, 99)).await, 1);
    assert_eq!((deliveries(&world, id).await.len(), deliveries(&world, other).await.len()), (1, 3));
    world.one(DeleteWebhook { endpoint_id: other }).await;
    assert_eq!(world.one(pruning(0, 99)).await, 4);
    assert_eq!((deliveries(&world, id).await, deliveries(&world, other).await), (Vec::new(), Vec::new()));
}

/// Newest first, before a row, in one state; of one endpoint.
pub async fn deliveries_are_read_page_by_page(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (id, other) = (endpoint(&world, EventSet::ALL).await, endpoint(&world, EventSet::ALL).await);
    for _ in 0..3 {
        world.placed(ALICE, 1).await;
    }
    let all: Vec<i64> = deliveries(&world, id).await.iter().map(|row| row.id).collect();
    let page = async |state, before, limit| {
        let rows = world.store.deliveries(id, &DeliverySearch { state, before, limit }).await.expect("readable");
        rows.iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(page(None, None, 2).await, [all[2], all[1]]);
    assert_eq!(page(None, Some(all[1]), 2).await, [all[0]]);
    let first = claimed(&world, id, 1).await.remove(0);
    world.one(settling(&first, None, "", NextStep::GiveUp)).await;
    assert_eq!(page(Some(DeliveryState::Failed), None, 9).await, [first.id]);
    assert_eq!(page(Some(DeliveryState::Pending), None, 9).await, [all[2], all[1]]);
    assert_eq!(page(Some(DeliveryState::Delivered), None, 9).await, [0; 0]);
    assert_eq!(world.store.delivery(id, first.id).await.expect("readable").map(|row| row.id), Some(first.id));
    assert_eq!(world.store.delivery(other, first.id).await, Ok(None), "another endpoint's");
}
