//! More than the store can do, in a time that is simulated: a store of which every commit takes 50 ms for at most 20
//! units, so 400 a second, and buyers who come whether or not the others are answered.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use actors::domain::order::LockLine;
use actors::domain::{SkuId, WareId, WareSkuId};
use actors::local::clock::{ManualClock, SeededEntropy};
use actors::local::store::MemoryStore;
use actors::ports::store::StoreRules;
use actors::ports::store::units::{LockRequest, LockStock};
use actors::protocol::stock::{SkuNews, StockNews};
use actors::testkit::{Shop, StepStore};
use actors::writer::{self, Listeners, Writer, WriterSettings};
use tokio::sync::mpsc;
use tokio::task::LocalSet;
use tokio::time::Instant;

const COMMIT: Duration = Duration::from_millis(50);
const MAX_BATCH: usize = 20;
/// Units a second.
const CAPACITY: f64 = 400.0;
const HOT: SkuId = SkuId(1);

struct Deaf;

impl StockNews for Deaf {
    fn tell(&self, _: SkuId, _: SkuNews) {}
}

/// One buyer's unit as it went.
#[derive(Clone, Copy)]
struct Told {
    sku_id: SkuId,
    at: Duration,
    took: Duration,
    is_admitted: bool,
}

#[derive(Clone)]
struct Bench {
    writer: Writer,
    started: Instant,
    rows: Rc<Vec<WareSkuId>>,
    told: Rc<RefCell<Vec<Told>>>,
}

/// SKUs 1 to `skus`, with more stock than is asked for.
fn bench(skus: i64, target_delay: Duration) -> Bench {
    let rules = StoreRules { items_per_message: 256, points_per_yuan: 1, close_grace: Duration::from_secs(60) };
    let memory = Arc::new(MemoryStore::new(Arc::new(ManualClock::new(0)), Arc::new(SeededEntropy::new(1)), rules));
    let rows = (1..=skus).map(|sku| memory.add_stock(SkuId(sku), WareId(1), 1_000_000)).collect();
    let store = StepStore::new(memory);
    store.commits_take(COMMIT);
    let settings = WriterSettings { max_batch: MAX_BATCH, target_delay, ..WriterSettings::default() };
    let (writer, task) = writer::channel(settings);
    let (outbox, hints) = mpsc::channel(1);
    drop(hints);
    tokio::spawn(task.run(store, Listeners { stock: Arc::new(Deaf), outbox }));
    Bench { writer, started: Instant::now(), rows: Rc::new(rows), told: Rc::default() }
}

impl Bench {
    /// A buyer comes; answers whether they were let in.
    async fn come(&self, sku_id: SkuId, number: usize) -> bool {
        let row = self.rows[usize::try_from(sku_id.0).unwrap() - 1];
        let lines = vec![LockLine { sku_id, ware_sku_id: row, num: 1 }];
        let requests = vec![LockRequest { order_sn: Shop::owner(number), lines }];
        let at = self.started.elapsed();
        let answer = self.writer.commit(LockStock { requests, lease: Duration::from_secs(60) }).await;
        let took = self.started.elapsed() - at;
        self.told.borrow_mut().push(Told { sku_id, at, took, is_admitted: answer.is_ok() });
        answer.is_ok()
    }

    /// Buyers of a SKU at an even rate; each does `buy`.
    async fn crowd<F: Future<Output = ()> + 'static>(
        &self,
        rate: f64,
        lasts: Duration,
        numbers_from: usize,
        buy: impl Fn(Self, usize) -> F,
    ) {
        let mut buyers = Vec::new();
        let first = self.started.elapsed();
        for number in 0..(rate * lasts.as_secs_f64()) as usize {
            tokio::time::sleep_until(self.started + first + Duration::from_secs_f64(number as f64 / rate)).await;
            buyers.push(tokio::task::spawn_local(buy(self.clone(), numbers_from + number)));
        }
        for buyer in buyers {
            buyer.await.unwrap();
        }
    }

    fn of(&self, is_asked: impl Fn(&Told) -> bool) -> Vec<Told> {
        self.told.borrow().iter().filter(|told| is_asked(told)).copied().collect()
    }
}

