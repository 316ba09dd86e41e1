//! The store writer on SQLite, beside the least that the same durable rows can cost.
//!
//! `lock_stock/*`: locks of one SKU per commit, through [`SqliteStore::commit`] and as raw sqlx (one guarded UPDATE and
//! one JSON insert into the same table, `synchronous=FULL`). `place_order/*`: orders with one item, their locks and
//! their messages, against raw inserts of the same order, item and lock rows. Read the ratios, not the figures.
//!
//! `commit_grants/*`: the grants of winners and their message. With `SECKILL_TEST_DATABASE_URL` set the same batches also
//! go through [`PostgresStore::commit`], in a schema of that database that is made and dropped.

mod common;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use actors::domain::flash_sale::{ChallengeMode, NewFlashSale};
use actors::domain::order::{LockLine, NewOrder, OrderItem, PayType, Receiver};
use actors::domain::{Money, OrderSn, SaleId, SkuId, Timestamp, UserId, WareSkuId};
use actors::local::clock::SeededEntropy;
use actors::ports::clock::Clock;
use actors::ports::store::Store;
use actors::ports::store::units::{
    ArmSale, CommitGrants, CreateSale, LockRequest, LockStock, PlaceOrder, SaleArmed, UnitOutcome, WriteUnit,
};
use common::RULES;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use seckill::machine::SystemClock;
use seckill::store::postgres::{PostgresStore, StoreClock};
use seckill::store::sqlite::SqliteStore;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tempfile::TempDir;
use tokio::runtime::Runtime;

const BATCHES: [u64; 3] = [64, 256, 1024];
const RESTOCK: &str = "UPDATE wms_ware_sku SET stock = 1000000000000";

/// A store with more units of SKU 49 than any run takes.
struct Shop {
    store: Arc<dyn Store>,
    path: PathBuf,
    row: WareSkuId,
    numbers: AtomicU64,
    _directory: TempDir,
}

impl Shop {
    async fn open() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("bench.db");
        let clock = Arc::new(SystemClock);
        let store = SqliteStore::open(&path, clock, Arc::new(SeededEntropy::new(1)), RULES).await.expect("a new file");
        store.load_demo().await.expect("the demo data is sound");
        let mut raw = raw_connection(&path).await;
        sqlx::query(RESTOCK).execute(&mut raw).await.expect("restock");
        Self::on(Arc::new(store), path, directory).await
    }

    /// The same on a server, in an empty schema.
    async fn open_on(server: &str) -> Self {
        let settings = common::fresh_schema(server).await;
        let entropy = Arc::new(SeededEntropy::new(1));
        let store = PostgresStore::open(&settings, StoreClock::Database, entropy, RULES).await.expect("it opens");
        store.load_demo().await.expect("the demo data is sound");
        sqlx::query(RESTOCK).execute(&store.writer_pool()).await.expect("restock");
        Self::on(Arc::new(store), PathBuf::new(), tempfile::tempdir().expect("a directory")).await
    }

    async fn on(store: Arc<dyn Store>, path: PathBuf, directory: TempDir) -> Self {
        let row = store.stock_rows(SkuId(49)).await.expect("stock is readable")[0].id;
        Self { store, path, row, numbers: AtomicU64::new(0), _directory: directory }
    }

    /// Arms a sale of more units than any run takes; answers it.
    async fn arm(&self) -> SaleId {
        let sale = NewFlashSale {
            sku_id: SkuId(49),
            price: Money(100),
            count: 1_000_000_000,
            per_user_limit: u32::MAX,
            starts_at: Timestamp(0),
            ends_at: Timestamp(i64::MAX / 2),
            challenge: ChallengeMode::Off,
        };
        let allotments = vec![LockLine { num: sale.count.unsigned_abs().try_into().expect("it fits"), ..self.line() }];
        let made = self.store.commit(&[CreateSale { sale }.into()]).await.expect("a sound sale");
        let [UnitOutcome::CreateSale(sale_id)] = made.outcomes[..] else { panic!("it is made") };
        let armed = self.store.commit(&[ArmSale { sale_id, allotments }.into()]).await.expect("the stock is there");
        assert_eq!(armed.outcomes, [UnitOutcome::ArmSale(SaleArmed::Armed(1))]);
        sale_id
    }

    /// As the sale's desk asks: all winners of a batch in one unit.
    fn grants(&self, sale_id: SaleId, winners: u64) -> Vec<WriteUnit> {
        let winner = |_| {
            let number = self.number();
            (UserId(i64::try_from(self.numbers.load(Ordering::Relaxed)).unwrap_or(0)), number)
        };
        vec![CommitGrants { sale_id, epoch: 1, winners: (0..winners).map(winner).collect() }.into()]
    }

    fn number(&self) -> OrderSn {
        OrderSn::generate(SystemClock.now(), self.numbers.fetch_add(1, Ordering::Relaxed))
    }

    fn line(&self) -> LockLine {
        LockLine { sku_id: SkuId(49), ware_sku_id: self.row, num: 1 }
    }

    /// As the SKU's actor asks: all waiting owners in one unit.
    fn locks(&self, owners: u64) -> Vec<WriteUnit> {
        let request = |_| LockRequest { order_sn: self.number(), lines: vec![self.line()] };
        let requests = (0..owners).map(request).collect();
        vec![LockStock { requests, lease: Duration::from_secs(1800) }.into()]
    }

    /// As the order actors ask: one unit per order.
    fn orders(&self, orders: u64) -> Vec<WriteUnit> {
        (0..orders).map(|n| self.order(UserId(i64::try_from(n).unwrap_or(0) + 1)).into()).collect()
    }

    fn order(&self, user_id: UserId) -> PlaceOrder {
        let order_sn = self.number();
        let order = NewOrder {
            order_sn: order_sn.clone(),
            user_id,
            username: "user".into(),
            pay_type: PayType::Online,
            total_amount: Money(1_000_000),
            pay_amount: Money(1_000_000),
            delivery_company: "顺丰".into(),
            receiver: receiver(),
            items: vec![OrderItem {
                sku_id: SkuId(49),
                spu_id: 7,
                category_id: 225,
                title: "apple iphone xr 8g,白色,256".into(),
                image: "https://ggmall.oss-cn-shanghai.aliyuncs.com/2019-10-06/mi1.jpg".into(),
                price: Money(1_000_000),
                quantity: 1,
                attributes: r#"[{"attrName":"颜色","attrValue":"白色"}]"#.into(),
            }],
            payment_timeout: Duration::from_secs(1800),
            sale_id: None,
            pay_page_issued: true,
        };
        PlaceOrder { token: format!("token-{order_sn}"), order, locks: vec![self.line()], request: None }
    }
}

