//! The client: Alipay's open platform behind the gateway port. The sandbox is reached through it too.

use std::sync::Arc;
use std::time::Duration;

use actors::domain::payment::TradeStatus;
use actors::domain::{Money, OrderSn, Timestamp, TradeNo};
use actors::ports::clock::{Clock, Entropy};
use actors::ports::gateway::{
    Gateway, GatewayError, Notification, NotifyError, PayPage, RefundAnswer, TradeClose, TradeQuery,
};
use async_trait::async_trait;
use reqwest::{Client, StatusCode, redirect};
use serde::{Deserialize, Serialize};

use super::answer::{self, Answer, Unknown};
use super::form::{self, escape_html};
use super::notify::{self, Expected};
use super::settings::{AlipayKeys, AlipaySettings, CallLimits, SettingsError, wrong};
use super::sign::{SIGN_TYPE, Signer, VerifyingKey, canonical_request};

/// The id of the pay form, by which the page that shows it submits it.
pub const PAY_FORM_ID: &str = "alipay-pay-form";
/// Longest `subject`, in characters.
const SUBJECT_CHARACTERS: usize = 256;
/// Largest answer that is read, in bytes.
const ANSWER_BYTES: usize = 64 * 1024;

/// The gateway port over HTTP.
pub struct AlipayClient {
    settings: AlipaySettings,
    signer: Signer,
    alipay_keys: Vec<VerifyingKey>,
    limits: CallLimits,
    http: Client,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl AlipayClient {
    /// Checks the settings and builds the HTTP client. No network.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn new(
        settings: AlipaySettings,
        keys: AlipayKeys,
        limits: CallLimits,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, SettingsError> {
        settings.check()?;
        let plain = settings.gateway_url.starts_with("http:");
        let mut http = Client::builder()
            .connect_timeout(limits.connect)
            .timeout(limits.total)
            .redirect(redirect::Policy::none())
            .no_proxy();
        if plain {
            // The sandbox must also run where no root certificates are installed.
            http = http.tls_certs_only([]);
        }
        let http = http.build().map_err(|error| wrong("gateway_url", format!("no HTTP client: {error}")))?;
        let (signer, alipay_keys) = (Signer::new(keys.merchant), keys.alipay);
        Ok(Self { settings, signer, alipay_keys, limits, http, clock, entropy })
    }

    /// The gateway with all public parameters signed, and the one field that goes in the body.
    async fn signed_url(&self, method: &str, biz_content: &str, at: Timestamp) -> Result<String, GatewayError> {
        let is_page = method == "alipay.trade.page.pay";
        let page_only =
            |url: &'static str, value: &'_ str| (url, if is_page { value.to_owned() } else { String::new() });
        let mut fields = vec![
            ("app_id", self.settings.app_id.clone()),
            ("method", method.to_owned()),
            ("format", "JSON".to_owned()),
            ("charset", "utf-8".to_owned()),
            ("sign_type", SIGN_TYPE.to_owned()),
            ("timestamp", at.gmt8()),
            ("version", "1.0".to_owned()),
            page_only("notify_url", &self.settings.notify_url),
            page_only("return_url", &self.settings.return_url),
        ];
        fields.retain(|(_, value)| !value.is_empty());
        let borrowed = || fields.iter().map(|(name, value)| (*name, value.as_str()));
        let text = canonical_request(borrowed().chain([("biz_content", biz_content)]));
        let signature = self.signer.sign(text).await.map_err(|error| GatewayError(error.to_string()))?;
        let query = form::encode(borrowed().chain([("sign", signature.as_str())]));
        Ok(format!("{}?{query}", self.settings.gateway_url))
    }

    /// Signs once, then sends that same request until it is answered, at most `limits.tries` times in `limits.total`.
    async fn call(&self, method: &str, biz_content: &impl Serialize) -> Result<Answer, GatewayError> {
        let calling = async {
            let biz_content = to_json(biz_content)?;
            let url = self.signed_url(method, &biz_content, self.clock.now()).await?;
            let body = form::encode([("biz_content", biz_content.as_str())]);
            self.send_until_answered(method, &url, body).await
        };
        let limited = tokio::time::timeout(self.limits.total, calling).await;
        limited.unwrap_or_else(|_| Err(GatewayError(format!("{method}: no answer in time"))))
    }

    async fn send_until_answered(&self, method: &str, url: &str, body: String) -> Result<Answer, GatewayError> {
        let mut tries = 0;
        loop {
            tries += 1;
            let unknown = match self.send(method, url, body.clone()).await {
                Ok(answer) => return Ok(answer),
                Err(unknown) => unknown,
            };
            if !unknown.try_again || tries >= self.limits.tries {
                return Err(GatewayError(format!("{method}: {} (try {tries})", unknown.reason)));
            }
            tokio::time::sleep(self.pause(tries)).await;
        }
    }

    async fn send(&self, method: &str, url: &str, body: String) -> Result<Answer, Unknown> {
        let transport = |error: reqwest::Error| Unknown::passing(describe(&error));
        let request = self
            .http
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded; charset=utf-8")
            .header("accept", "application/json")
            .body(body);
        let mut response = request.send().await.map_err(transport)?;
        if response.status() != StatusCode::OK {
            return Err(Unknown::passing(format!("HTTP status {}", response.status().as_u16())));
        }
        let mut content = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(transport)? {
            if content.len() + chunk.len() > ANSWER_BYTES {
                return Err(Unknown::lasting("the answer is too large"));
            }
            content.extend_from_slice(&chunk);
        }
        answer::read(&content, method, &self.alipay_keys)
    }

    /// 100 ms, then 200 ms, each times 0.5 to 1.
    fn pause(&self, tries: u32) -> Duration {
        let full = 100_u64 << (tries - 1).min(4);
        Duration::from_millis(full / 2 + self.entropy.next_u64() % (full / 2 + 1))
    }
}

#[async_trait]
impl Gateway for AlipayClient {
    async fn pay_form(&self, page: &PayPage) -> Result<String, GatewayError> {
        let biz_content = pay_content(page)?;
        let url = self.signed_url("alipay.trade.page.pay", &biz_content, page.issued_at).await?;
        Ok(pay_form_html(&url, &biz_content))
    }

