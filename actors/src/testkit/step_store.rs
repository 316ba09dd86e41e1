//! A store that waits at gates, fails when told to, and counts: races are made by hand with it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Notify;

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

/// A place where calls wait while it is shut.
#[derive(Debug, Default)]
pub struct Gate {
    state: Mutex<GateState>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct GateState {
    shut: bool,
    tickets: usize,
    waiting: usize,
    passed: usize,
}

impl Gate {
    /// From now on calls wait here.
    pub fn shut(&self) {
        self.state().shut = true;
    }

    /// Lets one call pass, now or when it comes.
    pub fn step(&self) {
        self.state().tickets += 1;
        self.changed.notify_waiters();
    }

    /// Lets all pass.
    pub fn open(&self) {
        let mut state = self.state();
        (state.shut, state.tickets) = (false, 0);
        drop(state);
        self.changed.notify_waiters();
    }

    /// Calls that wait here now.
    pub fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Calls that came through so far.
    pub fn passed(&self) -> usize {
        self.state().passed
    }

    pub(super) async fn pass(&self) {
        if self.try_pass() {
            return;
        }
        self.state().waiting += 1;
        let _leave = Leave(self);
        loop {
            let changed = self.changed.notified();
            if self.try_pass() {
                return;
            }
            changed.await;
        }
    }

    fn try_pass(&self) -> bool {
        let mut state = self.state();
        if state.shut && state.tickets == 0 {
            return false;
        }
        state.tickets = state.tickets.saturating_sub(1);
        state.passed += 1;
        true
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts a waiting call out again, also when it is given up.
struct Leave<'a>(&'a Gate);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

type Poison = Box<dyn Fn(&WriteUnit) -> bool + Send>;

/// A store with gates around its commits and its reads of stock rows.
pub struct StepStore {
    inner: Arc<dyn Store>,
    /// Before a commit.
    pub before_commit: Gate,
    /// Between a commit and its answer.
    pub after_commit: Gate,
    /// Before a read of stock rows.
    pub before_read: Gate,
    /// Between a read of stock rows and its answer.
    pub after_read: Gate,
    commit_failures: Mutex<VecDeque<StoreError>>,
    read_failures: Mutex<VecDeque<StoreError>>,
    poison: Mutex<Option<Poison>>,
    commits_take: Mutex<Duration>,
    batches: Mutex<Vec<Vec<WriteUnit>>>,
    reads: Mutex<Vec<SkuId>>,
    calls: Mutex<BTreeMap<&'static str, usize>>,
}

impl StepStore {
    /// All gates open, around `inner`.
    pub fn new(inner: Arc<dyn Store>) -> Arc<Self> {
        Arc::new(Self {
            inner,
            before_commit: Gate::default(),
            after_commit: Gate::default(),
            before_read: Gate::default(),
            after_read: Gate::default(),
            commit_failures: Mutex::default(),
            read_failures: Mutex::default(),
            poison: Mutex::default(),
            commits_take: Mutex::default(),
            batches: Mutex::default(),
            reads: Mutex::default(),
            calls: Mutex::default(),
        })
    }

    /// The next commit that is not spoken for yet fails, without reaching the store.
    pub fn fail_commit(&self, error: StoreError) {
        lock(&self.commit_failures).push_back(error);
    }

    /// From now on a commit with such a unit in it fails as if a constraint had refused it.
    pub fn poison(&self, is_bad: impl Fn(&WriteUnit) -> bool + Send + 'static) {
        *lock(&self.poison) = Some(Box::new(is_bad));
    }

    /// From now on every commit takes so long.
    pub fn commits_take(&self, duration: Duration) {
        *lock(&self.commits_take) = duration;
    }

    /// The next read of stock rows that is not spoken for yet fails.
    pub fn fail_read(&self, error: StoreError) {
        lock(&self.read_failures).push_back(error);
    }

    /// The units of every commit tried so far, failed ones included.
    pub fn batches(&self) -> Vec<Vec<WriteUnit>> {
        lock(&self.batches).clone()
    }

    /// How often the stock rows of a SKU were asked for.
    pub fn reads_of(&self, sku_id: SkuId) -> usize {
        lock(&self.reads).iter().filter(|read| **read == sku_id).count()
    }

    /// How often the reads outside of stock were called, by name; `now` is one of them.
    pub fn calls(&self) -> BTreeMap<&'static str, usize> {
        lock(&self.calls).clone()
    }

    fn count(&self, name: &'static str) {
        *lock(&self.calls).entry(name).or_default() += 1;
    }

