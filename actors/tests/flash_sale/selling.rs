//! Who wins, who is told what.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use actors::domain::flash_sale::NewFlashSale;
use actors::domain::{Timestamp, UserId};
use actors::flash_sale::{Attempt, FlashSaleSettings};
use actors::testkit::{until, until_some};
use futures_util::FutureExt;
use futures_util::future::join_all;

use super::scene::{Scene, Told, by_hand, by_itself, tally, winners, won};

fn is_win(told: &Told) -> bool {
    matches!(told, Ok(Attempt::Won(_)))
}

#[actix::test]
async fn of_500_buyers_exactly_100_win_100_units() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(100, 1).await;

    let told = scene.attempts(&gate, 1..=500).await;

    assert_eq!(tally(&told), BTreeMap::from([("won", 100), ("sold out", 400)]));
    scene.assert_sound(&told).await;
    assert!(gate.is_sold_out());
    assert_eq!(gate.refuse_early(scene.sales.now()), Some(Attempt::SoldOut));
    let sale = scene.sale(gate.sale_id()).await;
    assert_eq!((sale.granted, sale.remaining()), (100, 0));
}

#[actix::test]
async fn one_buyer_wins_once_however_often_and_hears_the_same_number() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(100, 1).await;

    let told = scene.attempts(&gate, std::iter::repeat_n(7, 500)).await;

    assert_eq!(tally(&told), BTreeMap::from([("already won", 499), ("won", 1)]));
    let first = winners(&told).remove(0);
    assert!(told.iter().all(|told| matches!(told, Ok(Attempt::Won(sn) | Attempt::AlreadyWon(sn)) if *sn == first)));
    assert_eq!(scene.attempt(&gate, 7).await, Ok(Attempt::AlreadyWon(first)));
    scene.assert_sound(&told).await;
}

#[actix::test]
async fn a_higher_limit_lets_a_buyer_win_so_often() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(100, 3).await;

    let told = scene.attempts(&gate, std::iter::repeat_n(7, 50)).await;

    assert_eq!(tally(&told), BTreeMap::from([("already won", 47), ("won", 3)]));
    let first = winners(&told).remove(0);
    let repeats = told.iter().filter(|told| **told == Ok(Attempt::AlreadyWon(first.clone())));
    assert_eq!(repeats.count(), 47, "every repeat hears the first number");
    scene.assert_sound(&told).await;
}

#[actix::test]
async fn batches_are_what_queued_while_the_last_was_in_flight() {
    let scene = Scene::open(FlashSaleSettings { max_batch: 64, ..by_hand() }).await;
    let gate = scene.live(100, 1).await;
    let commits_before = scene.shop.store.batches().len();

    scene.shop.store.before_commit.shut();
    let told = scene.attempts(&gate, 1..=129);
    let stepping = async {
        until("the lone first is on its way", || scene.shop.store.before_commit.waiting() == 1).await;
        scene.shop.store.before_commit.open();
    };
    let (told, ()) = tokio::join!(told, stepping);

    assert_eq!(tally(&told), BTreeMap::from([("sold out", 29), ("won", 100)]));
    let commits = scene.shop.store.batches().len() - commits_before;
    assert_eq!(commits, 3, "1, 64, and the 64 of which 35 find a permit");
}

#[actix::test]
async fn first_come_first_served_within_a_batch_and_across_batches() {
    const UNITS: i64 = 100;
    for max_batch in [1024, 64, 7, 1] {
        let scene = Scene::open(FlashSaleSettings { max_batch, ..by_hand() }).await;
        let gate = scene.live(UNITS, 1).await;

        // The lone first is held at its commit while all others queue behind it, in the order of their numbers.
        scene.shop.store.before_commit.shut();
        let told = scene.attempts(&gate, 1..=500);
        let stepping = async {
            until("the lone first is on its way", || scene.shop.store.before_commit.waiting() == 1).await;
            scene.shop.store.before_commit.open();
        };
        let (told, ()) = tokio::join!(told, stepping);

        let won_by: Vec<usize> = (1..).zip(&told).filter(|(_, told)| is_win(told)).map(|(user, _)| user).collect();
        assert_eq!(won_by, (1..=100).collect::<Vec<_>>(), "with batches of {max_batch}");
        assert_eq!(tally(&told), BTreeMap::from([("sold out", 400), ("won", 100)]));
        scene.assert_sound(&told).await;
    }
}

