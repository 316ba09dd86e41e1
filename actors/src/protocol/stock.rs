//! The messages of a SKU's stock actor, and what the store writer tells it.
//!
//! Whatever is answered carries a [`Reply`], which holds the message's place in the actor's queue: that bounds
//! `do_send`. [`Settle`] and [`Abandon`] are never refused, because a promise must end; see there what bounds them.

use std::time::Duration;

use actix::{Message, Recipient};
use tokio::sync::oneshot;

use crate::domain::order::LockLine;
use crate::domain::reject::Unavailable;
use crate::domain::stock::{Resolution, StockRow};
use crate::domain::{OrderSn, SkuId, WareSkuId};
use crate::ports::store::units::LockResolved;
use crate::supervise::Reply;

/// What a committed (or failed) batch means for one SKU.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SkuNews {
    /// The rows the batch changed, as they are now.
    pub rows: Vec<StockRow>,
    /// Reservations of this node that are decided: their units are in the rows, or were given up.
    pub settled: Vec<(WareSkuId, i64)>,
}

/// Takes the news of each batch, before the callers of the batch are answered. Must not block.
pub trait StockNews: Send + Sync + 'static {
    /// News of one SKU.
    fn tell(&self, sku_id: SkuId, news: SkuNews);
}

/// Why a SKU's actor promised nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The SKU has no stock row.
    Unknown,
    /// Not enough units, even if everything being committed were given up.
    Short {
        /// Units free over all warehouses.
        available: i64,
    },
    /// Could not be decided now.
    Unavailable(Unavailable),
}

/// Promises `num` (at least 1) units, in memory only. Answered at once, unless the answer depends on a read or on what
/// is being committed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Reserve {
    /// Units.
    pub num: u32,
    /// The promise, or why not.
    pub reply: Reply<Result<Promise, Refusal>>,
}

/// Units that an actor keeps for somebody. Dropped, it gives them back; [`Promise::hand_over`] ends that.
#[derive(Debug)]
pub struct Promise {
    lines: Vec<LockLine>,
    keeper: Option<Recipient<Abandon>>,
}

impl Promise {
    /// A promise of these units by `keeper`.
    pub fn new(lines: Vec<LockLine>, keeper: Recipient<Abandon>) -> Self {
        Self { lines, keeper: Some(keeper) }
    }

    /// Which rows, how many units.
    pub fn lines(&self) -> &[LockLine] {
        &self.lines
    }

    /// The units are in a queued unit now: the writer settles them, whatever becomes of it.
    pub fn hand_over(mut self) {
        self.keeper = None;
    }
}

impl Drop for Promise {
    fn drop(&mut self) {
        let Some(keeper) = self.keeper.take() else { return };
        // Bounded by the promises made, each of which took at least one unit of the stock there is. An actor that is
        // gone has forgotten the promise with everything else.
        keeper.do_send(Abandon { lines: settled(&self.lines) });
    }
}

/// Gives up promised units that never reached the writer.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Abandon {
    /// Rows and units.
    pub lines: Vec<(WareSkuId, i64)>,
}

/// News from the writer. Bounded by its batches: at most one a batch and SKU.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Settle(pub SkuNews);

/// Locks units of this one SKU durably for another system. What queued while the last flush ran is flushed as one unit.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Lock {
    /// The other system's order number.
    pub order_sn: OrderSn,
    /// Units, at least 1.
    pub num: u32,
    /// How long the lock stands unresolved.
    pub lease: Duration,
    /// Answered after the commit.
    pub reply: Reply<Result<LockAnswer, Refusal>>,
}

/// What became of a [`Lock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockAnswer {
    /// Locked now, on these rows.
    Locked(Vec<LockLine>),
    /// This owner has locks already; nothing was locked twice.
    Exists,
}

/// Resolves the locks of these owners on this SKU. Kept in order with [`Lock`]: unlocking what is about to be locked
/// finds it locked. Neighbours of the same kind are flushed as one unit.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Resolve {
    /// Which way.
    pub way: Resolution,
    /// The owners, each once.
    pub order_sns: Vec<OrderSn>,
    /// Only locks past their lease.
    pub lapsed_only: bool,
    /// One answer per owner, in order, after the commit.
    pub reply: Reply<Result<Vec<LockResolved>, Unavailable>>,
}

/// Reads the rows again, by a read that starts after this message arrived.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Refresh {
    /// The rows, by row id.
    pub reply: Reply<Result<Vec<StockRow>, Unavailable>>,
}

/// Finishes what was asked, then ends the actor. Sent once, after the queue was closed.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Stop {
    /// Told (or dropped) when the actor has ended its work.
    pub done: oneshot::Sender<()>,
}

/// Rows and units of lines, as [`SkuNews::settled`] has them.
pub fn settled(lines: &[LockLine]) -> Vec<(WareSkuId, i64)> {
    lines.iter().map(|line| (line.ware_sku_id, i64::from(line.num))).collect()
}
