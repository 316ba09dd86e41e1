//! The whole of a submit behind HTTP: token, price, reservation at the SKU's actor, the order's transaction, the answer.
//! The tokens come from confirm before the clock runs. One SKU; one thread. PostgreSQL is measured when
//! `SECKILL_TEST_DATABASE_URL` names a server.

mod common;

use std::sync::Arc;
use std::time::Duration;

use actors::domain::order::{PayType, Receiver};
use actors::domain::{Money, SkuId, UserId};
use actors::local::carts::StoreCarts;
use actors::local::coordination::LocalCoordination;
use actors::order::{Buyer, OrderParts, OrderSettings, Orders, SubmitRequest, Submitted};
use actors::ports::store::Store;
use actors::reader::Reader;
use actors::stock::{StockDirectory, StockSettings};
use actors::testkit::FakeGateway;
use actors::writer::{self, Listeners, WriterSettings};
use common::RULES;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, SamplingMode, Throughput};
use futures_util::StreamExt;
use futures_util::stream::iter;
use seckill::machine::{SystemClock, SystemEntropy};
use seckill::store::postgres::{PostgresStore, StoreClock};
use seckill::store::sqlite::SqliteStore;
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio::time::Instant;

const SKU: SkuId = SkuId(48);
const PRICE: Money = Money(1_000_000);
const RESTOCK: &str = "UPDATE wms_ware_sku SET stock = 1000000000";
const MEMBERS: i64 = 1_000;

/// A store with the demo data and more units than any run takes, and its folder when it has one.
async fn open(server: Option<&str>) -> (Arc<dyn Store>, Option<TempDir>) {
    let entropy = Arc::new(SystemEntropy);
    if let Some(server) = server {
        let settings = common::fresh_schema(server).await;
        let store =
            PostgresStore::open(&settings, StoreClock::Database, entropy, RULES).await.expect("an empty schema");
        store.load_demo().await.expect("the demo data is sound");
        sqlx::query(RESTOCK).execute(&store.writer_pool()).await.expect("restock");
        return (Arc::new(store), None);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("bench.db");
    let store = SqliteStore::open(&path, Arc::new(SystemClock), entropy, RULES).await.expect("a new file");
    store.load_demo().await.expect("the demo data is sound");
    sqlx::query(RESTOCK).execute(&store.writer_pool()).await.expect("restock");
    (Arc::new(store), Some(folder))
}

fn buyer(number: u64) -> Buyer {
    let user_id = UserId(1 + i64::try_from(number).unwrap_or(0) % MEMBERS);
    Buyer { user_id, username: format!("user{user_id}") }
}

fn request(token: String) -> SubmitRequest {
    SubmitRequest {
        token,
        wants: vec![(SKU, 1)],
        total: PRICE,
        pay_type: PayType::Online,
        delivery_company: "顺丰".into(),
        receiver: Receiver { name: "receiver".into(), ..Receiver::default() },
        with_pay_page: true,
    }
}

/// Submits so many orders and answers how long that took.
async fn submit_many(server: Option<&str>, in_flight: usize, count: u64) -> Duration {
    let (store, _folder) = open(server).await;
    let clock = Arc::new(SystemClock);
    let (writer, task) = writer::channel(WriterSettings::default());
    let settings = StockSettings { mailbox: 4096, ..StockSettings::default() };
    let arbiters = vec![actix_rt::Arbiter::current()];
    let stock = StockDirectory::new(store.clone(), writer.clone(), clock.clone(), settings, arbiters);
    let (outbox, mut hints) = mpsc::channel(1024);
    let draining = actix_rt::spawn(async move { while hints.recv().await.is_some() {} });
    let writing = actix_rt::spawn(task.run(store.clone(), Listeners { stock: stock.clone(), outbox }));
    let parts = OrderParts {
        store: store.clone(),
        reader: Reader::start(store.clone(), Duration::from_secs(2)),
        writer: writer.clone(),
        stock: stock.clone(),
        coordination: Arc::new(LocalCoordination::new()),
        carts: Arc::new(StoreCarts::new(store, writer)),
        gateway: Arc::new(FakeGateway::default()),
        clock,
        entropy: Arc::new(SystemEntropy),
        token_secret: b"a secret of the bench".to_vec(),
    };
    let orders = Orders::new(parts, OrderSettings::default());

    let confirms = iter(0..count).map(|number| {
        let orders = &orders;
        async move { (number, orders.confirm(buyer(number).user_id, &[(SKU, 1)]).await.expect("it is sold").token) }
    });
    let tokens: Vec<(u64, String)> = confirms.buffer_unordered(64).collect().await;
    let started = Instant::now();
    let submits = iter(tokens).map(|(number, token)| {
        let orders = &orders;
        async move { orders.submit(&buyer(number), request(token)).await.expect("there are units enough") }
    });
    let placed = submits
        .buffer_unordered(in_flight)
        .filter(|submitted| std::future::ready(matches!(submitted, Submitted::Placed(_))))
        .count()
        .await;
    let took = started.elapsed();
    assert_eq!(placed as u64, count);
    stock.stop().await;
    writing.abort();
    draining.abort();
    took
}

fn measure(group: &mut BenchmarkGroup<'_, WallTime>, server: Option<&str>, in_flight: usize) {
    let count = (256 * in_flight as u64).min(8_192);
    let name = format!("{}/{in_flight} in flight", if server.is_some() { "PostgreSQL" } else { "SQLite" });
    group.throughput(Throughput::Elements(count));
    group.bench_function(name, |bencher| {
        bencher.iter_custom(|runs| {
            actix_rt::System::new().block_on(async {
                let mut took = Duration::ZERO;
                for _ in 0..runs {
                    took += submit_many(server, in_flight, count).await;
                }
                took
            })
        });
    });
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("order_submit");
    group.sample_size(10).sampling_mode(SamplingMode::Flat);
    let server = common::postgres();
    for server in [None, server.as_deref()].into_iter().take(1 + usize::from(server.is_some())) {
        for in_flight in [1, 64, 1024] {
            measure(&mut group, server, in_flight);
        }
    }
    group.finish();
    criterion.final_summary();
    if let Some(server) = server {
        actix_rt::System::new().block_on(common::drop_schema(&server));
    }
}
