//! [`MakeFlashOrders`], [`FailGrants`], and resolving the locks of winners.

use std::sync::Arc;

use std::time::Duration;

use super::StoreFixture;
use super::values::{flash_order, line_of, named, outcome, packed};
use super::world::{ALICE, BOB, NORTH, PAYMENT_TIMEOUT, PHONE, SOUTH, World};
use crate::domain::events::RoutingKey;
use crate::domain::flash_sale::GrantState;
use crate::domain::order::OrderStatus;
use crate::domain::stock::{LockState, Resolution};
use crate::domain::{OrderSn, SaleId, UserId};
use crate::ports::store::SaleCounts;
use crate::ports::store::units::{
    ArmSale, CommitGrants, EndSale, FailGrants, FlashOrder, GrantBatch, GrantOutcome, LockResolved, MakeFlashOrders,
    PauseSale, ResolveLocks, SaleArmed, SaleChange,
};

fn making(sale_id: SaleId, winners: &[(&OrderSn, UserId)]) -> MakeFlashOrders {
    let orders = winners.iter().map(|(order_sn, user_id)| flash_order(sale_id, order_sn, *user_id)).collect();
    MakeFlashOrders { orders }
}

fn failing(order_sn: &OrderSn) -> FailGrants {
    FailGrants { grants: vec![(order_sn.clone(), "no such member".into())] }
}

/// A winner's order draws its unit from the sale into a lock; what is locked in all stays.
pub async fn a_winners_order_is_made(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (sale_id, epoch) = world.live_sale(5, 1).await;
    let order_sn = world.granted((sale_id, epoch), &[ALICE]).await.remove(0);

    let committed = world.commit(vec![making(sale_id, &[(&order_sn, ALICE)]).into()]).await;
    assert_eq!(outcome::<MakeFlashOrders>(&committed, 0), [FlashOrder::Made]);
    assert_eq!(packed(&committed.messages), [(RoutingKey::OrderCreateFlash, 1)], "its own timer, no cart");
    assert_eq!(named(&committed.messages[0]), [order_sn.as_str()]);

    let (order, new) = (world.order(&order_sn).await, flash_order(sale_id, &order_sn, ALICE));
    assert_eq!((order.status, order.sale_id), (OrderStatus::AwaitingPayment, Some(sale_id)));
    assert_eq!((order.user_id, order.items, order.receiver), (ALICE, new.items, new.receiver));
    assert_eq!(order.pay_before, Some(world.now().plus(PAYMENT_TIMEOUT)));
    assert!(world.grant(&order_sn).await.ordered);
    assert_eq!(world.locks(&order_sn).await, [(LockState::Locked, 1)]);
    assert_eq!(world.stock(PHONE).await, (10, 5));
    let sale = world.sale_facts(sale_id).await;
    assert_eq!((sale.undrawn, sale.drawn, sale.open_grants), (4, 1, 0));
    assert_eq!(world.store.sale_counts(sale_id).await, Ok(SaleCounts { ordered: 1, paid: 0 }));
    world.assert_sound().await;
}

/// An order that exists is left alone: in the same unit, the same batch, or later.
pub async fn a_winners_order_is_made_once(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(5, 1).await;
    let order_sns = world.granted(sale, &[ALICE, BOB]).await;
    let twice = making(sale.0, &[(&order_sns[0], ALICE), (&order_sns[0], ALICE), (&order_sns[1], BOB)]);

    let committed = world.commit(vec![twice.clone().into(), twice.clone().into()]).await;
    let exists = FlashOrder::Exists;
    assert_eq!(outcome::<MakeFlashOrders>(&committed, 0), [FlashOrder::Made, exists, FlashOrder::Made]);
    assert_eq!(outcome::<MakeFlashOrders>(&committed, 1), [exists; 3]);
    assert_eq!(packed(&committed.messages), [(RoutingKey::OrderCreateFlash, 2)]);
    let before = world.picture().await;
    let committed = world.commit(vec![twice.into()]).await;
    assert_eq!(outcome::<MakeFlashOrders>(&committed, 0), [exists; 3]);
    assert_eq!(committed.messages, []);
    assert_eq!(world.picture().await, before);
    world.assert_sound().await;
}

