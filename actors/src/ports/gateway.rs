//! The payment gateway: Alipay or the sandbox, through the same client.

use async_trait::async_trait;

use crate::domain::payment::TradeStatus;
use crate::domain::{Money, OrderSn, Timestamp, TradeNo};

/// What the buyer is sent to the cashier with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayPage {
    /// Our number.
    pub order_sn: OrderSn,
    /// How much.
    pub amount: Money,
    /// First title and count, cleaned.
    pub subject: String,
    /// When it was handed out: the same page again has the same form.
    pub issued_at: Timestamp,
    /// No payment after this (`time_expire`).
    pub expires_at: Timestamp,
}

/// What the gateway knows of a trade.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TradeQuery {
    /// Nobody opened the cashier yet. Not the same as closed.
    NotExist,
    /// It exists.
    Exists {
        /// The gateway's number.
        trade_no: TradeNo,
        /// Its state.
        status: TradeStatus,
        /// Its amount.
        amount: Money,
        /// The raw answer, kept as evidence.
        content: String,
    },
}

/// Answer to trade.close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TradeClose {
    /// Closed, or there was nothing to close.
    Closed,
    /// Not closable: ask again what it is.
    NotClosable,
}

/// Answer to a refund or its query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefundAnswer {
    /// The money is back.
    Done,
    /// Not known yet: try again with the same request number.
    Pending,
}

/// A payment notification whose signature, app and seller were verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// Identity of the notification; the same on its repeats.
    pub notify_id: String,
    /// Our number as the gateway says it; may be nobody's.
    pub order_sn: OrderSn,
    /// The gateway's number.
    pub trade_no: TradeNo,
    /// State.
    pub status: TradeStatus,
    /// Amount.
    pub amount: Money,
    /// Subject.
    pub subject: String,
    /// Whether it tells of a refund, not of a payment.
    pub is_refund: bool,
    /// The raw body.
    pub content: String,
}

/// Why a notification has no effect (answer `failure`).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotifyError {
    /// Not a form, a field twice, too large, bad encoding, missing field.
    #[error("malformed: {0}")]
    Malformed(String),
    /// The signature does not verify, or is not RSA2.
    #[error("bad signature")]
    BadSignature,
    /// Of another app or seller.
    #[error("not ours: {0}")]
    NotOurs(&'static str),
}

/// The gateway did not answer, or its answer is not a signed success or a signed known refusal. The outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("gateway: {0}")]
pub struct GatewayError(pub String);

/// The payment gateway.
#[async_trait]
pub trait Gateway: Send + Sync + 'static {
    /// The pay form: HTML that posts itself to the cashier. Signed here, no network. Costs about 1 ms of CPU.
    async fn pay_form(&self, page: &PayPage) -> Result<String, GatewayError>;
    /// What became of the trade of an order.
    async fn query(&self, order_sn: &OrderSn) -> Result<TradeQuery, GatewayError>;
    /// Closes an unpaid trade.
    async fn close(&self, order_sn: &OrderSn) -> Result<TradeClose, GatewayError>;
    /// Gives money back; the same `request_no` again does it once.
    async fn refund(
        &self,
        trade_no: &TradeNo,
        amount: Money,
        request_no: &str,
        reason: &str,
    ) -> Result<RefundAnswer, GatewayError>;
    /// Whether a refund arrived.
    async fn refund_query(&self, trade_no: &TradeNo, request_no: &str) -> Result<RefundAnswer, GatewayError>;
    /// Verifies the raw body of a notification: signature first, then app and seller (R19).
    fn verify_notification(&self, body: &[u8]) -> Result<Notification, NotifyError>;
}
