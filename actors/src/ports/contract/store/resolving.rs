//! [`ResolveLocks`] on locks that no flash sale stands behind.

use std::time::Duration;

use super::StoreFixture;
use super::values::{cancelling, foreign, line, line_of, outcome, payment, request};
use super::world::{ALICE, BOB, CASE, LEASE, NORTH, PHONE, SOUTH, World};
use crate::domain::OrderSn;
use crate::domain::order::OrderStatus;
use crate::domain::stock::{LockState, Resolution};
use crate::ports::store::units::{LockResolved, LockStock, ResolveLocks, StockLock, StockLocks};

const WAYS: [Resolution; 2] = [Resolution::Deduct, Resolution::Release];

fn resolving(way: Resolution, order_sns: &[OrderSn]) -> ResolveLocks {
    ResolveLocks { sku_id: PHONE, way, order_sns: order_sns.to_vec(), lapsed_only: false }
}

fn freeing_lapsed(order_sns: &[OrderSn]) -> ResolveLocks {
    ResolveLocks { lapsed_only: true, ..resolving(Resolution::Release, order_sns) }
}

/// Deducting takes the units out of stock, releasing frees them; both for paid and closed orders and for other systems.
pub async fn a_lock_is_resolved_either_way(fixtures: &dyn StoreFixture) {
    for (way, left) in [(Resolution::Deduct, (7, 0)), (Resolution::Release, (10, 0))] {
        let world = World::with_phones(fixtures, 10).await;
        let order_sn = world.placed(ALICE, 2).await;
        match way {
            Resolution::Deduct => world.pay(&order_sn).await,
            Resolution::Release => world.cancel(&order_sn).await,
        }
        let owner = foreign("other-system");
        world.locked(&owner, &world.phones(1).await).await;
        let version = world.row(PHONE).await.version;

        let committed = world.commit(vec![resolving(way, &[order_sn.clone(), owner.clone()]).into()]).await;
        assert_eq!(outcome::<ResolveLocks>(&committed, 0), [LockResolved::Now(2), LockResolved::Now(1)], "{way:?}");
        assert_eq!(world.stock(PHONE).await, left, "{way:?}");
        assert_eq!(committed.stock, [world.row(PHONE).await], "the changed row, once");
        assert!(world.row(PHONE).await.version > version);
        assert_eq!(world.locks(&order_sn).await, [(way.target(), 2)]);
        assert_eq!(world.locks(&owner).await, [(way.target(), 1)]);
        assert_eq!(committed.messages, []);
        world.assert_sound().await;
    }
}

/// A second resolution, of either kind, answers which way the first went and changes nothing.
pub async fn a_lock_is_resolved_once(fixtures: &dyn StoreFixture) {
    for first in WAYS {
        let world = World::with_phones(fixtures, 10).await;
        let owner = foreign("other-system");
        world.locked(&owner, &world.phones(4).await).await;
        world.resolve(first, &owner).await;
        let before = world.picture().await;
        for second in WAYS {
            let committed = world.commit(vec![resolving(second, std::slice::from_ref(&owner)).into()]).await;
            assert_eq!(outcome::<ResolveLocks>(&committed, 0), [LockResolved::Before(first.target())]);
            assert_eq!(committed.stock, []);
        }
        assert_eq!(world.picture().await, before, "{first:?}");
    }
}

/// The locks of an order are resolved only the way its status says, however often it is asked.
pub async fn the_orders_status_must_fit(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (unpaid, paid, closed) =
        (world.placed(ALICE, 1).await, world.paid(ALICE, 1).await, world.placed(ALICE, 1).await);
    world.cancel(&closed).await;
    let before = world.picture().await;

    let wrong = [
        (&unpaid, Resolution::Deduct, OrderStatus::AwaitingPayment),
        (&unpaid, Resolution::Release, OrderStatus::AwaitingPayment),
        (&paid, Resolution::Release, OrderStatus::AwaitingShipment),
        (&closed, Resolution::Deduct, OrderStatus::Closed),
    ];
    for (order_sn, way, status) in wrong {
        assert_eq!(world.resolve(way, order_sn).await, LockResolved::Refused(status), "{way:?}");
    }
    assert_eq!(world.picture().await, before);

    let answers = [world.resolve(Resolution::Deduct, &paid).await, world.resolve(Resolution::Release, &closed).await];
    assert_eq!(answers, [LockResolved::Now(1), LockResolved::Now(1)]);
    let later = [world.resolve(Resolution::Release, &paid).await, world.resolve(Resolution::Deduct, &closed).await];
    assert_eq!(later, [LockResolved::Before(LockState::Deducted), LockResolved::Before(LockState::Released)]);
    world.assert_sound().await;
}

