//! [`RequestReturn`], [`HandleReturn`], and what reads of them.

use std::time::Duration;

use super::StoreFixture;
use super::values::{handling, outcome, refunding_part, returning};
use super::world::{ALICE, BOB, CASE, NORTH, PHONE, PRICE, RETURN_WINDOW, SOUTH, World, line, payment};
use crate::domain::Money;
use crate::domain::invariants::check;
use crate::domain::order::{Operator, OrderStatus};
use crate::domain::payment::return_request_no;
use crate::domain::returns::{ReturnApply, ReturnCommand, ReturnState};
use crate::domain::stock::{LockState, Resolution};
use crate::ports::store::ReturnSearch;
use crate::ports::store::units::{
    HandleReturn, OrderReceive, OrderShip, RequestReturn, ResolveLocks, ReturnHandling, ReturnRequest,
};

/// An owner asks for units back; the request says what was sold, and the order's history that it was asked.
pub async fn an_owner_asks_to_return(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.completed(ALICE, 3).await;
    let id = world.asked_back(&order_sn, ALICE, 2).await;
    let expected = ReturnApply {
        id,
        order_sn: order_sn.clone(),
        user_id: ALICE,
        sku_id: PHONE,
        title: "title of 48".into(),
        price: PRICE,
        quantity: 2,
        amount: Money(2 * PRICE.0),
        reason: "does not fit".into(),
        description: "too large".into(),
        state: ReturnState::Pending,
        created_at: world.now(),
        handled_at: None,
        handle_note: String::new(),
        received_at: None,
        receive_note: String::new(),
        restocked: false,
    };
    assert_eq!(world.return_of(id).await, expected);
    assert_eq!(world.store.returns_of(&order_sn).await, Ok(vec![expected]));
    let told = world.history(&order_sn).await.pop().expect("a history row");
    assert_eq!((told.operator, told.status), (Operator::User, OrderStatus::Completed));
    assert_eq!(told.note, format!("return {id} requested"));
    assert_eq!(world.stock(PHONE).await, (7, 0));
    world.assert_sound().await;
}

/// The same request again is the first one; another one waits until that is over.
pub async fn one_request_of_a_line_is_open(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.shipped(ALICE, 3).await;
    let ask = |num| returning(&order_sn, ALICE, num);
    let committed = world.commit(vec![ask(1).into(), ask(1).into(), ask(2).into()]).await;
    let ReturnRequest::Requested(id) = outcome::<RequestReturn>(&committed, 0) else { panic!("{committed:?}") };
    assert_eq!(outcome::<RequestReturn>(&committed, 1), ReturnRequest::Repeated(id));
    assert_eq!(outcome::<RequestReturn>(&committed, 2), ReturnRequest::Open(id));
    world.one(handling(id, ReturnCommand::Approve)).await;
    assert_eq!(world.one(ask(1)).await, ReturnRequest::Open(id));
    world.one(handling(id, ReturnCommand::Receive)).await;
    assert!(matches!(world.one(ask(2)).await, ReturnRequest::Requested(_)));
}

/// No more units than were bought are returned; those of a rejected request may be asked for again.
pub async fn no_more_is_returned_than_was_bought(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.completed(ALICE, 3).await;
    let too_many = world.one(returning(&order_sn, ALICE, 4)).await;
    assert_eq!(too_many, ReturnRequest::TooMany { returnable: 3 });
    let first = world.asked_back(&order_sn, ALICE, 2).await;
    world.one(handling(first, ReturnCommand::Approve)).await;
    world.one(handling(first, ReturnCommand::Receive)).await;
    let too_many = world.one(returning(&order_sn, ALICE, 2)).await;
    assert_eq!(too_many, ReturnRequest::TooMany { returnable: 1 });
    let second = world.asked_back(&order_sn, ALICE, 1).await;
    world.one(handling(second, ReturnCommand::Reject)).await;
    let third = world.asked_back(&order_sn, ALICE, 1).await;
    world.one(handling(third, ReturnCommand::Approve)).await;
    world.one(handling(third, ReturnCommand::Receive)).await;
    assert_eq!(world.one(returning(&order_sn, ALICE, 1)).await, ReturnRequest::TooMany { returnable: 0 });
    assert_eq!(world.stock(PHONE).await, (10, 0));
    assert_eq!(world.points(ALICE).await, (0, 0));
    assert_eq!(check(&world.facts().await).broken(), [""; 0]);
}

