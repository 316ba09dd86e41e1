//! Create, arm, pause, resume, end.

use std::time::Duration;

use actors::domain::flash_sale::{NewFlashSale, SalePhase, SaleState};
use actors::domain::reject::Reject;
use actors::domain::{Money, SaleId, SkuId};
use actors::flash_sale::{Attempt, FlashSaleSettings, SaleFailure};
use actors::ports::store::StoreError;
use actors::testkit::{until, until_some};

use super::scene::{SKU, STOCK, Scene, by_hand, by_itself, won};

async fn locked(scene: &Scene) -> i64 {
    scene.shop.stored_rows(SKU).await.iter().map(|row| row.locked).sum()
}

#[actix::test]
async fn arming_carves_the_units_out_and_writes_the_permits() {
    let scene = Scene::open(by_hand()).await;
    let draft = scene.sales.create(scene.new_sale(600, 1)).await.unwrap();
    assert_eq!(draft.state, SaleState::Draft);
    assert!(scene.sales.gate(draft.id).is_none(), "a draft has no gate");
    assert_eq!(locked(&scene).await, 0);

    let armed = scene.sales.arm(draft.id).await.unwrap();

    assert_eq!(armed.phase(scene.now()), SalePhase::Live);
    assert_eq!(locked(&scene).await, 600, "split over both warehouses");
    assert_eq!(scene.permits(draft.id).await, Some(600));
    assert_eq!(scene.sales.gate_of_sku(SKU).unwrap().sale_id(), draft.id);
    assert_eq!(armed.epoch, scene.sale(draft.id).await.epoch);
    scene.assert_sound(&[]).await;
}

#[actix::test]
async fn commands_that_do_not_fit_are_refused_with_the_reason() {
    let scene = Scene::open(by_hand()).await;
    let sales = &scene.sales;
    let price = NewFlashSale { price: Money(0), ..scene.new_sale(10, 1) };
    assert!(matches!(sales.create(price).await, Err(SaleFailure::Invalid(_))));
    let unknown = NewFlashSale { sku_id: SkuId(404), ..scene.new_sale(10, 1) };
    assert_eq!(sales.create(unknown).await, Err(Reject::UnknownSku(SkuId(404)).into()));
    assert_eq!(sales.arm(SaleId(404)).await, Err(SaleFailure::UnknownSale));
    assert_eq!(sales.pause(SaleId(404)).await, Err(SaleFailure::UnknownSale));
    assert_eq!(sales.end(SaleId(404)).await, Err(SaleFailure::UnknownSale));

    let too_many = sales.create(scene.new_sale(STOCK + 1, 1)).await.unwrap();
    let refused = sales.arm(too_many.id).await;
    assert!(matches!(refused, Err(SaleFailure::Rejected(Reject::StockShort(_)))), "{refused:?}");
    assert_eq!(locked(&scene).await, 0);

    let one = sales.create(scene.new_sale(STOCK, 1)).await.unwrap();
    let two = sales.create(scene.new_sale(10, 1)).await.unwrap();
    assert_eq!(sales.resume(one.id).await, Err(SaleFailure::WrongState(SaleState::Draft)));
    sales.arm(one.id).await.unwrap();
    assert_eq!(sales.arm(one.id).await, Err(SaleFailure::WrongState(SaleState::Armed)));
    assert_eq!(sales.arm(two.id).await, Err(SaleFailure::Conflict(one.id)), "not: too little stock");
    assert_eq!(locked(&scene).await, STOCK);

    let now = scene.now();
    let over = NewFlashSale { starts_at: now.minus(Duration::from_secs(9)), ends_at: now, ..scene.new_sale(1, 1) };
    let over = sales.create(over).await.unwrap();
    assert_eq!(sales.arm(over.id).await, Err(SaleFailure::Over));
}

#[actix::test]
async fn nobody_is_let_in_while_paused() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    won(scene.attempt(&gate, 1).await);

    let paused = scene.sales.pause(gate.sale_id()).await.unwrap();
    assert_eq!(paused.state, SaleState::Paused);
    assert_eq!(scene.attempt(&gate, 2).await, Ok(Attempt::Paused));
    assert_eq!(scene.sales.pause(gate.sale_id()).await, Err(SaleFailure::WrongState(SaleState::Paused)));

    scene.sales.resume(gate.sale_id()).await.unwrap();
    won(scene.attempt(&gate, 2).await);
    assert_eq!(scene.sale(gate.sale_id()).await.granted, 2);
}