/// Nobody's locks, and locks on another SKU only, are unknown.
pub async fn an_owner_without_locks_on_the_sku_is_unknown(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let case = world.fixture.add_stock(CASE, NORTH, 5).await;
    let elsewhere = foreign("elsewhere");
    world.locked(&elsewhere, &[line_of(CASE, case, 1)]).await;
    let before = world.picture().await;
    for way in WAYS {
        let unit = resolving(way, &[foreign("nobody"), elsewhere.clone()]);
        assert_eq!(world.one(unit).await, [LockResolved::Unknown, LockResolved::Unknown]);
    }
    assert_eq!(world.picture().await, before);
}

/// Only the locks on the named SKU are resolved, on all its rows at once.
pub async fn all_rows_of_one_sku_are_resolved(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let north = world.fixture.add_stock(PHONE, NORTH, 3).await;
    let south = world.fixture.add_stock(PHONE, SOUTH, 4).await;
    let case = world.fixture.add_stock(CASE, SOUTH, 5).await;
    let owner = foreign("owner");
    world.locked(&owner, &[line_of(PHONE, north, 3), line_of(PHONE, south, 1), line_of(CASE, case, 2)]).await;

    let committed = world.commit(vec![resolving(Resolution::Deduct, std::slice::from_ref(&owner)).into()]).await;
    assert_eq!(outcome::<ResolveLocks>(&committed, 0), [LockResolved::Now(4)]);
    let mut rows: Vec<_> = committed.stock.iter().map(|row| (row.id, row.stock, row.locked)).collect();
    rows.sort();
    assert_eq!(rows, [(north, 0, 0), (south, 3, 0)]);
    let states: Vec<LockState> = world.locks(&owner).await.into_iter().map(|(state, _)| state).collect();
    assert_eq!(states, [LockState::Deducted, LockState::Deducted, LockState::Locked]);
    assert_eq!(world.stock(CASE).await, (5, 2));
    world.assert_sound().await;
}

/// Many owners in one unit, and many units in one batch, are each judged alone and in order.
pub async fn many_owners_in_many_units(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 100).await;
    let owners: Vec<OrderSn> = (0..20).map(|number| foreign(&format!("owner-{number}"))).collect();
    let phones = world.phones(2).await;
    let requests = owners.iter().map(|owner| request(owner, &phones)).collect();
    assert_eq!(world.one(LockStock { requests, lease: LEASE }).await, StockLocks::Done(vec![StockLock::Locked; 20]));

    let (sold, freed) = owners.split_at(10);
    let committed = world
        .commit(vec![
            resolving(Resolution::Deduct, sold).into(),
            resolving(Resolution::Release, freed).into(),
            resolving(Resolution::Release, &owners).into(),
        ])
        .await;
    assert_eq!(outcome::<ResolveLocks>(&committed, 0), vec![LockResolved::Now(2); 10]);
    assert_eq!(outcome::<ResolveLocks>(&committed, 1), vec![LockResolved::Now(2); 10]);
    let mut before = vec![LockResolved::Before(LockState::Deducted); 10];
    before.extend(vec![LockResolved::Before(LockState::Released); 10]);
    assert_eq!(outcome::<ResolveLocks>(&committed, 2), before);
    assert_eq!(world.stock(PHONE).await, (80, 0));
    assert_eq!(committed.stock, [world.row(PHONE).await]);
    world.assert_sound().await;
}

