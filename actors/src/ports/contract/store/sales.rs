//! The life of a sale: [`CreateSale`], [`ArmSale`], [`PauseSale`], [`EndSale`], [`RaiseEpoch`], and reading sales.

use std::time::Duration;

use super::StoreFixture;
use super::values::{line_of, outcome};
use super::world::{ALICE, BOB, CASE, NORTH, PHONE, SOUTH, World};
use crate::domain::flash_sale::{FlashSale, NewFlashSale, SaleState};
use crate::domain::{SaleId, SkuId};
use crate::ports::store::units::{
    ArmSale, CreateSale, EndSale, EpochRaise, PauseSale, RaiseEpoch, SaleArmed, SaleChange,
};

const NOBODY: SaleId = SaleId(9_999);

/// A new sale is a draft that says what it was told and holds nothing; each has an id of its own.
pub async fn a_sale_is_created_as_a_draft(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let new = world.new_sale(5, 2);
    let units = vec![CreateSale { sale: new.clone() }.into(), CreateSale { sale: world.new_sale(7, 1) }.into()];
    let committed = world.commit(units).await;
    let ids = [0, 1].map(|place| outcome::<CreateSale>(&committed, place));
    assert!(ids[0] < ids[1], "{ids:?}");
    let sale = FlashSale {
        id: ids[0],
        sku_id: new.sku_id,
        price: new.price,
        count: new.count,
        per_user_limit: new.per_user_limit,
        starts_at: new.starts_at,
        ends_at: new.ends_at,
        challenge: new.challenge,
        state: SaleState::Draft,
        epoch: world.sale(ids[0]).await.epoch,
        granted: 0,
        released: 0,
    };
    assert_eq!(world.sale(ids[0]).await, sale);
    assert_eq!(world.stock(PHONE).await, (10, 0));
    assert_eq!(world.store.sale(NOBODY).await, Ok(None));
    world.assert_sound().await;
}

/// Arming carves the units out of stock and starts a new epoch.
pub async fn arming_carves_units_out_of_stock(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    world.placed(ALICE, 3).await;
    let sale_id = world.draft_sale(7, 1).await;
    let draft = world.sale(sale_id).await;

    let committed = world.commit(vec![ArmSale { sale_id, allotments: world.phones(7).await }.into()]).await;
    let SaleArmed::Armed(epoch) = outcome::<ArmSale>(&committed, 0) else { panic!("can be armed") };
    let armed = world.sale(sale_id).await;
    assert!(epoch > draft.epoch);
    assert_eq!(armed, FlashSale { state: SaleState::Armed, epoch, ..draft });
    assert_eq!(world.stock(PHONE).await, (10, 10));
    assert_eq!(committed.stock, [world.row(PHONE).await]);
    assert_eq!(world.sale_facts(sale_id).await.undrawn, 7);
    world.assert_sound().await;
}

/// Too few free units make the arming stale, and the sale stays a draft.
pub async fn arming_beyond_the_stock_is_stale(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let (north, south) =
        (world.fixture.add_stock(PHONE, NORTH, 2).await, world.fixture.add_stock(PHONE, SOUTH, 2).await);
    let sale_id = world.draft_sale(4, 1).await;
    let before = world.picture().await;
    let arming =
        |one, two| ArmSale { sale_id, allotments: vec![line_of(PHONE, north, one), line_of(PHONE, south, two)] };
    assert_eq!(world.one(arming(1, 3)).await, SaleArmed::Stale(vec![PHONE]));
    assert_eq!(world.picture().await, before);
    assert!(matches!(world.one(arming(2, 2)).await, SaleArmed::Armed(_)));
    world.assert_sound().await;
}

