//! Between the bridge and whatever applies the effects of messages.

use async_trait::async_trait;

use crate::domain::SaleId;
use crate::domain::events::{BoundPlus, CartDelete, OrderRef, SecKill};
use crate::domain::payment::PendingRefund;

/// The decoded items of one arrival, or of a part of it, or what the sweep found. The same item may stand in a batch
/// twice when another system sent it so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EffectBatch {
    /// ORDER-CLOSE-QUEUE: close unless paid, asking the gateway first where a pay page was issued.
    OrderClose(Vec<OrderRef>),
    /// ORDER-SUCCESS-QUEUE: send on stock minus and points. The id makes it once-only.
    ///
    /// All or nothing: when the id is recorded, every item is sent on. So the answers are all [`Handled::Retry`] or
    /// none is; an item answered `Retry` beside recorded ones would be lost if the process ended before its retry.
    OrderSuccess(String, Vec<OrderRef>),
    /// ORDER-STOCK-QUEUE: release locks.
    StockUnlock(Vec<OrderRef>),
    /// ORDER-MINUS-QUEUE: deduct locks.
    StockMinus(Vec<OrderRef>),
    /// GMALL-CART-QUEUE: take ordered lines out of the carts.
    CartDelete(Vec<CartDelete>),
    /// ORDER-BOUND-QUEUE: credit points.
    BoundPlus(Vec<BoundPlus>),
    /// SECKILL-ORDER-QUEUE: make the winners' orders.
    SecKill(Vec<SecKill>),
    /// Sweep only: release the locks of other systems that are past their lease.
    ReleaseLapsed(Vec<OrderRef>),
    /// Sweep only: take shipped orders as received whose days are over.
    AutoReceive(Vec<OrderRef>),
    /// Sweep only: end sales whose window is over.
    EndSales(Vec<SaleId>),
    /// Sweep only: ask the gateway again for refunds it has not confirmed.
    Refunds(Vec<PendingRefund>),
}

impl EffectBatch {
    /// How many items it has.
    pub fn len(&self) -> usize {
        match self {
            Self::OrderClose(items)
            | Self::OrderSuccess(_, items)
            | Self::StockUnlock(items)
            | Self::StockMinus(items)
            | Self::ReleaseLapsed(items)
            | Self::AutoReceive(items) => items.len(),
            Self::CartDelete(items) => items.len(),
            Self::BoundPlus(items) => items.len(),
            Self::SecKill(items) => items.len(),
            Self::EndSales(items) => items.len(),
            Self::Refunds(items) => items.len(),
        }
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The items at these positions, in the order given; positions that do not exist are left out.
    pub fn select(&self, positions: &[usize]) -> Self {
        match self {
            Self::OrderClose(items) => Self::OrderClose(select(items, positions)),
            Self::OrderSuccess(id, items) => Self::OrderSuccess(id.clone(), select(items, positions)),
            Self::StockUnlock(items) => Self::StockUnlock(select(items, positions)),
            Self::StockMinus(items) => Self::StockMinus(select(items, positions)),
            Self::CartDelete(items) => Self::CartDelete(select(items, positions)),
            Self::BoundPlus(items) => Self::BoundPlus(select(items, positions)),
            Self::SecKill(items) => Self::SecKill(select(items, positions)),
            Self::ReleaseLapsed(items) => Self::ReleaseLapsed(select(items, positions)),
            Self::AutoReceive(items) => Self::AutoReceive(select(items, positions)),
            Self::EndSales(items) => Self::EndSales(select(items, positions)),
            Self::Refunds(items) => Self::Refunds(select(items, positions)),
        }
    }
}

fn select<T: Clone>(items: &[T], positions: &[usize]) -> Vec<T> {
    positions.iter().filter_map(|&position| items.get(position).cloned()).collect()
}

/// What became of one item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Handled {
    /// Applied, or had been before, or is refused by rule (logged and counted): done with it.
    Done,
    /// Not now; try again.
    Retry(String),
    /// Will never work: park it.
    Poison(String),
}

/// Applies the effects of messages. Every effect is idempotent.
#[async_trait]
pub trait Effects: Send + Sync + 'static {
    /// Applies a batch; one answer per item, in order. May be dropped at any await: what is left undone then is asked
    /// for again.
    async fn apply(&self, batch: EffectBatch) -> Vec<Handled>;
}
