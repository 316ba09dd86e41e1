//! A store of which one call, chosen by its number, fails.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;

use crate::domain::events::BoundPlus;
use crate::domain::flash_sale::{FlashSale, Grant};
use crate::domain::invariants::Facts;
use crate::domain::order::{Order, OrderHistory, OrderStatus};
use crate::domain::payment::{PendingRefund, Refund};
use crate::domain::returns::ReturnApply;
use crate::domain::stock::{LockState, StockRow};
use crate::domain::webhook::{Delivery, Endpoint};
use crate::domain::{OrderSn, SaleId, SkuId, Timestamp, UserId};
use crate::ports::store::units::WriteUnit;
use crate::ports::store::{
    Address, AuditReads, Buyer, CartItem, CatalogReads, Committed, DeliverySearch, FlashSaleReads, FulfilmentReads,
    KeptRequest, LedgerCursor, LedgerRow, LockRow, Member, MemberReads, MessageReads, OrderFilter, OrderReads,
    OrderSearch, OutboxRow, ParkedMessage, PaymentRow, QueuedMessage, RequestReads, ReturnSearch, SaleCounts,
    SaleFilter, Sku, StockReads, Store, StoreError, UnpaidOrder, WebhookReads,
};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreFault {
    /// Nothing happened.
    Before,
    /// It happened, but the answer was lost.
    After,
}

#[derive(Default)]
struct State {
    calls: Vec<&'static str>,
    fails: Option<(usize, StoreFault)>,
    is_away: bool,
    away_from: Option<usize>,
}

/// The store. Counts its calls from the last [`FaultyStore::arm`].
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    state: Mutex<State>,
}

impl FaultyStore {
    /// A store around `inner` that fails nowhere.
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self { inner, state: Mutex::default() })
    }

    /// Counts from 1 again; the call of this number, if any, fails.
    pub fn arm(&self, fails: Option<(usize, StoreFault)>) {
        let mut state = self.state();
        state.calls.clear();
        state.fails = fails;
    }

    /// From now on every call fails, or none.
    pub fn set_away(&self, is_away: bool) {
        self.state().is_away = is_away;
    }

    /// From the call of this number on, counted from the last [`FaultyStore::arm`], every call fails.
    pub fn go_away_at(&self, number: Option<usize>) {
        self.state().away_from = number;
    }

    /// The calls since it was armed, by name.
    pub fn calls(&self) -> Vec<&'static str> {
        self.state().calls.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_fault(&self, name: &'static str) -> Option<StoreFault> {
        let mut state = self.state();
        state.calls.push(name);
        let number = state.calls.len();
        if state.is_away || state.away_from.is_some_and(|from| number >= from) {
            return Some(StoreFault::Before);
        }
        state.fails.filter(|(fails, _)| *fails == number).map(|(_, fault)| fault)
    }

    async fn guarded<T>(
        &self,
        name: &'static str,
        call: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        match self.next_fault(name) {
            None => call.await,
            Some(StoreFault::Before) => Err(StoreError::Failed(format!("{name} was not reached"))),
            Some(StoreFault::After) => {
                call.await?;
                Err(StoreError::Unknown(format!("the answer of {name} was lost")))
            }
        }
    }
}

