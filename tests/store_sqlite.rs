//! The SQLite store: the contract of the port, and what only a file can do.

#[path = "stores/mod.rs"]
mod stores;

use std::path::PathBuf;
use std::sync::Arc;

use actors::domain::events::{Message, Queue, RoutingKey};
use actors::domain::order::OrderStatus;
use actors::domain::stock::{Resolution, StockRow};
use actors::domain::{Money, OrderSn, SkuId, Timestamp, UserId};
use actors::local::clock::{ManualClock, SeededEntropy};
use actors::ports::contract::store::simulation::{Tally, live, missing_outcomes};
use actors::ports::contract::store::values::{cancelling, line, outcome, payment, sku};
use actors::ports::contract::store::world::{ALICE, BOB, CASE, LEASE, NORTH, PHONE, RULES, START_MS, World};
use actors::ports::contract::store::{Fixture, StoreFixture};
use actors::ports::store::units::{
    AdjustStock, Adjustment, CloseOrders, Enqueue, LockRequest, LockResolved, LockStock, PlaceOrder, Placement,
    ResolveLocks, StockLock, StockLocks, WriteUnit,
};
use actors::ports::store::{
    AuditReads, CatalogReads, MemberReads, MessageReads, QueuePosition, StockReads, Store, StoreError, StoreRules,
};
use actors::testkit::for_seeds;
use async_trait::async_trait;
use seckill::store::sqlite::{OpenError, SqliteStore};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{ConnectOptions, Connection};
use tempfile::TempDir;

const LIVES: u64 = 24;
const BATCHES: usize = 80;

/// Makes stores in directories of their own.
struct Files;

struct File {
    store: Arc<SqliteStore>,
    path: PathBuf,
    clock: Arc<ManualClock>,
    /// Removed with the fixture.
    _directory: TempDir,
}

#[async_trait]
impl StoreFixture for Files {
    async fn fresh(&self, clock: Arc<ManualClock>, rules: StoreRules) -> Box<dyn Fixture> {
        Box::new(File::new(clock, rules).await)
    }
}

async fn open(path: &std::path::Path, clock: Arc<ManualClock>, rules: StoreRules) -> Result<SqliteStore, OpenError> {
    SqliteStore::open(path, clock, Arc::new(SeededEntropy::new(1)), rules).await
}

impl File {
    async fn new(clock: Arc<ManualClock>, rules: StoreRules) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("seckill.db");
        let store = open(&path, clock.clone(), rules).await.expect("a new file can be opened");
        Self { store: Arc::new(store), path, clock, _directory: directory }
    }

    /// Another connection to the same file, as another program would have it.
    async fn stranger(&self) -> SqliteConnection {
        SqliteConnectOptions::new().filename(&self.path).connect().await.expect("the file can be opened twice")
    }

    async fn execute(&self, statement: sqlx::query::Query<'_, sqlx::Sqlite, sqlx::sqlite::SqliteArguments>) {
        let mut stranger = self.stranger().await;
        statement.execute(&mut stranger).await.expect("the statement is sound");
        stranger.close().await.expect("closing");
    }
}

stores::sql_fixture!(File);

actors::store_contract!(Files);

/// Random lives, beside the reference model where their seeds are even.
#[test]
fn random_lives_are_sound() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut tally = Tally::new();
    for_seeds(LIVES, |seed| {
        for (outcome, times) in runtime.block_on(live(&Files, seed, BATCHES)) {
            *tally.entry(outcome).or_default() += times;
        }
    });
    if std::env::var_os("SEED").is_none() {
        assert_eq!(missing_outcomes(&tally), [""; 0], "lives must be eventful: {tally:#?}");
    }
}

/// A file with 10 phones in one warehouse, for tests that need the file itself.
async fn phones() -> (File, StockRow) {
    let file = File::new(Arc::new(ManualClock::new(START_MS)), RULES).await;
    file.add_sku(&sku(PHONE)).await;
    file.add_warehouse(NORTH, "north").await;
    file.add_stock(PHONE, NORTH, 10).await;
    let row = file.store.stock_rows(PHONE).await.expect("stock is readable")[0];
    (file, row)
}