/// Without a standing grant of this buyer in this sale no order is made; the others of the unit are.
pub async fn an_order_needs_its_grant(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(5, 5).await;
    let order_sns = world.granted(sale, &[ALICE, ALICE, BOB, ALICE]).await;
    world.one(failing(&order_sns[0])).await;
    let stranger = world.number();
    let mut unit = making(
        sale.0,
        &[
            (&order_sns[0], ALICE),
            (&stranger, ALICE),
            (&order_sns[1], BOB),
            (&order_sns[2], BOB),
            (&order_sns[3], ALICE),
        ],
    );
    Arc::make_mut(&mut unit.orders)[4].sale_id = Some(SaleId(9_999));

    let committed = world.commit(vec![unit.into()]).await;
    let mut wanted = [FlashOrder::NotGranted; 5];
    wanted[3] = FlashOrder::Made;
    assert_eq!(outcome::<MakeFlashOrders>(&committed, 0), wanted);
    assert_eq!(named(&committed.messages[0]), [order_sns[2].as_str()]);
    assert_eq!(world.store.order(&stranger).await, Ok(None));
    assert_eq!(world.store.order(&order_sns[1]).await, Ok(None), "Alice's win is not Bob's");
    world.assert_sound().await;
}

/// Winners, their orders and the crowd's messages: one batch, one deadline, few messages.
pub async fn a_crowd_of_orders_in_one_batch(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 500).await;
    let sale = world.live_sale(300, 1).await;
    let buyers: Vec<UserId> = (0..300).map(UserId).collect();
    let order_sns = world.granted(sale, &buyers).await;
    let winners: Vec<(&OrderSn, UserId)> = order_sns.iter().zip(buyers).collect();
    let (some, rest) = winners.split_at(120);

    let committed = world.commit(vec![making(sale.0, some).into(), making(sale.0, rest).into()]).await;
    assert_eq!(outcome::<MakeFlashOrders>(&committed, 0), vec![FlashOrder::Made; 120]);
    assert_eq!(outcome::<MakeFlashOrders>(&committed, 1), vec![FlashOrder::Made; 180]);
    let key = RoutingKey::OrderCreateFlash;
    assert_eq!(packed(&committed.messages), [(key, 256), (key, 44)]);
    assert_eq!(world.sale_facts(sale.0).await.undrawn, 0);
    assert_eq!(world.stock(PHONE).await, (500, 300));
    world.assert_sound().await;
}

/// A sale over several warehouses is drawn to its last unit, from whichever row has one.
pub async fn units_are_drawn_from_every_warehouse(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let (north, south) =
        (world.fixture.add_stock(PHONE, NORTH, 2).await, world.fixture.add_stock(PHONE, SOUTH, 2).await);
    let sale_id = world.draft_sale(3, 1).await;
    let allotments = vec![line_of(PHONE, north, 1), line_of(PHONE, south, 2)];
    let SaleArmed::Armed(epoch) = world.one(ArmSale { sale_id, allotments }).await else { panic!("can be armed") };

    let order_sns = world.won((sale_id, epoch), &[ALICE, BOB, UserId(3)]).await;
    let mut rows = world.store.locks_of(&order_sns).await.expect("locks are readable");
    rows.sort_by_key(|row| row.line.ware_sku_id);
    let drawn: Vec<_> = rows.iter().map(|row| (row.line.ware_sku_id, row.line.num)).collect();
    assert_eq!(drawn, [(north, 1), (south, 1), (south, 1)]);
    assert_eq!(world.sale_facts(sale_id).await.undrawn, 0);
    world.assert_sound().await;
}

/// A failed grant says why, and its unit is for sale again.
pub async fn a_grant_fails_with_a_reason(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(1, 1).await;
    let order_sn = world.granted(sale, &[ALICE]).await.remove(0);

    let committed = world.commit(vec![failing(&order_sn).into()]).await;
    assert_eq!(outcome::<FailGrants>(&committed, 0), [true]);
    assert_eq!((committed.stock, committed.messages), (vec![], vec![]));
    let grant = world.grant(&order_sn).await;
    assert_eq!((grant.state, grant.reason.as_deref()), (GrantState::Failed, Some("no such member")));
    let read = world.sale(sale.0).await;
    assert_eq!((read.granted, read.released, read.remaining()), (1, 1, 1));
    assert_eq!(world.sale_facts(sale.0).await.undrawn, 1);
    world.assert_sound().await;
    world.won(sale, &[BOB]).await;
}

