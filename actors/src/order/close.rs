//! Close: unpaid orders after their time, or when the owner cancels; a paid one is then refunded. Where a pay page was issued the gateway is asked
//! first, so that money on its way is applied and not sent back (DESIGN rule 10).

use std::collections::BTreeSet;
use std::pin::pin;

use futures_util::stream::{self, StreamExt};

use super::Orders;
use crate::domain::order::{Operator, Order, OrderStatus, close_due_at};
use crate::domain::payment::{Receipt, TradeStatus};
use crate::domain::reject::{Failure, Reject, Unavailable};
use crate::domain::{OrderSn, Timestamp, UserId};
use crate::ports::gateway::{GatewayError, TradeClose, TradeQuery};
use crate::ports::store::UnpaidOrder;
use crate::ports::store::units::{CloseOrders, KeepRequest, OrderClose, PaymentTaken};

const TIMEOUT_NOTE: &str = "not paid in time";
const CANCEL_NOTE: &str = "cancelled by the buyer";

/// What the gateway let us conclude about an unpaid order.
enum TradeEnd {
    /// No money that pays the order can come: close.
    Over,
    /// It was paid, and that is applied.
    Paid,
    /// Nobody knows.
    Unknown(GatewayError),
}

impl Orders {
    /// Closes those of these orders that are unpaid and due. What cannot be decided now is left to the next sweep.
    ///
    /// # Errors
    /// When the store does not answer; nothing is lost by trying again.
    pub(super) async fn close_due(&self, order_sns: &[OrderSn]) -> Result<(), Unavailable> {
        let distinct: BTreeSet<&OrderSn> = order_sns.iter().collect();
        let distinct: Vec<OrderSn> = distinct.into_iter().cloned().collect();
        let unpaid = self.read(self.store.unpaid_orders(&distinct)).await?;
        // Before that the buyer may still pay: the trade is left alone.
        let now = self.read(self.store.now()).await?;
        let is_due = |order: &UnpaidOrder| close_due_at(order.pay_before, self.settings.close_grace) <= now;
        let (with_page, without): (Vec<UnpaidOrder>, Vec<UnpaidOrder>) =
            unpaid.into_iter().filter(is_due).partition(|order| order.pay_page_issued);

        let without = without.into_iter().map(|order| order.order_sn).collect();
        self.close_by_time(without).await?;
        // Closed as the gateway answers, so that a slow answer holds up no other order.
        let at_once = self.settings.closing_at_once;
        let asked = stream::iter(with_page).map(|order| self.ask_before_close(order, now)).buffer_unordered(at_once);
        let mut over = pin!(asked.filter_map(std::future::ready).ready_chunks(at_once));
        while let Some(over) = over.next().await {
            self.close_by_time(over).await?;
        }
        Ok(())
    }

    async fn ask_before_close(&self, order: UnpaidOrder, now: Timestamp) -> Option<OrderSn> {
        // Only a closed semaphore refuses, and nobody closes this one.
        let _place = self.closing.acquire().await.ok()?;
        match self.end_trade(&order.order_sn).await {
            Ok(TradeEnd::Over) => Some(order.order_sn),
            Ok(TradeEnd::Paid) => None,
            Ok(TradeEnd::Unknown(error)) => {
                let blind_at = order.pay_before.plus(self.settings.close_blind_after);
                let give_up = now >= blind_at;
                tracing::warn!(order_sn = %order.order_sn, %error, give_up, "gateway could not tell the trade");
                give_up.then_some(order.order_sn)
            }
            Err(error) => {
                tracing::warn!(order_sn = %order.order_sn, %error, "close is left to the sweep");
                None
            }
        }
    }

    /// Cancels a user's order that is not on its way: an unpaid one is closed, a paid one refunded whole.
    ///
    /// # Errors
    /// [`Reject::UnknownOrder`], [`Reject::WrongState`] (also when money arrived meanwhile: the buyer may ask again).
    pub async fn cancel(&self, user_id: UserId, order_sn: &OrderSn, asked: Option<KeepRequest>) -> Result<(), Failure> {
        let order = self.own_order(user_id, order_sn).await?;
        if order.status == OrderStatus::AwaitingShipment {
            self.refund_whole(order_sn, Operator::User, CANCEL_NOTE.into(), asked).await?;
            return Ok(());
        }
        self.close_unpaid(&order, Operator::User, CANCEL_NOTE, asked).await
    }

