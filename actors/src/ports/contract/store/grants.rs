//! [`CommitGrants`], and reading grants.

use std::time::Duration;

use super::StoreFixture;
use super::values::{items, line_of, named, outcome, packed};
use super::world::{ALICE, BOB, CASE, NORTH, PHONE, World};
use crate::domain::events::{RoutingKey, SecKill};
use crate::domain::flash_sale::{Grant, GrantState, NewFlashSale};
use crate::domain::stock::Resolution;
use crate::domain::{OrderSn, SaleId, UserId};
use crate::ports::store::units::{
    ArmSale, CommitGrants, CreateSale, EndSale, FailGrants, GrantBatch, GrantOutcome, PauseSale, RaiseEpoch, SaleArmed,
    WriteUnit,
};

use GrantOutcome::{Granted, SoldOut};

/// A third buyer, who need not be a member.
const CAROL: UserId = UserId(3);

fn granting(world: &World, (sale_id, epoch): (SaleId, i64), buyers: &[UserId]) -> CommitGrants {
    let winners = buyers.iter().map(|user_id| (*user_id, world.number())).collect();
    CommitGrants { sale_id, epoch, winners }
}

async fn decided(world: &World, sale: (SaleId, i64), buyers: &[UserId]) -> Vec<GrantOutcome> {
    match world.one(granting(world, sale, buyers)).await {
        GrantBatch::Decided(outcomes) => outcomes,
        other => panic!("the sale is live: {other:?}"),
    }
}

/// A grant is a row, a counted unit and an item of one message; stock does not move.
pub async fn winners_are_granted(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(5, 1).await;
    let unit = granting(&world, sale, &[BOB, ALICE]);
    let winners = unit.winners.clone();

    let committed = world.commit(vec![unit.into()]).await;
    assert_eq!(outcome::<CommitGrants>(&committed, 0), GrantBatch::Decided(vec![Granted, Granted]));
    assert_eq!(committed.stock, []);
    assert_eq!(packed(&committed.messages), [(RoutingKey::SecKill, 2)]);
    let told: Vec<SecKill> = items(&committed.messages[0])
        .into_iter()
        .map(|item| serde_json::from_value(item).expect("an item of sec.kill"))
        .collect();
    for ((user_id, order_sn), told) in winners.iter().zip(told) {
        let item = SecKill { order_token: order_sn.clone(), sku_id: PHONE, num: 1, user_id: *user_id, sale_id: sale.0 };
        assert_eq!(told, item);
        let grant = Grant {
            order_sn: order_sn.clone(),
            sale_id: sale.0,
            user_id: *user_id,
            state: GrantState::Granted,
            reason: None,
            ordered: false,
            created_at: world.now(),
        };
        assert_eq!(world.grant(order_sn).await, grant);
        assert_eq!(world.store.order(order_sn).await, Ok(None), "the order is made later");
    }
    let read = world.sale(sale.0).await;
    assert_eq!((read.granted, read.released, read.remaining()), (2, 0, 3));
    assert_eq!(world.stock(PHONE).await, (10, 5));
    world.assert_sound().await;
}

/// At most the remaining units are granted, in the order given; who got nothing leaves no trace.
pub async fn no_more_than_remain_are_granted(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(2, 1).await;
    let unit = granting(&world, sale, &[CAROL, BOB, ALICE]);
    let late = unit.winners[2].1.clone();

    let committed = world.commit(vec![unit.into()]).await;
    assert_eq!(outcome::<CommitGrants>(&committed, 0), GrantBatch::Decided(vec![Granted, Granted, SoldOut]));
    assert_eq!(packed(&committed.messages), [(RoutingKey::SecKill, 2)]);
    assert_eq!(world.store.grants(&[late]).await, Ok(vec![]));
    assert_eq!(world.sale(sale.0).await.remaining(), 0);

    let before = world.picture().await;
    let committed = world.commit(vec![granting(&world, sale, &[ALICE]).into()]).await;
    assert_eq!(outcome::<CommitGrants>(&committed, 0), GrantBatch::Decided(vec![SoldOut]));
    assert_eq!(committed.messages, [], "nobody won, nothing to say");
    assert_eq!(world.picture().await, before);
    world.assert_sound().await;
}

/// A buyer at the limit hears the first order number, also when everything is sold; others are not disturbed.
pub async fn nobody_wins_beyond_the_limit(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(4, 2).await;
    let first = world.granted(sale, &[ALICE]).await.remove(0);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(decided(&world, sale, &[ALICE, BOB]).await, [Granted, Granted]);

    let at_limit = GrantOutcome::LimitReached(first.clone());
    assert_eq!(decided(&world, sale, &[ALICE, BOB]).await, [at_limit.clone(), Granted]);
    assert_eq!(world.sale(sale.0).await.remaining(), 0);
    assert_eq!(decided(&world, sale, &[CAROL, ALICE]).await, [SoldOut, at_limit]);
    let held = world.store.first_grant(sale.0, ALICE).await.expect("grants are readable");
    assert_eq!(held.map(|grant| grant.order_sn), Some(first));
    world.assert_sound().await;
}

