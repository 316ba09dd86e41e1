//! The cashier: the page that the pay form leads to, and its two buttons. No script; each page pays or leaves once.

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, web};
use actors::domain::{Money, OrderSn, Timestamp};
use askama::Template;
use reqwest::Url;
use serde::Deserialize;

use super::api::parse_gmt8;
use super::ledger::LedgerError;
use super::trade::{Command, OpenTrade, Refusal, Trade};
use super::{Sandbox, limited, message};
use crate::gateway::alipay::form::{self, Fields};

/// Without `time_expire` a trade can be paid for 15 days.
const LONGEST_LIFE: std::time::Duration = std::time::Duration::from_secs(15 * 24 * 3600);

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>收银台 · Cashier</title>
<link rel="stylesheet" href="cashier.css">
</head>
<body>
<main>
<p class="notice">模拟收银台，不产生真实交易。Simulated cashier, no real money.</p>
<h1>{{ subject }}</h1>
<p class="amount"><span>¥</span>{{ amount }}</p>
<dl>
<dt>订单号 Order</dt><dd>{{ order_sn }}</dd>
<dt>交易号 Trade</dt><dd>{{ trade_no }}</dd>
<dt>支付截止 Pay before</dt><dd>{{ expires_at }} GMT+8</dd>
</dl>
<form action="pay" method="post">
<input type="hidden" name="out_trade_no" value="{{ order_sn }}">
<input type="hidden" name="token" value="{{ token }}">
<button type="submit" class="pay">确认付款 Pay</button>
</form>
<form action="cancel" method="post">
<input type="hidden" name="out_trade_no" value="{{ order_sn }}">
<input type="hidden" name="token" value="{{ token }}">
<button type="submit">取消 Cancel</button>
</form>
</main>
</body>
</html>
"##
)]
struct CashierPage<'a> {
    subject: &'a str,
    amount: Money,
    order_sn: &'a str,
    trade_no: &'a str,
    expires_at: String,
    token: &'a str,
}

#[derive(Template)]
#[template(
    ext = "html",
    source = r##"<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>收银台 · Cashier</title>
<link rel="stylesheet" href="cashier.css">
</head>
<body>
<main>
<p class="notice">模拟收银台，不产生真实交易。Simulated cashier, no real money.</p>
<h1>{{ title }}</h1>
<p>{{ explanation }}</p>
<p class="code">{{ code }}</p>
</main>
</body>
</html>
"##
)]
struct MessagePage<'a> {
    title: &'a str,
    explanation: &'a str,
    code: &'a str,
}

/// `biz_content` of alipay.trade.page.pay, as far as the sandbox looks at it.
#[derive(Deserialize)]
struct PayContent {
    out_trade_no: String,
    product_code: String,
    total_amount: String,
    subject: String,
    time_expire: Option<String>,
}

/// alipay.trade.page.pay, its signature already verified: the trade exists from here on.
pub(super) async fn open(sandbox: &Sandbox, fields: &Fields) -> HttpResponse {
    let now = sandbox.now();
    let Some(wanted) = read_wanted(sandbox, fields, now) else {
        return problem(StatusCode::BAD_REQUEST, "订单信息有误 Invalid order", "", "ACQ.INVALID_PARAMETER");
    };
    let order_sn = wanted.order_sn.clone();
    match limited(sandbox.ledger.apply(&order_sn, Command::Open(Box::new(wanted)), now)).await {
        Ok(step) => cashier_page(&step.trade),
        Err(error) => refused(&error),
    }
}

fn read_wanted(sandbox: &Sandbox, fields: &Fields, now: Timestamp) -> Option<OpenTrade> {
    let content: PayContent = serde_json::from_str(form::find(fields, "biz_content")?).ok()?;
    let amount = Money::parse(&content.total_amount)?;
    let is_payable = (Money(1)..=Money::MAX_PAYMENT).contains(&amount);
    let subject_fits = (1..=256).contains(&content.subject.chars().count());
    if !is_payable || !subject_fits || content.product_code != "FAST_INSTANT_TRADE_PAY" {
        return None;
    }
    let url = |name| match form::find(fields, name).unwrap_or_default() {
        "" => Some(String::new()),
        text => is_web_url(text).then(|| text.to_owned()),
    };
    Some(OpenTrade {
        order_sn: OrderSn::parse(&content.out_trade_no)?,
        trade_no: sandbox.new_trade_no(now),
        amount,
        subject: content.subject,
        notify_url: url("notify_url")?,
        return_url: url("return_url")?,
        expires_at: match content.time_expire {
            Some(text) => parse_gmt8(&text)?,
            None => now.plus(LONGEST_LIFE),
        },
        cashier_token: sandbox.new_id(),
    })
}

