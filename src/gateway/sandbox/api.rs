//! `/sandbox/gateway.do`: verifies the merchant's signature, dispatches on `method`, signs the answer.

use actix_web::{HttpRequest, HttpResponse, web};
use actors::domain::{Money, OrderSn, Timestamp, TradeNo};
use serde::Deserialize;
use serde_json::{Value, json};

use super::ledger::LedgerError;
use super::message::BUYER_ID;
use super::trade::{Command, Refusal, Trade};
use super::{Sandbox, cashier, limited};
use crate::gateway::alipay::answer::response_name;
use crate::gateway::alipay::form::{self, Fields};
use crate::gateway::alipay::notify::status_text;
use crate::gateway::alipay::sign::{SIGN_TYPE, canonical_request};

/// A refusal of the gateway itself, before any business.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Invalid {
    /// Alipay's `sub_code`.
    pub sub_code: &'static str,
}

/// `GET` and `POST`: the parameters may be in the query, in the form, or in both, but none twice.
pub async fn gateway(sandbox: web::Data<Sandbox>, request: HttpRequest, body: web::Bytes) -> HttpResponse {
    let fields = match read_request(&sandbox, request.query_string(), &body) {
        Ok(fields) => fields,
        Err(invalid) => return unsigned_error(invalid),
    };
    let method = form::find(&fields, "method").unwrap_or_default();
    if method == "alipay.trade.page.pay" {
        return cashier::open(&sandbox, &fields).await;
    }
    let content = match answer(&sandbox, method, &fields).await {
        Ok(content) => content,
        Err(Problem::Method) => return unsigned_error(Invalid { sub_code: "isv.invalid-method" }),
        Err(Problem::Content) => error_content("40002", "Invalid Arguments", "isv.invalid-parameter"),
        Err(Problem::Ledger(LedgerError::Refused(refusal))) => refusal_content(refusal),
        Err(Problem::Ledger(LedgerError::Unavailable(error))) => {
            tracing::warn!(error, "sandbox ledger");
            error_content("20000", "Service Currently Unavailable", "isp.unknow-error")
        }
    };
    signed_answer(&sandbox, method, &content.to_string()).await
}

/// Reads and verifies a request. The signature is checked before anything but the shape is looked at.
fn read_request(sandbox: &Sandbox, query: &str, body: &[u8]) -> Result<Fields, Invalid> {
    // One reading over both, so a name in the query cannot be said again in the form.
    let joined = [query.as_bytes(), body].join(&b'&');
    let fields = form::parse(&joined).map_err(|_| Invalid { sub_code: "isv.invalid-parameter" })?;
    let field = |name| form::find(&fields, name).unwrap_or_default();
    let text = canonical_request(fields.iter().map(|(name, value)| (name.as_str(), value.as_str())));
    if field("sign_type") != SIGN_TYPE || !sandbox.merchant_key.verify(text.as_bytes(), field("sign")) {
        return Err(Invalid { sub_code: "isv.invalid-signature" });
    }
    if field("app_id") != sandbox.settings.app_id {
        return Err(Invalid { sub_code: "isv.invalid-app-id" });
    }
    if !field("charset").eq_ignore_ascii_case("utf-8") {
        return Err(Invalid { sub_code: "isv.invalid-charset" });
    }
    if field("version") != "1.0" || !matches!(field("format"), "" | "JSON") {
        return Err(Invalid { sub_code: "isv.invalid-parameter" });
    }
    if parse_gmt8(field("timestamp")).is_none() {
        return Err(Invalid { sub_code: "isv.invalid-timestamp" });
    }
    Ok(fields)
}

enum Problem {
    Method,
    Content,
    Ledger(LedgerError),
}

impl From<LedgerError> for Problem {
    fn from(error: LedgerError) -> Self {
        Self::Ledger(error)
    }
}

#[derive(Deserialize)]
struct Content {
    out_trade_no: Option<String>,
    trade_no: Option<String>,
    refund_amount: Option<String>,
    out_request_no: Option<String>,
}

async fn answer(sandbox: &Sandbox, method: &str, fields: &Fields) -> Result<Value, Problem> {
    let content = || {
        let text = form::find(fields, "biz_content").unwrap_or_default();
        serde_json::from_str::<Content>(text).map_err(|_| Problem::Content)
    };
    match method {
        "alipay.trade.query" => query(sandbox, &content()?).await,
        "alipay.trade.close" => close(sandbox, &content()?).await,
        "alipay.trade.refund" => refund(sandbox, &content()?).await,
        "alipay.trade.fastpay.refund.query" => refund_query(sandbox, &content()?).await,
        _ => Err(Problem::Method),
    }
}

/// Which trade is meant; `trade_no` wins over `out_trade_no`.
async fn order_sn(sandbox: &Sandbox, content: &Content) -> Result<OrderSn, Problem> {
    if let Some(trade_no) = &content.trade_no {
        let trade_no = TradeNo::parse(trade_no).ok_or(Problem::Content)?;
        let found = limited(sandbox.ledger.order_of(&trade_no)).await?;
        return found.ok_or(Problem::Ledger(LedgerError::Refused(Refusal::NotExist)));
    }
    content.out_trade_no.as_deref().and_then(OrderSn::parse).ok_or(Problem::Content)
}

async fn find(sandbox: &Sandbox, content: &Content) -> Result<Trade, Problem> {
    let order_sn = order_sn(sandbox, content).await?;
    let trade = limited(sandbox.ledger.find(&order_sn)).await?;
    trade.ok_or(Problem::Ledger(LedgerError::Refused(Refusal::NotExist)))
}

