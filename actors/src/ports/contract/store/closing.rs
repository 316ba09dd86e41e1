//! [`CloseOrders`], and finding what is to be closed.

use std::time::Duration;

use super::StoreFixture;
use super::values::{cancelling, named, outcome, packed, timing_out};
use super::world::{ALICE, BOB, GRACE, PAYMENT_TIMEOUT, PHONE, World};
use crate::domain::OrderSn;
use crate::domain::events::RoutingKey;
use crate::domain::order::{Operator, OrderStatus, PayType};
use crate::domain::stock::LockState;
use crate::ports::store::UnpaidOrder;
use crate::ports::store::units::{CloseOrders, IssuePayPage, OrderClose};

/// The owner closes an unpaid order at any time: status 4, a history row, and a message that frees the units.
pub async fn an_owner_cancels(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.placed(ALICE, 3).await;
    world.clock.advance(Duration::from_secs(1));

    let committed = world.commit(vec![cancelling(&order_sn).into()]).await;
    assert_eq!(outcome::<CloseOrders>(&committed, 0), [OrderClose::Closed]);
    assert_eq!(packed(&committed.messages), [(RoutingKey::StockUnlock, 1)]);
    assert_eq!(named(&committed.messages[0]), [order_sn.as_str()]);
    assert_eq!(committed.stock, [], "the message frees the units");
    let order = world.order(&order_sn).await;
    assert_eq!((order.status, order.modified_at), (OrderStatus::Closed, world.now()));
    let history = world.history(&order_sn).await;
    assert_eq!(history.len(), 1);
    let told = (history[0].operator, history[0].at, history[0].status, history[0].note.as_str());
    assert_eq!(told, (Operator::User, world.now(), OrderStatus::Closed, "cancelled"));
    assert_eq!(world.locks(&order_sn).await, [(LockState::Locked, 3)]);
    world.assert_sound().await;
}

/// By timeout an order is closed once its deadline and the grace for late money are over, not a moment before.
pub async fn a_timeout_waits_until_it_is_due(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.placed(ALICE, 1).await;
    let due_at = world.now().plus(PAYMENT_TIMEOUT).plus(GRACE);
    let timing_out = timing_out(std::slice::from_ref(&order_sn));
    let before = world.picture().await;
    assert_eq!(world.one(timing_out.clone()).await, [OrderClose::NotDue(due_at)]);
    assert_eq!(world.picture().await, before);
    world.clock.set(due_at.0 - 1);
    assert_eq!(world.one(timing_out.clone()).await, [OrderClose::NotDue(due_at)]);
    assert_eq!(world.status(&order_sn).await, OrderStatus::AwaitingPayment);

    world.clock.set(due_at.0);
    assert_eq!(world.one(timing_out).await, [OrderClose::Closed]);
    assert_eq!(world.history(&order_sn).await[0].operator, Operator::System);
    let facts = world.facts().await.orders;
    assert_eq!(facts[0].timed_out_at, Some(due_at));
    world.assert_sound().await;
}

/// Orders of one unit are judged alone and answered in order, and those closed share one message.
pub async fn orders_of_a_unit_are_judged_alone(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (paid, first) = (world.paid(ALICE, 1).await, world.placed(ALICE, 1).await);
    let (closed, second) = (world.placed(BOB, 1).await, world.placed(BOB, 1).await);
    world.cancel(&closed).await;
    let mut on_delivery = world.placing(ALICE, &world.phones(1).await);
    on_delivery.order.pay_type = PayType::CashOnDelivery;
    let delivered = on_delivery.order.order_sn.clone();
    world.one(on_delivery).await;
    world.clock.advance(PAYMENT_TIMEOUT + GRACE);
    let young = world.placed(BOB, 1).await;
    let young_due_at = world.now().plus(PAYMENT_TIMEOUT).plus(GRACE);

    let unit = timing_out(&[paid, first.clone(), closed, world.number(), delivered, young, second.clone()]);
    let committed = world.commit(vec![unit.clone().into()]).await;
    let wrong = OrderClose::WrongState;
    let mut wanted = [
        wrong(OrderStatus::AwaitingShipment),
        OrderClose::Closed,
        wrong(OrderStatus::Closed),
        OrderClose::Unknown,
        wrong(OrderStatus::AwaitingShipment),
        OrderClose::NotDue(young_due_at),
        OrderClose::Closed,
    ];
    assert_eq!(outcome::<CloseOrders>(&committed, 0), wanted);
    assert_eq!(packed(&committed.messages), [(RoutingKey::StockUnlock, 2)]);
    assert_eq!(named(&committed.messages[0]), [first.as_str(), second.as_str()]);

    let before = world.picture().await;
    let committed = world.commit(vec![unit.into()]).await;
    (wanted[1], wanted[6]) = (wrong(OrderStatus::Closed), wrong(OrderStatus::Closed));
    assert_eq!(outcome::<CloseOrders>(&committed, 0), wanted);
    assert_eq!(committed.messages, []);
    assert_eq!(world.picture().await, before);
    world.assert_sound().await;
}