    /// How many units each commit tried so far had.
    pub fn batch_sizes(&self) -> Vec<usize> {
        lock(&self.batches).iter().map(Vec::len).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Store for StepStore {
    async fn commit(&self, units: &[WriteUnit]) -> Result<Committed, StoreError> {
        lock(&self.batches).push(units.to_vec());
        self.before_commit.pass().await;
        let takes = *lock(&self.commits_take);
        if !takes.is_zero() {
            tokio::time::sleep(takes).await;
        }
        let failure = lock(&self.commit_failures).pop_front();
        if let Some(error) = failure {
            return Err(error);
        }
        if lock(&self.poison).as_ref().is_some_and(|is_bad| units.iter().any(is_bad)) {
            return Err(StoreError::Constraint("a unit is bad".into()));
        }
        let committed = self.inner.commit(units).await;
        self.after_commit.pass().await;
        committed
    }

    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.count("now");
        self.inner.now().await
    }
}

#[async_trait]
impl StockReads for StepStore {
    async fn stock_rows(&self, sku_id: SkuId) -> Result<Vec<StockRow>, StoreError> {
        lock(&self.reads).push(sku_id);
        self.before_read.pass().await;
        let failure = lock(&self.read_failures).pop_front();
        if let Some(error) = failure {
            return Err(error);
        }
        let rows = self.inner.stock_rows(sku_id).await;
        self.after_read.pass().await;
        rows
    }

    async fn locks_of(&self, order_sns: &[OrderSn]) -> Result<Vec<LockRow>, StoreError> {
        self.inner.locks_of(order_sns).await
    }

    async fn lapsed_locks(&self, limit: usize) -> Result<Vec<LockRow>, StoreError> {
        self.inner.lapsed_locks(limit).await
    }

    async fn ledger(
        &self,
        sku_id: SkuId,
        before: Option<LedgerCursor>,
        limit: usize,
    ) -> Result<Vec<LedgerRow>, StoreError> {
        self.inner.ledger(sku_id, before, limit).await
    }

    async fn unresolved_locks(&self, older_ms: i64, limit: usize) -> Result<Vec<(LockRow, LockState)>, StoreError> {
        self.inner.unresolved_locks(older_ms, limit).await
    }
}

/// Passes reads on to the inner store.
macro_rules! pass_on {
    ($port:ident: $($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl $port for StepStore {
            $(async fn $name(&self $(, $argument: $kind)*) -> Result<$answer, StoreError> {
                self.count(stringify!($name));
                self.inner.$name($($argument),*).await
            })*
        }
    };
}

pass_on! { OrderReads:
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

pass_on! { FulfilmentReads:
    search_orders(search: &OrderSearch) -> Vec<Order>;
    due_receipts(limit: usize) -> Vec<OrderSn>;
    return_apply(return_id: i64) -> Option<ReturnApply>;
    returns_of(order_sn: &OrderSn) -> Vec<ReturnApply>;
    search_returns(search: &ReturnSearch) -> Vec<ReturnApply>;
    refunds_of(order_sn: &OrderSn) -> Vec<Refund>;
}

pass_on! { FlashSaleReads:
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

pass_on! { MemberReads:
    members(user_ids: &[UserId]) -> Vec<Member>;
    buyers(user_ids: &[UserId]) -> Vec<Buyer>;
    addresses_of(user_ids: &[UserId]) -> Vec<Address>;
    missing_points(older_ms: i64, limit: usize) -> Vec<BoundPlus>;
    cart(user_id: UserId) -> Vec<CartItem>;
}

pass_on! { CatalogReads:
    skus(sku_ids: &[SkuId]) -> Vec<Sku>;
    shelf(limit: usize) -> Vec<Sku>;
}

pass_on! { MessageReads:
    unpublished(older_ms: i64, limit: usize) -> Vec<OutboxRow>;
    queued() -> Vec<QueuedMessage>;
    parked_before(message_id: Option<&str>, limit: usize) -> Vec<ParkedMessage>;
}

pass_on! { RequestReads:
    kept_request(user_id: UserId, operation: &str, key: &str) -> Option<KeptRequest>;
}

pass_on! { WebhookReads:
    webhooks() -> Vec<Endpoint>;
    webhook(endpoint_id: i64) -> Option<Endpoint>;
    due_webhooks() -> Vec<i64>;
    deliveries(endpoint_id: i64, search: &DeliverySearch) -> Vec<Delivery>;
    delivery(endpoint_id: i64, delivery_id: i64) -> Option<Delivery>;
}

pass_on! { AuditReads:
    facts(exempt_ms: i64) -> Facts;
}