fn is_web_url(text: &str) -> bool {
    text.len() <= 256 && Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"))
}

/// `POST /sandbox/pay`: takes the money, has the merchant notified, sends the browser back.
pub async fn pay(sandbox: web::Data<Sandbox>, body: web::Bytes) -> HttpResponse {
    let notify_id = sandbox.new_id();
    press(&sandbox, &body, |cashier_token| Command::Pay { cashier_token, notify_id }).await
}

/// `POST /sandbox/cancel`: sends the browser back; the trade stays payable until its time is over.
pub async fn cancel(sandbox: web::Data<Sandbox>, body: web::Bytes) -> HttpResponse {
    press(&sandbox, &body, |cashier_token| Command::Leave { cashier_token }).await
}

async fn press(sandbox: &Sandbox, body: &[u8], command: impl FnOnce(String) -> Command) -> HttpResponse {
    let Some((order_sn, cashier_token)) = read_press(body) else {
        return problem(StatusCode::BAD_REQUEST, "请求有误 Invalid request", "", "ACQ.INVALID_PARAMETER");
    };
    let now = sandbox.now();
    let trade = match limited(sandbox.ledger.apply(&order_sn, command(cashier_token), now)).await {
        Ok(step) => step.trade,
        Err(error) => return refused(&error),
    };
    sandbox.wake_notifier();
    match message::return_url(sandbox, &trade, now).await {
        Ok(Some(url)) => go_to(&url),
        Ok(None) if trade.paid_at.is_some() => problem(StatusCode::OK, "支付成功 Paid", "", trade.order_sn.as_str()),
        Ok(None) => problem(StatusCode::OK, "未支付 Not paid", "", trade.order_sn.as_str()),
        Err(error) => problem(StatusCode::SERVICE_UNAVAILABLE, "请稍候 Please wait", &error.to_string(), ""),
    }
}

fn read_press(body: &[u8]) -> Option<(OrderSn, String)> {
    let fields = form::parse(body).ok()?;
    Some((OrderSn::parse(form::find(&fields, "out_trade_no")?)?, form::find(&fields, "token")?.to_owned()))
}

/// The style of both pages.
pub async fn style() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header(("content-type", "text/css; charset=utf-8"))
        .insert_header(("cache-control", "public, max-age=3600"))
        .insert_header(("x-content-type-options", "nosniff"))
        .body(include_str!("cashier.css"))
}

fn cashier_page(trade: &Trade) -> HttpResponse {
    let page = CashierPage {
        subject: &trade.subject,
        amount: trade.amount,
        order_sn: trade.order_sn.as_str(),
        trade_no: trade.trade_no.as_str(),
        expires_at: trade.expires_at.gmt8(),
        token: trade.cashier_token.as_deref().unwrap_or_default(),
    };
    // Browsers hold form-action against the redirect behind a form too, so the merchant's origin must be in it.
    let merchant = Url::parse(&trade.return_url).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    html(StatusCode::OK, &page, &merchant)
}

fn refused(error: &LedgerError) -> HttpResponse {
    let LedgerError::Refused(refusal) = error else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "系统繁忙，请稍后再试 Please try again later", "", "");
    };
    let title = match refusal {
        Refusal::HasSuccess => "该订单已支付 Already paid",
        Refusal::HasClosed => "交易已关闭或已超时 Trade closed or timed out",
        Refusal::Inconsistent => "订单金额与首次不一致 The amount differs from the first one",
        Refusal::StalePage => "页面已失效，请从订单页重新进入 This page is no longer valid",
        _ => "无法支付 Cannot be paid",
    };
    problem(StatusCode::CONFLICT, title, "", refusal.sub_code())
}

fn problem(status: StatusCode, title: &str, explanation: &str, code: &str) -> HttpResponse {
    html(status, &MessagePage { title, explanation, code }, "")
}

fn html(status: StatusCode, page: &impl Template, form_target: &str) -> HttpResponse {
    let policy = format!(
        "default-src 'none'; style-src 'self'; form-action 'self' {form_target}; frame-ancestors 'none'; base-uri 'none'"
    );
    let Ok(text) = page.render() else { return HttpResponse::InternalServerError().finish() };
    HttpResponse::build(status)
        .insert_header(("content-type", "text/html; charset=utf-8"))
        .insert_header(("content-security-policy", policy))
        .insert_header(("x-content-type-options", "nosniff"))
        .insert_header(("referrer-policy", "same-origin"))
        .insert_header(("cache-control", "no-store"))
        .body(text)
}

fn go_to(url: &str) -> HttpResponse {
    HttpResponse::SeeOther().insert_header(("location", url)).insert_header(("cache-control", "no-store")).finish()
}
