//! [`AnnouncePaid`] and [`AddPoints`].

use std::time::Duration;

use super::StoreFixture;
use super::values::{
    announcing, credit, foreign, items, named, outcome, packed, payment, receiving, refunding, shipping,
};
use super::world::{ALICE, BOB, NORTH, PHONE, RULES, World};
use crate::domain::events::{BoundPlus, RoutingKey};
use crate::domain::invariants::check;
use crate::domain::order::PayType;
use crate::domain::stock::Resolution;
use crate::domain::{OrderSn, UserId};
use crate::ports::store::StoreRules;
use crate::ports::store::units::{AddPoints, AnnouncePaid};

/// A buyer who is no member.
const STRANGER: UserId = UserId(77);

fn crediting(credits: &[(&OrderSn, UserId, i64)]) -> AddPoints {
    AddPoints {
        credits: credits.iter().map(|(order_sn, user_id, points)| credit(order_sn, *user_id, *points)).collect(),
    }
}

/// Spendable points and growth of a member.
async fn balance(world: &World, user_id: UserId) -> (i64, i64) {
    let member = world.store.member(user_id).await.expect("members are readable").expect("the member exists");
    (member.integration, member.growth)
}

/// A paid order sends on its stock minus and the points its money earns; orders in other states send nothing.
pub async fn a_paid_order_is_sent_on(fixtures: &dyn StoreFixture) {
    let world = World::with_rules(fixtures, StoreRules { points_per_yuan: 3, ..RULES }).await;
    world.fixture.add_stock(PHONE, NORTH, 10).await;
    let (paid, open, closed) = (world.paid(ALICE, 2).await, world.placed(ALICE, 1).await, world.placed(BOB, 1).await);
    world.cancel(&closed).await;
    let mut on_delivery = world.placing(BOB, &world.phones(1).await);
    on_delivery.order.pay_type = PayType::CashOnDelivery;
    let delivered = on_delivery.order.order_sn.clone();
    world.one(on_delivery).await;

    let unit = announcing("message-1", &[&open, &paid, &closed, &world.number(), &delivered]);
    let committed = world.commit(vec![unit.into()]).await;
    assert!(outcome::<AnnouncePaid>(&committed, 0));
    assert_eq!(packed(&committed.messages), [(RoutingKey::StockMinus, 2), (RoutingKey::BoundPlus, 2)]);
    assert_eq!(named(&committed.messages[0]), [paid.as_str(), delivered.as_str()]);
    let credits: Vec<BoundPlus> = items(&committed.messages[1])
        .into_iter()
        .map(|item| serde_json::from_value(item).expect("an item of bound.plus"))
        .collect();
    assert_eq!(credits, [credit(&paid, ALICE, 600), credit(&delivered, BOB, 300)]);
    world.assert_sound().await;
}

/// A message is announced once, whatever it names the second time; one that sends nothing counts too.
pub async fn a_message_is_announced_once(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (paid, open) = (world.paid(ALICE, 1).await, world.placed(ALICE, 1).await);
    let units = vec![
        announcing("first", &[&paid]).into(),
        announcing("first", &[&paid]).into(),
        announcing("empty", &[&open]).into(),
        announcing("second", &[&paid]).into(),
    ];
    let committed = world.commit(units).await;
    let fresh = [0, 1, 2, 3].map(|place| outcome::<AnnouncePaid>(&committed, place));
    assert_eq!(fresh, [true, false, true, true]);
    assert_eq!(packed(&committed.messages), [(RoutingKey::StockMinus, 2), (RoutingKey::BoundPlus, 2)]);

    world.pay(&open).await;
    let before = world.picture().await;
    for message_id in ["first", "empty", "second"] {
        let committed = world.commit(vec![announcing(message_id, &[&open]).into()]).await;
        assert!(!outcome::<AnnouncePaid>(&committed, 0), "{message_id}");
        assert_eq!(committed.messages, []);
    }
    assert_eq!(world.picture().await, before);
}

/// A credit raises both balances once, however often it comes: in a unit, in a batch, or later.
pub async fn points_are_credited_once(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (first, second) = (world.paid(ALICE, 1).await, world.paid(ALICE, 2).await);
    let unit = crediting(&[(&first, ALICE, 100), (&second, ALICE, 200)]);
    let mut larger = crediting(&[(&first, ALICE, 999)]);
    larger.credits[0].growth = 5;

    let committed = world.commit(vec![unit.clone().into(), unit.clone().into(), larger.clone().into()]).await;
    assert_eq!(outcome::<AddPoints>(&committed, 0), [true, true]);
    assert_eq!(outcome::<AddPoints>(&committed, 1), [false, false]);
    assert_eq!(outcome::<AddPoints>(&committed, 2), [false]);
    assert_eq!(balance(&world, ALICE).await, (300, 300));
    assert_eq!(balance(&world, BOB).await, (0, 0));
    let before = world.picture().await;
    assert_eq!(world.one(unit).await, [false, false]);
    assert_eq!(world.one(larger).await, [false]);
    assert_eq!(world.picture().await, before);
    for order_sn in [first, second] {
        world.resolve(Resolution::Deduct, &order_sn).await;
    }
    let broken = check(&world.facts().await).broken();
    assert_eq!(broken, [""; 0]);
}

