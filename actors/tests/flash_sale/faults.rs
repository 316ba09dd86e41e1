//! Losing permits, answers, epochs and actors may refuse for a moment; it never sells twice and always recovers.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use actors::domain::UserId;
use actors::domain::reject::{Failure, Unavailable};
use actors::flash_sale::{Attempt, FlashSaleSettings, Gate};
use actors::ports::coordination::{Coordination, SemaphoreContent};
use actors::ports::store::units::{EpochRaise, RaiseEpoch};
use actors::ports::store::{Store, StoreError};
use actors::testkit::{Dice, until, until_some};

use super::scene::{Flaky, Scene, by_hand, by_itself, tally, winners, won};

fn is_unavailable(told: &Result<Attempt, Failure>) -> bool {
    matches!(told, Err(Failure::Unavailable(Unavailable::Dependency(_))))
}

/// Keeps trying until the sale is sold out, and says who won.
async fn sell_out(scene: &Scene, gate: &Gate, first_user: i64) -> Vec<Result<Attempt, Failure>> {
    let mut told = Vec::new();
    for round in 0..100 {
        let from = first_user + round * 50;
        told.extend(scene.attempts(gate, from..from + 50).await);
        if gate.is_sold_out() {
            return told;
        }
    }
    panic!("not sold out: {:?}", tally(&told));
}

#[actix::test]
async fn emptied_permits_are_rebuilt_under_a_new_epoch() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(100, 1).await;
    let mut told = scene.attempts(&gate, 1..=40).await;
    let epoch = gate.sale().epoch;

    scene.coordination.inner.forget(gate.sale_id()).await.unwrap();
    let repeat = scene.attempt(&gate, 1).await;
    assert!(matches!(repeat, Ok(Attempt::AlreadyWon(_))), "{repeat:?}");
    told.extend(sell_out(&scene, &gate, 1_000).await);

    assert_eq!(winners(&told).len(), 100, "{:?}", tally(&told));
    assert!(scene.sale(gate.sale_id()).await.epoch > epoch);
    scene.assert_sound(&told).await;
}

#[actix::test]
async fn a_rebuild_may_take_longer_than_other_calls() {
    let settings = FlashSaleSettings {
        coordination_timeout: Duration::from_millis(200),
        rebuild_timeout: Duration::from_secs(4),
        ..by_hand()
    };
    let scene = Scene::open(settings).await;
    let gate = scene.live(10, 1).await;
    scene.coordination.inner.forget(gate.sale_id()).await.unwrap();
    scene.coordination.rebuild_ms.store(500, Ordering::SeqCst);
    let told = scene.attempts(&gate, 1..=10).await;
    assert_eq!(winners(&told).len(), 10, "{:?}", tally(&told));
    scene.assert_sound(&told).await;
}

#[actix::test]
async fn a_rebuild_has_its_limit() {
    let settings = FlashSaleSettings { rebuild_timeout: Duration::from_millis(100), ..by_hand() };
    let scene = Scene::open(settings).await;
    let gate = scene.live(10, 1).await;
    scene.coordination.inner.forget(gate.sale_id()).await.unwrap();
    scene.coordination.rebuild_ms.store(60_000, Ordering::SeqCst);
    let told = scene.attempt(&gate, 1).await;
    assert!(is_unavailable(&told), "{told:?}");
    scene.coordination.rebuild_ms.store(0, Ordering::SeqCst);
    let told = sell_out(&scene, &gate, 1_000).await;
    assert_eq!(winners(&told).len(), 10, "{:?}", tally(&told));
    scene.assert_sound(&told).await;
}

#[actix::test]
async fn an_epoch_raised_elsewhere_is_adopted() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let sale_id = gate.sale_id();
    let from = gate.sale().epoch;
    let raised = scene.shop.writer.commit(RaiseEpoch { sale_id, from }).await.unwrap();
    let EpochRaise::Raised(epoch) = raised else { panic!("{raised:?}") };
    let content = SemaphoreContent { sale_id, epoch, permits: 10, holders: Vec::new() };
    scene.coordination.inner.rebuild(&content).await.unwrap();

    let told = scene.attempts(&gate, 1..=20).await;

    assert_eq!(tally(&told), BTreeMap::from([("sold out", 10), ("won", 10)]));
    assert_eq!(scene.sale(sale_id).await.epoch, epoch, "no need to raise it again");
}

#[actix::test]
async fn a_batch_overtaken_by_a_rebuild_is_tried_again() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let sale_id = gate.sale_id();
    let from = gate.sale().epoch;
    scene.shop.store.before_commit.shut();
    let overtaking = async {
        until("the commit waits", || scene.shop.store.before_commit.waiting() == 1).await;
        // Past the writer, as another node does it.
        scene.shop.memory.commit(&[RaiseEpoch { sale_id, from }.into()]).await.unwrap();
        let content = SemaphoreContent { sale_id, epoch: from + 1, permits: 10, holders: Vec::new() };
        scene.coordination.inner.rebuild(&content).await.unwrap();
        scene.shop.store.before_commit.open();
    };
    let (told, ()) = tokio::join!(scene.attempt(&gate, 1), overtaking);
    won(told);
    assert_eq!(scene.permits(sale_id).await, Some(9));
}

