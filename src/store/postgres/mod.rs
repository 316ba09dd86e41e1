//! The durable store of the cluster mode: PostgreSQL 15 or newer, shared by any number of nodes.
//!
//! A batch is one READ COMMITTED transaction that begins by locking, in one order that is the same everywhere, the
//! rows its decisions are made from ([`lock_order`]). From then on it reads and writes like the only writer: what it
//! read cannot change before it commits. What no row stands for yet (a token, an inbox entry) is kept single by a
//! UNIQUE index and `ON CONFLICT`. Guards and row counts stand in the statements all the same. Rows travel as arrays
//! that `unnest` turns into a table: the SQL is static and a batch of any size is one statement. The state that a row
//! is moved from by its key is a parameter, not a literal: with `state = 0` the server could prefer the partial index
//! over rows in that state, which is short when the plan is made and long in the middle of a sale. Whether a row
//! exists is asked by a join, not by `EXISTS` among what is selected, which may become a list of the whole table
//! (decision 31).
//!
//! Transactions run in tasks of their own, so a caller that goes away can neither cut one in two nor leave it open
//! (DESIGN rule 13).

mod audit;
mod bulk;
mod commit;
mod connection;
mod deliveries;
mod demo;
mod flash_orders;
mod grants;
mod inbox;
mod lock_order;
mod locks;
mod members;
mod open;
mod order_rows;
mod orders;
mod outbox;
mod presence;
mod requests;
mod rows;
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
mod written;

use std::sync::Arc;
use std::time::Duration;

use actors::domain::Timestamp;
use actors::ports::clock::{Clock, Entropy};
use actors::ports::store::units::WriteUnit;
use actors::ports::store::{Committed, Store, StoreError, StoreRules};
use async_trait::async_trait;
use sqlx::PgPool;

use connection::Readers;
pub use open::{OpenError, PLANS, PostgresSettings};
use presence::Watched;

/// What the files of `both` implement their part of the port for.
type DatabaseStore = PostgresStore;

/// A commit that takes longer than this is answered [`StoreError::Unknown`]; its own limits end it soon after.
const COMMIT_LIMIT: Duration = Duration::from_secs(30);

/// Where the store's time comes from.
#[derive(Clone)]
pub enum StoreClock {
    /// The database: the one clock that all nodes have in common, read in each transaction once its rows are locked.
    Database,
    /// A given clock, for tests that move time by hand.
    Given(Arc<dyn Clock>),
}

/// The PostgreSQL store.
#[derive(Clone)]
pub struct PostgresStore {
    writers: Watched,
    readers: Readers,
    clock: StoreClock,
    entropy: Arc<dyn Entropy>,
    rules: StoreRules,
}

impl PostgresStore {
    /// Connects and migrates; nodes that start together migrate one after the other.
    ///
    /// # Errors
    /// [`OpenError`]: the server cannot be used, or its schema is newer than this binary. Nothing is changed then.
    pub async fn open(
        settings: &PostgresSettings,
        clock: StoreClock,
        entropy: Arc<dyn Entropy>,
        rules: StoreRules,
    ) -> Result<Self, OpenError> {
        let (writers, readers) = open::open(settings).await?;
        Ok(Self { writers, readers, clock, entropy, rules })
    }

    /// Whether there is something to look at: a database that this server, or an older one, has migrated.
    ///
    /// # Errors
    /// As [`Self::open`]; [`OpenError::Empty`] when there is not. Nothing is changed.
    pub async fn require_schema(settings: &PostgresSettings) -> Result<(), OpenError> {
        open::require_schema(settings).await
    }

    /// The connections that write, for other books in the same database (the sandbox's). Keep transactions on them
    /// short.
    pub fn writer_pool(&self) -> PgPool {
        self.writers.pool().clone()
    }

    /// Waits for running commits and closes every connection.
    pub async fn close(&self) {
        self.readers.close().await;
        self.writers.pool().close().await;
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn commit(&self, units: &[WriteUnit]) -> Result<Committed, StoreError> {
        let store = self.clone();
        let units = units.to_vec();
        let task = tokio::spawn(async move { commit::commit(&store, &units).await });
        let finished = tokio::time::timeout(COMMIT_LIMIT, task).await;
        let joined = finished.map_err(|_| StoreError::Unknown("the commit is still running".into()))?;
        joined.map_err(|error| StoreError::Failed(format!("the commit task ended: {error}")))?
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        match &self.clock {
            StoreClock::Given(clock) => Ok(clock.now()),
            StoreClock::Database => self.readers.now().await,
        }
    }
}
