//! The durable store of the embedded mode: one SQLite file, WAL, `synchronous=FULL`.
//!
//! One connection writes and four read. A batch is one `BEGIN IMMEDIATE` transaction that a task of its own carries
//! out, so a caller that goes away can neither cut it in two nor leave it open (DESIGN rule 13). The SQL is static, and a
//! batch of any size is one statement: rows travel as parameters of a list that has room for them ([`script`]), or, where
//! few are written, as one JSON array that `jsonb_each` unfolds. Writes that need no answer share a trip to the
//! connection's thread.

mod audit;
mod bulk;
mod commit;
mod connection;
mod deliveries;
mod demo;
mod flash_orders;
mod grants;
mod inbox;
mod locks;
mod members;
mod order_rows;
mod orders;
mod outbox;
mod requests;
mod rows;
mod script;
mod stock;

// What is the same in both databases stands once and is compiled for each.
#[path = "../both/catalog.rs"]
mod catalog;
#[path = "../both/flash_sales.rs"]
mod flash_sales;
#[path = "../both/fulfilment.rs"]
mod fulfilment;
#[path = "../both/fulfilment_reads.rs"]
mod fulfilment_reads;
#[path = "../both/member_reads.rs"]
mod member_reads;
#[path = "../both/messages.rs"]
mod messages;
#[path = "../both/payments.rs"]
mod payments;
#[path = "../both/refunds.rs"]
mod refunds;
#[path = "../both/returns.rs"]
mod returns;
#[path = "../both/sale_life.rs"]
mod sale_life;
#[path = "../both/stock_reads.rs"]
mod stock_reads;
#[path = "../both/webhooks.rs"]
mod webhooks;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use actors::domain::Timestamp;
use actors::ports::clock::{Clock, Entropy};
use actors::ports::store::units::WriteUnit;
use actors::ports::store::{Committed, Store, StoreError, StoreRules};
use async_trait::async_trait;
use sqlx::SqlitePool;

pub use connection::OpenError;
use connection::Readers;

/// What the files of `both` implement their part of the port for.
type DatabaseStore = SqliteStore;

/// A commit that takes longer than this is answered [`StoreError::Unknown`]; it goes on in its task.
const COMMIT_LIMIT: Duration = Duration::from_secs(30);

/// The SQLite store.
#[derive(Clone)]
pub struct SqliteStore {
    writer: SqlitePool,
    readers: Readers,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    rules: StoreRules,
}

impl SqliteStore {
    /// Opens the file, making it (mode 0600) and its tables when they are missing. `clock` is the store's clock: the
    /// one that every deadline and every row's time comes from.
    ///
    /// # Errors
    /// [`OpenError`]: the file cannot be used, or its schema is newer than this binary.
    pub async fn open(
        path: impl AsRef<Path>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
        rules: StoreRules,
    ) -> Result<Self, OpenError> {
        let (writer, readers) = connection::open(path.as_ref()).await?;
        Ok(Self { writer, readers, clock, entropy, rules })
    }

    /// The one connection that writes, for other books in the same file (the sandbox's). Sharing it, they queue for it
    /// fairly instead of fighting over the file's lock; keep transactions on it short.
    pub fn writer_pool(&self) -> SqlitePool {
        self.writer.clone()
    }

    /// Waits for the running commit, moves the write-ahead log into the file and closes it.
    pub async fn close(&self) {
        self.readers.close().await;
        if let Err(error) = connection::checkpoint(&self.writer).await {
            tracing::warn!(%error, "the write-ahead log stays until the next start");
        }
        self.writer.close().await;
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn commit(&self, units: &[WriteUnit]) -> Result<Committed, StoreError> {
        let store = self.clone();
        let units = units.to_vec();
        let task = tokio::spawn(async move { commit::commit(&store, &units).await });
        let finished = tokio::time::timeout(COMMIT_LIMIT, task).await;
        let joined = finished.map_err(|_| StoreError::Unknown("the commit is still running".into()))?;
        joined.map_err(|error| StoreError::Failed(format!("the commit task ended: {error}")))?
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(self.clock.now())
    }
}
