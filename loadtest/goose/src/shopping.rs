//! What buyers do.

use std::time::Duration;

use goose::prelude::*;
use serde_json::json;

use crate::buyer::envelope;
use crate::cashier::Form;

const SALE_SKU: u64 = 49;
const ORDERED_SKU: u64 = 48;

/// Looks at the shop as its page does.
pub async fn browse(user: &mut GooseUser) -> TransactionResult {
    for path in ["/", "/api/v1/time", "/api/v1/flash-sales", "/api/v1/skus"] {
        user.get(path).await?;
    }
    Ok(())
}

/// Tries to win. Being refused (code 1) is an answer, not a failure.
pub async fn attempt(user: &mut GooseUser) -> TransactionResult {
    let answer = user.post(&format!("/miaosha/{SALE_SKU}"), "").await?;
    envelope(user, answer, &[0, 1]).await.map(drop)
}

/// Confirms, submits, pays at the sandbox's cashier and waits until the order is paid.
pub async fn order_and_pay(user: &mut GooseUser) -> TransactionResult {
    let answer = user.post_json("/order/confirm", &json!({(ORDERED_SKU.to_string()): 1})).await?;
    let page = envelope(user, answer, &[0]).await?;
    let order = json!({
        "orderToken": page["data"]["orderToken"], "totalPrice": page["data"]["orderItems"][0]["price"], "payType": 0,
        "orderItems": [{"skuId": ORDERED_SKU, "count": 1}], "name": "李先锋", "phone": "13888888888",
        "province": "上海", "city": "上海市", "detailAddress": "大江大厦6层",
    });
    let answer = user.post_json("/order/submit", &order).await?;
    let submitted = envelope(user, answer, &[0]).await?;
    // Refused, for instance because the shelf is empty: nothing to pay.
    let Some(form) = submitted["data"].as_str().and_then(Form::first_in) else { return Ok(()) };
    let number = form.fields.iter().find_map(|(_, content)| order_number(content));
    let cashier = post_form(user, "pay page", &form).await?;
    let Some(press) = Form::first_in(&cashier) else { return Ok(()) };
    let press = Form { action: format!("/sandbox/{}", press.action), ..press };
    post_form(user, "pay button", &press).await?;
    match number {
        Some(number) => until_paid(user, &number).await,
        None => Ok(()),
    }
}

fn order_number(biz_content: &str) -> Option<String> {
    let content: serde_json::Value = serde_json::from_str(biz_content).ok()?;
    content["out_trade_no"].as_str().map(str::to_owned)
}

async fn post_form(user: &mut GooseUser, name: &str, form: &Form) -> Result<String, Box<TransactionError>> {
    let builder = user.get_request_builder(&GooseMethod::Post, &form.action)?.form(&form.fields);
    let request = GooseRequest::builder().set_request_builder(builder).name(name).build();
    match user.request(request).await?.response {
        Ok(response) => Ok(response.text().await.unwrap_or_default()),
        Err(_) => Ok(String::new()),
    }
}

/// The notification of the payment is on its way; it is there within moments.
async fn until_paid(user: &mut GooseUser, number: &str) -> TransactionResult {
    const TRIES: u32 = 20;
    for tries in 1..=TRIES {
        let mut answer = user.get_named(&format!("/api/v1/orders/{number}"), "order").await?;
        let text = match answer.response {
            Ok(response) => response.text().await.unwrap_or_default(),
            Err(error) => error.to_string(),
        };
        let order: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        if order["status"] == "awaiting_shipment" {
            return Ok(());
        }
        if tries == TRIES {
            return user.set_failure("the order is not paid", &mut answer.request, None, Some(&text));
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    Ok(())
}