/// Only the owner, only what was bought, only after shipment and payment, only within the window.
pub async fn a_return_needs_its_order(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (open, paid) = (world.placed(ALICE, 1).await, world.paid(ALICE, 1).await);
    let (shipped, done) = (world.shipped(ALICE, 1).await, world.completed(ALICE, 1).await);
    let on_delivery = world.shipped_for_cash(ALICE, 1).await;
    let before = world.picture().await;
    for (order_sn, status) in [
        (&open, OrderStatus::AwaitingPayment),
        (&paid, OrderStatus::AwaitingShipment),
        (&on_delivery, OrderStatus::Shipped),
    ] {
        assert_eq!(world.one(returning(order_sn, ALICE, 1)).await, ReturnRequest::WrongState(status));
    }
    assert_eq!(world.one(returning(&done, BOB, 1)).await, ReturnRequest::Unknown);
    assert_eq!(world.one(returning(&world.number(), ALICE, 1)).await, ReturnRequest::Unknown);
    let other = RequestReturn { sku_id: CASE, ..returning(&done, ALICE, 1) };
    assert_eq!(world.one(other).await, ReturnRequest::UnknownSku);
    assert_eq!(world.picture().await, before);

    world.clock.advance(RETURN_WINDOW + Duration::from_millis(1));
    assert_eq!(world.one(returning(&done, ALICE, 1)).await, ReturnRequest::TooLate);
    assert!(matches!(world.one(returning(&shipped, ALICE, 1)).await, ReturnRequest::Requested(_)));
}

/// Received goods: the money of the units, their points, the units on the shelf they came from, the request done.
pub async fn received_goods_are_paid_back(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    world.fixture.add_stock(PHONE, NORTH, 2).await;
    world.fixture.add_stock(PHONE, SOUTH, 5).await;
    let rows = world.store.stock_rows(PHONE).await.expect("stock is readable");
    let unit = world.placing(ALICE, &[line(&rows[0], 2), line(&rows[1], 3)]);
    let order_sn = unit.order.order_sn.clone();
    world.one(unit).await;
    world.pay(&order_sn).await;
    world.resolve(Resolution::Deduct, &order_sn).await;
    assert_eq!(world.one(super::values::shipping(&order_sn)).await, OrderShip::Shipped);
    assert_eq!(world.one(super::values::receiving(&order_sn)).await, [OrderReceive::Received]);

    for (num, expected) in [(3, [(2, 0), (3, 0)]), (2, [(2, 0), (5, 0)])] {
        let id = world.asked_back(&order_sn, ALICE, num).await;
        world.one(handling(id, ReturnCommand::Approve)).await;
        world.clock.advance(Duration::from_secs(60));
        match world.one(handling(id, ReturnCommand::Receive)).await {
            ReturnHandling::Handled { refund: Some(refund), .. } => {
                assert_eq!(refund.amount, Money(i64::from(num) * PRICE.0));
                assert_eq!((refund.request_no, refund.return_id), (return_request_no(id), Some(id)));
                assert_eq!(refund.confirmed_at, None);
            }
            other => panic!("{other:?}"),
        }
        let rows = world.store.stock_rows(PHONE).await.expect("stock is readable");
        assert_eq!(rows.iter().map(|row| (row.stock, row.locked)).collect::<Vec<_>>(), expected);
        let row = world.return_of(id).await;
        assert_eq!((row.state, row.received_at, row.restocked), (ReturnState::Done, Some(world.now()), true));
        assert_eq!((row.handle_note.as_str(), row.receive_note.as_str()), ("seen", "seen"));
        world.assert_sound().await;
    }
    assert_eq!(world.locks(&order_sn).await, [(LockState::Deducted, 2), (LockState::Deducted, 3)]);
    assert_eq!(world.status(&order_sn).await, OrderStatus::Completed);
    let steps: Vec<String> = world.history(&order_sn).await.into_iter().map(|row| row.note).collect();
    assert_eq!(steps.iter().filter(|note| note.ends_with(" approved")).count(), 2, "{steps:?}");
    assert_eq!(steps.iter().filter(|note| note.starts_with("return ") && note.ends_with(" received")).count(), 2);
}

/// Goods that cannot be sold again are paid back, and stay off the shelf.
pub async fn goods_may_stay_off_the_shelf(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.completed(ALICE, 2).await;
    let id = world.asked_back(&order_sn, ALICE, 1).await;
    world.one(handling(id, ReturnCommand::Approve)).await;
    let broken = HandleReturn { restock: false, ..handling(id, ReturnCommand::Receive) };
    let committed = world.commit(vec![broken.into()]).await;
    assert!(matches!(outcome::<HandleReturn>(&committed, 0), ReturnHandling::Handled { refund: Some(_), .. }));
    assert_eq!(committed.stock, []);
    assert_eq!(world.stock(PHONE).await, (8, 0));
    assert_eq!(world.points(ALICE).await, (100, 100));
    assert!(!world.return_of(id).await.restocked);
    assert_eq!(check(&world.facts().await).broken(), [""; 0]);
}