    async fn query(&self, order_sn: &OrderSn) -> Result<TradeQuery, GatewayError> {
        const METHOD: &str = "alipay.trade.query";
        match self.call(METHOD, &TradeKey::of(order_sn)).await? {
            Answer::Success(content) => {
                let trade: TradeAnswer = from_json(METHOD, &content)?;
                same_order(METHOD, order_sn, Some(&trade.out_trade_no))?;
                let amount = Money::parse(&trade.total_amount)
                    .ok_or_else(|| GatewayError(format!("{METHOD}: total_amount is not an amount")))?;
                Ok(TradeQuery::Exists { trade_no: trade.trade_no, status: trade.trade_status, amount, content })
            }
            Answer::Refused(sub_code) if sub_code == TRADE_NOT_EXIST => Ok(TradeQuery::NotExist),
            Answer::Refused(sub_code) => Err(refused(METHOD, &sub_code)),
        }
    }

    async fn close(&self, order_sn: &OrderSn) -> Result<TradeClose, GatewayError> {
        const METHOD: &str = "alipay.trade.close";
        match self.call(METHOD, &TradeKey::of(order_sn)).await? {
            Answer::Success(content) => {
                let closed: OrderAnswer = from_json(METHOD, &content)?;
                same_order(METHOD, order_sn, closed.out_trade_no.as_deref())?;
                Ok(TradeClose::Closed)
            }
            Answer::Refused(sub_code) if sub_code == TRADE_NOT_EXIST => Ok(TradeClose::Closed),
            Answer::Refused(_) => Ok(TradeClose::NotClosable),
        }
    }

    async fn refund(
        &self,
        trade_no: &TradeNo,
        amount: Money,
        request_no: &str,
        reason: &str,
    ) -> Result<RefundAnswer, GatewayError> {
        const METHOD: &str = "alipay.trade.refund";
        let request = RefundRequest {
            trade_no: trade_no.as_str(),
            refund_amount: payable(amount)?,
            out_request_no: request_no,
            refund_reason: clean(reason),
        };
        let content = match self.call(METHOD, &request).await? {
            Answer::Success(content) => content,
            Answer::Refused(sub_code) => return Err(refused(METHOD, &sub_code)),
        };
        let answer: RefundedAnswer = from_json(METHOD, &content)?;
        same_number(METHOD, trade_no.as_str(), Some(&answer.trade_no))?;
        if answer.fund_change == "Y" {
            return Ok(RefundAnswer::Done);
        }
        // N: this call moved nothing. Done by an earlier call with this number, or not done: only the query tells.
        self.refund_query(trade_no, request_no).await
    }

