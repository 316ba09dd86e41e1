//! [`AdjustStock`].

use super::StoreFixture;
use super::values::outcome;
use super::world::{ALICE, CASE, NORTH, PHONE, SOUTH, World};
use crate::domain::{SkuId, WareId};
use crate::ports::store::units::{AdjustStock, Adjustment};

fn adjusting(sku_id: SkuId, ware_id: WareId, delta: i64) -> AdjustStock {
    AdjustStock { sku_id, ware_id, delta, reason: "count".into() }
}

/// Units come and go, with a ledger row each, and the row is handed back.
pub async fn units_come_and_go(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    for (delta, stock) in [(5, 15), (-12, 3), (-3, 0)] {
        let version = world.row(PHONE).await.version;
        let committed = world.commit(vec![adjusting(PHONE, NORTH, delta).into()]).await;
        let row = world.row(PHONE).await;
        assert_eq!(outcome::<AdjustStock>(&committed, 0), Adjustment::Done(row));
        assert_eq!((row.stock, row.locked), (stock, 0));
        assert_eq!(committed.stock, [row]);
        assert!(row.version > version);
        world.assert_sound().await;
    }
}

/// A warehouse that never had the SKU gets its row.
pub async fn a_missing_row_is_made(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let answer = world.one(adjusting(PHONE, SOUTH, 7)).await;
    let rows = world.store.stock_rows(PHONE).await.expect("stock is readable");
    assert_eq!(rows.len(), 2);
    assert_eq!(answer, Adjustment::Done(rows[1]));
    assert_eq!((rows[1].sku_id, rows[1].ware_id, rows[1].stock, rows[1].locked), (PHONE, SOUTH, 7, 0));
    assert_eq!(world.store.stock_rows(CASE).await, Ok(vec![]));
    world.assert_sound().await;
}

/// What is promised stays: a row never falls below its locked units, and the answer shows it.
pub async fn a_row_never_falls_below_its_locks(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    world.placed(ALICE, 4).await;
    let (row, before) = (world.row(PHONE).await, world.picture().await);
    let committed = world.commit(vec![adjusting(PHONE, NORTH, -7).into()]).await;
    assert_eq!(outcome::<AdjustStock>(&committed, 0), Adjustment::BelowLocked(row));
    assert_eq!(committed.stock, []);
    assert_eq!(world.picture().await, before);

    let none = world.one(adjusting(CASE, NORTH, -1)).await;
    assert!(matches!(none, Adjustment::BelowLocked(row) if (row.stock, row.locked) == (0, 0)), "{none:?}");
    assert_eq!(world.store.stock_rows(CASE).await, Ok(vec![]), "a refusal makes no row");
    assert!(matches!(world.one(adjusting(PHONE, NORTH, -6)).await, Adjustment::Done(_)));
    assert_eq!(world.stock(PHONE).await, (4, 4));
}

/// A warehouse or SKU that nobody knows is refused.
pub async fn unknown_places_and_things_are_refused(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let before = world.picture().await;
    assert_eq!(world.one(adjusting(PHONE, WareId(77), 1)).await, Adjustment::UnknownWarehouse);
    assert_eq!(world.one(adjusting(SkuId(777), NORTH, 1)).await, Adjustment::UnknownSku);
    assert_eq!(world.picture().await, before);
    assert_eq!(world.store.stock_rows(SkuId(777)).await, Ok(vec![]));
}

/// Several adjustments of a row in one batch follow one another; a refused one is passed over.
pub async fn adjustments_of_a_batch_follow_one_another(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let deltas = [-6, -6, 3, -6];
    let committed = world.commit(deltas.map(|delta| adjusting(PHONE, NORTH, delta).into()).into()).await;
    let stocks = [0, 1, 2, 3].map(|place| match outcome::<AdjustStock>(&committed, place) {
        Adjustment::Done(row) => (true, row.stock),
        Adjustment::BelowLocked(row) => (false, row.stock),
        other => panic!("{other:?}"),
    });
    assert_eq!(stocks, [(true, 4), (false, 4), (true, 7), (true, 1)]);
    assert_eq!(committed.stock, [world.row(PHONE).await]);
    world.assert_sound().await;
}
