//! [`PlaceOrder`](crate::ports::store::units::PlaceOrder).

use super::StoreFixture;
use super::values::{items, line, line_of, named, outcome, packed};
use super::world::{ALICE, BOB, CASE, NORTH, PAYMENT_TIMEOUT, PHONE, SOUTH, World};
use crate::domain::events::RoutingKey;
use crate::domain::order::{OrderStatus, PayType};
use crate::domain::stock::LockState;
use crate::domain::{OrderSn, WareSkuId};
use crate::ports::store::StoreError;
use crate::ports::store::units::{PlaceOrder, Placement, WriteUnit};

/// An order is saved with everything it says, and its units are locked.
pub async fn an_order_is_saved_with_everything_it_says(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let mut unit = world.placing(ALICE, &world.phones(3).await);
    unit.order.pay_page_issued = true;
    let (new, token) = (unit.order.clone(), unit.token.clone());

    let pay_before = world.now().plus(PAYMENT_TIMEOUT);
    let placed = Placement::Placed { created_at: world.now(), pay_before: Some(pay_before) };
    assert_eq!(world.one(unit).await, placed);

    let order = world.order(&new.order_sn).await;
    assert_eq!(order.user_id, ALICE);
    assert_eq!(order.username, new.username);
    assert_eq!(order.status, OrderStatus::AwaitingPayment);
    assert_eq!(order.pay_type, new.pay_type);
    assert_eq!((order.total_amount, order.pay_amount), (new.total_amount, new.pay_amount));
    assert_eq!(order.delivery_company, new.delivery_company);
    assert_eq!(order.receiver, new.receiver);
    assert_eq!(order.items, new.items);
    assert_eq!(order.sale_id, None);
    assert_eq!((order.created_at, order.modified_at), (world.now(), world.now()));
    assert_eq!(order.pay_before, Some(pay_before));
    assert_eq!(order.pay_page_issued_at, Some(world.now()));
    assert_eq!(order.paid_at, None);
    assert_eq!(world.store.order_by_token(ALICE, &token).await, Ok(Some(order)));
    assert_eq!(world.locks(&new.order_sn).await, [(LockState::Locked, 3)]);
    assert_eq!(world.stock(PHONE).await, (10, 3));
    assert_eq!(world.history(&new.order_sn).await, [], "no history row for a creation");
    world.assert_sound().await;
}

/// An order to be paid on delivery starts paid, has no deadline, and asks for its units at once.
pub async fn cash_on_delivery_starts_awaiting_shipment(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let mut unit = world.placing(ALICE, &world.phones(1).await);
    unit.order.pay_type = PayType::CashOnDelivery;
    let order_sn = unit.order.order_sn.clone();

    let committed = world.commit(vec![unit.into()]).await;
    let placed = Placement::Placed { created_at: world.now(), pay_before: None };
    assert_eq!(outcome::<PlaceOrder>(&committed, 0), placed);
    assert_eq!(packed(&committed.messages), [(RoutingKey::StockMinus, 1), (RoutingKey::CartDelete, 1)]);
    let order = world.order(&order_sn).await;
    assert_eq!((order.status, order.pay_type), (OrderStatus::AwaitingShipment, PayType::CashOnDelivery));
    assert_eq!((order.pay_before, order.paid_at, order.pay_page_issued_at), (None, None, None));
    world.assert_sound().await;
}

