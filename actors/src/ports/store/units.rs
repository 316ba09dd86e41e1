//! What can be written. One struct per kind of change, with the type of its outcome beside it.
//!
//! The doc of each kind is its contract; `ports::contract::store` tests it on every adapter.

mod editing;
mod keyed;
mod life;
mod webhook;

use std::sync::Arc;
use std::time::Duration;

use crate::domain::events::{Message, Queue};
use crate::domain::flash_sale::{NewFlashSale, SaleState};
use crate::domain::order::{LockLine, NewOrder, Operator, OrderStatus};
use crate::domain::payment::Receipt;
use crate::domain::stock::{LockState, Resolution, StockRow};
use crate::domain::{Money, OrderSn, SaleId, SkuId, Timestamp, UserId, WareId, WareSkuId};
use crate::ports::store::{KeptRequest, RequestKey};
pub use editing::{
    EditSale, PruneMessages, PruneRequests, ReceiverChange, RestockSale, SaleEdit, SaleRestock, SetReceiver,
    SpentMessages,
};
pub use keyed::{KeepRequest, kept_by};
pub use life::{
    HandleReturn, OrderReceive, OrderRefund, OrderShip, ReceiveOrders, RefundOrder, RequestReturn, ReturnHandling,
    ReturnRequest, ShipOrder,
};
pub use webhook::{
    ClaimDeliveries, ClaimedDeliveries, CreateWebhook, DeleteWebhook, EditWebhook, PruneDeliveries, Redeliver,
    Redelivery, RotateWebhook, SettleDelivery, WebhookCreation, WebhookEdit,
};

/// A kind of change together with its outcome.
pub trait Unit: Into<WriteUnit> + Send + 'static {
    /// What the store answers.
    type Outcome: Send + 'static;

    /// Takes the outcome of this kind out of the store's answer; `None` when the adapter answered another kind.
    fn outcome(answer: UnitOutcome) -> Option<Self::Outcome>;
}

macro_rules! units {
    ($($unit:ident => $outcome:ty),* $(,)?) => {
        /// Any change.
        #[derive(Clone, Debug)]
        #[expect(clippy::large_enum_variant, reason = "under load most units are the large one, an order")]
        #[expect(missing_docs, reason = "the structs of the same names are documented")]
        pub enum WriteUnit { $($unit($unit)),* }

        /// The outcome of any change.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[expect(missing_docs, reason = "the structs of the same names are documented")]
        pub enum UnitOutcome { $($unit($outcome)),* }

        $(
            impl From<$unit> for WriteUnit {
                fn from(unit: $unit) -> Self {
                    Self::$unit(unit)
                }
            }

            impl Unit for $unit {
                type Outcome = $outcome;

                fn outcome(answer: UnitOutcome) -> Option<$outcome> {
                    match answer {
                        UnitOutcome::$unit(outcome) => Some(outcome),
                        _ => None,
                    }
                }
            }
        )*
    };
}

units! {
    PlaceOrder => Placement,
    LockStock => StockLocks,
    ResolveLocks => Vec<LockResolved>,
    AdjustStock => Adjustment,
    CommitGrants => GrantBatch,
    MakeFlashOrders => Vec<FlashOrder>,
    FailGrants => Vec<bool>,
    CreateSale => SaleId,
    ArmSale => SaleArmed,
    PauseSale => SaleChange,
    EndSale => SaleChange,
    RaiseEpoch => EpochRaise,
    TakePayment => PaymentTaken,
    CloseOrders => Vec<OrderClose>,
    IssuePayPage => PayPageIssue,
    AnnouncePaid => bool,
    AddPoints => Vec<bool>,
    PutCartItem => (),
    RemoveCartItems => (),
    MarkPublished => (),
    Enqueue => (),
    FinishDeliveries => (),
    RetryDelivery => (),
    Park => (),
    Replay => bool,
    SettleRefund => Option<SettledRefund>,
    EditSale => SaleEdit,
    RestockSale => SaleRestock,
    SetReceiver => ReceiverChange,
    PruneRequests => usize,
    PruneMessages => usize,
    ShipOrder => OrderShip,
    ReceiveOrders => Vec<OrderReceive>,
    RefundOrder => OrderRefund,
    RequestReturn => ReturnRequest,
    HandleReturn => ReturnHandling,
    CreateWebhook => WebhookCreation,
    EditWebhook => WebhookEdit,
    DeleteWebhook => bool,
    RotateWebhook => bool,
    ClaimDeliveries => ClaimedDeliveries,
    SettleDelivery => bool,
    Redeliver => Redelivery,
    PruneDeliveries => usize,
}

