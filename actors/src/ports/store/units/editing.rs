//! What staff and owners change by hand, and clearing away.

use std::time::Duration;

use crate::domain::flash_sale::{NewFlashSale, SaleState};
use crate::domain::order::{LockLine, OrderStatus, Receiver};
use crate::domain::{OrderSn, SaleId, SkuId, Timestamp, UserId};

/// Changes a draft sale, if it still is what the editor saw.
#[derive(Clone, Debug)]
pub struct EditSale {
    /// The sale.
    pub sale_id: SaleId,
    /// What the editor saw.
    pub seen: NewFlashSale,
    /// What it shall be; of the same SKU.
    pub sale: NewFlashSale,
}

/// Outcome of [`EditSale`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SaleEdit {
    /// It is so now.
    Done,
    /// It is not what the editor saw any more.
    Changed,
    /// It is not a draft; `None`: no such sale.
    WrongState(Option<SaleState>),
}

/// Gives an armed or paused sale more units out of ordinary stock, in one transaction: locked +n, allotted and
/// undrawn +n, count +n.
#[derive(Clone, Debug)]
pub struct RestockSale {
    /// The sale.
    pub sale_id: SaleId,
    /// Where the units come from. Reserved at the SKU actor before.
    pub allotments: Vec<LockLine>,
}

/// Outcome of [`RestockSale`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SaleRestock {
    /// Its count now.
    Done(i64),
    /// Its state does not allow it; `None`: no such sale.
    WrongState(Option<SaleState>),
    /// The SKU's rows are not as believed: read again and decide again.
    Stale(Vec<SkuId>),
}

/// Changes where an order goes, while it is not handed to the carrier (0 and 1).
#[derive(Clone, Debug)]
pub struct SetReceiver {
    /// The owner; another user's order is [`ReceiverChange::Unknown`].
    pub user_id: UserId,
    /// The order.
    pub order_sn: OrderSn,
    /// Where it goes from now on.
    pub receiver: Receiver,
    /// Only when the order was last changed at this moment.
    pub seen: Option<Timestamp>,
}

/// Outcome of [`SetReceiver`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReceiverChange {
    /// It goes there now.
    Done,
    /// Somebody changed the order meanwhile.
    Changed,
    /// It is too late.
    WrongState(OrderStatus),
    /// No such order of this user.
    Unknown,
}

/// Forgets kept requests that are older than this, the oldest first. Answers how many.
#[derive(Clone, Debug)]
pub struct PruneRequests {
    /// How long keys are good.
    pub older_than: Duration,
    /// At most so many.
    pub limit: usize,
}

/// Messages that nobody needs any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpentMessages {
    /// Outbox rows, by when they were marked published.
    Published,
    /// Inbox rows, by when the message was first handled.
    Seen,
    /// Parked messages that were replayed, by when. One that was not replayed waits for its operator for ever.
    Replayed,
}

/// Forgets spent messages that are older than this, the oldest first. Answers how many.
#[derive(Clone, Debug)]
pub struct PruneMessages {
    /// Which.
    pub which: SpentMessages,
    /// How long they are kept.
    pub older_than: Duration,
    /// At most so many.
    pub limit: usize,
}
