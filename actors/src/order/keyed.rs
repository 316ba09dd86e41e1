//! What is asked for under an idempotency key: the same request again is answered as the first time.
//!
//! The key is kept in the transaction of the work, so both are there or neither. A refused request did nothing and
//! leaves its key free. The first answer needs no copy: it follows from what was kept, the row and the request.

use std::time::Duration;

use sha2::{Digest, Sha256};

use super::{Buyer, Orders, ReturnWish, SubmitRequest, Submitted};
use crate::domain::order::{Order, OrderStatus};
use crate::domain::reject::{Failure, Reject, Unavailable};
use crate::domain::returns::{ReturnApply, ReturnState};
use crate::domain::{OrderSn, SaleId, Timestamp, UserId};
use crate::ports::store::units::{KeepRequest, PruneRequests};
use crate::ports::store::{KeptRequest, RequestKey};

/// How long a key is good.
pub const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Keys forgotten in one transaction.
const PRUNED_AT_ONCE: usize = 1000;

/// An answer as it was the first time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Once<T> {
    /// The answer.
    pub value: T,
    /// Whether an earlier request was answered so.
    pub is_replayed: bool,
}

impl Orders {
    /// Makes an order under `key`, once.
    ///
    /// # Errors
    /// [`Reject::KeyInProgress`], [`Reject::KeyReused`], [`Reject::TokenUsed`], and those of [`Orders::submit`].
    pub async fn create(&self, buyer: &Buyer, key: RequestKey, request: SubmitRequest) -> Result<Once<Order>, Failure> {
        let user_id = buyer.user_id;
        let asked = KeepRequest { user_id, request: key };
        let work = async |asked: Option<KeepRequest>| {
            let key = asked.map(|asked| asked.request);
            match self.submit_under(buyer, &request, key.as_ref()).await? {
                Submitted::Placed(placed) => Ok(as_placed(self.own_order(user_id, &placed.order_sn).await?, &request)),
                // Another key made an order of this token, unless another node was faster with this one.
                Submitted::Repeated(order) => Err(Reject::TokenUsed(order.order_sn).into()),
            }
        };
        let replay = async |kept: KeptRequest| Ok(as_placed(self.kept_order(user_id, &kept).await?, &request));
        self.once(Some(asked), work, replay).await
    }

    /// As [`Orders::cancel`]; the order as it was closed.
    ///
    /// # Errors
    /// [`Reject::KeyInProgress`], [`Reject::KeyReused`], and those of [`Orders::cancel`].
    pub async fn cancel_once(
        &self,
        user_id: UserId,
        order_sn: &OrderSn,
        key: Option<String>,
    ) -> Result<Once<Order>, Failure> {
        let work = async |asked| {
            self.cancel(user_id, order_sn, asked).await?;
            self.own_order(user_id, order_sn).await
        };
        // Nothing changes a closed order any more.
        let replay = async |_| self.own_order(user_id, order_sn).await;
        self.once(asking(user_id, "cancel", key, &[order_sn.as_str()]), work, replay).await
    }

    /// As [`Orders::receive`]; the order as it was received.
    ///
    /// # Errors
    /// [`Reject::KeyInProgress`], [`Reject::KeyReused`], and those of [`Orders::receive`].
    pub async fn receive_once(
        &self,
        user_id: UserId,
        order_sn: &OrderSn,
        key: Option<String>,
    ) -> Result<Once<Order>, Failure> {
        let work = async |asked| {
            self.receive(user_id, order_sn, asked).await?;
            Ok(as_received(self.own_order(user_id, order_sn).await?))
        };
        let replay = async |_| Ok(as_received(self.own_order(user_id, order_sn).await?));
        self.once(asking(user_id, "receive", key, &[order_sn.as_str()]), work, replay).await
    }

    /// As [`Orders::issue_pay_page`]; the same form for the same key.
    ///
    /// # Errors
    /// [`Reject::KeyInProgress`], [`Reject::KeyReused`], and those of [`Orders::issue_pay_page`].
    pub async fn issue_pay_page_once(
        &self,
        user_id: UserId,
        order_sn: &OrderSn,
        key: String,
    ) -> Result<Once<String>, Failure> {
        let work = async |asked| self.issue_pay_page(user_id, order_sn, asked).await;
        let replay = async |kept: KeptRequest| {
            let issued_at = kept.subject.split_once(' ').and_then(|(_, at)| at.parse().ok()).map(Timestamp);
            let issued_at = issued_at.ok_or_else(|| unreadable("a kept pay page has no time"))?;
            let order = self.own_order(user_id, order_sn).await?;
            let pay_before = order.pay_before.ok_or_else(|| unreadable("a kept pay page has no deadline"))?;
            self.pay_page_at(&order, pay_before, issued_at).await
        };
        self.once(asking(user_id, "payments", Some(key), &[order_sn.as_str()]), work, replay).await
    }

