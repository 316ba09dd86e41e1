//! Asynchronous notifications: parse, verify, and only then read (R19).

use actors::domain::payment::TradeStatus;
use actors::domain::{Money, OrderSn, TradeNo};
use actors::ports::gateway::{Notification, NotifyError};

use super::form::{self, Fields};
use super::sign::{SIGN_TYPE, VerifyingKey, canonical_notification};

/// Who we are at the gateway, and the gateway's public keys (two while it rotates them).
#[derive(Clone, Copy, Debug)]
pub struct Expected<'a> {
    /// Our app.
    pub app_id: &'a str,
    /// Our seller account.
    pub seller_id: &'a str,
    /// Any of these may have signed.
    pub keys: &'a [VerifyingKey],
}

/// Verifies the raw body of a payment notification and reads it. Whether the order is ours and the amount right is for
/// the caller, who knows the order.
///
/// # Errors
/// [`NotifyError`]: nothing in the body may be used then.
pub fn verify(body: &[u8], expected: Expected<'_>) -> Result<Notification, NotifyError> {
    let fields = form::parse(body).map_err(|error| NotifyError::Malformed(error.to_string()))?;
    verify_signature(&fields, expected.keys)?;
    if form::find(&fields, "app_id") != Some(expected.app_id) {
        return Err(NotifyError::NotOurs("app_id"));
    }
    if form::find(&fields, "seller_id") != Some(expected.seller_id) {
        return Err(NotifyError::NotOurs("seller_id"));
    }
    read(&fields, String::from_utf8_lossy(body).into_owned())
}

/// The algorithm is ours, never the message's: a message that names another one is refused before any verification.
fn verify_signature(fields: &Fields, keys: &[VerifyingKey]) -> Result<(), NotifyError> {
    if form::find(fields, "sign_type") != Some(SIGN_TYPE) {
        return Err(NotifyError::BadSignature);
    }
    let signature = form::find(fields, "sign").ok_or(NotifyError::BadSignature)?;
    let text = canonical_notification(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    let verified = keys.iter().any(|key| key.verify(text.as_bytes(), signature));
    verified.then_some(()).ok_or(NotifyError::BadSignature)
}

fn read(fields: &Fields, content: String) -> Result<Notification, NotifyError> {
    Ok(Notification {
        notify_id: required(fields, "notify_id", |text| Some(text.to_owned()))?,
        order_sn: required(fields, "out_trade_no", OrderSn::parse)?,
        trade_no: required(fields, "trade_no", TradeNo::parse)?,
        status: required(fields, "trade_status", parse_status)?,
        amount: required(fields, "total_amount", Money::parse)?,
        subject: form::find(fields, "subject").unwrap_or_default().to_owned(),
        is_refund: tells_of_a_refund(fields)?,
        content,
    })
}

fn required<T>(fields: &Fields, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, NotifyError> {
    let value = form::find(fields, name).filter(|value| !value.is_empty());
    value.and_then(parse).ok_or_else(|| NotifyError::Malformed(format!("{name} missing or not valid")))
}

/// A paid trade with `refund_fee` above zero or `gmt_refund` tells of money that went back, not of a second payment.
fn tells_of_a_refund(fields: &Fields) -> Result<bool, NotifyError> {
    let present = |name| form::find(fields, name).filter(|value: &&str| !value.is_empty());
    let refunded = match present("refund_fee") {
        None => Money::ZERO,
        Some(_) => required(fields, "refund_fee", Money::parse)?,
    };
    Ok(refunded > Money::ZERO || present("gmt_refund").is_some())
}

/// `trade_status` from its text.
pub fn parse_status(text: &str) -> Option<TradeStatus> {
    match text {
        "WAIT_BUYER_PAY" => Some(TradeStatus::WaitBuyerPay),
        "TRADE_SUCCESS" => Some(TradeStatus::TradeSuccess),
        "TRADE_FINISHED" => Some(TradeStatus::TradeFinished),
        "TRADE_CLOSED" => Some(TradeStatus::TradeClosed),
        _ => None,
    }
}

/// The text of a `trade_status`.
pub const fn status_text(status: TradeStatus) -> &'static str {
    match status {
        TradeStatus::WaitBuyerPay => "WAIT_BUYER_PAY",
        TradeStatus::TradeSuccess => "TRADE_SUCCESS",
        TradeStatus::TradeFinished => "TRADE_FINISHED",
        TradeStatus::TradeClosed => "TRADE_CLOSED",
    }
}