/// What can be asked of a sale depends on where it is in its life.
pub async fn commands_must_fit_the_state(fixtures: &dyn StoreFixture) {
    #[derive(Clone, Copy, Debug)]
    enum Ask {
        Arm,
        Pause,
        Resume,
    }
    let world = World::with_phones(fixtures, 10).await;
    let ask = async |sale_id, ask| -> Result<(), Option<SaleState>> {
        let allotments = world.phones(2).await;
        let change = match ask {
            Ask::Arm => match world.one(ArmSale { sale_id, allotments }).await {
                SaleArmed::Armed(_) => return Ok(()),
                SaleArmed::WrongState(state) => return Err(state),
                other => panic!("{other:?}"),
            },
            Ask::Pause => world.one(PauseSale { sale_id, paused: true }).await,
            Ask::Resume => world.one(PauseSale { sale_id, paused: false }).await,
        };
        match change {
            SaleChange::Done => Ok(()),
            SaleChange::WrongState(state) => Err(state),
        }
    };
    let refuses = async |sale_id, state, asks: &[Ask]| {
        let before = world.picture().await;
        for &command in asks {
            assert_eq!(ask(sale_id, command).await, Err(state), "{command:?}");
        }
        assert_eq!(world.picture().await, before);
    };
    let sale_id = world.draft_sale(2, 1).await;
    let state = async || world.sale(sale_id).await.state;

    refuses(NOBODY, None, &[Ask::Arm, Ask::Pause, Ask::Resume]).await;
    refuses(sale_id, Some(SaleState::Draft), &[Ask::Pause, Ask::Resume]).await;
    assert_eq!(ask(sale_id, Ask::Arm).await, Ok(()));
    refuses(sale_id, Some(SaleState::Armed), &[Ask::Arm, Ask::Resume]).await;
    assert_eq!((ask(sale_id, Ask::Pause).await, state().await), (Ok(()), SaleState::Paused));
    refuses(sale_id, Some(SaleState::Paused), &[Ask::Arm, Ask::Pause]).await;
    assert_eq!((ask(sale_id, Ask::Resume).await, state().await), (Ok(()), SaleState::Armed));
    assert_eq!(world.one(EndSale { sale_id }).await, SaleChange::Done);
    refuses(sale_id, Some(SaleState::Ended), &[Ask::Arm, Ask::Pause, Ask::Resume]).await;
    assert_eq!(world.one(EndSale { sale_id: NOBODY }).await, SaleChange::WrongState(None));
    world.assert_sound().await;
}

/// At most one sale of a SKU is open, armed or paused, also within one batch; other SKUs do not matter.
pub async fn one_open_sale_per_sku(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let case = world.fixture.add_stock(CASE, NORTH, 10).await;
    let (first, second) = (world.draft_sale(2, 1).await, world.draft_sale(2, 1).await);
    let other = world.one(CreateSale { sale: NewFlashSale { sku_id: CASE, ..world.new_sale(2, 1) } }).await;
    let arming = async |sale_id| ArmSale { sale_id, allotments: world.phones(2).await };

    let other_sku = ArmSale { sale_id: other, allotments: vec![line_of(CASE, case, 2)] };
    let units = vec![arming(first).await.into(), arming(second).await.into(), other_sku.into()];
    let committed = world.commit(units).await;
    assert!(matches!(outcome::<ArmSale>(&committed, 0), SaleArmed::Armed(_)));
    assert_eq!(outcome::<ArmSale>(&committed, 1), SaleArmed::Conflict(first));
    assert!(matches!(outcome::<ArmSale>(&committed, 2), SaleArmed::Armed(_)));
    world.one(PauseSale { sale_id: first, paused: true }).await;
    assert_eq!(world.one(arming(second).await).await, SaleArmed::Conflict(first), "paused is open");
    assert_eq!(world.stock(PHONE).await, (10, 2));

    let committed = world.commit(vec![EndSale { sale_id: first }.into(), arming(second).await.into()]).await;
    assert!(matches!(outcome::<ArmSale>(&committed, 1), SaleArmed::Armed(_)), "free as soon as the first has ended");
    assert_eq!(world.stock(PHONE).await, (10, 2));
    world.assert_sound().await;
}

/// A sale whose window is over cannot be armed; one whose window began can.
pub async fn a_window_must_not_be_over(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (late, over) = (world.draft_sale(2, 1).await, world.draft_sale(3, 1).await);
    let ends_at = world.sale(late).await.ends_at;
    world.clock.set(ends_at.0);
    assert_eq!(world.one(ArmSale { sale_id: over, allotments: world.phones(3).await }).await, SaleArmed::Over);
    assert_eq!(world.sale(over).await.state, SaleState::Draft);
    world.clock.set(ends_at.0 - 1);
    let armed = world.one(ArmSale { sale_id: late, allotments: world.phones(2).await }).await;
    assert!(matches!(armed, SaleArmed::Armed(_)), "{armed:?}");
}

/// Ending gives every unit back that nobody needs, keeps those of open grants and orders, and is done once.
pub async fn ending_gives_the_rest_back(fixtures: &dyn StoreFixture) {
    for paused in [false, true] {
        let world = World::with_phones(fixtures, 10).await;
        let sale = world.live_sale(8, 1).await;
        world.won(sale, &[ALICE]).await;
        world.granted(sale, &[BOB]).await;
        if paused {
            world.one(PauseSale { sale_id: sale.0, paused }).await;
        }
        let committed = world.commit(vec![EndSale { sale_id: sale.0 }.into()]).await;
        assert_eq!(outcome::<EndSale>(&committed, 0), SaleChange::Done);
        assert_eq!(committed.stock, [world.row(PHONE).await]);
        assert_eq!(world.stock(PHONE).await, (10, 2));
        assert_eq!(world.sale(sale.0).await.state, SaleState::Ended);
        let facts = world.sale_facts(sale.0).await;
        assert_eq!((facts.undrawn, facts.drawn, facts.open_grants), (1, 1, 1));
        world.assert_sound().await;

        let before = world.picture().await;
        let committed =
            world.commit(vec![EndSale { sale_id: sale.0 }.into(), EndSale { sale_id: sale.0 }.into()]).await;
        assert_eq!(outcome::<EndSale>(&committed, 1), SaleChange::Done);
        assert_eq!(committed.stock, []);
        assert_eq!(world.picture().await, before);
    }
}

