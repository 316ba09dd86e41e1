//! What can be written. One struct per kind of change, with the type of its outcome beside it.
//!
//! The doc of each kind is its contract; `ports::contract::store` tests it on every adapter.

mod editing;
mod keyed;
mod life;
mod message;
mod order;
mod sale;
mod stock;
mod webhook;

use crate::domain::order::LockLine;
use crate::domain::{SaleId, SkuId, WareSkuId};
pub use editing::{
    EditSale, PruneMessages, PruneRequests, ReceiverChange, RestockSale, SaleEdit, SaleRestock, SetReceiver,
    SpentMessages,
};
pub use keyed::{KeepRequest, kept_by};
pub use life::{
    HandleReturn, OrderReceive, OrderRefund, OrderShip, ReceiveOrders, RefundOrder, RequestReturn, ReturnHandling,
    ReturnRequest, SettleRefund, SettledRefund, ShipOrder,
};
pub use message::{Enqueue, FinishDeliveries, MarkPublished, Park, Replay, RetryDelivery};
pub use order::{
    AddPoints, AnnouncePaid, CloseOrders, IssuePayPage, OrderClose, PayPageIssue, PaymentTaken, PlaceOrder, Placement,
    PutCartItem, RemoveCartItems, TakePayment,
};
pub use sale::{
    ArmSale, CommitGrants, CreateSale, EndSale, EpochRaise, FailGrants, FlashOrder, GrantBatch, GrantOutcome,
    MakeFlashOrders, PauseSale, RaiseEpoch, SaleArmed, SaleChange,
};
pub use stock::{AdjustStock, Adjustment, LockRequest, LockResolved, LockStock, ResolveLocks, StockLock, StockLocks};
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
