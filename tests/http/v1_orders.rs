//! A purchase by REST v1: cart, checkout, order under a key, receiver, payment; and attempts under keys.

use std::sync::OnceLock;
use std::time::Duration;

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::support::{Answer, Buyer, PATIENCE, PayForm, Server, send};

static SHOP: OnceLock<Server> = OnceLock::new();

fn shop() -> &'static Server {
    Server::shared(&SHOP, &[])
}

fn receiver(name: &str) -> Value {
    json!({"name": name, "phone": "13888888888", "province": "上海", "city": "上海市", "detail_address": "大江大厦6层"})
}

/// A whole order of units of SKU 48 after a fresh checkout.
async fn wish(buyer: &Buyer, quantity: u32) -> Value {
    let items = json!([{"sku_id": "48", "quantity": quantity}]);
    let checkout = buyer.post("/api/v1/checkouts", &json!({"items": items})).await;
    assert_eq!(checkout.status, 200, "{}", checkout.text);
    let checkout = checkout.json();
    json!({
        "checkout_token": checkout["checkout_token"], "total_amount": checkout["total_amount"], "items": items,
        "receiver": receiver("李先锋"),
    })
}

async fn place(buyer: &Buyer, key: &str, body: &Value) -> Answer {
    send(buyer.request(Method::POST, "/api/v1/orders").header("idempotency-key", key).json(body)).await
}

