//! [`LockStock`](crate::ports::store::units::LockStock), and how the kinds that take units share a row.

use std::time::Duration;

use super::StoreFixture;
use super::values::{foreign, line, line_of, outcome, request};
use super::world::{ALICE, BOB, CASE, LEASE, NORTH, PHONE, SOUTH, World};
use crate::domain::WareSkuId;
use crate::domain::order::LockLine;
use crate::domain::stock::{LockState, Resolution};
use crate::ports::store::units::{
    AdjustStock, ArmSale, LockRequest, LockStock, PlaceOrder, Placement, SaleArmed, StockLock, StockLocks,
};

fn locking(requests: &[LockRequest]) -> LockStock {
    LockStock { requests: requests.to_vec(), lease: LEASE }
}

/// Each owner of a unit gets its rows; the stock rows of all are handed back once.
pub async fn owners_lock_together(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let south = world.fixture.add_stock(PHONE, SOUTH, 4).await;
    let case = world.fixture.add_stock(CASE, NORTH, 5).await;
    let north = world.store.stock_rows(PHONE).await.expect("stock is readable")[0].id;
    let (one, two) = (foreign("one"), foreign("two"));
    let requests = [
        request(&one, &[line_of(PHONE, north, 3), line_of(PHONE, south, 4), line_of(CASE, case, 1)]),
        request(&two, &[line_of(PHONE, north, 7)]),
    ];

    let committed = world.commit(vec![locking(&requests).into()]).await;
    assert_eq!(outcome::<LockStock>(&committed, 0), StockLocks::Done(vec![StockLock::Locked; 2]));
    assert_eq!(committed.messages, []);
    let mut held: Vec<_> = committed.stock.iter().map(|row| (row.id, row.locked)).collect();
    held.sort();
    let mut wanted = [(north, 10), (south, 4), (case, 1)];
    wanted.sort();
    assert_eq!(held, wanted);
    assert_eq!(world.locks(&one).await.iter().map(|(_, num)| num).sum::<u32>(), 8);
    assert_eq!(world.locks(&two).await, [(LockState::Locked, 7)]);
    world.assert_sound().await;
}

/// An owner that has locks takes nothing more, whatever became of them; others of the unit are not disturbed, and its
/// wish does not count against the row.
pub async fn an_owner_locks_once(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (old, new) = (foreign("old"), foreign("new"));
    world.locked(&old, &world.phones(2).await).await;

    let requests = [request(&old, &world.phones(99).await), request(&new, &world.phones(8).await)];
    let answer = world.one(locking(&requests)).await;
    assert_eq!(answer, StockLocks::Done(vec![StockLock::Exists, StockLock::Locked]));
    assert_eq!(world.locks(&old).await, [(LockState::Locked, 2)]);
    assert_eq!(world.stock(PHONE).await, (10, 10));

    let before = world.picture().await;
    let committed = world.commit(vec![locking(&requests).into()]).await;
    assert_eq!(outcome::<LockStock>(&committed, 0), StockLocks::Done(vec![StockLock::Exists; 2]));
    assert_eq!(committed.stock, []);
    assert_eq!(world.picture().await, before);

    world.resolve(Resolution::Release, &old).await;
    let again = locking(&[request(&old, &world.phones(2).await)]);
    assert_eq!(world.one(again).await, StockLocks::Done(vec![StockLock::Exists]), "released is resolved for good");
    assert_eq!(world.locks(&old).await, [(LockState::Released, 2)]);
    world.assert_sound().await;
}

/// The same owner in two units of one batch: the second hears that its locks exist.
pub async fn an_owner_twice_in_one_batch_locks_once(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let owner = foreign("owner");
    let first = locking(&[request(&owner, &world.phones(3).await)]);
    let second = locking(&[request(&owner, &world.phones(4).await)]);

    let committed = world.commit(vec![first.into(), second.into()]).await;
    assert_eq!(outcome::<LockStock>(&committed, 0), StockLocks::Done(vec![StockLock::Locked]));
    assert_eq!(outcome::<LockStock>(&committed, 1), StockLocks::Done(vec![StockLock::Exists]));
    assert_eq!(world.stock(PHONE).await, (10, 3));
    world.assert_sound().await;
}