#[actix::test]
async fn a_pause_on_another_node_is_heard() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let other = scene.another_node(scene.coordination.clone(), by_itself(), 3);
    other.start().await.unwrap();
    let theirs = other.gate(gate.sale_id()).unwrap();

    scene.sales.pause(gate.sale_id()).await.unwrap();
    until("the other gate is paused", || theirs.refuse_early(other.now()) == Some(Attempt::Paused)).await;
    scene.sales.end(gate.sale_id()).await.unwrap();
    until("the other gate is ended", || theirs.refuse_early(other.now()) == Some(Attempt::Ended)).await;
}

#[actix::test]
async fn a_sale_armed_on_another_node_gets_a_gate_here() {
    let scene = Scene::open(by_itself()).await;
    let other = scene.another_node(scene.coordination.clone(), by_hand(), 3);
    other.start().await.unwrap();
    let draft = other.create(scene.new_sale(10, 1)).await.unwrap();
    other.arm(draft.id).await.unwrap();

    let gate = until_some("the gate is here", || async { scene.sales.gate(draft.id) }).await;
    won(scene.attempt(&gate, 1).await);
    assert_eq!(scene.sale(draft.id).await.epoch, gate.sale().epoch);
}

#[actix::test]
async fn ending_gives_the_leftovers_back_before_it_answers() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let first = won(scene.attempt(&gate, 1).await);
    won(scene.attempt(&gate, 2).await);
    scene.order(gate.sale_id(), &[(1, first)]).await;

    assert_eq!(scene.sales.active(), 1);
    scene.sales.end(gate.sale_id()).await.unwrap();

    assert_eq!(scene.sales.active(), 0);
    assert_eq!(locked(&scene).await, 2, "the order's unit and the open grant's");
    assert_eq!(scene.sale(gate.sale_id()).await.state, SaleState::Ended);
    assert_eq!(scene.attempt(&gate, 3).await, Ok(Attempt::Ended));
    assert_eq!(scene.sales.gate_of_sku(SKU).unwrap().refuse_early(scene.now()), Some(Attempt::Ended));
    assert_eq!(scene.permits(gate.sale_id()).await, None, "nothing is left behind");
    scene.sales.end(gate.sale_id()).await.unwrap();

    let next = scene.live(5, 1).await;
    assert_eq!(scene.sales.gate_of_sku(SKU).unwrap().sale_id(), next.sale_id());
    won(scene.attempt(&next, 3).await);
    scene.assert_sound(&[]).await;
}

#[actix::test]
async fn a_sale_that_could_not_be_ended_goes_on() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    scene.shop.store.fail_commit(StoreError::Failed("disk".into()));

    assert!(matches!(scene.sales.end(gate.sale_id()).await, Err(SaleFailure::Unavailable(_))));

    won(scene.attempt(&gate, 1).await);
    scene.sales.end(gate.sale_id()).await.unwrap();
    assert_eq!(scene.attempt(&gate, 2).await, Ok(Attempt::Ended));
}

#[actix::test]
async fn a_sale_past_its_window_is_ended_by_the_refresher() {
    let scene = Scene::open(by_itself()).await;
    let gate = scene.live(10, 1).await;
    won(scene.attempt(&gate, 1).await);

    scene.shop.clock.set(gate.sale().ends_at.0);
    until_some("the store says ended", || async {
        (scene.sale(gate.sale_id()).await.state == SaleState::Ended).then_some(())
    })
    .await;
    assert_eq!(locked(&scene).await, 1);
    scene.assert_sound(&[]).await;
}

#[actix::test]
async fn ended_sales_do_not_pile_up() {
    let scene = Scene::open(FlashSaleSettings { ended_gates: 2, ..by_itself() }).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let gate = scene.live(1, 1).await;
        scene.shop.clock.advance(Duration::from_secs(1));
        scene.sales.end(gate.sale_id()).await.unwrap();
        ids.push(gate.sale_id());
    }
    let known = || ids.iter().filter(|id| scene.sales.gate(**id).is_some()).count();
    until("two are left", || known() == 2).await;
    assert!(scene.sales.gate(ids[3]).is_some(), "the latest stay");
}

#[actix::test]
async fn a_stopped_node_refuses_cleanly() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    scene.sales.stop();
    let told = scene.attempt(&gate, 1).await;
    assert_eq!(super::scene::tally(&[told]).keys().copied().collect::<Vec<_>>(), ["stopping"]);
}

#[actix::test]
async fn what_was_let_in_before_a_stop_is_decided() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(100, 1).await;
    scene.shop.store.before_commit.shut();
    let stopping = async {
        until("the first commit waits", || scene.shop.store.before_commit.waiting() == 1).await;
        scene.sales.stop();
        scene.shop.store.before_commit.open();
    };
    let (told, ()) = tokio::join!(scene.attempts(&gate, 1..=20), stopping);
    assert_eq!(super::scene::winners(&told).len(), 20, "{told:?}");
}