#[tokio::test]
async fn a_purchase_from_the_cart_to_the_money() {
    let buyer = shop().new_buyer().await;
    let line = |quantity| json!({"quantity": quantity});
    let put = async |sku: &str, quantity: i64| {
        send(buyer.request(Method::PUT, &format!("/api/v1/cart/lines/{sku}")).json(&line(quantity))).await
    };
    assert_eq!(buyer.get("/api/v1/cart").await.json(), json!({"data": [], "next_cursor": null, "has_more": false}));
    put("49", 2).await;
    let cart = put("48", 3).await.json();
    assert_eq!((&cart["data"][0]["sku_id"], &cart["data"][0]["quantity"]), (&json!("48"), &json!(3)));
    assert_eq!(put("48", 1).await.json()["data"][0]["quantity"], 1);
    put("4711", 1).await.assert_problem(404, "not-found");
    let delete = async |sku: &str| send(buyer.request(Method::DELETE, &format!("/api/v1/cart/lines/{sku}"))).await;
    assert_eq!((delete("49").await.status, delete("49").await.status), (204, 204));
    assert_eq!(buyer.get("/api/v1/cart").await.json()["data"].as_array().unwrap().len(), 1);

    let body = wish(&buyer, 1).await;
    let made = place(&buyer, "purchase", &body).await;
    let order = made.json();
    let order_sn = order["order_sn"].as_str().unwrap();
    assert_eq!((made.status, &order["status"]), (201, &json!("awaiting_payment")), "{order}");
    assert_eq!(made.header("location"), format!("/api/v1/orders/{order_sn}"));
    assert_eq!((&order["total_amount"], &order["receiver"]["name"]), (&json!("10000.00"), &json!("李先锋")));
    crate::support::until("the cart is cleared", async || {
        buyer.get("/api/v1/cart").await.json()["data"].as_array().unwrap().is_empty()
    })
    .await;

    let payments = format!("/api/v1/orders/{order_sn}/payments");
    assert_eq!(buyer.get(&payments).await.json()["data"], json!([]));
    let page = buyer.call(&payments).await;
    PayForm::read(page.json()["pay_form"].as_str().unwrap()).pay(&buyer.http).await;
    buyer.until_status(order_sn, "awaiting_shipment").await;
    let paid = buyer.get(&payments).await.json();
    assert_eq!(
        (&paid["data"][0]["amount"], &paid["data"][0]["status"]),
        (&json!("10000.00"), &json!("applied")),
        "{paid}"
    );
    // The first answer stays the first answer.
    let again = place(&buyer, "purchase", &body).await;
    assert_eq!((again.status, &again.text), (201, &made.text));
    assert_eq!(again.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn a_key_makes_one_order() {
    let (buyer, other) = (shop().new_buyer().await, shop().new_buyer().await);
    let body = wish(&buyer, 1).await;
    send(buyer.request(Method::POST, "/api/v1/orders").json(&body)).await.assert_problem(400, "key-missing");
    for bad in ["", "a b", "\"\"", &"k".repeat(256)] {
        place(&buyer, bad, &body).await.assert_problem(400, "validation");
    }
    let first = place(&buyer, "k", &body).await;
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, ""), "{}", first.text);
    for same in ["k", "\"k\""] {
        let again = place(&buyer, same, &body).await;
        assert_eq!((again.status, &again.text), (201, &first.text));
        assert_eq!(again.header("location"), first.header("location"));
    }
    let spaced = serde_json::to_string_pretty(&body).unwrap();
    let request = buyer.request(Method::POST, "/api/v1/orders").header("content-type", "application/json");
    assert_eq!(send(request.header("idempotency-key", "k").body(spaced)).await.text, first.text, "spaces say nothing");

    place(&buyer, "k", &wish(&buyer, 2).await).await.assert_problem(422, "key-reused");
    let used = place(&buyer, "another", &body).await.assert_problem(409, "token-used");
    assert_eq!(used["order_sn"], first.json()["order_sn"]);
    assert_eq!(place(&other, "k", &wish(&other, 1).await).await.status, 201, "each user has keys of his own");
    assert_eq!(buyer.get("/api/v1/orders").await.json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_refusal_leaves_the_key_free() {
    let buyer = shop().new_buyer().await;
    let good = wish(&buyer, 1).await;
    let with = |name: &str, value: Value| {
        let mut body = good.clone();
        body[name] = value;
        body
    };
    let changed =
        place(&buyer, "k", &with("total_amount", json!("9999.00"))).await.assert_problem(409, "price-changed");
    assert_eq!(changed["expected_total"], "10000.00");
    place(&buyer, "k", &with("checkout_token", json!("x"))).await.assert_problem(409, "token-expired");
    let unknown = json!([{"sku_id": "4711", "quantity": 1}]);
    place(&buyer, "k", &with("items", unknown)).await.assert_problem(404, "not-found");
    let twice = json!([{"sku_id": "48", "quantity": 1}, {"sku_id": "48", "quantity": 1}]);
    let refused = place(&buyer, "k", &with("items", twice)).await.assert_problem(400, "validation");
    assert_eq!(refused["field"], "items[1].sku_id");
    assert_eq!(place(&buyer, "k", &good).await.status, 201);
}

#[tokio::test]
async fn many_at_once_with_one_key_make_one_order() {
    let buyer = shop().new_buyer().await;
    let body = wish(&buyer, 1).await;
    let answers = join_all((0..16).map(|_| place(&buyer, "k", &body))).await;
    let made: Vec<&Answer> = answers.iter().filter(|answer| answer.status == 201).collect();
    assert!(!made.is_empty());
    for answer in &answers {
        if answer.status == 201 {
            assert_eq!(answer.text, made[0].text);
        } else {
            answer.assert_problem(409, "key-in-progress");
            assert_eq!(answer.header("retry-after"), "1");
        }
    }
    assert_eq!(buyer.get("/api/v1/orders").await.json()["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn keys_outlive_a_restart_and_not_a_day() {
    let home = tempfile::tempdir().unwrap();
    let mut server = Server::start_on(home.path(), &[]);
    let buyer = server.new_buyer().await;
    let body = wish(&buyer, 1).await;
    let first = place(&buyer, "k", &body).await;
    assert_eq!(first.status, 201, "{}", first.text);
    server.stop();
    let mut server = Server::start_on(home.path(), &[]);
    let again = Buyer { base: server.public.clone(), ..buyer.clone() };
    assert_eq!(place(&again, "k", &body).await.text, first.text);
    let database = server.database().await;
    let age = "UPDATE api_idempotency SET create_time = create_time - 86400001";
    database.execute(age, []).await;
    assert_eq!(database.number("SELECT count(*) FROM api_idempotency", []).await, 1);
    server.stop();
    let server = Server::start_on(home.path(), &[]);
    let database = server.database().await;
    crate::support::until("old keys are forgotten", async || {
        database.number("SELECT count(*) FROM api_idempotency", []).await == 0
    })
    .await;
    let late = Buyer { base: server.public.clone(), ..buyer.clone() };
    place(&late, "k", &body).await.assert_problem(409, "token-used");
}

#[tokio::test]
async fn the_receiver_is_changed_by_version() {
    let buyer = shop().new_buyer().await;
    let order_sn = place(&buyer, "k", &wish(&buyer, 1).await).await.json()["order_sn"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/orders/{order_sn}");
    let read = buyer.get(&path).await;
    let tag = read.header("etag").to_owned();
    assert!(tag.starts_with('"') && read.header("cache-control") == "private, no-cache", "{tag}");
    let again = send(buyer.request(Method::GET, &path).header("if-none-match", &tag)).await;
    assert_eq!((again.status, again.text.as_str(), again.header("etag")), (304, "", tag.as_str()));

    let patch = async |name: &str, tag: Option<&str>| {
        let request = buyer.request(Method::PATCH, &format!("{path}/receiver")).json(&receiver(name));
        send(match tag {
            Some(tag) => request.header("if-match", tag),
            None => request,
        })
        .await
    };
    let moved = patch("王五", Some(&tag)).await;
    assert_eq!((moved.status, &moved.json()["receiver"]["name"]), (200, &json!("王五")), "{}", moved.text);
    assert_ne!(moved.header("etag"), tag);
    patch("赵六", Some(&tag)).await.assert_problem(412, "version-conflict");
    patch("赵六", Some("nonsense")).await.assert_problem(400, "validation");
    assert_eq!(patch("赵六", None).await.status, 200);
    buyer.call(&format!("{path}/cancel")).await;
    let late = patch("孙七", None).await.assert_problem(409, "wrong-state");
    assert_eq!(late["current_status"], "closed");
}

#[tokio::test]
async fn an_attempt_under_a_key_is_one_attempt() {
    let server = Server::start(&[]);
    let (staff, buyer) = (server.staff(), server.new_buyer().await);
    let mut sale = json!({
        "sku_id": "48", "price": "1.00", "count": 10, "per_user_limit": 2,
        "starts_at": "2026-01-01T00:00:00Z", "ends_at": "2126-01-01T00:00:00Z",
    });
    let two = staff.post("/admin/v1/flash-sales", &sale).await.json()["id"].as_str().unwrap().to_owned();
    staff.sale_step(&two, "arm").await;
    let attempt = async |sale: &str, key: Option<&str>| {
        let request = buyer.request(Method::POST, &format!("/api/v1/flash-sales/{sale}/attempts"));
        send(match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        })
        .await
    };
    let number = |answer: &Answer| answer.json()["order_sn"].as_str().unwrap().to_owned();

    let first = attempt(&two, Some("a")).await;
    assert_eq!(first.status, 202, "{}", first.text);
    let again = attempt(&two, Some("a")).await;
    assert_eq!((again.status, number(&again)), (202, number(&first)), "not a second unit");
    assert_eq!(again.header("location"), first.header("location"));
    let second = attempt(&two, Some("b")).await;
    assert_eq!(second.status, 202);
    assert_ne!(number(&second), number(&first));
    let over = attempt(&two, Some("c")).await.assert_problem(409, "limit-reached");
    assert_eq!(over["order_sn"], number(&first));
    assert_eq!(number(&attempt(&two, Some("b")).await), number(&second));

    staff.sale_step(&two, "end").await;
    sale["per_user_limit"] = json!(1);
    sale["count"] = json!(1);
    let one = staff.post("/admin/v1/flash-sales", &sale).await.json()["id"].as_str().unwrap().to_owned();
    staff.sale_step(&one, "arm").await;
    let won = attempt(&one, Some("a")).await;
    assert_eq!(won.status, 202, "{}", won.text);
    assert_eq!(number(&attempt(&one, Some("a")).await), number(&won), "though it is sold out");
    attempt(&one, Some("b")).await.assert_problem(409, "limit-reached");
    attempt(&one, None).await.assert_problem(400, "key-missing");
    attempt(&one, Some("a b")).await.assert_problem(400, "validation");
}

#[tokio::test]
async fn an_attempt_is_told_as_events() {
    let (buyer, other) = (shop().new_buyer().await, shop().new_buyer().await);
    let won = buyer.call("/api/v1/flash-sales/1/attempts").await.json();
    let path = format!("/api/v1/attempts/{}/events", won["order_sn"].as_str().unwrap());
    let stream = timeout(PATIENCE, buyer.get(&path)).await.unwrap();
    assert_eq!((stream.status, stream.header("content-type")), (200, "text/event-stream"));
    assert_eq!(stream.header("cache-control"), "no-store");
    let events: Vec<Value> = stream
        .text
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .map(|data| serde_json::from_str(data).unwrap())
        .collect();
    let last = events.last().unwrap();
    assert_eq!((&last["status"], &last["order"]["order_sn"]), (&json!("ordered"), &won["order_sn"]), "{}", stream.text);
    assert!(stream.text.ends_with("\n\n") && stream.text.contains("event: status\n"));
    assert!(events.len() <= 2);
    other.get(&path).await.assert_problem(404, "not-found");
}

/// Opens the stream of a win whose order is never made: the sweep would, but not within a test.
async fn open_stream(server: &Server, buyer: &Buyer) -> reqwest::Response {
    let order_sn = "20260101080000000000000000000077";
    let grant = "INSERT INTO sms_flash_sale_grant (order_sn, sale_id, user_id, ordinal, create_time)
                 SELECT ?, 1, ?, 1, max(create_time) FROM sms_flash_sale";
    server.database().await.execute(grant, [order_sn.into(), buyer.user.into()]).await;
    buyer.request(Method::GET, &format!("/api/v1/attempts/{order_sn}/events")).send().await.unwrap()
}

#[tokio::test]
async fn a_stream_beats_and_ends_as_configured() {
    let server = Server::start(&[("server.stream_heartbeat", "1s"), ("server.stream_lifetime", "3s")]);
    let buyer = server.new_buyer().await;
    let stream = open_stream(&server, &buyer).await;
    let text = timeout(PATIENCE, stream.text()).await.unwrap().unwrap();
    assert!(text.starts_with("retry: ") && text.contains("\"granted\""), "{text}");
    assert!((1..=3).contains(&text.matches(": still being made\n\n").count()), "{text}");
}

#[tokio::test]
async fn a_stream_ends_when_the_server_stops() {
    let mut server = Server::start(&[]);
    let buyer = server.new_buyer().await;
    let mut response = open_stream(&server, &buyer).await;
    let first = timeout(PATIENCE, response.chunk()).await.unwrap().unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("\"granted\""));
    let beat = timeout(PATIENCE, response.chunk()).await.unwrap().unwrap().unwrap();
    assert!(beat.starts_with(b": "), "{beat:?}");
    server.signal("TERM");
    let ended = timeout(Duration::from_secs(20), async { while let Ok(Some(_)) = response.chunk().await {} }).await;
    assert!(ended.is_ok(), "the stream went on");
    server.wait();
}

#[tokio::test]
async fn rates_are_told() {
    let server = Server::start(&[("limits.per_user", "1/h burst 3"), ("limits.per_ip", "1/h burst 8")]);
    let buyer = server.new_buyer().await;
    for left in [2, 1, 0] {
        let answer = buyer.get("/api/v1/me").await;
        assert_eq!((answer.status, answer.header("ratelimit-policy")), (200, "\"user\";q=3;w=10800"));
        assert!(
            answer.header("ratelimit").starts_with(&format!("\"user\";r={left};t=")),
            "{}",
            answer.header("ratelimit")
        );
    }
    let limited = buyer.get("/api/v1/me").await;
    limited.assert_problem(429, "rate-limited");
    assert_eq!(limited.header("ratelimit"), format!("\"user\";r=0;t={}", limited.header("retry-after")));
    for _ in 0..2 {
        assert_eq!(buyer.get("/api/v1/time").await.header("ratelimit"), "", "no rate of its own");
    }
    buyer.get("/api/v1/time").await;
    let limited = buyer.get("/api/v1/time").await;
    limited.assert_problem(429, "rate-limited");
    assert_eq!(limited.header("ratelimit-policy"), "\"address\";q=8;w=28800");
}
