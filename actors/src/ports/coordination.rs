//! Coordination: the flash-sale semaphore, the latch's hint, and the seen mark of order tokens.
//!
//! Nothing here is truth (DESIGN rules 1 and 6): losing all of it may refuse a sale for a moment, never make one twice.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::broadcast;

use crate::domain::{OrderSn, SaleId, UserId};

/// A hold that nobody ended (its node died) is live for so long, then no longer subtracted by [`Coordination::reconcile`].
/// A little longer than a commit may take: until it is over, the last units of a sale can be what a dead node held, and
/// nobody gets them. Too short costs nothing but a refusal by the store, which counts.
pub const HOLD_LIFE: Duration = Duration::from_secs(5);

/// What the semaphore said about one buyer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Permit {
    /// Took a permit.
    Acquired,
    /// No permit is free. Not the same as sold out: only the store knows that.
    NoneFree,
    /// The buyer holds as many as the limit allows.
    LimitReached,
}

/// Answer to a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Acquired {
    /// One decision per buyer, in the order asked.
    Decided(Vec<Permit>),
    /// The semaphore is missing or of another epoch: rebuild it from the store first.
    Stale,
}

/// One batch of buyers; asking again with the same `hold_id` gives the same answer and takes nothing more, until the
/// hold is ended.
#[derive(Clone, Debug)]
pub struct AcquireBatch {
    /// The sale.
    pub sale_id: SaleId,
    /// The epoch the caller believes in.
    pub epoch: i64,
    /// Identity of the batch.
    pub hold_id: u64,
    /// How many permits one buyer may hold.
    pub per_user_limit: u32,
    /// The buyers, each once.
    pub users: Vec<UserId>,
}

/// Full content of a semaphore, made from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemaphoreContent {
    /// The sale.
    pub sale_id: SaleId,
    /// Its epoch.
    pub epoch: i64,
    /// Free permits: the store's remaining.
    pub permits: i64,
    /// Who holds how many grants that count against the limit.
    pub holders: Vec<(UserId, u32)>,
}

/// The coordination is away or slow. The outcome of the call is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("coordination: {0}")]
pub struct CoordinationError(pub String);

/// The semaphore, latch and token gate of a sale, in process or in Redis.
#[async_trait]
pub trait Coordination: Send + Sync + 'static {
    /// Takes permits for a batch of buyers in one step.
    async fn try_acquire(&self, batch: &AcquireBatch) -> Result<Acquired, CoordinationError>;

    /// Ends a hold: `refused` are the buyers of the batch that got a permit but no grant; their permits and their
    /// counts go back. A second call for the same hold changes nothing.
    async fn end_hold(
        &self,
        sale_id: SaleId,
        epoch: i64,
        hold_id: u64,
        refused: &[UserId],
    ) -> Result<(), CoordinationError>;

    /// Replaces the semaphore by content read from the store, unless it already has a later epoch.
    /// `false` when it had.
    async fn rebuild(&self, content: &SemaphoreContent) -> Result<bool, CoordinationError>;

    /// Sets the free permits to `remaining` minus the live holds, if the epoch is the same (about every second).
    /// `false` when the semaphore is missing or of another epoch.
    async fn reconcile(&self, sale_id: SaleId, epoch: i64, remaining: i64) -> Result<bool, CoordinationError>;

    /// Free permits, `None` when the semaphore is missing.
    async fn permits(&self, sale_id: SaleId) -> Result<Option<i64>, CoordinationError>;

    /// Forgets a sale.
    async fn forget(&self, sale_id: SaleId) -> Result<(), CoordinationError>;

    /// Hints that these orders are decided (made or failed), so that waiters look at once.
    async fn count_down(&self, order_sns: &[OrderSn]) -> Result<(), CoordinationError>;

    /// Hints from every node. A lagging receiver may miss some: waiters also look by themselves.
    fn hints(&self) -> broadcast::Receiver<OrderSn>;

    /// Marks an order token as seen at submit; `false` when it was seen before. A gate only: its answer proves nothing.
    async fn mark_token(&self, token: &str) -> Result<bool, CoordinationError>;
}