/// Saves an order with its items, lock rows, counters and messages (DESIGN rule 3).
///
/// In order: a request key of the user that made something wins ([`Placement::KeyUsed`]), then a token that already has
/// an order ([`Placement::TokenUsed`]); then every stock row is raised by a
/// guarded UPDATE (`stock - stock_locked >= num`), and a row that refuses makes the unit [`Placement::Stale`].
/// Units of one batch that share a stock row are summed into one UPDATE; when that sum does not fit, the units are
/// tried in order and those that no longer fit are stale. Writes outbox rows for [`NewOrder::creation_events`].
/// The key is kept with the order. Two units of one batch with the same token or key: the first makes the order, the
/// second hears of it.
#[derive(Clone, Debug)]
pub struct PlaceOrder {
    /// The order.
    pub order: NewOrder,
    /// The confirm token or idempotency key it is made under; UNIQUE for each user.
    pub token: String,
    /// Its units, reserved at the SKU actors before.
    pub locks: Vec<LockLine>,
    /// The idempotency key of the request, when it has one.
    pub request: Option<RequestKey>,
}

/// Outcome of [`PlaceOrder`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Saved.
    Placed {
        /// The transaction's time.
        created_at: Timestamp,
        /// Deadline of an online order.
        pay_before: Option<Timestamp>,
    },
    /// The key made something before.
    KeyUsed(KeptRequest),
    /// The token made this order before.
    TokenUsed(OrderSn),
    /// These SKUs' rows are not as believed: read again and decide again.
    Stale(Vec<SkuId>),
}

/// Locks units for other systems (`/wms/waresku/check/lock`), with a lease. Many owners in one unit: they stand or
/// fall together on the guard ([`StockLocks::Stale`]), but an owner that already has lock rows is answered
/// [`StockLock::Exists`] and takes nothing more.
#[derive(Clone, Debug)]
pub struct LockStock {
    /// Who wants what; each owner once.
    pub requests: Vec<LockRequest>,
    /// How long the lock stands without being resolved.
    pub lease: Duration,
}

/// One owner's wish in [`LockStock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockRequest {
    /// The other system's order number.
    pub order_sn: OrderSn,
    /// The rows.
    pub lines: Vec<LockLine>,
}

/// Outcome of [`LockStock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StockLocks {
    /// One answer per request, in order.
    Done(Vec<StockLock>),
    /// These SKUs' rows are not as believed. Nothing was locked.
    Stale(Vec<SkuId>),
}

/// What became of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockLock {
    /// Locked now.
    Locked,
    /// This owner's locks exist already; nothing was locked twice.
    Exists,
}

/// Resolves the locks that these owners hold on one SKU, each by compare-and-set from LOCKED (DESIGN rules 3, 4).
///
/// Deduct: stock −num, locked −num, lock DEDUCTED, one ledger row per batch and stock row. Release: lock RELEASED;
/// a lock of a flash sale that has not ended gives its unit back to the sale (undrawn +num, released +num, grant
/// RELEASED, locked unchanged); any other lowers locked, and of an ended sale also raises `released` and releases
/// the grant. An owner that is an order here is refused unless its status fits: release needs 4 or 5, deduct 1–3
/// (DESIGN section 7). With `lapsed_only`, only locks without an order and past their lease: an owner still in its lease
/// is answered [`LockResolved::Unknown`], one that is an order [`LockResolved::Refused`] whatever its status.
#[derive(Clone, Debug)]
pub struct ResolveLocks {
    /// The SKU.
    pub sku_id: SkuId,
    /// Which way.
    pub way: Resolution,
    /// The owners, each once.
    pub order_sns: Vec<OrderSn>,
    /// Only locks past their lease (sweep).
    pub lapsed_only: bool,
}

