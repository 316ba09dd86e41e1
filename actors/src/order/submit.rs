//! Submit: token → price → reserve at each SKU's actor → order, items, locks, counters and messages in one transaction.

use super::token::TokenState;
use super::{Buyer, Orders};
use crate::domain::order::{NewOrder, Order, OrderItem, PayType, Receiver};
use crate::domain::reject::{Failure, Reject, Unavailable};
use crate::domain::{Money, OrderSn, SkuId, Timestamp, UserId};
use crate::ports::store::units::{PlaceOrder, Placement};
use crate::ports::store::{RequestKey, Sku};

/// What the buyer submits, already checked for shape and range.
#[derive(Clone, Debug)]
pub struct SubmitRequest {
    /// From confirm.
    pub token: String,
    /// Distinct SKUs and quantities.
    pub wants: Vec<(SkuId, u32)>,
    /// The total the buyer saw; only compared.
    pub total: Money,
    /// How it will be paid.
    pub pay_type: PayType,
    /// Carrier wish.
    pub delivery_company: String,
    /// Where it goes.
    pub receiver: Receiver,
    /// Whether the answer carries a pay page.
    pub with_pay_page: bool,
}

/// Outcome of a submit.
#[derive(Clone, Debug)]
pub enum Submitted {
    /// A new order.
    Placed(PlacedOrder),
    /// The token made this order before; nothing new.
    Repeated(Box<Order>),
}

/// The new order, as far as the answer needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlacedOrder {
    /// Its number.
    pub order_sn: OrderSn,
    /// What it costs.
    pub pay_amount: Money,
    /// What the cashier shows.
    pub subject: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// Deadline when paid online.
    pub pay_before: Option<Timestamp>,
}

impl Orders {
    /// Makes an order, once per token.
    ///
    /// # Errors
    /// [`Reject::TokenInvalid`], [`Reject::EmptyOrder`], [`Reject::UnknownSku`], [`Reject::PriceChanged`],
    /// [`Reject::StockShort`]; all leave the token usable.
    pub async fn submit(&self, buyer: &Buyer, request: SubmitRequest) -> Result<Submitted, Failure> {
        self.submit_under(buyer, &request, None).await
    }

    /// The same, keeping the idempotency key of the request with what it makes.
    pub(super) async fn submit_under(
        &self,
        buyer: &Buyer,
        request: &SubmitRequest,
        key: Option<&RequestKey>,
    ) -> Result<Submitted, Failure> {
        let token_state = self.signer.check(&request.token, buyer.user_id, self.now());
        if token_state == TokenState::Invalid {
            return Err(Reject::TokenInvalid.into());
        }
        let turn = self.turns.take(&request.token, self.settings.request).await;
        let _turn = turn.ok_or(Unavailable::Overloaded)?;
        let may_be_used = token_state == TokenState::Lapsed || self.seen(&request.token).await;
        if may_be_used && let Some(order) = self.made_under(buyer.user_id, &request.token).await? {
            return Ok(Submitted::Repeated(Box::new(order)));
        }
        if token_state == TokenState::Lapsed {
            return Err(Reject::TokenInvalid.into());
        }
        match self.quote_and_place(buyer, request, key).await {
            // The gate may have forgotten the token, or another node used it, and with it the last units, meanwhile.
            Err(Failure::Rejected(reject)) => match self.made_under(buyer.user_id, &request.token).await? {
                Some(order) => Ok(Submitted::Repeated(Box::new(order))),
                None => Err(reject.into()),
            },
            result => result,
        }
    }

    async fn quote_and_place(
        &self,
        buyer: &Buyer,
        request: &SubmitRequest,
        key: Option<&RequestKey>,
    ) -> Result<Submitted, Failure> {
        self.ask_for_room(&request.wants)?;
        let order = self.quote(buyer, request).await?;
        self.place(order, request, key).await
    }

