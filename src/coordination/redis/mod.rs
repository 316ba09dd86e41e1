//! Coordination in Redis, a single server or a Redis Cluster: the semaphore, the latch's hints, the token gate.
//!
//! A batch of buyers is decided by one script; the keys of a sale share a hash tag, so a script touches one slot. Time
//! inside scripts is the server's, so the clocks of the nodes do not matter.
//!
//! | Key | Type | What |
//! |---|---|---|
//! | `sec:{<sale id>}:epoch` | string | epoch of the semaphore |
//! | `sec:{<sale id>}:semaphore` | string | free permits |
//! | `sec:{<sale id>}:users` | hash | buyer → permits and grants held |
//! | `sec:{<sale id>}:holds` | hash | hold id → time, permits taken, decisions, who took |
//! | `order:token:<token>` | string | seen at submit |
//! | `cart:uid:<user id>` | hash | SKU id → line, see [`RedisCarts`] |
//!
//! Hints of the latch are messages on the channel `sec:countdown`; nothing is stored for them.
//!
//! # Why no loss in Redis sells a unit twice
//!
//! A permit is not a unit: it lets a buyer ask the store, which counts (DESIGN rules 5 and 6). So whatever Redis answers,
//! too many permits only mean that the store refuses more, and too few that it is asked less until the reconciler, about
//! every second, sets the permits from the store. What is left is that a caller must never take a semaphore for its own
//! that is not. `epoch` and `semaphore` are read together before anything is decided; if either is missing or the epoch
//! is another, the answer is [`Acquired::Stale`], and the caller raises the epoch in the store, by compare-and-set,
//! before it writes a new semaphore. Grants of an older epoch are refused by the store. So:
//!
//! - **Emptied, or keys expired** (FLUSHALL, a new server, [`KEY_LIFE_SECONDS`]): stale, rebuilt.
//! - **Evicted one by one**: without `epoch` or `semaphore`, stale. Without `users`, buyers at their limit get permits
//!   and the store tells them of their first win. Without `holds`, a repeated call takes its permits twice until the
//!   reconciler gives them back, and the reconciler gives out again what is being committed: the store refuses it.
//! - **Restarted with an old dump, or failed over to a replica without the last writes**: the epoch is older, then
//!   stale; or it is the same and the counts are older, which is the case of too many or too few permits above.
//! - **A later epoch than the store's** (the store itself was put back): stale, and the caller overrules it.
//! - **A call whose answer was lost**: the hold keeps the answer. Asking again with the same hold takes nothing more.

mod bulk;
mod carts;
mod hints;
mod keys;
mod link;
mod script;
mod server;

use std::sync::Arc;
use std::time::Duration;

use actors::domain::{OrderSn, SaleId, UserId};
use actors::ports::coordination::{
    AcquireBatch, Acquired, Coordination, CoordinationError, HOLD_LIFE, Permit, SemaphoreContent,
};
use async_trait::async_trait;
use tokio::sync::broadcast;

use bulk::Bulk;
use hints::Hints;
use keys::SaleKeys;
use link::Link;
use script::{END_HOLD, REBUILD, RECONCILE, TRY_ACQUIRE};
use server::Server;

pub use carts::RedisCarts;
pub use server::OpenError;

/// Keys of a sale that nobody touches for so long go by themselves. A live sale is touched every second; one that was
/// armed long ago is rebuilt by its first buyer.
pub const KEY_LIFE_SECONDS: u64 = 24 * 3600;
/// Most holds of one sale that nobody ended.
const MAX_HOLDS: usize = 1024;
/// Most buyers in a batch: what a script can take on its stack at once, with room to spare.
const MAX_BATCH: usize = 3000;

/// Where Redis is and how long it may take.
#[derive(Clone)]
pub struct RedisSettings {
    /// `redis://[user]:password@host:port/database`; any node of a cluster.
    pub url: String,
    /// Further nodes of a cluster, asked when that one is away.
    pub more_urls: Vec<String>,
    /// Longest time to connect.
    pub connect_timeout: Duration,
    /// Longest call.
    pub response_timeout: Duration,
    /// Commands that may wait for the socket.
    pub pipeline_buffer: usize,
    /// How long an order token is remembered, `order.token_ttl`.
    pub token_life: Duration,
}

/// Coordination of any number of nodes.
pub struct RedisCoordination {
    link: Arc<Link>,
    bulk: Bulk,
    hints: Hints,
    token_life_ms: u64,
}

impl RedisCoordination {
    /// Connects, finds out whether it is a cluster, and subscribes to the hints. Must be called on the runtime that
    /// lives as long as this does.
    ///
    /// # Errors
    /// [`OpenError`], whose message begins with the setting to look at.
    pub async fn open(settings: &RedisSettings) -> Result<Self, OpenError> {
        let server = Server::find(settings).await?;
        let link = Arc::new(Link::open(&server, settings).await?);
        let bulk = Bulk::new(&server, settings)?;
        let hints = Hints::open(&server, settings.connect_timeout).await?;
        let token_life_ms = u64::try_from(settings.token_life.as_millis()).unwrap_or(u64::MAX).max(1);
        let coordination = Self { link, bulk, hints, token_life_ms };
        match coordination.rehearse().await {
            Ok(()) => Ok(coordination),
            Err(CoordinationError(reason)) => Err(OpenError::Refused { address: server.address(), reason }),
        }
    }

