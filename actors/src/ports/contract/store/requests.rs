//! Idempotency keys: [`PlaceOrder::request`], [`KeepRequest`], [`PruneRequests`].

use std::time::Duration;

use super::StoreFixture;
use super::values::{cancelling, outcome, receiving, refunding, returning};
use super::world::{ALICE, BOB, PHONE, World};
use crate::domain::{OrderSn, UserId};
use crate::ports::store::units::{
    CloseOrders, IssuePayPage, KeepRequest, PlaceOrder, Placement, PruneRequests, ReceiveOrders, RefundOrder,
    RequestReturn, WriteUnit,
};
use crate::ports::store::{KeptRequest, RequestKey, StoreError};

const HOUR: Duration = Duration::from_secs(3600);

fn key(key: &str) -> Option<RequestKey> {
    Some(RequestKey { operation: "orders", key: key.into(), digest: format!("digest of {key}") })
}

async fn keyed(world: &World, user_id: UserId, name: &str, num: u32) -> PlaceOrder {
    PlaceOrder { request: key(name), ..world.placing(user_id, &world.phones(num).await) }
}

async fn kept(world: &World, user_id: UserId, name: &str) -> Option<KeptRequest> {
    world.store.kept_request(user_id, "orders", name).await.expect("requests are readable")
}

fn made(unit: &PlaceOrder) -> KeptRequest {
    let digest = unit.request.as_ref().map(|request| request.digest.clone());
    KeptRequest { digest: digest.unwrap_or_default(), subject: unit.order.order_sn.to_string() }
}

/// A key is kept with what it made, for its user and its operation alone.
pub async fn a_key_is_kept_with_its_order(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let unit = keyed(&world, ALICE, "k", 1).await;
    assert_eq!(kept(&world, ALICE, "k").await, None);
    assert!(matches!(world.one(unit.clone()).await, Placement::Placed { .. }));
    assert_eq!(kept(&world, ALICE, "k").await, Some(made(&unit)));
    assert_eq!(kept(&world, BOB, "k").await, None);
    assert_eq!(kept(&world, ALICE, "K").await, None);
    assert_eq!(world.store.kept_request(ALICE, "returns", "k").await, Ok(None));
    world.placed(ALICE, 1).await;
    world.assert_sound().await;
}

/// A key makes one order of its user, whatever token and goods come with it.
pub async fn a_key_makes_one_order(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let first = keyed(&world, ALICE, "k", 1).await;
    world.one(first.clone()).await;
    let before = world.picture().await;
    for again in [keyed(&world, ALICE, "k", 2).await, keyed(&world, ALICE, "k", 99).await] {
        assert_eq!(world.one(again).await, Placement::KeyUsed(made(&first)));
    }
    assert_eq!(world.picture().await, before);
    assert!(matches!(world.one(keyed(&world, BOB, "k", 1).await).await, Placement::Placed { .. }));
    let same_token = PlaceOrder { token: first.token, ..keyed(&world, ALICE, "other", 1).await };
    assert_eq!(world.one(same_token).await, Placement::TokenUsed(first.order.order_sn));
    assert_eq!(kept(&world, ALICE, "other").await, None, "nothing was made");
    assert_eq!(world.stock(PHONE).await, (10, 2));
}

/// Of two units of one batch with one key the first makes the order.
pub async fn a_key_twice_in_one_batch_makes_one_order(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    let (first, second) = (keyed(&world, ALICE, "k", 1).await, keyed(&world, ALICE, "k", 2).await);
    let third = keyed(&world, BOB, "k", 3).await;
    let units = [&first, &second, &third].map(|unit| unit.clone().into());
    let committed = world.commit(units.into()).await;
    assert!(matches!(outcome::<PlaceOrder>(&committed, 0), Placement::Placed { .. }));
    assert_eq!(outcome::<PlaceOrder>(&committed, 1), Placement::KeyUsed(made(&first)));
    assert!(matches!(outcome::<PlaceOrder>(&committed, 2), Placement::Placed { .. }));
    assert_eq!(kept(&world, ALICE, "k").await, Some(made(&first)));
    assert_eq!(world.stock(PHONE).await, (10, 4));
}

/// What made nothing leaves its key free.
pub async fn a_refused_order_leaves_its_key_free(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    assert_eq!(world.one(keyed(&world, ALICE, "k", 99).await).await, Placement::Stale(vec![PHONE]));
    assert_eq!(kept(&world, ALICE, "k").await, None);
    let unit = keyed(&world, ALICE, "k", 1).await;
    assert!(matches!(world.one(unit.clone()).await, Placement::Placed { .. }));
    assert_eq!(kept(&world, ALICE, "k").await, Some(made(&unit)));
}

fn asked(user_id: UserId, name: &str) -> Option<KeepRequest> {
    Some(KeepRequest { user_id, request: key(name)? })
}