#[actix::test]
async fn whoever_comes_after_a_batch_was_formed_is_served_after_it() {
    let scene = Scene::open(FlashSaleSettings { max_batch: 4, ..by_hand() }).await;
    let gate = scene.live(6, 1).await;
    let gate_of_store = &scene.shop.store.before_commit;

    // Commit by commit: attempts that come while one runs stand behind all that wait.
    gate_of_store.shut();
    let early = scene.attempts(&gate, 1..=5);
    let late = async {
        until("the lone first is on its way", || gate_of_store.waiting() == 1).await;
        gate_of_store.step();
        until("the next four are on their way", || gate_of_store.waiting() == 1 && gate_of_store.passed() > 0).await;
        let late = scene.attempts(&gate, 6..=9);
        tokio::pin!(late);
        assert!(late.as_mut().now_or_never().is_none(), "queued behind the commit");
        gate_of_store.open();
        late.await
    };
    let (early, late) = tokio::join!(early, late);

    assert_eq!(tally(&early), BTreeMap::from([("won", 5)]));
    assert!(is_win(&late[0]) && late[1..].iter().all(|told| *told == Ok(Attempt::SoldOut)), "{late:?}");
}

#[actix::test]
async fn a_sold_out_sale_answers_from_the_gate_alone() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    scene.attempts(&gate, 1..=20).await;
    let reads = scene.shop.store.calls();
    let commits = scene.shop.store.batches().len();
    let calls = scene.coordination.calls.load(Ordering::SeqCst);

    let now = scene.sales.now();
    for user in 0..10_000 {
        assert_eq!(gate.refuse_early(now), Some(Attempt::SoldOut));
        let told = scene.attempt(&gate, 100 + user).now_or_never();
        assert_eq!(told, Some(Ok(Attempt::SoldOut)), "without waiting for anything");
    }

    assert_eq!(scene.shop.store.calls(), reads);
    assert_eq!(scene.shop.store.batches().len(), commits);
    assert_eq!(scene.coordination.calls.load(Ordering::SeqCst), calls);
}

#[actix::test]
async fn a_winner_of_a_sold_out_sale_hears_the_number_on_any_node() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(3, 1).await;
    let told = scene.attempts(&gate, 1..=5).await;
    let first = won(told[0].clone());
    assert_eq!(scene.attempt(&gate, 1).await, Ok(Attempt::AlreadyWon(first.clone())));

    let other = scene.another_node(scene.coordination.clone(), by_itself(), 3);
    other.start().await.unwrap();
    let gate = other.gate(gate.sale_id()).unwrap();
    until("the other node knows who won", || gate.refuse_early_for(UserId(1), other.now()).is_none()).await;
    assert_eq!(other.attempt(&gate, UserId(1)).await, Ok(Attempt::AlreadyWon(first)));
    assert_eq!(other.attempt(&gate, UserId(4)).await, Ok(Attempt::SoldOut));
}

#[actix::test]
async fn the_window_has_sharp_edges() {
    let scene = Scene::open(by_hand()).await;
    let start = scene.now();
    let new = NewFlashSale {
        starts_at: Timestamp(start.0 + 1_000),
        ends_at: Timestamp(start.0 + 2_000),
        ..scene.new_sale(10, 1)
    };
    let draft = scene.sales.create(new).await.unwrap();
    scene.sales.arm(draft.id).await.unwrap();
    let gate = scene.sales.gate(draft.id).unwrap();

    scene.shop.clock.set(start.0 + 999);
    assert_eq!(scene.attempt(&gate, 1).await, Ok(Attempt::NotStarted));
    scene.shop.clock.set(start.0 + 1_000);
    won(scene.attempt(&gate, 1).await);
    scene.shop.clock.set(start.0 + 1_999);
    won(scene.attempt(&gate, 2).await);
    scene.shop.clock.set(start.0 + 2_000);
    assert_eq!(scene.attempt(&gate, 3).await, Ok(Attempt::Ended));
    assert_eq!(scene.attempt(&gate, 1).await, Ok(Attempt::Ended));
}