    async fn refund_query(&self, trade_no: &TradeNo, request_no: &str) -> Result<RefundAnswer, GatewayError> {
        const METHOD: &str = "alipay.trade.fastpay.refund.query";
        let request = RefundKey { trade_no: trade_no.as_str(), out_request_no: request_no };
        let content = match self.call(METHOD, &request).await? {
            Answer::Success(content) => content,
            Answer::Refused(sub_code) => return Err(refused(METHOD, &sub_code)),
        };
        let answer: RefundQueryAnswer = from_json(METHOD, &content)?;
        same_number(METHOD, trade_no.as_str(), answer.trade_no.as_deref())?;
        let is_this = answer.out_request_no.is_none_or(|number| number == request_no);
        let is_done = answer.refund_status.as_deref() == Some("REFUND_SUCCESS");
        Ok(if is_this && is_done { RefundAnswer::Done } else { RefundAnswer::Pending })
    }

    fn verify_notification(&self, body: &[u8]) -> Result<Notification, NotifyError> {
        let expected =
            Expected { app_id: &self.settings.app_id, seller_id: &self.settings.seller_id, keys: &self.alipay_keys };
        notify::verify(body, expected)
    }
}

const TRADE_NOT_EXIST: &str = "ACQ.TRADE_NOT_EXIST";

#[derive(Serialize)]
struct PayContent<'a> {
    out_trade_no: &'a str,
    product_code: &'static str,
    total_amount: String,
    subject: String,
    time_expire: String,
}

#[derive(Serialize)]
struct TradeKey<'a> {
    out_trade_no: &'a str,
}

impl<'a> TradeKey<'a> {
    fn of(order_sn: &'a OrderSn) -> Self {
        Self { out_trade_no: order_sn.as_str() }
    }
}

#[derive(Serialize)]
struct RefundRequest<'a> {
    trade_no: &'a str,
    refund_amount: String,
    out_request_no: &'a str,
    refund_reason: String,
}

#[derive(Serialize)]
struct RefundKey<'a> {
    trade_no: &'a str,
    out_request_no: &'a str,
}

#[derive(Deserialize)]
struct TradeAnswer {
    out_trade_no: String,
    trade_no: TradeNo,
    trade_status: TradeStatus,
    total_amount: String,
}

#[derive(Deserialize)]
struct OrderAnswer {
    out_trade_no: Option<String>,
}

#[derive(Deserialize)]
struct RefundedAnswer {
    trade_no: String,
    fund_change: String,
}

#[derive(Deserialize)]
struct RefundQueryAnswer {
    trade_no: Option<String>,
    out_request_no: Option<String>,
    refund_status: Option<String>,
}

/// `biz_content` of a pay page.
fn pay_content(page: &PayPage) -> Result<String, GatewayError> {
    to_json(&PayContent {
        out_trade_no: page.order_sn.as_str(),
        product_code: "FAST_INSTANT_TRADE_PAY",
        total_amount: payable(page.amount)?,
        subject: Some(clean(&page.subject))
            .filter(|subject| !subject.is_empty())
            .unwrap_or_else(|| format!("订单 {}", page.order_sn)),
        time_expire: whole_second(page.expires_at).gmt8(),
    })
}

/// DESIGN section 5: attributes in double quotes, name before value. No script: the page that shows it submits it by its
/// id, and without scripts the buyer presses the button.
fn pay_form_html(url: &str, biz_content: &str) -> String {
    format!(
        r#"<form id="{PAY_FORM_ID}" name="punchout_form" action="{}" method="post"><input type="hidden" name="biz_content" value="{}"><button type="submit">立即支付</button></form>"#,
        escape_html(url),
        escape_html(biz_content),
    )
}

