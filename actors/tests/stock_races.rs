//! Races between actor, writer and other nodes, made by hand: a store that waits at gates.

use std::time::Duration;

use actors::domain::SkuId;
use actors::domain::reject::{Failure, Reject, Shortage, Unavailable};
use actors::ports::store::units::{LockRequest, LockStock, StockLock, StockLocks};
use actors::stock::StockSettings;
use actors::testkit::{Dice, Shop, for_seeds, until};
use actors::writer::WriterSettings;
use futures_util::future::join_all;

const SKU: SkuId = SkuId(48);
const OTHER: SkuId = SkuId(49);
const LEASE: Duration = Duration::from_secs(1800);

fn shop() -> Shop {
    Shop::open(StockSettings::default(), WriterSettings::default())
}

fn short(wanted: u32, available: i64) -> Failure {
    Reject::StockShort(vec![Shortage { sku_id: SKU, wanted, available }]).into()
}

fn spawn_lock(shop: &Shop, number: usize, num: u32) -> tokio::task::JoinHandle<Result<StockLock, Failure>> {
    let stock = shop.stock.clone();
    actix::spawn(async move { stock.lock(Shop::owner(number), &[(SKU, num)], LEASE).await.map(|(answer, _)| answer) })
}

#[actix::test]
async fn units_in_a_running_commit_are_not_promised_again() {
    let shop = shop();
    shop.add_stock(SKU, &[10]);
    shop.store.before_commit.shut();
    let lock = spawn_lock(&shop, 1, 4);
    until("the commit waits", || shop.store.before_commit.waiting() == 1).await;
    assert_eq!(shop.stock.reserve(&[(SKU, 11)]).await.unwrap_err(), short(11, 6));
    let six = shop.stock.reserve(&[(SKU, 6)]).await.unwrap();
    drop(six);
    shop.store.before_commit.open();
    assert_eq!(lock.await.unwrap(), Ok(StockLock::Locked));
    assert_eq!(shop.stock.reserve(&[(SKU, 7)]).await.unwrap_err(), short(7, 6));
}