/// The same unit again, after an answer that was lost, grants nothing twice: each winner hears its own number.
pub async fn a_repeated_unit_grants_nothing_twice(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(5, 1).await;
    let unit = granting(&world, sale, &[ALICE, BOB]);
    world.one(unit.clone()).await;
    let before = world.picture().await;
    let own = unit.winners.iter().map(|(_, order_sn)| GrantOutcome::LimitReached(order_sn.clone())).collect();
    assert_eq!(world.one(unit).await, GrantBatch::Decided(own));
    assert_eq!(world.picture().await, before);
}

/// A failed grant does not count against its buyer; one whose order closed unpaid does. Both units are for sale again.
pub async fn failed_grants_do_not_count_released_ones_do(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(2, 1).await;
    let failed = world.granted(sale, &[ALICE]).await.remove(0);
    let lapsed = world.won(sale, &[BOB]).await.remove(0);
    assert_eq!(decided(&world, sale, &[CAROL]).await, [SoldOut]);
    assert_eq!(world.one(FailGrants { grants: vec![(failed, "gone".into())] }).await, [true]);
    world.cancel(&lapsed).await;
    world.resolve(Resolution::Release, &lapsed).await;

    assert_eq!(world.store.holders(sale.0).await, Ok(vec![(BOB, 1)]));
    assert_eq!(world.store.first_grant(sale.0, ALICE).await, Ok(None));
    let answers = decided(&world, sale, &[BOB, ALICE, CAROL, UserId(4)]).await;
    assert_eq!(answers, [GrantOutcome::LimitReached(lapsed), Granted, Granted, SoldOut]);
    world.assert_sound().await;
}

/// Permits of another epoch grant nothing, older or newer.
pub async fn permits_of_another_epoch_grant_nothing(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (sale_id, epoch) = world.live_sale(5, 1).await;
    let raised = epoch + 1;
    world.one(RaiseEpoch { sale_id, from: epoch }).await;
    let before = world.picture().await;
    for other in [epoch, raised + 1, 0] {
        let answer = world.one(granting(&world, (sale_id, other), &[ALICE])).await;
        assert_eq!(answer, GrantBatch::OtherEpoch, "{other}");
    }
    assert_eq!(world.picture().await, before);
    assert_eq!(decided(&world, (sale_id, raised), &[ALICE]).await, [Granted]);
}

/// Only an armed sale inside its window grants: from `starts_at` on, up to but not at `ends_at`.
pub async fn only_a_live_sale_grants(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (starts_at, ends_at) = (world.now().plus(Duration::from_secs(10)), world.now().plus(Duration::from_secs(20)));
    let sale = NewFlashSale { starts_at, ends_at, ..world.new_sale(5, 5) };
    let sale_id = world.one(CreateSale { sale }).await;
    let try_win = async |epoch| world.one(granting(&world, (sale_id, epoch), &[ALICE])).await;
    let (won, not_live) = (GrantBatch::Decided(vec![Granted]), GrantBatch::NotLive);

    assert_eq!(try_win(0).await, not_live, "a draft");
    let SaleArmed::Armed(epoch) = world.one(ArmSale { sale_id, allotments: world.phones(5).await }).await else {
        panic!("the sale can be armed");
    };
    for (at, answer) in
        [(starts_at.0 - 1, &not_live), (starts_at.0, &won), (ends_at.0 - 1, &won), (ends_at.0, &not_live)]
    {
        world.clock.set(at);
        assert_eq!(try_win(epoch).await, *answer, "at {at}");
    }
    world.clock.set(starts_at.0);
    world.one(PauseSale { sale_id, paused: true }).await;
    assert_eq!(try_win(epoch).await, not_live, "paused");
    world.one(PauseSale { sale_id, paused: false }).await;
    assert_eq!(try_win(epoch).await, won, "resumed");
    world.one(EndSale { sale_id }).await;
    assert_eq!(try_win(epoch).await, not_live, "ended");
    let nobody = world.one(granting(&world, (SaleId(9_999), 1), &[ALICE])).await;
    assert_eq!(nobody, GrantBatch::NotLive, "no such sale");
    assert_eq!(world.sale(sale_id).await.granted, 3);
    world.assert_sound().await;
}