/// The owners of one unit stand or fall together on the guard.
pub async fn owners_of_a_unit_fall_together(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let case = world.fixture.add_stock(CASE, NORTH, 5).await;
    let phone = world.row(PHONE).await;
    let (one, two) = (foreign("one"), foreign("two"));
    let before = world.picture().await;

    let missing = line_of(CASE, WareSkuId(999_999), 1);
    let cases: [(LockLine, LockLine, Vec<_>); 4] = [
        (line(&phone, 6), line(&phone, 5), vec![PHONE]),
        (line(&phone, 1), line_of(CASE, case, 6), vec![CASE]),
        (line(&phone, 11), line_of(CASE, case, 6), vec![PHONE, CASE]),
        (line(&phone, 1), missing, vec![CASE]),
    ];
    for (first, second, stale) in cases {
        let unit = locking(&[request(&one, &[first]), request(&two, &[second])]);
        let committed = world.commit(vec![unit.into()]).await;
        assert_eq!(outcome::<LockStock>(&committed, 0), StockLocks::Stale(stale));
        assert_eq!(committed.stock, []);
    }
    assert_eq!(world.picture().await, before);
    assert_eq!(world.locks(&one).await, []);
}

/// Kinds that take units of one row in one batch are judged in the order given, whichever they are.
pub async fn kinds_that_share_a_row_are_tried_in_order(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale_id = world.draft_sale(4, 1).await;
    let phone = world.row(PHONE).await;
    let one = |num| vec![line(&phone, num)];
    let arm = ArmSale { sale_id, allotments: one(4) };
    let committed = world
        .commit(vec![
            world.placing(ALICE, &one(3)).into(),
            locking(&[request(&foreign("early"), &one(3))]).into(),
            world.placing(ALICE, &one(5)).into(),
            arm.into(),
            locking(&[request(&foreign("late"), &one(1))]).into(),
            world.placing(BOB, &one(1)).into(),
        ])
        .await;
    assert!(matches!(outcome::<PlaceOrder>(&committed, 0), Placement::Placed { .. }));
    assert_eq!(outcome::<LockStock>(&committed, 1), StockLocks::Done(vec![StockLock::Locked]));
    assert_eq!(outcome::<PlaceOrder>(&committed, 2), Placement::Stale(vec![PHONE]));
    assert!(matches!(outcome::<ArmSale>(&committed, 3), SaleArmed::Armed(_)));
    assert_eq!(outcome::<LockStock>(&committed, 4), StockLocks::Stale(vec![PHONE]));
    assert_eq!(outcome::<PlaceOrder>(&committed, 5), Placement::Stale(vec![PHONE]));
    assert_eq!(world.stock(PHONE).await, (10, 10));
    assert_eq!(committed.stock, [world.row(PHONE).await]);
    world.assert_sound().await;
}

/// Units that came or went earlier in the batch count for what follows.
pub async fn a_lock_sees_the_adjustments_before_it(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 1).await;
    let by = |delta| AdjustStock { sku_id: PHONE, ware_id: NORTH, delta, reason: "count".into() };
    let phone = world.row(PHONE).await;
    let taking = |name: &str| locking(&[request(&foreign(name), &[line(&phone, 2)])]);

    let units = vec![taking("a").into(), by(3).into(), taking("b").into(), by(-1).into(), taking("c").into()];
    let committed = world.commit(units).await;
    let answers = [0, 2, 4].map(|place| outcome::<LockStock>(&committed, place));
    let (done, stale) = (StockLocks::Done(vec![StockLock::Locked]), StockLocks::Stale(vec![PHONE]));
    assert_eq!(answers, [stale.clone(), done, stale]);
    assert_eq!(world.stock(PHONE).await, (3, 2));
    world.assert_sound().await;
}

/// Locks of other systems are listed once their lease is over, oldest first; orders of our own never are.
pub async fn locks_past_their_lease_are_listed(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    world.placed(ALICE, 1).await;
    let owners = ["late", "early", "resolved"].map(foreign);
    for owner in [&owners[1], &owners[2], &owners[0]] {
        world.locked(owner, &world.phones(1).await).await;
        world.clock.advance(Duration::from_secs(1));
    }
    world.resolve(Resolution::Deduct, &owners[2]).await;
    let lapsed = async |limit| {
        let rows = world.store.lapsed_locks(limit).await.expect("locks are readable");
        rows.into_iter().map(|row| row.order_sn.to_string()).collect::<Vec<_>>()
    };

    assert_eq!(lapsed(10).await, [""; 0], "nobody is past its lease");
    world.clock.advance(LEASE - Duration::from_secs(3));
    assert_eq!(lapsed(10).await, ["early"], "the lease ends at its last moment");
    world.clock.advance(LEASE);
    assert_eq!(lapsed(10).await, ["early", "late"]);
    assert_eq!(lapsed(1).await, ["early"]);
}
