//! What the sandbox says of a trade: notifications, and the parameters of the browser's way back.

use actors::domain::Timestamp;
use reqwest::Url;

use super::Sandbox;
use super::ledger::PendingNotification;
use super::trade::Trade;
use crate::gateway::alipay::form;
use crate::gateway::alipay::notify::status_text;
use crate::gateway::alipay::sign::{SIGN_TYPE, SignError, canonical_notification};

/// The only buyer there is.
pub const BUYER_ID: &str = "2088000000000002";

/// Names and values.
pub type Message = Vec<(&'static str, String)>;

/// The fields of a payment or refund notification, without `sign`.
pub fn notification(sandbox: &Sandbox, pending: &PendingNotification, now: Timestamp) -> Message {
    let PendingNotification { news, trade, created_at, .. } = pending;
    let amount = trade.amount.to_string();
    let mut fields = vec![
        ("gmt_create", trade.created_at.gmt8()),
        ("charset", "utf-8".to_owned()),
        ("gmt_payment", trade.paid_at.map(Timestamp::gmt8).unwrap_or_default()),
        ("notify_time", now.gmt8()),
        ("subject", trade.subject.clone()),
        ("buyer_id", BUYER_ID.to_owned()),
        ("invoice_amount", amount.clone()),
        ("version", "1.0".to_owned()),
        ("notify_id", news.notify_id.clone()),
        ("fund_bill_list", format!(r#"[{{"amount":"{amount}","fundChannel":"ALIPAYACCOUNT"}}]"#)),
        ("notify_type", "trade_status_sync".to_owned()),
        ("out_trade_no", trade.order_sn.to_string()),
        ("total_amount", amount.clone()),
        ("trade_status", status_text(news.status).to_owned()),
        ("trade_no", trade.trade_no.to_string()),
        ("auth_app_id", sandbox.settings.app_id.clone()),
        ("receipt_amount", amount.clone()),
        ("point_amount", "0.00".to_owned()),
        ("buyer_pay_amount", amount),
        ("app_id", sandbox.settings.app_id.clone()),
        ("sign_type", SIGN_TYPE.to_owned()),
        ("seller_id", sandbox.settings.seller_id.clone()),
    ];
    if let Some(request_no) = &news.refund_request_no {
        fields.push(("out_biz_no", request_no.clone()));
        fields.push(("refund_fee", news.refunded.to_string()));
        fields.push(("gmt_refund", format!("{}.000", created_at.gmt8())));
    }
    fields
}

/// Signs ("V1") and encodes.
///
/// # Errors
/// When signing fails or is too busy.
pub async fn signed_form(sandbox: &Sandbox, fields: &Message) -> Result<String, SignError> {
    let borrowed = || fields.iter().map(|(name, value)| (*name, value.as_str()));
    let signature = sandbox.signer.sign(canonical_notification(borrowed())).await?;
    Ok(form::encode(borrowed().chain([("sign", signature.as_str())])))
}

/// Where the browser goes after the cashier: the merchant's `return_url` with signed parameters, for display only (no
/// state in them). `None` when the merchant gave none.
///
/// # Errors
/// When signing fails or is too busy.
pub async fn return_url(sandbox: &Sandbox, trade: &Trade, now: Timestamp) -> Result<Option<String>, SignError> {
    let Ok(mut url) = Url::parse(&trade.return_url) else { return Ok(None) };
    let fields = vec![
        ("charset", "utf-8".to_owned()),
        ("out_trade_no", trade.order_sn.to_string()),
        ("method", "alipay.trade.page.pay.return".to_owned()),
        ("total_amount", trade.amount.to_string()),
        ("trade_no", trade.trade_no.to_string()),
        ("auth_app_id", sandbox.settings.app_id.clone()),
        ("version", "1.0".to_owned()),
        ("app_id", sandbox.settings.app_id.clone()),
        ("sign_type", SIGN_TYPE.to_owned()),
        ("seller_id", sandbox.settings.seller_id.clone()),
        ("timestamp", now.gmt8()),
    ];
    let signed = signed_form(sandbox, &fields).await?;
    let query = url.query().filter(|query| !query.is_empty()).map(|query| format!("{query}&{signed}"));
    url.set_query(Some(&query.unwrap_or(signed)));
    Ok(Some(url.into()))
}
