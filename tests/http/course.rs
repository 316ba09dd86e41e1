//! The founding text's flow: confirm, submit, pay, and what follows.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{Buyer, PayForm, Server, client, send, submission, until};

static SHOP: OnceLock<Server> = OnceLock::new();

fn shop() -> &'static Server {
    Server::shared(&SHOP, &[])
}

/// The text's sample answer, without its token.
const SAMPLE: &str = r#"{
    "addresses": [
        {"id": 1, "memberId": 1, "name": "李先锋", "phone": "13888888888", "postCode": "200122", "province": "上海",
         "city": "上海市", "region": "松江区", "detailAddress": "大江大厦6层", "areacode": "12121", "defaultStatus": 1},
        {"id": 2, "memberId": 1, "name": "锋哥", "phone": "13812345678", "postCode": "200122", "province": "上海",
         "city": "上海市", "region": "松江区", "detailAddress": "尚硅谷上海校区", "areacode": "12222", "defaultStatus": 0}
    ],
    "orderItems": [
        {"skuId": 48, "title": "apple iphone xr 8g,白色,256",
         "defaultImage": "https://ggmall.oss-cn-shanghai.aliyuncs.com/2019-10-06/cb587e4e-ebfb-4cff-86fa-9af8f1d4e87c_mi1.jpg",
         "price": 10000, "count": 3, "skuAttrValue": [
            {"id": 133, "skuId": 48, "attrId": 24, "attrName": "内存", "attrValue": "8g", "attrSort": 0},
            {"id": 134, "skuId": 48, "attrId": 30, "attrName": "颜色", "attrValue": "白色", "attrSort": 0},
            {"id": 135, "skuId": 48, "attrId": 35, "attrName": "容量", "attrValue": "256", "attrSort": 0}],
         "skuSaleVO": null},
        {"skuId": 49, "title": "apple iphone xr 8g,白色,256",
         "defaultImage": "https://ggmall.oss-cn-shanghai.aliyuncs.com/2019-10-06/cb587e4e-ebfb-4cff-86fa-9af8f1d4e87c_mi1.jpg",
         "price": 10000, "count": 2, "skuAttrValue": [
            {"id": 136, "skuId": 49, "attrId": 24, "attrName": "内存", "attrValue": "8g", "attrSort": 0},
            {"id": 137, "skuId": 49, "attrId": 30, "attrName": "颜色", "attrValue": "白色", "attrSort": 0},
            {"id": 138, "skuId": 49, "attrId": 35, "attrName": "容量", "attrValue": "256", "attrSort": 0}],
         "skuSaleVO": null}
    ],
    "bounds": 1000
}"#;

#[tokio::test]
async fn confirm_answers_the_sample_of_the_text() {
    let member_1 = shop().buyer(1).await;
    for path in ["/order/confirm", "/api/order/confirm"] {
        let answer = member_1.post(path, &json!({"48": 3, "49": 2})).await;
        let mut data = answer.data();
        let token = data.as_object_mut().unwrap().remove("orderToken").unwrap();
        assert!((20..=255).contains(&token.as_str().unwrap().len()), "{token}");
        assert_eq!(data, serde_json::from_str::<Value>(SAMPLE).unwrap());
        assert_eq!((answer.header("content-type"), answer.header("cache-control")), ("application/json", "no-store"));
    }
}

#[tokio::test]
async fn confirm_names_a_sku_that_does_not_exist() {
    let answer = shop().new_buyer().await.post("/order/confirm", &json!({"48": 1, "4711": 1})).await;
    assert_eq!(answer.said(), (200, 1, "商品[4711]不存在".into()));
}

/// Every attribute of a tag is in double quotes.
fn assert_double_quoted(html: &str) {
    for tag in html.split('<').skip(1).filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag) {
        let outside: String = tag.split('"').step_by(2).collect();
        assert_eq!(tag.matches('"').count() % 2, 0, "{tag}");
        assert!(!outside.contains('\''), "{tag}");
        for attribute in outside.split_whitespace().filter(|word| word.contains('=')) {
            assert!(attribute.ends_with('='), "{attribute} in {tag}");
        }
    }
}

