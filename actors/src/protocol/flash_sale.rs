//! The messages of the semaphore and the latch, and what the flash-sale service answers.

use actix::Message;
use tokio::sync::{oneshot, watch};

use crate::domain::flash_sale::SaleState;
use crate::domain::reject::{Failure, Reject, Unavailable};
use crate::domain::{OrderSn, SaleId, UserId};
use crate::supervise::Reply;

/// What became of a buyer's attempt. Every one of them is a normal answer; faults are [`Failure::Unavailable`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// Won: the grant is committed (DESIGN rule 5). The order of this number is being made.
    Won(OrderSn),
    /// The buyer won as often as the limit allows; the first order number.
    AlreadyWon(OrderSn),
    /// No unit remains in the store.
    SoldOut,
    /// Before the window, or not armed.
    NotStarted,
    /// After the window, or ended by hand.
    Ended,
    /// Nobody is let in for now.
    Paused,
    /// A path token is asked for, and the one shown, if any, opens nothing. Said to attempts from outside only.
    ChallengeRequired(PathTokenFault),
}

/// Why a path token opens nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PathTokenFault {
    /// None was shown.
    Missing,
    /// Malformed, forged, another buyer's or another sale's.
    Invalid,
    /// Too old.
    Lapsed,
    /// Used by another attempt.
    Used,
}

impl PathTokenFault {
    /// Its name for clients.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Lapsed => "lapsed",
            Self::Used => "used",
        }
    }
}

/// Why a solution earns no path token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChallengeFault {
    /// The challenge is malformed, forged, another buyer's or another sale's.
    Invalid,
    /// The challenge is too old.
    Lapsed,
    /// The nonce is not in digits, or the hash does not start with the zero bits asked for.
    Unsolved,
}

impl ChallengeFault {
    /// Its name for clients.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::Lapsed => "lapsed",
            Self::Unsolved => "unsolved",
        }
    }
}

/// Where a winner's order is, as its owner may see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptStatus {
    /// No such grant of this user. Another user's grant looks the same (R24).
    Unknown,
    /// Won; the order is being made.
    Pending,
    /// The order row exists.
    Ordered,
    /// The order could not be made; why.
    Failed(String),
}

/// Why a command on a sale had no effect.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SaleFailure {
    /// A field makes no sense.
    #[error("{0}")]
    Invalid(&'static str),
    /// No such sale.
    #[error("no such flash sale")]
    UnknownSale,
    /// The sale is elsewhere in its life.
    #[error("not possible while the sale is {0:?}")]
    WrongState(SaleState),
    /// This other sale of the SKU is armed and unended.
    #[error("flash sale {0} of the same SKU is armed")]
    Conflict(SaleId),
    /// Its window is over.
    #[error("the window of the sale is over")]
    Over,
    /// The SKU is unknown or has too few free units.
    #[error(transparent)]
    Rejected(#[from] Reject),
    /// Try again later.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}

impl From<Failure> for SaleFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Rejected(reject) => Self::Rejected(reject),
            Failure::Unavailable(unavailable) => Self::Unavailable(unavailable),
        }
    }
}

/// To the semaphore: one buyer wants one unit. The reply holds one of the sale's places (`limits.attempts_per_sale`)
/// until it is answered or dropped, which bounds what waits.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct TryAcquire {
    /// The buyer.
    pub user_id: UserId,
    /// The random part of the order number that a win would get.
    pub number: u64,
    /// Answered exactly once. A buyer who is gone before the batch is formed is passed over.
    pub reply: Reply<Result<Attempt, Unavailable>>,
}

/// To the semaphore: set the permits to what the store says, between two batches. Bounded: the refresher asks once
/// a period, and several that wait are one.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Reconcile {
    /// Rebuild a missing semaphore at once and say so; without a reply the next batch does.
    pub reply: Option<oneshot::Sender<Result<(), Unavailable>>>,
}

/// To the semaphore: answer what waits, then end.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CloseSemaphore;

/// To the latch: a buyer waits for the order of a grant. Bounded: the sender holds one of the node's waiting places
/// until the latch has handled its [`Leave`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Wait {
    /// Tells the waiters of one order apart.
    pub waiter: u64,
    /// Who asks.
    pub user_id: UserId,
    /// What for.
    pub order_sn: OrderSn,
    /// `None` until the grant was read once; `Pending` only after the owner was checked.
    pub status: watch::Sender<Option<AttemptStatus>>,
}

/// To the latch: a waiter has its answer or gave up. Sent exactly once for each [`Wait`].
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Leave {
    /// The waiter.
    pub waiter: u64,
    /// Whose place is free again.
    pub user_id: UserId,
    /// What it waited for.
    pub order_sn: OrderSn,
}

/// To the latch: end; whoever waits hears that the server is stopping.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct CloseLatch;