fn foreign_lock(owner: &str, row: &StockRow, num: u32) -> LockStock {
    let order_sn = OrderSn::parse(owner).expect("a number by the grammar");
    LockStock { requests: vec![LockRequest { order_sn, lines: vec![line(row, num)] }], lease: LEASE }
}

#[tokio::test]
async fn a_row_changed_behind_the_servers_back_makes_the_unit_stale() {
    let (file, row) = phones().await;
    file.tamper_stock(row.id, 10, 9).await;
    let units: Vec<WriteUnit> = vec![foreign_lock("a", &row, 2).into(), foreign_lock("b", &row, 1).into()];
    let committed = file.store.commit(&units).await.expect("the batch is sound");
    assert_eq!(outcome::<LockStock>(&committed, 0), StockLocks::Stale(vec![PHONE]));
    assert_eq!(outcome::<LockStock>(&committed, 1), StockLocks::Done(vec![StockLock::Locked]));
    let row = file.store.stock_rows(PHONE).await.expect("stock is readable")[0];
    assert_eq!((row.stock, row.locked), (10, 10));
    assert_eq!(committed.stock, [row]);
}

#[tokio::test]
async fn closing_and_opening_again_keeps_everything() {
    let (file, row) = phones().await;
    let committed = file.store.commit(&[foreign_lock("a", &row, 3).into()]).await.expect("the batch is sound");
    assert_eq!(committed.stock[0].locked, 3);
    file.store.close().await;
    let left: Vec<_> = std::fs::read_dir(file.path.parent().expect("a directory"))
        .expect("readable")
        .map(|entry| entry.expect("readable").file_name())
        .collect();
    assert_eq!(left, ["seckill.db"], "the write-ahead log is in the file");
    let again = open(&file.path, file.clock.clone(), RULES).await.expect("the file can be opened again");
    assert_eq!(again.stock_rows(PHONE).await, Ok(committed.stock));
    again.close().await;
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let (file, _) = phones().await;
    let newer = sqlx::query(
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
         VALUES (9999, 'of the future', TRUE, x'00', 0)",
    );
    file.execute(newer).await;
    let refusal = open(&file.path, file.clock.clone(), RULES).await.err().expect("refused");
    assert!(matches!(refusal, OpenError::NewerSchema { found: 9999, .. }), "{refusal}");
}