/// Only the buyer of a paid order earns its points; a refused credit may come again once the order is paid.
pub async fn only_buyers_of_paid_orders_earn(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (open, closed, paid) = (world.placed(ALICE, 1).await, world.placed(ALICE, 1).await, world.paid(ALICE, 1).await);
    world.cancel(&closed).await;
    let before = world.picture().await;
    let unit = crediting(&[(&open, ALICE, 100), (&closed, ALICE, 100), (&paid, BOB, 100)]);
    assert_eq!(world.one(unit.clone()).await, [false; 3]);
    assert_eq!(world.picture().await, before);

    let receipt = world.receipt(&open).await;
    let committed = world.commit(vec![payment(receipt).into(), unit.into()]).await;
    assert_eq!(outcome::<AddPoints>(&committed, 1), [true, false, false]);
    assert_eq!(world.one(crediting(&[(&paid, ALICE, 100)])).await, [true]);
    assert_eq!(balance(&world, ALICE).await, (200, 200));
    assert_eq!(balance(&world, BOB).await, (0, 0));
}

/// Other systems may credit for orders unknown here, and for users unknown here, once each.
pub async fn unknown_orders_and_members_are_credited(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let (theirs, strangers) = (world.number(), foreign("other-system-1"));
    let mut unit = crediting(&[(&theirs, ALICE, 50), (&strangers, STRANGER, 70)]);
    unit.credits[0].growth = 20;
    assert_eq!(world.one(unit.clone()).await, [true, true]);
    assert_eq!(balance(&world, ALICE).await, (50, 20));
    assert_eq!(world.store.member(STRANGER).await, Ok(None));
    assert_eq!(world.one(unit).await, [false, false]);
    assert_eq!(balance(&world, ALICE).await, (50, 20));
    assert_eq!(check(&world.facts().await).broken(), [""; 0]);
}

/// Applied payments without points are listed once they are old enough, oldest first, while their order is in 1–3.
pub async fn missing_points_are_listed(fixtures: &dyn StoreFixture) {
    let world = World::with_rules(fixtures, StoreRules { points_per_yuan: 3, ..RULES }).await;
    world.fixture.add_stock(PHONE, NORTH, 20).await;
    let missing =
        async |older_ms, limit| world.store.missing_points(older_ms, limit).await.expect("payments are readable");
    let first = world.paid(ALICE, 2).await;
    world.clock.advance(Duration::from_secs(10));
    let second = world.shipped(BOB, 1).await;
    let credited = world.paid(BOB, 1).await;
    let refunded = world.paid(BOB, 1).await;
    world.placed(ALICE, 1).await;
    world.one(crediting(&[(&credited, BOB, 300)])).await;
    world.one(refunding(&refunded)).await;
    let (of_first, of_second) = (credit(&first, ALICE, 600), credit(&second, BOB, 300));
    assert_eq!(missing(0, 10).await, [of_first.clone(), of_second.clone()]);
    assert_eq!(missing(0, 1).await, std::slice::from_ref(&of_first));
    assert_eq!(missing(5_000, 10).await, std::slice::from_ref(&of_first));
    assert_eq!(missing(15_000, 10).await, []);

    assert_eq!(world.one(AddPoints { credits: vec![of_first] }).await, [true]);
    assert_eq!(missing(0, 10).await, std::slice::from_ref(&of_second));
    assert_eq!(world.one(AddPoints { credits: vec![of_second] }).await, [true]);
    assert_eq!(missing(0, 10).await, []);
}

/// Points that came before the payment are enough: of cash on delivery, say, whose payment is made at the receipt.
pub async fn points_before_the_payment_are_not_missing(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let mut on_delivery = world.placing(BOB, &world.phones(1).await);
    on_delivery.order.pay_type = PayType::CashOnDelivery;
    let order_sn = on_delivery.order.order_sn.clone();
    world.one(on_delivery).await;
    assert_eq!(world.one(crediting(&[(&order_sn, BOB, 100)])).await, [true]);
    world.one(shipping(&order_sn)).await;
    world.one(receiving(&order_sn)).await;
    // Asked for once more, it is known to be there.
    assert_eq!(world.one(crediting(&[(&order_sn, BOB, 100)])).await, [false]);
    assert_eq!(world.store.missing_points(0, 10).await, Ok(vec![]));
    assert_eq!(balance(&world, BOB).await, (100, 100));
}