/// Only a grant that waits for its order fails, and only once.
pub async fn only_waiting_grants_fail(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(5, 2).await;
    let ordered = world.won(sale, &[ALICE]).await.remove(0);
    let waiting = world.granted(sale, &[BOB]).await.remove(0);
    let grants = [&waiting, &ordered, &waiting, &world.number()].map(|order_sn| (order_sn.clone(), "gone".to_owned()));
    let unit = FailGrants { grants: grants.to_vec() };

    let committed = world.commit(vec![unit.clone().into(), unit.clone().into()]).await;
    assert_eq!(outcome::<FailGrants>(&committed, 0), [true, false, false, false]);
    assert_eq!(outcome::<FailGrants>(&committed, 1), [false; 4]);
    assert_eq!(world.grant(&ordered).await.state, GrantState::Granted);
    let before = world.picture().await;
    assert_eq!(world.one(unit).await, [false; 4]);
    assert_eq!(world.picture().await, before);
    world.assert_sound().await;
}

/// Making and failing one grant in one batch: the first wins, both ways round, and a batch may hold the whole story.
pub async fn making_and_failing_in_one_batch(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(5, 1).await;
    let order_sns = world.granted(sale, &[ALICE, BOB]).await;
    let late = world.number();
    let winners = vec![(UserId(3), late.clone())];
    let committed = world
        .commit(vec![
            making(sale.0, &[(&order_sns[0], ALICE), (&late, UserId(3))]).into(),
            failing(&order_sns[0]).into(),
            failing(&order_sns[1]).into(),
            CommitGrants { sale_id: sale.0, epoch: sale.1, winners }.into(),
            making(sale.0, &[(&order_sns[1], BOB), (&late, UserId(3))]).into(),
        ])
        .await;
    assert_eq!(outcome::<MakeFlashOrders>(&committed, 0), [FlashOrder::Made, FlashOrder::NotGranted]);
    assert_eq!(outcome::<FailGrants>(&committed, 1), [false]);
    assert_eq!(outcome::<FailGrants>(&committed, 2), [true]);
    assert_eq!(outcome::<CommitGrants>(&committed, 3), GrantBatch::Decided(vec![GrantOutcome::Granted]));
    assert_eq!(outcome::<MakeFlashOrders>(&committed, 4), [FlashOrder::NotGranted, FlashOrder::Made]);
    world.assert_sound().await;
}

/// After the end the unit kept for a grant is there for its order, or goes back to stock when the grant fails.
pub async fn an_ended_sale_keeps_units_for_open_grants(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(5, 1).await;
    let order_sns = world.granted(sale, &[ALICE, BOB]).await;
    world.one(EndSale { sale_id: sale.0 }).await;
    assert_eq!(world.stock(PHONE).await, (10, 2), "two of five are awaited");

    assert_eq!(world.one(making(sale.0, &[(&order_sns[0], ALICE)])).await, [FlashOrder::Made]);
    assert_eq!(world.stock(PHONE).await, (10, 2));
    let committed = world.commit(vec![failing(&order_sns[1]).into()]).await;
    assert_eq!(outcome::<FailGrants>(&committed, 0), [true]);
    assert_eq!(committed.stock, [world.row(PHONE).await]);
    assert_eq!(world.stock(PHONE).await, (10, 1));
    let read = world.sale(sale.0).await;
    assert_eq!((read.granted, read.released), (2, 1));
    assert_eq!(world.sale_facts(sale.0).await.undrawn, 0);
    world.assert_sound().await;
}