/// Ending gives units back to every warehouse they came from; ending a draft moves nothing.
pub async fn ending_reaches_every_warehouse(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    let rows = [world.fixture.add_stock(PHONE, NORTH, 3).await, world.fixture.add_stock(PHONE, SOUTH, 3).await];
    let (sale_id, draft) = (world.draft_sale(4, 1).await, world.draft_sale(4, 1).await);
    let allotments = rows.map(|id| line_of(PHONE, id, 2)).to_vec();
    let SaleArmed::Armed(epoch) = world.one(ArmSale { sale_id, allotments }).await else { panic!("can be armed") };
    world.granted((sale_id, epoch), &[ALICE, BOB]).await;

    let committed = world.commit(vec![EndSale { sale_id: draft }.into()]).await;
    assert_eq!((outcome::<EndSale>(&committed, 0), committed.stock), (SaleChange::Done, vec![]));
    world.one(EndSale { sale_id }).await;
    let rows = world.store.stock_rows(PHONE).await.expect("stock is readable");
    assert_eq!(rows.iter().map(|row| row.locked).sum::<i64>(), 2, "the two that are awaited");
    world.assert_sound().await;
}

/// An epoch is raised by whoever names the one that stands; everybody else hears what it is.
pub async fn an_epoch_is_raised_by_one(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (sale_id, epoch) = world.live_sale(2, 1).await;
    let raising = |from| RaiseEpoch { sale_id, from };
    let committed = world.commit(vec![raising(epoch).into(), raising(epoch).into(), raising(epoch + 1).into()]).await;
    let answers = [0, 1, 2].map(|place| outcome::<RaiseEpoch>(&committed, place));
    let (one, two) = (epoch + 1, epoch + 2);
    assert_eq!(answers, [EpochRaise::Raised(one), EpochRaise::Lost(Some(one)), EpochRaise::Raised(two)]);
    assert_eq!(world.sale(sale_id).await.epoch, two);
    let before = world.picture().await;
    for from in [epoch, two + 1] {
        assert_eq!(world.one(raising(from)).await, EpochRaise::Lost(Some(two)));
    }
    assert_eq!(world.one(RaiseEpoch { sale_id: NOBODY, from: 0 }).await, EpochRaise::Lost(None));
    assert_eq!(world.picture().await, before);
}

/// Lists of sales, and which sale a SKU means: the open one, else the one that ended last, never a draft.
pub async fn sales_are_listed(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let meant = async |sku_id: SkuId| {
        let sale = world.store.sale_of_sku(sku_id).await.expect("sales are readable");
        sale.map(|sale| sale.id)
    };
    let open = async || {
        let mut sales = world.store.open_sales().await.expect("sales are readable");
        sales.sort_by_key(|sale| sale.id);
        sales.into_iter().map(|sale| sale.id).collect::<Vec<_>>()
    };
    let drafts = [world.draft_sale(2, 1).await, world.draft_sale(2, 1).await, world.draft_sale(2, 1).await];
    assert_eq!((meant(PHONE).await, open().await), (None, vec![]), "drafts only");

    // The second is armed and ended before the first is.
    for sale_id in [drafts[1], drafts[0]] {
        world.one(ArmSale { sale_id, allotments: world.phones(2).await }).await;
        assert_eq!((meant(PHONE).await, open().await), (Some(sale_id), vec![sale_id]));
        world.one(PauseSale { sale_id, paused: true }).await;
        assert_eq!((meant(PHONE).await, open().await), (Some(sale_id), vec![sale_id]), "paused is open");
        world.clock.advance(Duration::from_secs(1));
        world.one(EndSale { sale_id }).await;
        assert_eq!((meant(PHONE).await, open().await), (Some(sale_id), vec![]));
    }
    assert_eq!(meant(CASE).await, None);
    let listed = async |limit| {
        let sales = world.store.sales(limit).await.expect("sales are readable");
        sales.into_iter().map(|sale| sale.id).collect::<Vec<_>>()
    };
    assert_eq!(listed(10).await, [drafts[2], drafts[1], drafts[0]], "newest first");
    assert_eq!(listed(2).await, [drafts[2], drafts[1]]);
}