    /// Closes an unpaid order at staff's wish.
    ///
    /// # Errors
    /// As [`Self::cancel`].
    pub async fn close_by_staff(&self, order_sn: &OrderSn, note: &str) -> Result<(), Failure> {
        let order = self.read(self.store.order(order_sn)).await?.ok_or(Reject::UnknownOrder)?;
        self.close_unpaid(&order, Operator::Admin, note, None).await
    }

    async fn close_unpaid(
        &self,
        order: &Order,
        operator: Operator,
        note: &str,
        asked: Option<KeepRequest>,
    ) -> Result<(), Failure> {
        let order_sn = &order.order_sn;
        if order.status != OrderStatus::AwaitingPayment {
            return Err(Reject::WrongState(order.status).into());
        }
        if order.pay_page_issued_at.is_some() {
            match self.end_trade(order_sn).await? {
                TradeEnd::Over => {}
                TradeEnd::Paid => return Err(Reject::WrongState(OrderStatus::AwaitingShipment).into()),
                TradeEnd::Unknown(error) => return Err(Unavailable::Dependency(error.to_string()).into()),
            }
        }
        let order_sns = vec![order_sn.clone()];
        let unit = CloseOrders { order_sns, operator, note: note.into(), when_due: false, asked };
        match self.close(unit).await?.first() {
            Some(OrderClose::Closed) => Ok(()),
            Some(OrderClose::WrongState(status)) => Err(Reject::WrongState(*status).into()),
            _ => Err(Reject::UnknownOrder.into()),
        }
    }

    async fn close_by_time(&self, order_sns: Vec<OrderSn>) -> Result<(), Unavailable> {
        if order_sns.is_empty() {
            return Ok(());
        }
        let (operator, note) = (Operator::System, TIMEOUT_NOTE.into());
        self.close(CloseOrders { order_sns, operator, note, when_due: true, asked: None }).await?;
        Ok(())
    }

    async fn close(&self, unit: CloseOrders) -> Result<Vec<OrderClose>, Unavailable> {
        let operator = unit.operator;
        let outcomes = self.commit(unit).await?;
        let closed = outcomes.iter().filter(|outcome| **outcome == OrderClose::Closed).count();
        metrics::counter!("seckill_orders_closed_total", "by" => operator.as_str()).increment(closed as u64);
        Ok(outcomes)
    }

    /// Query, then close at the gateway; a trade that turns out paid is applied.
    async fn end_trade(&self, order_sn: &OrderSn) -> Result<TradeEnd, Unavailable> {
        for _ in 0..2 {
            match self.gateway.query(order_sn).await {
                Err(error) => return Ok(TradeEnd::Unknown(error)),
                Ok(TradeQuery::NotExist) => return Ok(TradeEnd::Over),
                Ok(TradeQuery::Exists { status: TradeStatus::TradeClosed, .. }) => return Ok(TradeEnd::Over),
                Ok(TradeQuery::Exists { status: TradeStatus::WaitBuyerPay, .. }) => {
                    match self.gateway.close(order_sn).await {
                        Err(error) => return Ok(TradeEnd::Unknown(error)),
                        Ok(TradeClose::Closed) => return Ok(TradeEnd::Over),
                        // Paid between the two calls, most likely: look once more.
                        Ok(TradeClose::NotClosable) => {}
                    }
                }
                Ok(TradeQuery::Exists { trade_no, amount, content, .. }) => {
                    let receipt =
                        Receipt { order_sn: order_sn.clone(), trade_no, amount, subject: String::new(), content };
                    return Ok(match self.take_payment(receipt, String::new()).await? {
                        PaymentTaken::Applied | PaymentTaken::Refunding | PaymentTaken::UnknownOrder => TradeEnd::Paid,
                        // The trade is over, but what it brought does not pay this order, now or at an earlier look.
                        // If it did after all, the order is no longer unpaid and the close is refused.
                        PaymentTaken::Mismatch | PaymentTaken::Duplicate => TradeEnd::Over,
                    });
                }
            }
        }
        Ok(TradeEnd::Unknown(GatewayError("the trade can neither be closed nor is it paid".into())))
    }
}