async fn query(sandbox: &Sandbox, content: &Content) -> Result<Value, Problem> {
    let trade = find(sandbox, content).await?;
    let mut answer = success(&trade);
    answer["trade_status"] = json!(status_text(trade.status_at(sandbox.now())));
    answer["total_amount"] = json!(trade.amount.to_string());
    answer["buyer_user_id"] = json!(BUYER_ID);
    if let Some(paid_at) = trade.paid_at {
        answer["send_pay_date"] = json!(paid_at.gmt8());
    }
    Ok(answer)
}

async fn close(sandbox: &Sandbox, content: &Content) -> Result<Value, Problem> {
    let order_sn = order_sn(sandbox, content).await?;
    let step = limited(sandbox.ledger.apply(&order_sn, Command::Close, sandbox.now())).await?;
    Ok(success(&step.trade))
}

async fn refund(sandbox: &Sandbox, content: &Content) -> Result<Value, Problem> {
    let order_sn = order_sn(sandbox, content).await?;
    let amount = content.refund_amount.as_deref().and_then(Money::parse).ok_or(Problem::Content)?;
    let command = Command::Refund {
        request_no: refund_number(sandbox, content, &order_sn, amount).await?,
        amount,
        notify_id: sandbox.new_id(),
    };
    let now = sandbox.now();
    let step = limited(sandbox.ledger.apply(&order_sn, command, now)).await?;
    sandbox.wake_notifier();
    let mut answer = success(&step.trade);
    answer["refund_fee"] = json!(step.trade.refunded().to_string());
    answer["fund_change"] = json!(if step.money.is_some() { "Y" } else { "N" });
    answer["gmt_refund_pay"] = json!(now.gmt8());
    answer["buyer_user_id"] = json!(BUYER_ID);
    Ok(answer)
}

/// Without a number only the whole amount can be refunded, under the order's own number.
async fn refund_number(
    sandbox: &Sandbox,
    content: &Content,
    order_sn: &OrderSn,
    amount: Money,
) -> Result<String, Problem> {
    match content.out_request_no.as_deref() {
        Some(number) if (1..=64).contains(&number.len()) => Ok(number.to_owned()),
        Some(_) => Err(Problem::Content),
        None if find(sandbox, content).await?.amount == amount => Ok(order_sn.to_string()),
        None => Err(Problem::Ledger(LedgerError::Refused(Refusal::RefundAmount))),
    }
}

/// A number that is not known answers success without a refund in it, as Alipay does.
async fn refund_query(sandbox: &Sandbox, content: &Content) -> Result<Value, Problem> {
    let trade = find(sandbox, content).await?;
    let number = content.out_request_no.as_deref().ok_or(Problem::Content)?;
    let mut answer = success(&trade);
    if let Some(refund) = trade.refunds.iter().find(|refund| refund.request_no == number) {
        answer["out_request_no"] = json!(refund.request_no);
        answer["refund_amount"] = json!(refund.amount.to_string());
        answer["total_amount"] = json!(trade.amount.to_string());
        answer["refund_status"] = json!("REFUND_SUCCESS");
        answer["gmt_refund_pay"] = json!(refund.made_at.gmt8());
    }
    Ok(answer)
}

fn success(trade: &Trade) -> Value {
    json!({
        "code": "10000", "msg": "Success",
        "out_trade_no": trade.order_sn.as_str(), "trade_no": trade.trade_no.as_str(),
    })
}

fn refusal_content(refusal: Refusal) -> Value {
    let mut content = error_content("40004", "Business Failed", refusal.sub_code());
    content["sub_msg"] = json!(refusal.to_string());
    content
}

fn error_content(code: &str, msg: &str, sub_code: &str) -> Value {
    json!({ "code": code, "msg": msg, "sub_code": sub_code })
}

/// An answer in Alipay's envelope: the signature covers `content` byte for byte.
pub fn envelope(method: &str, content: &str, signature: &str) -> String {
    format!(r#"{{"{}":{content},"sign":"{signature}"}}"#, response_name(method))
}

async fn signed_answer(sandbox: &Sandbox, method: &str, content: &str) -> HttpResponse {
    match sandbox.signer.sign(content.to_owned()).await {
        Ok(signature) => json_response(envelope(method, content, &signature)),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

/// Errors of the gateway itself are not signed: a client must not conclude anything from them.
fn unsigned_error(invalid: Invalid) -> HttpResponse {
    let content = error_content("40002", "Invalid Arguments", invalid.sub_code);
    json_response(json!({ "error_response": content }).to_string())
}

fn json_response(body: String) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("content-type", "application/json; charset=utf-8"))
        .insert_header(("cache-control", "no-store"))
        .insert_header(("x-content-type-options", "nosniff"))
        .body(body)
}

/// `yyyy-MM-dd HH:mm:ss` in GMT+8; older pages give `time_expire` in minutes.
pub(super) fn parse_gmt8(text: &str) -> Option<Timestamp> {
    let parse = |text: &str| chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").ok();
    let local = match text.len() {
        19 => parse(text)?,
        16 => parse(&format!("{text}:00"))?,
        _ => return None,
    };
    Some(Timestamp(local.and_utc().timestamp_millis() - 8 * 3600 * 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_in_gmt8() {
        assert_eq!(parse_gmt8("2026-01-01 08:30:00"), Some(Timestamp(1_767_227_400_000)));
        assert_eq!(parse_gmt8("2026-01-01 08:30"), Some(Timestamp(1_767_227_400_000)));
        assert_eq!(parse_gmt8("2026-01-01 08:30:00").unwrap().gmt8(), "2026-01-01 08:30:00");
        for text in ["", "2026-13-01 08:30:00", "2026-01-01T08:30:00", "2026-1-1 08:30:00   ", "今天"] {
            assert_eq!(parse_gmt8(text), None, "{text:?}");
        }
    }
}