/// What became of one owner's locks on the SKU.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LockResolved {
    /// Resolved now, with the units.
    Now(i64),
    /// Resolved before, this way; nothing changed.
    Before(LockState),
    /// No lock of this owner on the SKU.
    Unknown,
    /// The order's status forbids it.
    Refused(OrderStatus),
}

/// Changes the units on hand by `delta`, never below what is locked. Makes the row of a known warehouse when missing.
/// Writes a ledger row.
#[derive(Clone, Debug)]
pub struct AdjustStock {
    /// The SKU.
    pub sku_id: SkuId,
    /// The warehouse.
    pub ware_id: WareId,
    /// Units to add (or take, when negative).
    pub delta: i64,
    /// Why.
    pub reason: String,
}

/// Outcome of [`AdjustStock`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adjustment {
    /// The row now.
    Done(StockRow),
    /// It would fall below the locked units.
    BelowLocked(StockRow),
    /// No such warehouse.
    UnknownWarehouse,
    /// No such SKU in the catalogue.
    UnknownSku,
}

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

/// Applies money the gateway took ([`crate::domain::payment::decide`]), with its payment row and history row.
///
/// Apply: 0→1, payment APPLIED, message `order.success`. Refund: payment REFUNDING and a refund row with
/// [`crate::domain::payment::refund_request_no`]. Mismatch: payment MISMATCH. A trade already recorded: duplicate.
#[derive(Clone, Debug)]
pub struct TakePayment {
    /// The money.
    pub receipt: Receipt,
    /// Identity of the notification, for the record; empty when a query found it.
    pub notify_id: String,
}

/// Outcome of [`TakePayment`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PaymentTaken {
    /// The order is paid now.
    Applied,
    /// This trade was recorded before.
    Duplicate,
    /// Recorded; will be given back.
    Refunding,
    /// Recorded; amount differs, nothing changed.
    Mismatch,
    /// No such order; nothing recorded.
    UnknownOrder,
}

/// Closes unpaid orders by compare-and-set 0→4, with history rows and message `stock.unlock`.
#[derive(Clone, Debug)]
pub struct CloseOrders {
    /// Which, each once.
    pub order_sns: Vec<OrderSn>,
    /// Who closes.
    pub operator: Operator,
    /// Why.
    pub note: String,
    /// Only when `pay_before` + `close_grace` is over by the store's clock (timeout); `false` for the owner's cancel.
    pub when_due: bool,
    /// The key it is asked for under, if any: then of one order.
    pub asked: Option<KeepRequest>,
}

/// What became of one order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderClose {
    /// Closed now.
    Closed,
    /// It is not in 0.
    WrongState(OrderStatus),
    /// Not due before this.
    NotDue(Timestamp),
    /// No such order.
    Unknown,
}

/// Notes that a pay page is handed out, if the order is unpaid and `pay_before` is not over.
#[derive(Clone, Debug)]
pub struct IssuePayPage {
    /// The order.
    pub order_sn: OrderSn,
    /// The key it is asked for under, if any.
    pub asked: Option<KeepRequest>,
}

/// Outcome of [`IssuePayPage`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PayPageIssue {
    /// Hand it out.
    Issued {
        /// Deadline.
        pay_before: Timestamp,
        /// Amount.
        amount: Money,
        /// The transaction's time.
        at: Timestamp,
    },
    /// The order is not in 0.
    WrongState(OrderStatus),
    /// `pay_before` is over.
    Lapsed,
    /// No such order.
    Unknown,
}

