//! The durable store of the mode, for what the port does not offer: opening, demo data, the sandbox's books, closing.

use std::sync::Arc;
use std::time::Duration;

use actors::ports::store::{Store, StoreError, StoreRules};
use anyhow::Context;

use crate::config::{Config, Mode};
use crate::gateway::sandbox::ledger::SandboxLedger;
use crate::gateway::sandbox::postgres::PostgresLedger;
use crate::gateway::sandbox::sqlite::SqliteLedger;
use crate::machine::{SystemClock, SystemEntropy};
use crate::secret_file;
use crate::store::postgres::{PostgresSettings, PostgresStore, StoreClock};
use crate::store::sqlite::SqliteStore;

/// How long a command that is no server waits for a connection.
const PATIENCE: Duration = Duration::from_secs(10);

/// SQLite in embedded mode, PostgreSQL in cluster mode.
#[derive(Clone)]
pub enum DurableStore {
    Sqlite(SqliteStore),
    Postgres(PostgresStore),
}

impl DurableStore {
    /// Opens it and brings its schema up to date. Embedded mode makes what is missing under `data_dir`.
    pub async fn open(config: &Config) -> anyhow::Result<Self> {
        match config.mode {
            Mode::Embedded => Ok(Self::Sqlite(open_sqlite(config).await?)),
            Mode::Cluster => Ok(Self::Postgres(open_postgres(config, &postgres_settings(config)).await?)),
        }
    }

    /// Opens what is there, to be looked at: nothing is made.
    pub async fn open_existing(config: &Config) -> anyhow::Result<Self> {
        match config.mode {
            Mode::Embedded => {
                let path = config.database_path();
                anyhow::ensure!(path.exists(), "database {} does not exist", path.display());
                Ok(Self::Sqlite(open_sqlite(config).await?))
            }
            Mode::Cluster => {
                // Nobody waits for an answer here, so a busy server may take its time.
                let settings = PostgresSettings { acquire_timeout: PATIENCE, ..postgres_settings(config) };
                PostgresStore::require_schema(&settings).await?;
                Ok(Self::Postgres(open_postgres(config, &settings).await?))
            }
        }
    }

    /// As the port sees it.
    pub fn port(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(store) => Arc::new(store.clone()),
            Self::Postgres(store) => Arc::new(store.clone()),
        }
    }

    /// The books of the payment sandbox, in the same database.
    pub fn sandbox_ledger(&self) -> Arc<dyn SandboxLedger> {
        match self {
            Self::Sqlite(store) => Arc::new(SqliteLedger::new(store.writer_pool())),
            Self::Postgres(store) => Arc::new(PostgresLedger::new(store.writer_pool())),
        }
    }

    pub async fn load_demo(&self) -> Result<(), StoreError> {
        match self {
            Self::Sqlite(store) => store.load_demo().await,
            Self::Postgres(store) => store.load_demo().await,
        }
    }

    pub async fn close(&self) {
        match self {
            Self::Sqlite(store) => store.close().await,
            Self::Postgres(store) => store.close().await,
        }
    }
}

async fn open_sqlite(config: &Config) -> anyhow::Result<SqliteStore> {
    secret_file::make_directory(&config.data_dir)?;
    let path = config.database_path();
    let store = SqliteStore::open(&path, Arc::new(SystemClock), Arc::new(SystemEntropy), rules(config)).await;
    store.with_context(|| format!("database {}", path.display()))
}

async fn open_postgres(config: &Config, settings: &PostgresSettings) -> anyhow::Result<PostgresStore> {
    Ok(PostgresStore::open(settings, StoreClock::Database, Arc::new(SystemEntropy), rules(config)).await?)
}

fn postgres_settings(config: &Config) -> PostgresSettings {
    PostgresSettings::new(config.database.url.expose())
}

fn rules(config: &Config) -> StoreRules {
    StoreRules {
        items_per_message: config.bus.items_per_message,
        points_per_yuan: config.order.points_per_yuan,
        close_grace: config.order.close_grace,
    }
}