#[tokio::test]
async fn an_order_is_submitted_paid_at_the_cashier_and_carried_out() {
    let (shop, buyer) = (shop(), shop().new_buyer().await);
    let database = shop.database().await;
    for sku_id in [48, 49] {
        let line = buyer.request(Method::PUT, &format!("/api/v1/cart/lines/{sku_id}")).json(&json!({"quantity": 1}));
        assert_eq!(send(line).await.status, 200);
    }
    let body = buyer.submission(48, 2, 0).await;
    let answer = buyer.post("/order/submit", &body).await.data();
    let html = answer.as_str().unwrap();
    assert!(html.starts_with("<form ") && html.contains(r#" method="post">"#), "{html}");
    assert!(html.contains(r#"<input type="hidden" name="biz_content" value=""#), "{html}");
    assert!(html.contains(&format!(r#" action="{}/sandbox/gateway.do?"#, shop.public)), "{html}");
    assert_double_quoted(html);
    let form = PayForm::read(html);
    let content: Value = serde_json::from_str(&form.biz_content).unwrap();
    assert_eq!(
        (&content["total_amount"], &content["product_code"]),
        (&json!("20000.00"), &json!("FAST_INSTANT_TRADE_PAY"))
    );
    let order_sn = form.order_sn.clone();
    assert!(order_sn.len() == 32 && order_sn.bytes().all(|b| b.is_ascii_digit()), "{order_sn}");

    let order = buyer.v1_order(&order_sn).await;
    assert_eq!((&order["status"], &order["pay_amount"]), (&json!("awaiting_payment"), &json!("20000.00")));
    let locks = "SELECT coalesce(sum(num), 0) FROM wms_stock_lock WHERE order_sn = ? AND state = 0";
    assert_eq!(database.number(locks, [order_sn.as_str().into()]).await, 2);

    let sent_to = form.pay(&buyer.http).await;
    assert!(sent_to.starts_with(&format!("{}/pay/return?", shop.public)), "{sent_to}");
    assert_eq!(send(buyer.http.get(&sent_to)).await.status, 200);
    buyer.until_status(&order_sn, "awaiting_shipment").await;
    let deducted = "SELECT coalesce(sum(num), 0) FROM wms_stock_lock WHERE order_sn = ? AND state = 1";
    until("stock is deducted", async || database.number(deducted, [order_sn.as_str().into()]).await == 2).await;
    assert_eq!(database.number(locks, [order_sn.as_str().into()]).await, 0);
    for history in [
        "SELECT coalesce(sum(change_count), 0) FROM ums_integration_change_history WHERE order_sn = ?",
        "SELECT coalesce(sum(change_count), 0) FROM ums_growth_change_history WHERE order_sn = ?",
    ] {
        until("points are credited", async || database.number(history, [order_sn.as_str().into()]).await == 20_000)
            .await;
    }
    assert_eq!(buyer.get("/api/v1/me").await.json()["points"], 20_000);
    until("what was bought leaves the cart", async || {
        let cart = buyer.get("/api/v1/cart").await.json();
        cart["data"].as_array().unwrap().iter().map(|line| &line["sku_id"]).eq(["49"])
    })
    .await;
    let history = buyer.get(&format!("/api/v1/orders/{order_sn}/history")).await.json();
    assert_eq!(history["data"][0]["status"], "awaiting_shipment", "{history}");
    let paid = "SELECT count(*) FROM oms_payment_info WHERE order_sn = ? AND payment_status = 'APPLIED' AND total_amount = 2000000";
    assert_eq!(database.number(paid, [order_sn.as_str().into()]).await, 1);
}

#[tokio::test]
async fn cash_on_delivery_is_made_paid_for_later() {
    let (shop, buyer) = (shop(), shop().new_buyer().await);
    let body = buyer.submission(48, 3, 1).await;
    let data = buyer.post("/api/order/submit", &body).await.data();
    let (order, order_sn) = (&data["orderEntity"], data["orderId"].as_str().unwrap());
    assert_eq!(data["code"], Value::Null, "{data}");
    let expected = json!({
        "orderSn": order_sn, "memberId": buyer.user, "memberUsername": format!("user{}", buyer.user), "totalAmount": 30000,
        "payAmount": 30000, "payType": 4, "status": 1, "deliveryCompany": "顺丰速运", "receiverName": "李先锋",
        "receiverPhone": "13888888888", "receiverPostCode": "200122", "receiverProvince": "上海",
        "receiverCity": "上海市", "receiverRegion": "松江区", "receiverDetailAddress": "大江大厦6层",
    });
    for (field, value) in expected.as_object().unwrap() {
        assert_eq!(&order[field], value, "{field}");
    }
    let created = order["createTime"].as_str().unwrap();
    assert!(chrono::NaiveDateTime::parse_from_str(created, "%Y-%m-%d %H:%M:%S").is_ok(), "{created}");
    let database = shop.database().await;
    let deducted = "SELECT coalesce(sum(num), 0) FROM wms_stock_lock WHERE order_sn = ? AND state = 1";
    until("stock is deducted", async || database.number(deducted, [order_sn.into()]).await == 3).await;
    let payments = "SELECT count(*) FROM oms_payment_info WHERE order_sn = ?";
    assert_eq!(database.number(payments, [order_sn.into()]).await, 0);
}

async fn submit_code(buyer: &Buyer, body: &Value) -> Value {
    let mut data = buyer.post("/order/submit", body).await.json();
    assert_eq!(data["code"], 0, "{data}");
    data["data"].take()
}

#[tokio::test]
async fn refusals_have_their_codes_and_leave_the_token_usable() {
    let (buyer, other) = (shop().new_buyer().await, shop().new_buyer().await);
    let good = buyer.submission(48, 2, 0).await;
    let foreign = other.submission(48, 2, 0).await;
    let with = |change: &dyn Fn(&mut Value)| {
        let mut body = good.clone();
        change(&mut body);
        body
    };
    let token = good["orderToken"].as_str().unwrap().to_owned();
    let flipped: String = token.chars().rev().collect();
    let cases = [
        ("unknown token", with(&|body| body["orderToken"] = json!("9c131d74-a95a-49bb-bb32-7fcdae2188f2")), 1),
        ("empty token", with(&|body| body["orderToken"] = json!("")), 1),
        ("malformed token", with(&|body| body["orderToken"] = json!(flipped)), 1),
        ("longer token", with(&|body| body["orderToken"] = json!(format!("{token}0"))), 1),
        ("another buyer's token", with(&|body| body["orderToken"] = foreign["orderToken"].clone()), 1),
        ("nothing ordered", with(&|body| body["orderItems"] = json!([])), 2),
        ("a cent less", with(&|body| body["totalPrice"] = json!(19999.99)), 3),
        ("a cent more", with(&|body| body["totalPrice"] = json!("20000.01")), 3),
        ("for nothing", with(&|body| body["totalPrice"] = json!(0)), 3),
        ("unknown SKU", with(&|body| body["orderItems"][0]["skuId"] = json!(4711)), 4),
    ];
    for (name, body, code) in cases {
        let data = submit_code(&buyer, &body).await;
        assert_eq!(
            (&data["code"], &data["orderId"], &data["orderEntity"]),
            (&json!(code), &Value::Null, &Value::Null),
            "{name}: {data}"
        );
    }
    let form = buyer.post("/order/submit", &good).await.data();
    assert!(form.as_str().unwrap().starts_with("<form "), "the token is still good: {form}");
}

#[tokio::test]
async fn short_stock_is_code_4_and_nothing_stays_locked() {
    let server = Server::start(&[("limits.max_quantity", "10000")]);
    let (buyer, staff) = (server.new_buyer().await, server.staff());
    let before = (staff.stock(48).await, staff.stock(49).await);
    let page = buyer.confirm(json!({"48": 1, "49": 1901})).await;
    let mut body = submission(page["orderToken"].as_str().unwrap(), 48, 1, 0);
    body["orderItems"] = json!([{"skuId": 48, "count": 1}, {"skuId": 49, "count": 1901}]);
    body["totalPrice"] = json!(19_020_000);
    let answer = buyer.post("/order/submit", &body).await.json();
    assert_eq!((&answer["data"]["code"], &answer["msg"]), (&json!(4), &json!("商品[49]库存不足")), "{answer}");
    assert_eq!((staff.stock(48).await, staff.stock(49).await), before);
    // Neither warehouse has 1,900 units: both are taken from.
    body["orderItems"][1]["count"] = json!(1900);
    body["totalPrice"] = json!(19_010_000);
    let form = buyer.post("/order/submit", &body).await.data();
    assert!(form.is_string(), "the same token is still good: {form}");
    assert_eq!((staff.stock(48).await, staff.stock(49).await), ((2000, 1), (2000, 2000)));
}

#[tokio::test]
async fn an_order_that_cannot_be_saved_is_code_5_and_the_token_stays_good() {
    let server = Server::start(&[("writer.retries", "0")]);
    let buyer = server.new_buyer().await;
    let body = buyer.submission(48, 1, 0).await;
    let database = server.database().await;
    let blocker = database.block_orders().await;
    let data = submit_code(&buyer, &body).await;
    assert_eq!(data["code"], 5, "{data}");
    blocker.release().await;
    until("it can be saved again", async || {
        let answer = submit_code(&buyer, &body).await;
        answer.is_string() || answer["orderEntity"].is_object()
    })
    .await;
    let orders = buyer.get("/api/v1/orders").await.json();
    assert_eq!(orders["data"].as_array().unwrap().len(), 1, "{orders}");
    assert_eq!(server.staff().stock(48).await, (2000, 1));
}

#[tokio::test]
async fn a_lapsed_token_is_code_1() {
    let server = Server::start(&[("order.token_ttl", "1ms")]);
    let buyer = server.new_buyer().await;
    // A token may be spent before it lapses, so a lapsed one is waited for: each try has its own.
    let (mut tries, mut orders) = (0, 0);
    let lapsed = loop {
        tries += 1;
        assert!(tries <= 1000, "no token of {tries} lapsed; {orders} were spent");
        let answer = submit_code(&buyer, &buyer.submission(48, 1, 0).await).await;
        if !answer.is_string() {
            break answer;
        }
        orders += 1;
    };
    assert_eq!(lapsed["code"], 1, "{lapsed}");
    assert_eq!((&lapsed["orderId"], &lapsed["orderEntity"]), (&Value::Null, &Value::Null));
    assert_eq!(server.staff().stock(48).await, (2000, orders));
}

#[tokio::test]
async fn fifty_submits_of_one_token_make_one_order() {
    for pay_type in [0, 1] {
        let buyer = shop().new_buyer().await;
        let body = buyer.submission(48, 1, pay_type).await;
        let answers = join_all((0..50).map(|_| submit_code(&buyer, &body))).await;
        let (made, repeated): (Vec<_>, Vec<_>) = answers.iter().partition(|data| data["code"] != 1);
        assert_eq!((made.len(), repeated.len()), (1, 49), "{answers:?}");
        let orders = buyer.get("/api/v1/orders").await.json();
        let orders = orders["data"].as_array().unwrap();
        assert_eq!(orders.len(), 1);
        let made =
            made[0].as_str().map_or_else(|| made[0]["orderId"].clone(), |html| json!(PayForm::read(html).order_sn));
        let numbers: BTreeSet<_> = repeated
            .iter()
            .flat_map(|data| [data["orderId"].to_string(), data["orderEntity"]["orderSn"].to_string()])
            .chain([made.to_string(), orders[0]["order_sn"].to_string()])
            .collect();
        assert_eq!(numbers.len(), 1, "{numbers:?}");
    }
}

#[tokio::test]
async fn another_buyer_gets_no_order_from_a_used_token() {
    let (buyer, thief) = (shop().new_buyer().await, shop().new_buyer().await);
    let body = buyer.submission(48, 1, 1).await;
    assert!(submit_code(&buyer, &body).await["orderEntity"].is_object());
    let data = submit_code(&thief, &body).await;
    assert_eq!((&data["code"], &data["orderId"], &data["orderEntity"]), (&json!(1), &Value::Null, &Value::Null));
}

#[tokio::test]
async fn a_repeat_with_another_cart_answers_the_first_order() {
    let buyer = shop().new_buyer().await;
    let body = buyer.submission(48, 1, 1).await;
    let first = submit_code(&buyer, &body).await;
    let mut other = body.clone();
    other["orderItems"] = json!([{"skuId": 49, "count": 5}]);
    let second = submit_code(&buyer, &other).await;
    assert_eq!((&second["code"], &second["orderId"]), (&json!(1), &first["orderId"]));
}

#[tokio::test]
async fn forged_notifications_fail_and_true_ones_may_come_again() {
    let buyer = shop().new_buyer().await;
    let (order_sn, form) = buyer.order(1).await;
    let forged = format!(
        "out_trade_no={order_sn}&trade_no=1&total_amount=10000.00&trade_status=TRADE_SUCCESS&app_id=2021000000000001\
         &seller_id=2088000000000001&notify_id=1&sign_type=RSA2&sign=AAAA"
    );
    for path in ["/order/pay/alipay/success", "/api/order/pay/alipay/success"] {
        for body in ["", "a=b", "%%%", "sign=x", &forged] {
            let url = format!("{}{path}", buyer.base);
            let request = buyer.http.post(url).header("content-type", "application/x-www-form-urlencoded");
            let answer = send(request.body(body.to_owned())).await;
            assert_eq!((answer.status, answer.text.as_str()), (200, "failure"), "{body}");
            assert!(answer.header("content-type").starts_with("text/plain"), "{}", answer.header("content-type"));
        }
    }
    assert_eq!(buyer.v1_order(&order_sn).await["status"], "awaiting_payment");
    form.pay(&buyer.http).await;
    buyer.until_status(&order_sn, "awaiting_shipment").await;
}

#[tokio::test]
async fn without_login_nothing_is_shown() {
    let http = client();
    let paths = [
        (Method::POST, "/order/confirm"),
        (Method::POST, "/order/submit"),
        (Method::GET, "/miaosha/49"),
        (Method::POST, "/miaosha/49"),
        (Method::GET, "/order/miaosha/49"),
        (Method::POST, "/order/miaosha/49"),
        (Method::GET, "/miaosha/pay?orderSn=1"),
    ];
    for (method, path) in paths {
        for prefix in ["", "/api"] {
            let url = format!("{}{prefix}{path}", shop().public);
            let answer = send(http.request(method.clone(), url).json(&json!({}))).await;
            assert_eq!(answer.said(), (401, 401, "请登录后再试！".into()), "{method} {prefix}{path}");
            assert_eq!(answer.json()["data"], Value::Null);
        }
    }
}

#[tokio::test]
async fn an_unpaid_order_is_closed_when_its_time_is_over() {
    let server =
        Server::start(&[("order.payment_timeout", "1s"), ("order.close_grace", "0s"), ("order.sweep_interval", "1s")]);
    let buyer = server.new_buyer().await;
    let (order_sn, form) = buyer.order(2).await;
    assert_eq!(server.staff().stock(48).await, (2000, 2));
    buyer.until_status(&order_sn, "closed").await;
    until("the units are free", async || server.staff().stock(48).await == (2000, 0)).await;
    let late = send(buyer.http.post(&form.action).form(&[("biz_content", &form.biz_content)])).await;
    assert_ne!(late.status, 200, "the cashier takes no money for a closed order");
}