#[actix::test]
async fn who_wants_what_is_being_committed_waits_for_the_outcome() {
    let shop = shop();
    shop.add_stock(SKU, &[10]);
    shop.store.before_commit.shut();
    shop.store.fail_commit(actors::ports::store::StoreError::Failed("no".into()));
    let lock = spawn_lock(&shop, 1, 4);
    until("the commit waits", || shop.store.before_commit.waiting() == 1).await;
    let stock = shop.stock.clone();
    let waiting = actix::spawn(async move { stock.reserve(&[(SKU, 8)]).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    shop.store.before_commit.open();
    assert!(matches!(lock.await.unwrap(), Err(Failure::Unavailable(_))));
    assert!(waiting.await.unwrap().is_ok(), "the failed lock's units came back");
}

#[actix::test]
async fn rows_read_between_a_commit_and_its_news_refuse_nobody_wrongly() {
    let shop = shop();
    shop.add_stock(SKU, &[10]);
    shop.store.after_commit.shut();
    let lock = spawn_lock(&shop, 1, 4);
    until("it is committed, but not told", || shop.store.after_commit.waiting() == 1).await;
    shop.stock.refresh(&[SKU]).await;
    // The four units are in the rows and still pending: six are free, though the actor cannot know it yet.
    let stock = shop.stock.clone();
    let waiting = actix::spawn(async move { stock.reserve(&[(SKU, 6)]).await });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    assert!(
        matches!(shop.stock.reserve(&[(SKU, 7)]).await, Err(Failure::Rejected(_))),
        "seven cannot be had either way"
    );
    shop.store.after_commit.open();
    assert_eq!(lock.await.unwrap(), Ok(StockLock::Locked));
    assert_eq!(waiting.await.unwrap().unwrap().lines()[0].num, 6);
}

#[actix::test]
async fn a_read_older_than_the_news_changes_nothing() {
    let shop = shop();
    shop.add_stock(SKU, &[10]);
    shop.stock.rows(SKU).await.unwrap();
    shop.store.after_read.shut();
    let stock = shop.stock.clone();
    let refresh = actix::spawn(async move { stock.refresh(&[SKU]).await });
    until("the rows are read, but not told", || shop.store.after_read.waiting() == 1).await;
    assert_eq!(spawn_lock(&shop, 1, 4).await.unwrap(), Ok(StockLock::Locked));
    shop.store.after_read.open();
    refresh.await.unwrap();
    assert_eq!(shop.stock.reserve(&[(SKU, 7)]).await.unwrap_err(), short(7, 6));
}

#[actix::test]
async fn news_that_comes_while_the_first_rows_are_read_is_kept() {
    let shop = shop();
    shop.add_stock(SKU, &[10]);
    shop.store.after_read.shut();
    let stock = shop.stock.clone();
    let first = actix::spawn(async move { stock.reserve(&[(SKU, 10)]).await });
    until("the rows are read, but not told", || shop.store.after_read.waiting() == 1).await;
    let sale = LockStock {
        requests: vec![LockRequest {
            order_sn: Shop::owner(1),
            lines: vec![actors::domain::order::LockLine {
                sku_id: SKU,
                ware_sku_id: shop.stored_rows(SKU).await[0].id,
                num: 1,
            }],
        }],
        lease: LEASE,
    };
    assert!(shop.writer.commit(sale).await.is_ok());
    shop.store.after_read.open();
    assert_eq!(first.await.unwrap().unwrap_err(), short(10, 9));
}

#[actix::test]
async fn a_refresh_asked_during_a_read_starts_another() {
    let shop = shop();
    let rows = shop.add_stock(SKU, &[1]);
    shop.store.after_read.shut();
    let stock = shop.stock.clone();
    let first = actix::spawn(async move { stock.rows(SKU).await });
    until("the rows are read, but not told", || shop.store.after_read.waiting() == 1).await;
    shop.memory.tamper_stock(rows[0], 7, 0);
    let stock = shop.stock.clone();
    let second = actix::spawn(async move { stock.rows(SKU).await });
    tokio::task::yield_now().await;
    shop.store.after_read.open();
    first.await.unwrap().unwrap();
    assert_eq!(second.await.unwrap().unwrap()[0].stock, 7);
    assert!(shop.store.reads_of(SKU) >= 2);
}

#[actix::test]
async fn only_the_sku_that_another_node_changed_decides_again() {
    let shop = shop();
    let rows = shop.add_stock(SKU, &[5, 0]);
    shop.add_stock(OTHER, &[5]);
    shop.stock.rows(SKU).await.unwrap();
    shop.stock.rows(OTHER).await.unwrap();
    // Another node moved the units to the second warehouse.
    shop.memory.tamper_stock(rows[0], 0, 0);
    shop.memory.tamper_stock(rows[1], 5, 0);
    let wants = [(OTHER, 1)];
    let (here, there) = futures_util::join!(spawn_lock(&shop, 1, 5), shop.stock.lock(Shop::owner(2), &wants, LEASE));
    assert_eq!(here.unwrap(), Ok(StockLock::Locked));
    assert_eq!(there.unwrap().0, StockLock::Locked);
    assert_eq!((shop.store.reads_of(SKU), shop.store.reads_of(OTHER)), (2, 1));
    assert_eq!(shop.stored_rows(SKU).await[1].locked, 5);
}

#[actix::test]
async fn a_stale_flush_decides_again_in_order_with_the_true_figure() {
    let shop = shop();
    let rows = shop.add_stock(SKU, &[10]);
    shop.stock.rows(SKU).await.unwrap();
    shop.memory.tamper_stock(rows[0], 5, 0);
    let wants = [(SKU, 2)];
    let answers = join_all((0..4).map(|number| shop.stock.lock(Shop::owner(number), &wants, LEASE))).await;
    let answers: Vec<_> = answers.into_iter().map(|answer| answer.map(|(locked, _)| locked)).collect();
    let refused = || Err(short(2, 1));
    assert_eq!(answers, [Ok(StockLock::Locked), Ok(StockLock::Locked), refused(), refused()]);
}

#[actix::test]
async fn an_order_over_two_skus_decides_again_after_stale() {
    let shop = shop();
    let rows = shop.add_stock(SKU, &[5, 0]);
    shop.add_stock(OTHER, &[5]);
    shop.stock.rows(SKU).await.unwrap();
    shop.memory.tamper_stock(rows[0], 0, 0);
    shop.memory.tamper_stock(rows[1], 5, 0);
    let (answer, lines) = shop.stock.lock(Shop::owner(1), &[(SKU, 5), (OTHER, 5)], LEASE).await.unwrap();
    assert_eq!((answer, lines[0].ware_sku_id), (StockLock::Locked, rows[1]));
    shop.memory.tamper_stock(rows[1], 5, 5);
    assert!(matches!(
        shop.stock.lock(Shop::owner(2), &[(SKU, 1), (OTHER, 1)], LEASE).await,
        Err(Failure::Rejected(Reject::StockShort(_)))
    ));
}

#[actix::test]
async fn rows_that_keep_changing_end_in_unavailable() {
    let shop = shop();
    let rows = shop.add_stock(SKU, &[1]);
    shop.add_stock(OTHER, &[1]);
    let tries = std::cell::Cell::new(0);
    let outcome = shop
        .stock
        .commit_reserved(
            &[(SKU, 1)],
            |lines| {
                tries.set(tries.get() + 1);
                shop.memory.tamper_stock(rows[0], 0, 0);
                LockStock { requests: vec![LockRequest { order_sn: Shop::owner(1), lines }], lease: LEASE }
            },
            |outcome| {
                assert_eq!(*outcome, StockLocks::Stale(vec![SKU]));
                shop.memory.tamper_stock(rows[0], 1, 0);
                vec![SKU]
            },
        )
        .await;
    assert!(matches!(outcome, Err(Failure::Unavailable(Unavailable::Dependency(_)))), "{outcome:?}");
    assert_eq!(tries.get(), 5);
    assert!(shop.stock.reserve(&[(SKU, 1)]).await.is_ok(), "nothing is left pending");
}

/// Locks, unlocks, minuses, abandoned callers, refreshes, commits that fail, panics, in an order the seed decides:
/// no unit is sold twice, none is lost, and every actor comes to agree with the store.
#[test]
fn any_order_of_everything_keeps_the_books() {
    for_seeds(20, |seed| actix::System::new().block_on(storm(seed)));
}

async fn storm(seed: u64) {
    use actors::domain::stock::Resolution::{Deduct, Release};
    let shop = shop();
    let dice = Dice::new(seed);
    shop.add_stock(SKU, &[20, 15]);
    let mut tasks = Vec::new();
    for number in 0..200 {
        let stock = shop.stock.clone();
        let num = 1 + u32::try_from(dice.below(4)).unwrap();
        let way = if dice.one_in(2) { Deduct } else { Release };
        let owner = Shop::owner(dice.below(60));
        match dice.below(10) {
            0..=4 => tasks.push(actix::spawn(async move {
                let _ = stock.lock(owner, &[(SKU, num)], LEASE).await;
            })),
            5..=6 => tasks.push(actix::spawn(async move {
                stock.resolve(way, &[owner], false).await;
            })),
            7 => tasks.push(actix::spawn(async move {
                let _ = stock.reserve(&[(SKU, num)]).await;
            })),
            8 => tasks.push(actix::spawn(async move { stock.refresh(&[SKU]).await })),
            _ if number % 4 == 0 => shop.store.fail_commit(actors::ports::store::StoreError::Failed("storm".into())),
            _ if number % 7 == 0 => shop.stock.blow(SKU),
            _ => tasks[dice.below(tasks.len())].abort(),
        }
        for _ in 0..dice.below(6) {
            tokio::task::yield_now().await;
        }
    }
    for task in tasks {
        let _ = task.await;
    }
    let rows = shop.stored_rows(SKU).await;
    let free: i64 = rows.iter().map(|row| row.available()).sum();
    assert!(rows.iter().all(|row| row.locked >= 0 && row.locked <= row.stock), "{rows:?}");
    until("all promises are settled", || shop.writer.waiting() == 0).await;
    shop.stock.refresh(&[SKU]).await;
    let all = u32::try_from(free).unwrap();
    if all > 0 {
        assert!(shop.stock.reserve(&[(SKU, all)]).await.is_ok(), "seed {seed}: the actor lost units");
    }
    let refused = shop.stock.reserve(&[(SKU, all + 1)]).await;
    assert!(matches!(refused, Err(Failure::Rejected(_))), "seed {seed}: {refused:?}");
}