#[actix::test]
async fn an_epoch_raised_by_a_node_that_died_is_rebuilt() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let sale_id = gate.sale_id();
    let from = gate.sale().epoch;
    scene.shop.writer.commit(RaiseEpoch { sale_id, from }).await.unwrap();

    let told = sell_out(&scene, &gate, 1).await;

    assert_eq!(winners(&told).len(), 10, "{:?}", tally(&told));
    scene.assert_sound(&told).await;
}

#[actix::test]
async fn a_coordination_ahead_of_the_store_is_overruled() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let future = SemaphoreContent { sale_id: gate.sale_id(), epoch: 1 << 40, permits: 1_000, holders: Vec::new() };
    assert!(scene.coordination.inner.rebuild(&future).await.unwrap());

    let told = sell_out(&scene, &gate, 1).await;

    assert_eq!(winners(&told).len(), 10, "{:?}", tally(&told));
}

#[actix::test]
async fn a_restart_sells_the_rest_and_knows_the_winners() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(100, 1).await;
    let mut told = scene.attempts(&gate, 1..=40).await;
    let first = won(told[0].clone());
    scene.sales.stop();

    let empty = Arc::new(Flaky::default());
    let restarted = scene.another_node(empty.clone(), by_hand(), 77);
    restarted.start().await.unwrap();
    assert_eq!(empty.inner.permits(gate.sale_id()).await.unwrap(), Some(60));
    let scene = Scene { sales: restarted, coordination: empty, ..scene };
    let gate = scene.sales.gate(gate.sale_id()).unwrap();
    assert_eq!(scene.attempt(&gate, 1).await, Ok(Attempt::AlreadyWon(first)));
    told.extend(scene.attempts(&gate, 1_000..1_100).await);

    assert_eq!(winners(&told).len(), 100, "{:?}", tally(&told));
    scene.assert_sound(&told).await;
}

#[actix::test]
async fn a_restart_still_knows_what_ended() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    scene.sales.end(gate.sale_id()).await.unwrap();
    let restarted = scene.another_node(Arc::default(), by_hand(), 77);
    restarted.start().await.unwrap();
    let gate = restarted.gate_of_sku(gate.sku_id()).unwrap();
    assert_eq!(restarted.attempt(&gate, UserId(1)).await, Ok(Attempt::Ended));
}

#[actix::test]
async fn missing_permits_while_units_remain_are_not_sold_out() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    scene.coordination.inner.reconcile(gate.sale_id(), gate.sale().epoch, 0).await.unwrap();
    scene.coordination.keeps_permits.store(true, Ordering::SeqCst);

    let told = scene.attempts(&gate, 1..=5).await;
    assert!(told.iter().all(is_unavailable), "{:?}", tally(&told));
    assert!(!gate.is_sold_out());

    scene.coordination.keeps_permits.store(false, Ordering::SeqCst);
    assert!(is_unavailable(&scene.attempt(&gate, 1).await), "this one makes the permits right");
    won(scene.attempt(&gate, 1).await);
}

#[actix::test]
async fn too_many_permits_sell_nothing_twice() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    scene.coordination.inner.reconcile(gate.sale_id(), gate.sale().epoch, 1_000).await.unwrap();

    let told = scene.attempts(&gate, 1..=200).await;

    assert_eq!(tally(&told), BTreeMap::from([("sold out", 190), ("won", 10)]));
    scene.assert_sound(&told).await;
}

#[actix::test]
async fn a_lost_answer_is_asked_for_again_under_the_same_hold() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    scene.coordination.answers_to_lose.store(2, Ordering::SeqCst);

    won(scene.attempt(&gate, 1).await);

    assert_eq!(scene.permits(gate.sale_id()).await, Some(9), "one permit, not three");
}

#[actix::test]
async fn without_coordination_attempts_are_unavailable_and_come_back() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    scene.coordination.is_away.store(true, Ordering::SeqCst);
    let told = scene.attempts(&gate, 1..=5).await;
    assert!(told.iter().all(is_unavailable), "{:?}", tally(&told));

    scene.coordination.is_away.store(false, Ordering::SeqCst);
    let told = scene.attempts(&gate, 1..=20).await;
    assert_eq!(tally(&told), BTreeMap::from([("sold out", 10), ("won", 10)]));
}