/// An order is closed by one unit of a batch, also when it was made in the same batch.
pub async fn an_order_is_closed_once_in_a_batch(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let unit = world.placing(ALICE, &world.phones(1).await);
    let order_sn = unit.order.order_sn.clone();
    let close = || cancelling(&order_sn).into();
    let committed = world.commit(vec![close(), unit.into(), close(), close()]).await;
    let answers = [0, 2, 3].map(|place| outcome::<CloseOrders>(&committed, place)[0]);
    assert_eq!(answers, [OrderClose::Unknown, OrderClose::Closed, OrderClose::WrongState(OrderStatus::Closed)]);
    let unlocks: Vec<_> = committed.messages.iter().filter(|message| message.key == RoutingKey::StockUnlock).collect();
    assert_eq!((unlocks.len(), named(unlocks[0]).len()), (1, 1));
    assert_eq!(world.history(&order_sn).await.len(), 1);
    assert_eq!(world.stock(PHONE).await, (10, 1));
    world.assert_sound().await;
}

/// A crowd closed in many units of one batch is told in few messages, in order.
pub async fn a_crowd_is_closed_in_one_batch(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 500).await;
    let phones = world.phones(1).await;
    let units: Vec<_> = (0..300).map(|_| world.placing(ALICE, &phones)).collect();
    let order_sns: Vec<OrderSn> = units.iter().map(|unit| unit.order.order_sn.clone()).collect();
    world.commit(units.into_iter().map(Into::into).collect()).await;
    world.clock.advance(PAYMENT_TIMEOUT + GRACE);

    let committed = world.commit(order_sns.chunks(7).map(|part| timing_out(part).into()).collect()).await;
    let key = RoutingKey::StockUnlock;
    assert_eq!(packed(&committed.messages), [(key, 256), (key, 44)]);
    let told: Vec<String> = committed.messages.iter().flat_map(named).collect();
    assert_eq!(told, order_sns.iter().map(OrderSn::to_string).collect::<Vec<_>>());
    world.assert_sound().await;
}

/// Unpaid orders past their deadline and grace are found, oldest first.
pub async fn overdue_orders_are_found(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let old = world.placed(ALICE, 1).await;
    let (paid, closed) = (world.paid(ALICE, 1).await, world.placed(ALICE, 1).await);
    world.cancel(&closed).await;
    world.clock.advance(Duration::from_secs(10));
    let young = world.placed(BOB, 1).await;
    let overdue = async |limit| world.store.overdue_orders(GRACE, limit).await.expect("orders are readable");

    world.clock.advance(PAYMENT_TIMEOUT + GRACE - Duration::from_millis(10_001));
    assert_eq!(overdue(10).await, []);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(overdue(10).await, vec![old.clone()], "due at the last moment of the grace");
    world.clock.advance(Duration::from_secs(10));
    assert_eq!(overdue(10).await, [old.clone(), young.clone()]);
    assert_eq!(overdue(1).await, vec![old.clone()]);
    world.one(timing_out(&[old, paid, young])).await;
    assert_eq!(overdue(10).await, []);
}

/// What closing must know of unpaid orders; decided and unknown ones are missing.
pub async fn unpaid_orders_are_read_together(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (plain, shown) = (world.placed(ALICE, 1).await, world.placed(BOB, 1).await);
    let (paid, closed) = (world.paid(ALICE, 1).await, world.placed(ALICE, 1).await);
    world.cancel(&closed).await;
    world.one(IssuePayPage { order_sn: shown.clone(), asked: None }).await;
    let pay_before = world.now().plus(PAYMENT_TIMEOUT);

    let asked = [paid, shown.clone(), closed, world.number(), plain.clone()];
    let mut unpaid = world.store.unpaid_orders(&asked).await.expect("orders are readable");
    unpaid.sort_by_key(|order| order.order_sn.clone());
    let wanted = [(plain, false), (shown, true)];
    assert_eq!(unpaid, wanted.map(|(order_sn, pay_page_issued)| UnpaidOrder { order_sn, pay_before, pay_page_issued }));
    assert_eq!(world.store.unpaid_orders(&[]).await, Ok(vec![]));
}