/// The timer and the cart clean-up go to the outbox with the order, and are handed to the relay.
pub async fn a_creation_is_announced(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let case = world.fixture.add_stock(CASE, NORTH, 10).await;
    let mut locks = world.phones(1).await;
    locks.push(line_of(CASE, case, 2));
    let unit = world.placing(ALICE, &locks);
    let order_sn = unit.order.order_sn.clone();

    let committed = world.commit(vec![unit.into()]).await;
    assert_eq!(committed.at, world.now());
    assert_eq!(packed(&committed.messages), [(RoutingKey::OrderCreate, 1), (RoutingKey::CartDelete, 1)]);
    assert_eq!(named(&committed.messages[0]), [order_sn.as_str()]);
    let cart = &items(&committed.messages[1])[0];
    assert_eq!((&cart["userId"], &cart["skuIds"]), (&ALICE.0.into(), &serde_json::json!([PHONE, CASE])));
    let outbox = world.store.unpublished(0, 10).await.expect("the outbox is readable");
    assert!(outbox.iter().all(|row| row.created_at == world.now()));
    let kept: Vec<_> = outbox.into_iter().map(|row| row.message).collect();
    assert_eq!(kept, committed.messages, "what is handed out is what is kept");
}

/// A token that has an order answers with it, whatever is asked under it, and changes nothing.
pub async fn a_token_makes_one_order(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let first = world.placing(ALICE, &world.phones(3).await);
    let (order_sn, token) = (first.order.order_sn.clone(), first.token.clone());
    world.one(first.clone()).await;
    let before = world.picture().await;

    let other_wish = PlaceOrder { token: token.clone(), ..world.placing(ALICE, &world.phones(1).await) };
    let impossible_wish = PlaceOrder { token, ..world.placing(ALICE, &world.phones(99).await) };
    for again in [first, other_wish, impossible_wish] {
        let committed = world.commit(vec![again.into()]).await;
        assert_eq!(outcome::<PlaceOrder>(&committed, 0), Placement::TokenUsed(order_sn.clone()));
        assert_eq!((committed.stock, committed.messages), (vec![], vec![]));
    }
    assert_eq!(world.picture().await, before);
}

/// A token is its user's own: another user's order under the same text is another order.
pub async fn a_token_belongs_to_its_user(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let units = [ALICE, BOB].map(|user_id| (user_id, "the same".to_owned()));
    for (user_id, token) in units {
        let unit = PlaceOrder { token: token.clone(), ..world.placing(user_id, &world.phones(1).await) };
        let order_sn = unit.order.order_sn.clone();
        assert!(matches!(world.one(unit).await, Placement::Placed { .. }));
        let found = world.store.order_by_token(user_id, &token).await.expect("tokens are readable");
        assert_eq!(found.map(|order| order.order_sn), Some(order_sn));
    }
    world.assert_sound().await;
}

/// Of two units of one batch with one token, the first makes the order.
pub async fn a_token_twice_in_one_batch_makes_one_order(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let first = world.placing(ALICE, &world.phones(4).await);
    let second = PlaceOrder { token: first.token.clone(), ..world.placing(ALICE, &world.phones(5).await) };
    let (order_sn, second_sn) = (first.order.order_sn.clone(), second.order.order_sn.clone());
    let third = PlaceOrder { token: first.token.clone(), ..world.placing(BOB, &world.phones(6).await) };

    let committed = world.commit(vec![first.into(), second.into(), third.into()]).await;
    assert!(matches!(outcome::<PlaceOrder>(&committed, 0), Placement::Placed { .. }));
    assert_eq!(outcome::<PlaceOrder>(&committed, 1), Placement::TokenUsed(order_sn));
    assert!(matches!(outcome::<PlaceOrder>(&committed, 2), Placement::Placed { .. }), "room for Bob: 4 + 6");
    assert_eq!(world.store.order(&second_sn).await, Ok(None));
    assert_eq!(world.locks(&second_sn).await, []);
    assert_eq!(world.stock(PHONE).await, (10, 10));
    world.assert_sound().await;
}