fn p99(told: &[Told]) -> Duration {
    let mut took: Vec<Duration> = told.iter().map(|told| told.took).collect();
    took.sort();
    assert!(took.len() >= 20, "too few to say anything: {}", took.len());
    took[took.len() * 99 / 100]
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

async fn once(bench: Bench, sku_id: SkuId, number: usize) {
    bench.come(sku_id, number).await;
}

#[tokio::test(start_paused = true)]
async fn ten_times_the_capacity_is_served_at_capacity_and_refused_at_once() {
    let bench = bench(1, WriterSettings::default().target_delay);
    LocalSet::new()
        .run_until(async {
            bench.crowd(10.0 * CAPACITY, seconds(10), 0, |bench, number| once(bench, HOT, number)).await;
            bench.crowd(0.5 * CAPACITY, seconds(5), 100_000, |bench, number| once(bench, HOT, number)).await;
        })
        .await;
    let overload = bench.of(|told| told.at < seconds(10));
    let (admitted, refused): (Vec<Told>, Vec<Told>) = overload.into_iter().partition(|told| told.is_admitted);
    assert!(admitted.len() as f64 >= 0.9 * CAPACITY * 10.0, "{} in ten seconds", admitted.len());
    assert!(p99(&admitted) <= Duration::from_millis(500), "{:?}", p99(&admitted));
    assert!(p99(&refused) <= Duration::from_millis(50), "{:?}", p99(&refused));
    let after = bench.of(|told| told.at >= seconds(11));
    assert!(after.iter().all(|told| told.is_admitted), "nobody is refused once the crowd has gone");
    assert!(p99(&after) <= 2 * COMMIT, "{:?}", p99(&after));
}

#[tokio::test(start_paused = true)]
async fn who_would_be_refused_is_told_before_anything_is_done_for_them() {
    let bench = bench(2, WriterSettings::default().target_delay);
    assert!(bench.writer.has_room_for(HOT));
    let crowd = bench.crowd(10.0 * CAPACITY, seconds(2), 0, |bench, number| once(bench, HOT, number));
    LocalSet::new()
        .run_until(async {
            tokio::join!(crowd, async {
                tokio::time::sleep(seconds(1)).await;
                assert!(!bench.writer.has_room_for(HOT));
                assert!(bench.writer.has_room_for(SkuId(2)), "a crowd shuts no other SKU out");
            });
        })
        .await;
    assert!(bench.writer.has_room_for(HOT), "once the crowd has gone");
}

#[tokio::test(start_paused = true)]
async fn without_the_target_buyers_would_wait_as_long_as_the_queue_is() {
    // Guards the test above: the same crowd is too much for the queue alone.
    let bench = bench(1, seconds(3600));
    LocalSet::new()
        .run_until(bench.crowd(10.0 * CAPACITY, seconds(10), 0, |bench, number| once(bench, HOT, number)))
        .await;
    assert!(p99(&bench.of(|told| told.is_admitted)) > Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_storm_of_retries_does_not_lower_what_is_served() {
    let bench = bench(1, WriterSettings::default().target_delay);
    // Three times the capacity, each refused buyer at once again, three times.
    let stubborn = |bench: Bench, number: usize| async move {
        for again in 0..4 {
            if bench.come(HOT, number + again * 1_000_000).await {
                break;
            }
        }
    };
    LocalSet::new().run_until(bench.crowd(3.0 * CAPACITY, seconds(10), 0, stubborn)).await;
    let admitted = bench.of(|told| told.at < seconds(10) && told.is_admitted);
    assert!(admitted.len() as f64 >= 0.9 * CAPACITY * 10.0, "{} in ten seconds", admitted.len());
    assert!(p99(&admitted) <= Duration::from_millis(500), "{:?}", p99(&admitted));
}

#[tokio::test(start_paused = true)]
async fn a_crowd_at_one_sku_does_not_delay_the_others() {
    let others = |bench: Bench, number: usize| once(bench, SkuId(2 + number as i64 % 9), number);
    let rate = 0.1 * CAPACITY;
    let alone = bench(10, WriterSettings::default().target_delay);
    LocalSet::new().run_until(alone.crowd(rate, seconds(10), 0, others)).await;

    let crowded = bench(10, WriterSettings::default().target_delay);
    LocalSet::new()
        .run_until(async {
            tokio::join!(
                crowded.crowd(rate, seconds(10), 0, others),
                crowded.crowd(5.0 * CAPACITY, seconds(10), 100_000, |bench, number| once(bench, HOT, number)),
            );
        })
        .await;
    let (unloaded, loaded) = (alone.of(|_| true), crowded.of(|told| told.sku_id != HOT));
    assert!(loaded.iter().all(|told| told.is_admitted), "no other SKU is refused for it");
    assert!(p99(&loaded) <= p99(&unloaded).mul_f64(1.5), "{:?} beside {:?}", p99(&loaded), p99(&unloaded));
    let hot = crowded.of(|told| told.sku_id == HOT && told.is_admitted);
    assert!(hot.len() as f64 >= 0.75 * CAPACITY * 10.0, "the crowd gets what the others leave: {}", hot.len());
}