macro_rules! guarded {
    ($port:ident: $($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl $port for FaultyStore {
            $(async fn $name(&self $(, $argument: $kind)*) -> Result<$answer, StoreError> {
                self.guarded(stringify!($name), self.inner.$name($($argument),*)).await
            })*
        }
    };
}

guarded! { Store:
    commit(units: &[WriteUnit]) -> Committed;
    now() -> Timestamp;
}

guarded! { StockReads:
    stock_rows(sku_id: SkuId) -> Vec<StockRow>;
    locks_of(order_sns: &[OrderSn]) -> Vec<LockRow>;
    lapsed_locks(limit: usize) -> Vec<LockRow>;
    ledger(sku_id: SkuId, before: Option<LedgerCursor>, limit: usize) -> Vec<LedgerRow>;
    unresolved_locks(older_ms: i64, limit: usize) -> Vec<(LockRow, LockState)>;
}

guarded! { OrderReads:
    order(order_sn: &OrderSn) -> Option<Order>;
    own_orders(asked: &[(UserId, OrderSn)]) -> Vec<Order>;
    order_by_token(user_id: UserId, token: &str) -> Option<Order>;
    unpaid_orders(order_sns: &[OrderSn]) -> Vec<UnpaidOrder>;
    orders_of(user_id: UserId, filter: &OrderFilter) -> Vec<Order>;
    order_counts(user_id: UserId) -> Vec<(OrderStatus, u64)>;
    order_history(order_sn: &OrderSn) -> Vec<OrderHistory>;
    overdue_orders(grace: Duration, limit: usize) -> Vec<OrderSn>;
    payments_of(order_sn: &OrderSn) -> Vec<PaymentRow>;
    pending_refunds(limit: usize) -> Vec<PendingRefund>;
}

guarded! { FulfilmentReads:
    search_orders(search: &OrderSearch) -> Vec<Order>;
    due_receipts(limit: usize) -> Vec<OrderSn>;
    return_apply(return_id: i64) -> Option<ReturnApply>;
    returns_of(order_sn: &OrderSn) -> Vec<ReturnApply>;
    search_returns(search: &ReturnSearch) -> Vec<ReturnApply>;
    refunds_of(order_sn: &OrderSn) -> Vec<Refund>;
}

guarded! { FlashSaleReads:
    sale(sale_id: SaleId) -> Option<FlashSale>;
    sales(limit: usize) -> Vec<FlashSale>;
    sales_page(filter: &SaleFilter) -> Vec<FlashSale>;
    open_sales() -> Vec<FlashSale>;
    sale_of_sku(sku_id: SkuId) -> Option<FlashSale>;
    sale_counts(sale_id: SaleId) -> SaleCounts;
    holders(sale_id: SaleId) -> Vec<(UserId, u32)>;
    grants(order_sns: &[OrderSn]) -> Vec<Grant>;
    grants_of(sale_id: SaleId, user_id: UserId) -> Vec<Grant>;
    first_grant(sale_id: SaleId, user_id: UserId) -> Option<Grant>;
    unordered_grants(older_ms: i64, limit: usize) -> Vec<Grant>;
}

guarded! { MemberReads:
    members(user_ids: &[UserId]) -> Vec<Member>;
    buyers(user_ids: &[UserId]) -> Vec<Buyer>;
    addresses_of(user_ids: &[UserId]) -> Vec<Address>;
    missing_points(older_ms: i64, limit: usize) -> Vec<BoundPlus>;
    cart(user_id: UserId) -> Vec<CartItem>;
}

guarded! { CatalogReads:
    skus(sku_ids: &[SkuId]) -> Vec<Sku>;
    shelf(limit: usize) -> Vec<Sku>;
}

guarded! { MessageReads:
    unpublished(older_ms: i64, limit: usize) -> Vec<OutboxRow>;
    queued() -> Vec<QueuedMessage>;
    parked_before(message_id: Option<&str>, limit: usize) -> Vec<ParkedMessage>;
}

guarded! { RequestReads:
    kept_request(user_id: UserId, operation: &str, key: &str) -> Option<KeptRequest>;
}

guarded! { WebhookReads:
    webhooks() -> Vec<Endpoint>;
    webhook(endpoint_id: i64) -> Option<Endpoint>;
    due_webhooks() -> Vec<i64>;
    deliveries(endpoint_id: i64, search: &DeliverySearch) -> Vec<Delivery>;
    delivery(endpoint_id: i64, delivery_id: i64) -> Option<Delivery>;
}

guarded! { AuditReads:
    facts(exempt_ms: i64) -> Facts;
}
