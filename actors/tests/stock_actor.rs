//! Stock actors over the reference store: who gets units, what is flushed together, and what failures cost.

use std::time::Duration;

use actors::domain::order::LockLine;
use actors::domain::reject::{Failure, Reject, Shortage, Unavailable};
use actors::domain::stock::{LockState, Resolution};
use actors::domain::{OrderSn, SkuId, WareSkuId};
use actors::ports::store::StoreError;
use actors::ports::store::units::{LockRequest, LockResolved, LockStock, StockLock, StockLocks, WriteUnit};
use actors::stock::StockSettings;
use actors::testkit::{Shop, until};
use actors::writer::WriterSettings;
use futures_util::FutureExt;
use futures_util::future::join_all;

const SKU: SkuId = SkuId(48);
const OTHER: SkuId = SkuId(49);
const LEASE: Duration = Duration::from_secs(1800);

fn shop() -> Shop {
    shop_with(StockSettings::default())
}

fn shop_with(settings: StockSettings) -> Shop {
    Shop::open(settings, WriterSettings::default())
}

fn short(sku_id: SkuId, wanted: u32, available: i64) -> Failure {
    Reject::StockShort(vec![Shortage { sku_id, wanted, available }]).into()
}

fn lock_unit(owner: OrderSn, lines: Vec<LockLine>) -> LockStock {
    LockStock { requests: vec![LockRequest { order_sn: owner, lines }], lease: LEASE }
}

fn stale(outcome: &StockLocks) -> Vec<SkuId> {
    match outcome {
        StockLocks::Stale(sku_ids) => sku_ids.clone(),
        StockLocks::Done(_) => Vec::new(),
    }
}

fn locked_units(rows: &[actors::domain::stock::StockRow]) -> i64 {
    rows.iter().map(|row| row.locked).sum()
}

/// How many owners each committed unit of locks had.
fn lock_flushes(shop: &Shop) -> Vec<usize> {
    let units = shop.store.batches().into_iter().flatten();
    units
        .filter_map(|unit| match unit {
            WriteUnit::LockStock(unit) => Some(unit.requests.len()),
            _ => None,
        })
        .collect()
}

// Deciding.

#[actix::test]
async fn exactly_as_many_win_as_there_are_units() {
    let shop = shop();
    shop.add_stock(SKU, &[10, 20]);
    let buyers = (0..100).map(|number| {
        let make = move |lines| lock_unit(Shop::owner(number), lines);
        shop.stock.commit_reserved(&[(SKU, 1)], make, stale).boxed_local()
    });
    let outcomes = join_all(buyers.collect::<Vec<_>>()).await;
    let won = outcomes.iter().filter(|outcome| **outcome == Ok(StockLocks::Done(vec![StockLock::Locked]))).count();
    let refused = outcomes.iter().filter(|outcome| **outcome == Err(short(SKU, 1, 0))).count();
    assert_eq!((won, refused), (30, 70), "{outcomes:?}");
    assert_eq!(locked_units(&shop.stored_rows(SKU).await), 30);
}

