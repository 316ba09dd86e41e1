//! What every adapter of [`Coordination`] must do. Run it with [`coordination_contract!`](crate::coordination_contract).
//!
//! Each test takes a sale of its own, so that the adapters may share one server and keep what earlier runs left.

use std::time::Duration;

use tokio::time::timeout;

use crate::domain::{OrderSn, SaleId, UserId};
use crate::ports::coordination::{AcquireBatch, Acquired, Coordination, Permit, SemaphoreContent};

/// Writes one test per clause of the contract; `$make` is a future of the adapter under test.
#[macro_export]
macro_rules! coordination_contract {
    ($make:expr) => {
        $crate::coordination_contract!(@tests $make;
            a_missing_semaphore_is_stale,
            another_epoch_is_stale,
            permits_go_in_the_order_asked,
            a_repeated_hold_takes_nothing_more,
            the_limit_counts_holders_and_earlier_batches,
            refused_buyers_give_back_permit_and_count,
            ending_a_hold_twice_changes_nothing,
            only_buyers_of_the_hold_give_back,
            a_hold_of_an_older_epoch_ends_without_effect,
            rebuild_replaces_all_but_a_later_epoch,
            reconcile_leaves_room_for_live_holds,
            reconcile_of_another_epoch_changes_nothing,
            a_forgotten_sale_is_missing,
            racing_batches_never_exceed_the_permits,
            every_listener_hears_the_count_down,
            a_token_is_new_once,
        );
    };
    (@tests $make:expr; $($name:ident),* $(,)?) => {
        $(
            #[tokio::test]
            async fn $name() {
                let coordination = std::sync::Arc::new($make.await);
                $crate::ports::contract::coordination::$name(coordination).await;
            }
        )*
    };
}

type Subject<C> = std::sync::Arc<C>;

/// A sale id that no other test and no earlier run uses.
fn fresh_sale() -> SaleId {
    let bits = getrandom::u64().expect("the machine has random bits");
    SaleId(i64::try_from(bits >> 2).expect("62 bits fit"))
}

fn users(range: std::ops::Range<i64>) -> Vec<UserId> {
    range.map(UserId).collect()
}

fn batch(sale_id: SaleId, hold_id: u64, users: Vec<UserId>) -> AcquireBatch {
    AcquireBatch { sale_id, epoch: 1, hold_id, per_user_limit: 1, users }
}

async fn sale_of<C: Coordination>(coordination: &C, permits: i64, holders: Vec<(UserId, u32)>) -> SaleId {
    let sale_id = fresh_sale();
    let content = SemaphoreContent { sale_id, epoch: 1, permits, holders };
    assert!(coordination.rebuild(&content).await.expect("rebuild"), "a missing semaphore is rebuilt");
    sale_id
}

async fn acquire<C: Coordination>(coordination: &C, batch: &AcquireBatch) -> Vec<Permit> {
    match coordination.try_acquire(batch).await.expect("try_acquire") {
        Acquired::Decided(permits) => permits,
        Acquired::Stale => panic!("stale: {batch:?}"),
    }
}

async fn permits<C: Coordination>(coordination: &C, sale_id: SaleId) -> Option<i64> {
    coordination.permits(sale_id).await.expect("permits")
}

/// Nothing is sold from nothing: a missing key never means "full" or "plenty".
pub async fn a_missing_semaphore_is_stale<C: Coordination>(coordination: Subject<C>) {
    let sale_id = fresh_sale();
    let answer = coordination.try_acquire(&batch(sale_id, 1, users(1..3))).await.expect("try_acquire");
    assert_eq!(answer, Acquired::Stale);
    assert_eq!(permits(&*coordination, sale_id).await, None);
    assert!(!coordination.reconcile(sale_id, 1, 5).await.expect("reconcile"), "reconcile makes no semaphore");
    assert_eq!(permits(&*coordination, sale_id).await, None);
}

/// Earlier and later epochs alike.
pub async fn another_epoch_is_stale<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 5, Vec::new()).await;
    for epoch in [0, 2] {
        let other = AcquireBatch { epoch, ..batch(sale_id, 1, users(1..3)) };
        assert_eq!(coordination.try_acquire(&other).await.expect("try_acquire"), Acquired::Stale);
    }
    assert_eq!(permits(&*coordination, sale_id).await, Some(5));
}

/// First come, first served, inside a batch too.
pub async fn permits_go_in_the_order_asked<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 2, Vec::new()).await;
    let decided = acquire(&*coordination, &batch(sale_id, 1, users(1..5))).await;
    assert_eq!(decided, [Permit::Acquired, Permit::Acquired, Permit::NoneFree, Permit::NoneFree]);
    assert_eq!(permits(&*coordination, sale_id).await, Some(0));
}