/// A return gives back at most what is left of the payment.
pub async fn a_return_gives_back_what_is_left(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.completed(ALICE, 2).await;
    world.one(refunding_part(&order_sn, "a", Money(PRICE.0 + 4_000))).await;
    let mut amounts = Vec::new();
    for _ in 0..2 {
        let id = world.asked_back(&order_sn, ALICE, 1).await;
        world.one(handling(id, ReturnCommand::Approve)).await;
        match world.one(handling(id, ReturnCommand::Receive)).await {
            ReturnHandling::Handled { refund, .. } => amounts.push(refund.map(|refund| refund.amount)),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(amounts, [Some(Money(6_000)), None]);
    assert_eq!(world.stock(PHONE).await, (10, 0));
    assert_eq!(check(&world.facts().await).broken(), [""; 0]);
}

/// Each step once, in its order.
pub async fn a_request_is_handled_in_its_order(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.completed(ALICE, 2).await;
    let id = world.asked_back(&order_sn, ALICE, 1).await;
    let refused = |state| ReturnHandling::WrongState(state);
    let handled = ReturnHandling::Handled { order_sn: order_sn.clone(), refund: None };
    assert_eq!(world.one(handling(id, ReturnCommand::Receive)).await, refused(ReturnState::Pending));
    assert_eq!(world.one(handling(id, ReturnCommand::Approve)).await, handled.clone());
    assert_eq!(world.return_of(id).await.handled_at, Some(world.now()));
    assert_eq!(world.one(handling(id, ReturnCommand::Approve)).await, refused(ReturnState::Returning));
    let twice = vec![handling(id, ReturnCommand::Receive).into(), handling(id, ReturnCommand::Receive).into()];
    let committed = world.commit(twice).await;
    assert!(matches!(outcome::<HandleReturn>(&committed, 0), ReturnHandling::Handled { refund: Some(_), .. }));
    assert_eq!(outcome::<HandleReturn>(&committed, 1), refused(ReturnState::Done));
    for command in [ReturnCommand::Approve, ReturnCommand::Reject, ReturnCommand::Receive] {
        assert_eq!(world.one(handling(id, command)).await, refused(ReturnState::Done));
    }
    assert_eq!(world.one(handling(id + 1, ReturnCommand::Approve)).await, ReturnHandling::Unknown);

    let second = world.asked_back(&order_sn, ALICE, 1).await;
    world.one(handling(second, ReturnCommand::Approve)).await;
    assert_eq!(world.one(handling(second, ReturnCommand::Reject)).await, handled);
    assert_eq!(world.return_of(second).await.state, ReturnState::Rejected);
    assert_eq!(world.one(handling(second, ReturnCommand::Receive)).await, refused(ReturnState::Rejected));
    assert_eq!(check(&world.facts().await).broken(), [""; 0]);
}

/// Goods are not put back before the books show that they left.
pub async fn units_come_back_after_they_left(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.paid(ALICE, 1).await;
    world.one(super::values::shipping(&order_sn)).await;
    let id = world.asked_back(&order_sn, ALICE, 1).await;
    world.one(handling(id, ReturnCommand::Approve)).await;
    let before = world.picture().await;
    assert_eq!(world.one(handling(id, ReturnCommand::Receive)).await, ReturnHandling::NotDeducted);
    assert_eq!(world.picture().await, before);
    let deduct =
        ResolveLocks { sku_id: PHONE, way: Resolution::Deduct, order_sns: vec![order_sn.clone()], lapsed_only: false };
    let committed = world.commit(vec![deduct.into(), handling(id, ReturnCommand::Receive).into()]).await;
    assert!(matches!(outcome::<HandleReturn>(&committed, 1), ReturnHandling::Handled { refund: Some(_), .. }));
    assert_eq!(world.stock(PHONE).await, (10, 0));
    world.assert_sound().await;
}

/// A winner's unit is returned as any other, to ordinary stock.
pub async fn a_winners_unit_is_returned(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(2, 1).await;
    let order_sn = world.won(sale, &[ALICE]).await.remove(0);
    let receipt = world.receipt(&order_sn).await;
    world.one(payment(receipt.clone())).await;
    world.resolve(Resolution::Deduct, &order_sn).await;
    world.one(super::values::shipping(&order_sn)).await;
    let id = world.asked_back(&order_sn, ALICE, 1).await;
    world.one(handling(id, ReturnCommand::Approve)).await;
    match world.one(handling(id, ReturnCommand::Receive)).await {
        ReturnHandling::Handled { refund: Some(refund), .. } => {
            assert_eq!(refund.amount, receipt.amount, "the sale's price")
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(world.stock(PHONE).await, (10, 1));
    world.assert_sound().await;
}

/// Staff find requests by state, newest first, in pages.
pub async fn requests_are_listed(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        let order_sn = world.completed(ALICE, 1).await;
        ids.push(world.asked_back(&order_sn, ALICE, 1).await);
    }
    world.one(handling(ids[1], ReturnCommand::Approve)).await;
    let listed = async |state, before, limit| {
        let found = world.store.search_returns(&ReturnSearch { state, before, limit }).await;
        found.expect("returns are readable").into_iter().map(|row| row.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(None, None, 10).await, [ids[2], ids[1], ids[0]]);
    assert_eq!(listed(None, None, 2).await, [ids[2], ids[1]]);
    assert_eq!(listed(None, Some(ids[1]), 2).await, [ids[0]]);
    assert_eq!(listed(Some(ReturnState::Pending), None, 10).await, [ids[2], ids[0]]);
    assert_eq!(listed(Some(ReturnState::Returning), None, 10).await, [ids[1]]);
    assert_eq!(listed(Some(ReturnState::Done), None, 10).await, [0; 0]);
    assert_eq!(world.store.return_apply(ids[2] + 1).await, Ok(None));
}