#[actix::test]
async fn a_node_starts_while_the_coordination_is_away() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let away = Arc::new(Flaky::default());
    away.is_away.store(true, Ordering::SeqCst);
    let restarted = scene.another_node(away.clone(), by_hand(), 77);
    restarted.start().await.unwrap();
    let gate = restarted.gate(gate.sale_id()).unwrap();
    assert!(is_unavailable(&restarted.attempt(&gate, UserId(1)).await));

    away.is_away.store(false, Ordering::SeqCst);
    won(restarted.attempt(&gate, UserId(1)).await);
}

#[actix::test]
async fn a_commit_of_unknown_outcome_is_read_back() {
    let scene = Scene::open(FlashSaleSettings { commit_timeout: Duration::from_millis(50), ..by_hand() }).await;
    let gate = scene.live(10, 1).await;

    scene.shop.store.after_commit.shut();
    let told = scene.attempts(&gate, 1..=1).await;
    scene.shop.store.after_commit.open();

    won(told[0].clone());
    scene.assert_sound(&told).await;
}

#[actix::test]
async fn a_commit_that_did_not_happen_is_no_win_and_leaks_nothing() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(1, 1).await;
    scene.shop.store.fail_commit(StoreError::Unknown("connection lost".into()));

    assert!(is_unavailable(&scene.attempt(&gate, 1).await));

    won(scene.attempt(&gate, 2).await);
    assert_eq!(scene.attempt(&gate, 1).await, Ok(Attempt::SoldOut));
}

#[actix::test]
async fn a_panic_costs_one_batch() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    won(scene.attempt(&gate, 1).await);
    scene.coordination.panics.store(true, Ordering::SeqCst);

    assert!(is_unavailable(&scene.attempt(&gate, 2).await));

    until_some("a new semaphore sells", || async { scene.attempt(&gate, 2).await.ok() }).await;
    assert_eq!(scene.sale(gate.sale_id()).await.granted, 2);
}

#[actix::test]
async fn a_buyer_who_left_before_the_batch_wins_nothing() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    scene.shop.store.before_commit.shut();
    let leaving = async {
        until("the first commit waits", || scene.shop.store.before_commit.waiting() == 1).await;
        let impatient = tokio::time::timeout(Duration::ZERO, scene.attempt(&gate, 2)).await;
        assert!(impatient.is_err());
        scene.shop.store.before_commit.open();
    };
    let (told, ()) = tokio::join!(scene.attempt(&gate, 1), leaving);
    won(told);
    won(scene.attempt(&gate, 3).await);
    assert_eq!(scene.sale(gate.sale_id()).await.granted, 2);
}

/// Two nodes, faults at random, some orders closing: never more sold than there is, and in the end all of it.
#[actix::test]
async fn faults_at_random_never_oversell_and_end_sold_out() {
    let seeds: Vec<u64> = match std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()) {
        Some(seed) => vec![seed],
        None => (0..12).collect(),
    };
    for seed in seeds {
        eprintln!("SEED={seed}");
        let dice = Dice::new(seed);
        let scene = Scene::open(by_itself()).await;
        let limit = 1 + u32::from(dice.one_in(3));
        let gate = scene.live(60, limit).await;
        let sale_id = gate.sale_id();
        let other = scene.another_node(scene.coordination.clone(), by_itself(), 1_000 + seed);
        other.start().await.unwrap();
        let theirs = other.gate(sale_id).unwrap();
        let mut told = Vec::new();
        for round in 0..12_i64 {
            match dice.below(6) {
                0 => scene.coordination.inner.forget(sale_id).await.unwrap(),
                1 => scene.coordination.answers_to_lose.store(1 + dice.below(4), Ordering::SeqCst),
                2 => scene.coordination.panics.store(true, Ordering::SeqCst),
                3 => scene.shop.store.fail_commit(StoreError::Unknown("lost".into())),
                4 => drop(scene.coordination.inner.reconcile(sale_id, gate.sale().epoch, dice.below(90) as i64).await),
                _ => {}
            }
            let users = || (0..10).map(|_| round * 5 + dice.below(15) as i64).collect::<Vec<_>>();
            let (mine, others) = (users(), users());
            let theirs = others.iter().map(|user| other.attempt(&theirs, UserId(*user)));
            let (mine, others) = tokio::join!(scene.attempts(&gate, mine), futures_util::future::join_all(theirs));
            told.extend(mine);
            told.extend(others);
        }
        let (users, rest_told) = (AtomicI64::new(10_000), RefCell::new(Vec::new()));
        until_some("all is sold", || async {
            let user = users.fetch_add(10, Ordering::SeqCst);
            let told = scene.attempts(&gate, user..user + 10).await;
            rest_told.borrow_mut().extend(told);
            gate.is_sold_out().then_some(())
        })
        .await;
        told.extend(rest_told.into_inner());
        let sale = scene.sale(sale_id).await;
        assert_eq!(sale.granted, 60, "seed {seed}: {:?}", tally(&told));
        assert!(winners(&told).len() <= 60);
        scene.assert_sound(&told).await;
        other.stop();
        scene.sales.stop();
    }
}