/// Without the milliseconds, so the gateway never accepts money later than we say.
fn whole_second(at: Timestamp) -> Timestamp {
    Timestamp(at.0 - at.0.rem_euclid(1000))
}

fn payable(amount: Money) -> Result<String, GatewayError> {
    let is_payable = (Money(1)..=Money::MAX_PAYMENT).contains(&amount);
    is_payable.then(|| amount.to_string()).ok_or_else(|| GatewayError(format!("{amount} yuan cannot be moved")))
}

/// Without control characters and not longer than Alipay takes.
fn clean(text: &str) -> String {
    text.chars().filter(|character| !character.is_control()).take(SUBJECT_CHARACTERS).collect()
}

fn same_order(method: &str, order_sn: &OrderSn, answered: Option<&str>) -> Result<(), GatewayError> {
    same_number(method, order_sn.as_str(), answered)
}

fn same_number(method: &str, asked: &str, answered: Option<&str>) -> Result<(), GatewayError> {
    match answered {
        Some(other) if other != asked => Err(GatewayError(format!("{method}: answered for another trade"))),
        _ => Ok(()),
    }
}

fn refused(method: &str, sub_code: &str) -> GatewayError {
    GatewayError(format!("{method}: refused with {}", clean(sub_code)))
}

fn to_json(value: &impl Serialize) -> Result<String, GatewayError> {
    serde_json::to_string(value).map_err(|error| GatewayError(error.to_string()))
}

fn from_json<'a, T: Deserialize<'a>>(method: &str, content: &'a str) -> Result<T, GatewayError> {
    serde_json::from_str(content).map_err(|error| GatewayError(format!("{method}: answer not understood: {error}")))
}

/// What went wrong, without the URL: it carries the signature.
fn describe(error: &reqwest::Error) -> String {
    let kind = match () {
        () if error.is_timeout() => "timed out",
        () if error.is_connect() => "no connection",
        () => "connection broken",
    };
    let mut source: &dyn std::error::Error = error;
    while let Some(deeper) = source.source() {
        source = deeper;
    }
    if std::ptr::addr_eq(source, error) { kind.to_owned() } else { format!("{kind}: {source}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(subject: &str) -> PayPage {
        PayPage {
            order_sn: OrderSn::parse("SK20260101000000123456").unwrap(),
            amount: Money(8888),
            subject: subject.to_owned(),
            issued_at: Timestamp(1_767_225_600_999),
            expires_at: Timestamp(1_767_227_400_999),
        }
    }

    #[test]
    fn the_content_of_a_pay_page_is_that_of_vector_a() {
        assert_eq!(
            pay_content(&page("Phone X\u{0} 8G\n 白色")).unwrap(),
            r#"{"out_trade_no":"SK20260101000000123456","product_code":"FAST_INSTANT_TRADE_PAY","total_amount":"88.88","subject":"Phone X 8G 白色","time_expire":"2026-01-01 08:30:00"}"#
        );
    }

    #[test]
    fn a_subject_is_cleaned_and_never_empty_or_long() {
        assert!(pay_content(&page("\u{7}\n")).unwrap().contains("订单 SK20260101000000123456"));
        assert_eq!(clean(&"白".repeat(300)).chars().count(), 256);
    }

    #[test]
    fn what_cannot_be_moved_is_refused() {
        for amount in [Money(0), Money(-1), Money(Money::MAX_PAYMENT.0 + 1)] {
            assert!(pay_content(&PayPage { amount, ..page("x") }).is_err(), "{amount}");
        }
        assert_eq!(payable(Money::MAX_PAYMENT).unwrap(), "100000000.00");
    }

    #[test]
    fn html_is_escaped_in_both_attributes() {
        assert_eq!(
            pay_form_html("https://a.example/g?a=1&b=%3D", r#"{"s":"<'&>"}"#),
            concat!(
                r#"<form id="alipay-pay-form" name="punchout_form" action="https://a.example/g?a=1&amp;b=%3D" method="post">"#,
                r#"<input type="hidden" name="biz_content" value="{&quot;s&quot;:&quot;&lt;&#39;&amp;&gt;&quot;}">"#,
                r#"<button type="submit">立即支付</button></form>"#
            )
        );
    }
}
