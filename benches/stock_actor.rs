//! Durable locks through the stock actors: one hot SKU with few and many callers in flight, and the same load spread
//! over 1,000 SKUs. Everything runs on one thread, so the figures hold no hop between threads.
//!
//! `cargo bench --bench stock_actor`; another store is one more [`Backend`]. PostgreSQL is measured when
//! `SECKILL_TEST_DATABASE_URL` names a server: in a schema of its own, made and dropped.

mod common;

use std::sync::Arc;
use std::time::Duration;

use actors::domain::{OrderSn, SkuId, WareId};
use actors::local::clock::{ManualClock, SeededEntropy};
use actors::local::store::MemoryStore;
use actors::ports::clock::Clock;
use actors::ports::store::Store;
use actors::stock::{StockDirectory, StockSettings};
use actors::writer::{self, Listeners, WriterSettings};
use common::RULES;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use seckill::store::postgres::{PostgresStore, StoreClock};
use seckill::store::sqlite::SqliteStore;
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(1800);
const UNITS: i64 = 1_000_000_000;

/// A kind of store to measure on.
struct Backend {
    name: &'static str,
    /// Opens an empty store with [`UNITS`] units of each of the SKUs 1 to `skus`.
    open: fn(skus: i64, clock: Arc<ManualClock>) -> LocalBoxFuture<'static, Opened>,
    /// Most locks of one run, each on a new store. The memory store copies itself at each commit, so it must stay small.
    most_locks: u64,
}

impl Backend {
    /// Locks of one run: enough to last, also where each is a commit of its own.
    fn locks_per_run(&self, in_flight: usize) -> u64 {
        self.most_locks.min(512 * in_flight as u64)
    }
}

/// A store, and its folder when it has one.
type Opened = (Arc<dyn Store>, Option<TempDir>);

const BACKENDS: &[Backend] = &[
    Backend { name: "memory", open: open_memory, most_locks: 4096 },
    Backend { name: "SQLite", open: open_sqlite, most_locks: 65_536 },
];
const POSTGRES: Backend = Backend { name: "PostgreSQL", open: open_postgres, most_locks: 65_536 };

fn open_memory(skus: i64, clock: Arc<ManualClock>) -> LocalBoxFuture<'static, Opened> {
    Box::pin(async move {
        let store = MemoryStore::new(clock, Arc::new(SeededEntropy::new(1)), RULES);
        for sku in 1..=skus {
            store.add_stock(SkuId(sku), WareId(1), UNITS);
        }
        (Arc::new(store) as Arc<dyn Store>, None)
    })
}

fn open_sqlite(skus: i64, clock: Arc<ManualClock>) -> LocalBoxFuture<'static, Opened> {
    Box::pin(async move {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("bench.db");
        let store = SqliteStore::open(&path, clock, Arc::new(SeededEntropy::new(1)), RULES).await.expect("a new file");
        store.load_demo().await.expect("the demo data is sound");
        let mut raw =
            SqliteConnectOptions::new().filename(&path).connect().await.expect("the file can be opened twice");
        for statement in [
            "INSERT INTO pms_sku_info (sku_id, sku_name, sku_title, price)
             WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1)
             SELECT value, 'sku', 'sku', 100 FROM n WHERE TRUE ON CONFLICT DO NOTHING",
            "INSERT INTO wms_ware_sku (sku_id, ware_id, stock)
             WITH RECURSIVE n (value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < ?1)
             SELECT value, 1, 1000000000 FROM n WHERE TRUE
             ON CONFLICT DO UPDATE SET stock = excluded.stock",
        ] {
            sqlx::query(statement).bind(skus).execute(&mut raw).await.expect("the rows are new");
        }
        (Arc::new(store) as Arc<dyn Store>, Some(folder))
    })
}

fn open_postgres(skus: i64, _: Arc<ManualClock>) -> LocalBoxFuture<'static, Opened> {
    Box::pin(async move {
        let settings = common::fresh_schema(&common::postgres().expect("asked before")).await;
        let entropy = Arc::new(SeededEntropy::new(1));
        let store =
            PostgresStore::open(&settings, StoreClock::Database, entropy, RULES).await.expect("an empty schema");
        store.load_demo().await.expect("the demo data is sound");
        for statement in [
            "INSERT INTO pms_sku_info (sku_id, sku_name, sku_title, price)
             SELECT n, 'sku', 'sku', 100 FROM generate_series(1, $1) AS n ON CONFLICT DO NOTHING",
            "INSERT INTO wms_ware_sku (sku_id, ware_id, stock)
             SELECT n, 1, 1000000000 FROM generate_series(1, $1) AS n
             ON CONFLICT (sku_id, ware_id) DO UPDATE SET stock = excluded.stock",
        ] {
            sqlx::query(statement).bind(skus).execute(&store.writer_pool()).await.expect("the rows are new");
        }
        (Arc::new(store) as Arc<dyn Store>, None)
    })
}

/// Locks one unit for `count` owners, round-robin over the SKUs, and answers how long that took.
async fn lock_many(backend: &Backend, skus: i64, in_flight: usize, count: u64) -> Duration {
    let clock = Arc::new(ManualClock::new(0));
    let (store, _folder) = (backend.open)(skus, clock.clone()).await;
    let (writer, task) = writer::channel(WriterSettings::default());
    let settings = StockSettings { mailbox: 4096, ..StockSettings::default() };
    let arbiters = vec![actix_rt::Arbiter::current()];
    let stock = StockDirectory::new(store.clone(), writer, clock as Arc<dyn Clock>, settings, arbiters);
    let (outbox, _hints) = mpsc::channel(1);
    let task = actix_rt::spawn(task.run(store, Listeners { stock: stock.clone(), outbox }));

    // Every actor is started and knows its rows before the clock runs.
    let starts = futures_util::stream::iter(1..=skus).map(|sku| stock.rows(SkuId(sku)));
    let known = starts.buffer_unordered(64).filter(|rows| std::future::ready(rows.is_ok())).count().await;
    assert_eq!(i64::try_from(known), Ok(skus));

    let started = Instant::now();
    let locks = futures_util::stream::iter(0..count).map(|number| {
        let sku_id = SkuId(1 + i64::try_from(number).unwrap_or(0) % skus);
        let owner = OrderSn::parse(&number.to_string()).expect("digits keep to the grammar");
        let stock = &stock;
        async move { stock.lock(owner, &[(sku_id, 1)], LEASE).await.expect("there are units enough") }
    });
    let locked = locks.buffer_unordered(in_flight).count().await;
    let took = started.elapsed();

    assert_eq!(locked as u64, count);
    stock.stop().await;
    task.abort();
    took
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, backend: &Backend, skus: i64, in_flight: usize) {
    let name = format!("{}/{skus} SKUs/{in_flight} in flight", backend.name);
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|runs| {
            actix_rt::System::new().block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..runs {
                    took += lock_many(backend, skus, in_flight, backend.locks_per_run(in_flight)).await;
                }
                took
            })
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("stock_actor");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let server = common::postgres();
    for backend in BACKENDS.iter().chain(server.as_ref().map(|_| &POSTGRES)) {
        for in_flight in [1, 64, 1024] {
            group.throughput(Throughput::Elements(backend.locks_per_run(in_flight)));
            measure(&mut group, backend, 1, in_flight);
        }
        measure(&mut group, backend, 1000, 1024);
    }
    group.finish();
    criterion.final_summary();
    if let Some(server) = server {
        actix_rt::System::new().block_on(common::drop_schema(&server));
    }
}
