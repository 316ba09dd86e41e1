//! The stock part on SQLite: a fair lock in the process, SELECT, UPDATE; each change durable by itself.

use std::sync::Arc;
use std::time::Duration;

use actors::local::clock::SeededEntropy;
use actors::ports::store::StoreRules;
use anyhow::Context;
use seckill::machine::SystemClock;
use seckill::store::sqlite::SqliteStore;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, SqliteConnection};
use tokio::sync::Mutex;

use super::{Client, Effort, measure};

const RULES: StoreRules =
    StoreRules { items_per_message: 256, points_per_yuan: 1, close_grace: Duration::from_secs(60) };

pub async fn run(effort: Effort) -> anyhow::Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("course.db");
    let store = SqliteStore::open(&path, Arc::new(SystemClock), Arc::new(SeededEntropy::new(1)), RULES).await?;
    store.load_demo().await?;
    store.close().await;
    let options = SqliteConnectOptions::new()
        .filename(&path)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    sqlx::query("UPDATE wms_ware_sku SET stock = 1000000000000").execute(&mut connection).await?;
    let shared = Arc::new(Mutex::new(connection));
    let clients = (0..effort.clients).map(|_| Stock { connection: shared.clone() }).collect();
    measure("SQLite, one SKU: fair lock, SELECT, UPDATE", effort, clients).await
}

struct Stock {
    /// Tokio's mutex is first come, first served.
    connection: Arc<Mutex<SqliteConnection>>,
}

impl Client for Stock {
    async fn go(&mut self) -> anyhow::Result<()> {
        let mut connection = self.connection.lock().await;
        let row: Option<(i64,)> =
            sqlx::query_as("SELECT id FROM wms_ware_sku WHERE sku_id = ? AND stock - stock_locked >= ?")
                .bind(49_i64)
                .bind(1_i64)
                .fetch_optional(&mut *connection)
                .await?;
        let (id,) = row.context("no stock")?;
        sqlx::query("UPDATE wms_ware_sku SET stock_locked = stock_locked + ? WHERE id = ?")
            .bind(1_i64)
            .bind(id)
            .execute(&mut *connection)
            .await?;
        Ok(())
    }
}