/// Every kind of change that may carry a key, of orders of Alice in the states that it is meant for.
async fn changes(world: &World, name: &str) -> Vec<(WriteUnit, String)> {
    let asked = || asked(ALICE, name);
    let (unpaid, paid) = (world.placed(ALICE, 1).await, world.paid(ALICE, 1).await);
    let (shown, shipped) = (world.placed(ALICE, 1).await, world.shipped(ALICE, 1).await);
    let (done, asked_back) = (world.completed(ALICE, 1).await, world.completed(ALICE, 1).await);
    let earlier = world.asked_back(&asked_back, ALICE, 1).await;
    let at = world.now().0;
    let number = OrderSn::to_string;
    vec![
        (CloseOrders { asked: asked(), ..cancelling(&unpaid) }.into(), number(&unpaid)),
        (RefundOrder { asked: asked(), ..refunding(&paid) }.into(), number(&paid)),
        (IssuePayPage { order_sn: shown.clone(), asked: asked() }.into(), format!("{shown} {at}")),
        (ReceiveOrders { asked: asked(), ..receiving(&shipped) }.into(), number(&shipped)),
        (RequestReturn { asked: asked(), ..returning(&done, ALICE, 1) }.into(), (earlier + 1).to_string()),
        (RequestReturn { asked: asked(), ..returning(&asked_back, ALICE, 1) }.into(), format!("{earlier} again")),
    ]
}

/// A change keeps its key with what the first answer follows from, in its own transaction.
pub async fn a_change_keeps_its_key(fixtures: &dyn StoreFixture) {
    for at in 0..6 {
        let world = World::with_phones(fixtures, 10).await;
        let (unit, subject) = changes(&world, "k").await.remove(at);
        assert_eq!(kept(&world, ALICE, "k").await, None);
        world.commit(vec![unit.clone()]).await;
        let expected = KeptRequest { digest: "digest of k".into(), subject };
        assert_eq!(kept(&world, ALICE, "k").await, Some(expected), "{unit:?}");
        assert_eq!(kept(&world, BOB, "k").await, None);
        world.assert_sound().await;
    }
}

/// A key is kept once: another change under it is undone, with its whole batch.
pub async fn a_change_under_a_kept_key_is_undone(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 20).await;
    world.one(keyed(&world, ALICE, "k", 1).await).await;
    let first = kept(&world, ALICE, "k").await;
    for (unit, _) in changes(&world, "k").await {
        let before = world.picture().await;
        let innocent = cancelling(&world.placed(BOB, 1).await);
        let picture = world.picture().await;
        let refused = world.store.commit(&[innocent.into(), unit.clone()]).await;
        assert!(matches!(refused, Err(StoreError::Constraint(_))), "{unit:?}: {refused:?}");
        assert_eq!(world.picture().await, picture);
        assert_ne!(picture, before, "there was something to undo");
    }
    assert_eq!(kept(&world, ALICE, "k").await, first);
}

/// A change that is refused keeps nothing.
pub async fn a_refused_change_leaves_its_key_free(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 20).await;
    let units: Vec<WriteUnit> = changes(&world, "k").await.into_iter().map(|(unit, _)| unit).collect();
    let [close, refund, page, receive, back, again] = &units[..] else { panic!("six kinds") };
    // Whatever changes a status makes the next of its kind impossible.
    let plain = |unit: &WriteUnit| match unit.clone() {
        WriteUnit::CloseOrders(unit) => CloseOrders { asked: None, ..unit }.into(),
        WriteUnit::ReceiveOrders(unit) => ReceiveOrders { asked: None, ..unit }.into(),
        WriteUnit::RequestReturn(unit) => RequestReturn { asked: None, ..unit }.into(),
        unit => unit,
    };
    world.commit(vec![plain(close), plain(receive), plain(back)]).await;
    let WriteUnit::RefundOrder(refund) = refund.clone() else { panic!("a refund") };
    let WriteUnit::IssuePayPage(page) = page.clone() else { panic!("a pay page") };
    let WriteUnit::RequestReturn(again) = again.clone() else { panic!("a return") };
    let WriteUnit::CloseOrders(closed) = close.clone() else { panic!("a close") };
    let closed = closed.order_sns[0].clone();
    let refused: Vec<WriteUnit> = vec![
        close.clone(),
        receive.clone(),
        RefundOrder { order_sn: closed.clone(), ..refund }.into(),
        IssuePayPage { order_sn: closed, ..page }.into(),
        RequestReturn { quantity: 2, ..again }.into(),
    ];
    for unit in refused {
        world.commit(vec![unit.clone()]).await;
        assert_eq!(kept(&world, ALICE, "k").await, None, "{unit:?}");
    }
    world.assert_sound().await;
}

/// Keys are forgotten from the oldest on, at most so many at once; then they are free again.
pub async fn old_keys_are_forgotten(fixtures: &dyn StoreFixture) {
    let world = World::with_phones(fixtures, 10).await;
    for name in ["a", "b", "c"] {
        world.one(keyed(&world, ALICE, name, 1).await).await;
        world.clock.advance(HOUR);
    }
    assert_eq!(world.one(PruneRequests { older_than: 4 * HOUR, limit: 10 }).await, 0);
    assert_eq!(world.one(PruneRequests { older_than: 2 * HOUR, limit: 1 }).await, 1);
    let known = async || {
        let mut names = Vec::new();
        for name in ["a", "b", "c"] {
            names.extend(kept(&world, ALICE, name).await.map(|_| name));
        }
        names
    };
    assert_eq!(known().await, ["b", "c"]);
    assert_eq!(world.one(PruneRequests { older_than: 2 * HOUR, limit: 10 }).await, 1);
    assert_eq!(known().await, ["c"]);
    assert!(matches!(world.one(keyed(&world, ALICE, "a", 1).await).await, Placement::Placed { .. }));
    world.assert_sound().await;
}