/// A call that timed out is asked again (DESIGN rule 6).
pub async fn a_repeated_hold_takes_nothing_more<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 3, Vec::new()).await;
    let first = acquire(&*coordination, &batch(sale_id, 7, users(1..5))).await;
    let second = acquire(&*coordination, &batch(sale_id, 7, users(1..5))).await;
    assert_eq!(first, second);
    assert_eq!(permits(&*coordination, sale_id).await, Some(0));
    coordination.end_hold(sale_id, 1, 7, &users(1..4)).await.expect("end_hold");
    assert_eq!(permits(&*coordination, sale_id).await, Some(3));
}

/// The limit is looked at before the permits, so that a winner hears of the first win when all is sold.
pub async fn the_limit_counts_holders_and_earlier_batches<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 2, vec![(UserId(1), 2), (UserId(2), 1)]).await;
    let two_each = |hold_id, users| AcquireBatch { per_user_limit: 2, ..batch(sale_id, hold_id, users) };
    let decided = acquire(&*coordination, &two_each(1, users(1..4))).await;
    assert_eq!(decided, [Permit::LimitReached, Permit::Acquired, Permit::Acquired]);
    let decided = acquire(&*coordination, &two_each(2, users(1..4))).await;
    assert_eq!(decided, [Permit::LimitReached, Permit::LimitReached, Permit::NoneFree]);
}

/// Who got a permit but no grant may try again.
pub async fn refused_buyers_give_back_permit_and_count<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 2, Vec::new()).await;
    acquire(&*coordination, &batch(sale_id, 1, users(1..3))).await;
    coordination.end_hold(sale_id, 1, 1, &users(2..3)).await.expect("end_hold");
    assert_eq!(permits(&*coordination, sale_id).await, Some(1));
    let decided = acquire(&*coordination, &batch(sale_id, 2, users(1..3))).await;
    assert_eq!(decided, [Permit::LimitReached, Permit::Acquired]);
}

/// The answer to `end_hold` may have been lost.
pub async fn ending_a_hold_twice_changes_nothing<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 2, Vec::new()).await;
    acquire(&*coordination, &batch(sale_id, 1, users(1..3))).await;
    for _ in 0..2 {
        coordination.end_hold(sale_id, 1, 1, &users(1..3)).await.expect("end_hold");
        assert_eq!(permits(&*coordination, sale_id).await, Some(2));
    }
    coordination.end_hold(sale_id, 1, 99, &users(1..3)).await.expect("end_hold of an unknown hold");
    assert_eq!(permits(&*coordination, sale_id).await, Some(2));
}

/// Naming a buyer who took nothing makes no permit.
pub async fn only_buyers_of_the_hold_give_back<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 1, vec![(UserId(9), 1)]).await;
    let decided = acquire(&*coordination, &batch(sale_id, 1, vec![UserId(9), UserId(1), UserId(2)])).await;
    assert_eq!(decided, [Permit::LimitReached, Permit::Acquired, Permit::NoneFree]);
    let strangers = [UserId(9), UserId(2), UserId(3)];
    coordination.end_hold(sale_id, 1, 1, &strangers).await.expect("end_hold");
    assert_eq!(permits(&*coordination, sale_id).await, Some(0));
    let decided = acquire(&*coordination, &batch(sale_id, 2, vec![UserId(9)])).await;
    assert_eq!(decided, [Permit::LimitReached]);
}

/// The permits of an epoch die with it.
pub async fn a_hold_of_an_older_epoch_ends_without_effect<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 2, Vec::new()).await;
    acquire(&*coordination, &batch(sale_id, 1, users(1..3))).await;
    let content = SemaphoreContent { sale_id, epoch: 2, permits: 2, holders: Vec::new() };
    assert!(coordination.rebuild(&content).await.expect("rebuild"));
    coordination.end_hold(sale_id, 1, 1, &users(1..3)).await.expect("end_hold");
    assert_eq!(permits(&*coordination, sale_id).await, Some(2));
}

