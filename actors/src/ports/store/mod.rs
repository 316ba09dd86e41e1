//! The durable store: the truth (DESIGN rule 1).
//!
//! Writing goes through [`Store::commit`] only: a batch of [`units::WriteUnit`]s in one transaction, called by the
//! store writer and nobody else. Each unit happens wholly or not at all, and its outcome says which; refusing one does
//! not disturb the others. Reading is split by subject into the traits below.

mod audit;
mod catalog;
mod flash_sales;
mod fulfilment;
mod members;
mod messages;
mod orders;
mod requests;
mod stock;
pub mod units;
mod webhooks;

use std::time::Duration;

use async_trait::async_trait;

use crate::domain::Timestamp;
use crate::domain::events::Message;
use crate::domain::stock::StockRow;
use units::{UnitOutcome, WriteUnit};

pub use audit::AuditReads;
pub use catalog::{CatalogReads, SaleAttribute, Sku};
pub use flash_sales::{FlashSaleReads, SaleCounts, SaleFilter};
pub use fulfilment::{FulfilmentReads, OrderSearch, ReturnSearch};
pub use members::{Address, Buyer, CartItem, Member, MemberReads};
pub use messages::{MessageReads, OutboxRow, ParkedMessage, QueuePosition, QueuedMessage};
pub use orders::{HistoryCursor, OrderFilter, OrderReads, PaymentRow, UnpaidOrder};
pub use requests::{KeptRequest, RequestKey, RequestReads};
pub use stock::{LedgerCursor, LedgerRow, LockRow, StockReads};
pub use webhooks::{DeliverySearch, Told, WebhookReads, changes_endpoints, happened, may_tell, told};

/// Why the store did not do what was asked. In every case nothing of the batch is committed, except for `Unknown`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Busy, deadlock, serialization, lost connection: try the whole batch again.
    #[error("store is busy: {0}")]
    Transient(String),
    /// The connection was lost during COMMIT: it may have happened. Read back by key (order number, token).
    #[error("outcome unknown: {0}")]
    Unknown(String),
    /// A constraint refused the batch: one unit of it is at fault.
    #[error("constraint: {0}")]
    Constraint(String),
    /// A stored value makes no sense, or an invariant is broken (R39).
    #[error("inconsistent store: {0}")]
    Inconsistent(String),
    /// Anything else.
    #[error("store failed: {0}")]
    Failed(String),
}

impl StoreError {
    /// Counts and logs a read that failed. Of a store that is away its adapter speaks once; each request that is refused
    /// because of it need not.
    pub fn log_read(&self) {
        metrics::counter!("seckill_store_read_failures_total").increment(1);
        match self {
            Self::Transient(_) => tracing::debug!(error = %self, "store read failed"),
            _ => tracing::error!(error = %self, "store read failed"),
        }
    }
}

/// A committed batch.
#[derive(Clone, Debug)]
pub struct Committed {
    /// The transaction's time, by the store's clock: every `created_at` and the base of every `pay_before` in it.
    pub at: Timestamp,
    /// One outcome per unit, in order.
    pub outcomes: Vec<UnitOutcome>,
    /// The stock rows the batch changed, as they are now.
    pub stock: Vec<StockRow>,
    /// The outbox rows the batch wrote, to be relayed.
    pub messages: Vec<Message>,
}

/// Settings of an adapter that its rules need.
#[derive(Clone, Copy, Debug)]
pub struct StoreRules {
    /// `bus.items_per_message`
    pub items_per_message: usize,
    /// `order.points_per_yuan`
    pub points_per_yuan: u32,
    /// `order.close_grace`
    pub close_grace: Duration,
}

/// The whole store.
#[async_trait]
pub trait Store:
    StockReads
    + OrderReads
    + FulfilmentReads
    + FlashSaleReads
    + MemberReads
    + CatalogReads
    + MessageReads
    + RequestReads
    + WebhookReads
    + AuditReads
    + Send
    + Sync
    + 'static
{
    /// Commits a batch of units in one transaction. The outcomes are those of the units applied one by one in the
    /// order given, however the adapter groups them.
    ///
    /// # Errors
    /// See [`StoreError`]; the whole batch is then undone.
    async fn commit(&self, units: &[WriteUnit]) -> Result<Committed, StoreError>;

    /// The store's clock: the only one that business decisions use.
    async fn now(&self) -> Result<Timestamp, StoreError>;
}