/// Sends on what paid orders need: [`crate::domain::order::paid_events`] for each that is in 1–3. The effect is not
/// idempotent, so the message id goes to the inbox; `false` when it was there.
#[derive(Clone, Debug)]
pub struct AnnouncePaid {
    /// The id of the `order.success` message, or of the part of it being handled.
    pub message_id: String,
    /// The orders.
    pub order_sns: Vec<OrderSn>,
}

/// Credits points: history rows (UNIQUE by order) and the member's balances. Only for orders in 1–3 that are this
/// user's, or unknown here; a member that does not exist gets the history rows only. An order that gave money back
/// meanwhile earns less by [`crate::domain::points::lost`], down to 0. `true` for those credited now.
#[derive(Clone, Debug)]
pub struct AddPoints {
    /// The credits, each order once.
    pub credits: Vec<crate::domain::events::BoundPlus>,
}

/// Sets the quantity of one cart line.
#[derive(Clone, Debug)]
pub struct PutCartItem {
    /// Whose.
    pub user_id: UserId,
    /// Which.
    pub sku_id: SkuId,
    /// How many.
    pub quantity: u32,
}

/// Takes lines out of carts; absent ones are fine.
#[derive(Clone, Debug)]
pub struct RemoveCartItems {
    /// Whose and which.
    pub lines: Vec<(UserId, SkuId)>,
}

/// Marks outbox rows as published.
#[derive(Clone, Debug)]
pub struct MarkPublished {
    /// Their ids.
    pub message_ids: Vec<String>,
}

/// Puts messages into the durable queue of the in-process bus. A message id that is there already is left alone.
#[derive(Clone, Debug)]
pub struct Enqueue {
    /// The message, its queue, and when it is due.
    pub messages: Vec<(Message, Queue, Timestamp)>,
}

/// Forgets delivered messages of the in-process bus.
#[derive(Clone, Debug)]
pub struct FinishDeliveries {
    /// Their ids.
    pub message_ids: Vec<String>,
}

/// Puts a message of the in-process bus back with a later due time, one more try counted.
#[derive(Clone, Debug)]
pub struct RetryDelivery {
    /// Its id.
    pub message_id: String,
    /// When it is due again.
    pub due_at: Timestamp,
}

/// Keeps a message that could not be handled, for an operator (`mq_parked`). Parking the same id again is fine.
#[derive(Clone, Debug)]
pub struct Park {
    /// Its id.
    pub message_id: String,
    /// Where it arrived.
    pub queue: Queue,
    /// The document as it arrived.
    pub payload: String,
    /// Why.
    pub reason: String,
}

/// Puts a parked message into the outbox again under a new id and marks it replayed; `false` when there is none
/// unreplayed under this id. The document carries the new id ([`crate::domain::events::renamed`]).
#[derive(Clone, Debug)]
pub struct Replay {
    /// The parked message.
    pub message_id: String,
    /// Its id from now on.
    pub new_message_id: String,
}

/// The gateway confirmed a refund: refund row DONE, history row; a payment that is REFUNDING is REFUNDED, one that is APPLIED
/// stays so. `None` when it was before.
#[derive(Clone, Debug)]
pub struct SettleRefund {
    /// `out_request_no`.
    pub request_no: String,
}

/// Outcome of [`SettleRefund`]: whose money is back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettledRefund {
    /// The order.
    pub order_sn: OrderSn,
    /// Its status, which stays.
    pub status: OrderStatus,
}

/// Units that a batch reserved at SKU actors: what the writer settles there once the outcome is known.
pub fn reserved(unit: &WriteUnit) -> Vec<(SkuId, WareSkuId, i64)> {
    let lines: Vec<&LockLine> = match unit {
        WriteUnit::PlaceOrder(unit) => unit.locks.iter().collect(),
        WriteUnit::LockStock(unit) => unit.requests.iter().flat_map(|request| &request.lines).collect(),
        WriteUnit::ArmSale(unit) => unit.allotments.iter().collect(),
        WriteUnit::RestockSale(unit) => unit.allotments.iter().collect(),
        _ => Vec::new(),
    };
    lines.into_iter().map(|line| (line.sku_id, line.ware_sku_id, i64::from(line.num))).collect()
}