#[test]
fn exactly_as_many_win_over_several_threads() {
    actix::System::new().block_on(async {
        let threads = actors::supervise::Arbiters::start(2);
        let shop = Shop::open_on(StockSettings::default(), WriterSettings::default(), threads.handles());
        for sku in 0..8 {
            shop.memory.add_stock(SkuId(sku), actors::domain::WareId(1), 10);
        }
        let (mut won, mut short) = (0, 0);
        let locks = (0..160).map(|number| {
            let sku_id = SkuId(i64::try_from(number % 8).unwrap());
            let stock = shop.stock.clone();
            async move { stock.lock(Shop::owner(number), &[(sku_id, 1)], LEASE).await }
        });
        for outcome in join_all(locks).await {
            match outcome {
                Ok((StockLock::Locked, lines)) => won += lines.len(),
                Err(Failure::Rejected(Reject::StockShort(_))) => short += 1,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!((won, short), (80, 80));
        assert_eq!(shop.stock.active(), 8);
        shop.stock.stop().await;
        until("the actors are gone", || shop.stock.active() == 0).await;
        threads.stop();
    });
}

#[actix::test]
async fn one_warehouse_serves_if_it_can_and_else_the_fullest_down() {
    let shop = shop();
    let rows = shop.add_stock(SKU, &[3, 5, 4]);
    let one = shop.stock.reserve(&[(SKU, 4)]).await.unwrap();
    assert_eq!(one.lines(), [LockLine { sku_id: SKU, ware_sku_id: rows[1], num: 4 }]);
    let split = shop.stock.reserve(&[(SKU, 6)]).await.unwrap();
    let taken: Vec<(WareSkuId, u32)> = split.lines().iter().map(|line| (line.ware_sku_id, line.num)).collect();
    assert_eq!(taken, [(rows[2], 4), (rows[0], 2)]);
}

#[actix::test]
async fn a_refusal_lists_every_short_sku_and_keeps_nothing() {
    let shop = shop();
    for (sku, units) in [(1, 5), (2, 1), (3, 5), (4, 0)] {
        shop.add_stock(SkuId(sku), &[units]);
    }
    let wants = [(SkuId(4), 1), (SkuId(3), 5), (SkuId(2), 2), (SkuId(1), 5)];
    let refusal = shop.stock.reserve(&wants).await.unwrap_err();
    let shortages = vec![
        Shortage { sku_id: SkuId(2), wanted: 2, available: 1 },
        Shortage { sku_id: SkuId(4), wanted: 1, available: 0 },
    ];
    assert_eq!(refusal, Reject::StockShort(shortages).into());
    let all = shop.stock.reserve(&[(SkuId(1), 5), (SkuId(2), 1), (SkuId(3), 5)]).await.unwrap();
    assert_eq!(all.lines().iter().map(|line| line.sku_id.0).collect::<Vec<_>>(), [1, 2, 3]);
}

#[actix::test]
async fn nothing_wanted_is_refused_before_any_actor_is_asked() {
    let shop = shop();
    assert_eq!(shop.stock.reserve(&[]).await.unwrap_err(), Reject::EmptyOrder.into());
    assert_eq!(shop.stock.reserve(&[(SKU, 0)]).await.unwrap_err(), Reject::EmptyOrder.into());
    assert_eq!(shop.stock.active(), 0);
}

#[actix::test]
async fn a_sku_named_twice_counts_with_the_sum() {
    let shop = shop();
    shop.add_stock(SKU, &[5]);
    assert_eq!(shop.stock.reserve(&[(SKU, 3), (SKU, 3)]).await.unwrap_err(), short(SKU, 6, 5));
    assert_eq!(shop.stock.reserve(&[(SKU, 3), (SKU, 2)]).await.unwrap().lines().len(), 1);
}

#[actix::test]
async fn a_dropped_reservation_frees_its_units() {
    let shop = shop();
    shop.add_stock(SKU, &[2]);
    for _ in 0..10 {
        drop(shop.stock.reserve(&[(SKU, 2)]).await.unwrap());
    }
    let first = shop.stock.reserve(&[(SKU, 2)]).await.unwrap();
    let stock = shop.stock.clone();
    let waiting = actix::spawn(async move { stock.reserve(&[(SKU, 1)]).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished(), "undecided while the units may come back");
    drop(first);
    assert!(waiting.await.unwrap().is_ok());
}

#[actix::test]
async fn a_caller_that_gives_up_leaks_nothing() {
    let shop = shop();
    shop.add_stock(SKU, &[1]);
    shop.store.before_read.shut();
    for _ in 0..5 {
        let stock = shop.stock.clone();
        let caller = actix::spawn(async move { stock.reserve(&[(SKU, 1)]).await });
        until("the read waits", || shop.store.before_read.waiting() == 1).await;
        caller.abort();
        assert!(caller.await.is_err());
    }
    shop.store.before_read.open();
    assert_eq!(shop.stock.reserve(&[(SKU, 1)]).await.unwrap().lines().len(), 1);
}

#[actix::test]
async fn an_answer_nobody_picks_up_frees_its_units() {
    let shop = shop();
    shop.add_stock(SKU, &[1]);
    shop.stock.rows(SKU).await.unwrap();
    for _ in 0..20 {
        // Polled once: the message is on its way. Dropped before or after the actor answers.
        assert!(shop.stock.reserve(&[(SKU, 1)]).now_or_never().is_none());
        tokio::task::yield_now().await;
    }
    assert!(shop.stock.reserve(&[(SKU, 1)]).await.is_ok());
}

#[actix::test]
async fn a_refusal_on_old_rows_looks_at_the_store_first() {
    let shop = shop();
    let rows = shop.add_stock(SKU, &[1]);
    assert_eq!(shop.stock.reserve(&[(SKU, 2)]).await.unwrap_err(), short(SKU, 2, 1));
    shop.memory.tamper_stock(rows[0], 10, 0);
    assert_eq!(shop.stock.reserve(&[(SKU, 2)]).await.unwrap_err(), short(SKU, 2, 1), "believed for 500 ms");
    assert_eq!(shop.store.reads_of(SKU), 1);
    shop.clock.advance(Duration::from_millis(500));
    let wants = [(SKU, 2)];
    let callers = join_all((0..5).map(|_| shop.stock.reserve(&wants))).await;
    assert!(callers.iter().all(Result::is_ok), "{callers:?}");
    assert_eq!(shop.store.reads_of(SKU), 2, "one read for all who wait");
}

// Loading and leaving.

#[actix::test]
async fn a_thousand_first_callers_cause_one_read() {
    let shop = shop();
    shop.add_stock(SKU, &[1000]);
    let wants = [(SKU, 1)];
    let reservations = join_all((0..1000).map(|_| shop.stock.reserve(&wants))).await;
    assert!(reservations.iter().all(Result::is_ok));
    assert_eq!((shop.store.reads_of(SKU), shop.stock.active()), (1, 1));
}

#[actix::test]
async fn an_unknown_sku_is_refused_and_leaves_the_directory() {
    let shop = shop_with(StockSettings { unknown_idle: Duration::from_millis(20), ..StockSettings::default() });
    let wants = [(SKU, 1)];
    let refusals = join_all((0..100).map(|_| shop.stock.reserve(&wants))).await;
    assert!(refusals.iter().all(|refusal| matches!(refusal, Err(Failure::Rejected(Reject::UnknownSku(SKU))))));
    assert_eq!(shop.store.reads_of(SKU), 1);
    until("it left", || shop.stock.active() == 0).await;
    shop.add_stock(SKU, &[1]);
    assert!(shop.stock.reserve(&wants).await.is_ok(), "known now");
}

#[actix::test]
async fn an_idle_actor_leaves_and_comes_back() {
    let idle = Duration::from_millis(20);
    let shop = shop_with(StockSettings { idle, unknown_idle: idle, ..StockSettings::default() });
    shop.add_stock(SKU, &[3]);
    for round in 1..=3 {
        let (answer, _) = shop.stock.lock(Shop::owner(round), &[(SKU, 1)], LEASE).await.unwrap();
        assert_eq!(answer, StockLock::Locked);
        until("it left", || shop.stock.active() == 0).await;
    }
    assert_eq!(shop.stock.lock(Shop::owner(4), &[(SKU, 1)], LEASE).await.unwrap_err(), short(SKU, 1, 0));
}

#[actix::test]
async fn an_actor_with_a_promise_out_does_not_leave() {
    let idle = Duration::from_millis(5);
    let shop = shop_with(StockSettings { idle, unknown_idle: idle, ..StockSettings::default() });
    shop.add_stock(SKU, &[1]);
    shop.add_stock(OTHER, &[1]);
    let reservation = shop.stock.reserve(&[(SKU, 1)]).await.unwrap();
    for _ in 0..5 {
        // Others come and go meanwhile.
        drop(shop.stock.reserve(&[(OTHER, 1)]).await.unwrap());
        until("the other one left", || shop.stock.active() == 1).await;
    }
    let queued = reservation.queue(&shop.writer, lock_unit(Shop::owner(1), Vec::new()));
    drop(queued);
    assert_eq!(shop.stock.active(), 1);
}

#[actix::test]
async fn a_full_queue_is_refused_at_once() {
    let shop = shop_with(StockSettings { mailbox: 2, ..StockSettings::default() });
    shop.add_stock(SKU, &[10]);
    shop.store.before_read.shut();
    let wants = [(SKU, 1)];
    let (first, second) = (shop.stock.reserve(&wants), shop.stock.reserve(&wants));
    let callers = actix::spawn({
        let stock = shop.stock.clone();
        async move { join_all([stock.reserve(&[(SKU, 1)]), stock.reserve(&[(SKU, 1)])]).await }
    });
    until("two wait", || shop.store.before_read.waiting() == 1).await;
    for refused in [first.now_or_never(), second.now_or_never()] {
        assert_eq!(refused.expect("without waiting").unwrap_err(), Unavailable::Overloaded.into());
    }
    shop.store.before_read.open();
    let callers = callers.await.unwrap();
    assert!(callers.iter().all(Result::is_ok));
    assert!(shop.stock.reserve(&wants).await.is_ok(), "the places are free again");
}

#[actix::test]
async fn too_many_actors_are_refused() {
    let shop = shop_with(StockSettings { max_actors: 1, ..StockSettings::default() });
    shop.add_stock(SKU, &[1]);
    shop.add_stock(OTHER, &[1]);
    assert!(shop.stock.reserve(&[(SKU, 1)]).await.is_ok());
    assert_eq!(shop.stock.reserve(&[(OTHER, 1)]).await.unwrap_err(), Unavailable::Overloaded.into());
}

// Faults.

#[actix::test]
async fn a_panic_costs_one_sku_and_the_next_call_works() {
    let shop = shop();
    shop.add_stock(SKU, &[5]);
    shop.add_stock(OTHER, &[5]);
    let kept = shop.stock.reserve(&[(OTHER, 5)]).await.unwrap();
    shop.store.before_read.shut();
    let stock = shop.stock.clone();
    let queued = actix::spawn(async move { join_all((0..10).map(|_| stock.reserve(&[(SKU, 1)]))).await });
    until("they wait for the rows", || shop.store.before_read.waiting() == 1).await;
    shop.stock.blow(SKU);
    for refused in queued.await.unwrap() {
        assert!(matches!(refused, Err(Failure::Unavailable(Unavailable::Dependency(_)))), "{refused:?}");
    }
    shop.store.before_read.open();
    assert_eq!(shop.stock.reserve(&[(SKU, 5)]).await.unwrap().lines().len(), 1);
    assert_eq!(shop.store.reads_of(SKU), 2, "rebuilt from the store");
    assert_eq!(shop.store.reads_of(OTHER), 1, "the other never noticed");
    assert!(kept.queue(&shop.writer, lock_unit(Shop::owner(1), Vec::new())).is_ok());
}

#[actix::test]
async fn units_promised_before_a_panic_are_committed_and_counted_once() {
    let shop = shop();
    shop.add_stock(SKU, &[5]);
    shop.store.before_commit.shut();
    let stock = shop.stock.clone();
    let lost = actix::spawn(async move { stock.lock(Shop::owner(1), &[(SKU, 2)], LEASE).await });
    until("the commit waits", || shop.store.before_commit.waiting() == 1).await;
    shop.stock.blow(SKU);
    assert!(matches!(lost.await.unwrap(), Err(Failure::Unavailable(_))));
    let rebuilt = shop.stock.reserve(&[(SKU, 1)]).await.unwrap();
    shop.store.before_commit.open();
    until("the commit is through", || shop.store.before_commit.passed() == 1).await;
    drop(rebuilt);
    let (answer, lines) = shop.stock.lock(Shop::owner(1), &[(SKU, 2)], LEASE).await.unwrap();
    assert_eq!((answer, lines[0].num), (StockLock::Exists, 2), "the repeat finds what was locked");
    assert_eq!(shop.stock.lock(Shop::owner(2), &[(SKU, 3)], LEASE).await.unwrap().0, StockLock::Locked);
    assert_eq!(locked_units(&shop.stored_rows(SKU).await), 5);
}

#[actix::test]
async fn a_failed_read_is_a_fault_and_not_a_refusal() {
    let shop = shop();
    shop.add_stock(SKU, &[1]);
    for _ in 0..2 {
        shop.store.fail_read(StoreError::Failed("away".into()));
    }
    assert!(matches!(shop.stock.reserve(&[(SKU, 1)]).await, Err(Failure::Unavailable(Unavailable::Dependency(_)))));
    let locked = shop.stock.lock(Shop::owner(1), &[(SKU, 1)], LEASE).await;
    assert!(matches!(locked, Err(Failure::Unavailable(Unavailable::Dependency(_)))));
    assert!(shop.stock.reserve(&[(SKU, 1)]).await.is_ok());
}

#[actix::test]
async fn a_failed_commit_frees_the_units() {
    let shop = shop();
    shop.add_stock(SKU, &[1]);
    for error in [StoreError::Constraint("no".into()), StoreError::Failed("no".into()), StoreError::Unknown("?".into())]
    {
        shop.store.fail_commit(error);
        let locked = shop.stock.lock(Shop::owner(1), &[(SKU, 1)], LEASE).await;
        assert!(matches!(locked, Err(Failure::Unavailable(Unavailable::Dependency(_)))), "{locked:?}");
    }
    assert!(shop.stock.lock(Shop::owner(1), &[(SKU, 1)], LEASE).await.is_ok());
}

#[actix::test]
async fn a_full_writer_gives_the_units_back() {
    let writer = WriterSettings { queue: 1, max_batch: 1, ..WriterSettings::default() };
    let shop = Shop::open(StockSettings::default(), writer);
    shop.add_stock(SKU, &[1]);
    shop.add_stock(OTHER, &[5]);
    shop.store.before_commit.shut();
    let stock = shop.stock.clone();
    let running = actix::spawn(async move { stock.lock(Shop::owner(1), &[(OTHER, 1)], LEASE).await });
    until("a commit runs", || shop.store.before_commit.waiting() == 1).await;
    let filler = shop.writer.queue(lock_unit(Shop::owner(2), Vec::new())).unwrap();
    let refused = shop.stock.lock(Shop::owner(3), &[(SKU, 1)], LEASE).await;
    assert_eq!(refused.unwrap_err(), Unavailable::Overloaded.into());
    let reservation = shop.stock.reserve(&[(SKU, 1)]).await.expect("given back");
    assert!(reservation.queue(&shop.writer, lock_unit(Shop::owner(4), Vec::new())).is_err());
    assert!(shop.stock.reserve(&[(SKU, 1)]).await.is_ok(), "given back again");
    shop.store.before_commit.open();
    assert!(running.await.unwrap().is_ok());
    assert!(filler.outcome().await.is_ok());
}

#[actix::test]
async fn stop_finishes_what_was_asked_and_refuses_the_rest() {
    let shop = shop();
    shop.add_stock(SKU, &[5]);
    shop.store.before_commit.shut();
    let stock = shop.stock.clone();
    let lock = actix::spawn(async move { stock.lock(Shop::owner(1), &[(SKU, 1)], LEASE).await });
    until("the commit waits", || shop.store.before_commit.waiting() == 1).await;
    let stock = shop.stock.clone();
    let stop = actix::spawn(async move { stock.stop().await });
    tokio::task::yield_now().await;
    assert_eq!(shop.stock.reserve(&[(SKU, 1)]).await.unwrap_err(), Unavailable::Stopping.into());
    assert!(!stop.is_finished(), "waits for the lock");
    shop.store.before_commit.open();
    stop.await.unwrap();
    assert_eq!(lock.await.unwrap().unwrap().0, StockLock::Locked);
    until("the actor is gone", || shop.stock.active() == 0).await;
}

// Flushes.

#[actix::test]
async fn locks_that_arrive_together_are_one_unit_and_the_next_forms_meanwhile() {
    let shop = shop();
    shop.add_stock(SKU, &[100]);
    shop.stock.rows(SKU).await.unwrap();
    shop.store.before_commit.shut();
    let lock_some = |numbers: std::ops::Range<usize>| {
        let stock = shop.stock.clone();
        actix::spawn(async move {
            join_all(numbers.map(|number| {
                let stock = stock.clone();
                async move { stock.lock(Shop::owner(number), &[(SKU, 1)], LEASE).await }
            }))
            .await
        })
    };
    let first = lock_some(0..64);
    until("the first flush waits", || shop.store.before_commit.waiting() == 1).await;
    let second = lock_some(64..74);
    tokio::task::yield_now().await;
    let third = lock_some(74..80);
    tokio::task::yield_now().await;
    shop.store.before_commit.open();
    for locks in [first, second, third] {
        assert!(locks.await.unwrap().iter().all(Result::is_ok));
    }
    assert_eq!(lock_flushes(&shop), [64, 16]);
}

#[actix::test]
async fn a_flush_has_a_largest_size() {
    let shop = shop_with(StockSettings { max_flush: 4, ..StockSettings::default() });
    shop.add_stock(SKU, &[100]);
    let wants = [(SKU, 1)];
    let locks = join_all((0..10).map(|number| shop.stock.lock(Shop::owner(number), &wants, LEASE))).await;
    assert!(locks.iter().all(Result::is_ok));
    assert_eq!(lock_flushes(&shop), [4, 4, 2]);
}

#[actix::test]
async fn the_same_owner_again_locks_nothing_twice() {
    let shop = shop();
    let rows = shop.add_stock(SKU, &[2]);
    let line = vec![LockLine { sku_id: SKU, ware_sku_id: rows[0], num: 2 }];
    let wants = [(SKU, 2)];
    let twice = join_all((0..2).map(|_| shop.stock.lock(Shop::owner(1), &wants, LEASE))).await;
    assert_eq!(twice[0], Ok((StockLock::Locked, line.clone())));
    assert_eq!(twice[1], Ok((StockLock::Exists, line.clone())), "although nothing is free any more");
    assert_eq!(shop.stock.lock(Shop::owner(1), &wants, LEASE).await, Ok((StockLock::Exists, line)));
    assert_eq!(shop.stock.lock(Shop::owner(2), &wants, LEASE).await, Err(short(SKU, 2, 0)));
    assert_eq!(locked_units(&shop.stored_rows(SKU).await), 2);
}

#[actix::test]
async fn the_same_owner_twice_at_once_locks_once() {
    let shop = shop();
    shop.add_stock(SKU, &[10]);
    let wants = [(SKU, 2)];
    let twice = join_all((0..2).map(|_| shop.stock.lock(Shop::owner(1), &wants, LEASE))).await;
    let answers: Vec<_> = twice.into_iter().map(|answer| answer.unwrap().0).collect();
    assert_eq!(answers, [StockLock::Locked, StockLock::Exists]);
    assert_eq!(locked_units(&shop.stored_rows(SKU).await), 2);
    assert_eq!(lock_flushes(&shop), [1, 1], "a unit names each owner once");
}

#[actix::test]
async fn several_skus_are_locked_together_or_not_at_all() {
    let shop = shop();
    shop.add_stock(SKU, &[5]);
    shop.add_stock(OTHER, &[1, 1]);
    let wants = [(OTHER, 2), (SKU, 3)];
    let (answer, lines) = shop.stock.lock(Shop::owner(1), &wants, LEASE).await.unwrap();
    assert_eq!((answer, lines.len()), (StockLock::Locked, 3));
    let (again, same) = shop.stock.lock(Shop::owner(1), &wants, LEASE).await.unwrap();
    assert_eq!((again, same.len()), (StockLock::Exists, 3));
    assert_eq!(
        shop.stock.lock(Shop::owner(2), &wants, LEASE).await,
        Err(Reject::StockShort(vec![
            Shortage { sku_id: SKU, wanted: 3, available: 2 },
            Shortage { sku_id: OTHER, wanted: 2, available: 0 },
        ])
        .into())
    );
    assert_eq!(locked_units(&shop.stored_rows(SKU).await), 3);
}

#[actix::test]
async fn a_lock_is_resolved_once_and_then_says_which_way() {
    let shop = shop();
    shop.add_stock(SKU, &[10]);
    shop.add_stock(OTHER, &[10]);
    shop.stock.lock(Shop::owner(1), &[(SKU, 2), (OTHER, 3)], LEASE).await.unwrap();
    shop.stock.lock(Shop::owner(2), &[(SKU, 4)], LEASE).await.unwrap();
    let owners = [Shop::owner(2), Shop::owner(9), Shop::owner(1)];
    let released = shop.stock.resolve(Resolution::Release, &owners[..2], false).await;
    assert_eq!(released, [Ok(vec![LockResolved::Now(4)]), Ok(vec![LockResolved::Unknown])]);
    let deducted = shop.stock.resolve(Resolution::Deduct, &owners, false).await;
    let before = |state| LockResolved::Before(state);
    assert_eq!(
        deducted,
        [
            Ok(vec![before(LockState::Released)]),
            Ok(vec![LockResolved::Unknown]),
            Ok(vec![LockResolved::Now(2), LockResolved::Now(3)]),
        ]
    );
    let again = shop.stock.resolve(Resolution::Release, &owners[2..], false).await;
    assert_eq!(again, [Ok(vec![before(LockState::Deducted), before(LockState::Deducted)])]);
    let row = shop.stored_rows(SKU).await[0];
    assert_eq!((row.stock, row.locked), (8, 0));
    assert!(shop.stock.reserve(&[(SKU, 8)]).await.is_ok(), "the actor knows what came back");
}

#[actix::test]
async fn only_lapsed_locks_are_released_when_so_asked() {
    let shop = shop();
    shop.add_stock(SKU, &[1]);
    shop.stock.lock(Shop::owner(1), &[(SKU, 1)], LEASE).await.unwrap();
    let owner = [Shop::owner(1)];
    assert_eq!(shop.stock.resolve(Resolution::Release, &owner, true).await, [Ok(vec![LockResolved::Unknown])]);
    shop.clock.advance(LEASE);
    assert_eq!(shop.stock.resolve(Resolution::Release, &owner, true).await, [Ok(vec![LockResolved::Now(1)])]);
}

#[actix::test]
async fn lock_and_unlock_of_one_sku_keep_their_order() {
    let shop = shop();
    shop.add_stock(SKU, &[1]);
    shop.stock.lock(Shop::owner(1), &[(SKU, 1)], LEASE).await.unwrap();
    shop.store.before_commit.shut();
    // A lock of another SKU occupies the writer, so that everything below queues up at the actor.
    shop.add_stock(OTHER, &[1]);
    let wants = [(OTHER, 1)];
    let busy = shop.stock.lock(Shop::owner(8), &wants, LEASE);
    let script = async {
        until("the writer is busy", || shop.store.before_commit.waiting() == 1).await;
        let first = [Shop::owner(1)];
        let second = [Shop::owner(2)];
        let wants = [(SKU, 1)];
        let unlock = shop.stock.resolve(Resolution::Release, &first, false);
        let lock = async {
            tokio::task::yield_now().await;
            shop.stock.lock(Shop::owner(2), &wants, LEASE).await
        };
        let open = async {
            until("both are at the writer or behind it", || shop.writer.waiting() == 1).await;
            shop.store.before_commit.open();
        };
        let (unlocked, locked, ()) = futures_util::join!(unlock, lock, open);
        assert_eq!(unlocked, [Ok(vec![LockResolved::Now(1)])]);
        assert_eq!(locked.unwrap().0, StockLock::Locked, "the unit had come back before");
        assert_eq!(shop.stock.resolve(Resolution::Deduct, &second, false).await, [Ok(vec![LockResolved::Now(1)])]);
    };
    let (busy, ()) = futures_util::join!(busy, script);
    assert!(busy.is_ok());
}

#[actix::test]
async fn unlocks_of_several_callers_are_one_unit() {
    let shop = shop();
    shop.add_stock(SKU, &[20]);
    let owners: Vec<OrderSn> = (0..20).map(Shop::owner).collect();
    let wants = [(SKU, 1)];
    join_all(owners.iter().map(|owner| shop.stock.lock(owner.clone(), &wants, LEASE))).await;
    let before = shop.store.batches().len();
    let unlocks = owners.chunks(5).map(|part| shop.stock.resolve(Resolution::Release, part, false));
    let answers: Vec<_> = join_all(unlocks).await.into_iter().flatten().collect();
    assert_eq!(answers, vec![Ok(vec![LockResolved::Now(1)]); 20]);
    assert_eq!(shop.store.batches().len(), before + 1);
}
