//! [`ShipOrder`], [`ReceiveOrders`], and what reads of them.

use std::time::Duration;

use super::StoreFixture;
use super::values::{cancelling, named, outcome, packed, receiving, receiving_due, shipping};
use super::world::{ALICE, BOB, CASE, CONFIRM_DAYS, PRICE, World};
use crate::domain::events::RoutingKey;
use crate::domain::order::{Operator, OrderStatus, auto_receive_at};
use crate::domain::payment::{PaymentState, cash_trade_no};
use crate::domain::{Money, UserId};
use crate::ports::store::units::{CloseOrders, OrderClose, OrderReceive, OrderShip, ReceiveOrders, ShipOrder};
use crate::ports::store::{OrderSearch, PaymentRow};

const DAY: Duration = Duration::from_secs(24 * 3600);
const CONFIRM: Duration = Duration::from_secs(CONFIRM_DAYS as u64 * 24 * 3600);

/// A paid order is shipped once: with the carrier, its number, the time and the days; a history row tells of it.
pub async fn a_paid_order_is_shipped(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.paid(ALICE, 2).await;
    world.clock.advance(DAY);
    let committed = world.commit(vec![shipping(&order_sn).into()]).await;
    assert_eq!(outcome::<ShipOrder>(&committed, 0), OrderShip::Shipped);
    assert_eq!(committed.messages, []);
    let order = world.order(&order_sn).await;
    assert_eq!(order.status, OrderStatus::Shipped);
    assert_eq!(order.delivery_company, "SF");
    assert_eq!(order.delivery_sn, Some(format!("SF-{order_sn}")));
    assert_eq!((order.shipped_at, order.modified_at), (Some(world.now()), world.now()));
    assert_eq!(order.auto_receive_at(), Some(auto_receive_at(world.now(), CONFIRM_DAYS)));
    let told = world.history(&order_sn).await.pop().expect("a history row");
    assert_eq!((told.operator, told.status, told.note.as_str()), (Operator::Admin, OrderStatus::Shipped, "shipped"));
    let before = world.picture().await;
    assert_eq!(world.one(shipping(&order_sn)).await, OrderShip::WrongState(OrderStatus::Shipped));
    assert_eq!(world.picture().await, before);
    world.assert_sound().await;
}

/// Only an order in 1 is shipped, only one in 2 is received.
pub async fn an_order_is_shipped_and_received_in_its_time(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (open, closed, paid) = (world.placed(ALICE, 1).await, world.placed(ALICE, 1).await, world.paid(BOB, 1).await);
    world.cancel(&closed).await;
    let done = world.completed(BOB, 1).await;
    let nobody = world.number();
    let before = world.picture().await;
    for (order_sn, status) in
        [(&open, OrderStatus::AwaitingPayment), (&closed, OrderStatus::Closed), (&done, OrderStatus::Completed)]
    {
        assert_eq!(world.one(shipping(order_sn)).await, OrderShip::WrongState(status));
        assert_eq!(world.one(receiving(order_sn)).await, [OrderReceive::WrongState(status)]);
    }
    assert_eq!(world.one(receiving(&paid)).await, [OrderReceive::WrongState(OrderStatus::AwaitingShipment)]);
    assert_eq!(world.one(shipping(&nobody)).await, OrderShip::Unknown);
    assert_eq!(world.one(receiving(&nobody)).await, [OrderReceive::Unknown]);
    assert_eq!(world.picture().await, before);
}

/// The owner's receipt completes an order; its money, units and points are as they were.
pub async fn an_owner_receives(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.shipped(ALICE, 2).await;
    world.clock.advance(DAY);
    let committed = world.commit(vec![receiving(&order_sn).into()]).await;
    assert_eq!(outcome::<ReceiveOrders>(&committed, 0), [OrderReceive::Received]);
    assert_eq!(committed.messages, []);
    let order = world.order(&order_sn).await;
    assert_eq!((order.status, order.received_at), (OrderStatus::Completed, Some(world.now())));
    let told = world.history(&order_sn).await.pop().expect("a history row");
    assert_eq!((told.operator, told.status), (Operator::User, OrderStatus::Completed));
    assert_eq!(world.one(receiving(&order_sn)).await, [OrderReceive::WrongState(OrderStatus::Completed)]);
    assert_eq!(world.store.payments_of(&order_sn).await.map(|rows| rows.len()), Ok(1));
    world.assert_sound().await;
}

/// By time an order is received once its days are over, not before; those that are due are found, the oldest first.
pub async fn an_order_is_received_by_time(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let first = world.shipped(ALICE, 1).await;
    world.clock.advance(DAY);
    let second = world.shipped(BOB, 1).await;
    let due_at = auto_receive_at(world.now(), CONFIRM_DAYS);
    world.clock.advance(CONFIRM - DAY - Duration::from_millis(1));
    assert_eq!(world.store.due_receipts(10).await, Ok(Vec::new()));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(world.store.due_receipts(10).await, Ok(vec![first.clone()]));
    let both = [first.clone(), second.clone()];
    assert_eq!(world.one(receiving_due(&both)).await, [OrderReceive::Received, OrderReceive::NotDue(due_at)]);
    let told = world.history(&first).await.pop().expect("a history row");
    assert_eq!((told.operator, told.status), (Operator::System, OrderStatus::Completed));
    world.clock.advance(DAY);
    let third = world.shipped(ALICE, 1).await;
    assert_eq!(world.store.due_receipts(10).await, Ok(vec![second.clone()]));
    world.clock.advance(CONFIRM);
    assert_eq!(world.store.due_receipts(1).await, Ok(vec![second.clone()]));
    assert_eq!(world.store.due_receipts(10).await, Ok(vec![second, third]));
}