/// What an earlier unit of the batch did to an order or its locks counts.
pub async fn a_resolution_sees_what_the_batch_did_before(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (bought, given_up) = (world.placed(ALICE, 1).await, world.placed(BOB, 2).await);
    let receipt = world.receipt(&bought).await;
    let fresh = foreign("fresh");
    let locking = LockStock { requests: vec![request(&fresh, &[line(&world.row(PHONE).await, 7)])], lease: LEASE };
    let both = [bought.clone(), given_up.clone()];

    let committed = world
        .commit(vec![
            resolving(Resolution::Deduct, &both).into(),
            payment(receipt).into(),
            resolving(Resolution::Deduct, &both).into(),
            cancelling(&given_up).into(),
            resolving(Resolution::Release, &both).into(),
            locking.into(),
            resolving(Resolution::Release, std::slice::from_ref(&fresh)).into(),
        ])
        .await;
    let unpaid = LockResolved::Refused(OrderStatus::AwaitingPayment);
    assert_eq!(outcome::<ResolveLocks>(&committed, 0), [unpaid.clone(), unpaid.clone()]);
    assert_eq!(outcome::<ResolveLocks>(&committed, 2), [LockResolved::Now(1), unpaid]);
    let sold = LockResolved::Before(LockState::Deducted);
    assert_eq!(outcome::<ResolveLocks>(&committed, 4), [sold, LockResolved::Now(2)]);
    assert_eq!(outcome::<ResolveLocks>(&committed, 6), [LockResolved::Now(7)]);
    assert_eq!(world.stock(PHONE).await, (9, 0));
    world.assert_sound().await;
}

/// With `lapsed_only` nothing is freed but locks without an order whose lease is over.
pub async fn lapsed_only_spares_orders_and_leases(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (lapsed, closed) = (foreign("lapsed"), world.placed(ALICE, 1).await);
    world.cancel(&closed).await;
    world.locked(&lapsed, &world.phones(3).await).await;
    world.clock.advance(LEASE / 2);
    let leased = foreign("leased");
    world.locked(&leased, &world.phones(2).await).await;
    let all = [lapsed.clone(), closed, leased, foreign("nobody")];
    let refused = LockResolved::Refused(OrderStatus::Closed);
    let before = world.picture().await;

    let answers = world.one(freeing_lapsed(&all)).await;
    let spared = LockResolved::Unknown;
    assert_eq!(answers, [spared.clone(), refused.clone(), spared.clone(), spared.clone()]);
    assert_eq!(world.picture().await, before);

    world.clock.advance(LEASE / 2);
    let answers = world.one(freeing_lapsed(&all)).await;
    assert_eq!(answers, [LockResolved::Now(3), refused, spared.clone(), spared]);
    assert_eq!(world.locks(&lapsed).await, [(LockState::Released, 3)]);
    assert_eq!(world.stock(PHONE).await, (10, 3));
    world.assert_sound().await;
}

/// Locks whose order was decided a while ago are listed with what is due.
pub async fn locks_left_behind_are_listed(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (paid, closed, done) = (world.paid(ALICE, 1).await, world.placed(ALICE, 2).await, world.paid(BOB, 1).await);
    world.placed(BOB, 1).await;
    world.locked(&foreign("other-system"), &world.phones(1).await).await;
    world.resolve(Resolution::Deduct, &done).await;
    world.clock.advance(Duration::from_secs(20));
    world.cancel(&closed).await;
    let due = async |older_ms, limit| {
        let rows = world.store.unresolved_locks(older_ms, limit).await.expect("locks are readable");
        rows.into_iter().map(|(row, due)| (row.order_sn, row.line.num, due)).collect::<Vec<_>>()
    };

    let sold = (paid, 1, LockState::Deducted);
    assert_eq!(due(30_000, 10).await, []);
    assert_eq!(due(10_000, 10).await, vec![sold.clone()]);
    world.clock.advance(Duration::from_secs(30));
    assert_eq!(due(30_000, 10).await, [sold, (closed, 2, LockState::Released)]);
    assert_eq!(due(30_000, 1).await.len(), 1);
}