/// A slow rebuild cannot undo a later one.
pub async fn rebuild_replaces_all_but_a_later_epoch<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 5, vec![(UserId(1), 1)]).await;
    acquire(&*coordination, &batch(sale_id, 1, users(2..4))).await;

    let later = SemaphoreContent { sale_id, epoch: 3, permits: 4, holders: vec![(UserId(3), 1)] };
    assert!(coordination.rebuild(&later).await.expect("rebuild"));
    assert_eq!(permits(&*coordination, sale_id).await, Some(4));
    let again = AcquireBatch { epoch: 3, ..batch(sale_id, 1, users(1..4)) };
    let decided = acquire(&*coordination, &again).await;
    assert_eq!(decided, [Permit::Acquired, Permit::Acquired, Permit::LimitReached], "holders and holds are replaced");

    let earlier = SemaphoreContent { sale_id, epoch: 2, permits: 100, holders: Vec::new() };
    assert!(!coordination.rebuild(&earlier).await.expect("rebuild"));
    assert_eq!(permits(&*coordination, sale_id).await, Some(2));
    assert!(coordination.rebuild(&later).await.expect("rebuild"), "the same epoch may be rebuilt");
    assert_eq!(permits(&*coordination, sale_id).await, Some(4));
}

/// What is being committed is not free.
pub async fn reconcile_leaves_room_for_live_holds<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 10, Vec::new()).await;
    acquire(&*coordination, &batch(sale_id, 1, users(0..4))).await;
    assert!(coordination.reconcile(sale_id, 1, 10).await.expect("reconcile"));
    assert_eq!(permits(&*coordination, sale_id).await, Some(6));
    coordination.end_hold(sale_id, 1, 1, &[]).await.expect("end_hold");
    assert!(coordination.reconcile(sale_id, 1, 6).await.expect("reconcile"));
    assert_eq!(permits(&*coordination, sale_id).await, Some(6));
    acquire(&*coordination, &batch(sale_id, 2, users(10..14))).await;
    assert!(coordination.reconcile(sale_id, 1, 1).await.expect("reconcile"));
    assert_eq!(permits(&*coordination, sale_id).await, Some(0), "never below zero");
}

/// A node that missed a rebuild cannot spoil it.
pub async fn reconcile_of_another_epoch_changes_nothing<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 10, Vec::new()).await;
    for epoch in [0, 2] {
        assert!(!coordination.reconcile(sale_id, epoch, 3).await.expect("reconcile"));
        assert_eq!(permits(&*coordination, sale_id).await, Some(10));
    }
}

/// Ended sales leave nothing behind.
pub async fn a_forgotten_sale_is_missing<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 10, Vec::new()).await;
    acquire(&*coordination, &batch(sale_id, 1, users(0..4))).await;
    for _ in 0..2 {
        coordination.forget(sale_id).await.expect("forget");
        assert_eq!(permits(&*coordination, sale_id).await, None);
    }
    let answer = coordination.try_acquire(&batch(sale_id, 1, users(0..4))).await.expect("try_acquire");
    assert_eq!(answer, Acquired::Stale);
}

/// A batch is one step.
pub async fn racing_batches_never_exceed_the_permits<C: Coordination>(coordination: Subject<C>) {
    let sale_id = sale_of(&*coordination, 50, Vec::new()).await;
    let racers = (0..20_u64).map(|hold_id| {
        let coordination = coordination.clone();
        let first = i64::try_from(hold_id).expect("small") * 5;
        // Neighbours share five of their ten buyers.
        tokio::spawn(async move { acquire(&*coordination, &batch(sale_id, hold_id, users(first..first + 10))).await })
    });
    let mut acquired = 0;
    for racer in racers.collect::<Vec<_>>() {
        let decided = racer.await.expect("racer");
        acquired += decided.iter().filter(|permit| **permit == Permit::Acquired).count();
    }
    assert_eq!(acquired, 50);
    assert_eq!(permits(&*coordination, sale_id).await, Some(0));
}

/// Every node's latch hears every hint.
pub async fn every_listener_hears_the_count_down<C: Coordination>(coordination: Subject<C>) {
    const PATIENCE: Duration = Duration::from_secs(5);
    let numbers: Vec<OrderSn> =
        (0..3).map(|n| OrderSn::parse(&format!("hint-{}-{n}", fresh_sale())).expect("grammar")).collect();
    let mut listeners = [coordination.hints(), coordination.hints()];
    coordination.count_down(&[]).await.expect("nothing to count down is fine");
    coordination.count_down(&numbers).await.expect("count_down");
    for listener in &mut listeners {
        for number in &numbers {
            // A shared server may carry hints of others.
            let heard = async { while listener.recv().await.expect("hint") != *number {} };
            timeout(PATIENCE, heard).await.expect("the hint arrives");
        }
    }
}

/// Seen is seen.
pub async fn a_token_is_new_once<C: Coordination>(coordination: Subject<C>) {
    let (one, other) = (format!("token-{}", fresh_sale()), format!("token-{}", fresh_sale()));
    assert!(coordination.mark_token(&one).await.expect("mark_token"));
    assert!(!coordination.mark_token(&one).await.expect("mark_token"));
    assert!(coordination.mark_token(&other).await.expect("mark_token"));
}