#[actix::test]
async fn a_batch_that_meets_the_end_of_the_window_is_told_so() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let ends_at = gate.sale().ends_at;

    scene.shop.store.before_commit.shut();
    let ending = async {
        until("the commit waits", || scene.shop.store.before_commit.waiting() == 1).await;
        scene.shop.clock.set(ends_at.0);
        scene.shop.store.before_commit.open();
    };
    let (told, ()) = tokio::join!(scene.attempts(&gate, 1..=4), ending);

    assert_eq!(tally(&told), BTreeMap::from([("ended", 4)]));
    assert_eq!(scene.sale(gate.sale_id()).await.granted, 0);
}

#[actix::test]
async fn a_unit_of_a_closed_order_is_sold_again() {
    let scene = Scene::open(by_itself()).await;
    let gate = scene.live(2, 1).await;
    let first = won(scene.attempt(&gate, 1).await);
    won(scene.attempt(&gate, 2).await);
    assert_eq!(scene.attempt(&gate, 3).await, Ok(Attempt::SoldOut));

    scene.order(gate.sale_id(), &[(1, first.clone())]).await;
    scene.close(&first).await;
    let again = until_some("the gate lets a buyer win again", || async {
        match scene.attempt(&gate, 3).await {
            Ok(Attempt::SoldOut) => None,
            told => Some(told),
        }
    });
    won(again.await);

    assert_eq!(scene.attempt(&gate, 4).await, Ok(Attempt::SoldOut));
    let repeat = scene.attempt(&gate, 1).await;
    assert!(matches!(repeat, Ok(Attempt::SoldOut | Attempt::AlreadyWon(_))), "a lapsed grant still counts: {repeat:?}");
    scene.assert_sound(&[]).await;
}

#[actix::test]
async fn a_buyer_whose_grant_failed_may_win_again() {
    for limit in [1, 2] {
        let scene = Scene::open(by_hand()).await;
        let gate = scene.live(10, limit).await;
        let numbers: Vec<_> =
            join_all((0..limit).map(|_| scene.attempt(&gate, 1))).await.into_iter().map(won).collect();
        assert_eq!(scene.attempt(&gate, 1).await, Ok(Attempt::AlreadyWon(numbers[0].clone())));

        scene.fail(&numbers[0], "no such member").await;
        scene.sales.refresh_sale(gate.sale_id()).await.unwrap();

        let told = scene.attempt(&gate, 1).await;
        assert!(!numbers.contains(&won(told)), "a failed grant does not count against its user");
        scene.assert_sound(&[]).await;
    }
}

#[actix::test]
async fn more_attempts_than_places_are_overload_at_once() {
    let scene = Scene::open(FlashSaleSettings { attempts_per_sale: 10, ..by_hand() }).await;
    let gate = scene.live(100, 1).await;

    scene.shop.store.before_commit.shut();
    let admitted = scene.attempts(&gate, 1..=10);
    let others = async {
        until("the first commit waits", || scene.shop.store.before_commit.waiting() == 1).await;
        let told: Vec<_> = (11..=500).map(|user| scene.attempt(&gate, user).now_or_never()).collect();
        scene.shop.store.before_commit.open();
        told.into_iter().map(|told| told.expect("refused without waiting")).collect::<Vec<_>>()
    };
    let (admitted, others) = tokio::join!(admitted, others);

    assert_eq!(tally(&admitted), BTreeMap::from([("won", 10)]));
    assert_eq!(tally(&others), BTreeMap::from([("overloaded", 490)]));
    won(scene.attempt(&gate, 600).await);
}