/// A token whose first unit of the batch was stale is free for the next one.
pub async fn a_stale_unit_leaves_its_token_free(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let first = world.placing(ALICE, &world.phones(11).await);
    let second = PlaceOrder { token: first.token.clone(), ..world.placing(ALICE, &world.phones(10).await) };
    let order_sn = second.order.order_sn.clone();

    let committed = world.commit(vec![first.into(), second.clone().into(), second.into()]).await;
    assert_eq!(outcome::<PlaceOrder>(&committed, 0), Placement::Stale(vec![PHONE]));
    assert!(matches!(outcome::<PlaceOrder>(&committed, 1), Placement::Placed { .. }));
    assert_eq!(outcome::<PlaceOrder>(&committed, 2), Placement::TokenUsed(order_sn));
    world.assert_sound().await;
}

/// A row without enough free units, or that does not exist, makes the unit stale; nothing of it stays, and the SKUs
/// named are those of the refusing rows.
pub async fn a_refusing_row_makes_the_unit_stale(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let case = world.fixture.add_stock(CASE, NORTH, 5).await;
    let phone = world.row(PHONE).await.id;
    world.placed(BOB, 8).await;
    let before = world.picture().await;

    let phones = |num| line_of(PHONE, phone, num);
    let cases = |num| line_of(CASE, case, num);
    let missing = line_of(CASE, WareSkuId(999_999), 1);
    let wishes = [
        (vec![phones(3)], vec![PHONE]),
        (vec![phones(2), cases(6)], vec![CASE]),
        (vec![phones(3), cases(5)], vec![PHONE]),
        (vec![phones(3), cases(6)], vec![PHONE, CASE]),
        (vec![phones(1), missing], vec![CASE]),
    ];
    for (locks, stale) in wishes {
        let committed = world.commit(vec![world.placing(ALICE, &locks).into()]).await;
        assert_eq!(outcome::<PlaceOrder>(&committed, 0), Placement::Stale(stale), "{locks:?}");
        assert_eq!((committed.stock, committed.messages), (vec![], vec![]), "{locks:?}");
    }
    assert_eq!(world.picture().await, before);
}

/// Units that share a row are judged in order when their sum does not fit: a later, smaller one may still fit.
pub async fn units_that_share_a_row_are_tried_in_order(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let version = world.row(PHONE).await.version;
    let phones = world.row(PHONE).await;
    let units: Vec<PlaceOrder> = [4, 4, 4, 11, 2, 1].map(|num| world.placing(ALICE, &[line(&phones, num)])).into();
    let order_sns: Vec<OrderSn> = units.iter().map(|unit| unit.order.order_sn.clone()).collect();

    let committed = world.commit(units.into_iter().map(WriteUnit::from).collect()).await;
    for (place, fits) in [true, true, false, false, true, false].into_iter().enumerate() {
        let placement = outcome::<PlaceOrder>(&committed, place);
        match fits {
            true => assert!(matches!(placement, Placement::Placed { .. }), "{place}: {placement:?}"),
            false => assert_eq!(placement, Placement::Stale(vec![PHONE]), "{place}"),
        }
        assert_eq!(world.store.order(&order_sns[place]).await.map(|order| order.is_some()), Ok(fits), "{place}");
    }
    let row = world.row(PHONE).await;
    assert_eq!((row.stock, row.locked), (10, 10));
    assert!(row.version > version);
    assert_eq!(committed.stock, [row], "the row as it is after the whole batch, once");
    assert_eq!(packed(&committed.messages), [(RoutingKey::OrderCreate, 3), (RoutingKey::CartDelete, 3)]);
    world.assert_sound().await;
}

/// A unit that is stale on one row takes nothing of its other rows, which are free for later units.
pub async fn a_stale_unit_takes_nothing_of_its_other_rows(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (phone, case) = (world.row(PHONE).await.id, world.fixture.add_stock(CASE, NORTH, 1).await);
    let greedy = world.placing(ALICE, &[line_of(PHONE, phone, 9), line_of(CASE, case, 2)]);
    let modest = world.placing(BOB, &[line_of(PHONE, phone, 10)]);

    let committed = world.commit(vec![greedy.into(), modest.into()]).await;
    assert_eq!(outcome::<PlaceOrder>(&committed, 0), Placement::Stale(vec![CASE]));
    assert!(matches!(outcome::<PlaceOrder>(&committed, 1), Placement::Placed { .. }));
    assert_eq!(world.stock(PHONE).await, (10, 10));
    assert_eq!(world.stock(CASE).await, (1, 0));
    world.assert_sound().await;
}

