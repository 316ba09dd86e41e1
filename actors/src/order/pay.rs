//! Pay: hand out a pay page, and take what the gateway says it took.

use super::submit::subject;
use super::{Orders, PlacedOrder};
use crate::domain::order::{Operator, Order};
use crate::domain::payment::{PendingRefund, Receipt, TradeStatus, refund_request_no};
use crate::domain::reject::{Failure, Reject, Unavailable};
use crate::domain::{OrderSn, Timestamp, UserId};
use crate::ports::gateway::{GatewayError, Notification, NotifyError, PayPage};
use crate::ports::store::units::{CloseOrders, IssuePayPage, KeepRequest, PayPageIssue, PaymentTaken, TakePayment};

/// What the gateway is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotifyAnswer {
    /// The 7 bytes `success`: recorded, or had been.
    Success,
    /// `failure`: forged, malformed, or nobody's order.
    Failure,
    /// 503: our store is away; the gateway sends again.
    Later,
}

impl Orders {
    /// The pay form of an order that was just placed with its page noted as issued.
    ///
    /// # Errors
    /// [`GatewayError`] when signing fails.
    pub async fn pay_form(&self, placed: &PlacedOrder) -> Result<String, GatewayError> {
        let PlacedOrder { order_sn, pay_amount, subject, created_at, pay_before } = placed.clone();
        let expires_at = pay_before.unwrap_or(created_at);
        let page = PayPage { order_sn, amount: pay_amount, subject, issued_at: created_at, expires_at };
        self.gateway.pay_form(&page).await
    }

    /// The pay form of a user's unpaid order; may be asked for again until `pay_before`.
    ///
    /// # Errors
    /// [`Reject::UnknownOrder`], [`Reject::WrongState`], [`Reject::PaymentLapsed`].
    pub async fn issue_pay_page(
        &self,
        user_id: UserId,
        order_sn: &OrderSn,
        asked: Option<KeepRequest>,
    ) -> Result<String, Failure> {
        let order = self.own_order(user_id, order_sn).await?;
        self.issue_page(&order, asked).await
    }

    /// The pay form of an order that was just read for its owner.
    ///
    /// # Errors
    /// As [`Self::issue_pay_page`].
    pub async fn pay_page_of(&self, order: &Order) -> Result<String, Failure> {
        self.issue_page(order, None).await
    }

    async fn issue_page(&self, order: &Order, asked: Option<KeepRequest>) -> Result<String, Failure> {
        let issue = IssuePayPage { order_sn: order.order_sn.clone(), asked };
        match self.commit(issue).await? {
            PayPageIssue::Issued { pay_before, at, .. } => self.pay_page_at(order, pay_before, at).await,
            PayPageIssue::WrongState(status) => Err(Reject::WrongState(status).into()),
            PayPageIssue::Lapsed => Err(Reject::PaymentLapsed.into()),
            PayPageIssue::Unknown => Err(Reject::UnknownOrder.into()),
        }
    }

    /// The form of a page that was issued at `issued_at`: always the same.
    pub(super) async fn pay_page_at(
        &self,
        order: &Order,
        pay_before: Timestamp,
        issued_at: Timestamp,
    ) -> Result<String, Failure> {
        let (order_sn, subject) = (order.order_sn.clone(), subject(&order.items));
        let page = PayPage { order_sn, amount: order.pay_amount, subject, issued_at, expires_at: pay_before };
        let form = self.gateway.pay_form(&page).await;
        form.map_err(|error| Unavailable::Dependency(error.to_string()).into())
    }

    /// Takes the raw body of a notification: verify, then record and apply in one transaction, then answer (R19–R21).
    pub async fn take_notification(&self, body: &[u8]) -> NotifyAnswer {
        let notification = match self.gateway.verify_notification(body) {
            Ok(notification) => notification,
            Err(error) => {
                let kind = match error {
                    NotifyError::Malformed(_) => "malformed",
                    NotifyError::BadSignature => "signature",
                    NotifyError::NotOurs(_) => "not_ours",
                };
                metrics::counter!("seckill_notify_refused_total", "kind" => kind).increment(1);
                tracing::warn!(%error, "notification refused");
                return NotifyAnswer::Failure;
            }
        };
        if notification.is_refund {
            return NotifyAnswer::Success;
        }
        match notification.status {
            TradeStatus::WaitBuyerPay => NotifyAnswer::Success,
            TradeStatus::TradeClosed => self.trade_closed(notification.order_sn).await,
            TradeStatus::TradeSuccess | TradeStatus::TradeFinished => self.paid_notification(notification).await,
        }
    }

    async fn paid_notification(&self, notification: Notification) -> NotifyAnswer {
        let receipt = Receipt {
            order_sn: notification.order_sn,
            trade_no: notification.trade_no,
            amount: notification.amount,
            subject: notification.subject,
            content: notification.content,
        };
        match self.take_payment(receipt, notification.notify_id).await {
            Ok(PaymentTaken::UnknownOrder) => NotifyAnswer::Failure,
            Ok(_) => NotifyAnswer::Success,
            Err(_) => NotifyAnswer::Later,
        }
    }

    async fn trade_closed(&self, order_sn: OrderSn) -> NotifyAnswer {
        let close = CloseOrders {
            order_sns: vec![order_sn],
            operator: Operator::System,
            note: "the gateway closed the trade".into(),
            when_due: false,
            asked: None,
        };
        match self.commit(close).await {
            Ok(_) => NotifyAnswer::Success,
            Err(_) => NotifyAnswer::Later,
        }
    }

    /// Records money and applies it to its order. Late and double money is sent back at once; the sweep tries again
    /// until the gateway confirms.
    pub(super) async fn take_payment(&self, receipt: Receipt, notify_id: String) -> Result<PaymentTaken, Unavailable> {
        let refund = PendingRefund {
            request_no: refund_request_no(&receipt.trade_no),
            order_sn: receipt.order_sn.clone(),
            trade_no: receipt.trade_no.clone(),
            amount: receipt.amount,
            created_at: self.now(),
        };
        let taken = self.commit(TakePayment { receipt, notify_id }).await?;
        match taken {
            PaymentTaken::Refunding => {
                metrics::counter!("seckill_late_payments_total").increment(1);
                if let Err(reason) = self.refund(&refund).await {
                    tracing::warn!(order_sn = %refund.order_sn, reason, "refund is left to the sweep");
                }
            }
            PaymentTaken::Mismatch => {
                metrics::counter!("seckill_payment_mismatch_total").increment(1);
                tracing::error!(order_sn = %refund.order_sn, "amount of the payment is not the order's");
            }
            PaymentTaken::UnknownOrder => {
                metrics::counter!("seckill_notify_refused_total", "kind" => "unknown_order").increment(1);
            }
            PaymentTaken::Applied | PaymentTaken::Duplicate => {}
        }
        Ok(taken)
    }
}
