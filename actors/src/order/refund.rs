//! Refund: money goes back once, under a fixed request number, however often the gateway has to be asked (DESIGN rule
//! 10, R22): late and double money in full, an order before shipment, parts of one, returned goods.

use super::Orders;
use crate::domain::order::Operator;
use crate::domain::payment::{PendingRefund, Refund, RefundScope, part_request_no, refund_reason, whole_request_no};
use crate::domain::reject::{Failure, Reject};
use crate::domain::{Money, OrderSn};
use crate::ports::gateway::RefundAnswer;
use crate::ports::store::units::{KeepRequest, OrderRefund, RefundOrder, SettleRefund};

/// How much staff give back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundWish {
    /// All that is left, before shipment; the order is closed.
    Whole,
    /// Some of it; the order stays where it is.
    Part {
        /// How much.
        amount: Money,
        /// Names the refund within its order: the same again gives nothing twice.
        reference: String,
    },
}

impl Orders {
    /// Gives money of a paid order back. The gateway is asked at once; while it has not confirmed, the sweep asks again.
    /// The refund as decided, `None` when there was no money to give back.
    ///
    /// # Errors
    /// [`Reject::UnknownOrder`], [`Reject::WrongState`], [`Reject::RefundTooLarge`], [`Reject::ReferenceUsed`].
    pub async fn refund_order(
        &self,
        order_sn: &OrderSn,
        wish: RefundWish,
        note: String,
    ) -> Result<Option<Refund>, Failure> {
        let operator = Operator::Admin;
        match wish {
            RefundWish::Whole => self.refund_whole(order_sn, operator, note, None).await,
            RefundWish::Part { amount, reference } => {
                let (order_sn, request_no) = (order_sn.clone(), part_request_no(order_sn, &reference));
                let scope = RefundScope::Part(amount);
                self.give_back(RefundOrder { order_sn, scope, request_no, operator, note, asked: None }).await
            }
        }
    }

    /// Gives all that is left of a paid order back, before shipment.
    pub(super) async fn refund_whole(
        &self,
        order_sn: &OrderSn,
        operator: Operator,
        note: String,
        asked: Option<KeepRequest>,
    ) -> Result<Option<Refund>, Failure> {
        let (order_sn, request_no) = (order_sn.clone(), whole_request_no(order_sn));
        self.give_back(RefundOrder { order_sn, scope: RefundScope::Whole, request_no, operator, note, asked }).await
    }

    async fn give_back(&self, unit: RefundOrder) -> Result<Option<Refund>, Failure> {
        let scope = unit.scope;
        let refund = match self.commit(unit).await? {
            OrderRefund::Given(refund) => refund,
            OrderRefund::Repeated(earlier) => match scope {
                RefundScope::Part(amount) if amount != earlier.amount => {
                    return Err(Reject::ReferenceUsed(earlier.amount).into());
                }
                _ => Some(earlier),
            },
            OrderRefund::WrongState(status) => return Err(Reject::WrongState(status).into()),
            OrderRefund::TooMuch { refundable } => return Err(Reject::RefundTooLarge { refundable }.into()),
            OrderRefund::Unknown => return Err(Reject::UnknownOrder.into()),
        };
        self.try_refund(refund.as_ref()).await;
        Ok(refund)
    }

    /// Asks the gateway for a decided refund, if there is anything to ask, within the time of a request.
    pub(super) async fn try_refund(&self, refund: Option<&Refund>) {
        let Some(pending) = refund.and_then(Refund::pending) else { return };
        let asking = tokio::time::timeout(self.settings.request, self.refund(&pending)).await;
        if let Err(reason) = asking.unwrap_or_else(|_| Err("no answer in time".into())) {
            tracing::warn!(order_sn = %pending.order_sn, reason, "refund is left to the sweep");
        }
    }

    /// Asks the gateway for one refund and settles it when confirmed. Asking again is safe.
    ///
    /// # Errors
    /// Why it is not confirmed yet.
    pub(super) async fn refund(&self, refund: &PendingRefund) -> Result<(), String> {
        let answer =
            self.gateway.refund(&refund.trade_no, refund.amount, &refund.request_no, refund_reason(&refund.request_no));
        let mut answer = answer.await.map_err(|error| error.to_string())?;
        if answer == RefundAnswer::Pending {
            let query = self.gateway.refund_query(&refund.trade_no, &refund.request_no);
            answer = query.await.map_err(|error| error.to_string())?;
        }
        if answer == RefundAnswer::Pending {
            return Err("the gateway has not confirmed it".into());
        }
        let settle = SettleRefund { request_no: refund.request_no.clone() };
        self.commit(settle).await.map_err(|error| error.to_string())?;
        Ok(())
    }
}