/// Units of one batch follow one another: they share what remains, the limit, and what happens to the sale in between.
pub async fn grants_of_one_batch_follow_one_another(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(3, 1).await;
    let (sale_id, epoch) = sale;
    let (first, second) = (granting(&world, sale, &[ALICE, BOB]), granting(&world, sale, &[BOB, CAROL, UserId(4)]));
    let (alices, bobs) = (first.winners[0].1.clone(), first.winners[1].1.clone());
    let pause = |paused| WriteUnit::from(PauseSale { sale_id, paused });
    let late = |world: &World| WriteUnit::from(granting(world, sale, &[UserId(5), ALICE]));

    let units = vec![
        first.into(),
        second.into(),
        FailGrants { grants: vec![(bobs.clone(), "gone".into())] }.into(),
        pause(true),
        late(&world),
        pause(false),
        late(&world),
        RaiseEpoch { sale_id, from: epoch }.into(),
        late(&world),
        granting(&world, (sale_id, epoch + 1), &[BOB]).into(),
        EndSale { sale_id }.into(),
        granting(&world, (sale_id, epoch + 1), &[BOB]).into(),
    ];
    let committed = world.commit(units).await;
    let answer = |place| outcome::<CommitGrants>(&committed, place);
    let at_limit = GrantOutcome::LimitReached;
    assert_eq!(answer(0), GrantBatch::Decided(vec![Granted, Granted]));
    assert_eq!(answer(1), GrantBatch::Decided(vec![at_limit(bobs), Granted, SoldOut]));
    assert_eq!(answer(4), GrantBatch::NotLive);
    assert_eq!(answer(6), GrantBatch::Decided(vec![Granted, at_limit(alices)]));
    assert_eq!(answer(8), GrantBatch::OtherEpoch);
    assert_eq!(answer(9), GrantBatch::Decided(vec![SoldOut]));
    assert_eq!(answer(11), GrantBatch::NotLive);
    assert_eq!(packed(&committed.messages), [(RoutingKey::SecKill, 4)]);
    let read = world.sale(sale_id).await;
    assert_eq!((read.granted, read.released), (4, 1));
    world.assert_sound().await;
}

/// Sales of one batch do not touch each other.
pub async fn sales_of_one_batch_are_apart(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let case = world.fixture.add_stock(CASE, NORTH, 10).await;
    let phones = world.live_sale(1, 1).await;
    let sale_id = world.one(CreateSale { sale: NewFlashSale { sku_id: CASE, ..world.new_sale(2, 1) } }).await;
    world.one(ArmSale { sale_id, allotments: vec![line_of(CASE, case, 2)] }).await;
    let cases = (sale_id, world.sale(sale_id).await.epoch);

    let units = [phones, cases, phones, cases].map(|sale| granting(&world, sale, &[ALICE, BOB]).into());
    let committed = world.commit(units.into()).await;
    let won = |place| match outcome::<CommitGrants>(&committed, place) {
        GrantBatch::Decided(outcomes) => outcomes.iter().filter(|outcome| **outcome == Granted).count(),
        other => panic!("{other:?}"),
    };
    assert_eq!([won(0), won(1), won(2), won(3)], [1, 2, 0, 0]);
    assert_eq!((world.sale(phones.0).await.granted, world.sale(cases.0).await.granted), (1, 2));
    world.assert_sound().await;
}

/// A crowd in one unit is granted in its order and told in few messages.
pub async fn a_crowd_is_granted_in_its_order(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 1000).await;
    let sale = world.live_sale(300, 1).await;
    let crowd: Vec<UserId> = (0..400).map(UserId).collect();
    let unit = granting(&world, sale, &crowd);
    let order_sns: Vec<String> = unit.winners.iter().map(|(_, order_sn)| order_sn.to_string()).collect();

    let committed = world.commit(vec![unit.into()]).await;
    let mut wanted = vec![Granted; 300];
    wanted.extend(vec![SoldOut; 100]);
    assert_eq!(outcome::<CommitGrants>(&committed, 0), GrantBatch::Decided(wanted));
    assert_eq!(packed(&committed.messages), [(RoutingKey::SecKill, 256), (RoutingKey::SecKill, 44)]);
    let told: Vec<String> = committed.messages.iter().flat_map(named).collect();
    assert_eq!(told, order_sns[..300]);
    world.assert_sound().await;
}

/// Grants that wait for their order are listed, oldest first, once they are old enough.
pub async fn grants_without_an_order_are_listed(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let sale = world.live_sale(8, 8).await;
    world.won(sale, &[ALICE]).await;
    let failed = world.granted(sale, &[ALICE]).await.remove(0);
    world.one(FailGrants { grants: vec![(failed, "gone".into())] }).await;
    let old = world.granted(sale, &[BOB]).await.remove(0);
    world.clock.advance(Duration::from_secs(20));
    let young = world.granted(sale, &[ALICE]).await.remove(0);
    world.clock.advance(Duration::from_secs(10));
    let waiting = async |older_ms, limit| {
        let grants = world.store.unordered_grants(older_ms, limit).await.expect("grants are readable");
        grants.into_iter().map(|grant| grant.order_sn).collect::<Vec<OrderSn>>()
    };

    assert_eq!(waiting(31_000, 10).await, []);
    assert_eq!(waiting(15_000, 10).await, vec![old.clone()]);
    assert_eq!(waiting(0, 10).await, [old.clone(), young]);
    assert_eq!(waiting(0, 1).await, [old]);
}
