//! Lost connections and rows that others hold.

use std::sync::Arc;
use std::time::Duration;

use actors::domain::SkuId;
use actors::domain::stock::StockRow;
use actors::local::clock::ManualClock;
use actors::ports::contract::store::Fixture;
use actors::ports::contract::store::values::{foreign, line, request, sku};
use actors::ports::contract::store::world::{LEASE, NORTH, PHONE, RULES, START_MS};
use actors::ports::store::units::{LockStock, WriteUnit};
use actors::ports::store::{Committed, StockReads, Store, StoreError};
use actors::testkit::until_some;
use seckill::store::postgres::{PostgresSettings, StoreClock};
use sqlx::{Connection, PgConnection};

use super::database::Kept;

async fn phones() -> (Kept, StockRow) {
    let kept = Kept::new(Arc::new(ManualClock::new(START_MS)), RULES).await;
    kept.add_sku(&sku(PHONE)).await;
    kept.add_warehouse(NORTH, "north").await;
    kept.add_stock(PHONE, NORTH, 10).await;
    let row = stored(&kept, PHONE).await;
    (kept, row)
}

async fn stored(kept: &Kept, sku_id: SkuId) -> StockRow {
    kept.store.stock_rows(sku_id).await.expect("stock is readable")[0]
}

fn lock(owner: &str, row: &StockRow) -> Vec<WriteUnit> {
    vec![LockStock { requests: vec![request(&foreign(owner), &[line(row, 1)])], lease: LEASE }.into()]
}

/// Another program that holds the stock row.
async fn holder(kept: &Kept) -> PgConnection {
    let mut holder = kept.database.stranger().await;
    sqlx::query("BEGIN").execute(&mut holder).await.expect("begin");
    sqlx::query("SELECT 1 FROM wms_ware_sku FOR UPDATE").execute(&mut holder).await.expect("the row is free");
    holder
}

/// The sessions that wait for it.
async fn waiting_for(holder: &mut PgConnection) -> Vec<i32> {
    sqlx::query_scalar("SELECT pid FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))")
        .fetch_all(holder)
        .await
        .expect("readable")
}

/// Commits while the row is held, and ends the waiting session once `end` says so.
async fn commit_and_lose(kept: &Kept, row: &StockRow) -> Result<Committed, StoreError> {
    let mut holder = holder(kept).await;
    let (store, units) = (kept.store.clone(), lock("cut", row));
    let commit = tokio::spawn(async move { store.commit(&units).await });
    let holder_cell = tokio::sync::Mutex::new(&mut holder);
    let session =
        until_some("the commit waits for the row", || async { waiting_for(*holder_cell.lock().await).await.pop() })
            .await;
    let terminate = sqlx::query("SELECT pg_terminate_backend($1)").bind(session);
    terminate.execute(&mut holder).await.expect("the session is ended");
    holder.close().await.expect("closing");
    commit.await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_lost_in_a_batch_leaves_nothing_half_done() {
    let (kept, row) = phones().await;
    let lost = commit_and_lose(&kept, &row).await;
    assert!(matches!(lost, Err(StoreError::Transient(_))), "{lost:?}");
    assert_eq!(stored(&kept, PHONE).await, row);
    assert_eq!(kept.store.locks_of(&[foreign("cut")]).await, Ok(vec![]));
    let again = kept.store.commit(&lock("cut", &row)).await.expect("the next try has a sound connection");
    assert_eq!(again.stock[0].locked, 1);
}

/// Ends the sessions of this store, as a restart of the server does; how many there were.
async fn end_sessions(stranger: &mut PgConnection) -> usize {
    let ended: Vec<bool> = sqlx::query_scalar(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
         WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid()",
    )
    .fetch_all(stranger)
    .await
    .expect("sessions can be ended");
    ended.len()
}

#[tokio::test]
async fn connections_that_died_while_idle_cost_no_batch() {
    let (kept, row) = phones().await;
    kept.store.commit(&lock("first", &row)).await.expect("the batch is sound");
    let ended = end_sessions(&mut kept.database.stranger().await).await;
    assert!(ended >= 2, "one that writes and one that reads: {ended}");
    let committed = kept.store.commit(&lock("second", &row)).await.expect("a dead connection is replaced");
    assert_eq!(committed.stock[0].locked, 2);
}

/// Sessions on this database: the store's and, until it is ended, one of the fixture itself.
async fn sessions(stranger: &tokio::sync::Mutex<PgConnection>) -> i64 {
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity
         WHERE application_name = current_setting('application_name') AND pid <> pg_backend_pid()",
    );
    count.fetch_one(&mut *stranger.lock().await).await.expect("readable")
}

#[tokio::test]
async fn all_connections_are_open_from_the_start_and_again_when_they_were_lost() {
    let (kept, row) = phones().await;
    let PostgresSettings { writers, readers, .. } = kept.database.settings();
    let all = i64::from(writers + readers);
    let stranger = tokio::sync::Mutex::new(kept.database.stranger().await);
    let before = sessions(&stranger).await;
    let another = kept.database.open_with(&kept.database.settings(), StoreClock::Database, RULES).await;
    assert_eq!(sessions(&stranger).await, before + all);
    another.close().await;
    end_sessions(&mut *stranger.lock().await).await;
    // The driver notices the loss of a connection when it is used.
    for _ in 0..all {
        let _ = kept.store.stock_rows(PHONE).await;
        let _ = kept.store.commit(&lock("any", &row)).await;
    }
    until_some("all connections are open", || async { (sessions(&stranger).await >= all).then_some(()) }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_held_too_long_is_tried_again_later() {
    let (kept, row) = phones().await;
    let holder = holder(&kept).await;
    let settings = PostgresSettings { lock_timeout: Duration::from_millis(50), ..kept.database.settings() };
    let hasty = kept.database.open_with(&settings, StoreClock::Database, RULES).await;
    let refused = hasty.commit(&lock("late", &row)).await;
    assert!(matches!(refused, Err(StoreError::Transient(_))), "{refused:?}");
    holder.close().await.expect("closing");
    hasty.commit(&lock("late", &row)).await.expect("the row is free");
}