fn receiver() -> Receiver {
    Receiver {
        name: "李先锋".into(),
        phone: "13888888888".into(),
        post_code: "200122".into(),
        province: "上海".into(),
        city: "上海市".into(),
        region: "松江区".into(),
        detail_address: "大江大厦6层".into(),
    }
}

async fn raw_connection(path: &PathBuf) -> SqliteConnection {
    SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "4000")
        .pragma("cache_size", "-32768")
        .busy_timeout(Duration::from_secs(5))
        .disable_statement_logging()
        .connect()
        .await
        .expect("the file can be opened twice")
}

/// The raw way to lock: a guarded UPDATE, a JSON insert, a commit.
async fn raw_locks(raw: &mut SqliteConnection, shop: &Shop, owners: u64) {
    let numbers: Vec<OrderSn> = (0..owners).map(|_| shop.number()).collect();
    let rows: Vec<_> = numbers.iter().map(|number| (number, shop.row, 49, 1, lease())).collect();
    let rows = serde_json::to_string(&rows).expect("plain values");
    let mut transaction = raw.begin_with("BEGIN IMMEDIATE").await.expect("the lock is free");
    raise(&mut transaction, shop, owners).await;
    insert_locks(&mut transaction, rows).await;
    transaction.commit().await.expect("commit");
}

fn lease() -> Timestamp {
    SystemClock.now().plus(Duration::from_secs(1800))
}

async fn raise(raw: &mut SqliteConnection, shop: &Shop, units: u64) {
    let raised = sqlx::query(
        "UPDATE wms_ware_sku SET stock_locked = stock_locked + ?1, version = version + 1
         WHERE id = ?2 AND stock - stock_locked >= ?1",
    )
    .bind(i64::try_from(units).expect("a batch is small"))
    .bind(shop.row.0)
    .execute(raw)
    .await
    .expect("the guard holds");
    assert_eq!(raised.rows_affected(), 1);
}

async fn insert_locks(raw: &mut SqliteConnection, rows: String) {
    sqlx::query(
        "INSERT INTO wms_stock_lock (order_sn, ware_sku_id, sku_id, num, lease_until, create_time, modify_time)
         SELECT value->>0, value->>1, value->>2, value->>3, value->>4, 1, 1 FROM jsonb_each(?)",
    )
    .bind(rows)
    .execute(raw)
    .await
    .expect("the rows are new");
}