    /// The carts on the same server.
    pub fn carts(&self) -> RedisCarts {
        RedisCarts::new(self.link.clone())
    }

    /// Does what will be done later, on a sale that cannot be and without an effect: a missing permission shows now.
    async fn rehearse(&self) -> Result<(), CoordinationError> {
        let nobody = AcquireBatch { sale_id: SaleId(0), epoch: -1, hold_id: 0, per_user_limit: 1, users: Vec::new() };
        self.try_acquire(&nobody).await?;
        self.forget(nobody.sale_id).await?;
        self.mark_token("").await?;
        self.carts().rehearse().await?;
        self.publish("").await
    }

    async fn publish(&self, message: &str) -> Result<(), CoordinationError> {
        let mut publish = redis::cmd("PUBLISH");
        publish.arg(keys::HINTS).arg(message);
        self.link.ask(&publish).await
    }
}

#[async_trait]
impl Coordination for RedisCoordination {
    async fn try_acquire(&self, batch: &AcquireBatch) -> Result<Acquired, CoordinationError> {
        let count = batch.users.len();
        if count > MAX_BATCH {
            return Err(CoordinationError(format!("a batch of {count} buyers is too large, {MAX_BATCH} fit")));
        }
        let mut call = TRY_ACQUIRE.call(&SaleKeys::of(batch.sale_id).all());
        call.arg(batch.epoch);
        call.arg(batch.hold_id);
        call.arg(batch.per_user_limit);
        call.arg(HOLD_LIFE.as_millis() as u64);
        call.arg(MAX_HOLDS);
        call.arg(KEY_LIFE_SECONDS);
        batch.users.iter().for_each(|user_id| call.arg(user_id.0));
        match self.link.run::<Option<String>>(&call).await? {
            Some(decided) => decided.bytes().map(permit).collect::<Result<_, _>>().map(Acquired::Decided),
            None => Ok(Acquired::Stale),
        }
    }

    async fn end_hold(
        &self,
        sale_id: SaleId,
        epoch: i64,
        hold_id: u64,
        refused: &[UserId],
    ) -> Result<(), CoordinationError> {
        let mut call = END_HOLD.call(&SaleKeys::of(sale_id).all());
        call.arg(epoch);
        call.arg(hold_id);
        refused.iter().for_each(|user_id| call.arg(user_id.0));
        self.link.run::<i64>(&call).await?;
        Ok(())
    }

    async fn rebuild(&self, content: &SemaphoreContent) -> Result<bool, CoordinationError> {
        let keys = SaleKeys::of(content.sale_id);
        let staged = keys.staged(content.epoch);
        if !content.holders.is_empty() {
            self.bulk.stage(&staged, &content.holders).await?;
        }
        let [epoch, semaphore, users, holds] = keys.all();
        let mut call = REBUILD.call(&[epoch, semaphore, users, holds, &staged]);
        call.arg(content.epoch);
        call.arg(content.permits);
        call.arg(i32::from(!content.holders.is_empty()));
        call.arg(KEY_LIFE_SECONDS);
        self.link.run(&call).await
    }

    async fn reconcile(&self, sale_id: SaleId, epoch: i64, remaining: i64) -> Result<bool, CoordinationError> {
        let mut call = RECONCILE.call(&SaleKeys::of(sale_id).all());
        call.arg(epoch);
        call.arg(remaining);
        call.arg(HOLD_LIFE.as_millis() as u64);
        call.arg(KEY_LIFE_SECONDS);
        self.link.run(&call).await
    }

    async fn permits(&self, sale_id: SaleId) -> Result<Option<i64>, CoordinationError> {
        let keys = SaleKeys::of(sale_id);
        let mut both = redis::cmd("MGET");
        both.arg(&keys.epoch).arg(&keys.semaphore);
        let (epoch, permits): (Option<i64>, Option<i64>) = self.link.ask(&both).await?;
        Ok(permits.filter(|_| epoch.is_some()))
    }

    async fn forget(&self, sale_id: SaleId) -> Result<(), CoordinationError> {
        let mut unlink = redis::cmd("UNLINK");
        unlink.arg(&SaleKeys::of(sale_id).all());
        self.link.ask(&unlink).await
    }

    async fn count_down(&self, order_sns: &[OrderSn]) -> Result<(), CoordinationError> {
        if order_sns.is_empty() {
            return Ok(());
        }
        self.publish(&hints::pack(order_sns)).await
    }

    fn hints(&self) -> broadcast::Receiver<OrderSn> {
        self.hints.listen()
    }

    async fn mark_token(&self, token: &str) -> Result<bool, CoordinationError> {
        let mut set = redis::cmd("SET");
        set.arg(keys::token(token)).arg(1).arg("NX").arg("PX").arg(self.token_life_ms);
        let set: Option<String> = self.link.ask(&set).await?;
        Ok(set.is_some())
    }
}

fn permit(letter: u8) -> Result<Permit, CoordinationError> {
    match letter {
        b'A' => Ok(Permit::Acquired),
        b'L' => Ok(Permit::LimitReached),
        b'N' => Ok(Permit::NoneFree),
        _ => Err(CoordinationError("an answer of redis is not understood".into())),
    }
}