    /// As [`Orders::request_return`]; the request as it was made.
    ///
    /// # Errors
    /// [`Reject::KeyInProgress`], [`Reject::KeyReused`], and those of [`Orders::request_return`].
    pub async fn request_return_once(
        &self,
        user_id: UserId,
        order_sn: &OrderSn,
        wish: ReturnWish,
        key: String,
    ) -> Result<Once<(ReturnApply, bool)>, Failure> {
        let (sku_id, quantity) = (wish.sku_id.to_string(), wish.quantity.to_string());
        let said = [order_sn.as_str(), &sku_id, &quantity, &wish.reason, &wish.description];
        let asked = asking(user_id, "returns", Some(key), &said);
        let work = async |asked| self.request_return(user_id, order_sn, wish.clone(), asked).await;
        let replay = async |kept: KeptRequest| {
            let (id, is_new) = match kept.subject.split_once(' ') {
                None => (kept.subject.as_str(), true),
                Some((id, _again)) => (id, false),
            };
            let id = id.parse().map_err(|_| unreadable("a kept request names no return"))?;
            Ok((as_requested(self.return_apply(id).await?), is_new))
        };
        self.once(asked, work, replay).await
    }

    /// Does something once for each key. While it is being done the key has a turn on this node; on another node the
    /// store's primary key decides, so after a failure the key is looked for once more.
    async fn once<T>(
        &self,
        asked: Option<KeepRequest>,
        work: impl AsyncFnOnce(Option<KeepRequest>) -> Result<T, Failure>,
        replay: impl AsyncFnOnce(KeptRequest) -> Result<T, Failure>,
    ) -> Result<Once<T>, Failure> {
        let Some(KeepRequest { user_id, request }) = asked.clone() else {
            return Ok(Once { value: work(None).await?, is_replayed: false });
        };
        let place = format!("{user_id} {} {}", request.operation, request.key);
        let _turn = self.turns.try_take(&place).ok_or(Reject::KeyInProgress)?;
        let mut kept = self.kept(user_id, &request).await?;
        if kept.is_none() {
            let failure = match work(asked).await {
                Ok(value) => return Ok(Once { value, is_replayed: false }),
                Err(failure) => failure,
            };
            let may_be_kept = !matches!(failure, Failure::Unavailable(Unavailable::Overloaded | Unavailable::Stopping));
            kept = if may_be_kept { self.kept(user_id, &request).await.unwrap_or_default() } else { None };
            if kept.is_none() {
                return Err(failure);
            }
        }
        match kept {
            Some(kept) if kept.digest == request.digest => Ok(Once { value: replay(kept).await?, is_replayed: true }),
            _ => Err(Reject::KeyReused.into()),
        }
    }

    async fn kept(&self, user_id: UserId, key: &RequestKey) -> Result<Option<KeptRequest>, Unavailable> {
        self.read(self.store.kept_request(user_id, key.operation, &key.key)).await
    }

    /// The order that a kept request made.
    pub(super) async fn kept_order(&self, user_id: UserId, kept: &KeptRequest) -> Result<Order, Failure> {
        let order_sn = OrderSn::parse(&kept.subject).ok_or_else(|| unreadable("a kept request names no order"))?;
        self.own_order(user_id, &order_sn).await
    }

    /// A user's order.
    pub(super) async fn own_order(&self, user_id: UserId, order_sn: &OrderSn) -> Result<Order, Failure> {
        let order = self.read(self.reader.order_of(user_id, order_sn)).await?;
        order.ok_or_else(|| Reject::UnknownOrder.into())
    }

    /// The number that a client's key stands for in a flash sale ([`crate::flash_sale::FlashSales::attempt_keyed`]).
    pub fn number_of_key(&self, user_id: UserId, sale_id: SaleId, key: &str) -> u64 {
        self.signer.number(user_id, &format!("flash sale {sale_id}"), key)
    }

    /// Forgets keys older than [`KEY_LIFE`]; how many.
    ///
    /// # Errors
    /// When the store does not answer; the next call goes on.
    pub async fn forget_old_keys(&self) -> Result<usize, Unavailable> {
        let mut forgotten = 0;
        loop {
            let now = self.commit(PruneRequests { older_than: KEY_LIFE, limit: PRUNED_AT_ONCE }).await?;
            forgotten += now;
            if now < PRUNED_AT_ONCE {
                return Ok(forgotten);
            }
        }
    }
}

/// The key of a request that says this, if it has one.
fn asking(user_id: UserId, operation: &'static str, key: Option<String>, said: &[&str]) -> Option<KeepRequest> {
    let mut digest = Sha256::new();
    for part in said {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    let digest = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    Some(KeepRequest { user_id, request: RequestKey { operation, key: key?, digest } })
}

fn unreadable(what: &str) -> Failure {
    Unavailable::Dependency(what.into()).into()
}

/// What the first answer showed. What may have changed since is in the request, which is the same, or known.
fn as_placed(order: Order, request: &SubmitRequest) -> Order {
    Order {
        status: order.pay_type.first_status(),
        receiver: request.receiver.clone(),
        delivery_company: request.delivery_company.clone(),
        pay_page_issued_at: None,
        paid_at: None,
        delivery_sn: None,
        shipped_at: None,
        auto_confirm_days: None,
        received_at: None,
        modified_at: order.created_at,
        ..order
    }
}

/// A received order at the moment of its receipt: only refunds touch it afterwards.
fn as_received(order: Order) -> Order {
    Order { status: OrderStatus::Completed, modified_at: order.received_at.unwrap_or(order.modified_at), ..order }
}

/// A return request before staff saw it.
fn as_requested(row: ReturnApply) -> ReturnApply {
    ReturnApply {
        state: ReturnState::Pending,
        handled_at: None,
        handle_note: String::new(),
        received_at: None,
        receive_note: String::new(),
        restocked: false,
        ..row
    }
}