    /// A gate only: when it says no or is away, the store is asked; when it says yes wrongly, UNIQUE is.
    async fn seen(&self, token: &str) -> bool {
        let marking = self.coordination.mark_token(token);
        !matches!(tokio::time::timeout(self.settings.request, marking).await, Ok(Ok(true)))
    }

    async fn made_under(&self, user_id: UserId, token: &str) -> Result<Option<Order>, Unavailable> {
        self.read(self.store.order_by_token(user_id, token)).await
    }

    async fn quote(&self, buyer: &Buyer, request: &SubmitRequest) -> Result<NewOrder, Failure> {
        if request.wants.is_empty() {
            return Err(Reject::EmptyOrder.into());
        }
        let items: Vec<OrderItem> =
            self.priced(&request.wants).await?.into_iter().map(|(sku, quantity)| order_item(sku, quantity)).collect();
        let total = total_of(&items).filter(|total| *total <= Money::MAX_PAYMENT).ok_or(Reject::AmountOutOfRange)?;
        if total != request.total {
            return Err(Reject::PriceChanged { now: total }.into());
        }
        Ok(NewOrder {
            order_sn: self.new_order_sn(),
            user_id: buyer.user_id,
            username: buyer.username.clone(),
            pay_type: request.pay_type,
            total_amount: total,
            pay_amount: total,
            delivery_company: request.delivery_company.clone(),
            receiver: request.receiver.clone(),
            items,
            payment_timeout: self.settings.payment_timeout,
            sale_id: None,
            pay_page_issued: request.with_pay_page && request.pay_type == PayType::Online,
        })
    }

    async fn place(
        &self,
        order: NewOrder,
        request: &SubmitRequest,
        key: Option<&RequestKey>,
    ) -> Result<Submitted, Failure> {
        let make =
            |locks| PlaceOrder { order: order.clone(), token: request.token.clone(), locks, request: key.cloned() };
        let placement = self.stock.commit_reserved(&request.wants, make, |placement| match placement {
            Placement::Stale(sku_ids) => sku_ids.clone(),
            _ => Vec::new(),
        });
        match placement.await? {
            Placement::Placed { created_at, pay_before } => Ok(Submitted::Placed(PlacedOrder {
                subject: subject(&order.items),
                order_sn: order.order_sn,
                pay_amount: order.pay_amount,
                created_at,
                pay_before,
            })),
            Placement::KeyUsed(kept) => Ok(Submitted::Repeated(Box::new(self.kept_order(order.user_id, &kept).await?))),
            Placement::TokenUsed(_) => match self.made_under(order.user_id, &request.token).await? {
                Some(order) => Ok(Submitted::Repeated(Box::new(order))),
                None => Err(Reject::TokenInvalid.into()),
            },
            Placement::Stale(_) => Err(Unavailable::Overloaded.into()),
        }
    }
}

/// One line from the catalogue.
pub(super) fn order_item(sku: Sku, quantity: u32) -> OrderItem {
    let attributes: Vec<serde_json::Value> = sku
        .attributes
        .iter()
        .map(|attribute| serde_json::json!({"attrName": attribute.name, "attrValue": attribute.value}))
        .collect();
    OrderItem {
        sku_id: sku.sku_id,
        spu_id: sku.spu_id,
        category_id: sku.category_id,
        title: sku.title,
        image: sku.image,
        price: sku.price,
        quantity,
        attributes: serde_json::Value::Array(attributes).to_string(),
    }
}

fn total_of(items: &[OrderItem]) -> Option<Money> {
    items.iter().try_fold(Money::ZERO, |sum, item| sum.checked_add(item.price.checked_times(item.quantity)?))
}

/// What the cashier shows: the first title, and how many units there are in all (fault 83).
pub(super) fn subject(items: &[OrderItem]) -> String {
    let units: u64 = items.iter().map(|item| u64::from(item.quantity)).sum();
    let title: String = items.first().map_or("", |item| &item.title).chars().filter(|c| !c.is_control()).collect();
    let short: String = title.chars().take(200).collect();
    if units > 1 { format!("{short} 等{units}件") } else { short }
}
