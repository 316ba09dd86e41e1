//! A store with a past, made by statements in bulk (`benches/fixtures`): what growth is measured on.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use actors::ports::clock::Clock;
use actors::ports::store::StoreRules;
use anyhow::{Context, ensure};
use seckill::machine::{SystemClock, SystemEntropy};
use seckill::store::postgres::{PostgresSettings, PostgresStore, StoreClock};
use seckill::store::sqlite::SqliteStore;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection, PgConnection};

/// The past began so long ago.
const PAST: Duration = Duration::from_secs(90 * 24 * 3600);
/// Flash sales in it; the statements know the number, too.
const SALES: i64 = 10;

/// How much there shall be.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Sizes {
    /// SKUs with stock, numbered from 100
    #[arg(long, default_value_t = 10_000)]
    pub skus: i64,
    /// Members, numbered from 1
    #[arg(long, default_value_t = 100_000)]
    pub members: i64,
    /// Finished orders
    #[arg(long, default_value_t = 1_000_000)]
    pub orders: i64,
}

impl Sizes {
    /// Units that each of the past sales sold, to one member each.
    pub fn won(&self) -> i64 {
        (self.orders / 20 / SALES).min(self.members)
    }

    fn most(&self) -> i64 {
        self.orders.max(self.members).max(self.skus)
    }
}

/// Where the store is.
pub enum Place {
    /// A SQLite file.
    File(PathBuf),
    /// The address of a PostgreSQL database; the user must be a superuser.
    Server(String),
}

/// Fills an empty store, the demo data among it.
///
/// # Errors
/// When the store cannot be used, or is filled already.
pub async fn fill(place: &Place, rules: StoreRules, sizes: Sizes) -> anyhow::Result<()> {
    ensure!(sizes.skus >= SALES && sizes.members >= 1 && sizes.orders >= 0, "at least {SALES} SKUs and one member");
    match place {
        Place::File(path) => fill_sqlite(path, rules, sizes).await,
        Place::Server(url) => fill_postgres(url, rules, sizes).await,
    }
}

fn began() -> i64 {
    SystemClock.now().0 - i64::try_from(PAST.as_millis()).unwrap_or(0)
}

async fn fill_sqlite(path: &Path, rules: StoreRules, sizes: Sizes) -> anyhow::Result<()> {
    let store = SqliteStore::open(path, Arc::new(SystemClock), Arc::new(SystemEntropy), rules).await?;
    store.load_demo().await?;
    store.close().await;
    // Nothing to be lost: a fill that fails is made again from nothing.
    let options = SqliteConnectOptions::new()
        .filename(path)
        .journal_mode(SqliteJournalMode::Off)
        .synchronous(SqliteSynchronous::Off)
        .foreign_keys(false)
        .pragma("locking_mode", "EXCLUSIVE")
        .pragma("cache_size", "-524288")
        .disable_statement_logging();
    let mut connection = options.connect().await?;
    sqlx::raw_sql("CREATE TEMP TABLE wanted (skus INTEGER, members INTEGER, orders INTEGER, won INTEGER, most INTEGER, began INTEGER)")
        .execute(&mut connection)
        .await?;
    sqlx::query("INSERT INTO wanted VALUES (?, ?, ?, ?, ?, ?)")
        .bind(sizes.skus)
        .bind(sizes.members)
        .bind(sizes.orders)
        .bind(sizes.won())
        .bind(sizes.most())
        .bind(began())
        .execute(&mut connection)
        .await?;
    sqlx::raw_sql(include_str!("../fixtures/sqlite.sql")).execute(&mut connection).await.context("sqlite.sql")?;
    connection.close().await?;
    Ok(())
}

async fn fill_postgres(url: &str, rules: StoreRules, sizes: Sizes) -> anyhow::Result<()> {
    let settings = PostgresSettings::new(url);
    let store = PostgresStore::open(&settings, StoreClock::Database, Arc::new(SystemEntropy), rules).await?;
    store.load_demo().await?;
    store.close().await;
    let mut connection = PgConnection::connect(url).await?;
    sqlx::raw_sql(
        "CREATE TEMP TABLE wanted (skus BIGINT, members BIGINT, orders BIGINT, won BIGINT, most BIGINT, began BIGINT)",
    )
    .execute(&mut connection)
    .await?;
    sqlx::query("INSERT INTO wanted VALUES ($1, $2, $3, $4, $5, $6)")
        .bind(sizes.skus)
        .bind(sizes.members)
        .bind(sizes.orders)
        .bind(sizes.won())
        .bind(sizes.most())
        .bind(began())
        .execute(&mut connection)
        .await?;
    sqlx::raw_sql(include_str!("../fixtures/postgres.sql")).execute(&mut connection).await.context("postgres.sql")?;
    connection.close().await?;
    Ok(())
}
