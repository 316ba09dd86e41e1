//! What staff and owners change by hand: [`EditSale`], [`RestockSale`], [`SetReceiver`].

use super::StoreFixture;
use super::values::{line_of, receiver};
use super::world::{ALICE, BOB, NORTH, PHONE, SOUTH, World};
use crate::domain::Money;
use crate::domain::SaleId;
use crate::domain::flash_sale::{ChallengeMode, FlashSale, NewFlashSale, SaleState};
use crate::domain::order::{Order, OrderStatus};
use crate::ports::store::units::{
    EditSale, EndSale, PauseSale, ReceiverChange, RestockSale, SaleEdit, SaleRestock, SetReceiver,
};

const NOBODY: SaleId = SaleId(9_999);

/// A draft becomes what its editor wants.
pub async fn a_draft_is_edited(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale_id = world.draft_sale(5, 1).await;
    let draft = world.sale(sale_id).await;
    let terms = draft.terms();
    let sale = NewFlashSale {
        price: Money(4_200),
        count: 7,
        per_user_limit: 2,
        starts_at: terms.starts_at.plus(std::time::Duration::from_secs(60)),
        ends_at: terms.ends_at.plus(std::time::Duration::from_secs(60)),
        challenge: ChallengeMode::Always,
        ..terms.clone()
    };
    assert_eq!(world.one(EditSale { sale_id, seen: terms, sale: sale.clone() }).await, SaleEdit::Done);
    let edited = world.sale(sale_id).await;
    assert_eq!(edited.terms(), sale);
    assert_eq!((edited.state, edited.epoch), (SaleState::Draft, draft.epoch));
    assert_eq!(world.stock(PHONE).await, (10, 0));
}

/// Who saw something else, or edits what is no draft, changes nothing.
pub async fn an_edit_must_have_seen_the_draft(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale_id = world.draft_sale(5, 1).await;
    let seen = world.sale(sale_id).await.terms();
    let sale = NewFlashSale { count: 6, ..seen.clone() };
    let before = world.picture().await;
    let edit = async |sale_id, seen: &NewFlashSale| {
        world.one(EditSale { sale_id, seen: seen.clone(), sale: sale.clone() }).await
    };
    for other in [
        NewFlashSale { price: Money(1), ..seen.clone() },
        NewFlashSale { count: 4, ..seen.clone() },
        NewFlashSale { per_user_limit: 9, ..seen.clone() },
        NewFlashSale { starts_at: seen.starts_at.minus(std::time::Duration::from_secs(1)), ..seen.clone() },
        NewFlashSale { ends_at: seen.ends_at.plus(std::time::Duration::from_secs(1)), ..seen.clone() },
        NewFlashSale { challenge: ChallengeMode::Always, ..seen.clone() },
    ] {
        assert_eq!(edit(sale_id, &other).await, SaleEdit::Changed);
    }
    assert_eq!(edit(NOBODY, &seen).await, SaleEdit::WrongState(None));
    assert_eq!(world.picture().await, before);
    let (armed, _) = world.live_sale(2, 1).await;
    let seen = world.sale(armed).await.terms();
    assert_eq!(edit(armed, &seen).await, SaleEdit::WrongState(Some(SaleState::Armed)));
}

/// An open sale takes more units out of stock, from rows it had and rows it had not.
pub async fn an_open_sale_is_restocked(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let north = world.row(PHONE).await.id;
    let (sale_id, epoch) = world.live_sale(2, 1).await;
    world.granted((sale_id, epoch), &[ALICE, BOB]).await;
    let south = world.fixture.add_stock(PHONE, SOUTH, 5).await;
    let sale = world.sale(sale_id).await;
    assert_eq!(sale.remaining(), 0);

    let allotments = vec![line_of(PHONE, north, 3), line_of(PHONE, south, 1)];
    assert_eq!(world.one(RestockSale { sale_id, allotments }).await, SaleRestock::Done(6));
    assert_eq!(world.sale(sale_id).await, FlashSale { count: 6, ..sale });
    assert_eq!(world.sale_facts(sale_id).await.undrawn, 6);
    world.assert_sound().await;

    assert_eq!(world.one(PauseSale { sale_id, paused: true }).await, crate::ports::store::units::SaleChange::Done);
    let allotments = vec![line_of(PHONE, north, 1)];
    assert_eq!(world.one(RestockSale { sale_id, allotments }).await, SaleRestock::Done(7));
    world.one(EndSale { sale_id }).await;
    let rows = world.store.stock_rows(PHONE).await.expect("stock is readable");
    assert_eq!(rows.iter().map(|row| row.locked).sum::<i64>(), 2, "open grants keep theirs");
    world.assert_sound().await;
}

/// Drafts, ended sales and none at all take nothing.
pub async fn only_open_sales_are_restocked(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let draft = world.draft_sale(2, 1).await;
    let (ended, _) = world.live_sale(2, 1).await;
    world.one(EndSale { sale_id: ended }).await;
    let before = world.picture().await;
    for (sale_id, state) in [(draft, Some(SaleState::Draft)), (ended, Some(SaleState::Ended)), (NOBODY, None)] {
        let allotments = world.phones(1).await;
        assert_eq!(world.one(RestockSale { sale_id, allotments }).await, SaleRestock::WrongState(state));
    }
    assert_eq!(world.picture().await, before);
}

/// Too few free units make it stale, and nothing is taken.
pub async fn restocking_beyond_the_stock_is_stale(fixtures: &dyn StoreFixture) {
    let world = World::new(fixtures).await;
    world.fixture.add_stock(PHONE, NORTH, 3).await;
    let (sale_id, _) = world.live_sale(2, 1).await;
    let before = world.picture().await;
    let allotments = world.phones(2).await;
    assert_eq!(world.one(RestockSale { sale_id, allotments }).await, SaleRestock::Stale(vec![PHONE]));
    assert_eq!(world.picture().await, before);
}

/// The owner may send an order elsewhere until it is over; who saw an older one, and anybody else, may not.
pub async fn a_receiver_is_changed_by_its_owner_in_time(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let order_sn = world.placed(ALICE, 1).await;
    let order = world.order(&order_sn).await;
    world.clock.advance(std::time::Duration::from_secs(1));
    let send = async |user_id, name, seen| {
        world.one(SetReceiver { user_id, order_sn: order_sn.clone(), receiver: receiver(name), seen }).await
    };
    assert_eq!(send(BOB, "bob", None).await, ReceiverChange::Unknown);
    assert_eq!(send(ALICE, "late", Some(world.now())).await, ReceiverChange::Changed);
    assert_eq!(world.order(&order_sn).await, order);
    assert_eq!(send(ALICE, "home", Some(order.modified_at)).await, ReceiverChange::Done);
    let moved = Order { receiver: receiver("home"), modified_at: world.now(), ..order };
    assert_eq!(world.order(&order_sn).await, moved);

    world.pay(&order_sn).await;
    assert_eq!(send(ALICE, "office", None).await, ReceiverChange::Done);
    let cancelled = world.placed(ALICE, 1).await;
    world.cancel(&cancelled).await;
    let unit = SetReceiver { user_id: ALICE, order_sn: cancelled, receiver: receiver("home"), seen: None };
    assert_eq!(world.one(unit).await, ReceiverChange::WrongState(OrderStatus::Closed));
    world.assert_sound().await;
}
