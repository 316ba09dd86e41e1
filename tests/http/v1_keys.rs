//! `Idempotency-Key` on every call of v1 that makes or changes something: missing, kept, replayed, reused.

use std::sync::OnceLock;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Answer, Buyer, Server, send};

static SHOP: OnceLock<Server> = OnceLock::new();

fn shop() -> &'static Server {
    Server::shared(&SHOP, &[])
}

async fn ask(buyer: &Buyer, path: &str, key: Option<&str>, body: Option<&Value>) -> Answer {
    let mut request = buyer.request(Method::POST, path);
    if let Some(key) = key {
        request = request.header("idempotency-key", key);
    }
    if let Some(body) = body {
        request = request.json(body);
    }
    send(request).await
}

/// A shipped order of two units that was paid.
async fn shipped(buyer: &Buyer) -> String {
    let (order_sn, form) = buyer.order(2).await;
    form.pay(&buyer.http).await;
    buyer.until_status(&order_sn, "awaiting_shipment").await;
    let parcel = json!({"delivery_company": "SF", "delivery_sn": "SF1"});
    let answer = shop().staff().post(&format!("/admin/v1/orders/{order_sn}/ship"), &parcel).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    order_sn
}

fn assert_replayed(again: &Answer, first: &Answer) {
    assert_eq!((again.status, &again.text), (first.status, &first.text));
    assert_eq!((first.header("idempotency-replayed"), again.header("idempotency-replayed")), ("", "true"));
    assert_eq!(again.header("location"), first.header("location"));
}

#[tokio::test]
async fn what_makes_something_needs_a_key() {
    let buyer = shop().new_buyer().await;
    let (order_sn, _) = buyer.order(1).await;
    let wish = json!({"sku_id": "48", "quantity": 1, "reason": "does not fit"});
    for (path, body) in [
        ("/api/v1/flash-sales/1/attempts".to_owned(), None),
        (format!("/api/v1/orders/{order_sn}/payments"), None),
        (format!("/api/v1/orders/{order_sn}/returns"), Some(&wish)),
    ] {
        ask(&buyer, &path, None, body).await.assert_problem(400, "key-missing");
        for bad in ["", "a b", "\"\"", &"k".repeat(256)] {
            let problem = ask(&buyer, &path, Some(bad), body).await.assert_problem(400, "validation");
            assert_eq!(problem["field"], "Idempotency-Key", "{path}");
        }
        let request = buyer.request(Method::POST, &path).header("idempotency-key", "a").header("idempotency-key", "b");
        send(request).await.assert_problem(400, "validation");
    }
    shop().assert_no_panic();
}

#[tokio::test]
async fn a_pay_page_is_the_same_for_the_same_key() {
    let buyer = shop().new_buyer().await;
    let ((order_sn, form), (another, _)) = (buyer.order(1).await, buyer.order(1).await);
    let path = format!("/api/v1/orders/{order_sn}/payments");
    let first = ask(&buyer, &path, Some("k"), None).await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_replayed(&ask(&buyer, &path, Some("k"), None).await, &first);
    form.pay(&buyer.http).await;
    buyer.until_status(&order_sn, "awaiting_shipment").await;
    assert_replayed(&ask(&buyer, &path, Some("\"k\""), None).await, &first);
    ask(&buyer, &path, Some("fresh"), None).await.assert_problem(409, "wrong-state");
    let other = format!("/api/v1/orders/{another}/payments");
    ask(&buyer, &other, Some("k"), None).await.assert_problem(422, "key-reused");
    assert_eq!(ask(&buyer, &other, Some("fresh"), None).await.status, 201, "a refusal left it free");
}

#[tokio::test]
async fn a_cancel_and_a_receipt_honour_a_key() {
    let buyer = shop().new_buyer().await;
    let (unpaid, shipped) = (buyer.order(1).await.0, shipped(&buyer).await);
    for (order_sn, verb, other) in [(&unpaid, "cancel", &shipped), (&shipped, "receive", &unpaid)] {
        let path = format!("/api/v1/orders/{order_sn}/{verb}");
        let first = ask(&buyer, &path, Some("k"), None).await;
        assert_eq!(first.status, 200, "{}", first.text);
        assert_replayed(&ask(&buyer, &path, Some("k"), None).await, &first);
        ask(&buyer, &path, None, None).await.assert_problem(409, "wrong-state");
        ask(&buyer, &path, Some("fresh"), None).await.assert_problem(409, "wrong-state");
        let other = format!("/api/v1/orders/{other}/{verb}");
        ask(&buyer, &other, Some("k"), None).await.assert_problem(422, "key-reused");
    }
}

#[tokio::test]
async fn a_return_request_is_the_same_for_the_same_key() {
    let buyer = shop().new_buyer().await;
    let order_sn = shipped(&buyer).await;
    let path = format!("/api/v1/orders/{order_sn}/returns");
    let wish = |quantity: u32| json!({"sku_id": "48", "quantity": quantity, "reason": "does not fit"});
    let first = ask(&buyer, &path, Some("k"), Some(&wish(1))).await;
    assert_eq!(first.status, 201, "{}", first.text);
    assert_replayed(&ask(&buyer, &path, Some("k"), Some(&wish(1))).await, &first);
    ask(&buyer, &path, Some("k"), Some(&wish(2))).await.assert_problem(422, "key-reused");
    let repeated = ask(&buyer, &path, Some("fresh"), Some(&wish(1))).await;
    assert_eq!((repeated.status, &repeated.text), (200, &first.text), "the same wish under another key");
    let id = first.json()["id"].as_str().unwrap().to_owned();
    let staff = shop().staff();
    assert_eq!(staff.post(&format!("/admin/v1/returns/{id}/reject"), &json!({"note": "used"})).await.status, 200);
    assert_replayed(&ask(&buyer, &path, Some("k"), Some(&wish(1))).await, &first);
    assert_replayed(&ask(&buyer, &path, Some("fresh"), Some(&wish(1))).await, &repeated);
}

#[tokio::test]
async fn many_at_once_with_one_key_are_one() {
    let buyer = shop().new_buyer().await;
    let (order_sn, _) = buyer.order(1).await;
    let path = format!("/api/v1/orders/{order_sn}/cancel");
    let answers = join_all((0..16).map(|_| ask(&buyer, &path, Some("k"), None))).await;
    let done: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 200).collect();
    assert_eq!(done.iter().filter(|answer| answer.header("idempotency-replayed").is_empty()).count(), 1);
    for answer in &answers {
        match answer.status {
            200 => assert_eq!(answer.text, done[0].text),
            _ => drop(answer.assert_problem(409, "key-in-progress")),
        }
    }
}
