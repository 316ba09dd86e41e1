//! Waiting for the order of a grant.

use std::sync::atomic::Ordering;
use std::time::Duration;

use actors::domain::reject::{Failure, Unavailable};
use actors::domain::{OrderSn, UserId};
use actors::flash_sale::{AttemptStatus, FlashSaleSettings};
use actors::ports::coordination::Coordination;
use actors::testkit::until;
use futures_util::future::join_all;

use super::scene::{NEVER, Scene, by_hand, by_itself, won};

const LONG: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(20);

fn reads(scene: &Scene) -> usize {
    scene.shop.store.calls().get("grants").copied().unwrap_or(0)
}

async fn wait(scene: &Scene, user: i64, order_sn: &OrderSn, at_most: Duration) -> Result<AttemptStatus, Failure> {
    scene.sales.wait(UserId(user), order_sn, at_most).await
}

#[actix::test]
async fn a_hint_wakes_the_waiter_who_then_reads_the_store() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let number = won(scene.attempt(&gate, 1).await);
    let before = reads(&scene);
    let hinting = async {
        until("the waiter was looked up", || reads(&scene) == before + 1).await;
        scene.coordination.count_down(std::slice::from_ref(&number)).await.unwrap();
        until("the hint made it look", || reads(&scene) == before + 2).await;
        scene.order(gate.sale_id(), &[(1, number.clone())]).await;
        scene.coordination.count_down(std::slice::from_ref(&number)).await.unwrap();
    };
    let (status, ()) = tokio::join!(wait(&scene, 1, &number, LONG), hinting);
    assert_eq!(status, Ok(AttemptStatus::Ordered));
    assert_eq!(reads(&scene), before + 3, "the first hint was not the truth");
}

#[actix::test]
async fn a_lost_hint_is_found_by_the_poll() {
    let scene = Scene::open(by_itself()).await;
    let gate = scene.live(10, 1).await;
    let number = won(scene.attempt(&gate, 1).await);
    let before = reads(&scene);
    let ordering = async {
        until("the waiter was looked up", || reads(&scene) > before).await;
        scene.order(gate.sale_id(), &[(1, number.clone())]).await;
    };
    let (status, ()) = tokio::join!(wait(&scene, 1, &number, LONG), ordering);
    assert_eq!(status, Ok(AttemptStatus::Ordered));
}

#[actix::test]
async fn a_decided_grant_is_answered_at_once() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let ordered = won(scene.attempt(&gate, 1).await);
    let failed = won(scene.attempt(&gate, 2).await);
    scene.order(gate.sale_id(), &[(1, ordered.clone())]).await;
    scene.fail(&failed, "no such member").await;
    for at_most in [Duration::ZERO, NEVER] {
        assert_eq!(wait(&scene, 1, &ordered, at_most).await, Ok(AttemptStatus::Ordered));
        assert_eq!(wait(&scene, 2, &failed, at_most).await, Ok(AttemptStatus::Failed("no such member".into())));
    }
}

#[actix::test]
async fn a_foreign_grant_looks_like_none() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let number = won(scene.attempt(&gate, 1).await);
    let absent = OrderSn::parse("12345").unwrap();
    for at_most in [Duration::ZERO, LONG] {
        assert_eq!(wait(&scene, 2, &number, at_most).await, Ok(AttemptStatus::Unknown));
        assert_eq!(wait(&scene, 1, &absent, at_most).await, Ok(AttemptStatus::Unknown));
    }
}

#[actix::test]
async fn a_wait_is_over_when_it_is_over() {
    let settings = FlashSaleSettings { wait_at_most: SHORT, ..by_hand() };
    let scene = Scene::open(settings).await;
    let gate = scene.live(10, 1).await;
    let number = won(scene.attempt(&gate, 1).await);
    assert_eq!(wait(&scene, 1, &number, Duration::ZERO).await, Ok(AttemptStatus::Pending));
    assert_eq!(wait(&scene, 1, &number, NEVER).await, Ok(AttemptStatus::Pending), "capped");
}

#[actix::test]
async fn waiters_are_bounded_for_each_user_and_for_the_node() {
    let settings = FlashSaleSettings { waiters: 3, waiters_per_user: 2, ..by_hand() };
    let scene = Scene::open(settings).await;
    let gate = scene.live(10, 1).await;
    let (one, two) = (won(scene.attempt(&gate, 1).await), won(scene.attempt(&gate, 2).await));
    let overloaded = Err(Failure::Unavailable(Unavailable::Overloaded));

    let before = reads(&scene);
    let others = async {
        until("the first two wait", || reads(&scene) > before).await;
        assert_eq!(wait(&scene, 1, &one, LONG).await, overloaded, "two per user");
        let (waits, refused) = tokio::join!(wait(&scene, 2, &two, SHORT), wait(&scene, 2, &two, LONG));
        assert_eq!(waits, Ok(AttemptStatus::Pending));
        assert_eq!(refused, overloaded, "three on the node");
        scene.order(gate.sale_id(), &[(1, one.clone()), (2, two.clone())]).await;
        scene.coordination.count_down(std::slice::from_ref(&one)).await.unwrap();
    };
    let (first, second, ()) = tokio::join!(wait(&scene, 1, &one, LONG), wait(&scene, 1, &one, LONG), others);
    assert_eq!((first, second), (Ok(AttemptStatus::Ordered), Ok(AttemptStatus::Ordered)));
    for _ in 0..5 {
        until_place(&scene, &two).await;
    }
}

/// Places are free again: a later wait is let in.
async fn until_place(scene: &Scene, order_sn: &OrderSn) {
    actors::testkit::until_some("a place is free", || async {
        wait(scene, 2, order_sn, LONG).await.ok().filter(|status| *status == AttemptStatus::Ordered)
    })
    .await;
}

#[actix::test]
async fn all_waiters_are_read_in_one_query() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(100, 1).await;
    let told = scene.attempts(&gate, 1..=50).await;
    let numbers: Vec<(i64, OrderSn)> = (1..).zip(told.into_iter().map(won)).collect();

    let before = reads(&scene);
    let waits = numbers.iter().map(|(user, number)| wait(&scene, *user, number, LONG));
    let ordering = async {
        until("everybody was looked up", || reads(&scene) >= before + 2).await;
        let first_looks = reads(&scene);
        scene.order(gate.sale_id(), &numbers).await;
        let all: Vec<OrderSn> = numbers.iter().map(|(_, number)| number.clone()).collect();
        scene.coordination.count_down(&all).await.unwrap();
        first_looks
    };
    let (statuses, first_looks) = tokio::join!(join_all(waits), ordering);

    assert!(statuses.iter().all(|status| *status == Ok(AttemptStatus::Ordered)), "{statuses:?}");
    assert_eq!(first_looks, before + 2, "the first alone, the others together");
    assert_eq!(reads(&scene), first_looks + 1, "one query for fifty hints");
}

#[actix::test]
async fn waiters_of_a_stopping_node_hear_so() {
    let scene = Scene::open(by_hand()).await;
    let gate = scene.live(10, 1).await;
    let number = won(scene.attempt(&gate, 1).await);
    let before = reads(&scene);
    let stopping = async {
        until("the waiter was looked up", || reads(&scene) > before).await;
        scene.sales.stop();
    };
    let (status, ()) = tokio::join!(wait(&scene, 1, &number, LONG), stopping);
    assert_eq!(status, Err(Failure::Unavailable(Unavailable::Stopping)));
    assert!(scene.coordination.calls.load(Ordering::SeqCst) > 0);
}
