//! Orders made under an idempotency key: the same request again is answered as the first time.
//!
//! The key is kept in the transaction that makes the order, so both are there or neither. A refused request made
//! nothing and leaves its key free. The first answer needs no copy: it follows from the order and the request.

use std::time::Duration;

use super::{Buyer, Orders, SubmitRequest, Submitted};
use crate::domain::order::Order;
use crate::domain::reject::{Failure, Reject, Unavailable};
use crate::domain::{OrderSn, SaleId, UserId};
use crate::ports::store::units::PruneRequests;
use crate::ports::store::{KeptRequest, RequestKey};

/// How long a key is good.
pub const KEY_LIFE: Duration = Duration::from_secs(24 * 3600);
/// Keys forgotten in one transaction.
const PRUNED_AT_ONCE: usize = 1000;

/// The order of a keyed request, as it was when it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// The order.
    pub order: Order,
    /// Whether an earlier request made it.
    pub is_replayed: bool,
}

impl Orders {
    /// Makes an order under `key`, once.
    ///
    /// # Errors
    /// [`Reject::KeyInProgress`], [`Reject::KeyReused`], [`Reject::TokenUsed`], and those of [`Orders::submit`].
    pub async fn create(&self, buyer: &Buyer, key: RequestKey, request: SubmitRequest) -> Result<Created, Failure> {
        let place = format!("{} {} {}", buyer.user_id, key.operation, key.key);
        let _turn = self.turns.try_take(&place).ok_or(Reject::KeyInProgress)?;
        if let Some(kept) = self.kept(buyer.user_id, &key).await? {
            return self.replay(buyer.user_id, &key, &kept, &request).await;
        }
        match self.submit_under(buyer, &request, Some(&key)).await? {
            Submitted::Placed(placed) => {
                let order = self.own_order(buyer.user_id, &placed.order_sn).await?;
                Ok(Created { order: as_placed(order, &request), is_replayed: false })
            }
            // Another node was faster with this key, or another key made an order of this token.
            Submitted::Repeated(order) => match self.kept(buyer.user_id, &key).await? {
                Some(kept) => self.replay(buyer.user_id, &key, &kept, &request).await,
                None => Err(Reject::TokenUsed(order.order_sn).into()),
            },
        }
    }

    async fn replay(
        &self,
        user_id: UserId,
        key: &RequestKey,
        kept: &KeptRequest,
        request: &SubmitRequest,
    ) -> Result<Created, Failure> {
        if kept.digest != key.digest {
            return Err(Reject::KeyReused.into());
        }
        let order = self.kept_order(user_id, kept).await?;
        Ok(Created { order: as_placed(order, request), is_replayed: true })
    }

    async fn kept(&self, user_id: UserId, key: &RequestKey) -> Result<Option<KeptRequest>, Unavailable> {
        self.read(self.store.kept_request(user_id, key.operation, &key.key)).await
    }

    /// The order that a kept request made.
    pub(super) async fn kept_order(&self, user_id: UserId, kept: &KeptRequest) -> Result<Order, Failure> {
        let order_sn = OrderSn::parse(&kept.subject)
            .ok_or_else(|| Unavailable::Dependency("a kept request names no order".into()))?;
        self.own_order(user_id, &order_sn).await
    }

    async fn own_order(&self, user_id: UserId, order_sn: &OrderSn) -> Result<Order, Failure> {
        let order = self.read(self.store.order_of(user_id, order_sn)).await?;
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