/// The raw way to place orders: the same, with an order and an item row for each.
async fn raw_orders(raw: &mut SqliteConnection, shop: &Shop, orders: u64) {
    let numbers: Vec<OrderSn> = (0..orders).map(|_| shop.number()).collect();
    let now = SystemClock.now();
    let r = receiver();
    let rows: Vec<_> = numbers
        .iter()
        .enumerate()
        .map(|(n, number)| {
            let who = (number, n + 1, format!("token-{number}"), "user", 1_000_000, now, "顺丰");
            (who, (&r.name, &r.phone, &r.post_code, &r.province, &r.city, &r.region, &r.detail_address))
        })
        .collect();
    let items: Vec<_> = numbers
        .iter()
        .map(|number| {
            let image = "https://ggmall.oss-cn-shanghai.aliyuncs.com/2019-10-06/mi1.jpg";
            (number, "apple iphone xr 8g,白色,256", image, r#"[{"attrName":"颜色","attrValue":"白色"}]"#)
        })
        .collect();
    let locks: Vec<_> = numbers.iter().map(|number| (number, shop.row, 49, 1, None::<i64>)).collect();
    let (rows, items) =
        (serde_json::to_string(&rows).expect("plain values"), serde_json::to_string(&items).expect("plain values"));
    let locks = serde_json::to_string(&locks).expect("plain values");
    let mut transaction = raw.begin_with("BEGIN IMMEDIATE").await.expect("the lock is free");
    raise(&mut transaction, shop, orders).await;
    sqlx::query(
        "INSERT INTO oms_order
             (order_sn, member_id, order_token, member_username, total_amount, pay_amount, pay_type, status, pay_before,
              pay_page_issued_time, delivery_company, create_time, modify_time, receiver_name, receiver_phone,
              receiver_post_code, receiver_province, receiver_city, receiver_region, receiver_detail_address)
         SELECT value->>'$[0][0]', value->>'$[0][1]', value->>'$[0][2]', value->>'$[0][3]', value->>'$[0][4]',
                value->>'$[0][4]', 1, 0, value->>'$[0][5]', value->>'$[0][5]', value->>'$[0][6]', value->>'$[0][5]',
                value->>'$[0][5]', value->>'$[1][0]', value->>'$[1][1]', value->>'$[1][2]', value->>'$[1][3]',
                value->>'$[1][4]', value->>'$[1][5]', value->>'$[1][6]'
         FROM jsonb_each(?)",
    )
    .bind(rows)
    .execute(&mut *transaction)
    .await
    .expect("the rows are new");
    sqlx::query(
        "INSERT INTO oms_order_item
             (order_sn, line, sku_id, spu_id, category_id, sku_name, sku_pic, sku_price, sku_quantity, sku_attrs_vals)
         SELECT value->>0, 0, 49, 7, 225, value->>1, value->>2, 1000000, 1, value->>3 FROM jsonb_each(?)",
    )
    .bind(items)
    .execute(&mut *transaction)
    .await
    .expect("the rows are new");
    insert_locks(&mut transaction, locks).await;
    transaction.commit().await.expect("commit");
}

/// What a batch is made of.
type Batch = fn(&Shop, SaleId, u64) -> Vec<WriteUnit>;

/// The batches of a kind through the store on SQLite, and on PostgreSQL when there is a server.
fn through_stores(group: &mut BenchmarkGroup<'_, WallTime>, size: u64, batch: Batch) {
    let runtime = runtime();
    let shop = runtime.block_on(Shop::open());
    through(group, BenchmarkId::new("store", size), (&runtime, &shop), size, batch);
    let Some(server) = common::postgres() else { return };
    let shop = runtime.block_on(Shop::open_on(&server));
    through(group, BenchmarkId::new("postgres", size), (&runtime, &shop), size, batch);
    drop(shop);
    runtime.block_on(common::drop_schema(&server));
}

/// On the runtime that the store was opened on: its connections to PostgreSQL belong to that.
fn through(
    group: &mut BenchmarkGroup<'_, WallTime>,
    id: BenchmarkId,
    (runtime, shop): (&Runtime, &Shop),
    size: u64,
    batch: Batch,
) {
    let sale_id = runtime.block_on(shop.arm());
    group.bench_function(id, |bencher| {
        bencher.iter(|| {
            let units = batch(shop, sale_id, size);
            runtime.block_on(shop.store.commit(&units)).expect("the batch is sound")
        });
    });
}

fn lock_stock(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("lock_stock");
    for size in BATCHES {
        group.throughput(Throughput::Elements(size));
        let shop = runtime.block_on(Shop::open());
        group.bench_function(BenchmarkId::new("raw", size), |bencher| {
            let mut raw = runtime.block_on(raw_connection(&shop.path));
            bencher.iter(|| runtime.block_on(raw_locks(&mut raw, &shop, size)));
        });
        through_stores(&mut group, size, |shop, _, size| shop.locks(size));
    }
    group.finish();
}

fn place_order(criterion: &mut Criterion) {
    let runtime = runtime();
    let mut group = criterion.benchmark_group("place_order");
    for size in BATCHES {
        group.throughput(Throughput::Elements(size));
        let shop = runtime.block_on(Shop::open());
        group.bench_function(BenchmarkId::new("raw", size), |bencher| {
            let mut raw = runtime.block_on(raw_connection(&shop.path));
            bencher.iter(|| runtime.block_on(raw_orders(&mut raw, &shop, size)));
        });
        through_stores(&mut group, size, |shop, _, size| shop.orders(size));
    }
    group.finish();
}

fn commit_grants(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("commit_grants");
    for size in BATCHES {
        group.throughput(Throughput::Elements(size));
        through_stores(&mut group, size, Shop::grants);
    }
    group.finish();
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

criterion_group!(benches, lock_stock, place_order, commit_grants);
criterion_main!(benches);