/// An order may draw on several warehouses of a SKU and on several SKUs.
pub async fn an_order_may_draw_on_many_rows(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let (north, south) =
        (world.fixture.add_stock(PHONE, NORTH, 3).await, world.fixture.add_stock(PHONE, SOUTH, 4).await);
    let case = world.fixture.add_stock(CASE, SOUTH, 5).await;
    let locks = [line_of(PHONE, north, 3), line_of(PHONE, south, 1), line_of(CASE, case, 2)];
    let unit = world.placing(ALICE, &locks);
    let order_sn = unit.order.order_sn.clone();

    let committed = world.commit(vec![unit.into()]).await;
    assert!(matches!(outcome::<PlaceOrder>(&committed, 0), Placement::Placed { .. }));
    let mut held: Vec<_> = committed.stock.iter().map(|row| (row.id, row.locked)).collect();
    held.sort();
    assert_eq!(held, [(north, 3), (south, 1), (case, 2)]);
    let mut rows = world.store.locks_of(&[order_sn]).await.expect("locks are readable");
    rows.sort_by_key(|row| row.line.ware_sku_id);
    assert_eq!(rows.into_iter().map(|row| row.line).collect::<Vec<_>>(), locks);
    world.assert_sound().await;
}

/// Many orders of one batch have their rows, their units and few messages, in the order given.
pub async fn many_orders_in_one_batch(fixtures: &dyn StoreFixture) {
    const ORDERS: usize = 300;
    let world = World::with_phones(fixtures, 1000).await;
    let case = world.fixture.add_stock(CASE, NORTH, 1000).await;
    let phone = world.row(PHONE).await.id;
    let locks = [line_of(PHONE, phone, 1), line_of(CASE, case, 2)];
    let units: Vec<PlaceOrder> = (0..ORDERS).map(|_| world.placing(ALICE, &locks)).collect();
    let order_sns: Vec<String> = units.iter().map(|unit| unit.order.order_sn.to_string()).collect();

    let committed = world.commit(units.iter().cloned().map(WriteUnit::from).collect()).await;
    let rest = ORDERS - 256;
    assert_eq!(
        packed(&committed.messages),
        [
            (RoutingKey::OrderCreate, 256),
            (RoutingKey::OrderCreate, rest),
            (RoutingKey::CartDelete, 256),
            (RoutingKey::CartDelete, rest),
        ]
    );
    let named: Vec<String> = committed.messages.iter().flat_map(named).collect();
    assert_eq!(named, order_sns);
    for unit in [&units[0], &units[ORDERS - 1]] {
        assert_eq!(world.order(&unit.order.order_sn).await.items, unit.order.items);
    }
    assert_eq!(world.stock(PHONE).await, (1000, 300));
    assert_eq!(world.stock(CASE).await, (1000, 600));
    assert_eq!(committed.stock.len(), 2, "each changed row once");
    world.assert_sound().await;
}

/// An order number that exists is a constraint, and the whole batch is undone.
pub async fn an_order_number_is_used_once(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let first = world.placing(ALICE, &world.phones(1).await);
    world.one(first.clone()).await;
    let before = world.picture().await;

    let innocent = world.placing(BOB, &world.phones(1).await);
    let guilty = PlaceOrder { token: "another".into(), ..first };
    let refused = world.store.commit(&[innocent.into(), guilty.into()]).await;
    assert!(matches!(refused, Err(StoreError::Constraint(_))), "{refused:?}");
    assert_eq!(world.picture().await, before);
}