/// A winner's lock that is released gives its unit back to the sale while that is not over, else to stock. The grant
/// is RELEASED and the unit counted.
pub async fn a_released_unit_goes_where_it_is_needed(fixtures: &dyn StoreFixture) {
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Sale {
        Running,
        Paused,
        PastItsWindow,
        Ended,
    }
    for sale_is in [Sale::Running, Sale::Paused, Sale::PastItsWindow, Sale::Ended] {
        let world = World::with_phones(fixtures, 10).await;
        let sale = world.live_sale(3, 1).await;
        let order_sns = world.won(sale, &[ALICE, BOB]).await;
        match sale_is {
            Sale::Running => {}
            Sale::Paused => assert_eq!(world.one(PauseSale { sale_id: sale.0, paused: true }).await, SaleChange::Done),
            Sale::PastItsWindow => world.clock.advance(Duration::from_secs(7200)),
            Sale::Ended => assert_eq!(world.one(EndSale { sale_id: sale.0 }).await, SaleChange::Done),
        }
        let refused = world.resolve(Resolution::Release, &order_sns[0]).await;
        assert_eq!(refused, LockResolved::Refused(OrderStatus::AwaitingPayment));
        world.cancel(&order_sns[0]).await;

        assert_eq!(world.resolve(Resolution::Release, &order_sns[0]).await, LockResolved::Now(1));
        assert_eq!(world.locks(&order_sns[0]).await, [(LockState::Released, 1)]);
        assert_eq!(world.grant(&order_sns[0]).await.state, GrantState::Released);
        assert_eq!(world.sale(sale.0).await.released, 1);
        let undrawn = world.sale_facts(sale.0).await.undrawn;
        match sale_is {
            Sale::Ended => assert_eq!((world.stock(PHONE).await, undrawn), ((10, 1), 0)),
            _ => assert_eq!((world.stock(PHONE).await, undrawn), ((10, 3), 2), "{sale_is:?}"),
        }
        let before = world.picture().await;
        let again = world.resolve(Resolution::Release, &order_sns[0]).await;
        assert_eq!(again, LockResolved::Before(LockState::Released));
        assert_eq!(world.picture().await, before);
        world.assert_sound().await;
    }
}

/// Releasing a winner's lock and ending the sale in one batch: the unit is back in stock, both ways round.
pub async fn releasing_and_ending_in_one_batch(fixtures: &dyn StoreFixture) {
    for ends_first in [true, false] {
        let world = World::with_phones(fixtures, 10).await;
        let sale = world.live_sale(3, 1).await;
        let order_sn = world.won(sale, &[ALICE]).await.remove(0);
        world.cancel(&order_sn).await;
        let order_sns = vec![order_sn];
        let mut units = vec![
            EndSale { sale_id: sale.0 }.into(),
            ResolveLocks { sku_id: PHONE, way: Resolution::Release, order_sns, lapsed_only: false }.into(),
        ];
        if !ends_first {
            units.reverse();
        }
        let committed = world.commit(units).await;
        assert_eq!(committed.stock, [world.row(PHONE).await]);
        assert_eq!(world.stock(PHONE).await, (10, 0), "{ends_first}");
        assert_eq!(world.sale(sale.0).await.released, 1);
        world.assert_sound().await;
    }
}

/// A paid winner's unit is sold like any other; the sale's counters say so.
pub async fn a_paid_winners_unit_is_sold(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(3, 1).await;
    let order_sns = world.won(sale, &[ALICE, BOB]).await;
    world.pay(&order_sns[0]).await;
    assert_eq!(world.resolve(Resolution::Deduct, &order_sns[0]).await, LockResolved::Now(1));
    assert_eq!(world.stock(PHONE).await, (9, 2));
    assert_eq!(world.grant(&order_sns[0]).await.state, GrantState::Granted);
    assert_eq!(world.store.sale_counts(sale.0).await, Ok(SaleCounts { ordered: 2, paid: 1 }));
    let facts = world.sale_facts(sale.0).await;
    assert_eq!((facts.undrawn, facts.drawn), (1, 2));
    world.one(EndSale { sale_id: sale.0 }).await;
    assert_eq!(world.stock(PHONE).await, (9, 1));
    world.assert_sound().await;
}

/// A unit that came back is won and ordered by somebody else.
pub async fn a_unit_that_came_back_is_sold_again(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(1, 1).await;
    let lapsed = world.won(sale, &[ALICE]).await.remove(0);
    world.cancel(&lapsed).await;
    world.resolve(Resolution::Release, &lapsed).await;
    let order_sn = world.won(sale, &[BOB]).await.remove(0);
    world.pay(&order_sn).await;
    world.resolve(Resolution::Deduct, &order_sn).await;
    assert_eq!(world.stock(PHONE).await, (9, 0));
    let read = world.sale(sale.0).await;
    assert_eq!((read.granted, read.released, read.remaining()), (2, 1, 0));
    world.assert_sound().await;
}
