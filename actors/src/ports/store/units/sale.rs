//! Flash sales: grants, the orders of winners, the life of a sale.

use std::sync::Arc;

use crate::domain::flash_sale::{NewFlashSale, SaleState};
use crate::domain::order::{LockLine, NewOrder};
use crate::domain::{OrderSn, SaleId, SkuId, UserId};

/// Commits the grants of one sale (DESIGN rule 5): in the transaction the sale must be armed, in its window by the
/// store's clock, of this epoch; at most its remaining units are granted, in the order given. Each buyer appears once
/// in a unit. Writes an outbox row `sec.kill` for those granted.
#[derive(Clone, Debug)]
pub struct CommitGrants {
    /// The sale.
    pub sale_id: SaleId,
    /// The epoch of the permits.
    pub epoch: i64,
    /// Buyers and the order numbers they get.
    pub winners: Vec<(UserId, OrderSn)>,
}

/// Outcome of [`CommitGrants`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantBatch {
    /// One answer per winner, in order.
    Decided(Vec<GrantOutcome>),
    /// Nobody was granted: the sale's state or window does not allow it.
    NotLive,
    /// Nobody was granted: the permits are of another epoch.
    OtherEpoch,
}

/// What became of one winner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrantOutcome {
    /// Won, durably.
    Granted,
    /// Holds `per_user_limit` grants already; the first of them.
    LimitReached(OrderSn),
    /// No unit remains.
    SoldOut,
}

/// Makes the orders of winners, from the message or by the sweep. For each: its grant must be GRANTED; an existing
/// order is left alone ([`FlashOrder::Exists`]); a unit is drawn from the sale's allotments (undrawn −1) into a lock row.
/// Writes outbox rows for [`NewOrder::creation_events`] of those made. Items of one unit are independent.
#[derive(Clone, Debug)]
pub struct MakeFlashOrders {
    /// The orders; each has a `sale_id` and one item of quantity 1. Shared, because a unit is handed on and kept.
    pub orders: Arc<[NewOrder]>,
}

/// What became of one winner's order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashOrder {
    /// Made now.
    Made,
    /// Made before.
    Exists,
    /// No such grant, or it is FAILED or RELEASED.
    NotGranted,
    /// No undrawn unit is there right now: try again.
    NoUnit,
}

/// Moves grants that have no order from GRANTED to FAILED with a reason; `released` +1. When the sale has ended, the
/// unit kept for the grant goes back to stock. `true` for those moved now.
#[derive(Clone, Debug)]
pub struct FailGrants {
    /// Order numbers and reasons.
    pub grants: Vec<(OrderSn, String)>,
}

/// Makes a draft sale.
#[derive(Clone, Debug)]
pub struct CreateSale {
    /// The sale.
    pub sale: NewFlashSale,
}

/// Arms a draft: carves its units out of ordinary stock (locked +n, allotted and undrawn +n) in one transaction.
#[derive(Clone, Debug)]
pub struct ArmSale {
    /// The sale.
    pub sale_id: SaleId,
    /// Where the units come from; sums to the sale's count. Reserved at the SKU actor before.
    pub allotments: Vec<LockLine>,
}

/// Outcome of [`ArmSale`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaleArmed {
    /// Armed; its epoch.
    Armed(i64),
    /// Its state does not allow it; `None`: no such sale.
    WrongState(Option<SaleState>),
    /// Another sale of the SKU is armed and unended.
    Conflict(SaleId),
    /// Past its window.
    Over,
    /// The SKU's rows are not as believed: read again and decide again.
    Stale(Vec<SkuId>),
}

/// Pauses an armed sale or resumes a paused one.
#[derive(Clone, Debug)]
pub struct PauseSale {
    /// The sale.
    pub sale_id: SaleId,
    /// `true` pauses.
    pub paused: bool,
}

/// Ends a sale and gives every undrawn unit that no open grant (GRANTED without order) needs back to stock: undrawn −n,
/// locked −n. Ending an ended sale changes nothing and is `Done`.
#[derive(Clone, Debug)]
pub struct EndSale {
    /// The sale.
    pub sale_id: SaleId,
}

/// Outcome of [`PauseSale`] and [`EndSale`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaleChange {
    /// It is in the wished state now.
    Done,
    /// Its state does not allow it; `None`: no such sale.
    WrongState(Option<SaleState>),
}

/// Raises the epoch of a sale by compare-and-set, before its permits are rebuilt (DESIGN rule 6).
#[derive(Clone, Debug)]
pub struct RaiseEpoch {
    /// The sale.
    pub sale_id: SaleId,
    /// The epoch to leave.
    pub from: i64,
}

/// Outcome of [`RaiseEpoch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochRaise {
    /// The new epoch, `from + 1`.
    Raised(i64),
    /// Somebody else raised it; the epoch now. `None`: no such sale.
    Lost(Option<i64>),
}