#[tokio::test]
async fn the_file_is_the_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (file, _) = phones().await;
    for name in ["seckill.db", "seckill.db-wal", "seckill.db-shm"] {
        let metadata = std::fs::metadata(file.path.with_file_name(name)).expect("the file exists");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn the_ledger_is_append_only() {
    let (file, _) = phones().await;
    let mut stranger = file.stranger().await;
    for statement in ["UPDATE wms_stock_ledger SET delta = 0", "DELETE FROM wms_stock_ledger"] {
        let refusal = sqlx::query(statement).execute(&mut stranger).await.expect_err(statement);
        assert!(refusal.to_string().contains("append-only"), "{refusal}");
    }
}

#[tokio::test]
async fn a_constraint_undoes_the_whole_batch() {
    let (file, row) = phones().await;
    // The second unit locks no units, which the table forbids.
    let units: Vec<WriteUnit> = vec![foreign_lock("a", &row, 1).into(), foreign_lock("b", &row, 0).into()];
    let refusal = file.store.commit(&units).await.expect_err("a lock of nothing is refused");
    assert!(matches!(refusal, StoreError::Constraint(_)), "{refusal:?}");
    assert_eq!(file.store.stock_rows(PHONE).await, Ok(vec![row]));
    assert_eq!(file.store.locks_of(&[]).await, Ok(vec![]));
}

#[tokio::test]
async fn a_dropped_caller_neither_stops_nor_cuts_a_commit() {
    let (file, row) = phones().await;
    let store = file.store.clone();
    let units = [foreign_lock("a", &row, 1).into()];
    let mut commit = Box::pin(store.commit(&units));
    // One poll starts the task; then the caller goes away.
    std::future::poll_fn(|context| {
        assert!(commit.as_mut().poll(context).is_pending());
        std::task::Poll::Ready(())
    })
    .await;
    drop(commit);
    // The single writer serialises: when this is answered, the abandoned one is over.
    let committed = file.store.commit(&[foreign_lock("b", &row, 1).into()]).await.expect("the writer is free");
    assert_eq!(committed.stock[0].locked, 2, "the abandoned commit happened wholly");
}

#[tokio::test]
async fn demo_data_is_the_samples_and_loads_once() {
    let file = File::new(Arc::new(ManualClock::new(START_MS)), RULES).await;
    for _ in 0..2 {
        file.store.load_demo().await.expect("the demo data is sound");
    }
    let member = file.store.member(UserId(1)).await.expect("readable").expect("member 1");
    assert_eq!(member.integration, 1000);
    let addresses = file.store.addresses(UserId(1)).await.expect("readable");
    let named: Vec<_> = addresses.iter().map(|a| (a.id, a.receiver.name.as_str(), a.is_default)).collect();
    assert_eq!(named, [(1, "李先锋", true), (2, "锋哥", false)]);
    assert_eq!(addresses[0].receiver.phone, "13888888888");
    assert_eq!(addresses[1].areacode, "12222");
    let everybody: Vec<UserId> = (1..=1000).map(UserId).collect();
    let buyers = file.store.buyers(&everybody).await.expect("readable");
    assert_eq!(buyers.iter().filter(|buyer| buyer.receiver.is_some()).count(), 1000);
    let skus = file.store.skus(&[SkuId(48), SkuId(49)]).await.expect("readable");
    let attributes: Vec<i64> = skus.iter().flat_map(|sku| &sku.attributes).map(|attribute| attribute.id).collect();
    assert_eq!(attributes, [133, 134, 135, 136, 137, 138]);
    for sku in &skus {
        assert_eq!((sku.title.as_str(), sku.price), ("apple iphone xr 8g,白色,256", Money(1_000_000)));
        let rows = file.store.stock_rows(sku.sku_id).await.expect("readable");
        assert_eq!(rows.iter().map(|row| (row.stock, row.locked)).collect::<Vec<_>>(), [(1000, 0), (1000, 0)]);
    }
    let report = actors::domain::invariants::check(&file.store.facts(0).await.expect("readable"));
    assert!(report.is_ok(), "{:?}", report.broken());
}

#[tokio::test]
async fn units_of_many_kinds_in_one_batch_are_explained_by_their_order() {
    let world = World::with_phones(&Files, 10).await;
    world.fixture.add_stock(CASE, NORTH, 5).await;
    let cancelled = world.placed(ALICE, 2).await;
    let paid = world.placed(BOB, 3).await;
    let receipt = world.receipt(&paid).await;
    let adjust = AdjustStock { sku_id: PHONE, ware_id: NORTH, delta: -5, reason: "count".into() };
    let release = ResolveLocks {
        sku_id: PHONE,
        way: Resolution::Release,
        order_sns: vec![cancelled.clone()],
        lapsed_only: false,
    };
    let phones = world.phones(3).await;
    let close: CloseOrders = cancelling(&cancelled);
    let committed = world
        .commit(vec![
            // 5 are locked: taking 5 of 10 leaves none.
            adjust.into(),
            world.placing(ALICE, &phones).into(),
            release.clone().into(),
            close.into(),
            payment(receipt).into(),
            release.into(),
            world.placing(BOB, &phones[..]).into(),
        ])
        .await;
    assert!(matches!(outcome::<AdjustStock>(&committed, 0), Adjustment::Done(_)));
    let first = outcome::<PlaceOrder>(&committed, 1);
    assert_eq!(first, Placement::Stale(vec![PHONE]));
    let before_close = outcome::<ResolveLocks>(&committed, 2);
    assert_eq!(before_close, [LockResolved::Refused(OrderStatus::AwaitingPayment)]);
    assert_eq!(outcome::<ResolveLocks>(&committed, 5), [LockResolved::Now(2)]);
    // 5 on hand, 3 locked by the paid order: 2 are free.
    let last = outcome::<PlaceOrder>(&committed, 6);
    assert_eq!(last, Placement::Stale(vec![PHONE]));
    assert_eq!(world.stock(PHONE).await, (5, 3));
    world.assert_sound().await;
}

#[tokio::test]
async fn a_thousand_orders_are_one_batch() {
    let world = World::with_phones(&Files, 1000).await;
    let phones = world.phones(1).await;
    let units: Vec<WriteUnit> = (0..1024).map(|n| world.placing(UserId(n), &phones).into()).collect();
    let committed = world.commit(units).await;
    let placed = (0..1024)
        .filter(|&place| {
            matches!(
                outcome::<PlaceOrder>(&committed, place),
                Placement::Placed { created_at: Timestamp(START_MS), .. }
            )
        })
        .count();
    assert_eq!(placed, 1000, "as many as there are units");
    assert_eq!(world.stock(PHONE).await, (1000, 1000));
    assert_eq!(committed.messages.len(), 8, "four of order.create, four of cart.delete");
    assert_eq!(world.store.unpublished(0, 100).await.expect("readable").len(), 8);
    world.assert_sound().await;
}

#[tokio::test]
async fn the_queue_is_read_in_pages_by_due_time_and_id() {
    let (file, _) = phones().await;
    let message = |id: &str| Message { message_id: id.into(), key: RoutingKey::OrderClose, payload: "{}".into() };
    let queued = [("b", 10), ("a", 10), ("c", 5), ("d", 20)];
    let messages = queued.map(|(id, due_at)| (message(id), Queue::OrderClose, Timestamp(due_at))).to_vec();
    let other = vec![(message("e"), Queue::SecKill, Timestamp(10))];
    let units = [Enqueue { messages }.into(), Enqueue { messages: other }.into()];
    file.store.commit(&units).await.expect("the batch is sound");

    let (from, until) = (QueuePosition::before(Timestamp(5)), QueuePosition::before(Timestamp(20)));
    let page = |from: QueuePosition| {
        let (store, until) = (file.store.clone(), until.clone());
        async move { store.queued_between(Queue::OrderClose, &from, &until, 2).await.expect("readable") }
    };
    let first = page(from).await;
    assert_eq!(first.iter().map(|queued| queued.message_id.as_str()).collect::<Vec<_>>(), ["c", "a"]);
    let second = page(first[1].position().next()).await;
    assert_eq!(second.iter().map(|queued| queued.message_id.as_str()).collect::<Vec<_>>(), ["b"]);
}

/// Statements that read a short table, or all of what they ask for.
const WHOLE: [&str; 2] =
    ["SCAN l USING INDEX wms_stock_lock_open", "SCAN oms_refund_info USING INDEX oms_refund_info_pending"];

#[tokio::test]
async fn every_statement_finds_its_rows_by_an_index() {
    let (file, _) = phones().await;
    let mut stranger = file.stranger().await;
    let mut scans = Vec::new();
    for statement in stores::statements("sqlite", "IN (SELECT value FROM jsonb_each($1))") {
        let explain = sqlx::query_as(sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {statement}")));
        let steps: Vec<(i64, i64, i64, String)> = explain.fetch_all(&mut stranger).await.expect(&statement);
        for (.., step) in steps {
            let is_whole = WHOLE.iter().any(|whole| step.starts_with(whole));
            if let Some(table) = scanned(&step, &statement).filter(|table| stores::BIG.contains(table) && !is_whole) {
                scans.push(format!("{table}: {step}: {statement}"));
            }
        }
    }
    assert!(scans.is_empty(), "\n{}", scans.join("\n\n"));
}

/// The table that a step of a plan reads from end to end, by its own name.
fn scanned<'s>(step: &'s str, statement: &'s str) -> Option<&'s str> {
    let name = step.strip_prefix("SCAN ")?.split(' ').next()?;
    let words: Vec<&str> = statement.split_whitespace().collect();
    let alias = words.windows(3).find(|three| three[1] == "AS" && three[2] == name);
    Some(alias.map_or(name, |three| three[0]))
}
