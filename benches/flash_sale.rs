//! What the flash sale costs by itself: the gate's refusal; batches of attempts over the in-process coordination and the
//! memory store, which is a model and no measure of a durable store; a batch at the semaphore of both coordinations.
//! Redis is measured when `SECKILL_TEST_REDIS_URL` names a server (more of it: `coordination_redis`).

use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use actors::domain::flash_sale::{ChallengeMode, NewFlashSale};
use actors::domain::{Money, SaleId, SkuId, UserId};
use actors::flash_sale::{Attempt, FlashSaleSettings, FlashSales, Gate};
use actors::local::clock::SeededEntropy;
use actors::local::coordination::LocalCoordination;
use actors::ports::clock::Clock;
use actors::ports::contract::store::world;
use actors::ports::coordination::{AcquireBatch, Acquired, Coordination, SemaphoreContent};
use actors::stock::StockSettings;
use actors::testkit::Shop;
use actors::writer::WriterSettings;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use seckill::coordination::redis::{RedisCoordination, RedisSettings};
use tokio::time::Instant;

const SKU: SkuId = SkuId(49);
const NEVER: Duration = Duration::from_secs(3_600);

/// A node with one live sale of `count` units.
async fn live(count: i64) -> (Shop, Arc<FlashSales>, Arc<Gate>) {
    let shop = Shop::open(StockSettings::default(), WriterSettings::default());
    shop.memory.add_sku(world::sku(SKU));
    shop.add_stock(SKU, &[count]);
    let settings =
        FlashSaleSettings { refresh_every: NEVER, reconcile_every: NEVER, poll_every: NEVER, ..Default::default() };
    let sales = FlashSales::new(
        shop.store.clone(),
        Arc::new(LocalCoordination::new()),
        shop.writer.clone(),
        shop.stock.clone(),
        shop.clock.clone(),
        Arc::new(SeededEntropy::new(1)),
        settings,
    );
    sales.start().await.expect("the memory store answers");
    let now = shop.clock.now();
    let sale = NewFlashSale {
        sku_id: SKU,
        price: Money(100),
        count,
        per_user_limit: 1,
        starts_at: now,
        ends_at: now.plus(NEVER),
        challenge: ChallengeMode::Off,
    };
    let sale = sales.create(sale).await.expect("a sound sale");
    sales.arm(sale.id).await.expect("the stock is there");
    let gate = sales.gate(sale.id).expect("armed sales have a gate");
    (shop, sales, gate)
}

async fn attempts(sales: &FlashSales, gate: &Gate, users: i64) -> usize {
    let told = join_all((0..users).map(|user| sales.attempt(gate, UserId(user)))).await;
    told.iter().filter(|told| matches!(told, Ok(Attempt::Won(_)))).count()
}

fn refusals(criterion: &mut Criterion) {
    let system = actix_rt::System::new();
    let (_shop, sales, gate) = system.block_on(live(1));
    assert_eq!(system.block_on(attempts(&sales, &gate, 2)), 1);
    let now = sales.now();
    assert_eq!(gate.refuse_early(now), Some(Attempt::SoldOut));

    let mut group = criterion.benchmark_group("gate");
    group.bench_function("refuse_early, sold out", |bench| bench.iter(|| black_box(&gate).refuse_early(now)));
    group.bench_function("now, lookup by SKU, refuse_early", |bench| {
        bench.iter(|| sales.gate_of_sku(black_box(SKU)).and_then(|gate| gate.refuse_early(sales.now())));
    });
    group.finish();
}

fn batches(criterion: &mut Criterion) {
    let system = actix_rt::System::new();
    let mut group = criterion.benchmark_group("attempts");
    group.sample_size(10);
    for buyers in [1_i64, 64, 1_024] {
        group.throughput(Throughput::Elements(buyers.unsigned_abs()));
        for (kind, units) in [("all win", buyers), ("one in ten wins", (buyers / 10).max(1))] {
            group.bench_with_input(BenchmarkId::new(kind, buyers), &buyers, |bench, &buyers| {
                bench.iter_custom(|rounds| system.block_on(timed(rounds, buyers, units)));
            });
        }
    }
    group.finish();
}

/// Each round sells out a sale of its own; only the attempts are timed.
async fn timed(rounds: u64, buyers: i64, units: i64) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..rounds {
        let (_shop, sales, gate) = live(units).await;
        let started = Instant::now();
        let won = attempts(&sales, &gate, buyers).await;
        sum += started.elapsed();
        assert_eq!(i64::try_from(won), Ok(units), "every unit is sold");
        sales.stop();
    }
    sum
}

/// A batch takes its permits and ends its hold.
fn semaphore(criterion: &mut Criterion) {
    let system = actix_rt::System::new();
    let mut group = criterion.benchmark_group("semaphore");
    let local: Arc<dyn Coordination> = Arc::new(LocalCoordination::new());
    let redis = std::env::var("SECKILL_TEST_REDIS_URL").ok().map(|url| system.block_on(redis(url)));
    if redis.is_none() {
        eprintln!("Redis: not measured, SECKILL_TEST_REDIS_URL is not set (scripts/services)");
    }
    for (name, coordination) in [Some(("in process", local)), redis.map(|redis| ("Redis", redis))].into_iter().flatten()
    {
        for size in [1_i64, 64, 256, 1_024] {
            group.throughput(Throughput::Elements(size.unsigned_abs()));
            group.bench_function(BenchmarkId::new(name, size), |bench| {
                bench.iter_custom(|rounds| system.block_on(acquire(&*coordination, rounds, size)));
            });
        }
    }
    group.finish();
}

async fn redis(url: String) -> Arc<dyn Coordination> {
    let settings = RedisSettings {
        url,
        more_urls: Vec::new(),
        connect_timeout: Duration::from_secs(1),
        response_timeout: Duration::from_secs(1),
        pipeline_buffer: 1024,
        token_life: Duration::from_secs(60),
    };
    Arc::new(RedisCoordination::open(&settings).await.expect("the server of the variable"))
}

async fn acquire(coordination: &dyn Coordination, rounds: u64, size: i64) -> Duration {
    let sale_id = SaleId(-1);
    let content = SemaphoreContent { sale_id, epoch: 1, permits: 1 << 50, holders: Vec::new() };
    coordination.forget(sale_id).await.expect("forget");
    coordination.rebuild(&content).await.expect("rebuild");
    let started = Instant::now();
    let mut buyer = 0;
    for hold_id in 0..rounds {
        let users = (buyer..buyer + size).map(UserId).collect();
        let batch = AcquireBatch { sale_id, epoch: 1, hold_id, per_user_limit: 1, users };
        let taken = coordination.try_acquire(&batch).await.expect("an answer");
        assert!(matches!(taken, Acquired::Decided(_)));
        coordination.end_hold(sale_id, 1, hold_id, &[]).await.expect("an answer");
        buyer += size;
    }
    let took = started.elapsed();
    coordination.forget(sale_id).await.expect("forget");
    took
}

criterion_group!(benches, refusals, batches, semaphore);
criterion_main!(benches);