/// Cash on delivery is paid when the order is received, with a payment row and the message for the points.
pub async fn cash_is_taken_at_the_receipt(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.shipped_for_cash(ALICE, 2).await;
    assert_eq!(world.store.payments_of(&order_sn).await, Ok(Vec::new()));
    world.assert_sound().await;
    world.clock.advance(DAY);
    let committed = world.commit(vec![receiving(&order_sn).into(), receiving(&order_sn).into()]).await;
    assert_eq!(outcome::<ReceiveOrders>(&committed, 0), [OrderReceive::Received]);
    assert_eq!(outcome::<ReceiveOrders>(&committed, 1), [OrderReceive::WrongState(OrderStatus::Completed)]);
    assert_eq!(packed(&committed.messages), [(RoutingKey::BoundPlus, 1)]);
    assert_eq!(named(&committed.messages[0]), [order_sn.as_str()]);
    let cash = PaymentRow {
        order_sn: order_sn.clone(),
        trade_no: cash_trade_no(&order_sn).expect("order numbers are short"),
        amount: Money(2 * PRICE.0),
        state: PaymentState::Applied,
        created_at: world.now(),
    };
    assert_eq!(world.store.payments_of(&order_sn).await, Ok(vec![cash]));
    assert_eq!(world.order(&order_sn).await.paid_at, Some(world.now()));
    world.assert_sound().await;
}

/// Units of one batch see one another: shipped then received, and an order that was closed is not shipped.
pub async fn steps_of_one_batch_follow_one_another(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (paid, open) = (world.paid(ALICE, 1).await, world.placed(BOB, 1).await);
    let units = vec![
        receiving(&paid).into(),
        shipping(&paid).into(),
        cancelling(&open).into(),
        receiving(&paid).into(),
        shipping(&open).into(),
    ];
    let committed = world.commit(units).await;
    let early = [OrderReceive::WrongState(OrderStatus::AwaitingShipment)];
    assert_eq!(outcome::<ReceiveOrders>(&committed, 0), early);
    assert_eq!(outcome::<ShipOrder>(&committed, 1), OrderShip::Shipped);
    assert_eq!(outcome::<CloseOrders>(&committed, 2), [OrderClose::Closed]);
    assert_eq!(outcome::<ReceiveOrders>(&committed, 3), [OrderReceive::Received]);
    assert_eq!(outcome::<ShipOrder>(&committed, 4), OrderShip::WrongState(OrderStatus::Closed));
    world.assert_sound().await;
}

/// Staff find orders by status, member, SKU and time, newest first, in pages that inserts do not move.
pub async fn staff_search_orders(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 20).await;
    world.fixture.add_stock(CASE, super::world::NORTH, 5).await;
    let first = world.placed(ALICE, 1).await;
    world.clock.advance(DAY);
    let from = world.now();
    let second = world.paid(BOB, 1).await;
    let cases = vec![super::world::line(&world.row(CASE).await, 1)];
    let unit = world.placing(ALICE, &cases);
    let third = unit.order.order_sn.clone();
    world.one(unit).await;
    world.clock.advance(DAY);
    let to = world.now();
    let fourth = world.placed(BOB, 1).await;

    let all = OrderSearch { limit: 10, ..OrderSearch::default() };
    let searches = [
        (all.clone(), vec![&fourth, &third, &second, &first]),
        (OrderSearch { limit: 2, ..all.clone() }, vec![&fourth, &third]),
        (OrderSearch { status: Some(OrderStatus::AwaitingShipment), ..all.clone() }, vec![&second]),
        (OrderSearch { status: Some(OrderStatus::Void), ..all.clone() }, vec![]),
        (OrderSearch { user_id: Some(ALICE), ..all.clone() }, vec![&third, &first]),
        (OrderSearch { user_id: Some(UserId(77)), ..all.clone() }, vec![]),
        (OrderSearch { sku_id: Some(CASE), ..all.clone() }, vec![&third]),
        (OrderSearch { sku_id: Some(CASE), user_id: Some(BOB), ..all.clone() }, vec![]),
        (OrderSearch { created_from: Some(from), ..all.clone() }, vec![&fourth, &third, &second]),
        (OrderSearch { created_to: Some(to), ..all.clone() }, vec![&third, &second, &first]),
        (OrderSearch { created_from: Some(from), created_to: Some(to), ..all.clone() }, vec![&third, &second]),
    ];
    for (search, expected) in searches {
        let found = world.store.search_orders(&search).await.expect("orders are readable");
        let numbers: Vec<_> = found.iter().map(|order| &order.order_sn).collect();
        assert_eq!(numbers, expected, "{search:?}");
        assert!(found.iter().all(|order| order.items.len() == 1), "with their items");
    }
    let page = world.store.search_orders(&OrderSearch { limit: 2, ..all.clone() }).await.expect("orders are readable");
    world.placed(ALICE, 1).await;
    let rest = OrderSearch { before: Some(page[1].id), ..all };
    let rest = world.store.search_orders(&rest).await.expect("orders are readable");
    assert_eq!(rest.iter().map(|order| &order.order_sn).collect::<Vec<_>>(), [&second, &first]);
}
